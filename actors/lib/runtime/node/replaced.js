// SPDX-License-Identifier: Apache-2.0
//
// Modules of Node.js' library that isolates have in their own way: because the system, threads or Node.js' event loop are behind the
// original. Each is given `load`, and has no more than what the others use of it.
import { exchange, frame, nextTick, now, performance, process, queueMicrotask, setFrame, timers } from 'isola:born';
import { asyncHooks } from './async_hooks.js';
import { nodeCrypto } from './crypto.js';
import { timersPromises } from './timers_promises.js';
import { zip } from './zlib.js';
import { symbols } from './bindings.js';

const none = () => undefined;

export const replaced = {
  'async_hooks': asyncHooks,
  'internal/async_context_frame': () => ({ current: frame, set: setFrame, exchange, disable: none, enabled: true }),
  'internal/async_hooks': () => ({ symbols, enabledHooksExist: () => false, initHooksExist: () => false, newAsyncId: () => 0, getDefaultTriggerAsyncId: () => 0 }),
  'internal/bootstrap/realm': () => ({ BuiltinModule: { exists: (id) => replaced[id] !== undefined || /^(internal\/)?[a-z_]+(\/[a-z_]+)*$/.test(id) } }),
  'internal/errors/error_source': () => ({ getErrorSourceExpression: none }),
  'internal/options': () => ({ getOptionValue: none, getEmbedderOptions: () => ({}), getAllowUnauthorized: () => false }),
  'internal/perf/utils': () => ({ now, getTimeOriginTimestamp: () => performance.timeOrigin, getMilestoneTimestamp: () => 0 }),
  'internal/process/per_thread': () => ({ platform: 'linux', toggleTraceCategoryState: none }),
  'internal/process/task_queues': () => ({ queueMicrotask, nextTick }),
  'internal/process/warning': () => ({ emitWarningSync: process.emitWarning, emitWarning: process.emitWarning }),
  'internal/timers': () => ({ TIMEOUT_MAX: 2 ** 31 - 1 }),
  'internal/trace_events': () => ({ isTraceEnabled: () => false, trace: none }),
  'internal/util/trace_events': () => ({}),
  'internal/util/trace_sigint': () => ({ setTraceSigInt: none }),
  'internal/v8/startup_snapshot': () => ({
    isBuildingSnapshot: () => false,
    runDeserializeCallbacks: none, addDeserializeCallback: none, addAfterUserSerializeDeserializeSnapshot: none, addSerializeCallback: none,
    namespace: { isBuildingSnapshot: () => false, addDeserializeCallback: none, addSerializeCallback: none, setDeserializeMainFunction: none },
  }),
  'internal/worker/io': () => ({ structuredClone: globalThis.structuredClone, MessageChannel: undefined }),
  'internal/worker/js_transferable': () => ({
    markTransferMode: none,
    structuredClone: (...args) => globalThis.structuredClone(...args),
    kClone: Symbol('clone'), kDeserialize: Symbol('deserialize'), kTransfer: Symbol('transfer'), kTransferList: Symbol('transfer list'),
  }),
  'crypto': nodeCrypto,
  // What packages ask of these before they decide what to do: a machine without a terminal, of which nothing is said.
  'os': () => ({
    EOL: '\n', devNull: '/dev/null', constants: { signals: {}, errno: {}, priority: {} }, platform: () => 'linux', type: () => 'Linux', arch: () => process.arch, machine: () => process.arch,
    release: () => '', version: () => '', hostname: () => 'isola', homedir: () => '/', tmpdir: () => '/tmp', endianness: () => 'LE', cpus: () => [], availableParallelism: () => 1,
    loadavg: () => [0, 0, 0], uptime: () => process.uptime(), totalmem: () => 0, freemem: () => 0, networkInterfaces: () => ({}), userInfo: () => ({ username: 'isola', uid: -1, gid: -1, shell: null, homedir: '/' }),
  }),
  'tty': () => ({ isatty: () => false, ReadStream: class ReadStream {}, WriteStream: class WriteStream {} }),
  'console': () => globalThis.console,
  'process': () => process,
  'sys': (load) => load('util'),
  // Of the network nothing is here: internal/fetch names these, and what is made of them is never called.
  'http': () => ({ globalAgent: {} }),
  'http2': () => ({ constants: {} }),
  'net': () => ({ isIP: () => 0, isIPv4: () => false, isIPv6: () => false }),
  'perf_hooks': () => ({ performance }),
  'tls': () => ({}),
  // For pristine regular expressions: these are the script's own, which it may break for itself.
  'vm': () => ({ runInNewContext: () => globalThis }),
  'worker_threads': () => ({ markAsUncloneable: none, MessagePort: class MessagePort {} }),
  'internal/none': () => ({ constants: {}, getHashes: () => [], randomInt: () => 0 }),
  'internal/zip': zip,
  'timers': (load) => {
    const t = { ...timers.globals };
    Object.defineProperty(t, 'promises', { __proto__: null, configurable: true, enumerable: true, get: () => load('timers/promises') });
    return t;
  },
  'timers/promises': timersPromises,
};
