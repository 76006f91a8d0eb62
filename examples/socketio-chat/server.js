// SPDX-License-Identifier: Apache-2.0
//
// A chat of rooms, as any socket.io program is written: `io.to(room)` reaches who is in the room, whichever process of whichever node they are connected
// to, because of the adapter.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Server } from 'socket.io';

import { IsolaAdapter } from './adapter.js';

const page = readFileSync(new URL('./public/index.html', import.meta.url));
const server = createServer((request, response) => {
  if (request.url === '/') response.setHeader('content-type', 'text/html; charset=utf-8').end(page);
  else response.writeHead(404).end('there is no such page\n');
});

const io = new Server(server, {
  adapter: IsolaAdapter,
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 }, // whoever is back by then has missed nothing
});

io.on('connection', (socket) => {
  socket.data.name ??= String(socket.handshake.auth.name ?? 'somebody');
  socket.on('join', async (room, done) => {
    await socket.join(room);
    done?.(process.env.ISOLA_INSTANCE);
  });
  socket.on('say', (room, text, done) => {
    io.to(room).emit('said', room, socket.data.name, text);
    done?.();
  });
  socket.on('who', async (room, done) => done((await io.in(room).fetchSockets()).map((other) => other.data.name).sort()));
});

const port = process.env.PORT ?? 3000;
server.listen(port, () => console.log(`listening on ${port}`));
