// SPDX-License-Identifier: Apache-2.0
//
// Asks idle actors one after the other, with pauses between, and says how long each took: from when the ask was due, so that a
// prober that is held up itself does not hide it.
import { actor } from 'isola';

export default (self) => {
  self.on('probe', async ({ type, actors, n, every }) => {
    const all = Array.from({ length: actors }, (_, i) => actor(`bench/${type}`, `k${i}`));
    const asks = [], late = [];
    for (let i = 0; i < n; i++) {
      const due = performance.now() + every;
      await new Promise((done) => { setTimeout(done, every); });
      const begun = performance.now();
      late.push((begun - due) * 1000);
      await all[i % actors].ask('echo', i);
      asks.push((performance.now() - begun) * 1000);
    }
    return { asks, late };
  });
};
