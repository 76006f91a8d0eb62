// SPDX-License-Identifier: Apache-2.0
//
// Canaries: a release that is tried beside the current one, for always the same share of the app, until it is promoted or dropped.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Cluster, actors, ctl, ctlOk, killHost, killNode, until } from './cluster.mjs';

const code = (version) => `export default (self) => { self.state.n ??= 0; self.on('version', () => ${version}); self.on('add', () => [${version}, ++self.state.n]); };`;
const app = (version, types = {}) => ({
  'isola.json': { name: 'shop', actors: { Counter: { module: './counter.js' }, Many: { module: './counter.js', isolation: 'shared' }, ...types } },
  'counter.js': code(version),
});
const json = async (agent, ...args) => JSON.parse(await ctlOk(agent, '--json', ...args));
const deploy = async (agent, cluster, version, types, ...args) => json(agent, 'deploy', cluster.app('shop', app(version, types)), ...args);
const KEYS = Array.from({ length: 300 }, (_, k) => `k${k}`);
/** Which version each key is of. */
const versions = async (agent, type = 'Many') => Object.fromEntries(await Promise.all(KEYS.map(async (key) => [key, await agent.client.actor(`shop/${type}`, key).ask('version')])));
const of = (all, version) => Object.keys(all).filter((key) => all[key] === version);
const within = (n, least, most) => assert.ok(n >= least && n <= most, `${n} is not from ${least} to ${most}`);
async function refused(agent, ...args) {
  const { status, out } = await ctl(agent, '--json', ...args);
  assert.notEqual(status, 0, `ctl ${args.join(' ')} succeeded: ${out}`);
  return JSON.parse(out).error;
}

describe('a canary on one node', () => {
  const cluster = new Cluster();
  let east, one, two;
  before(async () => { east = await cluster.node('east'); });
  after(() => cluster.end());

  it('wants a share, and a release to stand beside', async () => {
    const dir = cluster.app('shop', app(1));
    for (const [share, text] of [['0%', /a canary of 0% is none/], ['100%', /is all of it: leave out --canary/], ['250%', /is all of it/], ['ten', /needs a share such as 10% or 0\.5%, not 'ten'/], ['10', /needs a share/], ['1.%', /needs a share/], ['0.00001%', /needs a share/]]) {
      const { status, err } = await ctl(east, 'deploy', dir, '--canary', share);
      assert.equal(status, 2, share);
      assert.match(err, text);
    }
    assert.match((await refused(east, 'deploy', dir, '--canary', '10%')).message, /app "shop" has no release yet .* deploy it without --canary/);
    assert.match((await refused(east, 'promote', 'shop')).message, /no app "shop" is deployed/);
    one = (await deploy(east, cluster, 1)).release;
    assert.match((await refused(east, 'deploy', dir, '--canary', '10%')).message, /is the current one of app "shop": a canary is another release/);
    assert.match((await refused(east, 'promote', 'shop')).message, /has no canary: 'ctl deploy DIR --canary 10%'/);
  });

  let few;
  it('has always the same actors, and with a larger share some more', async () => {
    await versions(east);
    await Promise.all(KEYS.slice(0, 20).map((key) => east.client.actor('shop/Counter', key).ask('add')));
    const done = await deploy(east, cluster, 2, {}, '--canary', '10%', '-m', 'tried');
    two = done.release;
    assert.equal(done.share, 100_000);
    const tenth = await versions(east);
    few = of(tenth, 2);
    within(few.length, 12, 55);
    assert.equal(of(tenth, 1).length + few.length, KEYS.length);
    assert.deepEqual(of(await versions(east), 2), few);
    await killHost(east);
    assert.deepEqual(of(await versions(east), 2), few);
    assert.match(await ctlOk(east, 'deploy', cluster.app('shop', app(2)), '--canary', '50%'), /is a canary for 50%/);
    const half = of(await versions(east), 2);
    within(half.length, 115, 185);
    assert.ok(few.every((key) => half.includes(key)));
    assert.equal((await deploy(east, cluster, 2, {}, '--canary', '50%')).unchanged, true);
    await deploy(east, cluster, 2, {}, '--canary', '10%');
    assert.deepEqual(of(await versions(east), 2), few);
    for (const key of KEYS.slice(0, 20)) assert.equal((await east.client.actor('shop/Counter', key).ask('add'))[1], 2, 'state goes along');
  });

  it('is shown', async () => {
    const { current, canary, share, back, deploys } = await json(east, 'releases', 'shop');
    assert.deepEqual([current, canary, share, back], [one, two, 100_000, one]);
    assert.deepEqual(deploys.map((d) => d.share), [100_000, 500_000, 100_000, 0]);
    const text = await ctlOk(east, 'releases', 'shop');
    assert.match(text, new RegExp(`${two} +canary .*canary 10%`));
    assert.match(text, new RegExp(`${one} +current .*deploy`));
    assert.match(text, /'ctl promote shop' makes the canary current, 'ctl rollback shop' goes back to/);
    assert.match(await ctlOk(east, 'ps', 'shop'), /^ADDRESS .* RELEASE\n/);
    const all = await actors(east, 'shop');
    for (const a of all) if (a.address.startsWith('shop/Many/')) assert.equal(a.release, few.includes(a.address.slice(10)) ? two : one, a.address);
  });

  it('is dropped by a roll-back, and ended by a deploy', async () => {
    const done = await json(east, 'rollback', 'shop');
    assert.deepEqual([done.release, done.before, done.unchanged], [one, two, false]);
    assert.equal(of(await versions(east), 1).length, KEYS.length);
    assert.equal((await json(east, 'releases', 'shop')).canary, undefined);
    assert.equal((await refused(east, 'rollback', 'shop')).code, 'ENOENT');
    await deploy(east, cluster, 2, {}, '--canary', '10%');
    assert.deepEqual(of(await versions(east), 2), few);
    await deploy(east, cluster, 1); // the current one, by itself
    assert.equal(of(await versions(east), 1).length, KEYS.length);
    assert.equal((await json(east, 'releases', 'shop')).canary, undefined);
  });

  it('has types of its own, and leaves alone those it has not', async () => {
    await deploy(east, cluster, 3, { New: { module: './counter.js' } }, '--canary', '0.5%');
    assert.equal(await east.client.actor('shop/New', 'a').ask('version'), 3);
    await json(east, 'rollback', 'shop');
    await assert.rejects(east.client.actor('shop/New', 'a').ask('version'), { code: 'ENOACTOR' });
  });

  it('is promoted at once, and then rolled back as any', async () => {
    await deploy(east, cluster, 2, {}, '--canary', '10%');
    await versions(east);
    assert.match(await ctlOk(east, 'promote', 'shop', '-m', 'well'), new RegExp(`shop is at release ${two}; it was at ${one} `));
    assert.equal(of(await versions(east), 2).length, KEYS.length);
    assert.match(await ctlOk(east, 'releases', 'shop'), new RegExp(`${two} +current .*promote .*well`));
    assert.equal((await json(east, 'rollback', 'shop')).release, one);
    assert.equal(of(await versions(east), 1).length, KEYS.length);
  });
});

