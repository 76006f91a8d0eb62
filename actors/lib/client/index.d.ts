// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events';

import { Actor } from './actor.js';
import { Methods } from './agent.js';

export * from './actor.js';
export * from './agent.js';

/** What an actor handles, when nothing more is known of it. */
export type Handlers = { [event: string]: (...args: any[]) => any };
/** What an actor emits: the arguments of each event. */
export type Events = { [event: string]: any[] };

export declare const emitted: unique symbol;
/** That an actor emits these events: `interface Counter extends Emits<{ changed: [n: number] }> { add(by?: number): number }`. */
export interface Emits<E extends object> { readonly [emitted]?: E }

/** What the actors of a type emit: what it says with `Emits`, or anything. */
export type EventsOf<T> = T extends unknown ? typeof emitted extends keyof T ? Extract<NonNullable<T[typeof emitted]>, object> : Events : never;
export type EventName<E> = keyof E & string;
export type EventArgs<E, K extends keyof E> = E[K] extends any[] ? E[K] : never;

type IsHook<K extends string> = K extends `on${infer C}${string}` ? (C extends Uppercase<C> ? (C extends Lowercase<C> ? false : true) : false) : false;
/** The handlers of a type, which may be an interface, or the class of the actor itself: its public methods but hooks, and what begins with "_". */
export type HandlerName<T> = { [K in keyof T & string]:
  K extends `_${string}` ? never
    : string extends K ? K
      : IsHook<K> extends true ? never
        : T extends Actor<any, any, any> ? (K extends keyof Actor ? never : T[K] extends (...args: any[]) => any ? K : never)
          : T[K] extends (...args: any[]) => any ? K : never
}[keyof T & string];
export type Handler<T, K extends keyof T> = (...args: HandlerArgs<T, K>) => Answer<T, K> | Promise<Answer<T, K>>;
export type HandlerArgs<T, K extends keyof T> = T[K] extends (...args: infer A) => any ? A : never;
/** What an ask of it is answered with. */
export type Answer<T, K extends keyof T> = T[K] extends (...args: any[]) => infer R ? Awaited<R> : never;

// Options may follow fewer arguments than there could be.
type Shorter<A extends any[]> = number extends A['length'] ? A
  : A extends [] ? []
    : A extends [infer F, ...infer R] ? [F, ...Shorter<R>]
      : A extends [(infer F)?, ...infer R] ? [] | [F, ...Shorter<R>] : A;
type WithOptions<A extends any[], O> = A | [...Shorter<A>, O];

export interface AskOptions {
  /** Milliseconds to wait for the reply; 30,000 unless said. */
  timeout?: number;
  signal?: AbortSignal;
  /** Sent until the actor has carried it out, exactly once; also when nobody waits for the reply any more. */
  durable?: boolean;
  /** The W3C trace context it is sent in, which all that it leads to has too: `00-…-…-01`. EINVAL when it is none. */
  traceparent?: string;
}

/** With one of the two. */
export interface EmitOptions {
  /** Sent until the actor has carried it out, exactly once. */
  durable?: boolean;
  /** As of an ask. */
  traceparent?: string;
}

/** The error codes of Isola (an actor's own errors keep theirs). */
export type ErrorCode = 'ETIMEDOUT' | 'EOVERLOAD' | 'EFAILED' | 'EDEADLOCK' | 'ENOACTOR' | 'EPERM' | 'ETOOBIG' | 'EUNREACHABLE' | 'EUPGRADE' | 'ECLONE' | 'EINVAL'
  | 'EPROTO' | 'ENOMEM' | 'EIO' | 'ENOENT' | 'EEXIST' | 'EBUSY' | 'ESCHEMA' | 'ECLOSED' | 'EMODULE' | 'EMANIFEST' | 'ESCRIPT' | 'ECANCELED' | 'ESQL';

