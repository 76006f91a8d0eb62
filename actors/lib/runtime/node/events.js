// SPDX-License-Identifier: Apache-2.0
//
// EventEmitter. An isolate is born with the small one of the package "events", a copy of Node.js' own at a quarter of its memory; when a
// script asks for module `events`, which is Node.js' with all there is to it, the small one becomes that one: actors, refs and `process`
// are then instances of it and have its methods.
import { create, defineProperty, getOwnPropertyNames, getPrototypeOf, ObjectPrototype, setPrototypeOf } from '../primordials.js';

const EventEmitter = require('events'); // a CommonJS module, as such: less to wrap around it
const small = EventEmitter.prototype;

/** Called when Node.js' module has been loaded. */
export function become(full) {
  const STATE = ['constructor', '_events', '_eventsCount', '_maxListeners'];
  const names = getOwnPropertyNames(small);
  for (let i = 0; i < names.length; i++) if (!STATE.includes(names[i])) delete small[names[i]];
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

export { EventEmitter };
