/* SPDX-License-Identifier: Apache-2.0
 *
 * Noise: the test vectors of four other implementations, both ways; and that nothing but the very
 * bytes of the other end, in their order, is taken.
 */
#include "transport/noise.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sodium.h>

#include "tests/unit/noise_vectors.h"

#define SIZE 512 /* of any message in here */

static size_t unhex(uint8_t *out, size_t room, const char *hex)
{
    size_t n = 0;
    assert_int_equal(sodium_hex2bin(out, room, hex, strlen(hex), NULL, &n, NULL), 0);
    return n;
}

/* --- vectors --- */

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(noise_vectors) / sizeof(noise_vectors[0]); i++) {
        const struct noise_vector *v = &noise_vectors[i];
        uint8_t prologue[SIZE], key[32];
        struct isola_static_keys s[2];
        struct isola__noise_handshake hs[2];
        struct isola__noise_cipher send[2], receive[2];
        size_t nprologue = unhex(prologue, sizeof(prologue), v->prologue);
        unhex(key, 32, v->init_static);
        isola_static_keys_from(key, &s[0]);
        unhex(key, 32, v->resp_static);
        isola_static_keys_from(key, &s[1]);
        if (v->resp_public != NULL) {
            unhex(key, 32, v->resp_public);
            assert_memory_equal(key, s[1].public_key, 32);
        }
        bool ik = v->pattern == ISOLA__NOISE_IK;
        assert_string_equal(isola__noise_name(v->pattern),
                            ik ? "Noise_IK_25519_ChaChaPoly_BLAKE2b"
                               : "Noise_XX_25519_ChaChaPoly_BLAKE2b");
        isola__noise_init(&hs[0], v->pattern, true, isola_slice(prologue, nprologue), &s[0],
                          ik ? s[1].public_key : NULL);
        isola__noise_init(&hs[1], v->pattern, false, isola_slice(prologue, nprologue), &s[1], NULL);
        unhex(key, 32, v->init_ephemeral);
        isola__noise_fix_ephemeral(&hs[0], key);
        unhex(key, 32, v->resp_ephemeral);
        isola__noise_fix_ephemeral(&hs[1], key);

        int m = 0, handshake = ik ? 2 : 3;
        for (; m < 6 && v->messages[m].payload != NULL; m++) {
            int from = (v->restarts && m >= handshake ? m - handshake : m) % 2, to = 1 - from;
            uint8_t payload[SIZE], expected[SIZE], bytes[SIZE];
            size_t np = unhex(payload, SIZE, v->messages[m].payload);
            size_t n = unhex(expected, SIZE, v->messages[m].bytes);
            struct isola_slice got = {0};
            struct isola_err err;
            if (m < handshake) {
                assert_int_equal(np + isola__noise_overhead(&hs[from]), n);
                assert_int_equal(np + isola__noise_overhead(&hs[to]), n);
                assert_int_equal(
                    isola__noise_write(&hs[from], isola_slice(payload, np), bytes, &err), 0);
                assert_memory_equal(bytes, expected, n);
                assert_int_equal(isola__noise_read(&hs[to], bytes, n, &got, &err), 0);
            } else {
                if (hs[0].turn == ISOLA__NOISE_COMPLETE) {
                    isola__noise_split(&hs[0], &send[0], &receive[0]);
                    isola__noise_split(&hs[1], &send[1], &receive[1]);
                }
                const struct isola_slice none = {0};
                assert_int_equal(n, np + ISOLA__NOISE_TAG);
                assert_int_equal(isola__noise_encrypt(&send[from], none, payload, np, bytes), 0);
                assert_memory_equal(bytes, expected, n);
                assert_int_equal(isola__noise_decrypt(&receive[to], none, bytes, n, bytes), 0);
                got = isola_slice(bytes, np);
            }
            assert_true(isola_slice_eq(got, isola_slice(payload, np)));
        }
        assert_true(m >= 4);
        assert_memory_equal(hs[0].symmetric.h, hs[1].symmetric.h, ISOLA__NOISE_HASH);
        if (v->handshake_hash != NULL) {
            uint8_t hash[ISOLA__NOISE_HASH];
            unhex(hash, sizeof(hash), v->handshake_hash);
            assert_memory_equal(hs[0].symmetric.h, hash, sizeof(hash));
        }
        assert_memory_equal(hs[0].rs, s[1].public_key, 32);
        assert_memory_equal(hs[1].rs, s[0].public_key, 32);
    }
}

