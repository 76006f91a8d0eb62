// SPDX-License-Identifier: Apache-2.0
//
// self.sql in real isolates: values and cursors, transactions, what is refused, limits, and that what was acknowledged is there after
// hibernation, crashes, SIGKILLs and moves, all of it or nothing.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { actors, Cluster, ctlOk, ctlWhole, killHost, logged, until } from './cluster.mjs';

const PATIENCE = { timeout: 60_000 };
const app = {
  'isola.json': {
    name: 'q',
    actors: {
      Own: { module: './a.js', cpu: '30s' },
      Shared: { module: './a.js', isolation: 'shared', cpu: '30s' },
      Idle: { module: './a.js', hibernateAfter: '100ms' },
      Busy: { module: './a.js', cpu: '300ms' },
      BusyShared: { module: './a.js', cpu: '300ms', isolation: 'shared' },
      Small: { module: './a.js', sqlBytes: '256KB', cpu: '30s' },
      Start: { module: './start.js' },
    },
  },
  'a.js': `
    import { actor } from 'isola';
    const others = (globalThis.others ??= new Map());
    export default (self) => {
      others.set(self.key, self);
      const of = (code, Function) => new Function('self', 'sql', 'actor', 'others', code)(self, self.sql, actor, others);
      self.on('run', (code) => of(code, Function));
      self.on('wait', (code) => of(code, Object.getPrototypeOf(async () => {}).constructor));
      self.on('add', (n) => {
        self.sql.exec('CREATE TABLE IF NOT EXISTS t (n INTEGER, at TEXT)');
        self.sql\`INSERT INTO t VALUES (\${n}, 'x')\`;
        self.state.n = (self.state.n ?? 0) + 1;
        return self.sql.exec('SELECT count(*) AS n FROM t').one().n;
      });
      self.on('only', (n) => { // changes nothing but tables
        self.sql.exec('CREATE TABLE IF NOT EXISTS t (n INTEGER, at TEXT)');
        return self.sql.exec('INSERT INTO t VALUES (?, 0) RETURNING (SELECT count(*) FROM t) AS n', n).one().n;
      });
      self.on('count', () => [self.state.n ?? 0, self.sql\`SELECT count(*) AS n FROM sqlite_schema\`[0].n === 0 ? 0 : self.sql\`SELECT count(*) AS n FROM t\`[0].n]);
      self.on('crash', (n) => { self.sql\`INSERT INTO t VALUES (\${n}, 'lost')\`; setTimeout(() => { throw new Error('oh'); }, 0); return new Promise(() => {}); });
      self.on('pass', (to, n) => {
        self.sql.exec('CREATE TABLE IF NOT EXISTS sent (n)');
        self.sql\`INSERT INTO sent VALUES (\${n})\`;
        actor(to).emit('add', n, { durable: true });
      });
    };`,
  'start.js': `
    export default class {
      constructor() {
        this.sql.exec('CREATE TABLE IF NOT EXISTS t (n); CREATE INDEX IF NOT EXISTS i ON t (n)');
        this.sql.exec('INSERT INTO t VALUES (1)');
      }
      starts() { return this.sql.exec('SELECT count(*) AS n FROM t').one().n; }
    }`,
};

const cluster = new Cluster();
let node;
const ref = (type, key) => node.client.actor(`q/${type}`, key);
const run = (to, code) => to.ask('run', code, PATIENCE);
const live = async () => (await actors(node, 'q')).map((a) => a.address);
const gone = (address) => until(`${address} hibernates`, async () => !(await live()).includes(address));

before(async () => {
  node = await cluster.node('one', undefined, ['--threads', '1']);
  await cluster.deploy(node, 'q', app);
});
after(() => cluster.end());

