/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding an app's manifest in its directory, and checking what it says against the files there.
 *
 * What it leaves out is found, or made of what there is.
 *
 * Failure modes, each with a sentence and nothing changed: no directory, nothing to run, a manifest
 * that is unreadable or over-long, a module that is missing, no regular file, or (through a
 * symbolic link) outside the app.
 */
#include "store/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/files.h"
#include "base/utf8.h"
#include "store/manifest_find.h"

static int fail_file(struct isola_err *err, const char *path, int e)
{
    int code = e == ENOENT || e == ENOTDIR ? ISOLA_ENOENT
               : e == EACCES || e == EPERM ? ISOLA_EPERM
                                           : ISOLA_EIO;
    return isola_fail(err, code, "cannot read %s: %s", path, strerror(e));
}

static int fail_irregular(const char *path, struct isola_err *err)
{
    return isola_fail(err, ISOLA_EIO, "cannot read %s: not a regular file", path);
}

/* The whole file, up to one byte more than a manifest may have. */
static int read_file(const char *path, struct isola_buf *out, struct isola_err *err)
{
    if (isola_file_read(path, ISOLA_MANIFEST_MAX + 1, out) == 0)
        return 0;
    return errno == EINVAL ? fail_irregular(path, err) : fail_file(err, path, errno);
}

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (n == 1) /* the root */
        return true;
    return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* The reader stands at the module's key. */
static int check_module(struct isola__manifest_reader *r, const char *dir, const char *module)
{
    char *file = isola_format("%s/%s", dir, module);
    char *real = realpath(file, NULL);
    struct stat st;
    int code = 0;
    if (real == NULL && (errno == ENOENT || errno == ENOTDIR))
        code = isola__manifest_fail(r, "there is no file \"%s\" in %s", module, dir);
    else if (real == NULL)
        code = isola__manifest_fail(r, "cannot use \"%s\" in %s: %s", module, dir, strerror(errno));
    else if (!is_below(real, dir))
        code = isola__manifest_fail(r, "\"%s\" leads to %s, outside the app's directory %s", module,
                                    real, dir);
    else if (stat(real, &st) != 0 || !S_ISREG(st.st_mode))
        code = isola__manifest_fail(r, "\"%s\" in %s is not a regular file", module, dir);
    free(real);
    free(file);
    return code;
}

static int check_modules(struct isola__manifest_reader *r, const char *dir,
                         const struct isola_manifest *m)
{
    int code = 0;
    size_t depth = r->depth;
    for (size_t i = 0; i < m->ntypes && code == 0; i++) {
        isola__manifest_enter(r, "actors");
        isola__manifest_enter(r, m->types[i].name);
        isola__manifest_enter(r, "module");
        code = check_module(r, dir, m->types[i].module);
        const struct isola_manifest_service *s = m->types[i].service;
        if (code == 0 && s != NULL && s->env_file != NULL) {
            r->path[r->depth - 1] = "envFile";
            code = check_module(r, dir, s->env_file);
        }
        r->depth = depth;
    }
    return code;
}

/* An "isola" key without a name takes the package's. */
static int default_name(struct isola__manifest_reader *r, const json_t *package, json_t *app)
{
    const json_t *from = json_object_get(package, "name");
    char *name = NULL;
    if (!json_is_object(app) || json_object_get(app, "name") != NULL || from == NULL)
        return 0;
    int code = isola__manifest_package_name(r, from, &name);
    if (code == 0 && json_object_set_new(app, "name", json_string(name)) != 0)
        code = isola_fail(r->err, ISOLA_ENOMEM, "%s: out of memory", r->file);
    free(name);
    return code;
}

/* The actors that are found by the names of their files join those that are listed. What is not of
 * the right kind is left to the reader, which refuses it; so is "actors" when it would be empty. */
static int add_found(struct isola__manifest_reader *r, const char *dir, json_t *app)
{
    json_t *listed = json_object_get(app, "actors");
    if (!json_is_object(app) || (listed != NULL && !json_is_object(listed)))
        return 0;
    json_t *actors = listed != NULL ? json_incref(listed) : json_object();
    int code = isola__manifest_find(dir, actors, r->err);
    if (code == 0 && listed == NULL && json_object_size(actors) > 0 &&
        json_object_set(app, "actors", actors) != 0)
        code = isola_fail(r->err, ISOLA_ENOMEM, "%s: out of memory", r->file);
    json_decref(actors);
    return code;
}

/* The package.json in `dir`, or NULL. What is wrong with it is for others to say. */
static json_t *read_package(const char *dir)
{
    struct isola_buf content = {0};
    struct isola_err none;
    char *path = isola_format("%s/package.json", dir);
    json_t *package = NULL;
    if (read_file(path, &content, &none) == 0)
        package = json_loadb((const char *)content.data, content.len, 0, NULL);
    free(path);
    isola_buf_free(&content);
    return package;
}

