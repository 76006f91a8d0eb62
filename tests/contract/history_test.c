/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/history.h: what an actor had at each point is what it had then, whatever
 * was written since; with a clock that goes back, after each way to end; and how long it is kept.
 */
#include "store/history.h"

#include "base/check.h"
#include "crash_vfs.h"
#include "state_harness.h"
#include "state_model.h"
#include "store/survey.h"

#define ADDRESSES 5
#define HOUR      INT64_C(3600000)

static _Atomic int64_t fake_now; /* the store's threads read it */

static int64_t fake_clock(void)
{
    return fake_now;
}

static int make_place(void **state)
{
    fake_now = INT64_C(1900000000000);
    store_options = (struct isola_state_options){
        .groups = 1, .history_ms = 24 * HOUR, .history_bytes = 1u << 30, .clock = fake_clock};
    return make_dir(state);
}

static const char *name_of(size_t i)
{
    static const char *const names[ADDRESSES] = {"h/A/1", "h/A/2", "h/B/\xc3\xa4", "h/B/4",
                                                 "h/C/5"};
    return names[i];
}

/* --- what was there --- */

/* All that is put back: not the messages. */
static char *text_of(const struct model *m)
{
    struct isola_kept *rows = isola_zalloc((m->rows + 1) * sizeof(*rows));
    size_t n = 0;
    for (size_t i = 0; i < m->rows; i++)
        if (m->row[i].part >= ISOLA_KEPT_TIMER)
            rows[n++] = m->row[i];
    char *text = model_text_of(m->there ? isola_buf_slice(&m->value) : isola_slice("", 0), rows, n);
    free(rows);
    return text;
}

static char *messages_of(const struct model *m)
{
    size_t n = 0;
    while (n < m->rows && m->row[n].part < ISOLA_KEPT_TIMER)
        n++;
    return model_text_of(isola_slice("", 0), m->row, n);
}

static void copy_model(struct model *to, const struct model *from)
{
    *to = (struct model){0};
    if (from->there)
        model_write(to, &(struct isola_state_change){.has_value = true,
                                                     .value = isola_buf_slice(&from->value),
                                                     .rows = from->row,
                                                     .nrows = from->rows});
}

struct moment {
    size_t at; /* whose */
    int64_t from;
    size_t ops; /* of the disk, when it was known */
    char *text;
};
struct book {
    struct moment *moments;
    size_t n;
    struct model model[ADDRESSES];
};

static void book_free(struct book *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->moments[i].text);
    free(b->moments);
    for (size_t i = 0; i < ADDRESSES; i++)
        model_free(&b->model[i]);
    *b = (struct book){0};
}

static struct isola_history points(struct isola_state *s, const char *address)
{
    struct isola_history h;
    struct isola_err err;
    if (isola_state_history(s, isola_slice_str(address), 1000, &h, &err) != 0)
        fail_msg("%s", err.text);
    for (size_t i = 1; i < h.n; i++)
        assert_true(h.points[i].time < h.points[i - 1].time);
    assert_true(h.n <= h.total);
    return h;
}

/* Notes what each address has at its last point. */
static void note_all(struct isola_state *s, struct book *b)
{
    for (size_t i = 0; i < ADDRESSES; i++) {
        struct isola_history h = points(s, name_of(i));
        if (h.n > 0) {
            b->moments = isola_realloc(b->moments, (b->n + 1) * sizeof(*b->moments));
            b->moments[b->n++] = (struct moment){i, h.points[0].time, 0, text_of(&b->model[i])};
        }
        isola_history_free(&h);
    }
}

static void write_change(struct isola_state *s, struct book *b, size_t at,
                         const struct isola_state_change *change)
{
    struct wait w;
    prepare(&w, name_of(at));
    isola_state_write(s, &w.req, change);
    ended(&w, 0);
    model_write(&b->model[at], change);
}

static void write_some(struct isola_state *s, struct book *b, uint64_t *seed, size_t n)
{
    while (n-- > 0) {
        size_t at = disk_pick(seed, ADDRESSES);
        struct model_change c;
        struct wait w;
        if (disk_pick(seed, 12) == 0) {
            del(s, &w, name_of(at));
            ended(&w, 0);
            model_del(&b->model[at]);
            continue;
        }
        model_change_make(&c, seed, false, false);
        write_change(s, b, at, &c.change);
        model_change_free(&c);
    }
}

