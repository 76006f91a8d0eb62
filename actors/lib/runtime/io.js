// SPDX-License-Identifier: Apache-2.0
//
// What scripts have done outside of their isolate, by the JavaScript of the actor-host's main thread (node-agent/actor-host/outside):
// a request is a text of JSON and bytes, and so is each answer. See actors/io.c.
import { find } from './table.js';
import { crash, currentActor, group } from './node/native.js';
import { once, SafeMap } from './primordials.js';

export const io = once(() => {
  const natives = group('io');
  const underWay = new SafeMap(); // id → { on, owner }

  /** Begins it; `on(last, head, body)` is called for each answer. `gated`: others see of it, so it waits for the state to be saved. */
  function start(what, gated, head, body, on) {
    const actor = currentActor();
    const id = natives.start(actor, gated, what, head, body);
    const owner = find(actor);
    underWay.set(id, { on, owner });
    if (owner !== undefined) owner.ios++;
    return id;
  }

  /** The next answer is wanted. */
  const more = (id) => natives.more(id);

  function remove(id, entry) {
    underWay.delete(id);
    if (entry.owner !== undefined) entry.owner.ios--;
  }

  /** No answer is wanted any more. */
  function cancel(id) {
    const entry = underWay.get(id);
    if (entry === undefined) return;
    remove(id, entry);
    natives.cancel(id);
  }

  /** An answer has come. `body` null: there is no memory for it. */
  function answer(id, last, head, body) {
    const entry = underWay.get(id);
    if (entry === undefined) return;
    if (last) remove(id, entry);
    try {
      entry.on(last, head, body);
    } catch (error) {
      crash(entry.owner?.serial ?? 0, error); // the script has broken what its promises and streams stand on
    }
  }

  /** The activation `owner` has ended; C has cancelled what it had under way. */
  function forget(owner) {
    underWay.forEach((entry, id) => { if (entry.owner === owner) underWay.delete(id); });
  }

  return { start, more, cancel, answer, forget };
});

export const answer = (id, last, head, body) => io().answer(id, last, head, body);
export function forget(owner) {
  if (owner.ios > 0) io().forget(owner);
}
