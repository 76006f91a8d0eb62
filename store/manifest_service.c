/* SPDX-License-Identifier: Apache-2.0
 *
 * A type that is a Node.js program (docs/services.md): what it is started with, how many of it, and
 * where it listens.
 *
 * Bounds: LIST_MAX items of a list, TEXT_MAX bytes of each. Options of Node.js are those that
 * choose among the app's own files or bound what the program uses: code from elsewhere is not
 * loaded by a manifest.
 */
#include "base/check.h"
#include "store/manifest_parse.h"

#define LIST_MAX 256
#define TEXT_MAX 32768u

static const char *const keys[] = {"module",  "isolation",   "kind",         "args",    "env",
                                   "envFile", "nodeArgs",    "instances",    "port",    "restart",
                                   "logRate", "stopTimeout", "startTimeout", "health",  "sandbox",
                                   "sticky",  "memory",      "cpus",         "secrets", NULL};
static const char *const health_keys[] = {"path", "every", "timeout", "failures", NULL};
static const char *const later_keys[] = {"labels", "replicas", NULL};

static int fail_type(struct isola__manifest_reader *r, const json_t *v, const char *what)
{
    char *quoted = isola__manifest_quote(v);
    int code = isola__manifest_fail(r, "must be %s, not %s", what, quoted);
    free(quoted);
    return code;
}

void isola__manifest_list_free(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++)
        free(list[i]);
    free(list);
}

/* --- texts --- */

/* What can be an argument or a variable's value: no NUL is in it, as jansson refuses those. */
static bool is_text(const json_t *v)
{
    return json_is_string(v) && json_string_length(v) <= TEXT_MAX;
}

/* Looks at one item of a list; those before it are in `list`. */
typedef int item_fn(struct isola__manifest_reader *r, const char *item, char *const *list,
                    const void *arg);

/* An array of strings, of so many `things` at the most; `check`: what is said of each, or NULL. */
static int read_list(struct isola__manifest_reader *r, const json_t *v, const char *what,
                     const char *things, item_fn *check, const void *arg, char ***out)
{
    size_t i;
    const json_t *item;
    if (v == NULL)
        return 0;
    if (!json_is_array(v))
        return fail_type(r, v, what);
    if (json_array_size(v) > LIST_MAX)
        return isola__manifest_fail(r, "has %zu %s; %d at the most", json_array_size(v), things,
                                    LIST_MAX);
    *out = isola_zalloc((json_array_size(v) + 1) * sizeof(**out));
    json_array_foreach(v, i, item)
    {
        if (!is_text(item))
            return fail_type(r, v, what);
        int code = check != NULL ? check(r, json_string_value(item), *out, arg) : 0;
        if (code != 0)
            return code;
        (*out)[i] = isola_strdup(json_string_value(item));
    }
    return 0;
}

static int read_args(struct isola__manifest_reader *r, const json_t *v, char ***out)
{
    return read_list(r, v, "an array of strings such as [\"--verbose\"]", "strings", NULL, NULL,
                     out);
}

static bool is_variable(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n <= 256 && name[n] == '\0' && (name[0] < '0' || name[0] > '9');
}

/* What the agent says itself, or what would have Node.js load other code. */
static const char *const own_variables[] = {
    "PORT",         "ISOLA_NODE", "ISOLA_APP",       "ISOLA_TYPE",      "ISOLA_INSTANCE",
    "NODE_OPTIONS", "LD_PRELOAD", "LD_LIBRARY_PATH", "NODE_CHANNEL_FD", NULL};

/* Why a manifest may not set it; NULL: it may. */
static const char *taken(const char *name)
{
    if (!is_variable(name))
        return "not the name of a variable: letters, digits and \"_\", the first no digit";
    for (size_t i = 0; own_variables[i] != NULL; i++)
        if (strcmp(own_variables[i], name) == 0)
            return strcmp(name, "PORT") == 0 ? "is set by Isola, from \"port\""
                   : strcmp(name, "NODE_OPTIONS") == 0
                       ? "cannot be set: options of Node.js belong into \"nodeArgs\""
                       : "is set by Isola, or not at all";
    return NULL;
}

