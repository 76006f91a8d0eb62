// SPDX-License-Identifier: Apache-2.0
//
// Depth: recursion that never ends, and values, sources, patterns and chains a hundred thousand or a million deep. Each ends with an
// error the script can see, or with its own actor crashed and a line of log that says of what.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Arena } from './arena.mjs';

const limits = { cpu: '300ms', heap: '128MB' };
const arena = new Arena('d', { A: limits, S: { ...limits, isolation: 'shared' } });
before(() => arena.open());
after(() => arena.close());

const cases = {
  'plain recursion': 'const f = () => f() + 1; return f();',
  'recursion caught for ever': 'const f = () => { try { f(); } catch { f(); } }; f();',
  'recursion in JSON.stringify toJSON': 'const o = { toJSON() { return JSON.stringify({ o }); } }; return JSON.stringify(o);',
  'deep JSON.stringify': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return JSON.stringify(a).length;',
  'deep JSON.parse': 'return JSON.stringify(JSON.parse("[".repeat(1e6) + "]".repeat(1e6))).length;',
  'deep JSON.parse revive': 'return JSON.parse("[".repeat(1e6) + "]".repeat(1e6), (k, v) => v).length;',
  'deep reply array': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return a;',
  'deep reply object': 'let a = {}; for (let i = 0; i < 1e6; i++) a = { a }; return a;',
  'deep reply map': 'let a = new Map(); for (let i = 0; i < 1e6; i++) a = new Map([[a, a]]); return a;',
  'deep reply error cause': 'let a = new Error("x"); for (let i = 0; i < 1e5; i++) a = new Error("x", { cause: a }); return a;',
  'deep throw cause': 'let a = new Error("x"); for (let i = 0; i < 1e5; i++) a = new Error("x", { cause: a }); throw a;',
  'deep throw aggregate': 'let a = new Error("x"); for (let i = 0; i < 1e5; i++) a = new AggregateError([a], "x", { cause: a }); throw a;',
  'circular cause': 'const a = new Error("x"); a.cause = a; throw a;',
  'deep state': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; self.state.a = a; return 1;',
  'deep emit': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; actor("by/By/x").emit("echo", a); return 1;',
  'deep ask': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return actor("by/By/x").ask("echo", a);',
  'deep own emit': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; self.emit("nobody", a); return 1;',
  'deep structuredClone': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; structuredClone(a);',
  'deep console.log': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; console.log(a); return 1;',
  'deep util.inspect': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return util.inspect(a, { depth: Infinity }).length;',
  'deep util.isDeepStrictEqual': 'let a = [], b = []; for (let i = 0; i < 1e6; i++) { a = [a]; b = [b]; } return util.isDeepStrictEqual(a, b);',
  'deep flat': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return a.flat(Infinity).length;',
  'circular flat': 'const a = []; a.push(a, a); return a.flat(Infinity).length;',
  'deep toString': 'let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return String(a).length;',
  'deep proxies': 'let p = {}; for (let i = 0; i < 1e6; i++) p = new Proxy(p, {}); return p.x;',
  'deep proxies typeof/in': 'let p = {}; for (let i = 0; i < 1e6; i++) p = new Proxy(p, {}); return "x" in p;',
  'deep proxies isArray': 'let p = []; for (let i = 0; i < 1e6; i++) p = new Proxy(p, {}); return Array.isArray(p);',
  'deep proxies reply': 'let p = []; for (let i = 0; i < 1e6; i++) p = new Proxy(p, {}); return p;',
  'proxy own prototype': 'const p = new Proxy({}, { getPrototypeOf() { return p; } }); return p instanceof Array;',
  'deep bound': 'let f = () => 1; for (let i = 0; i < 1e6; i++) f = f.bind(null); return f();',
  'deep prototype chain': 'let o = {}; for (let i = 0; i < 1e6; i++) o = Object.create(o); return o.x;',
  'deep regexp': 'return new RegExp("(".repeat(1e5) + ")".repeat(1e5)).test("x");',
  'deep regexp 2': 'return new RegExp("(?:".repeat(1e6) + ")".repeat(1e6)).test("x");',
  'huge regexp': 'return new RegExp("a".repeat(1e6)).test("x");',
  'deep regexp match': 'return /(?:(a)|b)*c/.test("ab".repeat(1e7));',
  'deep source': 'return (0, eval)("(".repeat(1e6) + "1" + ")".repeat(1e6));',
  'deep source 2': 'return (0, eval)("[".repeat(1e6) + "]".repeat(1e6)).length;',
  'deep source 3': 'return (0, eval)("1" + "+1".repeat(1e6));',
  'deep source 4': 'return (0, eval)("if(1){".repeat(1e5) + "}".repeat(1e5));',
  'deep source 5': 'return (0, eval)("()=>".repeat(1e5) + "1");',
  'deep source 6': 'return (0, eval)("-".repeat(1) + "!".repeat(1e6) + "1");',
  'deep source 7': 'return (0, eval)("a".split("").concat(Array(1e5).fill("?.a")).join("").replace(/^a/, "({})"));',
  'deep template': 'return (0, eval)("`${".repeat(1e5) + "1" + "}`".repeat(1e5));',
  'deep destructuring': 'return (0, eval)("([".repeat(1) + "[".repeat(1e5) + "a" + "]".repeat(1e5) + "]) => 1");',
  'recursion in a getter': 'const o = { get a() { return this.a; } }; return o.a;',
  'recursion in a getter of the reply': 'const o = { get a() { return this.a; } }; return o;',
  'recursion in a proxy': 'const p = new Proxy({}, { get(t, k, r) { return r[k]; } }); return p.x;',
  'recursion in a sort': 'const c = () => { [1, 2, 3].sort(c); return 0; }; [1, 2, 3].sort(c);',
  'recursion in toString': 'const o = { toString() { return `${this}`; } }; return `${o}`;',
  'recursion in the error': 'class E extends Error { get message() { return this.message; } } throw new E();',
  'recursion in stack': 'const e = new Error("x"); Object.defineProperty(e, "stack", { get() { return this.stack; } }); throw e;',
  'recursion in toString of error': 'throw { toString() { return String(this); } };',
  'recursion in prepareStackTrace': 'Error.prepareStackTrace = () => new Error("y").stack; throw new Error("x");',
  'recursion async': 'const f = async () => { await f(); }; return f();',
  'recursion async after await': 'const f = async () => { await null; await f(); }; return f();',
  'recursion in then': 'const p = () => ({ then(ok) { ok(p()); } }); return p();',
  'recursion in a replace': 'const f = () => "a".replace(/a/, f); return f();',
  'recursion in a constructor': 'class A { constructor() { new A(); } } new A();',
  'recursion in a generator': 'function* g() { yield* g(); } for (const x of g());',
  'recursion in valueOf': 'const o = { valueOf() { return +this; } }; return +o;',
  'recursion in inspect': 'console.log({ [Symbol.for("nodejs.util.inspect.custom")](d, o, i) { return i(this); } }); return 1;',
  'recursion in own handlers': 'self.on("again", () => self.emit("again")); self.emit("again");',
  'recursion in an event target': 'const t = new EventTarget(); t.addEventListener("x", () => t.dispatchEvent(new Event("x"))); t.dispatchEvent(new Event("x")); return 1;',
  'recursion asks': 'return actor(self.address).ask("run", "return 1");',
  'unbounded arguments': 'return Math.max(...new Array(1e7).fill(1));',};

