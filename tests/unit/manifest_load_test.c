/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests as they are found in an app's directory, with what they do not say made of the files
 * there; and for each app that is none the exact sentence.
 */
#include "store/manifest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/tempdir.h"

#define APP(type) "{\"name\": \"shop\",\n \"actors\": {\n  \"Counter\": " type "}}"

static char root[TEMPDIR_SIZE];
static char dir[80];

static void write_file(const char *name, const char *content)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(content, f);
    assert_int_equal(fclose(f), 0);
}
static void make_link(const char *to, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(symlink(to, path), 0);
}
static void drop(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    remove(path);
}

static int make_app(void **state)
{
    (void)state;
    if (tempdir_make(root) != 0)
        return -1;
    snprintf(dir, sizeof(dir), "%s/app", root);
    return mkdir(dir, 0700);
}
static int remove_app(void **state)
{
    (void)state;
    return tempdir_remove(root);
}

static void not_loaded(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void not_loaded(int code, const char *fmt, ...)
{
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    struct isola_buf text = {0};
    char sentence[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    assert_int_equal(isola_manifest_load(dir, &m, &text, &err), code);
    assert_string_equal(err.text, sentence);
    assert_null(m);
    assert_int_equal(text.len, 0);
    assert_int_equal(isola_manifest_load(dir, &m, NULL, NULL), code);
}

static void loaded(const char *expected)
{
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    struct isola_buf text = {0};
    if (isola_manifest_load(dir, &m, &text, &err) != 0)
        fail_msg("%s", err.text);
    assert_string_equal(isola_buf_cstr(&text), expected);
    isola_manifest_free(m);
    m = NULL;
    /* what is sent is a manifest to anybody */
    assert_int_equal(isola_manifest_parse(isola_buf_slice(&text), "isola.json", &m, &err), 0);
    isola_manifest_free(m);
    isola_buf_free(&text);
}

static void loads_isola_json(void **state)
{
    (void)state;
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    struct isola_buf text = {0};
    write_file("c.js", "");
    make_link("c.js", "in.js");
    write_file("package.json", "{\"name\": \"other\", \"isola\": 5}"); /* not looked at */
    write_file("isola.json",
               "{ \"name\": \"shop\",\n \"actors\": { \"B\": {\"module\": \"./c.js\"},"
               " \"A\": {\"module\": \"in.js\"} } }\n");
    assert_int_equal(isola_manifest_load(dir, &m, &text, &err), 0);
    assert_string_equal(m->name, "shop");
    assert_int_equal(m->ntypes, 2);
    assert_string_equal(isola_buf_cstr(&text), "{\"name\":\"shop\",\"actors\":{\"B\":{\"module\":"
                                               "\"./c.js\"},\"A\":{\"module\":\"in.js\"}}}");
    isola_manifest_free(m);
    isola_buf_free(&text);
    assert_int_equal(isola_manifest_load(dir, &m, NULL, NULL), 0);
    isola_manifest_free(m);
}

static void loads_package_json(void **state)
{
    (void)state;
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    struct isola_buf text = {0};
    write_file("c.js", "");
    write_file("package.json", "{\"name\": \"shop\", \"dependencies\": {},\n"
                               "  \"isola\": {\"actors\": {\"A\": {\"module\": \"c.js\"}}}}");
    assert_int_equal(isola_manifest_load(dir, &m, &text, &err), 0);
    assert_string_equal(m->name, "shop");
    assert_string_equal(isola_buf_cstr(&text),
                        "{\"actors\":{\"A\":{\"module\":\"c.js\"}},\"name\":\"shop\"}");
    isola_manifest_free(m);
    m = NULL;
    assert_int_equal(isola_manifest_parse(isola_buf_slice(&text), "isola.json", &m, &err), 0);
    isola_manifest_free(m);
    isola_buf_free(&text);

    write_file("package.json", "{\"name\": \"@me/shop\",\n"
                               "  \"isola\": {\"actors\": {\"A\": {\"module\": \"c.js\"}}}}");
    loaded("{\"actors\":{\"A\":{\"module\":\"c.js\"}},\"name\":\"me-shop\"}");
    write_file("package.json", "{\"name\": \"@2/3\",\n"
                               "  \"isola\": {\"actors\": {\"A\": {\"module\": \"c.js\"}}}}");
    not_loaded(ISOLA_EMANIFEST,
               "package.json:1:10: name: of the package's name \"@2/3\" no app's name can be made, "
               "which has a letter from a to z: write one as \"name\" into isola.json");
    write_file("package.json", "{\"name\": 5,\n"
                               "  \"isola\": {\"actors\": {\"A\": {\"module\": \"c.js\"}}}}");
    not_loaded(ISOLA_EMANIFEST, "package.json:1:10: name: must be a package's name, not 5");
    write_file("package.json", "{\"name\": \"@me/shop\",\n"
                               "  \"isola\": {\"name\": \"shop\",\n"
                               "   \"actors\": {\"A\": {\"module\": \"c.js\", \"heap\": 1}}}}");
    not_loaded(
        ISOLA_EMANIFEST,
        "package.json:3:47: isola.actors.A.heap: must be a size such as \"64MB\" (B, KB, MB, "
        "GB), from \"4MB\" to \"16GB\", not 1");
    write_file("package.json", "{\"isola\": true}");
    not_loaded(ISOLA_EMANIFEST, "package.json:1:11: isola: must be an object such as {\"name\": "
                                "\"my-app\", \"actors\": {…}}, not true");
}

static void says_when_there_is_no_manifest(void **state)
{
    (void)state;
    char hint[600];
    snprintf(
        hint, sizeof(hint),
        "there is nothing to run in %s: it has no isola.json, no package.json with an \"isola\" "
        "key, no file called NAME.actor.js (or .mjs, .cjs, .ts, .mts), which would be an "
        "actor, and no package.json whose \"start\" is `node FILE` or that has a \"main\" or "
        "a server.js, which would be a service; `ctl new` makes an app to begin with",
        dir);
    not_loaded(ISOLA_ENOENT, "%s", hint);
    write_file("package.json", "{\"name\": \"shop\"}");
    not_loaded(ISOLA_ENOENT, "%s", hint);
    write_file("package.json", "[]");
    not_loaded(ISOLA_ENOENT, "%s", hint);
    write_file("package.json", "{\"main\": \"none.js\", \"scripts\": {\"start\": \"next start\"}}");
    not_loaded(
        ISOLA_ENOENT,
        "what is to run in %s is not known: \"start\" of its package.json is \"next start\", "
        "and no package that is installed there has a program \"next\"; `npm install` there, if "
        "one of its packages has, or write an isola.json such as {\"name\": \"my-app\", "
        "\"actors\": {\"Server\": "
        "{\"module\": \"./server.js\", \"kind\": \"service\", \"port\": 3000}}}",
        dir);
    write_file("package.json", "{");
    not_loaded(ISOLA_EMANIFEST,
               "package.json:1:1: not JSON: string or '}' expected near end of file");
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    char path[128], sentence[300];
    snprintf(path, sizeof(path), "%s/nowhere", dir);
    snprintf(sentence, sizeof(sentence), "cannot read %s: No such file or directory", path);
    assert_int_equal(isola_manifest_load(path, &m, NULL, &err), ISOLA_ENOENT);
    assert_string_equal(err.text, sentence);
    snprintf(path, sizeof(path), "%s/package.json", dir);
    snprintf(sentence, sizeof(sentence), "%s is not a directory: name the app's directory", path);
    assert_int_equal(isola_manifest_load(path, &m, NULL, &err), ISOLA_EINVAL);
    assert_string_equal(err.text, sentence);
    snprintf(path, sizeof(path), "%s/isola.json", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    not_loaded(ISOLA_EIO, "cannot read %s: not a regular file", path);
}

/* A file that is there, with the directories on the way to it. */
static void touch(const char *name)
{
    char path[4096];
    for (const char *p = name; (p = strchr(p, '/')) != NULL; p++) {
        snprintf(path, sizeof(path), "%s/%.*s", dir, (int)(p - name), name);
        (void)!mkdir(path, 0700);
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
}

static void finds_actors_by_their_names(void **state)
{
    (void)state;
    touch("src/shopping-cart.actor.ts");
    loaded("{\"name\":\"app\",\"actors\":{\"ShoppingCart\":{\"module\":"
           "\"src/shopping-cart.actor.ts\"}}}");
    touch("counter.actor.js");
    touch("a/b_2.c.actor.mjs");
    touch("a/HTTPProbe.actor.cjs");
    touch("zebra.actor.mts");
    /* none of these is one */
    touch("node_modules/x/x.actor.js");
    touch("src/node_modules/x/y.actor.js");
    touch(".git/z.actor.js");
    touch(".hidden.actor.js");
    touch("src/counter.actor.test.js");
    touch("src/counter.actor.d.ts");
    touch("counter.actor.json");
    touch("actor.js");
    touch("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/deep.actor.js");
    touch("dir.actor.js/x.js");
    make_link("..", "around");
    make_link("..", "around.actor.js");
    make_link("nowhere.actor.js", "broken.actor.js");
    write_file("package.json", "{\"name\": \"@acme/Web_Shop.io\"}");
    loaded("{\"name\":\"acme-web-shop-io\",\"actors\":{"
           "\"HTTPProbe\":{\"module\":\"a/HTTPProbe.actor.cjs\"},"
           "\"B2C\":{\"module\":\"a/b_2.c.actor.mjs\"},"
           "\"Counter\":{\"module\":\"counter.actor.js\"},"
           "\"ShoppingCart\":{\"module\":\"src/shopping-cart.actor.ts\"},"
           "\"Zebra\":{\"module\":\"zebra.actor.mts\"}}}");
    touch("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/just.actor.js");
    drop("src/shopping-cart.actor.ts");
    drop("a/HTTPProbe.actor.cjs");
    drop("a/b_2.c.actor.mjs");
    drop("zebra.actor.mts");
    make_link("counter.actor.js", "link.actor.js"); /* of a file: one as any other */
    loaded("{\"name\":\"acme-web-shop-io\",\"actors\":{"
           "\"Just\":{\"module\":\"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/just.actor.js\"},"
           "\"Counter\":{\"module\":\"counter.actor.js\"},"
           "\"Link\":{\"module\":\"link.actor.js\"}}}");
}

#define SERVER(rest) "{\"name\":\"app\",\"actors\":{\"Server\":{" rest "}}}"
static void takes_the_program_of_a_package(void **state)
{
    (void)state;
    static const struct {
        const char *package;
        const char *made;
    } rows[] = {
        {"\"main\": \"./lib/../server.js\"",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"server\"",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"lib\"",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"server.js\", \"scripts\": {\"start\": \"node lib\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"scripts\": {\"start\": \" PORT=8080 LOG=all node --env-file=.env "
         "--no-warnings ./server.js  --verbose -x 5 \"}",
         SERVER(
             "\"module\":\"server.js\",\"kind\":\"service\",\"port\":8080,\"envFile\":\".env\","
             "\"env\":{\"LOG\":\"all\"},\"nodeArgs\":[\"--no-warnings\"],\"args\":[\"--verbose\","
             "\"-x\",\"5\"]")},
        {"\"scripts\": {\"start\": \"node --import tsx -r dotenv/config --env-file .env lib -v\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":3000,"
                "\"envFile\":\".env\",\"nodeArgs\":[\"--import=tsx\","
                "\"--require=dotenv/config\"],\"args\":[\"-v\"]")},
        {"\"scripts\": {\"start\": \"tsx --conditions x server.js\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000,"
                "\"nodeArgs\":[\"--import=tsx\",\"--conditions=x\"]")},
        {"\"main\": \"server.js\", \"scripts\": {\"start\": \"tsx watch lib\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"server.js\", \"scripts\": {\"start\": \"node --import\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        /* of what a shell would have to do nothing is taken: it is "main" then */
        {"\"main\": \"server.js\", \"scripts\": {\"start\": \"npm run build && node lib\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"server.js\", \"scripts\": {\"start\": \"nodemon lib\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"server.js\", \"scripts\": {\"start\": \"node\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"server.js\", \"scripts\": {\"start\": \"node . -x\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000,"
                "\"args\":[\"-x\"]")},
        {"\"scripts\": {\"start\": \"cross-env LOG=all PORT=1 node lib\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":1,"
                "\"env\":{\"LOG\":\"all\"}")},
        {"\"scripts\": {\"start\": \"node --env-file-if-exists=.env --env-file-if-exists no lib\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":3000,"
                "\"envFile\":\".env\"")},
        {"\"scripts\": {\"build\": \"tsc\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        /* programs of packages that are installed, and there when the app runs */
        {"\"scripts\": {\"start\": \"next start -p 80\"}, \"dependencies\": {\"next\": \"1\"}",
         SERVER("\"module\":\"node_modules/next/dist/bin/next\",\"kind\":\"service\","
                "\"port\":80,\"args\":[\"start\",\"-p\",\"80\"]")},
        {"\"scripts\": {\"start\": \"next start ./lib/index.js --port=81 -p x\"}",
         SERVER("\"module\":\"node_modules/next/dist/bin/next\",\"kind\":\"service\","
                "\"port\":81,\"args\":[\"start\",\"./lib/index.js\",\"--port=81\",\"-p\",\"x\"]")},
        {"\"scripts\": {\"start\": \"node lib -p 80 --port 82\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":82,"
                "\"args\":[\"-p\",\"80\",\"--port\",\"82\"]")},
        {"\"scripts\": {\"start\": \"node lib --port=$PORT\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":3000,"
                "\"args\":[\"--port=3000\"]")},
        {"\"scripts\": {\"start\": \"node lib -l ${PORT:-8080} ${PORT}\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":8080,"
                "\"args\":[\"-l\",\"8080\",\"8080\"]")},
        /* what is built to run where nothing else is installed: .next/standalone */
        {"\"scripts\": {\"start\": \"gone start\"}, \"dependencies\": {\"gone\": \"1\"}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"scripts\": {\"start\": \"nest start\", \"start:prod\": \"node lib\"},"
         "\"devDependencies\": {\"@nestjs/cli\": \"1\"}",
         SERVER("\"module\":\"lib/index.js\",\"kind\":\"service\",\"port\":3000")},
        {"\"main\": \"server.js\", \"scripts\": {\"start\": 5}",
         SERVER("\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000")},
    };
    static const char *const none[] = {
        "\"main\": 5",
        "\"main\": \"\"",
        "\"main\": \"../x.js\"",
        "\"main\": \"lib.js\"",
        "\"main\": \"/etc/passwd\"",
        "\"scripts\": {\"start\": \"node /etc/passwd\"}",
        "\"scripts\": {\"start\": \"\"}",
        "\"main\": \"server.js\", \"scripts\": {\"start\": \"node none.js\"}",
        "\"scripts\": {\"start\": \"nest start\"}, \"devDependencies\": {\"@nestjs/cli\": \"1\"}",
        "\"scripts\": {\"start\": \"shell x\"}",
        "\"scripts\": {\"start\": \"node lib $PORTS\"}",
        "\"scripts\": {\"start\": \"node lib $HOST $PORT\"}",
        "\"scripts\": {\"start\": \"node lib ${PORT:-0}\"}",
        "\"scripts\": {\"start\": \"node lib ${PORT\"}",
        "\"scripts\": {\"start\": \"node lib ${PORT:-80\"}",
        "\"scripts\": {\"start\": \"away x\"}",
    };
    touch("server.js");
    touch("lib/index.js");
    touch(".env");
    touch(".next/BUILD_ID");
    touch("../x.js");
    touch("node_modules/next/dist/bin/next");
    write_file("node_modules/next/dist/bin/next", "#!/usr/bin/env node\n");
    touch("node_modules/@nestjs/cli/bin/nest.js");
    write_file("node_modules/@nestjs/cli/bin/nest.js", "#!/usr/bin/env node\n");
    touch("node_modules/shell/x");
    write_file("node_modules/shell/x", "#!/bin/sh\n");
    touch("node_modules/.bin/x");
    make_link("../next/dist/bin/next", "node_modules/.bin/next");
    make_link("../@nestjs/cli/bin/nest.js", "node_modules/.bin/nest");
    make_link("../shell/x", "node_modules/.bin/shell");
    make_link("../../../x.js", "node_modules/.bin/away");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char json[400];
        snprintf(json, sizeof(json), "{\"name\": \"app\", %s}", rows[i].package);
        write_file("package.json", json);
        loaded(rows[i].made);
    }
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        struct isola_manifest *m = NULL;
        char json[400];
        snprintf(json, sizeof(json), "{\"name\": \"app\", %s}", none[i]);
        write_file("package.json", json);
        assert_int_equal(isola_manifest_load(dir, &m, NULL, NULL), ISOLA_ENOENT);
    }
    write_file("package.json",
               "{\"name\": \"app\", \"scripts\": {\"start\": \"node --inspect server.js\"}}");
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    assert_int_equal(isola_manifest_load(dir, &m, NULL, &err), ISOLA_EMANIFEST);
    assert_non_null(strstr(err.text, "actors.Server.nodeArgs: "));
    /* beside actors, whose names go before */
    write_file("package.json", "{\"name\": \"app\", \"main\": \"server.js\"}");
    touch("server.actor.js");
    loaded("{\"name\":\"app\",\"actors\":{\"Server\":{\"module\":\"server.actor.js\"},\"Program\":{"
           "\"module\":\"server.js\",\"kind\":\"service\",\"port\":3000}}}");
    touch("program.actor.js");
    not_loaded(
        ISOLA_EMANIFEST,
        "the program of package.json would be the type \"Program\", which an actor is: write "
        "an isola.json that lists it under another name");
}

