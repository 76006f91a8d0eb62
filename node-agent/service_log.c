/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "base/utf8.h"
#include "node-agent/logs.h"

#define LINE_BYTES_MAX ((size_t)32 << 10)
#define WINDOW_MS      1000
#define PLACE_LINES    6 /* from the place to the error */

/* --- levels --- */

/* pino and bunyan count in tens. */
static const char *level_of_number(double n)
{
    return n >= 50 ? "error" : n >= 40 ? "warn" : n >= 30 ? "info" : "debug";
}

static const char *level_of_word(const char *word)
{
    static const struct {
        const char *word, *level;
    } words[] = {{"fatal", "error"}, {"emerg", "error"},    {"alert", "error"},
                 {"crit", "error"},  {"critical", "error"}, {"error", "error"},
                 {"err", "error"},   {"warn", "warn"},      {"warning", "warn"},
                 {"notice", "info"}, {"info", "info"},      {"http", "info"},
                 {"log", "info"},    {"verbose", "debug"},  {"debug", "debug"},
                 {"silly", "debug"}, {"trace", "debug"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(words[i].word, word) == 0)
            return words[i].level;
    return NULL;
}

/* NULL: the line says nothing of it. */
static const char *level_said(struct isola_slice line)
{
    if (line.len < 2 || line.data[0] != '{' || line.data[line.len - 1] != '}')
        return NULL;
    json_t *j = json_loadb((const char *)line.data, line.len, 0, NULL);
    const json_t *v = json_object_get(j, "level");
    const char *level = NULL;
    if (v == NULL)
        v = json_object_get(j, "severity");
    if (json_is_number(v))
        level = level_of_number(json_number_value(v));
    else if (json_is_string(v))
        level = level_of_word(json_string_value(v));
    json_decref(j);
    return level;
}

/* --- lines --- */

/* What is no UTF-8 becomes U+FFFD. */
static void append_clean(struct isola_buf *out, struct isola_slice s)
{
    for (size_t i = 0; i < s.len;) {
        uint32_t code;
        size_t n = isola_utf8_next(s.data + i, s.len - i, &code);
        if (n == 0)
            isola_buf_puts(out, "\xef\xbf\xbd");
        else
            isola_buf_append(out, s.data + i, n);
        i += n > 0 ? n : 1;
    }
}

static void write_line(struct isola__service_log *log, const char *level, struct isola_slice text)
{
    struct isola_buf line = {0}, clean = {0};
    append_clean(&clean, text);
    isola_mp_map(&line, 5);
    isola_mp_kuint(&line, "time", (uint64_t)isola_clock_wall_ms());
    isola_mp_kstr(&line, "level", level);
    isola_mp_kstr(&line, "node", log->node);
    isola_mp_kstr(&line, "address", log->address);
    isola_mp_cstr(&line, "text");
    isola_mp_str(&line, isola_buf_slice(&clean));
    if (!line.failed && !clean.failed)
        isola__logs_add(log->logs, isola_buf_slice(&line));
    isola_buf_free(&clean);
    isola_buf_free(&line);
}

void isola__service_log_say(struct isola__service_log *log, const char *level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    write_line(log, level, isola_slice_str(text));
}

void isola__service_log_flush(struct isola__service_log *log)
{
    if (log->dropped > 0)
        isola__service_log_say(log, "warn", "%u lines were dropped (limit \"logRate\")",
                               log->dropped);
    log->lines = log->dropped = 0;
}

/* Whether one more may be written in this second. */
static bool take(struct isola__service_log *log)
{
    uint64_t now = isola_clock_ms();
    if (now - log->since_ms >= WINDOW_MS) {
        isola__service_log_flush(log);
        log->since_ms = now;
    }
    if (log->lines < log->rate) {
        log->lines++;
        return true;
    }
    if (log->dropped++ == 0)
        isola__service_log_say(log, "warn",
                               "it prints more than %u lines a second: the rest is dropped (limit "
                               "\"logRate\")",
                               log->rate);
    return false;
}

/* "PATH:LINE" or "file://PATH:LINE": so begins what Node.js prints of an error that nobody caught,
 * then the code there, and a line with a mark below it. */
static bool keep_place(struct isola__service_log *log, struct isola_slice line)
{
    size_t digits = 0, scheme = strlen("file://"), dir = log->dir != NULL ? strlen(log->dir) : 0;
    while (digits < line.len && (unsigned)line.data[line.len - 1 - digits] - '0' < 10u)
        digits++;
    if (line.len > scheme && memcmp(line.data, "file://", scheme) == 0)
        line = isola_slice(line.data + scheme, line.len - scheme);
    if (digits == 0 || digits + 2 > line.len || line.data[0] != '/' ||
        line.data[line.len - 1 - digits] != ':')
        return false;
    if (dir > 0 && line.len > dir + 1 && memcmp(line.data, log->dir, dir) == 0 &&
        line.data[dir] == '/')
        line = isola_slice(line.data + dir + 1, line.len - dir - 1);
    if (line.len >= sizeof(log->place))
        return false;
    memcpy(log->place, line.data, line.len);
    log->place[line.len] = '\0';
    log->since = 0;
    return true;
}

/* "TypeError: …": what Node.js prints of an error that nobody caught begins so, before its stack.
 */
static void keep_failure(struct isola__service_log *log, struct isola_slice line)
{
    size_t word = 0;
    while (word < line.len &&
           (line.data[word] == '_' || (unsigned)(line.data[word] | 32) - 'a' < 26u))
        word++;
    bool thrown = word >= 5 && word < line.len && memcmp(line.data + word - 5, "Error", 5) == 0 &&
                  (line.data[word] == ':' || line.data[word] == ' ');
    bool fatal = line.len > 12 && memcmp(line.data, "FATAL ERROR:", 12) == 0; /* V8's */
    if (!thrown && !fatal)
        return;
    char where[sizeof(log->place) + 4] = "";
    if (log->place[0] != '\0' && log->since <= PLACE_LINES)
        snprintf(where, sizeof(where), " (%s)", log->place);
    log->place[0] = '\0';
    struct isola_slice cut = isola_slice_cut(line, sizeof(log->last) - 1 - strlen(where));
    snprintf(log->last, sizeof(log->last), "%.*s%s", ISOLA_FMT(cut), where);
}

/* As Node.js prints them. */
static void keep_inspector(struct isola__service_log *log, struct isola_slice line)
{
    static const char *const begins[] = {"Debugger listening on ws://", "Starting inspector on "};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(begins[i]);
        if (line.len > n && memcmp(line.data, begins[i], n) == 0)
            snprintf(log->inspector, sizeof(log->inspector), "%.*s",
                     ISOLA_FMT(isola_slice_cut(line, sizeof(log->inspector) - 1)));
    }
}

