// SPDX-License-Identifier: Apache-2.0
//
// Errors with a `code` (base/error.h has the list), and what becomes of one that comes from an actor.

/** An Error with a code; `caller`, a function, cuts the stack so that it begins where that function was called. */
export function codeError(code, message, caller) {
  const error = new Error(message);
  if (caller !== undefined) Error.captureStackTrace(error, caller);
  error.code = code;
  return error;
}

const REMOTE = '\n    --- in the actor ---\n';

/**
 * A FAIL's value as the error an ask rejects with: the remote stack is kept in `remoteStack`, and `stack` shows both, first where
 * the ask was made (`local`, an object from Error.captureStackTrace), then what happened there, if it has a frame to show.
 */
export function remoteError(value, local) {
  const error = value instanceof Error ? value : codeError('EPROTO', `the peer failed with what is no Error: ${typeof value}`);
  const remote = typeof error.stack === 'string' ? error.stack : '';
  const head = error.message === '' ? error.name : `${error.name}: ${error.message}`;
  const frames = (local?.stack ?? '').split('\n').filter((line) => line.startsWith('    at '));
  const shown = remote.split('\n').map((line) => `    ${line}`).join('\n');
  define(error, 'remoteStack', remote);
  define(error, 'stack', [head, ...frames].join('\n') + (/^\s+at /m.test(remote) ? REMOTE + shown : ''));
  return error;
}

function define(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false });
}
