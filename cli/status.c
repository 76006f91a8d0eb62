/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands that show tables of the cluster: ps and nodes. With --json they pass on what the
 * agent said; the tables take from it what they know, and show "-" for what is missing, of another
 * type, or was true only while a process lived.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

static enum isola__tone tone_of(const char *state)
{
    if (state == NULL)
        return ISOLA__PLAIN;
    if (strcmp(state, "failed") == 0 || strcmp(state, "down") == 0 || strcmp(state, "removed") == 0)
        return ISOLA__BAD;
    if (strcmp(state, "starting") == 0)
        return ISOLA__WARN;
    return strcmp(state, "running") == 0 || strcmp(state, "up") == 0 ? ISOLA__GOOD : ISOLA__PLAIN;
}

static void add_text(struct isola__table *t, const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    enum isola__tone tone =
        strcmp(key, "state") == 0 ? tone_of(json_string_value(v)) : ISOLA__PLAIN;
    if (json_string_length(v) > 0)
        isola__table_add(t, isola__text_of(v), tone);
    else
        isola__table_add(t, isola_slice_str("-"), ISOLA__DIM);
}

enum unit { PLAIN_NUMBER, BYTES, TIME };

static void add_number(struct isola__table *t, const json_t *row, const char *key, enum unit unit)
{
    const json_t *v = json_object_get(row, key);
    char text[ISOLA__HUMAN_SIZE];
    double d = json_number_value(v);
    if (!json_is_number(v) || !(d >= 0 && d <= 9007199254740992.0)) {
        isola__table_add(t, isola_slice_str("-"), ISOLA__DIM);
        return;
    }
    if (unit == BYTES)
        isola__human_bytes((uint64_t)d, text);
    else if (unit == TIME)
        isola__human_time((uint64_t)d, text);
    else
        snprintf(text, sizeof(text), "%.0f", d);
    isola__table_add(t, isola_slice_str(text), ISOLA__PLAIN);
}

/* A number that means something only while the process it is about lives. */
static void add_alive(struct isola__table *t, bool alive, const json_t *row, const char *key,
                      enum unit unit)
{
    if (alive)
        add_number(t, row, key, unit);
    else
        isola__table_add(t, isola_slice_str("-"), ISOLA__DIM);
}

/* What a process has, "52 MB of 256 MB" if it has a bound. */
static void add_memory(struct isola__table *t, bool alive, const json_t *row)
{
    char has[ISOLA__HUMAN_SIZE], may[ISOLA__HUMAN_SIZE], text[2 * ISOLA__HUMAN_SIZE + 8];
    json_int_t limit = json_integer_value(json_object_get(row, "memory_limit"));
    if (!alive || limit <= 0) {
        add_alive(t, alive, row, "memory", BYTES);
        return;
    }
    isola__human_bytes((uint64_t)json_integer_value(json_object_get(row, "memory")), has);
    isola__human_bytes((uint64_t)limit, may);
    snprintf(text, sizeof(text), "%s of %s", has, may);
    isola__table_add(t, isola_slice_str(text), ISOLA__PLAIN);
}

/* When the next one of an actor's timers is due, from now. */
static void add_next(struct isola__table *t, const json_t *row)
{
    const json_t *v = json_object_get(row, "next_timer");
    char human[ISOLA__HUMAN_SIZE];
    double in = json_number_value(v) - (double)isola_clock_wall_ms();
    if (json_is_number(v) && in < 9007199254740992.0) {
        isola__human_time(in > 0 ? (uint64_t)in : 0, human);
        isola__table_add(t, isola_slice_str(in > 0 ? human : "now"), ISOLA__PLAIN);
    } else {
        isola__table_add(t, isola_slice_str("-"), ISOLA__DIM);
    }
}

static bool any_timers(const json_t *actors)
{
    size_t i;
    const json_t *actor;
    json_array_foreach(actors, i, actor)
    {
        if (json_number_value(json_object_get(actor, "timers")) > 0)
            return true;
    }
    return false;
}

