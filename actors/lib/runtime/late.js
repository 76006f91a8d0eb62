// SPDX-License-Identifier: Apache-2.0
//
// What an isolate loads when a script first asks for one of Node.js' modules or of the web's objects (born.js).
import { provide } from 'isola:born';
import { domException, load } from './node/loader.js';
import { builtin } from './node/modules.js';
import { webCrypto } from './web/crypto.js';
import { errorEvent } from './web/error_event.js';
import { fetch } from './web/fetch.js';
import { messageChannel } from './web/message_channel.js';

provide({ __proto__: null, builtin, domException, errorEvent, fetch, load, messageChannel, webCrypto });
