// SPDX-License-Identifier: Apache-2.0
//
// The client library's codec: what docs/wire.md says, byte by byte, both ways; what cannot be sent; hostile bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import vm from 'node:vm';

import { decodeArgs, encodeArgs, kAddress } from '../../actors/lib/client/codec.js';
import { FrameParser, decodeEnvelope, encodeFrame, piecesOf } from '../../actors/lib/client/envelope.js';

const hex = (s) => Buffer.from(s.replace(/\s/g, ''), 'hex');
const trip = (value) => decodeArgs(encodeArgs([value]))[0];

// Values and their bytes, without the args array's 0x91 before them.
const vectors = [
  ['null', null, 'c0'],
  ['false', false, 'c2'],
  ['true', true, 'c3'],
  ['undefined', undefined, 'c70001'],
  ['0', 0, '00'],
  ['127', 127, '7f'],
  ['128', 128, 'cc80'],
  ['256', 256, 'cd0100'],
  ['65536', 65536, 'ce00010000'],
  ['2^32', 2 ** 32, 'cf0000000100000000'],
  ['2^53', 2 ** 53, 'cf0020000000000000'],
  ['2^53 + 2', 2 ** 53 + 2, 'cb4340000000000001'],
  ['-1', -1, 'ff'],
  ['-32', -32, 'e0'],
  ['-33', -33, 'd0df'],
  ['-129', -129, 'd1ff7f'],
  ['-32769', -32769, 'd2ffff7fff'],
  ['-2^31 - 1', -(2 ** 31) - 1, 'd3ffffffff7fffffff'],
  ['-2^53', -(2 ** 53), 'd3ffe0000000000000'],
  ['-0', -0, 'cb8000000000000000'],
  ['1.5', 1.5, 'cb3ff8000000000000'],
  ['NaN', NaN, 'cb7ff8000000000000'],
  ['-Infinity', -Infinity, 'cbfff0000000000000'],
  ['""', '', 'a0'],
  ['"é€😀"', 'é€😀', 'a9c3a9e282acf09f9880'],
  ['31 bytes', 'x'.repeat(31), `bf${'78'.repeat(31)}`],
  ['32 bytes', 'x'.repeat(32), `d920${'78'.repeat(32)}`],
  ['256 bytes', 'x'.repeat(256), `da0100${'78'.repeat(256)}`],
  ['[]', [], '90'],
  ['[1, [2]]', [1, [2]], '92019102'],
  ['16 items', Array(16).fill(0), `dc0010${'00'.repeat(16)}`],
  ['{}', {}, '80'],
  ['{a: 1}', { a: 1 }, '81a16101'],
  ['bytes', new Uint8Array([1, 2]), 'c4020102'],
  ['0n', 0n, 'd40200'],
  ['1n', 1n, 'd5020001'],
  ['-256n', -256n, 'c70302010001'],
  ['2n ** 64n', 2n ** 64n, `c70a0200${'00'.repeat(8)}01`],
  ['a Date', new Date(5), 'd7034014000000000000'],
  ['an invalid Date', new Date(NaN), 'd7037ff8000000000000'],
  ['a Map', new Map([['a', 1]]), 'c70304a16101'],
  ['an empty Map', new Map(), 'c70004'],
  ['a Set', new Set([1, 2]), 'd5050102'],
  ['a RegExp', /a+/gi, 'c70606a2612ba26769'],
  ['Int8Array', new Int8Array([-1]), 'd50801ff'],
  ['Uint8ClampedArray', new Uint8ClampedArray([255]), 'd50802ff'],
  ['Int16Array', new Int16Array([258]), 'c703080302 01'],
  ['Uint32Array', new Uint32Array([1]), 'c7050806 01000000'],
  ['Float64Array', new Float64Array([1]), 'c7090808 000000000000f03f'],
  ['BigInt64Array', new BigInt64Array([-1n]), `c7090809${'ff'.repeat(8)}`],
  ['DataView', new DataView(new Uint8Array([7]).buffer), 'd5080b07'],
  ['ArrayBuffer', new Uint8Array([1, 2, 3]).buffer, 'c7030b010203'],
  ['a ref', { [kAddress]: 'a/B/c' }, 'c7050a612f422f63'],
];
for (const [name, value, bytes] of vectors) {
  test(`bytes of ${name}`, () => {
    assert.equal(encodeArgs([value]).toString('hex'), `91${bytes.replace(/\s/g, '')}`);
    const [back] = decodeArgs(hex(`91${bytes}`));
    if (value instanceof Date) assert.ok(back instanceof Date && Object.is(back.getTime(), value.getTime()));
    else assert.deepStrictEqual(back, value);
  });
}

