// SPDX-License-Identifier: Apache-2.0
//
// Messages between C and JavaScript, many at a time: records in memory that both see (actors/v8/ring.hh has their fields). C puts what is
// to be delivered and settled into one list and calls `run` (incoming.js) for all of it; what scripts send, and what their turns end with, goes into the
// other, which C reads when it is full or the scripts have returned. Numbers, booleans, nothing and few bytes are in the records themselves, or beside them;
// all other values are encoded and decoded by C, one call for each.
import { frame, native } from './node/native.js';
import { codeError, copyBytes, countBytes, setPrototypeOf, SafeMap, trunc } from './primordials.js';
import { find } from './table.js';
import {
  ACTOR, ASK, ASK_NUMBER, ASK_SLOT, BURST, BYTES, CROWDED, DONE, DOUBLE, EMIT, ENCODED, EPOCH, ERROR, EVENT, EVENT_LENGTH, FAILED, FALSE, FROM, HEADER, IN, IN_TURN, INTEGER, KIND, LENGTH,
  NAME_LENGTH, NONE, NULL, OFFSET, OUT, PLACE, RETURNED, SENT, TAG, TIMEOUT, TO, TRUE, TURN, TURNS, UNDEFINED, VALUE, WAITS,
} from './layout.js';

const Bytes = Uint8Array; // a script may put another there

export let ints, doubles; // the memory
let going; // where the list of what is sent begins, in ints
let room; // how many records it has
let bytes; // the memory, too
let places; // where those of the bytes that come begin, in bytes
let goingPlaces; // and of those that go
let lastLength; // of bytes that came
let views; // of the former: those that a record of so many bytes needed last
export const names = setPrototypeOf([undefined], null); // number of an event → its name
const numbers = new SafeMap(); // and back
let lastName, lastNumber = 0;

/** The memory: a buffer with room for so many records each way. */
export function use(buffer, incoming, outgoing) {
  ints = new Int32Array(buffer);
  doubles = new Float64Array(buffer);
  bytes = new Bytes(buffer);
  going = HEADER + incoming * IN;
  room = outgoing;
  places = (going + room * OUT) * 4;
  goingPlaces = places + incoming * PLACE;
  views = [];
}

const SMALL = 16;
export const memory = new ArrayBuffer((HEADER + SMALL * IN + SMALL * OUT) * 4 + 2 * SMALL * PLACE);
use(memory, SMALL, SMALL);

/** The bytes of the record k, of which there are so many: an array that V8 keeps in its heap, which C could not make. */
export function bytesOf(k, length) {
  const view = views[k];
  if (view !== undefined && view.length === length) return new Bytes(view); // twice as fast as byte by byte, where there is one
  const copy = new Bytes(length), from = places + k * PLACE;
  for (let i = 0; i < length; i++) copy[i] = bytes[from + i];
  if (length === lastLength && k <= views.length) views[k] = new Bytes(ints.buffer, from, length);
  lastLength = length;
  return copy;
}

/** C has a number for the name of an event. */
export function named(number, name) {
  names[number] = name;
  numbers.set(name, number);
}

// 0 when there are too many to number them.
export function numberOf(name) {
  if (name === lastName) return lastNumber;
  let number = numbers.get(name);
  if (number === undefined) {
    number = native.number(name);
    if (number !== 0) named(number, name);
  }
  lastName = name;
  return lastNumber = number;
}

/* --- what goes --- */

/** Puts a value into the record at `at`; false: it is none that fits. */
export function fits(at, value) {
  if (typeof value === 'number') {
    const i = value | 0;
    if (i === value && (i !== 0 || 1 / value > 0)) {
      ints[at + TAG] = INTEGER;
      ints[at + VALUE] = i;
    } else {
      ints[at + TAG] = DOUBLE;
      doubles[(at + VALUE) >> 1] = value;
    }
    return true;
  }
  if (isLarge(value)) return false;
  ints[at + TAG] = value === undefined ? UNDEFINED : value === null ? NULL : value ? TRUE : FALSE;
  return true;
}

// A record with this value, whose place in ints is returned; it counts once [SENT] does, before anything else is.
function record(kind, value) {
  const few = isLarge(value) ? fewBytes(value) : 0;
  if (few < 0) return encoded(kind, value, kind === DONE ? RETURNED : 1, '');
  const at = place();
  if (few > 0) {
    copyBytes(bytes, goingPlaces + ints[SENT] * PLACE, value);
    ints[at + TAG] = BYTES;
    ints[at + VALUE] = few;
  } else {
    fits(at, value);
  }
  ints[at + KIND] = kind;
  return at;
}

