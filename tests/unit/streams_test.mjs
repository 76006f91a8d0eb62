// SPDX-License-Identifier: Apache-2.0
//
// What the ends of a stream say to each other (actors/lib/runtime/streams.js, docs/wire.md), with the runtime's own code and nothing below it:
// each message is looked at, and what a peer may make up comes in.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const dir = mkdtempSync(join(tmpdir(), 'isola-streams-'));
after(() => rmSync(dir, { recursive: true, force: true }));

// What it imports of what an isolate is born with.
let current = 0;
const world = { sent: [], watches: new Map(), timers: new Map(), next: 0 };
const { apply } = Reflect;
globalThis.__born = {
  apply, currentActor: () => current, exchange: () => 0, setFrame() {}, find: (serial) => ({ app: 'a', type: 'T', key: `${serial}` }), innerOf: (self) => self,
  getOwnPropertyDescriptor: Object.getOwnPropertyDescriptor, NativePromise: Promise, NativeTypeError: TypeError, SafeMap: Map, SafeSet: Set,
  codeError: (code, message) => Object.assign(new Error(message), { code }),
  load: (id) => createRequire(import.meta.url)(id === 'internal/encoding' ? 'node:util' : `node:${id}`),
  settled: (promise, ok, bad) => Promise.resolve(promise).then(ok, bad),
  group: (name) => (name === 'crypto' ? { random: (bytes) => crypto.getRandomValues(bytes) } : {
    send: (serial, to, args) => { structuredClone(args); world.sent.push({ serial, to, args: args.map((a) => (a instanceof Uint8Array ? a.slice() : a)) }); },
    watch: (serial, to, id) => { if (id !== 0) { world.watches.delete(id); return 0; } world.watches.set(++world.next, to); return world.next; },
  }),
  timers: { globals: { setTimeout: (fn) => { world.timers.set(++world.next, fn); return world.next; }, clearTimeout: (id) => world.timers.delete(id) } },
};
const born = join(dir, 'born.cjs');
writeFileSync(born, 'module.exports = globalThis.__born;');
const bundle = join(dir, 'streams.cjs');
execFileSync(join(root, `node_modules/@esbuild/linux-${arch()}/bin/esbuild`), [join(root, 'actors/lib/runtime/streams.js'), '--bundle', '--format=cjs', `--alias:isola:born=${born}`, '--log-level=warning', `--outfile=${bundle}`]);
const { on, methods, forget } = createRequire(import.meta.url)(bundle);

const SAID = 0, ENDED = 1, SEND = 2, SENT = 3, TAKE = 4;
const OPEN = 0, DATA = 1, GRANT = 2, END = 3, DONE = 4, ERROR = 5, CANCEL = 6, RESET = 7;
const rest = () => new Promise((done) => setImmediate(done));
const taken = async () => { await rest(); return world.sent.splice(0); };
const kinds = (list) => list.map((m) => m.args[1]);
const is = (code) => (e) => e.code === code;
let attempts = 0, serials = 0;

/** An actor that gives an end away, as the message has it. */
function give(which) {
  const serial = current = ++serials, attempt = ++attempts;
  const pair = methods.stream.call({});
  const [address, name, end, credit] = on(SEND, attempt, pair[which]);
  on(SENT, attempt, true);
  assert.equal(address, `a/T/${serial}`);
  return { serial, name, theirs: `t${name.slice(1)}`, end, credit, ...pair, say: (from, ...args) => on(SAID, serial, from, [name, ...args]) };
}
/** An actor that gets one. */
function take(end, credit = 0, id = 'x'.repeat(21)) {
  const serial = ++serials;
  const stream = on(TAKE, serial, 'a/T/owner', `o${id}`, end, credit);
  return { serial, stream, say: (from, ...args) => on(SAID, serial, from, [`t${id}`, ...args]) };
}
const bytes = (n, fill = 7) => new Uint8Array(n).fill(fill);

