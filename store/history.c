/* SPDX-License-Identifier: Apache-2.0
 *
 * The history of what actors keep, so that one of them can be put back to what it was.
 *
 * A generation of changes (fold.c) has a *point*: the time of its last commit. Everything of the
 * generation is written into the tables with that as `written`; and of each row that is replaced or
 * removed an *image* goes into the table `past` before, in the same transaction: what was there,
 * when that was written, and `until`, the point. So at time T a row was
 *
 *   what the image with the least `until` beyond T says, if there is one: that, if it was written
 *   at T or before, else nothing;
 *   else what is in the tables, if that was written at T or before; else nothing.
 *
 * Rows that did not exist before cost nothing, whoever changes a thousand times between two points
 * costs one image, and commits know nothing of it. What was changed after the last point before T
 * is not there at T: a point is a second after the one before, or more when much is written.
 *
 * That holds if points only grow. `written` of a commit is the clock's time, but beyond the last
 * point and not before the last commit (group.c): also when the clock goes back, and then for as
 * long as it is behind.
 *
 * A crash in the middle of a generation leaves some addresses with it in the tables, at its point
 * P, and others without. It is written once more, with more commits perhaps, and at a point P2 not
 * before P. An address is written in one transaction, so it has all of P or nothing. Those with P:
 * what is the same stays as it is, with P; what is not has been so since P, and there is an image
 * of it until P2, unless P2 is P, when both are of the same moment: of what a point itself has
 * written no image is taken. So each address is right at each time; that is all, as addresses are
 * put back one at a time. The same goes for what the tables did not take in one generation, and
 * comes with a later one.
 *
 * Images are numbered by the bytes they take, each one's number beyond the last by its own size: so
 * the first and the last tell how much there is, and the oldest go first, some with each
 * transaction that adds some, and when there is nothing else to do. `since` (table `history`) is
 * from when on all images are there; 0: none are taken.
 *
 * Failure modes: images are in the file of the tables, because two files do not commit together. A
 * transaction that fails is tried again, an entry at a time; one that then fails with its images
 * and works without them ends the history for LOST_MS: what is in the tables matters more. It
 * begins anew with the point of the generation after that: `since` is never earlier than the first
 * point that has been written with images. With a full disk that frees pages which the tables can
 * use.
 */
#include "store/history_own.h"

#include "base/check.h"
#include "base/clock.h"

#define LOST_MS 60000
/* Of a row beside its bytes, in the table and its index. */
#define ROW_BYTES 40
/* Between two looks for old images while there is nothing else to do. */
#define LOOK_MS 1000