test('bytes of an Error', () => {
  const error = new RangeError('no');
  error.stack = 's';
  error.code = 'E1';
  const got = encodeArgs([error]);
  assert.equal(got.toString('hex'), ('91 c72c 07 84 a46e616d65 aa52616e67654572726f72 a76d657373616765 a26e6f a5737461636b a173 a4636f6465 a24531')
    .replace(/\s/g, ''));
  const [back] = decodeArgs(got);
  assert.ok(back instanceof RangeError);
  assert.equal(back.message, 'no');
  assert.equal(back.stack, 's');
  assert.equal(back.code, 'E1');
  assert.deepEqual(Object.keys(back), ['code']);
});

test('numbers of objects: back references in the shortest size', () => {
  const shared = {};
  assert.equal(encodeArgs([shared, shared]).toString('hex'), '9280d40901');
  // args 0, Error 1, its map 2, {} 3
  const error = new Error('');
  error.stack = '';
  const got = encodeArgs([error, shared, shared]).toString('hex');
  assert.ok(got.endsWith('80d40903'), got);
  const many = Array.from({ length: 300 }, () => ({}));
  const b = encodeArgs([many, many[299]]);
  assert.equal(b.subarray(-4).toString('hex'), 'd509012d'); // args 0, many 1, its items 2 to 301
  const [x, last] = decodeArgs(b);
  assert.equal(x[299], last);
});

test('cycles and shared references arrive as they were', () => {
  const bytes = new Uint8Array([1]);
  const o = { list: [], map: new Map(), set: new Set(), error: new Error('x'), bytes, date: new Date(1), re: /x/ };
  o.self = o;
  o.list.push(o.list, o.map);
  o.map.set(o, o.set).set('m', o.map);
  o.set.add(o.set).add(bytes);
  o.error.cause = o.error;
  o.again = [o.date, o.re, bytes];
  const r = trip(o);
  assert.equal(r.self, r);
  assert.equal(r.list[0], r.list);
  assert.equal(r.list[1], r.map);
  assert.equal(r.map.get(r), r.set);
  assert.equal(r.map.get('m'), r.map);
  assert.ok(r.set.has(r.set) && r.set.has(r.bytes));
  assert.equal(r.error.cause, r.error);
  assert.deepEqual(r.again, [r.date, r.re, r.bytes]);
  assert.equal(r.again[0], r.date);
  assert.equal(r.again[2], r.bytes);
  const args = [1];
  args.push(args);
  const back = decodeArgs(encodeArgs(args));
  assert.equal(back[1], back);
});

test('what structuredClone takes goes round', () => {
  const samples = [
    { a: { b: [1, 2.5, 'x', null, undefined, true, 10n ** 40n, -(10n ** 40n)] } },
    new Map([[{ k: 1 }, new Map([[1, 2]])]]), new Set([[1], 'a']),
    [new Uint8Array(300), new Int8Array([1, -1]), new Uint16Array([1, 65535]), new Int32Array([-5]), new Float32Array([1.5, NaN]),
      new BigUint64Array([2n ** 64n - 1n]), new Uint8ClampedArray(2)],
    new Date(), /[é]+\/"/dgimsuy, '\u0000\ufeff😀'.repeat(20_000), Array(70_000).fill(1),
    Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, i])),
  ];
  for (const s of samples) assert.deepStrictEqual(trip(s), structuredClone(s));
  if (globalThis.Float16Array !== undefined) {
    const f = new Float16Array([1, 0.5]);
    assert.equal(encodeArgs([f]).toString('hex'), '91c705080c003c0038');
    assert.deepStrictEqual(trip(f), f);
  }
});

