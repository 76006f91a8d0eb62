// SPDX-License-Identifier: Apache-2.0
//
// Services: Node.js programs that know nothing of Isola, run by a real agent (docs/services.md).
import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { Cluster, cpuOf, ctl, ctlOk, ctlWhole, freePort, until, whole } from './cluster.mjs';
import { ask, Load } from './load.mjs';

const cluster = new Cluster();
let east;
before(async () => { east = await cluster.node('east'); });
after(() => cluster.end());

/** An ordinary HTTP program. */
const web = `import http from 'node:http';
http.createServer((request, response) => {
  if (request.url === '/env') response.end(JSON.stringify({ env: process.env, argv: process.argv.slice(2), cwd: process.cwd(), execArgv: process.execArgv }));
  else if (request.url === '/die') process.exit(7);
  else response.end(String(process.pid));
}).listen(process.env.PORT, () => console.log('listening'));`;

const manifest = (name, service, rest = {}) => ({ name, actors: { Api: { module: './server.mjs', kind: 'service', ...service } }, ...rest });
const link = (name, files) => ctl(east, '--json', 'deploy', '--link', cluster.app(name, files));
const linked = async (name, files) => {
  const r = await link(name, files);
  assert.equal(r.status, 0, r.out + r.err);
  return JSON.parse(r.out);
};
const rows = async (app) => (await whole(east, 'ps', { app })).actors.sort((a, b) => (a.address < b.address ? -1 : 1));
const states = async (app) => (await rows(app)).map((r) => r.state).join(' ');
const lines = async (address) => (await whole(east, 'logs', { address, lines: 5000 })).lines;
const running = (app, n) => until(`${n} instances of ${app} run`, async () => {
  const all = await rows(app);
  return all.length === n && all.every((r) => r.state === 'running') && all;
});

/** One request on a connection of its own, or of `agent`. */
const get = (port, path = '/', agent = false) => new Promise((done, failed) => {
  http.get({ port, path, agent, host: '127.0.0.1' }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => done(text)).on('error', failed);
  }).on('error', failed);
});

const gone = (pid) => until(`process ${pid} is gone`, () => {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
});

test('an unchanged HTTP program, two instances on one port', async () => {
  const port = await freePort();
  process.env.ISOLA_TEST_UNSEEN = 'x';
  const said = await linked('web', {
    'isola.json': manifest('web', {
      port, instances: 2, args: ['--verbose', 'a b'], env: { GREETING: 'hi=there' }, envFile: './prod.env', nodeArgs: ['--max-old-space-size=64'],
    }),
    'server.mjs': web, 'prod.env': 'FROM_FILE=yes\nGREETING=no\nPORT=1\n',
  });
  assert.deepEqual(said.types, ['Api']);
  const [zero, one] = await running('web', 2);
  assert.deepEqual([zero.address, zero.isolation, zero.node, zero.port, zero.restarts, zero.release], ['web/Api/0', 'process', 'east', port, 0, said.release]);
  assert.notEqual(zero.pid, one.pid);
  assert.ok(zero.memory > 1e6, `${zero.memory}`);

  const pids = new Set();
  await until('both have answered', async () => pids.add(await get(port)).size === 2);
  assert.deepEqual([...pids].map(Number).sort(), [zero.pid, one.pid].sort());

  const { env, argv, cwd, execArgv } = JSON.parse(await get(port, '/env'));
  assert.deepEqual(argv, ['--verbose', 'a b']);
  assert.ok(cwd.endsWith('/apps/web'), cwd);
  assert.ok(execArgv.includes('--max-old-space-size=64'), execArgv.join(' '));
  const { ISOLA_INSTANCE: instance, ISOLA_RELEASE: release, PATH: path, HOME: home, TZ: tz, LANG: lang, ...rest } = env;
  assert.ok(['0', '1'].includes(instance));
  assert.equal(release, said.release);
  assert.deepEqual(rest, { FROM_FILE: 'yes', GREETING: 'hi=there', PORT: String(port), NODE_ENV: 'production', ISOLA_NODE: east.socket, ISOLA_APP: 'web', ISOLA_TYPE: 'Api' });

  assert.ok((await lines('web/Api/0')).some((l) => l.text === 'listening' && l.level === 'info' && l.node === 'east'));
  const table = await ctlOk(east, 'ps', 'web');
  assert.match(table, new RegExp(`^SERVICE +NODE +PID +STATE +PORT.*\nweb/Api/0 +east +${zero.pid} +running +${port} `));

  const asked = await ctl(east, 'ask', 'web/Api/0', 'hello');
  assert.equal(asked.status, 1);
  assert.match(asked.err, /web\/Api\/0 takes no messages: its program does not call service\(\)/);
});

