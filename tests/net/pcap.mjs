// SPDX-License-Identifier: Apache-2.0
//
// Reads capture files of badnet: packets, and what TCP connections carried, put together again.
import { readFileSync } from 'node:fs';

const UDP = 17, TCP = 6;
const address = (bytes) => bytes.join('.');

/** { time (ms), frame, from, to, protocol, fromPort, toPort, sequence (TCP), payload } of each IPv4 packet with UDP or TCP in it. */
export function packets(file) {
  const bytes = readFileSync(file);
  if (bytes.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error(`${file} is no capture file of this machine`);
  const found = [];
  for (let at = 24; at < bytes.length;) {
    const time = bytes.readUInt32LE(at) * 1000 + bytes.readUInt32LE(at + 4) / 1000, n = bytes.readUInt32LE(at + 8);
    const frame = bytes.subarray(at + 16, at + 16 + n);
    at += 16 + n;
    if (frame.length !== n) throw new Error(`${file} ends in the middle of a frame`);
    if (frame.readUInt16BE(12) !== 0x0800) continue;
    const ip = frame.subarray(14, 14 + frame.readUInt16BE(16));
    const protocol = ip[9], segment = ip.subarray((ip[0] & 15) * 4);
    if (protocol !== UDP && protocol !== TCP) continue;
    found.push({
      time, frame, protocol, from: address(ip.subarray(12, 16)), to: address(ip.subarray(16, 20)), fromPort: segment.readUInt16BE(0), toPort: segment.readUInt16BE(2),
      sequence: protocol === TCP ? segment.readUInt32BE(4) : undefined, begins: protocol === TCP && (segment[13] & 2) !== 0,
      payload: segment.subarray(protocol === UDP ? 8 : (segment[12] >> 4) * 4),
    });
  }
  return found;
}

/**
 * The two directions of every TCP connection in the file: { from, fromPort, to, toPort, bytes }. What was sent again is in it once; a port that
 * is used a second time begins another one.
 */
export function streams(file) {
  const open = new Map(), all = [];
  for (const p of packets(file)) {
    if (p.protocol !== TCP) continue;
    const key = `${p.from}:${p.fromPort}>${p.to}:${p.toPort}`;
    let s = open.get(key);
    if (s === undefined || (p.begins && p.sequence !== s.first)) {
      s = { from: p.from, fromPort: p.fromPort, to: p.to, toPort: p.toPort, first: p.sequence, base: (p.sequence + (p.begins ? 1 : 0)) >>> 0, parts: new Map() };
      open.set(key, s);
      all.push(s);
    }
    if (p.payload.length === 0) continue;
    const at = (p.sequence - s.base) | 0; // connections of less than 2 GB
    if (at >= 0 && (s.parts.get(at)?.length ?? 0) < p.payload.length) s.parts.set(at, p.payload);
  }
  return all.map(({ parts, first, base, ...s }) => {
    const sorted = [...parts].sort(([a], [b]) => a - b);
    const bytes = Buffer.alloc(sorted.reduce((end, [at, part]) => Math.max(end, at + part.length), 0));
    for (const [at, part] of sorted) bytes.set(part, at);
    return { ...s, bytes };
  });
}
