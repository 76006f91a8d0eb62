// SPDX-License-Identifier: Apache-2.0
//
// permissions.net: may an app's scripts connect to where a URL leads? Patterns are HOST or HOST:PORT, as store/manifest_net.c has
// checked them: a host is a name, "*.name" (everything below it), an address or "*"; a port a number or "*", and without one it is the
// scheme's own.
'use strict';

const DEFAULT_PORT = { 'http:': '80', 'https:': '443' };

/** A host as URLs write it: addresses have many forms. */
function normal(host) {
  return URL.canParse(`http://${host}/`) ? new URL(`http://${host}/`).hostname : host;
}

function parse(pattern) {
  const at = pattern.endsWith(']') ? -1 : pattern.lastIndexOf(':');
  const host = at < 0 ? pattern : pattern.slice(0, at);
  return { host: host.startsWith('*') ? host : normal(host), port: at < 0 ? undefined : pattern.slice(at + 1) };
}

/** The patterns of a list with one a line. */
exports.parse = (list) => list.split('\n').filter((line) => line !== '').map(parse);

exports.permits = (patterns, url) => {
  const own = DEFAULT_PORT[url.protocol];
  const port = url.port === '' ? own : url.port;
  const name = url.hostname.endsWith('.') ? url.hostname.slice(0, -1) : url.hostname;
  return patterns.some((p) =>
    (p.port === '*' || (p.port ?? own) === port) &&
    (p.host === '*' || p.host === name || (p.host.startsWith('*.') && name.endsWith(p.host.slice(1)) && name.length >= p.host.length)));
};

/** What the manifest has to say for it to be permitted. */
exports.wanted = (url) => (url.port === '' ? url.hostname : `${url.hostname}:${url.port}`);
