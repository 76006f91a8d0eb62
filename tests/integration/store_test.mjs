// SPDX-License-Identifier: Apache-2.0
//
// ctl store: what nodes have on disk, whether it is sound, and what is said when it is not.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Cluster, ctl, ctlOk, ctlWhole, killNode, until } from './cluster.mjs';

const box = { module: './box.js', hibernateAfter: '1h' };
const app = {
  'isola.json': { name: 's', actors: { Box: box, Shared: { ...box, isolation: 'shared' } } },
  'box.js': `
    export default (self) => {
      self.on('keep', async (state, items, timers) => {
        self.state.text = 'x'.repeat(state);
        for (let i = 0; i < items; i++) self.storage.put('key' + i, 'y'.repeat(100));
        for (let i = 0; i < timers; i++) self.schedule('due', (60 + i) + 'm');
      });
    };`,
};

const cluster = new Cluster();
let east, west;
before(async () => {
  [east, west] = await cluster.pair('s', app);
});
after(() => cluster.end());

/** What both nodes have together, once that is so many actors, and nothing is in the journal only. */
const settled = (actors, ...args) => until(`${actors} actors are on disk`, async () => {
  const { stores } = await ctlWhole(east, 'store', ...args);
  const all = stores.reduce((n, s) => n + s.actors, 0);
  return all === actors && stores.every((s) => s.journal === 0) && stores;
});
const sum = (stores, of) => stores.reduce((n, s) => n + of(s), 0);

describe('a store', { timeout: 240_000 }, () => {
  test('says what is in it', async () => {
    await east.client.actor('s/Box', 'big').ask('keep', 50_000, 0, 0);
    await east.client.actor('s/Shared', 'items').ask('keep', 10, 200, 3);
    for (let i = 0; i < 8; i++) await east.client.actor('s/Shared', `small${i}`).ask('keep', i, 0, 0);
    const stores = await settled(10);
    assert.deepEqual(stores.map((s) => s.node).sort(), ['east', 'west']);
    assert.ok(sum(stores, (s) => s.state_bytes) > 50_000);
    assert.equal(sum(stores, (s) => s.storage.rows), 200);
    assert.ok(sum(stores, (s) => s.storage.bytes) > 20_000);
    assert.equal(sum(stores, (s) => s.timers.rows), 3);
    assert.equal(sum(stores, (s) => s.sql.rows), 0);
    const largest = stores.flatMap((s) => s.largest).sort((a, b) => b.bytes - a.bytes);
    assert.equal(largest.length, 10);
    assert.deepEqual(largest.slice(0, 2).map((l) => l.address), ['s/Box/big', 's/Shared/items']);
    for (const s of stores) {
      assert.equal(s.cut, false);
      assert.equal(s.failure, null);
      assert.ok(s.commits_rate >= 0 && s.writes_rate >= 0);
      const names = s.files.map((f) => f.name);
      assert.ok(names.includes('state.db') && names.includes('state-0.db') && names.includes('catalog.db'), String(names));
      for (const f of s.files) assert.deepEqual([f.checked, f.damage, f.bytes >= 0], [false, null, true]);
    }
  });

  test('of one node, as a table', async () => {
    const { stores } = await ctlWhole(west, 'store', 'east', '--top', '1');
    assert.deepEqual(stores.map((s) => [s.node, s.largest.length]), [['east', 1]]);
    const lines = (await ctlOk(west, 'store', 'east', '--top', '0')).split('\n');
    assert.match(lines[0], /^NODE +ACTORS +STATES +STORAGE +SQL +TIMERS +MESSAGES +JOURNAL +HISTORY +FILES +LOGS +COMMITS\/S +WRITES\/S$/);
    assert.match(lines[1], /^east +\d+ /);
    assert.equal(lines[2], '');
    const { status, err } = await ctl(west, 'store', 'north');
    assert.deepEqual([status, /^ctl: ENOENT: no node named north is known to node west/.test(err)], [1, true]);
    assert.equal((await ctl(west, 'store', '--top', '1001')).status, 2);
    assert.equal((await ctl(west, 'ps', '--check')).status, 2);
  });

  test('is checked while it is used', async () => {
    const ref = east.client.actor('s/Box', 'busy');
    let over = false, done = 0;
    const busy = (async () => {
      while (!over) await ref.ask('keep', done++ % 100, 1, 0);
    })();
    const stores = (await ctlWhole(east, 'store', '--check')).stores;
    over = true;
    await busy;
    assert.ok(done > 0);
    for (const s of stores) for (const f of s.files) assert.deepEqual([f.name, f.checked, f.damage], [f.name, true, null]);
    assert.match(await ctlOk(east, 'store', 'east', '--check'), /^east: all \d+ files are sound$/m);
  });

  test('says what is damaged', async () => {
    const stores = await settled(11);
    const most = stores.toSorted((a, b) => b.state_bytes - a.state_bytes)[0];
    const [ill, other] = most.node === 'east' ? [east, west] : [west, east];
    await ill.stop();
    cluster.agents.splice(cluster.agents.indexOf(ill), 1);
    const { name } = most.files.filter((f) => f.name.startsWith('state-')).toSorted((a, b) => b.bytes - a.bytes)[0];
    const path = join(cluster.dir, ill.name, name);
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at += 4096) // pages that only have a piece of a long value: where the next piece is
      if (bytes.subarray(at + 4, at + 4096).every((b) => b === 'x'.charCodeAt())) bytes.fill(0x5a, at, at + 4);
    writeFileSync(path, bytes);
    const again = await cluster.node(ill.name, other);
    const { status, out } = await until('it is looked through', async () => {
      const answer = await ctl(again, 'store', ill.name, '--check');
      return !answer.out.includes('unreachable') && answer.status === 1 && answer.out !== '' && answer;
    });
    assert.equal(status, 1);
    assert.match(out, new RegExp(`^${ill.name}: ${name} is damaged: `, 'm'));
    await killNode(cluster, again);
    const { unreachable } = JSON.parse(await ctlOk(other, '--json', 'store'));
    assert.deepEqual(unreachable, [ill.name]);
  });
});
