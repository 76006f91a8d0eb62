// SPDX-License-Identifier: Apache-2.0
//
// What the pinned Node.js runs to become an actor-host: everything is in the addon beside this file.
'use strict';
const path = require('node:path');

const addon = { exports: {} };
process.dlopen(addon, path.join(__dirname, 'isola-host.node'));
const failure = addon.exports.start(process.argv.slice(2));
if (failure !== undefined) {
  process.stderr.write(`actor-host: ${failure}\n`);
  process.exit(1);
}
