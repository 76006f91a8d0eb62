// SPDX-License-Identifier: Apache-2.0
//
// Two hundred nodes that have a link with one agent and nothing to say. They are simulated (tests/integration/member.mjs): each has an identity
// and a certificate of its own, has joined, and answers pings.
import { withNode } from '../lib/isola.mjs';
import { resident, settledMemory } from '../lib/measure.mjs';
import { Member } from '../../integration/member.mjs';
import { nodes, until } from '../../integration/cluster.mjs';

const PEERS = 200;

export const links = {
  name: 'links',
  run: (ctx) => withNode(undefined, async ({ agent }, cluster) => {
    const { report } = ctx;
    const members = [];
    for (let i = 0; i < PEERS; i++) members.push(await Member.join(await cluster.token(agent), `peer-${i}`));
    const before = await settledMemory(agent.pid, 10_000);
    const connections = [];
    try {
      for (const member of members) connections.push(await member.enter());
      await until('all are there', async () => (await nodes(agent)).filter((n) => n.state !== 'down').length === PEERS + 1);
      const peak = resident(agent.pid);
      const bytes = ((await settledMemory(agent.pid, 10_000)) - before) / PEERS;
      const lost = connections.filter((c) => c.ended).length;
      report.line({ figure: 'links', peer: 'isola', n: PEERS, lost, bytes: Math.round(bytes), bytesAtFirst: Math.round((peak - before) / PEERS) });
      report.bar({ name: 'mesh: memory of an idle link of the agent, 200 peers', atMost: 65_536, unit: 'bytes', value: lost === 0 ? bytes : undefined, why: `${lost} of the links have ended` });
    } finally {
      for (const connection of connections) connection.end();
    }
  }),
};
