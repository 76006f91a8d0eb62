// SPDX-License-Identifier: Apache-2.0
//
// self.storage: what an actor keeps by keys. What is put and deleted is handed to C at once, which writes it with all else its turn has changed
// (actors/storage.c); what is read comes from there as well, so that nothing is kept here but whose turn it is.
//
// While a transaction is open, what does not belong to it waits, in its order. What belongs to it is what is called on the object its function is
// given, and what its function calls on self.storage: it goes on with a frame (actor.js) that has the transaction among its stores, whatever it awaits.
import { clone, codeError, defineProperty, exchange, frame, group, innerOf, NativePromise, SafeMap, SafeSet, SafeWeakMap, setFrame } from 'isola:born';

const { keys } = Object;
const natives = group('storage');
const OPEN = {}; // names it among the stores of a frame (node/async_hooks.js)
const PAGE = 1000; // items
const RANGE = new SafeSet();
for (const name of ['prefix', 'start', 'startAfter', 'end', 'limit', 'reverse']) RANGE.add(name);

const storesOf = (f) => (typeof f === 'object' ? f.als : undefined);
const belongs = (s) => s.open !== null && storesOf(frame())?.get(OPEN) === s.open;

/** Calls `fn` with another frame. */
function within(f, fn) {
  const before = exchange(f);
  try {
    return fn();
  } finally {
    setFrame(before);
  }
}

function frameOf(transaction) {
  const f = frame(), als = new SafeMap();
  storesOf(f)?.forEach((value, key) => als.set(key, value));
  als.set(OPEN, transaction);
  return { __proto__: null, frame: typeof f === 'object' ? f.frame : f ?? 0, als };
}

const isFree = (s) => (s.open === null ? s.first === null : belongs(s));

/** Calls `fn` when no transaction is open that it does not belong to, after all who have waited longer. */
function whenFree(s, fn) {
  if (isFree(s)) return fn();
  const f = frame();
  return new NativePromise((resolve, reject) => {
    const next = {
      run: async () => {
        try {
          resolve(await within(f, fn)); // resolve would ask a promise for its `then`
        } catch (error) {
          reject(error);
        }
      },
      next: null,
    };
    if (s.first === null) s.first = next;
    else s.last.next = next;
    s.last = next;
  });
}

function goOn(s) {
  while (s.open === null && s.first !== null) {
    const { run, next } = s.first;
    s.first = next;
    run();
  }
}

function unique(names, what) {
  if (typeof names === 'string' || names === null || typeof names !== 'object') throw new TypeError(`${what}(keys): keys are an array, or can be iterated over`);
  const seen = new SafeSet(), list = [];
  for (const key of names) {
    if (seen.has(key)) continue;
    seen.add(key);
    defineProperty(list, list.length, { __proto__: null, value: key, writable: true, enumerable: true, configurable: true });
  }
  return list;
}

function pairsOf(entries) {
  const list = [];
  const add = (key, value) => {
    if (value === undefined) throw notUndefined();
    defineProperty(list, list.length, { __proto__: null, value: { key, value }, writable: true, enumerable: true, configurable: true });
  };
  if (entries === null || typeof entries !== 'object') throw new TypeError('putMany(entries): a Map, an array of [key, value], or an object');
  if (typeof entries[Symbol.iterator] === 'function') {
    for (const entry of entries) {
      if (entry === null || typeof entry !== 'object') throw new TypeError('putMany(entries): each entry is [key, value]');
      add(entry[0], entry[1]);
    }
  } else {
    const names = keys(entries);
    for (let i = 0; i < names.length; i++) add(names[i], entries[names[i]]);
  }
  return list;
}

const notUndefined = () => new TypeError('undefined cannot be stored; delete(key) takes away what is there');

function rangeOf(options = {}) {
  if (options === null || typeof options !== 'object') throw new TypeError('what to list is an object: { prefix, start, startAfter, end, limit, reverse }');
  const names = keys(options);
  for (let i = 0; i < names.length; i++)
    if (!RANGE.has(names[i])) throw new TypeError(`there is no option "${names[i]}": { prefix, start, startAfter, end, limit, reverse }`);
  const { prefix, start, startAfter, end, limit, reverse = false } = options;
  if (start !== undefined && startAfter !== undefined) throw new TypeError('start and startAfter exclude each other');
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) throw new TypeError(`limit is a whole number from 1, not ${String(limit)}`);
  if (typeof reverse !== 'boolean') throw new TypeError('reverse is true or false');
  return { prefix, start, startAfter, end, limit: limit ?? Infinity, reverse };
}

// Some of a range from behind a key (or undefined, for the first): [key, value, …, the last key], undefined when there are no more.
const page = (serial, range, behind, rows) => natives.page(serial, range.prefix, range.start, range.startAfter, range.end, behind, rows, range.reverse);

// Behind a Storage or a Transaction: whose it is (`s`), and what it belongs to, or null.
class Items {
  #s;
  #transaction;
  constructor(s, transaction) {
    this.#s = s;
    this.#transaction = transaction;
  }

