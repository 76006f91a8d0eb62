/* SPDX-License-Identifier: Apache-2.0
 *
 * From the time when all was in one file: what is in the tables of `state.db` goes to the groups,
 * an address at a time, and is removed there when all of it is on disk. A crash in between begins
 * anew: each address is written whole.
 */
#include <semaphore.h>

#include "store/state_own.h"

struct waiter {
    struct isola_state_req req;
    struct isola_err *err;
    int code;
    sem_t done;
};

static void moved(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct waiter *w = req->arg;
    (void)value;
    w->code = code != 0 ? isola_fail(w->err, code, "%s", why) : 0;
    sem_post(&w->done);
}

static int move_one(struct isola_state *s, struct isola_slice address, struct isola_slice value,
                    const struct isola_kept_rows *rows, struct isola_err *err)
{
    struct waiter w = {.req = {.cb = moved, .address = address}, .err = err};
    w.req.arg = &w;
    sem_init(&w.done, 0, 0);
    isola_state_write(
        s, &w.req,
        &(struct isola_state_change){
            .has_value = true, .clear = true, .value = value, .rows = rows->row, .nrows = rows->n});
    while (sem_wait(&w.done) != 0) /* EINTR */
        continue;
    sem_destroy(&w.done);
    return w.code;
}

static int rows_of(struct isola__db *root, sqlite3_stmt *stmt, struct isola_slice address,
                   struct isola_kept_rows *out, struct isola_err *err)
{
    int rc;
    isola__bind_text(stmt, 1, address);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_kept row = {.part = (uint8_t)sqlite3_column_int(stmt, 0),
                                 .peer = isola__column(stmt, 1),
                                 .seq = (uint64_t)sqlite3_column_int64(stmt, 2),
                                 .value = isola__column(stmt, 3)};
        isola_kept_add(out, &row);
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : isola__db_fail(root, rc, "read", err);
}

static int move_all(struct isola_state *s, struct isola__db *root, sqlite3_stmt *states,
                    sqlite3_stmt *kept, struct isola_err *err)
{
    int rc, code = 0;
    while (code == 0 && (rc = sqlite3_step(states)) == SQLITE_ROW) {
        struct isola_kept_rows rows = {0};
        code = rows_of(root, kept, isola__column(states, 0), &rows, err);
        if (code == 0)
            code = move_one(s, isola__column(states, 0), isola__column(states, 1), &rows, err);
        isola_kept_free(&rows);
    }
    if (code == 0 && rc != SQLITE_DONE)
        code = isola__db_fail(root, rc, "read", err);
    return code;
}

int isola__state_leave_one_file(struct isola_state *s, struct isola__db *root,
                                struct isola_err *err)
{
    sqlite3_stmt *states = NULL, *kept = NULL;
    int tables = 0;
    int code = isola__db_int(
        root, "SELECT count(*) FROM sqlite_schema WHERE name IN ('state', 'kept')", &tables, err);
    if (code != 0 || tables == 0)
        return code;
    if ((code = isola__db_prepare(root, "SELECT address, value FROM state", &states, err)) == 0 &&
        (code = isola__db_prepare(
             root, "SELECT part, peer, seq, value FROM kept WHERE address = ?1", &kept, err)) == 0)
        code = move_all(s, root, states, kept, err);
    sqlite3_finalize(states);
    sqlite3_finalize(kept);
    return code != 0
               ? code
               : isola__db_exec(root, "BEGIN; DROP TABLE state; DROP TABLE kept; COMMIT; VACUUM",
                                "set up", err);
}
