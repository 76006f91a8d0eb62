// SPDX-License-Identifier: Apache-2.0
//
// `ctl deploy` of a Node.js program to a cluster: its files and packages come to each node, are sent once, and a release replaces another
// while clients ask.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

import { bin, Cluster, ctl, ctlOk, freePort, killNode, until, whole } from './cluster.mjs';
import { ask, Load } from './load.mjs';

const cluster = new Cluster();
let east, west, port;
before(async () => {
  east = await cluster.node('east');
  west = await cluster.node('west', east);
  port = await freePort();
});
after(() => cluster.end());

const files = (version) => ({
  'isola.json': { name: 'api', actors: { Api: { module: './src/server.js', kind: 'service', port, instances: 2 } }, rollout: { window: '0ms' } },
  'package.json': { name: 'api', dependencies: { greet: '^1.0.0' } },
  'src/server.js': `const http = require('node:http'), fs = require('node:fs'), path = require('node:path');
const { version } = require('./version');
http.createServer((request, response) => response.end(JSON.stringify({ version, greet: require('greet'), pid: process.pid, dir: path.basename(process.cwd()),
  linked: fs.readFileSync('data/link.txt', 'utf8') }))).listen(process.env.PORT);`,
  'src/version.js': `exports.version = ${version};`,
  'data/real.txt': 'behind a link',
  'node_modules/greet/package.json': { name: 'greet', version: '1.0.0', main: 'main.js' },
  'node_modules/greet/main.js': "module.exports = 'hello from a package';",
  'node_modules/.package-lock.json': { packages: { 'node_modules/greet': {}, 'node_modules/tool': { dev: true } } },
  'node_modules/tool/main.js': 'for development',
  '.git/HEAD': 'not of the app',
});

function write(version, overrides = {}) {
  const dir = cluster.app('api', { ...files(version), ...overrides });
  symlinkSync('real.txt', join(dir, 'data/link.txt'));
  return dir;
}
const deploy = async (agent, dir) => JSON.parse(await ctlOk(agent, '--json', 'deploy', dir));
const get = async () => JSON.parse((await ask({ port, path: '/' })).body);
const rows = async () => (await whole(east, 'ps', { app: 'api' })).actors;
const runs = (release, n) => until(`${n} instances run ${release}`, async () => {
  const all = await rows();
  return all.length === n && all.every((r) => r.state === 'running' && r.release === release);
});
const unpacked = (agent) => readdirSync(join(cluster.dir, agent.name, 'apps', 'api')).filter((name) => name !== '.spare');

let first, second;
test('each node has the files, without what is no part of the app, and runs them', async () => {
  const deployed = await deploy(east, write(1));
  first = deployed.release;
  assert.equal(deployed.files.all, 9);
  assert.equal(deployed.files.sent, 8);
  await runs(first, 4);
  assert.deepEqual((await rows()).map((r) => r.node).sort(), ['east', 'east', 'west', 'west']);
  const { version, greet, dir, linked } = await get();
  assert.deepEqual([version, greet, dir, linked], [1, 'hello from a package', first, 'behind a link']);
  for (const agent of [east, west]) {
    const at = join(cluster.dir, agent.name, 'apps', 'api', first);
    assert.equal(existsSync(join(at, 'src/server.js')), true);
    for (const name of ['.git', 'node_modules/tool']) assert.equal(existsSync(join(at, name)), false, name);
  }
});

test('what has not changed is not sent', async () => {
  const again = await deploy(west, write(1));
  assert.deepEqual([again.release, again.unchanged, again.files], [first, true, { all: 9, sent: 0, bytes: 0 }]);
});

test('one file that has changed is, and the release replaces the other with no request lost', async () => {
  const seen = new Set();
  const load = new Load([{ path: '/', good: ({ body }) => seen.add(JSON.parse(body).version) }], { port });
  try {
    await load.more();
    const deployed = await deploy(east, write(2));
    second = deployed.release;
    assert.deepEqual([deployed.unchanged, deployed.files.sent], [false, 1]);
    await runs(second, 4);
    await until('the old ones are gone', async () => (await get()).version === 2 && seen.has(2));
  } finally {
    await load.stop();
  }
  await load.end();
  assert.deepEqual([...seen].sort(), [1, 2]);
});

