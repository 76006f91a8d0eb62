// SPDX-License-Identifier: Apache-2.0
//
// Which lines `ctl logs` shows: of whom, how bad, since when, with which text, from which node; of the past, and as they come.

import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';

import { Cluster, ctl, ctlWhole, until } from './cluster.mjs';
import { startCtl } from './ctl.mjs';

const talker = `export default (self) => {
  self.on('say', (level, ...words) => console[level](...words));
};`;

describe('logs of two nodes', () => {
  let cluster, east, at; // at: the node each key lives on
  const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const say = (type, key, level, text) => east.client.actor(`app/${type}`, key).ask('say', level, text);
  const lines = async (...args) => (await ctlWhole(east, 'logs', ...args)).lines;
  const texts = async (...args) => (await lines(...args)).map((l) => l.text);

  before(async () => {
    cluster = new Cluster();
    [east] = await cluster.pair('app', {
      'isola.json': { name: 'app', actors: { Talker: { module: './talker.js' }, Other: { module: './talker.js' } } },
      'talker.js': talker,
    });
    for (const key of keys) await say('Talker', key, 'info', `from ${key}`);
    for (const level of ['debug', 'info', 'warn', 'error']) await say('Talker', 'a', level, `a ${level}`);
    await say('Other', 'a', 'warn', 'the Other one');
    const all = await until('all lines are there', async () => {
      const got = await lines();
      return got.length === keys.length + 5 && got;
    });
    at = Object.fromEntries(all.filter((l) => l.text.startsWith('from ')).map((l) => [l.text.at(-1), l.node]));
    assert.deepEqual([...new Set(Object.values(at))].sort(), ['east', 'west'], 'actors live on both nodes');
  });
  after(() => cluster.end());

  test('--level', async () => {
    assert.deepEqual(await texts('--level', 'warn'), ['a warn', 'a error', 'the Other one']);
    assert.deepEqual(await texts('--level', 'error'), ['a error']);
    assert.equal((await texts('--level', 'debug')).length, keys.length + 5);
  });

  test('of a type, of an app, of an actor', async () => {
    assert.deepEqual(await texts('app/Other'), ['the Other one']);
    assert.equal((await texts('app/Talker')).length, keys.length + 4);
    assert.equal((await texts('app')).length, keys.length + 5);
    assert.deepEqual(await texts('app/Talker/b'), ['from b']);
    const { status, err } = await ctl(east, 'logs', 'app/Talkers');
    assert.equal(status, 1);
    assert.match(err, /ENOACTOR: app "app" has no actor type "Talkers"/);
    assert.equal((await ctl(east, 'logs', 'app/')).status, 2);
  });

  test('--grep', async () => {
    assert.deepEqual(await texts('--grep', 'OTHER'), ['the Other one']);
    assert.deepEqual(await texts('--grep', 'a ', '--level', 'error'), ['a error']);
    assert.deepEqual(await texts('--grep', 'nowhere'), []);
    assert.match((await ctl(east, 'logs', '--grep', 'nowhere')).err, /no such line logged by any actor is kept/);
  });

  test('--from', async () => {
    for (const node of ['east', 'west'])
      assert.deepEqual((await texts('--from', node, '--grep', 'from ')).sort(), keys.filter((k) => at[k] === node).map((k) => `from ${k}`));
    const { status, err } = await ctl(east, 'logs', '--from', 'north');
    assert.equal(status, 1);
    assert.match(err, /ENOENT: no node named north is known to node east/);
    const follow = await ctl(east, 'logs', '-f', '--from', 'north');
    assert.equal(follow.status, 1);
  });

  test('--since', async () => {
    const all = await lines();
    const { time } = all[5];
    const since = all.filter((l) => l.time >= time).map((l) => l.text);
    assert.deepEqual(await texts('--since', new Date(time).toISOString()), since);
    assert.equal((await texts('--since', '1h')).length, all.length);
    assert.deepEqual(await texts('--since', '2100-01-01'), []);
    assert.deepEqual(await texts('--since', '1h', '-n', '1'), ['the Other one']);
  });

  test('what is wrong', async () => {
    const wrong = async (...args) => {
      const { status, err } = await ctl(east, 'logs', ...args);
      assert.equal(status, 2, err);
      return err;
    };
    assert.match(await wrong('--level', 'wanr'), /needs debug, info, warn or error, not 'wanr'; did you mean 'warn'\?/);
    assert.match(await wrong('--since', 'soon'), /'--since' needs a time such as 10m/);
    assert.match(await wrong('--since', '3'), /'--since' needs a time/);
    assert.match(await wrong('--grep', ''), /'--grep' needs a text/);
    for (const params of [{ level: 'loud' }, { level: 7 }, { since: -1 }, { since: 'x' }, { text: 'x'.repeat(600) }, { node: 7 }])
      await assert.rejects(east.client.call('logs', params), { code: 'EINVAL' }, JSON.stringify(params));
  });

  test('-f', async (t) => {
    const [here, there] = ['east', 'west'].map((node) => keys.find((k) => at[k] === node));
    const follow = (...args) => {
      const { child, done } = startCtl(t, ['--json', 'logs', '-f', ...args], { node: east.socket });
      const got = [];
      let rest = '';
      child.stdout.on('data', (chunk) => {
        const whole = (rest + chunk).split('\n');
        rest = whole.pop();
        got.push(...whole.map((line) => JSON.parse(line).text));
      });
      const end = async () => {
        child.kill('SIGINT');
        assert.equal((await done).status, 0);
        return got;
      };
      return { got, end };
    };
    const all = follow('-n', '0');
    const bad = follow('--since', '2100-01-01', '--level', 'warn');
    const west = follow('app/Talker', '-n', '0', '--from', 'west', '--grep', 'NEW');
    const begun = follow('-n', '1', '--level', 'error');
    await until('the past of the last', () => begun.got.length === 1);
    // Each begins when it does: said again until all of them have seen the like.
    let n = 0;
    await until('all follow', async () => {
      n++;
      await say('Talker', there, 'error', `new error ${n}`);
      return all.got.length > 0 && west.got.length > 0 && begun.got.length > 1;
    });
    await say('Talker', here, 'info', 'new info');
    await say('Talker', here, 'warn', 'new warn');
    await say('Talker', there, 'info', 'a new one');
    await say('Talker', there, 'info', 'last');
    await until('the last has come', () => all.got.includes('last'));
    assert.deepEqual(await bad.end(), [], 'nothing is as late as that');
    const mark = (got) => got.filter((text) => !text.startsWith('new error'));
    assert.deepEqual(mark(await all.end()), ['new info', 'new warn', 'a new one', 'last']);
    assert.deepEqual(mark(await west.end()), ['a new one']);
    assert.deepEqual(mark(await begun.end()), ['a error']);
  });
});
