/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups of services, on a directory that looks like one of the kernel's: which one an
 * agent takes, what it writes there, and why it takes none.
 */
#include "node-agent/cgroup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"

static char top[] = "/tmp/isola-test-XXXXXX"; /* top/proc/self, top/fs/system.slice/isola.service */
static char *proc, *own;

static void write_file(const char *dir, const char *name, const char *text)
{
    char *path = isola_format("%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    free(path);
}

/* What is written by parts, as the kernel's files are: the last. */
static void holds(const char *dir, const char *name, const char *text)
{
    char *path = isola_format("%s/%s", dir, name), is[200] = "";
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(is, 1, sizeof(is) - 1, f);
    is[n] = '\0';
    fclose(f);
    free(path);
    assert_string_equal(is, text);
}

static int start(void **state)
{
    (void)state;
    char *mountinfo, pid[32];
    memcpy(top + strlen(top) - 6, "XXXXXX", 6);
    if (mkdtemp(top) == NULL)
        return -1;
    proc = isola_format("%s/proc", top);
    own = isola_format("%s/fs/system.slice/isola.service", top);
    char *made = isola_format("mkdir -p %s/self %s/node", proc, own);
    if (system(made) != 0)
        return -1;
    free(made);
    char *self = isola_format("%s/self", proc);
    mountinfo = isola_format("22 1 0:20 / /proc rw - proc proc rw\n"
                             "25 22 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                             "26 22 0:23 / %s/fs rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
                             top);
    write_file(self, "mountinfo", mountinfo);
    write_file(self, "cgroup", "4:memory:/user\n0::/system.slice/isola.service\n");
    free(mountinfo);
    free(self);
    snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    write_file(own, "cgroup.procs", pid);
    write_file(own, "cgroup.controllers", "cpuset cpu io memory pids\n");
    write_file(own, "cgroup.subtree_control", "");
    char *leaf = isola_format("%s/node", own);
    write_file(leaf, "cgroup.procs", "");
    free(leaf);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char *gone = isola_format("rm -rf --one-file-system %s", top);
    int rc = system(gone);
    free(gone);
    free(proc);
    free(own);
    return rc;
}

static void takes_the_group_it_is_alone_in(void **state)
{
    (void)state;
    struct isola__cgroups c;
    char pid[32], *leaf = isola_format("%s/node", own);
    isola__cgroups_open(&c, proc);
    assert_string_equal(c.dir, own);
    assert_true(c.memory && c.cpu);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    holds(leaf, "cgroup.procs", pid);
    free(leaf);
    isola__cgroups_close(&c);
}

/* The first of a process' groups, with the files that the kernel would make in it. */
static char *make(struct isola__cgroups *c, uint64_t memory, uint32_t millicpus)
{
    static const char *const files[] = {"memory.max", "memory.swap.max", "memory.oom.group",
                                        "cpu.max"};
    struct isola_err err;
    char *dir = isola_format("%s/service-shop.Api.0-1", own);
    assert_int_equal(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < 4; i++)
        write_file(dir, files[i], "");
    char *group = isola__cgroup_make(c, "shop.Api.0", memory, millicpus, &err);
    assert_string_equal(group, dir);
    free(dir);
    return group;
}

static void bounds_and_looks(void **state)
{
    (void)state;
    struct isola__cgroups c;
    isola__cgroups_open(&c, proc);
    char *group = make(&c, 256 << 20, 500);
    holds(group, "memory.max", "268435456");
    holds(group, "memory.swap.max", "0");
    holds(group, "memory.oom.group", "1");
    holds(group, "cpu.max", "50000 100000");
    assert_false(isola__cgroup_oom(group)); /* there is no such file yet */
    write_file(group, "memory.events",
               "low 0\nhigh 0\nmax 31\noom 1\noom_kill 0\noom_group_kill 0\n");
    assert_false(isola__cgroup_oom(group));
    write_file(group, "memory.events",
               "low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n");
    assert_true(isola__cgroup_oom(group));
    assert_int_equal(isola__cgroup_memory(group), 0);
    write_file(group, "memory.current", "52428800\n");
    assert_int_equal(isola__cgroup_memory(group), 52428800);
    write_file(group, "cgroup.kill", "");
    isola__cgroup_kill(group);
    holds(group, "cgroup.kill", "1");
    isola__cgroup_remove(&c, group); /* which it cannot yet: something is in it */
    assert_int_equal(c.nleft, 1);
    char *emptied = isola_format("rm -f %s/service-*/*", own);
    assert_int_equal(system(emptied), 0);
    free(emptied);
    struct isola_err err;
    char *next = isola__cgroup_make(&c, "shop.Api.0", 0, 0, &err); /* the next one has it removed */
    assert_non_null(next);
    assert_int_equal(c.nleft, 0);
    isola__cgroup_remove(&c, next);
    isola__cgroups_close(&c);
}

static void what_cannot_be_set_is_told(void **state)
{
    (void)state;
    struct isola__cgroups c;
    struct isola_err err;
    isola__cgroups_open(&c, proc);
    assert_null(isola__cgroup_make(&c, "shop.Api.0", 1 << 30, 0, &err));
    char *said = isola_format("memory.max of the control group %s/service-shop.Api.0-1 cannot be "
                              "set: No such file or directory",
                              own);
    assert_string_equal(err.text, said);
    free(said);
    isola__cgroups_close(&c);
}

static void none(const char *why)
{
    struct isola__cgroups c;
    isola__cgroups_open(&c, proc);
    assert_null(c.dir);
    assert_false(c.memory || c.cpu);
    assert_non_null(strstr(c.why, why));
    isola__cgroups_close(&c);
}

static void without_controllers(void **state)
{
    (void)state;
    write_file(own, "cgroup.controllers", "hugetlb memory_of_another\n");
    none("has neither memory nor cpu among its controllers");
}

static void with_one_controller(void **state)
{
    (void)state;
    struct isola__cgroups c;
    write_file(own, "cgroup.controllers", "pids memory\n");
    isola__cgroups_open(&c, proc);
    assert_true(c.memory && !c.cpu);
    isola__cgroups_close(&c);
}

static void not_alone(void **state)
{
    (void)state;
    char pids[64];
    snprintf(pids, sizeof(pids), "1\n%ld\n", (long)getpid());
    write_file(own, "cgroup.procs", pids);
    none("is not the agent's alone; systemd gives one with Delegate=yes");
}

static void that_cannot_be_divided(void **state)
{
    (void)state;
    char *control = isola_format("%s/cgroup.subtree_control", own), pid[32];
    assert_int_equal(unlink(control), 0);
    free(control);
    none("cannot be divided");
    snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    holds(own, "cgroup.procs", pid); /* it is back where it was */
}

static void without_version_2(void **state)
{
    (void)state;
    char *self = isola_format("%s/self", proc);
    write_file(self, "mountinfo", "25 22 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw\n");
    none("control groups of version 2 are not mounted here");
    write_file(self, "mountinfo", "");
    none("are not mounted here");
    free(self);
}

/* What needs no controller is tried on the kernel's own, where this may mount it. */
static void a_process_in_one_of_the_kernel(void **state)
{
    (void)state;
    struct isola_err err;
    char *mounted = isola_format("%s/kernel", top);
    assert_int_equal(mkdir(mounted, 0755), 0);
    if (mount("none", mounted, "cgroup2", 0, NULL) != 0) {
        free(mounted);
        skip(); /* no root, or no such file system */
    }
    struct isola__cgroups c = {.dir = isola_format("%s/isola-test-%ld", mounted, (long)getpid())};
    int rc = mkdir(c.dir, 0755);
    char *dir = isola_strdup(c.dir), *group = NULL;
    int status = 0;
    if (rc == 0)
        group = isola__cgroup_make(&c, "shop.Api.0", 0, 0, &err);
    pid_t child = group != NULL ? fork() : -1;
    if (child == 0) { /* as the launcher does it, and then until it is killed */
        write_file(group, "cgroup.procs", "0");
        for (;;)
            pause();
    }
    char *procs = isola_format("%s/cgroup.procs", group != NULL ? group : "");
    for (char text[32] = ""; child > 0 && strtol(text, NULL, 10) != child;) {
        FILE *f = fopen(procs, "r"); /* it is in it in a moment */
        (void)!fgets(text, sizeof(text), f);
        fclose(f);
    }
    free(procs);
    bool oom = group != NULL && isola__cgroup_oom(group);
    if (group != NULL)
        isola__cgroup_kill(group);
    if (child > 0)
        (void)waitpid(child, &status, 0);
    if (group != NULL)
        isola__cgroup_remove(&c, group);
    size_t left = c.nleft;
    isola__cgroups_close(&c);
    bool removed = rmdir(dir) == 0;
    assert_int_equal(umount2(mounted, MNT_DETACH), 0);
    free(dir);
    free(mounted);
    assert_int_equal(rc, 0);
    assert_true(child > 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_false(oom); /* nobody's memory was used up */
    assert_int_equal(left, 0);
    assert_true(removed);
}

int main(void)
{
#define EACH(f) cmocka_unit_test_setup_teardown(f, start, end)
    const struct CMUnitTest tests[] = {
        EACH(takes_the_group_it_is_alone_in),
        EACH(bounds_and_looks),
        EACH(what_cannot_be_set_is_told),
        EACH(without_controllers),
        EACH(with_one_controller),
        EACH(not_alone),
        EACH(that_cannot_be_divided),
        EACH(without_version_2),
        EACH(a_process_in_one_of_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
