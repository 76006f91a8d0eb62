// SPDX-License-Identifier: Apache-2.0
//
// The codec of the isolates (actors/v8/encode.cc, decode.cc): plain values are read where they lie in V8's heap, and this makes sure that it
// makes no difference. What is encoded is encoded once more with V8's interface alone: the same bytes, or the same error. With all of V8's
// ways to run and to collect garbage, too: garbage collected at every turn moves what is being read.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const addon = join(process.env.ISOLA_BUILD || join(resolve(import.meta.dirname, '../..'), 'build'), 'lib/isolate.node');
const { ISOLA_PRELOAD } = process.env;
const env = ISOLA_PRELOAD ? { ...process.env, LD_PRELOAD: ISOLA_PRELOAD, ASAN_OPTIONS: 'detect_leaks=0' } : process.env;

// Runs `work`, a function of the addon and of what follows, in a process of its own with these flags of V8's.
function within(flags, work, ...args) {
  const code = `const iso = require(${JSON.stringify(addon)}); const id = iso.open();
    const result = (${work})(iso, id, ...${JSON.stringify(args)}); iso.close(id); console.log(JSON.stringify(result))`;
  return JSON.parse(execFileSync(process.execPath, ['--no-node-snapshot', '--no-turboshaft-loop-unrolling', '--expose-gc', ...flags, '-e', code], { env, encoding: 'utf8' }));
}

// Of each text what it makes, read where it lies and by V8's interface alone, where the two differ; and how many were the same.
function both(iso, id, texts) {
  const differ = [];
  let bytes = 0, errors = 0;
  for (const text of texts) {
    const direct = iso.encode(id, text, true), asked = iso.encode(id, text, false);
    if (JSON.stringify(direct) !== JSON.stringify(asked)) differ.push([text, direct, asked]);
    else if (direct.bytes !== undefined) bytes++;
    else errors++;
  }
  return { differ, bytes, errors };
}

