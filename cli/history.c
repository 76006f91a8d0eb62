/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl history: when an actor has changed; ctl restore ADDRESS: it has again what it had then.
 *
 * All nodes are asked: an actor that has moved has its history where it lived then, and is put back
 * by the node it lives on now, which gets what there was from there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/when.h"

#define POINTS_MAX   10000u
#define POINTS_SHOWN 50u
/* A turn may take half a minute to end before its actor is put back. */
#define RESTORE_MS 120000u
#define HISTORY_MS 60000u

static int64_t number(const json_t *row, const char *key)
{
    double d = json_number_value(json_object_get(row, key));
    return d >= 0 && d < 9e15 ? (int64_t)d : 0;
}

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s != NULL ? s : "";
}

/* --- points --- */

static int newest_first(const void *x, const void *y)
{
    int64_t a = number(*(json_t *const *)x, "time"), b = number(*(json_t *const *)y, "time");
    return (a < b) - (a > b);
}

/* Of all nodes, numbered; borrows what it points to. `nodes`: what each says beside. */
static json_t *points_of(json_t *value)
{
    size_t i, k, n = 0, cap = 16;
    json_t *row, *point, **all = isola_alloc(cap * sizeof(json_t *)), *points = json_array();
    json_array_foreach(json_object_get(value, "histories"), i, row)
    {
        json_array_foreach(json_object_get(row, "points"), k, point)
        {
            if (n == cap)
                all = isola_realloc(all, (cap *= 2) * sizeof(json_t *));
            json_object_set(point, "node", json_object_get(row, "node"));
            all[n++] = point;
        }
    }
    qsort(all, n, sizeof(json_t *), newest_first);
    for (i = 0; i < n; i++) {
        json_object_set_new(all[i], "number", json_integer((json_int_t)i + 1));
        json_array_append(points, all[i]);
    }
    free(all);
    return points;
}

/* NULL: there is no answer, and that has been told. */
static json_t *look(struct isola__cli *cli, const char *address)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "address", address);
    isola_mp_kuint(&params, "limit", POINTS_MAX);
    json_t *value = isola__call(cli, "history", &params, HISTORY_MS, "histories");
    if (value != NULL)
        json_object_set_new(value, "points", points_of(value));
    return value;
}

/* --- what has changed, in words --- */

static void put_count(struct isola_buf *out, const json_t *what, const char *key, const char *one,
                      const char *many)
{
    const json_t *c = json_object_get(what, key);
    int64_t put = number(c, "put"), gone = number(c, "gone");
    if (put + gone == 0)
        return;
    isola_buf_printf(out, "%s%lld %s", out->len > 0 ? ", " : "", (long long)(put + gone),
                     put + gone == 1 ? one : many);
    if (gone > 0 && put > 0)
        isola_buf_printf(out, " (%lld removed)", (long long)gone);
    else if (gone > 0)
        isola_buf_puts(out, " removed");
}

static void put_changes(struct isola_buf *out, const json_t *what)
{
    struct isola_buf line = {0};
    if (json_is_true(json_object_get(what, "state")))
        isola_buf_puts(&line, "state");
    put_count(&line, what, "storage", "key of storage", "keys of storage");
    put_count(&line, what, "sql", "page of SQL", "pages of SQL");
    put_count(&line, what, "timers", "timer", "timers");
    isola_buf_append(out, line.data, line.len);
    isola_buf_free(&line);
}

static void put_time(struct isola__cli *cli, struct isola_buf *out, int64_t ms)
{
    isola__when_write(out, ms, cli->options.utc);
}

/* --- ctl history --- */

static void add_point(struct isola__cli *cli, struct isola__table *t, const json_t *point,
                      bool nodes)
{
    struct isola_buf cell = {0};
    char human[ISOLA__HUMAN_SIZE];
    int64_t time = number(point, "time"), ago = isola_clock_wall_ms() - time;
    isola_buf_printf(&cell, "%lld", (long long)number(point, "number"));
    isola__table_add(t, isola_buf_slice(&cell), ISOLA__PLAIN);
    cell.len = 0;
    put_time(cli, &cell, time);
    isola__table_add(t, isola_buf_slice(&cell), ISOLA__PLAIN);
    isola__human_time(ago > 0 ? (uint64_t)ago : 0, human);
    isola__table_add(t, isola_slice_str(human), ISOLA__PLAIN);
    if (nodes)
        isola__table_add(t, isola_slice_str(text(point, "node")), ISOLA__PLAIN);
    cell.len = 0;
    if (json_is_true(json_object_get(point, "oldest")))
        isola_buf_puts(&cell, "as it was when the history begins");
    else
        put_changes(&cell, point);
    isola__table_add(t, isola_buf_slice(&cell), ISOLA__PLAIN);
    isola__human_bytes((uint64_t)number(point, "bytes"), human);
    isola__table_add(t,
                     isola_slice_str(json_is_true(json_object_get(point, "oldest")) ? "-" : human),
                     ISOLA__PLAIN);
    isola_buf_free(&cell);
}

