/* SPDX-License-Identifier: Apache-2.0
 *
 * Packages of workspaces, of pnpm, and linked ones: where each is laid in a release, so that
 * whoever asks for it finds the one that is found where it came from.
 */
#include "cli/places.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "tests/tempdir.h"

static char root[TEMPDIR_SIZE];

static int set_up(void **state)
{
    (void)state;
    return tempdir_make(root);
}

static int tear_down(void **state)
{
    (void)state;
    return tempdir_remove(root);
}

/* A package.json in `dir`, which is made. */
static void put(const char *dir, const char *json)
{
    char *path = isola_format("%s/%s/package.json", root, dir);
    for (char *at = strchr(path + strlen(root) + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        *at = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(json, f);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void put_link(const char *name, const char *target)
{
    char *path = isola_format("%s/%s", root, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
    *slash = '/';
    assert_int_equal(symlink(target, path), 0);
    free(path);
}

static int find(const char *dir, struct isola__places *out, struct isola_err *err)
{
    char *path = isola_format("%s/%s", root, dir), *real = realpath(path, NULL);
    assert_non_null(real);
    int code = isola__places_find(real, out, err);
    free(real);
    free(path);
    return code;
}

/* Places as "AT FROM", FROM below the root, in the order in which they are given. */
static void has_places(const char *dir, const char *const *wanted, size_t n)
{
    struct isola__places p;
    struct isola_err err;
    char *real = realpath(root, NULL);
    assert_int_equal(find(dir, &p, &err), 0);
    for (size_t i = 0; i < p.n && i < n; i++) {
        char *is = isola_format("%s %s", p.list[i]->at, p.list[i]->from + strlen(real) + 1);
        assert_string_equal(is, wanted[i]);
        free(is);
    }
    assert_int_equal(p.n, n);
    isola__places_free(&p);
    free(real);
}
#define HAS(dir, ...)                                                                              \
    has_places(dir, (const char *const[]){__VA_ARGS__},                                            \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void finds_what_a_workspace_needs(void **state)
{
    (void)state;
    put(".", "{\"workspaces\": [\"packages/*\", \"!packages/none\"]}");
    put("packages/api", "{\"dependencies\": {\"@m/shared\": \"*\", \"a\": \"1\", \"n\": \"4\"},"
                        " \"devDependencies\": {\"tool\": \"1\"},"
                        " \"optionalDependencies\": {\"elsewhere\": \"1\"}}");
    put("packages/api/node_modules/n", "{\"version\": \"4\"}");
    put("packages/shared", "{\"dependencies\": {\"a\": \"1\", \"n\": \"3\"}}");
    put("packages/shared/node_modules/n", "{\"version\": \"3\"}");
    put("packages/none", "{\"dependencies\": {\"a\": \"1\"}}");
    put("node_modules/a", "{\"dependencies\": {\"b\": \"1\", \"n\": \"1\", \"missing\": \"1\"}}");
    put("node_modules/b", "{\"dependencies\": {\"a\": \"1\", \"n\": \"2\"},"
                          " \"peerDependencies\": {\"peer\": \"1\"}}");
    put("node_modules/b/node_modules/n", "{\"version\": \"2\"}");
    put("node_modules/n", "{\"version\": \"1\"}");
    put("node_modules/peer", "{}");
    put("node_modules/tool", "{}");
    put("node_modules/other", "{}");
    put_link("node_modules/@m/shared", "../../packages/shared");
    HAS("packages/api", " packages/api", "node_modules/@m/shared packages/shared",
        "node_modules/a node_modules/a", "node_modules/n packages/api/node_modules/n",
        "node_modules/@m/shared/node_modules/n packages/shared/node_modules/n",
        "node_modules/b node_modules/b", "node_modules/a/node_modules/n node_modules/n",
        "node_modules/b/node_modules/n node_modules/b/node_modules/n",
        "node_modules/peer node_modules/peer");

    struct isola__places p;
    struct isola_err err;
    assert_int_equal(find("packages/none", &p, &err), 0);
    assert_int_equal(p.n, 0); /* it is none of the workspaces */
    assert_int_equal(find("packages/api", &p, &err), 0);
    static const char *const files[][2] = {
        {"server.js", "packages/api/server.js"},
        {"node_modules/@m/shared/lib/x.js", "packages/shared/lib/x.js"},
        {"node_modules/a/node_modules/n/x", "node_modules/n/x"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *is = isola__places_file(&p, files[i][0]);
        assert_string_equal(is + strlen(is) - strlen(files[i][1]), files[i][1]);
        free(is);
    }
    assert_true(p.list[1]->source);
    assert_false(p.list[2]->source);
    isola__places_free(&p);
}

static void says_what_is_not_installed(void **state)
{
    (void)state;
    struct isola__places p;
    struct isola_err err;
    put(".", "{\"workspaces\": {\"packages\": [\"./apps/**\"]}}");
    put("apps/in/api", "{\"dependencies\": {\"a\": \"1\"}}");
    assert_int_equal(find("apps/in/api", &p, &err), ISOLA_EMODULE);
    char *real = realpath(root, NULL);
    char *wanted = isola_format("the package \"a\" is not installed, which %s/apps/in/api/"
                                "package.json depends on; run `npm install` in %s",
                                real, real);
    assert_string_equal(err.text, wanted);
    free(wanted);
    free(real);
}

static void follows_the_links_of_pnpm(void **state)
{
    (void)state;
    put(".", "{\"dependencies\": {\"a\": \"1\"}, \"devDependencies\": {\"tool\": \"1\"}}");
    put("node_modules/.pnpm/a@1/node_modules/a", "{\"dependencies\": {\"n\": \"1\"}}");
    put("node_modules/.pnpm/n@1/node_modules/n", "{\"dependencies\": {\"../x\": \"1\"}}");
    put("node_modules/.pnpm/tool@1/node_modules/tool", "{}");
    put_link("node_modules/.pnpm/a@1/node_modules/n", "../../n@1/node_modules/n");
    put_link("node_modules/a", ".pnpm/a@1/node_modules/a");
    put_link("node_modules/tool", ".pnpm/tool@1/node_modules/tool");
    struct isola__places p;
    struct isola_err err;
    assert_int_equal(find(".", &p, &err), 0);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.list[1]->at, "node_modules/a");
    assert_string_equal(p.list[2]->at, "node_modules/n");
    isola__places_free(&p);
}

static void follows_links_that_lead_out(void **state)
{
    (void)state;
    put("app", "{\"dependencies\": {\"lib\": \"file:../lib\", \"in\": \"1\"}}");
    put("app/node_modules/in", "{}");
    put("lib", "{\"dependencies\": {\"n\": \"1\"}}");
    put("lib/node_modules/n", "{}");
    struct isola__places p;
    struct isola_err err;
    assert_int_equal(find("app", &p, &err), 0);
    assert_int_equal(p.n, 0); /* it lies as npm has it, as far as it is there */
    put_link("app/node_modules/lib", "../../lib");
    HAS("app", " app", "node_modules/lib lib", "node_modules/in app/node_modules/in",
        "node_modules/n lib/node_modules/n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_what_a_workspace_needs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_what_is_not_installed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(follows_the_links_of_pnpm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(follows_links_that_lead_out, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
