/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable messages, as their sender and their receiver have them: at least once on the way, exactly
 * once in the receiver's state.
 *
 * The happy path. A script sends one: it is an effect like others, but when its turn is settled it
 * gets the sender's next number and is a row (OUTBOX) of the transaction that saves the sender's
 * state, also when that has not changed; once that is on disk it goes to the outbox (outbox.c), and
 * from there to the receiver, again and again. The receiver runs it when its turn comes; that it
 * has (DONE), and what it has answered to an ask (ANSWER), are rows of the transaction that saves
 * what the handler has changed. The ACK, or the REPLY or FAIL of an ask, is an effect behind that
 * write; it takes the message out of the outbox. So a crash between leaves neither or both.
 *
 * What comes again is known by its number, which is not above that of DONE: it is acknowledged, or
 * answered from ANSWER, and not run. What does not follow what was done (`before` says what it
 * follows) is dropped, and comes again in its order. Messages of one sender run one after the
 * other, in a reentrant actor too.
 *
 * Failure modes. What finds no room, or an actor that cannot start, has failed or is about to end,
 * is dropped without a word, and comes again. What can never be delivered (no such app or type, no
 * permission, too large, a deadlock) is a dead letter, and a FAIL tells its sender; so it is with
 * an emit that no handler takes, which is done. A message whose turn crashes the actor comes again,
 * and is given up likewise after CRASHES in a row. An answer longer than ANSWER_MAX is not kept: an
 * ask that comes again gets ETOOBIG.
 *
 * Answers are kept until a message of the pair comes with nothing unacknowledged before it (all
 * answers before have arrived), and the last ANSWERS of a pair at the most.
 *
 * Invariants: of a pair the numbers that are done only grow, and DONE is written with or after all
 * that was done up to it; no ACK leaves before the row that it speaks of is on disk.
 */
#include "actors/durable.h"

#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/pace.h"
#include "actors/permit.h"
#include "base/msgpack.h"

#define ANSWER_MAX (64u << 10) /* bytes */
#define ANSWERS    256
#define HELD_MAX   1024 /* of a pair, while one of it runs */
#define CRASHES    3
#define TABLE_MAX  100000 /* programs; messages that crashed */

struct answer {
    struct answer *next; /* a later one */
    uint64_t seq;
    bool ok, fresh;        /* fresh: not written yet */
    struct isola_buf args; /* empty: too long */
};

/* What an actor knows of one that sends to it. */
struct heard {
    struct heard *next_dirty;
    char *text;
    size_t len;
    uint64_t done;
    uint64_t running; /* the message of the turn under way, or 0 */
    uint64_t forget;  /* answers up to here are to be removed from the store, or 0 */
    bool dirty;
    struct answer *answers, **answers_tail;
    unsigned nanswers;
    struct isola_mailq held;
};

/* An actor's. */
struct isola_durable {
    uint64_t sent;          /* the number given out last */
    unsigned fresh;         /* messages among its effects without one */
    struct isola_map heard; /* sender → struct heard */
    struct heard *dirty;
};

/* A message that crashed its receiver, and how often in a row. */
struct crashed {
    uint64_t seq;
    unsigned times;
};

static struct isola_durable *of(struct isola_actor *a)
{
    if (a->durable == NULL)
        a->durable = isola_zalloc(sizeof(*a->durable));
    return a->durable;
}

static struct isola_slice name_of(const struct heard *p)
{
    return isola_slice(p->text, p->len);
}

static struct heard *heard_of(struct isola_actor *a, struct isola_slice sender)
{
    struct isola_durable *d = of(a);
    struct heard *p = isola_map_get(&d->heard, sender);
    if (p == NULL) {
        p = isola_zalloc(sizeof(*p));
        p->text = isola_strndup((const char *)sender.data, sender.len);
        p->len = sender.len;
        p->answers_tail = &p->answers;
        isola_map_set(&d->heard, sender, p);
    }
    return p;
}

static void mark(struct isola_actor *a, struct heard *p)
{
    if (p->dirty)
        return;
    p->dirty = true;
    p->next_dirty = a->durable->dirty;
    a->durable->dirty = p;
}

