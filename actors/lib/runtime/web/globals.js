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

// Those of late_globals.js: made when they are first looked at.
const lateGlobals = [
  'AbortController', 'AbortSignal', 'atob', 'Blob', 'btoa', 'Buffer', 'ByteLengthQueuingStrategy', 'CompressionStream', 'CountQueuingStrategy',
  'Crypto', 'crypto', 'CryptoKey', 'CustomEvent', 'DecompressionStream', 'DOMException', 'ErrorEvent', 'Event', 'EventTarget', 'fetch', 'File',
  'FormData', 'Headers', 'MessageChannel', 'MessageEvent', 'MessagePort', 'ReadableByteStreamController', 'ReadableStream',
  'ReadableStreamBYOBReader', 'ReadableStreamBYOBRequest', 'ReadableStreamDefaultController', 'ReadableStreamDefaultReader', 'Request', 'Response',
  'SubtleCrypto', 'TextDecoder', 'TextDecoderStream', 'TextEncoder', 'TextEncoderStream', 'TransformStream', 'TransformStreamDefaultController',
  'URL', 'URLPattern', 'URLSearchParams', 'WritableStream', 'WritableStreamDefaultController', 'WritableStreamDefaultWriter',
];

function define(name, value) {
  defineProperty(globalThis, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false });
}

function lazy(name) {
  defineProperty(globalThis, name, {
    __proto__: null,
    configurable: true,
    enumerable: false,
    get() {
      const value = late().global(name);
      define(name, value);
      return value;
    },
    set(value) { define(name, value); },
  });
}

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
  for (const name of lateGlobals) lazy(name);
  for (const name of keys(timers)) define(name, timers[name]);
  define('structuredClone', structuredClone);
  define('queueMicrotask', queueMicrotask);
  define('reportError', reportError);
  define('performance', performance);
  define('process', process);
  define('navigator', Object.freeze({ userAgent: 'Isola', hardwareConcurrency: 1, language: 'en-US' }));
  define('global', globalThis);
  define('self', globalThis);
}
