// SPDX-License-Identifier: Apache-2.0
//
// A ref: an EventEmitter whose other end is an actor somewhere in the cluster.
//
// emit and ask send; on, once and off subscribe to what the actor emits: an event's first listener subscribes, the last one to go
// unsubscribes. 'drain', 'newListener', 'removeListener' and `closed` stay on this side, as do events named by symbols. 'error' is what the
// actor emits by that name, and also a subscription that is refused; as everywhere, without a listener it is thrown.
import EventEmitter from 'node:events';
import { inspect } from 'node:util';

import { kAddress } from './codec.js';
import { codeError } from './errors.js';
import { Subscription, closed } from './subscription.js';
import { traceOf } from './trace.js';

const ASK_TIMEOUT = 30_000; // ms, when the caller does not say
const TIMEOUT_MAX = 0x7fffffff;
const OPTIONS = new Set(['timeout', 'signal', 'durable', 'traceparent']);
const LOCAL = new Set(['drain', 'newListener', 'removeListener', closed]);

// A last argument is options, and not sent, when it is a plain object with nothing but names of options in it.
function takeOptions(args) {
  const last = args.at(-1);
  if (last === null || typeof last !== 'object') return {};
  const prototype = Object.getPrototypeOf(last);
  if (prototype !== Object.prototype && prototype !== null) return {};
  const keys = Object.keys(last);
  if (keys.length === 0 || !keys.every((key) => OPTIONS.has(key))) return {};
  args.pop();
  return last;
}

function checkOptions({ timeout = ASK_TIMEOUT, signal, durable = false, traceparent }) {
  if (typeof timeout !== 'number' || !(timeout > 0))
    throw new RangeError(`timeout must be a positive number of milliseconds, not ${inspect(timeout)}`);
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('signal must be an AbortSignal');
  if (typeof durable !== 'boolean') throw new TypeError(`durable is true or false, not ${inspect(durable)}`);
  return { timeout: Math.ceil(Math.min(timeout, TIMEOUT_MAX)), signal, durable, trace: traceOf(traceparent) };
}

const PLAIN = { durable: false, trace: undefined };

// Of an emit it is options only when it says whether it is durable, or in which trace.
function emitOptions(args) {
  const last = args.at(-1);
  if (last === null || typeof last !== 'object' || !(Object.hasOwn(last, 'durable') || Object.hasOwn(last, 'traceparent'))) return PLAIN;
  return checkOptions(takeOptions(args));
}

function checkEvent(event) {
  if (typeof event !== 'string' || event === '') throw new TypeError('an event that is sent has a name: a string that is not empty');
}

/** "app/Type/key", checked. */
export function addressOf(type, key) {
  if (typeof type !== 'string') throw new TypeError('actor(type, key): type is a string such as "shop/Counter"');
  const address = key === undefined ? type : `${type}/${key}`;
  if (!/^[A-Za-z0-9_-]+\/[A-Za-z0-9_-]+\/[^\0]+$/s.test(address))
    throw codeError('EINVAL', `${inspect(address)} is not an address: app/Type/key is`);
  return address;
}

export class Ref extends EventEmitter {
  #connection;
  #address;
  #subscriptions = new Map(); // event → id
  #paused = false;
  #drained = () => super.emit('drain');

  constructor(connection, address) {
    super();
    this.#connection = connection;
    this.#address = address;
  }

  get address() { return this.#address; }
  get [kAddress]() { return this.#address; }

  /** One way. False when much is waiting to be sent; 'drain' follows. Throws ECLONE for what cannot be sent. */
  emit(event, ...args) {
    if (typeof event === 'symbol' || LOCAL.has(event)) return super.emit(event, ...args);
    checkEvent(event);
    const { durable, trace } = emitOptions(args);
    if (durable) return this.#connection.emitDurable(this.#address, event, args, trace, this.#drained);
    return this.#connection.emit(this.#address, event, args, trace, this.#drained);
  }

  /** Request and reply: `await ref.ask('add', 1, { timeout: 2000 })`. */
  ask(event, ...args) {
    try {
      checkEvent(event);
      const { timeout, signal, durable, trace } = checkOptions(takeOptions(args));
      const ask = { dst: this.#address, event, args, timeout, signal, trace, caller: this.ask };
      return durable ? this.#connection.askDurable(ask) : this.#connection.ask(ask);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  // Node's own once and prependOnceListener go through these.
  on(event, listener) { return this.addListener(event, listener); }
  off(event, listener) { return this.removeListener(event, listener); }
  addListener(event, listener) {
    super.addListener(event, listener);
    this.#sync(event);
    return this;
  }
  prependListener(event, listener) {
    super.prependListener(event, listener);
    this.#sync(event);
    return this;
  }
  removeListener(event, listener) {
    super.removeListener(event, listener);
    this.#sync(event);
    return this;
  }
  removeAllListeners(...events) {
    super.removeAllListeners(...events);
    for (const event of [...this.#subscriptions.keys()]) this.#sync(event);
    return this;
  }

  /** `for await (const [n] of ref.events('changed'))`: begins now. { signal, limit: events that may wait (10,000) }. */
  events(event, options) { return new Subscription(this, event, options); }

  /** Unsubscribes until resume(): what the actor emits meanwhile is lost. Node's events.on calls both, with a highWaterMark. */
  pause() { return this.#pause(true); }
  resume() { return this.#pause(false); }
  #pause(paused) {
    this.#paused = paused;
    for (const event of this.eventNames()) this.#sync(event);
    return this;
  }

  #sync(event) {
    if (typeof event !== 'string' || event === '' || LOCAL.has(event)) return;
    const id = this.#subscriptions.get(event);
    const heard = !this.#paused && this.listenerCount(event) > 0;
    if (heard && id === undefined) {
      this.#subscriptions.set(event, this.#connection.subscribe(this.#address, event,
        (args) => super.emit(event, ...args),
        (error, goesOn = false) => {
          if (!goesOn) this.#subscriptions.delete(event);
          super.emit('error', error);
        },
        () => super.emit(closed)));
    } else if (!heard && id !== undefined) {
      this.#subscriptions.delete(event);
      this.#connection.unsubscribe(id);
    }
  }

  toString() { return this.#address; }
  toJSON() { return this.#address; }
  [inspect.custom]() { return `Ref<${this.#address}>`; }
}
