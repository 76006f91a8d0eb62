// SPDX-License-Identifier: Apache-2.0
//
// Scripts that loop, grow and recurse without end, in every way there is: each ends with its own actor crashed and a log line that
// says of which limit, the actor starts again, others are answered all the while, and the same actor-host runs at the end.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { connect } from '../../actors/lib/client/index.js';
import { actors, Cluster, cpuOf, ctl, nodes, sanitized, until } from './cluster.mjs';

const PATIENCE = { timeout: 120_000 }; // with what has to wait for a processor
const LIMITS = { cpu: '300ms', heap: '512MB', external: '64MB', timers: 1000, subscriptions: 1000, asks: 1000, output: '4MB', logRate: 100, mailbox: 100, mailboxBytes: '1MB', message: '512KB' };
const MEMORY = { ...LIMITS, cpu: '10s', heap: '32MB', external: '16MB' };
const HOSTILE = `
import { actor } from 'isola';
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export default (self) => {
  self.on('echo', (v) => v);
  self.on('run', (code) => new Function('self', 'actor', 'sleep', code)(self, actor, sleep));
  self.on('wait', () => new Promise(() => {}));
  self.on('pause', () => sleep(500));
};`;
const files = {
  'isola.json': {
    name: 'h',
    permissions: { apps: ['by'] },
    actors: {
      A: { module: './hostile.js', ...LIMITS },
      G: { module: './hostile.js', ...MEMORY },
      S: { module: './hostile.js', isolation: 'shared', ...LIMITS },
      Large: { module: './hostile.js', message: '200MB', mailboxBytes: '400MB', external: '600MB', output: '400MB' },
      Top: { module: './top.js', ...LIMITS },
      TopAwait: { module: './top_await.js', ...LIMITS },
      Ctor: { module: './ctor.js', ...LIMITS },
      Start: { module: './start.js', ...LIMITS },
      Stop: { module: './stop.js', ...LIMITS },
    },
  },
  'hostile.js': HOSTILE,
  // A module is loaded once to be checked when it is deployed: these harm only later.
  'top.js': 'if (Date.now() > LATER) for (;;);\nexport default (self) => { self.on("echo", (v) => v); };',
  'top_await.js': 'if (Date.now() > LATER) { await null; for (;;); }\nexport default (self) => { self.on("echo", (v) => v); };',
  'ctor.js': 'export default class { constructor() { for (;;); } echo(v) { return v; } }',
  'start.js': 'export default class { async onActivate() { await null; for (;;); } echo(v) { return v; } }',
  'stop.js': 'export default class { echo(v) { return v; } onHibernate() { for (;;); } }',
};
const bystanders = { 'isola.json': { name: 'by', actors: { By: { module: './by.js' }, ByS: { module: './by.js', isolation: 'shared' } } }, 'by.js': `export default (self) => { self.on('echo', (v) => v); };` };

const cluster = new Cluster();
let node, pid, later;
const hostPid = async () => (await nodes(node))[0].host_pid;
const linesOf = async (address) => (await node.client.call('logs', { address, lines: 1000 })).lines.map((l) => l.text);

// Asks bystanders in turn, in isolates of their own and in shared ones, until it is stopped.
const watch = { slowest: 0, asked: 0, failure: undefined, over: false, done: undefined };
async function stand() {
  const refs = [...Array.from({ length: 4 }, (_, i) => node.client.actor('by/By', `b${i}`)), ...Array.from({ length: 4 }, (_, i) => node.client.actor('by/ByS', `s${i}`))];
  for (let i = 0; !watch.over; i++) {
    const start = cpuOf(pid); // what it has worked meanwhile is how long it took: it may have to wait for a processor
    assert.equal(await refs[i % refs.length].ask('echo', i, PATIENCE), i);
    watch.slowest = Math.max(watch.slowest, cpuOf(pid) - start);
    watch.asked++;
  }
}

