/* SPDX-License-Identifier: Apache-2.0
 *
 * The records of a secure channel: nothing opens that was not sealed, in this order, by this peer.
 * And what stays in memory, and the vectors of docs/security.md.
 */
#include "secure_ends.h"

#include <pthread.h>
#include <sodium.h>

#include "transport/inflow.h"

/* --- records --- */

static size_t seal(struct end *e, const char *said, uint8_t *out)
{
    size_t n = strlen(said);
    assert_int_equal(isola__secure_seal(&e->s, (const uint8_t *)said, n, out, &e->err), 0);
    return n + ISOLA__SECURE_OVERHEAD;
}

static int open_record(struct end *e, const uint8_t *record, size_t n, const char *expected)
{
    uint8_t copy[200];
    struct isola_slice got;
    size_t size;
    memcpy(copy, record, n);
    int rc = isola__secure_open(&e->s, copy, n, &got, &size, &e->err);
    if (rc == 1)
        assert_true(isola_slice_is(got, expected));
    if (rc < 0)
        assert_true(e->err.code == rc && strlen(e->err.text) > 30);
    return rc;
}

static void test_record_bytes(void **state)
{
    (void)state;
    struct pair p;
    uint8_t record[100];
    open_done_pair(&p, ISOLA__NOISE_IK);
    size_t n = seal(&p.a, "some words", record);
    struct isola__secure before = p.b.s;
    for (size_t bit = 0; bit < 8 * n; bit++) {
        record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        p.b.s = before;
        int rc = open_record(&p.b, record, n, NULL);
        if (rc == 0) /* a greater length: more must come, and then it does not open either */
            assert_true(bit < 16 && ((unsigned)record[0] << 8 | record[1]) + 2u > n);
        else
            assert_int_equal(rc, ISOLA_EPROTO);
        record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (rc < 0) { /* and that was that */
            assert_int_equal(open_record(&p.b, record, n, NULL), ISOLA_EPROTO);
            assert_true(sodium_is_zero(p.b.s.rx.cipher.k, 32));
            uint8_t other[100];
            n = seal(&p.b, "some words", other); /* the other direction is another matter */
        }
    }
    p.b.s = before;
    for (size_t len = 0; len < n; len++) {
        struct isola_slice got;
        size_t size;
        assert_int_equal(isola__secure_open(&p.b.s, record, len, &got, &size, NULL), 0);
        assert_int_equal(size, len < 2 ? 2 : n);
    }
    assert_int_equal(open_record(&p.b, record, n, "some words"), 1);
    close_pair(&p);
}

static void test_record_order(void **state)
{
    (void)state;
    struct pair p;
    uint8_t first[100], second[100];
    open_done_pair(&p, ISOLA__NOISE_XX);
    size_t n1 = seal(&p.a, "first", first), n2 = seal(&p.a, "second", second);
    struct isola__secure before = p.b.s;
    assert_int_equal(open_record(&p.b, second, n2, NULL), ISOLA_EPROTO); /* swapped, or lost */
    p.b.s = before;
    assert_int_equal(open_record(&p.b, first, n1, "first"), 1);
    assert_int_equal(open_record(&p.b, first, n1, NULL), ISOLA_EPROTO); /* replayed */
    p.b.s = before;
    assert_int_equal(open_record(&p.a, first, n1, NULL), ISOLA_EPROTO); /* sent back */
    assert_int_equal(open_record(&p.b, first, n1, "first"), 1);
    assert_int_equal(open_record(&p.b, second, n2, "second"), 1);
    close_pair(&p);
}

