// SPDX-License-Identifier: Apache-2.0
//
// The files of a release: sent once, pulled by each node before it takes the release, also by one that was away, and dropped when no
// release has them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';

import { encode } from '@msgpack/msgpack';

import { Cluster, ctl, ctlOk, killNode, nodes, until } from './cluster.mjs';

const PIECE = 4 << 20;
const cluster = new Cluster();
let east, west, south;
before(async () => {
  east = await cluster.node('east');
  west = await cluster.node('west', east);
  south = await cluster.node('south', east);
  await until('all are up', async () => (await nodes(east)).filter((n) => n.state === 'up').length === 3);
});
after(() => cluster.end());

const blake2b = (bytes) => Buffer.from(execFileSync('b2sum', ['-l', '256', '-'], { input: bytes, encoding: 'latin1' }).slice(0, 64), 'hex');
const pieces = (content) => Array.from({ length: Math.ceil(content.length / PIECE) }, (_, i) => content.subarray(i * PIECE, (i + 1) * PIECE));
const hashes = (content) => Buffer.concat(pieces(content).map((p) => blake2b(p)));
/** The list of files that a release has, of { path: content }. */
const tree = (files) => encode(Object.keys(files).sort().map((path) => [path, 0, files[path].length, hashes(files[path])]));
const release = (files, list = tree(files)) => ({
  app: 'f', manifest: JSON.stringify({ name: 'f', actors: { A: { module: './a.js' } } }),
  bundles: [{ type: 'A', code: Buffer.from('export default (self) => { self.on("n", () => 1); };'), map: Buffer.alloc(0) }], files: list,
});
const missing = async (agent, ...contents) => (await agent.client.call('missing', { pieces: Buffer.concat(contents.map(hashes)) })).missing.length / 32;
const send = async (agent, content) => {
  for (const piece of pieces(content)) await agent.client.call('pieces', { pieces: [piece] });
};
const cache = async (agent, ...args) => JSON.parse(await ctlOk(agent, '--json', 'cache', ...args));

const small = Buffer.from('a small file'), large = randomBytes(2 * PIECE + 5), other = Buffer.from('another one'), empty = Buffer.alloc(0);

test('a release is refused until the pieces of its files are there', async () => {
  const r = release({ 'a.txt': small, 'b/large': large, 'b/empty': empty });
  assert.equal(await missing(east, small, large, small), 4);
  await assert.rejects(east.client.call('deploy', r), { code: 'ENOENT', message: /^4 of the pieces that the app's files are made of are not here/ });
  await send(east, small);
  await assert.rejects(east.client.call('deploy', r), { code: 'ENOENT', message: /^3 of the pieces/ });
  await send(east, large);
  assert.equal(await missing(east, small, large), 0);
});

test('nodes have its files when it is current', async () => {
  const { nodes: taken } = await east.client.call('deploy', release({ 'a.txt': small, 'b/large': large, 'b/empty': empty }));
  assert.deepEqual([...taken].sort(), ['east', 'south', 'west']);
  for (const agent of [east, west, south]) assert.equal(await missing(agent, small, large), 0, agent.name);
  const { all, used } = await cache(west);
  assert.deepEqual(all, used);
  assert.deepEqual(all, { pieces: 4, bytes: small.length + large.length });
});

test('a node that was away pulls them when it is back, and what it has not', async () => {
  await killNode(cluster, south);
  await send(east, other);
  const { later } = await east.client.call('deploy', release({ 'a.txt': small, 'c.txt': other }));
  assert.deepEqual(later, ['south']);
  south = await cluster.node('south');
  await until('it has them', async () => (await missing(south, other)) === 0);
  const again = await south.client.call('deploy', release({ 'a.txt': small, 'c.txt': other }));
  assert.equal(again.unchanged, true);
});

test('what no release has is counted, and dropped', async () => {
  await send(east, Buffer.from('of no release'));
  const before = await cache(east);
  assert.equal(before.all.pieces, before.used.pieces + 1);
  assert.match(await ctlOk(east, 'cache'), /^node east has 6 pieces of files, [\d.]+ MB; its releases have 5 pieces of files, [\d.]+ MB of these: 'ctl cache --prune' drops the others\n$/);
  assert.match(await ctlOk(east, 'cache', '--prune'), /^node east has 5 pieces of files, [\d.]+ MB; it had 1 piece of files, 13 B more, which no release has\n$/);
  const { gone, all, used } = await cache(east, '--prune');
  assert.deepEqual([gone.pieces, all], [0, used]);
});

test('what is no list of files is refused', async () => {
  const bad = [
    [encode([['../x', 0, 0, Buffer.alloc(0)]]), /"\.\.\/x" is no path of a file in an app/],
    [encode([['/etc/passwd', 0, 0, Buffer.alloc(0)]]), /is no path of a file/],
    [encode([['l', 2, '/etc/passwd']]), /the link l leads out of the app: to \/etc\/passwd/],
    [encode([['b', 0, 0, Buffer.alloc(0)], ['a', 0, 0, Buffer.alloc(0)]]), /a is there twice, or not in its place/],
    [encode([['a', 0, 5, Buffer.alloc(0)]]), /malformed at number 0/],
    [Buffer.from('x'), /no such list/],
  ];
  for (const [files, message] of bad) await assert.rejects(east.client.call('deploy', release({}, files)), { code: 'EINVAL', message });
  for (const params of [{}, { pieces: Buffer.alloc(31) }, { pieces: 'x' }]) await assert.rejects(east.client.call('missing', params), { code: 'EINVAL' });
  for (const params of [{}, { pieces: 'x' }, { pieces: ['x'] }]) await assert.rejects(east.client.call('pieces', params), { code: 'EINVAL' });
  await assert.rejects(east.client.call('pieces', { pieces: [Buffer.alloc(PIECE + 1)] }), { code: 'ETOOBIG' });
  const { status, err } = await ctl(east, 'cache', 'x');
  assert.equal(status, 2, err);
});
