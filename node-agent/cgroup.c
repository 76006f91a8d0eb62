/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define PERIOD_US 100000u
#define LEAF      "node" /* where the agent itself is */
#define PREFIX    "service-"

/* Writes a file of a group; errno says why not. */
static bool put(const char *group, const char *file, const char *text)
{
    char *path = isola_format("%s/%s", group, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t n = strlen(text);
    bool done = fd >= 0 && write(fd, text, n) == (ssize_t)n;
    int error = errno;
    if (fd >= 0)
        close(fd);
    free(path);
    errno = error;
    return done;
}

/* The text of a file, cut at its size. */
static bool get(const char *group, const char *file, char *text, size_t size)
{
    char *path = isola_format("%s/%s", group, file);
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(text, 1, size - 1, f) : 0;
    text[n] = '\0';
    if (f != NULL)
        fclose(f);
    free(path);
    return f != NULL;
}

/* --- where it is --- */

/* Where version 2 is mounted: of mountinfo's fields the fourth and fifth are what is mounted and
 * where, and its kind follows " - ". */
static char *find_mount(const char *proc)
{
    char line[4096], root[1024], at[1024];
    char *path = isola_format("%s/self/mountinfo", proc), *found = NULL;
    FILE *f = fopen(path, "re");
    while (f != NULL && found == NULL && fgets(line, sizeof(line), f) != NULL) {
        const char *kind = strstr(line, " - cgroup2 ");
        if (kind != NULL && sscanf(line, "%*s %*s %*s %1023s %1023s", root, at) == 2 &&
            strcmp(root, "/") == 0)
            found = isola_strdup(at);
    }
    if (f != NULL)
        fclose(f);
    free(path);
    return found;
}

/* Its place below that: "0::/system.slice/isola.service". */
static char *find_place(const char *proc)
{
    char line[4096];
    char *path = isola_format("%s/self/cgroup", proc), *found = NULL;
    FILE *f = fopen(path, "re");
    while (f != NULL && found == NULL && fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0)
            found = isola_strdup(strcmp(line, "0::/") == 0 ? "" : line + 3);
    }
    if (f != NULL)
        fclose(f);
    free(path);
    return found;
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += n)
        if ((at == text || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\n' || at[n] == '\0'))
            return true;
    return false;
}

static bool alone(const char *group)
{
    char text[256], own[24];
    snprintf(own, sizeof(own), "%ld\n", (long)getpid());
    return get(group, "cgroup.procs", text, sizeof(text)) && strcmp(text, own) == 0;
}

/* Takes `dir` for its own, or says why it cannot. */
static bool take(struct isola__cgroups *c, const char *dir)
{
    char text[512], own[24];
    if (!get(dir, "cgroup.controllers", text, sizeof(text))) {
        snprintf(c->why, sizeof(c->why), "%.200s is no control group of version 2", dir);
        return false;
    }
    bool memory = has_word(text, "memory"), cpu = has_word(text, "cpu");
    if (!memory && !cpu) {
        snprintf(c->why, sizeof(c->why),
                 "the control group %.150s has neither memory nor cpu among its controllers", dir);
        return false;
    }
    if (!alone(dir)) {
        snprintf(c->why, sizeof(c->why),
                 "the control group %.150s is not the agent's alone; systemd gives one with "
                 "Delegate=yes",
                 dir);
        return false;
    }
    char *leaf = isola_format("%s/" LEAF, dir);
    snprintf(own, sizeof(own), "%ld", (long)getpid());
    bool moved = (mkdir(leaf, 0755) == 0 || errno == EEXIST) && put(leaf, "cgroup.procs", own);
    if (moved) { /* one at a time: the other may be refused */
        c->memory = memory && put(dir, "cgroup.subtree_control", "+memory");
        c->cpu = cpu && put(dir, "cgroup.subtree_control", "+cpu");
    }
    bool taken = c->memory || c->cpu;
    if (!taken) {
        snprintf(c->why, sizeof(c->why), "the control group %.150s cannot be divided: %s", dir,
                 strerror(errno));
        if (moved)
            (void)put(dir, "cgroup.procs", own);
        rmdir(leaf);
    }
    free(leaf);
    return taken;
}

void isola__cgroups_open(struct isola__cgroups *c, const char *proc)
{
    *c = (struct isola__cgroups){0};
    char *mount = find_mount(proc);
    char *place = mount != NULL ? find_place(proc) : NULL;
    char *dir = place != NULL ? isola_format("%s%s", mount, place) : NULL;
    if (dir == NULL)
        snprintf(c->why, sizeof(c->why), "control groups of version 2 are not mounted here");
    else if (take(c, dir))
        c->dir = isola_strdup(dir);
    free(dir);
    free(place);
    free(mount);
}

/* --- the group of a process --- */

/* Those that something was in may be empty by now. */
static void remove_left(struct isola__cgroups *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->nleft; i++) {
        if (rmdir(c->left[i]) == 0 || errno == ENOENT)
            free(c->left[i]);
        else
            c->left[n++] = c->left[i];
    }
    c->nleft = n;
}

