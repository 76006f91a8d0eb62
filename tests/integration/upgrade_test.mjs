// SPDX-License-Identifier: Apache-2.0
//
// onUpgrade: state that another release has written, once, before anything else happens.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Cluster, ctl, ctlOk, killHost, notebook, until } from './cluster.mjs';

const TYPES = { Class: {}, ClassShared: { isolation: 'shared' }, Function: {}, FunctionShared: { isolation: 'shared' } };

/** The app at a version (undefined: none): `body` is of the hook, which sees `old` and `from`, with `self` and `log(what)`; undefined: there is no hook. */
function app(version, body, more = '') {
  const head = "import { actor } from 'isola'; const log = (what) => actor('shop/Log', 'log').ask('note', what);";
  const rest = `get() { return this.state; }
    set(v) { this.state = v; }
    async put(k, v) { await this.storage.put(k, v); }
    item(k) { return this.storage.get(k); }
    row(sql) { return this.sql.exec(sql).toArray(); }
    ${more}`;
  const hook = body === undefined ? '' : `async onUpgrade(old, from) { const self = this; await log([this.type, this.key, from, old === this.state]); ${body} }`;
  return {
    'isola.json': { name: 'shop', ...(version && { version }), actors: { Log: { module: './log.js' }, ...Object.fromEntries(Object.entries(TYPES).map(([name, settings]) => [name, { module: `./${name.replace('Shared', '').toLowerCase()}.js`, ...settings }])) } },
    'log.js': notebook.replace('export default (self) => {', "export default (self) => { let hold; self.on('hold', (what) => new Promise((open) => { hold = open; self.emit('holds', what); })); self.on('open', () => hold());"),
    'class.js': `${head} export default class { async onActivate() { this.upgraded = this.state.upgraded; } ${hook} ${rest} seen() { return this.upgraded; } }`,
    'function.js': `${head} export default (self) => {
      ${body === undefined ? '' : `self.onUpgrade = async (old, from) => { await log([self.type, self.key, from, old === self.state]); ${body} };`}
      self.on('get', () => self.state); self.on('set', (v) => { self.state = v; });
      self.on('put', (k, v) => self.storage.put(k, v)); self.on('item', (k) => self.storage.get(k)); self.on('row', (sql) => self.sql.exec(sql).toArray());
    };`,
  };
}

const json = async (agent, ...args) => JSON.parse(await ctlOk(agent, '--json', ...args));
const reentrant = (files) => { files['isola.json'].actors.Log.reentrant = true; return files; };

