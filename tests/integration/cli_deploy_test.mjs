// SPDX-License-Identifier: Apache-2.0
//
// `ctl deploy` from outside: what is sent, that it is the same wherever the app lies, and each way it can go wrong. Needs
// esbuild (node_modules, or ISOLA_ESBUILD).

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { failure, fakeAgent } from './fake_agent.mjs';
import { ctl, scratch, startCtl } from './ctl.mjs';

const result = (m) => ({ app: m.args[0].app, release: '0123456789abcdef', unchanged: false, types: ['Counter', 'Other'], nodes: ['east', 'west'] });

const files = {
  'isola.json': '{ "name": "shop", "actors": { "Counter": { "module": "./counter.js" }, "Twin": { "module": "counter.js", "isolation": "shared" }, "Other": { "module": "./lib/other.ts" } } }',
  'counter.js': "import { step } from './lib/step.js';\nimport data from './data.json';\nexport default (self) => { self.on('add', (n) => (self.state.n += n * step + data.zero)); };\n",
  'lib/step.js': 'export const step = 1;\n',
  'lib/other.ts': "import { actor } from 'isola';\nexport default class Other { size: number = 3; ask(key: string) { return actor('shop/Counter', key); } }\n",
  'data.json': '{ "zero": 0 }',
};

function app(dir, overrides = {}) {
  for (const [name, text] of Object.entries({ ...files, ...overrides })) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    if (text !== null) fs.writeFileSync(path.join(dir, name), text);
  }
  return dir;
}

// An agent, an app, and a temporary directory that must be empty in the end.
async function setup(t, overrides, methods = { deploy: result }) {
  const base = scratch(t);
  const tmp = path.join(base, 'tmp');
  fs.mkdirSync(tmp);
  const agent = await fakeAgent(path.join(base, 'agent.sock'), methods);
  t.after(() => agent.close());
  const dir = app(path.join(base, 'app'), overrides);
  return {
    base, tmp, agent, dir,
    deploy: async (args = [], options = {}) => {
      const done = await ctl(['deploy', dir, ...args], { node: agent.path, ...options, env: { TMPDIR: tmp, ...options.env } });
      assert.deepEqual(fs.readdirSync(tmp), [], 'the temporary directory is removed');
      return done;
    },
  };
}

const concurrency = 2;

