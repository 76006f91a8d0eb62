// SPDX-License-Identifier: Apache-2.0
//
// What scripts find, in real actors, alone in their isolate and in one they share: the web's objects and Node's modules as Node.js has
// them, the order of the event loop, AsyncLocalStorage, and what remains when a script has broken all it can reach.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import * as corpus from '../conformance/corpus.mjs';
import { differences, evaluate, plain } from '../conformance/evaluate.mjs';
import { actors, Cluster, until } from './cluster.mjs';

const cluster = new Cluster();
let node;

before(async () => {
  node = await cluster.node('one');
  await cluster.deploy(node, 'web', {
    'isola.json': { name: 'web', actors: { I: { module: './run.js' }, S: { module: './run.js', isolation: 'shared' } } },
    'run.js': `
      import { actor } from 'isola';
      const evaluate = ${evaluate};
      const AsyncFunction = (async () => {}).constructor;
      export default (self) => {
        self.state.n ??= 0;
        self.on('evaluate', evaluate);
        self.on('run', (code, ...args) => new AsyncFunction('self', 'actor', 'args', code)(self, actor, args));
        self.on('echo', (v) => v);
        self.on('add', (by) => (self.state.n += by));
        self.on('later', (ms, v) => new Promise((done) => { setTimeout(done, ms, v); }));
      };`,
  });
});
after(() => cluster.end());