// What a script may see of it; else it has crashed, and the log says why.
const seen = (e) => e instanceof Error && (/Maximum call stack size exceeded|too large|Invalid regular expression|too deep|nested|cannot be sent/i.test(`${e.name} ${e.message}`) || ['ECLONE', 'EDEADLOCK', 'ESCRIPT'].includes(e.code));
const explained = /Maximum call stack size exceeded|used more than 300 ms of CPU|used more than 128 MB of heap|its state cannot be saved/;

async function ends(type, code) {
  const { address, error } = await arena.run(type, code);
  if (error === undefined || error.message === 'x') return; // it had an end after all
  if (error.code === 'EFAILED') {
    assert.match(await arena.crash(address), explained);
  } else {
    assert.ok(seen(error), `${error.code} ${error.name} ${error.message.slice(0, 200)}`);
  }
}

test('in an isolate of its own', () => arena.all(Object.entries(cases).map(([name, code]) => [name, () => ends('A', code)])));
// One after the other: what ends the isolate they share would end the others with it.
test('in an isolate that is shared', async () => {
  for (const name of ['plain recursion', 'recursion in JSON.stringify toJSON', 'deep reply array', 'deep throw cause', 'deep state', 'deep emit', 'recursion in a proxy', 'recursion in the error', 'recursion async', 'recursion in own handlers', 'deep proxies reply'])
    await ends('S', cases[name]).catch((e) => { throw new Error(`${name}: ${e.message}`, { cause: e }); });
});
test('nobody else was harmed', () => arena.unharmed(10_000));
