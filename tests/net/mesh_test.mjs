// SPDX-License-Identifier: Apache-2.0
//
// Three nodes on three hosts: what crosses between them over networks that are good, bad, half-open and cut.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';

import { clock, nodes, notebook, until } from '../integration/cluster.mjs';
import { Network } from './hosts.mjs';
import { keysOn, NetCluster } from './nodes.mjs';

const skip = Network.unavailable();
const HOSTS = ['a', 'b', 'c'];
const NOTICED = 3000; // ms in which a peer that is not heard of any more is noticed

const app = {
  'isola.json': { name: 'm', actors: { Talker: { module: './talker.js', reentrant: true }, Notebook: { module: './notebook.js', mailbox: 100_000 } } },
  'talker.js': `
    import { actor } from 'isola';
    export default (self) => {
      self.state.bound = true; // to its node: nobody else serves it while that is down
      self.on('echo', (v) => v);
      self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
      self.on('wait', () => new Promise(() => {}));
      self.on('throw', () => { throw Object.assign(new RangeError('from afar'), { code: 'EFAR' }); });
      self.on('publish', (v) => { self.emit('news', v); });
      self.on('follow', (address, notebook) => { actor(address).on('news', (v) => { actor(notebook).emit('note', v, 'news of ' + address); }); });
      // Notes numbers with another, and asks now and then so that what is under way is bounded.
      self.on('number', async (address, n) => {
        const ref = actor(address);
        for (let i = 0; i < n; i++) {
          ref.emit('note', i, self.address);
          if (i % 100 === 99) await ref.ask('note', i + 0.5, self.address);
        }
        return (await ref.ask('seen', self.address));
      });
    };`,
  'notebook.js': notebook,
};

/** Have all threads of a process stopped? */
const still = (pid) => readdirSync(`/proc/${pid}/task`).every((t) => / T /.test(readFileSync(`/proc/${pid}/task/${t}/stat`, 'latin1')));