static void count(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- answers that are kept --- */

static void forget_first(struct heard *p)
{
    struct answer *first = p->answers;
    p->answers = first->next;
    if (p->answers == NULL)
        p->answers_tail = &p->answers;
    p->nanswers--;
    p->forget = first->seq;
    isola_buf_free(&first->args);
    free(first);
}

static struct answer *keep_answer(struct heard *p, uint64_t seq, bool ok, struct isola_slice args)
{
    struct answer *x = isola_zalloc(sizeof(*x));
    x->seq = seq;
    x->ok = ok;
    isola_buf_append(&x->args, args.data, args.len);
    *p->answers_tail = x;
    p->answers_tail = &x->next;
    p->nanswers++;
    return x;
}

/* --- rows --- */

bool isola__durable_dirty(const struct isola_actor *a)
{
    return a->durable != NULL && (a->durable->fresh > 0 || a->durable->dirty != NULL);
}

void isola__durable_sent(struct isola_actor *a)
{
    of(a)->fresh++;
}

static void rows_sent(struct isola_actor *a, struct isola_kept_rows *out)
{
    struct isola_durable *d = a->durable;
    struct isola_buf value = {0};
    uint8_t number[8];
    for (struct isola_mail *m = a->effects.head; m != NULL && d->fresh > 0; m = m->next) {
        if (!m->durable || (m->kind != ISOLA_MSG_ASK && m->kind != ISOLA_MSG_EMIT))
            continue;
        d->fresh--;
        m->seq = ++d->sent;
        struct isola_kept row = {.part = ISOLA_KEPT_OUTBOX,
                                 .peer = m->dst,
                                 .seq = m->seq,
                                 .value = isola__outbox_value(&value, m)};
        isola_kept_add(out, &row);
    }
    struct isola_kept last = {.part = ISOLA_KEPT_SENT, .value = isola_kept_number(number, d->sent)};
    isola_kept_add(out, &last);
    isola_buf_free(&value);
}

static void rows_heard(struct heard *p, struct isola_kept_rows *out)
{
    uint8_t number[8];
    struct isola_kept done = {
        .part = ISOLA_KEPT_DONE, .peer = name_of(p), .value = isola_kept_number(number, p->done)};
    isola_kept_add(out, &done);
    if (p->forget != 0) {
        struct isola_kept old = {
            .part = ISOLA_KEPT_ANSWER, .gone = true, .peer = name_of(p), .seq = p->forget};
        isola_kept_add(out, &old);
        p->forget = 0;
    }
    for (struct answer *x = p->answers; x != NULL; x = x->next) {
        if (!x->fresh)
            continue;
        struct isola_buf value = {0};
        isola_buf_append(&value, x->ok ? "+" : "-", 1);
        isola_buf_append(&value, x->args.data, x->args.len);
        struct isola_kept row = {.part = ISOLA_KEPT_ANSWER,
                                 .peer = name_of(p),
                                 .seq = x->seq,
                                 .value = isola_buf_slice(&value)};
        isola_kept_add(out, &row);
        isola_buf_free(&value);
        x->fresh = false;
    }
}

void isola__durable_rows(struct isola_actor *a, struct isola_kept_rows *out)
{
    struct isola_durable *d = a->durable;
    if (d->fresh > 0)
        rows_sent(a, out);
    while (d->dirty != NULL) {
        struct heard *p = d->dirty;
        d->dirty = p->next_dirty;
        p->dirty = false;
        rows_heard(p, out);
    }
}

void isola__durable_load(struct isola_actor *a, const struct isola_kept_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        const struct isola_kept *r = &rows->row[i];
        if (r->part == ISOLA_KEPT_SENT)
            of(a)->sent = isola_kept_to_number(r->value);
        else if (r->part == ISOLA_KEPT_DONE)
            heard_of(a, r->peer)->done = isola_kept_to_number(r->value);
        else if (r->part == ISOLA_KEPT_ANSWER && r->value.len > 0)
            (void)keep_answer(heard_of(a, r->peer), r->seq, r->value.data[0] == '+',
                              isola_slice(r->value.data + 1, r->value.len - 1));
    }
    if (rows->n > 0)
        isola_host_outbox_load(a->host, a->address, rows->row, rows->n);
}

void isola__durable_end(struct isola_actor *a)
{
    struct isola_durable *d = a->durable;
    if (d == NULL)
        return;
    a->durable = NULL;
    ISOLA_MAP_EACH(&d->heard, e)
    {
        struct heard *p = e->value;
        struct isola_mail *m;
        while (p->answers != NULL)
            forget_first(p);
        while ((m = isola_mailq_pop(&p->held)) != NULL)
            isola_mail_free(m);
        free(p->text);
        free(p);
    }
    isola_map_free(&d->heard);
    free(d);
}

