// SPDX-License-Identifier: Apache-2.0
//
// What threads are for: twice the work on two of them, and idle actors that answer while others spin.
import { withNode } from '../lib/isola.mjs';
import { combine, distribution, timed } from '../lib/measure.mjs';

const BURNERS = 16;
const STEPS = 2_000_000; // of a turn: some milliseconds

/** Turns of CPU-bound actors: as many asks under way as there are actors, from within, so that no other process wants a core. */
const burn = (node, ms) => node.asks(BURNERS, { type: 'Burner', actors: BURNERS, event: 'burn', args: [STEPS], ms });

export const threads = {
  name: 'threads',
  run: (ctx) => withNode(1, (one) => withNode(2, async (two) => {
    const { report } = ctx;
    const singles = [], doubles = [];
    for (let round = -1; round < ctx.rounds; round++) {
      const a = await burn(one, ctx.ms), b = await burn(two, ctx.ms);
      if (round < 0) continue;
      singles.push(a);
      doubles.push(b);
    }
    const a = combine(singles), b = combine(doubles);
    const others = Math.max(...[...singles, ...doubles].map((r) => r.others));
    report.line({ figure: 'burn', peer: 'isola', threads: 1, ...a, others });
    report.line({ figure: 'burn', peer: 'isola', threads: 2, ...b, others });
    report.bar({ name: 'two threads : one, CPU-bound actors', atLeast: 1.8, unit: 'x', value: b.rate / a.rate, ours: b.rate, theirs: a.rate });
  })),
};

const IDLE = 200;

/** Half of the threads are held: one spinner for each of them, whose next one begins when the limit has killed the last. */
export const bystanders = {
  name: 'bystanders',
  run: (ctx) => {
    const count = Math.max(2, ctx.machine.cores);
    return withNode(count, async (node) => {
      const { report } = ctx;
      const n = ctx.full ? 3000 : 600;
      await Promise.all(Array.from({ length: IDLE }, (_, i) => node.ask(`Isolate/k${i}`, 'echo', i)));
      await node.ask('Probe/one', 'probe', { type: 'Isolate', actors: IDLE, n: 200, every: 2 });
      const without = await node.ask('Probe/one', 'probe', { type: 'Isolate', actors: IDLE, n, every: 2 });
      let over = false, spins = 0, survived;
      const spinners = Array.from({ length: Math.floor(count / 2) }, async (_, lane) => {
        while (!over) {
          try {
            await node.agent.client.actor(`bench/Spinner/s${lane}-${spins++}`).ask('spin', { timeout: 5000 });
            survived = 'an endless loop has returned';
          } catch (error) {
            if (error.code !== 'EFAILED') survived = `an endless loop ends with ${error.code}: ${error.message}`;
          }
          if (survived !== undefined) return;
        }
      });
      const { value: during, others } = await timed(node.pids, () => node.ask('Probe/one', 'probe', { type: 'Isolate', actors: IDLE, n, every: 2 }));
      over = true;
      await Promise.all(spinners);
      const held = distribution(during.asks);
      report.line({ figure: 'bystander', peer: 'isola', threads: count, spinning: 0, n, ...distribution(without.asks), late: distribution(without.late) });
      report.line({ figure: 'bystander', peer: 'isola', threads: count, spinning: spinners.length, spins, n, ...held, late: distribution(during.late), others });
      report.bar({ name: 'ask to an idle actor, half the threads spinning: p99', atMost: 2000, unit: 'us', value: survived === undefined ? held.p99us : undefined, why: survived });
    });
  },
};