static int by_address(const void *a, const void *b)
{
    const char *x = json_string_value(json_object_get(*(const json_t *const *)a, "address"));
    const char *y = json_string_value(json_object_get(*(const json_t *const *)b, "address"));
    return strcmp(x != NULL ? x : "", y != NULL ? y : "");
}

/* The rows in the order of their addresses: the agent's own order says nothing to a person. The
 * caller frees the array; the rows stay the list's. */
static const json_t **sorted(const json_t *actors)
{
    size_t n = json_array_size(actors);
    const json_t **rows = isola_alloc(n * sizeof(const json_t *));
    for (size_t i = 0; i < n; i++)
        rows[i] = json_array_get(actors, i);
    qsort((void *)rows, n, sizeof(const json_t *), by_address);
    return rows;
}

void isola__list_unreachable(const json_t *names, const char *meaning, bool colour,
                             struct isola_buf *out)
{
    size_t i;
    const json_t *name;
    struct isola_buf line = {0};
    if (json_array_size(names) == 0)
        return;
    json_array_foreach(names, i, name)
    {
        isola_buf_puts(&line, i == 0 ? "unreachable: " : ", ");
        isola__text_clean(&line, isola__text_of(name));
    }
    isola_buf_puts(&line, meaning);
    isola__tone(out, ISOLA__WARN, colour, isola_buf_slice(&line));
    isola_buf_puts(out, "\n");
    isola_buf_free(&line);
}

void isola__tell_missing(const json_t *value, const char *meaning, struct isola_buf *note)
{
    size_t i;
    const json_t *name;
    json_array_foreach(json_object_get(value, "unreachable"), i, name)
    {
        isola_buf_puts(note, "ctl: unreachable: ");
        isola__text_clean(note, isola__text_of(name));
        isola_buf_printf(note, " (%s)\n", meaning);
    }
    if (note->len > 0 && !note->failed)
        fwrite(note->data, 1, note->len, stderr);
    isola_buf_free(note);
}

#define FAILURES_MAX 20

/* Why those that have failed have, each on a line below the table. */
static void list_failures(const json_t **rows, size_t n, bool colour, struct isola_buf *out)
{
    size_t told = 0, left = 0;
    struct isola_slice first = {0};
    for (size_t i = 0; i < n; i++) {
        struct isola_slice why = isola__text_of(json_object_get(rows[i], "failure"));
        if (why.len == 0)
            continue;
        if (told == 0)
            first = isola__text_of(json_object_get(rows[i], "address"));
        if (told++ >= FAILURES_MAX) {
            left++;
            continue;
        }
        const uint8_t *end = memchr(why.data, '\n', why.len);
        struct isola_buf line = {0};
        isola__text_clean(&line, isola__text_of(json_object_get(rows[i], "address")));
        isola_buf_puts(&line, " ");
        isola__text_clean(&line,
                          isola_slice(why.data, end != NULL ? (size_t)(end - why.data) : why.len));
        isola__tone(out, ISOLA__BAD, colour, isola_buf_slice(&line));
        isola_buf_puts(out, "\n");
        isola_buf_free(&line);
    }
    if (left > 0)
        isola_buf_printf(out, "and %zu more have failed; --json has their reasons\n", left);
    if (told == 0)
        return;
    isola_buf_puts(out, "'ctl logs ");
    isola__text_clean(out, told == 1 ? first : isola_slice_str("ADDRESS"));
    isola_buf_puts(out, told == 1 ? "' has more of it\n" : "' has more of each\n");
}

/* What else there is to know of some. */
static void list_notes(const json_t **rows, size_t n, struct isola_buf *out)
{
    size_t told = 0;
    for (size_t i = 0; i < n && told < FAILURES_MAX; i++) {
        struct isola_slice note = isola__text_of(json_object_get(rows[i], "note"));
        if (note.len == 0)
            continue;
        told++;
        isola__text_clean(out, isola__text_of(json_object_get(rows[i], "address")));
        isola_buf_puts(out, " ");
        isola__text_clean(out, note);
        isola_buf_puts(out, "\n");
    }
}

