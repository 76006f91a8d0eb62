// SPDX-License-Identifier: Apache-2.0
//
// What the types of the package `isola` know. Compiled by unit/types_test.mjs, never run: a line below `@ts-expect-error` that is right is an error too.
import { on, once } from 'node:events';

import { Actor, Client, actor, closed, connect, service } from 'isola';
import type { Answer, Emits, ErrorCode, HandlerName, Hello, IsolaError, LogLine, Ref, Self, Subscription } from 'isola';

type Equal<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;
const is = <A, B>(_: Equal<A, B>) => {};

// --- a type that is an interface ---

interface Counter extends Emits<{ changed: [n: number]; named: [name: string, at: Date] }> {
  add(by?: number): number;
  get(): Promise<number>;
  label(name: string, options?: { loud: boolean }): void;
  all(...names: string[]): string[];
  online(): boolean; // no hook
}

async function typed() {
  const c = actor<Counter>('shop/Counter', 'user-42');
  actor<Counter>('shop/Counter/user-42');
  actor<Counter>('shop/Counter', 42);
  is<Awaited<ReturnType<typeof c.ask<'add'>>>, number>(true);
  const n: number = await c.ask('add', 5);
  const m: number = await c.ask('get');
  await c.ask('add');
  await c.ask('add', 1, { timeout: 2000 });
  await c.ask('add', { timeout: 2000, signal: AbortSignal.timeout(5) });
  await c.ask('get', { durable: true, traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' });
  await c.ask('label', 'x', { loud: true }, { timeout: 5 });
  await c.ask('label', 'x', { timeout: 5 });
  const names: string[] = await c.ask('all', 'a', 'b');
  const online: boolean = await c.ask('online');
  const room: boolean = c.emit('add', 5);
  c.emit('add', 5, { durable: true });
  c.emit('add', { durable: true });
  // @ts-expect-error: no such handler
  await c.ask('sub', 1);
  // @ts-expect-error: no number
  await c.ask('add', '5');
  // @ts-expect-error: too many
  await c.ask('add', 5, 6);
  // @ts-expect-error: too few
  await c.ask('label');
  // @ts-expect-error: no such option
  await c.ask('get', { timeuot: 5 });
  // @ts-expect-error: a number
  const s: string = await c.ask('get');
  // @ts-expect-error: an emit waits for nothing
  c.emit('add', 5, { timeout: 5 });
  // @ts-expect-error: what it emits is no handler of it
  c.emit('changed', 5);

  c.on('changed', (n) => is<typeof n, number>(true)).once('named', (name, at) => { name.toUpperCase(); at.getTime(); });
  c.off('changed', () => {});
  c.on('error', (error) => error.message).on('drain', () => {});
  c.on(closed, () => {});
  // @ts-expect-error: no such event
  c.on('chanegd', () => {});
  // @ts-expect-error: n is a number
  c.on('changed', (n: string) => {});
  // @ts-expect-error: it has one argument
  c.on('changed', (n, m) => {});

  for await (const [n] of c.events('changed')) is<typeof n, number>(true);
  for await (const [name, at] of c.events('named', { signal: AbortSignal.timeout(5), limit: 5 })) at.getTime() + name.length;
  // @ts-expect-error: no such event
  c.events('nmaed');
  // @ts-expect-error: no such option
  c.events('named', { limti: 5 });
  for await (const [n] of on(c, 'changed', { close: [closed], highWaterMark: 5 })) void n;
  const [first] = await once(c, 'changed');
  await using events: Subscription<[n: number]> = c.events('changed');
  c.pause().resume();
  return [n, m, s, names, online, room, first, events, c.address, c.toString(), c.toJSON()];
}

// --- a type that is a class, or is made of one ---

class Cart extends Actor<{ items?: string[] }, { full: [at: Date] }> {
  #secret = 5;
  limit = 10;
  async add(item: string, n = 1): Promise<number> {
    this.state.items ??= [];
    this.state.items.push(item);
    this.emit('full', new Date());
    // @ts-expect-error: no such event
    this.emit('fulll');
    // @ts-expect-error: no such state
    this.state.itmes;
    this.schedule('remind', { every: '5m', id: 'r' }, item);
    await this.storage.put(`item/${n}`, item);
    const stored = await this.storage.get<string>('item/1');
    const rows = this.sql<{ id: number }>`SELECT id FROM items WHERE name = ${item}`;
    return rows.length + (stored?.length ?? 0) + this.sql.exec<{ n: number }>('SELECT 1 AS n').one().n + this.#secret + this._own();
  }
  items() { return this.state.items ?? []; }
  remind(item: string) { this.signal.throwIfAborted(); return item; }
  onActivate() { this.monitor(actor('shop/Counter', 'a')); }
  async onUpgrade(old: { things?: string[] }, from: string | undefined) { return from === '1.0.0' ? { items: old.things } : undefined; }
  _own() { return 1; }
  private inner() {}
}

async function ofClass(ref: Ref<Cart>) {
  is<HandlerName<Cart>, 'add' | 'items' | 'remind'>(true);
  is<Answer<Cart, 'items'>, string[]>(true);
  const n: number = await ref.ask('add', 'tea', 2);
  ref.on('full', (at) => at.getTime());
  // @ts-expect-error: a hook
  await ref.ask('onActivate');
  // @ts-expect-error: likewise
  await ref.ask('onUpgrade', {}, '1.0.0');
  // @ts-expect-error: begins with _
  await ref.ask('_own');
  // @ts-expect-error: private
  await ref.ask('inner');
  // @ts-expect-error: every actor has that, to use itself
  await ref.ask('schedule', 'x', '5s');
  // @ts-expect-error: no function
  await ref.ask('limit');
  // @ts-expect-error: no such event
  ref.on('empty', () => {});
  return n;
}

class Plain { // extends nothing
  total(of: number[]) { return of.length; }
}
const plain = async () => (await actor<Plain>('shop/Plain', 'a').ask('total', [1, 2])).toFixed();
actor<Plain>('shop/Plain', 'a').on('anything', (...values) => values); // nothing is known of what it emits
actor<Plain, { done: [] }>('shop/Plain', 'a').on('done', () => {});
// @ts-expect-error: that is known here
actor<Plain, { done: [] }>('shop/Plain', 'a').on('anything', () => {});

// --- a function of self ---

const counter = (self: Self<{ n?: number }, Counter>) => {
  self.on('add', (by = 1) => (self.state.n = (self.state.n ?? 0) + by));
  self.on('get', () => self.state.n ?? 0); // a promise or not
  self.on('down', ({ address, reason }) => `${address} ${reason}`);
  // @ts-expect-error: no such handler
  self.on('sub', () => {});
  // @ts-expect-error: add answers with a number
  self.on('add', () => 'x');
  self.emit('changed', 5);
  // @ts-expect-error: a number
  self.emit('changed', 'x');
  const child = self.spawn<Counter>('Counter', 'b', { restart: 'permanent' });
  child.ask('add', 1).then((n) => is<typeof n, number>(true));
  // @ts-expect-error: no such way
  self.spawn('Counter', 'b', { restart: 'always' });
  const { readable, writable } = self.stream();
  return [self.app, self.type, self.key, self.address, self.traceparent, self.schedules()[0]?.next.getTime(), self.cancel('x'), readable, writable];
};
const anything = (self: Self) => {
  self.on('whatever', (a, b) => a + b);
  self.emit('whatever', 1, 2);
  self.state.n ??= 0;
};

// --- nothing known ---

async function untyped() {
  const c = actor('shop/Counter', 'user-42');
  const x: number = await c.ask('whatever', 1, 'a', { timeout: 5 });
  c.emit('whatever', 1, { durable: true });
  c.on('whatever', (a, b) => a + b).events('whatever');
  // @ts-expect-error: a key is a string or a number
  actor('shop/Counter', {});
  return x;
}

// --- clients ---

async function clients() {
  await using client: Client = await connect({ socket: '/run/isola/agent.sock' });
  client.on('connect', (hello: Hello) => hello.node).on('disconnect', (error: IsolaError) => error.code);
  client.on('undeliverable', (error, address, event) => `${error.remoteStack} ${address} ${event}`);
  const code: ErrorCode = 'EOVERLOAD';
  // @ts-expect-error: no such code
  const none: ErrorCode = 'EOVERLOADED';
  await client.actor<Counter>('shop/Counter', 'a').ask('add', 1);
  const { nodes, cluster } = await client.call('nodes');
  const up: boolean = nodes[0].state === 'up' && cluster?.name === 'isola';
  const { actors, unreachable } = await client.call('ps', { app: 'shop' }, { timeout: 5 });
  for (const row of actors) {
    if (row.isolation === 'process') row.pid = row.port;
    else row.mailbox += row.thread + unreachable.length;
  }
  const line: LogLine | undefined = (await client.call('logs', { level: 'warn', since: 5 })).lines.at(-1);
  const back: string | null = (await client.call('releases', { app: 'shop' })).back;
  const apps: string[] = (await client.call('releases')).apps.map(({ app }) => app);
  const other: number = await client.call('token', { expires_ms: 5 }); // of what is not declared nothing is known
  // @ts-expect-error: no such level
  await client.call('logs', { level: 'loud' });
  // @ts-expect-error: an app is needed
  await client.call('release');
  // @ts-expect-error: no such param
  await client.call('ps', { ap: 'shop' });
  // @ts-expect-error: actors have no ports
  actors[0].port;
  await client.flush();
  await client.close({ timeout: 5 });
  // @ts-expect-error: no such option
  await connect({ sokcet: 'x' });
  return [up, line, back, apps, other, code, none, client.unacknowledged, client.node];
}

export { anything, clients, counter, ofClass, plain, typed, untyped };

// --- a service's own end ---

function serving() {
  const self = service<Counter>();
  self.on('add', (by = 1) => by + 1);
  self.on('get', async () => 5);
  // @ts-expect-error: it answers a number
  self.on('get', () => 'five');
  // @ts-expect-error: it handles no such thing
  self.on('sub', () => 1);
  const went: boolean = self.emit('changed', 5);
  // @ts-expect-error: its value is a number
  self.emit('changed', 'five');
  self.idle().then(() => self.address.length);
  const any = service();
  any.on('whatever', (a, b) => [a, b]);
  any.emit('whatever', 1, 2);
  return went;
}
