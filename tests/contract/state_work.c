/* SPDX-License-Identifier: Apache-2.0 */
#include "state_work.h"

#include <pthread.h>
#include <stdio.h>

#include "base/check.h"

enum asked { WRITE, DEL, FORGET, LOOK, LOOK_ALL };
static const char *const words[] = {"write", "del", "forget", "get", "get_all"};

struct entry {
    struct isola_state_req req;
    enum asked what;
    struct model_change change;
    size_t asked, answered; /* operations of the disk */
    int code;
    char *why, *found;
    struct work *work;
    struct entry *next; /* of all there are */
};

/* An entry, and the text that follows from it here. */
struct step {
    struct entry *entry;
    char *text;
};

struct history {
    char *base;
    struct step *step;
    size_t n, cap;
};

struct work {
    const struct disk *disk;
    uint64_t seed;
    bool anew, forgets;
    struct history at[WORK_ADDRESSES];
    struct entry *entries;
    size_t under_way;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;

const char *work_address(size_t i)
{
    static const char *const names[WORK_ADDRESSES] = {
        "c/T/1", "c/T/10", "c/T/2", "c/T/20", "c/T/3", "c/T/",         "d/T/1", "c/U/1",
        "a",     "z/z/z",  "c/V/1", "c/V/2",  "c/V/3", "c/V/\xc3\xa4", "c/V/5", "c/V/6"};
    return names[i];
}

void findings_free(struct findings *f)
{
    for (size_t i = 0; i < WORK_ADDRESSES; i++)
        free(f->text[i]);
    *f = (struct findings){0};
}

struct work *work_new(const struct disk *disk, uint64_t seed, struct findings *is)
{
    struct work *w = isola_zalloc(sizeof(*w));
    w->disk = disk;
    w->seed = seed;
    w->anew = is != NULL;
    w->forgets = !w->anew;
    for (size_t i = 0; i < WORK_ADDRESSES; i++) {
        w->at[i].base = is != NULL ? is->text[i] : isola_strdup("none");
        if (is != NULL)
            is->text[i] = NULL;
    }
    return w;
}

void work_free(struct work *w)
{
    for (size_t i = 0; i < WORK_ADDRESSES; i++) {
        for (size_t k = 0; k < w->at[i].n; k++)
            free(w->at[i].step[k].text);
        free(w->at[i].step);
        free(w->at[i].base);
    }
    for (struct entry *e = w->entries, *next; e != NULL; e = next) {
        next = e->next;
        model_change_free(&e->change);
        free(e->why);
        free(e->found);
        free(e);
    }
    free(w);
}

void work_forgets_nothing(struct work *w)
{
    w->forgets = false;
}

/* --- asking --- */

static void on_answer(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct entry *e = req->arg;
    size_t ops = disk_ops(e->work->disk);
    char *found = NULL;
    if (code == 0 && e->what >= LOOK)
        found = model_text_of(value, req->rows, req->nrows);
    else if (code == ISOLA_ENOENT)
        found = isola_strdup("none");
    pthread_mutex_lock(&lock);
    e->code = code;
    e->answered = ops;
    e->found = found;
    e->why = why != NULL ? isola_strdup(why) : NULL;
    if (--e->work->under_way == 0)
        pthread_cond_broadcast(&answered);
    pthread_mutex_unlock(&lock);
}

static void note(struct history *h, struct entry *e)
{
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 16 : 2 * h->cap;
        h->step = isola_realloc(h->step, h->cap * sizeof(*h->step));
    }
    h->step[h->n++] = (struct step){.entry = e};
}

static enum asked choose(struct work *w)
{
    size_t n = disk_pick(&w->seed, 40);
    if (n < 28)
        return WRITE;
    if (n < 30)
        return DEL;
    if (n == 30 && w->forgets)
        return FORGET;
    return n < 35 && !w->anew ? LOOK : LOOK_ALL;
}

static void ask_one(struct work *w, struct isola_state *s, bool large)
{
    struct entry *e = isola_zalloc(sizeof(*e));
    size_t i = disk_pick(&w->seed, WORK_ADDRESSES);
    e->what = choose(w);
    e->work = w;
    e->next = w->entries;
    w->entries = e;
    e->req = (struct isola_state_req){.cb = on_answer, .arg = e};
    e->req.address = isola_slice_str(e->what == FORGET ? "" : work_address(i));
    if (e->what == WRITE)
        model_change_make(&e->change, &w->seed, large, w->anew);
    for (size_t k = 0; k < WORK_ADDRESSES; k++)
        if (k == i || e->what == FORGET)
            note(&w->at[k], e);
    pthread_mutex_lock(&lock);
    w->under_way++;
    pthread_mutex_unlock(&lock);
    e->asked = disk_ops(w->disk);
    switch (e->what) {
    case WRITE:
        isola_state_write(s, &e->req, &e->change.change);
        break;
    case DEL:
        isola_state_del(s, &e->req);
        break;
    case FORGET:
        isola_state_forget(s, &e->req, 0);
        break;
    case LOOK:
        isola_state_get(s, &e->req);
        break;
    case LOOK_ALL:
        isola_state_get_all(s, &e->req);
    }
}

