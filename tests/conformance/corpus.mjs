// SPDX-License-Identifier: Apache-2.0
//
// What node_test.mjs compares: for each area a list of [expression, args]. Where inputs are made up they are made from a fixed seed.

let state = 0x2545f491;
function random(n) {
  state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
  return (state >>> 0) % n;
}
const pick = (list) => list[random(list.length)];
const some = (n, make) => Array.from({ length: n }, make);

// --- URL ---

const pieces = ['http:', 'https:', 'ftp:', 'file:', 'ws:', 'wss:', 'data:', 'mailto:', 'javascript:', 'blob:', 'x-y+z.1:', '//', '/', '///', '\\', '\\\\', '?', '#', '@', ':', ':80', ':443', ':8080',
  ':99999', ':0', 'user', 'user:pass', 'example.com', 'EXAMPLE.com', 'ex%41mple', 'exämple.de', 'xn--exmple-cua.de', 'xn--a', '日本語.jp', 'faß.de', '☃.net', '1.2.3.4', '0x7f.1', '256.256.256.256', '017700000001', '4294967295', '4294967296',
  '[::1]', '[1:2::3:4]', '[::ffff:1.2.3.4]', '[g]', '[::1', 'a.b.', '..', '.', '%2e', '%2E%2e', 'a b', ' ', '\t', '\n', '\0', '%', '%zz', '%00', 'é', '\u{1f600}', '\ud800', 'path', 'q=1&r=2', 'C:', 'C|', 'c:/x', 'localhost', 'a'.repeat(70), '<', '>', '"', '`', '{', '}', '|', '^', "'", '~', '$', ',', ';', '='];
const urls = [...some(1500, () => some(1 + random(6), () => pick(pieces)).join('')), ...some(800, () => `${pick(['http', 'https', 'file', 'non-special', 'ws'])}://${some(random(5), () => pick(pieces)).join('')}`)];
const parts = '(u => [u.href, u.origin, u.protocol, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash, [...u.searchParams]])';
const bases = ['http://user:pw@h.example:81/a/b?c#d', 'file:///C:/x/y', 'about:blank', 'non-special://h/p', 'mailto:x'];

export const URLs = [
  ...urls.map((u) => [`${parts}(new URL(args))`, u]),
  ...urls.slice(0, 700).map((u) => [`${parts}(new URL(...args))`, [u, pick(bases)]]),
  ...urls.slice(0, 200).map((u) => ['[URL.canParse(...args), URL.parse(...args)?.href]', [u, pick(bases)]]),
  ...['protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash', 'href'].flatMap((name) =>
    some(80, () => [`(u => { u[args[0]] = args[1]; return [u.href, u[args[0]]] })(new URL(args[2]))`, [name, some(1 + random(3), () => pick(pieces)).join(''), pick(bases)]])),
  ...pieces.flatMap((d) => [['url.domainToASCII(args)', d], ['url.domainToUnicode(args)', d], ['url.pathToFileURL(args).href', `/${d}`]]),
  ...['file:///a%20b', 'file:///%2f', 'file://host/x', 'http://x', 'file:///C:/%7e'].map((u) => ['[url.fileURLToPath(args), url.fileURLToPath(args, { windows: true })]', u]),
  ...urls.slice(0, 300).map((u) => ['url.format(url.parse(args))', u]),
  ...urls.slice(0, 300).map((u) => ['url.resolve(...args)', ['http://a/b/c/d;p?q', u]]),
  ...[{}, { fragment: false }, { search: false }, { auth: false }, { unicode: true }, { unicode: true, auth: false, search: false, fragment: false }].map((o) => ['url.format(new URL("http://u:p@xn--exmple-cua.de:81/x?y#z"), args)', o]),
  ['new URL()'], ['URL("http://x")'], ['new URL("http://x").toJSON()'], ['URL.prototype.href'], ['new URL("http://a b")'], ['new URL("x", "y")'], ['Object.keys(URL.prototype)'],
];

export const URLSearchParams = [
  ...['', '?', 'a=1&b=2&a=3', '?x=%20+y', 'a', '=', '&&', 'é=ü', '%zz=%', 'a=b=c', 'x=%F0%9F%98%80', '%ff=1'].flatMap((s) => [
    ['[...new URLSearchParams(args)]', s], ['new URLSearchParams(args).toString()', s], ['(p => { p.sort(); p.append("n", 1); p.delete("a", "1"); return [p.size, p.get("a"), p.getAll("b"), p.has("x"), p + ""] })(new URLSearchParams(args))', s]]),
  ['new URLSearchParams([["a", 1], ["b", 2]])'], ['new URLSearchParams({ a: 1, b: [2, 3] })'], ['new URLSearchParams([[1]])'], ['new URLSearchParams(new Map([["a", "b"]]))'], ['new URLSearchParams(5)'], ['new URLSearchParams("a=\\ud800").toString()'],
  ['(u => { u.searchParams.set("k", "v w"); u.search = "?z"; return [u.href, ...u.searchParams] })(new URL("http://h/?a#b"))'],
];

// --- bytes and strings ---

const texts = ['', 'a', 'hello', 'héllo', '€', '\u{1f600}', '\ud800x', 'x\udc00', '\ud800', '日本語', '\0\x7f\x80\xff', 'a'.repeat(300), '\ufeffbom', '68656c6c6f', '6865zz', '6', 'aGVsbG8=', 'aGVsbG8', 'aGV sbG8=', 'a-_b', 'a+/b', '====', 'YQ==YQ==', 'é='];
const encodings = ['utf8', 'utf-8', 'UTF8', 'hex', 'base64', 'base64url', 'latin1', 'binary', 'ascii', 'ucs2', 'utf16le', 'UTF-16LE', 'nonsense'];
const bytes = [[], [0], [0x80], [0xff, 0xfe], [0xef, 0xbb, 0xbf, 0x61], [0xc3, 0xa9], [0xc3], [0xe2, 0x82], [0xe2, 0x82, 0xac], [0xf0, 0x9f, 0x98, 0x80], [0xf0, 0x9f, 0x98], [0xf0, 0x80, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0x80], [0x61, 0xff, 0x62],
  ...some(40, () => some(random(12), () => random(256))), ...some(40, () => some(random(9), () => pick([0x61, 0x80, 0xbf, 0xc3, 0xe2, 0x82, 0xf0, 0x9f, 0xed, 0xa0, 0xef, 0xbb, 0xd8, 0xdc, 0])))];

