// SPDX-License-Identifier: Apache-2.0
//
// Clusters: made, entered with a token, left; what is remembered, and who is turned away.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, cpSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { Cluster, PROGRAM, bin, clock, ctl, ctlOk, ctlWhole, killHost, nodes, until, whole } from './cluster.mjs';
import { Authority } from './member.mjs';

const DEADLINE = 30_000;
let cluster, east;

beforeEach(async () => {
  cluster = new Cluster();
  east = await cluster.node('east');
});
afterEach(() => cluster.end());

const state = async (agent, name) => (await nodes(agent)).find((n) => n.name === name)?.state;
const is = (agent, name, wanted) => until(`${agent.name} sees ${name} as ${wanted}`, async () => (await state(agent, name)) === wanted);
const echo = { 'isola.json': { name: 'shop', actors: { Echo: { module: 'echo.js' } } }, 'echo.js': "export default (self) => self.on('say', (x) => x);" };
const folder = (agent) => join(cluster.dir, agent.name, 'cluster');

/** A node-agent that is to end by itself: { status, err }. */
const refused = (...args) =>
  new Promise((done) => {
    execFile(join(bin, 'node-agent'), args, { timeout: PROGRAM, killSignal: 'SIGKILL' }, (error, out, err) => done({ status: error === null ? 0 : error.code, out, err }));
  });

/** Ends an agent and forgets about it. */
async function stop(agent) {
  await agent.client.close();
  cluster.clients = cluster.clients.filter((c) => c !== agent.client);
  assert.equal(await agent.stop(), undefined);
}

const fails = async (agent, args, code, says) => {
  const r = await ctl(agent, '--json', ...args);
  assert.equal(r.status, 1, r.out + r.err);
  const { error } = JSON.parse(r.out);
  assert.equal(error.code, code);
  assert.match(error.message, says);
};

describe('a node alone', () => {
  test('listens to nobody, and is told what to do', async () => {
    assert.equal(east.mesh, undefined);
    const all = await east.client.call('nodes');
    assert.equal(all.cluster, null);
    assert.equal(all.nodes[0].url, null);
    assert.equal(all.nodes[0].state, 'up');
    await fails(east, ['token'], 'EINVAL', /node east is in no cluster; `ctl init`/);
    await fails(east, ['remove', 'west'], 'EINVAL', /node east is in no cluster/);
    assert.throws(() => statSync(folder(east)), { code: 'ENOENT' });
    assert.doesNotMatch(east.log(), /in no cluster/, 'nobody said where');
  });

  test('says that it does not listen where it was told to', async () => {
    const alone = await cluster.node('alone', undefined, [], { listen: 'tcp://127.0.0.1:4711' });
    await until('its log says so', () => /node alone is in no cluster, so it does not listen on tcp:\/\/127\.0\.0\.1:4711 yet: `ctl init`/.test(alone.log()));
  });

  test('names its files without detours', async () => {
    const { status, err } = await refused('--data', join(cluster.dir, 'x'), '--socket', './/./none/x.sock');
    assert.deepEqual([status, err], [1, `node-agent: cannot make the socket ${process.cwd()}/none/x.sock: No such file or directory; create its directory first\n`]);
  });
});

