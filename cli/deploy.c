/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl deploy DIR`: read the manifest, bundle, send. Nothing is sent before everything is right
 * here; whether the cluster takes it is the agent's to say, all of it or nothing.
 */
#include "cli/deploy.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/bundle.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/code_frame.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/npm.h"
#include "cli/progress.h"
#include "cli/rollout.h"
#include "cli/table.h"
#include "cli/text.h"
#include "transport/link.h"

/* The actor-host loads each module before the agents agree. */
#define DEPLOY_MS 120000u
/* The same, and nodes pull files from each other before. */
#define FILES_MS 900000u
/* Of a frame, for the envelope around the release. */
#define ENVELOPE_ROOM 4096u

/* "user@host", as far as this machine says so. */
static char *who(void)
{
    const struct passwd *user = getpwuid(getuid());
    char host[65] = "";
    if (gethostname(host, sizeof(host) - 1) != 0)
        host[0] = '\0';
    char *name = user != NULL ? isola_strdup(user->pw_name)
                              : isola_format("user %lu", (unsigned long)getuid());
    char *whole = isola_format("%.100s@%s", name, *host != '\0' ? host : "?");
    free(name);
    return whole;
}

int isola__deploy_note(struct isola__cli *cli, struct isola_release *r, struct isola_err *err)
{
    const char *message = cli->options.message != NULL ? cli->options.message : "";
    if (!isola_release_text_ok(isola_slice_str(message), ISOLA_RELEASE_MESSAGE_MAX))
        return isola_fail(err, ISOLA_EINVAL,
                          "the message must be UTF-8 and have %d bytes at the most",
                          ISOLA_RELEASE_MESSAGE_MAX);
    r->by = who();
    r->message = isola_strdup(message);
    return 0;
}

/* The release as `deploy` takes it. */
static int encode(struct isola__cli *cli, const struct isola_manifest *m,
                  const struct isola_buf *text, const struct isola__bundles *bundles, char *link,
                  const struct isola__files *files, struct isola_buf *out, struct isola_err *err)
{
    struct isola_release release = {.app = m->name,
                                    .manifest = isola_buf_slice(text),
                                    .nbundles = bundles->n,
                                    .bundles = bundles->bundles,
                                    .link = link,
                                    .share = cli->options.share,
                                    .files = isola_buf_slice(&files->bytes)};
    int rc = isola__deploy_note(cli, &release, err);
    if (rc != 0)
        return rc;
    isola_release_identify(&release);
    if ((rc = isola__deploy_sign(&release, err)) != 0) {
        free(release.by);
        free(release.message);
        return rc;
    }
    isola_release_encode(&release, out);
    free(release.by);
    free(release.message);
    if (out->failed)
        return isola_fail(err, ISOLA_ENOMEM, "out of memory for the release");
    if (out->len > ISOLA_FRAME_MAX - ENVELOPE_ROOM)
        return isola_fail(err, ISOLA_ETOOBIG,
                          "the bundles, source maps and lists of files of %s have %.1f MB "
                          "together; a deploy may have %u MB",
                          m->name, (double)out->len / (1 << 20), ISOLA_FRAME_MAX >> 20);
    return 0;
}

static void list(struct isola_buf *out, const char *title, const json_t *names, const char *note)
{
    size_t i;
    const json_t *name;
    isola_buf_puts(out, title);
    json_array_foreach(names, i, name)
    {
        isola_buf_puts(out, i > 0 ? ", " : "");
        isola__text_clean(out, isola__text_of(name));
    }
    isola_buf_puts(out, note);
    isola_buf_puts(out, "\n");
}

#define INSTANCES_MAX 12 /* that are named */

void isola__deploy_instances(const json_t *result, const char *title, struct isola_buf *out)
{
    const json_t *all = json_object_get(result, "instances");
    size_t n = json_array_size(all), named = n < INSTANCES_MAX ? n : INSTANCES_MAX;
    for (size_t i = 0; i < named; i++) {
        const json_t *one = json_array_get(all, i), *next = json_array_get(all, i + 1);
        const json_t *node = json_object_get(one, "node");
        isola_buf_puts(out, i == 0 ? title : ", ");
        isola__text_clean(out, isola__text_of(json_object_get(one, "address")));
        if (i + 1 < named && json_equal(node, json_object_get(next, "node")))
            continue;
        isola_buf_puts(out, " on ");
        isola__text_clean(out, isola__text_of(node));
    }
    if (n > named)
        isola_buf_printf(out, ", and %zu more (--json has them)", n - named);
    if (n > 0)
        isola_buf_puts(out, "\n");
}

void isola__deploy_nodes(const json_t *result, struct isola_buf *out)
{
    const json_t *later = json_object_get(result, "later");
    list(out, "  nodes  ", json_object_get(result, "nodes"), "");
    if (json_array_size(later) > 0)
        list(out, "  later  ", later, " (not there now; gets the release when it is back)");
}

/* What went where, of an app with files. */
static void print_files(const struct isola__files *files, const struct isola__files_sent *sent,
                        struct isola_buf *out)
{
    char bytes[ISOLA__HUMAN_SIZE];
    isola_buf_printf(out, "  files  %zu", files->tree.n);
    isola__human_bytes(sent->bytes, bytes);
    if (sent->pieces == 0)
        isola_buf_puts(out, ", none of them sent: all are there\n");
    else
        isola_buf_printf(out, ", of which %zu %s sent: %s\n", sent->files,
                         sent->files == 1 ? "was" : "were", bytes);
}

/* Which files of variables are not in it, and how the program gets what they say. */
static void print_variables(const struct isola__files *files, struct isola_slice app,
                            struct isola_buf *out)
{
    struct isola_slice first = isola__text_of(json_array_get(files->variables, 0));
    list(out, "  apart  ", files->variables, "");
    isola_buf_puts(out, "         not sent, as secrets may be in it: ");
    isola_buf_puts(out, "\"envFile\": \"./");
    isola__text_clean(out, first);
    isola_buf_puts(out, "\" in the manifest sends it,\n         'ctl secret import ");
    isola__text_clean(out, app);
    isola_buf_puts(out, " ");
    isola__text_clean(out, first);
    isola_buf_puts(out, "' keeps what it says sealed, for \"secrets\" to name\n");
}

static void print_result(struct isola__cli *cli, json_t *result, const struct isola__files *files,
                         const struct isola__files_sent *sent, uint64_t ms)
{
    if (files->tree.n > 0)
        json_object_set_new(result, "files",
                            json_pack("{s:I, s:I, s:I}", "all", (json_int_t)files->tree.n, "sent",
                                      (json_int_t)sent->files, "bytes", (json_int_t)sent->bytes));
    if (json_array_size(files->variables) > 0)
        json_object_set(result, "apart", files->variables);
    if (cli->options.json) {
        json_object_set_new(result, "ms", json_integer((json_int_t)ms));
        isola__out_json(cli, result, false);
        return;
    }
    struct isola_buf out = {0};
    struct isola_slice app = isola__text_of(json_object_get(result, "app"));
    bool unchanged = json_is_true(json_object_get(result, "unchanged"));
    if (!unchanged)
        isola_buf_puts(&out, "deployed ");
    isola__text_clean(&out, app);
    isola_buf_puts(&out, unchanged ? " is unchanged: release " : ", release ");
    isola__text_clean(&out, isola__text_of(json_object_get(result, "release")));
    if (cli->options.share > 0)
        isola_buf_printf(&out, ", is a canary for %g%%", cli->options.share / 1e4);
    isola_buf_printf(&out, " (%" PRIu64 " ms)\n", ms);
    list(&out, "  types  ", json_object_get(result, "types"), "");
    isola__deploy_nodes(result, &out);
    isola__deploy_instances(result, "  canary ", &out);
    if (files->tree.n > 0)
        print_files(files, sent, &out);
    if (!unchanged && json_array_size(files->variables) > 0)
        print_variables(files, app, &out);
    if (files->tree.n > 0 && !unchanged && !cli->options.wait && cli->options.share == 0) {
        isola_buf_puts(&out, "  next   'ctl ps ");
        isola__text_clean(&out, app);
        isola_buf_puts(&out, "' shows how its services begin; 'ctl deploy --wait' says "
                             "whether they stay\n");
    }
    if (json_array_size(json_object_get(result, "resting")) > 0) {
        list(&out, "  down   ", json_object_get(result, "resting"), "");
        isola_buf_puts(&out, "         stopped, or crashed too often; as nothing has changed that "
                             "stays so: 'ctl restart ADDRESS' starts one\n");
    }
    isola__rollout_line(result, &out);
    struct isola_slice unwatched = isola__text_of(json_object_get(result, "unwatched"));
    if (unwatched.len > 0) {
        isola_buf_puts(&out, "  watch  release ");
        isola__text_clean(&out, unwatched);
        isola_buf_puts(&out, " is current since a moment ago and was watched still: while it has "
                             "a canary it is not gone back from, whatever it does\n");
    }
    if (cli->options.share > 0) {
        isola_buf_puts(&out, "  next   'ctl promote ");
        isola__text_clean(&out, app);
        isola_buf_puts(&out, "' makes it current, 'ctl rollback ");
        isola__text_clean(&out, app);
        isola_buf_puts(&out, "' drops it\n");
    }
    if (json_array_size(json_object_get(result, "dropped")) > 0) {
        list(&out, "  gone   ", json_object_get(result, "dropped"), "");
        isola_buf_puts(&out, "  none of the types that it had before is left: an app of its own "
                             "wants a name of its own; 'ctl rollback ");
        isola__text_clean(&out, app);
        isola_buf_puts(&out, "' goes back, and what actors kept is as it was\n");
    }
    if (json_is_false(json_object_get(result, "restricted")))
        isola_buf_puts(&out, "  anyone who reaches an agent may deploy; 'ctl trust add NAME' "
                             "restricts it to who signs\n");
    isola__out(cli, &out);
}

/* Bundles; when that fails and no packages are installed, once more with those that npm fetches. */
static int bundle(const char *dir, const struct isola_manifest *m, struct isola__npm *npm,
                  struct isola__bundles *out, struct isola_err *err)
{
    struct isola__places places;
    struct isola_err why;
    int code = isola__bundle(dir, m, out, err);
    if (code != ISOLA_EMODULE)
        return code;
    int rc = isola__places_find(dir, &places, &why);
    bool all = places.n > 0;
    isola__places_free(&places);
    if (rc == 0 && all)
        return code;
    if (rc != 0 || isola__npm(dir, npm, &why) != 0) {
        *err = why;
        return why.code;
    }
    if (npm->modules == NULL)
        return code;
    char *path = isola_format("%s/node_modules", npm->modules);
    setenv("NODE_PATH", path, 1); /* where esbuild looks for what is not in the app */
    free(path);
    return isola__bundle(dir, m, out, err);
}

/* What services run: the app's files, and the packages they need. */
static int collect_files(const char *dir, const struct isola_manifest *m, struct isola__npm *npm,
                         struct isola__files *out, struct isola_err *err)
{
    struct isola__places places = {0};
    int code = npm->modules == NULL ? isola__places_find(dir, &places, err) : 0;
    if (code == 0 && places.n == 0 && npm->modules == NULL) {
        code = isola__npm(dir, npm, err);
        if (code == 0 && npm->modules == NULL)
            code = isola__npm_check(dir, err);
    }
    if (code == 0)
        code = isola__files_collect(dir, npm->modules, m, &places, out, err);
    isola__places_free(&places);
    return code;
}

/* What a module threw when it was loaded: the code around. */
static void show_code(struct isola__cli *cli, const struct isola_msg *answer, const char *dir,
                      const char *app)
{
    struct isola_slice value;
    struct isola_mp_error e;
    struct isola_buf frame = {0};
    if (cli->options.json || answer->kind != ISOLA_MSG_FAIL ||
        !isola_mp_at(answer->args, 0, &value) || !isola_mp_read_error(value, &e) ||
        e.code != ISOLA_EMODULE)
        return;
    isola__code_frame(dir, app, e.message, &frame);
    if (frame.len > 0 && !frame.failed)
        fwrite(frame.data, 1, frame.len, stderr);
    isola_buf_free(&frame);
}

static void say_sent(void *arg, const struct isola__files_sent *sent)
{
    char done[ISOLA__HUMAN_SIZE], all[ISOLA__HUMAN_SIZE];
    isola__human_bytes(sent->bytes, done);
    isola__human_bytes(sent->of_bytes, all);
    isola__progress_say(arg, "sent %zu of %zu files, %s of %s", sent->files, sent->of_files, done,
                        all);
}

static bool lacks_pieces(const struct isola_msg *answer)
{
    struct isola_slice value;
    struct isola_mp_error e;
    return answer->kind == ISOLA_MSG_FAIL && isola_mp_at(answer->args, 0, &value) &&
           isola_mp_read_error(value, &e) && e.code == ISOLA_ENOENT;
}

static void say_stage(struct isola__progress *p, struct isola_slice value)
{
    struct isola_slice stage;
    uint64_t nodes, of;
    if (!isola_mp_find_str(value, "stage", &stage) || !isola_mp_find_uint(value, "nodes", &nodes) ||
        !isola_mp_find_uint(value, "of", &of))
        return;
    if (of > 0 && isola_slice_is(stage, "commit")) /* the node itself is one */
        isola__progress_say(p, "current on %" PRIu64 " of %" PRIu64 " nodes", nodes, of);
    else if (of > 0)
        isola__progress_say(p, "prepared on %" PRIu64 " of %" PRIu64 " other nodes", nodes, of);
    else if (isola_slice_is(stage, "start"))
        isola__progress_say(p, "the node is still starting");
    else if (isola_slice_is(stage, "wait"))
        isola__progress_say(p, "another deploy goes first");
    else
        isola__progress_say(p, "%s",
                            isola_slice_is(stage, "files") ? "the node unpacks its files"
                                                           : "the node loads its modules");
}

/* The agent's answer to the release. */
static int ask_deploy(struct isola__cli *cli, struct isola__client *client, const char *app,
                      struct isola_slice release, uint32_t ms, struct isola__progress *progress,
                      struct isola_msg **answer, struct isola_err *err)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", app);
    /* Agents that know no canaries refuse the one, and would take the other for all of the app. */
    const char *method = cli->options.share > 0 ? "canary" : "deploy";
    int code = isola__client_begin(client, method, release, ms, err);
    if (code == 0)
        code = isola__progress_wait(progress, cli, client, ms, "deploying",
                                    isola_buf_slice(&params), say_stage, answer, err);
    isola_buf_free(&params);
    return code;
}

/* Deploys; what it lacks of the files the agent gets when it says so. NULL: it failed, and that has
 * been told. Frees the release. */
static json_t *send_release(struct isola__cli *cli, const char *dir, const char *app,
                            struct isola_buf *release, const struct isola__files *files,
                            struct isola__files_sent *sent)
{
    struct isola__client *client = NULL;
    struct isola_msg *answer = NULL;
    struct isola__progress progress;
    struct isola_err err;
    isola__progress_begin(&progress, cli);
    uint32_t ms = isola__wait_ms(cli, files->tree.n > 0 ? FILES_MS : DEPLOY_MS);
    int code = isola__client_open(cli->socket, &client, &err);
    if (code == 0)
        code = ask_deploy(cli, client, app, isola_buf_slice(release), ms, &progress, &answer, &err);
    if (code == 0 && files->tree.n > 0 && lacks_pieces(answer)) {
        free(answer);
        answer = NULL;
        code = isola__files_send(files, client, sent, say_sent, &progress, &err);
        if (code == 0)
            code = ask_deploy(cli, client, app, isola_buf_slice(release), ms, &progress, &answer,
                              &err);
    }
    isola__progress_clear(&progress);
    if (code != 0)
        isola__fail(cli, &err);
    json_t *result = code == 0 ? isola__result(cli, answer, NULL) : NULL;
    if (code == 0 && result == NULL)
        show_code(cli, answer, dir, app);
    if (client != NULL)
        isola__client_close(client);
    free(answer);
    isola_buf_free(release);
    return result;
}

void isola__run_deploy(struct isola__cli *cli)
{
    const char *dir = cli->options.operands[0];
    struct isola_manifest *manifest = NULL;
    struct isola_buf text = {0}, release = {0};
    struct isola__bundles bundles = {0};
    struct isola__npm npm = {0};
    struct isola__files files = {0};
    struct isola__files_sent sent = {0};
    struct isola_err err;
    struct stat st;
    uint64_t start = isola_clock_ms();
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        isola_fail(&err, ISOLA_ENOENT,
                   "%.300s is not a directory; 'ctl deploy' takes an app's directory", dir);
        isola__fail(cli, &err);
        return;
    }
    char *link = cli->options.link ? realpath(dir, NULL) : NULL;
    int rc = isola_manifest_load(dir, &manifest, &text, &err);
    if (rc == 0 && cli->options.link && link == NULL)
        rc = isola_fail(&err, ISOLA_EIO, "cannot use %.300s: %s", dir, strerror(errno));
    if (rc == 0 && link != NULL && isola_manifest_has_services(manifest))
        rc = isola__npm_install(dir, &err);
    if (rc == 0)
        rc = bundle(dir, manifest, &npm, &bundles, &err);
    if (rc == 0 && link == NULL && isola_manifest_has_services(manifest))
        rc = collect_files(dir, manifest, &npm, &files, &err);
    if (rc == 0)
        rc = encode(cli, manifest, &text, &bundles, link, &files, &release, &err);
    if (rc != 0)
        isola__fail(cli, &err);
    json_t *result =
        rc == 0 ? send_release(cli, dir, manifest->name, &release, &files, &sent) : NULL;
    uint64_t took = isola_clock_ms() - start;
    if (result != NULL && (!cli->options.wait || isola__rollout_wait(cli, result, start, dir)))
        print_result(cli, result, &files, &sent, took);
    json_decref(result);
    free(link);
    isola__files_free(&files);
    isola_buf_free(&release);
    isola__bundles_free(&bundles);
    isola__npm_free(&npm);
    isola_buf_free(&text);
    if (manifest != NULL)
        isola_manifest_free(manifest);
}
