// SPDX-License-Identifier: Apache-2.0
//
// The flights (20,000 real ones of the year 2001, from the npm package vega-datasets), the same figures as the airports'
// computed without any actor, and what both look like as a table.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

/** [{ date, delay, distance, origin, destination }], as they are in the file. */
export function loadFlights(root) {
  const file = join(root, 'node_modules/vega-datasets/data/flights-20k.json');
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`cannot read the flights: ${error.message}; run: make setup`);
  }
}

/** code → what the airport's actor should say of itself. */
export function compute(flights) {
  const codes = new Set(flights.flatMap((f) => [f.origin, f.destination]));
  const result = new Map();
  for (const code of [...codes].sort()) {
    const leaving = flights.map((f, flight) => ({ ...f, flight })).filter((f) => f.origin === code);
    const sum = (key) => leaving.reduce((total, f) => total + f[key], 0);
    const [worst] = leaving.toSorted((a, b) => b.delay - a.delay || a.flight - b.flight);
    const routes = Object.entries(Object.groupBy(leaving, (f) => f.destination)).map(([destination, list]) => ({ destination, flights: list.length }));
    const [busiest] = routes.sort((a, b) => b.flights - a.flights || (a.destination < b.destination ? -1 : 1));
    result.set(code, {
      departures: leaving.length,
      arrivals: flights.filter((f) => f.destination === code).length,
      meanDelay: leaving.length > 0 ? sum('delay') / leaving.length : null,
      worst: worst === undefined ? null : { delay: worst.delay, flight: worst.flight, destination: worst.destination },
      busiest: busiest ?? null,
      distance: sum('distance'),
    });
  }
  return result;
}

/** A line for each airport whose actor says anything else than the plain computation. */
export function differences(expected, got) {
  const lines = [];
  for (const [code, want] of expected) {
    const have = got.get(code);
    if (isDeepStrictEqual(have, want)) continue;
    const keys = Object.keys(want).filter((key) => !isDeepStrictEqual(have?.[key], want[key]));
    lines.push(`${code}: ${keys.map((key) => `${key} is ${JSON.stringify(have?.[key])}, should be ${JSON.stringify(want[key])}`).join('; ')}`);
  }
  return lines;
}

/** The busiest airports (departures and arrivals together) as an aligned table. */
export function table(summaries, rows) {
  const number = (n) => n.toLocaleString('en-US');
  const busiest = [...summaries].sort(([a, x], [b, y]) => y.departures + y.arrivals - (x.departures + x.arrivals) || (a < b ? -1 : 1)).slice(0, rows);
  const lines = [
    ['AIRPORT', 'DEPARTURES', 'ARRIVALS', 'MEAN DELAY', 'WORST DELAY', 'BUSIEST ROUTE', 'MILES FLOWN'],
    ...busiest.map(([code, s]) => [code, number(s.departures), number(s.arrivals),
      s.meanDelay === null ? '-' : `${s.meanDelay.toFixed(1)} min`,
      s.worst === null ? '-' : `${s.worst.delay} min`,
      s.busiest === null ? '-' : `${s.busiest.destination} (${s.busiest.flights})`, number(s.distance)]),
  ];
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  return lines.map((line) => line.map((cell, i) => (i === 0 || i === 5 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd()).join('\n');
}
