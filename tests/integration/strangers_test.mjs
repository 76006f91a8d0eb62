// SPDX-License-Identifier: Apache-2.0
//
// Who comes to the door of an agent, and is not let in: those who say nothing, too little, too much or something else, members of other clusters,
// removed ones, and those who show what is not theirs. Each is turned away alone, with a reason in the log and a count; who is inside does not notice.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';

import { Channel, keyPair } from './channel.mjs';
import { Cluster, ctl, nodes, until } from './cluster.mjs';
import { Member, pack } from './member.mjs';
import { CONTROL, DATA, target, Wire } from './wire.mjs';

const SHAKE = 3000; // ms in which who connects says who it is

describe('at the door', () => {
  const cluster = new Cluster(), others = new Cluster();
  let agent, member;
  before(async () => {
    agent = await cluster.node('inside');
    member = await Member.join(await cluster.token(agent), 'peer');
    agent.mesh ??= member.url;
  });
  after(async () => {
    await cluster.end();
    await others.end();
  });

  /** A bare TCP connection to the agent: { socket, closed (resolves with ms from now to its end) }. */
  async function knock() {
    const socket = net.connect(target(agent.mesh));
    socket.on('error', () => {});
    socket.resume();
    // Of a crowd that finds the listener's queue full, some believe that they are connected, and would not hear that they never were: who says
    // nothing is not told. A probe is an answer to what the listener's system still waits for.
    socket.setKeepAlive(true, 1000);
    const begun = performance.now();
    const closed = new Promise((done) => { socket.once('close', () => done(performance.now() - begun)); });
    await once(socket, 'connect');
    return { socket, closed };
  }
  /** Connections to the agent's listener for nodes: { accepted, refused, strangers }. */
  const door = async () => (await agent.client.call('links', {})).listeners.find((l) => l.kind === 'control' && l.node === 'inside');
  /** How many have not said who they are in time, as far as the log has them. */
  const late = () => agent.log(10_000).match(/has not said who it is/g)?.length ?? 0;
  const logged = (pattern) => until(`the log says ${pattern}`, () => pattern.test(agent.log(10_000)));
  /** `attempt` is refused for that reason, each time; and the log says so, which leaves out some when there are many a second. */
  const refused = (attempt, reason, pattern) => until(`the log says ${pattern}`, async () => {
    await assert.rejects(attempt(), { reason });
    return pattern.test(agent.log(10_000));
  });
  /** Comes to the agent with these keys, and shows that. */
  const come = async (keys, payload) => (await Wire.open({ url: agent.mesh, as: { keys, payload }, purpose: CONTROL })).taken();
  /** The agent is well: it answers, and a member can come in. */
  const well = async () => {
    const connection = await member.connect();
    connection.end();
    assert.equal((await nodes(agent)).length, 1);
  };

  test('one who says nothing is sent away in time', async () => {
    const { socket, closed } = await knock();
    const took = await closed;
    socket.destroy();
    assert.ok(took > SHAKE / 2, `after ${Math.round(took)} ms`);
    await logged(/is refused: the peer has not said who it is within 3000 ms, after 0 bytes/);
    await well();
  });
  test('one who goes before it has said anything was not sent away', async () => {
    const { socket, closed } = await knock();
    socket.destroy();
    await closed;
    await logged(/the connection from \S+ came to nothing: closed by the peer/);
    await well();
  });
  test('one who says a byte now and then is sent away at the same time', async () => {
    const { socket, closed } = await knock();
    const bytes = new Channel({ initiator: true, keys: keyPair(), purpose: CONTROL }).start();
    let sent = 0;
    const drip = setInterval(() => socket.write(bytes.subarray(sent, ++sent)), 200);
    await closed;
    clearInterval(drip);
    assert.ok(sent < bytes.length, 'before it has said all');
    await logged(/has not said who it is within 3000 ms, after \d\d bytes/);
    await well();
  });
  for (const [what, bytes] of [['HTTP', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'], ['TLS', '\x16\x03\x01\x02\x00\x01'], ['zeros', '\0'.repeat(100)], ['the magic and nothing right behind it', '\x89Isola\x09\x01\0\0\0\0\0\0\0\0']])
    test(`one who speaks ${what} is sent away at once`, async () => {
      const base = await door(), before_ = late();
      const { socket, closed } = await knock();
      socket.write(Buffer.from(bytes, 'latin1'));
      await closed;
      assert.equal((await door()).refused, base.refused + 1);
      assert.equal(late(), before_, 'not when its time is over');
      await well();
    });
  test('one who floods is not read', async () => {
    const before_ = late(), { socket, closed } = await knock();
    const flood = Buffer.alloc(1 << 20, 'flood');
    let sent = 0;
    const more = () => { while (sent++ < 200 && socket.write(flood)); };
    socket.on('drain', more);
    more();
    await closed;
    assert.ok(socket.bytesWritten < 50 << 20);
    assert.equal(late(), before_, 'not when its time is over');
    await well();
  });
  test('a crowd of silent ones keeps no member out for long', async () => {
    const base = await door();
    const crowd = await Promise.all(Array.from({ length: 300 }, knock));
    await until('a member comes in', async () => {
      try {
        await well();
        return true;
      } catch {
        return false;
      }
    });
    await Promise.all(crowd.map(({ closed }) => closed));
    const now = await door();
    assert.ok(now.refused >= base.refused + 300, `${now.refused - base.refused} of 300 counted`);
    assert.equal(now.strangers, 0);
    await well();
  });
  test('wrong wire versions and purposes are refused by name', async () => {
    await refused(() => member.connect(undefined, { least: 7, greatest: 9 }), 1, /is refused: .*wire versions? 7 to 9/);
    await assert.rejects(member.connect(undefined, { purpose: DATA }), { reason: 2 });
    await assert.rejects(member.connect(undefined, { purpose: 99 }), { reason: 2 });
    await well();
  });
  test('a member of another cluster is refused', async () => {
    const theirs = await others.node('elsewhere');
    const stranger = await Member.join(await others.token(theirs), 'stranger');
    await refused(() => stranger.connect(agent.mesh), 4, /is refused: .*(cluster|signed)/);
    await well();
  });
  test('one who shows nothing may only ask for a certificate', async () => {
    const nobody = await come(keyPair(), Buffer.alloc(0));
    await assert.rejects(nobody.ask('join', { node: { name: 'nobody' } }));
    await until('it is sent away', () => nobody.ended);
    await well();
  });
  test('a certificate is of no use without its key', async () => {
    await assert.rejects(come(keyPair(), member.agent().payload), { reason: 4 });
    await well();
  });
  test('a changed certificate is refused, and bytes that are none', async () => {
    const { payload } = member.agent();
    for (let i = 0; i < payload.length; i += 7) {
      const changed = Buffer.from(payload);
      changed[i] ^= 1;
      await assert.rejects(come(member.fixed, changed), { reason: 4 }, `byte ${i}`);
    }
    for (const shown of [Buffer.from([0]), pack([]), pack([member.certificate, member.certificate]), Buffer.alloc(5000)])
      await assert.rejects(come(member.fixed, shown), { reason: 4 });
    await well();
  });
  test('a token is good once, and not when it was changed', async () => {
    const text = await cluster.token(agent);
    await Member.join(text, 'once');
    await assert.rejects(Member.join(text, 'twice'), /used/);
    await assert.rejects(Member.join(await cluster.token(agent), 'peer'), /name/);
  });
  test('a member that is removed is out at once, and stays out', async () => {
    const leaving = await Member.join(await cluster.token(agent), 'leaving');
    const connection = await leaving.enter();
    await until('it is there', async () => (await nodes(agent)).some((n) => n.name === 'leaving' && n.state !== 'down'));
    const removed = await ctl(agent, 'remove', '--force', 'leaving');
    assert.equal(removed.status, 0, removed.err);
    assert.ok(!(await nodes(agent)).some((n) => n.name === 'leaving'));
    await until('its connection has ended', () => connection.ended); // although it does not mind the goodbye
    const again = await leaving.connect(); // to be told, and nothing else
    await again.until('it is told', () => again.frames.some((f) => f.event === 'removed'));
    await assert.rejects(again.ask('join', { node: { name: 'leaving' } }));
    await logged(/it is node leaving, which was removed from the cluster/);
    await well();
  });
});
