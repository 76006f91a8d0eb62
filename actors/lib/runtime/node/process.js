// SPDX-License-Identifier: Apache-2.0
//
// `process`, as far as it does no harm: an isolate is no process, so there is nothing of one to see or to change.
import { EventEmitter } from './events.js';
import { log, util } from './native.js';
import { nextTick } from './tick.js';
import { codeError, defineProperty, once, setPrototypeOf } from '../primordials.js';

export const process = once(() => {
  const WARN = 2; // base/log.h
  const { now, age, versions, env } = util();
  const { node, v8, arch } = versions();
  const { floor } = Math;
  const toBigInt = BigInt;

  function refuse(what) {
    return () => { throw codeError('EPERM', `process.${what} cannot be used in an isolate`); };
  }

  function hrtime(before) {
    const ns = now() * 1e6;
    let seconds = floor(ns / 1e9);
    let rest = floor(ns % 1e9);
    if (before !== undefined) {
      seconds -= before[0];
      rest -= before[1];
      if (rest < 0) { seconds--; rest += 1e9; }
    }
    return [seconds, rest];
  }
  hrtime.bigint = () => toBigInt(floor(now() * 1e6));

  function emitWarning(warning, type, code) {
    if (type !== null && typeof type === 'object') ({ type, code } = type);
    const name = typeof warning === 'object' ? warning?.name : type ?? 'Warning';
    log(WARN, `${typeof code === 'string' ? `[${code}] ` : ''}${name}: ${typeof warning === 'object' ? warning?.message : warning}`);
  }

  // No streams, but enough of them for what asks whether it writes to one.
  const none = () => undefined;
  const stream = (level) => ({ write: (text) => { log(level, `${text}`.replace(/\n$/, '')); return true; }, on: none, once: none, removeListener: none, emit: () => false, end: none, writable: true, isTTY: false, columns: 80, fd: level === 1 ? 1 : 2 });

  let variables; // what permissions.env grants, when a script first asks for it

  // Nothing is ever emitted.
  const process = {
    title: 'isola',
    arch,
    platform: 'linux',
    version: `v${node}`,
    versions: { node, v8 },
    release: { name: 'node' },
    get env() { return variables ??= env(); },
    set env(value) { variables = value; },
    argv: ['isola'],
    argv0: 'isola',
    execArgv: [],
    execPath: '',
    pid: 1,
    ppid: 0,
    exitCode: undefined,
    features: {},
    config: {},
    stdout: stream(1),
    stderr: stream(3),
    nextTick,
    hrtime,
    emitWarning,
    cwd: () => '/',
    uptime: () => age() / 1000,
    umask: () => 0o22,
    memoryUsage: () => ({ rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 }),
    cpuUsage: () => ({ user: 0, system: 0 }),
    exit: refuse('exit'),
    abort: refuse('abort'),
    kill: refuse('kill'),
    chdir: refuse('chdir'),
    dlopen: refuse('dlopen'),
    binding: refuse('binding'),
  };
  defineProperty(process, Symbol.toStringTag, { __proto__: null, value: 'process', configurable: true });
  setPrototypeOf(process, EventEmitter.prototype);
  EventEmitter.call(process);
  return process;
});