before(async () => {
  node = await cluster.node('one');
  later = Date.now() + 20_000; // ms; deployed before, used after
  await cluster.deploy(node, 'h', Object.fromEntries(Object.entries(files).map(([file, text]) => [file, typeof text === 'string' ? text.replaceAll('LATER', later) : text])));
  await cluster.deploy(node, 'by', bystanders);
  await cluster.deploy(node, 'm', { 'isola.json': { name: 'm', actors: { M: { module: './hostile.js', isolation: 'shared', ...MEMORY } } }, 'hostile.js': HOSTILE });
  pid = await hostPid();
  watch.done = stand().catch((e) => { watch.failure = e; });
});
after(async () => {
  await cluster.end();
});

let serial = 0;
async function crashes(type, code, says) {
  const address = `h/${type}/k${++serial}`, ref = node.client.actor(address);
  assert.equal(await ref.ask('echo', 'before', PATIENCE), 'before');
  const outcome = await ref.ask('run', code, PATIENCE).then((v) => ({ v }), (e) => e);
  const line = await until(`${address} has crashed of ${says}: ${code} (it said ${JSON.stringify(outcome.v) ?? `${outcome.code} ${outcome.message}`})`,
    async () => (await linesOf(address)).find((t) => t.includes('crashed: ')));
  assert.match(line, says, code);
  assert.equal(outcome.code, 'EFAILED', `${code}: ${JSON.stringify(outcome.v)} ${outcome.message}`);
  assert.equal(await ref.ask('echo', 'after', PATIENCE), 'after', code);
}

const CPU = /used more than 300 ms of CPU in one turn \(limit "cpu"\)/;
const HEAP = /used more than 32 MB of heap \(limit "heap"\)/;
const EXTERNAL = /used more than 16 MB of array buffers \(limit "external"\)/;

