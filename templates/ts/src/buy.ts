// node src/buy.ts KEY ITEM PRICE: a program that uses the actor, with its types.
import { connect } from 'isola';

import type Cart from './cart.actor.ts';

const [key = 'ada', item = 'tea', price = '3.5'] = process.argv.slice(2);
await using client = await connect();
const cart = client.actor<Cart>('{{name}}/Cart', key);

await using changes = cart.events('changed'); // from now on
await cart.ask('put', item, Number(price));
for await (const [total] of changes) {
  console.log(`total of ${key}: ${total.toFixed(2)}`);
  break;
}
for (const line of await cart.ask('lines')) console.log(`${line.count} × ${line.item}`);
