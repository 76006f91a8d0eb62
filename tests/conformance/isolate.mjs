// SPDX-License-Identifier: Apache-2.0
//
// Scripts in isolates without agent and actors: this starts the pinned Node.js once more as an actor-host is started, with the addon of
// tests/isolate in it, gives it scripts on its standard input and reads what became of them.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const addon = join(process.env.ISOLA_BUILD || join(root, 'build'), 'lib/isolate.node');

const server = `
  const iso = require(${JSON.stringify(addon)});
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { name, code } = JSON.parse(line);
    const id = iso.open();
    let result;
    try { result = iso.run(id, name, code); } finally { iso.close(id); }
    process.stdout.write(JSON.stringify(result) + '\\n');
  });`;

// As node-agent/actor-host/launcher.c does it.
const { ISOLA_PRELOAD } = process.env;
const env = ISOLA_PRELOAD ? { ...process.env, LD_PRELOAD: ISOLA_PRELOAD, ASAN_OPTIONS: 'detect_leaks=0' } : process.env;

export class Isolates {
  #child = spawn(process.execPath, ['--no-node-snapshot', '--no-turboshaft-loop-unrolling', '-e', server], { stdio: ['pipe', 'pipe', 'inherit'], env });
  #lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  #ended = new Promise((done) => this.#child.once('exit', (code, signal) => done(signal ?? code)));

  /** Runs a module in a new isolate: what it logged, one string for each call. Throws what the module ended with. */
  async run(code, name = 'script.js') {
    this.#child.stdin.write(`${JSON.stringify({ name, code })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the process with the isolates ended: ${await this.#ended}`);
    const { error, log } = JSON.parse(value);
    if (error !== undefined) throw new Error(error);
    return log.map((l) => l.text);
  }

  /** Its exit status. */
  async end() {
    this.#child.stdin.end();
    return this.#ended;
  }
}
