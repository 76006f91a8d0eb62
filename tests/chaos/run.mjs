// SPDX-License-Identifier: Apache-2.0
//
// make chaos: what takes too long for every run of the tests. Bounded by CHAOS_CYCLES (crashes of each kind, 10,000) and CHAOS_SECONDS
// (of each part, 600); CHAOS_SEED makes a run again. Prints a line for each part, with what was measured, and exits with 1 when a
// part fails.
import { app, check, crashes } from './crashes.mjs';
import { Cluster, killHost, until } from '../integration/cluster.mjs';

const cycles = +(process.env.CHAOS_CYCLES ?? 10_000);
const seconds = +(process.env.CHAOS_SECONDS ?? 600);
const seed = +(process.env.CHAOS_SEED ?? Date.now() % 1e9);
if (!(cycles >= 10 && seconds > 0 && Number.isInteger(seed))) {
  console.error('make chaos: CHAOS_CYCLES is 10 or more, CHAOS_SECONDS more than 0, CHAOS_SEED a whole number');
  process.exit(2);
}
console.log(`seed: CHAOS_SEED=${seed}, ${cycles} crashes of each kind, ${seconds} s for each part at the most`);

/** Within its time; afterwards `stopped()` is true. */
async function part(name, run) {
  const cluster = new Cluster();
  const begun = performance.now();
  const stopped = () => performance.now() - begun > seconds * 1000;
  try {
    const node = await cluster.node('one', undefined, ['--threads', '2']);
    const said = await run(cluster, node, stopped);
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
  await part(name, async (cluster, node, stopped) => {
    await cluster.deploy(node, 'crash', app);
    const r = await crashes({ node, kind, cycles, seed, stopped });
    const host = check('the actor-host', r.host, 12_000);
    const agent = check('the agent', r.agent, 4_000);
    return `${r.cycles} of ${cycles} in ${Object.keys(r.ways).length} ways; the actor-host has grown by ${shown(host)} (to ${r.host.at(-1).kb} KB), the agent by ${shown(agent)}`;
  });
}

await part('the actor-host killed while actors add', async (cluster, node, stopped) => {
  await cluster.deploy(node, 'crash', app);
  const counts = Array(16).fill(0), unsure = Array(16).fill(0), kills = Math.max(2, Math.min(20, Math.floor(cycles / 500)));
  let over = false, failed, done = 0, lost = 0;
  const add = async (k) => {
    const ref = node.client.actor(k % 2 ? 'crash/I' : 'crash/S', `a${k}`);
    while (!over) {
      // What was under way when the actor-host went may have been carried out, or not.
      const n = await ref.ask('add', { timeout: 30_000 }).catch((e) => { if (e.code !== 'EUNREACHABLE') throw e; return undefined; });
      if (n === undefined) { lost++; unsure[k]++; continue; }
      if (!(n > counts[k] && n <= counts[k] + 1 + unsure[k])) throw new Error(`a${k}: ${n} after ${counts[k]}, ${unsure[k]} without an answer between`);
      counts[k] = n;
      unsure[k] = 0;
      done++;
    }
  };
  const adding = counts.map((_, k) => add(k).catch((e) => { failed ??= e; over = true; }));
  let made = 0;
  for (; made < kills && !over && !stopped(); made++) {
    const before = done;
    await until('some were added', () => over || done > before + 100);
    await killHost(node);
  }
  over = true;
  await Promise.all(adding);
  if (failed !== undefined) throw failed;
  return `${made} kills, ${done} additions answered and none lost, ${lost} without an answer`;
});
