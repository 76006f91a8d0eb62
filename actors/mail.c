/* SPDX-License-Identifier: Apache-2.0
 *
 * Mails and their memory. Small ones, which most are, come from a list each thread keeps for
 * itself; whoever frees one puts it into its own list. Traffic between two threads is mostly in
 * pairs of question and answer, so the lists stay level; a longer list than POOL_MAX goes back to
 * malloc.
 */
#include "actors/mail.h"

#include <stdio.h>

#include "actors/internal.h"
#include "base/msgpack.h"

#define POOL_SIZE 320 /* bytes of a pooled mail, with its text */
#define POOL_MAX  4096

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOLED false /* they are to see every use after free */
#else
#define POOLED true
#endif

static _Thread_local struct {
    struct isola_mail *first;
    size_t count;
} pool;

static struct isola_mail *allocate(size_t bytes)
{
    struct isola_mail *m = pool.first;
    bool pooled = POOLED && sizeof(*m) + bytes <= POOL_SIZE;
    if (pooled && m != NULL) {
        pool.first = m->next;
        pool.count--;
    } else {
        m = malloc(pooled ? POOL_SIZE : sizeof(*m) + bytes);
    }
    if (m != NULL)
        *m = (struct isola_mail){.pooled = pooled};
    return m;
}

static void release(struct isola_mail *m)
{
    if (m->pooled && pool.count < POOL_MAX) {
        m->next = pool.first;
        pool.first = m;
        pool.count++;
    } else {
        free(m);
    }
}

static struct isola_slice store(uint8_t **at, struct isola_slice s)
{
    struct isola_slice copy = isola_slice(*at, s.len);
    if (s.len > 0)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

struct isola_mail *isola_mail_new(int kind, struct isola_slice src, struct isola_slice dst,
                                  struct isola_slice event, struct isola_slice chain,
                                  struct isola_slice args)
{
    size_t bytes = src.len + dst.len + event.len + chain.len + args.len;
    struct isola_mail *m = allocate(bytes);
    if (m == NULL)
        return NULL;
    m->kind = kind;
    uint8_t *at = (uint8_t *)(m + 1);
    m->src = store(&at, src);
    m->dst = store(&at, dst);
    m->event = store(&at, event);
    m->chain = store(&at, chain);
    m->args = store(&at, args);
    return m;
}

struct isola_mail *isola_mail_answer(struct isola_origin origin, bool ok, struct isola_slice args)
{
    struct isola_slice none = {0};
    struct isola_mail *m =
        isola_mail_new(ok ? ISOLA_MSG_REPLY : ISOLA_MSG_FAIL, none, none, none, none, args);
    if (m != NULL)
        m->origin = origin;
    else if (origin.realm != NULL)
        isola__realm_unref(origin.realm);
    return m;
}

struct isola_mail *isola_mail_failure(struct isola_origin origin, int code, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_error(&args, code, text, NULL);
    struct isola_mail *m = isola_mail_answer(origin, false, isola_buf_slice(&args));
    isola_buf_free(&args);
    return m;
}

void isola_origin_drop(struct isola_origin origin)
{
    if (origin.realm != NULL)
        isola__realm_unref(origin.realm);
}

void isola__mail_uncount(struct isola_mail *m)
{
    if (m->counted != NULL)
        atomic_fetch_sub(&m->counted->mail_bytes, m->args.len);
    m->counted = NULL;
}

void isola_mail_free(struct isola_mail *m)
{
    if (m == NULL)
        return;
    isola__mail_uncount(m);
    if (m->origin.realm != NULL)
        isola__realm_unref(m->origin.realm);
    release(m);
}
