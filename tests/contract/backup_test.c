/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/backup.h: a backup is of one moment, however much is written meanwhile; a
 * restore brings all of it back, or changes nothing.
 */
#include "store/backup.h"

#include "state_harness.h"

#include "base/clock.h"
#include "store/db.h"
#include "store/state_own.h"

static char to[80], data[80];

static int make_dirs(void **state)
{
    int r = make_dir(state);
    snprintf(to, sizeof(to), "%s/backup", dir);
    snprintf(data, sizeof(data), "%s/data", dir);
    store_options.groups = 3;
    return r;
}

static void write_now(struct isola_state *s, const char *address, const char *value)
{
    struct wait w;
    put(s, &w, address, value);
    ended(&w, 0);
}

static void backup_now(struct isola_state *s)
{
    struct isola_backup b;
    struct isola_backup_progress progress = {0};
    struct isola_err err;
    if (isola_state_backup(s, "east", to, NULL, &progress, &b, &err) != 0)
        fail_msg("%s", err.text);
    assert_string_equal(b.node, "east");
    assert_int_equal(b.files, 1 + store_options.groups);
    assert_true(b.bytes > 0);
    assert_true(b.time > 1600000000000);
    assert_true(atomic_load(&progress.of) == b.bytes && atomic_load(&progress.bytes) == b.bytes);
    isola_backup_free(&b);
}

static void restore_now(bool force, bool aside)
{
    struct isola_backup b;
    struct isola_err err;
    if (isola_backup_restore(to, data, force, &b, &err) != 0)
        fail_msg("%s", err.text);
    assert_string_equal(b.node, "east");
    assert_int_equal(b.aside != NULL, aside);
    isola_backup_free(&b);
}

static void refused(int code, const char *part)
{
    struct isola_backup b;
    struct isola_err err;
    assert_int_equal(isola_backup_restore(to, data, false, &b, &err), code);
    if (strstr(err.text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, err.text);
}

static struct isola_state *open_restored(void)
{
    snprintf(path, sizeof(path), "%s/state.db", data);
    return open_state();
}

static void brings_back_what_there_was(void **state)
{
    (void)state;
    struct wait w;
    struct isola_state *s = open_state();
    char address[32];
    for (int i = 0; i < 200; i++) {
        snprintf(address, sizeof(address), "a/B/%d", i);
        write_now(s, address, address);
    }
    backup_now(s);
    for (int i = 0; i < 200; i++) {
        snprintf(address, sizeof(address), "a/B/%d", i);
        write_now(s, address, "later");
    }
    isola_state_close(s);
    restore_now(false, false);
    store_options.groups = 1; /* it has as many as there were */
    s = open_restored();
    for (int i = 0; i < 200; i++) {
        snprintf(address, sizeof(address), "a/B/%d", i);
        get(s, &w, address);
        answered(&w, address);
    }
    write_now(s, "a/B/new", "new");
    isola_state_close(s);

    refused(ISOLA_EEXIST, "has data already");
    s = open_restored();
    get(s, &w, "a/B/new");
    answered(&w, "new");
    isola_state_close(s);
    restore_now(true, true);
    s = open_restored();
    get(s, &w, "a/B/new");
    ended(&w, ISOLA_ENOENT);
    get(s, &w, "a/B/7");
    answered(&w, "a/B/7");
    isola_state_close(s);
}

/* --- one moment --- */

enum { CHAINS = 3, ROUNDS = 3 };
struct chain {
    struct isola_state *s;
    int number;
    pthread_t thread;
    atomic_bool over;
    atomic_int done;
};

/* Each write begins when the one before is on disk, and goes to another file as often as not. */
static void *write_chain(void *arg)
{
    struct chain *c = arg;
    for (int i = 1; !atomic_load(&c->over); i++) {
        char address[32], value[16];
        snprintf(address, sizeof(address), "a/B%d/%d", c->number, i % 32);
        snprintf(value, sizeof(value), "%d", i);
        write_now(c->s, address, value);
        atomic_store(&c->done, i);
    }
    return NULL;
}

static int number_at(struct isola_state *s, int chain, int i)
{
    struct wait w;
    char address[32];
    snprintf(address, sizeof(address), "a/B%d/%d", chain, i);
    get(s, &w, address);
    await(&w.done);
    int n = w.code == 0 ? atoi((const char *)w.value) : 0;
    forget(&w);
    return n;
}

/* Of each address there is its last before the newest of all. */
static void check_chain(struct isola_state *s, int chain, int least, int most)
{
    int newest = 0, n[32];
    for (int i = 0; i < 32; i++) {
        n[i] = number_at(s, chain, i);
        newest = n[i] > newest ? n[i] : newest;
    }
    assert_in_range(newest, least, most);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(n[i] % 32, i);
        assert_in_range(n[i], newest - 31, newest);
    }
}

