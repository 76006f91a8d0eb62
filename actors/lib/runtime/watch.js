// SPDX-License-Identifier: Apache-2.0
//
// Watches a module while it loads for an image (actors/v8/image.cc): random numbers must not be the same in every isolate. Natives tell by
// themselves; Math.random is V8's, and gets a stand-in that tells.
//
// An isolate that a snapshot is made of lacks the newest features of the language: what an ordinary one has and it has not is there as a
// getter that tells.
//
// All of it is loaded for that alone (born.js), and gone again from what is kept.
//
// The stand-in is taken away again. A module may have kept it (`const { random } = Math`): it goes on working, and is put back, so that it
// is the same as the global one.
import { defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, names, SafeSet } from 'isola:born';

const setProperty = (object, name, value) => defineProperty(object, name, { __proto__: null, value });

const NativeMath = Math;
const { random } = Math;

let touch = null; // not null: watching
let stand; // the stand-in

const tell = (what) => { if (touch !== null) touch(what); };
const make = () => ({ random() { tell('it takes random numbers while it loads'); return random(); } }).random;

// Replaces it, if it is still `from`, by `to`.
function swap(from, to) {
  if (NativeMath.random === from) setProperty(NativeMath, 'random', to);
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

/**
 * undefined: what an ordinary isolate has; this, as an object's `all`: begins; false: ends, and returns the stand-in; that, if it was
 * kept: puts it back.
 */
export function watch(what, tellNative) {
  if (what === undefined) return { all: survey() };
  if (what.all !== undefined) {
    miss(what.all);
    touch = tellNative;
    stand = make();
    swap(random, stand);
    return undefined;
  }
  if (what === false) {
    touch = null;
    const was = stand;
    stand = undefined;
    swap(was, random);
    for (let i = 0; i < lacking.length; i++) {
      const { of, name } = lacking[i];
      const now = getOwnPropertyDescriptor(of, name);
      if (now !== undefined && now.get !== undefined && now.set === undefined) delete of[name];
    }
    lacking = undefined;
    return was;
  }
  swap(random, what);
  return undefined;
}
