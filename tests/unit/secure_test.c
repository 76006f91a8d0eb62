/* SPDX-License-Identifier: Apache-2.0
 *
 * The secure channel: two ends with a machine in the middle, which the test is. Whatever it does,
 * the two are never both done with different views.
 */
#include "secure_ends.h"

#include <sodium.h>

/* --- the handshake --- */

static void test_done(void **state)
{
    (void)state;
    static const size_t most[] = {SIZE_MAX, 1, 2, 3, 17, 48, 49};
    FOR_BOTH(pattern)
    for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
        struct pair p;
        open_pair(&p, pattern);
        assert_false(isola__secure_confirmed(&p.a.s));
        shake(&p.a, &p.b, most[i]);
        struct end *ends[] = {&p.a, &p.b};
        for (int k = 0; k < 2; k++) {
            assert_int_equal(ends[k]->rc, 1);
            assert_int_equal(ends[k]->s.version, 2);
            assert_int_equal(ends[k]->s.pattern, pattern);
            assert_int_equal(ends[k]->verified, 1);
            assert_string_equal(ends[k]->payload, k == 0 ? "I am Bob" : "I am Alice");
            assert_memory_equal(ends[k]->peer, k == 0 ? bob.public_key : alice.public_key, 32);
            assert_memory_equal(ends[k]->s.peer, ends[k]->peer, 32);
        }
        assert_memory_equal(p.a.s.hash, p.b.s.hash, sizeof(p.a.s.hash));
        assert_true(isola__secure_confirmed(&p.a.s));
        assert_int_equal(isola__secure_confirmed(&p.b.s), pattern == ISOLA__NOISE_XX);
        exchange(&p.a, &p.b);
        assert_true(isola__secure_confirmed(&p.b.s));
        close_pair(&p);
    }
}

/* Records that arrive together with the end of the handshake stay for `open`. */
static void test_records_at_once(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, ISOLA__NOISE_XX);
    deliver(&p.a, &p.b, SIZE_MAX);
    deliver(&p.b, &p.a, SIZE_MAX);
    assert_int_equal(p.a.rc, 1);
    uint8_t *record = isola_buf_extend(&p.a.out, 3 + ISOLA__SECURE_OVERHEAD);
    assert_int_equal(isola__secure_seal(&p.a.s, (const uint8_t *)"now", 3, record, NULL), 0);
    deliver(&p.a, &p.b, SIZE_MAX);
    assert_int_equal(p.b.rc, 1);
    struct isola_slice got;
    size_t size;
    assert_int_equal(isola__secure_open(&p.b.s, p.b.in.data, p.b.in.len, &got, &size, &p.b.err), 1);
    assert_true(isola_slice_is(got, "now"));
    assert_int_equal(size, p.b.in.len);
    /* shake stays done, and takes nothing more */
    assert_int_equal(
        isola__secure_shake(&p.b.s, p.b.in.data, p.b.in.len, &size, &p.b.out, &p.b.err), 1);
    assert_int_equal(size, 0);
    close_pair(&p);
}

