/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking through the files of a store.
 *
 * Each file gets a connection of its own, in whose snapshot states and rows are gone through
 * together, in the order of their addresses, so that an actor's bytes are known when the next one
 * begins. Only lengths are read, not values.
 *
 * Failure modes: a file that cannot be read to its end is noted as damaged with SQLite's reason,
 * and the others are looked at. While a snapshot is held the write-ahead log of its file grows:
 * `ms` bounds that, but for a check, which takes as long as it takes to read the file.
 */
#include "store/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "store/state_own.h"

/* Between looks at the clock: rows, and steps of SQLite's machine. */
#define ROWS_STEP 256
#define VM_STEP   10000
#define DAMAGES   5 /* lines that a check gives at the most */

struct survey {
    const struct isola_survey_options *options;
    struct isola_survey *out;
    uint64_t until; /* ms of isola_clock_ms, for the file that is looked at */
};

static bool stopped(const struct survey *v)
{
    return v->options->stop != NULL && atomic_load(v->options->stop);
}

/* --- files --- */

static uint64_t bytes_of(const char *path, const char *ending)
{
    struct stat st;
    char *name = isola_format("%s%s", path, ending);
    uint64_t n = stat(name, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    free(name);
    return n;
}

static struct isola_survey_file *add_file(struct survey *v, const char *path)
{
    const char *name = strrchr(path, '/');
    struct isola_survey_file *f = &v->out->files[v->out->nfiles++];
    *f = (struct isola_survey_file){
        .bytes = bytes_of(path, ""), .log_bytes = bytes_of(path, "-wal"), .sound = true};
    snprintf(f->name, sizeof(f->name), "%s", name != NULL ? name + 1 : path);
    return f;
}

static void damaged(struct isola_survey_file *f, const char *what)
{
    size_t n = strlen(f->damage);
    f->sound = false;
    snprintf(f->damage + n, sizeof(f->damage) - n, "%s%s", n > 0 ? "; " : "", what);
}

/* --- largest --- */

static void note_actor(struct survey *v, struct isola_slice address, uint64_t bytes)
{
    struct isola_survey *out = v->out;
    size_t n = out->nlargest, at = n;
    while (at > 0 && out->largest[at - 1].bytes < bytes)
        at--;
    if (at >= v->options->top)
        return;
    if (n == v->options->top)
        free(out->largest[--n].address);
    memmove(&out->largest[at + 1], &out->largest[at], (n - at) * sizeof(out->largest[0]));
    out->largest[at] = (struct isola_survey_actor){
        .address = isola_strndup((const char *)address.data, address.len), .bytes = bytes};
    out->nlargest = n + 1;
}

/* --- actors --- */

/* The actor whose rows are being added up. */
struct at {
    struct isola_buf address;
    uint64_t bytes;
};

static void end_actor(struct survey *v, struct at *at)
{
    if (at->address.len > 0)
        note_actor(v, isola_buf_slice(&at->address), at->bytes);
    at->address.len = 0;
    at->bytes = 0;
}

static void add_row(struct survey *v, struct at *at, sqlite3_stmt *stmt)
{
    const void *text = sqlite3_column_blob(stmt, 0);
    struct isola_slice address = isola_slice(text, (size_t)sqlite3_column_bytes(stmt, 0));
    int part = sqlite3_column_int(stmt, 1);
    uint64_t bytes = (uint64_t)sqlite3_column_int64(stmt, 2);
    if (!isola_slice_eq(address, isola_buf_slice(&at->address))) {
        end_actor(v, at);
        isola_buf_append(&at->address, address.data, address.len);
    }
    at->bytes += bytes;
    if (part == 0) {
        v->out->actors++;
        v->out->state_bytes += bytes;
    } else if (part > 0 && part <= ISOLA_KEPT_LAST) {
        v->out->rows[part].count++;
        v->out->rows[part].bytes += bytes;
    }
}

static int walk(struct survey *v, struct isola__db *db, struct isola_err *err)
{
    struct at at = {0};
    sqlite3_stmt *stmt;
    unsigned n = 0;
    int rc = SQLITE_ROW;
    int code = isola__db_prepare(
        db,
        "SELECT address, 0, length(value) FROM state UNION ALL"
        " SELECT address, part, length(value) + length(CAST(peer AS BLOB)) FROM kept ORDER BY 1",
        &stmt, err);
    if (code != 0)
        return code;
    while (!v->out->cut && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        add_row(v, &at, stmt);
        if (++n % ROWS_STEP == 0)
            v->out->cut = stopped(v) || isola_clock_ms() >= v->until;
    }
    end_actor(v, &at);
    isola_buf_free(&at.address);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = isola__db_fail(db, rc, "read", err);
    sqlite3_finalize(stmt);
    return code;
}

/* Images are numbered by their bytes (history.c). */
static int add_history(struct survey *v, struct isola__db *db, struct isola_err *err)
{
    sqlite3_stmt *stmt;
    int code = isola__db_prepare(db,
                                 "SELECT (SELECT max(id) FROM past) - (SELECT min(id) FROM past),"
                                 " since FROM history",
                                 &stmt, err);
    if (code != 0)
        return code;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        int64_t since = sqlite3_column_int64(stmt, 1);
        v->out->history_bytes += (uint64_t)sqlite3_column_int64(stmt, 0);
        if (since > v->out->history_since)
            v->out->history_since = since;
    } else {
        code = isola__db_fail(db, rc, "read", err);
    }
    sqlite3_finalize(stmt);
    return code;
}

