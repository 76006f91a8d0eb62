// SPDX-License-Identifier: Apache-2.0
//
// Two and three nodes on one machine: where actors live, what crosses between them, and what happens to state when nodes
// come and go.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { once } from 'node:events';

import { actors, Cluster, ctl, killHost, nodes, until } from './cluster.mjs';

const app = {
  'isola.json': { name: 'm', actors: { A: { module: './a.js' }, S: { module: './a.js', isolation: 'shared' }, Plain: { module: './plain.js' } } },
  'a.js': `
    import { actor } from 'isola';
    export default (self) => {
      self.state.n ??= 0;
      self.on('add', (by = 1) => (self.state.n += by));
      self.on('get', () => self.state.n);
      self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
      self.on('tell', (address, event, ...args) => actor(address).emit(event, ...args));
      self.on('throw', () => { throw Object.assign(new RangeError('from afar'), { code: 'EFAR' }); });
      self.on('wait', () => new Promise(() => {}));
      self.on('publish', (v) => self.emit('news', v));
      self.on('follow', (address) => { actor(address).on('news', (v) => { self.state.n += v; }); });
    };`,
  'plain.js': `export default (self) => { self.on('echo', (v) => v); };`,
};

/** A key of `type` that lives on the node named `name`; the actor is activated to see it. */
async function keyOn(agent, type, name, salt = '') {
  for (let i = 0; i < 200; i++) {
    const key = `${salt}${i}`;
    await agent.client.actor(`m/${type}`, key).ask(type === 'Plain' ? 'echo' : 'get');
    if ((await actors(agent, 'm')).some((a) => a.address === `m/${type}/${key}` && a.node === name)) return key;
  }
  throw new Error(`no key lives on ${name}`);
}

describe('two nodes', () => {
  const cluster = new Cluster();
  let east, west;
  before(async () => {
    east = await cluster.node('east');
    west = await cluster.node('west', east.mesh);
    const reply = await cluster.deploy(east, 'm', app);
    assert.deepEqual(reply.nodes.toSorted(), ['east', 'west']);
  });
  after(() => cluster.end());

  test('both list both', async () => {
    for (const agent of [east, west])
      assert.deepEqual((await nodes(agent)).map((n) => [n.name, n.state]).toSorted(), [['east', 'up'], ['west', 'up']]);
  });
  test('an actor lives in one place, whoever asks', async () => {
    for (let i = 0; i < 40; i++) {
      await east.client.actor('m/A', `k${i}`).ask('add');
      assert.equal(await west.client.actor('m/A', `k${i}`).ask('add'), 2);
    }
    const all = (await actors(east, 'm')).filter((a) => a.address.startsWith('m/A/k'));
    assert.equal(new Set(all.map((a) => a.address)).size, all.length);
    assert.equal(new Set(all.map((a) => a.node)).size, 2, 'both nodes have some');
  });
  test('asks, emits, errors and deadlocks cross', async () => {
    const e = `m/A/${await keyOn(east, 'A', 'east', 'x')}`, w = `m/S/${await keyOn(east, 'S', 'west', 'x')}`;
    const [re, rw] = [east.client.actor(e), east.client.actor(w)];
    const before_ = await rw.ask('get');
    assert.equal(await re.ask('ask', w, 'add', 5), before_ + 5);
    for (let i = 0; i < 50; i++) await re.ask('tell', w, 'add');
    assert.equal(await re.ask('ask', w, 'get'), before_ + 55);
    await assert.rejects(re.ask('ask', w, 'throw'), { name: 'RangeError', message: 'from afar', code: 'EFAR' });
    await assert.rejects(re.ask('ask', w, 'ask', e, 'get'), { code: 'EDEADLOCK' });
    await assert.rejects(re.ask('ask', w, 'nope'), { code: 'ENOACTOR' });
  });
  test('subscriptions cross, and survive a crash of the emitting actor-host', async () => {
    const source = `m/A/${await keyOn(east, 'A', 'west', 's')}`, follower = `m/A/${await keyOn(east, 'A', 'east', 'f')}`;
    const ref = east.client.actor(source);
    const heard = [];
    ref.on('news', (v) => heard.push(v));
    await east.client.actor(follower).ask('follow', source);
    const start = await east.client.actor(follower).ask('get');
    await until('the event crosses to client and actor', async () => {
      await ref.ask('publish', 1);
      return heard.length > 0 && (await east.client.actor(follower).ask('get')) > start;
    });
    await killHost(west);
    heard.length = 0;
    const again = await east.client.actor(follower).ask('get');
    await until('it crosses again', async () => {
      await ref.ask('publish', 1);
      return heard.length > 0 && (await east.client.actor(follower).ask('get')) > again;
    });
    ref.removeAllListeners('news');
  });
  test('asks under way at an actor-host that is killed fail, and the next ones wait for it', async () => {
    const key = await keyOn(east, 'A', 'west', 'w');
    const ref = east.client.actor('m/A', key);
    await ref.ask('add', 7);
    const stuck = ref.ask('wait');
    stuck.catch(() => {});
    await until('it runs', async () => (await actors(east, 'm')).some((a) => a.address === ref.address && a.state === 'running'));
    const pid = (await nodes(east)).find((n) => n.name === 'west').host_pid;
    process.kill(pid, 'SIGKILL');
    await assert.rejects(stuck, { code: 'EUNREACHABLE' });
    assert.equal(await ref.ask('get'), 7);
  });
  test('ps, logs and stop reach both nodes', async () => {
    const key = await keyOn(east, 'Plain', 'west', 'p');
    const r = await ctl(east, 'stop', `m/Plain/${key}`);
    assert.equal(r.status, 0);
    assert.ok(!(await actors(east, 'm')).some((a) => a.address === `m/Plain/${key}`));
  });
});