/* Mostly on, sometimes not, sometimes back. */
static void pass_time(uint64_t *seed)
{
    size_t n = disk_pick(seed, 10);
    if (n == 0)
        fake_now -= (int64_t)disk_pick(seed, 5000);
    else if (n > 2)
        fake_now += (int64_t)disk_pick(seed, 3000);
}

/* As if another store had said what was there. */
static void expect_from(struct isola_state *s, struct book *b, const struct moment *m, int64_t time)
{
    struct isola_slice address = isola_slice_str(name_of(m->at));
    struct isola_past all, past;
    struct isola_err err;
    struct model then;
    assert_int_equal(isola_state_then(s, address, time, &all, &err), 0);
    assert_int_equal(isola_state_past_from(s, address, &all, &past, &err), 0);
    copy_model(&then, &b->model[m->at]);
    model_write(&then, &past.change);
    char *is = text_of(&then), *kept = messages_of(&then),
         *messages = messages_of(&b->model[m->at]);
    assert_string_equal(is, m->text);
    assert_string_equal(kept, messages);
    assert_int_equal(all.there, past.there);
    free(is);
    free(kept);
    free(messages);
    model_free(&then);
    isola_past_free(&past);
    isola_past_free(&all);
}

static void expect_then(struct isola_state *s, struct book *b, const struct moment *m, int64_t time)
{
    struct isola_past past;
    struct isola_err err;
    struct model then;
    if (isola_state_past(s, isola_slice_str(name_of(m->at)), time, &past, &err) != 0)
        fail_msg("%s at %lld: %s", name_of(m->at), (long long)time, err.text);
    copy_model(&then, &b->model[m->at]);
    model_write(&then, &past.change);
    char *is = text_of(&then), *kept = messages_of(&then),
         *messages = messages_of(&b->model[m->at]);
    if (strcmp(is, m->text) != 0)
        fail_msg("%s at %lld would be\n  %s\nbut was\n  %s", name_of(m->at), (long long)time, is,
                 m->text);
    assert_string_equal(kept, messages);
    free(is);
    free(kept);
    free(messages);
    model_free(&then);
    isola_past_free(&past);
    expect_from(s, b, m, time);
}

/* Until the next point of the address, or now. */
static void expect_all(struct isola_state *s, struct book *b, uint64_t *seed)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct moment *m = &b->moments[i];
        struct isola_history h = points(s, name_of(m->at));
        int64_t next = INT64_MAX;
        for (size_t k = 0; k < h.n; k++)
            if (h.points[k].time > m->from)
                next = h.points[k].time;
        expect_then(s, b, m, m->from);
        if (next != INT64_MAX) {
            expect_then(s, b, m, next - 1);
            expect_then(s, b, m, m->from + (int64_t)disk_pick(seed, (size_t)(next - m->from)));
        }
        isola_history_free(&h);
    }
}

/* What is put back is there, and that can be undone. */
static void put_back(struct isola_state *s, struct book *b, uint64_t *seed)
{
    const struct moment *m = &b->moments[disk_pick(seed, b->n)];
    struct isola_history before = points(s, name_of(m->at)), after;
    struct isola_past past, undo;
    struct isola_err err;
    struct wait w;
    char *had = text_of(&b->model[m->at]);
    assert_int_equal(isola_state_past(s, isola_slice_str(name_of(m->at)), m->from, &past, &err), 0);
    if (past.change.has_value || past.change.nrows > 0) {
        fake_now += 10;
        write_change(s, b, m->at, &past.change);
        after = points(s, name_of(m->at));
        assert_int_equal(after.total, before.total + 1);
        char *is = text_of(&b->model[m->at]);
        assert_string_equal(is, m->text);
        free(is);
        prepare(&w, name_of(m->at));
        isola_state_get_all(s, &w.req);
        await(&w.done);
        is = model_text_of(isola_slice(w.value, w.len), w.rows.row, w.rows.n);
        char *model = model_text(&b->model[m->at], ISOLA_KEPT_LAST);
        assert_string_equal(is, model);
        free(is);
        free(model);
        forget(&w);
        assert_int_equal(isola_state_past(s, isola_slice_str(name_of(m->at)), before.points[0].time,
                                          &undo, &err),
                         0);
        fake_now += 10;
        write_change(s, b, m->at, &undo.change);
        is = text_of(&b->model[m->at]);
        assert_string_equal(is, had);
        free(is);
        isola_past_free(&undo);
        isola_history_free(&after);
    }
    free(had);
    isola_past_free(&past);
    isola_history_free(&before);
}

