// SPDX-License-Identifier: Apache-2.0
//
// Where scripts that mean harm are let loose: an app whose actors run what they are told to, each case an actor of its own, with
// bystanders in isolates of their own and in shared ones, who are asked all the while. Whatever a case does, its actor alone may suffer:
// it must say which limit it met, start again, and the same actor-host must run at the end.
import assert from 'node:assert/strict';

import { Cluster, cpuOf, logged, nodes } from './cluster.mjs';

const WORKERS = 3; // cases at once
const PATIENCE = { timeout: 120_000 }; // with what has to wait for a processor
const SCRIPT = `
import { actor } from 'isola';
import { AsyncLocalStorage } from 'node:async_hooks';
import crypto from 'node:crypto';
import util from 'node:util';
import zlib from 'node:zlib';
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const given = { actor, sleep, AsyncLocalStorage, crypto, util, zlib };
export default (self) => {
  self.on('echo', (v) => v);
  self.on('run', (code) => new Function('self', ...Object.keys(given), code)(self, ...Object.values(given)));
};`;
const BYSTANDER = `export default (self) => { self.on('echo', (v) => v); };`;

export class Arena {
  cluster = new Cluster();
  node;
  #app;
  #pid;
  #serial = 0;
  #watch = { slowest: 0, asked: 0, failure: undefined, over: false, done: undefined };

  /** `types`: { Name: limits… }, each of which runs scripts. */
  constructor(app, types) {
    this.#app = app;
    const actors = Object.fromEntries(Object.entries(types).map(([name, more]) => [name, { module: './script.js', restart: { max: 1000, within: '1ms', backoff: '0ms' }, ...more }]));
    this.files = { 'isola.json': { name: app, permissions: { apps: ['by'] }, actors }, 'script.js': SCRIPT };
  }

  async open() {
    this.node = await this.cluster.node('one');
    await this.cluster.deploy(this.node, this.#app, this.files);
    await this.cluster.deploy(this.node, 'by', { 'isola.json': { name: 'by', actors: { By: { module: './by.js' }, ByS: { module: './by.js', isolation: 'shared' } } }, 'by.js': BYSTANDER });
    this.#pid = await this.hostPid();
    this.#watch.done = this.#stand().catch((e) => { this.#watch.failure = e; });
  }

  close() {
    this.#watch.over = true;
    return this.cluster.end();
  }

  async hostPid() { return (await nodes(this.node))[0].host_pid; }

  // Asks bystanders in turn, until it is stopped. How long an answer takes is what the actor-host has worked meanwhile: it may have to wait for a processor.
  async #stand() {
    const w = this.#watch;
    const refs = Array.from({ length: 8 }, (_, i) => this.node.client.actor(i % 2 ? 'by/By' : 'by/ByS', `b${i}`));
    for (let i = 0; !w.over; i++) {
      const start = cpuOf(this.#pid);
      assert.equal(await refs[i % refs.length].ask('echo', i, PATIENCE), i);
      w.slowest = Math.max(w.slowest, cpuOf(this.#pid) - start);
      w.asked++;
    }
  }

  /** They were answered throughout, within `most` ms of CPU time of the actor-host, and the actor-host is the one of the beginning. */
  async unharmed(most) {
    const w = this.#watch;
    w.over = true;
    await w.done;
    assert.equal(await this.hostPid(), this.#pid, `the same actor-host runs; the agent's log: ${this.node.log()}`);
    assert.ifError(w.failure);
    assert.ok(w.asked > 0 && w.slowest < most, `the slowest of ${w.asked} answers of bystanders took ${w.slowest} ms of CPU time`);
  }

  /** Runs `code` in a new actor of `type`: { address, value } or { address, error }; afterwards the actor must answer again. */
  async run(type, code) {
    const address = `${this.#app}/${type}/k${++this.#serial}`, ref = this.node.client.actor(address);
    assert.equal(await ref.ask('echo', 'before', PATIENCE), 'before');
    const outcome = await ref.ask('run', code, PATIENCE).then((value) => ({ address, value }), (error) => ({ address, error }));
    assert.equal(await ref.ask('echo', 'after', PATIENCE), 'after', code);
    return outcome;
  }

  /** What its log says that it has crashed of. */
  crash(address) { return logged(this.node, address, /^crashed: /); }

  /** It crashes, and its log says of what. */
  async crashes(type, code, says) {
    const { address, value, error } = await this.run(type, code);
    assert.equal(error?.code, 'EFAILED', `it said ${JSON.stringify(value) ?? `${error.code} ${error.message.slice(0, 200)}`}`);
    assert.match(await this.crash(address), says);
  }

  /** All of [name, () => promise], some at once; what failed is told of together. */
  async all(cases) {
    const left = [...cases], failures = [];
    await Promise.all(Array.from({ length: WORKERS }, async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift())
        await next[1]().catch((e) => failures.push(`${next[0]}: ${e.message}`));
    }));
    assert.deepEqual(failures, []);
  }
}
