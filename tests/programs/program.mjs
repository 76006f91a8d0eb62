// SPDX-License-Identifier: Apache-2.0
//
// Programs that know nothing of Isola, deployed as they are: each a directory here or in examples, with what `npm ci` has installed in it
// (`scripts/setup.sh test`). A test gets a copy on a port that is free, and deploys it again and again under load.
import assert from 'node:assert/strict';
import { cpSync, existsSync, linkSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';

import { Cluster, ctlOk, freePort, until, whole } from '../integration/cluster.mjs';
import { ask, Load } from '../integration/load.mjs';

const root = resolve(import.meta.dirname, '../..');
const PORT = 3000; // of all of them

/** Packages have thousands of files, which nobody changes: one more name for each is enough, where that can be. */
async function linkAll(from, to) {
  await mkdir(to);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name), target = join(to, entry.name);
    if (entry.isDirectory()) await linkAll(source, target);
    else if (entry.isSymbolicLink()) cpSync(source, target, { verbatimSymlinks: true });
    else linkSync(source, target);
  }
}

export class Program {
  cluster = new Cluster();
  node; // the agent
  dir; // the copy that is deployed
  port;
  app; // its name, when it is deployed

  /** A copy of the directory `source`, below the project's, and a node to deploy it to. */
  static async start(source) {
    const p = new Program();
    const from = join(root, source);
    if (!existsSync(join(from, 'node_modules')))
      throw new Error(`the packages of ${source} are not installed: run scripts/setup.sh test`);
    try {
      await p.#copy(from);
      p.node = await p.cluster.node('east');
    } catch (error) {
      p.cluster.kill();
      throw error;
    }
    return p;
  }

  async #copy(from) {
    this.port = await freePort();
    this.dir = join(this.cluster.dir, 'apps', basename(from));
    const modules = join(from, 'node_modules'), own = join(this.dir, 'node_modules');
    cpSync(from, this.dir, { recursive: true, filter: (path) => path !== modules });
    await linkAll(modules, own).catch(() => cpSync(modules, own, { recursive: true, verbatimSymlinks: true }));
    // The port that it is written for may be another program's.
    if (existsSync(join(this.dir, 'isola.json'))) this.change('isola.json', (text) => text.replace(`"port": ${PORT}`, `"port": ${this.port}`));
    else this.change('package.json', (text) => text.replace('"start": "', `"start": "PORT=${this.port} `));
  }

  end() { return this.cluster.end(); }

  /** Makes another text of a file. */
  change(file, edit) {
    const path = join(this.dir, file), text = readFileSync(path, 'utf8'), other = edit(text);
    assert.notEqual(other, text, `${relative(this.dir, path)} is as it was`);
    writeFileSync(path, other);
  }

  async rows() { return (await whole(this.node, 'ps', { app: this.app })).actors.filter((r) => r.isolation === 'process'); }

  /** `ctl deploy DIR`: what it says, when all instances are those of this release, and those before are gone. */
  async deploy() {
    const before = this.app === undefined ? [] : await this.rows();
    const said = JSON.parse(await ctlOk(this.node, '--json', 'deploy', this.dir));
    this.app = said.app;
    await until(`${said.app} runs release ${said.release}`, async () => {
      const rows = await this.rows();
      const broken = rows.find((r) => r.failure !== undefined);
      assert.equal(broken, undefined, broken?.failure);
      return rows.length > 0 && rows.every((r) => r.state === 'running' && r.release === said.release);
    });
    if (!said.unchanged) for (const { pid } of before) await until(`process ${pid} has ended`, () => !existsSync(`/proc/${pid}`));
    return said;
  }

  ask(path, options = {}) { return ask({ port: this.port, path, ...options }); }

  /** A request with a JSON body: [status, JSON]. */
  async post(path, body, method = 'POST') {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const r = await this.ask(path, { method, body: text, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } });
    return [r.status, JSON.parse(r.body)];
  }

  async get(path) {
    const r = await this.ask(path);
    return [r.status, JSON.parse(r.body)];
  }

  load(requests, options = {}) { return new Load(requests, { port: this.port, ...options }); }

  /** Deploys it under load as often as there are `edits`, each a function that changes it and tells how it is seen that the new one answers. */
  async redeploy(t, requests, edits, options) {
    const load = this.load(requests, options);
    try {
      await load.more();
      for (const edit of edits) {
        const seen = edit();
        const { files } = await this.deploy();
        assert.equal(files.sent, 1, 'what has changed is sent, and no more');
        await load.more();
        await until('the new one answers', seen);
      }
    } finally {
      await load.stop();
    }
    t.diagnostic(await load.end());
  }
}