static void test_payloads(void **state)
{
    (void)state;
    static uint8_t large[ISOLA__SECURE_PAYLOAD_MAX + 1];
    memset(large, 'x', sizeof(large));
    FOR_BOTH(pattern)
    {
        static const size_t sizes[] = {0, 1, ISOLA__SECURE_PAYLOAD_MAX};
        for (size_t i = 0; i < 3; i++) {
            struct pair p;
            struct isola__secure_config ca = plain(&p.a, true, pattern),
                                        cb = plain(&p.b, false, pattern);
            ca.payload = cb.payload = isola_slice(large, sizes[i]);
            open_end(&p.a, &ca, true);
            open_end(&p.b, &cb, false);
            assert_int_equal(isola__secure_start(&p.a.s, &p.a.out, &p.a.err), 0);
            shake(&p.a, &p.b, SIZE_MAX);
            assert_int_equal(p.a.rc, 1);
            assert_int_equal(p.b.rc, 1);
            exchange(&p.a, &p.b);
            close_pair(&p);
        }
    }
    struct end e;
    struct isola__secure_config c = plain(&e, true, ISOLA__NOISE_XX);
    c.payload = isola_slice(large, sizeof(large));
    assert_int_equal(isola__secure_init(&e.s, &c, true, &e.err), ISOLA_EINVAL);
    c = plain(&e, true, ISOLA__NOISE_XX);
    c.least = 3;
    assert_int_equal(isola__secure_init(&e.s, &c, true, &e.err), ISOLA_EINVAL);
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        uint16_t a[2], b[2], version; /* 0: none */
        const char *at_a, *at_b;
    } cases[] = {
        {{1, 2}, {1, 2}, 2, NULL, NULL},
        {{1, 1}, {1, 2}, 1, NULL, NULL},
        {{1, 2}, {2, 3}, 2, NULL, NULL}, /* one newer */
        {{2, 3}, {1, 2}, 2, NULL, NULL}, /* one older */
        {{1, 65535}, {300, 400}, 400, NULL, NULL},
        {{1, 2},
         {4, 5},
         0,
         "the peer speaks wire versions 4 to 5, this node 1 to 2: run releases that are at most "
         "one apart",
         "the peer speaks wire versions 1 to 2, this node 4 to 5: run releases that are at most "
         "one apart"},
        {{3, 4},
         {1, 2},
         0,
         "versions 1 to 2, this node 3 to 4",
         "versions 3 to 4, this node 1 to 2"},
    };
    FOR_BOTH(pattern)
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair p;
        struct isola__secure_config ca = plain(&p.a, true, pattern),
                                    cb = plain(&p.b, false, pattern);
        ca.least = cases[i].a[0], ca.greatest = cases[i].a[1];
        cb.least = cases[i].b[0], cb.greatest = cases[i].b[1];
        open_end(&p.a, &ca, true);
        open_end(&p.b, &cb, false);
        assert_int_equal(isola__secure_start(&p.a.s, &p.a.out, &p.a.err), 0);
        shake(&p.a, &p.b, 5);
        if (cases[i].version != 0) {
            assert_int_equal(p.a.s.version, cases[i].version);
            assert_int_equal(p.b.s.version, cases[i].version);
            exchange(&p.a, &p.b);
        } else {
            assert_int_equal(p.a.rc, ISOLA_EPROTO);
            assert_int_equal(p.b.rc, ISOLA_EPROTO);
            assert_non_null(strstr(p.a.err.text, cases[i].at_a));
            assert_non_null(strstr(p.b.err.text, cases[i].at_b));
            assert_int_equal(p.a.verified + p.b.verified, 0);
        }
        close_pair(&p);
    }
}

/* A responder that is not what it says to be chooses what nobody offered. */
static void test_version_not_offered(void **state)
{
    (void)state;
    struct pair p;
    struct isola__secure_config ca = plain(&p.a, true, ISOLA__NOISE_IK),
                                cb = plain(&p.b, false, ISOLA__NOISE_IK);
    open_end(&p.a, &ca, true);
    open_end(&p.b, &cb, false);
    assert_int_equal(isola__secure_start(&p.a.s, &p.a.out, &p.a.err), 0);
    feed(&p.b, p.a.out.data, ISOLA__SECURE_PREAMBLE);
    p.b.s.version = 3;
    feed(&p.b, p.a.out.data + ISOLA__SECURE_PREAMBLE, p.a.out.len - ISOLA__SECURE_PREAMBLE);
    deliver(&p.b, &p.a, SIZE_MAX);
    assert_int_equal(p.a.rc, ISOLA_EPROTO);
    assert_non_null(strstr(p.a.err.text, "chose wire version 3, this node speaks 1 to 2"));
    close_pair(&p);
}

static void test_purposes(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    {
        struct pair p;
        struct isola__secure_config cb = plain(&p.b, false, pattern);
        open_pair(&p, pattern);
        cb.purpose = 8;
        open_end(&p.b, &cb, false);
        shake(&p.a, &p.b, SIZE_MAX);
        assert_int_equal(p.b.rc, ISOLA_EPROTO);
        assert_non_null(strstr(p.b.err.text, "purpose 7 at an address for purpose 8"));
        assert_int_equal(p.a.rc, ISOLA_EPROTO);
        assert_non_null(strstr(p.a.err.text, "refused a connection for purpose 7"));
        close_pair(&p);
    }
}

