// SPDX-License-Identifier: Apache-2.0
//
// What the TypeScript compiler says of files that use the package `isola`.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
export const options = { strict: true, noEmit: true, target: 'esnext', module: 'nodenext', types: ['node'], skipLibCheck: false, noUnusedLocals: false };

/** A directory with the package installed, as npm does with one of a path; what tsc says of the files in it. */
export function compile(t, compilerOptions, fill) {
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
