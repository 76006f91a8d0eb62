/* SPDX-License-Identifier: Apache-2.0
 *
 * From the journal into the tables.
 *
 * `fresh` grows until it is large, or old while there is nothing else to do. Then it becomes
 * `folding`: a few of its entries go into the tables with each commit that comes, as many as it
 * takes to be through when `fresh` is large again, or many at a time while nobody writes. With the
 * last of them the number up to which the tables have everything is written, and the journal up to
 * there can go, a few rows at a time too.
 *
 * Until then nothing in the tables has to be right: who reads looks into `fresh` and `folding`
 * first, and who opens the file has them again from the journal. Whatever is written into the
 * tables is absolute, so writing it twice is writing it once.
 *
 * Failure modes: a transaction that fails takes with it what was folded in it, which is done again.
 * When the tables refuse something (a damaged page, a full disk), entries are tried one by one,
 * with pauses; what has failed when all were tried goes into the journal once more and into the
 * next generation, so that neither the rest nor the journal waits for it.
 */
#include "store/group_own.h"

#include <limits.h>

#include "base/check.h"
#include "base/clock.h"

#define FRESH_MS   1000
#define STEP       64 /* entries, when there is nothing else to do */
#define ALONG_MIN  4
#define ALONG_MAX  256
#define TRIM_ALONG 4 /* commits */
#define TRIM_STEP  64
#define PAUSE_MS   1000
#define FAILED_MS  10000 /* until what failed is tried again */
#define FAILURES   8
#define CLOSE_MS   3000
/* Free pages are given back when there are so many, and a quarter of the file; in steps. */
#define FREE_PAGES 4096
#define FREE_STEP  256

/* Memory is taken in blocks, so that counts only when it is much. */
static size_t size_of(const struct isola__overlay *p)
{
    return p->bytes / 2 > p->logged ? p->bytes / 2 : p->logged;
}

static bool is_folding(const struct isola__group *g)
{
    return g->folding.first != NULL;
}

/* `fresh` goes into the tables from now on. */
static void turn_over(struct isola__group *g)
{
    pthread_mutex_lock(&g->pending_lock);
    g->folding = g->fresh;
    g->fresh = (struct isola__overlay){0};
    pthread_mutex_unlock(&g->pending_lock);
    g->fold.at = g->fold.begun = g->folding.first;
    g->fold.ended = false;
    g->fold.left = g->folding.count;
}

/* --- the end of a generation --- */

/* What the tables do not take is kept by the journal. */
static int log_failed(struct isola__group *g)
{
    struct isola_buf changes = {0};
    for (const struct isola__entry *e = g->folding.first; e != NULL; e = e->next) {
        const struct isola__entry *newer =
            e->failed ? isola__overlay_entry(&g->fresh, e->address) : NULL;
        for (const struct isola__entry *each = e->failed ? e : NULL; each != NULL;
             each = each == e ? newer : NULL) {
            struct isola__change c;
            struct isola_kept *rows;
            isola__entry_change(each, &c, &rows);
            isola__change_write(&changes, &c);
            free(rows);
        }
    }
    int code = 0;
    if (changes.failed)
        code = isola_fail(&g->tables.err, ISOLA_ENOMEM, "no memory to write the journal");
    else if (changes.len > 0)
        code = isola__tables_log(&g->tables, g->number + 1, isola_clock_wall_ms(),
                                 isola_buf_slice(&changes));
    isola_buf_free(&changes);
    return code;
}

static bool any_failed(const struct isola__group *g)
{
    for (const struct isola__entry *e = g->folding.first; e != NULL; e = e->next)
        if (e->failed)
            return true;
    return false;
}

static int end_generation(struct isola__group *g)
{
    int code = any_failed(g) ? log_failed(g) : 0;
    if (code == 0)
        code = isola__tables_fold(&g->tables, g->folding.number);
    g->fold.ended = code == 0;
    return code;
}

/* It is over, and on disk. */
static void drop_generation(struct isola__group *g)
{
    bool failed = any_failed(g);
    if (failed)
        g->number++; /* as log_failed has it */
    g->trim_to = g->folding.number;
    pthread_mutex_lock(&g->pending_lock);
    for (const struct isola__entry *e = failed ? g->folding.first : NULL; e != NULL; e = e->next)
        if (e->failed)
            isola__overlay_beneath(&g->fresh, e);
    if (failed)
        g->fresh.number = g->number;
    struct isola__overlay old = g->folding;
    g->folding = (struct isola__overlay){0};
    pthread_mutex_unlock(&g->pending_lock);
    isola__overlay_free(&old);
    if (failed)
        g->fold.not_before = isola_clock_ms() + FAILED_MS;
    g->fold.single = false;
    g->fold.ended = false;
    g->fold.at = g->fold.begun = NULL;
}

