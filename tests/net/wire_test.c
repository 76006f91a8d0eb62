/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong on the wire, with a clock that the test moves: each rule does what it says and no
 * more, and every frame that came in is accounted for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/net/wire.h"

#define MS 1000000u

static uint64_t seed(void)
{
    static uint64_t s;
    const char *given = getenv("ISOLA_TEST_SEED");
    if (s == 0) {
        s = given ? strtoull(given, NULL, 10) : isola_clock_ns() | 1;
        printf("seed: ISOLA_TEST_SEED=%llu\n", (unsigned long long)s);
    }
    return s;
}

static void put(struct isola_wire *w, uint32_t number, uint64_t now)
{
    uint8_t frame[60] = {0};
    memcpy(frame + 40, &number, sizeof number);
    isola_wire_put(w, 0, 1, frame, sizeof frame, now);
}

/* Puts `n` numbered frames, `every` ns apart, while it takes what arrives: the numbers in `got` in
 * the order of arrival, the times in `at`. Returns how many. */
static unsigned pass(struct isola_wire *w, unsigned n, uint64_t every, uint32_t *got, uint64_t *at)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n || isola_wire_next(w) != UINT64_MAX;) {
        uint64_t next = isola_wire_next(w), now = i * every;
        if (i < n && now <= next) {
            put(w, i++, now);
            continue;
        }
        assert_null(isola_wire_take(w, next - 1));
        struct isola_wire_frame *f = isola_wire_take(w, next);
        if (!f)
            continue; /* it was cut meanwhile */
        assert_int_equal(f->from, 0);
        assert_int_equal(f->to, 1);
        assert_int_equal(f->n, 60);
        memcpy(&got[count], f->bytes + 40, sizeof *got);
        at[count++] = next;
        free(f);
    }
    const struct isola_wire_counts *c = isola_wire_counts(w, 0, 1);
    assert_int_equal(c->frames, n);
    assert_int_equal(c->passed, count);
    assert_int_equal(c->frames + c->duplicated, c->passed + c->cut + c->lost + c->overflowed);
    return count;
}

#define N 4000
static uint32_t got[2 * N];
static uint64_t at[2 * N];

static unsigned pass_by(struct isola_wire_rules rules, uint64_t every,
                        struct isola_wire_counts *counts)
{
    struct isola_wire *w = isola_wire_new(2, seed());
    isola_wire_rule(w, 0, 1, &rules);
    unsigned n = pass(w, N, every, got, at);
    *counts = *isola_wire_counts(w, 0, 1);
    assert_int_equal(isola_wire_counts(w, 1, 0)->frames, 0);
    isola_wire_free(w);
    return n;
}

static bool in_order(unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        if (got[i] < got[i - 1])
            return false;
    return true;
}

static void test_as_they_come(void **state)
{
    (void)state;
    struct isola_wire_counts c;
    assert_int_equal(pass_by((struct isola_wire_rules){0}, 1000, &c), N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(got[i], i);
        assert_in_range(at[i], i * 1000, i * 1000 + 1);
    }
}

static void test_delay_and_jitter(void **state)
{
    (void)state;
    struct isola_wire_counts c;
    assert_int_equal(pass_by((struct isola_wire_rules){.delay = 20 * MS}, MS, &c), N);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(at[i], i * MS + 20 * MS);
    assert_int_equal(
        pass_by((struct isola_wire_rules){.delay = 20 * MS, .jitter = 10 * MS}, MS, &c), N);
    assert_true(in_order(N));
    unsigned early = 0, late = 0;
    for (unsigned i = 0; i < N; i++) {
        uint64_t took = at[i] - i * MS;
        assert_in_range(took, 20 * MS, 30 * MS + N);
        early += took < 25 * MS;
        late += took > 25 * MS;
    }
    assert_true(early > 0 && late > 0);
}

static void test_loss_and_duplicates(void **state)
{
    (void)state;
    struct isola_wire_counts c;
    unsigned n = pass_by((struct isola_wire_rules){.loss = 0.3}, 1000, &c);
    assert_in_range(n, N * 0.65, N * 0.75);
    assert_int_equal(c.lost, N - n);
    n = pass_by((struct isola_wire_rules){.duplicate = 0.1}, 1000, &c);
    assert_in_range(n, N * 1.07, N * 1.13);
    assert_int_equal(c.duplicated, n - N);
    assert_true(in_order(n));
    assert_int_equal(pass_by((struct isola_wire_rules){.loss = 1}, 1000, &c), 0);
}

