// SPDX-License-Identifier: Apache-2.0
//
// What actors emit, in programs: `ref.events`, and Node's own `events.on` and `events.once` on a ref.
import assert from 'node:assert/strict';
import { on, once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import { closed, connect } from '../../actors/lib/client/index.js';
import { Cluster, until } from './cluster.mjs';

const cluster = new Cluster();
let node;

before(async () => {
  node = await cluster.node('alone');
  await cluster.deploy(node, 'shop', {
    'counter.actor.js': `export default (self) => {
      self.on('count', (n) => { for (let i = 0; i < n; i++) self.emit('changed', i); return n; });
      self.on('fail', () => { self.emit('error', new RangeError('wrong')); });
      self.on('heard', () => self.emit('changed', -1));
    };`,
    'package.json': { name: 'shop' },
  });
});
after(() => cluster.end());

// Resolves when the actor has `n` subscriptions of what it emits: from then on all is heard.
const heard = (ref, wanted = true) => until('subscribed', async () => (await ref.ask('heard')) === wanted);

for (const [what, eventsOf] of [['ref.events', (ref, options) => ref.events('changed', options)], ['events.on', (ref, options) => on(ref, 'changed', options)]]) {
  describe(what, () => {
    test('in order, until the loop is left', async () => {
      const ref = node.client.actor('shop/Counter', what), seen = [];
      await assert.doesNotReject(async () => {
        const events = eventsOf(ref);
        await heard(ref);
        await ref.ask('count', 500);
        for await (const [n] of events) {
          if (n >= 0) seen.push(n);
          if (n === 499) break;
        }
      });
      assert.deepEqual(seen, Array.from({ length: 500 }, (_, i) => i));
      assert.equal(ref.listenerCount('changed'), 0);
      await heard(ref, false);
    });
    test('an error the actor emits, and a signal', async () => {
      const ref = node.client.actor('shop/Counter', `${what}-errors`);
      const events = eventsOf(ref);
      await heard(ref);
      const failed = (async () => { for await (const _ of events); })();
      ref.emit('fail');
      await assert.rejects(failed, { name: 'RangeError', message: 'wrong' });
      const control = new AbortController();
      const aborted = (async () => { for await (const _ of eventsOf(ref, { signal: control.signal })); })();
      control.abort();
      await assert.rejects(aborted, { name: 'AbortError' });
      await heard(ref, false);
    });
    test('a subscription that is refused', async () => {
      const ref = node.client.actor('nobody/Counter', 'a');
      await assert.rejects(async () => { for await (const _ of eventsOf(ref)); }, { code: 'ENOACTOR' });
    });
    test('the client is closed', async () => {
      const client = await connect({ socket: node.socket });
      const events = eventsOf(client.actor('shop/Counter', 'closing'), { close: [closed] });
      const next = events.next();
      await client.close();
      assert.deepEqual(await next, { value: undefined, done: true });
    });
  });
}

test('events.once', async () => {
  const ref = node.client.actor('shop/Counter', 'once');
  const changed = once(ref, 'changed');
  ref.emit('count', 1);
  assert.deepEqual(await changed, [0]);
});

test('more than the limit', async () => {
  const ref = node.client.actor('shop/Counter', 'limit');
  const events = ref.events('changed', { limit: 10 });
  await heard(ref);
  await ref.ask('count', 100);
  await assert.rejects(async () => { for await (const _ of events); }, { code: 'EOVERLOAD' });
  await heard(ref, false);
});

test('events.on with a highWaterMark: unsubscribed while that much waits', async () => {
  const ref = node.client.actor('shop/Counter', 'water');
  const events = on(ref, 'changed', { highWaterMark: 10, lowWaterMark: 5 });
  await heard(ref);
  await ref.ask('count', 100);
  await heard(ref, false);
  const waiting = [];
  while ((await events.next()).value[0] !== 9) waiting.push(0); // what was kept, in its order; then it is subscribed again
  await heard(ref);
  await events.return();
  await heard(ref, false);
});

test('await using', async () => {
  const client = await connect({ socket: node.socket });
  {
    await using own = client;
    await using events = own.actor('shop/Counter', 'using').events('changed');
    await heard(node.client.actor('shop/Counter', 'using'));
    assert.equal(events[Symbol.asyncIterator](), events);
  }
  await assert.rejects(client.actor('shop/Counter', 'using').ask('count', 1), { code: 'ECLOSED' });
  await heard(node.client.actor('shop/Counter', 'using'), false);
});