/* --- two ends --- */

static struct isola_static_keys alice, bob, eve;

struct ends {
    struct isola__noise_handshake hs[2];
    struct isola__noise_cipher send[2], receive[2];
};

static struct isola_slice prologue(void)
{
    return isola_slice_str("as agreed");
}

static void begin(struct ends *e, enum isola__noise_pattern pattern)
{
    isola__noise_init(&e->hs[0], pattern, true, prologue(), &alice,
                      pattern == ISOLA__NOISE_IK ? bob.public_key : NULL);
    isola__noise_init(&e->hs[1], pattern, false, prologue(), &bob, NULL);
}

/* What the end whose turn it is says next. */
static size_t say(struct isola__noise_handshake *hs, uint8_t bytes[SIZE])
{
    struct isola_slice payload = isola_slice_str("a payload");
    size_t n = payload.len + isola__noise_overhead(hs);
    assert_int_equal(isola__noise_write(hs, payload, bytes, NULL), 0);
    return n;
}

static int hear(struct isola__noise_handshake *hs, const uint8_t *bytes, size_t n)
{
    uint8_t copy[SIZE + 1];
    struct isola_slice payload = {0};
    struct isola_err err = {0};
    memcpy(copy, bytes, n);
    int rc = isola__noise_read(hs, copy, n, &payload, &err);
    assert_int_equal(rc, err.code);
    if (rc == 0)
        assert_true(payload.data >= copy && payload.data + payload.len <= copy + n);
    else
        assert_true(strlen(err.text) > 20);
    return rc;
}

static int count(enum isola__noise_pattern pattern)
{
    return pattern == ISOLA__NOISE_XX ? 3 : 2;
}

/* The first `m` messages. */
static void talk(struct ends *e, int m)
{
    uint8_t bytes[SIZE];
    for (int i = 0; i < m; i++) {
        size_t n = say(&e->hs[i % 2], bytes);
        assert_int_equal(hear(&e->hs[1 - i % 2], bytes, n), 0);
    }
}

static void split(struct ends *e)
{
    for (int i = 0; i < 2; i++)
        isola__noise_split(&e->hs[i], &e->send[i], &e->receive[i]);
}

/* Whether both ends can complete from here, `e` having said or heard `m` messages. */
static bool both_complete(struct ends *e, int m)
{
    uint8_t bytes[SIZE];
    for (; e->hs[m % 2].turn == ISOLA__NOISE_WRITE; m++) {
        size_t n = say(&e->hs[m % 2], bytes);
        if (hear(&e->hs[1 - m % 2], bytes, n) != 0)
            return false;
    }
    return e->hs[0].turn == ISOLA__NOISE_COMPLETE && e->hs[1].turn == ISOLA__NOISE_COMPLETE;
}

/* Gives the reader of message `m` something else than was said, and expects that it is refused: at
 * once, but for the first of XX, where nothing proves anything yet. */
static void refused(struct ends *e, enum isola__noise_pattern pattern, int m, const uint8_t *bytes,
                    size_t n)
{
    struct isola__noise_handshake *reader = &e->hs[1 - m % 2];
    int rc = hear(reader, bytes, n);
    if (pattern == ISOLA__NOISE_XX && m == 0 && rc == 0) {
        assert_false(both_complete(e, 1));
        return;
    }
    assert_int_equal(rc, ISOLA_EPROTO);
    assert_int_equal(reader->turn, ISOLA__NOISE_FAILED);
    assert_true(sodium_is_zero((const uint8_t *)&reader->s, sizeof(reader->s)));
    assert_true(sodium_is_zero((const uint8_t *)&reader->e, sizeof(reader->e)));
    assert_true(sodium_is_zero(reader->symmetric.ck, sizeof(reader->symmetric.ck)));
    assert_true(sodium_is_zero(reader->symmetric.cipher.k, 32));
    /* And stays so. */
    uint8_t out[SIZE];
    assert_int_equal(hear(reader, bytes, n), ISOLA_EPROTO);
    assert_int_equal(isola__noise_write(reader, prologue(), out, NULL), ISOLA_EPROTO);
    assert_int_equal(isola__noise_overhead(reader), 0);
}

