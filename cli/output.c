/* SPDX-License-Identifier: Apache-2.0
 *
 * Results and failures on their way out. Foreign text (a remote message, a stack) is made harmless
 * for a terminal first.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/text.h"

/* The code of wrong usage with --json; no error of the platform has it. */
#define USAGE_CODE "EUSAGE"

bool isola__out(struct isola__cli *cli, struct isola_buf *b)
{
    errno = 0;
    bool ok = !b->failed && (b->len == 0 || fwrite(b->data, 1, b->len, stdout) == b->len);
    ok = ok && fflush(stdout) == 0;
    if (!ok && errno != EPIPE) {
        fprintf(stderr, "ctl: cannot write the output: %s\n",
                b->failed ? "out of memory" : strerror(errno));
        cli->status = ISOLA__FAILED;
    }
    isola_buf_free(b);
    return ok;
}

bool isola__out_json(struct isola__cli *cli, const json_t *v, bool pretty)
{
    struct isola_buf b = {0};
    isola__json_print(v, pretty, &b);
    isola_buf_puts(&b, "\n");
    return isola__out(cli, &b);
}

static void set_text(json_t *object, const char *key, struct isola_slice s)
{
    struct isola_buf clean = {0};
    isola__text_utf8(&clean, s);
    const char *text = clean.len > 0 ? (const char *)clean.data : "";
    json_object_set_new(object, key, json_stringn(text, clean.len));
    isola_buf_free(&clean);
}

/* How many causes of an error, and of those theirs, are told. */
#define CAUSES_MAX 8

/* What caused an error, in words: false when it is neither an Error nor a text, which is put into
 * `text`. Steps on to its own cause. */
static bool next_cause(struct isola_mp_error *e, struct isola_buf *text)
{
    struct isola_slice cause = e->cause;
    struct isola_mp_reader r = isola_mp_reader(cause);
    struct isola_mp_item item;
    *e = (struct isola_mp_error){0};
    if (cause.len == 0)
        return false;
    if (isola_mp_read_error(cause, e))
        return true;
    if (isola_mp_next(&r, &item) != 0 || !isola_mp_utf8(&item, text))
        return false;
    e->message = isola_buf_slice(text);
    return true;
}

static json_t *causes_json(struct isola_mp_error e, int left)
{
    struct isola_buf text = {0};
    if (left == 0 || !next_cause(&e, &text))
        return NULL;
    json_t *cause = json_object();
    if (e.name.len > 0)
        set_text(cause, "name", e.name);
    if (e.code_name.len > 0)
        set_text(cause, "code", e.code_name);
    set_text(cause, "message", e.message);
    if (e.stack.len > 0)
        set_text(cause, "stack", e.stack);
    json_t *further = causes_json(e, left - 1);
    if (further != NULL)
        json_object_set_new(cause, "cause", further);
    isola_buf_free(&text);
    return cause;
}

static void fail_json(struct isola__cli *cli, struct isola_slice code,
                      const struct isola_mp_error *e)
{
    json_t *document = json_object(), *error = json_object();
    set_text(error, "code", code);
    set_text(error, "message", e->message);
    if (e->stack.len > 0)
        set_text(error, "stack", e->stack);
    json_t *cause = causes_json(*e, CAUSES_MAX);
    if (cause != NULL)
        json_object_set_new(error, "cause", cause);
    json_object_set_new(document, "error", error);
    isola__out_json(cli, document, false);
    json_decref(document);
}

static bool own_frame(const uint8_t *line, size_t len)
{
    static const char mark[] = "isola:runtime:";
    while (len > 0 && (*line == ' ' || *line == '\t'))
        line++, len--;
    return len > 3 && memcmp(line, "at ", 3) == 0 &&
           memmem(line, len, mark, sizeof(mark) - 1) != NULL;
}

/* Frames of Isola's own JavaScript tell nobody what is wrong with a script; --json has them. */
static void without_own_frames(struct isola_buf *out, struct isola_slice text)
{
    for (size_t at = 0; at < text.len;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t next = end != NULL ? (size_t)(end - text.data) + 1 : text.len;
        if (!own_frame(text.data + at, next - at))
            isola_buf_append(out, text.data + at, next - at);
        at = next;
    }
    while (out->len > 0 && out->data[out->len - 1] == '\n')
        out->len--;
}

/* Each line of `text` after the first is indented, so that a failure stays one paragraph. */
static void indented(struct isola_buf *out, struct isola_slice text, const char *indent)
{
    struct isola_buf clean = {0};
    isola__text_clean(&clean, text);
    for (size_t i = 0; i < clean.len; i++) {
        isola_buf_append(out, clean.data + i, 1);
        if (clean.data[i] == '\n')
            isola_buf_puts(out, indent);
    }
    isola_buf_free(&clean);
}

/* From the first frame on: what is above it repeats the message. */
static struct isola_slice frames(struct isola_slice stack)
{
    size_t at = 0;
    while (at < stack.len) {
        const uint8_t *end = memchr(stack.data + at, '\n', stack.len - at);
        size_t next = end != NULL ? (size_t)(end - stack.data) + 1 : stack.len;
        size_t text = at;
        while (text < next && (stack.data[text] == ' ' || stack.data[text] == '\t'))
            text++;
        if (next - text > 3 && memcmp(stack.data + text, "at ", 3) == 0)
            return isola_slice(stack.data + text, stack.len - text);
        at = next;
    }
    return isola_slice(NULL, 0);
}

