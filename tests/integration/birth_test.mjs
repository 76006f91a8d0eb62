// SPDX-License-Identifier: Apache-2.0
//
// How actors begin: from a snapshot of their release, from V8's code kept of it, from source; that they are the same either way, that
// each fallback says why, and what becomes of what is kept when V8, its flags or the disk have changed.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, nodes, sanitized, until } from './cluster.mjs';

const cluster = new Cluster();
let node;
before(async () => { node = await cluster.node('one'); });
after(() => cluster.end());

const echo = `self.on('echo', (v) => v);`;
const row = async (address) => (await actors(node, address.split('/')[0])).find((a) => a.address === address);
const ask = (address, ...args) => { const [app, type, key] = address.split('/'); return node.client.actor(`${app}/${type}`, key).ask(...args); };

/** Deploys { type: code }, has the first actor of each prepare the rest, and waits for that. */
async function deploy(name, modules, more = {}) {
  const files = { 'isola.json': { name, actors: {} } };
  for (const [type, code] of Object.entries(modules)) {
    files['isola.json'].actors[type] = { module: `./${type}.js`, ...more };
    files[`${type}.js`] = code;
  }
  await cluster.deploy(node, name, files);
}
async function settled(address) {
  await until(`${address} is prepared`, async () => {
    const a = await row(address);
    return a !== undefined && a.start_reason !== 'its snapshot is being made';
  });
}

// 50 packages, near 400 KB.
function largeApp() {
  let text = '';
  for (let p = 0; p < 50; p++) {
    text += `const p${p} = (() => { const e = {}; const table = new Map(); class Thing { #v; constructor(v) { this.#v = v; } get v() { return this.#v; } }\n`;
    for (let f = 0; f < 60; f++) text += `e.f${f} = function f${f}(a, b) { let s = a + ${f}; for (let i = 0; i < b; i++) { s = (s * 31 + i) % 1000003; } return s; };\n`;
    text += `for (let i = 0; i < 200; i++) table.set('k' + i, { i, square: i * i }); e.table = table; e.Thing = Thing; return e; })();\n`;
  }
  const all = Array.from({ length: 50 }, (_, p) => `p${p}`).join(', ');
  return `${text}const all = [${all}];
    export default (self) => {
      self.on('echo', (v) => v);
      self.on('sum', () => all.reduce((s, p, i) => s + p.f7(i, 3) + p.table.get('k9').square + new p.Thing(i).v, 0));
    };`;
}

