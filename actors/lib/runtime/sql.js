// SPDX-License-Identifier: Apache-2.0
//
// `self.sql`: an actor's own SQL database, synchronous (store/sql.h has the database, actors/v8/sql.cc the way to it).
// Loaded when a script first asks for it (main.js).
import { codeError, currentActor, defineProperty, getPrototypeOf, group, innerOf, NativeTypeError } from 'isola:born';

export const sqlOf = (() => {
  const native = group('sql');
  const { keys, setPrototypeOf } = Object;
  const { isArray } = Array;
  const { isView } = ArrayBuffer;
  const ObjectPrototype = Object.prototype;
  const AsyncFunction = getPrototypeOf(async () => {}), AsyncGenerator = getPrototypeOf(async function* () {});

  // Whose it is stands in a private field, put on from outside: scripts cannot see it.
  class Given { constructor(object) { return object; } }
  class Owned extends Given {
    #inner;
    constructor(sql, i) { super(sql); this.#inner = i; }
    /** The serial of the actor whose code this is, and whose database. */
    static serial(sql) {
      if (typeof sql !== 'function' || !(#inner in sql)) throw new NativeTypeError('this is a method of self.sql');
      return running(sql.#inner);
    }
    static inner(sql) { return sql.#inner; }
  }

  function running(i) {
    if (currentActor() !== i.serial) throw codeError('EINVAL', 'only the actor itself can use its database');
    return i.serial;
  }

  const isNamed = (v) => {
    if (typeof v !== 'object' || v === null || isArray(v) || isView(v)) return false;
    const prototype = getPrototypeOf(v);
    return prototype === ObjectPrototype || prototype === null;
  };

  function query(sql, text, values) {
    const serial = Owned.serial(sql);
    if (typeof text !== 'string') throw new NativeTypeError('self.sql.exec(query, ...values): the query is a string');
    if (values.length !== 1 || !isNamed(values[0])) return new Cursor(sql, native.exec(serial, text, undefined, values));
    const names = keys(values[0]), given = [];
    for (let k = 0; k < names.length; k++) given[k] = values[0][names[k]];
    return new Cursor(sql, native.exec(serial, text, names, given));
  }

  const one = (what) => codeError('ESQL', `one(): the query gives ${what}`);

  class Cursor {
    #sql; #cells; #rows; #id; #names; #written;
    #at = 0; // the row of those here that is next
    #read = 0;

    constructor(sql, given) {
      this.#sql = sql;
      this.#take(given);
      this.#names = given[3];
      this.#written = given[4];
    }

    #take(given) {
      this.#cells = given[0];
      this.#rows = given[1];
      this.#id = given[2];
      this.#at = 0;
    }

    // Is there a next row?
    #more() {
      while (this.#at === this.#rows) {
        if (this.#id === 0) return false;
        this.#take(native.more(running(Owned.inner(this.#sql)), this.#id));
      }
      return true;
    }

    #object() {
      const names = this.#names, cells = this.#cells, row = {};
      let at = this.#at++ * names.length;
      this.#read++;
      for (let k = 0; k < names.length; k++, at++) {
        if (names[k] === '__proto__') defineProperty(row, '__proto__', { __proto__: null, value: cells[at], writable: true, configurable: true, enumerable: true });
        else row[names[k]] = cells[at];
      }
      return row;
    }

    #array() {
      const cells = this.#cells, row = [], n = this.#names.length;
      const at = this.#at++ * n;
      this.#read++;
      for (let k = 0; k < n; k++) row[k] = cells[at + k];
      return row;
    }

    #end() {
      this.#at = this.#rows = 0;
      if (this.#id !== 0) native.end(running(Owned.inner(this.#sql)), this.#id);
      this.#id = 0;
    }

    /** The names of the columns, in their order. */
    get columnNames() {
      const copy = [];
      for (let k = 0; k < this.#names.length; k++) copy[k] = this.#names[k];
      return copy;
    }

    /** Rows that were read from it so far. */
    get rowsRead() { return this.#read; }
    /** Rows that the query has inserted, changed and deleted, by triggers too. */
    get rowsWritten() { return this.#written; }

    next() { return this.#more() ? { done: false, value: this.#object() } : { done: true, value: undefined }; }
    return(value) {
      this.#end();
      return { done: true, value };
    }

    [Symbol.iterator]() { return this; }

    /** All rows that are left. */
    toArray() {
      const rows = [];
      while (this.#more()) rows[rows.length] = this.#object();
      return rows;
    }

    /** The row, of which there is just one. */
    one() {
      if (!this.#more()) throw one('no row');
      const row = this.#object();
      if (!this.#more()) return row;
      this.#end();
      throw one('more than one row');
    }

    /** The same rows as arrays of values. */
    raw() {
      const next = () => (this.#more() ? { done: false, value: this.#array() } : { done: true, value: undefined });
      return {
        next,
        return: (value) => this.return(value),
        [Symbol.iterator]() { return this; },
        toArray: () => {
          const rows = [];
          while (this.#more()) rows[rows.length] = this.#array();
          return rows;
        },
      };
    }
  }

  class Sql {
    /** Runs the statements of the query, the last one with these values. */
    exec(text, ...values) { return query(this, text, values); }

    /** Calls `fn` and returns what it returns; if it throws, what it has changed is taken back. One within another is part of it. */
    transaction(fn) {
      const serial = Owned.serial(this);
      const kind = typeof fn === 'function' ? getPrototypeOf(fn) : undefined;
      if (kind === undefined || kind === AsyncFunction || kind === AsyncGenerator)
        throw new NativeTypeError('self.sql.transaction(fn): fn is a function that is not async: nothing else may happen in between');
      native.begin(serial);
      let result;
      try {
        result = fn();
        if (result !== null && typeof result === 'object' && typeof result.then === 'function')
          throw new NativeTypeError('self.sql.transaction(fn): fn returned a promise; what it changed is taken back: nothing may be waited for in a transaction');
        native.commit(serial);
      } catch (error) {
        native.rollback(serial);
        throw error;
      }
      return result;
    }

    /** Bytes. */
    get databaseSize() { return native.size(Owned.serial(this)); }
  }
  setPrototypeOf(Sql.prototype, getPrototypeOf(Sql)); // self.sql is a function

  return (self) => {
    const i = innerOf(self);
    if (i.sql !== undefined) return i.sql;
    const sql = (strings, ...values) => {
      if (!isArray(strings) || !isArray(strings.raw)) throw new NativeTypeError('self.sql is a tag of templates: self.sql`SELECT …`, or self.sql.exec(query, ...values)');
      let text = strings[0];
      for (let k = 1; k < strings.length; k++) text += `?${strings[k]}`;
      return query(sql, text, values).toArray();
    };
    setPrototypeOf(sql, Sql.prototype);
    new Owned(sql, i);
    return (i.sql = sql);
  };
})();
