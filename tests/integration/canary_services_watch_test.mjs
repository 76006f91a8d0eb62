// SPDX-License-Identifier: Apache-2.0
//
// Services in a canary that is watched, and on several nodes: it is dropped when its instances do worse than those beside them, and all nodes come to the
// same instances.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Cluster, ctl, ctlOk, freePort, killNode, until } from './cluster.mjs';
import { ask } from './load.mjs';
import { Site, app, json, named, rowsOf } from './site.mjs';

describe('a canary of services that is watched', () => {
  let site, one;
  before(async () => { site = await new Site().open({ instances: 3 }); });
  after(() => site.cluster.end());
  const state = async () => {
    const { canary, deploys } = await json(site.agent, 'releases', 'api');
    return { canary, last: deploys[0] };
  };
  const dropped = () => until('it is dropped', async () => (await state()).canary === undefined && state());
  const waiting = async (version, more) => {
    const r = await ctl(site.agent, 'deploy', '--wait', '--timeout', '30000', '--canary', '30%', site.dir(version, { rollout: { window: '1h' }, ...more }));
    assert.equal(r.status, 1, r.out);
    return r.err;
  };

  it('is dropped when an instance crashes, with why', async () => {
    one = (await site.deploy(1)).release;
    const pids = (await site.runs(one, one, one)).map((r) => r.pid);
    const err = await waiting(2, { more: "setTimeout(() => { throw new Error('no luck'); }, 100);" });
    assert.match(err, new RegExp(`^ctl: canary \\w+ of api has failed, and is dropped: it is all of release ${one} again: on node east, api/Api/2: it exited with status 1: Error: no luck`));
    const { last } = await dropped();
    assert.deepEqual([last.release, last.by], [one, 'isola@east']);
    assert.match(last.message, /^by itself: on node east, api\/Api\/2: it exited with status 1: Error: no luck/);
    const rows = await site.runs(one, one, one);
    assert.deepEqual(rows.map((r) => r.pid).slice(0, 2), pids.slice(0, 2));
    assert.match(await ctlOk(site.agent, 'logs', 'api'), /api\/Api\/2 +it exited with status 1: Error: no luck/);
  });

  it('is dropped when one does not begin, or is not well', async () => {
    const bad = await waiting(3, { more: "throw new Error('at once');" });
    assert.match(bad, /: on node east, api\/Api\/2: it exited with status 1: Error: at once/);
    await dropped();
    const rows = await site.runs(one, one, one);
    assert.match(rows[2].failure ?? '', /^canary \w+ did not begin: it exited with status 1: Error: at once[^]*; release \w+ goes on$/);
    const health = { health: { path: '/healthz', every: '100ms', timeout: '1s', failures: 2 } };
    const ill = await waiting(4, { service: health, more: "const began = Date.now(); require('node:http').Server.prototype.emit = ((emit) => function (event, request, response) { if (event === 'request' && request.url === '/healthz' && Date.now() > began + 300) { response.statusCode = 500; return response.end(); } return emit.apply(this, arguments); })(require('node:http').Server.prototype.emit);" });
    assert.match(ill, /: on node east, api\/Api\/2: it was not well 2 times in a row \("health"\): GET \/healthz: /);
    await dropped();
    await site.runs(one, one, one);
  });

  it('stays when those beside it crash as often', async () => {
    const crash = "process.on('SIGUSR2', () => process.exit(3));", restart = { restart: { max: 1000, within: '1s', backoff: '1ms', maxBackoff: '1ms' } };
    one = (await site.deploy(5, { more: crash, service: restart })).release;
    const rows = await site.runs(one, one, one);
    const { release: six } = await site.deploy(6, { more: crash, service: restart, rollout: { window: '1h' } }, '--canary', '30%');
    await site.runs(one, one, six);
    const end = async (n) => {
      const { pid } = (await site.rows()).find((r) => r.address === `api/Api/${n}`);
      process.kill(pid, 'SIGUSR2');
      await until(`instance ${n} is there again`, async () => (await site.rows()).some((r) => r.address === `api/Api/${n}` && r.pid !== pid && r.state === 'running'));
    };
    for (const n of [0, 1, 0, 1]) await end(n);
    await end(2); // twice each of the others, once this one
    assert.equal((await state()).canary, six);
    for (let i = 0; i < 4; i++) await end(2).catch(() => {}); // it is more than twice as often now
    const { last } = await dropped();
    assert.match(last.message, /^by itself: on node east, api\/Api\/2: it exited with status 3 \(\d times with 1 instance, of the current release meanwhile 4 times with 2\)/);
    assert.equal(rows.length, 3);
    await site.runs(one, one, one);
  });

  it('proves itself when it does not, and says for how many instances', async () => {
    const text = await ctlOk(site.agent, 'deploy', '--wait', '--canary', '30%', site.dir(7, { rollout: { window: '200ms' } }));
    assert.match(text, /\n {2}stays {2}1 instance ready, seen for /);
    assert.doesNotMatch(text, /none of its actors was asked anything/);
    await ctlOk(site.agent, 'rollback', 'api');
  });
});

