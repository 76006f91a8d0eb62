// SPDX-License-Identifier: Apache-2.0
//
// Keeps a CPU busy: for a number of steps, or until it is killed.
export default (self) => {
  self.on('burn', (steps) => {
    let x = 1;
    for (let i = 0; i < steps; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0;
    return x;
  });
  self.on('spin', () => { for (;;); });
};
