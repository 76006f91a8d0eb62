// SPDX-License-Identifier: Apache-2.0
//
// Accounts with a password, of which a native addon keeps no more than a hash.
const { hash, verify } = require('@node-rs/argon2');
const http = require('node:http');

const accounts = new Map();
const options = { memoryCost: 1024, timeCost: 2, parallelism: 1 };

const routes = {
  'POST /accounts': async ({ name, password }) => {
    accounts.set(name, await hash(password, options));
    return [201, { name, hash: accounts.get(name) }];
  },
  'POST /login': async ({ name, password }) => (await verify(accounts.get(name) ?? '', password).catch(() => false) ? [200, { name }] : [401, { error: 'wrong' }]),
  'POST /hash': async ({ password }) => [200, { good: await verify(await hash(password, options), password) }],
  'GET /health': async () => [200, { addon: process.report.getReport().sharedObjects.find((path) => /argon2.*\.node$/.test(path)), release: 1 }],
};

http.createServer(async (request, response) => {
  const text = (await request.setEncoding('utf8').toArray()).join('');
  const route = routes[`${request.method} ${request.url}`] ?? (async () => [404, {}]);
  const [status, said] = await route(text === '' ? {} : JSON.parse(text));
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(said));
}).listen(process.env.PORT ?? 3000);
