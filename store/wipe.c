/* SPDX-License-Identifier: Apache-2.0
 *
 * Group by group: all that was requested is brought into the tables, then addresses are read from
 * them by a connection of their own, some at a time, and removed as anybody removes them, by way of
 * the journal.
 */
#include "store/wipe.h"

#include <semaphore.h>
#include <string.h>

#include "base/check.h"
#include "store/state_own.h"

#define SOME 500 /* addresses in one go */

struct wipe {
    struct isola_state *state;
    void (*each)(void *arg, struct isola_slice address);
    void *arg;
    uint64_t n;
};

/* An address, until it is gone. */
struct one {
    struct isola_state_req req;
    struct some *of;
    struct isola_buf address;
    uint8_t sent[8];
    bool has_sent;
    struct isola_kept row;
};
struct some {
    struct one one[SOME];
    size_t n;
    sem_t done;
    pthread_mutex_t lock;
    struct isola_err err;
};

static void gone(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct some *some = ((struct one *)req)->of;
    (void)value;
    if (code != 0 && code != ISOLA_ENOENT) {
        pthread_mutex_lock(&some->lock);
        isola_fail(&some->err, code, "%s", why);
        pthread_mutex_unlock(&some->lock);
    }
    sem_post(&some->done);
}

static void remove_one(struct wipe *w, struct one *o)
{
    o->req = (struct isola_state_req){.cb = gone, .address = isola_buf_slice(&o->address)};
    w->each(w->arg, o->req.address);
    if (!o->has_sent) {
        isola_state_del(w->state, &o->req);
        return;
    }
    o->row = (struct isola_kept){.part = ISOLA_KEPT_SENT,
                                 .value = isola_slice(o->sent, sizeof(o->sent))};
    isola_state_write(w->state, &o->req,
                      &(struct isola_state_change){
                          .has_value = true, .clear = true, .rows = &o->row, .nrows = 1});
}

/* Up to SOME addresses behind `from`. */
static int read_some(struct isola__db *db, sqlite3_stmt *stmt, struct isola_slice from,
                     struct isola_slice end, struct some *some, struct isola_err *err)
{
    int rc, code = 0;
    isola__bind_text(stmt, 1, from);
    isola__bind_text(stmt, 2, end);
    isola__bind_int(stmt, 3, SOME);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct one *o = &some->one[some->n++];
        struct isola_slice address = isola__column(stmt, 0), sent = isola__column(stmt, 1);
        o->of = some;
        o->has_sent = sent.len == sizeof(o->sent);
        if (o->has_sent)
            memcpy(o->sent, sent.data, sizeof(o->sent));
        isola_buf_append(&o->address, address.data, address.len);
    }
    if (rc != SQLITE_DONE)
        code = isola__db_fail(db, rc, "read", err);
    sqlite3_reset(stmt);
    return code;
}

static int remove_some(struct wipe *w, struct some *some, struct isola_err *err)
{
    for (size_t i = 0; i < some->n; i++)
        remove_one(w, &some->one[i]);
    for (size_t i = 0; i < some->n; i++)
        while (sem_wait(&some->done) != 0) /* EINTR */
            continue;
    w->n += some->n;
    if (some->err.code != 0)
        *err = some->err;
    return some->err.code;
}

static void some_free(struct some *some)
{
    for (size_t i = 0; i < some->n; i++)
        isola_buf_free(&some->one[i].address);
    sem_destroy(&some->done);
    pthread_mutex_destroy(&some->lock);
    free(some);
}

/* Addresses from `from` up to `end`, in the file at `path`. */
static int wipe_file(struct wipe *w, const char *path, struct isola_slice prefix,
                     struct isola_slice end, const atomic_bool *stop, struct isola_err *err)
{
    struct isola__db db;
    sqlite3_stmt *stmt = NULL;
    struct isola_buf from = {0};
    bool more = true;
    int code = isola__db_join(&db, path, err);
    if (code != 0)
        return code;
    isola_buf_append(&from, prefix.data, prefix.len);
    /* What is left of one that has been removed already is nothing. */
    code = isola__db_prepare(
        &db,
        "SELECT s.address, (SELECT k.value FROM kept k WHERE k.address = s.address AND k.part = 1)"
        " FROM state s WHERE s.address > ?1 AND s.address < ?2 AND (s.value <> x'' OR"
        "  EXISTS (SELECT 1 FROM kept k WHERE k.address = s.address AND k.part <> 1))"
        " ORDER BY s.address LIMIT ?3",
        &stmt, err);
    while (code == 0 && more) {
        struct some *some = isola_zalloc(sizeof(*some));
        sem_init(&some->done, 0, 0);
        pthread_mutex_init(&some->lock, NULL);
        if (stop != NULL && atomic_load(stop))
            code = isola_fail(err, ISOLA_ECANCELED, "the node is stopping");
        if (code == 0)
            code = read_some(&db, stmt, isola_buf_slice(&from), end, some, err);
        if (code == 0)
            code = remove_some(w, some, err);
        more = some->n == SOME;
        if (some->n > 0) {
            from.len = 0;
            isola_buf_append(&from, some->one[some->n - 1].address.data,
                             some->one[some->n - 1].address.len);
        }
        some_free(some);
    }
    sqlite3_finalize(stmt);
    isola__db_close(&db);
    isola_buf_free(&from);
    return code;
}

int isola_state_wipe(struct isola_state *s, struct isola_slice prefix, const atomic_bool *stop,
                     void (*each)(void *arg, struct isola_slice address), void *arg, uint64_t *n,
                     struct isola_err *err)
{
    struct wipe w = {.state = s, .each = each, .arg = arg};
    struct isola_buf end = {0};
    const char *path;
    int code = 0;
    ISOLA_CHECK(prefix.len > 1 && prefix.data[prefix.len - 1] == '/');
    isola_buf_append(&end, prefix.data, prefix.len);
    end.data[end.len - 1]++; /* the least text that does not begin so */
    for (unsigned i = 0; code == 0 && i < isola__state_groups(s); i++) {
        code = isola__state_settle_group(s, i, &path, err);
        if (code == 0)
            code = wipe_file(&w, path, prefix, isola_buf_slice(&end), stop, err);
    }
    isola_buf_free(&end);
    *n = w.n;
    return code;
}
