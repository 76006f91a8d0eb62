// SPDX-License-Identifier: Apache-2.0
//
// The isolate's native functions (actors/v8/natives.cc), for the modules here: they are known from boot on.
import { once } from '../primordials.js';

/** What all of the runtime calls (actors/v8/natives.cc). */
export let native;

// `frame()` says in whose turn this runs (actor.js), or undefined; they are V8's own, which optimized code does without a call.
export const { compile, compiled, group, frame, setFrame } = globalThis.__isola_loader; // actors/v8/builtins.cc
export const util = once(() => group('util'));
/** What few isolates use. */
export const rare = once(() => group('rare'));

export function attach(ops) {
  native = ops;
}

/** Sets the frame and returns the one before. */
export function exchange(f) {
  const before = frame();
  setFrame(f);
  return before;
}

/** The serial of the actor whose code this is, 0 when it is of none. */
export const currentActor = () => native.actorOf(frame());

/** Asks for the hook `tick` before the next microtask. */
export const wantTick = () => rare().tick();
/** An error nobody can catch: the actor crashes. */
export const uncaught = (error) => native.crash(currentActor(), error);
export const crash = (actor, error) => native.crash(actor, error);
export const log = (level, text) => native.log(currentActor(), level, text);
/** A copy, by way of what can be sent. */
export const clone = (value) => rare().decode(rare().encode(value));
