// SPDX-License-Identifier: Apache-2.0
//
// ctl from outside: each command with good and bad arguments, against an agent that answers as it is told, hangs up, says
// nothing or talks rubbish. cli_deploy_test.mjs has `deploy`.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { ACK, ASK, EMIT, EVENT, Ext, FAIL, REPLY, STOP, SUB, encode, envelope, failure, fakeAgent, frame } from './fake_agent.mjs';
import { CTL, ctl, scratch, startCtl, until } from './ctl.mjs';

const run = promisify(execFile);

async function withAgent(t, methods) {
  const agent = await fakeAgent(`${scratch(t)}/agent.sock`, methods);
  t.after(() => agent.close());
  return agent;
}
/** What an agent says that has no services. */
const service = () => ({ instances: [], unreachable: [] });

const concurrency = 4;

test('help and version', { concurrency }, async (t) => {
  await t.test('--help lists the commands', async () => {
    const { status, stdout, stderr } = await ctl(['--help']);
    assert.equal(status, 0);
    assert.equal(stderr, '');
    for (const name of ['deploy', 'ask', 'emit', 'on', 'ps', 'nodes', 'logs', 'stop'])
      assert.match(stdout, new RegExp(`^  ${name} `, 'm'));
    for (const args of [['help'], ['help', 'help'], ['help', '--help']]) assert.deepEqual(await ctl(args), { status, stdout, stderr });
  });
  await t.test('help of a command has examples', async () => {
    for (const args of [['help', 'ask'], ['ask', '--help'], ['--help', 'ask'], ['ask', 'a', '-h']]) {
      const { status, stdout } = await ctl(args);
      assert.equal(status, 0);
      assert.match(stdout, /^Usage: ctl ask ADDRESS EVENT \[JSON…\]/);
      assert.match(stdout, /Examples:\n {2}ctl ask /);
    }
  });
  await t.test('one document with --json', async () => {
    assert.deepEqual(JSON.parse((await ctl(['--json', '--version'])).stdout), { version: '0.1.0' });
    assert.match(JSON.parse((await ctl(['help', 'ps', '--json'])).stdout).help, /^Usage: ctl ps/);
    assert.equal((await ctl(['--version'])).stdout, 'ctl 0.1.0\n');
  });
});

test('wrong usage: status 2, one line, nothing sent', { concurrency }, async (t) => {
  const agent = await withAgent(t, {});
  const cases = [
    [['delpoy', 'x'], "ctl: unknown command 'delpoy'; did you mean 'deploy'?"],
    [['ps', '--jsno'], "ctl: unknown option '--jsno'; did you mean '--json'?"],
    [[], "ctl: no command; 'ctl --help' lists them"],
    [['ask', 'shop/Counter', 'x'], 'ctl: "shop/Counter" is not an address: it has the form app/Type/key'],
    [['inspect', 'shop/Api'], 'ctl: "shop/Api" names no instance: it has the form app/Type/N, as in shop/Api/0; \'ctl ps\' lists them'],
    [['ask', 'a/B/c\u0007', 'x'], /^ctl: .*app\/Type\/key/],
    [['emit', 'x'.repeat(600), 'x'], /^ctl: .*too long.*app\/Type\/key/],
    [['ask', 'a/B/c', 'x', '1', 'foo'], `ctl: argument 2 is not JSON: foo (for a string write '"foo"')`],
    [['ask', 'a/B/c', 'x', '{"a":}'], /^ctl: argument 1 is not JSON: \{"a":\} \(.*column \d+\)/],
    [['emit', 'a/B/c', 'x', 'ö'.repeat(100)], /^ctl: argument 1 is not JSON: ö{30}… /],
    [['ask', 'a/B/c', 'x', '{"$base64":"?"}'], /^ctl: argument 1 cannot be sent: "\$base64" needs/],
    [['ask', 'a/B/c', ''], /^ctl: the event is empty/],
    [['on', 'a/B/c', 'x', '--count', '0'], /^ctl: option '--count' needs a whole number from 1/],
    [['ps', 'no such'], /^ctl: 'no such' is not the name of an app/],
    [['logs', 'a/'], "ctl: 'a/' is no app, app/Type or app/Type/key (apps and types are made of letters, digits, - and _)"],
    [['ps', '--node', 'http://localhost'], /^ctl: --node http:\/\/localhost: this release reaches agents by unix sockets only/],
  ];
  for (const [args, line] of cases) {
    await t.test(args.join(' ').slice(0, 40) || '(nothing)', async () => {
      const env = { ISOLA_NODE: agent.path };
      const plain = await ctl(args, { env });
      assert.equal(plain.status, 2);
      assert.equal(plain.stdout, '');
      assert.equal(plain.stderr.split('\n').length, 2);
      if (typeof line === 'string') assert.equal(plain.stderr, `${line}\n`);
      else assert.match(plain.stderr, line);

      const json = await ctl(['--json', ...args], { env });
      assert.equal(json.status, 2);
      assert.equal(json.stderr, '');
      const { error } = JSON.parse(json.stdout);
      assert.equal(error.code, 'EUSAGE');
      assert.equal(`ctl: ${error.message}\n`, plain.stderr);
    });
  }
  assert.equal(agent.connections, 0);
});

