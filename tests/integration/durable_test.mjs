// SPDX-License-Identifier: Apache-2.0
//
// Durable messages between actors of real nodes: whichever actor-host is killed, and whoever joins, each is in its receiver's state
// once, and in order.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, killHost, killNode, logs, nodes, until, whole } from './cluster.mjs';

const app = {
  'isola.json': { name: 'd', actors: { Source: { module: './source.js' }, Sink: { module: './sink.js' }, Shared: { module: './sink.js', isolation: 'shared' } } },
  'source.js': `
    import { actor } from 'isola';
    export default (self) => {
      self.state.k ??= 0;
      // the numbers k+1 … k+n to each of the sinks
      self.on('burst', (n, sinks) => {
        for (let i = 0; i < n; i++) {
          self.state.k++;
          for (const s of sinks) actor(s).emit('take', self.key, self.state.k, { durable: true });
        }
        return self.state.k;
      });
      self.on('k', () => self.state.k);
      self.on('slip', (to) => { for (const event of ['take', 'tkae', 'take']) actor(to).emit(event, self.key, event === 'take' ? ++self.state.k : 0, { durable: true }); });
      self.on('add', (to, by, timeout) => actor(to).ask('add', by, { durable: true, timeout }));
      self.on('plain', (to) => actor(to).emit('say', { durable: false }));
      self.on('options', (to) => actor(to).emit('say', { durable: 1 }));
      self.on('object', (to) => actor(to).emit('say', { durable: true, more: 1 }));
    };`,
  'sink.js': `
    export default (self) => {
      self.state.last ??= {};
      self.state.wrong ??= [];
      self.state.n ??= 0;
      self.on('take', (from, k) => {
        const last = self.state.last[from] ?? 0;
        if (k !== last + 1 && self.state.wrong.length < 10) self.state.wrong.push([from, last, k]);
        self.state.last[from] = k;
      });
      self.on('add', (by) => (self.state.n += by));
      self.on('say', (...args) => { self.state.said = args; });
      self.on('crash', () => { throw new Error('oh'); });
      self.on('get', () => self.state);
    };`,
};

const SOURCES = ['a', 'b', 'c', 'd'];
const SINKS = ['d/Sink/1', 'd/Sink/2', 'd/Sink/3', 'd/Shared/4', 'd/Shared/5'];

/** Asks until it is answered: a node, or the state on it, may be away for a moment. */
const insist = (what, call) => until(what, async () => {
  try {
    return { value: await call() };
  } catch (error) {
    if (error.code !== 'EUNREACHABLE' && error.code !== 'ETIMEDOUT') throw error;
    return undefined;
  }
}).then((r) => r.value);

/** Every sink has what every source has sent, once and in order. */
async function complete(agent) {
  const sent = {};
  for (const s of SOURCES) sent[s] = await insist(`source ${s}`, () => agent.client.actor('d/Source', s).ask('k'));
  for (const sink of SINKS) {
    await until(`${sink} has all`, async () => {
      const state = await insist(sink, () => agent.client.actor(sink).ask('get'));
      assert.deepEqual(state.wrong, [], sink);
      return SOURCES.every((s) => (state.last[s] ?? 0) === sent[s]);
    });
  }
  return sent;
}

/** Bursts of all sources at once; what fails with its node is in their state, or not. */
const bursts = (agent, n) => Promise.all(SOURCES.map((s) => agent.client.actor('d/Source', s).ask('burst', n, SINKS, { timeout: 5000 }).catch((error) => {
  assert.ok(['EUNREACHABLE', 'ETIMEDOUT'].includes(error.code), error.stack);
})));

