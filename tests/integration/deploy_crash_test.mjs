// SPDX-License-Identifier: Apache-2.0
//
// Deploys that break in the middle: whoever dies or is cut off, each app is at the release before or at the new one, on all nodes, and what was sent is not sent
// again. A member of the cluster that is no program of ours says when.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

import { bin, Cluster, ctl, ctlOk, killNode, nodes, until } from './cluster.mjs';
import { Authority } from './member.mjs';
import { ASK, FAIL, REPLY } from './wire.mjs';

const cluster = new Cluster();
let east, west, authority;
before(async () => {
  east = await cluster.node('east');
  west = await cluster.node('west', east);
  authority = new Authority(join(cluster.dir, 'east'));
});
after(() => cluster.end());

const files = (version, name = 'shop') => ({
  'isola.json': { name, actors: { Counter: { module: './counter.js' } }, rollout: { window: '0ms' } },
  'counter.js': `export default (self) => self.on('version', () => ${version});`,
});
const deploy = async (agent, version, name) => JSON.parse(await ctlOk(agent, '--json', 'deploy', cluster.app(`${name ?? 'shop'}-${version}`, files(version, name)))).release;
const start = (agent, version) => ctl(agent, '--json', 'deploy', cluster.app(`shop-${version}`, files(version)));
const releaseOf = async (agent, app = 'shop') => (await agent.client.call('releases', { app })).current;
const everywhere = (release, app) => until(`${release} is current everywhere`, async () => (await Promise.all([east, west].map((a) => releaseOf(a, app)))).every((id) => id === release));
const answers = async (version) => {
  for (const agent of [east, west]) await until(`version ${version} answers`, async () => (await agent.client.actor('shop/Counter/a').ask('version').catch(() => 0)) === version);
};

/** A live node called `name` which has `on(what, message, wire)` called for each `prepare` and `commit`; without a result of true these are answered. */
async function stranger(name, on) {
  const wire = await authority.member(name).enter((await nodes(east)).find((n) => n.name === 'east').url);
  wire.hear = (m) => {
    if (m.kind !== ASK) return;
    if ((m.event === 'prepare' || m.event === 'commit') && on(m.event, m, wire)) return;
    wire.send({ kind: REPLY, id: m.id, args: [null] });
  };
  await until('it is live', async () => (await nodes(east)).some((n) => n.name === name && n.state !== 'down'));
  return wire;
}

let version = 0, current;
beforeEach(async () => {
  current = await deploy(east, ++version);
  await everywhere(current);
});

