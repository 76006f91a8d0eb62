// SPDX-License-Identifier: Apache-2.0
//
// What a name that is not known was probably meant to be, by the same rule as base/nearest.h: one edit for every three letters.
import { call, min, trunc } from './primordials.js';

const MAX = 64; // characters
const small = String.prototype.toLowerCase;

// How many letters more, less or another, or two neighbours swapped, lead from `a` to `b`.
function distance(a, b) {
  let above2, above = [], row = [];
  for (let j = 0; j <= b.length; j++) row[j] = j;
  for (let i = 1; i <= a.length; i++) {
    above2 = above;
    above = row;
    row = [i];
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? above2[j - 2] + 1 : MAX;
      row[j] = min(above[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1), above[j] + 1, row[j - 1] + 1, swapped);
    }
  }
  return row[b.length];
}

/** Of names, one by one: `look(name)` for each, then `hint()`: `; did you mean "NAME"?` or nothing. */
export function nearest(word) {
  const wanted = word.length <= MAX ? call(small, word) : '';
  let best, most = trunc((wanted.length + 1) / 3) || 1;
  return {
    look(name) {
      if (wanted === '' || name.length > MAX) return;
      const d = distance(wanted, call(small, name));
      if (d < name.length && (best === undefined ? d <= most : d < most)) {
        best = name;
        most = d;
      }
    },
    hint: () => (best === undefined ? '' : `; did you mean "${best}"?`),
  };
}
