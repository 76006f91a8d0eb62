// SPDX-License-Identifier: Apache-2.0
//
// Takes the files of Node.js' own JavaScript library that isolates use out of the pinned Node.js, which runs this at build time:
//
//     node builtins.mjs FILE.bin FILE.c OURS.js…
//
// OURS.js are bundles of our own (late.js and others), and lie with them. FILE.bin is their text, one after the other; FILE.c a table of where
// each begins (actors/v8/builtins.cc). The text is Latin-1, as V8 takes it without a copy: other characters are written as escapes, which in a comment or string changes nothing.
import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { constants } from 'node:zlib';

// What bindings.js and replaced.js give these files is all they touch of the system. In the order they are listed for people.
const files = `
  internal/per_context/primordials internal/per_context/domexception
  internal/assert internal/constants internal/errors internal/fixed_queue internal/linkedlist internal/querystring internal/url
  internal/util internal/util/colors internal/util/comparisons internal/util/debounce internal/util/debuglog internal/util/diff internal/util/inspect
  internal/util/parse_args/parse_args internal/util/parse_args/utils internal/util/throttle internal/util/types internal/validators
  internal/webidl internal/data_url internal/mime
  internal/assert/assertion_error internal/assert/myers_diff internal/assert/utils
  internal/abort_controller internal/blob internal/buffer internal/encoding internal/encoding/single-byte internal/encoding/util
  internal/event_target internal/events/abort_listener internal/events/symbols internal/file
  internal/streams/add-abort-signal internal/streams/compose internal/streams/destroy internal/streams/duplex internal/streams/duplexify
  internal/streams/duplexpair internal/streams/end-of-stream internal/streams/from internal/streams/lazy_transform internal/streams/legacy
  internal/streams/operators internal/streams/passthrough internal/streams/pipeline internal/streams/readable internal/streams/state
  internal/streams/transform internal/streams/utils internal/streams/writable
  internal/webstreams/adapters internal/webstreams/compression internal/webstreams/encoding internal/webstreams/queuingstrategies internal/webstreams/readablestream
  internal/webstreams/transformstream internal/webstreams/util internal/webstreams/writablestream
  assert assert/strict buffer constants diagnostics_channel events path path/posix path/win32 punycode querystring
  stream stream/consumers stream/promises stream/web string_decoder url util util/types zlib
`.trim().split(/\s+/).sort();

process.noDeprecation = true;
const sources = process.binding('natives');
const [binary, table, ...ours] = process.argv.slice(2);

const latin1 = (text) => Buffer.from(text.replace(/[^\0-\xff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`), 'latin1');
// The web's Headers, Request, Response and FormData are in one file with all of undici, each part of which is made when it is asked for:
// of that file the parts, and what asks for these four.
const undici = sources['internal/deps/undici/undici'];
const end = undici?.indexOf('\n// index-fetch.js\n') ?? -1;
if (end < 0) throw new Error(`undici in Node.js ${process.version} is not as expected`);
// What it would do with these is done outside.
const web = undici.slice(0, end).replaceAll(/require\("node:(crypto|zlib)"\)/g, 'require("internal/none")');
sources['internal/fetch'] = `const { MessagePort } = require('worker_threads');
${web}
module.exports = {
  FormData: require_formdata().FormData,
  Headers: require_headers().Headers,
  Response: require_response().Response,
  Request: require_request2().Request, // uses what Response has defined
  /** A stream of bytes that are there. */
  stream: (bytes) => require_body().extractBody(bytes)[0].stream,
  // The response to a fetch.
  response({ status, statusText, type, urls, headers }, stream) {
    const { makeResponse, fromInnerResponse } = require_response();
    const { HeadersList } = require_headers();
    const headersList = new HeadersList();
    for (let i = 0; i < headers.length; i++) headersList.append(headers[i][0], headers[i][1]);
    const urlList = [];
    for (let i = 0; i < urls.length; i++) urlList.push(new URL(urls[i]));
    const body = stream === undefined ? null : { stream, source: null, length: null };
    return fromInnerResponse(makeResponse({ status, statusText, type, urlList, headersList, body }), 'immutable');
  },
};
`;
sources['internal/zlib_constants'] = `module.exports = { __proto__: null, ${Object.entries(constants).map(([name, n]) => `${name}: ${n}`)} };`;
// Node's URLPattern is C++.
sources['internal/urlpattern'] = readFileSync(new URL('dist/urlpattern.cjs', import.meta.resolve('urlpattern-polyfill')), 'utf8');
for (const file of ours) {
  const id = `isola/${basename(file, '.js')}`;
  sources[id] = readFileSync(file, 'utf8');
  files.push(id);
}
files.push('internal/fetch', 'internal/urlpattern', 'internal/zlib_constants');
files.sort();

// Node.js makes much when it starts that most of an app never looks at: all its primordials (primordials.js makes them one by one), and
// a class for each of its error codes. What is cut here must be as expected: else the build fails, and a person looks.
function cut(id, from, to, instead) {
  const source = sources[id];
  const begin = source.indexOf(from);
  const after = begin < 0 ? -1 : source.indexOf(to, begin);
  if (after < 0) throw new Error(`${id} in Node.js ${process.version} is not as expected: ${JSON.stringify(from)} … ${JSON.stringify(to)}`);
  sources[id] = source.slice(0, begin) + instead + source.slice(after + to.length);
}
cut('internal/per_context/primordials', "'use strict';", '/* eslint-enable node-core/prefer-primordials */',
  "'use strict'; const { ReflectDefineProperty, ReflectGetOwnPropertyDescriptor, ReflectOwnKeys, uncurryThis } = primordials;");
cut('internal/per_context/primordials', 'ObjectFreeze(primordials);', '\n', '');
cut('internal/errors', 'function E(sym, val, def, ...otherClasses) {', 'messages.set(sym, val);', `function E(sym, val, def, ...otherClasses) {
  messages.set(sym, val);
  const define = (value) => ObjectDefineProperty(codes, sym, { __proto__: null, value, writable: true, configurable: true, enumerable: true });
  ObjectDefineProperty(codes, sym, { __proto__: null, get() { make(sym, def, otherClasses); return codes[sym]; }, set: define, configurable: true, enumerable: true });
}
function make(sym, def, otherClasses) {`);

const rows = [];
const parts = [];
let at = 0;
for (const id of files) {
  if (typeof sources[id] !== 'string') throw new Error(`Node.js ${process.version} has no "${id}"`);
  const text = latin1(sources[id]);
  rows.push(`    {"${id}", isola_builtins_text + ${at}, ${text.length}},`);
  parts.push(text);
  at += text.length;
}
writeFileSync(binary, Buffer.concat(parts));
writeFileSync(table, `/* Made by actors/lib/runtime/node/builtins.mjs from Node.js ${process.version}. */
#include "actors/v8/builtins.h"

__asm__(".section .rodata\\n.global isola_builtins_text\\nisola_builtins_text:\\n.incbin \\"${binary}\\"\\n.byte 0\\n.previous\\n");
extern const char isola_builtins_text[];

const struct isola_builtin isola_builtins[] = {
${rows.join('\n')}
};
const size_t isola_builtins_count = ${rows.length};
`);
