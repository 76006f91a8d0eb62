// SPDX-License-Identifier: Apache-2.0
//
// Files streamed to a program while releases of it replace one another: an upload that is under way is taken to its end by the instance that began it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { ctlOk, until } from '../integration/cluster.mjs';
import { Program } from './program.mjs';

const MB = 1 << 20, SIZE = 200 * MB;

let program;
before(async () => { program = await Program.start('tests/programs/upload'); });
after(() => program?.end());

/** A file on its way, which goes as far as one lets it. */
class Upload {
  #hash = createHash('sha256');
  #chunk = Buffer.alloc(MB);
  #sent = 0;

  constructor(method, headers = {}, before = '') {
    this.request = http.request({ port: program.port, host: '127.0.0.1', method, headers, agent: false });
    this.answer = new Promise((done, failed) => {
      this.request.on('error', failed).on('response', async (response) => {
        const parts = await response.setEncoding('utf8').toArray().catch(failed);
        done(JSON.parse(parts.join('')));
      });
    });
    this.answer.catch(() => {}); // seen by who waits for it
    this.request.write(before);
  }

  /** Sends up to `bytes` of the file, each chunk another. */
  async to(bytes) {
    while (this.#sent < bytes) {
      this.#chunk.writeUInt32LE(this.#sent / MB);
      this.#hash.update(this.#chunk);
      this.#sent += MB;
      if (!this.request.write(Buffer.from(this.#chunk))) await Promise.race([once(this.request, 'drain'), this.answer]);
    }
  }

  async end(after = '') {
    await this.to(SIZE);
    this.request.end(after);
    return [await this.answer, this.#hash.digest('hex')];
  }
}
const BOUNDARY = 'a-line-that-is-in-no-file';
const form = () => new Upload('POST', { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
  `--${BOUNDARY}\r\ncontent-disposition: form-data; name="film"; filename="cat.mp4"\r\ncontent-type: video/mp4\r\n\r\n`);

test('200 MB go through, as a form and as they are', async () => {
  await program.deploy();
  const [[film], sha256] = await form().end(`\r\n--${BOUNDARY}--\r\n`);
  assert.deepEqual(film, { field: 'film', filename: 'cat.mp4', bytes: SIZE, sha256 });
  const [whole, other] = await new Upload('PUT').end();
  assert.deepEqual(whole, { bytes: SIZE, sha256: other });
  const [row] = await program.rows();
  assert.ok(row.memory < 200e6, `it has ${row.memory} bytes: the file was held`);
});

test('an upload under way is taken to its end, through two releases, and nothing else fails meanwhile', async (t) => {
  const load = program.load([
    { path: '/', good: ({ status, body }) => assert.deepEqual([status, Object.keys(JSON.parse(body))], [200, ['pid', 'version']]) },
    { path: '/', method: 'PUT', body: 'x'.repeat(100_000), good: ({ body }) => assert.equal(JSON.parse(body).bytes, 100_000) },
  ]);
  try {
    const under = [];
    for (const version of [2, 3]) {
      const [{ pid }] = await program.rows();
      const upload = version === 2 ? form() : new Upload('PUT');
      await upload.to(SIZE / 4);
      under.push([pid, upload]);
      program.change('server.js', (text) => text.replace(/version = \d/, `version = ${version}`));
      await ctlOk(program.node, 'deploy', program.dir);
      await until(`release ${version} answers`, async () => (await program.get('/'))[1].version === version);
    }
    await load.more();
    for (const [pid] of under) assert.ok(existsSync(`/proc/${pid}`), 'who has an upload goes on');
    const [[[film], one], [whole, two]] = await Promise.all(under.map(([, upload], i) => upload.end(i === 0 ? `\r\n--${BOUNDARY}--\r\n` : '')));
    assert.deepEqual([film.bytes, film.sha256, whole.bytes, whole.sha256], [SIZE, one, SIZE, two]);
    for (const [pid] of under) await until('who has had an upload ends', () => !existsSync(`/proc/${pid}`));
    assert.ok((await program.rows()).every((r) => r.restarts === 0));
  } finally {
    await load.stop();
  }
  t.diagnostic(await load.end());
});