test('deploy', { concurrency }, async (t) => {
  await t.test('sends the manifest and a bundle for each type', async (t) => {
    const { agent, deploy } = await setup(t);
    const { status, stdout, stderr } = await deploy();
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /^deployed shop, release 0123456789abcdef \(\d+ ms\)\n {2}types {2}Counter, Other\n {2}nodes {2}east, west\n$/);

    const [release] = agent.to('deploy')[0].args;
    assert.equal(release.app, 'shop');
    assert.equal(JSON.parse(release.manifest).name, 'shop');
    const bundles = Object.fromEntries(release.bundles.map((b) => [b.type, b]));
    assert.deepEqual(Object.keys(bundles).sort(), ['Counter', 'Other', 'Twin']);
    assert.match(bundles.Counter.code.toString(), /step = 1/);
    assert.deepEqual(bundles.Twin, { ...bundles.Counter, type: 'Twin' });
    assert.match(bundles.Other.code.toString(), /import \{ actor \} from "isola"/);
    assert.doesNotMatch(bundles.Other.code.toString(), /: number/);
    const map = JSON.parse(bundles.Counter.map);
    assert.deepEqual(map.sources, ['lib/step.js', 'data.json', 'counter.js']);
    assert.equal(map.sourcesContent, undefined, 'sources stay with their author');
  });
  await t.test('says which nodes do not have it yet', async (t) => {
    const { deploy } = await setup(t, {}, { deploy: (m) => ({ ...result(m), nodes: ['east'], later: ['north', 'west'] }) });
    assert.match((await deploy()).stdout, /^ {2}nodes {2}east\n {2}later {2}north, west \(not there now; gets the release when it is back\)\n$/m);
  });
  await t.test('--json', async (t) => {
    const { deploy } = await setup(t);
    const { stdout } = await deploy(['--json']);
    const { ms, ...rest } = JSON.parse(stdout);
    assert.ok(Number.isInteger(ms) && ms >= 0);
    assert.deepEqual(rest, { app: 'shop', release: '0123456789abcdef', unchanged: false, types: ['Counter', 'Other'], nodes: ['east', 'west'] });
  });
  await t.test('unchanged', async (t) => {
    const { deploy } = await setup(t, {}, { deploy: (m) => ({ ...result(m), unchanged: true }) });
    assert.match((await deploy()).stdout, /^shop is unchanged: release 0123456789abcdef /);
  });
  await t.test('the same app elsewhere is the same bytes', async (t) => {
    const { agent, base, tmp, deploy } = await setup(t);
    await deploy();
    const elsewhere = app(path.join(base, 'a/deeper/place'));
    await ctl(['deploy', '.'], { node: agent.path, cwd: elsewhere, env: { TMPDIR: tmp } });
    const [one, two] = agent.to('deploy').map((m) => m.args[0]);
    assert.deepEqual(two, one);
  });
  await t.test('no manifest: files that are actors by their names', async (t) => {
    const { agent, deploy } = await setup(t, {
      'isola.json': null,
      'package.json': '{ "name": "@acme/shop" }',
      'src/shopping-cart.actor.ts': 'export default class ShoppingCart { size: number = 3; }\n',
      'node_modules/x/x.actor.js': 'throw 1;\n',
    });
    assert.deepEqual((({ status, stderr }) => [status, stderr])(await deploy()), [0, '']);
    const [release] = agent.to('deploy')[0].args;
    assert.equal(release.app, 'acme-shop');
    assert.equal(release.manifest, '{"name":"acme-shop","actors":{"ShoppingCart":{"module":"src/shopping-cart.actor.ts"}}}');
    assert.deepEqual(release.bundles.map((b) => b.type), ['ShoppingCart']);
    assert.match(release.bundles[0].code.toString(), /size = 3/);
  });
  await t.test('an npm package is bundled, as an ES module where it has one', async (t) => {
    const { agent, deploy } = await setup(t, {
      'counter.js': "import left from 'left';\nexport default () => left;\n",
      'node_modules/left/package.json': '{"name":"left","main":"main.cjs","module":"main.mjs"}',
      'node_modules/left/main.cjs': 'module.exports = "common";',
      'node_modules/left/main.mjs': 'export default "module";',
    });
    assert.equal((await deploy()).status, 0);
    assert.match(agent.to('deploy')[0].args[0].bundles[0].code.toString(), /"module"/);
  });
});

