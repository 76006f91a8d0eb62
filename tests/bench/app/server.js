// SPDX-License-Identifier: Apache-2.0
export default (self) => {
  let n = 0;
  let late = [];
  self.on('echo', (x) => x);
  self.on('size', (bytes) => bytes.length);
  self.on('data', () => { n++; });
  self.on('tick', (sent) => {
    n++;
    if (sent !== undefined) late.push(performance.timeOrigin + performance.now() - sent);
  });
  self.on('count', () => {
    const answer = [n, late];
    n = 0;
    late = [];
    return answer;
  });
};
