// SPDX-License-Identifier: Apache-2.0
//
// `ctl completion`: what words may become, by itself, and in the shells that are there: bash, zsh, fish.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { promisify } from 'node:util';

import { Cluster, PROGRAM, bin, ctlOk } from './cluster.mjs';

const run = promisify(execFile);
const cluster = new Cluster(), dir = mkdtempSync(join(tmpdir(), 'isola-completion-'));
let agent;
before(async () => {
  agent = await cluster.node('east');
  const module = 'export default (self) => { self.on("hear", () => 1); };';
  await cluster.deploy(agent, 'shop', { 'isola.json': { name: 'shop', actors: { Cart: { module: './a.js' }, Box: { module: './a.js' } } }, 'a.js': module });
  await cluster.deploy(agent, 'mail', { 'isola.json': { name: 'mail', actors: { Box: { module: './a.js' } } }, 'a.js': module });
  for (const address of ['shop/Cart/a', 'shop/Cart/a:b', 'shop/Box/1', 'mail/Box/7']) await agent.client.actor(address).ask('hear');
  mkdirSync(join(dir, 'some-folder'));
  writeFileSync(join(dir, 'some-file'), '');
});
after(async () => {
  rmSync(dir, { recursive: true, force: true });
  await cluster.end();
});

const options = () => ({ cwd: dir, timeout: PROGRAM, env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, ISOLA_NODE: agent.socket, LC_ALL: 'C.UTF-8' } });
/** [candidates, what the shell is to add] */
async function complete(...words) {
  const { stdout, stderr } = await run(join(bin, 'ctl'), ['__complete', ...words], options());
  assert.equal(stderr, '');
  const lines = stdout.trimEnd().split('\n');
  return [lines.slice(0, -1).map((line) => line.split('\t')[0]).sort(), lines.at(-1)];
}

test('commands and options', async () => {
  const [commands] = await complete('');
  const listed = [...(await ctlOk(agent, '--help')).split('Commands:\n')[1].split('\n\n')[0].matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name);
  assert.deepEqual(commands, listed.sort());
  assert.deepEqual(await complete('res'), [['restart', 'restore'], ':']);
  assert.deepEqual(await complete('help', 'res'), [['restart', 'restore'], ':']);
  assert.deepEqual(await complete('--json', 'res'), [['restart', 'restore'], ':']);
  assert.deepEqual(await complete('nonsense', ''), [[], ':']);
  assert.deepEqual(await complete('--'), [['--help', '--json', '--node', '--version'], ':']);
  assert.deepEqual(await complete('emit', '--d'), [['--durable'], ':']);
  assert.deepEqual(await complete('stop', '--d'), [[], ':'], 'each command has its own');
  assert.ok((await complete('logs', '-'))[0].includes('-f'));
  assert.deepEqual(await complete('logs', '--', '--'), [[], ':'], 'behind -- there are none');
  const { stdout } = await run(join(bin, 'ctl'), ['__complete', 'emit', '--dur'], options());
  assert.match(stdout, /^--durable\tsend it until .*\n:\n$/);
});

