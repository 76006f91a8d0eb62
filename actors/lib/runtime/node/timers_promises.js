// SPDX-License-Identifier: Apache-2.0
//
// timers/promises, over this runtime's timers.
import { timers } from 'isola:born';

const { globals } = timers;

export function timersPromises(load) {
  const { AbortError, codes: { ERR_ILLEGAL_CONSTRUCTOR } } = load('internal/errors');
  const { validateAbortSignal, validateBoolean, validateNumber, validateObject } = load('internal/validators');

  function check(options) {
    validateObject(options, 'options');
    if (options.signal !== undefined) validateAbortSignal(options.signal, 'options.signal');
    if (options.ref !== undefined) validateBoolean(options.ref, 'options.ref');
    return options.signal;
  }

  // A promise for what `start(done)` begins and `stop` ends.
  function cancellable(signal, start, stop) {
    if (signal?.aborted) return Promise.reject(new AbortError(undefined, { cause: signal.reason }));
    return new Promise((resolve, reject) => {
      let abort;
      const timer = start((value) => {
        signal?.removeEventListener('abort', abort);
        resolve(value);
      });
      if (signal === undefined) return;
      abort = () => {
        stop(timer);
        reject(new AbortError(undefined, { cause: signal.reason }));
      };
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  // What is wrong with the arguments rejects, as in Node.js.
  async function setTimeout(delay, value, options = {}) {
    if (delay !== undefined) validateNumber(delay, 'delay');
    const signal = check(options);
    return cancellable(signal, (done) => globals.setTimeout(done, delay, value), globals.clearTimeout);
  }

  async function setImmediate(value, options = {}) {
    const signal = check(options);
    return cancellable(signal, (done) => globals.setImmediate(done, value), globals.clearImmediate);
  }

  async function* setInterval(delay, value, options = {}) {
    if (delay !== undefined) validateNumber(delay, 'delay');
    const signal = check(options);
    if (signal?.aborted) throw new AbortError(undefined, { cause: signal.reason });
    let due = 0;
    let wake;
    const interval = globals.setInterval(() => { due++; wake?.(); }, delay);
    const abort = () => wake?.();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      for (;;) {
        if (signal?.aborted) throw new AbortError(undefined, { cause: signal.reason });
        if (due === 0) await new Promise((resolve) => { wake = resolve; });
        wake = undefined;
        for (; due > 0; due--) yield value;
      }
    } finally {
      globals.clearInterval(interval);
      signal?.removeEventListener('abort', abort);
    }
  }

  class Scheduler {
    constructor() { throw new ERR_ILLEGAL_CONSTRUCTOR(); }
    yield() { return setImmediate(); }
    wait(delay, options) { return setTimeout(delay, undefined, options); }
  }
  return { setTimeout, setImmediate, setInterval, scheduler: Object.create(Scheduler.prototype) };
}