test('ask', { concurrency }, async (t) => {
  await t.test('sends the arguments, prints the reply', async (t) => {
    const agent = await withAgent(t, { actor: () => ({ n: 5, list: [1, null] }) });
    const args = ['ask', 'a/B/c d', 'add', '-5', '0.5', '"x"', '{"k":[true]}', '{"$base64":"AQI="}', '--timeout', '4000'];
    const { status, stdout, stderr } = await ctl(args, { node: agent.path });
    assert.deepEqual([status, stderr], [0, '']);
    assert.equal(stdout, '{\n  "n": 5,\n  "list": [\n    1,\n    null\n  ]\n}\n');
    const [m] = agent.to('add');
    assert.equal(m.kind, ASK);
    assert.equal(m.dst, 'a/B/c d');
    assert.equal(m.timeout, 4000);
    assert.deepEqual(m.args, [-5, 0.5, 'x', { k: [true] }, Buffer.from([1, 2])]);
  });
  await t.test('one line with --json', async (t) => {
    const agent = await withAgent(t, { actor: () => ({ at: new Date(0), list: [] }) });
    const { stdout } = await ctl(['--json', 'ask', 'a/B/c', 'x'], { node: agent.path });
    assert.equal(stdout, '{"at":"1970-01-01T00:00:00.000Z","list":[]}\n');
  });
  await t.test('undefined is null', async (t) => {
    const agent = await withAgent(t, { actor: () => new Ext(1, []) });
    assert.equal((await ctl(['ask', 'a/B/c', 'x'], { node: agent.path })).stdout, 'null\n');
  });
  await t.test('a failure, with its stack', async (t) => {
    const stack = 'Error: it \u001b[2Jbroke\n    at add (counter.js:3:9)\n    at turn\n';
    const agent = await withAgent(t, { actor: () => failure('EFAILED', 'it \u001b[2Jbroke', stack) });
    const plain = await ctl(['ask', 'a/B/c', 'x'], { node: agent.path });
    assert.deepEqual([plain.status, plain.stdout], [1, '']);
    assert.equal(plain.stderr, 'ctl: EFAILED: it \ufffd[2Jbroke\n    at add (counter.js:3:9)\n    at turn\n  why: ctl logs a/B/c; if it stays so: ctl restart a/B/c\n');
    const json = await ctl(['--json', 'ask', 'a/B/c', 'x'], { node: agent.path });
    assert.deepEqual([json.status, json.stderr], [1, '']);
    assert.deepEqual(JSON.parse(json.stdout), { error: { code: 'EFAILED', message: 'it \u001b[2Jbroke', stack } });
  });
  await t.test('a failure with a code and name of its own', async (t) => {
    const error = failure('E_MINE', 'no');
    error.name = 'RangeError';
    const agent = await withAgent(t, { actor: () => error });
    assert.equal((await ctl(['ask', 'a/B/c', 'x'], { node: agent.path })).stderr, 'ctl: E_MINE: RangeError: no\n');
  });
  await t.test('what caused it', async (t) => {
    const error = failure('ESCRIPT', 'no order', 'Error: no order\n    at order (s/a.ts:1:2)');
    error.cause = failure('EDB', 'gone', 'Error: gone\n    at read (s/db.ts:3:4)');
    error.cause.name = 'RangeError';
    error.cause.cause = 'the \u001b[2Jdisk';
    const agent = await withAgent(t, { actor: () => error });
    assert.equal((await ctl(['ask', 'a/B/c', 'x'], { node: agent.path })).stderr,
      'ctl: ESCRIPT: no order\n    at order (s/a.ts:1:2)\n  caused by: EDB: RangeError: gone\n    at read (s/db.ts:3:4)\n  caused by: the \ufffd[2Jdisk\n');
    assert.deepEqual(JSON.parse((await ctl(['--json', 'ask', 'a/B/c', 'x'], { node: agent.path })).stdout).error.cause,
      { name: 'RangeError', code: 'EDB', message: 'gone', stack: 'Error: gone\n    at read (s/db.ts:3:4)', cause: { message: 'the \u001b[2Jdisk' } });
    error.cause = new Ext(12, Buffer.from('caf\u00e9', 'latin1')); // as long strings are sent
    assert.equal((await ctl(['ask', 'a/B/c', 'x'], { node: agent.path })).stderr, 'ctl: ESCRIPT: no order\n    at order (s/a.ts:1:2)\n  caused by: caf\u00e9\n');
    assert.deepEqual(JSON.parse((await ctl(['--json', 'ask', 'a/B/c', 'x'], { node: agent.path })).stdout).error.cause, { message: 'caf\u00e9' });
    error.cause = new Ext(9, Buffer.from([1])); // itself
    assert.match((await ctl(['ask', 'a/B/c', 'x'], { node: agent.path })).stderr, /^ctl: ESCRIPT: no order\n.*\n$/);
  });
  await t.test("frames of Isola's own are for --json", async (t) => {
    const message = 'cannot load\n    at load (isola:runtime:14:31)';
    const stack = 'Error: it broke\n    at codeError (isola:runtime:9:52)\n    at f (isola:shop/a.js:2:7)\n    at turn (isola:runtime:10:1)';
    const agent = await withAgent(t, { actor: () => failure('EMODULE', message, stack) });
    const args = ['ask', 'a/B/c', 'go'];
    assert.equal((await ctl(args, { node: agent.path })).stderr, 'ctl: EMODULE: cannot load\n    at f (isola:shop/a.js:2:7)\n');
    const { error } = JSON.parse((await ctl(['--json', ...args], { node: agent.path })).stdout);
    assert.deepEqual([error.message, error.stack], [message, stack]);
  });
  await t.test('a failure that is no Error', async (t) => {
    const agent = await withAgent(t, { actor: (m, peer) => void peer.send({ kind: 4, id: m.id, args: [7] }) });
    const { status, stdout } = await ctl(['--json', 'ask', 'a/B/c', 'x'], { node: agent.path });
    assert.equal(status, 1);
    assert.equal(JSON.parse(stdout).error.code, 'EPROTO');
  });
  await t.test('no answer', async (t) => {
    const agent = await withAgent(t, { actor: () => undefined });
    const { status, stderr } = await ctl(['ask', 'a/B/c', 'x', '--timeout', '20'], { node: agent.path });
    assert.equal(status, 1);
    assert.equal(stderr, 'ctl: a/B/c did not answer within 20 ms; wait longer with --timeout MS\n');
  });
  await t.test('a malformed value', async (t) => {
    const agent = await withAgent(t, { actor: () => new Ext(99, [1]) });
    const { status, stdout } = await ctl(['--json', 'ask', 'a/B/c', 'x'], { node: agent.path });
    assert.equal(status, 1);
    assert.equal(JSON.parse(stdout).error.code, 'EPROTO');
  });
  await t.test('answers to others are left alone', async (t) => {
    const agent = await withAgent(t, {
      actor: (m, peer) => {
        peer.send({ kind: 3, id: m.id + 1, args: ['not yours'] });
        peer.send({ kind: EVENT, id: m.id, args: ['an event'] });
        return 'yours';
      },
    });
    assert.equal((await ctl(['ask', 'a/B/c', 'x'], { node: agent.path })).stdout, '"yours"\n');
  });
});

