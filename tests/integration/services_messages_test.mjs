// SPDX-License-Identifier: Apache-2.0
//
// Messages to services (docs/services.md): from programs, ctl, actors and other nodes; while an instance begins, is replaced, has died.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Cluster, cpuOf, ctl, ctlOk, killHost, sanitized, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let east, west;
before(async () => {
  east = await cluster.node('east');
  west = await cluster.node('west', east);
});
after(() => cluster.end());

const manifest = (name, service, actors = {}, rest = {}) => ({ name, actors: { Api: { module: './server.mjs', kind: 'service', ...service }, ...actors }, ...rest });
const rows = async (app) => (await whole(east, 'ps', { app })).actors.filter((r) => r.isolation === 'process');
const running = (app, n) => until(`${n} instances of ${app} run`, async () => {
  const all = await rows(app);
  return all.length === n && all.every((r) => r.state === 'running') && all;
});
const code = (promise) => promise.then((v) => assert.fail(`answered ${v}`), (error) => error.code);
/** A key of `type` whose address lives on that node: an instance says where it is. */
async function placed(type, node, from = 0) {
  for (let i = from; ; i++) if ((await east.client.actor(type, `k${i}`).ask('where')).node === node) return `k${i}`;
}

/** An actor of `mon/Caller` on that node. */
async function placedCaller(node) {
  for (let i = 0; ; i++) {
    const caller = east.client.actor('mon/Caller', `c${i}`);
    await caller.ask('downs');
    if ((await whole(east, 'ps', { app: 'mon' })).actors.find((a) => a.address === caller.address).node === node) return caller;
  }
}

const server = `import { service, actor } from 'isola';
const self = service();
const who = { instance: +process.env.ISOLA_INSTANCE, pid: process.pid };
self.on('where', async () => ({ ...who, node: (await import('isola')).connect && process.env.NODE_NAME, address: self.address }));
self.on('hello', (name) => 'hello ' + name);
self.on('late', async (n) => { await new Promise((done) => setImmediate(done)); return n + 1; });
self.on('all', (v) => v);
self.on('throws', () => { throw Object.assign(new TypeError('not so'), { code: 'EOWN' }); });
self.on('rejects', async () => { throw new RangeError('later'); });
self.on('function', () => () => {});
self.on('never', () => new Promise(() => {}));
self.on('count', (to) => { self.emit('counted', to, who.instance); });
self.on('die', () => process.kill(process.pid, 'SIGKILL'));
self.on('call', (address, event, ...args) => actor(address).ask(event, ...args));`;

// Its environment has the node's name, which the agent itself does not give.
const named = `import { connect } from 'isola'; const client = await connect(); process.env.NODE_NAME = client.node; await client.close(); await import('./program.mjs');`;
const files = (name, service, actors, rest) => ({ 'isola.json': manifest(name, service, actors, rest), 'package.json': { name, type: 'module' }, 'server.mjs': named, 'program.mjs': server,
  'caller.js': `import { actor } from 'isola';
export default (self) => {
  self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
  self.on('emit', (address, event, ...args) => { actor(address).emit(event, ...args); });
  self.on('listen', (address) => { actor(address).on('counted', (n) => { (self.heard ??= []).push(n); }); });
  self.on('heard', () => self.heard ?? []);
  self.on('monitor', (address) => { self.monitor(address); });
  self.on('demonitor', (address) => self.demonitor(address));
  self.on('down', (d) => { (self.downs ??= []).push(d); });
  self.on('downs', () => self.downs ?? []);
  self.on('durably', (address) => actor(address).ask('hello', 'x', { durable: true }));
};` });

