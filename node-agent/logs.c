/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "transport/identity.h"

#define LOG_FILE_MAX ((size_t)16 << 20)
#define TEXT_MAX     ((size_t)64 << 10) /* a longer line is cut */

/* --- the ring --- */

static struct isola__log_line *ring_add(struct isola__logs *logs, const struct isola__log_fields *f)
{
    struct isola_buf b = {0};
    isola_mp_map(&b, 5);
    isola_mp_kuint(&b, "time", (uint64_t)f->time_ms);
    isola_mp_cstr(&b, "level");
    isola_mp_str(&b, f->level);
    isola_mp_cstr(&b, "node");
    isola_mp_str(&b, f->node);
    isola_mp_cstr(&b, "address");
    isola_mp_str(&b, f->address);
    isola_mp_cstr(&b, "text");
    isola_mp_str(&b, f->text);
    struct isola__log_line *line = b.failed ? NULL : malloc(sizeof(*line) + b.len);
    if (line == NULL) {
        isola_buf_free(&b);
        return NULL;
    }
    memcpy(line + 1, b.data, b.len);
    line->whole = isola_slice(line + 1, b.len);
    line->time_ms = f->time_ms;
    bool found = isola_mp_find_str(line->whole, "address", &line->address);
    ISOLA_CHECK(found);
    isola_buf_free(&b);

    while (logs->count > 0 && (logs->count == ISOLA_LOG_LINES_MAX ||
                               logs->bytes + line->whole.len > ISOLA_LOG_BYTES_MAX)) {
        struct isola__log_line *oldest = logs->ring[logs->first];
        logs->first = (logs->first + 1) % ISOLA_LOG_LINES_MAX;
        logs->count--;
        logs->bytes -= oldest->whole.len;
        free(oldest);
    }
    logs->ring[(logs->first + logs->count++) % ISOLA_LOG_LINES_MAX] = line;
    logs->bytes += line->whole.len;
    return line;
}

/* --- the file --- */

static void complain(struct isola__logs *logs, const char *what)
{
    if (!logs->complained)
        isola_log(ISOLA_LOG_WARN, "cannot %s %s: %s; what actors log is kept in memory only", what,
                  logs->path, strerror(errno));
    logs->complained = true;
}

static void file_open(struct isola__logs *logs)
{
    int fd = open(logs->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    logs->file = fd < 0 ? NULL : fdopen(fd, "a");
    if (logs->file == NULL) {
        complain(logs, "open");
        if (fd >= 0)
            close(fd);
        return;
    }
    struct stat st;
    logs->file_bytes = fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
    /* A crash may have cut the last line off: it must not swallow the next one. */
    char last = '\n';
    if (logs->file_bytes > 0 && pread(fd, &last, 1, (off_t)logs->file_bytes - 1) == 1 &&
        last != '\n')
        fputc('\n', logs->file);
}

static void rotate(struct isola__logs *logs)
{
    fclose(logs->file);
    if (rename(logs->path, logs->old_path) != 0)
        complain(logs, "rotate");
    file_open(logs);
}

static json_t *json_text(struct isola_slice s)
{
    json_t *j = json_stringn((const char *)s.data, s.len);
    return j != NULL ? j : json_string("(not UTF-8)");
}

static void file_add(struct isola__logs *logs, const struct isola__log_fields *f)
{
    if (logs->file == NULL)
        return;
    json_t *j = json_pack("{s:I, s:o, s:o, s:o, s:o}", "time", (json_int_t)f->time_ms, "level",
                          json_text(f->level), "node", json_text(f->node), "address",
                          json_text(f->address), "text", json_text(f->text));
    char *text = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    if (text == NULL)
        return;
    if (fprintf(logs->file, "%s\n", text) < 0)
        complain(logs, "write");
    logs->file_bytes += strlen(text) + 1;
    logs->dirty = true;
    free(text);
    if (logs->file_bytes >= LOG_FILE_MAX)
        rotate(logs);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct isola__logs *logs = handle->data;
    if (!logs->dirty || logs->file == NULL)
        return;
    logs->dirty = false;
    if (fflush(logs->file) != 0) {
        complain(logs, "write");
        clearerr(logs->file);
    } else {
        logs->complained = false;
    }
}

/* Reads a file whole; what cannot be read is as good as empty. */
static void slurp(const char *path, struct isola_buf *out)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return;
    size_t n;
    do {
        size_t at = out->len;
        uint8_t *to = isola_buf_extend(out, (size_t)1 << 16);
        if (to == NULL)
            break;
        n = fread(to, 1, (size_t)1 << 16, f);
        out->len = at + n;
    } while (n > 0 && out->len < 4 * LOG_FILE_MAX);
    fclose(f);
}

