// SPDX-License-Identifier: Apache-2.0
//
// make vm: the Debian package on a machine of its own, with a systemd, control groups of version 2 and a disk that loses power: qemu, with KVM where
// there is one. base.sh makes the machine, guest.sh is what is tried there; this boots it, once for each part, and prints what the parts say:
// "ok", "not ok" and remarks.
//
// Happy path: the machine ends a part by itself, with "end"; in the part `power` it says each write that was acknowledged, and is cut off in the middle of them.
// Failure modes: a check that fails is "not ok"; a part that does not end in time is cut off; then the end of the machine's console is printed. The exit
// status is 1. What was made stays in build/vm, until the next run: console.log, disk.qcow2.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const source = resolve(import.meta.dirname, '../..'), here = import.meta.dirname;
const build = join(source, 'build'), dir = join(build, 'vm');
const minutes = +(process.env.VM_MINUTES ?? 30), cut = +(process.env.VM_WRITES ?? 300);

function die(why) {
  console.error(`make vm: ${why}`);
  process.exit(1);
}
if (!(minutes > 0 && Number.isInteger(cut) && cut > 0)) die('VM_MINUTES, of each part, and VM_WRITES, until the power is cut, are numbers above 0');
if (process.getuid() !== 0) die('it takes root, to make the files of a machine that are root\'s there');
if (process.arch !== 'x64') die('it knows x86-64 alone');

function run(program, ...args) {
  const r = spawnSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  if (r.error || r.status !== 0) die(`${program} ${args.join(' ')}: ${r.error?.message ?? `status ${r.status}`}\n${r.stdout}${r.stderr}`);
  return r.stdout;
}

const debs = readdirSync(build).filter((name) => /^isola_.*\.deb$/.test(name));
if (debs.length !== 1) die(`there is to be one package in ${build}, not ${debs.join(', ') || 'none'}: make deb`);
const deb = join(build, debs[0]);

console.log('# the machine: Debian 12 with systemd (some minutes, the first time)');
run(join(here, 'base.sh'), dir, deb);

// A second disk brings what is tried: the package, the same as another version, the apps with their packages.
const data = join(dir, 'data'), next = join(dir, 'next');
for (const old of [data, next]) rmSync(old, { recursive: true, force: true });
mkdirSync(join(data, 'apps'), { recursive: true });
cpSync(join(here, 'guest.sh'), join(data, 'guest.sh'));
cpSync(deb, join(data, 'isola.deb'));
cpSync(join(source, 'examples/express-users'), join(data, 'apps/users'), { recursive: true });
cpSync(join(here, 'apps'), join(data, 'apps'), { recursive: true });
run('dpkg-deb', '-R', deb, next);
run('sed', '-i', 's/^Version: .*/&.next/', join(next, 'DEBIAN/control'));
run('dpkg-deb', '--root-owner-group', '-Zgzip', '-z1', '-b', next, join(data, 'isola_next.deb'));
for (const name of ['data.raw', 'disk.qcow2', 'console.log']) rmSync(join(dir, name), { force: true });
run('mke2fs', '-q', '-t', 'ext4', '-d', data, join(dir, 'data.raw'), '1G');
for (const old of [data, next]) rmSync(old, { recursive: true, force: true });
run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', join(dir, 'disk.qcow2'));

// A /dev/kvm alone says little: below some hypervisors there is one that no ordinary kernel starts on.
const kvm = existsSync('/dev/kvm') && /^flags\b.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
const processor = kvm ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,tb-size=512', '-cpu', 'Nehalem'];
let failures = 0, passed = 0, machine;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(signal, () => {
    machine?.kill('SIGKILL');
    process.exit(1);
  });

// Boots for PART; resolves with what was acknowledged last, or with nothing when the part did not come to its end.
async function boot(part, acked = 0) {
  console.log(`# part ${part}`);
  machine = spawn('qemu-system-x86_64', [
    '-machine', 'q35', ...processor, '-smp', '2', '-m', '2G', '-nodefaults', '-display', 'none', '-nic', 'none', '-no-reboot',
    '-device', 'virtio-rng-pci', '-kernel', join(dir, 'vmlinuz'), '-initrd', join(dir, 'initrd'),
    '-append', `root=/dev/vda rw console=ttyS0 panic=-1 isola.part=${part} isola.acked=${acked}`,
    '-drive', `file=${join(dir, 'disk.qcow2')},if=virtio,cache=writeback`, '-drive', `file=${join(dir, 'data.raw')},if=virtio,format=raw,readonly=on`,
    '-chardev', `file,id=console,path=${join(dir, 'console.log')},append=on`, '-serial', 'chardev:console', '-chardev', 'stdio,id=results,signal=off', '-serial', 'chardev:results',
  ], { stdio: ['ignore', 'pipe', 'pipe'] });
  let ended = false, last = 0, errors = '', late = false;
  const deadline = setTimeout(() => { late = true; machine.kill('SIGKILL'); }, minutes * 60_000);
  machine.stderr.on('data', (text) => { errors += text; });
  createInterface({ input: machine.stdout }).on('line', (line) => {
    if (line.startsWith('kill ')) {
      last = +line.slice(5);
      if (last === cut) machine.kill('SIGKILL');
    } else if (line === 'end') ended = true;
    else console.log(line);
    if (line.startsWith('ok ')) passed++;
    if (line.startsWith('not ok')) failures++;
  });
  const [status, signal] = await new Promise((done, failed) => machine.on('error', failed).on('close', (...how) => done(how)));
  clearTimeout(deadline);
  if (late || !(ended || last >= cut)) {
    failures++;
    console.log(`not ok - part ${part}: ${late ? `not at its end after ${minutes} minutes (VM_MINUTES)` : `the machine ended before its end: ${signal ?? `status ${status}`}`}`);
    console.log(errors + readFileSync(join(dir, 'console.log'), 'utf8').split('\n').slice(-30).join('\n'));
    return undefined;
  }
  return last;
}

if (await boot('first') !== undefined) {
  const acked = await boot('power');
  if (acked !== undefined) await boot('last', acked);
}
console.log(`# ${passed} passed, ${failures} failed`);
process.exit(failures > 0 ? 1 : 0);
