// SPDX-License-Identifier: Apache-2.0
//
// Events of an actor as an async iterator: `for await (const [n] of ref.events('changed'))`.
//
// It listens from when it is made, and keeps what comes until it is taken: `limit` events, with one more it ends with EOVERLOAD. It ends also by
// return() (leaving the loop), its signal, an 'error' of the ref, and when the client is closed. What had come before an end is still given.
// Invariants: never both events and takers wait; after the end there are no listeners.
import { inspect } from 'node:util';

import { codeError } from './errors.js';

const LIMIT = 10_000; // events

/** Emitted by a ref with subscriptions when its client is closed. A string, as Node's events.on declares the names in `close`. */
export const closed = 'isola.closed';

export class Subscription {
  #ref;
  #event;
  #limit;
  #signal;
  #events = []; // arguments that wait to be taken
  #takers = []; // promises that wait for events
  #ended = false;
  #error; // { error }: what the next one to take gets, once
  #take = (...args) => this.#came(args);
  #fail = (error) => this.#end({ error });
  #close = () => this.#end();
  #abort = () => this.#end({ error: this.#signal.reason });

  constructor(ref, event, { signal, limit = LIMIT } = {}) {
    if (typeof event !== 'string' || event === '') throw new TypeError('an event has a name: a string that is not empty');
    if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`limit must be a positive number of events, not ${inspect(limit)}`);
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('signal must be an AbortSignal');
    signal?.throwIfAborted();
    this.#ref = ref;
    this.#event = event;
    this.#limit = limit;
    this.#signal = signal;
    ref.on(event, this.#take);
    if (event !== 'error') ref.on('error', this.#fail);
    ref.on(closed, this.#close);
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  #came(args) {
    const taker = this.#takers.shift();
    if (taker !== undefined) taker.resolve({ value: args, done: false });
    else if (this.#events.length < this.#limit) this.#events.push(args);
    else this.#end({ error: codeError('EOVERLOAD', `${this.#limit} events "${this.#event}" of ${this.#ref} wait to be taken already: take them faster, or say a higher limit`) });
  }

  #end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#ref.off(this.#event, this.#take);
    if (this.#event !== 'error') this.#ref.off('error', this.#fail);
    this.#ref.off(closed, this.#close);
    this.#signal?.removeEventListener('abort', this.#abort);
    if (error !== undefined && this.#takers.length > 0) this.#takers.shift().reject(error.error);
    else this.#error = error;
    for (const taker of this.#takers.splice(0)) taker.resolve({ value: undefined, done: true });
  }

  next() {
    if (this.#events.length > 0) return Promise.resolve({ value: this.#events.shift(), done: false });
    if (this.#error !== undefined) {
      const { error } = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => { this.#takers.push({ resolve, reject }); });
  }

  return() {
    this.#end();
    this.#events = [];
    this.#error = undefined;
    return Promise.resolve({ value: undefined, done: true });
  }

  throw(error) {
    this.return();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator]() { return this; }
  async [Symbol.asyncDispose]() { await this.return(); }
}
