// SPDX-License-Identifier: Apache-2.0
//
// Encodes and decodes as it is told: `PEER encode|decode VALUE N` → { us, cpuus, bytes }, the time all N took. PEER is isola, v8 or msgpack
// (@msgpack/msgpack, with an encoder and a decoder that are used again and again, and no copy of what was encoded: its fastest use).
// Run by the pinned Node.js with the flags of the actor-host.
'use strict';
const { Decoder, Encoder } = require('@msgpack/msgpack');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');

const addon = { exports: {} };
process.dlopen(addon, process.argv[2]);
const script = readFileSync(join(__dirname, 'values.js'), 'utf8');
const values = (0, eval)(script);
if (addon.exports.open(script) !== values.length) throw new Error('the values are not the same');
const encoder = new Encoder(), decoder = new Decoder();
const encoded = values.map((v) => encoder.encode(v));

let last; // what was made last: else the work might be optimized away
const msgpack = {
  encode(value, n) {
    const v = values[value];
    const start = performance.now();
    for (let i = 0; i < n; i++) last = encoder.encodeSharedRef(v);
    return { us: (performance.now() - start) * 1000, bytes: last.length };
  },
  decode(value, n) {
    const bytes = encoded[value];
    const start = performance.now();
    for (let i = 0; i < n; i++) last = decoder.decode(bytes);
    return { us: (performance.now() - start) * 1000, bytes: bytes.length };
  },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const [peer, direction, value, n] = line.split(' ');
  const cpu = process.cpuUsage();
  const { us, bytes } = peer === 'msgpack' ? msgpack[direction](Number(value), Number(n)) : addon.exports[direction](Number(value), peer === 'v8', Number(n));
  const { user, system } = process.cpuUsage(cpu);
  process.stdout.write(`${JSON.stringify({ us, cpuus: user + system, bytes })}\n`);
}).on('close', () => addon.exports.close());
