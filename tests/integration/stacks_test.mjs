// SPDX-License-Identifier: Apache-2.0
//
// What an error says of where it was thrown: places in the author's files, wherever it is read.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctl, logged, until, whole } from './cluster.mjs';

const cluster = new Cluster();
let east, west;

const files = {
  'isola.json': {
    name: 's',
    actors: {
      Main: { module: './src/main.ts' },
      Shared: { module: './src/main.ts', isolation: 'shared' },
      Brief: { module: './src/main.ts', cpu: '200ms' },
    },
  },
  // A line that is about something ends with a mark, so that the tests know its number.
  'src/main.ts': `
import { actor } from 'isola';
import { total, type Item } from './cart';
import * as left from 'left';

interface Order {
  items: Item[];
}

export default (self: any): void => {
  self.on('total', (order: Order): number => total(order.items)); // @handler
  self.on('later', async (order: Order): Promise<number> => {
    await null;
    return await inner(order); // @awaits
  });
  self.on('cause', () => {
    try {
      total([{ price: -1 }]);
    } catch (cause) {
      throw new RangeError('no order', { cause }); // @wraps
    }
  });
  self.on('package', () => left.pad(null)); // @calls-package
  self.on('own', () => new Error('read here').stack); // @own
  self.on('captured', () => {
    const o: { stack?: string } = {};
    Error.captureStackTrace(o); // @captured
    return o.stack;
  });
  self.on('formatted', () => {
    const before = Error.prepareStackTrace;
    Error.prepareStackTrace = (error, sites) => [String(error), sites.length > 0, typeof sites[0].getLineNumber(), new Error('inner').stack !== undefined];
    try {
      return (new Error('mine') as any).stack;
    } finally {
      Error.prepareStackTrace = before;
    }
  });
  self.on('formatter-throws', () => {
    Error.prepareStackTrace = () => { throw new TypeError('the formatter'); };
    try {
      return new Error('mine').stack;
    } catch (error) {
      Error.prepareStackTrace = undefined;
      return String(error);
    }
  });
  self.on('odd', () => {
    const error: any = new Error('odd');
    error.name = { toString() { throw new Error('no name'); } };
    return error.stack;
  });
  self.on('renamed', () => {
    class Short extends Error { name = 'OutOfStock'; }
    throw new Short('none left'); // @renamed
  });
  self.on('in-timer', () => { setTimeout(() => { throw new Error('in a timer'); }, 1); }); // @timer
  self.on('stray', () => { Promise.reject(new Error('nobody waits', { cause: 'a word '.repeat(200) })); }); // @stray
  self.on('trace', () => { console.trace('here'); }); // @trace
  self.on('shown', () => { console.error(new Error('shown')); }); // @shown
  self.on('deep', () => {
    const f = (): number => f() + 1; // @recursion
    return f();
  });
  self.on('spins', () => endless(1)); // @calls-endless
  self.on('eval', () => new Function('throw new Error("evaluated")')());
  self.on('ask', (address: string, event: string) => actor(address).ask(event));
  self.on('ask-caught', async (address: string, event: string) => {
    try {
      await actor(address).ask(event);
    } catch (error: any) {
      return error.stack;
    }
  });
  self.on('times-out', (address: string) => actor(address).ask('hangs', { timeout: 10 })); // @asks
  self.on('hangs', () => new Promise((done) => setTimeout(done, 100)));
};

function endless(n: number): number {
  let sum = 0;
  for (;;) sum += n; // @endless
  return sum;
}

async function inner(order: Order): Promise<number> {
  await null;
  return total(order.items); // @inner
}
`,
  'src/cart.ts': `
// A type annotation, an interface, an enum: what the bundle does not have, or has elsewhere.
export interface Item {
  price: number;
}

enum Kind { Refund = 1 }

export function total(items: Item[]): number {
  return items.reduce((sum: number, item: Item) => {
    if (item.price < 0)
      throw new TypeError(\`a price below 0 is a \${Kind[1]}\`); // @throws
    return sum + item.price;
  }, 0);
}
`,
  'node_modules/left/package.json': { name: 'left', main: './left.js' },
  'node_modules/left/left.js': 'exports.pad = (text) =>\n  text.length; // @package\n',
};

/** "s/src/cart.ts:12": file and line of the line with that mark. */
function at(mark, name = 's') {
  for (const [file, text] of Object.entries(files)) {
    const line = typeof text === 'string' ? text.split('\n').findIndex((l) => l.endsWith(`// @${mark}`)) : -1;
    if (line >= 0) return `${name}/${file}:${line + 1}`;
  }
  throw new Error(`no line is marked ${mark}`);
}

/** The stack's places without columns. */
const places = (stack) => [...stack.matchAll(/^ +at .*?([^\s()]+:\d+):\d+\)?$/gm)].map((m) => m[1]);

const ref = (type, key = 'x') => east.client.actor(`s/${type}`, key);
const failure = (promise) => promise.then(() => assert.fail('it did not fail'), (error) => error);

before(async () => {
  east = await cluster.node('east');
  await cluster.deploy(east, 's', files);
});
after(() => cluster.end());