// What is plain, what is not, and both in one another: in each place where reading may stop and V8's interface go on.
const odd = [
  'new Date(5)', '10n ** 30n', '-5n', 'new Map([[1, { a: 1 }], ["k", [2]]])', 'new Set(["x", {}])', 'new Uint8Array([1, 2])', 'new Float64Array([1.5])',
  'new ArrayBuffer(3)', 'new DataView(new ArrayBuffer(2))', '/a+/gi', 'new RangeError("no", { cause: { a: 1 } })', 'new (class K { a = 1; b = "x"; })()',
  '{ get a() { return [1, { b: 2 }]; }, c: 3 }', '[1, , 3]', '[1.5, , 2.5]', '["a", , {}]', 'Object.assign([1, 2], { more: 3 })', '{ 7: "seven", a: 1 }',
  '{ __proto__: null, a: 1 }', '{ __proto__: { inherited: 1 }, a: 1 }', '{ a: 1, [Symbol("s")]: 2 }', 'Object.defineProperty({ a: 1 }, "b", { value: 2 })',
  '((o) => (delete o.a, o))({ a: 1, b: 2, c: 3 })', 'Object.fromEntries(Array.from({ length: 40 }, (_, i) => ["k" + i, i]))',
  'JSON.parse(JSON.stringify(Object.fromEntries(Array.from({ length: 40 }, (_, i) => ["k" + i, i]))))', 'Object.freeze({ a: Object.freeze([1, "x"]) })',
  'Object.seal([1, 2.5])', 'Object.preventExtensions(["p"])', 'new Array(5)', 'new Array(300).fill(1)', 'new Array(300).fill(0.5)', 'Object.assign([], { 70000: 1 })',
  'new Number(5)', 'new String("boxed")', 'Object(true)', 'Object(7n)', 'ref("app/Type/key")', '[ref("a/B/c"), ref("a/B/c")]',
  '"rope " + String(1234567890) + " and more of it"', '"r\\u00f6pe " + String(1234567890) + " and more"', '"\\u65e5 rope " + String(1234567890) + " more"',
  '["long ".repeat(30)].map((s) => s + s + s)[0]', '"0123456789abcdefghijklmnop".slice(3, 20)', '"\\u65e5\\u672c\\u8a9e0123456789abcdefghijklmnop".slice(1, 20)',
  '"caf\\u00e9"', '"\\u00ff".repeat(100)', '"\\u65e5".repeat(100)', '"\\ud83d\\ude00".repeat(40)', '"\\ud800"', '"x\\udc00y"', '"\\u65e5".repeat(80) + "\\ud800"',
  '"\\ud83d".repeat(70) + "\\ude00"', '"x".repeat(70000)', '""', '"\\0"', 'null', 'undefined', 'true', '0', '-0', 'NaN', 'Infinity', '1e300', '2 ** 31', '-(2 ** 31)',
  '2 ** 53', '2 ** 53 + 2', '-(2 ** 53)', '4294967296', '0.1', '[]', '{}', '[[[]]]', '[-1, -32, -33, -128, -129, -32768, -32769, -2147483648, 127, 128, 255, 256, 65535, 65536]',
  '[1.5, 2, -0, NaN, 2 ** 53, 1e21]', '((o) => (o.o = o, o))({ a: 1 })', '((a) => (a.push(a, [a]), a))([1])', '((s) => [s, s, { s }])({ shared: [1] })',
  '((s) => [new Date(1), s, new Map([[s, s]]), s])({ shared: [1] })', '(function () { return arguments; })(1, { a: 2 })', '((d) => ({ d, again: d, list: [d] }))(new Date(7))',
  'JSON.parse("[1, 2.5, null, {\\"a\\": [true]}]")', '{ a: 1, get b() { globalThis.junk = Array.from({ length: 3000 }, (_, i) => ({ i })); return { c: junk[5] }; }, d: [junk] .length }',
  '((o) => ({ first: { get g() { o.late = 1; o.gone = "new"; return 1; } }, o, more: [o] }))({ a: 1, gone: 2 })',
  '((a) => [{ get g() { a.length = 1; return 1; } }, a])([1, 2, 3])', '((a) => (a[1] = { get g() { a.length = 2; return 1; } }, a))([0, 0, "gone", "gone"])',
  '((o) => (Object.defineProperty(o, "b", { enumerable: true, configurable: true, get() { delete o.c; o.d = 2; return 1; } }), o))({ a: 1, b: 0, c: 2 })',
];
odd.push('{ get a() { gc(false); return { b: 1 }; }, c: { d: [1, "x"] } }', '{ a: { get b() { gc(true); return 1; } }, c: [{ d: 1 }, [2.5]] }',
  '((o) => [o, { get g() { gc(true); return o; } }, o, { o }])({ a: [1] })', '((o) => [o, { get g() { gc(false); gc(false); return [o]; } }, o, new Date(1)])({ a: new Date(1) })',
  '((list) => (list[20] = { get g() { gc(true); return list[3]; } }, [list, list]))(Array.from({ length: 40 }, (_, i) => ({ i, s: "text " + i })))');
odd.push('new (class K { a = 1; b = { c: [1] }; #p = 2; get x() { return 1; } })()', 'new (class extends (class A { a = [1]; }) { b = "x"; })()', 'new (function F() { this.a = 1; this[7] = 2; })()',
  '((k) => [k, k, { k }])(new (class K { self = this; n = 1; })())', 'new (class K { a = 1; b = { get g() { gc(true); return 2; } }; c = [1, 2]; d = "d"; })()',
  '((k) => (k.b = { get g() { delete k.c; k.e = 5; return 1; } }, k))(new (class K { a = 1; b = 0; c = 2; d = 3; })())', 'Object.create({ a: 1 }, { b: { value: 2, enumerable: true }, c: { value: 3 } })',
  'new Map([[{ get g() { gc(true); return 1; } }, [1]], ["k", { get h() { gc(false); return {}; } }], [[2], "v"]])', 'new Map(Array.from({ length: 300 }, (_, i) => ["k" + i, [i, { i }]]))',
  'new Set([1, { get g() { gc(true); return [1]; } }, "x", [0.5], { a: 1 }, new Set([[1]])])', '((m) => (m.set("self", m), m.set(m, { get g() { m.clear(); return 1; } }), m.set("more", [m]), m))(new Map())',
  'Object.fromEntries(Array.from({ length: 300 }, (_, i) => ["k" + i, i]))', '((o) => (o.k299 = o, o))(Object.fromEntries(Array.from({ length: 300 }, (_, i) => ["k" + i, [i]])))');