test('kill -9 of an instance under load: the other one goes on, and it comes back', async () => {
  const [zero, one] = await running('web', 2);
  let stop = false, answered = 0;
  const failures = [];
  const clients = Array.from({ length: 8 }, async () => {
    while (!stop) {
      try {
        await get(zero.port);
        answered++;
      } catch (error) {
        failures.push(error.code);
      }
    }
  });
  await until('there is load', () => answered > 100);
  process.kill(zero.pid, 'SIGKILL');
  const back = await until('it is back', async () => {
    const [row] = await rows('web');
    return row.state === 'running' && row.pid !== zero.pid && row;
  });
  const sofar = answered;
  await until('there is load again', () => answered > sofar + 100);
  stop = true;
  await Promise.all(clients);
  assert.ok(failures.length <= 64, `${failures.length} failed of ${answered}: only what the killed one had: ${failures}`);
  assert.equal(back.restarts, 1);
  assert.equal((await rows('web'))[1].pid, one.pid);
  assert.ok((await lines('web/Api/0')).some((l) => l.level === 'error' && /ended by signal 9 .*started again in 0 ms/.test(l.text)));
});

test('a restart replaces one after the other, and no request is lost', async () => {
  const [{ port }] = await running('web', 2);
  const load = new Load([{ path: '/', good: ({ body }) => assert.match(body, /^\d+$/) }], { port, clients: 32 });
  try {
    await load.more();
    for (let i = 0; i < 4; i++) {
      const before = await running('web', 2);
      assert.match(await ctlOk(east, 'restart', 'web/Api'), /^restarting web\/Api: 2 instances\n$/);
      await until('both are others', async () => (await rows('web')).every((r, at) => r.state === 'running' && r.pid !== before[at].pid));
      for (const { pid } of before) await gone(pid);
    }
    await load.more();
  } finally {
    await load.stop();
  }
  await load.end();
});

test('stop and restart of one instance: the others have what comes, and no request is lost', async () => {
  const [zero, one] = await running('web', 2);
  const load = new Load([{ path: '/', good: ({ body }) => assert.match(body, /^\d+$/) }], { port: zero.port, clients: 32 });
  try {
    await load.more();
    assert.match(await ctlOk(east, 'stop', 'web/Api/1'), /^stopping web\/Api\/1: 1 instance\n$/);
    await until('it is stopped', async () => await states('web') === 'running stopped');
    await gone(one.pid);
    assert.equal(await get(zero.port), String(zero.pid));
    await ctlOk(east, 'restart', 'web/Api/1');
    await running('web', 2);
    await load.more();
  } finally {
    await load.stop();
  }
  await load.end();
});

test('deployed again, what is in the directory now runs; a type that is gone ends', async () => {
  const [{ port }, one] = await running('web', 2);
  await linked('web', { 'isola.json': manifest('web', { port }), 'server.mjs': web.replace('String(process.pid)', "'second'") });
  await running('web', 1);
  await gone(one.pid);
  await until('it is the second', async () => await get(port) === 'second');
  await linked('web', { 'isola.json': { name: 'web', actors: { Actor: { module: './actor.js' } } }, 'actor.js': 'export default (self) => { self.on("hi", () => "hi"); };' });
  await until('no service is left', async () => (await rows('web')).length === 0);
  await until('nobody listens', async () => await get(port).catch((error) => error.code) === 'ECONNREFUSED');
});

test('a release that does not begin: the one before goes on', async () => {
  const port = await freePort();
  await linked('bad', { 'isola.json': manifest('bad', { port, instances: 2 }), 'server.mjs': web });
  const good = await running('bad', 2);
  await linked('bad', { 'isola.json': manifest('bad', { port, instances: 2, args: ['new'] }), 'server.mjs': `throw new TypeError('no good');` });
  const row = await until('it was refused', async () => (await rows('bad')).find((r) => r.failure !== undefined));
  assert.match(row.failure, new RegExp(`^release \\w+ did not begin: it exited with status 1: TypeError: no good \\(server\\.mjs:1\\); release ${good[0].release} goes on$`));
  assert.deepEqual((await rows('bad')).map((r) => r.pid), good.map((r) => r.pid));
  assert.ok((await get(port)).length > 0);
});

test('a program that does not stop on SIGTERM is killed, with what it has started', async () => {
  await linked('stubborn', {
    'isola.json': manifest('stubborn', { stopTimeout: '200ms' }),
    'server.mjs': `import { spawn } from 'node:child_process';
process.on('SIGTERM', () => console.error('no'));
const child = spawn('sleep', ['1000'], { stdio: 'inherit' });
console.log('child ' + child.pid);
process.send('ready');
setInterval(() => {}, 1000);`,
  });
  const [{ pid }] = await running('stubborn', 1);
  const child = await until('it has a child', async () => (await lines('stubborn/Api/0')).find((l) => l.text.startsWith('child ')));
  await ctlOk(east, 'stop', 'stubborn/Api');
  await until('it is stopped', async () => await states('stubborn') === 'stopped');
  await gone(pid);
  await gone(+child.text.slice(6));
  const said = (await lines('stubborn/Api/0')).map((l) => `${l.level} ${l.text}`);
  assert.ok(said.includes('warn no'), said.join('\n'));
  assert.ok(said.some((l) => /^warn it did not end within 200 ms of SIGTERM \("stopTimeout"\) and is killed$/.test(l)), said.join('\n'));
});

