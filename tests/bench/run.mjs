// SPDX-License-Identifier: Apache-2.0
//
// The benchmarks: measures Isola and its peers in the same run, prints a JSON line for each figure and at the end a table of bars
// (docs/bench.md says what each means), and writes the lines to build/bench.json.
//
//   BENCH_MS=500     a quick run: so many milliseconds a round, fewer rounds, smaller crowds
//   BENCH_ONLY=wake  the figures whose names match
//   STORE_ACTORS=1e7 so many are stored for the figure 'stored', not a million
//   BENCH_STRICT=1   exit status 1 when a bar is missed
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { codecs } from './figures/codec.mjs';
import { deploying } from './figures/deploys.mjs';
import { durable } from './figures/durable.mjs';
import { isolates } from './figures/isolate.mjs';
import { links } from './figures/links.mjs';
import { mesh } from './figures/mesh.mjs';
import { packages } from './figures/packages.mjs';
import { services } from './figures/services.mjs';
import { messages, million } from './figures/shared.mjs';
import { storage } from './figures/storage.mjs';
import { stored } from './figures/stored.mjs';
import { bystanders, threads } from './figures/threads.mjs';
import { timers } from './figures/timers.mjs';
import { wakes } from './figures/wake.mjs';
import { endAll } from './lib/isola.mjs';
import { machine } from './lib/measure.mjs';
import { Erlang, Moleculer, Pm2, Workerd } from './lib/peers.mjs';
import { Report } from './lib/report.mjs';

const build = resolve(process.env.ISOLA_BUILD || join(import.meta.dirname, '../../build'));
const quick = process.env.BENCH_MS !== undefined && process.env.BENCH_MS !== '';
const ms = quick ? Number(process.env.BENCH_MS) : 2000;
if (!(ms >= 100 && ms <= 60_000)) {
  console.error(`bench: BENCH_MS is a number of milliseconds from 100 to 60000, not ${process.env.BENCH_MS}`);
  process.exit(2);
}
const figures = [codecs, messages, isolates, threads, bystanders, wakes, durable, timers, storage, stored, deploying, services, packages, mesh, links, million].filter((f) => new RegExp(process.env.BENCH_ONLY ?? '').test(f.name));

const report = new Report();
const hasErlang = spawnSync('erlc', ['-help'], { stdio: 'ignore' }).error === undefined;
const hasWorkerd = existsSync(Workerd.binary);
const hasMoleculer = existsSync(join(Moleculer.directory, 'node_modules/moleculer'));
const ctx = { report, build, ms, full: !quick, rounds: quick ? 3 : 5, machine: machine(), hasErlang, hasMoleculer };
const head = { bench: 'isola', mode: quick ? 'quick' : 'full', ms, rounds: ctx.rounds, ...ctx.machine, node: process.version, v8: process.versions.v8,
  erlang: hasErlang ? Erlang.version() : null, workerd: hasWorkerd ? Workerd.version() : null,
  moleculer: hasMoleculer ? Moleculer.version() : null, pm2: Pm2.there ? Pm2.version() : null };
console.log(JSON.stringify(head));
if (ctx.machine.load1 > ctx.machine.cores / 2)
  console.error(`bench: this machine is busy with other work (load ${ctx.machine.load1} on ${ctx.machine.cores} cores): rates and delays will be worse than they are, ratios less so`);

// Nothing is left behind when it is stopped: agents are in process groups of their own.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(signal, () => {
    endAll();
    process.exit(1);
  });

const broken = [];
const began = performance.now();
if (hasErlang && figures.includes(messages)) ctx.erlang = new Erlang();
if (hasWorkerd && figures.includes(isolates)) ctx.workerd = await Workerd.start();
try {
  for (const figure of figures) {
    try {
      await figure.run(ctx);
    } catch (error) {
      broken.push(figure.name);
      console.error(`bench: ${figure.name} could not be measured: ${error.stack ?? error}`);
    }
  }
} finally {
  await ctx.erlang?.end();
  await ctx.workerd?.end();
}

report.write(join(build, 'bench.json'), head);
console.log(`\n${report.table()}\n`);
console.log(`${report.held} of ${report.held + report.missed} bars hold, in ${Math.round((performance.now() - began) / 1000)} s; the lines are in ${join(build, 'bench.json')}`);
// PM2's client may try for ever to reach its daemon that was ended: nothing is waited for.
process.exit(broken.length > 0 || (process.env.BENCH_STRICT && report.missed > 0) ? 1 : 0);