static void test_every_bit(void **state)
{
    (void)state;
    for (enum isola__noise_pattern p = ISOLA__NOISE_XX; p <= ISOLA__NOISE_IK; p++)
        for (int m = 0; m < count(p); m++) {
            struct ends before, e;
            uint8_t bytes[SIZE];
            begin(&before, p);
            talk(&before, m);
            size_t n = say(&before.hs[m % 2], bytes);
            for (size_t bit = 0; bit < 8 * n; bit++) {
                e = before;
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                refused(&e, p, m, bytes, n);
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
            e = before;
            assert_int_equal(hear(&e.hs[1 - m % 2], bytes, n), 0); /* unchanged, it is taken */
            assert_true(both_complete(&e, m + 1));
        }
}

static void test_every_length(void **state)
{
    (void)state;
    for (enum isola__noise_pattern p = ISOLA__NOISE_XX; p <= ISOLA__NOISE_IK; p++)
        for (int m = 0; m < count(p); m++) {
            struct ends before, e;
            uint8_t bytes[SIZE + 1] = {0};
            begin(&before, p);
            talk(&before, m);
            size_t n = say(&before.hs[m % 2], bytes);
            for (size_t len = 0; len <= n + 1; len++) {
                if (len == n)
                    continue;
                e = before;
                refused(&e, p, m, bytes, len);
            }
        }
    struct ends e;
    static uint8_t large[ISOLA__NOISE_MESSAGE_MAX + 1];
    struct isola_slice payload;
    begin(&e, ISOLA__NOISE_XX);
    assert_int_equal(isola__noise_read(&e.hs[1], large, sizeof(large), &payload, NULL),
                     ISOLA_EPROTO);
}

static void test_oversized_payload(void **state)
{
    (void)state;
    static uint8_t payload[ISOLA__NOISE_MESSAGE_MAX], bytes[ISOLA__NOISE_MESSAGE_MAX];
    struct ends e;
    struct isola_err err;
    begin(&e, ISOLA__NOISE_IK);
    size_t most = ISOLA__NOISE_MESSAGE_MAX - isola__noise_overhead(&e.hs[0]);
    assert_int_equal(isola__noise_write(&e.hs[0], isola_slice(payload, most + 1), bytes, &err),
                     ISOLA_ETOOBIG);
    assert_int_equal(e.hs[0].turn, ISOLA__NOISE_WRITE);
    assert_int_equal(isola__noise_write(&e.hs[0], isola_slice(payload, most), bytes, &err), 0);
    struct isola_slice got;
    assert_int_equal(isola__noise_read(&e.hs[1], bytes, sizeof(bytes), &got, &err), 0);
    assert_true(isola_slice_eq(got, isola_slice(payload, most)));
}

static void test_other_prologue(void **state)
{
    (void)state;
    for (enum isola__noise_pattern p = ISOLA__NOISE_XX; p <= ISOLA__NOISE_IK; p++) {
        struct ends e;
        begin(&e, p);
        isola__noise_init(&e.hs[1], p, false, isola_slice_str("as agreeD"), &bob, NULL);
        assert_false(both_complete(&e, 0));
    }
}

static void test_other_keys(void **state)
{
    (void)state;
    struct ends e;
    /* IK: the responder is not who the initiator thinks */
    begin(&e, ISOLA__NOISE_IK);
    isola__noise_init(&e.hs[1], ISOLA__NOISE_IK, false, prologue(), &eve, NULL);
    assert_false(both_complete(&e, 0));
    /* a static key shown, but not held */
    for (enum isola__noise_pattern p = ISOLA__NOISE_XX; p <= ISOLA__NOISE_IK; p++)
        for (int liar = 0; liar < 2; liar++) {
            begin(&e, p);
            memcpy(e.hs[liar].s.secret_key, eve.secret_key, 32);
            assert_false(both_complete(&e, 0));
        }
    /* one pattern here, the other there */
    begin(&e, ISOLA__NOISE_XX);
    isola__noise_init(&e.hs[1], ISOLA__NOISE_IK, false, prologue(), &bob, NULL);
    assert_false(both_complete(&e, 0));
    begin(&e, ISOLA__NOISE_IK);
    isola__noise_init(&e.hs[1], ISOLA__NOISE_XX, false, prologue(), &bob, NULL);
    assert_false(both_complete(&e, 0));
}

/* A machine in the middle that answers with keys of its own is seen by the static key. */
static void test_middle(void **state)
{
    (void)state;
    struct ends e;
    begin(&e, ISOLA__NOISE_XX);
    isola__noise_init(&e.hs[1], ISOLA__NOISE_XX, false, prologue(), &eve, NULL);
    assert_true(both_complete(&e, 0));
    assert_memory_equal(e.hs[0].rs, eve.public_key, 32);
}

static void test_replayed_and_reordered(void **state)
{
    (void)state;
    for (enum isola__noise_pattern p = ISOLA__NOISE_XX; p <= ISOLA__NOISE_IK; p++) {
        struct ends old, e;
        uint8_t said[3][SIZE];
        size_t n[3];
        begin(&old, p);
        for (int m = 0; m < count(p); m++) {
            n[m] = say(&old.hs[m % 2], said[m]);
            assert_int_equal(hear(&old.hs[1 - m % 2], said[m], n[m]), 0);
        }
        for (int m = 1; m < count(p); m++)
            for (int of = 0; of < count(p); of++) {
                begin(&e, p); /* in a handshake of the same keys, something of the old one */
                talk(&e, m);
                uint8_t bytes[SIZE];
                say(&e.hs[m % 2], bytes);
                refused(&e, p, m, said[of], n[of]);
            }
        /* the initiator's first may be said again by anyone: but nobody goes on from there */
        begin(&e, p);
        assert_int_equal(hear(&e.hs[1], said[0], n[0]), 0);
        uint8_t bytes[SIZE];
        say(&e.hs[1], bytes);
        if (p == ISOLA__NOISE_XX) {
            assert_int_equal(hear(&e.hs[1], said[2], n[2]), ISOLA_EPROTO);
            continue;
        }
        split(&old);
        isola__noise_split(&e.hs[1], &e.send[1], &e.receive[1]);
        uint8_t record[64];
        const struct isola_slice none = {0};
        assert_int_equal(isola__noise_encrypt(&old.send[0], none, bob.public_key, 32, record), 0);
        assert_int_equal(isola__noise_decrypt(&e.receive[1], none, record, 48, record),
                         ISOLA_EPROTO);
    }
}

static void test_reflected(void **state)
{
    (void)state;
    for (enum isola__noise_pattern p = ISOLA__NOISE_XX; p <= ISOLA__NOISE_IK; p++) {
        struct ends e;
        uint8_t bytes[SIZE];
        begin(&e, p);
        size_t n = say(&e.hs[0], bytes);
        assert_int_equal(hear(&e.hs[0], bytes, n), ISOLA_EPROTO);
    }
}

/* Points of which every secret is zero: all of order 1, 2, 4 and 8 that libsodium knows. */
static void test_small_order(void **state)
{
    (void)state;
    static const char *points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        uint8_t point[SIZE] = {0}, bytes[SIZE];
        struct isola_err err = {0};
        struct ends e;
        unhex(point, 32, points[i]);
        begin(&e, ISOLA__NOISE_XX); /* of the initiator, seen when the responder answers */
        assert_int_equal(hear(&e.hs[1], point, 32), 0);
        assert_int_equal(isola__noise_write(&e.hs[1], prologue(), bytes, &err), ISOLA_EPROTO);
        assert_non_null(strstr(err.text, "small order"));
        assert_int_equal(e.hs[1].turn, ISOLA__NOISE_FAILED);
        begin(&e, ISOLA__NOISE_XX); /* of the responder */
        say(&e.hs[0], bytes);
        refused(&e, ISOLA__NOISE_XX, 1, point, 200);
        begin(&e, ISOLA__NOISE_IK); /* in what is known of the responder */
        isola__noise_init(&e.hs[0], ISOLA__NOISE_IK, true, prologue(), &alice, point);
        assert_int_equal(isola__noise_write(&e.hs[0], prologue(), bytes, &err), ISOLA_EPROTO);
        begin(&e, ISOLA__NOISE_IK);
        refused(&e, ISOLA__NOISE_IK, 0, point, 200);
    }
}