for (const type of ['Own', 'Shared']) {
  describe(`in ${type}`, () => {
    const a = (key) => ref(type, key);

    test('values come back as they were given', async () => {
      assert.deepEqual(await run(a('values'), `
        sql.exec('CREATE TABLE t (a, b, c, d, e, f, g, h, i)');
        sql.exec('INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', null, 1, 1.5, -0, 'grüß 😀', new Uint8Array([1, 2]), true, 2n ** 62n, -(2n ** 63n));
        return sql.exec('SELECT *, typeof(b) AS tb, typeof(c) AS tc FROM t').one();`),
      { a: null, b: 1, c: 1.5, d: -0, e: 'grüß 😀', f: new Uint8Array([1, 2]), g: 1, h: 2n ** 62n, i: -(2n ** 63n), tb: 'integer', tc: 'real' });
      assert.deepEqual(await run(a('values'), `return sql.exec('SELECT ?, ?, ?, ?', 2 ** 53 - 1, 2n ** 53n, new Uint8Array(0), new Float64Array([1]).buffer).raw().toArray();`),
        [[2 ** 53 - 1, 2n ** 53n, new Uint8Array(0), new Uint8Array(new Float64Array([1]).buffer)]]);
      assert.deepEqual(await run(a('values'), `return sql.exec('SELECT $a AS a, :b AS "__proto__", @a AS c', { a: 1, b: 'x' }).one();`),
        JSON.parse('{"a":1,"__proto__":"x","c":1}'));
      assert.deepEqual(await run(a('values'), 'return sql`SELECT ${"a"} AS x, ${2} AS y UNION SELECT ${"b"}, 3`;'), [{ x: 'a', y: 2 }, { x: 'b', y: 3 }]);
      assert.equal(await run(a('values'), `return sql.exec('SELECT length(?) AS n', '\\ud800').one().n;`), 1); // half a pair is U+FFFD
    });

    test('a cursor gives its rows as they are asked for', async () => {
      const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i, i * 2 AS "double" FROM n';
      assert.deepEqual(await run(a('cursor'), `
        const c = sql.exec('${numbers}');
        const first = c.next().value, [second] = c.raw();
        return [first, second, c.columnNames, c.rowsRead, c.toArray().length, c.rowsRead];`), [{ i: 1, double: 2 }, [2, 4], ['i', 'double'], 2, 0, 2]);
      assert.deepEqual(await run(a('cursor'), `
        const c = sql.exec('${numbers}');
        let sum = 0;
        for (const { i } of c) sum += i;
        return [sum, c.rowsRead, sql.exec('${numbers}').raw().toArray().at(-1), sql.exec('${numbers} LIMIT 0').toArray()];`), [12502500, 5000, [5000, 10000], []]);
      assert.deepEqual(await run(a('cursor'), `
        sql.exec('CREATE TABLE t (a INTEGER PRIMARY KEY)');
        const c = sql.exec('INSERT INTO t VALUES (1), (2), (3) RETURNING a');
        return [c.rowsWritten, c.toArray(), sql.exec('UPDATE t SET a = a + 10').rowsWritten, sql.exec('SELECT 1; SELECT 2 AS two').one()];`), [3, [{ a: 1 }, { a: 2 }, { a: 3 }], 3, { two: 2 }]);
      await assert.rejects(run(a('cursor'), `sql.exec('SELECT * FROM t').one()`), { code: 'ESQL', message: /more than one row/ });
      await assert.rejects(run(a('cursor'), `sql.exec('SELECT * FROM t WHERE a < 0').one()`), { code: 'ESQL', message: /no row/ });
      // It ends when the code waits.
      await assert.rejects(a('cursor').ask('wait', `
        const c = sql.exec('${numbers}');
        c.next();
        await new Promise((done) => setTimeout(done, 1));
        return c.toArray();`), { name: 'TypeError', message: /this cursor has ended/ });
      assert.equal(await a('cursor').ask('wait', `
        const c = sql.exec('${numbers}');
        c.next();
        await new Promise((done) => setTimeout(done, 1));
        sql.exec('DROP TABLE t'); // nobody reads it
        return 1;`), 1);
    });

    test('a transaction is done as a whole, or not at all', async () => {
      const t = a('transaction');
      await run(t, `sql.exec('CREATE TABLE t (a UNIQUE)')`);
      assert.equal(await run(t, `return sql.transaction(() => { sql.exec('INSERT INTO t VALUES (1)'); return 'done'; });`), 'done');
      await assert.rejects(run(t, `sql.transaction(() => { sql.exec('INSERT INTO t VALUES (2)'); throw new RangeError('no'); });`), { name: 'RangeError', message: 'no' });
      assert.deepEqual(await run(t, `
        sql.transaction(() => {
          sql.exec('INSERT INTO t VALUES (3)');
          try { sql.transaction(() => { sql.exec('INSERT INTO t VALUES (4)'); sql.exec('INSERT INTO t VALUES (1)'); }); } catch (e) { if (e.sqliteCode !== 'SQLITE_CONSTRAINT_UNIQUE') throw e; }
          sql.exec('INSERT INTO t VALUES (5)');
        });
        return sql.exec('SELECT a FROM t').raw().toArray();`), [[1], [3], [5]]);
      await assert.rejects(run(t, `sql.transaction(async () => {})`), { name: 'TypeError', message: /not async/ });
      await assert.rejects(run(t, `sql.transaction(() => { sql.exec('INSERT INTO t VALUES (6)'); return Promise.resolve(); })`), { name: 'TypeError', message: /returned a promise/ });
      await assert.rejects(run(t, `sql.transaction()`), { name: 'TypeError', message: /fn is a function/ });
      await assert.rejects(run(t, `sql.transaction(() => { try { sql.exec('INSERT OR ROLLBACK INTO t VALUES (1)'); } catch {} sql.exec('INSERT INTO t VALUES (7)'); })`), { code: 'ESQL', message: /was rolled back/ });
      assert.deepEqual(await run(t, `return sql.exec('SELECT a FROM t').raw().toArray();`), [[1], [3], [5]]);
    });

    test('bad input is told of in words', async () => {
      const b = a('bad');
      await run(b, `sql.exec('CREATE TABLE t (a INTEGER PRIMARY KEY, b NOT NULL)')`);
      const bad = async (code, error) => assert.rejects(run(b, code), error, code);
      await bad('sql.exec()', { name: 'TypeError', message: /the query is a string/ });
      await bad('sql.exec(1)', { name: 'TypeError', message: /the query is a string/ });
      await bad('sql("SELECT 1")', { name: 'TypeError', message: /tag of templates/ });
      await bad('new (self.sql.exec)()', { name: 'TypeError' });
      await bad('(0, sql.exec)("SELECT 1")', { name: 'TypeError', message: /method of self.sql/ });
      await bad('sql.exec("SELECT ?", undefined)', { name: 'TypeError', code: 'EINVAL', message: /value 1 is undefined/ });
      await bad('sql.exec("SELECT ?, ?", 1, new Date(0))', { name: 'TypeError', message: /value 2 is a Date/ });
      await bad('sql.exec("SELECT ?", [1])', { name: 'TypeError', message: /value 1 is an array/ });
      await bad('sql.exec("SELECT ?", new Map())', { name: 'TypeError', message: /value 1 is an object/ });
      await bad('sql.exec("SELECT ?", () => {})', { name: 'TypeError', message: /value 1 is a function/ });
      await bad('sql.exec("SELECT ?", Symbol())', { name: 'TypeError', message: /value 1 is a symbol/ });
      await bad('sql.exec("SELECT :a", { a: {} })', { name: 'TypeError', message: /the value of a is an object/ });
      await bad('sql.exec("SELECT :a", { b: 1 })', { name: 'TypeError', message: /has no parameter :b/ });
      await bad('sql.exec("SELECT ?", 2n ** 63n)', { name: 'TypeError', message: /value 1 has more than 64 bits/ });
      await bad('sql.exec("SELECT ?")', { name: 'TypeError', message: /has 1 parameter, and 0 values are given/ });
      await bad('sql.exec("SELECT 1; SELECT ?", 1, 2)', { name: 'TypeError', message: /has 1 parameter, and 2 values/ });
      await bad('sql.exec("SELECT ü😀, x FORM t")', { code: 'ESQL', message: /near "t": syntax error \(line 1, column 19: t\)/ });
      assert.deepEqual(await run(b, `try { sql.exec('SELECT "😀ü" FROM t'); } catch (e) { return [e.name, e.code, e.sqliteCode, e.offset]; }`), ['Error', 'ESQL', 'SQLITE_ERROR', 7]);
      assert.deepEqual(await run(b, `try { sql.exec('INSERT INTO t VALUES (1, NULL)'); } catch (e) { return [e.code, e.sqliteCode, e.message]; }`), ['ESQL', 'SQLITE_CONSTRAINT_NOTNULL', 'NOT NULL constraint failed: t.b']);
      for (const denied of ['ATTACH "x" AS y', 'BEGIN', 'PRAGMA journal_mode = DELETE', 'CREATE TEMP TABLE x (a)', 'VACUUM', 'SELECT load_extension("x")'])
        await bad(`sql.exec(${JSON.stringify(denied.replaceAll('"', "'"))})`, { code: 'ESQL', message: /not for scripts|hibernates/ });
      await bad('const s = self; return others.get("bad") === s ? others.get("nobody").sql : 0', { name: 'TypeError' });
    });

    test('nobody sees the tables of another', async () => {
      await run(a('x'), `sql.exec('CREATE TABLE mine (a)')`);
      await assert.rejects(run(a('y'), `sql.exec('SELECT * FROM mine')`), { code: 'ESQL', message: /no such table: mine/ });
      if (type === 'Shared') await assert.rejects(run(a('y'), `others.get('x').sql.exec('SELECT * FROM mine')`), { code: 'EINVAL', message: /only the actor itself/ });
    });

    test('what a crash has not let settle is gone, all else is there', async () => {
      const c = a('crash');
      for (let i = 1; i <= 3; i++) assert.equal(await c.ask('add', i), i);
      await assert.rejects(c.ask('crash', 9), { code: 'EFAILED' });
      assert.deepEqual(await c.ask('count', PATIENCE), [3, 3]);
      assert.equal(await c.ask('add', 4), 4);
      await killHost(node);
      assert.deepEqual(await until('it is back', () => c.ask('count').catch(() => undefined)), [4, 4]);
    });
  });
}

