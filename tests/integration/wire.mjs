// SPDX-License-Identifier: Apache-2.0
//
// Raw connections for tests that send what no well-meaning peer does: to an agent's unix socket, and through the encrypted channel to the ports
// where agents and actor-hosts listen for one another. They are bytes, items and frames (docs/wire.md); nothing is sent by itself but answers to pings.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import net from 'node:net';

import { decodeArgs, encodeArgs } from '../../actors/lib/client/codec.js';
import { decodeEnvelope, encodeFrame } from '../../actors/lib/client/envelope.js';
import { Reader } from '../../actors/lib/client/msgpack.js';
import { Channel, Refused } from './channel.mjs';

const DEADLINE = 30_000; // ms
export const ASK = 1, EMIT = 2, REPLY = 3, FAIL = 4, SUB = 5, UNSUB = 6, EVENT = 7, CANCEL = 10, ACK = 11, PACE = 12;
export const CONTROL = 1, DATA = 2; // what a connection is for
export const PART = 1, OPEN = 2, PING = 3, PONG = 4;
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

// --- envelopes of version 2, which the client library does not speak ---

const numberOf = (n) => {
  const bytes = Buffer.alloc(9, 0xcf);
  bytes.writeBigUInt64BE(BigInt(n), 1);
  return bytes;
};
const textOf = (text) => Buffer.concat([Buffer.from([0xdb]), uint32(Buffer.byteLength(text)), Buffer.from(text)]);

/** An envelope; `args` are values, or the bytes of them. */
export function envelopeOf({ version = 2, kind, flags = 0, id = 0, seq = 0, src = '', dst = '', event = '', timeout = 0, args = [] }) {
  return Buffer.concat([Buffer.from([0x9c]), numberOf(version), numberOf(kind), numberOf(flags), numberOf(id), numberOf(seq), textOf(src), textOf(dst),
    textOf(event), numberOf(timeout), Buffer.from([0xc4, 0, 0x90]), Array.isArray(args) ? encodeArgs(args) : args]);
}

const makeRef = (address) => ({ address });
function readEnvelope(frame) {
  if (frame[0] !== 0x9c) {
    const m = decodeEnvelope(frame);
    return { ...m, args: decodeArgs(Buffer.from(m.args), makeRef) };
  }
  const r = new Reader(frame), m = {};
  const value = () => { r.next(); return r.value; };
  value(); // how many there are
  for (const name of ['version', 'kind', 'flags', 'id', 'seq', 'src', 'dst', 'event', 'timeout', 'trace']) m[name] = value();
  m.chain = Array.from({ length: value() }, value);
  m.args = decodeArgs(Buffer.from(r.rest), makeRef);
  return m;
}

// --- connections ---

export class Wire {
  frames = []; // { kind, id, …, args }, as they come
  pongs = [];
  ended = false;
  refusal; // what the peer has said instead of shaking hands
  hear; // called with each frame
  version;
  peer; // its static key
  #socket;
  #channel;
  #silent;
  #have = Buffer.alloc(0);
  #parts = new Map();
  #next = 1;
  #waiting = new Set();

  /**
   * `to`: { path } of a unix socket, or { port, as }: `as` is who to be, { keys, payload } (member.mjs). Further options of a channel are as for Channel;
   * `silent`: pings are not answered. Resolves when the handshake is over, also when that has failed: then `ended`, and perhaps `refusal`, say so.
   */
  static async open({ path, port, as, silent = false, ...options }) {
    const w = new Wire();
    w.#silent = silent;
    w.#socket = net.connect(path !== undefined ? { path } : { host: '127.0.0.1', port });
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
    w.#socket.on('close', () => { w.ended = true; look(); });
    await new Promise((done, failed) => { w.#socket.once('connect', done); w.#socket.once('error', failed); });
    if (as === undefined) return w;
    w.#channel = new Channel({ initiator: true, purpose: DATA, ...as, ...options });
    w.#socket.write(w.#channel.start());
    await w.until('the end of the handshake', () => w.#channel.done);
    w.version = w.#channel.version;
    w.peer = w.#channel.peer;
    return w;
  }

  #take(chunk) {
    if (this.#channel === undefined) {
      this.#have = Buffer.concat([this.#have, chunk]);
      for (let n; (n = this.#item(this.#have)) > 0;) this.#have = this.#have.subarray(n);
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
      if (length === 0) throw new Error('a goodbye');
      this.#frame(body);
    } else if (kind === PING) {
      if (!this.#silent) this.write(itemOf(PONG, body));
    } else if (kind === PONG) this.pongs.push(body);
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

  /** Reads nothing more, until `resume`. */
  pause() { this.#socket.pause(); }
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
  /** The peer ends the connection. */
  over() {
    return this.until('the end of the connection', () => false);
  }

  end() {
    this.#socket.destroy();
  }
}

/**
 * Makes `member` a live node in the eyes of the agents that listen at `urls`, with an actor-host that is `host`: nothing listens for it, but it may dial
 * them. Resolves with the control links.
 */
export function joinAs(member, host, urls) {
  const now = Date.now();
  const record = { name: member.name, url: 'tcp://127.0.0.1:1', host_url: 'tcp://127.0.0.1:1', host_key: host.keys.public, host_started: host.started, pid: 1, host_pid: 2,
    threads: 1, started_ms: now, version: '0.1.0', certificate: member.certificate, keeper: false };
  return Promise.all(urls.map(async (url) => {
    const wire = await Wire.open({ port: +url.split(':').at(-1), as: member.agent(), purpose: CONTROL });
    wire.hear = (m) => { if (m.kind === ASK) wire.send({ kind: REPLY, id: m.id, args: [null] }); };
    wire.send({ kind: ASK, id: 1, event: 'join', args: [{ node: record, wire: 2, version: '0.1.0', nodes: [], down: [], removed: [], releases: [] }] });
    const answer = await wire.answer(1);
    if (answer?.kind !== REPLY) throw new Error(`node ${member.name} may not join: ${answer?.args[0].message ?? wire.refusal?.message}`);
    return wire;
  }));
}