describe('a snapshot', () => {
  test('the same as an evaluated module', async () => {
    await deploy('same', {
      Fn: `import { actor, Actor, Ref } from 'isola';
        const key = Symbol('own'), shared = Symbol.for('shared'), map = new Map([['a', { n: 1 }]]), weak = new WeakMap([[map, 'weak']]);
        const bytes = new Uint8Array([1, 2, 3]), view = new DataView(bytes.buffer), date = new Date(77), re = /a(?<x>b+)/g, big = 10n ** 30n;
        class Private { #p = 5; static #count = 0; static { Private.made = ++Private.#count; } get p() { return this.#p; } }
        const thing = new Private(), proxy = new Proxy({}, { get: (_, n) => 'got ' + String(n) });
        function* gen() { yield 1; yield 2; }
        const late = await Promise.resolve('awaited');
        const ref = actor('same/Fn/other');
        const util = require('util'), { Buffer } = require('buffer'), EventEmitter = require('events'), { AsyncLocalStorage } = require('async_hooks');
        const url = new URL('http://h/p?q=r'), buffer = Buffer.from('hällo'), encoder = new TextEncoder(), storage = new AsyncLocalStorage();
        let calls = 0;
        queueMicrotask(() => { calls += 10; }); process.nextTick(() => { calls += 100; });
        export default (self) => {
          self.state.n ??= 0;
          self.on('all', async () => [
            ++calls, String(key), shared === Symbol.for('shared'), map.get('a').n, weak.get(map), [...bytes], view.getUint8(1), date.getTime(), 'xabbb'.replace(re, '$<x>'),
            big, thing.p, Private.made, proxy.foo, [...gen()], late, ref.address, self instanceof Actor, ref instanceof Ref, self instanceof EventEmitter,
            util.inspect(map), buffer.toString(), Buffer.isBuffer(buffer), encoder.encode('é').length, url.searchParams.get('q'), storage.run(3, () => storage.getStore()),
            (await import('isola')).actor === actor, (await import(String('util'))).default === util, new Date(5) instanceof Date, date.constructor === Date,
            structuredClone(map).get('a').n, import.meta.url, ++self.state.n,
          ]);
          self.on('fail', () => { throw new TypeError('from here'); });
          self.on('wait', () => new Promise((done) => setTimeout(() => done('waited'), 1)));
        };`,
      Class: `const made = []; export default class extends (class { base() { return 'base'; } }) {
        constructor() { super(); made.push(this.key); }
        who() { return [this.key, [...made], this.base(), Object.keys(this).length >= 0]; } }`,
    });
    const results = [];
    for (const key of ['1', '2']) {
      results.push(await ask(`same/Fn/${key}`, 'all'), await ask(`same/Class/${key}`, 'who'));
      await assert.rejects(ask(`same/Fn/${key}`, 'fail'), (e) => e.name === 'TypeError' && /from here/.test(e.message) && /Fn\.js:\d+/.test(e.stack));
      assert.equal(await ask(`same/Fn/${key}`, 'wait'), 'waited');
      await settled(`same/Fn/${key}`);
      await settled(`same/Class/${key}`);
    }
    assert.deepEqual(results[2], results[0]);
    assert.equal(results[0][0], 111);
    assert.deepEqual([results[1], results[3]], [['1', ['1'], 'base', true], ['2', ['2'], 'base', true]]);
    assert.equal((await row('same/Fn/1')).start, 'source');
    assert.equal((await row('same/Fn/1')).start_reason, 'its snapshot was not ready when it began');
    for (const address of ['same/Fn/2', 'same/Class/2']) {
      assert.equal((await row(address)).start, 'snapshot');
      assert.equal((await row(address)).start_reason, undefined);
    }
  });

  test('what a module offers is compiled in it, and has not run', async () => {
    await deploy('ran', {
      Fn: `let ran = 0; const mark = () => { ran++; }; export default (self, given = mark()) => { mark(); self.on('ran', () => ran); };`,
      Class: `let ran = 0; const mark = () => { ran++; }; export default class { field = mark(); constructor() { mark(); } ran() { return ran; } }`,
      Async: `let ran = 0; export default async (self) => { ran += 2; await undefined; self.on('ran', () => ran); };`,
    });
    for (const key of ['1', '2']) {
      for (const type of ['Fn', 'Class', 'Async']) {
        assert.equal(await ask(`ran/${type}/${key}`, 'ran'), 2, type);
        await settled(`ran/${type}/${key}`);
      }
    }
    for (const type of ['Fn', 'Class', 'Async']) assert.equal((await row(`ran/${type}/2`)).start, 'snapshot', type);
  });

  test('what a module keeps of Date and Math is what all use; random numbers differ', async () => {
    await deploy('kept', {
      Kept: `const { random } = Math, { now } = Date, D = Date;
        export default (self) => { self.on('all', () => [random === Math.random, now === Date.now, D === Date, new D(5) instanceof Date, Math.abs(new D() - Date.now()) < 1000,
          new Date(5).constructor === D, typeof D(), class extends D {}.name, random(), Math.random()]); };`,
      Plain: `export default (self) => { self.on('all', () => [String(Date), String(Math.random), String(Date.now), Math.random()]); };`,
    });
    const seen = new Set();
    for (const key of ['1', '2', '3']) {
      const [a, b] = (await ask(`kept/Kept/${key}`, 'all')).slice(8);
      const [, , , c] = await ask(`kept/Plain/${key}`, 'all');
      for (const n of [a, b, c]) {
        assert.ok(!seen.has(n), 'every random number is another');
        seen.add(n);
      }
      await settled(`kept/Kept/${key}`);
      await settled(`kept/Plain/${key}`);
    }
    assert.equal((await row('kept/Kept/3')).start, 'snapshot');
    assert.deepEqual((await ask('kept/Kept/3', 'all')).slice(0, 8), [true, true, true, true, true, true, 'string', '']);
    assert.deepEqual((await ask('kept/Plain/3', 'all')).slice(0, 3), ['function Date() { [native code] }', 'function random() { [native code] }', 'function now() { [native code] }']);
  });

  test('the clock may be looked at: it is that of when the snapshot was made', async () => {
    await deploy('clock', {
      Clock: `const kept = [Date.now(), +new Date(), performance.timeOrigin, performance.now(), process.hrtime.bigint(), performance.mark('loaded').startTime], said = Date();
        export default (self) => {
          self.on('all', () => [kept, [Date.now(), +new Date(), performance.timeOrigin, performance.now(), process.hrtime.bigint(), performance.mark('now').startTime]]);
          self.on('said', () => said);
        };`,
    });
    const from = Date.now();
    const [first] = await ask('clock/Clock/1', 'all');
    await settled('clock/Clock/1');
    const made = Date.now();
    const [kept, now] = await ask('clock/Clock/2', 'all');
    assert.equal((await row('clock/Clock/2')).start, 'snapshot');
    for (const i of [0, 1, 2]) assert.ok(kept[i] >= first[i] && kept[i] >= from - 60_000 && kept[i] <= made, `${i}: ${kept[i]}`);
    for (const i of [3, 4, 5]) assert.ok(kept[i] >= 0 && kept[i] <= now[i], `${i}: ${kept[i]}, ${now[i]}`); // no such clock has gone back
    assert.ok(now[0] >= made && now[2] >= made && now[3] > 0 && now[3] < 60_000);
    assert.deepEqual((await ask('clock/Clock/3', 'all'))[0], kept);
    assert.ok(Math.abs(Date.parse(await ask('clock/Clock/3', 'said')) - kept[0]) <= 1000);
  });

  test('code in other alphabets is the same, and on no heap', async () => {
    // As much that is only read when it is called as would show.
    const body = Array.from({ length: 20_000 }, (_, i) => `log(${i}, 'a line of it');`).join('\n');
    const code = `const naïve = 'häß 日本 😀', re = /^[а-я😀]+$/u, never = (log) => {\n${body}\n};
      export default (self) => {
        self.on('all', () => [naïve, re.source, re.test('да😀'), [...naïve].length, never.length]);
        self.on('where', () => new Error('x').stack);
      };`;
    await deploy('wide', { Wide: code });
    const all = ['häß 日本 😀', '^[а-я😀]+$', true, 8, 1];
    assert.deepEqual(await ask('wide/Wide/1', 'all'), all);
    await settled('wide/Wide/1');
    assert.deepEqual(await ask('wide/Wide/2', 'all'), all);
    assert.match(await ask('wide/Wide/2', 'where'), /Wide\.js:20005:/);
    const { start, heap } = await row('wide/Wide/2');
    assert.equal(start, 'snapshot');
    assert.ok(heap > 100_000 && heap < 1_500_000, `${heap} bytes on the heap, and ${code.length} of code`);
  });

  const without = [
    ['Random', 'it takes random numbers while it loads', 'const t = Math.random();', 't'],
    ['Uuid', 'it takes random numbers while it loads', 'const t = crypto.randomUUID();', 't'],
    ['Values', 'it takes random numbers while it loads', 'const t = crypto.getRandomValues(new Uint8Array(4));', 't'],
    ['Timer', 'it sets timers while it loads', 'setTimeout(() => {}, 1);', '1'],
    ['Log', 'it writes to the log while it loads', `console.log('loaded');`, '1'],
    ['Ask', 'it sends messages while it loads', `import { actor } from 'isola'; actor('without/Where/x').emit('x');`, '1'],
    ['Newest', 'it looks for Uint8Array.prototype.toHex while it loads, which snapshots are made without', 'const t = typeof Uint8Array.prototype.toHex;', 't'],
    ['Intl', 'what it makes while it loads cannot be kept in one', `const t = new Intl.NumberFormat('de');`, 't.format(1)'],
    ['Later', 'it sets timers while it loads', 'await new Promise((done) => setTimeout(done, 1));', '1'],
  ];
  test('none, and why', async () => {
    await deploy('without', Object.fromEntries(without.map(([type, , code, use]) => [type, `${code}\nexport default (self) => { ${echo} self.on('use', () => ${use}); };`])));
    const host = (await nodes(node))[0].host_pid;
    for (const [type, why] of without) {
      assert.equal(await ask(`without/${type}/1`, 'echo', 1), 1);
      await ask(`without/${type}/1`, 'use');
      await settled(`without/${type}/1`);
      assert.equal(await ask(`without/${type}/2`, 'echo', 2), 2, type);
      const { start, start_reason } = await row(`without/${type}/2`);
      assert.deepEqual([type, start, start_reason], [type, 'cache', why]);
    }
    assert.notEqual(await ask('without/Random/1', 'use'), await ask('without/Random/2', 'use'));
    assert.notEqual(await ask('without/Uuid/1', 'use'), await ask('without/Uuid/2', 'use'));
    assert.equal((await nodes(node))[0].host_pid, host, 'whatever it was, the actor-host has gone on');
  });
  test('actors that share an isolate take the code', async () => {
    await deploy('shared', { S: `export default (self) => { ${echo} };` }, { isolation: 'shared' });
    assert.equal(await ask('shared/S/1', 'echo', 1), 1);
    const { start, start_reason } = await row('shared/S/1');
    assert.deepEqual([start, start_reason], ['source', 'actors share its isolate']);
  });

  test('a large app begins as fast as a small one, nearly', async () => {
    await deploy('large', { Large: largeApp(), Small: `export default (self) => { ${echo} };` });
    const time = async (type, key) => {
      const from = performance.now();
      assert.equal(await ask(`large/${type}/${key}`, 'echo', key), key);
      return performance.now() - from;
    };
    await time('Large', 'first');
    await time('Small', 'first');
    const sum = await ask('large/Large/first', 'sum');
    await settled('large/Large/first');
    await settled('large/Small/first');
    const best = { Large: Infinity, Small: Infinity };
    const nearly = () => best.Large < 4 * best.Small + 2; // evaluated, it takes ten times as long as the small one
    for (let i = 0; i < 30 || (i < 150 && !nearly()); i++) // on a busy machine few go on without a pause
      for (const type of ['Small', 'Large']) best[type] = Math.min(best[type], await time(type, i));
    assert.equal((await row('large/Large/29')).start, 'snapshot');
    assert.equal(await ask('large/Large/29', 'sum'), sum);
    assert.ok(nearly(), `${best.Large} ms, ${best.Small} ms`);
  });

  test('a thousand isolates take little more than V8 needs for them', { skip: sanitized }, async () => {
    await deploy('many', { M: `export default (self) => { ${echo} };` });
    await ask('many/M/first', 'echo', 1);
    await settled('many/M/first');
    const { host_pid: pid } = (await nodes(node))[0];
    const mappings = () => readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').length;
    const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
    const born = (from, to) => Promise.all(Array.from({ length: to - from }, (_, i) => ask(`many/M/${from + i}`, 'echo', 1)));
    await born(0, 50);
    const before_ = resident(), mapped = mappings();
    for (let i = 50; i < 1050; i += 50) await born(i, i + 50);
    const each = (resident() - before_) / 1000;
    assert.ok(each < 1.3e6, `${each} bytes each`);
    // Eight, were each of the pages of a heap one by itself: 8,000 isolates would not fit in what Linux gives a process.
    assert.ok((mappings() - mapped) / 1000 < 6, `${mappings() - mapped} mappings`);
    assert.equal((await row('many/M/1049')).start, 'snapshot');
  });

  // V8 keeps what it knows of them in pieces of 16 KB with room for 1,024, of which it takes 28 itself.
  test('an isolate is born with fewer functions than would take another piece', { skip: sanitized }, async () => {
    const { snapshot: { meta }, nodes: heap } = JSON.parse((await ctl(node, 'heap', 'many/M/1', '-o', '-')).out);
    const fields = meta.node_fields.length, type = meta.node_fields.indexOf('type'), closure = meta.node_types[type].indexOf('closure');
    let functions = 0;
    for (let i = type; i < heap.length; i += fields) if (heap[i] === closure) functions++;
    assert.ok(functions > 500 && functions < 996, `${functions} functions`);
  });
});