const refused = [
  '() => 1', 'Symbol("s")', 'Promise.resolve()', 'new WeakMap()', 'new Proxy({}, {})', '(function* () {})()', '{ get a() { throw new TypeError("mine"); } }',
  'ref("none")', 'Array.from({ length: 250 }).reduce((a) => [a], 1)', 'Array.from({ length: 250 }).reduce((a) => ({ a }), 1)', 'Object.assign(() => {}, { a: 1 })',
];
const places = [(v) => `[${v}]`, (v) => `[{ a: ${v} }]`, (v) => `[[1, "x", ${v}, 2], { z: ${v}, y: [${v}] }]`, (v) => `[{ one: { two: [0.5, ${v}, { three: ${v} }], last: 1 }, end: "e" }]`,
  (v) => `[1, new Map([["k", ${v}]]), { after: ${v} }]`];
const sure = [...odd, ...refused].flatMap((v) => places.map((p) => `(ref, gc) => ${p(v)}`));

for (const flags of [[], ['--jitless'], ['--stress-compaction'], ['--single-generation'], ['--minor-ms']])
  test(`reading makes no difference ${flags.join(' ')}`, () => {
    const { differ, bytes, errors } = within(flags, both, sure);
    assert.deepEqual(differ, []);
    assert.deepEqual([bytes, errors], [odd.length * places.length, refused.length * places.length]);
  });

test('what cannot be sent is refused with the way to it', () => {
  const way = ([path, what]) => [`(ref, gc) => [0, { list: [1, { on: ${what} }] }]`, path];
  const cases = [['args[1].list[1].on: a function cannot be sent', '() => 1'], ['args[1].list[1].on.a[1].b: a symbol cannot be sent', '{ a: [new Date(0), { b: Symbol() }] }'],
    ['args[1].list[1].on.keys()[0].x: a function cannot be sent', 'new Map([[{ x() {} }, 1]])'], ['args[1].list[1].on[1]: a promise cannot be sent', '[1, Promise.resolve()]'],
    ['args[1].list[1].on.cause: a function cannot be sent', 'new Error("x", { cause() {} })']].map(way);
  const said = within([], (iso, id, texts) => texts.map((text) => [iso.encode(id, text, true), iso.encode(id, text, false)]), cases.map(([text]) => text));
  assert.deepEqual(said, cases.map(([, message]) => Array(2).fill({ code: 'ECLONE', message })));
});

