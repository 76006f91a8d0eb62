// SPDX-License-Identifier: Apache-2.0
//
// The client library against a fake agent: correlation, errors, subscriptions, reconnecting, bounds, and when a process may exit.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { decodeArgs, writeArgs } from '../../actors/lib/client/codec.js';
import { ACK, ASK, EMIT, EVENT, FAIL, FrameParser, REPLY, SUB, UNSUB, decodeEnvelope, encodeFrame } from '../../actors/lib/client/envelope.js';
import { Client, Ref, connect } from '../../actors/lib/client/index.js';
import { Writer } from '../../actors/lib/client/msgpack.js';

const library = pathToFileURL(join(import.meta.dirname, '../../actors/lib/client/index.js')).href;
const dir = mkdtempSync(join(tmpdir(), 'isola-client-'));
after(() => rmSync(dir, { recursive: true }));

/** Answers hello, keeps everything else for take(), which waits for it. */
class FakeAgent {
  path;
  wire = 1;
  wireOldest = undefined;
  connections = new Set();
  #server;
  #messages = [];
  #takers = [];
  #had = new Set(); // numbers of durable messages that were taken

  constructor(path) {
    this.path = path;
  }
  async listen() {
    this.#server = net.createServer((socket) => this.#accept(socket));
    this.#server.listen(this.path);
    await once(this.#server, 'listening');
  }
  async close() {
    for (const socket of this.connections) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }
  #accept(socket) {
    const parser = new FrameParser();
    this.connections.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.connections.delete(socket));
    socket.on('data', (chunk) => parser.push(chunk, (bytes) => this.#message(socket, decodeEnvelope(bytes))));
  }
  #message(socket, m) {
    m.bytes = Buffer.from(m.args);
    m.args = decodeArgs(m.args);
    const version = m.version; // what it is spoken to in is what it answers in
    const about = m.seq !== 0 ? { version, seq: m.seq, src: m.dst, dst: m.src } : { version, id: m.id };
    m.reply = (value) => socket.write(encodeFrame({ ...about, kind: REPLY, args: [value] }));
    m.fail = (error) => socket.write(encodeFrame({ ...about, kind: FAIL, args: [error] }));
    m.ack = () => socket.write(encodeFrame({ ...about, kind: ACK }));
    m.send = (message) => socket.write(encodeFrame(message));
    m.socket = socket;
    if (m.dst === '' && m.event === 'hello') {
      this.hello = m;
      m.reply({ node: 'fake', version: '0', wire: this.wire, wire_oldest: this.wireOldest, pid: 1 });
      return;
    }
    const taker = this.#takers.shift();
    if (taker !== undefined) taker(m);
    else this.#messages.push(m);
  }
  /** The next message, in order. A durable one comes again when it was not acknowledged for 150 ms, which may be the time this process has no processor. */
  async take() {
    const m = this.#messages.shift() ?? await new Promise((resolve) => { this.#takers.push(resolve); });
    if (m.seq !== 0) this.#had.add(m.seq);
    return m;
  }
  /** The next durable message of that number. */
  async numbered(seq) {
    for (;;) {
      const m = await this.take();
      if (m.seq === seq) return m;
    }
  }
  /** The next that was not taken before. */
  async fresh() {
    for (;;) {
      const had = new Set(this.#had), m = await this.take();
      if (!had.has(m.seq)) return m;
    }
  }
  get untaken() { return this.#messages.filter((m) => !this.#had.has(m.seq)).length; }
}

let agent, client;
let counter = 0;
beforeEach(async () => {
  agent = new FakeAgent(join(dir, `agent-${++counter}.sock`));
  await agent.listen();
  client = await connect({ socket: agent.path });
});
afterEach(async () => {
  await client.close();
  await agent.close();
});

test('hello goes first, then an ask and its reply', async () => {
  assert.equal(agent.hello.args[0].program, 'isola client');
  assert.equal(client.node, 'fake');
  const reply = client.actor('shop/Counter', 'u/1').ask('add', 1, [2], { timeout: 2000 });
  const m = await agent.take();
  assert.deepEqual([m.kind, m.src, m.dst, m.event, m.timeout, m.args, m.chain], [ASK, '', 'shop/Counter/u/1', 'add', 2000, [1, [2]], []]);
  m.reply({ n: 3 });
  assert.deepEqual(await reply, { n: 3 });
});

test('replies find their asks in any order', async () => {
  const c = client.actor('shop/Counter/a');
  const asks = [c.ask('x'), c.ask('y'), c.ask('z')];
  const [x, y, z] = [await agent.take(), await agent.take(), await agent.take()];
  assert.equal(new Set([x.id, y.id, z.id]).size, 3);
  z.reply('Z');
  x.reply('X');
  y.reply(undefined);
  assert.deepEqual(await Promise.all(asks), ['X', undefined, 'Z']);
});

test('a last argument is options only if it has nothing but options', async () => {
  const c = client.actor('shop/Counter/a');
  const cases = [
    [[{ timeout: 5000 }], []], [[1, { timeout: 5000, signal: new AbortController().signal }], [1]], [[{}], [{}]],
    [[{ timeout: 1, n: 2 }], [{ timeout: 1, n: 2 }]], [[{ timeout: 7 }, { timeout: 5000 }], [{ timeout: 7 }]], [[[1]], [[1]]],
  ];
  for (const [args, sent] of cases) {
    const reply = c.ask('e', ...args);
    const m = await agent.take();
    assert.deepEqual(m.args, sent);
    m.reply(0);
    await reply;
  }
  await assert.rejects(c.ask('e', { timeout: -1 }), RangeError);
  await assert.rejects(c.ask('e', { durable: 1 }), TypeError);
  await assert.rejects(c.ask('e', { durable: true }), { code: 'EPROTO', message: /release before/ }); // of this agent's
  assert.throws(() => c.emit('e', 1, { durable: true }), { code: 'EPROTO' });
  c.emit('e', { durable: false });
  assert.deepEqual((await agent.take()).args, []);
  await assert.rejects(c.ask(''), TypeError);
  c.emit('e', { timeout: 1 });
  assert.deepEqual((await agent.take()).args, [{ timeout: 1 }]);
});

test('an error arrives with code, message and both stacks', async () => {
  const reply = client.actor('shop/Counter/a').ask('add');
  const error = new RangeError('too many');
  error.code = 'EMANY';
  error.stack = 'RangeError: too many\n    at add (counter.js:3:9)';
  (await agent.take()).fail(error);
  const got = await reply.catch((e) => e);
  assert.ok(got instanceof RangeError);
  assert.equal(got.code, 'EMANY');
  assert.equal(got.message, 'too many');
  assert.equal(got.remoteStack, error.stack);
  assert.match(got.stack, /^RangeError: too many\n    at .*client_connection_test[^]*--- in the actor ---\n    RangeError: too many\n +at add \(counter\.js:3:9\)$/);
});

test('an error that no script threw has one stack, that of the ask', async () => {
  const reply = client.actor('shop/Counter/a').ask('add');
  const error = new Error('there is no app "shop"');
  error.stack = 'Error: there is no app "shop"';
  (await agent.take()).fail(error);
  const got = await reply.catch((e) => e);
  assert.equal(got.remoteStack, error.stack);
  assert.match(got.stack, /^Error: there is no app "shop"\n    at /);
  assert.doesNotMatch(got.stack, /in the actor/);
});

test('an ask without a reply times out, and its late reply harms nobody', async () => {
  const c = client.actor('shop/Counter/a');
  const timedOut = assert.rejects(c.ask('slow', { timeout: 5 }), (e) => e.code === 'ETIMEDOUT' && /"slow" from shop\/Counter\/a within 5 ms/.test(e.message) && /client_connection_test/.test(e.stack));
  const m = await agent.take();
  await timedOut;
  m.reply(1);
  const next = c.ask('next');
  (await agent.take()).reply(2);
  assert.equal(await next, 2);
});

test('an ask can be aborted', async () => {
  const c = client.actor('shop/Counter/a');
  const controller = new AbortController();
  const reply = c.ask('slow', { signal: controller.signal });
  await agent.take();
  controller.abort(new Error('enough'));
  await assert.rejects(reply, /enough/);
  await assert.rejects(c.ask('never', { signal: controller.signal }), /enough/);
  assert.equal(agent.untaken, 0);
});

test('what cannot be sent is refused and leaves the connection as it was', async () => {
  const c = client.actor('shop/Counter/a');
  await assert.rejects(c.ask('add', { f() {} }), { code: 'ECLONE', message: 'args[0].f: a function cannot be sent' });
  assert.throws(() => c.emit('add', Symbol('x')), { code: 'ECLONE' });
  assert.equal(c.emit('add', 1), true);
  assert.deepEqual((await agent.take()).args, [1]);
});

test('addresses are checked', () => {
  for (const bad of ['', 'shop', 'shop/Counter', 'shop/Counter/', '/Counter/a', 'sh op/Counter/a', 'shop/Counter/a\0b'])
    assert.throws(() => client.actor(bad), { code: 'EINVAL' }, bad);
  assert.throws(() => client.actor(undefined), TypeError);
  assert.equal(client.actor('shop/Counter', 7).address, 'shop/Counter/7');
  assert.equal(String(client.actor('shop/Counter', 'a/b')), 'shop/Counter/a/b');
});

test('refs travel both ways', async () => {
  const reply = client.actor('shop/Counter/a').ask('friend', client.actor('shop/Counter/b'));
  const m = await agent.take();
  m.reply({ ref: m.args[0] });
  const { ref } = await reply;
  assert.ok(ref instanceof Ref);
  ref.emit('hello');
  assert.equal((await agent.take()).dst, 'shop/Counter/b');
});

test('the first listener subscribes, the last to go unsubscribes', async () => {
  const c = client.actor('shop/Counter/a');
  const got = [];
  const one = (n) => got.push(['one', n]), two = (n) => got.push(['two', n]);
  c.on('changed', one).on('changed', two);
  const sub = await agent.take();
  assert.deepEqual([sub.kind, sub.dst, sub.event], [SUB, 'shop/Counter/a', 'changed']);
  sub.reply(null);
  sub.send({ kind: EVENT, id: sub.id, src: 'shop/Counter/a', event: 'changed', args: [1] });
  c.off('changed', one);
  const ask = c.ask('fence');
  (await agent.take()).reply(0);
  await ask;
  assert.deepEqual(got, [['two', 1]]);
  c.off('changed', two);
  const unsub = await agent.take();
  assert.deepEqual([unsub.kind, unsub.dst, unsub.event, unsub.id], [UNSUB, 'shop/Counter/a', 'changed', sub.id]);
  c.on('changed', one);
  assert.notEqual((await agent.take()).id, sub.id);
  c.removeAllListeners();
  assert.equal((await agent.take()).kind, UNSUB);
});

test('once, symbols and drain', async () => {
  const c = client.actor('shop/Counter/a');
  c.on('drain', () => {}).on(Symbol('s'), () => {}).on('newListener', () => {});
  const event = new Promise((resolve) => { c.once('changed', resolve); });
  const sub = await agent.take();
  assert.equal(sub.event, 'changed');
  sub.send({ kind: EVENT, id: sub.id, src: 'shop/Counter/a', event: 'changed', args: ['x', 'y'] });
  assert.equal(await event, 'x');
  assert.equal((await agent.take()).kind, UNSUB);
  const pair = once(c, 'both'); // subscribes to 'error' as well
  const [both, error] = [await agent.take(), await agent.take()];
  assert.deepEqual([both.event, error.event], ['both', 'error']);
  both.send({ kind: EVENT, id: both.id, src: 'shop/Counter/a', event: 'both', args: [1, 2] });
  assert.deepEqual(await pair, [1, 2]);
});

test('events: subscribes to the event and to errors, unsubscribes at the end, and no more is sent', async () => {
  const c = client.actor('shop/Counter/a');
  const events = c.events('changed');
  assert.deepEqual([(await agent.take()).event, (await agent.take()).event], ['changed', 'error']);
  await events.return();
  for (const event of ['changed', 'error']) {
    const m = await agent.take();
    assert.deepEqual([m.kind, m.event], [UNSUB, event]);
  }
  c.emit('fence');
  assert.equal((await agent.take()).event, 'fence');
});

test('a ref that is paused has no subscriptions', async () => {
  const c = client.actor('shop/Counter/a');
  c.pause().on('changed', () => {});
  c.emit('fence');
  assert.equal((await agent.take()).event, 'fence');
  c.resume();
  const sub = await agent.take();
  assert.deepEqual([sub.kind, sub.event], [SUB, 'changed']);
  c.pause().pause();
  const unsub = await agent.take();
  assert.deepEqual([unsub.kind, unsub.id], [UNSUB, sub.id]);
  c.removeAllListeners();
  c.resume().emit('fence');
  assert.equal((await agent.take()).event, 'fence');
});

test('close: iterations end, and listeners that stay can be removed', async () => {
  const c = client.actor('shop/Counter/a');
  const one = () => {}, two = () => {};
  c.on('changed', one).on('changed', two);
  const events = c.events('changed'), next = events.next();
  await client.ready();
  await client.close();
  assert.deepEqual(await next, { value: undefined, done: true });
  c.off('changed', one);
  c.off('changed', two);
});

test('a subscription that is refused is an error event, and may be tried again', async () => {
  const c = client.actor('shop/Nothing/a');
  const error = new Promise((resolve) => { c.on('error', resolve); });
  c.on('changed', () => {});
  await agent.take();
  (await agent.take()).fail(Object.assign(new Error('no such type'), { code: 'ENOACTOR' }));
  assert.equal((await error).code, 'ENOACTOR');
  c.on('changed', () => {});
  assert.equal((await agent.take()).event, 'changed');
});

test('a lost agent: asks it had fail, subscriptions are repeated, what was not sent waits', async () => {
  const c = client.actor('shop/Counter/a');
  const events = [];
  c.on('changed', (n) => events.push(n));
  const sub = await agent.take();
  const lost = assert.rejects(c.ask('lost'), { code: 'EUNREACHABLE', message: /may or may not/ });
  await agent.take();
  const down = once(client, 'disconnect');
  await agent.close();
  await lost;
  assert.equal((await down)[0].code, 'EUNREACHABLE');

  const waits = c.ask('waits');
  assert.equal(c.emit('waits too'), true);
  const up = once(client, 'connect');
  await agent.listen();
  await up;
  const again = await agent.take();
  assert.deepEqual([again.kind, again.dst, again.event, again.id], [SUB, 'shop/Counter/a', 'changed', sub.id]);
  const m = await agent.take();
  assert.equal(m.event, 'waits');
  assert.deepEqual([(await agent.take()).kind], [EMIT]);
  again.send({ kind: EVENT, id: again.id, src: 'shop/Counter/a', event: 'changed', args: [9] });
  m.reply('here');
  assert.equal(await waits, 'here');
  assert.deepEqual(events, [9]);
});

test('what waits for a lost agent is bounded in number', async () => {
  const c = client.actor('shop/Counter/a');
  const lost = assert.rejects(c.ask('lost'), { code: 'EUNREACHABLE' });
  await agent.take();
  await agent.close();
  await lost;
  for (let i = 0; i < 10_000; i++) c.emit('x');
  assert.throws(() => c.emit('x'), { code: 'EOVERLOAD' });
  await assert.rejects(c.ask('x'), { code: 'EOVERLOAD' });
  await agent.listen();
  for (let i = 0; i < 10_000; i++) await agent.take();
  const reply = c.ask('again');
  (await agent.take()).reply(1);
  assert.equal(await reply, 1);
});

test('no agent: said at once, with the path', async () => {
  const socket = join(dir, 'nobody.sock');
  await assert.rejects(connect({ socket }), (e) => e.code === 'EUNREACHABLE' && e.message.includes(`cannot reach an agent at ${socket}: nothing listens there`));
  await assert.rejects(connect({ socket: 'tcp://127.0.0.1:1' }), { code: 'EINVAL' });
  await assert.rejects(connect({ socket: `/${'x'.repeat(200)}` }), { code: 'EINVAL', message: /too long/ });
  await assert.rejects(connect({ socket: 5 }), TypeError);
});

test('another wire version is refused', async () => {
  const other = new FakeAgent(join(dir, 'other.sock'));
  other.wire = 3;
  await other.listen();
  await assert.rejects(connect({ socket: other.path }), { code: 'EPROTO', message: /wire version 3/ });
  await other.close();
});

/* --- durable messages, with an agent of this release --- */

/** An agent, and a client that has not heard yet what it speaks. */
async function unheard(name, wire, wireOldest) {
  const other = new FakeAgent(join(dir, `${name}.sock`));
  Object.assign(other, { wire, wireOldest });
  await other.listen();
  const c = new Client({ socket: other.path });
  return { other, c, [Symbol.asyncDispose]: async () => { await c.close({ timeout: 0 }); await other.close(); } };
}

async function durableAgent(name, wire = 2, wireOldest = 1) {
  const d = await unheard(name, wire, wireOldest);
  await d.c.ready();
  return d;
}

test('each end may be one release older than the other', async () => {
  await using newer = await durableAgent('newer', 3, 2);
  const reply = newer.c.actor('a/B/c').ask('x');
  const m = await newer.other.take();
  assert.equal(newer.other.hello.version, 1); // which all understand
  assert.equal(m.version, 2);
  m.reply(1);
  assert.equal(await reply, 1);
});

test('a durable emit is sent until it is acknowledged, and flush waits for that', async () => {
  await using d = await durableAgent('durable');
  const ref = d.c.actor('a/B/c');
  assert.equal(ref.emit('x', 1, { durable: true }), true);
  ref.emit('x', 2, { durable: true });
  d.c.actor('a/B/d').emit('y', { durable: true, timeout: 1 });
  const all = [await d.other.numbered(1), await d.other.numbered(2), await d.other.numbered(3)];
  assert.deepEqual(all.map((m) => [m.kind, m.dst, m.seq, m.id, m.args]), [[EMIT, 'a/B/c', 1, 0, [1]], [EMIT, 'a/B/c', 2, 1, [2]], [EMIT, 'a/B/d', 3, 0, []]]);
  assert.match(all[0].src, /^~[\w-]{22}$/);
  assert.equal(new Set(all.map((m) => m.src)).size, 1);
  let flushed = false;
  const flush = d.c.flush().then(() => { flushed = true; });
  all[2].ack();
  const again = await d.other.numbered(1); // the first, as nobody has said anything of it
  assert.deepEqual([again.dst, again.id], ['a/B/c', 0]);
  assert.equal(flushed, false);
  again.ack();
  const second = await d.other.numbered(2); // with nothing unacknowledged before it
  assert.equal(second.id, 0);
  second.ack(), second.ack(); // an acknowledgement may come twice
  await flush;
  assert.equal(d.c.unacknowledged, 0);
});

test('a durable ask: answered, refused, timed out', async () => {
  await using d = await durableAgent('ask');
  const ref = d.c.actor('a/B/c');
  const answered = ref.ask('x', { durable: true }), refused = assert.rejects(ref.ask('y', 1, { durable: true }), { code: 'ENO', message: 'no' });
  const [x, y] = [await d.other.numbered(1), await d.other.numbered(2)];
  y.ack(); // that they are done is not what is waited for
  y.fail(Object.assign(new Error('no'), { code: 'ENO' }));
  x.reply('X');
  assert.equal(await answered, 'X');
  await refused;
  await assert.rejects(ref.ask('z', { durable: true, timeout: 1 }), { code: 'ETIMEDOUT', message: /will still be carried out/ });
  assert.equal(d.c.unacknowledged, 1);
  (await d.other.numbered(3)).ack();
  await d.c.flush();
  const gave = once(d.c, 'undeliverable');
  ref.emit('w', { durable: true });
  (await d.other.numbered(4)).fail(Object.assign(new Error('no such app'), { code: 'ENOACTOR' }));
  const [error, address, event] = await gave;
  assert.deepEqual([error.code, address, event], ['ENOACTOR', 'a/B/c', 'w']);
});

test('durable messages outlive the connection', async () => {
  await using d = await durableAgent('lost');
  const ref = d.c.actor('a/B/c');
  for (let i = 1; i <= 3; i++) ref.emit('x', i, { durable: true });
  const [one] = [await d.other.numbered(1), await d.other.numbered(2), await d.other.numbered(3)];
  const gone = once(d.c, 'disconnect');
  one.socket.destroy();
  await gone;
  ref.emit('x', 4, { durable: true });
  for (let i = 1; i <= 4; i++) {
    const m = await d.other.numbered(i);
    assert.deepEqual([m.id, m.args, m.src], [i - 1, [i], one.src]);
    if (i === 4) m.ack(); // for all of them
  }
  await d.c.flush();
});

test('a program keeps so many durable messages and no more', async () => {
  await using d = await durableAgent('bound');
  const ref = d.c.actor('a/B/c');
  let room = true;
  for (let i = 0; i < 999; i++) room &&= ref.emit('x', { durable: true });
  assert.equal(room, true);
  assert.equal(ref.emit('x', { durable: true }), false);
  for (let i = 1000; i < 10_000; i++) ref.emit('x', { durable: true });
  assert.throws(() => ref.emit('x', { durable: true }), { code: 'EOVERLOAD' });
  const drained = once(ref, 'drain');
  let last;
  for (let i = 0; last?.seq !== 10_000; i++) {
    last = await d.other.take();
    if (i % 64 === 63 || last.seq === 10_000) last.ack();
  }
  await drained;
  await d.c.flush();
});

/* --- trace contexts --- */

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736', SPAN = '00f067aa0ba902b7', traceparent = `00-${TRACE}-${SPAN}-01`;
const hex = (m) => Buffer.from(m.trace).toString('hex');

test('a message is sent in the trace its options name', async () => {
  await using d = await durableAgent('trace');
  const ref = d.c.actor('a/B/c');
  const sent = async (send, args = []) => {
    const ended = send();
    const m = await d.other.fresh();
    assert.deepEqual(m.args, args);
    if (m.kind === ASK) m.reply(1);
    else if (m.seq !== 0) m.ack();
    await ended;
    return hex(m);
  };
  const all = TRACE + SPAN;
  assert.equal(await sent(() => ref.ask('x', { traceparent })), `${all}01`);
  assert.equal(await sent(() => ref.ask('x', 1, { timeout: 5000, traceparent })  , [1]), `${all}01`);
  assert.equal(await sent(() => ref.emit('x', { traceparent })), `${all}01`);
  assert.equal(await sent(() => ref.emit('x', { traceparent, durable: true })), `${all}01`);
  assert.equal(await sent(() => ref.ask('x', { traceparent, durable: true })), `${all}01`);
  assert.equal(await sent(() => ref.ask('x', { timeout: 5000 })), '');
  assert.equal(await sent(() => ref.ask('x', { traceparent: undefined })), '');
  assert.equal(await sent(() => ref.emit('x', { traceparent, n: 1 }), [{ traceparent, n: 1 }]), '');
  // a version to come: what is known of it
  assert.equal(await sent(() => ref.ask('x', { traceparent: `cc-${TRACE}-${SPAN}-ff-more` })), `${all}01`);
  assert.equal(await sent(() => ref.ask('x', { traceparent: `00-${TRACE}-${SPAN}-00` })), `${all}00`);
  const zeros = (n) => '0'.repeat(n);
  for (const bad of ['', 5, null, TRACE, `${traceparent}-more`, traceparent.toUpperCase(), `ff-${TRACE}-${SPAN}-01`, `00-${zeros(32)}-${SPAN}-01`, `00-${TRACE}-${zeros(16)}-01`,
    `${traceparent}\n`, `00-${TRACE}x-${SPAN}-01`]) {
    for (const durable of [false, true]) {
      await assert.rejects(ref.ask('x', { traceparent: bad, durable }), { code: 'EINVAL', message: /no W3C trace context/ });
      assert.throws(() => ref.emit('x', { traceparent: bad, durable }), { code: 'EINVAL' });
    }
  }
  assert.equal(d.other.untaken, 0);
});

test('what is sent before the agent has said what it speaks keeps its trace, and its place', async () => {
  for (const wire of [2, 1]) {
    await using d = await unheard(`early-${wire}`, wire);
    const { other, c } = d, ref = c.actor('a/B/c');
    ref.emit('one', 1);
    const two = ref.ask('two', 2, { traceparent });
    ref.emit('three', 3);
    const gone = new AbortController();
    const four = assert.rejects(ref.ask('four', { traceparent, signal: gone.signal }), { name: 'AbortError' });
    gone.abort();
    const got = [await other.take(), await other.take(), await other.take()];
    assert.deepEqual(got.map((m) => [m.event, m.args, hex(m)]), [['one', [1], ''], ['two', [2], wire === 2 ? `${TRACE}${SPAN}01` : ''], ['three', [3], '']]);
    got[1].reply('yes');
    assert.equal(await two, 'yes');
    await four;
    assert.equal(other.untaken, 0);
  }
});

test('an agent of the release before gets strings as UTF-8', async () => {
  const texts = ['x'.repeat(1024), { é: 'é'.repeat(64) }, new Map([['日'.repeat(64), new Set(['\ud800!'])]]), 'short'];
  const older = [...texts.slice(0, 2), new Map([['日'.repeat(64), new Set(['\ufffd!'])]]), 'short'];
  const bytesOf = (args, old) => { const w = new Writer(); writeArgs(w, args, old); return Buffer.from(w.bytes()); };
  for (const wire of [2, 1]) {
    await using d = await unheard(`texts-${wire}`, wire);
    const { other, c } = d, ref = c.actor('a/B/c');
    const early = [structuredClone(texts[1])];
    ref.emit('early', ...early);
    early[0].é = 'changed since';
    for (const when of ['before the agent has said what it speaks', 'after it']) {
      ref.emit('one', ...texts);
      const two = ref.ask('two', ...texts);
      if (when !== 'after it') assert.deepEqual((await other.take()).args, [texts[1]]);
      for (const m of [await other.take(), await other.take()]) {
        assert.equal(m.version, wire);
        assert.deepEqual(m.args, wire === 1 ? older : texts, when);
        assert.deepEqual(m.bytes, bytesOf(texts, wire === 1), when);
        if (m.id !== 0) m.reply(m.args);
      }
      assert.deepEqual(await two, wire === 1 ? older : texts);
    }
  }
});

test('a message of more than 64 MiB goes in parts, or is refused by its code', async () => {
  const MB = 2 ** 20, large = new Uint8Array(65 * MB).fill(5);
  for (const wire of [2, 1]) {
    await using d = await unheard(`large-${wire}`, wire);
    const { other, c } = d, ref = c.actor('a/B/c');
    for (const when of ['before the agent has said what it speaks', 'after it']) {
      ref.emit('one', when);
      const two = ref.ask('two', large).catch((error) => error);
      assert.deepEqual((await other.take()).args, [when]);
      if (wire === 2) {
        const m = await other.take();
        assert.ok(m.event === 'two' && Buffer.compare(m.args[0], large) === 0);
        m.reply(2);
        assert.equal(await two, 2);
      } else {
        const { code, message } = await two;
        assert.deepEqual([code, message], ['ETOOBIG', 'the message takes more than 64 MiB']);
      }
      const three = ref.ask('three');
      (await other.take()).reply(3);
      assert.equal(await three, 3);
    }
    await assert.rejects(ref.ask('more', new Uint8Array(1024 * MB)), { code: 'ETOOBIG', message: `the message takes more than ${wire === 2 ? 1024 : 64} MiB` }, 'and is no matter of the connection');
    if (wire === 2) {
      await assert.rejects(ref.ask('durable', large, { durable: true }), { code: 'ETOOBIG' });
      assert.equal(c.unacknowledged, 0);
    }
    assert.equal(other.connections.size, 1);
    assert.equal(other.untaken, 0);
  }
});

test('a listener that is no agent', async () => {
  const server = net.createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(join(dir, 'http.sock'));
  await once(server, 'listening');
  await assert.rejects(connect({ socket: join(dir, 'http.sock') }), { code: 'EPROTO', message: /malformed message/ });
  server.close();
});

test('a malformed frame ends the connection, and the next one works', async () => {
  const c = client.actor('shop/Counter/a');
  const reply = c.ask('x');
  (await agent.take()).socket.write(Buffer.from('00000002c1c1', 'hex'));
  await assert.rejects(reply, { code: 'EPROTO' });
  const next = c.ask('y');
  (await agent.take()).reply(1);
  assert.equal(await next, 1);
});

test('a reply that cannot be read fails its ask alone', async () => {
  const c = client.actor('shop/Counter/a');
  const [bad, good] = [c.ask('bad'), c.ask('good')];
  const [b, g] = [await agent.take(), await agent.take()];
  const frame = encodeFrame({ kind: REPLY, id: b.id, args: [null] });
  frame[frame.length - 1] = 0xc1;
  b.socket.write(frame);
  g.reply(1);
  await assert.rejects(bad, { code: 'EPROTO' });
  assert.equal(await good, 1);
});

test('messages nobody asked for are ignored, asks answered', async () => {
  const c = client.actor('shop/Counter/a');
  const reply = c.ask('x');
  const m = await agent.take();
  for (const kind of [REPLY, FAIL, EVENT, EMIT, SUB]) m.send({ kind, id: 999, event: 'e', args: [1] });
  m.send({ kind: ASK, id: 5, event: 'what' });
  const answer = await agent.take();
  assert.deepEqual([answer.kind, answer.id, answer.args[0].code], [FAIL, 5, 'EINVAL']);
  m.reply(1);
  assert.equal(await reply, 1);
});

test('a slow agent: emit returns false, then throws; drain follows', async () => {
  const c = client.actor('shop/Counter/a');
  c.emit('first');
  const { socket } = await agent.take();
  socket.pause();
  const chunk = 'x'.repeat(1 << 20);
  let sent = 0;
  while (c.emit('big', chunk)) sent++;
  sent++;
  assert.ok(sent < 10, `${sent} MiB before emit returned false`);
  assert.throws(() => { for (;; sent++) c.emit('big', chunk); }, { code: 'EOVERLOAD' });
  assert.ok(sent >= 60 && sent <= 70, `${sent} MiB taken`);
  const drain = once(c, 'drain', { signal: AbortSignal.timeout(20_000) });
  socket.resume();
  await drain;
  for (; sent > 0; sent--) assert.equal((await agent.take()).kind, EMIT);
  assert.equal(c.emit('more'), true);
});

test('close: what was emitted arrives, asks end, later use fails', async () => {
  const c = client.actor('shop/Counter/a');
  c.emit('bye', 1);
  const reply = c.ask('x');
  const failed = assert.rejects(reply, { code: 'ECLOSED' });
  const closed = client.close();
  assert.deepEqual((await agent.take()).event, 'bye');
  await failed;
  await closed;
  await client.close();
  assert.throws(() => c.emit('x'), { code: 'ECLOSED' });
  assert.throws(() => c.on('x', () => {}), { code: 'ECLOSED' });
  await assert.rejects(c.ask('x'), { code: 'ECLOSED' });
  await assert.rejects(client.ready(), { code: 'ECLOSED' });
  const other = await connect({ socket: agent.path });
  await other[Symbol.asyncDispose]();
  await assert.rejects(other.call('nodes'), { code: 'ECLOSED' });
});

// --- when a process may exit ---

function run(script, env) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', `import { actor, connect } from ${JSON.stringify(library)};\n${script}`],
    { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { out += d; });
  const ended = once(child, 'close', { signal: AbortSignal.timeout(30_000) }).then(([code]) => ({ code, out }));
  ended.catch(() => child.kill('SIGKILL'));
  return ended;
}

test('a process exits by itself when nothing is awaited', async () => {
  const ended = run(`
    console.log(await actor('shop/Counter', 'a').ask('get'));
    actor('shop/Counter', 'a').emit('last', 'word');`, { ISOLA_NODE: `unix:${agent.path}` });
  (await agent.take()).reply(42);
  assert.deepEqual((await agent.take()).args, ['word']);
  assert.deepEqual(await ended, { code: 0, out: '42\n' });
});

test('a subscription keeps a process alive until it is taken back', async () => {
  const ended = run(`
    const c = actor('shop/Counter', 'a');
    c.on('changed', function heard(n) { console.log(n); if (n === 2) c.off('changed', heard); });`, { ISOLA_NODE: agent.path });
  const sub = await agent.take();
  for (const n of [1, 2]) sub.send({ kind: EVENT, id: sub.id, event: 'changed', args: [n] });
  assert.equal((await agent.take()).kind, UNSUB);
  assert.deepEqual(await ended, { code: 0, out: '1\n2\n' });
});

test('a listener that throws is an uncaught exception and loses no frames', async () => {
  const ended = run(`
    process.on('uncaughtException', (e) => console.log('uncaught', e.message));
    const c = actor('shop/Counter', 'a');
    c.on('changed', function heard(n) { if (n === 2) c.off('changed', heard); throw new Error('listener ' + n); });`, { ISOLA_NODE: agent.path });
  const sub = await agent.take();
  sub.socket.write(Buffer.concat([1, 2].map((n) => encodeFrame({ kind: EVENT, id: sub.id, event: 'changed', args: [n] }))));
  assert.deepEqual(await ended, { code: 0, out: 'uncaught listener 1\nuncaught listener 2\n' });
});

test('without an agent a process is told and exits', async () => {
  const data = join(dir, 'nothing');
  const { code, out } = await run(`
    await actor('shop/Counter', 'a').ask('get').catch((e) => console.log(e.code, e.message));
    actor('shop/Counter', 'a').emit('x');`, { ISOLA_NODE: '', ISOLA_DATA: data });
  assert.equal(code, 0);
  assert.match(out, new RegExp(`EUNREACHABLE cannot reach an agent at ${data}/agent\\.sock: nothing listens there`));
  assert.match(out, /IsolaWarning: .*1 emitted message was dropped/);
});
