// SPDX-License-Identifier: Apache-2.0
//
// The same expressions in isolates and in Node.js itself give the same results and the same errors: Node.js passes the suites of the web
// platform and its own, so whatever differs is a fault of what isolates put below its library (actors/v8/node_*.cc, bindings.js).
import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import * as corpus from './corpus.mjs';
import { differences, evaluate, plain } from './evaluate.mjs';
import { Isolates } from './isolate.mjs';

const isolates = new Isolates();
after(async () => assert.equal(await isolates.end(), 0));

async function compare(cases) {
  const log = await isolates.run(`
    const results = await (${evaluate})(JSON.parse(${JSON.stringify(JSON.stringify(cases))}));
    for (const r of results) console.log('%s', '>' + JSON.stringify(r));`);
  const actual = log.filter((l) => l[0] === '>').map((l) => JSON.parse(l.slice(1))); // the rest are warnings
  const expected = await plain(cases);
  assert.equal(actual.length, expected.length);
  const different = differences(cases, actual, expected);
  if (different !== '') assert.fail(different);
}

const { outside, logged, torn, ...inside } = corpus; // those need an actor-host: tests/integration/web_test.mjs
for (const [name, cases] of Object.entries(inside)) test(`${name} (${cases.length})`, () => compare(cases));

test(`console.log (${logged.length})`, async () => {
  const log = await isolates.run(logged.map(([args]) => `console.log(${args});`).join('\n'));
  const expected = await plain(logged.map(([args]) => [`Buffer.from(util.format(${args})).toString('hex')`]));
  assert.deepEqual(log, expected.map((shown) => Buffer.from(shown.slice(1, -1), 'hex').toString()));
});

test(`text in pieces (${torn.length})`, async () => {
  const wrong = await isolates.run(`
    for (const [label, bytes] of JSON.parse(${JSON.stringify(JSON.stringify(torn))})) {
      const u = new Uint8Array(bytes), d = new TextDecoder(label), whole = d.decode(u);
      for (const step of [1, 2, 3, 7]) {
        let text = '';
        for (let i = 0; i < u.length; i += step) text += d.decode(u.subarray(i, i + step), { stream: true });
        text += d.decode();
        if (text !== whole) console.log('%s', JSON.stringify([label, bytes, step, text, whole]));
      }
    }`);
  assert.deepEqual(wrong, []);
});
