// SPDX-License-Identifier: Apache-2.0
//
// What connects the processes of a socket.io program with one another, as adapters with Redis do: an actor, the hub of a namespace (hub.js), to which each
// process sends what it has for the others. All of them deliver what was said when it comes from the hub, who has said it too: so everybody hears it in
// one order, and who is back after a while gets just what is missing.
import { setTimeout } from 'node:timers/promises';

import { actor } from 'isola';
import { ClusterAdapterWithHeartbeat, MessageType } from 'socket.io-adapter';

export class IsolaAdapter extends ClusterAdapterWithHeartbeat {
  #hub;
  #arrived = new Set(); // offsets of what is here, and not delivered yet
  #hear = (message, offset) => {
    const own = message.uid === this.uid && isBroadcast(message);
    this.#arrived.add(offset);
    // Not at once: whoever is being let in again, by an answer of the hub that came just before, is in his rooms by then.
    setImmediate(() => {
      this.#arrived.delete(offset);
      this.onMessage(own ? { ...message, uid: undefined } : message, offset);
    });
  };

  constructor(namespace) {
    super(namespace);
    this.#hub = actor(`${process.env.ISOLA_APP}/Hub`, encodeURIComponent(namespace.name));
    this.#hub.on('message', this.#hear);
  }

  close() {
    super.close();
    this.#hub.off('message', this.#hear);
  }

  broadcast(packet, options) {
    if (options.flags?.local) return super.broadcast(packet, options);
    this.publish({ type: MessageType.BROADCAST, data: { packet, opts: { ...options, rooms: [...options.rooms], except: [...options.except] } } });
  }

  doPublish(message) {
    return this.#hub.ask('publish', message, isBroadcast(message));
  }

  doPublishResponse(uid, response) {
    return this.#hub.ask('publish', response, false);
  }

  // A connection is lost; it may come back, to whichever process.
  persistSession(session) {
    this.#hub.emit('left', session);
  }

  // Whoever polls is here before the process that they were connected to, which is about to end, has seen that they have gone.
  async #find(pid, offset) {
    for (let times = 20; ; times--) {
      const found = await this.#hub.ask('back', pid, offset);
      if (found !== undefined || times === 0) return found;
      await setTimeout(100);
    }
  }

  async restoreSession(pid, offset) {
    const found = await this.#find(pid, offset);
    if (found === undefined) return null;
    const { session, missed } = found;
    const isFor = ({ rooms, except }) => (rooms.length === 0 || rooms.some((room) => session.rooms.includes(room))) && !except.some((room) => session.rooms.includes(room));
    const lacks = missed.filter(({ message, offset: at }) => isFor(message.data.opts) && !this.#arrived.has(at));
    return { ...session, missedPackets: lacks.map(({ message, offset: at }) => [...message.data.packet.data, at]) };
  }
}

// What is said to all or to rooms, and not to be acknowledged.
const isBroadcast = ({ type, data }) => type === MessageType.BROADCAST && data.requestId === undefined;
