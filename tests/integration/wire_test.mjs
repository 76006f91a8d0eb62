// SPDX-License-Identifier: Apache-2.0
//
// Bytes that mean harm, from a client to an agent and from one actor-host to another: mutated, truncated, deep, of counts and lengths
// that are not there. Each ends with an error, for the sender alone; no actor is started, none hears of it, and nobody else waits.
// Inputs are made from fixed seeds: ISOLA_TEST_SEED makes others.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';

import { encodeFrame } from '../../actors/lib/client/envelope.js';
import { random } from '../chaos/crashes.mjs';
import { actors, Cluster, ctlOk, nodes, until } from './cluster.mjs';
import { decode } from './fake_agent.mjs';
import { Authority } from './member.mjs';
import { dataPort, envelopeOf, frameOf, Wire } from './wire.mjs';

const seed = +(process.env.ISOLA_TEST_SEED ?? 0x15014);
const LANES = 50; // connections side by side
const ASK = 1, EMIT = 2, REPLY = 3, FAIL = 4, SUB = 5, EVENT = 7;

const app = {
  'isola.json': { name: 'w', actors: { A: { module: './a.js' }, S: { module: './a.js', isolation: 'shared' } } },
  'a.js': `import { actor } from 'isola';
  export default (self) => {
    self.state.heard ??= 0;
    self.on('echo', (...v) => v);
    self.on('heard', () => self.state.heard);
    self.on('refs', (address) => actor(address));
    self.on('tell', (...v) => { self.emit('news', ...v); });
    self.on('hear', () => { self.state.heard++; });
  };`,
};

const cluster = new Cluster();
let node, host, port, hosts, opened = 0;
before(async () => {
  console.log(`seed: ISOLA_TEST_SEED=${seed}`);
  node = await cluster.node('one');
  await ctlOk(node, 'init');
  await cluster.deploy(node, 'w', app);
  host = (await nodes(node))[0].host_pid;
  port = await until('the actor-host listens', () => dataPort(host));
  const authority = new Authority(join(cluster.dir, 'one'));
  hosts = Array.from({ length: LANES }, (_, i) => authority.member(`peer-${i}`).host());
  for (const type of ['A', 'S']) await node.client.actor(`w/${type}/x`).ask('heard');
});
after(() => cluster.end());
afterEach(async () => {
  for (const type of ['A', 'S']) assert.equal(await node.client.actor(`w/${type}/x`).ask('heard'), 0, 'nobody has heard anything');
  assert.deepEqual((await actors(node, 'w')).map((a) => a.address).sort(), ['w/A/x', 'w/S/x'], 'nobody was started');
  const now = (await nodes(node))[0];
  assert.deepEqual([now.state, now.host_pid], ['up', host], 'the same actor-host runs');
});

// --- values, as the last field of an envelope that is otherwise well ---

const str = (s) => Buffer.concat([Buffer.from([0xd9, s.length]), Buffer.from(s)]);
const b = (...bytes) => Buffer.from(bytes.flat(Infinity));
const ext = (type, payload) => Buffer.concat([b(0xc9), (() => { const l = Buffer.alloc(4); l.writeUInt32BE(payload.length); return l; })(), b(type), payload]);
const nested = (n, open, inner = b(0xc0)) => Buffer.concat([...Array(n).fill(open), inner]);