describe('a canary of three nodes', () => {
  const cluster = new Cluster();
  let east, west, north;
  before(async () => {
    [east, west] = await cluster.pair('shop', app(1));
  });
  after(() => cluster.end());

  it('is the same on all, on those that join or were away, too', async () => {
    await versions(east);
    const { nodes, later } = await deploy(west, cluster, 2, {}, '--canary', '20%');
    assert.deepEqual([nodes.sort(), later], [['east', 'west'], []]);
    const canaries = of(await versions(east), 2);
    within(canaries.length, 35, 90);
    assert.deepEqual(of(await versions(west), 2), canaries);
    const seen = await actors(east, 'shop');
    assert.ok(['east', 'west'].every((node) => seen.some((a) => a.node === node)));
    north = await cluster.node('north', east);
    assert.deepEqual(of(await versions(north), 2), canaries);
    await killNode(cluster, west);
    await json(east, 'promote', 'shop');
    await deploy(east, cluster, 3, {}, '--canary', '20%');
    west = await cluster.node('west', east);
    await until('it has caught up', async () => (await json(west, 'releases', 'shop')).share === 200_000);
    assert.deepEqual(of(await versions(west), 3), canaries);
    assert.equal(of(await versions(west), 2).length, KEYS.length - canaries.length);
    await json(west, 'rollback', 'shop');
    for (const node of [east, west, north]) assert.equal(of(await versions(node), 2).length, KEYS.length);
  });

  it('of two at once one is on all', async () => {
    const dirs = [4, 5].map((v) => cluster.app(`shop${v}`, app(v)));
    await Promise.all([ctl(east, 'deploy', dirs[0], '--canary', '30%'), ctl(west, 'deploy', dirs[1], '--canary', '30%')]);
    const says = (node) => json(node, 'releases', 'shop').then((r) => `${r.current} ${r.canary} ${r.share}`);
    await until('all agree', async () => new Set(await Promise.all([east, west, north].map(says))).size === 1);
    const seen = await Promise.all([east, west, north].map((node) => versions(node)));
    for (const other of seen) assert.deepEqual(other, seen[0]);
    within(KEYS.length - of(seen[0], 2).length, 60, 125);
  });
});
