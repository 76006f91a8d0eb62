// SPDX-License-Identifier: Apache-2.0
//
// Loads other actors from inside the cluster, as a gen_server's caller does, and says what it measured.
import { actor } from 'isola';

const now = globalThis.performance === undefined ? () => Date.now() : () => performance.now();
const quantiles = (samples) => {
  const sorted = Float64Array.from(samples).sort();
  const at = (q) => Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0) * 1000);
  return { p50us: at(0.5), p99us: at(0.99), maxus: at(1) };
};

export default (self) => {
  const refs = (type, n) => Array.from({ length: n }, (_, i) => actor(`bench/${type}`, `k${i}`));

  self.on('birth', async (type, n, event, ...args) => {
    const start = now();
    const all = refs(type, n);
    for (let i = 0; i < n; i += 64) await Promise.all(all.slice(i, i + 64).map((r) => r.ask(event, ...args)));
    return { n, us: ((now() - start) * 1000) / n };
  });
  self.on('asks', async (type, actors, callers, ms, event, ...args) => {
    const all = refs(type, actors);
    const samples = [];
    const start = now();
    const end = start + ms;
    let n = 0;
    await Promise.all(Array.from({ length: callers }, async (_, c) => {
      for (let i = c * 131, k = 0; now() < end; i++, k++) {
        const t = k % 16 === 0 ? now() : 0;
        await all[i % actors].ask(event, ...args);
        if (t !== 0) samples.push(now() - t);
        n++;
      }
    }));
    return { actors, callers, rate: Math.round((n * 1000) / (now() - start)), ...quantiles(samples) };
  });
  self.on('emits', async (type, actors, ms) => {
    const all = refs(type, actors);
    const start = now();
    const end = start + ms;
    let n = 0;
    while (now() < end) {
      for (let k = 0; k < 1000; k++, n++) all[n % actors].emit('tick');
      await all[n % actors].ask('count'); // let the others have the thread; bounds what is under way
    }
    await Promise.all(all.map((r) => r.ask('count')));
    return { actors, rate: Math.round((n * 1000) / (now() - start)) };
  });
};
