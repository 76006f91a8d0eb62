// SPDX-License-Identifier: Apache-2.0
//
// A cluster whose nodes are on hosts of a bad network, one on each: node `n` on host `n`. Clients and ctl reach an agent by its unix socket,
// which no network is in the way of.
import { once } from 'node:events';

import { actors, Cluster } from '../integration/cluster.mjs';
import { Network } from './hosts.mjs';

/** Of agents and of actor-hosts: a host has its ports for itself. */
export const CONTROL_PORT = 4711, DATA_PORT = 4712;

export class NetCluster extends Cluster {
  /** Hosts with these names, and no nodes yet. */
  static async on(hosts, options) {
    const cluster = new this();
    cluster.net = await Network.start(hosts, options);
    return cluster;
  }

  /** Starts the node that is named as its host, and connects to it; it joins the one given. It always has the same ports, [agent's, actor-host's]. */
  async node(host, join, { name = host, more = [], ports = [CONTROL_PORT, DATA_PORT] } = {}) {
    const at = (port) => `tcp://${this.net.address(host)}:${port}`;
    const agent = await super.node(name, join, ['--data-listen', at(ports[1]), ...more], { listen: at(ports[0]), on: this.net.on(host) });
    return Object.assign(agent, { host, join, more, ports });
  }

  /** Kills an agent, and with it its actor-host, and starts it again as it was started before. */
  async again(agent) {
    const ended = agent.running ? once(agent.child, 'exit') : undefined;
    agent.child.kill('SIGKILL');
    await ended;
    this.agents.splice(this.agents.indexOf(agent), 1);
    this.clients.splice(this.clients.indexOf(agent.client), 1);
    await agent.client.close();
    const { host, name, join, more, ports } = agent;
    return await this.node(host, join ?? this.agents[0], { name, more, ports });
  }

  async end() {
    try {
      await super.end();
    } finally {
      await this.net.end();
    }
  }
}

/** `n` keys of `app/type` that live on the node `name`; `wake` asks something of a ref, so that its actor is there. */
export async function keysOn(agent, app, type, name, n, wake) {
  const prefix = `${app}/${type}/`;
  for (let made = 0; made < 100 * n; made += 4 * n) {
    await Promise.all(Array.from({ length: 4 * n }, (_, i) => wake(agent.client.actor(`${app}/${type}`, `${made + i}`))));
    const there = (await actors(agent, app)).filter((a) => a.node === name && a.address.startsWith(prefix));
    if (there.length >= n) return there.slice(0, n).map((a) => a.address.slice(prefix.length));
  }
  throw new Error(`fewer than ${n} keys of ${app}/${type} live on ${name}`);
}