test('ctl is killed while it sends: nothing is deployed, and what was sent is not sent again', async () => {
  const dir = cluster.app('large', { 'isola.json': { name: 'large', actors: { Api: { module: './server.js', kind: 'service' } }, rollout: { window: '0ms' } }, 'server.js': 'setInterval(() => {}, 1e6);' });
  const sizes = 14;
  mkdirSync(join(dir, 'data'));
  for (let i = 0; i < sizes; i++) writeFileSync(join(dir, 'data', `${i}`), randomBytes(2_000_000));
  const child = spawn(join(bin, 'ctl'), ['--node', east.socket, 'deploy', dir], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  await until('some of it is there', async () => (await east.client.call('cache')).all.pieces >= 4 || child.exitCode !== null);
  child.kill('SIGKILL');
  const [, signal] = await ended;
  assert.equal(signal, 'SIGKILL');
  const there = (await east.client.call('cache')).all.pieces;
  for (const agent of [east, west]) await assert.rejects(releaseOf(agent, 'large'), /no app "large" is deployed/);
  const again = JSON.parse(await ctlOk(east, '--json', 'deploy', dir));
  assert.ok(there >= 4 && there < sizes + 2, `${there} pieces came before it was killed`);
  assert.ok(again.files.sent <= sizes + 2 - there, `${again.files.sent} files were sent again, ${there} pieces were there`);
  await everywhere(again.release, 'large');
});

test('the agent that was asked is killed before the commit: no node has it', async () => {
  let killed;
  const wire = await stranger('mark', (what) => {
    if (what === 'prepare') killed ??= killNode(cluster, east);
    return true;
  });
  const r = await start(east, ++version);
  await killed;
  wire.end();
  assert.equal(r.status, 1);
  assert.match(JSON.parse(r.out).error.message, /agent|closed|connection/);
  assert.equal(await releaseOf(west), current);
  east = await cluster.node('east');
  await everywhere(current);
  await answers(version - 1);
  await everywhere(await deploy(west, version)); // and it can be deployed still
  await answers(version);
});

test('it is killed after the commit: all nodes have it when it is back', async () => {
  let killed;
  const wire = await stranger('mark', (what) => {
    if (what === 'commit') killed ??= killNode(cluster, east);
    return what === 'commit';
  });
  const r = await start(east, ++version);
  await killed;
  wire.end();
  assert.equal(r.status, 1);
  east = await cluster.node('east');
  const release = await releaseOf(east);
  assert.notEqual(release, current);
  await everywhere(release);
  await answers(version);
});

test('a node that is lost while it prepares, or before it commits, does not hold it up', async () => {
  for (const at of ['prepare', 'commit']) {
    const wire = await stranger(`lost-in-${at}`, (what, m, link) => {
      if (what === at) link.end();
      return what === at;
    });
    const r = await start(east, ++version);
    assert.equal(r.status, 0, r.out);
    const { release, nodes: had, later } = JSON.parse(r.out);
    assert.deepEqual([had.sort(), later.includes(`lost-in-${at}`)], [['east', 'west'], true]);
    wire.end();
    await everywhere(release);
  }
  await answers(version);
});

test('a release that a node has and cannot give is asked for again', async () => {
  const wire = await authority.member('ahead').enter((await nodes(east)).find((n) => n.name === 'east').url, undefined, undefined, [{ app: 'ahead', revision: 7 }]);
  await until('it is asked for again', () => wire.frames.filter((m) => m.kind === ASK && m.event === 'fetch').length >= 2);
  assert.match(east.log(10_000), /the release of ahead could not be fetched from node ahead: .*; it is asked for again in 5 s/);
  wire.end();
});

test('a node that refuses it: none has it, and the reason is told', async () => {
  let refuse;
  const wire = await stranger('full', (what, m, link) => {
    if (what !== 'prepare') return false;
    refuse = () => link.send({ kind: FAIL, id: m.id, args: [Object.assign(new Error('the disk is full'), { code: 'EIO' })] });
    return true;
  });
  const deploying = start(east, ++version);
  await until('the others have prepared it', async () => {
    const how = await east.client.call('deploying', { app: 'shop' });
    return how?.stage === 'prepare' && how.nodes === 1 && how.of === 2 && refuse !== undefined;
  });
  refuse();
  const r = await deploying;
  wire.end();
  assert.deepEqual([r.status, JSON.parse(r.out).error], [1, { code: 'EIO', message: 'node full: the disk is full' }]);
  await everywhere(current);
  assert.equal(await east.client.call('deploying', { app: 'shop' }), null);
});

test('two at once, through one node and through two: both end, and all nodes have the same', async () => {
  for (const [a, b] of [[east, east], [east, west]]) {
    const both = await Promise.all([start(a, ++version), start(b, ++version)]);
    for (const r of both) assert.ok(r.status === 0 || /another|newer|higher|EEXIST/.test(r.out), r.out);
    assert.ok(both.some((r) => r.status === 0));
    const won = await until('they agree', async () => {
      const [x, y] = await Promise.all([east, west].map((agent) => releaseOf(agent)));
      return x === y && x;
    });
    assert.ok(both.some((r) => r.status === 0 && JSON.parse(r.out).release === won));
    const seen = await Promise.all([east, west].map((agent) => agent.client.actor('shop/Counter/a').ask('version')));
    assert.equal(seen[0], seen[1]);
  }
});

test('a node is killed, for good, as it is asked to prepare: the others have it, and it has when it is back', async () => {
  const deploying = start(east, ++version);
  await killNode(cluster, west);
  const r = await deploying;
  assert.equal(r.status, 0, r.out);
  west = await cluster.node('west');
  await everywhere(JSON.parse(r.out).release);
  await answers(version);
});
