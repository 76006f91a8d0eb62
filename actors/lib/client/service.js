// SPDX-License-Identifier: Apache-2.0
//
// `const self = service()`: the messages of a program that Isola runs as a service (docs/services.md). As `self` of an actor it is an EventEmitter whose
// handlers answer, and whose emit reaches subscribers anywhere; unlike one it is ordinary Node.js: messages come while others are being answered.
//
// Happy path: service() tells the agent on the channel of the process that it will take messages, connects to the agent's socket, says which process it is,
// and calls handlers for what comes from then on. Failure modes: the connection ends: asks it had are lost (their askers hear so), it is made anew. What a
// handler of an emit throws is the program's own affair, as with any EventEmitter: an unhandled rejection, or an uncaught exception.
import EventEmitter from 'node:events';
import { inspect } from 'node:util';

import { Connection } from './connection.js';
import { codeError } from './errors.js';
import { Ref } from './ref.js';

const EARLY_MAX = 1000; // events that wait until the agent knows who emits them
const MEET = 2000; // ms, of an agent that is busy
const LOCAL = new Set(['newListener', 'removeListener']);

class Service extends EventEmitter {
  #connection;
  #address;
  #early = []; // undefined: they go
  #pending = new Set(); // promises of handlers that are at work for somebody
  #asked = new Map(); // id → what lets go of one of them, when nobody waits for it any more

  constructor(path, address) {
    super();
    this.#address = address;
    this.#connection = new Connection(path, (to) => new Ref(this.#connection, to), {
      begin: () => this.#begin(),
      message: (event, args, ask) => this.#handle(event, args, ask),
      cancel: (id) => this.#asked.get(id)?.(),
      up() {},
      down() {},
      dropped: (error) => warn(error),
      refused() {},
      lost() {},
    });
  }

  /** "app/Type/N" */
  get address() { return this.#address; }

  /** To its own listeners at once, and to every subscriber anywhere. True when it has listeners here, or the event was sent. */
  emit(event, ...args) {
    if (typeof event === 'symbol' || LOCAL.has(event)) return super.emit(event, ...args);
    const heard = this.listenerCount(event) > 0 && super.emit(event, ...args);
    if (this.#early === undefined) return this.#connection.publish(event, args) || heard;
    if (this.#early.length < EARLY_MAX) this.#early.push([event, args]);
    return true;
  }

  /** Resolves when no handler is at work: whatever the agent had sent by now has come, is answered, and it has the answers. */
  async idle() {
    await this.#met();
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
    await this.#met();
  }

  // There and back again: what either side has sent before arrives before.
  async #met() {
    await this.#connection.ask({ dst: '', event: 'hello', args: [{}], timeout: MEET }).catch(() => {}); // an agent that is gone has nothing for us
  }

  #begin() {
    this.#connection.ask({ dst: '', event: 'serve', args: [{ pid: process.pid }], timeout: 10_000 }).then(() => {
      const early = this.#early ?? [];
      this.#early = undefined;
      for (const [event, args] of early) this.#connection.publish(event, args);
    }, warn);
  }

  // The first result that is not undefined answers, as of an actor.
  #handle(event, args, ask) {
    const handlers = this.rawListeners(event);
    if (handlers.length === 0) {
      const error = codeError('ENOACTOR', `${this.#address} has no handler for "${event}"`);
      if (ask !== undefined) ask.answer(false, error);
      else process.emitWarning(`${error.message}: the message was dropped`, { type: 'IsolaWarning', code: error.code });
      return;
    }
    if (ask === undefined) {
      for (const handler of handlers) this.#work(Reflect.apply(handler, this, args));
      return;
    }
    const results = [];
    try {
      for (const handler of handlers) results.push(Reflect.apply(handler, this, args));
    } catch (error) {
      ask.answer(false, errorOf(error));
      return;
    }
    if (results.some(isThenable))
      this.#work(Promise.all(results).then((all) => ask.answer(true, first(all)), (error) => ask.answer(false, errorOf(error))), ask);
    else ask.answer(true, first(results));
  }

  // Counts until it is done, or nobody waits for it any more.
  #work(result, ask) {
    if (!isThenable(result)) return;
    const { promise, resolve } = Promise.withResolvers();
    const timer = ask?.timeout > 0 ? setTimeout(resolve, ask.timeout).unref() : undefined;
    if (ask !== undefined) this.#asked.set(ask.id, resolve);
    this.#pending.add(promise);
    promise.then(() => {
      clearTimeout(timer);
      this.#pending.delete(promise);
      if (ask !== undefined) this.#asked.delete(ask.id);
    });
    Promise.resolve(result).finally(resolve); // what an emit's rejects with is the program's to see
  }

  toString() { return this.#address; }
  [inspect.custom]() { return `Service<${this.#address}>`; }
}

const first = (results) => results.find((r) => r !== undefined);
const isThenable = (value) => typeof value?.then === 'function';
const errorOf = (thrown) => (thrown instanceof Error ? thrown : new Error(inspect(thrown)));
const warn = (error) => process.emitWarning(`this service gets no messages: ${error.message}`, { type: 'IsolaWarning', code: error.code });

let one;

/** The messages of this program, which Isola runs as a service: the same object each time. Throws EINVAL in any other program. */
export function service() {
  if (one !== undefined) return one;
  const { ISOLA_NODE: path, ISOLA_APP: app, ISOLA_TYPE: type, ISOLA_INSTANCE: instance } = process.env;
  if (!path || !app || !type || !instance || process.send === undefined)
    throw codeError('EINVAL', 'service() is for a program that Isola runs as a service (docs/services.md), and for its main thread; this is another one', service);
  process.send({ isola: 'serves' }, undefined, undefined, () => {}); // before it says that it listens
  one = new Service(path, `${app}/${type}/${instance}`);
  globalThis[Symbol.for('isola.service')] = one; // for what ends the program in order
  return one;
}
