// SPDX-License-Identifier: Apache-2.0
//
// `ctl delete`: an app goes on every node, also on those that were away, with or without what its actors kept, and may come again.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { actors, bin, Cluster, ctl, ctlOk, freePort, killNode, nodes, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let east, west, north, port;
before(async () => {
  east = await cluster.node('east');
  west = await cluster.node('west', east);
  north = await cluster.node('north', east);
  port = await freePort();
});
after(() => cluster.end());

const app = (version = 1) => ({
  'isola.json': { name: 'shop', actors: { Cart: { module: './cart.js' }, Api: { module: './server.js', kind: 'service', port } } },
  'cart.js': `export default (self) => {
  self.on('add', (by) => (self.state.n = (self.state.n ?? 0) + by));
  self.on('keep', async (value) => { await self.storage.put('k', value); await self.sql.exec('CREATE TABLE IF NOT EXISTS t (v)'); await self.sql.exec('INSERT INTO t VALUES (1)'); await self.schedule('tick', '1h'); });
  self.on('kept', async () => ({ n: self.state.n, k: await self.storage.get('k'), timers: (await self.schedules()).length }));
  self.on('version', () => ${version});
  self.on('slow', () => new Promise((done) => setTimeout(() => done('ended'), 300)));
};`,
  'server.js': `require('node:http').createServer((request, response) => response.end('${version}')).listen(process.env.PORT);`,
});
const KEYS = Array.from({ length: 40 }, (_, i) => `user-${i}`); // some on each node
const cart = (key, agent = east) => agent.client.actor(`shop/Cart/${key}`);
const fill = async () => {
  for (const key of KEYS) {
    assert.equal(await cart(key).ask('add', 5), 5);
    await cart(key).ask('keep', 'x');
  }
};
const del = (agent, ...options) => ctl(agent, '--json', 'delete', 'shop', ...options);
const delOk = async (agent, ...options) => {
  const r = await del(agent, '--yes', ...options);
  assert.equal(r.status, 0, r.out + r.err);
  return JSON.parse(r.out);
};
const apps = async (agent) => JSON.parse(await ctlOk(agent, '--json', 'releases')).apps.map((a) => a.app).join();
const refused = (agent) => assert.rejects(cart('user-0', agent).ask('version'), { code: 'ENOACTOR', message: /there is no app "shop"/ });
/** The addresses of the app that a node's files still have. */
const kept = async (agent) => {
  const { stores } = await whole(agent, 'store', { top: 1000 });
  return stores.find((s) => s.node === agent.name).largest.map((l) => l.address).filter((a) => a.startsWith('shop/'));
};

test('an app goes on every node, and what its actors kept stays', async () => {
  await cluster.deploy(east, 'shop', app());
  await ctlOk(east, 'secret', 'set', 'shop', 'TOKEN', 'x');
  await fill();
  const pid = await until('the service runs', async () => (await actors(east, 'shop')).find((r) => r.state === 'running' && r.pid)?.pid);
  const slow = cart('user-1').ask('slow'); // its turn is let end
  const asked = await del(east);
  assert.equal(asked.status, 2);
  assert.match(JSON.parse(asked.out).error.message, /asks before it deletes, on a terminal; elsewhere say --yes/);
  await until('it is in its turn', async () => (await actors(east, 'shop')).some((a) => a.address === 'shop/Cart/user-1' && a.state === 'running'));
  const deleted = await delOk(east);
  assert.deepEqual([deleted.app, deleted.nodes.sort(), deleted.later, deleted.state], ['shop', ['east', 'north', 'west'], [], false]);
  assert.match(deleted.release, /^[0-9a-f]{16}$/);
  assert.equal(await slow, 'ended');
  for (const agent of [east, west, north]) {
    await refused(agent);
    assert.equal(await apps(agent), '');
    assert.deepEqual(JSON.parse(await ctlOk(agent, '--json', 'secret', 'list')).secrets, []);
    await until('its actors have ended', async () => (await actors(agent, 'shop')).length === 0);
    await until('its files are gone', () => !existsSync(join(cluster.dir, agent.name, 'apps/shop')) || readdirSync(join(cluster.dir, agent.name, 'apps/shop')).length === 0);
  }
  await until('the service has ended', () => !existsSync(`/proc/${pid}`));
  for (const [args, why] of [[['releases', 'shop'], /app "shop" was deleted at .* UTC by .*@.*; deploy it to have it again, with the state its actors had/],
    [['rollback', 'shop'], /was deleted at/], [['delete', 'shop', '--yes'], /was deleted at/], [['delete', 'shpo', '--yes'], /no app "shpo" is deployed/]]) {
    const { status, err } = await ctl(west, ...args);
    assert.equal(status, 1);
    assert.match(err, why);
  }
});

test('a deploy of the same name finds what was kept', async () => {
  await cluster.deploy(west, 'shop', app(2));
  assert.equal(await cart('user-1').ask('version'), 2);
  for (const key of KEYS) assert.deepEqual(await cart(key).ask('kept'), { n: 5, k: 'x', timers: 1 });
  const { deploys } = JSON.parse(await ctlOk(north, '--json', 'releases', 'shop'));
  assert.equal(deploys.length, 1); // its history begins anew
});

test('a node that was away does not bring it back', async () => {
  await killNode(cluster, north);
  const { later } = await delOk(west);
  assert.deepEqual(later, ['north']);
  north = await cluster.node('north', east);
  assert.equal(await apps(north), '');
  await refused(north);
  for (const agent of [east, west]) assert.equal(await apps(agent), '');
});

