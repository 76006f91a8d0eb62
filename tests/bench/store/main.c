/* SPDX-License-Identifier: Apache-2.0
 *
 * What a disk and SQLite do by themselves, and the store with very many actors in it. Takes a
 * command a line, answers with a JSON line:
 *
 *   commit FILE ROWS BYTES MS   changes a row of BYTES, of ROWS there are, in a transaction of its
 *                               own, synced, again and again for MS milliseconds
 *                               → {"n":…,"rate":…,"p50us":…,"p99us":…}
 *   fill FILE ACTORS BYTES      stores so many actors of the type bench/Account, with a state of
 *                               BYTES each, in no order of their addresses, and leaves the store
 *                               open → {"n":…,"rate":…,"bytes":…}, bytes of addresses and states
 *   open FILE                   opens one, and leaves it open → {"ms":…}
 *   close                       waits until all is in the tables, and closes it → {"ms":…}
 *   cool FILE                   has the system forget what it has of a file in memory →
 * {"bytes":…}, its size
 *
 * Ends with its standard input; exit status 1 when it does not understand a line or it fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/check.h"
#include "base/clock.h"
#include "store/state.h"

static double now_us(void)
{
    return (double)isola_clock_ns() / 1e3;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* --- SQLite alone --- */

static sqlite3_stmt *prepared(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fprintf(stderr, "store: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
    return stmt;
}

static void step(sqlite3_stmt *stmt)
{
    if (sqlite3_step(stmt) != SQLITE_DONE) {
        fprintf(stderr, "store: %s\n", sqlite3_errmsg(sqlite3_db_handle(stmt)));
        exit(1);
    }
    sqlite3_reset(stmt);
}

static int commit(const char *file, int rows, int bytes, double ms)
{
    enum { KEPT = 1000000 };
    sqlite3 *db = NULL;
    double *took = isola_alloc(KEPT * sizeof(*took));
    char *value = isola_zalloc((size_t)bytes + 1);
    if (sqlite3_open(file, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                     "PRAGMA synchronous = FULL;"
                     "CREATE TABLE IF NOT EXISTS state (address TEXT NOT NULL PRIMARY KEY,"
                     " value BLOB NOT NULL) WITHOUT ROWID",
                     NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "store: %s\n", sqlite3_errmsg(db));
        return 1;
    }
    sqlite3_stmt *put = prepared(
        db, "INSERT INTO state VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value");
    size_t n = 0;
    double start = now_us(), now = start;
    while (now - start < ms * 1e3) {
        char key[64];
        int len = snprintf(key, sizeof(key), "bench/Account/k%zu", n * 131 % (size_t)rows);
        memset(value, 'a' + (int)(n % 26), (size_t)bytes);
        sqlite3_bind_text(put, 1, key, len, SQLITE_STATIC);
        sqlite3_bind_blob(put, 2, value, bytes, SQLITE_STATIC);
        step(put);
        double then = now_us();
        took[n++ % KEPT] = then - now;
        now = then;
    }
    sqlite3_finalize(put);
    sqlite3_close(db);
    size_t kept = n < KEPT ? n : KEPT;
    qsort(took, kept, sizeof(*took), by_time);
    printf("{\"n\":%zu,\"rate\":%.1f,\"p50us\":%.1f,\"p99us\":%.1f}\n", n,
           (double)n * 1e6 / (now - start), took[kept / 2], took[kept * 99 / 100]);
    free(took);
    free(value);
    return 0;
}

/* --- the store --- */

static struct isola_state *opened(const char *file)
{
    struct isola_state *s = NULL;
    struct isola_err err;
    if (isola_state_open(file, &s, &err) != 0) {
        fprintf(stderr, "store: %s\n", err.text);
        exit(1);
    }
    return s;
}

/* So many writes are under way at a time. */
#define WINDOW 4096

struct slot {
    struct isola_state_req req;
    char address[48];
};

struct fill {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct slot *unused[WINDOW];
    unsigned n; /* of these */
};

static void stored(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct fill *f = req->arg;
    (void)value;
    if (code != 0) {
        fprintf(stderr, "store: %s\n", why);
        exit(1);
    }
    pthread_mutex_lock(&f->lock);
    f->unused[f->n++] = (struct slot *)(void *)req;
    pthread_mutex_unlock(&f->lock);
    pthread_cond_signal(&f->some);
}

/* {n: 1, text: "aaa…"}, as the state of an Account is kept. */
static void account(uint8_t *to, size_t bytes)
{
    static const uint8_t head[] = {0x82, 0xa1, 'n', 0x01, 0xa4, 't', 'e', 'x', 't', 0xda};
    size_t text = bytes - sizeof(head) - 2;
    memcpy(to, head, sizeof(head));
    to[sizeof(head)] = (uint8_t)(text >> 8);
    to[sizeof(head) + 1] = (uint8_t)text;
    memset(to + sizeof(head) + 2, 'a', text);
}

static struct isola_state *store; /* that is open, or NULL */

static int fill(const char *file, uint64_t actors, int bytes)
{
    static struct fill f = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER};
    struct slot *slots = isola_zalloc(WINDOW * sizeof(*slots));
    uint8_t *value = isola_zalloc((size_t)bytes);
    struct isola_state *s = store = opened(file);
    uint64_t size = 0;
    double start = now_us();
    account(value, (size_t)bytes);
    for (f.n = 0; f.n < WINDOW; f.n++)
        f.unused[f.n] = &slots[f.n];
    for (uint64_t i = 0; i < actors; i++) {
        pthread_mutex_lock(&f.lock);
        while (f.n == 0)
            pthread_cond_wait(&f.some, &f.lock);
        struct slot *slot = f.unused[--f.n];
        pthread_mutex_unlock(&f.lock);
        /* a permutation of all numbers below 2^40: each once, one after the other nowhere near */
        uint64_t key = (i * UINT64_C(0x9e3779b97f)) & ((UINT64_C(1) << 40) - 1);
        int len = snprintf(slot->address, sizeof(slot->address), "bench/Account/%010" PRIx64, key);
        slot->req = (struct isola_state_req){
            .cb = stored, .arg = &f, .address = isola_slice(slot->address, (size_t)len)};
        size += (uint64_t)len + (uint64_t)bytes;
        isola_state_put(s, &slot->req, isola_slice(value, (size_t)bytes));
    }
    pthread_mutex_lock(&f.lock);
    while (f.n < WINDOW)
        pthread_cond_wait(&f.some, &f.lock);
    pthread_mutex_unlock(&f.lock);
    double end = now_us();
    printf("{\"n\":%" PRIu64 ",\"rate\":%.1f,\"bytes\":%" PRIu64 "}\n", actors,
           (double)actors * 1e6 / (end - start), size);
    free(slots);
    free(value);
    return 0;
}

