// SPDX-License-Identifier: Apache-2.0
//
// A program for a host of hosts_test.mjs: echoes over TCP, counts what comes over UDP, and sends when it is told. The first line it prints is
// {"tcp":port,"udp":port}; then it takes a line of JSON, [command, parameters], and answers with one. It ends with its standard input.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const heard = []; // numbers of datagrams as they came
let enough; // { count, done }
const echoes = new Map(); // number → resolver

const udp = createSocket('udp4');
udp.on('message', (message, from) => {
  const [kind, number] = String(message).split(' ');
  if (kind === 'ping') udp.send(`pong ${number}`, from.port, from.address);
  else if (kind === 'pong') echoes.get(Number(number))?.();
  else heard.push(Number(number));
  if (enough !== undefined && heard.length >= enough.count) enough.done();
});
udp.bind(0);
await once(udp, 'listening');

const server = createServer((socket) => socket.on('error', () => {}).pipe(socket));
server.listen(0);
await once(server, 'listening');

const commands = {
  /** Sends datagrams with the numbers `from` to `from + count - 1`. */
  async send({ host, port, from, count, text = '' }) {
    for (let i = 0; i < count; i++) await new Promise((done) => { udp.send(`note ${from + i} ${text}`, port, host, done); });
    return {};
  },
  /** When so many have come in all: their numbers. */
  async heard({ count }) {
    if (heard.length < count) await new Promise((done) => { enough = { count, done }; });
    enough = undefined;
    return heard;
  },
  /** ms there and back of `count` datagrams, one after the other; each is sent again after a second without an answer. */
  async ping({ host, port, count }) {
    const took = [];
    for (let number = 0; number < count; number++) {
      const begun = performance.now();
      const answered = new Promise((done) => { echoes.set(number, done); });
      const send = () => udp.send(`ping ${number}`, port, host);
      const again = setInterval(send, 1000);
      send();
      await answered;
      clearInterval(again);
      took.push(performance.now() - begun);
    }
    return took;
  },
  /** Sends so many bytes and waits for as many: how long it took, and how many were others. Resolves when the connection is made, too: `made`. */
  async stream({ host, port, bytes }) {
    const begun = performance.now();
    const socket = connect(port, host);
    await once(socket, 'connect');
    socket.end(Buffer.alloc(bytes, 'isola '));
    const parts = [];
    for await (const part of socket) parts.push(part);
    const all = Buffer.concat(parts), expected = Buffer.alloc(bytes, 'isola ');
    let different = Math.abs(all.length - bytes);
    for (let i = 0; i < Math.min(bytes, all.length); i++) if (all[i] !== expected[i]) different++;
    return { ms: performance.now() - begun, different };
  },
};

console.log(JSON.stringify({ tcp: server.address().port, udp: udp.address().port }));
createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const [command, params] = JSON.parse(line);
    console.log(JSON.stringify(await commands[command](params)));
  })
  .on('close', () => process.exit(0));