describe('init', () => {
  test('makes a cluster once', async () => {
    const made = JSON.parse(await ctlOk(east, '--json', 'init', '--name', 'prod'));
    assert.match(made.id, /^[0-9a-f]{16}$/);
    assert.equal(made.cluster, 'prod');
    assert.match(made.url, /^tcp:\/\/127\.0\.0\.1:\d+$/);
    await fails(east, ['init'], 'EEXIST', /node east is in a cluster already: prod \([0-9a-f]{16}\)/);
    assert.deepEqual((await east.client.call('nodes')).cluster, { name: 'prod', id: made.id });
    assert.equal(statSync(folder(east)).mode & 0o777, 0o700);
    for (const file of readdirSync(folder(east))) assert.equal(statSync(join(folder(east), file)).mode & 0o777, 0o600, file);

    await stop(east);
    east = await cluster.node('east');
    assert.equal(east.mesh, made.url); // also the port, as others remember it
    assert.deepEqual((await east.client.call('nodes')).cluster, { name: 'prod', id: made.id });
  });

  test('with a name that is none', () => fails(east, ['init', '--name', 'no name'], 'EINVAL', /a cluster's name is 1 to 64/));
});

describe('a token', () => {
  test('lets one node in', async () => {
    const token = await cluster.token(east);
    const file = join(cluster.dir, 'token');
    writeFileSync(file, `${token}\n`, { mode: 0o600 });
    const west = await cluster.node('west', undefined, ['--join', `@${file}`]);
    await is(east, 'west', 'up');
    assert.equal(await state(west, 'east'), 'up');
    const again = await refused('--name', 'north', '--data', join(cluster.dir, 'north'), '--join', token);
    assert.equal(again.status, 1);
    assert.match(again.err, /the token is used up: node west joined with it; `ctl token` makes another\n$/);
    assert.equal(await state(east, 'north'), undefined);
  });

  test('is not used up by a node that cannot listen', async () => {
    const token = await cluster.token(east);
    const data = join(cluster.dir, 'west');
    const [{ url: mesh }] = await nodes(east);
    for (const option of ['--listen', '--data-listen']) {
      const r = await refused('--name', 'west', '--data', data, option, mesh, '--join', token);
      assert.deepEqual(r, { status: 1, out: '', err: `node-agent: ${mesh} is in use by another process; stop that one or choose another port\n` });
    }
    const r = await refused('--name', 'west', '--data', data, '--listen', 'tcp://192.0.2.1:0', '--join', token);
    assert.match(r.err, /^node-agent: cannot listen on tcp:\/\/192\.0\.2\.1:0: this machine has no such address/);
    await cluster.node('west', undefined, ['--join', token]);
    await is(east, 'west', 'up');
  });

  test('expires', async () => {
    await cluster.token(east);
    const { token, expires } = JSON.parse(await ctlOk(east, '--json', 'token', '--expires', '1s'));
    await until('it has expired', () => Date.now() > expires);
    const r = await refused('--name', 'west', '--data', join(cluster.dir, 'west'), '--join', token);
    assert.match(r.err, /the token has expired; `ctl token` makes another\n$/);
    await fails(east, ['token', '--expires', '8d'], 'EINVAL', /for 7 days at the most/);
  });

  test('is made where the key is', async () => {
    const west = await cluster.node('west', east);
    await fails(west, ['token'], 'EUNREACHABLE', /the cluster's key is on node east; run `ctl token` there/);
  });

  test('is for one cluster', async () => {
    const west = await cluster.node('west', east);
    const other = new Cluster();
    try {
      const token = await other.token(await other.node('away'));
      await stop(west);
      const r = await refused('--data', join(cluster.dir, 'west'), '--join', token);
      assert.equal(r.status, 1);
      assert.match(r.err, /is that of node west in cluster isola \([0-9a-f]{16}\), and the token is for cluster [0-9a-f]{16}; give that node a --data of its own, or move .*\/cluster away/);
    } finally {
      await other.end();
    }
    const named = await refused('--name', 'north', '--data', join(cluster.dir, 'west'));
    assert.match(named.err, /is that of node west in cluster isola; start it with --name west/);
  });
});

describe('a cluster', () => {
  test('comes back in any order, without a token', async () => {
    const west = await cluster.node('west', east);
    const north = await cluster.node('north', east);
    await is(west, 'north', 'up');
    for (const agent of [east, west, north]) await stop(agent);
    const n = await cluster.node('north'); // the others are missed, not forgotten
    assert.equal(await state(n, 'east'), 'down');
    assert.equal(await state(n, 'west'), 'down');
    const w = await cluster.node('west');
    await is(n, 'west', 'up');
    east = await cluster.node('east');
    for (const agent of [n, w]) await is(agent, 'east', 'up');
  });
});

test('what a node says of itself is not undone by what it was before, which comes later', async () => {
  await ctlOk(east, 'init');
  const member = new Authority(join(cluster.dir, 'east')).member('late'), { url } = (await nodes(east))[0];
  const first = await member.enter(url), host = member.host(), starts = member.record;
  await is(east, 'late', 'starting');
  const second = await member.connect(url, { stays: true });
  second.hear = first.hear;
  const hosted = { host_url: 'tcp://127.0.0.1:1', host_key: host.keys.public, host_started: host.started, host_pid: 2 };
  await second.ask('join', { node: { ...starts, changes: 1 }, nodes: [], down: [], removed: [], releases: [], wire: 2, version: '0.1.0' });
  const says = (wire, changes, more) => wire.ask('node', { node: { ...starts, changes, ...more } });
  await says(second, 3, hosted);
  assert.equal(await state(east, 'late'), 'up');
  await says(first, 2); // on the link that was there before
  assert.equal(await state(east, 'late'), 'up');
  await says(second, 4);
  assert.equal(await state(east, 'late'), 'starting');
  first.end();
  second.end();
});

test('what is deployed while a node joins is there when the deploy has ended, on whatever nodes are up', async () => {
  await cluster.token(east);
  let joined = false;
  const west = cluster.node('west', east).finally(() => { joined = true; });
  const end = clock.now() + DEADLINE;
  // Also while the pair makes up its mind which of two links stays: that is a second after both are up.
  for (let i = 0, after = 0; after < 40; i++) {
    after += joined;
    const name = `shop${i}`;
    await cluster.deploy(east, name, { ...echo, 'isola.json': { name, actors: { Echo: { module: 'echo.js' } } } });
    const answers = await Promise.allSettled(Array.from({ length: 8 }, (_, k) => east.client.actor(`${name}/Echo`, `${k}`).ask('say', k)));
    assert.deepEqual(answers.filter((a) => a.status === 'rejected').map((a) => a.reason.message), [], `deploy ${i}, ${after} after the join`);
    assert.ok(joined || clock.now() < end, 'it joins');
  }
  await west;
});

describe('remove', () => {
  test('of a node that is down', async () => {
    const west = await cluster.node('west', east);
    const north = await cluster.node('north', east);
    await is(east, 'west', 'up');
    await fails(east, ['remove', 'west'], 'EBUSY', /node west is up.*--force/);
    await fails(east, ['remove', 'nobody'], 'ENOENT', /no node named nobody is in this cluster/);
    await fails(east, ['remove', 'east'], 'EPERM', /the cluster's key is on node east/);
    await stop(west);
    await is(north, 'west', 'down');
    await ctlOk(north, 'remove', 'west'); // passed on to where the key is
    for (const agent of [east, north]) await until(`${agent.name} has forgotten west`, async () => (await state(agent, 'west')) === undefined);

    // It hears of it from the first it meets, and then also by itself.
    const back = await refused('--data', join(cluster.dir, 'west'));
    assert.equal(back.status, 1);
    assert.match(back.err, /node west was removed from cluster isola/);
    const again = await refused('--data', join(cluster.dir, 'west'));
    assert.equal(again.status, 1);
    assert.match(again.err, /^node-agent: node west was removed from cluster isola \(.* UTC\); to start it as a new node/);

    // The name is free for another key.
    rmSync(join(cluster.dir, 'west'), { recursive: true });
    const anew = await cluster.node('west', east);
    await is(north, 'west', 'up');
    assert.equal(await state(anew, 'north'), 'up');
  });

  test('of a node that is up, at once', async () => {
    const west = await cluster.node('west', east);
    const north = await cluster.node('north', east);
    await is(north, 'west', 'up');
    await cluster.deploy(east, 'shop', echo);
    for (const agent of [east, west, north]) for (let i = 0; i < 32; i++) await agent.client.actor('shop/Echo', `${i}`).ask('say', i);
    const links = async () => (await whole(east, 'links')).links;
    assert.ok((await links()).some((l) => l.node === 'north' && l.peer === 'west' && l.kind === 'data'));
    await ctlOk(east, 'remove', 'west', '--force');
    for (const agent of [east, north]) await until(`${agent.name} has forgotten west`, async () => (await state(agent, 'west')) === undefined);
    await until('nobody has a link with west', async () => (await links()).every((l) => l.node !== 'west' && l.peer !== 'west'));
    for (const agent of [east, north]) for (let i = 0; i < 32; i++) assert.equal(await agent.client.actor('shop/Echo', `${i}`).ask('say', i), i);
    await is(west, 'west', 'removed');
    assert.match(west.log(), /this node, west, was removed from cluster isola/);
    assert.deepEqual((await nodes(west)).map((n) => n.name), ['west']);
    await assert.rejects(west.client.actor('shop/Counter', 'a').ask('get'), { code: 'EPERM', message: /node west was removed from its cluster/ });
    assert.match(await ctlOk(east, 'remove', 'west'), /was removed before/);
  });

  test('reaches who was away', async () => {
    const west = await cluster.node('west', east);
    const north = await cluster.node('north', east);
    await is(west, 'north', 'up');
    await stop(north);
    await ctlOk(east, 'remove', 'west', '--force');
    await is(west, 'west', 'removed');
    await stop(west);
    // A copy of the removed node that has not heard of it meets one that has not either.
    const kept = join(cluster.dir, 'west', 'cluster', 'removed');
    rmSync(kept);
    await stop(east);
    const n = await cluster.node('north');
    const w = await cluster.node('west');
    await is(n, 'west', 'up');
    east = await cluster.node('east');
    await until('north has forgotten west', async () => (await state(n, 'west')) === undefined);
    await is(w, 'west', 'removed');
  });
});

describe('links', () => {
  test('of a node alone: none', async () => {
    assert.deepEqual(JSON.parse(await ctlOk(east, '--json', 'links')).links, []);
    assert.match(await ctlOk(east, 'links'), /^no links:/);
    await fails(east, ['links', 'west'], 'ENOENT', /no node named west is known to node east/);
  });

  test('as both ends see them', async () => {
    const west = await cluster.node('west', east);
    await is(east, 'west', 'up');
    await cluster.deploy(east, 'shop', echo);
    for (let i = 0; i < 32; i++) await east.client.actor('shop/Echo', `${i}`).ask('say', i);
    const { links } = await ctlWhole(west, 'links');
    for (const kind of ['control', 'data']) {
      const ends = links.filter((l) => l.kind === kind && l.state === 'up');
      assert.deepEqual([...new Set(ends.map((l) => `${l.node} ${l.peer}`))].sort(), ['east west', 'west east'], kind);
      assert.deepEqual([...new Set(ends.map((l) => l.direction))].sort(), ['in', 'out'], kind);
      for (const end of ends) {
        assert.ok(end.messages_in > 0 && end.bytes_in > end.messages_in, JSON.stringify(end));
        assert.equal(end.queued, 0);
        assert.equal(end.cipher, 'Noise_IK_25519_ChaChaPoly_BLAKE2b');
        assert.equal(end.version, '0.1.0');
        assert.ok(end.up_ms >= 0 && end.messages_in_rate >= 0);
        assert.deepEqual([end.rekeys, end.refused, end.lost, end.lost_ms, end.why], [0, 0, 0, null, null]);
      }
    }
    assert.deepEqual([...new Set(JSON.parse(await ctlOk(west, '--json', 'links', 'east')).links.map((l) => l.node))], ['east']);
    const table = (await ctlOk(east, 'links')).split('\n');
    assert.match(table[0], /^NODE +PEER +KIND +DIR +STATE +RTT +IN\/S +OUT\/S/);
    assert.match(table[1], /^east +west +control +(in|out) +up /);
    assert.equal(table.at(-2), 'encrypted with Noise_IK_25519_ChaChaPoly_BLAKE2b');
    assert.ok(!table.some((line) => / link of |^durable /.test(line)), table.join('\n'));
  });

  test('which was lost, how often, since when and why', async () => {
    const west = await cluster.node('west', east);
    await is(east, 'west', 'up');
    await cluster.deploy(east, 'shop', echo);
    for (let i = 0; i < 32; i++) await east.client.actor('shop/Echo', `${i}`).ask('say', i);
    const seen = async (kind) => (await whole(east, 'links', { node: 'east' })).links.filter((l) => l.kind === kind && l.peer === 'west');
    for (let times = 1; times <= 2; times++) {
      await killHost(west);
      const [lost] = await until('it is lost', async () => { const l = await seen('data'); return l.length === 1 && l[0].lost === times ? l : undefined; });
      assert.ok(lost.lost_ms >= 0 && lost.lost_ms < 60_000 && lost.why.length > 0, JSON.stringify(lost));
      await until('there is another', async () => {
        for (let i = 0; i < 32; i++) await east.client.actor('shop/Echo', `${i}`).ask('say', i).catch(() => {});
        return (await seen('data')).some((l) => l.state === 'up');
      });
      assert.deepEqual((await seen('data')).filter((l) => l.state === 'up').map((l) => l.lost), [times]);
    }
    assert.deepEqual((await seen('control')).map((l) => [l.state, l.lost, l.why]), [['up', 0, null]]);
    assert.match(await ctlOk(east, 'links'), /^data link of east with west: lost 2 times, last .* ago: \S/m);

    await stop(west);
    await is(east, 'west', 'down');
    const alone = await whole(east, 'links');
    assert.deepEqual(alone.unreachable, ['west']);
    assert.ok(alone.links.every((l) => l.node === 'east' && l.state !== 'up'), JSON.stringify(alone.links));
    const [waits] = await until('it cannot be made', async () => { const l = await seen('control'); return /refused|nothing|no|cannot/i.test(l[0]?.why) ? l : undefined; });
    assert.equal(waits.lost, 1);
    assert.match(await ctlOk(east, 'links'), /^control link of east with west: lost 1 time, last .* ago: \S/m);
  });

  test('of a node whose actor-host stands still: its agent says what it knows', async () => {
    const west = await cluster.node('west', east);
    await is(east, 'west', 'up');
    await cluster.deploy(east, 'shop', echo);
    for (let i = 0; i < 32; i++) await east.client.actor('shop/Echo', `${i}`).ask('say', i);
    const about = async () => (await nodes(east)).find((n) => n.name === 'west');
    const heard = () => until('it is heard of', async () => { const now = await about(); return now.silent === null && now; });
    const { host_pid: host, actors } = await heard();
    assert.ok(actors > 0);
    process.kill(host, 'SIGSTOP');
    try {
      const now = await about();
      assert.deepEqual([now.state, now.actors, now.silent], ['up', null, 'actor-host']);
      assert.match(await ctlOk(east, 'nodes'), new RegExp(`^the actor-host of west does not answer: its actors are not counted; if it stays so: .kill -9 ${host}. there, and its agent starts another$`, 'm'));
      for (const what of ['ps', 'links']) assert.ok(JSON.parse(await ctlOk(east, '--json', what)).unreachable.includes('west'), what);
      assert.ok(JSON.parse(await ctlOk(east, '--json', 'links')).links.some((l) => l.node === 'west' && l.kind === 'control'), 'its control links are told');
      const says = (s) => `the actor-host of node west \\(pid ${host}\\) has not answered for ${s} s: it is stopped\\. .kill -CONT ${host}. there, or its debugger, lets it go on; .kill -9 ${host}. ends it`;
      await until('its log says so', () => {
        process.kill(host, 'SIGSTOP'); // again: who stops all processes for a while lets this one go on too
        return new RegExp(says(10)).test(west.log());
      });
      const late = cluster.app('late', { ...echo, 'isola.json': { ...echo['isola.json'], name: 'late' } });
      assert.match((await ctl(west, 'deploy', late)).err, new RegExp(`^ctl: EUNREACHABLE: ${says('\\d+')}`));
      await ctlOk(east, 'deploy', '--timeout', '30000', late); // it has a minute to take it over, and is not waited for
    } finally {
      process.kill(host, 'SIGCONT');
    }
    assert.equal((await heard()).actors, actors);
    for (let i = 0; i < 32; i++) assert.equal(await east.client.actor('late/Echo', `${i}`).ask('say', i), i);
    await until('and that it is over', () => west.log().includes(`the actor-host (pid ${host}) answers again`));
  });

  test('durable messages that wait', async () => {
    await cluster.deploy(east, 'post', {
      'isola.json': { name: 'post', actors: { Source: { module: './source.js' }, Sink: { module: './sink.js' }, Never: { module: './never.js' } } },
      'source.js': "import { actor } from 'isola'; export default (self) => { self.on('send', (to) => actor(to).emit('take', { durable: true })); };",
      'sink.js': "export default (self) => { self.state.n ??= 0; self.on('take', () => { self.state.n++; }); };",
      'never.js': "export default () => { throw new Error('not today'); };",
    });
    const count = async () => (await whole(east, 'links', { node: 'east' })).durables[0];
    assert.deepEqual(await count(), { node: 'east', waiting: 0, sent: 0, resent: 0, acknowledged: 0, given_up: 0, duplicates: 0, gaps: 0 });
    await east.client.actor('post/Source/a').ask('send', 'post/Sink/a');
    await until('it is acknowledged', async () => (await count()).acknowledged === 1);
    await east.client.actor('post/Source/a').ask('send', 'post/Never/a');
    const d = await until('the other is sent again', async () => { const c = await count(); return c.resent > 0 ? c : undefined; });
    assert.deepEqual([d.waiting, d.acknowledged, d.given_up, d.sent >= 3], [1, 1, 0, true]);
    assert.match(await ctlOk(east, 'links'), /^durable messages of east: 1 not acknowledged; \d+ sent, \d+ of them again$/m);
  });
});

test('another user is refused', { skip: process.getuid() !== 0 && 'needs root, to be another user' }, async () => {
  const program = join(cluster.dir, 'ctl'); // the build may lie where another user cannot come
  cpSync(join(bin, 'ctl'), program);
  for (const dir of [cluster.dir, join(cluster.dir, 'east')]) chmodSync(dir, 0o755);
  chmodSync(east.socket, 0o666);
  const r = await new Promise((done) => {
    execFile(program, ['--node', east.socket, 'nodes'], { uid: 65534, timeout: PROGRAM, killSignal: 'SIGKILL' }, (error, out, err) => done({ status: error.code, out, err }));
  });
  assert.equal(r.status, 1, r.out);
  await until('the log says so', () => /user 65534 is refused: only user 0 and root may connect/.test(east.log()));
  assert.equal(await state(east, 'east'), 'up');
  const { listeners } = JSON.parse(await ctlOk(east, '--json', 'links'));
  assert.deepEqual(listeners.filter((l) => l.kind === 'clients').map((l) => l.refused), [1]);
  assert.match(await ctlOk(east, 'links'), /^1 connection refused by east at unix:/m);
});

test('what others dial may be another address than is listened on', async () => {
  await stop(east);
  const wrong = await refused('--data', join(cluster.dir, 'east'), '--listen', 'tcp://0.0.0.0:0');
  assert.equal(wrong.status, 2);
  east = await cluster.node('east', undefined, ['--advertise', '127.0.0.1'], { listen: 'tcp://0.0.0.0:0' });
  const west = await cluster.node('west', east);
  await is(east, 'west', 'up');
  const { listeners } = await whole(east, 'links', { node: 'east' });
  for (const kind of ['control', 'data']) assert.match(listeners.find((l) => l.kind === kind).url, /^tcp:\/\/0\.0\.0\.0:\d+$/);
  assert.match((await nodes(west)).find((n) => n.name === 'east').url, /^tcp:\/\/127\.0\.0\.1:\d+$/);
  await cluster.deploy(east, 'shop', echo);
  for (const agent of [east, west]) for (let i = 0; i < 16; i++) assert.equal(await agent.client.actor('shop/Echo', `${i}`).ask('say', i), i);
});

test('a key that others could have read is none', async () => {
  await cluster.token(east);
  await stop(east);
  const copy = join(cluster.dir, 'copy');
  cpSync(folder(east), join(copy, 'cluster'), { recursive: true });
  chmodSync(join(copy, 'cluster'), 0o700);
  chmodSync(join(copy, 'cluster', 'node.key'), 0o640);
  const r = await refused('--data', copy);
  assert.equal(r.status, 1);
  assert.match(r.err, /others have rights to .*\/node\.key \(mode 640\).*chmod 600/);
  east = await cluster.node('east');
});
