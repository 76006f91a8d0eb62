// SPDX-License-Identifier: Apache-2.0
//
// What an actor's author relies on, on one node: modules, handlers, turns, errors, state, timers, subscriptions, failure.
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { after, before, describe, test } from 'node:test';


import { ASK, decodeEnvelope, EMIT, encodeFrame, FAIL, FrameParser } from '../../actors/lib/client/envelope.js';
import { actors, clock, Cluster, ctl, killHost, logged, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let node;
let ref;

before(async () => {
  node = await cluster.node('one');
  ref = (type, key) => node.client.actor(type, key);
  await cluster.deploy(node, 'main', {
    'isola.json': {
      permissions: { apps: ['nowhere'] },
      name: 'app',
      actors: {
        Fn: { module: './fn.js' },
        Shared: { module: './fn.js', isolation: 'shared' },
        Klass: { module: './class.js' },
        Common: { module: './common.cjs' },
        Typed: { module: './typed.ts' },
        Plain: { module: './plain.js' },
        PlainShared: { module: './plain.js', isolation: 'shared' },
        Reentrant: { module: './fn.js', reentrant: true },
        Small: { module: './fn.js', mailbox: 4 },
        Bad: { module: './bad.js' },
      },
    },
    'plain.js': `
      import { actor } from 'isola';
      // Messages and then an answer.
      export default (self) => {
        const tell = (address, n) => { for (let i = 0; i < n; i++) actor(address).emit('noted', i); };
        self.on('tells', (address, n) => { tell(address, n); return -1; });
        self.on('tells-text', (address, n) => { tell(address, n); return 'answer'; });
        self.on('tells-later', async (address, n) => { tell(address, n); await null; tell(address, n); return -1; });
      };`,
    'fn.js': `
      import { actor } from 'isola';
      import { double } from './lib/double.js';
      import tells from './plain.js';
      import data from './lib/data.json';
      export default (self) => {
        self.state.n ??= 0;
        let live = 0;
        let gate;
        self.on('double', double);
        self.on('data', () => data.answer);
        self.on('echo', (...args) => (args.length < 2 ? args[0] : args));
        self.on('add', (by = 1) => (self.state.n += by));
        self.on('get', () => self.state.n);
        self.on('set', (v) => { self.state.n = v; });
        self.on('replace', (v) => { self.state = v; });
        self.on('all', () => self.state);
        self.on('later', async (ms) => { await new Promise((r) => setTimeout(r, ms)); return 'late'; });
        self.on('open', () => gate?.());
        self.on('wait', () => new Promise((r) => { gate = r; }));
        self.on('overlap', async () => { live++; await new Promise((r) => setTimeout(r, 5)); const n = live; live--; return n; });
        self.on('throw', (m) => { throw new TypeError(m); });
        self.on('code', () => { throw Object.assign(new Error('mine'), { code: 'EMINE', cause: new Error('below') }); });
        self.on('throw-string', () => { throw 'just text'; });
        self.on('reject', async () => { await null; throw new RangeError('later'); });
        self.on('stray', () => { Promise.reject(new Error('nobody waits for me')); });
        self.on('timer-throw', () => { setTimeout(() => { throw new Error('in a timer'); }, 1); });
        self.on('say', (...args) => console.log(...args));
        self.on('shout', (text) => console.error(text));
        self.on('publish', (event, ...args) => self.emit(event, ...args));
        self.on('function', () => () => {});
        self.on('store-function', () => { self.state.f = { g: [() => {}] }; });
        self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
        self.on('ask-for', (timeout, address, event) => actor(address).ask(event, { timeout }));
        self.on('tell', (address, event, ...args) => actor(address).emit(event, ...args));
        // Their answers are the other's: what was sent to it before, the subscription, is there.
        self.on('follow', (address, event) => { actor(address).on(event, (v) => { self.state.n += v; self.emit('heard', self.state.n); }); return actor(address).ask('get'); });
        self.on('follow-once', (address, event) => new Promise((done) => actor(address).once(event, done)));
        // What handles 'greet', as it is changed every way there is.
        const hi = () => 'hi', ho = (n) => 'ho ' + n;
        self.on('greet', hi);
        self.on('change', (how) => {
          if (how === 'replace') { self.off('greet', hi); self.on('greet', ho); }
          else if (how === 'two') { self.prependListener('greet', () => undefined); }
          else if (how === 'all') { self.removeAllListeners('greet'); }
          else if (how === 'once') { self.once('greet', () => 'once'); }
          else if (how === 'inherited') { Object.getPrototypeOf(Object.getPrototypeOf(self)).on.call(self, 'greet', ho); }
          else if (how === 'by hand') { self._events.greet = hi; }
          else if (how === 'assign') { self._events = Object.assign(Object.create(null), self._events, { greet: ho }); }
        });
        const notes = [];
        self.on('noted', (n) => { notes.push(n); });
        self.on('notes', () => notes.splice(0));
        self.on('hear', async (address, event, n) => { notes.push(await actor(address).ask(event, self.address, n)); });
        tells(self);
        const heard = [];
        let other;
        self.on('other', (address) => { other = actor(address); other.on('news', (n) => heard.push(n)); return other.ask('get').then(() => [other.listenerCount('news'), other.eventNames().includes('news')]); });
        self.on('deaf', async () => { other.removeAllListeners(); await other.ask('get'); return other.listenerCount('news'); });
        self.on('again', () => { other.once('news', (n) => heard.push(n)); return other.ask('get'); });
        self.on('heard', () => heard);
        self.on('ref', () => actor('app/Fn', 'friend'));
        self.on('me', () => self);
        self.on('who', () => [self.app, self.type, self.key, self.address]);
        self.on('keep', (r) => { self.state.friend = r; });
        self.on('friend', () => self.state.friend.ask('who'));
        self.on('sequence', async () => {
          const seen = [];
          setTimeout(() => seen.push('timer'), 1);
          queueMicrotask(() => seen.push('microtask'));
          seen.push('sync');
          await new Promise((r) => setTimeout(r, 20));
          return seen;
        });
        self.on('interval', () => new Promise((done) => { let n = 0; const t = setInterval(() => { if (++n === 3) { clearInterval(t); done(n); } }, 2); }));
        self.on('cleared', async () => { let fired = false; const t = setTimeout(() => { fired = true; }, 1); clearTimeout(t); await new Promise((r) => setTimeout(r, 10)); return fired; });
        self.on('filled', (bytes) => [bytes.length, bytes.buffer.byteLength, bytes.byteOffset, [...bytes.fill(9)]]);
        self.on('background', () => { setTimeout(() => { self.state.n = 77; }, 1); });
self.on('globals', async () => {
          const order = [];
          const all = new Promise((done) => setTimeout(() => { order.push('timer'); done(); }, 1));
          Promise.resolve().then(() => order.push('promise'));
          process.nextTick(() => order.push('tick'));
          order.push('sync');
          await all;
          let fs = 'found';
          try { require('fs'); } catch { fs = 'missing'; }
          const controller = new AbortController();
          controller.abort();
          return { host: new URL('https://a.example/b?c=d').host, bytes: new TextEncoder().encode('aü').length, text: new TextDecoder().decode(new Uint8Array([0xc3, 0xbc])),
            base64: btoa('hi'), same: structuredClone(new Map([[1, 2]])).get(1) === 2, uuid: crypto.randomUUID().length, aborted: controller.signal.aborted, order, fs };
        });
      };`,
    'lib/double.js': 'export const double = (n) => n * 2;',
    'lib/data.json': { answer: 42 },
    'class.js': `
      export default class Counter {
        #secret = 1;
        started = false;
        constructor() { this.state.made = (this.state.made ?? 0) + 1; }
        async onActivate() { await null; this.started = true; }
        onHibernate() { this.state.slept = (this.state.slept ?? 0) + 1; }
        add(by = 1) { this.state.n = (this.state.n ?? 0) + by; this.emit('changed', this.state.n); return this.state.n; }
        get() { return { ...this.state, started: this.started, secret: this.#secret, key: this.key }; }
        _hidden() { return 'no'; }
      }`,
    'common.cjs': `
      const { actor } = require('isola');
      const { greet } = require('./lib/greet.cjs');
      module.exports = (self) => { self.on('greet', greet); self.on('relay', (n) => actor('app/Fn', 'x').ask('double', n)); };`,
    'lib/greet.cjs': 'exports.greet = (name) => "hello " + name;',
    'typed.ts': `
      interface Sum { a: number; b: number }
      export default (self: any): void => { self.on('sum', ({ a, b }: Sum): number => a + b); };`,
    'bad.js': `
      export default (self) => {
        if (self.key === 'throws') throw new Error('cannot start');
        if (self.key === 'rejects') return Promise.reject(new Error('cannot start later'));
        self.on('fine', () => true);
      };`,
  });
});

after(() => cluster.end());

describe('modules', () => {
  test('a function, its imports and JSON', async () => {
    assert.equal(await ref('app/Fn', 'x').ask('double', 21), 42);
    assert.equal(await ref('app/Fn', 'x').ask('data'), 42);
  });
  test('a class: methods are handlers, hooks and _names are not', async () => {
    const c = ref('app/Klass', 'k');
    assert.equal(await c.ask('add', 5), 5);
    assert.deepEqual(await c.ask('get'), { made: 1, n: 5, started: true, secret: 1, key: 'k' });
    for (const name of ['onActivate', '_hidden', 'constructor', 'toString', 'emit', 'on'])
      await assert.rejects(c.ask(name), { code: 'ENOACTOR' }, name);
  });
  test('a class hears of the end of its activation', async () => {
    const c = ref('app/Klass', 'sleeper');
    await c.ask('add');
    assert.equal((await ctl(node, 'stop', 'app/Klass/sleeper')).status, 0);
    const state = await c.ask('get');
    assert.equal(state.slept, 1);
    assert.equal(state.made, 2);
  });
  test('CommonJS, with require of its own files and of isola', async () => {
    assert.equal(await ref('app/Common', 'x').ask('greet', 'you'), 'hello you');
    assert.equal(await ref('app/Common', 'x').ask('relay', 4), 8);
  });
  test('TypeScript', async () => assert.equal(await ref('app/Typed', 'x').ask('sum', { a: 1, b: 2 }), 3));
  test('what a script finds: web APIs and pure modules of Node.js, and no more', async () => {
    assert.deepEqual(await ref('app/Fn', 'x').ask('globals'), {
      host: 'a.example', bytes: 3, text: 'ü', base64: 'aGk=', same: true, uuid: 36, aborted: true, order: ['sync', 'tick', 'promise', 'timer'], fs: 'missing',
    });
  });
});

for (const type of ['Fn', 'Shared']) {
  describe(`turns and messages (${type})`, () => {
    const at = (key) => ref(`app/${type}`, key);

    test('one message at a time, in order', async () => {
      const a = at('turns');
      assert.deepEqual(await Promise.all(Array.from({ length: 5 }, () => a.ask('overlap'))), [1, 1, 1, 1, 1]);
      assert.deepEqual(await Promise.all(Array.from({ length: 50 }, () => a.ask('add'))), Array.from({ length: 50 }, (_, i) => i + 1));
    });
    test('emits and asks of one sender keep their order', async () => {
      const a = at('order');
      for (let i = 0; i < 100; i++) a.emit('set', i);
      assert.equal(await a.ask('get'), 99);
    });
    test('few bytes, and many, are each an array of their own', async () => {
      const a = at('bytes'), made = (n, k) => Uint8Array.from({ length: n }, (_, i) => i * 7 + k);
      const sizes = [0, 1, 7, 8, 63, 64, 65, 200], all = Array.from({ length: 50 }, (_, k) => sizes.map((n) => made(n, k))).flat();
      assert.deepEqual(await Promise.all(all.map((bytes) => a.ask('echo', bytes))), all);
      assert.deepEqual(await Promise.all(all.map((bytes) => a.ask('filled', bytes))), all.map(({ length }) => [length, length, 0, Array(length).fill(9)]));
      assert.deepEqual(await a.ask('echo', made(64, 1), made(64, 2)), [made(64, 1), made(64, 2)]);
    });
    test('values of every kind arrive as they were', async () => {
      const a = at('values');
      const cycle = { name: 'loop' };
      cycle.self = cycle;
      const values = [
        null, undefined, true, 0, -0, 1, -1, 127, 128, -32, -33, 65535, 65536, 2 ** 31, 2 ** 53, -(2 ** 53), 1e300, 0.1, NaN, Infinity,
        '', 'text', 'ünïcödé ☃ 𝄞', 'x'.repeat(70000), 10n, -(2n ** 200n), 0n, new Date(1e12), new Date(NaN), /a.b/giu,
        [], [1, [2, [3]]], {}, { a: { b: { c: [] } }, 'with space': 1, ['__proto__']: 7 }, new Map([[{ k: 1 }, 'v'], ['x', new Set([1, 'two'])]]),
        new Set([1, [2]]), new Uint8Array([1, 2, 255]), new Int8Array([-1]), new Uint8ClampedArray([300]), new Int16Array([-300]), new Uint16Array([60000]),
        new Int32Array([-70000]), new Uint32Array([4e9]), new Float32Array([1.5]), new Float64Array([Math.PI]), new BigInt64Array([-5n]), new BigUint64Array([5n]),
        new DataView(new ArrayBuffer(3)), new ArrayBuffer(5), new Error('plain'), new TypeError('typed'),
      ];
      for (const value of values) {
        const back = await a.ask('echo', value);
        if (value instanceof Error) assert.deepEqual([back.name, back.message], [value.name, value.message]);
        else assert.deepEqual(back, value);
      }
      const back = await a.ask('echo', cycle);
      assert.equal(back.self, back);
      const shared = { s: 1 };
      const [one, two] = await a.ask('echo', [shared, shared]);
      assert.equal(one, two);
    });
    test('errors cross with name, message, code, cause and stack', async () => {
      const a = at('errors');
      await assert.rejects(a.ask('throw', 'oh'), (e) => e instanceof TypeError && e.message === 'oh' && /fn\.js|isola:app/.test(e.remoteStack));
      await assert.rejects(a.ask('code'), (e) => e.code === 'EMINE' && e.cause.message === 'below');
      await assert.rejects(a.ask('reject'), { name: 'RangeError', message: 'later' });
      await assert.rejects(a.ask('throw-string'), /just text/);
      assert.equal(await a.ask('add'), 1, 'an error that answers an ask does not end the actor');
    });
    test('what cannot be sent says where', async () => {
      await assert.rejects(at('clone').ask('function'), { code: 'ECLONE', message: /^value: a function cannot be sent/ });
      await assert.rejects(at('clone').ask('ask', 'app/Fn/y', 'function'), { code: 'ECLONE' });
    });
    test('no handler', async () => {
      await assert.rejects(at('none').ask('nope'), { code: 'ENOACTOR', message: /has no handler for "nope"/ });
    });
    test('asks between actors, refs as values and in state', async () => {
      const a = at('refs');
      assert.equal(await a.ask('ask', `app/${type}/other`, 'double', 8), 16);
      assert.equal((await a.ask('ref')).address, 'app/Fn/friend');
      assert.equal((await a.ask('me')).address, `app/${type}/refs`);
      await a.ask('keep', node.client.actor('app/Fn', 'friend'));
      assert.deepEqual(await a.ask('friend'), ['app', 'Fn', 'friend', 'app/Fn/friend']);
      await assert.rejects(a.ask('ask', 'not an address', 'x'), { code: 'EINVAL' });
      await assert.rejects(a.ask('ask', 'nowhere/X/y', 'x'), { code: 'ENOACTOR', message: /no app "nowhere"/ });
      await assert.rejects(a.ask('ask', 'app/Nope/y', 'x'), { code: 'ENOACTOR', message: /no actor type "Nope"/ });
    });
    test('timers run in order and can be cleared', async () => {
      const a = at('timers');
      assert.equal(await a.ask('later', 5), 'late');
      assert.deepEqual(await a.ask('sequence'), ['sync', 'microtask', 'timer']);
      assert.equal(await a.ask('interval'), 3);
      assert.equal(await a.ask('cleared'), false);
    });
    test('an ask times out, and the actor goes on', async () => {
      const a = at('slow');
      await assert.rejects(a.ask('ask-for', 30, `app/${type}/stuck`, 'wait'), { code: 'ETIMEDOUT', message: /^ask "wait" of app\/\w+\/stuck timed out: 30 ms are over, or what was left of the ask that led to it$/ });
      await assert.rejects(a.ask('wait', { timeout: 30 }), { code: 'ETIMEDOUT' });
    });
    test('an ask that would wait for itself fails at once', async () => {
      const [a, b] = [at('dead-a'), at('dead-b')];
      const asked = clock.now();
      await assert.rejects(a.ask('ask', a.address, 'get'), { code: 'EDEADLOCK', message: /dead-a → app\/\w+\/dead-a/ });
      await assert.rejects(a.ask('ask', b.address, 'ask', a.address, 'get'), { code: 'EDEADLOCK', message: /dead-a → .*dead-b → .*dead-a/ });
      assert.ok(clock.now() - asked < 5000);
      assert.equal(await a.ask('get'), 0);
    });
    test('a message is handled by those who listen when it comes', async () => {
      const a = at('handlers');
      const greet = async (how) => {
        if (how !== undefined) await a.ask('change', how);
        return [await a.ask('greet', 1), await a.ask('greet', 2)]; // the second goes by what the first has found
      };
      assert.deepEqual(await greet(), ['hi', 'hi']);
      assert.deepEqual(await greet('replace'), ['ho 1', 'ho 2']);
      assert.deepEqual(await greet('two'), ['ho 1', 'ho 2']);
      await a.ask('change', 'all');
      await assert.rejects(a.ask('greet'), { code: 'ENOACTOR' });
      await a.ask('change', 'once');
      assert.equal(await a.ask('greet'), 'once');
      await assert.rejects(a.ask('greet'), { code: 'ENOACTOR' });
      assert.deepEqual(await greet('inherited'), ['ho 1', 'ho 2']);
      assert.deepEqual(await greet('by hand'), ['hi', 'hi']);
      assert.deepEqual(await greet('assign'), ['ho 1', 'ho 2']);
    });
    test('what a turn has sent is there before its answer', async () => {
      // Reentrant, so that it takes the messages while it waits for the answer.
      const listener = ref('app/Reentrant', `order-${type}`);
      for (const teller of [at('teller'), ref(type === 'Fn' ? 'app/Plain' : 'app/PlainShared', 'teller')]) { // with state, and without
        for (const n of [1, 3, 700, 5000]) {
          const all = [...Array(n).keys()];
          await listener.ask('hear', teller.address, 'tells', n);
          assert.deepEqual(await listener.ask('notes'), [...all, -1]);
          await listener.ask('hear', teller.address, 'tells-text', n);
          assert.deepEqual(await listener.ask('notes'), [...all, 'answer']);
        }
        await listener.ask('hear', teller.address, 'tells-later', 300);
        assert.deepEqual(await listener.ask('notes'), [...Array(300).keys(), ...Array(300).keys(), -1]);
      }
    });
    test('a ref can be listened to again when all listeners were removed', async () => {
      const source = at('source-again'), a = at('listens-again');
      assert.deepEqual(await a.ask('other', source.address), [1, true]);
      await source.ask('publish', 'news', 1);
      await until('it is heard', async () => (await a.ask('heard')).length === 1);
      assert.equal(await a.ask('deaf'), 0);
      await source.ask('publish', 'news', 2);
      await a.ask('again');
      await source.ask('publish', 'news', 3);
      await until('the third is heard', async () => (await a.ask('heard')).length === 2);
      assert.deepEqual(await a.ask('heard'), [1, 3]);
    });
    test('subscriptions: what self emits reaches clients and actors', async () => {
      const source = at('source');
      const heard = [];
      const listener = (...args) => heard.push(args);
      source.on('news', listener);
      await source.ask('get'); // after the subscription, in order
      await source.ask('publish', 'news', 1, { two: 2 });
      await until('the event arrives', () => heard.length === 1);
      assert.deepEqual(heard, [[1, { two: 2 }]]);
      source.off('news', listener);
      const follower = at('follower');
      await follower.ask('follow', source.address, 'news');
      const sums = [];
      follower.on('heard', (n) => sums.push(n));
      await follower.ask('get');
      await source.ask('publish', 'news', 5);
      await source.ask('publish', 'news', 6);
      await until('the follower has heard both', () => sums.length === 2);
      assert.deepEqual(sums, [5, 11]);
      follower.removeAllListeners();
    });
  });
}

test('reentrant actors take messages while they wait', async () => {
  const a = ref('app/Reentrant', 'r');
  const waiting = a.ask('wait');
  await until('the gate is there', async () => { await a.ask('open'); return true; });
  await waiting;
  assert.ok((await Promise.all([a.ask('overlap'), a.ask('overlap'), a.ask('overlap')])).some((n) => n > 1));
  assert.equal(await a.ask('ask', a.address, 'double', 2), 4);
  const source = ref('app/Fn', 'single');
  const once = a.ask('follow-once', source.address, 'single');
  await until('it subscribes', () => source.ask('publish', 'single', 'got it'));
  assert.equal(await once, 'got it');
});

test('a full mailbox refuses', async () => {
  const a = ref('app/Small', 's'), over = new AbortController(), { signal } = over;
  await a.ask('get');
  const asks = [a.ask('wait', { signal }), ...Array.from({ length: 20 }, () => a.ask('get', { signal }))];
  await Promise.any(asks.map((ask) => assert.rejects(ask, { code: 'EOVERLOAD' })));
  over.abort();
  const rest = (await Promise.allSettled(asks)).filter((r) => r.reason?.code !== 'EOVERLOAD');
  assert.ok(rest.length > 3 && rest.every((r) => r.reason === signal.reason), 'the others wait');
});

describe('state', () => {
  test('survives SIGKILL of the actor-host once acknowledged', async () => {
    for (const type of ['Fn', 'Shared']) {
      const a = ref(`app/${type}`, 'durable');
      await a.ask('replace', { n: 1, map: new Map([['k', new Date(5)]]), big: 10n });
      for (let i = 0; i < 10; i++) await a.ask('add');
      await killHost(node);
      assert.deepEqual(await a.ask('all'), { n: 11, map: new Map([['k', new Date(5)]]), big: 10n });
    }
  });
  test('survives a stop, and changes outside of a turn are kept', async () => {
    const a = ref('app/Fn', 'background');
    await a.ask('background');
    await until('the timer has run', async () => (await a.ask('get')) === 77);
    await ctl(node, 'stop', 'app/Fn/background');
    assert.equal(await a.ask('get'), 77);
  });
  test('what cannot be stored is undone, and the asker hears why it failed', async () => {
    const a = ref('app/Fn', 'unstorable');
    await a.ask('add', 3);
    await assert.rejects(a.ask('store-function'), { code: 'EFAILED' });
    assert.deepEqual(await a.ask('all'), { n: 3 });
    await logged(node, 'app/Fn/unstorable', /its state cannot be saved: .*state\.f\.g\[0\]: a function cannot be sent/);
  });
});

describe('failure', () => {
  for (const type of ['Fn', 'Shared']) {
    test(`an uncaught error restarts the actor from its last saved state (${type})`, async () => {
      const a = ref(`app/${type}`, 'crash');
      await a.ask('add', 4);
      for (const how of ['throw', 'stray', 'timer-throw']) {
        a.emit(how, 'crash me');
        await until(`${how} is logged`, async () => (await node.client.call('logs', { address: a.address, lines: 1000 })).lines
          .some((l) => l.level === 'error' && /crashed/.test(l.text) && /crash me|nobody waits|in a timer/.test(l.text)));
        assert.equal(await a.ask('get'), 4);
      }
    });
  }
  test('asks that a crash interrupts fail, the next ones do not', async () => {
    const a = ref('app/Reentrant', 'crash');
    const waiting = a.ask('wait');
    a.emit('throw', 'crash');
    await assert.rejects(waiting, { code: 'EFAILED' });
    assert.equal(await a.ask('get'), 0);
  });
  test('an actor that cannot start says why, and is listed as failed', async () => {
    for (const key of ['throws', 'rejects']) {
      await assert.rejects(ref('app/Bad', key).ask('fine'), { code: 'EFAILED', message: /cannot start/ });
      await until('failed', async () => (await actors(node, 'app')).find((a) => a.address === `app/Bad/${key}`)?.state === 'failed');
    }
    assert.equal(await ref('app/Bad', 'good').ask('fine'), true);
  });
});

describe('logs and ps', () => {
  test('console goes to the log with its level and address', async () => {
    const a = ref('app/Fn', 'logger');
    await a.ask('say', 'hello %s', 'you', { a: [1, { b: 2 }] }, 3);
    await a.ask('shout', 'loud');
    await logged(node, 'app/Fn/logger', /^hello you \{ a: \[ 1, \{ b: 2 \} \] \} 3$/);
    await logged(node, 'app/Fn/logger', /^loud$/);
    const { lines } = await node.client.call('logs', { address: 'app/Fn/logger', lines: 10 });
    const loud = lines.find((l) => l.text === 'loud');
    assert.deepEqual([loud.level, loud.node, loud.address], ['error', 'one', 'app/Fn/logger']);
  });
  test('ps lists every live actor with all it promises', async () => {
    const a = ref('app/Fn', 'listed');
    await a.ask('get');
    await a.ask('get');
    const row = (await actors(node, 'app')).find((x) => x.address === 'app/Fn/listed');
    const { start, start_reason: why, ...rest } = row; // birth_test.mjs has all of them
    assert.ok(start === 'snapshot' ? why === undefined : start !== undefined && why !== '');
    assert.deepEqual({ ...rest, thread: 0, heap: 0, cpu_us: 0, release: '' },
      { address: 'app/Fn/listed', isolation: 'isolate', node: 'one', thread: 0, state: 'idle', mailbox: 0, turns: 2, timers: 0, heap: 0, cpu_us: 0, release: '' });
    assert.ok(row.heap > 100_000 && row.heap < 50_000_000);
  });
});

describe('deploys', () => {
  const app = (text) => ({ 'isola.json': { name: 'up', actors: { A: { module: './a.js' }, S: { module: './a.js', isolation: 'shared' } } }, 'a.js': text });
  const counter = (version) => app(`export default (self) => { self.state.n ??= 0; self.on('go', () => ['${version}', ++self.state.n]); };`);

  test('a new release takes over with the state', async () => {
    await cluster.deploy(node, 'up', counter('v1'));
    for (const type of ['A', 'S']) assert.deepEqual(await ref(`up/${type}`, 'x').ask('go'), ['v1', 1]);
    await cluster.deploy(node, 'up', counter('v2'));
    for (const type of ['A', 'S']) assert.deepEqual(await ref(`up/${type}`, 'x').ask('go'), ['v2', 2]);
    const again = await cluster.deploy(node, 'up', counter('v2'));
    assert.equal(again.unchanged, true);
  });
  test('messages in flight during a deploy are neither lost nor reordered', async () => {
    await cluster.deploy(node, 'up', counter('w1'));
    const a = ref('up/A', 'flight');
    const answers = [];
    let stop = false;
    const load = (async () => { while (!stop) answers.push(...await Promise.all(Array.from({ length: 20 }, () => a.ask('go')))); })();
    await until('it runs', () => answers.length > 20);
    await cluster.deploy(node, 'up', counter('w2'));
    await until('the new one answers', () => answers.at(-1)?.[0] === 'w2');
    stop = true;
    await load;
    assert.deepEqual(answers.map(([, n]) => n), answers.map((_, i) => i + 1));
  });
  for (const [what, text, says] of [
    ['does not parse', 'export default (self) => {', /a\.js:1:\d+/],
    ['throws at load', 'throw new Error("at load");', /at load/],
    ['exports nothing', 'const x = 1;', /must export a function or a class/],
    ['exports a number', 'export default 5;', /default export is a number/],
    ['loops while it loads', 'for (;;) {}', /more than 1000 ms of CPU while it started/],
    ['never finishes loading', 'await new Promise(() => {});', /not finished loading/],
  ]) {
    test(`a module that ${what} is refused and changes nothing`, async () => {
      await cluster.deploy(node, 'up', counter('good'));
      const r = await ctl(node, 'deploy', cluster.app('up', app(text)));
      assert.equal(r.status, 1);
      assert.match(r.err, says);
      assert.equal((await ref('up/A', 'still').ask('go'))[0], 'good');
    });
  }
});

test('ps lists as many as are wanted and counts all', async () => {
  await cluster.deploy(node, 'many', { 'isola.json': { name: 'many', actors: { S: { module: './s.js', isolation: 'shared', hibernateAfter: 'never' } } }, 's.js': "export default (self) => { self.on('go', () => 1); };" });
  await Promise.all(Array.from({ length: 200 }, (_, i) => ref('many/S', `k${i}`).ask('go')));
  for (const [params, listed] of [[{}, 200], [{ limit: 0 }, 0], [{ limit: 7 }, 7]]) {
    const some = await whole(node, 'ps', { app: 'many', ...params });
    assert.deepEqual([some.actors.length, some.total], [listed, 200]);
    const none = await whole(node, 'ps', { app: 'nope', ...params });
    assert.deepEqual([none.actors.length, none.total], [0, 0]);
  }
  // Those of other apps hibernate one by one.
  await until('nodes has as many as ps', async () => (await node.client.call('nodes')).nodes[0].actors === (await node.client.call('ps')).total);
});

test('values that are malformed never reach an actor', async () => {
  const a = ref('app/Fn', 'hostile');
  assert.equal(await a.ask('add'), 1);
  const socket = createConnection(node.socket);
  const frames = new FrameParser();
  const replies = [];
  socket.on('data', (chunk) => frames.push(chunk, (frame) => replies.push(decodeEnvelope(Buffer.from(frame)))));
  const send = (kind, id) => {
    const frame = Buffer.from(encodeFrame({ kind, id, dst: 'app/Fn/hostile', event: 'set', args: ['XXXX'] }));
    Buffer.from('c70209ffff', 'hex').copy(frame, frame.indexOf('XXXX') - 1); // a reference to an object that is not there
    socket.write(frame);
  };
  send(EMIT, 0);
  send(ASK, 7);
  await until('it is refused', () => replies.length > 0);
  socket.destroy();
  assert.equal(replies[0].kind, FAIL);
  assert.match(Buffer.from(replies[0].args).toString('latin1'), /EPROTO/);
  assert.equal(await a.ask('get'), 1);
});

test('references after an error, and long chains of causes, cross', async () => {
  const shared = { s: 1 };
  const [error, one, two] = await ref('app/Fn', 'refs').ask('echo', [new Error('e', { cause: shared }), shared, shared]);
  assert.equal(one, two);
  assert.equal(error.cause, one);
  let chain;
  for (let i = 0; i < 150; i++) chain = new Error(`cause ${i}`, { cause: chain });
  await assert.rejects(ref('app/Fn', 'refs').ask('echo', chain), { code: 'ECLONE' });
});
