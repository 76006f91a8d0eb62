// SPDX-License-Identifier: Apache-2.0
//
// The Debian package: what is in it, and, as root, its life on a machine: installed, run as its unit says,
// removed, purged. That machine is this one seen through an overlay in a mount namespace of its own: nothing of it stays.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { after } from 'node:test';

import { PROGRAM, bin, sanitized } from './cluster.mjs';

const build = resolve(bin, '..');
const dir = mkdtempSync(join(tmpdir(), 'isola-deb-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const run = (program, ...args) => spawnSync(program, args, { encoding: 'utf8', timeout: 2 * PROGRAM, maxBuffer: 64 << 20 });
function ok(program, ...args) {
  const r = run(program, ...args);
  assert.equal(r.status, 0, `${program} ${args.join(' ')}: ${r.error ?? ''}${r.stdout}${r.stderr}`);
  return r.stdout;
}
const lacking = ['dpkg-deb', 'dpkg-shlibdeps', 'cpack', 'file', 'adduser'].filter((program) => run(program, '--version').error);
const missing = lacking.length > 0 ? `there is no ${lacking.join(', no ')}` : sanitized && 'sanitizers\' libraries belong to no package';

let deb;
test('what is in the package', { skip: missing }, () => {
  ok('cpack', '--config', join(build, 'CPackConfig.cmake'), '-B', dir, '-D', 'CPACK_DEBIAN_COMPRESSION_TYPE=none');
  deb = join(dir, readdirSync(dir).find((name) => name.endsWith('.deb')));
  const field = (name) => ok('dpkg-deb', '-f', deb, name).trim();
  assert.equal(field('Package'), 'isola');
  for (const library of ['libc6', 'libuv1', 'libnng1', 'libsodium23', 'libsqlite3-0', 'libjansson4', 'libstdc++6', 'adduser']) assert.ok(field('Depends').split(', ').some((d) => d.split(' ')[0] === library), library);
  const files = ok('dpkg-deb', '-c', deb).trim().split('\n').map((line) => line.split(/\s+/));
  const names = files.map((line) => line[5]);
  for (const name of ['./usr/bin/ctl', './usr/bin/node-agent', './usr/lib/isola/node', './lib/systemd/system/isola.service', './etc/default/isola', './usr/share/doc/isola/copyright', './usr/share/man/man1/ctl.1.gz']) assert.ok(names.includes(name), name);
  assert.ok(names.every((name) => /^\.\/(etc|lib|usr)\//.test(name)), names.join('\n'));
  assert.ok(files.every(([mode, owner]) => owner === 'root/root' && !/^.....w|^........w/.test(mode)), 'root\'s alone to write');
});

// What the machine does, as a shell would: `say` marks what was asserted.
const script = (unit) => `set -eu
fail() { echo "failed: $*" >&2; exit 1; }
dpkg() { command dpkg --force-unsafe-io --no-triggers "$@"; } # not for a disk that loses power, nor the whole machine's man pages
getent passwd isola && fail "the user is there before"
dpkg -i /package.deb
[ "$(getent passwd isola | cut -d: -f6,7)" = /var/lib/isola:/usr/sbin/nologin ] || fail "the user"
[ "$(dpkg-query -W -f '\${Conffiles}' isola | awk '{print $1}' | tr -d '\\n')" = /etc/default/isola ] || fail "conffiles"
echo 'ISOLA_OPTIONS="--name packaged --threads 2"' >/etc/default/isola
dpkg -i /package.deb
grep -q packaged /etc/default/isola || fail "an upgrade lost the options"

# As systemd does with the unit.
. /etc/default/isola
install -d -o isola -g isola -m 700 /var/lib/isola
install -d -o isola -g isola -m 755 /run/isola
mkfifo /ready
setpriv --reuid isola --regid isola --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all ${unit} >/ready 2>/log &
agent=$!
read -r line </ready || { cat /log; fail "the agent did not start"; }
echo "$line"
case $line in "node-agent packaged is ready: socket /run/isola/agent.sock") ;; *) fail "ready line" ;; esac
[ "$(ctl --json deploy /usr/share/doc/isola/examples/counter | sed 's/.*"types":\\[\\([^]]*\\).*/\\1/')" = '"Counter"' ] || fail deploy
[ "$(ctl ask shop/Counter/a add 5)" = 5 ] || fail ask
kill -TERM $agent
wait $agent || { cat /log; fail "the agent ended with $?"; }

dpkg -r isola
[ ! -e /usr/bin/ctl ] && [ ! -e /usr/lib/isola ] || fail "files stay"
[ -f /var/lib/isola/catalog.db ] && [ -f /etc/default/isola ] || fail "removed with its state"
dpkg -i /package.deb
dpkg -P isola
[ ! -e /var/lib/isola ] && [ ! -e /etc/default/isola ] || fail "purged, and state stays"
echo all is well
`;
const enter = `set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/machine"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/machine"
m=$1/machine
mount -t proc proc "$m/proc"
mount --rbind /dev "$m/dev"
mount -t tmpfs none "$m/run"
cp "$2" "$m/package.deb"
cp "$3" "$m/life.sh"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive chroot "$m" sh /life.sh`;

test('its life on a machine', { skip: missing }, (t) => {
  const overlay = join(dir, 'overlay'), life = join(dir, 'life.sh');
  ok('mkdir', overlay);
  if (run('unshare', '-m', 'sh', '-c', 'cd "$0" && mkdir -p u w m && mount -t tmpfs none . && cd "$0" && mkdir u w m && mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w m', overlay).status !== 0) return t.skip('there is no overlay to be had: that takes root and a kernel with overlayfs');
  const content = join(dir, 'content');
  ok('dpkg-deb', '-x', deb, content);
  const unit = readFileSync(join(content, 'lib/systemd/system/isola.service'), 'utf8');
  const command = /^ExecStart=(.*)$/m.exec(unit)[1];
  writeFileSync(life, script(command));
  const r = run('unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', enter, 'sh', overlay, deb, life);
  assert.equal(r.status, 0, r.stdout + r.stderr);
  assert.match(r.stdout, /all is well\n$/);
});
