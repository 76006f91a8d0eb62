/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/rollout_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/msgpack.h"

#define REVISION 65536

struct service {
    unsigned of, ready;
    uint64_t ready_ms; /* UINT64_MAX: none runs */
    const char *trouble;
    bool troubled;
    unsigned crashes, beside, beside_crashes; /* of a canary */
};
struct node {
    const char *name;
    uint64_t revision; /* 0: it does not answer */
    bool watching, proven;
    const struct service *service; /* NULL: none */
    uint64_t turns, errors, before_turns, before_errors;
    const char *first;
};

static struct isola_manifest_rollout settings;
static bool canary;
static struct isola__measure before;
static struct isola__standing standing;
static struct isola__verdict verdict;

static int begin(void **state)
{
    (void)state;
    settings = (struct isola_manifest_rollout){
        .window_ms = 1000, .deadline_ms = 5000, .errors = 500, .min_errors = 5, .rollback = true};
    before = (struct isola__measure){0};
    canary = false;
    return 0;
}

static int end(void **state)
{
    (void)state;
    isola__standing_free(&standing);
    isola__verdict_free(&verdict);
    return 0;
}

static void write_report(const struct node *n, struct isola_buf *out)
{
    const struct service *s = n->service;
    isola_mp_map(out, 5);
    isola_mp_kuint(out, "revision", n->revision);
    isola_mp_kbool(out, "watching", n->watching);
    isola_mp_kbool(out, "proven", n->proven);
    isola_mp_cstr(out, "services");
    isola_mp_array(out, s != NULL);
    if (s != NULL) {
        isola_mp_map(out, 5 + (s->ready_ms != UINT64_MAX) + (canary ? 3 : 0));
        if (canary) {
            isola_mp_kuint(out, "crashes", s->crashes);
            isola_mp_kuint(out, "beside", s->beside);
            isola_mp_kuint(out, "beside_crashes", s->beside_crashes);
        }
        isola_mp_kstr(out, "type", "Api");
        isola_mp_kuint(out, "of", s->of);
        isola_mp_kuint(out, "ready", s->ready);
        isola_mp_kstr(out, "trouble", s->trouble != NULL ? s->trouble : "");
        isola_mp_kbool(out, "troubled", s->troubled);
        if (s->ready_ms != UINT64_MAX)
            isola_mp_kuint(out, "ready_ms", s->ready_ms);
    }
    isola_mp_cstr(out, "tally");
    isola_mp_map(out, 6);
    isola_mp_kuint(out, "turns", n->turns);
    isola_mp_kuint(out, "errors", n->errors);
    isola_mp_kuint(out, "before_turns", n->before_turns);
    isola_mp_kuint(out, "before_errors", n->before_errors);
    isola_mp_kstr(out, "first_of", n->first != NULL ? "shop/Cart/a" : "");
    isola_mp_kstr(out, "first", n->first != NULL ? n->first : "");
}

static enum isola__judgement judge_at(uint64_t age_ms, bool errors_count, const struct node *nodes,
                                      size_t n)
{
    struct isola_buf bufs[4] = {0};
    struct isola__rollout_report reports[4] = {0};
    struct isola__judged j = {.app = "shop",
                              .revision = REVISION,
                              .settings = &settings,
                              .errors_count = errors_count,
                              .canary = canary,
                              .age_ms = age_ms,
                              .before = &before};
    isola__standing_free(&standing);
    isola__verdict_free(&verdict);
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].revision != 0)
            write_report(&nodes[i], &bufs[i]);
        reports[i] = (struct isola__rollout_report){nodes[i].name, isola_buf_slice(&bufs[i])};
    }
    enum isola__judgement what = isola__rollout_judge(&j, reports, n, &standing, &verdict);
    for (size_t i = 0; i < n; i++)
        isola_buf_free(&bufs[i]);
    return what;
}
#define JUDGE(age, ...)                                                                            \
    judge_at(age, true, (const struct node[]){__VA_ARGS__},                                        \
             sizeof((const struct node[]){__VA_ARGS__}) / sizeof(struct node))

static void proves_itself_after_its_window(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(999, {.name = "east", .revision = REVISION, .turns = 100}),
                     ISOLA__ROLLOUT_OPEN);
    assert_int_equal(standing.left_ms, 1);
    assert_int_equal(standing.turns, 100);
    assert_int_equal(JUDGE(1000, {.name = "east", .revision = REVISION}), ISOLA__ROLLOUT_PROVEN);
    settings.window_ms = 0;
    assert_int_equal(JUDGE(0, {.name = "east", .revision = REVISION}), ISOLA__ROLLOUT_PROVEN);
}

