/* SPDX-License-Identifier: Apache-2.0
 *
 * base/sourcemap: a map that came with a bundle. A place found in it lies in it and can be shown in
 * a terminal.
 */
#include "base/sourcemap.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct isola_sourcemap *m = NULL;
    struct isola_err err = {0};
    int rc = isola_sourcemap_parse(isola_slice(data, size), &m, &err);
    if (rc != 0) {
        ISOLA_CHECK(rc == ISOLA_EINVAL && err.text[0] != '\0' && m == NULL);
        return 0;
    }
    static const uint32_t places[] = {0, 1, 2, 3, 7, 40, 1000, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
            struct isola_source_place p = {0};
            if (!isola_sourcemap_find(m, places[i], places[k], &p))
                continue;
            ISOLA_CHECK(p.line >= 1 && p.column >= 1);
            for (size_t c = 0; c < p.source.len; c++)
                ISOLA_CHECK(p.source.data[c] >= ' ' && p.source.data[c] != 127);
        }
    }
    isola_sourcemap_free(m);
    return 0;
}