describe('nodes that come and go', () => {
  const cluster = new Cluster();
  let east, west;
  const KEYS = 60;
  const sum = async (agent, type) => {
    let total = 0;
    for (let i = 0; i < KEYS; i++) total += await agent.client.actor(`m/${type}`, `k${i}`).ask('add');
    return total;
  };
  before(async () => {
    east = await cluster.node('east');
    await cluster.deploy(east, 'm', app);
  });
  after(() => cluster.end());

  test('a node that joins takes its share of the actors with their state', async () => {
    for (const type of ['A', 'S']) assert.equal(await sum(east, type), KEYS);
    west = await cluster.node('west', east.mesh);
    for (const type of ['A', 'S']) {
      assert.equal(await sum(west, type), KEYS * 2);
      assert.equal(await sum(east, type), KEYS * 3);
    }
    const on = new Set((await actors(east, 'm')).map((a) => a.node));
    assert.deepEqual([...on].toSorted(), ['east', 'west']);
  });
  test('messages that arrive while a node joins are answered once', async () => {
    const ref = east.client.actor('m/A', 'busy');
    const answers = [];
    let stop = false;
    const load = (async () => {
      while (!stop) {
        try { answers.push(await ref.ask('add', { timeout: 5000 })); } catch (e) { if (e.code !== 'EUNREACHABLE' && e.code !== 'EFAILED') throw e; }
      }
    })();
    await until('it runs', () => answers.length > 5);
    await cluster.node('north', east.mesh);
    const seen = answers.length;
    await until('it goes on', () => answers.length > seen + 20);
    stop = true;
    await load;
    for (let i = 1; i < answers.length; i++) assert.ok(answers[i] > answers[i - 1], `${answers[i - 1]} then ${answers[i]}`);
  });
  test('while a node is down its actors are missed by name, stateless ones move, and all is back with it', async () => {
    const key = await keyOn(east, 'A', 'west', 'd'), plain = await keyOn(east, 'Plain', 'west', 'd');
    const ref = east.client.actor('m/A', key);
    const n = await ref.ask('add', 5);
    const ended = once(west.child, 'exit');
    process.kill((await nodes(west)).find((x) => x.name === 'west').host_pid, 'SIGKILL');
    west.child.kill('SIGKILL');
    await ended;
    await until('west is down', async () => (await nodes(east)).find((x) => x.name === 'west')?.state === 'down');
    await assert.rejects(ref.ask('get', { timeout: 5000 }), { message: /its state is on node west, which is down/ });
    assert.equal(await east.client.actor('m/Plain', plain).ask('echo', 1), 1);
    const south = await cluster.node('south', east.mesh);
    assert.equal((await nodes(south)).find((x) => x.name === 'west')?.state, 'down', 'who joins meanwhile learns of it');
    cluster.agents.splice(cluster.agents.indexOf(west), 1);
    await cluster.node('west', east.mesh);
    await until('west answers', async () => { try { return (await ref.ask('get')) === n; } catch { return false; } });
  });
});
