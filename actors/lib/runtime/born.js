// SPDX-License-Identifier: Apache-2.0
//
// Between what an isolate is born with and what it loads when a script first asks for it: late.js and all it imports are a bundle of their
// own, which lies in the program like the files of Node.js' library and is evaluated at its first use. It imports `born` as 'isola:born'.
import { io } from './io.js';
import { queueMicrotask } from './microtask.js';
import { become } from './node/events.js';
import { clone, compile, compiled, exchange, frame, group, setFrame, uncaught } from './node/native.js';
import { process } from './node/process.js';
import { nextTick } from './node/tick.js';
import { timers } from './timers.js';
import { names } from './web/globals.js';
import { now, performance } from './web/performance.js';
import {
  apply, codeError, create, defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, getPrototypeOf, NativeError, NativePromise, NativeTypeError, once, SafeMap, SafeSet, settled,
} from './primordials.js';

const languages = getOwnPropertyNames(globalThis); // the globals there are before ours

const born = once(() => ({
  __proto__: null,
  apply, become, clone, codeError, compile, compiled, create, defineProperty, exchange, frame, getOwnPropertyDescriptor, getOwnPropertyNames, getPrototypeOf, group, NativeError, NativePromise,
  NativeTypeError, nextTick, now, queueMicrotask, SafeMap, SafeSet, setFrame, settled, uncaught,
  languages,
  names, // of globals that are made when they are first looked at
  get io() { return io(); },
  get performance() { return performance(); },
  get process() { return process(); },
  get timers() { return timers(); },
  provide(exports) { made = exports; },
}));

/** Evaluates a part that lies with the files of Node.js' library. */
function part(id) {
  const fn = compile(id, false);
  const module = { exports: {} };
  apply(fn, undefined, [module.exports, born, module]);
  compiled(id, fn);
  return module.exports;
}

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