// Of what goes in pieces (actors/v8/node_*.cc): sizes around theirs, and what lies across their borders.
const MB = 1 << 20;
const hash = (v) => `crypto.createHash("sha1").update(${v}).digest("hex")`;
const noise = '((n, k = 7) => { const p = Buffer.alloc(9973); for (let i = 0, x = k; i < p.length; i++) { x = (x * 1103515245 + 12345) & 0x7fffffff; p[i] = x >> 16; } const b = Buffer.alloc(n, p); for (let i = 0; i < n; i += 65521) b[i] = i >> 8; return b; })';
export const Pieces = [
  ...[MB - 1, MB, MB + 1, 3 * MB + 1, 3 * MB + 2].flatMap((n) => [
    ...['hex', 'base64', 'base64url', 'ascii', 'latin1', 'utf16le', 'utf8'].map((e) => [`(b => { const s = b.toString(args[1]); return [s.length, ${hash('s')}, ${hash('Buffer.from(s, args[1])')}] })(${noise}(args[0]))`, [n, e]]),
    [`(b => [${hash('b')}, ${hash('b.subarray(1)')}, crypto.createHmac("sha256", b).update(b).digest("hex"), zlib.crc32(b)])(${noise}(args))`, n],
    [`(b => [${hash('b.fill("abcde", 3)')}, ${hash('b.fill(Buffer.from([1, 2, 3]), 1, args - 1)')}, ${hash('b.fill(7)')}])(Buffer.alloc(args))`, n],
    [`(b => [b.copy(b, 1), ${hash('b')}, b.copy(b, 0, 5), ${hash('b')}])(${noise}(args))`, n],
    [`(b => { b[args - 2] = 0xc3; b[args - 1] = 0xa9; return [buffer.isAscii(b), buffer.isUtf8(b), buffer.isUtf8(b.subarray(0, args - 1)), new TextDecoder("utf-8", { fatal: true }).decode(b).length] })(Buffer.alloc(args, 65))`, n],
    ['(b => { const c = Buffer.from(b); const same = [b.compare(c), b.equals(c), crypto.timingSafeEqual(b, c)]; c[args - 1]++; return [...same, b.compare(c), c.compare(b), crypto.timingSafeEqual(b, c), b.compare(c, 1, args - 1, 1, args - 1)] })(Buffer.alloc(args, 9))', n],
    [`(b => [atob(btoa(b)) === b, btoa(b).length])(${noise}(args).toString("latin1"))`, n],
    [`(s => [${hash('Buffer.from(s, "base64")')}, ${hash('Buffer.from(s, "hex")')}])("ab\u0100\n".repeat(args / 4))`, n],
  ]),
  ...[2, 4, 256, 258, 5000, MB + 2].flatMap((n) => [MB / 8 - 2, MB - 1, 4 * MB - 1].map((at) => [
    `(([n, at]) => { const b = (${noise})(6 * 1048576, 3), x = (${noise})(n, 5); b.set(x, at);
      return [b.indexOf(x), b.lastIndexOf(x), b.indexOf(x, at), b.indexOf(x, at + 1), b.lastIndexOf(x, at), b.lastIndexOf(x, at - 1), b.includes(x), b.indexOf(x, -9000), b.lastIndexOf(x, -2)] })(args)`, [n, at]])),
  ...[1000, 200_000, 1_000_000].flatMap((chunkSize) => [0, 1, 6].map((level) => [
    `(([chunkSize, level, b]) => { const o = { chunkSize: Math.max(64, chunkSize), level }; const d = zlib.deflateSync(b, o), g = zlib.gzipSync(b, o), r = zlib.deflateRawSync(b, o);
      const cut = (f) => { try { return f().length } catch (e) { return e.code } };
      return [d, g, r].map((x) => ${hash('x')}).concat(${hash('zlib.inflateSync(d, o)')}, ${hash('zlib.gunzipSync(Buffer.concat([g, g]), o)')}, ${hash('zlib.inflateRawSync(r, o)')}, cut(() => zlib.inflateSync(d.subarray(0, -9), o)), cut(() => zlib.inflateSync(d.subarray(0, -9), { ...o, finishFlush: zlib.constants.Z_SYNC_FLUSH })), cut(() => zlib.unzipSync(g, { ...o, maxOutputLength: 1000 }))) })([...args, Buffer.concat([${noise}(300_001), Buffer.alloc(200_000, "abc")])])`, [chunkSize, level]])),
  ...['http://a/' + 'b/../'.repeat(50_000), 'http://' + 'ü'.repeat(3000) + '.de', 'http://' + 'a.'.repeat(3000)].map((u) => ['URL.canParse(args) && new URL(args).href.length', u]),
];

export const Buffers = [
  ...texts.flatMap((t) => encodings.map((e) => ['buffer.Buffer.from(...args)', [t, e]])),
  ...bytes.flatMap((b) => encodings.map((e) => ['buffer.Buffer.from(args[0]).toString(args[1])', [b, e]])),
  ...texts.flatMap((t) => encodings.map((e) => ['(b => [b.write(args[0], 2, 5, args[1]), b])(Buffer.alloc(8, 1))', [t, e]])),
  ...texts.flatMap((t) => encodings.map((e) => ['[Buffer.byteLength(...args), Buffer.alloc(7).fill(...args)]', [t, e]])),
  ...bytes.flatMap((b) => [['Buffer.from(args).toString("utf8", 1, 3)', b], ['[buffer.isUtf8(Buffer.from(args)), buffer.isAscii(Buffer.from(args))]', b], ['Buffer.from(args).toJSON()', b], ['Buffer.from(args).swap16()', b], ['Buffer.from(args).swap32()', b], ['Buffer.from(args).swap64()', b]]),
  ...some(300, () => ['(([h, n, at, e]) => [Buffer.from(h).indexOf(n, at, e), Buffer.from(h).lastIndexOf(n, at, e), Buffer.from(h).includes(n, at, e)])(args)',
    [some(random(20), () => pick('abcab')).join(''), pick(['a', 'ab', 'abc', '', 'bca', '6162']), pick([0, 1, 5, -1, -3, 100, -100, 2.7]), pick(['utf8', 'latin1', 'hex', 'ucs2', 'base64'])]]),
  ...some(60, () => ['(([h, n, at]) => [Buffer.from(h).indexOf(n, at), Buffer.from(h).lastIndexOf(n, at), Buffer.from(h).indexOf(Buffer.from([n]), at)])(args)', [some(random(9), () => pick('abc')).join(''), pick([97, 99, 0, 353]), pick([0, 1, 5, -1, -3, 100])]]),
  ...some(100, () => ['(([h, n, at]) => [Buffer.from(h, "ucs2").indexOf(n, at, "ucs2"), Buffer.from(h, "ucs2").lastIndexOf(n, at, "ucs2")])(args)', [some(random(12), () => pick('abé')).join(''), pick(['a', 'b', 'ab', '', 'é']), pick([0, 1, 2, 3, -2, -5, 50])]]),
  ...some(100, () => ['(([a, b, ...r]) => [Buffer.from(a).compare(Buffer.from(b)), Buffer.compare(Buffer.from(a), Buffer.from(b)), Buffer.from(a).equals(Buffer.from(b)), Buffer.from(a).compare(Buffer.from(b), ...r)])(args)',
    [pick(bytes), pick(bytes), 0, 1, 0, 1].slice(0, 2 + random(5))]),
  ...some(100, () => ['(([a, b, ...r]) => { const t = Buffer.from(a); return [Buffer.from(b).copy(t, ...r), t] })(args)', [pick(bytes), pick(bytes), ...some(random(4), () => random(6))]]),
  ...['UInt8', 'UInt16LE', 'UInt16BE', 'Int16BE', 'UInt32LE', 'Int32BE', 'FloatLE', 'DoubleBE', 'BigInt64LE', 'BigUInt64BE'].flatMap((n) => [[`Buffer.from([1, 2, 3, 4, 5, 6, 7, 200, 255]).read${n}(1)`], [`(b => [b.write${n}(${n.startsWith('Big') ? '5n' : '5'}, 0), b])(Buffer.alloc(9))`], [`Buffer.alloc(3).read${n}(9)`], [`Buffer.alloc(9).write${n}(${n.startsWith('Big') ? '2n ** 70n' : '2 ** 70'}, 0)`]]),
  ['Buffer.concat([Buffer.from("a"), new Uint8Array([98])], 5)'], ['Buffer.alloc(5, "ab")'], ['Buffer.alloc(-1)'], ['Buffer.alloc(4, "zz", "hex")'], ['Buffer.from({})'], ['Buffer.from(5)'], ['Buffer.from([256, -1, "7", null])'], ['Buffer.isEncoding("hex")'],
  ['Buffer.from(new Uint16Array([1, 2]).buffer, 1, 2)'], ['Buffer.prototype.utf8Slice.call({})'], ['Buffer.prototype.hexWrite.call({}, "aa")'], ['Buffer.from("abc").subarray(1).toString()'], ['Buffer.from("é").latin1Slice()'], ['Buffer.of(1, 2, 3).readUIntBE(0, 3)'],
  ['new buffer.Buffer(3)'], ['buffer.constants'], ['Buffer.from("test").toString("base64", 1)'], ['[...Buffer.from("ab").entries()]'], ['Buffer.poolSize'], ['Buffer.from("abc") instanceof Uint8Array'],
  ...texts.flatMap((t) => [['btoa(args)', t], ['atob(args)', t]]), ...['YQ', 'YQ=', 'YQ==', 'Y', ' Y Q = = ', 'Y\0', 'YWI=YWI=', '=', '==', 'YQ===', 'ab=c', 'é'].map((t) => ['atob(args)', t]), ['atob()'], ['btoa(5)'], ['atob(null)'],
];

