/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the files of releases are for their services: DATA/apps/APP/ID.
 *
 * A directory is written beside its place and put there as a whole. One that is to be kept is held:
 * by who has prepared its release, and while it is written. What nobody holds and no service runs
 * in goes with the next sweep, which puts it aside at once, on the loop, so that whoever unpacks
 * after that makes it anew, and removes it in the pool: all but one of an app that is used, which
 * is spare, and becomes that of the next release, as far as its files are the same. When a release
 * does not fit, what is spare of any app makes room for it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "node-agent/agent.h"
#include "node-agent/packages.h"
#include "store/unpack.h"

#define GONE  ".gone" /* of a directory that is being removed */
#define SPARE ".spare"

struct isola__held {
    struct isola__held *next;
    char *app;
    char id[ISOLA_RELEASE_ID_SIZE];
    unsigned n;
};

static char *apps_dir(const struct isola__packages *p, const char *app)
{
    return isola_format("%s/apps/%s", p->agent->opt.data, app);
}

/* --- what is held --- */

static struct isola__held **find(struct isola__packages *p, const char *app, const char *id)
{
    struct isola__held **at = &p->held;
    while (*at != NULL && (strcmp((*at)->app, app) != 0 || strcmp((*at)->id, id) != 0))
        at = &(*at)->next;
    return at;
}

void isola__packages_hold(struct isola__packages *p, const char *app, const char *id)
{
    struct isola__held **at = find(p, app, id);
    if (*at == NULL) {
        *at = isola_zalloc(sizeof(**at));
        (*at)->app = isola_strdup(app);
        snprintf((*at)->id, sizeof((*at)->id), "%s", id);
    }
    (*at)->n++;
}

void isola__packages_let_go(struct isola__packages *p, const char *app, const char *id)
{
    struct isola__held **at = find(p, app, id), *held = *at;
    ISOLA_CHECK(held != NULL);
    if (--held->n > 0)
        return;
    *at = held->next;
    free(held->app);
    free(held);
}

/* --- writing --- */

static struct isola__unpack *unpack_of(struct isola__package_job *job)
{
    return (struct isola__unpack *)(void *)((char *)job - offsetof(struct isola__unpack, job));
}

/* Removes what is spare of all apps. Was there any? */
static bool free_spares(const struct isola__packages *p)
{
    char *apps = isola_format("%s/apps", p->agent->opt.data);
    DIR *d = opendir(apps);
    struct dirent *e;
    bool any = false;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char *spare = isola_format("%s/%s/" SPARE, apps, e->d_name);
        any = (e->d_name[0] != '.' && access(spare, F_OK) == 0 && isola_dir_remove(spare) == 0) ||
              any;
        free(spare);
    }
    if (d != NULL)
        closedir(d);
    free(apps);
    return any;
}

static void unpack_files(struct isola__package_job *job)
{
    struct isola__unpack *u = unpack_of(job);
    struct isola_cache *cache = job->packages->cache;
    struct isola_tree tree;
    if (isola_tree_decode(isola_buf_slice(&u->files), &tree, &job->err) != 0)
        return;
    int code = 0;
    char *spare = isola_format("%.*s" SPARE, (int)(strrchr(u->dir, '/') + 1 - u->dir), u->dir);
    if (isola_dir_make_above(u->dir, 0700) != 0)
        code = isola_fail(&job->err, ISOLA_EIO, "cannot make what %.400s is to be in: %s", u->dir,
                          strerror(errno));
    else
        code = isola_cache_unpack(cache, &tree, u->dir, spare, &job->err);
    if (code == ISOLA_EIO && free_spares(job->packages)) { /* there may be room now */
        job->err.code = 0;
        code = isola_cache_unpack(cache, &tree, u->dir, NULL, &job->err);
    }
    if (code == ISOLA_EEXIST)
        job->err.code = 0;
    free(spare);
    isola_tree_free(&tree);
}

/* For those too that wanted the same meanwhile. */
static void unpacked(struct isola__package_job *job)
{
    struct isola__packages *p = job->packages;
    struct isola_err err = job->err;
    struct isola__unpack *next, **at = &p->unpacks;
    while (*at != unpack_of(job))
        at = &(*at)->next;
    *at = unpack_of(job)->next;
    for (struct isola__unpack *u = unpack_of(job); u != NULL; u = next) {
        char *dir = u->dir, *app = u->app;
        char id[ISOLA_RELEASE_ID_SIZE];
        memcpy(id, u->id, sizeof(id));
        next = u->also;
        isola_buf_free(&u->files);
        u->err = err;
        u->cb(u);
        isola__packages_let_go(p, app, id);
        free(app);
        free(dir);
    }
}

