// SPDX-License-Identifier: Apache-2.0
//
// Releases: which were current when, what they have different, and the way back to an earlier one.
import assert from 'node:assert/strict';
import { chmodSync, symlinkSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Cluster, ctl, ctlOk, killNode, nodes, until } from './cluster.mjs';

const code = (version) => `export default (self) => { self.state.n ??= 0; self.on('version', () => ${version}); self.on('add', () => ++self.state.n); };`;
const app = (version, more = {}) => ({
  'isola.json': { name: 'shop', actors: { Counter: { module: './counter.js' }, ...more.actors }, ...more.manifest },
  'counter.js': code(version),
  ...more.files,
});
const json = async (agent, ...args) => JSON.parse(await ctlOk(agent, '--json', ...args));
const releases = (agent) => json(agent, 'releases', 'shop');
const counter = (agent, key = 'a') => agent.client.actor('shop/Counter', key);
const version = (agent, key) => counter(agent, key).ask('version');
/** What a command that must fail says, with its code. */
async function refused(agent, ...args) {
  const { status, out } = await ctl(agent, '--json', ...args);
  assert.notEqual(status, 0, `ctl ${args.join(' ')} succeeded: ${out}`);
  return JSON.parse(out).error;
}

describe('releases of one node', () => {
  const cluster = new Cluster();
  let east, ids = [];
  const deploy = async (v, ...args) => (await json(east, 'deploy', cluster.app('shop', app(v)), ...args)).release;
  before(async () => { east = await cluster.node('east'); });
  after(() => cluster.end());

  it('are none before the first deploy', async () => {
    assert.deepEqual(await json(east, 'releases'), { apps: [] });
    assert.match(await ctlOk(east, 'releases'), /no app is deployed/);
    for (const command of ['releases', 'rollback', 'diff']) {
      const error = await refused(east, command, 'shop');
      assert.equal(error.code, 'ENOENT');
      assert.match(error.message, /no app "shop" is deployed/);
    }
  });

  it('are listed, the newest first, with who deployed them, when and why', async () => {
    const began = Date.now();
    ids.push(await deploy(1), await deploy(2, '-m', 'two: ä'), await deploy(3, '--message', 'three'));
    const { deploys, current, back } = await releases(east);
    assert.deepEqual(deploys.map((d) => d.release), ids.toReversed());
    assert.deepEqual(deploys.map((d) => d.message), ['three', 'two: ä', '']);
    assert.ok(deploys.every((d) => d.by === `${userInfo().username}@${hostname()}` && d.restores === 0));
    assert.ok(deploys.every((d) => d.deployed_ms >= began && d.deployed_ms <= Date.now()));
    assert.equal(current, ids[2]);
    assert.equal(back, ids[1]);
    const text = await ctlOk(east, 'releases', 'shop');
    assert.match(text, new RegExp(`${ids[2]} +current .*deploy .*three\n`));
    assert.match(text, new RegExp(`'ctl rollback shop' goes back to ${ids[1]}`));
    assert.match(await ctlOk(east, 'releases'), new RegExp(`shop +${ids[2]} .*three`));
  });

  it('go back one, and one more', async () => {
    assert.equal(await version(east), 3);
    await counter(east).ask('add');
    const first = await json(east, 'rollback', 'shop', '-m', 'three was bad');
    assert.equal(first.release, ids[1]);
    assert.equal(first.before, ids[2]);
    assert.equal(first.unchanged, false);
    assert.equal(await version(east), 2);
    assert.equal(await counter(east).ask('add'), 2); // its state stays
    const { deploys } = await releases(east);
    assert.equal(deploys[0].message, 'three was bad');
    assert.equal(deploys[0].restores, deploys[2].revision);
    assert.match(await ctlOk(east, 'releases', 'shop'), new RegExp(`${ids[1]} +current .*roll-back`));
    assert.match(await ctlOk(east, 'rollback', 'shop'), new RegExp(`shop is back at release ${ids[0]}; it was at ${ids[1]} \\(\\d+ ms\\)\n  nodes  east`));
    assert.equal(await version(east), 1);
    const error = await refused(east, 'rollback', 'shop');
    assert.equal(error.code, 'ENOENT');
    assert.match(error.message, /nothing to go back to/);
  });

  it('go to one by the beginning of its id, also forth, and from there back below it', async () => {
    assert.equal((await json(east, 'rollback', 'shop', ids[2].slice(0, 6))).release, ids[2]);
    assert.equal(await version(east), 3);
    const again = await json(east, 'rollback', 'shop', ids[2]);
    assert.equal(again.unchanged, true);
    assert.match(await ctlOk(east, 'rollback', 'shop', ids[2]), /is at release \w+ already/);
    assert.equal((await json(east, 'rollback', 'shop')).release, ids[1]);
    const next = await deploy(4);
    assert.equal((await json(east, 'rollback', 'shop')).release, ids[1]);
    assert.equal((await json(east, 'rollback', 'shop')).release, ids[0]);
    ids.push(next);
  });

  it('refuse what is no release', async () => {
    const unknown = await refused(east, 'rollback', 'shop', 'ffffffffffffffff');
    assert.equal(unknown.code, 'ENOENT');
    for (const id of ids) assert.ok(unknown.message.includes(id));
    for (const bad of ['xyz', '0'.repeat(17), '..', '%s']) assert.equal((await refused(east, 'rollback', 'shop', bad)).code, 'EINVAL');
    assert.equal((await refused(east, 'diff', 'shop', 'xyz')).code, 'EINVAL');
    assert.equal((await refused(east, 'rollback', 'nosuch')).code, 'ENOENT');
    assert.equal((await ctl(east, 'rollback', 'no/such')).status, 2);
    assert.equal((await ctl(east, 'rollback')).status, 2);
    assert.equal((await ctl(east, 'releases', 'a', 'b')).status, 2);
    const long = await refused(east, 'deploy', cluster.app('shop', app(5)), '-m', 'x'.repeat(1001));
    assert.match(long.message, /1000 bytes at the most/);
    await assert.rejects(east.client.call('rollback', {}), /"app" is missing/);
    await assert.rejects(east.client.call('rollback', { app: 'shop', message: 7 }), /"message" must be a string/);
    await assert.rejects(east.client.call('release', {}), /"app" is missing/);
    assert.equal((await releases(east)).current, ids[0]);
  });

  it('are compared', async () => {
    const more = {
      actors: { Cart: { module: './cart.js' }, Counter: { module: './counter.js', hibernateAfter: '5s' } },
      manifest: { permissions: { net: ['example.com:443'] } },
      files: { 'cart.js': 'export default () => {};' },
    };
    const { release } = await json(east, 'deploy', cluster.app('shop', app(12345, more)));
    const diff = await json(east, 'diff', 'shop');
    assert.deepEqual([diff.app, diff.from, diff.to], ['shop', ids[0], release]);
    assert.deepEqual([diff.added, diff.removed], [['Cart'], []]);
    assert.deepEqual(diff.changed.map((t) => t.type), ['Counter']);
    assert.ok(diff.changed[0].after > diff.changed[0].before);
    assert.deepEqual(diff.manifest.toSorted((a, b) => (a.key < b.key ? -1 : 1)), [
      { key: 'actors.Counter.hibernateAfter', after: '5s' },
      { key: 'permissions', after: { net: ['example.com:443'] } },
    ]);
    const back = await json(east, 'diff', 'shop', release.slice(0, 8), ids[0].slice(0, 8));
    assert.deepEqual([back.added, back.removed, back.from], [[], ['Cart'], release]);
    const text = await ctlOk(east, 'diff', 'shop', ids[0]);
    assert.match(text, /\+ type Cart/);
    assert.match(text, /~ type Counter: its bundle, \d+ B before, \d+ B after/);
    assert.match(text, /~ manifest permissions: nothing before, {"net":\["example.com:443"\]} after/);
    assert.match(await ctlOk(east, 'diff', 'shop', release, release), /nothing is different/);
    await json(east, 'rollback', 'shop');
    await assert.rejects(east.client.actor('shop/Cart', 'a').ask('x'), { code: 'ENOACTOR' });
  });

  it('are compared by their files and services, too', async () => {
    const project = (service, files) => cluster.app('web', {
      'isola.json': { name: 'web', actors: { Main: { module: './main.js', kind: 'service' }, ...service } },
      'main.js': 'setInterval(() => {}, 1e9);', 'same.txt': 'as it was', ...files,
    });
    const packages = (n, text) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`node_modules/p/${i}.js`, text.repeat(i + 1)]));
    const first = project({ Old: { module: './main.js', kind: 'service' } }, { 'gone.txt': 'x'.repeat(2048), 'data/old': '', ...packages(30, '1\n') });
    symlinkSync('old', join(first, 'data/link'));
    const a = await json(east, 'deploy', first);
    const second = project({ Main: { module: './main.js', kind: 'service', args: ['-v'] } }, { 'new.txt': 'new', 'data/old': '', ...packages(30, '22\n') });
    symlinkSync('../new.txt', join(second, 'data/link'));
    chmodSync(join(second, 'same.txt'), 0o755);
    const b = await json(east, 'deploy', second);
    const diff = await json(east, 'diff', 'web');
    assert.deepEqual([diff.from, diff.to, diff.added, diff.removed, diff.changed], [a.release, b.release, [], ['Old'], []]);
    assert.deepEqual(diff.manifest, [{ key: 'actors.Main.args', after: ['-v'] }]);
    const { changed, ...files } = diff.files;
    assert.deepEqual(files, { before: 36, after: 36, added: [{ path: 'new.txt', bytes: 3 }], removed: [{ path: 'gone.txt', bytes: 2048 }] });
    const [link, manifest, ...rest] = changed;
    assert.deepEqual(link, { path: 'data/link', before: { link: 'old' }, after: { link: '../new.txt' } });
    assert.equal(manifest.path, 'isola.json');
    assert.deepEqual(rest.at(-1), { path: 'same.txt', before: { bytes: 9 }, after: { bytes: 9, program: true } });
    assert.deepEqual(rest.find((f) => f.path === 'node_modules/p/29.js'), { path: 'node_modules/p/29.js', before: { bytes: 60 }, after: { bytes: 90 } });
    const lines = (await ctlOk(east, 'diff', 'web', a.release.slice(0, 8))).split('\n');
    assert.deepEqual(lines.slice(1, 4), ['  - type Old', '  ~ manifest actors.Main.args: nothing before, ["-v"] after', '  - file gone.txt: 2.0 KB']);
    assert.ok(lines.includes('  ~ file data/link: a link to old before, a link to ../new.txt after'), lines.join('\n'));
    assert.ok(lines.includes('  ~ file same.txt: 9 B before, 9 B, a program after'), lines.join('\n'));
    assert.equal(lines.filter((line) => / file /.test(line)).length, 20);
    assert.equal(lines.at(-2), '    and 15 more files: of 36 before and 36 after, 1 came, 1 went, 33 changed; --json has them all');
    // where its services run instead
    await json(east, 'deploy', '--link', second);
    const linked = await json(east, 'diff', 'web');
    assert.deepEqual([linked.link, linked.files.removed.length, linked.files.added], [{ after: second }, 36, []]);
    assert.ok((await ctlOk(east, 'diff', 'web')).includes(`  ~ directory its services run in: nothing before, "${second}" after\n`));
    await json(east, 'deploy', cluster.app('web', { 'isola.json': { name: 'web', actors: { A: { module: './a.js' } } }, 'a.js': 'export default () => {};' }));
  });

  it('stay after a restart, the last ten of them and where the current one goes back to', async () => {
    await killNode(cluster, east);
    east = await cluster.node('east');
    assert.equal((await releases(east)).current, ids[0]);
    const first = await deploy(100);
    const base = await deploy(101);
    for (let v = 102; v < 115; v++) {
      await deploy(v);
      await json(east, 'rollback', 'shop');
    }
    const { current, back, deploys } = await releases(east);
    assert.equal(current, base);
    assert.equal(new Set(deploys.map((d) => d.release)).size, 11);
    assert.equal(back, first); // not among the last ten
    assert.equal((await json(east, 'rollback', 'shop')).release, first);
    assert.equal(await version(east), 100);
    assert.equal((await refused(east, 'rollback', 'shop', ids[2])).code, 'ENOENT');
  });

  it('are made current one after the other when several are deployed at once', async () => {
    const dirs = [201, 202, 203].map((v) => cluster.app(`shop${v}`, app(v)));
    const done = await Promise.all([...dirs.map((dir) => json(east, 'deploy', dir)), json(east, 'rollback', 'shop', (await releases(east)).deploys[1].release.slice(0, 10))]);
    const { deploys, current } = await releases(east);
    assert.deepEqual(deploys.slice(0, 4).map((d) => d.release).toSorted(), done.map((d) => d.release).toSorted());
    assert.equal(current, deploys[0].release);
  });
});

