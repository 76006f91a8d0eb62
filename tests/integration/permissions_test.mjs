// SPDX-License-Identifier: Apache-2.0
//
// What an app may do beside its own actors: send to other apps, see the environment. Nothing unless its manifest says so, refused
// with the sentence that would permit it, and asked again where a message comes from another node.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, nodes, until } from './cluster.mjs';
import { Authority } from './member.mjs';
import { dataPort, Wire } from './wire.mjs';

process.env.ISOLA_TEST_SEEN = 'a=b\nc';
process.env.ISOLA_TEST_HIDDEN = 'secret';

const script = `
  import { actor } from 'isola';
  const atLoad = process.env.ISOLA_TEST_SEEN;
  export default (self) => {
    self.state.heard = 0;
    self.on('echo', (v) => v);
    self.on('heard', () => self.state.heard);
    self.on('tell', (v) => { self.emit('news', v); });
    self.on('down', () => {});
    self.on('ask', (address, ...args) => actor(address).ask('echo', ...args));
    self.on('emit', (address) => actor(address).emit('tell', 1));
    self.on('listen', (address) => { actor(address).on('news', () => { self.state.heard++; }); });
    self.on('monitor', (address) => { self.monitor(address); });
    self.on('spawn', (address) => { const [app, type, key] = address.split('/'); self.spawn(app + '/' + type, key); });
    self.on('env', () => ({ ...process.env, atLoad }));
    self.on('setEnv', () => { process.env.ISOLA_TEST_NEW = 'x'; return process.env.ISOLA_TEST_NEW; });
    self.on('late', () => { try { require('fs'); } catch (e) { return e.message; } });
  };`;
const app = (name, permissions) => ({
  'isola.json': { name, ...(permissions && { permissions }), actors: { I: { module: './a.js' }, S: { module: './a.js', isolation: 'shared' } } },
  'a.js': script,
});

const cluster = new Cluster();
let one, two;
before(async () => {
  one = await cluster.node('one');
  two = await cluster.node('two', one);
  await cluster.deploy(one, 'none', app('none'));
  await cluster.deploy(one, 'some', app('some', { apps: ['other', 'target'], env: ['ISOLA_TEST_SEEN', 'ISOLA_TEST_UNSET'] }));
  await cluster.deploy(one, 'all', app('all', { apps: ['*'] }));
  await cluster.deploy(one, 'target', app('target'));
});
after(() => cluster.end());

const refusal = (from) => ({ code: 'EPERM', message: `app "${from}" may not send to app "target"; its manifest permits it with "permissions": { "apps": ["target"] }` });