describe('a canary of services on three nodes', () => {
  const cluster = new Cluster();
  let agents, port, one, two;
  const dir = (version) => cluster.app('api', app(version, { port, instances: 2 }));
  before(async () => {
    port = await freePort();
    const east = await cluster.node('east');
    agents = [east, await cluster.node('west', east), await cluster.node('north', east)];
  });
  after(() => cluster.end());
  const chosen = async (agent) => named((await json(agent, 'releases', 'api')).instances);
  const tried = (release, list) => until(`${list} run it`, async () => {
    const rows = await rowsOf(agents[0]);
    return rows.every((r) => r.state === 'running') && named(rows.filter((r) => r.release === release)).join() === list.join();
  });

  it('has the same instances whoever is asked, spread over the nodes', async () => {
    one = (await json(agents[0], 'deploy', dir(1))).release;
    await until('they run', async () => (await rowsOf(agents[0])).filter((r) => r.state === 'running').length === 6);
    const done = await json(agents[1], 'deploy', dir(2), '--canary', '50%');
    two = done.release;
    const list = named(done.instances);
    assert.deepEqual(list, ['Api/1@east', 'Api/1@north', 'Api/1@west']);
    for (const agent of agents) assert.deepEqual(await chosen(agent), list);
    await tried(two, list);
    const few = named((await json(agents[2], 'deploy', dir(2), '--canary', '20%')).instances);
    assert.equal(few.length, 1);
    assert.ok(list.includes(few[0]));
    for (const agent of agents) assert.deepEqual(await chosen(agent), few);
    await tried(two, few);
  });

  it('stays where it is when nodes come and go, until it is deployed again', async () => {
    const list = await chosen(agents[0]), on = list[0].split('@')[1];
    const lost = agents.find((a) => a.name === on), left = agents.filter((a) => a !== lost);
    const before = (await rowsOf(left[0])).filter((r) => r.node !== on).map((r) => r.pid);
    await killNode(cluster, lost);
    assert.deepEqual(await chosen(left[0]), list);
    agents = [left[0], left[1], await cluster.node(on, left[0])];
    const south = await cluster.node('south', left[0]);
    await tried(two, list);
    assert.deepEqual((await rowsOf(left[0])).filter((r) => left.some((a) => a.name === r.node)).map((r) => r.pid).sort(), before.sort());
    assert.deepEqual(await chosen(south), list);
    const again = await json(south, 'deploy', dir(2), '--canary', '50%');
    assert.equal(again.instances.length, 4);
    await tried(two, named(again.instances));
    assert.equal((await json(agents[1], 'deploy', dir(2), '--canary', '50%')).unchanged, true);
  });

  it('is promoted and gone back from on all', async () => {
    const all = (release) => until(`all run ${release}`, async () => (await rowsOf(agents[0])).filter((r) => r.state === 'running' && r.release === release).length === 8);
    await ctlOk(agents[1], 'promote', 'api');
    await all(two);
    await ctlOk(agents[2], 'rollback', 'api');
    await all(one);
    assert.equal((await ask({ port, path: '/' })).status, 200);
  });
});
