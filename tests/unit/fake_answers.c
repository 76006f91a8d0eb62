/* SPDX-License-Identifier: Apache-2.0
 *
 * What a world sends to its host, and what that tells: answers, events, lines of the log, scripts
 * that cannot be stopped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "fake_world_parts.h"

void world__answer(void *arg, struct isola_mail *mail)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    if (mail->kind == ISOLA_MSG_EVENT) {
        isola_mailq_push(&w->events, mail);
        world__changed(w);
        return;
    }
    ISOLA_CHECK(mail->origin.id > 0 && mail->origin.id <= w->noutcomes);
    struct outcome *o = &w->outcomes[mail->origin.id - 1];
    ISOLA_CHECK(o->kind == 0); /* answered once */
    ISOLA_CHECK(!mail->traced);
    struct isola_slice value;
    struct isola_mp_error e = {0};
    struct isola_mp_item item = {0};
    ISOLA_CHECK(isola_mp_at(mail->args, 0, &value));
    o->kind = mail->kind;
    o->order = ++w->answers;
    o->stored = w->writes;
    if (mail->kind == ISOLA_MSG_FAIL) {
        ISOLA_CHECK(isola_mp_read_error(value, &e));
        o->code = e.code;
        snprintf(o->text, sizeof(o->text), "%.*s", ISOLA_FMT(e.message));
    } else {
        struct isola_mp_reader r = isola_mp_reader(value);
        ISOLA_CHECK(isola_mp_next(&r, &item) == 0);
        if (item.type == ISOLA_MP_STR)
            snprintf(o->text, sizeof(o->text), "%.*s", ISOLA_FMT(item.bytes));
        o->is_bool = item.type == ISOLA_MP_BOOL;
        o->value = item.type == ISOLA_MP_BOOL ? item.b : world__int(value);
    }
    world__changed(w);
    isola_mail_free(mail);
}

void world__log(void *arg, enum isola_log_level level, struct isola_slice address,
                struct isola_slice text)
{
    struct world *w = arg;
    (void)level;
    pthread_mutex_lock(&w->lock);
    if ((w->nlog & (w->nlog - 1)) == 0)
        w->log = isola_realloc(w->log, (w->nlog ? 2 * w->nlog : 1) * sizeof(char *));
    w->log[w->nlog++] = isola_format("%.*s: %.*s", ISOLA_FMT(address), ISOLA_FMT(text));
    world__changed(w);
}

void world__drained_now(void *arg)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    ISOLA_CHECK(!w->drained);
    w->drained = true;
    world__changed(w);
}

void world__stuck(void *arg, struct isola_slice address, const char *why)
{
    struct world *w = arg;
    char *said = isola_format("%.*s: %s", ISOLA_FMT(address), why);
    pthread_mutex_lock(&w->lock);
    ISOLA_CHECK(w->stuck == NULL);
    w->stuck = said;
    world__changed(w);
    for (;;)
        pause();
}

void world__lifted_one(void *arg, struct isola_slice address)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    w->lifted++;
    snprintf(w->lifted_last, sizeof(w->lifted_last), "%.*s", ISOLA_FMT(address));
    world__changed(w);
}

uint64_t world_number(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    if (w->noutcomes == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->outcomes = isola_realloc(w->outcomes, w->cap * sizeof(*w->outcomes));
    }
    w->outcomes[w->noutcomes] = (struct outcome){0};
    uint64_t id = ++w->noutcomes;
    pthread_mutex_unlock(&w->lock);
    return id;
}

static uint64_t post(struct world *w, int kind, uint64_t link, const char *address,
                     const char *event, const char *program, uint64_t id)
{
    struct isola_buf args = {0};
    struct isola_slice none = {0};
    if (program != NULL) {
        isola_mp_array(&args, 1);
        isola_mp_cstr(&args, program);
    }
    struct isola_mail *m = isola_mail_new(kind, none, isola_slice_str(address),
                                          isola_slice_str(event), none, isola_buf_slice(&args));
    isola_buf_free(&args);
    m->origin.link = link;
    m->origin.id = id;
    isola_host_post(w->host, m);
    return id;
}