/* A manifest without a version takes that of package.json, if there is one. */
static int default_version(struct isola__manifest_reader *r, const char *dir, json_t *app)
{
    int code = 0;
    if (!json_is_object(app) || json_object_get(app, "version") != NULL)
        return 0;
    json_t *package = read_package(dir);
    json_t *version = json_object_get(package, "version");
    if (isola__manifest_is_version(version) && json_object_set(app, "version", version) != 0)
        code = isola_fail(r->err, ISOLA_ENOMEM, "%s: out of memory", r->file);
    json_decref(package);
    return code;
}

enum source { ISOLA_JSON, PACKAGE_JSON, MADE };

/* The manifest in `r->text`, which is a file's, or the one that was made for want of any:
 * ISOLA_ENOENT when package.json has no "isola" key. */
static int load_text(struct isola__manifest_reader *r, const char *dir, enum source source,
                     struct isola_manifest **out, struct isola_buf *text)
{
    int code = 0;
    struct isola_manifest *m = NULL;
    json_t *root = isola__manifest_json(r, &code);
    json_t *app = source == PACKAGE_JSON ? json_object_get(root, "isola") : root;
    if (root == NULL)
        return code;
    if (app == NULL) {
        json_decref(root);
        return ISOLA_ENOENT;
    }
    if (source == PACKAGE_JSON) {
        code = default_name(r, root, app);
        isola__manifest_enter(r, "isola");
    }
    if (code == 0 && source != MADE)
        code = add_found(r, dir, app);
    if (code == 0)
        code = default_version(r, dir, app);
    if (code == 0)
        code = isola__manifest_read(r, app, &m);
    if (code == 0)
        code = check_modules(r, dir, m);
    if (code == 0 && text != NULL) {
        /* Compact, so that white space does not make another release. */
        char *dump = json_dumps(app, JSON_COMPACT);
        if (dump != NULL)
            isola_buf_puts(text, dump);
        if (dump == NULL || text->failed)
            code = isola_fail(r->err, ISOLA_ENOMEM, "%s: out of memory", r->file);
        free(dump);
    }
    json_decref(root);
    if (code != 0)
        isola_manifest_free(m);
    else
        *out = m;
    return code;
}

static int load_file(const char *dir, const char *file, enum source source,
                     struct isola_manifest **out, struct isola_buf *text, struct isola_err *err)
{
    struct isola_buf content = {0};
    char *path = isola_format("%s/%s", dir, file);
    int code = read_file(path, &content, err);
    if (code == 0) {
        struct isola__manifest_reader r = {
            .text = isola_utf8_unmark(isola_buf_slice(&content)), .file = file, .err = err};
        code = load_text(&r, dir, source, out, text);
    }
    free(path);
    isola_buf_free(&content);
    return code;
}

/* Without a manifest: the one that is made of what is there. */
static int load_default(const char *dir, struct isola_manifest **out, struct isola_buf *text,
                        struct isola_err *err)
{
    struct isola_buf content = {0}, made = {0};
    json_t *package = NULL;
    char *path = isola_format("%s/package.json", dir);
    int code = read_file(path, &content, err);
    struct isola__manifest_reader r = {
        .text = isola_utf8_unmark(isola_buf_slice(&content)), .file = "package.json", .err = err};
    if (code == 0)
        package = isola__manifest_json(&r, &code);
    else if (code == ISOLA_ENOENT)
        code = 0;
    if (code == 0)
        code = isola__manifest_default(dir, &r, package, &made);
    if (code == 0) {
        r = (struct isola__manifest_reader){
            .text = isola_buf_slice(&made), .file = "the manifest made of the files", .err = err};
        code = load_text(&r, dir, MADE, out, text);
    }
    json_decref(package);
    free(path);
    isola_buf_free(&made);
    isola_buf_free(&content);
    return code;
}

/* npm and esbuild read package.json too, and would wait for ever for a FIFO. */
static int check_package(const char *dir, struct isola_err *err)
{
    char *path = isola_format("%s/package.json", dir);
    struct stat st;
    int code = stat(path, &st) == 0 && !S_ISREG(st.st_mode) ? fail_irregular(path, err) : 0;
    free(path);
    return code;
}

int isola_manifest_load(const char *dir, struct isola_manifest **out, struct isola_buf *text,
                        struct isola_err *err)
{
    struct isola_err dummy;
    struct stat st;
    if (err == NULL)
        err = &dummy;
    char *real = realpath(dir, NULL);
    if (real == NULL)
        return fail_file(err, dir, errno);
    int code;
    if (stat(real, &st) != 0 || !S_ISDIR(st.st_mode)) {
        code =
            isola_fail(err, ISOLA_EINVAL, "%s is not a directory: name the app's directory", dir);
    } else {
        code = check_package(real, err);
        if (code == 0)
            code = load_file(real, "isola.json", ISOLA_JSON, out, text, err);
        if (code == ISOLA_ENOENT)
            code = load_file(real, "package.json", PACKAGE_JSON, out, text, err);
        if (code == ISOLA_ENOENT)
            code = load_default(real, out, text, err);
    }
    free(real);
    return code;
}