static void waits_for_all_services(void **state)
{
    (void)state;
    struct service half = {2, 1, 4000, NULL, false, 0, 0, 0},
                   all = {2, 2, 500, NULL, false, 0, 0, 0};
    assert_int_equal(JUDGE(4999, {.name = "east", .revision = REVISION, .service = &all},
                           {.name = "west", .revision = REVISION, .service = &half}),
                     ISOLA__ROLLOUT_OPEN);
    assert_false(standing.all_ready);
    assert_int_equal(standing.instances, 4);
    assert_int_equal(standing.ready, 3);
    /* The window begins when the last is ready. */
    assert_int_equal(JUDGE(4999, {.name = "east", .revision = REVISION, .service = &all}),
                     ISOLA__ROLLOUT_OPEN);
    assert_int_equal(standing.left_ms, 500);
    all.ready_ms = 1000;
    assert_int_equal(JUDGE(4999, {.name = "east", .revision = REVISION, .service = &all}),
                     ISOLA__ROLLOUT_PROVEN);
    all.ready_ms = UINT64_MAX; /* all were stopped */
    assert_int_equal(JUDGE(4999, {.name = "east", .revision = REVISION, .service = &all}),
                     ISOLA__ROLLOUT_PROVEN);
    assert_int_equal(JUDGE(5001, {.name = "east", .revision = REVISION, .service = &half}),
                     ISOLA__ROLLOUT_FAILED);
    assert_string_equal(verdict.why, "not all services were ready within 5 s (\"deadline\" of "
                                     "\"rollout\"): shop/Api on node east: 1 of 2 instances are");
}

static void nodes_that_are_behind_or_silent_do_not_count(void **state)
{
    (void)state;
    struct service none = {2, 0, UINT64_MAX, "shop/Api/0: bad", false, 0, 0, 0};
    assert_int_equal(JUDGE(1000, {.name = "east", .revision = REVISION},
                           {.name = "west", .revision = 7, .service = &none, .errors = 100},
                           {.name = "north", .revision = 0}),
                     ISOLA__ROLLOUT_PROVEN);
    assert_int_equal(standing.n, 3);
}

static void trouble_of_a_service_fails_it(void **state)
{
    (void)state;
    struct service bad = {1,     1, 3000, "shop/Api/0: it exited with status 1\nand more",
                          false, 0, 0,    0};
    assert_int_equal(JUDGE(10, {.name = "east", .revision = REVISION},
                           {.name = "west", .revision = REVISION, .service = &bad}),
                     ISOLA__ROLLOUT_FAILED);
    assert_string_equal(verdict.why, "on node west, shop/Api/0: it exited with status 1");
    bad.troubled = true; /* so was the release before */
    assert_int_equal(JUDGE(3000, {.name = "west", .revision = REVISION, .service = &bad}),
                     ISOLA__ROLLOUT_PROVEN);
}

static void errors_fail_it(void **state)
{
    (void)state;
    assert_int_equal(
        JUDGE(
            10,
            {.name = "east", .revision = REVISION, .turns = 40, .errors = 2, .before_turns = 1000},
            {.name = "west",
             .revision = REVISION,
             .turns = 60,
             .errors = 4,
             .before_turns = 1000,
             .before_errors = 10,
             .first = "Error: boom\n    at cart.js:1:1"}),
        ISOLA__ROLLOUT_FAILED);
    assert_string_equal(verdict.why,
                        "6 of 100 turns of its actors failed (6%, of the release before 0.5%), "
                        "first shop/Cart/a: Error: boom");
    assert_string_equal(verdict.error_of, "shop/Cart/a");
    assert_string_equal(verdict.error, "Error: boom\n    at cart.js:1:1");
}

static void a_canary_is_compared_with_what_is_current(void **state)
{
    (void)state;
    canary = true;
    struct node n = {.name = "east",
                     .revision = REVISION,
                     .turns = 20,
                     .errors = 10,
                     .before_turns = 200,
                     .before_errors = 100,
                     .first = "Error: boom"};
    assert_int_equal(judge_at(10, true, &n, 1), ISOLA__ROLLOUT_OPEN);
    assert_int_equal(standing.before.turns, 200);
    assert_int_equal(standing.before.errors, 100);
    n.before_turns = 2000;
    assert_int_equal(judge_at(10, true, &n, 1), ISOLA__ROLLOUT_FAILED);
    assert_string_equal(verdict.why,
                        "10 of 20 turns of its actors failed (50%, of the current release "
                        "meanwhile 5%), first shop/Cart/a: Error: boom");
}

