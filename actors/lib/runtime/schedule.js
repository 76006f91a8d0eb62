// SPDX-License-Identifier: Apache-2.0
//
// schedule, cancel and schedules of an actor: durable timers (actors/schedule.c). Loaded when a script first asks for one of them (main.js).
import { apply, bounded, codeError, currentActor, getOwnPropertyNames, group, innerOf, NativeError, NativeTypeError } from 'isola:born';

export const methods = (() => {
  const native = group('schedule');
  const NativeDate = Date, NativeRangeError = RangeError, { isInteger } = Number, { DateTimeFormat } = Intl;
  const timeOf = Date.prototype.getTime, now = Date.now;
  const UNITS = { __proto__: null, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }; // as in the manifest
  const LAST = 8.64e15; // of Date
  const SMALLEST = 1e11; // in 1973: what is less was meant as a duration
  const EVERY_MIN = 100; // ms
  const OPTIONS = { __proto__: null, at: 1, after: 1, every: 1, cron: 1, start: 0, timeZone: 0, id: 0 }; // 1: says when

  /** What is behind `self`, whose code must be running. */
  function own(self) {
    const i = innerOf(self);
    if (currentActor() !== i.serial) throw codeError('EINVAL', 'only the actor itself can do this');
    return i;
  }

  const type = (what) => { throw new NativeTypeError(what); };
  const range = (what) => { throw new NativeRangeError(what); };
  const shown = (v) => (typeof v === 'string' ? `"${v}"` : v === null ? 'null' : typeof v === 'object' || typeof v === 'function' ? `a ${typeof v}` : `${typeof v === 'symbol' ? 'a symbol' : v}`);

  function duration(text, what) {
    const match = typeof text === 'string' ? /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) : null;
    if (match === null) type(`${what} is a duration such as "90s", "5m" or "1d" (ms, s, m, h, d), not ${shown(text)}`);
    return match[1] * UNITS[match[2]];
  }

  function time(value, what) {
    let ms = value;
    if (typeof value === 'object' && value !== null) {
      try { ms = apply(timeOf, value, []); } catch { type(`${what} is a Date or a number of ms since 1970, not an object`); }
    } else if (typeof value !== 'number') {
      type(`${what} is a Date or a number of ms since 1970, not ${shown(value)}`);
    }
    if (ms !== ms) range(`${what} is not a valid time`);
    if (typeof value === 'number' && ms < SMALLEST) range(`${what} is a number of ms since 1970, which ${value} is hardly meant as; for a duration write "${value > 0 && isInteger(value) ? value : 500}ms"`);
    if (ms > LAST) range(`${what} is later than a Date can be`);
    return ms < 1 ? 1 : Math.ceil(ms);
  }

  const once = (due) => ({ due, every: 0, start: 0, cron: undefined, zone: undefined, id: undefined });

  function interval(o) {
    const every = typeof o.every === 'number' ? o.every : duration(o.every, 'every');
    if (!isInteger(every) || every < EVERY_MIN || every > LAST) range(`every is a whole number of ms, ${EVERY_MIN} or more; setInterval is for what is shorter and need not outlive the actor`);
    const at = now();
    if (o.start === undefined) return { ...once(at + every), every }; // one that is there already keeps its own
    const start = time(o.start, 'start');
    return { ...once(start > at ? start : start + (Math.floor((at - start) / every) + 1) * every), every, start };
  }

  function cron(o) {
    const zone = o.timeZone ?? 'UTC';
    if (typeof o.cron !== 'string') type(`cron is a text such as "0 9 * * 1-5", not ${shown(o.cron)}`);
    if (typeof zone !== 'string') type(`timeZone is a text such as "Europe/Vienna", not ${shown(zone)}`);
    if (o.cron.length > 200) range('a cron expression has at most 200 characters');
    try { new DateTimeFormat('en', { timeZone: zone }); } catch { range(`there is no time zone "${zone}"`); }
    let due;
    try {
      due = native.next(o.cron, zone, now());
    } catch (error) {
      type(`"${o.cron}" is not a cron expression: ${error instanceof NativeError ? error.message : 'it cannot be read'}`);
    }
    if (due === 0) range(`the cron expression "${o.cron}" never comes`);
    return { ...once(due), cron: o.cron, zone };
  }

  function object(when) {
    let found;
    for (const name of getOwnPropertyNames(when)) {
      if (!(name in OPTIONS)) type(`there is no option "${name}" of schedule: at, after, every (start), cron (timeZone), id`);
      if (OPTIONS[name] === 0 || when[name] === undefined) continue;
      if (found !== undefined) type(`schedule takes one of at, after, every and cron, not both ${found} and ${name}`);
      found = name;
    }
    if (found === undefined) type('schedule takes a time: { at }, { after }, { every } or { cron }');
    if (when.start !== undefined && found !== 'every') type('start goes with every');
    if (when.timeZone !== undefined && found !== 'cron') type('timeZone goes with cron');
    if (when.id !== undefined && (typeof when.id !== 'string' || when.id === '')) type('the id of a timer is a text that is not empty');
    const spec = found === 'at' ? once(time(when.at, 'at')) : found === 'after' ? once(now() + duration(when.after, 'after'))
      : found === 'every' ? interval(when) : cron(when);
    spec.id = when.id;
    return spec;
  }

  function read(when) {
    if (typeof when === 'string') return once(now() + duration(when, 'a time given as text'));
    if (typeof when === 'number') return once(time(when, 'a time given as number'));
    if (typeof when !== 'object' || when === null) type(`schedule takes a Date, ms since 1970, a duration such as "5m", or { at }, { after }, { every } or { cron }, not ${shown(when)}`);
    try { apply(timeOf, when, []); } catch { return object(when); }
    return once(time(when, 'a time'));
  }

  return {
    /** Has `event` handled by this actor, once or again and again, with `args`. The id of the timer. */
    schedule(event, when, ...args) {
      const { serial } = own(this);
      if (typeof event !== 'string' || event === '') type(`the event of a timer is a text that is not empty, not ${shown(event)}`);
      bounded(event);
      const { id, due, every, start, cron: expression, zone } = read(when);
      if (due > LAST) range('the time is later than a Date can be');
      return native.set(serial, id, event, due, every, start, expression, zone, args);
    },

    /** True: there was such a timer. */
    cancel(id) {
      const { serial } = own(this);
      if (typeof id !== 'string') type(`cancel takes the id of a timer, not ${shown(id)}`);
      return native.cancel(serial, id);
    },

    /** Those there are, the next one first. */
    schedules() {
      const { serial } = own(this);
      const all = native.list(serial);
      all.sort((a, b) => a.next - b.next || (a.id < b.id ? -1 : 1));
      for (const timer of all) timer.next = new NativeDate(timer.next);
      return all;
    },
  };
})();