test('and one that was away for that and for what came after has what came after', async () => {
  await cluster.deploy(east, 'shop', app(3));
  await until('north has it', async () => (await apps(north)) === 'shop');
  await killNode(cluster, north);
  await delOk(east);
  await cluster.deploy(west, 'shop', app(4));
  north = await cluster.node('north', east);
  await until('it has the new one', () => cart('user-2', north).ask('version').then((v) => v === 4, () => false));
});

test('with --state all that its actors kept goes, on every node', async () => {
  for (const key of KEYS) assert.deepEqual(await cart(key).ask('kept'), { n: 5, k: 'x', timers: 1 });
  const had = await Promise.all([east, west, north].map(kept));
  assert.ok(had.every((addresses) => addresses.length > 0), JSON.stringify(had.map((a) => a.length)));
  await killNode(cluster, north); // one is away
  await delOk(east, '--state');
  for (const agent of [east, west]) await until('nothing is left', async () => (await kept(agent)).length === 0);
  await cluster.deploy(east, 'shop', app(5));
  north = await cluster.node('north', east);
  await until('nothing is left on north', async () => (await kept(north)).length === 0 && (await apps(north)) === 'shop');
  for (const key of KEYS) assert.deepEqual(await cart(key).ask('kept'), { n: undefined, k: undefined, timers: 0 });
  assert.deepEqual(JSON.parse(await ctlOk(east, '--json', 'timers', 'shop')).timers, []);
});

test('what was kept of an app that was deleted before goes with --state too', async () => {
  await fill();
  await delOk(north);
  await until('what they kept is in the tables', async () => (await Promise.all([east, west, north].map(kept))).flat().length === KEYS.length);
  const { release, state } = await delOk(west, '--state');
  assert.deepEqual([release, state], ['', true]);
  for (const agent of [east, west, north]) await until('nothing is left', async () => (await kept(agent)).length === 0);
});

test('a node that dies in the middle goes on with it', async () => {
  await cluster.deploy(east, 'shop', app(6));
  await fill();
  await until('all is written', async () => (await Promise.all([east, west, north].map(kept))).flat().length === KEYS.length);
  const host = (await nodes(east)).find((n) => n.name === 'east').host_pid;
  process.kill(host, 'SIGSTOP'); // so that it does not come to it
  const deletions = () => east.log(10_000).match(/app shop is deleted/g)?.length ?? 0;
  const before_ = deletions();
  const going = del(east, '--yes', '--state');
  await until('it is deleted', () => deletions() > before_);
  await killNode(cluster, east);
  assert.equal((await going).status, 1);
  east = await cluster.node('east', west);
  await until('nothing is left', async () => (await Promise.all([east, west, north].map(kept))).flat().length === 0);
  await refused(east);
});

test('a deploy under a name that is taken says so when nothing of the app before is left', async () => {
  const of = (...types) => cluster.app('taken', {
    'isola.json': { name: 'taken', actors: Object.fromEntries(types.map((t) => [t, { module: './a.js' }])) }, 'a.js': 'export default (self) => {};',
  });
  assert.doesNotMatch(await ctlOk(west, 'deploy', of('A', 'B')), /none of the types/);
  assert.equal(JSON.parse(await ctlOk(west, '--json', 'deploy', of('B', 'C'))).dropped, undefined);
  assert.match(await ctlOk(west, 'deploy', of('D')), /gone {3}B, C\n +none of the types that it had before is left: .* 'ctl rollback taken' goes back/);
  assert.doesNotMatch(await ctlOk(west, 'deploy', of('D')), /none of the types/); // unchanged
  assert.doesNotMatch(await ctlOk(west, 'rollback', 'taken'), /none of the types/);
  assert.deepEqual(JSON.parse(await ctlOk(west, '--json', 'deploy', of('E'))).dropped, ['B', 'C']);
  await ctlOk(west, 'delete', 'taken', '--yes', '--state');
});

test('where only some may deploy, only they may delete', async () => {
  /** ctl --json of a person with a key, or without one. */
  const as = (name, ...args) => new Promise((done) => {
    const env = { ...process.env, ISOLA_KEY: join(cluster.dir, `key-${name}`) };
    execFile(join(bin, 'ctl'), ['--json', '--node', east.socket, ...args], { env }, (error, out) => done({ status: error?.code ?? 0, ...JSON.parse(out) }));
  });
  const dir = cluster.app('shop', app(7));
  assert.equal((await as('ada', 'trust', 'add', 'ada')).status, 0);
  assert.equal((await as('ada', 'deploy', dir)).status, 0);
  const nobody = await as('nobody', 'delete', 'shop', '--yes');
  assert.deepEqual([nobody.error?.code, /is not signed; `ctl trust list` says who may deploy/.test(nobody.error?.message)], ['EPERM', true]);
  await as('bob', 'trust', 'init');
  const bob = await as('bob', 'delete', 'shop', '--yes');
  assert.deepEqual([bob.error?.code, /signed by one who may not/.test(bob.error?.message)], ['EPERM', true]);
  assert.equal(await cart('user-0').ask('version'), 7);
  assert.deepEqual((await as('ada', 'delete', 'shop', '--yes')).nodes?.sort(), ['east', 'north', 'west']);
  for (const agent of [east, west, north]) await refused(agent);
});
