// SPDX-License-Identifier: Apache-2.0
//
// The durable messages of a program, from when they are emitted or asked until their receivers have them for good. What
// actors/outbox.c does for actors, in the program's memory: what is in it when the program ends is lost.
//
// Happy path: a message is put behind those of its receiver and sent; an ACK takes out all up to its number, but for asks whose answer
// is awaited, a REPLY or FAIL its own one. Without one for a while, or on a new connection, sending begins again with the first: the
// receiver knows by the numbers what it has had.
// Invariants: numbers only grow; a message leaves only when it is acknowledged, or given up by fail().
import { randomBytes } from 'node:crypto';

import { encodeArgs } from './codec.js';
import { ACK, ASK, encodeFrame } from './envelope.js';
import { codeError } from './errors.js';

const MESSAGES_MAX = 10_000, BYTES_MAX = 64 * 1024 * 1024;
const CONGESTED = 1000; // messages, from which emit returns false
const WINDOW_FIRST = 64, WINDOW_MAX = 1024; // messages to one receiver on the way
const PAUSE_MIN = 200, PAUSE_MAX = 10_000; // ms without an acknowledgement, doubled each time, with jitter
const OVERHEAD = 200; // bytes a message counts beside its arguments

export class Outbox {
  #name = `~${randomBytes(16).toString('base64url')}`;
  #seq = 0;
  #pairs = new Map(); // receiver → { queue, next (index of the first not sent), window, pause, timer }
  #count = 0;
  #bytes = 0;
  #send; // (frame) → sends it, if there is a connection that takes durable messages: true
  #changed; // () → something has left
  #idle = []; // who waits until it is empty

  constructor(send, changed) {
    this.#send = send;
    this.#changed = changed;
  }

  get count() { return this.#count; }
  get congested() { return this.#count >= CONGESTED; }

  /** Sends it until it is acknowledged. `ended(kind, args)`: once, with what acknowledged it. Throws ECLONE, ETOOBIG, EOVERLOAD. */
  add(kind, dst, event, args, trace, ended) {
    const m = { kind, event, trace, encoded: Buffer.from(encodeArgs(args, BYTES_MAX - OVERHEAD)), seq: 0, ended, awaited: kind === ASK };
    const cost = m.encoded.length + OVERHEAD;
    if (this.#count >= MESSAGES_MAX || this.#bytes + cost > BYTES_MAX)
      throw codeError('EOVERLOAD', `${this.#count} durable messages (${this.#bytes} bytes) are not acknowledged yet; ${MESSAGES_MAX}, or ${BYTES_MAX >> 20} MiB, are the most`);
    this.#frame(dst, m, 0); // may it be sent at all?
    m.seq = ++this.#seq;
    this.#count++;
    this.#bytes += cost;
    let pair = this.#pairs.get(dst);
    if (pair === undefined) this.#pairs.set(dst, pair = { dst, queue: [], next: 0, window: WINDOW_FIRST, pause: PAUSE_MIN, timer: null });
    pair.queue.push(m);
    this.#transmit(pair);
    return m;
  }

  #frame(dst, m, before) {
    return encodeFrame({ version: 2, kind: m.kind, id: before, seq: m.seq || 1, src: this.#name, dst, event: m.event, trace: m.trace, encoded: m.encoded });
  }

  #transmit(pair) {
    const { queue } = pair;
    while (pair.next < queue.length && pair.next < pair.window) {
      const before = pair.next > 0 ? queue[pair.next - 1].seq : 0;
      if (!this.#send(this.#frame(pair.dst, queue[pair.next], before))) return; // goes with the next connection
      pair.next++;
    }
    if (pair.timer === null && queue.length > 0) this.#wait(pair);
  }

  #wait(pair) {
    clearTimeout(pair.timer);
    pair.timer = setTimeout(() => {
      pair.timer = null;
      pair.pause = Math.min(PAUSE_MAX, pair.pause * 2);
      pair.window = 1;
      pair.next = 0;
      this.#transmit(pair);
    }, pair.pause * (0.75 + Math.random() / 2));
    pair.timer.unref(); // the connection keeps the process alive
  }

  /** There is a new connection. */
  begin() {
    for (const pair of this.#pairs.values()) {
      clearTimeout(pair.timer);
      Object.assign(pair, { timer: null, pause: PAUSE_MIN, window: WINDOW_FIRST, next: 0 });
      this.#transmit(pair);
    }
  }

  /** An ACK, or a REPLY or FAIL with a number. */
  answered({ kind, src, dst, seq, args }) {
    const pair = dst === this.#name ? this.#pairs.get(src) : undefined;
    if (pair === undefined) return;
    const out = [];
    const stays = (m) => (kind === ACK ? m.seq > seq || m.awaited : m.seq !== seq);
    let end = pair.queue.findIndex((m) => m.seq > seq); // those after it stay
    if (end < 0) end = pair.queue.length;
    let at = 0, sent = pair.next;
    for (let i = 0; i < end; i++) {
      const m = pair.queue[i];
      if (stays(m)) pair.queue[at++] = m;
      else {
        out.push(m);
        if (i < pair.next) sent--;
      }
    }
    if (out.length === 0) return;
    pair.queue.splice(at, end - at);
    pair.next = sent;
    pair.window = Math.min(WINDOW_MAX, pair.window + out.length);
    pair.pause = PAUSE_MIN;
    this.#left(pair, out);
    if (pair.queue.length > 0) {
      this.#wait(pair);
      this.#transmit(pair);
    }
    for (const m of out) m.ended(kind, args);
    this.#changed();
  }

  #left(pair, out) {
    this.#count -= out.length;
    for (const m of out) this.#bytes -= m.encoded.length + OVERHEAD;
    if (pair.queue.length === 0) {
      clearTimeout(pair.timer);
      this.#pairs.delete(pair.dst);
    }
    if (this.#count === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Gives all up: `error` is why. Returns how many. */
  fail(error) {
    const all = [...this.#pairs.values()].flatMap((pair) => pair.queue);
    for (const pair of this.#pairs.values()) {
      const out = pair.queue.splice(0);
      this.#left(pair, out);
    }
    for (const m of all) m.ended(0, error);
    return all.length;
  }

  /** Resolves when nothing waits for an acknowledgement. */
  empty() {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => { this.#idle.push(resolve); });
  }
}
