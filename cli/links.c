/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl links: what goes over each link, as the difference of two looks.
 *
 * The agents count since a link is up; asked twice, a second apart, they give rates without keeping
 * time themselves. A link that was not there at the first look, or is another one now, has none.
 * Below the table is what is wrong, or was: which links were lost, since when and why, and durable
 * messages that wait.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

/* The result of one look; NULL: there is none, and that has been told. */
static json_t *look(struct isola__cli *cli, struct isola__client *client)
{
    struct isola_buf params = {0};
    struct isola_msg *answer = NULL;
    struct isola_err err;
    json_t *value = NULL;
    bool one = cli->options.noperands > 0;
    isola_mp_map(&params, one);
    if (one)
        isola_mp_kstr(&params, "node", cli->options.operands[0]);
    if (isola__client_call(client, "links", isola_buf_slice(&params),
                           isola__wait_ms(cli, ISOLA__STATUS_MS), &answer, &err) != 0)
        isola__fail(cli, &err);
    else
        value = isola__result(cli, answer, "links");
    free(answer);
    isola_buf_free(&params);
    return value;
}

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s != NULL ? s : "";
}

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

/* The same link, earlier; NULL: it was not there. */
static const json_t *before(const json_t *earlier, const json_t *row)
{
    static const char *const same[] = {"node", "peer", "kind", "direction", "url"};
    size_t i;
    const json_t *old;
    json_array_foreach(earlier, i, old)
    {
        bool equal = number(old, "up_ms") <= number(row, "up_ms");
        for (size_t k = 0; k < sizeof(same) / sizeof(same[0]) && equal; k++)
            equal = strcmp(text(old, same[k]), text(row, same[k])) == 0;
        if (equal)
            return old;
    }
    return NULL;
}

static const struct {
    const char *count, *rate;
} rates[] = {{"messages_in", "messages_in_rate"},
             {"messages_out", "messages_out_rate"},
             {"bytes_in", "bytes_in_rate"},
             {"bytes_out", "bytes_out_rate"}};
#define NRATES (sizeof(rates) / sizeof(rates[0]))

/* Adds to each row what has passed per second since the earlier look. */
static void add_rates(json_t *links, const json_t *earlier, double seconds)
{
    size_t i;
    json_t *row;
    json_array_foreach(links, i, row)
    {
        const json_t *old = before(earlier, row);
        for (size_t k = 0; k < NRATES && old != NULL; k++)
            if (number(row, rates[k].count) < number(old, rates[k].count))
                old = NULL; /* it has been made anew meanwhile */
        for (size_t k = 0; k < NRATES; k++) {
            double passed = number(row, rates[k].count) - number(old, rates[k].count);
            json_object_set_new(row, rates[k].rate,
                                old == NULL ? json_null() : json_real(passed / seconds));
        }
    }
}

static void add(struct isola__table *t, const char *value)
{
    bool none = value[0] == '\0';
    isola__table_add(t, isola_slice_str(none ? "-" : value), none ? ISOLA__DIM : ISOLA__PLAIN);
}

static void add_count(struct isola__table *t, const json_t *row, const char *key, bool bytes)
{
    char s[ISOLA__HUMAN_SIZE] = "";
    const json_t *v = json_object_get(row, key);
    double d = json_number_value(v);
    if (json_is_number(v) && d >= 0 && d < 9e15 && bytes)
        isola__human_bytes((uint64_t)d, s);
    else if (json_is_number(v) && d >= 0 && d < 9e15)
        snprintf(s, sizeof(s), "%.0f", d);
    add(t, s);
}

static void add_time(struct isola__table *t, const json_t *row)
{
    char s[ISOLA__HUMAN_SIZE] = "";
    const json_t *v = json_object_get(row, "up_ms");
    double d = json_number_value(v);
    if (json_is_number(v) && d >= 0 && d < 9e15)
        isola__human_time((uint64_t)d, s);
    add(t, s);
}