function place() {
  if (ints[SENT] === room) native.drain();
  return going + ints[SENT] * OUT;
}

// The script's getters may run, and send; there is room for one more afterwards.
function encoded(kind, value, n, name) {
  native.encodeNext(value, n, name);
  return put(kind);
}

// What native.encodeNext has encoded last, in a record.
function put(kind) {
  const at = place();
  ints[at + KIND] = kind;
  ints[at + TAG] = ENCODED;
  ints[at + VALUE] = ints[OFFSET];
  ints[at + VALUE + 1] = ints[LENGTH];
  ints[at + NAME_LENGTH] = ints[EVENT_LENGTH];
  ints[WAITS] = 0;
  return at;
}

/** A turn has ended. Throws what encoding the value throws; an error is always sent. */
export function done(serial, turn, ok, value) {
  const at = ok ? record(DONE, value) : encoded(FAILED, value, ERROR, '');
  ints[at + FROM] = serial;
  ints[at + IN_TURN] = turn;
  ints[SENT]++;
}

// Whose code runs: [ACTOR] and [TURN], or what V8 knows.
function sender(at) {
  let serial = ints[ACTOR], turn;
  if (serial !== 0) {
    turn = ints[TURN];
  } else {
    let f = frame();
    if (typeof f !== 'number') f = f === undefined ? 0 : f.frame;
    serial = trunc(f / TURNS);
    turn = f - serial * TURNS;
    if (serial !== 0 && find(serial) === undefined) throw codeError('ECLOSED', 'this activation of the actor has ended');
  }
  ints[at + FROM] = serial;
  ints[at + IN_TURN] = turn;
}

// Is it not in the record itself?
const isLarge = (value) => typeof value !== 'number' && typeof value !== 'boolean' && value !== undefined && value !== null;

// How many bytes an array has that goes into the place of a record; -1: it is none.
function fewBytes(value) {
  const n = countBytes(value);
  return n > 0 && n <= PLACE ? n : -1;
}

// `numberOfRef(ref)` is asked for last: while a value is encoded the numbers may become others.
function message(kind, ref, numberOfRef, event, args) {
  const n = args.length, number = numberOf(event);
  const large = number === 0 || n > 1 || (n === 1 && isLarge(args[0]) && fewBytes(args[0]) < 0);
  if (large) native.encodeNext(n === 1 ? args[0] : args, n, number === 0 ? event : '');
  const to = numberOfRef(ref);
  let at;
  if (large) {
    at = put(kind);
  } else if (n === 1) {
    at = record(kind, args[0]);
  } else {
    at = place();
    ints[at + KIND] = kind;
    ints[at + TAG] = NONE;
  }
  sender(at);
  ints[at + TO] = to;
  ints[at + EVENT] = number;
  return at;
}

const BURST_MAX = 32;

/** One way. False when the receiver is congested, or much has been emitted and has not left yet. */
export function emit(ref, numberOfRef, event, args) {
  const at = message(EMIT, ref, numberOfRef, event, args);
  ints[SENT]++;
  ints[BURST] += ints[at + TAG] === ENCODED ? 1 + (ints[at + VALUE + 1] >> 11) : 1; // each 2 KB like one more
  return ints[BURST] < BURST_MAX && (ints[CROWDED] === 0 || !native.congested(ints[at + TO]));
}

/** Would an emit to this number return false now? */
export const crowded = (number) => ints[BURST] >= BURST_MAX || (ints[CROWDED] !== 0 && native.congested(number));

/** An ask, whose answer `settle` is called with. */
export function ask(ref, numberOfRef, event, args, slot, number, ms) {
  const at = message(ASK, ref, numberOfRef, event, args);
  ints[at + ASK_SLOT] = slot;
  ints[at + ASK_NUMBER] = number;
  ints[at + TIMEOUT] = ms;
  ints[SENT]++;
}

/** When this changes, the numbers of refs are others. */
export const epoch = () => ints[EPOCH];

/** The rehearsal is over. */
export function clear() {
  for (let i = 0; i < ints.length; i++) ints[i] = 0;
  for (let i = 1; i < names.length; i++) numbers.delete(names[i]);
  names.length = 1;
  lastName = undefined;
  lastNumber = 0;
}