for (const type of ['Main', 'Shared']) {
  describe(`the stack of an error (${type})`, () => {
    test('that answers an ask names the author\'s files', async () => {
      const error = await failure(ref(type).ask('total', { items: [{ price: 1 }, { price: -1 }] }));
      assert.equal(error.name, 'TypeError');
      const stack = error.remoteStack;
      assert.match(stack, /^TypeError: a price below 0 is a Refund\n    at s\/src\/cart\.ts:\d+:13\n/);
      assert.deepEqual(places(stack), [at('throws'), 's/src/cart.ts:10', at('handler')]);
      assert.doesNotMatch(stack, /isola:/);
    });
    test('in asynchronous functions', async () => {
      const { remoteStack } = await failure(ref(type).ask('later', { items: [{ price: -1 }] }));
      assert.deepEqual(places(remoteStack).slice(-2), [at('inner'), at('awaits')]);
      assert.match(remoteStack, /at async .*awaits|at async /);
    });
    test('with a cause, which has its own', async () => {
      const error = await failure(ref(type).ask('cause'));
      assert.equal(places(error.remoteStack)[0], at('wraps'));
      assert.equal(places(error.cause.remoteStack ?? error.cause.stack)[0], at('throws'));
    });
    test('in an npm package', async () => {
      const { remoteStack } = await failure(ref(type).ask('package'));
      assert.deepEqual(places(remoteStack).slice(0, 2), [at('package'), at('calls-package')]);
    });
    test('as the script itself reads it', async () => {
      assert.deepEqual(places(await ref(type).ask('own')), [at('own')]);
      assert.deepEqual(places(await ref(type).ask('captured')), [at('captured')]);
      assert.match(await ref(type).ask('own'), /^Error: read here\n {4}at .*s\/src\/main\.ts:\d+:\d+\)?$/);
    });
    test('Error.prepareStackTrace is called, and its errors reach who reads the stack', async () => {
      assert.deepEqual(await ref(type).ask('formatted'), ['Error: mine', true, 'number', true]);
      assert.equal(await ref(type).ask('formatter-throws'), 'TypeError: the formatter');
    });
    test('whose name is unusual', async () => {
      assert.match(await ref(type).ask('odd'), /^<error>\n|^Error: odd\n/);
      const error = await failure(ref(type).ask('renamed'));
      assert.equal(places(error.remoteStack)[0], at('renamed'));
    });
    test('of a stack overflow, and of code made at run time', async () => {
      const deep = await failure(ref(type).ask('deep'));
      assert.equal(deep.name, 'RangeError');
      assert.equal(places(deep.remoteStack)[0], at('recursion'));
      const made = await failure(ref(type).ask('eval'));
      assert.match(made.remoteStack, /evaluated/);
      assert.match(made.remoteStack, /s\/src\/main\.ts:\d+:\d+/);
    });
    test('that passes through another actor is the first one\'s', async () => {
      const stack = await ref(type, 'a').ask('ask-caught', `s/${type}/b`, 'cause');
      assert.equal(places(stack)[0], at('wraps'));
      const error = await failure(ref(type, 'a').ask('times-out', `s/${type}/b`));
      assert.equal(error.code, 'ETIMEDOUT');
      assert.doesNotMatch(error.remoteStack ?? '', /isola:/);
      
    });
    test('nobody caught is in the log, causes too', async () => {
      const a = ref(type, 'crash');
      a.emit('in-timer');
      assert.equal(places(await logged(east, `s/${type}/crash`, /in a timer/))[0], at('timer'));
      a.emit('stray');
      const text = await logged(east, `s/${type}/crash`, /nobody waits/);
      assert.equal(places(text)[0], at('stray'));
      assert.match(text, /\ncaused by: (a word ){200}$/);
      a.emit('cause');
      const both = await logged(east, `s/${type}/crash`, /no order/);
      assert.match(both, /\ncaused by: TypeError: a price below 0/);
      assert.deepEqual([places(both)[0], places(both).includes(at('throws'))], [at('wraps'), true]);
      assert.doesNotMatch(both, /isola:/);
    });
    test('console shows', async () => {
      await ref(type, 'c').ask('trace');
      assert.deepEqual(places(await logged(east, `s/${type}/c`, /Trace: here/)), [at('trace')]);
      await ref(type, 'c').ask('shown');
      assert.deepEqual(places(await logged(east, `s/${type}/c`, /Error: shown/)), [at('shown')]);
    });
  });
}

test('an actor that begins from a snapshot, or from kept code, names them too', async () => {
  let n = 0;
  await until('an actor has begun from a snapshot', async () => {
    const key = `snap${n++}`;
    assert.deepEqual(places(await ref('Main', key).ask('own')), [at('own')]);
    const error = await failure(ref('Main', key).ask('cause'));
    assert.equal(places(error.remoteStack)[0], at('wraps'));
    const { start, start_reason: why } = (await actors(east, 's')).find((a) => a.address === `s/Main/${key}`);
    return start === 'snapshot' || !/being made|not ready/.test(why); // there are builds that make none
  });
});