static void test_reordering(void **state)
{
    (void)state;
    struct isola_wire_counts c;
    assert_int_equal(pass_by((struct isola_wire_rules){.reorder = 0.05}, MS, &c), N);
    assert_false(in_order(N));
    assert_in_range(c.reordered, N * 0.03, N * 0.07);
    bool seen[N] = {false};
    unsigned back = 0;
    for (unsigned i = 0; i < N; i++) {
        assert_false(seen[got[i]]);
        seen[got[i]] = true;
        back += at[i] > got[i] * (uint64_t)MS + MS;
        assert_true(at[i] <= got[i] * (uint64_t)MS + ISOLA_WIRE_BACK_NS);
    }
    assert_in_range(back, 1, c.reordered);
}

static void test_rate_and_bound(void **state)
{
    (void)state;
    struct isola_wire_counts c;
    struct isola_wire_rules slow = {.rate = 480 * 1000}; /* 1,000 frames of 60 bytes a second */
    assert_int_equal(pass_by(slow, 0, &c), N);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(at[i], (i + 1) * (uint64_t)MS);

    struct isola_wire *w = isola_wire_new(2, seed());
    isola_wire_rule(w, 0, 1, &slow);
    for (unsigned i = 0; i < ISOLA_WIRE_QUEUE + 100; i++)
        put(w, i, 0);
    assert_int_equal(isola_wire_counts(w, 0, 1)->overflowed, 100);
    isola_wire_free(w); /* with all that is under way */
}

static void test_cut(void **state)
{
    (void)state;
    struct isola_wire *w = isola_wire_new(3, seed());
    struct isola_wire_rules slow = {.delay = 10 * MS};
    isola_wire_rule(w, 0, 1, &slow);
    put(w, 1, 0);
    put(w, 2, 5 * MS);
    struct isola_wire_frame *f = isola_wire_take(w, 10 * MS);
    assert_non_null(f);
    free(f);
    isola_wire_cut(w, 0, 1, true);
    put(w, 3, 12 * MS);
    assert_null(isola_wire_take(w, 60 * MS)); /* what was under way does not arrive either */
    isola_wire_put(w, 1, 0, (uint8_t[60]){0}, 60, 60 * MS);
    f = isola_wire_take(w, 60 * MS);
    assert_non_null(f); /* the other way nothing is cut */
    free(f);
    isola_wire_cut(w, 0, 1, false);
    put(w, 4, 70 * MS);
    f = isola_wire_take(w, 80 * MS);
    assert_non_null(f);
    assert_int_equal(f->bytes[40], 4);
    free(f);
    const struct isola_wire_counts *c = isola_wire_counts(w, 0, 1);
    assert_int_equal(c->frames, 4);
    assert_int_equal(c->cut, 2);
    assert_int_equal(c->passed, 2);
    isola_wire_free(w);
}

static unsigned different_bits(const uint8_t *a, const uint8_t *b, size_t from, size_t to)
{
    unsigned n = 0;
    for (size_t i = from; i < to; i++)
        n += (unsigned)__builtin_popcount(a[i] ^ b[i]);
    return n;
}

static void test_corruption(void **state)
{
    (void)state;
    struct isola_wire *w = isola_wire_new(2, seed());
    struct isola_wire_rules rules = {.corrupt = 1};
    isola_wire_rule(w, 0, 1, &rules);
    const uint8_t sent[60] = {0};
    for (unsigned i = 0; i < N; i++) {
        isola_wire_put(w, 0, 1, sent, sizeof sent, i);
        struct isola_wire_frame *f = isola_wire_take(w, 2 * N);
        assert_int_equal(different_bits(f->bytes, sent, 0, 14), 0);
        assert_int_equal(different_bits(f->bytes, sent, 14, sizeof sent), 1);
        free(f);
    }
    assert_int_equal(isola_wire_counts(w, 0, 1)->corrupted, N);
    isola_wire_free(w);
}

