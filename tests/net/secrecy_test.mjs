// SPDX-License-Identifier: Apache-2.0
//
// What others on the network can read, change, or pretend to be: nothing. All that nodes send is captured from before the first of them starts;
// machines in the middle do to records what can be done to them; a node of another cluster answers at the address of one that is known; and a
// node that was removed goes on as if it were not.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';

import { ctl, killHost, nodes, notebook, until } from '../integration/cluster.mjs';
import { Network } from './hosts.mjs';
import { CONTROL_PORT, DATA_PORT, keysOn, NetCluster } from './nodes.mjs';
import { packets, streams } from './pcap.mjs';

const skip = Network.unavailable();
const SECRET = 'quetzalcoatlus'; // is in everything that is sent below

const app = {
  'isola.json': { name: SECRET, actors: { [`${SECRET}Type`]: { module: './talker.js', reentrant: true }, Notebook: { module: './notebook.js' } } },
  'talker.js': `
    // a comment about ${SECRET}
    import { actor } from 'isola';
    export default (self) => {
      self.state.bound = '${SECRET}';
      self.on('at', () => true);
      self.on('${SECRET}', (v) => { console.log('${SECRET} was said'); return v; });
      self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
      self.on('fail', () => { throw new Error('${SECRET} failed'); });
      self.on('publish', (v) => { self.emit('${SECRET}', v); });
      self.on('follow', (address, notebook) => { actor(address).on('${SECRET}', (v) => { actor(notebook).emit('note', v); }); });
    };`,
  'notebook.js': notebook,
};

/** The actor type of the app on the node of each host: { address }. */
async function talkers(cluster, by, hosts) {
  const at = {};
  for (const [host, agent] of Object.entries(hosts)) {
    const [key] = await keysOn(by, SECRET, `${SECRET}Type`, agent.name, 1, (ref) => ref.ask('at'));
    at[host] = agent.client.actor(`${SECRET}/${SECRET}Type`, key);
  }
  return at;
}

const stateOf = async (of, by) => (await nodes(by)).find((n) => n.name === of)?.state;
const mutually = (a, b, state) => until(`${a.name} and ${b.name} see one another ${state}`, async () =>
  (await stateOf(a.name, b)) === state && (await stateOf(b.name, a)) === state);
/** What an ask may fail with while links end and begin. */
const passing = (error) => error.code === 'EUNREACHABLE' || /which is down/.test(error.message);
const logged = (agent, pattern) => until(`the log of ${agent.name} says ${pattern}`, () => pattern.test(agent.log(10_000)));

