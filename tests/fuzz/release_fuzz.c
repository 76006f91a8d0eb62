/* SPDX-License-Identifier: Apache-2.0
 *
 * A release as `ctl deploy` or another node sends it. What is accepted is that release, by its id,
 * when it is sent on.
 */
#include "store/catalog.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct isola_release *r = NULL, *again = NULL;
    struct isola_err err = {0};
    int rc = isola_release_decode(isola_slice(data, size), &r, &err);
    if (rc != 0) {
        ISOLA_CHECK((rc == ISOLA_EINVAL || rc == ISOLA_EMANIFEST) && err.text[0] != '\0');
        return 0;
    }
    struct isola_buf out = {0};
    isola_release_encode(r, &out);
    ISOLA_CHECK(!out.failed);
    if (isola_release_decode(isola_buf_slice(&out), &again, &err) != 0)
        isola_check_failed(err.text, __FILE__, __LINE__);
    ISOLA_CHECK(strcmp(r->id, again->id) == 0 && strcmp(r->app, again->app) == 0);
    ISOLA_CHECK(r->nbundles == again->nbundles && r->revision == again->revision);
    isola_release_free(again);
    isola_release_free(r);
    isola_buf_free(&out);
    return 0;
}
