// SPDX-License-Identifier: Apache-2.0
//
// What follows a crash in real isolates, on two nodes.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, logged as said, notebook, until } from './cluster.mjs';

const cluster = new Cluster();
let one;
let ref;

before(async () => {
  one = await cluster.node('one');
  await cluster.node('two', one);
  ref = (type, key) => one.client.actor(`app/${type}`, key);
  const often = { max: 1000, within: '1s', backoff: '0ms' };
  const restart = { max: 3, within: '10m', backoff: '50ms', maxBackoff: '100ms' };
  await cluster.deploy(one, 'supervision', {
    'isola.json': { name: 'app', actors: { Own: { module: './a.js', restart }, Shared: { module: './a.js', isolation: 'shared', restart },
      Log: { module: './log.js', isolation: 'shared', hibernateAfter: 'never' },
      Watch: { module: './watch.js', hibernateAfter: '1ms' }, SharedWatch: { module: './watch.js', isolation: 'shared' },
      Child: { module: './child.js', isolation: 'shared', restart: often }, Fragile: { module: './child.js', isolation: 'shared', restart: { max: 0, within: '1s' } },
      ...Object.fromEntries(['one_for_one', 'one_for_all', 'rest_for_one', 'escalate'].map((strategy) => [strategy, { module: './parent.js', strategy, restart: often }])) } },
    'log.js': notebook,
    'watch.js': `export default (self) => {
      const downs = [];
      self.on('down', (d) => { downs.push(d); self.emit('saw', d); });
      self.on('watch', (...addresses) => { for (const a of addresses) self.monitor(a); });
      self.on('unwatch', (a) => self.demonitor(a));
      self.on('downs', () => downs);
    };`,
    'child.js': `
      import { actor } from 'isola';
      export default async (self) => {
        await actor('app/Log/log').ask('note', 'start ' + self.key);
        self.onHibernate = () => actor('app/Log/log').ask('note', 'stop ' + self.key);
        self.on('crash', () => { setTimeout(() => { throw new Error('oh'); }, 0); return new Promise(() => {}); });
        self.on('ping', () => 'pong');
      };`,
    'parent.js': `
      import { actor } from 'isola';
      export default async (self) => {
        await actor('app/Log/log').ask('note', 'start ' + self.key);
        self.on('spawn', (type, ...keys) => keys.map((k) => self.spawn(type, k)));
        self.on('spawn-as', (type, key, restart) => self.spawn(type, key, { restart }));
        self.on('ping', () => 'pong');
      };`,
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
          await assert.rejects(a.ask('crash', 'oh no'), { code: 'EFAILED', message: `app/${type}/${key} crashed: Error: oh no; its state is as it was last saved` });
          await until('ps says so', async () => (await state(`app/${type}/${key}`)) === 'crashed');
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

const entries = [];
/** The first `n` entries of the log that are about one of `keys`, once they are there; takes them out. */
const logged = (n, ...keys) => until(`${n} entries about ${keys}`, async () => {
  entries.push(...await ref('Log', 'log').ask('take'));
  const mine = entries.filter((e) => keys.includes(e.split(' ')[1]));
  if (mine.length < n) return undefined;
  for (const e of mine) entries.splice(entries.indexOf(e), 1);
  return mine;
});
const child = (key, type = 'Child') => ref(type, key);
const crash = (key, type) => assert.rejects(child(key, type).ask('crash'), { code: 'EFAILED' });

describe('monitors', () => {
  for (const type of ['Watch', 'SharedWatch']) {
    test(`${type}: tell of crashes, stops and failures, on this node and the other`, async () => {
      const keys = Array.from({ length: 8 }, (_, i) => `${type}${i}`);
      const watch = ref(type, 'w');
      await watch.ask('watch', ...keys.map((k) => `app/Child/${k}`), `app/Fragile/${type}`);
      const downs = async (n) => until(`${n} downs`, async () => {
        const all = await watch.ask('downs');
        return all.length >= n ? all : undefined;
      });
      await Promise.all(keys.map((k) => child(k).ask('ping')));
      await Promise.all(keys.map((k) => crash(k)));
      let all = await downs(8);
      assert.deepEqual(all.map((d) => d.address).sort(), keys.map((k) => `app/Child/${k}`).sort());
      for (const d of all) assert.deepEqual([d.reason, d.message], ['crashed', 'Error: oh']);
      await child(keys[0]).ask('ping');
      await ctl(one, 'stop', `app/Child/${keys[0]}`);
      all = await downs(9);
      assert.deepEqual(all[8], { address: `app/Child/${keys[0]}`, reason: 'stopped', message: '' });
      await crash(type, 'Fragile');
      all = await downs(11);
      assert.deepEqual(all.slice(9).map((d) => d.reason), ['crashed', 'failed']);
      assert.match(all[10].message, /it crashed 1 times/);
      assert.equal(await watch.ask('unwatch', `app/Child/${keys[1]}`), true);
      assert.equal(await watch.ask('unwatch', `app/Child/${keys[1]}`), false);
      await crash(keys[1]);
      await crash(keys[2]);
      all = await downs(12);
      assert.equal(all[11].address, `app/Child/${keys[2]}`);
      // Nobody else can say who is down, and what has failed or does not exist is down at once.
      await assert.rejects(watch.ask('down', { address: 'x' }), { code: 'ENOACTOR' });
      await ref(type, 'w2').ask('watch', `app/Fragile/${type}`, 'app/None/x');
      const late = await until('both', async () => {
        const two = await ref(type, 'w2').ask('downs');
        return two.length === 2 ? two : undefined;
      });
      assert.deepEqual(late.map((d) => [d.address, d.reason]).sort(), [[`app/Fragile/${type}`, 'failed'], ['app/None/x', 'failed']]);
    });
  }
});

describe('parents and children', () => {
  const family = async (strategy, name) => {
    const keys = ['a', 'b', 'c'].map((k) => `${name}-${k}`);
    await ref(strategy, name).ask('spawn', 'Child', ...keys);
    assert.deepEqual((await logged(4, name, ...keys)).sort(), [`start ${name}`, ...keys.map((k) => `start ${k}`)].sort());
    return keys;
  };

  test('one_for_one: the child alone starts again, by itself', async () => {
    const [a, b, c] = await family('one_for_one', 'one');
    await crash(b);
    assert.deepEqual(await logged(1, b), [`start ${b}`]);
    for (const key of ['one-a', 'one-b', 'one-c']) assert.equal(await child(key).ask('ping'), 'pong');
    assert.deepEqual(await logged(0, 'one', a, b, c), []);
  });

  test('one_for_all: the others stop, the last first, and all start in order', async () => {
    const [a, b, c] = await family('one_for_all', 'all');
    await crash(b);
    assert.deepEqual(await logged(5, a, b, c), [`stop ${c}`, `stop ${a}`, `start ${a}`, `start ${b}`, `start ${c}`]);
  });

  test('rest_for_one: those after it stop and start again', async () => {
    const [a, b, c] = await family('rest_for_one', 'rest');
    await crash(b);
    assert.deepEqual(await logged(3, a, b, c), [`stop ${c}`, `start ${b}`, `start ${c}`]);
    assert.equal(await ref('rest_for_one', 'rest').ask('ping'), 'pong');
  });

  test('escalate: the parent crashes with the child, which ends the others, and starts again', async () => {
    const [a, b, c] = await family('escalate', 'esc');
    await crash(b);
    const all = await logged(3, 'esc', a, b, c);
    assert.deepEqual(all.toSorted(), [`start esc`, `stop ${a}`, `stop ${c}`]);
    await said(one, 'app/escalate/esc', /crashed: its child app\/Child\/esc-b crashed: Error: oh/);
  });

  test('a child that has failed crashes its parent, whatever the strategy', async () => {
    await ref('one_for_one', 'gives').ask('spawn', 'Fragile', 'gives-x');
    await logged(2, 'gives', 'gives-x');
    await crash('gives-x', 'Fragile');
    assert.deepEqual(await logged(1, 'gives', 'gives-x'), ['start gives']);
    await said(one, 'app/one_for_one/gives', /crashed: its child app\/Fragile\/gives-x failed: it crashed 1 times/);
  });

  test('children end with their parent, and how they were spawned says what follows their own end', async () => {
    const [a, b, c] = await family('one_for_one', 'ends');
    await ctl(one, 'stop', 'app/one_for_one/ends');
    assert.deepEqual((await logged(3, a, b, c)).sort(), [`stop ${a}`, `stop ${b}`, `stop ${c}`]);
    await ref('one_for_one', 'modes').ask('spawn-as', 'Child', 'm-permanent', 'permanent');
    await ref('one_for_one', 'modes').ask('spawn-as', 'Child', 'm-temporary', 'temporary');
    await ref('one_for_one', 'modes').ask('spawn-as', 'Child', 'm-transient', 'transient');
    const modes = ['m-permanent', 'm-temporary', 'm-transient'];
    await logged(3, ...modes);
    await ctl(one, 'stop', 'app/Child/m-transient');
    await crash('m-temporary');
    await ctl(one, 'stop', 'app/Child/m-permanent');
    assert.deepEqual(await logged(3, ...modes), ['stop m-transient', 'stop m-permanent', 'start m-permanent']);
    await assert.rejects(ref('one_for_one', 'modes').ask('spawn-as', 'Child', 'x', 'always'), { code: 'EINVAL' });
    await assert.rejects(ref('one_for_one', 'modes').ask('spawn', 'one_for_one', 'modes'), { code: 'EINVAL' });
  });
});

test('a lost node is told to monitors, and children start elsewhere', async () => {
  const three = await cluster.node('three', one);
  const keys = Array.from({ length: 12 }, (_, i) => `lost${i}`);
  const watch = ref('Watch', 'lost');
  await watch.ask('watch', ...keys.map((k) => `app/Child/${k}`));
  await ref('one_for_one', 'lost').ask('spawn', 'Child', ...keys);
  await Promise.all(keys.map((k) => child(k).ask('ping')));
  const there = (await actors(one, 'app')).filter((a) => a.node === 'three');
  const mine = there.map((a) => a.address).filter((a) => a.startsWith('app/Child/lost'));
  assert.ok(mine.length > 0);
  for (const a of ['app/Watch/lost', 'app/one_for_one/lost', 'app/Log/log']) assert.ok(!there.some((x) => x.address === a), `${a} is to be elsewhere`); // places follow from names
  await logged(keys.length, ...keys);
  process.kill(three.pid, 'SIGKILL');
  cluster.agents.splice(cluster.agents.indexOf(three), 1);
  const downs = await until('all that were there are lost', async () => {
    const all = (await watch.ask('downs')).filter((d) => d.reason === 'lost');
    return all.length >= mine.length ? all : undefined;
  });
  assert.deepEqual(downs.map((d) => d.address).sort(), mine.sort());
  const started = new Set();
  await until('those that were there have started', async () => {
    for (const e of await logged(0, ...keys)) started.add(e);
    return mine.every((a) => started.has(`start ${a.slice('app/Child/'.length)}`));
  });
});
