// SPDX-License-Identifier: Apache-2.0
//
// Actors beside their peers, in one run: asks, emits and births in shared and own isolates, and Erlang's gen_server doing the same.
// Prints a JSON line per measurement and a table of ratios.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Cluster, ctl } from '../integration/cluster.mjs';

const MS = Number(process.env.BENCH_MS ?? 3000);
const results = [];
const line = (r) => { results.push(r); console.log(JSON.stringify(r)); };

function erlang() {
  const dir = mkdtempSync(join(tmpdir(), 'isola-bench-'));
  try {
    execFileSync('erlc', ['-o', dir, join(import.meta.dirname, 'peers/gen_server_bench.erl')]);
    const out = execFileSync('erl', ['-noshell', '-pa', dir, '-s', 'gen_server_bench', 'main', '10000', '64', String(MS)], { encoding: 'utf8', timeout: 120_000 });
    for (const text of out.trim().split('\n')) line(JSON.parse(text));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function isola() {
  const cluster = new Cluster();
  try {
    const node = await cluster.node('bench');
    const deployed = await ctl(node, 'deploy', join(import.meta.dirname, 'app'));
    if (deployed.status !== 0) throw new Error(deployed.err);
    const ask = (...args) => node.client.actor('bench/Caller', 'one').ask(...args, { timeout: 120_000 });
    line({ peer: 'isola', bench: 'birth', kind: 'shared', ...await ask('birth', 'Shared', 10_000, 'echo', 1) });
    await ask('asks', 'Shared', 10_000, 64, MS / 3, 'echo', 1);
    line({ peer: 'isola', bench: 'ask', kind: 'shared', ...await ask('asks', 'Shared', 10_000, 64, MS, 'echo', 1) });
    line({ peer: 'isola', bench: 'ask', kind: 'shared', ...await ask('asks', 'Shared', 1, 1, MS / 3, 'echo', 1) });
    line({ peer: 'isola', bench: 'emit', kind: 'shared', ...await ask('emits', 'Shared', 10_000, MS) });
    line({ peer: 'isola', bench: 'birth', kind: 'isolate', ...await ask('birth', 'Isolate', 1000, 'echo', 1) });
    line({ peer: 'isola', bench: 'ask', kind: 'isolate', ...await ask('asks', 'Isolate', 1000, 64, MS, 'echo', 1) });
    line({ peer: 'isola', bench: 'durable', kind: 'shared', ...await ask('asks', 'Durable', 1000, 64, MS, 'add', 1) });
  } finally {
    await cluster.end();
  }
}

await isola();
if (spawnSync('erl', ['-version']).error === undefined) erlang();
else console.error('bench: no Erlang here, so no ratios to gen_server (apt-get install erlang-base)');

const find = (peer, bench, kind, actors) => results.find((r) => r.peer === peer && r.bench === bench && (kind === undefined || r.kind === kind) && (actors === undefined || r.actors === actors));
const ratio = (name, a, b) => { if (a && b) console.log(`${name.padEnd(52)} ${(a.rate / b.rate).toFixed(2)}`); };
console.log('\nratios in this run');
ratio('shared asks, 64 callers, 10,000 actors : gen_server', find('isola', 'ask', 'shared', 10_000), find('erlang', 'ask'));
ratio('shared emits : gen_server:cast', find('isola', 'emit', 'shared'), find('erlang', 'emit'));
ratio('isolate asks, 64 callers, 1,000 isolates : gen_server', find('isola', 'ask', 'isolate'), find('erlang', 'ask'));
ratio('durable asks : the same in memory', find('isola', 'durable'), find('isola', 'ask', 'shared', 10_000));
