/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ends of a secure channel, and what each has said and heard: the test is the network between
 * them. A program includes it once.
 */
#ifndef ISOLA_TESTS_SECURE_ENDS_H
#define ISOLA_TESTS_SECURE_ENDS_H

#include "transport/secure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct isola_static_keys alice, bob, eve;

/* Of the group. */
static inline int setup(void **state)
{
    (void)state;
    isola_static_keys_new(&alice);
    isola_static_keys_new(&bob);
    isola_static_keys_new(&eve);
    return 0;
}

/* --- one end --- */

struct end {
    struct isola__secure s;
    struct isola_buf out; /* what it has said, and nobody has heard yet */
    struct isola_buf in;  /* what it has heard, and not used yet */
    struct isola_err err;
    int rc; /* of its last call */
    /* what verify was given */
    int verified;
    uint8_t peer[32];
    char payload[64];
    int refuse; /* verify's answer */
};

static inline int verify(void *arg, const uint8_t peer[32], struct isola_slice payload,
                         struct isola_err *err)
{
    struct end *e = arg;
    e->verified++;
    memcpy(e->peer, peer, 32);
    snprintf(e->payload, sizeof(e->payload), "%.*s", ISOLA_FMT(payload));
    if (e->refuse != 0 && e->refuse != ISOLA_EFAILED) /* that one says nothing */
        return isola_fail(err, e->refuse, "the certificate of this peer is not signed");
    return e->refuse;
}

/* Initiator and responder as they are when nothing else is said: wire versions 1 to 2. */
static inline struct isola__secure_config plain(struct end *e, bool initiator,
                                                enum isola__noise_pattern pattern)
{
    return (struct isola__secure_config){
        .keys = initiator ? &alice : &bob,
        .pattern = pattern,
        .peer = initiator && pattern == ISOLA__NOISE_IK ? bob.public_key : NULL,
        .least = 1,
        .greatest = 2,
        .purpose = 7,
        .payload = isola_slice_str(initiator ? "I am Alice" : "I am Bob"),
        .verify = verify,
        .arg = e,
    };
}

static inline void open_end(struct end *e, const struct isola__secure_config *config,
                            bool initiator)
{
    *e = (struct end){0};
    assert_int_equal(isola__secure_init(&e->s, config, initiator, &e->err), 0);
}

static inline void close_end(struct end *e)
{
    isola_buf_free(&e->out);
    isola_buf_free(&e->in);
}

/* `n` bytes arrive at it. */
static inline void feed(struct end *e, const void *bytes, size_t n)
{
    isola_buf_append(&e->in, bytes, n);
    if (e->s.state == ISOLA__SECURE_DONE || e->s.state == ISOLA__SECURE_FAILED)
        return;
    size_t used;
    e->rc = isola__secure_shake(&e->s, e->in.data, e->in.len, &used, &e->out, &e->err);
    assert_true(used <= e->in.len);
    memmove(e->in.data, e->in.data + used, e->in.len - used);
    e->in.len -= used;
    assert_int_equal(e->rc == 1, e->s.state == ISOLA__SECURE_DONE);
    assert_int_equal(e->rc < 0, e->s.state == ISOLA__SECURE_FAILED);
    if (e->rc < 0) {
        assert_int_equal(e->err.code, e->rc);
        assert_true(strlen(e->err.text) > 30);
    }
}

/* What `from` has said arrives at `to`, `most` bytes at a time. */
static inline bool deliver(struct end *from, struct end *to, size_t most)
{
    struct isola_buf said = from->out;
    from->out = (struct isola_buf){0};
    for (size_t at = 0; at < said.len; at += most)
        feed(to, said.data + at, said.len - at < most ? said.len - at : most);
    bool any = said.len > 0;
    isola_buf_free(&said);
    return any;
}

/* Until neither says anything more. */
static inline void shake(struct end *a, struct end *b, size_t most)
{
    for (bool any = true; any;) {
        any = deliver(a, b, most);
        any |= deliver(b, a, most);
    }
}

struct pair {
    struct end a, b;
};

static inline void open_pair(struct pair *p, enum isola__noise_pattern pattern)
{
    struct isola__secure_config ca = plain(&p->a, true, pattern), cb = plain(&p->b, false, pattern);
    open_end(&p->a, &ca, true);
    open_end(&p->b, &cb, false);
    assert_int_equal(isola__secure_start(&p->a.s, &p->a.out, &p->a.err), 0);
}

static inline void open_done_pair(struct pair *p, enum isola__noise_pattern pattern)
{
    open_pair(p, pattern);
    shake(&p->a, &p->b, SIZE_MAX);
    assert_int_equal(p->a.s.state, ISOLA__SECURE_DONE);
    assert_int_equal(p->b.s.state, ISOLA__SECURE_DONE);
}

static inline void close_pair(struct pair *p)
{
    close_end(&p->a);
    close_end(&p->b);
}

#define FOR_BOTH(pattern)                                                                          \
    for (enum isola__noise_pattern pattern = ISOLA__NOISE_XX; pattern <= ISOLA__NOISE_IK; pattern++)

/* One record there and one back. */
static inline void exchange(struct end *a, struct end *b)
{
    struct end *ends[] = {a, b, a};
    for (int i = 0; i < 2; i++) {
        uint8_t record[100];
        struct isola_slice got;
        struct isola_err err = {0};
        size_t size;
        assert_int_equal(isola__secure_seal(&ends[i]->s, (const uint8_t *)"words", 5, record, &err),
                         0);
        assert_int_equal(
            isola__secure_open(&ends[i + 1]->s, record, sizeof(record), &got, &size, &err), 1);
        assert_int_equal(size, 5 + ISOLA__SECURE_OVERHEAD);
        assert_true(isola_slice_is(got, "words"));
    }
}

/* Does it have this anywhere in its memory? (Inlined, GCC 12 with sanitizers sees its first field
 * alone.) */
__attribute__((noinline, unused)) static bool holds(const struct isola__secure *s,
                                                    const uint8_t secret[32])
{
    return memmem(s, sizeof(*s), secret, 32) != NULL;
}

#endif
