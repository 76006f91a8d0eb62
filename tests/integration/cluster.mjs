// SPDX-License-Identifier: Apache-2.0
//
// Real agents with real actor-hosts for tests: a scratch directory, apps written from strings, conditions to wait for.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { connect } from '../../actors/lib/client/index.js';
import { Agent } from '../../examples/airports/agents.mjs';

const root = resolve(import.meta.dirname, '../..');
export const bin = join(process.env.ISOLA_BUILD || join(root, 'build'), 'bin');
/** A sanitizer keeps what is freed, and has memory of its own: how much there is says nothing then. */
export const sanitized = Boolean(process.env.ISOLA_SANITIZE);
const DEADLINE = 30_000; // ms for any condition
export const PROGRAM = 120_000; // ms for any program that is to end by itself

const LOOK = 20; // ms
let there = 0, looked; // ms
/** A clock of this process' own: it stands still while the process does, on a machine that is busy or as it was stopped. Of a pause it counts 100 ms. */
export const clock = {
  now() {
    if (looked === undefined) setInterval(clock.now, LOOK).unref();
    const now = performance.now();
    there += Math.min(now - (looked ?? now), 5 * LOOK);
    looked = now;
    return there;
  },
};

/** Resolves with the first value of `probe` that is not falsy; asks again only after something has happened: the probe itself takes its time. The deadline is by `clock`. */
export async function until(what, probe, deadline = DEADLINE) {
  const end = clock.now() + deadline;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (clock.now() > end) throw new Error(`not within ${deadline / 1000} s: ${what}`);
    await new Promise((done) => setImmediate(done));
  }
}

/** The CPU time a process has had, all its threads together, ms: what goes on in it takes so long, however busy the machine. */
export function cpuOf(pid) {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1).split(' ').slice(11, 13);
  return (+user + +system) * 10; // in hundredths of a second
}

const TAIL = 100; // lines
const lastWords = []; // of clusters that have ended: what each agent has said last
/** The test has failed: why may stand there. */
process.on('exit', () => {
  if (process.exitCode && process.env.NODE_TEST_CONTEXT !== undefined) for (const text of lastWords) console.log(text);
});

export class Cluster {
  agents = [];
  clients = [];

  #founder; // the node where the cluster was made

  /** Everything of its nodes lies in a new directory in `place`. */
  constructor(place = tmpdir()) {
    this.dir = mkdtempSync(join(place, 'isola-test-'));
  }

  /** A token to join the cluster that `agent` is in; makes one of it when it is in none. */
  async token(agent) {
    if (this.#founder === undefined) {
      await ctlOk(agent, 'init');
      this.#founder = agent.name;
    }
    const founder = this.agents.findLast((a) => a.name === this.#founder && a.running);
    return (await ctlOk(founder, 'token')).trim();
  }

  /**
   * Starts a node and connects to it. It joins the cluster of the agent given, unless it was in it before: then it knows that by itself. `more` are
   * further arguments of node-agent, `where` as for Agent.start.
   */
  async node(name, other, more, where) {
    const known = existsSync(join(this.dir, name, 'cluster', 'member'));
    const token = other === undefined || known ? undefined : await this.token(other);
    const agent = await Agent.start(bin, name, this.dir, token, this.agents, more, where);
    agent.client = await connect({ socket: agent.socket });
    this.clients.push(agent.client);
    return agent;
  }

  /** Writes an app from { file: text } and returns its directory. */
  app(name, files) {
    const dir = join(this.dir, 'apps', name);
    rmSync(dir, { recursive: true, force: true });
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, file)), { recursive: true });
      writeFileSync(join(dir, file), typeof text === 'string' ? text : JSON.stringify(text));
    }
    return dir;
  }

  async deploy(agent, name, files) {
    const r = await ctl(agent, '--json', 'deploy', this.app(name, files));
    if (r.status !== 0) throw new Error(`deploy failed: ${r.out}${r.err}`);
    return JSON.parse(r.out);
  }

  /** Two nodes with an app: east, west, and what the deploy said. */
  async pair(name, files) {
    const east = await this.node('east'), west = await this.node('west', east);
    return [east, west, await this.deploy(east, name, files)];
  }

  /** Ends all at once, without waiting: their actor-hosts go with them. */
  kill() {
    for (const agent of this.agents) if (agent.running) agent.child.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  async end() {
    for (const client of this.clients) await client.close();
    const problems = (await Promise.all([...this.agents].reverse().map((a) => a.stop()))).filter((p) => p !== undefined);
    lastWords.push(...this.agents.map((a) => `--- ${a.name}\n${a.log(TAIL)}`));
    rmSync(this.dir, { recursive: true, force: true });
    if (problems.length > 0) throw new Error(problems.join('; '));
  }
}