test('connections that are upgraded are ended a second after SIGTERM, and the program hears of it; without a taker none is upgraded', async () => {
  const port = await freePort();
  const program = (upgrades) => `import http from 'node:http';
const server = http.createServer((request, response) => response.end('plain')).listen(process.env.PORT);
${upgrades ? `server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nconnection: upgrade\\r\\nupgrade: echo\\r\\n\\r\\n');
  socket.on('data', (part) => socket.write(part)).on('error', () => {}).on('end', () => socket.end()).on('close', () => setImmediate(() => console.log('it has gone')));
});` : ''}`;
  const upgrade = () => new Promise((done, failed) => {
    const request = http.request({ port, host: '127.0.0.1', headers: { connection: 'upgrade', upgrade: 'echo' } });
    request.on('upgrade', (response, socket) => done(socket)).on('response', (response) => done(response.resume().statusCode)).on('error', failed).end();
  });
  await linked('upgrades', { 'isola.json': manifest('upgrades', { port, stopTimeout: '100s' }), 'server.mjs': program(true) });
  const [{ pid }] = await running('upgrades', 1);
  const socket = await upgrade();
  socket.write('hello');
  assert.equal(String(await new Promise((done) => socket.once('data', done))), 'hello');
  const ended = new Promise((done) => socket.once('end', done).resume());
  await linked('upgrades', { 'isola.json': manifest('upgrades', { port }), 'server.mjs': program(false) });
  await ended;
  socket.end();
  await gone(pid);
  await until('it was heard of', async () => (await lines('upgrades/Api/0')).some((l) => l.text === 'it has gone'));
  await running('upgrades', 1);
  assert.equal(await upgrade(), 200);
});

/** Which of a service's instances answers who comes from `localAddress`: its number. */
const instanceFor = async (port, localAddress) => (await ask({ port, path: '/', localAddress })).body;

test('sticky: all connections from an address come to one instance, through a restart too', async () => {
  const port = await freePort();
  const program = `import http from 'node:http'; http.createServer((request, response) => response.end(process.env.ISOLA_INSTANCE)).listen(process.env.PORT);`;
  await linked('sticky', { 'isola.json': manifest('sticky', { port, instances: 4, sticky: true }), 'server.mjs': program });
  const first = await running('sticky', 4);
  const addresses = Array.from({ length: 24 }, (_, i) => `127.0.0.${i + 2}`);
  const whose = async () => Promise.all(addresses.map(async (address) => {
    const all = new Set(await Promise.all(Array.from({ length: 5 }, () => instanceFor(port, address))));
    assert.equal(all.size, 1, `${address} came to ${[...all]}`);
    return [...all][0];
  }));
  const before = await whose();
  assert.equal(new Set(before).size, 4, before.join());
  await ctlOk(east, 'restart', 'sticky/Api');
  await until('all are others', async () => (await rows('sticky')).every((r, i) => r.state === 'running' && r.pid !== first[i].pid));
  for (const { pid } of first) await gone(pid);
  assert.deepEqual(await whose(), before);
});

test('options of listen() that say nothing are passed over', async () => {
  const port = await freePort();
  await linked('adapter', {
    'isola.json': manifest('adapter', { port }),
    'server.mjs': `import http from 'node:http';
http.createServer((request, response) => response.end('here')).listen({ path: false, fd: null, handle: undefined, host: '0.0.0.0', port: process.env.PORT });`,
  });
  await running('adapter', 1);
  assert.equal(await get(port), 'here');
});

/** A program of node:cluster as its documentation has it, with two workers. */
const workers = `import cluster from 'node:cluster';
import http from 'node:http';
if (cluster.isPrimary) {
  cluster.on('listening', (worker) => console.log('listens', worker.id));
  cluster.on('exit', (worker) => { console.log('ended', worker.exitedAfterDisconnect); cluster.fork(); });
  for (let i = 0; i < 2; i++) cluster.fork();
} else {
  http.createServer((request, response) => setTimeout(() => response.end('of ' + cluster.worker.id), 5)).listen(process.env.PORT);
}`;

