/* SPDX-License-Identifier: Apache-2.0
 *
 * What is to be written so that an actor has what it had before (history.c has what is kept of it,
 * and what that means).
 *
 * Rows that are as they were then are not read. Of the others the value then is compared with the
 * value now, and the change has what differs: so it is small when little has changed, however much
 * there is, and what it brings back has a history like any other change.
 */
#include "store/past_own.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"
#include "store/state_own.h"

/* --- looking --- */

void isola__look_close(struct isola__look *l)
{
    if (l->db.handle != NULL)
        (void)sqlite3_exec(l->db.handle, "ROLLBACK", NULL, NULL, NULL);
    isola__db_close(&l->db);
}

sqlite3_stmt *isola__look_prepare(struct isola__look *l, const char *sql, int *code)
{
    sqlite3_stmt *stmt = NULL;
    if (*code == 0)
        *code = isola__db_prepare(&l->db, sql, &stmt, l->err);
    return stmt;
}

void isola__look_end(struct isola__look *l, sqlite3_stmt *stmt, int rc, int *code)
{
    if (*code == 0 && rc != SQLITE_DONE && rc != SQLITE_ROW)
        *code = isola__db_fail(&l->db, rc, "read", l->err);
    sqlite3_finalize(stmt);
}

int isola__look_open(struct isola__look *l, struct isola_state *s, struct isola_slice address,
                     struct isola_err *err)
{
    const char *path;
    *l = (struct isola__look){.address = address, .err = err};
    int code = isola__state_settle(s, address, &path, err);
    if (code == 0)
        code = isola__db_join(&l->db, path, err);
    if (code == 0)
        code = isola__db_exec(&l->db, "BEGIN", "read", err);
    sqlite3_stmt *stmt = isola__look_prepare(l, "SELECT point, since FROM history", &code);
    int rc = code == 0 ? sqlite3_step(stmt) : SQLITE_DONE;
    if (rc == SQLITE_ROW) {
        l->point = sqlite3_column_int64(stmt, 0);
        l->since = sqlite3_column_int64(stmt, 1);
    }
    isola__look_end(l, stmt, rc, &code);
    if (code != 0)
        isola__look_close(l);
    return code;
}

static const char versions_sql[] =
    "SELECT part, peer, seq, written, until, length(value) + length(CAST(peer AS BLOB)), id"
    " FROM past WHERE address = ?1 AND until > ?2"
    " UNION ALL SELECT 0, '', 0, written, 9223372036854775807, length(value), 0"
    " FROM state WHERE address = ?1"
    " UNION ALL SELECT part, peer, seq, written, 9223372036854775807,"
    " length(value) + length(CAST(peer AS BLOB)), 0 FROM kept WHERE address = ?1 AND part >= 5";
_Static_assert(ISOLA__HISTORY_FROM == 5, "the statement's");

int isola__look_each(struct isola__look *l, int64_t from, void (*fn)(void *arg, sqlite3_stmt *row),
                     void *arg)
{
    int code = 0, rc = SQLITE_DONE;
    sqlite3_stmt *stmt = isola__look_prepare(l, versions_sql, &code);
    if (code == 0) {
        isola__bind_text(stmt, 1, l->address);
        isola__bind_int(stmt, 2, from);
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
            fn(arg, stmt);
    }
    isola__look_end(l, stmt, rc, &code);
    return code;
}

void isola__history_count(struct isola_history_changes *what, int part, bool gone, uint64_t bytes)
{
    struct isola_history_count *c = part == ISOLA_KEPT_TIMER  ? &what->timers
                                    : part == ISOLA_KEPT_ITEM ? &what->items
                                                              : &what->pages;
    what->bytes += gone ? 0 : bytes;
    if (part == ISOLA__PAST_STATE)
        what->state = true;
    else if (gone)
        c->gone++;
    else
        c->put++;
}

/* --- as it was --- */

/* A row that has changed since. */
struct changed {
    int part;
    int64_t seq;
    int64_t first; /* id of the oldest image since; 0: there is none */
    int64_t image; /* that, if it was so then; 0: there was nothing */
    bool now;      /* there is one now, */
    bool stays;    /* and that is as it was */
    size_t peer_len;
    char peer[];
};

