// SPDX-License-Identifier: Apache-2.0
//
// Durable messages through everything that goes wrong between two hosts and on them: cuts in one direction or both, loss, delays,
// reordering, duplicates and corruption, nodes, actor-hosts and agents that stand still, and that are killed.
//
// Senders on both hosts number what they send to each receiver, in their state; receivers on both hosts count in theirs, and note whatever
// is not the next number. So what is lost, doubled or out of order at any instant of any of these faults is found, and stays found: at the
// end every receiver has the numbers of every sender, each once, in order.
//
// What happens is drawn from a seed. How long a fault lasts is not a time but an event: so many frames later, or when the nodes have noticed.
import assert from 'node:assert/strict';

import { nodes, until } from '../integration/cluster.mjs';
import { keysOn } from './nodes.mjs';

const SENDERS = 3, RECEIVERS = 2; // on each host
const STEP = 10; // messages that a sender sends in a turn, to each receiver
const PATIENCE = 120_000; // ms in which all that is under way at the end arrives

export const app = {
  'isola.json': {
    name: 'storm',
    actors: {
      Sender: { module: './sender.js', isolation: 'shared', mailbox: 100_000 },
      Receiver: { module: './receiver.js', isolation: 'shared', mailbox: 100_000 },
    },
  },
  // Every tenth is an ask, whose answer is the receiver's to remember: it says the number that was asked.
  'sender.js': `
    import { actor } from 'isola';
    export default (self) => {
      self.state.next ??= {};
      self.state.answers ??= 0;
      const full = new Set(); // receivers for whom enough waits
      self.on('at', () => true);
      self.on('step', (receivers, n) => {
        for (const address of receivers) {
          const ref = actor(address);
          for (let i = 0; i < n && !full.has(address); i++) {
            const number = self.state.next[address] ?? 0;
            if (number % 10 !== 9) {
              if (!ref.emit('count', self.address, number, { durable: true })) {
                full.add(address);
                ref.once('drain', () => full.delete(address));
              }
            } else ref.ask('count', self.address, number, { durable: true, timeout: 600_000 }).then((said) => {
              if (said !== number) throw new Error('the answer to ' + number + ' is ' + said);
              self.state.answers++;
            }, (error) => { if (error.code !== 'EUNREACHABLE' && error.code !== 'EFAILED') throw error; });
            self.state.next[address] = number + 1; // when it has been taken
          }
        }
        return self.state.next;
      });
      self.on('next', () => self.state.next);
    };`,
  'receiver.js': `
    export default (self) => {
      self.state.next ??= {};
      self.state.wrong ??= [];
      self.on('at', () => true);
      self.on('count', (from, number) => {
        const expected = self.state.next[from] ?? 0;
        if (number === expected) self.state.next[from] = expected + 1;
        else if (self.state.wrong.length < 20) self.state.wrong.push(from + ': ' + number + ' instead of ' + expected);
        return number;
      });
      self.on('report', () => ({ next: self.state.next, wrong: self.state.wrong }));
    };`,
};

/** Numbers in [0, 1) by a seed (Mulberry32). */
function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An error that says that something is not there now, as it must be in a storm. */
const passing = (error) => ['EUNREACHABLE', 'ETIMEDOUT', 'EFAILED', 'EOVERLOAD', 'ECLOSED', 'ECONNREFUSED', 'ENOENT', 'EPIPE', 'ECONNRESET'].includes(error?.code);

export class Storm {
  #cluster;
  #net;
  #draw;
  #agents = {}; // host → its agent, the last one started
  #senders = {}; // host → addresses
  #receivers = []; // addresses
  #calm = false;
  done = {}; // fault → how often

  /** `agents`: { host: agent } of the two hosts. */
  constructor(cluster, agents) {
    this.#cluster = cluster;
    this.#net = cluster.net;
    this.#draw = random(cluster.net.seed);
    this.#agents = agents;
  }

  #below(n) { return Math.floor(this.#draw() * n); }
  #one(list) { return list[this.#below(list.length)]; }
  get #hosts() { return Object.keys(this.#agents); }
  #other(host) { return this.#hosts.find((h) => h !== host); }

  async begin() {
    const [first] = this.#hosts;
    await this.#cluster.deploy(this.#agents[first], 'storm', app);
    for (const host of this.#hosts) {
      const there = async (type, n) => (await keysOn(this.#agents[first], 'storm', type, this.#agents[host].name, n, (ref) => ref.ask('at'))).map((key) => `storm/${type}/${key}`);
      this.#senders[host] = await there('Sender', SENDERS);
      this.#receivers.push(...await there('Receiver', RECEIVERS));
    }
  }

  /** Asks an actor by the agent of its own host, again until it answers. */
  async #insist(host, address, event, ...args) {
    for (;;) {
      try {
        return await this.#agents[host].client.actor(address).ask(event, ...args, { timeout: 2000 });
      } catch (error) {
        if (!passing(error)) throw error;
        await new Promise((done) => { setImmediate(done); }); // an agent that is gone refuses at once
      }
    }
  }

  /** Has a sender send until it is calm; resolves with how many numbers it has given out. */
  async #drive(host, address) {
    while (!this.#calm) {
      try {
        await this.#agents[host].client.actor(address).ask('step', this.#receivers, STEP, { timeout: 2000 });
      } catch (error) {
        if (!passing(error)) throw error;
        await new Promise((done) => { setImmediate(done); });
      }
    }
  }

  /** How many have been counted by the receivers on `host` in all. */
  async #counted(host) {
    const reports = await Promise.all(this.#receivers.filter((_, i) => Math.floor(i / RECEIVERS) === this.#hosts.indexOf(host)).map((r) => this.#insist(host, r, 'report')));
    for (const { wrong } of reports) assert.deepEqual(wrong, [], 'a receiver got what was not the next');
    return reports.reduce((sum, r) => sum + Object.values(r.next).reduce((a, b) => a + b, 0), 0);
  }

