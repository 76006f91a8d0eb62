// SPDX-License-Identifier: Apache-2.0
//
// `ctl new`: the list, what is refused and leaves nothing behind, and each template as an app that is deployed and used.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { Cluster, bin, freePort, until } from './cluster.mjs';
import { ctl, scratch } from './ctl.mjs';
import { install as installed } from './modules.mjs';

const root = resolve(import.meta.dirname, '../..');
const templates = readdirSync(join(root, 'templates'), { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name).sort();

test('the list', async () => {
  const { status, stdout, stderr } = await ctl(['new']);
  assert.deepEqual([status, stderr], [0, '']);
  const { templates: list } = JSON.parse((await ctl(['new', '--json'])).stdout);
  assert.deepEqual(list.map(({ name }) => name), templates);
  for (const { name, description } of list) {
    assert.ok(description.length > 10, name);
    assert.match(stdout, new RegExp(`^${name} +${description}$`, 'm'));
    assert.ok(readFileSync(join(root, 'docs/cli.md'), 'utf8').includes(`    ${name.padEnd(9)}${description}\n`), `docs/cli.md: ${name}`);
  }
});

test('a template that is an example as well is the same program', () => {
  const program = (path) => readFileSync(join(root, path), 'utf8').replace(/^(\/\/.*\n)+/, ''); // but for what is said of it
  assert.equal(program('templates/express/server.js'), program('examples/express-users/server.js'));
  assert.equal(program('templates/counter/counter.actor.js'), program('examples/counter/counter.js'));
});

test('what is refused leaves nothing behind', async (t) => {
  const dir = scratch(t);
  const refused = async (args, status, message) => {
    const before = readdirSync(dir, { recursive: true }).sort();
    const done = await ctl(['new', ...args], { cwd: dir });
    assert.deepEqual([done.status, done.stdout], [status, '']);
    assert.match(done.stderr, message);
    assert.deepEqual(readdirSync(dir, { recursive: true }).sort(), before);
  };
  await refused(['cuonter', 'x'], 2, /^ctl: there is no template 'cuonter'; did you mean 'counter'\?\n$/);
  await refused(['quux'], 2, /^ctl: there is no template 'quux'; 'ctl new' lists them\n$/);
  await refused(['../templates/counter'], 2, /^ctl: there is no template /);
  await refused(['..', 'x'], 2, /^ctl: there is no template '\.\.'/);
  await refused(['counter', 'x', 'y'], 2, /^ctl: /);
  mkdirSync(join(dir, 'full'));
  writeFileSync(join(dir, 'full/.hidden'), '');
  await refused(['counter', 'full'], 1, /^ctl: full is not empty: /);
  writeFileSync(join(dir, 'file'), '');
  await refused(['counter', 'file'], 1, /^ctl: cannot use file: Not a directory\n$/);
  await refused(['counter', 'none/shop'], 1, /^ctl: cannot make none\/shop: the directory it would be in is not there\n$/);
  await refused(['counter', '42'], 1, /^ctl: of 42 no app's name can be made/);
  // a disk that is full in the middle: the size of a file that may be written is all that can be had without one
  const small = promisify(execFile)('/bin/sh', ['-c', `ulimit -f 0; trap '' XFSZ; exec "$0" new counter small`, join(bin, 'ctl')], { cwd: dir });
  await assert.rejects(small, ({ code, stderr }) => code === 1 && /^ctl: cannot write small\/.*: File too large\n$/.test(stderr));
  assert.deepEqual(readdirSync(dir).sort(), ['file', 'full']);
});

test('a directory that is there and empty, and names', async (t) => {
  const dir = scratch(t);
  mkdirSync(join(dir, 'My "Shop"'));
  const made = await ctl(['new', 'counter', './/My "Shop"/', '--json'], { cwd: dir });
  assert.deepEqual([made.status, made.stderr], [0, '']);
  const { files, ...rest } = JSON.parse(made.stdout);
  assert.deepEqual(rest, { template: 'counter', app: 'my-shop', dir: './/My "Shop"' });
  assert.deepEqual(files.sort(), readdirSync(join(dir, 'My "Shop"')).sort());
  assert.equal(JSON.parse(readFileSync(join(dir, 'My "Shop"/package.json'), 'utf8')).name, 'my-shop');
  const here = join(dir, 'here');
  mkdirSync(here);
  assert.equal((await ctl(['new', 'pool', '.'], { cwd: here })).status, 0);
  const manifest = JSON.parse(readFileSync(join(here, 'isola.json'), 'utf8'));
  assert.equal(manifest.name, 'here');
  assert.equal(JSON.parse(readFileSync(manifest.$schema, 'utf8')).$id, 'isola.schema.json');
});

describe('each template', { concurrency: false }, () => {
  const cluster = new Cluster();
  const apps = mkdtempSync(join(tmpdir(), 'isola-new-'));
  let node;
  after(async () => {
    await cluster.end();
    rmSync(apps, { recursive: true, force: true });
  });

  let port;
  // What a template needs before it is deployed here: packages that a registry would give, a port that nobody has.
  const before = {
    async express(dir) {
      installed(dir, 'express');
      port = await freePort();
      const text = readFileSync(join(dir, 'package.json'), 'utf8');
      writeFileSync(join(dir, 'package.json'), text.replace('"node server.js"', `"PORT=${port} node server.js"`));
    },
  };

  // Makes and deploys it, as an app of another name than the template's, and says where it is.
  async function deployed(template) {
    node ??= await cluster.node('alone');
    const name = `my-${template}`, dir = join(apps, name);
    const made = await ctl(['new', template, name], { cwd: apps });
    assert.deepEqual([made.status, made.stderr], [0, '']);
    assert.ok(made.stdout.startsWith(`made ${name}, the app ${name}, from the template ${template}\n`), made.stdout);
    for (const file of readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()))
      assert.doesNotMatch(readFileSync(join(file.parentPath, file.name), 'utf8'), /\{\{|\}\}/, file.name);
    await before[template]?.(dir);
    const done = await ctl(['deploy', dir, '--json'], { node: node.socket });
    assert.deepEqual([done.status, done.stderr], [0, ''], done.stdout);
    assert.equal(JSON.parse(done.stdout).app, name);
    return { dir, types: JSON.parse(done.stdout).types, actor: (type, key) => node.client.actor(`${name}/${type}`, key) };
  }

  // As npm does with a package of a path.
  function install(dir) {
    const { isola } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')).dependencies;
    assert.match(isola, /^file:\/.*\/client$/);
    mkdirSync(join(dir, 'node_modules'));
    symlinkSync(isola.slice('file:'.length), join(dir, 'node_modules/isola'));
  }

  const uses = {
    async counter({ types, actor }) {
      assert.deepEqual(types, ['Counter']);
      const changed = once(actor('Counter', 'ada'), 'changed');
      assert.equal(await actor('Counter', 'ada').ask('add', 5), 5);
      assert.deepEqual(await changed, [5]);
      assert.equal(await actor('Counter', 'ada').ask('get'), 5);
    },
    async chat({ dir, types, actor }) {
      assert.deepEqual(types, ['Room']);
      install(dir);
      await actor('Room', 'lobby').ask('say', 'bob', 'hi');
      const child = spawn(process.execPath, ['chat.js', 'lobby', 'ada'], { cwd: dir, env: { ...process.env, ISOLA_NODE: node.socket }, stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      assert.match((await lines.next()).value, /^\d\d:\d\d bob: hi$/);
      child.stdin.write('hello, everybody\n');
      assert.match((await lines.next()).value, /^\d\d:\d\d ada: hello, everybody$/);
      child.stdin.end();
      assert.deepEqual(await once(child, 'close'), [0, null]);
      assert.deepEqual((await actor('Room', 'lobby').ask('history')).map(({ who, text }) => [who, text]), [['bob', 'hi'], ['ada', 'hello, everybody']]);
      await assert.rejects(actor('Room', 'lobby').ask('say', 5), /two strings/);
    },
    async express({ types }) {
      assert.deepEqual(types, ['Server']);
      const get = async (path) => { const r = await fetch(`http://127.0.0.1:${port}${path}`); return [r.status, await r.json()]; };
      assert.deepEqual((await until('it listens', () => get('/users').catch(() => undefined)))[1].map((user) => user.name), ['Ada', 'Grace']);
      const made = await fetch(`http://127.0.0.1:${port}/users`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"Barbara"}' });
      assert.deepEqual([made.status, made.headers.get('location')], [201, '/users/3']);
      assert.deepEqual(await get('/users/3'), [200, { id: 3, name: 'Barbara' }]);
      assert.equal((await get('/users/4'))[0], 404);
    },
    async pool({ types, actor }) {
      assert.deepEqual(types, ['Pool', 'Worker']);
      const pool = actor('Pool', 'main');
      const done = await Promise.all(Array.from({ length: 8 }, (_, i) => pool.ask('run', i * 1000, (i + 1) * 1000)));
      assert.equal(done.reduce((sum, { primes }) => sum + primes, 0), 1007);
      assert.deepEqual(new Set(done.map(({ worker }) => worker)), new Set(['main-1', 'main-2', 'main-3', 'main-4']));
      assert.deepEqual(await pool.ask('jobs'), [0, 0, 0, 0]);
    },
    async ts({ dir, types, actor }) {
      assert.deepEqual(types, ['Cart']);
      install(dir);
      const buy = (...args) => promisify(execFile)(process.execPath, ['src/buy.ts', ...args], { cwd: dir, env: { ...process.env, ISOLA_NODE: node.socket } });
      assert.deepEqual(await buy('bob', 'tea', '3.5'), { stdout: 'total of bob: 3.50\n1 × tea\n', stderr: '' });
      assert.deepEqual(await buy('bob', 'tea', '3.5'), { stdout: 'total of bob: 7.00\n2 × tea\n', stderr: '' });
      assert.equal(await actor('Cart', 'bob').ask('total'), 7);
    },
  };
  for (const template of templates) test(template, async () => uses[template](await deployed(template)));
});
