// SPDX-License-Identifier: Apache-2.0
//
// The bad network is as bad as it is told to be: measured between two hosts with datagrams and a TCP echo, and counted.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, describe, test } from 'node:test';

import { until } from '../integration/cluster.mjs';
import { Network } from './hosts.mjs';
import { packets } from './pcap.mjs';

const skip = Network.unavailable();

/** talker.mjs on a host. */
class Talker {
  #lines;
  constructor(net, host) {
    this.host = net.address(host);
    this.child = net.run(host, process.execPath, [join(import.meta.dirname, 'talker.mjs')], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }
  async ready() { this.ports = await this.#answer(); }
  async #answer() {
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error(`the talker on ${this.host} has ended`);
    return JSON.parse(value);
  }
  tell(command, params) {
    this.child.stdin.write(`${JSON.stringify([command, params])}\n`);
    return this.#answer();
  }
  ping(other, count) { return this.tell('ping', { host: other.host, port: other.ports.udp, count }); }
  stream(other, bytes) { return this.tell('stream', { host: other.host, port: other.ports.tcp, bytes }); }
}

const gone = (pid) => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)[0] === 'Z';
  } catch {
    return true;
  }
};

describe('a bad network', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'isola-test-'));
  let net, a, b, c; // datagrams go from a to b, so that all of its frames are known; streams between c and b
  before(async () => {
    net = await Network.start(['a', 'b', 'c']);
    [a, b, c] = ['a', 'b', 'c'].map((host) => new Talker(net, host));
    await Promise.all([a.ready(), b.ready(), c.ready()]);
  });
  afterEach(async () => {
    await net.heal('all');
    await net.link('all');
  });
  after(async () => {
    await net.end();
    rmSync(dir, { recursive: true });
  });

  let number = 0; // of the next datagram
  let heard = 0; // by b
  const direction = async (who) => (await net.stats())[who];

  /**
   * Sends `n` datagrams from a to b, some at a time so that no buffer overflows, and waits until each has arrived or what became of it
   * is counted: { numbers (as they arrived, from 0), counts (what has been added to those of a>b) }.
   */
  async function shoot(n, { of = 100, text } = {}) {
    const first = number, base = await direction('a>b');
    const numbers = [];
    const delta = (now) => Object.fromEntries(Object.entries(now).map(([k, v]) => [k, v - base[k]]));
    let counts;
    for (let sent = 0; sent < n; sent += of) {
      await a.tell('send', { host: b.host, port: b.ports.udp, from: number, count: of, text });
      number += of;
      counts = await until('all of them are through the network', async () => {
        const d = delta(await direction('a>b'));
        return d.frames === sent + of && d.frames + d.duplicated === d.passed + d.lost + d.cut + d.overflowed && d;
      });
      const all = await b.tell('heard', { count: heard + counts.passed - counts.corrupted - numbers.length });
      numbers.push(...all.slice(heard).map((k) => k - first));
      heard = all.length;
    }
    return { numbers, counts };
  }
  const inOrder = (numbers) => numbers.every((k, i) => i === 0 || k >= numbers[i - 1]);

  test('without rules all passes, in order, and only to whom it is for', async () => {
    const { numbers } = await shoot(500);
    assert.deepEqual(numbers, Array.from({ length: 500 }, (_, i) => i));
    const { different } = await c.stream(b, 2_000_000);
    assert.equal(different, 0);
    assert.equal((await direction('a>c')).frames, 0);
  });
  test('a delay is there and back', async () => {
    await net.link('a b', { delay: 40 });
    const took = await a.ping(b, 5);
    for (const ms of took) assert.ok(ms >= 80, `${ms} ms`);
    await net.link('a>b', { delay: 60 });
    await net.link('b>a');
    assert.ok(Math.min(...await a.ping(b, 3)) >= 60);
    await net.link('a b');
    assert.ok(Math.min(...await a.ping(b, 5)) < 60, 'and it is gone again');
  });
  test('jitter changes delays, not the order', async () => {
    await net.link('a b', { delay: 5, jitter: 30 });
    const took = await a.ping(b, 20);
    assert.ok(Math.min(...took) >= 10 && Math.max(...took) - Math.min(...took) > 5, took.join(' '));
    const { numbers } = await shoot(300);
    assert.equal(numbers.length, 300);
    assert.ok(inOrder(numbers));
  });
  test('what is lost does not arrive, and TCP gets over it', async () => {
    await net.link('a>b', { loss: 25 });
    const { numbers, counts } = await shoot(1000);
    assert.equal(numbers.length, 1000 - counts.lost);
    assert.ok(counts.lost > 150 && counts.lost < 350, `${counts.lost} of 1000`);
    await net.link('c b', { loss: 3 });
    assert.equal((await c.stream(b, 300_000)).different, 0);
  });
  test('duplicates arrive twice', async () => {
    for (const who of ['a>b', 'c b']) await net.link(who, { duplicate: 20 });
    const { numbers, counts } = await shoot(500);
    assert.ok(counts.duplicated > 50);
    assert.equal(numbers.length, 500 + counts.duplicated);
    assert.equal(new Set(numbers).size, 500);
    assert.equal((await c.stream(b, 300_000)).different, 0);
  });
  test('some overtake others', async () => {
    for (const who of ['a>b', 'c b']) await net.link(who, { reorder: 10 });
    const { numbers, counts } = await shoot(500);
    assert.ok(counts.reordered > 20);
    assert.ok(!inOrder(numbers));
    assert.deepEqual(numbers.toSorted((x, y) => x - y), Array.from({ length: 500 }, (_, i) => i));
    assert.equal((await c.stream(b, 300_000)).different, 0);
  });
  test('what is corrupted is thrown away by checksums, what is forged is not', async () => {
    await net.link('a>b', { corrupt: 20 });
    const { numbers, counts } = await shoot(500);
    assert.ok(counts.corrupted > 50);
    assert.equal(numbers.length, 500 - counts.corrupted);
    await net.link('c b', { corrupt: 2 });
    assert.equal((await c.stream(b, 300_000)).different, 0);
    await net.link('c>b', { forge: 100 });
    assert.ok((await c.stream(b, 100_000)).different > 0);
    assert.ok((await direction('c>b')).forged > 0);
  });
  test('a rate bounds bytes a second', async () => {
    await net.link('c>b', { rate: 4000 });
    const { ms, different } = await c.stream(b, 300_000);
    assert.equal(different, 0);
    assert.ok(ms >= 500, `${ms} ms for 300,000 bytes at 4 Mbit/s`);
  });
  test('a cut in one direction lets the other one pass', async () => {
    const base = await net.stats();
    await net.cut('b>a');
    const ping = a.ping(b, 1);
    await until('it has come to b, and the answer has not gone', async () => {
      const now = await net.stats();
      return now['a>b'].passed > base['a>b'].passed && now['b>a'].cut > base['b>a'].cut;
    });
    assert.equal((await direction('b>a')).passed, base['b>a'].passed);
    await net.heal('b>a');
    assert.equal((await ping).length, 1);
  });
  test('a cut in the middle of a stream holds it up, and it goes on when that is healed', async () => {
    await net.link('c>b', { rate: 2000 });
    const base = await direction('c>b');
    const stream = c.stream(b, 200_000);
    await until('some has passed', async () => (await direction('c>b')).passed > base.passed + 5);
    await net.cut('c b');
    await until('more has been sent, in vain', async () => (await direction('c>b')).cut > base.cut);
    await net.heal('c');
    await net.link('c b');
    assert.equal((await stream).different, 0);
  });
  test('a capture has all that was sent, also what was lost', async () => {
    const file = join(dir, 'all.pcap');
    await net.capture(file);
    await net.link('a>b', { loss: 50 });
    const { counts } = await shoot(100, { text: 'a word in the clear' });
    assert.ok(counts.lost > 0);
    assert.ok(await net.endCapture() >= 100);
    const all = packets(file).map((p) => String(p.payload));
    for (let i = number - 100; i < number; i++) assert.ok(all.includes(`note ${i} a word in the clear`));
    const of = packets(file)[0];
    assert.deepEqual([of.from, of.to], [a.host, b.host]);
  });
  test('what it does not understand is refused, and nothing changes', async () => {
    for (const [words, why] of [
      [['link a b loss'], /the value of "loss" is missing/],
      [['link a b loss 101'], /"101" is not a number from 0 to 100/],
      [['link a b loss nan'], /"nan" is not a number/],
      [['link a b delay 5x'], /"5x" is not a number/],
      [['link a b colour 5'], /no rule "colour"/],
      [['link a a loss 5'], /"a" is one host, not two/],
      [['link a>z loss 5'], /no two hosts have these names/],
      [['link z loss 5'], /no host has the name "z"/],
      [['link'], /whom it is about is missing/],
      [['cut a b c'], /"c" is too much/],
      [['frobnicate "it"'], /"frobnicate": the commands are/],
      [['capture /nonexistent/file'], /\/nonexistent\/file cannot be written: No such file/],
      [[`link ${'a '.repeat(40)}`], /fewer than 32 words/],
      [[`link ${'a'.repeat(5000)}`], /fewer than 1000 bytes/],
      [[''], /the commands are/],
    ]) await assert.rejects(net.tell(...words), { message: why }, words[0]);
    assert.equal((await shoot(100)).numbers.length, 100);
  });
});