// By the version of the wire: the envelope around them, and a whole one.
const versions = {
  1: {
    envelope: (args, { kind = ASK, id = 7, dst = 'w/A/x', event = 'hear', chain = b(0x90) } = {}) =>
      Buffer.concat([b(0x99, 1, kind, id), str(''), str(dst), str(event), b(0xcd, 0x13, 0x88), chain, args]),
    encode: (m) => Buffer.from(encodeFrame(m).subarray(4)),
    bare: (...head) => b(0x99, head, 0xa0, 0xa0, 0xa0, 0, 0x90, 0x90),
    more: {},
  },
  2: {
    envelope: (args, { kind = ASK, id = 7, dst = 'w/A/x', event = 'hear', chain = b(0x90) } = {}) =>
      Buffer.concat([b(0x9c, 2, kind, 0, id, 0), str(''), str(dst), str(event), b(0xcd, 0x13, 0x88), b(0xc4, 0), chain, args]),
    encode: envelopeOf,
    bare: (version, kind, ...id) => b(0x9c, version, kind, 0, id, 0, 0xa0, 0xa0, 0xa0, 0, 0xc4, 0, 0x90, 0x90),
    more: {
      'flags that are not known': b(0x9c, 2, 1, 4, 1, 0, 0xa0, 0xa0, 0xa0, 0, 0xc4, 0, 0x90, 0x90),
      'a durable message without a number': b(0x9c, 2, 2, 1, 0, 0, 0xa0, 0xa0, 0xa0, 0, 0xc4, 0, 0x90, 0x90),
      'a number of what is not durable': b(0x9c, 2, 2, 0, 0, 9, 0xa0, 0xa0, 0xa0, 0, 0xc4, 0, 0x90, 0x90),
      'an acknowledgement of nothing': b(0x9c, 2, 11, 0, 0, 0, 0xa0, 0xa0, 0xa0, 0, 0xc4, 0, 0x90, 0x90),
      'a trace of three bytes': b(0x9c, 2, 2, 0, 0, 0, 0xa0, 0xa0, 0xa0, 0, 0xc4, 3, 1, 2, 3, 0x90, 0x90),
    },
  },
};

const ways = {
  'a client to the agent': { version: 1, open: () => Wire.open({ path: node.socket }), mutants: 1000, unfinished: b(0, 0x10, 0, 0, 1) },
  'an actor-host to another': { version: 2, open: () => Wire.open({ port, as: hosts[opened++ % LANES] }), mutants: 300, unfinished: b(0xff, 0xff, 1) },
};

// Which are refused as frames: the connection ends. Others reach the values' decoder: an error for the asker.
const framesOf = ({ envelope, bare, more }) => ({
  'nothing but a number': b(5),
  'an array of eight': b(0x98, 1, 1, 1, 0xa0, 0xa0, 0xa0, 0, 0x90),
  'another version': bare(3, 1, 1),
  'no such kind': bare(envelope(b())[1], 99, 1),
  'a negative id': bare(envelope(b())[1], 1, 0xff),
  'an id that is text': bare(envelope(b())[1], 1, 0xa1, 0x31),
  'a map for the chain': envelope(b(0x90), { chain: b(0x80) }),
  'numbers in the chain': envelope(b(0x90), { chain: b(0x92, 1, 2) }),
  'no values': envelope(b()),
  'values that are no array': envelope(b(0x80)),
  'something after the values': envelope(b(0x90, 0xc0)),
  'a count of 4 G, and nothing': envelope(b(0xdd, 0xff, 0xff, 0xff, 0xff)),
  'a map of 4 G': envelope(b(0x91, 0xdf, 0xff, 0xff, 0xff, 0xff)),
  'a text of 4 GB': envelope(b(0x91, 0xdb, 0xff, 0xff, 0xff, 0xff)),
  'an extension of 4 GB': envelope(b(0x91, 0xc9, 0xff, 0xff, 0xff, 0xff, 4)),
  'arrays 1,000 deep': envelope(Buffer.concat([b(0x91), nested(1000, b(0x91))])),
  'arrays a million deep': envelope(Buffer.concat([b(0x91), nested(1_000_000, b(0x91))])),
  'maps a million deep': envelope(Buffer.concat([b(0x91), nested(1_000_000, b(0x81, 0xa1, 0x61))])),
  'the byte msgpack never uses': envelope(b(0x91, 0xc1)),
  ...more,
});
const values = {
  'an unknown extension': ext(99, b(1)),
  'an Error that is no map': ext(7, b(0xc0)),
  'an Error of 4 G fields': ext(7, b(0xdf, 0xff, 0xff, 0xff, 0xff)),
  'Maps 3,000 deep': (() => { let v = b(0xc0); for (let i = 0; i < 3000; i++) v = ext(4, Buffer.concat([b(1), v])); return v; })(),
  'a Map of one key': ext(4, b(1)),
  'a Map of 4 G in an array': ext(4, b(0xdd, 0xff, 0xff, 0xff, 0xff, 1)),
  'a Set that is cut off': ext(5, b(0x92, 1)),
  'a RegExp of numbers': ext(6, b(1, 2)),
  'a RegExp that is none': ext(6, b(0xa1, 0x28, 0xa2, 0x7a, 0x7a)),
  'a Date of three bytes': ext(3, b(1, 2, 3)),
  'a BigInt of sign 9': ext(2, b(9, 1)),
  'a BigInt of nothing': ext(2, b()),
  'a typed array of kind 99': ext(8, b(99, 1, 2)),
  'a typed array of odd length': ext(8, b(6, 1, 2, 3)),
  'a typed array of nothing': ext(8, b()),
  'a reference ahead': ext(9, b(200)),
  'a reference of three bytes': ext(9, b(0, 0, 1)),
  'a reference to what is half there': b(0x91, [...ext(9, b(5))]),
  'an actor that is none': ext(10, Buffer.from('no address')),
  'an actor of 100,000 letters': ext(10, Buffer.from(`w/A/${'x'.repeat(100_000)}`)),
};