describe('releases of three nodes', () => {
  const cluster = new Cluster();
  let east, west, north, ids = [];
  const deploy = async (agent, v) => (await json(agent, 'deploy', cluster.app(`shop${v}`, app(v)))).release;
  const up = (names) => until(`${names} are up`, async () => {
    const list = await nodes(east);
    return names.every((name) => list.some((n) => n.name === name && n.state === 'up'));
  });
  /** All see the same. */
  const agree = (agents, what) => until(what, async () => {
    const lists = await Promise.all(agents.map(releases));
    return lists.every((l) => JSON.stringify(l) === JSON.stringify(lists[0])) && lists[0];
  });
  before(async () => {
    east = await cluster.node('east');
    west = await cluster.node('west', east);
    north = await cluster.node('north', east);
    await up(['east', 'west', 'north']);
  });
  after(() => cluster.end());

  it('are known to all alike, and go back everywhere within a second', async () => {
    ids.push(await deploy(east, 1), await deploy(west, 2), await deploy(north, 3));
    const { deploys } = await agree([east, west, north], 'all know three deploys');
    assert.deepEqual(deploys.map((d) => d.release), ids.toReversed());
    const { ms, nodes: taken } = await json(west, 'rollback', 'shop');
    assert.deepEqual(taken.toSorted(), ['east', 'north', 'west']);
    assert.ok(ms < 1000, `${ms} ms`);
    for (const agent of [east, west, north]) assert.equal(await version(agent, agent.name), 2);
    await agree([east, west, north], 'all know the roll-back');
  });

  it('reach a node that was away, which can go back to those it has missed', async () => {
    await north.stop();
    cluster.agents.splice(cluster.agents.indexOf(north), 1);
    await until('north is down', async () => (await nodes(east)).some((n) => n.name === 'north' && n.state === 'down'));
    ids.push(await deploy(east, 4), await deploy(west, 5));
    const back = await json(east, 'rollback', 'shop');
    assert.deepEqual([back.release, back.later], [ids[3], ['north']]);
    await deploy(east, 6);
    north = await cluster.node('north', east);
    await up(['north']);
    await agree([east, west, north], 'north knows what it has missed');
    assert.equal((await json(north, 'rollback', 'shop')).release, ids[3]); // it never had that one
    assert.equal((await json(north, 'rollback', 'shop', ids[4])).release, ids[4]);
    for (const agent of [east, west, north]) assert.equal(await version(agent, `${agent.name}2`), 5);
    const { release } = await json(north, 'diff', 'shop', ids[0], ids[1]).then((d) => ({ release: d.to }));
    assert.equal(release, ids[1]);
  });

  it('agree after deploys and roll-backs on all nodes at once', async () => {
    const done = await Promise.all([
      ctl(east, '--json', 'deploy', cluster.app('shop7', app(7))),
      ctl(west, '--json', 'deploy', cluster.app('shop8', app(8))),
      ctl(north, '--json', 'rollback', 'shop', ids[0]),
    ]);
    assert.ok(done.some((r) => r.status === 0));
    const { current } = await until('all have the same one', async () => {
      const lists = await Promise.all([east, west, north].map(releases));
      return lists.every((l) => l.current === lists[0].current) && lists[0];
    });
    const versions = await Promise.all([east, west, north].map((a, i) => version(a, `x${i}`)));
    assert.equal(new Set(versions).size, 1, `release ${current}`);
  });

  it('are whole or not there when the agent of a roll-back is killed in the middle', async () => {
    const list = await releases(west);
    const [now, then] = [list.current, list.back];
    const rollback = ctl(west, '--json', 'rollback', 'shop');
    await killNode(cluster, west);
    await rollback;
    west = await cluster.node('west', east);
    await up(['west', 'north']);
    const { current } = await until('all have the same one', async () => {
      const lists = await Promise.all([east, west, north].map(releases));
      return lists.every((l) => l.current === lists[0].current) && lists[0];
    });
    assert.ok([now, then].includes(current));
    const versions = await Promise.all([east, west, north].map((a, i) => version(a, `y${i}`)));
    assert.equal(new Set(versions).size, 1);
  });
});
