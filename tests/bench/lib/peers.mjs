// SPDX-License-Identifier: Apache-2.0
//
// The peers, each a process of its own that is told what to do between our own rounds: Erlang, workerd, bare isolates; for what goes between
// machines two processes of each: Erlang's nodes, Moleculer's; PM2 for programs; and libsodium alone.
//
// None outlives the run: they end with their standard input, and epmd, which does not look at its own, with a signal of the kernel.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { distribution, timed } from './measure.mjs';

const peers = join(import.meta.dirname, '../peers');
const arch = process.arch === 'arm64' ? 'arm64' : '64';

/** A directory that is gone when the run ends, however it does. */
function scratch() {
  const dir = mkdtempSync(join(tmpdir(), 'isola-bench-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A program that answers each line it reads with a line of JSON. */
class Program {
  #lines;
  constructor(command, args, options) {
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    this.child.stdin.on('error', () => {}); // it has ended: tell() says so
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

  async kill() {
    const over = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await over;
  }
}

const told = ({ value, cpu, others }) => ({ n: value.n, rate: value.rate, ...distribution(value.delays ?? []), cpuus: (cpu * 1000) / value.n, others });

export class Erlang {
  #dir = scratch();

  constructor() {
    execFileSync('erlc', ['-o', this.#dir, join(peers, 'gen_server_bench.erl')]);
    this.program = new Program('erl', ['-noshell', '-pa', this.#dir, '-s', 'gen_server_bench', 'main']);
  }
  static version() {
    return execFileSync('erl', ['-noshell', '-eval', 'io:format("~s",[erlang:system_info(otp_release)]),halt().'], { encoding: 'utf8' });
  }
  async tell(...words) { return told(await timed([this.program.pid], () => this.program.tell(...words))); }
  end() { return this.program.end(); }
}

/** A TCP port of loopback that is free now. */
async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Erlang's port mapper, in the foreground, on a port of its own. */
class PortMapper {
  static async start() {
    for (let attempt = 0; attempt < 5; attempt++) { // somebody else may be quicker to take the port
      const mapper = new PortMapper();
      mapper.port = await freePort();
      mapper.child = spawn('setpriv', ['--pdeathsig', 'KILL', 'epmd', '-d', '-d', '-address', '127.0.0.1', '-port', String(mapper.port)],
        { stdio: ['ignore', 'ignore', 'pipe'] });
      for await (const line of createInterface({ input: mapper.child.stderr })) {
        if (!line.includes('entering the main select() loop')) continue;
        mapper.child.stderr.resume();
        return mapper;
      }
    }
    throw new Error('epmd does not start');
  }
  async end() {
    const over = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await over;
  }
}

/** Two nodes of Erlang's distribution over loopback: the callers are on the one, the servers on the other. */
export class ErlangPair {
  #dir = scratch();
  #there = 'there@127.0.0.1';

  static async start() {
    const pair = new ErlangPair();
    execFileSync('erlc', ['-o', pair.#dir, join(peers, 'gen_server_bench.erl')]);
    pair.mapper = await PortMapper.start();
    const cookie = randomBytes(16).toString('hex');
    const node = (name) => new Program('erl', ['-noshell', '-name', name, '-setcookie', cookie, '-start_epmd', 'false', '-kernel', 'inet_dist_use_interface', '{127,0,0,1}',
      '-pa', pair.#dir, '-s', 'gen_server_bench', 'main'], { env: { ...process.env, HOME: pair.#dir, ERL_EPMD_PORT: String(pair.mapper.port) } });
    pair.server = node(pair.#there);
    pair.program = node('here@127.0.0.1');
    await pair.server.tell('start', 1); // it is there when it answers
    return pair;
  }

  /** `n` servers at the other node. */
  async serve(n) { return await this.program.tell('start', n, this.#there); }
  async tell(...words) { return told(await timed([this.program.pid, this.server.pid], () => this.program.tell(...words))); }
  async end() {
    await this.program.end();
    await this.server.end();
    await this.mapper.end();
  }
}

/** Two nodes of Moleculer over its TCP transporter, on loopback. */
export class Moleculer {
  static directory = join(peers, 'moleculer');

  static version() { return JSON.parse(readFileSync(join(Moleculer.directory, 'node_modules/moleculer/package.json'), 'utf8')).version; }
  static async start() {
    const pair = new Moleculer();
    const node = (...args) => new Program(process.execPath, [join(Moleculer.directory, 'main.cjs'), ...args]);
    pair.server = node('there');
    const { port } = await pair.server.tell('start');
    pair.program = node('here', String(port));
    await pair.program.tell('start');
    return pair;
  }
  async tell(...words) { return told(await timed([this.program.pid, this.server.pid], () => this.program.tell(...words))); }
  async end() {
    await this.program.end();
    await this.server.end();
  }
}

/** libsodium's ChaCha20-Poly1305 on one core, with nothing around it. */
export class Sodium {
  constructor(build) { this.program = new Program(resolve(build, 'bench/sodium'), []); }
  /** Seals buffers of so many bytes: { n, rate, … }, of buffers. */
  async seal(bytes, ms) { return told(await timed([this.program.pid], () => this.program.tell('seal', bytes, ms))); }
  end() { return this.program.end(); }
}

/** SQLite alone, and the store with nothing around it (bench/store). */
export class Store {
  constructor(build) { this.program = new Program(resolve(build, 'bench/store'), []); }
  /** Changes of one row, each committed and synced by itself: { n, rate, p50us, p99us, … }. */
  async commits(file, rows, bytes, ms) {
    const measured = await timed([this.program.pid], () => this.program.tell('commit', file, rows, bytes, ms));
    const { p50us, p99us } = measured.value;
    return { ...told(measured), p50us, p99us };
  }
  /** Stores actors: { n, rate, bytes } of addresses and states. The store is left open. */
  fill(file, actors, bytes) { return this.program.tell('fill', file, actors, bytes); }
  /** { ms } until it is open. It stays so. */
  open(file) { return this.program.tell('open', file); }
  /** { ms } until all is in its tables, and it is closed. */
  close() { return this.program.tell('close'); }
  /** Nothing of a file is in memory then, as after a start of the machine: { bytes } of it. */
  cool(file) { return this.program.tell('cool', file); }
  end() { return this.program.end(); }
  /** At once, whatever it does. */
  kill() { return this.program.kill(); }
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

/** The codec beside V8's serializer and @msgpack/msgpack: tests/bench/codec, with the flags of the actor-host. */
export class Codec {
  constructor(build) {
    this.program = new Program(process.execPath, ['--no-node-snapshot', '--no-turboshaft-loop-unrolling', join(import.meta.dirname, '../codec/main.cjs'),
      resolve(build, 'lib/codec.node')]);
  }
  /** { us, cpuus, bytes } of encoding or decoding a value `n` times. */
  run(peer, direction, value, n) { return this.program.tell(peer, direction, value, n); }
  end() { return this.program.end(); }
}

const ANSWER = 60_000; // ms

/** PM2, in cluster mode: its daemon is a process of its own, which starts the instances of a program. */
export class Pm2 {
  static #dir = join(peers, 'pm2/node_modules/pm2');
  static there = existsSync(Pm2.#dir);
  static version() { return JSON.parse(readFileSync(join(Pm2.#dir, 'package.json'), 'utf8')).version; }

  /** `instances` of the program `script`, which share `port`. */
  static async start(script, instances, port) {
    const pm2 = new Pm2();
    // It takes the first `node` of PATH for its daemon, and reads where its files are when it is loaded.
    Object.assign(process.env, { PM2_HOME: scratch(), PM2_DISCRETE_MODE: 'true', PATH: `${dirname(process.execPath)}:${process.env.PATH}` });
    pm2.api = createRequire(import.meta.url)(Pm2.#dir);
    pm2.home = process.env.PM2_HOME;
    await pm2.#do('connect');
    await pm2.#do('start', { script, name: 'bench', instances, exec_mode: 'cluster', cwd: dirname(script), env: { PORT: `${port}`, NODE_ENV: 'production' } });
    return pm2;
  }
  #do(what, ...args) {
    return new Promise((done, failed) => {
      const late = setTimeout(() => failed(new Error(`pm2 ${what}: no answer within ${ANSWER / 1000} s`)), ANSWER);
      this.api[what](...args, (error, value) => {
        clearTimeout(late);
        if (error) failed(new Error(`pm2 ${what}: ${error.message ?? error}`));
        else done(value);
      });
    });
  }
  /** Replaces one instance after the other; resolves when all are. */
  reload() { return this.#do('reload', 'bench'); }
  async end() {
    await this.#do('killDaemon');
    this.api.disconnect();
  }
}