static int read_variable(struct isola__manifest_reader *r, const char *name, const json_t *v,
                         char **out)
{
    const char *why = taken(name);
    if (why != NULL)
        return isola__manifest_fail_key(r, "%s", why);
    if (!is_text(v))
        return fail_type(r, v, "a string");
    *out = isola_format("%s=%s", name, json_string_value(v));
    return 0;
}

static int read_env(struct isola__manifest_reader *r, const json_t *v, char ***out)
{
    if (v == NULL)
        return 0;
    if (!json_is_object(v))
        return fail_type(r, v, "an object such as {\"LOG_LEVEL\": \"info\"}");
    if (json_object_size(v) > LIST_MAX)
        return isola__manifest_fail(r, "has %zu variables; %d at the most", json_object_size(v),
                                    LIST_MAX);
    *out = isola_zalloc((json_object_size(v) + 1) * sizeof(**out));
    size_t n = 0;
    int code = 0;
    for (void *it = json_object_iter((json_t *)v); it != NULL && code == 0;
         it = json_object_iter_next((json_t *)v, it)) {
        const char *name = json_object_iter_key(it);
        isola__manifest_enter(r, name);
        code = read_variable(r, name, json_object_iter_value(it), &(*out)[n++]);
        isola__manifest_leave(r);
    }
    return code;
}

static bool has_variable(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return true;
    return false;
}

/* `env`: what is said of "env" when that has it too; NULL: it has not. */
static int check_secret(struct isola__manifest_reader *r, const char *name, char *const *before,
                        const char *env)
{
    const char *why = taken(name);
    bool twice = false;
    for (; *before != NULL; before++)
        twice = twice || strcmp(*before, name) == 0;
    if (why != NULL)
        return isola__manifest_fail(r, "names \"%.100s\", which is %s%s", name,
                                    strncmp(why, "not ", 4) == 0 ? "" : "a variable that ", why);
    if (twice)
        return isola__manifest_fail(r, "names \"%s\" twice", name);
    if (env != NULL)
        return isola__manifest_fail(
            r, "names \"%s\", which \"env\" %s: leave it out there, or here", name, env);
    return 0;
}

static int check_of_service(struct isola__manifest_reader *r, const char *name, char *const *before,
                            const void *service)
{
    char *const *env = ((const struct isola_manifest_service *)service)->env;
    return check_secret(r, name, before, has_variable(env, name) ? "sets" : NULL);
}

static int check_of_actors(struct isola__manifest_reader *r, const char *name, char *const *before,
                           const void *env)
{
    const char *at = env;
    size_t n = strlen(name);
    while (at != NULL && (strncmp(at, name, n) != 0 || (at[n] != '\n' && at[n] != '\0')))
        at = (at = strchr(at, '\n')) != NULL ? at + 1 : NULL;
    return check_secret(r, name, before, at != NULL ? "names too" : NULL);
}

#define SECRETS_ARE "an array of names such as [\"DATABASE_URL\"]"

/* Names only: what they are is set with `ctl secret set`. */
static int read_secrets(struct isola__manifest_reader *r, const json_t *v,
                        struct isola_manifest_service *s)
{
    return read_list(r, v, SECRETS_ARE, "names", check_of_service, s, &s->secrets);
}

int isola__manifest_secrets(struct isola__manifest_reader *r, const json_t *v, const char *env,
                            char ***out)
{
    return read_list(r, v, SECRETS_ARE, "names", check_of_actors, env, out);
}

/* --- options of Node.js --- */

enum value { NO_VALUE, WORD, NUMBER, APP_CODE };

static const struct node_option {
    const char *name;
    enum value value;
} node_options[] = {
    {"--allow-inspector", NO_VALUE},
    {"--conditions", WORD},
    {"--enable-source-maps", NO_VALUE},
    {"--expose-gc", NO_VALUE},
    {"--experimental-strip-types", NO_VALUE},
    {"--import", APP_CODE},
    {"--max-http-header-size", NUMBER},
    {"--max-old-space-size", NUMBER},
    {"--max-semi-space-size", NUMBER},
    {"--no-deprecation", NO_VALUE},
    {"--no-warnings", NO_VALUE},
    {"--preserve-symlinks", NO_VALUE},
    {"--require", APP_CODE},
    {"--stack-trace-limit", NUMBER},
    {"--throw-deprecation", NO_VALUE},
    {"--trace-deprecation", NO_VALUE},
    {"--trace-uncaught", NO_VALUE},
    {"--trace-warnings", NO_VALUE},
};
#define NOPTIONS (sizeof(node_options) / sizeof(node_options[0]))

