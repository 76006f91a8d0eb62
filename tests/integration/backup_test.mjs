// SPDX-License-Identifier: Apache-2.0
//
// ctl backup of a node that works, ctl restore into data directories, and nodes that begin with what was restored.
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Cluster, ctl, ctlOk, nodes, until } from './cluster.mjs';

const app = {
  'isola.json': { name: 's', actors: { Box: { module: './box.js' } } },
  'box.js': `
    export default (self) => {
      self.on('add', () => { self.state.n = (self.state.n ?? 0) + 1; self.storage.put('n', self.state.n); self.sql.exec('CREATE TABLE IF NOT EXISTS t (n)'); self.sql.exec('INSERT INTO t VALUES (?)', self.state.n); return self.state.n; });
      self.on('get', async () => [self.state.n, await self.storage.get('n'), self.sql.exec('SELECT max(n) AS n FROM t').toArray()[0].n]);
    };`,
};

const cluster = new Cluster();
let node, dir;
before(async () => {
  node = await cluster.node('east');
  await cluster.deploy(node, 's', app);
  dir = join(cluster.dir, 'backup');
});
after(() => cluster.end());

const box = (agent, key = 'a') => agent.client.actor('s/Box', key);
const stop = async (agent) => {
  await agent.client.close();
  cluster.clients.splice(cluster.clients.indexOf(agent.client), 1);
  assert.equal(await agent.stop(), undefined);
  cluster.agents.splice(cluster.agents.indexOf(agent), 1);
};

describe('a backup', { timeout: 240_000 }, () => {
  test('is made while actors work, and has what was answered before', async () => {
    for (let i = 0; i < 20; i++) await box(node).ask('add');
    let over = false, last = 0;
    const busy = (async () => {
      while (!over) last = await box(node, 'busy').ask('add');
    })();
    await until('it is busy', () => last > 0);
    const text = await ctlOk(node, 'backup', dir);
    over = true;
    await busy;
    assert.match(text, /^wrote .*\/backup: \d+ files, [\d.]+ [KM]B, of node east at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, in /);
    const about = JSON.parse(readFileSync(join(dir, 'backup.json')));
    assert.equal(about.node, 'east');
    assert.deepEqual(about.files.map((f) => f.name).sort(), readdirSync(dir).filter((f) => f !== 'backup.json').sort());
    for (const f of about.files) assert.equal(statSync(join(dir, f.name)).size, f.bytes);
    assert.equal(statSync(dir).mode & 0o777, 0o700);
    const again = await ctl(node, 'backup', dir);
    assert.deepEqual([again.status, /^ctl: EEXIST: .* is there already/.test(again.err)], [1, true]);
    const pid = (await nodes(node))[0].host_pid;
    for (let i = 0; i < 60; i++) await assert.rejects(node.client.call('backup', { path: dir }), { code: 'EEXIST' }); // its thread may end before it is known to have begun
    assert.equal((await nodes(node))[0].host_pid, pid);
  });

  test('makes another node of an empty directory', async () => {
    for (let i = 0; i < 5; i++) await box(node).ask('add');
    const to = join(cluster.dir, 'copy');
    const answer = JSON.parse(await ctlOk(node, '--json', 'restore', dir, '--data', to));
    assert.deepEqual([answer.node, answer.aside], ['east', null]);
    const copy = await cluster.node('copy');
    assert.deepEqual(await box(copy).ask('get'), [20, 20, 20]);
    assert.equal(await box(copy).ask('add'), 21);
    const busy = await box(copy, 'busy').ask('get');
    assert.deepEqual(busy, [busy[0], busy[0], busy[0]]);
    assert.deepEqual(await box(node).ask('get'), [25, 25, 25]);
    await stop(copy);
  });

  test('is not restored over data, nor under an agent, unless that is meant', async () => {
    const to = join(cluster.dir, 'east');
    const used = await ctl(node, 'restore', dir, '--data', to, '--force');
    assert.deepEqual([used.status, /^ctl: .* is in use by another agent \(pid \d+\)/.test(used.err)], [1, true], used.err);
    await stop(node);
    const full = await ctl(node, 'restore', dir, '--data', to);
    assert.deepEqual([full.status, /has data already \(state\.db\); with --force it is moved aside, not removed/.test(full.err)], [1, true], full.err);
    const { aside } = JSON.parse(await ctlOk(node, '--json', 'restore', dir, '--data', to, '--force'));
    assert.ok(existsSync(join(aside, 'state.db')) && existsSync(join(aside, 'state-0.db')) && existsSync(join(aside, 'catalog.db')));
    node = await cluster.node('east');
    assert.deepEqual(await box(node).ask('get'), [20, 20, 20]);
    assert.match(await ctlOk(node, 'store', '--check'), /^east: all \d+ files are sound$/m);
  });

  test('that is damaged is not restored', async () => {
    appendFileSync(join(dir, 'state-0.db'), 'x');
    const to = join(cluster.dir, 'nothing');
    const { status, err } = await ctl(node, 'restore', dir, '--data', to);
    assert.deepEqual([status, /is damaged: state-0\.db is not what was written then/.test(err)], [1, true], err);
    assert.deepEqual(readdirSync(to), ['lock']);
    assert.match((await ctl(node, 'restore', join(cluster.dir, 'apps'), '--data', to)).err, /there is no backup in/);
    assert.equal((await ctl(node, 'restore', dir)).status, 2);
    assert.equal((await ctl(node, 'backup')).status, 2);
  });
});
