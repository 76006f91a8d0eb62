// SPDX-License-Identifier: Apache-2.0
//
// Who may deploy: keys, the list of them, and what nodes take and refuse by it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { bin, Cluster, killNode, nodes, PROGRAM, until } from './cluster.mjs';

const app = (version, name = 'shop') => ({
  'isola.json': { name, actors: { Counter: { module: './counter.js' } } },
  'counter.js': `export default (self) => { self.on('version', () => ${version}); };`,
});

/** ctl --json of a person, who has a home of their own: { status, value or error }. */
function person(cluster, name) {
  const home = join(cluster.dir, `home-${name}`);
  mkdirSync(home, { mode: 0o700 });
  const run = (agent, ...args) => new Promise((done) => {
    const { ISOLA_KEY: _, ...env } = process.env;
    execFile(join(bin, 'ctl'), ['--json', '--node', agent.socket, ...args], { env: { ...env, HOME: home }, timeout: PROGRAM, killSignal: 'SIGKILL' }, (error, out) => {
      const value = JSON.parse(out);
      done({ status: error === null ? 0 : error.code, value, error: value.error });
    });
  });
  const ok = async (...args) => {
    const { status, value } = await run(...args);
    assert.equal(status, 0, JSON.stringify(value));
    return value;
  };
  return { home, run, ok, key: join(home, '.config/isola/key') };
}
const version = (agent, key) => agent.client.actor('shop/Counter', key).ask('version');
const names = async (who, agent) => (await who.ok(agent, 'trust', 'list')).trusted.map((t) => t.name).join();

