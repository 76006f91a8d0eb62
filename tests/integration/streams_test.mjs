// SPDX-License-Identifier: Apache-2.0
//
// Byte streams between actors, on two nodes: what goes in comes out, in order, with no more on its way than was granted; and whatever ends
// one end, the other is told.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctlOk, killHost, until } from './cluster.mjs';

const script = `
  import { actor } from 'isola';
  const pattern = (from, n) => { const b = new Uint8Array(n); for (let i = 0; i < n; i++) b[i] = ((from + i) * 7 + ((from + i) >> 8)) & 255; return b; };
  const held = {};
  export default (self) => {
    let sent = 0, error, state = 'open';
    self.on('address', () => self.address);
    // Writes so many bytes, in chunks of so many.
    const fill = async (writable, n, chunk) => {
      const writer = writable.getWriter();
      try {
        for (let at = 0; at < n; at += chunk) {
          await writer.ready;
          const bytes = pattern(at, Math.min(chunk, n - at));
          await writer.write(bytes);
          sent += bytes.length;
        }
        await writer.close();
        state = 'closed';
      } catch (e) { error = e; }
    };
    self.on('download', (n, chunk = 50_000) => { const { readable, writable } = self.stream(); fill(writable, n, chunk); return readable; });
    self.on('sent', () => sent);
    self.on('state', () => state);
    self.on('error', () => error === undefined ? undefined : { code: error.code, message: String(error.message ?? error) });
    const check = async (readable) => {
      let n = 0;
      for await (const chunk of readable) {
        const want = pattern(n, chunk.length);
        for (let i = 0; i < chunk.length; i++) if (chunk[i] !== want[i]) throw new Error('byte ' + (n + i) + ' is wrong');
        n += chunk.length;
      }
      return n;
    };
    self.on('get', async (from, n, chunk) => check(await actor(from).ask('download', n, chunk)));
    self.on('many', async (from, times, n) => {
      const all = [];
      for (let i = 0; i < times; i++) all.push(actor(from).ask('download', n).then(check));
      return Promise.all(all);
    });
    // The other way round: it is given an end to write to, or gives one away.
    self.on('upload', (readable) => check(readable));
    self.on('sink', () => { const { readable, writable } = self.stream(); held.n = check(readable).catch((e) => { error = e; }); return writable; });
    self.on('sunk', () => held.n);
    self.on('put', async (to, n, chunk = 30_000) => { const { readable, writable } = self.stream(); fill(writable, n, chunk); return actor(to).ask('upload', readable); });
    self.on('pour', async (to, n, chunk = 30_000) => { await fill(await actor(to).ask('sink'), n, chunk); if (error) throw error; return actor(to).ask('sunk'); });
    // A slow reader: takes a chunk when it is told to.
    self.on('hold', async (from, n) => { held.reader = (await actor(from).ask('download', n)).getReader(); });
    self.on('next', async () => { const { value, done } = await held.reader.read(); return done ? undefined : value.length; });
    self.on('cancel', (reason) => held.reader.cancel(reason));
    self.on('rest', async () => { let n = 0; for (;;) { const { value, done } = await held.reader.read(); if (done) return n; n += value.length; } });
    self.on('wait', async () => { try { await held.reader.read(); return 'more'; } catch (e) { return { code: e.code, message: e.message ?? e }; } });
    // In between.
    self.on('relay', (from, n) => actor(from).ask('download', n));
    self.on('upper', async (from) => (await actor(from).ask('text')).pipeThrough(new TextDecoderStream()).pipeThrough(new TransformStream({
      transform(chunk, controller) { controller.enqueue(chunk.toUpperCase()); } })).pipeThrough(new TextEncoderStream()));
    self.on('text', async () => { const { readable, writable } = self.stream(); const w = writable.getWriter(); (async () => { await w.write('grüße '); await w.write(new TextEncoder().encode('dich').buffer); await w.close(); })(); return readable; });
    self.on('shout', async (via, from) => new Response(await actor(via).ask('upper', from)).text());
    self.on('response', () => new Response('a body').body);
    self.on('body', async (from) => new Response(await actor(from).ask('response')).text());
    self.on('local', async () => {
      const { readable, writable } = self.stream();
      const w = writable.getWriter(); const bytes = new Uint8Array([1, 2, 3]);
      const done = (async () => { await w.write(bytes); await w.write(bytes); await w.close(); })();
      const got = []; for await (const c of readable) got.push(...c);
      await done; return [got, bytes.length];
    });
    // Ends.
    self.on('aborts', () => { const { readable, writable } = self.stream(); const w = writable.getWriter(); (async () => { await w.write('x'); await w.abort(Object.assign(new Error('enough'), { code: 'EMINE' })); })().catch(() => {}); return readable; });
    self.on('open', () => { const { readable, writable } = self.stream(); const w = writable.getWriter(); held.writer = w; w.write('x').catch(() => {}); w.closed.catch((e) => { error = e; }); return readable; });
    self.on('take', async (from, event = 'open') => { held.reader = (await actor(from).ask(event)).getReader(); });
    self.on('taken', async () => { const c = await held.reader.read(); return c.done ? 'done' : new TextDecoder().decode(c.value); });
    self.on('twice', () => { const { readable } = self.stream(); const to = actor('s/I/nobody'); to.emit('upload', readable); to.emit('upload', readable); });
    self.on('together', async (to) => { const { readable } = self.stream(); const e = []; try { await actor(to).ask('upload', [readable, () => 1]); } catch (x) { e.push(x.code); } return [e, readable.locked]; });
    self.on('store', () => { self.state.s = self.stream().readable; });
    self.on('publish', () => { self.emit('news', self.stream().readable); });
    self.on('durable', (to) => actor(to).ask('upload', self.stream().readable, { durable: true }));
    self.on('clone', () => { try { structuredClone(self.stream().readable); } catch (e) { return e.name; } });
    self.on('wrong', () => { const { readable, writable } = self.stream(); const w = writable.getWriter(); w.write(5).catch((e) => { error = e; }); return readable; });
    self.on('forge', (to, ...args) => { actor(to).emit('\\x01stream', ...args); });
    self.on('crash', () => { setTimeout(() => { throw new Error('ouch'); }); });
  };`;
