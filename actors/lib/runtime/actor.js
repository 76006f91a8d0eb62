// SPDX-License-Identifier: Apache-2.0
//
// The JavaScript half of an actor: the emitter a module's function receives as `self` (or a class's instance is), its
// handlers, its state, and the turn a message makes.
//
// C decides when a message is delivered and keeps one turn at a time; here a turn is run to the end of the handler's promise and
// then reported: by the value `deliver` returns, or, when that is `later`, with `done`. The frame is what travels along promise
// continuations (V8's continuation-preserved embedder data): it says in whose turn a piece of code runs, also in an isolate that many
// actors share. C sets it before a turn; here it is a number nobody takes apart, or an object with that number (node/async_hooks.js).
import { native, rare } from './node/native.js';
import { EventEmitter, Events, isEnd } from './node/events.js';
import { HANDLERS, LEARN } from './layout.js';
import { nearest } from './nearest.js';
import { done, ints } from './ring.js';
import { find, remember } from './table.js';
import {
  all, apply, bounded, call, codeError, define, defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, getPrototypeOf, hasOwn, isThenable, keys, ObjectPrototype, SafeSet, SafeWeakMap, setPrototypeOf,
  settled,
} from './primordials.js';

export const kAddress = Symbol('isola.address'); // the codec sends whatever has it as a ref
export const later = Symbol('isola.later');

const { listenerCount, rawListeners } = EventEmitter.prototype;

let constructing = null; // the inner of the instance whose constructor runs

