/* SPDX-License-Identifier: Apache-2.0
 *
 * store/manifest: an isola.json of anybody's. What is accepted keeps to its bounds; what is not is
 * explained in a sentence that can be shown in a terminal.
 */
#include "store/manifest.h"

#include "tests/fuzz/fuzz.h"

static void printable(const char *text)
{
    ISOLA_CHECK(text[0] != '\0');
    for (; *text != '\0'; text++)
        ISOLA_CHECK((unsigned char)*text >= ' ' && *text != 127);
}

static void type(const struct isola_actor_type *t)
{
    size_t n = strlen(t->name);
    ISOLA_CHECK(n >= 1 && n <= 64);
    ISOLA_CHECK(t->module[0] != '\0' && t->module[0] != '/');
    ISOLA_CHECK(strncmp(t->module, "../", 3) != 0 && strstr(t->module, "/../") == NULL);
    ISOLA_CHECK(t->heap > 0 && t->external > 0 && t->cpu_ms > 0 && t->mailbox > 0);
    ISOLA_CHECK(t->mailbox_bytes > 0 && t->message > 0 && t->output > 0 && t->asks > 0);
    ISOLA_CHECK(t->timers > 0 && t->subscriptions > 0 && t->log_rate > 0);
    ISOLA_CHECK(t->sql_bytes > 0);
    ISOLA_CHECK(t->life.max_backoff_ms >= t->life.backoff_ms);
    ISOLA_CHECK(t->life.restarts <= ISOLA_MANIFEST_RESTARTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    int rc = isola_manifest_parse(isola_slice(data, size), "isola.json", &m, &err);
    if (rc != 0) {
        ISOLA_CHECK(rc == ISOLA_EMANIFEST && err.code == rc && m == NULL);
        printable(err.text);
        return 0;
    }
    ISOLA_CHECK(strlen(m->name) >= 1 && strlen(m->name) <= 64);
    ISOLA_CHECK(m->ntypes >= 1 && m->ntypes <= ISOLA_MANIFEST_TYPES);
    for (size_t i = 0; i < m->ntypes; i++) {
        type(&m->types[i]);
        ISOLA_CHECK(isola_manifest_type(m, isola_slice_str(m->types[i].name)) == &m->types[i]);
    }
    isola_manifest_free(m);
    return 0;
}
