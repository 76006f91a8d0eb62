// SPDX-License-Identifier: Apache-2.0
//
// AsyncLocalStorage, and as much of `async_hooks` as needs no hooks.
//
// V8 carries the frame (actor.js) across awaits, timers.js and tick.js carry it across theirs. What is stored is in the frame:
// `als` is a map from storage to value that is never changed but copied, so each branch of a program keeps its own. A turn begins without.
import { apply, codeError, exchange, frame, SafeMap, setFrame } from 'isola:born';
const withStores = (f, als) => ({ __proto__: null, frame: typeof f === 'object' ? f.frame : f ?? 0, als });
const stores = (f) => (typeof f === 'object' ? f.als : undefined);

function changed(storage, value) {
  const f = frame();
  const als = new SafeMap();
  stores(f)?.forEach((v, k) => als.set(k, v));
  if (value === undefined) als.delete(storage);
  else als.set(storage, value);
  return withStores(f, als);
}

/** Calls `fn` with `f` as the frame. */
function within(f, fn, self, args) {
  const before = exchange(f);
  try {
    return apply(fn, self, args);
  } finally {
    setFrame(before);
  }
}

// What was bound in one turn runs in the turn it is called in, with the stores it was bound with.
const bound = (als) => withStores(frame(), als);

class AsyncLocalStorage {
  #default;
  #name;
  constructor(options = {}) {
    this.#default = options?.defaultValue;
    this.#name = options?.name === undefined ? '' : `${options.name}`;
  }
  get name() { return this.#name; }
  static bind(fn) { return AsyncResource.bind(fn); }
  static snapshot() {
    const als = stores(frame());
    return (fn, ...args) => within(bound(als), fn, undefined, args);
  }
  run(store, fn, ...args) { return within(changed(this, store), fn, undefined, args); }
  exit(fn, ...args) { return within(changed(this, undefined), fn, undefined, args); }
  enterWith(store) { setFrame(changed(this, store)); }
  disable() { setFrame(changed(this, undefined)); }
  getStore() {
    const als = stores(frame());
    return als !== undefined && als.has(this) ? als.get(this) : this.#default;
  }
  withScope(store) {
    const before = frame();
    this.enterWith(store);
    return { dispose() { setFrame(before); }, [Symbol.dispose]() { setFrame(before); } };
  }
}

class AsyncResource {
  #als;
  #type;
  constructor(type) {
    if (typeof type !== 'string') throw codeError('ERR_INVALID_ARG_TYPE', 'The "type" argument must be of type string.');
    this.#type = type;
    this.#als = stores(frame());
  }
  static bind(fn, type, thisArg) { return new AsyncResource(type ?? (fn.name || 'bound-anonymous-fn')).bind(fn, thisArg); }
  runInAsyncScope(fn, thisArg, ...args) { return within(bound(this.#als), fn, thisArg, args); }
  bind(fn, thisArg) {
    if (typeof fn !== 'function') throw codeError('ERR_INVALID_ARG_TYPE', 'The "fn" argument must be of type function.');
    const als = this.#als;
    return Object.defineProperty(function (...args) { return within(bound(als), fn, thisArg ?? this, args); }, 'length', { __proto__: null, value: fn.length });
  }
  get type() { return this.#type; }
  emitDestroy() { return this; }
  asyncId() { return 0; }
  triggerAsyncId() { return 0; }
}

function createHook() {
  throw codeError('EPERM', 'async_hooks.createHook cannot be used in an isolate; AsyncLocalStorage can');
}

export const asyncHooks = () => ({
  AsyncLocalStorage,
  AsyncResource,
  createHook,
  executionAsyncId: () => 0,
  triggerAsyncId: () => 0,
  executionAsyncResource: () => ({}),
  asyncWrapProviders: Object.freeze({ __proto__: null }),
});
