// SPDX-License-Identifier: Apache-2.0
//
// What users get wrong, against real agents: the exit status, the whole line they read, and that nothing has changed. An
// app with a live actor is there all the time; after each mistake its release, its actors and their turns are as they were.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';

import { Cluster, PROGRAM, actors, bin, ctl, nodes, until } from './cluster.mjs';

let cluster, east;

before(async () => {
  cluster = new Cluster();
  chmodSync(cluster.dir, 0o755); // the test of a read-only directory comes here as another user
  east = await cluster.node('east');
  await cluster.deploy(east, 'shop', shop());
  assert.equal(await ask('shop/Counter/user-42', 'add', '5'), 5);
});
after(() => cluster?.end());

const good = "export default (self) => { self.state.n ??= 0; self.on('add', (by) => (self.state.n += by)); self.on('get', () => self.state.n); };";
const manifest = { name: 'shop', actors: { Counter: { module: './counter.js', hibernateAfter: 'never' } } };
const shop = (files = {}) => ({ 'isola.json': manifest, 'counter.js': good, ...files });

async function ask(...args) {
  const { status, out, err } = await ctl(east, '--json', 'ask', ...args);
  assert.equal(status, 0, out + err);
  return JSON.parse(out);
}

/** All that a mistake must leave alone: releases, which is current, who lives and what they have handled, the state. */
async function world(agent = east) {
  const db = new DatabaseSync(join(cluster.dir, agent.name, 'catalog.db'), { readOnly: true });
  const catalog = ['release', 'current'].map((table) => db.prepare(`SELECT * FROM ${table} ORDER BY 1`).all());
  db.close();
  const live = (await actors(agent)).map(({ address, node, turns, state, release }) => ({ address, node, turns, state, release }));
  const [{ name, pid, host_pid, state }] = await nodes(agent);
  return { catalog, live, node: { name, pid, host_pid, state } };
}

/** Every file below `dir` with its mode and content. */
function files(dir) {
  return readdirSync(dir, { recursive: true }).sort().map((name) => {
    const path = join(dir, name), st = statSync(path);
    return [relative(dir, path), st.mode, st.isFile() ? readFileSync(path, 'latin1') : ''];
  });
}

/** The same mistake twice, with and without --json: one document, one paragraph; and the world as before. */
async function mistake(args, { status, code, says }) {
  const then = await world();
  const plain = await ctl(east, ...args);
  assert.deepEqual([plain.status, plain.out], [status, ''], plain.err);
  assert.equal(plain.err, `ctl: ${says}\n`);
  const json = await ctl(east, '--json', ...args);
  assert.deepEqual([json.status, json.err], [status, '']);
  const { error } = JSON.parse(json.out);
  assert.equal(error.code, code);
  assert.deepEqual(await world(), then);
}

describe('a module', () => {
  for (const [what, text, says] of [
    ['does not parse', 'export default (self) => {\n  let 2x;\n};\n',
      'cannot bundle counter.js:2:8: Syntax error "x"\n      2 │   let 2x;\n        ╵        ^'],
    ['exports nothing', 'const x = 1;\n',
      'EMODULE: actor type Counter (counter.js): TypeError: the module must export a function or a class as its default (or as "Counter"); it exports neither'],
    ['exports an object', 'export default { add() {} };\n',
      'EMODULE: actor type Counter (counter.js): TypeError: the module must export a function or a class as its default (or as "Counter"); its default export is an object'],
    ['throws what is no error', "throw 'no database';\n", 'EMODULE: actor type Counter (counter.js): threw no database'],
  ]) {
    test(what, () => mistake(['deploy', cluster.app('shop', shop({ 'counter.js': text }))], { status: 1, code: 'EMODULE', says }));
  }
  test('throws at load', async () => {
    const dir = cluster.app('shop', shop({ 'counter.js': "throw new Error('no database');\n" }));
    const then = await world();
    const { status, out, err } = await ctl(east, 'deploy', dir);
    assert.deepEqual([status, out], [1, '']);
    assert.match(err, /^ctl: EMODULE: actor type Counter \(counter\.js\): Error: no database\n {6}at shop\/counter\.js:1:7\n {2}> {5}1 │ throw new Error\('no database'\);\n {10}│ {7}\^\n$/);
    assert.deepEqual(await world(), then);
  });
});

