// SPDX-License-Identifier: Apache-2.0
//
// The connection of a program to the agent of its host: a unix socket that carries frames (docs/protocol.md).
//
// Happy path: the first message connects; `hello` goes ahead of it, asks are matched to replies by id, events go to whoever
// subscribed. When nothing is awaited any more the socket no longer keeps the process alive. What goes before the agent has said what it
// speaks is of the oldest version, which has no trace contexts, no frames in parts and no strings but UTF-8: a message with one, or that needs
// them, waits for its hello, and what comes after that message too.
// Failure modes: the agent goes: asks it had fail with EUNREACHABLE (they may or may not have run), messages not yet sent
// wait for it for PATIENCE ms, subscriptions are repeated when it is back; so are durable messages that are not acknowledged (outbox.js). No agent at the first attempt: what waits fails at once.
// A peer that breaks the wire format is cut off (EPROTO). Too much waiting: EOVERLOAD at the sender.
// Invariants: every ask settles exactly once; an id is never used twice; nothing is sent before `hello`.
import net from 'node:net';

import { FRAME_MAX, MESSAGE_MAX, decodeArgs, writeArgs } from './codec.js';
import { ASK, CANCEL, EMIT, EVENT, FAIL, FrameParser, REPLY, SUB, UNSUB, WIRE_OLDEST, WIRE_VERSION, decodeEnvelope, encodeFrame, piecesOf } from './envelope.js';
import { codeError, remoteError } from './errors.js';
import { Writer } from './msgpack.js';
import { Outbox } from './outbox.js';

export const VERSION = '0.1.0';
const CONGESTED = 1024 * 1024; // bytes waiting from which emit returns false
const WAITING_MAX = 64 * 1024 * 1024; // bytes waiting at the most; but where little waits, a message may be larger
const ENVELOPE_ROOM = 64 * 1024; // more than an envelope takes beside its arguments
const QUEUE_MAX = 10_000; // messages waiting for a connection at the most
const ASKS_MAX = 100_000;
const BACKOFF_MIN = 50, BACKOFF_MAX = 2000; // ms between attempts, doubled each time, with jitter
const PATIENCE = 5000; // ms that messages wait for an agent that was there before
const HELLO_TIMEOUT = 10_000; // ms

