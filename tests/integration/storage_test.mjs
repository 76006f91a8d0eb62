// SPDX-License-Identifier: Apache-2.0
//
// self.storage of actors of real nodes: what it answers, what it refuses, and that it is there again after hibernation, deaths and moves.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctlOk, killHost, killNode, logs, until } from './cluster.mjs';

const box = { module: './box.js' };
const app = {
  'isola.json': {
    name: 's',
    actors: { Own: { ...box, cpu: '60s' }, Shared: { ...box, isolation: 'shared', cpu: '60s' }, Short: { ...box, hibernateAfter: '20ms' }, Small: { ...box, output: '64KB' },
      Re: { ...box, reentrant: true }, Sink: { module: './sink.js' }, Class: { module: './class.js' } },
  },
  // `run` runs a text as code of the actor: what a test asks of storage stands in the test.
  'box.js': `
    import { actor } from 'isola';
    const Async = (async () => {}).constructor;
    let births = 0;
    export default (self) => {
      const born = ++births;
      self.on('run', async (code, ...args) => new Async('self', 'st', 'actor', 'args', code)(self, self.storage, actor, args));
      self.on('born', () => born);
    };`,
  'sink.js': `export default (self) => { self.on('add', (n) => { self.state.n = (self.state.n ?? 0) + n; return self.state.n; }); self.on('get', () => self.state.n ?? 0); };`,
  'class.js': `export default class {
    async onActivate() { await this.storage.put('born', ((await this.storage.get('born')) ?? 0) + 1); await this.storage.sync(); }
    async onHibernate() { await this.storage.put('slept', true); }
    storageOf() { return this.storage.list(); }
  }`,
};

/** The keys of all there is, with their values. */
const ALL = 'return Object.fromEntries(await st.list())';

const cluster = new Cluster();
let node;
before(async () => {
  node = await cluster.node('one', undefined, ['--threads', '2']);
  await cluster.deploy(node, 's', app);
});
after(() => cluster.end());

let keys = 0;
/** A new actor: runs code in it. */
const fresh = (type) => {
  const ref = node.client.actor(`s/${type}`, `k${++keys}`);
  const run = (code, ...args) => ref.ask('run', code, ...args, { timeout: 60_000 });
  run.address = ref.address;
  run.ref = ref;
  return run;
};

