// SPDX-License-Identifier: Apache-2.0
//
// An app whose packages are not installed: npm fetches them from a registry of the test's own, as its lock file says, and once.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import test from 'node:test';

import { fakeAgent } from './fake_agent.mjs';
import { ctl, scratch } from './ctl.mjs';

const result = (m) => ({ app: m.args[0].app, release: '0123456789abcdef', unchanged: false, types: ['A'], nodes: ['east'], later: [] });

/** A registry with one package, `tiny`, whose install script leaves a file where it is run. */
async function registry(t, base, install) {
  const dir = path.join(base, 'tiny');
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, 'package.json'), JSON.stringify({ name: 'tiny', version: '1.0.0', main: 'index.js', scripts: { install } }));
  fs.writeFileSync(path.join(dir, 'index.js'), "module.exports = 'the tiny package';\n");
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts'], { cwd: dir, env: { ...process.env, HOME: base, npm_config_cache: path.join(base, 'npm-cache') } });
  const tarball = fs.readFileSync(path.join(dir, 'tiny-1.0.0.tgz'));
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const asked = [];
  const server = createServer((req, res) => {
    asked.push(req.url);
    const url = `http://127.0.0.1:${server.address().port}/tiny/-/tiny-1.0.0.tgz`;
    if (req.url.endsWith('.tgz')) res.end(tarball);
    else if (req.url === '/tiny') res.setHeader('content-type', 'application/json').end(JSON.stringify({ name: 'tiny', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { name: 'tiny', version: '1.0.0', scripts: { install: 'x' }, dist: { tarball: url, integrity } } } }));
    else res.writeHead(404).end('{}');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  return { asked, integrity, url: `http://127.0.0.1:${server.address().port}/` };
}

async function setup(t, overrides = {}, install = 'node -e "require(\'fs\').writeFileSync(\'ran\', [process.version, process.env.npm_config_nodedir].join())"') {
  const base = scratch(t);
  const reg = await registry(t, base, install);
  const agent = await fakeAgent(path.join(base, 'agent.sock'), { deploy: result });
  t.after(() => agent.close());
  const dir = path.join(base, 'app');
  fs.mkdirSync(dir);
  const files = {
    'isola.json': '{ "name": "n", "actors": { "A": { "module": "./a.js" } } }',
    'a.js': "import tiny from 'tiny';\nexport default (self) => { self.on('say', () => tiny); };\n",
    'package.json': JSON.stringify({ name: 'n', dependencies: { tiny: '^1.0.0' }, devDependencies: { 'never-asked-for': '1' } }),
    '.npmrc': `registry=${reg.url}\n`,
    ...overrides,
  };
  for (const [name, text] of Object.entries(files)) if (text !== null) fs.writeFileSync(path.join(dir, name), typeof text === 'function' ? text(reg) : text);
  const cache = path.join(base, 'cache');
  const deploy = (args = [], env = {}) => ctl(['deploy', dir, ...args], { node: agent.path, env: { XDG_CACHE_HOME: cache, HOME: base, npm_config_cache: path.join(base, 'npm-cache'), npm_config_userconfig: path.join(base, 'none'), npm_config_fetch_retries: '0', ...env } });
  return { base, dir, agent, deploy, cache, ...reg };
}

const lock = ({ url, integrity }, other) => JSON.stringify({
  name: 'n', lockfileVersion: 3, requires: true,
  packages: { '': { name: 'n', dependencies: { tiny: '^1.0.0' }, devDependencies: { 'never-asked-for': '1' } },
    'node_modules/tiny': { version: '1.0.0', resolved: `${url}tiny/-/tiny-1.0.0.tgz`, integrity: other ?? integrity, hasInstallScript: true },
    'node_modules/never-asked-for': { version: '1.0.0', resolved: `${url}never.tgz`, integrity, dev: true } },
});
const HINT = 'ctl: install scripts were not run: tiny; if it needs its own, say so in package.json: "allowScripts": {"tiny": true}\n';
const code = (agent) => agent.to('deploy').at(-1).args[0].bundles[0].code.toString();

