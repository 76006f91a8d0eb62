// SPDX-License-Identifier: Apache-2.0
//
// Frames and the envelope in them, as docs/wire.md says: a length of 4 bytes, then [version, kind, flags, id, seq, src, dst, event,
// timeout, trace, chain, args], or, in version 1, without flags, seq and trace, and with strings as UTF-8 alone. A frame that is wrong in any way throws EPROTO: its connection cannot be trusted any longer.
import { FRAME_MAX, MESSAGE_MAX, writeArgs } from './codec.js';
import { codeError } from './errors.js';
import { ARRAY, BIN, NUMBER, Reader, STR, Writer, malformed } from './msgpack.js';

export const WIRE_VERSION = 2, WIRE_OLDEST = 1; // what an agent of the release before speaks
export const ASK = 1, EMIT = 2, REPLY = 3, FAIL = 4, SUB = 5, UNSUB = 6, EVENT = 7, STOP = 8, START = 9, CANCEL = 10, ACK = 11, PACE = 12;
const DURABLE = 1; // flag
const EMPTY = new Uint8Array();

/**
 * A whole frame, length included. A message with `seq` is durable, but for an ACK; `trace`: bytes (traceOf); `encoded`: args as bytes
 * (encodeArgs). Throws ECLONE (an argument that cannot be sent) and ETOOBIG.
 */
export function encodeFrame({ version = WIRE_OLDEST, kind, id = 0, seq = 0, src = '', dst = '', event = '', timeout = 0, trace = EMPTY, args = [], encoded }) {
  const all = version > 1;
  const w = new Writer(4 + (all ? MESSAGE_MAX : FRAME_MAX)); // whom version 1 is spoken to knows no parts
  w.uint32(0);
  w.array(all ? 12 : 9);
  w.int(version);
  w.int(kind);
  if (all) w.int(seq !== 0 && kind !== ACK ? DURABLE : 0);
  w.int(id);
  if (all) w.int(seq);
  w.str(src);
  w.str(dst);
  w.str(event);
  w.int(timeout);
  if (all) w.bin(trace);
  w.array(0);
  if (encoded !== undefined) w.raw(encoded);
  else writeArgs(w, args, !all);
  w.patch32(0, w.length - 4);
  return w.bytes();
}

/** One frame without its length. `args` are its bytes, borrowed: decodeArgs reads them. */
export function decodeEnvelope(frame) {
  const r = new Reader(frame);
  const item = (kind, what) => {
    if (r.next() !== kind) throw malformed(`its ${what} is of another type`);
    return r.value;
  };
  const uint = (what) => {
    const v = item(NUMBER, what);
    if (!Number.isSafeInteger(v) || v < 0) throw malformed(`its ${what} is no unsigned integer`);
    return v;
  };
  const fields = item(ARRAY, 'envelope');
  const version = uint('version');
  if (version < WIRE_OLDEST || version > WIRE_VERSION) throw malformed(`it is of wire version ${version}; this library knows ${WIRE_OLDEST} to ${WIRE_VERSION}`);
  const all = version > 1;
  if (fields !== (all ? 12 : 9)) throw malformed(`its envelope has ${fields} fields`);
  const kind = uint('kind');
  if (kind < ASK || kind > (all ? PACE : CANCEL)) throw malformed(`kind ${kind} is not known`);
  const flags = all ? uint('flags') : 0;
  const message = { version, kind, flags, id: uint('id'), seq: all ? uint('seq') : 0, src: item(STR, 'src'), dst: item(STR, 'dst'), event: item(STR, 'event'),
    timeout: uint('timeout'), trace: all ? item(BIN, 'trace') : EMPTY, chain: [], args: undefined };
  for (let n = item(ARRAY, 'chain'); n > 0; n--) message.chain.push(item(STR, 'chain'));
  message.args = r.rest;
  return message;
}

const PART = 1, OPEN = 2; // items that are no whole frames: docs/wire.md
const ITEM_MAX = 64 << 10, OPEN_MAX = 64; // bytes of such an item, frames that come so at once

/** What encodeFrame has made as what is to be written: one piece, or, of a frame that is too large for that, the pieces of its parts. */
export function* piecesOf(frame, number) {
  if (frame.length <= 4 + FRAME_MAX) {
    yield frame;
    return;
  }
  for (let at = 4; at < frame.length;) {
    const kind = at === 4 ? OPEN : PART;
    const head = Buffer.allocUnsafe(kind === OPEN ? 16 : 8);
    const n = Math.min(frame.length - at, ITEM_MAX - (head.length - 4));
    head.writeUInt8(0x80 | kind, 0);
    head.writeUIntBE(head.length - 4 + n, 1, 3);
    head.writeUInt32BE(number, 4);
    if (kind === OPEN) head.writeBigUInt64BE(BigInt(frame.length - 4), 8);
    yield head;
    yield frame.subarray(at, at + n);
    at += n;
  }
}

/** Cuts a stream of bytes into frames, and puts together those that come in parts. */
export class FrameParser {
  #chunks = [];
  #have = 0;
  #want = 4; // bytes needed to go on: a header, or a header and what it is of
  #open = new Map(); // number → { total, have, parts } of a frame that comes in parts

  /** Calls `frame(bytes)` for each frame that is complete with `chunk`. */
  push(chunk, frame) {
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    if (this.#have < this.#want) return;
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#have);
    this.#chunks = [];
    this.#have = 0;
    this.#want = 4;
    while (bytes.length >= 4) {
      const header = bytes.readUInt32BE(0), kind = header >>> 24;
      const n = kind < 0x80 ? header : header & 0xffffff;
      if (kind < 0x80 ? n === 0 || n > FRAME_MAX : n > ITEM_MAX) throw malformed(kind < 0x80 ? `a frame of ${n} bytes` : `an item of ${n} bytes`);
      if (bytes.length < 4 + n) {
        this.#want = 4 + n;
        break;
      }
      const item = bytes.subarray(4, 4 + n);
      bytes = bytes.subarray(4 + n);
      const whole = kind < 0x80 ? item : this.#part(kind & 0x7f, item);
      if (whole !== undefined) frame(whole);
    }
    if (bytes.length > 0) {
      this.#chunks.push(bytes);
      this.#have = bytes.length;
    }
  }

  /** The frame that is whole with this part of it. */
  #part(kind, item) {
    if (kind !== PART && kind !== OPEN) throw malformed(`an item of kind ${kind}`);
    const head = kind === OPEN ? 12 : 4;
    if (item.length < head) throw malformed('a part of a frame is cut off');
    const number = item.readUInt32BE(0);
    if (kind === OPEN) {
      const total = Number(item.readBigUInt64BE(4));
      if (total === 0 || total > MESSAGE_MAX || this.#open.size === OPEN_MAX || this.#open.has(number)) throw malformed(`a frame of ${total} bytes in parts`);
      this.#open.set(number, { total, have: 0, parts: [] });
    }
    const whole = this.#open.get(number);
    if (whole === undefined || item.length === head || item.length - head > whole.total - whole.have) throw malformed('a part of a frame, where none is due');
    whole.parts.push(Buffer.from(item.subarray(head))); // what it came in is not kept for it
    whole.have += item.length - head;
    if (whole.have < whole.total) return undefined;
    this.#open.delete(number);
    return Buffer.concat(whole.parts, whole.total);
  }
}
