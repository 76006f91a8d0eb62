// SPDX-License-Identifier: Apache-2.0
//
// Durable timers of actors on real nodes: each fires once and at its time or after it, whoever hibernates, is killed, moves or is not there.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, ctlOk, ctlWhole, deadLetters, killHost, logged, logs, until } from './cluster.mjs';

const app = {
  'isola.json': {
    name: 's',
    actors: {
      Job: { module: './job.js' }, Shared: { module: './job.js', isolation: 'shared' }, Sleeper: { module: './job.js', hibernateAfter: '50ms' },
      Classy: { module: './classy.js' }, Poller: { module: './poller.js', hibernateAfter: '50ms' }, Both: { module: './job.js', reentrant: true }, Sink: { module: './sink.js', isolation: 'shared' },
    },
  },
  'job.js': `
    import { actor } from 'isola';
    export default (self) => {
      self.state.fired ??= [];
      self.on('set', (event, when, ...args) => self.schedule(event, when, ...args));
      self.on('many', (n, event, when, ...args) => { for (let i = 0; i < n; i++) self.schedule(event, when, i, ...args); return self.schedules().length; });
      self.on('cancel', (id) => self.cancel(id));
      self.on('list', () => self.schedules());
      self.on('fired', () => self.state.fired);
      self.on('fire', (...args) => { self.state.fired.push([Date.now(), ...args]); });
      self.on('tell', (to, ...args) => { self.state.fired.push([Date.now()]); actor(to).emit('add', ...args, { durable: true }); });
      self.on('crash', () => { self.state.fired.push('crash'); throw new Error('of the timer'); });
      self.on('slow', async () => {
        self.state.fired.push('begun');
        await new Promise((done) => setTimeout(done, 300));
        self.state.fired.push('ended');
      });
      self.on('own', (id) => { self.state.fired.push(self.schedules().map((t) => t.id), self.cancel(id)); });
      self.on('set and fail', (event, when) => { self.schedule(event, when); throw new Error('an answer'); });
      self.on('set and crash', (event, when) => { self.schedule(event, when); setTimeout(() => { throw new Error('later'); }); return new Promise(() => {}); });
      self.on('lend', () => { globalThis.lend = () => self.schedule('fire', '1s'); });
      self.on('use', () => globalThis.lend());
    };`,
  'classy.js': `
    export default class {
      set(...args) { return this.schedule(...args); }
      fire(...args) { this.state.fired = [...(this.state.fired ?? []), args]; }
      fired() { return this.state.fired ?? []; }
    }`,
  'poller.js': `
    export default (self) => {
      self.schedule('poll', { every: '700ms', id: 'poll' }, { a: [1] });
      self.schedule('poll', { cron: '* * * * * *', id: 'cron' });
      self.state.starts = (self.state.starts ?? 0) + 1;
      self.on('poll', (x) => { self.state[x ? 'polls' : 'crons'] = (self.state[x ? 'polls' : 'crons'] ?? 0) + 1; });
      self.on('get', () => self.state);
    };`,
  'sink.js': `export default (self) => { self.state.n ??= 0; self.on('add', (by) => { self.state.n += by; }); self.on('get', () => self.state.n); };`,
};

const fired = (a, n) => until(`${a.address} has fired ${n} times`, async () => {
  const all = await a.ask('fired');
  return all.length >= n && all;
});

