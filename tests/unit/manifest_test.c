/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests: what is read from good ones, and for each kind of bad one the exact sentence.
 */
#include "store/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* What is parsed, and what came of it, goes to the file $ISOLA_MANIFESTS too, when that is set:
 * schema_test.mjs judges the same by docs/isola.schema.json. */
static int parse(struct isola_slice json, struct isola_manifest **out, struct isola_err *err)
{
    static FILE *record;
    const char *name = getenv("ISOLA_MANIFESTS");
    int code = isola_manifest_parse(json, "isola.json", out, err);
    if (record == NULL && name != NULL)
        record = fopen(name, "w");
    if (record != NULL && err != NULL) {
        fprintf(record, "%zu %s\n", json.len, code == 0 ? "" : err->text);
        assert_int_equal(fwrite(json.data, 1, json.len, record), json.len);
        assert_int_equal(fflush(record), 0);
    }
    return code;
}

static struct isola_manifest *parsed(const char *json)
{
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    if (parse(isola_slice_str(json), &m, &err) != 0)
        fail_msg("%s", err.text);
    return m;
}

static void reads_services(void **state)
{
    (void)state;
    struct isola_manifest *m = parsed(
        "{ \"name\": \"shop\", \"actors\": {"
        "  \"Api\": { \"module\": \"./server.js\", \"kind\": \"service\", \"args\": [\"-v\", \"\"],"
        "    \"env\": { \"B\": \"2=3\", \"A\": \"\" }, \"envFile\": \"./.env\", \"port\": 8080,"
        "    \"nodeArgs\": [\"--import=./a/../setup.js\", \"--conditions=dev\", \"--expose-gc\", "
        "\"--require=@acme/trace/register\"],"
        "    \"instances\": \"cpus\", \"stopTimeout\": \"0ms\", \"startTimeout\": \"2m\","
        "    \"restart\": { \"max\": 1 }, \"logRate\": 5, \"sandbox\": true, "
        "\"sticky\": true, \"memory\": "
        "\"256MB\", \"cpus\": 0.5,"
        "    \"secrets\": [\"DATABASE_URL\", \"_t0\"],"
        "    \"health\": { \"path\": \"/healthz?a=1\", \"every\": \"1s\", \"timeout\": \"10ms\", "
        "\"failures\": 2 } },"
        "  \"Job\": { \"module\": \"job.js\", \"isolation\": \"process\" } } }");
    const struct isola_actor_type *t = &m->types[0];
    const struct isola_manifest_service *s = t->service;
    assert_int_equal(t->isolation, ISOLA_ISOLATION_PROCESS);
    assert_string_equal(t->module, "server.js");
    assert_string_equal(s->args[0], "-v");
    assert_string_equal(s->args[1], "");
    assert_null(s->args[2]);
    assert_string_equal(s->env[0], "B=2=3");
    assert_string_equal(s->env[1], "A=");
    assert_null(s->env[2]);
    assert_string_equal(s->env_file, ".env");
    assert_string_equal(s->secrets[0], "DATABASE_URL");
    assert_string_equal(s->secrets[1], "_t0");
    assert_null(s->secrets[2]);
    assert_int_equal(s->port, 8080);
    assert_string_equal(s->node_args[0], "--import=./setup.js");
    assert_string_equal(s->node_args[1], "--conditions=dev");
    assert_string_equal(s->node_args[2], "--expose-gc");
    assert_string_equal(s->node_args[3], "--require=@acme/trace/register");
    assert_null(s->node_args[4]);
    assert_int_equal(s->instances, 0);
    assert_int_equal(s->stop_ms, 0);
    assert_int_equal(s->start_ms, 120000);
    assert_true(s->sticky);
    assert_int_equal(s->memory, 256 << 20);
    assert_int_equal(s->millicpus, 500);
    assert_int_equal(t->life.restarts, 1);
    assert_int_equal(t->log_rate, 5);
    assert_true(s->sandbox);
    assert_string_equal(s->health_path, "/healthz?a=1");
    assert_int_equal(s->health_every_ms, 1000);
    assert_int_equal(s->health_timeout_ms, 10);
    assert_int_equal(s->health_failures, 2);
    s = m->types[1].service;
    assert_null(s->args);
    assert_null(s->env);
    assert_null(s->env_file);
    assert_null(s->secrets);
    assert_null(s->node_args);
    assert_null(s->health_path);
    assert_false(s->sandbox);
    assert_int_equal(s->instances, 1);
    assert_int_equal(s->port, 0);
    assert_int_equal(s->start_ms, 60000);
    assert_int_equal(s->stop_ms, 10000);
    isola_manifest_free(m);
}

static void reads_how_actors_live(void **state)
{
    (void)state;
    struct isola_manifest *m =
        parsed("{ \"name\": \"shop\", \"actors\": {"
               "    \"A\": { \"module\": \"a.js\", \"hibernateAfter\": \"never\", \"strategy\": "
               "\"rest_for_one\","
               "      \"restart\": { \"max\": 0, \"within\": \"1m\", \"backoff\": \"0ms\", "
               "\"maxBackoff\": \"2s\" } },"
               "    \"B\": { \"module\": \"b.js\", \"restart\": { \"backoff\": \"1m\" } } } }");
    const struct isola_manifest_life *l = &m->types[0].life;
    assert_int_equal(l->hibernate_after_ms, 0);
    assert_int_equal(l->strategy, ISOLA_MANIFEST_REST_FOR_ONE);
    assert_int_equal(l->restarts, 0);
    assert_int_equal(l->within_ms, 60000);
    assert_int_equal(l->backoff_ms, 0);
    assert_int_equal(l->max_backoff_ms, 2000);
    l = &m->types[1].life;
    assert_int_equal(l->restarts, 5);
    assert_int_equal(l->max_backoff_ms, 60000); /* not less than the first */
    isola_manifest_free(m);
}

