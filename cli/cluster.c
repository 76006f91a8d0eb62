/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands that make a cluster, let nodes in and put them out: init, token, remove.
 *
 * What a program is to take goes to stdout alone: `ctl token` prints the token there and how to use
 * it to stderr.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/text.h"

/* The member `key` of an answer, made harmless. */
static void put_text(struct isola_buf *out, const json_t *value, const char *key)
{
    isola__text_clean(out, isola__text_of(json_object_get(value, key)));
}

void isola__run_init(struct isola__cli *cli)
{
    struct isola_buf params = {0}, line = {0};
    isola_mp_map(&params, cli->options.name != NULL);
    if (cli->options.name != NULL)
        isola_mp_kstr(&params, "name", cli->options.name);
    json_t *value = isola__call(cli, "init", &params, ISOLA__STATUS_MS, NULL);
    if (value == NULL)
        return;
    if (cli->options.json) {
        isola__out_json(cli, value, false);
    } else {
        isola_buf_puts(&line, "cluster ");
        put_text(&line, value, "cluster");
        isola_buf_puts(&line, " (");
        put_text(&line, value, "id");
        isola_buf_puts(&line, ") is made; node ");
        put_text(&line, value, "node");
        isola_buf_puts(&line, " is its first and listens on ");
        put_text(&line, value, "url");
        isola_buf_puts(&line, "\n");
        if (isola__out(cli, &line))
            fputs("Its key is in the folder `cluster` of this node's data directory, and nowhere "
                  "else: keep a copy in\na safe place. `ctl token` lets another node in.\n",
                  stderr);
    }
    json_decref(value);
}

static void say_how(const json_t *value)
{
    char when[40] = "";
    struct isola_buf text = {0};
    time_t expires = (time_t)(json_integer_value(json_object_get(value, "expires")) / 1000);
    struct tm tm;
    if (gmtime_r(&expires, &tm) != NULL)
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &tm);
    isola_buf_printf(&text,
                     "ctl: lets one node in, until %s; on its machine:\n"
                     "  node-agent --join TOKEN\n",
                     when);
    if (json_is_true(json_object_get(value, "local"))) {
        isola_buf_puts(&text, "ctl: only on this machine, as this node listens on ");
        put_text(&text, value, "address");
        isola_buf_puts(&text,
                       ": for others start it with --listen tcp://HOST:PORT and make a new one\n");
    }
    fprintf(stderr, "%.*s", (int)text.len, (const char *)text.data);
    isola_buf_free(&text);
}

void isola__run_token(struct isola__cli *cli)
{
    struct isola_buf params = {0}, line = {0};
    isola_mp_map(&params, cli->options.expires_ms != 0);
    if (cli->options.expires_ms != 0)
        isola_mp_kuint(&params, "expires_ms", cli->options.expires_ms);
    json_t *value = isola__call(cli, "token", &params, ISOLA__STATUS_MS, NULL);
    if (value == NULL)
        return;
    if (cli->options.json) {
        isola__out_json(cli, value, false);
    } else {
        put_text(&line, value, "token");
        isola_buf_puts(&line, "\n");
        if (isola__out(cli, &line))
            say_how(value);
    }
    json_decref(value);
}

void isola__run_remove(struct isola__cli *cli)
{
    struct isola_buf params = {0}, line = {0};
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "node", cli->options.operands[0]);
    isola_mp_kbool(&params, "force", cli->options.force);
    json_t *value = isola__call(cli, "remove", &params, ISOLA__STATUS_MS, NULL);
    if (value == NULL)
        return;
    if (cli->options.json) {
        isola__out_json(cli, value, false);
    } else if (json_is_true(json_object_get(value, "already"))) {
        isola_buf_puts(&line, "node ");
        put_text(&line, value, "node");
        isola_buf_puts(&line, " was removed before; every node has been told again\n");
        isola__out(cli, &line);
    } else {
        isola_buf_puts(&line, "node ");
        put_text(&line, value, "node");
        isola_buf_puts(&line,
                       " is removed, for good: all nodes refuse it from now on, and its name is "
                       "free again.\nActors whose state it held start anew elsewhere, without "
                       "that state, at their next message.\n");
        isola__out(cli, &line);
    }
    json_decref(value);
}
