// SPDX-License-Identifier: Apache-2.0
//
// The isolate's native functions (actors/v8/natives.cc), for the modules here: they are known from boot on.
let native;

export function attach(ops) {
  native = ops;
}

/** In whose turn this runs: { actor, turn, als }, or undefined (actor.js). */
export const frame = () => native?.frame();
export const setFrame = (f) => native?.setFrame(f);
/** Sets the frame and returns the one before. */
export function exchange(f) {
  const before = native.frame();
  native.setFrame(f);
  return before;
}

/** Asks for the hook `tick` before the next microtask. */
export const wantTick = () => native.tick();
/** An error nobody can catch: the actor crashes. */
export const uncaught = (error) => native.crash(native.frame()?.actor ?? 0, error);
export const crash = (actor, error) => native.crash(actor, error);
export const log = (level, text) => native.log(native.frame()?.actor ?? 0, level, text);
/** A copy, by way of what can be sent. */
export const clone = (value) => native.decode(native.encode(value));