describe('what can be read on the way', { skip }, () => {
  let cluster, net;
  before(async () => {
    cluster = await NetCluster.on(['a', 'b', 'c']);
    net = cluster.net;
  });
  after(() => cluster?.end());

  test('nothing of what nodes say to one another, nor their names', async () => {
    const file = join(cluster.dir, 'all.pcap');
    await net.capture(file);
    const names = { a: 'archaeopteryx', b: 'brontosaurus', c: 'coelophysis' };
    const hosts = {};
    for (const host of ['a', 'b', 'c']) hosts[host] = await cluster.node(host, hosts.a, { name: names[host] });
    await cluster.deploy(hosts.a, SECRET, app);
    const at = await talkers(cluster, hosts.a, hosts);
    const [book] = await keysOn(hosts.a, SECRET, 'Notebook', names.a, 1, (ref) => ref.ask('seen'));
    const all = async () => {
      for (const [from, to] of [['a', 'b'], ['b', 'c'], ['c', 'a']]) {
        const value = { [SECRET]: SECRET, list: [new Map([[SECRET, 1]]), new TextEncoder().encode(SECRET)], long: SECRET.repeat(20_000) };
        assert.deepEqual((await at[from].ask('ask', at[to].address, SECRET, value)).long.length, value.long.length);
        await assert.rejects(at[from].ask('ask', at[to].address, 'fail'), { message: `${SECRET} failed` });
        await at[from].ask('follow', at[to].address, `${SECRET}/Notebook/${book}`);
        await until('an event arrives', async () => {
          await at[to].ask('publish', SECRET);
          return (await hosts.a.client.actor(`${SECRET}/Notebook`, book).ask('take')).includes(SECRET);
        });
      }
      for (const agent of Object.values(hosts)) for (const args of [['ps'], ['nodes'], ['logs', SECRET], ['dead-letters', SECRET]]) await ctl(agent, ...args);
    };
    await all();
    await killHost(hosts.b); // new handshakes, resumed subscriptions
    await all();
    // The same word in the clear, to see that it would be found.
    const clear = net.run('a', process.execPath, ['-e', `require('net').createServer((s) => s.pipe(s)).listen(0, function () { console.log(this.address().port); })`],
      { stdio: ['ignore', 'pipe', 'inherit'] });
    const [port] = await once(createInterface({ input: clear.stdout }), 'line');
    const said = net.run('c', process.execPath, ['-e', `const s = require('net').connect(${port}, '${net.address('a')}', () => s.end('${SECRET} in the clear'))`]);
    await once(said, 'exit');
    assert.ok(await net.endCapture() > 100);

    const found = [];
    const carried = streams(file);
    const bytes = carried.filter((s) => s.toPort !== Number(port) && s.fromPort !== Number(port));
    assert.ok(bytes.reduce((sum, s) => sum + s.bytes.length, 0) > 1_000_000, 'all of it was captured');
    for (const word of [SECRET, ...Object.values(names), 'Talker', 'isola.json', 'node certificate'])
      for (const form of [Buffer.from(word), Buffer.from(word, 'utf16le'), Buffer.from(word.toUpperCase()), Buffer.from(Buffer.from(word).toString('base64').replace(/=+$/, '').slice(0, -2))])
        for (const s of bytes) if (s.bytes.includes(form)) found.push(`${form} from ${s.from} to ${s.to}:${s.toPort}, at ${s.bytes.indexOf(form)} of ${s.bytes.length}`);
    assert.deepEqual(found, []);
    assert.ok(carried.some((s) => s.bytes.includes(`${SECRET} in the clear`)), 'and what is in the clear would have been found');
    // Every connection between hosts is a channel: it begins as docs/security.md says, and is nothing but records of random bytes.
    for (const s of bytes.filter((b) => b.bytes.length > 0 && [CONTROL_PORT, DATA_PORT].includes(b.toPort))) assert.equal(s.bytes.subarray(0, 6).toString('latin1'), '\x89Isola');
    assert.ok(packets(file).every((p) => p.protocol === 6), 'TCP only');
  });
});