test('what is wrong with the app is told, and nothing is sent', { concurrency }, async (t) => {
  const cases = {
    'a syntax error': [{ 'counter.js': 'export default () => {\n  let 2x;\n};\n' }, 'EMODULE',
      /^cannot bundle counter\.js:2:8: Syntax error "x"\n {6}2 │ {3}let 2x;\n/],
    'a missing import': [{ 'counter.js': "import x from './nothere.js';\nexport default () => x;\n" }, 'EMODULE',
      /^cannot bundle counter\.js:1:15: Could not resolve ".\/nothere\.js"/],
    'a package that is not installed': [{ 'counter.js': "import x from '@some/thing/sub';\nexport default () => x;\n" }, 'EMODULE',
      /^cannot bundle counter\.js:1:15: the package "@some\/thing" is not installed; run `npm install @some\/thing` in /],
    'no manifest': [{ 'isola.json': null }, 'ENOENT', /^there is nothing to run in .*: it has no isola\.json, .*NAME\.actor\.js/],
    'two files for one type': [{ 'cart.actor.js': '', 'src/cart.actor.ts': '' }, 'EMANIFEST', /"cart\.actor\.js" and "src\/cart\.actor\.ts" .* "Cart"/],
    'a manifest that is no JSON': [{ 'isola.json': '{\n  "name": ' }, 'EMANIFEST', /^isola\.json:2:/],
    'an unknown key': [{ 'isola.json': '{ "name": "shop", "actor": {} }' }, 'EMANIFEST', /isola\.json.*actor/],
    'a module outside the app': [{ 'isola.json': '{ "name": "shop", "actors": { "A": { "module": "../x.js" } } }' }, 'EMANIFEST', /\.\.\/x\.js/],
  };
  for (const [name, [overrides, code, message]] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const { agent, deploy } = await setup(t, overrides);
      const json = await deploy(['--json']);
      assert.deepEqual([json.status, json.stderr], [1, '']);
      const { error } = JSON.parse(json.stdout);
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      const plain = await deploy();
      assert.deepEqual([plain.status, plain.stdout], [1, '']);
      assert.equal(plain.stderr, `ctl: ${error.message}\n`);
      assert.equal(agent.connections, 0);
    });
  }
  await t.test('no such directory', async (t) => {
    const { agent, base } = await setup(t);
    const { status, stderr } = await ctl(['deploy', `${base}/none`], { node: agent.path });
    assert.deepEqual([status, stderr], [1, `ctl: ${base}/none is not a directory; 'ctl deploy' takes an app's directory\n`]);
  });
});

