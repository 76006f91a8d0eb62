/* SPDX-License-Identifier: Apache-2.0
 *
 * How a release of the app is watched when it has become current (docs/releases.md).
 */
#include "store/manifest_parse.h"

#define PERCENT 100u /* hundredths of one */

static const char *const keys[] = {"window", "deadline", "errors", "minErrors", "rollback", NULL};

/* "5%", "0.25%": in hundredths of a percent. */
static bool parse_percent(const char *s, uint32_t *out)
{
    uint32_t v = 0, unit = PERCENT;
    const char *p = s;
    for (; *p >= '0' && *p <= '9' && v <= 100 * PERCENT; p++)
        v = v * 10 + (uint32_t)(*p - '0') * PERCENT;
    if (p == s)
        return false;
    if (*p == '.') {
        const char *fraction = ++p;
        for (; *p >= '0' && *p <= '9' && unit > 1; p++) {
            unit /= 10;
            v += (uint32_t)(*p - '0') * unit;
        }
        if (p == fraction)
            return false;
    }
    *out = v;
    return p[0] == '%' && p[1] == '\0' && v <= 100 * PERCENT;
}

static int read_percent(struct isola__manifest_reader *r, const json_t *v, uint32_t *out)
{
    if (v == NULL || (json_is_string(v) && parse_percent(json_string_value(v), out)))
        return 0;
    char *quoted = isola__manifest_quote(v);
    int code = isola__manifest_fail(r,
                                    "must be a part such as \"5%%\" or \"0.5%%\", from \"0%%\" to "
                                    "\"100%%\", not %s",
                                    quoted);
    free(quoted);
    return code;
}

int isola__manifest_rollout(struct isola__manifest_reader *r, const json_t *object,
                            struct isola_manifest_rollout *out)
{
    *out = (struct isola_manifest_rollout){.window_ms = 30000,
                                           .deadline_ms = 600000,
                                           .errors = 5 * PERCENT,
                                           .min_errors = 5,
                                           .rollback = true};
    if (object == NULL)
        return 0;
    if (!json_is_object(object)) {
        char *quoted = isola__manifest_quote(object);
        int code = isola__manifest_fail(
            r, "must be an object such as {\"window\": \"30s\", \"errors\": \"5%%\"}, not %s",
            quoted);
        free(quoted);
        return code;
    }
    int code = isola__manifest_keys(r, object, keys, NULL);
    if (code != 0)
        return code;
    FIELD(isola__manifest_duration(r, v, "0ms", "1h", &out->window_ms), "window");
    FIELD(isola__manifest_duration(r, v, "1s", "1d", &out->deadline_ms), "deadline");
    FIELD(read_percent(r, v, &out->errors), "errors");
    FIELD(isola__manifest_count(r, v, 1, 1000000, &out->min_errors), "minErrors");
    FIELD(isola__manifest_bool(r, v, &out->rollback), "rollback");
    return 0;
}