static char *fail(char *group, const char *what, struct isola_err *err)
{
    isola_fail(err, ISOLA_EIO, "%s of the control group %s cannot be set: %s", what, group,
               strerror(errno));
    rmdir(group);
    free(group);
    return NULL;
}

char *isola__cgroup_make(struct isola__cgroups *c, const char *name, uint64_t memory,
                         uint32_t millicpus, struct isola_err *err)
{
    char text[64];
    remove_left(c);
    char *group = isola_format("%s/" PREFIX "%s-%" PRIu64, c->dir, name, ++c->made);
    if (mkdir(group, 0755) != 0 && errno != EEXIST) { /* EEXIST: an agent before this one's */
        isola_fail(err, ISOLA_EIO, "the control group %s cannot be made: %s", group,
                   strerror(errno));
        free(group);
        return NULL;
    }
    if (memory != 0 && c->memory) {
        snprintf(text, sizeof(text), "%" PRIu64, memory);
        if (!put(group, "memory.max", text))
            return fail(group, "memory.max", err);
        (void)put(group, "memory.swap.max", "0"); /* there may be no swap */
        (void)put(group, "memory.oom.group", "1");
    }
    if (millicpus != 0 && c->cpu) {
        snprintf(text, sizeof(text), "%" PRIu64 " %u", (uint64_t)millicpus * PERIOD_US / 1000,
                 PERIOD_US);
        if (!put(group, "cpu.max", text))
            return fail(group, "cpu.max", err);
    }
    return group;
}

bool isola__cgroup_oom(const char *group)
{
    char text[512];
    uint64_t n = 0;
    if (!get(group, "memory.events", text, sizeof(text)))
        return false;
    const char *at = strstr(text, "oom_kill ");
    return at != NULL && sscanf(at, "oom_kill %" SCNu64, &n) == 1 && n > 0;
}

uint64_t isola__cgroup_memory(const char *group)
{
    char text[64];
    return get(group, "memory.current", text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

void isola__cgroup_kill(const char *group)
{
    (void)put(group, "cgroup.kill", "1"); /* not before Linux 5.14; the group of processes is too */
}

void isola__cgroup_remove(struct isola__cgroups *c, char *group)
{
    remove_left(c);
    c->left = isola_realloc(c->left, (c->nleft + 1) * sizeof(*c->left));
    c->left[c->nleft++] = group;
    remove_left(c);
}

void isola__cgroups_close(struct isola__cgroups *c)
{
    remove_left(c);
    for (size_t i = 0; i < c->nleft; i++)
        free(c->left[i]);
    free(c->left);
    free(c->dir);
    *c = (struct isola__cgroups){0};
}
