// SPDX-License-Identifier: Apache-2.0
export default (self) => {
  let n = 0;
  self.on('echo', (x) => x);
  self.on('tick', () => { n++; });
  self.on('count', () => n);
};
