/* SPDX-License-Identifier: Apache-2.0
 *
 * From memory into the tables: a thread for each group.
 *
 * `fresh` grows until it is large, or old while there is nothing else to do. Then it becomes
 * `folding`, and this thread writes what its entries come to into the tables, in the order of their
 * addresses, many to a transaction. Each is synced: of one that is not, a sync that fails later may
 * take pages away for good. The last says up to which number the tables have everything; from then
 * on the journal may write over these commits. So for a thousand changes of an actor the tables are
 * written once, and commits do not wait for that.
 *
 * Until then nothing in the tables has to be right: who reads looks into `fresh` and `folding`
 * first, and who opens the files has them again from the journal. Whatever is written into the
 * tables is absolute, so writing it twice is writing it once.
 *
 * Failure modes: a transaction that fails is done again, one entry at a time, with pauses while
 * nothing goes. What the tables do not take (a damaged page) when all else was tried goes into the
 * journal once more, and into the next generation (isola__group_carry), so that neither the rest
 * nor the journal waits for it.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/thread.h"
#include "store/group_own.h"

#define STEP     1024 /* entries in a transaction */
#define PAUSE_MS 1000 /* when nothing goes */
#define FAILURES 8    /* in a row */
#define CARRY_MS 10000
#define CLOSE_MS 3000
/* Free pages are given back when there are so many, and a quarter of the file; in steps. */
#define FREE_PAGES 4096
#define FREE_STEP  256
/* Pages of 4 KB in SQLite's log that are left there, at least. */
#define LOG_PAGES 8

struct fold {
    struct isola__group *g;
    bool busy;                    /* there is a generation, */
    struct isola__entry **sorted; /* its entries, in the order of their addresses, */
    size_t n, at;                 /* and which of them is next */
    bool single;                  /* one at a time, as some fail */
    unsigned failures;            /* in a row */
    bool any_failed;              /* there are entries that the tables do not take */
    uint64_t until;               /* closing: ms of isola_clock_ms; 0: not */
    int log_pages, copied_at;     /* in SQLite's log, and when that was put into the file last; with
                                     the tables */
};

/* --- the tables --- */

void isola__fold_take_tables(struct isola__group *g)
{
    atomic_store_explicit(&g->tables_wanted, true, memory_order_relaxed);
    pthread_mutex_lock(&g->tables_lock);
    atomic_store_explicit(&g->tables_wanted, false, memory_order_relaxed);
}

void isola__fold_leave_tables(struct isola__group *g)
{
    isola__tables_roll_back(&g->tables);
    pthread_mutex_unlock(&g->tables_lock);
}

/* `work` in a transaction. */
static int transact(struct isola__group *g, int (*work)(struct isola__group *g, void *arg),
                    void *arg)
{
    int code = isola__tables_run(&g->tables, ISOLA__BEGIN);
    if (code == 0)
        code = work(g, arg);
    if (code == 0)
        code = isola__tables_run(&g->tables, ISOLA__COMMIT);
    if (code != 0)
        isola__tables_roll_back(&g->tables);
    return code;
}

/* --- before it is its turn --- */

static int peek_entry(struct isola__group *g, const struct isola__entry *e, unsigned parts)
{
    return e != NULL ? isola__entry_peek(e, &g->tables, parts) : 0;
}

/* Of both generations, in their order. */
static int peek_both(struct isola__group *g, struct isola_slice address, unsigned parts)
{
    int code = peek_entry(g, isola__overlay_entry(&g->folding, address), parts);
    return code != 0 ? code : peek_entry(g, isola__overlay_entry(&g->fresh, address), parts);
}

static int peek_with(struct isola__group *g, unsigned parts)
{
    const struct isola__overlay *each[] = {&g->folding, &g->fresh};
    int code = 0;
    for (size_t i = 0; i < 2 && code == 0; i++)
        for (const struct isola__entry *e = each[i]->first; e != NULL && code == 0; e = e->next)
            if (isola__entry_has_parts(e, parts) || e->cleared)
                code = peek_both(g, e->address, parts);
    return code;
}

int isola__fold_peek_address(struct isola__group *g, struct isola_slice address, unsigned parts)
{
    int code = isola__tables_run(&g->tables, ISOLA__BEGIN);
    if (code != 0)
        return code;
    pthread_mutex_lock(&g->overlay_lock); /* the folder may end a generation meanwhile */
    code = peek_both(g, address, parts);
    pthread_mutex_unlock(&g->overlay_lock);
    return code;
}