static void reads_all_there_is(void **state)
{
    (void)state;
    struct isola_manifest *m = parsed(
        "{ \"$schema\": \"https://example.org/isola.json\", \"name\": \"shop-2\", \"permissions\": "
        "{},"
        "  \"actors\": {"
        "    \"Zebra\": { \"module\": \"./a//b/../counter.js\" },"
        "    \"Counter_1\": { \"module\": \"session.ts\", \"isolation\": \"shared\","
        "      \"reentrant\": true, \"heap\": \"64MB\", \"mailbox\": 17, \"kind\": \"actor\","
        "      \"hibernateAfter\": \"30s\", \"cpu\": \"500ms\" } } }");
    assert_string_equal(m->name, "shop-2");
    assert_int_equal(m->ntypes, 2);
    const struct isola_actor_type *t = &m->types[0];
    assert_string_equal(t->name, "Zebra"); /* the manifest's order, not the alphabet's */
    assert_string_equal(t->module, "a/counter.js");
    assert_int_equal(t->isolation, ISOLA_ISOLATION_ISOLATE);
    assert_false(t->reentrant);
    assert_int_equal(t->heap, 128 << 20);
    assert_int_equal(t->mailbox, 10000);
    assert_int_equal(t->life.hibernate_after_ms, 60000);
    assert_int_equal(t->life.restarts, 5);
    assert_int_equal(t->life.within_ms, 10000);
    assert_int_equal(t->life.backoff_ms, 100);
    assert_int_equal(t->life.max_backoff_ms, 30000);
    assert_int_equal(t->life.strategy, ISOLA_MANIFEST_ONE_FOR_ONE);
    assert_int_equal(t->cpu_ms, 1000);
    assert_int_equal(t->external, 256 << 20);
    assert_int_equal(t->mailbox_bytes, 64 << 20);
    assert_int_equal(t->message, 16 << 20);
    assert_int_equal(t->output, 128 << 20);
    assert_int_equal(t->asks, 10000);
    assert_int_equal(t->timers, 10000);
    assert_int_equal(t->subscriptions, 10000);
    assert_int_equal(t->log_rate, 1000);
    assert_int_equal(t->sql_bytes, 64 << 20);
    t = &m->types[1];
    assert_string_equal(t->name, "Counter_1");
    assert_string_equal(t->module, "session.ts");
    assert_int_equal(t->isolation, ISOLA_ISOLATION_SHARED);
    assert_true(t->reentrant);
    assert_int_equal(t->heap, 64 << 20);
    assert_int_equal(t->mailbox, 17);
    assert_int_equal(t->life.hibernate_after_ms, 30000);
    assert_int_equal(t->cpu_ms, 500);
    assert_ptr_equal(isola_manifest_type(m, isola_slice_str("Counter_1")), t);
    assert_null(isola_manifest_type(m, isola_slice_str("Counter")));
    assert_null(isola_manifest_type(m, isola_slice_str("")));
    isola_manifest_free(m);
    isola_manifest_free(NULL);
}

