// SPDX-License-Identifier: Apache-2.0
//
// A Fastify program, two instances of it, each on both addresses of localhost.
import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { after, before, test } from 'node:test';

import { Program } from './program.mjs';

let program, hosts;
before(async () => {
  hosts = (await lookup('localhost', { all: true })).map((found) => found.address);
  program = await Program.start('tests/programs/fastify');
});
after(() => program?.end());

test('two instances answer, on each address it listens on', async () => {
  await program.deploy();
  assert.equal((await program.rows()).length, 2);
  for (const host of hosts) {
    const { status, headers, body } = await program.ask('/notes/1', { host });
    assert.deepEqual([status, headers['x-version'], body], [200, '1', '{"id":1,"text":"water the plants"}']);
  }
  assert.deepEqual(await program.get('/notes/9'), [404, { error: 'there is no note 9' }]);
  assert.deepEqual(await program.get('/notes/x'), [400, { error: 'params/id must be integer' }]);
  assert.deepEqual(await program.post('/notes', { text: 'buy milk' }), [201, { id: 2, text: 'buy milk' }]);
  assert.deepEqual(await program.post('/notes', {}), [400, { error: "body must have required property 'text'" }]);
});

test('releases replace one another under load, and no request fails', async (t) => {
  const good = ({ status, body }) => assert.deepEqual([status, body], [200, '{"id":1,"text":"water the plants"}']);
  const bad = ({ status }) => assert.equal(status, 400);
  const requests = [{ path: '/notes/1', good }, { path: '/notes', method: 'POST', body: '{}', headers: { 'content-type': 'application/json' }, good: bad }];
  const edit = (from, to) => () => {
    program.change('server.js', (text) => text.replace(`release = '${from}'`, `release = '${to}'`));
    return async () => (await program.ask('/notes/1')).headers['x-version'] === to;
  };
  await program.redeploy(t, requests, [edit(1, '2'), edit(2, '3')], { hosts });
});
