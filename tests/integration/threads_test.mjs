// SPDX-License-Identifier: Apache-2.0
//
// Worker threads: an actor that holds one of them holds up nobody else.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Cluster } from './cluster.mjs';

const ACTORS = 40;
const SPIN = 4000; // ms in which it has a processor: what waits for it would come after it

const cluster = new Cluster();
let others, spinner;

before(async () => {
  const node = await cluster.node('one', undefined, ['--threads', '2']);
  await cluster.deploy(node, 'app', {
    'isola.json': { name: 'app', actors: { Alone: { module: './main.js', cpu: '1m' }, Shared: { module: './main.js', isolation: 'shared' } } },
    'main.js': `
      export default (self) => {
        self.on('echo', (x) => x);
        self.on('later', (ms) => new Promise((done) => setTimeout(done, ms)));
        // A pause counts as 1 ms: others have to wait for a processor too.
        const spin = (ms) => {
          for (let spent = 0, last = performance.now(), now; spent < ms; last = now) {
            now = performance.now();
            spent += Math.min(now - last, 1);
          }
        };
        self.on('begin', (ms) => { setTimeout(() => { spin(ms); self.emit('over'); }, 1); });
      };`,
  });
  others = Array.from({ length: ACTORS }, (_, i) => node.client.actor('app/Alone', `other-${i}`));
  spinner = node.client.actor('app/Alone', 'spinner');
  await Promise.all(others.map((ref, i) => ref.ask('echo', i)));
});

after(() => cluster.end());

/** Runs `work` once the spinner has begun, and says whether it was through before the spinner. */
async function meanwhile(work) {
  let over = false;
  const ended = new Promise((done) => { spinner.once('over', () => { over = true; done(); }); });
  await spinner.ask('begin', SPIN);
  await work();
  const inTime = !over;
  await ended;
  return inTime;
}

test('messages are answered while a thread is held', async () => {
  assert.ok(await meanwhile(async () => {
    for (let round = 0; round < 3; round++) assert.deepEqual(await Promise.all(others.map((ref, i) => ref.ask('echo', i))), others.map((_, i) => i));
  }));
});

test('timers fire while the thread that keeps them is held', async () => {
  const all = Promise.all(others.map((ref) => ref.ask('later', 500))); // kept by both threads
  assert.ok(await meanwhile(() => all));
});

test('an ask times out while the thread that keeps its deadline is held', async () => {
  const all = Promise.all(others.map((ref) => assert.rejects(ref.ask('later', 60_000, { timeout: 500 }), { code: 'ETIMEDOUT' })));
  assert.ok(await meanwhile(() => all));
});
