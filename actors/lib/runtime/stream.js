// SPDX-License-Identifier: Apache-2.0
//
// Streams between actors (streams.js), which are loaded when there are any.
import { once } from './primordials.js';
import { part } from './parts.js';

const SEND = 2; // the first of what is asked that is about new ones (streams.js)

let loaded;
const streams = once(() => (loaded = part('isola/streams')));

export const on = (op, a, b, c, d, e) => (op < SEND && loaded === undefined ? false : streams().on(op, a, b, c, d, e));
export const method = (name) => streams().methods[name];
export const forget = (serial) => loaded?.forget(serial);