/* The initiator of IK expects Bob, and it is Eve who answers at his address. */
static void test_other_key(void **state)
{
    (void)state;
    struct pair p;
    struct isola__secure_config cb = plain(&p.b, false, ISOLA__NOISE_IK);
    open_pair(&p, ISOLA__NOISE_IK);
    cb.keys = &eve;
    open_end(&p.b, &cb, false);
    shake(&p.a, &p.b, SIZE_MAX);
    assert_int_equal(p.b.rc, ISOLA_EPROTO);
    assert_int_equal(p.a.rc, ISOLA_EPROTO);
    assert_non_null(strstr(p.a.err.text, "another key than this node expects"));
    assert_int_equal(p.a.verified + p.b.verified, 0);
    close_pair(&p);
}

/* A responder whose answer cannot be made says nothing of it but the refusal. */
static void test_bad_ephemeral(void **state)
{
    (void)state;
    struct end e;
    struct isola__secure_config c = plain(&e, false, ISOLA__NOISE_XX);
    open_end(&e, &c, false);
    feed(&e, "\x89Isola\x01\x07\0\1\0\2\0\0\0\0\0\x20", 18);
    static const uint8_t zero[32];
    feed(&e, zero, sizeof(zero));
    assert_int_equal(e.rc, ISOLA_EPROTO);
    assert_non_null(strstr(e.err.text, "small order"));
    assert_int_equal(e.out.len, ISOLA__SECURE_PREAMBLE);
    assert_memory_equal(e.out.data, "\x89Isola\x03\x03\0\1\0\2\0\0\0\0", 16);
    close_end(&e);
}

static void test_no_key(void **state)
{
    (void)state;
    static const uint8_t zero[32];
    struct end e;
    struct isola__secure_config c = plain(&e, true, ISOLA__NOISE_IK);
    c.peer = zero;
    open_end(&e, &c, true);
    assert_int_equal(isola__secure_start(&e.s, &e.out, &e.err), ISOLA_EPROTO);
    assert_int_equal(e.out.len, 0);
    assert_int_equal(e.s.state, ISOLA__SECURE_FAILED);
    close_end(&e);
}

/* What the other end learns of a refusal by verify, whenever that is. */
static void told_of_identity(struct end *e)
{
    struct isola_slice got;
    size_t size;
    if (e->s.state == ISOLA__SECURE_DONE)
        e->rc = isola__secure_open(&e->s, e->in.data, e->in.len, &got, &size, &e->err);
    assert_int_equal(e->rc, ISOLA_EPERM);
    assert_non_null(strstr(e->err.text, "refused this node's identity"));
}

static void test_verify_refuses(void **state)
{
    (void)state;
    static const int codes[] = {ISOLA_EPERM, ISOLA_EPROTO, ISOLA_EFAILED};
    FOR_BOTH(pattern)
    for (int who = 0; who < 2; who++)
        for (int i = 0; i < 3; i++) {
            struct pair p;
            open_pair(&p, pattern);
            struct end *judge = who == 0 ? &p.a : &p.b, *other = who == 0 ? &p.b : &p.a;
            judge->refuse = codes[i];
            shake(&p.a, &p.b, SIZE_MAX);
            assert_int_equal(judge->rc, codes[i]);
            assert_int_equal(judge->verified, 1);
            assert_non_null(strstr(judge->err.text, codes[i] == ISOLA_EFAILED
                                                        ? "not one that this node accepts"
                                                        : "certificate of this peer"));
            assert_int_equal(judge->s.state, ISOLA__SECURE_FAILED);
            assert_true(sodium_is_zero(judge->s.peer, 32));
            told_of_identity(other);
            uint8_t record[64] = {0};
            struct isola_slice got;
            size_t size;
            assert_int_equal(isola__secure_seal(&judge->s, record, 1, record + 2, &judge->err),
                             ISOLA_ECLOSED);
            assert_int_equal(isola__secure_open(&judge->s, record, 20, &got, &size, &judge->err),
                             ISOLA_ECLOSED);
            size_t said = judge->out.len;
            assert_int_equal(
                isola__secure_shake(&judge->s, record, 20, &size, &judge->out, &judge->err),
                ISOLA_EPROTO);
            assert_int_equal(judge->out.len, said);
            close_pair(&p);
        }
}

