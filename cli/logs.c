/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl logs`: what is there, and with -f what comes. The lines are scripts' own: nothing in them
 * reaches a terminal raw.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/value.h"
#include "cli/when.h"

#define ALL_LINES 10000u /* that an agent keeps */

/* "2031-01-02T03:04:05.678Z warn  a shop/Counter/x  text", further lines of the text indented. */
static void format_line(const json_t *line, bool colour, struct isola_buf *out)
{
    char stamp[ISOLA_STAMP_SIZE];
    isola__when_stamp(json_number_value(json_object_get(line, "time")), stamp);
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
    const struct isola__options *o = &cli->options;
    bool filtered = o->level != NULL || o->since != NULL || o->grep != NULL || o->from != NULL;
    if (json_array_size(json_object_get(value, "lines")) == 0 && !o->follow && o->lines > 0)
        isola_buf_printf(&note, "ctl: no %sline logged by %s is kept\n", filtered ? "such " : "",
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

/* "10m" is "10m ago", and else what isola__when_parse takes. False: that has been told. */
static bool since(struct isola__cli *cli, int64_t *out)
{
    const char *text = cli->options.since;
    size_t digits = strspn(text, "0123456789");
    bool span = digits > 0 && text[digits] != '\0' && strchr("smhd", text[digits]) != NULL;
    char *ago = isola_format("%s%s", span ? "-" : "", text);
    struct isola__when when = {0};
    struct isola_err err;
    int rc = isola__when_parse(ago, isola_clock_wall_ms(), &when, &err);
    free(ago);
    *out = when.ms > 0 ? when.ms : 1;
    if (rc == 0 && when.number == 0)
        return true;
    isola__fail_usage(cli,
                      "option '--since' needs a time such as 10m, 14:32, \"2031-01-02 14:32\" or "
                      "2031-01-02T14:32:05Z, not '%.60s'",
                      text);
    return false;
}

/* Whether `of`, which is named, can be: an app, app/Type, or an address; if not, tells so. `key` is
 * what the agent calls that. */
static bool check_named(struct isola__cli *cli, const char *of, const char **key)
{
    const char *slash = strchr(of, '/');
    *key = slash == NULL ? "app" : strchr(slash + 1, '/') == NULL ? "type" : "address";
    if (slash == NULL)
        return isola__check_app(cli, of);
    if (strcmp(*key, "address") == 0)
        return isola__check_address(cli, of);
    char *whole = isola_format("%s/key", of);
    struct isola_address address;
    bool ok = isola_address_parse(isola_slice_str(whole), &address, NULL) == 0;
    free(whole);
    if (!ok)
        isola__fail_usage(cli,
                          "'%.200s' is no app, app/Type or app/Type/key (apps and types are made "
                          "of letters, digits, - and _)",
                          of);
    return ok;
}

static bool log_params(struct isola__cli *cli, struct isola_buf *params)
{
    const struct isola__options *o = &cli->options;
    const char *of = o->noperands > 0 ? o->operands[0] : NULL, *key = NULL;
    int64_t since_ms = 0;
    if (of != NULL && !check_named(cli, of, &key))
        return false;
    if (o->since != NULL && !since(cli, &since_ms))
        return false;
    isola_mp_map(params, 2 + (of != NULL) + (o->level != NULL) + (o->since != NULL) +
                             (o->grep != NULL) + (o->from != NULL));
    /* who says since when wants all of it */
    isola_mp_kuint(params, "lines", o->lines_given || o->since == NULL ? o->lines : ALL_LINES);
    isola_mp_kbool(params, "follow", o->follow);
    if (of != NULL)
        isola_mp_kstr(params, key, of);
    if (o->level != NULL)
        isola_mp_kstr(params, "level", o->level);
    if (o->since != NULL)
        isola_mp_kuint(params, "since", (uint64_t)since_ms);
    if (o->grep != NULL)
        isola_mp_kstr(params, "text", o->grep);
    if (o->from != NULL)
        isola_mp_kstr(params, "node", o->from);
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
