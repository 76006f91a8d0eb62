// SPDX-License-Identifier: Apache-2.0
//
// Byte streams between actors. `self.stream()` makes a pipe of web streams within an actor; any end of a web stream of bytes can be sent, and is
// then locked where it was. Loaded when a script first makes, sends or gets one (stream.js).
//
// Happy path. The end that is sent stays with its *owner*, who keeps the other side of a channel for it: an Out when what is sent is to be read,
// an In when it is to be written to. In the message is the owner's address and an id nobody else knows. Whoever gets it, the *taker*,
// makes the opposite side at once and says OPEN; the owner knows its peer from then on, and says so. Then the Out sends DATA, numbered, as far as it has
// been granted credit; the In grants as much as its consumer has taken; END is answered by DONE. Sent on, an end is a stream like any other: it is
// piped through, and whoever has sent it on stays in between.
//
// Failure modes. ERROR (the writer's) and CANCEL (the reader's) carry a reason. Who is told of a stream it does not have answers RESET (actors/stream.c), and
// so does a node where the actor is not active. Each side is subscribed to the end of the other's activation, which includes the loss
// of its node or link; an owner subscribes before it accepts, and a taker before it opens, so that either is told, or gets a RESET. What has not been opened
// or accepted within a minute ends.
//
// Invariants. 1. What comes from another than the peer changes nothing. 2. An In has no more bytes than it has granted; a chunk that is too
// much, or whose number is not the next one, ends the stream with EPROTO. 3. A channel is in `channels` until it is over, and nothing is said of it then.
import {
  actor, apply, codeError, currentActor, exchange, find, getOwnPropertyDescriptor, group, innerOf, load, NativePromise, NativeTypeError, SafeMap, SafeSet, setFrame, settled, timers,
} from 'isola:born';

const natives = group('stream');
const random = group('crypto').random;

const CHUNK = 64 << 10; // bytes in a message, at the most
const LEAST = 2048; // what a chunk takes of the credit, at the least: so that messages are bounded too
const WINDOW = 256 << 10, SMALL = 32 << 10; // credit of a stream, and when the actor has more than
const MANY = 100; // of them
const MOST = 1000; // of an actor
const PATIENCE = 60_000; // ms until an end that was sent is taken, and one that was taken is accepted
const TURNS = 2097152; // a frame is serial * TURNS + turn
const MERGED = 4096; // shorter chunks that wait are put together, in
const BLOCK = 16384; // so many bytes

const SAID = 0, ENDED = 1, SEND = 2, SENT = 3, TAKE = 4; // enum StreamOp (actors/v8/internal.hh)
const OPEN = 0, DATA = 1, GRANT = 2, END = 3, DONE = 4, ERROR = 5, CANCEL = 6, RESET = 7;
const READS = 0, WRITES = 1; // what the taker does

const { ReadableStream, WritableStream } = load('stream/web');
const { pipeTo, getReader } = ReadableStream.prototype;
const { getWriter } = WritableStream.prototype;
const lockedOf = (Class) => getOwnPropertyDescriptor(Class.prototype, 'locked').get;
const isReadableLocked = lockedOf(ReadableStream), isWritableLocked = lockedOf(WritableStream);
const { slice, set, subarray } = Uint8Array.prototype;
const { isView } = ArrayBuffer;

const channels = new SafeMap(); // `serial name` → Channel
const homes = new SafeMap(); // serial → SafeSet of Channels
const pipes = new WeakMap(); // stream → Pipe it is an end of
const get = pipes.get.bind(pipes), put = pipes.set.bind(pipes);
const reserved = new SafeMap(); // attempt → [{ stream, end, id, serial, credit }]

let encoder;
/** The bytes of a chunk a script has written. */
function bytesOf(chunk) {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === 'string') return (encoder ??= new (load('internal/encoding').TextEncoder)()).encode(chunk);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new NativeTypeError(`a stream between actors takes bytes (Uint8Array, ArrayBuffer) and strings, not ${chunk === null ? 'null' : `a value of type ${typeof chunk}`}`);
}