for (const [way, { version, open, mutants, unfinished }] of Object.entries(ways)) {
  const { envelope, encode } = versions[version];
  describe(`from ${way}`, () => {
    test('a frame that is malformed ends the connection', async () => {
      const taken = await Promise.all(Object.entries(framesOf(versions[version])).map(async ([name, frame]) => {
        const wire = await open();
        wire.frame(frame);
        await wire.until('the end of the connection', () => wire.frames.some((f) => f.kind === REPLY));
        return wire.ended ? undefined : `${name}: ${JSON.stringify(wire.frames)}`;
      }));
      assert.deepEqual(taken.filter((t) => t !== undefined), []);
    });
    test('a ref that leads nowhere is refused where it is sent', async () => {
      await assert.rejects(node.client.actor('w/A/x').ask('refs', 'w/A/' + 'x'.repeat(600)), { code: 'ECLONE', message: /a ref to what is no address cannot be sent/ });
    });
    test('lengths of frames that are not allowed', async () => {
      for (const head of [[0xff, 0xff, 0xff, 0xff], [4, 0, 0, 1]]) {
        const wire = await open();
        wire.write(b(head, 1, 2, 3));
        await wire.over();
      }
    });
    test('a value that is malformed is an error for who asks, or ends the connection', async () => {
      const taken = await Promise.all(Object.entries(values).map(async ([name, value], i) => {
        const wire = await open();
        wire.frame(envelope(Buffer.concat([b(0x91), value]), { kind: EMIT, id: 0, event: 'echo' }));
        wire.frame(envelope(Buffer.concat([b(0x91), value]), { id: 5, event: 'echo', dst: i % 2 ? 'w/A/x' : 'w/S/x' }));
        const answer = await wire.answer(5);
        wire.end();
        return answer === undefined || (answer.kind === FAIL && ['EPROTO', 'EINVAL'].includes(answer.args[0]?.code)) ? undefined
          : `${name}: ${JSON.stringify(answer.args, (k, v) => (typeof v === 'bigint' ? `${v}n` : v)).slice(0, 200)}`;
      }));
      assert.deepEqual(taken.filter((t) => t !== undefined), []);
    });
    test('well-meant messages, with bytes changed, left out and put in', async () => {
      const pick = random(seed);
      const good = [
        encode({ kind: ASK, id: 1, dst: 'w/A/x', event: 'nobody', args: [1, 'two', { three: [4n, new Date(5), new Map([[6, new Set([7])]])] }, new Uint8Array(8), new Error('nine'), /ten/g, new Float64Array(3)], timeout: 1000 }),
        encode({ kind: ASK, id: 2, dst: 'w/S/x', event: 'nobody', args: [[[[{ a: { b: { c: undefined } } }]]], 1.5, -1, 2 ** 40, null, true] }),
        encode({ kind: 5, id: 3, dst: 'w/A/x', event: 'news' }),
        encode({ kind: 10, id: 1, dst: 'w/A/x', event: '' }),
        encode({ kind: 3, id: 1, args: [1] }),
      ];
      let ends = 0;
      const mutant = () => {
        let f = Buffer.from(good[pick(good.length)]);
        for (let n = 1 + pick(4); n > 0; n--) {
          const at = pick(f.length);
          // Not the receiver's name and event: what is changed there may well be a message to somebody.
          const name = f.indexOf('w/');
          if (name >= 0 && at >= name - 2 && at < f.indexOf('no', name) + 8) continue;
          const how = pick(5);
          if (how === 0) f[at] = pick(256);
          else if (how === 1) f[at] ^= 1 << pick(8);
          else if (how === 2) f = Buffer.concat([f.subarray(0, at), f.subarray(at + 1 + pick(8))]);
          else if (how === 3) f = Buffer.concat([f.subarray(0, at), Buffer.from([pick(256), pick(256)]), f.subarray(at)]);
          else f = f.subarray(0, Math.max(1, at));
        }
        return f;
      };
      const all = Array.from({ length: mutants }, mutant).filter((f) => f.length > 0);
      await Promise.all(Array.from({ length: LANES }, async (_, lane) => {
        let wire = await open();
        for (let i = lane; i < all.length; i += LANES) {
          if (wire.ended) { wire = await open(); ends++; }
          wire.frame(all[i]);
          wire.send({ kind: ASK, id: 1_000_000 + i, dst: 'w/A/x', event: 'heard' }); // in step with it
          await wire.answer(1_000_000 + i);
        }
        wire.end();
      }));
      assert.ok(ends > 2, `${ends} connections were ended`);
      assert.equal(await node.client.actor('w/A/x').ask('echo', 1).then(([v]) => v), 1);
    });
    test('frames that come in pieces, and never come to their end', async () => {
      const slow = await Promise.all(Array.from({ length: 50 }, () => open()));
      const whole = slow.map((w) => w.sealed(frameOf(encode({ kind: ASK, id: 9, dst: 'w/A/x', event: 'heard' }))));
      for (let at = 0; at < whole[0].length; at++) slow.forEach((w, i) => w.raw(whole[i].subarray(at, at + 1)));
      for (const w of slow) assert.deepEqual((await w.answer(9)).args, [0]);
      for (const w of slow) w.raw(unfinished); // more is promised
      assert.equal(await until('others are answered', () => node.client.actor('w/A/x').ask('echo', 'on').then(([v]) => v)), 'on');
      for (const w of slow) w.end();
    });
  });
}

