// SPDX-License-Identifier: Apache-2.0
//
// Releases that are watched when they have become current: those that fail are gone back from, on all nodes, and those that do not stay.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { bin, Cluster, ctl, ctlOk, freePort, killNode, nodes, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let east, west;
before(async () => {
  east = await cluster.node('east');
  west = await cluster.node('west', east);
});
after(() => cluster.end());

const json = async (agent, ...args) => JSON.parse(await ctlOk(agent, '--json', ...args));
const deploys = async (agent, app) => (await agent.client.call('releases', { app })).deploys;
const current = async (agent, app) => (await deploys(agent, app))[0];
/** Both nodes have that release. */
const everywhere = (app, release, agents = [east, west]) =>
  until(`${release} is current everywhere`, async () => (await Promise.all(agents.map((a) => current(a, app)))).every((d) => d.release === release));
const counter = (version, rollout, body = 'return value') => ({
  'isola.json': { name: 'shop', actors: { Counter: { module: './counter.js' } }, rollout },
  'counter.js': `// version ${version}
export default (self) => {
  self.on('get', (value) => { ${body}; });
  self.on('version', () => ${version});
};`,
});
/** So many asks, of as many actors; resolves with how many failed. */
const ask = async (n, app = 'shop', client = west.client) =>
  (await Promise.allSettled(Array.from({ length: n }, (_, i) => client.actor(`${app}/Counter/k${i}`).ask('get', i)))).filter((r) => r.status === 'rejected').length;
/** `ctl deploy --wait`, which goes on while the test does. */
const deployWaiting = (agent, dir, ...more) => ctl(agent, 'deploy', '--wait', dir, ...more);
/** The release that has become current in place of `from`, and answers, as version `version`. */
const changed = async (app, from, version) => {
  const { release } = await until('it is current', async () => (await current(east, app)).release !== from && current(east, app));
  await everywhere(app, release);
  await until('all run it', async () => (await Promise.all(Array.from({ length: 10 }, (_, i) => west.client.actor(`${app}/Counter/k${i}`).ask('version')))).every((v) => v === version));
  return release;
};

test('a module that throws as it is loaded: refused, with the code around', async () => {
  const dir = cluster.app('shop', { ...counter(0), 'counter.js': 'const limits = undefined;\n\nconst most = limits.most;\nexport default () => most;\n' });
  const r = await ctl(east, 'deploy', '--wait', dir);
  assert.deepEqual([r.status, r.err], [1, `ctl: EMODULE: actor type Counter (counter.js): TypeError: Cannot read properties of undefined (reading 'most')
      at shop/counter.js:3:21
        1 │ const limits = undefined;
        2 │ 
  >     3 │ const most = limits.most;
          │                     ^
        4 │ export default () => most;
`], r.err);
  assert.equal((await ctl(east, 'releases', 'shop')).status, 1);
});

let good;
test('one that does well has proven itself when its window is over', async () => {
  const r = await json(east, 'deploy', '--wait', cluster.app('shop', counter(1, { window: '500ms' })));
  good = r.release;
  assert.deepEqual([r.rollout.state, r.rollout.instances, r.rollout.errors, r.rollout.ms >= 400], ['proven', 0, 0, true]);
  assert.equal(await ask(20), 0);
  const again = await ctl(east, 'deploy', '--wait', cluster.app('shop', counter(1, { window: '500ms' })));
  assert.deepEqual([again.status, /is unchanged/.test(again.out)], [0, true]);
});