static void test_strangers(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        bool answered;
    } cases[] = {
        {"GET / HTTP/1.1\r\n", 16, false},
        {"\x16\x03\x01\x02\x00\x01\x00", 7, false},     /* TLS */
        {"\x00\x00\x00\x10\x99\x01\x02\x00", 8, false}, /* a frame of wire version 1 */
        {"\x89", 1, false},                             /* not yet wrong */
        {"\x89PNG\r\n\x1a\n", 8, false},
        {"\x89Isola\x04\x07\0\1\0\2\0\0\0\0", 16, true}, /* no such kind */
        {"\x89Isola\x00\x07\0\1\0\2\0\0\0\0", 16, true},
        {"\x89Isola\x03\x01\0\4\0\5\0\0\0\0", 16, true}, /* a refusal of nothing, other versions */
        {"\x89Isola\x03\x01\0\1\0\2\0\0\0\0", 16, true}, /* the same with ours */
        {"\x89Isola\x01\x07\0\2\0\1\0\0\0\0", 16, true}, /* versions the wrong way round */
        {"\x89Isola\x01\x07\0\1\0\2\0\0\0\1", 16, true}, /* reserved */
        {"\x89Isola\x02\x07\0\1\0\2\1\0\0\0", 16, true},
        {"\x89Isola\x01\x07\0\1\0\2\0\0\0\0\0\x1f", 18, true}, /* lengths of XX' first */
        {"\x89Isola\x01\x07\0\1\0\2\0\0\0\0\x20\x01", 18, true},
        {"\x89Isola\x01\x07\0\1\0\2\0\0\0\0\xff\xff", 18, true},
        {"\x89Isola\x02\x07\0\1\0\2\0\0\0\0\0\x5f", 18, true}, /* and of IK's */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t most = 1; most < 20; most += 17) {
            struct end e;
            struct isola__secure_config c = plain(&e, false, ISOLA__NOISE_XX);
            open_end(&e, &c, false);
            size_t at = 0;
            for (; at < cases[i].n && e.s.state != ISOLA__SECURE_FAILED; at += most)
                feed(&e, cases[i].bytes + at, cases[i].n - at < most ? cases[i].n - at : most);
            if (cases[i].n == 1) {
                assert_int_equal(e.rc, 0);
            } else {
                assert_int_equal(e.rc, ISOLA_EPROTO);
                assert_int_equal(e.out.len, cases[i].answered ? ISOLA__SECURE_PREAMBLE : 0);
                if (!cases[i].answered && most == 1) /* at the first byte that is wrong */
                    assert_true(at <= 2);
            }
            assert_int_equal(e.verified, 0);
            close_end(&e);
        }
}

/* The first message of XX has no payload: nobody is known yet who could have said it. */
static void test_early_payload(void **state)
{
    (void)state;
    struct end e;
    struct isola__secure_config c = plain(&e, false, ISOLA__NOISE_XX);
    open_end(&e, &c, false);
    uint8_t bytes[16 + 2 + 33] = "\x89Isola\x01\x07\0\1\0\2\0\0\0\0\0\x21";
    bytes[18] = 9; /* the base point: a key */
    feed(&e, bytes, sizeof(bytes));
    assert_int_equal(e.rc, ISOLA_EPROTO);
    assert_non_null(strstr(e.err.text, "before it was known who it is"));
    close_end(&e);
}

