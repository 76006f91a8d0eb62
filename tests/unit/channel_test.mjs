// SPDX-License-Identifier: Apache-2.0
//
// The channel of the tests (integration/channel.mjs), written from docs/security.md, says byte for byte what that page's test vectors say.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { Channel, keyPair, Refused } from '../integration/channel.mjs';

const page = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8');
const vector = (name) => {
  const found = new RegExp(`^${name} = ([0-9a-f]+)$`, 'm').exec(page);
  assert.ok(found, `docs/security.md has no vector "${name}"`);
  return found[1];
};
const key = (byte) => keyPair(Buffer.alloc(32, byte));
const hello = Buffer.from('hello');

for (const pattern of ['XX', 'IK'])
  test(`${pattern}: handshake, records and rekeying are as documented`, () => {
    const responderKeys = key(3);
    const initiator = new Channel({ initiator: true, pattern, keys: key(1), ephemeral: key(2), peer: pattern === 'IK' ? responderKeys.public : undefined, least: 1, greatest: 2,
      purpose: 7, payload: Buffer.from('I am Alice') });
    const responder = new Channel({ initiator: false, keys: responderKeys, ephemeral: key(4), version: 2, payload: Buffer.from('I am Bob') });
    const first = initiator.start();
    assert.equal(first.toString('hex'), vector(`${pattern} preamble`) + vector(`${pattern} message 1`));
    const second = responder.feed(first).out;
    assert.equal(second.toString('hex'), vector(`${pattern} message 2`));
    const third = initiator.feed(second).out;
    if (pattern === 'XX') assert.equal(third.toString('hex'), vector('XX message 3'));
    else assert.equal(third.length, 0);
    responder.feed(third);
    assert.ok(initiator.done && responder.done);
    assert.deepEqual([String(initiator.shown), String(responder.shown), initiator.version], ['I am Bob', 'I am Alice', 2]);
    assert.deepEqual([initiator.peer, responder.peer], [responderKeys.public, key(1).public]);
    for (const end of [initiator, responder]) assert.equal(end.hash.toString('hex'), vector(`${pattern} handshake hash`));

    const record = initiator.seal(hello);
    if (pattern === 'XX') assert.equal(record.toString('hex'), vector("XX initiator's record 0"));
    assert.deepEqual(responder.feed(record).records, [hello]);
    const back = responder.seal(hello);
    if (pattern === 'XX') assert.equal(back.toString('hex'), vector("XX responder's record 0"));
    assert.deepEqual(initiator.feed(back).records, [hello]);
    if (pattern === 'IK') return;
    const empty = Buffer.alloc(0);
    for (let n = 1; n < 65_536; n++) responder.feed(initiator.seal(empty));
    const rekeyed = initiator.seal(hello);
    assert.equal(rekeyed.toString('hex'), vector("XX initiator's record 65536"));
    assert.deepEqual(responder.feed(rekeyed).records, [hello]);
  });

test('a refusal is told apart from all else', () => {
  const initiator = new Channel({ initiator: true, keys: key(1) });
  initiator.start();
  assert.throws(() => initiator.feed(Buffer.from('8949736f6c6103010004000500000000', 'hex')), (e) => e instanceof Refused && e.reason === 1 && e.least === 4 && e.greatest === 5);
});

test('what was changed on the way does not open', () => {
  const initiator = new Channel({ initiator: true, keys: key(1) }), responder = new Channel({ initiator: false, keys: key(3) });
  const second = responder.feed(initiator.start()).out;
  responder.feed(initiator.feed(second).out);
  const record = initiator.seal(hello);
  record[5] ^= 1;
  assert.throws(() => responder.feed(record));
});
