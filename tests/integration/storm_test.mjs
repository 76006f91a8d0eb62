// SPDX-License-Identifier: Apache-2.0
//
// Actors on three nodes that ask, emit and subscribe across while actor-hosts are killed, stopped and let go on, at random (the seed is
// printed, STORM_SEED chooses it, STORM_STEPS how many). Whatever happens: what one actor emits to another comes in its order, asks end,
// and when it is over all links are there again, subscriptions are heard, and nothing is kept of what was.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, nodes, sanitized, until } from './cluster.mjs';

const seed = Number(process.env.STORM_SEED ?? Math.trunc(Math.random() * 1e9));
const STEPS = Number(process.env.STORM_STEPS ?? 8);
const IN_FLIGHT = 8;
let dice = seed;
const roll = (n) => {
  dice = (Math.imul(dice, 1103515245) + 12345) >>> 0;
  return (dice >>> 8) % n;
};

const app = {
  'isola.json': { name: 's', actors: { Caller: { module: './caller.js', reentrant: true }, Sink: { module: './sink.js', isolation: 'shared' } } },
  'caller.js': `
    import { actor } from 'isola';
    export default (self) => {
      const session = Math.random().toString(36).slice(2);
      const count = { started: 0, done: 0, failed: {}, wrong: [], heard: 0 };
      let running = false, k = 0;
      const one = async (sinks) => {
        const to = sinks[count.started++ % sinks.length];
        const n = ++k;
        try {
          const back = await actor(to).ask('echo', session, n, { timeout: 5000 });
          if (back[0] !== session || back[1] !== n) count.wrong.push([to, session, n, back]);
        } catch (error) {
          count.failed[error.code] = (count.failed[error.code] ?? 0) + 1;
        }
        count.done++;
        for (const s of sinks) actor(s).emit('note', self.key, session, k);
      };
      const loop = async (sinks) => { while (running) await one(sinks); };
      self.on('run', (sinks) => {
        if (running) return;
        running = true;
        for (const s of sinks) actor(s).on('tick', () => count.heard++);
        for (let i = 0; i < ${IN_FLIGHT}; i++) loop(sinks);
      });
      self.on('stop', () => { running = false; });
      self.on('count', () => count);
    };`,
  'sink.js': `
    export default (self) => {
      const last = {}, wrong = [];
      self.on('echo', (session, n) => [session, n]);
      self.on('note', (from, session, n) => {
        const key = from + ' ' + session;
        if (n < (last[key] ?? 0)) wrong.push([key, last[key], n]);
        last[key] = n;
      });
      self.on('wrong', () => wrong);
      self.on('strike', () => { self.emit('tick'); });
    };`,
};

const NAMES = ['a', 'b', 'c'];

describe(`a storm, seed ${seed}`, () => {
  const cluster = new Cluster();
  const agents = {};
  let callers, sinks;

  const ask = (address, ...args) => agents.c.client.actor(address).ask(...args);
  /** What is not answered soon is asked again: its node may be away. */
  const insist = (address, ...args) => until(`${address} answers`, () => agents.c.client.actor(address).ask(...args, { timeout: 5000 }).then((value) => ({ value }), (error) => {
    if (!['EUNREACHABLE', 'ETIMEDOUT', 'EOVERLOAD'].includes(error.code)) throw error;
  })).then((r) => r.value);
  const hostOf = async (name) => (await nodes(agents.c)).find((n) => n.name === name).host_pid;
  const isUp = async (name) => {
    const n = (await nodes(agents.c)).find((m) => m.name === name);
    return n.state === 'up' && n.host_pid;
  };
  const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
  const links = async () => (await agents.c.client.call('links')).links.filter((l) => l.kind === 'data');

  /** An actor of that type for each node. */
  async function places(type, event) {
    const found = {};
    for (let i = 0; Object.keys(found).length < NAMES.length; i++) {
      await insist(`s/${type}/${i}`, event);
      const place = (await actors(agents.c, 's')).find((x) => x.address === `s/${type}/${i}`);
      if (place !== undefined) found[place.node] ??= `s/${type}/${i}`;
    }
    return NAMES.map((n) => found[n]);
  }
  const runAll = () => Promise.all(callers.map((c) => insist(c, 'run', sinks)));
  /** The caller on c has had so many more answers. */
  async function progress(more) {
    const { done } = await ask(callers[2], 'count');
    await until('asks go on', async () => (await ask(callers[2], 'count')).done >= done + more);
  }

  before(async () => {
    agents.a = await cluster.node('a');
    agents.b = await cluster.node('b', agents.a);
    agents.c = await cluster.node('c', agents.a);
    await until('all are there', async () => (await nodes(agents.c)).filter((n) => n.state === 'up').length === 3);
    await cluster.deploy(agents.a, 's', app);
    callers = await places('Caller', 'count');
    sinks = await places('Sink', 'wrong');
  });
  after(() => cluster.end());

  test('order, ends, links, subscriptions, memory', async () => {
    await runAll();
    await progress(500);
    const pid = await hostOf('c'), before_ = rss(pid);
    const stopped = new Map();
    const release = (name) => {
      process.kill(stopped.get(name), 'SIGCONT');
      stopped.delete(name);
    };
    try {
      for (let step = 0; step < STEPS; step++) {
        const name = NAMES[roll(2)]; // c is who looks on
        const what = roll(3);
        if (stopped.has(name)) release(name);
        const host = await until(`the actor-host of ${name}`, () => isUp(name));
        if (what === 0) {
          process.kill(host, 'SIGKILL');
        } else {
          process.kill(host, 'SIGSTOP');
          stopped.set(name, host);
          if (what === 1) {
            await until('the link is given up', async () => !(await links()).some((l) => l.peer === name && l.node === 'c' && l.state === 'up'));
          }
          release(name);
        }
        for (const n of NAMES) await until(`${n} is up`, () => isUp(n));
        await runAll();
        await progress(50);
      }
    } finally {
      for (const name of [...stopped.keys()]) release(name);
    }

    await until('each pair has its link, and one alone', async () => {
      const up = (await links()).filter((l) => l.state === 'up').map((l) => `${l.node}-${l.peer}`).toSorted();
      return up.join(' ') === 'a-b a-c b-a b-c c-a c-b';
    });
    for (const sink of sinks) {
      for (const caller of callers) {
        const { heard } = await insist(caller, 'count');
        await until(`${caller} hears ${sink}`, async () => {
          await ask(sink, 'strike');
          return (await ask(caller, 'count')).heard > heard;
        });
      }
    }
    for (const caller of callers) await ask(caller, 'stop');
    for (const caller of callers) {
      const count = await until(`all asks of ${caller} end`, async () => {
        const now = await ask(caller, 'count');
        return now.started === now.done && now;
      });
      assert.deepEqual(count.wrong, []);
      for (const code of Object.keys(count.failed)) assert.ok(['EUNREACHABLE', 'ETIMEDOUT'].includes(code), code);
    }
    for (const sink of sinks) assert.deepEqual(await ask(sink, 'wrong'), [], sink);
    assert.equal(await hostOf('c'), pid, 'the actor-host of c has gone on');
    const now = rss(pid);
    if (!sanitized) assert.ok(now < before_ * 1.5 + 40, `from ${before_} to ${now} MB`);
  });
});