static void put_points(struct isola__cli *cli, const json_t *value, size_t most,
                       struct isola_buf *out)
{
    static const struct isola__column alone[] = {{"#", ISOLA__NUMBER},
                                                 {"TIME", ISOLA__WORD},
                                                 {"AGO", ISOLA__NUMBER},
                                                 {"CHANGED", ISOLA__LONG},
                                                 {"BYTES", ISOLA__NUMBER}};
    static const struct isola__column several[] = {
        {"#", ISOLA__NUMBER},  {"TIME", ISOLA__WORD},    {"AGO", ISOLA__NUMBER},
        {"NODE", ISOLA__WORD}, {"CHANGED", ISOLA__LONG}, {"BYTES", ISOLA__NUMBER}};
    bool nodes = json_array_size(json_object_get(value, "histories")) > 1;
    struct isola__table t;
    size_t i;
    const json_t *point;
    isola__table_init(&t, nodes ? several : alone, nodes ? 6 : 5);
    json_array_foreach(json_object_get(value, "points"), i, point)
    {
        if (i < most)
            add_point(cli, &t, point, nodes);
    }
    isola__table_print(&t, cli->width, cli->colour, out);
    isola__table_free(&t);
}

/* What each node says, where there is nothing to show of it. */
static void put_nodes(struct isola__cli *cli, const json_t *value, struct isola_buf *out)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(value, "histories"), i, row)
    {
        struct isola_buf line = {0};
        int64_t since = number(row, "since");
        bool on = json_is_true(json_object_get(row, "on"));
        if (json_array_size(json_object_get(row, "points")) > 0 ||
            !json_is_true(json_object_get(row, "here")))
            continue;
        isola__text_clean(&line, isola_slice_str(cli->options.operands[0]));
        if (!on) {
            isola_buf_puts(&line, ": no history is kept on node ");
            isola__text_clean(&line, isola_slice_str(text(row, "node")));
            isola_buf_puts(&line, ", which runs with --history 0");
        } else if (since == 0) {
            isola_buf_puts(&line, " has no history: nothing was stored yet");
        } else {
            isola_buf_puts(&line, " has no history: it has stored nothing since ");
            put_time(cli, &line, since);
            isola_buf_puts(&line, ", when the history begins");
        }
        isola_buf_puts(&line, "\n");
        isola_buf_append(out, line.data, line.len);
        isola_buf_free(&line);
    }
}

void isola__run_history(struct isola__cli *cli)
{
    const char *address = cli->options.operands[0];
    size_t most = cli->options.top_given ? cli->options.top : POINTS_SHOWN;
    struct isola_buf out = {0};
    if (!isola__check_address(cli, address))
        return;
    json_t *value = look(cli, address);
    if (value == NULL)
        return;
    size_t n = json_array_size(json_object_get(value, "points"));
    if (cli->options.json) {
        size_t i;
        json_t *row;
        json_array_foreach(json_object_get(value, "histories"), i, row)
        {
            json_object_del(row, "points");
        }
        json_object_set_new(value, "address", json_string(address));
        isola__out_json(cli, value, false);
    } else {
        if (n > 0)
            put_points(cli, value, most, &out);
        if (n > most)
            isola_buf_printf(&out, "%zu older points are not shown: --top N shows more\n",
                             n - most);
        if (n == 0)
            put_nodes(cli, value, &out);
        isola__list_unreachable(json_object_get(value, "unreachable"),
                                " (what happened there is not known)", cli->colour, &out);
        isola__out(cli, &out);
    }
    json_decref(value);
}

/* --- ctl restore ADDRESS --at TIME --- */

static void fail(struct isola__cli *cli, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct isola__cli *cli, int code, const char *fmt, ...)
{
    struct isola_err err;
    char line[800];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    isola_fail(&err, code, "%s", line);
    isola__fail(cli, &err);
}

/* The node it lives on, or NULL, which has been told. */
static const char *place(struct isola__cli *cli, const json_t *value)
{
    size_t i;
    const json_t *row, *missing = json_object_get(value, "unreachable");
    json_array_foreach(json_object_get(value, "histories"), i, row)
    {
        if (json_is_true(json_object_get(row, "here")))
            return text(row, "node");
    }
    if (json_array_size(missing) > 0)
        fail(cli, ISOLA_EUNREACHABLE, "the node it lives on does not answer: node %s",
             json_string_value(json_array_get(missing, 0)) != NULL
                 ? json_string_value(json_array_get(missing, 0))
                 : "?");
    else
        fail(cli, ISOLA_EUNREACHABLE, "no node says that it lives there: try again");
    return NULL;
}

