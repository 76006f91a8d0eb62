/* SPDX-License-Identifier: Apache-2.0
 *
 * isola_host_check: the modules of a release are loaded before it is used, and those that do not
 * load, or never end loading, are named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/check.h"
#include "fake_world.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

struct verdict {
    bool done;
    int code;
    char why[1000];
};

static void on_done(void *arg, int code, const char *why)
{
    struct verdict *v = arg;
    pthread_mutex_lock(&lock);
    ISOLA_CHECK(!v->done);
    v->done = true;
    v->code = code;
    snprintf(v->why, sizeof(v->why), "%s", why);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void begin(struct world *w, struct verdict *v, uint64_t timeout_ms, size_t n,
                  const char *const codes[])
{
    struct isola_host_type types[4];
    static const char *const names[] = {"A", "B", "C", "D"};
    for (size_t i = 0; i < n; i++)
        types[i] = world_type(names[i], "", codes[i]);
    *v = (struct verdict){0};
    isola_host_check(
        world_host(w),
        &(struct isola_host_release){.app = "t", .id = "1", .ntypes = n, .types = types},
        timeout_ms, on_done, v);
}

static void await(struct verdict *v)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&lock);
    while (!v->done)
        ISOLA_CHECK(fake_cond_wait(&changed, &lock, deadline));
    pthread_mutex_unlock(&lock);
}

static void check(struct world *w, struct verdict *v, uint64_t timeout_ms, size_t n,
                  const char *const codes[])
{
    begin(w, v, timeout_ms, n, codes);
    await(v);
}

static void modules_that_load_pass(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct verdict v;
    check(w, &v, 20000, 4,
          (const char *const[]){"", "load later", "start throw never-started", ""});
    assert_int_equal(v.code, 0);
    assert_string_equal(v.why, "");
    check(w, &v, 20000, 0, NULL);
    assert_int_equal(v.code, 0);
    assert_int_equal(world_live(w), 0);
    world_end(w);
}

static void a_module_that_does_not_load_is_named(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct verdict v;
    check(w, &v, 20000, 3, (const char *const[]){"", "load fail", "load never"});
    assert_int_equal(v.code, ISOLA_EMODULE);
    assert_string_equal(v.why, "actor type B (t.js): it does not parse");
    world_end(w);
}

static void a_module_that_never_ends_loading_is_stopped(void **state)
{
    (void)state;
    static const char *const codes[] = {"load never", "load loop"};
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    for (int i = 0; i < 2; i++) {
        struct verdict v;
        check(w, &v, 50, 1, &codes[i]);
        assert_int_equal(v.code, ISOLA_EMODULE);
        assert_string_equal(v.why, "actor type A (t.js): it has not finished loading after 0.05 s");
        must_reply(w, world_ask(w, "t/T/a", "add 1"), i + 1); /* the worker is free again */
    }
    world_end(w);
}

/* The time is for loading: a check that is given 900 ms does not give up at once. */
static void a_timeout_is_in_milliseconds(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct verdict v;
    world_release(w, "t", "1", "", "");
    uint64_t busy = world_ask(w, "t/T/a", "note in; block go");
    uint64_t other =
        world_ask(w, "t/T/b", "note in; block go"); /* both workers are held for a moment */
    fake_await_note("t/T/a in", 1);
    fake_await_note("t/T/b in", 1);
    begin(w, &v, 900, 1, (const char *const[]){"load later"});
    fake_open("go");
    await(&v);
    must_reply(w, busy, 0);
    must_reply(w, other, 0);
    assert_string_equal(v.why, "");
    world_end(w);
}

static void an_isolate_that_cannot_be_made_fails_the_check(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct verdict v;
    fake_fail_opens(1);
    check(w, &v, 20000, 1, (const char *const[]){""});
    assert_int_equal(v.code, ISOLA_EMODULE);
    assert_non_null(strstr(v.why, "no room for an isolate"));
    world_end(w);
}

static void checks_may_overlap(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct verdict v[8];
    for (int i = 0; i < 8; i++)
        begin(w, &v[i], i % 4 == 3 ? 20 : 20000, 2,
              (const char *const[]){"load later", i % 4 == 1   ? "load fail"
                                                  : i % 4 == 3 ? "load loop"
                                                               : "load later"});
    for (int i = 0; i < 8; i++) {
        await(&v[i]);
        assert_int_equal(v[i].code, i % 2 ? ISOLA_EMODULE : 0);
    }
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modules_that_load_pass),
        cmocka_unit_test(a_module_that_does_not_load_is_named),
        cmocka_unit_test(a_module_that_never_ends_loading_is_stopped),
        cmocka_unit_test(a_timeout_is_in_milliseconds),
        cmocka_unit_test(an_isolate_that_cannot_be_made_fails_the_check),
        cmocka_unit_test(checks_may_overlap),
    };
    fake_cond_init(&changed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