for (const type of ['I', 'S']) {
  const ref = (key) => node.client.actor(`web/${type}`, key);
  const run = (code, ...args) => ref('one').ask('run', code, ...args);
  describe(type === 'I' ? 'isolate' : 'shared', () => {
    for (const area of ['web', 'events', 'streams', 'assertions', 'querystring', 'crypto', 'zlib', 'outside']) {
      test(`${area} as in Node.js`, async () => {
        const cases = corpus[area];
        const [actual, expected] = await Promise.all([ref(area).ask('evaluate', cases), plain(cases)]);
        const different = differences(cases, actual, expected);
        if (different !== '') assert.fail(different);
      });
    }

    test('the globals of the minimum common API are there', async () => {
      const names = `AbortController AbortSignal Blob ByteLengthQueuingStrategy CompressionStream CountQueuingStrategy DecompressionStream Crypto CryptoKey CustomEvent DOMException ErrorEvent Event EventTarget
        File FormData Headers MessageChannel MessageEvent MessagePort ReadableByteStreamController ReadableStream ReadableStreamBYOBReader ReadableStreamBYOBRequest ReadableStreamDefaultController
        ReadableStreamDefaultReader Request Response SubtleCrypto TextDecoder TextDecoderStream TextEncoder TextEncoderStream TransformStream TransformStreamDefaultController URL URLPattern
        URLSearchParams WritableStream WritableStreamDefaultController WritableStreamDefaultWriter
        atob btoa clearInterval clearTimeout console crypto fetch navigator performance queueMicrotask reportError self setInterval setTimeout structuredClone
        Buffer clearImmediate global process require setImmediate`.trim().split(/\s+/);
      assert.deepEqual(await run('return args[0].filter((name) => globalThis[name] === undefined)', names), []);
      assert.deepEqual(await run('return Object.keys(globalThis)'), [], 'and none shows when they are listed');
      assert.equal(await run(`return typeof navigator.userAgent`), 'string');
    });
    test('modules: with and without node:, imported and required, the same objects', async () => {
      assert.deepEqual(await run(`
        const out = [];
        for (const m of ['assert', 'buffer', 'crypto', 'events', 'path', 'process', 'punycode', 'querystring', 'stream', 'stream/promises', 'stream/web', 'string_decoder', 'timers', 'timers/promises', 'url', 'util', 'util/types', 'async_hooks', 'diagnostics_channel', 'perf_hooks', 'constants', 'zlib', 'os', 'tty', 'console'])
          { const i = await import('node:' + m); if (i.default !== require(m) || (await import(m)) !== i) out.push(m); }
        return out;`), []);
      assert.equal(await run(`return require('buffer/').Buffer === Buffer && require('process/browser') === process && require('events') === require('node:events').EventEmitter`), true);
      for (const m of ['fs', 'node:net', 'child_process', 'worker_threads', 'http'])
        assert.match(await run(`try { require(args[0]); } catch (e) { return e.code + ' ' + e.message; }`, m), /^MODULE_NOT_FOUND isolates do not have Node\.js' module "/);
      for (const m of ['nonsense', 'internal/util', 'node:nonsense', '__proto__', ''])
        assert.equal(await run(`try { require(args[0]); } catch (e) { return e.code; }`, m), 'MODULE_NOT_FOUND', m);
    });
    test('structuredClone: a copy, transferred buffers, and what cannot be cloned', async () => {
      assert.deepEqual(await run(`
        const b = new ArrayBuffer(8); const o = { m: new Map([[1, { b }]]), d: new Date(5), e: new RangeError('x') }; o.self = o;
        const c = structuredClone(o, { transfer: [b] });
        return [c.self === c, c.m.get(1).b.byteLength, b.detached, c.d.getTime(), c.e instanceof RangeError, c !== o];`), [true, 8, true, 5, true, true]);
      assert.equal(await run(`try { structuredClone(() => {}); } catch (e) { return e.name; }`), 'DataCloneError');
      assert.equal(await run(`try { structuredClone(1, { transfer: [{}] }); } catch (e) { return e.name; }`), 'DataCloneError');
    });
    test('MessageChannel: in order, copied, when started, until closed', async () => {
      assert.deepEqual(await run(`
        const { port1, port2 } = new MessageChannel(); const seen = []; const value = { a: [1] };
        port1.postMessage(value); value.a.push(2); port1.postMessage('two');
        await new Promise((done) => setTimeout(done, 5)); seen.push('not started');
        await new Promise((done) => { port2.onmessage = (e) => { seen.push(e.data, e instanceof MessageEvent, e.type); if (e.data === 'two') done(); }; seen.push('set'); });
        port2.addEventListener('close', () => seen.push('closed')); port2.postMessage('never'); port1.close(); port1.postMessage('never'); port2.close();
        await new Promise((done) => setTimeout(done, 10));
        return seen;`), ['not started', 'set', { a: [1] }, true, 'message', 'two', true, 'message', 'closed']);
      assert.equal(await run(`try { new MessageChannel().port1.postMessage(() => {}); } catch (e) { return e.name; }`), 'DataCloneError');
      assert.equal(await run(`try { new MessagePort(); } catch (e) { return e.code; }`), 'ERR_ILLEGAL_CONSTRUCTOR');
      assert.equal(await run(`try { const { port1 } = new MessageChannel(); for (;;) port1.postMessage(1); } catch (e) { return e.code; }`), 'EOVERLOAD');
    });
    test('globals that are made when they are first looked at are as others', async () => {
      assert.deepEqual(await run(`
        const of = (name) => { const d = Object.getOwnPropertyDescriptor(globalThis, name); return [typeof d.value, d.writable, d.enumerable, d.configurable, d.value === globalThis[name]]; };
        const has = ['File' in globalThis, Object.hasOwn(globalThis, 'FormData'), Object.getOwnPropertyNames(globalThis).includes('console')];
        const { console: kept } = globalThis;
        globalThis.Headers = 5;
        globalThis.console = 6;
        reportError = 7;
        const deleted = [delete globalThis.File, delete globalThis.File, typeof File];
        Object.defineProperty(globalThis, 'Request', { value: 8, configurable: true });
        return [of('fetch'), of('performance'), has, Headers, console, kept.log === console.log, reportError, deleted, Request, performance === performance, process.stdout === process.stdout];`),
      [['function', true, false, true, true], ['object', true, false, true, true], [true, true, true], 5, 6, false, 7, [true, true, 'undefined'], 8, true, true]);
    });
    test('what has memory that nobody counts is not there', async () => {
      assert.deepEqual(await run('return [typeof WebAssembly, typeof SharedArrayBuffer]'), ['undefined', 'undefined']);
    });
    test('performance and process', async () => {
      assert.deepEqual(await run(`
        const a = performance.now(); performance.mark('x'); const m = performance.measure('y', 'x');
        return [a > 0, performance.now() >= a, m.duration >= 0, performance.getEntriesByName('y').length > 0, Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 5000,
          process.platform, Object.keys(process.env).length, process.hrtime.bigint() > 0n, process.uptime() >= 0, typeof process.version];`),
      [true, true, true, true, true, 'linux', 0, true, true, 'string']);
      assert.equal(await run(`try { process.exit(1); } catch (e) { return e.code; }`), 'EPERM');
    });

    describe('the event loop', () => {
      test('code, process.nextTick, promises, timers', async () => {
        const code = `
          const seen = [];
          const say = (s) => () => seen.push(s);
          await new Promise((done) => {
            setTimeout(() => { say('timeout 1')(); process.nextTick(say('tick of timeout 1')); Promise.resolve().then(say('promise of timeout 1')); }, 1);
            setTimeout(() => { say('timeout 2')(); }, 2);
            setTimeout(done, 20);
            Promise.resolve().then(say('promise 1')).then(say('promise 2')).then(() => { process.nextTick(say('tick of a promise')); queueMicrotask(say('microtask of a promise')); });
            queueMicrotask(say('microtask'));
            process.nextTick(() => { say('tick 1')(); process.nextTick(say('tick of a tick')); Promise.resolve().then(say('promise of a tick')); });
            process.nextTick(say('tick 2'));
            say('code')();
          });
          return seen;`;
        assert.deepEqual(await ref('order').ask('run', code), ['code', 'tick 1', 'tick 2', 'tick of a tick', 'promise 1', 'microtask', 'promise of a tick', 'promise 2',
          'microtask of a promise', 'tick of a promise', 'timeout 1', 'tick of timeout 1', 'promise of timeout 1', 'timeout 2']);
      });
      test('timers: order, arguments, intervals, clearing, refreshing, immediates', async () => {
        assert.deepEqual(await run(`
          const seen = [];
          await new Promise((done) => {
            setTimeout((...a) => seen.push(a), 3, 'late', 1); setTimeout((...a) => seen.push(a), 1, 'early'); setImmediate((...a) => seen.push(a), 'immediate');
            const gone = setTimeout(() => seen.push('gone'), 1); clearTimeout(gone); clearTimeout(gone); clearTimeout(undefined); clearTimeout({}); clearImmediate(setImmediate(() => seen.push('gone')));
            let n = 0; const i = setInterval(() => { if (++n === 3) { clearInterval(i); seen.push('interval'); setTimeout(done, 5); } }, 1);
          });
          return [seen.map(String).sort(), seen.findIndex((s) => s[0] === 'early') < seen.findIndex((s) => s[0] === 'late')];`), [['early', 'immediate', 'interval', 'late,1'], true]);
        assert.deepEqual(await run(`
          const { setTimeout: wait, setImmediate: soon, setInterval: every, scheduler } = require('timers/promises');
          let n = 0; for await (const v of every(1, 'x')) if (++n === 3) break;
          await scheduler.wait(1);
          return [await wait(1, 'v'), await soon('i'), n, await wait(1000, null, { signal: AbortSignal.abort() }).catch((e) => e.name)];`), ['v', 'i', 3, 'AbortError']);
        assert.equal(await run(`try { setTimeout('code', 1); } catch (e) { return e.name; }`), 'TypeError');
        assert.equal(await run(`const t = setTimeout(() => {}, 10000); const n = +t; t.unref().ref(); t[Symbol.dispose](); return n > 0 && t.hasRef();`), true);
      });
      test('an error in a tick, a microtask or an EventTarget ends its actor alone', async () => {
        for (const [i, code] of ['process.nextTick(() => { throw new Error("tick"); })', 'queueMicrotask(() => { throw new Error("micro"); })', 'reportError(new Error("reported"))',
          'const t = new EventTarget(); t.addEventListener("x", () => { throw new Error("listener"); }); t.dispatchEvent(new Event("x"))', 'new (require("events"))().emit("error", new Error("emitted"))', 'Promise.reject(new Error("rejected"))'].entries()) {
          const victim = ref(`victim${i}`);
          await victim.ask('add', 1);
          await victim.ask('run', `setTimeout(() => { ${code} }, 1); self.state.n = 100; await new Promise(() => {})`).then(() => assert.fail(code), (e) => assert.equal(e.code, 'EFAILED', code));
          assert.equal(await victim.ask('add', 1), 2, code);
        }
        assert.equal(await ref('one').ask('echo', 1), 1);
      });
    });

    test('AsyncLocalStorage across awaits, timers, ticks, events, streams and asks', async () => {
      assert.deepEqual(await run(`
        const { AsyncLocalStorage, AsyncResource } = require('async_hooks');
        const { EventEmitter, once } = require('events');
        const als = new AsyncLocalStorage(), other = new AsyncLocalStorage();
        const seen = {};
        const see = (name) => { seen[name] = [als.getStore(), other.getStore()]; };
        const emitter = new EventEmitter();
        let bound, resource;
        await als.run('a', async () => {
          await null; see('await');
          await new Promise((done) => setTimeout(done, 1)); see('timer');
          await new Promise((done) => process.nextTick(done)); see('tick');
          await new Promise((done) => setImmediate(done)); see('immediate');
          await new Promise((done) => queueMicrotask(done)); see('microtask');
          await actor(self.address.replace(/[^/]*$/, 'another')).ask('later', 1, 1); see('ask');
          await other.run('b', async () => { await null; see('both'); als.run('c', () => see('inner')); see('after'); });
          als.exit(() => see('exit'));
          setTimeout(() => emitter.emit('x'), 1); await once(emitter, 'x'); see('once');
          for await (const c of require('stream').Readable.from(['x'])) see('stream');
          for await (const c of new ReadableStream({ start(c) { c.enqueue(1); c.close(); } })) see('webstream');
          bound = AsyncLocalStorage.bind(() => see('bound')); resource = new AsyncResource('mine');
        });
        see('outside');
        bound(); resource.runInAsyncScope(() => see('resource'));
        await Promise.all(['x', 'y'].map((v) => als.run(v, async () => { for (let i = 0; i < 3; i++) await new Promise((done) => setTimeout(done, 1)); if (als.getStore() !== v) throw new Error('mixed up'); })));
        als.enterWith('entered'); await null; see('entered');
        return seen;`), {
        await: ['a', undefined], timer: ['a', undefined], tick: ['a', undefined], immediate: ['a', undefined], microtask: ['a', undefined], ask: ['a', undefined],
        both: ['a', 'b'], inner: ['c', 'b'], after: ['a', 'b'], exit: [undefined, undefined], once: ['a', undefined], stream: ['a', undefined], webstream: ['a', undefined],
        outside: [undefined, undefined], bound: ['a', undefined], resource: ['a', undefined], entered: ['entered', undefined],
      });
      assert.equal(await run(`const { AsyncLocalStorage } = require('async_hooks'); globalThis.kept ??= new AsyncLocalStorage(); const before = kept.getStore(); kept.enterWith('x'); return before === undefined;`), true);
      assert.equal(await run(`return kept.getStore() === undefined`), true, 'the next turn begins without');
    });
  });
}

// Each breaks something, deep down, and stays so: in a shared isolate for the neighbours too.
const poisons = [
  'for (const k of Object.getOwnPropertyNames(globalThis)) { try { globalThis[k] = undefined; } catch {} }',
  'for (const C of [Array, Map, Set, WeakMap, Promise, Function, String, Number, RegExp, Error, ArrayBuffer, Uint8Array, Object.getPrototypeOf(Uint8Array), Date, Symbol]) for (const k of Reflect.ownKeys(C.prototype)) { try { if (k !== "constructor") C.prototype[k] = () => { throw new Error("poisoned " + String(k)); }; } catch {} }',
  'for (const O of [Object, Reflect, JSON, Math, Promise, Array, Symbol, Number, Atomics]) for (const k of Reflect.ownKeys(O)) { try { if (typeof O[k] === "function") O[k] = () => { throw new Error("poisoned " + String(k)); }; } catch {} }',
  'Object.setPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()), { next() { throw new Error("next"); } }); Object.getPrototypeOf([][Symbol.iterator]()).next = () => { throw new Error("next"); }',
  'for (const k of ["actor", "turn", "als", "owner", "on", "resolve", "reject", "fn", "args", "next", "get", "set", "value", "code", "done", "then", "writable", "enumerable", "configurable", "timeout", "signal", "error", "message"]) Object.defineProperty(Object.prototype, k, { configurable: true, get() { throw new Error("got " + k); }, set() { throw new Error("set " + k); } })',
  'const E = require("events").prototype; for (const k of Reflect.ownKeys(E)) { try { E[k] = () => { throw new Error("emitter"); }; } catch {} }',
  'const E = require("events"); E.defaultMaxListeners = 0; Object.setPrototypeOf(E.prototype, new Proxy({}, { get() { throw new Error("trap"); }, has() { throw new Error("trap"); } }))',
  'require("util").inspect.custom; Symbol.prototype.toString = null; Error.prepareStackTrace = () => { throw new Error("prepare"); }; Error.stackTraceLimit = -5; Error.captureStackTrace = null',
  'Object.freeze(Object.prototype); Object.freeze(Array.prototype); Object.freeze(Function.prototype); Object.preventExtensions(globalThis)',
  'process.nextTick = process.emit = null; globalThis.process = null; delete globalThis.setTimeout; delete globalThis.console; delete globalThis.queueMicrotask',
  'Object.defineProperty(Promise.prototype, "then", { get() { throw new Error("then"); } }); Object.defineProperty(Promise, Symbol.species, { get() { throw new Error("species"); } })',
  'new AbortController().signal.constructor.prototype.addEventListener = null; EventTarget.prototype.dispatchEvent = () => { throw new Error("dispatch"); }; ReadableStream.prototype.getReader = null',
];

describe('poison', () => {
  for (const [i, poison] of poisons.entries()) {
    test(`${poison.slice(0, 70)}…`, async () => {
      await cluster.deploy(node, `p${i}`, {
        'isola.json': { name: `p${i}`, actors: { I: { module: './p.js' }, S: { module: './p.js', isolation: 'shared' } } },
        'p.js': `
          import { actor } from 'isola';
          export default (self) => {
            self.state.n ??= 0;
            const wait = setTimeout;
            const NativePromise = Promise;
            self.on('poison', () => { ${poison} });
            self.on('add', (by) => (self.state.n += by));
            self.on('throw', () => { throw 'thrown'; });
            self.on('crash', () => { wait(() => { throw 'crash'; }, 1); });
            self.on('wait', async () => { await new NativePromise((done) => { wait(done, 1); }); return 'waited'; });
            self.on('tell', () => { actor(self.app + '/' + self.type, 'told').emit('add', 1); });
          };`,
      });
      for (const type of ['I', 'S']) {
        const [poisoner, neighbour] = ['poisoner', 'neighbour'].map((k) => node.client.actor(`p${i}/${type}`, k));
        const quick = { timeout: 30_000 };
        const settles = (promise, what) => promise.then(() => {}, (e) => assert.notEqual(e.code, 'ETIMEDOUT', `${type}: ${what}: ${e.message}`));
        assert.equal(await neighbour.ask('add', 1, quick), 1);
        await settles(poisoner.ask('poison', quick), 'poison');
        // Whatever it can still do, each turn ends, and the one who broke nothing works, or fails with what the isolate has become.
        for (const [event, ...args] of [['add', 1], ['throw'], ['wait'], ['tell'], ['crash'], ['nobody'], ['add', 1]]) {
          await settles(poisoner.ask(event, ...args, quick), event);
          await settles(neighbour.ask(event, ...args, quick), `neighbour's ${event}`);
        }
        await assert.rejects(neighbour.ask('throw', quick), type === 'I' ? /thrown/ : /./);
        const fresh = node.client.actor('web/I', `after${i}${type}`);
        assert.equal(await fresh.ask('add', 2, quick), 2, 'another isolate notices nothing');
      }
      // A shared isolate that is broken for good is left behind when its app is deployed anew.
    });
  }
  test('the process is the same, and idle afterwards', async () => {
    await until('nothing runs', async () => (await actors(node)).every((a) => a.state !== 'running'));
  });
});