test('tables are there after hibernation', async () => {
  const idle = ref('Idle', 'a');
  for (let i = 1; i <= 3; i++) {
    assert.equal(await idle.ask('add', i), i);
    await gone('q/Idle/a');
  }
  assert.deepEqual(await idle.ask('count'), [3, 3]);
});

test('what a start has done is kept', async () => {
  for (let i = 1; i <= 3; i++) {
    assert.equal(await ref('Start', 'a').ask('starts'), i);
    await ctlOk(node, 'stop', 'q/Start/a');
  }
});

test('an answer is sent when its rows are on disk, and so is what the turn sends', async () => {
  for (const [event, type] of [['add', 'Own'], ['only', 'Own'], ['only', 'Shared']]) {
    const own = ref(type, `gate-${event}`);
    for (let round = 0; round < 3; round++) {
      const asks = Array.from({ length: 20 }, (_, i) => own.ask(event, i, PATIENCE).catch(() => undefined));
      const acknowledged = Promise.all(asks).then((all) => Math.max(0, ...all.filter((n) => n !== undefined)));
      await asks[round];
      await killHost(node);
      const [state, rows] = await until('it is back', () => own.ask('count').catch(() => undefined));
      if (event === 'add') assert.equal(state, rows); // one commit
      assert.ok(rows >= await acknowledged, `${rows} ${await acknowledged}`);
    }
  }
});

