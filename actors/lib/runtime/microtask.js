// SPDX-License-Identifier: Apache-2.0
import { settled } from './primordials.js';

/** An error in `fn` crashes the actor, as a rejection nobody handles. */
export function queueMicrotask(fn) {
  if (typeof fn !== 'function') throw new TypeError('queueMicrotask wants a function');
  settled(undefined, () => fn(), undefined);
}