// What holds for both of them: memory is an isolate's.
const loops = {
  'plain': 'for (;;);',
  'with a call': 'const f = (x) => x + 1; for (let i = 0; ; i = f(i));',
  'a try in a loop': 'for (;;) try { throw 1; } catch {}',
  'a finally that goes on': 'l: for (;;) try { for (;;); } finally { continue l; }',
  'optimized, allocating': 'const x = 1; let b; for (;;) b = new Array(1000).fill(x);',
  'optimized, arithmetic': 'let a = 0; for (let i = 0; ; i++) a = (a * 31 + i) | 0;',
  'a regular expression': '/^(a+)+$/.test("a".repeat(40) + "b");',
  'a regular expression that replaces': '"x".repeat(1e6).replace(/x/g, () => { for (;;); });',
  'a comparison of a sort': '[3, 2, 1].sort(() => { for (;;); });',
  'a sort that never agrees': 'const a = Array.from({ length: 3e6 }, (_, i) => i); for (;;) a.sort(() => Math.random() - 0.5);',
  'JSON.stringify with a getter': 'JSON.stringify({ get a() { for (;;); } });',
  'JSON.stringify with toJSON': 'JSON.stringify({ toJSON() { for (;;); } });',
  'JSON.parse with a reviver': 'JSON.parse("[1]", () => { for (;;); });',
  'a getter': '({ get a() { for (;;); } }).a;',
  'a proxy': 'new Proxy({}, { get() { for (;;); } }).a;',
  'a proxy in its own chain': 'const p = new Proxy({}, { get: (t, k, r) => { for (;;); } }); Object.setPrototypeOf({}, p); Reflect.get(p, "x");',
  'a chain of promises': 'const f = () => Promise.resolve().then(f); return f();',
  'awaiting nothing': 'return (async () => { for (;;) await null; })();',
  'microtasks': 'const f = () => queueMicrotask(f); f(); return new Promise(() => {});',
  'process.nextTick': 'const f = () => process.nextTick(f); f(); return new Promise(() => {});',
  'a thenable': 'return { then() { for (;;); } };',
  'a generator': 'function* g() { for (;;) yield 1; } for (const x of g());',
  'an async generator': 'return (async () => { async function* g() { for (;;) yield 1; } for await (const x of g()); })();',
  'an iterator': 'new Set({ [Symbol.iterator]: () => ({ next: () => ({ value: 1, done: false }) }) });',
  'an iterator that ends never': 'Math.max(...{ *[Symbol.iterator]() { for (;;); } });',
  'a getter of the answer': 'return { get a() { for (;;); } };',
  'a getter of what is asked': 'return actor("by/By/x").ask("echo", { get a() { for (;;); } });',
  'a getter of what is emitted': 'actor("by/By/x").emit("echo", { get a() { for (;;); } });',
  'a getter of the state': 'self.state.v = { get a() { for (;;); } };',
  'Error.prepareStackTrace': 'Error.prepareStackTrace = () => { for (;;); }; throw new Error("x");',
  'the stack of what is thrown': 'const e = new Error("x"); Object.defineProperty(e, "stack", { get() { for (;;); } }); throw e;',
  'the message of what is thrown': 'const e = new Error("x"); Object.defineProperty(e, "message", { get() { for (;;); } }); throw e;',
  'toString of what is thrown': 'throw { toString() { for (;;); } };',
  'toString of what is rejected': 'Promise.reject({ toString() { for (;;); } }); return 1;',
  'what is logged': 'console.log({ [Symbol.for("nodejs.util.inspect.custom")]() { for (;;); } });',
  'an event name': 'self.emit({ toString() { for (;;); } }.toString());',
  'a power of a BigInt': 'return String((3n ** 3000000n) ** 2n).length;',
  'a BigInt in decimal': 'return (1n << 30000000n).toString().length;',
  'a division of BigInts': 'let a = 1n << 16000000n, b = (1n << 8000000n) - 1n; for (;;) a % b;',
  'sorting a large array': 'const a = []; for (let i = 0; i < 1e5; i++) a.push(String(Math.random())); for (;;) a.slice().sort();',
  'searching a string': 'const s = "a".repeat(1 << 22); for (;;) s.indexOf("a".repeat(1 << 21) + "b");',
  'joining': 'const a = Array(1e5).fill("x"); for (;;) a.join();',
  'a copy within': 'const a = new Uint8Array(3e7); for (;;) a.copyWithin(1, 0);',
  'a search from behind': 'const a = new Uint8Array(3e7); for (;;) a.lastIndexOf(7);',
  'turning around': 'const a = new Uint8Array(5e7); for (;;) a.reverse();',
  'filling': 'const a = new Uint8Array(3e7); for (;;) a.fill(1);',
  'after a timer': 'return sleep(5).then(() => { for (;;); });',
  'in short pieces': 'return (async () => { for (;;) { const end = performance.now() + 8; while (performance.now() < end); await sleep(1); } })();',
  'eval': '(0, eval)("for (;;);");',
  'a label': 'a: for (;;) { for (;;) continue a; }',
  'decoding': 'const d = new TextDecoder(), b = new Uint8Array(4e6).fill(200); for (;;) d.decode(b);',
  'structuredClone': 'const v = Array.from({ length: 1e5 }, () => ({})); for (;;) structuredClone(v);',
  'searching a buffer': 'const b = Buffer.alloc(6e6, 1), n = Buffer.alloc(3e6, 1); n[0] = 2; for (;;) b.indexOf(n);',
  'searching a buffer the slow way': 'const b = Buffer.alloc(6e6, 1), n = Buffer.alloc(3e6, 1); n[2999999] = 2; for (;;) b.indexOf(n);',
  'parsing': 'const t = JSON.stringify(Array(1e5).fill({ a: 1 })); for (;;) JSON.parse(t);',
  'parsing in small pieces': 'const t = JSON.stringify(Array(3e3).fill({ a: 1 })); for (;;) JSON.parse(t);',
  'JSON.stringify': 'const s = "\\n".repeat(1e6); for (;;) JSON.stringify(s);',
  'normalizing': 'const s = "\\u1e9b\\u0323".repeat(1e5); for (;;) s.normalize("NFKD");',
  'encodeURIComponent': 'const s = "ü".repeat(3e5); for (;;) encodeURIComponent(s);',
  'sorting numbers': 'const a = new Float64Array(3e5).map((_, i) => (i * 7919) % 1000003); for (;;) a.toSorted();',
  'searching numbers': 'const a = new Uint8Array(3e7); for (;;) a.indexOf(1);',
  'searching a buffer backwards': 'const b = Buffer.alloc(6e6, 1), n = Buffer.alloc(3e6, 1); n[0] = 2; for (;;) b.lastIndexOf(n);',
};

