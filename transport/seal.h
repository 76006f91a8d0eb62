/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that are kept sealed: encrypted and authenticated under a key of this node alone, which
 * lies in a file nobody else may read (keyfile.h). XChaCha20-Poly1305 of libsodium, a random nonce
 * for each value; what a value is of is authenticated with it, so that none can be taken for
 * another (docs/security.md has the bytes).
 */
#ifndef ISOLA_TRANSPORT_SEAL_H
#define ISOLA_TRANSPORT_SEAL_H

#include "base/buf.h"
#include "base/error.h"

struct isola_sealer;

/* Reads the key at `path`; there is none: makes one, in a directory that is made if need be. Errors
 * of keyfile.h, and ISOLA_EIO: it is damaged. Free it with isola_sealer_free. */
POOL_THREAD ISOLA_MUST_USE int isola_sealer_open(const char *path, struct isola_sealer **out,
                                                 struct isola_err *err);
ANY_THREAD void isola_sealer_free(struct isola_sealer *sealer); /* NULL is fine */

/* Appends `value`, sealed as what `about` says. */
ANY_THREAD void isola_seal(const struct isola_sealer *sealer, struct isola_slice about,
                           struct isola_slice value, struct isola_buf *out);
/* Appends what was sealed, as the same. `out` is not grown beyond what it takes, so that no copies
 * are left behind; wipe it with isola_wipe. False: it was sealed with another key, as something
 * else, or changed since. */
ANY_THREAD ISOLA_MUST_USE bool isola_unseal(const struct isola_sealer *sealer,
                                            struct isola_slice about, struct isola_slice sealed,
                                            struct isola_buf *out);
/* Overwrites and frees. */
ANY_THREAD void isola_wipe(struct isola_buf *b);

#endif