describe('who may deploy on one node', () => {
  const cluster = new Cluster();
  let east, ada, bob, keys = {};
  const refused = async (who, v, why) => {
    const { error } = await who.run(east, 'deploy', cluster.app('shop', app(v)));
    assert.equal(error?.code, 'EPERM');
    assert.match(error.message, why);
  };
  before(async () => {
    east = await cluster.node('east');
    [ada, bob] = ['ada', 'bob'].map((name) => person(cluster, name));
  });
  after(() => cluster.end());

  it('is anyone at first', async () => {
    assert.deepEqual((await ada.ok(east, 'trust')).trusted, []);
    await ada.ok(east, 'deploy', cluster.app('shop', app(1)));
    assert.equal(await version(east, 'a'), 1);
  });

  it('has a key that nobody else may read', async () => {
    const made = await bob.ok(east, 'trust', 'init');
    assert.match(made.key, /^isola_key_[\w-]{48}$/);
    assert.deepEqual([made.made, made.path], [true, bob.key]);
    assert.equal(statSync(bob.key).mode & 0o777, 0o600);
    assert.deepEqual(await bob.ok(east, 'trust', 'init'), { ...made, made: false });
    keys.bob = made.key;
    chmodSync(bob.key, 0o644);
    assert.equal((await bob.run(east, 'deploy', cluster.app('shop', app(2)))).error.code, 'EPERM');
    chmodSync(bob.key, 0o600);
    const content = readFileSync(bob.key);
    writeFileSync(bob.key, 'not a key');
    assert.match((await bob.run(east, 'deploy', cluster.app('shop', app(2)))).error.message, /damaged/);
    writeFileSync(bob.key, content);
  });

  it('is who is trusted, once one is', async () => {
    const { trusted, unsigned } = await ada.ok(east, 'trust', 'add', 'ada');
    keys.ada = trusted[0].key;
    assert.deepEqual(trusted, [{ name: 'ada', key: keys.ada, app: '' }]);
    assert.deepEqual(unsigned, ['shop']);
    await refused(bob, 2, /signed by one who may not deploy it \(isola_key_/);
    await refused(person(cluster, 'nobody'), 2, /is not signed/);
    assert.equal(await version(east, 'b'), 1);
    // The same content again, signed this time.
    assert.equal((await ada.ok(east, 'deploy', cluster.app('shop', app(1)))).unchanged, false);
    assert.deepEqual((await ada.ok(east, 'trust')).unsigned, []);
    assert.equal((await ada.ok(east, 'deploy', cluster.app('shop', app(1)))).unchanged, true);
    await ada.ok(east, 'deploy', cluster.app('shop', app(2)));
    assert.equal(await version(east, 'c'), 2);
  });

  it('takes no signature of something else', async () => {
    const other = await ada.ok(east, 'deploy', cluster.app('other', app(7, 'other')));
    await killNode(cluster, east);
    const { DatabaseSync } = await import('node:sqlite');
    const db = new DatabaseSync(join(cluster.dir, 'east', 'catalog.db'));
    const { content } = db.prepare('SELECT content FROM release WHERE id = ?').get(other.release);
    db.close();
    east = await cluster.node('east');
    const at = Buffer.from(content).indexOf('signature') + 'signature'.length + 2; // behind the head of a bin
    const signature = Buffer.from(content).subarray(at, at + 96);
    const manifest = JSON.stringify({ name: 'shop', actors: { Counter: { module: './counter.js' } } });
    const release = { app: 'shop', manifest, bundles: [{ type: 'Counter', code: Buffer.from('export default () => {};'), map: Buffer.alloc(0) }] };
    await assert.rejects(east.client.call('deploy', { ...release, signature }), { code: 'EPERM', message: /signature of release \w+ of app "shop" is of something else/ });
    await assert.rejects(east.client.call('deploy', { ...release, signature: signature.subarray(1) }), { code: 'EINVAL' });
    await assert.rejects(east.client.call('deploy', release), { code: 'EPERM' });
  });

  it('is still so after a restart, and for an app alone if so wished', async () => {
    assert.equal(await names(ada, east), 'ada');
    const file = join(cluster.dir, 'bob.key');
    writeFileSync(file, `${keys.bob}\n`);
    await ada.ok(east, 'trust', 'add', 'bob', file, '--app', 'other');
    await refused(bob, 3, /may not deploy/);
    await bob.ok(east, 'deploy', cluster.app('other', app(8, 'other')));
    await ada.ok(east, 'trust', 'add', 'bob', keys.bob);
    await bob.ok(east, 'deploy', cluster.app('shop', app(3)));
    await ada.ok(east, 'trust', 'remove', 'bob');
    assert.equal(await names(ada, east), 'ada');
    await refused(bob, 4, /may not deploy/);
  });

  it('rolls back to what one who is trusted has signed, and to nothing else', async () => {
    await ada.ok(east, 'deploy', cluster.app('shop', app(4)));
    const { error } = await ada.run(east, 'rollback', 'shop'); // to bob's
    assert.equal(error.code, 'EPERM');
    const { deploys } = await ada.ok(east, 'releases', 'shop');
    await ada.ok(east, 'rollback', 'shop', deploys[2].release);
    assert.equal(await version(east, 'd'), 2);
  });

  it('is not changed by what makes no sense', async () => {
    const why = async (...args) => (await ada.run(east, 'trust', ...args)).error;
    assert.equal((await why('add', 'eve', 'isola_key_AAAA')).code, 'EINVAL');
    assert.match((await why('add', 'eve', `${keys.bob.slice(0, -1)}${keys.bob.endsWith('A') ? 'B' : 'A'}`)).message, /mistyped|not whole/);
    assert.equal((await why('add', 'eve', join(cluster.dir, 'nothing'))).code, 'EINVAL');
    assert.equal((await why('add', 'no/name', keys.bob)).code, 'EINVAL');
    assert.equal((await why('add', 'ada', keys.bob)).code, 'EEXIST');
    assert.equal((await why('remove', 'eve')).code, 'ENOENT');
    for (const args of [['grant'], ['add'], ['remove'], ['list', 'x'], ['list', '--app', 'shop'], ['add', 'eve', '--app', 'a/b']]) assert.equal((await why(...args)).code, 'EUSAGE', args.join(' '));
    await assert.rejects(east.client.call('trust', { add: 'eve' }), { code: 'EINVAL' });
    await assert.rejects(east.client.call('trust', { add: 7 }), { code: 'EINVAL' });
    assert.equal(await names(ada, east), 'ada');
  });

  it('is anyone again when the last one is removed', async () => {
    await ada.ok(east, 'trust', 'remove', 'ada');
    await bob.ok(east, 'deploy', cluster.app('shop', app(5)));
    assert.equal(await version(east, 'e'), 5);
  });
});

describe('who may deploy in a cluster', () => {
  const cluster = new Cluster();
  let east, west, north, ada, bob;
  const deploy = (who, agent, v) => who.run(agent, 'deploy', cluster.app(`shop${v}`, app(v)));
  const up = (list) => until(`${list} are up`, async () => {
    const known = await nodes(east);
    return list.every((name) => known.some((n) => n.name === name && n.state === 'up'));
  });
  before(async () => {
    [ada, bob] = ['ada', 'bob'].map((name) => person(cluster, name));
    east = await cluster.node('east');
    await ada.ok(east, 'trust', 'add', 'ada'); // before there is a cluster
    west = await cluster.node('west', east);
    north = await cluster.node('north', east);
    await up(['west', 'north']);
  });
  after(() => cluster.end());

  it('is as before on the node that made the cluster, and on all who join', async () => {
    for (const agent of [east, west, north]) assert.equal(await names(ada, agent), 'ada');
    const { value } = await deploy(ada, west, 1);
    assert.equal(value.restricted, true);
    assert.deepEqual(value.nodes.toSorted(), ['east', 'north', 'west']);
    for (const agent of [east, west, north]) assert.equal((await deploy(bob, agent, 2)).error.code, 'EPERM');
    for (const agent of [east, west, north]) assert.equal(await version(agent, agent.name), 1);
  });

  it('is changed on any node, and known to one that was away', async () => {
    await north.stop();
    cluster.agents.splice(cluster.agents.indexOf(north), 1);
    const { key } = await bob.ok(west, 'trust', 'init');
    await ada.ok(west, 'trust', 'add', 'bob', key);
    for (const agent of [east, west]) await until('bob is trusted', async () => (await names(ada, agent)) === 'ada,bob');
    assert.equal((await deploy(bob, west, 3)).status, 0);
    north = await cluster.node('north', east);
    await up(['north']);
    await until('north has it', async () => (await ada.ok(north, 'releases', 'shop')).deploys.length === 2);
    assert.equal(await names(ada, north), 'ada,bob');
    assert.equal(await version(north, 'n'), 3);
    await ada.ok(north, 'trust', 'remove', 'bob');
    for (const agent of [east, west, north]) await until('bob is not trusted', async () => (await names(ada, agent)) === 'ada');
    assert.equal((await deploy(bob, north, 4)).error.code, 'EPERM');
  });

  it('is known by every node for itself: one that lacks a release takes it from none when it is signed wrongly', async () => {
    assert.deepEqual((await ada.ok(east, 'trust')).unsigned, ['shop']); // bob's release is current
    const south = await cluster.node('south', east);
    await up(['south']);
    assert.deepEqual(await ada.ok(south, 'releases'), { apps: [] });
    assert.match(south.log(), /signed by one who may not deploy it/);
    assert.equal((await deploy(ada, east, 5)).value.nodes.length, 4);
    assert.equal(await version(south, 's'), 5);
  });
});
