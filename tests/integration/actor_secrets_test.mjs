// SPDX-License-Identifier: Apache-2.0
//
// Secrets that actors are given (docs/actors.md, *Secrets*): what the manifest names is a variable of process.env, and nowhere else.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Cluster, ctl, ctlOk, killHost, until, whole } from './cluster.mjs';

const cluster = new Cluster();
const FIRST = 'sk_first_value_0815', SECOND = 'sk_second_value_4711', THIRD = 'sk_third_value_1234';
let east, west;
before(async () => { east = await cluster.node('east'); });
after(() => cluster.end());

// Late looks at it when it is asked, early while its module loads, seen from all sides; a shared one lives in an isolate with others.
const LATE = `export default (self) => {
  self.state.n ??= 0;
  self.on('key', () => { self.state.n++; return [process.env.KEY, self.state.n]; });
  self.on('names', () => Object.keys(process.env).sort());
  self.on('all', () => ({ ...process.env }));
  self.on('change', (to) => { process.env.KEY = to; return process.env.KEY; });
};`;
const EARLY = `const key = process.env.KEY; if (key === undefined) throw new Error('no key'); export default (self) => { self.on('key', () => key); };`;
const files = (permissions = { secrets: ['KEY'] }) => ({
  'isola.json': { name: 'shop', actors: { Late: { module: './late.js' }, Early: { module: './early.js' }, Shared: { module: './late.js', isolation: 'shared' } }, permissions },
  'late.js': LATE, 'early.js': EARLY,
});
const deploy = (agent, permissions) => ctl(agent, '--json', 'deploy', cluster.app('shop', files(permissions)));
const ask = async (agent, address, event, ...args) => JSON.parse(await ctlOk(agent, 'ask', address, event, ...args.map((a) => JSON.stringify(a))));
const set = async (agent, value, name = 'KEY') => JSON.parse(await ctlOk(agent, '--json', 'secret', 'set', 'shop', name, value));
/** Everything in the files of a node. */
const onDisk = (agent) => Buffer.concat(readdirSync(join(cluster.dir, agent.name), { recursive: true }).map((f) => join(cluster.dir, agent.name, f))
  .filter((f) => statSync(f, { throwIfNoEntry: false })?.isFile()).map((f) => readFileSync(f))).toString('latin1');
const start = async (address) => (await whole(east, 'ps', { app: 'shop' })).actors.find((a) => a.address === address);

test('what the manifest may name', async () => {
  for (const [permissions, said] of [
    [{ secrets: 'KEY' }, /permissions\.secrets: must be an array of names such as \["DATABASE_URL"\]/],
    [{ secrets: ['KEY', 'KEY'] }, /permissions\.secrets: names "KEY" twice/],
    [{ secrets: ['a-b'] }, /names "a-b", which is not the name of a variable/],
    [{ secrets: ['TZ'], env: ['LANG', 'TZ'] }, /names "TZ", which "env" names too: leave it out there, or here/],
  ]) {
    const { status, out } = await deploy(east, permissions);
    assert.equal(status, 1);
    assert.match(JSON.parse(out).error.message, said);
  }
});

test('a deploy that needs one which is not set says what to do', async () => {
  const { status, out } = await deploy(east);
  assert.equal(status, 1);
  assert.deepEqual(JSON.parse(out).error.code, 'EINVAL');
  assert.equal(JSON.parse(out).error.message, 'shop needs a secret that is not set: KEY (of permissions); `ctl secret set shop KEY` sets it');
});

test('one that is set is in process.env of the actors', async () => {
  await set(east, FIRST);
  await set(east, 'x', 'OTHER');
  const { status, out, err } = await deploy(east);
  assert.equal(status, 0, out + err);
  for (const type of ['Late', 'Shared']) {
    assert.deepEqual(await ask(east, `shop/${type}/1`, 'names'), ['KEY']);
    assert.deepEqual(await ask(east, `shop/${type}/1`, 'key'), [FIRST, 1]);
    assert.deepEqual(await ask(east, `shop/${type}/1`, 'all'), { KEY: FIRST });
    assert.equal(await ask(east, `shop/${type}/1`, 'change', 'mine'), 'mine');
  }
  assert.deepEqual(await ask(east, 'shop/Late/2', 'change', 'mine'), 'mine'); // not looked at before
  assert.equal(await ask(east, 'shop/Early/1', 'key'), FIRST);
  assert.deepEqual((JSON.parse(await ctlOk(east, '--json', 'secret', 'list', 'shop'))).secrets.map((s) => [s.name, s.used]), [['KEY', ['Late', 'Early', 'Shared']], ['OTHER', []]]);
});

