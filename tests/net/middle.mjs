// SPDX-License-Identifier: Apache-2.0
//
// A program for a host of secrecy_test.mjs: a machine in the middle, `middle.mjs KIND:PORT:HOST:PORT…`. It listens on each first port, leads whoever
// connects to the second one on HOST, and prints {} when it is there. It holds no keys, but knows what the bytes are (docs/security.md): a preamble,
// then lengths and what they are the length of. Told a line of JSON, {"do":WHAT,"link":KIND,"to":"initiator"|"responder"}, it does that to the next
// record of that direction of any connection of that kind, once, and prints {"done":WHAT}:
//
//   flip      one bit of it          repeat    it comes twice           drop      it does not come
//   swap      it comes after the one behind it                         cut       half of it comes, and nothing more
//   lengthen  one byte more          invent    a record of zeros before it
//
// It ends with its standard input.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const PREAMBLE = 16;
let order; // what is to be done next

const did = () => {
  console.log(JSON.stringify({ done: order.do }));
  order = undefined;
};

/** One direction: takes chunks apart into what belongs together, and passes it on. `handshake` is how many messages are none of records. */
function direction(kind, from, to, name, handshake, preamble) {
  let have = Buffer.alloc(0), begun = !preamble, seen = 0, held;
  from.on('data', (chunk) => {
    have = Buffer.concat([have, chunk]);
    if (!begun) {
      if (have.length < PREAMBLE) return;
      begun = true;
      handshake.of = have[6] === 1 ? { initiator: 2, responder: 1 } : { initiator: 1, responder: 1 };
      to.write(have.subarray(0, PREAMBLE));
      have = have.subarray(PREAMBLE);
    }
    while (have.length >= 2 && have.length >= 2 + have.readUInt16BE(0)) {
      const record = Buffer.from(have.subarray(0, 2 + have.readUInt16BE(0)));
      have = have.subarray(record.length);
      const free = seen++ >= handshake.of[name];
      if (held !== undefined) {
        to.write(Buffer.concat([record, held]));
        held = undefined;
        did();
      } else if (!free || order?.to !== name || order.link !== kind || order.holding) to.write(record);
      else change(record);
    }
  });
  function change(record) {
    const what = order.do;
    if (what === 'swap') {
      held = record;
      order.holding = true;
      return;
    }
    if (what === 'flip') {
      record[2 + ((record.length - 2) >> 1)] ^= 4;
      to.write(record);
    } else if (what === 'repeat') to.write(Buffer.concat([record, record]));
    else if (what === 'lengthen') {
      record.writeUInt16BE(record.readUInt16BE(0) + 1);
      to.write(Buffer.concat([record, Buffer.from([0])]));
    } else if (what === 'invent') to.write(Buffer.concat([Buffer.from([0, 32]), Buffer.alloc(32), record]));
    else if (what === 'cut') to.write(record.subarray(0, record.length >> 1), () => to.end());
    did();
  }
  from.on('error', () => {});
  from.on('close', () => to.destroy());
}

for (const argument of process.argv.slice(2)) {
  const [kind, listen, host, port] = argument.split(':');
  const server = createServer((initiator) => {
    const responder = connect(Number(port), host), handshake = {};
    direction(kind, initiator, responder, 'initiator', handshake, true);
    direction(kind, responder, initiator, 'responder', handshake, false);
  });
  server.listen(Number(listen));
  await once(server, 'listening');
}
console.log('{}');
createInterface({ input: process.stdin })
  .on('line', (line) => { order = JSON.parse(line); })
  .on('close', () => process.exit(0));