describe('a manifest', () => {
  const outside = 'leads out of the app\'s directory';
  for (const [what, text, says] of [
    ['with an unknown key', '{ "name": "shop", "actors": { "Counter": { "module": "./counter.js", "heep": "64MB" } } }',
      'isola.json:1:70: actors.Counter.heep: unknown key, not one of "module", "isolation", "reentrant", "kind", "hibernateAfter", "restart", "strategy", "heap", "external", "cpu", "mailbox", "mailboxBytes", "message", "output", "asks", "timers", "subscriptions", "logRate", "sqlBytes"; did you mean "heap"?'],
    ['with a value of a wrong type', '{ "name": "shop", "actors": { "Counter": { "module": 5 } } }',
      'isola.json:1:54: actors.Counter.module: must be the path of a file such as "./counter.js", not 5'],
    ['with a path outside the app', '{ "name": "shop", "actors": { "Counter": { "module": "../counter.js" } } }',
      `isola.json:1:54: actors.Counter.module: "../counter.js" ${outside}`],
    ['with an absolute path', '{ "name": "shop", "actors": { "Counter": { "module": "/etc/passwd" } } }',
      'isola.json:1:54: actors.Counter.module: must be a path relative to the app\'s directory, such as "./counter.js", not "/etc/passwd"'],
    ['that is no JSON', '{ "name": "shop", actors: {} }', 'isola.json:1:24: not JSON: string or \'}\' expected near \'actors\''],
  ]) {
    test(what, () => mistake(['deploy', cluster.app('shop', shop({ 'isola.json': text }))], { status: 1, code: 'EMANIFEST', says }));
  }
});

