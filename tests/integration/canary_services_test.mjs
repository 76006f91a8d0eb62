// SPDX-License-Identifier: Apache-2.0
//
// Services in a canary: some instances run a release that is tried, the same ones by the same rule on all nodes, and take over from those before with no
// request lost: when it comes, when it is another, when it is promoted and when it is dropped.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { ctlOk, killNode, until } from './cluster.mjs';
import { Site, app, json, refused } from './site.mjs';

describe('a canary of four instances', () => {
  let site, one, two, three, pids;
  before(async () => { site = await new Site().open({ instances: 4 }); });
  after(() => site.cluster.end());
  const same = (rows, numbers) => { for (const n of numbers) assert.equal(rows[n].pid, pids[n], `instance ${n} is as it was`); };

  it('has the last of them, and the others go on as they were', async () => {
    one = (await site.deploy(1)).release;
    pids = (await site.runs(one, one, one, one)).map((r) => r.pid);
    site.load();
    await site.under.more();
    const done = await site.deploy(2, {}, '--canary', '25%');
    two = done.release;
    assert.deepEqual(done.instances, [{ node: 'east', address: 'api/Api/3' }]);
    const rows = await site.runs(one, one, one, two);
    same(rows, [0, 1, 2]);
    assert.deepEqual(rows.map((r) => r.canary), [undefined, undefined, undefined, true]);
    await site.answers(2, 3);
    await site.answers(1, 0, 1, 2);
    assert.match(await ctlOk(site.agent, 'logs', 'api'), new RegExp(`api/Api/3 +it runs release ${two} now, a canary, in place of ${one}`));
  });

  it('is shown', async () => {
    const { canary, share, instances } = await json(site.agent, 'releases', 'api');
    assert.deepEqual([canary, share, instances], [two, 250_000, [{ node: 'east', address: 'api/Api/3' }]]);
    assert.match(await ctlOk(site.agent, 'releases', 'api'), /\nthe canary has api\/Api\/3 on east\n/);
    assert.match(await ctlOk(site.agent, 'ps', 'api'), new RegExp(`api/Api/0 [^\n]* ${one}\n[^]*api/Api/3 [^\n]* ${two} \\(canary\\)\n`));
    assert.match(await ctlOk(site.agent, 'deploy', site.dir(2), '--canary', '25%'), /is unchanged/);
  });

  it('has more with a larger share, and those it has stay', async () => {
    pids = (await site.rows()).map((r) => r.pid);
    assert.match(await ctlOk(site.agent, 'deploy', site.dir(2), '--canary', '50%'), /\n {2}canary api\/Api\/2, api\/Api\/3 on east\n/);
    same(await site.runs(one, one, two, two), [0, 1, 3]);
  });

  it('is replaced by another, which gives back what it does not have', async () => {
    pids = (await site.rows()).map((r) => r.pid);
    three = (await site.deploy(3, {}, '--canary', '25%')).release;
    same(await site.runs(one, one, one, three), [0, 1]);
    await site.answers(3, 3);
  });

  it('is there again when the agent was killed in the middle', async () => {
    await site.under.end();
    await site.deploy(3, {}, '--canary', '50%');
    await site.runs(one, one, three, three);
    await json(site.agent, 'deploy', site.dir(2), '--canary', '75%');
    await killNode(site.cluster, site.agent); // while they are being replaced
    site.agent = await site.cluster.node('east');
    await site.runs(one, two, two, two);
    await site.deploy(3, {}, '--canary', '50%');
    await site.runs(one, one, three, three);
    site.load();
    await site.under.more();
  });

  it('when it is promoted the others follow, and goes back as any release', async () => {
    pids = (await site.rows()).map((r) => r.pid);
    await ctlOk(site.agent, 'promote', 'api', '--wait');
    same(await site.runs(three, three, three, three), [2, 3]);
    await site.answers(3, 0, 1, 2, 3);
    await ctlOk(site.agent, 'rollback', 'api', '--wait');
    await site.runs(one, one, one, one);
  });

  it('when it is dropped its instances go back, and no request was lost in all this', async (t) => {
    pids = (await site.rows()).map((r) => r.pid);
    await site.deploy(2, {}, '--canary', '50%');
    await site.runs(one, one, two, two);
    await site.answers(2, 2, 3);
    await ctlOk(site.agent, 'rollback', 'api');
    same(await site.runs(one, one, one, one), [0, 1]);
    await site.answers(1, 0, 1, 2, 3);
    t.diagnostic(await site.under.end());
  });

  it('has the messages for the instances that run it', async () => {
    const more = (version) => ({ more: `require('isola').service().on('version', () => ${version});` });
    const asked = (n) => site.agent.client.actor('api/Api', String(n)).ask('version', { timeout: 20_000 });
    const five = (await site.deploy(5, more(5))).release;
    await site.runs(five, five, five, five);
    let on = true;
    const asking = (async () => { while (on) assert.ok([5, 6].includes(await asked(3))); })();
    const six = (await site.deploy(6, more(6), '--canary', '25%')).release;
    await site.runs(five, five, five, six);
    assert.deepEqual(await Promise.all([0, 1, 2, 3].map(asked)), [5, 5, 5, 6]);
    await ctlOk(site.agent, 'rollback', 'api');
    await site.runs(five, five, five, five);
    on = false;
    await asking;
    assert.equal(await asked(3), 5);
    await site.deploy(1);
    await site.runs(one, one, one, one);
  });

  it('stays where the current release does not begin any more when it is dropped, until that is restarted', async () => {
    const needed = join(site.cluster.dir, 'needed');
    writeFileSync(needed, '');
    const seven = (await site.deploy(7, { more: `require('node:fs').readFileSync(${JSON.stringify(needed)});` }, '--wait')).release;
    await site.runs(seven, seven, seven, seven);
    const eight = (await site.deploy(8, {}, '--canary', '50%')).release;
    await site.runs(seven, seven, eight, eight);
    rmSync(needed);
    await ctlOk(site.agent, 'rollback', 'api');
    const kept = await until('both were tried', async () => {
      const rows = await site.runs(seven, seven, eight, eight);
      return rows.slice(2).every((r) => r.failure !== undefined) && rows;
    });
    assert.match(kept[3].failure, new RegExp(`^release ${seven} did not begin: it exited with status 1: Error: ENOENT[^]*; release ${eight} goes on here$`));
    writeFileSync(needed, '');
    await ctlOk(site.agent, 'restart', 'api/Api');
    assert.ok((await site.runs(seven, seven, seven, seven)).every((r) => r.failure === undefined));
    await site.deploy(1);
    await site.runs(one, one, one, one);
  });

  it('has all instances of a service that it alone has, and none of one that it is not', async () => {
    const more = { Web: { module: './web.js', kind: 'service', instances: 2 } };
    const dir = site.dir(4, { types: more });
    site.cluster.app('api', { ...app(4, { ...site.options, types: more }), 'web.js': "process.send('ready'); setInterval(() => {}, 1000);" });
    const four = await json(site.agent, 'deploy', dir, '--canary', '25%');
    assert.deepEqual(four.instances.map((i) => i.address), ['api/Api/3', 'api/Web/0', 'api/Web/1']);
    await until('it runs', async () => (await site.rows()).filter((r) => r.release === four.release && r.state === 'running').length === 3);
    await ctlOk(site.agent, 'rollback', 'api');
    await site.runs(one, one, one, one);
  });

  it('begins anew when a secret is set that it alone uses', async () => {
    await ctlOk(site.agent, 'secret', 'set', 'api', 'KEY', 'first');
    const four = await site.deploy(4, { service: { secrets: ['KEY'] } }, '--canary', '25%');
    const had = await site.runs(one, one, one, four.release);
    assert.match(await ctlOk(site.agent, 'secret', 'set', 'api', 'KEY', 'second'), /: Api; 'ctl ps' shows it\n$/);
    await until('its instance is another', async () => (await site.runs(one, one, one, four.release))[3].pid !== had[3].pid);
    await ctlOk(site.agent, 'rollback', 'api');
    await site.runs(one, one, one, one);
  });

  it('is refused where a service of the current release would be an actor', async () => {
    const error = await refused(site.agent, 'deploy', site.cluster.app('api', { ...app(5, { kind: 'actor' }), 'server.js': 'export default () => {};' }), '--canary', '25%');
    assert.equal(error.code, 'EINVAL');
    assert.match(error.message, new RegExp(`api/Api is an actor in this release and a service in the current one, ${one}: both cannot be there at a time\\. Deploy it without --canary`));
  });
});