const sizeOf = (chunk) => chunk?.byteLength ?? chunk?.length ?? 1;
const cost = (n) => (n < LEAST ? LEAST : n);
const ignore = () => {};
const quietly = (promise) => settled(promise, ignore, ignore);

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
function newId() {
  const bytes = new Uint8Array(21); // 126 bits of them are used
  random(bytes);
  let id = '';
  for (let i = 0; i < bytes.length; i++) id += LETTERS[bytes[i] & 63];
  return id;
}

const addressOf = (i) => `${i.app}/${i.type}/${i.key}`;

/** One side of a stream between two activations. */
class Channel {
  constructor(serial, owner, id, peer) {
    this.serial = serial;
    this.name = `${owner ? 'o' : 't'}${id}`;
    this.theirs = `${owner ? 't' : 'o'}${id}`;
    this.peer = peer; // undefined: nobody has opened it yet
    this.watched = 0;
    this.over = false;
    this.last = undefined; // { kind, reason }: what the peer is to be told as soon as there is one
    channels.set(`${serial} ${this.name}`, this);
    let home = homes.get(serial);
    if (home === undefined) homes.set(serial, home = new SafeSet());
    home.add(this);
    this.timer = timers.globals.setTimeout(() => {
      this.timer = undefined;
      const what = this.peer === undefined ? 'nobody has taken the other end of the stream' : `${this.peer} has not said that the stream is open`;
      this.fail(codeError('ETIMEDOUT', `${what} within ${PATIENCE / 1000} s`));
    }, PATIENCE);
  }

  tell(kind, a, b) {
    natives.send(this.serial, this.peer, b === undefined ? [this.theirs, kind, a] : [this.theirs, kind, a, b]);
  }

  /** Says why it ends, once there is somebody to hear it. */
  tellLast(kind, reason) {
    if (this.peer === undefined) {
      this.last = { kind, reason };
      return;
    }
    try {
      try {
        this.tell(kind, reason);
      } catch (error) {
        if (error?.code !== 'ECLONE') throw error;
        this.tell(kind, codeError('ECANCELED', `the stream was ended for a reason that cannot be sent: ${error.message}`));
      }
    } catch {
      // this activation has ended, or may send nothing more: the other end hears of that
    }
    this.finish();
  }

  watch() { this.watched = natives.watch(this.serial, this.peer, 0); }

  calm() {
    if (this.timer !== undefined) timers.globals.clearTimeout(this.timer);
    this.timer = undefined;
  }

  finish() {
    if (this.over) return;
    this.over = true;
    this.calm();
    channels.delete(`${this.serial} ${this.name}`);
    const home = homes.get(this.serial);
    home?.delete(this);
    if (home?.size === 0) homes.delete(this.serial);
    if (this.watched !== 0) {
      try {
        natives.watch(this.serial, this.peer, this.watched);
      } catch {
        // its activation has ended, and with it the subscription
      }
    }
  }

  /** The peer does not keep to what is agreed. */
  broken(why) {
    const error = codeError('EPROTO', `the stream with ${this.peer} is broken: ${why}`);
    this.tellLast(this.farewell, error);
    this.fail(error);
  }

  opened(peer, credit) {
    this.peer = peer;
    this.calm();
    this.watch();
    if (this.last !== undefined) {
      this.tellLast(this.last.kind, this.last.reason);
      return;
    }
    this.tell(GRANT, 0);
    this.began(credit);
  }

  began() {}
}

/** The side that writes. */
class Out extends Channel {
  constructor(serial, owner, id, peer, credit) {
    super(serial, owner, id, peer);
    this.credit = credit;
    this.seq = 0;
    this.waits = undefined; // { bytes, at, resolve, reject }: a write that lacks credit
    this.closing = undefined; // { resolve, reject }
    this.error = undefined;
    this.onFail = ignore;
  }
  get farewell() { return ERROR; }

