// SPDX-License-Identifier: Apache-2.0
//
// What works for a script below JavaScript (actors/v8/node_*.cc, encodings.cc) does so for as long as large or adversarial input makes
// it: each call ends with the limit of CPU time, and harms nobody else.
import { after, before, test } from 'node:test';

import { Arena } from './arena.mjs';

const arena = new Arena('n', { A: { cpu: '200ms', heap: '400MB', external: '300MB' } });
before(() => arena.open());
after(() => arena.close());

const CPU = /used more than 200 ms of CPU in one turn \(limit "cpu"\)/;
const big = 2.5e8; // bytes, nearly as much as there may be

const endless = {
  'indexOf, a long needle': 'const b = Buffer.alloc(6e7, 1), n = Buffer.alloc(3e7, 1); n[15e6] = 2; for (;;) b.indexOf(n);',
  'indexOf, a short one': 'const b = Buffer.alloc(2e8, 1), n = Buffer.alloc(250, 1); n[100] = 2; for (;;) b.indexOf(n);',
  'indexOf at odd places': 'const b = Buffer.alloc(6e7), n = Buffer.alloc(1e6); for (let i = 2; i < b.length; i += 2) b[i] = 1; for (let i = 1; i < n.length; i += 2) n[i] = 1; return b.indexOf(n, 0, "utf16le");',
  'lastIndexOf': 'const b = Buffer.alloc(6e7, 1), n = Buffer.alloc(3e7, 1); n[29999999] = 2; return b.lastIndexOf(n);',
  'includes of a string': 'const b = Buffer.alloc(6e7, "a"); for (;;) b.includes("a".repeat(3e7) + "b");',
  'compare': `const b = Buffer.alloc(1.2e8), c = Buffer.alloc(1.2e8); for (;;) b.compare(c);`,
  'fill with a byte': `const b = Buffer.alloc(${big}); for (;;) b.fill(1);`,
  'fill with a string': `const b = Buffer.alloc(${big}); for (;;) b.fill("ab");`,
  'copy': `const b = Buffer.alloc(${big}); for (;;) b.copy(b, 1);`,
  'swap16': `const b = Buffer.alloc(${big}); for (;;) b.swap16();`,
  'toString hex': 'const b = Buffer.alloc(2e8); for (;;) b.toString("hex");',
  'toString base64': 'const b = Buffer.alloc(2.5e8); for (;;) b.toString("base64");',
  'toString ascii': 'const b = Buffer.alloc(2.5e8); for (;;) b.toString("ascii");',
  'from hex': 'const s = "a".repeat(2e8); for (;;) Buffer.from(s, "hex");',
  'from base64 of two bytes a character': 'const s = "ā".repeat(1e8); for (;;) Buffer.from(s, "base64");',
  'atob': 'const s = "a".repeat(2e8); for (;;) atob(s);',
  'atob of spaces': 'const s = " ".repeat(2e8); for (;;) atob(s);',
  'btoa': 'const s = "a".repeat(2e8); for (;;) btoa(s);',
  'isUtf8': `const { isUtf8 } = require("buffer"), b = Buffer.alloc(${big}, "ü"); for (;;) isUtf8(b);`,
  'isAscii': `const { isAscii } = require("buffer"), b = Buffer.alloc(${big}, 1); for (;;) isAscii(b);`,
  'a fatal TextDecoder': `const b = Buffer.alloc(${big}, 65), d = new TextDecoder("utf-8", { fatal: true }); for (;;) d.decode(b);`,
  'a TextDecoder of ICU\'s': `const b = Buffer.alloc(${big}, 200), d = new TextDecoder("gbk"); for (;;) d.decode(b);`,
  'a digest': 'const b = Buffer.alloc(2e8); for (;;) crypto.hash("sha512", b);',
  'an HMAC': 'const b = Buffer.alloc(1e8), h = () => crypto.createHmac("sha512", "key").update(b).digest(); for (;;) h();',
  'random numbers': `const b = Buffer.alloc(${big}); for (;;) crypto.randomFillSync(b);`,
  'timingSafeEqual': 'const b = Buffer.alloc(1.2e8), c = Buffer.alloc(1.2e8); for (;;) crypto.timingSafeEqual(b, c);',
  'crc32': `const b = Buffer.alloc(${big}); for (;;) zlib.crc32(b);`,
  'deflate': 'const b = Buffer.alloc(1e8); for (let i = 0; i < 4e6; i++) b[i] = (i * 7919) >> 3; for (let i = 4e6; i < 1e8; i += 4e6) b.copy(b, i, 0, 4e6); for (;;) zlib.deflateSync(b, { chunkSize: 1e8, level: 9 });',
  'inflate': 'const b = zlib.deflateSync(Buffer.alloc(1e8), { level: 1 }); for (;;) zlib.inflateSync(b, { chunkSize: 1e8 });',
  'a URL of many steps up': 'const u = "http://a/" + "a/".repeat(8e6) + "../".repeat(5e6); for (;;) new URL(u);',
  'a query': 'const u = "http://a/?" + "ü".repeat(5e6); for (;;) new URL(u);',
};

test('each is ended by its limit', () => arena.all(Object.entries(endless).map(([name, code]) => [name, () => arena.crashes('A', code, CPU)])));

const refused = {
  'a URL that is too long': ['new URL("http://a/" + "b".repeat(1e8));', 'ERR_INVALID_URL'],
  'a host that is too long': ['new URL("http://" + "ü".repeat(1e6) + ".de");', 'ERR_INVALID_URL'],
};
test('what no limit allows is refused', () => arena.all(Object.entries(refused).map(([name, [code, says]]) => [name, async () => {
  const { error } = await arena.run('A', code);
  if (error?.code !== says) throw new Error(`${error?.code} ${error?.message.slice(0, 100)}`);
}])));

test('nobody else was harmed', () => arena.unharmed(10_000));
