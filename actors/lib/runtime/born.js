// SPDX-License-Identifier: Apache-2.0
//
// Between what an isolate is born with and what it loads when a script first asks for it (parts.js): `born` is what parts import as
// 'isola:born', late.js the largest of them.
import { callAll, innerOf, kAddress } from './actor.js';
import { io } from './io.js';
import { queueMicrotask } from './microtask.js';
import { become } from './node/events.js';
import { clone, compile, compiled, currentActor, exchange, frame, group, rare, setFrame, uncaught } from './node/native.js';
import { process } from './node/process.js';
import { nextTick } from './node/tick.js';
import { actor, listen, unlisten } from './ref.js';
import { give, part } from './parts.js';
import { find } from './table.js';
import { timers } from './timers.js';
import { names } from './web/globals.js';
import { now, performance } from './web/performance.js';
import {
  apply, bounded, codeError, create, defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, getPrototypeOf, min, NativeError, NativePromise, NativeTypeError, once, SafeMap, SafeSet, SafeWeakMap, settled,
} from './primordials.js';

const languages = getOwnPropertyNames(globalThis); // the globals there are before ours

const born = once(() => ({
  __proto__: null,
  actor, apply, become, bounded, callAll, clone, codeError, compile, compiled, create, currentActor, defineProperty, exchange, find, frame, getOwnPropertyDescriptor, getOwnPropertyNames, getPrototypeOf, group,
  innerOf, kAddress, listen, min, NativeError, NativePromise, NativeTypeError, nextTick, now, queueMicrotask, rare, SafeMap, SafeSet, SafeWeakMap, setFrame, settled, uncaught, unlisten,
  languages,
  names, // of globals that are made when they are first looked at
  get io() { return io(); },
  get load() { return late().load; },
  get performance() { return performance(); },
  get process() { return process(); },
  get timers() { return timers(); },
  provide(exports) { made = exports; },
}));

give(born);

let made;
/** What late.js provides. */
export function late() {
  if (made === undefined) part('isola/late');
  return made;
}

let watching; // between the beginning and the end of it
export function watch(what, touch) {
  const { watch } = watching ?? part('isola/watch');
  const result = watch(what, touch);
  watching = what?.all === undefined ? undefined : { watch };
  return result;
}
