// SPDX-License-Identifier: Apache-2.0
//
// What a script is not given, or given in another form, so that it can be stopped and what it uses counted.
import { apply, defineProperty, min } from './primordials.js';

const { fill } = Array.prototype;
const { isArray } = Array;

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

/** While the snapshot is made. */
export function install() {
  const replacement = { fill(value, start = undefined, end = undefined) { return apply(filled, this, [value, start, end]); } }.fill; // no constructor
  defineProperty(replacement, 'length', { __proto__: null, value: 1, configurable: true });
  defineProperty(Array.prototype, 'fill', { __proto__: null, value: replacement, writable: true, configurable: true, enumerable: false });
}
