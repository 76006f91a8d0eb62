// SPDX-License-Identifier: Apache-2.0
//
// Deadlines and cancellation in real isolates, on two nodes: self.signal, and what aborts it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connect } from '../../actors/lib/client/index.js';
import { actors, Cluster, notebook, until } from './cluster.mjs';

const cluster = new Cluster();
let one;
let ref;

before(async () => {
  one = await cluster.node('one');
  await cluster.node('two', one);
  ref = (type, key) => one.client.actor(`app/${type}`, key);
  await cluster.deploy(one, 'cancel', {
    'isola.json': { name: 'app', actors: { A: { module: './a.js' }, S: { module: './a.js', isolation: 'shared' }, R: { module: './a.js', reentrant: true }, Log: { module: './log.js', isolation: 'shared' } } },
    'log.js': notebook,
    'a.js': `
      import { actor } from 'isola';
      const note = (key, what) => actor('app/Log/log').emit('note', what, key);
      export default (self) => {
        self.on('wait', () => new Promise((resolve) => {
          const { signal } = self;
          if (signal !== self.signal) throw new Error('another signal in the same turn');
          signal.addEventListener('abort', () => { note(self.key, signal.reason.code); resolve('aborted'); }, { once: true });
          note(self.key, 'waits');
        }));
        self.on('pass', async (address, timeout) => {
          try {
            return await actor(address).ask('wait', ...(timeout ? [{ timeout }] : []));
          } catch (error) {
            note(self.key, error.code);
            throw error;
          }
        });
        self.on('abort', async (address, key) => {
          const c = new AbortController(), log = actor('app/Log/log');
          const outcome = actor(address).ask('wait', { signal: c.signal }).catch((e) => e.message);
          while ((await log.ask('seen', key)).length === 0);
          c.abort(new Error('enough'));
          return outcome;
        });
        self.on('quick', () => self.signal.aborted);
        self.on('crash', () => { setTimeout(() => { throw new Error('oh'); }, 0); });
        self.on('ping', () => 'pong');
      };`,
  });
});
after(() => cluster.end());

const seen = (key, ...what) => until(`${key}: ${what}`, async () => {
  const all = await ref('Log', 'log').ask('seen', key);
  return all.length >= what.length ? (assert.deepEqual(all, what), true) : undefined;
});

for (const type of ['A', 'S']) {
  describe(`self.signal (${type})`, () => {
    // Eight keys lie on both nodes.
    const keys = (name) => Array.from({ length: 8 }, (_, i) => `${type}-${name}${i}`);

    /** Both are active: what is begun is to be begun at once. */
    const warm = (key) => Promise.all([ref(type, key).ask('ping'), ref('A', `${key}-x`).ask('ping')]);

    test('aborts when the time of the ask is over, along the chain', async () => {
      await Promise.all(keys('time').map(async (key) => {
        await warm(key);
        // An ask that comes late, as on a machine that is busy, is not begun: then it is made again with more time.
        for (const timeout of [700, 3000, 10_000]) {
          // What the signal has made of it may come back in the last moment.
          const end = await ref(type, key).ask('pass', `app/A/${key}-x`, { timeout }).catch((e) => e.code);
          assert.ok(['ETIMEDOUT', 'aborted'].includes(end), end);
          if ((await ref('Log', 'log').ask('seen', `${key}-x`)).length > 0) break;
        }
        await until(`${key}-x hears of it`, async () => (await ref('Log', 'log').ask('seen', `${key}-x`)).at(-1) === 'ETIMEDOUT');
        assert.equal(await ref('A', `${key}-x`).ask('ping'), 'pong');
        assert.equal(await ref(type, key).ask('quick'), false);
      }));
    });

    test('aborts when the ask is aborted by its own signal, by an actor', async () => {
      await Promise.all(keys('abort').map(async (key) => {
        assert.equal(await ref(type, key).ask('abort', `app/A/${key}-x`, `${key}-x`), 'enough');
        await seen(`${key}-x`, 'waits', 'ECANCELED');
      }));
    });

    test('aborts when the ask is aborted by its own signal, by a program, along the chain', async () => {
      await Promise.all(keys('client').map(async (key) => {
        const c = new AbortController();
        const ask = ref(type, key).ask('pass', `app/A/${key}-x`, { signal: c.signal });
        await until('it waits', async () => (await ref('Log', 'log').ask('seen', `${key}-x`)).length === 1);
        c.abort(new Error('enough'));
        await assert.rejects(ask, { message: 'enough' });
        await seen(`${key}-x`, 'waits', 'ECANCELED');
        await seen(key, 'ECANCELED');
      }));
    });

    test('aborts when the program is gone', async () => {
      const client = await connect({ socket: one.socket });
      const asks = keys('gone').map((key) => client.actor(`app/${type}`, key).ask('wait').catch(() => {}));
      await Promise.all(keys('gone').map((key) => seen(key, 'waits')));
      await client.close();
      await Promise.all(asks);
      await Promise.all(keys('gone').map((key) => seen(key, 'waits', 'ECANCELED')));
    });
  });
}

test('aborts when the activation of the asker ends', async () => {
  const keys = Array.from({ length: 8 }, (_, i) => `ends${i}`);
  await Promise.all(keys.map(async (key) => {
    const ask = ref('R', key).ask('pass', `app/A/${key}-x`);
    await seen(`${key}-x`, 'waits');
    ref('R', key).emit('crash');
    await assert.rejects(ask, { code: 'EFAILED' });
    await seen(`${key}-x`, 'waits', 'ECANCELED');
  }));
});

test('aborts when the node of the asker is lost', async () => {
  const three = await cluster.node('three', one);
  const away = await until('an actor on three', async () => {
    for (let i = 0; i < 64; i++) await ref('A', `far${i}`).ask('ping');
    return (await actors(one, 'app')).find((a) => a.node === 'three' && a.address.startsWith('app/A/far'));
  });
  const key = away.address.slice('app/A/'.length);
  // Whom it asks, and the log, are to be elsewhere: places follow from names.
  const at = async (address) => (await actors(one, 'app')).find((a) => a.address === address)?.node;
  let other;
  for (let i = 0; other === undefined || (await at(`app/A/${other}`)) === 'three'; i++) await ref('A', other = `near${i}`).ask('ping');
  const ask = ref('A', key).ask('pass', `app/A/${other}`).catch((e) => e.code);
  await seen(other, 'waits');
  process.kill(three.pid, 'SIGKILL');
  cluster.agents.splice(cluster.agents.indexOf(three), 1);
  assert.equal(await ask, 'EUNREACHABLE');
  await seen(other, 'waits', 'ECANCELED');
});