/* The point that was then, or NULL. */
static const json_t *point_at(const json_t *points, int64_t time)
{
    size_t i;
    const json_t *point;
    json_array_foreach(points, i, point)
    {
        if (number(point, "time") <= time)
            return point;
    }
    return NULL;
}

/* The time that is meant, and the node it lived on then. False: there is none, which has been told.
 */
static bool choose(struct isola__cli *cli, const json_t *value, const char *node, int64_t *time,
                   const char **from)
{
    const json_t *points = json_object_get(value, "points"), *point;
    struct isola__when when;
    struct isola_err err;
    int64_t now = isola_clock_wall_ms();
    if (isola__when_parse(cli->options.at, now, &when, &err) != 0) {
        isola__fail_usage(cli, "%s", err.text);
        return false;
    }
    if (when.number > json_array_size(points)) {
        fail(cli, ISOLA_ENOENT, "there is no point %u: 'ctl history %.300s' shows %zu", when.number,
             cli->options.operands[0], json_array_size(points));
        return false;
    }
    if (when.number > 0)
        when.ms = number(json_array_get(points, when.number - 1), "time");
    if (when.number == 0 && when.ms > now) {
        fail(cli, ISOLA_EINVAL, "that time is in the future");
        return false;
    }
    point = point_at(points, when.ms);
    *from = point != NULL ? text(point, "node") : node;
    *time = when.ms;
    return true;
}

/* `before`: the time of the point it had before; 0: it had none. */
static void show(struct isola__cli *cli, const json_t *value, int64_t time, int64_t before)
{
    struct isola_buf line = {0}, what = {0};
    bool dry = json_is_true(json_object_get(value, "dry"));
    put_changes(&what, value);
    if (what.len == 0) {
        isola__text_clean(&line, isola_slice_str(cli->options.operands[0]));
        isola_buf_puts(&line, " has what it had at ");
        put_time(cli, &line, time);
        isola_buf_puts(&line, ": there is nothing to change");
    } else {
        isola_buf_puts(&line, dry ? "would restore " : "restored ");
        isola__text_clean(&line, isola_slice_str(cli->options.operands[0]));
        isola_buf_puts(&line, " to what it had at ");
        put_time(cli, &line, time);
        isola_buf_puts(&line, ": ");
        isola_buf_append(&line, what.data, what.len);
    }
    if (!json_is_true(json_object_get(value, "there")))
        isola_buf_puts(&line, what.len > 0 ? " (it had nothing then)" : " (it had nothing)");
    isola_buf_puts(&line, "\n");
    if (what.len > 0 && !dry && before > 0) {
        isola_buf_puts(&line, "to undo that: ctl restore ");
        isola__text_clean(&line, isola_slice_str(cli->options.operands[0]));
        isola_buf_puts(&line, " --at ");
        isola__when_write(&line, before, true);
        isola_buf_puts(&line, "\n");
    }
    isola_buf_free(&what);
    isola__out(cli, &line);
}

void isola__run_restore_actor(struct isola__cli *cli)
{
    const char *address = cli->options.operands[0];
    int64_t time = 0;
    struct isola__when when;
    struct isola_err err;
    if (!isola__check_address(cli, address))
        return;
    if (isola__when_parse(cli->options.at, isola_clock_wall_ms(), &when, &err) != 0) {
        isola__fail_usage(cli, "%s", err.text);
        return;
    }
    if (!isola__find(cli, address))
        return;
    json_t *value = look(cli, address), *done = NULL;
    const char *node = value != NULL ? place(cli, value) : NULL, *from;
    if (node != NULL && choose(cli, value, node, &time, &from)) {
        struct isola_buf params = {0};
        isola_mp_map(&params, 5);
        isola_mp_kstr(&params, "node", node);
        isola_mp_kstr(&params, "from", from);
        isola_mp_kstr(&params, "address", address);
        isola_mp_kuint(&params, "time", (uint64_t)time);
        isola_mp_kbool(&params, "dry", cli->options.dry_run);
        done = isola__call(cli, "restore", &params, RESTORE_MS, NULL);
    }
    if (done != NULL && cli->options.json) {
        json_object_set_new(done, "address", json_string(address));
        isola__out_json(cli, done, false);
    } else if (done != NULL) {
        show(cli, done, time, number(json_array_get(json_object_get(value, "points"), 0), "time"));
    }
    json_decref(done);
    json_decref(value);
}
