// node chat.js ROOM NAME: a line that is typed is said in the room, and what others say is printed.
import { createInterface } from 'node:readline/promises';

import { connect } from 'isola';

const [room = 'lobby', name = process.env.USER ?? 'somebody'] = process.argv.slice(2);
const client = await connect();
const ref = client.actor('{{name}}/Room', room);

const show = ({ at, who, text }) => console.log(`${at.toTimeString().slice(0, 5)} ${who}: ${text}`);
ref.on('said', show); // from now on
for (const message of await ref.ask('history')) show(message); // and what was before

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() !== '') await ref.ask('say', name, line);
}
await client.close();
