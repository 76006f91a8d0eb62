// SPDX-License-Identifier: Apache-2.0
//
// Actor-host and agent killed at any instant, again and again, while programs ask for changes and actors pass durable messages on.
//
// Each who asks numbers what it asks for, and asks for the same again until it is answered; an actor carries a number out once. So whatever was
// answered and is lost shows at once, as a number that is not the next, and what was done in part as sums that do not agree: they are all of
// the numbers so far, in an account's state, in its storage, there also in two values that a transaction changes, and in a table of its database.
// Sources pass their numbers on to stages, those to sinks, durably; accounts set timers, whose numbers they pass on to a sink. At the end each
// has all, each once.
//
// When both are dead their files are copied, and SQLite is asked about each of its databases.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { random } from './crashes.mjs';
import { clock, nodes, until } from '../integration/cluster.mjs';

const ACCOUNTS = ['I/1', 'I/2', 'I/3', 'S/1', 'S/2', 'S/3'].map((a) => `kill/${a}`);
const SOURCES = ['1', '2', '3'].map((k) => `kill/Source/${k}`);
const STAGES = ['1', '2'], SINKS = ['1', '2', '3'];
const MOST = 60; // answers between two kills
const PATIENCE = 120_000; // ms

const value = (k) => (k * 7919) % 10_007;
/** What those who have carried out 1…k say. */
const sums = `
  const value = ${value};
  export const start = () => ({ k: 0, sum: 0, twice: 0, check: 0 });
  export const next = (s, k) => { s.k = k; s.sum += value(k); s.check = Math.imul(s.check ^ value(k), 0x9e3779b1) >>> 0; s.twice = 2 * s.sum; };
  export const says = ({ k, sum, twice, check }) => [k, sum, twice, check];
  export const tally = (t, k) => { t.n++; t.sum += k; t.squares += k * k; return t; }; // of numbers that come in any order
  export const none = () => ({ n: 0, sum: 0, squares: 0 });
  export const rings = (k) => k % 4 === 0; // which set a timer`;
const { start, next, says, tally, none, rings } = await import(`data:text/javascript,${encodeURIComponent(sums)}`);

export const app = {
  'isola.json': {
    name: 'kill',
    actors: {
      I: { module: './account.js' }, S: { module: './account.js', isolation: 'shared' },
      Source: { module: './source.js', isolation: 'shared' }, Stage: { module: './stage.js', isolation: 'shared' }, Sink: { module: './sink.js' },
    },
  },
  'sums.js': sums,
  'account.js': `
    import { actor } from 'isola';
    import { next, none, rings, says, start, tally } from './sums.js';
    export default (self) => {
      const { state, storage, sql } = self;
      state.s ??= start();
      state.rung ??= none();
      state.wrong ??= [];
      sql.exec('CREATE TABLE IF NOT EXISTS done (k INTEGER PRIMARY KEY, value INTEGER, at INTEGER UNIQUE)');
      const agrees = async () => {
        const had = await storage.getMany(['total', 'plus', 'minus']), { s } = state;
        const rows = sql.exec('SELECT count(*) AS n, coalesce(sum(value), 0) AS sum FROM done').one();
        if (rows.n !== s.k || rows.sum !== s.sum || (s.k > 0 && !(String(had.get('total')) === String(says(s)) && had.get('plus') === s.sum && had.get('minus') === -s.sum)))
          state.wrong.push([says(s), rows, ...had]);
      };
      self.on('add', async (k) => {
        const { s } = state;
        if (k === s.k + 1) {
          await agrees();
          const { sum } = s;
          next(s, k);
          const { twice } = s;
          s.twice = -1; // in the middle of a turn
          state.more = 'x'.repeat(k % 50 === 0 ? 100_000 : k % 700);
          await storage.transaction(async (txn) => {
            await txn.put('plus', s.sum);
            if (k % 8 === 0) await new Promise((done) => setTimeout(done, 1));
            await txn.put('minus', -s.sum);
          });
          await storage.put('item ' + (k % 100), 'y'.repeat(k % 3000));
          sql.exec('INSERT INTO done VALUES (?, ?, ?)', k, s.sum - sum, (k * 7919) % 1_000_003);
          if (rings(k)) self.schedule('ring', (k * 37) % 900 + 'ms', k);
          s.twice = twice;
          await storage.put('total', says(s));
        }
        return says(s);
      });
      self.on('ring', (k) => {
        tally(state.rung, k);
        actor('kill/Sink/bell').emit('rung', self.address, k, { durable: true });
      });
      self.on('report', async () => {
        await agrees();
        const found = sql.exec('PRAGMA integrity_check').raw().toArray().join();
        if (found !== 'ok') state.wrong.push(found);
        return [says(state.s), state.rung, state.wrong];
      });
    };`,
  'source.js': `
    import { actor } from 'isola';
    import { next, says, start } from './sums.js';
    export default (self) => {
      self.state.s ??= start();
      self.on('add', (k) => {
        const { s } = self.state;
        if (k === s.k + 1) {
          next(s, k);
          for (const stage of ${JSON.stringify(STAGES)}) actor('kill/Stage', stage).emit('pass', self.key, k, { durable: true });
        }
        return says(s);
      });
    };`,
  'stage.js': `
    import { actor } from 'isola';
    import { next, says, start } from './sums.js';
    export default (self) => {
      self.state.of ??= {};
      self.state.wrong ??= [];
      self.on('pass', (from, k) => {
        const s = (self.state.of[from] ??= start());
        if (k !== s.k + 1) self.state.wrong.push([from, k, s.k]);
        next(s, k);
        for (const sink of ${JSON.stringify(SINKS)}) actor('kill/Sink', sink).emit('take', self.key + '/' + from, k, { durable: true });
      });
      self.on('report', () => [Object.fromEntries(Object.entries(self.state.of).map(([from, s]) => [from, says(s)])), self.state.wrong]);
    };`,
  'sink.js': `
    import { next, none, says, start, tally } from './sums.js';
    export default (self) => {
      self.state.of ??= {};
      self.state.rung ??= {};
      self.state.wrong ??= [];
      self.on('take', (from, k) => {
        const s = (self.state.of[from] ??= start());
        if (k !== s.k + 1) self.state.wrong.push([from, k, s.k]);
        next(s, k);
      });
      self.on('rung', (from, k) => { tally((self.state.rung[from] ??= none()), k); });
      self.on('bells', () => self.state.rung);
      self.on('report', () => [Object.fromEntries(Object.entries(self.state.of).map(([from, s]) => [from, says(s)])), self.state.wrong]);
    };`,
};