test('what changes on the way', () => {
  assert.deepStrictEqual(trip([, 1]), [undefined, 1]); // eslint-disable-line no-sparse-arrays
  assert.deepEqual(trip({ 'a\ud800b': 1 }), { 'a\ufffdb': 1 }); // a value keeps it, a name cannot
  class Point { constructor() { this.x = 1; } get y() { return 2; } }
  assert.deepStrictEqual(trip(new Point()), { x: 1 });
  assert.deepStrictEqual(trip(Object.create(null, { a: { value: 1, enumerable: true } })), { a: 1 });
  assert.deepStrictEqual(trip(Object('s')), 's');
  assert.deepStrictEqual(trip([Object(1), Object(true), Object(2n)]), [1, true, 2n]);
  assert.deepStrictEqual(trip(Buffer.from('hi')), new Uint8Array([104, 105]));
  assert.deepStrictEqual(trip({ [Symbol('s')]: 1, a: 1 }), { a: 1 });
  assert.deepStrictEqual(trip(new Proxy({ a: 1 }, {})), { a: 1 });
  assert.deepStrictEqual(trip(new Uint16Array([1, 2, 3]).subarray(1, 2)), new Uint16Array([2]));
  assert.deepStrictEqual(trip(vm.runInNewContext('new Map([[1, new Date(3)]])')), new Map([[1, new Date(3)]]));
  const bytes = Buffer.from(encodeArgs([new Uint8Array([1])]));
  const [copy] = decodeArgs(bytes);
  bytes.fill(0);
  assert.equal(copy[0], 1); // not a view of the frame
});

test('errors: class, message, code, cause, stack', () => {
  for (const Class of [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError]) {
    const back = trip(new Class('why', { cause: new Map([[1, 2]]) }));
    assert.equal(back.constructor, Class);
    assert.equal(back.message, 'why');
    assert.deepEqual(back.cause, new Map([[1, 2]]));
    assert.match(back.stack, /client_codec_test/);
  }
  class Mine extends Error { name = 'Mine'; code = 7; }
  const mine = trip(new Mine('m'));
  assert.equal(mine.name, 'Mine');
  assert.equal(mine.code, 7);
  assert.ok(mine instanceof Error);
  const aborted = trip(AbortSignal.abort().reason);
  assert.equal(aborted.name, 'AbortError');
});

test('keys that are dangerous in JavaScript are ordinary on the wire', () => {
  const value = JSON.parse('{"__proto__":{"evil":true},"constructor":1,"toString":2}');
  const back = trip(value);
  assert.equal(back.evil, undefined);
  assert.equal(Object.getPrototypeOf(back), Object.prototype);
  assert.deepEqual(Object.keys(back), ['__proto__', 'constructor', 'toString']);
  assert.equal({}.evil, undefined);
});

test('what cannot be sent is refused with the path to it', () => {
  const cases = [
    [[() => {}], /^args\[0\]: a function cannot be sent$/],
    [[{ items: [0, 0, 0, { onClick() {} }] }], /^args\[0\]\.items\[3\]\.onClick: a function cannot be sent$/],
    [[1, Symbol('s')], /^args\[1\]: a symbol cannot be sent$/],
    [[{ 'a b': Promise.resolve() }], /^args\[0\]\["a b"\]: a promise cannot be sent$/],
    [[new WeakMap()], /a WeakMap cannot be sent/],
    [[new WeakSet()], /a WeakSet cannot be sent/],
    [[new WeakRef({})], /a WeakRef cannot be sent/],
    [[new Map([['k', () => {}]])], /^args\[0\]\.get\("k"\): a function/],
    [[new Map([[() => {}, 1]])], /^args\[0\]\.keys\(\)\[0\]: a function/],
    [[new Set([1, Symbol('x')])], /^args\[0\]\.values\(\)\[1\]: a symbol/],
    [[new Error('x', { cause: () => {} })], /^args\[0\]\.cause: a function/],
    [[new SharedArrayBuffer(1)], /a SharedArrayBuffer cannot be sent/],
    [[new Proxy(() => {}, {})], /a proxy of a function cannot be sent/],
    [[new Proxy(new Map(), {})], /a proxy of a Map cannot be sent/],
    [[(function* () {})()], /a generator cannot be sent/],
    [[new Map().values()], /an iterator cannot be sent/],
    [[Object(Symbol('x'))], /a symbol cannot be sent/],
  ];
  for (const [args, message] of cases) assert.throws(() => encodeArgs(args), { code: 'ECLONE', message });
  const boom = new Error('boom');
  assert.throws(() => encodeArgs([{ get x() { throw boom; } }]), (e) => e === boom);
});

