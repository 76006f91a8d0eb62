// SPDX-License-Identifier: Apache-2.0
//
// What it costs that an answer is only given when what it tells of is on disk.
import { withNode } from '../lib/isola.mjs';
import { inTurn } from './shared.mjs';

const ACTORS = 1000, CALLERS = 64;

export const durable = {
  name: 'durable',
  async run(ctx) {
    await withNode(undefined, async (node) => {
      const { report } = ctx;
      for (const kind of ['', 'Shared']) {
        const asks = (type) => (ms) => node.asks(CALLERS, { type: `${kind}${type}`, actors: ACTORS, ms, event: 'add', args: [] });
        const all = await inTurn(ctx, { kept: asks('Account'), held: asks('Tally') });
        for (const [how, figures] of Object.entries(all)) report.line({ figure: 'durable-ask', kind: kind || 'isolate', how, actors: ACTORS, callers: CALLERS, ...figures });
        console.log(all.kept.rate / all.held.rate);
      }
    });
  },
};
