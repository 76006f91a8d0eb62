// SPDX-License-Identifier: Apache-2.0
//
// The tour (`make run`): two agents, an airport for each of 224 codes, 20,000 real flights, a SIGKILL halfway, and a table
// checked against a plain computation. Exits 0 only if every figure of every airport is right and both agents ended well.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';

import { connect } from '../../actors/lib/client/index.js';
import { Agent, ctl } from './agents.mjs';
import { feed } from './feed.mjs';
import { compute, differences, loadFlights, table } from './flights.mjs';

const root = resolve(import.meta.dirname, '../..');
const bin = join(process.env.ISOLA_BUILD || join(root, 'build'), 'bin');
const keep = !['', '0', 'no'].includes(process.env.KEEP ?? '');
const ALL = 10 * 60_000; // ms for the whole tour
const ASK = 5000; // ms for one flight

const say = (text) => process.stdout.write(`${text}\n`);
const number = (n) => n.toLocaleString('en-US');
const interrupted = new AbortController();
const signal = AbortSignal.any([interrupted.signal, AbortSignal.timeout(ALL)]);
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => interrupted.abort(new Error(`interrupted by ${name}`)));

// `make run | head`: nobody reads on, but agents are to be stopped all the same.
process.stdout.on('error', () => interrupted.abort(new Error('interrupted by the end of its output')));

/** One line that is redrawn on a terminal, a line for each tenth elsewhere. */
class Progress {
  #total;
  #start = performance.now();
  #drawn = 0;
  #tenth = 0;

