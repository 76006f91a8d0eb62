// SPDX-License-Identifier: Apache-2.0
//
// ctl history and ctl restore --at: an actor has again what it had, through crashes, in the middle of messages, and back again.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Cluster, ctl, ctlOk, killHost, killNode, logs, nodes, until } from './cluster.mjs';

const app = {
  'isola.json': { name: 's', actors: { Cart: { module: './cart.js' }, Many: { module: './cart.js', isolation: 'shared' } } },
  'cart.js': `
    export default (self) => {
      self.on('set', (v) => {
        self.state.v = v;
        self.storage.put('v', v);
        self.storage.put('only ' + v, 1);
        self.sql.exec('CREATE TABLE IF NOT EXISTS t (v)');
        self.sql.exec('INSERT INTO t VALUES (?)', v);
        self.schedule('ring', { at: Date.now() + 3_600_000, id: 'of ' + v }, v);
        return v;
      });
      self.on('soon', (ms) => { self.state.soon = ms; self.schedule('ring', { at: Date.now() + ms, id: 'soon' }, 'soon'); });
      self.on('cancel', (id) => self.cancel(id));
      self.on('ring', (v) => { self.state.rang = v; self.emit('rang', v); });
      self.on('break', () => { self.state.broken = true; });
      self.on('work', () => { if (self.state.broken) throw new Error('broken'); return 'works'; });
      self.on('slow', async (ms) => { self.emit('began'); await new Promise((done) => setTimeout(done, ms)); self.state.slow = ms; return ms; });
      self.on('count', () => (self.state.n = (self.state.n ?? 0) + 1));
      self.on('all', async () => ({
        state: { ...self.state },
        keys: (await self.storage.list()).map?.(([k]) => k) ?? [...(await self.storage.list()).keys()],
        rows: self.sql.exec("SELECT count(*) AS n FROM sqlite_schema WHERE name = 't'").toArray()[0].n === 0 ? [] : self.sql.exec('SELECT v FROM t').toArray().map((r) => r.v),
        timers: (await self.schedules()).map((t) => t.id).sort(),
      }));
      if (self.state.broken) throw new Error('cannot start as it is broken');
    };`,
};

const cluster = new Cluster();
let node;
before(async () => {
  node = await cluster.node('east');
  await cluster.deploy(node, 's', app);
  await cart('first').ask('set', 'any'); // the history begins
  await history('first');
});
after(() => cluster.end());

const cart = (key, agent = node, type = 'Cart') => agent.client.actor(`s/${type}`, key);
const history = async (key, agent = node, type = 'Cart') => JSON.parse(await ctlOk(agent, '--json', 'history', `s/${type}/${key}`));
const restore = async (key, at, ...more) => JSON.parse(await ctlOk(node, '--json', 'restore', `s/Cart/${key}`, '--at', String(at), ...more));
const iso = (ms) => new Date(ms).toISOString();
/** What it has, and when that was. */
const noted = async (key, agent = node, type = 'Cart') => {
  const all = await cart(key, agent, type).ask('all');
  const { points } = await history(key, agent, type);
  return { all, time: points[0].time };
};
const refused = async (pattern, ...args) => {
  const { status, err, out } = await ctl(node, ...args);
  assert.notEqual(status, 0, out);
  assert.match(err, pattern);
  return status;
};