export const encoding = [
  ...texts.flatMap((t) => [['new TextEncoder().encode(args)', t], ['(b => [new TextEncoder().encodeInto(args, b), b])(new Uint8Array(4))', t]]),
  ...bytes.flatMap((b) => ['utf-8', 'utf-16le', 'latin1', 'windows-1252', 'iso-8859-2', 'koi8-r'].map((e) => ['new TextDecoder(args[1]).decode(new Uint8Array(args[0]))', [b, e]])),
  ...bytes.flatMap((b) => [['new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(args))', b], ['new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(args))', b]]),
  ...bytes.map((b) => ['(d => args.map((c) => d.decode(new Uint8Array([c]), { stream: true })).join("|") + "|" + d.decode())(new TextDecoder())', b]),
  ...bytes.flatMap((b) => ['utf8', 'utf16le', 'base64', 'base64url', 'hex', 'latin1', 'ascii'].map((e) => ['(d => [...args[0].map((c) => d.write(Buffer.from([c]))), d.end()])(new string_decoder.StringDecoder(args[1]))', [b, e]])),
  ...some(200, () => ['(d => [...args[0].map((c) => d.write(Buffer.from(c))), d.end()])(new string_decoder.StringDecoder(args[1]))', [some(random(4), () => pick(bytes)), pick(['utf8', 'utf16le', 'base64'])]]),
  ['new TextDecoder("nonsense")'], ['new TextDecoder().decode(5)'], ['new TextDecoder("utf-8", 5)'], ['new TextDecoder().encoding'], ['new TextDecoder("ascii").encoding'], ['new TextEncoder().encode()'], ['new string_decoder.StringDecoder("nonsense")'],
];

// Random bytes of the kind each encoding is made of: plain, with errors that end it, and again after those. And all pairs of bytes there are.
const eastern = ['gbk', 'gb18030', 'big5', 'euc-jp', 'iso-2022-jp', 'shift_jis', 'euc-kr'];
const escapes = ['\x1b$B', '\x1b$@', '\x1b(B', '\x1b(J', '\x1b(I', '\x1b$(D', '\x1b', '\x1b$', '\x0e', '\x0f'].map((e) => [...Buffer.from(e, 'latin1')]);
const eastBytes = (label) => some(1 + random(24), () => [() => [random(256)], () => [0x81 + random(0x7e), 0x40 + random(0xbf)], () => [0xa1 + random(0x5e), 0xa1 + random(0x5e)], () => [0x20 + random(0x5f)],
  () => [0x81 + random(0x7e), 0x30 + random(10), 0x81 + random(0x7e), 0x30 + random(10)], () => (label === 'iso-2022-jp' ? [...pick(escapes), 0x21 + random(0x5e), 0x21 + random(0x5e)] : [0x8f, 0xa1 + random(0x5e), 0xa1 + random(0x5e)])][random(6)]()).flat();
export const eastAsia = eastern.flatMap((label) => [
  ...some(40, () => [`args[1].map((b) => { const u = new Uint8Array(b), d = new TextDecoder(args[0]), f = new TextDecoder(args[0], { fatal: true }), all = [d.decode(u), d.decode(u.subarray(1)), new TextDecoder(args[0], { ignoreBOM: true }).decode(u)];
    for (let k = 0; k < 2; k++) try { all.push(f.decode(u.subarray(k))); } catch (e) { all.push(e.name + e.code + e.message); }
    return JSON.stringify(all); })`, [label, some(50, () => eastBytes(label))]]),
  ...[[], [0x1b, 0x24, 0x42], [0x8f], [0x81, 0x30]].map((first) => [`(() => { const h = crypto.createHash('sha256'), d = new TextDecoder(args[0]);
    for (let i = 0; i < 65536; i++) h.update(d.decode(new Uint8Array([...args[1], i >> 8, i & 255, 0x41])) + '\\n'); return h.digest('hex'); })()`, [label, first]]),
  ['(d => [d.encoding, d.fatal, d.ignoreBOM, d])(new TextDecoder(args))', label],
]);
/** [label, bytes]: torn anywhere they are the same text. (Node.js itself throws now and then where what waits becomes more than the piece that comes.) */
export const torn = eastern.flatMap((label) => some(500, () => [label, eastBytes(label)]));

// --- the modules ---

const paths = ['', '.', '..', '/', '//', '/a', '/a/', 'a//b', '/a/../b', '../a', 'a/./b', '/..', 'a.b', '.a', 'a.', '/a/b.c.d', 'C:\\x\\..\\y', 'c:', '\\\\srv\\share\\x', 'ä/ö'];
export const path = [
  ...paths.flatMap((p) => ['basename', 'dirname', 'extname', 'normalize', 'isAbsolute', 'parse', 'resolve'].flatMap((f) => [[`path.posix.${f}(args)`, p], [`path.win32.${f}(args)`.replace('win32.resolve', 'win32.normalize') /* resolve looks at drives */, p]])),
  ...some(150, () => [`[path.join(...args), path.relative(...args.map((p) => "/" + p)), path.win32.join(...args), path.resolve("/", ...args)]`, [pick(paths), pick(paths)]]),
  ['path.join(5)'], ['path.format({ dir: "/a", base: "b" })'], ['Object.keys(path)'], ['path.sep'],
];