void work_ask(struct work *w, struct isola_state *s, size_t n, bool large)
{
    while (n-- > 0)
        ask_one(w, s, large);
}

void work_wait(struct work *w)
{
    pthread_mutex_lock(&lock);
    while (w->under_way > 0)
        pthread_cond_wait(&answered, &lock);
    pthread_mutex_unlock(&lock);
}

void work_answers(const struct work *w, struct work_answers *out)
{
    *out = (struct work_answers){0};
    for (const struct entry *e = w->entries; e != NULL; e = e->next) {
        bool failed = e->code != 0 && e->code != ISOLA_ENOENT;
        out->done += !failed;
        out->failed += failed;
        out->reads_failed += failed && e->what >= LOOK;
        if (failed)
            snprintf(out->why, sizeof(out->why), "%s", e->why != NULL ? e->why : "");
    }
}

/* --- the book --- */

static void carry_out(struct model *m, const struct entry *e)
{
    if (e->what == WRITE)
        model_write(m, &e->change.change);
    else if (e->what == DEL)
        model_del(m);
    else if (e->what == FORGET)
        model_forget(m);
}

/* What there is after those of the steps before `n` that were done, and step `n`. */
static char *text_after(const struct history *h, size_t n, uint8_t last)
{
    struct model m = {0};
    bool known = strcmp(h->base, "none") == 0;
    for (size_t i = 0; i <= n; i++) {
        const struct entry *e = h->step[i].entry;
        if (e->what >= LOOK || (e->code != 0 && i < n))
            continue;
        carry_out(&m, e);
        known = true; /* such as do not build on what there was */
    }
    char *text = known ? model_text(&m, last) : isola_strdup(h->base);
    model_free(&m);
    return text;
}

static char *judge_step(const char *address, const struct step *step, const char *expected)
{
    const struct entry *e = step->entry;
    if (e->code != 0 && e->code != ISOLA_ENOENT)
        return e->code == ISOLA_EIO && e->why != NULL && strlen(e->why) > 10
                   ? NULL
                   : isola_format("a %s of %s has failed with code %d and says \"%s\"",
                                  words[e->what], address, e->code, e->why != NULL ? e->why : "");
    if (e->what >= LOOK && strcmp(e->found, expected) != 0)
        return isola_format("a %s of %s has found\n  %s\nbut there is\n  %s", words[e->what],
                            address, e->found, expected);
    return NULL;
}

char *work_judge(struct work *w)
{
    char *wrong = NULL;
    for (size_t i = 0; i < WORK_ADDRESSES; i++)
        for (size_t k = 0; k < w->at[i].n && wrong == NULL; k++) {
            struct step *step = &w->at[i].step[k];
            uint8_t last = step->entry->what == LOOK ? ISOLA_KEPT_READ : ISOLA_KEPT_LAST;
            free(step->text);
            step->text = text_after(&w->at[i], k, last);
            wrong = judge_step(work_address(i), step, step->text);
        }
    return wrong;
}

static char *compare_one(const struct history *h, const char *address, size_t ops,
                         const char *found)
{
    size_t from = 0; /* the first that may be missing */
    bool allowed = false;
    for (size_t i = 0; i < h->n; i++) {
        const struct entry *e = h->step[i].entry;
        if (e->what < LOOK && e->code == 0 && e->answered <= ops)
            from = i + 1;
    }
    const char *least = from > 0 ? h->step[from - 1].text : h->base;
    allowed = strcmp(least, found) == 0;
    for (size_t i = from; i < h->n && !allowed; i++) {
        const struct entry *e = h->step[i].entry;
        allowed = e->what < LOOK && e->asked <= ops && strcmp(h->step[i].text, found) == 0;
    }
    return allowed ? NULL
                   : isola_format("at %s there is\n  %s\nbut what was answered last has left\n  %s",
                                  address, found, least);
}

char *work_compare(const struct work *w, size_t ops, const struct findings *found)
{
    for (size_t i = 0; i < WORK_ADDRESSES; i++) {
        char *wrong = compare_one(&w->at[i], work_address(i), ops, found->text[i]);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}
