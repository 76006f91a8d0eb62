// SPDX-License-Identifier: Apache-2.0
//
// Long texts, which stay where their message lies (actors/v8/lent.cc): of each kind, at each place, from a client, an actor here and one on
// another node, as arguments and as answers. They are what was sent, whatever is done with them and however long they are kept, and what
// they take is counted and given back. And large array buffers, whose memory is used again (actors/v8/warm.cc).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { actors, Cluster, nodes, sanitized } from './cluster.mjs';

// The same in a test and in a script.
const TEXTS = `
const KINDS = {
  ascii: (i) => 'line ' + i + ' of some text, ',
  latin1: (i) => 'línea ' + i + ' de algún texto ÿ ',
  cjk: (i) => '第' + i + '行の文字列、日本語と中文 ',
  emoji: (i) => '😀' + i + '🚀 and half a pair \\ud83d ',
};
function textOf(kind, length, from) {
  const parts = [];
  for (let i = from, n = 0; n < length; i++) { const part = KINDS[kind](i); parts.push(part); n += part.length; }
  return parts.join('').slice(0, length);
}
// Each unit of it counts.
function sumOf(text) {
  let sum = text.length;
  for (let i = 0; i < text.length; i++) sum = (Math.imul(sum, 31) + text.charCodeAt(i)) | 0;
  return sum;
}`;
const { textOf, sumOf, KINDS } = new Function(`${TEXTS} return { textOf, sumOf, KINDS };`)();

const app = {
  'isola.json': {
    name: 't', actors: {
      Reader: { module: './reader.js', cpu: '60s', mailboxBytes: '256MB' }, Writer: { module: './writer.js', cpu: '60s', output: '64MB', mailboxBytes: '64MB' },
      Small: { module: './reader.js', external: '4MB', heap: '24MB', mailboxBytes: '256MB' },
    },
  },
  'reader.js': `${TEXTS}
  export default (self) => {
    const kept = [];
    self.on('sum', (text, at) => sumOf(at === undefined ? text : text[at]));
    self.on('uses', (text) => {
      const upper = text.toUpperCase(), middle = text.slice(100, 300), name = { [text]: 1 };
      return [sumOf(upper), sumOf(middle), sumOf(text + '!'), text.indexOf(middle), text.split(' ').length, /\\S+$/u.exec(text.trim())?.[0].length ?? 0, Object.keys(name)[0] === text,
        new Map([[text, 1]]).get(text), JSON.parse(JSON.stringify({ text })).text === text, sumOf(text.replace(/[a-z]+/g, 'w')), structuredClone(text) === text, [...text].length,
        new TextEncoder().encode(text).length, text.localeCompare(middle) !== 0, encodeURIComponent(text.slice(0, 50).toWellFormed()).length];
    });
    self.on('keep', (text) => { kept.push(text); return kept.length; });
    self.on('kept', () => kept.map(sumOf));
    self.on('part', (text) => { kept.push(text.slice(10, 40)); });
    self.on('forget', () => { kept.length = 0; });
    // Buffers that are garbage at once, and full of something: how many bytes of new ones are not 0?
    self.on('buffers', (bytes, count) => {
      let wrong = 0;
      for (let i = 0; i < count; i++) {
        const words = new Uint32Array(bytes >> 2);
        for (let k = 0; k < words.length; k++) if (words[k] !== 0) wrong++;
        words.fill(0xdeadbeef);
      }
      return wrong;
    });
    self.on('bytes', (bytes) => bytes.reduce((sum, b) => (sum + b) | 0, 0));
    self.on('mirror', (text) => ({ text, twice: [text, text] }));
  };`,
  'writer.js': `import { actor } from 'isola';
  ${TEXTS}
  export default (self) => {
    self.on('asks', async (to, kind, length, from) => {
      const text = textOf(kind, length, from), ref = actor(to), sum = sumOf(text);
      const sums = [await ref.ask('sum', text), await ref.ask('sum', [0, text], 1), await ref.ask('sum', { x: 'odd', text }, 'text'), await ref.ask('sum', { x: 'even', text }, 'text')];
      const { text: back, twice } = await ref.ask('mirror', text);
      return sums.every((s) => s === sum) && back === text && twice[0] === text && twice[1] === text;
    });
    self.on('floods', async (to, kind, length, count) => {
      const ref = actor(to);
      for (let i = 0; i < count; i += 8) {
        const all = await Promise.all(Array.from({ length: 8 }, (_, k) => { const text = textOf(kind, length, i + k); return ref.ask('sum', text).then((sum) => sum === sumOf(text)); }));
        if (all.includes(false)) return false;
      }
      return true;
    });
  };`,
};