export const querystring = [
  ...['a=1&b=2&a=3', '', 'a', '=', '&', 'a=%zz', 'a+b=c%20d', 'é=ü', '__proto__=1'].flatMap((s) => [['querystring.parse(args)', s], ['querystring.escape(args)', s], ['querystring.unescape(args)', s]]),
  ['querystring.stringify({ a: [1, 2], b: true, c: null, d: 5n, e: "é &" })'], ['querystring.parse("a:1;b:2", ";", ":")'], ['querystring.parse("a&b&c", null, null, { maxKeys: 2 })'], ['querystring.stringify("x")'], ['querystring.escape("\\ud800")'],
];

const values = ['1', '-0', '"s"', '5n', 'null', 'undefined', 'Symbol("x")', 'true', '[1,,3]', '[]', '{}', '{a:{b:{c:{d:1}}}}', 'new Map([[1,{a:2}],["k",new Set([1])]])', 'new Set("ab")', 'new Date(0)', 'new Date(NaN)', '/x/gi', '()=>{}', 'function f(){}', 'async function g(){}', 'function* h(){}', 'class A{}', 'class B extends Map{}',
  'new (class Foo { x = 1 })', 'Object.create(null)', 'Promise.resolve(4)', 'Promise.reject(4).catch(()=>{}) && new Promise(()=>{})', 'new Proxy({a:1},{})', 'new WeakMap()', 'new WeakSet()', 'new Uint8Array([1,2])', 'new ArrayBuffer(3)', 'new DataView(new ArrayBuffer(2))', 'Buffer.from("hi")', '[1,2,3].values()', 'new Map([[1,2]]).entries()', 'new Map([[1,2]]).keys()', 'new Set([7])[Symbol.iterator]()',
  'Object(1)', 'Object("s")', 'Object(5n)', 'Object(Symbol("q"))', 'Object(false)', '(function(){return arguments})(1,2)', '"a\\nb\\u0000\'"', '"x".repeat(300)', 'Array(200).fill(7)', '(o=>{o.o=o;return o})({})', '{get a(){return 1},set a(v){}}', '{get b(){return 1}}', '{[Symbol("k")]:1}', '{"a-b":1,2:3}', 'globalThis.undefinedThing', 'Object.assign([1],{x:2})', 'Object.assign(()=>{},{x:2})', 'new Error("m").message', 'Object.assign(new Error("m"),{stack:"Error: m\\n    at x",code:"E"})',
  'new URL("http://a/b")', 'new URLSearchParams("a=1")', 'new AbortController().signal', 'new Event("x").type', 'new Blob(["ab"])', 'new TextDecoder()', 'new Headers({a:"b"})', 'new (class extends Array{})(3)', 'Object.freeze([1])', '(function*(){})()', 'Atomics', 'Math', 'JSON', 'Reflect', 'new Intl.NumberFormat("en").format(1234.5)'];
export const util = [
  ...values.flatMap((v) => [[`util.inspect(${v})`], [`util.inspect(${v}, { showHidden: true, depth: 1, compact: false, breakLength: 40, sorted: true, getters: true, colors: true })`], [`util.format("%s|%d|%i|%f|%j|%o|%O|%%|%c", ${v.startsWith('Atomics') ? 1 : v}, ${v.includes('Symbol') ? 1 : v}, 1)`]]),
  ...values.map((v) => [`Object.keys(util.types).filter((k) => util.types[k](${v})).sort()`]),
  ...some(600, () => [`[util.isDeepStrictEqual(${pick(values)}, ${pick(values)}), (() => { try { assert.deepEqual(${pick(values)}, ${pick(values)}); return true } catch (e) { return e.code } })()]`]),
  ...values.map((v) => [`[util.isDeepStrictEqual(${v}, ${v}), (() => { try { assert.deepEqual(${v}, ${v}); return true } catch (e) { return e.code } })()]`]),
  ['util.promisify((a, cb) => cb(null, a + 1))(1)'], ['util.promisify(5)'], ['util.callbackify(async () => 1).length'], ['util.inherits(5, 6)'], ['util.stripVTControlCharacters("\\u001b[31mx\\u001b[0m")'], ['util.styleText("red", "x")'], ['util.styleText("nonsense", "x")'], ['util.toUSVString("a\\ud800")'],
  ['util.parseArgs({ args: ["-f", "--bar", "b", "c"], options: { f: { type: "boolean", short: "f" }, bar: { type: "string" } }, allowPositionals: true })'], ['util.parseArgs({ args: ["--no"], options: {} })'], ['util.deprecate(() => 5, "old", "DEP0")()'],
  ['new util.MIMEType("text/html; charset=utf-8").essence'], ['util.inspect("日本", { colors: true })'], ['util.debuglog("x").enabled'], ['util.aborted === undefined'], ['Object.keys(util).filter((k) => k !== "TextEncoder").sort()'],
  ['util.inspect(Object.setPrototypeOf({ a: 1 }, { constructor: undefined }))'], ['util.inspect({ [util.inspect.custom]: () => "mine" })'], ['util.inspect({ [util.inspect.custom]: () => { throw new Error("no") } })'], ['util.inspect(new Proxy({}, { get() { throw 1 } }))'], ['util.inspect(new Proxy(class X {}, {}), { showProxy: true })'],
];

export const assertions = [
  ['assert(false, "said")'], ['assert.equal(1, 2)'], ['assert.strictEqual("a\\nb\\nc", "a\\nx\\nc")'], ['assert.deepEqual({ a: 1, b: [1, 2] }, { a: 1, b: [1, 3] })'], ['assert.deepStrictEqual([1, 2, [3]], [1, 2, [4]])'], ['assert.notEqual(1, 1)'], ['assert.throws(() => { throw new TypeError("x") }, RangeError)'], ['assert.throws(() => {}, "m")'],
  ['assert.throws(() => { throw new TypeError("x") }, { name: "TypeError", message: /x/ })'], ['assert.rejects(async () => {})'], ['assert.rejects(Promise.reject(new Error("z")), /z/)'], ['assert.doesNotThrow(() => { throw new Error("q") })'], ['assert.match("abc", /x/)'], ['assert.ifError(new Error("e"))'], ['assert.fail("f")'], ['assert.fail()'],
  ['assert.strict.equal(1, "1")'], ['assert.partialDeepStrictEqual({ a: 1, b: 2 }, { a: 1 })'], ['assert.partialDeepStrictEqual({ a: 1 }, { b: 1 })'], ['new assert.AssertionError({ actual: 1, expected: 2, operator: "==" }).message'], ['assert.deepEqual(new Map([[1, { a: 1 }]]), new Map([[1, { a: 2 }]]))'], ['assert.deepEqual(new Set([{ a: 1 }]), new Set([{ a: 1 }]))'], ['Object.keys(assert).sort()'],
];

// --- the web's objects ---

