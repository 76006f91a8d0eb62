// SPDX-License-Identifier: Apache-2.0
//
// Durable messages in a storm: a short one. `make net` has one of 200 faults.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Network } from './hosts.mjs';
import { NetCluster } from './nodes.mjs';
import { Storm } from './storm.mjs';

const skip = Network.unavailable();
const ROUNDS = 20;

let cluster, storm;
before(async () => {
  if (skip) return;
  cluster = await NetCluster.on(['a', 'b']);
  const a = await cluster.node('a');
  const b = await cluster.node('b', a);
  storm = new Storm(cluster, { a, b });
  await storm.begin();
});
after(() => cluster?.end());

test(`durable messages arrive once and in order through ${ROUNDS} faults`, { skip }, async () => {
  const total = await storm.run(ROUNDS);
  assert.ok(total > 1000, `${total} messages`);
  console.log(`${total} messages through ${JSON.stringify(storm.done)}`);
});
