// SPDX-License-Identifier: Apache-2.0
//
// Long texts and runs of numbers, which the isolates' codec reads and writes many at once (actors/v8/runs.hh), and names that it compares
// so: whatever stands wherever in one, the bytes are those of the client library, which goes one by one; and read again, they are the same.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

import { decodeArgs, encodeArgs } from '../../actors/lib/client/codec.js';

const addon = join(process.env.ISOLA_BUILD || join(resolve(import.meta.dirname, '../..'), 'build'), 'lib/isolate.node');
const { ISOLA_PRELOAD } = process.env;
const env = ISOLA_PRELOAD ? { ...process.env, LD_PRELOAD: ISOLA_PRELOAD, ASAN_OPTIONS: 'detect_leaks=0' } : process.env;

/** What `make`, a function of nothing around it, returns is a list of lists of arguments: each is encoded, decoded and encoded again. */
function same(make) {
  const code = `const iso = require(${JSON.stringify(addon)}); const id = iso.open(); const all = [];
    for (let i = 0; i < ${make().length}; i++) {
      const { bytes, message } = iso.encode(id, '() => (globalThis.all ??= (' + ${JSON.stringify(String(make))} + ')())[' + i + ']', true);
      all.push(message ?? bytes, message ?? iso.recode(id, bytes, true).bytes);
    }
    iso.close(id); console.log(JSON.stringify(all));`;
  const flags = ['--no-node-snapshot', '--no-turboshaft-loop-unrolling'];
  const said = JSON.parse(execFileSync(process.execPath, [...flags, '-e', code], { env, encoding: 'utf8', maxBuffer: 2 ** 28 }));
  for (const [i, args] of make().entries()) {
    const bytes = encodeArgs(args).toString('hex');
    for (const [k, theirs] of said.slice(2 * i, 2 * i + 2).entries()) {
      if (theirs === bytes) continue;
      const at = [...bytes].findIndex((c, j) => c !== theirs[j]);
      assert.fail(`list ${i}, ${k === 0 ? 'encoded' : 'decoded'}: at ${at} of ${bytes.length}: ${theirs.slice(Math.max(0, at - 40), at + 40)} for ${bytes.slice(Math.max(0, at - 40), at + 40)}`);
    }
  }
}

test('a character that is not ASCII, anywhere in a text', () => {
  same(() => {
    const lists = [];
    for (const n of [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 383, 384, 385, 400, 511, 640, 900])
      for (const odd of ['\x7f', '\x80', '\xe9', '\u65e5']) {
        const places = n < 70 ? Array.from({ length: n }, (_, i) => i) : [0, 1, 7, 31, 32, 63, 64, n >> 1, 255, 256, 257, 288, 383, n - 65, n - 33, n - 32, n - 9, n - 2, n - 1];
        lists.push(places.filter((at) => at >= 0 && at < n).map((at) => 'a'.repeat(at) + odd + 'z'.repeat(n - at - 1)));
      }
    for (const n of [16511, 16512, 16640, 16768, 33152, 40001])
      lists.push([16383, 16639, 16640, n - 1].map((at) => 'a'.repeat(at) + (at < n ? '\xe9' : 'b') + 'z'.repeat(Math.max(0, n - at - 1))));
    return lists;
  });
});

test('every character of a long text, at even and odd places', () => {
  same(() => {
    const text = (n, from, of) => Array.from({ length: n }, (_, i) => String.fromCharCode(from + (i * 7) % of)).join('');
    return [64, 65, 100, 127, 128, 129, 255, 256, 257, 300, 1000, 4097, 20000].flatMap((n) => [
      [text(n, 32, 95), 1, text(n, 32, 95), 1000, text(n, 32, 95)], [text(n, 128, 128), 1, text(n, 128, 128), 1000, text(n, 128, 128)],
      [text(n, 0x4e00, 9000), 1, text(n, 0x4e00, 9000), 1000, text(n, 0x4e00, 9000)],
      [`\xe9${text(n, 0x4e00, 9000)}`, 1, `\xe9${text(n, 0x4e00, 9000)}`], [`\xe9${text(n, 0x4e00, 9000)}\ud800`, 1, `${text(n, 0x4e00, 9000)}\ud800`],
    ]);
  });
});

test('any number among doubles', () => {
  same(() => {
    const lists = [];
    for (const odd of [7, 0, -0, -1, NaN, Infinity, -Infinity, 2 ** 31, 2 ** 53, 2 ** 53 + 2, -(2 ** 53), 1e300, 5e-324, 0.1, undefined, 'x'])
      for (const n of [16, 19, 260]) lists.push(Array.from({ length: Math.min(n, 24) }, (_, at) => Array.from({ length: n }, (_, i) => (i === at ? odd : i + 0.5))));
    for (let at = 0; at < 20; at++) {
      const holes = Array.from({ length: 20 }, (_, i) => i + 0.25);
      delete holes[at];
      lists.push([holes]);
    }
    lists.push([Array.from({ length: 1000 }, (_, i) => i / 4), Array.from({ length: 1000 }, (_, i) => (i - 500) * 1e17)]);
    return lists;
  });
});

