// SPDX-License-Identifier: Apache-2.0
//
// What follows a crash in real isolates, on two nodes.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, until } from './cluster.mjs';

const cluster = new Cluster();
let one;
let ref;

before(async () => {
  one = await cluster.node('one');
  await cluster.node('two', one.mesh);
  ref = (type, key) => one.client.actor(`app/${type}`, key);
  const restart = { max: 3, within: '10m', backoff: '50ms', maxBackoff: '100ms' };
  await cluster.deploy(one, 'supervision', {
    'isola.json': { name: 'app', actors: { Own: { module: './a.js', restart }, Shared: { module: './a.js', isolation: 'shared', restart } } },
    'a.js': `export default (self) => {
      self.state.n ??= 0;
      self.on('add', () => ++self.state.n);
      self.on('crash', (why) => { setTimeout(() => { throw new Error(why); }, 0); return new Promise(() => {}); });
    };`,
  });
});
after(() => cluster.end());

const state = async (address) => (await actors(one, 'app')).find((a) => a.address === address)?.state;

describe('after a crash', () => {
  for (const type of ['Own', 'Shared']) {
    test(`${type}: restarts, pauses, and the end`, async () => {
      const keys = Array.from({ length: 6 }, (_, i) => `k${i}`); // on both nodes
      await Promise.all(keys.map(async (key) => {
        const a = ref(type, key);
        assert.equal(await a.ask('add'), 1);
        for (let n = 2; n < 5; n++) {
          await assert.rejects(a.ask('crash', 'oh no'), { code: 'EFAILED' });
          assert.equal(await a.ask('add'), n, 'from its last saved state');
        }
        await assert.rejects(a.ask('crash', 'oh dear'), { code: 'EFAILED' });
        await until('it has failed', async () => (await state(`app/${type}/${key}`)) === 'failed');
        await assert.rejects(a.ask('add'), (e) => {
          assert.equal(e.code, 'EFAILED');
          assert.match(e.message, /has failed: it crashed 4 times within 600 s .*the last time of: Error: oh dear$/);
          return true;
        });
        assert.match((await ctl(one, 'ps', 'app')).out, new RegExp(`^app/${type}/${key} has failed: it crashed 4 times within 600 s .*: Error: oh dear$`, 'm'));
        const r = await ctl(one, 'restart', `app/${type}/${key}`);
        assert.deepEqual([r.status, r.out], [0, `restarted app/${type}/${key}\n`], r.err);
        assert.equal(await a.ask('add'), 5);
      }));
    });
  }

  test('ctl restart starts what is not there, and says what cannot start', async () => {
    assert.equal((await ctl(one, 'restart', 'app/Own/new')).out, 'started app/Own/new\n');
    assert.equal(await state('app/Own/new'), 'idle');
    assert.deepEqual(JSON.parse((await ctl(one, '--json', 'restart', 'app/Own/new')).out), { address: 'app/Own/new', was: true });
    const r = await ctl(one, 'restart', 'app/None/x');
    assert.equal(r.status, 1);
    assert.match(r.err, /ENOACTOR/);
  });
});
