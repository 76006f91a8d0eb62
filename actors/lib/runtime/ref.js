// SPDX-License-Identifier: Apache-2.0
//
// A ref: an EventEmitter whose other end is an actor somewhere in the cluster.
//
// emit and ask send; on, once and off subscribe to what the actor emits: the first listener of an event subscribes, the last one to
// go unsubscribes. Refs compare by address, not by identity.
import { EventEmitter } from './node/events.js';
import { actors, hear, kAddress } from './actor.js';
import { currentActor } from './node/native.js';
import { all, apply, bounded, codeError, getPrototypeOf, isThenable, keys, min, NativePromise, ObjectPrototype, SafeMap, SafeSet, setPrototypeOf } from './primordials.js';

const EMIT = 2, ASK = 1, SUB = 5, UNSUB = 6; // base/msg.h
const ASK_TIMEOUT = 30_000; // ms, when the caller does not say
const OPTIONS = new SafeSet(['timeout', 'signal', 'durable']);

const { rawListeners } = EventEmitter.prototype;

let native;
const asks = setPrototypeOf([], null); // slot → { resolve, reject, … }, or undefined
const subscriptions = new SafeMap(); // id → { ref, event, owner, lost }

export function attach(ops) {
  native = ops;
}

// send(kind, address, event, timeout or subscription, …): one argument goes as it is.
function send(kind, address, event, extra, args) {
  const n = args.length;
  return native.send(kind, address, event, extra, n, n === 1 ? args[0] : args);
}

// A last argument counts as options when it is a plain object with nothing but option names in it.
function options(args) {
  const last = args[args.length - 1];
  if (last === null || typeof last !== 'object' || getPrototypeOf(last) !== ObjectPrototype) return null;
  const names = keys(last);
  if (names.length === 0) return null;
  for (let i = 0; i < names.length; i++) if (!OPTIONS.has(names[i])) return null;
  args.length--;
  return last;
}

export class Ref extends EventEmitter {
  #address;
  #subs = new SafeMap(); // event → subscription id

  constructor(address) {
    super();
    this.#address = address;
    super.on('newListener', (event) => this.#subscribe(event));
    super.on('removeListener', (event) => this.#unsubscribe(event));
  }

  get address() { return this.#address; }
  get [kAddress]() { return this.#address; }

  /** One way. False when the receiver is congested. */
  emit(event, ...args) {
    if (event === 'newListener' || event === 'removeListener') return super.emit(event, ...args);
    return send(EMIT, this.#address, name(event), 0, args);
  }

  /** Request and reply: `await ref.ask('add', 1, { timeout: 2000 })`. */
  ask(event, ...args) {
    const o = options(args);
    const timeout = o === null ? ASK_TIMEOUT : o.timeout ?? ASK_TIMEOUT;
    if (typeof timeout !== 'number' || !(timeout > 0)) throw new RangeError(`timeout must be a positive number of milliseconds, not ${timeout}`);
    if (o?.durable) throw codeError('EINVAL', 'durable messages are not supported by this release');
    const signal = o?.signal;
    signal?.throwIfAborted();
    const address = this.#address;
    return new NativePromise((resolve, reject) => {
      const ms = timeout < 1 ? 1 : min(timeout, 0x7fffffff);
      const slot = send(ASK, address, name(event), ms, args);
      const ask = { resolve, reject, address, event, ms };
      asks[slot] = ask;
      signal?.addEventListener('abort', () => { if (asks[slot] === ask) cancel(slot, signal.reason); }, { once: true });
    });
  }

  #subscribe(event) {
    if (event === 'newListener' || event === 'removeListener') return;
    if (this.#subs.has(event)) return;
    const id = send(SUB, this.#address, name(event), 0, []);
    const owner = actors.get(currentActor());
    this.#subs.set(event, id);
    subscriptions.set(id, { ref: this, event, owner, call: undefined, lost: () => this.#subs.delete(event) });
    if (owner !== undefined) owner.subscriptions++;
  }

  #unsubscribe(event) {
    const id = this.#subs.get(event);
    if (id === undefined || this.listenerCount(event) > 0) return;
    this.#subs.delete(event);
    const { owner } = subscriptions.get(id);
    subscriptions.delete(id);
    if (owner !== undefined) owner.subscriptions--;
    send(UNSUB, this.#address, event, id, []);
  }

  toString() { return this.#address; }
  toJSON() { return this.#address; }
}

function name(event) {
  if (typeof event !== 'string' || event === '') throw new TypeError('an event that is sent has a name: a string that is not empty');
  return bounded(event);
}

/** `actor('app/Type', key)` or `actor('app/Type/key')`: always valid, whether or not the actor runs. */
export function actor(type, key) {
  if (typeof type !== 'string') throw new TypeError('actor(type, key): type is a string such as "shop/Counter"');
  const address = key === undefined ? type : `${type}/${key}`;
  if (!/^[A-Za-z0-9_-]+\/[A-Za-z0-9_-]+\/[^\0]+$/s.test(address))
    throw codeError('EINVAL', `"${address}" is not an address: app/Type/key is`);
  return new Ref(address);
}

/** The answer to an ask has come (or will not). */
export function settle(slot, ok, value) {
  const ask = asks[slot];
  if (ask === undefined) return;
  asks[slot] = undefined;
  if (ok) ask.resolve(value);
  else ask.reject(value);
}

function cancel(slot, reason) {
  native.cancel(slot, asks[slot].address);
  settle(slot, false, reason);
}

/** Nobody waits for the turn it was asked in. */
export function cancelled(slot) {
  if (asks[slot] !== undefined) cancel(slot, codeError('ECANCELED', 'nobody waits any more for the turn this was asked in'));
}

/** The activation it was asked by ends. */
export function dropAsk(slot) {
  if (asks[slot] === undefined) return;
  native.cancel(slot, asks[slot].address);
  asks[slot] = undefined;
}

/** C has waited as long as the ask was to wait. */
export function expire(slot) {
  const ask = asks[slot];
  if (ask !== undefined) settle(slot, false, codeError('ETIMEDOUT', `ask "${ask.event}" of ${ask.address} (${ask.ms} ms) timed out`));
}

/** Subscribes `owner` to an event of `address`: `call` is called with its arguments. Returns the subscription. */
export function listen(owner, address, event, call) {
  const id = send(SUB, address, event, 0, []);
  subscriptions.set(id, { ref: undefined, event, owner, call, lost: () => {} });
  owner.subscriptions++;
  return id;
}

export function unlisten(id, address, event) {
  const s = subscriptions.get(id);
  if (s === undefined) return;
  subscriptions.delete(id);
  s.owner.subscriptions--;
  send(UNSUB, address, event, id, []);
}

/** An event this actor subscribed to. */
export function event(serial, turn, id, args) {
  const s = subscriptions.get(id);
  hear(serial, turn, () => {
    if (s === undefined) return undefined;
    if (s.call !== undefined) return s.call(args);
    const listeners = apply(rawListeners, s.ref, [s.event]); // raw: `once` takes itself away
    let later = false;
    for (let k = 0; k < listeners.length; k++) {
      const result = listeners[k] = apply(listeners[k], s.ref, args);
      later ||= isThenable(result);
    }
    return later ? all(listeners) : undefined;
  });
}

/** The activation `owner` has ended: nothing of what it waited for will come. */
export function forget(owner) {
  if (owner.subscriptions === 0) return;
  subscriptions.forEach((s, id) => {
    if (s.owner !== owner) return;
    subscriptions.delete(id);
    s.lost();
  });
}
