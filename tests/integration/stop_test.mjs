// SPDX-License-Identifier: Apache-2.0
//
// Turns that wait for ever, when their actor or their node is to stop.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, logged, logs, until } from './cluster.mjs';

const cluster = new Cluster();
let node;
let ref;

before(async () => {
  node = await cluster.node('one');
  ref = (type, key) => node.client.actor(`app/${type}`, key);
  await cluster.deploy(node, 'stop', {
    'isola.json': { name: 'app', actors: { Own: { module: './a.js' }, Shared: { module: './a.js', isolation: 'shared' }, Never: { module: './never.js' } } },
    'never.js': `export default async (self) => { self.on('get', () => 1); if (self.key !== 'fine') await new Promise(() => {}); };`,
    'a.js': `
      import { actor } from 'isola';
      export default (self) => {
        self.state.n ??= 0;
        self.on('add', () => ++self.state.n);
        self.on('wait', () => { self.state.n += 100; return new Promise(() => {}); });
        self.on('heed', async () => {
          const { signal } = self;
          await new Promise((done) => signal.addEventListener('abort', done));
          self.state.n += 1000;
          return signal.reason.code;
        });
      };`,
  });
});
after(() => cluster.end());

const running = (address) => until(`${address} runs`, async () =>
  (await actors(node, 'app')).some((a) => a.address === address && (a.state === 'running' || a.state === 'starting')));

describe('ctl stop', { concurrency: true }, () => {
  for (const type of ['Own', 'Shared']) {
    test(`${type}: of a turn that waits: cancelled, given up, and told of`, async () => {
      assert.equal(await ref(type, 'a').ask('add'), 1);
      const waits = ref(type, 'a').ask('wait');
      const fails = assert.rejects(waits, { code: 'ECANCELED', message: /the actor was stopped/ });
      await running(`app/${type}/a`);
      const r = await ctl(node, 'stop', `app/${type}/a`);
      assert.deepEqual([r.status, r.out], [0, `stopped app/${type}/a\n`], r.err);
      await fails;
      assert.equal(await ref(type, 'a').ask('add'), 2, 'what the turn had changed is dropped');
      await logged(node, `app/${type}/a`, /a turn did not end when it was to stop: given up/);
    });
    test(`${type}: of one that heeds its signal: it ends in order`, async () => {
      const heeds = ref(type, 'b').ask('heed');
      await running(`app/${type}/b`);
      assert.equal((await ctl(node, 'stop', `app/${type}/b`)).status, 0);
      assert.equal(await heeds, 'ECANCELED');
      assert.equal(await ref(type, 'b').ask('add'), 1001);
      assert.deepEqual((await logs(node, `app/${type}/b`)).filter((l) => /given up/.test(l)), []);
    });
  }
  test('of a start that waits', async () => {
    const start = assert.rejects(ref('Never', 'x').ask('get', { timeout: 2000 }), { code: 'ETIMEDOUT' });
    await running('app/Never/x');
    assert.equal((await ctl(node, 'stop', 'app/Never/x')).status, 0);
    assert.equal(await ref('Never', 'fine').ask('get'), 1);
    await logged(node, 'app/Never/x', /its start did not end when it was to stop: given up/);
    await start;
  });
});

test('a node stops in order, whatever waits on it', async () => {
  const two = await cluster.node('two', node);
  const waits = [];
  for (let i = 0; i < 20; i++) waits.push(assert.rejects(ref(i % 2 ? 'Own' : 'Shared', `end${i}`).ask('wait', { timeout: 60000 })));
  await until('they run', async () => (await actors(node, 'app')).filter((a) => a.state === 'running' && a.address.includes('/end')).length === 20);
  await two.stop();
  assert.doesNotMatch(two.log(), /is killed/);
  cluster.agents.splice(cluster.agents.indexOf(two), 1);
  await Promise.all(waits.map((_, i) => ctl(node, 'stop', `app/${i % 2 ? 'Own' : 'Shared'}/end${i}`)));
  await Promise.all(waits);
});