struct then {
    struct isola__look look;
    int64_t time;
    struct isola_map rows; /* part, number, peer → struct changed */
    struct changed **all_rows;
    size_t n, cap;
    struct isola_past *out;
    bool all;      /* what is as it was is wanted, too */
    bool any_page; /* it had a database */
    /* Its rows go, and then come those there were: */
    bool all_timers, all_pages;
};

static struct changed *changed_row(struct then *t, sqlite3_stmt *row)
{
    struct isola_buf name = {0};
    struct isola_slice peer = isola__column(row, 1);
    int64_t id[2] = {sqlite3_column_int(row, 0), sqlite3_column_int64(row, 2)};
    isola_buf_append(&name, id, sizeof(id));
    isola_buf_append(&name, peer.data, peer.len);
    struct changed *c = isola_map_get(&t->rows, isola_buf_slice(&name));
    if (c == NULL) {
        c = isola_zalloc(sizeof(*c) + peer.len + 1);
        c->part = (int)id[0];
        c->seq = id[1];
        c->peer_len = peer.len;
        if (peer.len > 0)
            memcpy(c->peer, peer.data, peer.len);
        isola_map_set(&t->rows, isola_buf_slice(&name), c);
        if (t->n == t->cap) {
            t->cap = t->cap > 0 ? t->cap * 2 : 64;
            t->all_rows = isola_realloc(t->all_rows, t->cap * sizeof(struct changed *));
        }
        t->all_rows[t->n++] = c;
    }
    isola_buf_free(&name);
    return c;
}

static void add_changed(void *arg, sqlite3_stmt *row)
{
    struct then *t = arg;
    int64_t id = sqlite3_column_int64(row, 6), written = sqlite3_column_int64(row, 3);
    if (id == 0 && written <= t->time) {
        int part = sqlite3_column_int(row, 0);
        t->out->there |= part == ISOLA__PAST_STATE;
        t->any_page |= part == ISOLA_KEPT_PAGE;
        if (part == ISOLA_KEPT_TIMER || t->all)
            changed_row(t, row)->stays = true;
        return;
    }
    struct changed *c = changed_row(t, row);
    if (id == 0) {
        c->now = true;
    } else if (c->first == 0 || id < c->first) {
        c->first = id;
        c->image = written <= t->time ? id : 0;
    }
}

/* Appends what the statement gives. */
static int read_value(struct isola__look *l, sqlite3_stmt *stmt, int code, struct isola_buf *out)
{
    int rc = code == 0 ? sqlite3_step(stmt) : SQLITE_DONE;
    if (rc == SQLITE_ROW) {
        struct isola_slice value = isola__column(stmt, 0);
        isola_buf_append(out, value.data, value.len);
        if (out->failed)
            code = isola_fail(l->err, ISOLA_ENOMEM, "no memory for what was there then");
    }
    isola__look_end(l, stmt, rc, &code);
    return code;
}

static int read_image(struct isola__look *l, const struct changed *c, struct isola_buf *out)
{
    int code = 0;
    sqlite3_stmt *stmt = isola__look_prepare(l, "SELECT value FROM past WHERE id = ?1", &code);
    if (code == 0)
        isola__bind_int(stmt, 1, c->image);
    return read_value(l, stmt, code, out);
}

static int read_now(struct isola__look *l, const struct changed *c, struct isola_buf *out)
{
    int code = 0;
    bool row = c->part != ISOLA__PAST_STATE;
    sqlite3_stmt *stmt =
        isola__look_prepare(l,
                            row ? "SELECT value FROM kept WHERE address = ?1 AND part = ?2"
                                  " AND peer = ?3 AND seq = ?4"
                                : "SELECT value FROM state WHERE address = ?1",
                            &code);
    if (code == 0)
        isola__bind_text(stmt, 1, l->address);
    if (code == 0 && row) {
        isola__bind_int(stmt, 2, c->part);
        isola__bind_text(stmt, 3, isola_slice(c->peer, c->peer_len));
        isola__bind_int(stmt, 4, c->seq);
    }
    return read_value(l, stmt, code, out);
}