test('rows and durable messages are of one commit', async () => {
  const from = ref('Own', 'from'), to = 'q/Shared/to';
  let sent = 0;
  for (let round = 0; round < 4; round++) {
    const passing = Array.from({ length: 20 }, () => from.ask('pass', to, sent++, PATIENCE).catch(() => undefined));
    await passing[round];
    await killHost(node);
    await Promise.all(passing);
  }
  const count = () => run(from, 'return sql`SELECT count(*) AS n FROM sent`[0].n').catch(() => undefined);
  const rows = await until('it is back', count);
  await until('all have come', async () => (await node.client.actor(to).ask('count').catch(() => []))[1] === rows);
  assert.deepEqual(await node.client.actor(to).ask('count'), [rows, rows]);
});

for (const type of ['Busy', 'BusyShared']) {
  test(`a query that does not end is ended with its actor's time (${type})`, async () => {
    const busy = ref(type, 'a');
    assert.equal(await busy.ask('add', 1), 1);
    for (const endless of [
      'SELECT count(*) FROM n', 'SELECT i FROM n WHERE i < 0', 'INSERT INTO t SELECT i, 0 FROM n WHERE i % 100000 = 1',
      'SELECT i FROM n ORDER BY i',
    ]) {
      const query = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) ${endless}`;
      await assert.rejects(busy.ask('run', `for (;;) try { sql.exec(${JSON.stringify(query)}).toArray(); } catch {}`, PATIENCE), { code: 'EFAILED', message: /CPU/ });
      await busy.ask('run', 'return 1', PATIENCE);
    }
    await assert.rejects(busy.ask('run', 'sql.transaction(() => { sql`INSERT INTO t VALUES (2, 0)`; for (;;); })', PATIENCE), { code: 'EFAILED' });
    assert.deepEqual(await busy.ask('count', PATIENCE), [1, 1]);
    await logged(node, `q/${type}/a`, /cpu/i);
  });
}

test('limits', async () => {
  const small = ref('Small', 'a');
  const bad = (code, error) => assert.rejects(run(small, code), error, code);
  assert.equal(await small.ask('add', 1), 1);
  await bad(`for (let i = 0; ; i++) sql.exec('INSERT INTO t VALUES (?, ?)', i, 'x'.repeat(1000))`, { code: 'ESQL', message: /256 KB at the most \(limit "sqlBytes"\)/ });
  assert.ok((await run(small, 'return sql.databaseSize')) <= 256 * 1024);
  await run(small, `sql.exec('DELETE FROM t; PRAGMA incremental_vacuum')`);
  assert.ok((await run(small, 'return sql.databaseSize')) < 20 * 1024);
  await bad(`sql.exec('SELECT ?', new Uint8Array(3_000_000))`, { code: 'ESQL', message: /too big/ });
  await bad(`sql.exec('SELECT 1' + ' '.repeat(200_000))`, { code: 'ESQL', message: /bytes/ });
  await bad(`sql.exec('WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT count(*) FROM n')`, { code: 'ESQL', message: /MB of memory/ });
  await bad(`const open = []; for (;;) { const c = sql.exec('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n'); open.push(c); }`, { code: 'EOVERLOAD', message: /100 cursors/ });
  assert.equal(await run(small, `return sql.exec('SELECT 1 AS one').one().one`), 1);
});

test('pages that are given back are not stored any more', async () => {
  const small = ref('Small', 'shrinks');
  const rows = (what, holds) => until(what, async () => {
    const [{ sql, journal }] = (await ctlWhole(node, 'store')).stores;
    return journal === 0 && holds(sql.rows) && sql.rows;
  });
  const before = await rows('all is in the tables', () => true);
  await run(small, `sql.exec('CREATE TABLE t (n, x)'); for (let i = 0; i < 100; i++) sql.exec('INSERT INTO t VALUES (?, ?)', i, 'x'.repeat(1000))`);
  await rows('its pages are there', (n) => n >= before + 25);
  await run(small, `sql.exec('DELETE FROM t WHERE n > 0; PRAGMA incremental_vacuum')`);
  await rows('they are gone', (n) => n <= before + 5);
  await run(small, `for (let i = 0; i < 50; i++) sql.exec('INSERT INTO t VALUES (?, ?)', i, 'y'.repeat(1000))`);
  await rows('others have come', (n) => n >= before + 12);
  await ctlOk(node, 'restart', 'q/Small/shrinks');
  assert.deepEqual(await run(small, `return sql.exec('SELECT count(*) AS n, sum(length(x)) AS x FROM t').one()`), { n: 51, x: 51_000 });
});

describe('a node that joins', () => {
  const two = new Cluster();
  after(() => two.end());
  test('has the tables of the actors that move to it', async () => {
    const KEYS = 30;
    const east = await two.node('east');
    await two.deploy(east, 'q', app);
    const of = (i) => east.client.actor(i % 2 === 0 ? 'q/Own' : 'q/Shared', `k${i}`);
    for (let i = 0; i < KEYS; i++) {
      await of(i).ask('add', i);
      await of(i).ask('run', `sql.exec('CREATE TABLE large (x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) INSERT INTO large SELECT randomblob(2000) FROM n')`);
    }
    await two.node('west', east);
    for (let i = 0; i < KEYS; i++) {
      assert.equal(await of(i).ask('add', i, PATIENCE), 2);
      assert.deepEqual(await of(i).ask('run', 'return sql`SELECT count(*) AS n, sum(length(x)) AS bytes FROM large`'), [{ n: 100, bytes: 200_000 }]);
    }
    assert.equal(new Set((await actors(east, 'q')).map((a) => a.node)).size, 2);
  });
});
