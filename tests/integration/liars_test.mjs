// SPDX-License-Identifier: Apache-2.0
//
// Apps that are not what they seem: paths and links that lead out, files that are none, manifests of other encodings and of letters that only look
// alike. Each is refused with the whole sentence that is read here, at once, and nothing reaches an agent.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { fakeAgent } from './fake_agent.mjs';
import { ctl, scratch } from './ctl.mjs';

const code = 'export default () => {};\n';
const actor = (module = './a.js') => ({ name: 'shop', actors: { A: { module } } });
const service = { name: 'shop', actors: { S: { module: './a.js', kind: 'service' } } };
const result = (m) => ({ app: m.args[0].app, release: '0123456789abcdef', unchanged: false, types: ['A'], nodes: ['east'], later: [] });

/** An app of these files, and what `more` does in its directory. */
function app(t, files, more = () => {}) {
  const base = scratch(t), dir = path.join(base, 'app');
  fs.writeFileSync(path.join(base, 'out.js'), code);
  fs.mkdirSync(dir);
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), typeof text === 'string' || Buffer.isBuffer(text) ? text : JSON.stringify(text));
  }
  more(dir);
  return { base, dir };
}
async function deploy(t, { base, dir }) {
  const agent = await fakeAgent(path.join(base, 'agent.sock'), { deploy: result });
  t.after(() => agent.close());
  const done = await ctl(['deploy', dir], { node: agent.path, env: { HOME: base, TMPDIR: base } });
  return { agent, ...done, stderr: done.stderr.replaceAll(dir, 'DIR').replaceAll(base, 'BASE') };
}
const link = (to, name = 'a.js') => (dir) => fs.symlinkSync(to, path.join(dir, name));
const fifo = (name) => (dir) => execFileSync('mkfifo', [path.join(dir, name)]);
const bytes = (text, encoding) => Buffer.from(text, encoding);

const at = 'isola.json:1:40: actors.A.module: ';
const refused = {
  // paths
  'a path that leads up': [{ 'isola.json': actor('../out.js') }, , `${at}"../out.js" leads out of the app's directory`],
  'a path that leads up on its way': [{ 'isola.json': actor('./sub/../../out.js'), 'sub/x': '' }, , `${at}"./sub/../../out.js" leads out of the app's directory`],
  'an absolute path': [{ 'isola.json': actor('/etc/passwd') }, , `${at}must be a path relative to the app's directory, such as "./counter.js", not "/etc/passwd"`],
  'the directory itself': [{ 'isola.json': actor('.') }, , `${at}must be the path of a file such as "./counter.js", not "."`],
  'a directory': [{ 'isola.json': actor('sub'), 'sub/x': '' }, , `${at}"sub" in DIR is not a regular file`],
  'a backslash': [{ 'isola.json': actor('..\\out.js') }, , `${at}there is no file "..\\out.js" in DIR`],
  // links
  'a module that is a link to elsewhere': [{ 'isola.json': actor() }, link('../out.js'), `${at}"a.js" leads to BASE/out.js, outside the app's directory DIR`],
  'a module behind a directory that is a link': [{ 'isola.json': actor('./d/out.js') }, link('..', 'd'), `${at}"d/out.js" leads to BASE/out.js, outside the app's directory DIR`],
  'a module that is a link to itself': [{ 'isola.json': actor() }, link('a.js'), `${at}cannot use "a.js" in DIR: Too many levels of symbolic links`],
  'a link of a service to elsewhere': [{ 'isola.json': service, 'a.js': code }, link('../out.js', 'l'), 'the link l leads out of the app: to ../out.js'],
  'a link of a service to a directory elsewhere': [{ 'isola.json': service, 'a.js': code }, link('..', 'l'), 'the link l leads out of the app: to ..'],
  'a link of a service to an absolute path': [{ 'isola.json': service, 'a.js': code }, link('/etc/passwd', 'l'), 'the link l leads out of the app: to /etc/passwd'],
  'a chain of links of a service to elsewhere': [{ 'isola.json': service, 'a.js': code }, (dir) => { link('m', 'l')(dir); link('sub/n', 'm')(dir); fs.mkdirSync(`${dir}/sub`); link('../../out.js', 'sub/n')(dir); },
    'the link sub/n leads out of the app: to ../../out.js'],
  'a link to elsewhere beside the packages, on which nobody depends': [{ 'isola.json': service, 'a.js': code, 'package.json': { name: 'shop' }, 'node_modules/x': '' },
    (dir) => { fs.mkdirSync(`${dir}/../lib`); link('../../lib', 'node_modules/lib')(dir); },
    'the link node_modules/lib leads out of the app: to ../../lib; `npm install --install-links` has a copy of the package instead'],
  'a linked package with a link to elsewhere': [{ 'isola.json': service, 'a.js': code, 'package.json': { name: 'shop', dependencies: { lib: 'file:../lib' } }, 'node_modules/x': '' },
    (dir) => { fs.mkdirSync(`${dir}/../lib`); link('../../lib', 'node_modules/lib')(dir); link('/etc/passwd', '../lib/l')(dir); },
    'the link node_modules/lib/l leads out of the app: to /etc/passwd; `npm install --install-links` has a copy of the package instead'],
  // files that are none
  'a module that is a FIFO': [{ 'isola.json': actor() }, fifo('a.js'), `${at}"a.js" in DIR is not a regular file`],
  'a manifest that is a FIFO': [{}, fifo('isola.json'), 'cannot read DIR/isola.json: not a regular file'],
  'a manifest that has no end': [{}, link('/dev/zero', 'isola.json'), 'cannot read DIR/isola.json: not a regular file'],
  'a package.json that is a FIFO': [{ 'a.actor.js': code }, fifo('package.json'), 'cannot read DIR/package.json: not a regular file'],
  'a package.json that is a FIFO, beside a manifest': [{ 'isola.json': actor(), 'a.js': code }, fifo('package.json'), 'cannot read DIR/package.json: not a regular file'],
  'a package.json that is a directory': [{ 'isola.json': service, 'a.js': code, 'package.json/x': '' }, , 'cannot read DIR/package.json: not a regular file'],
  'a package.json that is huge': [{ 'a.actor.js': code, 'package.json': { name: 'x', y: 'y'.repeat(3e6) } }, , 'package.json has more than 1 MiB, the most a manifest may have'],
  // texts
  'one byte too many': [{ 'isola.json': JSON.stringify(actor()).padEnd((1 << 20) + 1), 'a.js': code }, , 'isola.json has more than 1 MiB, the most a manifest may have'],
  'too deep': [{ 'isola.json': `{"name":"shop","actors":${'['.repeat(5000)}${']'.repeat(5000)}}` }, , 'isola.json:1:56: nested deeper than 32'],
  'a key that is there twice': [{ 'isola.json': '{"name":"shop",\n"name":"mail","actors":{"A":{"module":"./a.js"}}}' }, , 'isola.json:2:1: the key "name" is there twice'],
  'a type that is there twice': [{ 'isola.json': '{"name":"shop","actors":{"A":{"module":"./a.js"},\n  "A":{"module":"./b.js"}}}' }, , 'isola.json:2:3: the key "A" is there twice'],
  'UTF-16': [{ 'isola.json': bytes(`\ufeff${JSON.stringify(actor())}`, 'utf16le') }, , 'isola.json is in UTF-16: save it as UTF-8'],
  'Latin-1': [{ 'isola.json': bytes('{"name":"k\xe4se"}', 'latin1') }, , 'isola.json:1:10: not JSON: unable to decode byte 0xe4 near \'"k\''],
  'a NUL': [{ 'isola.json': '{"name":"sh\0op"}' }, , 'isola.json:1:11: not JSON: control character 0x0 near \'"sh\''],
  'a NUL that is escaped': [{ 'isola.json': '{"name":"sh\\u0000op"}' }, , 'isola.json:1:20: \\u0000 is not allowed in strings'],
  'nothing': [{ 'isola.json': '' }, , 'isola.json: the file is empty'],
  // letters that look as others do
  'a name in other letters': [{ 'isola.json': { ...actor(), name: '\u0455hop' } }, ,
    'isola.json:1:9: name: must be an app\'s name (a lower-case letter, then lower-case letters, digits or "-", 64 at the most), not "\\u0455hop"'],
  'a type in other letters': [{ 'isola.json': { name: 'shop', actors: { '\u0421ounter': { module: './a.js' } } } }, ,
    'isola.json:1:26: actors."\\u0421ounter": not a valid type name: a letter, then letters, digits or "_", 64 at the most'],
  'a key in other letters': [{ 'isola.json': { name: 'shop', '\u0430ctors': {} } }, , /^isola\.json:1:16: "\\u0430ctors": unknown key, not one of .*; did you mean "actors"\?$/],
};

