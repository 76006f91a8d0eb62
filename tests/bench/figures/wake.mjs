// SPDX-License-Identifier: Apache-2.0
//
// Actors that hibernate (their state on disk, nothing of them in memory) and the ask that wakes them, one at a time.
import { withNode } from '../lib/isola.mjs';

async function wake(ctx, kind, type, n, most) {
  const name = `${kind}: wake from disk to the answer, median`;
  await withNode(undefined, async (node) => {
    const { report } = ctx;
    const params = { type, args: [1], from: 0, to: n };
    const first = await node.births(8, { ...params, event: 'add' });
    if (!await node.downTo(8, 30_000)) {
      report.bar({ name, atMost: most, unit: 'us', why: `${await node.live()} of ${first.n} actors have not hibernated` });
      return;
    }
    const woken = await node.births(1, { ...params, event: 'get', every: 1 });
    report.line({ figure: 'wake', kind, peer: 'isola', ...woken });
    report.bar({ name, atMost: most, unit: 'us', value: woken.p50us });
  });
}

export const wakes = {
  name: 'wake',
  async run(ctx) {
    await wake(ctx, 'shared', 'SharedSleeper', ctx.full ? 4000 : 1000, 200);
    await wake(ctx, 'isolate', 'IsolateSleeper', ctx.full ? 400 : 100, 3000);
  },
};
