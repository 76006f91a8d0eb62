// SPDX-License-Identifier: Apache-2.0
//
// What is measured from outside: time, a process's memory and CPU time, and what else the machine was doing; and what becomes of samples.
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, loadavg, totalmem } from 'node:os';

import { cpuOf } from '../../integration/cluster.mjs';

const TICK = 10; // ms of the jiffies in /proc
const PAGE = 4096;

export const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** The value a share `q` of sorted samples is not above. */
export function quantile(sorted, q) {
  return sorted.length === 0 ? undefined : sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * q) - 1 < 0 ? 0 : Math.ceil(sorted.length * q) - 1)];
}

export const median = (values) => quantile([...values].sort((a, b) => a - b), 0.5);

const rounded = (v) => (v === undefined ? undefined : v >= 100 ? Math.round(v) : Math.round(v * 100) / 100);

/** Samples in microseconds → { p50us, p99us, maxus }. */
export function distribution(samples) {
  const sorted = Float64Array.from(samples).sort();
  return { p50us: rounded(quantile(sorted, 0.5)), p99us: rounded(quantile(sorted, 0.99)), maxus: rounded(sorted.at(-1)) };
}

/** Rounds of { n, rate, p50us, p99us, maxus, cpuus } → one: medians, the largest maximum, all the rates. */
export function combine(rounds) {
  const of = (key) => rounds.map((r) => r[key]).filter((v) => v !== undefined);
  const mid = (key) => rounded(median(of(key)));
  return {
    n: of('n').reduce((a, b) => a + b, 0), rate: Math.round(median(of('rate'))), rates: of('rate').map(Math.round),
    p50us: mid('p50us'), p99us: mid('p99us'), maxus: of('maxus').length > 0 ? Math.max(...of('maxus')) : undefined, cpuus: mid('cpuus'),
  };
}

/** Bytes of a process in memory. */
export const resident = (pid) => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE;

function cpuOfMachine() {
  const [user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8').split('\n')[0].split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) * TICK;
}

/** Runs `work` and says how long it took (ms), what CPU time the processes `pids` used (ms), and what share of the machine's others used (%). */
export async function timed(pids, work) {
  const all = cpuOfMachine(), mine = pids.map(cpuOf), self = cpuOf(process.pid), start = performance.now();
  const value = await work();
  const ms = performance.now() - start;
  const cpu = pids.reduce((sum, pid, i) => sum + cpuOf(pid) - mine[i], 0);
  const others = cpuOfMachine() - all - cpu - (cpuOf(process.pid) - self);
  return { value, ms, cpu, others: Math.max(0, Math.round((others * 100) / (ms * cpus().length))) };
}

/** Waits until a process's memory no longer changes (for 3 s, by half a percent), `deadline` ms at the most. Resolves with it. */
export async function settledMemory(pid, deadline) {
  const end = performance.now() + deadline;
  let level = resident(pid), since = performance.now();
  while (performance.now() < end && performance.now() - since < 3000) {
    await pause(200);
    const now = resident(pid);
    if (Math.abs(now - level) > level / 200) [level, since] = [now, performance.now()];
  }
  return resident(pid);
}

export const available = () => Number(/MemAvailable:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? freemem() / 1024) * 1024;

export function machine() {
  const [load1, load5] = loadavg();
  return { cores: availableParallelism(), cpu: cpus()[0]?.model, memoryGB: Math.round(totalmem() / 2 ** 30), load1: rounded(load1), load5: rounded(load5) };
}