test('a program of node:cluster: its primary hears of its workers, and no request is lost when they are replaced', async () => {
  const port = await freePort();
  await linked('workers', { 'isola.json': manifest('workers', { port, health: { path: '/', every: '100ms' } }), 'server.mjs': workers });
  const [{ pid }] = await running('workers', 1);
  const load = new Load([{ path: '/', good: ({ body }) => assert.match(body, /^of \d+$/) }], { port, clients: 32 });
  try {
    await load.more();
    for (let last = pid; ;) {
      await ctlOk(east, 'restart', 'workers/Api', '--wait');
      await gone(last);
      await load.more();
      if (last !== pid) break;
      [{ pid: last }] = await running('workers', 1);
    }
  } finally {
    await load.stop();
  }
  await load.end();
  const said = (await lines('workers/Api/0')).map((l) => l.text);
  assert.ok(said.includes('listens 1') && said.includes('listens 2'), said.join('\n'));
  assert.ok(!said.includes('ended false'), said.join('\n'));
});

test('a program of node:cluster whose workers share a socket', async () => {
  const port = await freePort();
  await linked('sharing', { 'isola.json': manifest('sharing', { port, env: { NODE_CLUSTER_SCHED_POLICY: 'none' } }), 'server.mjs': workers });
  const [{ pid }] = await running('sharing', 1);
  assert.match(await get(port), /^of \d$/);
  await ctlOk(east, 'restart', 'sharing/Api', '--wait'); // the port can be had by who replaces it
  await gone(pid);
  assert.match(await get(port), /^of \d$/);
});

test('a program that listens on two addresses: no request is lost on either when it is replaced, and what is not taken over is let go of', async () => {
  const port = await freePort();
  const program = (hosts) => `import http from 'node:http';
for (const host of ${JSON.stringify(hosts)}) {
  await new Promise((done) => http.createServer((request, response) => response.end(String(process.pid))).listen({ port: process.env.PORT, host }, done));
  await new Promise((done) => setTimeout(done, 50)); // one after the other, as programs do
}`;
  const deploy = (...hosts) => linked('addresses', { 'isola.json': manifest('addresses', { port }), 'server.mjs': program(hosts) });
  await deploy('127.0.0.1', '127.0.0.2');
  await running('addresses', 1);
  await until('both are there', () => ask({ port, host: '127.0.0.2', path: '/' }).catch(() => false));
  const load = new Load([{ path: '/', good: ({ status }) => assert.equal(status, 200) }], { port, hosts: ['127.0.0.1', '127.0.0.2'] });
  try {
    await load.more();
    for (let i = 0; i < 3; i++) {
      const [{ pid }] = await running('addresses', 1);
      await ctlOk(east, 'restart', 'addresses/Api');
      await gone(pid);
      const [now] = await running('addresses', 1);
      await until('it is on both', async () => (await ask({ port, host: '127.0.0.2', path: '/' })).body === String(now.pid));
    }
  } finally {
    await load.stop();
  }
  await load.end();
  await deploy('127.0.0.3');
  await until('it is at the new address', () => ask({ port, host: '127.0.0.3', path: '/' }).catch(() => false));
  for (const host of ['127.0.0.1', '127.0.0.2']) await until('nobody waits at the old ones', () => ask({ port, host, path: '/' }).then(() => false, (error) => error.code === 'ECONNREFUSED'));
});

test('a server that says "session" of something else than HTTP/2', async () => {
  const port = await freePort();
  await linked('named', {
    'isola.json': manifest('named', { port }),
    'server.mjs': `import http from 'node:http';
const server = http.createServer((request, response) => { for (const of of [undefined, 'a', { id: 1 }]) server.emit('session', of); response.end('said'); }).listen(process.env.PORT);`,
  });
  await running('named', 1);
  assert.equal(await get(port), 'said');
  await ctlOk(east, 'restart', 'named/Api', '--wait');
  assert.deepEqual((await lines('named/Api/0')).filter((l) => l.level !== 'info'), []);
});

test('a program that takes SIGTERM itself ends as it wants', async () => {
  await linked('polite', {
    'isola.json': manifest('polite'),
    'server.mjs': `process.once('SIGTERM', () => { console.log('bye'); process.exit(0); }); setInterval(() => {}, 1000);`,
  });
  await running('polite', 1);
  await ctlOk(east, 'stop', 'polite/Api');
  await until('it is stopped', async () => await states('polite') === 'stopped');
  assert.ok((await lines('polite/Api/0')).some((l) => l.text === 'bye'));
});

test('no request is lost when a program that takes SIGTERM itself closes its server', async () => {
  const port = await freePort();
  await linked('closes', {
    'isola.json': manifest('closes', { port }),
    'server.mjs': `import http from 'node:http';
const server = http.createServer((request, response) => response.end(String(process.pid))).listen(process.env.PORT);
process.on('SIGTERM', () => { server.closeIdleConnections(); server.close(() => { console.log('closed'); process.exit(0); }); });`,
  });
  await running('closes', 1);
  const load = new Load([{ path: '/', good: ({ body }) => assert.match(body, /^\d+$/) }], { port, clients: 32 });
  try {
    await load.more();
    for (let i = 0; i < 3; i++) {
      const [{ pid }] = await running('closes', 1);
      await ctlOk(east, 'restart', 'closes/Api', '--wait');
      await gone(pid);
      await load.more();
    }
  } finally {
    await load.stop();
  }
  await load.end();
  assert.equal((await lines('closes/Api/0')).filter((l) => l.text === 'closed').length, 3);
});