test('what is wrong with esbuild', { concurrency }, async (t) => {
  // a program in esbuild's place
  const script = (base, text) => {
    fs.writeFileSync(`${base}/esbuild`, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return `${base}/esbuild`;
  };
  await t.test('it is not there', async (t) => {
    const { deploy } = await setup(t);
    const { status, stderr } = await deploy([], { env: { ISOLA_ESBUILD: '/nonexistent/esbuild' } });
    assert.equal(status, 1);
    assert.match(stderr, /^ctl: cannot run esbuild, which bundles the app: \/nonexistent\/esbuild: .*ISOLA_ESBUILD\n$/);
  });
  await t.test('it fails with words of another kind', async (t) => {
    const { base, deploy } = await setup(t);
    const ISOLA_ESBUILD = script(base, 'echo "no idea" >&2; exit 3');
    assert.equal((await deploy([], { env: { ISOLA_ESBUILD } })).stderr, 'ctl: cannot bundle the app: no idea\n');
  });
  await t.test('it writes without end', async (t) => {
    const { base, deploy } = await setup(t);
    const ISOLA_ESBUILD = script(base, 'head -c 3000000 /dev/zero | tr "\\0" x >&2; exit 1');
    const { status, stderr } = await deploy([], { env: { ISOLA_ESBUILD } });
    assert.equal(status, 1);
    assert.ok(stderr.length < 1100);
  });
  await t.test('it writes nothing', async (t) => {
    const { base, deploy } = await setup(t);
    const { stderr } = await deploy([], { env: { ISOLA_ESBUILD: script(base, 'exit 0') } });
    assert.match(stderr, /^ctl: esbuild left no source map for Counter: /);
  });
  await t.test('its bundle is over the limit', async (t) => {
    const { base, deploy } = await setup(t);
    const out = 'for a; do case $a in --outdir=*) o=${a#--outdir=};; esac; done';
    const ISOLA_ESBUILD = script(base, `${out}; echo '{"sources":[]}' > $o/Counter.js.map; truncate -s 40M $o/Counter.js`);
    const { status, stdout } = await deploy(['--json'], { env: { ISOLA_ESBUILD } });
    assert.equal(status, 1);
    assert.deepEqual(JSON.parse(stdout).error, { code: 'ETOOBIG', message: 'the bundle of Counter has 40.0 MB; 32 MB are allowed' });
  });
  await t.test('it is killed', async (t) => {
    const { base, deploy } = await setup(t);
    const { stderr } = await deploy([], { env: { ISOLA_ESBUILD: script(base, 'kill -9 $$') } });
    assert.match(stderr, /^ctl: esbuild was killed by signal 9 /);
  });
  for (const signal of ['SIGINT', 'SIGTERM']) {
    await t.test(`${signal} while it runs`, async (t) => {
      const { base, tmp, dir, agent } = await setup(t);
      // the process writes its id into a pipe when it has begun, and then waits for what never comes
      execFileSync('mkfifo', [`${base}/begun`, `${base}/never`]);
      const ISOLA_ESBUILD = script(base, `echo $$ > ${base}/begun; read x <> ${base}/never`);
      const run = startCtl(t, ['deploy', dir], { node: agent.path, env: { TMPDIR: tmp, ISOLA_ESBUILD } });
      const pid = Number(await fs.promises.readFile(`${base}/begun`, 'utf8'));
      run.child.kill(signal);
      const { status, stderr } = await run.done;
      assert.deepEqual([status, stderr], [1, 'ctl: interrupted; nothing was deployed\n']);
      assert.deepEqual(fs.readdirSync(tmp), []);
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
      assert.equal(agent.connections, 0);
    });
  }
});

test('what the cluster refuses', { concurrency }, async (t) => {
  await t.test('a module that does not load', async (t) => {
    const stack = 'Error: Counter (counter.js): boom\n    at counter.js:1:7\n';
    const { deploy } = await setup(t, {}, { deploy: () => failure('EMODULE', 'Counter (counter.js): boom', stack) });
    const { status, stderr } = await deploy();
    assert.deepEqual([status, stderr], [1, 'ctl: EMODULE: Counter (counter.js): boom\n    at counter.js:1:7\n']);
  });
  await t.test('no agent', async (t) => {
    const { base, dir, tmp } = await setup(t);
    const { status, stderr } = await ctl(['deploy', dir], { node: `${base}/none.sock`, env: { TMPDIR: tmp } });
    assert.equal(status, 1);
    assert.match(stderr, /^ctl: cannot reach an agent at .*none\.sock: nothing listens there; /);
  });
  await t.test('an agent that hangs up', async (t) => {
    const { deploy } = await setup(t, {}, { deploy: (m, peer) => void peer.socket.destroy() });
    const { status, stderr } = await deploy();
    assert.equal(status, 1);
    assert.match(stderr, /^ctl: the agent at .* closed the connection before it answered\n$/);
  });
  await t.test('an answer that is none', async (t) => {
    const { deploy } = await setup(t, {}, { deploy: () => 5 });
    assert.equal((await deploy()).stderr, "ctl: the agent's answer has no result\n");
  });
});

test('docs/manifest.md: its example is taken, and it has all keys', async (t) => {
  const root = path.resolve(import.meta.dirname, '../..');
  const doc = fs.readFileSync(path.join(root, 'docs/manifest.md'), 'utf8');
  const [, example] = /```json\n(.*?)```/s.exec(doc);
  const module = 'export default () => {};\n';
  const { agent, deploy } = await setup(t, { 'isola.json': example, 'session.ts': module, 'orders.js': module });
  assert.deepEqual((({ status, stderr }) => [status, stderr])(await deploy()), [0, '']);
  assert.equal(agent.to('deploy')[0].args[0].manifest, JSON.stringify(JSON.parse(example)));

  const source = fs.readFileSync(path.join(root, 'store/manifest.c'), 'utf8');
  for (const list of ['app_keys', 'type_keys', 'later_type_keys', 'permission_keys', 'isolations', 'kinds', 'later_kinds']) {
    const [, words] = new RegExp(` ${list}\\[\\] = \\{(.*?)NULL\\}`, 's').exec(source);
    for (const [, word] of words.matchAll(/"([^"]+)"/g)) assert.match(doc, new RegExp(`\`"?${word.replace('$', '\\$')}"?\``), `${list}: ${word}`);
  }
});
