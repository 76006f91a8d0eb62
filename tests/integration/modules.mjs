// SPDX-License-Identifier: Apache-2.0
//
// Packages for apps of tests, from those the project has installed for its own.
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** Puts what `name` is and needs into DIR/node_modules, as npm would. */
export function install(dir, name, from = join(root, 'package.json'), done = new Set()) {
  let at = dirname(from);
  while (!existsSync(join(at, 'node_modules', name, 'package.json'))) at = dirname(at);
  const source = join(at, 'node_modules', name);
  if (done.has(source)) return;
  done.add(source);
  cpSync(source, source.replace(join(root, 'node_modules'), join(dir, 'node_modules')), { recursive: true });
  for (const needed of Object.keys(JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')).dependencies ?? {})) install(dir, needed, join(source, 'package.json'), done);
}
