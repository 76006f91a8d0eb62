// SPDX-License-Identifier: Apache-2.0
//
// make net: durable messages through more faults than `make test` has time for (storm.mjs). NET_ROUNDS is how many (200), ISOLA_TEST_SEED makes
// a run again. Prints each fault and, at the end, how many messages have come through; exits with 1 when one is lost, doubled or out of order.
import { Network } from './hosts.mjs';
import { NetCluster } from './nodes.mjs';
import { Storm } from './storm.mjs';

const rounds = +(process.env.NET_ROUNDS ?? 200);
if (!(Number.isInteger(rounds) && rounds > 0)) {
  console.error('make net: NET_ROUNDS is a whole number, 1 or more');
  process.exit(2);
}
const missing = Network.unavailable();
if (missing) {
  console.error(`make net: ${missing}`);
  process.exit(1);
}

const cluster = await NetCluster.on(['a', 'b']);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(signal, () => {
    cluster.kill();
    process.exit(1);
  });
const begun = performance.now();
const seconds = () => ((performance.now() - begun) / 1000).toFixed(1);
try {
  const a = await cluster.node('a');
  const b = await cluster.node('b', a);
  const storm = new Storm(cluster, { a, b });
  await storm.begin();
  const total = await storm.run(rounds, (round, what) => console.log(`${String(round).padStart(4)} of ${rounds}, ${seconds()} s: ${what}`));
  console.log(`${total} durable messages, each once and in order, through ${rounds} faults in ${seconds()} s:`);
  for (const [what, n] of Object.entries(storm.done).sort()) console.log(`${String(n).padStart(6)}  ${what}`);
  await cluster.end();
} catch (error) {
  console.error(`FAILED (ISOLA_TEST_SEED=${cluster.net.seed}): ${error.stack}`);
  for (const agent of cluster.agents) console.error(`--- ${agent.name}\n${agent.log()}`);
  cluster.kill();
  process.exit(1);
}
