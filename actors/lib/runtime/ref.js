// SPDX-License-Identifier: Apache-2.0
//
// A ref: an EventEmitter whose other end is an actor somewhere in the cluster.
//
// emit and ask send; on, once and off subscribe to what the actor emits: the first listener of an event subscribes, the last one to
// go unsubscribes. Refs compare by address, not by identity.
import { EventEmitter } from './node/events.js';
import { hear, kAddress } from './actor.js';
import { currentActor, native, rare } from './node/native.js';
import * as ring from './ring.js';
import { all, apply, bounded, codeError, getPrototypeOf, hasOwn, isThenable, keys, min, NativePromise, ObjectPrototype, SafeMap, SafeSet, setPrototypeOf, trunc } from './primordials.js';
import { find } from './table.js';

const ASK = 1, EMIT = 2, SUB = 5, UNSUB = 6; // base/msg.h
const ASK_TIMEOUT = 30_000; // ms, when the caller does not say
const OPTIONS = new SafeSet(['timeout', 'signal', 'durable']);

const { emit, listenerCount, rawListeners } = EventEmitter.prototype;
const OWN = 2; // listeners a ref has of itself

const asks = setPrototypeOf([], null); // slot → { resolve, reject, number, … }, or undefined
const free = setPrototypeOf([], null); // slots that are
let nfree = 0;
let number = 0; // of the last ask: who answers names both, as slots are used again
const NUMBERS = 0x1fffffff;
const subscriptions = new SafeMap(); // id → { ref, event, owner, lost }

function keep(ask) {
  const slot = nfree > 0 ? free[--nfree] : asks.length;
  asks[slot] = ask;
  return slot;
}