/* The sum of words over a TCP segment and its pseudo-header: 0xffff when its checksum is right. */
static uint16_t tcp_sum(const uint8_t *ip)
{
    size_t header = (size_t)(ip[0] & 15) * 4, length = (size_t)(ip[2] << 8 | ip[3]) - header;
    uint32_t sum = 6 + (uint32_t)length;
    for (size_t i = 12; i < 20; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    for (size_t i = 0; i < length; i++)
        sum += (uint32_t)ip[header + i] << (i % 2 == 0 ? 8 : 0);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static size_t make_segment(uint8_t *frame, size_t payload, uint64_t random)
{
    size_t total = 20 + 20 + payload;
    memset(frame, 0, 14 + total);
    frame[12] = 0x08;
    uint8_t *ip = frame + 14, *tcp = ip + 20;
    ip[0] = 0x45;
    ip[2] = (uint8_t)(total >> 8);
    ip[3] = (uint8_t)total;
    ip[9] = 6;
    for (size_t i = 12; i < 20; i++)
        ip[i] = (uint8_t)(random >> i);
    for (size_t i = 0; i < payload; i++)
        tcp[20 + i] = (uint8_t)(random >> (i % 57));
    tcp[12] = 0x50;
    uint16_t sum = (uint16_t)~tcp_sum(ip);
    tcp[16] = (uint8_t)(sum >> 8);
    tcp[17] = (uint8_t)sum;
    assert_int_equal(tcp_sum(ip), 0xffff);
    return 14 + total;
}

static void test_forgery(void **state)
{
    (void)state;
    uint64_t random = seed();
    for (unsigned i = 0; i < N; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint8_t sent[200], forged[200];
        size_t n = make_segment(sent, 1 + random % 100, random >> 7);
        memcpy(forged, sent, n);
        assert_true(isola_wire_forge(forged, n, random));
        assert_int_equal(different_bits(sent, forged, 0, 14 + 20 + 16), 0);
        assert_int_equal(different_bits(sent, forged, 14 + 20 + 18, n), 1);
        assert_int_equal(tcp_sum(forged + 14), 0xffff);
        /* cut short, without payload, or of another protocol: left alone, and not read beyond */
        memcpy(forged, sent, n);
        size_t some = random % n;
        uint8_t *tight = malloc(some > 0 ? some : 1);
        memcpy(tight, sent, some);
        assert_false(isola_wire_forge(tight, some, random));
        assert_memory_equal(tight, sent, some);
        free(tight);
        forged[14 + 9] = 17;
        assert_false(isola_wire_forge(forged, n, random));
    }
    uint8_t empty[200];
    assert_false(isola_wire_forge(empty, make_segment(empty, 0, 1), 5));
    for (unsigned i = 0; i < N; i++) { /* whatever the bytes are */
        uint8_t *bytes = malloc(64);
        for (unsigned k = 0; k < 64; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[k] = (uint8_t)(random >> 40);
        }
        bytes[12] = 8, bytes[13] = 0, bytes[14] = (uint8_t)(0x40 | (bytes[14] & 15)), bytes[23] = 6;
        bytes[16] = 0, bytes[17] &= 63, bytes[20] = bytes[21] = 0;
        (void)isola_wire_forge(bytes, 64, random);
        free(bytes);
    }
}

static void test_the_seed_decides(void **state)
{
    (void)state;
    struct isola_wire_counts c;
    struct isola_wire_rules bad = {
        .delay = MS, .jitter = 5 * MS, .loss = 0.1, .duplicate = 0.1, .reorder = 0.1};
    static uint32_t first[2 * N];
    unsigned n = pass_by(bad, 1000, &c);
    memcpy(first, got, n * sizeof got[0]);
    assert_int_equal(pass_by(bad, 1000, &c), n);
    assert_memory_equal(first, got, n * sizeof got[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_they_come),        cmocka_unit_test(test_delay_and_jitter),
        cmocka_unit_test(test_loss_and_duplicates), cmocka_unit_test(test_reordering),
        cmocka_unit_test(test_rate_and_bound),      cmocka_unit_test(test_cut),
        cmocka_unit_test(test_corruption),          cmocka_unit_test(test_forgery),
        cmocka_unit_test(test_the_seed_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
