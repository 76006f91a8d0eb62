// SPDX-License-Identifier: Apache-2.0
//
// JavaScript values as bytes and back: the arguments of a message, as docs/wire.md says.
//
// Happy path: encodeArgs walks the values once and writes them; decodeArgs reads them once. Objects are numbered in the
// order in which they begin, on both sides alike, so that cycles and shared references arrive as they were.
// Failure modes: what cannot be sent throws ECLONE with the path to it, bytes that are no values throw EPROTO; either way
// nothing was sent and nothing of the sender's is changed.
// Invariants: args itself is object 0; every msgpack array, map and bin and every extension of type 3 to 8, 10 and 11 takes
// a number (so does the map inside of an Error, which nothing refers to); nesting is bounded by DEPTH.
import { types } from 'node:util';

import { codeError } from './errors.js';
import { ARRAY, BIN, BOOL, EXT, MAP, NIL, NUMBER, Reader, STR, Writer, malformed } from './msgpack.js';

export const FRAME_MAX = 64 * 1024 * 1024; // bytes of a frame that is sent whole
export const MESSAGE_MAX = 2 ** 30; // and of one in parts
const DEPTH = 200;

// Whatever has this property, a string, is sent as a ref to that address.
export const kAddress = Symbol.for('isola.address');

// Extension types and element kinds: the numbers are the wire format.
const UNDEFINED = 1, BIGINT = 2, DATE = 3, MAP_EXT = 4, SET = 5, REGEXP = 6, ERROR = 7, TYPED_ARRAY = 8, BACKREF = 9, REF = 10,
  ARRAY_BUFFER = 11, LATIN1 = 12, UTF16 = 13, STREAM = 14;
const LONG = 64, TRIED = 128, UNREAD = 1024; // units: a text of so many, those by which it is judged, and one that may be ASCII as well
const STREAMS = 'streams go between actors alone: a program can neither send nor receive one';
const DATA_VIEW = 11, FLOAT16 = 12;
const ELEMENTS = [undefined, Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array,
  Float64Array, BigInt64Array, BigUint64Array, DataView, globalThis.Float16Array];
const kindOf = new Map(ELEMENTS.map((c, kind) => [c?.name, kind]));
const TypedArray = Object.getPrototypeOf(Int8Array);
const tagOf = Object.getOwnPropertyDescriptor(TypedArray.prototype, Symbol.toStringTag).get;

// --- encoding ---

class Encoder {
  units = false; // was there a string that is not UTF-8?
  #w;
  #older; // for who speaks version 1, which has no others
  #seen = new Map(); // object → its number
  #count = 0;
  #path = []; // how the value at hand is reached: an index, a name, or a piece of text in an array of one

  constructor(writer, older) {
    this.#w = writer;
    this.#older = older;
  }

  args(values) {
    this.#array(values, 1);
  }

