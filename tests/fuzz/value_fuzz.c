/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/value: what actors answer, shown as JSON, and JSON that a person types. What is shown can be
 * read by JSON's rules and drives no terminal.
 */
#include "cli/value.h"

#include "cli/json.h"
#include "tests/fuzz/fuzz.h"

static void shown(const json_t *v)
{
    struct isola_buf line = {0};
    isola__json_print(v, false, &line);
    ISOLA_CHECK(!line.failed);
    for (size_t i = 0; i < line.len; i++)
        ISOLA_CHECK(line.data[i] >= ' ' && line.data[i] != 127);
    const char *text = isola_buf_cstr(&line);
    ISOLA_CHECK(text != NULL);
    if (strstr(text, "\\u0000") == NULL) { /* which jansson takes in no key */
        json_t *again = json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
        ISOLA_CHECK(again != NULL);
        json_decref(again);
    }
    isola_buf_free(&line);
}

static void typed(const char *text)
{
    json_t *v = NULL, *back = NULL;
    struct isola_err err = {0};
    struct isola_buf args = {0};
    if (isola__value_parse(text, &v, &err) != 0) {
        ISOLA_CHECK(err.code == ISOLA_EINVAL && err.text[0] != '\0');
        return;
    }
    json_t *list = json_pack("[o]", v);
    ISOLA_CHECK(list != NULL);
    if (isola__value_from_json(list, &args, &err) == 0) {
        ISOLA_CHECK(!args.failed);
        if (isola__value_to_json(isola_buf_slice(&args), &back, &err) != 0)
            ISOLA_CHECK(err.code == ISOLA_ETOOBIG);
        json_decref(back);
    } else {
        ISOLA_CHECK(err.code == ISOLA_EINVAL && err.text[0] != '\0');
    }
    isola_buf_free(&args);
    json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *v = NULL;
    struct isola_err err = {0};
    int rc = isola__value_to_json(isola_slice(data, size), &v, &err);
    if (rc == 0) {
        shown(v);
        json_decref(v);
    } else {
        ISOLA_CHECK((rc == ISOLA_EPROTO || rc == ISOLA_ETOOBIG || rc == ISOLA_ECLONE) &&
                    err.text[0] != '\0');
    }
    char *text = isola_strndup((const char *)data, size);
    typed(text);
    free(text);
    return 0;
}
