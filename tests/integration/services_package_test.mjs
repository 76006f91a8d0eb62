// SPDX-License-Identifier: Apache-2.0
//
// The package `isola` in services that have no copy of it (docs/services.md); and who may use the agent's socket, which is what it speaks to.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { bin, Cluster, ctl, until, whole } from './cluster.mjs';

const GROUP = 54321; // of nobody
const cluster = new Cluster();
let east;
before(async () => {
  chmodSync(cluster.dir, 0o711);
  mkdirSync(join(cluster.dir, 'run'));
  chmodSync(join(cluster.dir, 'run'), 0o711);
  east = await cluster.node('east', undefined, ['--socket', join(cluster.dir, 'run/agent.sock'), '--socket-group', String(GROUP)]);
});
after(() => cluster.end());

const service = (name, module, files, more) => cluster.app(name, { 'isola.json': { name, actors: { Api: { module, kind: 'service', restart: { max: 0 }, ...more } } }, ...files });
/** What an instance has logged, once it has said something that begins so. */
const said = (address, begin) => until(`${address} says ${begin}`, async () =>
  (await whole(east, 'logs', { address })).lines.map((l) => l.text).find((text) => text.startsWith(begin)));
const linked = async (dir) => {
  const r = await ctl(east, 'deploy', '--link', dir);
  assert.equal(r.status, 0, r.err);
};
const look = `const { nodes } = await client.call('nodes'); console.log('nodes ' + nodes.map((n) => n.name)); await client.close();`;
const stay = 'setInterval(() => {}, 1000);';

test('an ES module, CommonJS, and a thread find it', async () => {
  await linked(service('esm', './main.mjs', {
    'main.mjs': `import { connect } from 'isola'; import * as codec from 'isola/codec'; import { Worker } from 'node:worker_threads';
const client = await connect(); ${look} console.log('codec ' + typeof codec.encodeArgs); new Worker(new URL('./thread.mjs', import.meta.url)); ${stay}`,
    'thread.mjs': `import { connect } from 'isola'; console.log('thread ' + typeof connect);`,
  }));
  await linked(service('cjs', './main.cjs', { 'main.cjs': `const { connect } = require('isola'); connect().then(async (client) => { ${look} }); ${stay}` }));
  assert.equal(await said('esm/Api/0', 'nodes'), 'nodes east');
  assert.equal(await said('esm/Api/0', 'codec'), 'codec function');
  assert.equal(await said('esm/Api/0', 'thread'), 'thread function');
  assert.equal(await said('cjs/Api/0', 'nodes'), 'nodes east');
});

test('in the sandbox too', async () => {
  await linked(service('boxed', './main.mjs', { 'main.mjs': `import { connect } from 'isola'; const client = await connect(); ${look} ${stay}` }, { sandbox: true, port: 1, startTimeout: '1h' }));
  assert.equal(await said('boxed/Api/0', 'nodes'), 'nodes east');
});

test('its own copy goes before; one that is broken is said to be so; others are not found', async () => {
  await linked(service('own', './main.mjs', {
    'main.mjs': `import { own } from 'isola'; console.log('own ' + own); try { await import('isola-not'); } catch (error) { console.log('other ' + error.code); } ${stay}`,
    'node_modules/isola/package.json': { name: 'isola', type: 'module', exports: './own.js' }, 'node_modules/isola/own.js': 'export const own = "copy";',
  }));
  assert.equal(await said('own/Api/0', 'own'), 'own copy');
  assert.equal(await said('own/Api/0', 'other'), 'other ERR_MODULE_NOT_FOUND');
  await linked(service('broken', './main.mjs', {
    'main.mjs': `import 'isola';`, 'node_modules/isola/package.json': { name: 'isola', exports: { './x': './x.js' } },
  }));
  await until('it has failed', async () => /ERR_PACKAGE_PATH_NOT_EXPORTED/.test((await whole(east, 'ps', { app: 'broken' })).actors[0]?.failure));
});

/** What ctl says to that user, of that group and of these others. */
const as = (user, group, others) => new Promise((done) => {
  const ids = [`--reuid=${user}`, `--regid=${group}`, others === undefined ? '--clear-groups' : `--groups=${others}`];
  execFile('setpriv', [...ids, join(bin, 'ctl'), '--node', east.socket, 'nodes'], (error, out, err) => done({ status: error === null ? 0 : error.code, out, err }));
});
const root = process.getuid() === 0;
test('members of --socket-group may use the socket, others not', { skip: !root && 'wants root, to be other users' }, async () => {
  const { mode, gid } = statSync(east.socket);
  assert.deepEqual([mode & 0o777, gid], [0o660, GROUP]);
  for (const member of [await as(54322, GROUP), await as(54322, 54322, GROUP)]) {
    assert.equal(member.status, 0, member.err);
    assert.match(member.out, /east/);
  }
  const other = await as(54322, 54322);
  assert.equal(other.status, 1);
  assert.match(other.err, /you may not use that socket; run ctl as the agent's user or as root, or join the agent's --socket-group, or name another with --node/);
});

test('a group that is not there', async () => {
  const r = await new Promise((done) => {
    execFile(join(bin, 'node-agent'), ['--data', join(cluster.dir, 'none'), '--socket-group', 'no such group'], (error, out, err) => done({ status: error?.code, err }));
  });
  assert.equal(r.status, 2);
  assert.equal(r.err, 'node-agent: --socket-group "no such group": this machine has no such group; see node-agent --help\n');
});
