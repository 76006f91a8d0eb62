// SPDX-License-Identifier: Apache-2.0
//
// Ten kills of actor-host and agent, at any instant. `make chaos` makes hundreds.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { Kills } from '../chaos/kills.mjs';
import { Cluster } from './cluster.mjs';

const seed = +(process.env.ISOLA_TEST_SEED ?? Date.now() % 1e9);
const cluster = new Cluster();
after(() => cluster.end());

test('what was answered is there, and what was sent durably has come once', async () => {
  console.log(`seed: ISOLA_TEST_SEED=${seed}`);
  const kills = new Kills(cluster, seed);
  await kills.begin();
  assert.equal(await kills.run(10), 10);
  console.log(`${kills.answered} answers, ${kills.again} asked for once more, ${kills.timers} timers, ${kills.databases} databases checked`, kills.done);
  assert.ok(kills.answered > 50 && kills.databases > 0);
});
