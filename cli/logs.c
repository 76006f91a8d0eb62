/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl logs`: what is there, and with -f what comes. The lines are scripts' own: nothing in them
 * reaches a terminal raw.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/value.h"

/* "2031-01-02T03:04:05.678Z warn  a shop/Counter/x  text", further lines of the text indented. */
static void format_line(const json_t *line, bool colour, struct isola_buf *out)
{
    char stamp[ISOLA_STAMP_SIZE] = "-";
    double ms = json_number_value(json_object_get(line, "time"));
    if (ms > 0 && ms < 253402300800000.0) /* the year 10000 */
        isola_clock_stamp((int64_t)ms, stamp);
    isola__tone(out, ISOLA__DIM, colour, isola_slice_str(stamp));
    isola_buf_puts(out, " ");

    const char *level = json_string_value(json_object_get(line, "level"));
    enum isola__tone tone = level == NULL                 ? ISOLA__PLAIN
                            : strcmp(level, "error") == 0 ? ISOLA__BAD
                            : strcmp(level, "warn") == 0  ? ISOLA__WARN
                            : strcmp(level, "debug") == 0 ? ISOLA__DIM
                                                          : ISOLA__PLAIN;
    struct isola_buf part = {0};
    isola__text_clean(&part, isola_slice_str(level != NULL ? level : "-"));
    for (size_t n = isola__text_width(isola_buf_slice(&part)); n < 5; n++)
        isola_buf_puts(&part, " ");
    isola__tone(out, tone, colour, isola_buf_slice(&part));

    static const char *const keys[] = {"node", "address"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_object_get(line, keys[i]);
        if (json_string_length(v) == 0)
            continue;
        isola_buf_puts(out, " ");
        isola__text_clean(out, isola__text_of(v));
    }
    part.len = 0;
    isola__text_clean(&part, isola__text_of(json_object_get(line, "text")));
    while (part.len > 0 && part.data[part.len - 1] == '\n')
        part.len--;
    isola_buf_puts(out, "  ");
    isola__text_indent(out, isola_buf_slice(&part));
    isola_buf_puts(out, "\n");
    isola_buf_free(&part);
}

static bool print_line(struct isola__cli *cli, const json_t *line)
{
    struct isola_buf out = {0};
    if (cli->options.json)
        return isola__out_json(cli, line, false);
    format_line(line, cli->colour, &out);
    return isola__out(cli, &out);
}

/* On stderr: an answer that is empty, or not from every node, must not pass for quiet actors. */
static void tell_missing(const struct isola__cli *cli, const json_t *value)
{
    const char *of = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    struct isola_buf note = {0};
    if (json_array_size(json_object_get(value, "lines")) == 0 && !cli->options.follow &&
        cli->options.lines > 0)
        isola_buf_printf(&note, "ctl: no line logged by %s is kept\n",
                         of != NULL ? of : "any actor");
    isola__tell_missing(value, "what its actors logged is not shown", &note);
}

static bool print_lines(struct isola__cli *cli, const json_t *value)
{
    const json_t *line;
    size_t i;
    if (cli->options.json && !cli->options.follow)
        return isola__out_json(cli, value, false);
    struct isola_buf out = {0};
    json_array_foreach(json_object_get(value, "lines"), i, line)
    {
        if (!cli->options.json)
            format_line(line, cli->colour, &out);
        else if (!print_line(cli, line))
            return false;
    }
    if (!isola__out(cli, &out))
        return false;
    if (!cli->options.json)
        tell_missing(cli, value);
    return true;
}

/* Whatever the agent writes from now on. */
static void follow(struct isola__cli *cli, struct isola__client *client)
{
    for (bool go_on = true; go_on;) {
        struct isola_msg *m;
        struct isola_err err;
        json_t *args = NULL;
        if (isola__client_next(client, &m, &err) != 0) {
            isola__fail(cli, &err);
            return;
        }
        if (m == NULL)
            return;
        if (m->kind == ISOLA_MSG_EMIT && isola_slice_is(m->event, "log")) {
            int rc = isola__value_to_json(m->args, &args, &err);
            if (rc != 0)
                isola__fail(cli, &err);
            else if (json_is_object(json_array_get(args, 0)))
                go_on = print_line(cli, json_array_get(args, 0));
            go_on = go_on && rc == 0;
            json_decref(args);
        }
        free(m);
    }
}

static bool log_params(struct isola__cli *cli, struct isola_buf *params)
{
    const char *of = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    bool address = of != NULL && strchr(of, '/') != NULL;
    if (of != NULL && !(address ? isola__check_address(cli, of) : isola__check_app(cli, of)))
        return false;
    isola_mp_map(params, 2 + (of != NULL));
    isola_mp_kuint(params, "lines", cli->options.lines);
    isola_mp_kbool(params, "follow", cli->options.follow);
    if (of != NULL)
        isola_mp_kstr(params, address ? "address" : "app", of);
    return true;
}

/* Nothing was logged: is there what was named? An app of the past may still have lines, so it is
 * asked after only now. */
static bool known(struct isola__cli *cli)
{
    return cli->options.noperands == 0 || isola__find(cli, cli->options.operands[0]);
}

void isola__run_logs(struct isola__cli *cli)
{
    struct isola_buf params = {0};
    struct isola__client *client;
    struct isola_msg *answer = NULL;
    struct isola_err err;
    if (!log_params(cli, &params))
        return;
    if (!cli->options.follow) {
        json_t *value = isola__call(cli, "logs", &params, ISOLA__STATUS_MS, "lines");
        if (value != NULL && (json_array_size(json_object_get(value, "lines")) > 0 || known(cli)))
            print_lines(cli, value);
        json_decref(value);
        return;
    }
    if (isola__client_open(cli->socket, &client, &err) != 0) {
        isola__fail(cli, &err);
        isola_buf_free(&params);
        return;
    }
    isola__client_listen(client);
    if (isola__client_call(client, "logs", isola_buf_slice(&params),
                           isola__wait_ms(cli, ISOLA__STATUS_MS), &answer, &err) != 0) {
        isola__fail(cli, &err);
    } else {
        json_t *value = isola__result(cli, answer, "lines");
        if (value != NULL && print_lines(cli, value))
            follow(cli, client);
        json_decref(value);
    }
    free(answer);
    isola_buf_free(&params);
    isola__client_close(client);
}