test('asks are answered, from programs, ctl, actors and services, on any node', async () => {
  await cluster.deploy(east, 'shop', files('shop', { instances: 2 }, { Caller: { module: './caller.js' } }));
  await running('shop', 4);
  for (const { client } of [east, west]) {
    const api = client.actor('shop/Api', '0');
    assert.equal(await api.ask('hello', 'world'), 'hello world');
    assert.equal(await api.ask('late', 41), 42);
    assert.deepEqual(await api.ask('all', new Map([['a', [1n, new Date(0), undefined]]])), new Map([['a', [1n, new Date(0), undefined]]]));
    assert.equal(await client.actor('shop/Caller', 'x').ask('ask', 'shop/Api/1', 'hello', 'actor'), 'hello actor');
    assert.equal(await client.actor('shop/Caller', 'y').ask('ask', 'shop/Api/some key', 'late', 1), 2);
    assert.equal(await api.ask('call', 'shop/Caller/z', 'ask', 'shop/Api/1', 'hello', 'service'), 'hello service');
  }
  assert.equal(await ctlOk(west, 'ask', 'shop/Api/0', 'hello', '"ctl"'), '"hello ctl"\n');
});

test('errors are the asker\'s', async () => {
  const api = east.client.actor('shop/Api', '1');
  await assert.rejects(api.ask('throws'), { name: 'TypeError', message: 'not so', code: 'EOWN', remoteStack: /program\.mjs/ });
  await assert.rejects(api.ask('rejects'), { name: 'RangeError', message: 'later' });
  await assert.rejects(api.ask('function'), { code: 'ECLONE', message: /the answer cannot be sent/ });
  await assert.rejects(api.ask('what'), { code: 'ENOACTOR', message: /^shop\/Api\/[01] has no handler for "what"$/ });
  await assert.rejects(api.ask('never', { timeout: 50 }), { code: 'ETIMEDOUT' });
  await assert.rejects(east.client.actor('shop/Caller', 'x').ask('ask', 'shop/Api/0', 'throws'), { name: 'TypeError', message: 'not so' });
  await assert.rejects(api.ask('hello', 'x', { durable: true }), { code: 'EINVAL', message: /^shop\/Api is a service: durable messages are for actors/ });
  await assert.rejects(east.client.actor('shop/Caller', 'x').ask('durably', 'shop/Api/0'), { code: 'EINVAL', message: /durable messages are for actors/ });
  const stopped = await ctl(east, 'stop', 'shop/Api/some key');
  assert.equal(stopped.status, 1);
  assert.match(stopped.err, /shop\/Api is a service: `ctl restart` and `ctl stop` take all of it, or one of its instances, which have numbers: `ctl ps` lists them/);
});

test('a number is that instance, any other key always the same one', async () => {
  const where = (client, key) => client.actor('shop/Api', key).ask('where');
  for (const n of [0, 1]) {
    const there = await where(east.client, String(n));
    assert.equal(there.instance, n);
    assert.equal(there.address, `shop/Api/${n}`);
    assert.deepEqual(await where(west.client, String(n)), there);
  }
  const keys = Array.from({ length: 40 }, (_, i) => `user-${i}`);
  const found = await Promise.all(keys.map((k) => where(east.client, k)));
  assert.deepEqual(await Promise.all(keys.map((k) => where(west.client, k))), found);
  assert.equal(new Set(found.map((f) => f.pid)).size, 4, 'on both nodes, in both instances');
});

test('events come to subscribers anywhere, of the instance that the key is', async () => {
  const near = await placed('shop/Api', 'east'), far = await placed('shop/Api', 'west');
  for (const key of [near, far]) {
    const heard = [];
    const refs = [east, west].map(({ client }) => client.actor('shop/Api', key).on('counted', (n) => heard.push(n)));
    const caller = east.client.actor('shop/Caller', `listens to ${key}`);
    await caller.ask('listen', `shop/Api/${key}`);
    let n = 0;
    await until('all hear it', async () => {
      refs[0].emit('count', ++n);
      return heard.length >= 2 && (await caller.ask('heard')).length > 0;
    });
    const before = heard.length;
    await until('both hear all', async () => heard.length === 2 * n || heard.length > before);
    for (const ref of refs) ref.removeAllListeners();
  }
});