describe('a message', () => {
  for (const command of ['ask', 'on']) {
    test(`${command}: an address that names no app`, async () => {
      const then = await world();
      const { status, out, err } = await ctl(east, command, 'shpo/Counter/user-42', 'add');
      assert.deepEqual([status, out], [1, '']);
      assert.equal(err.split('\n').at(-2), 'ctl: ENOACTOR: there is no app "shpo"; did you mean "shop"?');
      assert.deepEqual(await world(), then);
    });
  }
  test('an address that names no type', () =>
    mistake(['ask', 'shop/Countre/user-42', 'add'], { status: 1, code: 'ENOACTOR', says: 'ENOACTOR: app "shop" has no actor type "Countre"; did you mean "Counter"?' }));
  test('names that are near nothing', async () => {
    await mistake(['ask', 'bakery/Counter/user-42', 'add'], { status: 1, code: 'ENOACTOR', says: 'ENOACTOR: there is no app "bakery": deploy it first' });
    await mistake(['ask', 'shop/Invoice/user-42', 'add'], { status: 1, code: 'ENOACTOR', says: 'ENOACTOR: app "shop" has no actor type "Invoice"' });
  });
  test('an app of a command', async () => {
    for (const command of ['releases', 'rollback', 'diff'])
      await mistake([command, 'shopp'], { status: 1, code: 'ENOENT', says: 'ENOENT: no app "shopp" is deployed; did you mean "shop"?' });
    for (const command of ['ps', 'logs', 'timers', 'dead-letters'])
      await mistake([command, 'shopp'], { status: 1, code: 'ENOACTOR', says: 'ENOACTOR: there is no app "shopp"; did you mean "shop"?' });
    await mistake(['stop', 'shop/Conter/user-42'], { status: 1, code: 'ENOACTOR', says: 'ENOACTOR: app "shop" has no actor type "Conter"; did you mean "Counter"?' });
  });
  test('a node', async () => {
    for (const args of [['links', 'esat'], ['store', 'esat'], ['logs', '--from', 'esat']])
      await mistake(args, { status: 1, code: 'ENOENT', says: 'ENOENT: no node named esat is known to node east; did you mean "east"?' });
    await mistake(['links', 'north-pole'], { status: 1, code: 'ENOENT', says: 'ENOENT: no node named north-pole is known to node east' });
  });
  test('an event without a handler', async () => {
    await cluster.deploy(east, 'kinds', { 'isola.json': { name: 'kinds', actors: { F: { module: './f.js' }, C: { module: './c.js' } }, permissions: { apps: ['*'] } },
      'f.js': "import { actor } from 'isola'; export default (self) => { self.on('add', () => 1).on('getTotal', () => 2); self.on('to', (address) => actor(address).ask('x').catch((e) => e.message)); };",
      'c.js': 'export default class { checkOut() {} _private() {} onActivate() {} }' });
    const says = async (type, event) => (await ctl(east, 'ask', `kinds/${type}/a`, event)).err;
    assert.equal(await says('F', 'ad'), 'ctl: ENOACTOR: kinds/F has no handler for "ad"; did you mean "add"?\n');
    assert.equal(await says('F', 'gettotals'), 'ctl: ENOACTOR: kinds/F has no handler for "gettotals"; did you mean "getTotal"?\n');
    assert.equal(await says('C', 'checkout'), 'ctl: ENOACTOR: kinds/C has no handler for "checkout"; did you mean "checkOut"?\n');
    for (const far of ['total', 'x', 'private', '_privat', 'onActivat', 'add'.repeat(30), 'toString', '__proto__'])
      assert.equal(await says('C', far), `ctl: ENOACTOR: kinds/C has no handler for "${far}"\n`);
    await ctl(east, 'emit', 'kinds/F/a', 'adt');
    await until('the log has it', async () => (await ctl(east, 'logs', 'kinds/F/a')).out.includes('no handler for "adt": the message was dropped; did you mean "add"?'));
    // a script is not told what other apps there are
    assert.equal(await ask('kinds/F/a', 'to', '"shpo/Counter/a"'), 'there is no app "shpo": deploy it first');
  });
  test('what is no address', () =>
    mistake(['ask', 'shop/Counter', 'add'], { status: 2, code: 'EUSAGE', says: '"shop/Counter" is not an address: it has the form app/Type/key' }));
  test('arguments that are not JSON', async () => {
    for (const command of ['ask', 'emit'])
      await mistake([command, 'shop/Counter/user-42', 'add', 'five'],
        { status: 2, code: 'EUSAGE', says: `argument 1 is not JSON: five (for a string write '"five"')` });
  });
  test('JSON that cannot be sent', () =>
    mistake(['ask', 'shop/Counter/user-42', 'add', '{"$base64":"?"}'],
      { status: 2, code: 'EUSAGE', says: 'argument 1 cannot be sent: "$base64" needs a base64 string' }));
  test('a value that cannot be sent, from a program: it does not leave', async () => {
    const then = await world();
    const ref = east.client.actor('shop/Counter', 'user-42');
    await assert.rejects(ref.ask('add', { items: [0, { onClick() {} }] }), { code: 'ECLONE', message: 'args[0].items[1].onClick: a function cannot be sent' });
    assert.throws(() => ref.emit('add', Symbol('s')), { code: 'ECLONE', message: 'args[0]: a symbol cannot be sent' });
    assert.deepEqual(await world(), then);
    assert.equal(await ask('shop/Counter/user-42', 'get'), 5);
  });
});

