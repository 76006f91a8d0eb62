/* SPDX-License-Identifier: Apache-2.0
 *
 * Values for who speaks version 1 of the wire: it has strings as UTF-8 alone (docs/wire.md).
 */
#ifndef ISOLA_TRANSPORT_OLDER_H
#define ISOLA_TRANSPORT_OLDER_H

#include "base/buf.h"
#include "base/error.h"

/* Appends `args`, a msgpack array, to `out` (whose `failed` says whether there was memory) with
 * every string of extension 12 or 13 as msgpack str, half a surrogate pair as U+FFFD. Numbers of
 * objects stay as they are: a string has none. It takes at most twice the bytes of `args`. 1: done;
 * 0: there is no such string, nothing was appended; ISOLA_EPROTO: malformed, more than one value,
 * or nested deeper than ISOLA_VALUE_DEPTH, and nothing was appended. Recurses as deep as values
 * nest. */
ANY_THREAD ISOLA_MUST_USE int isola__older_args(struct isola_slice args, struct isola_buf *out);

#endif
