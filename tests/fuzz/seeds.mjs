// SPDX-License-Identifier: Apache-2.0
//
// Writes the files of corpus/ that fuzzing begins from: good messages, manifests and maps, and some that are nearly good.
//
//   node tests/fuzz/seeds.mjs
//
// What a fuzzer found wrong once is kept beside them, under a name that says what it was (found-…); this leaves it alone.
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { encodeArgs, kAddress } from '../../actors/lib/client/codec.js';
import { ASK, CANCEL, EMIT, encodeFrame, EVENT, FAIL, REPLY, START, STOP, SUB, UNSUB } from '../../actors/lib/client/envelope.js';

const here = import.meta.dirname;
const save = (target, name, bytes) => {
  const dir = path.join(here, 'corpus', target);
  mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(dir, name), bytes);
};
const source = (name) => readFileSync(path.join(here, '../..', name), 'utf8');
// An error with the same stack wherever this runs.
const error = (made, more = {}) => Object.assign(made, more, { stack: `${made.name}: ${made.message}\n    at add (counter.js:3:9)` });
const hex = (s) => Buffer.from(s.replace(/\s/g, ''), 'hex');

// --- values ---

const loop = { name: 'loop' };
loop.self = loop;
const shared = [1, 2];
const values = {
  numbers: [0, 127, 128, 256, 65536, 2 ** 32, 2 ** 53, 2 ** 53 + 2, -1, -33, -129, -32769, -(2 ** 31) - 1, -(2 ** 53), -0, 1.5, NaN, -Infinity],
  texts: ['', 'é€😀', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(256), '\u001b[31m'],
  within: [new Map([['\u00e9'.repeat(64), new Set(['\ud800'])]]), error(new Error('no', { cause: '\u65e5'.repeat(64) }))],
  units: ['x'.repeat(1024), '\u00e9'.repeat(64), '\u65e5\u672c'.repeat(40), '\ud800', `${'x'.repeat(200)}\u65e5`, `\u65e5${'x'.repeat(200)}`],
  small: [null, true, false, undefined],
  nested: [[1, [2, [3, {}]]], { a: { b: { c: [] } } }],
  many: [Array(16).fill(0), Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`k${i}`, i]))],
  bigints: [0n, 1n, -256n, 2n ** 64n, -(2n ** 200n)],
  dates: [new Date(5), new Date(NaN)],
  maps: [new Map([['a', 1], [{}, new Map()]]), new Set([1, new Set()])],
  patterns: [/a+/gi, /(?<n>x)/v],
  errors: [error(new Error('no', { cause: error(new TypeError('why')) }), { code: 'EPERM' }), error(new RangeError('far'))],
  arrays: [new Uint8Array([1, 2]), new Int8Array([-1]), new Float64Array([1.5, NaN]), new BigUint64Array([2n ** 64n - 1n]), new DataView(new ArrayBuffer(3)), new ArrayBuffer(4)],
  refs: [{ [kAddress]: 'shop/Counter/user-42' }],
  cycles: [loop, shared, shared, new Map([[shared, loop]])],
};
for (const [name, list] of Object.entries(values)) {
  const bytes = encodeArgs(list);
  for (const target of ['msgpack', 'value', 'codec', 'older']) save(target, name, bytes);
}
const lies = {
  'count-of-4g': '91 dd ffffffff', 'map-of-4g': '91 df ffffffff', 'text-of-4gb': '91 db ffffffff', 'extension-of-4gb': '91 c9 ffffffff 04',
  'reserved-byte': '91 c1', 'backref-to-nothing': '91 d40907', 'backref-to-the-args': '91 d40900', 'half-a-unit': '91 d40d41', 'regexp-of-one': '91 c70306a2612b', 'error-of-no-map': '91 d40701',
  'odd-typed-array': '91 c7020806 01', 'bigint-without-sign': '91 c70002', 'float32': '91 ca 3fc00000', 'long-forms': '92 cc05 d3ffffffffffffffff',
};
for (const [name, bytes] of Object.entries(lies)) for (const target of ['msgpack', 'value', 'codec', 'older']) save(target, name, hex(bytes));
save('codec', 'deep', Buffer.concat([Buffer.alloc(300, 0x91), hex('c0')]));
save('msgpack', 'deep', Buffer.concat([Buffer.alloc(300, 0x91), hex('c0')]));
for (const [name, text] of Object.entries({ object: '{"a":[1,2.5,-3e7,null,true,"\\u00e9"]}', base64: '{"$base64":"AQID"}', actor: '{"$actor":"shop/Counter/a"}', word: 'hello' }))
  save('value', `json-${name}`, text);