test('a writer sends what was granted and no more', async () => {
  const s = give('readable');
  const w = s.writable.getWriter();
  const written = w.write(bytes(300_000));
  assert.deepEqual(await taken(), [], 'nobody has it yet');
  assert.equal(s.say('b/T/x', OPEN, 100_000), true);
  let m = await taken();
  assert.deepEqual(m.map(({ to, args: [name, kind, a, b] }) => [to, name, kind, a, b?.length]),
    [['b/T/x', s.theirs, GRANT, 0, undefined], ['b/T/x', s.theirs, DATA, 0, 65536], ['b/T/x', s.theirs, DATA, 1, 34464]]);
  s.say('b/T/x', GRANT, 1000);
  assert.deepEqual(await taken(), [], 'less than a chunk costs');
  s.say('b/T/x', GRANT, 262_144);
  m = await taken();
  assert.deepEqual(m.map((x) => x.args[2]), [2, 3, 4, 5]);
  assert.equal(m.reduce((n, x) => n + x.args[3].length, 0), 200_000);
  await written;
  const closed = w.close();
  assert.deepEqual((await taken()).map((x) => x.args.slice(1)), [[END, 6]]);
  s.say('b/T/x', DONE, 0);
  await closed;
  assert.equal(s.say('b/T/x', GRANT, 1), false, 'it is over');
});

test('what another says changes nothing', async () => {
  const s = give('readable');
  assert.equal(s.say('c/T/evil', DATA, 0, bytes(1)), false);
  assert.equal(s.say('c/T/evil', OPEN, -1), false);
  assert.equal(s.say('c/T/evil', OPEN, 1e9), false);
  s.say('b/T/x', OPEN, 4096);
  for (const args of [[OPEN, 4096], [GRANT, 4096], [CANCEL, 'evil'], [RESET, 'ECANCELED', 'evil']]) assert.equal(s.say('c/T/evil', ...args), false, `${args}`);
  assert.equal(on(SAID, s.serial + 1000, 'b/T/x', [s.name, CANCEL, 'evil']), false, 'to another actor');
  await taken();
  await s.writable.getWriter().write(bytes(4096));
  assert.deepEqual(kinds(await taken()), [DATA]);

  const t = take(0);
  assert.deepEqual((await taken()).map((x) => x.args.slice(1)), [[OPEN, 262_144]]);
  assert.equal(t.say('c/T/evil', DATA, 0, bytes(5)), false);
  assert.equal(t.say('c/T/evil', END, 0), false);
  t.say('a/T/owner', DATA, 0, bytes(3));
  assert.deepEqual([...(await t.stream.getReader().read()).value], [7, 7, 7]);
});

test('what is lost, too much or makes no sense ends the stream, and its sender is told', async () => {
  const wrong = {
    'a chunk that was left out': [[DATA, 0, bytes(1)], [DATA, 2, bytes(1)]],
    'one twice': [[DATA, 0, bytes(1)], [DATA, 0, bytes(1)]],
    'an end too early': [[DATA, 0, bytes(1)], [END, 5]],
    'more than was granted': [0, 1, 2, 3, 4].map((k) => [DATA, k, bytes(65536)]),
    'more small ones than were granted': Array.from({ length: 129 }, (_, k) => [DATA, k, bytes(1)]),
    'a chunk that is too large': [[DATA, 0, bytes(65537)]],
    'an empty one': [[DATA, 0, bytes(0)]],
    'what is no bytes': [[DATA, 0, 'text']],
    'what only a reader says': [[CANCEL, 'x']],
    'what nobody says': [[99]],
  };
  for (const [what, list] of Object.entries(wrong)) {
    const t = take(0);
    await taken();
    for (const args of list) assert.equal(t.say('a/T/owner', ...args), true, what);
    const said = await taken();
    assert.deepEqual(kinds(said), [CANCEL], what);
    assert.equal(said[0].args[2].code, 'EPROTO', what);
    await assert.rejects(t.stream.getReader().read(), is('EPROTO'), what);
    assert.equal(t.say('a/T/owner', DATA, 0, bytes(1)), false, what);
  }
  const o = give('readable');
  o.say('b/T/x', OPEN, 4096);
  await taken();
  o.say('b/T/x', GRANT, 0.5);
  assert.deepEqual(kinds(await taken()), [ERROR]);
  await assert.rejects(o.writable.getWriter().write('x'), is('EPROTO'));
});

test('a reader grants what was taken', async () => {
  const t = take(0);
  await taken();
  const reader = t.stream.getReader();
  for (let k = 0; k < 4; k++) t.say('a/T/owner', DATA, k, bytes(65536));
  assert.deepEqual(await taken(), []);
  for (let k = 0; k < 2; k++) await reader.read();
  assert.deepEqual((await taken()).map((x) => x.args.slice(1)), [[GRANT, 131_072]]);
  for (let k = 0; k < 128; k++) t.say('a/T/owner', DATA, 4 + k, bytes(1, k)); // costs more than it has
  assert.deepEqual(kinds(await taken()), [CANCEL], '64 of them are too many');
});

