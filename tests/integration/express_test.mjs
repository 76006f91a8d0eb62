// SPDX-License-Identifier: Apache-2.0
//
// examples/express-users, as it is: an Express program that a real client uses, through a release that replaces another under load.
import assert from 'node:assert/strict';
import { appendFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Cluster, ctlOk, freePort, until, whole } from './cluster.mjs';
import { install } from './modules.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const cluster = new Cluster();
let node, dir, port;

before(async () => {
  node = await cluster.node('east');
  port = await freePort();
  dir = join(cluster.dir, 'apps', 'express-users');
  cpSync(join(root, 'examples/express-users'), dir, { recursive: true });
  install(dir, 'express');
  // The port of the example is 3000, which another program may have.
  const text = readFileSync(join(dir, 'package.json'), 'utf8');
  writeFileSync(join(dir, 'package.json'), text.replace('"node server.js"', `"PORT=${port} node server.js"`));
});
after(() => cluster.end());

const url = (path) => `http://127.0.0.1:${port}${path}`;
const get = async (path) => { const r = await fetch(url(path)); return [r.status, await r.json()]; };
const runs = (release) => until(`${release} runs`, async () => {
  const all = (await whole(node, 'ps', { app: 'express-users' })).actors;
  return all.length > 0 && all.every((r) => r.state === 'running' && r.release === release);
});

test('is deployed as it is, and answers as it does anywhere', async () => {
  const { app, types, release } = JSON.parse(await ctlOk(node, '--json', 'deploy', dir));
  assert.deepEqual([app, types], ['express-users', ['Server']]);
  await runs(release);
  assert.deepEqual(await get('/users'), [200, [{ id: 1, name: 'Ada' }, { id: 2, name: 'Grace' }]]);
  assert.deepEqual(await get('/users/2'), [200, { id: 2, name: 'Grace' }]);
  assert.deepEqual(await get('/users/99'), [404, { error: 'there is no user 99' }]);
  assert.deepEqual(await get('/nowhere'), [404, { error: 'there is no /nowhere' }]);
  const post = (body) => fetch(url('/users'), { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const made = await post('{"name":"Barbara"}');
  assert.deepEqual([made.status, made.headers.get('location'), await made.json()], [201, '/users/3', { id: 3, name: 'Barbara' }]);
  assert.deepEqual(await get('/users/3'), [200, { id: 3, name: 'Barbara' }]);
  assert.equal((await post('{}')).status, 400);
  assert.equal((await post('no JSON')).status, 400);
  assert.match(await ctlOk(node, 'logs', 'express-users'), new RegExp(`express-users/Server/0 +listening on ${port}`));
});

test('another release replaces it while clients ask, and no request fails', async () => {
  let asking = true, asked = 0;
  const failures = [];
  const clients = Array.from({ length: 4 }, async () => {
    while (asking) {
      asked++;
      await get('/users/1').then(([status]) => status === 200 || failures.push(status), (error) => failures.push(error.cause?.code ?? error.message));
    }
  });
  await until('clients ask', () => asked > 50);
  appendFileSync(join(dir, 'server.js'), "app.set('x-powered-by', false);\n");
  const { release, files } = JSON.parse(await ctlOk(node, '--json', 'deploy', dir));
  assert.equal(files.sent, 1);
  await runs(release);
  const before = asked;
  await until('they ask the new one', () => asked > before + 50);
  asking = false;
  await Promise.all(clients);
  assert.deepEqual(failures, []);
  assert.equal((await fetch(url('/users'))).headers.get('x-powered-by'), null);
});

test('a roll-back brings back what ran before', async () => {
  await ctlOk(node, 'rollback', 'express-users');
  await until('it is as it was', async () => (await fetch(url('/users'))).headers.get('x-powered-by') === 'Express');
});