// --- envelopes, frames ---

const messages = {
  ask: { kind: ASK, id: 7, dst: 'shop/Counter/a', event: 'add', timeout: 5000, args: [5] },
  emit: { kind: EMIT, dst: 'shop/Counter/a', event: 'add', args: [1, 'two', { three: 3 }] },
  reply: { kind: REPLY, id: 7, args: [{ ok: true }] },
  fail: { kind: FAIL, id: 7, args: [error(new Error('no'), { code: 'EFAILED' })] },
  sub: { kind: SUB, id: 9, dst: 'shop/Counter/a', event: 'changed' },
  unsub: { kind: UNSUB, id: 9, dst: 'shop/Counter/a', event: 'changed' },
  event: { kind: EVENT, id: 9, src: 'shop/Counter/a', event: 'changed', args: [1] },
  stop: { kind: STOP, id: 8, dst: 'shop/Counter/a' },
  start: { kind: START, id: 8, dst: 'shop/Counter/a' },
  cancel: { kind: CANCEL, id: 7, dst: 'shop/Counter/a' },
};
const envelope = (m) => Buffer.from(encodeFrame(m)).subarray(4);
for (const [name, m] of Object.entries(messages)) save('envelope', name, envelope(m));
save('envelope', 'chain', hex('99 01 01 07 a0 a3612f62 a161 00 92 a5612f622f63 a5612f622f64 90'));
const stream = Buffer.concat(Object.values(messages).map((m) => Buffer.from(encodeFrame(m))));
for (const torn of [0, 6, 255]) save('flow', `torn-${torn + 1}`, Buffer.concat([Buffer.from([torn]), stream]));
save('flow', 'goodbye', hex('03 00000001 61 00000000 00000001 62'));
save('flow', 'parts', hex('02 8200000f 00000001 0000000000000005 616263 8100000600000001 6465 8300000801020304050607 08'));
save('flow', 'heads', hex('05 8500001d 0007 9c0202000000a5612f412f31a5622f422f32a2676f00c400909101 86000004 0007 9102 86000004 0008 9102 86000003 0007 91'));
save('flow', 'too-long', hex('ff 00000001 61 ff000000 61'));

// --- addresses, urls ---

['shop/Counter/user-42', 'a/B/c/d/e', 'a-b/C_1/é', 'a//b', '/a/b', 'a/b/', `a/b/${'k'.repeat(508)}`, 'unix:/tmp/isola.sock', 'tcp://127.0.0.1:4711', 'tcp://[::1]:80',
  'tcp://localhost:0', 'tcp://10.0.0.1:1', 'tcp://127.0.0.1:65536'].forEach((text, i) => save('address', String(i), text));

// --- manifests ---

save('manifest', 'counter', source('examples/counter/isola.json'));
save('manifest', 'airports', source('examples/airports/isola.json'));
save('manifest', 'everything', JSON.stringify({
  $schema: 'https://example.org/isola.json', name: 'shop-2',
  actors: {
    A: { module: './a//b/../counter.js', isolation: 'shared', reentrant: true, kind: 'actor', hibernateAfter: 'never', strategy: 'rest_for_one',
      restart: { max: 0, within: '1m', backoff: '0ms', maxBackoff: '2s' } },
    B_1: { module: 'session.ts', heap: '64MB', external: '1GB', cpu: '500ms', mailbox: 17, mailboxBytes: '1MB', message: '1MB', output: '1MB', asks: 1, timers: 2,
      subscriptions: 3, logRate: 4, sqlBytes: '1MB' },
  },
  permissions: { net: ['api.example.com:443', '*.example.org', '[::1]:80'], env: ['TZ'], apps: ['mail'] },
}));
save('manifest', 'near-misses', '{ "name": "Shop", "actor": {}, "actors": { "a b": { "modul": "../a.js", "heap": "64", "cpu": -1 } }, "name": "x" }');
save('manifest', 'routes', '{ "name": "shop", "actors": { "A": { "module": "a.js" } }, "routes": [ { "path": "/:id", "actor": "A", "key": ":id" } ] }');

