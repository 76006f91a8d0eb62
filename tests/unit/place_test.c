/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement: pinned shard numbers, balance, independence of order, minimal movement.
 */
#include "scheduler/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NODES 16

static char storage[NODES][24];
static const char *names[NODES];

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++) {
        snprintf(storage[i], sizeof(storage[i]), "node-%d", i);
        names[i] = storage[i];
    }
    return 0;
}

/* These are what other nodes and other releases compute: a change here is a protocol change. */
static void shards_are_pinned(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        uint32_t shard;
    } vectors[] = {
        {"", 540},
        {"a/B/c", 88},
        {"shop/Counter/user-42", 401},
        {"shop/Counter/user-43", 189},
        {"airports/Airport/ATL", 520},
        {"airports/Airport/ORD", 559},
        {"x/Y/\xc3\xbc/z", 168},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        assert_int_equal(isola_shard(isola_slice_str(vectors[i].address)), vectors[i].shard);
}

static void owners_are_pinned(void **state)
{
    (void)state;
    static const char *const three[] = {"A", "B", "C"};
    static const char expected[] =
        "ACBAABBABABAAABCAAAACBABCACBCBACBBCCBBBCBABACBBCCCBCBBABCBCABCAA";
    uint16_t map[ISOLA_SHARDS];
    isola_place_map(three, 3, map);
    for (size_t i = 0; i < sizeof(expected) - 1; i++)
        assert_int_equal(three[map[i]][0], expected[i]);
}

static void shards_of_addresses_are_balanced(void **state)
{
    (void)state;
    static unsigned count[ISOLA_SHARDS];
    for (int i = 0; i < 200 * ISOLA_SHARDS; i++) {
        char address[64];
        snprintf(address, sizeof(address), "shop/Counter/user-%d", i);
        uint32_t shard = isola_shard(isola_slice_str(address));
        assert_in_range(shard, 0, ISOLA_SHARDS - 1);
        count[shard]++;
    }
    for (int s = 0; s < ISOLA_SHARDS; s++) /* mean 200, standard deviation 14 */
        assert_in_range(count[s], 130, 270);
}

static void nodes_are_balanced(void **state)
{
    (void)state;
    for (size_t n = 1; n <= NODES; n++) {
        uint16_t map[ISOLA_SHARDS];
        unsigned count[NODES] = {0};
        isola_place_map(names, n, map);
        for (int s = 0; s < ISOLA_SHARDS; s++) {
            assert_in_range(map[s], 0, n - 1);
            count[map[s]]++;
        }
        for (size_t i = 0; i < n; i++)
            assert_in_range(count[i], ISOLA_SHARDS / n * 6 / 10, ISOLA_SHARDS / n * 14 / 10 + 1);
    }
}

static void order_does_not_matter(void **state)
{
    (void)state;
    const char *shuffled[NODES];
    for (size_t i = 0; i < NODES; i++)
        shuffled[i] = names[(i * 7 + 3) % NODES];
    uint16_t a[ISOLA_SHARDS], b[ISOLA_SHARDS];
    isola_place_map(names, NODES, a);
    isola_place_map(shuffled, NODES, b);
    for (int s = 0; s < ISOLA_SHARDS; s++)
        assert_string_equal(names[a[s]], shuffled[b[s]]);
}

static void only_its_own_shards_move(void **state)
{
    (void)state;
    uint16_t all[ISOLA_SHARDS], less[ISOLA_SHARDS];
    isola_place_map(names, NODES, all);
    for (size_t gone = 0; gone < NODES; gone++) {
        const char *rest[NODES];
        size_t n = 0;
        for (size_t i = 0; i < NODES; i++)
            if (i != gone)
                rest[n++] = names[i];
        isola_place_map(rest, n, less);
        for (int s = 0; s < ISOLA_SHARDS; s++) {
            assert_string_not_equal(rest[less[s]], names[gone]);
            if (all[s] != gone)
                assert_string_equal(rest[less[s]], names[all[s]]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_pinned),
        cmocka_unit_test(owners_are_pinned),
        cmocka_unit_test(shards_of_addresses_are_balanced),
        cmocka_unit_test(nodes_are_balanced),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(only_its_own_shards_move),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
