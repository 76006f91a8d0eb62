// SPDX-License-Identifier: Apache-2.0
//
// No memory for values in an isolate (actors/v8/encode.cc, decode.cc): the nth buffer that has to grow cannot, for n = 1, 2, … until none has
// to any more. What cannot be read is refused as what cannot be read, what cannot be sent is with ENOMEM, and the isolate goes on.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const addon = join(process.env.ISOLA_BUILD || join(root, 'build'), 'lib/isolate.node');
const { ISOLA_PRELOAD } = process.env;
const env = ISOLA_PRELOAD ? { ...process.env, LD_PRELOAD: ISOLA_PRELOAD, ASAN_OPTIONS: 'detect_leaks=0' } : process.env;

// Texts that are turned into something else on their way, each longer than the one before: room for that one is kept.
const texts = [100, 1000, 1e4, 1e5, 3e5].flatMap((n) => ['é', '日', 'x日'].map((c) => {
  const utf8 = Buffer.from(c.repeat(n)), utf16 = Buffer.from(c.repeat(n), 'utf16le'), long = Buffer.alloc(5);
  long[0] = 0xdb; // str 32, as no encoder of ours has it
  long.writeUInt32BE(utf8.length, 1);
  const ext = Buffer.from([0xc9, 0, 0, 0, 0, 13]);
  ext.writeUInt32BE(utf16.length, 1);
  return [Buffer.concat([Buffer.from([0x91]), long, utf8]), Buffer.concat([Buffer.from([0x92, 0x07]), ext, utf16])].map((b) => b.toString('hex'));
})).flat();

const work = (iso, id, all) => all.map((bytes) => {
  const outcomes = [];
  for (let n = 1; ; n++) {
    iso.starve(n);
    const said = iso.recode(id, bytes, true);
    const hungered = iso.starve(0);
    outcomes.push({ hungered, code: said.code, message: said.message, made: said.bytes !== undefined });
    if (!hungered) return outcomes;
  }
});

test('values for which there is no memory', () => {
  const vectors = JSON.parse(readFileSync(join(root, 'tests/vectors/values.json'), 'utf8')).map((v) => v.bytes);
  const code = `const iso = require(${JSON.stringify(addon)}); const id = iso.open(), fs = require('node:fs');
    const all = JSON.parse(fs.readFileSync(0, 'utf8')); console.log(JSON.stringify((${work})(iso, id, all))); iso.close(id);`;
  const all = [...texts, ...vectors];
  const said = JSON.parse(execFileSync(process.execPath, ['--no-node-snapshot', '--no-turboshaft-loop-unrolling', '-e', code], { env, encoding: 'utf8', input: JSON.stringify(all), maxBuffer: 1 << 26 }));
  let unread = 0, unsent = 0;
  for (const [i, outcomes] of said.entries()) {
    assert.ok(outcomes.at(-1).made, all[i].slice(0, 60)); // with memory
    for (const { hungered, code, message, made } of outcomes) {
      if (made) continue; // it may have done with less
      assert.ok(hungered);
      if (code === undefined) assert.equal(message, 'malformed');
      else assert.deepEqual([code, message], ['ENOMEM', 'out of memory while encoding']);
      if (code === undefined) unread++;
      else unsent++;
    }
  }
  assert.ok(unread >= 5 && unsent >= 5, `${unread} could not be read, ${unsent} not sent`);
});
