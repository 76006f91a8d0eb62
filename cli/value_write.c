/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON from the command line to the wire's values. Numbers are read as JavaScript reads them: all
 * of them doubles, sent as integers where they are some.
 */
#include <math.h>

#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/scalar.h"
#include "cli/value.h"

static int write_value(const json_t *v, unsigned depth, struct isola_buf *out,
                       struct isola_err *err);

static struct isola_slice string(const json_t *v)
{
    return isola_slice(json_string_value(v), json_string_length(v));
}

static void write_number(double d, struct isola_buf *out)
{
    if (d == trunc(d) && fabs(d) <= 9007199254740992.0 && !(d == 0 && signbit(d)))
        isola_mp_int(out, (int64_t)d);
    else
        isola_mp_double(out, d);
}

/* 1: `v` was such an object and is written; 0: it is an ordinary one. */
static int write_special(const json_t *v, struct isola_buf *out, struct isola_err *err)
{
    if (json_object_size(v) != 1)
        return 0;
    const json_t *bytes = json_object_get(v, "$base64"), *ref = json_object_get(v, "$actor");
    if (bytes != NULL) {
        struct isola_buf raw = {0};
        bool ok = json_is_string(bytes) && isola__scalar_unbase64(string(bytes), &raw);
        if (ok) {
            isola_mp_bin(out, isola_buf_slice(&raw));
            out->failed |= raw.failed;
        }
        isola_buf_free(&raw);
        return ok ? 1 : isola_fail(err, ISOLA_EINVAL, "\"$base64\" needs a base64 string");
    }
    if (ref != NULL) {
        struct isola_address address;
        if (!json_is_string(ref))
            return isola_fail(err, ISOLA_EINVAL, "\"$actor\" needs an address, app/Type/key");
        int rc = isola_address_parse(string(ref), &address, err);
        if (rc != 0)
            return rc;
        isola_mp_ext(out, ISOLA_EXT_REF, string(ref));
        return 1;
    }
    return 0;
}

static int write_object(const json_t *v, unsigned depth, struct isola_buf *out,
                        struct isola_err *err)
{
    int rc = write_special(v, out, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    const char *key;
    size_t len;
    json_t *item;
    isola_mp_map(out, json_object_size(v));
    json_object_keylen_foreach((json_t *)(uintptr_t)v, key, len, item)
    {
        isola_mp_str(out, isola_slice(key, len));
        rc = write_value(item, depth + 1, out, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int write_value(const json_t *v, unsigned depth, struct isola_buf *out,
                       struct isola_err *err)
{
    if (depth > ISOLA_VALUE_DEPTH && (json_is_object(v) || json_is_array(v)))
        return isola_fail(err, ISOLA_EINVAL, "it nests deeper than %d", ISOLA_VALUE_DEPTH);
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return write_object(v, depth, out, err);
    case JSON_ARRAY: {
        size_t i;
        const json_t *item;
        isola_mp_array(out, json_array_size(v));
        json_array_foreach(v, i, item)
        {
            int rc = write_value(item, depth + 1, out, err);
            if (rc != 0)
                return rc;
        }
        return 0;
    }
    case JSON_STRING:
        isola_mp_str(out, string(v));
        return 0;
    case JSON_INTEGER:
    case JSON_REAL:
        write_number(json_number_value(v), out);
        return 0;
    case JSON_TRUE:
    case JSON_FALSE:
        isola_mp_bool(out, json_is_true(v));
        return 0;
    case JSON_NULL:
        break;
    }
    isola_mp_nil(out);
    return 0;
}

int isola__value_from_json(const json_t *v, struct isola_buf *out, struct isola_err *err)
{
    int rc = write_value(v, 1, out, err);
    if (rc == 0 && out->failed)
        rc = isola_fail(err, ISOLA_ENOMEM, "out of memory");
    return rc;
}

int isola__value_parse(const char *text, json_t **out, struct isola_err *err)
{
    json_error_t why;
    *out = json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &why);
    if (*out == NULL)
        return isola_fail(err, ISOLA_EINVAL, "%s at column %d", why.text, why.column);
    return 0;
}
