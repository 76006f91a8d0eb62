// SPDX-License-Identifier: Apache-2.0
//
// What it costs that an answer is only given when what it tells of is on disk: beside the same asks of actors that keep nothing, and
// beside SQLite, which commits one change after the other. The same asks with files in memory tell what of it is the disk's.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { withNode } from '../lib/isola.mjs';
import { Store } from '../lib/peers.mjs';
import { inTurn } from './shared.mjs';

const ACTORS = 1000, CALLERS = 64, BYTES = 200;
const MEMORY = '/dev/shm'; // a file system in memory, where there is one

/** Runs `work` with a second node, whose files are in memory; without one where there is no place for them. */
function withMemory(work) {
  return existsSync(MEMORY) ? withNode(undefined, work, MEMORY) : work();
}

async function measure(ctx, node, other, store, dir) {
  const { report } = ctx;
  const asks = (of, type) => (ms) => of.asks(CALLERS, { type, actors: ACTORS, ms, event: 'add', args: [] });
  // Each isolate is to have compiled what it runs: some hundred turns each.
  for (const type of ['Account', 'Tally']) await asks(node, type)(ctx.full ? 6000 : 2000);
  if (other) await asks(other, 'Account')(ctx.full ? 3000 : 1000);
  const commits = (ms) => store.commits(join(dir, 'one.db'), ACTORS, BYTES, ms / 2);
  const all = await inTurn(ctx, { kept: asks(node, 'Account'), held: asks(node, 'Tally'), sqlite: commits, sharedKept: asks(node, 'SharedAccount'), sharedHeld: asks(node, 'SharedTally'),
    inMemory: other && asks(other, 'Account') });
  const line = (figures, fields) => report.line({ figure: 'durable-ask', actors: ACTORS, callers: CALLERS, ...fields, ...figures });
  line(all.kept, { kind: 'isolate', peer: 'isola' });
  line(all.held, { kind: 'isolate', peer: 'isola', how: 'nothing kept' });
  if (other) line(all.inMemory, { kind: 'isolate', peer: 'isola', how: 'files in memory' });
  line(all.sharedKept, { kind: 'shared', peer: 'isola' });
  line(all.sharedHeld, { kind: 'shared', peer: 'isola', how: 'nothing kept' });
  report.line({ figure: 'commit', peer: 'sqlite', ...all.sqlite });
  const { kept, held, sqlite } = all;
  const of = `${CALLERS} callers, 1,000 actors`;
  report.bar({ name: `durable: asks, ${of} : single SQLite commits`, atLeast: 5, unit: 'x', value: kept.rate / sqlite.rate, ours: kept.rate, theirs: sqlite.rate });
  report.bar({ name: `durable: asks, ${of} : the same without durability`, atLeast: 0.4, unit: 'x', value: kept.rate / held.rate, ours: kept.rate, theirs: held.rate, cpu: held.cpuus / kept.cpuus });
  report.bar({ name: `durable: asks, ${of}, p99 : a SQLite commit, median`, atMost: 10, unit: 'x', value: kept.p99us / sqlite.p50us, ours: kept.p99us, theirs: sqlite.p50us });
}

export const durable = {
  name: 'durable',
  async run(ctx) {
    const dir = mkdtempSync(join(tmpdir(), 'isola-bench-')); // where nodes have their data, too
    const store = new Store(ctx.build);
    try {
      await withNode(undefined, (node) => withMemory((other) => measure(ctx, node, other, store, dir)));
    } finally {
      await store.end();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};
