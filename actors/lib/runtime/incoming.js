// SPDX-License-Identifier: Apache-2.0
//
// Messages and answers that C hands over: records in the memory of ring.js.
import { native, setFrame } from './node/native.js';
import { again, deliver, ended, later } from './actor.js';
import {
  ACTOR, ASKED, AT, BURST, BYTES, DOUBLE, ENCODED, ENCODED1, FALSE, FINISHED, HEADER, IN, INTEGER, KIND, NAME, NONE, NULL, NUMBER, REPLIED, SENT, SERIAL, SLOT, TAG, TRUE, TURN, TURNS, UNDEFINED, VALUE,
} from './layout.js';
import { settle } from './ref.js';
import { bytesOf, done, doubles, fits, ints, names, numberOf } from './ring.js';
import { find } from './table.js';

const unreadable = {};

// The one value of a record, or the first; throws what decoding it throws.
function only(tag, at, k) {
  switch (tag) {
    case INTEGER: return ints[at + VALUE];
    case DOUBLE: return doubles[(at + VALUE) >> 1];
    case TRUE: return true;
    case FALSE: return false;
    case NULL: return null;
    case BYTES: return bytesOf(k, ints[at + VALUE]);
    case ENCODED:
    case ENCODED1: return native.decoded(k, true);
    default: return undefined;
  }
}

/** Runs the records from one up to another. */
export function run(from, to) {
  for (let k = from; k < to; k++) {
    const at = HEADER + k * IN;
    const kind = ints[at + KIND], tag = ints[at + TAG];
    ints[AT] = k;
    ints[BURST] = 0;
    if (kind >= REPLIED) {
      answer(at, k, kind === REPLIED, tag);
    } else if (kind !== 0) {
      const i = find(ints[at + SERIAL] >>> 0);
      if (i !== undefined) incoming(i, at, k, kind === ASKED, tag); // else its activation has ended
    }
  }
}

function answer(at, k, ok, tag) {
  let value;
  try {
    value = only(tag, at, k);
  } catch (error) {
    ok = false;
    value = error;
  }
  settle(ints[at + SLOT], ints[at + NUMBER], ok, value);
  native.checkpoint();
}

function incoming(i, at, k, isAsk, tag) {
  const serial = ints[at + SERIAL] >>> 0, turn = ints[at + NUMBER], number = ints[at + NAME];
  const found = number !== 0 && i.found === number && tag !== ENCODED;
  const given = read(serial, turn, at, k, isAsk, tag, found);
  if (given === unreadable) return;
  setFrame(serial * TURNS + turn);
  ints[ACTOR] = serial;
  ints[TURN] = turn;
  const value = found ? again(i, serial, turn, tag === NONE, given)
    : deliver(i, serial, turn, isAsk, number, number !== 0 ? names[number] : native.name(k), given);
  ints[ACTOR] = 0;
  if (value === later) native.checkpoint();
  else if (!isAsk || fits(at, value)) finished(at, isAsk);
  else ended(serial, turn, value);
}

function finished(at, isAsk) {
  if (!isAsk) ints[at + TAG] = UNDEFINED;
  ints[at + NAME] = ints[SENT]; // what was sent before it goes before it
  ints[at + KIND] = FINISHED;
}

// The arguments, or the only one; `unreadable`, and the turn has ended.
function read(serial, turn, at, k, isAsk, tag, one) {
  if (tag === NONE) return one ? undefined : [];
  try {
    if (tag === ENCODED) return native.decoded(k, false);
    const value = only(tag, at, k);
    return one ? value : [value];
  } catch (error) {
    if (!isAsk) native.log(serial, 2, error.message);
    done(serial, turn, !isAsk, isAsk ? error : undefined);
    return unreadable;
  }
}

/** Part of the rehearsal (warm.js): a message, and an answer. */
export function rehearse(serial, turn, name, value) {
  const at = HEADER;
  ints[at + KIND] = ASKED;
  ints[at + TAG] = INTEGER;
  ints[at + SERIAL] = serial;
  ints[at + NUMBER] = turn;
  ints[at + VALUE] = value;
  ints[at + NAME] = numberOf(name);
  run(0, 1);
  ints[at + KIND] = REPLIED;
  run(0, 1);
  native.drain();
}
