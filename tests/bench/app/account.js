// SPDX-License-Identifier: Apache-2.0
//
// The same actor twice: what an ask changes is kept on disk before it is answered (Account), or in memory alone (Tally).
const CHANGED = 200; // bytes

const change = (held) => {
  held.n = (held.n ?? 0) + 1;
  held.pad = String(held.n).padEnd(CHANGED, '.');
  return held.n;
};

export const Account = (self) => {
  self.on('add', () => change(self.state));
};

export const Tally = (self) => {
  const held = {};
  self.on('add', () => change(held));
};

export { Account as SharedAccount, Tally as SharedTally };
