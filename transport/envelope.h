/* SPDX-License-Identifier: Apache-2.0
 *
 * The wire form of a message: a msgpack array [version, kind, flags, id, seq, src, dst, event,
 * timeout, trace, chain, args]. docs/wire.md has it byte by byte, and that of the version before.
 */
#ifndef ISOLA_TRANSPORT_ENVELOPE_H
#define ISOLA_TRANSPORT_ENVELOPE_H

#include "base/msg.h"

/* What this release speaks, and what the release before it spoke: a peer one release older is
 * spoken to in its version, a newer one speaks ours. */
#define ISOLA_WIRE_VERSION 2
#define ISOLA_WIRE_OLDEST  1
/* The oldest version that is spoken over the channels between nodes. */
#define ISOLA_WIRE_CHANNEL 2

/* Appends the envelope of `m` in that version (ISOLA_WIRE_OLDEST to ISOLA_WIRE_VERSION) to `out`
 * (whose `failed` says whether there was memory). What an older version lacks is left out: version
 * 1 has no flags, seq and trace. Values are taken as they are: older.h makes those of version 1. */
ANY_THREAD void isola_envelope_encode(const struct isola_msg *m, unsigned version,
                                      struct isola_buf *out);
/* All of it that is before the args, and these. */
ANY_THREAD void isola_envelope_encode_head(const struct isola_msg *m, unsigned version,
                                           struct isola_buf *out);
ANY_THREAD void isola_envelope_encode_args(const struct isola_msg *m, struct isola_buf *out);

/* The args of an envelope, which fill `bytes` exactly: as below. */
ANY_THREAD ISOLA_MUST_USE int isola_envelope_decode_args(struct isola_slice bytes,
                                                         struct isola_slice *out,
                                                         struct isola_err *err);
/* Reads one envelope that fills `frame` exactly. On success `out` has slices of `frame`; `next` and
 * `context` are NULL. ISOLA_EPROTO with a sentence when it is malformed, of a version we do not
 * speak, of an unknown kind or with unknown flags, has args that are no array, trailing bytes, or
 * nests deeper than ISOLA_VALUE_DEPTH. `version`, unless NULL, gets its version. */
ANY_THREAD ISOLA_MUST_USE int isola_envelope_decode(struct isola_slice frame, struct isola_msg *out,
                                                    unsigned *version, struct isola_err *err);

#endif
