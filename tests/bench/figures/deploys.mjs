// SPDX-License-Identifier: Apache-2.0
//
// What a person waits for: `ctl deploy` of a program with more than 300 packages, when nothing has changed and when one file has; and
// `ctl dev`, from a save until what was saved is current.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { bin, ctlOk } from '../../integration/cluster.mjs';
import { Program } from '../../programs/program.mjs';
import { median } from '../lib/measure.mjs';

const TIMES = 7;

async function deploys({ report }) {
  const name = 'deploy: 300 packages, nothing has changed';
  if (!existsSync(resolve(import.meta.dirname, '../../programs/commonjs/node_modules'))) {
    report.bar({ name, atMost: 300, unit: 'ms', why: 'its packages are not installed' });
    return;
  }
  const program = await Program.start('tests/programs/commonjs');
  try {
    const timed = async () => {
      const from = performance.now();
      const said = JSON.parse(await ctlOk(program.node, '--json', 'deploy', program.dir));
      return { ms: performance.now() - from, ...said.files };
    };
    const first = await timed();
    report.line({ figure: 'deploy', peer: 'isola', kind: 'first', ms: Math.round(first.ms), files: first.all, sent: first.sent, bytes: first.bytes });
    for (const [kind, change] of [['unchanged', () => {}], ['one file', (i) => program.change('routes/index.js', (text) => `${text}// ${i}\n`)]]) {
      const all = [];
      for (let i = 0; i < TIMES; i++) {
        change(i);
        all.push(await timed());
      }
      const ms = Math.round(median(all.map((d) => d.ms))), sent = Math.max(...all.map((d) => d.sent));
      report.line({ figure: 'deploy', peer: 'isola', kind, ms, all: all.map((d) => Math.round(d.ms)), files: all[0].all, sent, bytes: Math.max(...all.map((d) => d.bytes)) });
      if (change.length > 0) {
        report.bar({ name: 'deploy: files that are sent when one has changed', atMost: 1, unit: 'files', value: sent });
      } else {
        report.bar({ name, atMost: 300, unit: 'ms', value: ms });
        report.bar({ name: 'deploy: files that are sent when none has changed', atMost: 0, unit: 'files', value: sent });
      }
    }
  } finally {
    await program.end();
  }
}

async function saves({ report }) {
  const dir = mkdtempSync(join(tmpdir(), 'isola-bench-')), app = join(dir, 'shop');
  mkdirSync(app);
  const save = (step) => { // as editors do that never leave a file half written
    writeFileSync(join(app, 'counter.js~'), `export default (self) => { self.on('add', (by = ${step}) => (self.state.n = (self.state.n ?? 0) + by)); };\n`);
    renameSync(join(app, 'counter.js~'), join(app, 'counter.js'));
  };
  writeFileSync(join(app, 'isola.json'), '{ "name": "shop", "actors": { "Counter": { "module": "./counter.js" } } }\n');
  save(0);
  const dev = spawn(join(bin, 'ctl'), ['--json', 'dev', app], { stdio: ['ignore', 'pipe', 'inherit'] });
  const over = once(dev, 'exit');
  try {
    const lines = createInterface({ input: dev.stdout })[Symbol.asyncIterator]();
    const deployed = async () => {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw new Error('ctl dev has ended');
        const said = JSON.parse(value);
        if (said.release !== undefined) return;
      }
    };
    await deployed();
    const all = [];
    for (let i = 1; i <= 3 * TIMES; i++) {
      const from = performance.now();
      save(i);
      await deployed();
      all.push(Math.round(performance.now() - from));
    }
    report.line({ figure: 'dev', peer: 'isola', ms: median(all), all });
    report.bar({ name: 'dev: from a save until it is current', atMost: 200, unit: 'ms', value: median(all) });
  } finally {
    dev.kill('SIGINT');
    await over;
    rmSync(dir, { recursive: true, force: true });
  }
}

export const deploying = {
  name: 'deploys',
  async run(ctx) {
    await deploys(ctx);
    await saves(ctx);
  },
};