test('a program that crashes at once has failed after its restarts', async () => {
  await linked('crash', {
    'isola.json': manifest('crash', { restart: { max: 2, within: '1m', backoff: '1ms' } }),
    'server.mjs': `import './missing.mjs';`,
  });
  const [row] = await until('it has failed', async () => await states('crash') === 'failed' && rows('crash'));
  assert.match(row.failure, /^it exited with status 1: Error \[ERR_MODULE_NOT_FOUND\]: Cannot find module .*missing\.mjs/);
  assert.deepEqual([row.pid, row.restarts], [null, 2]);
  assert.match(await ctlOk(east, 'ps', 'crash'), /crash\/Api\/0 it exited with status 1: Error/);
  assert.ok((await lines('crash/Api/0')).some((l) => /that is 3 times within 60000 ms \("restart"\): it has failed$/.test(l.text)));
  // What is mended begins again.
  await linked('crash', { 'isola.json': manifest('crash'), 'server.mjs': 'setInterval(() => {}, 1000);' });
  const [mended] = await running('crash', 1);
  assert.equal(mended.failure, undefined);
});

test('where a program fails is told, and its log has the code there', async () => {
  const restart = { max: 0, within: '10s', backoff: '10ms', maxBackoff: '10ms' };
  const programs = {
    syntax: ['s.js', 'const x = 1;\nlet 2y = 3;\n', 'SyntaxError: Invalid or unexpected token (s.js:2)', 'let 2y = 3;'],
    types: ['src/s.ts', 'enum Color { Red }\nconsole.log(Color.Red);\n', 'SyntaxError [ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX]: TypeScript enum is not supported in strip-only mode (src/s.ts:1); compile it before, or have tsx in "dependencies" and "nodeArgs": ["--import=tsx"] in the manifest', 'enum Color { Red }'],
    thrown: ['src/s.ts', "import './f.ts';\n", "TypeError: Cannot read properties of undefined (reading 'a') (src/f.ts:5)", '  o!.a.toFixed();'],
    json: ['s.js', "require('./d.json');\n", /SyntaxError: .*d\.json: Expected .* in JSON at position 3/],
  };
  const more = { 'src/f.ts': 'interface X { a: number }\n\nexport {};\nfunction f(o: X | undefined): void {\n  o!.a.toFixed();\n}\nf(undefined);\n', 'd.json': '{\n b: 1 }' };
  await Promise.all(Object.entries(programs).map(async ([name, [module, text]]) => cluster.deploy(east, name, { 'isola.json': { name, actors: { S: { module, kind: 'service', restart } } }, 'package.json': { name }, ...more, [module]: text })));
  for (const [name, [, , says, line]] of Object.entries(programs)) {
    const row = await until(`${name} has failed`, async () => (await rows(name)).find((r) => r.failure !== undefined && r.state === 'failed'));
    if (typeof says === 'string') assert.equal(row.failure, `it exited with status 1: ${says}`);
    else assert.match(row.failure, says);
    const said = await lines(`${name}/S/0`);
    assert.ok(line === undefined || said.some((l) => l.text.replace(/\s+$/, '') === line || l.text.replace('o .a', 'o!.a') === line), `${name}: ${said.map((l) => l.text).join('\n')}`);
  }
});

test('a port that is taken', async () => {
  const other = net.createServer().listen(0);
  const { port } = other.address();
  await linked('taken', { 'isola.json': manifest('taken', { port, restart: { max: 1, within: '1m', backoff: '1ms' } }), 'server.mjs': web });
  const [row] = await until('it has failed', async () => await states('taken') === 'failed' && rows('taken'));
  assert.match(row.failure, new RegExp(`^it exited with status 1: Error: listen EADDRINUSE: address already in use :::${port}; \`ss -ltnp\` shows who has it$`));
  await new Promise((done) => other.close(done));
  await ctlOk(east, 'restart', 'taken/Api/0');
  await running('taken', 1);
});

test('a program that never listens on its port has failed', async () => {
  const port = await freePort();
  await linked('mute', { 'isola.json': manifest('mute', { port, startTimeout: '300ms', restart: { max: 0 } }), 'server.mjs': 'setInterval(() => {}, 1000);' });
  const [row] = await until('it has failed', async () => await states('mute') === 'failed' && rows('mute'));
  assert.match(row.failure, new RegExp(`^it did not listen on port ${port} within 300 ms`));
});

