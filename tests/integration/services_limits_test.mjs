// SPDX-License-Identifier: Apache-2.0
//
// "memory" and "cpus" of a service, as far as this machine can hold them: by the agent's own looks where it has no control groups (docs/services.md).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { after, before, test } from 'node:test';

import { Cluster, ctl, ctlOk, sanitized, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let east;
before(async () => { east = await cluster.node('east'); });
after(() => cluster.end());

async function link(name, service, module) {
  const dir = cluster.app(name, { 'isola.json': { name, actors: { Api: { module: './server.mjs', kind: 'service', ...service } } }, 'server.mjs': module });
  const r = await ctl(east, 'deploy', '--link', dir);
  assert.equal(r.status, 0, r.err);
}
const rows = async (app) => (await whole(east, 'ps', { app })).actors.sort((a, b) => (a.address < b.address ? -1 : 1));
const running = (app) => until(`${app} runs`, async () => {
  const all = await rows(app);
  return all.every((r) => r.state === 'running') && all;
});
const failed = (app) => until(`${app} has failed`, async () => {
  const [row] = await rows(app);
  return row.state === 'failed' && row;
});
const allowed = (pid) => /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
const stay = `process.send('ready'); setInterval(() => {}, 1000);`;
const bounded = { skip: sanitized }; // a sanitizer reserves more than any limit
const limits = { memory: '96MB', restart: { max: 0 } };

test('one that keeps its limit lives, and ps and top say what it has of it', bounded, async () => {
  await link('keeps', { memory: '256MB' }, `globalThis.kept = Buffer.alloc(40e6, 1); console.log(process.execArgv.join(' ')); ${stay}`);
  const [row] = await running('keeps');
  assert.equal(row.memory_limit, 256 << 20);
  await until('it was looked at', async () => (await rows('keeps'))[0].memory > 45e6);
  assert.ok((await rows('keeps'))[0].memory < 256 << 20);
  assert.match(await ctlOk(east, 'ps', 'keeps'), /keeps\/Api\/0 .* running +- +\d+ MB of 256 MB /);
  assert.match(await ctlOk(east, 'top', '--once', 'keeps'), /keeps\/Api\/0 .* \d+ MB of 256 MB /);
  // V8 collects garbage before the whole of it is used.
  const { lines } = await whole(east, 'logs', { address: 'keeps/Api/0' });
  assert.ok(lines.some((l) => l.text.includes('--max-old-space-size=168')), lines.map((l) => l.text).join('\n'));
});

test('buffers beyond the limit: ended as a crash, and why', bounded, async () => {
  await link('buffers', { ...limits, restart: { max: 1, backoff: '1ms' } }, `${stay} globalThis.kept = Buffer.alloc(150e6, 1);`);
  const row = await failed('buffers');
  assert.match(row.failure, /^it used more than its 96 MB \("memory"\): \d{2,3} MB$/);
  assert.equal(row.restarts, 1);
  assert.match(await ctlOk(east, 'ps', 'buffers'), /buffers\/Api\/0 it used more than its 96 MB \("memory"\)/);
});

test('a child counts', bounded, async () => {
  await link('child', limits, `import { spawn } from 'node:child_process';
spawn(process.execPath, ['-e', 'globalThis.kept = Buffer.alloc(120e6, 1); setInterval(() => {}, 1000)']); ${stay}`);
  assert.match((await failed('child')).failure, /^it used more than its 96 MB \("memory"\)/);
});

test('a heap beyond its part', bounded, async () => {
  await link('heap', limits, `const kept = []; for (;;) kept.push(new Array(1e4).fill(kept.length));`);
  assert.equal((await failed('heap')).failure, 'it used more than its 96 MB ("memory"), of which its JavaScript heap has 48 MB');
});

test('what grows faster than anybody looks does not take the machine', bounded, async () => {
  await link('fast', limits, `const kept = []; for (;;) kept.push(Buffer.alloc(64e6, 1));`);
  assert.match((await failed('fast')).failure, /^it used more than its 96 MB \("memory"\)|heap out of memory|ailed to allocate memory|llocation failed/);
});

test('another kill is not called that', bounded, async () => {
  await link('killed', limits, stay);
  const [{ pid }] = await running('killed');
  process.kill(pid, 'SIGKILL');
  assert.match((await failed('killed')).failure, /^it was ended by signal 9 \(Killed\)$/);
});

test('cpus: so many processors, rounded up, where no control group divides them', async () => {
  await link('cpus', { cpus: 0.5, instances: 2 }, stay);
  await link('all', {}, stay);
  const two = await running('cpus'), [one] = await running('all');
  assert.equal(two[0].millicpus, 500);
  if (os.availableParallelism() > 1) {
    for (const { pid } of two) assert.match(allowed(pid), /^\d+$/);
    assert.notEqual(allowed(two[0].pid), allowed(two[1].pid)); // not all on the same one
  }
  assert.equal(allowed(one.pid), allowed(process.pid));
});