  // Whose it is, if it need not wait; else null.
  #free() {
    const s = this.#s, transaction = this.#transaction;
    if (transaction === null) return isFree(s) ? s : null;
    if (s.open !== transaction || transaction.undone) throw codeError('ECLOSED', transaction.undone ? 'the transaction was rolled back' : 'the transaction has ended');
    return s;
  }

  #when(fn) {
    const s = this.#free();
    return s !== null ? fn(s) : whenFree(this.#s, () => fn(this.#s));
  }

  /** The value of a key, or undefined. */
  async get(key) {
    return await this.#when((s) => natives.get(s.serial, key));
  }

  /** A Map of those that are there, in the order of `keys`. */
  async getMany(keys) {
    const list = unique(keys, 'getMany');
    const pairs = await this.#when((s) => natives.getMany(s.serial, list));
    const found = new SafeMap(), result = new Map();
    for (let i = 0; i < pairs.length; i += 2) found.set(pairs[i], pairs[i + 1]);
    for (let i = 0; i < list.length; i++) if (found.has(list[i])) result.set(list[i], found.get(list[i]));
    return result;
  }

  /** Is saved, with all else, when the turn has ended, or what it sends is to leave. */
  async put(key, value) {
    if (value === undefined) throw notUndefined();
    const s = this.#free();
    if (s !== null) {
      natives.put(s.serial, key, value);
      return;
    }
    const copy = clone(value); // what becomes of it meanwhile makes no difference
    await whenFree(this.#s, () => natives.put(this.#s.serial, key, copy));
  }

  /** Of a Map, of [key, value]s, or of an object's own properties. One that cannot be stored: none is, unless this is part of a transaction. */
  async putMany(entries) {
    const list = pairsOf(entries);
    const all = (s, copies) => {
      const outer = s.open === null;
      if (outer) natives.begin(s.serial);
      let ok = false;
      try {
        for (let i = 0; i < copies.length; i++) natives.put(s.serial, copies[i].key, copies[i].value);
        ok = true;
      } finally {
        if (outer) (ok ? natives.commit : natives.rollback)(s.serial);
      }
    };
    const s = this.#free();
    if (s !== null) {
      all(s, list);
      return;
    }
    const copies = clone(list);
    await whenFree(this.#s, () => all(this.#s, copies));
  }

  /** Was it there? */
  async delete(key) {
    return (await this.#when((s) => natives.remove(s.serial, [key]))) > 0;
  }

  /** How many of them were there? */
  async deleteMany(keys) {
    const list = unique(keys, 'deleteMany');
    return await this.#when((s) => natives.remove(s.serial, list));
  }

  /** A Map in the order of keys (of their bytes in UTF-8). */
  async list(options) {
    const range = rangeOf(options), result = new Map();
    let behind;
    do {
      const left = range.limit - result.size;
      const items = await this.#when((s) => page(s.serial, range, behind, left === Infinity ? 0 : left));
      const last = items.length - 1;
      for (let i = 0; i < last; i += 2) result.set(items[i], items[i + 1]);
      behind = items[last];
    } while (behind !== undefined && result.size < range.limit);
    return result;
  }

  /** [key, value]s in the order of keys, read as they are asked for. */
  async *entries(options) {
    const range = rangeOf(options);
    let behind, left = range.limit;
    do {
      const items = await this.#when((s) => page(s.serial, range, behind, left < PAGE ? left : PAGE));
      const last = items.length - 1;
      left -= last / 2;
      for (let i = 0; i < last; i += 2) yield [items[i], items[i + 1]];
      behind = items[last];
    } while (behind !== undefined && left > 0);
  }
}

class Storage extends Items {
  #s;
  constructor(s) {
    super(s, null);
    this.#s = s;
  }

  /** What `fn` changes is saved together or, when it throws, not at all. */
  async transaction(fn) {
    const s = this.#s;
    if (typeof fn !== 'function') throw new TypeError('transaction(fn): fn is a function of the transaction');
    if (belongs(s)) throw codeError('EINVAL', 'a transaction cannot begin within another: what it is to do belongs to that one');
    return await whenFree(s, async () => {
      natives.begin(s.serial);
      const transaction = s.open = { undone: false };
      let ok = false;
      try {
        const result = await within(frameOf(transaction), () => fn(new Transaction(s, transaction)));
        ok = !transaction.undone;
        return result;
      } finally {
        s.open = null;
        try {
          (ok ? natives.commit : natives.rollback)(s.serial);
        } finally {
          goOn(s);
        }
      }
    });
  }

  async deleteAll() {
    const s = this.#s;
    if (belongs(s)) throw codeError('EINVAL', 'deleteAll cannot be part of a transaction');
    return await whenFree(s, () => natives.wipe(s.serial));
  }

  /** All that was changed before is on disk. */
  async sync() {
    return await natives.sync(this.#s.serial);
  }
}

class Transaction extends Items {
  #transaction;
  constructor(s, transaction) {
    super(s, transaction);
    this.#transaction = transaction;
  }

  /** Nothing of it is saved; what its function returns is returned. */
  rollback() { this.#transaction.undone = true; }
}

const storages = new SafeWeakMap(); // by what is behind an actor's emitter

export function install(prototype) {
  const get = function () {
    const i = innerOf(this);
    let storage = storages.get(i);
    if (storage === undefined) storages.set(i, storage = new Storage({ serial: i.serial, open: null, first: null, last: null }));
    return storage;
  };
  defineProperty(prototype, 'storage', { __proto__: null, get, configurable: true, enumerable: false });
  return get;
}