// --- releases ---

const bytes = (text) => new Uint8Array(Buffer.from(text)); // bin
const manifest = '{"name":"shop","actors":{"A":{"module":"a.js"},"B":{"module":"b.js"}}}';
const release = { app: 'shop', manifest, bundles: [
  { type: 'A', code: bytes('export default () => {};'), map: bytes('') }, { type: 'B', code: bytes('export default () => {};'), map: bytes('{}') }] };
const value = (v) => Buffer.from(encodeArgs([v])).subarray(1); // without the head of the args
save('release', 'shop', value(release));
save('release', 'no-bundle', value({ ...release, bundles: release.bundles.slice(1) }));
save('release', 'wrong-id', value({ ...release, release: '0123456789abcdef', revision: 7, deployed_ms: 1 }));
save('release', 'twice', value({ ...release, bundles: [release.bundles[0], release.bundles[0]] }));

// --- source maps ---

save('sourcemap', 'two-files', '{"version":3,"sources":["lib/step.ts","main.ts"],"sourcesContent":["{[\\"",null],"names":["a"],"mappings":";AAAA,SAASA,EAAE;;ACCZ,gBAAAA"}');
save('sourcemap', 'root', '{"version":3,"sourceRoot":"src","sources":["a.js"],"names":[],"mappings":"AAAA;AACA;;AAEA"}');
save('sourcemap', 'sections', '{"version":3,"sections":[]}');
save('sourcemap', 'far', '{"version":3,"sources":["a.js"],"names":[],"mappings":"AAAA,gggggggE;+/////D"}');

// --- identities (the first byte: 0 a node's chain, 1 an actor-host's, 2 removed nodes, 3 a token); the keys are those of identity_fuzz.c ---

const PKCS8 = { ed25519: '302e020100300506032b657004220420', x25519: '302e020100300506032b656e04220420' };
const keyOf = (kind, letter) => {
  const secret = createPrivateKey({ key: Buffer.concat([hex(PKCS8[kind]), Buffer.alloc(32, letter)]), format: 'der', type: 'pkcs8' });
  return { secret, public: new Uint8Array(createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32)) };
};
const clusterKey = keyOf('ed25519', 'c'), nodeKey = keyOf('ed25519', 'n'), nodeStatic = keyOf('x25519', 'n'), hostStatic = keyOf('x25519', 'h');
// BLAKE2b of 32 bytes is not among OpenSSL's digests: these two are what it gives for the keys above.
const blake = { cluster: hex('cf878085b89626e9f9ae128fdfecff80d40d19215cc1c9b380d7bd52a12277fb'), node: hex('8baff4899466729df2ba431cf8c8d219b45c5b9d1c707de5e9dbf01ddd607bb1') };
const bin = (b) => new Uint8Array(b);
const certificateOf = (name) => signed(clusterKey, 'isola node certificate 1', [1, bin(blake.cluster), name, keyOf('ed25519', name[0]).public, keyOf('x25519', name[0]).public, 5, 1700000000000]);
const signed = (key, prefix, body) => {
  const encoded = value(body);
  return value([bin(encoded), bin(sign(null, Buffer.concat([Buffer.from(`${prefix}\0`), encoded]), key.secret))]);
};
const nodeCert = signed(clusterKey, 'isola node certificate 1', [1, bin(blake.cluster), 'west', nodeKey.public, nodeStatic.public, 7, 1700000000000]);
const hostCert = signed(nodeKey, 'isola host certificate 1', [1, bin(blake.node), hostStatic.public, 1700000001000]);
const removal = signed(clusterKey, 'isola node removal 1', [1, nodeKey.public, 'west', 7, 1700000002000]);
const kind = (n, bytes_) => Buffer.concat([Buffer.from([n]), bytes_]);
save('identity', 'node', kind(0, value([bin(nodeCert)])));
save('identity', 'host', kind(1, value([bin(nodeCert), bin(hostCert)])));
save('identity', 'host-as-node', kind(0, value([bin(nodeCert), bin(hostCert)])));
save('identity', 'removals', kind(2, value([bin(removal), bin(removal)])));
save('identity', 'certificate-as-removal', kind(2, value([bin(nodeCert)])));
save('identity', 'token', kind(3, Buffer.from('isola_lgHEIKf236-POLibqM5km1lPkeTQH9xX-clJPfQ7XlCpmHNnxAgBAQEBAQEBAcQgAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgLPAAABi8_laACRs3RjcDovLzEwLjAuMC4xOjQ3MTEkbLPr')));
save('identity', 'typo', kind(3, Buffer.from('isola_x')));