export const web = [
  ['new Event("x", { bubbles: true, cancelable: true }).cancelable'], ['(t => { const s = []; t.addEventListener("x", (e) => s.push(e.type, e.detail), { once: true }); t.dispatchEvent(new CustomEvent("x", { detail: 5 })); t.dispatchEvent(new Event("x")); return s })(new EventTarget())'],
  ['new EventTarget().dispatchEvent(5)'], ['new Event()'], ['new EventTarget().addEventListener("x", 5)'], ['(e => { e.preventDefault(); return [e.defaultPrevented, e.type, e.eventPhase] })(new Event("x", { cancelable: true }))'],
  ['(a => { const s = []; a.signal.onabort = () => s.push("on"); a.abort("why"); a.abort("again"); try { a.signal.throwIfAborted() } catch (e) { s.push(e) } return [s, a.signal.aborted, a.signal.reason] })(new AbortController())'],
  ['(e => [e.name, e.code, e.message, e instanceof Error])(AbortSignal.abort().reason)'], ['AbortSignal.any([new AbortController().signal, AbortSignal.abort(7)]).reason'], ['AbortSignal.any([5])'], ['new AbortSignal()'], ['new Promise((r) => { const s = AbortSignal.timeout(1); s.onabort = () => r([s.reason.name, s.reason.code, s.reason.message]) })'],
  ['(e => [e.name, e.code, e.message, String(e), e instanceof DOMException, Object.prototype.toString.call(e)])(new DOMException("m", "DataCloneError"))'], ['DOMException.INVALID_STATE_ERR'],
  ['new Blob(["a", new Uint8Array([98]), new Blob(["c"])], { type: "Text/Plain" }).text()'], ['new Blob(["abc"]).slice(1).arrayBuffer()'], ['new Blob(5)'], ['new Blob(["x"], { endings: "bad" })'], ['new Blob(["hello"]).slice(-3, -1, "t/x").type'], ['new Blob(["ab"]).bytes()'],
  ['(async () => { let n = 0; for await (const c of new Blob(["x".repeat(100000)]).stream()) n += c.length; return n })()'], ['(f => [f.name, f.size, f.type, f.lastModified])(new File(["x"], "n", { lastModified: 5, type: "a/b" }))'], ['new File(["x"])'],
  ['(h => { h.append("A", "1"); h.append("a", "2"); h.set("B", "x"); return [...h, h.get("a"), h.has("c"), h.getSetCookie()] })(new Headers({ z: "9" }))'], ['new Headers({ "bad name": "x" })'], ['new Headers({ a: "\\n x" }).get("a")'], ['new Headers({ a: "x\\0" })'], ['new Headers([["a"]])'],
  ['(r => [r.status, r.ok, r.statusText, r.type, r.bodyUsed])(new Response("x", { status: 404, statusText: "No" }))'], ['new Response("x", { status: 99 })'], ['new Response("x", { status: 204 })'], ['Response.json({ a: 1 }).json()'], ['Response.error().type'], ['Response.redirect("http://x/y", 302).headers.get("location")'], ['new Response("x").text()'], ['new Response(new Uint8Array([1, 2])).arrayBuffer()'], ['new Response("{").json()'],
  ['(async () => { const r = new Response("abc"); const c = r.clone(); return [await r.text(), await c.text(), r.bodyUsed] })()'], ['(async () => { const r = new Response("abc"); await r.text(); return r.text() })()'], ['new Response(new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode("s")); c.close() } })).text()'], ['new Response("a=1&b=2", { headers: { "content-type": "application/x-www-form-urlencoded" } }).formData().then((f) => [...f])'],
  ['(r => [r.method, r.url, r.headers.get("a"), r.redirect, r.signal.aborted])(new Request("http://h/p?q#f", { method: "post", headers: { a: "b" }, body: "x" }))'], ['new Request("nonsense")'], ['new Request("http://x", { method: "CONNECT" })'], ['new Request("http://x", { body: "b" })'], ['new Request("http://u:p@x")'], ['new Request("http://x", { method: "PUT", body: new Blob(["q"]) }).text()'],
  ['(f => { f.append("a", "1"); f.append("a", "2"); f.set("b", new Blob(["x"]), "n.txt"); return [f.getAll("a"), f.get("b").name, f.has("c"), [...f.keys()]] })(new FormData())'], ['new FormData(5)'], ['(async () => { const f = new FormData(); f.append("a", "é"); f.append("f", new File(["body"], "x.txt", { type: "text/plain" })); const g = await new Response(f).formData(); return [g.get("a"), g.get("f").name, g.get("f").type, await g.get("f").text()] })()'],
  ['(async () => { const s = []; await new ReadableStream({ start(c) { c.enqueue(1); c.enqueue(2); c.close() } }).pipeThrough(new TransformStream({ transform(v, c) { c.enqueue(v * 2) } })).pipeTo(new WritableStream({ write(v) { s.push(v) } })); return s })()'],
  ['(async () => { const [a, b] = new ReadableStream({ start(c) { c.enqueue("x"); c.close() } }).tee(); return [await Array.fromAsync(a), await Array.fromAsync(b)] })()'], ['Array.fromAsync(ReadableStream.from([1, 2]))'], ['new ReadableStream({ start(c) { c.error(new Error("bad")) } }).getReader().read()'], ['new ReadableStream(5)'], ['new ReadableStream({ type: "x" })'], ['new WritableStream().getWriter().write(1)'], ['new TransformStream().readable.locked'],
  ['(async () => { const r = new ReadableStream({ type: "bytes", start(c) { c.enqueue(new Uint8Array([1, 2, 3])); c.close() } }).getReader({ mode: "byob" }); return (await r.read(new Uint8Array(2))).value })()'], ['(async () => { const s = new ReadableStream({ pull() {} }); const r = s.getReader(); const p = r.read(); await r.cancel("c"); return p })()'],
  ['Array.fromAsync(new ReadableStream({ start(c) { c.enqueue(new Uint8Array([0xc3])); c.enqueue(new Uint8Array([0xa9])); c.close() } }).pipeThrough(new TextDecoderStream()))'], ['new CountQueuingStrategy({ highWaterMark: 3 }).size()'], ['new ByteLengthQueuingStrategy({ highWaterMark: 3 }).size(new Uint8Array(7))'],
  ['structuredClone(new Map([[1, new Set([2n])]]))'], ['structuredClone()'], ['structuredClone([new Date(5), /x/g, new Uint8Array([1])])'],
  ['crypto.getRandomValues(new Uint8Array(65536)).length'], ['(async () => Buffer.from(await crypto.subtle.digest("SHA-1", Buffer.from("abc"))).toString("hex"))()'], ['(async () => Buffer.from(await crypto.subtle.digest({ name: "sha-512" }, new ArrayBuffer(0))).toString("hex"))()'], ['(async () => Buffer.from(await crypto.subtle.digest("SHA-384", new DataView(new ArrayBuffer(3)))).toString("hex"))()'],
];

