// SPDX-License-Identifier: Apache-2.0
//
// Two and three nodes on one machine: where actors live, what crosses between them, and what happens to state when nodes
// come and go.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { once } from 'node:events';

import { actors, Cluster, ctl, killHost, nodes, until, whole } from './cluster.mjs';

const app = {
  'isola.json': { name: 'm', actors: { A: { module: './a.js' }, S: { module: './a.js', isolation: 'shared' }, Plain: { module: './plain.js' }, Large: { module: './large.js', cpu: '30s' } } },
  'a.js': `
    import { actor } from 'isola';
    import { burn } from './burn.js';
    export default (self) => {
      self.state.n ??= 0;
      self.on('add', (by = 1) => (self.state.n += by));
      self.on('get', () => self.state.n);
      self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
      self.on('tell', (address, event, ...args) => actor(address).emit(event, ...args));
      self.on('throw', () => { throw Object.assign(new RangeError('from afar'), { code: 'EFAR' }); });
      self.on('wait', () => new Promise(() => {}));
      self.on('burn', burn);
      self.on('talk', async (to, times) => {
        const ref = actor(to), pauses = [0, 0, 1, 3, 60, 0, 1];
        let slowest = 0;
        for (let i = 0; i < times; i++) {
          const asked = performance.now();
          await ref.ask('get');
          slowest = Math.max(slowest, performance.now() - asked);
          if (pauses[i % 7] > 0) await new Promise((done) => setTimeout(done, pauses[i % 7]));
        }
        return slowest;
      });
      self.on('publish', (v) => self.emit('news', v));
      self.on('follow', (address) => { actor(address).on('news', (v) => { self.state.n += v; }); });
    };`,
  'large.js': `
    import { actor } from 'isola';
    import { burn } from './burn.js';
    const make = (n, k) => {
      const a = new Uint8Array(n);
      for (let i = 0, x = k; i < n; i++) a[i] = (x = (Math.imul(x, 1664525) + 1013904223) | 0) >>> 24;
      return a;
    };
    const sum = (a) => a.reduce((s, b) => (Math.imul(s, 31) + b) | 0, a.length);
    const bytes = (a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
    const check = (what, got, want) => { if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(what + ': ' + got + ' for ' + want); };
    let emitted = 0;
    export default (self) => {
      self.on('get', () => 0);
      self.on('burn', burn);
      self.on('sum', (a) => sum(a));
      self.on('sums', (a, numbers, text, inside) => [sum(a), sum(bytes(numbers)), text, sum(inside.a), inside.n]);
      self.on('noted', (a) => { emitted = (emitted + sum(a)) | 0; });
      self.on('emitted', () => emitted);
      self.on('back', (n, k) => make(n, k));
      self.on('all', async (to, sizes) => {
        const ref = actor(to);
        actor('m/Plain/any').emit('echo'); // has not left yet when the next has been encoded and is not sent either
        check('first', await ref.ask('sum', make(50_000, 1)), sum(make(50_000, 1))); // before anything else goes there
        let wanted = await ref.ask('emitted');
        await Promise.all(sizes.flatMap((n, k) => {
          const a = make(n, k), numbers = new Float64Array(make(n & ~7, k + 100).buffer), text = 'é'.repeat(n / 8), noted = make(n, k + 200);
          wanted = (wanted + sum(noted)) | 0;
          // Its getter sends while it is encoded.
          const inside = { a, get n() { ref.emit('noted', noted); return n; } };
          return [
            ref.ask('sum', a).then((s) => check('one of ' + n, s, sum(a))),
            ref.ask('sums', a, numbers, text, inside).then((s) => check('several of ' + n, s, [sum(a), sum(bytes(numbers)), text, sum(a), n])),
            ref.ask('back', n, k).then((b) => check('answer of ' + n, sum(b), sum(a))),
          ];
        }));
        if ((await ref.ask('emitted')) !== wanted) throw new Error('emits came otherwise');
        return sizes.length;
      });
    };`,
  'burn.js': 'export const burn = (ms) => { for (const end = Date.now() + ms; Date.now() < end;); };',
  'plain.js': `export default (self) => { self.on('echo', (v) => v); };`,
};

