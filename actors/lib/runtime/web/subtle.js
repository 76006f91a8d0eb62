// SPDX-License-Identifier: Apache-2.0
//
// crypto.subtle: Node's own web cryptography does the work, outside of the isolate (node-agent/actor-host/outside/subtle.cjs). A key is
// its bytes, which stay here and go along with each operation; whether a script may have them, and what a key is for, is checked on both
// sides. Digests are made here (node_crypto.cc).
//
// What goes out: { op, args }, JSON in which bytes are { b: [offset, length] } of one block, and keys { k: description }.
import { io, NativePromise } from 'isola:born';
import { domException, load } from '../node/loader.js';
import { errorOf } from './fetch.js';

const { parse, stringify } = JSON;
const DEPTH_MAX = 4; // of an algorithm: { name, hash: { name } }
const DIGESTS = { __proto__: null, 'SHA-1': 'SHA1', 'SHA-256': 'SHA256', 'SHA-384': 'SHA384', 'SHA-512': 'SHA512', 'SHA3-256': 'SHA3-256', 'SHA3-384': 'SHA3-384', 'SHA3-512': 'SHA3-512' };

export function subtleCrypto(natives) {
  const { isAnyArrayBuffer } = load('internal/util/types');
  const { codes: { ERR_ILLEGAL_CONSTRUCTOR, ERR_INVALID_THIS, ERR_MISSING_ARGS } } = load('internal/errors');
  const fail = (message, name) => new (domException())(message, name);
  const secret = {}; // who may make a key

  class CryptoKey {
    #about; // { type, algorithm, usages, format } as outside/subtle.cjs gave them
    #bytes;
    #extractable;
    #algorithm;
    #usages;
    constructor(token, about, bytes, extractable) {
      if (token !== secret) throw new ERR_ILLEGAL_CONSTRUCTOR();
      this.#about = about;
      this.#bytes = bytes;
      this.#extractable = extractable;
    }
    get type() { return this.#about.type; }
    get extractable() { return this.#extractable; }
    get algorithm() {
      if (this.#algorithm === undefined) {
        const { publicExponent } = this.#about.algorithm;
        this.#algorithm = structuredClone(this.#about.algorithm);
        if (publicExponent !== undefined) this.#algorithm.publicExponent = Uint8Array.from(publicExponent);
      }
      return this.#algorithm;
    }
    get usages() { return this.#usages ??= this.#about.usages.slice(); }
    static about(key) { return typeof key === 'object' && key !== null && #about in key ? key.#about : undefined; }
    static bytes(key) { return key.#bytes; }
    static is(key, extractable) { return key.#extractable === extractable; }
  }
  const { about, bytes: secretBytes, is } = CryptoKey;
  delete CryptoKey.about; delete CryptoKey.bytes; delete CryptoKey.is;

  const isBytes = (v) => ArrayBuffer.isView(v) || isAnyArrayBuffer(v);
  const viewOf = (v) => (ArrayBuffer.isView(v) ? new Uint8Array(v.buffer, v.byteOffset, v.byteLength) : new Uint8Array(v));

  /** Arguments as JSON and one block of bytes. */
  function pack(op, args) {
    const blocks = [];
    let n = 0;
    const add = (view) => {
      blocks.push(view);
      n += view.byteLength;
      return { b: [n - view.byteLength, view.byteLength] };
    };
    const one = (value, depth) => {
      if (typeof value !== 'object' || value === null) return value;
      if (isBytes(value)) return add(viewOf(value));
      const key = about(value);
      if (key !== undefined) return { k: key, ...add(secretBytes(value)) };
      if (depth === 0) throw new TypeError('an algorithm is not nested so deep');
      if (Array.isArray(value)) return value.map((v) => one(v, depth - 1));
      const o = {};
      for (const name in value) if (value[name] !== undefined) o[name] = one(value[name], depth - 1);
      return { o };
    };
    const head = stringify({ op, args: args.map((a) => one(a, DEPTH_MAX)) });
    const block = new Uint8Array(n);
    n = 0;
    for (let i = 0; i < blocks.length; i++) {
      block.set(blocks[i], n);
      n += blocks[i].byteLength;
    }
    return { head, block };
  }

  function errorFrom(described) {
    if (described.name === 'TypeError' || described.name === 'Error' || described.code === 'EOVERLOAD') return errorOf(described);
    const error = fail(described.message, described.name);
    return described.cause === undefined ? error : Object.defineProperty(error, 'cause', { __proto__: null, value: errorOf(described.cause), configurable: true, writable: true });
  }

  /** Has it done; fulfils with what `result(info, bytes)` makes of the answer. */
  const outside = (op, args, result) => new NativePromise((resolve, reject) => {
    const { head, block } = pack(op, args);
    io.start('subtle', false, head, block, (last, said, body) => {
      if (body === null) return reject(fail('no memory for the result', 'OperationError'));
      const info = parse(said);
      if (info.error !== undefined) return reject(errorFrom(info.error));
      return resolve(result(info, body ?? new ArrayBuffer(0)));
    });
  });

  const buffer = (info, bytes) => bytes;
  const keyOf = (extractable) => {
    const make = (info, bytes) => new CryptoKey(secret, info.key, new Uint8Array(bytes, ...(info.at ?? [])), info.key.type === 'public' || extractable);
    return (info, bytes) => (info.pair === undefined ? make(info, bytes)
      : { publicKey: make(info.pair.publicKey, bytes), privateKey: make(info.pair.privateKey, bytes) });
  };

  function check(self, args, least) {
    if (!(self instanceof SubtleCrypto)) throw new ERR_INVALID_THIS('SubtleCrypto');
    if (args.length < least) throw new ERR_MISSING_ARGS(`${least} arguments`);
  }
  function wantKey(key) {
    if (about(key) === undefined) throw new TypeError('the key must be a CryptoKey');
    return key;
  }
  function wantBytes(data) {
    if (!isBytes(data)) throw new TypeError('the data must be an ArrayBuffer or a view of one');
    return data;
  }
  function usagesOf(usages) {
    if (typeof usages !== 'object' || usages === null) throw new TypeError('the usages must be a list');
    return Array.from(usages, String);
  }
  function extractableKey(key) {
    if (is(wantKey(key), false)) throw fail('the key is not extractable', 'InvalidAccessError');
    return key;
  }

  class SubtleCrypto {
    constructor(token) { if (token !== secret) throw new ERR_ILLEGAL_CONSTRUCTOR(); }
    async digest(algorithm, data) {
      check(this, arguments, 2);
      const name = `${algorithm?.name ?? algorithm}`.toUpperCase();
      if (DIGESTS[name] === undefined) throw fail('Unrecognized algorithm name', 'NotSupportedError');
      return natives.digest(DIGESTS[name], wantBytes(data));
    }
    async encrypt(algorithm, key, data) {
      check(this, arguments, 3);
      return outside('encrypt', [algorithm, wantKey(key), wantBytes(data)], buffer);
    }
    async decrypt(algorithm, key, data) {
      check(this, arguments, 3);
      return outside('decrypt', [algorithm, wantKey(key), wantBytes(data)], buffer);
    }
    async sign(algorithm, key, data) {
      check(this, arguments, 3);
      return outside('sign', [algorithm, wantKey(key), wantBytes(data)], buffer);
    }
    async verify(algorithm, key, signature, data) {
      check(this, arguments, 4);
      return outside('verify', [algorithm, wantKey(key), wantBytes(signature), wantBytes(data)], (info) => info.value);
    }
    async generateKey(algorithm, extractable, usages) {
      check(this, arguments, 3);
      return outside('generateKey', [algorithm, usagesOf(usages)], keyOf(!!extractable));
    }
    async importKey(format, data, algorithm, extractable, usages) {
      check(this, arguments, 5);
      if (format === 'jwk') {
        if (isBytes(data) || typeof data !== 'object' || data === null) throw new TypeError('a JWK is an object');
        if (extractable && data.ext === false) throw fail('the JWK says that it is not extractable', 'DataError');
      } else {
        wantBytes(data);
      }
      return outside('importKey', [`${format}`, data, algorithm, usagesOf(usages), !!extractable], keyOf(!!extractable));
    }
    async exportKey(format, key) {
      check(this, arguments, 2);
      const extractable = about(wantKey(key)).type !== 'public' ? extractableKey(key) : key;
      return outside('exportKey', [`${format}`, extractable], (info, bytes) => (info.jwk === undefined ? bytes : { ...info.jwk }));
    }
    async deriveBits(algorithm, key, length = null) {
      check(this, arguments, 2);
      return outside('deriveBits', [algorithm, wantKey(key), length], buffer);
    }
    async deriveKey(algorithm, key, derived, extractable, usages) {
      check(this, arguments, 5);
      return outside('deriveKey', [algorithm, wantKey(key), derived, usagesOf(usages)], keyOf(!!extractable));
    }
    async wrapKey(format, key, wrapping, algorithm) {
      check(this, arguments, 4);
      return outside('wrapKey', [`${format}`, extractableKey(key), wantKey(wrapping), algorithm], buffer);
    }
    async unwrapKey(format, wrapped, unwrapping, algorithm, unwrapped, extractable, usages) {
      check(this, arguments, 7);
      return outside('unwrapKey', [`${format}`, wantBytes(wrapped), wantKey(unwrapping), algorithm, unwrapped, usagesOf(usages)], keyOf(!!extractable));
    }
  }
  return { subtle: new SubtleCrypto(secret), SubtleCrypto, CryptoKey };
}