describe('a node', () => {
  const cluster = new Cluster();
  let node;
  const job = (key, type = 'Job') => node.client.actor(`s/${type}`, key);
  before(async () => {
    node = await cluster.node('one', undefined, ['--threads', '2']);
    await cluster.deploy(node, 's', app);
  });
  after(() => cluster.end());

  for (const type of ['Job', 'Shared', 'Classy']) {
    test(`${type}: once, with its values, at its time or after it`, async () => {
      const a = job('once', type);
      const from = Date.now();
      await a.ask('set', 'fire', new Date(from + 300), 'date', new Map([[1, { x: 2n }]]));
      await a.ask('set', 'fire', '100ms', 'duration');
      await a.ask('set', 'fire', from + 200, 'number');
      await a.ask('set', 'fire', { at: new Date(from - 86_400_000) }, 'a day ago');
      const all = await fired(a, 4);
      assert.equal(all.length, 4);
      if (type === 'Classy') return;
      for (const [what, ms, ...args] of [['date', 300, new Map([[1, { x: 2n }]])], ['duration', 100], ['number', 200], ['a day ago', 0]]) {
        const one = all.find((f) => f[1] === what);
        assert.ok(one[0] >= from + ms, `${what}: ${one[0] - from} ms`);
        assert.deepEqual(one.slice(2), args);
      }
      assert.deepEqual(await a.ask('list'), []);
    });
  }

  test('what is set is listed, replaced and cancelled', async () => {
    const a = job('list');
    const at = new Date(Date.now() + 3_600_000);
    const id = await a.ask('set', 'fire', at, 1, 'two');
    assert.match(id, /^[0-9a-f]{16}$/);
    assert.equal(await a.ask('set', 'fire', { after: '2h', id: 'named' }), 'named');
    assert.equal(await a.ask('set', 'other', { every: '5m', start: at, id: 'often' }), 'often');
    assert.equal(await a.ask('set', 'fire', { cron: '0 0 1 1 *', timeZone: 'Europe/Vienna', id: 'cron' }), 'cron');
    assert.equal(await a.ask('set', 'named again', { at: at.getTime() + 1, id: 'named' }), 'named');
    const newYear = new Date(Date.UTC(new Date(Date.now() + 3_600_000).getUTCFullYear(), 11, 31, 23));
    assert.deepEqual(await a.ask('list'), [
      ...[{ id, event: 'fire', next: at, args: [1, 'two'] }, { id: 'often', event: 'other', next: at, every: 300_000, args: [] }].sort((x, y) => (x.id < y.id ? -1 : 1)),
      { id: 'named', event: 'named again', next: new Date(at.getTime() + 1), args: [] },
      { id: 'cron', event: 'fire', next: newYear, cron: '0 0 1 1 *', timeZone: 'Europe/Vienna', args: [] },
    ]);
    await ctlOk(node, 'restart', 's/Job/list');
    assert.equal((await a.ask('list')).length, 4);
    for (const [name, was] of [[id, true], [id, false], ['named', true], ['often', true], ['cron', true], ['', false]]) assert.equal(await a.ask('cancel', name), was);
    assert.deepEqual(await a.ask('list'), []);
    await ctlOk(node, 'restart', 's/Job/list');
    assert.deepEqual(await a.ask('list'), []);
    assert.deepEqual(await a.ask('fired'), []);
  });

  test('intervals stay in step with their start, and cron comes with its second', async () => {
    const a = job('often');
    const start = new Date(Date.now() - 1_000_000_037);
    await a.ask('set', 'fire', { every: 150, start, id: 'e' }, 'every');
    await a.ask('set', 'fire', { cron: '* * * * * *', id: 'c' }, 'cron');
    const all = await until('both have fired', async () => {
      const some = await a.ask('fired');
      return ['every', 'cron'].every((w) => some.filter((f) => f[1] === w).length >= 3) && some;
    });
    const [e] = (await a.ask('list')).filter((t) => t.id === 'e');
    assert.equal((e.next - start) % 150, 0);
    const seconds = all.filter((f) => f[1] === 'cron').map((f) => Math.floor(f[0] / 1000));
    assert.equal(new Set(seconds).size, seconds.length);
    for (const id of ['e', 'c']) assert.equal(await a.ask('cancel', id), true);
    assert.deepEqual(await a.ask('list'), []);
  });

  test('in its own turn one that comes once is gone, one that repeats is not', async () => {
    const a = job('own');
    await a.ask('set', 'own', { after: '0ms', id: 'x' }, 'x');
    assert.deepEqual(await fired(a, 2), [[], false]);
    await a.ask('set', 'own', { every: 100, id: 'y' }, 'y');
    assert.deepEqual((await fired(a, 4)).slice(2), [['y'], true]);
    assert.deepEqual(await a.ask('list'), []);
  });

  test('a turn that answers with an error has set what it has set, one that crashes has not', async () => {
    const a = job('fails');
    await assert.rejects(a.ask('set and fail', 'fire', { after: '1h', id: 'x' }), /an answer/);
    await assert.rejects(a.ask('set and crash', 'fire', { after: '1h', id: 'y' }), { code: 'EFAILED' });
    assert.deepEqual((await a.ask('list')).map((t) => t.id), ['x']);
  });

  test('an actor that has hibernated is woken, and hibernates again', async () => {
    const a = job('woken', 'Sleeper');
    await a.ask('set', 'fire', '1s');
    const asleep = () => until('it hibernates', async () => (await actors(node, 's')).every((x) => x.address !== 's/Sleeper/woken'));
    await asleep();
    await until('it is awake', async () => (await actors(node, 's')).some((x) => x.address === 's/Sleeper/woken'));
    await asleep();
    assert.equal((await a.ask('fired')).length, 1);
  });

  test('what a start sets again goes on as it was', async () => {
    const a = job('p', 'Poller');
    await a.ask('get');
    let woken = 0, awake = true;
    await until('it was woken some times', async () => {
      const there = (await actors(node, 's')).some((x) => x.address === 's/Poller/p');
      if (there && !awake) woken++;
      awake = there;
      return woken >= 4;
    });
    const { polls, crons, starts } = await a.ask('get');
    assert.ok(starts >= 4 && polls >= 2 && crons >= 2, JSON.stringify({ polls, crons, starts }));
  });

  test('what nobody handles is removed, and is a dead letter', async () => {
    const a = job('unheard');
    await a.ask('set', 'nobody', { every: 100, id: 'x' }, 7);
    await until('it is gone', async () => (await a.ask('list')).length === 0);
    const [letter] = (await deadLetters(node, 's/Job/unheard')).filter((l) => l.event === 'nobody');
    assert.equal(letter.to, 's/Job/unheard');
    assert.match(letter.reason, /no handler/);
  });

  test('one that crashes its actor comes again, and is given up after the third time', async () => {
    const a = job('crash');
    await a.ask('set', 'crash', '0ms');
    const [letter] = await until('it is given up', async () => {
      const all = await deadLetters(node, 's/Job/crash');
      return all.length > 0 && all;
    });
    assert.match(letter.reason, /crashed s\/Job\/crash 3 times in a row, the last time of: Error: of the timer/);
    await until('it is gone', async () => (await a.ask('list')).length === 0);
    assert.deepEqual(await a.ask('fired'), []);
    await logged(node, 's/Job/crash', /given up/);
    assert.equal((await logs(node, 's/Job/crash')).filter((l) => /given up/.test(l)).length, 1);
  });

  test('ctl tells of them, also of actors that hibernate', async () => {
    const hour = 3_600_000, at = Date.now() + hour, a = job('told', 'Sleeper'), address = 's/Sleeper/told';
    await a.ask('set', 'fire', { every: '2h', start: at + 2, id: 'often' });
    await a.ask('set', 'once', { at, id: 'soon' }, 1, 2);
    await a.ask('set', 'fire', { cron: '0 0 1 1 *', timeZone: 'Europe/Vienna', id: 'cron' });
    await until('it hibernates', async () => !(await actors(node, 's')).some((x) => x.address === address));
    const { timers, more, unreachable } = await ctlWhole(node, 'timers', address);
    const cron = timers.find((t) => t.id === 'cron');
    assert.deepEqual(timers.filter((t) => t !== cron), [
      { address, id: 'soon', event: 'once', next: at, node: 'one' },
      { address, id: 'often', event: 'fire', next: at + 2, every: 2 * hour, node: 'one' },
    ]);
    assert.deepEqual([cron.cron, cron.time_zone, cron.event], ['0 0 1 1 *', 'Europe/Vienna', 'fire']);
    assert.deepEqual([timers.map((t) => t.next), more, unreachable], [timers.map((t) => t.next).sort((x, y) => x - y), false, []]);
    const of = await ctlWhole(node, 'timers', 's', '--top', '2');
    assert.deepEqual([of.timers.length, of.more], [2, true]);
    const every = await ctlWhole(node, 'timers', '--top', '1000');
    assert.deepEqual(every.timers.filter((t) => t.address === address).map((t) => t.id).sort(), ['cron', 'often', 'soon']);
    assert.equal(every.more, false);
    assert.match(await ctlOk(node, 'timers', address), /^DUE .*\n\S+ \S+ +59 min \d+ s +s\/Sleeper\/told +once +once +soon +one$/m);
    assert.match(await ctlOk(node, 'timers', 's/Job/none'), /^no timer of s\/Job\/none is set$/m);
    const none = await ctl(node, 'timers', 'nope');
    assert.deepEqual([none.status, /^ctl: ENOACTOR/.test(none.err)], [1, true], none.err);
    assert.equal((await ctl(node, 'timers', 'a/b')).status, 2);

    const b = job('told'), shown = async () => (await actors(node, 's')).find((x) => x.address === 's/Job/told');
    await b.ask('set', 'fire', { at: at + 1, id: 'later' });
    await b.ask('set', 'fire', { at, id: 'first' });
    let ps = await shown();
    assert.deepEqual([ps.timers, ps.next_timer], [2, at]);
    await ctlOk(node, 'restart', 's/Job/told');
    ps = await shown();
    assert.deepEqual([ps.timers, ps.next_timer], [2, at]);
    await b.ask('cancel', 'first');
    ps = await shown();
    assert.deepEqual([ps.timers, ps.next_timer], [1, at + 1]);
    await b.ask('cancel', 'later');
    ps = await shown();
    assert.deepEqual([ps.timers, 'next_timer' in ps], [0, false]);
    for (const id of ['cron', 'often', 'soon']) await a.ask('cancel', id);
    assert.deepEqual((await ctlWhole(node, 'timers', address)).timers, []);
  });

  test('turns do not overlap, but of an actor that is reentrant', async () => {
    for (const [type, order] of [['Job', ['begun', 'ended', 'begun', 'ended']], ['Both', ['begun', 'begun', 'ended', 'ended']]]) {
      const a = job('apart', type);
      const at = Date.now() + 200;
      for (const id of ['x', 'y']) await a.ask('set', 'slow', { at, id });
      await until(`${type} is done`, async () => (await a.ask('list')).length === 0);
      assert.deepEqual(await fired(a, 4), order, type);
    }
  });

  test('an actor of a shared isolate cannot set one for another', async () => {
    await job('lender', 'Shared').ask('lend');
    await assert.rejects(Promise.any(['1', '2', '3', '4', '5', '6', '7', '8'].map((k) => job(k, 'Shared').ask('use'))), (e) => e.errors.some((x) => x.code === 'EINVAL'));
  });

  test('bad input has clear words', async () => {
    const a = job('bad');
    const bad = [
      ['5x', TypeError, /duration such as "90s"/], [5000, RangeError, /write "5000ms"/], [NaN, RangeError, /not a valid time/], [Infinity, RangeError, /later than a Date/],
      [new Date(NaN), RangeError, /not a valid time/], [null, TypeError, /not null/], [undefined, TypeError, /not undefined/], [true, TypeError, /not true/], [{}, TypeError, /takes a time/],
      [{ at: 2e12, every: '5m' }, TypeError, /not both at and every/], [{ evry: '5m' }, TypeError, /no option "evry"/], [{ every: 10 }, RangeError, /100 or more/], [{ every: 1e3 / 7 }, RangeError, /whole number/],
      [{ every: 'often' }, TypeError, /every is a duration/], [{ after: 500 }, TypeError, /after is a duration/], [{ at: 'noon' }, TypeError, /at is a Date/], [{ at: {} }, TypeError, /at is a Date/], [{ every: '5m', start: 'now' }, TypeError, /start is/],
      [{ at: 2e12, start: 2e12 }, TypeError, /start goes with every/], [{ every: '5m', timeZone: 'UTC' }, TypeError, /timeZone goes with cron/], [{ after: '5m', id: '' }, TypeError, /not empty/], [{ after: '5m', id: 7 }, TypeError, /not empty/],
      [{ after: '5m', id: 'x'.repeat(257) }, Error, /at most 256 bytes/], [{ cron: 'x' }, TypeError, /"x" is not a cron expression/], [{ cron: 7 }, TypeError, /cron is a text/], [{ cron: '* * * * *', timeZone: 'Mars/Base' }, RangeError, /no time zone "Mars\/Base"/],
      [{ cron: '* * * * *', timeZone: 7 }, TypeError, /timeZone is a text/], [{ cron: '0 0 31 2 *' }, RangeError, /never comes/],
    ];
    for (const [when, kind, words] of bad) await assert.rejects(a.ask('set', 'fire', when), (e) => e.name === kind.name && words.test(e.message), `${JSON.stringify(when)}`);
    await assert.rejects(a.ask('set', '', '5m'), { name: 'TypeError', message: /not empty/ });
    await assert.rejects(a.ask('set', 7, '5m'), { name: 'TypeError', message: /not 7/ });
    await assert.rejects(a.ask('set', '\x01down', '5m'), { code: 'EINVAL' });
    await assert.rejects(a.ask('cancel', 7), { name: 'TypeError', message: /id of a timer/ });
    await assert.rejects(a.ask('set', 'fire', '5m', 'x'.repeat(70_000)), { code: 'ETOOBIG' });
    assert.deepEqual(await a.ask('list'), []);
  });

  test('there is room for 10,000', async () => {
    const a = job('many');
    assert.equal(await a.ask('many', 10_000, 'fire', '1h'), 10_000);
    await assert.rejects(a.ask('set', 'fire', '1h'), { code: 'EOVERLOAD', message: /10000 timers/ });
    await ctlOk(node, 'restart', 's/Job/many');
    assert.equal((await a.ask('list')).length, 10_000);
  });
});