for (const type of ['Own', 'Shared']) {
  describe(`in an isolate ${type === 'Own' ? 'of its own' : 'that is shared'}`, () => {
    test('what was put is got, and what was deleted is not', async () => {
      const run = fresh(type);
      assert.equal(await run(`return st.get('a')`), undefined);
      assert.deepEqual(await run(`await st.put('a', { x: [1, new Map([[1, 2n]])] }); await st.put('b', null); return [await st.get('a'), await st.get('b')]`), [{ x: [1, new Map([[1, 2n]])] }, null]);
      assert.deepEqual(await run(`return [await st.get('a'), await st.get('b'), await st.get('c')]`), [{ x: [1, new Map([[1, 2n]])] }, null, undefined]);
      assert.deepEqual(await run(`return [await st.delete('a'), await st.delete('a'), await st.delete('c'), await st.get('a')]`), [true, false, false, undefined]);
      assert.deepEqual(await run(`await st.put('d', 1); return [await st.deleteMany(['b', 'd', 'd', 'x']), await st.deleteMany([])]`), [2, 0]);
      assert.deepEqual(await run(ALL), {});
    });

    test('many at once', async () => {
      const run = fresh(type);
      await run(`await st.putMany({ b: 2, a: 1 }); await st.putMany(new Map([['d', 4]])); await st.putMany([['c', 3]])`);
      assert.deepEqual(await run(`await st.put('e', 5); return st.getMany(['e', 'x', 'a', 'c', 'a'])`), new Map([['e', 5], ['a', 1], ['c', 3]]));
      assert.deepEqual(await run(`return st.getMany(new Set(['b']))`), new Map([['b', 2]]));
      assert.deepEqual(await run(`return st.getMany([])`), new Map());
      assert.deepEqual(await run(`await st.putMany([['y', 1], ['z', () => {}]]).catch(() => {}); return (await st.list({ start: 'y' })).size`), 0);
    });

    test('a list is in the order of the bytes of UTF-8', async () => {
      const run = fresh(type);
      const names = ['\0', 'A', 'a', 'a\0', 'a/1', 'a/10', 'a/2', 'b', 'é', '\uffee', '\u{1f600}'];
      await run(`for (const k of args[0].toReversed()) st.put(k, k)`, names);
      const keysOf = (options) => run('return [...(await st.list(args[0])).keys()]', options);
      assert.deepEqual(await keysOf({}), names);
      assert.deepEqual(await keysOf({ reverse: true }), names.toReversed());
      assert.deepEqual(await keysOf({ prefix: 'a/' }), ['a/1', 'a/10', 'a/2']);
      assert.deepEqual(await keysOf({ prefix: 'a/', startAfter: 'a/1', end: 'a/2' }), ['a/10']);
      assert.deepEqual(await keysOf({ start: 'a/1', end: 'b', limit: 2 }), ['a/1', 'a/10']);
      assert.deepEqual(await keysOf({ start: 'a/1', end: 'b', limit: 2, reverse: true }), ['a/2', 'a/10']);
      assert.deepEqual(await keysOf({ prefix: '\u{1f600}' }), ['\u{1f600}']);
      assert.deepEqual(await keysOf({ prefix: 'zz' }), []);
      assert.deepEqual(await keysOf({ end: '' }), []);
      assert.deepEqual(await keysOf({ start: 'b', end: 'a' }), []);
      assert.deepEqual(await keysOf({ start: 'z', prefix: 'a' }), []);
      // what this turn has changed is laid over it
      assert.deepEqual(await run(`st.put('a/11', 0); st.delete('a/1'); return [...(await st.list({ prefix: 'a/', limit: 2 })).keys()]`), ['a/10', 'a/11']);
    });

    test('entries are read in pages', async () => {
      const run = fresh(type);
      await run(`for (let i = 0; i < 3500; i++) st.put('k' + String(i).padStart(4, '0'), i)`);
      const sums = await run(`
        st.delete('k0001'); st.put('k9999', 1);
        const of = async (options) => { let n = 0, sum = 0, last; for await (const [k, v] of st.entries(options)) { n++; sum += v; last = k; } return [n, sum, last]; };
        return [await of(), await of({ reverse: true }), await of({ limit: 1500 }), await of({ prefix: 'k00', limit: 5 }), (await st.list()).size, (await st.list({ limit: 2500 })).size]`);
      assert.deepEqual(sums, [[3500, 3499 * 1750 - 1 + 1, 'k9999'], [3500, 3499 * 1750, 'k0000'], [1500, 1500 * 1501 / 2 - 1, 'k1500'], [5, 14, 'k0005'], 3500, 2500]);
      // what is large comes in several pages, too
      assert.deepEqual(await run(`
        const big = new Uint8Array(700_000);
        for (let i = 0; i < 8; i++) { big[0] = i; st.put('x' + i, big); }
        await st.sync();
        st.delete('x2'); st.put('x2', new Uint8Array([2])); st.put('x7a', [8]); st.put('x', [9]);
        const back = []; for await (const [, v] of st.entries({ prefix: 'x', reverse: true })) back.push(v[0]);
        return [back, [...(await st.list({ prefix: 'x' })).values()].map((v) => v[0])]`), [[8, 7, 6, 5, 4, 3, 2, 1, 0, 9], [9, 0, 1, 2, 3, 4, 5, 6, 7, 8]]);
    });

    test('a value is as it was when it was put', async () => {
      const run = fresh(type);
      assert.deepEqual(await run(`const v = { n: 1 }; st.put('v', v); v.n = 2; const got = await st.get('v'); got.n = 3; return [got, await st.get('v')]`), [{ n: 3 }, { n: 1 }]);
      assert.deepEqual(await run(`const ref = actor('s/Sink/of-${type}'); st.put('ref', ref); await st.sync(); return (await st.get('ref')).ask('add', 1)`), 1);
    });

    test('a hundred thousand in one turn', async () => {
      const run = fresh(type);
      assert.equal(await run(`for (let i = 0; i < 100_000; i++) st.put('key' + i, i); return st.get('key99999')`), 99_999);
      assert.equal(await run(`let n = 0; for await (const [k, v] of st.entries()) n += v; return n`), 99_999 * 50_000);
      assert.deepEqual(await run(`await st.deleteAll(); st.put('one', 1); return [...await st.list()]`), [['one', 1]]);
      assert.deepEqual(await run(ALL), { one: 1 });
    });
  });
}