static void end_line(struct isola__service_stream *s, struct isola_slice line)
{
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (s->errors && !keep_place(s->log, line)) {
        s->log->since++;
        keep_failure(s->log, line);
        keep_inspector(s->log, line);
    }
    if (line.len == 0 || !take(s->log))
        return;
    const char *level = level_said(line);
    write_line(s->log, level != NULL ? level : s->errors ? "warn" : "info", line);
}

void isola__service_log_read(struct isola__service_stream *s, struct isola_slice bytes)
{
    while (bytes.len > 0) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        struct isola_slice part =
            isola_slice(bytes.data, end != NULL ? (size_t)(end - bytes.data) : bytes.len);
        size_t used = part.len + (end != NULL);
        bytes = isola_slice(bytes.data + used, bytes.len - used);
        if (!s->skip && s->line.len == 0 && end != NULL && part.len <= LINE_BYTES_MAX) {
            end_line(s, part); /* whole as it is */
            continue;
        }
        if (!s->skip) {
            size_t room = LINE_BYTES_MAX - s->line.len;
            bool over = part.len > room;
            isola_buf_append(&s->line, part.data, over ? room : part.len);
            if (over || end != NULL) {
                struct isola_slice whole = isola_buf_slice(&s->line);
                end_line(s, over ? isola_slice_cut(whole, LINE_BYTES_MAX - 4) : whole);
                s->line.len = 0;
            }
            s->skip = over;
        }
        if (end != NULL)
            s->skip = false;
    }
}

void isola__service_log_end(struct isola__service_stream *s)
{
    if (s->line.len > 0 && !s->skip)
        end_line(s, isola_buf_slice(&s->line));
    isola_buf_free(&s->line);
}
