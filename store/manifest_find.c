/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking an app's directory for files that are actors by their names. All of them are collected
 * first and sorted, so that the same files give the same manifest, however the disk lists them.
 */
#include "store/manifest_find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

#define TYPE_MAX 64

static const char *const endings[] = {".actor.js", ".actor.mjs", ".actor.cjs",
                                      ".actor.ts", ".actor.mts", NULL};

struct walk {
    const char *dir;
    struct isola_err *err;
    char **found; /* paths below `dir` */
    size_t nfound, room;
    size_t looked; /* at so many entries */
};

/* Bytes of `name` before the ending of an actor's file, or -1. */
static ptrdiff_t stem_len(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; endings[i] != NULL; i++) {
        size_t n = strlen(endings[i]);
        if (len >= n && strcmp(name + len - n, endings[i]) == 0)
            return (ptrdiff_t)(len - n);
    }
    return -1;
}

static void keep(struct walk *w, char *path)
{
    if (w->nfound == w->room) {
        w->room = w->room > 0 ? 2 * w->room : 16;
        w->found = isola_realloc(w->found, w->room * sizeof(*w->found));
    }
    w->found[w->nfound++] = path;
}

/* What an entry is; of a link with an actor's name, what it leads to. */
static mode_t kind_of(int fd, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type == DT_DIR)
        return S_IFDIR;
    if (stem_len(entry->d_name) < 0 && entry->d_type != DT_UNKNOWN)
        return 0;
    if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    if (S_ISLNK(st.st_mode) && fstatat(fd, entry->d_name, &st, 0) != 0)
        return 0;
    return st.st_mode & S_IFMT;
}

/* Takes `fd`. `below`: the path of it, "" for the app's directory, else with a slash at its end. */
static int look(struct walk *w, int fd, const char *below, unsigned depth)
{
    DIR *d = fdopendir(fd);
    int rc = 0;
    if (d == NULL) {
        close(fd);
        return isola_fail(w->err, ISOLA_EIO, "cannot read %s/%s: %s", w->dir, below,
                          strerror(errno));
    }
    for (struct dirent *entry; rc == 0 && (entry = readdir(d)) != NULL;) {
        const char *name = entry->d_name;
        if (name[0] == '.' || strcmp(name, "node_modules") == 0)
            continue;
        if (++w->looked > ISOLA__FIND_ENTRIES) {
            rc = isola_fail(w->err, ISOLA_ETOOBIG,
                            "%s has over %d files and directories: too many to look for actors "
                            "(files called NAME.actor.js) among them; is it the app's directory?",
                            w->dir, ISOLA__FIND_ENTRIES);
            break;
        }
        mode_t kind = kind_of(dirfd(d), entry);
        if (kind == S_IFREG && stem_len(name) >= 0) {
            keep(w, isola_format("%s%s", below, name));
        } else if (kind == S_IFDIR && depth < ISOLA__FIND_DEPTH) {
            int sub = openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (sub < 0) /* of another user, say, or gone: no bundle can be made of what is there */
                continue;
            char *path = isola_format("%s%s/", below, name);
            rc = look(w, sub, path, depth + 1);
            free(path);
        }
    }
    closedir(d);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* shopping-cart → ShoppingCart. False: it is no type's name then. */
static bool type_name(const char *stem, size_t len, char out[TYPE_MAX + 1])
{
    size_t n = 0;
    bool begins = true;
    for (size_t i = 0; i < len; i++) {
        char c = stem[i];
        if (c == '-' || c == '_' || c == '.' || c == ' ') {
            begins = true;
            continue;
        }
        if (strchr(LOWER UPPER DIGIT, c) == NULL || n == TYPE_MAX)
            return false;
        out[n++] = begins && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        begins = false;
    }
    out[n] = '\0';
    return n > 0 && strchr(LOWER UPPER, out[0]) != NULL;
}

/* Whether one of the types `actors` has is made of this file. */
static bool is_listed(const json_t *actors, const char *path)
{
    bool listed = false;
    const char *name;
    json_t *type;
    json_object_foreach((json_t *)actors, name, type)
    {
        const char *module = json_string_value(json_object_get(type, "module"));
        char *normal = module != NULL ? isola_alloc(strlen(module) + 1) : NULL;
        listed = listed || (normal != NULL && isola__manifest_normalize(module, normal) &&
                            strcmp(normal, path) == 0);
        free(normal);
    }
    return listed;
}

/* "PATH" in quotes, without what a terminal would obey. */
static char *quote(const char *path)
{
    json_t *s = json_string(path);
    char *quoted = s != NULL ? isola__manifest_quote(s) : isola_strdup("a file");
    json_decref(s);
    return quoted;
}

static int fail_name(struct walk *w, const char *path)
{
    char *quoted = quote(path);
    int rc = isola_fail(w->err, ISOLA_EMANIFEST,
                        "of %s, an actor by its name, no type's name can be made (a letter, then "
                        "letters or digits, %d at the most; in UTF-8): call it otherwise, or list "
                        "it under \"actors\" in isola.json",
                        quoted, TYPE_MAX);
    free(quoted);
    return rc;
}

static int fail_twice(struct walk *w, const char *one, const char *other, const char *type)
{
    char *a = quote(one), *b = quote(other);
    int rc = isola_fail(w->err, ISOLA_EMANIFEST,
                        "%s and %s would both be the actor type \"%s\": call one of them "
                        "otherwise, or list under \"actors\" in isola.json which it is",
                        a, b, type);
    free(a);
    free(b);
    return rc;
}

/* The files that are found as types: those before it that were made so are in `made`. */
static int add_type(struct walk *w, const char *path, json_t *actors, json_t *made)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    char name[TYPE_MAX + 1];
    if (is_listed(actors, path))
        return 0;
    json_t *module = json_string(path);
    if (module == NULL || !type_name(base, (size_t)stem_len(base), name)) {
        json_decref(module);
        return fail_name(w, path);
    }
    const char *other = json_string_value(json_object_get(made, name));
    int rc = 0;
    if (other != NULL) {
        rc = fail_twice(w, other, path, name);
    } else if (json_object_get(actors, name) == NULL) {
        json_t *type = json_object();
        if (json_object_set(type, "module", module) != 0 ||
            json_object_set(actors, name, type) != 0 || json_object_set(made, name, module) != 0)
            rc = isola_fail(w->err, ISOLA_ENOMEM, "out of memory for the actors of %s", w->dir);
        json_decref(type);
    }
    json_decref(module);
    return rc;
}

int isola__manifest_find(const char *dir, json_t *actors, struct isola_err *err)
{
    struct walk w = {.dir = dir, .err = err};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return isola_fail(err, ISOLA_EIO, "cannot read %s: %s", dir, strerror(errno));
    int rc = look(&w, fd, "", 0);
    if (rc == 0 && w.nfound > 0)
        qsort(w.found, w.nfound, sizeof(*w.found), by_path);
    json_t *made = json_object();
    for (size_t i = 0; i < w.nfound && rc == 0; i++)
        rc = add_type(&w, w.found[i], actors, made);
    json_decref(made);
    for (size_t i = 0; i < w.nfound; i++)
        free(w.found[i]);
    free(w.found);
    return rc;
}
