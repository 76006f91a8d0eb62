// SPDX-License-Identifier: Apache-2.0
//
// examples/express-users with four instances: a release of it is tried by one of them, under load, then promoted, and gone back from.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { ctlOk, until } from '../integration/cluster.mjs';
import { Program } from './program.mjs';

const INSTANCES = 4;
let program, load;
const answers = { old: 0, new: 0 };
before(async () => {
  program = await Program.start('examples/express-users');
  writeFileSync(join(program.dir, 'isola.json'), JSON.stringify({ name: 'express-users', actors: { Server: { module: './server.js', kind: 'service', port: program.port, instances: INSTANCES } } }));
});
after(() => program?.end());

const runs = (...releases) => until(`they run ${releases}`, async () => {
  const rows = (await program.rows()).sort((a, b) => a.address.localeCompare(b.address));
  return rows.length === INSTANCES && rows.every((r, i) => r.state === 'running' && r.release === releases[i]) && rows;
});
/** These kinds of answers come. */
const sees = async (...kinds) => {
  answers.old = answers.new = 0;
  await until(`${kinds} answer`, () => kinds.every((kind) => answers[kind] >= 20) || load.failures.length > 0);
};

test('a quarter of the instances tries a release, and no request fails, there and back', async (t) => {
  const { release: one } = await program.deploy();
  const good = ({ status, headers, body }) => {
    assert.deepEqual([status, body], [200, '{"id":1,"name":"Ada"}']);
    answers[headers['x-powered-by'] === undefined ? 'new' : 'old']++;
  };
  load = program.load([{ path: '/users/1', good }]);
  try {
    await sees('old');
    const before = await runs(one, one, one, one);
    program.change('server.js', (text) => text.replace('const app = express();', "const app = express().disable('x-powered-by');"));
    const canary = JSON.parse(await ctlOk(program.node, '--json', 'deploy', program.dir, '--canary', '25%'));
    const two = canary.release;
    assert.deepEqual([canary.instances, canary.files.sent], [[{ node: 'east', address: 'express-users/Server/3' }], 1]);
    const tried = await runs(one, one, one, two);
    for (const i of [0, 1, 2]) assert.equal(tried[i].pid, before[i].pid);
    await sees('old', 'new');
    await ctlOk(program.node, 'promote', 'express-users');
    assert.equal((await runs(two, two, two, two))[3].pid, tried[3].pid);
    await until('those before are gone', async () => {
      answers.old = 0;
      await load.more(100);
      return answers.old === 0;
    });
    await sees('new');
    await ctlOk(program.node, 'deploy', program.dir, '--canary', '25%').then(() => assert.fail('it is the current one'), ({ message }) => assert.match(message, /is the current one of app/));
    await ctlOk(program.node, 'rollback', 'express-users');
    await runs(one, one, one, one);
    await ctlOk(program.node, 'deploy', program.dir, '--canary', '50%');
    const half = await runs(one, one, two, two);
    await sees('old', 'new');
    await ctlOk(program.node, 'rollback', 'express-users');
    assert.deepEqual((await runs(one, one, one, one)).slice(0, 2).map((r) => r.pid), half.slice(0, 2).map((r) => r.pid));
  } finally {
    await load.stop();
  }
  t.diagnostic(await load.end());
});
