// SPDX-License-Identifier: Apache-2.0
//
// Parts of the runtime that an isolate is not born with: bundles of their own, which lie in the program like the files of Node.js' library and
// are evaluated at their first use. What they import as 'isola:born' is born.js'. Imports little itself: modules that others are made of import it.
import { compile, compiled } from './node/native.js';
import { apply } from './primordials.js';

let born;
/** What parts import. */
export function give(names) { born = names; }

/** Evaluates one. */
export function part(id) {
  const fn = compile(id, false);
  const module = { exports: {} };
  apply(fn, undefined, [module.exports, born, module]);
  compiled(id, fn);
  return module.exports;
}
