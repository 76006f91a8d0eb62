// SPDX-License-Identifier: Apache-2.0
//
// Deploys while an agent starts: they wait until it is ready, or are refused when it is stopped before that.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { connect } from '../../actors/lib/client/index.js';
import { bin, Cluster, ctl, until } from './cluster.mjs';

describe('an agent that is still starting', () => {
  const cluster = new Cluster();
  const gate = join(cluster.dir, 'gate'), host = join(cluster.dir, 'actor-host');
  const app = cluster.app('shop', { 'isola.json': { name: 'shop', actors: { Counter: { module: './counter.js' } }, rollout: { window: '0ms' } }, 'counter.js': "export default (self) => self.on('up', () => 1);" });
  const children = [];
  let opened;
  before(() => {
    execFileSync('mkfifo', [gate]);
    opened = openSync(gate, 'r+');
    // The agent is not ready before its actor-host is, and that one begins when it may.
    writeFileSync(host, `#!/bin/sh\nread -r go < ${gate}\nexec ${join(bin, 'actor-host')} "$@"\n`, { mode: 0o755 });
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL'); // those that have ended are none any more
    closeSync(opened);
    await cluster.end();
  });
  const letBegin = () => writeSync(opened, 'go\n');

  const begin = async (name) => {
    const data = join(cluster.dir, name);
    const child = spawn(join(bin, 'node-agent'), ['--name', name, '--data', data], { env: { ...process.env, ISOLA_ACTOR_HOST: host }, stdio: ['ignore', 'ignore', 'inherit'] });
    children.push(child);
    const agent = { socket: join(data, 'agent.sock'), child, over: once(child, 'exit') };
    agent.client = await until('it listens', () => connect({ socket: agent.socket }).catch(() => undefined));
    return agent;
  };
  const end = async (agent) => {
    agent.child.kill('SIGTERM');
    const over = await agent.over;
    await agent.client.close();
    return over;
  };
  const deploying = async (agent) => {
    const deploy = ctl(agent, '--json', 'deploy', app);
    await until('the deploy waits', async () => (await agent.client.call('deploying', { app: 'shop' }))?.stage === 'start');
    return { deploy };
  };

  test('takes a deploy when it is ready', async () => {
    const agent = await begin('east');
    try {
      const { deploy } = await deploying(agent);
      letBegin();
      const { status, out, err } = await deploy;
      assert.equal(status, 0, err);
      assert.equal(JSON.parse(out).app, 'shop');
      assert.equal(await agent.client.actor('shop/Counter/a').ask('up'), 1);
    } finally {
      assert.deepEqual(await end(agent), [0, null]);
    }
  });
  test('refuses it when it is stopped before', async () => {
    const agent = await begin('west');
    const { deploy } = await deploying(agent);
    const ended = end(agent);
    const { status, out } = await deploy;
    letBegin(); // and see that nobody wants it
    assert.deepEqual(await ended, [0, null]);
    assert.equal(status, 1);
    assert.match(out, /"EUNREACHABLE".*node west is stopping/);
  });
});