static void load_line(struct isola__logs *logs, const char *text, size_t len)
{
    json_t *j = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    json_int_t time_ms;
    const char *s[4];
    size_t n[4];
    if (j != NULL &&
        json_unpack(j, "{s:I, s:s%, s:s%, s:s%, s:s%}", "time", &time_ms, "level", &s[0], &n[0],
                    "node", &s[1], &n[1], "address", &s[2], &n[2], "text", &s[3], &n[3]) == 0) {
        struct isola__log_fields f = {time_ms, isola_slice(s[0], n[0]), isola_slice(s[1], n[1]),
                                      isola_slice(s[2], n[2]),
                                      isola_slice_cut(isola_slice(s[3], n[3]), TEXT_MAX)};
        unsigned level;
        if (time_ms >= 0 && isola__log_level(f.level, &level) &&
            f.node.len <= ISOLA_NODE_NAME_MAX && f.address.len <= ISOLA_ADDRESS_MAX)
            (void)ring_add(logs, &f);
    }
    json_decref(j);
}

/* The last lines of old and new file together. */
static void load(struct isola__logs *logs)
{
    struct isola_buf text = {0};
    slurp(logs->old_path, &text);
    if (text.len > 0 && text.data[text.len - 1] != '\n')
        isola_buf_puts(&text, "\n");
    slurp(logs->path, &text);
    size_t start = text.len;
    size_t lines = 0;
    while (start > 0 && !(text.data[start - 1] == '\n' && lines++ == ISOLA_LOG_LINES_MAX))
        start--;
    while (start < text.len) {
        const uint8_t *p = text.data + start;
        const uint8_t *end = memchr(p, '\n', text.len - start);
        size_t len = end != NULL ? (size_t)(end - p) : text.len - start;
        if (len > 0)
            load_line(logs, (const char *)p, len);
        start += len + 1;
    }
    isola_buf_free(&text);
}

/* --- from outside --- */

int isola__logs_open(struct isola__logs *logs, struct isola__agent *agent, struct isola_err *err)
{
    logs->agent = agent;
    char *dir = isola_format("%s/logs", agent->opt.data);
    logs->path = isola_format("%s/actors.jsonl", dir);
    logs->old_path = isola_format("%s/actors.jsonl.1", dir);
    int rc = 0;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        rc = isola_fail(err, errno == EACCES || errno == EROFS ? ISOLA_EPERM : ISOLA_EIO,
                        "cannot create %s: %s", dir, strerror(errno));
    free(dir);
    if (rc != 0)
        return rc;
    load(logs);
    file_open(logs);
    if (uv_prepare_init(&agent->loop, &logs->flush) != 0 ||
        uv_prepare_start(&logs->flush, on_prepare) != 0)
        return isola_fail(err, ISOLA_EIO, "cannot prepare the log");
    logs->flush.data = logs;
    uv_unref((uv_handle_t *)&logs->flush);
    return 0;
}

void isola__logs_close(struct isola__logs *logs)
{
    if (logs->flush.data != NULL)
        uv_close((uv_handle_t *)&logs->flush, NULL);
}

void isola__logs_free(struct isola__logs *logs)
{
    if (logs->file != NULL)
        fclose(logs->file);
    for (size_t i = 0; i < logs->count; i++)
        free(logs->ring[(logs->first + i) % ISOLA_LOG_LINES_MAX]);
    free(logs->path);
    free(logs->old_path);
}

void isola__logs_add(struct isola__logs *logs, struct isola_slice line)
{
    struct isola__log_fields f;
    if (!isola__log_fields_read(line, &f)) {
        isola_log(ISOLA_LOG_WARN, "the actor-host sent a log line that is none");
        return;
    }
    f.text = isola_slice_cut(f.text, TEXT_MAX);
    const struct isola__log_line *added = ring_add(logs, &f);
    file_add(logs, &f);
    if (added != NULL)
        isola__follow_line(logs->agent, NULL, added->whole);
}