export const streams = [
  ['stream.promises.pipeline(stream.Readable.from(["a", "b"]), new stream.PassThrough(), async (s) => (await s.toArray()).map(String))'], ['stream.Readable.from([1, 2, 3]).map((x) => x * 2).filter((x) => x > 2).toArray()'], ['stream.promises.pipeline(stream.Readable.from(["a"]), new stream.Transform({ transform(c, e, cb) { cb(new Error("t")) } }), new stream.Writable({ write(c, e, cb) { cb() } }))'],
  ['stream.promises.finished(new stream.Readable({ read() { this.push("x"); this.push(null) } }).resume())'], ['(async () => { const s = []; for await (const c of stream.Readable.from("abc")) s.push(c); return s })()'], ['new Promise((r) => { const s = []; const d = stream.Duplex.from(async function* (src) { for await (const c of src) yield String(c).toUpperCase() }); d.on("data", (c) => s.push(String(c))).on("end", () => r(s)); d.write("q"); d.end() })'],
  ['(async () => { const r = stream.Readable.fromWeb(new ReadableStream({ start(c) { c.enqueue("w"); c.close() } })); return (await r.toArray()).map(String) })()'], ['(async () => Array.fromAsync(stream.Readable.toWeb(stream.Readable.from(["a", "b"]))))()'], ['new stream.Writable().writableLength'], ['new stream.Readable({ encoding: "nonsense" })'], ['new stream.Readable({ highWaterMark: -1 })'], ['Object.keys(stream).sort()'],
  ['new Promise((r) => { const w = new stream.Writable({ highWaterMark: 2, write(c, e, cb) { setImmediate(cb) } }); const s = [w.write("abc")]; w.on("drain", () => { s.push("drain"); w.end(() => r(s)) }) })'], ['new Promise((r) => new stream.Readable({ read() { this.destroy(new Error("gone")) } }).on("error", (e) => r(e.message)).on("close", () => {}).resume())'], ['stream.Readable.from([1, 2, 3, 4]).take(2).reduce((a, b) => a + b, 0)'],
];

export const events = [
  ['(e => { const s = []; e.on("a", (...x) => s.push(x)); e.once("a", () => s.push("once")); e.prependListener("a", () => s.push("first")); e.emit("a", 1, 2); e.emit("a"); return [s, e.listenerCount("a"), e.eventNames(), e.emit("none")] })(new events.EventEmitter())'], ['new events.EventEmitter().emit("error", new Error("boom"))'], ['new events.EventEmitter().emit("error", 5)'], ['new events.EventEmitter().on("x", 5)'], ['events.once(Object.assign(new events.EventEmitter(), {}), "x", { signal: AbortSignal.abort() })'],
  ['(async () => { const e = new events.EventEmitter(); queueMicrotask(() => { e.emit("d", 1); e.emit("d", 2) }); const s = []; for await (const v of events.on(e, "d")) { s.push(v); if (s.length === 2) break } return s })()'], ['(async () => { const t = new EventTarget(); queueMicrotask(() => t.dispatchEvent(new Event("q"))); const [e] = await events.once(t, "q"); return e.type })()'], ['(e => { const s = []; e.on(events.errorMonitor, (x) => s.push(x.message)); e.on("error", () => s.push("handled")); e.emit("error", new Error("m")); return s })(new events.EventEmitter())'],
  ['new Promise((r) => { const e = new events.EventEmitter({ captureRejections: true }); e.on("x", async () => { throw new Error("rej") }); e.on("error", (x) => r(x.message)); e.emit("x") })'], ['events.EventEmitter === events.default'], ['events.getEventListeners(new EventTarget(), "x")'], ['(e => { e.setMaxListeners(-1) })(new events.EventEmitter())'], ['Object.keys(events).filter((k) => k !== "default").sort()'], ['new (class X extends events.EventEmitter {})() instanceof events'],
];

// --- module crypto; what is random is compared by its shape ---

const hashes = ['md5', 'sha1', 'sha256', 'SHA512', 'sha3-256', 'ripemd160', 'nonsense'];
export const crypto = [
  ...hashes.flatMap((h) => texts.slice(0, 12).flatMap((t) => [['crypto.createHash(args[0]).update(args[1]).digest("hex")', [h, t]], ['crypto.createHmac(args[0], args[1]).update("x").update(Buffer.from("y")).digest("base64url")', [h, t]]])),
  ...hashes.map((h) => ['crypto.hash(args, "abc")', h]), ['crypto.hash("sha256", Buffer.from("abc"), "base64")'], ['crypto.hash("sha1", 5)'], ['crypto.createHash("sha1").update("ff", "hex").digest()'], ['crypto.createHash("sha1").update(5)'], ['crypto.createHash(5)'],
  ['(h => { h.update("a"); const c = h.copy(); return [h.update("b").digest("hex"), c.digest("hex")] })(crypto.createHash("sha1"))'], ['(h => { h.digest(); h.update("a") })(crypto.createHash("sha1"))'], ['(h => { h.digest(); h.digest() })(crypto.createHash("sha1"))'],
  ['new Promise((r) => { const h = crypto.createHash("sha256"); h.on("readable", () => { const d = h.read(); if (d) r(d.toString("hex")) }); h.write("some"); h.end(" data") })'], ['stream.promises.pipeline(stream.Readable.from(["a", "b"]), crypto.createHash("md5").setEncoding("hex"), async (s) => (await s.toArray()).join(""))'],
  ['[crypto.randomBytes(5).length, crypto.randomBytes(0).length]'], ['crypto.randomBytes(-1)'], ['crypto.randomBytes("x")'], ['util.promisify(crypto.randomBytes)(3).then((b) => b.length)'], ['(b => [b[0], b[3], b.length])(crypto.randomFillSync(Buffer.alloc(4), 1, 2))'], ['crypto.randomFillSync(new Uint32Array(2)).length'], ['crypto.randomFillSync(5)'],
  ['(n => n >= 3 && n < 7)(crypto.randomInt(3, 7))'], ['crypto.randomInt(5, 5)'], ['crypto.randomInt(0.5)'], ['crypto.randomInt(2 ** 49)'], ['crypto.randomUUID().length'], ['crypto.timingSafeEqual(Buffer.from("ab"), Buffer.from("ab"))'], ['crypto.timingSafeEqual(Buffer.from("ab"), Buffer.from("ac"))'], ['crypto.timingSafeEqual(Buffer.from("ab"), Buffer.from("abc"))'],
  ['crypto.webcrypto.getRandomValues(new Uint8Array(3)).length'], ['crypto.createHash("sha256") instanceof stream.Transform'],
  ...['"secret"', '"c2Vj", "base64"', 'Buffer.from("bytes")', 'new Uint16Array([1, 2]).buffer', '5'].flatMap((k) => [
    `crypto.createHmac("sha256", crypto.createSecretKey(${k})).update("x").digest("hex")`,
    `(k => [k.type, k.symmetricKeySize, k.export().toString("hex"), k.export({ format: "jwk" }), k instanceof crypto.KeyObject, k.equals(crypto.createSecretKey(${k})), k.equals(crypto.createSecretKey("other"))])(crypto.createSecretKey(${k}))`,
  ]).map((code) => [code]), ['"secret" instanceof crypto.KeyObject'],
];

// --- crypto.subtle ---