int isola__fold_peek_parts(struct isola__group *g, unsigned parts)
{
    int code = isola__tables_run(&g->tables, ISOLA__BEGIN);
    if (code != 0)
        return code;
    pthread_mutex_lock(&g->overlay_lock);
    code = peek_with(g, parts);
    pthread_mutex_unlock(&g->overlay_lock);
    return code;
}

/* --- steps. With the tables --- */

static int some_entries(struct isola__group *g, void *arg)
{
    struct fold *f = arg;
    int code = isola__history_begin(&g->history);
    if (code != 0)
        return code;
    bool more;
    for (unsigned n = f->single ? 1 : STEP; n > 0 && f->at < f->n; n--) {
        if (!f->sorted[f->at]->failed) {
            code = isola__entry_fold(f->sorted[f->at], &g->tables, &g->history);
            if (code != 0)
                return code;
        }
        f->at++;
        if (atomic_load_explicit(&g->tables_wanted, memory_order_relaxed))
            break;
    }
    /* More go than come, so that it does not grow for ever while there is no time to tidy. */
    return g->history.added > 0 ? isola__history_trim(&g->history, 2 * g->history.added, &more) : 0;
}

static int mark(struct isola__group *g, void *arg)
{
    (void)arg;
    int code = isola__history_mark(&g->history);
    return code == 0 ? isola__tables_fold(&g->tables, g->folding.number) : code;
}

/* What fails with images, one entry of it, may go without (history.c). */
static int without_history(struct fold *f, size_t from)
{
    struct isola__group *g = f->g;
    struct isola_err why = g->tables.err;
    char text[1000];
    if (!isola__history_give_up(&g->history))
        return why.code;
    f->at = from;
    int code = transact(g, some_entries, f);
    if (code != 0) {
        isola__history_take_back(&g->history);
        return code;
    }
    snprintf(text, sizeof(text), "the history of its actors begins anew: %.800s", why.text);
    isola__group_failed(g, text);
    return 0;
}

static void drop_generation(struct fold *f)
{
    struct isola__group *g = f->g;
    pthread_mutex_lock(&g->overlay_lock);
    struct isola__overlay old = g->folding;
    g->number = old.number;
    g->folding = (struct isola__overlay){0};
    g->stuck = false;
    pthread_cond_broadcast(&g->folded);
    pthread_mutex_unlock(&g->overlay_lock);
    isola__overlay_free(&old);
    free(f->sorted);
    f->sorted = NULL;
    f->n = f->at = 0;
    f->busy = f->single = f->any_failed = false;
    f->failures = 0;
}

/* --- SQLite's log --- */

static int on_log(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct fold *f = arg;
    (void)db, (void)name;
    if (pages < f->copied_at) /* it has begun anew */
        f->copied_at = 0;
    f->log_pages = pages;
    return SQLITE_OK;
}

/* Puts it into the file when as much has come to it as is folded in one go. This thread does it, as
 * nobody else makes it grow: so it begins anew then, unless somebody reads what it had. */
