// SPDX-License-Identifier: Apache-2.0
//
// Events as an async iterator, on an emitter in a ref's place: what is given, in which order, and every way it ends.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import test from 'node:test';

import { Subscription, closed } from '../../actors/lib/client/subscription.js';

class Fake extends EventEmitter {
  toString() { return 'shop/Counter/a'; }
}
const done = { value: undefined, done: true };
const idle = (ref) => assert.deepEqual(ref.eventNames(), [], 'no listener is left');

test('what came before it was taken, and what comes after', async () => {
  const ref = new Fake(), events = new Subscription(ref, 'changed');
  ref.emit('changed', 1, 'a');
  ref.emit('other', 5);
  ref.emit('changed', 2);
  assert.deepEqual(await events.next(), { value: [1, 'a'], done: false });
  assert.deepEqual(await events.next(), { value: [2], done: false });
  const two = [events.next(), events.next()];
  ref.emit('changed', 3);
  ref.emit('changed');
  assert.deepEqual(await Promise.all(two), [{ value: [3], done: false }, { value: [], done: false }]);
  assert.deepEqual(await events.return(), done);
  assert.deepEqual(await events.next(), done);
  idle(ref);
});

test('leaving the loop ends it', async () => {
  const ref = new Fake();
  const seen = [];
  setImmediate(() => { for (let n = 0; n < 5; n++) ref.emit('changed', n); });
  for await (const [n] of new Subscription(ref, 'changed')) {
    seen.push(n);
    if (n === 2) break;
  }
  assert.deepEqual(seen, [0, 1, 2]);
  idle(ref);
  await assert.rejects(async () => {
    setImmediate(() => ref.emit('changed'));
    for await (const _ of new Subscription(ref, 'changed')) throw new RangeError('mine');
  }, RangeError);
  idle(ref);
});

test('as a resource', { skip: process.versions.node.split('.')[0] < 24 }, async () => {
  const ref = new Fake();
  const events = new Subscription(ref, 'changed');
  await events[Symbol.asyncDispose]();
  idle(ref);
  assert.deepEqual(await events.next(), done);
});

test('an error of the ref, after what had come before', async () => {
  const ref = new Fake(), events = new Subscription(ref, 'changed'), error = new Error('refused');
  ref.emit('changed', 1);
  ref.emit('error', error);
  idle(ref);
  assert.deepEqual(await events.next(), { value: [1], done: false });
  await assert.rejects(events.next(), error);
  assert.deepEqual(await events.next(), done);

  const waiting = new Subscription(ref, 'changed');
  const [first, second] = [waiting.next(), waiting.next()];
  ref.emit('error', error);
  await assert.rejects(first, error);
  assert.deepEqual(await second, done);
  assert.deepEqual(await waiting.next(), done);

  const errors = new Subscription(ref, 'error'); // as any event
  ref.emit('error', error);
  assert.deepEqual(await errors.next(), { value: [error], done: false });
  await errors.return();
  idle(ref);
});

test('a signal', async () => {
  const ref = new Fake(), control = new AbortController(), reason = new Error('enough');
  const events = new Subscription(ref, 'changed', { signal: control.signal });
  const next = events.next();
  control.abort(reason);
  await assert.rejects(next, reason);
  assert.deepEqual(await events.next(), done);
  idle(ref);
  assert.throws(() => new Subscription(ref, 'changed', { signal: control.signal }), reason);
  idle(ref);
});

test('the end of the client', async () => {
  const ref = new Fake(), events = new Subscription(ref, 'changed');
  ref.emit('changed', 1);
  ref.emit(closed);
  assert.deepEqual(await events.next(), { value: [1], done: false });
  assert.deepEqual(await events.next(), done);
  idle(ref);
});

test('no more than the limit waits', async () => {
  const ref = new Fake(), events = new Subscription(ref, 'changed', { limit: 3 });
  for (let n = 0; n < 3; n++) ref.emit('changed', n);
  assert.equal(ref.listenerCount('changed'), 1);
  assert.deepEqual(await events.next(), { value: [0], done: false });
  ref.emit('changed', 3);
  assert.equal(ref.listenerCount('changed'), 1, 'there was room again');
  ref.emit('changed', 4);
  idle(ref);
  for (const n of [1, 2, 3]) assert.deepEqual(await events.next(), { value: [n], done: false });
  await assert.rejects(events.next(), { code: 'EOVERLOAD', message: /^3 events "changed" of shop\/Counter\/a wait / });
  assert.deepEqual(await events.next(), done);

  const many = new Subscription(ref, 'changed');
  for (let n = 0; n < 10_000; n++) ref.emit('changed', n);
  assert.equal(ref.listenerCount('changed'), 1);
  ref.emit('changed');
  idle(ref);
  await many.return();
  assert.deepEqual(await many.next(), done, 'return gives up what waits');
});

test('wrong options', () => {
  const ref = new Fake();
  for (const limit of [0, -1, 1.5, '5', null, Infinity]) assert.throws(() => new Subscription(ref, 'changed', { limit }), RangeError);
  assert.throws(() => new Subscription(ref, 'changed', { signal: {} }), TypeError);
  for (const event of ['', undefined, Symbol('x')]) assert.throws(() => new Subscription(ref, event), TypeError);
  idle(ref);
});
