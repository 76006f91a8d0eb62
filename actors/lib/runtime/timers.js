// SPDX-License-Identifier: Apache-2.0
//
// setTimeout and friends. C keeps the times; a callback runs in the frame of the actor that set it.
import { frame, native, rare, setFrame } from './node/native.js';
import { find } from './table.js';
import { apply, once, SafeMap, toNumber, trunc } from './primordials.js';

export const timers = once(() => {
  const { timerSet, timerClear } = rare();
  const timers = new SafeMap(); // id → Timeout

  // Private fields: in whose name a timer runs is nothing a script may change.
  class Timeout {
    #fn; #args; #delay; #repeat; #frame; #actor; #owner;
    #id = 0;
    constructor(fn, delay, repeat, args) {
      if (typeof fn !== 'function') throw new TypeError('the callback of a timer must be a function');
      const ms = toNumber(delay);
      this.#fn = fn;
      this.#args = args;
      this.#delay = ms >= 1 && ms <= 0x7fffffff ? trunc(ms) : 1; // as Node.js
      this.#repeat = repeat;
      this.#frame = frame();
      this.#actor = native.actorOf(this.#frame);
      this.#owner = find(this.#actor);
      this.#start();
    }
    #start() {
      this.#id = timerSet(this.#actor, this.#delay, this.#repeat);
      timers.set(this.#id, this);
      if (this.#owner !== undefined) this.#owner.timers++;
    }
    #remove() {
      if (!timers.delete(this.#id)) return false;
      if (this.#owner !== undefined) this.#owner.timers--;
      return true;
    }
    static stop(timer) {
      const t = timer !== null && typeof timer === 'object' && #id in timer ? timer : timers.get(toNumber(timer));
      if (t !== undefined && t.#remove()) timerClear(t.#id);
    }
    /** C says that timer `id` is due. */
    static fire(id) {
      const t = timers.get(id);
      if (t === undefined) return;
      if (!t.#repeat) t.#remove();
      setFrame(t.#frame);
      try {
        apply(t.#fn, t, t.#args);
      } catch (error) {
        native.crash(t.#actor, error);
      }
    }
    static forget(owner) {
      timers.forEach((t) => { if (t.#owner === owner) t.#remove(); });
    }
    close() { stop(this); return this; }
    refresh() { stop(this); this.#start(); return this; }
    ref() { return this; }
    unref() { return this; }
    hasRef() { return true; }
    [Symbol.toPrimitive]() { return this.#id; }
    [Symbol.dispose]() { stop(this); }
  }

  // The names stay here: through `timer.constructor` a script has the class.
  const { stop, fire, forget } = Timeout;
  delete Timeout.stop; delete Timeout.fire; delete Timeout.forget;
  delete Timeout.prototype.constructor;

  const globals = {
    setTimeout: (fn, ms, ...args) => new Timeout(fn, ms, false, args),
    setInterval: (fn, ms, ...args) => new Timeout(fn, ms, true, args),
    setImmediate: (fn, ...args) => new Timeout(fn, 0, false, args),
    clearTimeout: stop,
    clearInterval: stop,
    clearImmediate: stop,
  };
  return { globals, fire, forget };
});

export const fire = (id) => timers().fire(id);
export function forget(owner) {
  if (owner.timers > 0) timers().forget(owner);
}
