// SPDX-License-Identifier: Apache-2.0
//
// `ctl inspect`: the inspector of a service, opened and closed again (docs/cli.md), and what a debugger sees there.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { bin, Cluster, ctl, freePort, killNode, logs, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let east;
before(async () => { east = await cluster.node('east'); });
after(() => cluster.end());

async function deploy(name, service, module) {
  const dir = cluster.app(name, { 'isola.json': { name, actors: { Api: { module: './server.mjs', kind: 'service', ...service } } }, 'server.mjs': module });
  const r = await ctl(east, 'deploy', '--link', dir);
  assert.equal(r.status, 0, r.err);
  return until(`${name} runs`, async () => {
    const { actors } = await whole(east, 'ps', { app: name });
    return actors.length > 0 && actors.every((a) => a.state === 'running') && actors.sort((a, b) => (a.address < b.address ? -1 : 1));
  });
}

/** `ctl --json inspect`, waiting: what it has said, and its end. */
async function inspect(address, ...more) {
  const child = spawn(join(bin, 'ctl'), ['--node', east.socket, '--json', 'inspect', address, ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (part) => { out += part; });
  const ended = once(child, 'close').then(([status]) => ({ status, out }));
  await until(`ctl says where ${address} can be inspected`, () => out.includes('\n') || child.exitCode !== null);
  return { said: JSON.parse(out.split('\n')[0]), child, ended, interrupt: () => { child.kill('SIGINT'); return ended; } };
}

/** A debugger's connection. */
async function debug(url) {
  const socket = new WebSocket(url), answers = new Map(), events = [];
  let id = 0;
  socket.onmessage = ({ data }) => {
    const m = JSON.parse(data);
    if (m.id === undefined) events.push(m);
    else answers.get(m.id)(m);
  };
  await new Promise((done, failed) => { socket.onopen = done; socket.onerror = () => failed(new Error('not reached')); });
  const call = (method, params) => new Promise((done) => {
    answers.set(++id, done);
    socket.send(JSON.stringify({ id, method, params }));
  });
  return { call, events, socket };
}
const json = (url) => fetch(url.replace(/^ws:\/\/([^/]+)\/.*/, 'http://$1/json'));
const refused = (url) => json(url).then(() => false, () => true);

test('each instance by itself, and closed when ctl ends', async () => {
  const rows = await deploy('web', { instances: 2 }, `globalThis.answer = 40 + +process.env.ISOLA_INSTANCE; process.send('ready'); setInterval(() => {}, 1000);`);
  const both = [await inspect('web/Api/0'), await inspect('web/Api/1')];
  for (const [i, { said }] of both.entries()) {
    assert.deepEqual([said.address, said.node, said.pid], [`web/Api/${i}`, 'east', rows[i].pid]);
    assert.match(said.url, /^ws:\/\/127\.0\.0\.1:\d+\/[-0-9a-f]+$/);
    assert.equal(said.devtools, `devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws=${said.url.slice(5)}`);
    const { call, socket } = await debug(said.url);
    assert.equal((await call('Runtime.evaluate', { expression: 'answer' })).result.result.value, 40 + i);
    const told = await (await json(said.url)).text();
    assert.ok(!told.includes(said.url.split('/').at(-1)), `whoever reaches the port is told the URL: ${told}`);
    socket.close();
  }
  const second = await ctl(east, 'inspect', 'web/Api/0');
  assert.equal(second.status, 1);
  assert.match(second.err, /^ctl: EBUSY: another one has the inspector of web\/Api\/0 on node east\n$/);
  for (const { interrupt, said } of both) {
    assert.equal((await interrupt()).status, 0);
    await until('it is closed', () => refused(said.url));
  }
  const again = await inspect('web/Api/0');
  const { call, socket } = await debug(again.said.url);
  assert.equal((await call('Runtime.evaluate', { expression: 'answer' })).result.result.value, 40);
  socket.close();
  process.kill(rows[0].pid, 'SIGKILL');
  const { status, out } = await again.ended;
  assert.equal(status, 1);
  assert.match(out, /web\/Api\/0 is not there any more: it was ended by signal 9/);
});

test('a program that is in a loop', async () => {
  await deploy('loop', {}, `process.send('ready'); setTimeout(function spin() { for (globalThis.rounds = 0; !globalThis.out; globalThis.rounds++); }, 300); setInterval(() => {}, 1000);`);
  await until('it spins', async () => (await whole(east, 'ps', { app: 'loop' })).actors[0].cpu_ms > 500);
  const { said, interrupt } = await inspect('loop/Api/0');
  const { call, events, socket } = await debug(said.url);
  await call('Debugger.enable');
  await call('Debugger.pause');
  const paused = await until('it is paused', () => events.find((e) => e.method === 'Debugger.paused'));
  assert.equal(paused.params.callFrames[0].functionName, 'spin');
  await call('Debugger.evaluateOnCallFrame', { callFrameId: paused.params.callFrames[0].callFrameId, expression: 'globalThis.out = true' });
  await call('Debugger.resume');
  socket.close();
  assert.equal((await interrupt()).status, 0);
  await until('it is closed', () => refused(said.url));
});

test('one that opens it too late closes it again', async () => {
  const go = join(cluster.dir, 'go');
  await deploy('late', {}, `import { spawnSync } from 'node:child_process';
process.send('ready');
setTimeout(() => {
  console.log('blocks');
  spawnSync('sh', ['-c', 'until [ -e ${go} ]; do sleep 0.1; done']);
  setTimeout(() => console.log('awake'), 300);
}, 300);
setInterval(() => {}, 1000);`);
  const says = (text) => until(`it says ${text}`, async () => (await logs(east, 'late/Api/0')).includes(text));
  await says('blocks');
  const { status, err } = await ctl(east, 'inspect', 'late/Api/0');
  assert.deepEqual([status, /^ctl: ETIMEDOUT: late\/Api\/0 has not opened its inspector within 5 s of SIGUSR1/.test(err)], [1, true], err);
  writeFileSync(go, '');
  await says('awake');
  const { said, interrupt } = await inspect('late/Api/0');
  assert.match(said.url ?? JSON.stringify(said), /^ws:/);
  assert.equal((await interrupt()).status, 0);
});

test('for people; and what is refused', async () => {
  const child = spawn(join(bin, 'ctl'), ['--node', east.socket, 'inspect', 'loop/Api/0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (part) => { out += part; });
  await until('it has said all', () => out.split('\n').length > 3);
  assert.match(out, /^loop\/Api\/0 on node east can be inspected until this ends \(Ctrl-C\)\n  Chrome  devtools:\S+\n  others  ws:\/\/127\.0\.0\.1:\S+\n$/);
  child.kill('SIGINT');
  await once(child, 'close');

  await deploy('box', { sandbox: true, port: await freePort() }, `import http from 'node:http'; http.createServer().listen(process.env.PORT);`);
  await cluster.deploy(east, 'acts', { 'isola.json': { name: 'acts', actors: { Actor: { module: './actor.js' } } }, 'actor.js': 'export default () => {};' });
  for (const [address, said] of [['box/Api/0', /^ctl: EPERM: box\/Api\/0 is in its sandbox, in which Node\.js opens no inspector: it could undo the sandbox\. Deploy it with "nodeArgs": \["--allow-inspector"\] while you look into it\n$/], ['acts/Actor/1', /is an actor, and inspectors are of services: `ctl profile` and `ctl heap`/],
    ['web/Api/7', /^ctl: ENOENT: web\/Api has no instance "7" on node east: its instances have the numbers from 0 to 1\n$/], ['none/Api/0', /no app|none/]]) {
    const r = await ctl(east, 'inspect', address);
    assert.equal(r.status, 1, r.out);
    assert.match(r.err, said);
  }
});

test('in a sandbox whose manifest lets the inspector in', async () => {
  await deploy('ajar', { sandbox: true, nodeArgs: ['--allow-inspector', '--no-warnings'] }, `globalThis.answer = 43; process.send('ready'); setInterval(() => {}, 1000);`);
  const { said, interrupt } = await inspect('ajar/Api/0');
  const { call, socket } = await debug(said.url);
  assert.equal((await call('Runtime.evaluate', { expression: 'answer' })).result.result.value, 43);
  assert.equal((await call('Runtime.evaluate', { expression: `try { process.getBuiltinModule('node:fs').readFileSync('/etc/passwd') } catch ({ code }) { code }` })).result.result.value, 'ERR_ACCESS_DENIED');
  socket.close();
  assert.equal((await interrupt()).status, 0);
  await until('it is closed', () => refused(said.url));
});

test('an instance of another node', async () => {
  const west = await cluster.node('west', east);
  const dir = cluster.app('far', { 'isola.json': { name: 'far', actors: { Api: { module: './server.mjs', kind: 'service' } } },
    'server.mjs': `globalThis.big = 'x'.repeat(3e6); globalThis.where = process.ppid; process.send('ready'); setInterval(() => {}, 1000);` });
  const r = await ctl(east, 'deploy', dir);
  assert.equal(r.status, 0, r.err);
  const rows = await until('it runs on both', async () => {
    const { actors } = await whole(east, 'ps', { app: 'far' });
    return actors.length === 2 && actors.every((a) => a.state === 'running') && Object.fromEntries(actors.map((a) => [a.node, a]));
  });
  const open = await inspect('far/Api/0', '--from', 'west');
  assert.deepEqual(Object.keys(open.said), ['address', 'node', 'pid', 'url', 'devtools']);
  assert.deepEqual([open.said.address, open.said.node, open.said.pid], ['far/Api/0', 'west', rows.west.pid]);
  assert.match(open.said.url, /^ws:\/\/127\.0\.0\.1:\d+\/[-0-9a-f]+$/);

  // Two debuggers at once, much in both directions, and one of them gone in the middle.
  const [a, b] = [await debug(open.said.url), await debug(open.said.url)];
  assert.equal((await a.call('Runtime.evaluate', { expression: 'process.pid' })).result.result.value, rows.west.pid);
  assert.equal((await a.call('Runtime.evaluate', { expression: 'big' })).result.result.value.length, 3e6);
  assert.equal((await b.call('Runtime.evaluate', { expression: `'${'y'.repeat(2e6)}'.length` })).result.result.value, 2e6);
  let chunks = 0;
  const taken = a.call('HeapProfiler.takeHeapSnapshot', {});
  await taken;
  for (const { method, params } of a.events) if (method === 'HeapProfiler.addHeapSnapshotChunk') chunks += params.chunk.length;
  assert.ok(chunks > 3e6, `a heap snapshot of ${chunks} bytes`);
  a.socket.close();
  assert.equal((await b.call('Runtime.evaluate', { expression: '6 * 7' })).result.result.value, 42);

  const second = await ctl(east, 'inspect', '--from', 'west', 'far/Api/0');
  assert.match(second.err, /^ctl: EBUSY: another one has the inspector of far\/Api\/0 on node west\n$/);
  const there = await ctl(west, 'inspect', 'far/Api/0');
  assert.match(there.err, /^ctl: EBUSY: another one has the inspector/);

  // It ends with ctl, also when that is killed, and with the process.
  open.child.kill('SIGKILL');
  const again = await until('it is free again', async () => {
    const next = await inspect('far/Api/0', '--from', 'west');
    return next.said.url !== undefined && next;
  });
  process.kill(rows.west.pid, 'SIGKILL');
  const { status, out } = await again.ended;
  assert.equal(status, 1);
  assert.match(out, /far\/Api\/0 is not there any more: it was ended by signal 9/);

  // Who is not there, and who may not.
  for (const [args, said] of [[['--from', 'wset', 'far/Api/0'], /^ctl: ENOENT: .*wset.*west/], [['--from', 'west', 'far/Api/7'], /far\/Api has no instance "7" on node west/], [['--from', 'west', 'acts/Actor/1'], /is an actor/]]) {
    const { status: failed, err } = await ctl(east, 'inspect', ...args);
    assert.equal(failed, 1);
    assert.match(err, said);
  }
  // Where deployers are named, an inspector is nothing that another node may open.
  const ISOLA_KEY = join(cluster.dir, 'key');
  const trust = (...args) => promisify(execFile)(join(bin, 'ctl'), ['--node', east.socket, 'trust', ...args], { env: { ...process.env, ISOLA_KEY } });
  await trust('add', 'ada');
  const refusal = await until('west knows who may deploy', async () => {
    const { status: s, err } = await ctl(east, 'inspect', '--timeout', '1', '--from', 'west', 'far/Api/0');
    return s === 1 && err.includes('EPERM') && err;
  });
  assert.match(refusal, /^ctl: EPERM: node west takes code of those alone who may deploy \(`ctl trust list`\), and who has an inspector can run any: use ctl on that node itself\n$/);
  await trust('remove', 'ada');
  const alive = await until('it runs again', async () => {
    const { actors } = await whole(east, 'ps', { app: 'far' });
    const next = actors.every((row) => row.state === 'running') && (await inspect('far/Api/0', '--from', 'west'));
    return next && next.said.url !== undefined && next;
  });
  const { call, socket } = await debug(alive.said.url);
  await call('Runtime.enable');
  await killNode(cluster, west); // in the middle of a debugger's connection
  const lost = await alive.ended;
  assert.equal(lost.status, 1);
  assert.match(lost.out, /far\/Api\/0 is not there any more: node west is down: /);
  socket.close();
});

test('a node that is removed has none any more, and nobody one of it', async () => {
  const west = await cluster.node('west', east);
  const free = (...args) => until(`it runs, and is free: ${args.join(' ')}`, async () => {
    const next = await inspect(...args);
    return next.said.url !== undefined && next;
  });
  const there = await free('far/Api/0', '--from', 'west');
  const child = spawn(join(bin, 'ctl'), ['--node', west.socket, 'inspect', '--from', 'east', 'far/Api/0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', err = '';
  child.stdout.setEncoding('utf8').on('data', (part) => { out += part; });
  child.stderr.setEncoding('utf8').on('data', (part) => { err += part; });
  const ended = once(child, 'close');
  await until('west has one of east', () => out.includes('ws://'));
  const removed = await ctl(east, 'remove', 'west', '--force');
  assert.equal(removed.status, 0, removed.err);
  assert.match((await there.ended).out, /far\/Api\/0 is not there any more: node west is down: the node was removed from the cluster/);
  assert.deepEqual([(await ended)[0], /far\/Api\/0 is not there any more: node east is down: /.test(err)], [1, true], err);
  assert.equal((await (await free('far/Api/0')).interrupt()).status, 0);
});
