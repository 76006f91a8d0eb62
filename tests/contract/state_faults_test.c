/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/state.h when something fails: I/O errors and recovery, refused files,
 * durability under kill -9. The process that is killed writes without end, and reports each
 * acknowledged put on stdout.
 */
#include "state_harness.h"

#include "store/sqlite.h"

/* --- I/O errors --- */

static void fails_what_the_disk_refuses_and_recovers(void **state)
{
    (void)state;
    size_t big = 16u << 20;
    uint8_t *bytes = calloc(1, big);
    struct wait a = {0}, b = {0}, c = {0}, d = {0};
    struct gate g;
    struct isola_state *s = open_state();
    put(s, &a, "a/B/big", "before");
    ended(&a, 0);

    signal(SIGXFSZ, SIG_IGN);
    set_file_size_limit(4u << 20);
    shut_gate(s, &g);
    put(s, &a, "a/B/a", "small");
    prepare(&b, "a/B/big");
    isola_state_put(s, &b.req, isola_slice(bytes, big));
    put(s, &c, "a/B/c", "small too");
    get(s, &d, "a/B/big");
    open_gate(&g);
    await(&b.done);
    char expected[256];
    snprintf(expected, sizeof(expected), "cannot write %s-log1: File too large", data_path);
    assert_string_equal(b.why, expected);
    ended(&b, ISOLA_EIO);
    ended(&a, 0); /* its neighbours are not concerned */
    ended(&c, 0);
    answered(&d, "before");
    assert_true(stats(s).failed_commits > 0);

    set_file_size_limit(RLIM_INFINITY);
    prepare(&b, "a/B/big");
    isola_state_put(s, &b.req, isola_slice(bytes, big));
    ended(&b, 0);
    isola_state_close(s);
    s = open_state();
    get(s, &a, "a/B/a");
    answered(&a, "small");
    get(s, &c, "a/B/c");
    answered(&c, "small too");
    get(s, &b, "a/B/big");
    await(&b.done);
    assert_int_equal(b.len, big);
    forget(&b);
    isola_state_close(s);
    check_integrity();
    free(bytes);
}

static void fails_all_while_nothing_can_be_written(void **state)
{
    (void)state;
    enum { N = 100 };
    static struct wait w[N];
    struct gate g;
    struct isola_state *s = open_state();
    put(s, &w[0], "a/B/x", "before");
    ended(&w[0], 0);
    signal(SIGXFSZ, SIG_IGN);
    set_file_size_limit(0);
    shut_gate(s, &g);
    for (int i = 0; i < N; i++)
        put(s, &w[i], "a/B/x", "after");
    open_gate(&g);
    for (int i = 0; i < N; i++) {
        await(&w[i].done);
        assert_int_not_equal(strlen(w[i].why), 0);
        ended(&w[i], ISOLA_EIO);
    }
    assert_in_range(stats(s).failed_commits, 2, 20); /* it does not try each of them in vain */
    get(s, &w[0], "a/B/x");
    answered(&w[0], "before");
    set_file_size_limit(RLIM_INFINITY);
    put(s, &w[0], "a/B/x", "again");
    ended(&w[0], 0);
    get(s, &w[0], "a/B/x");
    answered(&w[0], "again");
    isola_state_close(s);
    check_integrity();
}

/* --- files that are refused --- */

static void expect_refused(int code, const char *before, const char *after)
{
    struct isola_state *s = NULL;
    struct isola_err err = {0};
    assert_int_equal(isola_state_open(path, &s, &err), code);
    assert_int_equal(err.code, code);
    char expected[1000];
    snprintf(expected, sizeof(expected), "%s%s%s", before, path, after);
    assert_string_equal(err.text, expected);
    assert_null(s);
}

static void set_schema(int version)
{
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA user_version = %d", version);
    sql(path, text);
}

static void refuses_a_newer_schema(void **state)
{
    (void)state;
    isola_state_close(open_state());
    set_schema(ISOLA__STATE_SCHEMA + 1);
    char why[200];
    snprintf(why, sizeof(why),
             " was written by a newer version of Isola (schema %d, this one knows %d): start that "
             "version, or use another data directory",
             ISOLA__STATE_SCHEMA + 1, ISOLA__STATE_SCHEMA);
    expect_refused(ISOLA_ESCHEMA, "", why);
    set_schema(ISOLA__STATE_SCHEMA);
    isola_state_close(open_state());
}

static void refuses_what_is_not_its_own(void **state)
{
    (void)state;
    sql(path, "CREATE TABLE songs (title TEXT)");
    expect_refused(ISOLA_EIO, "cannot open ",
                   ": it is a database of another program; move it away");
    sql(path, "SELECT title FROM songs");

    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("This is not a database at all, but it is long enough to have a header of 100 bytes: "
          "so it has to be read and judged.\n",
          f);
    fclose(f);
    expect_refused(ISOLA_EIO, "cannot open ", ": it is not an SQLite database; move it away");
}

