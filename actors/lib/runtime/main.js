// SPDX-License-Identifier: Apache-2.0
//
// The JavaScript side of an isolate. Evaluated once per process, into the platform snapshot; `boot` then runs in every new
// isolate with that isolate's native functions (actors/v8/natives.cc) and returns the hooks C calls (actors/v8/realm.h).
import * as actors from './actor.js';
import * as refs from './ref.js';
import * as timers from './timers.js';
import { createConsole } from './console.js';
import { codeError, defineProperty, SafeMap, settled } from './primordials.js';

const definitions = new SafeMap(); // type → definition

globalThis.__isola_boot = (native) => {
  actors.attach(native);
  refs.attach(native);
  timers.attach(native);

  const define = (name, value) => defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  define('console', createConsole((level, text) => native.log(native.frame()?.actor ?? 0, level, text)));
  for (const [name, value] of Object.entries(timers.globals)) define(name, value);
  define('structuredClone', (value) => native.decode(native.encode(value)));
  define('queueMicrotask', (fn) => {
    if (typeof fn !== 'function') throw new TypeError('queueMicrotask wants a function');
    settled(undefined, () => fn(), undefined);
  });
  define('global', globalThis);
  const isola = { actor: refs.actor, Actor: actors.Actor, Ref: refs.Ref };
  define('require', (name) => {
    if (name === 'isola') return isola;
    throw codeError('MODULE_NOT_FOUND', `cannot find module '${name}' in an isolate`);
  });

  return {
    exports: isola,
    addressSymbol: actors.kAddress,
    makeRef: (address) => new refs.Ref(address),
    load: (type, namespace) => { definitions.set(type, actors.definition(namespace, type)); },
    activate: (serial, app, type, key, state, noState) => {
      settled(actors.activate(definitions.get(type), serial, app, type, key, state, noState),
        () => native.activated(serial, true, undefined),
        (error) => native.activated(serial, false, error));
    },
    deactivate: (serial) => {
      const i = actors.actors.get(serial);
      if (i === undefined) return;
      refs.forget(i);
      timers.forget(i);
      actors.deactivate(serial);
    },
    deliver: actors.deliver,
    hibernate: actors.hibernate,
    event: refs.event,
    settle: refs.settle,
    timer: timers.fire,
    state: (serial) => {
      const i = actors.actors.get(serial);
      return i !== undefined && i.touched ? [i.state] : undefined;
    },
  };
};
delete globalThis.console;
