// SPDX-License-Identifier: Apache-2.0
//
// What `client.call` asks of an agent, and what it is answered: docs/protocol.md says what each means. Times are in ms since 1970 unless said.

/** Nodes that did not answer: what is on them is missing. */
export interface Gathered { unreachable: string[] }

export interface NodeInfo {
  name: string;
  state: 'up' | 'starting' | 'down' | 'removed';
  /** null in no cluster. */
  url: string | null;
  /** It has the cluster's key. */
  keeper: boolean;
  pid: number | null;
  host_pid: number | null;
  actors: number | null;
  silent: 'agent' | 'actor-host' | null;
  threads: number | null;
  uptime_ms: number | null;
  version: string | null;
}

export interface ActorInfo {
  address: string;
  isolation: 'isolate' | 'shared';
  node: string;
  thread: number;
  state: 'starting' | 'idle' | 'running' | 'crashed' | 'failed' | 'quarantined';
  mailbox: number;
  turns: number;
  /** Bytes, of the isolate it lives in. */
  heap: number;
  cpu_us: number;
  release: string;
  timers?: number;
  next_timer?: number;
  start?: 'snapshot' | 'cache' | 'source';
  start_reason?: string;
  failure?: string;
  /** What it keeps comes from that node in pieces. */
  coming?: { from: string; bytes: number; total: number };
}

/** An instance of a service. */
export interface ServiceInfo {
  address: string;
  isolation: 'process';
  node: string;
  state: 'starting' | 'running' | 'stopping' | 'stopped' | 'crashed' | 'failed';
  release: string;
  pid: number | null;
  port: number | null;
  memory: number;
  memory_limit?: number;
  cpu_ms: number;
  millicpus?: number;
  restarts: number;
  /** It runs a canary. */
  canary?: true;
  failure?: string;
}

export interface LogLine { time: number; level: 'debug' | 'info' | 'warn' | 'error'; node: string; address: string; text: string }

export interface DeployInfo {
  revision: number;
  release: string;
  deployed_ms: number;
  by: string;
  message: string;
  /** Of a roll-back the revision of the deploy it restores, else 0. */
  restores: number;
  /** Of a canary its share, of a million, else 0. */
  share: number;
}

export interface TimerInfo {
  address: string;
  id: string;
  event: string;
  next: number;
  every?: number;
  cron?: string;
  time_zone?: string;
}

export interface Letter {
  time: number;
  node: string;
  kind: 'ask' | 'emit' | 'event';
  from: string;
  to: string;
  event: string;
  code: string;
  reason: string;
  size: number;
  /** The args array as it was sent, encoded. */
  args?: Uint8Array;
}

export interface Pieces { pieces: number; bytes: number }

/** By the name of the method: its params, and its result. */
export interface Methods {
  nodes: { params: {}; result: { nodes: NodeInfo[]; cluster: { name: string; id: string } | null } };
  ps: {
    params: { app?: string; local?: boolean; limit?: number };
    result: Gathered & { actors: (ActorInfo | ServiceInfo)[]; total: number; hosts: { node: string; cpu_us: number; memory: number }[] };
  };
  logs: {
    params: { app?: string; type?: string; address?: string; level?: LogLine['level']; since?: number; text?: string; node?: string; lines?: number };
    result: Gathered & { lines: LogLine[] };
  };
  releases: {
    params: { app: string };
    /** `canary`, `share` (of a million) and `instances` (of services, that run it) while there is one. */
    result: { app: string; current: string; canary?: string; share?: number; instances?: { node: string; address: string }[]; back: string | null; deploys: DeployInfo[] };
  };
  release: {
    params: { app: string; release?: string };
    result: { app: string; release: string; manifest: string; bundles: { type: string; bytes: number; map_bytes: number; hash: string }[]; files?: Uint8Array; link?: string };
  };
  timers: {
    params: { of?: string; limit?: number };
    result: Gathered & { schedules: { node: string; more: boolean; timers: TimerInfo[] }[] };
  };
  'dead-letters': {
    params: { of?: string };
    result: Gathered & { letters: Letter[]; counts: { [node: string]: number } };
  };
  cache: { params: { prune?: boolean }; result: { node: string; all: Pieces; used: Pieces; gone: Pieces } };
  /** Rejects with ENOACTOR when there is no such app, or type. */
  find: { params: { of: string }; result: null };
}