static void reads_sizes_and_durations(void **state)
{
    (void)state;
    static const struct {
        const char *heap;
        uint64_t bytes;
        const char *cpu;
        uint64_t ms;
    } rows[] = {
        {"4MB", 4u << 20, "10ms", 10},
        {"16GB", UINT64_C(16) << 30, "1h", 3600000},
        {"5000KB", 5000 << 10, "5m", 300000},
        {"4194304B", 4u << 20, "60m", 3600000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char json[200];
        snprintf(json, sizeof(json),
                 "{\"name\":\"a\",\"actors\":{\"A\":{\"module\":\"a.js\",\"heap\":\"%s\",\"cpu\":"
                 "\"%s\"}}}",
                 rows[i].heap, rows[i].cpu);
        struct isola_manifest *m = parsed(json);
        assert_int_equal(m->types[0].heap, rows[i].bytes);
        assert_int_equal(m->types[0].cpu_ms, rows[i].ms);
        isola_manifest_free(m);
    }
}

static void reads_rollout(void **state)
{
    (void)state;
    struct isola_manifest *m =
        parsed("{\"name\": \"a\", \"actors\": {\"A\": {\"module\": \"a.js\"}}}");
    assert_int_equal(m->rollout.window_ms, 30000);
    assert_int_equal(m->rollout.deadline_ms, 600000);
    assert_int_equal(m->rollout.errors, 500);
    assert_int_equal(m->rollout.min_errors, 5);
    assert_true(m->rollout.rollback);
    isola_manifest_free(m);
    m = parsed(
        "{\"name\": \"a\", \"actors\": {\"A\": {\"module\": \"a.js\"}}, \"rollout\": {\"window\": "
        "\"0ms\", \"deadline\": \"1s\", \"errors\": \"0.5%\", \"minErrors\": 20, \"rollback\": "
        "false}}");
    assert_int_equal(m->rollout.window_ms, 0);
    assert_int_equal(m->rollout.deadline_ms, 1000);
    assert_int_equal(m->rollout.errors, 50);
    assert_int_equal(m->rollout.min_errors, 20);
    assert_false(m->rollout.rollback);
    isola_manifest_free(m);
}

static void reads_permissions(void **state)
{
    (void)state;
    struct isola_manifest *m =
        parsed("{\"name\": \"a\", \"permissions\": {\"net\": [\"API.example.com:443\", \"*\", "
               "\"*.b_c.d-e\", \"127.0.0.1:*\", \"[::1]:8080\", \"*:*\"]}, \"actors\": {\"A\": "
               "{\"module\": \"a.js\"}}}");
    assert_string_equal(m->net, "api.example.com:443\n*\n*.b_c.d-e\n127.0.0.1:*\n[::1]:8080\n*:*");
    isola_manifest_free(m);
    static const char *const wrong[] = {
        "",    ":80",    "a:",   "a:0", "a:080", "a:65536", "a:80 ", "a b",    "*a.b", "a.*.b",
        "**",  "a..b",   ".a",   "a.",  "[::1",  "[]",      "[g]",   "[::1]x", "a/b",  "a\\n*",
        "u@h", "a:*:80", "a:-1", "::1", "*.",    "a:99999", "a:+80", "*:",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char json[300];
        struct isola_err err = {0};
        snprintf(json, sizeof(json),
                 "{\"name\": \"a\", \"permissions\": {\"net\": [\"%s\"]}, \"actors\": {\"A\": "
                 "{\"module\": \"a.js\"}}}",
                 wrong[i]);
        m = NULL;
        assert_int_equal(parse(isola_slice_str(json), &m, &err), ISOLA_EMANIFEST);
        assert_null(m);
        assert_non_null(strstr(err.text, "permissions.net: must be HOST or HOST:PORT"));
    }
    m = parsed("{\"name\": \"a\", \"permissions\": {\"net\": []}, \"actors\": {\"A\": "
               "{\"module\": \"a.js\"}}}");
    assert_null(m->net);
    assert_null(m->env);
    assert_null(m->apps);
    isola_manifest_free(m);
    m = parsed(
        "{\"name\": \"a\", \"permissions\": {\"env\": [\"TZ\", \"_x1\"], \"apps\": [\"mail-2\", "
        "\"*\"], \"secrets\": [\"KEY\", \"_1\"]}, \"actors\": {\"A\": {\"module\": \"a.js\"}}}");
    assert_string_equal(m->env, "TZ\n_x1");
    assert_string_equal(m->apps, "mail-2\n*");
    assert_string_equal(m->secrets[0], "KEY");
    assert_string_equal(m->secrets[1], "_1");
    assert_null(m->secrets[2]);
    assert_ptr_equal(isola_manifest_secrets(m, &m->types[0]), m->secrets);
    isola_manifest_free(m);
}

#define ROLLOUT(what) "{\"name\": \"shop\", \"actors\": {},\n \"rollout\": " what "}"
#define PERMIT(what)  "{\"name\": \"shop\", \"actors\": {},\n \"permissions\": " what "}"
#define TYPE_KEYS                                                                                  \
    "\"module\", \"isolation\", \"reentrant\", \"kind\", \"hibernateAfter\", \"restart\", "        \
    "\"strategy\", \"heap\", \"external\", \"cpu\", \"mailbox\", \"mailboxBytes\", \"message\", "  \
    "\"output\", \"asks\", \"timers\", \"subscriptions\", \"logRate\", \"sqlBytes\""
#define APP(type) "{\"name\": \"shop\",\n \"actors\": {\n  \"Counter\": " type "}}"
#define SERVICE(rest)                                                                              \
    "{\"name\": \"shop\",\n \"actors\": {\n  \"Api\": {\"module\": \"s.js\", \"kind\": "           \
    "\"service\",\n   " rest "}}}"
#define TYPE(rest) APP("{\"module\": \"c.js\",\n   " rest "}")

static const struct {
    const char *json;
    const char *sentence;
} bad[] = {
    /* syntax */
    {"", "isola.json: the file is empty"},
    {" \n\t ", "isola.json: the file is empty"},
    {"{\"name\": \"shop\",}", "isola.json:1:17: not JSON: string or '}' expected near '}'"},
    {"{\"name\": \"shop\"} x", "isola.json:1:18: not JSON: end of file expected near 'x'"},
    {"{\"name\": \"sh\x1b[2Jop\"}",
     "isola.json:1:12: not JSON: control character 0x1b near '\"sh'"},
    {"{\"name\": \"sh\xff\"}", "isola.json:1:12: not JSON: unable to decode byte 0xff near '\"sh'"},
    {"{\"name\": \"a\\u0000\"}", "isola.json:1:18: \\u0000 is not allowed in strings"},
    {"{\"na\\u0000me\": \"a\"}",
     "isola.json:1:13: not JSON: NUL byte in object key not supported near '\"na\\u0000me\"'"},
    {"{\"name\": 99999999999999999999}",
     "isola.json:1:29: not JSON: too big integer near '99999999999999999999'"},
    {"{\"name\": \"shop\",\n \"name\": \"other\"}",
     "isola.json:2:2: the key \"name\" is there twice"},
    {APP("{\"module\": \"a.js\", \"module\": \"b.js\"}"),
     "isola.json:3:33: the key \"module\" is there twice"},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "isola.json:1:33: nested deeper than 32"},
    /* the app */
    {"[1, 2]", "isola.json:1:1: must be an object such as {\"name\": \"my-app\", \"actors\": {…}}, "
               "not [1,2]"},
    {"  5",
     "isola.json:1:3: must be an object such as {\"name\": \"my-app\", \"actors\": {…}}, not 5"},
    {"{\n  \"actors\": {}\n}",
     "isola.json:1:1: \"name\" is missing: the app's name, such as \"my-app\""},
    {"\n{ \"name\": \"shop\" }",
     "isola.json:2:1: \"actors\" is missing: the app's actor types, such as "
     "{\"Counter\": {\"module\": \"./counter.js\"}}; files called NAME.actor.js or .ts need not "
     "be listed"},
    {"{\n  \"nmae\": \"shop\" }",
     "isola.json:2:3: nmae: unknown key, not one of \"$schema\", "
     "\"name\", \"version\", \"actors\", "
     "\"permissions\", \"rollout\", \"routes\"; did you mean \"name\"?"},
    {"{\"name\": \"shop\", \"\\u001b[31m\": 1}",
     "isola.json:1:18: \"\\u001B[31m\": unknown key, not one of \"$schema\", \"name\", "
     "\"version\", \"actors\", "
     "\"permissions\", \"rollout\", \"routes\""},
    {"{\"name\": \"Shop\", \"actors\": {}}",
     "isola.json:1:10: name: must be an app's name (a lower-case letter, then lower-case letters, "
     "digits or \"-\", 64 at the most), not \"Shop\""},
    {"{\"name\": \"s\u00e4\xc2\x9b"
     "b\", \"actors\": {}}",
     "isola.json:1:10: name: must be an app's name (a lower-case letter, then lower-case letters, "
     "digits or \"-\", 64 at the most), not \"s\\u00E4\\u009Bb\""},
    {"{\"name\": \"\", \"actors\": {}}",
     "isola.json:1:10: name: must be an app's name (a lower-case letter, then lower-case letters, "
     "digits or \"-\", 64 at the most), not \"\""},
    {"{\"name\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
     "\"actors\": {}}",
     "isola.json:1:10: name: must be an app's name (a lower-case letter, then lower-case letters, "
     "digits or \"-\", 64 at the most), not "
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"},
    {"{\"name\": null, \"actors\": {}}",
     "isola.json:1:10: name: must be an app's name (a lower-case letter, then lower-case letters, "
     "digits or \"-\", 64 at the most), not null"},
    {"{\"$schema\": 1, \"name\": \"a\", \"actors\": {}}",
     "isola.json:1:13: $schema: must be a string, not 1"},
    {"{\"name\": \"shop\", \"actors\": {},\n \"routes\": []}",
     "isola.json:2:2: routes: routes are not supported by this release"},
    {PERMIT("{\"fs\": []}"), "isola.json:2:18: permissions.fs: isolates have no file system to "
                             "permit: keep what is to stay "
                             "in self.state, and import what belongs to the app"},
    {ROLLOUT("3"), "isola.json:2:13: rollout: must be an object such as {\"window\": \"30s\", "
                   "\"errors\": \"5%\"}, not 3"},
    {ROLLOUT("{\"windows\": \"30s\"}"), "isola.json:2:14: rollout.windows: unknown key, not one of "
                                        "\"window\", \"deadline\", \"errors\", \"minErrors\", "
                                        "\"rollback\"; did you mean \"window\"?"},
    {ROLLOUT("{\"errors\": \"5\"}"), "isola.json:2:24: rollout.errors: must be a part such as "
                                     "\"5%\" or \"0.5%\", from \"0%\" to \"100%\", not \"5\""},
    {ROLLOUT("{\"errors\": \"101%\"}"),
     "isola.json:2:24: rollout.errors: must be a part such as \"5%\" or \"0.5%\", from \"0%\" "
     "to \"100%\", not \"101%\""},
    {ROLLOUT("{\"errors\": \"100.01%\"}"),
     "isola.json:2:24: rollout.errors: must be a part such as \"5%\" or \"0.5%\", from \"0%\" "
     "to \"100%\", not \"100.01%\""},
    {ROLLOUT("{\"errors\": \"1.%\"}"),
     "isola.json:2:24: rollout.errors: must be a part such as \"5%\" or \"0.5%\", from \"0%\" "
     "to \"100%\", not \"1.%\""},
    {ROLLOUT("{\"errors\": \"1.125%\"}"),
     "isola.json:2:24: rollout.errors: must be a part such as \"5%\" or \"0.5%\", from \"0%\" "
     "to \"100%\", not \"1.125%\""},
    {ROLLOUT("{\"window\": \"2h\"}"),
     "isola.json:2:24: rollout.window: must be a duration such as \"30s\" (ms, s, m, h, d), from "
     "\"0ms\" to \"1h\", not \"2h\""},
    {ROLLOUT("{\"minErrors\": 0}"),
     "isola.json:2:27: rollout.minErrors: must be a whole number from 1 to 1000000, not 0"},
    {ROLLOUT("{\"rollback\": \"yes\"}"),
     "isola.json:2:26: rollout.rollback: must be true or false, not \"yes\""},
    {PERMIT("{\"nte\": []}"), "isola.json:2:18: permissions.nte: unknown key, not one of \"net\", "
                              "\"env\", \"apps\", \"secrets\"; did you mean \"net\"?"},
    {PERMIT("{\"secrets\": {}}"),
     "isola.json:2:29: permissions.secrets: must be an array of names such as "
     "[\"DATABASE_URL\"], not {}"},
    {PERMIT("{\"secrets\": [\"A\", \"A\"]}"),
     "isola.json:2:29: permissions.secrets: names \"A\" twice"},
    {PERMIT("{\"secrets\": [\"1A\"]}"),
     "isola.json:2:29: permissions.secrets: names \"1A\", which is not the name of a variable: "
     "letters, digits and \"_\", the first no digit"},
    {PERMIT("{\"env\": [\"A\", \"TZ\"], \"secrets\": [\"T\", \"TZ\"]}"),
     "isola.json:2:49: permissions.secrets: names \"TZ\", which \"env\" names too: leave it out "
     "there, or here"},
    {PERMIT("{\"env\": \"TZ\"}"),
     "isola.json:2:25: permissions.env: must be a list of variables of "
     "the environment such as [\"TZ\"], not \"TZ\""},
    {PERMIT("{\"env\": [\"A\", \"1A\"]}"),
     "isola.json:2:25: permissions.env: must be the name of one "
     "variable of the environment such as \"TZ\", not \"1A\""},
    {PERMIT("{\"env\": [\"*\"]}"), "isola.json:2:25: permissions.env: must be the name of one "
                                   "variable of the environment such as \"TZ\", not \"*\""},
    {PERMIT("{\"env\": [\"A=B\"]}"), "isola.json:2:25: permissions.env: must be the name of one "
                                     "variable of the environment such as \"TZ\", not \"A=B\""},
    {PERMIT("{\"env\": [null]}"), "isola.json:2:25: permissions.env: must be the name of one "
                                  "variable of the environment such as \"TZ\", not null"},
    {PERMIT("{\"apps\": {}}"),
     "isola.json:2:26: permissions.apps: must be a list of apps such as [\"mail\"], not {}"},
    {PERMIT("{\"apps\": [\"Mail\"]}"),
     "isola.json:2:26: permissions.apps: must be an app's name such "
     "as \"mail\", or \"*\" for all, not \"Mail\""},
    {PERMIT("{\"apps\": [\"mail/Box\"]}"),
     "isola.json:2:26: permissions.apps: must be an app's name "
     "such as \"mail\", or \"*\" for all, not \"mail/Box\""},
    {PERMIT("{\"apps\": [\"-a\"]}"),
     "isola.json:2:26: permissions.apps: must be an app's name such "
     "as \"mail\", or \"*\" for all, not \"-a\""},
    {PERMIT("{\"net\": \"*\"}"), "isola.json:2:25: permissions.net: must be a list of hosts such "
                                 "as [\"api.example.com:443\"], not \"*\""},
    {PERMIT("{\"net\": [\"https://x.org\"]}"),
     "isola.json:2:25: permissions.net: must be HOST or HOST:PORT such as \"api.example.com\", "
     "\"*.example.com:8443\" or \"*:*\", not \"https://x.org\"; it is a host, not a URL"},
    {PERMIT("{\"net\": [\"ex\u00e4mple.de\"]}"),
     "isola.json:2:25: permissions.net: must be HOST or HOST:PORT such as \"api.example.com\", "
     "\"*.example.com:8443\" or \"*:*\", not \"ex\u00e4mple.de\"; a name with other letters is "
     "written as URLs have it, \"xn--\u2026\""},
    {"{\"name\": \"shop\", \"version\": 1, \"actors\": {}}",
     "isola.json:1:29: version: must be a version such as \"1.4.0\": printable ASCII, 100 "
     "characters "
     "at the most, not 1"},
    {"{\"name\": \"shop\", \"version\": \"\", \"actors\": {}}",
     "isola.json:1:29: version: must be a version such as \"1.4.0\": printable ASCII, 100 "
     "characters "
     "at the most, not \"\""},
    {"{\"name\": \"shop\", \"version\": \"1.0-\u00e4\", \"actors\": {}}",
     "isola.json:1:29: version: must be a version such as \"1.4.0\": printable ASCII, 100 "
     "characters "
     "at the most, not \"1.0-\u00e4\""},
    {"{\"name\": \"shop\", \"actors\": {},\n \"permissions\": true}",
     "isola.json:2:17: permissions: must be an object, not true"},
    {"{\"name\": \"shop\", \"actors\": []}", "isola.json:1:28: actors: must be an object of actor "
                                             "types such as {\"Counter\": {…}}, not []"},
    {"{\"name\": \"shop\", \"actors\": {}}", "isola.json:1:28: actors: names no actor type"},
    /* a type */
    {"{\"name\": \"shop\", \"actors\": {\"9x\": {}}}",
     "isola.json:1:29: actors.9x: not a valid type name: a letter, then letters, digits or \"_\", "
     "64 at the most"},
    {"{\"name\": \"shop\", \"actors\": {\"a/b\": {}}}",
     "isola.json:1:29: actors.\"a/b\": not a valid type name: a letter, then letters, digits or "
     "\"_\", 64 at the most"},
    {"{\"name\": \"shop\", \"actors\": {\"\": {}}}",
     "isola.json:1:29: actors.\"\": not a valid type name: a letter, then letters, digits or "
     "\"_\", 64 at the most"},
    {APP("\"./c.js\""),
     "isola.json:3:14: actors.Counter: must be an object such as {\"module\": \"./counter.js\"}, "
     "not \"./c.js\""},
    {APP("{}"), "isola.json:3:14: actors.Counter: \"module\" is missing: the file of the actor, "
                "such as \"./counter.js\""},
    {TYPE("\"isolatoin\": 1"),
     "isola.json:4:4: actors.Counter.isolatoin: unknown key, not one of " TYPE_KEYS "; "
     "did you mean \"isolation\"?"},
    {TYPE("\"quux\": 1"),
     "isola.json:4:4: actors.Counter.quux: unknown key, not one of " TYPE_KEYS},
    {SERVICE("\"heap\": \"64MB\""),
     "isola.json:4:4: actors.Api.heap: unknown key, not one of "
     "\"module\", \"isolation\", \"kind\", "
     "\"args\", \"env\", \"envFile\", \"nodeArgs\", \"instances\", "
     "\"port\", \"restart\", \"logRate\", "
     "\"stopTimeout\", \"startTimeout\", \"health\", \"sandbox\", \"sticky\", "
     "\"memory\", \"cpus\", \"secrets\""},
    {SERVICE("\"isolation\": \"shared\""),
     "isola.json:4:17: actors.Api.isolation: a service runs in a process of its own: leave this "
     "out, or say \"process\"; not shared"},
    {SERVICE("\"labels\": {}"), "isola.json:4:4: actors.Api.labels: not supported by this release"},
    {SERVICE("\"memory\": \"63MB\""),
     "isola.json:4:14: actors.Api.memory: must be a size such as \"64MB\" (B, KB, MB, GB), from "
     "\"64MB\" to \"1024GB\", not \"63MB\""},
    {SERVICE("\"cpus\": 0"), "isola.json:4:12: actors.Api.cpus: must be a number of processors "
                             "from 0.01 to 1024, such as 0.5 or 2, not 0"},
    {SERVICE("\"cpus\": \"1\""), "isola.json:4:12: actors.Api.cpus: must be a number of processors "
                                 "from 0.01 to 1024, such as 0.5 or 2, not \"1\""},
    {SERVICE("\"sticky\": true"),
     "isola.json:4:14: actors.Api.sticky: is about the clients of a port: give it a \"port\""},
    {SERVICE("\"port\": 80, \"sticky\": \"ip\""),
     "isola.json:4:26: actors.Api.sticky: must be true or false, not \"ip\""},
    {SERVICE("\"sandbox\": 1"),
     "isola.json:4:15: actors.Api.sandbox: must be true or false, not 1"},
    {SERVICE("\"health\": {\"path\": \"/\"}"),
     "isola.json:4:14: actors.Api.health: is asked on the program's port: give it a \"port\""},
    {SERVICE("\"port\": 1, \"health\": {}"),
     "isola.json:4:25: actors.Api.health: \"path\" is missing: what "
     "is asked, such as \"/healthz\""},
    {SERVICE("\"port\": 1, \"health\": {\"path\": \"/a b\"}"),
     "isola.json:4:34: actors.Api.health.path: must be a path such as \"/healthz\", not \"/a b\""},
    {SERVICE("\"port\": 1, \"health\": {\"path\": \"/\", \"failures\": 0}"),
     "isola.json:4:51: actors.Api.health.failures: must be a whole number from 1 to 1000, not 0"},
    {SERVICE("\"instances\": 0"),
     "isola.json:4:17: actors.Api.instances: must be a whole number from 1 to 1024, not 0"},
    {SERVICE("\"instances\": \"all\""),
     "isola.json:4:17: actors.Api.instances: must be a whole number from 1 to 1024, or \"cpus\", "
     "not \"all\""},
    {SERVICE("\"port\": 65536"),
     "isola.json:4:12: actors.Api.port: must be a whole number from 1 to 65535, not 65536"},
    {SERVICE("\"args\": [1]"),
     "isola.json:4:12: actors.Api.args: must be an array of strings such as [\"--verbose\"], not "
     "[1]"},
    {SERVICE("\"env\": {\"A B\": \"\"}"),
     "isola.json:4:12: actors.Api.env.\"A B\": not the name of a variable: letters, digits and "
     "\"_\", the first no digit"},
    {SERVICE("\"env\": {\"PORT\": \"1\"}"),
     "isola.json:4:12: actors.Api.env.PORT: is set by Isola, from \"port\""},
    {SERVICE("\"env\": {\"NODE_OPTIONS\": \"-r x\"}"),
     "isola.json:4:12: actors.Api.env.NODE_OPTIONS: cannot be set: options of Node.js belong into "
     "\"nodeArgs\""},
    {SERVICE("\"env\": {\"A\": 1}"), "isola.json:4:17: actors.Api.env.A: must be a string, not 1"},
    {SERVICE("\"secrets\": \"A\""),
     "isola.json:4:15: actors.Api.secrets: must be an array of names such as [\"DATABASE_URL\"], "
     "not \"A\""},
    {SERVICE("\"secrets\": [\"A\", 1]"),
     "isola.json:4:15: actors.Api.secrets: must be an array of names such as [\"DATABASE_URL\"], "
     "not [\"A\",1]"},
    {SERVICE("\"secrets\": [\"1A\"]"),
     "isola.json:4:15: actors.Api.secrets: names \"1A\", which is not the name of a variable: "
     "letters, digits and \"_\", the first no digit"},
    {SERVICE("\"secrets\": [\"PORT\"]"),
     "isola.json:4:15: actors.Api.secrets: names \"PORT\", which "
     "is a variable that is set by Isola, from \"port\""},
    {SERVICE("\"secrets\": [\"A\", \"A\"]"),
     "isola.json:4:15: actors.Api.secrets: names \"A\" twice"},
    {SERVICE("\"env\": {\"AB\": \"\", \"A\": \"\"}, \"secrets\": [\"A\"]"),
     "isola.json:4:43: actors.Api.secrets: names \"A\", which \"env\" sets: leave it out there, or "
     "here"},
    {SERVICE("\"envFile\": \"../.env\""),
     "isola.json:4:15: actors.Api.envFile: \"../.env\" leads out of the app's directory"},
    {SERVICE("\"nodeArgs\": [\"--import=/tmp/x.js\"]"),
     "isola.json:4:16: actors.Api.nodeArgs: --import takes a file of the app, as in "
     "\"--import=./setup.js\", or a package, as in \"--import=tsx\""},
    {SERVICE("\"nodeArgs\": [\"--import=data:text/javascript,1\"]"),
     "isola.json:4:16: actors.Api.nodeArgs: --import takes a file of the app, as in "
     "\"--import=./setup.js\", or a package, as in \"--import=tsx\""},
    {SERVICE("\"nodeArgs\": [\"--require=tsx/../../x\"]"),
     "isola.json:4:16: actors.Api.nodeArgs: --require takes a file of the app, as in "
     "\"--require=./setup.js\", or a package, as in \"--require=tsx\""},
    {SERVICE("\"nodeArgs\": [\"--require=./../x.js\"]"),
     "isola.json:4:16: actors.Api.nodeArgs: \"./../x.js\" leads out of the app's directory"},
    {SERVICE("\"nodeArgs\": [\"--max-old-space-size\"]"),
     "isola.json:4:16: actors.Api.nodeArgs: --max-old-space-size takes a number, as in "
     "\"--max-old-space-size=512\""},
    {SERVICE("\"nodeArgs\": [\"--expose-gc=1\"]"),
     "isola.json:4:16: actors.Api.nodeArgs: --expose-gc takes no value"},
    {SERVICE("\"stopTimeout\": 5"),
     "isola.json:4:19: actors.Api.stopTimeout: must be a duration such as \"30s\" (ms, s, m, h, "
     "d), from \"0ms\" to \"1h\", not 5"},
    {TYPE("\"instances\": 2"),
     "isola.json:4:4: actors.Counter.instances: is for services: say \"kind\": \"service\" too, if "
     "this is a program"},
    {TYPE("\"isolation\": \"isolatd\""),
     "isola.json:4:17: actors.Counter.isolation: \"isolatd\" is not one of \"isolate\", "
     "\"shared\", \"process\"; did you mean \"isolate\"?"},
    {TYPE("\"isolation\": \"Shared\""),
     "isola.json:4:17: actors.Counter.isolation: \"Shared\" is not one of \"isolate\", "
     "\"shared\", \"process\"; did you mean \"shared\"?"},
    {TYPE("\"isolation\": true"), "isola.json:4:17: actors.Counter.isolation: true is not one of "
                                  "\"isolate\", \"shared\", \"process\""},
    {TYPE("\"is\\u006flation\": 1"), "isola.json:4:22: actors.Counter.isolation: 1 is not one of "
                                     "\"isolate\", \"shared\", \"process\""},
    {TYPE("\"kind\": \"pool\""),
     "isola.json:4:12: actors.Counter.kind: \"pool\" is not supported by this release"},
    {TYPE("\"kind\": \"thing\""),
     "isola.json:4:12: actors.Counter.kind: \"thing\" is not one of \"actor\", \"service\""},
    {TYPE("\"reentrant\": \"yes\""),
     "isola.json:4:17: actors.Counter.reentrant: must be true or false, not \"yes\""},
    {TYPE("\"mailbox\": 0"), "isola.json:4:15: actors.Counter.mailbox: must be a whole number from "
                             "1 to 1000000, not 0"},
    {TYPE("\"mailbox\": 1.5"), "isola.json:4:15: actors.Counter.mailbox: must be a whole number "
                               "from 1 to 1000000, not 1.5"},
    {TYPE("\"mailbox\": 4294967297"),
     "isola.json:4:15: actors.Counter.mailbox: must be a whole number from 1 to 1000000, not "
     "4294967297"},
    {TYPE("\"heap\": 64"), "isola.json:4:12: actors.Counter.heap: must be a size such as \"64MB\" "
                           "(B, KB, MB, GB), from \"4MB\" to \"16GB\", not 64"},
    {TYPE("\"heap\": \"64 MB\""),
     "isola.json:4:12: actors.Counter.heap: must be a size such as \"64MB\" "
     "(B, KB, MB, GB), from \"4MB\" to \"16GB\", not \"64 MB\""},
    {TYPE("\"heap\": \"1MB\""),
     "isola.json:4:12: actors.Counter.heap: must be a size such as \"64MB\" "
     "(B, KB, MB, GB), from \"4MB\" to \"16GB\", not \"1MB\""},
    {TYPE("\"heap\": \"99999999999999999999GB\""),
     "isola.json:4:12: actors.Counter.heap: must be a size such as \"64MB\" "
     "(B, KB, MB, GB), from \"4MB\" to \"16GB\", not \"99999999999999999999GB\""},
    {TYPE("\"external\": \"1KB\""),
     "isola.json:4:16: actors.Counter.external: must be a size such as \"64MB\" "
     "(B, KB, MB, GB), from \"1MB\" to \"64GB\", not \"1KB\""},
    {TYPE("\"timers\": 0"),
     "isola.json:4:14: actors.Counter.timers: must be a whole number from 1 to 1000000, not 0"},
    {TYPE("\"message\": \"2GB\""),
     "isola.json:4:15: actors.Counter.message: must be a size such as \"64MB\" "
     "(B, KB, MB, GB), from \"1KB\" to \"1GB\", not \"2GB\""},
    {TYPE("\"logRate\": \"many\""), "isola.json:4:15: actors.Counter.logRate: must be a whole "
                                    "number from 1 to 1000000, not \"many\""},
    {TYPE("\"cpu\": \"MB\""),
     "isola.json:4:11: actors.Counter.cpu: must be a duration such as \"30s\" (ms, s, m, h, d), "
     "from \"10ms\" to \"1h\", not \"MB\""},
    {TYPE("\"hibernateAfter\": \"-5s\""),
     "isola.json:4:22: actors.Counter.hibernateAfter: must be a duration such as \"30s\" (ms, s, "
     "m, h, d), from \"1ms\" to \"30d\", not \"-5s\""},
    {TYPE("\"hibernateAfter\": \"0s\""),
     "isola.json:4:22: actors.Counter.hibernateAfter: must be a duration such as \"30s\" (ms, s, "
     "m, h, d), from \"1ms\" to \"30d\", not \"0s\""},
    {TYPE("\"hibernateAfter\": \"Never\""),
     "isola.json:4:22: actors.Counter.hibernateAfter: must be a duration such as \"30s\" (ms, s, "
     "m, h, d), from \"1ms\" to \"30d\", not \"Never\""},
    {TYPE("\"restart\": 5"),
     "isola.json:4:15: actors.Counter.restart: must be an object such as {\"max\": 5, \"within\": "
     "\"10s\"}, not 5"},
    {TYPE("\"restart\": {\"most\": 5}"),
     "isola.json:4:16: actors.Counter.restart.most: unknown key, not one of \"max\", \"within\", "
     "\"backoff\", \"maxBackoff\""},
    {TYPE("\"restart\": {\"max\": 1001}"),
     "isola.json:4:23: actors.Counter.restart.max: must be a whole number from 0 to 1000, not "
     "1001"},
    {TYPE("\"restart\": {\"within\": \"0s\"}"),
     "isola.json:4:26: actors.Counter.restart.within: must be a duration such as \"30s\" (ms, s, "
     "m, h, d), from \"1ms\" to \"30d\", not \"0s\""},
    {TYPE("\"strategy\": \"one_for_most\""),
     "isola.json:4:16: actors.Counter.strategy: \"one_for_most\" is not one of \"one_for_one\", "
     "\"one_for_all\", \"rest_for_one\", \"escalate\"; did you mean \"one_for_one\"?"},
    /* modules */
    {APP("{\"module\": 5}"), "isola.json:3:25: actors.Counter.module: must be the path of a file "
                             "such as \"./counter.js\", not 5"},
    {APP("{\"module\": \"\"}"), "isola.json:3:25: actors.Counter.module: must be the path of a "
                                "file such as \"./counter.js\", not \"\""},
    {APP("{\"module\": \"./\"}"), "isola.json:3:25: actors.Counter.module: must be the path of a "
                                  "file such as \"./counter.js\", not \"./\""},
    {APP("{\"module\": \"lib/\"}"), "isola.json:3:25: actors.Counter.module: must be the path of a "
                                    "file such as \"./counter.js\", not \"lib/\""},
    {APP("{\"module\": \"/etc/passwd\"}"),
     "isola.json:3:25: actors.Counter.module: must be a path relative to the app's directory, such "
     "as \"./counter.js\", not \"/etc/passwd\""},
    {APP("{\"module\": \"../counter.js\"}"),
     "isola.json:3:25: actors.Counter.module: \"../counter.js\" leads out of the app's directory"},
    {APP("{\"module\": \"a/../../shop/c.js\"}"),
     "isola.json:3:25: actors.Counter.module: \"a/../../shop/c.js\" leads out of the app's "
     "directory"},
    {APP("{\"module\": \"a\\nb.js\"}"), "isola.json:3:25: actors.Counter.module: must be a path "
                                        "without control characters, not \"a\\nb.js\""},
    /* columns count characters, not bytes */
    {"{\"$schema\": \"\u00fc\u20ac\U0001f600\", \"name\": 1, \"actors\": {}}",
     "isola.json:1:28: name: must be an app's name (a lower-case letter, then lower-case letters, "
     "digits or \"-\", 64 at the most), not 1"},
};

static void says_what_is_wrong(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct isola_manifest *m = NULL;
        struct isola_err err = {0};
        int code = parse(isola_slice_str(bad[i].json), &m, &err);
        if (code != ISOLA_EMANIFEST || err.code != code || strcmp(err.text, bad[i].sentence) != 0) {
            print_error("%s\n  gives    %d %s\n  expected %s\n", bad[i].json, code, err.text,
                        bad[i].sentence);
            wrong++;
        }
        assert_null(m);
        assert_int_equal(parse(isola_slice_str(bad[i].json), &m, NULL),
                         ISOLA_EMANIFEST); /* nobody has to want the sentence */
    }
    assert_int_equal(wrong, 0);
}

