// SPDX-License-Identifier: Apache-2.0
//
// examples/express-users, as it is: an Express program that a real client uses, through releases that replace one another under load.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { ctlOk, until } from '../integration/cluster.mjs';
import { Program } from './program.mjs';

let program;
before(async () => { program = await Program.start('examples/express-users'); });
after(() => program?.end());

test('is deployed as it is, and answers as it does anywhere', async () => {
  const { app, types } = await program.deploy();
  assert.deepEqual([app, types], ['express-users', ['Server']]);
  assert.deepEqual(await program.get('/users'), [200, [{ id: 1, name: 'Ada' }, { id: 2, name: 'Grace' }]]);
  assert.deepEqual(await program.get('/users/2'), [200, { id: 2, name: 'Grace' }]);
  assert.deepEqual(await program.get('/users/99'), [404, { error: 'there is no user 99' }]);
  assert.deepEqual(await program.get('/nowhere'), [404, { error: 'there is no /nowhere' }]);
  assert.deepEqual(await program.post('/users', { name: 'Barbara' }), [201, { id: 3, name: 'Barbara' }]);
  assert.deepEqual(await program.get('/users/3'), [200, { id: 3, name: 'Barbara' }]);
  assert.equal((await program.post('/users', {}))[0], 400);
  assert.equal((await program.ask('/users', { method: 'POST', body: 'no JSON', headers: { 'content-type': 'application/json' } })).status, 400);
  await until('its log is there', async () => new RegExp(`express-users/Server/0 +listening on ${program.port}`).test(await ctlOk(program.node, 'logs', 'express-users')));
});

const poweredBy = async () => (await program.ask('/users')).headers['x-powered-by'];

test('releases replace one another under load, and no request fails', async (t) => {
  const requests = [
    { path: '/users/1', good: ({ status, body }) => assert.deepEqual([status, body], [200, '{"id":1,"name":"Ada"}']) },
    { path: '/users/nobody', good: ({ status }) => assert.equal(status, 404) },
    { path: '/users', method: 'POST', body: '{"name":"Alan"}', headers: { 'content-type': 'application/json' }, good: ({ status, body }) => assert.deepEqual([status, JSON.parse(body).name], [201, 'Alan']) },
  ];
  await program.redeploy(t, requests, [
    () => {
      program.change('server.js', (text) => text + "app.set('x-powered-by', false);\n");
      return async () => await poweredBy() === undefined;
    },
    () => {
      program.change('server.js', (text) => text.replace('response.json(user)', "response.set('x-powered-by', 'three').json(user)"));
      return async () => (await program.ask('/users/1')).headers['x-powered-by'] === 'three';
    },
  ]);
});

test('a roll-back brings back what ran before', async () => {
  await ctlOk(program.node, 'rollback', 'express-users');
  await until('it is as it was', async () => (await program.ask('/users/1')).headers['x-powered-by'] === undefined);
});
