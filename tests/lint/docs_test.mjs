// SPDX-License-Identifier: Apache-2.0
//
// What the documentation names is there: files, commands, pages, codes of errors.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import test from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const read = (file) => readFileSync(join(root, file), 'utf8');

/** All files of the project, without what is installed or built. */
function walk(dir, out = []) {
  for (const entry of readdirSync(join(root, dir), { withFileTypes: true })) {
    if (/^(\.git|node_modules|build.*|peers)$/.test(entry.name)) continue;
    const path = join(dir, entry.name);
    if (entry.isDirectory()) walk(path, out);
    else out.push(path);
  }
  return out;
}
const files = walk('.');
const pages = files.filter((f) => f.endsWith('.md'));

test('files', () => {
  const missing = [];
  for (const page of pages) {
    // A README speaks of its own folder, and of tests; the pages of docs/ of all.
    const home = ['docs', '.'].includes(dirname(page)) ? '' : `${dirname(page)}/`;
    for (const [, name] of read(page).matchAll(/`([\w./-]*\w\.(?:md|[ch]|cc|hh|m?js|cjs|sh|ts))`/g)) {
      if (/NAME|^build\//.test(name)) continue;
      const there = files.some((f) => f === name || ([home, 'tests/'].some((h) => f.startsWith(h)) && `/${f}`.endsWith(`/${name}`)));
      if (!there) missing.push(`${page}: ${name}`);
    }
  }
  assert.deepEqual(missing, []);
});

test('pages of docs/, from the README', () => {
  const readme = read('README.md');
  for (const page of pages.filter((p) => dirname(p) === 'docs')) assert.ok(readme.includes(`\`${page}\``), page);
});

test('folders with sources have a README', () => {
  const without = new Set(files.filter((f) => /\.(c|cc|m?js)$/.test(f)).map((f) => f.split('/')[0]));
  for (const page of pages.filter((p) => basename(p) === 'README.md')) without.delete(relative('.', page).split('/')[0]);
  assert.deepEqual([...without], []);
});

test('commands of ctl', () => {
  const doc = read('docs/cli.md');
  const names = [...read('cli/commands.c').matchAll(/^ {4}\{\.name = "([a-z-]+)",$/gm)].map(([, name]) => name);
  assert.ok(names.length > 10);
  const headings = doc.split('\n').filter((line) => line.startsWith('## ')).join('\n');
  for (const name of names) assert.match(headings, new RegExp(`\`${name}[ \`]`), name);
});

test('codes of errors', () => {
  const doc = read('docs/debugging.md');
  const codes = [...read('base/error.h').matchAll(/^ {4}X\((E[A-Z]+), /gm)].map(([, code]) => code);
  assert.ok(codes.length > 20);
  for (const code of [...codes, 'EUSAGE']) assert.match(doc, new RegExp(`^\\| [^|]*\`${code}\``, 'm'), code);
});
