// SPDX-License-Identifier: Apache-2.0
//
// What the actor-host's main thread does for scripts: where an app may connect, and that each job ends once, whatever it is given.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const require = createRequire(import.meta.url);
const dir = '../../node-agent/actor-host/outside';
const { parse, permits, wanted } = require(`${dir}/net.cjs`);
const outside = require(`${dir}/index.cjs`);

test('where an app may connect', () => {
  const rows = [
    ['example.com', 'https://example.com/', true], ['example.com', 'http://example.com/x', true], ['example.com', 'https://example.com:8443/', false], ['example.com', 'https://EXAMPLE.com/', true],
    ['example.com', 'https://example.com./', true], ['example.com', 'https://www.example.com/', false], ['example.com', 'https://example.com.evil.org/', false], ['example.com', 'https://notexample.com/', false],
    ['example.com:443', 'https://example.com/', true], ['example.com:443', 'http://example.com/', false], ['example.com:443', 'http://example.com:443/', true], ['example.com:80', 'http://example.com/', true],
    ['example.com:*', 'https://example.com:1/', true], ['*', 'https://any.org/', true], ['*', 'https://any.org:444/', false], ['*:*', 'http://any.org:444/', true], ['*:8080', 'http://any.org:8080/', true],
    ['*.example.com', 'https://a.example.com/', true], ['*.example.com', 'https://a.b.example.com/', true], ['*.example.com', 'https://example.com/', false], ['*.example.com', 'https://xexample.com/', false], ['*.example.com:81', 'http://a.example.com:81/', true],
    ['127.0.0.1', 'http://127.0.0.1/', true], ['127.0.0.1', 'http://2130706433/', true], ['127.0.0.1', 'http://localhost/', false], ['[::1]:80', 'http://[0:0::1]/', true], ['[::1]', 'http://[::2]/', false], ['[0:0::1]', 'http://[::1]/', true],
    ['', 'http://a/', false], ['a\nb:81', 'http://b:81/', true], ['a\nb:81', 'http://b/', false],
  ];
  for (const [patterns, url, expected] of rows) assert.equal(permits(parse(patterns), new URL(url)), expected, `${JSON.stringify(patterns)} ${url}`);
  for (const url of ['https://a.org/', 'http://a.org:81/', 'http://[::1]:5/', 'https://a.org:80/']) assert.equal(permits(parse(wanted(new URL(url))), new URL(url)), true, url);
});

/** An outside whose answers are kept: { jobs, answers, last(id): a promise of its last answer }. */
function made() {
  const answers = [];
  const waiting = new Map();
  const jobs = outside((id, last, head, bytes) => {
    answers.push({ id, last, head: head === undefined ? undefined : JSON.parse(head), bytes });
    if (last) waiting.get(id)?.(answers.at(-1));
  });
  return { jobs, answers, last: (id) => new Promise((done) => { waiting.set(id, done); }) };
}
const none = Buffer.alloc(0);

test('a job that makes no sense ends with an error, once', async () => {
  for (const [what, head, body] of [['nothing', '{}', none], ['fetch', 'no JSON', none], ['fetch', '{}', none], ['fetch', '{"url":"http://x/"}', none], ['fetch', '{"url":"http://x/","method":5,"headers":7}', none], ['__proto__', '{}', none],
    ['subtle', 'no JSON', none], ['subtle', '{}', none], ['subtle', '{"op":"constructor","args":[]}', none], ['subtle', '{"op":"sign","args":[]}', none], ['subtle', '{"op":"sign","args":5}', none], ['subtle', '{"op":"digest","args":[{"b":[5,-9]}]}', none],
    ['subtle', '{"op":"sign","args":[{"o":{"name":"HMAC"}},{"k":{"format":"raw"},"b":[0,9]},{"b":[99,99]}]}', none], ['subtle', '{"op":"importKey","args":[{},{},{},{}]}', none],
    ['subtle', '{"op":"deriveBits","args":[{"o":{"name":"PBKDF2","iterations":5000001}},null,8]}', none], ['subtle', '{"op":"generateKey","args":[{"o":{"name":"RSA-PSS","modulusLength":16384}},["sign"]]}', none]]) {
    const { jobs, answers, last } = made();
    const end = last(1);
    jobs.start(1, what, 'a/A/k', 'y', head, body);
    const { head: said } = await end;
    assert.equal(typeof said.error.message, 'string', `${what} ${head}`);
    jobs.more(1);
    jobs.cancel(1);
    assert.equal(answers.length, 1, `${what} ${head}`);
  }
});

test('what is cancelled answers nothing, and what is unknown is nothing', async () => {
  const { jobs, answers, last } = made();
  jobs.more(7);
  jobs.cancel(7);
  const sign = JSON.stringify({ op: 'importKey', args: ['raw', { b: [0, 16] }, { o: { name: 'AES-GCM' } }, ['encrypt'], true] });
  for (let id = 1; id <= 8; id++) jobs.start(id, 'subtle', 'a/A/k', '', sign, Buffer.alloc(16));
  for (let id = 1; id < 8; id++) jobs.cancel(id);
  await last(8);
  assert.deepEqual(answers.map((a) => a.id), [8]);
  assert.equal(answers[0].head.key.type, 'secret');
});

test('askers take turns', async () => {
  const { jobs, answers, last } = made();
  const derive = JSON.stringify({ op: 'deriveBits', args: [{ o: { name: 'PBKDF2', hash: 'SHA-256', iterations: 20000, salt: { b: [0, 1] } } }, { k: { format: 'raw', algorithm: { name: 'PBKDF2' }, usages: ['deriveBits'] }, b: [0, 4] }, 128] });
  for (let id = 1; id <= 30; id++) jobs.start(id, 'subtle', 'a/A/greedy', '', derive, Buffer.from('abcd'));
  const end = last(30);
  jobs.start(99, 'subtle', 'a/A/modest', '', derive, Buffer.from('abcd'));
  await end;
  assert.ok(answers.every((a) => a.bytes?.length === 16), JSON.stringify(answers.find((a) => a.bytes === undefined)?.head));
  assert.ok(answers.findIndex((a) => a.id === 99) < 8, 'the modest one is served among the first');
});
