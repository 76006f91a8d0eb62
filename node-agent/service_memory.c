/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_memory.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define LOOK_MS 1000

/* A file of a process, cut at its size; empty: it has ended. */
static void read_file(const char *pid, const char *file, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%.20s/%s", pid, file);
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(text, 1, size - 1, f) : 0;
    text[n] = '\0';
    if (f != NULL)
        fclose(f);
}

/* proc(5): its group is the third field after its name, which may have anything in it. */
static int group_of(const char *pid)
{
    char text[512];
    int group = 0;
    read_file(pid, "stat", text, sizeof(text));
    const char *after = strrchr(text, ')');
    return after != NULL && sscanf(after + 1, " %*c %*d %d", &group) == 1 ? group : 0;
}

static uint64_t kilobytes(const char *text, const char *name)
{
    uint64_t n = 0;
    const char *at = strstr(text, name);
    return at != NULL && sscanf(at + strlen(name), " %" SCNu64, &n) == 1 ? n : 0;
}

static uint64_t memory_of(const char *pid)
{
    char text[4096];
    read_file(pid, "status", text, sizeof(text));
    return (kilobytes(text, "\nRssAnon:") + kilobytes(text, "\nRssShmem:")) << 10;
}

static void look(struct isola__memory_watch *watch)
{
    struct isola_idmap groups = {0};
    DIR *proc = opendir("/proc");
    for (struct isola__watched *w = watch->first; w != NULL; w = w->next) {
        w->memory = 0;
        isola_idmap_add(&groups, (uint64_t)w->group, w);
    }
    for (struct dirent *d; proc != NULL && (d = readdir(proc)) != NULL;) {
        if (d->d_name[0] < '1' || d->d_name[0] > '9')
            continue;
        int group = group_of(d->d_name);
        struct isola__watched *w = group > 0 ? isola_idmap_get(&groups, (uint64_t)group) : NULL;
        if (w != NULL)
            w->memory += memory_of(d->d_name);
    }
    if (proc != NULL)
        closedir(proc);
    isola_idmap_free(&groups);
}

static void on_timer(uv_timer_t *timer)
{
    struct isola__memory_watch *watch = timer->data;
    look(watch);
    for (struct isola__watched *w = watch->first, *next; w != NULL; w = next) {
        next = w->next;
        if (w->memory > w->limit)
            w->over(w);
    }
}

void isola__memory_watch_init(struct isola__memory_watch *watch, uv_loop_t *loop)
{
    int rc = uv_timer_init(loop, &watch->timer);
    ISOLA_CHECK(rc == 0);
    watch->timer.data = watch;
}

void isola__memory_watch_close(struct isola__memory_watch *watch)
{
    uv_close((uv_handle_t *)&watch->timer, NULL);
}

void isola__memory_watch_add(struct isola__memory_watch *watch, struct isola__watched *w)
{
    w->next = watch->first;
    w->at = &watch->first;
    if (w->next != NULL)
        w->next->at = &w->next;
    watch->first = w;
    if (uv_is_active((uv_handle_t *)&watch->timer))
        return;
    uv_update_time(watch->timer.loop);
    int rc = uv_timer_start(&watch->timer, on_timer, LOOK_MS, LOOK_MS);
    ISOLA_CHECK(rc == 0);
}

void isola__memory_watch_remove(struct isola__memory_watch *watch, struct isola__watched *w)
{
    if (w->at == NULL)
        return;
    *w->at = w->next;
    if (w->next != NULL)
        w->next->at = w->at;
    w->at = NULL;
    if (watch->first == NULL)
        uv_timer_stop(&watch->timer);
}
