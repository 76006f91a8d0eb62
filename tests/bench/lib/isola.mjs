// SPDX-License-Identifier: Apache-2.0
//
// A node with the app of the benchmarks, or two of one cluster, and the loads its actors put on one another.
import { join } from 'node:path';

import { actors, Cluster, ctl, nodes, until } from '../../integration/cluster.mjs';
import { distribution, timed } from './measure.mjs';

const APP = join(import.meta.dirname, '../app');
const ASK = 300_000; // ms: loads last

const clusters = new Set();

/** At once, for a run that is stopped. */
export function endAll() {
  for (const cluster of clusters) cluster.kill();
}

/** Runs `work` with a node of its own, which ends with it, and has its data in `place`. */
export async function withNode(threads, work, place) {
  const cluster = new Cluster(place);
  clusters.add(cluster);
  try {
    const agent = await cluster.node('bench', undefined, threads === undefined ? [] : ['--threads', String(threads)]);
    const deployed = await ctl(agent, 'deploy', APP);
    if (deployed.status !== 0) throw new Error(deployed.err);
    return await work(await Node.of(agent), cluster);
  } finally {
    await cluster.end();
    clusters.delete(cluster);
  }
}

/** Runs `work` with two nodes of one cluster; the callers live on the one, what they ask on the other. */
export async function withPair(callers, servers, work) {
  const cluster = new Cluster();
  clusters.add(cluster);
  try {
    const here = await cluster.node('here');
    const there = await cluster.node('there', here);
    const deployed = await ctl(here, 'deploy', APP);
    if (deployed.status !== 0) throw new Error(deployed.err);
    const pair = await Pair.of(here, there);
    pair.callers = await keysOn(here, 'here', 'Caller', callers, (ref) => ref.ask('counts', { type: 'Shared', actors: [] }));
    pair.servers = await keysOn(here, 'there', 'Shared', servers, (ref) => ref.ask('echo', 1));
    return await work(pair);
  } finally {
    await cluster.end();
    clusters.delete(cluster);
  }
}

/** `n` keys of `type` that live on the node named `name`. */
async function keysOn(agent, name, type, n, wake) {
  const prefix = `bench/${type}/`;
  for (let made = 0, step = 4 * n; made < 64 * n; made += step) {
    await Promise.all(Array.from({ length: step }, (_, i) => wake(agent.client.actor(`bench/${type}`, `k${made + i}`))));
    const there = (await actors(agent, 'bench')).filter((a) => a.node === name && a.address.startsWith(prefix));
    if (there.length >= n) return there.slice(0, n).map((a) => a.address.slice(prefix.length));
  }
  throw new Error(`fewer than ${n} keys of ${type} live on ${name}`);
}

export class Node {
  callers; // their keys, when it matters where they live

  static async of(agent) {
    const node = new this();
    node.agent = agent;
    node.host = (await nodes(agent)).find((n) => n.name === agent.name).host_pid;
    return node;
  }

  get pids() { return [this.host, this.agent.pid]; }

  ask(address, event, ...args) {
    return this.agent.client.actor(`bench/${address}`).ask(event, ...args, { timeout: ASK });
  }

  /** How many actors live here. */
  async live() { return (await nodes(this.agent))[0].actors; }

  /** Waits until `n` actors or fewer live here; false when that takes more than `deadline` ms. */
  async downTo(n, deadline) {
    try {
      await until(`no more than ${n} actors`, async () => (await this.live()) <= n, deadline);
      return true;
    } catch {
      return false;
    }
  }

  /** `callers` actors run `load` at once, each with its number among them: what each says, and what timed() says. */
  each(load, callers, params) {
    return timed(this.pids, () => Promise.all(
      Array.from({ length: callers }, (_, caller) => this.ask(`Caller/${this.callers?.[caller] ?? `c${caller}`}`, load, { ...params, caller, callers }))));
  }

  /** Messages: { n, rate, p50us, p99us, maxus, cpuus, others }. */
  async #messages(load, callers, params) {
    const { value: parts, cpu, others } = await this.each(load, callers, { event: 'echo', args: [1], ...params });
    const n = parts.reduce((sum, p) => sum + p.n, 0);
    const span = Math.max(...parts.map((p) => p.end)) - Math.min(...parts.map((p) => p.start));
    return { n, rate: (n * 1000) / span, ...distribution(parts.flatMap((p) => p.delays)), cpuus: (cpu * 1000) / n, others };
  }

  /** Asks of `callers` over `actors` for `ms` milliseconds. */
  asks(callers, params) { return this.#messages('asks', callers, params); }
  /** A first ask to each of the actors numbered `from` to `to`. */
  births(callers, params) { return this.#messages('births', callers, params); }

  /** Emits for `ms` milliseconds, and until all are counted by their receivers. */
  async emits(senders, params, load = 'emits') {
    await this.each('counts', senders, params);
    const { value: [sent, counted], ms, cpu, others } = await timed(this.pids, async () => [
      (await this.each(load, senders, params)).value, (await this.each('counts', senders, params)).value]);
    const n = sent.reduce((sum, p) => sum + p.n, 0), got = counted.reduce((sum, p) => sum + p.n, 0);
    if (got !== n) throw new Error(`${n} messages were emitted and ${got} arrived`);
    return { n, rate: (n * 1000) / ms, ...distribution(counted.flatMap((p) => p.delays)), cpuus: (cpu * 1000) / n, others };
  }
}

/** Two nodes: the loads run on the one and reach for actors on the other. CPU times are of both. */
class Pair extends Node {
  static async of(here, there) {
    const pair = await super.of(here);
    pair.there = await Node.of(there);
    return pair;
  }

  get pids() { return [...super.pids, ...this.there.pids]; }
}
