// SPDX-License-Identifier: Apache-2.0
//
// `make install` and `make uninstall`, into a directory of the test's: what is installed runs by itself, whatever the prefix.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';

import { Agent } from '../../examples/airports/agents.mjs';
import { bin, sanitized } from './cluster.mjs';

const root = resolve(import.meta.dirname, '../..');
const build = resolve(bin, '..');

/** All files below `dir`, links among them. */
const filesOf = (dir) => readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => !e.isDirectory()).map((e) => join(e.parentPath, e.name));
const prefix = '/opt/isola-test';

function cmake(args, env = {}) {
  return execFileSync('cmake', args, { encoding: 'utf8', env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
}

test('what is installed runs from where it is, moved or not, and goes again', async (t) => {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'isola-install-')));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const dest = join(dir, 'dest');
  cmake(['--install', build, '--strip', '--prefix', prefix], { DESTDIR: dest });
  const installed = filesOf(dest);
  for (const file of installed) assert.ok(file.startsWith(dest + prefix), file);
  for (const file of ['bin/ctl', 'bin/node-agent', 'lib/isola/actor-host', 'lib/isola/node', 'lib/isola/esbuild']) assert.ok(statSync(join(dest + prefix, file)).mode & 0o111, file);
  for (const file of ['bash-completion/completions/ctl', 'zsh/site-functions/_ctl', 'fish/vendor_completions.d/ctl.fish']) assert.match(readFileSync(join(dest + prefix, 'share', file), 'utf8'), / __complete /, file);
  assert.ok(installed.every((file) => !file.includes('node_modules')), 'what only tests need is not installed');

  await t.test('the unit is one, and leaves little open', (t) => {
    const unit = readFileSync(join(dest + prefix, 'lib/systemd/system/isola.service'), 'utf8');
    assert.ok(unit.includes(`ExecStart="${prefix}/bin/node-agent" `), unit);
    const analyze = (...args) => spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    if (analyze('--version').error) return t.skip('there is no systemd-analyze');
    // What it runs must be there: here it is below `dest`.
    const here = join(dir, 'isola.service');
    writeFileSync(here, unit.replaceAll(prefix, dest + prefix));
    const verified = analyze('verify', '--man=no', here); // the pages are not where `man` looks
    assert.deepEqual([verified.status, verified.stdout, verified.stderr], [0, '', '']);
    const { status, stdout } = analyze('security', '--offline=yes', '--threshold=25', here); // of 100
    assert.equal(status, 0, stdout);
  });

  await t.test('man pages say all that the programs do', (t) => {
    const page = (name) => readFileSync(join(dest + prefix, 'share/man', name), 'utf8');
    const said = (program, ...args) => execFileSync(join(bin, program), args, { encoding: 'utf8' });
    const plain = (roff) => roff.replaceAll('\\-', '-').replaceAll(/\\f[BRI]|\\&/g, '');
    const commands = [...said('ctl', '--help').split('Commands:\n')[1].split('\n\n')[0].matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name).filter((name) => name !== 'help');
    assert.ok(commands.length > 15);
    const ctl = plain(page('man1/ctl.1'));
    for (const name of commands) {
      assert.match(ctl, new RegExp(`^\\.SS ctl ${name} `, 'm'));
      for (const [option] of said('ctl', 'help', name).matchAll(/^ {2}(-\w, )?--[a-z-]+/gm)) assert.ok(ctl.includes(`\n${option.trim()}`), `${name}: ${option}`);
    }
    const agent = plain(page('man8/node-agent.8'));
    for (const [, option] of said('node-agent', '--help').matchAll(/^ {2}(--[a-z-]+)/gm)) assert.match(agent, new RegExp(`^${option}\\b`, 'm'));
    const manifest = plain(page('man5/isola.json.5'));
    for (const [, key] of readFileSync(join(root, 'docs/manifest.md'), 'utf8').matchAll(/^\| `([^`]+)`/gm)) assert.match(manifest, new RegExp(`^${key.replace('$', '\\$')}`, 'm'));
    if (spawnSync('man', ['--version']).error) return t.skip('there is no man');
    for (const name of ['man1/ctl.1', 'man8/node-agent.8', 'man5/isola.json.5']) {
      const shown = spawnSync('man', ['--warnings', '-l', join(dest + prefix, 'share/man', name)], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '80' } });
      assert.deepEqual([shown.status, shown.stderr], [0, '']);
      assert.match(shown.stdout, /SEE ALSO/);
    }
  });

  await t.test('a node of it, in another place than it was installed in', async () => {
    const home = join(dir, 'moved elsewhere');
    renameSync(dest + prefix, home);
    const agents = [];
    try {
      const agent = await Agent.start(join(home, 'bin'), 'alone', dir, undefined, agents);
      const ctl = (...args) => JSON.parse(execFileSync(join(home, 'bin/ctl'), ['--node', agent.socket, '--json', ...args], { encoding: 'utf8' }));
      assert.deepEqual(ctl('deploy', join(home, 'share/doc/isola/examples/counter')).types, ['Counter']);
      assert.equal(ctl('ask', 'shop/Counter/a', 'add', '5'), 5);
      const { connect } = await import(join(home, 'lib/isola/client/index.js'));
      const client = await connect({ socket: agent.socket });
      assert.equal(await client.actor('shop/Counter', 'a').ask('add', 2), 7);
      await client.close();
      // Nothing of the tree it was built in is used.
      const { host_pid: host } = ctl('nodes').nodes[0];
      for (const pid of [agent.pid, host]) assert.ok(readFileSync(`/proc/${pid}/maps`, 'latin1').includes(home), `${pid}`);
      if (!sanitized) for (const pid of [agent.pid, host]) assert.ok(!readFileSync(`/proc/${pid}/maps`, 'latin1').includes(`${root}/`), `${pid} has files of ${root}`);
    } finally {
      for (const agent of agents) assert.equal(await agent.stop(), undefined);
      renameSync(home, dest + prefix);
    }
  });

  await t.test('uninstall leaves what is somebody else\'s', () => {
    const theirs = [join(dest + prefix, 'bin/theirs'), join(dest + prefix, 'share/doc/isola/notes.txt')];
    for (const file of theirs) writeFileSync(file, 'theirs');
    const said = cmake([`-DBUILD=${build}`, `-DPREFIX=${prefix}`, `-DDESTDIR=${dest}`, '-P', join(root, 'cmake/uninstall.cmake')]);
    assert.match(said, new RegExp(`removed ${installed.length} files from `));
    assert.deepEqual(filesOf(dest).sort(), theirs.sort());
    assert.ok(!readdirSync(join(dest + prefix, 'lib')).includes('isola'), 'its own folders are gone when they are empty');
  });
});