static void knows_what_was(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 6; run++) {
        uint64_t seed = (uint64_t)time(NULL) * 16 + run;
        struct book b = {0};
        print_message("seed %llu\n", (unsigned long long)seed);
        store_options.groups = run % 2 == 0 ? 1 : 3;
        store_options.fold_bytes = run % 3 == 0 ? 0 : 2000;
        struct isola_state *s = open_state();
        for (int i = 0; i < 40; i++) {
            write_some(s, &b, &seed, 1 + disk_pick(&seed, 8));
            note_all(s, &b);
            pass_time(&seed);
            if (disk_pick(&seed, 8) == 0 && b.n > 0)
                put_back(s, &b, &seed);
            if (disk_pick(&seed, 10) == 0) {
                isola_state_close(s);
                s = open_state();
            }
        }
        fake_now += 100000;
        expect_all(s, &b, &seed);
        isola_state_close(s);
        s = open_state();
        expect_all(s, &b, &seed);
        isola_state_close(s);
        check_integrity();
        book_free(&b);
        assert_int_equal(remove_dir(NULL), 0);
        assert_int_equal(make_dir(NULL), 0);
    }
}

/* --- the power goes --- */

/* What is there now. */
static void read_model(struct isola_state *s, size_t at, struct model *m)
{
    struct wait w;
    model_free(m);
    prepare(&w, name_of(at));
    isola_state_get_all(s, &w.req);
    await(&w.done);
    if (w.code == 0)
        model_write(m, &(struct isola_state_change){.has_value = true,
                                                    .value = isola_slice(w.value, w.len),
                                                    .rows = w.rows.row,
                                                    .nrows = w.rows.n});
    forget(&w);
}

/* What was known is known, though the store goes on, and the power goes again. */
static void expect_after(struct disk *left, const struct book *b, size_t ops, uint64_t *seed)
{
    struct book is = {0};
    struct disk *d = disk_new(left);
    crash_vfs_use(d);
    struct isola_state *s = open_state();
    for (size_t i = 0; i < ADDRESSES; i++)
        read_model(s, i, &is.model[i]);
    if (disk_pick(seed, 2) == 0)
        write_some(s, &is, seed, 5);
    for (size_t i = 0; i < b->n; i++)
        if (b->moments[i].ops <= ops)
            expect_then(s, &is, &b->moments[i], b->moments[i].from);
    note_all(s, &is);
    isola_state_close(s);
    s = open_state();
    for (size_t i = 0; i < is.n; i++)
        expect_then(s, &is, &is.moments[i], is.moments[i].from);
    isola_state_close(s);
    book_free(&is);
    disk_free(d);
}

/* Each run is done once, and the power lost at some of its operations. */
static void knows_it_after_a_crash(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 3; run++) {
        uint64_t seed = (uint64_t)time(NULL) * 16 + run;
        struct book b = {0};
        struct disk *d = disk_new(NULL);
        print_message("seed %llu\n", (unsigned long long)seed);
        store_options.groups = run == 1 ? 3 : 1;
        store_options.fold_bytes = run == 2 ? 0 : 2000;
        crash_vfs_use(d);
        struct isola_state *s = open_state();
        for (int i = 0; i < 25; i++) {
            write_some(s, &b, &seed, 1 + disk_pick(&seed, 8));
            size_t before = b.n;
            if (disk_pick(&seed, 2) == 0)
                note_all(s, &b);
            for (size_t k = before; k < b.n; k++)
                b.moments[k].ops = disk_ops(d);
            pass_time(&seed);
        }
        isola_state_close(s);
        for (int i = 0; i < 40; i++) {
            struct disk *again = disk_new(NULL);
            size_t ops = disk_pick(&seed, disk_ops(d) + 1);
            disk_follow(again, d, ops);
            struct disk *left = disk_lose_power(again, disk_random(&seed));
            expect_after(left, &b, ops, &seed);
            disk_free(left);
            disk_free(again);
        }
        disk_free(d);
        book_free(&b);
    }
}

/* --- between two looks --- */

/* All that its state has been, in order. */
struct past_texts {
    char **text;
    size_t n;
};

/* Points come while it is written, where they come: each has what some write had left, and none
 * after that an older one. */