/** What an ask rejects with. */
export interface IsolaError extends Error {
  code?: ErrorCode | string | number;
  /** The stack where the error was thrown, when that was in an actor; `stack` shows it too. */
  remoteStack?: string;
}

export interface EventsOptions {
  /** Ends the iteration: it throws the signal's reason. */
  signal?: AbortSignal;
  /** How many events may wait to be taken; with one more it ends with EOVERLOAD. 10,000 unless said. */
  limit?: number;
}

/** Events of an actor, one after the other. Ends, as `return()` and leaving the loop do, the subscription. */
export interface Subscription<A extends any[] = any[]> extends AsyncIterableIterator<A, undefined, void>, AsyncDisposable {
  next(): Promise<IteratorResult<A, undefined>>;
  return(): Promise<IteratorResult<A, undefined>>;
  throw(error: unknown): Promise<IteratorResult<A, undefined>>;
  [Symbol.asyncIterator](): this;
}

/** Emitted on this side alone, on each ref with subscriptions, when its client is closed: `events.on(ref, 'changed', { close: [closed] })`. */
export const closed: 'isola.closed';

/**
 * An EventEmitter whose other end is an actor somewhere in the cluster. `T` is what the actor handles: an interface, or the class it is made of.
 * What it emits is known when that extends `Emits`, or `Actor`, or is said as `E`.
 */
export class Ref<T extends object = Handlers, E extends object = EventsOf<T>> extends EventEmitter {
  private constructor();
  /** "app/Type/key" */
  readonly address: string;
  /**
   * One way. False when much is waiting to be sent, or, of durable ones, 1,000 are not acknowledged; 'drain' follows. Throws ECLONE with the
   * path to what cannot be sent. A last argument that is a plain object with `durable` or `traceparent`, and nothing but names of options, in
   * it is options.
   */
  emit<K extends HandlerName<T>>(event: K, ...args: WithOptions<HandlerArgs<T, K>, EmitOptions>): boolean;
  /**
   * Request and reply. A last argument that is a plain object with nothing but `timeout`, `signal`, `durable`, `traceparent` in it (and at
   * least one of them) is options and is not sent; to send such an object, put options after it.
   */
  ask<K extends HandlerName<T>>(event: K, ...args: WithOptions<HandlerArgs<T, K>, AskOptions>): Promise<Answer<T, K>>;
  /** The first listener of an event subscribes at the actor, the last one to go unsubscribes. 'drain' is local. */
  on<K extends EventName<E>>(event: K, listener: (...args: EventArgs<E, K>) => void): this;
  on(event: 'error', listener: (error: any) => void): this;
  on(event: 'drain' | typeof closed | symbol, listener: () => void): this;
  once<K extends EventName<E>>(event: K, listener: (...args: EventArgs<E, K>) => void): this;
  once(event: 'error', listener: (error: any) => void): this;
  once(event: 'drain' | typeof closed | symbol, listener: () => void): this;
  off<K extends EventName<E>>(event: K, listener: (...args: EventArgs<E, K>) => void): this;
  off(event: 'error', listener: (error: any) => void): this;
  off(event: 'drain' | typeof closed | symbol, listener: () => void): this;
  /**
   * In Node.js programs: `for await (const [n] of ref.events('changed'))`. Begins now, also before it is iterated. Throws what an 'error' event
   * brings; ends when the client is closed.
   */
  events<K extends EventName<E>>(event: K, options?: EventsOptions): Subscription<EventArgs<E, K>>;
  /** In Node.js programs: unsubscribes until `resume()`; what is emitted meanwhile is lost. Called by `events.on` with a `highWaterMark`. */
  pause(): this;
  resume(): this;
  toString(): string;
  toJSON(): string;
}

export interface ConnectOptions {
  /** Path of an agent's socket, also as "unix:/path". Default: $ISOLA_NODE, else agent.sock in $ISOLA_DATA, else in ~/.isola, else /run/isola/agent.sock. */
  socket?: string;
}

