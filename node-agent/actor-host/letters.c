/* SPDX-License-Identifier: Apache-2.0
 *
 * What the agent asks of dead letters. A question that is to wait is kept until there is a new
 * letter or its time is over; one timer stands for them all.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"

#define WAIT_MAX_MS 60000
#define WAITING_MAX 1000

struct question {
    struct question *next;
    uint64_t id, after, until;
    struct isola_buf of;
};

struct listing {
    struct app *app;
    struct isola_buf letters;
    size_t n;
};

static void list_letter(const struct isola_host_letter *letter, void *arg)
{
    static const char *const kinds[] = {
        [ISOLA_MSG_ASK] = "ask", [ISOLA_MSG_EMIT] = "emit", [ISOLA_MSG_EVENT] = "event"};
    struct listing *l = arg;
    struct isola_buf *b = &l->letters;
    isola_mp_map(b, letter->args.len > 0 ? 10 : 9);
    isola_mp_kuint(b, "time", (uint64_t)letter->time_ms);
    isola_mp_kstr(b, "node", l->app->options.node);
    isola_mp_kstr(b, "kind", kinds[letter->kind]);
    isola_mp_cstr(b, "from");
    isola_mp_str(b, letter->from);
    isola_mp_cstr(b, "to");
    isola_mp_str(b, letter->to);
    isola_mp_cstr(b, "event");
    isola_mp_str(b, letter->event);
    isola_mp_kstr(b, "code", isola_error_name(letter->code));
    isola_mp_cstr(b, "reason");
    isola_mp_str(b, letter->reason);
    isola_mp_kuint(b, "size", letter->size);
    if (letter->args.len > 0) {
        isola_mp_cstr(b, "args"); /* bytes: numbers of objects in it count from its own beginning */
        isola_mp_bin(b, letter->args);
    }
    l->n++;
}

/* False, unless `empty` is fine too: there is none yet. */
static bool answer(struct app *app, uint64_t id, struct isola_slice of, uint64_t after, bool empty)
{
    struct listing l = {.app = app};
    uint64_t count = isola_host_letters(app->host, of, after, list_letter, &l);
    if (count < after) { /* it counts anew since this process began */
        after = 0;
        count = isola_host_letters(app->host, of, after, list_letter, &l);
    }
    if (count > after || empty) {
        struct isola_buf out = {0};
        isola_mp_map(&out, 2);
        isola_mp_cstr(&out, "letters");
        isola_mp_array(&out, l.n);
        isola_buf_append(&out, l.letters.data, l.letters.len);
        isola_mp_kuint(&out, "count", count);
        agent_link_reply(app, id, isola_buf_slice(&out));
        isola_buf_free(&out);
        empty = true;
    }
    isola_buf_free(&l.letters);
    return empty;
}

static void arm(struct app *app);

/* Answers those there is an answer for, and those whose time is over. */
static void settle(struct app *app)
{
    uint64_t now = isola_clock_ms();
    for (struct question **at = &app->letters.first; *at != NULL;) {
        struct question *q = *at;
        if (!answer(app, q->id, isola_buf_slice(&q->of), q->after, q->until <= now)) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        app->letters.waiting--;
        isola_buf_free(&q->of);
        free(q);
    }
    arm(app);
}

static void on_timer(uv_timer_t *timer)
{
    settle(timer->data);
}

static void arm(struct app *app)
{
    uint64_t least = UINT64_MAX, now = isola_clock_ms();
    for (const struct question *q = app->letters.first; q != NULL; q = q->next)
        least = q->until < least ? q->until : least;
    isola_host_watch_letters(app->host, app->letters.first != NULL);
    if (least == UINT64_MAX)
        uv_timer_stop(&app->letters.timer);
    else
        uv_timer_start(&app->letters.timer, on_timer, least > now ? least - now : 0, 0);
}

int letters_open(struct app *app, struct isola_err *err)
{
    int r = uv_timer_init(app->loop, &app->letters.timer);
    app->letters.timer.data = app;
    return r == 0 ? 0 : isola_fail(err, ISOLA_EIO, "cannot make a timer: %s", uv_strerror(r));
}

void letters_asked(struct app *app, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice of = {0};
    uint64_t after = 0, wait = 0;
    isola_mp_find_str(params, "of", &of);
    isola_mp_find_uint(params, "after", &after);
    isola_mp_find_uint(params, "wait", &wait);
    if (answer(app, m->id, of, after, wait == 0 || app->letters.waiting >= WAITING_MAX))
        return;
    struct question *q = isola_zalloc(sizeof(*q));
    q->id = m->id;
    q->after = after;
    q->until = isola_clock_ms() + (wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS);
    isola_buf_append(&q->of, of.data, of.len);
    q->next = app->letters.first;
    app->letters.first = q;
    app->letters.waiting++;
    arm(app);
    settle(app); /* one may have come before it was watched for */
}

static void run_letter(struct app *app, struct parcel *parcel)
{
    free(parcel);
    settle(app);
}

void letters_new(void *arg)
{
    struct parcel *p = isola_zalloc(sizeof(*p));
    p->run = run_letter;
    outbox_put(arg, p);
}