describe('other apps', () => {
  for (const type of ['I', 'S']) {
    test(`cannot be sent to without permission, in any way (${type})`, async () => {
      const ref = one.client.actor(`none/${type}/x`);
      for (const [how, to] of ['ask', 'emit', 'listen', 'monitor', 'spawn'].map((h) => [h, `target/${type}/refused`])) {
        await assert.rejects(ref.ask(how, to), (e) => {
          assert.equal(e.code, 'EPERM', `${how}: ${e.message}`);
          assert.equal(e.message, refusal('none').message, how);
          return true;
        });
      }
      await assert.rejects(ref.ask('ask', 'nowhere/I/x'), { code: 'EPERM' });
      assert.ok(!(await actors(one)).some((a) => a.address === `target/${type}/refused`), 'nothing was started');
      assert.equal(await ref.ask('ask', `none/${type}/y`, 'own'), 'own');
    });
    test(`can be sent to with permission, whichever node they are on (${type})`, async () => {
      for (const from of ['some', 'all']) {
        const ref = one.client.actor(`${from}/${type}/x`);
        for (let i = 0; i < 8; i++) assert.equal(await ref.ask('ask', `target/${type}/k${i}`, i), i);
        await ref.ask('listen', `target/${type}/k0`);
        await ref.ask('monitor', `target/${type}/k1`);
        await ref.ask('spawn', `target/${type}/child-${from}`);
        await until('an event of it', async () => {
          await ref.ask('emit', `target/${type}/k0`);
          return (await ref.ask('heard')) > 0;
        });
      }
    });
  }
  test('a release that no longer permits it is refused at once', async () => {
    const ref = one.client.actor('some/I/later');
    assert.equal(await ref.ask('ask', 'target/I/x', 1), 1);
    await cluster.deploy(one, 'some', app('some', { apps: ['other'], env: ['ISOLA_TEST_SEEN', 'ISOLA_TEST_UNSET'] }));
    await assert.rejects(ref.ask('ask', 'target/I/x', 1), refusal('some'));
  });
  test('what another node claims an actor has sent is checked here again, and is a dead letter', async () => {
    const three = new Authority(join(cluster.dir, 'one')).member('three').host();
    for (const node of [one, two]) {
      const { host_pid: pid } = (await nodes(node)).find((n) => n.name === node.name);
      const wire = await Wire.open({ port: dataPort(pid), as: three });
      const mine = (await until('an actor here', async () => {
        for (let i = 0; i < 8; i++) await one.client.actor('target/I', `k${i}`).ask('echo', 1);
        return (await actors(one, 'target')).find((a) => a.node === node.name && /^target\/I\/k/.test(a.address));
      })).address;
      const asked = async (id, src, kind = 1) => {
        wire.send({ kind, id, src, dst: mine, event: 'echo', args: [7], timeout: 30_000 });
        const answer = await wire.answer(id);
        return answer.kind === 3 ? answer.args[0] : `${answer.args[0].code}: ${answer.args[0].message}`;
      };
      assert.equal(await asked(1, 'all/I/x'), 7);
      assert.equal(await asked(2, 'target/S/x'), 7);
      assert.equal(await asked(3, 'none/I/x'), `EPERM: ${refusal('none').message}`);
      assert.equal(await asked(4, 'unknown/I/x'), 'EPERM: app "unknown" is not known here, so it may not send to app "target"');
      assert.match(await asked(5, 'no address'), /^EINVAL: /);
      assert.match(await asked(6, 'none/I/x', 8), /^EPERM: /, 'a stop');
      assert.match(await asked(7, 'none/I/x', 9), /^EPERM: /, 'a start');
      wire.send({ kind: 2, src: 'none/I/x', dst: mine, event: 'tell', args: [1] });
      const letter = await until('the dead letter', async () => JSON.parse((await ctl(node, '--json', 'dead-letters', mine)).out).letters.find((l) => l.kind === 'emit' && l.node === node.name));
      assert.equal(letter.code, 'EPERM');
      assert.equal(letter.from, 'none/I/x');
      assert.equal(letter.reason, refusal('none').message);
      assert.match((await ctl(node, 'dead-letters', mine)).out, /EPERM app "none" may not send to app "target"/);
      wire.end();
    }
  });
});

describe('the environment', () => {
  for (const type of ['I', 'S']) {
    test(`has what is permitted alone, also for those who start from a snapshot (${type})`, async () => {
      for (let i = 0; i < 2; i++) {
        const keys = Array.from({ length: 6 }, (_, k) => `env${i}-${k}`);
        for (const k of keys) {
          assert.deepEqual(await one.client.actor(`none/${type}`, k).ask('env'), { atLoad: undefined });
          assert.deepEqual(await one.client.actor(`some/${type}`, k).ask('env'), { ISOLA_TEST_SEEN: 'a=b\nc', atLoad: 'a=b\nc' });
        }
        if (type === 'I') await until('they start from snapshots', async () => {
          await one.client.actor('some/I', 'again').ask('echo', 1);
          await ctl(one, 'stop', 'some/I/again');
          await one.client.actor('some/I', 'again').ask('echo', 1);
          return (await actors(one, 'some')).find((a) => a.address === 'some/I/again').start === 'snapshot';
        });
      }
    });
  }
  test('what a script changes in it is its own', async () => {
    assert.equal(await one.client.actor('some/I/changes').ask('setEnv'), 'x');
    assert.equal((await one.client.actor('some/I/other').ask('env')).ISOLA_TEST_NEW, undefined);
    assert.equal(process.env.ISOLA_TEST_NEW, undefined);
  });
});

describe('files', () => {
  test('isolates have none, and a manifest that asks for them is told', async () => {
    const denied = await ctl(one, 'deploy', cluster.app('files', app('files', { fs: ['/'] })));
    assert.equal(denied.status, 1);
    assert.match(denied.err, /permissions\.fs: isolates have no file system to permit/);
    const imports = await ctl(one, 'deploy', cluster.app('files', { ...app('files'), 'a.js': `import fs from 'node:fs';\n${script}` }));
    assert.equal(imports.status, 1);
    assert.match(imports.err, /isolates do not have Node.js' module "fs"/);
    assert.match(await one.client.actor('none/I/late').ask('late'), /isolates do not have Node.js' module "fs"/);
  });
});
