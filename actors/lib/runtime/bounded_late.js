// SPDX-License-Identifier: Apache-2.0
//
// What an isolate loads of bounded.js when a script first needs it.
import { apply, min } from 'isola:born';

const makers = {
  __proto__: null,
  copyWithin: (native) => ({ copyWithin(target, start, end = undefined) { return apply(native, this, [target, start, end]); } }),
  decodeURI: (native) => ({ decodeURI(encodedURI) { return native(encodedURI); } }),
  decodeURIComponent: (native) => ({ decodeURIComponent(encodedURIComponent) { return native(encodedURIComponent); } }),
  encodeURI: (native) => ({ encodeURI(uri) { return native(uri); } }),
  encodeURIComponent: (native) => ({ encodeURIComponent(uriComponent) { return native(uriComponent); } }),
  fill: (native) => ({ fill(value, start = undefined, end = undefined) { return apply(native, this, [value, start, end]); } }),
  includes: (native) => ({ includes(searchElement, fromIndex = undefined) { return apply(native, this, [searchElement, fromIndex]); } }),
  indexOf: (native) => ({ indexOf(searchElement, fromIndex = undefined) { return apply(native, this, [searchElement, fromIndex]); } }),
  lastIndexOf: (native) => ({ lastIndexOf(searchElement, fromIndex = undefined) { return apply(native, this, arguments); } }), // missing is not undefined here
  reverse: (native) => ({ reverse() { return apply(native, this, []); } }),
  sort: (native) => ({ sort(comparator) { return apply(native, this, [comparator]); } }),
  toSorted: (native) => ({ toSorted(comparator) { return apply(native, this, [comparator]); } }),
};

export const entered = (name, native) => makers[name](native)[name];

/** V8 fills a large array without looking whether the script is to end, and for as long as it takes: piece by piece it does look. */
export function fill(native, array, value, start, end) {
  const PIECE = 1 << 16; // elements
  const length = array.length;
  let k = index(start, 0, length);
  const last = index(end, length, length);
  for (; k < last; k += PIECE) apply(native, array, [value, k, min(k + PIECE, last)]);
  return array;
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