describe('machines in the middle', { skip }, () => {
  // Both are reached by way of m only: a program there leads to their ports.
  let cluster, net, a, b, at, middle, answers;
  before(async () => {
    cluster = await NetCluster.on(['a', 'b', 'm']);
    net = cluster.net;
    const leads = [['a', 4711, 4712], ['b', 4721, 4722]].flatMap(([host, control, data]) =>
      [`control:${control}:${net.address(host)}:${control}`, `data:${data}:${net.address(host)}:${data}`]);
    middle = net.run('m', process.execPath, [join(import.meta.dirname, 'middle.mjs'), ...leads], { stdio: ['pipe', 'pipe', 'inherit'] });
    answers = createInterface({ input: middle.stdout })[Symbol.asyncIterator]();
    await answers.next();
    const more = ['--advertise', net.address('m')];
    a = await cluster.node('a', undefined, { more, ports: [4711, 4712] });
    b = await cluster.node('b', a, { more, ports: [4721, 4722] });
    await cluster.deploy(a, SECRET, app);
    at = await talkers(cluster, a, { a, b });
  });
  after(() => cluster?.end());

  async function tell(order) {
    middle.stdin.write(`${JSON.stringify(order)}\n`);
    assert.equal(JSON.parse((await answers.next()).value).done, order.do);
  }
  const echo = () => at.a.ask('ask', at.b.address, SECRET, 'an answer');
  const works = () => until('asks go through', async () => {
    try {
      return (await echo()) === 'an answer';
    } catch (error) {
      assert.ok(passing(error), error);
      return false;
    }
  });

  for (const link of ['control', 'data'])
    for (const what of ['flip', 'repeat', 'drop', 'swap', 'lengthen', 'invent', 'cut'])
      for (const to of ['responder', 'initiator'])
        test(`${link} link: ${what}, to the ${to}: that link ends, nothing wrong arrives, and another begins`, async () => {
          await works();
          const told = tell({ do: what, link, to });
          await until('the middle has done it', async () => {
            try {
              assert.equal(await echo(), 'an answer');
            } catch (error) {
              assert.ok(passing(error), error);
            }
            return Promise.race([told.then(() => true), new Promise((done) => { setImmediate(() => done(false)); })]);
          });
          await works();
          await mutually(a, b, 'up');
        });

  test('who mends the checksums of what it forges gets no further', async () => {
    await works();
    for (const who of ['a m', 'b m']) await net.link(who, { forge: 20 });
    const before_ = await net.stats();
    await until('some was forged', async () => {
      try {
        assert.equal(await echo(), 'an answer');
      } catch (error) {
        assert.ok(passing(error), error);
      }
      const now = await net.stats();
      return ['a>m', 'm>a', 'b>m', 'm>b'].reduce((sum, who) => sum + now[who].forged - before_[who].forged, 0) > 10;
    });
    await net.link('all');
    await works();
    await logged(a, /does not open|was changed|EPROTO/);
  });

  test('who answers in place of b, with keys of its own, is not believed', async () => {
    const theirs = new NetCluster();
    theirs.net = { address: (host) => net.address(host), on: (host) => net.on(host), end: async () => {} };
    const over = once(middle, 'exit');
    middle.stdin.end();
    await over;
    try {
      const stranger = await theirs.node('m', undefined, { name: 'b', ports: [4721, 4722] });
      await theirs.token(stranger); // a cluster of its own, so it listens
      await mutually(a, b, 'down').catch(() => {});
      await logged(stranger, /is refused/);
      assert.deepEqual((await nodes(stranger)).map((n) => n.name), ['b']);
      await assert.rejects(at.a.ask('ask', at.b.address, SECRET, 1), passing);
    } finally {
      await theirs.end();
    }
  });
});

describe('a node that was removed', { skip }, () => {
  let cluster, net, a, b, c;
  before(async () => {
    cluster = await NetCluster.on(['a', 'b', 'c']);
    net = cluster.net;
    a = await cluster.node('a');
    [b, c] = [await cluster.node('b', a), await cluster.node('c', a)];
    await mutually(b, c, 'up');
  });
  after(() => cluster?.end());

  test('is out everywhere at once, also with those who learn of it later, and is told so', async () => {
    await net.cut('a b');
    await net.cut('a c');
    await mutually(a, b, 'down');
    await mutually(a, c, 'down');
    assert.equal(await stateOf('c', b), 'up');
    const removed = await ctl(a, 'remove', 'c');
    assert.equal(removed.status, 0, removed.err);
    assert.equal(await stateOf('c', a), undefined);
    assert.equal(await stateOf('c', b), 'up', 'b cannot know');
    await net.heal('a b');
    await until('b has learned of it', async () => (await stateOf('c', b)) === undefined);
    await until('c has been told', async () => /was removed from the cluster/.test(c.log(10_000)));
    await net.heal('all');
    await logged(c, /removed/);
    assert.equal(await stateOf('a', b), 'up');
  });
  test('does not start again as that node', async () => {
    await assert.rejects(cluster.again(c), { message: /ended before it was ready \(exit status 1\)/ });
    cluster.agents.splice(cluster.agents.findIndex((agent) => agent.name === 'c'), 1);
    assert.match(c.log(1), /node c was removed from cluster .*give it another --data/);
    for (const agent of [a, b]) assert.deepEqual((await nodes(agent)).map((n) => n.name).toSorted(), ['a', 'b']);
  });
});
