/* SPDX-License-Identifier: Apache-2.0
 *
 * The two ends of the test vectors in docs/security.md, for the targets noise and secure. Their
 * keys are fixed, so what one of them says is known in advance: nothing else may be taken for it.
 */
#ifndef ISOLA_TESTS_FUZZ_CHANNEL_H
#define ISOLA_TESTS_FUZZ_CHANNEL_H

#include "tests/fuzz/fuzz.h"
#include "transport/secure.h"

struct channel_keys {
    struct isola_static_keys fixed[2], ephemeral[2]; /* of the initiator, of the responder */
};

static inline const struct channel_keys *channel_keys(void)
{
    static struct channel_keys k;
    static bool made;
    for (int i = 0; i < 2 && !made; i++) {
        uint8_t secret[32];
        isola_static_keys_from(memset(secret, 2 * i + 1, sizeof(secret)), &k.fixed[i]);
        isola_static_keys_from(memset(secret, 2 * i + 2, sizeof(secret)), &k.ephemeral[i]);
    }
    made = true;
    return &k;
}

/* What end `i` shows. */
static inline struct isola_slice channel_payload(int i)
{
    return isola_slice_str(i == 0 ? "I am Alice" : "I am Bob");
}

#endif
