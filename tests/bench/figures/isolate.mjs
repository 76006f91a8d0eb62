// SPDX-License-Identifier: Apache-2.0
//
// Actors with an isolate of their own: birth beside a bare isolate, memory, 8,000 in one host, asks beside workerd's Durable Objects,
// and what a thousand quiet ones cost.
import { withNode } from '../lib/isola.mjs';
import { available, combine, pause, resident, settledMemory, timed } from '../lib/measure.mjs';
import { Bare } from '../lib/peers.mjs';
import { alternate } from './shared.mjs';

const ISOLATES = 1000, CALLERS = 64, MANY = 8000;
const BYTES_GUESS = 1.6e6;

/** One at a time, ours and bare ones in turn. */
async function births(ctx, node) {
  const { report } = ctx;
  const bare = new Bare(ctx.build);
  try {
    const step = 125;
    const mine = [], theirs = [];
    await node.births(1, { type: 'Isolate', from: MANY, to: MANY + 20, every: 1 });
    await bare.make(20);
    const before = [resident(node.host), resident(bare.pid)];
    for (let k = 0; k < ISOLATES; k += step) {
      mine.push(await node.births(1, { type: 'Isolate', from: k, to: k + step, every: 1 }));
      theirs.push(await bare.make(step));
    }
    const others = Math.max(...[...mine, ...theirs].map((r) => r.others));
    const ours = combine(mine), peer = combine(theirs);
    report.line({ figure: 'birth', kind: 'isolate', peer: 'isola', ...ours, others });
    report.line({ figure: 'birth', kind: 'isolate', peer: 'v8', ...peer, others });
    report.bar({ name: 'isolate: birth to first answer : a bare V8 isolate', atMost: 1.5, unit: 'x', value: ours.p50us / peer.p50us, ours: ours.p50us, theirs: peer.p50us,
      cpu: ours.cpuus / peer.cpuus });
    const bytes = ((await settledMemory(node.host, 10_000)) - before[0]) / ISOLATES;
    const bareBytes = (resident(bare.pid) - before[1]) / ISOLATES;
    report.line({ figure: 'memory', kind: 'isolate', peer: 'isola', n: ISOLATES, bytes: Math.round(bytes) });
    report.line({ figure: 'memory', kind: 'isolate', peer: 'v8', n: ISOLATES, bytes: Math.round(bareBytes) });
    report.bar({ name: 'isolate: resident memory of each, 1,000 isolates', atMost: 1.2e6, unit: 'bytes', value: bytes, ours: bytes, theirs: bareBytes });
  } finally {
    await bare.end();
  }
}

async function asks(ctx, node) {
  const { report, workerd } = ctx;
  const { ours, theirs } = await alternate(ctx, (ms) => node.asks(CALLERS, { type: 'Isolate', actors: ISOLATES, ms }), workerd && ((ms) => workerd.asks(CALLERS, ISOLATES, ms)));
  report.line({ figure: 'ask', kind: 'isolate', peer: 'isola', actors: ISOLATES, callers: CALLERS, ...ours });
  if (workerd) report.line({ figure: 'ask', peer: 'workerd', actors: ISOLATES, callers: CALLERS, ...theirs });
  report.bar({
    name: 'isolate: asks, 64 callers, 1,000 isolates : Durable Object RPC', atLeast: 5, unit: 'x', value: workerd && ours.rate / theirs.rate,
    ours: ours.rate, theirs: theirs?.rate, cpu: workerd && theirs.cpuus / ours.cpuus, why: 'no workerd here',
  });
}

/** Agent and actor-host together, over a time in which nobody asks anything. */
async function quiet(ctx, node) {
  const { report } = ctx;
  const ms = ctx.full ? 10_000 : 3000;
  await pause(ctx.full ? 10_000 : 3000); // what the work before has left to be collected
  const { cpu, others, ms: took } = await timed(node.pids, () => pause(ms));
  const share = (cpu * 100) / took;
  report.line({ figure: 'quiet', kind: 'isolate', peer: 'isola', actors: await node.live(), ms, percent: Math.round(share * 1000) / 1000, others });
  report.bar({ name: 'isolate: CPU of an agent with 1,000 quiet ones', atMost: 1, unit: '%', value: share });
}

async function many(ctx, node) {
  const { report } = ctx;
  const name = 'isolate: live in one host';
  const more = MANY - ISOLATES;
  if (available() < more * BYTES_GUESS + 2e9) {
    report.bar({ name, atLeast: MANY, unit: '', why: `${Math.round(available() / 1e9)} GB of memory are free, and it takes ${Math.round((more * BYTES_GUESS) / 1e9) + 2}` });
    return;
  }
  let born;
  try {
    born = await node.births(8, { type: 'Isolate', from: ISOLATES, to: MANY, ms: 120_000 });
  } catch (error) {
    report.bar({ name, atLeast: MANY, unit: '', value: await node.live() - CALLERS });
    console.error(`bench: no more isolates: ${error.message}`);
    return;
  }
  const answers = await node.births(8, { type: 'Isolate', from: 0, to: MANY, ms: 60_000 }); // all of them are there already
  report.line({ figure: 'many', kind: 'isolate', peer: 'isola', actors: await node.live(), ...born, answered: answers.n, gigabytes: Math.round(resident(node.host) / 1e7) / 100 });
  report.bar({ name, atLeast: MANY, unit: '', value: Math.min(answers.n, await node.live()) });
}

export const isolates = {
  name: 'isolates',
  run: (ctx) => withNode(undefined, async (node) => {
    await births(ctx, node);
    await asks(ctx, node);
    await quiet(ctx, node);
    if (ctx.full) await many(ctx, node);
  }),
};
