/* SPDX-License-Identifier: Apache-2.0
 *
 * Which apps an app may send to: asked where it sends, and again where a message comes from another
 * node.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "actors/host.h"
#include "fake_world.h"

static struct world *with_apps(const char *a_may)
{
    struct world *w = world_new(2);
    world_permit(w, a_may);
    world_release(w, "a", "1", "", "");
    world_permit(w, "");
    world_release(w, "b", "1", "", "");
    world_release(w, "bb", "1", "", "");
    return w;
}

static void a_sender_is_told_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *apps;
        int to_b, to_bb;
    } rows[] = {{"", ISOLA_EPERM, ISOLA_EPERM},
                {"b", 0, ISOLA_EPERM},
                {"bb", ISOLA_EPERM, 0},
                {"x\nbb\nb", 0, 0},
                {"*", 0, 0},
                {"x\n*", 0, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = with_apps(rows[i].apps);
        must_reply(w, world_ask(w, "a/T/x", "tryask b/T/y get"), rows[i].to_b);
        must_reply(w, world_ask(w, "a/T/x", "tryask bb/T/y get"), rows[i].to_bb);
        must_reply(w, world_ask(w, "a/T/x", "tryask a/T/y get"), 0);
        assert_string_equal(world_state(w, "b/T/y"), rows[i].to_b == 0 ? "idle" : "none");
        world_end(w);
    }
}

static struct outcome from(struct world *w, int kind, const char *src, const char *dst,
                           bool passed_on)
{
    struct isola_slice none = {0};
    static const uint8_t args[] = {0x91, 0xa3, 'g', 'e', 't'};
    struct isola_mail *m =
        isola_mail_new(kind, isola_slice_str(src), isola_slice_str(dst), isola_slice_str("run"),
                       none, isola_slice(args, sizeof(args)));
    uint64_t id = world_number(w);
    m->origin.link = 1;
    m->origin.id = id;
    m->passed_on = passed_on;
    isola_host_post(world_host(w), m);
    return world_await(w, id);
}

static void count(const struct isola_host_letter *letter, void *arg)
{
    *(unsigned *)arg += letter->code == ISOLA_EPERM;
}

static void what_comes_from_another_node_is_asked_again(void **state)
{
    (void)state;
    struct world *w = with_apps("b");
    struct isola_slice none = {0};
    unsigned letters = 0;
    assert_int_equal(from(w, ISOLA_MSG_ASK, "a/T/x", "b/T/y", true).code, 0);
    assert_int_equal(from(w, ISOLA_MSG_ASK, "", "b/T/y", true).code, 0); /* of a program */
    assert_int_equal(from(w, ISOLA_MSG_ASK, "b/T/x", "b/T/y", true).code, 0);
    assert_int_equal(from(w, ISOLA_MSG_ASK, "a/T/x", "bb/T/y", true).code, ISOLA_EPERM);
    assert_int_equal(from(w, ISOLA_MSG_ASK, "none/T/x", "b/T/y", true).code, ISOLA_EPERM);
    assert_int_equal(from(w, ISOLA_MSG_ASK, "b", "b/T/y", true).code, ISOLA_EINVAL);
    assert_int_equal(from(w, ISOLA_MSG_START, "a/T/x", "bb/T/y", true).code, ISOLA_EPERM);
    assert_int_equal(from(w, ISOLA_MSG_STOP, "bb/T/x", "b/T/y", true).code, ISOLA_EPERM);
    assert_string_equal(world_state(w, "bb/T/y"), "none");
    assert_string_equal(world_state(w, "b/T/y"), "idle");
    /* Of this node's own: the check was where it was sent. */
    assert_int_equal(from(w, ISOLA_MSG_ASK, "a/T/x", "bb/T/y", false).code, 0);
    (void)isola_host_letters(world_host(w), none, 0, count, &letters);
    assert_int_equal(letters, 2); /* asks; a START and a STOP are no messages of anybody's */
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sender_is_told_at_once),
        cmocka_unit_test(what_comes_from_another_node_is_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
