// SPDX-License-Identifier: Apache-2.0
//
// The globals of the WinterTC minimum common API, and Node.js' own. Most are loaded when they are first looked at: an isolate is born
// without them.
import { late } from '../born.js';
import { entered } from '../bounded.js';
import { console } from '../console.js';
import { clone, uncaught } from '../node/native.js';
import { process } from '../node/process.js';
import { queueMicrotask } from '../microtask.js';
import { timers } from '../timers.js';
import { performance } from './performance.js';
import { defineProperty, keys } from '../primordials.js';

// Those of late_globals.js.
const lateGlobals = [
  'AbortController', 'AbortSignal', 'atob', 'Blob', 'btoa', 'Buffer', 'ByteLengthQueuingStrategy', 'CompressionStream', 'CountQueuingStrategy',
  'Crypto', 'crypto', 'CryptoKey', 'CustomEvent', 'DecompressionStream', 'DOMException', 'ErrorEvent', 'Event', 'EventTarget', 'fetch', 'File',
  'FormData', 'Headers', 'MessageChannel', 'MessageEvent', 'MessagePort', 'ReadableByteStreamController', 'ReadableStream',
  'ReadableStreamBYOBReader', 'ReadableStreamBYOBRequest', 'ReadableStreamDefaultController', 'ReadableStreamDefaultReader', 'Request', 'Response',
  'SubtleCrypto', 'TextDecoder', 'TextDecoderStream', 'TextEncoder', 'TextEncoderStream', 'TransformStream', 'TransformStreamDefaultController',
  'URL', 'URLPattern', 'URLSearchParams', 'WritableStream', 'WritableStreamDefaultController', 'WritableStreamDefaultWriter',
];

// By way of what can be sent (docs/wire.md). What is transferred is copied, and then detached.
const structuredClone = () => {
  const TRANSFERABLE = 'transfer takes ArrayBuffers';
  return function structuredClone(value, options) {
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
  };
};

const reportError = () => function reportError(error) { uncaught(error); };
const navigator = () => Object.freeze({ userAgent: 'Isola', hardwareConcurrency: 1, language: 'en-US' });

const timer = (name) => timers().globals[name];
const soon = {
  __proto__: null,
  console, navigator, performance, process, reportError, structuredClone,
  decodeURI: entered, decodeURIComponent: entered, encodeURI: entered, encodeURIComponent: entered,
  clearImmediate: timer, clearInterval: timer, clearTimeout: timer, setImmediate: timer, setInterval: timer, setTimeout: timer,
};

/** The globals that are made when they are first looked at (birth.cc), */
export const names = [...keys(soon), ...lateGlobals];
/** by this. */
export const value = (name) => (name in soon ? soon[name](name) : late().global(name));

/** While the snapshot is made. */
export function install() {
  const define = (name, value) => defineProperty(globalThis, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false });
  define('queueMicrotask', queueMicrotask);
  define('global', globalThis);
  define('self', globalThis);
}
