// SPDX-License-Identifier: Apache-2.0
//
// Watches a module while it loads for an image (actors/v8/image.cc): what it would get from the clock and from random numbers must not
// be the same in every isolate. Natives tell by themselves; Date, Math.random and Temporal.Now are V8's, and get stand-ins that tell.
//
// An isolate that a snapshot is made of lacks the newest features of the language: what an ordinary one has and it has not is there as a
// getter that tells.
//
// All of it is loaded for that alone (born.js), and gone again from what is kept.
//
// The stand-ins are taken away again. A module may have kept one (`const { random } = Math`): it goes on working, and is put back, so
// that it is the same as the global one.
import { apply, defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, names, SafeSet } from 'isola:born';

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

// Every name of a global, of its properties and of its prototype's: "Uint8Array.prototype.toHex".
function survey() {
  const found = [];
  const globals = getOwnPropertyNames(globalThis);
  for (let i = 0; i < globals.length; i++) {
    found[found.length] = globals[i];
    if (names.includes(globals[i])) continue; // they would be made
    const { value } = getOwnPropertyDescriptor(globalThis, globals[i]);
    if (value === null || value === globalThis || (typeof value !== 'object' && typeof value !== 'function')) continue;
    for (const of of [value, getOwnPropertyDescriptor(value, 'prototype')?.value]) {
      if (of === null || (typeof of !== 'object' && typeof of !== 'function')) continue;
      const own = getOwnPropertyNames(of);
      for (let k = 0; k < own.length; k++) found[found.length] = `${globals[i]}.${of === value ? '' : 'prototype.'}${own[k]}`;
    }
  }
  return found;
}

// Puts a getter wherever `all` names something that is not here.
let lacking;
function miss(all) {
  const here = new SafeSet(survey());
  lacking = [];
  for (let i = 0; i < all.length; i++) {
    if (here.has(all[i])) continue;
    const path = all[i].split('.');
    const name = path.pop();
    let of = globalThis;
    for (let k = 0; k < path.length && of !== undefined; k++) of = of[path[k]];
    if (of === undefined) continue; // of something that is not here itself
    defineProperty(of, name, { __proto__: null, configurable: true, enumerable: false, get() { tell(`it looks for ${all[i]} while it loads, which snapshots are made without`); return undefined; } });
    lacking[lacking.length] = { of, name };
  }
}

const own = [NativeDate, now, random];
const temporal = globalThis.Temporal?.Now;
const temporalNow = temporal === undefined ? [] : getOwnPropertyNames(temporal);
let temporalOwn = null;

/**
 * undefined: what an ordinary isolate has; this, as an object's `all`: begins; false: ends, and returns the stand-ins; an array of those
 * that were kept: puts them back.
 */
export function watch(what, tellNative) {
  if (what === undefined) return { all: survey() };
  if (what.all !== undefined) {
    miss(what.all);
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
    for (let i = 0; i < lacking.length; i++) {
      const { of, name } = lacking[i];
      const now = getOwnPropertyDescriptor(of, name);
      if (now !== undefined && now.get !== undefined && now.set === undefined) delete of[name];
    }
    lacking = undefined;
    return was;
  }
  swap(own, what);
  return undefined;
}
