// SPDX-License-Identifier: Apache-2.0
//
// Peers of the mesh that mean harm: strangers, those who were members once, and members whose actor-host says what none of ours would. Whatever
// they do ends their own connection, with a reason in the log and a count, or is of no effect; no memory is kept, and nobody else notices.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';

import { encodeFrame } from '../../actors/lib/client/envelope.js';
import { Channel, keyPair } from './channel.mjs';
import { Cluster, ctlOk, nodes, sanitized, until, whole } from './cluster.mjs';
import { Authority, Member } from './member.mjs';
import { ACK, againOf, ASK, CONTROL, DATA, dataPort, EMIT, envelopeOf, EVENT, FAIL, frameOf, headOf, itemOf, OPEN, openOf, PACE, PART, partOf, PING, REPLY, SUB, Wire } from './wire.mjs';

const MB = 1 << 20, GB = 1 << 30;
const KEPT = 24 * MB; // more than an actor-host's memory goes up and down by itself

const app = {
  'isola.json': { name: 'p', actors: { A: { module: './a.js', isolation: 'shared' } } },
  'a.js': `import { actor } from 'isola';
  export default (self) => {
    let go, heard = 0;
    self.on('echo', (v) => v);
    self.on('much', (n) => new Uint8Array(n));
    self.on('hold', () => new Promise((done) => { go = done; }));
    self.on('release', (v) => { go?.(v); return go !== undefined; });
    self.on('hear', () => { heard++; });
    self.on('heard', () => heard);
    self.on('listen', (address) => { actor(address).on('news', () => { heard++; }); });
    self.on('ask', (address, event, ...args) => actor(address).ask(event, ...args));
  };`,
};
const types = { ...app, 'isola.json': { name: 'p', actors: { A: { module: './a.js', isolation: 'shared', reentrant: true } } } };

const cluster = new Cluster();
let one, two, authority, host, port, urls;
const keys = {}; // of actors, by the node where they live

before(async () => {
  one = await cluster.node('one');
  two = await cluster.node('two', one);
  authority = new Authority(join(cluster.dir, 'one'));
  await cluster.deploy(one, 'p', types);
  host = (await nodes(one)).find((n) => n.name === 'one').host_pid;
  port = dataPort(host);
  urls = (await nodes(one)).map((n) => n.url);
  await place('k');
});
after(() => cluster.end());

