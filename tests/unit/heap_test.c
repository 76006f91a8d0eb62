/* SPDX-License-Identifier: Apache-2.0
 *
 * base/heap.h against a plain array: random inserts and removals, the least key after each.
 */
#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"

#define NODES 300

static uint64_t seed(void)
{
    const char *given = getenv("ISOLA_TEST_SEED");
    uint64_t s = given != NULL ? strtoull(given, NULL, 10) : isola_clock_ns() | 1;
    printf("seed: ISOLA_TEST_SEED=%llu\n", (unsigned long long)s);
    return s;
}

static uint64_t next(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

static void an_empty_heap_has_no_least(void **state)
{
    (void)state;
    struct isola_heap h = {0};
    struct isola_heap_node node = {0};
    assert_null(isola_heap_min(&h));
    isola_heap_remove(&h, &node); /* in no heap: nothing happens */
    isola_heap_insert(&h, &node, 7);
    assert_ptr_equal(isola_heap_min(&h), &node);
    isola_heap_remove(&h, &node);
    assert_int_equal(node.place, 0);
    assert_null(isola_heap_min(&h));
    isola_heap_insert(&h, &node, 0); /* and again */
    isola_heap_remove(&h, &node);
    isola_heap_remove(&h, &node);
    isola_heap_free(&h);
}

static void keys_come_out_in_order(void **state)
{
    (void)state;
    struct isola_heap h = {0};
    static struct isola_heap_node nodes[NODES];
    uint64_t s = seed(), last = 0;
    for (int i = 0; i < NODES; i++)
        isola_heap_insert(&h, &nodes[i],
                          i % 3 == 0 ? UINT64_MAX : next(&s) % 50); /* with equal ones */
    for (int i = 0; i < NODES; i++) {
        struct isola_heap_node *least = isola_heap_min(&h);
        assert_true(least->key >= last);
        last = least->key;
        isola_heap_remove(&h, least);
    }
    assert_null(isola_heap_min(&h));
    isola_heap_free(&h);
}

static void any_node_can_be_removed(void **state)
{
    (void)state;
    struct isola_heap h = {0};
    static struct isola_heap_node nodes[NODES];
    static bool in[NODES];
    uint64_t s = seed();
    for (int step = 0; step < 50000; step++) {
        size_t i = next(&s) % NODES;
        if (in[i])
            isola_heap_remove(&h, &nodes[i]);
        else
            isola_heap_insert(&h, &nodes[i], next(&s) % 100);
        in[i] = !in[i];
        uint64_t least = UINT64_MAX;
        size_t count = 0;
        for (size_t n = 0; n < NODES; n++) {
            assert_int_equal(nodes[n].place != 0, in[n]);
            if (in[n]) {
                count++;
                assert_ptr_equal(h.nodes[nodes[n].place - 1], &nodes[n]);
                if (nodes[n].key < least)
                    least = nodes[n].key;
            }
        }
        assert_int_equal(h.n, count);
        if (count > 0)
            assert_int_equal(isola_heap_min(&h)->key, least);
        else
            assert_null(isola_heap_min(&h));
    }
    isola_heap_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_least),
        cmocka_unit_test(keys_come_out_in_order),
        cmocka_unit_test(any_node_can_be_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
