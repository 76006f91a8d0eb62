/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed values: opened by who has sealed them, as what they were sealed as, and by nobody else.
 */
#include "transport/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "tests/tempdir.h"
#include "transport/keyfile.h"

static char dir[TEMPDIR_SIZE], *path;

static int make(void **state)
{
    (void)state;
    assert_int_equal(tempdir_make(dir), 0);
    path = isola_format("%s/cluster/secrets.key", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(path);
    return tempdir_remove(dir);
}

static struct isola_sealer *opened(const char *at)
{
    struct isola_sealer *s = NULL;
    struct isola_err err;
    assert_int_equal(isola_sealer_open(at, &s, &err), 0);
    return s;
}

static const char about[] = "shop\0DATABASE_URL";
#define ABOUT isola_slice(about, sizeof(about))

static bool opens(const struct isola_sealer *s, struct isola_slice as, struct isola_slice sealed,
                  const char *value)
{
    struct isola_buf out = {0};
    bool good = isola_unseal(s, as, sealed, &out);
    if (good)
        assert_true(isola_slice_is(isola_buf_slice(&out), value));
    isola_wipe(&out);
    return good;
}

static void opens_what_it_sealed(void **state)
{
    (void)state;
    struct isola_sealer *s = opened(path);
    struct isola_buf a = {0}, b = {0}, none = {0};
    isola_seal(s, ABOUT, isola_slice_str("a value"), &a);
    isola_seal(s, ABOUT, isola_slice_str("a value"), &b);
    isola_seal(s, ABOUT, isola_slice_str(""), &none);
    assert_false(isola_slice_eq(isola_buf_slice(&a), isola_buf_slice(&b)));
    assert_null(memmem(a.data, a.len, "a value", 7));
    isola_sealer_free(s);
    s = opened(path); /* the same key, from its file */
    assert_true(opens(s, ABOUT, isola_buf_slice(&a), "a value"));
    assert_true(opens(s, ABOUT, isola_buf_slice(&b), "a value"));
    assert_true(opens(s, ABOUT, isola_buf_slice(&none), ""));
    isola_sealer_free(s);
    isola_buf_free(&a);
    isola_buf_free(&b);
    isola_buf_free(&none);
}

static void opens_nothing_else(void **state)
{
    (void)state;
    struct isola_sealer *s = opened(path);
    struct isola_buf sealed = {0};
    isola_seal(s, ABOUT, isola_slice_str("a value"), &sealed);
    assert_false(opens(s, isola_slice(about, sizeof(about) - 1), isola_buf_slice(&sealed), ""));
    for (size_t i = 0; i < sealed.len; i++) {
        assert_false(opens(s, ABOUT, isola_slice(sealed.data, i), "")); /* cut off */
        sealed.data[i] ^= 1;
        assert_false(opens(s, ABOUT, isola_buf_slice(&sealed), ""));
        sealed.data[i] ^= 1;
    }
    char *other = isola_format("%s/other/secrets.key", dir); /* of another node */
    struct isola_sealer *stranger = opened(other);
    assert_false(opens(stranger, ABOUT, isola_buf_slice(&sealed), ""));
    assert_true(opens(s, ABOUT, isola_buf_slice(&sealed), "a value"));
    isola_sealer_free(stranger);
    isola_sealer_free(s);
    isola_buf_free(&sealed);
    free(other);
}

static void has_a_key_of_its_own(void **state)
{
    (void)state;
    struct isola_sealer *s = opened(path);
    struct isola_err err;
    struct stat st;
    isola_sealer_free(s);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    s = NULL;
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(isola_sealer_open(path, &s, &err), ISOLA_EPERM);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(isola_secret_write(path, isola_slice_str("no key"), &err), 0);
    assert_int_equal(isola_sealer_open(path, &s, &err), ISOLA_EIO);
    assert_non_null(strstr(err.text, "is damaged"));
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opens_what_it_sealed, make, end),
        cmocka_unit_test_setup_teardown(opens_nothing_else, make, end),
        cmocka_unit_test_setup_teardown(has_a_key_of_its_own, make, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
