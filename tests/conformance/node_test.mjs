// SPDX-License-Identifier: Apache-2.0
//
// The same expressions in isolates and in Node.js itself give the same results and the same errors: Node.js passes the suites of the web
// platform and its own, so whatever differs is a fault of what isolates put below its library (actors/v8/node_*.cc, bindings.js).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';

import { Isolates } from './isolate.mjs';
import * as corpus from './corpus.mjs';

process.chdir('/'); // where isolates are
const isolates = new Isolates();
after(async () => assert.equal(await isolates.end(), 0));

// Evaluates expressions, one after the other, to texts.
const evaluate = `
  const modules = {};
  for (const m of ['assert', 'buffer', 'events', 'path', 'querystring', 'stream', 'string_decoder', 'url', 'util']) modules[m] = await import('node:' + m);
  const text = (v) => modules.util.inspect(v, { depth: 9, compact: false, maxArrayLength: 50, maxStringLength: 2000, showHidden: false });
  const results = [];
  for (const [name, args] of JSON.parse(input)) {
    let result;
    try {
      result = text(await new Function(...Object.keys(modules), 'args', 'return (' + name + ')')(...Object.values(modules), args));
    } catch (e) {
      result = 'throws ' + e?.name + ' ' + e?.code + ': ' + e?.message;
    }
    results.push(result);
  }
`;

// Runs a module in a plain Node.js: what it wrote. (The runner of these tests leaves traces in promises.)
async function plain(script) {
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-'], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(script);
  return text(child.stdout);
}

async function compare(cases) {
  const input = JSON.stringify(cases);
  const script = `const input = ${JSON.stringify(input)};\n${evaluate}`;
  const log = await isolates.run(`${script}\nfor (const r of results) console.log('%s', '>' + JSON.stringify(r));`);
  const actual = log.filter((l) => l[0] === '>').map((l) => JSON.parse(l.slice(1))); // the rest are warnings
  const expected = JSON.parse(await plain(`const alive = setInterval(() => {}, 1000);\n${script}\nclearInterval(alive);\nprocess.stdout.write(JSON.stringify(results));`));
  assert.equal(actual.length, expected.length);
  let wrong = 0;
  const shown = [];
  for (let i = 0; i < cases.length; i++) {
    if (actual[i] === expected[i]) continue;
    if (++wrong <= 20) shown.push(`${cases[i][0]} with ${JSON.stringify(cases[i][1])}\n  isolate: ${actual[i]}\n  Node.js: ${expected[i]}`);
  }
  assert.equal(wrong, 0, `${wrong} of ${cases.length} differ:\n${shown.join('\n')}`);
}

for (const [name, cases] of Object.entries(corpus)) test(`${name} (${cases.length})`, () => compare(cases));
