// SPDX-License-Identifier: Apache-2.0
//
// The web's `crypto`, over OpenSSL (actors/v8/node_crypto.cc).
import { group } from 'isola:born';
import { domException, load } from '../node/loader.js';
import { subtleCrypto } from './subtle.js';

let made;
export function webCrypto() {
  if (made !== undefined) return made;
  const natives = group('crypto');
  const { types } = load('util');
  const fail = (message, name) => new (domException())(message, name);
  const MAX_RANDOM = 65536;
  const INTEGERS = ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array', 'BigInt64Array', 'BigUint64Array'];

  const { subtle, SubtleCrypto, CryptoKey } = subtleCrypto(natives);
  class Crypto {
    get subtle() { return subtle; }
    getRandomValues(array) {
      if (!types.isTypedArray(array) || !INTEGERS.includes(array[Symbol.toStringTag])) throw fail('getRandomValues wants a typed array of integers', 'TypeMismatchError');
      if (array.byteLength > MAX_RANDOM) throw fail(`getRandomValues fills at most ${MAX_RANDOM} bytes, not ${array.byteLength}`, 'QuotaExceededError');
      natives.random(array);
      return array;
    }
    randomUUID() {
      const b = new Uint8Array(16);
      natives.random(b);
      b[6] = (b[6] & 0x0f) | 0x40;
      b[8] = (b[8] & 0x3f) | 0x80;
      const h = b.toHex();
      return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
    }
  }
  for (const C of [SubtleCrypto, CryptoKey, Crypto])
    Object.defineProperty(C.prototype, Symbol.toStringTag, { __proto__: null, value: C.name, configurable: true });
  return made = { crypto: new Crypto(), Crypto, CryptoKey, SubtleCrypto };
}
