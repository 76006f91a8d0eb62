// SPDX-License-Identifier: Apache-2.0
//
// examples/express-users as a service: beside the same program under `node` alone; and how two instances of it are replaced under load,
// beside PM2's reload.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';

import { Cluster, ctlOk, freePort, until, whole } from '../../integration/cluster.mjs';
import { combine, median, pause, timed } from '../lib/measure.mjs';
import { Pm2 } from '../lib/peers.mjs';
import { hasWrk, wrk } from '../lib/wrk.mjs';

const EXAMPLE = resolve(import.meta.dirname, '../../../examples/express-users');
const CONNECTIONS = 64;
const BESIDE = 'service: requests of an Express program : the same under bare node';

/** The example with its packages as an app of `instances` on `port`, in a directory of its own. */
function app(cluster, instances, port) {
  const dir = join(cluster.dir, 'express-users');
  cpSync(EXAMPLE, dir, { recursive: true });
  writeFileSync(join(dir, 'isola.json'), JSON.stringify({ name: 'users', actors: { Server: { module: './server.js', kind: 'service', instances, port } } }));
  return dir;
}

const instances = async (node) => (await whole(node, 'ps', { app: 'users' })).actors;
const answers = (port) => until(`port ${port} answers`, () => fetch(`http://127.0.0.1:${port}/users/1`).then((r) => r.ok, () => false));

/** All run, and none of them is one of `gone`. */
const replaced = (node, n, gone = []) => until('all instances run', async () => {
  const all = await instances(node);
  return all.length === n && all.every((r) => r.state === 'running' && !gone.includes(r.pid)) && all;
});

async function beside(ctx, cluster, node) {
  const [port, other] = [await freePort(), await freePort()];
  const dir = app(cluster, 1, port);
  await ctlOk(node, 'deploy', dir);
  const [{ pid }] = await replaced(node, 1);
  // In a session of its own, as services and what systemd starts are: Linux shares out processors by session (autogroup), and a program in that of
  // wrk is woken differently.
  const bare = spawn(process.execPath, ['server.js'], { detached: true, cwd: dir, env: { PATH: process.env.PATH, PORT: other, NODE_ENV: 'production' }, stdio: 'ignore' });
  try {
    await Promise.all([answers(port), answers(other)]);
    const round = async (at, pids, on) => {
      const { value, cpu, others } = await timed(pids, () => wrk(`http://127.0.0.1:${at}/users/1`, CONNECTIONS, ctx.ms, on));
      return { ...value, cpuus: (cpu * 1000) / value.n, others };
    };
    const mine = [], theirs = [];
    for (let i = -1; i < ctx.rounds; i++) { // the first to warm up
      const one = [await round(port, [pid, node.pid]), await round(other, [bare.pid])];
      if (i < 0) continue;
      mine.push(one[0]);
      theirs.push(one[1]);
    }
    const say = (figure) => [['isola', mine], ['node', theirs]].map(([peer, all]) => {
      const of = combine(all);
      ctx.report.line({ figure, peer, connections: CONNECTIONS, ...of, failed: all.reduce((sum, r) => sum + r.failed, 0) });
      return of;
    });
    say('service');
    mine.length = theirs.length = 0;
    // A virtual processor may run at half its speed for seconds. What slows it slows both, when they share it and are asked at the same time.
    const pin = availableParallelism() > 1;
    if (pin) for (const p of [pid, bare.pid]) execFileSync('taskset', ['-a', '-p', '-c', '0', String(p)]);
    const on = pin ? ['taskset', '-c', '1'] : [];
    for (let i = 0; i < 2 * ctx.rounds; i++) {
      const [one, other_] = await Promise.all([round(port, [pid, node.pid], on), round(other, [bare.pid], on)]);
      mine.push(one);
      theirs.push(other_);
    }
    const [ours, peer] = say('service-together');
    ctx.report.bar({ name: BESIDE, atLeast: 0.95, unit: 'x', value: median(mine.map((r, i) => r.rate / theirs[i].rate)),
      ours: ours.rate, theirs: peer.rate, cpu: peer.cpuus / ours.cpuus });
  } finally {
    const over = once(bare, 'exit');
    bare.kill('SIGKILL');
    await over;
  }
}