static void test_turns(void **state)
{
    (void)state;
    struct ends e;
    uint8_t bytes[SIZE];
    struct isola_slice payload;
    struct isola_err err;
    begin(&e, ISOLA__NOISE_XX);
    assert_int_equal(isola__noise_write(&e.hs[1], prologue(), bytes, &err), ISOLA_EINVAL);
    assert_int_equal(isola__noise_read(&e.hs[0], bytes, 32, &payload, &err), ISOLA_EINVAL);
    talk(&e, 3);
    assert_int_equal(isola__noise_write(&e.hs[0], prologue(), bytes, &err), ISOLA_EINVAL);
    assert_int_equal(isola__noise_read(&e.hs[1], bytes, 32, &payload, &err), ISOLA_EINVAL);
    assert_int_equal(e.hs[0].turn, ISOLA__NOISE_COMPLETE);
}

static void test_ephemerals_are_new(void **state)
{
    (void)state;
    uint8_t first[SIZE], second[SIZE];
    struct ends e;
    begin(&e, ISOLA__NOISE_XX);
    say(&e.hs[0], first);
    begin(&e, ISOLA__NOISE_XX);
    say(&e.hs[0], second);
    assert_memory_not_equal(first, second, 32);
}

static bool holds(const void *memory, size_t n, const void *secret, size_t len)
{
    return memmem(memory, n, secret, len) != NULL;
}