// --- the secure channel: what the two ends of docs/security.md say; the first byte says who hears it, for `secure` the second how it is torn ---

const vectors = Object.fromEntries([...source('docs/security.md').matchAll(/^((?:XX|IK|refusal) [^=\n]*) = ([0-9a-f]+)$/gm)].map(([, name, bytes_]) => [name, hex(bytes_)]));
const vector = (...names) => Buffer.concat(names.map((name) => vectors[name]));
for (const [number, pattern] of ['XX', 'IK'].entries()) {
  const message = (n) => `${pattern} message ${n}`, last = pattern === 'XX' ? [message(3)] : [];
  const told = { responder: [message(1), ...last, `${pattern} initiator's record 0`], initiator: [message(2), `${pattern} responder's record 0`] };
  for (const [i, [who, names]] of Object.entries(told).entries()) {
    const who_ = Buffer.from([2 * number + i]), preamble = i === 0 ? [`${pattern} preamble`] : [];
    save('noise', `${pattern}-${who}`, Buffer.concat([who_, vector(...names)]));
    for (const torn of [0, 255]) save('secure', `${pattern}-${who}-torn-${torn + 1}`, Buffer.concat([who_, Buffer.from([torn]), vector(...preamble, ...names)]));
    save('secure', `${pattern}-${who}-refused`, Buffer.concat([who_, hex('ff'), vector(...preamble, ...(i === 0 ? names.slice(0, 1) : []), 'refusal by versions 4 to 5')]));
  }
  const edits = { none: '', 'preamble-9': '00 0009 03', 'preamble-11': '00 000b 01', 'last-record': '01 00a0 80', 'drop-and-insert': '02 0020 00  04 0020 ff', stop: '06 0060 00', stretch: '00 0010 7f  04 0030 00  04 0030 00' };
  for (const [name, list] of Object.entries(edits)) save('secure', `${pattern}-edits-${name}`, Buffer.concat([Buffer.from([4 + 2 * number, 63]), hex(list)]));
}
save('secure', 'http', Buffer.concat([hex('00 07'), Buffer.from('GET / HTTP/1.1\r\n\r\n')]));
save('secure', 'version-1', hex('00 ff 00000010 99 01 01 07 a0 a0 a5 68656c6c6f 00 90 90'));

// --- a whole agent: who speaks (a number of agent_fuzz.c), then frames ---