test('one whose handlers all throw is rolled back on all nodes, and who waits is told why', async () => {
  const waiting = deployWaiting(east, cluster.app('shop', counter(2, { window: '20s' }, 'throw new Error(`no ${value}`)')));
  const bad = await changed('shop', good, 2);
  assert.equal(await ask(10), 10);
  const r = await waiting;
  assert.equal(r.status, 1, r.err);
  assert.match(r.err, new RegExp(`^ctl: release ${bad} of shop has failed, and release ${good} is current again: \\d+ of \\d+ turns of its actors failed \\([\\d.]+%, of the release before 0%\\), first shop/Counter/k\\d: Error: no \\d\n`));
  assert.match(r.err, /at .*shop\/counter\.js:3:\d+\)?\n/);
  assert.match(r.err, /\n {2}> {5}3 │ {3}self\.on\('get', .*\n {10}│ +\^\n/);
  await everywhere('shop', good);
  const list = await deploys(west, 'shop');
  assert.deepEqual(list.map((d) => [d.release, d.by === 'isola@east', d.restores !== 0]), [[good, true, true], [bad, false, false], [good, false, false]]);
  assert.match(list[0].message, /^by itself: \d+ of \d+ turns of its actors failed .* first shop\/Counter\/k\d: Error: no \d$/);
  assert.match(await ctlOk(west, 'releases', 'shop'), /roll-back +isola@east +by itself: /);
  assert.equal(await ask(10), 0);
  assert.equal(await west.client.actor('shop/Counter/k0').ask('version'), 1);
  assert.match(east.log(), new RegExp(`release ${bad} of shop has failed, to be rolled back: `));
});

test('an error now and then is none of the release', async () => {
  const waiting = deployWaiting(west, cluster.app('shop', counter(3, { window: '1s', minErrors: 3 }, 'if (value === 1) throw new Error("rare"); return value')));
  const next = await changed('shop', good, 3);
  assert.equal(await ask(2), 1);
  assert.equal((await waiting).status, 0);
  await everywhere('shop', good = next);
});

test('nor are errors that were as frequent before', async () => {
  const body = (n) => `if (value % 2) throw new Error('odd'); return value + ${n}`;
  const rollout = { window: '500ms', errors: '100%' };
  const fourth = (await json(east, 'deploy', '--wait', cluster.app('shop', counter(4, rollout, body(0))))).release;
  assert.equal(await ask(40), 20);
  const waiting = deployWaiting(east, cluster.app('shop', counter(5, { window: '1500ms' }, body(1))));
  good = await changed('shop', fourth, 5);
  assert.equal(await ask(40), 20);
  const r = await waiting;
  assert.equal(r.status, 0, r.err);
  assert.equal((await current(west, 'shop')).release, good);
  good = (await json(east, 'deploy', '--wait', cluster.app('shop', counter(55, { window: '0ms' })))).release; // which no one has asked yet
});

test('with "rollback": false it stays, and who waits is told so', async () => {
  const waiting = deployWaiting(east, cluster.app('shop', counter(6, { window: '20s', rollback: false }, 'throw new Error("bad")')));
  const bad = await changed('shop', good, 6);
  await ask(20);
  const r = await waiting;
  assert.deepEqual([r.status, new RegExp(`^ctl: release ${bad} of shop has failed, and stays: `).test(r.err)], [1, true], r.err);
  assert.equal((await current(west, 'shop')).release, bad);
  await ctlOk(east, 'rollback', 'shop');
  await everywhere('shop', good);
});

test('another deploy ends the watch of the one before; --timeout the waiting', async () => {
  const first = deployWaiting(east, cluster.app('shop', counter(7, { window: '1h' })));
  await changed('shop', good, 7);
  const late = await ctl(west, 'deploy', '--wait', '--timeout', '1500', cluster.app('shop', counter(8, { window: '1h' })));
  assert.deepEqual([late.status, /^ctl: release [0-9a-f]+ of shop is current, but has not proven itself within 1\.5 s: \d+ s of its window are left; it is watched on/.test(late.err)], [1, true], late.err);
  const r = await first;
  assert.deepEqual([r.status, /^ctl: release [0-9a-f]+ of shop is not current any more: [0-9a-f]+ is, by another deploy or roll-back/.test(r.err)], [1, true], r.err);
  const third = await json(east, 'deploy', '--wait', cluster.app('shop', counter(9, { window: '0ms' })));
  await everywhere('shop', good = third.release);
});

test('the first deploy has nothing to go back to', async () => {
  const files = counter(1, { window: '20s' }, 'throw new Error("bad")');
  const waiting = deployWaiting(east, cluster.app('alone', { ...files, 'isola.json': { ...files['isola.json'], name: 'alone' } }));
  await until('it is there', () => current(west, 'alone').catch(() => false));
  await ask(20, 'alone');
  const r = await waiting;
  assert.equal(r.status, 1);
  assert.match(r.err, /^ctl: release [0-9a-f]+ of alone has failed, and stays: .*Error: bad; there is no release before it to go back to\n/);
  await until('the log says so', () => [east, west].some((node) => /release [0-9a-f]+ of alone stays: there is none before it to go back to/.test(node.log())));
});

