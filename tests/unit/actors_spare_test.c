/* SPDX-License-Identifier: Apache-2.0
 *
 * Isolates that are opened ahead: when they are made, taken, and given up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/host_own.h"
#include "base/clock.h"
#include "fake_world.h"

static struct world *begin(unsigned threads, unsigned spares)
{
    struct world *w = world_new(threads);
    isola_host_set_spares(world_host(w), spares);
    world_release(w, "t", "1", "", "");
    return w;
}

static unsigned ready(struct world *w)
{
    struct isola_spares *s = &world_host(w)->spares;
    unsigned n = 0;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < ISOLA_SPARES_MAX; i++)
        n += s->slot[i].v8 != NULL;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Asks an actor that lives until one is there. */
static void await_one(struct world *w, const char *address, int64_t value)
{
    uint64_t deadline = fake_deadline();
    while (ready(w) == 0 && isola_clock_ms() < deadline)
        must_reply(w, world_ask(w, address, "timer 1; get"), value);
    assert_int_equal(ready(w), 1);
}

static void one_follows_a_birth_and_is_taken_by_the_next(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct world *w = begin(threads, 1);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        await_one(w, "t/T/a", 1);
        fake_fail_opens(1); /* it is not opened for this one, but the next that is made fails */
        must_reply(w, world_ask(w, "t/T/b", "add 2"), 2);
        fake_await_isolates(2);
        fake_fail_opens(0);
        must_reply(w, world_ask(w, "t/T/c", "task; add 3"), 3);
        fake_await_isolates(4);
        world_end(w);
    }
}

static void none_is_made_unless_asked_for(void **state)
{
    (void)state;
    struct world *w = begin(2, 0);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    fake_fail_opens(1); /* nobody else has had it */
    must_fail(w, world_ask(w, "t/T/b", "get"), ISOLA_EFAILED);
    world_end(w);
}

static void those_of_a_release_go_with_it(void **state)
{
    (void)state;
    struct world *w = begin(2, 1);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    fake_await_isolates(2);
    world_release(w, "t", "2", "shared", ""); /* for these none is made */
    must_reply(w, world_ask(w, "t/T/a", "get"), 1);
    fake_await_isolates(1);
    world_end(w);
}

static void all_go_when_none_is_wanted_any_more(void **state)
{
    (void)state;
    struct world *w = begin(2, 2);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    fake_await_isolates(2);
    isola_host_set_spares(world_host(w), 0);
    fake_await_isolates(1);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_follows_a_birth_and_is_taken_by_the_next),
        cmocka_unit_test(none_is_made_unless_asked_for),
        cmocka_unit_test(those_of_a_release_go_with_it),
        cmocka_unit_test(all_go_when_none_is_wanted_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