test('one that listens elsewhere is told where, while it begins and when it is ended', async () => {
  const [port, other] = [await freePort(), await freePort()];
  await linked('astray', { 'isola.json': manifest('astray', { port, startTimeout: '4s', restart: { max: 0 } }), 'server.mjs': `import http from 'node:http'; http.createServer().listen(${other});` });
  const [begun] = await until('it is noticed', async () => { const all = await rows('astray'); return all[0]?.note !== undefined && all; });
  assert.deepEqual([begun.state, begun.note], ['starting', `it listens on port ${other}, and not on ${port} yet, where it is waited for`]);
  const [row] = await until('it has failed', async () => await states('astray') === 'failed' && rows('astray'));
  const hint = `have it listen on process.env.PORT, or say "port": ${other} in the manifest (PORT=… before the command of "start")`;
  assert.equal(row.failure, `it did not listen on port ${port} within 4000 ms, but on ${other}: ${hint}`);
  assert.ok((await lines('astray/Api/0')).some((l) => l.level === 'warn' && l.text === `it listens on port ${other}, and not yet on ${port}, where it is waited for: ${hint}`));
});

test('why one that runs again had ended is told for a while, and that it listens elsewhere too is not', async () => {
  const [port, other] = [await freePort(), await freePort()];
  await linked('again', { 'isola.json': manifest('again', { port }), 'server.mjs': `${web} http.createServer().listen(${other});` });
  const [first] = await running('again', 1);
  assert.equal(first.note, undefined);
  await get(port, '/die').catch(() => {});
  const [row] = await until('it runs again', async () => { const all = await rows('again'); return all[0]?.state === 'running' && all[0].pid !== first.pid && all; });
  assert.match(row.note, /^ended \d+ s ago, and was started again: it exited with status 7$/);
  assert.match(await ctlOk(east, 'ps', 'again'), /\nagain\/Api\/0 ended \d+ s ago, and was started again: it exited with status 7\n$/);
});

test('sessions of HTTP/2 end with their instance, after what was asked has been answered', async () => {
  const port = await freePort();
  const program = (word) => ({
    'isola.json': manifest('two', { port, stopTimeout: '1m' }),
    'server.mjs': `import http2 from 'node:http2';
http2.createServer().on('stream', (stream, headers) => {
  stream.respond();
  if (headers[':path'] === '/slow') process.once('SIGWINCH', () => stream.end('${word}')); // when the test says so
  else { let sent = ''; stream.on('data', (part) => { sent += part; }).on('end', () => stream.end('${word} ' + sent)); }
}).listen(process.env.PORT);`,
  });
  const request = (session, path, body) => new Promise((done, failed) => {
    let text = '';
    const stream = session.request({ ':path': path, ':method': body === undefined ? 'GET' : 'POST' }).setEncoding('utf8');
    stream.on('data', (part) => { text += part; }).on('end', () => done(text)).on('error', failed).end(body);
  });
  await linked('two', program('one'));
  const [{ pid }] = await running('two', 1);
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const ended = new Promise((done) => session.once('close', done));
  assert.equal(await request(session, '/', 'sent'), 'one sent');
  const away = new Promise((done) => session.once('goaway', (code) => done(code)));
  const slow = request(session, '/slow');
  await linked('two', program('two'));
  assert.equal(await away, 0);
  process.kill(pid, 'SIGWINCH');
  assert.equal(await slow, 'one');
  await ended;
  await gone(pid);
  const other = http2.connect(`http://127.0.0.1:${port}`);
  assert.equal(await request(other, '/', 'again'), 'two again');
  other.close();
  assert.deepEqual((await lines('two/Api/0')).filter((l) => l.level !== 'info'), []);
});

test('a program that shares the port without being of this agent is told of', async () => {
  const port = await freePort();
  const stranger = net.createServer((socket) => socket.end());
  await new Promise((done) => { stranger.listen({ port, reusePort: true }, done); });
  const files = (instances) => ({ 'isola.json': manifest('crowded', { port, instances }), 'server.mjs': web });
  await linked('crowded', files(1));
  const [row] = await running('crowded', 1);
  assert.equal(row.note, `began while another program listened on port ${port}: if that shares it still, as a service of another agent does, each gets a part of the requests (\`ss -ltnp\` shows who)`);
  const warned = async (address) => (await lines(address)).filter((l) => l.level === 'warn').map((l) => l.text);
  assert.deepEqual(await warned('crowded/Api/0'), [
    `another program of this machine listens on port ${port}: if it shares it, as a service of another agent does, each gets a part of the requests`,
  ]);
  await new Promise((done) => { stranger.close(done); });
  await ctlOk(east, 'stop', 'crowded/Api');
  await until('it has ended', async () => await states('crowded') === 'stopped');
  await gone(row.pid);
  await ctlOk(east, 'restart', 'crowded/Api');
  assert.equal((await running('crowded', 1))[0].note, undefined);
  await linked('crowded', files(3)); // its own are no strangers
  await running('crowded', 3);
  await until('nothing is told of them', async () => (await rows('crowded')).every((r) => r.note === undefined)); // they are replaced, one by one
  assert.deepEqual([await warned('crowded/Api/1'), await warned('crowded/Api/2')], [[], []]);
});

