// SPDX-License-Identifier: Apache-2.0
//
// A JSON line for each figure as it is measured; at the end all of them in a file, and a table of bars.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const number = (v) => {
  if (v === 0) return '0';
  if (v >= 1e6) return `${(v / 1e6).toFixed(2)} M`;
  if (v >= 1e4) return `${(v / 1e3).toFixed(0)} k`;
  return v >= 100 || Number.isInteger(v) ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2);
};

export class Report {
  #lines = [];
  #bars = [];

  /** One measurement: { peer, figure, … }. */
  line(fields) {
    const kept = Object.fromEntries(Object.entries(fields).filter(([, v]) => v !== undefined));
    this.#lines.push(kept);
    console.log(JSON.stringify(kept));
    return kept;
  }

  /**
   * A bar: `value` is to be at most / at least that much of `unit`; `ours` and `theirs` are what a ratio was made of, `cpu` is the same
   * ratio by CPU time. Without a value it was not measured, and `why` says why.
   */
  bar({ name, value, atMost, atLeast, unit, ours, theirs, cpu, why }) {
    const limit = atMost ?? atLeast;
    const holds = value === undefined ? undefined : atMost !== undefined ? value <= atMost : value >= atLeast;
    this.#bars.push({ name, value, bar: `${atMost !== undefined ? '<=' : '>='} ${number(limit)} ${unit}`, unit, ours, theirs, cpu, holds, why });
  }

  get held() { return this.#bars.filter((b) => b.holds).length; }
  get missed() { return this.#bars.length - this.held; }

  table() {
    const rows = [['figure', 'isola', 'peer', 'by CPU', 'measured', 'bar', '']];
    for (const b of this.#bars)
      rows.push([b.name, b.ours === undefined ? '' : number(b.ours), b.theirs === undefined ? '' : number(b.theirs), b.cpu === undefined ? '' : `${number(b.cpu)} x`,
        b.value === undefined ? '-' : `${number(b.value)} ${b.unit}`, b.bar, b.holds === undefined ? `not measured: ${b.why}` : b.holds ? 'pass' : 'FAIL']);
    const width = rows[0].map((_, c) => Math.max(...rows.map((r) => (c === 6 ? 0 : r[c].length))));
    return rows.map((r) => r.map((cell, c) => (c === 0 || c === 6 ? cell.padEnd(width[c]) : cell.padStart(width[c]))).join('  ').trimEnd()).join('\n');
  }

  write(path, head) {
    mkdirSync(dirname(path), { recursive: true });
    const bars = this.#bars.map(({ holds, ...b }) => ({ ...b, pass: holds ?? null }));
    writeFileSync(path, [head, ...this.#lines, ...bars].map((l) => `${JSON.stringify(l)}\n`).join(''));
  }
}
