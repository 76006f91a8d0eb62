/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may deploy: the list, signed and not, keys as text, signatures of releases; and what of it
 * was changed on the way is refused.
 */
#include "transport/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

static struct isola_sign_keys cluster, ada, bob;

static int make_keys(void **state)
{
    uint8_t seed[ISOLA_KEY_SIZE] = {1};
    (void)state;
    isola_sign_keys_from(seed, &cluster);
    seed[0] = 2;
    isola_sign_keys_from(seed, &ada);
    seed[0] = 3;
    isola_sign_keys_from(seed, &bob);
    return 0;
}

static struct isola_trusted named(const char *name, const struct isola_sign_keys *keys,
                                  const char *app)
{
    struct isola_trusted t = {0};
    strcpy(t.name, name);
    memcpy(t.key, keys->public_key, sizeof(t.key));
    strcpy(t.app, app);
    return t;
}

static struct isola_trust two(void)
{
    struct isola_trust trust = {.revision = 7};
    struct isola_trusted a = named("ada", &ada, ""), b = named("bob", &bob, "shop");
    isola_trust_add(&trust, &a);
    isola_trust_add(&trust, &b);
    return trust;
}

static void allows_who_is_listed(void **state)
{
    (void)state;
    struct isola_trust trust = two(), none = {0};
    assert_true(isola_trust_allows(&trust, ada.public_key, "shop"));
    assert_true(isola_trust_allows(&trust, ada.public_key, "zoo"));
    assert_true(isola_trust_allows(&trust, bob.public_key, "shop"));
    assert_false(isola_trust_allows(&trust, bob.public_key, "sho"));
    assert_false(isola_trust_allows(&trust, bob.public_key, "shops"));
    assert_false(isola_trust_allows(&trust, cluster.public_key, "shop"));
    assert_false(isola_trust_allows(&none, ada.public_key, "shop"));
    isola_trust_free(&trust);
}

/* By the cluster's key, or, NULL, not at all. */
static void both_ways(const struct isola_sign_keys *by)
{
    struct isola_trust trust = two(), again;
    struct isola_buf b = {0};
    struct isola_err err = {0};
    const uint8_t *key = by != NULL ? by->public_key : NULL;
    isola_trust_write(&trust, by, &b);
    if (isola_trust_read(isola_buf_slice(&b), key, &again, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(again.revision, 7);
    assert_int_equal(again.n, 2);
    assert_true(isola_trust_has(&again, &trust.list[0]));
    assert_true(isola_trust_has(&again, &trust.list[1]));
    isola_trust_free(&again);
    /* By another key, or by whether there is one. */
    assert_int_equal(isola_trust_read(isola_buf_slice(&b), ada.public_key, &again, &err),
                     ISOLA_EPERM);
    if (by != NULL)
        assert_int_equal(isola_trust_read(isola_buf_slice(&b), NULL, &again, &err), ISOLA_EPERM);
    for (size_t n = 0; n < b.len; n++)
        assert_int_not_equal(isola_trust_read(isola_slice(b.data, n), key, &again, &err), 0);
    for (size_t i = 0; by != NULL && i < b.len; i++) {
        b.data[i] ^= 1;
        assert_int_not_equal(isola_trust_read(isola_buf_slice(&b), key, &again, &err), 0);
        assert_int_equal(again.n, 0);
        b.data[i] ^= 1;
    }
    isola_trust_free(&trust);
    isola_buf_free(&b);
}

static void the_list_goes_both_ways(void **state)
{
    (void)state;
    both_ways(&cluster);
    both_ways(NULL);
}

static void a_key_goes_through_text(void **state)
{
    (void)state;
    char text[ISOLA_DEPLOYER_TEXT + 8];
    uint8_t key[ISOLA_KEY_SIZE];
    struct isola_err err = {0};
    isola_deployer_write(ada.public_key, text);
    size_t n = strlen(text);
    assert_int_equal(n, 58);
    assert_int_equal(isola_deployer_read(isola_slice_str(text), key, &err), 0);
    assert_memory_equal(key, ada.public_key, sizeof(key));
    strcat(text, " \n");
    assert_int_equal(isola_deployer_read(isola_slice_str(text), key, &err), 0);
    text[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(isola_deployer_read(isola_slice(text, i), key, &err), ISOLA_EINVAL);
        char was = text[i];
        text[i] = was == 'x' ? 'y' : 'x';
        assert_int_equal(isola_deployer_read(isola_slice_str(text), key, &err), ISOLA_EINVAL);
        text[i] = was;
    }
}

static void a_signature_is_of_one_thing(void **state)
{
    (void)state;
    uint8_t hash[ISOLA_RELEASE_HASH] = {5}, signature[ISOLA_RELEASE_SIGNED];
    isola_deployer_sign(&ada, "shop", hash, signature);
    assert_memory_equal(signature, ada.public_key, ISOLA_KEY_SIZE);
    assert_true(isola_deployer_signed(signature, "shop", hash));
    assert_false(isola_deployer_signed(signature, "zoo", hash));
    hash[31] ^= 1;
    assert_false(isola_deployer_signed(signature, "shop", hash));
    hash[31] ^= 1;
    for (size_t i = 0; i < sizeof(signature); i++) {
        signature[i] ^= 1;
        assert_false(isola_deployer_signed(signature, "shop", hash));
        signature[i] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allows_who_is_listed),
        cmocka_unit_test(the_list_goes_both_ways),
        cmocka_unit_test(a_key_goes_through_text),
        cmocka_unit_test(a_signature_is_of_one_thing),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
