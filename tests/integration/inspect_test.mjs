// SPDX-License-Identifier: Apache-2.0
//
// ctl profile and ctl heap: the files are what Chrome's DevTools reads, of the actor that was meant, wherever it lives and
// whatever it is doing.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, ctlOk, killHost } from './cluster.mjs';
import { startCtl } from './ctl.mjs';

const cluster = new Cluster();
let east, out;

const files = {
  'isola.json': { name: 'p', actors: { T: { module: './src/t.ts', cpu: '1m' }, S: { module: './src/t.ts', isolation: 'shared', cpu: '1m' },
    Brief: { module: './src/t.ts', cpu: '1s' }, Small: { module: './src/t.ts', heap: '32MB' } } },
  'src/t.ts': `
import { burn, work } from './burn';

interface Nothing { x: number }
class RetainedThing { constructor(public index: number, public label = 'a label of its own') {} }
const kept: RetainedThing[] = [];

export default (self: any): void => {
  self.on('spin', (ms: number) => burn(ms));
  self.on('work', (ms: number) => work(ms));
  self.on('keep', (n: number) => { for (let i = 0; i < n; i++) kept.push(new RetainedThing(i)); });
  self.on('grow', () => { const all: unknown[] = []; for (;;) all.push(new Array(1000).fill(1)); });
  self.on('big', (n: number) => { for (let i = 0; i < n; i++) kept.push(new RetainedThing(i, String(i).padStart(64, 'x') + i)); });
  self.on('odd', (ms: number) => {
    class Odd { '"\\\\ \\n \\ud800 ünï </script>'(rounds: number) { for (; rounds > 0; rounds--) work(1); } }
    (new Odd() as any)[Object.getOwnPropertyNames(Odd.prototype)[1]](ms);
  });
  self.on('ok', () => 1);
  self.on('throws', () => { throw new Error('crash'); });
};
`,
  'src/burn.ts': `
type Milliseconds = number;

export function burn(ms: Milliseconds): number {
  const end = performance.now() + ms;
  let n = 0;
  while (performance.now() < end) n += hot(n);
  return n;
}

// Likewise, but for so long as it has a processor: what looks on has to wait for one too. A pause counts as 1 ms.
export function work(ms: Milliseconds): number {
  let n = 0;
  for (let spent = 0, last = performance.now(); spent < ms;) {
    n += hot(n);
    const now = performance.now();
    spent += Math.min(now - last, 1);
    last = now;
  }
  return n;
}

function hot(n: number): number {
  let sum = 0;
  for (let i = 0; i < 20_000; i++) sum += Math.sqrt(i + n) | 0;
  return sum & 1;
}
`,
};
const HOT_LINE = files['src/burn.ts'].split('\n').findIndex((l) => l.startsWith('function hot')) + 1;

before(async () => {
  east = await cluster.node('east');
  out = join(cluster.dir, 'out');
  mkdirSync(out);
  await cluster.deploy(east, 'p', files);
});
after(() => cluster.end());

const ref = (type, key) => east.client.actor(`p/${type}`, key);

/** A .cpuprofile that is one: checks what DevTools relies on, and returns it with its nodes by id. */
function profile(file) {
  const p = JSON.parse(readFileSync(file, 'utf8'));
  const byId = new Map(p.nodes.map((n) => [n.id, n]));
  assert.equal(byId.size, p.nodes.length, 'ids are unique');
  const reached = new Set();
  const walk = (n) => {
    assert.ok(!reached.has(n.id), 'a tree');
    reached.add(n.id);
    for (const id of n.children ?? []) walk(byId.get(id));
  };
  assert.equal(p.nodes[0].callFrame.functionName, '(root)');
  walk(p.nodes[0]);
  assert.equal(reached.size, p.nodes.length, 'all nodes hang on the root');
  for (const { callFrame: f, hitCount, positionTicks } of p.nodes) {
    assert.deepEqual([typeof f.functionName, typeof f.scriptId, typeof f.url], ['string', 'string', 'string']);
    assert.ok([f.lineNumber, f.columnNumber, hitCount].every(Number.isInteger) && f.lineNumber >= -1 && f.columnNumber >= -1);
    for (const t of positionTicks ?? []) assert.ok(t.line > 0 && t.ticks > 0);
  }
  assert.equal(p.samples.length, p.timeDeltas.length);
  assert.ok(p.samples.length > 0 && p.samples.every((id) => byId.has(id)));
  assert.ok(p.timeDeltas.every((d) => Number.isInteger(d) && d >= 0));
  const sum = p.timeDeltas.reduce((a, b) => a + b, 0);
  assert.ok(p.startTime + sum <= p.endTime, `${sum} of ${p.endTime - p.startTime}`);
  return { ...p, byId };
}