  began(credit) {
    this.credit = credit;
    this.pump();
    this.endIfDue();
  }

  granted(n) {
    this.credit += n;
    this.pump();
  }

  // Sends as much as it may from `at` on; where it stopped.
  send(bytes, at) {
    while (at < bytes.length && this.peer !== undefined && this.credit >= LEAST && !this.over) {
      const left = bytes.length - at;
      let n = left < CHUNK ? left : CHUNK;
      if (n > this.credit) n = this.credit;
      this.tell(DATA, this.seq, apply(subarray, bytes, [at, at + n]));
      this.seq++;
      this.credit -= cost(n);
      at += n;
    }
    return at;
  }

  pump() {
    const { waits } = this;
    if (waits === undefined) return;
    waits.at = this.send(waits.bytes, waits.at);
    if (waits.at < waits.bytes.length) return;
    this.waits = undefined;
    waits.resolve();
  }

  write(bytes) {
    if (this.error !== undefined) throw this.error.value;
    const at = this.send(bytes, 0);
    if (at === bytes.length) return undefined;
    return new NativePromise((resolve, reject) => { this.waits = { bytes, at, resolve, reject }; });
  }

  close() {
    if (this.error !== undefined) throw this.error.value;
    return new NativePromise((resolve, reject) => {
      this.closing = { resolve, reject };
      this.endIfDue();
    });
  }

  endIfDue() {
    if (this.closing !== undefined && this.peer !== undefined) this.tell(END, this.seq);
  }

  done() {
    const { closing } = this;
    this.finish();
    this.closing = undefined;
    closing.resolve();
  }

  /** The script does not want to wait any more for what is being written. */
  interrupt(reason) {
    const { waits, closing } = this;
    this.waits = this.closing = undefined;
    waits?.reject(reason);
    if (closing === undefined) return;
    this.tellLast(ERROR, reason);
    closing.reject(reason);
  }

  abort(reason) { if (!this.over) this.tellLast(ERROR, reason); }

  fail(error) {
    const { waits, closing } = this;
    this.finish();
    this.error ??= { value: error };
    this.waits = this.closing = undefined;
    waits?.reject(error);
    closing?.reject(error);
    this.onFail(error);
  }
}

/** The side that reads. */
class In extends Channel {
  constructor(serial, owner, id, peer, window) {
    super(serial, owner, id, peer);
    this.window = window;
    this.left = window; // granted and not used yet
    this.taken = 0; // by the consumer, and not granted again yet
    this.seq = 0;
    this.waiting = []; // { bytes, used, cost } that nobody has asked for yet, from `first` on
    this.first = 0;
    this.wanted = undefined; // the pull that waits
    this.ended = false;
    this.controller = undefined;
  }
  get farewell() { return CANCEL; }

  data(seq, bytes) {
    if (seq !== this.seq) {
      this.broken(`chunk ${seq} has come, and ${this.seq} was to be next: what lies between is lost`);
    } else if (!(bytes instanceof Uint8Array) || bytes.length === 0 || bytes.length > CHUNK) {
      this.broken(`a chunk has 1 to ${CHUNK} bytes`);
    } else if (cost(bytes.length) > this.left) {
      this.broken(`more has come than the ${this.left} bytes that were granted`);
    } else {
      this.seq++;
      this.left -= cost(bytes.length);
      this.keep(bytes);
      if (this.wanted !== undefined) this.give();
    }
  }

  keep(bytes) {
    const { waiting } = this;
    const tail = waiting.length > this.first ? waiting[waiting.length - 1] : undefined;
    if (bytes.length >= MERGED || this.wanted !== undefined) {
      waiting[waiting.length] = { bytes, used: bytes.length, cost: cost(bytes.length) };
    } else if (tail !== undefined && tail.bytes.length - tail.used >= bytes.length) {
      apply(set, tail.bytes, [bytes, tail.used]);
      tail.used += bytes.length;
      tail.cost += cost(bytes.length);
    } else {
      const block = new Uint8Array(BLOCK);
      apply(set, block, [bytes]);
      waiting[waiting.length] = { bytes: block, used: bytes.length, cost: cost(bytes.length) };
    }
  }

