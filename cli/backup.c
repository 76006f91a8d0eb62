/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl backup, which a node makes of itself; ctl restore DIR, which needs no node, and must have
 * none.
 */
#include "store/backup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "base/path.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/text.h"

#define BACKUP_MS 3600000u

static double number(const json_t *value, const char *key)
{
    double d = json_number_value(json_object_get(value, key));
    return d >= 0 && d < 9e15 ? d : 0;
}

static void put_size(struct isola_buf *line, unsigned files, uint64_t bytes)
{
    char size[ISOLA__HUMAN_SIZE];
    isola__human_bytes(bytes, size);
    isola_buf_printf(line, "%u file%s, %s", files, files == 1 ? "" : "s", size);
}

static void put_time(struct isola_buf *line, int64_t ms)
{
    char when[40] = "";
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (gmtime_r(&t, &tm) != NULL)
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
    isola_buf_puts(line, when);
}

/* Tells it when there is none. */
static char *absolute(struct isola__cli *cli, const char *path)
{
    struct isola_err err;
    char *whole = isola_path_absolute(path);
    if (whole == NULL) {
        isola_fail(&err, ISOLA_EIO, "cannot find the current directory for '%.200s': %s", path,
                   strerror(errno));
        isola__fail(cli, &err);
    }
    return whole;
}

static void show_progress(struct isola__progress *p, struct isola_slice value)
{
    char done[ISOLA__HUMAN_SIZE], all[ISOLA__HUMAN_SIZE];
    uint64_t bytes, of;
    if (!isola_mp_find_uint(value, "bytes", &bytes) || !isola_mp_find_uint(value, "of", &of) ||
        of == 0)
        return;
    isola__human_bytes(bytes, done);
    isola__human_bytes(of, all);
    isola__progress_say(p, "copied %s of %s", done, all);
}

/* NULL: there is none, and that has been told. */
static json_t *ask(struct isola__cli *cli, const char *path)
{
    uint32_t wait_ms = isola__wait_ms(cli, BACKUP_MS);
    struct isola__client *client;
    struct isola_msg *answer = NULL;
    struct isola_buf params = {0};
    struct isola__progress progress;
    struct isola_err err;
    isola__progress_begin(&progress, cli);
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "path", path);
    int rc = isola__client_open(cli->socket, &client, &err);
    if (rc == 0) {
        rc = isola__client_begin(client, "backup", isola_buf_slice(&params), wait_ms, &err);
        if (rc == 0)
            rc = isola__progress_wait(&progress, cli, client, wait_ms, "backup_progress",
                                      isola_slice(NULL, 0), show_progress, &answer, &err);
        isola__client_close(client);
    }
    isola_buf_free(&params);
    if (rc != 0)
        isola__fail(cli, &err);
    json_t *value = rc == 0 ? isola__result(cli, answer, NULL) : NULL;
    free(answer);
    return value;
}

void isola__run_backup(struct isola__cli *cli)
{
    struct isola_buf line = {0};
    char *path = absolute(cli, cli->options.operands[0]);
    if (path == NULL)
        return;
    json_t *value = ask(cli, path);
    if (value != NULL && cli->options.json) {
        isola__out_json(cli, value, false);
    } else if (value != NULL) {
        char took[ISOLA__HUMAN_SIZE];
        isola__human_time((uint64_t)number(value, "took_ms"), took);
        isola_buf_puts(&line, "wrote ");
        isola__text_clean(&line, isola_slice_str(path));
        isola_buf_puts(&line, ": ");
        put_size(&line, (unsigned)number(value, "files"), (uint64_t)number(value, "bytes"));
        isola_buf_puts(&line, ", of node ");
        isola__text_clean(&line, isola__text_of(json_object_get(value, "node")));
        isola_buf_puts(&line, " at ");
        put_time(&line, (int64_t)number(value, "time"));
        isola_buf_printf(&line, ", in %s\n", took);
        isola__out(cli, &line);
    }
    json_decref(value);
    free(path);
}

static void show(struct isola__cli *cli, const char *data, const struct isola_backup *b)
{
    struct isola_buf line = {0};
    if (cli->options.json) {
        json_t *value = json_pack("{s:s, s:s, s:I, s:i, s:I, s:s?}", "data", data, "node", b->node,
                                  "time", (json_int_t)b->time, "files", (int)b->files, "bytes",
                                  (json_int_t)b->bytes, "aside", b->aside);
        isola__out_json(cli, value, false);
        json_decref(value);
        return;
    }
    isola_buf_puts(&line, "restored ");
    isola__text_clean(&line, isola_slice_str(data));
    isola_buf_puts(&line, ": ");
    put_size(&line, b->files, b->bytes);
    isola_buf_puts(&line, ", as node ");
    isola__text_clean(&line, isola_slice_str(b->node));
    isola_buf_puts(&line, " had them at ");
    put_time(&line, b->time);
    isola_buf_puts(&line, "\n");
    if (b->aside != NULL) {
        isola_buf_puts(&line, "what was there is in ");
        isola__text_clean(&line, isola_slice_str(b->aside));
        isola_buf_puts(&line, "\n");
    }
    isola__out(cli, &line);
}

/* Of a directory, unless it is of an actor. */
void isola__run_restore(struct isola__cli *cli)
{
    const struct isola__options *o = &cli->options;
    struct isola_backup b;
    struct isola_err err;
    if (o->data == NULL && o->at == NULL)
        isola__fail_usage(cli,
                          "'restore' needs to know what to restore: a data directory, to what "
                          "a backup has (ctl restore DIR --data DATADIR), or an actor, to what "
                          "it had before (ctl restore ADDRESS --at TIME)");
    else if (o->data != NULL && (o->at != NULL || o->dry_run))
        isola__fail_usage(cli,
                          "'--data' restores a data directory to what a backup has, '--at' and "
                          "'--dry-run' are for an actor: not both at once");
    else if (o->at != NULL && o->force)
        isola__fail_usage(cli, "'--force' is for data directories, not for an actor");
    else if (o->at != NULL)
        isola__run_restore_actor(cli);
    else if (isola_backup_restore(o->operands[0], o->data, o->force, &b, &err) != 0)
        isola__fail(cli, &err);
    else {
        show(cli, o->data, &b);
        isola_backup_free(&b);
    }
}
