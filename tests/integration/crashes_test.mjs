// SPDX-License-Identifier: Apache-2.0
//
// Some hundred crashes and restarts, in every way there is. `make chaos` does ten thousand.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { app, check, crashes } from '../chaos/crashes.mjs';
import { Cluster, sanitized } from './cluster.mjs';

const seed = +(process.env.ISOLA_TEST_SEED ?? Date.now() % 1e9);
const cluster = new Cluster();
let node;
before(async () => {
  node = await cluster.node('one', undefined, ['--threads', '2']);
  await cluster.deploy(node, 'crash', app);
  console.log(`seed: ISOLA_TEST_SEED=${seed}`);
});
after(() => cluster.end());

for (const [kind, name] of [['I', 'isolates of their own'], ['S', 'an isolate that is shared']]) {
  test(`actors that crash in ${name} come back, and nothing grows`, async () => {
    const r = await crashes({ node, kind, cycles: 400, seed });
    assert.ok(r.cycles === 400 && Object.keys(r.ways).length > 8);
    check('the actor-host', r.host, sanitized ? Infinity : 12_000);
    check('the agent', r.agent, sanitized ? Infinity : 4_000);
  });
}
