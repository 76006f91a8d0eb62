// SPDX-License-Identifier: Apache-2.0
//
// What the runtime itself relies on, taken before any script runs: a script may replace or break every global and prototype
// there is, and still its own turns, and those of its neighbours in a shared isolate, must begin and end.
//
// Whatever runs outside of a script's own call uses these, and neither spreads, destructures nor iterates arrays, which
// goes by Array.prototype[Symbol.iterator]. `await` is safe; `.then` is not.
export const { apply, defineProperty: define /* says whether it could */ } = Reflect;
export const call = Function.prototype.call.bind(Function.prototype.call); // (f, self, …args)
export const { create, defineProperty, getPrototypeOf, setPrototypeOf, getOwnPropertyNames, getOwnPropertyDescriptor, hasOwn, keys } = Object;
export const ObjectPrototype = Object.prototype;
export const NativePromise = Promise;
export const NativeError = Error;
export const NativeTypeError = TypeError;
export const toNumber = Number;
export const { trunc, min } = Math;

const TypedArray = getPrototypeOf(Uint8Array.prototype);
const kindOf = getOwnPropertyDescriptor(TypedArray, Symbol.toStringTag).get, lengthOf = getOwnPropertyDescriptor(TypedArray, 'length').get;
const { set } = TypedArray;
/** How many bytes an Uint8Array (of any class) has; -1 for all else. */
export const countBytes = (v) => (call(kindOf, v) === 'Uint8Array' ? call(lengthOf, v) : -1);
/** Copies an Uint8Array into another. */
export const copyBytes = (to, at, from) => { call(set, to, from, at); };

/** The collection with its methods as its own, so that changed ones of the script's do not matter. */
function safe(Base) {
  const Safe = class extends Base {};
  for (const name of Reflect.ownKeys(Base.prototype))
    if (name !== 'constructor') defineProperty(Safe.prototype, name, getOwnPropertyDescriptor(Base.prototype, name));
  setPrototypeOf(Safe.prototype, null);
  return Object.freeze(Safe.prototype) && Safe;
}
export const SafeMap = safe(Map);
export const SafeSet = safe(Set);
export const SafeWeakMap = safe(WeakMap);

/** An Error with a code. */
export function codeError(code, message) {
  const error = new NativeError(message);
  defineProperty(error, 'code', { __proto__: null, value: code, writable: true, configurable: true, enumerable: true });
  return error;
}

/** The name of an event that others are to hear of: bounded, since it is a key at both ends. */
export function bounded(event) {
  const EVENT_MAX = 4096; // characters
  if (event[0] === '\x01') throw codeError('EINVAL', 'the name of an event that is sent does not begin with \\x01: such names are Isola\'s own');
  if (event.length > EVENT_MAX) throw codeError('EINVAL', `the name of an event has at most ${EVENT_MAX} characters`);
  return event;
}

/** May throw what a getter of the script's throws. */
export const isThenable = (v) => (typeof v === 'object' ? v !== null : typeof v === 'function') && typeof v.then === 'function';

/** What many isolates never use is made when it is first asked for: none of its functions is there before. */
export function once(make) {
  let made;
  return () => (made ??= make());
}

/** Calls `ok` or `bad` once when `promise` (of any make) is settled. */
export async function settled(promise, ok, bad) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    bad(error);
    return;
  }
  ok(value);
}

/** Promise.all of an array, fulfilled with the value of the first one. */
export function all(list) {
  return new NativePromise((resolve, reject) => {
    let left = list.length;
    let first;
    for (let i = 0; i < list.length; i++) {
      settled(list[i], (value) => {
        if (i === 0) first = value;
        if (--left === 0) resolve(first);
      }, reject);
    }
  });
}