static void is_of_one_moment(void **state)
{
    (void)state;
    store_options.groups = 32;
    for (int round = 0; round < ROUNDS; round++) {
        struct isola_state *s = open_state();
        struct chain c[CHAINS] = {0};
        for (int i = 0; i < CHAINS; i++) {
            c[i].s = s;
            c[i].number = i;
            assert_int_equal(pthread_create(&c[i].thread, NULL, write_chain, &c[i]), 0);
        }
        for (int i = 0; i < CHAINS; i++)
            while (atomic_load(&c[i].done) < 100)
                sched_yield();
        int before[CHAINS], after[CHAINS];
        for (int i = 0; i < CHAINS; i++)
            before[i] = atomic_load(&c[i].done);
        backup_now(s);
        for (int i = 0; i < CHAINS; i++) {
            after[i] = atomic_load(&c[i].done);
            atomic_store(&c[i].over, true);
        }
        for (int i = 0; i < CHAINS; i++)
            pthread_join(c[i].thread, NULL);
        isola_state_close(s);

        restore_now(round > 0, round > 0);
        char was[sizeof(path)];
        memcpy(was, path, sizeof(was));
        s = open_restored();
        for (int i = 0; i < CHAINS; i++)
            check_chain(s, i, before[i], after[i] + 1);
        isola_state_close(s);
        memcpy(path, was, sizeof(was));
        assert_int_equal(tempdir_remove(to), 0);
    }
}

enum { HELD = 32 };
struct held {
    struct isola_state *s;
    struct wait w[HELD];
    char address[HELD][32];
    bool any;
};

/* What is requested meanwhile is not written before it is over, wherever it belongs. */
static void write_while_held(void *arg)
{
    struct held *h = arg;
    for (int i = 0; i < HELD; i++) {
        snprintf(h->address[i], sizeof(h->address[i]), "a/B/%d", i);
        put(h->s, &h->w[i], h->address[i], "held");
    }
    uint64_t until = isola_clock_ms() + 100;
    while (!h->any && isola_clock_ms() < until) {
        pthread_mutex_lock(&lock);
        for (int i = 0; i < HELD; i++)
            h->any = h->any || h->w[i].done;
        pthread_mutex_unlock(&lock);
        sched_yield();
    }
}

static void nothing_is_written_while_groups_are_held(void **state)
{
    (void)state;
    static struct held h;
    h = (struct held){.s = open_state()};
    struct isola_err err;
    assert_int_equal(isola__state_hold(h.s, write_while_held, &h, &err), 0);
    for (int i = 0; i < HELD; i++)
        ended(&h.w[i], 0);
    assert_false(h.any);
    isola_state_close(h.s);
}

/* --- refusals --- */

static void says_why_it_makes_none(void **state)
{
    (void)state;
    struct isola_backup b;
    struct isola_err err;
    struct stat st;
    struct isola_state *s = open_state();
    assert_int_equal(isola_state_backup(s, "east", "relative", NULL, NULL, &b, &err), ISOLA_EINVAL);
    assert_int_equal(isola_state_backup(s, "east", dir, NULL, NULL, &b, &err), ISOLA_EEXIST);
    char deep[160];
    snprintf(deep, sizeof(deep), "%s/not/there", dir);
    assert_int_equal(isola_state_backup(s, "east", deep, NULL, NULL, &b, &err), ISOLA_ENOENT);
    const atomic_bool stop = true;
    for (int i = 0; i < 300; i++) {
        char address[32], value[6000];
        memset(value, 'v', sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        snprintf(address, sizeof(address), "a/B/%d", i);
        write_now(s, address, value);
    }
    assert_int_equal(isola_state_backup(s, "east", to, &stop, NULL, &b, &err), ISOLA_ECANCELED);
    signal(SIGXFSZ, SIG_IGN);
    set_file_size_limit(100000);
    assert_int_equal(isola_state_backup(s, "east", to, NULL, NULL, &b, &err), ISOLA_EIO);
    set_file_size_limit(RLIM_INFINITY);
    assert_int_equal(stat(to, &st), -1);
    char part[200];
    snprintf(part, sizeof(part), "%s.part-%d", to, (int)getpid());
    assert_int_equal(stat(part, &st), -1);
    write_now(s, "a/B/still", "fine");
    backup_now(s);
    isola_state_close(s);
}

static void change(const char *file, off_t at, const char *bytes)
{
    char name[200];
    snprintf(name, sizeof(name), "%s/%s", to, file);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), strlen(bytes));
    close(fd);
}

