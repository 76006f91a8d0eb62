// SPDX-License-Identifier: Apache-2.0
//
// Programs in TypeScript, which nobody compiles: types alone are left out by Node.js itself, what is more than types is tsx' affair.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Program } from './program.mjs';

let program;
before(async () => { program = await Program.start('tests/programs/typescript'); });
after(() => program?.end());

const edit = (file, n) => () => {
  program.change(file, (text) => text.replace(/version: number = \d/, `version: number = ${n}`));
  return async () => (await program.get('/version'))[1].version === n;
};

test('a program of several files runs as it is', async () => {
  await program.deploy();
  assert.deepEqual(await program.get('/baskets/ada'), [200, { id: 'ada', lines: [], total: 0 }]);
  assert.deepEqual(await program.post('/baskets/ada', { name: 'pears', price: 1.5, count: 2 }), [201, { id: 'ada', lines: [{ name: 'pears', price: 1.5, count: 2 }], total: 3 }]);
  const [status, { error }] = await program.post('/baskets/ada', { name: '', price: '1' });
  assert.deepEqual([status, error.length, error[1].startsWith('price: ')], [400, 2, true], error.join());
});

test('releases replace one another under load, and no request fails', async (t) => {
  const requests = [
    { path: '/total', method: 'POST', body: '[{"price":2,"count":3},{"price":1,"count":1}]', good: ({ status, body }) => assert.deepEqual([status, body], [200, '{"total":7}']) },
    { path: '/baskets/nobody', good: ({ status, body }) => assert.deepEqual([status, body], [200, '{"id":"nobody","lines":[],"total":0}']) },
  ];
  await program.redeploy(t, requests, [edit('src/server.ts', 2), edit('src/server.ts', 3)]);
});

test('so does one with tsx, which "start" names', async (t) => {
  program.change('package.json', (text) => text.replace('node src/server.ts', 'tsx src/rates.ts'));
  await program.deploy();
  assert.deepEqual(await program.get('/20/GBP'), [200, { euros: 23 }]);
  assert.deepEqual(await program.get('/20/XYZ'), [404, { error: 'there is no currency XYZ' }]);
  const good = ({ status, body }) => assert.deepEqual([status, body], [200, '{"euros":5}']);
  await program.redeploy(t, [{ path: '/5/EUR', good }], [edit('src/rates.ts', 2), edit('src/rates.ts', 3)]);
});
