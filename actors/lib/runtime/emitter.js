// SPDX-License-Identifier: Apache-2.0
//
// The methods of EventEmitter that an isolate is not born with (node/events.js).
import EventEmitter from 'events';

export const methods = EventEmitter.prototype;
