// SPDX-License-Identifier: Apache-2.0
//
// performance: the clock, marks and measures. Time 0 is the birth of the isolate.
import { util } from '../node/native.js';
import { once } from '../primordials.js';

export const now = () => util().age();

export const performance = once(() => {
  const ENTRIES = 1000; // marks and measures that are kept; more push the oldest out
  class PerformanceEntry {
    constructor(name, entryType, startTime, duration, detail) {
      Object.assign(this, { name, entryType, startTime, duration, detail });
    }
    toJSON() { return { ...this }; }
  }
  class PerformanceMark extends PerformanceEntry {}
  class PerformanceMeasure extends PerformanceEntry {}

  let entries = [];
  function add(entry) {
    if (entries.length === ENTRIES) entries.shift();
    entries.push(entry);
    return entry;
  }

  function at(mark) {
    if (mark === undefined) return undefined;
    if (typeof mark === 'number') return mark;
    const found = entries.findLast((e) => e.entryType === 'mark' && e.name === `${mark}`);
    if (found === undefined) throw new DOMException(`The "${mark}" performance mark has not been set`, 'SyntaxError');
    return found.startTime;
  }

  class Performance {
    get timeOrigin() { return util().born(); }
    now() { return now(); }
    mark(name, options) { return add(new PerformanceMark(`${name}`, 'mark', options?.startTime ?? now(), 0, options?.detail ?? null)); }
    measure(name, from, to) {
      const options = from !== null && typeof from === 'object' ? from : { start: from, end: to };
      const duration = options.duration;
      let end = at(options.end);
      let start = at(options.start);
      end ??= start !== undefined && duration !== undefined ? start + duration : now();
      start ??= duration !== undefined ? end - duration : 0;
      return add(new PerformanceMeasure(`${name}`, 'measure', start, end - start, options.detail ?? null));
    }
    getEntries() { return entries.toSorted((a, b) => a.startTime - b.startTime); }
    getEntriesByName(name, type) { return this.getEntries().filter((e) => e.name === name && (type === undefined || e.entryType === type)); }
    getEntriesByType(type) { return this.getEntries().filter((e) => e.entryType === type); }
    clearMarks(name) { entries = entries.filter((e) => e.entryType !== 'mark' || (name !== undefined && e.name !== name)); }
    clearMeasures(name) { entries = entries.filter((e) => e.entryType !== 'measure' || (name !== undefined && e.name !== name)); }
    toJSON() { return { timeOrigin: util().born() }; }
    get [Symbol.toStringTag]() { return 'Performance'; }
  }
  return new Performance();
});