static void bounds_size_and_count(void **state)
{
    (void)state;
    struct isola_manifest *m = NULL;
    struct isola_err err = {0};
    struct isola_buf b = {0};
    isola_buf_puts(&b, "{\"name\":\"a\",\"actors\":{");
    for (int i = 0; i < ISOLA_MANIFEST_TYPES; i++)
        isola_buf_printf(&b, "%s\"T%d\":{\"module\":\"a.js\"}", i ? "," : "", i);
    size_t fits = b.len;
    isola_buf_puts(&b, "}}");
    assert_int_equal(parse(isola_buf_slice(&b), &m, &err), 0);
    assert_int_equal(m->ntypes, ISOLA_MANIFEST_TYPES);
    isola_manifest_free(m);
    b.len = fits;
    isola_buf_puts(&b, ",\"One\":{\"module\":\"a.js\"}}}");
    assert_int_equal(parse(isola_buf_slice(&b), &m, &err), ISOLA_EMANIFEST);
    assert_string_equal(err.text, "isola.json:1:22: actors: has 1001 types; 1000 at the most");
    memset(isola_buf_extend(&b, ISOLA_MANIFEST_MAX), ' ', ISOLA_MANIFEST_MAX);
    assert_int_equal(parse(isola_buf_slice(&b), &m, &err), ISOLA_EMANIFEST);
    assert_string_equal(err.text, "isola.json has more than 1 MiB, the most a manifest may have");
    isola_buf_free(&b);
}

