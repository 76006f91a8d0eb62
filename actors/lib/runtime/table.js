// SPDX-License-Identifier: Apache-2.0
//
// The activations there are in this isolate, by the serials C gives them. Of each this is what is behind its emitter ('inner', actor.js).
import { rare } from './node/native.js';
import { SafeMap, setPrototypeOf } from './primordials.js';

// Serials follow each other, so their low bits are places of their own for almost all; others have what finds its place taken.
let table = setPrototypeOf([undefined], null);
const others = new SafeMap(); // serial → inner
let count = 0;

// When they are so many that processors wait for their memory, C looks at that of those it has a message for (actors/v8/ahead.hh).
const MANY = 64;
let told; // the table C knows

function put(i) {
  const k = i.serial & (table.length - 1);
  if (table[k] === undefined) table[k] = i;
  else others.set(i.serial, i);
}

function grow() {
  const old = table, size = old.length * 2, displaced = setPrototypeOf([], null);
  table = setPrototypeOf([], null);
  for (let k = 0; k < size; k++) table[k] = undefined;
  for (let k = 0; k < old.length; k++) if (old[k] !== undefined) put(old[k]);
  others.forEach((i) => { displaced[displaced.length] = i; });
  others.clear();
  for (let k = 0; k < displaced.length; k++) put(displaced[k]);
}

export function remember(i) {
  if (++count > table.length) grow();
  put(i);
  if (told !== table && table.length >= MANY && table[i.serial & (table.length - 1)] === i) {
    told = table;
    rare().ahead(table, table.length, i.serial, i);
  }
}

/** undefined: it has ended. */
export function find(serial) {
  const i = table[serial & (table.length - 1)];
  if (i !== undefined && i.serial === serial) return i;
  return others.size === 0 ? undefined : others.get(serial);
}

export function forget(serial) {
  const k = serial & (table.length - 1);
  if (table[k]?.serial === serial) table[k] = undefined;
  else if (!others.delete(serial)) return;
  count--;
}