test('any number among small integers', () => {
  same(() => {
    const lists = [], kinds = [5, 127, 128, 255, 256, 9999, 65535, 65536, 2 ** 31 - 1, -1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31)];
    for (const usual of kinds)
      for (const odd of [...kinds, 2 ** 31, 2 ** 32, -(2 ** 31) - 1, 2 ** 40, -0, 0.5, null, 'x'])
        lists.push(Array.from({ length: 18 }, (_, at) => Array.from({ length: 18 }, (_, i) => (i === at ? odd : usual))));
    lists.push([Array.from({ length: 9000 }, (_, i) => i), Array.from({ length: 9000 }, (_, i) => (i * 7919) % 70000 - 300)]);
    return lists;
  });
});

test('short texts, whatever they are of', () => {
  same(() => {
    let seed = 7;
    const below = (n) => Math.floor((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32 * n);
    const letters = ['a', '\x7f', '\x80', '\xbf', '\xc0', '\xff', '\u0100', '\u07ff', '\u0800', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}', '\ud800', '\udfff'];
    const kinds = [letters.slice(0, 6), letters.slice(0, 8), letters.slice(7, 12), letters.slice(0, 14), letters];
    return kinds.map((kind) => Array.from({ length: 70 }, (_, n) => Array.from({ length: 8 }, () => Array.from({ length: n }, () => kind[below(kind.length)]).join(''))));
  });
});

test('BigInts of any size', () => {
  same(() => [Array.from({ length: 700 }, (_, i) => 2n ** BigInt(i)), Array.from({ length: 700 }, (_, i) => -(2n ** BigInt(i)) + 1n), Array.from({ length: 90 }, (_, i) => 255n << BigInt(8 * i))]);
});

test('objects of many names', () => {
  same(() => [199, 200, 201, 1000].map((n) => {
    const named = (more) => ({ ...Object.fromEntries(Array.from({ length: n - 2 }, (_, i) => [`name ${i * 7919 % n}`, i])), ...more });
    const cycle = named({ a: [1] });
    cycle.b = [cycle, cycle.a];
    return [named({ a: { b: 1 }, 7: 'an index' }), named({ '\u00e9': 1, '\u65e5': 2 }), cycle, Object.fromEntries(Array.from({ length: n }, (_, i) => [i * 3, `${i}`])),
      JSON.parse(`{"__proto__":{"a":1},${Array.from({ length: n }, (_, i) => `"k${i}":${i}`).join()}}`), { after: [named({})] }];
  }));
});

/** Each of these arguments, as bytes, read and written again, is as the client library makes it. */
function read(all) {
  const code = `const iso = require(${JSON.stringify(addon)}); const id = iso.open();
    const all = ${JSON.stringify(all)}.map((bytes) => iso.recode(id, bytes, true)); iso.close(id); console.log(JSON.stringify(all.map(({ bytes, message }) => message ?? bytes)));`;
  const said = JSON.parse(execFileSync(process.execPath, ['--no-node-snapshot', '--no-turboshaft-loop-unrolling', '-e', code], { env, encoding: 'utf8', maxBuffer: 2 ** 28 }));
  for (const [i, bytes] of all.entries()) assert.equal(said[i], encodeArgs(decodeArgs(Buffer.from(bytes, 'hex'))).toString('hex'), bytes);
}

test('texts that are no UTF-8', () => {
  const bad = ['80', 'c0', 'c080', 'c1bf', 'c2', 'c3c3', 'c2a9a9', 'e0', 'e08080', 'e09fbf', 'e282', 'e2e282ac', 'eda080', 'edbfbf', 'f0808080', 'f08fbfbf', 'f09f98', 'f09f9880f0', 'f4908080', 'f5808080', 'ff', 'fe80'];
  const all = [];
  for (const one of bad)
    for (const [before, after] of [['', ''], ['61', ''], ['', '61'], ['c3a9', 'c3a9'], ['e697a5', '61'], ['61'.repeat(25), '62'.repeat(3)]]) {
      const text = before + one + after, n = text.length / 2;
      for (const head of [(0xa0 | n).toString(16), `d9${n.toString(16).padStart(2, '0')}`, `da00${n.toString(16).padStart(2, '0')}`]) if (n < 32) all.push(`91${head}${text}`);
    }
  read(all);
});

test('a name that an object of many has twice', () => {
  const text = (s) => (0xa0 | s.length).toString(16) + Buffer.from(s).toString('hex');
  read([199, 200, 300].map((n) => `91de${(n + 2).toString(16).padStart(4, '0')}${Array.from({ length: n }, (_, i) => `${text(`k${i}`)}cc${(i & 0xff).toString(16).padStart(2, '0')}`).join('')}${text('k5')}01${text('k0')}02`));
});

for (const first of [1, 9, 17, 25])
  test(`names of ${first} bytes and more that differ in one`, () => {
    const make = () => Array.from({ length: 8 }, (_, i) => FIRST + i).map((n) => {
      const name = 'abcdefghijklmnopqrstuvwxyz0123456789'.slice(0, n);
      const names = [name, ...[0, n >> 1, n - 1].map((at) => `${name.slice(0, at)}_${name.slice(at + 1)}`), `${name}_`, name.slice(0, -1)];
      return Array.from({ length: 5 }, () => names.map((k) => ({ [`k${n}`]: 1, [k]: n }))).flat();
    });
    same(new Function(`return ${String(make).replace('FIRST', first)}`)());
  });
