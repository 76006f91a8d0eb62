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
    assert.match(await ctlOk(east, 'deploy', cluster.app('shop', app(2)), '--canary', '50%'), /is a canary for 50%[^]*\n {2}next {3}'ctl promote shop' makes it current, 'ctl rollback shop' drops it\n$/);
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
    const { from, to, changed } = await json(east, 'diff', 'shop');
    assert.deepEqual([from, to, changed.map((c) => c.type)], [one, two, ['Counter', 'Many']]);
    assert.deepEqual([(await json(east, 'diff', 'shop', two)).to], [one], 'with one side given, the other is the current one');
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
    process.env.SLOW = '1500';
    west = await cluster.node('west', east);
    delete process.env.SLOW;
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

  it('is none of what has become current while it was checked', async () => {
    const race = (version) => cluster.app(`race${version}`, {
      'isola.json': { name: 'race', actors: { A: { module: './a.js' } }, permissions: { env: ['SLOW'] } },
      'a.js': `if (${version} > 1) await new Promise((done) => setTimeout(done, process.env.SLOW ?? 0));\nexport default (self) => self.on('version', () => ${version});`,
    });
    await ctlOk(east, 'deploy', race(1));
    const trying = refused(west, 'deploy', race(2), '--canary', '30%');
    await until('west checks it', async () => (await west.client.call('deploying', { app: 'race' }))?.stage === 'check');
    const { release } = await json(east, 'deploy', race(2));
    const { code: why, message } = await trying;
    assert.deepEqual([why, message], ['EINVAL', `release ${release} is the current one of app "race": a canary is another release`]);
    await killHost(west);
    for (const node of [east, west, north]) {
      const { current, canary } = await json(node, 'releases', 'race');
      assert.deepEqual([current, canary], [release, undefined]);
      assert.equal(await node.client.actor('race/A', node.name).ask('version'), 2);
    }
  });
});

