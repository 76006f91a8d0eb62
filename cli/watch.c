/* SPDX-License-Identifier: Apache-2.0
 *
 * One handle for each directory. Whatever happens in any of them begins a burst; when it is over
 * the tree is walked, which finds new directories and tells by name, size and time of every file
 * whether anything is another than before. So it does not matter how an editor saves, what it
 * writes meanwhile, or which event was lost.
 *
 * Failure modes: the directory is gone, the system has no watches left, the tree is too large: the
 * callback says so, once.
 *
 * Invariant: a directory is watched before it is read, so what comes later makes an event.
 */
#include "cli/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"

#define QUIET_MS  15u  /* without an event: a burst is over */
#define BURST_MS  150u /* a burst that does not end is looked at meanwhile */
#define DEPTH_MAX 64
#define DIRS_MAX  20000u

struct place {
    uv_fs_event_t event;
    struct isola__watch *watch;
    unsigned walk; /* the last that has come by */
};

struct isola__watch {
    uv_loop_t *loop;
    uv_timer_t timer;
    char *dir;
    isola__watch_cb cb;
    void *arg;
    struct isola_map places; /* by path */
    unsigned walk;
    uint64_t print;    /* of all files */
    uint64_t burst_ms; /* when it began; 0: there is none */
    size_t handles;
    bool closing;
};

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return h;
}

/* --- what counts --- */

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);
    return n >= m && strcmp(name + n - m, with) == 0;
}

static bool file_counts(const char *name)
{
    if (name[0] == '.')
        return strncmp(name, ".env", 4) == 0 && !ends(name, ".swp");
    return !ends(name, "~") && !(name[0] == '#' && ends(name, "#"));
}

static bool dir_counts(const char *name)
{
    return name[0] != '.' && strcmp(name, "node_modules") != 0;
}

/* --- the walk --- */

static void on_event(uv_fs_event_t *event, const char *name, int events, int status);

static void place_closed(uv_handle_t *handle);

static void drop(struct isola__watch *w, const char *path)
{
    struct place *p = isola_map_del(&w->places, isola_slice_str(path));
    if (p != NULL)
        uv_close((uv_handle_t *)&p->event, place_closed);
}

static int watch_dir(struct isola__watch *w, const char *path, struct isola_err *err)
{
    struct place *p = isola_map_get(&w->places, isola_slice_str(path));
    if (p != NULL) {
        p->walk = w->walk;
        return 0;
    }
    if (w->places.count >= DIRS_MAX)
        return isola_fail(err, ISOLA_ETOOBIG,
                          "%.300s has more than %u directories (without node_modules and those "
                          "that begin with a dot): too many to watch",
                          w->dir, DIRS_MAX);
    p = isola_zalloc(sizeof(*p));
    p->watch = w;
    p->walk = w->walk;
    p->event.data = p;
    uv_fs_event_init(w->loop, &p->event);
    w->handles++;
    (void)isola_map_set(&w->places, isola_slice_str(path), p);
    int rc = uv_fs_event_start(&p->event, on_event, path, 0);
    if (rc == 0)
        return 0;
    drop(w, path);
    if (rc == UV_ENOENT || rc == UV_ENOTDIR || rc == UV_EACCES)
        return 0; /* gone meanwhile, or not ours to read */
    return isola_fail(err, ISOLA_EIO, "cannot watch %.300s: %s%s", path, uv_strerror(rc),
                      rc == UV_ENOSPC ? "; fs.inotify.max_user_watches is how many there may be"
                                      : "");
}

static int walk(struct isola__watch *w, const char *path, unsigned depth, uint64_t *print,
                struct isola_err *err);