function release(slot) {
  asks[slot] = undefined;
  free[nfree++] = slot;
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

// The same of an emit, whose arguments are looked at only as far as they may say that it is durable.
function durableOptions(args) {
  const last = args[args.length - 1];
  if (getPrototypeOf(last) !== ObjectPrototype || !hasOwn(last, 'durable')) return null;
  return options(args);
}

function isDurable(o) {
  if (o.durable !== undefined && typeof o.durable !== 'boolean') throw new TypeError(`durable is true or false, not ${typeof o.durable}`);
  return o.durable === true;
}

// What makes it an emitter comes with its first listener: most have none, and there are many.
export class Ref {
  #address;
  #number = 0; // what C knows the address by
  #epoch = -1; // when it was asked for that
  #emitter = undefined; // { events, count, subs: event → subscription id }

  constructor(address) {
    this.#address = address;
  }

  // V8 leaves room in new objects for as many fields as have those that live when the snapshot is made. (It would keep all fields apart, at
  // twice the memory and one cache line more with each message.)
  static #living = new Ref('');

  get address() { return this.#address; }
  get [kAddress]() { return this.#address; }

  /** One way. False when the receiver is congested, or, with a last argument `{ durable: true }`, much is not acknowledged. */
  emit(event, ...args) {
    if (event === 'newListener' || event === 'removeListener') return super.emit(event, ...args);
    const last = args[args.length - 1];
    if (typeof last === 'object' && last !== null) {
      const o = durableOptions(args);
      if (o !== null && isDurable(o)) {
        if (rare().durable(EMIT, this.#address, name(event), args.length === 1 ? args[0] : args, args.length, 0, 0, 0)) {
          if (owed.size > 0) owed.delete(currentActor());
          return true;
        }
        if (this.#emitter?.events.drain !== undefined) whenDrained(this, OUTBOX);
        else owe(this.#address);
        return false;
      }
    }
    if (ring.emit(this, Ref.#numberOf, name(event), args)) return true;
    if (this.#emitter?.events.drain !== undefined) whenDrained(this);
    return false;
  }

  /** Request and reply: `await ref.ask('add', 1, { timeout: 2000 })`. */
  ask(event, ...args) {
    const o = options(args);
    const timeout = o === null ? ASK_TIMEOUT : o.timeout ?? ASK_TIMEOUT;
    if (typeof timeout !== 'number' || !(timeout > 0)) throw new RangeError(`timeout must be a positive number of milliseconds, not ${timeout}`);
    const durable = o !== null && isDurable(o);
    const signal = o?.signal;
    signal?.throwIfAborted();
    const ms = timeout < 1 ? 1 : min(trunc(timeout), 0x7fffffff);
    return new NativePromise((resolve, reject) => {
      const ask = { resolve, reject, address: this.#address, event: name(event), ms, durable, number: number = (number + 1) & NUMBERS };
      const slot = keep(ask);
      try {
        if (durable) rare().durable(ASK, this.#address, event, args.length === 1 ? args[0] : args, args.length, slot, ask.number, ms);
        else ring.ask(this, Ref.#numberOf, event, args, slot, ask.number, ms);
      } catch (error) { // nothing was sent
        release(slot);
        throw error;
      }
      if (signal !== undefined) abortable(signal, slot, ask);
    });
  }

  static #numberOf(ref) {
    if (ref.#epoch !== ring.epoch()) {
      ref.#number = native.refer(ref.#address);
      ref.#epoch = ring.epoch();
    }
    return ref.#number;
  }

  // Two listeners of its own, which are always there, subscribe and unsubscribe.
  get _events() {
    if (!(#emitter in this)) return undefined;
    if (this.#emitter === undefined) {
      this.#emitter = { events: undefined, count: OWN, subs: new SafeMap() };
      this._events = setPrototypeOf({}, null);
    }
    return this.#emitter.events;
  }
  set _events(events) {
    this._events; // its making
    events.newListener ??= (event) => this.#subscribe(event);
    events.removeListener ??= (event) => this.#unsubscribe(event);
    this.#emitter.events = events;
  }
  get _eventsCount() { return #emitter in this ? this.#emitter?.count ?? OWN : 0; }
  set _eventsCount(n) {
    this._events;
    this.#emitter.count = n < OWN ? OWN : n;
  }

  #subscribe(event) {
    if (event === 'newListener' || event === 'removeListener') return;
    if (event === 'drain') { // which comes when an emit has returned false
      if (ring.crowded(Ref.#numberOf(this))) whenDrained(this);
      if (owed.get(currentActor())?.has(this.#address)) whenDrained(this, OUTBOX);
      return;
    }
    const { subs } = this.#emitter;
    if (subs.has(event)) return;
    const id = native.send(SUB, this.#address, name(event), 0);
    const owner = find(currentActor());
    subs.set(event, id);
    subscriptions.set(id, { ref: this, event, owner, call: undefined, lost: () => subs.delete(event) });
    if (owner !== undefined) owner.subscriptions++;
  }

  #unsubscribe(event) {
    const { subs } = this.#emitter;
    const id = subs.get(event);
    if (id === undefined || apply(listenerCount, this, [event]) > 0) return;
    subs.delete(event);
    const { owner } = subscriptions.get(id);
    subscriptions.delete(id);
    if (owner !== undefined) owner.subscriptions--;
    native.send(UNSUB, this.#address, event, id);
  }

  toString() { return this.#address; }
  toJSON() { return this.#address; }
}

setPrototypeOf(Ref.prototype, EventEmitter.prototype);
setPrototypeOf(Ref, EventEmitter);

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

// Who waits for whom: 'drain' comes to the refs of an actor that were told to wait, each once.
const drains = new SafeMap(); // `${serial} ${address}` → refs
const DRAIN = 0; // ms of such a wait, which is an ask to C
const OUTBOX = ''; // what durable emits wait for: that enough of all that the actor has sent is acknowledged
// Where a durable emit has returned false and nobody listens yet: serial → addresses, until one returns true.
const owed = new SafeMap();

function owe(address) {
  const serial = currentActor(), addresses = owed.get(serial);
  if (addresses === undefined) owed.set(serial, new SafeSet([address]));
  else addresses.add(address);
}

function whenDrained(ref, address = ref.address) {
  const key = `${currentActor()} ${address}`;
  const refs = drains.get(key);
  if (refs !== undefined) {
    refs.add(ref);
    return;
  }
  drains.set(key, new SafeSet([ref]));
  tell(key, new NativePromise((resolve) => {
    const ask = { resolve, reject: resolve, address, event: key, ms: DRAIN, durable: false, number: number = (number + 1) & NUMBERS };
    rare().pace(address, keep(ask), ask.number);
  }));
}

// In the context of the code that was told to wait, which may be a turn that still runs.
async function tell(key, drained) {
  await drained;
  const refs = drains.get(key);
  drains.delete(key);
  refs.forEach((ref) => apply(emit, ref, ['drain']));
}

function abortable(signal, slot, ask) {
  signal.addEventListener('abort', () => { if (asks[slot] === ask) cancel(slot, signal.reason); }, { once: true });
}

// The one with this number, if it waits still.
function waiting(slot, number) {
  const ask = asks[slot];
  return ask !== undefined && ask.number === number ? ask : undefined;
}

/** The answer to an ask has come (or will not). */
export function settle(slot, number, ok, value) {
  const ask = waiting(slot, number);
  if (ask === undefined) return;
  release(slot);
  if (ok) ask.resolve(value);
  else ask.reject(value);
}

function cancel(slot, reason) {
  const ask = asks[slot];
  native.cancel(slot, ask.number, ask.address);
  release(slot);
  ask.reject(reason);
}

/** Nobody waits for the turn it was asked in. */
export function cancelled(slot, number) {
  if (waiting(slot, number) !== undefined) cancel(slot, codeError('ECANCELED', 'nobody waits any more for the turn this was asked in'));
}

/** The activation it was asked by ends. */
export function dropAsk(slot, number) {
  const ask = waiting(slot, number);
  if (ask === undefined) return;
  if (ask.ms === DRAIN) drains.delete(ask.event);
  else native.cancel(slot, number, ask.address);
  release(slot);
}

/** C has waited as long as the ask was to wait. */
export function expire(slot, number) {
  const ask = waiting(slot, number);
  if (ask !== undefined) settle(slot, number, false, codeError('ETIMEDOUT', `ask "${ask.event}" of ${ask.address} timed out: ${ask.ms} ms are over, or what was left of the ask that led to it${ask.durable ? '; it is durable, and will still be carried out' : ''}`));
}

/** Subscribes `owner` to an event of `address`: `call` is called with its arguments. Returns the subscription. */
export function listen(owner, address, event, call) {
  const id = native.send(SUB, address, event, 0);
  subscriptions.set(id, { ref: undefined, event, owner, call, lost: () => {} });
  owner.subscriptions++;
  return id;
}

export function unlisten(id, address, event) {
  const s = subscriptions.get(id);
  if (s === undefined) return;
  subscriptions.delete(id);
  s.owner.subscriptions--;
  native.send(UNSUB, address, event, id);
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
  if (owed.size > 0) owed.delete(owner.serial);
  if (owner.subscriptions === 0) return;
  subscriptions.forEach((s, id) => {
    if (s.owner !== owner) return;
    subscriptions.delete(id);
    s.lost();
  });
}