const [k16, k32, iv] = ['"0123456789abcdef"', '"0123456789abcdef0123456789abcdef"', '"an iv of 16 byte"'].map((s) => `Buffer.from(${s})`);
const subtle = 'globalThis.crypto.subtle';
const hex = (p) => `Buffer.from(await ${p}).toString("hex")`;
const raw = (alg, key, usages) => `await ${subtle}.importKey("raw", ${key}, ${alg}, true, ${usages})`;
const asyncly = (body) => `(async () => { ${body} })()`;
const about = 'const about = (k) => [k.type, k.extractable, k.algorithm, k.usages, Object.prototype.toString.call(k), k instanceof CryptoKey];';
export const outside = [
  ...['"SHA-1"', '"SHA-256"', '{ name: "SHA-384" }', '"sha-512"', '"SHA3-256"'].map((h) => [asyncly(`const k = ${raw(`{ name: "HMAC", hash: ${h} }`, k16, '["sign", "verify"]')}; ${about} const s = await ${subtle}.sign("HMAC", k, Buffer.from("x")); return [about(k), Buffer.from(s).toString("hex"), await ${subtle}.verify("HMAC", k, s, Buffer.from("x")), await ${subtle}.verify("HMAC", k, s, Buffer.from("y"))]`)]),
  ...[`{ name: "AES-CBC", iv: ${iv} }`, `{ name: "AES-CTR", counter: ${iv}, length: 64 }`, `{ name: "AES-GCM", iv: ${iv} }`, `{ name: "AES-GCM", iv: ${iv}, additionalData: ${k16}, tagLength: 96 }`].flatMap((a) => [k16, k32].map((key) =>
    [asyncly(`const a = ${a}; const k = ${raw('a.name', key, '["encrypt", "decrypt"]')}; const c = await ${subtle}.encrypt(a, k, new Uint8Array(37)); return [Buffer.from(c).toString("hex"), ${hex(`${subtle}.decrypt(a, k, c)`)}, await ${subtle}.decrypt(a, k, Buffer.from(c).fill(0)).then(() => 0, (e) => [e.name, e.constructor.name])]`)])),
  ...['{ name: "PBKDF2", hash: "SHA-256", salt: Buffer.from("salt"), iterations: 1000 }', '{ name: "HKDF", hash: "SHA-512", salt: Buffer.from("salt"), info: Buffer.from("info") }'].flatMap((a) => [
    [asyncly(`const a = ${a}; const k = await ${subtle}.importKey("raw", Buffer.from("password"), a.name, false, ["deriveBits", "deriveKey"]); ${about} return [about(k), ${hex(`${subtle}.deriveBits(a, k, 256)`)}, ${hex(`${subtle}.exportKey("raw", await ${subtle}.deriveKey(a, k, { name: "AES-GCM", length: 128 }, true, ["encrypt"]))`)}]`)],
    [asyncly(`return ${subtle}.importKey("raw", Buffer.from("p"), "${a.includes('PBKDF2') ? 'PBKDF2' : 'HKDF'}", true, ["deriveBits"])`)]]),
  ...['{ name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }', '{ name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" }', '{ name: "Ed25519" }', '{ name: "RSA-PSS", hash: "SHA-256", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), saltLength: 16 }', '{ name: "RSASSA-PKCS1-v1_5", hash: "SHA-1", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]) }'].map((a) =>
    [asyncly(`const a = ${a}; ${about} const { privateKey, publicKey } = await ${subtle}.generateKey(a, false, ["sign", "verify"]); const s = await ${subtle}.sign(a, privateKey, ${k16}); const jwk = await ${subtle}.exportKey("jwk", publicKey); const again = await ${subtle}.importKey("jwk", jwk, a, true, ["verify"]); const spki = await ${subtle}.importKey("spki", await ${subtle}.exportKey("spki", publicKey), a, true, ["verify"]);
      return [about(privateKey), about(publicKey), about(again), Object.keys(jwk).sort(), jwk.key_ops, jwk.ext, s.byteLength, await ${subtle}.verify(a, again, s, ${k16}), await ${subtle}.verify(a, spki, s, ${k32}), await ${subtle}.exportKey("pkcs8", privateKey).then(() => 0, (e) => e.name), await ${subtle}.sign(a, publicKey, ${k16}).then(() => 0, (e) => e.name)]`)]),
  ...['{ name: "ECDH", namedCurve: "P-256" }', '{ name: "X25519" }'].map((a) => [asyncly(`const a = ${a}; const [x, y] = [await ${subtle}.generateKey(a, true, ["deriveBits", "deriveKey"]), await ${subtle}.generateKey(a, true, ["deriveBits"])]; const one = ${hex(`${subtle}.deriveBits({ name: a.name, public: y.publicKey }, x.privateKey, 128)`)}; const two = ${hex(`${subtle}.deriveBits({ name: a.name, public: x.publicKey }, y.privateKey, 128)`)};
    const k = await ${subtle}.deriveKey({ name: a.name, public: y.publicKey }, x.privateKey, { name: "HMAC", hash: "SHA-256", length: 256 }, false, ["sign"]); return [one === two, one.length, k.algorithm, k.extractable, (await ${subtle}.exportKey("pkcs8", x.privateKey)).byteLength > 40]`)]),
  [asyncly(`const { privateKey, publicKey } = await ${subtle}.generateKey({ name: "RSA-OAEP", hash: "SHA-256", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]) }, true, ["encrypt", "decrypt", "wrapKey", "unwrapKey"]); const c = await ${subtle}.encrypt({ name: "RSA-OAEP", label: Buffer.from("l") }, publicKey, Buffer.from("secret")); return [c.byteLength, Buffer.from(await ${subtle}.decrypt({ name: "RSA-OAEP", label: Buffer.from("l") }, privateKey, c)).toString(), publicKey.algorithm]`)],
  [asyncly(`const w = ${raw('"AES-KW"', k32, '["wrapKey", "unwrapKey"]')}; const k = await ${subtle}.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt"]); const wrapped = await ${subtle}.wrapKey("raw", k, w, "AES-KW"); const u = await ${subtle}.unwrapKey("raw", wrapped, w, "AES-KW", "AES-GCM", false, ["encrypt"]); return [wrapped.byteLength, u.algorithm, u.extractable, await ${subtle}.exportKey("raw", u).then(() => 0, (e) => e.name)]`)],
  [asyncly(`const k = await ${subtle}.importKey("jwk", { kty: "oct", k: "MDEyMw", alg: "HS256", ext: true }, { name: "HMAC", hash: "SHA-256" }, true, ["sign"]); return [k.algorithm, ${subtle}.exportKey("jwk", k)].length && await ${subtle}.exportKey("jwk", k)`)],
  ...[`${subtle}.importKey("raw", ${k16}, "AES-GCM", true, ["sign"])`, `${subtle}.importKey("raw", Buffer.alloc(5), "AES-GCM", true, ["encrypt"])`, `${subtle}.importKey("raw", ${k16}, "NONE", true, [])`, `${subtle}.importKey("jwk", { kty: "RSA" }, { name: "RSA-PSS", hash: "SHA-256" }, true, ["verify"])`, `${subtle}.generateKey({ name: "AES-GCM", length: 5 }, true, ["encrypt"])`, `${subtle}.generateKey({ name: "AES-GCM", length: 128 }, true, [])`,
    `${subtle}.importKey("spki", ${k16}, { name: "ECDSA", namedCurve: "P-256" }, true, ["verify"])`, `${subtle}.generateKey({ name: "ECDSA", namedCurve: "nope" }, true, ["sign"])`].map((e) => [`${e}.then(() => "fulfilled", (e) => [e.name, e.code, e instanceof DOMException || e instanceof TypeError])`]),
  ['new CryptoKey()'], ['new SubtleCrypto()'], ['Object.prototype.toString.call(globalThis.crypto.subtle)'], ['crypto.subtle === globalThis.crypto.subtle'],
];

// --- what console.log writes: lists of arguments ---