/* What comes from other nodes, each on a line below the table. */
static void list_coming(const json_t **rows, size_t n, struct isola_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *coming = json_object_get(rows[i], "coming");
        if (coming == NULL)
            continue;
        char bytes[ISOLA__HUMAN_SIZE], total[ISOLA__HUMAN_SIZE];
        isola__human_bytes((uint64_t)json_integer_value(json_object_get(coming, "bytes")), bytes);
        isola__human_bytes((uint64_t)json_integer_value(json_object_get(coming, "total")), total);
        isola__text_clean(out, isola__text_of(json_object_get(rows[i], "address")));
        isola_buf_puts(out, " comes from node ");
        isola__text_clean(out, isola__text_of(json_object_get(coming, "from")));
        isola_buf_printf(out, ": %s of %s\n", bytes, total);
    }
}

static bool is_service(const json_t *row)
{
    const char *isolation = json_string_value(json_object_get(row, "isolation"));
    return isolation != NULL && strcmp(isolation, "process") == 0;
}

/* Are there actors of one app that are of different releases? The rows are in the order of their
 * addresses. */
static bool has_releases(const json_t **rows, size_t n)
{
    const char *before = NULL, *release_before = "";
    for (size_t i = 0; i < n; i++) {
        const char *address = json_string_value(json_object_get(rows[i], "address"));
        const char *release = json_string_value(json_object_get(rows[i], "release"));
        if (is_service(rows[i]) || address == NULL || release == NULL)
            continue;
        size_t app = strcspn(address, "/") + 1;
        if (before != NULL && strncmp(before, address, app) == 0 &&
            strcmp(release_before, release) != 0)
            return true;
        before = address;
        release_before = release;
    }
    return false;
}

/* The table of those that are actors; nothing when there are none. */
static void list_actors(const struct isola__cli *cli, const json_t **rows, size_t n, bool timers,
                        struct isola_buf *out)
{
    struct isola__column columns[11] = {{"ADDRESS", ISOLA__LONG}, {"ISOLATION", ISOLA__WORD},
                                        {"NODE", ISOLA__WORD},    {"THREAD", ISOLA__NUMBER},
                                        {"STATE", ISOLA__WORD},   {"MAILBOX", ISOLA__NUMBER},
                                        {"TURNS", ISOLA__NUMBER}, {"HEAP", ISOLA__NUMBER}};
    struct isola__table t;
    size_t listed = 0, ncolumns = 8;
    bool releases = has_releases(rows, n); /* of a canary, or while a release comes */
    if (releases)
        columns[ncolumns++] = (struct isola__column){"RELEASE", ISOLA__WORD};
    if (timers) {
        columns[ncolumns++] = (struct isola__column){"TIMERS", ISOLA__NUMBER};
        columns[ncolumns++] = (struct isola__column){"NEXT", ISOLA__NUMBER};
    }
    isola__table_init(&t, columns, ncolumns);
    for (size_t i = 0; i < n; i++) {
        const json_t *actor = rows[i];
        if (is_service(actor))
            continue;
        listed++;
        add_text(&t, actor, "address");
        add_text(&t, actor, "isolation");
        add_text(&t, actor, "node");
        add_number(&t, actor, "thread", PLAIN_NUMBER);
        add_text(&t, actor, "state");
        add_number(&t, actor, "mailbox", PLAIN_NUMBER);
        add_number(&t, actor, "turns", PLAIN_NUMBER);
        add_number(&t, actor, "heap", BYTES);
        if (releases)
            add_text(&t, actor, "release");
        if (timers) { /* few have any */
            add_number(&t, actor, "timers", PLAIN_NUMBER);
            add_next(&t, actor);
        }
    }
    if (listed > 0)
        isola__table_print(&t, cli->width, cli->colour, out);
    isola__table_free(&t);
}

