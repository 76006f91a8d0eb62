// SPDX-License-Identifier: Apache-2.0
//
// A node of Moleculer, with its TCP transporter and no discovery: `main.cjs there` has a service that answers, `main.cjs here PORT` asks it.
// Takes a command a line, answers each with a JSON line:
//
//   start           → {"port":…}, when it is ready
//   ask CALLERS MS  CALLERS loops call the action for MS milliseconds → {"n":…,"rate":…,"delays":[µs…]}, of one call in sixteen
//
// Ends with its standard input.
'use strict';
const net = require('node:net');
const { createInterface } = require('node:readline');

const { ServiceBroker } = require('moleculer');

const EVERY = 16, KEPT = 4000;
const [, , name, port] = process.argv;

// The transporter cannot be told an address to listen on, and would take all there are.
const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (options, ...more) { return listen.call(this, { ...options, host: '127.0.0.1' }, ...more); };

const broker = new ServiceBroker({
  nodeID: name, logger: false,
  transporter: { type: 'TCP', options: { udpDiscovery: false, gossipPeriod: 1, urls: port === undefined ? null : [`tcp://127.0.0.1:${port}/there`], maxPacketSize: 16 << 20 } },
});
broker.registry.nodes.localNode.hostname = '127.0.0.1'; // what it tells the other to connect to
if (name === 'there') broker.createService({ name: 'echo', actions: { one: (ctx) => ctx.params } });

async function caller(end, delays) {
  let n = 0;
  for (let at = 0; at < end;) {
    await broker.call('echo.one', 1);
    if (++n % EVERY !== 0) continue;
    const begun = performance.now();
    await broker.call('echo.one', 1);
    at = performance.now();
    if (delays.length < KEPT) delays.push(Math.round((at - begun) * 1e5) / 100);
    n++;
  }
  return n;
}

const commands = {
  async start() {
    await broker.start();
    if (name === 'here') await broker.waitForServices('echo');
    return { port: broker.transit.tx.opts.port };
  },
  async ask(callers, ms) {
    if (await broker.call('echo.one', 1) !== 1) throw new Error('the answer is not what was asked');
    const start = performance.now();
    const each = Array.from({ length: callers }, () => []);
    const counts = await Promise.all(each.map((delays) => caller(start + ms, delays)));
    const n = counts.reduce((a, b) => a + b, 0);
    return { n, rate: (n * 1000) / (performance.now() - start), delays: each.flat() };
  },
};

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const [command, ...args] = line.split(' ');
    process.stdout.write(`${JSON.stringify(await commands[command](...args.map(Number)))}\n`);
  })
  .on('close', () => process.exit(0));
