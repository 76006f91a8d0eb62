// SPDX-License-Identifier: Apache-2.0
//
// Values to bytes and back: the codec of actors/v8 beside @msgpack/msgpack in JavaScript and V8's own serializer (structuredClone's), all in
// one process, in turns.
import { median } from '../lib/measure.mjs';
import { Codec } from '../lib/peers.mjs';

const PEERS = ['isola', 'v8', 'msgpack'];
// Those of ../codec/values.js, and whom they are held against, if not both. Bytes are one copy, but for @msgpack/msgpack's decoder, which
// gives a view of its input.
const names = [['small message'], ['nested object'], ['125,000 doubles'], ['350,000 integers'], ['1,000 short strings'], ['100 KB of ASCII'],
  ['100,000 characters of Latin-1'], ['50,000 CJK and emoji'], ['1 MB of bytes', ['v8']]];
const BARS = { v8: { name: 'V8\'s serializer', atLeast: 1 }, msgpack: { name: '@msgpack/msgpack', atLeast: 2 } };

const us = (v) => Number(v.toPrecision(4));

async function figure(ctx, codec, direction, value) {
  const { report } = ctx;
  const [name, peers = ['v8', 'msgpack']] = names[value];
  const ms = ctx.ms / 10;
  const times = {}, rounds = Object.fromEntries(PEERS.map((p) => [p, []]));
  // As often as fits into a round, found by rounds that grow: they warm it up too.
  for (const peer of PEERS) {
    let n = 1, r;
    while ((r = await codec.run(peer, direction, value, n)).us < ms * 500 && n < 1e8) n = Math.ceil(n * Math.min(10, (ms * 1100) / Math.max(1, r.us)));
    times[peer] = Math.max(1, Math.round((n * ms * 1000) / r.us));
  }
  for (let i = 0; i < ctx.rounds; i++)
    for (const peer of PEERS) rounds[peer].push(await codec.run(peer, direction, value, times[peer]));
  const result = {};
  for (const peer of PEERS) {
    const each = rounds[peer].map((r) => r.us / times[peer]);
    result[peer] = { us: median(each), cpuus: median(rounds[peer].map((r) => r.cpuus / times[peer])) };
    report.line({ figure: direction, kind: name, peer, n: times[peer] * ctx.rounds, bytes: rounds[peer][0].bytes, us: us(result[peer].us), rounds: each.map(us),
      cpuus: us(result[peer].cpuus) });
  }
  for (const peer of peers) {
    const { us: theirs, cpuus } = result[peer];
    report.bar({ name: `codec: ${direction} ${name} : ${BARS[peer].name}`, atLeast: BARS[peer].atLeast, unit: 'x', value: theirs / result.isola.us,
      ours: 1e6 / result.isola.us, theirs: 1e6 / theirs, cpu: cpuus / result.isola.cpuus });
  }
}

export const codecs = {
  name: 'codec',
  async run(ctx) {
    const codec = new Codec(ctx.build);
    try {
      for (let value = 0; value < names.length; value++)
        for (const direction of ['encode', 'decode']) await figure(ctx, codec, direction, value);
    } finally {
      await codec.end();
    }
  },
};
