// SPDX-License-Identifier: Apache-2.0
//
// msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), item by item: what codec.js and envelope.js write and
// read with. The writer always takes the shortest form. The reader checks every length against the bytes that are left
// before it believes it, so nothing is allocated for what a peer merely claims.
import { codeError } from './errors.js';

const TWO_32 = 2 ** 32;
const LARGE = 32768; // bytes of units that have a place of their own

export const malformed = (what) => codeError('EPROTO', `malformed message: ${what}`);

export class Writer {
  #buf;
  #len = 0;
  #origin = 0;
  #max;

  /** What would make it longer than `max` throws ETOOBIG, before there is memory for it. */
  constructor(max = Infinity) {
    this.#buf = Buffer.allocUnsafe(256);
    this.#max = max;
  }

  /** So many bytes will follow, at the least: throws when they cannot. */
  expect(n) {
    if (this.#len + n > this.#max) throw codeError('ETOOBIG', `the message takes more than ${this.#max >> 20} MiB`);
  }

  get length() { return this.#len; }
  /** The bytes written; valid until the writer is used again. */
  bytes() { return this.#buf.subarray(0, this.#len); }
  truncate(len) { this.#len = len; }

  /** Room for `n` bytes; returns where they begin. */
  #extend(n) {
    const at = this.#len;
    if (at + n > this.#buf.length) {
      this.expect(n);
      const bigger = Buffer.allocUnsafe(Math.max(at + n, Math.min(this.#max, this.#buf.length * 2)));
      this.#buf.copy(bigger, 0, 0, at);
      this.#buf = bigger;
    }
    this.#len = at + n;
    return at;
  }

  byte(b) {
    const at = this.#extend(1);
    this.#buf[at] = b;
  }
  #tagged8(tag, v) {
    const at = this.#extend(2);
    this.#buf[at] = tag;
    this.#buf[at + 1] = v;
  }
  #tagged16(tag, v) {
    const at = this.#extend(3);
    this.#buf[at] = tag;
    this.#buf.writeUInt16BE(v, at + 1);
  }
  #tagged32(tag, v) {
    const at = this.#extend(5);
    this.#buf[at] = tag;
    this.#buf.writeUInt32BE(v, at + 1);
  }
  raw(bytes) {
    const at = this.#extend(bytes.length);
    this.#buf.set(bytes, at);
  }
  uint32(v) {
    const at = this.#extend(4);
    this.#buf.writeUInt32BE(v, at);
  }
  patch32(at, v) { this.#buf.writeUInt32BE(v, at); }

  nil() { this.byte(0xc0); }
  bool(v) { this.byte(v ? 0xc3 : 0xc2); }

  /** An integer of up to 2^53 either way. */
  int(v) {
    if (v >= 0) {
      if (v < 0x80) this.byte(v);
      else if (v < 0x100) this.#tagged8(0xcc, v);
      else if (v < 0x10000) this.#tagged16(0xcd, v);
      else if (v < TWO_32) this.#tagged32(0xce, v);
      else {
        const at = this.#extend(9);
        this.#buf[at] = 0xcf;
        this.#buf.writeUInt32BE(Math.floor(v / TWO_32), at + 1);
        this.#buf.writeUInt32BE(v % TWO_32, at + 5);
      }
    } else if (v >= -0x20) this.byte(v + 0x100);
    else if (v >= -0x80) this.#tagged8(0xd0, v + 0x100);
    else if (v >= -0x8000) this.#tagged16(0xd1, v + 0x10000);
    else if (v >= -0x80000000) this.#tagged32(0xd2, v + TWO_32);
    else {
      const at = this.#extend(9);
      this.#buf[at] = 0xd3;
      this.#buf.writeBigInt64BE(BigInt(v), at + 1);
    }
  }
  double(v) {
    const at = this.#extend(9);
    this.#buf[at] = 0xcb;
    this.#buf.writeDoubleBE(v, at + 1);
  }
  /** 8 bytes, without a tag. */
  rawDouble(v) {
    const at = this.#extend(8);
    this.#buf.writeDoubleBE(v, at);
  }
  str(s) {
    const n = Buffer.byteLength(s);
    if (n < 32) this.byte(0xa0 | n);
    else if (n < 0x100) this.#tagged8(0xd9, n);
    else if (n < 0x10000) this.#tagged16(0xda, n);
    else this.#tagged32(0xdb, n);
    this.utf8(s, n);
  }
  utf8(s, n = Buffer.byteLength(s)) {
    const at = this.#extend(n);
    this.#buf.write(s, at, n, 'utf8'); // a lone surrogate becomes U+FFFD
  }
  bin(bytes) {
    const n = bytes.length;
    if (n < 0x100) this.#tagged8(0xc4, n);
    else if (n < 0x10000) this.#tagged16(0xc5, n);
    else this.#tagged32(0xc6, n);
    this.raw(bytes);
  }
  array(n) {
    if (n < 16) this.byte(0x90 | n);
    else if (n < 0x10000) this.#tagged16(0xdc, n);
    else this.#tagged32(0xdd, n);
  }
  map(n) {
    if (n < 16) this.byte(0x80 | n);
    else if (n < 0x10000) this.#tagged16(0xde, n);
    else this.#tagged32(0xdf, n);
  }

  /** An extension whose length is not known yet: begin, write the payload, end with what begin returned. */
  extBegin(type) {
    const at = this.#extend(6);
    this.#buf[at] = type;
    return at;
  }
  extEnd(at) {
    const type = this.#buf[at], n = this.#len - at - 6;
    this.#len = at;
    this.#ext(type, n);
    if (this.#len < at + 6) this.#buf.copyWithin(this.#len, at + 6, at + 6 + n);
    this.#len += n;
  }
  #ext(type, n) {
    const fixed = n === 1 ? 0xd4 : n === 2 ? 0xd5 : n === 4 ? 0xd6 : n === 8 ? 0xd7 : n === 16 ? 0xd8 : 0;
    if (fixed !== 0) this.byte(fixed);
    else if (n < 0x100) this.#tagged8(0xc7, n);
    else if (n < 0x10000) this.#tagged16(0xc8, n);
    else this.#tagged32(0xc9, n);
    this.byte(type);
  }
  /** Here args begin: places are counted from it. */
  origin() { this.#origin = this.#len; }
  /** A string as an extension: its units, of one byte each ('latin1') or two ('utf16le'). Many of these at an even place, behind a 0 if need be. */
  units(type, s, encoding) {
    const n = encoding === 'latin1' ? s.length : 2 * s.length;
    const pad = encoding === 'utf16le' && n >= LARGE ? (this.#len - this.#origin) % 2 : 0;
    this.#ext(type, pad + n);
    if (pad === 1) this.byte(0);
    const at = this.#extend(n);
    this.#buf.write(s, at, n, encoding);
  }
}

export const NIL = 0, BOOL = 1, NUMBER = 2, STR = 3, BIN = 4, EXT = 5, ARRAY = 6, MAP = 7;

/**
 * A cursor over bytes. next() reads one item: its `kind` is returned, and then `value` holds the boolean, number, string
 * or bytes (BIN, EXT: borrowed from the input), or the count of an ARRAY or MAP, `ext` the type of an EXT.
 */
export class Reader {
  value;
  ext = 0;
  #buf;
  #at;
  #end;

  constructor(bytes, at = 0, end = bytes.length) {
    this.#buf = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
    this.#end = end;
  }

  get done() { return this.#at === this.#end; }
  get rest() { return this.#buf.subarray(this.#at, this.#end); }

  /** Moves over `n` bytes; returns where they begin. */
  #take(n) {
    const at = this.#at;
    if (this.#end - at < n) throw malformed('cut off');
    this.#at = at + n;
    return at;
  }
  #str(n) {
    const at = this.#take(n);
    this.value = this.#buf.toString('utf8', at, at + n);
    return STR;
  }
  #bin(n) {
    const at = this.#take(n);
    this.value = this.#buf.subarray(at, at + n);
    return BIN;
  }
  #extension(n) {
    this.ext = this.#buf.readInt8(this.#take(1));
    this.#bin(n);
    return EXT;
  }
  // Each item takes a byte at least: a count that says otherwise is a lie.
  #count(kind, n) {
    if (n * (kind === MAP ? 2 : 1) > this.#end - this.#at) throw malformed('more items than bytes');
    this.value = n;
    return kind;
  }
  #number(v) {
    this.value = v;
    return NUMBER;
  }

  next() {
    const buf = this.#buf;
    const tag = buf[this.#take(1)];
    if (tag < 0x80) return this.#number(tag);
    if (tag < 0x90) return this.#count(MAP, tag & 0x0f);
    if (tag < 0xa0) return this.#count(ARRAY, tag & 0x0f);
    if (tag < 0xc0) return this.#str(tag & 0x1f);
    if (tag >= 0xe0) return this.#number(tag - 0x100);
    switch (tag) {
      case 0xc0: this.value = null; return NIL;
      case 0xc2: this.value = false; return BOOL;
      case 0xc3: this.value = true; return BOOL;
      case 0xc4: return this.#bin(buf[this.#take(1)]);
      case 0xc5: return this.#bin(buf.readUInt16BE(this.#take(2)));
      case 0xc6: return this.#bin(buf.readUInt32BE(this.#take(4)));
      case 0xc7: return this.#extension(buf[this.#take(1)]);
      case 0xc8: return this.#extension(buf.readUInt16BE(this.#take(2)));
      case 0xc9: return this.#extension(buf.readUInt32BE(this.#take(4)));
      case 0xca: return this.#number(buf.readFloatBE(this.#take(4)));
      case 0xcb: return this.#number(buf.readDoubleBE(this.#take(8)));
      case 0xcc: return this.#number(buf[this.#take(1)]);
      case 0xcd: return this.#number(buf.readUInt16BE(this.#take(2)));
      case 0xce: return this.#number(buf.readUInt32BE(this.#take(4)));
      case 0xcf: return this.#number(Number(buf.readBigUInt64BE(this.#take(8))));
      case 0xd0: return this.#number(buf.readInt8(this.#take(1)));
      case 0xd1: return this.#number(buf.readInt16BE(this.#take(2)));
      case 0xd2: return this.#number(buf.readInt32BE(this.#take(4)));
      case 0xd3: return this.#number(Number(buf.readBigInt64BE(this.#take(8))));
      case 0xd4: return this.#extension(1);
      case 0xd5: return this.#extension(2);
      case 0xd6: return this.#extension(4);
      case 0xd7: return this.#extension(8);
      case 0xd8: return this.#extension(16);
      case 0xd9: return this.#str(buf[this.#take(1)]);
      case 0xda: return this.#str(buf.readUInt16BE(this.#take(2)));
      case 0xdb: return this.#str(buf.readUInt32BE(this.#take(4)));
      case 0xdc: return this.#count(ARRAY, buf.readUInt16BE(this.#take(2)));
      case 0xdd: return this.#count(ARRAY, buf.readUInt32BE(this.#take(4)));
      case 0xde: return this.#count(MAP, buf.readUInt16BE(this.#take(2)));
      case 0xdf: return this.#count(MAP, buf.readUInt32BE(this.#take(4)));
      default: throw malformed(`0x${tag.toString(16)} begins no value`);
    }
  }
}
