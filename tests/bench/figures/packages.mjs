// SPDX-License-Identifier: Apache-2.0
//
// An app of fifty npm packages (tests/bench/packages) in isolates: how long an actor that nobody has asked before takes to answer.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { actors, Cluster, ctlOk, until } from '../../integration/cluster.mjs';
import { distribution, pause } from '../lib/measure.mjs';

const APP = resolve(import.meta.dirname, '../packages');
const N = 100;

/** One after the other, with so many ms between them. */
async function births(node, prefix, gap) {
  const delays = [];
  for (let i = 0; i < N; i++) {
    const tools = node.client.actor('fifty/Tools', `${prefix}${i}`);
    const from = performance.now();
    await tools.ask('one');
    delays.push((performance.now() - from) * 1000);
    if (gap > 0) await pause(gap);
  }
  return distribution(delays);
}

export const packages = {
  name: 'packages',
  async run({ report }) {
    const name = 'packages: an app of fifty npm packages activates, median';
    if (!existsSync(join(APP, 'node_modules'))) {
      report.bar({ name, atMost: 5000, unit: 'us', why: 'its packages are not installed' });
      return;
    }
    const cluster = new Cluster();
    try {
      const node = await cluster.node('bench');
      await ctlOk(node, 'deploy', APP);
      const said = await node.client.actor('fifty/Tools', 'first').ask('all');
      const { dependencies } = JSON.parse(readFileSync(join(APP, 'package.json'), 'utf8'));
      if (Object.keys(said).length !== Object.keys(dependencies).length) throw new Error(`only these have said something: ${Object.keys(said)}`);
      await until('its snapshot is made', async () => (await actors(node, 'fifty')).every((a) => a.start_reason !== 'its snapshot is being made'));
      await births(node, 'warm', 0);
      const paused = await births(node, 'p', 50), close = await births(node, 'c', 0);
      const kinds = new Set((await actors(node, 'fifty')).map((a) => a.start));
      report.line({ figure: 'packages', peer: 'isola', gap: 50, n: N, start: [...kinds].join(), ...paused });
      report.line({ figure: 'packages', peer: 'isola', gap: 0, n: N, start: [...kinds].join(), ...close });
      report.bar({ name, atMost: 5000, unit: 'us', value: paused.p50us });
    } finally {
      await cluster.end();
    }
  },
};
