/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl profile` and `ctl heap`: a file for Chrome's DevTools, fetched piece by piece from the node
 * the actor lives on. It gets its name when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

#define DEFAULT_SECONDS 5u
/* Beside the time a profile takes. */
#define INSPECT_MS 150000u
#define READ_MS    20000u
/* Where there is no such actor, or it is not active, an agent says so sooner. */
#define REFUSED_MS 300u

struct file {
    char *name; /* NULL: stdout */
    char *part; /* what it is called until it is whole */
    int fd;
};

/* "shop-Counter-user-42.cpuprofile": what would not do in a file's name becomes "-". */
static char *default_name(const char *address, const char *ending)
{
    char *name = isola_format("%.120s.%s", address, ending);
    for (char *p = name; *p != '\0'; p++) {
        bool good = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= '0' && *p <= '9') || *p == '_' || *p == '.' || (*p & 0x80) != 0;
        if (!good)
            *p = '-';
    }
    if (name[0] == '.')
        name[0] = '-';
    return name;
}

static int file_open(struct file *f, const char *output, const char *address, const char *ending,
                     struct isola_err *err)
{
    *f = (struct file){.fd = -1};
    if (output != NULL && strcmp(output, "-") == 0) {
        f->fd = STDOUT_FILENO;
        return 0;
    }
    f->name = output != NULL ? isola_strdup(output) : default_name(address, ending);
    struct stat st;
    if (stat(f->name, &st) == 0 && !S_ISREG(st.st_mode))
        return isola_fail(err, ISOLA_EINVAL, "%.300s is there and no file; name one with -o",
                          f->name);
    f->part = isola_format("%s.part-%d", f->name, (int)getpid());
    f->fd = open(f->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f->fd < 0)
        return isola_fail(err, ISOLA_EIO, "cannot write %.300s: %s", f->name, strerror(errno));
    return 0;
}

static int file_add(struct file *f, struct isola_slice bytes, struct isola_err *err)
{
    while (bytes.len > 0) {
        ssize_t n = write(f->fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EPIPE && f->name == NULL)
            return ISOLA_ECLOSED; /* whoever read stdout has had enough: nothing to tell */
        if (n < 0)
            return isola_fail(err, ISOLA_EIO, "cannot write %.300s: %s",
                              f->name != NULL ? f->name : "to stdout", strerror(errno));
        bytes = isola_slice(bytes.data + n, bytes.len - (size_t)n);
    }
    return 0;
}

/* Gives it its name, or (`whole` false) takes it away. */
static int file_end(struct file *f, bool whole, struct isola_err *err)
{
    int rc = 0;
    if (f->name != NULL && f->fd >= 0) {
        bool closed = close(f->fd) == 0;
        if (whole && (!closed || rename(f->part, f->name) != 0))
            rc = isola_fail(err, ISOLA_EIO, "cannot write %.300s: %s", f->name, strerror(errno));
        if (!whole || rc != 0)
            unlink(f->part);
    }
    free(f->name);
    free(f->part);
    return rc;
}

/* What the REPLY has; a FAIL is told at once, and err->code stays 0. */
static int value_of(struct isola__cli *cli, const struct isola_msg *answer,
                    struct isola_slice *value, struct isola_err *err)
{
    if (answer->kind == ISOLA_MSG_FAIL) {
        isola__fail_remote(cli, answer->args);
        return ISOLA_EFAILED;
    }
    if (!isola_mp_at(answer->args, 0, value))
        return isola_fail(err, ISOLA_EPROTO, "the agent answered with nothing");
    return 0;
}

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) >= 0) {
        struct isola_buf clean = {0};
        isola__text_clean(&clean, isola_slice_str(text));
        fprintf(stderr, "ctl: %.*s\n", ISOLA_FMT(isola_buf_slice(&clean)));
        isola_buf_free(&clean);
        free(text);
    }
    va_end(ap);
}

/* Where the file is. */
struct source {
    char *node;
    uint64_t id, bytes;
    bool shared;
};

static uint32_t seconds(const struct isola__cli *cli)
{
    return cli->options.seconds ? cli->options.seconds : DEFAULT_SECONDS;
}

/* Waits for `inspect`, which is refused at once or takes its time: the one who waits is told of
 * that. */
static int wait_for(struct isola__cli *cli, struct isola__client *client, bool heap, uint32_t ms,
                    struct isola_msg **answer, struct isola_err *err)
{
    if (!heap && !cli->options.json && ms > REFUSED_MS) {
        int rc = isola__client_answer(client, REFUSED_MS, answer, err);
        if (rc != ISOLA_ETIMEDOUT)
            return rc;
        *err = (struct isola_err){0};
        note("profiling %s for %" PRIu32 " s", cli->options.operands[0], seconds(cli));
    }
    return isola__client_answer(client, ms, answer, err);
}

static int take(struct isola__cli *cli, struct isola__client *client, bool heap,
                struct source *source, struct isola_err *err)
{
    struct isola_buf params = {0};
    struct isola_msg *answer = NULL;
    struct isola_slice value, node, isolation;
    uint32_t ms = isola__wait_ms(cli, INSPECT_MS + (heap ? 0 : seconds(cli) * 1000));
    isola_mp_map(&params, heap ? 2 : 3);
    isola_mp_kstr(&params, "address", cli->options.operands[0]);
    isola_mp_kstr(&params, "what", heap ? "heap" : "profile");
    if (!heap)
        isola_mp_kuint(&params, "ms", (uint64_t)seconds(cli) * 1000);
    int rc = isola__client_begin(client, "inspect", isola_buf_slice(&params), ms, err);
    if (rc == 0)
        rc = wait_for(cli, client, heap, ms, &answer, err);
    if (rc == 0)
        rc = value_of(cli, answer, &value, err);
    if (rc == 0 && (!isola_mp_find_str(value, "node", &node) ||
                    !isola_mp_find_uint(value, "id", &source->id) ||
                    !isola_mp_find_uint(value, "bytes", &source->bytes) ||
                    !isola_mp_find_str(value, "isolation", &isolation)))
        rc = isola_fail(err, ISOLA_EPROTO, "the agent does not say where the file is");
    if (rc == 0) {
        source->node = isola_strndup((const char *)node.data, node.len);
        source->shared = isola_slice_is(isolation, "shared");
    }
    free(answer);
    isola_buf_free(&params);
    return rc;
}

/* One piece: how long it is goes to `*n`, 0 at the end. */
static int fetch_piece(struct isola__cli *cli, struct isola__client *client,
                       const struct source *source, uint64_t offset, struct file *file, size_t *n,
                       struct isola_err *err)
{
    struct isola_buf params = {0};
    struct isola_msg *answer = NULL;
    struct isola_slice value;
    struct isola_mp_item item;
    isola_mp_map(&params, 3);
    isola_mp_kstr(&params, "node", source->node);
    isola_mp_kuint(&params, "id", source->id);
    isola_mp_kuint(&params, "offset", offset);
    int rc = isola__client_call(client, "inspect_read", isola_buf_slice(&params),
                                isola__wait_ms(cli, READ_MS), &answer, err);
    if (rc == 0)
        rc = value_of(cli, answer, &value, err);
    if (rc == 0) {
        struct isola_mp_reader r = isola_mp_reader(value);
        if (isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_BIN ||
            item.bytes.len > source->bytes - offset ||
            (item.bytes.len == 0 && offset < source->bytes))
            rc = isola_fail(err, ISOLA_EPROTO, "the agent sent something else than the file");
    }
    if (rc == 0) {
        rc = file_add(file, item.bytes, err);
        *n = item.bytes.len;
    }
    free(answer);
    isola_buf_free(&params);
    return rc;
}

static int fetch(struct isola__cli *cli, struct isola__client *client, const struct source *source,
                 struct file *file, struct isola_err *err)
{
    uint64_t offset = 0;
    size_t n = 1;
    int rc = 0;
    while (rc == 0 && n > 0) { /* the piece after the last is empty: the node lets go of the file */
        rc = fetch_piece(cli, client, source, offset, file, &n, err);
        offset += n;
    }
    return rc;
}

static void print_result(struct isola__cli *cli, bool heap, const struct source *source,
                         const char *name)
{
    const char *address = cli->options.operands[0];
    if (cli->options.json) {
        json_t *done = json_pack("{s:s, s:s, s:s, s:I, s:s?}", "address", address, "node",
                                 source->node, "isolation", source->shared ? "shared" : "isolate",
                                 "bytes", (json_int_t)source->bytes, "file", name);
        isola__out_json(cli, done, false);
        json_decref(done);
        return;
    }
    char size[ISOLA__HUMAN_SIZE];
    struct isola_buf line = {0};
    isola__human_bytes(source->bytes, size);
    isola_buf_puts(&line, "wrote ");
    isola__text_clean(&line, isola_slice_str(name));
    isola_buf_printf(&line, " (%s): in Chrome's DevTools, %s > Load%s\n", size,
                     heap ? "Memory" : "Performance", heap ? "" : " profile");
    isola__out(cli, &line);
}

static void inspect(struct isola__cli *cli, bool heap)
{
    const char *address = cli->options.operands[0];
    struct isola__client *client = NULL;
    struct source source = {0};
    struct file file = {.fd = -1};
    struct isola_err err = {0};
    if (!isola__check_address(cli, address))
        return;
    bool to_stdout = cli->options.output != NULL && strcmp(cli->options.output, "-") == 0;
    if (to_stdout && cli->options.json) {
        isola__fail_usage(cli, "--json and -o - both want stdout; name a file");
        return;
    }
    int rc =
        file_open(&file, cli->options.output, address, heap ? "heapsnapshot" : "cpuprofile", &err);
    if (rc == 0)
        rc = isola__client_open(cli->socket, &client, &err);
    if (rc == 0)
        rc = take(cli, client, heap, &source, &err);
    if (rc == 0 && source.shared && !cli->options.json)
        note("%s shares its isolate: this is of all actors of the app on that thread of node %s",
             address, source.node);
    if (rc == 0)
        rc = fetch(cli, client, &source, &file, &err);
    char *name = file.name != NULL ? isola_strdup(file.name) : NULL;
    int ended = file_end(&file, rc == 0, rc == 0 ? &err : NULL);
    if (rc == 0)
        rc = ended;
    if (client != NULL)
        isola__client_close(client);
    if (rc != 0 && err.code != 0)
        isola__fail(cli, &err);
    else if (rc == 0 && name != NULL)
        print_result(cli, heap, &source, name);
    free(name);
    free(source.node);
}

void isola__run_profile(struct isola__cli *cli)
{
    inspect(cli, false);
}

void isola__run_heap(struct isola__cli *cli)
{
    inspect(cli, true);
}
