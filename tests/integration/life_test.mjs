// SPDX-License-Identifier: Apache-2.0
//
// Hibernation in real isolates: actors go and come back with their state, isolates are closed, memory is kept to.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, notebook, until } from './cluster.mjs';

const cluster = new Cluster();
let node;
let ref;

before(async () => {
  node = await cluster.node('one');
  ref = (type, key) => node.client.actor(`app/${type}`, key);
  const types = { Own: {}, Shared: { isolation: 'shared' } };
  const manifest = { name: 'app', actors: {} };
  for (const [name, type] of Object.entries(types)) {
    manifest.actors[name] = { module: './a.js', hibernateAfter: '150ms', ...type };
    manifest.actors[`${name}Never`] = { module: './a.js', hibernateAfter: 'never', ...type };
    manifest.actors[`${name}Class`] = { module: './c.js', hibernateAfter: '150ms', ...type };
  }
  manifest.actors.Log = { module: './log.js', hibernateAfter: 'never' };
  await cluster.deploy(node, 'life', {
    'isola.json': manifest,
    'log.js': notebook,
    'a.js': `
      import { actor } from 'isola';
      export default (self) => {
        self.state.starts = (self.state.starts ?? 0) + 1;
        self.onHibernate = async () => { await null; self.state.last = self.state.starts; await actor('app/Log', 'log').ask('note', self.address); };
        self.on('get', () => ({ ...self.state }));
        self.on('timer', (ms) => { self.t = setTimeout(() => {}, ms); });
        self.on('interval', () => { self.t = setInterval(() => {}, 20); });
        self.on('clear', () => clearTimeout(self.t));
        self.on('follow', (address) => { self.ref = actor(address); self.ref.on('x', () => {}); });
        self.on('unfollow', () => { self.ref.removeAllListeners('x'); });
      };`,
    'c.js': `
      import { actor } from 'isola';
      export default class { onHibernate() { this.state.n = (this.state.n ?? 0) + 1; actor('app/Log', 'log').emit('note', this.address); } n() { return this.state.n ?? 0; } };`,
  });
});
after(() => cluster.end());

const live = async () => (await actors(node, 'app')).map((a) => a.address);
const gone = (...addresses) => until(`${addresses} hibernate`, async () => {
  const now = await live();
  return addresses.every((a) => !now.includes(a));
});

describe('hibernation', () => {
  for (const type of ['Own', 'Shared']) {
    test(`${type}: an idle actor goes, with its hook run, and comes back with its state`, async () => {
      assert.deepEqual(await ref(type, 'a').ask('get'), { starts: 1 });
      await gone(`app/${type}/a`);
      assert.ok((await ref('Log', 'log').ask('seen')).includes(`app/${type}/a`));
      assert.deepEqual(await ref(type, 'a').ask('get'), { starts: 2, last: 1 });
      assert.equal(await ref(`${type}Class`, 'a').ask('n'), 0);
      await gone(`app/${type}Class/a`);
      assert.equal(await ref(`${type}Class`, 'a').ask('n'), 1);
    });

    test(`${type}: who waits for something stays`, async () => {
      await ref(`${type}Never`, 'n').ask('get');
      await ref(type, 'timer').ask('timer', 1e9);
      await ref(type, 'fires').ask('timer', 300);
      await ref(type, 'interval').ask('interval');
      await ref(type, 'sub').ask('follow', `app/${type}/other`);
      await ref(type, 'idle').ask('get');
      await gone(`app/${type}/idle`);
      const now = await live();
      for (const key of [`${type}Never/n`, `${type}/timer`, `${type}/interval`, `${type}/sub`]) assert.ok(now.includes(`app/${key}`), key);
      for (const key of ['timer', 'interval']) await ref(type, key).ask('clear');
      await ref(type, 'sub').ask('unfollow');
      await gone(...['timer', 'fires', 'interval', 'sub'].map((key) => `app/${type}/${key}`));
    });

    test(`${type}: what is sent as it hibernates is neither lost nor overtaken`, async () => {
      const seen = [];
      for (let round = 0; round < 5; round++) {
        const asks = [];
        const heard = new Promise((done) => ref('Log', 'log').once('noted', done));
        await ref('Log', 'log').ask('seen'); // its answer: the subscription is there before who is to be heard of can go
        await ref(type, 'busy').ask('get');
        await heard; // this moment some actor of this test's, mostly this one, is within its last turn
        for (let i = 0; i < 50; i++) asks.push(ref(type, 'busy').ask('get'));
        for (const s of await Promise.all(asks)) seen.push(s.starts);
      }
      assert.equal(seen.length, 250);
      assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
    });
  }
});
