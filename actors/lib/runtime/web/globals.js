// SPDX-License-Identifier: Apache-2.0
//
// The globals of the WinterTC minimum common API, and Node.js' own. Most are loaded when they are first looked at: an isolate is born
// without them.
import { late } from '../born.js';
import { clone, uncaught } from '../node/native.js';
import { process } from '../node/process.js';
import { queueMicrotask } from '../microtask.js';
import { globals as timers } from '../timers.js';
import { performance } from './performance.js';
import { defineProperty, keys } from '../primordials.js';

function define(name, value) {
  defineProperty(globalThis, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false });
}

function lazy(name, make) {
  defineProperty(globalThis, name, {
    __proto__: null,
    configurable: true,
    enumerable: false,
    get() {
      const value = make();
      define(name, value);
      return value;
    },
    set(value) { define(name, value); },
  });
}

const modules = {
  'buffer': ['Buffer', 'atob', 'btoa'],
  'internal/abort_controller': ['AbortController', 'AbortSignal'],
  'internal/blob': ['Blob'],
  'internal/encoding': ['TextEncoder', 'TextDecoder'],
  'internal/event_target': ['Event', 'EventTarget', 'CustomEvent'],
  'internal/file': ['File'],
  'internal/url': ['URL', 'URLSearchParams'],
  'internal/urlpattern': ['URLPattern'],
  'internal/fetch': ['FormData', 'Headers', 'Request', 'Response'],
  'stream/web': ['ReadableStream', 'ReadableStreamDefaultReader', 'ReadableStreamBYOBReader', 'ReadableStreamBYOBRequest', 'ReadableByteStreamController',
    'ReadableStreamDefaultController', 'TransformStream', 'TransformStreamDefaultController', 'WritableStream', 'WritableStreamDefaultController',
    'WritableStreamDefaultWriter', 'ByteLengthQueuingStrategy', 'CountQueuingStrategy', 'TextEncoderStream', 'TextDecoderStream'],
  'internal/webstreams/compression': ['CompressionStream', 'DecompressionStream'],
};

const TRANSFERABLE = 'transfer takes ArrayBuffers';

/** By way of what can be sent (docs/wire.md). What is transferred is copied, and then detached. */
function structuredClone(value, options) {
  if (arguments.length === 0) throw new (late().load('internal/errors').codes.ERR_MISSING_ARGS)('The value argument must be specified');
  const transfer = options?.transfer === undefined ? [] : [...options.transfer];
  for (let i = 0; i < transfer.length; i++)
    if (!(transfer[i] instanceof ArrayBuffer) || transfer[i].detached || transfer.indexOf(transfer[i]) !== i)
      throw new (late().domException())(`structuredClone: ${TRANSFERABLE}`, 'DataCloneError');
  let copy;
  try {
    copy = clone(value);
  } catch (error) {
    if (error?.code !== 'ECLONE') throw error;
    throw new (late().domException())(error.message, 'DataCloneError');
  }
  for (let i = 0; i < transfer.length; i++) transfer[i].transfer(0);
  return copy;
}

function reportError(error) {
  uncaught(error);
}

/** While the snapshot is made. */
export function install() {
  for (const id of keys(modules)) for (const name of modules[id]) lazy(name, () => late().load(id)[name]);
  lazy('DOMException', () => late().domException());
  lazy('ErrorEvent', () => late().errorEvent(late().load));
  for (const name of ['MessageChannel', 'MessageEvent', 'MessagePort']) lazy(name, () => late().messageChannel(late().load)[name]);
  for (const name of ['crypto', 'Crypto', 'CryptoKey', 'SubtleCrypto']) lazy(name, () => late().webCrypto()[name]);
  for (const name of keys(timers)) define(name, timers[name]);
  define('structuredClone', structuredClone);
  define('queueMicrotask', queueMicrotask);
  define('reportError', reportError);
  lazy('fetch', () => late().fetch);
  define('performance', performance);
  define('process', process);
  define('navigator', Object.freeze({ userAgent: 'Isola', hardwareConcurrency: 1, language: 'en-US' }));
  define('global', globalThis);
  define('self', globalThis);
}