/* A package of the app, or a module of one: "tsx", "@scope/name/register". Not a URL, nor what
 * leads elsewhere: no part begins with a dot. */
static bool is_package(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~.-";
    name += name[0] == '@';
    for (;; name++) {
        size_t n = strspn(name, letters);
        if (n == 0 || name[0] == '.')
            return false;
        name += n;
        if (*name != '/')
            return *name == '\0';
    }
}

static int read_option_value(struct isola__manifest_reader *r, const struct node_option *o,
                             const char *value, char **out)
{
    char *file = NULL;
    size_t digits = strspn(value, "0123456789");
    size_t word =
        strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:");
    switch (o->value) {
    case NUMBER:
        if (digits == 0 || digits > 9 || value[digits] != '\0')
            return isola__manifest_fail(r, "%s takes a number, as in \"%s=512\"", o->name, o->name);
        break;
    case APP_CODE: {
        if (is_package(value))
            break;
        json_t *path = json_string(value);
        int code = strncmp(value, "./", 2) == 0
                       ? isola__manifest_module(r, path, &file)
                       : isola__manifest_fail(r,
                                              "%s takes a file of the app, as in "
                                              "\"%s=./setup.js\", or a package, as in \"%s=tsx\"",
                                              o->name, o->name, o->name);
        json_decref(path);
        if (code != 0)
            return code;
        break;
    }
    default:
        if (word == 0 || value[word] != '\0')
            return isola__manifest_fail(r, "%s takes a word, as in \"%s=production\"", o->name,
                                        o->name);
    }
    *out = file != NULL ? isola_format("%s=./%s", o->name, file)
                        : isola_format("%s=%s", o->name, value);
    free(file);
    return 0;
}

static int read_option(struct isola__manifest_reader *r, const char *text, char **out)
{
    const char *names[NOPTIONS + 1] = {NULL};
    size_t n = strcspn(text, "=");
    for (size_t i = 0; i < NOPTIONS; i++) {
        const struct node_option *o = &node_options[i];
        names[i] = o->name;
        if (strlen(o->name) != n || memcmp(o->name, text, n) != 0)
            continue;
        if (o->value == NO_VALUE && text[n] == '\0') {
            *out = isola_strdup(text);
            return 0;
        }
        if (o->value == NO_VALUE)
            return isola__manifest_fail(r, "%s takes no value", o->name);
        return read_option_value(r, o, text[n] == '=' ? text + n + 1 : "", out);
    }
    char *name = isola_strndup(text, n < 100 ? n : 100);
    char *what = isola_format("\"%s\" is not one of", name);
    int code = isola__manifest_fail_words(r, false, what, names, name);
    free(what);
    free(name);
    return code;
}

static int read_node_args(struct isola__manifest_reader *r, const json_t *v, char ***out)
{
    char **given = NULL;
    int code = read_args(r, v, &given);
    size_t n = 0;
    while (code == 0 && given != NULL && given[n] != NULL)
        n++;
    if (n > 0)
        *out = isola_zalloc((n + 1) * sizeof(**out));
    for (size_t i = 0; i < n && code == 0; i++)
        code = read_option(r, given[i], &(*out)[i]);
    isola__manifest_list_free(given);
    return code;
}

/* --- the rest --- */

static int read_instances(struct isola__manifest_reader *r, const json_t *v, uint32_t *out)
{
    if (json_is_string(v) && strcmp(json_string_value(v), "cpus") == 0) {
        *out = 0;
        return 0;
    }
    if (v != NULL && !json_is_integer(v))
        return fail_type(r, v, "a whole number from 1 to 1024, or \"cpus\"");
    return isola__manifest_count(r, v, 1, ISOLA_MANIFEST_INSTANCES, out);
}

static int read_env_file(struct isola__manifest_reader *r, const json_t *v, char **out)
{
    return v != NULL ? isola__manifest_module(r, v, out) : 0;
}

