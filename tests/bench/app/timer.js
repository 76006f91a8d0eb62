// SPDX-License-Identifier: Apache-2.0
//
// Sets durable timers that are due at once, and counts: what a timer's turn sends leaves when that is on disk.
import { actor } from 'isola';

export default (self) => {
  let n = 0, last = 0, first = 0;
  self.on('set', (timers, at, counter) => { for (let i = 0; i < timers; i++) self.schedule('due', at, counter); });
  self.on('due', (counter) => {
    self.state.n = (self.state.n ?? 0) + 1;
    actor('bench/Timer', counter).emit('one');
  });
  self.on('one', () => {
    last = Date.now();
    if (n++ === 0) first = last;
  });
  self.on('counted', () => ({ n, first, last }));
};