static void a_young_canary_is_not_judged_by_little(void **state)
{
    (void)state;
    canary = true;
    settings.window_ms = 60000;
    struct node n = {
        .name = "east", .revision = REVISION, .turns = 40, .errors = 19, .before_turns = 19};
    assert_int_equal(judge_at(10, true, &n, 1), ISOLA__ROLLOUT_OPEN);
    assert_int_equal(judge_at(4999, true, &n, 1), ISOLA__ROLLOUT_OPEN);
    assert_int_equal(judge_at(5000, true, &n, 1), ISOLA__ROLLOUT_FAILED);
    settings.window_ms = 1000; /* is over before */
    assert_int_equal(judge_at(1000, true, &n, 1), ISOLA__ROLLOUT_FAILED);
    settings.window_ms = 60000;
    n.errors = 20;
    assert_int_equal(judge_at(10, true, &n, 1), ISOLA__ROLLOUT_FAILED);
    n.errors = 19;
    n.before_turns = 20;
    assert_int_equal(judge_at(10, true, &n, 1), ISOLA__ROLLOUT_FAILED);
}

static void instances_of_a_canary_are_compared_with_those_beside_it(void **state)
{
    (void)state;
    canary = true;
    const char *why = "shop/Api/3: it exited with status 1: Error: no luck\n    at x";
    const struct service well = {.of = 1, .ready = 1, .beside = 3};
    struct service bad = {.of = 1, .ready = 1, .trouble = why, .crashes = 1, .beside = 3};
    struct service none = {.of = 0, .beside = 4, .ready_ms = UINT64_MAX}; /* of the canary */
#define TWO(a, b)                                                                                  \
    JUDGE(1000, {.name = "east", .revision = REVISION, .service = &(a)},                           \
          {.name = "west", .revision = REVISION, .service = &(b)})
    struct service ready = well;
    ready.ready_ms = 1000;
    assert_int_equal(TWO(ready, none), ISOLA__ROLLOUT_PROVEN);
    assert_int_equal(standing.instances, 1);
    bad.ready_ms = 1000;
    assert_int_equal(TWO(bad, none), ISOLA__ROLLOUT_FAILED);
    assert_string_equal(verdict.why, "on node east, shop/Api/3: it exited with status 1: Error: no "
                                     "luck");
    none.beside_crashes = 3; /* of 7 instances: 1 is more than twice 3/7 */
    assert_int_equal(TWO(bad, none), ISOLA__ROLLOUT_FAILED);
    assert_string_equal(verdict.why, "on node east, shop/Api/3: it exited with status 1: Error: no "
                                     "luck (1 times with 1 instance, of the current release "
                                     "meanwhile 3 times with 7)");
    none.beside_crashes = 4;
    assert_int_equal(TWO(bad, none), ISOLA__ROLLOUT_PROVEN);
    bad.crashes = 2;
    assert_int_equal(TWO(bad, none), ISOLA__ROLLOUT_FAILED);
    bad.troubled = true; /* so was the current one before */
    assert_int_equal(TWO(bad, none), ISOLA__ROLLOUT_PROVEN);
#undef TWO
}

static void errors_that_do_not(void **state)
{
    (void)state;
    /* too few; not more than the part that may; not more than twice those before */
    assert_int_equal(JUDGE(10, {.name = "east", .revision = REVISION, .turns = 4, .errors = 4}),
                     ISOLA__ROLLOUT_OPEN);
    assert_int_equal(JUDGE(10, {.name = "east", .revision = REVISION, .turns = 100, .errors = 5}),
                     ISOLA__ROLLOUT_OPEN);
    assert_int_equal(JUDGE(10, {.name = "east",
                                .revision = REVISION,
                                .turns = 100,
                                .errors = 60,
                                .before_turns = 100,
                                .before_errors = 30}),
                     ISOLA__ROLLOUT_OPEN);
    assert_int_equal(JUDGE(10, {.name = "east",
                                .revision = REVISION,
                                .turns = 100,
                                .errors = 61,
                                .before_turns = 100,
                                .before_errors = 30}),
                     ISOLA__ROLLOUT_FAILED);
    assert_int_equal(
        judge_at(10, false,
                 &(struct node){.name = "east", .revision = REVISION, .turns = 9, .errors = 9}, 1),
        ISOLA__ROLLOUT_OPEN);
}