test('a handler that used its CPU time up is told of with where it was', async () => {
  await assert.rejects(ref('Brief', 'x').ask('spins'), { code: 'EFAILED' });
  const text = await logged(east, 's/Brief/x', /crashed: it used more than 200 ms of CPU in one turn/);
  assert.deepEqual(places(text), [at('endless'), at('calls-endless')]);
});

test('ctl shows the author\'s files', async () => {
  const { status, err } = await ctl(east, 'ask', 's/Main/x', 'cause');
  assert.equal(status, 1);
  assert.ok(err.includes(`ctl: ESCRIPT: RangeError: no order\n    at `) && err.includes(at('wraps')), err);
});

test('a module that throws while it loads is refused with the place', async () => {
  const dir = cluster.app('bad', { 'isola.json': { name: 'bad', actors: { T: { module: './lib/t.ts' } } },
    'lib/t.ts': 'interface X { y: number }\nimport { z } from "./z";\nexport default () => z;\n', 'lib/z.ts': 'type A = 1;\n\nexport const z: A = (null as any).missing;\n' });
  const { status, err } = await ctl(east, 'deploy', dir);
  assert.equal(status, 1);
  assert.match(err, /^ctl: EMODULE: actor type T \(lib\/t\.ts\): TypeError: Cannot read properties of null \(reading 'missing'\)\n +at bad\/lib\/z\.ts:3:\d+\n[^]*\n {2}> {5}3 │ export const z: A = .*\n {10}│ +\^\n$/);
});

test('an error crosses nodes with its stack', async () => {
  west = await cluster.node('west', east);
  const where = async (name) => {
    for (let i = 0; i < 200; i++) {
      await ref('Main', `n${i}`).ask('own');
      if ((await actors(east, 's')).some((a) => a.address === `s/Main/n${i}` && a.node === name)) return `n${i}`;
    }
    throw new Error(`no key lives on ${name}`);
  };
  const [e, w] = [await where('east'), await where('west')];
  assert.equal(places(await ref('Main', e).ask('ask-caught', `s/Main/${w}`, 'cause'))[0], at('wraps'));
  const error = await failure(west.client.actor('s/Main', e).ask('ask', `s/Main/${w}`, 'cause'));
  assert.equal(places(error.remoteStack)[0], at('wraps'));
});

describe('a source map that lies', () => {
  const code = 'export default (self) => {\n  self.on("boom", () => { throw new Error("boom"); });\n  self.on("fine", () => 1);\n};\n';
  const good = { version: 3, sources: ['a.ts'], names: [], mappings: 'AAAA;AACA;AACA' };
  const cases = {
    'is no JSON': '{{{',
    'is empty': '',
    'is of another version': JSON.stringify({ ...good, version: 2 }),
    'names a source it does not have': JSON.stringify({ ...good, mappings: 'AAAA;AECA' }),
    'leads before the first line': JSON.stringify({ ...good, mappings: 'AAAA;AADA' }),
    'ends within a number': JSON.stringify({ ...good, mappings: 'AAAA;AACg' }),
    'is endless': JSON.stringify({ ...good, mappings: `${'AAAA;'.repeat(300_000)}ggggggggA` }),
  };
  for (const [what, map] of Object.entries(cases)) {
    test(`that ${what}: the actor works, the place is that in the bundle`, async () => {
      const app = `lie${Object.keys(cases).indexOf(what)}`;
      const manifest = JSON.stringify({ name: app, actors: { T: { module: './t.js' } } });
      await east.client.call('deploy', { app, manifest, bundles: [{ type: 'T', code: Buffer.from(code), map: Buffer.from(map) }] });
      const a = east.client.actor(`${app}/T`, 'x');
      for (let i = 0; i < 3; i++) {
        const error = await failure(a.ask('boom'));
        assert.match(error.remoteStack, new RegExp(`\\(isola:${app}/t\\.js:2:33\\)|at isola:${app}/t\\.js:2:33`));
      }
      assert.equal(await a.ask('fine'), 1);
      const told = async () => (await whole(east, 'logs', { app, lines: 1000 })).lines.filter((l) => /places in the bundle of t\.js, not in its sources: source map: /.test(l.text)).length;
      if (map !== '') await until('it is told', told);
      assert.equal(await told(), map === '' ? 0 : 1);
    });
  }
  test('whose names would draw lines of their own', async () => {
    const manifest = JSON.stringify({ name: 'drawn', actors: { T: { module: './t.js' } } });
    const map = JSON.stringify({ ...good, sources: ['a.ts\n    at \u001b[31m(evil.ts:1:1)'] });
    await east.client.call('deploy', { app: 'drawn', manifest, bundles: [{ type: 'T', code: Buffer.from(code), map: Buffer.from(map) }] });
    const error = await failure(east.client.actor('drawn/T', 'x').ask('boom'));
    assert.equal(error.remoteStack.split('\n').filter((l) => l.includes('evil')).length, 1);
    assert.ok(error.remoteStack.includes('drawn/a.ts?    at ?[31m(evil.ts:1:1):2:1'), error.remoteStack);
  });
});
