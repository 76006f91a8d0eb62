// SPDX-License-Identifier: Apache-2.0
//
// The tour's agents: started in a scratch directory, watched, stopped by pid. Each writes its log beside its data.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const START = 60_000, STOP = 60_000, CTL = 60_000; // ms at the most

export class Agent {
  name;
  socket;
  mesh; // tcp://…, where other agents find it; undefined: it was in no cluster when it was ready
  child;
  #log;

  get pid() { return this.child.pid; }
  get running() { return this.child.exitCode === null && this.child.signalCode === null; }

  /**
   * Starts a node-agent and waits for the line that says it is ready. `token` is one to join a cluster with; `started` gets it before, to be
   * stopped on failure; `more` are further arguments; `listen` is where the mesh does, `on` a command line in front of the program's.
   */
  static async start(bin, name, dir, token, started, more = [], { listen = 'tcp://127.0.0.1:0', on = [] } = {}) {
    const agent = new Agent();
    const data = join(dir, name);
    mkdirSync(data, { recursive: true, mode: 0o700 }); // there already when a node is started again
    agent.name = name;
    agent.#log = join(dir, `${name}.log`);
    const log = openSync(agent.#log, 'a');
    const [program, ...args] = [...on, join(bin, 'node-agent'), '--name', name, '--data', data, '--listen', listen, ...(token === undefined ? [] : ['--join', token]), ...more];
    // A group of its own: Ctrl-C comes to the tour alone, which then stops its agents in order.
    agent.child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', log] });
    closeSync(log);
    agent.child.on('error', () => {}); // seen in firstLine
    if (agent.pid !== undefined) started.push(agent);
    const ready = await agent.#firstLine();
    const match = /^node-agent \S+ is ready: socket (.+?)(?:, mesh (tcp:\S+))?$/.exec(ready);
    if (match === null) throw new Error(`${name} said something else than that it is ready: ${ready}`);
    [, agent.socket, agent.mesh] = match;
    return agent;
  }

  async #firstLine() {
    const lines = createInterface({ input: this.child.stdout });
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(START)]);
    try {
      return await Promise.race([
        once(lines, 'line', { signal }).then(([line]) => line),
        once(this.child, 'exit', { signal }).then(([code, killer]) => {
          throw new Error(`${this.name} ended before it was ready (${killer ?? `exit status ${code}`}): ${this.log(1).trimEnd().split('\n').at(-1)}`);
        }),
      ]);
    } catch (error) {
      if (error.syscall?.startsWith('spawn')) throw new Error(`cannot start ${error.path}: ${error.code}; run: make build`);
      if (error.name === 'AbortError') throw new Error(`${this.name} was not ready within ${START / 1000} s`);
      throw error;
    } finally {
      over.abort();
    }
  }

  /** Lets the process go on when this one ends. */
  leave() {
    this.child.stdout.destroy();
    this.child.unref();
  }

  /** SIGTERM; SIGKILL when that takes too long. Resolves with what is wrong about its end, or undefined. */
  async stop() {
    if (!this.running) return this.#verdict();
    const ended = once(this.child, 'exit', { signal: AbortSignal.timeout(STOP) });
    this.child.kill('SIGTERM');
    try {
      await ended;
    } catch {
      const killed = once(this.child, 'exit');
      this.child.kill('SIGKILL');
      await killed;
      return `${this.name} did not stop within ${STOP / 1000} s of SIGTERM`;
    }
    return this.#verdict();
  }

  #verdict() {
    const { exitCode, signalCode } = this.child;
    return exitCode === 0 ? undefined : `${this.name} ended with ${signalCode ?? `exit status ${exitCode}`}`;
  }

  /** The end of its log. */
  log(lines = 30) {
    try {
      return readFileSync(this.#log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
    } catch (error) {
      return error.message;
    }
  }
}

/** Runs ctl against an agent; resolves with its standard output. */
export async function ctl(bin, agent, ...args) {
  try {
    const { stdout } = await promisify(execFile)(join(bin, 'ctl'), ['--node', agent.socket, ...args], { timeout: CTL, killSignal: 'SIGKILL' });
    return stdout;
  } catch (error) {
    throw new Error(`ctl ${args.join(' ')} failed: ${(error.stderr || error.stdout || error.message).trim()}`, { cause: error });
  }
}