/** What becomes of the requests while `reload` is done `times` times: { ms, n, failed, … }. */
async function reloads(port, times, reload) {
  const load = wrk(`http://127.0.0.1:${port}/users/1`, CONNECTIONS, 3000 * times + 2000);
  const all = [];
  await pause(1000);
  for (let i = 0; i < times; i++) {
    const from = performance.now();
    await reload();
    all.push(performance.now() - from);
  }
  return { ms: Math.round(median(all)), all: all.map(Math.round), ...await load };
}

async function reloaded(ctx, cluster, node) {
  const { report } = ctx;
  const times = ctx.full ? 5 : 2;
  const port = await freePort();
  const dir = app(cluster, 2, port);
  await ctlOk(node, 'deploy', dir);
  await replaced(node, 2);
  const ours = await reloads(port, times, async () => {
    const before = (await instances(node)).map((r) => r.pid);
    await ctlOk(node, 'restart', 'users/Server');
    await replaced(node, 2, before);
  });
  report.line({ figure: 'reload', peer: 'isola', instances: 2, connections: CONNECTIONS, ...ours });
  report.bar({ name: 'reload: requests that fail while two instances are replaced', atMost: 0, unit: 'of all', value: ours.failed });
  const name = "reload: two instances of an Express program replaced : PM2's reload";
  if (!Pm2.there) {
    report.bar({ name, atMost: 1, unit: 'x', why: 'no PM2 here' });
    return;
  }
  await ctlOk(node, 'stop', 'users/Server');
  const pm2 = await Pm2.start(join(dir, 'server.js'), 2, port);
  try {
    await answers(port);
    const theirs = await reloads(port, times, () => pm2.reload());
    report.line({ figure: 'reload', peer: 'pm2', instances: 2, connections: CONNECTIONS, ...theirs });
    report.bar({ name, atMost: 1, unit: 'x', value: ours.ms / theirs.ms, ours: ours.ms, theirs: theirs.ms });
  } finally {
    await pm2.end();
  }
}

/** How long until what ran before runs again, everywhere. */
async function back(ctx, cluster, node) {
  const dir = join(cluster.dir, 'express-users');
  const all = [];
  for (let i = 0; i < 5; i++) {
    const [was] = await instances(node);
    writeFileSync(join(dir, 'note.txt'), `${i}`);
    const { release } = JSON.parse(await ctlOk(node, '--json', 'deploy', dir));
    await until('the other release runs', async () => (await instances(node)).every((r) => r.release === release && r.state === 'running'));
    const from = performance.now();
    await ctlOk(node, 'rollback', 'users');
    await until('the one before runs', async () => (await instances(node)).every((r) => r.release === was.release && r.state === 'running'));
    all.push(Math.round(performance.now() - from));
  }
  ctx.report.line({ figure: 'rollback', peer: 'isola', instances: 2, ms: median(all), all });
  ctx.report.bar({ name: 'releases: a roll-back, until two instances are back', atMost: 1000, unit: 'ms', value: median(all) });
}

export const services = {
  name: 'services',
  async run(ctx) {
    const why = !hasWrk ? 'no wrk here' : !existsSync(join(EXAMPLE, 'node_modules')) ? 'the packages of examples/express-users are not installed' : undefined;
    if (why !== undefined) {
      ctx.report.bar({ name: BESIDE, atLeast: 0.95, unit: 'x', why });
      return;
    }
    for (const part of [[beside], [reloaded, back]]) {
      const cluster = new Cluster();
      try {
        const node = await cluster.node('bench');
        for (const figure of part) {
          if (figure === back) await ctlOk(node, 'restart', 'users/Server').then(() => replaced(node, 2));
          await figure(ctx, cluster, node);
        }
      } finally {
        await cluster.end();
      }
    }
  },
};