test('order is kept', async () => {
  const api = west.client.actor('shop/Api', await placed('shop/Api', 'east'));
  const heard = [];
  api.on('counted', (n) => heard.push(n));
  await until('it hears', () => api.emit('count', -1) && heard.length > 0);
  for (let i = 0; i < 500; i++) api.emit('count', i);
  await until('it has all', () => heard.at(-1) === 499);
  assert.deepEqual(heard.filter((n) => n >= 0), Array.from({ length: 500 }, (_, i) => i));
  api.removeAllListeners();
});

test('a new actor-host knows what was subscribed to', async () => {
  const key = await placed('shop/Api', 'east'), api = west.client.actor('shop/Api', key);
  const heard = [];
  api.on('counted', (n) => heard.push(n));
  await until('it hears', () => api.emit('count', 1) && heard.includes(1));
  await killHost(east);
  await until('it hears again', () => api.emit('count', 2) && heard.includes(2));
  api.removeAllListeners();
});

test('replaced one by one, and killed: asks wait for the next one; what a dead one had fails', async () => {
  const clients = [east, west].map(({ client }) => client.actor('shop/Api', 'user-1'));
  let stop = false, answered = 0;
  const failures = [];
  const load = Promise.all([...clients, ...clients, ...clients].map(async (api) => {
    while (!stop) await api.ask('late', 1).then(() => answered++, (error) => failures.push(error.message));
  }));
  await until('there is load', () => answered > 50);
  for (let i = 0; i < 2; i++) {
    const pids = (await rows('shop')).map((r) => r.pid);
    await ctlOk(east, 'restart', 'shop/Api');
    await until('all are others', async () => (await rows('shop')).every((r) => r.state === 'running' && !pids.includes(r.pid)));
  }
  assert.deepEqual(failures, []);
  const dead = east.client.actor('shop/Api', 'user-1'), under = dead.ask('never');
  await dead.ask('hello', 'before');
  dead.emit('die');
  await assert.rejects(under, { code: 'EUNREACHABLE', message: /ended while it had this request; it may or may not have been carried out/ });
  assert.equal(await dead.ask('hello', 'again'), 'hello again');
  const sofar = answered;
  await until('there is load again', () => answered > sofar + 50);
  stop = true;
  await load;
  assert.ok(failures.every((f) => /ended while it had this request/.test(f)), failures.join('\n'));
  assert.ok(failures.length <= 6, `${failures.length}`);
});

test('replaced under a load of asks: none is lost, nor an answer that is large', async () => {
  let on = true, answered = 0;
  const large = new Uint8Array(2e6);
  const asker = async (node, n) => {
    for (; on; answered++) {
      if (n % 8 === 0) assert.equal((await node.client.actor('shop/Api', String(n % 3)).ask('all', large)).length, large.length);
      else assert.equal(await node.client.actor('shop/Api', String(n % 3)).ask(n % 2 ? 'late' : 'all', n), n % 2 ? n + 1 : n);
    }
  };
  const asking = [east, west].flatMap((node) => Array.from({ length: 16 }, (_, n) => asker(node, n)));
  const end = async () => { on = false; await Promise.all(asking); };
  try {
    for (let i = 0; i < 4; i++) await Promise.race([ctlOk(east, 'restart', '--wait', 'shop/Api'), ...asking]);
  } finally {
    await end();
  }
  assert.ok(answered > 100, `${answered} were answered`);
});