const growth = {
  'an array': ['const a = []; for (;;) a.push({});', HEAP],
  'an array of arrays': ['const a = []; for (;;) a.push(new Array(1000).fill(a));', HEAP],
  'a string': ['let s = "x"; for (let i = 0; ; i++) { s += s + i; JSON.stringify([s]); }', /heap|Invalid string length/],
  'strings': ['const a = []; for (let i = 0; ; i++) a.push("x".repeat(1000) + i);', HEAP],
  'flat strings': ['const a = []; for (let i = 0; ; i++) a.push(("x".repeat(1000) + i).split("").reverse().join(""));', HEAP],
  'one huge array': ['const a = new Array(1e8).fill(1.5); return a.length;', HEAP],
  'one huge array, joined': ['return new Array(3e7).fill("x").join().length;', HEAP],
  'one huge array of objects': ['const a = new Array(1e8).fill({}); return a.length;', HEAP],
  'one huge copy': ['let a = [1]; for (;;) a = [...a, ...a];', HEAP],
  'closures': ['let f = () => 0; const all = []; for (;;) { const g = f; f = () => g; all.push(f); }', HEAP],
  'a Map': ['const m = new Map(); for (let i = 0; ; i++) m.set(i, { i });', HEAP],
  'a Set': ['const m = new Set(); for (let i = 0; ; i++) m.add({ i });', HEAP],
  'an object': ['const o = {}; for (let i = 0; ; i++) o["k" + i] = i;', HEAP],
  'promises': ['const a = []; for (;;) a.push(new Promise(() => {}));', HEAP],
  'rejections': ['for (;;) Promise.reject(new Error("x"));', HEAP],
  'ticks': ['for (;;) process.nextTick(() => {});', HEAP],
  'functions from text': ['const a = []; for (let i = 0; ; i++) a.push(new Function("return " + i));', /heap|CPU/],
  'nested state': ['self.state.v = {}; let v = self.state.v; for (;;) v = v.v = {};', HEAP],
  'symbols': ['const a = []; for (let i = 0; ; i++) a.push(Symbol("s" + i));', HEAP],
  'BigInts': ['const a = []; for (let i = 1n; ; i++) a.push(1n << 100000n);', HEAP],
  'array buffers': ['const a = []; for (;;) a.push(new ArrayBuffer(1e6));', EXTERNAL],
  'array buffers, caught': ['const a = []; for (;;) try { a.push(new ArrayBuffer(1e6)); } catch {}', EXTERNAL],
  'small array buffers': ['const a = []; for (;;) a.push(new ArrayBuffer(1000));', /external|heap/],
  'typed arrays': ['const a = []; for (;;) a.push(new Float64Array(1e5));', EXTERNAL],
  'Buffers': ['const a = []; for (;;) a.push(Buffer.alloc(1e6));', EXTERNAL],
  'a resizable buffer': ['const b = new ArrayBuffer(1, { maxByteLength: 2 ** 30 }); for (let n = 1e6; n < 2 ** 30; n += 1e6) { b.resize(n); new Uint8Array(b).fill(1); } for (;;);', EXTERNAL],
};