  constructor(total) {
    this.#total = total;
  }
  show(count) {
    const now = performance.now();
    const rate = Math.round(count / Math.max(0.001, (now - this.#start) / 1000));
    const text = `${number(count).padStart(6)} of ${number(this.#total)} flights, ${number(rate)}/s`;
    if (process.stdout.isTTY) {
      if (now - this.#drawn < 50 && count < this.#total) return;
      this.#drawn = now;
      const filled = Math.floor((count * 30) / this.#total);
      process.stdout.write(`\r\x1b[K  [${'#'.repeat(filled)}${'.'.repeat(30 - filled)}] ${text}`);
    } else {
      const tenth = Math.floor((count * 10) / this.#total);
      if (tenth === this.#tenth) return;
      this.#tenth = tenth;
      say(`  ${text}`);
    }
  }
  /** A line of its own in between. */
  note(text) {
    say(process.stdout.isTTY ? `\r\x1b[K  ${text}` : `  ${text}`);
  }
  end() {
    if (process.stdout.isTTY) say('');
  }
}

async function nodeOf(agent, name) {
  const { nodes } = JSON.parse(await ctl(bin, agent, '--json', 'nodes'));
  const node = nodes.find((n) => n.name === name);
  if (node === undefined) throw new Error(`ctl nodes does not list ${name}: ${JSON.stringify(nodes)}`);
  return node;
}

async function tour(dir, agents) {
  const flights = loadFlights(root);
  const expected = compute(flights);

  say(`Two agents in ${dir}`);
  const east = await Agent.start(bin, 'east', dir, undefined, agents);
  say((await ctl(bin, east, 'init', '--name', 'airports')).trimEnd().replace(/^/gm, '  '));
  const token = (await ctl(bin, east, 'token')).trim();
  await Agent.start(bin, 'west', dir, token, agents);
  for (const agent of agents) say(`  ${agent.name}: pid ${agent.pid}, socket ${agent.socket}`);

  say('Deploy examples/airports');
  say((await ctl(bin, east, 'deploy', import.meta.dirname)).trimEnd().replace(/^/gm, '  '));

  say(`Feed ${number(flights.length)} flights to ${expected.size} airports`);
  const client = await connect({ socket: east.socket });
  try {
    const progress = new Progress(flights.length);
    let victim;
    let killed;
    const repeats = await feed(flights, (origin, i, flight) => client.actor('airports/Airport', origin).ask('departure', i, flight, { timeout: ASK, signal }), {
      signal,
      done: (count) => {
        progress.show(count);
        if (count !== Math.floor(flights.length / 2)) return;
        killed = nodeOf(east, 'west').then((node) => {
          victim = node.host_pid;
          if (!(victim > 1)) throw new Error(`ctl nodes gives no host_pid of west: ${JSON.stringify(node)}`);
          process.kill(victim, 'SIGKILL');
          progress.note(`halfway: SIGKILL to the actor-host of west (pid ${victim}), and on`);
        });
        killed.catch((error) => interrupted.abort(error));
      },
    });
    progress.end();
    await killed;

    const summaries = new Map(await Promise.all([...expected.keys()].map(async (code) =>
      [code, await client.actor('airports/Airport', code).ask('summary', { timeout: 30_000, signal })])));
    const wrong = differences(expected, summaries);
    if (wrong.length > 0) throw new Error(`${wrong.length} of ${expected.size} airports differ from the plain computation:\n  ${wrong.slice(0, 20).join('\n  ')}`);
    const now = (await nodeOf(east, 'west')).host_pid;
    if (now === victim) throw new Error(`the actor-host of west is still pid ${victim}: nothing was killed`);

    say(`\n${table(summaries, 10)}\n`);
    const { actors } = JSON.parse(await ctl(bin, east, '--json', 'ps', 'airports'));
    const on = (name) => actors.filter((a) => a.node === name).length;
    say(`All ${expected.size} airports (${on('east')} live on east, ${on('west')} on west) agree with the plain computation.`);
    say(`The actor-host that was killed is back as pid ${now}; ${repeats} flights were sent again, each counted once.`);
  } finally {
    await client.close();
  }
}

async function stopAll(agents) {
  return (await Promise.all([...agents].reverse().map((agent) => agent.stop()))).filter((problem) => problem !== undefined);
}

function next() {
  say(`
What to try next
  make run KEEP=1              leave the agents up and look around with build/bin/ctl
  examples/counter/README.md   a first actor, in ten lines
  make test                    every test
  build/bin/ctl --help`);
}

function left(dir, agents) {
  const ctlPath = relative(process.cwd(), join(bin, 'ctl'));
  say(`
The agents are up. Talk to them:
  export ISOLA_NODE=${agents[0].socket}
  ${ctlPath} nodes
  ${ctlPath} ps airports
  ${ctlPath} ask airports/Airport/DFW summary
  ${ctlPath} logs
Stop them, and when they have ended clean up:
  kill ${agents.map((a) => a.pid).join(' ')}
  rm -r ${dir}`);
}

let dir;
const agents = [];
try {
  dir = mkdtempSync(join(tmpdir(), 'isola-tour-'));
  await tour(dir, agents);
  if (keep) {
    for (const agent of agents) agent.leave();
    left(dir, agents);
  } else {
    const problems = await stopAll(agents);
    if (problems.length > 0) throw new Error(problems.join('; '));
    rmSync(dir, { recursive: true });
    say('Both agents stopped with exit status 0; the scratch directory is gone.');
    next();
  }
} catch (error) {
  const why = signal.aborted ? (signal.reason.name === 'TimeoutError' ? `the tour took longer than ${ALL / 60_000} minutes` : signal.reason.message) : error.message;
  process.stderr.write(`\ntour: ${why}\n`);
  const problems = (await stopAll(agents)).filter((problem) => !why.includes(problem));
  if (!interrupted.signal.aborted || !/^interrupted by/.test(why)) {
    for (const problem of problems) process.stderr.write(`tour: ${problem}\n`);
    for (const agent of agents) process.stderr.write(`--- the log of ${agent.name}, its end ---\n${agent.log()}\n`);
  }
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
  process.exitCode = 1;
}
process.exit(); // a deadline's timer may still be set