static void test_record_sizes(void **state)
{
    (void)state;
    struct pair p;
    static uint8_t text[ISOLA__SECURE_PLAIN_MAX + 1],
        room[ISOLA__SECURE_PLAIN_MAX + 1 + ISOLA__SECURE_OVERHEAD];
    struct isola_slice got;
    size_t size, bytes = 0;
    static const size_t sizes[] = {0, 1, 64, 4096, ISOLA__SECURE_PLAIN_MAX};
    randombytes_buf(text, sizeof(text));
    open_done_pair(&p, ISOLA__NOISE_XX);
    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i / 2];
        const uint8_t *from = text;
        if (i % 2 == 1) { /* in place, behind the room for the header */
            memcpy(room + ISOLA__SECURE_HEADER, text, n);
            from = room + ISOLA__SECURE_HEADER;
        }
        assert_int_equal(isola__secure_seal(&p.a.s, from, n, room, &p.a.err), 0);
        assert_int_equal(isola__secure_open(&p.b.s, room, sizeof(room), &got, &size, &p.b.err), 1);
        assert_int_equal(size, n + ISOLA__SECURE_OVERHEAD);
        assert_ptr_equal(got.data, room + ISOLA__SECURE_HEADER);
        assert_true(isola_slice_eq(got, isola_slice(text, n)));
        bytes += size;
    }
    assert_int_equal(p.a.s.tx.records, 10);
    assert_int_equal(p.a.s.tx.bytes, bytes);
    assert_int_equal(p.b.s.rx.records, 10);
    assert_int_equal(p.b.s.rx.bytes, bytes);
    assert_int_equal(p.a.s.rx.records + p.b.s.tx.bytes + p.a.s.tx.rekeys, 0);
    assert_int_equal(isola__secure_seal(&p.a.s, text, sizeof(text), room, &p.a.err), ISOLA_ETOOBIG);
    assert_int_equal(p.a.s.tx.records, 10);
    for (unsigned n = 0; n < ISOLA__NOISE_TAG; n++) { /* at once, before the rest has come */
        struct isola__secure s = p.b.s;
        uint8_t header[2] = {0, (uint8_t)n};
        assert_int_equal(isola__secure_open(&s, header, 2, &got, &size, &p.b.err), ISOLA_EPROTO);
    }
    close_pair(&p);
}

static void test_before_done(void **state)
{
    (void)state;
    struct pair p;
    uint8_t bytes[100] = {0};
    struct isola_slice got;
    size_t size;
    open_pair(&p, ISOLA__NOISE_XX);
    assert_int_equal(isola__secure_seal(&p.a.s, bytes, 3, bytes + 50, &p.a.err), ISOLA_ECLOSED);
    assert_int_equal(isola__secure_open(&p.a.s, bytes, 50, &got, &size, &p.a.err), ISOLA_ECLOSED);
    close_pair(&p);
}

/* Across the boundary twice; the keys differ, and the old ones are in memory no more. */
static void test_rekey(void **state)
{
    (void)state;
    struct pair p;
    uint8_t record[64], text[8] = {0}, keys[3][32];
    struct isola_slice got;
    size_t size;
    open_done_pair(&p, ISOLA__NOISE_IK);
    memcpy(keys[0], p.a.s.tx.cipher.k, 32);
    for (unsigned i = 0; i < 2 * ISOLA__SECURE_REKEY_EVERY + 3; i++) {
        text[0] = (uint8_t)i;
        assert_int_equal(isola__secure_seal(&p.a.s, text, sizeof(text), record, NULL), 0);
        unsigned age = (i + 1) / ISOLA__SECURE_REKEY_EVERY;
        assert_int_equal(p.a.s.tx.rekeys, age);
        memcpy(keys[age], p.a.s.tx.cipher.k, 32);
        assert_int_equal(isola__secure_open(&p.b.s, record, sizeof(record), &got, &size, NULL), 1);
        assert_true(isola_slice_eq(got, isola_slice(text, sizeof(text))));
        assert_int_equal(p.b.s.rx.rekeys, age);
    }
    assert_int_equal(p.b.s.tx.rekeys, 0); /* the other direction counts for itself */
    for (int i = 0; i < 2; i++) {
        assert_memory_not_equal(keys[i], keys[i + 1], 32);
        assert_null(memmem(&p.a.s, sizeof(p.a.s), keys[i], 32));
        assert_null(memmem(&p.b.s, sizeof(p.b.s), keys[i], 32));
    }
    /* whoever has not replaced the key opens nothing */
    struct isola__noise_cipher *c = &p.a.s.tx.cipher;
    memcpy(c->k, keys[1], 32);
    assert_int_equal(isola__secure_seal(&p.a.s, text, sizeof(text), record, NULL), 0);
    assert_int_equal(open_record(&p.b, record, 8 + ISOLA__SECURE_OVERHEAD, NULL), ISOLA_EPROTO);
    close_pair(&p);
}

