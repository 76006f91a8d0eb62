// SPDX-License-Identifier: Apache-2.0
//
// Crashes and restarts, thousands of them: actors are crashed in every way there is, again and again, and each time the next message
// must find its actor started again from what it had saved. Neither the actor-host nor the agent may grow by it: memory, mappings, file
// descriptors and threads are read when all actors have been stopped, several times on the way.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';

import { ctl, nodes } from '../integration/cluster.mjs';

const SAMPLES = 10;
const ACTORS = 16; // that crash side by side

// Limits that are soon reached; crashes do not count towards the end of restarts, and are not followed by pauses.
const type = (more) => ({ module: './crasher.js', cpu: '50ms', heap: '24MB', external: '8MB', timers: 100, restart: { max: 1000, within: '1ms', backoff: '0ms' }, ...more });

export const app = {
  'isola.json': { name: 'crash', actors: { I: type(), S: type({ isolation: 'shared' }), Child: type(), By: { module: './by.js' } } },
  'by.js': 'export default (self) => { self.on("echo", (v) => v); };',
  'crasher.js': `
    import { actor } from 'isola';
    const ways = {
      emit() { throw new Error('in an emit'); },
      rejection: () => { Promise.reject(new Error('nobody handles it')); },
      timer: () => { setTimeout(() => { throw new Error('in a timer'); }); return new Promise(() => {}); },
      tick: () => { process.nextTick(() => { throw new Error('in a tick'); }); return new Promise(() => {}); },
      microtask: () => { queueMicrotask(() => { throw new Error('in a microtask'); }); return new Promise(() => {}); },
      late: async () => { await null; Promise.reject(new Error('later')); await new Promise(() => {}); },
      timers: () => { for (;;) setInterval(() => {}, 1e6); },
      asks: (self) => { for (let i = 0; i < 20; i++) actor('crash/By/by').ask('echo', i).catch(() => {}); throw new Error('with asks under way'); },
      listens: (self) => { for (let i = 0; i < 20; i++) actor('crash/By/by').on('e' + i, () => {}); throw new Error('with subscriptions'); },
      state: (self) => { self.state.f = () => {}; },
      child: (self) => { self.spawn('Child', self.key); throw new Error('with a child'); },
      garbage: () => { globalThis.kept = Array.from({ length: 2e4 }, () => ({})); throw new Error('with a lot of memory'); },
      buffers: () => { const all = []; for (;;) all.push(new ArrayBuffer(1e6)); },
    };
    const slow = {
      cpu: () => { for (;;); },
      heap: () => { const all = []; for (;;) all.push({}); },
    };
    export default (self) => {
      self.state.n ??= 0;
      self.on('add', () => ++self.state.n);
      self.on('crash', (way) => (ways[way] ?? slow[way])(self));
    };`,
};

const WAYS = ['emit', 'rejection', 'timer', 'tick', 'microtask', 'late', 'timers', 'asks', 'listens', 'state', 'child', 'garbage', 'buffers'];
const SLOW = ['cpu', 'heap']; // one of 64
// In an isolate that is shared, what ends it ends its neighbours: their crashes are not asked for here.
const NOT_SHARED = new Set(['buffers', 'heap']);

/** A generator of numbers in [0, n): xorshift. */
export function random(seed) {
  let x = seed >>> 0 || 1;
  return (n) => {
    x ^= x << 13; x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5; x >>>= 0;
    return x % n;
  };
}

function stat(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return {
    kb: +/VmRSS:\s+(\d+)/.exec(status)[1],
    threads: +/Threads:\s+(\d+)/.exec(status)[1],
    mappings: readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n').length - 1,
    fds: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/**
 * `cycles` crashes of actors of `kind` ('I' or 'S'). Returns { host: [sample…], agent: [sample…], ways: { way: times } }; a sample is as
 * `stat` has it, taken with all of the actors stopped. `stopped()`: enough, the rest is left out.
 */
export async function crashes({ node, kind, cycles, seed, stopped = () => false }) {
  const pick = random(seed);
  const host = (await nodes(node))[0].host_pid;
  const counts = Array(ACTORS).fill(0);
  const result = { host: [], agent: [], ways: {}, cycles: 0 };
  const by = node.client.actor('crash/By', 'by');
  for (let part = 0; part < SAMPLES && !stopped(); part++) {
    const until_ = Math.floor((cycles * (part + 1)) / SAMPLES);
    let left = until_ - Math.floor((cycles * part) / SAMPLES);
    await Promise.all(counts.map(async (_, k) => {
      const ref = node.client.actor(`crash/${kind}`, `k${k}`);
      while (left-- > 0 && !stopped()) {
        const list = pick(64) === 0 ? SLOW : WAYS;
        let way = list[pick(list.length)];
        if (kind === 'S' && NOT_SHARED.has(way)) way = 'emit';
        assert.equal(await ref.ask('add', { timeout: 60_000 }).catch((e) => again(ref, e)), ++counts[k], `crash/${kind}/k${k}, seed ${seed}`);
        // An ask that throws is answered with the error and crashes nobody: those are emits.
        ref.emit('crash', way);
        result.ways[way] = (result.ways[way] ?? 0) + 1;
        result.cycles++;
        assert.equal(await ref.ask('add', { timeout: 60_000 }).catch((e) => again(ref, e)), ++counts[k], `crash/${kind}/k${k} after ${way}, seed ${seed}`);
      }
    }));
    assert.equal(await by.ask('echo', part), part);
    assert.equal((await nodes(node))[0].host_pid, host, `the same actor-host runs (seed ${seed})`);
    for (const [app_, keys] of [[kind, ACTORS], ['Child', ACTORS]])
      for (let k = 0; k < keys; k++) await ctl(node, 'stop', `crash/${app_}/k${k}`);
    result.host.push(stat(host));
    result.agent.push(stat(node.pid));
  }
  return result;
}

// What came while it crashed failed with it: asked once more, it is carried out.
async function again(ref, error) {
  assert.ok(['EFAILED'].includes(error.code), `${error.code}: ${error.message}`);
  return ref.ask('add', { timeout: 60_000 }).catch((e) => again(ref, e));
}

/**
 * By how much each field grew from the first third to the second and from there to the last, the lesser of both: what goes on growing does so twice, while
 * one large case may leave something to the allocator once. Of a third the least sample counts, and the very first not at all.
 */
export function growth(samples) {
  const third = Math.max(1, Math.floor(samples.length / 3));
  const least = (field, i) => Math.min(...samples.slice(samples.length - (3 - i) * third).slice(0, third).map((s) => s[field]));
  return Object.fromEntries(Object.keys(samples[0]).map((f) => [f, Math.min(least(f, 1) - least(f, 0), least(f, 2) - least(f, 1))]));
}

/** Throws when something grew by more than chance: `kb` is what memory may. */
export function check(what, samples, kb) {
  const grown = growth(samples);
  const series = samples.map((s) => `${s.kb} KB, ${s.mappings} mappings, ${s.fds} fds, ${s.threads} threads`).join('\n  ');
  for (const [field, most] of [['kb', kb], ['mappings', 64], ['fds', 4], ['threads', 2]])
    assert.ok(grown[field] <= most, `${what} has grown by ${grown[field]} ${field} (${most} are allowed):\n  ${series}`);
  return grown;
}
