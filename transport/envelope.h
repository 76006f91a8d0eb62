/* SPDX-License-Identifier: Apache-2.0
 *
 * The wire form of a message: a msgpack array [version, kind, id, src, dst, event, timeout, chain,
 * args]. docs/wire.md has it byte by byte.
 */
#ifndef ISOLA_TRANSPORT_ENVELOPE_H
#define ISOLA_TRANSPORT_ENVELOPE_H

#include "base/msg.h"

#define ISOLA_WIRE_VERSION 1

/* Appends the envelope of `m` to `out` (whose `failed` says whether there was memory). */
ANY_THREAD void isola_envelope_encode(const struct isola_msg *m, struct isola_buf *out);

/* Reads one envelope that fills `frame` exactly. On success `out` has slices of `frame`; `next` and
 * `context` are NULL. ISOLA_EPROTO with a sentence when it is malformed, of another version, of an
 * unknown kind, has args that are no array, trailing bytes, or nests deeper than ISOLA_VALUE_DEPTH.
 */
ANY_THREAD ISOLA_MUST_USE int isola_envelope_decode(struct isola_slice frame, struct isola_msg *out,
                                                    struct isola_err *err);

#endif
