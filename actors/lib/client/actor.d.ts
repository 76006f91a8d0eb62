// SPDX-License-Identifier: Apache-2.0
//
// What a script finds in an isolate: `self` and what hangs on it (docs/actors.md).
import { EventEmitter } from 'node:events';
import { ReadableStream, WritableStream } from 'node:stream/web';

import { Emits, EventArgs, EventName, Events, EventsOf, Handler, HandlerName, Handlers, Ref, emitted } from './index.js';

/** Anything that can be sent: what structuredClone takes, and refs. */
export type Sendable = unknown;

export interface ListOptions {
  prefix?: string;
  /** The first key, and from which on. */
  start?: string;
  startAfter?: string;
  /** The first key that is not among them any more. */
  end?: string;
  limit?: number;
  /** The last one first. */
  reverse?: boolean;
}

/** What `self.storage` and a transaction have in common. Keys have 1 to 2,048 bytes in UTF-8. */
export interface Keys {
  get<V = any>(key: string): Promise<V | undefined>;
  /** Those that are there, in the order of `keys`. */
  getMany<V = any>(keys: Iterable<string>): Promise<Map<string, V>>;
  put(key: string, value: Sendable): Promise<void>;
  putMany(entries: Map<string, Sendable> | Iterable<readonly [string, Sendable]> | { [key: string]: Sendable }): Promise<void>;
  /** Was it there? */
  delete(key: string): Promise<boolean>;
  /** How many were there? */
  deleteMany(keys: Iterable<string>): Promise<number>;
  deleteAll(): Promise<void>;
  list<V = any>(options?: ListOptions): Promise<Map<string, V>>;
  /** As `list`, read in pages as they are asked for. */
  entries<V = any>(options?: ListOptions): AsyncIterableIterator<[string, V]>;
}

export interface Transaction extends Keys {
  /** Undoes what was changed so far, and ends it. */
  rollback(): void;
}

export interface Storage extends Keys {
  /** All that `fn` changes, or, when it throws, nothing. */
  transaction<R>(fn: (txn: Transaction) => R | Promise<R>): Promise<R>;
  /** Waits until all so far is on disk. */
  sync(): Promise<void>;
}

export type SqlValue = null | number | bigint | string | boolean | ArrayBuffer | ArrayBufferView;
export type SqlRow = { [column: string]: any };

export interface Cursor<R = SqlRow> extends IterableIterator<R> {
  readonly columnNames: string[];
  readonly rowsRead: number;
  readonly rowsWritten: number;
  toArray(): R[];
  /** The only row there is; else it throws. */
  one(): R;
  /** Rows as arrays of values. */
  raw(): IterableIterator<any[]>;
}

export interface Sql {
  /** An array of rows; values are bound where they stand. */
  <R = SqlRow>(query: TemplateStringsArray, ...values: SqlValue[]): R[];
  exec<R = SqlRow>(query: string, ...values: SqlValue[] | [{ [name: string]: SqlValue }]): Cursor<R>;
  transaction<R>(fn: () => R): R;
  readonly databaseSize: number;
}

/** A Date, ms since 1970, or a duration such as '90s'. */
export type Moment = Date | number | string;
export type Schedule = Moment
  | { at: Date | number; id?: string }
  | { after: string | number; id?: string }
  | { every: string | number; start?: Date | number; id?: string }
  | { cron: string; timeZone?: string; id?: string };

/** A timer of `self.schedule`. */
export interface Timer {
  id: string;
  event: string;
  next: Date;
  args: any[];
  every?: number;
  cron?: string;
  timeZone?: string;
}

/** What `down` brings, of an actor that is monitored. */
export interface Down {
  address: string;
  reason: 'crashed' | 'failed' | 'stopped' | 'lost';
  message: string;
}

/**
 * An actor, of its own module: what a function is given as `self`, or a class has as `this`. `S` is its state, `E` what it emits, `H` what it
 * handles. A class may extend it (`class Cart extends Actor<State, { changed: [n: number] }>`), in modules of actors only: programs do not have it.
 */
export class Actor<S = any, E extends object = Events, H extends object = Handlers> extends EventEmitter implements Emits<E> {
  readonly [emitted]?: E;
  readonly app: string;
  readonly type: string;
  readonly key: string;
  /** "app/Type/key" */
  readonly address: string;
  /** Saved when a turn has changed it; `{}` at first. */
  state: S;
  readonly storage: Storage;
  readonly sql: Sql;
  /** Of the present turn: aborts when nobody waits for its answer any more. */
  readonly signal: AbortSignal;
  /** The W3C trace context of the present turn. */
  readonly traceparent: string | undefined;

  /** Before the first message. */
  onActivate?(): unknown;
  /** Before the activation ends. */
  onHibernate?(): unknown;
  /**
   * Before onActivate, once, when another release has written what is kept. An object it returns becomes the state. `fromVersion`: the app's version
   * then, or the id of that release; undefined when it is not known, because that release had no such hook.
   */
  onUpgrade?(oldState: any, fromVersion: string | undefined): unknown;

  on<K extends HandlerName<H>>(event: K, handler: Handler<H, K>): this;
  on<K extends EventName<E>>(event: K, listener: (...args: EventArgs<E, K>) => unknown): this;
  on(event: 'down', listener: (down: Down) => unknown): this;
  once<K extends HandlerName<H>>(event: K, handler: Handler<H, K>): this;
  once<K extends EventName<E>>(event: K, listener: (...args: EventArgs<E, K>) => unknown): this;
  once(event: 'down', listener: (down: Down) => unknown): this;
  /** To its own handlers at once, to subscribers anywhere when the turn's state is on disk. True when anyone hears it. */
  emit<K extends EventName<E>>(event: K, ...args: EventArgs<E, K>): boolean;

  /** Sets a durable timer, and returns its id: `event` is handled then, exactly once. */
  schedule(event: string, when: Schedule, ...args: Sendable[]): string;
  /** Whether there was such a timer. */
  cancel(id: string): boolean;
  /** The next one first. */
  schedules(): Timer[];

  /** Starts an actor of this app (or 'app/Type') as a child, which is kept going. */
  spawn<T extends object = Handlers, F extends object = EventsOf<T>>(
    type: string, key: string | number, options?: { restart?: 'transient' | 'permanent' | 'temporary' }): Ref<T, F>;
  /** 'down' follows whenever it ends. */
  monitor(actor: Ref<any, any> | string): void;
  demonitor(actor: Ref<any, any> | string): void;
  /** A pipe of bytes, either end of which can be sent. */
  stream(): { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array | ArrayBuffer | string> };
}

/** `export default (self: Self<State, Counter>) => { self.on('add', (by = 1) => …) }`: `T` has the handlers and, if it extends Emits, the events. */
export type Self<S = any, T extends object = Handlers> = Actor<S, EventsOf<T>, T>;