test('small chunks that wait are put together', async () => {
  const t = take(0);
  await taken();
  for (let k = 0; k < 100; k++) t.say('a/T/owner', DATA, k, bytes(10, k));
  t.say('a/T/owner', END, 100);
  assert.deepEqual(kinds(await taken()), [DONE]);
  const all = [];
  for await (const chunk of t.stream) all.push(chunk);
  assert.equal(all.length, 1);
  assert.deepEqual([...all[0]], Array.from({ length: 1000 }, (_, i) => Math.floor(i / 10)));
});

test('an end is told of the end of the other', async () => {
  for (const [reason, code] of [['ended', 'ECANCELED'], ['crashed', 'ECANCELED'], ['lost', 'EUNREACHABLE']]) {
    const t = take(0), u = take(0, 0, 'y'.repeat(21)), s = give('writable');
    s.say('b/T/x', OPEN, 0);
    assert.equal([...world.watches.values()].filter((to) => to === 'b/T/x').length > 0, true);
    on(ENDED, t.serial, 'c/T/other', [{ reason }]);
    on(ENDED, t.serial, 'a/T/owner', [{ reason, message: 'why' }]);
    await assert.rejects(t.stream.getReader().read(), is(code));
    on(ENDED, s.serial, 'b/T/x', [{ reason }]);
    await assert.rejects(s.readable.getReader().read(), is(code));
    u.say('a/T/owner', DATA, 0, bytes(1));
    assert.equal((await u.stream.getReader().read()).value.length, 1, 'of another actor');
  }
  const s = give('readable');
  s.say('b/T/x', OPEN, 4096);
  on(SAID, s.serial, 'b/T/x', [s.theirs, RESET, 'ECANCELED', 'it is gone']);
  await assert.rejects(s.writable.getWriter().write('x'), is('ECANCELED'));
  await taken();
  const o = give('readable');
  o.say('b/T/x', OPEN, 4096);
  await taken();
  on(SAID, o.serial, 'b/T/x', [o.theirs, RESET, 'ETOOBIG', 'too large']);
  assert.deepEqual(kinds(await taken()), [ERROR], 'who is there and has missed something is told');
});

test('reasons are told, those too that cannot be sent, and to who comes late', async () => {
  const s = give('readable');
  const w = s.writable.getWriter();
  void w.write(bytes(10)).catch(() => {});
  void w.abort('enough').catch(() => {});
  await rest();
  s.say('b/T/x', OPEN, 4096);
  assert.deepEqual((await taken()).map((x) => x.args.slice(1)), [[ERROR, 'enough']]);
  const t = take(0);
  await taken();
  await t.stream.cancel('no');
  assert.deepEqual((await taken()).map((x) => x.args.slice(1)), [[CANCEL, 'no']]);
  const v = take(1, 4096);
  assert.deepEqual((await taken()).map((x) => x.args.slice(1)), [[OPEN, 0]]);
  v.say('a/T/owner', CANCEL, 'full');
  await assert.rejects(v.stream.getWriter().closed, (e) => e === 'full');
});

test('what nobody takes, or accepts, ends by itself; and all is gone then', async () => {
  const before = world.watches.size;
  const s = give('writable'), t = take(1, 4096);
  const patience = [...world.timers.values()].slice(-2);
  for (const fn of patience) fn();
  await assert.rejects(s.readable.getReader().read(), is('ETIMEDOUT'));
  await assert.rejects(t.stream.getWriter().closed, is('ETIMEDOUT'));
  assert.equal(world.watches.size, before);
  const u = take(0);
  forget(u.serial);
  assert.equal(u.say('a/T/owner', DATA, 0, bytes(1)), false);
});

test('an actor has a bounded number of them', async () => {
  const serial = current = ++serials;
  const one = () => { const attempt = ++attempts, r = on(SEND, attempt, methods.stream.call({}).readable); on(SENT, attempt, true); return r; };
  for (let k = 0; k < 1000; k++) assert.ok(Array.isArray(one()));
  assert.match(one(), /at most 1000 streams/);
  await taken();
  const stream = on(TAKE, serial, 'a/T/owner', `o${'z'.repeat(21)}`, 0, 0);
  assert.deepEqual(kinds(await taken()), [OPEN, CANCEL]);
  await assert.rejects(stream.getReader().read(), is('EOVERLOAD'));
  forget(serial);
  assert.ok(Array.isArray(one()));
});