test('a process that is replaced, and one that ends slowly, are told of', async () => {
  const port = await freePort();
  await linked('slow', {
    'isola.json': manifest('slow', { port, stopTimeout: '1500ms' }),
    'server.mjs': `import http from 'node:http';
const server = http.createServer((request, response) => response.write(String(process.pid))); // a stream that has no end
setTimeout(() => server.listen(process.env.PORT), 600);`,
  });
  const [{ pid, release }] = await running('slow', 1);
  const note = async () => (await rows('slow'))[0].note ?? '';
  const socket = await new Promise((done) => {
    const request = http.get({ port, host: '127.0.0.1', agent: false }, (response) => response.on('error', () => {}).once('data', () => done(request.socket)));
  });
  await ctlOk(east, 'restart', 'slow/Api');
  await until('another begins', async () => new RegExp(`^is to be replaced: process \\d+, of release ${release}, begins$`).test(await note()));
  await until('it has replaced it', async () => await note() === 'has replaced a process that is not done yet with what it was asked: it has "stopTimeout" for that');
  assert.equal((await rows('slow'))[0].state, 'running');
  await gone(pid);
  await until('nothing is left to tell', async () => await note() === '');
  socket.destroy();
});

test('health: not ready before it is well, started again when it is not, each instance for itself', async () => {
  const port = await freePort();
  await linked('health', {
    'isola.json': manifest('health', { port, instances: 2, health: { path: '/healthz', every: '100ms', timeout: '5s', failures: 2 } }),
    'server.mjs': `import http from 'node:http';
let asked = 0, well = true;
http.createServer((request, response) => {
  if (request.url === '/healthz') response.writeHead(++asked > 3 && well ? 204 : 503).end();
  else if (request.url === '/sicken') { well = false; response.end(String(process.pid)); }
  else response.end(String(asked));
}).listen(process.env.PORT);`,
  });
  const before = await running('health', 2);
  assert.ok(+await get(port) > 3);
  const ill = +await get(port, '/sicken');
  const mended = await until('it was started again', async () => (await rows('health')).find((r) => r.restarts === 1 && r.state === 'running'));
  const at = before.findIndex((r) => r.pid === ill);
  assert.equal(mended.address, `health/Api/${at}`);
  await gone(ill);
  assert.deepEqual((await rows('health')).filter((r) => r.restarts === 0).map((r) => r.pid), [before[1 - at].pid]);
  const said = (await lines(mended.address)).map((l) => l.text);
  assert.ok(said.some((l) => /^it was not well 2 times in a row \("health"\): GET \/healthz: status 503; it is started again in 0 ms$/.test(l)), said.join('\n'));
});

test('health: one whose loop is blocked is told of before it has ended', async () => {
  const port = await freePort();
  await linked('blocked', {
    'isola.json': manifest('blocked', { port, stopTimeout: '1s', health: { path: '/', every: '100ms', timeout: '300ms', failures: 2 } }),
    'server.mjs': `import http from 'node:http';
http.createServer((request, response) => { if (request.url === '/block') for (;;); response.end('well'); }).listen(process.env.PORT);`,
  });
  await running('blocked', 1);
  assert.equal((await rows('blocked'))[0].note, undefined);
  const asked = get(port, '/block').catch(() => 'lost');
  const no = 'GET /: no answer within 300 ms';
  const note = async () => (await rows('blocked'))[0].note ?? '';
  await until('it is not well', async () => await note() === `is not well, 1 of the 2 times in a row that end it ("health"): ${no}`);
  await until('it is to end', async () => await note() === `is to end, and is killed 1000 ms after SIGTERM: it was not well 2 times in a row ("health"): ${no}`);
  assert.equal(await states('blocked'), 'stopping');
  const told = (await lines('blocked/Api/0')).map((l) => `${l.level} ${l.text}`);
  assert.deepEqual(told, [
    `warn it is not well: ${no}; 2 times in a row end it ("health")`,
    `warn ${no}: that is 2 times in a row ("health"): it gets SIGTERM, and is killed if it has not ended 1000 ms later`,
  ]);
  assert.equal(await asked, 'lost');
  await until('it was started again', async () => /^ended \d+ s ago, and was started again: /.test(await note()));
});

test('health: one that never is well has failed', async () => {
  const port = await freePort();
  await linked('unwell', {
    'isola.json': manifest('unwell', { port, startTimeout: '500ms', restart: { max: 0 }, health: { path: '/healthz' } }),
    'server.mjs': `import net from 'node:net'; net.createServer((s) => s.end('hello, this is no HTTP')).listen({ port: +process.env.PORT });`,
  });
  const [row] = await until('it has failed', async () => await states('unwell') === 'failed' && rows('unwell'));
  assert.equal(row.failure, 'it was not well within 500 ms ("health"): GET /healthz: an answer that is not HTTP');
});

