/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl secret: sets, lists and removes the secrets of an app.
 *
 * A value comes from where others do not see it: standard input, a terminal that does not show what
 * is typed, a file; or from the command line, where they may. What has held one is wiped.
 */
#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/deploy.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/when.h"
#include "store/secrets.h"

#define SET_MS     20000u
#define IMPORT_MAX ((size_t)8 << 20) /* bytes of a file of variables */

static void wipe(struct isola_buf *b)
{
    if (b->data != NULL)
        sodium_memzero(b->data, b->cap);
    isola_buf_free(b);
}

/* --- values --- */

/* All there is, up to one byte more than `max`. */
static int read_all(int fd, const char *what, size_t max, struct isola_buf *out,
                    struct isola_err *err)
{
    ISOLA_CHECK(isola_buf_grow(out, max + 2)); /* once: no copies left behind */
    while (out->len <= max) {
        ssize_t n = read(fd, out->data + out->len, max + 1 - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return isola_fail(err, ISOLA_EIO, "cannot read %s: %s", what, strerror(errno));
        if (n == 0)
            return 0;
        out->len += (size_t)n;
    }
    return isola_fail(err, ISOLA_ETOOBIG, "%s has more than the %zu bytes it may have", what, max);
}

static int read_file(const char *path, size_t max, struct isola_buf *out, struct isola_err *err)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return isola_fail(err, ISOLA_ENOENT, "cannot read %.300s: %s", path, strerror(errno));
    int rc = read_all(fd, fd == STDIN_FILENO ? "standard input" : path, max, out, err);
    if (fd != STDIN_FILENO)
        close(fd);
    return rc;
}

/* The end of a line is no part of what was typed, or written by `echo`. */
static void drop_line_end(struct isola_buf *value)
{
    if (value->len > 0 && value->data[value->len - 1] == '\n')
        value->len--;
    if (value->len > 0 && value->data[value->len - 1] == '\r')
        value->len--;
}

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

/* A line that the terminal does not show. Whatever ends the waiting, it shows what is typed again.
 */
static int read_hidden(const char *name, struct isola_buf *out, struct isola_err *err)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction catch = {.sa_handler = on_signal}, before[4];
    struct termios shown, hidden;
    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return isola_fail(err, ISOLA_EIO, "cannot use the terminal: %s", strerror(errno));
    for (size_t i = 0; i < 4; i++)
        sigaction(signals[i], &catch, &before[i]);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    hidden.c_lflag |= ECHONL;
    ISOLA_CHECK(isola_buf_grow(out, ISOLA_SECRET_MAX + 2));
    fprintf(stderr, "%s: ", name);
    fflush(stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    ssize_t n = 0;
    while (caught == 0 && out->len < ISOLA_SECRET_MAX &&
           (n = read(STDIN_FILENO, out->data + out->len, ISOLA_SECRET_MAX - out->len)) > 0) {
        out->len += (size_t)n;
        if (out->data[out->len - 1] == '\n')
            break;
    }
    int why = errno;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    for (size_t i = 0; i < 4; i++)
        sigaction(signals[i], &before[i], NULL);
    if (caught != 0) {
        wipe(out);
        raise(caught);
    }
    if (n < 0)
        return isola_fail(err, ISOLA_EIO, "cannot read the terminal: %s", strerror(why));
    drop_line_end(out);
    return 0;
}

/* NAME's value, from wherever it was said to come. */
static int read_value(struct isola__cli *cli, struct isola_buf *out, struct isola_err *err)
{
    char **operands = cli->options.operands;
    char *given = cli->options.noperands > 3 ? operands[3] : NULL;
    if (cli->options.file != NULL) /* as it is: what ends it may be a part of it */
        return read_file(cli->options.file, ISOLA_SECRET_MAX, out, err);
    if (given != NULL && strcmp(given, "-") != 0) {
        isola_buf_append(out, given, strlen(given));
        sodium_memzero(given, strlen(given)); /* `ps` shows it no more */
        return 0;
    }
    if (given == NULL && isatty(STDIN_FILENO))
        return read_hidden(operands[2], out, err);
    int rc = read_file("-", ISOLA_SECRET_MAX + 2, out, err);
    if (rc == 0)
        drop_line_end(out);
    return rc;
}

