// SPDX-License-Identifier: Apache-2.0
//
// What an agent answers is what the types of `client.call` say (actors/lib/client/agent.d.ts): the answers are written down as literals of those types,
// in which the compiler finds a key too many as well as one that is missing.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { compile, options } from '../types/compile.mjs';
import { Cluster, ctl, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let east;
before(async () => {
  east = await cluster.node('east');
  await cluster.node('west', east);
  await cluster.deploy(east, 'shop', {
    'isola.json': { name: 'shop', actors: { A: { module: './a.js', hibernateAfter: 'never' }, S: { module: './s.js', kind: 'service' } } },
    'a.js': "export default (self) => { self.on('later', () => { self.schedule('x', '1h'); self.schedule('y', { cron: '0 0 * * *' }); console.log('said'); }).on('bad', () => { throw new Error('bad'); }); };",
    's.js': 'setInterval(() => {}, 1e9);',
  });
  await east.client.actor('shop/A', 'one').ask('later');
  await ctl(east, 'emit', 'shop/A/one', 'nothing');
});
after(() => cluster.end());

const literal = (value) => (value instanceof Uint8Array ? `new Uint8Array(${value.length})`
  : Array.isArray(value) ? `[${value.map(literal).join(', ')}]`
    : value !== null && typeof value === 'object' ? `{ ${Object.entries(value).map(([key, v]) => `${JSON.stringify(key)}: ${literal(v)}`).join(', ')} }` : JSON.stringify(value));

test('as declared', async (t) => {
  const answers = {
    nodes: await east.client.call('nodes'),
    ps: await until('the service runs', async () => {
      const ps = await whole(east, 'ps', {});
      return ps.actors.some((a) => a.isolation === 'process' && a.state === 'running') && ps.actors.some((a) => a.timers === 2) && ps;
    }),
    logs: await until('lines', async () => { const logs = await whole(east, 'logs', { lines: 5 }); return logs.lines.length > 0 && logs; }),
    releases: await east.client.call('releases', { app: 'shop' }),
    release: await east.client.call('release', { app: 'shop' }),
    timers: await whole(east, 'timers', {}),
    'dead-letters': await until('a letter', async () => { const letters = await whole(east, 'dead-letters', {}); return letters.letters.length > 0 && letters; }),
    cache: await east.client.call('cache'),
    find: await east.client.call('find', { of: 'shop/A' }),
  };
  assert.equal(answers.ps.actors.length, 3);
  assert.ok(answers.release.files instanceof Uint8Array && answers.timers.schedules.some((s) => s.timers.length === 2));
  const program = `import type { Methods } from 'isola';\n${Object.entries(answers).map(([method, value], i) => `export const x${i}: Methods['${method}']['result'] = ${literal(value)};`).join('\n')}\n`;
  assert.deepEqual(compile(t, options, (dir) => writeFileSync(join(dir, 'answers.ts'), program)), { status: 0, said: '' }, program);
  const { status, said } = compile(t, options, (dir) => writeFileSync(join(dir, 'answers.ts'), program.replace('"total":', '"todal":')));
  assert.ok(status !== 0 && /todal/.test(said), said); // it would see it
});
