// SPDX-License-Identifier: Apache-2.0
//
// Very many actors that are stored and do nothing: the bytes on disk for theirs, and how soon their store can be used, by itself and as
// part of a node, whose first ask wakes one of them. Nothing of the store's files is in memory then.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import { withNode } from '../lib/isola.mjs';
import { Store } from '../lib/peers.mjs';

const BYTES = 200; // of a state

/** The key of stored actor number `i`: bench/store makes them so. */
const keyOf = (i) => BigInt.asUintN(40, BigInt(i) * 0x9e3779b97fn).toString(16).padStart(10, '0');

export const stored = {
  name: 'stored',
  async run(ctx) {
    const { report } = ctx;
    const actors = Number(process.env.STORE_ACTORS || (ctx.full ? 1e6 : 1e5));
    if (!(actors >= 1000 && actors <= 1e9)) throw new Error(`STORE_ACTORS is a number from 1000 on, not ${process.env.STORE_ACTORS}`);
    await withNode(undefined, async ({ agent }, cluster) => {
      const dir = join(cluster.dir, agent.name), file = join(dir, 'state.db');
      const fresh = () => new Store(ctx.build);
      const once = async (work) => {
        const store = fresh();
        try {
          return await work(store);
        } finally {
          await store.end();
        }
      };
      /** The bytes of its files, none of them in memory any more. */
      const cool = () => once(async (store) => {
        let sum = 0;
        for (const name of readdirSync(dir).filter((n) => n.startsWith('state'))) sum += (await store.cool(join(dir, name))).bytes;
        return sum;
      });
      const opening = () => once(async (store) => ({ open: (await store.open(file)).ms, close: (await store.close()).ms }));
      /** From nothing to ready, and to the answer of an actor. */
      const start = async (key) => {
        const begin = performance.now();
        const again = await cluster.node(agent.name);
        const ready = performance.now() - begin;
        const answer = await again.client.actor(`bench/Account/${key}`).ask('add');
        const answered = performance.now() - begin;
        await again.stop();
        return { answer, ready: Math.round(ready), answered: Math.round(answered) };
      };

      await agent.stop();
      const line = (how, fields) => report.line({ figure: 'stored', peer: 'isola', how, ...fields });
      const empty = await start('nobody');
      line('a node starts with nothing stored', { readyms: empty.ready, ms: empty.answered });

      const store = fresh();
      const { rate, bytes } = await store.fill(file, actors, BYTES);
      await store.kill();
      line('filled, in no order', { n: actors, rate });
      await cool();
      const killed = await opening();
      line('opened when who filled it was killed', { ms: killed.open, settledms: killed.close });
      const onDisk = await cool();
      line('on disk', { n: actors, bytes: onDisk, of: bytes, each: Math.round(onDisk / actors) });
      const opened = await opening();
      line('opened', { ms: opened.open });
      await cool();
      const started = await start(keyOf(Math.floor(actors / 3)));
      if (started.answer !== 2) throw new Error(`an actor that was stored says ${started.answer}, not 2`);
      line('a node starts', { readyms: started.ready, ms: started.answered });

      const many = `${actors >= 1e6 ? `${actors / 1e6} M` : actors} stored actors`;
      report.bar({ name: `${many}: bytes on disk : bytes of addresses and states`, atMost: 1.3, unit: 'x', value: onDisk / bytes, ours: onDisk, theirs: bytes });
      report.bar({ name: `${many}: the store opens`, atMost: 1000, unit: 'ms', value: opened.open });
      report.bar({ name: `${many}: the same after a kill, all journals full`, atMost: 1000, unit: 'ms', value: killed.open });
      report.bar({ name: `${many}: a node starts, until one of them has answered`, atMost: 1000, unit: 'ms', value: started.answered });
    });
  },
};
