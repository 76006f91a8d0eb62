// SPDX-License-Identifier: Apache-2.0
//
// The airports example without a platform: its module run against a hostile stand-in in which any message may be lost, carried
// out without a reply, or cut short before its state was saved. Every flight must still count exactly once.
import assert from 'node:assert/strict';
import { registerHooks } from 'node:module';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';

import { feed } from '../../examples/airports/feed.mjs';
import { compute, differences, table } from '../../examples/airports/flights.mjs';

registerHooks({
  resolve: (specifier, context, next) => specifier === 'isola'
    ? { url: 'data:text/javascript,export const actor = (...a) => globalThis.actorUnderTest(...a);', shortCircuit: true } : next(specifier, context),
});
const { default: airport } = await import('../../examples/airports/airport.js');

const lost = () => Object.assign(new Error('the actor-host died'), { code: 'EUNREACHABLE' });

// Actors with saved state: a turn works on what is in memory, which a crash throws away.
class World {
  saved = new Map();
  live = new Map();
  generation = 0;
  #random;
  #faults;

  constructor(random, faults) {
    this.#random = random;
    this.#faults = faults;
    globalThis.actorUnderTest = (type, key) => ({ ask: (event, ...args) => this.ask(key, event, ...args) });
  }
  #fault() { return this.#faults && this.#random() < 0.05; }
  #activate(key) {
    let a = this.live.get(key);
    if (a === undefined) {
      const self = { key, state: structuredClone(this.saved.get(key) ?? {}), handlers: new Map(), on(event, f) { this.handlers.set(event, f); } };
      airport(self);
      this.live.set(key, a = self);
    }
    return a;
  }
  async ask(key, event, ...args) {
    if (this.#fault()) throw lost();
    await setImmediate();
    const generation = this.generation;
    const result = await this.#activate(key).handlers.get(event)(...structuredClone(args));
    if (this.#fault()) this.crash();
    if (generation !== this.generation) throw lost(); // its host died under it
    this.saved.set(key, structuredClone(this.live.get(key).state));
    if (this.#fault()) throw lost(); // carried out and saved, but the reply is gone
    return result;
  }
  crash() {
    this.generation++;
    this.live.clear();
  }
}

function mulberry(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function someFlights(random, n) {
  const codes = ['AAA', 'BBB', 'CCC', 'DDD', 'EEE', 'FFF'];
  const pick = () => codes[Math.floor(random() * codes.length)];
  return Array.from({ length: n }, () => {
    const origin = pick();
    let destination = pick();
    while (destination === origin) destination = pick();
    return { date: '', delay: Math.floor(random() * 90) - 10, distance: Math.floor(random() * 2000), origin, destination };
  });
}

async function play(seed, faults) {
  const random = mulberry(seed);
  const flights = someFlights(random, 300);
  const world = new World(random, faults);
  let most = 0;
  const repeats = await feed(flights, (origin, i, flight) => world.ask(origin, 'departure', i, flight), { done: (n) => { most = n; } });
  assert.equal(most, 300);
  world.crash(); // only what was saved counts
  const got = new Map();
  for (const code of compute(flights).keys()) {
    const self = { key: code, state: structuredClone(world.saved.get(code) ?? {}), handlers: {}, on(event, f) { this.handlers[event] = f; } };
    airport(self);
    got.set(code, self.handlers.summary());
  }
  return { flights, got, repeats };
}

test('without faults the actors agree with the plain computation', async () => {
  const { flights, got, repeats } = await play(1, false);
  assert.equal(repeats, 0);
  assert.deepEqual(differences(compute(flights), got), []);
});

test('with lost messages, lost replies and crashes as well', async () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  const { flights, got, repeats } = await play(seed, true);
  assert.ok(repeats > 0, `seed ${seed}`);
  assert.deepEqual(differences(compute(flights), got), [], `seed ${seed}`);
});

test('a difference is found and named', () => {
  const flights = someFlights(mulberry(3), 50);
  const got = compute(flights);
  got.get('BBB').arrivals++;
  got.delete('CCC');
  const lines = differences(compute(flights), got);
  assert.equal(lines.length, 2);
  assert.match(lines[0], /^BBB: arrivals is \d+, should be \d+$/);
  assert.match(lines[1], /^CCC: departures is undefined/);
});

test('an error that does not pass ends the feed', async () => {
  const flights = someFlights(mulberry(4), 100);
  let sent = 0;
  await assert.rejects(feed(flights, async (origin, i) => {
    sent++;
    if (i === 10) throw Object.assign(new Error('bug'), { code: 'ESCRIPT' });
  }), /flight 10 from ...: bug/);
  assert.ok(sent <= 100);
  const stop = new AbortController();
  await assert.rejects(feed(flights, async () => { stop.abort(new Error('stopped')); }, { signal: stop.signal }), /stopped/);
});

test('one ask per origin at a time, in order', async () => {
  const flights = someFlights(mulberry(5), 200);
  const busy = new Set();
  const last = new Map();
  await feed(flights, async (origin, i) => {
    assert.ok(!busy.has(origin));
    assert.ok(i > (last.get(origin) ?? -1));
    busy.add(origin);
    last.set(origin, i);
    await setImmediate();
    busy.delete(origin);
  });
});

test('the table is aligned', () => {
  const lines = table(compute(someFlights(mulberry(6), 3000)), 3).split('\n');
  assert.equal(lines.length, 4);
  assert.match(lines[0], /^AIRPORT  DEPARTURES  ARRIVALS  MEAN DELAY  WORST DELAY  BUSIEST ROUTE  MILES FLOWN$/);
  assert.equal(new Set(lines.map((l) => l.length)).size, 1);
});