/* --- what the receiver says --- */

static struct isola_mail *word(int kind, struct isola_slice receiver, struct isola_slice sender,
                               uint64_t seq, struct isola_slice args)
{
    struct isola_slice none = {0};
    struct isola_mail *m = isola_mail_new(kind, receiver, sender, none, none, args);
    if (m != NULL) { /* else the message comes again */
        m->durable = true;
        m->seq = seq;
    }
    return m;
}

static struct isola_mail *failure(struct isola_slice receiver, struct isola_slice sender,
                                  uint64_t seq, int code, const char *why)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_error(&args, code, why, NULL);
    struct isola_mail *m = word(ISOLA_MSG_FAIL, receiver, sender, seq, isola_buf_slice(&args));
    isola_buf_free(&args);
    return m;
}

/* An ACK for what has ended goes with the one before it, if that is for the same sender. */
static void acknowledge(struct isola_actor *a, struct isola_slice sender, uint64_t seq)
{
    struct isola_mail *last = a->effects.head != NULL
                                  ? (struct isola_mail *)(void *)a->effects.tail /* its `next` */
                                  : NULL;
    if (last != NULL && last->kind == ISOLA_MSG_ACK && isola_slice_eq(last->dst, sender)) {
        last->seq = seq;
        return;
    }
    struct isola_slice none = {0};
    struct isola_mail *m = word(ISOLA_MSG_ACK, a->address, sender, seq, none);
    if (m != NULL)
        isola_mailq_push(&a->effects, m);
}
_Static_assert(offsetof(struct isola_mail, next) == 0, "the tail of a queue is its last mail");

/* --- receiving --- */

/* A message that was handled already. */
static void repeat(struct isola_actor *a, struct heard *p, const struct isola_mail *m)
{
    struct isola_slice none = {0};
    struct isola_mail *said;
    struct answer *x = p->answers;
    count(&a->host->durables.duplicates);
    while (x != NULL && x->seq != m->seq)
        x = x->next;
    if (m->kind != ISOLA_MSG_ASK)
        said = word(ISOLA_MSG_ACK, a->address, m->src, p->done, none);
    else if (x != NULL && x->args.len > 0)
        said = word(x->ok ? ISOLA_MSG_REPLY : ISOLA_MSG_FAIL, a->address, m->src, m->seq,
                    isola_buf_slice(&x->args));
    else
        said = failure(a->address, m->src, m->seq, ISOLA_ETOOBIG,
                       "it was carried out, but its answer was lost on the way, and is too long "
                       "(over 64 KB) or too old to be kept");
    if (said != NULL)
        isola__gate_follow(a, said); /* what it speaks of may be being written still */
}

bool isola__durable_begin(struct isola_actor *a, struct isola_mail *m)
{
    if (a->no_state.len > 0) { /* nobody knows whether it has been handled */
        isola_mail_free(m);
        return false;
    }
    struct heard *p = heard_of(a, m->src);
    while (m->before == 0 && p->answers != NULL && p->answers->seq < m->seq)
        forget_first(p); /* all before it have arrived; the rows go with its own */
    if (m->seq <= p->done) {
        repeat(a, p, m);
    } else if (p->running != 0 && m->seq > p->running && p->held.count < HELD_MAX) {
        isola_mailq_push(&p->held, m);
        return false;
    } else if (p->running != 0) {
        count(&a->host->durables.duplicates);
    } else if (m->before > p->done) {
        count(&a->host->durables.gaps);
    } else {
        p->running = m->seq;
        return true;
    }
    isola_mail_free(m);
    return false;
}

static struct isola_slice crash_key(struct isola_buf *key, struct isola_slice receiver,
                                    struct isola_slice sender)
{
    isola_buf_append(key, receiver.data, receiver.len);
    isola_buf_append(key, "", 1);
    isola_buf_append(key, sender.data, sender.len);
    return isola_buf_slice(key);
}

