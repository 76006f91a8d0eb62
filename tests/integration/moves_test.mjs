// SPDX-License-Identifier: Apache-2.0
//
// Actors that keep much follow their place in pieces: all of it arrives, whoever dies in the middle, without the memory for it, and others are served
// meanwhile.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctlOk, killHost, logged, nodes, sanitized, until } from './cluster.mjs';

const MB = 1_000_000;
const app = {
  'isola.json': {
    name: 'm',
    actors: { Big: { module: './big.js', sqlBytes: '256MB', cpu: '60s', external: '512MB' }, Many: { module: './big.js', isolation: 'shared', cpu: '60s', external: '512MB' } },
  },
  'big.js': `
    const filled = (i, size) => new Uint8Array(size).fill(i % 251 + 1);
    export default (self) => {
      self.on('state', (size) => { self.state.bytes = filled(7, size); self.state.n = (self.state.n ?? 0) + 1; });
      self.on('put', (from, to, size) => { for (let i = from; i < to; i++) self.storage.put('k' + i, filled(i, size)); });
      self.on('rows', (from, to, size) => self.sql.transaction(() => {
        self.sql.exec('CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY, b)');
        for (let i = from; i < to; i++) self.sql.exec('INSERT INTO t VALUES (?, ?)', i, filled(i, size));
      }));
      self.on('rest', () => {
        self.schedule('ring', { at: Date.now() + 3_600_000, id: 'later' });
        self.state.n = (self.state.n ?? 0) + 1;
      });
      self.on('ring', () => {});
      self.on('add', () => (self.state.n = (self.state.n ?? 0) + 1));
      // What is there: how many items and rows, their bytes, and whether each is as it was put.
      self.on('all', async () => {
        let items = 0, bytes = 0, wrong = 0;
        for (let i = 0; i < 300; i++) {
          const value = await self.storage.get('k' + i);
          if (value === undefined) continue;
          const mark = i % 251 + 1;
          items++;
          bytes += value.length;
          if (value[0] !== mark || value.at(-1) !== mark) wrong++;
        }
        const has = self.sql.exec("SELECT count(*) AS n FROM sqlite_schema WHERE name = 't'").toArray()[0].n > 0;
        const rows = has ? self.sql.exec('SELECT count(*) AS n, sum(length(b)) AS bytes FROM t').toArray()[0] : { n: 0, bytes: 0 };
        return { items, bytes, wrong, rows: rows.n, rowBytes: rows.bytes, n: self.state.n, state: self.state.bytes?.length, timers: (await self.schedules()).map((t) => t.id) };
      });
    };`,
};

/** Of these keys those that live on `name` when all nodes are there. */
async function keysOn(name, names) {
  const cluster = new Cluster();
  try {
    let first;
    for (const each of names) {
      const agent = await cluster.node(each, first);
      first ??= agent;
    }
    await cluster.deploy(first, 'm', app);
    const found = {};
    for (const type of ['Big', 'Many']) {
      for (let i = 0; i < 12; i++) await first.client.actor(`m/${type}`, `k${i}`).ask('add', { timeout: 30_000 });
      found[type] = (await actors(first, 'm')).filter((a) => a.address.startsWith(`m/${type}/`) && a.node === name).map((a) => a.address.split('/')[2]);
    }
    return found;
  } finally {
    await cluster.end();
  }
}

const LONG = { timeout: 120_000 };
const hostOf = async (agent) => (await nodes(agent)).find((n) => n.name === agent.name).host_pid;
const peak = (pid) => +/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1] * 1024;
const resetPeak = (pid) => writeFileSync(`/proc/${pid}/clear_refs`, '5');
/** How much of it is here, or undefined. */
const coming = async (agent, address) => (await agent.client.call('ps', { app: 'm' })).actors.find((a) => a.address === address && a.node === agent.name)?.coming;

async function fillItems(ref, mb) {
  for (let i = 0; i < mb; i += 20) await ref.ask('put', i, Math.min(i + 20, mb), MB, LONG);
  await ref.ask('rest');
}


let keys;
before(async () => { keys = await keysOn('west', ['east', 'west']); });

