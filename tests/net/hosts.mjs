// SPDX-License-Identifier: Apache-2.0
//
// Hosts for tests: network namespaces with an address each, programs that run in them, and a network between them that is as bad as a
// test wants it (badnet.c, whose commands these are).
//
//   const net = await Network.start(['a', 'b']);
//   const child = net.run('a', 'node-agent', ['--listen', `tcp://${net.address('a')}:0`]);
//   await net.link('a b', { delay: 20, loss: 2 });
//   await net.cut('a>b');
//   await net.end();
//
// Nothing is left behind, however the test ends: the namespaces have no names and last as long as somebody is in them; badnet ends with its
// standard input; programs that were started here get SIGKILL from the kernel when this process is gone. It takes root, and TAP devices:
// Network.unavailable says what is missing, for a test to be skipped with.
//
// All that goes wrong by chance goes wrong by a seed, which is printed; ISOLA_TEST_SEED makes it again, as far as frames come in the same order.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const BADNET = join(process.env.ISOLA_BUILD || resolve(import.meta.dirname, '../../build'), 'tests/badnet');
const CANNOT = 77;

// Who was killed before its program came to setpriv's request is not the parent any more: no signal would come.
const UNLESS_ORPHAN = '[ "$PPID" = "$0" ] && exec "$@"';

// badnet says on one line what it has to say.
const said = (line) => {
  const answer = JSON.parse(line);
  if (answer.error !== undefined) throw new Error(`badnet: ${answer.error}`);
  return answer;
};

export class Network {
  #child;
  #lines;
  #turn = Promise.resolve(); // the answer to the last command
  #net; // { pid, seed, hosts }
  #programs = new Set();

  /** Why there cannot be such hosts on this machine, or false: what `skip` of a test wants. */
  static unavailable() {
    for (const [program, argument] of [['nsenter', '--version'], ['setpriv', '--version']])
      if (spawnSync(program, [argument]).error) return `there is no ${program} here (Debian: util-linux)`;
    const { status, stdout, error } = spawnSync(BADNET, ['probe=10.77.0.1'], { input: '', encoding: 'utf8' });
    if (error) return `${BADNET} cannot be started (${error.code}): build it first`;
    if (status === CANNOT) return JSON.parse(stdout).error;
    return false;
  }

  /** Hosts with these names, whose addresses are 10.77.0.1 and so on. */
  static async start(names, { seed = process.env.ISOLA_TEST_SEED } = {}) {
    const net = new Network();
    const hosts = names.map((name, i) => `${name}=10.77.0.${i + 1}`);
    net.#child = spawn(BADNET, [...(seed === undefined ? [] : ['--seed', String(seed)]), ...hosts], { stdio: ['pipe', 'pipe', 'inherit'] });
    net.#child.stdin.on('error', () => {}); // it has ended: the next line says so
    net.#lines = createInterface({ input: net.#child.stdout })[Symbol.asyncIterator]();
    net.#net = await net.#answer();
    console.log(`seed: ISOLA_TEST_SEED=${net.#net.seed}`);
    return net;
  }

  async #answer() {
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error('badnet has ended');
    return said(value);
  }

  /** One command: what badnet answers. */
  tell(...words) {
    this.#child.stdin.write(`${words.join(' ')}\n`);
    return (this.#turn = this.#turn.then(() => this.#answer(), () => this.#answer()));
  }

  /** `who`: `a>b`, `a b` (both ways), `a` or `all`. Rules that are not named do not hold any more. */
  link(who, rules = {}) { return this.tell('link', who, ...Object.entries(rules).flat()); }
  cut(who) { return this.tell('cut', who); }
  heal(who) { return this.tell('heal', who); }
  /** { 'a>b': { frames, bytes, passed, … }, … } */
  stats() { return this.tell('stats'); }
  /** Writes all that hosts send to `file`, until endCapture(). */
  capture(file) { return this.tell('capture', file); }
  /** Resolves with how many frames are in the file. */
  async endCapture() { return (await this.tell('capture')).frames; }

  get seed() { return this.#net.seed; }
  /** Of badnet. */
  get pid() { return this.#net.pid; }
  address(host) { return this.#net.hosts[host].address; }

  /** A command line that runs what follows it on `host`, for spawn() in this process. Its process id is the program's own. */
  on(host) {
    return ['setpriv', '--pdeathsig', 'KILL', 'sh', '-c', UNLESS_ORPHAN, String(process.pid), 'nsenter', `--net=/proc/${this.#net.pid}/fd/${this.#net.hosts[host].net}`, '--'];
  }

  /** Runs a program on `host`: spawn()'s child. */
  run(host, program, args = [], options = {}) {
    const [first, ...rest] = [...this.on(host), program, ...args];
    const child = spawn(first, rest, options);
    this.#programs.add(child);
    child.once('exit', () => this.#programs.delete(child));
    return child;
  }

  /** Ends programs that still run, then the network. */
  async end() {
    await Promise.all([...this.#programs].map((child) => {
      const over = once(child, 'exit');
      child.kill('SIGKILL');
      return over;
    }));
    const over = this.#child.exitCode === null && this.#child.signalCode === null ? once(this.#child, 'exit') : [this.#child.exitCode, this.#child.signalCode];
    this.#child.stdin.end();
    const [code, signal] = await over;
    if (code !== 0) throw new Error(`badnet ended with ${signal ?? `exit status ${code}`}`);
  }
}