/** A key of `type` that lives on the node named `name`; the actor is activated to see it. */
async function keyOn(agent, type, name, salt = '') {
  for (let i = 0; i < 200; i++) {
    const key = `${salt}${i}`;
    await agent.client.actor(`m/${type}`, key).ask(type === 'Plain' ? 'echo' : 'get');
    if ((await actors(agent, 'm')).some((a) => a.address === `m/${type}/${key}` && a.node === name)) return key;
  }
  throw new Error(`no key lives on ${name}`);
}

describe('two nodes', () => {
  const cluster = new Cluster();
  let east, west;
  before(async () => {
    let reply;
    [east, west, reply] = await cluster.pair('m', app);
    assert.deepEqual(reply.nodes.toSorted(), ['east', 'west']);
  });
  after(() => cluster.end());

  test('both list both', async () => {
    for (const agent of [east, west])
      assert.deepEqual((await nodes(agent)).map((n) => [n.name, n.state]).toSorted(), [['east', 'up'], ['west', 'up']]);
  });
  test('an actor lives in one place, whoever asks', async () => {
    for (let i = 0; i < 40; i++) {
      await east.client.actor('m/A', `k${i}`).ask('add');
      assert.equal(await west.client.actor('m/A', `k${i}`).ask('add'), 2);
    }
    const all = (await actors(east, 'm')).filter((a) => a.address.startsWith('m/A/k'));
    assert.equal(new Set(all.map((a) => a.address)).size, all.length);
    assert.equal(new Set(all.map((a) => a.node)).size, 2, 'both nodes have some');
  });
  test('asks, emits, errors and deadlocks cross', async () => {
    const e = `m/A/${await keyOn(east, 'A', 'east', 'x')}`, w = `m/S/${await keyOn(east, 'S', 'west', 'x')}`;
    const [re, rw] = [east.client.actor(e), east.client.actor(w)];
    const before_ = await rw.ask('get');
    assert.equal(await re.ask('ask', w, 'add', 5), before_ + 5);
    for (let i = 0; i < 50; i++) await re.ask('tell', w, 'add');
    assert.equal(await re.ask('ask', w, 'get'), before_ + 55);
    await assert.rejects(re.ask('ask', w, 'throw'), { name: 'RangeError', message: 'from afar', code: 'EFAR' });
    await assert.rejects(re.ask('ask', w, 'ask', e, 'get'), { code: 'EDEADLOCK' });
    await assert.rejects(re.ask('ask', w, 'nope'), { code: 'ENOACTOR' });
  });
  test('values of all sizes arrive as they were, here and there', async () => {
    const sizes = [8, 16_000, 16_400, 32_000, 32_760, 32_768, 33_000, 61_430, 100_000, 500_000, 1_200_000];
    const here = `m/Large/${await keyOn(east, 'Large', 'east', 'l')}`, beside = `m/Large/${await keyOn(east, 'Large', 'east', 'm')}`;
    const there = `m/Large/${await keyOn(east, 'Large', 'west', 'l')}`;
    for (const to of [beside, there]) assert.equal(await east.client.actor(here).ask('all', to, sizes), sizes.length);
    assert.equal(await west.client.actor(there).ask('all', here, sizes.toReversed()), sizes.length);
  });
  test('what comes is seen to, whoever sleeps and whoever is busy', async () => {
    const at = async (node, salt) => `m/A/${await keyOn(east, 'A', node, salt)}`;
    const all = (...salts) => Promise.all(salts.flatMap((salt) => [at('east', salt), at('west', salt)]));
    const talkers = await all('t', 'u'), [e, w] = await all('v'), burners = await all('w', 'x', 'y');
    const lost = async () => (await whole(east, 'links')).links.map((l) => [l.kind, l.lost]);
    const before_ = await lost();
    let over = false;
    const burning = burners.map(async (to, i) => {
      while (!over) await east.client.actor(to).ask('burn', 2 + 5 * i);
    });
    const talks = talkers.map((from, i) => east.client.actor(from).ask('talk', i % 2 === 0 ? w : e, 70, { timeout: 120_000 }));
    const slowest = Math.max(...await Promise.all(talks));
    over = true;
    await Promise.all(burning);
    // Nobody of the west is there to look at links, for longer than a node may be silent.
    const heavy = await Promise.all(['x', 'y', 'z'].map((salt) => keyOn(east, 'Large', 'west', salt)));
    await Promise.all(heavy.map((key) => east.client.actor(`m/Large/${key}`).ask('burn', 2600)));
    assert.deepEqual(await lost(), before_);
    assert.ok(slowest < 20_000, `the slowest answer took ${slowest} ms`);
  });
  test('subscriptions cross, and survive a crash of the emitting actor-host', async () => {
    const source = `m/A/${await keyOn(east, 'A', 'west', 's')}`, follower = `m/A/${await keyOn(east, 'A', 'east', 'f')}`;
    const ref = east.client.actor(source);
    const heard = [];
    ref.on('news', (v) => heard.push(v));
    await east.client.actor(follower).ask('follow', source);
    const start = await east.client.actor(follower).ask('get');
    await until('the event crosses to client and actor', async () => {
      await ref.ask('publish', 1);
      return heard.length > 0 && (await east.client.actor(follower).ask('get')) > start;
    });
    await killHost(west);
    heard.length = 0;
    const again = await east.client.actor(follower).ask('get');
    await until('it crosses again', async () => {
      await ref.ask('publish', 1);
      return heard.length > 0 && (await east.client.actor(follower).ask('get')) > again;
    });
    ref.removeAllListeners('news');
  });
  test('asks under way at an actor-host that is killed fail, and the next ones wait for it', async () => {
    const key = await keyOn(east, 'A', 'west', 'w');
    const ref = east.client.actor('m/A', key);
    await ref.ask('add', 7);
    const stuck = ref.ask('wait');
    stuck.catch(() => {});
    await until('it runs', async () => (await actors(east, 'm')).some((a) => a.address === ref.address && a.state === 'running'));
    const pid = (await nodes(east)).find((n) => n.name === 'west').host_pid;
    process.kill(pid, 'SIGKILL');
    await assert.rejects(stuck, { code: 'EUNREACHABLE' });
    assert.equal(await ref.ask('get'), 7);
  });
  test('who has unsubscribed, in whatever order, hears nothing more; the others do', async () => {
    const heard = new Map(), listen = (ref) => { const of = (v) => heard.set(ref.address, [...heard.get(ref.address) ?? [], v]); ref.on('news', of); return of; };
    const refs = Array.from({ length: 40 }, (_, i) => east.client.actor('m/A', `k${i}`));
    const listeners = refs.map(listen);
    const publish = async (v) => { for (const ref of refs) await ref.ask('publish', v); };
    await publish(1);
    await until('all have heard', () => heard.size === refs.length);
    for (let i = 1; i < 40; i += 4) refs[i].off('news', listeners[i]);
    for (let i = 39; i > 0; i -= 4) refs[i].off('news', listeners[i]);
    for (const v of [2, 3]) await publish(v);
    await until('those who listen have heard', () => refs.every((ref, i) => i % 2 === 1 || heard.get(ref.address).length === 3));
    for (const [i, ref] of refs.entries()) assert.deepEqual(heard.get(ref.address), i % 2 === 1 ? [1] : [1, 2, 3], ref.address);
    for (const [i, ref] of refs.entries()) if (i % 2 === 0) ref.off('news', listeners[i]);
  });
  test('ps, logs and stop reach both nodes', async () => {
    const key = await keyOn(east, 'Plain', 'west', 'p');
    const r = await ctl(east, 'stop', `m/Plain/${key}`);
    assert.equal(r.status, 0);
    assert.ok(!(await actors(east, 'm')).some((a) => a.address === `m/Plain/${key}`));
  });
});

