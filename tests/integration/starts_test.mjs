// SPDX-License-Identifier: Apache-2.0
//
// How actors start: what their functions may return, what is there while classes are constructed, which handlers there may be.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Cluster, ctl } from './cluster.mjs';

const cluster = new Cluster();
let node;
let ref;

const modules = {
  Later: 'export default (self) => { const f = () => {}; f.then = (ok) => setTimeout(() => { self.on("get", () => "later"); ok(); }, 5); return f; };',
  Object: 'export default (self) => ({ then(ok) { self.on("get", () => "object"); ok(); } });',
  Getter: 'export default () => ({ get then() { throw new Error("by a getter"); } });',
  Then: 'export default () => ({ then() { throw new Error("by then"); } });',
  Thrower: 'export default () => { throw new Error("by itself"); };',
  Rejects: 'export default async () => { throw new Error("by its promise"); };',
  Hook: 'export default class { onActivate() { throw new Error("by its hook"); } };',
  Self: 'export default (self) => self.on("get", () => "self");',
  Fields: `export default class {
    at = this.address;
    listening = this.on("get", () => [this.at, this.listening === this, this.eventNames(), this.listenerCount("get")]);
  };`,
  Emitter: `
    import EventEmitter from 'node:events';
    const other = new EventEmitter();
    export default class extends EventEmitter {
      constructor() { super(); this.on("get", () => [this.address, this instanceof EventEmitter, this.eventNames(), other.eventNames(), this.got]); this.once("first", () => { this.got = true; }); }
      onActivate() { this.emit("first"); }
    };`,
  Undefined: 'export default (self) => { self.on("get", () => String(self.state)); self.on("set", (v) => { self.state = v; }); };',
  Bound: `export default (self) => {
    const f = (v) => [self.key, v];
    self.on("get", self.key % 2 === 0 ? f.bind(null) : new Proxy(f, {}));
  };`,
};

before(async () => {
  node = await cluster.node('one');
  ref = (type, key) => node.client.actor(`app/${type}`, key);
  const manifest = { name: 'app', actors: {} };
  for (const name of Object.keys(modules))
    for (const isolation of ['isolate', 'shared']) manifest.actors[name + (isolation === 'shared' ? 'Shared' : '')] = { module: `./${name}.js`, isolation };
  await cluster.deploy(node, 'starts', { 'isola.json': manifest, ...Object.fromEntries(Object.entries(modules).map(([name, code]) => [`${name}.js`, code])) });
});
after(() => cluster.end());

for (const shared of ['', 'Shared']) {
  describe(shared || 'an isolate of its own', () => {
    const get = (type, key = 'k') => ref(type + shared, key).ask('get');
    const fails = (type, message) => assert.rejects(get(type), (e) => e.code === 'EFAILED' && e.message.includes(`could not start: ${message}`));

    test('it waits for whatever can be waited for', async () => {
      assert.equal(await get('Later'), 'later');
      assert.equal(await get('Object'), 'object');
      assert.equal(await get('Self'), 'self');
    });
    test('whatever is thrown fails the start', () => Promise.all([
      fails('Getter', 'by a getter'), fails('Then', 'by then'), fails('Thrower', 'by itself'), fails('Rejects', 'by its promise'), fails('Hook', 'by its hook')]));
    test('an instance is an actor while it is constructed', async () => {
      assert.deepEqual(await get('Fields'), [`app/Fields${shared}/k`, true, ['get'], 1]);
      assert.deepEqual(await get('Emitter'), [`app/Emitter${shared}/k`, true, ['get'], [], true]);
    });
    test('a state may be nothing until it starts again', async () => {
      const a = ref(`Undefined${shared}`, 'k');
      assert.equal(await a.ask('get'), '[object Object]');
      for (const nothing of [undefined, null]) {
        await a.ask('set', nothing);
        assert.equal(await a.ask('get'), String(nothing));
        assert.equal((await ctl(node, 'stop', a.address)).status, 0);
        assert.equal(await a.ask('get'), '[object Object]');
      }
    });
    test('handlers are whatever can be called', async () => {
      const keys = Array.from({ length: shared ? 300 : 4 }, (_, k) => String(k));
      for (let n = 0; n < 3; n++) assert.deepEqual(await Promise.all(keys.map((k) => ref(`Bound${shared}`, k).ask('get', n))), keys.map((k) => [k, n]));
    });
  });
}
