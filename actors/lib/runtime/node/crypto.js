// SPDX-License-Identifier: Apache-2.0
//
// Module `crypto`: random numbers, digests and HMACs, which is what packages want of it, and the web's own. For keys, signatures and
// ciphers there is crypto.subtle.
import { codeError, defineProperty, group, nextTick } from 'isola:born';
import { webCrypto } from '../web/crypto.js';

const HASHES = ['md5', 'ripemd160', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha512-224', 'sha512-256', 'sha3-224', 'sha3-256', 'sha3-384', 'sha3-512', 'blake2b512', 'blake2s256'];
const ABSENT = ['createCipheriv', 'createDecipheriv', 'createDiffieHellman', 'createECDH', 'createPrivateKey', 'createPublicKey', 'createSign', 'createVerify',
  'diffieHellman', 'generateKey', 'generateKeyPair', 'generateKeyPairSync', 'generateKeySync', 'hkdf', 'hkdfSync', 'pbkdf2', 'pbkdf2Sync', 'privateDecrypt', 'privateEncrypt', 'publicDecrypt',
  'publicEncrypt', 'scrypt', 'scryptSync', 'sign', 'verify'];
const RANGE = 2 ** 48 - 1; // of randomInt

export function nodeCrypto(load) {
  const natives = group('crypto');
  const { Buffer } = load('buffer');
  const LazyTransform = load('internal/streams/lazy_transform');
  const { codes: { ERR_CRYPTO_HASH_FINALIZED, ERR_CRYPTO_INVALID_DIGEST, ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE } } = load('internal/errors');
  const { validateFunction, validateInteger, validateString } = load('internal/validators');
  const { isAnyArrayBuffer } = load('internal/util/types');

  function bytesOf(data, encoding, name = 'data') {
    if (typeof data === 'string') return Buffer.from(data, encoding === 'buffer' ? 'utf8' : encoding);
    if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (isAnyArrayBuffer(data)) return Buffer.from(data);
    throw new ERR_INVALID_ARG_TYPE(name, ['string', 'Buffer', 'TypedArray', 'DataView'], data);
  }

  function outputOf(buffer, encoding) {
    const bytes = Buffer.from(buffer);
    return encoding === undefined || encoding === 'buffer' ? bytes : bytes.toString(encoding);
  }

  // What is to be digested is kept until it is.
  class Digest extends LazyTransform {
    #chunks = [];
    #done = false;
    #make;
    constructor(make, options) {
      super(options);
      this.#make = make;
    }
    update(data, encoding) {
      if (this.#done) throw new ERR_CRYPTO_HASH_FINALIZED();
      this.#chunks.push(Buffer.from(bytesOf(data, encoding)));
      return this;
    }
    digest(encoding) {
      if (this.#done) throw new ERR_CRYPTO_HASH_FINALIZED();
      this.#done = true;
      const all = Buffer.concat(this.#chunks);
      this.#chunks = [];
      return outputOf(this.#make(all), encoding);
    }
    _transform(chunk, encoding, done) {
      this.#chunks.push(bytesOf(chunk, encoding));
      done();
    }
    _flush(done) {
      this.push(this.digest());
      done();
    }
    static copy(from, to) {
      if (from.#done) throw new ERR_CRYPTO_HASH_FINALIZED();
      to.#chunks = from.#chunks.slice();
      return to;
    }
  }
  const { copy } = Digest;
  delete Digest.copy;

  class Hash extends Digest {
    #name;
    constructor(name, options) {
      super((bytes) => natives.digest(name, bytes), options);
      this.#name = name;
    }
    copy(options) { return copy(this, new Hash(this.#name, options)); }
  }
  class Hmac extends Digest {
    constructor(name, key, options) {
      super((bytes) => natives.hmac(name, key, bytes), options);
    }
  }

  // Of keys there are secret ones, which HMACs take: packages that sign tokens (jsonwebtoken) make them of what they are given.
  const own = Symbol('secret key');
  class KeyObject {
    #bytes;
    constructor(mark, bytes) {
      if (mark !== own) throw codeError('ERR_METHOD_NOT_IMPLEMENTED', 'isolates have no keys but those of crypto.createSecretKey; crypto.subtle has others');
      this.#bytes = bytes;
    }
    get type() { return 'secret'; }
    get symmetricKeySize() { return this.#bytes.length; }
    export(options) {
      if (options?.format === 'jwk') return { kty: 'oct', k: this.#bytes.toString('base64url') };
      return Buffer.from(this.#bytes);
    }
    equals(other) { return #bytes in other && this.#bytes.equals(other.#bytes); }
    static bytesOf(key, encoding) { return typeof key === 'object' && key !== null && #bytes in key ? key.#bytes : bytesOf(key, encoding, 'key'); }
  }
  const { bytesOf: bytesOfKey } = KeyObject;
  delete KeyObject.bytesOf;

  const exists = (name) => natives.digest(name, new Uint8Array(0)) !== undefined;
  const known = (name, what = 'algorithm', is = '') => {
    validateString(name, what);
    if (!exists(name)) throw new Error(`Digest method${is} not supported`);
    return name;
  };
  function hmac(name, key, options) {
    validateString(name, 'hmac');
    const bytes = Buffer.from(bytesOfKey(key, options?.encoding));
    if (!exists(name)) throw new ERR_CRYPTO_INVALID_DIGEST(name);
    return new Hmac(name, bytes, options);
  }

  function randomFillSync(buffer, offset = 0, size = undefined) {
    if (!ArrayBuffer.isView(buffer) && !isAnyArrayBuffer(buffer)) throw new ERR_INVALID_ARG_TYPE('buf', ['ArrayBuffer', 'ArrayBufferView'], buffer);
    const unit = buffer.BYTES_PER_ELEMENT ?? 1;
    validateInteger(offset, 'offset', 0, buffer.byteLength / unit);
    const bytes = offset * unit;
    if (size !== undefined) validateInteger(size, 'size', 0, buffer.byteLength / unit - offset);
    const n = size === undefined ? buffer.byteLength - bytes : size * unit;
    natives.random(ArrayBuffer.isView(buffer) ? new Uint8Array(buffer.buffer, buffer.byteOffset + bytes, n) : new Uint8Array(buffer, bytes, n));
    return buffer;
  }

  function later(callback, result) {
    if (callback === undefined) return result;
    validateFunction(callback, 'callback');
    nextTick(callback, null, result);
    return undefined;
  }

  function randomInt(min, max, callback) {
    const alone = max === undefined || typeof max === 'function';
    if (alone) [min, max, callback] = [0, min, max];
    if (!Number.isSafeInteger(min)) throw new ERR_INVALID_ARG_TYPE('min', 'a safe integer', min);
    if (!Number.isSafeInteger(max)) throw new ERR_INVALID_ARG_TYPE('max', 'a safe integer', max);
    if (max <= min) throw new ERR_OUT_OF_RANGE('max', `greater than the value of "min" (${min})`, max);
    const range = max - min;
    if (range > RANGE) throw new ERR_OUT_OF_RANGE(alone ? 'max' : 'max - min', `<= ${RANGE}`, range);
    const limit = RANGE - (RANGE % range); // beyond it some numbers would come more often
    const bytes = Buffer.allocUnsafe(6);
    let n;
    do {
      natives.random(bytes);
      n = bytes.readUIntBE(0, 6);
    } while (n >= limit);
    return later(callback, min + (n % range));
  }

  const web = webCrypto();
  const exports = {
    createHash: (name, options) => new Hash(known(name), options),
    createHmac: hmac,
    createSecretKey(key, encoding) {
      if (typeof key !== 'string' && !ArrayBuffer.isView(key) && !isAnyArrayBuffer(key)) throw new ERR_INVALID_ARG_TYPE('key', ['ArrayBuffer', 'Buffer', 'TypedArray', 'DataView'], key);
      return new KeyObject(own, Buffer.from(bytesOf(key, encoding)));
    },
    KeyObject,
    hash: (name, data, options = 'hex') => outputOf(natives.digest(known(name, 'algorithm', ` ${name} is`), bytesOf(data, undefined, 'input')), typeof options === 'string' ? options : options?.outputEncoding ?? 'hex'),
    Hash,
    Hmac,
    getHashes: () => HASHES.slice(),
    getCiphers: () => [],
    getCurves: () => [],
    getFips: () => 0,
    randomBytes(size, callback) {
      validateInteger(size, 'size', 0, 2 ** 31 - 1);
      return later(callback, randomFillSync(Buffer.alloc(size)));
    },
    randomFillSync,
    randomFill(buffer, offset, size, callback) {
      const done = typeof offset === 'function' ? offset : typeof size === 'function' ? size : callback;
      validateFunction(done, 'callback');
      later(done, randomFillSync(buffer, typeof offset === 'number' ? offset : 0, typeof size === 'number' ? size : undefined));
    },
    randomInt,
    randomUUID: () => web.crypto.randomUUID(),
    getRandomValues: (array) => web.crypto.getRandomValues(array),
    timingSafeEqual(a, b) {
      const [x, y] = [bytesOf(a, undefined, 'buf1'), bytesOf(b, undefined, 'buf2')];
      if (x.length !== y.length) throw Object.assign(new RangeError('Input buffers must have the same byte length'), { code: 'ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH' });
      return natives.equal(x, y);
    },
    webcrypto: web.crypto,
    subtle: web.crypto.subtle,
    constants: {},
  };
  for (let i = 0; i < ABSENT.length; i++) {
    const name = ABSENT[i];
    const absent = () => { throw codeError('ERR_METHOD_NOT_IMPLEMENTED', `isolates do not have crypto.${name}; crypto.subtle has keys, signatures and ciphers`); };
    defineProperty(absent, 'name', { __proto__: null, value: name, configurable: true });
    exports[name] = absent;
  }
  return exports;
}