/** Finds keys whose actors live on `one` and on `two` as things are: they stay there when another node leaves. */
async function place(salt) {
  for (let i = 0; i < 50; i++) one.client.actor('p/A', `${salt}${i}`).emit('hear');
  for (const name of ['one', 'two'])
    keys[name] = (await until(`an actor on ${name}`, async () => (await one.client.call('ps', { app: 'p' })).actors.find((a) => a.node === name && a.address.startsWith(`p/A/${salt}`))))
      .address.slice('p/A/'.length);
}
const links = () => whole(one, 'links', { node: 'one' });
const refused = async (kind = 'data') => (await links()).listeners.find((l) => l.kind === kind).refused;
const linksOf = async (name) => (await links()).links.filter((l) => l.kind === 'data' && l.peer === name);
const memory = () => +/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${host}/status`, 'latin1'))[1] * 1024;
const kept = async (before) => { if (!sanitized) await until('its memory is given back', () => memory() < before + KEPT); };
const logged = (says) => until(`the log says ${says}`, () => says.test(one.log(100_000)));

// Neighbours: both ways, between nodes that do no harm, and on the node itself.
async function fine() {
  for (const [from, to] of [[one, keys.two], [two, keys.one], [one, keys.one]])
    assert.equal(await from.client.actor('p/A', to).ask('echo', 'x'), 'x');
}
afterEach(async () => {
  await fine();
  assert.equal((await nodes(one)).find((n) => n.name === 'one').host_pid, host, 'the same actor-host runs');
});

/** What is opened is turned away, for a reason that the log has, and counted, once. The log takes a bounded number of such lines a second: what it has no room for is tried again, and what others were counted with. */
async function turnedAway(says, options, reason = 4, kind = 'data') {
  let wire;
  await until(`the log says ${says}`, async () => {
    const before = await refused(kind);
    wire = await Wire.open({ port, ...options });
    await wire.over();
    assert.equal(wire.refusal?.reason, reason);
    const now = await until('it is counted', async () => { const n = await refused(kind); return n > before ? n : undefined; });
    return now === before + 1 && says.test(one.log(100_000));
  });
  return wire;
}
/** The actor-host has ended this connection for what came on it, says why, and counts it. */
async function ended(wire, says, before) {
  await wire.over();
  await logged(says);
  await until('it is counted', async () => await refused() === before + 1);
}

describe('who', () => {
  test('has a certificate of another cluster', () => turnedAway(/refused: it shows a certificate of node three in cluster [0-9a-f]{16}, this is cluster [0-9a-f]{16}/, { as: new Authority().member('three').host() }));
  test('is an agent, and comes to the actor-host', () =>
    turnedAway(/refused: it is the agent of node three; actor-hosts talk to actor-hosts here/, { as: authority.member('three').agent() }));
  test('is an actor-host, and comes to the agent', async () =>
    turnedAway(/refused: it is an actor-host of node three/, { port: +(await nodes(one)).find((n) => n.name === 'one').url.split(':').at(-1), as: authority.member('three').host(), purpose: CONTROL }, 4, 'control'));
  test('comes to the actor-host as to an agent', () => turnedAway(/refused: .*purpose/, { as: authority.member('three').agent(), purpose: CONTROL }, 2));
  test('has the certificate, and not the key of it', () =>
    turnedAway(/refused: it shows the certificate of .*three, but the key of the channel is another's/, { as: { ...authority.member('three').host(), keys: keyPair() } }));
  test('shows nothing', () => turnedAway(/refused: it shows no certificate/, { as: { keys: keyPair(), payload: Buffer.alloc(0) } }));
  test('was the actor-host of a node before the one it has', () =>
    turnedAway(/refused: it is an actor-host that node two had before the one it has now/, { as: Member.of(join(cluster.dir, 'two')).host({ started: Date.now() - 3_600_000 }) }));
  test('was removed, before it comes and while it is there', async () => {
    const four = await cluster.node('four', one);
    await place('four'); // some have gone there, and end with it
    const as = Member.of(join(cluster.dir, 'four')).host();
    await four.client.close();
    cluster.clients.splice(cluster.clients.indexOf(four.client), 1);
    const wire = await Wire.open({ port, as });
    wire.send({ kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'echo', args: [1] });
    assert.deepEqual((await wire.answer(1)).args, [1]);
    await ctlOk(one, 'remove', 'four', '--force');
    await wire.over();
    await turnedAway(/refused: it is .*four, which was removed from the cluster/, { as });
    assert.equal(await four.stop(), undefined); // or it comes again and again, and is counted with others
  });
});

describe('versions of the wire', () => {
  const as = () => authority.member('three').host();
  for (const [name, least, greatest] of [['the same', 2, 2], ['one newer', 2, 3], ['one older, that knows this one', 1, 2], ['all there will be', 2, 65_535]])
    test(`${name}: both speak 2`, async () => {
      const wire = await Wire.open({ port, as: as(), least, greatest });
      assert.equal(wire.version, 2);
      wire.send({ kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'echo', args: [1] });
      assert.deepEqual((await wire.answer(1)).args, [1]);
      wire.end();
    });
  for (const [name, least, greatest] of [['two newer', 3, 4], ['one older alone', 1, 1]])
    test(`${name}: refused by name`, async () => {
      const wire = await turnedAway(new RegExp(`refused: .*wire version.* ${least}`), { as: as(), least, greatest }, 1);
      assert.deepEqual([wire.refusal.least, wire.refusal.greatest], [2, 2]);
    });
  test('a message of another version than was agreed upon', async () => {
    for (const [version, says] of [[1, /a message of wire version 1 came on a connection/], [3, /the peer speaks wire version 3/], [99, /the peer speaks wire version 99/]]) {
      const before = await refused();
      const wire = await Wire.open({ port, as: as() });
      const message = { version, kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'hear' };
      wire.frame(version === 1 ? Buffer.from(encodeFrame(message).subarray(4)) : envelopeOf(message));
      await ended(wire, says, before);
    }
  });
});

describe('records', () => {
  const open = () => Wire.open({ port, as: authority.member('three').host(), silent: true }); // answers would be records in between
  const tell = frameOf(envelopeOf({ kind: EMIT, dst: 'p/A/never', event: 'hear' }));
  test('twice the same', async () => {
    const before = await refused(), wire = await open(), record = wire.sealed(tell);
    wire.raw(Buffer.concat([record, record]));
    await ended(wire, /node three.*record/, before);
  });
  test('that begin a connection, recorded and sent again', async () => {
    const known = await open(), as = authority.member('five').host();
    known.end();
    const handshake = new Channel({ initiator: true, pattern: 'IK', peer: known.peer, purpose: DATA, ...as }).start();
    const before = await refused();
    const good = await Wire.open({ port, as, pattern: 'IK', peer: known.peer });
    good.send({ kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'echo', args: [1] });
    assert.deepEqual((await good.answer(1)).args, [1]);
    const replays = await Promise.all(Array.from({ length: 3 }, () => Wire.open({ port })));
    for (const wire of replays) wire.raw(handshake);
    for (const wire of replays) await wire.over();
    await logged(/has not said who it is within 3000 ms/);
    assert.equal(await refused(), before + 3);
    assert.equal((await linksOf('five')).length, 1, 'they were never taken for the node');
    good.send({ kind: ASK, id: 2, dst: `p/A/${keys.one}`, event: 'echo', args: [2] });
    assert.deepEqual((await good.answer(2)).args, [2]);
    good.end();
  });
  test('of another connection', async () => {
    const before = await refused(), wire = await open(), other = await open();
    wire.raw(other.sealed(tell));
    await ended(wire, /node three.*record/, before);
    other.end();
  });
  test('that were changed, or left out', async () => {
    for (const spoil of [(r) => { r[7] ^= 1; return r; }, (r) => { r[r.length - 1] ^= 0x80; return r; }, (r, wire) => wire.sealed(tell)]) {
      const before = await refused(), wire = await open();
      wire.raw(spoil(wire.sealed(tell), wire));
      await ended(wire, /node three.*record/, before);
    }
  });
  test('that hold what is no item, or half of one', async () => {
    const note = envelopeOf({ kind: EMIT, src: 'p/A/x', dst: `p/A/${keys.one}`, event: 'note' });
    const cases = {
      'is unknown': itemOf(9, Buffer.from('x')), 'a ping of 3 bytes': itemOf(PING, Buffer.alloc(3)), 'cut off by the end of its record': frameOf(Buffer.alloc(100)).subarray(0, 50),
      'was announced; 67108864 are allowed': Buffer.from([0x7f, 0xff, 0xff, 0xff]), 'a part of a large frame is cut off': itemOf(PART, Buffer.alloc(2)),
      'beginning of a large frame is cut off': itemOf(OPEN, Buffer.alloc(7)), 'was not begun': partOf(5, Buffer.from('x')),
      'was begun twice': Buffer.concat([openOf(5, 100, Buffer.from('x')), openOf(5, 100, Buffer.from('x'))]), 'which lacks 2 of its 3': Buffer.concat([openOf(6, 3, Buffer.from('x')), partOf(6, Buffer.from('xyz'))]),
      'was announced; 1073741824 are allowed': openOf(7, GB + 1, Buffer.from('x')), '0 bytes for large frame 8': openOf(8, 10, Buffer.alloc(0)),
      'head 7, which was never given': againOf(7, Buffer.from([0x90])), 'head 512; they are numbered': againOf(512, Buffer.from([0x90])),
      'head 3 is of what has none': headOf(3, envelopeOf({ kind: ASK, id: 1, src: 'p/A/x', dst: 'p/A/y' })), 'malformed envelope': headOf(3, Buffer.from([0x9c])),
      'args holds a malformed value': Buffer.concat([headOf(3, note), againOf(3, Buffer.from([0x91, 0xc1]))]),
    };
    for (const [says, bytes] of Object.entries(cases)) {
      const before = await refused(), wire = await open();
      wire.write(bytes);
      await ended(wire, new RegExp(says), before);
    }
  });
});

describe('large frames that never end', () => {
  const open = () => Wire.open({ port, as: authority.member('three').host() });
  test('64 of them, and one more', async () => {
    const before = await refused(), held = memory(), wire = await open();
    for (let i = 1; i <= 64; i++) wire.write(openOf(i, 20 * MB, Buffer.alloc(100, i)));
    wire.send({ kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'echo', args: [1] });
    assert.deepEqual((await wire.answer(1)).args, [1], 'what is small goes on beside them');
    if (!sanitized) assert.ok(memory() < held + KEPT, `${memory() - held} bytes`);
    wire.write(openOf(65, 20 * MB, Buffer.alloc(100)));
    await ended(wire, /too much was begun and not ended: 65 large frames/, before);
    await kept(held);
  });
  test('a gigabyte is announced, and a megabyte comes', async () => {
    const before = await refused(), held = memory(), wire = await open();
    wire.write(openOf(1, GB, Buffer.alloc(1000)));
    for (let i = 0; i < 20; i++) wire.write(partOf(1, Buffer.alloc(50_000)));
    wire.send({ kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'echo', args: [1] });
    assert.deepEqual((await wire.answer(1)).args, [1]);
    if (!sanitized) assert.ok(memory() < held + KEPT, `${memory() - held} bytes`);
    wire.write(openOf(2, GB, Buffer.alloc(1000)));
    await ended(wire, /too much was begun and not ended: 2 large frames/, before);
    await kept(held);
  });
});

describe('floods', () => {
  test('of pings, from one that reads the answers', async () => {
    const MOST = 256; // answers that may wait; pings beyond get none
    const wire = await Wire.open({ port, as: authority.member('three').host() });
    let sent = 0;
    const pings = (n) => Buffer.concat(Array.from({ length: n }, () => { const b = Buffer.alloc(8); b.writeUInt32BE(sent++, 4); return itemOf(PING, b); }));
    for (let i = 0; i < 4; i++) { // with time to answer pings itself
      wire.write(pings(4000));
      await wire.written();
    }
    wire.send({ kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'echo', args: [1] });
    assert.deepEqual((await wire.answer(1)).args, [1]); // and what was owed has come before
    const answered = () => wire.pongs.map((p) => p.readUInt32BE(4));
    assert.ok(answered().every((n, i, all) => (i < MOST ? n === i : n > all[i - 1])) && wire.pongs.length >= MOST);
    for (let i = 0; i < 20; i++) {
      const from = sent, had = wire.pongs.length;
      wire.write(pings(MOST));
      await wire.until('as many answers as may wait', () => wire.pongs.length === had + MOST);
      assert.ok(!wire.ended && answered().slice(had).every((n, k) => n === from + k));
    }
    wire.end();
  });
  test('of pings, from one that reads nothing', async () => {
    const held = memory();
    const wire = await Wire.open({ port, as: authority.member('three').host() });
    wire.pause();
    const pings = Buffer.concat(Array.from({ length: 5000 }, () => itemOf(PING, Buffer.alloc(8))));
    for (let i = 0; i < 800 && !wire.ended; i++) { // more than sockets hold
      wire.write(pings);
      await wire.written();
    }
    await until('all of it has been seen to', async () => { const l = await linksOf('three'); return l.length === 0 || l[0].bytes_in > 800 * 60_000; });
    await fine();
    if (!sanitized) assert.ok(memory() < held + KEPT, `${memory() - held} bytes are kept`);
    wire.end();
    await until('the link is gone', async () => (await linksOf('three')).length === 0);
  });
  test('of connections of one member', async () => {
    const before = await refused(), as = authority.member('three').host();
    const wires = [];
    for (let i = 0; i < 40; i++) wires.push(await Wire.open({ port, as }));
    await until('the many are turned away', () => wires.filter((w) => w.ended).length >= 40 - 16);
    assert.equal((await linksOf('three')).length, 16);
    await logged(/node three has 16 links with this one already/);
    assert.equal(await refused(), before + 24);
    for (const w of wires) w.end();
    await until('they are gone', async () => (await linksOf('three')).length === 0);
  });
});

describe('answers that nobody has asked for', () => {
  test('do not answer what others were asked, nor tell subscribers anything', async () => {
    const ref = one.client.actor('p/A', keys.one), other = two.client.actor('p/A', keys.two);
    const heard = await ref.ask('heard');
    await ref.ask('listen', `p/A/${keys.two}`);
    const waits = ref.ask('ask', `p/A/${keys.two}`, 'hold', { timeout: 60_000 });
    const wire = await Wire.open({ port, as: authority.member('three').host() });
    const src = `p/A/${keys.two}`, error = new Error('forged');
    for (let id = 1; id < 3000; id++) {
      const forged = [{ kind: REPLY, id, args: ['forged'] }, { kind: FAIL, id, args: [error] }, { kind: EVENT, id, src, event: 'news', args: ['forged'] }, { kind: PACE, id: id & 1, src }];
      wire.write(Buffer.concat(forged.map((m) => frameOf(envelopeOf(m)))));
    }
    for (const flags of [0, 1]) wire.send({ kind: flags ? REPLY : ACK, flags, seq: 7, src: 'p/A/nobody', dst: `p/A/${keys.one}`, args: flags ? [1] : [] });
    wire.send({ kind: ASK, id: 1, dst: `p/A/${keys.one}`, event: 'echo', args: ['after them'] });
    assert.deepEqual((await wire.answer(1)).args, ['after them']);
    await until('it is held', () => other.ask('release', 'right'));
    assert.equal(await waits, 'right');
    assert.equal(await ref.ask('heard'), heard);
    wire.end();
  });
});

describe('a live member', () => {
  const hello = (name) => ({ kind: EMIT, event: 'hello', args: [{ node: name }] });
  /** A node that both others believe in, and its links with the actor-host of `one`; it has had no actors, and says so. */
  async function live(name, links) {
    const member = authority.member(name), as = member.host();
    const control = await Promise.all(urls.map((url) => member.enter(url, as)));
    await until(`${name} is up`, async () => (await nodes(one)).some((n) => n.name === name && n.state === 'up'));
    const other = dataPort((await nodes(two)).find((n) => n.name === 'two').host_pid);
    const dial = async (at = port) => {
      const wire = await Wire.open({ port: at, as });
      wire.hear = (m) => { if (m.kind === ASK && m.event === 'claim') wire.send({ kind: REPLY, id: m.id, args: [null] }); };
      if (name < 'one') wire.send(hello(name)); // it decides which link is used
      return wire;
    };
    const wires = await Promise.all([...Array(links).fill(port), other].map(dial));
    await place(name);
    return { wires, dial, end: () => { for (const wire of [...control, ...wires]) wire.end(); } };
  }
  test('says hello again and again, on one link and on another', async () => {
    const peer = await live('alpha', 2);
    const wires = peer.wires.slice(0, 2);
    for (let i = 0; i < 200; i++) { wires[0].send(hello('alpha')); wires[i & 1].send(hello('alpha')); }
    for (const [i, wire] of wires.entries()) {
      wire.send({ kind: ASK, id: i + 1, dst: `p/A/${keys.one}`, event: 'echo', args: [i] });
      assert.deepEqual((await wire.answer(i + 1)).args, [i]);
    }
    assert.equal((await linksOf('alpha')).filter((l) => l.state === 'up').length, 1);
    peer.end();
  });
  test('is told first which link is used, whatever waits for it', async () => {
    const peer = await live('zeta', 1), asker = one.client.actor(`p/A/${keys.one}`);
    peer.wires[0].end();
    await until('the link has ended', async () => (await linksOf('zeta')).every((l) => l.state !== 'up'));
    const asks = Array.from({ length: 50 }, (_, i) => asker.ask('ask', `p/A/zeta${i}`, 'echo', i).catch((e) => assert.equal(e.code, 'EUNREACHABLE')));
    await fine();
    const wire = await peer.dial();
    await wire.until('what has waited', () => wire.frames.some((m) => m.kind === ASK && m.dst !== ''));
    assert.equal(wire.frames[0].event, 'hello');
    wire.end();
    peer.end();
    await Promise.all(asks);
  });
  test('takes nothing of what it is sent', async () => {
    const held = memory(), peer = await live('zeta', 1);
    const [wire] = peer.wires;
    const there = () => wire.frames.find((m) => m.event === 'hear')?.dst; // one of those that `place` has tried
    await wire.until('an actor there', there);
    wire.pause();
    const big = new Uint8Array(4 * MB), outcomes = [];
    for (let i = 0; i < 50; i++) {
      one.client.actor(there()).ask('echo', big, { timeout: 60_000 }).then(() => outcomes.push('answered'), (e) => outcomes.push(e.code));
      await new Promise((done) => setImmediate(done)); // or this process stands still for all of them
    }
    await until('more is refused than waits', () => outcomes.includes('EOVERLOAD'));
    const [up] = (await linksOf('zeta')).filter((l) => l.state === 'up');
    assert.ok(up.queued > 0 && up.queued_bytes > 32 * MB, JSON.stringify(up));
    await fine();
    peer.end();
    await until('all are told', () => outcomes.length === 50);
    assert.deepEqual([...new Set(outcomes)].sort(), ['EOVERLOAD', 'EUNREACHABLE']);
    await kept(held + 64 * MB); // what was sent lay in buffers of the allocator's too
  });
  test('takes no answers for a while: for what has no room it is told so', async () => {
    const held = memory(), peer = await live('zeta', 1);
    const [wire] = peer.wires, dst = `p/A/${keys.one}`, heard = () => one.client.actor(dst).ask('heard'), before = await heard();
    const sizes = [[40, 4 * MB], [80, 64 << 10], [80, 3000]].flatMap(([n, size]) => Array(n).fill(size)); // until there is not room for any
    wire.pause();
    sizes.forEach((size, i) => wire.send({ kind: ASK, id: i + 1, dst, event: 'much', args: [size] }));
    await until('all are carried out', async () => {
      wire.send({ kind: EMIT, dst, event: 'hear' }); // behind them
      return await heard() > before;
    });
    await fine();
    wire.resume();
    const kinds = { [REPLY]: 0, [FAIL]: 0 };
    for (const [i, size] of sizes.entries()) {
      const { kind, args: [value] } = await wire.answer(i + 1);
      kinds[kind]++;
      if (kind === REPLY) assert.equal(value.length, size);
      else assert.deepEqual([value.code, value.message], ['EOVERLOAD', 'the answer cannot be sent: too much waits on the way to who asked']);
    }
    assert.ok(kinds[REPLY] > 30 && kinds[FAIL] > 60, JSON.stringify(kinds));
    peer.end();
    await kept(held + 64 * MB);
  });
});
