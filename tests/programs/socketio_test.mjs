// SPDX-License-Identifier: Apache-2.0
//
// examples/socketio-chat, as it is: a socket.io chat in two processes on one port. Those who are connected to different ones hear one another, and nobody
// misses anything when releases replace one another.
import assert from 'node:assert/strict';
import http from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { until } from '../integration/cluster.mjs';
import { Program } from './program.mjs';

let program, io;
before(async () => {
  program = await Program.start('examples/socketio-chat');
  ({ io } = createRequire(join(program.dir, 'package.json'))('socket.io-client'));
});
const people = [];
after(async () => {
  for (const { socket } of people) socket.close();
  await program?.end();
});

/** Somebody at the chat, as socket.io's own client connects them: what they have heard, and on which instance they are. */
class Person {
  heard = [];
  connections = 0;
  recovered = 0;

  /** From an address of their own; one in three by long polling alone, others as clients do when nobody says otherwise. */
  constructor(name, room) {
    this.room = room;
    const agent = new http.Agent({ localAddress: `127.0.0.${people.length + 2}`, keepAlive: true });
    this.socket = io(`http://127.0.0.1:${program.port}`, { agent, ...(people.length % 3 === 2 && { transports: ['polling'] }), auth: { name }, forceNew: true, retries: 20, ackTimeout: 5000 });
    this.socket.on('said', (where, who, text) => this.heard.push(`${where} ${who}: ${text}`));
    this.socket.on('connect', () => {
      this.connections++;
      if (this.socket.recovered) this.recovered++;
      else this.socket.emitWithAck('join', room).then((instance) => { this.instance = instance; });
    });
    people.push(this);
  }

  async in() {
    await until('they are in the chat', () => this.instance !== undefined);
    return this;
  }

  /** Resolves when it has been taken. */
  say(text) { return this.socket.emitWithAck('say', this.room, text); }
  who() { return this.socket.emitWithAck('who', this.room); }
}

/** Some in a room, on both instances. */
async function both(room) {
  const all = [];
  await until('they are on both instances', async () => {
    all.push(await new Person(`${room}${all.length}`, room).in());
    return all.length > 2 && new Set(all.map((p) => p.instance)).size === 2;
  });
  return all;
}

test('who is in a room hears what is said in it, from either instance, and nobody else does', async () => {
  await program.deploy();
  const cats = await both('cats'), dogs = await both('dogs');
  await Promise.all(cats.map((p, i) => p.say(`meow ${i}`)));
  await dogs[0].say('woof');
  for (const p of cats) await until('all is heard', () => p.heard.length === cats.length);
  for (const p of dogs) await until('it is heard', () => p.heard.length === 1);
  assert.deepEqual([...cats[0].heard].sort(), cats.map((p, i) => `cats cats${i}: meow ${i}`).sort());
  for (const p of cats) assert.deepEqual(p.heard, cats[0].heard, 'in one order');
  for (const p of dogs) assert.deepEqual(p.heard, ['dogs dogs0: woof']);
  assert.deepEqual(await cats[0].who(), cats.map((p, i) => `cats${i}`).sort());
  for (const p of people) p.socket.close();
});

test('a page and the client are there for browsers', async () => {
  assert.match((await program.ask('/')).body, /<title>Chat<\/title>/);
  assert.equal((await program.ask('/socket.io/socket.io.js')).status, 200);
});

test('through releases that replace one another everybody comes back, and has missed nothing', async (t) => {
  const all = await both('birds');
  const load = program.load(['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'].map((localAddress) => ({ path: '/', localAddress, good: ({ status }) => assert.equal(status, 200) })));
  let talking = true, said = 0;
  const talk = all.map(async (p, i) => {
    for (let n = 0; talking; n++) {
      await p.say(`${i} ${n}`);
      said++;
      await new Promise((done) => setImmediate(done));
    }
  });
  try {
    await until('they talk', () => said > 20);
    for (const word of ['Talk', 'Parlour']) {
      const before = all.map((p) => p.connections);
      program.change('public/index.html', (text) => text.replace(/<title>.*<\/title>/, `<title>${word}</title>`));
      await program.deploy();
      await until('all are back', () => all.every((p, i) => p.connections > before[i] && p.socket.connected));
      const now = said;
      await until('they talk', () => said > now + 20);
      assert.match((await program.ask('/')).body, new RegExp(`<title>${word}</title>`));
    }
  } finally {
    talking = false;
    await Promise.all(talk);
    await load.stop();
  }
  const last = all[0];
  await last.say('the last word');
  for (const p of all) await until('all is heard', () => p.heard.at(-1) === 'birds birds0: the last word');
  const words = new Set(all.flatMap((p) => p.heard));
  assert.ok(words.size > said, `${words.size} were heard of ${said + 1} that were taken`);
  const missing = all.map((p) => [...words].filter((word) => !p.heard.includes(word)).length);
  assert.deepEqual(missing, all.map(() => 0), `of ${words.size} heard and ${said} taken; recovered: ${all.map((p) => `${p.recovered} of ${p.connections - 1}`)}`);
  // What was sent again, because nobody said that it was taken, may be heard twice: by all of them.
  for (const p of all) {
    const other = p.heard.findIndex((word, i) => word !== last.heard[i]);
    assert.equal(other, -1, `not in one order: ${p.heard.slice(other - 3, other + 6)} and ${last.heard.slice(other - 3, other + 6)}`);
  }
  t.diagnostic(`${said} said by ${all.length}, of whom each was back twice; ${all.reduce((n, p) => n + p.recovered, 0)} times with what had been theirs`);
  t.diagnostic(await load.end());
});
