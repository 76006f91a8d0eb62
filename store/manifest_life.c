/* SPDX-License-Identifier: Apache-2.0
 *
 * How actors of a type live: when they hibernate, how often they may crash, how they supervise
 * their children (docs/actors.md).
 */
#include "store/manifest_parse.h"

static const char *const strategies[] = {"one_for_one", "one_for_all", "rest_for_one", "escalate",
                                         NULL};
static const char *const none[] = {NULL};
static const char *const restart_keys[] = {"max", "within", "backoff", "maxBackoff", NULL};

static int read_hibernate(struct isola__manifest_reader *r, const json_t *v, uint64_t *out)
{
    if (json_is_string(v) && strcmp(json_string_value(v), "never") == 0) {
        *out = 0;
        return 0;
    }
    return isola__manifest_duration(r, v, "1ms", "30d", out);
}

static int read_restart(struct isola__manifest_reader *r, const json_t *object,
                        struct isola_manifest_life *out)
{
    if (object == NULL)
        return 0;
    if (!json_is_object(object)) {
        char *quoted = isola__manifest_quote(object);
        int code = isola__manifest_fail(
            r, "must be an object such as {\"max\": 5, \"within\": \"10s\"}, not %s", quoted);
        free(quoted);
        return code;
    }
    for (void *it = json_object_iter((json_t *)object); it != NULL;
         it = json_object_iter_next((json_t *)object, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (restart_keys[i] != NULL && strcmp(restart_keys[i], key) != 0)
            i++;
        if (restart_keys[i] != NULL)
            continue;
        isola__manifest_enter(r, key);
        int code =
            isola__manifest_fail_words(r, true, "unknown key, not one of", restart_keys, key);
        isola__manifest_leave(r);
        return code;
    }
    FIELD(isola__manifest_count(r, v, 0, ISOLA_MANIFEST_RESTARTS, &out->restarts), "max");
    FIELD(isola__manifest_duration(r, v, "1ms", "30d", &out->within_ms), "within");
    FIELD(isola__manifest_duration(r, v, "0ms", "1h", &out->backoff_ms), "backoff");
    if (json_object_get(object, "maxBackoff") == NULL && out->max_backoff_ms < out->backoff_ms)
        out->max_backoff_ms = out->backoff_ms;
    FIELD(isola__manifest_duration(r, v, "0ms", "1h", &out->max_backoff_ms), "maxBackoff");
    return 0;
}

int isola__manifest_life(struct isola__manifest_reader *r, const json_t *object,
                         struct isola_manifest_life *out)
{
    int strategy = ISOLA_MANIFEST_ONE_FOR_ONE;
    *out = (struct isola_manifest_life){.hibernate_after_ms = 60000,
                                        .restarts = 5,
                                        .within_ms = 10000,
                                        .backoff_ms = 100,
                                        .max_backoff_ms = 30000};
    FIELD(read_hibernate(r, v, &out->hibernate_after_ms), "hibernateAfter");
    FIELD(read_restart(r, v, out), "restart");
    FIELD(isola__manifest_choice(r, v, strategies, none, &strategy), "strategy");
    out->strategy = (enum isola_manifest_strategy)strategy;
    return 0;
}
