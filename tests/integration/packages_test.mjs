// SPDX-License-Identifier: Apache-2.0
//
// Well-known packages from npm, as they are, in isolates and in shared ones; TypeScript, ES modules, CommonJS and JSON side by side.
import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { v5 } from 'uuid';

import { Cluster, ctl } from './cluster.mjs';

const cluster = new Cluster();
let node;

const files = {
  'isola.json': {
    name: 'pkg',
    actors: {
      Esm: { module: './esm.js' },
      Cjs: { module: './cjs.cjs' },
      Typed: { module: './typed.ts' },
      Shared: { module: './typed.ts', isolation: 'shared' },
    },
  },
  'data.json': { list: [3, 1, 2], deep: { answer: 42 } },
  'esm.js': `
    import _, { sortBy } from 'lodash';
    import { v4, v5, v7, validate } from 'uuid';
    import { z } from 'zod';
    import dayjs from 'dayjs';
    import utc from 'dayjs/plugin/utc';
    import { Map, List, fromJS } from 'immutable';
    import { EventEmitter } from 'eventemitter3';
    import { nanoid } from 'nanoid';
    import Decimal from 'decimal.js';
    import YAML from 'yaml';
    import qs from 'qs';
    import { SignJWT, jwtVerify, generateKeyPair, CompactEncrypt, compactDecrypt } from 'jose';
    import { Hono } from 'hono';
    import data from './data.json';
    dayjs.extend(utc);
    export default (self) => {
      self.on('lodash', () => [sortBy(data.list), _.chunk([1, 2, 3], 2), _.cloneDeep(data).deep.answer, _.camelCase('a test'), _.template('hi <%= who %>')({ who: 'you' })]);
      self.on('debounce', () => new Promise((done) => { let n = 0; const f = _.debounce(() => done(++n), 5); f(); f(); f(); }));
      self.on('uuid', () => [validate(v4()), validate(v7()), v5('isola', v5.URL), v4() !== v4()]);
      self.on('zod', (v) => { const r = z.object({ id: z.number().int(), mail: z.email().optional() }).safeParse(v); return r.success ? r.data : r.error.issues.map((i) => i.path.join('.')); });
      self.on('dayjs', () => [dayjs.utc('2024-02-28').add(2, 'day').format('YYYY-MM-DD'), dayjs.utc(0).toISOString()]);
      self.on('immutable', () => [Map({ a: 1 }).set('b', 2).toJS(), List([1, 2]).push(3).size, fromJS(data).getIn(['deep', 'answer'])]);
      self.on('eventemitter3', () => { const e = new EventEmitter(); const seen = []; e.once('x', (v) => seen.push(v)); e.emit('x', 1); e.emit('x', 2); return seen; });
      self.on('nanoid', () => [nanoid().length, nanoid() !== nanoid()]);
      self.on('decimal', () => new Decimal('0.1').plus('0.2').toString());
      self.on('yaml', (text) => [YAML.parse(text), YAML.stringify({ a: [1, { b: null }] })]);
      self.on('qs', () => [qs.parse('a[b]=1&a[c][]=2'), qs.stringify({ x: [1, 2] })]);
      self.on('jose', async () => {
        const secret = new TextEncoder().encode('a secret of thirty-two bytes long');
        const token = await new SignJWT({ who: 'me' }).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('1h').sign(secret);
        const { payload } = await jwtVerify(token, secret);
        const { privateKey, publicKey } = await generateKeyPair('ES256');
        const signed = await jwtVerify(await new SignJWT({ n: 1 }).setProtectedHeader({ alg: 'ES256' }).sign(privateKey), publicKey);
        const forged = await jwtVerify(token, new Uint8Array(32)).then(() => 'accepted', (e) => e.code);
        const sealed = await new CompactEncrypt(new TextEncoder().encode('sealed')).setProtectedHeader({ alg: 'A256KW', enc: 'A256GCM' }).encrypt(secret.subarray(0, 32));
        return [payload.who, signed.payload.n, forged, new TextDecoder().decode((await compactDecrypt(sealed, secret.subarray(0, 32))).plaintext)];
      });
      self.on('hono', async (path) => {
        const app = new Hono().get('/hello/:name', (c) => c.json({ hello: c.req.param('name') })).post('/sum', async (c) => c.text(String((await c.req.json()).reduce((a, b) => a + b))));
        const get = await app.request(path);
        const post = await app.request('/sum', { method: 'POST', body: '[1,2,3]' });
        return [get.status, await get.text(), await post.text()];
      });
    };`,
  'cjs.cjs': `
    const semver = require('semver');
    const _ = require('lodash');
    const Ajv = require('ajv');
    const { EventEmitter } = require('events');
    const util = require('node:util');
    const data = require('./data.json');
    const { twice } = require('./twice.mjs');
    class Counter extends EventEmitter { up() { this.emit('up', data.deep.answer); } }
    module.exports = (self) => {
      self.on('semver', () => [semver.satisfies('1.2.3', '^1.0.0'), semver.inc('1.2.3', 'minor'), semver.sort(['2.0.0', '1.10.0', '1.9.0'])]);
      self.on('ajv', (v) => { const ok = new Ajv().compile({ type: 'object', properties: { n: { type: 'integer', minimum: 1 } }, required: ['n'], additionalProperties: false }); return [ok(v), (ok.errors ?? []).map((e) => e.keyword)]; });
      self.on('events', () => new Promise((done) => { const c = new Counter(); c.once('up', done); c.up(); }));
      self.on('util', () => util.inspect({ a: [1, new Map([[1, 2]])] }));
      self.on('mixed', () => twice(_.last(data.list)));
      self.on('guarded', () => { try { require('fs'); return 'there'; } catch (e) { return [e.code, typeof process.versions.node]; } });
    };`,
  'twice.mjs': 'export const twice = (n) => n * 2;',
  'typed.ts': `
    import { z } from 'zod';
    import groupBy from 'lodash/groupBy';
    import { nanoid } from 'nanoid';
    import data from './data.json' with { type: 'json' };
    import { Stack, Kind } from './stack';
    const Item = z.object({ name: z.string(), kind: z.enum(['a', 'b']) });
    type Item = z.infer<typeof Item>;
    export default class Store<T extends Item = Item> {
      declare state: { items: T[] };
      readonly #stack = new Stack<number>();
      constructor() { this.state.items ??= []; }
      add(item: unknown): number { return this.state.items.push(Item.parse(item) as T); }
      kinds(): Record<string, string[]> { return Object.fromEntries(Object.entries(groupBy(this.state.items, (i: Item) => i.kind)).map(([k, v]) => [k, (v as Item[]).map((i) => i.name)])); }
      id(): number { return nanoid(8).length; }
      stack(...n: number[]): [number, Kind] { for (const i of n) this.#stack.push(i); return [this.#stack.sum(data.list[0]!), Kind.Full]; }
    }`,
  'stack.ts': `
    export enum Kind { Empty, Full }
    abstract class Base<T> { constructor(protected readonly items: T[] = []) {} abstract sum(start: number): number }
    export class Stack<T extends number> extends Base<T> {
      push(item: T): void { this.items.push(item); }
      sum(start: number): number { return this.items.reduce<number>((a, b) => a + b, start); }
    }`,
};