test('what cannot be is refused in clear words', async () => {
  const run = fresh('Own');
  const refused = async (code, name, message) => {
    const said = await run(`try { ${code}; } catch (e) { return [e.code ?? e.name, e.message]; }`);
    assert.equal(said?.[0], name, code);
    assert.match(said[1], message, code);
  };
  for (const call of ['get(X)', 'put(X, 1)', 'delete(X)', 'getMany([X])', 'putMany([[X, 1]])', 'deleteMany([X])']) {
    await refused(`await st.${call.replace('X', '1')}`, 'TypeError', /a key is a string, not number/);
    await refused(`await st.${call.replace('X', 'undefined')}`, 'TypeError', /not undefined/);
    await refused(`await st.${call.replace('X', `''`)}`, 'TypeError', /a key is not empty/);
    await refused(`await st.${call.replace('X', `'\\ud800'`)}`, 'TypeError', /well-formed/);
    await refused(`await st.${call.replace('X', `'é'.repeat(1025)`)}`, 'ETOOBIG', /2,048 bytes of UTF-8; this one has 2050/);
  }
  assert.equal(await run(`st.put('é'.repeat(1024), 1); return st.get('é'.repeat(1024))`), 1);
  await refused(`await st.put('a')`, 'TypeError', /undefined cannot be stored/);
  await refused(`await st.putMany({ a: undefined })`, 'TypeError', /undefined cannot be stored/);
  await refused(`await st.put('a', { b: [() => 1] })`, 'ECLONE', /^value\.b\[0\]: /);
  await refused(`await st.put('a', { s: self.stream().readable })`, 'ECLONE', /^value\.s: /);
  await refused(`await st.put('a', new Uint8Array(16 * 1024 * 1024))`, 'ETOOBIG', /more than 16 MB to save/);
  await refused(`await st.putMany(5)`, 'TypeError', /a Map, an array/);
  await refused(`await st.putMany([5])`, 'TypeError', /each entry is \[key, value\]/);
  await refused(`await st.getMany('abc')`, 'TypeError', /keys are an array/);
  await refused(`await st.getMany({})`, 'TypeError', /iterable/);
  await refused(`await st.list('a')`, 'TypeError', /is an object/);
  await refused(`await st.list(null)`, 'TypeError', /is an object/);
  await refused(`await st.list({ Limit: 1 })`, 'TypeError', /no option "Limit"/);
  await refused(`await st.list({ prefix: 1 })`, 'TypeError', /prefix is a string, not number/);
  await refused(`await st.list({ start: 'a', startAfter: 'b' })`, 'TypeError', /exclude each other/);
  for (const limit of ['0', '-1', '1.5', 'NaN', `'3'`]) await refused(`await st.list({ limit: ${limit} })`, 'TypeError', /limit is a whole number/);
  await refused(`await st.list({ reverse: 1 })`, 'TypeError', /true or false/);
  await refused(`for await (const x of st.entries({ limit: 0 }));`, 'TypeError', /limit/);
  await refused(`await st.transaction()`, 'TypeError', /fn is a function/);
  await refused(`Object.getPrototypeOf(st).sync.call({})`.replace(/^/, 'await '), 'TypeError', /./);
  // what a script does to the ground it stands on hurts itself alone
  assert.equal(await fresh('Own')(`
    Map.prototype.get = Array.prototype.push = Array.prototype[Symbol.iterator] = () => { throw new Error('mine'); };
    await st.put('a', 1);
    await st.sync();
    await st.transaction(async (t) => { await t.put('b', 2); });
    return (await st.list()).size + await st.get('a') + await st.delete('b')`), 4);
});

