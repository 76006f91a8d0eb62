// SPDX-License-Identifier: Apache-2.0
//
// console, as Node.js programs use it: %-formats, objects shown, each call one entry in the actor's log.
import inspect from 'object-inspect';

const DEBUG = 0, INFO = 1, WARN = 2, ERROR = 3; // base/log.h

function show(value) {
  if (typeof value === 'string') return value;
  try {
    if (value instanceof Error) {
      const stack = typeof value.stack === 'string' && value.stack !== '' ? value.stack : String(value);
      return value.cause === undefined ? stack : `${stack}\n  [cause]: ${show(value.cause)}`;
    }
    return inspect(value, { depth: 4, maxStringLength: 10000, quoteStyle: 'single' });
  } catch {
    return '[an object that cannot be shown]'; // its getters throw, or it is a revoked proxy
  }
}

export function format(...args) {
  if (typeof args[0] !== 'string' || !args[0].includes('%')) return args.map(show).join(' ');
  let at = 1;
  const text = args[0].replace(/%([sdifjoOc%])/g, (all, kind) => {
    if (kind === '%') return '%';
    if (at >= args.length) return all;
    const value = args[at++];
    switch (kind) {
      case 's': return show(value);
      case 'd': return typeof value === 'bigint' ? `${value}n` : String(Number(value));
      case 'i': return typeof value === 'bigint' ? `${value}n` : String(Number.parseInt(value, 10));
      case 'f': return String(Number.parseFloat(value));
      case 'j': try { return JSON.stringify(value); } catch { return '[Circular]'; }
      case 'c': return '';
      default: return show(value);
    }
  });
  return [text, ...args.slice(at).map(show)].join(' ');
}

export function createConsole(write) {
  const counts = new Map();
  const timers = new Map();
  let indent = '';
  const line = (level) => (...args) => write(level, indent + format(...args).replaceAll('\n', `\n${indent}`));
  const elapsed = (label) => `${label}: ${(performance_now() - timers.get(label)).toFixed(3)}ms`;
  const console = {
    debug: line(DEBUG), log: line(INFO), info: line(INFO), warn: line(WARN), error: line(ERROR),
    dir: (value) => console.log(value),
    table: (value) => console.log(value),
    trace: (...args) => {
      const at = new Error().stack.split('\n').slice(2).join('\n');
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
    time: (label = 'default') => { timers.set(label, performance_now()); },
    timeLog: (label = 'default', ...args) => { if (timers.has(label)) console.log(elapsed(label), ...args); },
    timeEnd: (label = 'default') => { if (timers.has(label)) { console.log(elapsed(label)); timers.delete(label); } },
  };
  console.groupCollapsed = console.group;
  return console;
}

const performance_now = () => Date.now();