// --- services ---

const service = (version, rollout, body, more) => ({
  'isola.json': { name: 'api', actors: { Api: { module: './server.js', kind: 'service', port: more.port, instances: 1, ...more }, Note: { module: './note.js' } }, rollout },
  'note.js': `export default (self) => self.on('version', () => ${version});`,
  'server.js': `const http = require('node:http'), start = Date.now();
const west = process.env.ISOLA_NODE.includes('/west/');
const well = () => { ${body.well ?? 'return true'} };
${body.start ?? ''}
http.createServer((q, s) => { s.statusCode = well() ? 200 : 500; s.end('${version}'); }).listen(process.env.PORT);`,
});
const instances = async () => (await whole(east, 'ps', { app: 'api' })).actors.filter((r) => r.isolation === 'process');
const runs = (release) => until(`all instances run ${release}`, async () => {
  const all = await instances();
  return all.length === 2 && all.every((r) => r.state === 'running' && r.release === release);
});

let api, port;
test('--wait ends when all instances of all nodes are ready, of a roll-back and a restart too', async () => {
  port = await freePort();
  const first = await json(east, 'deploy', '--wait', cluster.app('api', service(1, { window: '0ms' }, {}, { port })));
  assert.deepEqual([first.rollout.instances, first.rollout.ready], [2, 2]);
  assert.deepEqual((await instances()).map((r) => [r.state, r.release]), [['running', first.release], ['running', first.release]]);
  const second = await json(east, 'deploy', '--wait', cluster.app('api', service(2, { window: '0ms' }, {}, { port })));
  assert.deepEqual((await instances()).map((r) => [r.state, r.release]), [['running', second.release], ['running', second.release]]);
  const back = await json(west, 'rollback', 'api', '--wait');
  assert.deepEqual([back.release, back.rollout.ready], [first.release, 2]);
  assert.deepEqual((await instances()).map((r) => [r.state, r.release]), [['running', first.release], ['running', first.release]]);
  const pids = (await instances()).map((r) => r.pid);
  assert.equal(await ctlOk(west, 'restart', 'api/Api', '--wait'), 'restarted api/Api: 2 instances\n');
  assert.ok((await instances()).every((r) => r.state === 'running' && !pids.includes(r.pid)));
  api = first.release;
});

test('one whose service does not begin on one node is rolled back on both, with its actors', async () => {
  const r = await ctl(east, 'deploy', '--wait', cluster.app('api', service(3, { window: '20s' }, { start: "if (west) { console.error('Error: no west'); process.exit(3); }" }, { port })));
  assert.equal(r.status, 1, r.out);
  assert.match(r.err, new RegExp(`^ctl: release [0-9a-f]+ of api has failed, and release ${api} is current again: on node west, api/Api/0: it exited with status 3: Error: no west\n`));
  await runs(api);
  for (const agent of [east, west]) assert.equal(await agent.client.actor('api/Note/a').ask('version'), 1);
  assert.match((await current(west, 'api')).message, /^by itself: on node west, api\/Api\/0: it exited with status 3/);
});

test('so is one that is not well any more after a while', async () => {
  const health = { path: '/', every: '100ms', failures: 2 };
  const r = await ctl(west, 'deploy', '--wait', cluster.app('api', service(4, { window: '20s' }, { well: 'return Date.now() - start < 1500' }, { port, health })));
  assert.equal(r.status, 1, r.out);
  assert.match(r.err, new RegExp(`release ${api} is current again: on node \\w+, api/Api/0: it was not well 2 times in a row \\("health"\\): GET /: status 500\n`));
  await runs(api);
});