test('what a turn sends waits for what it has put, and a crash takes back both', async () => {
  const run = fresh('Own'), sink = node.client.actor('s/Sink', 'gate');
  await run(`st.put('n', 1); actor('s/Sink/gate').emit('add', 1, { durable: true })`);
  await until('it has come', async () => (await sink.ask('get')) === 1);
  const born = await run.ref.ask('born');
  run.ref.emit('run', `st.put('n', 2); actor('s/Sink/gate').emit('add', 10, { durable: true }); throw new Error('oh')`);
  await until('it has crashed', async () => (await run.ref.ask('born')) !== born || (await logs(node, run.address)).some((l) => /oh/.test(l)));
  assert.deepEqual(await run(ALL), { n: 1 });
  assert.equal(await sink.ask('get'), 1);
  // an error that answers is none: what was put stays, as state does
  await assert.rejects(run(`st.put('n', 3); throw new Error('no')`), { message: 'no' });
  assert.deepEqual(await run(ALL), { n: 3 });
});

test('there is a bound to what waits to be saved', async () => {
  const run = fresh('Small');
  const said = await run(`const big = 'x'.repeat(10_000); try { for (let i = 0; i < 10; i++) await st.put('k' + i, big); } catch (e) { return [e.code, e.message]; }`);
  assert.equal(said[0], 'EOVERLOAD');
  assert.match(said[1], /limit "output".*sync/);
  assert.equal(await run(`const big = 'x'.repeat(10_000); for (let i = 0; i < 30; i++) { await st.put('k' + i, big); if (i % 5 === 4) await st.sync(); } return (await st.list()).size`), 30);
  assert.equal(await fresh('Own')(`st.put('a', 1); await st.sync(); const all = []; for (let i = 0; i <= 10_000; i++) all.push(st.get('b' + i)); return Promise.all(all).then(() => 'all', (e) => e.code)`), 'EOVERLOAD');
});

