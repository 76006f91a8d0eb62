// SPDX-License-Identifier: Apache-2.0
//
// Runs build/bin/ctl for tests: in an environment of its own, with a deadline, ended by pid.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
export const CTL = path.join(process.env.ISOLA_BUILD ?? path.join(root, 'build'), 'bin/ctl');
if (!fs.existsSync(CTL)) throw new Error(`${CTL} is not there: build it first, or say with ISOLA_BUILD where the build is`);
const DEADLINE_MS = 120_000;

// A directory that is gone after the test `t`.
export function scratch(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ctl-test-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// { child, done }: done is { status (or the signal's name), stdout, stderr }. Killed when it outlives the deadline or,
// given `t`, the test.
export function startCtl(t, args, { node, env = {}, stdout = 'pipe', cwd } = {}) {
  const { PATH, TMPDIR, ISOLA_ESBUILD, ASAN_OPTIONS } = process.env;
  const inherited = Object.fromEntries(Object.entries({ PATH, TMPDIR, ISOLA_ESBUILD, ASAN_OPTIONS }).filter(([, v]) => v));
  const child = spawn(CTL, node ? [...args, '--node', node] : args, {
    cwd,
    env: { ...inherited, HOME: '/nonexistent', ...env },
    stdio: ['ignore', stdout, 'pipe'],
  });
  const out = { stdout: [], stderr: [] };
  child.stdout?.on('data', (chunk) => out.stdout.push(chunk));
  child.stderr.on('data', (chunk) => out.stderr.push(chunk));
  const deadline = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
  t?.after(() => child.exitCode ?? child.signalCode ?? child.kill('SIGKILL'));
  const done = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(deadline);
      resolve({ status: code ?? signal, stdout: Buffer.concat(out.stdout).toString(), stderr: Buffer.concat(out.stderr).toString() });
    });
  });
  return { child, done };
}

export function ctl(args, options) {
  return startCtl(null, args, options).done;
}

// Resolves when what `stream` gave so far matches.
export function until(stream, pattern) {
  return new Promise((resolve, reject) => {
    let text = '';
    stream.on('data', (chunk) => {
      text += chunk;
      if (pattern.test(text)) resolve(text);
    });
    stream.on('close', () => reject(new Error(`ended before ${pattern}: ${text}`)));
  });
}
