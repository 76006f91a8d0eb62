/* SPDX-License-Identifier: Apache-2.0
 *
 * permissions.net of a manifest: which hosts an app's scripts may connect to. A list of patterns,
 * HOST or HOST:PORT: HOST is a name, "*.name" (everything below that name), an address (IPv6 in
 * brackets) or "*"; PORT is a number or "*". Without a port it is that of the URL's scheme.
 */
#include "store/manifest_net.h"

#include <ctype.h>
#include <string.h>

#include "base/check.h"

#define PATTERNS_MAX 256
#define HOST_MAX     253 /* of a name in DNS */
#define LABEL_MAX    63

/* Bytes of the name at `s`: labels with dots between them. 0: it is none. */
static size_t name_len(const char *s)
{
    size_t n = 0;
    for (;;) {
        size_t label = 0;
        while (isalnum((unsigned char)s[n + label]) || s[n + label] == '-' || s[n + label] == '_')
            label++;
        if (label == 0 || label > LABEL_MAX)
            return 0;
        n += label;
        if (s[n] != '.')
            return n <= HOST_MAX ? n : 0;
        n++;
    }
}

/* Bytes of the host at `s`. 0: it is none. */
static size_t host_len(const char *s)
{
    if (s[0] == '[') {
        size_t n = strspn(s + 1, "0123456789abcdefABCDEF:.");
        return n > 1 && n < 46 && s[n + 1] == ']' ? n + 2 : 0;
    }
    if (s[0] != '*')
        return name_len(s);
    if (s[1] != '.')
        return 1;
    size_t n = name_len(s + 2);
    return n > 0 ? n + 2 : 0;
}

static bool is_port(const char *s)
{
    size_t n = strspn(s, "0123456789");
    if (strcmp(s, "*") == 0)
        return true;
    return n > 0 && n <= 5 && s[n] == '\0' && s[0] != '0' && strtoul(s, NULL, 10) <= 65535;
}

static bool is_pattern(const char *s)
{
    size_t n = host_len(s);
    return n > 0 && (s[n] == '\0' || (s[n] == ':' && is_port(s + n + 1)));
}

static int fail_pattern(struct isola__manifest_reader *r, const json_t *v)
{
    const char *s = json_string_value(v);
    char *quoted = isola__manifest_quote(v);
    const char *hint = s != NULL && strstr(s, "://") != NULL ? "; it is a host, not a URL" : "";
    for (const char *p = s; p != NULL && *p != '\0' && *hint == '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            hint = "; a name with other letters is written as URLs have it, \"xn--…\"";
    int code = isola__manifest_fail(r,
                                    "must be HOST or HOST:PORT such as \"api.example.com\", "
                                    "\"*.example.com:8443\" or \"*:*\", not %s%s",
                                    quoted, hint);
    free(quoted);
    return code;
}

static int fail_list(struct isola__manifest_reader *r, const json_t *v)
{
    char *quoted = isola__manifest_quote(v);
    int code = isola__manifest_fail(
        r, "must be a list of hosts such as [\"api.example.com:443\"], not %s", quoted);
    free(quoted);
    return code;
}

int isola__manifest_net(struct isola__manifest_reader *r, const json_t *v, char **out)
{
    if (v == NULL)
        return 0;
    if (!json_is_array(v))
        return fail_list(r, v);
    if (json_array_size(v) > PATTERNS_MAX)
        return isola__manifest_fail(r, "has %zu hosts; %d at the most", json_array_size(v),
                                    PATTERNS_MAX);
    struct isola_buf list = {0};
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const char *s = json_string_value(item);
        if (s == NULL || !is_pattern(s)) {
            isola_buf_free(&list);
            return fail_pattern(r, item);
        }
        isola_buf_printf(&list, "%s%s", i > 0 ? "\n" : "", s);
    }
    for (size_t i = 0; i < list.len; i++)
        list.data[i] = (uint8_t)tolower(list.data[i]);
    if (list.len > 0)
        *out = isola_strndup((const char *)list.data, list.len);
    isola_buf_free(&list);
    return 0;
}
