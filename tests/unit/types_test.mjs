// SPDX-License-Identifier: Apache-2.0
//
// The types of the package `isola`, by the TypeScript compiler: right uses compile, wrong ones do not (tests/types/uses.ts), and the declarations themselves are in order.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'node:test';

import * as isola from '../../actors/lib/client/index.js';
import { compile, options } from '../types/compile.mjs';

const root = resolve(import.meta.dirname, '../..');
test('right uses compile, and wrong ones do not', (t) => {
  const uses = (dir) => copyFileSync(join(root, 'tests/types/uses.ts'), join(dir, 'uses.ts'));
  assert.deepEqual(compile(t, options, uses), { status: 0, said: '' });
});

test('with the settings of a CommonJS program, and of the browser\'s libraries', (t) => {
  const use = (dir) => writeFileSync(join(dir, 'use.cts'), "import { actor, connect } from 'isola';\nexport const f = async () => [await connect(), actor('a/B', 1)];\n");
  assert.deepEqual(compile(t, { ...options, lib: ['esnext', 'dom'] }, use), { status: 0, said: '' });
});

test('the compiler sees what is wrong', (t) => {
  const { status, said } = compile(t, options, (dir) => writeFileSync(join(dir, 'wrong.ts'), "import { actor } from 'isola';\nactor<{ add(n: number): void }>('a/B', 1).ask('add', 'x');\n"));
  assert.notEqual(status, 0);
  assert.match(said, /^wrong\.ts\(2,\d+\): error TS2345: /m);
});

test('what the package exports is declared, and what is declared is there', () => {
  const declared = readFileSync(join(root, 'actors/lib/client/index.d.ts'), 'utf8');
  const names = [...declared.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual([...new Set(names)].sort(), Object.keys(isola).sort());
  const codes = [...readFileSync(join(root, 'base/error.h'), 'utf8').matchAll(/^ {4}X\((E[A-Z]+), /gm)].map(([, code]) => code);
  const [, union] = /export type ErrorCode = (.*?);/s.exec(declared);
  assert.deepEqual(union.match(/E[A-Z]+/g).sort(), codes.sort());
});

for (const template of readdirSync(join(root, 'templates'), { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name)) {
  const from = join(root, 'templates', template);
  if (!readdirSync(from).includes('tsconfig.json')) continue;
  test(`the template ${template}`, (t) => {
    const copy = (dir) => cpSync(from, dir, { recursive: true });
    assert.deepEqual(compile(t, undefined, copy), { status: 0, said: '' });
  });
}