void isola__fold_committed(struct isola__group *g)
{
    g->fold.begun = g->fold.at;
    g->fold.failures = 0;
    if (g->fold.ended)
        drop_generation(g);
}

void isola__fold_aborted(struct isola__group *g)
{
    if (g->fold.at == g->fold.begun && !g->fold.ended && !g->fold.refused)
        return; /* it had nothing of it */
    g->fold.at = g->fold.begun;
    g->fold.ended = g->fold.refused = false;
    g->fold.single = true;
    g->fold.not_before = isola_clock_ms() + PAUSE_MS;
}

/* --- steps --- */

/* Up to `n` entries, and the end. */
static int fold_some(struct isola__group *g, unsigned n)
{
    for (; n > 0 && g->fold.at != NULL; n--) {
        if (!g->fold.at->failed) {
            int code = isola__entry_fold(g->fold.at, &g->tables);
            if (code != 0) {
                g->fold.refused = true;
                return code;
            }
        }
        g->fold.at = g->fold.at->next;
        g->fold.left -= g->fold.left > 0;
    }
    return g->fold.at == NULL ? end_generation(g) : 0;
}

static int trim_some(struct isola__group *g, unsigned n)
{
    if (g->trimmed >= g->trim_to)
        return 0;
    int64_t to = g->trim_to - g->trimmed > n ? g->trimmed + n : g->trim_to;
    int code = isola__tables_trim(&g->tables, to);
    if (code == 0)
        g->trimmed = to;
    return code;
}

/* As many entries as it takes to be through when `fresh` is as large as it may be, with commits of
 * so many bytes. */
static unsigned share(const struct isola__group *g, size_t bytes)
{
    size_t size = size_of(&g->fresh),
           left = size < g->ops.fold_bytes ? g->ops.fold_bytes - size : 0;
    size_t n = g->fold.left / (left / (bytes + 1) + 1) + 1;
    return n < ALONG_MIN ? ALONG_MIN : n > ALONG_MAX ? ALONG_MAX : (unsigned)n;
}

int isola__fold_along(struct isola__group *g, size_t bytes)
{
    if (!is_folding(g) && size_of(&g->fresh) >= g->ops.fold_bytes)
        turn_over(g);
    int code = 0;
    if (is_folding(g) && !g->fold.single && isola_clock_ms() >= g->fold.not_before)
        code = fold_some(g, share(g, bytes));
    return code == 0 ? trim_some(g, TRIM_ALONG) : code;
}

/* One entry in a transaction of its own: the tables take it, or it is noted that they do not.
 * False: it is to be tried later. */
static bool fold_single(struct isola__group *g)
{
    struct isola__entry *e = g->fold.at;
    int code = isola__group_begin(g);
    if (code == 0)
        code = fold_some(g, 1);
    if (code == 0 && (code = isola__group_end(g)) == 0)
        return true;
    if (g->in_tx)
        isola__group_abort(g);
    if (e != NULL && g->fold.failures < FAILURES) {
        e->failed = true; /* the next time round it is passed over */
        g->fold.failures++;
        g->fold.not_before = 0;
        return true;
    }
    g->fold.failures = 0;
    g->fold.not_before = isola_clock_ms() + PAUSE_MS;
    return false;
}

static void fold_step(struct isola__group *g, unsigned n)
{
    if (g->fold.single) {
        (void)fold_single(g);
        return;
    }
    int code = isola__group_begin(g);
    if (code == 0)
        code = fold_some(g, n);
    if (code == 0)
        (void)isola__group_end(g);
    else if (g->in_tx)
        isola__group_abort(g);
    else
        g->fold.not_before = isola_clock_ms() + PAUSE_MS;
}

static bool tidy_step(struct isola__group *g)
{
    if (g->trimmed < g->trim_to) {
        int code = isola__group_begin(g);
        if (code == 0)
            code = trim_some(g, TRIM_STEP);
        if (code == 0)
            code = isola__group_end(g);
        else if (g->in_tx)
            isola__group_abort(g);
        return code == 0;
    }
    return isola__tables_give_back(&g->tables, FREE_PAGES, FREE_STEP);
}

