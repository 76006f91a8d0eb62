// SPDX-License-Identifier: Apache-2.0
//
// fetch for scripts, by Node's own undici. Where it connects, also after a redirect, is checked in the way undici's connections are
// made: by a dispatcher around the common one.
//
// The body comes in chunks, each of which the script has asked for (actors/io.c); a small one of known length comes with the head.
'use strict';
const { parse, permits, wanted } = require('./net.cjs');

const CHUNK = 64 << 10; // bytes
const BODY_MAX = 64 << 20; // of a response

const fail = (code, message) => Object.assign(new Error(message), { code });

function refuse(url, first) {
  const from = url.href === first.href ? '' : ` (where ${first.origin} redirects to)`;
  return fail('EPERM', `${url.origin}${from} is not among the hosts this app may connect to; its manifest permits it with "permissions": { "net": ["${wanted(url)}"] }`);
}

let common; // undici's own dispatcher, with the connections of all apps
function dispatcher(patterns, first) {
  common ??= Headers && (globalThis[Symbol.for('undici.globalDispatcher.2')] ?? globalThis[Symbol.for('undici.globalDispatcher.1')]);
  return {
    dispatch(options, handler) {
      const url = new URL(options.origin);
      if (!permits(patterns, url)) throw refuse(url, first);
      return common.dispatch(options, handler);
    },
  };
}

async function begin(job, net, head, body) {
  const { url, method, headers, redirect, integrity } = JSON.parse(head);
  const first = new URL(url);
  if (first.protocol === 'data:') return respond(job, await fetch(url, { signal: job.controller.signal }), first);
  if (first.protocol !== 'http:' && first.protocol !== 'https:') throw new TypeError(`fetch has http:, https: and data: URLs, not ${first.protocol}`);
  const patterns = parse(net);
  if (!permits(patterns, first)) throw refuse(first, first);
  return respond(job, await fetch(url, {
    method, headers, redirect, integrity, body: body.length > 0 ? body : undefined, signal: job.controller.signal, dispatcher: dispatcher(patterns, first),
  }), first);
}

async function respond(job, response, first) {
  const urls = response.redirected ? [first.href, response.url] : [response.url];
  const head = { status: response.status, statusText: response.statusText, type: response.type, urls, headers: [...response.headers], body: response.body !== null };
  const length = Number(response.headers.get('content-length') ?? NaN);
  if (response.body === null) {
    job.answer(true, head);
  } else if (length <= CHUNK && !response.headers.has('content-encoding')) {
    job.answer(true, head, Buffer.from(await response.arrayBuffer()));
  } else {
    job.reader = response.body.getReader();
    job.answer(false, head);
  }
}

/** One more chunk. */
async function next(job) {
  while (job.rest === undefined || job.rest.length === 0) {
    const { value, done } = await job.reader.read();
    if (done) return job.answer(true);
    job.rest = value;
  }
  const chunk = job.rest.subarray(0, CHUNK);
  job.rest = job.rest.subarray(CHUNK);
  job.bytes = (job.bytes ?? 0) + chunk.length;
  if (job.bytes > BODY_MAX) {
    job.controller.abort();
    throw fail('ETOOBIG', `the response has more than ${BODY_MAX >> 20} MB, which is the limit`);
  }
  job.answer(false, undefined, chunk);
}

exports.start = (job, who, net, head, body) => {
  job.controller = new AbortController();
  begin(job, net, head, body).catch(job.fail);
};
exports.more = (job) => { if (job.reader !== undefined) next(job).catch(job.fail); };
exports.cancel = (job) => {
  job.controller.abort();
  job.reader?.cancel().catch(() => {});
};
