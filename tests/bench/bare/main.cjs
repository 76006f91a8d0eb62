// SPDX-License-Identifier: Apache-2.0
//
// Makes isolates as it is told: `make N` → {"n":N,"rate":…,"delays":[µs…]}. Run by the pinned Node.js with --no-node-snapshot.
'use strict';
const { createInterface } = require('node:readline');

const addon = { exports: {} };
process.dlopen(addon, process.argv[2]);
createInterface({ input: process.stdin }).on('line', (line) => {
  const n = Number(line.split(' ')[1]);
  const start = performance.now();
  const delays = addon.exports.make(n);
  process.stdout.write(`${JSON.stringify({ n, rate: (n * 1000) / (performance.now() - start), delays })}\n`);
}).on('close', () => addon.exports.close());
