/* SPDX-License-Identifier: Apache-2.0
 *
 * transport/noise: one end of a handshake that is given messages, each with its length (2 bytes) in
 * front. The first byte says which end and which pattern. Only what the true other end says is
 * taken, in its order, and nothing that came before is taken again.
 */
#include "tests/fuzz/channel.h"

enum { MESSAGES = 4, SIZE = 256 }; /* three of the handshake, a record */

/* A handshake of the two ends and the record of each. */
struct truth {
    uint8_t bytes[2][MESSAGES][SIZE]; /* said by whom, as its which; the record is the last */
    size_t n[2][MESSAGES];
};

static void begin(struct isola__noise_handshake *hs, enum isola__noise_pattern pattern, int i)
{
    static const char prologue[] = "Isola channel 1\x89Isola\x01\x07\0\1\0\2\0\0\0\0";
    uint8_t bytes[sizeof(prologue) - 1];
    memcpy(bytes, prologue, sizeof(bytes));
    bytes[15 + 6] = pattern == ISOLA__NOISE_IK ? 2 : 1;
    const struct channel_keys *k = channel_keys();
    isola__noise_init(hs, pattern, i == 0, isola_slice(bytes, sizeof(bytes)), &k->fixed[i],
                      i == 0 && pattern == ISOLA__NOISE_IK ? k->fixed[1].public_key : NULL);
    isola__noise_fix_ephemeral(hs, k->ephemeral[i].secret_key);
}

/* The payload of message `m`, as the secure channel has it. */
static struct isola_slice payload(enum isola__noise_pattern pattern, int m)
{
    if (m % 2 == 1)
        return isola_slice("\0\2I am Bob", 10);
    return m == 0 && pattern == ISOLA__NOISE_XX ? isola_slice("", 0) : channel_payload(0);
}

static const struct truth *truth(enum isola__noise_pattern pattern)
{
    static struct truth all[2];
    static bool made[2];
    struct truth *t = &all[pattern];
    if (made[pattern])
        return t;
    struct isola__noise_handshake hs[2];
    struct isola__noise_cipher send[2], receive[2];
    int m = 0;
    for (int i = 0; i < 2; i++)
        begin(&hs[i], pattern, i);
    for (; hs[0].turn != ISOLA__NOISE_COMPLETE; m++) {
        uint8_t copy[SIZE];
        struct isola_slice got, said = payload(pattern, m);
        size_t n = said.len + isola__noise_overhead(&hs[m % 2]);
        ISOLA_CHECK(isola__noise_write(&hs[m % 2], said, t->bytes[m % 2][m], NULL) == 0);
        memcpy(copy, t->bytes[m % 2][m], n);
        ISOLA_CHECK(isola__noise_read(&hs[1 - m % 2], copy, n, &got, NULL) == 0);
        ISOLA_CHECK(isola_slice_eq(got, said));
        t->n[m % 2][m] = n;
    }
    for (int i = 0; i < 2; i++) {
        isola__noise_split(&hs[i], &send[i], &receive[i]);
        t->n[i][MESSAGES - 1] = 5 + ISOLA__NOISE_TAG;
        ISOLA_CHECK(isola__noise_encrypt(&send[i], isola_slice("\0\x15", 2),
                                         (const uint8_t *)"hello", 5,
                                         t->bytes[i][MESSAGES - 1]) == 0);
    }
    made[pattern] = true;
    return t;
}

/* The next message of the input; false when there is none. */
static bool take(struct isola_slice *in, struct isola_slice *message)
{
    if (in->len < 2)
        return false;
    size_t n = (size_t)in->data[0] << 8 | in->data[1];
    n = n < in->len - 2 ? n : in->len - 2;
    *message = isola_slice(in->data + 2, n);
    *in = isola_slice(in->data + 2 + n, in->len - 2 - n);
    return true;
}

static void records(struct isola__noise_handshake *hs, struct isola_slice in,
                    struct isola_slice expected)
{
    struct isola__noise_cipher send, receive;
    struct isola_slice message;
    isola__noise_split(hs, &send, &receive);
    for (bool first = true; take(&in, &message);) {
        uint8_t *out = isola_alloc(message.len > 0 ? message.len : 1);
        int rc = isola__noise_decrypt(&receive, isola_slice("\0\x15", 2), message.data, message.len,
                                      out);
        ISOLA_CHECK(rc == (first && isola_slice_eq(message, expected) ? 0 : ISOLA_EPROTO));
        if (rc == 0) {
            ISOLA_CHECK(memcmp(out, "hello", 5) == 0);
            first = false;
        }
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum isola__noise_pattern pattern = data[0] & 2 ? ISOLA__NOISE_IK : ISOLA__NOISE_XX;
    int me = data[0] & 1, peer = 1 - me, m = 0;
    const struct truth *t = truth(pattern);
    struct isola_slice in = isola_slice(data + 1, size - 1), message, got;
    struct isola__noise_handshake hs;
    struct isola_err err = {0};
    bool true_so_far = true;
    begin(&hs, pattern, me);
    for (;; m++) {
        if (hs.turn == ISOLA__NOISE_WRITE) {
            uint8_t out[SIZE];
            int rc = isola__noise_write(&hs, payload(pattern, m), out, &err);
            /* the peer's first key may be a point of small order */
            ISOLA_CHECK(rc == 0 ||
                        (rc == ISOLA_EPROTO && !true_so_far && pattern == ISOLA__NOISE_XX));
            if (rc == 0 && true_so_far)
                ISOLA_CHECK(memcmp(out, t->bytes[me][m], t->n[me][m]) == 0);
        } else if (hs.turn == ISOLA__NOISE_READ && take(&in, &message)) {
            uint8_t *copy = isola_alloc(message.len > 0 ? message.len : 1);
            if (message.len > 0)
                memcpy(copy, message.data, message.len);
            true_so_far = true_so_far &&
                          isola_slice_eq(message, isola_slice(t->bytes[peer][m], t->n[peer][m]));
            int rc = isola__noise_read(&hs, copy, message.len, &got, &err);
            /* nothing proves the first of XX */
            bool any = pattern == ISOLA__NOISE_XX && m == 0 && message.len >= ISOLA__NOISE_KEY;
            ISOLA_CHECK(rc == (true_so_far || any ? 0 : ISOLA_EPROTO));
            if (rc == 0)
                ISOLA_CHECK(fuzz_within(got, isola_slice(copy, message.len)));
            if (true_so_far)
                ISOLA_CHECK(isola_slice_eq(got, payload(pattern, m)));
            free(copy);
        } else {
            break;
        }
    }
    if (hs.turn == ISOLA__NOISE_COMPLETE) {
        ISOLA_CHECK(true_so_far);
        records(&hs, in, isola_slice(t->bytes[peer][MESSAGES - 1], t->n[peer][MESSAGES - 1]));
    } else if (hs.turn == ISOLA__NOISE_FAILED) {
        ISOLA_CHECK(!true_so_far && err.code == ISOLA_EPROTO && err.text[0] != '\0');
        uint8_t none[1];
        ISOLA_CHECK(isola__noise_read(&hs, none, 0, &got, &err) == ISOLA_EPROTO);
    }
    return 0;
}