describe('what is left of hosts', { skip }, () => {
  const bin = mkdtempSync(join(tmpdir(), 'isola-test-'));
  after(() => rmSync(bin, { recursive: true }));
  const killed = async (env) => {
    const script = `
      import { Network } from ${JSON.stringify(join(import.meta.dirname, 'hosts.mjs'))};
      const net = await Network.start(['a']);
      Object.assign(process.env, ${JSON.stringify(env)});
      const child = net.run('a', 'tail', ['-f', '/dev/null']);
      console.log(JSON.stringify([child.pid, net.pid]));
      setInterval(() => {}, 1000);`;
    const test_ = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let pids;
    for await (const line of createInterface({ input: test_.stdout })) {
      if (!line.startsWith('[')) continue;
      pids = JSON.parse(line);
      break;
    }
    for (const pid of pids) assert.ok(!gone(pid));
    return { test_, pids };
  };
  const ends = async ({ test_, pids }, then = () => {}) => {
    const [program, badnet] = pids;
    process.kill(badnet, 'SIGSTOP'); // the namespace is there for long enough
    test_.kill('SIGKILL');
    await once(test_, 'exit');
    then();
    try {
      await until('the program is gone', () => gone(program));
      process.kill(badnet, 'SIGCONT');
      await until('badnet is gone', () => gone(badnet));
    } finally {
      for (const pid of pids) if (!gone(pid)) process.kill(pid, 'SIGKILL');
    }
  };

  test('nothing, when the test that made them is killed', async () => {
    const it = await killed({});
    await until('the program runs', () => readFileSync(`/proc/${it.pids[0]}/comm`, 'utf8') === 'tail\n');
    await ends(it);
  });
  test('nothing, when it is killed while a program has not come to ask the kernel for its end', async () => {
    const [setpriv] = process.env.PATH.split(':').map((dir) => join(dir, 'setpriv')).filter(existsSync);
    const gate = join(bin, 'gate');
    execFileSync('mkfifo', [gate]);
    const opened = openSync(gate, 'r+');
    try {
      writeFileSync(join(bin, 'setpriv'), `#!/bin/sh\nread -r go < ${gate}\nexec ${setpriv} "$@"\n`, { mode: 0o755 });
      await ends(await killed({ PATH: `${bin}:${process.env.PATH}` }), () => writeSync(opened, 'go\n'));
    } finally {
      closeSync(opened);
    }
  });
});
