// SPDX-License-Identifier: Apache-2.0
//
// Isola for any Node.js program on the host of an agent: `import { actor, connect } from 'isola'`.
import EventEmitter from 'node:events';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { Connection } from './connection.js';
import { codeError } from './errors.js';
import { Ref, addressOf } from './ref.js';
import { service } from './service.js';
import { closed } from './subscription.js';

const CLOSE_TIMEOUT = 5000; // ms

/** $ISOLA_NODE, else agent.sock in $ISOLA_DATA, else in ~/.isola, else, where there is none, that of the system's service. */
function defaultSocket() {
  if (process.env.ISOLA_NODE) return process.env.ISOLA_NODE;
  if (process.env.ISOLA_DATA) return join(process.env.ISOLA_DATA, 'agent.sock');
  const own = join(homedir(), '.isola', 'agent.sock'), service = '/run/isola/agent.sock';
  return !existsSync(own) && existsSync(service) ? service : own;
}

function pathOf(socket) {
  if (typeof socket !== 'string' || socket === '') throw new TypeError('socket is the path of an agent\'s socket');
  const path = socket.startsWith('unix:') ? socket.slice('unix:'.length) : socket;
  if (/^[a-z+]+:\/\//i.test(path)) throw codeError('EINVAL', `${socket}: this release reaches agents over their unix sockets only`);
  if (Buffer.byteLength(path) > 107) throw codeError('EINVAL', `${path} is too long for a unix socket (107 bytes at the most)`);
  return path;
}

/**
 * A connection to an agent. Events: 'connect' (hello) each time it is made, 'undeliverable' (error, address, event) for a durable emit that was
 * given up (a warning when nobody listens), 'disconnect' (error) when an agent that was there is lost; messages wait for it for a few seconds and subscriptions are repeated.
 */
export class Client extends EventEmitter {
  #connection;
  #node = null;

  constructor({ socket = defaultSocket() } = {}) {
    super();
    this.#connection = new Connection(pathOf(socket), (address) => new Ref(this.#connection, address), {
      up: (hello) => {
        this.#node = hello.node;
        this.emit('connect', hello);
      },
      down: (error) => this.emit('disconnect', error),
      dropped: (error, emits) => process.emitWarning(
        `${error.message}${emits > 0 ? `; ${emits} emitted message${emits === 1 ? ' was' : 's were'} dropped` : '; still trying'}`,
        { type: 'IsolaWarning', code: error.code }),
      refused: (error, address, event) => {
        if (!this.emit('undeliverable', error, address, event))
          process.emitWarning(`the durable message "${event}" to ${address} was given up: ${error.message}`, { type: 'IsolaWarning', code: error.code });
      },
      lost: (n, error) => process.emitWarning(
        `${n} durable message${n === 1 ? ' was' : 's were'} not acknowledged${error === undefined ? ' when the client was closed' : `: ${error.message}`}`,
        { type: 'IsolaWarning', code: error?.code ?? 'ECLOSED' }),
    });
  }

  /** The name of the agent's node, once connected. */
  get node() { return this.#node; }
  get socket() { return this.#connection.path; }

  /** `actor('shop/Counter', 'user-42')` or `actor('shop/Counter/user-42')`: always valid, whether or not the actor runs. */
  actor(type, key) {
    return new Ref(this.#connection, addressOf(type, key));
  }

  /** A method of the agent itself (docs/protocol.md): `call('nodes')`. */
  call(method, params = {}, { timeout = 30_000, signal } = {}) {
    return this.#connection.ask({ dst: '', event: method, args: [params], timeout, signal, caller: this.call });
  }

  /** Resolves when every durable message of this client's has been acknowledged, or given up. */
  flush() {
    return this.#connection.flush();
  }
  /** How many have not been. */
  get unacknowledged() { return this.#connection.unacknowledged; }

  /** Sends what waits, waits up to `timeout` ms for durable messages to be acknowledged, and ends the connection; asks without a reply fail with ECLOSED. */
  async close({ timeout = CLOSE_TIMEOUT } = {}) {
    if (this.unacknowledged > 0 && timeout > 0) {
      let timer;
      await Promise.race([this.flush(), new Promise((resolve) => { timer = setTimeout(resolve, timeout); })]);
      clearTimeout(timer);
    }
    await this.#connection.close();
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }

  /** Connects now; rejects with EUNREACHABLE when there is no agent. */
  async ready() {
    await this.#connection.ready();
    return this;
  }
}

/** Connects to an agent: `await connect({ socket })`. Rejects with EUNREACHABLE when there is none. */
export async function connect(options = {}) {
  const client = new Client(options);
  try {
    return await client.ready();
  } catch (error) {
    await client.close();
    throw error;
  }
}

let shared;

/** A ref through the default agent ($ISOLA_NODE, $ISOLA_DATA, ~/.isola), which is connected to when the ref is first used. */
export function actor(type, key) {
  shared ??= new Client();
  return shared.actor(type, key);
}

export { Ref, closed, service };
