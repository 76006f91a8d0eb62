// SPDX-License-Identifier: Apache-2.0
//
// The JavaScript side of an isolate. Evaluated once per process, into the platform snapshot, and so is `boot`, which gets the native
// functions (actors/v8/natives.cc) and returns the hooks C calls (actors/v8/realm.h): a new isolate begins with all of it done.
import * as actors from './actor.js';
import * as bounded from './bounded.js';
import * as incoming from './incoming.js';
import * as io from './io.js';
import * as refs from './ref.js';
import * as ring from './ring.js';
import * as table from './table.js';
import * as signal from './signal.js';
import * as stream from './stream.js';
import * as timers from './timers.js';
import { late, watch } from './born.js';
import { part } from './parts.js';
import * as events from './node/events.js';
import * as natives from './node/native.js';
import { drain } from './node/tick.js';
import * as globals from './web/globals.js';
import { warm } from './warm.js';
import { call, codeError, defineProperty, keys, SafeMap } from './primordials.js';

const definitions = new SafeMap(); // type → definition
const isola = { actor: refs.actor, Actor: actors.Actor, Ref: refs.Ref };

const define = (name, value) => defineProperty(globalThis, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false });
globals.install();
defineProperty(actors.Actor.prototype, 'signal', { __proto__: null, get() { return signal.signalOf(this); }, configurable: true, enumerable: false });
defineProperty(actors.Actor.prototype, 'storage', { __proto__: null, get() { return call(part('isola/storage').install(actors.Actor.prototype), this); }, configurable: true, enumerable: false });
let sql;
defineProperty(actors.Actor.prototype, 'sql', { __proto__: null, get() { return (sql ??= part('isola/sql')).sqlOf(this); }, configurable: true, enumerable: false });
bounded.install();
define('require', (name) => {
  if (name === 'isola') return isola;
  const exports = typeof name === 'string' ? late().builtin(name) : undefined;
  if (exports === undefined) throw codeError('MODULE_NOT_FOUND', `cannot find module '${name}' in an isolate`);
  return exports;
});

// The methods of actors that few have a use for, and the parts they are in.
const rare = {
  __proto__: null,
  monitor: 'isola/supervise', demonitor: 'isola/supervise', spawn: 'isola/supervise',
  schedule: 'isola/schedule', cancel: 'isola/schedule', schedules: 'isola/schedule',
};
const made = { __proto__: null };

// What is made when it is first looked at, and an ordinary property from then on (actors/v8/birth.cc): object, maker, enumerable, names.
const lazies = [
  [globalThis, globals.value, false, globals.names],
  [bounded.Numbers, bounded.entered, false, bounded.methods],
  [events.EventEmitter.prototype, events.method, true, events.names],
  [actors.Actor.prototype, (name) => (made[rare[name]] ??= part(rare[name])).methods[name], false, keys(rare)],
  [actors.Actor.prototype, stream.method, false, ['stream']],
];

globalThis.__isola_boot = (native) => {
  natives.attach(native);
  return {
    exports: isola,
    addressSymbol: actors.kAddress,
    makeRef: (address) => new refs.Ref(address),
    load: (type, namespace) => { definitions.set(type, actors.definition(namespace, type)); },
    activate: (serial, app, type, key, state, noState, from) => {
      const failed = (error) => native.activated(serial, false, error), started = () => native.activated(serial, true, undefined);
      try { // the constructor of a class
        actors.activate(definitions.get(type), serial, app, type, key, state, noState, from, started, failed);
      } catch (error) {
        failed(error);
      }
    },
    deactivate: (serial) => {
      const i = table.find(serial);
      if (i === undefined) return;
      refs.forget(i);
      timers.forget(i);
      io.forget(i);
      signal.forget(i);
      stream.forget(serial);
      table.forget(serial);
    },
    memory: ring.memory,
    use: ring.use,
    run: incoming.run,
    named: ring.named,
    hibernate: actors.hibernate,
    event: refs.event,
    settle: refs.settle,
    expire: refs.expire,
    cancelled: refs.cancelled,
    dropAsk: refs.dropAsk,
    abort: signal.abort,
    timer: timers.fire,
    wait: actors.wait,
    tick: drain,
    builtin: (name) => late().builtin(name),
    watch: (what) => watch(what, natives.rare().touch),
    lazy: (name, group) => (group < 0 ? part(name) : lazies[group][1](name)), // or a whole part, for C
    lazies,
    warm: (hooks) => warm(hooks, () => { definitions.clear(); ring.clear(); }),
    io: io.answer,
    stream: stream.on,
  };
};
delete globalThis.__isola_loader;
