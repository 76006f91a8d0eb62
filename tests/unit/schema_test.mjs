// SPDX-License-Identifier: Apache-2.0
//
// docs/isola.schema.json says what store/manifest*.c takes: each manifest of manifest_test.c, thousands of damaged ones among them, is judged by both. What a
// schema cannot know is named below, by what the parser says of it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import test from 'node:test';

import Ajv from 'ajv';

const root = resolve(import.meta.dirname, '../..');
const build = process.env.ISOLA_BUILD || join(root, 'build');
const read = (file) => readFileSync(join(root, file), 'utf8');
const schema = JSON.parse(read('docs/isola.schema.json'));
const takes = new Ajv({ allErrors: true }).compile(schema);

const BEYOND = [
  /: the key .* is there twice/, // JSON.parse takes the last
  /"actors" is missing|names no actor type/, // they may be found by the names of their files
  /from "\w+" to "\w+", not "\d{1,9}[A-Za-z]+"$/, // a size or duration out of its range
  /leads out of the app's directory$/, // by way of some other directory
  /nested deeper than|more than 1 MiB/,
  /which "env" (sets|names too): leave it out/,
];

/** [text, what the parser said: '' when it took it] */
function manifests() {
  const dir = mkdtempSync(join(tmpdir(), 'isola-test-'));
  try {
    execFileSync(join(build, 'tests/manifest_test'), { env: { ...process.env, ISOLA_MANIFESTS: join(dir, 'all') }, stdio: 'pipe' });
    const all = readFileSync(join(dir, 'all')), found = [];
    for (let at = 0; at < all.length;) {
      const line = all.indexOf(0x0a, at);
      const [, length, said] = /^(\d+) (.*)$/s.exec(all.toString('utf8', at, line));
      at = line + 1 + Number(length);
      found.push([all.subarray(line + 1, at), said]);
    }
    return found;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
function parsed(bytes) {
  try {
    return JSON.parse(strict.decode(bytes));
  } catch {
    return undefined; // no JSON, on which no schema has a word
  }
}

test('the parser and the schema agree', () => {
  const all = manifests(), differ = [];
  let taken = 0, refused = 0;
  for (const [bytes, said] of all) {
    const value = parsed(bytes);
    if (value === undefined || BEYOND.some((pattern) => pattern.test(said))) continue;
    const ok = takes(value);
    if (ok) taken++;
    else refused++;
    if (ok !== (said === '')) differ.push(`${bytes}\n  parser: ${said || 'takes it'}\n  schema: ${ok ? 'takes it' : new Ajv().errorsText(takes.errors)}`);
  }
  assert.deepEqual(differ, []);
  assert.ok(taken > 100 && refused > 100, `${taken} taken, ${refused} refused, of ${all.length}`);
});

test('it has each key and word the parser knows, and no other', () => {
  const { properties, definitions } = schema;
  const type = definitions.type.properties, service = definitions.service.properties;
  const known = {
    'manifest.c app_keys': [...Object.keys(properties), 'routes'], // refused by name
    'manifest.c type_keys': Object.keys(type),
    'manifest.c permission_keys': Object.keys(properties.permissions.properties),
    'manifest_rollout.c keys': Object.keys(properties.rollout.properties),
    'manifest.c isolations': [...type.isolation.enum, service.isolation.const],
    'manifest.c kinds': service.kind.enum,
    'manifest_service.c keys': Object.keys(service),
    'manifest_service.c health_keys': Object.keys(service.health.properties),
    'manifest_life.c restart_keys': Object.keys(type.restart.properties),
    'manifest_life.c strategies': type.strategy.enum,
  };
  for (const [list, words] of Object.entries(known)) {
    const [file, name] = list.split(' ');
    const [, text] = new RegExp(` ${name}\\[\\] = \\{(.*?)NULL\\}`, 's').exec(read(`store/${file}`));
    assert.deepEqual([...text.matchAll(/"([^"]+)"/g)].map(([, word]) => word).sort(), [...words].sort(), list);
  }
});

test('limits: defaults and ranges are those of docs/limits.md', () => {
  const type = schema.definitions.type.properties;
  const rows = [...read('docs/limits.md').matchAll(/^\| `(\w+)` \| (\S+) \| (\S+) – (\S+) \|/gm)];
  assert.ok(rows.length >= 12);
  for (const [, key, usual, least, most] of rows) {
    const value = type[key];
    assert.equal(JSON.stringify(value.default), usual.replaceAll('`', '').replaceAll(',', ''), key);
    if (value.type === 'integer') assert.deepEqual([value.minimum, value.maximum], [least, most].map((s) => Number(s.replaceAll(',', ''))), key);
    else assert.ok(value.description.includes(` From ${least} to ${most}; ${value.default} unless said.`), key);
  }
});

test('everything says what it is, and examples and defaults are taken', () => {
  const check = (value, at) => {
    assert.ok(value.description, at);
    for (const [key, sub] of Object.entries(value.properties ?? {})) check(sub, `${at}.${key}`);
    const own = new Ajv().compile({ definitions: schema.definitions, ...value, $id: at });
    for (const example of [...(value.examples ?? []), ...('default' in value ? [value.default] : [])]) assert.ok(own(example), `${at}: ${JSON.stringify(example)}`);
  };
  check(schema, 'isola');
  check(schema.definitions.type, 'type');
  check(schema.definitions.service, 'service');
});

test('the manifests of the project name it, and it takes them', () => {
  const files = ['examples', 'templates'].flatMap((dir) =>
    readdirSync(join(root, dir), { recursive: true }).filter((f) => f.endsWith('isola.json') && !f.includes('node_modules')).map((f) => join(dir, f)));
  assert.ok(files.length >= 3);
  for (const file of files) {
    const manifest = JSON.parse(read(file).replaceAll('{{name}}', 'app').replaceAll('{{schema}}', join(root, 'docs/isola.schema.json'))); // as ctl new does
    assert.ok(takes(manifest), `${file}: ${new Ajv().errorsText(takes.errors)}`);
    assert.equal(resolve(root, dirname(file), manifest.$schema), join(root, 'docs/isola.schema.json'), file);
  }
});