static void says_what_is_to_be_built_before(void **state)
{
    (void)state;
    static const struct {
        const char *config, *file, *by;
    } rows[] = {{"nuxt.config.ts", ".output/server/index.mjs", "Nuxt"},
                {"astro.config.mjs", "dist/server/entry.mjs", "Astro with @astrojs/node"},
                {"svelte.config.js", "build/index.js", "SvelteKit with @sveltejs/adapter-node"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char made[300];
        write_file("package.json", "{\"name\": \"app\", \"scripts\": {\"build\": \"x\"}}");
        touch(rows[i].config);
        not_loaded(ISOLA_ENOENT,
                   "there is no file \"%s\" in %s, which %s makes: `npm run build` there comes "
                   "before a deploy; when it is to run another one, say so as \"start\" in the "
                   "\"scripts\" of its package.json",
                   rows[i].file, dir, rows[i].by);
        touch(rows[i].file);
        snprintf(made, sizeof(made), SERVER("\"module\":\"%s\",\"kind\":\"service\",\"port\":3000"),
                 rows[i].file);
        loaded(made);
        /* what package.json says goes before */
        write_file("package.json", "{\"name\": \"app\", \"scripts\": {\"start\": \"node x\"}}");
        not_loaded(ISOLA_ENOENT,
                   "there is no file \"x\" in %s, which \"start\" of its package.json runs", dir);
        drop(rows[i].config);
    }
    touch("node_modules/next/bin.js");
    write_file("node_modules/next/bin.js", "#!/usr/bin/env node\n");
    touch("node_modules/.bin/x");
    make_link("../next/bin.js", "node_modules/.bin/next");
    make_link("../next/bin.js", "node_modules/.bin/serve");
    write_file("package.json", "{\"name\": \"app\", \"scripts\": {\"build\": \"next build\", "
                               "\"start\": \"next start -p 81\"}}");
    not_loaded(ISOLA_ENOENT,
               "there is no file \".next/BUILD_ID\" in %s, which \"start\" of its package.json "
               "needs: `npm run build` there comes before a deploy",
               dir);
    write_file("next.config.mjs", "export default { distDir: 'out' };");
    loaded(SERVER("\"module\":\"node_modules/next/bin.js\",\"kind\":\"service\",\"port\":81,"
                  "\"args\":[\"start\",\"-p\",\"81\"]"));
    drop("next.config.mjs");
    touch("web/x");
    write_file("package.json", "{\"name\": \"app\", \"scripts\": {\"start\": \"next start web\"}}");
    loaded(SERVER("\"module\":\"node_modules/next/bin.js\",\"kind\":\"service\",\"port\":3000,"
                  "\"args\":[\"start\",\"web\"]"));
    write_file("package.json",
               "{\"name\": \"app\", \"scripts\": {\"build\": \"x\", "
               "\"start\": \"serve --import=y.js /etc/z.js ./build/server/index.js\"}}");
    not_loaded(ISOLA_ENOENT,
               "there is no file \"./build/server/index.js\" in %s, which \"start\" of its "
               "package.json runs: `npm run build` there, which makes it perhaps, comes before a "
               "deploy",
               dir);
    touch("build/server/index.js");
    loaded(SERVER("\"module\":\"node_modules/next/bin.js\",\"kind\":\"service\",\"port\":3000,"
                  "\"args\":[\"--import=y.js\",\"/etc/z.js\",\"./build/server/index.js\"]"));
    write_file("package.json", "{\"name\": \"app\", \"workspaces\": [\"packages/*\"]}");
    not_loaded(ISOLA_ENOENT,
               "there is nothing to run in %s itself, whose package.json has \"workspaces\": "
               "deploy the directory of the one that is the app; what it needs of the others comes "
               "with it",
               dir);
}

static void adds_what_is_found_to_what_is_listed(void **state)
{
    (void)state;
    touch("lib/cart.actor.js");
    touch("box.actor.js");
    touch("other.js");
    write_file("isola.json", "{\"name\": \"shop\"}");
    loaded("{\"name\":\"shop\",\"actors\":{\"Box\":{\"module\":\"box.actor.js\"},\"Cart\":{"
           "\"module\":\"lib/cart.actor.js\"}}}");
    /* by another name, and with settings: not found once more */
    write_file("isola.json", "{\"name\": \"shop\", \"actors\": {\"Basket\": {\"module\": "
                             "\"./lib/../lib/cart.actor.js\", \"cpu\": \"2s\"}}}");
    loaded("{\"name\":\"shop\",\"actors\":{\"Basket\":{\"module\":\"./lib/../lib/cart.actor.js\","
           "\"cpu\":\"2s\"},\"Box\":{\"module\":\"box.actor.js\"}}}");
    /* a name that is taken, by another file */
    write_file("isola.json",
               "{\"name\": \"shop\", \"actors\": {\"Cart\": {\"module\": \"other.js\"}}}");
    loaded("{\"name\":\"shop\",\"actors\":{\"Cart\":{\"module\":\"other.js\"},\"Box\":{"
           "\"module\":\"box.actor.js\"}}}");
    write_file("isola.json", "{\"name\": \"shop\", \"actor\": {}}");
    not_loaded(
        ISOLA_EMANIFEST,
        "isola.json:1:18: actor: unknown key, not one of \"$schema\", \"name\", \"version\", "
        "\"actors\", \"permissions\", \"rollout\", \"routes\"; did you mean \"actors\"?");
    write_file("isola.json", "{\"name\": \"shop\", \"actors\": 5}");
    not_loaded(ISOLA_EMANIFEST, "isola.json:1:28: actors: must be an object of actor types such as "
                                "{\"Counter\": {…}}, not 5");
    drop("isola.json");
    write_file("package.json", "{\"name\": \"shop\", \"isola\": {}}");
    loaded("{\"name\":\"shop\",\"actors\":{\"Box\":{\"module\":\"box.actor.js\"},\"Cart\":{"
           "\"module\":\"lib/cart.actor.js\"}}}");
    drop("box.actor.js");
    drop("lib/cart.actor.js");
    not_loaded(ISOLA_EMANIFEST,
               "package.json:1:27: isola: \"actors\" is missing: the app's actor types, such as "
               "{\"Counter\": {\"module\": \"./counter.js\"}}; files called NAME.actor.js or .ts "
               "need not be listed");
}

static void says_of_which_files_no_actors_can_be_made(void **state)
{
    (void)state;
    touch("src/cart.actor.ts");
    touch("dist/cart.actor.js");
    const char *twice = "\"dist/cart.actor.js\" and \"src/cart.actor.ts\" would both be the actor "
                        "type \"Cart\": call one of them otherwise, or list under \"actors\" in "
                        "isola.json which it is";
    not_loaded(ISOLA_EMANIFEST, "%s", twice);
    write_file("isola.json", "{\"name\": \"shop\"}");
    not_loaded(ISOLA_EMANIFEST, "%s", twice);
    write_file("isola.json",
               "{\"name\": \"shop\", \"actors\": {\"Cart\": {\"module\": \"src/cart.actor.ts\"}}}");
    loaded("{\"name\":\"shop\",\"actors\":{\"Cart\":{\"module\":\"src/cart.actor.ts\"}}}");
    drop("isola.json");
    drop("src/cart.actor.ts");
    static const char *const wrong[] = {"3d.actor.js", "caf\u00e9.actor.js", "-.actor.js",
                                        "a+b.actor.ts"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        touch(wrong[i]);
        not_loaded(ISOLA_EMANIFEST,
                   "of \"%s\", an actor by its name, no type's name can be made (a letter, then "
                   "letters or digits, 64 at the most; in UTF-8): call it otherwise, or list it "
                   "under \"actors\" in isola.json",
                   wrong[i]);
        drop(wrong[i]);
    }
    touch("dir/.actor.js");
    loaded("{\"name\":\"app\",\"actors\":{\"Cart\":{\"module\":\"dist/cart.actor.js\"}}}");
    touch("sixty-five-letters-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.actor.js");
    struct isola_manifest *m = NULL;
    assert_int_equal(isola_manifest_load(dir, &m, NULL, NULL), ISOLA_EMANIFEST);
    drop("sixty-five-letters-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.actor.js");
    touch("\xff.actor.js");
    not_loaded(
        ISOLA_EMANIFEST,
        "of a file, an actor by its name, no type's name can be made (a letter, then letters "
        "or digits, 64 at the most; in UTF-8): call it otherwise, or list it under "
        "\"actors\" in isola.json");
    drop("\xff.actor.js");
    touch("a\nb/c.actor.js");
    not_loaded(ISOLA_EMANIFEST,
               "the manifest made of the files:1:39: actors.C.module: must be a path without "
               "control characters, not \"a\\nb/c.actor.js\"");
    drop("a\nb/c.actor.js");
    make_link("../x.actor.js", "x.actor.js");
    write_file("../x.actor.js", "");
    not_loaded(ISOLA_EMANIFEST,
               "the manifest made of the files:1:78: actors.X.module: \"x.actor.js\" leads to "
               "%s/x.actor.js, outside the app's directory %s",
               root, dir);
    drop("x.actor.js");
    write_file("package.json",
               "{\"name\": "
               "\"a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-123-45"
               "\"}"); /* cut, and not after a dash */
    loaded("{\"name\":\"a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-123\","
           "\"actors\":{\"Cart\":{\"module\":\"dist/cart.actor.js\"}}}");
    write_file("package.json", "{\"private\": true,\n \"name\": \"42\"}");
    not_loaded(ISOLA_EMANIFEST,
               "package.json:2:10: name: of the package's name \"42\" no app's name can be made, "
               "which has a letter from a to z: write one as \"name\" into isola.json");
    drop("package.json");
    char other[100];
    snprintf(other, sizeof(other), "%s/42", root);
    assert_int_equal(rename(dir, other), 0);
    snprintf(dir, sizeof(dir), "%s/42", root);
    not_loaded(ISOLA_EMANIFEST,
               "of the name of the directory %s no app's name can be made, which has a letter from "
               "a to z: write an isola.json with a \"name\" into it",
               dir);
}

static void checks_the_modules_of_an_app(void **state)
{
    (void)state;
    char path[128];
    write_file("isola.json", APP("{\"module\": \"./c.js\"}"));
    not_loaded(ISOLA_EMANIFEST,
               "isola.json:3:25: actors.Counter.module: there is no file \"c.js\" in %s", dir);
    make_link("c.js", "c.js"); /* to itself */
    not_loaded(ISOLA_EMANIFEST,
               "isola.json:3:25: actors.Counter.module: cannot use \"c.js\" in %s: Too many levels "
               "of symbolic links",
               dir);
    drop("c.js");
    make_link("../x.js", "c.js");
    write_file("../x.js", "");
    not_loaded(ISOLA_EMANIFEST,
               "isola.json:3:25: actors.Counter.module: \"c.js\" leads to %s/x.js, outside the "
               "app's directory %s",
               root, dir);
    drop("c.js");
    make_link(root, "sub");
    write_file("isola.json", APP("{\"module\": \"./sub/x.js\"}"));
    not_loaded(ISOLA_EMANIFEST,
               "isola.json:3:25: actors.Counter.module: \"sub/x.js\" leads to %s/x.js, outside the "
               "app's directory %s",
               root, dir);
    drop("sub");
    snprintf(path, sizeof(path), "%s/sub", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("isola.json", APP("{\"module\": \"./sub\"}"));
    not_loaded(ISOLA_EMANIFEST,
               "isola.json:3:25: actors.Counter.module: \"sub\" in %s is not a regular file", dir);
}

int main(void)
{
#define LOAD(f) cmocka_unit_test_setup_teardown(f, make_app, remove_app)
    const struct CMUnitTest tests[] = {
        LOAD(loads_isola_json),
        LOAD(loads_package_json),
        LOAD(says_when_there_is_no_manifest),
        LOAD(finds_actors_by_their_names),
        LOAD(takes_the_program_of_a_package),
        LOAD(says_what_is_to_be_built_before),
        LOAD(adds_what_is_found_to_what_is_listed),
        LOAD(says_of_which_files_no_actors_can_be_made),
        LOAD(checks_the_modules_of_an_app),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
