// SPDX-License-Identifier: Apache-2.0
//
// Puts and reads items of its storage, so many in one turn.
const VALUE = 'x'.repeat(97); // 100 bytes, encoded

const name = (i) => `item/${String(i).padStart(7, '0')}`;

export default (self) => {
  const { storage } = self;
  self.on('put', async (n, from) => { for (let i = 0; i < n; i++) await storage.put(name(from + i), VALUE); });
  // the same ones again and again
  self.on('hot', async (n, among) => { for (let i = 0; i < n; i++) if (await storage.get(name(i % among)) !== VALUE) throw new Error('it is not what was put'); });
  // each for the first time
  self.on('cold', async (n, from) => { for (let i = 0; i < n; i++) if (await storage.get(name(from + i)) !== VALUE) throw new Error('it is not what was put'); });
  self.on('list', async (n, limit) => { for (let i = 0; i < n; i++) if ((await storage.list({ limit })).size !== limit) throw new Error('there are fewer'); });
};
