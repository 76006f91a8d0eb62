// SPDX-License-Identifier: Apache-2.0
//
// What Node.js' library calls primordials: `ArrayPrototypePush` for Array.prototype.push as a function of (array, …values), and some 2,400
// others. Node.js makes them all when it starts; here each is made when a module first asks for it, by taking its name apart.
//
// The objects are those there are when the first of them is asked for, and so are their methods.
import { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, SafeMap } from 'isola:born';

const { bind, call, apply: applyMethod } = Function.prototype;
const { startsWith, slice, toLowerCase, endsWith } = String.prototype;
const { includes } = Array.prototype;
const NativeSymbol = Symbol;
const uncurryThis = apply(bind, bind, [call]);
const applyBind = apply(bind, bind, [applyMethod]);

const AS_IS = 0, BOUND = 1, METHOD = 2; // a property of a namespace or class; one that wants its class as `this`; one of a prototype

const holders = new SafeMap(); // name → { object, mode }
const add = (name, object, mode) => { holders.set(name, { object, mode }); };
for (const name of ['Atomics', 'JSON', 'Math', 'Proxy', 'Reflect']) add(name, globalThis[name], AS_IS);
for (const name of ['AggregateError', 'Array', 'ArrayBuffer', 'BigInt', 'BigInt64Array', 'BigUint64Array', 'Boolean', 'DataView', 'Date', 'Error', 'EvalError', 'FinalizationRegistry',
  'Float16Array', 'Float32Array', 'Float64Array', 'Function', 'Int16Array', 'Int32Array', 'Int8Array', 'Iterator', 'Map', 'Number', 'Object', 'RangeError', 'ReferenceError', 'RegExp', 'Set',
  'String', 'Symbol', 'SyntaxError', 'TypeError', 'URIError', 'Uint16Array', 'Uint32Array', 'Uint8Array', 'Uint8ClampedArray', 'WeakMap', 'WeakRef', 'WeakSet']) {
  add(name, globalThis[name], AS_IS);
  add(`${name}Prototype`, globalThis[name].prototype, METHOD);
}
add('Promise', Promise, BOUND);
add('PromisePrototype', Promise.prototype, METHOD);
add('TypedArray', getPrototypeOf(Uint8Array), METHOD);
add('TypedArrayPrototype', getPrototypeOf(Uint8Array).prototype, METHOD);
add('ArrayIteratorPrototype', getPrototypeOf([][Symbol.iterator]()), METHOD);
add('AsyncFunctionPrototype', getPrototypeOf(async () => {}), METHOD);
add('AsyncGeneratorFunctionPrototype', getPrototypeOf(async function* () {}), METHOD);
add('AsyncIteratorPrototype', getPrototypeOf(getPrototypeOf(async function* () {}).prototype), METHOD);
add('GeneratorFunctionPrototype', getPrototypeOf(function* () {}), METHOD);
add('IteratorHelperPrototype', getPrototypeOf(Iterator.prototype.drop.call({ next() {} }, 0)), METHOD);
add('MapIteratorPrototype', getPrototypeOf(new Map()[Symbol.iterator]()), METHOD);
add('RegExpStringIteratorPrototype', getPrototypeOf(/x/[Symbol.matchAll]('')), METHOD);
add('SetIteratorPrototype', getPrototypeOf(new Set()[Symbol.iterator]()), METHOD);
add('StringIteratorPrototype', getPrototypeOf(''[Symbol.iterator]()), METHOD);
add('WrapForValidIteratorPrototype', getPrototypeOf(Iterator.from({ next() {} })), METHOD);

const VARARGS = ['ArrayOf', 'ArrayPrototypePush', 'ArrayPrototypeUnshift', 'MathHypot', 'MathMax', 'MathMin', 'StringFromCharCode', 'StringFromCodePoint', 'StringPrototypeConcat', 'TypedArrayOf'];

const starts = (text, what) => apply(startsWith, text, [what]);
const from = (text, n) => apply(slice, text, [n]);
const lowered = (text) => apply(toLowerCase, text[0], []) + from(text, 1);

/** The property of `object` whose name became `key`: "Push", "PI", "SymbolIterator". */
function property(object, key) {
  const found = getOwnPropertyDescriptor(object, lowered(key)) ?? getOwnPropertyDescriptor(object, key);
  if (found !== undefined || !starts(key, 'Symbol') || key.length === 6) return found;
  const symbol = NativeSymbol[lowered(from(key, 6))];
  return typeof symbol === 'symbol' ? getOwnPropertyDescriptor(object, symbol) : undefined;
}

function member(object, mode, key) {
  const found = property(object, key);
  if (found !== undefined && found.get === undefined && found.set === undefined) {
    if (typeof found.value !== 'function' || mode === AS_IS) return found.value;
    return mode === BOUND ? apply(bind, found.value, [object]) : uncurryThis(found.value);
  }
  if (key.length > 3 && (starts(key, 'Get') || starts(key, 'Set'))) {
    const accessor = property(object, from(key, 3))?.[key[0] === 'G' ? 'get' : 'set'];
    if (accessor !== undefined) return uncurryThis(accessor);
  }
  return undefined;
}

/** The longest name of a holder that `name` begins with. */
function holderOf(name) {
  let longest = '';
  for (let i = 3; i <= name.length; i++) {
    if (i < name.length && !(name[i] >= 'A' && name[i] <= 'Z')) continue; // names are joined by capitals
    const prefix = apply(slice, name, [0, i]);
    if (holders.has(prefix)) longest = prefix;
  }
  return longest;
}

function resolve(name) {
  const holder = holderOf(name);
  if (holder === '') return undefined;
  const { object, mode } = holders.get(holder);
  const key = from(name, holder.length);
  if (key === '') return object;
  const value = member(object, mode, key);
  if (value !== undefined || !apply(endsWith, name, ['Apply'])) return value;
  const base = apply(slice, name, [0, -5]);
  if (!apply(includes, VARARGS, [base])) return undefined;
  const method = property(object, apply(slice, key, [0, -5])).value;
  return mode === METHOD ? applyBind(method) : applyBind(method, object);
}

export function makePrimordials() {
  const target = { __proto__: null, uncurryThis, applyBind, globalThis, decodeURI, decodeURIComponent, encodeURI, encodeURIComponent, escape, eval: globalThis.eval, unescape };
  return new Proxy(target, {
    __proto__: null,
    get(made, name) {
      const own = getOwnPropertyDescriptor(made, name);
      if (own !== undefined) return own.value;
      if (typeof name !== 'string' || name === '') return undefined;
      const value = resolve(name);
      defineProperty(made, name, { __proto__: null, value, writable: true, configurable: true });
      return value;
    },
  });
}