uint64_t world_ask(struct world *w, const char *address, const char *program)
{
    return post(w, ISOLA_MSG_ASK, WORLD_LINK, address, "run", program, world_number(w));
}

void world_emit(struct world *w, const char *address, const char *program)
{
    (void)post(w, ISOLA_MSG_EMIT, 0, address, "run", program, 0);
}

uint64_t world_stop(struct world *w, const char *address)
{
    return post(w, ISOLA_MSG_STOP, WORLD_LINK, address, "", NULL, world_number(w));
}

uint64_t world_start(struct world *w, const char *address)
{
    return post(w, ISOLA_MSG_START, WORLD_LINK, address, "", NULL, world_number(w));
}

uint64_t world_sub(struct world *w, uint64_t link, const char *address, const char *event)
{
    return post(w, ISOLA_MSG_SUB, link, address, event, NULL, world_number(w));
}

void world_unsub(struct world *w, uint64_t link, uint64_t id, const char *address,
                 const char *event)
{
    (void)post(w, ISOLA_MSG_UNSUB, link, address, event, NULL, id);
}

struct outcome world_outcome(struct world *w, uint64_t id)
{
    pthread_mutex_lock(&w->lock);
    struct outcome o = w->outcomes[id - 1];
    pthread_mutex_unlock(&w->lock);
    return o;
}

struct outcome world_await(struct world *w, uint64_t id)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->outcomes[id - 1].kind == 0)
        world__wait_for(w, deadline, "an answer");
    struct outcome o = w->outcomes[id - 1];
    pthread_mutex_unlock(&w->lock);
    return o;
}

void must_reply(struct world *w, uint64_t id, int64_t value)
{
    struct outcome o = world_await(w, id);
    if (o.kind != ISOLA_MSG_REPLY)
        fail_msg("%s: %s", isola_error_name(o.code), o.text);
    assert_int_equal(o.value, value);
}

void must_fail(struct world *w, uint64_t id, int code)
{
    struct outcome o = world_await(w, id);
    assert_int_equal(o.kind, ISOLA_MSG_FAIL);
    if (o.code != code)
        fail_msg("%s, not %s: %s", isola_error_name(o.code), isola_error_name(code), o.text);
}

static unsigned count_events(const struct world *w, uint64_t link)
{
    unsigned n = 0;
    for (const struct isola_mail *m = w->events.head; m != NULL; m = m->next)
        n += m->origin.link == link;
    return n;
}

unsigned world_events(struct world *w, uint64_t link)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = count_events(w, link);
    pthread_mutex_unlock(&w->lock);
    return n;
}

void world_await_events(struct world *w, uint64_t link, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (count_events(w, link) < n)
        world__wait_for(w, deadline, "an event");
    pthread_mutex_unlock(&w->lock);
}

static unsigned count_log(const struct world *w, const char *part)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->nlog; i++)
        n += strstr(w->log[i], part) != NULL;
    return n;
}

unsigned world_logged(struct world *w, const char *part)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = count_log(w, part);
    pthread_mutex_unlock(&w->lock);
    return n;
}

void world_await_logged(struct world *w, const char *part, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (count_log(w, part) < n)
        world__wait_for(w, deadline, part);
    pthread_mutex_unlock(&w->lock);
}

void world_await_drained(struct world *w)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (!w->drained)
        world__wait_for(w, deadline, "the end of the drain");
    pthread_mutex_unlock(&w->lock);
}

const char *world_await_stuck(struct world *w)
{
    w->expected_stuck = true; /* by this thread alone */
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->stuck == NULL)
        world__wait_for(w, deadline, "a script that cannot be stopped");
    pthread_mutex_unlock(&w->lock);
    return w->stuck;
}

unsigned world_lifted(struct world *w, char last[100])
{
    pthread_mutex_lock(&w->lock);
    unsigned n = w->lifted;
    memcpy(last, w->lifted_last, sizeof(w->lifted_last));
    pthread_mutex_unlock(&w->lock);
    return n;
}

bool world_drained(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    bool is = w->drained;
    pthread_mutex_unlock(&w->lock);
    return is;
}
