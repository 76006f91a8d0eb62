// SPDX-License-Identifier: Apache-2.0
//
// An app with a service whose instances say which version they are, for tests of canaries.
import assert from 'node:assert/strict';

import { Cluster, ctl, ctlOk, freePort, until, whole } from './cluster.mjs';
import { Load } from './load.mjs';

/** Its files; each instance answers with its version, its number and its release. */
export const app = (version, { port, instances, more = '', types = {}, rollout = { window: '0ms' }, kind = 'service', service = {} }) => ({
  'isola.json': { name: 'api', actors: { Api: { module: './server.js', kind, ...(kind === 'service' && { port, instances, ...service }) }, ...types }, rollout },
  'server.js': `const http = require('node:http');
http.createServer((request, response) => response.end(JSON.stringify({ version: ${version}, instance: process.env.ISOLA_INSTANCE, release: process.env.ISOLA_RELEASE }))).listen(process.env.PORT);
${more}`,
});
export const json = async (agent, ...args) => JSON.parse(await ctlOk(agent, '--json', ...args));
/** What `ps` has of its instances. */
export const rowsOf = async (agent) => (await whole(agent, 'ps', { app: 'api' })).actors.filter((r) => r.isolation === 'process');
/** "Api/0@east", sorted. */
export const named = (rows) => rows.map((r) => `${r.address.slice(4)}@${r.node}`).sort();
export const refused = async (agent, ...args) => {
  const { status, out } = await ctl(agent, '--json', ...args);
  assert.notEqual(status, 0, `ctl ${args.join(' ')} succeeded: ${out}`);
  return JSON.parse(out).error;
};

/** One of them on one node, and what it answers under load. */
export class Site {
  cluster = new Cluster();
  seen = new Map(); // version → instances that have answered

  async open(options) {
    this.agent = await this.cluster.node('east');
    this.options = { port: await freePort(), ...options };
    return this;
  }
  dir(version, more = {}) { return this.cluster.app('api', app(version, { ...this.options, ...more })); }
  deploy(version, more, ...args) { return json(this.agent, 'deploy', this.dir(version, more), ...args); }
  rows() { return rowsOf(this.agent); }
  /** Waits until the instances run the releases of this list, by their numbers, and nothing else is there. */
  runs(...releases) {
    return until(`they run ${releases}`, async () => {
      const rows = (await this.rows()).sort((a, b) => a.address.localeCompare(b.address));
      return rows.length === releases.length && rows.every((r, i) => r.state === 'running' && r.release === releases[i]) && rows;
    });
  }
  load() {
    const good = ({ body }) => {
      const { version, instance } = JSON.parse(body);
      if (!this.seen.has(version)) this.seen.set(version, new Set());
      this.seen.get(version).add(instance);
    };
    this.under = new Load([{ path: '/', good }], { port: this.options.port, clients: 8 });
  }
  /** Instances of this version answer. */
  answers(version, ...instances) {
    this.seen.clear();
    return until(`${instances} answer as version ${version}`, () => instances.every((i) => this.seen.get(version)?.has(String(i))) || this.under.failures.length > 0);
  }
}
