// SPDX-License-Identifier: Apache-2.0
//
// What a script is not given, or given in another form, so that it can be stopped and what it uses counted.
import { apply, defineProperty, getPrototypeOf, min } from './primordials.js';

/** While the snapshot is made. */
export function install() {
  const { fill } = Array.prototype;
  const { isArray } = Array;
  const { call } = Function.prototype;
  const bind = call.bind(Function.prototype.bind);

  // V8 fills a large array without looking whether the script is to end, and for as long as it takes: piece by piece it does look.
  function filled(value, start, end) {
    const PIECE = 1 << 16; // elements
    const WHOLE = 1 << 20; // up to so many are filled at once
    if (!isArray(this) || this.length <= WHOLE) return apply(fill, this, arguments);
    const length = this.length;
    let k = index(start, 0, length);
    const last = index(end, length, length);
    for (; k < last; k += PIECE) apply(fill, this, [value, k, min(k + PIECE, last)]);
    return this;
  }

  // As the specification resolves `start` and `end`.
  function index(n, missing, length) {
    if (n === undefined) return missing;
    n = +n;
    if (n !== n) return 0;
    n = n < 0 ? -((-n) - (-n) % 1) : n - n % 1;
    if (n < 0) return n + length < 0 ? 0 : n + length;
    return min(n, length);
  }

  // Functions of V8's that may work for long and look for nothing. A loop that calls nothing else, before it is optimized, looks itself only
  // every few hundred rounds: called by way of a function of JavaScript's, which looks when it is entered, it can be ended in each. To these a
  // missing argument is the same as undefined. Those that are called all the time for little are left as they are (toUpperCase, split): it would cost them
  // several times their own work.
  const { parse, stringify } = JSON;
  const { encodeURIComponent: encodePart, decodeURIComponent: decodePart, encodeURI: encode, decodeURI: decode } = globalThis;
  const Numbers = getPrototypeOf(Uint8Array.prototype);
  const uncurry = (of, names) => names.map((name) => bind(call, of[name]));
  const [localeUpper, localeLower, normal, compare] = uncurry(String.prototype, ['toLocaleUpperCase', 'toLocaleLowerCase', 'normalize', 'localeCompare']);
  const [sorted, put, findNumber, hasNumber, copySorted] = uncurry(Numbers, ['sort', 'set', 'indexOf', 'includes', 'toSorted']);
  const entered = [
    [JSON, {
      parse(text, reviver) { return parse(text, reviver); },
      stringify(value, replacer, space) { return stringify(value, replacer, space); },
    }],
    [globalThis, {
      encodeURIComponent(uriComponent) { return encodePart(uriComponent); },
      decodeURIComponent(encodedURIComponent) { return decodePart(encodedURIComponent); },
      encodeURI(uri) { return encode(uri); },
      decodeURI(encodedURI) { return decode(encodedURI); },
    }],
    [String.prototype, {
      toLocaleUpperCase(locales = undefined) { return localeUpper(this, locales); },
      toLocaleLowerCase(locales = undefined) { return localeLower(this, locales); },
      normalize(form = undefined) { return normal(this, form); },
      localeCompare(that, locales = undefined, options = undefined) { return compare(this, that, locales, options); },
    }],
    [Numbers, {
      sort(comparator) { return sorted(this, comparator); },
      set(source, offset = undefined) { return put(this, source, offset); },
      indexOf(searchElement, fromIndex = undefined) { return findNumber(this, searchElement, fromIndex); },
      includes(searchElement, fromIndex = undefined) { return hasNumber(this, searchElement, fromIndex); },
      toSorted(comparator) { return copySorted(this, comparator); },
    }],
  ];

  const replacement = { fill(value, start = undefined, end = undefined) { return apply(filled, this, [value, start, end]); } }.fill; // no constructor
  defineProperty(replacement, 'length', { __proto__: null, value: 1, configurable: true });
  defineProperty(Array.prototype, 'fill', { __proto__: null, value: replacement, writable: true, configurable: true, enumerable: false });
  for (let i = 0; i < entered.length; i++) {
    const [of, functions] = entered[i];
    for (const name in functions) defineProperty(of, name, { __proto__: null, value: functions[name], writable: true, configurable: true, enumerable: false });
  }
}
