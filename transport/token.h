/* SPDX-License-Identifier: Apache-2.0
 *
 * Join tokens: one line a person pastes, by which a machine finds the cluster, knows it for the
 * right one, and is let in once (docs/security.md has the bytes).
 *
 * A token says who the cluster is (its key), so whoever answers at one of the addresses must show a
 * certificate of that cluster before the secret is told. The issuer keeps the hash of the secret
 * alone. A checksum tells a typo from a forgery.
 */
#ifndef ISOLA_TRANSPORT_TOKEN_H
#define ISOLA_TRANSPORT_TOKEN_H

#include "transport/identity.h"

#define ISOLA_TOKEN_ID        8
#define ISOLA_TOKEN_SECRET    32
#define ISOLA_TOKEN_ADDRESSES 8
#define ISOLA_TOKEN_ADDRESS   128 /* with its NUL */
#define ISOLA_TOKEN_TEXT_MAX  2048

struct isola_token {
    uint8_t cluster_key[ISOLA_KEY_SIZE];
    uint8_t id[ISOLA_TOKEN_ID];
    uint8_t secret[ISOLA_TOKEN_SECRET];
    int64_t expires_ms;                                         /* since 1970 */
    size_t naddresses;                                          /* at least one */
    char addresses[ISOLA_TOKEN_ADDRESSES][ISOLA_TOKEN_ADDRESS]; /* tcp:// urls of the issuer */
};

/* A fresh id and secret; the rest of `out` is the caller's. */
ANY_THREAD void isola_token_fill(struct isola_token *out);
/* Appends the text, without a newline. */
ANY_THREAD void isola_token_write(const struct isola_token *token, struct isola_buf *out);
/* Space around it is allowed. ISOLA_EINVAL with a sentence: no token at all, mistyped or cut off,
 * of another format, malformed. What time it is is for the caller. On failure `out` is all zero. */
ANY_THREAD ISOLA_MUST_USE int isola_token_read(const char *text, struct isola_token *out,
                                               struct isola_err *err);
/* What the issuer keeps of the secret. */
ANY_THREAD void isola_token_hash(const uint8_t secret[ISOLA_TOKEN_SECRET], uint8_t out[32]);

#endif