/** A node-agent that must not come up: { status, out, err }. */
function refused(args, { program = join(bin, 'node-agent'), uid } = {}) {
  return new Promise((done) => {
    execFile(program, args, { uid, timeout: PROGRAM, killSignal: 'SIGKILL' }, (error, out, err) => {
      done({ status: error === null ? 0 : error.code, out, err });
    });
  });
}

const meshOf = async (agent) => (await nodes(agent)).find((n) => n.name === agent.name).url;

describe('an agent', () => {
  for (const [what, args, says] of [
    ['whose data directory is taken', () => ['--data', join(cluster.dir, 'east')],
      () => `the data directory ${join(cluster.dir, 'east')} is in use by another agent (pid ${east.pid}): stop it, or use another directory`],
    ['whose socket is taken', (data) => ['--data', data, '--socket', east.socket],
      () => `${east.socket} is in use by another process; stop that one or choose another path`],
    ['whose port is taken', async (data) => ['--data', data, '--join', await cluster.token(east), '--listen', await meshOf(east)],
      async () => `${await meshOf(east)} is in use by another process; stop that one or choose another port`],
    ['whose name is taken', async (data) => ['--data', data, '--name', 'east', '--join', await cluster.token(east)],
      async () => `cannot join the cluster of this token at ${await meshOf(east)}: a node named east is in this cluster already; choose another with --name, or, if that one is gone for good, \`ctl remove east\` first`],
  ]) {
    test(what, async () => {
      const given = await args(join(cluster.dir, what));
      const then = await world();
      const r = await refused(['--name', 'west', ...given]);
      assert.equal(r.status, 1);
      assert.equal(r.out, '');
      assert.equal(r.err.replace(/^\d.* info .*\n/gm, ''), `node-agent: ${await says()}\n`);
      assert.deepEqual(await world(), then); // through the socket that was in question
    });
  }
  test('whose data directory is read-only', async () => {
    const data = join(cluster.dir, 'readonly');
    const program = join(cluster.dir, 'node-agent'); // the build may lie where another user cannot come
    copyFileSync(join(bin, 'node-agent'), program);
    mkdirSync(data);
    chmodSync(data, 0o555);
    const uid = process.getuid() === 0 ? 65534 : undefined; // nothing is read-only to root
    const r = await refused(['--name', 'west', '--data', data], { program, uid });
    assert.deepEqual(r, { status: 1, out: '', err: `node-agent: cannot write to the data directory ${data}: Permission denied; choose another data directory\n` });
    assert.deepEqual(readdirSync(data), []);
  });
  test('whose data directory others may write to', async () => {
    const data = join(cluster.dir, 'open');
    mkdirSync(data);
    chmodSync(data, 0o777);
    const r = await refused(['--name', 'west', '--data', data]);
    assert.deepEqual(r, { status: 1, out: '', err: `node-agent: others may write to the data directory ${data} (mode 777), where keys and state are: if you trust what is in it, \`chmod go-w ${data}\`, else choose another data directory\n` });
    assert.deepEqual(readdirSync(data), []);
  });
  for (const file of ['state.db', 'catalog.db']) {
    test(`whose ${file} is of a newer schema`, async () => {
      const data = join(cluster.dir, `newer-${file}`);
      mkdirSync(data, { mode: 0o700 });
      const db = new DatabaseSync(join(data, file));
      db.exec('CREATE TABLE what_is_to_come (x); PRAGMA user_version = 99');
      db.close();
      writeFileSync(join(data, 'lock'), ''); // the one file that every start opens
      const content = files(data).filter(([name]) => name === file);
      const { err, ...r } = await refused(['--name', 'west', '--data', data]);
      const known = /this one knows (\d+)/.exec(err)?.[1];
      assert.deepEqual({ ...r, err }, { status: 1, out: '', err: `node-agent: ${join(data, file)} was written by a newer version of Isola (schema 99, this one knows ${known}): start that version, or use another data directory\n` });
      assert.deepEqual(files(data).filter(([name]) => name !== 'lock'), content);
    });
  }
});