  #refuse(what) {
    throw codeError('ECLONE', `${pathText(this.#path)}: ${what}`);
  }

  #value(v, depth) {
    const w = this.#w;
    switch (typeof v) {
      case 'string': this.#text(v); break;
      case 'number':
        if (Number.isInteger(v) && Math.abs(v) <= 2 ** 53 && !Object.is(v, -0)) w.int(v);
        else w.double(v);
        break;
      case 'boolean': w.bool(v); break;
      case 'undefined': w.byte(0xc7); w.byte(0); w.byte(UNDEFINED); break;
      case 'bigint': this.#bigint(v); break;
      case 'function': this.#refuse(types.isProxy(v) ? 'a proxy of a function cannot be sent' : 'a function cannot be sent'); break;
      case 'symbol': this.#refuse('a symbol cannot be sent'); break;
      default: if (v === null) w.nil(); else this.#object(v, depth + 1);
    }
  }

  // The units of a string as they are when that is shorter or spares a look at them, and when UTF-8 cannot have them.
  #text(s) {
    let type = 0;
    if (s.length >= LONG) {
      const ascii = Buffer.byteLength(s) === s.length, tried = s.slice(0, TRIED);
      if (ascii ? s.length >= UNREAD : /^[\0-\xff]*$/.test(s)) type = LATIN1;
      else if (!ascii && Buffer.byteLength(tried) >= 2 * tried.length) type = UTF16;
    }
    if (type === 0 && !s.isWellFormed()) type = UTF16;
    if (type === 0 || this.#older) {
      this.#w.str(s);
      return;
    }
    this.units = true;
    this.#w.units(type, s, type === LATIN1 ? 'latin1' : 'utf16le');
  }

  #bigint(v) {
    const at = this.#w.extBegin(BIGINT);
    this.#w.byte(v < 0n ? 1 : 0);
    if (v !== 0n) {
      const hex = (v < 0n ? -v : v).toString(16);
      this.#w.raw(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex').reverse());
    }
    this.#w.extEnd(at);
  }

  #object(v, depth) {
    const number = this.#seen.get(v);
    if (number !== undefined) {
      const at = this.#w.extBegin(BACKREF);
      if (number < 0x100) this.#w.byte(number);
      else if (number < 0x10000) this.#w.raw([number >> 8, number & 0xff]);
      else this.#w.uint32(number);
      this.#w.extEnd(at);
      return;
    }
    if (depth > DEPTH) this.#refuse(`nested deeper than ${DEPTH}`);
    if (Array.isArray(v)) this.#array(v, depth);
    else if (typeof v[kAddress] === 'string') this.#ext(v, REF, () => this.#w.utf8(v[kAddress]));
    else if (types.isProxy(v)) this.#proxy(v, depth);
    else if (ArrayBuffer.isView(v)) this.#view(v);
    else if (types.isDate(v)) this.#ext(v, DATE, () => this.#w.rawDouble(Date.prototype.getTime.call(v)));
    else if (types.isMap(v)) this.#map(v, depth);
    else if (types.isSet(v)) this.#set(v, depth);
    else if (types.isNativeError(v) || v instanceof Error) this.#error(v, depth);
    else if (types.isRegExp(v)) {
      this.#ext(v, REGEXP, () => {
        this.#w.str(v.source);
        this.#w.str(v.flags);
      });
    } else if (types.isArrayBuffer(v)) this.#ext(v, ARRAY_BUFFER, () => this.#w.raw(new Uint8Array(v)));
    else if (v instanceof ReadableStream || v instanceof WritableStream) this.#refuse(STREAMS);
    else if (types.isBoxedPrimitive(v)) this.#value(unboxed(v), depth);
    else this.#plain(v, depth);
  }

  #number(v) {
    this.#seen.set(v, this.#count++);
  }

  #ext(v, type, payload) {
    this.#number(v);
    const at = this.#w.extBegin(type);
    payload();
    this.#w.extEnd(at);
  }

  #at(step, v, depth) {
    this.#path.push(step);
    this.#value(v, depth);
    this.#path.pop();
  }

  #array(v, depth) {
    this.#number(v);
    const n = v.length;
    this.#w.expect(n); // a byte each
    this.#w.array(n);
    for (let i = 0; i < n; i++) this.#at(i, v[i], depth);
  }

  #plain(v, depth) {
    const what = unsendable(v);
    if (what !== undefined) this.#refuse(`${what} cannot be sent`);
    this.#number(v);
    const keys = Object.keys(v);
    this.#w.map(keys.length);
    for (const key of keys) {
      this.#w.str(key);
      this.#at(key, v[key], depth);
    }
  }

  // Of an object or a class's instance it passes for one; of anything built in its methods would fail.
  #proxy(v, depth) {
    const builtin = [Map, Set, Date, RegExp, Error, Promise, ArrayBuffer, TypedArray, DataView].find((c) => v instanceof c);
    if (builtin !== undefined) this.#refuse(`a proxy of a ${builtin.name} cannot be sent`);
    this.#plain(v, depth);
  }

  #map(v, depth) {
    this.#ext(v, MAP_EXT, () => {
      let i = 0;
      for (const [key, value] of Map.prototype.entries.call(v)) {
        this.#at([`.keys()[${i++}]`], key, depth);
        this.#at([`.get(${keyText(key)})`], value, depth);
      }
    });
  }

  #set(v, depth) {
    this.#ext(v, SET, () => {
      let i = 0;
      for (const value of Set.prototype.values.call(v)) this.#at([`.values()[${i++}]`], value, depth);
    });
  }

  #error(v, depth) {
    const fields = [];
    for (const key of ['name', 'message', 'stack']) {
      const text = v[key];
      if (typeof text === 'string') fields.push([key, text]);
    }
    const code = v.code;
    if (typeof code === 'string' || typeof code === 'number') fields.push(['code', code]);
    if (Object.hasOwn(v, 'cause')) fields.push(['cause', v.cause]);
    if (depth + 1 > DEPTH) this.#refuse(`nested deeper than ${DEPTH}`);
    this.#ext(v, ERROR, () => {
      this.#count++; // the map's, which is a level of its own, too
      this.#w.map(fields.length);
      for (const [key, value] of fields) {
        this.#w.str(key);
        if (typeof value === 'string' && key !== 'cause') this.#w.str(value);
        else this.#at(key, value, depth + 1);
      }
    });
  }

  #view(v) {
    const name = types.isDataView(v) ? 'DataView' : tagOf.call(v);
    if (name === 'Uint8Array') {
      this.#number(v);
      this.#w.bin(v);
      return;
    }
    const kind = kindOf.get(name);
    if (kind === undefined) this.#refuse(`a ${name} cannot be sent`);
    let bytes;
    try {
      bytes = new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
    } catch {
      this.#refuse(`a ${name} whose buffer was transferred away cannot be sent`);
    }
    this.#ext(v, TYPED_ARRAY, () => {
      this.#w.byte(kind);
      this.#w.raw(bytes); // little-endian, as every machine this runs on
    });
  }
}

