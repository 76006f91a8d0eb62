// SPDX-License-Identifier: Apache-2.0
//
// console, as Node.js programs use it: %-formats, objects shown, each call one entry in the actor's log.
import { late } from './born.js';
import { log as write } from './node/native.js';
import { now } from './web/performance.js';
import { once } from './primordials.js';

export const console = once(() => {
  const DEBUG = 0, INFO = 1, WARN = 2, ERROR = 3; // base/log.h
  /** What needs no util.inspect, which takes some milliseconds to load: texts, numbers and the like. Undefined: it does. */
  function simple(args) {
    let text = '';
    for (let i = 0; i < args.length; i++) {
      const v = args[i];
      const type = typeof v;
      let said;
      if (type === 'string') {
        if (i === 0 && args.length > 1 && v.includes('%')) return undefined;
        said = v;
      } else if (v === null || type === 'undefined' || type === 'boolean' || (type === 'number' && v !== 0)) {
        said = `${v}`;
      } else if (v === 0) {
        said = 1 / v < 0 ? '-0' : '0';
      } else if (type === 'bigint') {
        said = `${v}n`;
      } else {
        return undefined;
      }
      text += i === 0 ? said : ` ${said}`;
    }
    return text;
  }

  /** As Node.js formats it, whose util.inspect is loaded when there is something to inspect. */
  function format(...args) {
    try {
      const text = simple(args);
      if (text !== undefined) return text;
      return late().load('internal/util/inspect').format(...args);
    } catch (error) {
      if (error instanceof RangeError) throw error; // no stack or no room: the script's own
      return '[an object that cannot be shown]'; // its getters throw, or the script has broken what inspecting needs
    }
  }

  const counts = new Map();
  const timers = new Map();
  let indent = '';
  const line = (level) => (...args) => write(level, indent + format(...args).replaceAll('\n', `\n${indent}`));
  const elapsed = (label) => `${label}: ${(now() - timers.get(label)).toFixed(3)}ms`;
  const console = {
    debug: line(DEBUG), log: line(INFO), info: line(INFO), warn: line(WARN), error: line(ERROR),
    dir: (value, options) => console.log(typeof value === 'string' ? value : late().load('internal/util/inspect').inspect(value, options)),
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
});