/** A TCP port that nobody listens on now. */
export const freePort = () => new Promise((done) => {
  const server = createServer().listen(0, () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

/** Runs ctl against an agent: { status, out, err }, whatever the status. */
export function ctl(agent, ...args) {
  return new Promise((done) => {
    execFile(join(bin, 'ctl'), ['--node', agent.socket, ...args], { timeout: PROGRAM, killSignal: 'SIGKILL' }, (error, out, err) => {
      done({ status: error === null ? 0 : error.code, out, err });
    });
  });
}

/** As ctl, but a failure is an error; resolves with what it printed. */
export async function ctlOk(agent, ...args) {
  const { status, out, err } = await ctl(agent, ...args);
  if (status !== 0) throw new Error(`ctl ${args.join(' ')} failed: ${out}${err}`);
  return out;
}

export const nodes = async (agent) => (await agent.client.call('nodes')).nodes;
/**
 * What the nodes that are up say to `method`: `ps`, `links`, `logs` or `dead-letters`. An agent waits a second for its actor-host and two for other agents,
 * and leaves out who takes longer, as on a busy machine: then it is asked again.
 */
export const whole = (agent, method, params = {}) => until(`all answer ${method}`, async () => {
  const answer = await agent.client.call(method, params);
  const late = answer.unreachable.length > 0 && (await nodes(agent)).some((n) => n.state === 'up' && answer.unreachable.includes(n.name));
  return late ? undefined : answer;
});
/** As ctl says it, with --json, when all nodes have answered. */
export const ctlWhole = (agent, ...args) => until(`all answer ctl ${args.join(' ')}`, async () => {
  const answer = JSON.parse(await ctlOk(agent, '--json', ...args));
  return answer.unreachable.length === 0 && answer;
});
export const actors = async (agent, app) => (await whole(agent, 'ps', app === undefined ? {} : { app })).actors;
/** What has reached nobody. */
export const deadLetters = async (agent, of) => (await whole(agent, 'dead-letters', { of })).letters;

/** The lines an actor has logged. */
export const logs = async (agent, address) => (await whole(agent, 'logs', { address, lines: 1000 })).lines.map((l) => l.text);
/** One that is as `pattern` says, when it is there: what an actor logs may come later than what it answers. */
export const logged = (agent, address, pattern) => until(`${address} logs ${pattern}`, async () => (await logs(agent, address)).find((l) => pattern.test(l)));

/** A module whose actors keep what others `note` with them, apart for each `of`: `seen` tells all of it, `take` what is new. */
export const notebook = `export default (self) => {
  const all = {}, taken = {};
  self.on('note', (what, of = '') => { (all[of] ??= []).push(what); self.emit('noted', what); });
  self.on('seen', (of = '') => all[of] ?? []);
  self.on('take', (of = '') => { const from = taken[of] ?? 0, list = all[of] ?? []; taken[of] = list.length; return list.slice(from); });
};`;

/** SIGKILLs an agent, and with it its actor-host, and waits for its end. */
export async function killNode(cluster, agent) {
  const { host_pid: host } = (await nodes(agent)).find((n) => n.name === agent.name);
  const ended = once(agent.child, 'exit');
  agent.child.kill('SIGSTOP'); // it does not see that its actor-host has gone before it
  process.kill(host, 'SIGKILL');
  agent.child.kill('SIGKILL');
  await ended;
  cluster.agents.splice(cluster.agents.indexOf(agent), 1);
}

/** SIGKILLs the actor-host of `agent` and waits until a new one is there. */
export async function killHost(agent) {
  const pidOf = async () => (await nodes(agent)).find((n) => n.name === agent.name);
  const { host_pid: pid } = await pidOf();
  process.kill(pid, 'SIGKILL');
  await until('the actor-host is back', async () => {
    const node = await pidOf();
    return node.state === 'up' && node.host_pid !== pid;
  });
}