test('who begins late is waited for; who is stopped, has failed, or takes no messages is not', async () => {
  const dir = files('late', { instances: 1, restart: { max: 0 } });
  await cluster.deploy(east, 'late', { ...dir, 'server.mjs': `import { service } from 'isola'; await new Promise((done) => setTimeout(done, 300)); service().on('hi', () => 'hi');` });
  const late = east.client.actor('late/Api', '0');
  assert.equal(await late.ask('hi'), 'hi');
  await ctlOk(east, 'stop', 'late/Api');
  await assert.rejects(until('it is stopped', () => late.ask('hi').then(() => false)), { code: 'EUNREACHABLE', message: /^late\/Api\/0 is stopped on node (east|west); `ctl restart late\/Api\/0` starts it$/ });
  await ctlOk(east, 'restart', 'late/Api');
  assert.equal(await late.ask('hi'), 'hi');

  await cluster.deploy(east, 'mute', { ...files('mute', {}), 'server.mjs': 'setInterval(() => {}, 1000);' });
  await assert.rejects(east.client.actor('mute/Api', '0').ask('hi'), { code: 'ENOACTOR', message: /^mute\/Api\/0 takes no messages: its program does not call service\(\) of the package isola$/ });
  await cluster.deploy(east, 'bad', { ...files('bad', { restart: { max: 0 } }), 'server.mjs': 'throw new Error("no");' });
  await assert.rejects(east.client.actor('bad/Api', '0').ask('hi'), { code: 'EFAILED', message: /^bad\/Api\/0 has failed on node (east|west): it exited with status 1: Error: no(?: \(server\.mjs:1\))?$/ });
});

test('what goes on at once is bounded', async () => {
  const api = east.client.actor('shop/Api', 'busy'), over = new AbortController();
  const asks = Array.from({ length: 10_001 }, () => api.ask('never', { signal: over.signal }).then(() => 'answered', (error) => error.name === 'AbortError' ? error.name : error.code));
  assert.equal(await Promise.race(asks), 'EOVERLOAD');
  over.abort();
  const all = await Promise.all(asks);
  assert.equal(all.filter((c) => c === 'AbortError').length, 10_000);
  assert.equal(await api.ask('hello', 'after'), 'hello after'); // cancelled asks are none any more
});

test('who monitors an instance hears when it is down, wherever it is', async () => {
  await cluster.deploy(east, 'mon', files('mon', { instances: 2, restart: { max: 2, within: '1h' } }, { Caller: { module: './caller.js' } }));
  await running('mon', 4);
  const [near, far] = [await placed('mon/Api', 'east'), await placed('mon/Api', 'west')];
  const of = (key) => east.client.actor('mon/Api', key).ask('where');
  // Actors of both nodes, each of which monitors both; one stops doing so, and hears nothing of what follows.
  const watchers = [await placedCaller('east'), await placedCaller('west')], gone = east.client.actor('mon/Caller', 'gone');
  for (const w of [...watchers, gone]) for (const key of [near, far]) await w.ask('monitor', `mon/Api/${key}`);
  assert.equal(await gone.ask('demonitor', `mon/Api/${far}`), true);
  const hears = (n) => until(`${n} are told of`, async () => {
    const all = await Promise.all(watchers.map((w) => w.ask('downs')));
    return all.every((downs) => downs.length >= n) && all;
  });
  const told = async (n, address, reason, message) => {
    for (const downs of await hears(n)) {
      assert.equal(downs.length, n);
      assert.deepEqual([downs.at(-1).address, downs.at(-1).reason], [address, reason]);
      assert.match(downs.at(-1).message, message);
    }
  };
  process.kill((await of(far)).pid, 'SIGKILL');
  await told(1, `mon/Api/${far}`, 'crashed', /^it was ended by signal 9/);
  await running('mon', 4);
  process.kill((await of(near)).pid, 'SIGKILL');
  await told(2, `mon/Api/${near}`, 'crashed', /^it was ended by signal 9/);
  await running('mon', 4);
  await ctlOk(east, 'restart', '--wait', 'mon/Api'); // is not down
  for (const n of [3, 4, 5]) { // with the restart it counts anew
    const { pid } = await of(far);
    process.kill(pid, 'SIGKILL');
    await told(n, `mon/Api/${far}`, n === 5 ? 'failed' : 'crashed', /^it was ended by signal 9/);
    if (n < 5) await until('it runs again', () => of(far).then((w) => w.pid !== pid, () => false));
  }
  // Of one that has failed, or is stopped, who begins to monitor it hears at once.
  const late = east.client.actor('mon/Caller', 'late');
  await late.ask('monitor', `mon/Api/${far}`);
  const [{ reason, message }] = await until('it hears', async () => { const downs = await late.ask('downs'); return downs.length > 0 && downs; });
  assert.equal(reason, 'failed');
  assert.match(message, /has failed on node west: it was ended by signal 9/);
  await ctlOk(east, 'restart', '--wait', 'mon/Api');
  await ctlOk(east, 'stop', `mon/Api`);
  const [both] = await hears(7);
  assert.deepEqual(both.slice(5).map((d) => [d.address, d.reason]).sort(), [[`mon/Api/${near}`, 'stopped'], [`mon/Api/${far}`, 'stopped']].sort());
  assert.deepEqual((await gone.ask('downs')).map((d) => [d.address, d.reason]), [[`mon/Api/${near}`, 'crashed'], [`mon/Api/${near}`, 'stopped']]);
});