/* --- files of variables --- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct isola_slice trimmed(struct isola_slice s)
{
    while (s.len > 0 && is_space(s.data[0]))
        s = isola_slice(s.data + 1, s.len - 1);
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

/* The length of the line that begins there, without its end. */
static size_t line_length(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *stop = memchr(p, '\n', (size_t)(end - p));
    return (size_t)((stop != NULL ? stop : end) - p);
}

/* What stands between quotes of `*p`, over several lines if it does; between double ones \n is the
 * end of a line. *p is then behind them. */
static bool quoted(const uint8_t **p, const uint8_t *end, struct isola_buf *out)
{
    const uint8_t quote = **p, *stop = memchr(*p + 1, quote, (size_t)(end - *p - 1));
    if (stop == NULL)
        return false;
    for (const uint8_t *c = *p + 1; c < stop; c++) {
        if (quote == '"' && c[0] == '\\' && c + 1 < stop && c[1] == 'n') {
            isola_buf_append(out, "\n", 1);
            c++;
        } else {
            isola_buf_append(out, c, 1);
        }
    }
    *p = stop + 1;
    return true;
}

static int take_variable(struct isola_slice name, const struct isola_buf *value, const char *file,
                         unsigned line, struct isola_buf *out, struct isola_err *err)
{
    if (!isola_secret_name_ok(name))
        return isola_fail(err, ISOLA_EINVAL,
                          "%.300s:%u: \"%.*s\" is not the name of a variable: letters, digits and "
                          "\"_\", the first no digit",
                          file, line, ISOLA_FMT(isola_slice_cut(name, 100)));
    if (value->len == 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "%.300s:%u: %.*s has no value: a secret cannot be empty", file, line,
                          ISOLA_FMT(name));
    isola_mp_map(out, 2);
    isola_mp_cstr(out, "name");
    isola_mp_str(out, name);
    isola_mp_cstr(out, "value");
    isola_mp_bin(out, isola_buf_slice(value));
    return 0;
}

int isola__secret_read_env(struct isola_slice text, const char *file, struct isola_buf *out,
                           size_t *n, struct isola_err *err)
{
    const uint8_t *p = text.data, *end = text.data + text.len;
    unsigned line = 1;
    int rc = 0;
    for (*n = 0; rc == 0 && p < end; line++) {
        struct isola_slice whole = trimmed(isola_slice(p, line_length(p, end)));
        if (whole.len > 7 && memcmp(whole.data, "export ", 7) == 0)
            whole = trimmed(isola_slice(whole.data + 7, whole.len - 7));
        if (whole.len == 0 || whole.data[0] == '#') {
            p += line_length(p, end) + 1;
            continue;
        }
        const uint8_t *equals = memchr(whole.data, '=', whole.len);
        if (equals == NULL)
            return isola_fail(err, ISOLA_EINVAL,
                              "%.300s:%u: a line is NAME=VALUE, or begins with #", file, line);
        struct isola_slice name = trimmed(isola_slice(whole.data, (size_t)(equals - whole.data)));
        struct isola_buf value = {0};
        unsigned first = line;
        ISOLA_CHECK(isola_buf_grow(&value, (size_t)(end - equals) + 1));
        p = equals + 1;
        while (p < end && is_space(*p))
            p++;
        if (p < end && (*p == '"' || *p == '\'' || *p == '`')) {
            const uint8_t *from = p;
            if (!quoted(&p, end, &value))
                rc = isola_fail(err, ISOLA_EINVAL,
                                "%.300s:%u: the value of %.*s has no end: a %c "
                                "is missing",
                                file, line, ISOLA_FMT(isola_slice_cut(name, 100)), *from);
            for (; rc == 0 && from < p; from++)
                line += *from == '\n';
        } else {
            struct isola_slice rest = isola_slice(p, line_length(p, end));
            const uint8_t *comment = rest.len > 0 ? memchr(rest.data, '#', rest.len) : NULL;
            rest = trimmed(comment != NULL ? isola_slice(p, (size_t)(comment - p)) : rest);
            isola_buf_append(&value, rest.data, rest.len);
        }
        if (rc == 0)
            rc = take_variable(name, &value, file, first, out, err);
        wipe(&value);
        *n += rc == 0;
        p += line_length(p, end) + 1;
    }
    return rc;
}

/* --- what came of it --- */

