// SPDX-License-Identifier: Apache-2.0
//
// Raw connections for tests that send what no well-meaning peer does: to an agent's unix socket, and through the encrypted channel to the ports
// where agents and actor-hosts listen for one another. They are bytes, items and frames (docs/wire.md); nothing is sent by itself but answers to pings.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import net from 'node:net';

import { decodeArgs, writeArgs } from '../../actors/lib/client/codec.js';
import { decodeEnvelope, encodeFrame } from '../../actors/lib/client/envelope.js';
import { Writer } from '../../actors/lib/client/msgpack.js';
import { Channel, Refused } from './channel.mjs';

const DEADLINE = 120_000; // ms
const HERE = 250; // ms between what one says who is not to be given up for silence
export const ASK = 1, EMIT = 2, REPLY = 3, FAIL = 4, SUB = 5, UNSUB = 6, EVENT = 7, CANCEL = 10, ACK = 11, PACE = 12;
export const CONTROL = 1, DATA = 2; // what a connection is for
export const PART = 1, OPEN = 2, PING = 3, PONG = 4, HEAD = 5, AGAIN = 6;
const SMALL_MAX = 16 << 10, PART_MAX = 60 << 10;

/** The port the process with this pid listens on, if it does. */
export function dataPort(pid) {
  const inodes = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
    } catch { // closed meanwhile
      return undefined;
    }
  }));
  for (const line of readFileSync(`/proc/${pid}/net/tcp`, 'latin1').split('\n').slice(1)) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state === '0A' && inodes.has(inode)) return parseInt(local.split(':')[1], 16);
  }
  return undefined;
}

const uint32 = (n) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
};

/** A frame: the length, and bytes that may be anything. */
export const frameOf = (bytes) => Buffer.concat([uint32(bytes.length), bytes]);
/** An item of another kind. */
export const itemOf = (kind, ...bytes) => {
  const all = Buffer.concat(bytes);
  return Buffer.concat([uint32((0x80000000 | kind << 24 | all.length) >>> 0), all]);
};
/** The beginning of a large frame of `total` bytes, and what follows of it. */
export const openOf = (number, total, bytes) => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(total));
  return itemOf(OPEN, uint32(number), length, bytes);
};
export const partOf = (number, bytes) => itemOf(PART, uint32(number), bytes);
const uint16 = (n) => Buffer.from([n >> 8, n & 255]);
/** A message whose head gets a number, and one with that head and other args (their bytes, or whatever). */
export const headOf = (number, frame) => itemOf(HEAD, uint16(number), frame);
export const againOf = (number, args) => itemOf(AGAIN, uint16(number), args);

// --- envelopes ---

/** An envelope of version 2, or one that says it were of another; `args` are values, or the bytes of them. */
export function envelopeOf({ version = 2, kind, flags = 0, id = 0, seq = 0, src = '', dst = '', event = '', timeout = 0, args = [] }) {
  const w = new Writer();
  w.array(12);
  for (const n of [version, kind, flags, id, seq]) w.int(n);
  for (const text of [src, dst, event]) w.str(text);
  w.int(timeout);
  w.bin(Buffer.alloc(0));
  w.array(0);
  if (Array.isArray(args)) writeArgs(w, args);
  else w.raw(args);
  return Buffer.from(w.bytes());
}

const makeRef = (address) => ({ address });
function readEnvelope(frame) {
  const m = decodeEnvelope(frame);
  return { ...m, args: decodeArgs(Buffer.from(m.args), makeRef) };
}

// --- connections ---

/** tcp://HOST:PORT → { host, port }. */
export function target(url) {
  const { hostname, port } = new URL(url.replace(/^tcp:/, 'http:'));
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}

export class Wire {
  frames = []; // { kind, id, …, args }, as they come; `bytes` of each is all of it
  pongs = [];
  ended = false;
  refusal; // what the peer has said instead of shaking hands
  hear; // called with each frame
  version;
  peer; // its static key
  #socket;
  #channel;
  #silent;
  #stays;
  #here;
  #more = [];
  #need = 0; // bytes, until there is something to look at
  #parts = new Map();
  #heads = new Map(); // number → the fields of a message
  #next = 1;
  #id = 1_000_000; // of asks; tests choose lower ones
  #waiting = new Set();