static int visit(struct isola__watch *w, DIR *dir, const char *path, const char *name,
                 unsigned depth, uint64_t *print, struct isola_err *err)
{
    struct stat st;
    int rc = 0;
    if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    if (S_ISDIR(st.st_mode)) {
        if (!dir_counts(name) || depth == DEPTH_MAX)
            return 0;
        char *below = isola_format("%s/%s", path, name);
        rc = walk(w, below, depth + 1, print, err);
        free(below);
        return rc;
    }
    if (!file_counts(name) || fstatat(dirfd(dir), name, &st, 0) != 0 || !S_ISREG(st.st_mode))
        return 0;
    uint64_t h = mix(UINT64_C(0xcbf29ce484222325), path, strlen(path));
    h = mix(h, "/", 1);
    h = mix(h, name, strlen(name));
    h = mix(h, &st.st_size, sizeof(st.st_size));
    h = mix(h, &st.st_mtim.tv_sec, sizeof(st.st_mtim.tv_sec));
    h = mix(h, &st.st_mtim.tv_nsec, sizeof(st.st_mtim.tv_nsec));
    *print += h; /* in whichever order they are read */
    return 0;
}

static int walk(struct isola__watch *w, const char *path, unsigned depth, uint64_t *print,
                struct isola_err *err)
{
    struct dirent *entry;
    int rc = watch_dir(w, path, err);
    if (rc != 0)
        return rc;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return depth > 0 ? 0
                         : isola_fail(err, ISOLA_ENOENT, "cannot read %.300s any more: %s", path,
                                      strerror(errno));
    while (rc == 0 && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = visit(w, dir, path, entry->d_name, depth, print, err);
    closedir(dir);
    return rc;
}

/* Those that the walk has not come by are gone. */
static void forget_gone(struct isola__watch *w)
{
    size_t at = 0;
    struct isola_map_entry *e;
    while ((e = isola_map_next(&w->places, &at)) != NULL) {
        struct place *p = e->value;
        if (p->walk == w->walk)
            continue;
        char *path = isola_strndup((const char *)e->key, e->len);
        drop(w, path);
        free(path);
        at = 0;
    }
}

static int look(struct isola__watch *w, uint64_t *print, struct isola_err *err)
{
    *print = 0;
    w->walk++;
    int rc = walk(w, w->dir, 0, print, err);
    if (rc == 0)
        forget_gone(w);
    return rc;
}

/* --- bursts --- */

static void on_timer(uv_timer_t *timer)
{
    struct isola__watch *w = timer->data;
    struct isola_err err;
    uint64_t print;
    w->burst_ms = 0;
    int rc = look(w, &print, &err);
    if (rc != 0) {
        w->cb(w->arg, &err);
    } else if (print != w->print) {
        w->print = print;
        w->cb(w->arg, NULL);
    }
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct isola__watch *w = ((struct place *)event->data)->watch;
    (void)name;
    (void)events;
    (void)status;
    uint64_t now = isola_clock_ms();
    if (w->closing)
        return;
    if (w->burst_ms == 0)
        w->burst_ms = now;
    uint64_t left = w->burst_ms + BURST_MS > now ? w->burst_ms + BURST_MS - now : 0;
    uv_update_time(w->loop);
    uv_timer_start(&w->timer, on_timer, left < QUIET_MS ? left : QUIET_MS, 0);
}

/* --- from outside --- */

static void one_less(struct isola__watch *w)
{
    if (--w->handles > 0 || !w->closing)
        return;
    isola_map_free(&w->places);
    free(w->dir);
    free(w);
}

static void place_closed(uv_handle_t *handle)
{
    struct place *p = handle->data;
    struct isola__watch *w = p->watch;
    free(p);
    one_less(w);
}

static void timer_closed(uv_handle_t *handle)
{
    one_less(handle->data);
}

int isola__watch_open(uv_loop_t *loop, const char *dir, isola__watch_cb cb, void *arg,
                      struct isola__watch **out, struct isola_err *err)
{
    struct isola__watch *w = isola_zalloc(sizeof(*w));
    w->loop = loop;
    w->dir = isola_strdup(dir);
    w->cb = cb;
    w->arg = arg;
    w->timer.data = w;
    uv_timer_init(loop, &w->timer);
    w->handles = 1;
    int rc = look(w, &w->print, err);
    if (rc != 0)
        isola__watch_close(w);
    else
        *out = w;
    return rc;
}

void isola__watch_close(struct isola__watch *w)
{
    w->closing = true;
    ISOLA_MAP_EACH(&w->places, e)
    {
        struct place *p = e->value;
        uv_close((uv_handle_t *)&p->event, place_closed);
    }
    uv_close((uv_handle_t *)&w->timer, timer_closed);
}