test('sandbox: the files of the app, its port, and no more', async () => {
  const port = await freePort();
  await linked('sandbox', {
    'isola.json': manifest('sandbox', { port, sandbox: true }),
    'server.mjs': `import http from 'node:http'; import fs from 'node:fs'; import { execSync } from 'node:child_process'; import './more.mjs';
const attempt = (what) => { try { what(); return 'done'; } catch (error) { return error.code; } };
http.createServer((request, response) => response.end(JSON.stringify([attempt(() => fs.readFileSync('./server.mjs')), attempt(() => fs.readFileSync('/etc/passwd')),
  attempt(() => fs.writeFileSync('./x', '')), attempt(() => execSync('true'))]))).listen(process.env.PORT);`,
    'more.mjs': '',
  });
  await running('sandbox', 1);
  assert.deepEqual(JSON.parse(await get(port)), ['done', 'ERR_ACCESS_DENIED', 'ERR_ACCESS_DENIED', 'ERR_ACCESS_DENIED']);
});

test('what it prints: levels, long lines, what is no UTF-8, a last line without an end', async () => {
  await linked('prints', {
    'isola.json': manifest('prints', { restart: { max: 0 } }),
    'server.mjs': `console.log('plain');
console.error('bad news');
console.log(JSON.stringify({ level: 50, msg: 'pino' }));
console.log(JSON.stringify({ level: 'debug', message: 'winston' }));
console.error(JSON.stringify({ severity: 'INFO', message: 'cloud' }));
console.log('long ' + 'x'.repeat(100_000));
process.stdout.write(Buffer.from([0x61, 0xff, 0x62, 10]));
process.stdout.write('no end');`,
  });
  await until('it has ended', async () => await states('prints') === 'failed');
  const said = (await lines('prints/Api/0')).map((l) => `${l.level} ${l.text.slice(0, 60)}`);
  for (const line of ['info plain', 'warn bad news', 'error {"level":50,"msg":"pino"}', 'debug {"level":"debug","message":"winston"}',
    'info {"severity":"INFO","message":"cloud"}', `info long ${'x'.repeat(55)}`, 'info a\ufffdb', 'info no end'])
    assert.ok(said.includes(line), `${line}\n${said.join('\n')}`);
  assert.equal((await lines('prints/Api/0')).find((l) => l.text.startsWith('long')).text.length, 32 * 1024 - 4);
});

test('a flood of lines is cut to its rate, and the agent goes on', async () => {
  await linked('flood', {
    'isola.json': manifest('flood', { logRate: 50 }),
    'server.mjs': `const lines = ('x'.repeat(200) + '\\n').repeat(300); (function go() { process.stdout.write(lines, go); })();`,
  });
  await until('it was cut', async () => (await lines('flood/Api/0')).some((l) => /^it prints more than 50 lines a second: the rest is dropped \(limit "logRate"\)$/.test(l.text)));
  await until('it is counted', async () => (await lines('flood/Api/0')).some((l) => /^\d+ lines were dropped/.test(l.text)));
  await ctlOk(east, 'stop', 'flood/Api');
  await until('it is stopped', async () => await states('flood') === 'stopped');
});

test('services end with their agent, however it ends, and come back with the next', async () => {
  const port = await freePort();
  const west = await cluster.node('west', undefined, ['--threads', '1']);
  await ctlOk(west, 'deploy', '--link', cluster.app('again', { 'isola.json': manifest('again', { port, instances: 2 }), 'server.mjs': web }));
  const at = async (agent) => (await whole(agent, 'ps', {})).actors;
  const up = (agent) => until('both run', async () => {
    const all = await at(agent);
    return all.length === 2 && all.every((r) => r.state === 'running') && all;
  });
  const first = await up(west);
  const ended = new Promise((done) => west.child.once('exit', done));
  west.child.kill('SIGKILL');
  await ended;
  for (const { pid } of first) await gone(pid);
  cluster.agents.splice(cluster.agents.indexOf(west), 1);
  const again = await cluster.node('west', undefined, ['--threads', '1']);
  const second = await up(again);
  assert.ok(second.every((r) => !first.some((f) => f.pid === r.pid)));
  assert.equal(await again.stop(), undefined);
  for (const { pid } of second) await gone(pid);
});

test('what is refused', async () => {
  const release = { app: 'refused', manifest: JSON.stringify(manifest('refused', {})), bundles: [] };
  await assert.rejects(east.client.call('deploy', release), { code: 'EINVAL', message: /refused has a service, Api, and comes without files/ });
  const none = await ctl(east, 'restart', 'refused/Api');
  assert.equal(none.status, 1);
  assert.match(none.err, /ENOACTOR/);
  const missing = cluster.app('refused', { 'isola.json': manifest('refused', { envFile: './.env' }), 'server.mjs': web });
  const env = await ctl(east, 'deploy', '--link', missing);
  assert.match(env.err, /isola\.json:1:\d+: actors\.Api\.envFile: there is no file "\.env" in /);
});