describe('a canary that is watched', () => {
  const cluster = new Cluster();
  const watched = (version, get, rollout) => ({
    'isola.json': { name: 'shop', actors: { Many: { module: './many.js', isolation: 'shared' } }, rollout },
    'many.js': `export default (self) => {
  self.on('get', (n) => { ${get}; });
  self.on('version', () => ${version});
};`,
  });
  const dir = (...args) => cluster.app('shop', watched(...args));
  /** Which of its asks of all keys fail. */
  const ask = async () => (await Promise.allSettled(KEYS.map((key, n) => west.client.actor('shop/Many', key).ask('get', n)))).flatMap((r, n) => (r.status === 'rejected' ? [KEYS[n]] : []));
  const state = async (agent) => {
    const { current, canary, deploys } = await json(agent, 'releases', 'shop');
    return { current, canary, last: deploys[0] };
  };
  let east, west, one;
  before(async () => {
    east = await cluster.node('east');
    west = await cluster.node('west', east);
    one = (await json(east, 'deploy', '--wait', dir(1, 'return n', { window: '0ms' }))).release;
  });
  after(() => cluster.end());
  const tried = (agent, release) => until('it is tried', async () => (await state(agent)).canary === release);

  it('is dropped on all nodes when it fails more than the current one does meanwhile', async () => {
    const waiting = ctl(east, 'deploy', '--wait', '--timeout', '30000', '--canary', '30%', dir(2, "if (n % 2) throw new Error('odd'); return n", { window: '1h' }));
    const two = await until('it is tried', async () => (await state(west)).canary);
    await ask();
    const r = await waiting;
    assert.equal(r.status, 1, r.out);
    assert.match(r.err, new RegExp(`^ctl: canary ${two} of shop has failed, and is dropped: it is all of release ${one} again: \\d+ of \\d+ turns of its actors failed \\([\\d.]+%, of the current release meanwhile 0%\\), first shop/Many/k\\d+: Error: odd\n`));
    assert.match(r.err, /> {5}2 │ {3}self\.on\('get', .*\n {10}│ +\^\n/);
    for (const agent of [east, west]) {
      const { current, canary, last } = await until('it is gone', async () => ((await state(agent)).canary === undefined ? state(agent) : undefined));
      assert.deepEqual([current, canary, last.release, last.by, last.restores !== 0], [one, undefined, one, 'isola@east', true]);
      assert.match(last.message, /^by itself: \d+ of \d+ turns of its actors failed/);
      assert.equal(of(await versions(agent), 1).length, KEYS.length);
    }
    assert.match(await ctlOk(west, 'releases', 'shop'), /roll-back +isola@east +by itself: [^\n]*\n.* canary 30% /);
    assert.match(east.log(), new RegExp(`canary ${two} of shop has failed, to be dropped: `));
    assert.deepEqual(await ask(), []);
  });

  let good;
  it('stays when the current one fails as often in the same time, until it is promoted', async () => {
    const fails = (n) => `if (n % 2) throw new Error('odd'); return n + ${n}`;
    await json(east, 'deploy', '--wait', dir(3, fails(0), { window: '0ms' }));
    const waiting = ctl(west, '--json', 'deploy', '--wait', '--timeout', '30000', '--canary', '30%', dir(4, fails(1), { window: '3s' }));
    const four = await until('it is tried', async () => (await state(east)).canary);
    await ask();
    const { status, out } = await waiting;
    assert.equal(status, 0, out);
    const { rollout, share } = JSON.parse(out);
    assert.deepEqual([rollout.state, share], ['proven', 300_000]);
    assert.ok(rollout.turns >= 50 && rollout.errors >= 20 && rollout.before_turns >= 120 && rollout.before_errors >= 50 && rollout.before_turns + rollout.turns <= 2 * KEYS.length, out);
    assert.equal((await state(east)).canary, four);
    assert.match(await ctlOk(east, 'deploy', '--wait', '--canary', '31%', dir(4, fails(1), { window: '0ms' })), /is a canary for 31%[^]* {2}stays {2}0 of 0 turns failed, of the current release 0 of \d+, seen for [^]*none of its actors was asked anything: how it does is not known yet/);
    await ctlOk(east, 'rollback', 'shop');
    const { release } = await json(east, 'deploy', '--canary', '30%', dir(4, fails(1), { window: '1500ms' }));
    await ask();
    const promoted = JSON.parse(await ctlOk(east, '--json', 'promote', 'shop', '--wait'));
    assert.deepEqual([promoted.release, promoted.rollout.state, promoted.rollout.errors, promoted.rollout.ms > 300], [release, 'proven', 0, true]);
    assert.deepEqual([(await state(west)).current, (await state(west)).canary], [release, undefined]);
    good = (await json(east, 'deploy', '--wait', dir(45, 'return n', { window: '0ms' }))).release;
  });

  it('with "rollback": false stays, and who waits is told', async () => {
    const waiting = ctl(east, 'deploy', '--wait', '--timeout', '30000', '--canary', '30%', dir(5, "throw new Error('bad')", { window: '1h', rollback: false }));
    const five = await until('it is tried', async () => (await state(west)).canary);
    await tried(east, five);
    await ask();
    const r = await waiting;
    assert.deepEqual([r.status, new RegExp(`^ctl: canary ${five} of shop has failed, and stays: `).test(r.err)], [1, true], r.err);
    assert.equal((await state(west)).canary, five);
    await ctlOk(west, 'rollback', 'shop');
  });

  it('ends the watch of a release that is current since a moment ago, says so, and when it is dropped that is watched again', async () => {
    const first = ctl(east, 'deploy', '--wait', '--timeout', '30000', dir(6, "throw new Error('six')", { window: '1h' }));
    const six = await until('it is current', async () => (await state(west)).current !== good && (await state(west)).current);
    await until('it is so on both', async () => (await state(east)).current === six);
    const text = await ctlOk(west, 'deploy', '--canary', '30%', dir(7, 'return n', { window: '1h' }));
    assert.match(text, new RegExp(`  watch  release ${six} is current since a moment ago and was watched still: while it has a canary it is not gone back from`));
    assert.match(west.log(), new RegExp(`release ${six} of shop was watched still, and is not while it has a canary`));
    const r = await first;
    assert.deepEqual([r.status, new RegExp(`^ctl: release ${six} of shop is current, but has not proven itself: another deploy has ended its watch`).test(r.err)], [1, true], r.err);
    await ask();
    assert.equal((await state(east)).current, six);
    await ctlOk(east, 'rollback', 'shop');
    await ask();
    await until('it is gone back from', async () => (await state(west)).current === good);
  });

  it('is watched on by another node when the first is lost', async () => {
    await ctlOk(east, 'deploy', '--canary', '30%', dir(8, "throw new Error('eight')", { window: '1h' }));
    await until('it is tried', async () => (await state(west)).canary);
    await killNode(cluster, east);
    await until('it is dropped', async () => {
      await ask(); // the first of them may have been asked of the node that is gone
      return (await state(west)).canary === undefined;
    });
    const { current, last } = await state(west);
    assert.deepEqual([current, last.by, last.restores !== 0], [good, 'isola@west', true]);
  });
});
