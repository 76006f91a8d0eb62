/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_start.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/path.h"
#include "node-agent/service_bounds.h"
#include "transport/seal.h"

struct list {
    char **items;
    size_t n, room;
};

/* Takes `item`. */
static void add(struct list *l, char *item)
{
    if (l->n + 2 > l->room) {
        l->room = 2 * l->room + 16;
        l->items = isola_realloc(l->items, l->room * sizeof(*l->items));
    }
    l->items[l->n++] = item;
    l->items[l->n] = NULL;
}

static void add_all(struct list *l, char *const *items)
{
    for (; items != NULL && *items != NULL; items++)
        add(l, isola_strdup(*items));
}

/* Of a variable that is there twice the last value counts. */
static void set(struct list *l, char *variable)
{
    size_t n = strcspn(variable, "=") + 1;
    for (size_t i = 0; i < l->n; i++) {
        if (strncmp(l->items[i], variable, n) == 0) {
            free(l->items[i]);
            l->items[i] = variable;
            return;
        }
    }
    add(l, variable);
}

static void inherit(struct list *l, const char *name)
{
    const char *value = getenv(name);
    if (value != NULL)
        set(l, isola_format("%s=%s", name, value));
}

/* What Isola itself has the program load: a directory of its files, which may be a link. */
static void allow_own(struct list *l, const char *name)
{
    char *path = isola_path_installed(name);
    char *real = path != NULL ? realpath(path, NULL) : NULL;
    if (path != NULL)
        add(l, isola_format("--allow-fs-read=%s", path));
    if (real != NULL && strcmp(real, path) != 0)
        add(l, isola_format("--allow-fs-read=%s", real));
    free(real);
    free(path);
}

/* Node.js' permission model: the app's own files can be read, and the network used if it is to
 * serve, or the app may. */
static void add_sandbox(struct list *l, const struct isola__service_def *def)
{
    add(l, isola_strdup("--permission"));
    add(l, isola_format("--allow-fs-read=%s", def->dir));
    allow_own(l, "service");
    allow_own(l, "client");
    if (def->type->service->port != 0 || def->manifest->net != NULL)
        add(l, isola_strdup("--allow-net"));
}

char **isola__service_args(const struct isola__service_def *def, const char *launcher,
                           char *const words[3])
{
    const struct isola_manifest_service *s = def->type->service;
    unsigned heap = isola__bounds_heap(s);
    struct list l = {0};
    add(&l, isola_strdup(launcher));
    add(&l, isola_strdup("--service"));
    add(&l, isola_format("%d", (int)getpid()));
    for (size_t i = 0; i < 3; i++)
        add(&l, words[i]);
    if (heap != 0)
        add(&l, isola_format("--max-old-space-size=%u", heap));
    if (s->env_file != NULL)
        add(&l, isola_format("--env-file=%s", s->env_file));
    if (s->sandbox)
        add_sandbox(&l, def);
    add(&l, isola_strdup("--inspect-publish-uid=stderr")); /* or /json tells anybody the URL */
    add_all(&l, s->node_args);
    add(&l, isola_format("./%s", def->type->module));
    add_all(&l, s->args);
    return l.items;
}

/* NAME=VALUE of each that the manifest names. */
static int set_secrets(struct list *l, const struct isola__service_def *def,
                       const struct isola__secrets *secrets, struct isola_err *err)
{
    int rc = 0;
    for (char **name = def->type->service->secrets; rc == 0 && name != NULL && *name != NULL;
         name++) {
        struct isola_buf value = {0};
        rc = isola__secrets_get(secrets, def->manifest->name, *name, &value, err);
        if (rc == 0)
            set(l, isola_format("%s=%.*s", *name, ISOLA_FMT(isola_buf_slice(&value))));
        isola_wipe(&value);
    }
    return rc;
}

char **isola__service_env(const struct isola__service_def *def,
                          const struct isola__secrets *secrets, const char *socket, unsigned number,
                          const char *listen, struct isola_err *err)
{
    const struct isola_manifest_service *s = def->type->service;
    struct list l = {0};
    inherit(&l, "PATH");
    inherit(&l, "HOME");
    inherit(&l, "TZ");
    inherit(&l, "LANG");
    inherit(&l, "ISOLA_NODE_BINARY"); /* of the launcher */
    for (const char *at = def->manifest->env; at != NULL && *at != '\0';) {
        size_t n = strcspn(at, "\n");
        char *name = isola_strndup(at, n);
        inherit(&l, name);
        free(name);
        at += n + (at[n] == '\n');
    }
    for (char **v = s->env; v != NULL && *v != NULL; v++)
        set(&l, isola_strdup(*v));
    if (set_secrets(&l, def, secrets, err) != 0) {
        isola__service_list_free(l.items);
        return NULL;
    }
    if (s->port != 0)
        set(&l, isola_format("PORT=%u", s->port));
    set(&l, isola_format("ISOLA_NODE=%s", socket));
    set(&l, isola_format("ISOLA_APP=%s", def->manifest->name));
    set(&l, isola_format("ISOLA_TYPE=%s", def->type->name));
    set(&l, isola_format("ISOLA_INSTANCE=%u", number));
    set(&l, isola_format("ISOLA_RELEASE=%s", def->release));
    if (s->health_path != NULL)
        set(&l, isola_strdup("ISOLA_HEALTH=1")); /* for what is loaded before the program */
    if (listen != NULL)
        set(&l, isola_format("ISOLA_LISTEN=%s", listen));
    set(&l, isola_strdup("NODE_CHANNEL_FD=3"));
    return l.items;
}

void isola__service_list_free(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        sodium_memzero(list[i], strlen(list[i]));
        free(list[i]);
    }
    free(list);
}
