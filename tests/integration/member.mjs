// SPDX-License-Identifier: Apache-2.0
//
// Members of a cluster that are no programs of ours: keys and certificates as docs/security.md says, for tests that act as a node's agent or
// as its actor-host, or for many at once. What is certified here is as good as what a token leads to, though nobody has been told of it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { decodeArgs, encodeArgs } from '../../actors/lib/client/codec.js';
import { keyPair, signPair } from './channel.mjs';
import { ASK, CONTROL, EMIT, REPLY, Wire } from './wire.mjs';

// --- BLAKE2b of 32 bytes (RFC 7693), which node:crypto lacks ---

const IV = [0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n, 0x510e527fade682d1n, 0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n];
const SIGMA = ['0123456789abcdef', 'ea489fd61c02b753', 'b8c052fdae367194', '7931dcbe265a40f8', '905724afe1bc683d', '2c6a0b834d75fe19',
  'c51fed4a0763928b', 'db7ec13950f4862a', '6fe9b308c2d714a5', 'a2847615fb9e3cd0'].map((row) => [...row].map((digit) => parseInt(digit, 16)));
const MIXES = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];
const u64 = (n) => BigInt.asUintN(64, n);
const right = (n, by) => n >> by | u64(n << 64n - by);

/** 32 bytes. */
export function blake2b(bytes) {
  const h = [...IV];
  h[0] ^= 0x01010020n;
  const blocks = Math.max(1, Math.ceil(bytes.length / 128)), padded = Buffer.concat([bytes], blocks * 128);
  for (let block = 0; block < blocks; block++) {
    const m = Array.from({ length: 16 }, (_, i) => padded.readBigUInt64LE(block * 128 + i * 8));
    const last = block === blocks - 1, v = [...h, ...IV];
    v[12] ^= BigInt(last ? bytes.length : (block + 1) * 128);
    if (last) v[14] = u64(~v[14]);
    for (let round = 0; round < 12; round++) {
      const s = SIGMA[round % 10];
      MIXES.forEach(([a, b, c, d], i) => {
        for (const [x, y, z] of [[m[s[2 * i]], 32n, 24n], [m[s[2 * i + 1]], 16n, 63n]]) {
          v[a] = u64(v[a] + v[b] + x);
          v[d] = right(v[d] ^ v[a], y);
          v[c] = u64(v[c] + v[d]);
          v[b] = right(v[b] ^ v[c], z);
        }
      });
    }
    h.forEach((_, i) => { h[i] ^= v[i] ^ v[i + 8]; });
  }
  const out = Buffer.alloc(64);
  h.forEach((word, i) => out.writeBigUInt64LE(word, i * 8));
  return out.subarray(0, 32);
}

// --- signed things ---

export const pack = (values) => Buffer.from(encodeArgs(values));
const unpack = (bytes) => decodeArgs(bytes).map((v) => (v instanceof Uint8Array ? Buffer.from(v) : v));

function signed(prefix, pair, body) {
  const bytes = pack(body);
  return pack([bytes, pair.sign(Buffer.concat([Buffer.from(`${prefix}\0`), bytes]))]);
}

/** A cluster that is nobody's, or, from the data directory of the node where `ctl init` ran, that one. */
export class Authority {
  #pair;
  #serial = 1_000_000; // beyond those that were given out

