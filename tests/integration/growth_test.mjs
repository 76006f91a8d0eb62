// SPDX-License-Identifier: Apache-2.0
//
// Growth, of everything a script can make more and more of beside what limits_test.mjs has: it ends with the actor crashed and a line of
// log that names the limit, and nobody else is harmed.
import { after, before, test } from 'node:test';

import { Arena } from './arena.mjs';

const limits = { cpu: '2s', heap: '24MB', external: '12MB', output: '4MB', asks: 1000, subscriptions: 1000, timers: 1000 };
const arena = new Arena('g', { G: limits, A: limits });
before(() => arena.open());
after(() => arena.close());

const cases = {
  'async asks': 'return (async () => { const all = []; for (;;) { all.push(actor("by/By/slow").ask("run", "return new Promise(() => {})").catch((e) => e)); await null; } })();',
  'emits in a loop': 'for (;;) actor("by/By/x").emit("nothing", "x".repeat(1000));',
  'ALS chains': 'const als = new AsyncLocalStorage(); const f = (n) => als.run({ n, big: new Array(100).fill(n) }, () => Promise.resolve().then(() => f({ n }))); f(0); return new Promise(() => {});',
  'ALS nested run': 'const als = new AsyncLocalStorage(); const keep = []; for (;;) als.run(new Array(100), () => keep.push(als.getStore()));',
  'streams readable': 'const s = new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1000)); } }, { highWaterMark: Infinity }); return new Promise(() => {});',
  'streams writable': 'const w = new WritableStream({ write() { return new Promise(() => {}); } }).getWriter(); for (;;) w.write(new Array(100));',
  'streams transform': 'const { readable, writable } = new TransformStream(undefined, undefined, { highWaterMark: Infinity }); const w = writable.getWriter(); for (;;) w.write(new Uint8Array(1000));',
  'streams node': 'const { PassThrough } = require("stream"); const p = new PassThrough(); for (;;) p.write(Buffer.alloc(1000));',
  'streams node objects': 'const { PassThrough } = require("stream"); const p = new PassThrough({ objectMode: true }); for (;;) p.write({});',
  'Blobs': 'const all = []; for (;;) all.push(new Blob([new Uint8Array(100000)]));',
  'Blob slices': 'const b = new Blob(["x".repeat(1000)]), all = []; for (;;) all.push(b.slice(1));',
  'structuredClone': 'const all = [], v = Array.from({ length: 1000 }, () => ({})); for (;;) all.push(structuredClone(v));',
  'structuredClone buffers': 'const all = [], v = new Uint8Array(100000); for (;;) all.push(structuredClone(v));',
  'crypto.randomBytes': 'const all = []; for (;;) all.push(crypto.randomBytes(10000));',
  'crypto uuid': 'const all = []; for (;;) all.push(crypto.randomUUID());',
  'crypto hashes': 'const all = []; for (;;) all.push(crypto.createHash("sha256"));',
  'URLs': 'const all = []; for (let i = 0; ; i++) all.push(new URL("http://a/" + i + "x".repeat(1000)));',
  'URL search': 'const u = new URL("http://a/"); for (let i = 0; ; i++) u.searchParams.append("k" + i, "x".repeat(1000));',
  'TextDecoder': 'const all = [], d = new TextDecoder(), b = new Uint8Array(10000).fill(65); for (;;) all.push(d.decode(b));',
  'TextDecoder streaming': 'const d = new TextDecoder("utf-16le"), all = []; for (;;) all.push(d.decode(new Uint8Array(999), { stream: true }));',
  'TextDecoders': 'const all = []; for (;;) all.push(new TextDecoder("windows-1252"));',
  'TextEncoder': 'const all = [], e = new TextEncoder(); for (;;) all.push(e.encode("x".repeat(10000)));',
  'listeners on self': 'for (let i = 0; ; i++) self.on("e" + i, () => {});',
  'listeners on one event': 'for (;;) self.on("e", () => {});',
  'listeners of a ref': 'const r = actor("by/By/x"); for (;;) r.on("e", () => {});',
  'refs': 'const all = []; for (let i = 0; ; i++) all.push(actor("by/By/x" + i));',
  'event targets': 'const t = new EventTarget(); for (let i = 0; ; i++) t.addEventListener("e", () => {});',
  'abort signals': 'const all = []; for (;;) all.push(AbortSignal.timeout(1e6));',
  'abort listeners': 'const c = new AbortController(); for (;;) c.signal.addEventListener("abort", () => {});',
  'abort any': 'const c = new AbortController(), all = []; for (;;) all.push(AbortSignal.any([c.signal]));',
  'message channels': 'const all = []; for (;;) { const c = new MessageChannel(); c.port1.postMessage(new Array(100)); all.push(c); }',
  'monitors': 'for (let i = 0; ; i++) self.monitor(`by/By/m${i}`);',
  'children': 'for (let i = 0; ; i++) self.spawn("A", `c${i}`);',
  'weak refs': 'const all = []; for (;;) all.push(new WeakRef({}));',
  'finalizers': 'const f = new FinalizationRegistry(() => {}); const all = []; for (;;) { const o = {}; all.push(o); f.register(o, new Array(10)); }',
  'generators': 'const all = []; for (;;) { const g = (function* () { yield new Array(10); })(); g.next(); all.push(g); }',
  'async functions': 'for (;;) (async () => { await new Promise(() => {}); })();',
  'errors': 'const all = []; for (;;) all.push(new Error("x"));',
  'stacks': 'Error.stackTraceLimit = 1e9; const all = []; const f = (n) => n ? f(n - 1) : all.push(new Error("x")); for (;;) f(1000);',
  'regexps': 'const all = []; for (let i = 0; ; i++) { const r = new RegExp("a{1,100}b" + i); r.test("aab"); all.push(r); }',
  'regexp captures': 'const all = []; for (;;) all.push("x".repeat(1000).match(/x/g));',
  'classes': 'const all = []; for (;;) all.push(class { a = 1; static b = 2; m() {} });',
  'proxies': 'const all = []; for (;;) all.push(new Proxy({}, {}));',
  'Intl': 'const all = []; for (;;) all.push(new Intl.NumberFormat("de", { minimumFractionDigits: 2 }));',
  'Intl dates': 'const all = []; for (;;) all.push(new Intl.DateTimeFormat("ja"));',
  'Intl segmenters': 'const all = []; for (;;) all.push(new Intl.Segmenter("th", { granularity: "word" }).segment("สวัสดี"));',
  'Intl collators': 'const all = []; for (;;) all.push(new Intl.Collator("zh"));',
  'symbols for': 'for (let i = 0; ; i++) Symbol.for("s" + i);',
  'deflate streams': 'const all = []; for (;;) { const z = zlib.createDeflate(); z.write("x"); all.push(z); }',
  'resizable buffers': 'const all = []; for (;;) { const b = new ArrayBuffer(1, { maxByteLength: 2 ** 24 }); b.resize(2 ** 20); new Uint8Array(b).fill(1); all.push(b); }',
  'transfer': 'const all = []; for (;;) all.push(new ArrayBuffer(1e5).transfer(2e5));',
  'detached buffers': 'const all = []; for (;;) { const a = new ArrayBuffer(1e5); all.push(structuredClone(a, { transfer: [a] })); }',
  'dates in Maps': 'const m = new Map(); for (let i = 0; ; i++) m.set(new Date(i), new Set([i]));',
  'console.time': 'for (let i = 0; ; i++) console.time("t" + i);',
  'console.count': 'for (let i = 0; ; i++) console.count("t" + i);',
  'unhandled rejections async': 'return (async () => { for (;;) { Promise.reject(new Error("x".repeat(1000))); await null; } })();',
  'thenables': 'const f = () => ({ then(ok) { ok(f()); } }); return f();',
  'state buffers': 'const all = self.state.all = []; for (;;) all.push(new Uint8Array(100000));',
  'headers': 'const h = new Headers(); for (let i = 0; ; i++) h.append("a" + i, "b".repeat(1000));',
  'responses': 'const all = []; for (;;) all.push(new Response(new Uint8Array(10000)));',
  'form data': 'const f = new FormData(); for (let i = 0; ; i++) f.append("k", new Blob([new Uint8Array(10000)]));',
  'fetches': 'for (;;) fetch("http://127.0.0.1:1/").catch(() => {});',
  'nextTick': 'for (;;) process.nextTick(() => {});',
  'queueMicrotask': 'for (;;) queueMicrotask(() => {});',
  'setImmediate': 'for (;;) setImmediate(() => {});',
  'globals': 'for (let i = 0; ; i++) globalThis["k" + i] = new Array(100);',
  'prototype': 'for (let i = 0; ; i++) Array.prototype["k" + i] = "x".repeat(100) + i;',
  'one huge BigInt': 'return ((1n << (2n ** 29n)) * (1n << (2n ** 29n))).toString(16).length;',
  'one huge Map': 'return new Map(Array.from({ length: 5e6 }, (_, i) => [i, i])).size;',
  'one huge JSON': 'return JSON.parse("[" + "{},".repeat(1e6) + "{}]").length;',
};

