/* SPDX-License-Identifier: Apache-2.0
 *
 * What is done in an actor's isolate on behalf of others: once, with the isolate, and before it
 * ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_world.h"

static const char *const options[] = {"", "shared"};

/* A piece of work that notes what it saw. */
struct look {
    struct isola_inspect inspect;
    struct look *last; /* to be done at the end */
    bool with_isolate, ran;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void run(struct isola_inspect *i, struct isola_js *js)
{
    struct look *l = (struct look *)(void *)((char *)i - offsetof(struct look, inspect));
    if (l->last != NULL)
        isola_host_inspect_at_end(&l->last->inspect, i);
    pthread_mutex_lock(&l->lock);
    assert_false(l->ran);
    l->ran = true;
    l->with_isolate = js != NULL;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static void look_init(struct look *l, struct look *last)
{
    *l = (struct look){.inspect = {.run = run}, .last = last};
    pthread_mutex_init(&l->lock, NULL);
    fake_cond_init(&l->changed);
}

static bool has_run(struct look *l)
{
    pthread_mutex_lock(&l->lock);
    bool ran = l->ran;
    pthread_mutex_unlock(&l->lock);
    return ran;
}

static void await_run(struct look *l)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&l->lock);
    while (!l->ran)
        assert_true(fake_cond_wait(&l->changed, &l->lock, deadline));
    assert_true(l->with_isolate);
    pthread_mutex_unlock(&l->lock);
    isola_host_inspect_end(&l->inspect);
}

static int look_at(struct world *w, const char *address, struct look *l)
{
    struct isola_err err;
    return isola_host_inspect(world_host(w), isola_slice_str(address), &l->inspect, &err);
}

static void only_of_what_is_there(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct look l;
    world_release(w, "t", "1", "", "");
    look_init(&l, NULL);
    assert_int_equal(look_at(w, "t/T/a", &l), ISOLA_ENOACTOR);
    assert_int_equal(look_at(w, "no/T/a", &l), ISOLA_ENOACTOR);
    assert_int_equal(world_live(w), 0);
    world_release(w, "f", "1", "", "start throw no");
    (void)world_await(w, world_ask(w, "f/T/a", "get"));
    assert_string_equal(world_state(w, "f/T/a"), "failed");
    assert_int_equal(look_at(w, "f/T/a", &l), ISOLA_ENOACTOR);
    assert_false(has_run(&l));
    world_end(w);
}

static void in_a_visit(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        struct look looks[5];
        world_release(w, "t", "1", options[i], "");
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        for (int n = 0; n < 5; n++) { /* also while it holds its thread: then afterwards */
            uint64_t ask = n == 3 ? world_ask(w, "t/T/a", "note in; block go") : 0;
            if (ask != 0)
                fake_await_note("t/T/a in", 1);
            look_init(&looks[n], NULL);
            assert_int_equal(look_at(w, "t/T/a", &looks[n]), 0);
            assert_int_equal(looks[n].inspect.shared, i == 1);
            fake_open("go");
            await_run(&looks[n]);
        }
        world_end(w);
    }
}

static void at_the_end_or_before(void **state)
{
    (void)state;
    static const char *const ends[] = {"stop", "crash", "release", "now"};
    for (int i = 0; i < 8; i++) {
        struct world *w = world_new(2);
        struct look first, last;
        bool shared = i % 2 == 1;
        const char *how = ends[i / 2];
        world_release(w, "t", "1", options[shared], "");
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        look_init(&last, NULL);
        look_init(&first, &last);
        assert_int_equal(look_at(w, "t/T/a", &first), 0);
        await_run(&first);
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        assert_false(has_run(&last));
        if (strcmp(how, "now") == 0)
            assert_true(isola_host_inspect_now(&last.inspect));
        else if (strcmp(how, "stop") == 0)
            must_reply(w, world_stop(w, "t/T/a"), true);
        else if (strcmp(how, "crash") == 0)
            must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
        if (strcmp(how, "release") == 0 || (shared && strcmp(how, "now") != 0))
            world_release(w, "t", "2", options[shared],
                          ""); /* a shared isolate outlives its actors */
        await_run(&last);
        world_end(w);
    }
}

/* What comes while the isolate ends is done, or refused; never lost. */
static void while_it_ends(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    unsigned done = 0;
    for (int n = 0; n < 500; n++) {
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        struct look last, first;
        look_init(&last, NULL);
        look_init(&first, &last);
        uint64_t stop = world_stop(w, "t/T/a");
        if (look_at(w, "t/T/a", &first) == 0) {
            await_run(&first);
            await_run(&last);
            done++;
        }
        must_reply(w, stop, true);
    }
    assert_true(done > 0);
    world_end(w);
}

static int reset(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_of_what_is_there),
        cmocka_unit_test_setup(in_a_visit, reset),
        cmocka_unit_test(at_the_end_or_before),
        cmocka_unit_test(while_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