describe('a canary of the only instance', () => {
  let site, one, two, pid;
  before(async () => { site = await new Site().open({ instances: 1 }); });
  after(() => site.cluster.end());

  it('is one beside it, and goes without a trace', async (t) => {
    one = (await site.deploy(1)).release;
    [{ pid }] = await site.runs(one);
    site.load();
    await site.under.more();
    // One that is slow to take connections: when it is to end, some always wait.
    const done = await site.deploy(2, { more: 'setInterval(() => { for (const end = Date.now() + 60; Date.now() < end;); }, 90);' }, '--canary', '10%');
    two = done.release;
    assert.deepEqual(done.instances, [{ node: 'east', address: 'api/Api/1' }]);
    assert.equal((await site.runs(one, two))[0].pid, pid);
    await site.answers(2, 1);
    await site.answers(1, 0);
    await ctlOk(site.agent, 'rollback', 'api');
    assert.equal((await site.runs(one))[0].pid, pid);
    t.diagnostic(await site.under.end());
  });

  it('when it is promoted takes its place', async (t) => {
    site.load();
    two = (await site.deploy(3, {}, '--canary', '10%')).release;
    await site.runs(one, two);
    await ctlOk(site.agent, 'promote', 'api', '--wait');
    await site.runs(two);
    await site.answers(3, 0);
    t.diagnostic(await site.under.end());
  });
});
