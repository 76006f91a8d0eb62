// SPDX-License-Identifier: Apache-2.0
//
// A ref: an EventEmitter whose other end is an actor somewhere in the cluster.
//
// emit and ask send; on, once and off subscribe to what the actor emits: the first listener of an event subscribes, the last one to
// go unsubscribes. Refs compare by address, not by identity.
import EventEmitter from 'events';

import { codeError, hear, kAddress } from './actor.js';

const EMIT = 2, ASK = 1, SUB = 5, UNSUB = 6; // base/msg.h
const ASK_TIMEOUT = 30_000; // ms, when the caller does not say
const OPTIONS = new Set(['timeout', 'signal', 'durable']);

let native;
const asks = new Map(); // id → { resolve, reject }
const subscriptions = new Map(); // id → { ref, event }

export function attach(ops) {
  native = ops;
}

const current = () => native.frame();

// A last argument counts as options when it is a plain object with nothing but option names in it.
function options(args) {
  const last = args.at(-1);
  if (last === null || typeof last !== 'object' || Object.getPrototypeOf(last) !== Object.prototype) return null;
  const keys = Object.keys(last);
  if (keys.length === 0 || !keys.every((k) => OPTIONS.has(k))) return null;
  return args.pop();
}

export class Ref extends EventEmitter {
  #address;
  #subs = new Map(); // event → subscription id

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
    return native.send(current(), EMIT, this.#address, name(event), args, 0);
  }

  /** Request and reply: `await ref.ask('add', 1, { timeout: 2000 })`. */
  ask(event, ...args) {
    const o = options(args);
    const timeout = o?.timeout ?? ASK_TIMEOUT;
    if (typeof timeout !== 'number' || !(timeout > 0)) throw new RangeError(`timeout must be a positive number of milliseconds, not ${timeout}`);
    if (o?.durable) throw codeError('EINVAL', 'durable messages are not supported by this release');
    const signal = o?.signal;
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const id = native.send(current(), ASK, this.#address, name(event), args, Math.min(timeout, 0x7fffffff));
      asks.set(id, { resolve, reject });
      signal?.addEventListener('abort', () => settle(id, false, signal.reason), { once: true });
    });
  }

  #subscribe(event) {
    if (event === 'newListener' || event === 'removeListener') return;
    if (this.#subs.has(event)) return;
    const id = native.send(current(), SUB, this.#address, name(event), undefined, 0);
    this.#subs.set(event, id);
    subscriptions.set(id, { ref: this, event });
  }

  #unsubscribe(event) {
    const id = this.#subs.get(event);
    if (id === undefined || this.listenerCount(event) > 0) return;
    this.#subs.delete(event);
    subscriptions.delete(id);
    native.send(current(), UNSUB, this.#address, event, undefined, id);
  }

  toString() { return this.#address; }
  toJSON() { return this.#address; }
}

function name(event) {
  if (typeof event !== 'string' || event === '') throw new TypeError('an event that is sent has a name: a string that is not empty');
  return event;
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
export function settle(id, ok, value) {
  const ask = asks.get(id);
  if (ask === undefined) return;
  asks.delete(id);
  if (ok) ask.resolve(value);
  else ask.reject(value);
}

/** An event this actor subscribed to. */
export function event(serial, turn, id, args) {
  const s = subscriptions.get(id);
  hear(serial, turn, () => {
    if (s === undefined) return undefined;
    const results = s.ref.listeners(s.event).map((f) => Reflect.apply(f, s.ref, args));
    return results.some((r) => r !== null && typeof r === 'object' && typeof r.then === 'function') ? Promise.all(results) : undefined;
  });
}
