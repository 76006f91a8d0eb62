// SPDX-License-Identifier: Apache-2.0
//
// node codec.cjs ADDON ARGUMENTS...: the target of codec_fuzz.cc, and what it is to be run with.
'use strict';

require(process.argv[2]).run(... process.argv.slice(3));
