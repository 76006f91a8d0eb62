// SPDX-License-Identifier: Apache-2.0
//
// An ordinary Node.js project, which has never heard of Isola: deployed as it is, without a manifest.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Cluster, ctl, ctlOk, freePort, until } from './cluster.mjs';

const cluster = new Cluster();
let east;
before(async () => { east = await cluster.node('east'); });
after(() => cluster.end());

const server = (word) => `require('node:http').createServer((request, response) => response.end(\`${word} \${process.env.GREETING} \${process.argv[2]}\`)).listen(process.env.PORT || 3000);\n`;

test('"start" of package.json is a service, beside an actor by its name; another release replaces it', async () => {
  const port = await freePort();
  const project = (word) => ({
    'package.json': { name: '@acme/Ordinary.app', version: '1.0.0', main: 'index.js', scripts: { start: `PORT=${port} GREETING=hello node lib/server --loud` } },
    'lib/server.js': server(word),
    'lib/hits.actor.js': "export default (self) => self.on('hit', () => (self.state.n = (self.state.n ?? 0) + 1));\n",
  });
  const deploy = async (word) => {
    const r = await ctl(east, '--json', 'deploy', cluster.app('ordinary', project(word)));
    assert.equal(r.status, 0, r.out + r.err);
    return JSON.parse(r.out);
  };
  const answers = (text) => until(text, async () => (await fetch(`http://127.0.0.1:${port}/`).then((r) => r.text(), () => '')) === text);
  const { app, types } = await deploy('one');
  assert.equal(app, 'acme-ordinary-app');
  assert.deepEqual(types, ['Hits', 'Server']);
  await answers('one hello --loud');
  assert.equal(await east.client.actor('acme-ordinary-app/Hits', 'a').ask('hit'), 1);
  await deploy('two');
  await answers('two hello --loud');
  assert.equal(await east.client.actor('acme-ordinary-app/Hits', 'a').ask('hit'), 2);
  assert.match(await ctlOk(east, 'ps', 'acme-ordinary-app'), new RegExp(`^acme-ordinary-app/Server/0 .* ${port} `, 'm'));
});

test('another app does not get the port of one that is there', async () => {
  const port = await freePort();
  const project = (name, type) => cluster.app(name, { 'isola.json': { name, actors: { [type]: { module: './s.js', kind: 'service', port } } }, 's.js': server(name) });
  await ctlOk(east, 'deploy', project('first', 'Web'));
  await ctlOk(east, 'deploy', project('first', 'Api')); // its own it may move
  const { status, out, err } = await ctl(east, 'deploy', project('second', 'Server'));
  assert.deepEqual([status, out], [1, '']);
  assert.equal(err, `ctl: EEXIST: second/Server would listen on port ${port}, which first/Api has: each would get a part of the other's requests. Give it another one ("port" in isola.json, or PORT=… before the command of "start"); or, when that app is not to be any more: 'ctl delete first'\n`);
  assert.deepEqual((await east.client.call('releases')).apps.map(({ app }) => app).sort(), ['acme-ordinary-app', 'first']);
});

test('a workspace has the packages that lie at the root of its project, and its siblings', async () => {
  const port = await freePort();
  const root = cluster.app('mono', {
    'package.json': { private: true, workspaces: ['packages/*'] },
    'packages/api/package.json': { name: '@mono/api', scripts: { start: `PORT=${port} node server` }, dependencies: { '@mono/words': '*' }, devDependencies: { tool: '1' } },
    'packages/api/server.js': "const words = require('@mono/words'); require('node:http').createServer((q, r) => r.end(words)).listen(process.env.PORT);",
    'packages/words/package.json': { name: '@mono/words', dependencies: { deep: '1' } },
    'packages/words/index.js': "module.exports = 'words of ' + require('deep');",
    'packages/words/.env': 'SECRET=1',
    'node_modules/deep/package.json': { name: 'deep' },
    'node_modules/deep/index.js': "module.exports = 'the root';",
    'node_modules/tool/index.js': '',
  });
  mkdirSync(join(root, 'node_modules/@mono'));
  symlinkSync('../../packages/words', join(root, 'node_modules/@mono/words'));
  const dir = join(root, 'packages/api');
  const { files } = JSON.parse(await ctlOk(east, '--json', 'deploy', dir));
  assert.deepEqual([files.all, files.sent], [6, 6]);
  await until('it answers', async () => (await fetch(`http://127.0.0.1:${port}/`).then((r) => r.text(), () => '')) === 'words of the root');
  assert.deepEqual(JSON.parse(await ctlOk(east, '--json', 'deploy', dir)).files.sent, 0);
  await ctlOk(east, 'deploy', dir, '--link'); // it has them where it is
  rmSync(join(root, 'node_modules/@mono/words'));
  const { status, err } = await ctl(east, 'deploy', dir);
  assert.deepEqual([status, err], [1, `ctl: the package "@mono/words" is not installed, which ${dir}/package.json depends on; run \`npm install\` in ${root}\n`]);
});

test('what only a shell understands is left to a manifest', async () => {
  const refused = async (scripts, sentence, more = {}) => {
    const dir = cluster.app('shell', { 'package.json': { name: 'shell', scripts, ...more }, 'server.js': '' });
    const { status, err } = await ctl(east, 'deploy', dir);
    assert.deepEqual([status, err], [1, sentence(dir)]);
  };
  await refused({ start: 'node dist/x.js', build: 'tsc' }, (dir) => `ctl: there is no file "dist/x.js" in ${dir}, which "start" of its package.json runs: \`npm run build\` there, which makes it perhaps, comes before a deploy\n`);
  for (const [start, why] of [
    ['npm run build && node dist/x.js', 'without a manifest it can only be `node FILE`, `tsx FILE` or a program of an installed package, in plain words;'],
    ['next start', 'no package that is installed there has a program "next"; `npm install` there, if one of its packages has, or'],
  ]) {
    await refused({ start }, (dir) => `ctl: what is to run in ${dir} is not known: "start" of its package.json is "${start}", and ${why} write an isola.json such as {"name": "my-app", "actors": {"Server": {"module": "./server.js", "kind": "service", "port": 3000}}}\n`);
  }
});

test('a program of an installed package is run as "start" says, and nothing else of it', async () => {
  const port = await freePort();
  const dir = cluster.app('framework', {
    'package.json': { name: 'framework', scripts: { start: `PORT=${port} frame start` }, dependencies: { framework: '1' } },
    'node_modules/framework/bin/frame.js': `#!/usr/bin/env node\nrequire('node:http').createServer((q, r) => r.end(process.argv.slice(2) + ' in ' + require('node:path').basename(process.cwd()))).listen(process.env.PORT);`,
  });
  mkdirSync(join(dir, 'node_modules/.bin'));
  symlinkSync('../framework/bin/frame.js', join(dir, 'node_modules/.bin/frame'));
  const { release } = JSON.parse(await ctlOk(east, '--json', 'deploy', dir));
  await until('it answers', async () => (await fetch(`http://127.0.0.1:${port}/`).then((r) => r.text(), () => '')) === `start in ${release}`);
});
