// SPDX-License-Identifier: Apache-2.0
export default (self) => {
  self.state.pad ??= 'x'.repeat(180);
  self.state.n ??= 0;
  self.on('add', (by) => (self.state.n += by));
  self.on('get', () => self.state.n);
};