const app = { 'isola.json': { name: 's', actors: { I: { module: './a.js' }, S: { module: './a.js', isolation: 'shared' }, H: { module: './a.js', hibernateAfter: '200ms' } } }, 'a.js': script };

const cluster = new Cluster();
let one, two;
before(async () => {
  one = await cluster.node('one');
  two = await cluster.node('two', one);
  await cluster.deploy(one, 's', app);
  await cluster.deploy(one, 'q', { 'isola.json': { name: 'q', permissions: { apps: ['s'] }, actors: { I: { module: './a.js' } } }, 'a.js': script });
});
after(() => cluster.end());

let keys = 0;
/** The address of a new actor that lives on that node. */
async function on(node, type = 'I', of = 's') {
  for (;;) {
    const address = `${of}/${type}/k${keys++}`;
    await node.client.actor(address).ask('address');
    if ((await actors(node, of)).find((a) => a.address === address).node === node.name) return address;
  }
}
const ask = (address, ...args) => one.client.actor(address).ask(...args);
const MB = 1 << 20;

describe('bytes', () => {
  for (const type of ['I', 'S']) {
    test(`arrive as they were written, in every direction (${type})`, async () => {
      for (const [a, b] of [[await on(one, type), await on(two, type)], [await on(one, type), await on(one, type)]]) {
        assert.equal(await ask(a, 'get', b, 5 * MB), 5 * MB, 'in an answer');
        assert.equal(await ask(b, 'get', a, 300_001, 200_000), 300_001);
        assert.equal(await ask(a, 'get', b, 20_000, 7), 20_000, 'of many small chunks');
        assert.equal(await ask(a, 'get', b, 0), 0, 'none');
        assert.equal(await ask(a, 'put', b, 3 * MB), 3 * MB, 'in a message');
        assert.equal(await ask(a, 'pour', b, 3 * MB), 3 * MB, 'into an end that was given');
      }
    });
  }

  test('of many streams at once', async () => {
    const [a, b] = [await on(one), await on(two)];
    assert.deepEqual(await ask(a, 'many', b, 150, 100_000), Array(150).fill(100_000));
  });

  test('are no more on their way than was granted, however slow the reader', async () => {
    const [a, b] = [await on(one), await on(two)];
    await ask(a, 'hold', b, 20 * MB);
    assert.equal(await ask(a, 'next'), 50_000);
    let before = -1;
    const sent = await until('the writer waits', async () => {
      const now = await ask(b, 'sent');
      const same = now === before && now > 0;
      before = now;
      return same ? now : 0;
    });
    assert.ok(sent <= 50_000 + 256 * 1024, `${sent} bytes were sent to a reader that had taken 50000`);
    assert.equal(await ask(b, 'state'), 'open');
    assert.equal(await ask(a, 'rest') + 50_000, 20 * MB);
    await until('the writer has closed', async () => await ask(b, 'state') === 'closed');
  });

  test('go through those in between', async () => {
    const [a, b, c] = [await on(one), await on(two), await on(one)];
    await ask(a, 'address');
    assert.equal(await ask(c, 'shout', b, a), 'GRÜSSE DICH');
    assert.equal(await ask(c, 'body', b), 'a body');
    assert.deepEqual(await ask(c, 'local'), [[1, 2, 3, 1, 2, 3], 3]);
  });
});

