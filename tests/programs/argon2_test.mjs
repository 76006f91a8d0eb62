// SPDX-License-Identifier: Apache-2.0
//
// A program with a native addon, whose binary for this platform is in an npm package that others are optional beside.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Program } from './program.mjs';

let program;
before(async () => { program = await Program.start('tests/programs/argon2'); });
after(() => program?.end());

test('the addon is loaded from the files of the release, and does what it is to', async () => {
  const { release } = await program.deploy();
  const [status, { hash }] = await program.post('/accounts', { name: 'ada', password: 'difference engine' });
  assert.deepEqual([status, /^\$argon2id\$v=19\$m=1024,t=2,p=1\$/.test(hash)], [201, true], hash);
  assert.deepEqual(await program.post('/login', { name: 'ada', password: 'difference engine' }), [200, { name: 'ada' }]);
  assert.equal((await program.post('/login', { name: 'ada', password: 'analytical engine' }))[0], 401);
  const [, { addon }] = await program.get('/health');
  assert.match(addon, new RegExp(`/apps/argon2-login/${release}/node_modules/@node-rs/argon2-linux-\\w+-gnu/argon2\\.linux-\\w+-gnu\\.node$`));
});

test('releases replace one another under load, and no request fails', async (t) => {
  const good = ({ status, body }) => assert.deepEqual([status, body], [200, '{"good":true}']);
  const requests = [{ path: '/hash', method: 'POST', body: '{"password":"a cup of tea"}', good }];
  const edit = (n) => () => {
    program.change('server.js', (text) => text.replace(/release: \d/, `release: ${n}`));
    return async () => (await program.get('/health'))[1].release === n;
  };
  await program.redeploy(t, requests, [edit(2), edit(3)]);
});
