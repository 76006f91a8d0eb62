/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl store: what the stores of nodes have, and whether they are sound.
 *
 * A node counts commits since its actor-host began; asked twice, a second apart, it gives rates.
 * The second answer has what takes longer to find out. Below the table stand the largest actors,
 * and what is wrong.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

#define CHECK_MS 600000u
#define TOP      10u

/* NULL: there is no answer, and that has been told. */
static json_t *look(struct isola__cli *cli, struct isola__client *client, bool brief)
{
    struct isola_buf params = {0};
    struct isola_msg *answer = NULL;
    struct isola_err err;
    json_t *value = NULL;
    bool one = cli->options.noperands > 0;
    uint32_t ms = cli->options.check && !brief ? CHECK_MS : ISOLA__STATUS_MS;
    isola_mp_map(&params, 3 + (size_t)one);
    isola_mp_kbool(&params, "brief", brief);
    isola_mp_kbool(&params, "check", cli->options.check);
    isola_mp_kuint(&params, "top", cli->options.top_given ? cli->options.top : TOP);
    if (one)
        isola_mp_kstr(&params, "node", cli->options.operands[0]);
    if (isola__client_call(client, "store", isola_buf_slice(&params), isola__wait_ms(cli, ms),
                           &answer, &err) != 0)
        isola__fail(cli, &err);
    else
        value = isola__result(cli, answer, "stores");
    free(answer);
    isola_buf_free(&params);
    return value;
}

static double number(const json_t *row, const char *key)
{
    double d = json_number_value(json_object_get(row, key));
    return d >= 0 && d < 9e15 ? d : 0;
}

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s != NULL ? s : "";
}

/* --- rates --- */

static const json_t *before(const json_t *earlier, const char *node)
{
    size_t i;
    const json_t *old;
    json_array_foreach(earlier, i, old)
    {
        if (strcmp(text(old, "node"), node) == 0)
            return old;
    }
    return NULL;
}

static void add_rate(json_t *row, const json_t *old, const char *count, const char *rate)
{
    double seconds = old != NULL ? (number(row, "now_ms") - number(old, "now_ms")) / 1000 : 0;
    double passed = number(row, count) - number(old, count);
    json_object_set_new(row, rate,
                        seconds > 0 && passed >= 0 ? json_real(passed / seconds) : json_null());
}

/* By the nodes' own clocks, as they may take their time to answer. */
static void add_rates(json_t *stores, const json_t *earlier)
{
    size_t i;
    json_t *row;
    json_array_foreach(stores, i, row)
    {
        const json_t *old = before(earlier, text(row, "node"));
        add_rate(row, old, "commits", "commits_rate");
        add_rate(row, old, "writes", "writes_rate");
    }
}

/* --- tables --- */

static void add_text(struct isola__table *t, const char *s)
{
    isola__table_add(t, isola_slice_str(s), ISOLA__PLAIN);
}

static void add_count(struct isola__table *t, const json_t *row, const char *key)
{
    char s[ISOLA__HUMAN_SIZE];
    snprintf(s, sizeof(s), "%.0f", number(row, key));
    add_text(t, json_is_number(json_object_get(row, key)) ? s : "-");
}

static void add_bytes(struct isola__table *t, double bytes)
{
    char s[ISOLA__HUMAN_SIZE];
    isola__human_bytes((uint64_t)bytes, s);
    add_text(t, s);
}

static double of_files(const json_t *row, const char *key)
{
    double sum = 0;
    size_t i;
    const json_t *f;
    json_array_foreach(json_object_get(row, "files"), i, f)
    {
        sum += number(f, key);
    }
    return sum;
}

