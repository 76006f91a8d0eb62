// SPDX-License-Identifier: Apache-2.0
//
// Loads other actors from inside the cluster, as a gen_server's caller does, and says what it measured. Several of these share a load:
// each is told its number among them. Delays are in microseconds, times in milliseconds on the clock all isolates of a host have in common.
import { actor } from 'isola';

const now = () => performance.timeOrigin + performance.now();
const EVERY = 16; // a delay is kept of one message in so many
const KEPT = 4000;

class Delays {
  kept = [];
  add(ms) { if (this.kept.length < KEPT) this.kept.push(Math.round(ms * 1e5) / 100); }
}

const known = new Map(); // type → refs

/** Numbers below `count`, drawn by lot (Numerical Recipes' ranqd1), the same in each run. */
function dice(seed) {
  let x = Math.imul(seed, 0x9e3779b1);
  return (count) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (x >>> 8) % count;
  };
}

/** To actors of `type`: those with the keys k0, k1 … so many, or with the keys that are listed. */
function refs(type, actors) {
  if (Array.isArray(actors)) return actors.map((key) => actor(`bench/${type}`, key));
  let all = known.get(type);
  if (all === undefined) known.set(type, all = []);
  while (all.length < actors) all.push(actor(`bench/${type}`, `k${all.length}`));
  return all.slice(0, actors);
}

export default (self) => {
  // With `bytes`, the argument is an array of so many.
  self.on('asks', async ({ type, actors, caller, ms, event, args, bytes }) => {
    const all = refs(type, actors), count = all.length;
    if (bytes !== undefined) args = [new Uint8Array(bytes).fill(7)];
    const delays = new Delays();
    const start = now(), end = start + ms;
    let n = 0;
    const any = dice(caller);
    for (let at = start; at < end;) {
      await all[any(count)].ask(event, ...args);
      if (++n % EVERY !== 0) continue;
      const begun = at = now();
      await all[any(count)].ask(event, ...args);
      delays.add(now() - begun);
      n++;
    }
    return { n, start, end: now(), delays: delays.kept };
  });

  self.on('remote', async ({ to, caller, ms }) => {
    const all = to.map((a) => actor(a));
    const delays = new Delays();
    const end = now() + ms;
    let n = 0;
    for (let i = caller, at = 0; at < end; i++) {
      const begun = now();
      await all[i % all.length].ask('echo', 1);
      delays.add((at = now()) - begun);
      n++;
    }
    return { n, delays: delays.kept };
  });

  // Each caller takes every so-manieth key, one after the other.
  self.on('births', async ({ type, from, to, caller, callers, event, args, ms = Infinity, every = EVERY }) => {
    const delays = new Delays();
    const start = now();
    let n = 0;
    for (let k = from + caller; k < to; k += callers) {
      const begun = n % every === 0 ? now() : 0;
      if (begun > start + ms) break;
      await actor(`bench/${type}`, `k${k}`).ask(event, ...args);
      if (begun !== 0) delays.add(now() - begun);
      n++;
    }
    return { n, start, end: now(), delays: delays.kept };
  });

  // An ask after every thousand bounds what is under way.
  self.on('emits', async ({ type, actors, caller, callers, ms }) => {
    const all = refs(type, actors), count = all.length;
    const end = now() + ms;
    let n = 0;
    for (let i = Math.floor((caller * count) / callers), at = now(); at < end; at = now()) {
      all[i++ % count].emit('tick', at);
      for (let k = 1; k < 1000; k++, i++) all[i % count].emit('tick');
      n += 1000;
      await all[i % count].ask('echo', 1);
    }
    return { n };
  });

  // To another node: the next thousand are on their way before the answer is waited for, and each carries so many bytes.
  self.on('data', async ({ type, actors, caller, callers, ms, bytes }) => {
    const all = refs(type, actors), count = all.length;
    const payload = new Uint8Array(bytes).fill(7);
    const end = now() + ms;
    let n = 0, asked;
    for (let i = Math.floor((caller * count) / callers); now() < end; i++) {
      for (let k = 0; k < 1000; k++, i++) all[i % count].emit('data', payload);
      n += 1000;
      const asks = all[i % count].ask('echo', 1);
      await asked;
      asked = asks;
    }
    await asked;
    return { n };
  });

  self.on('counts', async ({ type, actors, caller, callers }) => {
    const all = refs(type, actors), count = all.length;
    const delays = new Delays();
    let n = 0;
    for (let i = caller; i < count; i += callers * 64) {
      const some = [];
      for (let k = i; k < count && some.length < 64; k += callers) some.push(all[k].ask('count'));
      for (const [had, late] of await Promise.all(some)) {
        n += had;
        late.forEach((d) => delays.add(d));
      }
    }
    return { n, delays: delays.kept };
  });
};
