// SPDX-License-Identifier: Apache-2.0
//
// What the pinned Node.js runs to become an actor-host: the addon beside this file, and what it does for scripts in JavaScript.
'use strict';
const path = require('node:path');

const addon = { exports: {} };
process.dlopen(addon, path.join(__dirname, 'isola-host.node'));
if (process.argv[2] === '--prepare') addon.exports.prepare(); // and ends
const outside = require('./outside/index.cjs')(addon.exports.answer);
const failure = addon.exports.start(process.argv.slice(2), outside);
if (failure !== undefined) {
  process.stderr.write(`actor-host: ${failure}\n`);
  process.exit(1);
}
