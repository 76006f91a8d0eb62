// SPDX-License-Identifier: Apache-2.0
//
// The values of tests/vectors/values.json have the bytes that are said there, in an isolate and in the client library; read again, they are
// the same values. The table of docs/wire.md is that file. (unit/cli_vectors_test.c reads the bytes in C.)
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

import { decodeArgs, encodeArgs, kAddress, writeArgs } from '../../actors/lib/client/codec.js';
import { Writer } from '../../actors/lib/client/msgpack.js';

const root = resolve(import.meta.dirname, '../..');
const vectors = JSON.parse(readFileSync(join(root, 'tests/vectors/values.json'), 'utf8'));
const addon = join(process.env.ISOLA_BUILD || join(root, 'build'), 'lib/isolate.node');
const { ISOLA_PRELOAD } = process.env;
const env = ISOLA_PRELOAD ? { ...process.env, LD_PRELOAD: ISOLA_PRELOAD, ASAN_OPTIONS: 'detect_leaks=0' } : process.env;

test('in an isolate', () => {
  const code = `const iso = require(${JSON.stringify(addon)}); const id = iso.open();
    const all = ${JSON.stringify(vectors)}.map((v) => [true, false].flatMap((direct) =>
      [iso.encode(id, '(ref) => [' + (v.value) + ']', direct), iso.recode(id, v.bytes, direct)]));
    iso.close(id); console.log(JSON.stringify(all));`;
  const all = JSON.parse(execFileSync(process.execPath, ['--no-node-snapshot', '--no-turboshaft-loop-unrolling', '-e', code], { env, encoding: 'utf8' }));
  for (const [i, said] of all.entries()) for (const { bytes, message } of said) assert.equal(message ?? bytes, vectors[i].bytes, vectors[i].name);
});

test('in the client library', () => {
  for (const { name, value, bytes, older } of vectors) {
    const made = new Function('ref', `return [${value}]`)((address) => ({ [kAddress]: address }));
    const w = new Writer();
    assert.equal(writeArgs(new Writer(), made), older !== undefined, name);
    assert.equal(writeArgs(w, made, true), false, name);
    assert.equal(w.bytes().toString('hex'), older ?? bytes, `${name}, for who speaks version 1`);
    assert.equal(encodeArgs(made).toString('hex'), bytes, name);
    assert.equal(encodeArgs(decodeArgs(Buffer.from(bytes, 'hex'))).toString('hex'), bytes, `${name}, read again`);
  }
});

test('in docs/wire.md', () => {
  const rows = readFileSync(join(root, 'docs/wire.md'), 'utf8').split('\n');
  for (const { name, value, bytes } of vectors) {
    const row = rows.find((r) => r.startsWith(`| ${name} | `));
    assert.ok(row?.includes(`\`${value.replaceAll('|', '\\|')}\``), name);
    const shown = /\| `([0-9a-f]+)`( …)?[^|]*\|$/.exec(row);
    assert.ok(shown && (shown[2] ? bytes.slice(2).startsWith(shown[1]) : bytes.slice(2) === shown[1]), name);
  }
});