/** How much of the time samples were in functions of that name: [share, a node, share of the time it ran at all]. */
function share(p, name) {
  let time = 0, all = 0, idle = 0;
  for (let i = 0; i < p.samples.length; i++) {
    const next = i + 1 < p.samples.length ? p.timeDeltas[i + 1] : 0;
    const { functionName } = p.byId.get(p.samples[i]).callFrame;
    all += next;
    if (functionName === '(idle)') idle += next;
    if (functionName === name) time += next;
  }
  return [time / all, p.nodes.find((n) => n.callFrame.functionName === name), time / (all - idle)];
}

/** A .heapsnapshot that is one, with how many nodes have each name. */
function snapshot(file) {
  const h = JSON.parse(readFileSync(file, 'utf8'));
  const { meta, node_count: nodes, edge_count: edges } = h.snapshot;
  const [nf, ef] = [meta.node_fields.length, meta.edge_fields.length];
  assert.equal(h.nodes.length, nodes * nf);
  assert.equal(h.edges.length, edges * ef);
  const at = (field) => meta.node_fields.indexOf(field);
  const names = new Map();
  let owned = 0;
  for (let i = 0; i < h.nodes.length; i += nf) {
    const name = h.strings[h.nodes[i + at('name')]];
    assert.equal(typeof name, 'string');
    assert.ok(h.nodes[i + at('type')] < meta.node_types[0].length);
    if (meta.node_types[0][h.nodes[i + at('type')]] === 'object') names.set(name, (names.get(name) ?? 0) + 1);
    owned += h.nodes[i + at('edge_count')];
  }
  assert.equal(owned, edges);
  const to = meta.edge_fields.indexOf('to_node');
  for (let i = 0; i < h.edges.length; i += ef) assert.ok(h.edges[i + to] % nf === 0 && h.edges[i + to] < h.nodes.length);
  return { ...h, names };
}

/** A profile that would take a minute; it has begun when a second one of the same isolate is refused. */
function begin(address) {
  const take = (ms) => east.client.call('inspect', { address, what: 'profile', ms });
  const done = take(60_000);
  return { done, begun: assert.rejects(take(10), { code: 'EBUSY' }) };
}

/** The bytes of a file that was taken. */
async function fetch({ node, id, bytes }) {
  const pieces = [];
  for (let offset = 0, n = 1; n > 0; offset += n) {
    const piece = await east.client.call('inspect_read', { node, id, offset });
    n = piece.length;
    pieces.push(piece);
  }
  const all = Buffer.concat(pieces);
  assert.equal(all.length, bytes);
  return all;
}

