// SPDX-License-Identifier: Apache-2.0
// Tries what isola.service keeps from a service that nothing else holds off: each with the code of its error.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { service } from 'isola';

const shell = (command) => execFileSync('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim();
const tries = {
  '/usr': () => fs.writeFileSync('/usr/nosy', ''),
  '/etc': () => fs.writeFileSync('/etc/nosy', ''),
  '/var/lib': () => fs.writeFileSync('/var/lib/nosy', ''),
  '/home': () => fs.readdirSync('/home/alice'),
  '/root': () => fs.readdirSync('/root'),
  '/proc/sys': () => fs.writeFileSync('/proc/sys/kernel/hostname', 'nosy'),
  '/sys': () => fs.writeFileSync('/sys/kernel/mm/ksm/run', '1'),
  'another group': () => fs.mkdirSync('/sys/fs/cgroup/nosy'),
  'the disk': () => fs.openSync('/dev/vda', 'r'),
  'other processes': () => fs.readFileSync('/proc/1/cmdline'),
  mount: () => shell('mount -t tmpfs none /tmp'),
  namespaces: () => shell('unshare --user true'),
  sudo: () => shell('sudo -n true'),
  setuid: () => { fs.writeFileSync('/tmp/setuid', ''); fs.chmodSync('/tmp/setuid', 0o4755); },
  'its directory': () => fs.writeFileSync('nosy', ''),
  '/tmp': () => fs.writeFileSync('/tmp/nosy', ''),
};

service().on('try', () => Object.fromEntries(Object.entries(tries).map(([what, attempt]) => {
  try {
    attempt();
    return [what, 'done'];
  } catch (error) {
    return [what, error.code ?? `status ${error.status}: ${error.stderr ?? error.message}`.trim()];
  }
})));
