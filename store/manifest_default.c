/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest of an app that has none: an ordinary one, as text, made of what is in its directory.
 */
#include "base/check.h"
#include "store/manifest_find.h"

#define NAME_MAX_LEN 64

char *isola_manifest_name_of(const char *from)
{
    char *name = isola_alloc(strlen(from) + 1);
    size_t n = 0;
    for (const char *p = from; *p != '\0'; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
        bool letter = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
        if (letter || (digit && n > 0))
            name[n++] = c;
        else if (n > 0 && name[n - 1] != '-')
            name[n++] = '-';
    }
    n = n < NAME_MAX_LEN ? n : NAME_MAX_LEN;
    while (n > 0 && name[n - 1] == '-')
        n--;
    name[n] = '\0';
    if (n > 0)
        return name;
    free(name);
    return NULL;
}

int isola__manifest_package_name(struct isola__manifest_reader *r, const json_t *name, char **out)
{
    isola__manifest_enter(r, "name");
    char *quoted = isola__manifest_quote(name);
    int rc = 0;
    if (!json_is_string(name))
        rc = isola__manifest_fail(r, "must be a package's name, not %s", quoted);
    else if ((*out = isola_manifest_name_of(json_string_value(name))) == NULL)
        rc = isola__manifest_fail(r,
                                  "of the package's name %s no app's name can be made, which has a "
                                  "letter from a to z: write one as \"name\" into isola.json",
                                  quoted);
    free(quoted);
    isola__manifest_leave(r);
    return rc;
}

static int directory_name(const char *dir, struct isola_err *err, char **out)
{
    *out = isola_manifest_name_of(strrchr(dir, '/') + 1);
    if (*out != NULL)
        return 0;
    return isola_fail(
        err, ISOLA_EMANIFEST,
        "of the name of the directory %s no app's name can be made, which has a letter "
        "from a to z: write an isola.json with a \"name\" into it",
        dir);
}

int isola__manifest_default(const char *dir, struct isola__manifest_reader *r,
                            const json_t *package, struct isola_buf *text)
{
    char *name = NULL, *dump = NULL;
    json_t *app = json_object(), *actors = json_object();
    const json_t *package_name = json_object_get(package, "name");
    const json_t *start = json_object_get(json_object_get(package, "scripts"), "start");
    int rc = isola__manifest_find(dir, actors, r->err);
    if (rc == 0)
        rc = isola__manifest_program(dir, package, actors, r->err);
    if (rc == 0 && json_object_size(actors) == 0 && json_is_string(start))
        rc = isola__manifest_program_fail(dir, package, r->err);
    else if (rc == 0 && json_object_size(actors) == 0 &&
             json_object_get(package, "workspaces") != NULL)
        rc = isola_fail(r->err, ISOLA_ENOENT,
                        "there is nothing to run in %s itself, whose package.json has "
                        "\"workspaces\": deploy the directory of the one that is the app; what "
                        "it needs of the others comes with it",
                        dir);
    else if (rc == 0 && json_object_size(actors) == 0)
        rc = isola_fail(r->err, ISOLA_ENOENT,
                        "there is nothing to run in %s: it has no isola.json, no package.json with "
                        "an \"isola\" key, no file called NAME.actor.js (or .mjs, .cjs, .ts, "
                        ".mts), which would be an actor, and no package.json whose \"start\" is "
                        "`node FILE` or that has a \"main\" or a server.js, which would be a "
                        "service; `ctl new` "
                        "makes an app to begin with",
                        dir);
    if (rc == 0)
        rc = package_name != NULL ? isola__manifest_package_name(r, package_name, &name)
                                  : directory_name(dir, r->err, &name);
    if (rc == 0) {
        bool ok = json_object_set_new(app, "name", json_string(name)) == 0 &&
                  json_object_set(app, "actors", actors) == 0;
        dump = ok ? json_dumps(app, JSON_COMPACT) : NULL;
        if (dump != NULL)
            isola_buf_puts(text, dump);
        if (dump == NULL || text->failed)
            rc = isola_fail(r->err, ISOLA_ENOMEM, "out of memory for the manifest of %s", dir);
    }
    free(dump);
    free(name);
    json_decref(actors);
    json_decref(app);
    return rc;
}