describe('ctl profile', () => {
  test('begins in the middle of a handler that spins, and names the author\'s files', async () => {
    const a = ref('T', 'spin');
    await a.ask('ok');
    let spun = false;
    const spin = a.ask('work', 4000, { timeout: 120_000 }).then(() => { spun = true; });
    const file = join(out, 'spin.cpuprofile');
    const { status, out: said, err } = await ctl(east, 'profile', 'p/T/spin', '--seconds', '1', '-o', file);
    assert.equal(spun, false, 'it did not wait for the handler');
    assert.equal(status, 0, err);
    assert.match(said, /^wrote .*spin\.cpuprofile \([\d.]+ KB\): in Chrome's DevTools, Performance > Load profile\n$/);
    const p = profile(file);
    const [, { callFrame, positionTicks }, time] = share(p, 'hot'); // a busy machine runs it now and then only
    assert.ok(time > 0.5, `${time} of the time in hot()`);
    assert.deepEqual([callFrame.url, callFrame.lineNumber + 1], ['p/src/burn.ts', HOT_LINE]);
    assert.ok(positionTicks.every((t) => t.line >= HOT_LINE && t.line <= HOT_LINE + 3));
    assert.equal(new Set(positionTicks.map((t) => t.line)).size, positionTicks.length);
    assert.equal(p.nodes.find((n) => n.callFrame.functionName === 'work').callFrame.url, 'p/src/burn.ts');
    assert.ok(p.endTime - p.startTime >= 900_000);
    await spin;
  });
  test('of an actor that does nothing says so', async () => {
    await ref('T', 'idle').ask('ok');
    const file = join(out, 'idle.cpuprofile');
    await ctlOk(east, 'profile', 'p/T/idle', '--seconds', '1', '-o', file);
    const p = profile(file);
    assert.ok(share(p, '(idle)')[0] > 0.9);
    assert.ok(p.endTime - p.startTime >= 900_000);
  });
  test('of one that works now and then: the pauses are idle', async () => {
    const a = ref('T', 'both');
    await a.ask('ok');
    const file = join(out, 'both.cpuprofile');
    let going = true;
    const load = (async () => {
      while (going) {
        await a.ask('spin', 20);
        await new Promise((done) => setTimeout(done, 60)); // the load itself: a pause between messages
      }
    })();
    await ctlOk(east, 'profile', 'p/T/both', '--seconds', '2', '-o', file);
    going = false;
    await load;
    const p = profile(file);
    const [busy, idle] = [share(p, 'hot')[0], share(p, '(idle)')[0]];
    assert.ok(idle > 0.3 && busy > 0 && busy < 0.7, `busy ${busy}, idle ${idle}`);
  });
  test('functions may have any name', async () => {
    const a = ref('T', 'odd');
    await a.ask('ok');
    const odd = a.ask('odd', 3000, { timeout: 120_000 });
    const file = join(out, 'odd.cpuprofile');
    await ctlOk(east, 'profile', 'p/T/odd', '--seconds', '1', '-o', file);
    assert.ok(profile(file).nodes.some((n) => n.callFrame.functionName.includes('"\\ \n') && n.callFrame.functionName.includes('ünï')));
    await odd;
  });
  test('an actor that ends meanwhile: what there was until then', async () => {
    for (const [type, end] of [['T', () => ctl(east, 'stop', 'p/T/ends')], ['T', () => ref('T', 'ends').emit('throws')],
      ['Brief', () => ref('Brief', 'ends').emit('spin', 1e9)], ['Small', () => ref('Small', 'ends').emit('grow')]]) {
      await ref(type, 'ends').ask('spin', 10);
      const file = join(out, 'ends.cpuprofile');
      const taken = begin(`p/${type}/ends`);
      await taken.begun;
      await end();
      writeFileSync(file, await fetch(await taken.done));
      profile(file);
    }
  });
  test('the actor goes on as before', async () => {
    const a = ref('T', 'on');
    await a.ask('ok');
    const taken = ctl(east, 'profile', 'p/T/on', '--seconds', '1', '-o', join(out, 'on.cpuprofile'));
    for (let i = 0; i < 200; i++) assert.equal(await a.ask('ok'), 1);
    assert.equal((await taken).status, 0);
    assert.equal(await a.ask('ok'), 1);
  });
  test('of an actor that shares its isolate: said, on stderr', async () => {
    await ref('S', 'x').ask('ok');
    const file = join(out, 'shared.cpuprofile');
    const { status, err } = await ctl(east, 'profile', 'p/S/x', '--seconds', '2', '-o', file);
    assert.equal(status, 0);
    assert.match(err, /^ctl: profiling p\/S\/x for 2 s\nctl: p\/S\/x shares its isolate: this is of all actors of the app on that thread of node east\n$/);
    profile(file);
  });
});

describe('ctl heap', () => {
  test('has what the actor retains, by the names of its classes', async () => {
    const a = ref('T', 'heap');
    await a.ask('keep', 1234);
    const file = join(out, 'x.heapsnapshot');
    const { status, out: said } = await ctl(east, 'heap', 'p/T/heap', '-o', file);
    assert.equal(status, 0);
    assert.match(said, /^wrote .*x\.heapsnapshot \([\d.]+ MB\): in Chrome's DevTools, Memory > Load\n$/);
    const h = snapshot(file);
    assert.ok(h.names.get('RetainedThing') >= 1234, `${h.names.get('RetainedThing')}`);
    assert.ok(h.strings.includes('a label of its own'));
    assert.equal(await a.ask('ok'), 1);
  });
  test('comes in pieces when it is big', async () => {
    await ref('T', 'big').ask('big', 60_000);
    const file = join(out, 'big.heapsnapshot');
    const { status, out: said } = await ctl(east, '--json', 'heap', 'p/T/big', '-o', file);
    assert.equal(status, 0);
    const { bytes, ...rest } = JSON.parse(said);
    assert.deepEqual(rest, { address: 'p/T/big', node: 'east', isolation: 'isolate', file });
    assert.ok(bytes > 8 << 20 && readFileSync(file).length === bytes, `${bytes}`);
    assert.ok(snapshot(file).names.get('RetainedThing') >= 60_000);
  });
  test('in the middle of a handler that spins', async () => {
    const a = ref('T', 'heap-spin');
    await a.ask('keep', 99);
    let spun = false;
    const spin = a.ask('work', 4000, { timeout: 120_000 }).then(() => { spun = true; });
    const file = join(out, 'spin.heapsnapshot');
    await ctlOk(east, 'heap', 'p/T/heap-spin', '-o', file);
    assert.equal(spun, false);
    assert.ok(snapshot(file).names.get('RetainedThing') >= 99);
    await spin;
  });
  test('costs the handler nothing of its CPU time', async () => {
    const a = ref('Brief', 'x');
    await a.ask('big', 30_000);
    const spin = a.ask('spin', 800);
    const file = join(out, 'brief.heapsnapshot');
    const taken = await ctl(east, 'heap', 'p/Brief/x', '-o', file);
    assert.equal(taken.status, 0, taken.err);
    await spin;
    assert.equal(await a.ask('ok'), 1);
    assert.ok(snapshot(file).names.get('RetainedThing') >= 30_000, 'the same activation');
  });
  test('to stdout', async () => {
    const { status, out: said, err } = await ctl(east, 'profile', 'p/T/heap', '--seconds', '1', '-o', '-');
    assert.equal(status, 0, err);
    assert.ok(JSON.parse(said).nodes.length > 0);
  });
  test('to a reader who has had enough', async (t) => {
    const run = startCtl(t, ['heap', 'p/T/heap', '-o', '-'], { node: east.socket });
    run.child.stdout.once('data', () => run.child.stdout.destroy());
    const { status, stderr } = await run.done;
    assert.deepEqual([status, stderr], [0, '']);
  });
});

describe('what cannot be', () => {
  test('an actor that is not active, or of no app', async () => {
    for (const [address, why] of [['p/T/nobody', 'p/T/nobody is not active: its next message activates it'],
      ['nowhere/T/x', 'there is no app "nowhere": deploy it first'], ['p/Tt/x', 'app "p" has no actor type "Tt"']]) {
      const { status, err } = await ctl(east, 'heap', address, '-o', join(out, 'none'));
      assert.deepEqual([status, err], [1, `ctl: ENOACTOR: ${why}\n`]);
    }
    assert.equal((await actors(east, 'p')).some((a) => a.address === 'p/T/nobody'), false, 'it was not activated');
  });
  test('wrong usage', async () => {
    for (const args of [['profile'], ['profile', 'nothing'], ['profile', 'p/T/x', '--seconds', '0'], ['profile', 'p/T/x', '--seconds', '601'],
      ['heap', 'p/T/x', '--seconds', '5'], ['ps', '-o', 'x'], ['heap', 'p/T/x', '-o', ''], ['--json', 'heap', 'p/T/heap', '-o', '-']])
      assert.equal((await ctl(east, ...args)).status, 2, args.join(' '));
  });
  test('a place where no file can be', async () => {
    for (const [file, says] of [[join(out, 'no', 'where'), /cannot write .*no\/where: No such file/], [out, /is there and no file/]]) {
      const { status, err } = await ctl(east, 'heap', 'p/T/heap', '-o', file);
      assert.equal(status, 1);
      assert.match(err, says);
    }
  });
  test('params that lie', async () => {
    for (const params of [{}, { address: 5 }, { address: 'p/T/heap' }, { address: 'p/T/heap', what: 'soul' }, { address: 'no address', what: 'heap' },
      { address: 'p/T/heap', what: 'profile' }, { address: 'p/T/heap', what: 'profile', ms: 0 }, { address: 'p/T/heap', what: 'profile', ms: 1e15 }])
      await assert.rejects(east.client.call('inspect', params), { code: 'EINVAL' }, JSON.stringify(params));
    for (const [params, code] of [[{}, 'EINVAL'], [{ node: 'east' }, 'EINVAL'], [{ node: 'east', id: 1e9, offset: 0 }, 'ENOENT'], [{ node: 'nowhere', id: 1, offset: 0 }, 'EUNREACHABLE']])
      await assert.rejects(east.client.call('inspect_read', params), { code }, JSON.stringify(params));
    const { node, id, bytes } = await east.client.call('inspect', { address: 'p/T/heap', what: 'heap' });
    await assert.rejects(east.client.call('inspect_read', { node, id, offset: bytes + 1 }), { code: 'ENOENT' });
    assert.equal((await east.client.call('inspect_read', { node, id, offset: bytes })).length, 0);
    await assert.rejects(east.client.call('inspect_read', { node, id, offset: 0 }), { code: 'ENOENT' }, 'it is gone once it was read to its end');
  });
  test('too many at once: one profile of an isolate', async () => {
    await ref('T', 'many').ask('ok');
    const taken = begin('p/T/many');
    await taken.begun;
    await Promise.all(Array.from({ length: 30 }, () => assert.rejects(east.client.call('inspect', { address: 'p/T/many', what: 'profile', ms: 100 }), { code: 'EBUSY' })));
    assert.equal((await ctl(east, 'stop', 'p/T/many')).status, 0);
    await fetch(await taken.done);
  });
  test('an actor-host that dies meanwhile', async () => {
    await ref('T', 'dies').ask('ok');
    const taken = begin('p/T/dies');
    await taken.begun;
    await Promise.all([killHost(east),
      assert.rejects(taken.done, { code: 'ENOACTOR', message: /^p\/T\/dies is not active on a node that answered; not reached: east$/ })]);
  });
  test('nothing is left behind', () => {
    assert.deepEqual(readdirSync(out).filter((f) => f.includes('.part')), []);
    assert.deepEqual(readdirSync(cluster.dir, { recursive: true }).filter((f) => /inspect-/.test(f)), []);
  });
});

test('an actor on another node', async () => {
  const west = await cluster.node('west', east);
  let key;
  for (let i = 0; key === undefined && i < 200; i++) {
    await ref('T', `w${i}`).ask('keep', 77);
    if ((await actors(east, 'p')).some((a) => a.address === `p/T/w${i}` && a.node === 'west')) key = `w${i}`;
  }
  const [heap, cpu] = [join(out, 'west.heapsnapshot'), join(out, 'west.cpuprofile')];
  const taken = await ctl(east, '--json', 'heap', `p/T/${key}`, '-o', heap);
  assert.equal(JSON.parse(taken.out).node, 'west', taken.out);
  assert.ok(snapshot(heap).names.get('RetainedThing') >= 77);
  const spin = ref('T', key).ask('work', 3000, { timeout: 120_000 });
  await ctlOk(east, 'profile', `p/T/${key}`, '--seconds', '1', '-o', cpu);
  assert.equal(share(profile(cpu), 'hot')[1].callFrame.url, 'p/src/burn.ts');
  await spin;
  assert.equal((await ctl(west, 'heap', `p/T/${key}`, '-o', heap)).status, 0);
});