describe('onUpgrade', () => {
  const cluster = new Cluster();
  let node;
  const deploy = async (version, body, more) => (await cluster.deploy(node, 'shop', reentrant(app(version, body, more)))).release;
  const ref = (type, key) => node.client.actor(`shop/${type}`, key);
  const stop = (type, key) => ctlOk(node, 'stop', `shop/${type}/${key}`);
  const noted = () => ref('Log', 'log').ask('take');
  const each = (f) => Promise.all(Object.keys(TYPES).map(f));
  const mine = (list, key) => list.filter(([, k]) => k === key).map(([type, , ...rest]) => [type, ...rest]).sort();
  before(async () => { node = await cluster.node('one', undefined, ['--history', '1h']); });
  after(() => cluster.end());

  it('is called once with what there was, and told the version; what it returns is the state', async () => {
    await deploy('1.0.0', '');
    await each((type) => ref(type, 'a').ask('set', { name: 'Ada Lovelace' }));
    await each((type) => ref(type, 'b').ask('set', { name: 'Bob' }));
    await each((type) => ref(type, 'new').ask('get'));
    assert.deepEqual(await noted(), [], 'nothing is upgraded that begins');
    await deploy('2.0.0', 'if (self.key === "b") { old.upgraded = from; return; } const [first, last] = old.name.split(" "); return { first, last, upgraded: from };');
    for (let again = 0; again < 2; again++) {
      await each(async (type) => assert.deepEqual(await ref(type, 'a').ask('get'), { first: 'Ada', last: 'Lovelace', upgraded: '1.0.0' }));
      await each(async (type) => assert.deepEqual(await ref(type, 'b').ask('get'), { name: 'Bob', upgraded: '1.0.0' }));
      if (again === 0) {
        assert.equal(await ref('Class', 'a').ask('seen'), '1.0.0', 'before onActivate');
        const said = await noted();
        for (const key of ['a', 'b']) assert.deepEqual(mine(said, key), Object.keys(TYPES).map((type) => [type, '1.0.0', true]).sort());
        assert.deepEqual(mine(said, 'new'), []);
      } else {
        assert.deepEqual(await noted(), []);
      }
      await killHost(node);
    }
  });

  it('is called when a release is rolled back, and told the newer one', async () => {
    await ctlOk(node, 'rollback', 'shop');
    await each(async (type) => assert.equal((await ref(type, 'a').ask('get')).first, 'Ada'));
    assert.deepEqual(mine(await noted(), 'a'), Object.keys(TYPES).map((type) => [type, '2.0.0', true]).sort());
  });

  it('is told the id of a release without a version, and nothing of one without the hook', async () => {
    const id = await deploy(undefined, '');
    await each((type) => ref(type, 'c').ask('set', { n: 1 }));
    await deploy('3.0.0', '');
    await each((type) => ref(type, 'c').ask('get'));
    assert.deepEqual(mine(await noted(), 'c'), Object.keys(TYPES).map((type) => [type, id, true]).sort());
    await deploy('4.0.0');
    await each((type) => ref(type, 'c').ask('set', { n: 2 }));
    await each((type) => ref(type, 'c').ask('set', { n: 3 }));
    await deploy('5.0.0', 'if (from === undefined) old.n *= 10;');
    await each(async (type) => assert.deepEqual(await ref(type, 'c').ask('get'), { n: 30 }));
    assert.deepEqual(mine(await noted(), 'c'), Object.keys(TYPES).map((type) => [type, undefined, true]).sort());
    await each((type) => stop(type, 'c'));
    await each(async (type) => assert.deepEqual(await ref(type, 'c').ask('get'), { n: 30 }));
    assert.deepEqual(await noted(), []);
  });

  it('is passed over by a release without it, as long as that writes nothing', async () => {
    await deploy('5.1.0');
    await each(async (type) => assert.deepEqual(await ref(type, 'c').ask('get'), { n: 30 }));
    await deploy('5.2.0', '');
    await each((type) => ref(type, 'c').ask('get'));
    assert.deepEqual(mine(await noted(), 'c'), Object.keys(TYPES).map((type) => [type, '5.0.0', true]).sort());
  });

  it('fails the start when it throws, and leaves all as it was', async () => {
    await each((type) => ref(type, 'd').ask('set', { n: 1 }));
    await each((type) => ref(type, 'd').ask('put', 'k', 1));
    await deploy('6.0.0', 'if (self.key !== "d") return; old.n = 2; await self.storage.put("k", 2); await self.storage.sync(); throw new Error("no way from " + from);');
    await each((type) => assert.rejects(ref(type, 'd').ask('get'), (e) => e.code === 'EFAILED' && e.message.includes('could not start: no way from 5.2.0')));
    await deploy('6.0.1', '');
    await each(async (type) => {
      assert.deepEqual(await ref(type, 'd').ask('get'), { n: 1 });
      assert.equal(await ref(type, 'd').ask('item', 'k'), 1);
    });
    assert.deepEqual(mine(await noted(), 'd'), Object.keys(TYPES).map((type) => [type, '5.2.0', true]).sort());
  });

  it('begins anew with what there was when the process ends in the middle', async () => {
    await each((type) => ref(type, 'e').ask('set', { n: 1 }));
    await each((type) => ref(type, 'e').ask('put', 'k', 1));
    await each((type) => ref(type, 'e').ask('row', 'create table t (n)'));
    await deploy('7.0.0', `if (self.key !== "e") return;
      old.n++;
      await self.storage.put("k", await self.storage.get("k") + 1);
      self.sql.exec("insert into t values (1)");
      await self.storage.sync();
      await actor("shop/Log", "log").ask("hold", self.type);`);
    const held = new Set();
    const log = ref('Log', 'log');
    log.on('holds', (type) => held.add(type));
    await log.ask('seen'); // from now on it hears
    const asked = Object.keys(TYPES).map((type) => ref(type, 'e').ask('get').catch((e) => e));
    await until('all are in the middle', () => held.size === 4).catch(async (e) => { throw new Error(`${e.message}: ${[...held]} of ${JSON.stringify((await json(node, 'ps', 'shop')).actors, ['address', 'state', 'turns', 'mailbox', 'failure'])}`); });
    await killHost(node);
    await Promise.all(asked);
    await deploy('7.0.1', 'if (self.key !== "e") return; old.n++; await self.storage.put("k", await self.storage.get("k") + 1); self.sql.exec("insert into t values (1)");');
    await noted();
    for (let again = 0; again < 2; again++) {
      await each(async (type) => {
        assert.deepEqual(await ref(type, 'e').ask('get'), { n: 2 });
        assert.equal(await ref(type, 'e').ask('item', 'k'), 2);
        assert.deepEqual(await ref(type, 'e').ask('row', 'select n from t'), [{ n: 1 }]);
      });
      if (again === 0) assert.deepEqual(mine(await noted(), 'e'), Object.keys(TYPES).map((type) => [type, '6.0.1', true]).sort());
      await each((type) => stop(type, 'e'));
    }
  });

  it('is called for those that have kept items or a database alone', async () => {
    await each((type) => ref(type, 'f').ask('put', 'k', 'old'));
    await each((type) => ref(type, 'g').ask('row', 'create table t (n)'));
    await deploy('8.0.0', 'if (self.key === "f") await self.storage.put("k", "new"); if (self.key === "g") self.sql.exec("alter table t add column m");');
    for (let again = 0; again < 2; again++) {
      await each(async (type) => {
        assert.equal(await ref(type, 'f').ask('item', 'k'), 'new');
        assert.deepEqual(await ref(type, 'g').ask('row', 'select n, m from t'), []);
      });
      const said = await noted();
      for (const key of ['f', 'g']) assert.deepEqual(mine(said, key), again > 0 ? [] : Object.keys(TYPES).map((type) => [type, '7.0.1', true]).sort());
      await each((type) => Promise.all([stop(type, 'f'), stop(type, 'g')]));
    }
  });

  it('is called again for what was put back to before it', async () => {
    await each((type) => ref(type, 'h').ask('set', { n: 1 }));
    const times = {};
    await each(async (type) => { times[type] = (await json(node, 'history', `shop/${type}/h`)).points[0].time; });
    await deploy('9.0.0', 'if (self.key === "h") old.n++;');
    await each(async (type) => assert.deepEqual(await ref(type, 'h').ask('get'), { n: 2 }));
    await noted();
    await each((type) => ctlOk(node, 'restore', `shop/${type}/h`, '--at', new Date(times[type]).toISOString()));
    await each(async (type) => assert.deepEqual(await ref(type, 'h').ask('get'), { n: 2 }));
    assert.deepEqual(mine(await noted(), 'h'), Object.keys(TYPES).map((type) => [type, '8.0.0', true]).sort());
  });

  it('follows actors to another node, once for each', async () => {
    const keys = Array.from({ length: 40 }, (_, k) => `m${k}`);
    const all = (f) => Promise.all(keys.flatMap((key) => Object.keys(TYPES).map((type) => f(ref(type, key)))));
    await all((a) => a.ask('set', { n: 1 }));
    const two = await cluster.node('two', node);
    await deploy('10.0.0', 'if (self.key[0] === "m") old.n++;');
    await noted();
    for (let again = 0; again < 2; again++) {
      const got = await all((a) => a.ask('get'));
      assert.ok(got.every(({ n }) => n === 2));
      await ctlOk(two, 'stop', 'shop/Class/m1');
    }
    const said = (await noted()).filter(([, key]) => key[0] === 'm');
    assert.equal(said.length, 160);
    assert.ok(said.every(([, , from]) => from === '9.0.0'));
    assert.ok((await json(node, 'ps', 'shop')).actors.some((a) => a.node === 'two'));
  });
});

describe('the version of an app', () => {
  const cluster = new Cluster();
  let node;
  before(async () => { node = await cluster.node('one'); });
  after(() => cluster.end());
  const manifest = async () => JSON.parse((await node.client.call('release', { app: 'v' })).manifest);

  it('is that of package.json, unless the manifest has one', async () => {
    const files = { 'isola.json': { name: 'v', actors: { A: { module: './a.js' } } }, 'a.js': 'export default () => {};', 'package.json': { name: 'v', version: '1.2.3' } };
    await cluster.deploy(node, 'v', files);
    assert.equal((await manifest()).version, '1.2.3');
    await cluster.deploy(node, 'v', { ...files, 'isola.json': { ...files['isola.json'], version: '2' } });
    assert.equal((await manifest()).version, '2');
    await cluster.deploy(node, 'v', { ...files, 'package.json': { name: 'v', version: 7 } });
    assert.equal((await manifest()).version, undefined);
    const { status, err } = await ctl(node, 'deploy', cluster.app('v', { ...files, 'isola.json': { ...files['isola.json'], version: 'a\nb' } }));
    assert.equal(status, 1);
    assert.match(err, /isola\.json:1:\d+: version: must be a version such as "1\.4\.0"/);
  });
});
