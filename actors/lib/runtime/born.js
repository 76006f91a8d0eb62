// SPDX-License-Identifier: Apache-2.0
//
// Between what an isolate is born with and what it loads when a script first asks for it: late.js and all it imports are a bundle of their
// own, which lies in the program like the files of Node.js' library and is evaluated at its first use. It imports `born` as 'isola:born'.
import * as io from './io.js';
import { queueMicrotask } from './microtask.js';
import { become } from './node/events.js';
import { clone, exchange, frame, setFrame, uncaught } from './node/native.js';
import { process } from './node/process.js';
import { nextTick } from './node/tick.js';
import * as timers from './timers.js';
import { now, performance } from './web/performance.js';
import {
  apply, codeError, create, defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, getPrototypeOf, NativeError, NativePromise, NativeTypeError, SafeMap, SafeSet, settled,
} from './primordials.js';

const { compile, compiled, group } = globalThis.__isola_loader; // actors/v8/builtins.cc

const born = {
  __proto__: null,
  apply, become, clone, codeError, compile, compiled, create, defineProperty, exchange, frame, getOwnPropertyDescriptor, getPrototypeOf, group, io, NativeError, NativePromise,
  NativeTypeError, nextTick, now, performance, process, queueMicrotask, SafeMap, SafeSet, setFrame, settled, timers, uncaught,
  languages: getOwnPropertyNames(globalThis), // the globals there are before ours
  provide(exports) { made = exports; },
};

let made;
/** What late.js provides. */
export function late() {
  if (made === undefined) {
    const fn = compile('isola/late', false);
    apply(fn, undefined, [{}, () => born, {}]);
    compiled('isola/late', fn);
  }
  return made;
}
