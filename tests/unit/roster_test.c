/* SPDX-License-Identifier: Apache-2.0 */
#include "base/roster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/canary.h"
#include "base/msgpack.h"

#define NODES   7
#define PERCENT (ISOLA_CANARY_WHOLE / 100)

static struct isola_roster roster;

static int end(void **state)
{
    (void)state;
    isola_roster_free(&roster);
    return 0;
}

static void add(const char *name, uint64_t processors)
{
    struct isola_err err;
    assert_int_equal(isola_roster_add(&roster, isola_slice_str(name), processors, &err), 0);
}

static void add_many(unsigned n, uint64_t processors)
{
    for (unsigned i = 0; i < n; i++) {
        char name[20];
        snprintf(name, sizeof(name), "node-%u", i);
        add(name, processors);
    }
}

static struct isola_roster_part parts[1000];

/* Of all nodes together; each in `of`, if that is not NULL. */
static unsigned canaries(const char *service, uint32_t instances, uint32_t share, unsigned *of)
{
    unsigned all = 0;
    isola_roster_parts(&roster, service, instances, share, parts);
    for (size_t i = 0; i < roster.n; i++) {
        assert_in_range(parts[i].canaries, 0, parts[i].instances);
        if (of != NULL)
            of[i] = parts[i].canaries;
        all += parts[i].canaries;
    }
    return all;
}

static void chooses_as_many_as_the_share_says(void **state)
{
    (void)state;
    static const struct {
        unsigned nodes;
        uint32_t instances, share;
        unsigned many;
    } cases[] = {
        {1, 4, 25 * PERCENT, 1},      {1, 4, 50 * PERCENT, 2},  {1, 4, 1, 1},
        {1, 4, 99 * PERCENT, 3},      {1, 10, 14 * PERCENT, 1}, {1, 10, 16 * PERCENT, 2},
        {3, 1, 10 * PERCENT, 1},      {3, 1, 90 * PERCENT, 2},  {3, 4, 25 * PERCENT, 3},
        {5, 4, 25 * PERCENT, 5},      {2, 1, PERCENT, 1},       {2, 1, 99 * PERCENT, 1},
        {1000, 8, 10 * PERCENT, 800},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        isola_roster_free(&roster);
        add_many(cases[i].nodes, 4);
        assert_int_equal(canaries("shop/Api", cases[i].instances, cases[i].share, NULL),
                         cases[i].many);
    }
}

static void of_one_in_all_one_is_beside_it(void **state)
{
    (void)state;
    add("east", 8);
    assert_int_equal(canaries("shop/Api", 1, 10 * PERCENT, NULL), 1);
    assert_int_equal(parts[0].instances, 2);
    assert_int_equal(canaries("shop/Api", 0, 10 * PERCENT, NULL), 1); /* one for each processor */
    assert_int_equal(parts[0].instances, 8);
    add("west", 8);
    assert_int_equal(canaries("shop/Api", 1, 10 * PERCENT, NULL), 1);
    assert_int_equal(parts[0].instances, 1);
    assert_int_equal(canaries("shop/Api", 1, 0, NULL), 0);
}

static void a_larger_share_has_all_of_a_smaller(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++) {
        char name[20];
        snprintf(name, sizeof(name), "node-%u", i);
        add(name, 1 + 3 * i);
    }
    unsigned before[NODES] = {0}, now[NODES];
    for (uint32_t share = 1; share < ISOLA_CANARY_WHOLE; share += PERCENT / 4) {
        canaries("shop/Api", 0, share, now);
        for (unsigned i = 0; i < NODES; i++)
            assert_true(now[i] >= before[i]);
        memcpy(before, now, sizeof(before));
    }
}

static void spreads_by_how_many_a_node_has(void **state)
{
    (void)state;
    unsigned of[NODES];
    add_many(NODES, 4);
    for (uint32_t share = PERCENT; share < ISOLA_CANARY_WHOLE; share += PERCENT) {
        unsigned all = canaries("shop/Api", 4, share, of);
        for (unsigned i = 0; i < NODES; i++)
            assert_in_range(of[i], all / NODES, (all + NODES - 1) / NODES);
    }
    isola_roster_free(&roster);
    add("large", 64);
    add("small", 4);
    assert_int_equal(canaries("shop/Api", 0, 25 * PERCENT, of), 17);
    assert_in_range(of[0], 16, 17);
    assert_in_range(of[1], 0, 1);
}

