// SPDX-License-Identifier: Apache-2.0
//
// The same work as bench/Asker does, on Durable Objects: CALLERS loops of RPC calls over OBJECTS objects for MS milliseconds.
// The clock here moves with I/O and in whole milliseconds, so `ms` is a guide: whoever asks measures the time.
import { DurableObject } from 'cloudflare:workers';

export class Echo extends DurableObject {
  echo(x) { return x; }
}

export default {
  async fetch(request, env) {
    const { objects, callers, ms } = Object.fromEntries([...new URL(request.url).searchParams].map(([k, v]) => [k, Number(v)]));
    const all = Array.from({ length: objects }, (_, i) => env.echo.get(env.echo.idFromName(`k${i}`)));
    const end = Date.now() + ms;
    const delays = [];
    let n = 0;
    await Promise.all(Array.from({ length: callers }, async (_, c) => {
      let x = Math.imul(c, 0x9e3779b1); // whom it asks is drawn by lot, as in caller.js
      for (let k = 0; Date.now() < end; k++) {
        const begun = Date.now();
        x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
        if (await all[(x >>> 8) % objects].echo(1) !== 1) throw new Error('a wrong answer');
        if (k % 16 === 0) delays.push(Date.now() - begun);
        n++;
      }
    }));
    return Response.json({ n, delays });
  },
};