test('a module that does not look at it while it loads has its snapshot, and the value is in none', async () => {
  let n = 10;
  await until('Late begins from a snapshot', async () => {
    await ask(east, `shop/Late/${++n}`, 'names');
    return (await start(`shop/Late/${n}`)).start === 'snapshot';
  });
  assert.deepEqual(await ask(east, `shop/Late/${n}`, 'key'), [FIRST, 1]);
  await until('Early says why it has none', async () => {
    await ask(east, `shop/Early/${++n}`, 'key');
    return (await start(`shop/Early/${n}`)).start_reason === 'it looks at the secret KEY while it loads';
  });
  const seen = (await Promise.all([['ps', 'shop'], ['logs', 'shop'], ['releases', 'shop'], ['diff', 'shop'], ['secret', 'list', 'shop']].map((args) => ctl(east, '--json', ...args)))).map((r) => r.out + r.err).join('');
  assert.equal(seen.includes(FIRST), false);
  assert.equal(onDisk(east).includes(FIRST), false);
});

test('another value reaches actors at the end of their turn; they keep their state', async () => {
  const { used, changed } = await set(east, SECOND);
  assert.deepEqual([changed, used], [['KEY'], ['Late', 'Early', 'Shared']]);
  for (const type of ['Late', 'Shared']) assert.deepEqual(await ask(east, `shop/${type}/1`, 'key'), [SECOND, 2]);
  assert.equal(await ask(east, 'shop/Early/1', 'key'), SECOND);
  await killHost(east);
  assert.deepEqual(await ask(east, 'shop/Late/1', 'key'), [SECOND, 3]);
  const { status, out } = await ctl(east, '--json', 'secret', 'rm', 'shop', 'KEY');
  assert.deepEqual([status, JSON.parse(out).error.code], [1, 'EBUSY']);
  const text = await ctlOk(east, 'secret', 'set', 'shop', 'KEY', FIRST);
  assert.match(text, /^set KEY of shop\n {2}nodes {2}east\nwhat uses it begins anew with it, .*: Late, Early, Shared; 'ctl ps' shows it\n$/);
});

test('on every node, also those that join and those that were away', async () => {
  west = await cluster.node('west', east);
  await set(west, THIRD);
  const of = async (agent, value, key) => assert.deepEqual((await ask(agent, `shop/Late/${key}`, 'key'))[0], value);
  for (let i = 0; i < 8; i++) await of(i % 2 ? east : west, THIRD, `k${i}`);
  const nodes = new Set((await whole(east, 'ps', { app: 'shop' })).actors.map((a) => a.node));
  assert.deepEqual([...nodes].sort(), ['east', 'west']);
  await west.stop();
  cluster.agents.splice(cluster.agents.indexOf(west), 1);
  await set(east, FIRST);
  west = await cluster.node('west', east);
  await until('west has it', async () => (await Promise.all(Array.from({ length: 8 }, (_, i) => ask(west, `shop/Late/n${i}`, 'key')))).every(([value]) => value === FIRST));
  for (const agent of [east, west]) for (const value of [FIRST, SECOND, THIRD]) assert.equal(onDisk(agent).includes(value), false);
});

test('an app that names none has none; a roll-back has them again', async () => {
  const { status, out } = await deploy(east, { env: ['PATH'] });
  assert.equal(status, 1); // Early throws without
  assert.match(JSON.parse(out).error.message, /no key/);
  await cluster.deploy(east, 'shop', { ...files({}), 'early.js': 'export default (self) => {};' });
  assert.deepEqual(await ask(east, 'shop/Late/1', 'names'), []);
  await ctlOk(east, 'rollback', 'shop');
  assert.equal((await ask(east, 'shop/Late/1', 'key'))[0], FIRST);
});