static void copy_log(struct fold *f)
{
    struct isola__group *g = f->g;
    pthread_mutex_lock(&g->tables_lock);
    bool large = f->log_pages - f->copied_at >= LOG_PAGES &&
                 (size_t)(f->log_pages - f->copied_at) >= g->ops.fold_bytes / 4096;
    if (large)
        f->copied_at = f->log_pages;
    pthread_mutex_unlock(&g->tables_lock);
    if (large)
        sqlite3_wal_checkpoint_v2(g->copier.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* --- the thread --- */

/* Nothing goes: others are told, and it is tried again; sooner if somebody wants it. */
static void pause_for(struct fold *f, uint64_t ms)
{
    struct isola__group *g = f->g;
    uint64_t until = isola_clock_ms() + ms;
    pthread_mutex_lock(&g->overlay_lock);
    g->stuck = true;
    pthread_cond_broadcast(&g->folded);
    while (!g->ending && g->stuck && isola_clock_ms() < until)
        isola_cond_wait_until(&g->folded, &g->overlay_lock, until);
    pthread_mutex_unlock(&g->overlay_lock);
}

static void step_failed(struct fold *f, size_t from)
{
    f->at = from;
    if (!f->single) {
        f->single = true;
    } else if (++f->failures <= FAILURES) {
        f->sorted[from]->failed = f->any_failed = true;
        f->at = from + 1;
    } else {
        f->failures = 0;
        pause_for(f, PAUSE_MS);
    }
}

static void step(struct fold *f)
{
    struct isola__group *g = f->g;
    size_t from = f->at;
    pthread_mutex_lock(&g->tables_lock);
    int code = transact(g, some_entries, f);
    if (code != 0 && f->single)
        code = without_history(f, from);
    pthread_mutex_unlock(&g->tables_lock);
    if (code != 0)
        step_failed(f, from);
    else
        f->failures = 0;
    copy_log(f);
}

/* From the first: perhaps the tables take them now. */
static void begin_again(struct fold *f)
{
    for (struct isola__entry *e = f->g->folding.first; e != NULL; e = e->next)
        e->failed = e->carried;
    f->at = 0;
    f->any_failed = false;
}

static void end(struct fold *f)
{
    struct isola__group *g = f->g;
    bool failed = f->any_failed;
    int code = failed ? isola__group_carry(g) : 0;
    if (code == 0) {
        pthread_mutex_lock(&g->tables_lock);
        code = transact(g, mark, NULL);
        pthread_mutex_unlock(&g->tables_lock);
    }
    if (code == 0)
        drop_generation(f);
    else
        begin_again(f);
    if (code != 0 || failed)
        pause_for(f, code == 0 ? CARRY_MS : PAUSE_MS);
}

static int trim(struct isola__group *g, void *arg)
{
    return isola__history_trim(&g->history, STEP, arg);
}

/* False: there is nothing to tidy. */
static bool tidy(struct fold *f)
{
    struct isola__group *g = f->g;
    bool more = false;
    pthread_mutex_lock(&g->tables_lock);
    if (transact(g, trim, &more) != 0) {
        more = false;
        g->history.due = isola_clock_ms() + PAUSE_MS;
    }
    if (!more)
        more = isola__tables_give_back(&g->tables, FREE_PAGES, FREE_STEP);
    pthread_mutex_unlock(&g->tables_lock);
    copy_log(f);
    return more;
}

/* Until something has changed, or there is something to tidy; with the lock. */
static void rest(struct isola__group *g)
{
    if (g->history.due == 0)
        pthread_cond_wait(&g->folded, &g->overlay_lock);
    else
        isola_cond_wait_until(&g->folded, &g->overlay_lock, g->history.due);
}

static int by_address(const void *a, const void *b)
{
    struct isola__entry *const *x = a, *const *y = b;
    return isola_slice_order((*x)->address, (*y)->address);
}

/* In the order the tables have them, so that each of their pages is written once. */
static void sort(struct fold *f)
{
    for (struct isola__entry *e = f->g->folding.first; e != NULL; e = e->next)
        f->n++;
    f->sorted = isola_alloc(f->n * sizeof(*f->sorted));
    f->n = 0;
    for (struct isola__entry *e = f->g->folding.first; e != NULL; e = e->next)
        f->sorted[f->n++] = e;
    qsort(f->sorted, f->n, sizeof(*f->sorted), by_address);
}

/* From the beginning of its end on its time is limited; with the lock. */
static void limit(struct fold *f)
{
    if (f->g->ending && f->until == 0)
        f->until = isola_clock_ms() + CLOSE_MS;
}

/* Waits for something to fold. False: there will be nothing. */
static bool next_generation(struct fold *f)
{
    struct isola__group *g = f->g;
    bool more = true;
    pthread_mutex_lock(&g->overlay_lock);
    while (g->folding.first == NULL && !g->ending) {
        if (more) {
            pthread_mutex_unlock(&g->overlay_lock);
            more = tidy(f);
            pthread_mutex_lock(&g->overlay_lock);
        } else {
            rest(g);
            more = g->folding.first == NULL; /* after the next one */
        }
    }
    if (g->folding.first == NULL) { /* the thread has ended: what it has left */
        g->folding = g->fresh;
        g->fresh = (struct isola__overlay){0};
    }
    f->busy = g->folding.first != NULL;
    isola__history_generation(&g->history, g->folding.written);
    limit(f);
    pthread_mutex_unlock(&g->overlay_lock);
    if (f->busy)
        sort(f);
    return f->busy;
}

/* Closing, and it has taken long: the journal has the rest. */
static bool out_of_time(struct fold *f)
{
    struct isola__group *g = f->g;
    pthread_mutex_lock(&g->overlay_lock);
    limit(f);
    bool stuck = g->ending && g->stuck;
    pthread_mutex_unlock(&g->overlay_lock);
    return stuck || (f->until != 0 && isola_clock_ms() >= f->until);
}

void *isola__fold_run(void *group)
{
    struct fold f = {.g = group};
    sqlite3_wal_hook(f.g->tables.db.handle, on_log, &f);
    while (next_generation(&f)) {
        while (f.busy && !out_of_time(&f)) {
            if (f.at < f.n)
                step(&f);
            else
                end(&f);
        }
        if (f.busy)
            break;
    }
    sqlite3_wal_hook(f.g->tables.db.handle, NULL, NULL);
    free(f.sorted);
    return NULL;
}