static void list_names(struct isola_buf *out, const json_t *names)
{
    size_t i;
    const json_t *name;
    json_array_foreach(names, i, name)
    {
        isola_buf_puts(out, i > 0 ? ", " : "");
        isola__text_clean(out, isola__text_of(name));
    }
}

static void show_change(struct isola__cli *cli, const json_t *value, const char *done)
{
    struct isola_buf out = {0};
    const json_t *changed = json_object_get(value, "changed");
    const json_t *same = json_object_get(value, "unchanged"),
                 *used = json_object_get(value, "used");
    if (cli->options.json) {
        isola__out_json(cli, value, false);
        return;
    }
    if (json_array_size(changed) > 0) {
        isola_buf_printf(&out, "%s ", done);
        list_names(&out, changed);
        isola_buf_puts(&out, " of ");
        isola__text_clean(&out, isola__text_of(json_object_get(value, "app")));
        isola_buf_puts(&out, "\n");
    }
    if (json_array_size(same) > 0) {
        list_names(&out, same);
        isola_buf_puts(&out, json_array_size(same) > 1 ? " are as they were\n" : " is as it was\n");
    }
    if (json_array_size(changed) > 0)
        isola__deploy_nodes(value, &out);
    if (json_array_size(used) > 0) {
        isola_buf_puts(
            &out,
            "what uses it begins anew with it, instances one by one, actors after their turn: ");
        list_names(&out, used);
        isola_buf_puts(&out, "; 'ctl ps' shows it\n");
    }
    isola__out(cli, &out);
}

static void change(struct isola__cli *cli, const char *method, struct isola_buf *params,
                   const char *done)
{
    json_t *value = isola__call(cli, method, params, SET_MS, "changed");
    if (value != NULL)
        show_change(cli, value, done);
    json_decref(value);
}

/* {app, by, `key`: array of n}. Copies, and wipes `rows`. */
static void begin(struct isola__cli *cli, const char *key, size_t n, struct isola_buf *rows,
                  struct isola_buf *out)
{
    struct isola_release note = {0};
    struct isola_err err;
    int rc = isola__deploy_note(cli, &note, &err);
    ISOLA_CHECK(isola_buf_grow(out, rows->len + 1000));
    isola_mp_map(out, 3);
    isola_mp_kstr(out, "app", cli->options.operands[1]);
    isola_mp_kstr(out, "by", rc == 0 ? note.by : "");
    isola_mp_cstr(out, key);
    isola_mp_array(out, n);
    isola_buf_append(out, rows->data, rows->len);
    wipe(rows);
    free(note.by);
    free(note.message);
}

static void run_set(struct isola__cli *cli)
{
    struct isola_buf value = {0}, rows = {0}, params = {0};
    struct isola_slice name = isola_slice_str(cli->options.operands[2]);
    struct isola_err err;
    if (!isola_secret_name_ok(name)) {
        isola__fail_usage(cli,
                          "'%.100s' cannot be a secret's name: that is letters, digits and _, the "
                          "first no digit, as of any variable of the environment",
                          cli->options.operands[2]);
        return;
    }
    if (cli->options.file != NULL && cli->options.noperands > 3) {
        isola__fail_usage(cli, "'ctl secret set' takes a VALUE or --file, not both");
        return;
    }
    int rc = read_value(cli, &value, &err);
    if (rc == 0 && value.len == 0)
        rc = isola_fail(&err, ISOLA_EINVAL, "%.*s would be empty; 'ctl secret rm' removes a secret",
                        ISOLA_FMT(name));
    if (rc != 0) {
        wipe(&value);
        isola__fail(cli, &err);
        return;
    }
    ISOLA_CHECK(isola_buf_grow(&rows, value.len + 1000));
    isola_mp_map(&rows, 2);
    isola_mp_cstr(&rows, "name");
    isola_mp_str(&rows, name);
    isola_mp_cstr(&rows, "value");
    isola_mp_bin(&rows, isola_buf_slice(&value));
    wipe(&value);
    begin(cli, "secrets", 1, &rows, &params);
    change(cli, "secret_set", &params, "set");
}