describe('much follows its place', { timeout: 240_000 }, () => {
  const cluster = new Cluster();
  after(() => cluster.end());
  test('200 MB of storage and a database of 100 MB, while others are served', async () => {
    const east = await cluster.node('east');
    await cluster.deploy(east, 'm', app);
    const [big, base, small] = keys.Big.map((key) => `m/Big/${key}`);
    const ref = (address) => east.client.actor(address);
    await fillItems(ref(big), 200);
    for (let i = 0; i < 100; i += 10) await ref(base).ask('rows', i, i + 10, MB, LONG);
    await ref(small).ask('add');
    const before = { big: await ref(big).ask('all', LONG), base: await ref(base).ask('all', LONG) };
    assert.deepEqual([before.big.items, before.big.bytes, before.base.rows], [200, 200 * MB, 100]);
    const west = await cluster.node('west', east);
    const pids = [await hostOf(east), await hostOf(west)];
    pids.forEach(resetPeak);
    const peaks = pids.map(peak);
    let done = false, asked = 0;
    const moving = Promise.all([ref(big).ask('add', LONG), ref(base).ask('add', LONG)]).finally(() => { done = true; });
    const seen = until('it is seen to come', async () => (await ctlOk(west, 'ps', 'm')).match(/^m\/Big\/\S+ comes from node east: .+ of .+$/m));
    for (; !done; asked++) await ref(small).ask('add');
    assert.deepEqual(await moving, [2, 1]);
    assert.ok(await seen && asked > 10);
    // Neither has all of it in memory: the giver a few pieces, the taker those, and what its store has not written into its tables yet.
    const grown = pids.map((pid, i) => peak(pid) - peaks[i]);
    if (!sanitized) assert.ok(grown[0] < 30 * MB && grown[1] < 120 * MB, `memory has grown by ${grown}`);
    assert.deepEqual(await ref(big).ask('all', LONG), { ...before.big, n: 2 });
    assert.deepEqual(await ref(base).ask('all', LONG), { ...before.base, n: 1 });
    await logged(east, big, /has come from node east: 200\.\d MB in \d+\.\d s/);
    const { histories: [history] } = await west.client.call('history', { address: big });
    assert.equal(history.points.filter((p) => p.storage.put > 0).length, 1, 'it came at one point of its history');
  });
});

describe('cut short', { timeout: 240_000 }, () => {
  const cluster = new Cluster();
  let east, west, big, second, all;
  const ref = () => east.client.actor(big);
  /** Some of it is on disk there, but not all; how much. */
  const half = (from = 1) => until('some of it is here', async () => {
    const has = await coming(west, big);
    return has !== undefined && has.bytes >= from && has.bytes < has.total && has.bytes;
  });
  const whole = async (n) => {
    all.n = n;
    assert.deepEqual(await ref().ask('all', LONG), all);
  };
  /** An `add` that is asked again when its answer was lost; it may have been done then. */
  const add = async () => {
    for (;;)
      try {
        return await ref().ask('add', LONG);
      } catch (error) {
        if (error.code !== 'EUNREACHABLE') throw error;
      }
  };
  before(async () => {
    east = await cluster.node('east');
    await cluster.deploy(east, 'm', app);
    big = `m/Big/${keys.Big[0]}`;
    second = `m/Big/${keys.Big[1]}`;
    await fillItems(ref(), 200);
    await fillItems(east.client.actor(second), 120);
    for (let i = 0; i < 40; i += 10) await ref().ask('rows', i, i + 10, MB, LONG);
    all = await ref().ask('all', LONG);
    west = await cluster.node('west', east);
  });
  after(() => cluster.end());

  test('by kill -9 of who takes it, and of who gives it, and of both: it goes on where it was', async () => {
    const asked = add();
    asked.catch(() => {});
    const before = await half(20 * MB);
    await killHost(west);
    void ref().ask('add', LONG).catch(() => {}); // somebody wants it: it goes on
    const after = await half();
    assert.ok(after >= before, `it begins with ${after} bytes, of ${before} that were there`);
    await killHost(east);
    assert.ok(await half() >= after);
    await Promise.all([killHost(west), killHost(east)]);
    const n = await add();
    assert.ok(n > all.n);
    await whole(n);
  });

  test('by a disk that is full where it goes: an error says so, and it comes when there is room', async () => {
    const host = await hostOf(west);
    const limit = (bytes) => execFileSync('prlimit', ['--pid', String(host), `--fsize=${bytes}:unlimited`]);
    const other = east.client.actor(second);
    // The journal takes nothing, or the tables, and then the journal, until what waits has no room.
    for (const room of [1 * MB, 30 * MB]) {
      limit(room);
      const why = () => other.ask('all', LONG).then(() => 'it came', (e) => `${e.code} ${e.message}`);
      await until('an error says so', async () => /^EFAILED .*it cannot be kept here: (the store cannot write what waits|cannot write \S+: File too large); is the disk full\?$/.test(await why()));
    }
    limit('unlimited');
    await until('it starts', () => other.ask('all', LONG).then(() => true, () => false)); // refused for a moment after a start that failed
    assert.equal((await other.ask('all', LONG)).items, 120);
  });
});