bool isola__fold_step(struct isola__group *g, uint64_t *at)
{
    uint64_t now = isola_clock_ms();
    if (now < g->fold.not_before) {
        *at = g->fold.not_before;
        return false;
    }
    if (is_folding(g)) {
        fold_step(g, STEP);
        return true;
    }
    if (g->fresh.first != NULL && now - g->fresh.since >= FRESH_MS) {
        turn_over(g);
        return true;
    }
    if (tidy_step(g))
        return true;
    *at = g->fresh.first != NULL ? g->fresh.since + FRESH_MS : 0;
    return false;
}

void isola__fold_pressed(struct isola__group *g)
{
    while (size_of(&g->fresh) >= 4 * g->ops.fold_bytes && is_folding(g) &&
           isola_clock_ms() >= g->fold.not_before)
        fold_step(g, ALONG_MAX);
}

int isola__fold_now(struct isola__group *g)
{
    int code = 0;
    while (code == 0 && (is_folding(g) || g->fresh.first != NULL)) {
        if (!is_folding(g))
            turn_over(g);
        code = isola__group_begin(g);
        if (code == 0 && (code = fold_some(g, UINT_MAX)) == 0)
            code = isola__group_end(g);
        else if (g->in_tx)
            isola__group_abort(g);
    }
    return code;
}

void isola__fold_all(struct isola__group *g)
{
    uint64_t until = isola_clock_ms() + CLOSE_MS; /* the journal has the rest */
    while (isola_clock_ms() < until && isola_clock_ms() >= g->fold.not_before) {
        if (!is_folding(g)) {
            if (g->fresh.first == NULL)
                break;
            turn_over(g);
        }
        fold_step(g, ALONG_MAX);
    }
    uint64_t at;
    while (isola_clock_ms() < until && g->trimmed < g->trim_to && isola__fold_step(g, &at))
        continue;
}

/* --- before it is its turn --- */

static int fold_entry(struct isola__group *g, const struct isola__entry *e)
{
    return e != NULL ? isola__entry_fold(e, &g->tables) : 0;
}

int isola__fold_address(struct isola__group *g, struct isola_slice address)
{
    int code = isola__group_begin(g);
    if (code != 0)
        return code;
    if ((code = fold_entry(g, isola__overlay_entry(&g->folding, address))) != 0 ||
        (code = fold_entry(g, isola__overlay_entry(&g->fresh, address))) != 0)
        isola__group_abort(g);
    return code;
}

int isola__fold_parts(struct isola__group *g, unsigned parts)
{
    int code = isola__group_begin(g);
    if (code != 0)
        return code;
    const struct isola__overlay *each[] = {&g->folding, &g->fresh};
    for (size_t i = 0; i < 2 && code == 0; i++)
        for (const struct isola__entry *e = each[i]->first; e != NULL && code == 0; e = e->next)
            if (isola__entry_has_parts(e, parts) || e->cleared)
                code = isola__fold_address(g, e->address);
    if (code != 0 && g->in_tx)
        isola__group_abort(g);
    return code;
}

/* --- what is in the journal when the file is opened --- */

struct restore {
    struct isola__group *g;
    int64_t written;
    bool bad;
};

static void restore_change(void *arg, const struct isola__change *c)
{
    struct restore *r = arg;
    isola__overlay_add(&r->g->fresh, c, r->written);
    r->g->ops.found(r->g->ops.arg, c->address);
}

static bool restore_commit(void *arg, int64_t number, int64_t written, struct isola_slice changes)
{
    struct restore *r = arg;
    r->written = written;
    r->bad = !isola__changes_read(changes, restore_change, r);
    r->g->fresh.number = r->g->number = number;
    r->g->fresh.logged += changes.len;
    return !r->bad;
}

int isola__fold_restore(struct isola__group *g, struct isola_err *err)
{
    struct restore r = {.g = g};
    int64_t oldest = 0;
    int code = isola__tables_folded(&g->tables, &g->number);
    g->trim_to = g->number;
    if (code == 0)
        code = isola__tables_oldest(&g->tables, &oldest);
    g->trimmed = oldest > 0 ? oldest - 1 : g->trim_to;
    if (code == 0)
        code = isola__tables_logged(&g->tables, g->number, restore_commit, &r);
    if (code == 0 && r.bad)
        return isola_fail(err, ISOLA_EIO,
                          "cannot open %s: its journal is damaged; restore a backup", g->path);
    if (code != 0 && err != NULL)
        *err = g->tables.err;
    return code;
}
