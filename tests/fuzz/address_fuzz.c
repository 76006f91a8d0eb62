/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses of actors, and urls of links: what is accepted can be put together again.
 */
#include "base/msg.h"
#include "tests/fuzz/fuzz.h"
#include "transport/url.h"

static void actor(struct isola_slice text)
{
    struct isola_address at;
    struct isola_err err = {0};
    if (isola_address_parse(text, &at, &err) != 0) {
        ISOLA_CHECK(err.code == ISOLA_EINVAL && err.text[0] != '\0');
        return;
    }
    ISOLA_CHECK(text.len <= ISOLA_ADDRESS_MAX);
    ISOLA_CHECK(at.app.len > 0 && at.type.len > 0 && at.key.len > 0);
    ISOLA_CHECK(at.app.data == text.data);
    ISOLA_CHECK(at.type.data == at.app.data + at.app.len + 1 && at.type.data[-1] == '/');
    ISOLA_CHECK(at.key.data == at.type.data + at.type.len + 1 && at.key.data[-1] == '/');
    ISOLA_CHECK(at.key.data + at.key.len == text.data + text.len);
    for (size_t i = 0; i < text.len; i++)
        ISOLA_CHECK(text.data[i] >= ' ' && text.data[i] != 127);
}

static void url(const char *text)
{
    struct isola__url parsed, again;
    struct isola_err err = {0};
    char out[ISOLA__URL_SIZE], twice[ISOLA__URL_SIZE];
    int rc = isola__url_parse(text, &parsed, &err);
    if (rc != 0) {
        ISOLA_CHECK((rc == ISOLA_EINVAL || rc == ISOLA_EPERM) && err.text[0] != '\0');
        return;
    }
    isola__url_format(&parsed, out);
    ISOLA_CHECK(isola__url_parse(out, &again, &err) == 0);
    ISOLA_CHECK(again.kind == parsed.kind);
    isola__url_format(&again, twice);
    ISOLA_CHECK(strcmp(out, twice) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    actor(isola_slice(data, size));
    char *text = isola_strndup((const char *)data, size);
    url(text);
    free(text);
    return 0;
}
