// SPDX-License-Identifier: Apache-2.0
//
// Actors that share an isolate: asks and emits beside Erlang's gen_server, births and memory up to a million.
import { withNode } from '../lib/isola.mjs';
import { available, combine, resident, settledMemory } from '../lib/measure.mjs';

const ACTORS = 10_000, CALLERS = 64;
const BYTES_GUESS = 8192; // of an actor, to see whether a million have room

/** Rounds of ours and theirs in turn, after one of each that does not count. */
export async function alternate(ctx, ours, theirs) {
  const all = await inTurn(ctx, theirs === undefined ? { ours } : { ours, theirs });
  return { ours: all.ours, theirs: all.theirs };
}

/** The same for any number of them, { name: load }; what each has measured, by its name. */
export async function inTurn(ctx, loads) {
  const names = Object.keys(loads).filter((name) => loads[name] !== undefined);
  const measured = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = -1; round < ctx.rounds; round++) {
    const ms = round < 0 ? Math.max(500, ctx.ms / 2) : ctx.ms;
    for (const name of names) {
      const result = await loads[name](ms);
      if (round >= 0) measured[name].push(result);
    }
  }
  const others = Math.max(...Object.values(measured).flat().map((r) => r.others));
  return Object.fromEntries(names.map((name) => [name, { ...combine(measured[name]), others }]));
}

export const messages = {
  name: 'shared-messages',
  async run(ctx) {
    await withNode(undefined, async (node) => {
      const { erlang, report } = ctx;
      const born = await node.births(CALLERS, { type: 'Shared', from: 0, to: ACTORS });
      report.line({ figure: 'birth', kind: 'shared', peer: 'isola', actors: ACTORS, ...born });
      if (erlang) report.line({ figure: 'birth', peer: 'erlang', actors: ACTORS, ...await erlang.tell('start', ACTORS) });

      const asks = await alternate(ctx, (ms) => node.asks(CALLERS, { type: 'Shared', actors: ACTORS, ms }), erlang && ((ms) => erlang.tell('ask', CALLERS, ms)));
      report.line({ figure: 'ask', kind: 'shared', peer: 'isola', actors: ACTORS, callers: CALLERS, ...asks.ours });
      if (erlang) report.line({ figure: 'ask', peer: 'erlang', actors: ACTORS, callers: CALLERS, ...asks.theirs });
      report.bar({
        name: 'shared: asks, 64 callers, 10,000 actors : gen_server:call', atLeast: 3, unit: 'x',
        value: erlang && asks.ours.rate / asks.theirs.rate, ours: asks.ours.rate, theirs: asks.theirs?.rate, cpu: erlang && asks.theirs.cpuus / asks.ours.cpuus, why: 'no Erlang here',
      });
      report.line({ figure: 'ask', kind: 'shared', peer: 'isola', actors: 1, callers: 1, ...await node.asks(1, { type: 'Shared', actors: 1, ms: ctx.ms }) });

      const senders = ctx.machine.cores;
      const emits = await alternate(ctx, (ms) => node.emits(senders, { type: 'Shared', actors: ACTORS, ms }), erlang && ((ms) => erlang.tell('cast', senders, ms)));
      report.line({ figure: 'emit', kind: 'shared', peer: 'isola', actors: ACTORS, senders, ...emits.ours });
      if (erlang) report.line({ figure: 'emit', peer: 'erlang', actors: ACTORS, senders, ...emits.theirs });
      report.bar({ name: 'shared: emits a second, sent and delivered (gen_server:cast)', atLeast: 2e6, unit: '/s', value: emits.ours.rate, ours: emits.ours.rate, theirs: emits.theirs?.rate,
        cpu: erlang && emits.theirs.cpuus / emits.ours.cpuus });
    });
  },
};

export const million = {
  name: 'shared-million',
  async run(ctx) {
    await withNode(undefined, async (node) => {
      const { report } = ctx;
      const wanted = ctx.full ? 1_000_000 : 50_000;
      const n = Math.min(wanted, Math.floor(available() / 2 / BYTES_GUESS));
      await node.births(CALLERS, { type: 'Shared', from: 0, to: 1000 });
      const before = await settledMemory(node.host, 5000);
      const born = await node.births(CALLERS, { type: 'Shared', from: 1000, to: 1000 + n, ms: ctx.full ? 90_000 : 20_000 });
      const peak = resident(node.host);
      const after = await settledMemory(node.host, ctx.full ? 20_000 : 6000);
      const live = await node.live();
      const us = 1e6 / born.rate, bytes = (after - before) / born.n;
      report.line({ figure: 'birth', kind: 'shared', peer: 'isola', actors: live, wanted, us: Math.round(us * 100) / 100, ...born,
        bytes: Math.round(bytes), bytesBeforeGC: Math.round((peak - before) / born.n) });
      const all = born.n === 1_000_000;
      const why = ctx.full ? `only ${born.n} were born in the time and memory there is` : 'a quick run has not a million of them';
      const name = (what) => `shared: ${what}, ${born.n.toLocaleString('en')} actors`;
      report.bar({ name: name('birth with its first answer'), atMost: 10, unit: 'us', value: all ? us : undefined, why });
      report.bar({ name: name('resident memory of each'), atMost: 4096, unit: 'bytes', value: all ? bytes : undefined, why });
    });
  },
};