test('a roll-back runs what ran before', async () => {
  await ctlOk(east, 'rollback', 'api');
  await runs(first, 4);
  assert.equal((await get()).version, 1);
});

test('a node that was away takes the files when it is back, and drops what it needs no more', async () => {
  await killNode(cluster, west);
  const third = (await deploy(east, write(3))).release;
  await runs(third, 2);
  west = await cluster.node('west');
  await runs(third, 4);
  const fourth = (await deploy(east, write(4))).release;
  await runs(fourth, 4);
  for (const agent of [east, west]) await until('old directories are gone', () => unpacked(agent).every((id) => id === third || id === fourth));
});

test('a directory that nobody uses becomes that of a later release, without what was written there', async () => {
  const apps = join(cluster.dir, 'east', 'apps', 'api');
  const files = (release) => readdirSync(join(apps, release), { recursive: true }).sort();
  const wanted = files((await rows())[0].release);
  const inodes = new Set();
  for (let i = 0; i < 4; i++) {
    const { release } = await deploy(east, write(40 + i));
    await runs(release, 4);
    await until('the one before is spare', () => existsSync(join(apps, '.spare')) && unpacked(east).length === 1);
    assert.deepEqual(files(release), wanted);
    assert.equal((await get()).greet, 'hello from a package');
    inodes.add(statSync(join(apps, release, 'package.json')).ino);
    writeFileSync(join(apps, release, 'written'), 'by the program');
    appendFileSync(join(apps, release, 'node_modules/greet/main.js'), 'throw new Error("changed");\n');
  }
  assert.ok(inodes.size < 4, 'no file was used again');
});

test('bad apps are refused before anything is sent', async () => {
  const before = (await rows()).map((r) => r.release);
  const dir = write(5, { 'node_modules/greet/package.json': { name: 'greet', main: 'main.js' }, 'package.json': { name: 'api', dependencies: { greet: '1', missing: '1' } } });
  const missing = await ctl(east, 'deploy', dir);
  assert.deepEqual([missing.status, /the package "missing" is not installed; run `npm install` in .*, or remove its node_modules/.test(missing.err)], [1, true], missing.err);
  const out = write(6);
  symlinkSync('../../../etc/passwd', join(out, 'out'));
  const led = await ctl(east, 'deploy', out);
  assert.deepEqual([led.status, led.err], [1, 'ctl: the link out leads out of the app: to ../../../etc/passwd\n']);
  const gone = await ctl(east, 'deploy', write(7, { 'isola.json': { name: 'api', actors: { Api: { module: './nowhere.js', kind: 'service', port } } } }));
  assert.deepEqual([gone.status, /nowhere\.js/.test(gone.err)], [1, true], gone.err);
  assert.deepEqual((await rows()).map((r) => r.release), before);
});

test('a large file arrives as it was', async () => {
  const dir = write(8, { 'src/server.js': `const http = require('node:http'), { createHash } = require('node:crypto'), fs = require('node:fs');
http.createServer((q, s) => s.end(JSON.stringify({ hash: createHash('sha256').update(fs.readFileSync('data/large')).digest('hex') }))).listen(process.env.PORT);` });
  const bytes = randomBytes(10_000_000);
  mkdirSync(dirname(join(dir, 'data/large')), { recursive: true });
  writeFileSync(join(dir, 'data/large'), bytes);
  const { release } = await deploy(east, dir);
  await runs(release, 4);
  assert.equal((await get()).hash, createHash('sha256').update(bytes).digest('hex'));
});

test('a deploy that does not wait says where to look', async () => {
  const dir = cluster.app('quiet', { 'isola.json': { name: 'quiet', actors: { S: { module: './s.js', kind: 'service' } } }, 's.js': 'setInterval(() => {}, 1000);' });
  const next = "  next   'ctl ps quiet' shows how its services begin; 'ctl deploy --wait' says whether they stay\n";
  assert.ok((await ctlOk(east, 'deploy', dir)).includes(next));
  assert.ok(!(await ctlOk(east, 'deploy', dir)).includes('next'), 'nothing begins');
  await ctlOk(east, 'stop', 'quiet/S');
  await until('it is stopped', async () => (await whole(east, 'ps', { app: 'quiet' })).actors.some((r) => r.node === 'east' && r.state === 'stopped'));
  assert.match(await ctlOk(east, 'deploy', dir), /\n {2}down {3}quiet\/S\/0\n {9}stopped, or crashed too often; .* 'ctl restart ADDRESS' starts one\n/);
  await ctlOk(east, 'delete', 'quiet', '--yes');
});

