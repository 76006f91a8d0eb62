// SPDX-License-Identifier: Apache-2.0
//
// The include check must be able to fail: each rule is broken once in a scratch tree.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const script = join(import.meta.dirname, 'arrows.sh');

function check(files) {
  const dir = mkdtempSync(join(tmpdir(), 'isola-arrows-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, name)), { recursive: true });
      writeFileSync(join(dir, name), text);
    }
    return spawnSync(script, [dir], { encoding: 'utf8' });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('what the folders may include passes', () => {
  const r = check({
    'base/a.c': '#include "base/a.h"\n#include <stdio.h>\n',
    'transport/a.c': '#include "base/a.h"\n#include <nng/nng.h>\n#include "transport/b.h"\n',
    'store/a.c': '#include <sqlite3.h>\n',
    'actors/v8/a.cc': '#include <v8.h>\n',
    'node-agent/actor-host/a.cc': '#include <node.h>\n#include "actors/v8/isolate.h"\n',
    'node-agent/a.c': '#include "transport/link.h"\n#include "store/state.h"\n',
    'cli/a.c': '#include "store/manifest.h"\n',
  });
  assert.equal(r.stdout, '');
  assert.equal(r.status, 0);
});

const broken = [
  ['base/a.c', '#include "store/state.h"'],
  ['store/a.h', '#include "transport/link.h"'],
  ['actors/lib/a.c', '  #  include "store/state.h"'],
  ['scheduler/a.c', '#include <actors/mailbox.h>'],
  ['transport/a.c', '#include "node-agent/agent.h"'],
  ['node-agent/a.c', '#include "cli/table.h"'],
  ['cli/a.c', '#include "node-agent/agent.h"'],
  ['node-agent/a.c', '#include <nng/nng.h>'],
  ['node-agent/a.c', '#include <sqlite3.h>'],
  ['actors/a.c', '#include <v8.h>'],
  ['actors/a.c', '#include "v8-isolate.h"'],
  ['node-agent/a.c', '#include <node/node_api.h>'],
  ['base/a.c', '#include "../store/state.h"'],
];
for (const [file, line] of broken) {
  test(`${file}: ${line} is refused`, () => {
    const r = check({ [file]: `int x;\n${line}\n` });
    assert.equal(r.status, 1);
    assert.ok(r.stdout.startsWith(`arrows: ${file}:2: `), r.stdout);
  });
}