/* "05f7a6054c32568f", and whether that is a canary. */
static void add_release(struct isola__table *t, const json_t *row)
{
    struct isola_buf text = {0};
    isola__text_clean(&text, isola__text_of(json_object_get(row, "release")));
    if (json_is_true(json_object_get(row, "canary")))
        isola_buf_puts(&text, " (canary)");
    isola__table_add(t, isola_buf_slice(&text), ISOLA__PLAIN);
    isola_buf_free(&text);
}

/* Likewise of instances of services, which have other things to show. */
static void list_services(const struct isola__cli *cli, const json_t **rows, size_t n,
                          struct isola_buf *out)
{
    static const struct isola__column columns[] = {
        {"SERVICE", ISOLA__LONG}, {"NODE", ISOLA__WORD},       {"PID", ISOLA__NUMBER},
        {"STATE", ISOLA__WORD},   {"PORT", ISOLA__NUMBER},     {"MEMORY", ISOLA__NUMBER},
        {"CPU", ISOLA__NUMBER},   {"RESTARTS", ISOLA__NUMBER}, {"RELEASE", ISOLA__WORD}};
    struct isola__table t;
    size_t listed = 0;
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < n; i++) {
        const json_t *row = rows[i];
        if (!is_service(row))
            continue;
        bool alive = json_is_integer(json_object_get(row, "pid"));
        listed++;
        add_text(&t, row, "address");
        add_text(&t, row, "node");
        add_number(&t, row, "pid", PLAIN_NUMBER);
        add_text(&t, row, "state");
        add_number(&t, row, "port", PLAIN_NUMBER);
        add_memory(&t, alive, row);
        add_alive(&t, alive, row, "cpu_ms", TIME);
        add_number(&t, row, "restarts", PLAIN_NUMBER);
        add_release(&t, row);
    }
    if (listed > 0 && out->len > 0)
        isola_buf_puts(out, "\n");
    if (listed > 0)
        isola__table_print(&t, cli->width, cli->colour, out);
    isola__table_free(&t);
}

void isola__run_ps(struct isola__cli *cli)
{
    const char *app = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    if (app != NULL && !isola__check_app(cli, app))
        return;
    struct isola_buf params = {0};
    isola_mp_map(&params, (size_t)(app != NULL) + cli->options.lines_given);
    if (app != NULL)
        isola_mp_kstr(&params, "app", app);
    if (cli->options.lines_given)
        isola_mp_kuint(&params, "limit", cli->options.lines);
    json_t *value = isola__call(cli, "ps", &params, ISOLA__STATUS_MS, "actors");
    if (value == NULL)
        return;
    if (app != NULL && json_integer_value(json_object_get(value, "total")) == 0 &&
        json_array_size(json_object_get(value, "actors")) == 0 && !isola__find(cli, app)) {
        json_decref(value);
        return;
    }
    if (cli->options.json) {
        isola__out_json(cli, value, false);
        json_decref(value);
        return;
    }

    const json_t *actors = json_object_get(value, "actors");
    struct isola_buf out = {0};
    size_t listed = json_array_size(actors);
    json_int_t total = json_integer_value(json_object_get(value, "total"));
    bool all = json_array_size(json_object_get(value, "unreachable")) == 0;
    if (listed == 0 && total <= 0 && all) {
        isola_buf_printf(&out, "no actor%s%s is live; an actor's first message starts it\n",
                         app != NULL ? " of " : "", app != NULL ? app : "");
    } else if (listed > 0) {
        const json_t **rows = sorted(actors);
        list_actors(cli, rows, listed, any_timers(actors), &out);
        list_services(cli, rows, listed, &out);
        list_failures(rows, listed, cli->colour, &out);
        list_notes(rows, listed, &out);
        list_coming(rows, listed, &out);
        free((void *)rows);
    }
    if (total > (json_int_t)listed)
        isola_buf_printf(&out, "%zu of %" JSON_INTEGER_FORMAT " actors; --lines lists more\n",
                         listed, total);
    isola__list_unreachable(json_object_get(value, "unreachable"),
                            " (the actors there are not listed)", cli->colour, &out);
    isola__out(cli, &out);
    json_decref(value);
}

