/* SPDX-License-Identifier: Apache-2.0
 *
 * The short way of what comes from another node: whom it finds, and whom not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "actors/arrivals.h"
#include "fake_world.h"

struct from {
    struct world *w;
    struct isola_arrivals *arrivals;
};

static struct isola_actor *find(struct from *f, const char *src, const char *dst)
{
    return isola_arrivals_find(world_host(f->w), f->arrivals, 0, isola_slice_str(src),
                               isola_slice_str(dst));
}

/* As often as it takes to be found. */
static void note(struct from *f, const char *src, const char *dst)
{
    for (int i = 0; i < 2; i++)
        isola_arrivals_note(world_host(f->w), &f->arrivals, isola_slice_str(src),
                            isola_slice_str(dst));
}

static struct from with_apps(void)
{
    struct from f = {.w = world_new(1)};
    world_release(f.w, "a", "1", "", "");
    world_release(f.w, "b", "1", "", "");
    must_reply(f.w, world_ask(f.w, "a/T/x", "add 1"), 1);
    must_reply(f.w, world_ask(f.w, "b/T/x", "add 1"), 1);
    return f;
}

static void end(struct from *f)
{
    isola_arrivals_free(f->arrivals);
    world_end(f->w);
}

static void found_the_second_time_it_is_missed(void **state)
{
    (void)state;
    struct from f = with_apps();
    assert_null(find(&f, "a/T/s", "a/T/x"));
    isola_arrivals_note(world_host(f.w), &f.arrivals, isola_slice_str("a/T/s"),
                        isola_slice_str("a/T/x"));
    assert_null(find(&f, "a/T/s", "a/T/x"));
    note(&f, "a/T/s", "a/T/x");
    assert_non_null(find(&f, "a/T/s", "a/T/x"));
    assert_non_null(find(&f, "", "a/T/x")); /* of a program */
    assert_null(find(&f, "a/T/other", "a/T/x"));
    assert_null(find(&f, "a/T/s", "a/T/nobody"));
    end(&f);
}

static void another_app_is_asked_for_its_permission(void **state)
{
    (void)state;
    struct from f = with_apps();
    note(&f, "a/T/s", "b/T/x");
    assert_null(find(&f, "a/T/s", "b/T/x"));
    note(&f, "b", "b/T/x"); /* no address */
    assert_null(find(&f, "b", "b/T/x"));
    note(&f, "bb/T/s", "b/T/x"); /* an app whose name begins alike */
    assert_null(find(&f, "bb/T/s", "b/T/x"));
    end(&f);
}

static void what_is_handed_over_runs(void **state)
{
    (void)state;
    struct from f = with_apps();
    struct isola_slice none = {0};
    static const uint8_t args[] = {0x91, 0xa5, 'a', 'd', 'd', ' ', '2'};
    note(&f, "a/T/s", "a/T/x");
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_ASK, isola_slice_str("a/T/s"), none, isola_slice_str("run"), none,
                       isola_slice(args, sizeof(args)));
    uint64_t id = world_number(f.w);
    m->origin.link = 1;
    m->origin.id = id;
    m->passed_on = true;
    assert_true(isola_host_hand(find(&f, "a/T/s", "a/T/x"), m));
    must_reply(f.w, id, 3);
    end(&f);
}

static void who_has_gone_is_not_found(void **state)
{
    (void)state;
    struct from f = with_apps();
    note(&f, "a/T/s", "a/T/x");
    struct isola_actor *a = find(&f, "a/T/s", "a/T/x");
    (void)world_await(f.w, world_stop(f.w, "a/T/x"));
    while (strcmp(world_state(f.w, "a/T/x"), "none") != 0)
        ;
    assert_null(find(&f, "a/T/s", "a/T/x"));
    must_reply(f.w, world_ask(f.w, "a/T/x", "get"), 1); /* the next activation */
    note(&f, "a/T/s", "a/T/x");
    assert_non_null(a);
    assert_non_null(find(&f, "a/T/s", "a/T/x"));
    end(&f);
}

static void nobody_is_found_by_an_older_view(void **state)
{
    (void)state;
    struct from f = with_apps();
    note(&f, "a/T/s", "a/T/x");
    assert_non_null(find(&f, "a/T/s", "a/T/x"));
    isola_host_moved(world_host(f.w));
    assert_null(find(&f, "a/T/s", "a/T/x"));
    end(&f);
}

static struct isola_actor *find_by(struct from *f, uint32_t head, const char *src)
{
    return isola_arrivals_find(world_host(f->w), f->arrivals, head, isola_slice_str(src),
                               isola_slice_str("a/T/x"));
}

static void a_head_stands_for_both(void **state)
{
    (void)state;
    struct from f = with_apps();
    assert_null(find_by(&f, 7, "a/T/s"));
    note(&f, "a/T/s", "a/T/x");
    struct isola_actor *a = find_by(&f, 7, "a/T/s");
    assert_non_null(a);
    assert_ptr_equal(find_by(&f, 7, "not looked at"), a);
    assert_null(find_by(&f, 8, "not known"));
    assert_null(find_by(&f, 7 + 512, "not known")); /* at the same place */
    assert_ptr_equal(find_by(&f, 7 + 512, "a/T/s"), a);
    assert_null(find_by(&f, 7, "not known"));
    isola_host_moved(world_host(f.w));
    assert_null(find_by(&f, 7 + 512, "a/T/s"));
    note(&f, "a/T/s", "a/T/x");
    assert_ptr_equal(find_by(&f, 7, "a/T/s"), a);
    (void)world_await(f.w, world_stop(f.w, "a/T/x"));
    while (strcmp(world_state(f.w, "a/T/x"), "none") != 0)
        ;
    assert_null(find_by(&f, 7, "a/T/s"));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_the_second_time_it_is_missed),
        cmocka_unit_test(another_app_is_asked_for_its_permission),
        cmocka_unit_test(what_is_handed_over_runs),
        cmocka_unit_test(who_has_gone_is_not_found),
        cmocka_unit_test(nobody_is_found_by_an_older_view),
        cmocka_unit_test(a_head_stands_for_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
