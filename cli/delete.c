/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl delete: an app goes, on every node. The agent says first what there is, and at which revision
 * it would be deleted; that is signed, where there is a key, and asked for.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/deploy.h"
#include "cli/text.h"
#include "store/gone.h"

#define DELETE_MS 600000u

static uint64_t number_of(const json_t *row, const char *key)
{
    double d = json_number_value(json_object_get(row, key));
    return d >= 0 && d < 9e15 ? (uint64_t)d : 0;
}

/* False: no. */
static bool ask(struct isola__cli *cli, const json_t *plan)
{
    struct isola_buf question = {0};
    const json_t *types = json_object_get(plan, "types");
    size_t i;
    const json_t *type;
    char answer[16] = "";
    isola_buf_printf(&question, "delete %s", cli->options.operands[0]);
    json_array_foreach(types, i, type)
    {
        isola_buf_puts(&question, i == 0 ? " (" : ", ");
        isola__text_clean(&question, isola__text_of(type));
    }
    isola_buf_printf(&question, "%s, its releases and its secrets%s? [y/N] ",
                     json_array_size(types) > 0 ? ")" : "",
                     cli->options.state ? ", and all that its actors keep" : "");
    fprintf(stderr, "%s", isola_buf_cstr(&question));
    fflush(stderr);
    isola_buf_free(&question);
    return fgets(answer, sizeof(answer), stdin) != NULL &&
           (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0 ||
            strcmp(answer, "Y\n") == 0);
}

static void show(struct isola__cli *cli, json_t *result, uint64_t ms)
{
    struct isola_buf out = {0};
    const char *app = cli->options.operands[0];
    struct isola_slice release = isola__text_of(json_object_get(result, "release"));
    if (cli->options.json) {
        json_object_set_new(result, "ms", json_integer((json_int_t)ms));
        isola__out_json(cli, result, false);
        return;
    }
    isola_buf_printf(&out, release.len > 0 ? "deleted %s; it was at release " : "%s was deleted",
                     app);
    isola__text_clean(&out, release);
    isola_buf_printf(&out, "%s (%" PRIu64 " ms)\n",
                     release.len > 0 ? "" : " before; what its actors kept goes now", ms);
    isola__deploy_nodes(result, &out);
    if (!cli->options.state)
        isola_buf_printf(&out,
                         "what its actors kept stays: a deploy of %s finds it; 'ctl delete %s "
                         "--state' removes it\n",
                         app, app);
    isola__out(cli, &out);
}

static int write_params(struct isola__cli *cli, uint64_t revision, struct isola_buf *out,
                        struct isola_err *err)
{
    struct isola_release note = {0};
    struct isola_gone gone = {
        .app = cli->options.operands[0], .revision = revision, .state = cli->options.state};
    uint8_t hash[ISOLA_RELEASE_HASH_SIZE];
    int rc = isola__deploy_note(cli, &note, err);
    if (rc != 0)
        return rc;
    isola_gone_hash(&gone, hash);
    rc = isola__sign(gone.app, hash, gone.signature, &gone.is_signed, err);
    isola_mp_map(out, 4 + gone.is_signed);
    isola_mp_kstr(out, "app", gone.app);
    isola_mp_kuint(out, "revision", revision);
    isola_mp_kbool(out, "state", gone.state);
    isola_mp_kstr(out, "by", note.by);
    if (gone.is_signed) {
        isola_mp_cstr(out, "signature");
        isola_mp_bin(out, isola_slice(gone.signature, sizeof(gone.signature)));
    }
    free(note.by);
    free(note.message);
    return rc;
}

void isola__run_delete(struct isola__cli *cli)
{
    const char *app = cli->options.operands[0];
    struct isola_buf params = {0};
    struct isola_err err;
    if (!isola__check_app(cli, app))
        return;
    if (!cli->options.yes && (!isatty(STDIN_FILENO) || cli->options.json)) {
        isola__fail_usage(cli, "'ctl delete' asks before it deletes, on a terminal; elsewhere say "
                               "--yes");
        return;
    }
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "app", app);
    isola_mp_kbool(&params, "state", cli->options.state);
    json_t *plan = isola__call(cli, "delete", &params, ISOLA__STATUS_MS, "types");
    if (plan == NULL)
        return;
    if (!cli->options.yes && !ask(cli, plan)) {
        isola_fail(&err, ISOLA_ECANCELED, "nothing was deleted");
        isola__fail(cli, &err);
        json_decref(plan);
        return;
    }
    uint64_t start = isola_clock_ms();
    params = (struct isola_buf){0};
    if (write_params(cli, number_of(plan, "revision"), &params, &err) != 0) {
        isola__fail(cli, &err);
        isola_buf_free(&params);
    } else {
        json_t *result = isola__call(cli, "delete", &params, DELETE_MS, "nodes");
        if (result != NULL)
            show(cli, result, isola_clock_ms() - start);
        json_decref(result);
    }
    json_decref(plan);
}