describe('two nodes', () => {
  const cluster = new Cluster();
  let east, west;
  before(async () => { [east, west] = await cluster.pair('d', app); });
  after(() => cluster.end());

  test('what is sent arrives, in order', async () => {
    await bursts(east, 20);
    await bursts(west, 20);
    const sent = await complete(east);
    for (const s of SOURCES) assert.equal(sent[s], 40);
    assert.equal(new Set((await actors(east, 'd')).map((a) => a.node)).size, 2);
  });

  test('a durable ask is answered', async () => {
    for (const sink of SINKS) {
      const { n } = await east.client.actor(sink).ask('get');
      assert.equal(await east.client.actor('d/Source', 'a').ask('add', sink, 5, 10_000), n + 5);
    }
  });

  test('options of an emit are an object with nothing but options, and durable among them', async () => {
    const source = east.client.actor('d/Source', 'a'), sink = east.client.actor(SINKS[0]);
    const said = async (event) => { await source.ask(event, SINKS[0]); return until('it has come', async () => (await sink.ask('get')).said); };
    assert.deepEqual(await said('plain'), []);
    await source.ask('object', SINKS[0]);
    await until('the object has come', async () => (await sink.ask('get')).said.length === 1);
    assert.deepEqual((await sink.ask('get')).said, [{ durable: true, more: 1 }]);
    await assert.rejects(source.ask('options', SINKS[0]), { name: 'TypeError', message: /durable is true or false/ });
  });

  test('either actor-host may be killed at any time', async () => {
    let over = false;
    const sending = (async () => { while (!over) await bursts(east, 10); })();
    for (const agent of [east, west, east, west, west, east]) {
      await bursts(west, 10);
      await killHost(agent);
    }
    over = true;
    await sending;
    await complete(west);
  });

  test('a durable ask survives the end of who is to answer it', async () => {
    const place = async (address) => (await actors(east, 'd')).find((a) => a.address === address)?.node;
    await east.client.actor('d/Source', 'a').ask('k');
    const at = await place('d/Source/a');
    const [here, there] = at === 'east' ? [east, west] : [west, east];
    const source = here.client.actor('d/Source', 'a');
    let sink;
    for (let i = 0; sink === undefined; i++) {
      await east.client.actor('d/Sink', `far${i}`).ask('get');
      if (await place(`d/Sink/far${i}`) !== at) sink = `d/Sink/far${i}`;
    }
    for (let i = 1; i <= 3; i++) {
      const answers = Promise.all(Array.from({ length: 20 }, () => source.ask('add', sink, 1, 25_000)));
      await killHost(there);
      await answers;
      assert.equal((await insist('the sink', () => here.client.actor(sink).ask('get'))).n, 20 * i);
    }
  });
});

describe('a node that joins', () => {
  const cluster = new Cluster();
  after(() => cluster.end());
  test('takes what was sent and not acknowledged along', async () => {
    const east = await cluster.node('east');
    await cluster.deploy(east, 'd', app);
    let over = false;
    await bursts(east, 10);
    const sending = (async () => { while (!over) await bursts(east, 10); })();
    const west = await cluster.node('west', east);
    await bursts(east, 10);
    const north = await cluster.node('north', east);
    await bursts(west, 10);
    await killHost(west);
    await bursts(north, 10);
    over = true;
    await sending;
    await complete(north);
  });
});

/** A node is killed while `n` each are sent from `from`, or from itself, again and again; `start` starts it. All is there when it is back. */
async function dies(cluster, { from, start, n }) {
  let agent = await start();
  for (let i = 0; i < 3; i++) {
    await bursts(agent, 10);
    const sending = bursts(from ?? agent, n);
    await killNode(cluster, agent);
    await sending;
    agent = await start();
    await complete(from ?? agent);
  }
}

describe('a node that dies', () => {
  const cluster = new Cluster();
  after(() => cluster.end());
  test('has what was sent when it is back, and what was handled', async () => {
    const east = await cluster.node('east');
    await cluster.deploy(east, 'd', app);
    await dies(cluster, { from: east, start: () => cluster.node('west', east), n: 10 });
  });
});

describe('a lone node that dies', () => {
  const cluster = new Cluster();
  after(() => cluster.end());
  test('sends again what it has found on disk, whoever is active', async () => {
    let deployed;
    await dies(cluster, { n: 50, start: async () => {
      const agent = await cluster.node('east');
      await (deployed ??= cluster.deploy(agent, 'd', app));
      return agent;
    } });
  });
});