// Values at random, made by a script from a number.
const generator = `(seed, gc) => {
  const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32, below = (n) => Math.floor(random() * n);
  const seen = [];
  const texts = ['', 'a', 'name', 'caf\\u00e9', '\\u65e5\\u672c', '\\ud83d\\ude00', '\\ud800', 'x'.repeat(31), 'x'.repeat(32), 'y'.repeat(300), '\\u00e9'.repeat(200), '\\u65e5'.repeat(200)];
  const text = () => { const t = texts[below(texts.length)]; return below(3) ? t : t + texts[below(texts.length)] + below(1000); };
  const number = () => [below(200) - 100, below(70000), random() * 100, -(2 ** below(54)), 2 ** below(54), -0, NaN, 2 ** 31 + below(9)][below(8)];
  const keep = (o) => (seen.push(o), o);
  const value = (depth) => {
    switch (below(depth > 5 ? 5 : 19)) {
      case 0: return text();
      case 1: return number();
      case 2: return [null, undefined, true, false][below(4)];
      case 3: return BigInt(below(1e9)) ** BigInt(below(5));
      case 4: return seen.length && below(2) ? seen[below(seen.length)] : number();
      case 5: case 6: case 7: { const o = keep({}); for (let n = below(8); n-- > 0;) o[text() || 'k' + n] = value(depth + 1); return o; }
      case 8: case 9: { const a = keep([]); for (let n = below(9); n-- > 0;) a.push(value(depth + 1)); return a; }
      case 10: return keep(Array.from({ length: below(300) }, () => below(300)));
      case 11: return keep(Array.from({ length: below(300) }, () => random()));
      case 12: { const m = keep(new Map()); for (let n = below(4); n-- > 0;) m.set(value(depth + 1), value(depth + 1)); return m; }
      case 13: { const s = keep(new Set()); for (let n = below(4); n-- > 0;) s.add(value(depth + 1)); return s; }
      case 14: return keep(new Date(below(1e9)));
      case 15: return keep([new Uint8Array(below(20)), new Float32Array(below(5)), new ArrayBuffer(below(9)), new BigInt64Array(2)][below(4)]);
      case 16: { const a = keep([1, 'two', 3.5]); if (below(2)) a[5 + below(3)] = value(depth + 1); if (below(3) === 0) delete a[0]; return a; }
      case 17: { class K { a = below(9); } const k = keep(new K()); for (let n = below(5); n-- > 0;) k['k' + n] = value(depth + 1); return k; }
      default: { const v = value(depth + 1), o = keep({ a: 1, b: v }); if (below(2)) Object.defineProperty(o, 'got', { enumerable: true, get: () => (below(2) && gc(below(20) === 0), { v }) }); return o; }
    }
  };
  return [value(0), value(0)];
}`;
for (const flags of [[], ['--jitless'], ['--stress-compaction'], ['--minor-ms']])
  test(`values at random ${flags.join(' ')}`, () => {
    const differ = within(flags, (iso, id, make, count) => {
      const found = [];
      for (let seed = 1; seed <= count; seed++) {
        const text = `(ref, gc) => (${make})(${seed}, gc)`;
        const direct = iso.encode(id, text, true), asked = iso.encode(id, text, false);
        const again = direct.bytes === undefined ? direct : iso.recode(id, direct.bytes, true);
        if (JSON.stringify(direct) !== JSON.stringify(asked) || JSON.stringify(again) !== JSON.stringify(direct)) found.push([seed, direct, asked, again]);
      }
      return found;
    }, generator, flags[0]?.startsWith('--stress') ? 100 : 500);
    assert.deepEqual(differ, []);
  });

test('large messages', () => {
  const texts = ['() => [new Uint8Array(70e6)]', '() => ["x".repeat(70e6)]', '() => [new Array(5e6).fill(1.5), new Array(5e6).fill(7)]', '() => ["\\u65e5".repeat(35e6)]'];
  for (const [text, said] of within([], (iso, id, all) => all.map((t) => [t, iso.encode(id, t, true)]), texts)) assert.match(said.bytes ?? '', /^\d+ bytes/, text);
});

// A message may have twice what its isolate has in memory: what is small there and endless in bytes ends at that.
test('messages that are too large', () => {
  const values = ['"x".repeat(2 ** 20)', '"\\u00e9".repeat(2 ** 20)', '"\\u65e5".repeat(2 ** 19)', '"x".repeat(2 ** 20) + "y".repeat(9)'];
  const said = within([], (iso, id, all) =>
    all.flatMap((v) => [true, false].map((direct) => iso.encode(id, `() => { const s = ${v}; return [Array(100).fill(s), 1]; }`, direct))), values);
  for (const { code, message } of said) {
    assert.equal(code, 'ETOOBIG');
    assert.match(message, /^args\[0\]\[\d+\]: it takes more than \d+ MB to send$/);
  }
});

test('this V8 is one whose heap can be read', () => assert.equal(within([], (iso) => iso.readable()), true));
