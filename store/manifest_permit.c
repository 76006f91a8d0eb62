/* SPDX-License-Identifier: Apache-2.0
 *
 * Permissions that are lists of names: the variables of the environment an app's scripts see, and
 * the apps whose actors they may send to.
 */
#include "store/manifest_permit.h"

#include <string.h>

#include "base/check.h"

#define NAMES_MAX 256
#define VAR_MAX   256
#define APP_MAX   64

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

static bool is_var(const char *s)
{
    size_t n = strspn(s, LETTERS DIGITS "_");
    return n > 0 && n <= VAR_MAX && s[n] == '\0' && strchr(DIGITS, s[0]) == NULL;
}

static bool is_app(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz" DIGITS "-");
    return strcmp(s, "*") == 0 || (n > 0 && n <= APP_MAX && s[n] == '\0' && s[0] >= 'a');
}

static int fail(struct isola__manifest_reader *r, const json_t *v, const char *wanted)
{
    char *quoted = isola__manifest_quote(v);
    int code = isola__manifest_fail(r, "must be %s, not %s", wanted, quoted);
    free(quoted);
    return code;
}

static int names(struct isola__manifest_reader *r, const json_t *v, bool (*is)(const char *s),
                 const char *list_is, const char *item_is, char **out)
{
    if (v == NULL)
        return 0;
    if (!json_is_array(v))
        return fail(r, v, list_is);
    if (json_array_size(v) > NAMES_MAX)
        return isola__manifest_fail(r, "has %zu names; %d at the most", json_array_size(v),
                                    NAMES_MAX);
    struct isola_buf list = {0};
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const char *s = json_string_value(item);
        if (s == NULL || !is(s)) {
            isola_buf_free(&list);
            return fail(r, item, item_is);
        }
        isola_buf_printf(&list, "%s%s", i > 0 ? "\n" : "", s);
    }
    if (list.len > 0)
        *out = isola_strndup((const char *)list.data, list.len);
    isola_buf_free(&list);
    return 0;
}

int isola__manifest_env(struct isola__manifest_reader *r, const json_t *v, char **out)
{
    return names(r, v, is_var, "a list of variables of the environment such as [\"TZ\"]",
                 "the name of one variable of the environment such as \"TZ\"", out);
}

int isola__manifest_apps(struct isola__manifest_reader *r, const json_t *v, char **out)
{
    return names(r, v, is_app, "a list of apps such as [\"mail\"]",
                 "an app's name such as \"mail\", or \"*\" for all", out);
}