static void points_are_between_commits(void **state)
{
    (void)state;
    uint64_t seed = (uint64_t)time(NULL);
    struct book b = {0};
    struct past_texts all = {0};
    struct isola_err err;
    store_options.fold_bytes = 140000; /* of many commits */
    print_message("seed %llu\n", (unsigned long long)seed);
    struct isola_state *s = open_state();
    for (int i = 0; i < 1200; i++) {
        struct model_change c;
        model_change_make(&c, &seed, false, i == 0);
        write_change(s, &b, 0, &c.change);
        model_change_free(&c);
        all.text = isola_realloc(all.text, (all.n + 1) * sizeof(*all.text));
        all.text[all.n++] = text_of(&b.model[0]);
        fake_now += (int64_t)disk_pick(&seed, 3);
    }
    struct isola_history h = points(s, name_of(0));
    assert_true(h.n > 3);
    for (size_t i = h.n, at = 0; i-- > 0;) {
        struct isola_past past;
        struct model then;
        assert_int_equal(
            isola_state_past(s, isola_slice_str(name_of(0)), h.points[i].time, &past, &err), 0);
        copy_model(&then, &b.model[0]);
        model_write(&then, &past.change);
        char *is = text_of(&then);
        while (at < all.n && strcmp(all.text[at], is) != 0)
            at++;
        assert_true(at < all.n);
        assert_true(i > 0 || at + 1 == all.n || strcmp(all.text[all.n - 1], is) == 0);
        free(is);
        model_free(&then);
        isola_past_free(&past);
    }
    isola_history_free(&h);
    isola_state_close(s);
    for (size_t i = 0; i < all.n; i++)
        free(all.text[i]);
    free(all.text);
    book_free(&b);
}

/* --- how long it is kept --- */

static void put_settled(struct isola_state *s, const char *address, const char *value)
{
    struct wait w;
    put(s, &w, address, value);
    ended(&w, 0);
    struct isola_history h = points(s, address);
    isola_history_free(&h);
}

static int past_code(struct isola_state *s, const char *address, int64_t time, char *value)
{
    struct isola_past past;
    struct isola_err err;
    int code = isola_state_past(s, isola_slice_str(address), time, &past, &err);
    if (code == 0) {
        snprintf(value, 32, "%s%.*s", past.change.has_value ? "" : "same", (int)past.state.len,
                 (const char *)past.state.data);
        isola_past_free(&past);
    } else {
        assert_true(strlen(err.text) > 10);
    }
    return code;
}

static void expect_past(struct isola_state *s, int64_t time, const char *value)
{
    char is[32];
    assert_int_equal(past_code(s, "a/B/c", time, is), 0);
    assert_string_equal(is, value);
}

static void forgets_what_is_old(void **state)
{
    (void)state;
    char is[32];
    struct isola_state *s = open_state();
    int64_t began = fake_now;
    put_settled(s, "a/B/c", "one");
    fake_now += HOUR;
    put_settled(s, "a/B/c", "two");
    fake_now += 22 * HOUR;
    put_settled(s, "a/B/c", "three");
    fake_now += 1;
    expect_past(s, began, "one");
    expect_past(s, began + HOUR - 1, "one");
    expect_past(s, began + HOUR, "two");
    expect_past(s, fake_now, "same");
    assert_int_equal(past_code(s, "a/B/c", began - 1, is), ISOLA_ENOENT);
    assert_int_equal(past_code(s, "a/B/c", fake_now + 1, is), ISOLA_EINVAL);
    fake_now = began + 25 * HOUR + 1;
    put_settled(s, "a/B/other", "any");
    put_settled(s, "a/B/other", "any more");
    assert_int_equal(past_code(s, "a/B/c", began, is), ISOLA_ENOENT);
    assert_int_equal(past_code(s, "a/B/c", began + HOUR - 1, is), ISOLA_ENOENT);
    expect_past(s, began + HOUR, "two");
    struct isola_history h = points(s, "a/B/c");
    assert_int_equal(h.n, 2);
    assert_int_equal(h.points[0].time, began + 23 * HOUR);
    assert_true(h.points[1].oldest);
    assert_int_equal(h.points[1].time, h.since);
    isola_history_free(&h);
    isola_state_close(s);
}

static void keeps_no_more_than_it_may(void **state)
{
    (void)state;
    struct isola_survey v;
    static char value[2000];
    store_options.history_bytes = 200000;
    struct isola_state *s = open_state();
    for (int i = 0; i < 1000; i++) {
        memset(value, 'a' + i % 26, sizeof(value) - 1);
        put_settled(s, "a/B/c", value);
        fake_now += 1000;
    }
    isola_state_survey(s, &(struct isola_survey_options){.ms = 10000}, &v);
    assert_true(v.history);
    assert_in_range(v.history_bytes, 150000, 210000);
    assert_in_range(v.history_since, fake_now - 110000, fake_now - 70000);
    isola_survey_free(&v);
    struct isola_history h = points(s, "a/B/c");
    assert_in_range(h.n, 70, 110);
    isola_history_free(&h);
    isola_state_close(s);
    struct stat st;
    assert_int_equal(stat(data_path, &st), 0);
    assert_in_range(st.st_size, 100000, 1000000);
}