void isola__packages_unpack(struct isola__packages *p, struct isola__unpack *unpack,
                            const struct isola_release *r)
{
    char *apps = apps_dir(p, r->app);
    unpack->dir = isola_format("%s/%s", apps, r->id);
    free(apps);
    unpack->app = isola_strdup(r->app);
    memcpy(unpack->id, r->id, sizeof(unpack->id));
    isola__packages_hold(p, r->app, r->id);
    for (struct isola__unpack *u = p->unpacks; u != NULL; u = u->next) {
        if (strcmp(u->dir, unpack->dir) == 0) {
            unpack->also = u->also;
            u->also = unpack;
            return;
        }
    }
    unpack->next = p->unpacks;
    p->unpacks = unpack;
    isola_buf_append(&unpack->files, r->files.data, r->files.len);
    unpack->job.run = unpack_files;
    unpack->job.done = unpacked;
    isola__packages_run(p, &unpack->job);
}

/* --- removing --- */

struct sweep {
    struct isola__package_job job; /* first */
    char *dir;
    bool spares; /* one is kept */
};

static bool is_gone(const char *name)
{
    size_t n = strlen(name), suffix = strlen(GONE);
    return n > suffix && strcmp(name + n - suffix, GONE) == 0;
}

/* Is there room for what nobody needs? */
static bool has_room(const char *dir)
{
    struct statvfs v;
    return statvfs(dir, &v) == 0 && v.f_bavail > v.f_blocks / 10;
}

static void sweep(struct isola__package_job *job)
{
    struct sweep *s = (struct sweep *)job;
    char *spare = isola_format("%s/" SPARE, s->dir);
    DIR *d = opendir(s->dir);
    struct dirent *e;
    bool spares = s->spares && has_room(s->dir);
    if (!spares)
        (void)isola_dir_remove(spare);
    while (d != NULL && (e = readdir(d)) != NULL) {
        char *path = isola_format("%s/%s", s->dir, e->d_name);
        if (is_gone(e->d_name) && !(spares && rename(path, spare) == 0))
            (void)isola_dir_remove(path); /* or the next time */
        free(path);
    }
    if (d != NULL)
        closedir(d);
    free(spare);
}

static void swept(struct isola__package_job *job)
{
    struct sweep *s = (struct sweep *)job;
    free(s->dir);
    free(s);
}

/* ID, or what it is written as. */
static bool is_kept(struct isola__packages *p, const char *app, const char *name,
                    const char (*keep)[ISOLA_RELEASE_ID_SIZE], size_t n)
{
    char id[ISOLA_RELEASE_ID_SIZE];
    snprintf(id, sizeof(id), "%s", name);
    bool kept = name[0] == '.' || is_gone(name) || *find(p, app, id) != NULL;
    for (size_t i = 0; !kept && i < n; i++)
        kept = strcmp(id, keep[i]) == 0;
    return kept;
}

void isola__packages_sweep(struct isola__packages *p, const char *app,
                           const char (*keep)[ISOLA_RELEASE_ID_SIZE], size_t n)
{
    char *dir = apps_dir(p, app);
    DIR *d = opendir(dir);
    struct dirent *e;
    bool any = false;
    while (d != NULL && (e = readdir(d)) != NULL) {
        any = any || is_gone(e->d_name) || (n == 0 && strcmp(e->d_name, SPARE) == 0);
        if (is_kept(p, app, e->d_name, keep, n))
            continue;
        char *path = isola_format("%s/%s", dir, e->d_name);
        char *gone = isola_format("%s" GONE, path);
        any = rename(path, gone) == 0 || any; /* else the next time */
        free(gone);
        free(path);
    }
    if (d != NULL)
        closedir(d);
    if (!any) {
        free(dir);
        return;
    }
    struct sweep *s = isola_zalloc(sizeof(*s));
    s->dir = dir;
    s->spares = n > 0;
    s->job.run = sweep;
    s->job.done = swept;
    isola__packages_run(p, &s->job);
}