static int read_health_path(struct isola__manifest_reader *r, const json_t *v, char **out)
{
    const char *path = json_string_value(v);
    size_t n = 0;
    while (path != NULL && path[n] > ' ' && path[n] < 127)
        n++;
    if (path == NULL || path[0] != '/' || path[n] != '\0' || n > 1024)
        return fail_type(r, v, "a path such as \"/healthz\"");
    *out = isola_strdup(path);
    return 0;
}

static int read_health(struct isola__manifest_reader *r, const json_t *object,
                       struct isola_manifest_service *s)
{
    if (object == NULL)
        return 0;
    if (!json_is_object(object))
        return fail_type(r, object, "an object such as {\"path\": \"/healthz\"}");
    int code = isola__manifest_keys(r, object, health_keys, NULL);
    if (code != 0)
        return code;
    if (s->port == 0)
        return isola__manifest_fail(r, "is asked on the program's port: give it a \"port\"");
    if (json_object_get(object, "path") == NULL)
        return isola__manifest_fail(r, "\"path\" is missing: what is asked, such as \"/healthz\"");
    FIELD(read_health_path(r, v, &s->health_path), "path");
    FIELD(isola__manifest_duration(r, v, "100ms", "1h", &s->health_every_ms), "every");
    FIELD(isola__manifest_duration(r, v, "10ms", "1h", &s->health_timeout_ms), "timeout");
    FIELD(isola__manifest_count(r, v, 1, 1000, &s->health_failures), "failures");
    return 0;
}

static int read_sticky(struct isola__manifest_reader *r, const json_t *v,
                       struct isola_manifest_service *s)
{
    if (v != NULL && s->port == 0)
        return isola__manifest_fail(r, "is about the clients of a port: give it a \"port\"");
    return isola__manifest_bool(r, v, &s->sticky);
}

/* In thousandths of a processor. */
static int read_cpus(struct isola__manifest_reader *r, const json_t *v, uint32_t *out)
{
    if (v == NULL)
        return 0;
    double n = json_number_value(v);
    if (!json_is_number(v) || !(n >= 0.01 && n <= 1024))
        return fail_type(r, v, "a number of processors from 0.01 to 1024, such as 0.5 or 2");
    *out = (uint32_t)(n * 1000 + 0.5);
    return 0;
}

int isola__manifest_service(struct isola__manifest_reader *r, const json_t *object,
                            struct isola_manifest_service **out)
{
    int code = isola__manifest_keys(r, object, keys, later_keys);
    if (code != 0)
        return code;
    struct isola_manifest_service *s = *out = isola_zalloc(sizeof(*s));
    s->instances = 1;
    s->start_ms = 60000;
    s->stop_ms = 10000;
    s->health_every_ms = 5000;
    s->health_timeout_ms = 2000;
    s->health_failures = 3;
    FIELD(read_args(r, v, &s->args), "args");
    FIELD(read_env(r, v, &s->env), "env");
    FIELD(read_env_file(r, v, &s->env_file), "envFile");
    FIELD(read_secrets(r, v, s), "secrets");
    FIELD(read_node_args(r, v, &s->node_args), "nodeArgs");
    FIELD(read_instances(r, v, &s->instances), "instances");
    FIELD(isola__manifest_count(r, v, 1, 65535, &s->port), "port");
    FIELD(isola__manifest_duration(r, v, "100ms", "1h", &s->start_ms), "startTimeout");
    FIELD(isola__manifest_duration(r, v, "0ms", "1h", &s->stop_ms), "stopTimeout");
    FIELD(read_health(r, v, s), "health");
    FIELD(isola__manifest_bool(r, v, &s->sandbox), "sandbox");
    FIELD(read_sticky(r, v, s), "sticky");
    FIELD(isola__manifest_size(r, v, "64MB", "1024GB", &s->memory), "memory");
    FIELD(read_cpus(r, v, &s->millicpus), "cpus");
    return 0;
}

bool isola__manifest_is_service_key(const char *key)
{
    size_t i = 0;
    while (keys[i] != NULL && strcmp(keys[i], key) != 0)
        i++;
    return keys[i] != NULL;
}

void isola__manifest_service_free(struct isola_manifest_service *s)
{
    if (s == NULL)
        return;
    isola__manifest_list_free(s->args);
    isola__manifest_list_free(s->env);
    isola__manifest_list_free(s->node_args);
    isola__manifest_list_free(s->secrets);
    free(s->env_file);
    free(s->health_path);
    free(s);
}