describe('an actor', { timeout: 240_000 }, () => {
  for (const type of ['Cart', 'Many'])
    test(`has again what it had, and that can be undone (${type})`, async () => {
      const seen = [];
      for (const v of ['one', 'two', 'three']) {
        await cart('a', node, type).ask('set', v);
        seen.push(await noted('a', node, type));
      }
      const { points } = await history('a', node, type);
      assert.deepEqual(points.map((p) => p.number), [1, 2, 3]);
      assert.deepEqual(points.map((p) => p.time), seen.map((s) => s.time).reverse());
      assert.deepEqual(points.map((p) => [p.state, p.storage.put, p.timers.put, p.node]), [[true, 2, 1, 'east'], [true, 2, 1, 'east'], [true, 2, 1, 'east']]);
      const dry = JSON.parse(await ctlOk(node, '--json', 'restore', `s/${type}/a`, '--at', '3', '--dry-run'));
      assert.deepEqual([dry.dry, dry.state, dry.storage, dry.timers], [true, true, { put: 1, gone: 2 }, { put: 0, gone: 2 }]);
      assert.deepEqual(await cart('a', node, type).ask('all'), seen[2].all);
      assert.equal((await history('a', node, type)).points.length, 3);
      for (const i of [0, 2, 1]) {
        const answer = JSON.parse(await ctlOk(node, '--json', 'restore', `s/${type}/a`, '--at', iso(seen[i].time)));
        assert.deepEqual([answer.node, answer.time, answer.there, answer.state], ['east', seen[i].time, true, true]);
        assert.deepEqual(await cart('a', node, type).ask('all'), seen[i].all);
      }
      const text = await ctlOk(node, 'restore', `s/${type}/a`, '--at', '2');
      assert.match(text, /^restored s\/\w+\/a to what it had at .*: state, \d keys? of storage.*\nto undo that: ctl restore s\/\w+\/a --at \d{4}-\d\d-\d\dT/);
      await cart('a', node, type).ask('set', 'four');
      assert.equal((await cart('a', node, type).ask('all')).state.v, 'four');
    });

  test('is the same after its actor-host was killed', async () => {
    await cart('k').ask('set', 'one');
    const one = await noted('k');
    await cart('k').ask('set', 'two');
    await killHost(node);
    const two = await noted('k');
    await restore('k', iso(one.time));
    await killHost(node);
    assert.deepEqual(await cart('k').ask('all'), one.all);
    await restore('k', iso(two.time));
    assert.deepEqual(await cart('k').ask('all'), two.all);
  });

  test('that cannot start any more does', async () => {
    await cart('b').ask('set', 'fine');
    const fine = await noted('b');
    await cart('b').ask('break');
    await noted('b').catch(() => history('b'));
    await ctlOk(node, 'stop', 's/Cart/b');
    await assert.rejects(cart('b').ask('work'), /broken/);
    await restore('b', iso(fine.time));
    assert.equal(await cart('b').ask('work'), 'works');
    assert.deepEqual(await cart('b').ask('all'), fine.all);
  });

  test('ends its turn first, and messages that wait are for what it has then', async () => {
    await cart('t').ask('set', 'one');
    const one = await noted('t');
    await cart('t').ask('set', 'two');
    const began = new Promise((done) => cart('t').on('began', done));
    await until('it listens', async () => (await ctlOk(node, 'ps')).includes('s/Cart/t'));
    const turn = cart('t').ask('slow', 300);
    await began;
    const waits = [1, 2, 3].map(() => cart('t').ask('count'));
    await restore('t', iso(one.time));
    assert.equal(await turn, 300);
    assert.deepEqual(await Promise.all(waits), [1, 2, 3]);
    const { state } = await cart('t').ask('all');
    assert.deepEqual(state, { v: 'one', n: 3 });
  });

  test('has its timers again, and those that are due fire once', async () => {
    const rang = [];
    cart('r').on('rang', (v) => rang.push(v));
    await cart('r').ask('soon', 1500);
    const before = await noted('r');
    assert.deepEqual(before.all.timers, ['soon']);
    await cart('r').ask('cancel', 'soon');
    const without = await noted('r');
    assert.deepEqual(without.all.timers, []);
    await until('its time is over', () => Date.now() > before.time + 1600);
    assert.deepEqual(rang, []);
    const answer = await restore('r', iso(before.time));
    assert.deepEqual(answer.timers, { put: 1, gone: 0 });
    await until('it has rung', async () => (await cart('r').ask('all')).state.rang === 'soon');
    assert.deepEqual((await cart('r').ask('all')).timers, []);
    assert.deepEqual(rang, ['soon']);
  });

  test('had nothing before it was there', async () => {
    await cart('other').ask('set', 'x');
    const then = (await noted('other')).time;
    await cart('new').ask('set', 'y');
    const y = await noted('new');
    const answer = await restore('new', iso(then));
    assert.equal(answer.there, false);
    assert.deepEqual(await cart('new').ask('all'), { state: {}, keys: [], rows: [], timers: [] });
    await restore('new', iso(y.time));
    assert.deepEqual(await cart('new').ask('all'), y.all);
  });

  test('is shown with its history, as it is', async () => {
    await cart('h').ask('set', 'one');
    await history('h');
    await cart('h').ask('set', 'two');
    const text = await ctlOk(node, 'history', 's/Cart/h');
    assert.match(text, /^ *# +TIME +AGO +CHANGED +BYTES\n/);
    assert.match(text, /\n *1 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} .* state, 2 keys of storage, \d+ pages? of SQL, 1 timer +[\d.]+ [KM]?B\n/);
    assert.match(await ctlOk(node, 'history', 's/Cart/h', '--utc', '--top', '1'), /T\d\d:\d\d:\d\d\.\d{3}Z .*\n1 older points? /);
    const none = await ctlOk(node, 'history', 's/Cart/nobody');
    assert.match(none, /^s\/Cart\/nobody has no history: it has stored nothing since \d{4}-/);
    const same = await ctlOk(node, 'restore', 's/Cart/h', '--at', '1');
    assert.match(same, /has what it had at .*: there is nothing to change\n$/);
    const { stores } = await until('it is known', async () => {
      const answer = JSON.parse(await ctlOk(node, '--json', 'store'));
      return answer.stores[0]?.history_bytes > 0 && answer;
    });
    assert.equal(stores[0].history, true);
    assert.ok(stores[0].history_since > 1.6e12);
    assert.match(await ctlOk(node, 'store'), /HISTORY/);
  });

  test('is not put back by what makes no sense', async () => {
    await cart('w').ask('set', 'one');
    const { points, histories } = await history('w');
    const bad = ['restore', 's/Cart/w', '--at'];
    assert.equal(await refused(/is no time: write/, ...bad, 'noon'), 2);
    assert.equal(await refused(/is no time/, ...bad, '2031-02-30'), 2);
    assert.equal(await refused(/is no time/, ...bad, '0'), 2);
    assert.equal(await refused(/is no time/, ...bad, ''), 2);
    assert.equal(await refused(/that time is in the future/, ...bad, '2131-01-02T03:04:05Z'), 1);
    assert.equal(await refused(/there is no point 9: 'ctl history s\/Cart\/w' shows 1/, ...bad, '9'), 1);
    assert.equal(await refused(/the history does not reach so far: it begins at \d{4}-/, ...bad, iso(histories[0].since - 1)), 1);
    assert.equal(await refused(/does not reach so far/, ...bad, '30d ago'), 1);
    assert.equal(await refused(/has the form app\/Type\/key|is no address|address/, 'restore', 'nonsense', '--at', '1'), 2);
    assert.equal(await refused(/no app|no such app|is not deployed|unknown/i, 'restore', 'x/Y/z', '--at', '1'), 1);
    assert.equal(await refused(/ctl restore DIR --data DATADIR.*ctl restore ADDRESS --at TIME/, 'restore', 's/Cart/w'), 2);
    assert.equal(await refused(/not both at once/, 'restore', 's/Cart/w', '--at', '1', '--data', '/tmp/x'), 2);
    assert.equal(await refused(/'--force' is for data directories/, 'restore', 's/Cart/w', '--at', '1', '--force'), 2);
    assert.equal(await refused(/address/, 'history', 'nonsense'), 2);
    for (const params of [{}, { address: 's/Cart/w' }, { node: 'east', address: 's/Cart/w' }, { node: 'east', address: 'x', time: 5 }, { node: 'east', address: 's/Cart/w', time: 'x' }, { node: 'east', address: 's/Cart/w', time: 0 }])
      await assert.rejects(node.client.call('restore', params), { code: 'EINVAL' });
    await assert.rejects(node.client.call('restore', { node: 'nowhere', address: 's/Cart/w', time: points[0].time }), { code: 'EUNREACHABLE' });
    await assert.rejects(node.client.call('history', { address: 'x' }), { code: 'EINVAL' });
    assert.deepEqual((await cart('w').ask('all')).state, { v: 'one' });
  });
});

