// SPDX-License-Identifier: Apache-2.0
//
// Durable timers that are all due at the same moment: how long until the last one has changed its actor's state, on disk.
import { until } from '../../integration/cluster.mjs';
import { withNode } from '../lib/isola.mjs';

async function herd(ctx, kind, type, actors, each) {
  const n = actors * each, name = `timers: ${n.toLocaleString('en')} of ${actors.toLocaleString('en')} actors${kind}, due at once`;
  await withNode(undefined, async (node) => {
    const { report } = ctx;
    const at = Date.now() + 5000 + (n * 6) / 10; // to set them takes some seconds
    const set = await node.births(8, { type, event: 'set', args: [each, at, 'counter'], from: 0, to: actors });
    if (Date.now() > at) {
      report.bar({ name, atMost: 5, unit: 's', why: 'it took too long to set them' });
      return;
    }
    const counted = await until(`${n} have fired`, async () => {
      const now = await node.ask('Timer/counter', 'counted');
      return now.n >= n && now;
    }, at - Date.now() + 120_000);
    const seconds = (counted.last - at) / 1000;
    report.line({ figure: 'timers', kind, peer: 'isola', actors, each, setrate: set.rate * each, firstms: counted.first - at, seconds, rate: n / seconds, n: counted.n });
    report.bar({ name, atMost: 5, unit: 's', value: seconds });
  });
}

export const timers = {
  name: 'timers',
  async run(ctx) {
    const n = ctx.full ? 100_000 : 20_000;
    await herd(ctx, '', 'Timer', n, 1);
    await herd(ctx, ' that hibernate', 'TimerSleeper', n, 1);
    await herd(ctx, '', 'Timer', n / 100, 100);
  },
};