  /** Resolves when `n` more frames of that direction, or any, have been counted as `what`. */
  async #frames(what, n, direction) {
    const count = async () => Object.entries(await this.#net.stats()).reduce((sum, [who, c]) => (direction === undefined || who === direction ? sum + c[what] : sum), 0);
    const base = await count();
    await until(`${n} more frames ${what}`, async () => (await count()) >= base + n);
  }

  /** Resolves when the node on `by` says that the other one is `state`. */
  #sees(by, state) {
    const name = this.#agents[this.#other(by)].name;
    return until(`${by} sees ${name} ${state}`, async () => {
      try {
        return (await nodes(this.#agents[by])).find((n) => n.name === name)?.state === state;
      } catch (error) {
        if (!passing(error)) throw error;
        return false;
      }
    });
  }

  async #pids(host) {
    const agent = this.#agents[host];
    const { host_pid } = (await nodes(agent)).find((n) => n.name === agent.name);
    return { agent: agent.pid, actors: host_pid };
  }

  // --- what goes wrong; each is over when it resolves ---

  async #cut() {
    const [a, b] = this.#hosts;
    const who = this.#one([`${a}>${b}`, `${b}>${a}`, `${a} ${b}`]);
    const noticed = this.#draw() < 0.3;
    await this.#net.cut(who);
    await this.#frames('cut', 1 + this.#below(5));
    if (noticed) await Promise.all(this.#hosts.map((host) => this.#sees(host, 'down')));
    await this.#net.heal('all');
    return noticed ? 'cut until noticed' : 'cut';
  }

  #rules() {
    const rules = {};
    for (const [rule, most] of [['delay', 50], ['jitter', 50], ['loss', 10], ['duplicate', 10], ['reorder', 20], ['corrupt', 5]])
      if (this.#draw() < 0.5) rules[rule] = Math.round(this.#draw() * most * 10) / 10;
    return rules;
  }

  async #weather() {
    await this.#net.link('all', this.#rules());
    await this.#frames('frames', 20 + this.#below(200));
    return 'weather';
  }

  async #stop() {
    const host = this.#one(this.#hosts), other = this.#other(host);
    const { agent, actors } = await this.#pids(host);
    const which = this.#one(['agent', 'actors', 'both']);
    const pids = which === 'agent' ? [agent] : which === 'actors' ? [actors] : [agent, actors];
    const noticed = which === 'both' && this.#draw() < 0.3;
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      if (noticed) await this.#sees(other, 'down');
      else await this.#frames('frames', 1 + this.#below(20), `${other}>${host}`);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    return `SIGSTOP of ${which}${noticed ? ' until noticed' : ''}`;
  }

  async #killActors() {
    const host = this.#one(this.#hosts);
    const { actors } = await this.#pids(host);
    process.kill(actors, 'SIGKILL');
    await until('it has ended', async () => (await this.#pids(host)).actors !== actors);
    return 'SIGKILL of actors';
  }

  async #killAgent() {
    const host = this.#one(this.#hosts);
    this.#agents[host] = await this.#cluster.again(this.#agents[host]);
    return 'SIGKILL of agent';
  }

  // --- all of it ---

  /** `rounds` faults, after each of which messages get through again in both directions; then calm, and the reckoning. */
  async run(rounds, progress = () => {}) {
    const driven = Promise.all(this.#hosts.flatMap((host) => this.#senders[host].map((address) => this.#drive(host, address))));
    driven.catch(() => {});
    const faults = [() => this.#cut(), () => this.#cut(), () => this.#weather(), () => this.#weather(), () => this.#stop(), () => this.#killActors(), () => this.#killAgent()];
    try {
      for (let round = 0; round < rounds; round++) {
        if (this.#draw() < 0.3) await this.#net.link('all', this.#rules()); // what follows happens in bad weather
        const what = await this.#one(faults)();
        await this.#net.link('all');
        this.done[what] = (this.done[what] ?? 0) + 1;
        await Promise.all(this.#hosts.map((host) => this.#sees(host, 'up')));
        for (const host of this.#hosts) {
          const had = await this.#counted(host);
          await until(`messages get through to ${host} after: ${what}`, async () => (await this.#counted(host)) > had, 60_000);
        }
        progress(round + 1, what);
      }
    } finally {
      this.#calm = true;
    }
    await driven;
    return this.reckon();
  }

  /** Everything that was sent has been counted, once and in order. Resolves with how many that are. */
  async reckon() {
    const sent = {};
    for (const host of this.#hosts) for (const address of this.#senders[host]) sent[address] = await this.#insist(host, address, 'next');
    let total = 0;
    for (const [i, receiver] of this.#receivers.entries()) {
      const host = this.#hosts[Math.floor(i / RECEIVERS)];
      const expected = Object.fromEntries(Object.entries(sent).map(([address, next]) => [address, next[receiver]]));
      let report;
      try {
        await until(`all that was sent to ${receiver} is there`, async () => {
          report = await this.#insist(host, receiver, 'report');
          return report.wrong.length > 0 || Object.entries(expected).every(([address, n]) => report.next[address] >= n);
        }, PATIENCE);
      } catch (error) {
        throw new Error(`${error.message}: of ${JSON.stringify(expected)} there is ${JSON.stringify(report)}`);
      }
      assert.deepEqual(report.wrong, [], `${receiver} got what was not the next`);
      assert.deepEqual(report.next, expected, receiver);
      total += Object.values(expected).reduce((a, b) => a + b, 0);
    }
    return total;
  }
}