describe('what cannot be delivered', () => {
  const cluster = new Cluster();
  after(() => cluster.end());
  test('is a dead letter, and its sender told', async () => {
    const east = await cluster.node('east');
    await cluster.deploy(east, 'd', app);
    await east.client.actor('d/Source', 'a').ask('burst', 1, ['d/None/1', SINKS[0]]);
    await until('the log says so', async () => (await logs(east, 'd/Source/a')).some((l) => /"take" to d\/None\/1 was given up: .*None/.test(l)));
    await assert.rejects(east.client.actor('d/Source', 'a').ask('add', 'd/None/1', 1, 20_000), { code: 'ENOACTOR' });
    const { letters } = await east.client.call('dead-letters', { of: 'd/None/1' });
    assert.equal(letters.length, 2);
  });

  test('likewise what no handler takes; what follows is handled', async () => {
    const [east] = cluster.agents;
    await east.client.actor('d/Source', 'slips').ask('slip', 'd/Sink/slips');
    await until('the log says so', async () => (await logs(east, 'd/Source/slips')).includes('its durable message "tkae" to d/Sink/slips was given up: d/Sink has no handler for "tkae"'));
    const count = async () => (await whole(east, 'links')).durables[0];
    await until('nothing waits', async () => (await count()).waiting === 0);
    const { last, wrong } = await east.client.actor('d/Sink', 'slips').ask('get');
    assert.deepEqual([last.slips, wrong], [2, []]);
    const { status, out, err } = await ctl(east, 'emit', '--durable', 'd/Shared/slips', 'tkae');
    assert.deepEqual([status, out, err], [1, '', 'ctl: ENOACTOR: d/Shared has no handler for "tkae"\n']);
    assert.equal((await east.client.call('dead-letters', { of: 'd/Sink/slips' })).letters.length, 1);
  });
});

describe('a program', () => {
  const cluster = new Cluster();
  let east, west;
  before(async () => { [east, west] = await cluster.pair('d', app); });
  after(() => cluster.end());
  const got = async (sink) => (await insist(sink, () => west.client.actor(sink).ask('get'))).last.program ?? 0;

  test('sends durable messages through killed actor-hosts of both nodes', async () => {
    let k = 0;
    const more = () => { k++; for (const s of SINKS) east.client.actor(s).emit('take', 'program', k, { durable: true }); };
    for (let i = 0; i < 50; i++) more();
    for (const agent of [east, west, east]) {
      const killed = killHost(agent);
      for (let i = 0; i < 50; i++) more();
      await killed;
    }
    await east.client.flush();
    for (const s of SINKS) assert.equal(await got(s), k, s);
    for (const s of SINKS) assert.deepEqual((await west.client.actor(s).ask('get')).wrong, []);
  });

  test('asks durably', async () => {
    const sink = east.client.actor(SINKS[1]);
    const { n } = await sink.ask('get');
    const asks = Promise.all(Array.from({ length: 50 }, () => sink.ask('add', 1, { durable: true })));
    await killHost(west);
    await asks;
    assert.equal((await insist('the sink', () => sink.ask('get'))).n, n + 50);
    await assert.rejects(east.client.actor('d/None/1').ask('x', { durable: true }), { code: 'ENOACTOR' });
  });

  test('ctl emit --durable ends when it was handled', async () => {
    const { n } = await west.client.actor(SINKS[2]).ask('get');
    const r = await ctl(east, '--json', 'emit', '--durable', SINKS[2], 'add', '7');
    assert.deepEqual([r.status, JSON.parse(r.out)], [0, { handled: true }], r.err);
    assert.equal((await west.client.actor(SINKS[2]).ask('get')).n, n + 7);
    const wrong = await ctl(east, 'emit', '--durable', 'd/Sink/1', 'take', '--timeout', '0');
    assert.equal(wrong.status, 2);
    const none = await ctl(east, 'emit', '--durable', '--timeout', '20000', 'd/Crash/1', 'x');
    assert.equal(none.status, 1);
    assert.match(none.err, /ENOACTOR/);
    const given = await ctl(east, 'emit', '--durable', 'd/Sink/bad', 'crash');
    assert.equal(given.status, 1, given.out);
    assert.match(given.err, /EFAILED.*given up.*3 times/s);
  });
});