const uses = {
  'timers': ['for (;;) setTimeout(() => {}, 1e6);', /set more than 1000 timers \(limit "timers"\)/],
  'intervals': ['for (;;) setInterval(() => {}, 1e6);', /set more than 1000 timers \(limit "timers"\)/],
  'subscriptions': ['for (let i = 0; ; i++) actor("by/By/x").on("e" + i, () => {});', /made more than 1000 subscriptions \(limit "subscriptions"\)/],
  'emits': ['for (;;) actor("by/By/x").emit("nothing", "x".repeat(1000));', /sent more than 4 MB in one go \(limit "output"\)/],
  'asks': ['for (;;) actor("by/By/x").ask("never", 1);', CPU],
  'lines of log': ['for (;;) console.log("x");', CPU],
};

const batch = async (cases) => {
  const left = [...cases];
  const failures = [];
  await Promise.all(Array.from({ length: 3 }, async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [name, type, code, says] = next;
      await crashes(type, code, says).catch((e) => failures.push(`${name} (${type}): ${e.message}`));
    }
  }));
  assert.deepEqual(failures, []);
};

describe('a script that does not end', () => {
  test('in an isolate of its own', () => batch(Object.entries(loops).map(([name, code]) => [name, 'A', code, CPU])));
});
describe('a script that grows', () => {
  test('in an isolate of its own', () => batch(Object.entries(growth).map(([name, [code, says]]) => [name, 'G', code, says])));
});

describe('a script that uses too much of something', () => {
  test('in an isolate of its own', () => batch(Object.entries(uses).map(([name, [code, says]]) => [name, 'A', code, says])));
  test('lines of log past the rate are dropped, and told of', async () => {
    const address = 'h/A/log', ref = node.client.actor(address);
    await ref.ask('run', 'for (let i = 0; i < 5000; i++) console.log(i);');
    await until('it is told', async () => (await linesOf(address)).some((t) => /logs more than 100 lines a second/.test(t)));
    assert.ok((await linesOf(address)).filter((t) => /^\d+$/.test(t)).length <= 300);
  });
  test('asks past the limit are refused', async () => {
    const code = 'const all = []; for (let i = 0; i < 1001; i++) all.push(actor("h/A/waits").ask("wait", { timeout: 3000 })); return Promise.any(all).catch((e) => e.errors.map((x) => x.code));';
    assert.ok((await node.client.actor('h/A/asks').ask('run', code, PATIENCE)).includes('EOVERLOAD'));
  });
  test('messages and mailboxes have a size', async () => {
    const ref = node.client.actor('h/A/box');
    await assert.rejects(ref.ask('echo', new Uint8Array(600_000)), { code: 'ETOOBIG', message: /has at most 524288 bytes.*limit "message"/ });
    const held = Array.from({ length: 8 }, () => ref.ask('pause', new Uint8Array(300_000), PATIENCE).then(() => 'answered', (e) => e.code));
    const codes = await Promise.all(held);
    assert.ok(codes.includes('EOVERLOAD') && codes.includes('answered'), codes.join());
    assert.equal(await ref.ask('echo', 'again'), 'again');
  });
});

