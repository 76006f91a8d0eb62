// The type Room. Each key is a room of its own.
const KEPT = 100; // messages; a room that keeps everything would belong into self.storage

export default class Room {
  constructor() {
    this.state.messages ??= [];
  }

  say(who, text) {
    if (typeof who !== 'string' || who === '' || typeof text !== 'string') throw new TypeError('say(who, text): two strings');
    const message = { at: new Date(), who, text };
    this.state.messages.push(message);
    this.state.messages.splice(0, this.state.messages.length - KEPT);
    this.emit('said', message); // to every subscriber, once it is on disk
    return message.at;
  }

  history(n = 10) {
    return this.state.messages.slice(-n);
  }
}
