// SPDX-License-Identifier: Apache-2.0
//
// fetch in isolates: what it brings back, what it may connect to, and its end.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { Cluster, ctl, until } from './cluster.mjs';

const cluster = new Cluster();
let node, base, other;
const open = new Map(); // response that has not ended → its path
const heard = []; // "METHOD /path"
const servers = [];

/** Waits until `n` responses are open. */
async function opened(n) {
  await until(`${n} responses are open`, () => open.size === n).catch((error) => assert.fail(`${error.message}; open are ${[...open.values()]}`));
}

/** A server on a free port; its URL. */
async function serve(handle) {
  const server = createServer(handle);
  servers.push(server);
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}`;
}

async function site(request, response) {
  const url = new URL(request.url, 'http://x');
  heard.push(`${request.method} ${url.pathname}`);
  open.set(response, request.url);
  response.on('close', () => open.delete(response));
  const body = async () => { const all = []; for await (const c of request) all.push(c); return Buffer.concat(all); };
  const json = (value, headers = {}) => { response.writeHead(200, { 'content-type': 'application/json', ...headers }); response.end(JSON.stringify(value)); };
  switch (url.pathname) {
    case '/echo': return json({ method: request.method, headers: request.headers, body: (await body()).toString(), search: url.search });
    case '/size': return json((await body()).length);
    case '/cookies': return json(1, { 'set-cookie': ['a=1', 'b=2'], 'x-lat': 'caf\xe9' });
    case '/status': response.writeHead(Number(url.searchParams.get('n')), 'Said so'); return response.end();
    case '/bytes': { // n bytes in a stream of unknown length
      const chunk = Buffer.alloc(50_000, 'abcdefghij');
      const closed = new AbortController();
      response.on('close', () => closed.abort());
      for (let left = Number(url.searchParams.get('n')); left > 0 && !response.destroyed; left -= chunk.length)
        if (!response.write(chunk.subarray(0, left))) await once(response, 'drain', { signal: closed.signal }).catch(() => {});
      return response.end();
    }
    case '/gzip': response.writeHead(200, { 'content-encoding': 'gzip' }); return response.end(gzipSync('zipped '.repeat(100_000)));
    case '/redirect': response.writeHead(Number(url.searchParams.get('n') ?? 302), { location: url.searchParams.get('to') }); return response.end('moved');
    case '/loop': response.writeHead(302, { location: '/loop' }); return response.end();
    case '/trickle': response.write('first'); return undefined; // and never more
    case '/never': return request.resume();
    case '/break': response.writeHead(200, { 'content-length': 1000_000 }); response.write('x'.repeat(1000)); return setImmediate(() => response.destroy());
    default: response.writeHead(404); return response.end('not here');
  }
}

const app = (types, net) => ({
  'isola.json': { name: net.name, permissions: { net: net.hosts }, actors: types },
  'run.js': `
    export default (self) => {
      self.on('run', (code, ...args) => new (Object.getPrototypeOf(async () => {}).constructor)('self', 'args', code)(self, args));
      self.on('echo', (v) => v);
    };`,
});

before(async () => {
  [base, other] = [await serve(site), await serve(site)];
  node = await cluster.node('one');
  await cluster.deploy(node, 'web', app({ I: { module: './run.js' }, S: { module: './run.js', isolation: 'shared' } }, { name: 'web', hosts: [new URL(base).host] }));
  await cluster.deploy(node, 'none', app({ I: { module: './run.js' } }, { name: 'none', hosts: [] }));
});
after(async () => {
  await cluster.end();
  for (const server of servers) { server.closeAllConnections(); server.close(); }
});

for (const type of ['I', 'S']) {
  const run = (code, ...args) => node.client.actor(`web/${type}`, 'one').ask('run', `const [base, ...rest] = args; ${code}`, base, ...args);
  describe(`fetch (${type === 'I' ? 'isolate' : 'shared'})`, () => {
    test('method, headers and body arrive, and the answer comes back', async () => {
      const said = await run(`
        const r = await fetch(base + '/echo?q=1', { method: 'POST', headers: { 'x-mine': 'yes', 'content-type': 'text/x' }, body: 'héllo' });
        return { status: r.status, ok: r.ok, url: r.url, redirected: r.redirected, type: r.headers.get('content-type'), body: await r.json(), used: r.bodyUsed, is: r instanceof Response };`);
      assert.equal(said.status, 200);
      assert.equal(said.ok && said.used && said.is && !said.redirected, true);
      assert.equal(said.url, `${base}/echo?q=1`);
      assert.equal(said.body.method, 'POST');
      assert.equal(said.body.body, 'héllo');
      assert.equal(said.body.headers['x-mine'], 'yes');
      assert.equal(said.body.headers['content-type'], 'text/x');
      assert.equal(said.body.search, '?q=1');
    });
    test('every kind of body', async () => {
      const kinds = await run(`
        const form = new FormData(); form.append('a', 'b'); form.append('f', new File(['file!'], 'n.txt'));
        const bodies = [new Uint8Array([104, 105]), new Blob(['blob']), new URLSearchParams('a=1&b=2'), form, new Uint8Array([65, 66]).buffer,
          new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode('str')); c.enqueue(new TextEncoder().encode('eam')); c.close(); } })];
        const out = [];
        for (const body of bodies) out.push((await (await fetch(new Request(base + '/echo', { method: 'PUT', body, duplex: 'half' }))).json()).body);
        return out;`);
      assert.deepEqual([kinds[0], kinds[1], kinds[2], kinds[4], kinds[5]], ['hi', 'blob', 'a=1&b=2', 'AB', 'stream']);
      assert.match(kinds[3], /name="a"\r\n\r\nb\r\n[^]*filename="n.txt"[^]*file!/);
    });
    test('status, status text and headers as they are', async () => {
      assert.deepEqual(await run(`const r = await fetch(base + '/status?n=418'); return [r.status, r.statusText, r.ok, await r.text()];`), [418, 'Said so', false, '']);
      assert.deepEqual(await run(`const r = await fetch(base + '/status?n=204'); return [r.status, r.body];`), [204, null]);
      assert.deepEqual(await run(`const r = await fetch(base + '/cookies'); return [r.headers.getSetCookie(), r.headers.get('x-lat')];`), [['a=1', 'b=2'], 'caf\xe9']);
      assert.deepEqual(await run(`const r = await fetch(base + '/echo', { method: 'HEAD' }); return [r.status, await r.text()];`), [200, '']);
      assert.equal(await run(`try { (await fetch(base + '/echo')).headers.set('a', 'b'); } catch (e) { return e.name; }`), 'TypeError');
    });
    test('a large body comes in chunks, whole', async () => {
      const n = 5_000_003;
      assert.deepEqual(await run(`
        const r = await fetch(base + '/bytes?n=${n}');
        let total = 0, most = 0, sum = 0;
        for await (const c of r.body) { most = Math.max(most, c.length); for (let i = 0; i < c.length; i++) { if (c[i] !== 97 + (total + i) % 10) throw new Error('wrong at ' + (total + i)); } total += c.length; }
        return [total, most <= 65536];`), [n, true]);
      assert.equal(await run(`return (await (await fetch(base + '/bytes?n=${n}')).text()).length`), n);
      assert.equal(await run(`return (await (await fetch(base + '/size', { method: 'POST', body: new Uint8Array(${n}) })).json())`), n);
      assert.deepEqual(await run(`
        const reader = (await fetch(base + '/bytes?n=100')).body.getReader({ mode: 'byob' });
        const first = await reader.read(new Uint8Array(30)); const more = await reader.read(new Uint8Array(1000)); const end = await reader.read(new Uint8Array(10));
        return [first.value.length, more.value.length, end.done];`), [30, 70, true]);
    });
    test('an encoded body is decoded, a clone can be read too', async () => {
      assert.equal(await run(`const r = await fetch(base + '/gzip'); const c = r.clone(); const [a, b] = await Promise.all([r.text(), c.text()]); return a === b && a === 'zipped '.repeat(100000);`), true);
    });
    test('redirects are followed, refused or shown', async () => {
      const to = encodeURIComponent('/echo');
      assert.deepEqual(await run(`const r = await fetch(base + '/redirect?to=${to}'); return [r.redirected, r.url === base + '/echo', r.status];`), [true, true, 200]);
      assert.deepEqual(await run(`const r = await fetch(base + '/redirect?n=303&to=${to}', { method: 'POST', body: 'x' }); const s = await r.json(); return [s.method, s.body];`), ['GET', '']);
      assert.deepEqual(await run(`const r = await fetch(base + '/redirect?n=307&to=${to}', { method: 'POST', body: 'x' }); const s = await r.json(); return [s.method, s.body];`), ['POST', 'x']);
      assert.equal(await run(`const r = await fetch(base + '/redirect?to=${to}', { redirect: 'manual' }); return r.status;`), 302);
      for (const path of [`/redirect?to=${to}', { redirect: 'error' }`, "/loop'"])
        assert.deepEqual(await run(`try { await fetch(base + '${path}); } catch (e) { return [e.name, e.message]; }`), ['TypeError', 'fetch failed']);
    });
    test('only what the manifest names is connected to, after a redirect too', async () => {
      const before = heard.length;
      const port = new URL(other).port;
      const said = await run(`try { await fetch(rest[0] + '/echo'); } catch (e) { return [e.code, e.message]; }`, other);
      assert.equal(said[0], 'EPERM');
      assert.equal(said[1], `${other} is not among the hosts this app may connect to; its manifest permits it with "permissions": { "net": ["127.0.0.1:${port}"] }`);
      const redirected = await run(`try { await fetch(base + '/redirect?to=' + encodeURIComponent(rest[0] + '/echo')); } catch (e) { return [e.code, e.message]; }`, other);
      assert.equal(redirected[0], 'EPERM');
      assert.match(redirected[1], new RegExp(`^${other.replaceAll('.', '\\.')} \\(where ${base.replaceAll('.', '\\.')} redirects to\\) is not among`));
      for (const url of [base.replace('127.0.0.1', 'localhost'), base.replace('http:', 'https:').replace(/:\d+$/, ''), `${base}@${new URL(other).host}/`.replace('http://', 'http://')])
        assert.match(await run(`try { await fetch(rest[0]); } catch (e) { return e.code ?? e.name; }`, url), /EPERM|TypeError/, url);
      assert.deepEqual(heard.slice(before), ['GET /redirect'], 'nothing else was reached');
      const none = await node.client.actor('none/I', 'x').ask('run', `try { await fetch(args[0]); } catch (e) { return e.code; }`, base);
      assert.equal(none, 'EPERM');
    });
    test('another way to write a permitted address is the same address', async () => {
      const { port } = new URL(base);
      assert.equal(await run(`return (await fetch('http://0x7f000001:${port}/status?n=200')).status`), 200);
    });
    test('what cannot be fetched', async () => {
      for (const [code, name] of [["fetch('nonsense')", 'TypeError'], ["fetch('ftp://x/y')", 'TypeError'], ["fetch('file:///etc/passwd')", 'TypeError'], ['fetch()', 'TypeError'],
        ["fetch(base, { method: 'TRACE' })", 'TypeError'], ["fetch(base, { headers: { 'a b': 'c' } })", 'TypeError'], ["fetch(base, { body: 'x' })", 'TypeError'], ["fetch('http://a:b@127.0.0.1/')", 'TypeError'],
        ["fetch(base, { method: 'POST', body: new ReadableStream({ start(c) { c.enqueue('text'); c.close(); } }), duplex: 'half' })", 'TypeError'],
        ["fetch(base + '/echo', { method: 'POST', body: new Uint8Array((64 << 20) + 1) })", 'Error']])
        assert.equal(await run(`return ${code}.then(() => 'fulfilled', (e) => e.name)`), name, code);
      assert.deepEqual(await run(`const r = await fetch('data:text/plain,hi%20there'); return [r.status, await r.text(), r.headers.get('content-type')];`), [200, 'hi there', 'text/plain']);
      assert.deepEqual(await run(`try { await (await fetch(base + '/break')).text(); } catch (e) { return [e.name, e.message]; }`), ['TypeError', 'terminated']);
    });
    test('a response of more than 64 MB ends with ETOOBIG', async () => {
      assert.deepEqual(await run(`
        let n = 0;
        try { for await (const c of (await fetch(base + '/bytes?n=80000000')).body) n += c.length; } catch (e) { return [e.code, n > 60_000_000 && n <= 64 << 20]; }`), ['ETOOBIG', true]);
    });
    test('abort: before, while waiting, while reading; cancel of the body', async () => {
      assert.deepEqual(await run(`try { await fetch(base, { signal: AbortSignal.abort(new Error('mine')) }); } catch (e) { return e.message; }`), 'mine');
      assert.deepEqual(await run(`const c = new AbortController(); const p = fetch(base + '/never', { signal: c.signal }); setTimeout(() => c.abort(), 1); try { await p; } catch (e) { return [e.name, e.code]; }`), ['AbortError', 20]);
      assert.equal(await run(`try { await fetch(base + '/never', { signal: AbortSignal.timeout(5) }); } catch (e) { return e.name; }`), 'TimeoutError');
      assert.deepEqual(await run(`
        const c = new AbortController(); const r = await fetch(base + '/trickle?1', { signal: c.signal }); const reader = r.body.getReader();
        const first = new TextDecoder().decode((await reader.read()).value);
        for (let i = 0; i < 100; i++) { new Uint8Array(1e6); await new Promise((done) => setTimeout(done)); } // what nothing holds is gone now
        setTimeout(() => c.abort('enough'), 1);
        try { await reader.read(); } catch (e) { return [first, e]; }`), ['first', 'enough']);
      assert.equal(await run(`const r = await fetch(base + '/trickle?2'); await r.body.cancel(); return r.bodyUsed;`), true);
      await opened(0);
    });
    test('the trace context of the turn goes with it, unless the script says another', async () => {
      const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', mine = '00-11111111111111111111111111111111-2222222222222222-00';
      const code = `const [base, mine] = args, url = base + '/echo', sent = async (...how) => (await (await fetch(...how)).json()).headers.traceparent ?? null;
        const kept = new Request(url), late = new ReadableStream({ async pull(c) { await 1; c.enqueue(new Uint8Array(1)); c.close(); } });
        return [await sent(url), await sent(kept), kept.headers.has('traceparent'), await sent(url, { method: 'POST', body: late, duplex: 'half' }), await sent(base + '/redirect?to=/echo'),
          await sent(url, { headers: { TraceParent: mine } }), await sent(new Request(url, { headers: { traceparent: mine } })), await sent(url, { headers: { traceparent: '' } })];`;
      const ref = node.client.actor(`web/${type}`, 'traced');
      assert.deepEqual(await ref.ask('run', code, base, mine, { traceparent }), [traceparent, traceparent, false, traceparent, traceparent, mine, mine, '']);
      assert.deepEqual(await ref.ask('run', code, base, mine), [null, null, false, null, null, mine, mine, '']);
      // of what began in a turn and goes on after it, nothing
      const after = `const [base] = args; globalThis.late = new Promise((done) => setTimeout(async () => done((await (await fetch(base + '/echo')).json()).headers.traceparent ?? null), 1));`;
      await ref.ask('run', after, base, { traceparent });
      assert.equal(await ref.ask('run', 'return globalThis.late;'), null);
    });
    test('turns of other actors go on, and the frame is kept', async () => {
      const slow = node.client.actor(`web/${type}`, 'slow').ask('run', `
        const { AsyncLocalStorage } = require('async_hooks'); const als = new AsyncLocalStorage();
        return als.run('kept', async () => { const r = await fetch(args[0] + '/echo'); await r.json(); self.state.after = als.getStore(); return als.getStore(); });`, base);
      assert.equal(await node.client.actor(`web/${type}`, 'quick').ask('echo', 1), 1);
      assert.equal(await slow, 'kept');
      await ctl(node, 'stop', `web/${type}/slow`);
      assert.equal(await node.client.actor(`web/${type}`, 'slow').ask('run', 'return self.state.after'), 'kept');
    });
    test('what is under way ends with the activation', async () => {
      const ref = node.client.actor(`web/${type}`, 'gone');
      await ref.ask('run', `self.pending = fetch(args[0] + '/never').catch(() => {}); self.held = await fetch(args[0] + '/trickle?3');`, base);
      await opened(2);
      assert.equal((await ctl(node, 'stop', `web/${type}/gone`)).status, 0);
      await opened(0);
      await ref.ask('run', `fetch(args[0] + '/never').catch(() => {});`, base);
      await opened(1);
      ref.emit('run', `throw new Error('crash');`);
      await opened(0);
    });
    test('too many at once are refused', async () => {
      const ref = node.client.actor(`web/${type}`, 'many');
      const codes = await ref.ask('run', `
        const all = []; const c = new AbortController();
        for (let i = 0; i < 130; i++) all.push(fetch(args[0] + '/never', { signal: c.signal }).catch((e) => e.code));
        const refused = await all[129]; c.abort(); return [refused, await all[0]];`, base);
      assert.deepEqual(codes, ['EOVERLOAD', 20]);
      await opened(0);
      assert.deepEqual(await ref.ask('run', `
        const c = new AbortController(); const post = (n) => fetch(args[0] + '/never', { method: 'POST', body: new Uint8Array(n), signal: c.signal }).catch((e) => e.code);
        const one = post(40_000_000); const two = await post(40_000_000); c.abort(); return [await one, two];`, base), [20, 'EOVERLOAD']);
      assert.equal(await ref.ask('run', `return (await fetch(args[0] + '/echo')).status`, base), 200);
    });
    test('bodies nobody reads are given up when their responses are gone', async () => {
      const ref = node.client.actor(`web/${type}`, 'careless');
      await until('more than the limit have been fetched', async () => (await ref.ask('run', `
        self.done ??= 0;
        try { for (let i = 0; i < 40; i++) { await fetch(args[0] + '/trickle?4'); self.done++; } } catch (e) { if (e.code !== 'EOVERLOAD') throw e; }
        for (let i = 0; i < 20; i++) new Uint8Array(1e6);
        return self.done;`, base)) > 300);
      await ctl(node, 'stop', `web/${type}/careless`);
      await opened(0);
    });
  });
}

test('a fetch leaves after the state it was caused in is on disk', async () => {
  const ref = node.client.actor('web/I', 'gate');
  const before = heard.length;
  await ref.ask('run', `self.state.f = () => {}; fetch(args[0] + '/echo').catch(() => {});`, base).catch(() => {}); // it crashes: this cannot be saved
  assert.equal(await ref.ask('run', `return (await fetch(args[0] + '/size', { method: 'POST', body: 'x' })).status`, base), 200);
  assert.deepEqual(heard.slice(before), ['POST /size']);
});