  // To the consumer, who wants some, and as much again may be sent.
  give() {
    const { wanted } = this;
    const chunk = this.waiting[this.first];
    this.waiting[this.first++] = undefined;
    if (this.first === this.waiting.length) {
      this.waiting.length = 0;
      this.first = 0;
    }
    this.wanted = undefined;
    this.controller.enqueue(apply(subarray, chunk.bytes, [0, chunk.used]));
    this.taken += chunk.cost;
    if (!this.over && this.taken * 2 >= this.window) {
      const n = this.taken;
      this.left += n;
      this.taken = 0;
      this.tell(GRANT, n);
    }
    wanted?.();
    if (this.ended && this.waiting.length === 0) this.close();
  }

  close() {
    const { wanted } = this;
    this.wanted = undefined;
    this.controller.close();
    this.controller.byobRequest?.respond(0);
    wanted?.();
  }

  pull() {
    if (this.waiting.length > 0) {
      this.give();
      return undefined;
    }
    return new NativePromise((resolve) => { this.wanted = resolve; });
  }

  end(seq) {
    if (seq !== this.seq) {
      this.broken(`it has ended after ${seq} chunks, of which ${this.seq} have come`);
      return;
    }
    this.tell(DONE, 0);
    this.finish();
    this.ended = true;
    if (this.waiting.length === 0) this.close();
  }

  cancel(reason) {
    this.waiting = [];
    if (!this.over) this.tellLast(CANCEL, reason);
  }

  fail(error) {
    const { wanted } = this;
    this.finish();
    this.waiting = [];
    this.first = 0;
    this.wanted = undefined;
    this.controller.error(error);
    wanted?.();
  }
}

/* --- web streams over them --- */

function readableOf(source) {
  return new ReadableStream({
    type: 'bytes',
    start(controller) { source.controller = controller; },
    pull() { return source.pull(); },
    cancel(reason) { source.cancel(reason); },
  }, { highWaterMark: 0 });
}

// An abort is to end the write that waits, too: what a sink is told by its signal.
function writableOf(sink, strategy) {
  return new WritableStream({
    start(controller) {
      sink.onFail = (error) => controller.error(error);
      const { signal } = controller;
      signal.addEventListener('abort', () => sink.interrupt(signal.reason));
    },
    write(chunk) { return sink.write(bytesOf(chunk)); },
    close() { return sink.close(); },
    abort(reason) { sink.abort(reason); },
  }, strategy);
}

const strategy = { highWaterMark: CHUNK, size: sizeOf };
const one = { highWaterMark: 1 };

/** What `self.stream()` makes: what is written waits until it is read. Each end that is sent before it was used is the channel itself from then on. */
class Pipe {
  constructor() {
    this.controller = undefined;
    this.waits = undefined; // { bytes, resolve, reject }
    this.wanted = undefined; // the pull that waits
    this.closed = false;
    this.read = this.written = false;
    this.out = this.in = undefined; // an end was sent
    this.onFail = undefined;
    this.readable = readableOf(this);
    this.writable = writableOf(this, strategy);
    put(this.readable, this);
    put(this.writable, this);
  }

  write(bytes) {
    this.written = true;
    if (this.out !== undefined) return this.out.write(bytes);
    if (bytes.length === 0) return undefined;
    return new NativePromise((resolve, reject) => {
      this.waits = { bytes, resolve, reject };
      if (this.wanted !== undefined) this.give();
    });
  }

  // A copy: who reads it gets the buffer.
  give() {
    const { waits, wanted } = this;
    this.waits = this.wanted = undefined;
    this.controller.enqueue(apply(slice, waits.bytes, []));
    waits.resolve();
    wanted?.();
  }