/* It did not crash this time. */
static void forgive(struct isola_actor *a, struct isola_slice sender)
{
    struct isola_durables *d = &a->host->durables;
    struct isola_buf key = {0};
    if (atomic_load_explicit(&d->ncrashed, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&d->lock);
    struct crashed *c = isola_map_del(&d->crashed, crash_key(&key, a->address, sender));
    if (c != NULL)
        atomic_fetch_sub(&d->ncrashed, 1);
    pthread_mutex_unlock(&d->lock);
    free(c);
    isola_buf_free(&key);
}

/* It is a dead letter already. Should this word be lost, an ACK answers when it comes again. */
static void refuse_unheard(struct isola_actor *a, const struct isola_mail *m)
{
    char why[400];
    snprintf(why, sizeof(why), "%.*s/%.*s has no handler for \"%.*s\"", ISOLA_FMT(a->at.app),
             ISOLA_FMT(a->at.type), ISOLA_FMT(isola_slice_cut(m->event, 200)));
    struct isola_mail *f = failure(a->address, m->src, m->seq, ISOLA_ENOACTOR, why);
    count(&a->host->durables.given_up);
    if (f != NULL)
        isola_mailq_push(&a->effects, f);
}

void isola__durable_done(struct isola_actor *a, const struct isola_mail *m, bool ok, bool heard,
                         struct isola_slice args)
{
    struct heard *p = heard_of(a, m->src);
    p->running = 0;
    p->done = m->seq;
    mark(a, p);
    forgive(a, m->src);
    if (m->kind == ISOLA_MSG_ASK) {
        struct isola_slice none = {0};
        struct isola_mail *answer =
            word(ok ? ISOLA_MSG_REPLY : ISOLA_MSG_FAIL, a->address, m->src, m->seq, args);
        keep_answer(p, m->seq, ok, args.len <= ANSWER_MAX ? args : none)->fresh = true;
        while (p->nanswers > ANSWERS)
            forget_first(p);
        if (answer != NULL)
            isola_mailq_push(&a->effects, answer);
    } else if (!heard) {
        refuse_unheard(a, m);
    } else {
        acknowledge(a, m->src, m->seq);
    }
    if (p->held.count > 0) { /* before what has come later */
        for (struct isola_mail *h = p->held.head; h != NULL; h = h->next)
            isola__mailbox_add(a);
        isola_mailq_join(&p->held, &a->waiting);
        a->waiting = p->held;
        p->held = (struct isola_mailq){0};
    }
}

/* --- what is not carried out --- */

static void give_up(struct isola_actor *a, const struct isola_mail *m, struct isola_slice why)
{
    struct isola_host *h = a->host;
    struct isola_kept_rows rows = {0};
    struct isola_mailq effects = {0};
    uint8_t number[8];
    char text[600];
    snprintf(text, sizeof(text),
             "it was given up: it crashed %.*s %d times in a row, the last time of: %.*s",
             ISOLA_FMT(a->address), CRASHES, ISOLA_FMT(isola_slice_cut(why, 300)));
    struct isola_kept done = {
        .part = ISOLA_KEPT_DONE, .peer = m->src, .value = isola_kept_number(number, m->seq)};
    isola_kept_add(&rows, &done);
    struct isola_mail *f = failure(a->address, m->src, m->seq, ISOLA_EFAILED, text);
    if (f != NULL)
        isola_mailq_push(&effects, f);
    count(&h->durables.given_up);
    isola_host_dead_letter(h, m, ISOLA_EFAILED, isola_slice_str(text));
    isola__gate_keep(a, &rows, &effects);
}

void isola__durable_crashed(struct isola_actor *a, const struct isola_mail *m,
                            struct isola_slice why)
{
    struct isola_durables *d = &a->host->durables;
    struct isola_buf key = {0};
    pthread_mutex_lock(&d->lock);
    struct isola_slice k = crash_key(&key, a->address, m->src);
    struct crashed *c = isola_map_get(&d->crashed, k);
    if (c == NULL && d->crashed.count < TABLE_MAX) {
        c = isola_zalloc(sizeof(*c));
        isola_map_set(&d->crashed, k, c);
        atomic_fetch_add(&d->ncrashed, 1);
    }
    unsigned times = 0;
    if (c != NULL) {
        c->times = c->seq == m->seq ? c->times + 1 : 1;
        c->seq = m->seq;
        times = c->times;
    }
    /* While a write is under way that may fail, what it stands for is not known to be done. */
    bool over = times >= CRASHES && a->commits == NULL;
    if (over) {
        isola_map_del(&d->crashed, k);
        atomic_fetch_sub(&d->ncrashed, 1);
        free(c);
    }
    pthread_mutex_unlock(&d->lock);
    isola_buf_free(&key);
    if (over)
        give_up(a, m, why);
}

static bool is_for_good(int code)
{
    return code == ISOLA_ENOACTOR || code == ISOLA_EPERM || code == ISOLA_ETOOBIG ||
           code == ISOLA_EDEADLOCK || code == ISOLA_EINVAL;
}

void isola__durable_refuse(struct isola_host *h, struct isola_mail *m, int code, const char *why)
{
    if ((m->kind == ISOLA_MSG_ASK || m->kind == ISOLA_MSG_EMIT) && is_for_good(code)) {
        struct isola_mail *f = failure(isola_mail_dst(m), m->src, m->seq, code, why);
        isola_host_dead_letter(h, m, code, isola_slice_str(why));
        count(&h->durables.given_up);
        if (f != NULL)
            isola__durable_post(h, f);
    }
    isola_mail_free(m);
}

/* --- where they go --- */

/* A connection's number is kept as a pointer. */
static void note_program(struct isola_host *h, const struct isola_mail *m)
{
    struct isola_durables *d = &h->durables;
    if (m->origin.link == 0)
        return;
    pthread_mutex_lock(&d->lock);
    if (d->programs.count < TABLE_MAX || isola_map_get(&d->programs, m->src) != NULL)
        isola_map_set(&d->programs, m->src, (void *)(uintptr_t)m->origin.link);
    pthread_mutex_unlock(&d->lock);
}

static void to_program(struct isola_host *h, struct isola_mail *m)
{
    struct isola_durables *d = &h->durables;
    pthread_mutex_lock(&d->lock);
    uint64_t link = (uintptr_t)isola_map_get(&d->programs, m->dst);
    pthread_mutex_unlock(&d->lock);
    if (link == 0) { /* it asks again, and is known then */
        isola_mail_free(m);
        return;
    }
    m->origin.link = link;
    h->ops->answer(h->arg, m);
}

void isola__durable_drop_link(struct isola_host *h, uint64_t link)
{
    struct isola_durables *d = &h->durables;
    bool more;
    pthread_mutex_lock(&d->lock);
    do {
        more = false;
        ISOLA_MAP_EACH(&d->programs, e)
        {
            if ((uintptr_t)e->value != link)
                continue;
            (void)isola_map_del(&d->programs, isola_slice(e->key, e->len));
            more = true;
            break;
        }
    } while (more);
    pthread_mutex_unlock(&d->lock);
}

static bool is_message(const struct isola_mail *m)
{
    return m->kind == ISOLA_MSG_ASK || m->kind == ISOLA_MSG_EMIT;
}

/* Is it who may have sent, or receive, a durable message? */
static bool is_end(struct isola_slice name)
{
    struct isola_address at;
    return isola__is_program(name) ? isola_is_program(name)
                                   : isola_address_parse(name, &at, NULL) == 0;
}

void isola__durable_post(struct isola_host *h, struct isola_mail *m)
{
    struct isola_err err;
    bool program = isola__is_program(m->src);
    if (!is_end(m->src) || !is_end(m->dst) || m->seq == 0) {
        isola_mail_free(m);
        return;
    }
    if (!is_message(m) && isola__is_program(m->dst)) {
        to_program(h, m);
        return;
    }
    if (is_message(m) && program)
        note_program(h, m);
    m->origin.link = 0; /* the end of a connection takes nothing of these back */
    int node = h->ops->locate(h->arg, m->dst);
    if (node < 0 || (node > 0 && m->passed_on))
        isola_mail_free(m); /* it comes again */
    else if (is_message(m) && m->passed_on && !program && isola__permit_from(h, m, &err) != 0)
        isola__durable_refuse(h, m, err.code, err.text);
    else if (node > 0)
        h->ops->forward(h->arg, node, m);
    else if (is_message(m))
        isola__directory_post(h, m);
    else
        isola__outbox_answered(h, m);
}

void isola_host_durables(struct isola_host *h, struct isola_host_durables *out)
{
    const struct isola_durables *d = &h->durables;
    *out = (struct isola_host_durables){.sent = atomic_load(&d->sent),
                                        .resent = atomic_load(&d->resent),
                                        .acknowledged = atomic_load(&d->acknowledged),
                                        .duplicates = atomic_load(&d->duplicates),
                                        .gaps = atomic_load(&d->gaps),
                                        .given_up = atomic_load(&d->given_up),
                                        .waiting = isola__outbox_waiting(h)};
}
