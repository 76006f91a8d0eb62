// SPDX-License-Identifier: Apache-2.0
//
// Debian's wrk, which asks an HTTP server as fast as it answers, and says of each request that failed that it did.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

export const hasWrk = spawnSync('wrk', ['-v'], { stdio: 'ignore' }).error === undefined;

const MS = { us: 1e-3, ms: 1, s: 1e3, m: 6e4 };
const us = (text, key) => {
  const found = new RegExp(`^\\s*${key}\\s+([\\d.]+)(us|ms|s|m)\\b`, 'm').exec(text);
  return found === null ? undefined : Math.round(Number(found[1]) * MS[found[2]] * 1000);
};

/** `connections` keep-alive connections that ask `url` again and again for `ms` (whole seconds), by a command line behind `on`: { n, rate, p50us, p99us, maxus, failed }. */
export async function wrk(url, connections, ms, on = []) {
  const [program, ...args] = [...on, 'wrk', '-t1', `-c${connections}`, `-d${Math.max(1, Math.round(ms / 1000))}s`, '--latency', url];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`wrk ended with status ${code}: ${text}`);
  const number = (pattern) => Number(pattern.exec(text)?.[1] ?? 0);
  const errors = [...(/Socket errors:(.*)/.exec(text)?.[1] ?? '').matchAll(/\d+/g)].reduce((sum, [n]) => sum + Number(n), 0);
  return {
    n: number(/(\d+) requests in/), rate: number(/Requests\/sec:\s+([\d.]+)/), p50us: us(text, '50%'), p99us: us(text, '99%'),
    maxus: us(text, 'Latency\\s+[\\d.]+\\w+\\s+[\\d.]+\\w+'), failed: errors + number(/Non-2xx or 3xx responses: (\d+)/),
  };
}