const nest = (n, make = (v) => [v]) => {
  let v = 0;
  for (let i = 0; i < n; i++) v = make(v);
  return v;
};

test('nesting is bounded alike on both sides', () => {
  assert.deepEqual(trip(nest(199)), nest(199)); // and the args array
  assert.throws(() => encodeArgs([nest(200)]), { code: 'ECLONE', message: /nested deeper than 200/ });
  assert.throws(() => encodeArgs([nest(200, (v) => new Set([v]))]), { code: 'ECLONE' });
  const chain = (n) => nest(n, (v) => Object.assign(new Error('', { cause: v }), { stack: '' })); // each is an Error and its map
  assert.ok(trip(chain(99)) instanceof Error);
  assert.throws(() => encodeArgs([chain(100)]), { code: 'ECLONE', message: /nested deeper than 200/ });
  assert.throws(() => decodeArgs(hex('91'.repeat(300) + '00')), { code: 'EPROTO', message: /nested/ });
});

test('too big is refused before it is sent', () => {
  const MB = 2 ** 20, tooBig = (n) => ({ code: 'ETOOBIG', message: `the message takes more than ${n} MiB` });
  assert.throws(() => encodeArgs([Array(70).fill('x'.repeat(MB))], 64 * MB), tooBig(64));
  assert.equal(encodeArgs([new Uint8Array(64 * MB - 6)], 64 * MB).length, 64 * MB);
  assert.throws(() => encodeArgs([new Uint8Array(64 * MB - 5)], 64 * MB), tooBig(64));
  // and before there is memory for it
  const before = process.memoryUsage().arrayBuffers, much = new Uint8Array(1024 * MB); // of zeros, which nobody has written yet
  assert.throws(() => encodeArgs([much]), tooBig(1024));
  assert.throws(() => encodeFrame({ version: 2, kind: 2, args: [much] }), tooBig(1024));
  assert.throws(() => encodeFrame({ version: 1, kind: 2, args: [much] }), tooBig(64));
  assert.throws(() => encodeArgs([new Array(2 ** 32 - 1)]), tooBig(1024)); // holes
  assert.ok(process.memoryUsage().arrayBuffers - before < 1100 * MB);
});

test('a frame that is too large for one goes in parts', () => {
  const bytes = new Uint8Array(64 * 2 ** 20).fill(7), frame = encodeFrame({ version: 2, kind: 2, dst: 'a/B/c', event: 'e', args: [bytes, 'end'] });
  const small = encodeFrame({ version: 2, kind: 2, dst: 'a/B/c', event: 'e', args: ['small'] });
  assert.deepEqual([...piecesOf(small, 1)], [small]);
  const pieces = [...piecesOf(frame, 0xfffffffe)];
  assert.equal(pieces[0].toString('hex'), `82010000fffffffe${(frame.length - 4).toString(16).padStart(16, '0')}`);
  assert.equal(pieces[2].toString('hex'), '81010000fffffffe');
  const got = [], parser = new FrameParser();
  for (const piece of pieces) parser.push(piece, (f) => got.push(f));
  assert.equal(got.length, 1);
  assert.ok(Buffer.compare(got[0], frame.subarray(4)) === 0);
  const [b, end] = decodeArgs(decodeEnvelope(got[0]).args);
  assert.ok(Buffer.compare(b, bytes) === 0 && end === 'end');
});

test('units behind a byte that brings them to an even place', () => {
  assert.deepEqual(decodeArgs(hex('92c7030d00e565 c7010d00')), ['日', '']);
});