test('operands', async () => {
  assert.deepEqual(await complete('ask', ''), [['mail/Box/7', 'shop/Box/1', 'shop/Cart/a', 'shop/Cart/a:b'], ':']);
  assert.deepEqual(await complete('ask', 'shop/C'), [['shop/Cart/a', 'shop/Cart/a:b'], ':']);
  assert.deepEqual(await complete('ask', 'shop/Cart/a', ''), [[], ':'], 'an event is not known');
  assert.deepEqual(await complete('ps', ''), [['mail', 'shop'], ':']);
  const release = JSON.parse(await ctlOk(agent, '--json', 'releases', 'shop')).deploys[0].release;
  for (const words of [['rollback', 'shop', ''], ['diff', 'shop', ''], ['diff', 'shop', release, release.slice(0, 3)]]) assert.deepEqual(await complete(...words), [[release], ':'], words.join(' '));
  assert.deepEqual(await complete('rollback', 'none', ''), [[], ':']);
  assert.deepEqual(await complete('dead-letters', 's'), [['shop', 'shop/Box/1', 'shop/Cart/a', 'shop/Cart/a:b'], ':'], 'an address or an app');
  assert.deepEqual(await complete('store', ''), [['east'], ':']);
  assert.deepEqual(await complete('store', '--top', ''), [[], ':'], 'a number is nobody\'s name');
  assert.deepEqual(await complete('store', '--top', '3', 'e'), [['east'], ':']);
  assert.deepEqual(await complete('deploy', 'so'), [[], ':dirs']);
  assert.deepEqual(await complete('restore', 'shop/B'), [['shop/Box/1'], ':dirs']);
  assert.deepEqual(await complete('heap', 'shop/Box/1', '-o', ''), [[], ':files']);
  assert.deepEqual(await complete('logs', '--from', ''), [['east'], ':']);
  assert.deepEqual(await complete('logs', '--level', 'w'), [['warn'], ':']);
  assert.deepEqual(await complete('top', '--sort', 'm'), [['mailbox', 'messages'], ':']);
  assert.deepEqual(await complete('--node', ''), [[], ':files']);
  assert.deepEqual(await complete('completion', ''), [['bash', 'fish', 'zsh'], ':']);
  for (const node of [['--node', '/nowhere'], ['--node=/nowhere']]) assert.deepEqual(await complete(...node, 'ask', ''), [[], ':'], 'no agent, no word of it');
});

test('verbs, and what follows them', async () => {
  const asked = async (...words) => (await complete(...words))[0];
  assert.deepEqual(await asked('secret', ''), ['import', 'list', 'rm', 'set']);
  assert.deepEqual(await asked('secret', '--json', 'l'), ['list']);
  assert.deepEqual(await asked('trust', ''), ['add', 'init', 'list', 'remove']);
  const { stdout } = await run(join(bin, 'ctl'), ['__complete', 'trust', 'rem'], options());
  assert.equal(stdout, 'remove\tlet one deploy no more\n:\n');
  await ctlOk(agent, 'secret', 'set', 'shop', 'STRIPE_KEY', 'x');
  await ctlOk(agent, 'secret', 'set', 'shop', 'STRIPE_URL', 'x');
  await ctlOk(agent, 'secret', 'set', 'mail', 'OTHER', 'x');
  assert.deepEqual(await asked('secret', 'set', ''), ['mail', 'shop']);
  for (const words of [['set', 'shop'], ['rm', 'shop'], ['rm', 'shop', 'STRIPE_URL']]) assert.deepEqual(await asked('secret', ...words, 'S'), ['STRIPE_KEY', 'STRIPE_URL'], words.join(' '));
  assert.deepEqual(await complete('secret', 'set', 'shop', 'STRIPE_KEY', ''), [[], ':'], 'a value is nobody\'s to know');
  assert.deepEqual(await complete('secret', 'import', 'shop', ''), [[], ':files']);
  assert.deepEqual(await complete('secret', 'nonsense', ''), [[], ':']);
  assert.deepEqual(await asked('cache', '--p'), ['--prune']);
  assert.deepEqual(await complete('trust', 'add', 'ada', ''), [[], ':files']);
  await run(join(bin, 'ctl'), ['trust', 'add', 'ada'], { ...options(), env: { ...options().env, ISOLA_KEY: join(dir, 'key') } });
  assert.deepEqual(await asked('trust', 'remove', ''), ['ada']);
  await run(join(bin, 'ctl'), ['trust', 'remove', 'ada'], options());
});

test('what is nearly one is told which', async () => {
  const said = (...args) => run(join(bin, 'ctl'), args, options()).then(() => '', (error) => error.stderr.split('\n')[0]);
  assert.equal(await said('secret', 'lsit'), 'ctl: \'ctl secret\' knows set, list, rm and import, not \'lsit\'; did you mean "list"?');
  assert.equal(await said('trust', 'remov', 'ada'), 'ctl: \'ctl trust\' knows init, list, add and remove, not \'remov\'; did you mean "remove"?');
  assert.equal(await said('trust', 'x'), 'ctl: \'ctl trust\' knows init, list, add and remove, not \'x\'');
  const { release } = JSON.parse(await ctlOk(agent, '--json', 'releases', 'shop')).deploys[0];
  const wrong = release.replace(/^./, (c) => (c === '0' ? '1' : '0'));
  assert.equal(await said('rollback', 'shop', wrong), `ctl: ENOENT: app "shop" has no release ${wrong}; those it has are ${release}; did you mean "${release}"?`);
  assert.equal(await said('rollback', 'shop', `${release.slice(0, 7)}o`), `ctl: EINVAL: "${release.slice(0, 7)}o" is not the id of a release, or the beginning of one: those are 16 hexadecimal digits; did you mean "${release.slice(0, 8)}"?`);
});

