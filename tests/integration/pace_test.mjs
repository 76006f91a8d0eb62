// SPDX-License-Identifier: Apache-2.0
//
// A slow receiver slows its senders, wherever they are, and nobody else: emit returns false, 'drain' follows, nothing is lost.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, deadLetters, nodes, until } from './cluster.mjs';

const files = {
  'isola.json': {
    name: 'pace',
    actors: {
      Slow: { module: './slow.js', mailbox: 100 },
      SlowShared: { module: './slow.js', isolation: 'shared', mailbox: 100 },
      Large: { module: './slow.js', mailboxBytes: '1MB' },
      Sender: { module: './sender.js' },
      Quick: { module: './quick.js' },
      Ledger: { module: './ledger.js' },
    },
  },
  'slow.js': `export default (self) => {
    const got = [];
    self.on('work', async (i, payload) => { got.push(i); if (got.length % 10 === 0) await new Promise((done) => setTimeout(done, 5)); });
    self.on('got', () => got);
  };`,
  'ledger.js': `export default (self) => {
    const got = [];
    self.on('work', (i) => { got.push(i); });
    self.on('got', () => got);
  };`,
  'quick.js': "export default (self) => { self.on('ping', () => 'pong'); };",
  'sender.js': `import { once } from 'isola-once';
  import { actor } from 'isola';
  export default (self) => {
    self.on('flood', async (to, n, bytes) => {
      const ref = actor(to), payload = bytes ? new Uint8Array(bytes) : undefined;
      let waits = 0, drains = 0;
      ref.on('drain', () => drains++);
      for (let i = 0; i < n; i++) {
        if (ref.emit('work', i, payload)) continue;
        waits++;
        await once(ref, 'drain');
      }
      return { waits, drains };
    });
    self.on('flood durably', async (to, n, listens) => {
      const ref = actor(to);
      let waits = 0, drains = 0;
      if (listens) ref.on('drain', () => drains++);
      for (let i = 0; i < n; i++) {
        if (ref.emit('work', i, { durable: true })) continue;
        waits++;
        if (!listens && waits % 2 === 0) await actor('pace/Quick/x').ask('ping'); // there may be room already
        await once(ref, 'drain');
      }
      return { waits, drains };
    });
    self.on('ping', async (to, n) => {
      const ref = actor(to);
      for (let i = 0; i < n; i++) await ref.ask('ping');
    });
  };`.replace("import { once } from 'isola-once';", "import { once } from 'node:events';"),
};

describe('a slow receiver', () => {
  const cluster = new Cluster();
  let one, two;
  const on = async (name, type) => until(`a ${type} on ${name}`, async () => {
    for (let i = 0; i < 24; i++) await one.client.actor(`pace/${type}`, `k${i}`).ask(type === 'Quick' ? 'ping' : type === 'Sender' ? 'ping' : 'got', ...(type === 'Sender' ? ['pace/Quick/x', 0] : []));
    return (await actors(one, 'pace')).find((a) => a.node === name && a.address.startsWith(`pace/${type}/`))?.address;
  });

  before(async () => {
    one = await cluster.node('one');
    two = await cluster.node('two', one);
    await until('both are up', async () => (await nodes(one)).filter((n) => n.state === 'up').length === 2);
    await cluster.deploy(one, 'pace', files);
  });
  after(() => cluster.end());

  for (const [type, where, n, bytes] of [['Slow', 'two', 2000], ['Slow', 'one', 2000], ['SlowShared', 'two', 2000], ['Large', 'two', 200, 30_000]]) {
    test(`${type} on ${where} gets all of ${n}, in order`, async () => {
      const sender = await on('one', 'Sender'), slow = await on(where, type);
      const ask = (address, ...args) => { const [app, t, key] = address.split('/'); return one.client.actor(`${app}/${t}`, key).ask(...args, { timeout: 60_000 }); };
      const before = (await ask(slow, 'got')).length;
      const { waits, drains } = await ask(sender, 'flood', slow, n, bytes);
      assert.ok(waits > 0 && waits < n, `it waited ${waits} times`);
      assert.ok(drains >= waits);
      const got = (await until('all have come', async () => {
        const letters = await deadLetters(one, 'pace');
        assert.deepEqual(letters, []);
        const all = await ask(slow, 'got');
        return all.length >= before + n ? all : undefined;
      })).slice(before);
      assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
    });
  }

  for (const where of ['one', 'two']) {
    test(`on ${where}: durable emits wait for the outbox, and go on`, async () => {
      const n = 4000, sender = await on('one', 'Sender'), ledger = await on(where, 'Ledger');
      let sent = 0;
      for (const listens of [true, false]) {
        const { waits, drains } = await one.client.actor(sender).ask('flood durably', ledger, n, listens, { timeout: 60_000 });
        assert.ok(waits > 0 && waits < n / 100, `it waited ${waits} times`);
        if (listens) assert.ok(drains >= waits, `${drains} drains in ${waits} waits`);
        sent += n;
        const got = await until('all have come', async () => {
          const all = await one.client.actor(ledger).ask('got');
          return all.length >= sent ? all.slice(-n) : undefined;
        });
        assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
      }
    });
  }

  test('does not slow its neighbours behind the same link', async () => {
    const sender = await on('one', 'Sender'), slow = await on('two', 'Slow'), quick = await on('two', 'Quick');
    const ref = (address) => { const [app, t, key] = address.split('/'); return one.client.actor(`${app}/${t}`, key); };
    const other = await until('another sender', async () => {
      for (let i = 0; i < 8; i++) await one.client.actor('pace/Sender', `o${i}`).ask('ping', 'pace/Quick/x', 0);
      return (await actors(one, 'pace')).find((a) => a.node === 'one' && a.address.startsWith('pace/Sender/o'))?.address;
    });
    let over = false;
    const flood = ref(sender).ask('flood', slow, 3000, { timeout: 60_000 }).finally(() => { over = true; });
    await ref(other).ask('ping', quick, 50, { timeout: 60_000 });
    assert.ok(!over, 'asks of a neighbour are answered, one after the other, while it goes on');
    assert.ok((await flood).waits > 0);
  });

  test('that goes away does not leave its senders waiting', async () => {
    const sender = await on('one', 'Sender'), slow = await on('two', 'Slow');
    const [app, t, key] = sender.split('/');
    const flood = one.client.actor(`${app}/${t}`, key).ask('flood', slow, 3000, { timeout: 60_000 });
    const { host_pid: pid } = (await nodes(one)).find((n) => n.name === 'two');
    process.kill(pid, 'SIGKILL');
    assert.ok((await flood).waits >= 0);
  });
});
