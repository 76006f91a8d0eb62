// SPDX-License-Identifier: Apache-2.0
//
// Scripts, values and clients that mean harm, or are merely unlucky: each harms its own actor at the most. The actor-host that
// runs at the start still runs at the end, and a bystander is answered throughout.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { actors, clock, Cluster, ctl, nodes, until } from './cluster.mjs';
import { ASK, REPLY, Wire } from './wire.mjs';

const restart = { max: 1000, within: '1ms', backoff: '0ms' }; // it crashes on purpose
const app = {
  'isola.json': {
    name: 'h',
    actors: {
      A: { module: './a.js', restart },
      S: { module: './a.js', isolation: 'shared', restart },
      By: { module: './bystander.js' },
    },
  },
  'bystander.js': `export default (self) => { self.on('echo', (v) => v); };`,
  'a.js': `
    import { actor } from 'isola';
    const nest = (v, n) => { for (let i = 0; i < n; i++) v = [v]; return v; };
    export default (self) => {
      self.state.n ??= 0;
      self.on('get', () => self.state.n);
      self.on('echo', (v) => v);
      self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
      self.on('run', (code, ...args) => new Function('self', 'actor', 'nest', 'args', code)(self, actor, nest, args));
    };`,
};

const cluster = new Cluster();
let node, pid, bystander;
const hostPid = async () => (await nodes(node))[0].host_pid;
const ref = (key, type = 'A') => node.client.actor(`h/${type}`, key);
const run = (key, code, ...args) => ref(key).ask('run', code, ...args);

before(async () => {
  node = await cluster.node('one');
  await cluster.deploy(node, 'h', app);
  pid = await hostPid();
  bystander = node.client.actor('h/By', 'stander');
});
after(() => cluster.end());
afterEach(async () => {
  assert.equal(await bystander.ask('echo', 'fine'), 'fine');
  assert.equal(await hostPid(), pid, 'the same actor-host runs');
});

describe('values', () => {
  test('a value nested as deep as can be is sent or refused, never malformed', async () => {
    for (const inner of ['1', 'new Error("deep")', 'new Map([[1, 2]])', '{ a: 1 }', 'new Uint8Array(2)', '/x/g', 'new Error("deep", { cause: [1] })']) {
      for (let n = 194; n < 203; n++) {
        for (const make of [(v) => `return ${v}`, (v) => `return actor('h/A', 'deep2').ask('echo', ${v})`, (v) => `self.state.deep = ${v}; return 1`]) {
          const code = make(`nest(${inner}, ${n})`);
          await run('deep', code).then(() => {}, (e) => {
            assert.ok(['ECLONE', 'EFAILED'].includes(e.code), `${code}: ${e.code} ${e.message}`);
          });
        }
      }
    }
    const kept = await run('deep', 'return self.state.deep !== undefined');
    await ctl(node, 'stop', 'h/A/deep');
    assert.equal(await run('deep', 'return self.state.deep !== undefined'), kept);
  });
  test('refs made by the thousand while a message is encoded change nothing about where it goes', async () => {
    const got = await run('many', `return (async () => {
      const to = actor('h/A', 'many-target');
      await to.ask('run', 'self.state.told = "not yet"');
      const value = () => ({ get x() { for (let i = 0; i < 6000; i++) actor('h/S', 'many' + Math.random()).emit('get'); return 1; } });
      to.emit('run', 'self.state.told = self.key', value());
      return [await to.ask('run', 'return self.state.told'), await to.ask('run', 'return self.key', value())];
    })();`);
    assert.deepEqual(got, ['many-target', 'many-target']);
  });
  test('wrapper objects do not disturb references', async () => {
    const [a, b, c, d] = await run('wrap', `const s = new String('x'); const o = { o: 1 }; return [s, o, s, o];`);
    assert.deepEqual([a, b, c], ['x', { o: 1 }, 'x']);
    assert.equal(b, d);
    assert.deepEqual(await run('wrap', 'return Object(5n)'), 5n);
  });
  test('what is larger in bytes than in memory is refused with ETOOBIG', async () => {
    for (const v of ['(() => { const a = []; a.length = 4294967295; return a; })()', 'new Array(1e5).fill("x".repeat(1e5))', '[new Array(1e4).fill("x".repeat(1e5))]', '"x".repeat(5e8)', '{ k: "k".repeat(1e8) }',
      'new Map([[1, "x".repeat(1e8)]])', 'new Array(1e4).fill(1n << 1000000n)']) {
      await assert.rejects(run('big', `return ${v}`), { code: 'ETOOBIG' }, v);
      await assert.rejects(run('big', `return actor('h/A', 'big2').ask('echo', ${v})`), { code: 'ETOOBIG' }, v);
      await assert.rejects(run('big', `self.state.v = ${v}`), { code: /ETOOBIG|EFAILED/ }, v);
    }
    for (const v of ['new ArrayBuffer(7e7)', 'new Float64Array(1e7)', 'new Error("x".repeat(7e7))']) { // large in memory as well
      await assert.rejects(run('big', `return actor('h/A', 'big2').ask('echo', ${v})`), { code: 'ETOOBIG' }, v); // its limit "message"
      await assert.rejects(run('big', `self.state.v = ${v}`), { code: /ETOOBIG|EFAILED/ }, v);
    }
    assert.equal((await run('big', 'return new ArrayBuffer(5e7)')).byteLength, 5e7);
    assert.equal(await ref('big').ask('get'), 0);
  });
  test('a large BigInt and a regular expression of a poisoned prototype can be kept and read again', async () => {
    await run('bigint', 'self.state.v = 1n << 12000000n;');
    await ctl(node, 'stop', 'h/A/bigint');
    assert.equal(await run('bigint', 'return self.state.v === 1n << 12000000n'), true);
    await run('regexp', `Object.defineProperty(RegExp.prototype, 'flags', { get: () => 'zz' }); self.state.v = /a/gi;`);
    await ctl(node, 'stop', 'h/A/regexp');
    assert.equal(await run('regexp', 'return String(self.state.v)'), '/a/gi');
  });
});