test('malformed values are refused', () => {
  const bad = ['', '00', '91', '9100ff00', 'c1', '91c1', '92 01', '91a5 6162', '91d9ff61', '91c4ff00', '91c6ffffffff00', '91dd ffffffff 00',
    '91df 7fffffff 00', '9181 01 01', '9181a161', '91c70101ff', '91d402 02', '91c70002', '91d60300000000', '91d40401', '91d40500 c1',
    '91c70306a161 00', '91c70406a128a0', '91c70406a161a178', '91c70007', '91d40700', '91d40800', '91d40801ff', '91d5080300', '91d408 0d', '91c70008',
    '91d40901', '91d40905', '91c70009', '91c70309000000', '91d4 0f00', '91d4 0d01', '91c7030d010000', '91d4ff00', '91c7060781a56361757365', '91c70407 81 a161c0ff', '91c7020781a1'];
  for (const b of bad) assert.throws(() => decodeArgs(hex(b)), { code: 'EPROTO' }, b);
});

test('streams are refused both ways', () => {
  const refused = { code: 'ECLONE', message: /streams go between actors alone/ };
  for (const stream of [new ReadableStream(), new WritableStream()]) assert.throws(() => encodeArgs([{ stream }]), refused);
  assert.throws(() => decodeArgs(hex('91d4 0e00')), refused);
});

test('random bytes and flipped bits give a value, EPROTO or the refusal of a stream, nothing else', () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed;
  const random = (n) => { // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
  const o = { m: new Map([[1, new Set([new Date(1)])]]), e: new TypeError('x'), t: new Float64Array(2), r: /a/g, b: 5n ** 50n };
  o.o = [o, { [kAddress]: 'a/B/c' }, new Uint8Array(3)];
  const good = encodeArgs([o, 'text', -70_000]);
  for (let i = 0; i < 20_000; i++) {
    const b = i % 2 === 0 ? Buffer.from(good) : Buffer.from(Array.from({ length: random(40) }, () => random(256)));
    for (let k = random(4) + (i % 2 === 0 ? 1 : 0); k > 0 && b.length > 0; k--) b[random(b.length)] = random(256);
    try {
      decodeArgs(b);
    } catch (error) {
      assert.ok(error.code === 'EPROTO' || error.code === 'ECLONE', `seed ${seed}: ${b.toString('hex')}: ${error.stack}`);
    }
  }
});

test('the envelope, byte by byte', () => {
  const frame = encodeFrame({ kind: 1, id: 7, dst: 'a/B/c', event: 'add', timeout: 2000, args: [5] });
  assert.equal(frame.toString('hex'), '00000015 99 01 01 07 a0 a5612f422f63 a3616464 cd07d0 90 9105'.replace(/\s/g, ''));
  const m = decodeEnvelope(frame.subarray(4));
  assert.deepEqual({ ...m, args: decodeArgs(m.args) },
    { version: 1, kind: 1, flags: 0, id: 7, seq: 0, src: '', dst: 'a/B/c', event: 'add', timeout: 2000, trace: new Uint8Array(), chain: [], args: [5] });
  const durable = encodeFrame({ version: 2, kind: 2, id: 1, seq: 3, src: 'a/A/1', dst: 'b/B/2', event: 'go' });
  assert.equal(durable.toString('hex'), '0000001a 9c 02 02 01 01 03 a5612f412f31 a5622f422f32 a2676f 00 c400 90 90'.replace(/\s/g, ''));
  const ack = decodeEnvelope(hex('9c 02 0b 00 00 03 a5622f422f32 a5612f412f31 a0 00 c400 90 90')); // docs/wire.md
  assert.deepEqual([ack.kind, ack.flags, ack.seq, ack.src, ack.dst], [11, 0, 3, 'b/B/2', 'a/A/1']);
  const chained = decodeEnvelope(hex('99 01 01 07 a0 a0 a0 00 92a161a162 90'));
  assert.deepEqual(chained.chain, ['a', 'b']);
});