/* Of what there was then, and of what there is. */
static int values_of(struct then *t, const struct changed *c, struct isola_buf *then,
                     struct isola_buf *now)
{
    int code = 0;
    if (c->image != 0)
        code = read_image(&t->look, c, then);
    if (code == 0 && c->stays)
        code = read_now(&t->look, c, then);
    if (code == 0 && c->now)
        code = read_now(&t->look, c, now);
    return code;
}

static bool was_there(const struct changed *c)
{
    return c->image != 0 || c->stays;
}

static void add_whole(struct then *t, uint8_t part)
{
    struct isola_kept row = {.part = part, .gone = true, .whole = true};
    isola_kept_add(&t->out->rows, &row);
}

static void remove_row(struct then *t, const struct changed *c)
{
    struct isola_kept row = {.part = (uint8_t)c->part,
                             .gone = c->part != ISOLA_KEPT_PAGE, /* one page (base/kept.h) */
                             .peer = isola_slice(c->peer, c->peer_len),
                             .seq = (uint64_t)c->seq};
    isola__history_count(&t->out->what, c->part, true, 0);
    if (!(c->part == ISOLA_KEPT_TIMER && t->all_timers) &&
        !(c->part == ISOLA_KEPT_PAGE && t->all_pages))
        isola_kept_add(&t->out->rows, &row);
}

static void put_row(struct then *t, const struct changed *c, struct isola_slice value, bool same)
{
    struct isola_kept row = {.part = (uint8_t)c->part,
                             .peer = isola_slice(c->peer, c->peer_len),
                             .seq = (uint64_t)c->seq,
                             .value = value};
    struct isola_past *out = t->out;
    if (!same)
        isola__history_count(&out->what, c->part, false, row.peer.len + value.len);
    if (c->part == ISOLA_KEPT_TIMER && !same && (out->due == 0 || row.seq < out->due))
        out->due = row.seq;
    if (!same || (c->part == ISOLA_KEPT_TIMER && t->all_timers))
        isola_kept_add(&out->rows, &row);
}

/* Its memory becomes the change's. */
static void put_state(struct then *t, const struct changed *c, struct isola_buf *then)
{
    isola__history_count(&t->out->what, ISOLA__PAST_STATE, c->image == 0, then->len);
    t->out->change.has_value = true;
    t->out->state = *then;
    *then = (struct isola_buf){0};
}

/* Removals come first: they are of numbers up to theirs. `puts`: the second time. */
static int compare(struct then *t, const struct changed *c, bool puts)
{
    struct isola_buf then = {0}, now = {0};
    bool is_state = c->part == ISOLA__PAST_STATE, is_put = was_there(c) || is_state;
    if (is_put != puts || (!was_there(c) && !c->now)) /* it came and went since */
        return 0;
    int code = values_of(t, c, &then, &now);
    bool same = isola_slice_eq(isola_buf_slice(&then), isola_buf_slice(&now));
    if (code == 0 && is_state && !same)
        put_state(t, c, &then);
    else if (code == 0 && is_put && !is_state)
        put_row(t, c, isola_buf_slice(&then), c->stays || (same && c->now));
    else if (code == 0 && !is_put && !(same && c->part == ISOLA_KEPT_PAGE && !t->all_pages))
        remove_row(t, c);
    isola_buf_free(&then);
    isola_buf_free(&now);
    return code;
}

static int by_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int in_order(const void *x, const void *y)
{
    const struct changed *a = *(const struct changed *const *)x,
                         *b = *(const struct changed *const *)y;
    if (a->part != b->part)
        return a->part - b->part;
    int is =
        isola_slice_order(isola_slice(a->peer, a->peer_len), isola_slice(b->peer, b->peer_len));
    return is != 0 ? is : by_number(a->seq, b->seq);
}

