// SPDX-License-Identifier: Apache-2.0
//
// `self.signal`: aborts when nobody waits for the present turn any more. C is told that a turn is watched when its signal is looked at for the
// first time (actors/cancel.c); turns that never do cost nothing.
import { rare } from './node/native.js';
import { innerOf } from './actor.js';
import { late } from './born.js';
import { codeError, once, SafeMap, trunc } from './primordials.js';
import { find } from './table.js';

const signals = once(() => {
  const KEPT = 16; // signals of turns that may be over, before they are looked through
  const controller = () => new (late().load('internal/abort_controller').AbortController)();
  const over = (code) => (code === 'ETIMEDOUT' ? codeError(code, 'the time of the ask is over') : codeError('ECANCELED', 'nobody waits for this turn any more'));

  function signalOf(self) {
    const i = innerOf(self);
    const watched = rare().watch(); // turn * 4 + 0: there is none, 1: from now on, 2: it is cancelled
    const turn = trunc(watched / 4);
    const state = watched - turn * 4;
    if (state === 0) return controller().signal;
    i.signals ??= new SafeMap();
    let c = i.signals.get(turn);
    if (c === undefined) {
      if (i.signals.size >= KEPT) i.signals.forEach((_, t) => { if (!rare().runs(i.serial, t)) i.signals.delete(t); });
      c = controller();
      i.signals.set(turn, c);
      if (state === 2) c.abort(over('ECANCELED'));
    }
    return c.signal;
  }

  function end(i) {
    const reason = codeError('ECLOSED', 'this activation of the actor has ended');
    i.signals.forEach((c) => {
      try {
        c.abort(reason);
      } catch {
        // a listener's own
      }
    });
  }

  return { signalOf, over, end };
});

export const signalOf = (self) => signals().signalOf(self);

/** C says that nobody waits for a turn. */
export function abort(serial, turn, code) {
  const i = find(serial);
  i?.signals?.get(turn)?.abort(signals().over(code));
}

/** The activation `i` has ended. */
export function forget(i) {
  if (i.signals !== undefined) signals().end(i);
}