describe('a node whose actor-host is killed', () => {
  const cluster = new Cluster();
  let node;
  before(async () => {
    node = await cluster.node('one', undefined, ['--threads', '2']);
    await cluster.deploy(node, 's', app);
  });
  after(() => cluster.end());

  test('each timer changes its actor once, and what it sends arrives once', async () => {
    const N = 20, EACH = 10;
    const all = Array.from({ length: N }, (_, k) => node.client.actor(`s/${k % 2 ? 'Shared' : 'Job'}`, `k${k}`));
    const insist = (a, ...args) => until(`${a.address} answers`, () => a.ask(...args).then((value) => ({ value }), (e) => (['EUNREACHABLE', 'ETIMEDOUT'].includes(e.code) ? undefined : Promise.reject(e)))).then((r) => r.value);
    for (const [k, a] of all.entries()) for (let i = 0; i < EACH; i++) await a.ask('set', 'tell', { after: `${(k * EACH + i) * 10}ms`, id: `${i}` }, 's/Sink/1', 1);
    const sink = node.client.actor('s/Sink', '1');
    for (const n of [1, 70, 140]) {
      await until(`${n} have come`, async () => (await insist(sink, 'get')) >= n);
      await killHost(node);
    }
    for (const a of all) await until(`${a.address} has done all`, async () => (await insist(a, 'fired')).length >= EACH);
    await until('all have come', async () => (await insist(sink, 'get')) >= N * EACH);
    for (const a of all) {
      assert.equal((await insist(a, 'fired')).length, EACH, a.address);
      assert.deepEqual(await insist(a, 'list'), []);
    }
    assert.equal(await sink.ask('get'), N * EACH);
  });
});

