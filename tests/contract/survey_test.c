/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/survey.h: what is counted, what is largest, what is damaged; and what a
 * store says of its last failure.
 */
#include "store/survey.h"

#include "state_harness.h"

static void write_rows(struct isola_state *s, const char *address, const char *value,
                       const struct isola_kept *rows, size_t n)
{
    struct wait w;
    prepare(&w, address);
    isola_state_write(
        s, &w.req,
        &(struct isola_state_change){
            .has_value = true, .value = isola_slice_str(value), .rows = rows, .nrows = n});
    ended(&w, 0);
}

/* When all that was written is in the tables. */
static void survey(struct isola_state *s, const struct isola_survey_options *options,
                   struct isola_survey *out)
{
    isola_state_survey(s, options, out);
    while (out->journal > 0) {
        isola_survey_free(out);
        isola_state_survey(s, options, out);
    }
}

static const struct isola_survey_file *file(const struct isola_survey *v, const char *name)
{
    for (size_t i = 0; i < v->nfiles; i++)
        if (strcmp(v->files[i].name, name) == 0)
            return &v->files[i];
    fail_msg("no file %s", name);
    return NULL;
}

static void counts_what_is_kept(void **state)
{
    (void)state;
    struct isola_survey v;
    struct isola_state_options before = store_options;
    struct isola_kept items[] = {
        {.part = ISOLA_KEPT_ITEM,
         .peer = isola_slice_str("kéy"),
         .value = isola_slice_str("12345")},
        {.part = ISOLA_KEPT_ITEM, .peer = isola_slice_str("b"), .value = isola_slice_str("")},
        {.part = ISOLA_KEPT_TIMER,
         .peer = isola_slice_str("t"),
         .seq = 5,
         .value = isola_slice_str("xyz")},
    };
    struct isola_kept page = {
        .part = ISOLA_KEPT_PAGE, .seq = 1, .value = isola_slice_str("0123456789")};
    store_options.groups = 3;
    struct isola_state *s = open_state();
    survey(s, &(struct isola_survey_options){.top = 5, .ms = 10000}, &v);
    assert_int_equal(v.actors, 0);
    assert_int_equal(v.nlargest, 0);
    assert_int_equal(v.nfiles, 4);
    isola_survey_free(&v);

    write_rows(s, "a/B/items", "state", items, 3);
    write_rows(s, "a/B/page", "", &page, 1);
    for (int i = 0; i < 20; i++) {
        char address[32], value[32] = "";
        snprintf(address, sizeof(address), "a/B/%d", i);
        memset(value, 'v', (size_t)i);
        write_rows(s, address, value, NULL, 0);
    }
    survey(s, &(struct isola_survey_options){.top = 4, .ms = 10000, .check = true}, &v);
    assert_int_equal(v.actors, 22);
    assert_int_equal(v.state_bytes, 5 + 190);
    assert_int_equal(v.rows[ISOLA_KEPT_ITEM].count, 2);
    assert_int_equal(v.rows[ISOLA_KEPT_ITEM].bytes, 4 + 5 + 1);
    assert_int_equal(v.rows[ISOLA_KEPT_TIMER].count, 1);
    assert_int_equal(v.rows[ISOLA_KEPT_TIMER].bytes, 4);
    assert_int_equal(v.rows[ISOLA_KEPT_PAGE].count, 1);
    assert_int_equal(v.rows[ISOLA_KEPT_PAGE].bytes, 10);
    assert_int_equal(v.rows[ISOLA_KEPT_OUTBOX].count, 0);
    assert_false(v.cut);
    static const struct {
        const char *address;
        uint64_t bytes;
    } largest[] = {{"a/B/19", 19}, {"a/B/items", 5 + 10 + 4}, {"a/B/18", 18}, {"a/B/17", 17}};
    assert_int_equal(v.nlargest, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(v.largest[i].bytes, largest[i].bytes);
    for (size_t i = 2; i < 4; i++)
        assert_string_equal(v.largest[i].address, largest[i].address);
    for (size_t i = 0; i < v.nfiles; i++) {
        assert_true(v.files[i].checked);
        assert_true(v.files[i].sound);
        assert_true(v.files[i].bytes > 0 || v.files[i].log_bytes > 0);
    }
    isola_survey_free(&v);
    isola_state_close(s);
    store_options = before;
}

static void says_when_it_has_not_seen_all(void **state)
{
    (void)state;
    struct isola_survey v;
    char value[8] = "v";
    struct isola_state *s = open_state();
    for (int i = 0; i < 600; i++) {
        char address[32];
        snprintf(address, sizeof(address), "a/B/%d", i);
        write_rows(s, address, value, NULL, 0);
    }
    survey(s, &(struct isola_survey_options){.top = 1, .ms = 60000}, &v);
    assert_false(v.cut);
    assert_int_equal(v.actors, 600);
    isola_survey_free(&v);
    survey(s, &(struct isola_survey_options){.top = 1}, &v); /* no time at all */
    assert_true(v.cut);
    assert_in_range(v.actors, 1, 599);
    isola_survey_free(&v);
    const atomic_bool stop = true;
    isola_state_survey(
        s, &(struct isola_survey_options){.top = 1, .ms = 60000, .check = true, .stop = &stop}, &v);
    for (size_t i = 0; i < v.nfiles; i++)
        assert_true(!v.files[i].checked || strcmp(v.files[i].name, "state.db") == 0);
    isola_survey_free(&v);
    isola_state_survey(s, &(struct isola_survey_options){.files_only = true, .check = true}, &v);
    assert_int_equal(v.actors, 0);
    assert_false(file(&v, "state-0.db")->checked);
    isola_survey_free(&v);
    isola_state_close(s);
}

static void finds_damage(void **state)
{
    (void)state;
    struct isola_survey v;
    static char value[3000], garbage[4096];
    struct isola_state *s = open_state();
    memset(value, 'v', sizeof(value) - 1);
    memset(garbage, 0x5a, sizeof(garbage));
    for (int i = 0; i < 100; i++) {
        char address[32];
        snprintf(address, sizeof(address), "a/B/%d", i);
        write_rows(s, address, value, NULL, 0);
    }
    survey(s, &(struct isola_survey_options){0}, &v);
    isola_survey_free(&v);
    isola_state_close(s);

    struct stat st;
    assert_int_equal(stat(data_path, &st), 0);
    int fd = open(data_path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = st.st_size / 2; at < st.st_size / 2 + 8 * 4096; at += 4096)
        assert_int_equal(pwrite(fd, garbage, sizeof(garbage), at / 4096 * 4096), sizeof(garbage));
    close(fd);

    s = open_state();
    isola_state_survey(s, &(struct isola_survey_options){.check = true, .ms = 10000}, &v);
    assert_true(file(&v, "state.db")->sound);
    assert_false(file(&v, "state-0.db")->sound);
    assert_true(file(&v, "state-0.db")->damage[0] != '\0');
    isola_survey_free(&v);
    isola_state_close(s);
}

static void says_what_failed_last(void **state)
{
    (void)state;
    size_t big = 16u << 20;
    uint8_t *bytes = calloc(1, big);
    struct wait w = {0};
    struct isola_err err;
    int64_t at;
    struct isola_state *s = open_state();
    put(s, &w, "a/B/a", "fine");
    ended(&w, 0);
    assert_false(isola_state_failure(s, &err, &at));
    signal(SIGXFSZ, SIG_IGN);
    set_file_size_limit(4u << 20);
    prepare(&w, "a/B/big");
    isola_state_put(s, &w.req, isola_slice(bytes, big));
    ended(&w, ISOLA_EIO);
    set_file_size_limit(RLIM_INFINITY);
    assert_true(isola_state_failure(s, &err, &at));
    assert_non_null(strstr(err.text, "File too large"));
    assert_true(at > 1600000000000);
    isola_state_close(s);
    free(bytes);
}

static int no_writer(const char *where)
{
    (void)where;
    return 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(counts_what_is_kept),
        TEST(says_when_it_has_not_seen_all),
        TEST(finds_damage),
        TEST(says_what_failed_last),
    };
    RUN(tests, no_writer);
}
