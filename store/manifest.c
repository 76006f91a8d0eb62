/* SPDX-License-Identifier: Apache-2.0
 *
 * From JSON to struct isola_manifest. Strict: what is not known is an error, so that a slip of the
 * keys is not a setting silently ignored. Keys that DESIGN has but this release does not yet are
 * refused by name.
 *
 * Bounds: ISOLA_MANIFEST_MAX bytes, DEPTH_MAX levels, ISOLA_MANIFEST_TYPES types, before anything
 * is built from them.
 */
#include "store/manifest.h"

#include "base/check.h"
#include "store/json_text.h"
#include "store/manifest_net.h"
#include "store/manifest_parse.h"
#include "store/manifest_permit.h"

#define DEPTH_MAX    32
#define NAME_MAX_LEN 64

static const char *const app_keys[] = {"$schema",     "name",    "version", "actors",
                                       "permissions", "rollout", "routes",  NULL};
static const char *const type_keys[] = {
    "module", "isolation", "reentrant", "kind", "hibernateAfter", "restart", "strategy",
    /* limits: */
    "heap", "external", "cpu", "mailbox", "mailboxBytes", "message", "output", "asks", "timers",
    "subscriptions", "logRate", "sqlBytes", NULL};
static const char *const later_type_keys[] = {"size",      "key",    "replicas",
                                              "minInSync", "labels", NULL};
static const char *const permission_keys[] = {"net", "env", "apps", "secrets", NULL};
static const char *const isolations[] = {"isolate", "shared", "process", NULL};
static const char *const kinds[] = {"actor", "service", NULL};
static const char *const later_kinds[] = {"pool", "singleton", NULL};
static const char *const none[] = {NULL};

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static bool is_name(const char *s, const char *first, const char *rest)
{
    size_t len = strlen(s);
    return len > 0 && len <= NAME_MAX_LEN && strchr(first, s[0]) != NULL && strspn(s, rest) == len;
}

static bool is_in(const char *const *words, const char *word)
{
    while (*words != NULL && strcmp(*words, word) != 0)
        words++;
    return *words != NULL;
}

int isola__manifest_keys(struct isola__manifest_reader *r, const json_t *object,
                         const char *const *known, const char *const *later)
{
    int code = 0;
    for (void *it = json_object_iter((json_t *)object); it != NULL && code == 0;
         it = json_object_iter_next((json_t *)object, it)) {
        const char *key = json_object_iter_key(it);
        if (is_in(known, key))
            continue;
        isola__manifest_enter(r, key);
        if (later != NULL && is_in(later, key))
            code = isola__manifest_fail_key(r, "not supported by this release");
        else if (known == type_keys && isola__manifest_is_service_key(key))
            code = isola__manifest_fail_key(
                r, "is for services: say \"kind\": \"service\" too, if this is a program");
        else
            code = isola__manifest_fail_words(r, true, "unknown key, not one of", known, key);
        isola__manifest_leave(r);
    }
    return code;
}

/* --- a type --- */

static int read_limits(struct isola__manifest_reader *r, const json_t *object,
                       struct isola_actor_type *out)
{
    out->heap = out->output = 128u << 20;
    out->external = 256u << 20;
    out->cpu_ms = 1000;
    out->mailbox = out->asks = out->timers = out->subscriptions = 10000;
    out->mailbox_bytes = out->sql_bytes = 64u << 20;
    out->message = 16u << 20;
    out->log_rate = 1000;
    FIELD(isola__manifest_size(r, v, "4MB", "16GB", &out->heap), "heap");
    FIELD(isola__manifest_size(r, v, "1MB", "64GB", &out->external), "external");
    FIELD(isola__manifest_duration(r, v, "10ms", "1h", &out->cpu_ms), "cpu");
    FIELD(isola__manifest_count(r, v, 1, 1000000, &out->mailbox), "mailbox");
    FIELD(isola__manifest_size(r, v, "64KB", "4GB", &out->mailbox_bytes), "mailboxBytes");
    FIELD(isola__manifest_size(r, v, "1KB", "1GB", &out->message), "message");
    FIELD(isola__manifest_size(r, v, "64KB", "4GB", &out->output), "output");
    FIELD(isola__manifest_count(r, v, 1, 1000000, &out->asks), "asks");
    FIELD(isola__manifest_count(r, v, 1, 1000000, &out->timers), "timers");
    FIELD(isola__manifest_count(r, v, 1, 1000000, &out->subscriptions), "subscriptions");
    FIELD(isola__manifest_count(r, v, 1, 1000000, &out->log_rate), "logRate");
    FIELD(isola__manifest_size(r, v, "64KB", "1GB", &out->sql_bytes), "sqlBytes");
    return 0;
}