describe('nodes that come and go', () => {
  const cluster = new Cluster();
  let east, west;
  const KEYS = 60;
  const sum = async (agent, type) => {
    let total = 0;
    for (let i = 0; i < KEYS; i++) total += await agent.client.actor(`m/${type}`, `k${i}`).ask('add');
    return total;
  };
  before(async () => {
    east = await cluster.node('east');
    await cluster.deploy(east, 'm', app);
  });
  after(() => cluster.end());

  test('a node that joins takes its share of the actors with their state', async () => {
    for (const type of ['A', 'S']) assert.equal(await sum(east, type), KEYS);
    west = await cluster.node('west', east);
    for (const type of ['A', 'S']) {
      assert.equal(await sum(west, type), KEYS * 2);
      assert.equal(await sum(east, type), KEYS * 3);
    }
    const on = new Set((await actors(east, 'm')).map((a) => a.node));
    assert.deepEqual([...on].toSorted(), ['east', 'west']);
  });
  test('messages that arrive while a node joins are answered once', async () => {
    const ref = east.client.actor('m/A', 'busy');
    const answers = [];
    let stop = false;
    const load = (async () => {
      while (!stop) {
        try { answers.push(await ref.ask('add')); } catch (e) { if (e.code !== 'EUNREACHABLE' && e.code !== 'EFAILED') throw e; }
      }
    })();
    await until('it runs', () => answers.length > 5);
    await cluster.node('north', east);
    const seen = answers.length;
    await until('it goes on', () => answers.length > seen + 20);
    stop = true;
    await load;
    for (let i = 1; i < answers.length; i++) assert.ok(answers[i] > answers[i - 1], `${answers[i - 1]} then ${answers[i]}`);
  });
  test('while a node is down its actors are missed by name, stateless ones move, and all is back with it', async () => {
    const here = await keyOn(east, 'A', 'east', 'h');
    const key = await keyOn(east, 'A', 'west', 'd'), shared = await keyOn(east, 'S', 'west', 'd'), plain = await keyOn(east, 'Plain', 'west', 'd');
    const ref = east.client.actor('m/A', key);
    const n = await ref.ask('add', 5);
    const ended = once(west.child, 'exit');
    process.kill((await nodes(west)).find((x) => x.name === 'west').host_pid, 'SIGKILL');
    west.child.kill('SIGKILL');
    await ended;
    await until('west is down', async () => (await nodes(east)).find((x) => x.name === 'west')?.state === 'down');
    // Whoever asks, a script or a person, now and before it is tried again; both kinds look at their state as they start.
    const missed = { code: 'EUNREACHABLE', message: /its state is on node west, which is down/ };
    for (const address of [`m/A/${key}`, `m/S/${shared}`]) {
      for (let i = 0; i < 3; i++) await assert.rejects(east.client.actor(address).ask('get'), missed);
      await assert.rejects(east.client.actor('m/A', here).ask('ask', address, 'get'), missed);
      const told = await ctl(east, 'ask', address, 'get');
      assert.equal(told.status, 1);
      assert.match(told.err, /^ctl: EUNREACHABLE: .*its state is on node west, which is down/);
    }
    assert.equal(await east.client.actor('m/Plain', plain).ask('echo', 1), 1);
    const south = await cluster.node('south', east);
    assert.equal((await nodes(south)).find((x) => x.name === 'west')?.state, 'down', 'who joins meanwhile learns of it');
    cluster.agents.splice(cluster.agents.indexOf(west), 1);
    await cluster.node('west', east);
    await until('west answers', async () => { try { return (await ref.ask('get')) === n; } catch { return false; } });
  });
});