test('a program of the release before gets strings as UTF-8, others as they are', async () => {
  const texts = ['x'.repeat(5000), 'é'.repeat(100), '日'.repeat(100), '\ud800!', { in: ['é'.repeat(70_000)] }];
  for (const version of [1, 2]) {
    const wire = await Wire.open({ path: node.socket });
    const say = (m) => wire.frame(version === 1 ? Buffer.from(encodeFrame(m).subarray(4)) : envelopeOf(m));
    say({ kind: SUB, id: 3, dst: 'w/A/x', event: 'news' });
    say({ kind: ASK, id: 5, dst: 'w/A/x', event: 'echo', args: texts });
    say({ kind: EMIT, dst: 'w/A/x', event: 'tell', args: texts });
    const answer = await wire.answer(5);
    const event = await wire.until('the event', () => wire.frames.find((f) => f.kind === EVENT));
    assert.deepEqual([answer.kind, event.version], [REPLY, version]);
    for (const values of [decode(answer.bytes).at(-1)[0], decode(event.bytes).at(-1)]) {
      if (version === 1) assert.deepEqual(values, [...texts.slice(0, 3), '\ufffd!', texts[4]]);
      else assert.deepEqual([...values.slice(0, 4), ...values[4].in].map((v) => v.type), [12, 12, 13, 13, 12]);
    }
    assert.deepEqual(answer.args[0], version === 1 ? [...texts.slice(0, 3), '\ufffd!', texts[4]] : texts);
    wire.end();
  }
});
