// SPDX-License-Identifier: Apache-2.0
//
// fetch: Node's undici makes the request outside of the isolate (node-agent/actor-host/outside/fetch.cjs), under the app's permission;
// here are the objects of it, which are undici's too.
import { codeError, currentActor, io, NativeError, NativePromise, NativeTypeError, rare, settled } from 'isola:born';
import { load } from '../node/loader.js';

const BODY_MAX = 64 << 20; // bytes of a request's body (actors/io.c)
const { parse, stringify } = JSON;

/** An error as outside/index.cjs describes it. */
export function errorOf({ name, message, code, cause }) {
  const error = new (name === 'TypeError' ? NativeTypeError : NativeError)(message, cause === undefined ? undefined : { cause: errorOf(cause) });
  if (name !== 'TypeError' && name !== 'Error') error.name = name;
  if (code !== undefined) error.code = code;
  return error;
}

// What a script did is told as it is; the rest as every fetch tells it.
function failure(described) {
  const denied = described.code === 'EPERM' ? described : described.cause?.code === 'EPERM' ? described.cause : undefined;
  return errorOf(denied ?? described);
}

/** All bytes of a request's body. */
async function bytesOf(request) {
  const reader = request.body.getReader();
  const chunks = [];
  let n = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    if (!(value instanceof Uint8Array)) throw new TypeError('the chunks of a body must be Uint8Arrays');
    n += value.byteLength;
    if (n > BODY_MAX) {
      const error = codeError('ETOOBIG', `the body of a request has at most ${BODY_MAX >> 20} MB`);
      reader.cancel(error).catch(() => {});
      throw error;
    }
    chunks.push(value);
  }
  if (chunks.length === 1) return chunks[0];
  const all = new Uint8Array(n);
  n = 0;
  for (let i = 0; i < chunks.length; i++) {
    all.set(chunks[i], n);
    n += chunks[i].byteLength;
  }
  return all;
}

/** The stream of a response's body. Asks for a chunk when it is read and has none. */
class Body {
  #id;
  #controller;
  #wanted; // { resolve, reject } of the pull that waits
  constructor(id) { this.#id = id; }

  stream() {
    const { ReadableStream } = load('stream/web');
    return new ReadableStream({
      type: 'bytes',
      start: (controller) => { this.#controller = controller; },
      pull: () => new NativePromise((resolve, reject) => {
        this.#wanted = { resolve, reject };
        io.more(this.#id);
      }),
      cancel: () => io.cancel(this.#id),
    }, { highWaterMark: 0 });
  }

  #pulled() {
    const wanted = this.#wanted;
    this.#wanted = undefined;
    return wanted;
  }

  chunk(buffer) {
    const wanted = this.#pulled();
    this.#controller.enqueue(new Uint8Array(buffer));
    wanted?.resolve();
  }

  end() {
    const wanted = this.#pulled();
    this.#controller.close();
    this.#controller.byobRequest?.respond(0);
    wanted?.resolve();
  }

  fail(error) {
    this.#controller.error(error);
    this.#pulled()?.resolve();
  }
}

/** Sends it; `done` gets the response or `fail` an error, and neither when it is aborted before. */
function send(request, bytes, done, fail) {
  const abort = () => {
    io.cancel(id);
    const { reason } = request.signal;
    if (body === undefined) fail(reason);
    else body.fail(reason);
  };
  // The request is kept until then: without it, its signal is no longer told of what it follows.
  const ended = () => request.signal.removeEventListener('abort', abort);
  let body;
  const head = stringify({ url: request.url, method: request.method, headers: [...request.headers], redirect: request.redirect, integrity: request.integrity });
  const id = io.start('fetch', true, head, bytes, (last, said, chunk) => {
    if (last) ended();
    if (chunk === null) {
      const error = codeError('ENOMEM', 'no memory for the response: the limit of this isolate is reached');
      if (!last) {
        ended();
        io.cancel(id);
      }
      if (body === undefined) fail(error);
      else body.fail(error);
      return;
    }
    const info = said === undefined ? undefined : parse(said);
    if (body !== undefined) { // a chunk, the end, or an error
      if (info?.error !== undefined) body.fail(failure(info.error));
      else if (last) body.end();
      else body.chunk(chunk);
    } else if (info.error !== undefined) {
      fail(failure(info.error));
    } else {
      let stream;
      if (!last) {
        body = new Body(id);
        stream = body.stream();
      } else if (info.body) {
        stream = load('internal/fetch').stream(chunk === undefined ? new Uint8Array(0) : new Uint8Array(chunk));
      }
      done(load('internal/fetch').response(info, stream));
    }
  });
  request.signal.addEventListener('abort', abort);
}

async function start(request, done, fail) {
  request.signal.throwIfAborted();
  const bytes = request.body === null ? undefined : await bytesOf(request);
  request.signal.throwIfAborted();
  send(request, bytes, done, fail);
}

export function fetch(input, init = undefined) {
  return new NativePromise((resolve, reject) => {
    if (arguments.length === 0) throw new (load('internal/errors').codes.ERR_MISSING_ARGS)('input');
    const { Request } = load('internal/fetch');
    const request = new Request(input, init); // the caller's stays as it is
    const trace = rare().trace(currentActor()); // of this turn, which may end while the body is read
    if (trace !== undefined && !request.headers.has('traceparent')) request.headers.set('traceparent', trace);
    settled(start(request, resolve, reject), () => {}, reject);
  });
}