const cluster = new Cluster();
let here, there, at;
before(async () => {
  here = await cluster.node('here');
  there = await cluster.node('there', here);
  await cluster.deploy(here, 't', app);
  // Readers that live on either node.
  at = { here: undefined, there: undefined };
  for (let i = 0; at.here === undefined || at.there === undefined; i++) {
    const ref = here.client.actor(`t/Reader/r${i}`);
    await ref.ask('forget');
    const node = (await actors(here, 't')).find((a) => a.address === `t/Reader/r${i}`).node;
    at[node] ??= ref;
  }
});
after(() => cluster.end());

const LENGTHS = [20_000, 32_767, 40_001, 100_000, 1_300_001];

test('from a client, and as its answer', async () => {
  for (const ref of Object.values(at))
    for (const kind of Object.keys(KINDS))
      for (const length of LENGTHS) {
        const text = textOf(kind, length, length);
        assert.equal(await ref.ask('sum', text), sumOf(text), `${kind}, ${length}`);
        const { text: back, twice } = await ref.ask('mirror', text);
        assert.ok(back === text && twice[0] === text && twice[1] === text, `${kind}, ${length}, back`);
      }
});

test('from an actor to one of its node and of another, and their answers', async () => {
  const writer = here.client.actor('t/Writer/w');
  for (const [where, ref] of Object.entries(at))
    for (const kind of Object.keys(KINDS))
      for (const length of LENGTHS) assert.equal(await writer.ask('asks', ref.address, kind, length, length), true, `${where}, ${kind}, ${length}`);
});

test('whatever is done with them', async () => {
  const uses = new Function(`${TEXTS} const on = {}; (${app['reader.js'].split('export default')[1].trim().replace(/;$/, '')})({ on: (name, f) => { on[name] = f; } }); return on.uses;`)();
  for (const ref of Object.values(at))
    for (const kind of Object.keys(KINDS)) {
      const text = textOf(kind, 60_001, 3);
      assert.deepEqual(await ref.ask('uses', text), uses(text), kind);
    }
});

test('they outlive their message and whole generations of garbage, and end with who keeps them', async () => {
  const texts = [];
  for (const kind of Object.keys(KINDS)) for (let i = 0; i < 6; i++) texts.push(textOf(kind, 50_000 + i, i * 1000));
  const writer = here.client.actor('t/Writer/w');
  for (const ref of Object.values(at)) {
    for (const text of texts) await ref.ask('keep', text);
    assert.equal(await writer.ask('floods', ref.address, 'latin1', 200_000, sanitized ? 80 : 800), true);
    assert.deepEqual(await ref.ask('kept'), texts.map(sumOf));
    await ref.ask('forget');
    assert.equal(await writer.ask('floods', ref.address, 'cjk', 100_000, sanitized ? 40 : 400), true);
  }
});

test('hundreds of actors that had many do not keep their memory', async () => {
  const rss = async (node) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${(await nodes(node))[0].host_pid}/status`, 'utf8'))[1]) / 1024;
  const many = sanitized ? 10 : 60, each = 100; // 600 MB in all
  const refs = Array.from({ length: many }, (_, i) => here.client.actor(`t/Reader/many${i}`));
  await Promise.all(refs.map((ref) => ref.ask('forget')));
  const text = textOf('ascii', 100_000, 5), sum = sumOf(text), was = await rss(here) + await rss(there);
  await Promise.all(refs.map(async (ref) => {
    for (let i = 0; i < each; i++) assert.equal(await ref.ask('sum', text), sum);
  }));
  const grown = await rss(here) + await rss(there) - was;
  // What is left in the heaps of so many, and 256 MB of texts on each of both nodes at the most (limits.cc).
  console.log(`${Math.round(grown)} MB more`);
  if (!sanitized) assert.ok(grown < 2 * 256 + many * 8, `${Math.round(grown)} MB more`);
});

test('they count: an actor that keeps more than it may have crashes, and nobody else', async () => {
  const small = here.client.actor('t/Small/s'), text = textOf('ascii', 500_000, 1);
  await assert.rejects(async () => {
    for (let i = 0; i < 200; i++) await small.ask('keep', text);
  }, { code: 'EFAILED', message: /limit "(heap|external)"/ });
  assert.equal(await small.ask('keep', text), 1, 'it has begun anew');
  for (const ref of Object.values(at)) assert.equal(await ref.ask('sum', text), sumOf(text));
});

test('new buffers are empty and those of messages are what was sent, whatever was in their memory', async () => {
  const refs = Object.values(at);
  for (const bytes of [256 << 10, 1_000_003, 5 << 20, 20 << 20]) {
    const count = sanitized ? 8 : Math.ceil((256 << 20) / bytes);
    await Promise.all(refs.map(async (ref) => assert.equal(await ref.ask('buffers', bytes, count), 0, `${bytes} bytes`)));
  }
  await Promise.all(refs.map(async (ref) => {
    for (let i = 0; i < 60; i++) {
      const bytes = new Uint8Array(300_000 + i * 20_000).fill(i);
      assert.equal(await ref.ask('bytes', bytes), bytes.length * i);
    }
  }));
});
