// SPDX-License-Identifier: Apache-2.0
//
// A service finds the package `isola` without a copy of its own: `import { actor, service } from 'isola'`, or `require('isola')`, is the client library
// that this version of Isola comes with. An `isola` that the program finds by itself, in its node_modules, goes before.
'use strict';
const { realpathSync } = require('node:fs');
const { registerHooks } = require('node:module');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

const files = { isola: 'index.js', 'isola/codec': 'codec.js' };

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (!Object.hasOwn(files, specifier)) return nextResolve(specifier, context);
    try {
      return nextResolve(specifier, context);
    } catch (error) {
      // One that is there and broken is the program's own to mend.
      if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'MODULE_NOT_FOUND' && error.code !== 'ERR_ACCESS_DENIED') throw error;
      const url = pathToFileURL(join(realpathSync(join(__dirname, '..', 'client')), files[specifier])).href;
      return { url, format: 'module', shortCircuit: true };
    }
  },
});
