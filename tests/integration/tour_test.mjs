// SPDX-License-Identifier: Apache-2.0
//
// The tour of `make run`, whole: real agents, real flights, a real SIGKILL. Its own checks decide; here its exit and its table.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

test('the tour exits 0 with the right table and leaves nothing behind', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'isola-tt-'));
  try {
    const { code, out } = await new Promise((resolve) => {
      execFile(process.execPath, [join(import.meta.dirname, '../../examples/airports/run.mjs')],
        { env: { ...process.env, TMPDIR: scratch, KEEP: '' }, timeout: 240_000 },
        (error, stdout, stderr) => resolve({ code: error?.code ?? (error ? -1 : 0), out: stdout + stderr }));
    });
    assert.equal(code, 0, out);
    assert.match(out, /^ORD +1,095 +1,160 +7\.5 min +259 min +MSP \(49\)/m);
    assert.match(out, /SIGKILL to the actor-host of west/);
    assert.match(out, /All 224 airports .* agree with the plain computation/);
    assert.deepEqual(readdirSync(scratch), []);
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
