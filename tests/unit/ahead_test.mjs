// SPDX-License-Identifier: Apache-2.0
//
// What looks at V8's objects as they lie in memory (actors/v8/ahead.cc) reads nothing behind them where memory ends.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const addon = join(process.env.ISOLA_BUILD || join(resolve(import.meta.dirname, '../..'), 'build'), 'lib/isolate.node');
const { ISOLA_PRELOAD } = process.env;
const env = ISOLA_PRELOAD ? { ...process.env, LD_PRELOAD: ISOLA_PRELOAD, ASAN_OPTIONS: 'detect_leaks=0' } : process.env;
const look = (bytes) =>
  execFileSync(process.execPath, ['--no-node-snapshot', '-p', `require(${JSON.stringify(addon)}).ahead(${bytes})`], { env, encoding: 'utf8' });

// A proxy has 40 bytes, a bound function 48, others 56 or 64.
for (const bytes of [40, 48, 56, 64]) test(`a handler of ${bytes} bytes`, () => assert.equal(look(bytes), 'true\n'));
