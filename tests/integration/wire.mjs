// SPDX-License-Identifier: Apache-2.0
//
// Raw connections for tests that send what no well-meaning peer does: to an agent's unix socket, and to an actor-host's data link.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import net from 'node:net';

import { decodeArgs } from '../../actors/lib/client/codec.js';
import { decodeEnvelope, encodeFrame, FrameParser } from '../../actors/lib/client/envelope.js';

const DEADLINE = 30_000; // ms

/** The port the actor-host with this pid listens on for others. */
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
  throw new Error(`process ${pid} listens on no port`);
}

/** A frame: the length, and bytes that may be anything. */
export function frameOf(bytes) {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

export class Wire {
  frames = []; // { kind, id, …, args }, as they come
  ended = false;
  #socket;
  #waiting = new Set();

  /** `to`: { path } or { port }. */
  static async open(to) {
    const w = new Wire();
    const parser = new FrameParser();
    w.#socket = net.connect(to.port === undefined ? to : { host: '127.0.0.1', ...to });
    const look = () => { for (const check of w.#waiting) check(); };
    w.#socket.on('error', () => {});
    w.#socket.on('data', (chunk) => {
      try {
        parser.push(chunk, (frame) => {
          const message = decodeEnvelope(frame);
          w.frames.push({ ...message, args: decodeArgs(Buffer.from(message.args), (address) => ({ address })) });
        });
      } catch { /* a goodbye: `close` follows */ }
      look();
    });
    w.#socket.on('close', () => { w.ended = true; look(); });
    await new Promise((done, failed) => { w.#socket.once('connect', done); w.#socket.once('error', failed); });
    return w;
  }

  /** Any bytes. */
  write(bytes) {
    if (!this.ended) this.#socket.write(bytes);
  }

  send(message) {
    this.write(encodeFrame(message));
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
    return this.until(`an answer to ${id}`, () => this.frames.find((f) => f.id === id));
  }

  end() {
    this.#socket.destroy();
  }
}
