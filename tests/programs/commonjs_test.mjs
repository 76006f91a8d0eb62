// SPDX-License-Identifier: Apache-2.0
//
// A CommonJS program with more than 300 packages: what it is sent the first time, and the second, and served under load.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { ctlOk } from '../integration/cluster.mjs';
import { Program } from './program.mjs';

let program;
before(async () => { program = await Program.start('tests/programs/commonjs'); });
after(() => program?.end());

const timed = async () => {
  const began = performance.now();
  const said = JSON.parse(await ctlOk(program.node, '--json', 'deploy', program.dir));
  return { ...said, ms: Math.round(performance.now() - began) };
};

test('its packages are sent once, and then only what has changed', async (t) => {
  const packages = Object.keys(JSON.parse(readFileSync(join(program.dir, 'node_modules/.package-lock.json'), 'utf8')).packages).length;
  assert.ok(packages >= 300, `${packages} packages`);
  const first = await timed();
  assert.ok(first.files.sent > 3000 && first.files.sent <= first.files.all, JSON.stringify(first.files));
  const again = await timed();
  assert.deepEqual([again.release, again.unchanged, again.files], [first.release, true, { all: first.files.all, sent: 0, bytes: 0 }]);
  program.change('views/index.pug', (text) => text.replace('Welcome', 'Good morning'));
  const other = await timed();
  assert.deepEqual([other.unchanged, other.files.all, other.files.sent], [false, first.files.all, 1]);
  t.diagnostic(`${packages} packages, ${first.files.all} files; the first deploy took ${first.ms} ms, unchanged ${again.ms} ms, with one file changed ${other.ms} ms`);
});

test('they are found when they are asked for', async () => {
  await program.deploy();
  const { status, headers, body } = await program.ask('/');
  assert.deepEqual([status, headers['content-type']], [200, 'text/html; charset=utf-8']);
  assert.equal(body, '<!DOCTYPE html><html><head><title>Shop</title></head><body><h1>Shop</h1><p>Good morning, stranger</p><ul><li>apples</li><li>pears</li><li>plums</li></ul></body></html>');
  assert.deepEqual(await program.get('/match/*.js'), [200, ['a.js', 'c.js']]);
  assert.match((await program.get('/token'))[1].id, /^[0-9a-f-]{36}$/);
  const form = { method: 'POST', body: 'username=ada&password=secret', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
  const login = await program.ask('/login', form);
  assert.deepEqual([login.status, login.headers.location], [302, '/']);
  const [cookie] = login.headers['set-cookie'][0].split(';');
  assert.match((await program.ask('/', { headers: { cookie } })).body, /Good morning, ada/);
  assert.equal((await program.ask('/login', { ...form, body: 'username=ada&password=guess' })).headers.location, '/denied');
  assert.equal((await program.ask('/nowhere')).status, 404);
});

test('releases replace one another under load, and no request fails', async (t) => {
  const requests = [
    { path: '/', good: ({ status, body }) => assert.deepEqual([status, body.includes('<li>plums</li>')], [200, true]) },
    { path: '/match/*.md', good: ({ status, body }) => assert.deepEqual([status, body], [200, '["b.md"]']) },
  ];
  const edit = (version) => () => {
    program.change('routes/index.js', (text) => text.replace(/version = '.*'/, `version = '${version}'`));
    return async () => (await program.get('/version'))[1].version === version;
  };
  await program.redeploy(t, requests, [edit('2.0.0'), edit('3.0.0')]);
});