  pull() {
    this.read = true;
    if (this.in !== undefined) return this.in.pull();
    if (this.waits !== undefined) {
      this.give();
      return undefined;
    }
    return new NativePromise((resolve) => { this.wanted = resolve; });
  }

  close() {
    this.written = true;
    if (this.out !== undefined) return this.out.close();
    const { wanted } = this;
    this.wanted = undefined;
    this.closed = true;
    this.controller.close();
    this.controller.byobRequest?.respond(0);
    wanted?.();
    return undefined;
  }

  interrupt(reason) {
    const { waits } = this;
    this.waits = undefined;
    waits?.reject(reason);
    this.out?.interrupt(reason);
  }

  abort(reason) {
    if (this.out !== undefined) this.out.abort(reason);
    else this.fail(reason);
  }

  cancel(reason) {
    if (this.in !== undefined) {
      this.in.cancel(reason);
      return;
    }
    this.interrupt(reason);
    this.onFail(reason);
  }

  // To who reads.
  fail(error) {
    const { wanted } = this;
    this.wanted = undefined;
    this.controller.error(error);
    wanted?.();
  }

  sendReadable(out) {
    const { waits } = this;
    this.out = out;
    out.onFail = this.onFail;
    apply(getReader, this.readable, []);
    this.waits = undefined;
    if (waits !== undefined) settled(out.write(waits.bytes), waits.resolve, waits.reject);
  }

  sendWritable(input) {
    const { wanted } = this;
    this.in = input;
    input.controller = this.controller;
    apply(getWriter, this.writable, []);
    this.wanted = undefined;
    input.wanted = wanted;
  }
}

export const methods = {
  /** A pipe of bytes: { readable, writable }, either of which can be sent. */
  stream() {
    innerOf(this);
    const { readable, writable } = new Pipe();
    return { readable, writable };
  },
};

/* --- ends in messages --- */

const windowOf = (serial) => ((homes.get(serial)?.size ?? 0) < MANY ? WINDOW : SMALL);

/** What stands for a stream that is being sent, or why it cannot be. */
function reserve(attempt, stream) {
  let end, locked;
  try {
    locked = apply(isReadableLocked, stream, []);
    end = READS;
  } catch {
    try {
      locked = apply(isWritableLocked, stream, []);
      end = WRITES;
    } catch {
      return 'what looks like a stream and is none cannot be sent';
    }
  }
  if (locked) return 'a stream that is locked cannot be sent: it is being read or written, or was sent before';
  const serial = currentActor(), i = find(serial);
  if (i === undefined) return 'a stream can be sent by an actor alone, and this code is of none';
  const list = reserved.get(attempt) ?? [];
  if ((homes.get(serial)?.size ?? 0) + list.length >= MOST) return `an actor has at most ${MOST} streams to others open, and this one has`;
  const id = newId(), credit = end === WRITES ? windowOf(serial) : 0;
  list[list.length] = { stream, end, id, serial, credit };
  reserved.set(attempt, list);
  return [addressOf(i), `o${id}`, end, credit];
}

function send({ stream, end, id, serial, credit }) {
  const pipe = get(stream);
  if (end === READS) {
    const out = new Out(serial, true, id, undefined, 0);
    if (pipe !== undefined && !pipe.read && !pipe.closed && pipe.in === undefined) pipe.sendReadable(out);
    else quietly(apply(pipeTo, stream, [writableOf(out, one)]));
  } else {
    const input = new In(serial, true, id, undefined, credit);
    if (pipe !== undefined && !pipe.written && pipe.out === undefined) pipe.sendWritable(input);
    else quietly(apply(pipeTo, readableOf(input), [stream]));
  }
}

/** All that the value has could be encoded, or not. */
function sent(attempt, ok) {
  const list = reserved.get(attempt);
  reserved.delete(attempt);
  if (!ok || list === undefined) return;
  for (let i = 0; i < list.length; i++) send(list[i]);
}

const taken = new WeakMap(); // Channel → its stream
const streamOf = taken.get.bind(taken), keepStream = taken.set.bind(taken);

