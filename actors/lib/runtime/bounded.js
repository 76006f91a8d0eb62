// SPDX-License-Identifier: Apache-2.0
//
// What a script is not given, or given in another form, so that it can be stopped and what it uses counted.
//
// Functions of V8's that may work for long and look for nothing. A loop that calls nothing else, before it is optimized, looks itself only
// every few hundred rounds: called by way of a function of JavaScript's, which looks when it is entered, it can be ended in each. To these a
// missing argument is the same as undefined. Those that are called all the time for little are left as they are (toUpperCase, split): it would cost them
// several times their own work.
import { part } from './parts.js';
import { apply, defineProperty, getPrototypeOf, once } from './primordials.js';

const { decodeURI, decodeURIComponent, encodeURI, encodeURIComponent } = globalThis;
const uris = { __proto__: null, decodeURI, decodeURIComponent, encodeURI, encodeURIComponent };
const rest = once(() => part('isola/bounded_late'));

/** The globals among them, which are made when they are first looked at. */
export const uri = (name) => rest().uri(name, uris[name]);

/** While the snapshot is made. */
export function install() {
  const LARGE = 1 << 20; // elements: V8 fills no more at once
  const { fill } = Array.prototype;
  const { isArray } = Array;
  const { parse, stringify } = JSON;
  const { toLocaleUpperCase, toLocaleLowerCase, normalize, localeCompare } = String.prototype;
  const Numbers = getPrototypeOf(Uint8Array.prototype);
  const { copyWithin, fill: fillNumbers, includes, indexOf, lastIndexOf, reverse, set, sort, toSorted } = Numbers;
  // Methods have no constructor, and names and lengths as V8's have.
  const entered = [
    [Array.prototype, {
      fill(value, start = undefined, end = undefined) {
        return isArray(this) && this.length > LARGE ? rest().fill(fill, this, value, start, end) : apply(fill, this, arguments);
      },
    }],
    [JSON, {
      parse(text, reviver) { return parse(text, reviver); },
      stringify(value, replacer, space) { return stringify(value, replacer, space); },
    }],
    [String.prototype, {
      toLocaleUpperCase(locales = undefined) { return apply(toLocaleUpperCase, this, [locales]); },
      toLocaleLowerCase(locales = undefined) { return apply(toLocaleLowerCase, this, [locales]); },
      normalize(form = undefined) { return apply(normalize, this, [form]); },
      localeCompare(that, locales = undefined, options = undefined) { return apply(localeCompare, this, [that, locales, options]); },
    }],
    [Numbers, {
      copyWithin(target, start, end = undefined) { return apply(copyWithin, this, [target, start, end]); },
      fill(value, start = undefined, end = undefined) { return apply(fillNumbers, this, [value, start, end]); },
      lastIndexOf(searchElement, fromIndex = undefined) { return apply(lastIndexOf, this, arguments); }, // missing is not undefined here
      reverse() { return apply(reverse, this, []); },
      sort(comparator) { return apply(sort, this, [comparator]); },
      set(source, offset = undefined) { return apply(set, this, [source, offset]); },
      indexOf(searchElement, fromIndex = undefined) { return apply(indexOf, this, [searchElement, fromIndex]); },
      includes(searchElement, fromIndex = undefined) { return apply(includes, this, [searchElement, fromIndex]); },
      toSorted(comparator) { return apply(toSorted, this, [comparator]); },
    }],
  ];
  for (let i = 0; i < entered.length; i++) {
    const [of, functions] = entered[i];
    for (const name in functions) defineProperty(of, name, { __proto__: null, value: functions[name], writable: true, configurable: true, enumerable: false });
  }
}