  /**
   * `to`: { path } of a unix socket, or { port, as } or { url, as }: `as` is who to be, { keys, payload } (member.mjs). Further options of a channel are as for Channel;
   * `silent`: pings are not answered; `stays`: it does not mind a goodbye. Resolves when the handshake is over, also when that has failed: then `ended`, and perhaps `refusal`, say so.
   */
  static async open({ path, port, url, as, silent = false, stays = false, ...options }) {
    const w = new Wire();
    w.#silent = silent;
    w.#stays = stays;
    w.#begin(net.connect(path !== undefined ? { path } : url !== undefined ? target(url) : { host: '127.0.0.1', port }));
    await new Promise((done, failed) => { w.#socket.once('connect', done); w.#socket.once('error', failed); });
    if (as === undefined) return w;
    w.#channel = new Channel({ initiator: true, purpose: DATA, ...as, ...options });
    w.#socket.write(w.#channel.start());
    return w.#shaken();
  }

  /** The other end of `socket` has dialled. Resolves as above. */
  static accept(socket, as) {
    const w = new Wire();
    w.#stays = true;
    w.#channel = new Channel({ initiator: false, ...as });
    w.#begin(socket);
    return w.#shaken();
  }

  async #shaken() {
    await this.until('the end of the handshake', () => this.#channel.done);
    this.version = this.#channel.version;
    this.peer = this.#channel.peer;
    return this;
  }

  #begin(socket) {
    const w = this;
    w.#socket = socket;
    const look = () => { for (const check of w.#waiting) check(); };
    w.#socket.on('error', () => {});
    w.#socket.on('data', (chunk) => {
      try {
        w.#take(chunk);
      } catch (e) {
        if (e instanceof Refused) w.refusal = e;
        w.#socket.destroy(); // a goodbye, or what is not as documented
      }
      look();
    });
    w.#socket.on('close', () => { w.ended = true; clearInterval(w.#here); look(); });
  }

  #take(chunk) {
    if (this.#channel === undefined) {
      this.#more.push(chunk);
      this.#need -= chunk.length;
      if (this.#need > 0) return;
      let have = Buffer.concat(this.#more);
      for (let n; (n = this.#item(have)) > 0;) have = have.subarray(n);
      this.#more = [have];
      const header = have.length < 4 ? 0 : have.readUInt32BE(0);
      this.#need = Math.max(1, 4 + (header >>> 31 === 0 ? header : header & 0xffffff) - have.length);
      return;
    }
    const { out, records } = this.#channel.feed(chunk);
    if (out.length > 0) this.#socket.write(out);
    for (let plain of records) {
      for (let n; plain.length > 0; plain = plain.subarray(n)) {
        n = this.#item(plain);
        if (n === 0) throw new Error('an item is cut off by the end of its record');
      }
    }
  }

  /** Sees to the first item; its size, or 0 when it is not whole. */
  #item(bytes) {
    if (bytes.length < 4) return 0;
    const header = bytes.readUInt32BE(0), kind = header >>> 31 === 0 ? 0 : header >>> 24 & 0x7f, length = kind === 0 ? header : header & 0xffffff;
    if (bytes.length < 4 + length) return 0;
    let body = bytes.subarray(4, 4 + length);
    if (kind === 0) {
      if (length > 0) this.#frame(body);
      else if (!this.#stays) throw new Error('a goodbye');
    } else if (kind === PING) {
      if (!this.#silent) this.write(itemOf(PONG, body));
    } else if (kind === PONG) this.pongs.push(body);
    else if (kind === HEAD) {
      this.#heads.set(body.readUInt16BE(0), decodeEnvelope(body.subarray(2)));
      this.#frame(body.subarray(2));
    } else if (kind === AGAIN) this.#frame(envelopeOf({ ...this.#heads.get(body.readUInt16BE(0)), args: body.subarray(2) }));
    else {
      const number = body.readUInt32BE(0);
      if (kind === OPEN) this.#parts.set(number, { total: Number(body.readBigUInt64BE(4)), have: [] });
      body = body.subarray(kind === OPEN ? 12 : 4);
      const part = this.#parts.get(number);
      part.have.push(Buffer.from(body));
      part.total -= body.length;
      if (part.total === 0) {
        this.#parts.delete(number);
        this.#frame(Buffer.concat(part.have));
      }
    }
    return 4 + length;
  }

  #frame(bytes) {
    const frame = readEnvelope(bytes);
    Object.defineProperty(frame, 'bytes', { value: Buffer.from(bytes) });
    this.frames.push(frame);
    this.hear?.(frame);
  }

  /** Any bytes; on a channel, in a record. */
  write(bytes) {
    if (!this.ended) this.#socket.write(this.sealed(bytes));
  }
  /** These bytes as they would leave: on a channel they have to, or no later ones are understood. */
  sealed(bytes) {
    return this.#channel === undefined ? bytes : this.#channel.seal(bytes);
  }
  /** Bytes that are not put into a record. */
  raw(bytes) {
    if (!this.ended) this.#socket.write(bytes);
  }

  /** A frame of any bytes; on a channel in parts, where it is large. */
  frame(bytes) {
    if (this.#channel === undefined || bytes.length <= SMALL_MAX) {
      this.write(frameOf(bytes));
      return;
    }
    const number = this.#next++;
    this.write(openOf(number, bytes.length, bytes.subarray(0, SMALL_MAX)));
    for (let at = SMALL_MAX; at < bytes.length; at += PART_MAX) this.write(partOf(number, bytes.subarray(at, at + PART_MAX)));
  }

  send(message) {
    if (this.#channel === undefined) this.write(encodeFrame(message));
    else this.frame(envelopeOf(message));
  }

  /** Reads nothing more, until `resume`. From then on it says by itself that it is there: its answers to pings come late, or not at all. */
  pause() {
    this.#socket.pause();
    this.#here ??= setInterval(() => this.write(itemOf(PONG, Buffer.alloc(8))), HERE);
  }
  resume() { this.#socket.resume(); }
  /** Nothing of ours waits to be sent any more. */
  async written() {
    if (!this.ended && this.#socket.writableNeedDrain) await Promise.race(['drain', 'close'].map((e) => new Promise((done) => { this.#socket.once(e, done); })));
  }

  /** Resolves with the first value of `probe` that is not falsy, looked for when something has come, or with undefined when the peer ends the connection. */
  async until(what, probe) {
    let value;
    for (;;) {
      value = probe();
      if (value || this.ended) return value;
      await new Promise((done, failed) => {
        const timer = setTimeout(() => failed(new Error(`not within ${DEADLINE / 1000} s: ${what}`)), DEADLINE);
        const check = () => { clearTimeout(timer); this.#waiting.delete(check); done(); };
        this.#waiting.add(check);
      });
    }
  }

  /** The reply to the ask with this id, or undefined when the peer ends the connection instead. */
  answer(id) {
    return this.until(`an answer to ${id}`, () => this.frames.find((f) => f.id === id && (f.kind === REPLY || f.kind === FAIL)));
  }
  /** A method of the other process: what it answers. Rejects when it fails, or the peer ends the connection. */
  async ask(method, params) {
    const id = ++this.#id;
    this.send({ kind: ASK, id, event: method, timeout: DEADLINE, args: [params] });
    const { kind, args: [value] } = await this.answer(id) ?? this.#failure();
    if (kind === FAIL) throw value;
    return value;
  }
  /** Resolves when the peer takes this end for who it is, rejects when it does not: it may refuse after the handshake, and what it answers is what it thinks. */
  async taken() {
    this.write(itemOf(PING, Buffer.alloc(8)));
    if (!await this.until('that it answers', () => this.pongs.length + this.frames.length > 0)) this.#failure();
    return this;
  }
  #failure() { throw this.refusal ?? new Error('the connection has ended'); }
  /** The peer ends the connection. */
  over() {
    return this.until('the end of the connection', () => false);
  }

  end() {
    this.#socket.destroy();
  }
}
