// SPDX-License-Identifier: Apache-2.0
//
// Dead letters: what ctl shows of messages that did not reach an actor, on two nodes.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Cluster, ctl, ctlWhole, until } from './cluster.mjs';
import { startCtl, until as says } from './ctl.mjs';

const cluster = new Cluster();
let one;

before(async () => {
  one = await cluster.node('one');
  await cluster.node('two', one);
  await cluster.deploy(one, 'letters', {
    'isola.json': { name: 'app', actors: { A: { module: './a.js' } } },
    'a.js': `export default (self) => {
      self.on('crash', () => { throw new Error('oh no'); });
      self.on('ok', () => 'ok');
    };`,
  });
});
after(() => cluster.end());

const letters = (...args) => ctlWhole(one, 'dead-letters', ...args);

describe('dead letters', () => {
  test('are kept with sender, values and reason, from all nodes', async () => {
    for (let i = 0; i < 8; i++) one.client.actor('app/A', `k${i}`).emit('crash', { n: i }, [1n]);
    await until('all of them', async () => (await letters('app')).letters.length === 8);
    const { letters: all, counts } = await letters();
    assert.deepEqual(all.map((l) => l.args[0].n).sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(Object.keys(counts).sort(), ['one', 'two']);
    assert.deepEqual(new Set(all.map((l) => l.node)), new Set(['one', 'two']));
    for (const l of all) {
      assert.equal(l.kind, 'emit');
      assert.equal(l.event, 'crash');
      assert.equal(l.code, 'ESCRIPT');
      assert.match(l.reason, /Error: oh no/);
    }
    assert.equal((await letters('app/A/k3')).letters.length, 1);
    assert.equal((await letters('app/A/quiet')).letters.length, 0);
    const text = await ctl(one, 'dead-letters', 'app/A/k3');
    assert.match(text.out, /^\S+ (one|two) emit app\/A\/k3 crash \[\{"n":3\},\[.*\]\]: ESCRIPT Error: oh no/);
    assert.equal((await ctl(one, 'dead-letters', 'app/A/quiet')).err, 'ctl: there are no dead letters of app/A/quiet\n');
    assert.deepEqual(await ctl(one, 'dead-letters', 'other'), { status: 1, out: '', err: 'ctl: ENOACTOR: there is no app "other": deploy it first\n' });
  });

  test('are what no handler takes, asked or told', async () => {
    one.client.actor('app/A', 'unheard').emit('okk', 'a slip');
    await assert.rejects(one.client.actor('app/A', 'unheard').ask('okk', 2), { code: 'ENOACTOR' });
    await until('both', async () => (await letters('app/A/unheard')).letters.length === 2);
    const { letters: all } = await letters('app/A/unheard');
    assert.deepEqual(all.map((l) => l.kind), ['emit', 'ask']);
    for (const l of all) assert.deepEqual([l.event, l.code, l.reason], ['okk', 'ENOACTOR', 'app/A has no handler for it']);
    assert.deepEqual(all[0].args, ['a slip']);
    assert.match((await ctl(one, 'dead-letters', 'app/A/unheard')).out, /emit app\/A\/unheard okk \["a slip"\]: ENOACTOR app\/A has no handler for it/);
    assert.equal(await one.client.actor('app/A', 'unheard').ask('ok'), 'ok');
  });

  test('ctl says at once what no node has an app or type for', async () => {
    const none = 'there is no app "nope": deploy it first', type = 'app "app" has no actor type "Missing"';
    for (const [args, why] of [[['emit', 'nope/A/x', 'ok'], none], [['emit', 'app/Missing/x', 'ok'], type],
      [['stop', 'nope/A/x'], none], [['stop', 'app/Missing/x'], type], [['on', 'nope/A/x', 'ok'], none], [['ps', 'nope'], none], [['logs', 'nope'], none],
      [['logs', 'app/Missing/x'], type], [['dead-letters', 'nope'], none]])
      assert.deepEqual(await ctl(one, ...args), { status: 1, out: '', err: `ctl: ENOACTOR: ${why}\n` }, args.join(' '));
    assert.deepEqual((await letters()).letters.filter((l) => /nope|Missing/.test(l.to)), [], 'nothing was sent');
    assert.equal((await ctl(one, 'emit', 'app/A/x', 'ok')).status, 0);
    assert.equal((await ctl(one, 'stop', 'app/A/nobody')).status, 0);
    for (const params of [{}, { of: '' }, { of: 5 }, { of: 'a/' }, { of: 'x'.repeat(600) }])
      await assert.rejects(one.client.call('find', params), { code: 'EINVAL' });
  });

  test('are followed', async (t) => {
    const follow = startCtl(t, ['--json', 'dead-letters', '-f', 'app/Missing/x'], { node: one.socket });
    const first = says(follow.child.stdout, /"app\/Missing\/x".*\n/);
    await Promise.all(Array.from({ length: 20 }, () => assert.rejects(one.client.actor('app/Missing', 'x').ask('hello'), { code: 'ENOACTOR' })));
    const line = JSON.parse((await first).split('\n')[0]);
    assert.equal(line.to, 'app/Missing/x');
    assert.equal(line.kind, 'ask');
    follow.child.kill('SIGINT');
    assert.equal((await follow.done).status, 0);
  });

  test('wrong parameters are refused', async () => {
    for (const params of [{ of: 5 }, { node: {} }, { after: 'x' }, { wait: -1 }])
      await assert.rejects(one.client.call('dead-letters', params), { code: 'EINVAL' });
    assert.equal((await ctl(one, 'dead-letters', 'a b')).status, 2);
  });
});