  constructor(dir) {
    this.#pair = signPair(dir === undefined ? undefined : unpack(readFileSync(join(dir, 'cluster', 'cluster.key')))[2]);
  }
  get key() { return this.#pair.public; }

  /** A member of that name. */
  member(name) {
    const sign = signPair(), fixed = keyPair(), serial = this.#serial++;
    const certificate = signed('isola node certificate 1', this.#pair, [1, blake2b(this.key), name, sign.public, fixed.public, serial, Date.now()]);
    return new Member({ name, sign, fixed, certificate, serial });
  }

  /** The signed entry of its removal. */
  removal({ name, sign, serial }) {
    return signed('isola node removal 1', this.#pair, [1, sign.public, name, serial, Date.now()]);
  }
}

/** What a token says: { id, secret, addresses }. */
function readToken(text) {
  const [, , id, secret, , addresses] = unpack(Buffer.from(text.trim().slice('isola_'.length), 'base64url').subarray(0, -4));
  return { id, secret, addresses };
}

/** { name, sign, fixed, certificate } and, as far as known, its `serial` and the `url` of an agent. */
export class Member {
  constructor(fields) { Object.assign(this, fields); }

  /** One of its own, with a token (its text), at an address of the token's. */
  static async join(text, name) {
    const { id, secret, addresses: [url] } = readToken(text), sign = signPair(), fixed = keyPair();
    const wire = await (await Wire.open({ url, as: { keys: fixed, payload: Buffer.alloc(0) }, purpose: CONTROL })).taken();
    const signature = sign.sign(Buffer.concat([Buffer.from('isola certificate request 1\0'), pack([id, name, sign.public, fixed.public])]));
    const { certificate } = await wire.ask('certify', { token: id, secret, name, key: sign.public, static: fixed.public, signature });
    wire.end();
    return new Member({ name, sign, fixed, certificate: Buffer.from(certificate), url });
  }

  /** The node whose data directory that is. */
  static of(dir) {
    const [, , seed, secret] = unpack(readFileSync(join(dir, 'cluster', 'node.key')));
    const [, , , certificate] = unpack(readFileSync(join(dir, 'cluster', 'member')));
    const [, , name, , , serial] = unpack(unpack(certificate)[0]);
    return new Member({ name, sign: signPair(seed), fixed: keyPair(secret), certificate, serial });
  }

  /** Who its agent is, for a channel. */
  agent() {
    return { keys: this.fixed, payload: pack([this.certificate]) };
  }
  /** Who an actor-host of it is. */
  host({ keys = keyPair(), started = Date.now() } = {}) {
    const certificate = signed('isola host certificate 1', this.sign, [1, blake2b(this.sign.public), keys.public, started]);
    return { keys, started, payload: pack([this.certificate, certificate]) };
  }

  /** A connection with an agent that takes it for one of its agent. */
  async connect(url = this.url, options) {
    return (await Wire.open({ url, as: this.agent(), purpose: CONTROL, ...options })).taken();
  }

  #self(host, url = 'tcp://127.0.0.1:1') {
    const of = host === undefined ? { host_url: null, host_pid: 0 } : { host_url: 'tcp://127.0.0.1:1', host_key: host.keys.public, host_started: host.started, host_pid: 2 };
    return {
      node: { name: this.name, url, ...of, pid: 1, threads: 1, started_ms: Date.now(), version: '0.1.0', certificate: this.certificate, keeper: false },
      nodes: [], down: [], removed: [], releases: [],
    };
  }

  /** On a connection of an agent that has dialled it: what it has asked as `join` is answered. */
  admit(wire, { id }, url) { wire.send({ kind: REPLY, id, args: [this.#self(undefined, url)] }); }

  /**
   * A connection by which it is a live node in the eyes of that agent, as long as it lasts, with an actor-host that is `host`, or none. Nothing listens
   * for either, unless at `own`, but they may dial. It says that it has `releases`, { app, revision }.
   */
  async enter(url = this.url, host = undefined, own = undefined, releases = []) {
    const wire = await this.connect(url, { stays: true });
    wire.hear = function (m) { if (m.kind === ASK) this.send({ kind: REPLY, id: m.id, args: [null] }); };
    const self = this.#self(host, own);
    this.record = self.node; // as it has said
    await wire.ask('join', { ...self, releases, wire: 2, version: '0.1.0' });
    wire.send({ kind: EMIT, event: 'caught_up', args: [] }); // with the releases of the others
    return wire;
  }
}
