// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events';

/** What an actor answers and emits, for refs that know it: `actor<{ add(by?: number): number }>('shop/Counter', 'user-42')`. */
export type Handlers = { [event: string]: (...args: any[]) => any };
export type Events = { [event: string]: any[] };

export interface AskOptions {
  /** Milliseconds to wait for the reply; 30,000 unless said. */
  timeout?: number;
  signal?: AbortSignal;
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
  /** One way. False when much is waiting to be sent; 'drain' follows. Throws ECLONE with the path to what cannot be sent. */
  emit<K extends EventOf<H>>(event: K, ...args: Arguments<H[K]>): boolean;
  /**
   * Request and reply. A last argument that is a plain object with nothing but `timeout`, `signal`, `durable` in it (and at least one
   * of them) is options and is not sent; to send such an object, put options after it.
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
  /** Path of an agent's socket, also as "unix:/path". Default: $ISOLA_NODE, else agent.sock in $ISOLA_DATA, else in ~/.isola. */
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
  /** Sends what waits and ends the connection; asks without a reply fail with ECLOSED. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
  on(event: 'connect', listener: (hello: Hello) => void): this;
  on(event: 'disconnect', listener: (error: IsolaError) => void): this;
}

/** Connects to an agent. Rejects with EUNREACHABLE when there is none. */
export function connect(options?: ConnectOptions): Promise<Client>;

/** A ref through the default agent, which is connected to when the ref is first used. Always valid, whether or not the actor runs. */
export function actor<H extends Handlers = Handlers, E extends Events = Events>(address: string): Ref<H, E>;
export function actor<H extends Handlers = Handlers, E extends Events = Events>(type: string, key: string | number): Ref<H, E>;
