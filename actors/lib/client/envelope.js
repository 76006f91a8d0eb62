// SPDX-License-Identifier: Apache-2.0
//
// Frames and the envelope in them, as docs/wire.md says: a length of 4 bytes, then [version, kind, id, src, dst, event,
// timeout, chain, args]. A frame that is wrong in any way throws EPROTO: its connection cannot be trusted any longer.
import { FRAME_MAX, writeArgs } from './codec.js';
import { codeError } from './errors.js';
import { ARRAY, NUMBER, Reader, STR, Writer, malformed } from './msgpack.js';

export const WIRE_VERSION = 1;
export const ASK = 1, EMIT = 2, REPLY = 3, FAIL = 4, SUB = 5, UNSUB = 6, EVENT = 7, STOP = 8, START = 9, CANCEL = 10;

/** A whole frame, length included. Throws ECLONE (an argument that cannot be sent) and ETOOBIG. */
export function encodeFrame({ kind, id = 0, src = '', dst = '', event = '', timeout = 0, args = [] }) {
  const w = new Writer();
  w.uint32(0);
  w.array(9);
  w.int(WIRE_VERSION);
  w.int(kind);
  w.int(id);
  w.str(src);
  w.str(dst);
  w.str(event);
  w.int(timeout);
  w.array(0);
  writeArgs(w, args);
  if (w.length - 4 > FRAME_MAX)
    throw codeError('ETOOBIG', `the message takes ${w.length - 4} bytes; ${FRAME_MAX >> 20} MiB is the most`);
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
  if (item(ARRAY, 'envelope') !== 9) throw malformed('its envelope has not nine fields');
  const version = uint('version');
  if (version !== WIRE_VERSION) throw malformed(`it is of wire version ${version}; this is ${WIRE_VERSION}`);
  const kind = uint('kind');
  if (kind < ASK || kind > CANCEL) throw malformed(`kind ${kind} is not known`);
  const message = { kind, id: uint('id'), src: item(STR, 'src'), dst: item(STR, 'dst'), event: item(STR, 'event'),
    timeout: uint('timeout'), chain: [], args: undefined };
  for (let n = item(ARRAY, 'chain'); n > 0; n--) message.chain.push(item(STR, 'chain'));
  message.args = r.rest;
  return message;
}

/** Cuts a stream of bytes into frames. */
export class FrameParser {
  #chunks = [];
  #have = 0;
  #want = 4; // bytes needed to go on: a length, or a length and its frame

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
      const n = bytes.readUInt32BE(0);
      if (n === 0 || n > FRAME_MAX) throw malformed(`a frame of ${n} bytes`);
      if (bytes.length < 4 + n) {
        this.#want = 4 + n;
        break;
      }
      frame(bytes.subarray(4, 4 + n));
      bytes = bytes.subarray(4 + n);
    }
    if (bytes.length > 0) {
      this.#chunks.push(bytes);
      this.#have = bytes.length;
    }
  }
}
