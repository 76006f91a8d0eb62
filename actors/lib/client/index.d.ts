// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events';

/** What an actor answers and emits, for refs that know it: `actor<{ add(by?: number): number }>('shop/Counter', 'user-42')`. */
export type Handlers = { [event: string]: (...args: any[]) => any };
export type Events = { [event: string]: any[] };

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

type EventOf<T> = keyof T & string;
type Answer<F> = F extends (...args: any[]) => infer R ? Promise<Awaited<R>> : never;
type Arguments<F> = F extends (...args: infer A) => any ? A : never;

/** The error codes of Isola (an actor's own errors keep theirs). */
export type ErrorCode = 'ETIMEDOUT' | 'EOVERLOAD' | 'EFAILED' | 'EDEADLOCK' | 'ENOACTOR' | 'EPERM' | 'ETOOBIG' | 'EUNREACHABLE'
  | 'EUPGRADE' | 'ECLONE' | 'EINVAL' | 'EPROTO' | 'ECLOSED' | 'ESCRIPT';

/** What an ask rejects with. */
export interface IsolaError extends Error {
  code?: ErrorCode | string | number;
  /** The stack where the error was thrown, when that was in an actor; `stack` shows it too. */
  remoteStack?: string;
}

/** An EventEmitter whose other end is an actor somewhere in the cluster. */
export class Ref<H extends Handlers = Handlers, E extends Events = Events> extends EventEmitter {
  private constructor();
  /** "app/Type/key" */
  readonly address: string;
  /**
   * One way. False when much is waiting to be sent, or, of durable ones, 1,000 are not acknowledged; 'drain' follows. Throws ECLONE with the
   * path to what cannot be sent. A last argument that is a plain object with `durable` or `traceparent`, and nothing but names of options, in
   * it is options.
   */
  emit<K extends EventOf<H>>(event: K, ...args: [...Arguments<H[K]>, EmitOptions] | Arguments<H[K]>): boolean;
  /**
   * Request and reply. A last argument that is a plain object with nothing but `timeout`, `signal`, `durable`, `traceparent` in it (and at
   * least one of them) is options and is not sent; to send such an object, put options after it.
   */
  ask<K extends EventOf<H>>(event: K, ...args: [...Arguments<H[K]>, AskOptions] | Arguments<H[K]>): Answer<H[K]>;
  /** The first listener of an event subscribes at the actor, the last one to go unsubscribes. 'drain' is local. */
  on<K extends EventOf<E>>(event: K | 'error' | 'drain', listener: (...args: E[K]) => void): this;
  once<K extends EventOf<E>>(event: K | 'error' | 'drain', listener: (...args: E[K]) => void): this;
  off<K extends EventOf<E>>(event: K | 'error' | 'drain', listener: (...args: E[K]) => void): this;
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
  actor<H extends Handlers = Handlers, E extends Events = Events>(address: string): Ref<H, E>;
  actor<H extends Handlers = Handlers, E extends Events = Events>(type: string, key: string | number): Ref<H, E>;
  /** A method of the agent itself (docs/protocol.md): `call('nodes')`. */
  call(method: string, params?: object, options?: AskOptions): Promise<any>;
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
export function actor<H extends Handlers = Handlers, E extends Events = Events>(address: string): Ref<H, E>;
export function actor<H extends Handlers = Handlers, E extends Events = Events>(type: string, key: string | number): Ref<H, E>;
