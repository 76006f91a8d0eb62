// SPDX-License-Identifier: Apache-2.0
//
// process.nextTick: after the code that runs, before promises. C calls `drain` when a script's code has returned, runs the
// microtasks, and calls it again while they ask for more.
import { frame, setFrame, uncaught, wantTick } from './native.js';
import { apply } from '../primordials.js';

// A linked list: a script's own arrays are none of its business.
let first;
let last;

export function nextTick(fn, ...args) {
  if (typeof fn !== 'function') {
    const error = new TypeError('The "callback" argument must be of type function.');
    error.code = 'ERR_INVALID_ARG_TYPE';
    throw error;
  }
  const tick = { fn, args, frame: frame(), next: undefined };
  if (first === undefined) {
    wantTick(); // which fails when the stack is full: before anything has changed
    first = tick;
  } else {
    last.next = tick;
  }
  last = tick;
}

/** Runs them all, also those they add. Or drops them, when a script was ended: V8 has dropped the microtasks too. */
export function drain(drop) {
  if (drop === true) {
    first = undefined;
    return;
  }
  while (first !== undefined) {
    const tick = first;
    first = tick.next;
    setFrame(tick.frame);
    try {
      apply(tick.fn, undefined, tick.args);
    } catch (error) {
      uncaught(error);
    }
  }
}
