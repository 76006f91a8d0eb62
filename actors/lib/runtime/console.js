// SPDX-License-Identifier: Apache-2.0
//
// console, as Node.js programs use it: %-formats, objects shown, each call one entry in the actor's log.
import { load } from './node/loader.js';
import { now } from './web/performance.js';

const DEBUG = 0, INFO = 1, WARN = 2, ERROR = 3; // base/log.h

/** As Node.js formats it, whose util.inspect is loaded when there is something to inspect. */
export function format(...args) {
  if (args.length === 1 && typeof args[0] === 'string') return args[0];
  try {
    return load('internal/util/inspect').format(...args);
  } catch (error) {
    if (error instanceof RangeError) throw error; // no stack or no room: the script's own
    return '[an object that cannot be shown]'; // its getters throw, or the script has broken what inspecting needs
  }
}

export function createConsole(write) {
  const counts = new Map();
  const timers = new Map();
  let indent = '';
  const line = (level) => (...args) => write(level, indent + format(...args).replaceAll('\n', `\n${indent}`));
  const elapsed = (label) => `${label}: ${(now() - timers.get(label)).toFixed(3)}ms`;
  const console = {
    debug: line(DEBUG), log: line(INFO), info: line(INFO), warn: line(WARN), error: line(ERROR),
    dir: (value, options) => console.log(typeof value === 'string' ? value : load('internal/util/inspect').inspect(value, options)),
    table: (value) => console.log(value),
    trace: (...args) => {
      const at = new Error().stack.split('\n').slice(1).join('\n'); // frames of the runtime are not in it
      console.error(`Trace: ${format(...args)}\n${at}`);
    },
    assert: (ok, ...args) => { if (!ok) console.error(args.length ? `Assertion failed: ${format(...args)}` : 'Assertion failed'); },
    count: (label = 'default') => {
      counts.set(label, (counts.get(label) ?? 0) + 1);
      console.log(`${label}: ${counts.get(label)}`);
    },
    countReset: (label = 'default') => { counts.delete(label); },
    group: (...args) => { if (args.length) console.log(...args); indent += '  '; },
    groupEnd: () => { indent = indent.slice(2); },
    time: (label = 'default') => { timers.set(label, now()); },
    timeLog: (label = 'default', ...args) => { if (timers.has(label)) console.log(elapsed(label), ...args); },
    timeEnd: (label = 'default') => { if (timers.has(label)) { console.log(elapsed(label)); timers.delete(label); } },
  };
  console.groupCollapsed = console.group;
  return console;
}