static void run_import(struct isola__cli *cli)
{
    struct isola_buf text = {0}, rows = {0}, params = {0};
    struct isola_err err;
    const char *file = cli->options.operands[2];
    size_t n = 0;
    int rc = read_file(file, IMPORT_MAX, &text, &err);
    if (rc == 0) {
        ISOLA_CHECK(isola_buf_grow(&rows, 2 * text.len + 64));
        rc = isola__secret_read_env(isola_buf_slice(&text), file, &rows, &n, &err);
    }
    if (rc == 0 && n == 0)
        rc = isola_fail(&err, ISOLA_EINVAL, "%.300s has no variable in it", file);
    wipe(&text);
    if (rc != 0) {
        wipe(&rows);
        isola__fail(cli, &err);
        return;
    }
    begin(cli, "secrets", n, &rows, &params);
    change(cli, "secret_set", &params, "set");
}

static void run_rm(struct isola__cli *cli)
{
    struct isola_buf rows = {0}, params = {0};
    size_t n = cli->options.noperands - 2;
    for (size_t i = 0; i < n; i++)
        isola_mp_cstr(&rows, cli->options.operands[2 + i]);
    begin(cli, "names", n, &rows, &params);
    change(cli, "secret_remove", &params, "removed");
}

/* --- list --- */

static void show(struct isola__cli *cli, const json_t *rows)
{
    static const struct isola__column columns[] = {{"APP", ISOLA__WORD},
                                                   {"NAME", ISOLA__LONG},
                                                   {"SET", ISOLA__WORD},
                                                   {"BY", ISOLA__WORD},
                                                   {"USED BY", ISOLA__WORD}};
    struct isola__table t;
    struct isola_buf out = {0};
    size_t i, unreadable = 0;
    const json_t *row;
    if (json_array_size(rows) == 0) {
        isola_buf_puts(&out, "no secrets are set\n");
        isola__out(cli, &out);
        return;
    }
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(rows, i, row)
    {
        struct isola_buf cell = {0};
        isola__table_add(&t, isola__text_of(json_object_get(row, "app")), ISOLA__PLAIN);
        isola__table_add(&t, isola__text_of(json_object_get(row, "name")), ISOLA__BOLD);
        isola__when_write(&cell, (int64_t)json_integer_value(json_object_get(row, "set_ms")),
                          cli->options.utc);
        isola__table_add(&t, isola_buf_slice(&cell), ISOLA__PLAIN);
        isola__table_add(&t, isola__text_of(json_object_get(row, "by")), ISOLA__PLAIN);
        cell.len = 0;
        list_names(&cell, json_object_get(row, "used"));
        isola__table_add(&t, isola_buf_slice(&cell), ISOLA__PLAIN);
        isola_buf_free(&cell);
        unreadable += json_is_true(json_object_get(row, "unreadable"));
    }
    isola__table_print(&t, cli->width, cli->colour, &out);
    isola__table_free(&t);
    if (unreadable > 0)
        isola_buf_printf(&out,
                         "%zu of them cannot be opened on this node, which has another key than "
                         "they were sealed with: set them again\n",
                         unreadable);
    isola__out(cli, &out);
}

static void run_list(struct isola__cli *cli)
{
    struct isola_buf params = {0};
    const char *app = cli->options.noperands > 1 ? cli->options.operands[1] : NULL;
    isola_mp_map(&params, app != NULL);
    if (app != NULL)
        isola_mp_kstr(&params, "app", app);
    json_t *value = isola__call(cli, "secrets", &params, ISOLA__STATUS_MS, "secrets");
    if (value != NULL && cli->options.json)
        isola__out_json(cli, value, false);
    else if (value != NULL)
        show(cli, json_object_get(value, "secrets"));
    json_decref(value);
}

/* --- the verbs --- */

void isola__run_secret(struct isola__cli *cli)
{
    const struct isola__verb *verb = isola__verb_of(cli, isola__secret_verbs);
    if (verb == NULL)
        return;
    bool sets = strcmp(verb->name, "set") == 0;
    if (cli->options.file != NULL && !sets)
        isola__fail_usage(cli, "option '--file' does not belong to 'secret %s'", verb->name);
    else if (cli->options.noperands > 1 && !isola__check_app(cli, cli->options.operands[1]))
        return;
    else if (sets)
        run_set(cli);
    else if (strcmp(verb->name, "list") == 0)
        run_list(cli);
    else if (strcmp(verb->name, "rm") == 0)
        run_rm(cli);
    else
        run_import(cli);
}