test('another app may send to it only if its manifest says so', async () => {
  for (const [name, rest] of [['thief', {}], ['friend', { permissions: { apps: ['shop'] } }]])
    await cluster.deploy(east, name, { 'isola.json': { name, actors: { Caller: { module: './caller.js' } }, ...rest }, 'caller.js': files('x', {})['caller.js'] });
  for (const node of ['east', 'west']) {
    const address = `shop/Api/${await placed('shop/Api', node)}`;
    assert.equal(await code(east.client.actor('thief/Caller', '1').ask('ask', address, 'hello', 'x')), 'EPERM');
    assert.equal(await east.client.actor('friend/Caller', '1').ask('ask', address, 'hello', 'x'), 'hello x');
  }
});

test('an actor that a release makes a service, and the other way round', async () => {
  const actor = { 'isola.json': { name: 'turns', actors: { Api: { module: './actor.js' } } }, 'actor.js': `export default (self) => { self.on('what', () => 'actor'); };` };
  const program = { 'isola.json': { name: 'turns', actors: { Api: { module: './server.mjs', kind: 'service' } } }, 'server.mjs': `import { service } from 'isola'; service().on('what', () => 'service');` };
  const api = west.client.actor('turns/Api', '0');
  for (const [app, what] of [[actor, 'actor'], [program, 'service'], [actor, 'actor']]) {
    await cluster.deploy(east, 'turns', app);
    await until(`it is a ${what}`, async () => await api.ask('what').catch((error) => error.code) === what);
  }
});

test('many subscribe to one without much work for its agent', async () => {
  const fan = `import { actor } from 'isola';
export default (self) => {
  const refs = [];
  self.on('go', (from, n) => { for (let i = from; i < from + n; i++) { const r = actor('fan/Api', 'k' + i); r.on('tick', () => {}); refs.push(r); } });
};`;
  await cluster.deploy(east, 'fan', { 'isola.json': { name: 'fan', actors: { Api: { module: './server.mjs', kind: 'service' }, Fan: { module: './fan.js', subscriptions: 100_000 } } },
    'server.mjs': `import { service } from 'isola'; const self = service(); self.on('tick', () => { self.emit('tick'); }); self.on('hi', () => 'hi');`, 'fan.js': fan });
  const used = () => cpuOf(east.child.pid) + cpuOf(west.child.pid);
  const before = used();
  for (let k = 0; k < 60; k++) await east.client.actor('fan/Fan', k).ask('go', 1000 * k, 1000);
  assert.equal(await east.client.actor('fan/Api', 'k59999').ask('hi'), 'hi'); // behind them all
  assert.ok(sanitized || used() - before < 1500, `${used() - before} ms`);
});

test('service() is for services', async () => {
  const { service } = await import('../../actors/lib/client/index.js');
  assert.throws(() => service(), { code: 'EINVAL', message: /^service\(\) is for a program that Isola runs as a service/ });
  await assert.rejects(east.client.call('serve', { pid: process.pid }), { code: 'EPERM', message: new RegExp(`^process ${process.pid} is no instance of a service that node east has started$`) });
  await assert.rejects(east.client.call('serve'), { code: 'EINVAL' });
});