// The inner of an instance is in a private field, put on it from outside: scripts cannot see it, nor change whose it is.
class Given { constructor(object) { return object; } }
class Inner extends Given {
  #inner;
  constructor(self, i) { super(self); this.#inner = i; }
  static of(self) { return #inner in self ? self.#inner : undefined; }
}

export const innerOf = (self) => inner(self);

const inner = (self) => {
  const i = Inner.of(self);
  if (i !== undefined) return i;
  if (constructing === null) throw new TypeError('actors are created by their platform, not with new');
  new Inner(self, constructing);
  return constructing;
};

// Has no class of its between it and Actor a `state` of its own?
function isPlain(self) {
  let p = self;
  while (!hasOwn(p, 'state')) p = getPrototypeOf(p);
  return p === Actor.prototype;
}

// The object whose `state` is what is kept: C reads it from there. Once it has been looked at that is an ordinary property of the
// actor, which costs what a property costs; where that cannot be, it stays behind it.
function holder(self) {
  const i = inner(self);
  if (i.holder !== null) return i.holder;
  if (i.noState !== undefined) throw codeError('EUNREACHABLE', i.noState);
  const value = i.state ?? {};
  if (isPlain(self) && define(self, 'state', { __proto__: null, value, writable: true, enumerable: false, configurable: false })) {
    i.holder = self;
    i.state = undefined;
  } else {
    i.holder = i;
    i.state = value;
  }
  native.looked(i.serial, i.holder);
  return i.holder;
}

const addressOf = (i) => i.address ??= `${i.app}/${i.type}/${i.key}`;

export class Actor extends EventEmitter {
  constructor() {
    super();
    const i = inner(this);
    if (getPrototypeOf(i.events) !== Events.prototype) i.events = new Events(); // Node.js' EventEmitter has made others
  }
  get app() { return inner(this).app; }
  get type() { return inner(this).type; }
  get key() { return inner(this).key; }
  get address() { return addressOf(inner(this)); }
  get [kAddress]() {
    const i = Inner.of(this) ?? constructing;
    return i === null ? undefined : addressOf(i);
  }

  // The trace context of what is sent now: that of the message the present turn began with; undefined when there is none.
  get traceparent() { return rare().trace(inner(this).serial); }

  // What is kept. Assigning replaces it; changing it in place is noticed at the end of the turn.
  get state() { return holder(this).state; }
  set state(value) { holder(this).state = value; }

  // To one's own listeners at once, to every subscriber anywhere once the turn's state is on disk.
  emit(event, ...args) {
    const i = inner(this);
    if (typeof event === 'string') bounded(event);
    const heard = apply(listenerCount, this, [event]) > 0 ? super.emit(event, ...args) : false;
    if (typeof event !== 'string' || event === 'newListener' || event === 'removeListener') return heard;
    return native.publish(i.serial, event, args) || heard;
  }
}

// Listeners are kept behind the emitter, where a message finds them. EventEmitter's methods go by this name.
// Whoever asks for them may be about to change them.
defineProperty(Actor.prototype, '_events', {
  __proto__: null,
  get() {
    const i = Inner.of(this) ?? constructing;
    if (i === null) return undefined;
    i.found = 0;
    ints[HANDLERS] = 0;
    return i.events;
  },
  set(events) {
    const i = inner(this);
    i.found = 0;
    ints[HANDLERS] = 0;
    i.events = events;
  },
  configurable: false,
  enumerable: false,
});

// One that lives in the snapshot, so that others have room for their fields in themselves (see Ref), and for four events.
constructing = { events: new Events() };
for (const name of ['a', 'b', 'c', 'd']) constructing.events[name] = undefined;
Inner.living = new Actor();
constructing = null;

// The names of a class's handlers: its own and inherited methods, but none of Actor's, no hooks, nothing that begins with _.
const methodsOf = new SafeWeakMap();
function methods(prototype) {
  let names = methodsOf.get(prototype);
  if (names === undefined) {
    names = new SafeSet();
    for (let p = prototype; p !== null && p !== ObjectPrototype && p !== Actor.prototype; p = getPrototypeOf(p)) {
      const own = getOwnPropertyNames(p);
      for (let k = 0; k < own.length; k++) {
        const name = own[k];
        const hook = name[0] === 'o' && name[1] === 'n' && name[2] >= 'A' && name[2] <= 'Z';
        if (name === 'constructor' || name[0] === '_' || hook) continue;
        if (typeof getOwnPropertyDescriptor(p, name).value === 'function') names.add(name);
      }
    }
    methodsOf.set(prototype, names);
  }
  return names;
}

// The prototype of a class cannot be replaced. (Its text would tell as well, but means a regular expression compiled at each birth.)
const isClass = (f) => getOwnPropertyDescriptor(f, 'prototype')?.writable === false;

// A class that does not extend Actor becomes one: Actor is put at the end of its chain of prototypes.
function adopt(Class) {
  if (Class.prototype instanceof Actor) return;
  let last = Class.prototype;
  while (!isEnd(getPrototypeOf(last))) last = getPrototypeOf(last);
  setPrototypeOf(last, Actor.prototype);
}

/** What a module offers as an actor: a function of its emitter, or a class. Throws a TypeError that says what is wrong. */
export function definition(namespace, type) {
  let value = namespace.default;
  // A CommonJS module that esbuild wrapped: `module.exports = { default: … }` as well as `module.exports = …`.
  if (value !== null && typeof value === 'object' && typeof value.default === 'function') value = value.default;
  if (value === undefined) value = namespace[type];
  if (typeof value !== 'function') {
    const got = value === undefined ? 'it exports neither' : `its default export is ${value === null ? 'null' : typeof value === 'object' ? 'an object' : `a ${typeof value}`}`;
    throw new TypeError(`the module must export a function or a class as its default (or as "${type}"); ${got}`);
  }
  if (!isClass(value)) return { setup: value, Class: undefined };
  adopt(value);
  return { setup: undefined, Class: value };
}

const UPGRADED = false; // in place of a version: the hook has been called

// What follows the setup: the hook of an upgrade, if there is one and an upgrade to tell of, whose result becomes the state when it is an object; then onActivate of a class.
function begin(i, def, from, started, failed) {
  try {
    if (typeof i.self.onUpgrade === 'function' && from !== UPGRADED) {
      native.upgrades(i.serial);
      if (from !== undefined) {
        const value = i.self.onUpgrade(holder(i.self).state, from ?? undefined);
        const next = (state) => {
          if (typeof state === 'object' && state !== null) holder(i.self).state = state;
          begin(i, def, UPGRADED, started, failed);
        };
        if (isThenable(value)) settled(value, next, failed);
        else next(value);
        return;
      }
    }
    const value = def.Class !== undefined && typeof i.self.onActivate === 'function' ? i.self.onActivate() : undefined;
    if (isThenable(value)) settled(value, started, failed);
    else started();
  } catch (error) {
    failed(error);
  }
}

/** Starts an actor: `started` is called when it may take messages, now or later, or `failed`. `from`: undefined, or which version has written its state, null when that is not known. */
export function activate(def, serial, app, type, key, state, noState, from, started, failed) {
  // What a message needs comes first.
  const i = { serial, found: 0, handler: undefined, self: null, monitors: undefined, events: new Events(), methods: null, holder: null, state, noState, app, type, key,
    address: undefined, signals: undefined, subscriptions: 0, timers: 0, ios: 0 /* that are under way */ };
  remember(i);
  constructing = i;
  try {
    if (def.Class !== undefined) {
      i.self = new def.Class();
      inner(i.self);
      i.methods = methods(def.Class.prototype);
    } else {
      i.self = new Actor();
      inner(i.self);
    }
  } finally {
    constructing = null;
  }
  const value = def.setup !== undefined ? def.setup(i.self) : undefined;
  if (isThenable(value)) settled(value, () => begin(i, def, from, started, failed), failed);
  else begin(i, def, from, started, failed);
}

// Calls every handler of the event, of which there are several; the first result that is not undefined is the answer.
export function callAll(i, event, args) {
  let answer = i.methods !== null && i.methods.has(event) ? apply(i.self[event], i.self, args) : undefined;
  // Raw ones: what `once` wraps around a listener takes it away again.
  const listeners = apply(rawListeners, i.self, [event]);
  for (let k = 0; k < listeners.length; k++) {
    const result = apply(listeners[k], i.self, args);
    if (answer === undefined) answer = result;
    else if (isThenable(result)) answer = all([answer, result]);
  }
  return answer;
}

/** One turn of actor `i`: returns its value, or `later` and calls done(serial, turn, ok, value) exactly once, now or later. */
export function deliver(i, serial, turn, isAsk, number, event, args) {
  try {
    const method = i.methods !== null && i.methods.has(event);
    if (event === 'down' && i.monitors !== undefined) return unheard(i, turn, isAsk, event); // it could be taken for a monitor's
    const listeners = i.events?.[event];
    let answer;
    if (!method && typeof listeners === 'function') { // the usual one handler: an emitter keeps it as it is
      if (event !== 'down') {
        i.handler = listeners;
        i.found = number;
        if (ints[LEARN] !== 0) native.handles(serial, number, listeners, i.self);
      }
      answer = apply(listeners, i.self, args);
    } else if (method && listeners === undefined) {
      if (ints[LEARN] !== 0 && event !== 'down') native.handles(serial, number, event, i.self);
      answer = apply(i.self[event], i.self, args);
    } else if (method || listeners !== undefined) {
      answer = callAll(i, event, args);
    } else {
      return unheard(i, turn, isAsk, event);
    }
    return isThenable(answer) ? wait(serial, turn, answer) : answer;
  } catch (error) {
    done(serial, turn, false, error);
    return later;
  }
}

/** The same, of an event whose number is `i.found`: its handler was looked for before. */
export function again(i, serial, turn, none, value) {
  try {
    const answer = none ? call(i.handler, i.self) : call(i.handler, i.self, value);
    return isThenable(answer) ? wait(serial, turn, answer) : answer;
  } catch (error) {
    done(serial, turn, false, error);
    return later;
  }
}

// What the event was meant to be, of those that have a handler.
function meant(i, event) {
  const NAMES_MAX = 200;
  const near = nearest(event);
  const events = keys(i.events);
  for (let k = 0; k < events.length && k < NAMES_MAX; k++) near.look(events[k]);
  if (i.methods !== null) i.methods.forEach(near.look);
  return near.hint();
}

function unheard(i, turn, isAsk, event) {
  native.unheard(i.serial, turn);
  if (isAsk) {
    done(i.serial, turn, false, codeError('ENOACTOR', `${i.app}/${i.type} has no handler for "${event}"${meant(i, event)}`));
    return later;
  }
  native.log(i.serial, 2, `no handler for "${event}": the message was dropped${meant(i, event)}`);
  return undefined;
}

export function wait(serial, turn, promise) {
  settled(promise, (value) => ended(serial, turn, value), (error) => done(serial, turn, false, error));
  return later;
}

// With a value that perhaps cannot be sent.
export function ended(serial, turn, value) {
  try {
    done(serial, turn, true, value);
  } catch (error) {
    done(serial, turn, false, error);
  }
}

/** The turn of a subscriber: `call` calls the ref's listeners. */
export function hear(serial, turn, call) {
  try {
    const answer = call();
    if (isThenable(answer)) wait(serial, turn, answer);
    else ended(serial, turn, answer);
  } catch (error) {
    done(serial, turn, false, error);
  }
}

/** The last turn of an activation. */
export function hibernate(serial, turn) {
  hear(serial, turn, () => {
    const i = find(serial);
    return typeof i.self.onHibernate === 'function' ? i.self.onHibernate() : undefined;
  });
}