/* A service is one by either key. */
static int read_kind(struct isola__manifest_reader *r, const json_t *object,
                     enum isola_isolation *out)
{
    int isolation = ISOLA_ISOLATION_ISOLATE, kind = 0;
    const json_t *given = json_object_get(object, "isolation");
    FIELD(isola__manifest_choice(r, v, isolations, none, &isolation), "isolation");
    FIELD(isola__manifest_choice(r, v, kinds, later_kinds, &kind), "kind");
    bool service = kind == 1, process = isolation == ISOLA_ISOLATION_PROCESS;
    if (service && given != NULL && !process)
        FIELD(isola__manifest_fail(r,
                                   "a service runs in a process of its own: leave this out, or "
                                   "say \"process\"; not %s",
                                   json_string_value(v)),
              "isolation");
    *out = service ? ISOLA_ISOLATION_PROCESS : (enum isola_isolation)isolation;
    return 0;
}

static int read_type(struct isola__manifest_reader *r, const char *name, const json_t *object,
                     struct isola_actor_type *out)
{
    if (!is_name(name, LOWER UPPER, LOWER UPPER DIGIT "_"))
        return isola__manifest_fail_key(
            r, "not a valid type name: a letter, then letters, digits or \"_\", %d at the most",
            NAME_MAX_LEN);
    if (!json_is_object(object)) {
        char *quoted = isola__manifest_quote(object);
        int code = isola__manifest_fail(
            r, "must be an object such as {\"module\": \"./counter.js\"}, not %s", quoted);
        free(quoted);
        return code;
    }
    out->name = isola_strdup(name);
    int code = read_kind(r, object, &out->isolation);
    if (code != 0)
        return code;
    bool service = out->isolation == ISOLA_ISOLATION_PROCESS;
    if (service)
        code = isola__manifest_service(r, object, &out->service);
    else
        code = isola__manifest_keys(r, object, type_keys, later_type_keys);
    if (code != 0)
        return code;
    if (json_object_get(object, "module") == NULL)
        return isola__manifest_fail(
            r, "\"module\" is missing: the file of the %s, such as \"./%s\"",
            service ? "program" : "actor", service ? "server.js" : "counter.js");
    FIELD(isola__manifest_module(r, v, &out->module), "module");
    FIELD(isola__manifest_bool(r, v, &out->reentrant), "reentrant");
    code = read_limits(r, object, out);
    return code != 0 ? code : isola__manifest_life(r, object, &out->life);
}

static int read_types(struct isola__manifest_reader *r, const json_t *object,
                      struct isola_manifest *m)
{
    if (!json_is_object(object)) {
        char *quoted = isola__manifest_quote(object);
        int code = isola__manifest_fail(
            r, "must be an object of actor types such as {\"Counter\": {…}}, not %s", quoted);
        free(quoted);
        return code;
    }
    size_t n = json_object_size(object);
    if (n == 0)
        return isola__manifest_fail(r, "names no actor type");
    if (n > ISOLA_MANIFEST_TYPES)
        return isola__manifest_fail(r, "has %zu types; %d at the most", n, ISOLA_MANIFEST_TYPES);
    m->types = isola_zalloc(n * sizeof(*m->types));
    int code = 0;
    for (void *it = json_object_iter((json_t *)object); it != NULL && code == 0;
         it = json_object_iter_next((json_t *)object, it)) {
        const char *name = json_object_iter_key(it);
        isola__manifest_enter(r, name);
        code = read_type(r, name, json_object_iter_value(it), &m->types[m->ntypes++]);
        isola__manifest_leave(r);
    }
    return code;
}

/* --- the app --- */