describe('three nodes on three hosts', { skip }, () => {
  const at = {}; // the node of each host: { agent, talker (a ref), notebook (a ref) }
  let cluster, net;
  before(async () => {
    cluster = await NetCluster.on(HOSTS);
    net = cluster.net;
    for (const host of HOSTS) at[host] = { agent: await cluster.node(host, at.a?.agent) };
    await cluster.deploy(at.a.agent, 'm', app);
    for (const host of HOSTS) {
      const { agent } = at[host];
      const [talker] = await keysOn(agent, 'm', 'Talker', host, 1, (ref) => ref.ask('echo'));
      const [book] = await keysOn(agent, 'm', 'Notebook', host, 1, (ref) => ref.ask('seen'));
      at[host].talker = agent.client.actor('m/Talker', talker);
      at[host].notebook = agent.client.actor('m/Notebook', book);
    }
  });
  after(() => cluster?.end());

  const stateOf = async (of, by) => (await nodes(at[by].agent)).find((n) => n.name === of)?.state;
  const pairs = HOSTS.flatMap((from) => HOSTS.filter((to) => to !== from).map((to) => [from, to]));
  afterEach(async () => {
    await net.heal('all');
    await net.link('all');
    for (const [from, to] of pairs) {
      await until(`${from} sees ${to}`, async () => (await stateOf(to, from)) === 'up');
      assert.equal(await ask(from, 'ask', at[to].talker.address, 'echo', 1), 1);
    }
  });
  /** An ask of `host`'s talker, whose client is on the same host: that way nothing but what the talker does is on the network. */
  const ask = (host, ...args) => at[host].talker.ask(...args);

  test('asks, emits, events and errors cross every link', async () => {
    for (const [from, to] of pairs) {
      const { talker: { address }, notebook: { address: book } } = at[to];
      assert.deepEqual(await ask(from, 'ask', address, 'echo', { from, list: [1n, new Map([[1, 'x']])] }), { from, list: [1n, new Map([[1, 'x']])] });
      await assert.rejects(ask(from, 'ask', address, 'throw'), { name: 'RangeError', message: 'from afar', code: 'EFAR' });
      assert.deepEqual(await ask(from, 'number', book, 500), Array.from({ length: 500 }, (_, i) => (i % 100 === 99 ? [i, i + 0.5] : [i])).flat());
      await ask(from, 'follow', address, at[from].notebook.address);
      await until('what is published is heard', async () => {
        await at[to].talker.ask('publish', 'news');
        return (await at[from].notebook.ask('seen', `news of ${address}`))[0] === 'news';
      });
    }
  });
  test('over a bad network all arrives once and in order', async () => {
    await net.link('all', { delay: 3, jitter: 5, loss: 1, duplicate: 1, reorder: 2, corrupt: 0.5 });
    await Promise.all(pairs.map(async ([from, to]) => {
      const { address } = at[to].notebook;
      const before_ = (await ask(from, 'number', address, 0)).length;
      const seen = (await ask(from, 'number', address, 500)).slice(before_);
      assert.deepEqual(seen, Array.from({ length: 500 }, (_, i) => (i % 100 === 99 ? [i, i + 0.5] : [i])).flat(), `${from} to ${to}`);
    }));
  });

  for (const [who, what] of [['a>b', 'in one direction'], ['b>a', 'in the other'], ['a b', 'in both']])
    test(`a link that is cut ${what} is noticed within ${NOTICED / 1000} s, by both, and disturbs nobody else`, async () => {
      const { address } = at.b.talker;
      const stuck = ask('a', 'ask', address, 'wait');
      stuck.catch(() => {});
      await ask('a', 'ask', address, 'echo');
      const cut = clock.now();
      await net.cut(who);
      let neighbour = 0; // the slowest ask to c
      let over = false;
      const asks = (async () => {
        while (!over) {
          const begun = clock.now();
          await ask('a', 'ask', at.c.talker.address, 'echo');
          neighbour = Math.max(neighbour, clock.now() - begun);
        }
      })();
      await assert.rejects(ask('a', 'ask', address, 'echo'), { code: 'EUNREACHABLE' });
      await assert.rejects(stuck, { code: 'EUNREACHABLE' });
      await until('both say so', async () => (await stateOf('b', 'a')) === 'down' && (await stateOf('a', 'b')) === 'down');
      const took = clock.now() - cut;
      over = true;
      await asks;
      assert.ok(took <= NOTICED, `it took ${Math.round(took)} ms`);
      assert.ok(neighbour < 1000, `an ask to c took ${Math.round(neighbour)} ms`);
      const begun = clock.now();
      // It is known to be gone, or c passes the message on, which sees it: whom a asks instead of b depends on the key.
      const now = await at.a.agent.client.actor(address).ask('echo', 'by way of c').catch((e) => e.code);
      assert.ok(['EUNREACHABLE', 'by way of c'].includes(now), now);
      assert.ok(clock.now() - begun < 1000, 'that takes no time');
    });

  test('what was deployed while a node was cut off is known there before it is asked of it', async () => {
    await net.cut('a b');
    await net.cut('b c');
    await until('b is missed', async () => (await stateOf('b', 'a')) === 'down' && (await stateOf('b', 'c')) === 'down');
    await net.link('a b', { delay: 30 }); // so that there is time to ask before b has it
    for (const [name, when] of [['late', 'while it is away'], ['later', 'and another']]) {
      const manifest = { name, actors: { Echo: { module: './echo.js' } } };
      const done = await cluster.deploy(at.a.agent, name, { 'isola.json': manifest, 'echo.js': "export default (self) => self.on('say', (v) => v);" });
      assert.deepEqual(done.nodes.sort(), ['a', 'c'], when);
    }
    let back = 0, asked = 0;
    const asks = (async () => {
      for (; back < 3; asked++) {
        const some = Array.from({ length: 24 }, (_, k) => at.a.agent.client.actor(`${k % 2 ? 'late' : 'later'}/Echo`, `${asked}-${k}`).ask('say', k));
        assert.deepEqual(await Promise.all(some), Array.from({ length: 24 }, (_, k) => k));
        back += (await stateOf('b', 'a')) === 'up';
      }
    })();
    await net.heal('all');
    await asks;
    await keysOn(at.a.agent, 'late', 'Echo', 'b', 1, (ref) => ref.ask('say'));
  });

  test('a node that stands still is noticed, and goes on when it does', async () => {
    const { address } = at.b.talker;
    const { host_pid: host } = (await nodes(at.b.agent)).find((n) => n.name === 'b');
    const pids = [at.b.agent.pid, host];
    await ask('a', 'ask', address, 'echo');
    const stopped = clock.now();
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await until('they stand still', () => pids.every(still));
      await assert.rejects(ask('a', 'ask', address, 'echo'), { code: 'EUNREACHABLE' });
      await until('a says so', async () => (await stateOf('b', 'a')) === 'down');
      const took = clock.now() - stopped;
      assert.ok(took <= NOTICED, `it took ${Math.round(took)} ms`);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
  });
});