static void test_wiped(void **state)
{
    (void)state;
    for (enum isola__noise_pattern p = ISOLA__NOISE_XX; p <= ISOLA__NOISE_IK; p++) {
        struct ends e;
        begin(&e, p);
        talk(&e, count(p));
        for (int i = 0; i < 2; i++) {
            struct isola__noise_handshake before = e.hs[i];
            isola__noise_split(&e.hs[i], &e.send[i], &e.receive[i]);
            struct isola__noise_handshake *hs = &e.hs[i];
            assert_false(holds(hs, sizeof(*hs), before.s.secret_key, 32));
            assert_false(holds(hs, sizeof(*hs), before.e.secret_key, 32));
            assert_false(holds(hs, sizeof(*hs), before.symmetric.ck, 32));
            assert_false(holds(hs, sizeof(*hs), before.symmetric.cipher.k, 32));
            assert_memory_equal(hs->symmetric.h, before.symmetric.h, ISOLA__NOISE_HASH);
            isola__noise_wipe(hs);
            assert_true(sodium_is_zero((const uint8_t *)hs, sizeof(*hs)));
            isola__noise_cipher_wipe(&e.send[i]);
            assert_true(sodium_is_zero((const uint8_t *)&e.send[i], sizeof(e.send[i])));
        }
    }
}

/* --- records --- */

static int pass(struct isola__noise_cipher *from, struct isola__noise_cipher *to, const char *said)
{
    uint8_t bytes[SIZE];
    size_t n = strlen(said);
    const struct isola_slice ad = isola_slice_str("beside");
    memcpy(bytes, said, n);
    int rc = isola__noise_encrypt(from, ad, bytes, n, bytes); /* in place */
    if (rc != 0) {
        assert_memory_equal(bytes, said, n);
        return rc;
    }
    assert_memory_not_equal(bytes, said, n);
    rc = isola__noise_decrypt(to, ad, bytes, n + ISOLA__NOISE_TAG, bytes);
    if (rc == 0)
        assert_memory_equal(bytes, said, n);
    return rc;
}