test('who stops its instances and starts them again says nothing against it', async () => {
  const program = (version) => ({
    'isola.json': { name: 'slow', actors: { Api: { module: './server.mjs', kind: 'service' } }, rollout: { window: '1h' } },
    'server.mjs': `// ${version}
process.on('SIGTERM', () => setTimeout(() => process.exit(), 300));
setTimeout(() => process.send('ready'), 800);
setInterval(() => {}, 1000);`,
  });
  await cluster.deploy(east, 'slow', program(1));
  const { release } = await cluster.deploy(east, 'slow', program(2));
  const rows = (id = release) => whole(east, 'ps', { app: 'slow' }).then(({ actors }) => actors.filter((a) => a.release === id && a.state === 'running'));
  const before = await until('it runs on both', async () => (await rows()).length === 2 && rows());
  await ctlOk(east, 'stop', 'slow/Api');
  await ctlOk(east, 'restart', 'slow/Api'); // before they have ended
  const now = await until('they run again', async () => (await rows()).filter((a) => before.every((b) => b.pid !== a.pid)).length === 2 && rows());
  assert.deepEqual(now.map((a) => [a.restarts, a.failure, a.note]), [[0, undefined, undefined], [0, undefined, undefined]]);
  const { state } = await east.client.call('rollout', { app: 'slow' });
  assert.deepEqual([state, (await current(west, 'slow')).release], ['watched', release]);
  await ctlOk(east, 'stop', 'slow/Api');
  const third = await cluster.deploy(east, 'slow', program(3)); // likewise
  await until('another release runs', async () => (await rows(third.release)).length === 2);
  await ctlOk(east, 'delete', 'slow', '--yes');
});

test('so is one that is not ready by its deadline', async () => {
  const r = await ctl(west, 'deploy', '--wait', cluster.app('api', service(5, { window: '20s', deadline: '1s' }, { well: 'return false' }, { port, health: { path: '/' } })));
  assert.match(r.err, new RegExp(`release ${api} is current again: not all services were ready within 1 s \\("deadline" of "rollout"\\): api/Api on node \\w+: 0 of 1 instances are\n`));
  await runs(api);
});

// --- whoever watches ---

test('when the node that watches is lost, another goes on', async () => {
  const { release } = await json(east, 'deploy', cluster.app('shop', counter(10, { window: '30s' }, 'throw new Error("bad")')));
  await everywhere('shop', release);
  await killNode(cluster, east);
  await until('it is gone', async () => (await nodes(west)).find((n) => n.name === 'east').state === 'down');
  await ask(20);
  await until('it is rolled back', async () => {
    await ask(20); // the first of them may have been asked of the node that is gone
    return (await current(west, 'shop')).release === good;
  });
  const { by, restores } = await current(west, 'shop');
  assert.deepEqual([by, restores !== 0], ['isola@west', true]);
  east = await cluster.node('east');
  await everywhere('shop', good);
  assert.equal((await deploys(east, 'shop')).filter((d) => d.by === 'isola@west').length, 1);
});

test('a node alone that is started again goes on, within the window', async (t) => {
  const alone = new Cluster();
  t.after(() => alone.end());
  let node = await alone.node('solo');
  await json(node, 'deploy', '--wait', alone.app('shop', counter(1, { window: '0ms' })));
  const first = (await current(node, 'shop')).release;
  await json(node, 'deploy', alone.app('shop', counter(2, { window: '30s' }, 'throw new Error("bad")')));
  await killNode(alone, node);
  node = await alone.node('solo');
  await ask(20, 'shop', node.client);
  await until('it is rolled back', async () => (await current(node, 'shop')).release === first);
});

test('progress is shown on a terminal', async () => {
  const dir = cluster.app('api', service(7, { window: '700ms' }, { well: 'return Date.now() - start > 700' }, { port, health: { path: '/' } }));
  const out = await new Promise((done) => {
    execFile('script', ['-qec', `'${join(bin, 'ctl')}' --node '${east.socket}' deploy --wait '${dir}'`, '/dev/null'], { timeout: 60_000, killSignal: 'SIGKILL' }, (error, stdout) => done(stdout));
  });
  assert.match(out, /\r(sent \d+ of \d+ files, .*\r.*)?/);
  assert.match(out, /[01] of 2 instances ready/);
  assert.match(out, /all instances ready, 1 s of its window left/);
  assert.match(out, / {2}stays {2}2 instances ready, seen for \d+\.\d s\r\n/);
});
