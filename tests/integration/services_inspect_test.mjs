// SPDX-License-Identifier: Apache-2.0
//
// `ctl inspect`: the inspector of a service, opened and closed again (docs/cli.md), and what a debugger sees there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { bin, Cluster, ctl, freePort, until, whole } from './cluster.mjs';

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
async function inspect(address) {
  const child = spawn(join(bin, 'ctl'), ['--node', east.socket, '--json', 'inspect', address], { stdio: ['ignore', 'pipe', 'pipe'] });
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
const refused = (url) => fetch(url.replace(/^ws:\/\/([^/]+)\/.*/, 'http://$1/json')).then(() => false, () => true);

test('each instance by itself, and closed when ctl ends', async () => {
  const rows = await deploy('web', { instances: 2 }, `globalThis.answer = 40 + +process.env.ISOLA_INSTANCE; process.send('ready'); setInterval(() => {}, 1000);`);
  const both = [await inspect('web/Api/0'), await inspect('web/Api/1')];
  for (const [i, { said }] of both.entries()) {
    assert.deepEqual([said.address, said.node, said.pid], [`web/Api/${i}`, 'east', rows[i].pid]);
    assert.match(said.url, /^ws:\/\/127\.0\.0\.1:\d+\/[-0-9a-f]+$/);
    assert.equal(said.devtools, `devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws=${said.url.slice(5)}`);
    const { call, socket } = await debug(said.url);
    assert.equal((await call('Runtime.evaluate', { expression: 'answer' })).result.result.value, 40 + i);
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
  for (const [address, said] of [['box/Api/0', /is in its sandbox, in which Node\.js does not open its inspector/], ['acts/Actor/1', /is an actor, and inspectors are of services: `ctl profile` and `ctl heap`/],
    ['web/Api/7', /web\/Api has no such instance on node east; `ctl ps web` lists them/], ['none/Api/0', /no app|none/]]) {
    const r = await ctl(east, 'inspect', address);
    assert.equal(r.status, 1, r.out);
    assert.match(r.err, said);
  }
});