const said = [[1], [0], [-0], [NaN], [5.5, 'x'], ['a', 'b', 1, true, null], ['%d', 5], ['%', 5], ['100%'], ['%s', 'x'], [''], [], ['a\nb'], [{ a: 1 }], ['x', { a: ['b'] }], [[1, 'x']], [1e21, 1e-7], ['%%'], ['%%', 1]];
export const logged = said.map((args) => [args.map((v) => (Object.is(v, -0) ? '-0' : JSON.stringify(v) ?? 'NaN')).join(', ')]).concat([['undefined, 5n, 0n'], ['Symbol("x")'], ['NaN, Infinity']]);

// --- zlib ---

const packed = ['""', '"hello"', 'Buffer.alloc(100000, "abc")', 'Buffer.from(Array.from({ length: 70000 }, (_, i) => (i * i * 7919) >>> 5 & 255))', 'Buffer.alloc(700000)'];
const kinds = [['deflate', 'inflate'], ['gzip', 'gunzip'], ['deflateRaw', 'inflateRaw'], ['deflate', 'unzip'], ['gzip', 'unzip']];
const sum = '(b) => [b.length, crypto.hash("sha1", b)]';
export const zlib = [
  ...kinds.flatMap(([c, d]) => packed.map((p) => [`(b => [(${sum})(b), (${sum})(zlib.${d}Sync(b))])(zlib.${c}Sync(${p}))`])),
  ...kinds.flatMap(([c, d]) => packed.map((p) => [`util.promisify(zlib.${c})(${p}).then((b) => util.promisify(zlib.${d})(b)).then(${sum})`])),
  ...[8, 9, 12, 15].flatMap((windowBits) => [1, 5, 9].flatMap((memLevel) => [0, 1, 6, 9].map((level) => [`(b => [(${sum})(b), zlib.inflateSync(b).length])(zlib.deflateSync(${packed[2]}, { windowBits: ${windowBits}, memLevel: ${memLevel}, level: ${level} }))`]))),
  ...[0, 1, 2, 3, 4].map((strategy) => [`(${sum})(zlib.deflateSync(${packed[3]}, { strategy: ${strategy}, chunkSize: 64 }))`]),
  ...['inflateSync', 'gunzipSync', 'inflateRawSync', 'unzipSync'].flatMap((f) => ['Buffer.from("garbage")', 'Buffer.alloc(0)', 'zlib.gzipSync("abc").subarray(0, 10)', 'zlib.deflateSync("abc").subarray(0, 5)', 'Buffer.concat([zlib.gzipSync("a"), zlib.gzipSync("b")])', 'Buffer.concat([zlib.gzipSync("a"), Buffer.alloc(5)])',
    'Buffer.concat([zlib.gzipSync("a"), Buffer.from("junk")])', 'Buffer.concat([zlib.deflateSync("a"), Buffer.from("junk")])', 'Buffer.from([0x1f])', '5', 'new ArrayBuffer(4)'].map((b) => [`zlib.${f}(${b}).toString()`])),
  ['zlib.inflateSync(zlib.deflateSync("dictionary words words", { dictionary: Buffer.from("words dictionary") }), { dictionary: Buffer.from("words dictionary") }).toString()'], ['zlib.inflateSync(zlib.deflateSync("words", { dictionary: Buffer.from("words") }))'], ['zlib.inflateSync(zlib.deflateSync("words", { dictionary: Buffer.from("words") }), { dictionary: Buffer.from("other") })'],
  ['zlib.inflateRawSync(zlib.deflateRawSync("words", { dictionary: Buffer.from("words") }), { dictionary: Buffer.from("words") }).toString()'], ['zlib.gunzipSync(zlib.gzipSync(Buffer.alloc(1000)), { maxOutputLength: 100 })'], ['zlib.deflateSync("a", { level: 11 })'], ['zlib.deflateSync("a", { chunkSize: 5 })'], ['zlib.createGzip({ windowBits: 8 })'], ['zlib.gzipSync()'],
  ['zlib.crc32("hello")'], ['zlib.crc32(Buffer.from("lo"), zlib.crc32("hel"))'], ['zlib.crc32(5)'], ['zlib.constants'], ['zlib.codes'], ['Object.keys(zlib).sort()'],
  ['stream.promises.pipeline(stream.Readable.from(["a", "b".repeat(50000), "c"]), zlib.createGzip(), zlib.createGunzip(), async (s) => Buffer.concat(await s.toArray()).length)'],
  ['new Promise((r) => { const z = zlib.createDeflate({ level: 1 }); const out = []; z.on("data", (c) => out.push(c)); z.on("end", () => r(zlib.inflateSync(Buffer.concat(out)).toString())); z.write("one "); z.flush(() => { z.params(9, 0, () => { z.end("two") }) }) })'],
  ['new Promise((r) => { const z = zlib.createInflate(); z.on("error", (e) => r([e.message, e.code, e.errno])); z.end("nonsense") })'], ['new Promise((r) => { const z = zlib.createGunzip(); z.on("error", (e) => r([e.message, e.code])); z.end(zlib.gzipSync("abc").subarray(0, 12)) })'], ['new Promise((r) => { const z = zlib.createGzip(); z.on("close", () => r("closed")); z.close() })'],
  ...['gzip', 'deflate', 'deflate-raw'].map((f) => [`(async () => { const b = await new Response(new Blob(["x".repeat(100000)]).stream().pipeThrough(new CompressionStream("${f}"))).bytes(); return [b.length < 1000, (await new Response(new Blob([b]).stream().pipeThrough(new DecompressionStream("${f}"))).text()).length] })()`]),
  ['new CompressionStream("nope")'], ['new Response(new Blob(["junk"]).stream().pipeThrough(new DecompressionStream("gzip"))).text().then(() => 0, (e) => e.name)'], ['new Response(new Blob([zlib.gzipSync("a"), "junk"]).stream().pipeThrough(new DecompressionStream("gzip"))).text().then(() => 0, (e) => [e.name, e.code])'],
];

// --- URLPattern ---

const patterns = ['{ pathname: "/books/:id" }', '{ pathname: "/a/*" }', '{ pathname: "/x/:y?" }', '{ hostname: "*.example.com" }', '{ protocol: "http{s}?", port: "80*" }', '{ pathname: "/:n(\\\\d+)" }', '{ search: "q=:q" }', '"https://example.com/:a/b"', '"/p/:q", "https://h.org"', '{ pathname: "/(foo|bar)/{baz}+" }'];
const places = ['"https://example.com/books/5"', '"https://a.example.com/a/b/c"', '"http://h.org:8080/x"', '"https://h.org/p/1?q=2"', '"https://example.com/x/b"', '"https://h.org/foo/bazbaz"', '"https://h.org/12"', '"nonsense"', '{ pathname: "/books/é" }'];
export const URLPatterns = [
  ...patterns.flatMap((p) => [[`(u => [u.protocol, u.hostname, u.port, u.pathname, u.search, u.hash])(new URLPattern(${p}))`],
    ...places.map((u) => [`(p => [p.test(${u}), ((m) => m && [m.pathname.groups, m.hostname.groups, m.search.groups, m.pathname.input])(p.exec(${u}))])(new URLPattern(${p}))`])]),
  ['(() => { try { new URLPattern({ pathname: "/(" }) } catch (e) { return e.name } })()'], ['(() => { try { new URLPattern("/relative") } catch (e) { return e.name } })()'],
];
