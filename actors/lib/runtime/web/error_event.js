// SPDX-License-Identifier: Apache-2.0

/** The class ErrorEvent. */
export function errorEvent(load) {
  const { Event } = load('internal/event_target');
  return class ErrorEvent extends Event {
    #init;
    constructor(type, init = {}) {
      super(type, init);
      this.#init = init ?? {};
    }
    get message() { return `${this.#init.message ?? ''}`; }
    get filename() { return `${this.#init.filename ?? ''}`; }
    get lineno() { return this.#init.lineno >>> 0; }
    get colno() { return this.#init.colno >>> 0; }
    get error() { return this.#init.error; }
  };
}