static void is_the_same_whoever_asks(void **state)
{
    (void)state;
    /* Nodes of other versions and machines have the same: these must never change. */
    static const unsigned api[NODES] = {1, 2, 1, 1, 1, 1, 1}, chat[NODES] = {1, 1, 1, 1, 1, 2, 1};
    unsigned of[NODES];
    add_many(NODES, 4);
    assert_int_equal(canaries("shop/Api", 4, 28 * PERCENT, of), 8);
    assert_memory_equal(of, api, sizeof(api));
    assert_int_equal(canaries("shop/Chat", 4, 28 * PERCENT, of), 8);
    assert_memory_equal(of, chat, sizeof(chat));
}

static void finds_nodes_by_name(void **state)
{
    (void)state;
    assert_int_equal(canaries("shop/Api", 4, 10 * PERCENT, NULL), 0); /* nobody is there */
    add_many(3, 1);
    assert_true(isola_roster_has(&roster, "node-1"));
    assert_int_equal(isola_roster_find(&roster, "node-1"), 1);
    assert_false(isola_roster_has(&roster, "node-3"));
    assert_int_equal(isola_roster_find(&roster, "node-3"), 3);
}

static void is_read_as_it_was_written(void **state)
{
    (void)state;
    struct isola_roster other = {0};
    struct isola_buf bytes = {0};
    struct isola_err err;
    add("west", 2);
    add("east", 16);
    add("west", 3);
    isola_roster_write(&roster, &bytes);
    assert_int_equal(isola_roster_read(isola_buf_slice(&bytes), &other, &err), 0);
    assert_int_equal(other.n, 2);
    assert_string_equal(other.nodes[0].name, "east");
    assert_int_equal(other.nodes[0].processors, 16);
    assert_string_equal(other.nodes[1].name, "west");
    assert_int_equal(other.nodes[1].processors, 3);
    for (size_t n = 0; n < bytes.len; n++) { /* cut short it is refused, and nothing is kept */
        struct isola_roster none = {0};
        assert_int_equal(isola_roster_read(isola_slice(bytes.data, n), &none, &err), ISOLA_EINVAL);
        assert_null(none.nodes);
    }
    isola_roster_copy(&other, &roster);
    assert_int_equal(other.n, 2);
    isola_roster_free(&other);
    isola_buf_free(&bytes);
}

static void refuses_what_is_no_list_of_nodes(void **state)
{
    (void)state;
    static const struct {
        const char *node;
        uint64_t processors;
        const char *why;
    } bad[] = {
        {"", 1, "\"nodes\" of a canary: \"node\" must be a name of 1 to 64 bytes"},
        {"a-name-that-is-longer-than-any-node-can-have-as-it-is-of-65-bytes", 1,
         "\"nodes\" of a canary: \"node\" must be a name of 1 to 64 bytes"},
        {"east", 0, "\"nodes\" of a canary: \"processors\" of node east must be from 1 to 65536"},
        {"east", 65537,
         "\"nodes\" of a canary: \"processors\" of node east must be from 1 to 65536"},
    };
    struct isola_err err;
    struct isola_buf bytes = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        isola_mp_array(&bytes, 1);
        isola_mp_map(&bytes, 2);
        isola_mp_kstr(&bytes, "node", bad[i].node);
        isola_mp_kuint(&bytes, "processors", bad[i].processors);
        assert_int_equal(isola_roster_read(isola_buf_slice(&bytes), &roster, &err), ISOLA_EINVAL);
        assert_string_equal(err.text, bad[i].why);
        assert_null(roster.nodes);
        isola_buf_free(&bytes);
    }
    isola_mp_uint(&bytes, 7);
    assert_int_equal(isola_roster_read(isola_buf_slice(&bytes), &roster, &err), ISOLA_EINVAL);
    assert_string_equal(err.text, "\"nodes\" of a canary must be a list");
    isola_buf_free(&bytes);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(chooses_as_many_as_the_share_says, end),
        cmocka_unit_test_teardown(of_one_in_all_one_is_beside_it, end),
        cmocka_unit_test_teardown(a_larger_share_has_all_of_a_smaller, end),
        cmocka_unit_test_teardown(spreads_by_how_many_a_node_has, end),
        cmocka_unit_test_teardown(is_the_same_whoever_asks, end),
        cmocka_unit_test_teardown(finds_nodes_by_name, end),
        cmocka_unit_test_teardown(is_read_as_it_was_written, end),
        cmocka_unit_test_teardown(refuses_what_is_no_list_of_nodes, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
