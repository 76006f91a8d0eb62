// SPDX-License-Identifier: Apache-2.0
//
// A rehearsal, while the snapshot is made and nobody is there to see it: what every actor does is done once, so that the functions it
// takes are compiled in the snapshot. They would be compiled anew in every isolate otherwise.
import { actor } from './ref.js';

const SERIAL = 0xffffffff; // no actor's
const KEY = ['isola', 'Warm', 'up'];

/** The steps follow each other in microtasks; `end` removes what is left of them. */
export async function warm(hooks, end) {
  class Warm {
    echo(x) { return x; }
  }
  const setup = (self) => {
    self.state.n = 0;
    self.on('echo', (x) => x);
    self.on('later', async (x) => { await undefined; return x; });
    self.on('throw', () => { throw new Error('warm'); });
    self.on('out', () => {
      const ref = actor('isola/Warm/other');
      ref.emit('x', 1);
      hooks.settle(1, true, ref.ask('x', { timeout: 1 }) && 1);
      ref.on('x', () => {});
      hooks.event(SERIAL, 2, 1, [1]);
      ref.removeAllListeners('x');
      clearTimeout(setTimeout(() => {}, 1));
      setTimeout(() => {}, 1);
      hooks.timer(1);
      self.emit('x', 1);
      console.log('x');
      process.nextTick(() => {});
      queueMicrotask(() => {});
    });
  };
  for (const definition of [Warm, setup]) {
    hooks.load(KEY[1], { default: definition });
    hooks.activate(SERIAL, KEY[0], KEY[1], KEY[2], undefined, undefined);
    await undefined;
    hooks.state(SERIAL);
    for (const name of ['echo', 'later', 'throw', 'out', 'none']) {
      hooks.deliver(SERIAL, 1, true, name, [1]);
      hooks.deliver(SERIAL, 1, false, name, [1]);
    }
    for (let i = 0; i < 8; i++) await undefined; // until what they have begun has ended
    hooks.hibernate(SERIAL, 3);
    await undefined;
    hooks.tick();
    hooks.deactivate(SERIAL);
  }
  end();
}