/* In place of what is expected, at both ends and at every step: a refusal that somebody made up. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int code;
        const char *text;
    } cases[] = {
        {"\x89Isola\x03\x01\0\4\0\5\0\0\0\0", ISOLA_EPROTO,
         "speaks wire versions 4 to 5, this node"},
        {"\x89Isola\x03\x01\0\1\0\2\0\0\0\0", ISOLA_EPROTO, "may change the traffic"},
        {"\x89Isola\x03\x02\0\1\0\2\0\0\0\0", ISOLA_EPROTO, "refused a connection for purpose 7"},
        {"\x89Isola\x03\x03\0\1\0\2\0\0\0\0", ISOLA_EPROTO, "another key than this node expects"},
        {"\x89Isola\x03\x04\0\1\0\2\0\0\0\0", ISOLA_EPERM, "refused this node's identity"},
        {"\x89Isola\x03\x63\0\1\0\2\0\0\0\0", ISOLA_EPROTO, "for reason 99"},
        {"\x89Isola\x03\x04\0\1\0\2\0\0\0\1", ISOLA_EPROTO, "not a length"},
        {"\x89Isola\x02\x04\0\1\0\2\0\0\0\0", ISOLA_EPROTO, "not a length"},
        {"\x89PNG....________", ISOLA_EPROTO, "not a length"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int step = 0; step < 3; step++)
            for (size_t most = 1; most < 20; most += 17) {
                struct pair p;
                open_pair(&p, step == 1 ? ISOLA__NOISE_XX : (enum isola__noise_pattern)(step / 2));
                struct end *e = &p.a; /* for the responder's message */
                if (step == 1) {
                    deliver(&p.a, &p.b, SIZE_MAX);
                    e = &p.b; /* for the initiator's second */
                }
                for (size_t at = 0; at < 16; at += most)
                    feed(e, cases[i].bytes + at, 16 - at < most ? 16 - at : most);
                assert_int_equal(e->rc, cases[i].code);
                assert_non_null(strstr(e->err.text, cases[i].text));
                close_pair(&p);
            }
}

static void test_no_memory(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    {
        struct pair p;
        open_pair(&p, pattern);
        struct isola_buf full = {.failed = true};
        size_t used;
        assert_int_equal(
            isola__secure_shake(&p.b.s, p.a.out.data, p.a.out.len, &used, &full, &p.b.err),
            ISOLA_ENOMEM);
        assert_int_equal(p.b.s.state, ISOLA__SECURE_FAILED);
        struct isola__secure_config c = plain(&p.a, true, pattern);
        assert_int_equal(isola__secure_init(&p.a.s, &c, true, &p.a.err), 0);
        assert_int_equal(isola__secure_start(&p.a.s, &full, &p.a.err), ISOLA_ENOMEM);
        close_pair(&p);
    }
}

/* --- a machine in the middle --- */

/* A whole handshake in which byte `at` of what one end says (counted over all it says) is changed
 * by `mask`. False: there is no such byte. */
static bool tampered(enum isola__noise_pattern pattern, bool initiators, size_t at, uint8_t mask)
{
    struct pair p;
    size_t said[2] = {0, 0};
    bool changed = false;
    open_pair(&p, pattern);
    for (bool any = true; any;) {
        any = false;
        for (int from = 0; from < 2; from++) {
            struct end *e = from == 0 ? &p.a : &p.b;
            if ((from == 0) == initiators && at >= said[from] && at < said[from] + e->out.len) {
                e->out.data[at - said[from]] ^= mask;
                changed = true;
            }
            said[from] += e->out.len;
            any |= deliver(e, from == 0 ? &p.b : &p.a, SIZE_MAX);
        }
    }
    if (changed) {
        bool both = p.a.s.state == ISOLA__SECURE_DONE && p.b.s.state == ISOLA__SECURE_DONE;
        bool failed = p.a.s.state == ISOLA__SECURE_FAILED || p.b.s.state == ISOLA__SECURE_FAILED;
        assert_false(both);
        /* or somebody waits for more, which only a length can bring about */
        if (!failed) {
            struct end *e = initiators ? &p.b : &p.a;
            assert_int_equal(e->rc, 0);
            assert_true(e->in.len >= 2);
            assert_true(2u + ((unsigned)e->in.data[0] << 8 | e->in.data[1]) > e->in.len);
        }
    }
    close_pair(&p);
    return changed;
}

static void test_every_byte(void **state)
{
    (void)state;
    static const uint8_t masks[] = {0x01, 0x80, 0x03, 0xff};
    FOR_BOTH(pattern)
    for (int initiators = 0; initiators < 2; initiators++) {
        size_t n = 0;
        for (bool any = true; any; n++)
            for (size_t i = 0; i < sizeof(masks); i++)
                any = tampered(pattern, initiators, n, masks[i]);
        assert_true(n - 1 >= 2 + 50 && n - 1 < 300);
    }
    FOR_BOTH(pattern) /* all that a preamble can be that differs in a byte */
    for (size_t at = 0; at < ISOLA__SECURE_PREAMBLE; at++)
        for (unsigned mask = 1; mask < 256; mask++)
            assert_true(tampered(pattern, true, at, (uint8_t)mask));
}

