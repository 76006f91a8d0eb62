// SPDX-License-Identifier: Apache-2.0
//
// setTimeout and friends. C keeps the times; a callback runs in the frame of the actor that set it.
let native;
const timers = new Map(); // id → Timeout

export function attach(ops) {
  native = ops;
}

class Timeout {
  constructor(fn, delay, repeat, args) {
    if (typeof fn !== 'function') throw new TypeError('the callback of a timer must be a function');
    const ms = Number(delay);
    this.fn = fn;
    this.args = args;
    this.delay = ms >= 1 && ms <= 0x7fffffff ? Math.trunc(ms) : 1; // as Node.js
    this.repeat = repeat;
    this.frame = native.frame();
    this.#start();
  }
  #start() {
    this.id = native.timerSet(this.delay, this.repeat);
    timers.set(this.id, this);
  }
  close() { stop(this); return this; }
  refresh() { stop(this); this.#start(); return this; }
  ref() { return this; }
  unref() { return this; }
  hasRef() { return true; }
  [Symbol.toPrimitive]() { return this.id; }
  [Symbol.dispose]() { stop(this); }
}

function stop(timer) {
  const t = timer instanceof Timeout ? timer : timers.get(Number(timer));
  if (t !== undefined && timers.delete(t.id)) native.timerClear(t.id);
}

/** C says that timer `id` is due. */
export function fire(id) {
  const t = timers.get(id);
  if (t === undefined) return;
  if (!t.repeat) timers.delete(id);
  native.setFrame(t.frame);
  try {
    t.fn(...t.args);
  } catch (error) {
    native.crash(t.frame?.actor ?? 0, error);
  }
}

export const globals = {
  setTimeout: (fn, ms, ...args) => new Timeout(fn, ms, false, args),
  setInterval: (fn, ms, ...args) => new Timeout(fn, ms, true, args),
  setImmediate: (fn, ...args) => new Timeout(fn, 0, false, args),
  clearTimeout: stop,
  clearInterval: stop,
  clearImmediate: stop,
};
