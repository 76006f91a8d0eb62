// SPDX-License-Identifier: Apache-2.0
//
// The W3C trace context a message is sent in (https://www.w3.org/TR/trace-context/): from the text of a `traceparent` to what an envelope has.
import { inspect } from 'node:util';

import { codeError } from './errors.js';

const SAMPLED = 1; // the only flag that is known of versions to come

/** 16 bytes of trace id, 8 of the id of the span that sends, and flags; undefined for undefined. Throws EINVAL for what is no `traceparent`. */
export function traceOf(traceparent) {
  if (traceparent === undefined) return undefined;
  const [, version, trace, span, flags, more] = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s.exec(typeof traceparent === 'string' ? traceparent : '') ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined) || /^0+$/.test(trace) || /^0+$/.test(span))
    throw codeError('EINVAL', `traceparent is no W3C trace context: ${inspect(traceparent)}; one is 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, with two ids that are not 0`);
  const bytes = Buffer.from(trace + span + flags, 'hex');
  if (version !== '00') bytes[24] &= SAMPLED;
  return bytes;
}
