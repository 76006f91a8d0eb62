/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl dead-letters`: messages that have not reached a handler, or whose handler crashed. With -f,
 * one question waits at each node for what comes. What they say is scripts' own: nothing of it
 * reaches a terminal raw.
 */
#include <stdio.h>
#include <stdlib.h>

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

#define WAIT_MS 20000 /* how long a question waits at a node */

/* The values come as the bytes they were sent as. */
static void open_args(json_t *letter)
{
    const json_t *sealed = json_object_get(letter, "args");
    struct isola_buf bin = {0};
    struct isola_err err;
    struct isola_mp_item item;
    json_t *args = NULL;
    if (sealed == NULL)
        return;
    if (isola__value_from_json(sealed, &bin, &err) == 0) {
        struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&bin));
        if (isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_BIN ||
            isola__value_to_json(item.bytes, &args, &err) != 0)
            args = NULL;
    }
    isola_buf_free(&bin);
    if (args == NULL || json_object_set_new(letter, "args", args) != 0)
        json_object_del(letter, "args");
}

static void put_clean(struct isola_buf *out, const json_t *letter, const char *key)
{
    isola__text_clean(out, isola__text_of(json_object_get(letter, key)));
}

/* "STAMP NODE ask TO EVENT(ARGS) from FROM: CODE REASON" */
static void format_letter(const json_t *letter, bool colour, struct isola_buf *out)
{
    char stamp[ISOLA_STAMP_SIZE];
    isola__when_stamp(json_number_value(json_object_get(letter, "time")), stamp);
    isola__tone(out, ISOLA__DIM, colour, isola_slice_str(stamp));
    static const char *const keys[] = {"node", "kind", "to", "event"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        isola_buf_puts(out, " ");
        put_clean(out, letter, keys[i]);
    }
    const json_t *args = json_object_get(letter, "args");
    char *text = args != NULL ? json_dumps(args, JSON_COMPACT) : NULL;
    if (text != NULL) {
        isola_buf_puts(out, " ");
        isola__text_clean(out, isola_slice_str(text));
    } else {
        isola_buf_printf(out, " (%.0f bytes)", json_number_value(json_object_get(letter, "size")));
    }
    free(text);
    if (json_string_length(json_object_get(letter, "from")) > 0) {
        isola_buf_puts(out, " from ");
        put_clean(out, letter, "from");
    }
    isola_buf_puts(out, ": ");
    struct isola_buf part = {0};
    put_clean(&part, letter, "code");
    isola__tone(out, ISOLA__BAD, colour, isola_buf_slice(&part));
    isola_buf_puts(out, " ");
    part.len = 0;
    put_clean(&part, letter, "reason");
    isola__text_indent(out, isola_buf_slice(&part));
    isola_buf_puts(out, "\n");
    isola_buf_free(&part);
}

static int by_time(const void *a, const void *b)
{
    double x = json_number_value(json_object_get(*(json_t *const *)a, "time"));
    double y = json_number_value(json_object_get(*(json_t *const *)b, "time"));
    return x < y ? -1 : x > y;
}

/* Those of all nodes in the order of time. */
static void sort(json_t *letters)
{
    size_t n = json_array_size(letters);
    json_t **rows = isola_alloc(n * sizeof(json_t *));
    for (size_t i = 0; i < n; i++)
        rows[i] = json_incref(json_array_get(letters, i));
    qsort((void *)rows, n, sizeof(json_t *), by_time);
    json_array_clear(letters);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(letters, rows[i]);
    free((void *)rows);
}

static void tell_missing(const struct isola__cli *cli, const json_t *value)
{
    struct isola_buf note = {0};
    const char *of = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    if (json_array_size(json_object_get(value, "letters")) == 0 && !cli->options.follow)
        isola_buf_printf(&note, "ctl: there are no dead letters%s%s\n", of != NULL ? " of " : "",
                         of != NULL ? of : "");
    isola__tell_missing(value, "its dead letters are not shown", &note);
}

static bool print_letters(struct isola__cli *cli, json_t *value)
{
    json_t *letters = json_object_get(value, "letters"), *letter;
    struct isola_buf out = {0};
    size_t i;
    json_array_foreach(letters, i, letter)
    {
        open_args(letter);
    }
    sort(letters);
    if (cli->options.json && !cli->options.follow)
        return isola__out_json(cli, value, false);
    json_array_foreach(letters, i, letter)
    {
        if (!cli->options.json)
            format_letter(letter, cli->colour, &out);
        else if (!isola__out_json(cli, letter, false))
            return false;
    }
    if (!isola__out(cli, &out))
        return false;
    if (!cli->options.json)
        tell_missing(cli, value);
    return true;
}

static void params(const struct isola__cli *cli, const char *node, uint64_t after,
                   struct isola_buf *out)
{
    isola_mp_map(out, node != NULL ? 4 : 1);
    isola_mp_kstr(out, "of", cli->options.noperands > 0 ? cli->options.operands[0] : "");
    if (node == NULL)
        return;
    isola_mp_kstr(out, "node", node);
    isola_mp_kuint(out, "after", after);
    isola_mp_kuint(out, "wait", WAIT_MS);
}

/* A question that waits at a node. */
struct waiting {
    char *node;
    uint64_t id, after;
};

static int ask_node(const struct isola__cli *cli, struct isola__client *client, struct waiting *w,
                    struct isola_err *err)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    params(cli, w->node, w->after, &args);
    struct isola_msg m = {.kind = ISOLA_MSG_ASK,
                          .event = isola_slice_str("dead-letters"),
                          .args = isola_buf_slice(&args)};
    int rc = isola__client_send(client, &m, err);
    w->id = m.id;
    isola_buf_free(&args);
    return rc;
}

/* An answer of that node's: prints it and asks again. */
static bool take(struct isola__cli *cli, struct isola__client *client, struct waiting *w,
                 const struct isola_msg *m)
{
    struct isola_err err;
    json_t *value = isola__result(cli, m, "letters");
    if (value == NULL)
        return false;
    const json_t *count = json_object_get(json_object_get(value, "counts"), w->node);
    bool gone = !json_is_integer(count) && !json_is_real(count);
    if (gone) { /* neither is it asked again */
        tell_missing(cli, value);
        w->id = 0;
    } else {
        w->after = (uint64_t)json_number_value(count);
        json_object_del(value, "unreachable");
    }
    bool go_on = gone || print_letters(cli, value);
    json_decref(value);
    if (!go_on || gone)
        return go_on;
    if (ask_node(cli, client, w, &err) == 0)
        return true;
    if (!isola__client_interrupted(client))
        isola__fail(cli, &err);
    return false;
}

static void follow(struct isola__cli *cli, struct isola__client *client, const json_t *counts)
{
    size_t n = json_object_size(counts), i = 0;
    struct waiting *nodes = isola_zalloc(n * sizeof(*nodes) + 1);
    struct isola_err err;
    bool go_on = true;
    for (void *it = json_object_iter((json_t *)counts); it != NULL;
         it = json_object_iter_next((json_t *)counts, it)) {
        nodes[i].node = isola_strdup(json_object_iter_key(it));
        nodes[i].after = (uint64_t)json_number_value(json_object_iter_value(it));
        i++;
    }
    for (i = 0; i < n && go_on; i++) {
        go_on = ask_node(cli, client, &nodes[i], &err) == 0;
        if (!go_on && !isola__client_interrupted(client))
            isola__fail(cli, &err);
    }
    while (go_on) {
        struct isola_msg *m;
        if (isola__client_next(client, &m, &err) != 0) {
            isola__fail(cli, &err);
            break;
        }
        if (m == NULL)
            break; /* interrupted */
        for (i = 0; i < n; i++)
            if (m->id != 0 && nodes[i].id == m->id &&
                (m->kind == ISOLA_MSG_REPLY || m->kind == ISOLA_MSG_FAIL)) {
                go_on = take(cli, client, &nodes[i], m);
                break;
            }
        free(m);
    }
    for (i = 0; i < n; i++)
        free(nodes[i].node);
    free(nodes);
}

void isola__run_dead_letters(struct isola__cli *cli)
{
    const char *of = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    struct isola_buf ask = {0};
    struct isola__client *client;
    struct isola_msg *answer = NULL;
    struct isola_err err;
    if (of != NULL &&
        !(strchr(of, '/') != NULL ? isola__check_address(cli, of) : isola__check_app(cli, of)))
        return;
    if (isola__client_open(cli->socket, &client, &err) != 0) {
        isola__fail(cli, &err);
        return;
    }
    if (cli->options.follow)
        isola__client_listen(client);
    params(cli, NULL, 0, &ask);
    if (isola__client_call(client, "dead-letters", isola_buf_slice(&ask),
                           isola__wait_ms(cli, ISOLA__STATUS_MS), &answer, &err) != 0) {
        isola__fail(cli, &err);
    } else {
        json_t *value = isola__result(cli, answer, "letters");
        json_t *counts = json_incref(json_object_get(value, "counts"));
        /* There may be some to what is not there, so it is asked after when there are none. */
        bool ask_after = value != NULL && of != NULL && !cli->options.follow &&
                         json_array_size(json_object_get(value, "letters")) == 0;
        bool known = !ask_after || isola__find(cli, of);
        if (value != NULL && known && print_letters(cli, value) && cli->options.follow)
            follow(cli, client, counts);
        json_decref(counts);
        json_decref(value);
    }
    free(answer);
    isola_buf_free(&ask);
    isola__client_close(client);
}