static int compare_all(struct then *t)
{
    int code = 0;
    if (t->n > 0)
        qsort(t->all_rows, t->n, sizeof(struct changed *), in_order);
    for (size_t i = 0; i < t->n; i++) {
        const struct changed *c = t->all_rows[i];
        bool goes = c->now && !was_there(c);
        t->any_page |= c->part == ISOLA_KEPT_PAGE && was_there(c);
        t->all_timers |= c->part == ISOLA_KEPT_TIMER && goes;
        t->all_pages |= c->part == ISOLA_KEPT_PAGE && goes;
    }
    t->all_pages = t->all_pages && !t->any_page;
    if (t->all_timers)
        add_whole(t, ISOLA_KEPT_TIMER);
    if (t->all_pages)
        add_whole(t, ISOLA_KEPT_PAGE);
    for (int puts = 0; puts < 2; puts++)
        for (size_t i = 0; i < t->n && code == 0; i++)
            code = compare(t, t->all_rows[i], puts != 0);
    for (size_t i = 0; i < t->n; i++)
        t->out->there |= t->all_rows[i]->part == ISOLA__PAST_STATE && t->all_rows[i]->image != 0;
    t->out->change.value = isola_buf_slice(&t->out->state);
    t->out->change.rows = t->out->rows.row;
    t->out->change.nrows = t->out->rows.n;
    return code;
}

static int check_time(struct isola_state *s, const struct isola__look *l, int64_t time)
{
    const struct isola__history_limits *limits = isola__state_history_limits(s);
    char stamp[ISOLA_STAMP_SIZE];
    if (limits->ms == 0)
        return isola_fail(l->err, ISOLA_ENOENT,
                          "no history is kept here: the node runs with --history 0");
    if (time > l->point && time > limits->clock())
        return isola_fail(l->err, ISOLA_EINVAL, "that time is in the future");
    if (l->since == 0)
        return isola_fail(l->err, ISOLA_ENOENT, "there is no history yet");
    isola_clock_stamp(l->since, stamp);
    if (time < l->since)
        return isola_fail(l->err, ISOLA_ENOENT,
                          "the history does not reach so far: it begins at %s", stamp);
    return 0;
}

static int open_then(struct then *t, struct isola_state *s, struct isola_slice address,
                     struct isola_err *err)
{
    *t->out = (struct isola_past){0};
    return isola__look_open(&t->look, s, address, err);
}

static int close_then(struct then *t, int code)
{
    isola__look_close(&t->look);
    for (size_t i = 0; i < t->n; i++)
        free(t->all_rows[i]);
    free(t->all_rows);
    isola_map_free(&t->rows);
    if (code != 0)
        isola_past_free(t->out);
    return code;
}

int isola_state_past(struct isola_state *s, struct isola_slice address, int64_t time,
                     struct isola_past *out, struct isola_err *err)
{
    struct then t = {.time = time, .out = out};
    int code = open_then(&t, s, address, err);
    if (code != 0)
        return code;
    code = check_time(s, &t.look, time);
    if (code == 0)
        code = isola__look_each(&t.look, time, add_changed, &t);
    if (code == 0)
        code = compare_all(&t);
    return close_then(&t, code);
}

/* All that was there then. */
static int take_all(struct then *t)
{
    int code = 0;
    if (t->n > 0)
        qsort(t->all_rows, t->n, sizeof(struct changed *), in_order);
    for (size_t i = 0; i < t->n && code == 0; i++) {
        const struct changed *c = t->all_rows[i];
        struct isola_buf then = {0}, now = {0};
        if (was_there(c))
            code = values_of(t, c, &then, &now);
        if (code == 0 && was_there(c) && c->part == ISOLA__PAST_STATE) {
            t->out->there = true;
            put_state(t, c, &then);
        } else if (code == 0 && was_there(c)) {
            put_row(t, c, isola_buf_slice(&then), false);
        }
        isola_buf_free(&then);
        isola_buf_free(&now);
    }
    return code;
}

int isola_state_then(struct isola_state *s, struct isola_slice address, int64_t time,
                     struct isola_past *out, struct isola_err *err)
{
    bool now = time == ISOLA_PAST_NOW;
    struct then t = {.time = now ? INT64_MAX - 1 : time, .out = out, .all = true};
    int code = open_then(&t, s, address, err);
    if (code != 0)
        return code;
    if (!now)
        code = check_time(s, &t.look, time);
    if (code == 0)
        code = isola__look_each(&t.look, t.time, add_changed, &t);
    if (code == 0)
        code = take_all(&t);
    return close_then(&t, code);
}

void isola_past_free(struct isola_past *p)
{
    isola_buf_free(&p->state);
    isola_kept_free(&p->rows);
    *p = (struct isola_past){0};
}
