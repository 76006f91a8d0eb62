/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl top`: what nodes and actors are at, live on a terminal, or once.
 *
 * Each picture is the difference of two answers to `ps`. On a terminal the last one stays while the
 * next is waited for with poll(), which keys and signals end; each answer has a connection of its
 * own, so an agent that is started again is found again.
 *
 * Invariant: however it ends, the terminal is as it was (but for SIGKILL).
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/value.h"

#define ANSWER_MS   5000u
#define EVERY_MS    2000u
#define ROWS_ONCE   20u
#define ENTER       "\033[?1049h\033[?25l\033[?7l" /* another screen, no cursor, no wrapping */
#define LEAVE       "\033[?7h\033[?25h\033[?1049l"
#define HOME        "\033[H"
#define REST_OF_ROW "\033[K"
#define REST        "\033[J"

/* In the order of isola__sorts. */
enum sort { BY_CPU, BY_MESSAGES, BY_MAILBOX, BY_HEAP, BY_ADDRESS };

/* An actor, a type, or a node. */
struct row {
    char *name; /* owned */
    char *node, *state;
    double cpu, rate; /* percent of a processor; messages a second */
    double mailbox, heap;
    double limit; /* of the memory of a service; 0: none */
    uint64_t actors;
};

struct rows {
    struct row *all;
    size_t n, cap;
    struct isola_map index; /* by name: place in `all`, from 1 */
};

struct sample {
    json_t *value; /* of ps; NULL: none yet */
    uint64_t at_ns;
};

struct top {
    struct isola__cli *cli;
    struct sample then, now;
    enum sort sort;
    bool reverse, types, paused, over;
    char *app;     /* only this one's; NULL: all */
    char *trouble; /* why there is no newer picture; NULL: there is */
    uint64_t every_ms;
};

/* --- samples --- */

static double number(const json_t *object, const char *key)
{
    double d = json_number_value(json_object_get(object, key));
    return d > 0 && d <= 9007199254740992.0 ? d : 0;
}

/* The next one. Fails as a call does; a FAIL too is a failure. */
static int take(struct top *t, struct isola_err *err)
{
    struct isola__client *client;
    struct isola_msg *answer = NULL;
    struct isola_buf params = {0};
    json_t *values = NULL;
    isola_mp_map(&params, 0);
    int rc = isola__client_open(t->cli->socket, &client, err);
    if (rc == 0) {
        rc = isola__client_call(client, "ps", isola_buf_slice(&params),
                                isola__wait_ms(t->cli, ANSWER_MS), &answer, err);
        isola__client_close(client);
    }
    isola_buf_free(&params);
    if (rc == 0)
        rc = isola__value_to_json(answer->args, &values, err);
    const json_t *value = json_array_get(values, 0);
    if (rc == 0 &&
        (answer->kind == ISOLA_MSG_FAIL || !json_is_array(json_object_get(value, "actors"))))
        rc = isola_fail(err, ISOLA_EPROTO, "the agent does not say what its actors are at");
    if (rc == 0) {
        json_decref(t->then.value);
        t->then = t->now;
        t->now = (struct sample){json_incref(json_array_get(values, 0)), isola_clock_ns()};
    }
    json_decref(values);
    free(answer);
    return rc;
}

/* --- rows --- */

static void rows_free(struct rows *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->all[i].name);
        free(r->all[i].node);
        free(r->all[i].state);
    }
    free(r->all);
    isola_map_free(&r->index);
}

static struct row *row_of(struct rows *r, struct isola_slice name)
{
    uintptr_t at = (uintptr_t)isola_map_get(&r->index, name);
    if (at != 0)
        return &r->all[at - 1];
    if (r->n == r->cap) {
        r->cap = r->cap > 0 ? 2 * r->cap : 64;
        r->all = isola_realloc(r->all, r->cap * sizeof(*r->all));
    }
    r->all[r->n] = (struct row){.name = isola_strndup((const char *)name.data, name.len)};
    (void)isola_map_set(&r->index, name, (void *)(r->n + 1));
    return &r->all[r->n++];
}

/* By address: what was there then. */
static void index_actors(const json_t *value, struct isola_map *out)
{
    size_t i;
    json_t *actor;
    json_array_foreach(json_object_get(value, "actors"), i, actor)
    {
        struct isola_slice address = isola__text_of(json_object_get(actor, "address"));
        if (address.len > 0)
            (void)isola_map_set(out, address, actor);
    }
}

/* How much a counter has grown; one that is smaller than it was has begun anew. */
static double grown(const json_t *then, const json_t *now, const char *key)
{
    double before = number(then, key), after = number(now, key);
    return after >= before ? after - before : after;
}

static bool of_app(struct isola_slice address, const char *app)
{
    size_t n = app != NULL ? strlen(app) : 0;
    return app == NULL ||
           (address.len > n && memcmp(address.data, app, n) == 0 && address.data[n] == '/');
}

/* "app/Type" of an address. */
static struct isola_slice type_of(struct isola_slice address)
{
    const uint8_t *slash = memchr(address.data, '/', address.len);
    size_t app = slash != NULL ? (size_t)(slash - address.data) + 1 : address.len;
    slash = app < address.len ? memchr(address.data + app, '/', address.len - app) : NULL;
    return slash != NULL ? isola_slice(address.data, (size_t)(slash - address.data)) : address;
}

static void count(struct row *row, const json_t *then, const json_t *now, double seconds)
{
    double heap = number(now, "heap") + number(now, "memory"); /* services have the latter */
    row->actors++;
    row->cpu += (grown(then, now, "cpu_us") / 1e4 + grown(then, now, "cpu_ms") / 10) / seconds;
    row->rate += grown(then, now, "turns") / seconds;
    row->mailbox += number(now, "mailbox");
    row->heap = heap > row->heap ? heap : row->heap;
    row->limit = number(now, "memory_limit");
}

static char *copy(const json_t *object, const char *key)
{
    struct isola_slice s = isola__text_of(json_object_get(object, key));
    return isola_strndup((const char *)s.data, s.len);
}

static void make_actors(const struct top *t, const struct isola_map *then, double seconds,
                        struct rows *actors, struct rows *nodes)
{
    size_t i;
    const json_t *actor;
    json_array_foreach(json_object_get(t->now.value, "actors"), i, actor)
    {
        struct isola_slice address = isola__text_of(json_object_get(actor, "address"));
        const json_t *before = isola_map_get(then, address);
        struct row *node = row_of(nodes, isola__text_of(json_object_get(actor, "node")));
        double cpu = node->cpu, heap = node->heap;
        count(node, before, actor, seconds);
        node->cpu = cpu; /* of the whole process, and its memory: make_nodes */
        node->heap = heap;
        if (!of_app(address, t->app))
            continue;
        struct row *row = row_of(actors, t->types ? type_of(address) : address);
        count(row, before, actor, seconds);
        if (row->actors == 1 && !t->types) {
            row->node = copy(actor, "node");
            row->state = copy(actor, "state");
        }
    }
}

static const json_t *host_of(const json_t *value, const char *node)
{
    size_t i;
    const json_t *host;
    json_array_foreach(json_object_get(value, "hosts"), i, host)
    {
        const char *name = json_string_value(json_object_get(host, "node"));
        if (name != NULL && strcmp(name, node) == 0)
            return host;
    }
    return NULL;
}

static void make_nodes(const struct top *t, double seconds, struct rows *nodes)
{
    size_t i;
    const json_t *host;
    json_array_foreach(json_object_get(t->now.value, "hosts"), i, host)
    {
        struct row *row = row_of(nodes, isola__text_of(json_object_get(host, "node")));
        row->cpu = grown(host_of(t->then.value, row->name), host, "cpu_us") / seconds / 1e4;
        row->heap = number(host, "memory");
    }
}

static int order(const void *a, const void *b, void *arg)
{
    const struct top *t = arg;
    const struct row *x = a, *y = b;
    double dx = 0, dy = 0;
    switch (t->sort) {
    case BY_CPU:
        dx = x->cpu, dy = y->cpu;
        break;
    case BY_MESSAGES:
        dx = x->rate, dy = y->rate;
        break;
    case BY_MAILBOX:
        dx = x->mailbox, dy = y->mailbox;
        break;
    case BY_HEAP:
        dx = x->heap, dy = y->heap;
        break;
    case BY_ADDRESS:
        break;
    }
    int by = dx != dy ? (dx > dy ? -1 : 1) : strcmp(x->name, y->name);
    return t->reverse ? -by : by;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

/* Both from the last two samples. */
static void make(const struct top *t, struct rows *actors, struct rows *nodes)
{
    double seconds = (double)(t->now.at_ns - t->then.at_ns) / 1e9;
    struct isola_map then = {0};
    if (seconds < 0.001)
        seconds = 0.001;
    index_actors(t->then.value, &then);
    make_actors(t, &then, seconds, actors, nodes);
    make_nodes(t, seconds, nodes);
    isola_map_free(&then);
    if (actors->n > 0)
        qsort_r(actors->all, actors->n, sizeof(*actors->all), order, (void *)t);
    if (nodes->n > 0)
        qsort(nodes->all, nodes->n, sizeof(*nodes->all), by_name);
}

/* --- the picture --- */

static const struct isola__column node_columns[] = {
    {"NODE", ISOLA__WORD},      {"CPU", ISOLA__NUMBER},    {"MSG/S", ISOLA__NUMBER},
    {"MAILBOX", ISOLA__NUMBER}, {"ACTORS", ISOLA__NUMBER}, {"MEMORY", ISOLA__NUMBER},
};
static const struct isola__column actor_columns[] = {
    {"ADDRESS", ISOLA__LONG},   {"CPU", ISOLA__NUMBER},  {"MSG/S", ISOLA__NUMBER},
    {"MAILBOX", ISOLA__NUMBER}, {"HEAP", ISOLA__NUMBER}, {"STATE", ISOLA__WORD},
    {"NODE", ISOLA__WORD},
};
static const struct isola__column type_columns[] = {
    {"TYPE", ISOLA__LONG},      {"CPU", ISOLA__NUMBER},  {"MSG/S", ISOLA__NUMBER},
    {"MAILBOX", ISOLA__NUMBER}, {"HEAP", ISOLA__NUMBER}, {"ACTORS", ISOLA__NUMBER},
};
#define COLUMNS(c) (c), sizeof(c) / sizeof((c)[0])

static void add(struct isola__table *table, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct isola__table *table, const char *fmt, ...)
{
    char text[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    bool nothing = strcmp(text, "0") == 0 || strcmp(text, "0 %") == 0;
    isola__table_add(table, isola_slice_str(text), nothing ? ISOLA__DIM : ISOLA__PLAIN);
}

/* "12 %", "0.4 %" */
static void add_percent(struct isola__table *table, double v)
{
    add(table, v >= 9.95 || v < 0.05 ? "%.0f %%" : "%.1f %%", v);
}

static void add_bytes(struct isola__table *table, double v)
{
    char text[ISOLA__HUMAN_SIZE];
    isola__human_bytes((uint64_t)v, text);
    isola__table_add(table, isola_slice_str(text), ISOLA__PLAIN);
}

/* "52 MB of 256 MB", of a service that has a bound. */
static void add_memory(struct isola__table *table, double v, double limit)
{
    char has[ISOLA__HUMAN_SIZE], may[ISOLA__HUMAN_SIZE];
    if (limit <= 0) {
        add_bytes(table, v);
        return;
    }
    isola__human_bytes((uint64_t)v, has);
    isola__human_bytes((uint64_t)limit, may);
    add(table, "%s of %s", has, may);
}

static void add_rate(struct isola__table *table, double v)
{
    add(table, v >= 9.95 || v < 0.05 ? "%.0f" : "%.1f", v);
}

static void draw_nodes(const struct top *t, const struct rows *nodes, struct isola_buf *out)
{
    struct isola__table table;
    isola__table_init(&table, COLUMNS(node_columns));
    for (size_t i = 0; i < nodes->n; i++) {
        const struct row *row = &nodes->all[i];
        isola__table_add(&table, isola_slice_str(row->name), ISOLA__PLAIN);
        add_percent(&table, row->cpu);
        add_rate(&table, row->rate);
        add(&table, "%.0f", row->mailbox);
        add(&table, "%" PRIu64, row->actors);
        add_bytes(&table, row->heap);
    }
    isola__table_print(&table, t->cli->width, t->cli->colour, out);
    isola__table_free(&table);
}

static void draw_actors(const struct top *t, const struct rows *actors, size_t most,
                        struct isola_buf *out)
{
    struct isola__table table;
    if (t->types)
        isola__table_init(&table, COLUMNS(type_columns));
    else
        isola__table_init(&table, COLUMNS(actor_columns));
    for (size_t i = 0; i < actors->n && i < most; i++) {
        const struct row *row = &actors->all[i];
        isola__table_add(&table, isola_slice_str(row->name), ISOLA__PLAIN);
        add_percent(&table, row->cpu);
        add_rate(&table, row->rate);
        add(&table, "%.0f", row->mailbox);
        add_memory(&table, row->heap, t->types ? 0 : row->limit);
        if (t->types) {
            add(&table, "%" PRIu64, row->actors);
            continue;
        }
        bool failed = strcmp(row->state, "failed") == 0;
        isola__table_add(&table, isola_slice_str(row->state),
                         failed                               ? ISOLA__BAD
                         : strcmp(row->state, "running") == 0 ? ISOLA__GOOD
                                                              : ISOLA__PLAIN);
        isola__table_add(&table, isola_slice_str(row->node), ISOLA__PLAIN);
    }
    isola__table_print(&table, t->cli->width, t->cli->colour, out);
    isola__table_free(&table);
}

/* What is not in the picture, a line each. */
static void draw_missing(const struct top *t, struct isola_buf *out)
{
    uint64_t total = (uint64_t)number(t->now.value, "total");
    size_t listed = json_array_size(json_object_get(t->now.value, "actors"));
    if (total > listed)
        isola_buf_printf(out, "looked at %zu of %" PRIu64 " actors\n", listed, total);
    isola__list_unreachable(json_object_get(t->now.value, "unreachable"),
                            " (the actors there are not listed)", t->cli->colour, out);
}

/* --- once --- */

static json_t *row_json(const struct top *t, const struct row *row, bool node)
{
    json_t *o = json_object();
    json_object_set_new(o, node ? "node" : t->types ? "type" : "address", json_string(row->name));
    if (!node && !t->types) {
        json_object_set_new(o, "node", json_string(row->node));
        json_object_set_new(o, "state", json_string(row->state));
    } else {
        json_object_set_new(o, "actors", json_integer((json_int_t)row->actors));
    }
    json_object_set_new(o, "cpu", json_real(row->cpu));
    json_object_set_new(o, "messages_rate", json_real(row->rate));
    json_object_set_new(o, "mailbox", json_integer((json_int_t)row->mailbox));
    json_object_set_new(o, node ? "memory" : "heap", json_integer((json_int_t)row->heap));
    return o;
}

static void print_json(const struct top *t, const struct rows *actors, const struct rows *nodes,
                       size_t most)
{
    json_t *document = json_object(), *list = json_array();
    for (size_t i = 0; i < nodes->n; i++)
        json_array_append_new(list, row_json(t, &nodes->all[i], true));
    json_object_set_new(document, "nodes", list);
    list = json_array();
    for (size_t i = 0; i < actors->n && i < most; i++)
        json_array_append_new(list, row_json(t, &actors->all[i], false));
    json_object_set_new(document, t->types ? "types" : "actors", list);
    json_object_set(document, "total", json_object_get(t->now.value, "total"));
    json_object_set(document, "unreachable", json_object_get(t->now.value, "unreachable"));
    isola__out_json(t->cli, document, false);
    json_decref(document);
}

static void show_once(struct top *t)
{
    struct isola_err err;
    int rc = take(t, &err);
    if (rc == 0) {
        (void)poll(NULL, 0, (int)t->every_ms); /* what is done meanwhile is the result */
        rc = take(t, &err);
    }
    if (rc != 0) {
        isola__fail(t->cli, &err);
        return;
    }
    const struct isola__options *o = &t->cli->options;
    struct rows actors = {0}, nodes = {0};
    struct isola_buf out = {0};
    size_t most = o->top_given ? o->top : ROWS_ONCE;
    make(t, &actors, &nodes);
    if (o->json) {
        print_json(t, &actors, &nodes, most);
    } else {
        draw_nodes(t, &nodes, &out);
        isola_buf_puts(&out, "\n");
        draw_actors(t, &actors, most, &out);
        draw_missing(t, &out);
        isola__out(t->cli, &out);
    }
    rows_free(&actors);
    rows_free(&nodes);
}

/* --- live --- */

static volatile sig_atomic_t ended;

static void on_end(int signum)
{
    (void)signum;
    ended = 1;
}

static void on_size(int signum)
{
    (void)signum; /* it ends a poll() */
}

static void heading(const struct top *t, struct isola_buf *out)
{
    struct isola_buf line = {0};
    isola_buf_printf(&line, "%s by %s%s", t->types ? "types" : "actors", isola__sorts[t->sort],
                     t->reverse ? ", the least first" : "");
    isola_buf_puts(&line, t->app != NULL ? " of " : "");
    isola__text_clean(&line, isola_slice_str(t->app));
    isola_buf_puts(&line, t->paused ? ", paused" : "");
    isola__tone(out, t->paused ? ISOLA__WARN : ISOLA__BOLD, t->cli->colour, isola_buf_slice(&line));
    isola_buf_puts(out, "\n");
    isola_buf_free(&line);
}

/* As many lines as the terminal has, each to the end of its row. */
static void put_screen(struct top *t, const struct isola_buf *text, size_t height)
{
    struct isola_buf out = {0};
    size_t lines = 0;
    isola_buf_puts(&out, HOME);
    for (size_t at = 0; at < text->len && lines < height; lines++) {
        const uint8_t *end = memchr(text->data + at, '\n', text->len - at);
        size_t n = end != NULL ? (size_t)(end - text->data) - at : text->len - at;
        isola_buf_puts(&out, lines > 0 ? "\n" : "");
        isola_buf_append(&out, text->data + at, n);
        isola_buf_puts(&out, REST_OF_ROW);
        at += n + 1;
    }
    isola_buf_puts(&out, REST);
    t->over = !isola__out(t->cli, &out) || t->over;
}

static void draw(struct top *t)
{
    static const char keys[] =
        "c cpu  m messages  b mailbox  h heap  a address  r reverse  t types  f app  p pause  q";
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct rows actors = {0}, nodes = {0};
    struct isola_buf out = {0};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    size_t height = size.ws_row > 0 ? size.ws_row : 24;
    t->cli->width = size.ws_col;
    if (t->then.value != NULL) {
        make(t, &actors, &nodes);
        draw_nodes(t, &nodes, &out);
        draw_missing(t, &out);
    }
    if (t->trouble != NULL) {
        struct isola_buf why = {0};
        isola__text_clean(&why, isola_slice_str(t->trouble));
        isola__tone(&out, ISOLA__BAD, t->cli->colour, isola_buf_slice(&why));
        isola_buf_puts(&out, "\n");
        isola_buf_free(&why);
    }
    isola__tone(&out, ISOLA__DIM, t->cli->colour, isola_slice_str(keys));
    isola_buf_puts(&out, "\n\n");
    heading(t, &out);
    if (t->then.value != NULL)
        draw_actors(t, &actors, height, &out);
    put_screen(t, &out, height);
    isola_buf_free(&out);
    rows_free(&actors);
    rows_free(&nodes);
}

/* The app behind the one that is shown, in the order of their names; behind the last: all. */
static void next_app(struct top *t)
{
    struct isola_slice best = {0};
    size_t i;
    const json_t *actor;
    json_array_foreach(json_object_get(t->now.value, "actors"), i, actor)
    {
        struct isola_slice address = isola__text_of(json_object_get(actor, "address"));
        const uint8_t *slash = address.len > 0 ? memchr(address.data, '/', address.len) : NULL;
        if (slash == NULL)
            continue;
        struct isola_slice app = isola_slice(address.data, (size_t)(slash - address.data));
        if ((t->app == NULL || isola_slice_order(app, isola_slice_str(t->app)) > 0) &&
            (best.data == NULL || isola_slice_order(app, best) < 0))
            best = app;
    }
    char *app = best.data != NULL ? isola_strndup((const char *)best.data, best.len) : NULL;
    free(t->app);
    t->app = app;
}

static void on_key(struct top *t, char key)
{
    static const char by[] = "cmbha"; /* enum sort */
    const char *at = strchr(by, key);
    if (key != '\0' && at != NULL)
        t->sort = (enum sort)(at - by);
    else if (key == 'q')
        t->over = true;
    else if (key == 'r')
        t->reverse = !t->reverse;
    else if (key == 't')
        t->types = !t->types;
    else if (key == 'p' || key == ' ')
        t->paused = !t->paused;
    else if (key == 'f')
        next_app(t);
}

/* Until it is time for the next sample (no time to wait: never); the picture follows the keys. */
static void wait_keys(struct top *t, uint64_t until_ms)
{
    while (!t->over && !ended) {
        uint64_t now = isola_clock_ms();
        if (!t->paused && now >= until_ms)
            return;
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        int n = poll(&in, 1, t->paused ? -1 : (int)(until_ms - now));
        char keys[64];
        ssize_t got = n > 0 ? read(STDIN_FILENO, keys, sizeof(keys)) : 0;
        if (n > 0 && got <= 0)
            t->over = true;               /* the terminal is gone */
        if (got > 0 && keys[0] != '\033') /* those of arrows and the like are none */
            for (ssize_t i = 0; i < got; i++)
                on_key(t, keys[i]);
        if ((got > 0 || (n < 0 && errno == EINTR)) && !t->over && !ended)
            draw(t);
    }
}

static void live(struct top *t)
{
    while (!t->over && !ended) {
        struct isola_err err;
        int rc = take(t, &err);
        free(t->trouble);
        t->trouble = rc != 0 ? isola_strdup(err.text) : NULL;
        draw(t);
        /* the first picture soon */
        wait_keys(t, isola_clock_ms() + (t->then.value == NULL && rc == 0 ? 500 : t->every_ms));
    }
}

static void show_live(struct top *t)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct termios before, raw;
    struct sigaction end = {.sa_handler = on_end}, size = {.sa_handler = on_size};
    struct isola_err err;
    if (take(t, &err) != 0) { /* said where it stays to be read */
        isola__fail(t->cli, &err);
        return;
    }
    if (tcgetattr(STDIN_FILENO, &before) != 0) {
        isola_fail(&err, ISOLA_EIO, "cannot use the terminal: %s", strerror(errno));
        isola__fail(t->cli, &err);
        return;
    }
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        sigaction(ends[i], &end, NULL);
    sigaction(SIGWINCH, &size, NULL);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* it would leave the terminal so */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    struct isola_buf out = {0};
    isola_buf_puts(&out, ENTER);
    if (isola__out(t->cli, &out))
        live(t);
    isola_buf_puts(&out, LEAVE);
    (void)isola__out(t->cli, &out);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

void isola__run_top(struct isola__cli *cli)
{
    const struct isola__options *o = &cli->options;
    struct top t = {.cli = cli, .types = o->types, .every_ms = EVERY_MS};
    bool once = o->once || o->json || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO);
    if (o->noperands > 0 && !isola__check_app(cli, o->operands[0]))
        return;
    if (o->noperands > 0 && !isola__find(cli, o->operands[0]))
        return;
    t.app = o->noperands > 0 ? isola_strdup(o->operands[0]) : NULL;
    t.every_ms = o->seconds > 0 ? o->seconds * (uint64_t)1000 : once ? 1000 : EVERY_MS;
    while (o->sort != NULL && strcmp(isola__sorts[t.sort], o->sort) != 0)
        t.sort++;
    if (once)
        show_once(&t);
    else
        show_live(&t);
    json_decref(t.then.value);
    json_decref(t.now.value);
    free(t.trouble);
    free(t.app);
}