static void name_cluster(const json_t *cluster, bool colour, struct isola_buf *out)
{
    struct isola_buf line = {0};
    if (json_is_object(cluster)) {
        isola_buf_puts(&line, "cluster ");
        isola__text_clean(&line, isola__text_of(json_object_get(cluster, "name")));
        isola_buf_puts(&line, " (");
        isola__text_clean(&line, isola__text_of(json_object_get(cluster, "id")));
        isola_buf_puts(&line, ")");
    } else if (json_is_null(cluster)) {
        isola_buf_puts(&line, "in no cluster; `ctl init` makes one");
    }
    if (line.len > 0) {
        isola__tone(out, ISOLA__DIM, colour, isola_buf_slice(&line));
        isola_buf_puts(out, "\n");
    }
    isola_buf_free(&line);
}

/* Who is up and was asked in vain. An actor-host that stands still is not seen to be dead, so it is
 * told how to end it. */
static void tell_silent(const json_t *node, bool colour, struct isola_buf *out)
{
    const char *who = json_string_value(json_object_get(node, "silent"));
    struct isola_buf line = {0};
    if (who == NULL)
        return;
    isola_buf_puts(&line, "the ");
    isola__text_clean(&line, isola_slice_str(who));
    isola_buf_puts(&line, " of ");
    isola__text_clean(&line, isola__text_of(json_object_get(node, "name")));
    isola_buf_puts(&line, " does not answer: its actors are not counted");
    if (strcmp(who, "actor-host") == 0)
        isola_buf_printf(&line,
                         "; if it stays so: `kill -9 %" JSON_INTEGER_FORMAT
                         "` there, and its agent starts another",
                         json_integer_value(json_object_get(node, "host_pid")));
    isola__tone(out, ISOLA__WARN, colour, isola_buf_slice(&line));
    isola_buf_puts(out, "\n");
    isola_buf_free(&line);
}

void isola__run_nodes(struct isola__cli *cli)
{
    static const struct isola__column columns[] = {
        {"NAME", ISOLA__WORD},      {"STATE", ISOLA__WORD},    {"URL", ISOLA__LONG},
        {"PID", ISOLA__NUMBER},     {"HOST", ISOLA__NUMBER},   {"ACTORS", ISOLA__NUMBER},
        {"THREADS", ISOLA__NUMBER}, {"UPTIME", ISOLA__NUMBER}, {"VERSION", ISOLA__WORD}};
    struct isola_buf params = {0};
    isola_mp_map(&params, 0);
    json_t *value = isola__call(cli, "nodes", &params, ISOLA__STATUS_MS, "nodes");
    if (value == NULL)
        return;
    if (cli->options.json) {
        isola__out_json(cli, value, false);
        json_decref(value);
        return;
    }
    struct isola__table t;
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    size_t i;
    const json_t *node;
    json_array_foreach(json_object_get(value, "nodes"), i, node)
    {
        add_text(&t, node, "name");
        add_text(&t, node, "state");
        add_text(&t, node, "url");
        /* What a node that is down had last: its process ids may be another process' by now. */
        const char *state = json_string_value(json_object_get(node, "state"));
        bool down = state != NULL && strcmp(state, "down") == 0;
        bool host = !down && json_integer_value(json_object_get(node, "host_pid")) > 0;
        add_alive(&t, !down, node, "pid", PLAIN_NUMBER);
        add_alive(&t, host, node, "host_pid", PLAIN_NUMBER);
        add_alive(&t, host, node, "actors", PLAIN_NUMBER);
        add_number(&t, node, "threads", PLAIN_NUMBER);
        add_alive(&t, !down, node, "uptime_ms", TIME);
        add_text(&t, node, "version");
    }
    struct isola_buf out = {0};
    isola__table_print(&t, cli->width, cli->colour, &out);
    isola__table_free(&t);
    json_array_foreach(json_object_get(value, "nodes"), i, node)
        tell_silent(node, cli->colour, &out);
    name_cluster(json_object_get(value, "cluster"), cli->colour, &out);
    isola__out(cli, &out);
    json_decref(value);
}
