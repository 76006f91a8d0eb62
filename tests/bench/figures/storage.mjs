// SPDX-License-Identifier: Apache-2.0
//
// An actor's storage: what a turn puts, until it is on disk, and what it reads.
import { withNode } from '../lib/isola.mjs';
import { median, timed } from '../lib/measure.mjs';

const PUTS = 100_000, HOT = 100, LIST = 1000;

export const storage = {
  name: 'storage',
  async run(ctx) {
    await withNode(undefined, async (node) => {
      const { report } = ctx;
      // So many operations of one turn: from the ask to its answer, which comes when all is on disk.
      const turns = async (figure, n, each, ...args) => {
        const rates = [], cpus = [];
        let worst = 0;
        for (let round = -1; round < ctx.rounds; round++) {
          const { ms, cpu, others } = await timed(node.pids, () => node.ask('Box/a', ...args.map((a) => (typeof a === 'function' ? a(round + 1) : a))));
          if (round < 0) continue;
          rates.push((n * 1000) / ms);
          cpus.push((cpu * 1000) / n);
          worst = Math.max(worst, others);
        }
        return report.line({ figure, peer: 'isola', n, ...each, rate: Math.round(median(rates)), rates: rates.map(Math.round), cpuus: Math.round(median(cpus) * 100) / 100, others: worst });
      };
      const put = await turns('storage-put', PUTS, { payload: 100 }, 'put', PUTS, (round) => round * PUTS);
      report.bar({ name: 'storage.put in a turn, values of 100 bytes', atLeast: 100e3, unit: '/s', value: put.rate });
      await turns('storage-get', PUTS, { how: 'hot' }, 'hot', PUTS, HOT);
      await turns('storage-get', PUTS / 10, { how: 'cold' }, 'cold', PUTS / 10, (round) => round * PUTS / 10);
      await turns('storage-list', 100, { items: LIST }, 'list', 100, LIST);
    });
  },
};