const LIMIT = /\(limit "(heap|external|cpu|output|timers|subscriptions)"\)/;
test('each ends with a limit that is named', () => arena.all(Object.entries(cases).map(([name, code]) => [name, () => arena.crashes('G', code, LIMIT)])));

// What is refused at a bound, and crashes nobody who can bear it.
const refused = {
  'asks that are never awaited': ['const all = []; for (let i = 0; i < 1500; i++) all.push(actor("by/By/x").ask("nobody answers this").catch((e) => e.code)); return Promise.all(all).then((a) => [...new Set(a)].sort().join());', /EOVERLOAD/],
  'operations of crypto.subtle': ['const all = []; for (let i = 0; i < 300; i++) all.push(globalThis.crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt"]).then(() => "ok", (e) => e.code)); return Promise.all(all).then((a) => [...new Set(a)].sort().join());', /EOVERLOAD,ok/],
  'messages of a channel': ['const c = new MessageChannel(); try { for (;;) c.port1.postMessage(new Uint8Array(100)); } catch (e) { return e.code; }', /EOVERLOAD/],
  'a Blob of Blobs': ['let b = new Blob(["x".repeat(1000)]); try { for (;;) b = new Blob([b, b]); } catch (e) { return e.name; }', /RangeError/],
  'a decompression bomb': ['const b = Buffer.from(zlib.deflateSync(Buffer.alloc(11e6))); try { zlib.inflateSync(Buffer.concat([b, b, b]), { chunkSize: 2e7 }); } catch (e) { return e.name; }', /RangeError/],
  'one huge string': ['try { "x".repeat(2 ** 29); } catch (e) { return e.name; }', /RangeError/],
  'one huge typed array': ['try { new Uint8Array(2 ** 33); } catch (e) { return e.name; }', /RangeError/],
  'emits that give way': ['return (async () => { for (let i = 0; i < 300; i++) { actor("by/By/x").emit("nothing", "x".repeat(100_000)); await sleep(0); } return "done"; })();', /done/],
};
test('or is refused', () => arena.all(Object.entries(refused).map(([name, [code, says]]) => [name, async () => {
  const { value, error } = await arena.run('A', code);
  if (!says.test(value)) throw new Error(`${value} ${error?.code} ${error?.message}`);
}])));

test('nobody else was harmed', () => arena.unharmed(20_000));