before(async () => {
  node = await cluster.node('one');
  const dir = cluster.app('pkg', files);
  symlinkSync(resolve(import.meta.dirname, '../../node_modules'), join(dir, 'node_modules'));
  const r = await ctl(node, 'deploy', dir);
  assert.equal(r.status, 0, r.err);
});
after(() => cluster.end());

const ask = (type, event, ...args) => node.client.actor(`pkg/${type}`, 'k').ask(event, ...args);

describe('packages imported by an ES module', () => {
  test('lodash', async () => {
    assert.deepEqual(await ask('Esm', 'lodash'), [[1, 2, 3], [[1, 2], [3]], 42, 'aTest', 'hi you']);
    assert.equal(await ask('Esm', 'debounce'), 1);
  });
  test('uuid', async () => assert.deepEqual(await ask('Esm', 'uuid'), [true, true, v5('isola', v5.URL), true]));
  test('zod', async () => {
    assert.deepEqual(await ask('Esm', 'zod', { id: 1, mail: 'a@b.org', more: 1 }), { id: 1, mail: 'a@b.org' });
    assert.deepEqual(await ask('Esm', 'zod', { id: 1.5, mail: 'a' }), ['id', 'mail']);
  });
  test('dayjs', async () => assert.deepEqual(await ask('Esm', 'dayjs'), ['2024-03-01', '1970-01-01T00:00:00.000Z']));
  test('immutable', async () => assert.deepEqual(await ask('Esm', 'immutable'), [{ a: 1, b: 2 }, 3, 42]));
  test('eventemitter3', async () => assert.deepEqual(await ask('Esm', 'eventemitter3'), [1]));
  test('nanoid', async () => assert.deepEqual(await ask('Esm', 'nanoid'), [21, true]));
  test('decimal.js', async () => assert.equal(await ask('Esm', 'decimal'), '0.3'));
  test('yaml', async () => assert.deepEqual(await ask('Esm', 'yaml', 'a: [1, two]\nb: &x {c: 1}\nd: *x'), [{ a: [1, 'two'], b: { c: 1 }, d: { c: 1 } }, 'a:\n  - 1\n  - b: null\n']));
  test('qs', async () => assert.deepEqual(await ask('Esm', 'qs'), [{ a: { b: '1', c: ['2'] } }, 'x%5B0%5D=1&x%5B1%5D=2']));
  test('jose', async () => assert.deepEqual(await ask('Esm', 'jose'), ['me', 1, 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED', 'sealed']));
  test('hono', async () => assert.deepEqual(await ask('Esm', 'hono', '/hello/ada'), [200, '{"hello":"ada"}', '6']));
});

describe('packages required by a CommonJS module', () => {
  test('semver', async () => assert.deepEqual(await ask('Cjs', 'semver'), [true, '1.3.0', ['1.9.0', '1.10.0', '2.0.0']]));
  test('ajv', async () => {
    assert.deepEqual(await ask('Cjs', 'ajv', { n: 1 }), [true, []]);
    assert.deepEqual(await ask('Cjs', 'ajv', { n: 0 }), [false, ['minimum']]);
  });
  test("Node.js' own modules", async () => {
    assert.equal(await ask('Cjs', 'events'), 42);
    assert.equal(await ask('Cjs', 'util'), '{ a: [ 1, Map(1) { 1 => 2 } ] }');
    assert.deepEqual(await ask('Cjs', 'guarded'), ['MODULE_NOT_FOUND', 'string']);
  });
  test('an ES module and JSON', async () => assert.equal(await ask('Cjs', 'mixed'), 4));
});

for (const type of ['Typed', 'Shared']) {
  test(`TypeScript with packages, generics, enums and JSON (${type})`, async () => {
    assert.equal(await ask(type, 'add', { name: 'x', kind: 'a' }), 1);
    assert.equal(await ask(type, 'add', { name: 'y', kind: 'b' }), 2);
    await assert.rejects(ask(type, 'add', { name: 5 }), { name: /ZodError|Error/ });
    assert.deepEqual(await ask(type, 'kinds'), { a: ['x'], b: ['y'] });
    assert.equal(await ask(type, 'id'), 8);
    assert.deepEqual(await ask(type, 'stack', 4, 5), [12, 1]);
  });
}

test('of packages with several builds the one for browsers is taken, and decorators are there', async () => {
  const dir = cluster.app('builds', {
    'isola.json': { name: 'builds', actors: { A: { module: './a.ts' } } },
    'package.json': { name: 'builds' },
    'a.ts': `import inner from 'inner'; import main from 'main'; import field from 'field';
      const doubled = (method: (n: number) => number, _: ClassMethodDecoratorContext) => function (this: unknown, n: number) { return 2 * method.call(this, n); };
      export default class A { @doubled add(n: number) { return n + 1; } which() { return [inner, main, field, process.env.NODE_ENV]; } }`,
    'node_modules/inner/package.json': { name: 'inner', exports: { node: './node.js', browser: './browser.js', default: './node.js' } },
    'node_modules/main/package.json': { name: 'main', main: './node.js', browser: './browser.js' },
    'node_modules/field/package.json': { name: 'field', main: './index.js', browser: { './node.js': './browser.js' } },
    'node_modules/field/index.js': "module.exports = require('./node.js');",
    ...Object.fromEntries(['inner', 'main', 'field'].flatMap((name) => [[`node_modules/${name}/node.js`, "module.exports = require('node:http') && 'node';"], [`node_modules/${name}/browser.js`, `module.exports = '${name}';`]])),
  });
  const r = await ctl(node, 'deploy', dir);
  assert.equal(r.status, 0, r.err);
  const a = node.client.actor('builds/A', 'k');
  assert.deepEqual([await a.ask('add', 4), await a.ask('which')], [10, ['inner', 'main', 'field', 'production']]);
});

test('a module of Node.js that isolates have not is named, with its place', async () => {
  for (const [name, text, says] of [
    ['import', 'import { readFileSync } from "node:fs";\nexport default (self) => readFileSync(self.key);\n', /use\/a\.js:1:30: isolates do not have Node\.js' module "fs"; what needs it belongs in a Node.js program, which reaches actors by the package "isola"/],
    ['require', 'const net = require("net");\nmodule.exports = (self) => net;\n', /isolates do not have Node\.js' module "net"; [^]*use\/a\.js:1:13/],
    ['http', 'import http from "http";\nexport default (self) => http;\n', /use\/a\.js:1:18: isolates do not have Node\.js' module "http"; fetch makes requests; what needs it/],
  ]) {
    const r = await ctl(node, 'deploy', cluster.app('use', { 'isola.json': { name: 'use', actors: { A: { module: './a.js' } } }, 'a.js': text }));
    assert.equal(r.status, 1, name);
    assert.match(r.err, says, name);
  }
});
