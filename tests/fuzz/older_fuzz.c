/* SPDX-License-Identifier: Apache-2.0
 *
 * transport/older: values for who speaks version 1. What is made means the same, and nothing in it
 * has to be made again.
 */
#include "transport/older.h"

#include "base/msgpack.h"
#include "cli/json.h"
#include "cli/value.h"
#include "tests/fuzz/fuzz.h"

/* As ctl shows it; NULL: not at all. */
static json_t *shown(struct isola_slice args)
{
    json_t *v = NULL;
    struct isola_err err = {0};
    return isola__value_to_json(args, &v, &err) == 0 ? v : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t before[] = {1, 2, 3};
    struct isola_slice args = isola_slice(data, size);
    struct isola_buf out = {0};
    isola_buf_append(&out, before, sizeof(before));
    int rc = isola__older_args(args, &out);
    ISOLA_CHECK(!out.failed && memcmp(out.data, before, sizeof(before)) == 0);
    struct isola_slice made = isola_slice(out.data + sizeof(before), out.len - sizeof(before));
    if (rc != 1) {
        ISOLA_CHECK((rc == 0 || rc == ISOLA_EPROTO) && made.len == 0);
        isola_buf_free(&out);
        return 0;
    }
    struct isola_buf again = {0};
    struct isola_mp_reader r = isola_mp_reader(made);
    ISOLA_CHECK(made.len <= 2 * size);
    ISOLA_CHECK(isola_mp_skip(&r, NULL) == 0 && r.p == r.end);
    ISOLA_CHECK(isola__older_args(made, &again) == 0 && again.len == 0);
    json_t *a = shown(args), *b = shown(made);
    ISOLA_CHECK(a == NULL || (b != NULL && json_equal(a, b)));
    json_decref(a);
    json_decref(b);
    isola_buf_free(&again);
    isola_buf_free(&out);
    return 0;
}