static void test_nonces(void **state)
{
    (void)state;
    struct ends e;
    begin(&e, ISOLA__NOISE_IK);
    talk(&e, 2);
    split(&e);
    assert_int_equal(pass(&e.send[0], &e.receive[1], "first"), 0);
    assert_int_equal(pass(&e.send[1], &e.receive[0], "second"), 0);
    assert_int_equal(pass(&e.send[0], &e.receive[1], "third"), 0);
    assert_int_equal(e.send[0].n, 2);
    e.send[0].n++; /* one is lost */
    assert_int_equal(pass(&e.send[0], &e.receive[1], "fifth"), ISOLA_EPROTO);
    assert_int_equal(e.receive[1].n, 2);
    e.send[0].n = e.receive[1].n = UINT64_MAX - 1;
    assert_int_equal(pass(&e.send[0], &e.receive[1], "the last"), 0);
    assert_int_equal(pass(&e.send[0], &e.receive[1], "one too many"), ISOLA_ECLOSED);
    uint8_t bytes[SIZE] = {0};
    assert_int_equal(isola__noise_decrypt(&e.receive[1], isola_slice(NULL, 0), bytes, SIZE, bytes),
                     ISOLA_ECLOSED);
}

static void test_wrong_ad(void **state)
{
    (void)state;
    struct ends e;
    uint8_t bytes[SIZE];
    begin(&e, ISOLA__NOISE_IK);
    talk(&e, 2);
    split(&e);
    assert_int_equal(
        isola__noise_encrypt(&e.send[0], isola_slice("a", 1), bob.public_key, 32, bytes), 0);
    assert_int_equal(
        isola__noise_decrypt(&e.receive[1], isola_slice("b", 1), bytes, 48, bytes + 48),
        ISOLA_EPROTO);
    for (size_t n = 0; n < 48; n++)
        assert_int_equal(
            isola__noise_decrypt(&e.receive[1], isola_slice("a", 1), bytes, n, bytes + 48),
            ISOLA_EPROTO);
    assert_int_equal(
        isola__noise_decrypt(&e.receive[1], isola_slice("a", 1), bytes, 48, bytes + 48), 0);
    assert_memory_equal(bytes + 48, bob.public_key, 32);
}

/* REKEY by its definition in other words: the ciphertext of 32 zeros is the key stream from its
 * second block on (RFC 8439), here for the nonce 2^64 - 1. */
static void test_rekey(void **state)
{
    (void)state;
    struct ends e;
    begin(&e, ISOLA__NOISE_IK);
    talk(&e, 2);
    split(&e);
    assert_int_equal(pass(&e.send[0], &e.receive[1], "before"), 0);
    static const uint8_t nonce[12] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
    uint8_t zeros[32] = {0}, key[32];
    crypto_stream_chacha20_ietf_xor_ic(key, zeros, 32, nonce, 1, e.send[0].k);
    isola__noise_rekey(&e.send[0]);
    assert_memory_equal(e.send[0].k, key, 32);
    assert_int_equal(e.send[0].n, 1);
    struct isola__noise_cipher old = e.receive[1];
    assert_int_equal(pass(&e.send[0], &old, "with another key"), ISOLA_EPROTO);
    isola__noise_rekey(&e.receive[1]);
    e.send[0].n = e.receive[1].n;
    assert_int_equal(pass(&e.send[0], &e.receive[1], "after"), 0);
}

static int setup(void **state)
{
    (void)state;
    isola_static_keys_new(&alice);
    isola_static_keys_new(&bob);
    isola_static_keys_new(&eve);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_every_length),   cmocka_unit_test(test_oversized_payload),
        cmocka_unit_test(test_other_prologue), cmocka_unit_test(test_other_keys),
        cmocka_unit_test(test_middle),         cmocka_unit_test(test_replayed_and_reordered),
        cmocka_unit_test(test_reflected),      cmocka_unit_test(test_small_order),
        cmocka_unit_test(test_turns),          cmocka_unit_test(test_ephemerals_are_new),
        cmocka_unit_test(test_wiped),          cmocka_unit_test(test_nonces),
        cmocka_unit_test(test_wrong_ad),       cmocka_unit_test(test_rekey),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