struct settled {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void on_settled(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    struct settled *w = req->arg;
    (void)value;
    if (code != 0) {
        fprintf(stderr, "store: %s\n", why);
        exit(1);
    }
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static int close_it(void)
{
    struct settled w = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct isola_state_req req = {.cb = on_settled, .arg = &w};
    double start = now_us();
    isola_state_forget(store, &req, (uint64_t)isola_clock_wall_ms()); /* nothing is as old */
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.changed, &w.lock);
    pthread_mutex_unlock(&w.lock);
    isola_state_close(store);
    store = NULL;
    printf("{\"ms\":%.2f}\n", (now_us() - start) / 1e3);
    return 0;
}

static int open_it(const char *file)
{
    double start = now_us();
    store = opened(file);
    printf("{\"ms\":%.2f}\n", (now_us() - start) / 1e3);
    return 0;
}

static int cool(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) {
        fprintf(stderr, "store: %s: %s\n", file, strerror(errno));
        return 1;
    }
    printf("{\"bytes\":%lld}\n", (long long)lseek(fd, 0, SEEK_END));
    close(fd);
    return 0;
}

int main(void)
{
    char line[1000], file[800];
    while (fgets(line, sizeof(line), stdin)) {
        int rows, bytes, rc;
        uint64_t actors;
        double ms;
        if (sscanf(line, "commit %799s %d %d %lf", file, &rows, &bytes, &ms) == 4) {
            rc = commit(file, rows, bytes, ms);
        } else if (sscanf(line, "fill %799s %" SCNu64 " %d", file, &actors, &bytes) == 3 &&
                   store == NULL && bytes >= 64 && bytes < 65536) {
            rc = fill(file, actors, bytes);
        } else if (sscanf(line, "open %799s", file) == 1 && store == NULL) {
            rc = open_it(file);
        } else if (strcmp(line, "close\n") == 0 && store != NULL) {
            rc = close_it();
        } else if (sscanf(line, "cool %799s", file) == 1) {
            rc = cool(file);
        } else {
            fprintf(stderr, "store: not understood: %s", line);
            return 1;
        }
        if (rc != 0)
            return rc;
        fflush(stdout);
    }
    return 0;
}
