// SPDX-License-Identifier: Apache-2.0
//
// Trace contexts over real nodes: what a program gives goes with all that follows, wherever it goes, and scripts can read it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, killHost, until } from './cluster.mjs';

const app = {
  'isola.json': { name: 't', actors: { Link: { module: './link.js' }, Shared: { module: './link.js', isolation: 'shared' }, Child: { module: './child.js' } } },
  'link.js': `
    import { actor } from 'isola';
    export default (self) => {
      self.state.seen ??= {};
      const note = (how) => { self.state.seen[how] = [...(self.state.seen[how] ?? []), self.traceparent ?? null]; };
      self.on('trace', () => self.traceparent);
      self.on('chain', async (next, ...more) => {
        const here = self.traceparent;
        const there = next === undefined ? [] : await actor(next).ask('chain', ...more);
        return [here, self.traceparent, ...there];
      });
      self.on('large', (bytes, next) => (next === undefined ? [self.traceparent, bytes.length] : actor(next).ask('large', bytes)));
      self.on('hears', (whom) => {
        actor(whom).on('news', () => note('event'));
        return actor(whom).ask('trace'); // its answer: the subscription, sent before, is there
      });
      self.on('all', (to, child) => {
        actor(to).emit('note', 'emit');
        actor(to).emit('note', 'durable', { durable: true });
        self.emit('news', 1);
        self.spawn('Child', child);
      });
      self.on('after', (to) => { setTimeout(() => actor(to).emit('note', 'after'), 1); });
      self.on('durably', (to, n) => { for (let i = 0; i < n; i++) actor(to).emit('note', 'many', { durable: true }); });
      self.on('note', note);
      self.on('seen', () => self.state.seen);
    };`,
  'child.js': `
    import { actor } from 'isola';
    export default (self) => { actor('t/Link/of-' + self.key).emit('note', 'start'); };`,
};

const context = (n) => `00-${n.toString(16).padStart(32, '4b')}-${n.toString(16).padStart(16, 'a')}-01`;

describe('two nodes', () => {
  const cluster = new Cluster();
  let east, west, links;
  before(async () => {
    east = await cluster.node('east');
    west = await cluster.node('west', east);
    await cluster.deploy(east, 't', app);
    // some of each type on each node, here first the one that is at east
    links = {};
    for (const type of ['Link', 'Shared']) {
      for (let i = 0; i < 20; i++) await east.client.actor(`t/${type}`, `k${i}`).ask('trace');
      const all = await actors(east, 't');
      const at = (node) => all.filter((a) => a.node === node && a.address.startsWith(`t/${type}/`)).map((a) => a.address);
      links[type] = [...at('east').slice(0, 2), ...at('west').slice(0, 2)];
      assert.equal(links[type].length, 4, 'both nodes have some');
    }
  });
  after(() => cluster.end());

  const ask = (to, ...args) => east.client.actor(to).ask(...args);
  /** What it has noted of this kind, when there is as much. */
  const noted = (to, how, n = 1) => until(`${to} has noted ${how}`, async () => {
    const seen = (await ask(to, 'seen'))[how] ?? [];
    return seen.length >= n ? seen : undefined;
  });

  test('a chain of asks from node to node is one trace', async () => {
    for (const type of ['Link', 'Shared']) {
      const [e1, e2, w1, w2] = links[type];
      const traceparent = context(type.length);
      assert.deepEqual(await ask(e1, 'chain', e2, w1, w2, { timeout: 60_000, traceparent }), Array(8).fill(traceparent));
      assert.deepEqual(await ask(w1, 'chain', e1, w2, e2, { traceparent, durable: true }), Array(8).fill(traceparent));
      assert.deepEqual(await ask(e1, 'chain', w1), Array(4).fill(undefined));
    }
  });

  test('what goes in parts has it too', async () => {
    for (const type of ['Link', 'Shared']) {
      const [here, , there] = links[type];
      for (const [from, to] of [[here, there], [there, here]])
        for (const traceparent of [context(8), undefined]) assert.deepEqual(await ask(from, 'large', new Uint8Array(1 << 20), to, { traceparent }), [traceparent, 1 << 20]);
    }
  });

  test('emits, durable emits, events and children of a turn have its context, and no others', async () => {
    for (const type of ['Link', 'Shared']) {
      const [here, , there] = links[type];
      await ask(there, 'hears', here);
      const context5 = context(5);
      await ask(here, 'all', there, `${type}-1`, { traceparent: context5 });
      for (const how of ['emit', 'durable', 'event']) assert.deepEqual(await noted(there, how), [context5], how);
      assert.deepEqual(await noted(`t/Link/of-${type}-1`, 'start'), [context5]);
      await ask(here, 'all', there, `${type}-2`);
      for (const how of ['emit', 'durable', 'event']) assert.deepEqual(await noted(there, how, 2), [context5, null], how);
      assert.deepEqual(await noted(`t/Link/of-${type}-2`, 'start'), [null]);
      await ask(here, 'after', there, { traceparent: context5 });
      assert.deepEqual(await noted(there, 'after'), [null]);
    }
  });

  test('a program emits in a trace, and hears of what is none', async () => {
    const [here] = links.Link;
    east.client.actor(here).emit('note', 'program', { traceparent: context(6) });
    assert.deepEqual(await noted(here, 'program'), [context(6)]);
    await assert.rejects(ask(here, 'trace', { traceparent: '00-1-2-3' }), { code: 'EINVAL', message: /no W3C trace context/ });
  });

  test('overlapping turns of many actors keep theirs apart', async () => {
    const all = [...links.Link, ...links.Shared].map((_, i, a) => a[(i * 3) % a.length]); // from node to node, always onwards: none waits for itself
    await Promise.all(Array.from({ length: 200 }, async (_, i) => {
      const traceparent = i % 3 === 0 ? undefined : context(100 + i);
      const path = all.filter((_, k) => (i >> k) % 2 === 0).slice(0, 4);
      if (path.length > 0) assert.deepEqual(await ask(path[0], 'chain', ...path.slice(1), { timeout: 60_000, traceparent }), Array(2 * path.length).fill(traceparent));
    }));
  });

  test('durable messages keep it when either actor-host dies', async () => {
    const [here, , there] = links.Link;
    let sent = 0;
    for (const agent of [west, east, west]) {
      const sending = ask(here, 'durably', there, 20, { traceparent: context(9), durable: true });
      await killHost(agent);
      await sending;
      sent += 20;
    }
    const seen = await until('all have come', async () => {
      const { many = [] } = await ask(there, 'seen').catch(() => ({}));
      return many.length >= sent ? many : undefined;
    });
    assert.deepEqual(seen, Array(sent).fill(context(9)));
  });
});