int isola__manifest_name(struct isola__manifest_reader *r, const json_t *v)
{
    if (json_is_string(v) && is_name(json_string_value(v), LOWER, LOWER DIGIT "-"))
        return 0;
    char *quoted = isola__manifest_quote_name(v);
    int code = isola__manifest_fail(r,
                                    "must be an app's name (a lower-case letter, then lower-case "
                                    "letters, digits or \"-\", %d at the most), not %s",
                                    NAME_MAX_LEN, quoted);
    free(quoted);
    return code;
}

static int must_be(struct isola__manifest_reader *r, const json_t *v, bool ok, const char *what)
{
    if (v == NULL || ok)
        return 0;
    char *quoted = isola__manifest_quote(v);
    int code = isola__manifest_fail(r, "must be %s, not %s", what, quoted);
    free(quoted);
    return code;
}

static int read_permissions(struct isola__manifest_reader *r, const json_t *object,
                            struct isola_manifest *m)
{
    int code = must_be(r, object, json_is_object(object), "an object");
    if (code != 0 || object == NULL)
        return code;
    FIELD(v == NULL ? 0
                    : isola__manifest_fail_key(r, "isolates have no file system to permit: keep "
                                                  "what is to stay in self.state, and import what "
                                                  "belongs to the app"),
          "fs");
    code = isola__manifest_keys(r, object, permission_keys, NULL);
    if (code != 0)
        return code;
    FIELD(isola__manifest_net(r, v, &m->net), "net");
    FIELD(isola__manifest_env(r, v, &m->env), "env");
    FIELD(isola__manifest_apps(r, v, &m->apps), "apps");
    FIELD(isola__manifest_secrets(r, v, m->env, &m->secrets), "secrets");
    return 0;
}

bool isola__manifest_is_version(const json_t *v)
{
    const char *s = json_string_value(v);
    size_t len = s != NULL ? strlen(s) : 0;
    for (size_t i = 0; i < len; i++)
        if (s[i] < ' ' || s[i] > '~')
            return false;
    return len > 0 && len <= ISOLA_MANIFEST_VERSION;
}

static int read_app(struct isola__manifest_reader *r, const json_t *object,
                    struct isola_manifest *m)
{
    int code = must_be(r, object, json_is_object(object),
                       "an object such as {\"name\": \"my-app\", \"actors\": {…}}");
    if (code == 0)
        code = isola__manifest_keys(r, object, app_keys, NULL);
    if (code != 0)
        return code;
    if (json_object_get(object, "name") == NULL)
        return isola__manifest_fail(r, "\"name\" is missing: the app's name, such as \"my-app\"");
    if (json_object_get(object, "actors") == NULL)
        return isola__manifest_fail(
            r, "\"actors\" is missing: the app's actor types, such as {\"Counter\": "
               "{\"module\": \"./counter.js\"}}; files called NAME.actor.js or .ts need not be "
               "listed");
    FIELD(must_be(r, v, json_is_string(v), "a string"), "$schema");
    FIELD(isola__manifest_name(r, v), "name");
    m->name = isola_strdup(json_string_value(json_object_get(object, "name")));
    FIELD(must_be(r, v, isola__manifest_is_version(v),
                  "a version such as \"1.4.0\": printable ASCII, 100 characters at the most"),
          "version");
    const char *version = json_string_value(json_object_get(object, "version"));
    m->version = version != NULL ? isola_strdup(version) : NULL;
    FIELD(v == NULL ? 0 : isola__manifest_fail_key(r, "routes are not supported by this release"),
          "routes");
    FIELD(read_permissions(r, v, m), "permissions");
    FIELD(isola__manifest_rollout(r, v, &m->rollout), "rollout");
    FIELD(read_types(r, v, m), "actors");
    return 0;
}

int isola__manifest_read(struct isola__manifest_reader *r, const json_t *root,
                         struct isola_manifest **out)
{
    struct isola_manifest *m = isola_zalloc(sizeof(*m));
    int code = read_app(r, root, m);
    if (code != 0)
        isola_manifest_free(m);
    else
        *out = m;
    return code;
}