/** An error that says that something is not there now. */
const passing = (error) => ['EUNREACHABLE', 'ETIMEDOUT', 'ECLOSED', 'ECONNREFUSED', 'ENOENT', 'EPIPE', 'ECONNRESET'].includes(error?.code);

/** No such process, or it waits for its parent to notice. */
function dead(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)[0] === 'Z';
  } catch {
    return true;
  }
}

const MAGIC = 'SQLite format 3\0';
/** The databases in `dir`, checked as copies in `scratch`; how many there are. */
export function checkDatabases(dir, scratch) {
  let found = 0;
  mkdirSync(scratch, { recursive: true });
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name), fd = openSync(file, 'r'), head = Buffer.alloc(MAGIC.length);
    readSync(fd, head, 0, head.length, 0);
    closeSync(fd);
    if (head.toString('latin1') !== MAGIC) continue;
    const copy = join(scratch, basename(file));
    for (const more of ['', '-wal', '-journal']) if (existsSync(file + more)) copyFileSync(file + more, copy + more);
    const db = new DatabaseSync(copy);
    try {
      assert.deepEqual(db.prepare('PRAGMA integrity_check').all().map((row) => Object.values(row)[0]), ['ok'], file);
    } finally {
      db.close();
    }
    found++;
  }
  rmSync(scratch, { recursive: true, force: true });
  return found;
}

export class Kills {
  #cluster;
  #pick;
  #node; // undefined: it is not there now
  #back = Promise.withResolvers(); // it is there again
  #over = false;
  #failed;
  #killed; // the actor-host that was last
  #hosts = 0; // killed in a row: an agent lets more and more time pass then
  answered = 0;
  again = 0; // asked once more
  databases = 0;
  timers = 0; // fired, in the end
  done = {}; // kind of kill → how often

  constructor(cluster, seed) {
    this.#cluster = cluster;
    this.#pick = random(seed);
  }

  async begin() {
    this.#node = await this.#cluster.node('one', undefined, ['--threads', '2']);
    await this.#cluster.deploy(this.#node, 'kill', app);
  }