test('a deploy does not take the room that actors need for what they keep', (t) => {
  const data = join(cluster.dir, 'small');
  mkdirSync(data);
  const counter = cluster.app('count', { 'isola.json': { name: 'count', actors: { C: { module: './c.js' } } }, 'c.js': 'export default (self) => self.on("add", () => { self.state.n = (self.state.n ?? 0) + 1; return self.state.n; });' });
  const big = cluster.app('big', { 'isola.json': { name: 'big', actors: { S: { module: './s.js', kind: 'service' } } }, 's.js': 'setInterval(() => {}, 1000);' });
  writeFileSync(join(big, 'blob'), randomBytes(70_000_000));
  // The agent and ctl see the small disk; nobody else does. What ctl says goes, with its status, a line each, to stdout.
  const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', `
    mount -t tmpfs -o size=64m,mode=700 none "$1" || exit 77
    mkfifo "$1/said"
    "$0/node-agent" --name small --data "$1" >"$1/said" 2>&1 &
    trap 'kill -9 $! 2>/dev/null' EXIT TERM
    exec 3<"$1/said"
    read ready <&3
    ctl() { "$CTL" --node "$DATA/agent.sock" --json --timeout 20000 "$@"; echo "$?"; }
    CTL="$0/ctl" DATA="$1"
    ctl deploy "$2" >&2
    ctl deploy "$3"
    ctl ask count/C/one add
    ctl cache --prune >&2
    ctl ask count/C/one add
    truncate -s 8000000 "$3/blob" && ctl deploy "$3"
    kill $! && wait $!`, bin, data, counter, big], { encoding: 'utf8', timeout: 60_000 });
  if (status === 77 || /unshare/.test(stderr)) return t.skip('a file system of its own takes root');
  const [refused, one, first, , second, , small, two] = stdout.split('\n');
  assert.match(JSON.parse(refused).error.message, /^cannot write .*\/cache\.db: the disk has \d+ KB left, of which 3276 KB are for what actors keep; make room on it \('ctl cache --prune' drops files that no release has\)$/, stdout + stderr);
  assert.deepEqual([one, first, second], ['1', '1', '2'], stdout + stderr);
  assert.deepEqual([JSON.parse(small).app, two], ['big', '0'], `what was dropped has left its room: ${stdout}${stderr}`);
});

test('a node whose disk has no room for the files refuses the release, and no node has it', async (t) => {
  const apps = join(cluster.dir, 'south', 'apps');
  if (spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', cluster.dir]).status !== 0) return t.skip('a file system of its own takes root');
  mkdirSync(apps, { recursive: true });
  const south = await cluster.node('south', east, [], { on: ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=4m none '${apps}' && exec "$@"`, 'sh'] });
  const { release } = await deploy(east, write(9));
  await runs(release, 6);
  const large = write(10);
  writeFileSync(join(large, 'data/large'), randomBytes(5_000_000));
  for (const agent of [east, south]) { // as one that is told, and as the one that is asked
    const refused = await ctl(agent, 'deploy', large);
    assert.deepEqual([refused.status, /^ctl: EIO: node south: the app's files: cannot write .*\.part\/data\/large: the disk has \d+ KB left, of which 204 KB are for what actors keep; make room on it \('ctl cache --prune' drops files that no release has\)\n$/.test(refused.err)], [1, true], refused.err);
  }
  assert.deepEqual([...new Set((await rows()).map((r) => r.release))], [release]);
  for (const agent of [east, west]) await until('nothing is left of it', () => unpacked(agent).every((id) => id === release));
  const spare = join(`/proc/${south.child.pid}/root`, apps, 'other/.spare'); // as an app leaves it that had a large release
  mkdirSync(spare, { recursive: true });
  writeFileSync(join(spare, 'blob'), randomBytes(2_500_000));
  const fits = write(11);
  writeFileSync(join(fits, 'data/large'), randomBytes(1_500_000));
  const next = (await deploy(south, fits)).release;
  await runs(next, 6);
  assert.ok(!existsSync(spare), 'what nobody needs has made room');
});