test('a program sends and gets more than 64 MB at once, where an actor allows it', async () => {
  const memory = (of) => +/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${of}/status`, 'latin1'))[1] * 1024;
  await using client = await connect({ socket: node.socket }); // behind so much on the other one bystanders would find no room
  const bytes = new Uint8Array(Buffer.alloc(80e6, randomBytes(99_991))), before_ = memory(node.pid);
  assert.ok(Buffer.compare(await client.actor('h/Large/one').ask('echo', bytes, PATIENCE), bytes) === 0);
  const small = client.actor('h/A/small');
  await assert.rejects(small.ask('echo', bytes, PATIENCE), { code: 'ETOOBIG', message: /has at most 524288 bytes.*limit "message"/ });
  assert.equal(await small.ask('echo', 'still here'), 'still here');
  if (!sanitized) await until('the agent has kept nothing of it', () => memory(node.pid) < before_ + (16 << 20));
});

describe('in an isolate that is shared', () => {
  const some = (table, names) => names.map((name) => [name, table[name]]);
  test('who loops crashes alone', async () => {
    const neighbours = Array.from({ length: 8 }, (_, i) => node.client.actor(`h/S/n${i}`));
    for (const n of neighbours) await n.ask('run', 'globalThis.kept ??= {}; kept[self.key] = true');
    await batch(some(loops, ['plain', 'a chain of promises', 'microtasks', 'process.nextTick', 'a getter of the answer', 'a getter of the state', 'after a timer', 'JSON.stringify with toJSON', 'what is logged']).map(([name, code]) => [name, 'S', code, CPU]));
    for (const n of neighbours) {
      assert.equal(await n.ask('run', 'return kept[self.key]'), true, 'the isolate is the same');
      assert.deepEqual((await linesOf(n.address)).filter((t) => t.startsWith('crashed')), []);
    }
  });
  test('who takes all its heap is to blame; the others start again from what they have saved', async () => {
    const neighbours = Array.from({ length: 8 }, (_, i) => node.client.actor(`m/M/n${i}`));
    for (const n of neighbours) await n.ask('run', 'self.state.n = 7');
    await node.client.actor('m/M/bad').ask('run', growth['an array'][0], PATIENCE).catch((e) => assert.equal(e.code, 'EFAILED'));
    assert.match(await until('it is said', async () => (await linesOf('m/M/bad')).find((t) => t.startsWith('crashed'))), HEAP);
    for (const n of neighbours) assert.equal(await n.ask('run', 'return self.state.n'), 7);
    const others = (await Promise.all(neighbours.map((n) => linesOf(n.address)))).flat().filter((t) => t.startsWith('crashed'));
    assert.ok(others.length > 0 && others.every((t) => /the isolate it shares was stopped, since m\/M\/bad crashed: /.test(t)), others.join('\n'));
  });
});

describe('a script that does not come to its first message', () => {
  for (const type of ['Top', 'TopAwait', 'Ctor', 'Start']) {
    test(type, async () => {
      await until('it is time', () => Date.now() > later);
      await assert.rejects(node.client.actor(`h/${type}/x`).ask('echo', 1, PATIENCE), { code: 'EFAILED', message: /used more than 300 ms of CPU while it started \(limit "cpu"\)/ });
    });
  }
  test('or does not come to its end', async () => {
    const ref = node.client.actor('h/Stop/x');
    assert.equal(await ref.ask('echo', 1), 1);
    assert.notEqual((await ctl(node, 'stop', 'h/Stop/x')).status, 0);
    assert.equal(await ref.ask('echo', 2), 2);
  });
});

test('bystanders were answered throughout, by the same actor-host', async () => {
  watch.over = true;
  await watch.done;
  assert.ifError(watch.failure);
  assert.equal(await hostPid(), pid);
  assert.ok(watch.slowest < 10_000, `the slowest of ${watch.asked} answers took ${watch.slowest} ms of CPU time`);
});

test('a script that cannot be stopped takes the actor-host along, which says so; one that does it again and again is not started', async () => {
  const address = 'h/A/stuck', ref = node.client.actor(address);
  for (let i = 0; i < 3; i++) {
    const before_ = await hostPid();
    await ref.ask('run', 'Array.prototype.indexOf.call({ length: 2 ** 50 }, 1);', PATIENCE).catch((e) => assert.equal(e.code, 'EUNREACHABLE', e.message));
    await until('there is another actor-host', async () => {
      const now = (await nodes(node))[0];
      return now.state === 'up' && now.host_pid !== before_;
    });
    await until('it says who is to blame', async () => (await linesOf(address)).filter((t) => /the actor-host was ended and started again: it has used more than 300 ms of CPU .* could not be stopped/.test(t)).length > i);
  }
  await assert.rejects(ref.ask('echo', 1), { code: 'EFAILED', message: /is in quarantine/ });
  assert.equal((await actors(node, 'h')).find((a) => a.address === address).state, 'quarantined');
  assert.equal((await ctl(node, 'restart', address)).status, 0);
  assert.equal(await ref.ask('echo', 'free'), 'free');
});
