/* SPDX-License-Identifier: Apache-2.0
 *
 * What a node says of the services of a release that is watched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/msgpack.h"
#include "node-agent/releases.h"
#include "node-agent/services.h"
#include "node-agent/services_own.h"

static const char manifest[] =
    "{\"name\":\"shop\",\"actors\":{\"Api\":{\"module\":\"./server.js\",\"kind\":\"service\"}}}";

/* The only row of shop's services, when `release` is current. */
static struct isola_slice row(struct isola__service *s, const char *release, struct isola_buf *out)
{
    struct isola__services services = {.first = s};
    struct isola__current current = {0};
    struct isola_slice rows, map;
    struct isola_err err;
    snprintf(current.id, sizeof(current.id), "%s", release);
    assert_int_equal(
        isola_manifest_parse(isola_slice_str(manifest), "shop", &current.manifest, &err), 0);
    isola_mp_map(out, 1);
    isola__services_report(&services, "shop", &current, out);
    isola_manifest_free(current.manifest);
    assert_true(isola_mp_find(isola_buf_slice(out), "services", &rows));
    assert_true(isola_mp_at(rows, 0, &map));
    return map;
}

static void expect(struct isola_slice map, const char *trouble, bool troubled)
{
    struct isola_slice said;
    bool was;
    assert_true(isola_mp_find_str(map, "trouble", &said));
    assert_true(isola_slice_is(said, trouble));
    assert_true(isola_mp_find_bool(map, "troubled", &was));
    assert_int_equal(was, troubled);
}

static void test_trouble(void **state)
{
    struct isola__service s = {.app = "shop",
                               .type = "Api",
                               .trial = "0000000000000001",
                               .trouble = "shop/Api/0: it exited",
                               .troubled = true};
    struct isola_buf out = {0};
    (void)state;
    expect(row(&s, "0000000000000001", &out), "shop/Api/0: it exited", true);
    out.len = 0;
    expect(row(&s, "0000000000000002", &out), "",
           false); /* it has not begun: no fault of its own */
    out.len = 0;
    expect(row(NULL, "0000000000000002", &out), "", false);
    isola_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trouble)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