function unboxed(v) {
  if (types.isNumberObject(v)) return Number.prototype.valueOf.call(v);
  if (types.isStringObject(v)) return String.prototype.valueOf.call(v);
  if (types.isBooleanObject(v)) return Boolean.prototype.valueOf.call(v);
  return types.isBigIntObject(v) ? BigInt.prototype.valueOf.call(v) : Symbol.prototype.valueOf.call(v);
}

function unsendable(v) {
  if (types.isPromise(v)) return 'a promise';
  if (types.isWeakMap(v)) return 'a WeakMap';
  if (types.isWeakSet(v)) return 'a WeakSet';
  if (v instanceof WeakRef) return 'a WeakRef';
  if (types.isSharedArrayBuffer(v)) return 'a SharedArrayBuffer';
  if (types.isGeneratorObject(v)) return 'a generator';
  if (types.isMapIterator(v) || types.isSetIterator(v)) return 'an iterator';
  if (types.isExternal(v)) return 'an external value';
  return undefined;
}

function keyText(key) {
  return typeof key === 'string' ? JSON.stringify(key) : typeof key === 'object' || typeof key === 'function' ? '…' : String(key);
}

function pathText(path) {
  return path.reduce((text, step) => text + (typeof step === 'number' ? `[${step}]`
    : typeof step !== 'string' ? step[0]
      : /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`), 'args');
}

/** Appends an args array to a Writer; `older`: for who speaks wire version 1. Returns whether it has what version 1 has not. */
export function writeArgs(writer, args, older = false) {
  const encoder = new Encoder(writer, older);
  writer.origin();
  encoder.args(args);
  return encoder.units;
}

/** An array of arguments as bytes. Throws ECLONE with the path to what cannot be sent, and ETOOBIG. */
export function encodeArgs(args, max = MESSAGE_MAX) {
  const writer = new Writer(max);
  writeArgs(writer, args);
  return writer.bytes();
}

// --- decoding ---

const ERRORS = new Map([EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((c) => [c.name, c]));

class Decoder {
  #r;
  #makeRef;
  #objects = []; // by number; undefined where nothing may refer to

  constructor(reader, makeRef) {
    this.#r = reader;
    this.#makeRef = makeRef;
  }

  args() {
    const kind = this.#r.next();
    if (kind !== ARRAY) throw malformed('args is no array');
    const args = this.#array(this.#r.value, 0);
    if (!this.#r.done) throw malformed('bytes after the arguments');
    return args;
  }

  #value(depth) {
    if (depth > DEPTH) throw malformed(`nested deeper than ${DEPTH}`);
    const r = this.#r;
    switch (r.next()) {
      case NIL: case BOOL: case NUMBER: case STR: return r.value;
      case BIN: return this.#register(new Uint8Array(r.value)); // a copy: the frame's memory goes
      case ARRAY: return this.#array(r.value, depth);
      case MAP: return this.#plain(r.value, depth);
      default: return this.#extension(r.ext, r.value, depth);
    }
  }

  #register(object) {
    this.#objects.push(object);
    return object;
  }

  #array(n, depth) {
    const array = this.#register([]);
    for (let i = 0; i < n; i++) array.push(this.#value(depth + 1));
    return array;
  }

  #key() {
    if (this.#r.next() !== STR) throw malformed('a map has a key that is no string');
    return this.#r.value;
  }

  #plain(n, depth) {
    const object = this.#register({});
    for (let i = 0; i < n; i++) {
      const key = this.#key();
      const value = this.#value(depth + 1);
      if (key === '__proto__') define(object, key, value, true);
      else object[key] = value;
    }
    return object;
  }

  // Reads the payload of an extension with `read`, which must use it up.
  #within(bytes, read) {
    const outer = this.#r;
    this.#r = new Reader(bytes);
    read(this.#r);
    if (!this.#r.done) throw malformed('bytes after the value in an extension');
    this.#r = outer;
  }

  #extension(type, bytes, depth) {
    switch (type) {
      case UNDEFINED:
        if (bytes.length !== 0) throw malformed('undefined with a payload');
        return undefined;
      case BIGINT: {
        if (bytes.length === 0 || bytes[0] > 1) throw malformed('a BigInt without a sign');
        const magnitude = bytes.length === 1 ? 0n : BigInt(`0x${Buffer.from(bytes.subarray(1)).reverse().toString('hex')}`);
        return bytes[0] === 1 ? -magnitude : magnitude;
      }
      case DATE:
        if (bytes.length !== 8) throw malformed('a Date not of 8 bytes');
        return this.#register(new Date(bytes.readDoubleBE(0)));
      case MAP_EXT: {
        const map = this.#register(new Map());
        this.#within(bytes, (r) => {
          while (!r.done) {
            const key = this.#value(depth + 1);
            map.set(key, this.#value(depth + 1));
          }
        });
        return map;
      }
      case SET: {
        const set = this.#register(new Set());
        this.#within(bytes, (r) => {
          while (!r.done) set.add(this.#value(depth + 1));
        });
        return set;
      }
      case LATIN1: return bytes.latin1Slice();
      case UTF16:
        if (bytes.length % 2 === 0) return bytes.ucs2Slice();
        if (bytes[0] !== 0) throw malformed('a string that ends within a character');
        return bytes.ucs2Slice(1);
      case REGEXP: return this.#regexp(bytes);
      case ERROR: return this.#error(bytes, depth);
      case TYPED_ARRAY: return this.#view(bytes);
      case BACKREF: {
        if (bytes.length !== 1 && bytes.length !== 2 && bytes.length !== 4) throw malformed('a back reference of an odd size');
        const object = this.#objects[bytes.readUIntBE(0, bytes.length)];
        if (object === undefined) throw malformed('a back reference to nothing');
        return object;
      }
      case REF: return this.#register(this.#makeRef(bytes.toString('utf8')));
      case ARRAY_BUFFER: return this.#register(new Uint8Array(bytes).buffer);
      case STREAM: throw Object.assign(new Error(STREAMS), { code: 'ECLONE' });
      default: throw malformed(`extension ${type} is not known`);
    }
  }

  #regexp(bytes) {
    let source, flags;
    this.#within(bytes, () => {
      source = this.#key();
      flags = this.#key();
    });
    try {
      return this.#register(new RegExp(source, flags));
    } catch (error) {
      throw malformed(error.message);
    }
  }

  #view(bytes) {
    const kind = bytes[0];
    const Class = ELEMENTS[kind];
    if (Class === undefined)
      throw malformed(kind === FLOAT16 ? 'a Float16Array, which this Node.js does not have' : `element kind ${kind} is not known`);
    const buffer = new Uint8Array(bytes.subarray(1)).buffer;
    if (kind !== DATA_VIEW && buffer.byteLength % Class.BYTES_PER_ELEMENT !== 0)
      throw malformed(`a ${Class.name} that ends within an element`);
    return this.#register(new Class(buffer));
  }

  // The object must exist before its fields are read, for a cause may refer to it.
  #error(bytes, depth) {
    const peek = new Reader(bytes);
    const n = peek.next() === MAP ? peek.value : -1;
    if (n < 0) throw malformed('an Error without its map');
    const error = blank(n > 0 && peek.next() === STR && peek.value === 'name' && peek.next() === STR ? peek.value : 'Error');
    this.#register(error);
    this.#objects.push(undefined); // the map's number
    this.#within(bytes, (r) => {
      r.next();
      for (let i = 0; i < n; i++) {
        const key = this.#key();
        const value = this.#value(depth + 2);
        if (key === 'name' && typeof value === 'string') { if (error.name !== value) define(error, key, value, false); }
        else if ((key === 'message' || key === 'stack') && typeof value === 'string') define(error, key, value, false);
        else if (key === 'code' && (typeof value === 'string' || typeof value === 'number')) error.code = value;
        else if (key === 'cause') define(error, key, value, false);
      }
    });
    return error;
  }
}

function define(object, name, value, enumerable) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable });
}

// An Error of that class without the stack of here, which would only mislead.
function blank(name) {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return new (ERRORS.get(name) ?? Error)();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/**
 * Bytes as an array of arguments; `makeRef(address)` makes what stands for a ref. Throws EPROTO on anything that is not exactly
 * one args array.
 */
export function decodeArgs(bytes, makeRef = (address) => ({ [kAddress]: address })) {
  return new Decoder(new Reader(bytes), makeRef).args();
}