  /** Asks until it is answered. */
  async #insist(address, ...args) {
    for (;;) {
      while (this.#node === undefined) await this.#back.promise;
      try {
        return await this.#node.client.actor(address).ask(...args, { timeout: 5000 });
      } catch (error) {
        if (!passing(error) || this.#failed !== undefined) throw error;
        this.again++;
        await new Promise((done) => { setImmediate(done); });
      }
    }
  }

  /** Asks for one number after the other; resolves with what there must be. */
  async #drive(address) {
    const expected = start();
    while (!this.#over) {
      next(expected, expected.k + 1);
      assert.deepEqual(await this.#insist(address, 'add', expected.k), says(expected), address);
      this.answered++;
    }
    return [address, says(expected)];
  }

  async #answers(n) {
    const enough = this.answered + n;
    await until(`${n} answers`, () => this.#failed !== undefined || this.answered >= enough, PATIENCE);
    if (this.#failed !== undefined) throw this.#failed;
  }

  async #hostPid() {
    return until('the actor-host is up', async () => {
      const is = (await nodes(this.#node)).find((n) => n.name === 'one');
      return is.state === 'up' && is.host_pid !== this.#killed && is.host_pid;
    });
  }

  #check() {
    this.databases += checkDatabases(join(this.#cluster.dir, 'one'), join(this.#cluster.dir, 'copies'));
  }

  async #killHost(pid) {
    const agent = this.#node.pid;
    process.kill(agent, 'SIGSTOP'); // so that no other one begins before the files are copied
    try {
      process.kill(pid, 'SIGKILL');
      await until('the actor-host has ended', () => dead(pid));
      this.#check();
    } finally {
      process.kill(agent, 'SIGCONT');
    }
    this.#hosts++;
  }

  /** The agent, and with it the actor-host: killed too, or by itself, with the next agent there already or not. */
  async #killAgent(pid, too, wait) {
    const node = this.#node, ended = once(node.child, 'exit');
    this.#node = undefined;
    if (too) process.kill(pid, 'SIGKILL');
    node.child.kill('SIGKILL');
    await ended;
    if (wait) {
      await until('the actor-host has ended', () => dead(pid), PATIENCE);
      this.#check();
    }
    this.#cluster.agents.splice(this.#cluster.agents.indexOf(node), 1);
    this.#cluster.clients.splice(this.#cluster.clients.indexOf(node.client), 1);
    await node.client.close();
    this.#node = await this.#cluster.node('one', undefined, ['--threads', '2']);
    this.#back.resolve();
    this.#back = Promise.withResolvers();
    this.#hosts = 0;
  }

  async #round() {
    const pid = this.#killed = await this.#hostPid();
    await this.#answers(this.#pick(8) === 0 ? 0 : this.#pick(MOST));
    const what = this.#hosts === 4 ? 3 : this.#pick(6);
    const kind = ['the actor-host', 'the actor-host', 'the actor-host', 'the agent and the actor-host', 'the agent', 'the agent, and another is started at once'][what];
    if (what < 3) await this.#killHost(pid);
    else await this.#killAgent(pid, what === 3, what < 5);
    this.done[kind] = (this.done[kind] ?? 0) + 1;
  }

  /** `rounds` kills at the most, `stopped()` says when it is enough; then the reckoning. Resolves with how many there were. */
  async run(rounds, stopped = () => false) {
    const driven = Promise.all([...ACCOUNTS, ...SOURCES].map((a) => this.#drive(a)));
    driven.catch((error) => { this.#failed ??= error; });
    let made = 0;
    try {
      for (; made < rounds && !stopped(); made++) await this.#round();
      this.#over = true;
      await this.#reckon(Object.fromEntries(await driven));
    } catch (error) {
      this.#failed ??= error;
      throw new Error(`after ${made} kills: ${this.#failed.message}\n${this.#cluster.agents.map((a) => a.log(20)).join('\n')}`, { cause: this.#failed });
    }
    return made;
  }

  /** Everything is there once, and nothing else. */
  async #reckon(expected) {
    const have = async (address, those) => {
      let report, wrong;
      const end = clock.now() + PATIENCE;
      do {
        [report, wrong] = await this.#insist(address, 'report');
        assert.deepEqual(wrong, [], `${address} got what was not the next`);
      } while (Object.entries(those).some(([from, [k]]) => !(report[from]?.[0] >= k)) && clock.now() < end);
      assert.deepEqual(report, those, address);
    };
    for (const stage of STAGES) await have(`kill/Stage/${stage}`, Object.fromEntries(SOURCES.map((s) => [basename(s), expected[s]])));
    for (const sink of SINKS)
      await have(`kill/Sink/${sink}`, Object.fromEntries(STAGES.flatMap((stage) => SOURCES.map((s) => [`${stage}/${basename(s)}`, expected[s]]))));
    const bells = {};
    for (const account of ACCOUNTS) {
      const [k] = expected[account];
      bells[account] = Array.from({ length: k + 1 }, (_, i) => i).filter((i) => i > 0 && rings(i)).reduce(tally, none());
      let said, rung, wrong;
      const end = clock.now() + PATIENCE;
      do [said, rung, wrong] = await this.#insist(account, 'report'); while (rung.n < bells[account].n && clock.now() < end);
      assert.deepEqual([said, rung, wrong], [expected[account], bells[account], []], account);
    }
    await until('all timers were passed on', async () => Object.entries(await this.#insist('kill/Sink/bell', 'bells')).reduce((n, [, t]) => n + t.n, 0) >= Object.values(bells).reduce((n, t) => n + t.n, 0), PATIENCE);
    assert.deepEqual(await this.#insist('kill/Sink/bell', 'bells'), Object.fromEntries(Object.entries(bells).filter(([, t]) => t.n > 0)), 'kill/Sink/bell');
    this.timers = Object.values(bells).reduce((n, t) => n + t.n, 0);
  }
}
