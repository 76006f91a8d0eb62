// SPDX-License-Identifier: Apache-2.0
//
// Expressions evaluated to texts, the same way in isolates and in a plain Node.js.
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** The source of an async function (cases) → texts. */
export const evaluate = `async (cases) => {
  const modules = {};
  for (const m of ['assert', 'buffer', 'crypto', 'events', 'path', 'querystring', 'stream', 'string_decoder', 'url', 'util', 'zlib']) modules[m] = await import('node:' + m);
  const text = (v) => modules.util.inspect(v, { depth: 9, compact: false, maxArrayLength: 50, maxStringLength: 2000, showHidden: false });
  const results = [];
  for (const [name, args] of cases) {
    let result;
    try {
      result = text(await new Function(...Object.keys(modules), 'args', 'return (' + name + ')')(...Object.values(modules), args));
    } catch (e) {
      result = 'throws ' + e?.name + ' ' + e?.code + ': ' + e?.message;
    }
    results.push(result);
  }
  return results;
}`;

/** What the cases give in a plain Node.js. (The runner of tests leaves traces in promises.) */
export async function plain(cases) {
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-'], { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(`
    const alive = setInterval(() => {}, 1000);
    const results = await (${evaluate})(JSON.parse(${JSON.stringify(JSON.stringify(cases))}));
    clearInterval(alive);
    process.stdout.write(JSON.stringify(results));`);
  return JSON.parse(await text(child.stdout));
}

/** What differs, for a person; '' when nothing does. */
export function differences(cases, actual, expected) {
  const shown = [];
  let wrong = 0;
  for (let i = 0; i < cases.length; i++) {
    if (actual[i] === expected[i]) continue;
    if (++wrong <= 20) shown.push(`${cases[i][0]} with ${JSON.stringify(cases[i][1])}\n  isolate: ${actual[i]}\n  Node.js: ${expected[i]}`);
  }
  return wrong === 0 ? '' : `${wrong} of ${cases.length} differ:\n${shown.join('\n')}`;
}
