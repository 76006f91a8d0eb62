// SPDX-License-Identifier: Apache-2.0
//
// `ctl dev` with real agents: what is saved is deployed, what breaks is told, what is kept stays, and nothing is left behind.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { Cluster, until } from './cluster.mjs';
import { ctl, scratch, startCtl } from './ctl.mjs';

const files = {
  'isola.json': '{ "name": "shop", "actors": { "Counter": { "module": "./counter.js" } } }',
  'counter.js': `import { step } from './lib/step.js';
export default (self) => {
  self.state.n ??= 0;
  console.log('begins');
  self.on('add', () => (self.state.n += step));
  self.on('boom', () => { setTimeout(() => { throw new TypeError('it broke'); }); });
  self.on('say', (text) => { console.warn(text); });
};
`,
  'lib/step.js': 'export const step = 1;\n',
};

function app(t) {
  const dir = path.join(scratch(t), 'app');
  for (const [name, text] of Object.entries(files)) write(dir, name, text);
  return dir;
}

function write(dir, name, text) {
  fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
  fs.writeFileSync(path.join(dir, name), text);
}

/** As editors do that never leave a file half written. */
function replace(dir, name, text) {
  write(dir, `${name}~new~`, text);
  fs.renameSync(path.join(dir, `${name}~new~`), path.join(dir, name));
}

const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

class Dev {
  #text = '';
  #from = 0;