/* Its bytes, and how far it reaches. */
static void add_history(struct isola__table *t, const json_t *row)
{
    char size[ISOLA__HUMAN_SIZE], ago[ISOLA__HUMAN_SIZE], cell[2 * ISOLA__HUMAN_SIZE + 2];
    double since = number(row, "history_since"), ms = (double)isola_clock_wall_ms() - since;
    isola__human_bytes((uint64_t)number(row, "history_bytes"), size);
    isola__human_time(since > 0 && ms > 0 ? (uint64_t)ms : 0, ago);
    snprintf(cell, sizeof(cell), "%s, %s", size, ago);
    add_text(t, json_is_true(json_object_get(row, "history")) ? since > 0 ? cell : size : "off");
}

static void put_stores(struct isola__cli *cli, const json_t *stores, struct isola_buf *out)
{
    static const struct isola__column columns[] = {
        {"NODE", ISOLA__WORD},       {"ACTORS", ISOLA__NUMBER},  {"STATES", ISOLA__NUMBER},
        {"STORAGE", ISOLA__NUMBER},  {"SQL", ISOLA__NUMBER},     {"TIMERS", ISOLA__NUMBER},
        {"MESSAGES", ISOLA__NUMBER}, {"JOURNAL", ISOLA__NUMBER}, {"HISTORY", ISOLA__NUMBER},
        {"FILES", ISOLA__NUMBER},    {"LOGS", ISOLA__NUMBER},    {"COMMITS/S", ISOLA__NUMBER},
        {"WRITES/S", ISOLA__NUMBER}};
    struct isola__table t;
    size_t i;
    const json_t *row;
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(stores, i, row)
    {
        add_text(&t, text(row, "node"));
        add_count(&t, row, "actors");
        add_bytes(&t, number(row, "state_bytes"));
        add_bytes(&t, number(json_object_get(row, "storage"), "bytes"));
        add_bytes(&t, number(json_object_get(row, "sql"), "bytes"));
        add_count(&t, json_object_get(row, "timers"), "rows");
        add_count(&t, json_object_get(row, "messages"), "rows");
        add_bytes(&t, number(row, "journal_bytes"));
        add_history(&t, row);
        add_bytes(&t, of_files(row, "bytes"));
        add_bytes(&t, of_files(row, "log_bytes"));
        add_count(&t, row, "commits_rate");
        add_count(&t, row, "writes_rate");
    }
    isola__table_print(&t, cli->width, cli->colour, out);
    isola__table_free(&t);
}

static void put_largest(struct isola__cli *cli, const json_t *stores, struct isola_buf *out)
{
    static const struct isola__column columns[] = {
        {"LARGEST", ISOLA__LONG}, {"NODE", ISOLA__WORD}, {"BYTES", ISOLA__NUMBER}};
    struct isola__table t;
    size_t i, k, n = 0;
    const json_t *row, *actor;
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(stores, i, row)
    {
        json_array_foreach(json_object_get(row, "largest"), k, actor)
        {
            add_text(&t, text(actor, "address"));
            add_text(&t, text(row, "node"));
            add_bytes(&t, number(actor, "bytes"));
            n++;
        }
    }
    if (n > 0) {
        isola_buf_puts(out, "\n");
        isola__table_print(&t, cli->width, cli->colour, out);
    }
    isola__table_free(&t);
}

/* --- what is wrong --- */

/* Takes the line. */
static void put_line(struct isola__cli *cli, struct isola_buf *out, enum isola__tone tone,
                     struct isola_buf *line)
{
    isola__tone(out, tone, cli->colour, isola_buf_slice(line));
    isola_buf_puts(out, "\n");
    isola_buf_free(line);
}

static void say(struct isola_buf *line, const json_t *row, const char *key)
{
    struct isola_buf clean = {0};
    isola__text_clean(&clean, isola__text_of(json_object_get(row, key)));
    isola__text_indent(line, isola_buf_slice(&clean));
    isola_buf_free(&clean);
}

