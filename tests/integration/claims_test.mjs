// SPDX-License-Identifier: Apache-2.0
//
// State that moves more than once, and moves that death has cut short: what was acknowledged is found again, or missed by name; an
// older copy is never used in its place.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';

import { actors, Cluster, killNode, nodes, until } from './cluster.mjs';

const app = {
  'isola.json': { name: 'c', actors: { A: { module: './a.js' } } },
  'a.js': `export default (self) => {
    self.on('add', (by = 1) => (self.state.n = (self.state.n ?? 0) + by));
    self.on('get', () => self.state.n);
  };`,
};

const placed = async (agent) => new Map((await actors(agent, 'c')).map((a) => [a.address, a.node]));

describe('moved twice', () => {
  const cluster = new Cluster();
  after(() => cluster.end());
  test('a third node finds the state, or misses it by the name of the node that has it', async () => {
    const KEYS = 120;
    const east = await cluster.node('east');
    await cluster.deploy(east, 'c', app);
    const ref = (i) => east.client.actor('c/A', `k${i}`);
    for (let i = 0; i < KEYS; i++) assert.equal(await ref(i).ask('add'), 1);
    const west = await cluster.node('west', east);
    const acknowledged = [];
    for (let i = 0; i < KEYS; i++) acknowledged[i] = await ref(i).ask('add', 10);
    assert.ok(acknowledged.every((n) => n === 11));
    const before = await placed(east);
    await killNode(cluster, west);
    await until('west is down', async () => (await nodes(east)).find((n) => n.name === 'west')?.state === 'down');
    await cluster.node('north', east);
    let missed = 0, moved = 0;
    for (let i = 0; i < KEYS; i++) {
      try {
        assert.equal(await ref(i).ask('get'), 11, `k${i}`);
        if (before.get(`c/A/k${i}`) === 'east') moved++;
      } catch (error) {
        assert.match(error.message, /west/, `k${i}: ${error.message}`);
        assert.equal(before.get(`c/A/k${i}`), 'west');
        missed++;
      }
    }
    assert.ok(missed > 0 && moved > 0);
    await cluster.node('west', east);
    for (let i = 0; i < KEYS; i++)
      await until(`k${i} is back`, async () => { try { return (await ref(i).ask('add')) === 12; } catch (e) { if (e.code !== 'EUNREACHABLE') throw e; return false; } });
    await killNode(cluster, cluster.agents.find((a) => a.name === 'north')); // and once more, the other way
    await until('north is down', async () => (await nodes(east)).find((n) => n.name === 'north')?.state === 'down');
    for (let i = 0; i < KEYS; i++) await ref(i).ask('get').then((n) => assert.equal(n, 12), (e) => assert.match(e.message, /north/));
  });
});

describe('cut short', () => {
  // What the store of each node holds when a death has cut a move short, and what is the truth of it.
  const cases = [
    ['given, never written', { east: [1, 'g1:west'] }, 1],
    ['given, half written', { east: [1, 'g1:west'], west: [1, 't1:'] }, 1],
    ['given, half written over an older copy', { east: [2, 'g2:west'], west: [1, 't2:'] }, 2],
    ['given, written, not noted', { east: [2, 'g2:west'], west: [2, 't2:'] }, 2],
    ['to and fro, and never written', { east: [1, 'g1:west'], west: [2, 'g2:east'] }, 2],
    ['to and fro', { east: [3, 'm2:'], west: [2, 'g2:east'] }, 3],
    ['to and fro, from the other', { west: [3, 'm2:'], east: [2, 'g2:west'] }, 3],
    ['given and not there', { east: [1, 'g1:west'], west: [2, 'g2:south'] }, /south/],
    ['given by the one that asks, and not there', { west: [1, 'g1:east'], east: [2, 'g2:south'] }, /south/],
  ];
  const cluster = new Cluster();
  after(() => cluster.end());
  test('a move is finished, or taken back, from whatever was written of it', async () => {
    const first = await cluster.node('east');
    const west = await cluster.node('west', first);
    await cluster.deploy(first, 'c', app);
    await until('west has it', async () => (await west.client.actor('c/A', 'probe').ask('get').then(() => true, () => false)));
    for (const client of cluster.clients.splice(0)) await client.close();
    for (const agent of cluster.agents.splice(0).reverse()) assert.equal(await agent.stop(), undefined);

    const encoded = (n) => Buffer.from([0x81, 0xa1, 0x6e, n]); // { n }
    // Into each file of states: an address is looked for in the one that it belongs to.
    const files = ['east', 'west'].flatMap((name) =>
      readdirSync(join(cluster.dir, name)).filter((file) => /^state-\d+\.db$/.test(file)).map((file) => [name, join(cluster.dir, name, file)]));
    for (const [name, file] of files) {
      const db = new DatabaseSync(file);
      const put = db.prepare('INSERT OR REPLACE INTO state (address, value, written) VALUES (?, ?, 0)');
      // Many keys each, so that both nodes are asked for some.
      cases.forEach(([, holds], c) => {
        if (holds[name] === undefined) return;
        for (let i = 0; i < 12; i++) {
          put.run(`c/A/case${c}-${i}`, encoded(holds[name][0]));
          put.run(`\u0001c/A/case${c}-${i}`, Buffer.from(holds[name][1]));
        }
      });
      db.close();
    }
    const east = await cluster.node('east');
    await cluster.node('west', east);
    for (const [c, [what, , truth]] of cases.entries()) {
      for (let i = 0; i < 12; i++) {
        const ref = east.client.actor('c/A', `case${c}-${i}`);
        if (truth instanceof RegExp) await assert.rejects(ref.ask('get'), { message: truth }, what);
        else assert.equal(await ref.ask('get'), truth, `${what} (${i})`);
      }
    }
    // What was found has been taken: it is used again without a question to anyone.
    for (const [c, [what, , truth]] of cases.entries())
      if (typeof truth === 'number') assert.equal(await east.client.actor('c/A', `case${c}-0`).ask('add'), truth + 1, what);
  });
});