describe('transactions', () => {
  test('are all or nothing', async () => {
    const run = fresh('Own');
    await run(`await st.putMany({ a: 1, b: 2 })`);
    assert.equal(await run(`return st.transaction(async (t) => { await t.put('a', 10); await t.delete('b'); await t.putMany({ c: 3 }); return (await t.get('a')) + (await t.list()).size; })`), 12);
    assert.deepEqual(await run(ALL), { a: 10, c: 3 });
    assert.equal(await run(`return st.transaction(async (t) => { await t.put('a', 0); await st.put('c', 0); await t.deleteMany(['c']); throw new Error('no'); }).catch((e) => e.message)`), 'no');
    assert.deepEqual(await run(ALL), { a: 10, c: 3 });
    assert.equal(await run(`return st.transaction(async (t) => { await t.put('a', 0); t.rollback(); await t.put('a', 1).catch((e) => { if (e.code !== 'ECLOSED') throw e; }); return 5; })`), 5);
    assert.deepEqual(await run(`const v = await st.get('a'); return [v, await st.transaction(() => 7)]`), [10, 7]);
    assert.equal(await run(`let kept; await st.transaction((t) => { kept = t; }); return kept.get('a').catch((e) => e.code)`), 'ECLOSED');
  });

  test('do not nest, and go on after waits', async () => {
    const run = fresh('Own');
    assert.equal(await run(`return st.transaction(async () => st.transaction(async () => 1)).catch((e) => e.message)`), 'a transaction cannot begin within another: what it is to do belongs to that one');
    assert.equal(await run(`return st.transaction(async () => st.deleteAll()).catch((e) => e.code)`), 'EINVAL');
    assert.deepEqual(await run(`
      await st.put('n', 0);
      await st.transaction(async (t) => {
        await t.put('n', 1);
        await new Promise((done) => setTimeout(done, 5));
        await actor('s/Sink/txn').ask('add', 1);
        await st.put('m', (await st.get('n')) + 1);
      });
      return [await st.get('n'), await st.get('m')]`), [1, 2]);
    // a getter that a value is encoded with cannot slip one in
    assert.deepEqual(await run(`await st.putMany([['g', { get x() { st.transaction(() => st.put('h', 1)).catch(() => {}); return 1; } }]]); return Object.fromEntries(await st.list({ start: 'g', end: 'i' }))`), { g: { x: 1 } });
  });

  test('one at a time: what does not belong to one waits for its end, in its order', async () => {
    const run = fresh('Re');
    await run(`await st.put('n', 1)`);
    const first = run(`return st.transaction(async (t) => { globalThis.open = true; await t.put('n', 2); await new Promise((go) => { globalThis.go = go; }); await t.put('n', (await t.get('n')) + 1); throw new Error('no'); }).catch((e) => e.message)`);
    await until('it is open', () => run('return globalThis.open === true'));
    const order = run(`
      const value = { v: 1 }, log = [];
      const note = (what) => (x) => { log.push([what, x]); };
      const all = [st.get('n').then(note('get')), st.put('n', value).then(note('put')), st.transaction(async (t) => { const n = await t.get('n'); await t.put('n', 5); return n; }).then(note('transaction')),
        st.get('n').then(note('get')), st.put('n', 6).then(note('put')), st.list().then((m) => note('list')(m.get('n'))), st.delete('n').then(note('delete'))];
      value.v = 2;
      globalThis.waits = true;
      await Promise.all(all);
      return log`);
    await until('it waits', () => run('return globalThis.waits === true'));
    await run('globalThis.go()');
    assert.equal(await first, 'no');
    assert.deepEqual((await order).map(([what, value]) => `${what} ${JSON.stringify(value)}`).sort(), ['delete true', 'get 1', 'get 5', 'list 6', 'put undefined', 'put undefined', 'transaction {"v":1}']);
    assert.deepEqual(await run(ALL), {});
    // counters of many at once lose nothing
    await Promise.all(Array.from({ length: 50 }, () => run(`return st.transaction(async (t) => { await t.put('c', ((await t.get('c')) ?? 0) + 1); })`)));
    assert.deepEqual(await run(ALL), { c: 50 });
  });
});

test('it is there after hibernation', async () => {
  const run = fresh('Short');
  assert.equal(await run(`await st.putMany({ a: 1, b: 2 }); return 1`), 1);
  await until('it sleeps', async () => !(await actors(node, 's')).some((a) => a.address === run.address));
  assert.deepEqual(await run(ALL), { a: 1, b: 2 });
  const ref = node.client.actor('s/Class', 'a');
  assert.deepEqual(await ref.ask('storageOf'), new Map([['born', 1]]));
  await ctlOk(node, 'stop', 's/Class/a');
  assert.deepEqual(await ref.ask('storageOf'), new Map([['born', 2], ['slept', true]]));
});

test('two actors do not see each other\'s', async () => {
  const a = fresh('Shared'), b = fresh('Shared');
  await a(`await st.put('x', 'a')`);
  await b(`await st.put('x', 'b'); await st.put('y', 1)`);
  await b(`await st.deleteMany(['y'])`);
  assert.deepEqual([await a(ALL), await b(ALL)], [{ x: 'a' }, { x: 'b' }]);
  await b(`await st.deleteAll()`);
  assert.deepEqual([await a(ALL), await b(ALL)], [{ x: 'a' }, {}]);
});