/* jansson tells where the second one ends: "… near 'KEY'", with the quotes of KEY. */
static int fail_twice(struct isola__manifest_reader *r, const json_error_t *e, unsigned line,
                      unsigned column)
{
    const char *near = strstr(e->text, "near '");
    const char *key = near != NULL ? near + strlen("near '") : "";
    size_t len = strlen(key);
    char text[sizeof(e->text) + 40];
    if (len < 2 || key[len - 1] != '\'')
        return isola__manifest_fail_text(r, line, column, "", e->text);
    len--;
    for (size_t i = 1; i < len && column > 1; i++)
        column -= ((unsigned char)key[i] & 0xc0) != 0x80;
    snprintf(text, sizeof(text), "the key %.*s is there twice", (int)len, key);
    return isola__manifest_fail_text(r, line, column, "", text);
}

static int fail_syntax(struct isola__manifest_reader *r, const json_error_t *e)
{
    unsigned line = e->line > 0 ? (unsigned)e->line : 1;
    unsigned column = e->column > 0 ? (unsigned)e->column : 1;
    switch (json_error_code(e)) {
    case json_error_out_of_memory:
        return isola_fail(r->err, ISOLA_ENOMEM, "%s: out of memory", r->file);
    case json_error_duplicate_key:
        return fail_twice(r, e, line, column);
    case json_error_null_character: /* jansson's text is for those who call it */
        return isola__manifest_fail_text(r, line, column, "\\u0000 is not allowed in strings", "");
    default:
        return isola__manifest_fail_text(r, line, column, "not JSON: ", e->text);
    }
}

json_t *isola__manifest_json(struct isola__manifest_reader *r, int *code)
{
    if (r->text.len > ISOLA_MANIFEST_MAX) {
        *code = isola_fail(r->err, ISOLA_EMANIFEST,
                           "%s has more than 1 MiB, the most a manifest may have", r->file);
        return NULL;
    }
    if (r->text.len >= 2 &&
        (memcmp(r->text.data, "\xff\xfe", 2) == 0 || memcmp(r->text.data, "\xfe\xff", 2) == 0)) {
        *code = isola_fail(r->err, ISOLA_EMANIFEST, "%s is in UTF-16: save it as UTF-8", r->file);
        return NULL;
    }
    size_t deep = isola__json_too_deep(r->text, DEPTH_MAX);
    if (deep < r->text.len) {
        struct isola__json_at at = isola__json_position(r->text, deep);
        *code = isola_fail(r->err, ISOLA_EMANIFEST, "%s:%u:%u: nested deeper than %d", r->file,
                           at.line, at.column, DEPTH_MAX);
        return NULL;
    }
    if (isola__json_locate(r->text, NULL, 0, false) == r->text.len) {
        *code = isola_fail(r->err, ISOLA_EMANIFEST, "%s: the file is empty", r->file);
        return NULL;
    }
    json_error_t e;
    json_t *root = json_loadb((const char *)r->text.data, r->text.len,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (root != NULL)
        return root;
    *code = fail_syntax(r, &e);
    return NULL;
}

int isola_manifest_parse(struct isola_slice json, const char *file, struct isola_manifest **out,
                         struct isola_err *err)
{
    struct isola__manifest_reader r = {.text = json, .file = file, .err = err};
    int code = 0;
    json_t *root = isola__manifest_json(&r, &code);
    if (root == NULL)
        return code;
    code = isola__manifest_read(&r, root, out);
    json_decref(root);
    return code;
}

void isola_manifest_free(struct isola_manifest *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->ntypes; i++) {
        free(m->types[i].name);
        free(m->types[i].module);
        isola__manifest_service_free(m->types[i].service);
    }
    free(m->types);
    free(m->version);
    free(m->net);
    free(m->env);
    free(m->apps);
    isola__manifest_list_free(m->secrets);
    free(m->name);
    free(m);
}

char *const *isola_manifest_secrets(const struct isola_manifest *m,
                                    const struct isola_actor_type *type)
{
    return type->service != NULL ? type->service->secrets : m->secrets;
}

bool isola_manifest_has_services(const struct isola_manifest *m)
{
    bool has = false;
    for (size_t i = 0; i < m->ntypes; i++)
        has = has || m->types[i].service != NULL;
    return has;
}

const struct isola_actor_type *isola_manifest_type(const struct isola_manifest *m,
                                                   struct isola_slice name)
{
    for (size_t i = 0; i < m->ntypes; i++)
        if (isola_slice_is(name, m->types[i].name))
            return &m->types[i];
    return NULL;
}