static void add_rtt(struct isola__table *t, const json_t *row)
{
    char s[ISOLA__HUMAN_SIZE] = "";
    const json_t *v = json_object_get(row, "rtt_us");
    double d = json_number_value(v);
    if (json_is_number(v) && d >= 0 && d < 1000)
        snprintf(s, sizeof(s), "%.0f µs", d);
    else if (json_is_number(v) && d >= 0 && d < 9e15)
        snprintf(s, sizeof(s), "%.1f ms", d / 1000);
    add(t, s);
}

static void add_state(struct isola__table *t, const json_t *row)
{
    const char *state = text(row, "state");
    bool up = strcmp(state, "up") == 0;
    isola__table_add(t, isola_slice_str(state), up ? ISOLA__GOOD : ISOLA__WARN);
}

static void say(struct isola_buf *line, const json_t *row, const char *key)
{
    isola__text_clean(line, isola__text_of(json_object_get(row, key)));
}

/* Takes the line. */
static void put_line(struct isola_buf *out, enum isola__tone tone, bool colour,
                     struct isola_buf *line)
{
    isola__tone(out, tone, colour, isola_buf_slice(line));
    isola_buf_puts(out, "\n");
    isola_buf_free(line);
}

/* Connections that were turned away: who is not of the cluster, or another user. */
static void list_refusals(const json_t *listeners, bool colour, struct isola_buf *out)
{
    size_t i;
    const json_t *l;
    json_array_foreach(listeners, i, l)
    {
        struct isola_buf line = {0};
        if (!(number(l, "refused") > 0))
            continue;
        isola_buf_printf(&line, "%.0f connection%s refused by ", number(l, "refused"),
                         number(l, "refused") == 1 ? "" : "s");
        say(&line, l, "node");
        isola_buf_puts(&line, " at ");
        say(&line, l, "url");
        isola_buf_puts(&line, "; its log says why");
        put_line(out, ISOLA__WARN, colour, &line);
    }
}

/* Links that were lost or cannot be made: how often, when last, and why. */
static void list_losses(const json_t *links, bool colour, struct isola_buf *out)
{
    size_t i;
    const json_t *row;
    json_array_foreach(links, i, row)
    {
        struct isola_buf line = {0};
        char ago[ISOLA__HUMAN_SIZE] = "";
        double lost = number(row, "lost"), ms = number(row, "lost_ms");
        if (!(lost > 0) && text(row, "why")[0] == '\0')
            continue;
        say(&line, row, "kind");
        isola_buf_puts(&line, " link of ");
        say(&line, row, "node");
        isola_buf_puts(&line, " with ");
        say(&line, row, "peer");
        if (ms >= 0 && ms < 9e15)
            isola__human_time((uint64_t)ms, ago);
        if (lost > 0)
            isola_buf_printf(&line, ": lost %.0f time%s, last %s ago: ", lost, lost == 1 ? "" : "s",
                             ago);
        else
            isola_buf_puts(&line, ": could not be made: ");
        say(&line, row, "why");
        put_line(out, ISOLA__WARN, colour, &line);
    }
}

/* All links have the same one, or nearly: a line instead of a column. */
static void list_ciphers(const json_t *links, bool colour, struct isola_buf *out)
{
    struct isola_buf line = {0};
    size_t i, k;
    const json_t *row, *other;
    json_array_foreach(links, i, row)
    {
        const char *cipher = text(row, "cipher");
        bool first = cipher[0] != '\0';
        json_array_foreach(links, k, other)
        {
            if (k >= i)
                break;
            first = first && strcmp(text(other, "cipher"), cipher) != 0;
        }
        if (!first)
            continue;
        isola_buf_puts(&line, line.len > 0 ? ", " : "encrypted with ");
        say(&line, row, "cipher");
    }
    if (line.len > 0)
        put_line(out, ISOLA__DIM, colour, &line);
}

