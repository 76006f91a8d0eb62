// SPDX-License-Identifier: Apache-2.0
//
// A rehearsal, while the snapshot is made and nobody is there to see it: what every actor does is done once, so that the functions it
// takes are compiled in the snapshot. They would be compiled anew in every isolate otherwise. No more than that: what is
// compiled has its place in each of thousands of heaps.
import { actor } from './ref.js';
import { rehearse } from './incoming.js';

/** The steps follow each other in microtasks; `end` removes what is left of them. */
export async function warm(hooks, end) {
  const SERIAL = 0xffffffff; // no actor's
  const KEY = ['isola', 'Warm', 'up'];
  class Warm {
    echo(x) { return x; }
  }
  const setup = (self) => {
    self.state.n = 0;
    self.on('echo', (x) => x);
    self.on('later', async (x) => { await undefined; return x; });
    self.on('out', () => {
      const ref = actor('isola/Warm/other');
      ref.emit('x', 1);
      ref.ask('x', { timeout: 1 });
    });
  };
  for (const definition of [Warm, setup]) {
    hooks.load(KEY[1], { default: definition });
    hooks.activate(SERIAL, KEY[0], KEY[1], KEY[2], undefined, undefined);
    await undefined;
    for (const name of definition === Warm ? ['echo'] : ['echo', 'later', 'out']) rehearse(SERIAL, 1, name, 1);
    for (let i = 0; i < 8; i++) await undefined; // until what they have begun has ended
    hooks.deactivate(SERIAL);
  }
  end();
}