test('an agent that is none', { concurrency: 8 }, async (t) => {
  const cases = {
    'hangs up at once': [(s) => s.destroy(), 'ECLOSED', /closed the connection before it answered/],
    'hangs up in a call': [(s) => s.once('data', () => s.destroy()), 'ECLOSED', /closed the connection/],
    'talks HTTP': [(s) => s.write('HTTP/1.1 400 Bad Request\r\n\r\n'), 'EPROTO', /does not speak Isola's protocol/],
    'sends a frame that is no envelope': [(s) => s.write(frame(Buffer.from('hello'))), 'EPROTO', /does not speak Isola's protocol/],
    'says goodbye at once': [(s) => s.write(frame(Buffer.alloc(0))), 'ECLOSED', /closed the connection/],
    'claims a frame of 2 GB': [(s) => s.write(Buffer.from([127, 255, 255, 255])), 'EPROTO', /2147483647 bytes/],
    'speaks another version': [(s) => s.write(envelope({ version: 9, kind: 3, id: 1 })), 'EPROTO', /version 9/],
    'does not know hello': [(s) => s.write(envelope({ kind: 4, id: 1, args: [failure('EINVAL', 'what?')] })), 'EPROTO', /no agent/],
    'is of another wire': [(s) => s.write(envelope({ kind: 3, id: 1, args: [{ wire: 4, wire_oldest: 3 }] })), 'EPROTO', /version 4 of the protocol, this ctl versions 1 to 2/],
    'says nothing': [() => {}, 'ETIMEDOUT', /has not answered for 5 s/],
  };
  const all = Object.entries(cases).map(([name, [connected, code, message]]) =>
    t.test(name, async (t) => {
      const agent = await withAgent(t, { connected });
      const { status, stdout, stderr } = await ctl(['--json', 'ps'], { node: agent.path });
      assert.deepEqual([status, stderr], [1, '']);
      const { error } = JSON.parse(stdout);
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      assert.ok(error.message.includes(agent.path), error.message);
    }),
  );
  await t.test('is not there', async (t) => {
    const dir = scratch(t);
    const hint = 'start one with `node-agent` or name another with --node';
    fs.writeFileSync(`${dir}/file`, '');
    for (const [path, why] of [[`${dir}/no.sock`, 'nothing listens there'], [`${dir}/file`, 'it is not a socket']]) {
      const { status, stdout, stderr } = await ctl(['nodes', '--node', path]);
      assert.deepEqual([status, stdout], [1, '']);
      assert.equal(stderr, `ctl: cannot reach an agent at ${path}: ${why}; ${hint}\n`);
    }
    const agent = await fakeAgent(`${dir}/left.sock`, {});
    fs.linkSync(`${dir}/left.sock`, `${dir}/stale.sock`); // a socket nobody listens on any more
    await agent.close();
    const { stdout } = await ctl(['--json', 'nodes', '--node', `unix:${dir}/stale.sock`]);
    assert.equal(JSON.parse(stdout).error.code, 'EUNREACHABLE');
    assert.match(JSON.parse(stdout).error.message, /nothing listens there/);
    const long = await ctl(['nodes', '--node', `/${'x'.repeat(300)}`]);
    assert.equal(long.status, 1);
    assert.equal(long.stderr.split('\n').length, 2);
  });
  await Promise.all(all);
});

test('emit and stop', { concurrency }, async (t) => {
  await t.test('emit is quiet, and ends when the agent has it', async (t) => {
    const agent = await withAgent(t, {});
    assert.deepEqual(await ctl(['emit', 'a/B/c', 'reset', '1'], { node: agent.path }), { status: 0, stdout: '', stderr: '' });
    const [m] = agent.to('reset');
    assert.deepEqual([m.kind, m.id, m.dst, m.args], [EMIT, 0, 'a/B/c', [1]]);
    assert.equal((await ctl(['emit', 'a/B/c', 'reset', '--json'], { node: agent.path })).stdout, '{"sent":true}\n');
  });
  await t.test('what the cluster has no app or type for: told, and nothing is sent', async (t) => {
    const none = failure('ENOACTOR', 'there is no app "a": deploy it first');
    const agent = await withAgent(t, { service, find: () => none, actor: () => false, ps: () => ({ actors: [], total: 0, unreachable: [] }) });
    for (const args of [['emit', 'a/B/c', 'reset'], ['stop', 'a/B/c'], ['ps', 'a']]) {
      const { status, stdout, stderr } = await ctl(args, { node: agent.path });
      assert.deepEqual([status, stdout, stderr], [1, '', 'ctl: ENOACTOR: there is no app "a": deploy it first\n'], args[0]);
      assert.equal(JSON.parse((await ctl(['--json', ...args], { node: agent.path })).stdout).error.code, 'ENOACTOR', args[0]);
    }
    assert.equal(agent.to('reset').length, 0);
    assert.deepEqual(agent.to('find').map((m) => m.args[0].of), ['a/B/c', 'a/B/c', 'a/B/c', 'a/B/c', 'a', 'a']);
    assert.equal((await ctl(['ps'], { node: agent.path })).status, 0);
  });
  await t.test('emit --durable is sent until it is acknowledged, or refused', async (t) => {
    let n = 0;
    const say = (m, peer, more) => void peer.send({ version: 2, seq: m.seq, src: m.dst, dst: m.src, ...more });
    const agent = await withAgent(t, {
      hello: () => ({ node: 'a', version: '0.1.0', wire: 2, wire_oldest: 1, pid: 1 }),
      actor: (m, peer) => {
        if (m.dst === 'a/B/silent' || (m.dst === 'a/B/late' && ++n < 3)) return undefined;
        if (m.dst !== 'a/B/bad') return say(m, peer, { kind: ACK });
        return say(m, peer, { kind: FAIL, flags: 1, args: [failure('EFAILED', 'it was given up')] });
      },
    });
    const emit = (to, ...more) => ctl(['emit', to, 'reset', '1', '--durable', ...more], { node: agent.path });
    assert.deepEqual(await emit('a/B/late'), { status: 0, stdout: '', stderr: '' });
    const all = agent.to('reset');
    assert.ok(all.length >= 3); // more when its acknowledgement was late to be seen
    for (const m of all) assert.deepEqual([m.version, m.kind, m.flags, m.id, m.seq, m.args], [2, EMIT, 1, 0, 1, [1]]);
    assert.match(all[0].src, /^~[\w-]{22}$/);
    assert.equal(new Set(all.map((m) => m.src)).size, 1);
    assert.equal((await emit('a/B/c', '--json')).stdout, '{"handled":true}\n');
    assert.notEqual(agent.to('reset').at(-1).src, all[0].src);
    const bad = await emit('a/B/bad');
    assert.equal(bad.status, 1);
    assert.match(bad.stderr, /^ctl: EFAILED: it was given up\n/);
    const { status, stderr } = await emit('a/B/silent', '--timeout', '300');
    assert.equal(status, 1);
    assert.match(stderr, /^ctl: (ETIMEDOUT: )?a\/B\/silent has not acknowledged it within 300 ms; it may still be handled/);
  });
  await t.test('emit --durable, to an agent of the release before', async (t) => {
    const agent = await withAgent(t, {});
    const { status, stderr } = await ctl(['emit', 'a/B/c', 'reset', '--durable'], { node: agent.path });
    assert.equal(status, 1);
    assert.match(stderr, /^ctl: .*release before this ctl: it knows no durable messages/);
    assert.equal(agent.to('reset').length, 0);
  });
  await t.test('emit to an agent that hangs up', async (t) => {
    const agent = await withAgent(t, { actor: (m, peer) => void peer.socket.destroy() });
    assert.equal((await ctl(['emit', 'a/B/c', 'reset'], { node: agent.path })).status, 1);
  });
  await t.test('stop', async (t) => {
    let was = true;
    const agent = await withAgent(t, { service, actor: () => was });
    assert.equal((await ctl(['stop', 'a/B/c'], { node: agent.path })).stdout, 'stopped a/B/c\n');
    assert.deepEqual([agent.to('')[0].kind, agent.to('')[0].dst], [STOP, 'a/B/c']);
    was = false;
    assert.equal((await ctl(['stop', 'a/B/c'], { node: agent.path })).stdout, 'a/B/c was not active\n');
    assert.equal((await ctl(['stop', 'a/B/c', '--json'], { node: agent.path })).stdout, '{"address":"a/B/c","stopped":false}\n');
  });
});

test('a failure says what to do next', { concurrency }, async (t) => {
  for (const [code, next] of [['EFAILED', 'why: ctl logs a/B/c; if it stays so: ctl restart a/B/c'], ['ETIMEDOUT', 'what it is at: ctl ps a; to wait longer: --timeout MS'],
    ['EOVERLOAD', 'how much waits for it: ctl ps a'], ['EUNREACHABLE', 'which nodes are up: ctl nodes; what has ended there: ctl logs']])
    await t.test(code, async (t) => {
      const agent = await withAgent(t, { actor: () => failure(code, 'no') });
      const run = { node: agent.path };
      assert.deepEqual((({ status, stderr }) => [status, stderr])(await ctl(['ask', 'a/B/c', 'add'], run)), [1, `ctl: ${code}: no\n  ${next}\n`]);
      assert.deepEqual(JSON.parse((await ctl(['--json', 'ask', 'a/B/c', 'add'], run)).stdout), { error: { code, message: 'no' } });
    });
  await t.test('and nothing where there is nothing to say', async (t) => {
    const agent = await withAgent(t, { actor: () => failure('ENOACTOR', 'no') });
    assert.equal((await ctl(['ask', 'a/B/c', 'add'], { node: agent.path })).stderr, 'ctl: ENOACTOR: no\n');
  });
});

test('on', { concurrency }, async (t) => {
  const events = {
    actor: (m, peer) => {
      assert.equal(m.kind, SUB);
      peer.send({ kind: EVENT, id: m.id + 7, src: m.dst, event: m.event, args: ['of another'] });
      for (let i = 0; i < 3; i++) peer.send({ kind: EVENT, id: m.id, src: m.dst, event: m.event, args: [i, { x: null }] });
    },
  };
  await t.test('prints one line each, up to --count', async (t) => {
    const agent = await withAgent(t, events);
    const { status, stdout, stderr } = await ctl(['on', 'a/B/c', 'changed', '--count', '2'], { node: agent.path });
    assert.deepEqual([status, stdout], [0, '[0,{"x":null}]\n[1,{"x":null}]\n']);
    assert.equal(stderr, 'ctl: listening for changed of a/B/c\n');
  });
  await t.test('and with --json', async (t) => {
    const agent = await withAgent(t, events);
    const { stdout } = await ctl(['--json', 'on', 'a/B/c', 'changed', '--count', '1'], { node: agent.path });
    assert.equal(stdout, '{"address":"a/B/c","event":"changed","args":[0,{"x":null}]}\n');
  });
  await t.test('does not say that it listens to what is not there', async (t) => {
    const agent = await withAgent(t, { ...events, find: () => failure('ENOACTOR', 'there is no app') });
    assert.deepEqual(await ctl(['on', 'a/B/c', 'changed'], { node: agent.path }), { status: 1, stdout: '', stderr: 'ctl: ENOACTOR: there is no app\n' });
    assert.deepEqual(agent.to('changed'), []);
  });
  await t.test('Ctrl-C ends it with 0', async (t) => {
    const agent = await withAgent(t, { actor: () => null });
    const run = startCtl(t, ['on', 'a/B/c', 'changed'], { node: agent.path });
    await until(run.child.stderr, /listening/);
    run.child.kill('SIGINT');
    assert.deepEqual([(await run.done).status, (await run.done).stdout], [0, '']);
  });
  await t.test('a reader that goes away ends it, too', async (t) => {
    const agent = await withAgent(t, {});
    const run = startCtl(t, ['on', 'a/B/c', 'changed'], { node: agent.path });
    await until(run.child.stderr, /listening/);
    run.child.stdout.destroy();
    assert.equal((await run.done).status, 0);
  });
  await t.test('a refusal', async (t) => {
    const agent = await withAgent(t, { actor: () => failure('ENOACTOR', 'no app a') });
    const { status, stderr } = await ctl(['on', 'a/B/c', 'changed'], { node: agent.path });
    assert.equal(status, 1);
    assert.match(stderr, /^ctl: ENOACTOR: no app a$/m);
  });
  await t.test('an agent that goes away', async (t) => {
    const agent = await withAgent(t, {});
    const run = startCtl(t, ['--json', 'on', 'a/B/c', 'changed'], { node: agent.path });
    await until(run.child.stderr, /listening/);
    await agent.close();
    const { status, stdout } = await run.done;
    assert.equal(status, 1);
    assert.deepEqual(JSON.parse(stdout).error, { code: 'ECLOSED', message: `the agent at ${agent.path} closed the connection` });
    agent.close = async () => {};
  });
});

const actors = [
  { address: 'shop/Counter/a', isolation: 'isolate', node: 'east', thread: 0, state: 'idle', mailbox: 0, turns: 12, heap: 1572864, release: '0123456789abcdef' },
  { address: 'shop/Session/東京', isolation: 'shared', node: 'west', thread: 11, state: 'failed', mailbox: 10000, turns: 7, heap: 512, failure: 'could not start: Error: \u001b[2Jno\n    at x' },
  { address: 'odd/One/\u001b[2J', thread: 'x', mailbox: -1, heap: null },
];

test('timers', { concurrency }, async (t) => {
  const next = Date.UTC(2131, 0, 2, 3, 4, 5, 678);
  const schedules = [
    { node: 'east', more: false, timers: [{ address: 'shop/Cart/a', id: 'x', event: 'close', next: 1000 }, { address: 'shop/Cart/a', id: 'y\u001b[2J', event: 'poll', next: next + 1, every: 300_000 }] },
    { node: 'west', more: false, timers: [{ address: 'shop/Cart/b', id: 'z', event: 'report', next, cron: '0 9 * * 1-5', time_zone: 'Europe/Vienna' }] },
  ];
  await t.test('a table of those of all nodes, the next one first', async (t) => {
    const agent = await withAgent(t, { timers: () => ({ schedules, unreachable: ['north'] }) });
    const { status, stdout } = await ctl(['timers', 'shop', '--utc'], { node: agent.path });
    assert.equal(status, 0);
    const lines = stdout.split('\n').map((l) => l.split(/ {2,}/));
    for (const l of lines.slice(2, 4)) assert.match(l.splice(1, 1)[0], /^\d+ d \d+ h$/);
    assert.deepEqual(lines, [
      ['DUE', 'IN', 'ADDRESS', 'EVENT', 'REPEATS', 'ID', 'NODE'],
      ['1970-01-01T00:00:01.000Z', 'now', 'shop/Cart/a', 'close', 'once', 'x', 'east'],
      ['2131-01-02T03:04:05.678Z', 'shop/Cart/b', 'report', '0 9 * * 1-5 Europe/Vienna', 'z', 'west'],
      ['2131-01-02T03:04:05.679Z', 'shop/Cart/a', 'poll', 'every 5 min 0 s', 'y\ufffd[2J', 'east'],
      ['unreachable: north (the timers there are not listed)'],
      [''],
    ]);
    assert.deepEqual(agent.to('timers')[0].args, [{ of: 'shop', limit: 50 }]);
  });
  await t.test('--json, and no more than are wanted', async (t) => {
    const agent = await withAgent(t, { timers: () => ({ schedules, unreachable: [] }) });
    const all = JSON.parse((await ctl(['--json', 'timers'], { node: agent.path })).stdout);
    assert.deepEqual([all.timers.map((x) => [x.id, x.node]), all.more, all.unreachable], [[['x', 'east'], ['z', 'west'], ['y\u001b[2J', 'east']], false, []]);
    const { stdout } = await ctl(['timers', '--top', '1'], { node: agent.path });
    assert.match(stdout, /^there are more; --top shows more of them$/m);
    assert.equal(stdout.split('\n').length, 4);
    assert.deepEqual(agent.to('timers').map((m) => m.args[0]), [{ limit: 50 }, { limit: 1 }]);
  });
  await t.test('none, and answers of another kind', async (t) => {
    const answers = [{ schedules: [], unreachable: [] }, { schedules: [{}, 7, { timers: [7, {}] }] }, 7];
    const agent = await withAgent(t, { timers: () => answers.shift() });
    assert.equal((await ctl(['timers', 'shop/Cart/a'], { node: agent.path })).stdout, 'no timer of shop/Cart/a is set\n');
    assert.equal((await ctl(['timers'], { node: agent.path })).status, 0);
    assert.match((await ctl(['timers'], { node: agent.path })).stderr, /^ctl: the agent's answer has no schedules\n$/);
  });
});

test('backup', { concurrency }, async (t) => {
  const done = { node: 'east', path: '/b', time: 0, files: 3, bytes: 3 << 20, took_ms: 1200 };
  // answered when it has been asked so often how far it is
  const backing = (t, asks, progress) => {
    let answer;
    return withAgent(t, {
      backup: (m, peer) => {
        answer = () => peer.send({ kind: 3, id: m.id, args: [done] });
        if (asks === 0) answer();
      },
      backup_progress: () => {
        if (--asks === 0) answer();
        return progress.shift();
      },
    });
  };
  const last = 'wrote /b: 3 files, 3.0 MB, of node east at 1970-01-01 00:00:00 UTC, in 1 s\n';
  const onTerminal = async (agent, ...args) => (await run('script', ['-qec', [CTL, 'backup', '/b', '--node', agent.path, ...args].join(' '), '/dev/null'])).stdout.replaceAll('\r\n', '\n');
  await t.test('says on a terminal how far it is', async (t) => {
    const agent = await backing(t, 5, [null, { bytes: 0, of: 0 }, { bytes: 1 << 20, of: 3 << 20 }, 7, { bytes: 2 << 20, of: 3 << 20 }]);
    const text = await onTerminal(agent);
    assert.deepEqual(text.split('\r').map((l) => l.trimEnd()).filter((l) => l), ['copied 1.0 MB of 3.0 MB', 'copied 2.0 MB of 3.0 MB', last.trimEnd()]);
    assert.ok(text.endsWith(`\r${last}`));
    assert.deepEqual(agent.to('backup').map((m) => m.args), [[{ path: '/b' }]]);
  });
  await t.test('and an agent that does not know is no matter', async (t) => {
    const agent = await backing(t, 2, [failure('EINVAL', 'unknown method'), failure('EINVAL', 'unknown method')]);
    assert.equal((await onTerminal(agent)).replaceAll('\r', ''), last);
  });
  await t.test('elsewhere nothing of that', async (t) => {
    const agent = await backing(t, 0, []);
    const { status, stdout, stderr } = await ctl(['backup', '/b'], { node: agent.path });
    assert.deepEqual([status, stdout, stderr], [0, last, '']);
    assert.deepEqual(JSON.parse(await onTerminal(agent, '--json')), done);
    assert.deepEqual([agent.to('backup').length, agent.to('backup_progress').length], [2, 0]);
  });
  await t.test('that takes longer than is waited for, and one that fails', async (t) => {
    const silent = await withAgent(t, { backup: () => undefined, backup_progress: () => ({ bytes: 1, of: 2 }) });
    assert.match(await run('script', ['-qec', `${CTL} backup /b --timeout 400 --node ${silent.path}`, '/dev/null']).then(assert.fail, (e) => e.stdout), /copied 1 B of 2 B\r +\rctl: no answer from the agent at .* within 400 ms/);
    const refusing = await withAgent(t, { backup: () => failure('EEXIST', 'is there already') });
    assert.deepEqual(await ctl(['backup', '/b'], { node: refusing.path }).then((r) => [r.status, r.stdout]), [1, '']);
  });
});

test('ps and nodes', { concurrency }, async (t) => {
  await t.test('a table of actors, in the order of their addresses', async (t) => {
    const agent = await withAgent(t, { ps: () => ({ actors, unreachable: ['north'] }) });
    const { status, stdout } = await ctl(['ps', 'shop'], { node: agent.path });
    assert.equal(status, 0);
    assert.equal(stdout, [
      'ADDRESS            ISOLATION  NODE  THREAD  STATE   MAILBOX  TURNS    HEAP',
      'odd/One/\ufffd[2J       -          -          -  -             -      -       -',
      'shop/Counter/a     isolate    east       0  idle          0     12  1.5 MB',
      'shop/Session/東京  shared     west      11  failed    10000      7   512 B',
      'shop/Session/東京 could not start: Error: \ufffd[2Jno',
      "'ctl logs shop/Session/東京' has more of it",
      'unreachable: north (the actors there are not listed)',
      '',
    ].join('\n'));
    assert.deepEqual(agent.to('ps')[0].args, [{ app: 'shop' }]);
  });
  await t.test('timers of actors, when any has some', async (t) => {
    const agent = await withAgent(t, { ps: () => ({ actors: [{ ...actors[0], timers: 3, next_timer: Date.now() + 299_500 }, { ...actors[0], address: 'shop/Counter/b', timers: 0 }, { ...actors[0], address: 'shop/Counter/c', timers: 1, next_timer: 5 }], unreachable: [] }) });
    const lines = (await ctl(['ps'], { node: agent.path })).stdout.split('\n').map((l) => l.split(/ {2,}/).slice(-2));
    assert.deepEqual(lines.slice(0, 4), [['TIMERS', 'NEXT'], ['3', '4 min 59 s'], ['0', '-'], ['1', 'now']]);
  });
  await t.test('--json passes on what the agent said', async (t) => {
    const agent = await withAgent(t, { ps: () => ({ actors, unreachable: [] }) });
    const { stdout } = await ctl(['--json', 'ps'], { node: agent.path });
    assert.deepEqual(JSON.parse(stdout), { actors, unreachable: [] });
    assert.deepEqual(agent.to('ps')[0].args, [{}]);
  });
  await t.test('the reasons of many failures are not all told', async (t) => {
    const failed = Array.from({ length: 25 }, (_, i) => ({ address: `shop/C/${String(i).padStart(2, '0')}`, state: 'failed', failure: 'has failed: oh' }));
    const agent = await withAgent(t, { ps: () => ({ actors: failed, unreachable: [] }) });
    const lines = (await ctl(['ps'], { node: agent.path })).stdout.trim().split('\n').slice(26);
    assert.deepEqual([lines.length, lines[0], lines.at(-2), lines.at(-1)], [22, 'shop/C/00 has failed: oh', 'and 5 more have failed; --json has their reasons', "'ctl logs ADDRESS' has more of each"]);
  });
  await t.test('more than are listed', async (t) => {
    const agent = await withAgent(t, { ps: () => ({ actors: actors.slice(0, 1), total: 1000064, unreachable: [] }) });
    assert.match((await ctl(['ps', '-n', '1'], { node: agent.path })).stdout, /^1 of 1000064 actors; --lines lists more$/m);
    assert.match((await ctl(['ps', 'shop', '--lines', '0'], { node: agent.path })).stdout, /^1 of 1000064 actors/m);
    assert.deepEqual(agent.to('ps').map((m) => m.args[0]), [{ limit: 1 }, { app: 'shop', limit: 0 }]);
  });
  await t.test('nobody', async (t) => {
    const agent = await withAgent(t, { ps: () => ({ actors: [], unreachable: [] }) });
    assert.equal((await ctl(['ps'], { node: agent.path })).stdout, 'no actor is live; an actor\'s first message starts it\n');
    assert.equal((await ctl(['ps', 'shop'], { node: agent.path })).stdout, 'no actor of shop is live; an actor\'s first message starts it\n');
  });
  await t.test('nobody is listed, but not all have answered', async (t) => {
    const agent = await withAgent(t, { ps: () => ({ actors: [], total: 0, unreachable: ['north'] }) });
    assert.equal((await ctl(['ps'], { node: agent.path })).stdout, 'unreachable: north (the actors there are not listed)\n');
  });
  await t.test('nodes', async (t) => {
    const nodes = [
      { name: 'east', state: 'up', url: 'tcp://127.0.0.1:4711', pid: 10, host_pid: 11, actors: 3, threads: 2, uptime_ms: 185000, version: '0.1.0' },
      { name: 'west', state: 'down', url: 'tcp://127.0.0.1:4712' },
    ];
    const agent = await withAgent(t, { nodes: () => ({ nodes }) });
    assert.equal((await ctl(['nodes'], { node: agent.path })).stdout, [
      'NAME  STATE  URL                   PID  HOST  ACTORS  THREADS     UPTIME  VERSION',
      'east  up     tcp://127.0.0.1:4711   10    11       3        2  3 min 5 s  0.1.0',
      'west  down   tcp://127.0.0.1:4712    -     -       -        -          -  -',
      '',
    ].join('\n'));
    assert.deepEqual(JSON.parse((await ctl(['nodes', '--json'], { node: agent.path })).stdout), { nodes });
  });
  await t.test('nodes without a process: no process ids of the past', async (t) => {
    const had = { pid: 10, host_pid: 11, actors: 3, threads: 2, uptime_ms: 0, version: '0.1.0' };
    const nodes = [
      { name: 'north', state: 'starting', url: 'tcp://127.0.0.1:4711', ...had, host_pid: 0, actors: 0 },
      { name: 'west', state: 'down', url: 'tcp://127.0.0.1:4712', ...had },
    ];
    const agent = await withAgent(t, { nodes: () => ({ nodes }) });
    assert.equal((await ctl(['nodes'], { node: agent.path })).stdout, [
      'NAME   STATE     URL                   PID  HOST  ACTORS  THREADS  UPTIME  VERSION',
      'north  starting  tcp://127.0.0.1:4711   10     -       -        2    0 ms  0.1.0',
      'west   down      tcp://127.0.0.1:4712    -     -       -        2       -  0.1.0',
      '',
    ].join('\n'));
    assert.deepEqual(JSON.parse((await ctl(['nodes', '--json'], { node: agent.path })).stdout), { nodes });
  });
  await t.test('nodes that are up and do not answer', async (t) => {
    const nodes = [
      { name: 'east', state: 'up', pid: 10, host_pid: 11, actors: 3, silent: null },
      { name: 'north', state: 'up', pid: 12, host_pid: 13, actors: null, silent: 'agent' },
      { name: 'west', state: 'up', pid: 14, host_pid: 15, actors: null, silent: 'actor-host' },
    ];
    const agent = await withAgent(t, { nodes: () => ({ nodes, cluster: null }) });
    assert.deepEqual((await ctl(['nodes'], { node: agent.path })).stdout.split('\n').slice(2), [
      'north  up     -     12    13       -        -       -  -',
      'west   up     -     14    15       -        -       -  -',
      'the agent of north does not answer: its actors are not counted',
      'the actor-host of west does not answer: its actors are not counted; if it stays so: `kill -9 15` there, and its agent starts another',
      'in no cluster; `ctl init` makes one',
      '',
    ]);
  });
  await t.test('a terminal that is narrower than the table', async (t) => {
    const nodes = [{ name: 'east', state: 'up', url: 'tcp://localhost.example.net:4711', pid: 10, host_pid: 11, actors: 3, threads: 2, uptime_ms: 185000, version: '0.1.0' }];
    const agent = await withAgent(t, { nodes: () => ({ nodes }) });
    const lines = async (before) => {
      const env = { ...process.env, NO_COLOR: '1', ISOLA_NODE: agent.path, SHELL: '/bin/sh' };
      const { stdout } = await run('script', ['-qec', `${before} ${CTL} nodes`, '/dev/null'], { env });
      return stdout.replaceAll('\r', '').trim().split('\n');
    };
    const whole = 'east  up     tcp://localhost.example.net:4711   10    11       3        2  3 min 5 s  0.1.0';
    const blocks = ['NAME east  STATE up  URL tcp://localhost.example.net:4711', '  PID 10  HOST 11  ACTORS 3  THREADS 2  UPTIME 3 min 5 s', '  VERSION 0.1.0'];
    assert.equal((await lines('stty cols 200;'))[1], whole);
    assert.equal((await lines('stty cols 80;'))[1], 'east  up     tcp://loc….net:4711   10    11       3        2  3 min 5 s  0.1.0');
    assert.deepEqual(await lines('stty cols 60;'), blocks);
    assert.deepEqual(await lines('stty cols 0; COLUMNS=60'), blocks);
    assert.equal((await lines('stty cols 0; COLUMNS=nonsense'))[1], whole);
    assert.equal((await ctl(['nodes'], { node: agent.path, env: { COLUMNS: '60' } })).stdout.split('\n')[1], whole);
  });
  await t.test('answers of another shape, and failures', async (t) => {
    const answers = [null, 5, [], {}, { actors: 5 }, 'x'];
    const agent = await withAgent(t, { ps: () => answers.shift() ?? failure('EINVAL', 'unknown method ps') });
    for (let n = answers.length; n > 0; n--) {
      const { status, stderr } = await ctl(['ps'], { node: agent.path });
      assert.equal(status, 1);
      assert.match(stderr, /^ctl: (the agent's answer has no actors|EINVAL: unknown method ps)\n$/);
    }
    assert.match((await ctl(['ps'], { node: agent.path })).stderr, /^ctl: EINVAL: unknown method ps\n$/);
  });
  await t.test('no answer within --timeout', async (t) => {
    const agent = await withAgent(t, {});
    const { status, stderr } = await ctl(['ps', '--timeout', '10'], { node: agent.path });
    assert.equal(status, 1);
    assert.match(stderr, /^ctl: no answer from the agent at .* within 10 ms; wait longer with --timeout MS\n$/);
  });
});

test('profile', { concurrency }, async (t) => {
  await t.test('what is refused has not begun', async (t) => {
    const agent = await withAgent(t, { inspect: () => failure('ENOACTOR', 'a/B/c is not active') });
    const dir = scratch(t);
    const profile = (...args) => ctl(['profile', 'a/B/c', ...args], { node: agent.path, cwd: dir });
    assert.deepEqual(await profile(), { status: 1, stdout: '', stderr: 'ctl: ENOACTOR: a/B/c is not active\n' });
    assert.match((await profile('--seconds', '601')).stderr, /^ctl: option '--seconds' needs a whole number from 1 to 600/);
    assert.match((await profile('-o', 'none/x')).stderr, /^ctl: cannot write none\/x: No such file or directory\n$/);
    assert.equal(agent.to('inspect').length, 1);
    assert.deepEqual(fs.readdirSync(dir), []);
  });
  await t.test('whoever waits is told of what', async (t) => {
    let asked;
    const agent = await withAgent(t, {
      inspect: (m, peer) => void (asked = () => peer.send({ kind: REPLY, id: m.id, args: [{ node: 'east', id: 1, bytes: 3, isolation: 'isolate' }] })),
      inspect_read: ({ args: [{ offset }] }) => Buffer.from('{ }'.slice(offset)),
    });
    const dir = scratch(t);
    const run = startCtl(t, ['profile', 'a/B/c', '--seconds', '7', '-o', 'p'], { node: agent.path, cwd: dir });
    await until(run.child.stderr, /^ctl: profiling a\/B\/c for 7 s\n$/);
    asked();
    assert.deepEqual(await run.done, { status: 0, stdout: "wrote p (3 B): in Chrome's DevTools, Performance > Load profile\n", stderr: 'ctl: profiling a/B/c for 7 s\n' });
    assert.equal(fs.readFileSync(`${dir}/p`, 'utf8'), '{ }');
  });
  await t.test('what fails later is told once', async (t) => {
    let asked;
    const agent = await withAgent(t, { inspect: (m, peer) => void (asked = () => peer.send({ kind: FAIL, id: m.id, args: [failure('EFAILED', 'the isolate has ended')] })) });
    const run = startCtl(t, ['profile', 'a/B/c', '-o', '-'], { node: agent.path });
    await until(run.child.stderr, /profiling/);
    asked();
    assert.match((await run.done).stderr, /^ctl: profiling a\/B\/c for 5 s\nctl: EFAILED: the isolate has ended\n {2}why: [^\n]*\n$/);
  });
  await t.test('no answer within --timeout', async (t) => {
    const agent = await withAgent(t, { inspect: () => undefined });
    const { stderr } = await ctl(['profile', 'a/B/c', '-o', '-', '--timeout', '1200'], { node: agent.path });
    assert.match(stderr, /^ctl: profiling a\/B\/c for 5 s\nctl: no answer from the agent at .* within 1200 ms; wait longer with --timeout MS\n$/);
  });
});

test('logs', { concurrency }, async (t) => {
  const time = Date.UTC(2031, 0, 2, 3, 4, 5, 678);
  const lines = [
    { time, level: 'info', node: 'east', address: 'shop/Counter/a', text: 'hello' },
    { time: time + 1, level: 'error', node: 'west', address: '', text: 'bad \u001b]0;title\u0007\n    at x\n' },
  ];
  const shown = [
    '2031-01-02T03:04:05.678Z info  east shop/Counter/a  hello',
    '2031-01-02T03:04:05.679Z error west  bad \ufffd]0;title\ufffd',
    '        at x',
    '',
  ].join('\n');
  await t.test('the last lines', async (t) => {
    const agent = await withAgent(t, { logs: () => ({ lines }) });
    const { status, stdout } = await ctl(['logs', '-n', '20', 'shop'], { node: agent.path });
    assert.deepEqual([status, stdout], [0, shown]);
    assert.deepEqual(JSON.parse((await ctl(['--json', 'logs', 'a/B/c'], { node: agent.path })).stdout), { lines });
    await ctl(['logs'], { node: agent.path });
    assert.deepEqual(agent.to('logs').map((m) => m.args[0]), [
      { lines: 20, follow: false, app: 'shop' },
      { lines: 200, follow: false, address: 'a/B/c' },
      { lines: 200, follow: false },
    ]);
  });
  await t.test('what is not there is told, on stderr', async (t) => {
    const agent = await withAgent(t, { logs: (m) => ({ lines: m.args[0].app === 'shop' ? lines : [], unreachable: ['north'] }) });
    const missing = 'ctl: unreachable: north (what its actors logged is not shown)\n';
    assert.deepEqual(await ctl(['logs', 'shop'], { node: agent.path }), { status: 0, stdout: shown, stderr: missing });
    assert.deepEqual(await ctl(['logs', 'a/B/c'], { node: agent.path }), { status: 0, stdout: '', stderr: `ctl: no line logged by a/B/c is kept\n${missing}` });
    assert.deepEqual(await ctl(['logs', '-n', '0'], { node: agent.path }), { status: 0, stdout: '', stderr: missing });
    assert.equal((await ctl(['--json', 'logs', 'a/B/c'], { node: agent.path })).stderr, '');
  });
  await t.test('of what is not there: a failure, but not when there are lines of it, or may be', async (t) => {
    const no = failure('ENOACTOR', 'there is no app');
    const agent = await withAgent(t, { logs: (m) => ({ lines: m.args[0].app === 'gone' ? lines : [] }), 'dead-letters': () => ({ letters: [], counts: {} }), find: () => no });
    for (const args of [['logs', 'shpo'], ['logs', 'shop/Countr/a'], ['dead-letters', 'shpo']])
      assert.deepEqual(await ctl(args, { node: agent.path }), { status: 1, stdout: '', stderr: 'ctl: ENOACTOR: there is no app\n' });
    assert.deepEqual(await ctl(['logs', 'gone'], { node: agent.path }), { status: 0, stdout: shown, stderr: '' });
    assert.equal((await ctl(['logs'], { node: agent.path })).status, 0);
    assert.equal((await ctl(['dead-letters'], { node: agent.path })).stderr, 'ctl: there are no dead letters\n');
  });
  const follow = {
    logs: (m, peer) => {
      peer.send({ kind: 3, id: m.id, args: [{ lines: [lines[0]] }] });
      peer.send({ kind: EMIT, event: 'log', args: [lines[1]] });
      peer.send({ kind: EMIT, event: 'other', args: ['x'] });
      peer.send({ kind: EMIT, event: 'log', args: [] });
    },
  };
  await t.test('-f goes on until Ctrl-C', async (t) => {
    const agent = await withAgent(t, follow);
    const run = startCtl(t, ['logs', '-f'], { node: agent.path });
    await until(run.child.stdout, /at x\n/);
    run.child.kill('SIGINT');
    assert.deepEqual(await run.done, { status: 0, stdout: shown, stderr: '' });
    assert.deepEqual(agent.to('logs')[0].args, [{ lines: 200, follow: true }]);
  });
  await t.test('-f with --json: one line each', async (t) => {
    const agent = await withAgent(t, follow);
    const run = startCtl(t, ['--json', 'logs', '-f'], { node: agent.path });
    await until(run.child.stdout, /at x.*\n/);
    run.child.kill('SIGINT');
    assert.deepEqual((await run.done).stdout.trim().split('\n').map((l) => JSON.parse(l)), lines);
  });
  await t.test('-f and the agent goes away', async (t) => {
    const agent = await withAgent(t, { logs: (m, peer) => (setImmediate(() => peer.socket.end()), { lines: [] }) });
    const { status, stderr } = await ctl(['logs', '-f'], { node: agent.path });
    assert.deepEqual([status, stderr], [1, `ctl: the agent at ${agent.path} closed the connection\n`]);
  });
});

test('output', { concurrency }, async (t) => {
  await t.test('a reader that went away is no failure', async (t) => {
    let run;
    const agent = await withAgent(t, {
      ps: (m, peer) => {
        run.child.stdout.once('close', () => peer.send({ kind: 3, id: m.id, args: [{ actors, unreachable: [] }] }));
        run.child.stdout.destroy();
      },
    });
    run = startCtl(t, ['ps'], { node: agent.path });
    const { status, stderr } = await run.done;
    assert.deepEqual([status, stderr], [0, '']);
  });
  await t.test('of a pipe, too, while nothing is printed', async (t) => {
    const agent = await withAgent(t, { actor: (m, peer) => void peer.send({ kind: EVENT, id: m.id, args: [1] }) });
    const command = `${CTL} on a/B/c x --node ${agent.path} | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const { stdout } = await run('bash', ['-c', command]);
    assert.equal(stdout, '[1]\n0\n');
  });
  await t.test('closed streams', async (t) => {
    const agent = await withAgent(t, { actor: () => failure('EFAILED', 'no') });
    const { stdout } = await run('bash', ['-c', `${CTL} ask a/B/c x --node ${agent.path} 0<&- 2>&-; echo $?`]);
    assert.equal(stdout, '1\n');
    assert.equal(agent.messages.length, 2); // hello and the ask; nothing that was printed went there
  });
  await t.test('colours on a terminal only, and not with NO_COLOR', async (t) => {
    const agent = await withAgent(t, { nodes: () => ({ nodes: [{ name: 'a', state: 'up' }] }) });
    const command = `${CTL} nodes --node ${agent.path}`;
    const { PATH } = process.env;
    const onTerminal = async (env) => (await run('script', ['-qec', command, '/dev/null'], { env: { PATH, TERM: 'xterm', ...env } })).stdout;
    assert.ok((await onTerminal({})).includes('\u001b[32mup\u001b[0m'));
    assert.ok(!(await onTerminal({ NO_COLOR: '1' })).includes('\u001b[32m'));
    assert.ok(!(await onTerminal({ TERM: 'dumb' })).includes('\u001b[32m'));
    assert.ok(!(await ctl(['nodes'], { node: agent.path, env: { TERM: 'xterm' } })).stdout.includes('\u001b'));
  });
  await t.test('a full disk is', async (t) => {
    const agent = await withAgent(t, { ps: () => ({ actors, unreachable: [] }) });
    const full = fs.openSync('/dev/full', 'w');
    t.after(() => fs.closeSync(full));
    const run = startCtl(t, ['ps'], { node: agent.path, stdout: full });
    const { status, stderr } = await run.done;
    assert.deepEqual([status, stderr], [1, 'ctl: cannot write the output: No space left on device\n']);
  });
  await t.test('a big reply', async (t) => {
    const text = 'x'.repeat(8 << 20);
    const agent = await withAgent(t, { actor: (m) => m.args[0].length && text });
    const { status, stdout } = await ctl(['--json', 'ask', 'a/B/c', 'x', JSON.stringify('y'.repeat(100000))], { node: agent.path });
    assert.equal(status, 0);
    assert.equal(stdout.length, text.length + 3);
  });
  await t.test('a value that explodes is refused', async (t) => {
    const layers = Array.from({ length: 40 }, (_, i) => (i === 0 ? [] : [new Ext(9, [i + 1]), new Ext(9, [i + 1])]));
    const agent = await withAgent(t, { actor: () => layers });
    const { status, stdout } = await ctl(['--json', 'ask', 'a/B/c', 'x'], { node: agent.path });
    assert.equal(status, 1);
    assert.equal(JSON.parse(stdout).error.code, 'ETOOBIG');
  });
});

test('the fake agent reads what it writes', () => {
  assert.deepEqual(encode([1, 'a', null]), Buffer.from([0x93, 1, 0xa1, 0x61, 0xc0]));
});