/* With backup.json as it is but for this, it is refused so. */
static void refused_with(const char *what, const char *with, int code, const char *part)
{
    char name[200], text[8192] = "";
    snprintf(name, sizeof(name), "%s/backup.json", to);
    FILE *f = fopen(name, "r");
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    char *at = strstr(text, what);
    assert_true(n > 0 && at != NULL);
    f = fopen(name, "w");
    fprintf(f, "%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
    fclose(f);
    refused(code, part);
    f = fopen(name, "w");
    fputs(text, f);
    fclose(f);
}

static void changes_nothing_when_it_cannot_restore(void **state)
{
    (void)state;
    struct isola_datadir *held;
    struct isola_err err;
    struct stat st;
    char name[200];
    refused(ISOLA_ENOENT, "there is no backup in");
    struct isola_state *s = open_state();
    write_now(s, "a/B/x", "x");
    backup_now(s);
    isola_state_close(s);

    assert_int_equal(isola_datadir_open(data, &held, &err), 0);
    refused(ISOLA_EBUSY, "is in use by another agent");
    isola_datadir_close(held);

    refused_with("state-1.db", "../../x.db", ISOLA_EIO, "no known name");
    refused_with("state-1.db", "state-3.db", ISOLA_EIO, "no known name");
    refused_with("state-1.db", "state-0.db", ISOLA_EIO, "named twice");
    refused_with("state-1.db", "catalog.db", ISOLA_EIO, "missing");
    refused_with("\"groups\": 3", "\"groups\": 65", ISOLA_EIO, "something is missing");
    refused_with("\"format\": 1", "\"format\": 2", ISOLA_ESCHEMA, "newer version");
    refused_with("\"group\": ", "\"group\": 10", ISOLA_ESCHEMA, "newer version");
    refused_with("{", "", ISOLA_EIO, "backup.json");
    change("state-2.db", 5000, "damage");
    refused(ISOLA_EIO, "state-2.db");
    snprintf(name, sizeof(name), "%s/state.db", data);
    assert_int_equal(stat(name, &st), -1);
    snprintf(name, sizeof(name), "%s/restore.part", data);
    assert_int_equal(stat(name, &st), -1);
}

static void an_interrupted_one_is_to_be_run_again(void **state)
{
    (void)state;
    struct isola_datadir *held;
    struct isola_err err;
    struct wait w;
    char name[200];
    struct isola_state *s = open_state();
    write_now(s, "a/B/x", "x");
    backup_now(s);
    isola_state_close(s);
    restore_now(false, false);
    snprintf(name, sizeof(name), "%s/restoring", data);
    close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    snprintf(name, sizeof(name), "%s/state-1.db", data);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(isola_datadir_open(data, &held, &err), ISOLA_EIO);
    assert_non_null(strstr(err.text, "was interrupted: run `ctl restore` again"));
    restore_now(false, true);
    assert_int_equal(isola_datadir_open(data, &held, &err), 0);
    isola_datadir_close(held);
    s = open_restored();
    get(s, &w, "a/B/x");
    answered(&w, "x");
    isola_state_close(s);
}

static int no_writer(const char *where)
{
    (void)where;
    return 1;
}

#define BACKUP_TEST(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dir)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BACKUP_TEST(brings_back_what_there_was),
        BACKUP_TEST(is_of_one_moment),
        BACKUP_TEST(nothing_is_written_while_groups_are_held),
        BACKUP_TEST(says_why_it_makes_none),
        BACKUP_TEST(changes_nothing_when_it_cannot_restore),
        BACKUP_TEST(an_interrupted_one_is_to_be_run_again),
    };
    RUN(tests, no_writer);
}
