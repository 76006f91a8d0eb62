// SPDX-License-Identifier: Apache-2.0
//
// The activations there are in this isolate, by the serials C gives them. Of each this is what is behind its emitter ('inner', actor.js).
import { rare } from './node/native.js';
import { SafeMap, setPrototypeOf } from './primordials.js';

export const actors = new SafeMap(); // serial → inner

// The same, quicker: serials follow each other, so their low bits find almost all of them in a table that is as large as the map.
let table = setPrototypeOf([undefined], null);

// When they are so many that processors wait for their memory, C fetches that of those it has a message for (actors/v8/ahead.hh).
const MANY = 64;
let told; // the table C knows

export function remember(i) {
  actors.set(i.serial, i);
  if (actors.size > table.length) {
    const size = table.length * 2;
    table = setPrototypeOf([], null);
    for (let k = 0; k < size; k++) table[k] = undefined;
    actors.forEach((other) => { table[other.serial & (size - 1)] = other; });
  }
  table[i.serial & (table.length - 1)] = i;
  if (told !== table && table.length >= MANY) {
    told = table;
    rare().ahead(table, table.length, i.serial, i);
  }
}

export function find(serial) {
  const i = table[serial & (table.length - 1)];
  return i !== undefined && i.serial === serial ? i : actors.get(serial);
}

export function forget(serial) {
  const k = serial & (table.length - 1);
  if (table[k]?.serial === serial) table[k] = undefined;
  actors.delete(serial);
}
