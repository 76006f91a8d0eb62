// SPDX-License-Identifier: Apache-2.0
//
// EventEmitter. An isolate is born with a small one, which can do what almost every actor does; the rest of its methods are those of the
// package "events", a copy of Node.js' own, and come when a script first asks for one (emitter.js). When a script asks for module `events`,
// which is Node.js' with all there is to it, the small one becomes that one: actors, refs and `process` are then instances of it and
// have its methods.
import { part } from '../parts.js';
import { apply, create, defineProperty, getOwnPropertyNames, getPrototypeOf, ObjectPrototype, once, setPrototypeOf } from '../primordials.js';

const rest = once(() => part('isola/emitter').methods);

export function EventEmitter() {
  const events = this._events;
  if (typeof events === 'object' && events !== null && getPrototypeOf(events) === Events.prototype) { // an actor's, which are there already
    this._eventsCount = 0;
  } else if (events === undefined || events === getPrototypeOf(this)._events) {
    this._events = setPrototypeOf({}, null);
    this._eventsCount = 0;
  }
  this._maxListeners = this._maxListeners || undefined;
}
const small = EventEmitter.prototype;
small._events = undefined;
small._eventsCount = 0;
small._maxListeners = undefined;

small.emit = function emit(type, ...args) {
  const handler = this._events?.[type];
  if (typeof handler !== 'function') return handler === undefined && type !== 'error' ? false : apply(rest().emit, this, [type, ...args]);
  apply(handler, this, args);
  return true;
};

small.on = small.addListener = function addListener(type, listener) {
  const events = this._events;
  // The first of its event, and nobody wants to know:
  if (typeof listener !== 'function' || events === undefined || events.newListener !== undefined || events[type] !== undefined)
    return apply(rest().addListener, this, [type, listener]);
  events[type] = listener;
  this._eventsCount++;
  return this;
};

small.listenerCount = function listenerCount(type) {
  const handler = this._events?.[type];
  return handler === undefined ? 0 : typeof handler === 'function' ? 1 : handler.length;
};

small.rawListeners = function rawListeners(type) {
  const handler = this._events?.[type];
  return handler === undefined ? [] : typeof handler === 'function' ? [handler] : apply(rest().rawListeners, this, [type]);
};

/** The methods that are made when they are first looked at (main.js), */
export const names = [
  'setMaxListeners', 'getMaxListeners', 'prependListener', 'once', 'prependOnceListener', 'removeListener', 'off', 'removeAllListeners', 'listeners', 'eventNames',
];
/** by this. */
export const method = (name) => rest()[name];

/** Called when Node.js' module has been loaded. */
export function become(full) {
  const STATE = ['constructor', '_events', '_eventsCount', '_maxListeners'];
  const own = getOwnPropertyNames(small);
  for (let i = 0; i < own.length; i++) if (!STATE.includes(own[i])) delete small[own[i]];
  defineProperty(small, 'constructor', { __proto__: null, value: full, writable: true, configurable: true, enumerable: false });
  setPrototypeOf(small, full.prototype);
}

/** Is this where a class of a script's may be continued by Actor? */
export function isEnd(prototype) {
  return prototype === null || prototype === ObjectPrototype || prototype === small || (getPrototypeOf(small) !== ObjectPrototype && prototype === getPrototypeOf(small));
}

/** The listeners of an emitter, as an object with a shape: what many emitters of a kind have is then found at once. */
export function Events() {}
Events.prototype = Object.freeze(create(null));