test('packages', { concurrency: 2 }, async (t) => {
  await t.test('are fetched as the lock file says, without their scripts, and only when it has changed', async (t) => {
    const { deploy, agent, asked, dir, cache } = await setup(t, { 'package-lock.json': (reg) => lock(reg) });
    const first = await deploy();
    assert.deepEqual([first.status, first.stderr], [0, `ctl: fetching packages with npm, as package-lock.json says\n${HINT}`]);
    assert.match(code(agent), /the tiny package/);
    assert.deepEqual(asked.filter((url) => !url.endsWith('.tgz')), [], 'no version is looked for');
    assert.equal(asked.some((url) => url.includes('never')), false);
    const places = fs.readdirSync(path.join(cache, 'isola')).filter((name) => name.startsWith('npm-'));
    assert.equal(places.length, 1);
    assert.equal(fs.existsSync(path.join(cache, 'isola', places[0], 'node_modules/tiny/ran')), false, 'no install script is run');
    assert.equal(fs.existsSync(path.join(dir, 'node_modules')), false, 'nothing is written in the app');

    const n = asked.length;
    const second = await deploy();
    assert.deepEqual([second.status, second.stderr, asked.length], [0, '', n]);
  });

  await t.test('have their install scripts run when package.json allows it by name', async (t) => {
    const wants = (allowScripts, more) => ({ 'package.json': JSON.stringify({ name: 'n', dependencies: { tiny: '^1.0.0' }, devDependencies: { 'never-asked-for': '1' }, allowScripts }), 'package-lock.json': (reg) => lock(reg), ...more });
    const ran = async (allowScripts, more) => {
      const s = await setup(t, wants(allowScripts, more));
      const { status, stderr } = await s.deploy();
      assert.equal(status, 0, stderr);
      const [place] = fs.readdirSync(path.join(s.cache, 'isola')).filter((name) => name.startsWith('npm-'));
      const running = /^ctl: running the install scripts that package\.json allows: (.*); what is compiled may take minutes$/m.exec(stderr)?.[1];
      return [fs.existsSync(path.join(s.cache, 'isola', place, 'node_modules/tiny/ran')), running, stderr.includes(HINT)];
    };
    assert.deepEqual(await ran({ tiny: true }, { '.npmrc': ({ url }) => `registry=${url}\nignore-scripts=true\n` }), [true, 'tiny', false], 'whatever .npmrc says of all of them');
    assert.deepEqual(await ran({ 'tiny@2.0.0': true }), [false, 'tiny@2.0.0', false]);
    assert.deepEqual(await ran({ other: true, third: true, tenth: false }), [false, 'other, third', true]);
    const s = await setup(t);
    for (const bad of [['tiny'], { '--foreground-scripts': true }, { tiny: 'yes' }, { '../tiny': true }, { 'tiny@file:x': true }, { '@/x': true }]) {
      fs.writeFileSync(path.join(s.dir, 'package.json'), wants(bad)['package.json']);
      const { status, stderr } = await s.deploy();
      assert.deepEqual([status, /"allowScripts" in package\.json of .* must be/.test(stderr)], [1, true], stderr);
      assert.deepEqual(s.asked, [], 'nothing is fetched');
    }
  });

  await t.test('have them run by the Node.js of services, with its headers, whatever npm runs by', async (t) => {
    const s = await setup(t, { 'package.json': JSON.stringify({ name: 'n', dependencies: { tiny: '^1.0.0' }, allowScripts: { tiny: true } }) });
    const { status, stderr } = await s.deploy([], { npm_config_nodedir: '/nowhere' });
    assert.equal(status, 0, stderr);
    const [place] = fs.readdirSync(path.join(s.cache, 'isola')).filter((name) => name.startsWith('npm-'));
    const [version, headers] = fs.readFileSync(path.join(s.cache, 'isola', place, 'node_modules/tiny/ran'), 'utf8').split(',');
    assert.equal(version, process.version, 'tests run by it, too');
    const has = Object.fromEntries([...fs.readFileSync(path.join(headers, 'include/node/node_version.h'), 'utf8').matchAll(/#define NODE_(\w+)_VERSION (\d+)/g)].map(([, part, n]) => [part, n]));
    assert.equal(`v${has.MAJOR}.${has.MINOR}.${has.PATCH}`, version);
  });

  await t.test('whose install script fails are refused, with what it said', async (t) => {
    const s = await setup(t, { 'package.json': JSON.stringify({ name: 'n', dependencies: { tiny: '^1.0.0' }, allowScripts: { tiny: true } }) }, 'node -e "console.log(\'it said\'); console.error(\'no compiler\'); process.exit(3)"');
    const { status, stderr } = await s.deploy();
    assert.equal(status, 1);
    assert.match(stderr, /npm cannot run the install scripts that package\.json allows of .*app; `npm install` there tells more\n[^]*no compiler/);
    assert.equal(s.agent.to('deploy').length, 0);
    assert.deepEqual(fs.readdirSync(path.join(s.cache, 'isola')).filter((name) => name.startsWith('npm-')), []);
  });

  await t.test('whose content is not what the lock file says are refused', async (t) => {
    const { deploy, agent, cache } = await setup(t, { 'package-lock.json': (reg) => lock(reg, `sha512-${Buffer.alloc(64).toString('base64')}`) });
    const { status, stderr } = await deploy();
    assert.equal(status, 1);
    assert.match(stderr, /npm cannot fetch the packages of .*app; `npm install` there tells more\n(.*\n)*.*EINTEGRITY/);
    assert.equal(agent.to('deploy').length, 0);
    assert.deepEqual(fs.readdirSync(path.join(cache, 'isola')).filter((name) => name.startsWith('npm-')), [], 'nothing is left of it');
  });

  await t.test('are fetched without a lock file, too, which is told', async (t) => {
    const { deploy, agent } = await setup(t, { 'package.json': JSON.stringify({ name: 'n', dependencies: { tiny: '^1.0.0' } }) });
    const { status, stderr } = await deploy();
    assert.equal(status, 0, stderr);
    assert.match(stderr, /there is no package-lock\.json/);
    assert.match(code(agent), /the tiny package/);
    const quiet = await deploy(['--json']);
    assert.deepEqual([quiet.status, quiet.stderr], [0, '']);
  });

  await t.test('are fetched without a lock file of npm and without scripts of the app, which is told', async (t) => {
    const { deploy, dir } = await setup(t, { 'package.json': JSON.stringify({ name: 'n', scripts: { postinstall: 'prisma generate' }, dependencies: { tiny: '^1.0.0' }, allowScripts: { tiny: false } }), 'pnpm-lock.yaml': '' });
    const { status, stderr } = await deploy();
    assert.deepEqual([status, stderr], [0, `ctl: fetching packages with npm, which does not read pnpm-lock.yaml: other versions may come than that says; \`pnpm install\` in ${dir} before a deploy has those\nctl: "postinstall" of package.json (prisma generate) was not run: if what runs needs it, \`npm install\` in ${dir} before a deploy\n`]);
  });

  await t.test('that are installed are used, and one that is missing among them is named', async (t) => {
    const { deploy, dir, agent, asked } = await setup(t);
    fs.mkdirSync(path.join(dir, 'node_modules/tiny'), { recursive: true });
    fs.writeFileSync(path.join(dir, 'node_modules/tiny/package.json'), '{"name":"tiny","main":"own.js"}');
    fs.writeFileSync(path.join(dir, 'node_modules/tiny/own.js'), "module.exports = 'the one that is installed';\n");
    assert.equal((await deploy()).status, 0);
    assert.match(code(agent), /the one that is installed/);
    assert.deepEqual(asked, []);
    fs.rmSync(path.join(dir, 'node_modules/tiny'), { recursive: true });
    const { status, stderr } = await deploy();
    assert.equal(status, 1);
    assert.match(stderr, /a\.js:1:\d+: the package "tiny" is not installed; run `npm install tiny` in .*app/);
    assert.deepEqual(asked, []);
  });

  await t.test('that no actor needs are not fetched', async (t) => {
    const { deploy, asked } = await setup(t, { 'a.js': 'export default (self) => {};\n' });
    const { status, stderr } = await deploy();
    assert.deepEqual([status, stderr, asked], [0, '', []]);
  });

  await t.test('of services that run in DIR itself are installed there, with those for development', async (t) => {
    const service = { 'isola.json': '{ "name": "n", "actors": { "S": { "module": "./a.js", "kind": "service" } } }', 'package.json': JSON.stringify({ name: 'n', dependencies: {}, devDependencies: { tiny: '^1.0.0' } }) };
    const s = await setup(t, service);
    const none = await s.deploy(['--link']);
    assert.deepEqual([none.status, none.stderr, s.asked], [0, '', []], none.stderr);
    fs.writeFileSync(path.join(s.dir, 'package.json'), JSON.stringify({ name: 'n', dependencies: { tiny: '^1.0.0' }, devDependencies: { other: 'npm:tiny@^1.0.0' } }));
    const first = await s.deploy(['--link', '--json']);
    assert.deepEqual([first.status, first.stderr], [0, `ctl: installing packages with npm, as services run where they are edited\n${HINT.replace('tiny;', 'other, tiny;').replace('if it', 'if one').replace('{"tiny"', '{"other"')}`]);
    assert.deepEqual([JSON.parse(first.stdout).app, fs.readdirSync(path.join(s.dir, 'node_modules')).filter((n) => !n.startsWith('.')).sort()], ['n', ['other', 'tiny']]);
    assert.equal(fs.existsSync(path.join(s.dir, 'node_modules/tiny/ran')), false);
    const asked = s.asked.length;
    assert.deepEqual([(await s.deploy(['--link'])).stderr, s.asked.length], ['', asked]);
    // what cannot be had leaves nothing that looks like an installation
    fs.rmSync(path.join(s.dir, 'node_modules'), { recursive: true });
    fs.rmSync(path.join(s.dir, 'package-lock.json'));
    fs.writeFileSync(path.join(s.dir, 'package.json'), JSON.stringify({ name: 'n', dependencies: { tiny: '^1.0.0', nowhere: '1' } }));
    const failed = await s.deploy(['--link']);
    assert.deepEqual([failed.status, fs.existsSync(path.join(s.dir, 'node_modules'))], [1, false]);
    assert.match(failed.stderr, /ctl: npm cannot fetch the packages of .*app; `npm install` there tells more\n[^]*nowhere/);
  });

  await t.test('cannot be fetched without npm', async (t) => {
    const { deploy } = await setup(t);
    const { status, stderr } = await deploy([], { PATH: '/nowhere' });
    assert.equal(status, 1);
    assert.match(stderr, /there is no npm in \$PATH; install Node\.js, or run `npm install` there/);
  });
});