/* Of nodes whose actors have sent any. */
static void list_durables(const json_t *durables, bool colour, struct isola_buf *out)
{
    size_t i;
    const json_t *d;
    json_array_foreach(durables, i, d)
    {
        struct isola_buf line = {0};
        double waiting = number(d, "waiting"), given_up = number(d, "given_up");
        if (!(waiting > 0 || number(d, "sent") > 0 || given_up > 0))
            continue;
        isola_buf_puts(&line, "durable messages of ");
        say(&line, d, "node");
        isola_buf_printf(&line, ": %.0f not acknowledged; %.0f sent, %.0f of them again", waiting,
                         number(d, "sent"), number(d, "resent"));
        if (given_up > 0)
            isola_buf_printf(&line, "; %.0f that came were given up", given_up);
        put_line(out, waiting > 0 || given_up > 0 ? ISOLA__WARN : ISOLA__DIM, colour, &line);
    }
}

static void print(struct isola__cli *cli, const json_t *value)
{
    static const struct isola__column columns[] = {
        {"NODE", ISOLA__WORD},      {"PEER", ISOLA__WORD},     {"KIND", ISOLA__WORD},
        {"DIR", ISOLA__WORD},       {"STATE", ISOLA__WORD},    {"RTT", ISOLA__NUMBER},
        {"IN/S", ISOLA__NUMBER},    {"OUT/S", ISOLA__NUMBER},  {"IN", ISOLA__NUMBER},
        {"OUT", ISOLA__NUMBER},     {"QUEUED", ISOLA__NUMBER}, {"WAITING", ISOLA__NUMBER},
        {"REFUSED", ISOLA__NUMBER}, {"LOST", ISOLA__NUMBER},   {"WIRE", ISOLA__NUMBER},
        {"VERSION", ISOLA__WORD},   {"UP", ISOLA__NUMBER}};
    struct isola__table t;
    struct isola_buf out = {0};
    size_t i;
    const json_t *row, *links = json_object_get(value, "links");
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(links, i, row)
    {
        add(&t, text(row, "node"));
        add(&t, text(row, "peer"));
        add(&t, text(row, "kind"));
        add(&t, text(row, "direction"));
        add_state(&t, row);
        add_rtt(&t, row);
        add_count(&t, row, "messages_in_rate", false);
        add_count(&t, row, "messages_out_rate", false);
        add_count(&t, row, "bytes_in_rate", true);
        add_count(&t, row, "bytes_out_rate", true);
        add_count(&t, row, "queued", false);
        add_count(&t, row, "queued_bytes", true);
        add_count(&t, row, "refused", false);
        add_count(&t, row, "lost", false);
        add_count(&t, row, "wire", false);
        add(&t, text(row, "version"));
        add_time(&t, row);
    }
    if (json_array_size(links) == 0)
        isola_buf_puts(&out, "no links: this node is in no cluster, or the only one in it\n");
    else
        isola__table_print(&t, cli->width, cli->colour, &out);
    isola__table_free(&t);
    list_ciphers(links, cli->colour, &out);
    list_losses(links, cli->colour, &out);
    list_durables(json_object_get(value, "durables"), cli->colour, &out);
    list_refusals(json_object_get(value, "listeners"), cli->colour, &out);
    isola__list_unreachable(json_object_get(value, "unreachable"),
                            " (their own ends are not listed, or not all)", cli->colour, &out);
    isola__out(cli, &out);
}

static void show(struct isola__cli *cli, json_t *value, const json_t *earlier, double seconds)
{
    add_rates(json_object_get(value, "links"), json_object_get(earlier, "links"), seconds);
    if (cli->options.json)
        isola__out_json(cli, value, false);
    else
        print(cli, value);
}

void isola__run_links(struct isola__cli *cli)
{
    struct isola__client *client;
    struct isola_err err;
    if (isola__client_open(cli->socket, &client, &err) != 0) {
        isola__fail(cli, &err);
        return;
    }
    json_t *value = NULL, *earlier = look(cli, client);
    uint64_t began = isola_clock_ms();
    uint32_t wait_ms = (cli->options.seconds > 0 ? cli->options.seconds : 1) * 1000;
    if (earlier != NULL && isola__client_pause(client, wait_ms, &err) != 0)
        isola__fail(cli, &err);
    else if (earlier != NULL)
        value = look(cli, client);
    if (value != NULL)
        show(cli, value, earlier, (double)(isola_clock_ms() - began) / 1000);
    json_decref(value);
    json_decref(earlier);
    isola__client_close(client);
}