describe('what is kept', () => {
  const app = { K: `const table = { a: 1 }; export default (self) => { ${echo} self.on('a', () => table.a); };` };
  const log = /** Waits for a line of the agent's log. */ (text) => until(`"${text}" is logged`, () => node.log().includes(text));
  const kept = () => {
    const db = new DatabaseSync(join(cluster.dir, 'one', 'catalog.db'), { readOnly: true });
    try { return db.prepare('SELECT key, code FROM prepared JOIN current USING (release) WHERE app = ?').all('keep'); } finally { db.close(); }
  };
  const restart = async (between = () => {}) => {
    await node.client.close();
    cluster.clients.splice(cluster.clients.indexOf(node.client), 1);
    assert.equal(await node.stop(), undefined);
    cluster.agents.splice(cluster.agents.indexOf(node), 1);
    between();
    node = await cluster.node('one');
  };
  const damage = (sql) => {
    const db = new DatabaseSync(join(cluster.dir, 'one', 'catalog.db'));
    try { assert.equal(db.prepare(sql).run().changes > 0, true); } finally { db.close(); }
  };

  test('the code, for the next actor-host', async () => {
    await deploy('keep', app);
    await ask('keep/K/1', 'echo', 1);
    assert.equal((await row('keep/K/1')).start, 'source');
    await until('the code is kept', () => kept().length === 1);
    assert.match(kept()[0].key, /^\d+\.\d+\S*\/[0-9a-f]{8}\/[0-9a-f]{16}$/);
    await restart();
    assert.equal(await ask('keep/K/1', 'a'), 1);
    assert.equal((await row('keep/K/1')).start, 'cache');
    await settled('keep/K/1');
    assert.equal(await ask('keep/K/2', 'a'), 1);
    assert.equal((await row('keep/K/2')).start, 'snapshot');
  });
  test('not when it is damaged', async () => {
    await restart(() => damage(`UPDATE prepared SET code = substr(code, 1, 100) || zeroblob(8) || substr(code, 109) WHERE type = 'K'`));
    await log('what is prepared of type K in');
    assert.equal(await ask('keep/K/1', 'a'), 1);
    assert.equal((await row('keep/K/1')).start, 'source');
    await settled('keep/K/1');
    await restart();
    assert.equal(await ask('keep/K/1', 'a'), 1);
    assert.equal((await row('keep/K/1')).start, 'cache', 'it was made anew');
  });
  test('not when V8 has other flags', async () => {
    const [{ key }] = kept();
    await restart(() => writeFileSync(join(cluster.dir, 'one', 'hash-seed'), 'another.'));
    assert.equal(await ask('keep/K/1', 'a'), 1);
    assert.equal((await row('keep/K/1')).start, 'source');
    await until('it was made anew', () => kept()[0].key !== key);
    await settled('keep/K/1');
    assert.equal(await ask('keep/K/2', 'a'), 1);
    assert.equal((await row('keep/K/2')).start, 'snapshot');
  });
  test('not of releases that are over', async () => {
    await deploy('keep', { K: `export default (self) => { ${echo} self.on('a', () => 2); };` });
    assert.deepEqual(kept(), []);
    assert.equal(await ask('keep/K/1', 'a'), 2);
  });
});