static int look(struct survey *v, struct isola__db *db, struct isola_err *err)
{
    int code = isola__db_exec(db, "BEGIN", "read", err);
    if (code != 0)
        return code;
    code = walk(v, db, err);
    if (code == 0)
        code = add_history(v, db, err);
    (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* --- checks --- */

static int interrupt(void *arg)
{
    return stopped(arg);
}

static int check(struct survey *v, struct isola__db *db, struct isola_survey_file *f,
                 struct isola_err *err)
{
    sqlite3_stmt *stmt = NULL;
    char sql[64];
    snprintf(sql, sizeof(sql), "PRAGMA integrity_check(%d)", DAMAGES);
    sqlite3_progress_handler(db->handle, VM_STEP, interrupt, v);
    int code = isola__db_prepare(db, sql, &stmt, err);
    int rc = SQLITE_DONE;
    while (code == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(stmt, 0);
        if (line == NULL || strcmp(line, "ok") != 0)
            damaged(f, line != NULL ? line : "no memory to say what");
    }
    f->checked = code == 0 && rc != SQLITE_INTERRUPT;
    if (code == 0 && rc != SQLITE_DONE && rc != SQLITE_INTERRUPT)
        code = isola__db_fail(db, rc, "check", err);
    sqlite3_finalize(stmt);
    sqlite3_progress_handler(db->handle, 0, NULL, NULL);
    return code;
}

/* --- all of it --- */

static void survey_file(struct survey *v, const char *path, bool actors)
{
    struct isola_survey_file *f = add_file(v, path);
    struct isola__db db;
    struct isola_err err = {0};
    if (v->options->files_only || stopped(v) || (!actors && !v->options->check))
        return;
    int code = isola__db_join(&db, path, &err);
    if (code == 0 && actors)
        code = look(v, &db, &err);
    if (code == 0 && v->options->check)
        code = check(v, &db, f, &err);
    isola__db_close(&db);
    if (code != 0)
        damaged(f, err.text);
}

static void survey_root(struct survey *v, struct isola_state *s)
{
    pthread_mutex_t *lock;
    struct isola__db *root = isola__state_root(s, &lock);
    struct isola_survey_file *f = add_file(v, root->path);
    struct isola_err err = {0};
    if (v->options->files_only || !v->options->check)
        return;
    pthread_mutex_lock(lock);
    if (check(v, root, f, &err) != 0)
        damaged(f, err.text);
    pthread_mutex_unlock(lock);
}

/* A file of the agent's, in the same directory. */
static void survey_beside(struct survey *v, const char *root, const char *name)
{
    struct stat st;
    const char *end = strrchr(root, '/');
    char *path = isola_format("%.*s%s", end != NULL ? (int)(end + 1 - root) : 0, root, name);
    if (stat(path, &st) == 0)
        survey_file(v, path, false);
    free(path);
}

void isola_state_survey(struct isola_state *s, const struct isola_survey_options *options,
                        struct isola_survey *out)
{
    pthread_mutex_t *lock;
    unsigned n = isola__state_groups(s);
    struct survey v = {.options = options, .out = out};
    ISOLA_CHECK(options->top <= ISOLA_SURVEY_TOP_MAX);
    *out = (struct isola_survey){0};
    out->files = isola_zalloc((n + 3) * sizeof(*out->files));
    out->largest = isola_zalloc((options->top + 1) * sizeof(*out->largest));
    isola__state_waiting(s, &out->journal, &out->journal_bytes);
    out->history = isola__state_history_limits(s)->ms > 0;
    survey_root(&v, s);
    for (unsigned i = 0; i < n; i++) {
        bool cut = out->cut; /* each file gets what is left of the time, by its share */
        out->cut = false;
        v.until = isola_clock_ms() + options->ms / n;
        survey_file(&v, isola__state_path(s, i), true);
        out->cut = out->cut || cut;
    }
    const char *root = isola__state_root(s, &lock)->path;
    survey_beside(&v, root, ISOLA__CATALOG_FILE);
    survey_beside(&v, root, ISOLA__CACHE_FILE);
}

void isola_survey_free(struct isola_survey *survey)
{
    for (size_t i = 0; i < survey->nlargest; i++)
        free(survey->largest[i].address);
    free(survey->largest);
    free(survey->files);
    *survey = (struct isola_survey){0};
}
