// SPDX-License-Identifier: Apache-2.0
//
// MessageChannel, MessagePort and MessageEvent within an isolate: what is posted is copied, and arrives as a task of its own.
import { codeError, SafeSet, timers } from 'isola:born';

const QUEUE_MAX = 10_000; // messages of a port that is not started

let made;
export function messageChannel(load) {
  if (made !== undefined) return made;
  const { Event, EventTarget, defineEventHandler } = load('internal/event_target');
  const { codes: { ERR_ILLEGAL_CONSTRUCTOR } } = load('internal/errors');
  const secret = {};

  class MessageEvent extends Event {
    #init;
    constructor(type, init = {}) {
      super(type, init);
      this.#init = { data: null, origin: '', lastEventId: '', source: null, ports: [], ...init };
    }
    get data() { return this.#init.data; }
    get origin() { return this.#init.origin; }
    get lastEventId() { return this.#init.lastEventId; }
    get source() { return this.#init.source; }
    get ports() { return this.#init.ports; }
  }

  class MessagePort extends EventTarget {
    #peer;
    #queue = [];
    #started = false;
    #closed = false;
    constructor(token) {
      if (token !== secret) throw new ERR_ILLEGAL_CONSTRUCTOR();
      super();
    }
    static join(a, b) {
      a.#peer = b;
      b.#peer = a;
    }
    postMessage(value, options = undefined) {
      const copy = structuredClone(value, Array.isArray(options) ? { transfer: options } : options);
      const peer = this.#peer;
      if (this.#closed || peer.#closed) return;
      if (peer.#queue.length === QUEUE_MAX) throw codeError('EOVERLOAD', `${QUEUE_MAX} messages wait for the other port, which is the limit`);
      peer.#queue.push(copy);
      if (peer.#started) peer.#deliverLater();
    }
    #deliverLater() {
      timers.globals.setImmediate(() => {
        if (this.#closed || this.#queue.length === 0) return;
        this.dispatchEvent(new MessageEvent('message', { data: this.#queue.shift() }));
      });
    }
    start() {
      if (this.#started) return;
      this.#started = true;
      for (let i = 0; i < this.#queue.length; i++) this.#deliverLater();
    }
    close() {
      if (this.#closed) return;
      const both = new SafeSet([this, this.#peer]);
      both.forEach((port) => {
        port.#closed = true;
        port.#queue = [];
        timers.globals.setImmediate(() => port.dispatchEvent(new Event('close')));
      });
    }
    ref() {}
    unref() {}
    hasRef() { return this.#started; }
  }
  const { join } = MessagePort;
  delete MessagePort.join;
  for (const name of ['message', 'messageerror', 'close']) defineEventHandler(MessagePort.prototype, name);
  // A handler starts the port, as its setter says.
  const { get, set } = Object.getOwnPropertyDescriptor(MessagePort.prototype, 'onmessage');
  Object.defineProperty(MessagePort.prototype, 'onmessage', {
    __proto__: null, configurable: true, enumerable: true, get,
    set(handler) {
      set.call(this, handler);
      this.start();
    },
  });

  class MessageChannel {
    #ports = [new MessagePort(secret), new MessagePort(secret)];
    constructor() { join(this.#ports[0], this.#ports[1]); }
    get port1() { return this.#ports[0]; }
    get port2() { return this.#ports[1]; }
  }
  for (const C of [MessageChannel, MessagePort, MessageEvent])
    Object.defineProperty(C.prototype, Symbol.toStringTag, { __proto__: null, value: C.name, configurable: true });
  return made = { MessageChannel, MessagePort, MessageEvent };
}
