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
export const Numbers = getPrototypeOf(Uint8Array.prototype);
const { copyWithin, fill, includes, indexOf, lastIndexOf, reverse, sort, toSorted } = Numbers;
const natives = { __proto__: null, copyWithin, decodeURI, decodeURIComponent, encodeURI, encodeURIComponent, fill, includes, indexOf, lastIndexOf, reverse, sort, toSorted };
const rest = once(() => part('isola/bounded_late'));

/** The globals among them and the methods of typed arrays, which are made when they are first looked at (main.js), */
export const methods = ['copyWithin', 'fill', 'includes', 'indexOf', 'lastIndexOf', 'reverse', 'sort', 'toSorted'];
/** by this. */
export const entered = (name) => rest().entered(name, natives[name]);

/** While the snapshot is made. */
export function install() {
  const LARGE = 1 << 20; // elements: V8 fills no more at once
  const { fill } = Array.prototype;
  const { isArray } = Array;
  const { parse, stringify } = JSON;
  const { toLocaleUpperCase, toLocaleLowerCase, normalize, localeCompare } = String.prototype;
  const { set } = Numbers;
  // Methods have no constructor, and names and lengths as V8's have.
  const functions = [
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
      set(source, offset = undefined) { return apply(set, this, [source, offset]); },
    }],
  ];
  for (let i = 0; i < functions.length; i++) {
    const [of, given] = functions[i];
    for (const name in given) defineProperty(of, name, { __proto__: null, value: given[name], writable: true, configurable: true, enumerable: false });
  }
}
