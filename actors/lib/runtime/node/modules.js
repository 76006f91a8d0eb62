// SPDX-License-Identifier: Apache-2.0
//
// The modules scripts may import and require, with or without "node:". cli/bundle.c leaves all of Node.js' alone when it bundles.
import { codeError, SafeSet } from 'isola:born';
import { load } from './loader.js';

const names = new SafeSet([
  'assert', 'assert/strict', 'async_hooks', 'buffer', 'console', 'constants', 'crypto', 'diagnostics_channel', 'events', 'os', 'path', 'path/posix', 'path/win32', 'perf_hooks', 'process',
  'punycode', 'querystring', 'stream', 'stream/consumers', 'stream/promises', 'stream/web', 'string_decoder', 'sys', 'timers', 'timers/promises', 'tty', 'url', 'util',
  'util/types', 'zlib',
]);

// Those that are made of what an isolate has not: files, sockets, processes, threads.
const absent = new SafeSet([
  'child_process', 'cluster', 'dgram', 'dns', 'dns/promises', 'domain', 'ffi', 'fs', 'fs/promises', 'http', 'http2', 'https', 'inspector',
  'inspector/promises', 'module', 'net', 'readline', 'readline/promises', 'repl', 'sea', 'sqlite', 'test', 'test/reporters', 'tls', 'trace_events', 'v8',
  'vm', 'wasi', 'worker_threads',
]);

const instead = {
  __proto__: null,
  'http': '; fetch makes requests', 'https': '; fetch makes requests',
};

/** The exports of a module, or undefined when there is none of that name. Throws when Node.js has it and isolates do not. */
export function builtin(specifier) {
  const name = specifier.startsWith('node:') ? specifier.slice(5) : specifier;
  if (names.has(name)) return load(name);
  if (absent.has(name))
    throw codeError('MODULE_NOT_FOUND', `isolates do not have Node.js' module "${name}"${instead[name] ?? ''}; what needs it belongs in a Node.js program, which reaches actors by the package "isola"`);
  // "buffer/", "process/browser", "punycode/punycode.js": packages from npm that stand for these.
  const slash = name.indexOf('/');
  const root = slash > 0 ? name.slice(0, slash) : '';
  return root !== 'internal' && names.has(root) ? load(root) : undefined;
}