  constructor(t, args, options) {
    const { child, done } = startCtl(t, ['dev', ...args], options);
    Object.assign(this, { child, done });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { this.#text += chunk; });
  }

  /** What stands from the last match on, once `pattern` is in it. */
  async says(pattern) {
    const match = await until(`${pattern}`, () => pattern.exec(this.#text.slice(this.#from)));
    this.#from += match.index + match[0].length;
    return match;
  }

  async stop() {
    this.child.kill('SIGINT');
    const { status } = await this.done;
    assert.equal(status, 0, this.#text);
  }
}

async function started(t, dir, ...args) {
  const dev = new Dev(t, [dir, ...args]);
  await dev.says(/watching .*\n/);
  dev.node = path.join(dir, '.isola/agent.sock');
  dev.ask = async (...words) => (await ctl(['ask', 'shop/Counter/one', ...words], { node: dev.node })).stdout.trim();
  return dev;
}

const pids = async (dev) => {
  const [node] = JSON.parse((await ctl(['--json', 'nodes'], { node: dev.node })).stdout).nodes;
  return [node.pid, node.host_pid];
};

test('deploys what is saved, and keeps what actors keep', async (t) => {
  const dir = app(t);
  const dev = await started(t, dir);
  await dev.says(/deployed shop, release \w+ \(\d+ ms\)\n/);
  const [, command] = await dev.says(/ask it {2}(ctl --node \S+ ask shop\/Counter\/one EVENT)\n/);
  assert.equal(command, `ctl --node ${dev.node} ask shop/Counter/one EVENT`);
  assert.equal(await dev.ask('add'), '1');
  await dev.says(/Counter\/one {2}begins\n/);

  await t.test('a module of a module', async () => {
    write(dir, 'lib/step.js', 'export const step = 10;\n');
    await dev.says(/deployed shop/);
    assert.equal(await dev.ask('add'), '11');
  });
  await t.test('a file that is put in the place of another', async () => {
    replace(dir, 'lib/step.js', 'export const step = 100;\n');
    await dev.says(/deployed shop/);
    assert.equal(await dev.ask('add'), '111');
  });
  await t.test('directories that are new', async () => {
    write(dir, 'new/deep/step.js', 'export const step = 1000;\n');
    await dev.says(/deployed shop/);
    replace(dir, 'counter.js', files['counter.js'].replace('./lib/', './new/deep/'));
    await dev.says(/deployed shop/);
    write(dir, 'new/deep/step.js', 'export const step = 2000;\n');
    await dev.says(/deployed shop/);
    assert.equal(await dev.ask('add'), '2111');
  });
  await t.test('an error has its place and the code around it, and the next save is another try', async () => {
    write(dir, 'new/deep/step.js', 'export const step = ;\n');
    const [text] = await dev.says(/ctl: cannot bundle new\/deep\/step\.js:1:21: .*\n.*export const step = ;\n.*\^?/);
    assert.match(text, /1 │ export const step = ;/);
    assert.equal(await dev.ask('add'), '4111', 'what was there goes on');
    write(dir, 'isola.json', '{ "name": "shop", "actors": { "Counter": { "module": "./none.js" } } }');
    await dev.says(/ctl: .*none\.js/);
    write(dir, 'isola.json', files['isola.json']);
    write(dir, 'new/deep/step.js', 'export const step = 5;\n');
    await dev.says(/deployed shop/);
    assert.equal(await dev.ask('add'), '4116');
  });
  await t.test('what is logged, with stacks of the sources', async () => {
    await dev.ask('say', '"look here"');
    await dev.says(/ warn +dev shop\/Counter\/one {2}look here\n/);
    await dev.ask('boom');
    await dev.says(/ error dev shop\/Counter\/one {2}crashed: TypeError: it broke\n +at .*shop\/counter\.js:6:/);
  });
  const running = await pids(dev);
  await dev.stop();
  assert.deepEqual(running.map(alive), [false, false]);

  const again = await started(t, dir);
  await again.says(/shop/);
  assert.equal(await again.ask('add'), '4121');
  await again.stop();
});

test('what is not the app is not watched', async (t) => {
  const dir = app(t);
  const dev = await started(t, dir);
  await dev.says(/ask it/);
  write(dir, 'node_modules/x/index.js', '1');
  write(dir, '.git/index', '1');
  write(dir, '.counter.js.swp', '1');
  write(dir, 'counter.js~', '1');
  write(dir, 'last.js', '1'); // an event after all of theirs
  const [text] = await dev.says(/[^]*deployed shop.*\n/);
  assert.equal(text.match(/unchanged|deployed/g).length, 1);
  assert.equal(fs.readFileSync(path.join(dir, '.isola/.gitignore'), 'utf8'), '*\n');
  await dev.stop();
});

test('a service starts anew at each save', async (t) => {
  const dir = app(t);
  const server = (text) => `import http from 'node:http';
const server = http.createServer((req, res) => res.end(${JSON.stringify(text)}));
server.listen(process.env.PORT, () => console.log('serves ${text} at', server.address().port));
process.on('SIGTERM', () => server.close());
`;
  write(dir, 'package.json', '{ "type": "module" }');
  write(dir, 'server.js', server('one'));
  write(dir, 'isola.json', '{ "name": "shop", "actors": { "Web": { "module": "./server.js", "kind": "service" } } }');
  const dev = await started(t, dir);
  const [, first] = await dev.says(/serves one at (\d+)/);
  assert.equal(await (await fetch(`http://127.0.0.1:${first}`)).text(), 'one');
  write(dir, 'server.js', server('two'));
  const [, second] = await dev.says(/serves two at (\d+)/);
  assert.equal(await (await fetch(`http://127.0.0.1:${second}`)).text(), 'two');
  await dev.stop();
});

test('a second one in the same directory', async (t) => {
  const dir = app(t);
  const dev = await started(t, dir);
  const { status, stderr } = await ctl(['dev'], { cwd: dir });
  assert.deepEqual([status, stderr], [1, `ctl: another \`ctl dev\` is at work in ${fs.realpathSync(dir)}\n`]);
  await dev.stop();
});

test('an agent that dies is started again, and none outlives ctl', async (t) => {
  const dir = app(t);
  const dev = await started(t, dir);
  await dev.says(/ask it/);
  assert.equal(await dev.ask('add'), '1');
  const [agent] = await pids(dev);
  process.kill(agent, 'SIGKILL');
  await dev.says(/ctl: the agent was killed by signal 9, and is started again/);
  await dev.says(/deployed shop/);
  assert.equal(await dev.ask('add'), '2');
  await dev.ask('say', '"still here"');
  await dev.says(/still here/);
  const running = await pids(dev);
  dev.child.kill('SIGKILL');
  await dev.done;
  await until('agent and actor-host have ended', () => !running.some(alive));
});

test('a second Ctrl-C ends it at once', async (t) => {
  const dir = app(t);
  const dev = await started(t, dir);
  await dev.says(/ask it/);
  const running = await pids(dev);
  const children = () => fs.readFileSync(`/proc/${dev.child.pid}/task/${dev.child.pid}/children`, 'utf8').trim().split(' ').length;
  await until('the log is there', () => children() === 2);
  process.kill(running[0], 'SIGSTOP'); // which no SIGTERM ends
  dev.child.kill('SIGINT');
  await until('the first is taken', () => children() === 1);
  dev.child.kill('SIGINT');
  await dev.done;
  await until('agent and actor-host have ended', () => !running.some(alive));
});

test('--node deploys to another agent, --json says it in lines', async (t) => {
  const cluster = new Cluster();
  t.after(() => cluster.end());
  const east = await cluster.node('east');
  const dir = app(t);
  const dev = new Dev(t, [dir, '--json', '--node', east.socket]);
  const [first] = await dev.says(/.*\n/);
  assert.deepEqual(JSON.parse(first), { dev: { dir: fs.realpathSync(dir), data: null, socket: east.socket } });
  assert.equal(JSON.parse((await dev.says(/.*\n/))[0]).app, 'shop');
  assert.equal(fs.existsSync(path.join(dir, '.isola')), false);
  write(dir, 'counter.js', 'export default (');
  assert.equal(JSON.parse((await dev.says(/.*\n/))[0]).error.code, 'EMODULE');
  write(dir, 'counter.js', files['counter.js']);
  assert.equal(JSON.parse((await dev.says(/.*\n/))[0]).unchanged, true);
  await dev.stop();
});

test('what is no app directory', async (t) => {
  const dir = scratch(t);
  const none = await ctl(['dev', path.join(dir, 'none')]);
  assert.deepEqual([none.status, none.stderr], [1, `ctl: cannot use ${dir}/none: No such file or directory; 'ctl dev' takes an app's directory\n`]);
  fs.mkdirSync(path.join(dir, '.isola'));
  const other = await ctl(['dev', dir]);
  assert.equal(other.status, 1);
  assert.match(other.stderr, /\.isola is there and not of `ctl dev`/);
});