test('what was acknowledged is there when the actor-host is killed, and of a turn all or nothing', async () => {
  // what code of another actor puts is saved, too, though no turn of the one whose it is ends
  const a = fresh('Shared');
  await a('globalThis.box = st; return 1');
  await until('another is in the same isolate', () => fresh('Shared')(`if (globalThis.box === undefined) return false; await globalThis.box.put('x', 1); await globalThis.box.sync(); return true`));
  await killHost(node);
  assert.deepEqual(await until('it is back', () => a(ALL).catch((e) => { if (e.code !== 'EUNREACHABLE') throw e; })), { x: 1 });

  const N = 8;
  const refs = Array.from({ length: N }, (_, i) => node.client.actor(i % 2 ? 's/Own' : 's/Shared', `kill${i}`));
  const acknowledged = new Array(N).fill(0);
  const turn = `const n = ((await st.get('n')) ?? 0) + 1; st.put('n', n); await st.delete('copy' + (n - 1)); st.put('copy' + n, n); if (n % 3 === 0) await st.sync(); return n`;
  for (let round = 0; round < 3; round++) {
    let over = false;
    const sending = refs.map(async (ref, i) => {
      while (!over) {
        try {
          acknowledged[i] = await ref.ask('run', turn, { timeout: 20_000 });
        } catch (error) {
          assert.ok(['EUNREACHABLE', 'ETIMEDOUT'].includes(error.code), error.stack);
        }
      }
    });
    await until('all have some', () => acknowledged.every((n) => n > round * 5));
    await killHost(node);
    over = true;
    await Promise.all(sending);
    for (let i = 0; i < N; i++) {
      const all = await until(`${refs[i].address} is back`, () => refs[i].ask('run', ALL).catch((e) => { if (e.code !== 'EUNREACHABLE') throw e; }));
      assert.ok(all.n >= acknowledged[i], `${all.n} of ${acknowledged[i]}`);
      assert.deepEqual(all, { n: all.n, [`copy${all.n}`]: all.n });
    }
  }
});

describe('several nodes', () => {
  const several = new Cluster();
  after(() => several.end());
  test('it moves with its actor, and cannot be had while its node is down', async () => {
    const KEYS = 60;
    const east = await several.node('east');
    await several.deploy(east, 's', app);
    const ref = (i) => east.client.actor(i % 2 ? 's/Own' : 's/Shared', `m${i}`);
    const put = `await st.putMany({ a: args[0], b: 'x'.repeat(3000) }); return 1`;
    for (let i = 0; i < KEYS; i++) await ref(i).ask('run', put, i);
    const west = await several.node('west', east);
    const insist = (i, code) => until(`m${i} answers`, () => ref(i).ask('run', code).catch((e) => { if (e.code !== 'EUNREACHABLE') throw e; }));
    for (let i = 0; i < KEYS; i++) assert.deepEqual(await insist(i, ALL), { a: i, b: 'x'.repeat(3000) });
    const placed = new Map((await actors(east, 's')).map((a) => [a.address, a.node]));
    const there = Array.from({ length: KEYS }, (_, i) => i).filter((i) => placed.get(ref(i).address) === 'west');
    assert.ok(there.length > 5, 'some have moved');
    for (const i of there) await ref(i).ask('run', `await st.delete('b')`);
    await killNode(several, west);
    await until('it cannot be had', () => ref(there[0]).ask('run', ALL).then(() => false, (e) => e.code === 'EUNREACHABLE' && /west/.test(e.message)));
    const said = await until('others say so, too', () => ref(there[1]).ask('run', `return st.put('a', 1).catch((e) => [e.code, e.message])`).catch(() => undefined));
    assert.equal(said[0], 'EUNREACHABLE');
    assert.match(said[1], /west/);
    await several.node('west', east);
    for (const i of there) assert.deepEqual(await insist(i, ALL), { a: i });
  });
});
