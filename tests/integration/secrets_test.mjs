// SPDX-License-Identifier: Apache-2.0
//
// Secrets: set by people, sealed on every node, given to the services that name them, and to nobody else.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { bin, Cluster, ctl, ctlOk, freePort, killNode, until, whole } from './cluster.mjs';

const cluster = new Cluster();
const FIRST = 'postgres://shop:first-value-0815@db/shop', SECOND = 'postgres://shop:second-value-4711@db/shop';
let east, west, north, port;
before(async () => {
  east = await cluster.node('east');
  port = await freePort();
});
after(() => cluster.end());

const files = (service = {}) => ({
  'isola.json': { name: 'shop', actors: { Api: { module: './server.js', kind: 'service', port, secrets: ['DATABASE_URL'], ...service } } },
  'server.js': `require('node:http').createServer((request, response) => response.end(JSON.stringify({ pid: process.pid, env: process.env }))).listen(process.env.PORT);`,
});
const deploy = (agent, service) => ctl(agent, '--json', 'deploy', cluster.app('shop', files(service)));
const get = () => new Promise((done, failed) => {
  http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => done(JSON.parse(text))).on('error', failed);
  }).on('error', failed);
});
/** Runs ctl with this on its standard input: { status, out, err }. */
const withInput = (agent, input, ...args) => new Promise((done) => {
  const child = spawn(join(bin, 'ctl'), ['--node', agent.socket, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const r = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => { r.out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { r.err += text; });
  child.on('close', (status) => done({ status, ...r }));
  child.stdin.on('error', () => {}).end(input);
});
const set = async (agent, name, value) => {
  const r = await withInput(agent, value, '--json', 'secret', 'set', 'shop', name);
  assert.equal(r.status, 0, r.out + r.err);
  return JSON.parse(r.out);
};
const list = async (agent, app = 'shop') => JSON.parse(await ctlOk(agent, '--json', 'secret', 'list', app)).secrets;
const names = async (agent) => (await list(agent)).map((s) => s.name).join();
/** Everything in the files of a node, but for what programs wrote. */
const onDisk = (agent) => Buffer.concat(readdirSync(join(cluster.dir, agent.name), { recursive: true }).map((f) => join(cluster.dir, agent.name, f))
  .filter((f) => statSync(f, { throwIfNoEntry: false })?.isFile()).map((f) => readFileSync(f))).toString('latin1');
const instances = async (agent) => (await whole(agent, 'ps', { app: 'shop' })).actors;
const env = (pid) => Object.fromEntries(readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean).map((v) => [v.slice(0, v.indexOf('=')), v.slice(v.indexOf('=') + 1)]));
/** All nodes' instances run with this value: their process ids by node. */
const run = (value, nodes) => until(`instances of ${nodes.map((n) => n.name)} have ${value}`, async () => {
  const rows = (await instances(nodes[0])).filter((r) => r.state === 'running');
  try {
    return rows.length === nodes.length && rows.every((r) => env(r.pid).DATABASE_URL === value) && Object.fromEntries(rows.map((r) => [r.node, r.pid]));
  } catch { return false; } // it has just ended
});

test('a deploy that needs one which is not set says what to do', async () => {
  const { status, out } = await deploy(east);
  assert.equal(status, 1);
  const { error } = JSON.parse(out);
  assert.equal(error.code, 'EINVAL');
  assert.equal(error.message, 'shop needs a secret that is not set: DATABASE_URL (of Api); `ctl secret set shop DATABASE_URL` sets it');
  const several = JSON.parse((await deploy(east, { secrets: ['DATABASE_URL', 'TOKEN'] })).out).error.message;
  assert.match(several, /DATABASE_URL \(of Api\), TOKEN \(of Api\); .* `ctl secret import shop FILE` several$/);
});

test('one that is set is in the environment of the service, and of it alone', async () => {
  assert.deepEqual(await set(east, 'DATABASE_URL', `${FIRST}\n`), { app: 'shop', changed: ['DATABASE_URL'], unchanged: [], used: [], nodes: ['east'], later: [] });
  assert.deepEqual((await set(east, 'DATABASE_URL', FIRST)).unchanged, ['DATABASE_URL']);
  assert.equal((await set(east, 'UNUSED', 'x')).changed[0], 'UNUSED');
  assert.equal((await deploy(east)).status, 0);
  await run(FIRST, [east]);
  const { env: seen } = await until('it answers', () => get().catch(() => undefined));
  assert.equal(seen.DATABASE_URL, FIRST);
  assert.equal('UNUSED' in seen, false);
  const [row] = (await list(east)).filter((s) => s.name === 'DATABASE_URL');
  assert.deepEqual([row.app, row.used, row.by.includes('@'), Date.now() - row.set_ms < 600_000], ['shop', ['Api'], true, true]);
});

test('on disk it is sealed, under a key that nobody else may read', () => {
  const key = join(cluster.dir, 'east/cluster/secrets.key');
  assert.equal(statSync(key).mode & 0o777, 0o600);
  assert.equal(onDisk(east).includes('first-value-0815'), false);
  assert.equal(onDisk(east).includes('DATABASE_URL'), true);
});

test('another value replaces the service, and no request is lost', async () => {
  const before = (await get()).pid;
  let lost = 0, asked = 0, going = true;
  const load = (async () => {
    while (going) {
      asked++;
      await get().catch(() => { lost++; });
    }
  })();
  const more = async () => {
    const from = asked;
    await until('it is asked', () => asked > from + 10);
  };
  await more();
  const changed = await set(east, 'DATABASE_URL', SECOND);
  assert.deepEqual(changed.used, ['Api']);
  const after = await run(SECOND, [east]);
  await until('the one before has ended', () => !existsSync(`/proc/${before}`));
  await more();
  going = false;
  await load;
  assert.notEqual(after.east, before);
  assert.equal(lost, 0);
  await set(east, 'UNUSED', 'y');
  await ctlOk(east, 'secret', 'rm', 'shop', 'UNUSED');
  assert.equal((await get()).pid, after.east); // it does not use that one
  const { status, out } = await ctl(east, '--json', 'secret', 'rm', 'shop', 'DATABASE_URL');
  assert.deepEqual([status, JSON.parse(out).error.code], [1, 'EBUSY']);
  assert.match(JSON.parse(out).error.message, /^shop\/Api uses the secret DATABASE_URL/);
});

test('nodes that join get what they need over their links, each sealed with a key of its own', async () => {
  west = await cluster.node('west', east);
  north = await cluster.node('north', east);
  await run(SECOND, [east, west, north]);
  const keys = ['east', 'west', 'north'].map((n) => readFileSync(join(cluster.dir, n, 'cluster/secrets.key')).toString('hex'));
  assert.equal(new Set(keys).size, 3);
  for (const agent of [west, north]) assert.equal(onDisk(agent).includes('second-value-4711'), false);
  assert.equal(await names(west), 'DATABASE_URL');
});

test('a node that was away learns what was set and removed meanwhile', async () => {
  await set(west, 'OLD', 'to be removed');
  await until('all know it', async () => (await names(north)) === 'DATABASE_URL,OLD');
  await killNode(cluster, north);
  const { later, nodes } = await set(west, 'DATABASE_URL', FIRST);
  assert.deepEqual([nodes.sort(), later], [['east', 'west'], ['north']]);
  await ctlOk(west, 'secret', 'rm', 'shop', 'OLD');
  await run(FIRST, [east, west]);
  north = await cluster.node('north', east);
  await run(FIRST, [east, west, north]);
  await until('it knows what was removed', async () => (await names(north)) === 'DATABASE_URL');
});

test('a node that has lost its key takes them from others', async () => {
  await killNode(cluster, north);
  rmSync(join(cluster.dir, 'north/cluster/secrets.key'));
  north = await cluster.node('north', east);
  await run(FIRST, [east, west, north]);
  await until('it can be opened', async () => (await list(north)).every((s) => !s.unreadable));
  assert.match(north.log(), /1 secret cannot be opened: .*secrets\.key is not the key of that time/);
});

test('many at once come from a file of variables', async () => {
  const file = join(cluster.dir, 'production.env');
  writeFileSync(file, `# of production
export TOKEN=abc # the old one
EMPTY_LINES_AROUND = ' kept as it is '

PEM="-----BEGIN\\nKEY-----
more"
DATABASE_URL=${FIRST}
`);
  const set = JSON.parse(await ctlOk(east, '--json', 'secret', 'import', 'shop', file));
  assert.deepEqual([set.changed, set.unchanged], [['TOKEN', 'EMPTY_LINES_AROUND', 'PEM'], ['DATABASE_URL']]);
  const deployed = await deploy(west, { port: undefined, secrets: ['DATABASE_URL', 'TOKEN', 'EMPTY_LINES_AROUND', 'PEM'] });
  assert.equal(deployed.status, 0, deployed.out);
  const { release } = JSON.parse(deployed.out);
  const [row] = await until('it runs', async () => {
    const rows = (await instances(east)).filter((r) => r.node === 'east' && r.state === 'running' && r.release === release);
    return rows.length === 1 && rows;
  });
  const seen = env(row.pid);
  assert.deepEqual([seen.TOKEN, seen.EMPTY_LINES_AROUND, seen.PEM], ['abc', ' kept as it is ', '-----BEGIN\nKEY-----\nmore']);
});

test('what cannot be one is refused with a reason', async () => {
  const refused = async (why, input, ...args) => {
    const r = await withInput(east, input, 'secret', ...args);
    assert.notEqual(r.status, 0, args.join(' '));
    assert.match(r.err, why);
  };
  const file = join(cluster.dir, 'bad.env');
  await refused(/'1UP' cannot be a secret's name/, 'x', 'set', 'shop', '1UP');
  await refused(/would be empty/, '\n', 'set', 'shop', 'A');
  await refused(/more than the 655\d\d bytes|has 65537 bytes; 65536 at the most/, 'x'.repeat(65537), 'set', 'shop', 'A');
  await refused(/is no text/, Buffer.from([0x66, 0xff, 0x66]), 'set', 'shop', 'A');
  await refused(/is no text/, 'a\0b', 'set', 'shop', 'A');
  await refused(/has no secret NONE/, '', 'rm', 'shop', 'NONE');
  await refused(/knows set, list, rm and import, not 'add'/, '', 'add', 'shop', 'A');
  writeFileSync(file, 'A=1\nnot one\n');
  await refused(/bad\.env:2: a line is NAME=VALUE/, '', 'import', 'shop', file);
  writeFileSync(file, 'A=1\nB="open\n');
  await refused(/bad\.env:2: the value of B has no end: a " is missing/, '', 'import', 'shop', file);
  assert.equal((await names(east)).includes('A,'), false); // of a file all or none
  const both = await deploy(east, { env: { DATABASE_URL: 'x' } });
  assert.match(JSON.parse(both.out).error.message, /names "DATABASE_URL", which "env" sets/);
  const own = await deploy(east, { secrets: ['PORT'] });
  assert.match(JSON.parse(own.out).error.message, /names "PORT", which is a variable that is set by Isola/);
});

test('nothing shows a value', async () => {
  const said = [];
  for (const args of [['secret', 'list'], ['--json', 'secret', 'list', 'shop'], ['ps'], ['--json', 'ps'], ['releases', 'shop'], ['diff', 'shop'], ['logs'], ['nodes']]) said.push((await ctl(east, ...args)).out);
  const logs = [east, west, north].map((a) => a.log()).join('');
  for (const text of [...said, logs]) assert.doesNotMatch(text, /first-value|second-value/);
  const backup = join(cluster.dir, 'backup');
  await ctlOk(east, 'backup', backup);
  const kept = readdirSync(backup).map((f) => readFileSync(join(backup, f), 'latin1')).join('');
  assert.equal(kept.includes('first-value'), false);
  assert.equal(kept.includes('DATABASE_URL'), true);
});
