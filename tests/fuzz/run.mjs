// SPDX-License-Identifier: Apache-2.0
//
// make fuzz: each fuzz target by libFuzzer for FUZZ_SECONDS (60), or those FUZZ_ONLY names ("agent,codec"). What they learn stays in
// build-fuzz/corpus, for the next time. A finding ends its target: what was said is printed, with the input and the command that
// shows it again, and the exit status is 1.
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const build = join(root, 'build-fuzz');
const seconds = +(process.env.FUZZ_SECONDS ?? 60);
const all = readdirSync(import.meta.dirname).filter((f) => /_fuzz\.(c|cc)$/.test(f)).map((f) => f.replace(/_fuzz\.\w+$/, '')).sort();
const only = process.env.FUZZ_ONLY?.split(',') ?? all;
if (!(seconds >= 1) || only.some((name) => !all.includes(name))) {
  console.error(`make fuzz: FUZZ_SECONDS is 1 or more, FUZZ_ONLY some of ${all.join(',')}`);
  process.exit(2);
}

/** The program of a target and its arguments, which libFuzzer's own follow. */
function program(name) {
  if (name !== 'codec') return { file: join(build, 'fuzz', `${name}_fuzz`), args: [], env: {} };
  const { command: [file, ...args], env } = JSON.parse(readFileSync(join(build, 'fuzz/codec.json'), 'utf8'));
  return { file, args, env };
}

const shell = (words) => words.map((w) => /^[\w@%+=:,./-]+$/.test(w) ? w : `'${w.replaceAll("'", "'\\''")}'`).join(' ');

for (const name of only) {
  const learned = join(build, 'corpus', name), findings = join(build, 'findings');
  mkdirSync(learned, { recursive: true });
  mkdirSync(findings, { recursive: true });
  const { file, args, env } = program(name);
  const log = join(build, `${name}.log`), out = openSync(log, 'w');
  const options = [`-max_total_time=${seconds}`, '-timeout=20', '-rss_limit_mb=3000', '-print_final_stats=1', `-artifact_prefix=${findings}/${name}-`];
  const child = spawn(file, [...args, ...options, learned, join(root, 'tests/fuzz/corpus', name)], { stdio: ['ignore', out, out], env: { ...process.env, ...env } });
  const status = await new Promise((done) => {
    child.on('error', (e) => done(e.message));
    child.on('close', (code, signal) => done(signal ?? code));
  });
  const said = readFileSync(log, 'utf8');
  const stat = (what) => new RegExp(`stat::${what}:\\s+(\\d+)`).exec(said)?.[1] ?? '?';
  const covered = [...said.matchAll(/ cov: (\d+)/g)].at(-1)?.[1] ?? '?';
  if (status === 0) {
    console.log(`ok ${name}: ${stat('number_of_executed_units')} inputs, ${stat('average_exec_per_sec')} a second, ${covered} places reached, ${readdirSync(learned).length} inputs kept`);
    continue;
  }
  process.exitCode = 1;
  const input = /Test unit written to (\S+)/.exec(said)?.[1];
  const at = said.search(/^(=+\n==\d+==ERROR|isola: internal error|.*: runtime error|==\d+== ERROR)/m);
  console.log(`FAILED ${name} (${status}): ${log}\n${said.slice(Math.max(0, at), at + 4000)}`);
  if (input !== undefined) console.log(`again: ${shell([...Object.entries(env).map(([k, v]) => `${k}=${v}`), file, ...args, input])}\nmend it, and keep the input: cp ${input} tests/fuzz/corpus/${name}/found-WHAT`);
}
