// SPDX-License-Identifier: Apache-2.0
//
// Sends every flight to its origin: an origin's flights one after the other, in order; many origins at once.
//
// An ask that was with an actor-host when it died fails, and may or may not have been carried out. It is repeated, which is
// harmless because airports count nothing twice. Repeats are bounded in time.
import { setTimeout as delay } from 'node:timers/promises';

const ORIGINS_AT_ONCE = 64;
const REPEATABLE = new Set(['EUNREACHABLE', 'ETIMEDOUT']);
const PAUSE_MIN = 20, PAUSE_MAX = 1000; // ms between repeats, doubled each time
const GIVE_UP = 90_000; // ms for one flight

/**
 * `send(origin, i, flight)` asks the origin and resolves when it has counted flight i. `done(count)` is called after each flight.
 * Returns how many asks had to be repeated; rejects with the first error that does not pass.
 */
export async function feed(flights, send, { done = () => {}, signal } = {}) {
  const waiting = new Map(); // origin → indices of its flights, last first
  for (let i = flights.length - 1; i >= 0; i--) {
    const { origin } = flights[i];
    if (waiting.has(origin)) waiting.get(origin).push(i);
    else waiting.set(origin, [i]);
  }
  const failed = new AbortController();
  const stop = AbortSignal.any([failed.signal, ...(signal === undefined ? [] : [signal])]);
  let count = 0;
  let repeats = 0;

  // The origin with the most flights left, so that the hubs are not what remains at the end.
  const take = () => {
    let best;
    for (const [origin, list] of waiting) if (best === undefined || list.length > waiting.get(best).length) best = origin;
    if (best === undefined) return undefined;
    const list = waiting.get(best);
    waiting.delete(best);
    return [best, list];
  };

  async function one(origin, i) {
    const since = performance.now();
    for (let pause = PAUSE_MIN; ; pause = Math.min(PAUSE_MAX, pause * 2)) {
      stop.throwIfAborted();
      try {
        await send(origin, i, flights[i]);
        return;
      } catch (error) {
        if (!REPEATABLE.has(error.code)) throw new Error(`flight ${i} from ${origin}: ${error.message}`, { cause: error });
        if (performance.now() - since > GIVE_UP)
          throw new Error(`flight ${i} from ${origin} was repeated for ${GIVE_UP / 1000} s, the last time: ${error.message}`, { cause: error });
        repeats++;
        await delay(pause, undefined, { signal: stop });
      }
    }
  }

  async function worker() {
    for (let next = take(); next !== undefined; next = take()) {
      const [origin, list] = next;
      await one(origin, list.pop());
      if (list.length > 0) waiting.set(origin, list);
      done(++count);
    }
  }

  await Promise.all(Array.from({ length: ORIGINS_AT_ONCE }, () => worker().catch((error) => {
    failed.abort(error); // the others end, too
    throw error;
  })));
  return repeats;
}