const CLIENT = 0, ANOTHER_CLIENT = 1, PEER = 2, ANOTHER_PEER = 3, HOST = 4, DIALLED = 5, END = 6;
const said = (list) => Buffer.concat(list.map((m) => typeof m === 'number' ? Buffer.from([m]) : envelope(m)));
const call = (event, params, id = 7) => ({ kind: ASK, id, event, timeout: 3000, args: params === undefined ? [] : [params] });
const tell = (event, params) => ({ kind: EMIT, event, args: [params] });
const record = (name, port) => ({ certificate: bin(certificateOf(name)), keeper: false, host_key: keyOf('x25519', 'h').public, host_started: 5, name, url: `tcp://127.0.0.1:${port}`, host_url: `tcp://127.0.0.1:${port + 1}`, pid: 1, host_pid: 2, threads: 2, started_ms: 3, version: '0.1.0' });
const ready = [HOST, tell('ready', { pid: 5, threads: 2 }), { kind: REPLY, id: 2 ** 32, args: [{ url: 'tcp://127.0.0.1:4001' }] }];
const join = (name, port, more = {}) => call('join', { node: record(name, port), wire: 2, version: '0.1.0', nodes: [], down: [], removed: [], releases: [], ...more });
const line = { time: 5, level: 'info', node: 'b', address: 'shop/Counter/a', text: 'hello' };
// The ids an agent gives its own asks begin at 2^32 and count from there (node-agent/asks.c).
const asked = (n) => 2 ** 32 + n + 1; // the first was for the actor-host's credentials
const removalOf = (name) => signed(clusterKey, 'isola node removal 1', [1, keyOf('ed25519', name[0]).public, name, 5, 1700000002000]);
const tokenId = bin(Buffer.alloc(8, 1));
const certifyRequest = (() => {
  const key = keyOf('ed25519', 'n').public, fixed = keyOf('x25519', 'n').public, name = 'north';
  const signature = sign(null, Buffer.concat([Buffer.from('isola certificate request 1\0'), value([tokenId, name, key, fixed])]), nodeKey.secret);
  return { token: tokenId, secret: bin(Buffer.alloc(32, 2)), name, key, static: fixed, signature: bin(signature) };
})();
const scenes = {
  'hello': [CLIENT, call('hello', { program: 'ctl', version: '0.1.0' }), call('nodes'), call('ps', {}), call('ps', { app: 'shop', local: true, limit: 3 })],
  'messages-wait': [CLIENT, messages.ask, messages.emit, messages.sub, messages.unsub, messages.cancel, ...ready, CLIENT, messages.stop, messages.start],
  'deploy': [...ready, CLIENT, call('deploy', release), HOST, ...[0, 1, 2, 3].map((n) => ({ kind: REPLY, id: asked(n), args: [null] })), CLIENT, call('deploy', release, 8), call('ps', { app: 'shop' }, 9)],
  'logs': [...ready, tell('log', line), CLIENT, call('logs', { lines: 5, follow: true }), HOST, tell('log', { ...line, level: 'error' }), CLIENT, END],
  'letters': [...ready, CLIENT, call('dead-letters', { of: 'shop' }), call('dead-letters', { of: '', node: 'b', after: 0, wait: 100 }, 8), call('inspect', { address: 'shop/Counter/a', what: 'heap' }, 9),
    call('inspect_read', { node: 'b', id: 1, offset: 0 }, 10), HOST, END],
  'join': [...ready, PEER, join('a', 5000), call('ping', {}), call('ps', { local: true }), call('logs', { local: true, follow: true }), tell('log', line), tell('node', { node: record('a', 5000) }), END],
  'join-knows-others': [...ready, PEER, join('a', 5000, { nodes: [record('c', 6000)], down: [record('d', 7000)], releases: [{ app: 'shop', release: '0123456789abcdef', revision: 9 }] }),
    DIALLED, { kind: REPLY, id: asked(1), args: [{ node: record('c', 6000), nodes: [], down: [], releases: [] }] }, END],
  'init-and-token': [...ready, CLIENT, call('init', { name: 'again' }), call('token', { expires_ms: 60000 }, 8), call('remove', { node: 'a', force: true }, 9), call('remove', { node: 'b' }, 10)],
  'certify': [...ready, ANOTHER_PEER, call('certify', certifyRequest), END, call('certify', { ...certifyRequest, name: 'south' }, 8), END, call('certify', { token: bin(Buffer.alloc(8, 9)) }, 9), call('ps', {})],
  'join-certify-remove': [...ready, ANOTHER_PEER, call('certify', certifyRequest, 8), PEER, join('a', 5000), CLIENT, call('remove', { node: 'north', force: true }), PEER,
    tell('removed', { entries: [bin(removal)] }), call('remove', { node: 'a', force: true }, 9), END],
  'removed': [...ready, PEER, join('a', 5000, { removed: [bin(removalOf('b'))] }), CLIENT, messages.ask, call('nodes')],
  'prepare-and-commit': [...ready, PEER, join('a', 5000), call('prepare', release, 8), call('commit', { app: 'shop', release: '0123456789abcdef', revision: 9 }, 9), call('fetch', { app: 'shop' }, 10)],
  'two-peers': [PEER, join('a', 5000), END, PEER, join('a', 5001), join('c', 6000), ANOTHER_CLIENT, call('nodes')],
  'stranger': [ANOTHER_PEER, call('ps', {})],
  'answers-to-nothing': [CLIENT, messages.reply, ANOTHER_CLIENT, messages.event, HOST, messages.reply, messages.event, messages.ask],
};
for (const [name, list] of Object.entries(scenes)) save('agent', name, said(list));
save('agent', 'cut-off', said(scenes.deploy).subarray(0, 90));
