// SPDX-License-Identifier: Apache-2.0
//
// An agent that is none: listens on a unix socket, speaks docs/protocol.md just well enough to be told what to answer,
// and keeps what it was sent. Its msgpack and frames are its own, written from docs/wire.md, so that a mistake in
// the C code is not made twice.

import { once } from 'node:events';
import net from 'node:net';

export const ASK = 1, EMIT = 2, REPLY = 3, FAIL = 4, SUB = 5, UNSUB = 6, EVENT = 7, STOP = 8, ACK = 11;

export class Ext {
  constructor(type, bytes) {
    this.type = type;
    this.bytes = Buffer.from(bytes);
  }
}

export function encode(v) {
  const header = (small, max, tag8, tag16, tag32, n) => {
    if (n <= max) return Buffer.from([small | n]);
    if (tag8 && n <= 0xff) return Buffer.from([tag8, n]);
    const b = Buffer.alloc(n <= 0xffff ? 3 : 5);
    b[0] = n <= 0xffff ? tag16 : tag32;
    if (n <= 0xffff) b.writeUInt16BE(n, 1);
    else b.writeUInt32BE(n, 1);
    return b;
  };
  if (v === null) return Buffer.from([0xc0]);
  if (v === undefined) return encode(new Ext(1, []));
  if (typeof v === 'boolean') return Buffer.from([v ? 0xc3 : 0xc2]);
  if (typeof v === 'number') {
    const b = Buffer.alloc(9);
    if (Number.isInteger(v) && v >= 0 && v < 128) return Buffer.from([v]);
    if (Number.isSafeInteger(v) && v >= 0) {
      b[0] = 0xcf;
      b.writeBigUInt64BE(BigInt(v), 1);
    } else if (Number.isSafeInteger(v)) {
      b[0] = 0xd3;
      b.writeBigInt64BE(BigInt(v), 1);
    } else {
      b[0] = 0xcb;
      b.writeDoubleBE(v, 1);
    }
    return b;
  }
  if (typeof v === 'string') {
    const bytes = Buffer.from(v);
    return Buffer.concat([header(0xa0, 31, 0xd9, 0xda, 0xdb, bytes.length), bytes]);
  }
  if (v instanceof Ext) {
    const b = Buffer.alloc(6);
    b[0] = 0xc9;
    b.writeUInt32BE(v.bytes.length, 1);
    b[5] = v.type;
    return Buffer.concat([b, v.bytes]);
  }
  if (Buffer.isBuffer(v)) return Buffer.concat([header(0, -1, 0xc4, 0xc5, 0xc6, v.length), v]);
  if (v instanceof Date) {
    const b = Buffer.alloc(8);
    b.writeDoubleBE(v.getTime());
    return encode(new Ext(3, b));
  }
  if (v instanceof Error) {
    const { name, message, stack, code, cause } = v;
    return encode(new Ext(7, encode({ name, message, ...(stack && { stack }), ...(code && { code }), ...(cause && { cause }) })));
  }
  if (Array.isArray(v)) return Buffer.concat([header(0x90, 15, 0, 0xdc, 0xdd, v.length), ...v.map(encode)]);
  const entries = Object.entries(v);
  return Buffer.concat([header(0x80, 15, 0, 0xde, 0xdf, entries.length), ...entries.flatMap(([k, x]) => [encode(k), encode(x)])]);
}

export function decode(bytes) {
  let at = 0;
  const take = (n) => {
    if (at + n > bytes.length) throw new Error('cut off');
    at += n;
    return bytes.subarray(at - n, at);
  };
  const uint = (n) => (n === 8 ? Number(take(8).readBigUInt64BE()) : take(n).readUIntBE(0, n));
  const list = (n) => Array.from({ length: n }, value);
  const map = (n) => Object.fromEntries(Array.from({ length: n }, () => [value(), value()]));
  const ext = (n) => new Ext(uint(1), take(n));
  function value() {
    const tag = uint(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return map(tag & 15);
    if (tag < 0xa0) return list(tag & 15);
    if (tag < 0xc0) return take(tag & 31).toString();
    if (tag >= 0xe0) return tag - 256;
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return take(uint(1 << (tag - 0xc4)));
      case 0xc7: case 0xc8: case 0xc9: return ext(uint(1 << (tag - 0xc7)));
      case 0xcb: return take(8).readDoubleBE();
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return uint(1 << (tag - 0xcc));
      case 0xd0: case 0xd1: case 0xd2: return take(1 << (tag - 0xd0)).readIntBE(0, 1 << (tag - 0xd0));
      case 0xd3: return Number(take(8).readBigInt64BE());
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return ext(1 << (tag - 0xd4));
      case 0xd9: case 0xda: case 0xdb: return take(uint(1 << (tag - 0xd9))).toString();
      case 0xdc: case 0xdd: return list(uint(tag === 0xdc ? 2 : 4));
      case 0xde: case 0xdf: return map(uint(tag === 0xde ? 2 : 4));
      default: throw new Error(`tag ${tag.toString(16)}`);
    }
  }
  const v = value();
  if (at !== bytes.length) throw new Error('bytes left over');
  return v;
}

export function frame(body) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

export function envelope({ version = 1, kind, flags = 0, id = 0, seq = 0, src = '', dst = '', event = '', args = [] }) {
  if (version === 1) return frame(encode([version, kind, id, src, dst, event, 0, [], args]));
  return frame(encode([version, kind, flags, id, seq, src, dst, event, 0, Buffer.alloc(0), [], args]));
}

export function failure(code, message, stack) {
  const error = new Error(message);
  error.code = code;
  error.stack = stack;
  return error;
}

// methods: { name: (message, peer) => value }. A value answers an ask; an Error fails it; undefined answers nothing.
// Messages to actors are the method 'actor'. `connected(socket)`, when given, has the connection to itself.
export async function fakeAgent(path, { connected, ...methods } = {}) {
  const agent = { path, messages: [], connections: 0 };
  const known = {
    hello: () => ({ node: 'a', version: '0.1.0', wire: 1, pid: 1 }),
    find: () => null,
    ...methods,
  };
  const sockets = new Set();
  const server = net.createServer((socket) => {
    agent.connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    if (connected) {
      connected(socket);
      return;
    }
    let bytes = Buffer.alloc(0);
    const peer = {
      socket,
      send: (message) => socket.write(envelope(message)),
    };
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE()) {
        const end = 4 + bytes.readUInt32BE();
        const [version, kind, ...rest] = decode(bytes.subarray(4, end));
        bytes = bytes.subarray(end);
        const [flags, seq] = version === 1 ? [0, 0] : [rest.shift(), rest.splice(1, 1)[0]];
        if (version > 1) rest.splice(5, 1); // trace
        const [id, src, dst, event, timeout, chain, args] = rest;
        const message = { version, kind, flags, id, seq, src, dst, event, timeout, chain, args };
        agent.messages.push(message);
        const answer = known[dst === '' ? event : 'actor']?.(message, peer);
        if (answer === undefined) continue;
        peer.send({ kind: answer instanceof Error ? FAIL : REPLY, id, args: [answer] });
      }
    });
  });
  server.listen(path);
  await once(server, 'listening');
  agent.close = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  // what went to actors, or the calls of a method
  agent.to = (event) => agent.messages.filter((m) => m.event === event);
  return agent;
}
