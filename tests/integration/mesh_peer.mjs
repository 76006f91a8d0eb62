// SPDX-License-Identifier: Apache-2.0
//
// A node of a cluster that is no agent: its identity, got with a token, and connections that speak the channel (channel.mjs) and what is in it
// (docs/wire.md, docs/protocol.md). For tests that must be a member, or a removed one, or a stranger, and misbehave; and for many peers at once.
import { once } from 'node:events';
import net from 'node:net';

import { decodeArgs, writeArgs } from '../../actors/lib/client/codec.js';
import { Reader, Writer } from '../../actors/lib/client/msgpack.js';
import { Channel, keyPair, signPair } from './channel.mjs';

export const CONTROL = 1, DATA = 2; // purposes of connections
export const PART = 1, OPEN = 2, PING = 3, PONG = 4; // items that are no frames
export const ASK = 1, EMIT = 2, REPLY = 3, FAIL = 4;
const RECORD = 60 << 10; // plaintext bytes

const refs = (address) => ({ address });
/** One msgpack value, from bytes. */
export const unpack = (bytes) => decodeArgs(Buffer.concat([Buffer.from([0x91]), bytes]), refs)[0];
/** The fields of a msgpack array, each written by its type: Buffer as bin. */
export function pack(fields) {
  const w = new Writer();
  const put = (v) => {
    if (Array.isArray(v)) {
      w.array(v.length);
      v.forEach(put);
    } else if (typeof v === 'number') w.int(v);
    else if (typeof v === 'string') w.str(v);
    else w.bin(v);
  };
  put(fields);
  return Buffer.from(w.bytes());
}

/** A frame with an envelope of wire version 2, its length in front. */
export function encodeFrame({ kind, flags = 0, id = 0, seq = 0, src = '', dst = '', event = '', timeout = 0, args = [] }) {
  const w = new Writer();
  w.uint32(0);
  w.array(12);
  for (const n of [2, kind, flags, id, seq]) w.int(n);
  for (const s of [src, dst, event]) w.str(s);
  w.int(timeout);
  w.bin(Buffer.alloc(0));
  w.array(0);
  writeArgs(w, args);
  w.patch32(0, w.length - 4);
  return Buffer.from(w.bytes());
}

/** What is in a frame. */
export function decodeEnvelope(frame) {
  const r = new Reader(frame);
  const take = () => { r.next(); return r.value; };
  if (take() !== 12 || take() !== 2) throw new Error(`no envelope of wire version 2: ${frame.toString('hex')}`);
  const [kind, flags, id, seq, src, dst, event, timeout] = Array.from({ length: 9 }, take); // and the trace
  for (let n = take(); n > 0; n--) take(); // the chain
  return { kind, flags, id, seq, src, dst, event, timeout, args: decodeArgs(Buffer.from(r.rest), refs) };
}

/** What a token says: { clusterKey, id, secret, expires, addresses }. */
export function readToken(text) {
  const bytes = Buffer.from(text.trim().slice('isola_'.length), 'base64url');
  const [, clusterKey, id, secret, expires, addresses] = unpack(bytes.subarray(0, -4));
  return { clusterKey: Buffer.from(clusterKey), id: Buffer.from(id), secret: Buffer.from(secret), expires, addresses };
}