test('an end may be used by whom it was given to, in an app that may send nothing back too', async () => {
  for (const node of [one, two]) {
    const [a, b] = [await on(one, 'I', 'q'), await on(node)]; // q may send to s, and s to nobody else
    await assert.rejects(ask(b, 'get', a, 1), (e) => e.code === 'EPERM');
    assert.equal(await ask(a, 'get', b, 500_000), 500_000);
    assert.equal(await ask(a, 'put', b, 500_000), 500_000);
    assert.equal(await ask(a, 'pour', b, 500_000), 500_000);
  }
});

describe('the end of one', () => {
  test('has the reason the writer gave', async () => {
    const [a, b] = [await on(one), await on(two)];
    await ask(a, 'take', b, 'aborts');
    let told;
    do told = await ask(a, 'wait'); while (told === 'more');
    assert.deepEqual(told, { code: 'EMINE', message: 'enough' });
  });

  test('has the reason the reader gave', async () => {
    const [a, b] = [await on(one), await on(two)];
    await ask(a, 'take', b);
    assert.equal(await ask(a, 'taken'), 'x');
    await ask(a, 'cancel', 'no more');
    assert.equal((await until('the writer is told', () => ask(b, 'error'))).message, 'no more');
  });

  test('is told when the other activation ends', async () => {
    for (const how of ['stop', 'crash']) {
      const [a, b] = [await on(one), await on(two)];
      await ask(a, 'take', b);
      assert.equal(await ask(a, 'taken'), 'x');
      const told = ask(a, 'wait');
      if (how === 'stop') await ctlOk(one, 'stop', b);
      else await ask(b, 'crash');
      assert.equal((await told).code, 'ECANCELED', how);
      // And the writer, of its reader.
      const [c, d] = [await on(one), await on(two)];
      await ask(c, 'take', d);
      if (how === 'stop') await ctlOk(one, 'stop', c);
      else await ask(c, 'crash');
      assert.equal((await until('the writer is told', () => ask(d, 'error'))).code, 'ECANCELED', how);
    }
  });

  test('is told when the other actor-host is killed', async () => {
    const [a, b, c, d] = [await on(one), await on(two), await on(one), await on(two)];
    await ask(a, 'take', b);
    assert.equal(await ask(a, 'taken'), 'x');
    await ask(d, 'take', c);
    const told = ask(a, 'wait');
    await killHost(two);
    assert.equal((await told).code, 'EUNREACHABLE');
    assert.equal((await until('the writer is told', () => ask(c, 'error'))).code, 'EUNREACHABLE');
  });
});

describe('what is refused', () => {
  test('is said, and leaves the stream as it was', async () => {
    const [a, b] = [await on(one), await on(two)];
    for (const [event, ...args] of [['store'], ['durable', b]]) await assert.rejects(ask(a, event, ...args), (e) => /stream/.test(e.message), event);
    assert.equal(await ask(a, 'clone'), 'DataCloneError');
    assert.deepEqual(await ask(a, 'together', b), [['ECLONE'], false], 'what was not sent is not locked');
    await assert.rejects(ask(a, 'twice'), (e) => e.code === 'ECLONE' && /locked/.test(e.message));
    await ask(b, 'take', a, 'wrong');
    assert.match((await until('the writer is told', () => ask(a, 'error'))).message, /takes bytes/);
  });

  test('no script can say what streams say', async () => {
    const [a, b] = [await on(one), await on(two)];
    await assert.rejects(ask(a, 'forge', b, 'x', 1), (e) => e.code === 'EINVAL');
  });
});

test('an actor with an open stream does not hibernate', async () => {
  const [a, b] = [await on(one, 'H'), await on(two, 'H')];
  const idle = await on(one, 'H');
  await ask(a, 'take', b);
  await until('another has hibernated', async () => !(await actors(one, 's')).some((x) => x.address === idle));
  const there = (await actors(one, 's')).map((x) => x.address);
  assert.ok(there.includes(a) && there.includes(b));
  assert.equal(await ask(a, 'taken'), 'x');
  await ask(a, 'cancel', 'over');
  await until('they hibernate', async () => { const left = (await actors(one, 's')).map((x) => x.address); return !left.includes(a) && !left.includes(b); });
});
