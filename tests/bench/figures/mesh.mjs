// SPDX-License-Identifier: Apache-2.0
//
// Two nodes of one cluster, on this machine: callers on the one, servers on the other, everything over the link between their
// actor-hosts. Beside two Erlang nodes, two of Moleculer's, and the speed at which libsodium alone seals.
import { withPair } from '../lib/isola.mjs';
import { ErlangPair, Moleculer, Sodium } from '../lib/peers.mjs';
import { inTurn } from './shared.mjs';

const CALLERS = 64, SERVERS = 64;
const PAYLOAD = 64; // bytes of an emit
const BULK = 1_000_000, UNDER_WAY = 4; // bytes of an ask's argument, asks at once
const RECORD = 65_536; // bytes that libsodium seals at once

/** A line for each of those measured; `more` gives further keys. */
function lines(report, fields, all, more = () => ({})) {
  for (const [peer, measured] of Object.entries(all)) report.line({ ...fields, peer, ...measured, ...more(peer, measured) });
}

async function asks(ctx, pair, erlang, moleculer) {
  const { report } = ctx;
  const load = (callers) => inTurn(ctx, {
    isola: (ms) => pair.asks(callers, { type: 'Shared', actors: pair.servers, ms }),
    erlang: erlang && ((ms) => erlang.tell('ask', callers, ms)),
    moleculer: moleculer && ((ms) => moleculer.tell('ask', callers, ms)),
  });
  const one = await load(1);
  lines(report, { figure: 'mesh-ask', callers: 1 }, one);
  report.bar({ name: 'mesh: a lone ask, median : gen_server:call', atMost: 1.2, unit: 'x', value: erlang && one.isola.p50us / one.erlang.p50us,
    ours: one.isola.p50us, theirs: one.erlang?.p50us, cpu: erlang && one.isola.cpuus / one.erlang.cpuus, why: 'no Erlang here' });
  const many = await load(CALLERS);
  lines(report, { figure: 'mesh-ask', callers: CALLERS }, many);
  for (const [peer, there, atLeast, what] of [['erlang', erlang, 3, 'gen_server:call'], ['moleculer', moleculer, 2, 'Moleculer']])
    report.bar({ name: `mesh: asks, 64 callers : ${what}`, atLeast, unit: 'x', value: there && many.isola.rate / many[peer].rate,
      ours: many.isola.rate, theirs: many[peer]?.rate, cpu: there && many[peer].cpuus / many.isola.cpuus, why: `no ${peer} here` });
}

async function emits(ctx, pair, erlang) {
  const { report } = ctx;
  const senders = ctx.machine.cores;
  const all = await inTurn(ctx, {
    isola: (ms) => pair.emits(senders, { type: 'Shared', actors: pair.servers, ms, bytes: PAYLOAD }, 'data'),
    erlang: erlang && ((ms) => erlang.tell('data', senders, ms, PAYLOAD)),
  });
  lines(report, { figure: 'mesh-emit', senders, payload: PAYLOAD }, all);
  report.bar({ name: 'mesh: emits of 64 bytes a second (gen_server:cast)', atLeast: 2e6, unit: '/s', value: all.isola.rate, ours: all.isola.rate, theirs: all.erlang?.rate,
    cpu: erlang && all.erlang.cpuus / all.isola.cpuus });
}

async function bulk(ctx, pair, erlang, sodium) {
  const { report } = ctx;
  const all = await inTurn(ctx, {
    isola: (ms) => pair.asks(UNDER_WAY, { type: 'Shared', actors: pair.servers, ms, event: 'size', bytes: BULK }),
    erlang: erlang && ((ms) => erlang.tell('bulk', UNDER_WAY, ms, BULK)),
    sodium: (ms) => sodium.seal(RECORD, ms / 2),
  });
  const bytes = (peer) => all[peer].rate * (peer === 'sodium' ? RECORD : BULK);
  lines(report, { figure: 'mesh-bulk' }, all, (peer) => ({ payload: peer === 'sodium' ? RECORD : BULK, megabytes: Math.round(bytes(peer) / 1e6) }));
  const perByte = (peer) => all[peer].cpuus / (peer === 'sodium' ? RECORD : BULK);
  report.bar({ name: 'mesh: bytes a second in arrays of 1 MB : libsodium sealing', atLeast: 0.6, unit: 'x', value: bytes('isola') / bytes('sodium'),
    ours: bytes('isola'), theirs: bytes('sodium'), cpu: perByte('sodium') / perByte('isola') });
}

export const mesh = {
  name: 'mesh',
  run: (ctx) => withPair(CALLERS, SERVERS, async (pair) => {
    const ends = [];
    const kept = (peer) => (ends.unshift(peer), peer);
    try {
      const sodium = kept(new Sodium(ctx.build));
      const erlang = ctx.hasErlang ? kept(await ErlangPair.start()) : undefined;
      const moleculer = ctx.hasMoleculer ? kept(await Moleculer.start()) : undefined;
      await erlang?.serve(SERVERS);
      await asks(ctx, pair, erlang, moleculer);
      await emits(ctx, pair, erlang);
      await bulk(ctx, pair, erlang, sodium);
    } finally {
      for (const peer of ends) await peer.end();
    }
  }),
};
