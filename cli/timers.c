/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl timers: the durable timers of actors, the next one first. All nodes are asked, as each knows
 * those of the actors that live there.
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

#define SHOWN 50u

static int64_t number(const json_t *row, const char *key)
{
    double d = json_number_value(json_object_get(row, key));
    return d >= 0 && d < 9e15 ? (int64_t)d : 0;
}

static int next_first(const void *x, const void *y)
{
    int64_t a = number(*(json_t *const *)x, "next"), b = number(*(json_t *const *)y, "next");
    return (a > b) - (a < b);
}

/* Those of all nodes, `most` at the most; *more: there are others. */
static json_t *timers_of(const json_t *value, size_t most, bool *more)
{
    size_t i, k, n = 0, cap = 16;
    json_t *row, *timer, **all = isola_alloc(cap * sizeof(json_t *)), *timers = json_array();
    *more = false;
    json_array_foreach(json_object_get(value, "schedules"), i, row)
    {
        *more = *more || json_is_true(json_object_get(row, "more"));
        json_array_foreach(json_object_get(row, "timers"), k, timer)
        {
            if (n == cap)
                all = isola_realloc(all, (cap *= 2) * sizeof(json_t *));
            json_object_set(timer, "node", json_object_get(row, "node"));
            all[n++] = timer;
        }
    }
    qsort(all, n, sizeof(json_t *), next_first);
    for (i = 0; i < n && i < most; i++)
        json_array_append(timers, all[i]);
    *more = *more || n > most;
    free(all);
    return timers;
}

static void add_text(struct isola__table *t, const json_t *row, const char *key)
{
    isola__table_add(t, isola__text_of(json_object_get(row, key)), ISOLA__PLAIN);
}

/* "every 5 min 0 s"; "0 9 * * 1-5 Europe/Vienna". */
static void add_rule(struct isola__table *t, const json_t *row)
{
    struct isola_slice cron = isola__text_of(json_object_get(row, "cron"));
    struct isola_slice zone = isola__text_of(json_object_get(row, "time_zone"));
    struct isola_buf cell = {0};
    char human[ISOLA__HUMAN_SIZE];
    if (cron.len > 0) {
        isola_buf_append(&cell, cron.data, cron.len);
        isola_buf_puts(&cell, " ");
        isola_buf_append(&cell, zone.data, zone.len);
    } else if (number(row, "every") > 0) {
        isola__human_time((uint64_t)number(row, "every"), human);
        isola_buf_printf(&cell, "every %s", human);
    } else {
        isola_buf_puts(&cell, "once");
    }
    isola__table_add(t, isola_buf_slice(&cell), ISOLA__PLAIN);
    isola_buf_free(&cell);
}

static void add_timer(struct isola__cli *cli, struct isola__table *t, const json_t *row)
{
    struct isola_buf cell = {0};
    char human[ISOLA__HUMAN_SIZE];
    int64_t next = number(row, "next"), in = next - isola_clock_wall_ms();
    isola__when_write(&cell, next, cli->options.utc);
    isola__table_add(t, isola_buf_slice(&cell), ISOLA__PLAIN);
    isola__human_time(in > 0 ? (uint64_t)in : 0, human);
    isola__table_add(t, isola_slice_str(in > 0 ? human : "now"),
                     in > 0 ? ISOLA__PLAIN : ISOLA__WARN);
    add_text(t, row, "address");
    add_text(t, row, "event");
    add_rule(t, row);
    add_text(t, row, "id");
    add_text(t, row, "node");
    isola_buf_free(&cell);
}

static void show(struct isola__cli *cli, const json_t *timers, bool more, const json_t *unreachable)
{
    static const struct isola__column columns[] = {{"DUE", ISOLA__WORD},     {"IN", ISOLA__NUMBER},
                                                   {"ADDRESS", ISOLA__LONG}, {"EVENT", ISOLA__WORD},
                                                   {"REPEATS", ISOLA__WORD}, {"ID", ISOLA__WORD},
                                                   {"NODE", ISOLA__WORD}};
    const char *of = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    struct isola_buf out = {0};
    size_t i;
    const json_t *row;
    if (json_array_size(timers) > 0) {
        struct isola__table t;
        isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
        json_array_foreach(timers, i, row) add_timer(cli, &t, row);
        isola__table_print(&t, cli->width, cli->colour, &out);
        isola__table_free(&t);
    } else if (json_array_size(unreachable) == 0) {
        isola_buf_printf(&out, "no timer%s%s is set\n", of != NULL ? " of " : "",
                         of != NULL ? of : "");
    }
    if (more)
        isola_buf_puts(&out, "there are more; --top shows more of them\n");
    isola__list_unreachable(unreachable, " (the timers there are not listed)", cli->colour, &out);
    isola__out(cli, &out);
}

void isola__run_timers(struct isola__cli *cli)
{
    const char *of = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    size_t most = cli->options.top ? cli->options.top : SHOWN;
    struct isola_buf params = {0};
    bool more;
    if (of != NULL &&
        !(strchr(of, '/') != NULL ? isola__check_address(cli, of) : isola__check_app(cli, of)))
        return;
    isola_mp_map(&params, 1 + (of != NULL));
    if (of != NULL)
        isola_mp_kstr(&params, "of", of);
    isola_mp_kuint(&params, "limit", most);
    json_t *value = isola__call(cli, "timers", &params, ISOLA__STATUS_MS, "schedules");
    if (value == NULL)
        return;
    json_t *timers = timers_of(value, most, &more);
    const json_t *unreachable = json_object_get(value, "unreachable");
    if (json_array_size(timers) == 0 && of != NULL && !isola__find(cli, of)) {
        /* that has been told */
    } else if (cli->options.json) {
        json_t *out = json_pack("{s:O, s:b, s:O*}", "timers", timers, "more", (int)more,
                                "unreachable", unreachable);
        isola__out_json(cli, out, false);
        json_decref(out);
    } else {
        show(cli, timers, more, unreachable);
    }
    json_decref(timers);
    json_decref(value);
}