/* Every cut of a good manifest is refused, nothing reads past the end. */
static void survives_truncation_and_damage(void **state)
{
    (void)state;
    static const char good[] =
        TYPE("\"isolation\": \"shared\", \"heap\": \"64MB\", \"cpu\": \"1s\"");
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        struct isola_manifest *m = NULL;
        struct isola_err err = {0};
        uint8_t *exact = malloc(n + 1);
        memcpy(exact, good, n);
        exact = realloc(exact, n ? n : 1);
        assert_int_equal(parse(isola_slice(exact, n), &m, &err), ISOLA_EMANIFEST);
        for (int c = 0; c < 256; c += 3) {
            memcpy(exact, good, n);
            if (n > 0)
                exact[n / 2] = (uint8_t)c;
            (void)!parse(isola_slice(exact, n), &m, &err);
        }
        free(exact);
    }
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        for (int c = 0; c < 256; c++) {
            struct isola_manifest *m = NULL;
            struct isola_err err = {0};
            char copy[sizeof(good)];
            memcpy(copy, good, sizeof(good));
            copy[n] = (char)c;
            int code = parse(isola_slice(copy, sizeof(good) - 1), &m, &err);
            assert_true(code == 0 || (code == ISOLA_EMANIFEST && err.text[0] != '\0'));
            for (const char *p = err.text; *p != '\0'; p++)
                assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
            isola_manifest_free(m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_there_is),
        cmocka_unit_test(reads_services),
        cmocka_unit_test(reads_how_actors_live),
        cmocka_unit_test(reads_sizes_and_durations),
        cmocka_unit_test(reads_rollout),
        cmocka_unit_test(reads_permissions),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(bounds_size_and_count),
        cmocka_unit_test(survives_truncation_and_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