/* Versions and pattern made less than both could do, by a machine that changes the preamble: what
 * the ends would agree on is bound to what was really said. */
static void test_downgrade(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    {
        struct pair p;
        open_pair(&p, pattern);
        p.a.out.data[11] = 1; /* greatest: 1 for 2 */
        shake(&p.a, &p.b, SIZE_MAX);
        assert_true(p.a.s.state == ISOLA__SECURE_FAILED);
        assert_true(p.b.s.state == ISOLA__SECURE_FAILED);
        close_pair(&p);
    }
}

static void test_cut_off(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    for (int initiators = 0; initiators < 2; initiators++)
        for (size_t keep = 0;; keep++) {
            struct pair p;
            size_t left = keep;
            bool cut = false;
            open_pair(&p, pattern);
            for (bool any = true; any;) {
                any = false;
                for (int from = 0; from < 2; from++) {
                    struct end *e = from == 0 ? &p.a : &p.b;
                    if ((from == 0) == initiators) {
                        cut |= e->out.len > left;
                        e->out.len = e->out.len < left ? e->out.len : left;
                        left -= e->out.len;
                    }
                    any |= deliver(e, from == 0 ? &p.b : &p.a, SIZE_MAX);
                }
            }
            bool both = p.a.s.state == ISOLA__SECURE_DONE && p.b.s.state == ISOLA__SECURE_DONE;
            assert_int_equal(both, !cut);
            assert_true(p.a.rc >= 0 && p.b.rc >= 0); /* more could come */
            close_pair(&p);
            if (!cut)
                break;
        }
}

/* What was said once is said again to the same node. */
static void test_replay(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    {
        struct pair old, p;
        struct isola_buf first = {0}, rest = {0};
        open_pair(&old, pattern);
        isola_buf_append(&first, old.a.out.data, old.a.out.len);
        deliver(&old.a, &old.b, SIZE_MAX);
        deliver(&old.b, &old.a, SIZE_MAX);
        isola_buf_append(&rest, old.a.out.data, old.a.out.len);
        deliver(&old.a, &old.b, SIZE_MAX);
        uint8_t *record = isola_buf_extend(&rest, 5 + ISOLA__SECURE_OVERHEAD);
        assert_int_equal(isola__secure_seal(&old.a.s, (const uint8_t *)"again", 5, record, NULL),
                         0);

        open_pair(&p, pattern);
        feed(&p.b, first.data, first.len);
        feed(&p.b, rest.data, rest.len);
        if (pattern == ISOLA__NOISE_XX) {
            assert_int_equal(p.b.rc, ISOLA_EPROTO);
            assert_int_equal(p.b.verified, 0);
        } else { /* done, but not confirmed, and no record opens */
            struct isola_slice got;
            size_t size;
            assert_int_equal(p.b.rc, 1);
            assert_false(isola__secure_confirmed(&p.b.s));
            assert_int_equal(
                isola__secure_open(&p.b.s, p.b.in.data, p.b.in.len, &got, &size, &p.b.err),
                ISOLA_EPROTO);
            assert_false(isola__secure_confirmed(&p.b.s));
        }
        isola_buf_free(&first);
        isola_buf_free(&rest);
        close_pair(&old);
        close_pair(&p);
    }
}

static void test_reflected(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    {
        struct pair p;
        open_pair(&p, pattern);
        feed(&p.a, p.a.out.data, p.a.out.len);
        assert_int_equal(p.a.rc, ISOLA_EPROTO);
        close_pair(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_done),
        cmocka_unit_test(test_records_at_once),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_version_not_offered),
        cmocka_unit_test(test_purposes),
        cmocka_unit_test(test_other_key),
        cmocka_unit_test(test_bad_ephemeral),
        cmocka_unit_test(test_no_key),
        cmocka_unit_test(test_verify_refuses),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_early_payload),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_downgrade),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_reflected),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
