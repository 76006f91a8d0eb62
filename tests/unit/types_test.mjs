// SPDX-License-Identifier: Apache-2.0
//
// The types of the package `isola`, by the TypeScript compiler: right uses compile, wrong ones do not (tests/types/uses.ts), and the declarations themselves are in order.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';

import * as isola from '../../actors/lib/client/index.js';

const root = resolve(import.meta.dirname, '../..');
const options = { strict: true, noEmit: true, target: 'esnext', module: 'nodenext', types: ['node'], skipLibCheck: false, noUnusedLocals: false };

/** A directory with the package installed, as npm does with one of a path; what tsc says of the files in it. */
function compile(t, compilerOptions, fill) {
  const dir = mkdtempSync(join(tmpdir(), 'isola-types-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(join(root, 'node_modules/@types'), join(dir, 'node_modules/@types'));
  cpSync(join(root, 'actors/lib/client'), join(dir, 'node_modules/isola'), { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  if (compilerOptions !== undefined) writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  fill(dir);
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', dir, '--pretty', 'false'], { cwd: dir, encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

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