/** tcp://HOST:PORT → { host, port }. */
export function target(url) {
  const { hostname, port } = new URL(url.replace(/^tcp:/, 'http:'));
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/** One end of a connection; it has dialled. */
export class Connection {
  frames = []; // decoded, but for answers to asks
  ended = false;
  refused; // why, when the other end has refused
  #socket;
  #channel;
  #heard = false; // a record has come
  #plain = Buffer.alloc(0);
  #large = new Map(); // frames that come in parts, by their number
  #asks = new Map();
  #id = 0;
  #waiting = new Set();

  /** `to`: a tcp:// url; `who`: { fixed, chain }; `options`: of the channel. Resolves when the other end takes it for who it is, rejects when it does not. */
  static async open(to, who, options = {}) {
    const c = new Connection();
    c.#channel = new Channel({ initiator: true, keys: who.fixed, payload: who.chain, purpose: CONTROL, ...options });
    c.#socket = net.connect(target(to));
    c.#socket.on('error', (error) => { c.error ??= error; });
    c.#socket.on('data', (bytes) => c.#take(bytes));
    c.#socket.on('close', () => {
      c.ended = true;
      for (const { failed } of c.#asks.values()) failed(c.refused ?? c.error ?? new Error('the connection has ended'));
      c.#asks.clear();
      c.#look();
    });
    await once(c.#socket, 'connect');
    c.#socket.setNoDelay(true);
    c.#socket.write(c.#channel.start());
    await c.until(() => c.#channel.done);
    c.item(PING, Buffer.alloc(8)); // the other end may refuse this one when it has had the last message; what it answers is what it thinks
    await c.until(() => c.#heard);
    return c;
  }

  #look() { for (const look of this.#waiting) look(); }

  /** Resolves when `condition()` holds; rejects when the connection ends before. */
  until(condition) {
    return new Promise((done, failed) => {
      const look = () => {
        if (!condition() && !this.ended) return;
        this.#waiting.delete(look);
        if (condition()) done();
        else failed(this.refused ?? this.error ?? new Error('the connection has ended'));
      };
      this.#waiting.add(look);
      look();
    });
  }

  #take(bytes) {
    try {
      const { out, records } = this.#channel.feed(bytes);
      if (out.length > 0) this.#socket.write(out);
      for (const record of records) {
        this.#heard = true;
        this.#plain = this.#plain.length === 0 ? record : Buffer.concat([this.#plain, record]);
        this.#items();
      }
    } catch (error) {
      this.refused ??= error;
      this.#socket.destroy();
    }
    this.#look();
  }

  #items() {
    while (this.#plain.length >= 4) {
      const head = this.#plain.readUInt32BE(0), kind = head >>> 31 ? (head >>> 24) & 127 : 0, n = head >>> 31 ? head & 0xffffff : head;
      if (this.#plain.length < 4 + n) return;
      const bytes = this.#plain.subarray(4, 4 + n);
      this.#plain = this.#plain.subarray(4 + n);
      if (kind === PING) this.item(PONG, bytes);
      else if (kind === OPEN) this.#part(bytes.readUInt32BE(0), bytes.subarray(12), Number(bytes.readBigUInt64BE(4)));
      else if (kind === PART) this.#part(bytes.readUInt32BE(0), bytes.subarray(4));
      else if (kind === 0 && n > 0) this.#frame(bytes);
    }
  }

  #part(number, bytes, total) {
    if (total !== undefined) this.#large.set(number, { total, have: 0, parts: [] });
    const frame = this.#large.get(number);
    frame.parts.push(bytes);
    frame.have += bytes.length;
    if (frame.have < frame.total) return;
    this.#large.delete(number);
    this.#frame(Buffer.concat(frame.parts));
  }

  #frame(bytes) {
    const message = decodeEnvelope(bytes);
    const ask = message.kind === REPLY || message.kind === FAIL ? this.#asks.get(message.id) : undefined;
    if (message.kind === ASK && message.event === 'ping') this.send({ kind: REPLY, id: message.id, args: [null] });
    else if (ask === undefined) this.frames.push(message);
    else {
      this.#asks.delete(message.id);
      if (message.kind === REPLY) ask.done(message.args[0]);
      else ask.failed(message.args[0]);
    }
  }

  /** Bytes as they are, outside of the channel. */
  raw(bytes) { return this.#socket.write(bytes); }
  /** Plaintext of one record or more. */
  plain(bytes) { for (let at = 0; at < bytes.length; at += RECORD) this.#socket.write(this.#channel.seal(bytes.subarray(at, at + RECORD))); }
  /** A record, sealed but not sent. */
  seal(bytes) { return this.#channel.seal(bytes); }
  item(kind, bytes) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(((0x80 | kind) << 24 | bytes.length) >>> 0);
    this.plain(Buffer.concat([head, bytes]));
  }
  send(message) { this.plain(encodeFrame(message)); }

  /** A method of the other process: what it answers. */
  ask(method, params) {
    const id = ++this.#id;
    return new Promise((done, failed) => {
      this.#asks.set(id, { done, failed });
      this.send({ kind: ASK, id, event: method, timeout: 30_000, args: [params] });
    });
  }

  close() { this.#socket.destroy(); }
}

/** An identity in a cluster: { name, sign, fixed, chain, certificate }. */
export class Member {
  /** Gets one, with a token (its text); `url` is where to ask, unless it is one of the token's. */
  static async join(text, name, url) {
    const token = readToken(text);
    const m = new Member();
    Object.assign(m, { name, sign: signPair(), fixed: keyPair(), url: url ?? token.addresses[0] });
    const connection = await Connection.open(m.url, { fixed: m.fixed, chain: Buffer.alloc(0) });
    const body = pack([token.id, name, m.sign.public, m.fixed.public]);
    const signature = m.sign.sign(Buffer.concat([Buffer.from('isola certificate request 1\0'), body]));
    const { certificate } = await connection.ask('certify', { token: token.id, secret: token.secret, name, key: m.sign.public, static: m.fixed.public, signature });
    connection.close();
    m.certificate = Buffer.from(certificate);
    m.chain = pack([m.certificate]);
    return m;
  }

  connect(url = this.url, options) { return Connection.open(url, this, options); }

  /** A connection by which it is a member: the agent takes it for a node that is up, as long as it lasts. */
  async enter(url = this.url) {
    const connection = await this.connect(url);
    await connection.ask('join', {
      node: { name: this.name, url: 'tcp://127.0.0.1:9', host_url: null, pid: 1, host_pid: 0, threads: 1, started_ms: 1, version: '0', certificate: this.certificate, keeper: false },
      wire: 2, version: '0', nodes: [], down: [], removed: [], releases: [],
    });
    return connection;
  }
}
