// SPDX-License-Identifier: Apache-2.0
//
// The modules scripts may import and require, with or without "node:". cli/builtins.c has the same list: esbuild leaves them alone.
import { load } from './loader.js';
import { SafeSet } from '../primordials.js';

const names = new SafeSet([
  'assert', 'assert/strict', 'async_hooks', 'buffer', 'diagnostics_channel', 'events', 'path', 'path/posix', 'path/win32', 'process', 'punycode',
  'querystring', 'stream', 'stream/consumers', 'stream/promises', 'stream/web', 'string_decoder', 'timers', 'timers/promises', 'url', 'util',
  'util/types',
]);

/** The exports of a module, or undefined when there is none of that name. */
export function builtin(specifier) {
  // "buffer/" is how packages say they want the one from npm, which stands for this one.
  const name = specifier.startsWith('node:') ? specifier.slice(5) : specifier.endsWith('/') ? specifier.slice(0, -1) : specifier;
  return names.has(name) ? load(name) : undefined;
}