/* False: a file is damaged. */
static bool put_checks(struct isola__cli *cli, const json_t *row, struct isola_buf *out)
{
    size_t i, checked = 0, bad = 0;
    const json_t *f, *files = json_object_get(row, "files");
    json_array_foreach(files, i, f)
    {
        struct isola_buf line = {0};
        checked += json_is_true(json_object_get(f, "checked"));
        if (!json_is_string(json_object_get(f, "damage")))
            continue;
        bad++;
        say(&line, row, "node");
        isola_buf_puts(&line, ": ");
        say(&line, f, "name");
        isola_buf_puts(&line, " is damaged: ");
        say(&line, f, "damage");
        isola_buf_puts(&line, " (docs/backup.md)");
        put_line(cli, out, ISOLA__BAD, &line);
    }
    if (bad == 0 && cli->options.check) {
        struct isola_buf line = {0};
        bool all = checked == json_array_size(files);
        say(&line, row, "node");
        if (all)
            isola_buf_printf(&line, ": all %zu files are sound", checked);
        else
            isola_buf_printf(&line, ": %zu of %zu files were checked, and are sound", checked,
                             json_array_size(files));
        put_line(cli, out, all ? ISOLA__GOOD : ISOLA__WARN, &line);
    }
    return bad == 0;
}

static void put_failure(struct isola__cli *cli, const json_t *row, struct isola_buf *out)
{
    struct isola_buf line = {0};
    char ago[ISOLA__HUMAN_SIZE];
    double ms = (double)isola_clock_wall_ms() - number(row, "failed_at");
    if (text(row, "failure")[0] == '\0')
        return;
    isola__human_time(ms > 0 ? (uint64_t)ms : 0, ago);
    say(&line, row, "node");
    isola_buf_printf(&line, ": %s ago a read or a commit failed: ", ago);
    say(&line, row, "failure");
    put_line(cli, out, ISOLA__WARN, &line);
}

static bool put_wrongs(struct isola__cli *cli, const json_t *stores, struct isola_buf *out)
{
    size_t i;
    const json_t *row;
    bool sound = true;
    json_array_foreach(stores, i, row)
    {
        sound = put_checks(cli, row, out) && sound;
        put_failure(cli, row, out);
        if (json_is_true(json_object_get(row, "cut"))) {
            struct isola_buf line = {0};
            say(&line, row, "node");
            isola_buf_printf(&line,
                             ": there are more actors than could be looked at; counted are %.0f",
                             number(row, "actors"));
            put_line(cli, out, ISOLA__WARN, &line);
        }
    }
    return sound;
}

static void show(struct isola__cli *cli, json_t *value, const json_t *earlier)
{
    struct isola_buf out = {0};
    json_t *stores = json_object_get(value, "stores");
    add_rates(stores, json_object_get(earlier, "stores"));
    put_stores(cli, stores, &out);
    put_largest(cli, stores, &out);
    bool sound = put_wrongs(cli, stores, &out);
    isola__list_unreachable(json_object_get(value, "unreachable"),
                            " (what they store is not known)", cli->colour, &out);
    if (cli->options.json) {
        isola_buf_free(&out);
        isola__out_json(cli, value, false);
    } else {
        isola__out(cli, &out);
    }
    if (!sound)
        cli->status = ISOLA__FAILED;
}

void isola__run_store(struct isola__cli *cli)
{
    struct isola__client *client;
    struct isola_err err;
    if (isola__client_open(cli->socket, &client, &err) != 0) {
        isola__fail(cli, &err);
        return;
    }
    uint32_t wait_ms = (cli->options.seconds > 0 ? cli->options.seconds : 1) * 1000;
    json_t *value = NULL, *earlier = look(cli, client, true);
    if (earlier != NULL && isola__client_pause(client, wait_ms, &err) != 0)
        isola__fail(cli, &err);
    else if (earlier != NULL)
        value = look(cli, client, false);
    if (value != NULL)
        show(cli, value, earlier);
    json_decref(value);
    json_decref(earlier);
    isola__client_close(client);
}
