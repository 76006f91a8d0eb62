// SPDX-License-Identifier: Apache-2.0
//
// The same actor twice: the 200 bytes that an ask changes are on disk before it is answered (Account), or in memory alone (Tally).
const texts = ['a', 'b', 'c', 'd'].map((c) => c.repeat(200));

const change = (held) => {
  held.n = (held.n ?? 0) + 1;
  held.text = texts[held.n % texts.length];
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