static void starts_that_fail_have_no_turn(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(10, {.name = "east", .revision = REVISION, .errors = 5}),
                     ISOLA__ROLLOUT_FAILED);
    assert_string_equal(verdict.why, "5 of 5 turns of its actors failed (100%)");
}

static void what_was_before_is_remembered(void **state)
{
    (void)state;
    assert_int_equal(
        JUDGE(10, {.name = "east", .revision = REVISION, .before_turns = 100, .before_errors = 50}),
        ISOLA__ROLLOUT_OPEN);
    /* the actor-host was started again, and has forgotten it */
    assert_int_equal(JUDGE(20, {.name = "east", .revision = REVISION, .turns = 20, .errors = 10}),
                     ISOLA__ROLLOUT_OPEN);
    assert_int_equal(before.turns, 100);
}

static void others_know_more(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(10,
                           {.name = "m", .revision = REVISION, .watching = true, .proven = true},
                           {.name = "z", .revision = REVISION, .watching = true},
                           {.name = "b", .revision = REVISION, .watching = true}),
                     ISOLA__ROLLOUT_OPEN);
    assert_false(standing.proven);
    assert_string_equal(standing.watcher, "b");
    JUDGE(10, {.name = "m", .revision = REVISION},
          {.name = "z", .revision = REVISION, .proven = true});
    assert_true(standing.proven);
    assert_null(standing.watcher);
}

static void nonsense_is_taken_for_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\xc0", "\x81\xa8revision\xa1x", "\xff",
                                        "\xdd\xff\xff\xff\xff"};
    struct isola__judged j = {.app = "shop",
                              .revision = REVISION,
                              .settings = &settings,
                              .errors_count = true,
                              .age_ms = 10,
                              .before = &before};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct isola__rollout_report r = {"east", isola_slice_str(texts[i])};
        isola__standing_free(&standing);
        assert_int_equal(isola__rollout_judge(&j, &r, 1, &standing, &verdict), ISOLA__ROLLOUT_OPEN);
    }
}

static void as_many_services_count_as_an_app_can_have(void **state)
{
    (void)state;
    struct isola_buf buf = {0};
    struct isola__judged j = {
        .app = "shop", .revision = REVISION, .settings = &settings, .before = &before};
    isola_mp_map(&buf, 2);
    isola_mp_kuint(&buf, "revision", REVISION);
    isola_mp_cstr(&buf, "services");
    isola_mp_array(&buf, ISOLA_MANIFEST_TYPES + 50);
    for (size_t i = 0; i < ISOLA_MANIFEST_TYPES + 50; i++) {
        isola_mp_map(&buf, 1);
        isola_mp_kuint(&buf, "of", 1);
    }
    struct isola__rollout_report report = {"m", isola_buf_slice(&buf)};
    assert_int_equal(isola__rollout_judge(&j, &report, 1, &standing, &verdict),
                     ISOLA__ROLLOUT_OPEN);
    assert_int_equal(standing.instances, ISOLA_MANIFEST_TYPES);
    isola_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(proves_itself_after_its_window, begin, end),
        cmocka_unit_test_setup_teardown(waits_for_all_services, begin, end),
        cmocka_unit_test_setup_teardown(nodes_that_are_behind_or_silent_do_not_count, begin, end),
        cmocka_unit_test_setup_teardown(trouble_of_a_service_fails_it, begin, end),
        cmocka_unit_test_setup_teardown(errors_fail_it, begin, end),
        cmocka_unit_test_setup_teardown(a_canary_is_compared_with_what_is_current, begin, end),
        cmocka_unit_test_setup_teardown(a_young_canary_is_not_judged_by_little, begin, end),
        cmocka_unit_test_setup_teardown(instances_of_a_canary_are_compared_with_those_beside_it,
                                        begin, end),
        cmocka_unit_test_setup_teardown(errors_that_do_not, begin, end),
        cmocka_unit_test_setup_teardown(starts_that_fail_have_no_turn, begin, end),
        cmocka_unit_test_setup_teardown(what_was_before_is_remembered, begin, end),
        cmocka_unit_test_setup_teardown(others_know_more, begin, end),
        cmocka_unit_test_setup_teardown(nonsense_is_taken_for_nothing, begin, end),
        cmocka_unit_test_setup_teardown(as_many_services_count_as_an_app_can_have, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