describe('a node', { timeout: 120_000 }, () => {
  test('without a history says so, and keeps none', async () => {
    const bare = await cluster.node('bare', undefined, ['--history', '0']);
    await cluster.deploy(bare, 's', app);
    await cart('a', bare).ask('set', 'one');
    await cart('a', bare).ask('set', 'two');
    assert.match(await ctlOk(bare, 'history', 's/Cart/a'), /: no history is kept on node bare, which runs with --history 0\n/);
    const { status, err } = await ctl(bare, 'restore', 's/Cart/a', '--at', '10s ago');
    assert.deepEqual([status, /no history is kept here: the node runs with --history 0/.test(err)], [1, true], err);
    assert.match(await ctlOk(bare, 'store'), / off /);
    assert.equal((await cart('a', bare).ask('all')).state.v, 'two');
  });

  test('has the history of what lived there, and puts back what lives there now', async () => {
    const one = await cluster.node('one');
    await cluster.deploy(one, 's', app);
    const keys = Array.from({ length: 16 }, (_, i) => `m${i}`);
    for (const key of keys) await cart(key, one).ask('set', 'early');
    await history('m0', one);
    const two = await cluster.node('two', one);
    for (const key of keys) await cart(key, one).ask('set', 'late');
    const placed = await until('both have some', async () => {
      const all = await Promise.all(keys.map(async (key) => [key, (await history(key, one)).histories.find((h) => h.here && h.points === undefined)?.node]));
      return new Set(all.map(([, n]) => n)).size === 2 && all;
    });
    const moved = placed.find(([, n]) => n === 'two')[0], stayed = placed.find(([, n]) => n === 'one')[0];
    const { points } = await history(moved, one);
    assert.deepEqual([...new Set(points.map((p) => p.node))].sort(), ['one', 'two']);
    // what the other node had, from there
    const then = points.find((p) => p.node === 'one').time, late = await cart(moved, one).ask('all');
    const dry = JSON.parse(await ctlOk(two, '--json', 'restore', `s/Cart/${moved}`, '--at', iso(then), '--dry-run'));
    assert.deepEqual([dry.node, dry.there, dry.state, dry.storage, dry.timers], ['two', true, true, { put: 1, gone: 1 }, { put: 0, gone: 1 }]);
    assert.deepEqual(await cart(moved, one).ask('all'), late);
    const far = JSON.parse(await ctlOk(one, '--json', 'restore', `s/Cart/${moved}`, '--at', iso(then)));
    assert.deepEqual([far.node, far.storage], ['two', dry.storage]);
    assert.deepEqual(await cart(moved, one).ask('all'), { state: { v: 'early' }, keys: ['only early', 'v'], rows: ['early'], timers: ['of early'] });
    await ctlOk(two, 'restore', `s/Cart/${moved}`, '--at', iso(points[0].time));
    assert.deepEqual(await cart(moved, one).ask('all'), late);
    await assert.rejects(two.client.call('restore', { node: 'two', from: 'nowhere', address: `s/Cart/${moved}`, time: then }), { code: 'EUNREACHABLE' });
    await assert.rejects(two.client.call('restore', { node: 'two', address: `s/Cart/${moved}`, time: then }), /at that time it did not live on node two|the history does not reach so far/);
    await assert.rejects(two.client.call('restore', { node: 'two', from: 'one', address: `s/Cart/${moved}`, time: Date.now() - 1 }), /node one, where it lived then: at that time it lived on node two/);
    assert.deepEqual(await cart(moved, one).ask('all'), late);
    // wherever it is asked for
    const back = points[0].time;
    await cart(moved, one).ask('set', 'later');
    await history(moved, one);
    assert.equal(JSON.parse(await ctlOk(one, '--json', 'restore', `s/Cart/${moved}`, '--at', iso(back))).node, 'two');
    assert.equal((await cart(moved, two).ask('all')).state.v, 'late');
    await ctlOk(two, 'restore', `s/Cart/${stayed}`, '--at', iso((await history(stayed, two)).points.at(-1).time));
    assert.equal((await cart(stayed, two).ask('all')).state.v, 'early');
  });
});
