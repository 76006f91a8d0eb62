// SPDX-License-Identifier: Apache-2.0
//
// What a visit will need of an isolate (actors/v8/footprint.cc): it is known of the pinned V8, and nothing is read where memory ends.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const addon = join(process.env.ISOLA_BUILD || join(resolve(import.meta.dirname, '../..'), 'build'), 'lib/isolate.node');
const { ISOLA_PRELOAD } = process.env;
const env = ISOLA_PRELOAD ? { ...process.env, LD_PRELOAD: ISOLA_PRELOAD, ASAN_OPTIONS: 'detect_leaks=0' } : process.env;
const program = `const iso = require(${JSON.stringify(addon)}); const id = iso.open(); const [a, b, c, d] = [(x) => x + 1, (x) => x + 2, (x) => x + 3, (x) => x + 4]; const outer = (x) => a(x) + b(x) + c(x) + d(x); for (let i = 0; i < 2000; i++) outer(i); const lines = iso.footprint(id, outer); iso.close(id); JSON.stringify(lines)`;

test('the footprint of an isolate, and of a function', () => {
  const [isolate, func, alone, deep] = JSON.parse(execFileSync(process.execPath, ['--no-node-snapshot', '-p', program], { env, encoding: 'utf8' }));
  assert.ok(isolate > 40 && isolate < 80, `${isolate} lines of an isolate: with another V8, look where it has what (footprint.cc)`);
  assert.ok(func > 3 && func < 60, `${func} lines of a function`);
  assert.ok(alone > 8 && deep > alone + 4, `${alone} lines of a function that calls four, ${deep} with those`);
});