static const char *const sql[ISOLA__HISTORY_STATEMENTS] = {
    [ISOLA__HISTORY_GET] = "SELECT point, since FROM history",
    [ISOLA__HISTORY_SINCE] = "UPDATE history SET since = ?1",
    [ISOLA__HISTORY_POINT] = "UPDATE history SET point = ?1",
    [ISOLA__PAST_LAST] = "SELECT max(id) FROM past",
    [ISOLA__PAST_FIRST] = "SELECT id, until FROM past ORDER BY id LIMIT ?1",
    [ISOLA__PAST_ADD] = ("INSERT INTO past (id, until, address, part, peer, seq, written, value)"
                         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
    [ISOLA__PAST_DROP] = "DELETE FROM past WHERE id <= ?1",
    [ISOLA__NOW_STATE] = "SELECT 0, '', 0, written, value FROM state WHERE address = ?1",
    [ISOLA__NOW_ROW] = ("SELECT part, peer, seq, written, value FROM kept"
                        " WHERE address = ?1 AND part = ?2 AND peer = ?3 AND seq = ?4"),
    [ISOLA__NOW_ROWS] = ("SELECT part, peer, seq, written, value FROM kept"
                         " WHERE address = ?1 AND part = ?2 AND peer = ?3 AND seq <= ?4"),
    [ISOLA__NOW_PART] = ("SELECT part, peer, seq, written, value FROM kept"
                         " WHERE address = ?1 AND part = ?2"),
    [ISOLA__NOW_ALL] = ("SELECT part, peer, seq, written, value FROM kept"
                        " WHERE address = ?1 AND part >= ?2"),
};

int isola__history_open(struct isola__history *h, struct isola__tables *tables,
                        const struct isola__history_limits *limits, struct isola_err *err)
{
    int code = 0;
    *h = (struct isola__history){.tables = tables, .limits = *limits, .on = limits->ms > 0};
    for (int i = 0; i < ISOLA__HISTORY_STATEMENTS && code == 0; i++)
        code = isola__db_prepare(&tables->db, sql[i], &h->stmt[i], err);
    if (code != 0)
        isola__history_close(h);
    return code;
}

void isola__history_close(struct isola__history *h)
{
    for (int i = 0; i < ISOLA__HISTORY_STATEMENTS; i++)
        sqlite3_finalize(h->stmt[i]);
    *h = (struct isola__history){0};
}

/* --- statements --- */

static int end(struct isola__history *h, sqlite3_stmt *stmt, int rc, const char *doing)
{
    int code = rc == SQLITE_DONE || rc == SQLITE_ROW
                   ? 0
                   : isola__db_fail(&h->tables->db, rc, doing, &h->tables->err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}

static int read_numbers(struct isola__history *h, enum isola__history_statement which, int n,
                        int64_t out[])
{
    sqlite3_stmt *stmt = h->stmt[which];
    int rc = sqlite3_step(stmt);
    for (int i = 0; i < n; i++)
        out[i] = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, i) : 0;
    return end(h, stmt, rc, "read");
}

static int run_with(struct isola__history *h, enum isola__history_statement which, int64_t n)
{
    sqlite3_stmt *stmt = h->stmt[which];
    isola__bind_int(stmt, 1, n);
    return end(h, stmt, sqlite3_step(stmt), "write");
}

/* --- generations --- */

int isola__history_point(struct isola__history *h, int64_t *point)
{
    int64_t is[2];
    int code = read_numbers(h, ISOLA__HISTORY_GET, 2, is);
    *point = is[0];
    return code;
}

void isola__history_generation(struct isola__history *h, int64_t point)
{
    h->point = point;
    h->on = h->limits.ms > 0 && isola_clock_ms() >= h->off_until;
}

int isola__history_begin(struct isola__history *h)
{
    int64_t is[2];
    h->added = 0;
    int code = read_numbers(h, ISOLA__HISTORY_GET, 2, is);
    if (code == 0 && h->on)
        code = read_numbers(h, ISOLA__PAST_LAST, 1, &h->last);
    if (code == 0 && h->on != (is[1] != 0))
        code = run_with(h, ISOLA__HISTORY_SINCE, h->on ? h->point : 0);
    return code;
}

int isola__history_mark(struct isola__history *h)
{
    return run_with(h, ISOLA__HISTORY_POINT, h->point);
}

bool isola__history_give_up(struct isola__history *h)
{
    if (!h->on)
        return false;
    h->on = false;
    h->off_until = isola_clock_ms() + LOST_MS;
    return true;
}

void isola__history_take_back(struct isola__history *h)
{
    h->on = true;
    h->off_until = 0;
}

/* --- images --- */

/* Of the row that `now` stands at. */
static int add_image(struct isola__history *h, struct isola_slice address, sqlite3_stmt *now)
{
    sqlite3_stmt *stmt = h->stmt[ISOLA__PAST_ADD];
    struct isola_slice peer = isola__column(now, 1);
    int64_t bytes =
        ROW_BYTES + (int64_t)(2 * address.len + peer.len) + sqlite3_column_bytes(now, 4);
    isola__bind_int(stmt, 1, h->last + bytes);
    isola__bind_int(stmt, 2, h->point);
    isola__bind_text(stmt, 3, address);
    isola__bind_int(stmt, 4, sqlite3_column_int64(now, 0));
    isola__bind_text(stmt, 5, peer);
    isola__bind_int(stmt, 6, sqlite3_column_int64(now, 2));
    isola__bind_int(stmt, 7, sqlite3_column_int64(now, 3));
    int rc = sqlite3_bind_value(stmt, 8, sqlite3_column_value(now, 4));
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    h->last += bytes;
    h->added++;
    return end(h, stmt, rc, "write");
}

/* Of all rows that `now`, with its values, gives. */
static int add_images(struct isola__history *h, struct isola_slice address, sqlite3_stmt *now)
{
    int rc = SQLITE_DONE, code = 0;
    while (code == 0 && (rc = sqlite3_step(now)) == SQLITE_ROW)
        if (sqlite3_column_int64(now, 3) < h->point)
            code = add_image(h, address, now);
    struct isola_err why = h->tables->err;
    int ended = end(h, now, rc, "read");
    if (code != 0)
        h->tables->err = why;
    return code != 0 ? code : ended;
}

static sqlite3_stmt *now_of(struct isola__history *h, enum isola__history_statement which,
                            struct isola_slice address, const struct isola_kept *row)
{
    sqlite3_stmt *stmt = h->stmt[which];
    isola__bind_text(stmt, 1, address);
    if (which == ISOLA__NOW_ALL)
        isola__bind_int(stmt, 2, ISOLA__HISTORY_FROM);
    if (row == NULL)
        return stmt;
    isola__bind_int(stmt, 2, row->part);
    if (which != ISOLA__NOW_PART) {
        isola__bind_text(stmt, 3, row->peer);
        isola__bind_int(stmt, 4, (int64_t)row->seq);
    }
    return stmt;
}

int isola__history_put(struct isola__history *h, struct isola_slice address,
                       const struct isola_kept *row, struct isola_slice value, bool *same)
{
    *same = false;
    if (!h->on || (row != NULL && row->part < ISOLA__HISTORY_FROM))
        return 0;
    sqlite3_stmt *now = now_of(h, row != NULL ? ISOLA__NOW_ROW : ISOLA__NOW_STATE, address, row);
    int rc = sqlite3_step(now), code = 0;
    if (rc == SQLITE_ROW) {
        *same = isola_slice_eq(isola__column(now, 4), value);
        if (!*same && sqlite3_column_int64(now, 3) < h->point)
            code = add_image(h, address, now);
    }
    if (code != 0) {
        sqlite3_reset(now);
        return code;
    }
    return end(h, now, rc, "read");
}

int isola__history_gone(struct isola__history *h, struct isola_slice address,
                        const struct isola_kept *row)
{
    if (!h->on || (row != NULL && row->part < ISOLA__HISTORY_FROM))
        return 0;
    enum isola__history_statement which = row == NULL  ? ISOLA__NOW_ALL
                                          : row->whole ? ISOLA__NOW_PART
                                                       : ISOLA__NOW_ROWS;
    return add_images(h, address, now_of(h, which, address, row));
}

int isola__history_deleted(struct isola__history *h, struct isola_slice address)
{
    return h->on ? add_images(h, address, now_of(h, ISOLA__NOW_STATE, address, NULL)) : 0;
}

/* --- the oldest go --- */

/* Up to which image they go: 0: none does. */
static int find_cut(struct isola__history *h, unsigned n, int64_t *cut, int64_t *until, bool *more)
{
    sqlite3_stmt *stmt = h->stmt[ISOLA__PAST_FIRST];
    int64_t now = h->limits.clock(), oldest = now - (int64_t)h->limits.ms;
    unsigned rows = 0;
    int rc;
    isola__bind_int(stmt, 1, (int64_t)n);
    *cut = 0;
    h->due = 0;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(stmt, 0), then = sqlite3_column_int64(stmt, 1);
        if (h->on && then > oldest && h->last - id < (int64_t)h->limits.bytes) {
            int64_t left = then - oldest;
            h->due = isola_clock_ms() + (left > LOOK_MS ? (uint64_t)left : LOOK_MS);
            break;
        }
        *cut = id;
        *until = then;
        rows++;
    }
    *more = rows == n;
    return end(h, stmt, rc, "read");
}

int isola__history_trim(struct isola__history *h, unsigned n, bool *more)
{
    int64_t is[2], cut = 0, until = 0;
    *more = false;
    int code = read_numbers(h, ISOLA__PAST_LAST, 1, &h->last);
    if (code == 0 && h->last > 0)
        code = find_cut(h, n, &cut, &until, more);
    if (code != 0 || cut == 0)
        return code;
    code = read_numbers(h, ISOLA__HISTORY_GET, 2, is);
    if (code == 0 && is[1] != 0 && (!h->on || until > is[1]))
        code = run_with(h, ISOLA__HISTORY_SINCE, h->on ? until : 0);
    return code == 0 ? run_with(h, ISOLA__PAST_DROP, cut) : code;
}
