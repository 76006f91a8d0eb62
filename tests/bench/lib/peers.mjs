// SPDX-License-Identifier: Apache-2.0
//
// The peers, each a process of its own that is told what to do between our own rounds: Erlang, workerd, bare isolates.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { distribution, timed } from './measure.mjs';

const peers = join(import.meta.dirname, '../peers');
const arch = process.arch === 'arm64' ? 'arm64' : '64';

/** A program that answers each line it reads with a line of JSON. */
class Program {
  #lines;
  constructor(command, args, options) {
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    this.#lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }
  get pid() { return this.child.pid; }

  async tell(...words) {
    this.child.stdin.write(`${words.join(' ')}\n`);
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error(`${this.child.spawnfile} ended at "${words.join(' ')}"`);
    return JSON.parse(value);
  }

  async end() {
    const over = once(this.child, 'exit');
    this.child.stdin.end();
    await over;
  }
}

const told = ({ value, cpu, others }) => ({ n: value.n, rate: value.rate, ...distribution(value.delays ?? []), cpuus: (cpu * 1000) / value.n, others });

export class Erlang {
  #dir = mkdtempSync(join(tmpdir(), 'isola-bench-'));

  constructor() {
    execFileSync('erlc', ['-o', this.#dir, join(peers, 'gen_server_bench.erl')]);
    this.program = new Program('erl', ['-noshell', '-pa', this.#dir, '-s', 'gen_server_bench', 'main']);
  }
  static version() {
    return execFileSync('erl', ['-noshell', '-eval', 'io:format("~s",[erlang:system_info(otp_release)]),halt().'], { encoding: 'utf8' });
  }
  async tell(...words) { return told(await timed([this.program.pid], () => this.program.tell(...words))); }
  async end() {
    await this.program.end();
    rmSync(this.#dir, { recursive: true });
  }
}

export class Workerd {
  static binary = join(peers, `workerd/node_modules/@cloudflare/workerd-linux-${arch}/bin/workerd`);

  static async start() {
    const w = new Workerd();
    w.child = spawn(Workerd.binary, ['serve', join(peers, 'workerd/config.capnp'), '--socket-addr', 'http=127.0.0.1:0', '--control-fd=3'],
      { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
    for await (const line of createInterface({ input: w.child.stdio[3] })) {
      const said = JSON.parse(line);
      if (said.event !== 'listen') continue;
      w.url = `http://127.0.0.1:${said.port}/`;
      return w;
    }
    throw new Error('workerd ended before it listened');
  }
  static version() { return execFileSync(Workerd.binary, ['--version'], { encoding: 'utf8' }).trim().replace('workerd ', ''); }

  async asks(callers, objects, ms) {
    const run = async () => {
      const response = await fetch(`${this.url}?${new URLSearchParams({ callers, objects, ms })}`);
      if (!response.ok) throw new Error(`workerd: ${await response.text()}`);
      const value = await response.json();
      return { n: value.n, delays: value.delays.map((d) => d * 1000) };
    };
    const t = await timed([this.child.pid], run);
    return told({ ...t, value: { ...t.value, rate: (t.value.n * 1000) / t.ms } });
  }

  async end() {
    const over = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await over;
  }
}

/** Isolates that hold nothing but a context, made in the pinned Node.js by tests/bench/bare. */
export class Bare {
  constructor(build) {
    this.program = new Program(process.execPath, ['--no-node-snapshot', join(import.meta.dirname, '../bare/main.cjs'), resolve(build, 'lib/bare.node')]);
  }
  get pid() { return this.program.pid; }
  /** Makes `n` more: { n, rate, p50us, … }. They stay until the end. */
  async make(n) { return told(await timed([this.pid], () => this.program.tell('make', n))); }
  end() { return this.program.end(); }
}
