// SPDX-License-Identifier: Apache-2.0
//
// make chaos: what takes too long for every run of the tests. Bounded by CHAOS_CYCLES (crashes of each kind, 10,000), CHAOS_ROUNDS (kills, 500)
// and CHAOS_SECONDS (of each part, 600); CHAOS_SEED makes a run again. Prints a line for each part, with what was measured, and exits with 1 when a
// part fails.
import { app, check, crashes } from './crashes.mjs';
import { Kills } from './kills.mjs';
import { Cluster } from '../integration/cluster.mjs';

const cycles = +(process.env.CHAOS_CYCLES ?? 10_000);
const rounds = +(process.env.CHAOS_ROUNDS ?? 500);
const seconds = +(process.env.CHAOS_SECONDS ?? 600);
const seed = +(process.env.CHAOS_SEED ?? Date.now() % 1e9);
if (!(cycles >= 10 && rounds >= 0 && seconds > 0 && Number.isInteger(seed))) {
  console.error('make chaos: CHAOS_CYCLES is 10 or more, CHAOS_ROUNDS 0 or more, CHAOS_SECONDS more than 0, CHAOS_SEED a whole number');
  process.exit(2);
}
console.log(`seed: CHAOS_SEED=${seed}, ${cycles} crashes of each kind, ${rounds} kills, ${seconds} s for each part at the most`);

/** Within its time; afterwards `stopped()` is true. */
async function part(name, run) {
  const cluster = new Cluster();
  const begun = performance.now();
  const stopped = () => performance.now() - begun > seconds * 1000;
  try {
    const said = await run(cluster, stopped);
    await cluster.end();
    console.log(`ok ${name}: ${said}, ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  } catch (error) {
    cluster.kill();
    process.exitCode = 1;
    console.log(`FAILED ${name} (CHAOS_SEED=${seed}): ${error.stack}`);
  }
}

const shown = (grown) => `${grown.kb} KB, ${grown.mappings} mappings, ${grown.fds} descriptors, ${grown.threads} threads`;
for (const [kind, name] of [['I', 'crashes in isolates of their own'], ['S', 'crashes in an isolate that is shared']]) {
  await part(name, async (cluster, stopped) => {
    const node = await cluster.node('one', undefined, ['--threads', '2']);
    await cluster.deploy(node, 'crash', app);
    const r = await crashes({ node, kind, cycles, seed, stopped });
    const host = check('the actor-host', r.host, 12_000);
    const agent = check('the agent', r.agent, 4_000);
    return `${r.cycles} of ${cycles} in ${Object.keys(r.ways).length} ways; the actor-host has grown by ${shown(host)} (to ${r.host.at(-1).kb} KB), the agent by ${shown(agent)}`;
  });
}

await part('actor-host and agent killed', async (cluster, stopped) => {
  const kills = new Kills(cluster, seed);
  await kills.begin();
  const made = await kills.run(rounds, stopped);
  const kinds = Object.entries(kills.done).map(([kind, n]) => `${kind} ${n} times`).join(', ');
  return `${made} of ${rounds} kills (${kinds}), ${kills.answered} answers and none lost, ${kills.again} asked for once more, ${kills.timers} timers, ${kills.databases} databases checked`;
});
