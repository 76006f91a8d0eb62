/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = {"deploy", "ask",     "emit",           "on",      "ps",
                                    "nodes",  "logs",    "hibernateAfter", "add",     "get",
                                    "reset",  "Counter", "ShoppingCart",   "counter2"};
#define N (sizeof(names) / sizeof(names[0]))

static void near_misses(void **state)
{
    static const struct {
        const char *word, *meant;
    } cases[] = {
        {"delpoy", "deploy"}, /* swapped */
        {"depoly", "deploy"},
        {"deployy", "deploy"},
        {"dploy", "deploy"},
        {"node", "nodes"},
        {"log", "logs"},
        {"aks", "ask"},
        {"pss", "ps"},
        {"ad", "add"},
        {"Get", "get"}, /* capitals are small ones */
        {"countr", "Counter"},
        {"COUNTER", "Counter"},
        {"ShopingKart", "ShoppingCart"},
        {"hybernateafter", "hibernateAfter"},
        {"counter3", "Counter"}, /* the first of those that are as near */
        {"dpelyo", "deploy"},    /* two */
        {"ddplyo", "deploy"},
        {"frobnicate", NULL},
        {"", NULL},
        {"x", NULL},
        {"zzz", NULL},
        {"pull", NULL}, /* as many letters are others as are the same */
        {"gut2", NULL},
        {"dxxxyy", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *found = isola_nearest_of(cases[i].word, names, N);
        if (cases[i].meant == NULL && found != NULL)
            fail_msg("%s was taken for %s", cases[i].word, found);
        if (cases[i].meant != NULL)
            assert_string_equal(found != NULL ? found : "none", cases[i].meant);
    }
}

static void one_by_one(void **state)
{
    char hint[ISOLA_NEAREST_HINT];
    (void)state;
    struct isola_nearest n = isola_nearest_begin(isola_slice_str("shpo"));
    assert_string_equal(isola_nearest_hint(&n, hint), "");
    isola_nearest_try(&n, isola_slice_str("mail"));
    assert_string_equal(isola_nearest_hint(&n, hint), "");
    isola_nearest_try(&n, isola_slice("shop/Counter", 4)); /* no end of its own */
    isola_nearest_try(&n, isola_slice_str("ship"));
    assert_string_equal(isola_nearest_hint(&n, hint), "; did you mean \"shop\"?");
}

static void long_ones(void **state)
{
    char word[200], hint[ISOLA_NEAREST_HINT];
    (void)state;
    memset(word, 'a', sizeof(word));
    for (size_t len = ISOLA_NEAREST_MAX - 1; len <= ISOLA_NEAREST_MAX + 1; len++) {
        struct isola_nearest n = isola_nearest_begin(isola_slice(word, len));
        isola_nearest_try(&n, isola_slice(word, len - 1));
        assert_int_equal(n.best.data != NULL, len <= ISOLA_NEAREST_MAX);
        assert_int_equal(strlen(isola_nearest_hint(&n, hint)),
                         len <= ISOLA_NEAREST_MAX ? strlen("; did you mean \"\"?") + len - 1 : 0);
    }
    struct isola_nearest n = isola_nearest_begin(isola_slice_str("a"));
    isola_nearest_try(&n, isola_slice(NULL, 0));
    isola_nearest_try(&n, isola_slice(word, sizeof(word)));
    assert_null(n.best.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_misses),
        cmocka_unit_test(one_by_one),
        cmocka_unit_test(long_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
