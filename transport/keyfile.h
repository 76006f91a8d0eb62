/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that nobody else may read or write: keys, tokens, who is a member.
 *
 * Written whole, to a new file of mode 0600 that then takes the place of the old one; both the file
 * and its directory are synced before the call returns, so what it wrote is there after a crash, or
 * what was there before. Read only when the file and its directory belong to the user this process
 * runs as and nobody else has rights to them: a key that others could have read, or changed, is
 * none.
 */
#ifndef ISOLA_TRANSPORT_KEYFILE_H
#define ISOLA_TRANSPORT_KEYFILE_H

#include "base/buf.h"
#include "base/error.h"

struct isola_sign_keys;

/* Makes the directory with mode 0700 when it is missing (its parent must be there). ISOLA_EPERM: it
 * is another user's, or others have rights to it; ISOLA_EIO. */
POOL_THREAD ISOLA_MUST_USE int isola_secret_dir(const char *path, struct isola_err *err);
/* The content in memory of isola_secret_alloc, for the caller to free; at most `max` bytes.
 * ISOLA_ENOENT: there is none; ISOLA_EPERM as above; ISOLA_EIO, ISOLA_ETOOBIG. */
POOL_THREAD ISOLA_MUST_USE int isola_secret_read(const char *path, size_t max, uint8_t **data,
                                                 size_t *len, struct isola_err *err);
/* ISOLA_EIO, ISOLA_EPERM: nothing has changed. */
POOL_THREAD ISOLA_MUST_USE int isola_secret_write(const char *path, struct isola_slice content,
                                                  struct isola_err *err);

/* Keys to sign with, as such a file has them: a msgpack array [1, kind, seed (bin 32)]. `kind` says
 * what the key is for: one of another kind is refused. Reading as above, and ISOLA_EIO: it is
 * damaged or of another kind, and `damaged` follows the path in the sentence. `keys`: in memory of
 * isola_secret_alloc. */
POOL_THREAD ISOLA_MUST_USE int isola_sign_keys_read(const char *path, const char *kind,
                                                    const char *damaged,
                                                    struct isola_sign_keys *keys,
                                                    struct isola_err *err);
POOL_THREAD ISOLA_MUST_USE int isola_sign_keys_write(const char *path, const char *kind,
                                                     const struct isola_sign_keys *keys,
                                                     struct isola_err *err);

#endif