describe('two nodes', () => {
  const cluster = new Cluster();
  let east, west;
  before(async () => {
    east = await cluster.node('east');
    await cluster.deploy(east, 's', app);
  });
  after(() => cluster.end());

  test('timers go with their actors to a node that joins, and fire there, once', async () => {
    const N = 40;
    const all = Array.from({ length: N }, (_, k) => `s/Job/${k}`);
    for (const a of all) {
      await east.client.actor(a).ask('set', 'tell', { after: '4s', id: 'x' }, 's/Sink/1', 1);
      await east.client.actor(a).ask('set', 'fire', { every: '1h', id: 'y' });
    }
    west = await cluster.node('west', east);
    await until('all have come', async () => (await east.client.actor('s/Sink/1').ask('get')) >= N);
    const there = (await actors(east, 's')).filter((a) => a.address.startsWith('s/Job/'));
    assert.deepEqual(new Set(there.map((a) => a.node)), new Set(['east', 'west']));
    for (const a of all) {
      const ref = west.client.actor(a);
      assert.equal((await ref.ask('fired')).length, 1, a);
      assert.deepEqual((await ref.ask('list')).map((t) => t.id), ['y'], a);
    }
    assert.equal(await east.client.actor('s/Sink/1').ask('get'), N);
  });
});