static void refuses_a_place_it_cannot_write(void **state)
{
    (void)state;
    char kept[sizeof(path)];
    memcpy(kept, path, sizeof(path));
    snprintf(path, sizeof(path), "%s/missing/state.db", dir);
    expect_refused(ISOLA_EIO, "cannot open ", ": No such file or directory");
    snprintf(path, sizeof(path), "%s", dir);
    expect_refused(ISOLA_EIO, "cannot open ", ": Is a directory");
    memcpy(path, kept, sizeof(path));
}

/* --- kill -9 --- */

#define WRITER_KEYS 40

struct ack {
    uint32_t key;
    uint32_t n;
};

struct writer_slot {
    struct isola_state_req req;
    struct isola_state *s;
    struct ack next;
    char address[32];
    uint8_t value[600];
};

static void writer_put(struct writer_slot *slot)
{
    slot->next.n++;
    memset(slot->value, (int)(slot->next.n & 0xff), sizeof(slot->value));
    memcpy(slot->value, &slot->next, sizeof(slot->next));
    isola_state_put(slot->s, &slot->req, isola_slice(slot->value, 100 + slot->next.n * 37 % 500));
}

static void on_written(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    (void)value, (void)why;
    struct writer_slot *slot = req->arg;
    if (code != 0 || write(STDOUT_FILENO, &slot->next, sizeof(slot->next)) < 0)
        _exit(1);
    writer_put(slot);
}

static int writer(const char *file)
{
    static struct writer_slot slots[WRITER_KEYS];
    struct isola_state *s;
    struct isola_err err;
    if (isola_state_open(file, &s, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (uint32_t i = 0; i < WRITER_KEYS; i++) {
        snprintf(slots[i].address, sizeof(slots[i].address), "a/B/%u", i);
        slots[i].s = s;
        slots[i].next.key = i;
        slots[i].req = (struct isola_state_req){
            .cb = on_written, .arg = &slots[i], .address = isola_slice_str(slots[i].address)};
        writer_put(&slots[i]);
    }
    for (;;)
        pause();
}

static bool read_ack(int fd, struct ack *ack)
{
    return read_whole(fd, ack, sizeof(*ack));
}

static void expect_acknowledged(const uint32_t *acked)
{
    struct isola_state *s = open_state();
    for (uint32_t i = 0; i < WRITER_KEYS; i++) {
        struct wait w = {0};
        char address[32];
        struct ack found;
        snprintf(address, sizeof(address), "a/B/%u", i);
        get(s, &w, address);
        await(&w.done);
        if (w.code == ISOLA_ENOENT) {
            assert_int_equal(acked[i], 0);
        } else {
            assert_int_equal(w.code, 0);
            assert_true(w.len >= sizeof(found));
            memcpy(&found, w.value, sizeof(found));
            assert_int_equal(found.key, i);
            assert_true(found.n >= acked[i]);
            assert_int_equal(w.len, 100 + found.n * 37 % 500);
            for (size_t k = sizeof(found); k < w.len; k++) /* whole, not half of two */
                assert_int_equal(w.value[k], found.n & 0xff);
        }
        forget(&w);
    }
    isola_state_close(s);
}

static void loses_nothing_acknowledged_to_kill(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 25; round++) {
        uint32_t acked[WRITER_KEYS] = {0};
        struct ack ack;
        int fd;
        pid_t pid = spawn_writer(&fd);
        int after = rand() % (round % 5 == 0 ? 5 : 20000);
        for (int i = 0; i < after; i++) {
            assert_true(read_ack(fd, &ack));
            acked[ack.key] = ack.n;
        }
        kill_and_reap(pid);
        while (read_ack(fd, &ack))
            acked[ack.key] = ack.n;
        close(fd);
        expect_acknowledged(acked);
        check_integrity();
        assert_int_equal(tempdir_clear(dir), 0);
    }
}

static void keeps_a_second_process_out(void **state)
{
    (void)state;
    int fd;
    struct ack ack;
    pid_t pid = spawn_writer(&fd);
    assert_true(read_ack(fd, &ack)); /* it is open over there */
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT count(*) FROM state", NULL, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    expect_refused(ISOLA_EBUSY, "cannot open ",
                   ": another process has it open; stop that one first");
    kill_and_reap(pid);
    close(fd);
    isola_state_close(open_state());
}

/* Somebody has the tables when it is closed: it is in the journal for who comes next. */
static void keeps_what_the_tables_have_not_taken(void **state)
{
    (void)state;
    struct wait w;
    sqlite3 *db = NULL;
    struct isola_state *s = open_state();
    assert_int_equal(sqlite3_open(data_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    put(s, &w, "a/B/x", "kept");
    ended(&w, 0);
    isola_state_close(s);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    s = open_state();
    get(s, &w, "a/B/x");
    answered(&w, "kept");
    isola_state_close(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(fails_what_the_disk_refuses_and_recovers),
        TEST(fails_all_while_nothing_can_be_written),
        TEST(refuses_a_newer_schema),
        TEST(refuses_what_is_not_its_own),
        TEST(refuses_a_place_it_cannot_write),
        TEST(loses_nothing_acknowledged_to_kill),
        TEST(keeps_a_second_process_out),
        TEST(keeps_what_the_tables_have_not_taken),
    };
    RUN(tests, writer);
}