static void test_nonces_end(void **state)
{
    (void)state;
    struct pair p;
    uint8_t record[100];
    open_done_pair(&p, ISOLA__NOISE_IK);
    p.a.s.tx.cipher.n = p.b.s.rx.cipher.n = UINT64_MAX - 1;
    size_t n = seal(&p.a, "the last", record);
    assert_int_equal(open_record(&p.b, record, n, "the last"), 1);
    assert_int_equal(isola__secure_seal(&p.a.s, record, 1, record + 50, &p.a.err), ISOLA_ECLOSED);
    assert_non_null(strstr(p.a.err.text, "connect anew"));
    assert_int_equal(open_record(&p.b, record, n, NULL), ISOLA_EPROTO);
    assert_non_null(strstr(p.b.err.text, "connect anew"));
    close_pair(&p);
}

/* Sealing and opening of one end on two threads at once. */
static void *open_many(void *arg)
{
    struct end *e = arg;
    for (size_t at = 0; at < e->in.len;) {
        struct isola_slice got;
        size_t size;
        if (isola__secure_open(&e->s, e->in.data + at, e->in.len - at, &got, &size, NULL) != 1)
            return e;
        at += size;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct pair p;
    enum { RECORDS = 5000 };
    open_done_pair(&p, ISOLA__NOISE_XX);
    for (int i = 0; i < RECORDS; i++)
        seal(&p.b, "to be opened", isola_buf_extend(&p.a.in, 12 + ISOLA__SECURE_OVERHEAD));
    pthread_t thread;
    void *wrong = &p;
    assert_int_equal(pthread_create(&thread, NULL, open_many, &p.a), 0);
    for (int i = 0; i < RECORDS; i++)
        seal(&p.a, "to be opened", isola_buf_extend(&p.b.in, 12 + ISOLA__SECURE_OVERHEAD));
    assert_int_equal(pthread_join(thread, &wrong), 0);
    assert_null(wrong);
    assert_null(open_many(&p.b));
    assert_int_equal(p.a.s.rx.records, RECORDS);
    assert_int_equal(p.b.s.rx.records, RECORDS);
    close_pair(&p);
}

/* --- memory --- */

static void test_wiped(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    {
        struct pair p;
        uint8_t ephemeral[32];
        open_pair(&p, pattern);
        memcpy(ephemeral, p.a.s.noise.e.secret_key, 32);
        assert_true(holds(&p.a.s, alice.secret_key) && holds(&p.a.s, ephemeral));
        shake(&p.a, &p.b, SIZE_MAX);
        assert_false(holds(&p.a.s, alice.secret_key) || holds(&p.a.s, ephemeral));
        assert_false(holds(&p.b.s, bob.secret_key));
        assert_true(sodium_is_zero((uint8_t *)&p.b.s.noise, sizeof(p.b.s.noise)));
        isola__secure_wipe(&p.a.s);
        assert_true(sodium_is_zero((uint8_t *)&p.a.s, sizeof(p.a.s)));
        close_pair(&p);

        open_pair(&p, pattern); /* and when it fails */
        feed(&p.a, "\x89Isola\x03\x04\0\1\0\2\0\0\0\0", 16);
        assert_false(holds(&p.a.s, alice.secret_key));
        assert_true(sodium_is_zero((uint8_t *)&p.a.s.noise, sizeof(p.a.s.noise)));
        close_pair(&p);
    }
}

/* --- the vectors of docs/security.md --- */

/* Checks `bytes` with the line "name = hex" of the documentation (which SECURE_VECTORS=print shows
 * as it should be). */
static void check_vector(const char *docs, const char *name, const uint8_t *bytes, size_t n)
{
    static char hex[1000], line[1100];
    assert_true(2 * n < sizeof(hex));
    sodium_bin2hex(hex, sizeof(hex), bytes, n);
    snprintf(line, sizeof(line), "\n%s = %s\n", name, hex);
    if (getenv("SECURE_VECTORS") != NULL)
        printf("%s", line + 1);
    else if (strstr(docs, line) == NULL)
        fail_msg("docs/security.md does not have: %s", line + 1);
}

static void fixed(struct isola_static_keys *pair, int byte)
{
    uint8_t secret[32];
    memset(secret, byte, sizeof(secret));
    isola_static_keys_from(secret, pair);
}

static void check_vectors_of(enum isola__noise_pattern pattern, const char *docs)
{
    struct isola_static_keys a, b;
    struct pair p;
    uint8_t secret[32], record[64];
    char name[64];
    const char *which = pattern == ISOLA__NOISE_XX ? "XX" : "IK";
    fixed(&a, 1);
    fixed(&b, 3);
    struct isola__secure_config ca = plain(&p.a, true, pattern), cb = plain(&p.b, false, pattern);
    ca.keys = &a;
    ca.peer = pattern == ISOLA__NOISE_IK ? b.public_key : NULL;
    cb.keys = &b;
    cb.least = 2, cb.greatest = 3;
    open_end(&p.a, &ca, true);
    open_end(&p.b, &cb, false);

    memset(secret, 2, 32);
    isola__secure_fix_ephemeral(&p.a.s, secret);
    memset(secret, 4, 32);
    isola__secure_fix_ephemeral(&p.b.s, secret);
    assert_int_equal(isola__secure_start(&p.a.s, &p.a.out, &p.a.err), 0);
    snprintf(name, sizeof(name), "%s preamble", which);
    check_vector(docs, name, p.a.out.data, 16);
    snprintf(name, sizeof(name), "%s message 1", which);
    check_vector(docs, name, p.a.out.data + 16, p.a.out.len - 16);
    deliver(&p.a, &p.b, SIZE_MAX);
    snprintf(name, sizeof(name), "%s message 2", which);
    check_vector(docs, name, p.b.out.data, p.b.out.len);
    deliver(&p.b, &p.a, SIZE_MAX);
    if (pattern == ISOLA__NOISE_XX) {
        check_vector(docs, "XX message 3", p.a.out.data, p.a.out.len);
        deliver(&p.a, &p.b, SIZE_MAX);
    }
    assert_int_equal(p.a.rc, 1);
    assert_int_equal(p.b.rc, 1);
    snprintf(name, sizeof(name), "%s handshake hash", which);
    check_vector(docs, name, p.a.s.hash, sizeof(p.a.s.hash));
    snprintf(name, sizeof(name), "%s initiator's record 0", which);
    check_vector(docs, name, record, seal(&p.a, "hello", record));
    for (unsigned i = 1; i < ISOLA__SECURE_REKEY_EVERY; i++)
        seal(&p.a, "", record);
    snprintf(name, sizeof(name), "%s initiator's record 65536", which);
    check_vector(docs, name, record, seal(&p.a, "hello", record));
    snprintf(name, sizeof(name), "%s responder's record 0", which);
    check_vector(docs, name, record, seal(&p.b, "hello", record));
    close_pair(&p);
}

static void test_vectors(void **state)
{
    (void)state;
    FILE *f = fopen(ISOLA_SOURCE "/docs/security.md", "rb");
    static char docs[200000];
    assert_non_null(f);
    size_t n = fread(docs, 1, sizeof(docs) - 1, f);
    assert_true(n > 0 && n < sizeof(docs) - 1);
    fclose(f);
    FOR_BOTH(pattern)
    check_vectors_of(pattern, docs);
    /* a refusal, by a node that speaks wire versions 4 to 5 */
    struct pair p;
    open_pair(&p, ISOLA__NOISE_XX);
    struct isola__secure_config cb = plain(&p.b, false, ISOLA__NOISE_XX);
    cb.least = 4, cb.greatest = 5;
    open_end(&p.b, &cb, false);
    deliver(&p.a, &p.b, SIZE_MAX);
    check_vector(docs, "refusal by versions 4 to 5", p.b.out.data, p.b.out.len);
    close_pair(&p);
}

/* --- large frames --- */

/* Opened to another place, and looked at before: which proves nothing. */
static void test_record_elsewhere(void **state)
{
    (void)state;
    struct pair p;
    uint8_t text[5000], record[sizeof(text) + ISOLA__SECURE_OVERHEAD], to[sizeof(text)], head[8];
    size_t size, plain, n = sizeof(record);
    randombytes_buf(text, sizeof(text));
    open_done_pair(&p, ISOLA__NOISE_XX);
    assert_int_equal(isola__secure_seal(&p.a.s, text, sizeof(text), record, &p.a.err), 0);
    struct isola__secure before = p.b.s;
    assert_false(isola__secure_peek(&p.b.s, record, n - 1, 8, &plain, head, 8));
    assert_false(isola__secure_peek(&p.b.s, record, 1, 8, &plain, head, 8));
    assert_false(isola__secure_peek(&p.b.s, record, n, sizeof(text) + 1, &plain, head, 8));
    assert_true(isola__secure_peek(&p.b.s, record, n, sizeof(text), &plain, head, 8));
    assert_int_equal(plain, sizeof(text));
    assert_memory_equal(head, text, 8);
    for (size_t at = 2; at < n; at += 1249) { /* changed, here or there: it does not open */
        record[at] ^= 4;
        p.b.s = before;
        assert_true(isola__secure_peek(&p.b.s, record, n, 8, &plain, head, 8));
        assert_int_equal(isola__secure_open_to(&p.b.s, record, n, to, &size, &p.b.err),
                         ISOLA_EPROTO);
        assert_false(isola__secure_peek(&p.b.s, record, n, 8, &plain, head, 8));
        record[at] ^= 4;
    }
    p.b.s = before;
    assert_int_equal(isola__secure_open_to(&p.b.s, record, n - 1, to, &size, &p.b.err), 0);
    assert_int_equal(size, n);
    assert_int_equal(isola__secure_open_to(&p.b.s, record, n, to, &size, &p.b.err), 1);
    assert_memory_equal(to, text, sizeof(text));
    assert_int_equal(p.b.s.rx.records, 1);
    close_pair(&p);
}

static void put32(uint8_t *p, size_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* A record of items of these kinds and numbers: frames of `total` bytes are begun, or go on with
 * `n` bytes from `from`. A kind of 3 is a ping. */
struct piece {
    uint8_t kind, number;
    size_t total, from, n;
};
static uint8_t frames[2][30000];
static struct isola_buf sealed_pieces(struct pair *p, const struct piece *pieces, size_t count)
{
    struct isola_buf items = {0}, record = {0};
    for (size_t i = 0; i < count; i++) {
        const struct piece *c = &pieces[i];
        size_t head = c->kind == ISOLA__ITEM_OPEN ? 12 : c->kind == ISOLA__ITEM_PART ? 4 : 0;
        uint8_t h[16];
        put32(h, head + c->n);
        h[0] = (uint8_t)(0x80 | c->kind);
        put32(h + 4, c->number);
        put32(h + 8, 0);
        put32(h + 12, c->total);
        isola_buf_append(&items, h, 4 + head);
        isola_buf_append(&items, frames[c->number % 2] + c->from, c->n);
    }
    isola_buf_extend(&record, items.len + ISOLA__SECURE_OVERHEAD);
    assert_int_equal(isola__secure_seal(&p->a.s, items.data, items.len, record.data, &p->a.err), 0);
    isola_buf_free(&items);
    return record;
}

/* What comes of records: the frames that get whole, one behind the other; then the error or 0. */
static int came_of(struct pair *p, const struct isola_buf *records, size_t count, size_t torn,
                   struct isola_buf *whole)
{
    struct isola__inflow in = {.secure = &p->b.s};
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        for (size_t at = 0; at < records[i].len && rc == 0;) {
            uint8_t *to;
            size_t room, n = records[i].len - at;
            enum isola__item kind;
            struct isola_slice f;
            assert_int_equal(isola__inflow_room(&in, &to, &room), 0);
            n = n < torn ? n : torn;
            n = n < room ? n : room;
            memcpy(to, records[i].data + at, n);
            at += n;
            isola__inflow_arrived(&in, n);
            while ((rc = isola__inflow_next(&in, &kind, &f, &p->b.err)) == 1)
                if (kind == ISOLA__ITEM_FRAME)
                    isola_buf_append(whole, f.data, f.len);
        }
    isola__inflow_free(&in);
    return rc;
}

static void check_pieces(const struct piece (*pieces)[3], const size_t *counts, size_t n,
                         size_t torn, size_t changed, int want, const char *why, size_t first,
                         size_t second)
{
    struct pair p;
    struct isola_buf records[8], whole = {0};
    open_done_pair(&p, ISOLA__NOISE_IK);
    for (size_t i = 0; i < n; i++)
        records[i] = sealed_pieces(&p, pieces[i], counts[i]);
    if (changed > 0)
        records[n - 1].data[changed] ^= 1;
    assert_int_equal(came_of(&p, records, n, torn, &whole), want);
    if (want < 0 && strstr(p.b.err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", p.b.err.text, why);
    assert_int_equal(whole.len, first + second);
    if (first > 0)
        assert_memory_equal(whole.data, frames[1], first);
    if (second > 0)
        assert_memory_equal(whole.data + first, frames[0], second);
    for (size_t i = 0; i < n; i++)
        isola_buf_free(&records[i]);
    isola_buf_free(&whole);
    close_pair(&p);
}

/* Parts that have a record for themselves, and others; of two frames at once; and bad ones. */
static void test_parts(void **state)
{
    (void)state;
    enum { O = ISOLA__ITEM_OPEN, P = ISOLA__ITEM_PART, PING = ISOLA__ITEM_PING };
    randombytes_buf(frames, sizeof(frames));
    static const size_t tears[] = {1000, 70000};
    for (size_t t = 0; t < 2; t++) {
        size_t torn = tears[t];
        const struct piece two[][3] = {{{O, 1, 20000, 0, 3}},
                                       {{P, 1, 0, 3, 5000}}, /* over less than its header */
                                       {{O, 2, 25000, 0, 6000}},
                                       {{P, 1, 0, 5003, 10000}},
                                       {{P, 2, 0, 6000, 9000}, {PING, 1, 0, 0, 8}},
                                       {{P, 1, 0, 15003, 4997}},
                                       {{P, 2, 0, 15000, 4000}},
                                       {{P, 2, 0, 19000, 6000}}};
        check_pieces(two, (const size_t[]){1, 1, 1, 1, 2, 1, 1, 1}, 8, torn, 0, 0, "", 20000,
                     25000);
        const struct piece more[][3] = {{{O, 1, 20000, 0, 10000}}, {{P, 1, 0, 0, 10001}}};
        check_pieces(more, (const size_t[]){1, 1}, 2, torn, 0, ISOLA_EPROTO,
                     "10001 bytes for large frame 1, which lacks 10000", 0, 0);
        const struct piece none[][3] = {{{O, 1, 20000, 0, 10000}}, {{P, 2, 0, 0, 10000}}};
        check_pieces(none, (const size_t[]){1, 1}, 2, torn, 0, ISOLA_EPROTO,
                     "a part of large frame 2, which was not begun", 0, 0);
        const struct piece changed[][3] = {{{O, 1, 20000, 0, 10000}}, {{P, 1, 0, 10000, 10000}}};
        check_pieces(changed, (const size_t[]){1, 1}, 2, torn, 0, 0, "", 20000, 0);
        for (size_t at = 2; at < 10026; at += 1113)
            check_pieces(changed, (const size_t[]){1, 1}, 2, torn, at, ISOLA_EPROTO,
                         "does not open", 0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_bytes), cmocka_unit_test(test_record_order),
        cmocka_unit_test(test_record_sizes), cmocka_unit_test(test_before_done),
        cmocka_unit_test(test_rekey),        cmocka_unit_test(test_nonces_end),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_wiped),
        cmocka_unit_test(test_vectors),      cmocka_unit_test(test_record_elsewhere),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