/** What an agent says of itself. */
export interface Hello {
  node: string;
  version: string;
  wire: number;
  pid: number;
}

/** A connection to an agent. It is made again when it is lost; subscriptions are repeated then. */
export class Client extends EventEmitter implements AsyncDisposable {
  constructor(options?: ConnectOptions);
  /** The node's name, once connected. */
  readonly node: string | null;
  readonly socket: string;
  actor<T extends object = Handlers, E extends object = EventsOf<T>>(address: string): Ref<T, E>;
  actor<T extends object = Handlers, E extends object = EventsOf<T>>(type: string, key: string | number): Ref<T, E>;
  /** A method of the agent itself: `const { nodes } = await client.call('nodes')`. Of those that `Methods` has, params and result are known; docs/protocol.md has all. */
  call<M extends keyof Methods>(method: M, ...rest: {} extends Methods[M]['params'] ? [params?: Methods[M]['params'], options?: AskOptions] : [params: Methods[M]['params'], options?: AskOptions]):
    Promise<Methods[M]['result']>;
  /** Without an app, the current release of every one. */
  call(method: 'releases', params?: { app?: undefined }, options?: AskOptions): Promise<{ apps: { app: string; release: string; deployed_ms: number; by: string; message: string }[] }>;
  call<M extends string>(method: M extends keyof Methods ? never : M, params?: object, options?: AskOptions): Promise<any>;
  /** Connects now; rejects with EUNREACHABLE when there is no agent. */
  ready(): Promise<this>;
  /** Resolves when every durable message has been acknowledged, or given up. */
  flush(): Promise<void>;
  /** How many durable messages have not been. */
  readonly unacknowledged: number;
  /**
   * Sends what waits, waits for durable messages to be acknowledged (5,000 ms at the most, unless said), and ends the connection; asks without a
   * reply fail with ECLOSED.
   */
  close(options?: { timeout?: number }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
  on(event: 'connect', listener: (hello: Hello) => void): this;
  on(event: 'disconnect', listener: (error: IsolaError) => void): this;
  /** A durable emit was given up: it can never be delivered, or has crashed its receiver three times. */
  on(event: 'undeliverable', listener: (error: IsolaError, address: string, event: string) => void): this;
}

/** Connects to an agent. Rejects with EUNREACHABLE when there is none. */
export function connect(options?: ConnectOptions): Promise<Client>;

/** A ref through the default agent, which is connected to when the ref is first used. Always valid, whether or not the actor runs. */
export function actor<T extends object = Handlers, E extends object = EventsOf<T>>(address: string): Ref<T, E>;
export function actor<T extends object = Handlers, E extends object = EventsOf<T>>(type: string, key: string | number): Ref<T, E>;

/**
 * The messages of a program that Isola runs as a service, under the address app/Type/N: an EventEmitter whose handlers answer asks, by what they return, or
 * what the promise fulfils with, and whose `emit` reaches every subscriber. Messages come while others are being answered. `T` is what it handles, `E` what it emits.
 */
export interface Service<T extends object = Handlers, E extends object = EventsOf<T>> extends Omit<EventEmitter, 'on' | 'once' | 'off' | 'emit'> {
  /** "app/Type/N" */
  readonly address: string;
  on<K extends HandlerName<T>>(event: K, handler: Handler<T, K>): this;
  once<K extends HandlerName<T>>(event: K, handler: Handler<T, K>): this;
  off<K extends HandlerName<T>>(event: K, handler: Handler<T, K>): this;
  /** To its own listeners, and to every subscriber anywhere. */
  emit<K extends EventName<E>>(event: K, ...args: EventArgs<E, K>): boolean;
  /** Resolves when no handler is at work: what was sent to it so far has come, and is answered. */
  idle(): Promise<void>;
  toString(): string;
}

/** The messages of this program, which Isola runs as a service; the same object each time. Throws EINVAL in any other program. */
export function service<T extends object = Handlers, E extends object = EventsOf<T>>(): Service<T, E>;