describe('scripts', () => {
  for (const type of ['A', 'S']) {
    test(`a listener added with once is called once (${type})`, async () => {
      const source = ref('once-source', type);
      await run('unused', '');
      await source.ask('run', `self.state.hits = 0; self.once('one', () => ++self.state.hits); self.on('one', () => 'always');`);
      assert.equal(await source.ask('one'), 1);
      assert.equal(await source.ask('one'), 'always');
      const follower = ref('once-follower', type);
      await follower.ask('run', `self.state.n = 0; const r = actor(args[0]); r.once('news', () => { self.state.n += 1; }); r.on('more', () => { self.state.n += 100; });`, source.address);
      await until('it hears', async () => {
        await source.ask('run', `self.emit('news'); self.emit('news'); self.emit('more');`);
        return (await follower.ask('get')) >= 101;
      });
      assert.equal((await follower.ask('get')) % 100, 1);
    });
  }
  test('a script that replaces what the runtime stands on ends its own turns all the same', async () => {
    const broken = [
      'Promise.prototype.then = () => {}; globalThis.Promise = undefined;',
      'Map.prototype.get = Map.prototype.set = Map.prototype.delete = Set.prototype.has = () => { throw new Error("map"); };',
      'Reflect.apply = Object.create = Object.keys = Object.defineProperty = Object.getPrototypeOf = () => { throw new Error("reflect"); };',
      'Array.prototype[Symbol.iterator] = () => { throw new Error("iterator"); }; Array.prototype.map = Array.prototype.at = Array.prototype.some = undefined;',
      'for (const k of ["get", "value", "then", "Class", "setup", "constructor", "timeout", "actor"]) Object.defineProperty(Object.prototype, k, { configurable: true, set() { throw new Error(k); }, get() { return undefined; } });',
      'Object.defineProperty(Promise.prototype, "constructor", { get() { throw new Error("species"); } });',
      'Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error("function"); }; String.prototype.startsWith = RegExp.prototype.test = undefined;',
      'globalThis.Error = globalThis.TypeError = globalThis.Number = globalThis.Math = globalThis.Map = undefined;',
    ];
    for (const [i, code] of broken.entries()) {
      const key = `broken${i}`;
      await run(key, code, 1).catch(() => {});
      assert.equal(await ref(key).ask('echo', 'still').catch((e) => e.code), 'still', code);
      // A ref may need what is broken; that is the script's own call then, and an error.
      assert.doesNotMatch(await ref(key).ask('ask', 'h/By/x', 'echo', 'seven').catch((e) => `${e.code} ${e.message}`), /ETIMEDOUT/, code);
      assert.equal((await ctl(node, 'stop', `h/A/${key}`)).status, 0, code);
      assert.equal(await ref(key).ask('echo', 'again'), 'again', code);
    }
  });
  test('few bytes are what they are, whatever has become of what arrays have in common', async () => {
    const found = await ref('bytes').ask('run', `
      const TypedArray = Object.getPrototypeOf(Uint8Array.prototype), from = (a) => { const l = []; for (let i = 0; i < a.byteLength; i++) l[i] = a[i]; return l; };
      TypedArray.set = TypedArray.slice = () => { throw new Error('set'); };
      Object.defineProperty(TypedArray, Symbol.toStringTag, { configurable: true, get() { return 'Uint8Array'; } });
      class Own extends Uint8Array { get length() { return 3; } }
      const whole = new Uint8Array(200);
      for (let i = 0; i < 200; i++) whole[i] = 255 - i;
      const lengths = [0, 1, 16, 24, 25, 40, 63, 64, 65, 100];
      const values = [...lengths, ...lengths, ...lengths.toReversed()].map((n) => whole.subarray(n, n + n));
      const detached = new Uint8Array([1, 2, 3]);
      detached.buffer.transfer();
      values.push(Own.of(7, 8, 9, 10), Object.setPrototypeOf(new Uint8Array([4, 5]), Int8Array.prototype), detached, new Int8Array([1, 2, 3]));
      const echo = actor('h/A/bytes-echo'), wrong = [];
      return Promise.all(values.map((v) => echo.ask('echo', v).then((got) => {
        if (JSON.stringify(from(got)) !== JSON.stringify(from(v)) || (got.constructor === Int8Array) !== (v === values.at(-1))) wrong.push([from(v), from(got)]);
      }))).then(() => [wrong, values.length]);`);
    assert.deepEqual(found, [[], 34]);
  });
  test('answers that mean harm', async () => {
    for (const value of ['{ get then() { throw new Error("then"); } }', '{ then() { throw new Error("called"); } }', '{ then(ok, bad) { ok(1); ok(2); bad(3); throw 4; } }', '{ get a() { throw new Error("getter"); } }',
      '{ get a() { return this; } }', 'new Proxy({}, { ownKeys() { throw 1; } })', 'Object.assign(new Error("x"), { get stack() { throw 1; } })']) {
      await run('answers', `return ${value}`).catch((e) => assert.notEqual(e.code, 'ETIMEDOUT', value));
      await run('answers', `throw ${value}`).catch((e) => assert.notEqual(e.code, 'ETIMEDOUT', value));
      await run('answers', `return Promise.reject(${value})`).catch((e) => assert.notEqual(e.code, 'ETIMEDOUT', value));
    }
  });
  test('a timer shows nothing of the runtime, and nobody else in its isolate can be spoken for', async () => {
    const found = await ref('timer', 'S').ask('run', `
      const t = setTimeout(() => {}, 1e6);
      const names = Reflect.ownKeys(t).map(String);
      const own = Reflect.ownKeys(self).map(String).filter((k) => k.includes('isola'));
      clearTimeout(t);
      return [...names, ...own, typeof t.constructor?.fire, typeof t.constructor?.stop];`);
    assert.deepEqual(found, ['undefined', 'undefined']);
  });
  test('an actor that crashes takes its asks, timers and subscriptions along, also in a shared isolate', async () => {
    const weigh = async () => Math.max(...(await actors(node, 'h')).filter((a) => a.address.startsWith('h/S/weighed')).map((a) => a.heap));
    const crash = async (times) => {
      for (let i = 0; i < times; i++) {
        await ref('crashing', 'S').ask('run', `
          const big = new Array(1e5).fill(self);
          const r = actor('h/A/silent' );
          setInterval(() => big.length, 1e6);
          r.on('never', () => big.length);
          actor('h/By/x').ask('nobody-answers', { timeout: 1e6 }).then(() => big.length, () => {});
          r.ask('run', 'return new Promise(() => {})', { timeout: 1e6 }).then(() => big.length, () => big.length);
          Promise.reject(new Error('on purpose'));`).catch(() => {});
      }
      return weigh();
    };
    for (let i = 0; i < 32; i++) await ref(`weighed${i}`, 'S').ask('get'); // some on each thread
    await crash(20);
    assert.ok((await crash(200)) < 60e6, 'a hundred and more of 0.8 MB would be seen');
  });
  test('a hundred thousand rejections that are handled late do not hold up the thread', async () => {
    const start = clock.now();
    await run('rejections', 'const all = []; for (let i = 0; i < 1e5; i++) all.push(Promise.reject(i)); for (const p of all.reverse()) p.catch(() => {});');
    assert.equal(await ref('rejections').ask('echo', 1), 1);
    assert.ok(clock.now() - start < 10_000);
  });
  test('an unreadable thing can be logged, and a long or endless log harms nobody', async () => {
    await run('log', `const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); console.log(proxy, { get a() { throw 1; } }); console.log('x'.repeat(3e7)); return 1`);
    const flood = run('log', `for (let i = 0; i < 3000; i++) console.log('y'.repeat(60000)); return 2`);
    for (let i = 0; i < 20; i++) assert.equal(await bystander.ask('echo', i), i);
    assert.equal(await flood, 2);
  });
  test('answers that do not fit into the way back are errors, at once', async () => {
    const answers = await Promise.allSettled(Array.from({ length: 4 }, (_, i) => run(`wide${i}`, 'return new Uint8Array(62e6)', { timeout: 25_000 })));
    for (const a of answers)
      if (a.status === 'fulfilled') assert.equal(a.value.length, 62e6);
      else assert.ok(['EOVERLOAD', 'ETOOBIG'].includes(a.reason.code), `${a.reason.code} ${a.reason.message}`);
  });
  test('so they are for who does not read: it has what fitted, and the connection stays', async () => {
    const wire = await Wire.open({ path: node.socket });
    wire.pause();
    const asked = Array.from({ length: 6 }, (_, i) => i + 1);
    for (const id of asked) { // one by one: they do not fill the way from the actor-host
      wire.send({ kind: ASK, id, dst: `h/A/heap${id}`, event: 'run', timeout: 60_000, args: ['self.state.n = 1; return new Uint8Array(50e6)'] });
      await until('it has been carried out', async () => await ref(`heap${id}`).ask('get') === 1);
    }
    wire.resume();
    const answers = await Promise.all(asked.map((id) => wire.answer(id)));
    const fitted = answers.filter((a) => a?.kind === REPLY);
    assert.ok(fitted.length >= 2, `${fitted.length} fitted`);
    for (const a of answers.filter((a) => !fitted.includes(a))) assert.equal(a?.args[0].code, 'EOVERLOAD');
    wire.send({ kind: ASK, id: 9, dst: 'h/A/heap1', event: 'echo', timeout: 60_000, args: ['there'] });
    assert.deepEqual((await wire.answer(9)).args, ['there']);
    wire.end();
  });
  // The sanitizers' frames are too large for what V8 leaves below the end of its own stack.
  const sanitized = /san\b/.test(process.env.ISOLA_BUILD ?? '');
  test('a value is refused as ever with the stack all but used up', { skip: sanitized }, async () => {
    for (const v of ['nest(() => {}, 190)', '(() => { let e = () => {}; for (let i = 0; i < 90; i++) e = new Error("x", { cause: e }); return e; })()', 'nest({ a: 1 }, 190)']) {
      for (const use of ['r.emit("e", v)', 'self.emit("x", v)', 'structuredClone(v)', 'self.state.v = v', 'Promise.reject(v).catch(() => {})', 'console.log(v)']) {
        await run('stack', `
          const v = ${v}, r = actor('h/By/x');
          let left = 2000;
          const f = () => { try { f(); } catch (e) { if (left-- > 0) try { ${use}; } catch {} throw e; } };
          try { f(); } catch {}`).catch((e) => assert.equal(e.code, 'EFAILED', use));
      }
    }
  });
  test('an event name has a bound', async () => {
    await assert.rejects(run('name', `return actor('h/By/x').ask('x'.repeat(5000))`), { code: 'EINVAL' });
    await assert.rejects(run('name', `return self.emit('x'.repeat(3e8))`), { code: 'EINVAL' });
  });
});
