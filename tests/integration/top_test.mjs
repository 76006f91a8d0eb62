// SPDX-License-Identifier: Apache-2.0
//
// `ctl top`: that the numbers are those of what is done, once and on a terminal.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import test, { after, before, describe } from 'node:test';

import { Cluster, bin, ctl, ctlOk, until } from './cluster.mjs';

const worker = `export default (self) => {
  self.on('spin', (ms) => { const end = performance.now() + ms; while (performance.now() < end); });
  self.on('nothing', () => {});
};`;

// Runs ctl on a terminal of its own; what comes from stdin is typed there, and what it shows goes to stdout.
const PTY = `
import fcntl, os, pty, select, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))
before = termios.tcgetattr(fd)
inputs = [fd, 0]
while True:
    for f in select.select(inputs, [], [])[0]:
        try:
            data = os.read(f, 65536)
        except OSError:
            data = b''
        if f == 0:
            inputs = [fd] if not data else inputs
            os.write(fd, data)
        elif not data:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)
        else:
            os.write(1, data)
`;

describe('top', () => {
  let cluster, node, going = true;
  const loads = [];

  before(async () => {
    cluster = new Cluster();
    node = await cluster.node('east');
    const actors = { Busy: { module: './worker.js' }, Quick: { module: './worker.js', isolation: 'shared' } };
    for (const app of ['shop', 'mail']) await cluster.deploy(node, app, { 'isola.json': { name: app, actors }, 'worker.js': worker });
    const { client } = node;
    const load = async (ask) => { while (going) await ask(); };
    loads.push(load(() => client.actor('shop/Busy', 'one').ask('spin', 30)));
    loads.push(load(() => client.actor('shop/Quick', 'one').ask('nothing')));
    await client.actor('mail/Quick', 'idle').ask('nothing');
    await client.actor('mail/Quick', 'other').ask('nothing');
  });
  after(async () => {
    going = false;
    await Promise.all(loads);
    await cluster.end();
  });

  const top = async (...args) => JSON.parse(await ctlOk(node, '--json', 'top', ...args));

  test('once, as JSON', async () => {
    const { nodes, actors, total, unreachable } = await top();
    assert.deepEqual([total, unreachable], [4, []]);
    const [busy] = actors;
    assert.equal(busy.address, 'shop/Busy/one', 'who uses most comes first');
    assert.ok(busy.cpu > 5, `a turn of 30 ms after another: ${busy.cpu} %`);
    assert.ok(busy.messages_rate > 0 && busy.messages_rate < 40);
    const quick = actors.find((a) => a.address === 'shop/Quick/one');
    assert.ok(quick.messages_rate > busy.messages_rate);
    const idle = actors.find((a) => a.address === 'mail/Quick/idle');
    assert.deepEqual([idle.cpu, idle.messages_rate, idle.state, idle.node], [0, 0, 'idle', 'east']);
    assert.equal(nodes.length, 1);
    assert.equal(nodes[0].actors, 4);
    assert.ok(nodes[0].cpu >= busy.cpu * 0.5 && nodes[0].memory > 1e7, JSON.stringify(nodes));
    assert.ok(nodes[0].messages_rate >= quick.messages_rate);
  });

  test('sorted, of an app, by type, so many', async () => {
    assert.equal((await top('--sort', 'messages')).actors[0].address, 'shop/Quick/one');
    assert.deepEqual((await top('--sort', 'address')).actors.map((a) => a.address), ['mail/Quick/idle', 'mail/Quick/other', 'shop/Busy/one', 'shop/Quick/one']);
    assert.deepEqual((await top('mail', '--sort', 'address', '--top', '1')).actors.map((a) => a.address), ['mail/Quick/idle']);
    const { types } = await top('--types', '--sort', 'address');
    assert.deepEqual(types.map((t) => [t.type, t.actors]), [['mail/Quick', 2], ['shop/Busy', 1], ['shop/Quick', 1]]);
  });

  test('once, for people', async () => {
    const out = await ctlOk(node, 'top');
    assert.match(out, /^NODE +CPU +MSG\/S +MAILBOX +ACTORS +MEMORY\neast +[\d.]+ % +[\d.]+ +\d+ +4 +\d+ MB\n\nADDRESS +CPU +MSG\/S +MAILBOX +HEAP +STATE +NODE\nshop\/Busy\/one +[\d.]+ % /);
  });

  test('what is wrong', async () => {
    const none = await ctl(node, 'top', 'shops');
    assert.equal(none.status, 1);
    assert.match(none.err, /ENOACTOR/);
    const sort = await ctl(node, 'top', '--sort', 'cpus');
    assert.equal(sort.status, 2);
    assert.match(sort.err, /'--sort' needs cpu, messages, mailbox, heap or address, not 'cpus'; did you mean 'cpu'\?/);
  });

  test('live, with keys', async (t) => {
    const child = spawn('python3', ['-c', PTY, path.join(bin, 'ctl'), '--node', node.socket, 'top', '--seconds', '1'], { env: { ...process.env, TERM: 'xterm' } });
    t.after(() => child.kill('SIGKILL')); // and ctl has no terminal any more
    let text = '';
    child.stdout.on('data', (chunk) => { text += chunk; });
    const done = new Promise((resolve) => { child.on('close', resolve); });
    const plain = () => text.replace(/\x1b\[[\d;?]*[A-Za-z]/g, '');
    const shows = async (pattern) => {
      await until(`${pattern}`, () => pattern.test(plain()));
      text = '';
    };
    await shows(/actors by cpu\r\n[^]*shop\/Busy\/one/);
    child.stdin.write('m');
    await shows(/actors by messages\r\nADDRESS.*\r\nshop\/Quick\/one/);
    child.stdin.write('a');
    await shows(/actors by address\r\nADDRESS.*\r\nmail\/Quick\/idle[^]*mail\/Quick\/other[^]*shop\/Busy\/one/);
    child.stdin.write('r');
    await shows(/actors by address, the least first\r\nADDRESS.*\r\nshop\/Quick\/one/);
    child.stdin.write('rf');
    await shows(/actors by address of mail\r\nADDRESS.*\r\nmail\/Quick\/idle.*\r\nmail\/Quick\/other[^\r]*$/);
    child.stdin.write('f');
    await shows(/of shop\r\nADDRESS.*\r\nshop\/Busy\/one/);
    child.stdin.write('ft');
    await shows(/types by address\r\nTYPE .*\r\nmail\/Quick .* 2\r\n/);
    child.stdin.write('p');
    await shows(/, paused\r\n/);
    child.stdin.write('q');
    assert.equal(await done, 0);
    assert.ok(text.endsWith('\x1b[?7h\x1b[?25h\x1b[?1049l'), JSON.stringify(text));
  });

  test('Ctrl-C gives the terminal back', async (t) => {
    const child = spawn('python3', ['-c', PTY, path.join(bin, 'ctl'), '--node', node.socket, 'top'], { env: { ...process.env, TERM: 'xterm' } });
    t.after(() => child.kill('SIGKILL')); // and ctl has no terminal any more
    let text = '';
    child.stdout.on('data', (chunk) => { text += chunk; });
    const done = new Promise((resolve) => { child.on('close', resolve); });
    await until('the first picture', () => text.includes('shop/Busy/one'));
    child.stdin.write('\x03');
    assert.equal(await done, 0);
    assert.ok(text.endsWith('\x1b[?1049l'));
  });
});
