// SPDX-License-Identifier: Apache-2.0
//
// Which function a message calls, with what and on what, and what becomes of its answer: also the second time, when C calls the handler
// of an actor that has its isolate to itself, and after a script has changed what is called.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Cluster, until } from './cluster.mjs';

const SCRIPT = `
import { Actor } from 'isola';
export const Fn = (self) => {
  const seen = [];
  self.on('echo', (...args) => args);
  self.on('one', (a) => a);
  self.on('receiver', function () { return this === self; });
  self.on('throws', (what) => { throw what === 'text' ? 'only text' : Object.assign(new TypeError(what), { code: 'EWHAT' }); });
  self.on('later', async (x) => { await null; return x; });
  self.on('rejects', async () => { await null; throw new Error('later'); });
  self.on('thenable', (x) => ({ then(done) { done(x); } }));
  self.on('bad then', () => ({ get then() { throw new Error('a getter'); } }));
  self.on('unsendable', () => ({ f() {} }));
  self.on('note', (x) => { seen.push(x); });
  self.on('seen', () => seen);
  self.on('turns', (n) => { self.removeAllListeners('changed'); self.on('changed', () => n); return n; });
  self.on('changed', () => 0);
  self.on('both', (n) => { self.once('twice', () => n); });
  self.on('twice', () => 'first');
  self.on('orders', () => { self.emit('said', 1); self.state.n = (self.state.n ?? 0) + 1; return self.state.n; });
  self.on('freezes', () => { Object.freeze(self); self.state.frozen = true; return self.state; });
};
export class Klass extends Actor {
  echo(...args) { return args; }
  one(a) { return a; }
  receiver() { return this instanceof Klass; }
  changed() { return 0; }
  turns(n) { this.changed = () => n; return n; }
  breaks() { this.changed = 5; }
  hears(n) { this.on('changed', () => n); }
  state() { return 'a method'; }
}
export class Named extends Actor {
  get state() { return { mine: super.state }; }
  add() { const held = super.state; return held.n = (held.n ?? 0) + 1; }
  own() { return this.state.mine.n; }
}
`;

const cluster = new Cluster();
let node;
before(async () => {
  node = await cluster.node('one');
  const actors = Object.fromEntries(['Fn', 'Klass', 'Named'].map((type) => [type, { module: './script.js' }]));
  for (const [type, of] of Object.entries({ ...actors })) actors[`Shared${type}`] = { ...of, isolation: 'shared' };
  await cluster.deploy(node, 'h', { 'isola.json': { name: 'h', actors }, 'script.js': `${SCRIPT}\nexport { Fn as SharedFn, Klass as SharedKlass, Named as SharedNamed };` });
});
after(() => cluster.end());

let keys = 0;
const fresh = (type) => node.client.actor(`h/${type}/k${++keys}`);
const failure = (promise) => promise.then((v) => assert.fail(`it said ${JSON.stringify(v)}`), (e) => `${e.code} ${e.name}: ${e.message}`);
const VALUES = [undefined, null, true, false, 0, -0, -1, 2147483647, -2147483648, 2147483648, 0.5, NaN, -Infinity, '', 'text', 'é', 12n, new Uint8Array([1, 2]), new Uint8Array(100), [1, [2]], { a: { b: 1 } }, new Map([[1, 2]]), new Date(5)];

for (const shared of ['', 'Shared']) {
  for (const kind of ['Fn', 'Klass']) {
    test(`${shared}${kind}: values come and go as they are, the first time and later`, async () => {
      const ref = fresh(shared + kind);
      for (let i = 0; i < 3; i++) {
        for (const value of VALUES) assert.deepStrictEqual(await ref.ask('one', value), value);
        for (const args of [[], [undefined], [1, 2], ['a', { b: [] }, 3], Array.from({ length: 12 }, (_, k) => k)]) assert.deepStrictEqual(await ref.ask('echo', ...args), args);
        assert.equal(await ref.ask('receiver'), true);
      }
    });
    test(`${shared}${kind}: what a script changes is called from then on`, async () => {
      const ref = fresh(shared + kind);
      for (const n of [1, 2, 3]) {
        assert.equal(await ref.ask('changed'), n - 1);
        assert.equal(await ref.ask('changed'), n - 1);
        await ref.ask('turns', n);
      }
      assert.equal(await ref.ask('changed'), 3);
    });
  }
  test(`${shared}Fn: errors, promises and what cannot be sent`, async () => {
    const ref = fresh(`${shared}Fn`);
    for (let i = 0; i < 3; i++) {
      assert.equal(await failure(ref.ask('throws', 'why')), 'EWHAT TypeError: why');
      assert.match(await failure(ref.ask('throws', 'text')), /only text/);
      assert.equal(await ref.ask('later', i), i);
      assert.match(await failure(ref.ask('rejects')), /later/);
      assert.equal(await ref.ask('thenable', i), i);
      assert.match(await failure(ref.ask('bad then')), /a getter/);
      assert.match(await failure(ref.ask('unsendable')), /^ECLONE/);
      ref.emit('note', i);
      assert.match(await failure(ref.ask('nobody')), /^ENOACTOR/);
    }
    assert.deepEqual(await ref.ask('seen'), [0, 1, 2]);
  });
  test(`${shared}Fn: a listener that is added answers after the first, once`, async () => {
    const ref = fresh(`${shared}Fn`);
    assert.equal(await ref.ask('twice'), 'first');
    await ref.ask('both', 5);
    await ref.ask('both', 6);
    for (let i = 0; i < 3; i++) assert.equal(await ref.ask('twice'), 'first');
  });
  test(`${shared}Fn: what turns emit is heard`, async () => {
    const ref = fresh(`${shared}Fn`), heard = [];
    ref.on('said', (x) => heard.push(x));
    for (let n = 1; n <= 4; n++) assert.equal(await ref.ask('orders'), n);
    await until('all of it is heard', () => heard.length === 4);
  });
  test(`${shared}Klass: a method that is none any more, and a listener beside it`, async () => {
    const ref = fresh(`${shared}Klass`);
    for (let i = 0; i < 2; i++) assert.equal(await ref.ask('changed'), 0);
    await ref.ask('breaks');
    assert.match(await failure(ref.ask('changed')), /TypeError/);
    await ref.ask('turns', 7);
    await ref.ask('hears', 8);
    assert.equal(await ref.ask('changed'), 7);
    assert.equal(await ref.ask('state'), 'a method');
  });
  test(`${shared}Fn: state is a property that is kept, of a frozen actor too`, async () => {
    const ref = fresh(`${shared}Fn`);
    assert.equal(await ref.ask('orders'), 1);
    assert.deepEqual(await ref.ask('freezes'), { n: 1, frozen: true });
    assert.equal(await ref.ask('orders'), 2);
    const cold = fresh(`${shared}Fn`);
    assert.deepEqual(await cold.ask('freezes'), { frozen: true });
    assert.equal(await cold.ask('orders'), 1);
  });
  test(`${shared}Named: a class with a state of its own has Actor's behind it`, async () => {
    const ref = fresh(`${shared}Named`);
    for (let n = 1; n <= 3; n++) assert.equal(await ref.ask('add'), n);
    assert.equal(await ref.ask('own'), 3);
  });
}
