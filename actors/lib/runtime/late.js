// SPDX-License-Identifier: Apache-2.0
//
// What an isolate loads when a script first asks for one of Node.js' modules or of the web's objects (born.js).
import { provide } from 'isola:born';
import { domException, load } from './node/loader.js';
import { builtin } from './node/modules.js';
import { global } from './web/late_globals.js';

provide({ __proto__: null, builtin, domException, global, load });
