/* SPDX-License-Identifier: Apache-2.0
 *
 * What of an app's directory goes into its release, and that only what has changed is read again.
 */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/file_index.h"
#include "tests/tempdir.h"

struct place {
    char dir[TEMPDIR_SIZE];
    char *app;
};

static int set_up(void **state)
{
    struct place *p = isola_zalloc(sizeof(*p));
    *state = p;
    if (tempdir_make(p->dir) != 0)
        return -1;
    p->app = isola_format("%s/app", p->dir);
    setenv("XDG_CACHE_HOME", p->dir, 1);
    return mkdir(p->app, 0755);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    int code = tempdir_remove(p->dir);
    free(p->app);
    free(p);
    return code;
}

static void put(const char *root, const char *name, const char *text, mode_t mode)
{
    char *path = isola_format("%s/%s", root, name);
    for (char *at = strchr(path + strlen(root) + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        *at = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    free(path);
}

static void put_link(const char *root, const char *name, const char *target)
{
    char *path = isola_format("%s/%s", root, name);
    assert_int_equal(symlink(target, path), 0);
    free(path);
}

static bool has(const struct isola__files *f, const char *path)
{
    return isola_tree_find(&f->tree, isola_slice_str(path)) != NULL;
}

static void takes_what_is_needed(void **state)
{
    struct place *p = *state;
    struct isola__files f;
    struct isola_err err;
    put(p->app, "server.js", "1", 0644);
    put(p->app, "bin/run.sh", "2", 0755);
    put(p->app, ".env", "A=1", 0600);
    put(p->app, ".git/HEAD", "x", 0644);
    put(p->app, "lib/.git/HEAD", "x", 0644);
    put(p->app, ".isola/catalog.db", "x", 0644);
    put(p->app, "node_modules/used/index.js", "3", 0644);
    put(p->app, "node_modules/tool/cli.js", "4", 0755);
    put(p->app, "node_modules/tool/node_modules/part/index.js", "5", 0644);
    put(p->app, "node_modules/.cache/x", "x", 0644);
    put(p->app, "node_modules/.bin/.keep", "", 0644);
    put_link(p->app, "node_modules/.bin/tool", "../tool/cli.js");
    put_link(p->app, "node_modules/.bin/used", "../used/index.js");
    put(p->app, "node_modules/.package-lock.json",
        "{\"packages\":{\"node_modules/used\":{},\"node_modules/tool\":{\"dev\":true}}}", 0644);
    char *pipe = isola_format("%s/pipe", p->app);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    free(pipe);
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
    assert_true(has(&f, "server.js"));
    assert_false(has(&f, ".env"));
    assert_int_equal(json_array_size(f.variables), 1);
    assert_true(has(&f, "node_modules/used/index.js"));
    assert_true(has(&f, "node_modules/.bin/used"));
    assert_int_equal(isola_tree_find(&f.tree, isola_slice_str("bin/run.sh"))->kind,
                     ISOLA_TREE_PROGRAM);
    assert_false(has(&f, ".git/HEAD"));
    assert_false(has(&f, "lib/.git/HEAD"));
    assert_false(has(&f, ".isola/catalog.db"));
    assert_false(has(&f, "node_modules/.cache/x"));
    assert_false(has(&f, "node_modules/tool/cli.js"));
    assert_false(has(&f, "node_modules/tool/node_modules/part/index.js"));
    assert_false(has(&f, "node_modules/.bin/tool"));
    assert_false(has(&f, "pipe"));
    isola__files_free(&f);
}

static void takes_packages_from_elsewhere(void **state)
{
    struct place *p = *state;
    struct isola__files f;
    struct isola_err err;
    put(p->app, "server.js", "1", 0644);
    put(p->app, "node_modules/old/index.js", "x", 0644);
    put(p->dir, "npm/node_modules/new/index.js", "2", 0644);
    put(p->dir, "npm/package.json", "{}", 0644);
    char *modules = isola_format("%s/npm", p->dir), *none = isola_format("%s/none", p->dir);
    assert_int_equal(isola__files_collect(p->app, modules, NULL, NULL, &f, &err), 0);
    assert_true(has(&f, "server.js"));
    assert_true(has(&f, "node_modules/new/index.js"));
    assert_false(has(&f, "node_modules/old/index.js"));
    assert_false(has(&f, "package.json"));
    isola__files_free(&f);
    assert_int_equal(isola__files_collect(p->app, none, NULL, NULL, &f, &err), 0);
    assert_int_equal(f.tree.n, 1);
    isola__files_free(&f);
    free(modules);
    free(none);
}

static void reads_what_has_changed(void **state)
{
    struct place *p = *state;
    struct isola__files f;
    struct isola_err err;
    uint64_t end = isola_clock_ms() + 20000;
    size_t read = 1;
    put(p->app, "a.js", "1", 0644);
    put(p->app, "b.js", "2", 0644);
    while (read > 0 && isola_clock_ms() < end) { /* for a moment they are too young */
        assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
        assert_int_equal(f.tree.n, 2);
        read = f.read;
        isola__files_free(&f);
    }
    assert_int_equal(read, 0);
    put(p->app, "b.js", "3", 0644); /* of the same size */
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
    assert_int_equal(f.read, 1);
    struct isola_hash h = isola_hash_of(isola_slice_str("3"));
    assert_memory_equal(isola_tree_find(&f.tree, isola_slice_str("b.js"))->pieces, &h, sizeof(h));
    isola__files_free(&f);
}

static void does_not_mind_a_damaged_index(void **state)
{
    struct place *p = *state;
    struct isola__files f;
    struct isola_err err;
    put(p->app, "a.js", "1", 0644);
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
    isola__files_free(&f);
    char *command = isola_format("for f in %s/isola/files-*; do test -f \"$f\" || exit 1; printf "
                                 "'\\223\\001\\377' > \"$f\"; done",
                                 p->dir);
    assert_int_equal(system(command), 0);
    free(command);
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
    assert_int_equal(f.read, 1);
    isola__files_free(&f);
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/nowhere/at/all", 1);
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
    assert_int_equal(f.tree.n, 1);
    isola__files_free(&f);
}

static void leaves_secrets_out(void **state)
{
    static const char *const in[] = {"server.js", ".env.example", "node_modules/p/.env", ".envrc"};
    static const char *const out[] = {".npmrc", "lib/.npmrc", ".env", ".env.local", "lib/.env"};
    struct place *p = *state;
    struct isola__files f;
    struct isola_err err;
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
        put(p->app, in[i], "x", 0644);
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
        put(p->app, out[i], "x", 0644);
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
        assert_true(has(&f, in[i]));
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
        assert_false(has(&f, out[i]));
    assert_int_equal(json_array_size(f.variables), 3);
    isola__files_free(&f);

    char *node_args[] = {(char *)"--require=dotenv/config", NULL};
    struct isola_manifest_service service = {.env_file = (char *)"lib/.env",
                                             .node_args = node_args};
    struct isola_actor_type type = {
        .name = (char *)"Server", .module = (char *)"server.js", .service = &service};
    struct isola_manifest m = {.ntypes = 1, .types = &type};
    assert_int_equal(isola__files_collect(p->app, NULL, &m, NULL, &f, &err), 0);
    assert_true(has(&f, "lib/.env")); /* that is named */
    assert_true(has(&f, ".env"));     /* that the option has it read */
    assert_int_equal(json_array_size(f.variables), 1);
    isola__files_free(&f);

    put(p->app, ".isolaignore", "*.js\n", 0644);
    assert_int_equal(isola__files_collect(p->app, NULL, &m, NULL, &f, &err), ISOLA_EMANIFEST);
    assert_non_null(strstr(err.text, "server.js, the module of Server, is left out"));
}

static void leaves_out_what_is_to_be_ignored(void **state)
{
    static const struct {
        const char *path;
        bool taken;
    } cases[] = {
        {"a.log", false},
        {"lib/b.log", false},
        {"lib/keep.log", true},
        {"dist/x.js", false},
        {"lib/dist/x.js", true},
        {"lib/dist.js", true},
        {"cover/x", false},
        {"lib/cover/x", false},
        {"docs/a/b/c.md", false},
        {"docs/a/b/c.js", true},
        {"test", true},
        {"lib/test/x.js", false},
        {"#odd", false},
        {".isolaignore", false},
        {"data/1.bin", false},
        {"data/sub/1.bin", true},
        {"node_modules/p/a.log", true},
        {"node_modules/cover/x", true},
        {"x1", false},
        {"xa", true},
        {"trail", false},
    };
    struct place *p = *state;
    struct isola__files f;
    struct isola_err err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        put(p->app, cases[i].path, "x", 0644);
    put(p->app, ".isolaignore",
        "# what is not needed\n\n*.log\n!keep.log\n/dist\ncover/\ndocs/**/*.md\ntest/\n"
        "\\#odd\ndata/*.bin\nx[0-9]\ntrail \t\r\nnode_modules\n/\n",
        0644);
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (has(&f, cases[i].path) != cases[i].taken)
            fail_msg("%s is%s taken", cases[i].path, cases[i].taken ? " not" : "");
    isola__files_free(&f);
}

static void refuses_links_that_lead_out(void **state)
{
    struct place *p = *state;
    struct isola__files f;
    struct isola_err err;
    put_link(p->app, "passwd", "/etc/passwd");
    assert_int_equal(isola__files_collect(p->app, NULL, NULL, NULL, &f, &err), ISOLA_EINVAL);
    assert_string_equal(err.text, "the link passwd leads out of the app: to /etc/passwd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_what_is_needed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_packages_from_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_what_has_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(does_not_mind_a_damaged_index, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_secrets_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_out_what_is_to_be_ignored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_links_that_lead_out, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