static void is_off_and_on(void **state)
{
    (void)state;
    char is[32];
    struct isola_survey v;
    struct isola_state *s = open_state();
    put_settled(s, "a/B/c", "one");
    fake_now += 1000;
    put_settled(s, "a/B/c", "two");
    fake_now += 1000;
    isola_state_close(s);

    store_options.history_ms = 0;
    s = open_state();
    put_settled(s, "a/B/c", "three");
    struct isola_history h = points(s, "a/B/c");
    assert_false(h.on);
    assert_int_equal(h.n, 0);
    isola_history_free(&h);
    assert_int_equal(past_code(s, "a/B/c", fake_now - 1, is), ISOLA_ENOENT);
    fake_now += 1000;
    isola_state_close(s);

    store_options.history_ms = 24 * HOUR;
    s = open_state();
    assert_int_equal(past_code(s, "a/B/c", fake_now, is), ISOLA_ENOENT); /* none yet */
    put_settled(s, "a/B/c", "four");
    int64_t four = fake_now;
    fake_now += 1000;
    put_settled(s, "a/B/c", "five");
    assert_int_equal(past_code(s, "a/B/c", four - 1, is), ISOLA_ENOENT);
    expect_past(s, four, "four");
    isola_state_survey(s, &(struct isola_survey_options){.ms = 10000}, &v);
    assert_int_equal(v.history_since, four);
    isola_survey_free(&v);
    isola_state_close(s);
}

/* A file of the schema that knew of no history. */
static void comes_from_the_schema_before(void **state)
{
    (void)state;
    char is[32];
    store_options.history_ms = 0;
    struct isola_state *s = open_state();
    put_settled(s, "a/B/c", "one");
    isola_state_close(s);
    sql(data_path, "DROP TABLE past; DROP TABLE history; PRAGMA user_version = 1");
    store_options.history_ms = 24 * HOUR;
    int64_t one = fake_now;
    fake_now -= HOUR; /* what is there is not of a later time than what comes */
    s = open_state();
    put_settled(s, "a/B/c", "two");
    struct isola_history h = points(s, "a/B/c");
    assert_true(h.since > one);
    isola_history_free(&h);
    assert_int_equal(past_code(s, "a/B/c", one, is), ISOLA_ENOENT);
    put_settled(s, "a/B/c", "three");
    h = points(s, "a/B/c");
    assert_int_equal(h.n, 2);
    expect_past(s, h.points[1].time, "two");
    isola_history_free(&h);
    isola_state_close(s);
}

/* Where it cannot be written, what is in the tables goes on. */
static void gives_way(void **state)
{
    (void)state;
    char is[32];
    struct isola_err err;
    int64_t at;
    struct isola_state *s = open_state();
    put_settled(s, "a/B/c", "one");
    fake_now += 1000;
    isola_state_close(s);
    sql(data_path, "CREATE TRIGGER no_more BEFORE INSERT ON past BEGIN"
                   " SELECT RAISE(ABORT, 'no more'); END");
    s = open_state();
    put_settled(s, "a/B/c", "two");
    struct wait w;
    get(s, &w, "a/B/c");
    answered(&w, "two");
    assert_true(isola_state_failure(s, &err, &at));
    assert_non_null(strstr(err.text, "history"));
    assert_int_equal(past_code(s, "a/B/c", fake_now, is), ISOLA_ENOENT);
    isola_state_close(s);
    sql(data_path, "DROP TRIGGER no_more");
    s = open_state();
    fake_now += 1000;
    put_settled(s, "a/B/c", "three");
    int64_t three = fake_now;
    fake_now += 1000;
    put_settled(s, "a/B/c", "four");
    expect_past(s, three, "three");
    assert_int_equal(past_code(s, "a/B/c", three - 1, is), ISOLA_ENOENT);
    isola_state_close(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(points_are_between_commits, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(forgets_what_is_old, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(keeps_no_more_than_it_may, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(is_off_and_on, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(comes_from_the_schema_before, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(gives_way, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(knows_what_was, make_place, remove_dir),
        /* last: its disk is that of all that follows */
        cmocka_unit_test_setup_teardown(knows_it_after_a_crash, make_place, remove_dir),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