function take(serial, address, name, end, credit) {
  const id = name.slice(1);
  const known = channels.get(`${serial} t${id}`);
  if (known !== undefined) return known.peer === address ? streamOf(known) : undefined; // the same message is read again
  const full = (homes.get(serial)?.size ?? 0) >= MOST;
  const window = windowOf(serial);
  const channel = end === READS ? new In(serial, false, id, address, window) : new Out(serial, false, id, address, credit);
  const stream = end === READS ? readableOf(channel) : writableOf(channel, strategy);
  keepStream(channel, stream);
  channel.watch();
  channel.tell(OPEN, end === READS ? window : 0);
  if (full) {
    const error = codeError('EOVERLOAD', `an actor has at most ${MOST} streams to others open, and this one has`);
    channel.tellLast(channel.farewell, error);
    channel.fail(error);
  }
  return stream;
}

/* --- what comes --- */

const isCount = (n, most) => typeof n === 'number' && n >= 0 && n <= most && n % 1 === 0;
const MOST_CREDIT = 16 << 20;

/** False: there is no such stream, which its sender is told. */
function said(serial, src, args) {
  let name = args[0];
  const kind = args[1], a = args[2];
  if (typeof name !== 'string') return false;
  if (kind === RESET) name = `${name[0] === 'o' ? 't' : 'o'}${name.slice(1)}`;
  const c = channels.get(`${serial} ${name}`);
  if (c === undefined) return false;
  if (c.peer === undefined) {
    if (kind !== OPEN || !isCount(a, MOST_CREDIT)) return false;
    c.opened(src, a);
    return true;
  }
  if (c.peer !== src) return false;
  c.calm();
  const out = c instanceof Out;
  if (out && kind === GRANT && isCount(a, MOST_CREDIT)) c.granted(a);
  else if (!out && kind === GRANT && a === 0) return true; // it is open
  else if (out && kind === DONE && c.closing !== undefined) c.done();
  else if (!out && kind === DATA) c.data(a, args[3]);
  else if (!out && kind === END) c.end(a);
  else if (out ? kind === CANCEL : kind === ERROR) c.fail(a);
  else if (kind === RESET) reset(c, a, args[3]);
  else c.broken('it says what nobody understands');
  return true;
}

function reset(c, code, why) {
  const error = codeError(typeof code === 'string' ? code : 'ECANCELED', `the stream with ${c.peer} has ended: ${typeof why === 'string' ? why : 'it is not known there'}`);
  if (code !== 'ECANCELED') c.tellLast(c.farewell, error); // it is there, and has missed something
  c.fail(error);
}

function ended(serial, src, info) {
  const lost = info?.reason === 'lost';
  const why = typeof info?.message === 'string' && info.message !== '' ? `: ${info.message}` : '';
  const what = lost ? `the node of ${src}, or the link to it, is lost` : info?.reason === 'crashed' ? `${src} has crashed` : `the activation of ${src} has ended`;
  homes.get(serial)?.forEach((c) => {
    if (c.peer === src) c.fail(codeError(lost ? 'EUNREACHABLE' : 'ECANCELED', `the stream has ended with its other end: ${what}${why}`));
  });
  return true;
}

/** In the name of the actor, whose code this is not. */
function as(serial, fn) {
  const before = exchange(serial * TURNS);
  try {
    return fn();
  } finally {
    setFrame(before);
  }
}

export function on(op, a, b, c, d, e) {
  switch (op) {
    case SAID: return said(a, b, c);
    case ENDED: return ended(a, b, c[0]);
    case SEND: return reserve(a, b);
    case SENT: return sent(a, b);
    case TAKE: return as(a, () => take(a, b, c, d, e));
    default: return undefined;
  }
}

/** The activation has ended. */
export function forget(serial) {
  const home = homes.get(serial);
  homes.delete(serial);
  home?.forEach((c) => {
    c.over = true;
    channels.delete(`${serial} ${c.name}`);
  });
}