/** What a shell makes of a line; undefined: there is no such shell. */
function shell(name, args) {
  const r = spawnSync(name, args, { ...options(), encoding: 'utf8' });
  if (r.error?.code === 'ENOENT') return undefined;
  assert.equal(r.status, 0, `${r.error ?? ''}${r.stderr}`);
  return r.stdout.split('\n').filter(Boolean).map((line) => line.split('\t')[0]).sort();
}

test('bash', (t) => {
  // As bash calls it: what it takes for words is divided at : and = as well.
  const script = `source <(ctl completion bash)
    compopt() { :; }
    COMP_LINE=$1 COMP_POINT=\${#1} COMP_WORDS=(); COMP_CWORD=-1
    while [[ $1 =~ ^[[:space:]]*([:=]|[^[:space:]:=]+)(.*)$ ]]; do COMP_WORDS+=("\${BASH_REMATCH[1]}"); set -- "\${BASH_REMATCH[2]}"; done
    [[ $COMP_LINE == *[[:space:]] ]] && COMP_WORDS+=("")
    COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
    _ctl
    [ \${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' "\${COMPREPLY[@]}"`;
  const completed = (line) => shell('bash', ['--norc', '-c', script, 'bash', line]);
  if (completed('ctl ') === undefined) return t.skip('there is no bash');
  assert.deepEqual(completed('ctl res'), ['restart', 'restore']);
  assert.deepEqual(completed('ctl ask shop/C'), ['shop/Cart/a', 'shop/Cart/a:b']);
  assert.deepEqual(completed('ctl ask shop/Cart/a:'), ['b'], 'a : begins a word of bash\'s');
  assert.deepEqual(completed('ctl ask shop/Cart/a:b'), ['b']);
  assert.deepEqual(completed('ctl deploy so'), ['some-folder']);
  assert.deepEqual(completed('ctl --node so'), ['some-file', 'some-folder']);
});

test('zsh', (t) => {
  const script = `compdef() { : }
    _describe() { print -rl -- "\${(@P)2}" }
    _files() { print -r -- "files $*" }
    source <(ctl completion zsh)
    words=("$@") CURRENT=$# PREFIX=\${@[-1]}
    _ctl`;
  const completed = (...words) => shell('zsh', ['-f', '-c', script, 'zsh', 'ctl', ...words]);
  if (completed('') === undefined) return t.skip('there is no zsh');
  assert.deepEqual(completed('res').map((line) => line.split(':')[0]), ['restart', 'restore']);
  assert.ok(completed('res').includes('restart:start an actor anew, also one that has failed'));
  assert.deepEqual(completed('ask', 'shop/C').map((line) => line.replace(/:\w+$/, '')), ['shop/Cart/a', 'shop/Cart/a\\:b'], 'each with its state');
  assert.deepEqual(completed('deploy', 'so'), ['files -/']);
});

test('fish', (t) => {
  const completed = (line) => shell('fish', ['--no-config', '-c', 'ctl completion fish | source; complete -C $argv[1]', line]);
  if (completed('ctl ') === undefined) return t.skip('there is no fish');
  assert.deepEqual(completed('ctl res'), ['restart', 'restore']);
  assert.deepEqual(completed('ctl ask shop/C'), ['shop/Cart/a', 'shop/Cart/a:b']);
  assert.deepEqual(completed('ctl deploy so'), ['some-folder/']);
});

test('a shell that is none of them', async () => {
  const r = spawnSync(join(bin, 'ctl'), ['completion', 'tcsh'], { encoding: 'utf8' });
  assert.deepEqual([r.status, r.stdout, r.stderr], [2, '', 'ctl: there is no completion for \'tcsh\': bash, zsh or fish\n']);
});
