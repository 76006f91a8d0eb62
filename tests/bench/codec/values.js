// SPDX-License-Identifier: Apache-2.0
//
// A script that ends with the values that are measured, in the order of `names` in ../figures/codec.mjs. It is evaluated in our isolate
// and, for @msgpack/msgpack, in Node.js' own.
(() => {
  let seed = 42;
  const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const below = (n) => Math.floor(random() * n);
  const word = (letters, n) => Array.from({ length: n }, () => letters[below(letters.length)]).join('');
  // As they come about in a program: not the ropes that concatenation leaves.
  const flat = (text) => JSON.parse(JSON.stringify(text));
  const ascii = [...'abcdefghijklmnopqrstuvwxyz      ,.'], latin = [...'abcdefghijklmnopqrst äöüßéèçñåø'];
  const others = [...'的一是不了人我在有他这中大来上国日本語のテキスト한국어', '😀', '🚀', '🌍'];
  const line = (i) => ({ sku: `A-${1000 + i}`, title: word(ascii, 20), quantity: 1 + below(9), price: (100 + below(99900)) / 100, taxed: i % 3 !== 0 });
  const order = {
    id: 'ord_8f14e45f', placed: 1763750000000, currency: 'EUR', paid: true, note: null,
    customer: { id: 90210, name: 'Ada Lovelace', email: 'ada@example.com', vip: false,
      address: { street: 'Ockham Road 12', city: 'London', zip: 'SW1A 1AA', country: 'GB' } },
    lines: Array.from({ length: 8 }, (_, i) => line(i)),
    totals: { net: 812.35, tax: 154.34, gross: 966.69 },
    tags: ['web', 'first', 'gift'],
  };
  const message = { type: 'moved', id: 48213, x: 12.25, y: -3.5, name: 'player-17', alive: true };
  return flat([
    message,
    order,
    Array.from({ length: 125000 }, () => random() * 1000),
    Array.from({ length: 350000 }, () => below(10000)),
    Array.from({ length: 1000 }, () => word(ascii, 8 + below(12))),
    word(ascii, 100000),
    word(latin, 100000),
    word(others, 50000),
  ]).concat([Uint8Array.from({ length: 1000000 }, () => below(256))]);
})()