static void print_error(struct isola_buf *line)
{
    if (!line->failed)
        fwrite(line->data, 1, line->len, stderr);
    isola_buf_free(line);
}

static void fail(struct isola__cli *cli, int status, const char *code, const char *text)
{
    cli->status = status;
    if (cli->options.json) {
        fail_json(cli, isola_slice_str(code),
                  &(struct isola_mp_error){.message = isola_slice_str(text)});
        return;
    }
    struct isola_buf line = {0};
    isola_buf_puts(&line, "ctl: ");
    /* own sentences bring their own indent */
    isola__text_clean(&line, isola_slice_str(text));
    isola_buf_puts(&line, "\n");
    print_error(&line);
}

void isola__fail(struct isola__cli *cli, const struct isola_err *err)
{
    fail(cli, ISOLA__FAILED, isola_error_name(err->code), err->text);
}

void isola__fail_usage(struct isola__cli *cli, const char *fmt, ...)
{
    struct isola_err err;
    va_list ap;
    va_start(ap, fmt);
    isola_vfail(&err, ISOLA_EINVAL, fmt, ap);
    va_end(ap);
    fail(cli, ISOLA__USAGE, USAGE_CODE, err.text);
}

/* Name, message and stack, after what stands on the line already. */
static void error_text(struct isola_buf *line, const struct isola_mp_error *e)
{
    if (e->name.len > 0 && !isola_slice_is(e->name, "Error")) {
        indented(line, e->name, " ");
        isola_buf_puts(line, ": ");
    }
    struct isola_buf message = {0}, trace = {0};
    without_own_frames(&message, e->message);
    indented(line, isola_buf_slice(&message), "  ");
    without_own_frames(&trace, e->stack);
    struct isola_slice stack = frames(isola_buf_slice(&trace));
    if (stack.len > 0) {
        isola_buf_puts(line, "\n    ");
        indented(line, stack, "");
    }
    isola_buf_free(&message);
    isola_buf_free(&trace);
}

/* What to do next, where ctl itself has a command for it. */
static void advise(struct isola__cli *cli, struct isola_buf *line, struct isola_slice code)
{
    struct isola_address at;
    const char *address = cli->options.noperands > 0 ? cli->options.operands[0] : "";
    if (isola_address_parse(isola_slice_str(address), &at, NULL) != 0)
        return;
    if (isola_slice_is(code, "EFAILED"))
        isola_buf_printf(line, "\n  why: ctl logs %s; if it stays so: ctl restart %s", address,
                         address);
    else if (isola_slice_is(code, "ETIMEDOUT"))
        isola_buf_printf(line, "\n  what it is at: ctl ps %.*s; to wait longer: --timeout MS",
                         ISOLA_FMT(at.app));
    else if (isola_slice_is(code, "EOVERLOAD"))
        isola_buf_printf(line, "\n  how much waits for it: ctl ps %.*s", ISOLA_FMT(at.app));
    else if (isola_slice_is(code, "EUNREACHABLE"))
        isola_buf_puts(line, "\n  which nodes are up: ctl nodes; what has ended there: ctl logs");
}

void isola__fail_remote(struct isola__cli *cli, struct isola_slice args)
{
    struct isola_slice value;
    struct isola_mp_error e;
    cli->status = ISOLA__FAILED;
    if (!isola_mp_at(args, 0, &value) || !isola_mp_read_error(value, &e)) {
        fail(cli, ISOLA__FAILED, "EPROTO", "the agent reported a failure without saying which");
        return;
    }
    struct isola_slice code =
        e.code_name.len > 0 ? e.code_name : isola_slice_str(isola_error_name(e.code));
    if (cli->options.json) {
        fail_json(cli, code, &e);
        return;
    }
    struct isola_buf line = {0}, text = {0};
    isola_buf_puts(&line, "ctl: ");
    indented(&line, code, " ");
    isola_buf_puts(&line, ": ");
    error_text(&line, &e);
    for (int i = 0; i < CAUSES_MAX && next_cause(&e, &text); i++) {
        isola_buf_puts(&line, "\n  caused by: ");
        if (e.code_name.len > 0) {
            indented(&line, e.code_name, " ");
            isola_buf_puts(&line, ": ");
        }
        error_text(&line, &e);
    }
    isola_buf_free(&text);
    advise(cli, &line, code);
    isola_buf_puts(&line, "\n");
    print_error(&line);
}

static struct isola_slice text_at(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return isola_slice(json_string_value(v), json_string_length(v));
}

void isola__fail_document(const json_t *error)
{
    struct isola_buf line = {0};
    isola_buf_puts(&line, "ctl: ");
    for (int i = 0; i <= CAUSES_MAX && json_is_object(error); i++) {
        isola_buf_puts(&line, i > 0 ? "\n  caused by: " : "");
        error_text(&line, &(struct isola_mp_error){.name = text_at(error, "name"),
                                                   .message = text_at(error, "message"),
                                                   .stack = text_at(error, "stack")});
        error = json_object_get(error, "cause");
    }
    isola_buf_puts(&line, "\n");
    print_error(&line);
}