export class Connection {
  #path;
  #makeRef;
  #on;
  #begin;
  #state = 'idle'; // idle → connecting → up → waiting → connecting …; closed
  #socket = null;
  #held = true; // whether the socket keeps the process alive
  #cause = null; // why the connection ended, or could not be made
  #attempts = 0; // since the last hello
  #lostAt = -Infinity; // when an agent that was there was lost
  #retry = null;
  #queue = []; // frames that wait for a connection: { frame, id, old }; with `old`, which makes it for an old agent, for its hello too
  #queued = 0; // their bytes
  #asks = new Map(); // id → { resolve, reject, local, sent, timer, signal, abort }
  #subs = new Map(); // id → { address, event, deliver(args), failed(error), closed() }
  #congested = new Set(); // functions to call when there is room again
  #waiting = []; // who waits in ready()
  #nextId = 1;
  #parts = 0; // frames that were sent in parts
  #wire = 0; // what this agent is spoken to in, once it has said hello
  #outbox = new Outbox((frame) => this.#sendDurable(frame), () => {
    if (!this.#outbox.congested && this.#state === 'up' && !this.#socket.writableNeedDrain) this.#drained();
    this.#hold();
  });

  /**
   * `on`: up(hello), down(error), dropped(error, emits), refused(error, address, event), lost(n, error), of what becomes of what is sent. With
   * `message(event, args, ask)`, for who takes messages (ask: { id, timeout, answer(ok, value) }, or undefined of an emit), it is held, and made again, as
   * long as it is not closed, and `begin()` is called each time before anything else is sent; `cancel(id)`: nobody waits for that ask any more.
   */
  constructor(path, makeRef, on) {
    this.#path = path;
    this.#makeRef = makeRef;
    this.#on = on;
    this.#begin = on.begin;
    if (on.message !== undefined) this.#demand();
  }

  get path() { return this.#path; }

  /** Connects if need be; resolves when the agent has said hello, rejects when the attempt fails. */
  ready() {
    if (this.#state === 'closed') return Promise.reject(codeError('ECLOSED', 'the client was closed'));
    if (this.#lostAt === Infinity) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#demand();
    });
  }

  /** One way. False: much is waiting, `drained` will be called once when it has gone. Throws ECLONE, ETOOBIG, EOVERLOAD, ECLOSED. */
  emit(address, event, args, trace, drained) {
    const room = this.#send({ kind: EMIT, dst: address, event, args, trace });
    if (!room) this.#congested.add(drained);
    return room;
  }

  /** The same, sent until the actor has it for good. */
  emitDurable(address, event, args, trace, drained) {
    this.#checkDurable();
    this.#outbox.add(EMIT, address, event, args, trace, (kind, why) => {
      if (kind === FAIL) protect(() => this.#on.refused(this.#errorOf(why), address, event));
    });
    this.#demand();
    if (!this.#outbox.congested) return true;
    this.#congested.add(drained);
    return false;
  }

  /** An ask that is carried out whoever waits for it. Rejects, never throws. */
  askDurable({ dst, event, args, timeout, signal, trace, caller }) {
    return new Promise((resolve, reject) => {
      const local = {};
      let timer = null, abort;
      Error.captureStackTrace(local, caller ?? this.askDurable);
      signal?.throwIfAborted();
      this.#checkDurable();
      const end = (call, value) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        m.awaited = false;
        call(value);
      };
      const m = this.#outbox.add(ASK, dst, event, args, trace, (kind, answer) => {
        if (kind === REPLY || kind === FAIL) {
          let value;
          try {
            [value] = decodeArgs(answer, this.#makeRef);
          } catch (error) {
            end(reject, error);
            return;
          }
          if (kind === REPLY) end(resolve, value);
          else end(reject, remoteError(value, local));
        } else if (kind === 0) end(reject, codeError(answer.code, answer.message)); // given up here
      });
      timer = setTimeout(() => end(reject, withStack(local,
        codeError('ETIMEDOUT', `no reply to "${event}" from ${dst} within ${timeout} ms; it is durable, and will still be carried out`))), timeout);
      abort = () => end(reject, signal.reason);
      signal?.addEventListener('abort', abort, { once: true });
      this.#demand();
    });
  }

  /** Resolves when every durable message is acknowledged, or given up. */
  flush() { return this.#outbox.empty(); }
  get unacknowledged() { return this.#outbox.count; }

  #checkDurable() {
    if (this.#state === 'closed') throw codeError('ECLOSED', 'the client was closed');
    if (this.#wire !== 0 && this.#wire < 2)
      throw codeError('EPROTO', `the agent at ${this.#path} is of the release before this library's: it knows no durable messages`);
  }

  #sendDurable(frame) {
    if (this.#state !== 'up' || this.#wire < 2) return false;
    if (!hasRoom(this.#socket.writableLength, frame)) return false; // it goes again when its time has come
    this.#write(frame);
    return true;
  }

  #errorOf(args) {
    try {
      return remoteError(decodeArgs(args, this.#makeRef)[0]);
    } catch (error) {
      return error;
    }
  }

  // Until the agent has said what it speaks, what all do.
  get #version() { return this.#wire === 0 ? WIRE_OLDEST : this.#wire; }

  /** `timeout` in ms, 0 for none. Rejects, never throws. `caller` is the function whose caller the error's stack shows. */
  ask({ dst, event, args, timeout = 0, signal, trace, caller }) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#asks.size >= ASKS_MAX) throw codeError('EOVERLOAD', `${ASKS_MAX} asks are waiting for their replies already`);
      const id = this.#nextId++;
      const ask = { resolve, reject, local: {}, sent: false, timer: null, signal, abort: null };
      Error.captureStackTrace(ask.local, caller ?? this.ask);
      this.#asks.set(id, ask);
      try {
        this.#send({ kind: ASK, id, dst, event, args, timeout, trace }, id);
      } catch (error) {
        this.#asks.delete(id);
        throw error;
      }
      if (timeout > 0) {
        ask.timer = setTimeout(() => this.#settle(id, ask,
          codeError('ETIMEDOUT', `no reply to "${event}" from ${dst || 'the agent'} within ${timeout} ms`)), timeout);
      }
      if (signal !== undefined) {
        ask.abort = () => {
          if (dst !== '' && ask.sent && this.#state === 'up') this.#write(encodeFrame({ version: this.#version, kind: CANCEL, id, dst, event: '' }));
          this.#settle(id, ask, undefined, signal.reason);
        };
        signal.addEventListener('abort', ask.abort, { once: true });
      }
    });
  }

  /** Subscribes; returns the subscription's id. `deliver(args)` for each event, `failed(error)` at most once and then it is over, as after `closed()`, when this is closed. */
  subscribe(address, event, deliver, failed, closed) {
    if (this.#state === 'closed') throw codeError('ECLOSED', 'the client was closed');
    const id = this.#nextId++;
    this.#subs.set(id, { address, event, deliver, failed, closed });
    if (this.#state === 'up') this.#write(encodeFrame({ version: this.#version, kind: SUB, id, dst: address, event }));
    else this.#demand(); // repeated with all others when it is up
    this.#hold();
    return id;
  }

  unsubscribe(id) {
    const sub = this.#subs.get(id);
    if (sub === undefined) return;
    this.#subs.delete(id);
    if (this.#state === 'up') this.#write(encodeFrame({ version: this.#version, kind: UNSUB, id, dst: sub.address, event: sub.event }));
    this.#hold();
  }

  /** Answers an ask that came on this connection (`on.message`), unless that has ended since. What cannot be sent is an error of the asker's. */
  answer({ id, socket }, ok, value) {
    if (socket !== this.#socket || this.#state !== 'up') return;
    try {
      this.#send({ kind: ok ? REPLY : FAIL, id, args: [value] });
    } catch (error) {
      if (ok) this.answer({ id, socket }, false, codeError(error.code, `the answer cannot be sent: ${error.message}`));
      else this.answer({ id, socket }, true, undefined); // not even that: it is to know that it was carried out
    }
  }

  /** Tells whoever has subscribed to it. False: there is no connection now, or much is waiting to be sent. */
  publish(event, args) {
    return this.#state === 'up' && this.#wire !== 0 && this.#send({ kind: EVENT, event, args });
  }

  /** Sends what waits, fails asks with ECLOSED, ends the connection. Resolves when it has ended. Idempotent. */
  close() {
    const socket = this.#socket;
    if (this.#state !== 'closed') {
      const up = this.#state === 'up';
      if (up) this.#flush(true);
      this.#state = 'closed';
      clearTimeout(this.#retry);
      this.#failQueue(codeError('ECLOSED', 'the client was closed'), false);
      const lost = this.#outbox.fail(codeError('ECLOSED', 'the client was closed before it was acknowledged'));
      if (lost > 0) this.#on.lost(lost);
      for (const [id, ask] of this.#asks) this.#settle(id, ask, codeError('ECLOSED', 'the client was closed while it waited for the reply'));
      for (const { reject } of this.#waiting.splice(0)) reject(codeError('ECLOSED', 'the client was closed'));
      const subs = [...this.#subs.values()];
      this.#subs.clear();
      this.#congested.clear();
      for (const sub of subs) protect(() => sub.closed());
      if (up) {
        while (socket.writableCorked > 0) socket.uncork();
        socket.destroySoon();
      } else socket?.destroy();
    }
    if (socket === null || socket.closed) return Promise.resolve();
    socket.ref();
    return new Promise((resolve) => { socket.once('close', () => resolve()); });
  }

  // --- sending ---

  #send(message, id = 0) {
    if (this.#state === 'closed') throw codeError('ECLOSED', 'the client was closed');
    let newer = false; // than version 1: it waits until the agent has said whether it speaks that alone
    if (this.#wire === 0) {
      const writer = new Writer(MESSAGE_MAX);
      const units = writeArgs(writer, message.args);
      message.encoded = writer.bytes();
      newer = units || message.trace !== undefined || message.encoded.length > FRAME_MAX - ENVELOPE_ROOM;
    }
    message.version = newer ? WIRE_VERSION : this.#version;
    const frame = encodeFrame(message);
    if (this.#state === 'up' && !newer && (this.#queue.length === 0 || message.dst === '')) {
      if (!hasRoom(this.#socket.writableLength, frame))
        throw codeError('EOVERLOAD', `${WAITING_MAX >> 20} MiB are waiting to be sent to the agent; wait for 'drain' when emit returns false`);
      if (id !== 0) this.#asks.get(id).sent = true;
      const room = this.#write(frame);
      this.#hold();
      return room;
    }
    if (this.#queue.length >= QUEUE_MAX || !hasRoom(this.#queued, frame))
      throw codeError('EOVERLOAD', `${this.#queue.length} messages (${this.#queued} bytes) are waiting for a connection to the agent at ${this.#path}`);
    const old = () => encodeFrame({ ...message, version: WIRE_OLDEST, args: decodeArgs(message.encoded), encoded: undefined });
    this.#queue.push({ frame, id, old: newer ? old : undefined }); // `old`: for an agent that speaks version 1
    this.#queued += frame.length;
    this.#demand();
    return this.#queued < CONGESTED;
  }

  // What is written in one turn of the event loop leaves together.
  #write(frame) {
    const socket = this.#socket;
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(() => socket.uncork());
    }
    let room = true;
    const number = frame.length > FRAME_MAX ? this.#parts++ >>> 0 : 0;
    for (const piece of piecesOf(frame, number)) room = socket.write(piece);
    return room;
  }

  // --- connecting ---

  #demand() {
    if (this.#state === 'idle') this.#connect();
    this.#hold();
  }

  #connect() {
    this.#state = 'connecting';
    this.#cause = null;
    const socket = net.connect({ path: this.#path, writableHighWaterMark: CONGESTED });
    const parser = new FrameParser();
    this.#socket = socket;
    this.#held = true;
    socket.on('connect', () => this.#connected());
    socket.on('data', (chunk) => {
      try {
        parser.push(chunk, (bytes) => {
          if (!socket.destroyed) this.#frame(decodeEnvelope(bytes));
        });
      } catch (error) {
        socket.destroy(error);
      }
    });
    socket.on('drain', () => this.#drained());
    socket.on('error', (error) => { this.#cause = error; });
    socket.on('close', () => this.#lost());
    this.#hold();
  }

  #connected() {
    if (this.#state === 'closed') return;
    this.#state = 'up';
    this.#hello(this.#socket);
    for (const [id, sub] of this.#subs) this.#write(encodeFrame({ version: this.#version, kind: SUB, id, dst: sub.address, event: sub.event }));
    this.#flush();
    this.#hold();
  }

  // What may go now of what waits; all of it, if the connection is about to be ended.
  #flush(all = false) {
    let n = this.#wire === 0 && !all ? this.#queue.findIndex(({ old }) => old !== undefined) : -1, room = true;
    if (n < 0) n = this.#queue.length;
    for (const { frame, id, old } of this.#queue.splice(0, n)) {
      this.#queued -= frame.length;
      const ask = this.#asks.get(id);
      if (id !== 0 && ask === undefined) continue; // timed out or aborted meanwhile
      try {
        room = this.#write(old !== undefined && this.#wire < WIRE_VERSION ? old() : frame);
        if (ask !== undefined) ask.sent = true;
      } catch (error) { // too large for an agent of the release before
        if (ask !== undefined) this.#settle(id, ask, codeError(error.code, error.message));
        else this.#on.dropped(error, 1);
      }
    }
    if (room) this.#drained();
  }

  #hello(socket) {
    this.ask({ dst: '', event: 'hello', args: [{ program: 'isola client', version: VERSION }], timeout: HELLO_TIMEOUT }).then((hello) => {
      if (socket.destroyed) return;
      if ((hello?.wire_oldest ?? hello?.wire) > WIRE_VERSION || !(hello.wire >= WIRE_OLDEST))
        throw codeError('EPROTO', `the agent speaks wire version ${hello?.wire}, this library ${WIRE_OLDEST} to ${WIRE_VERSION}`);
      this.#wire = Math.min(hello.wire, WIRE_VERSION);
      this.#attempts = 0;
      this.#lostAt = Infinity;
      this.#begin?.(); // before what waits
      this.#flush();
      protect(() => this.#on.up(hello));
      for (const { resolve } of this.#waiting.splice(0)) resolve();
      if (this.#wire > 1) this.#outbox.begin();
      else this.#failOutbox(codeError('EPROTO', `the agent at ${this.#path} is of the release before this library's: it knows no durable messages`));
      this.#hold();
    }).catch((error) => socket.destroy(error));
  }

  #takeQueue() {
    const queue = this.#queue;
    this.#queue = [];
    this.#queued = 0;
    return queue;
  }

  #drained() {
    const waiting = [...this.#congested];
    this.#congested.clear();
    for (const drained of waiting) drained();
  }

  #lost() {
    this.#socket = null;
    this.#wire = 0; // the next agent there may be another one
    if (this.#state === 'closed') return;
    const wasUp = this.#state === 'up';
    const wasReady = this.#lostAt === Infinity;
    const error = this.#unreachable(wasUp);
    this.#state = 'waiting';
    if (wasReady) this.#lostAt = performance.now();
    for (const [id, ask] of this.#asks) if (ask.sent) this.#settle(id, ask, this.#unreachable(wasUp));
    // An agent that was there may be back in a moment; one that never was will not.
    if (performance.now() - this.#lostAt > PATIENCE) this.#failQueue(error, true);
    if (this.#lostAt === -Infinity) this.#failOutbox(error);
    if (this.#demanded()) {
      const ms = Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** this.#attempts++) * (0.5 + Math.random() / 2);
      this.#retry = setTimeout(() => this.#connect(), ms);
    } else this.#state = 'idle';
    if (wasReady) protect(() => this.#on.down(error));
  }

  #failOutbox(error) {
    const emits = this.#outbox.fail(error);
    if (emits > 0) this.#on.lost(emits, error);
  }

  #failQueue(error, report) {
    let emits = 0;
    for (const { id } of this.#takeQueue()) {
      const ask = this.#asks.get(id);
      if (ask !== undefined) this.#settle(id, ask, codeError(error.code, error.message));
      else if (id === 0) emits++;
    }
    for (const { reject } of this.#waiting.splice(0)) reject(codeError(error.code, error.message));
    if (report && (emits > 0 || this.#subs.size > 0)) this.#on.dropped(error, emits);
  }

  #unreachable(wasUp) {
    const code = this.#cause?.code;
    if (code === 'EPROTO') return codeError('EPROTO', `the connection to ${this.#path} was cut: ${this.#cause.message}`);
    if (wasUp) {
      return codeError('EUNREACHABLE',
        `the connection to the agent at ${this.#path} ended while it had this request; it may or may not have been carried out`);
    }
    const why = code === 'ENOENT' || code === 'ECONNREFUSED' ? 'nothing listens there; start one with `node-agent`, or name another with ISOLA_NODE'
      : code === 'EACCES' ? 'not permitted; it belongs to another user' : this.#cause?.message ?? 'the connection ended';
    return codeError('EUNREACHABLE', `cannot reach an agent at ${this.#path}: ${why}`);
  }

  // Whether anything calls for a connection.
  #demanded() {
    return this.#queue.length > 0 || this.#subs.size > 0 || this.#waiting.length > 0 || this.#outbox.count > 0 || this.#on.message !== undefined;
  }

  // The socket keeps the process alive while something is awaited or not yet sent.
  #hold() {
    const held = this.#demanded() || this.#asks.size > 0;
    if (this.#state === 'waiting' && !held) {
      clearTimeout(this.#retry);
      this.#state = 'idle';
    }
    if (this.#socket === null || held === this.#held) return;
    this.#held = held;
    if (held) this.#socket.ref();
    else this.#socket.unref();
  }

  // --- receiving ---

  #frame(message) {
    if (message.seq !== 0) {
      this.#outbox.answered(message);
      return;
    }
    switch (message.kind) {
      case REPLY:
      case FAIL: this.#answer(message); break;
      case EVENT: this.#event(message); break;
      case ASK:
      case EMIT:
        if (this.#on.message !== undefined) {
          protect(() => this.#take(message));
          break;
        }
        if (message.kind === EMIT) break;
        this.#send({ kind: FAIL, id: message.id, args: [codeError('EINVAL', `a client program has no method "${message.event}"`)] });
        break;
      case CANCEL: this.#on.cancel?.(message.id); break;
      default: // nothing that was asked for
    }
  }

  // A message for this program itself.
  #take({ kind, id, event, args, timeout }) {
    const from = { id, socket: this.#socket };
    let values;
    try {
      values = decodeArgs(args, this.#makeRef);
    } catch (error) {
      if (kind === ASK) this.answer(from, false, codeError(error.code ?? 'EPROTO', `"${event}" cannot be read: ${error.message}`));
      return;
    }
    this.#on.message(event, values, kind === ASK ? { id, timeout, answer: (ok, value) => this.answer(from, ok, value) } : undefined);
  }

  #answer({ kind, id, args }) {
    const ask = this.#asks.get(id);
    const sub = ask === undefined ? this.#subs.get(id) : undefined;
    if (ask === undefined && (sub === undefined || kind === REPLY)) return; // too late, or "subscribed"
    let value, error;
    try {
      [value] = decodeArgs(args, this.#makeRef);
    } catch (e) {
      error = e;
    }
    if (sub !== undefined) {
      this.#subs.delete(id);
      this.#hold();
      protect(() => sub.failed(error ?? remoteError(value)));
    } else if (error !== undefined) this.#settle(id, ask, error);
    else if (kind === FAIL) this.#settle(id, ask, undefined, remoteError(value, ask.local));
    else this.#settle(id, ask, undefined, undefined, value);
  }

  // One of `ours`, an error of this library's that gets the stack of the ask, `thrown`, or `value`.
  #settle(id, ask, ours, thrown, value) {
    this.#asks.delete(id);
    clearTimeout(ask.timer);
    ask.signal?.removeEventListener('abort', ask.abort);
    if (ours !== undefined) {
      ask.reject(withStack(ask.local, ours));
    } else if (thrown !== undefined) ask.reject(thrown);
    else ask.resolve(value);
    this.#hold();
  }

  #event({ id, args }) {
    const sub = this.#subs.get(id);
    if (sub === undefined) return; // unsubscribed meanwhile
    let values;
    try {
      values = decodeArgs(args, this.#makeRef);
    } catch (error) {
      protect(() => sub.failed(error, true));
      return;
    }
    protect(() => sub.deliver(values));
  }
}

// A fresh error with the stack of where something was called.
function withStack(local, error) {
  error.stack = `Error: ${error.message}\n${(local.stack ?? '').split('\n').slice(1).join('\n')}`;
  return error;
}

// Whether one more may wait beside so many bytes. A large one may when there is little.
const hasRoom = (waiting, frame) => waiting <= CONGESTED || waiting + frame.length <= WAITING_MAX;

// What a listener throws is the program's (uncaughtException, as with any EventEmitter), and no reason to lose frames.
function protect(call) {
  try {
    call();
  } catch (error) {
    process.nextTick(() => { throw error; });
  }
}