for (const [name, [files, more, says]] of Object.entries(refused)) {
  test(name, async (t) => {
    const { agent, status, stdout, stderr } = await deploy(t, app(t, files, more));
    assert.deepEqual([status, stdout, agent.connections], [1, '', 0], stderr);
    if (typeof says === 'string') assert.equal(stderr, `ctl: ${says}\n`);
    else assert.match(stderr.slice('ctl: '.length, -1), says);
  });
}

test('what is taken: the largest manifest, a mark at its beginning, a link within the app', async (t) => {
  for (const text of [JSON.stringify(actor()).padEnd(1 << 20), `\ufeff${JSON.stringify(actor())}`]) {
    const { agent, status, stderr } = await deploy(t, app(t, { 'isola.json': text, 'b.js': code }, link('b.js')));
    assert.deepEqual([status, stderr], [0, '']);
    assert.equal(agent.to('deploy')[0].args[0].manifest, JSON.stringify(actor()));
  }
  const packaged = await deploy(t, app(t, { 'package.json': `\ufeff${JSON.stringify({ name: 'shop', isola: { actors: actor().actors } })}`, 'a.js': code }));
  assert.deepEqual([packaged.status, packaged.stderr], [0, '']);
});

test('a bundle that is too large: its type, and what is large in it', async (t) => {
  const large = (n) => `export default "${'x'.repeat(n)}";\n`;
  const { status, stderr, agent } = await deploy(t, app(t, {
    'isola.json': { name: 'shop', actors: { Small: { module: './small.js' }, Cart: { module: './cart.js' } } },
    'small.js': code,
    'cart.js': "import a from './data/table.js';\nimport b from '@acme/big';\nimport c from '@acme/big/more.js';\nexport default () => [a, b, c];\n",
    'data/table.js': large(15 << 20),
    'node_modules/@acme/big/package.json': { name: '@acme/big', main: 'index.js' },
    'node_modules/@acme/big/index.js': large(9 << 20), 'node_modules/@acme/big/more.js': large(9 << 20),
  }));
  assert.deepEqual([status, agent.connections], [1, 0]);
  assert.equal(stderr, 'ctl: the bundle of Cart has 33.0 MB; 32 MB are allowed; most of it is node_modules/@acme/big (18 MB), data/table.js (15 MB), cart.js (69 B)\n');
});