test('a wrong envelope is refused', () => {
  for (const b of ['', '98 0101', '99 02 01 07 a0 a0 a0 00 90 90', '99 01 0b 07 a0 a0 a0 00 90 90', '99 01 00 07 a0 a0 a0 00 90 90',
    '99 01 01 ff a0 a0 a0 00 90 90', '99 01 01 07 c0 a0 a0 00 90 90', '99 01 01 07 a0 a0 a0 00 01 90', '99 01 01 07 a0 a0 a0 00 9101 90',
    '99 01 01 cb3ff8000000000000 a0 a0 a0 00 90 90', '9a 01 01 07 a0 a0 a0 00 90 90',
    '9c 01 01 07 a0 a0 a0 00 90 90', '9c 03 02 00 00 00 a0 a0 a0 00 c400 90 90', '9c 02 0d 00 00 00 a0 a0 a0 00 c400 90 90', '9c 02 02 00 00 00 a0 a0 a0 00 90 90 90'])
    assert.throws(() => decodeEnvelope(hex(b)), { code: 'EPROTO' }, b);
});

test('frames are cut from a stream, however it arrives', () => {
  const one = encodeFrame({ kind: 2, event: 'one' }), two = encodeFrame({ kind: 2, event: 'two', args: ['x'.repeat(500)] });
  const stream = Buffer.concat([one, two, one]);
  for (const step of [1, 3, 4, 5, 100, stream.length]) {
    const parser = new FrameParser();
    const events = [];
    for (let at = 0; at < stream.length; at += step)
      parser.push(stream.subarray(at, at + step), (b) => events.push(decodeEnvelope(b).event));
    assert.deepEqual(events, ['one', 'two', 'one']);
  }
  assert.throws(() => new FrameParser().push(hex('00000000'), () => {}), { code: 'EPROTO' });
  assert.throws(() => new FrameParser().push(hex('04000001'), () => {}), { code: 'EPROTO' });
});

const item = (kind, ...parts) => {
  const bytes = Buffer.concat(parts), header = Buffer.alloc(4);
  header.writeUInt32BE(((0x80 | kind) << 24 | bytes.length) >>> 0);
  return Buffer.concat([header, bytes]);
};
const opening = (number, total) => {
  const head = Buffer.alloc(12);
  head.writeUInt32BE(number);
  head.writeBigUInt64BE(BigInt(total), 4);
  return head;
};
const numbered = (number) => opening(number, 0).subarray(0, 4);

test('large frames come in parts, with others between them', () => {
  const small = encodeFrame({ kind: 2, event: 'small' }), a = encodeFrame({ kind: 2, event: 'a', args: ['x'.repeat(100)] }).subarray(4), b = encodeFrame({ kind: 2, event: 'b', args: ['y'.repeat(90)] }).subarray(4);
  const stream = Buffer.concat([item(2, opening(7, a.length), a.subarray(0, 10)), small, item(2, opening(8, b.length), b.subarray(0, 1)), item(1, numbered(7), a.subarray(10, 60)),
    item(1, numbered(8), b.subarray(1)), small, item(1, numbered(7), a.subarray(60)), item(2, opening(7, a.length), a)]);
  for (const step of [1, 3, 4, 5, 100, stream.length]) {
    const parser = new FrameParser(), events = [];
    for (let at = 0; at < stream.length; at += step) parser.push(stream.subarray(at, at + step), (bytes) => events.push(decodeEnvelope(bytes).event));
    assert.deepEqual(events, ['small', 'b', 'small', 'a', 'a']);
  }
});

test('parts that cannot be are refused', () => {
  const one = Buffer.from('x');
  for (const [what, ...items] of [
    ['a part of nothing', item(1, numbered(7), one)],
    ['more than was announced', item(2, opening(7, 2), one), item(1, numbered(7), Buffer.from('xy'))],
    ['nothing', item(2, opening(7, 0), one)],
    ['an empty first part', item(2, opening(7, 2))],
    ['an empty part', item(2, opening(7, 2), one), item(1, numbered(7))],
    ['more than a frame may have', item(2, opening(7, 2 ** 30 + 1), one)],
    ['twice the same number', item(2, opening(7, 2), one), item(2, opening(7, 2), one)],
    ['too many at once', ...Array.from({ length: 65 }, (_, i) => item(2, opening(i, 2), one))],
    ['cut off', item(2, Buffer.alloc(5))],
    ['of another kind', item(5, numbered(7), one)],
    ['longer than an item', item(1, numbered(7), Buffer.alloc(70_000))],
  ])
    assert.throws(() => { const parser = new FrameParser(); for (const bytes of items) parser.push(bytes, () => {}); }, { code: 'EPROTO' }, what);
});
