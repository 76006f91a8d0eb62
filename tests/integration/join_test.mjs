// SPDX-License-Identifier: Apache-2.0
//
// Two agents meet, and one of them changes while they do.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Cluster, ctlOk, nodes, until } from './cluster.mjs';
import { Authority } from './member.mjs';
import { Wire } from './wire.mjs';

const ASK = 1, EMIT = 2;

const cluster = new Cluster();
let one, server;
before(async () => {
  one = await cluster.node('one');
  await ctlOk(one, 'init');
});
after(async () => {
  server?.close();
  await cluster.end();
});

test('an actor-host that becomes ready while its agent asks to join is known to the other agent', async () => {
  const member = new Authority(join(cluster.dir, 'one')).member('late');
  server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `tcp://127.0.0.1:${server.address().port}`;
  // It is known, and goes: from then on it is dialled.
  const first = await member.enter((await nodes(one))[0].url, undefined, url);
  await until('it is up', async () => (await nodes(one)).some((n) => n.name === 'late' && n.state !== 'down'));
  const dialled = once(server, 'connection');
  first.end();
  const [socket] = await dialled;
  const wire = await Wire.accept(socket, member.agent());
  const asked = await wire.until('it asks to join', () => wire.frames.find((m) => m.kind === ASK && m.event === 'join'));
  const self = async () => (await nodes(one)).find((n) => n.name === 'one');
  const had = (await self()).host_pid;
  assert.equal(asked.args[0].node.host_pid, had);
  process.kill(had, 'SIGKILL');
  await until('another is ready', async () => { const now = await self(); return now.state === 'up' && now.host_pid !== had; });
  member.admit(wire, asked, url);
  const { host_pid } = await self();
  assert.ok(await wire.until('it says what it is now', () => wire.frames.some((m) => m.kind === EMIT && m.event === 'node' && m.args[0].node.host_pid === host_pid)));
  wire.end();
});
