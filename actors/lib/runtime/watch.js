// SPDX-License-Identifier: Apache-2.0
//
// Watches a module while it loads for an image (actors/v8/image.cc): what it would get from the clock and from random numbers must not
// be the same in every isolate. Natives tell by themselves; Date, Math.random and Temporal.Now are V8's, and get stand-ins that tell.
//
// The stand-ins are taken away again. A module may have kept one (`const { random } = Math`): it goes on working, and is put back, so
// that it is the same as the global one.
import { apply, defineProperty, getOwnPropertyNames } from './primordials.js';

const { construct } = Reflect;
const setProperty = (object, name, value) => defineProperty(object, name, { __proto__: null, value });

const NativeDate = Date;
const { now } = Date;
const NativeMath = Math;
const { random } = Math;
const NativeProxy = Proxy;
const { prototype } = Date;

let touch = null; // not null: watching
let stand; // [Date, Date.now, Math.random]
const CLOCK = 'it looks at the clock while it loads', CHANCE = 'it takes random numbers while it loads';

const tell = (what) => { if (touch !== null) touch(what); };

function make() {
  return [
    new NativeProxy(NativeDate, {
      __proto__: null,
      construct(target, args, newTarget) {
        if (args.length === 0) tell(CLOCK);
        return construct(target, args, newTarget);
      },
      apply(target, self, args) {
        tell(CLOCK);
        return apply(target, self, args);
      },
    }),
    { now() { tell(CLOCK); return now(); } }.now,
    { random() { tell(CHANCE); return random(); } }.random,
  ];
}

// Replaces each that is still what `from` has by what `to` has.
function swap(from, to) {
  if (to[0] !== undefined && globalThis.Date === from[0]) {
    setProperty(globalThis, 'Date', to[0]);
    if (prototype.constructor === from[0]) setProperty(prototype, 'constructor', to[0]);
  }
  if (to[1] !== undefined && NativeDate.now === from[1]) setProperty(NativeDate, 'now', to[1]);
  if (to[2] !== undefined && NativeMath.random === from[2]) setProperty(NativeMath, 'random', to[2]);
}

const own = [NativeDate, now, random];
const temporal = globalThis.Temporal?.Now;
const temporalNow = temporal === undefined ? [] : getOwnPropertyNames(temporal);
let temporalOwn = null;

/** true: begins; false: ends, and returns the stand-ins; an array of those that were kept: puts them back. */
export function watch(what, tellNative) {
  if (what === true) {
    touch = tellNative;
    stand = make();
    swap(own, stand);
    temporalOwn = [];
    for (let i = 0; i < temporalNow.length; i++) {
      const name = temporalNow[i];
      const original = temporalOwn[i] = temporal[name];
      if (typeof original === 'function')
        setProperty(temporal, name, { [name](...args) { tell(CLOCK); return apply(original, temporal, args); } }[name]);
    }
    return undefined;
  }
  if (what === false) {
    touch = null;
    const was = stand;
    stand = undefined;
    swap(was, own);
    for (let i = 0; i < temporalOwn.length; i++) if (typeof temporalOwn[i] === 'function') setProperty(temporal, temporalNow[i], temporalOwn[i]);
    temporalOwn = null;
    return was;
  }
  swap(own, what);
  return undefined;
}
