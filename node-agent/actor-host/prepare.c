/* SPDX-License-Identifier: Apache-2.0
 *
 * Has modules prepared: each in a process of its own, which is this program over again with
 * `--prepare` (prepare_child.c), because the module's code runs in it and V8 may end it. One at a
 * time, in the order they are asked for.
 *
 * Failure modes: the process cannot be started, ends early, takes longer than LIMIT_MS or says too
 * much: whatever it gave before counts, the rest is a reason. A process of another program or other
 * flags (the program was replaced while this one runs) has another key, and nothing of it is taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/v8/realm.h"
#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"
#include "node-agent/actor-host/prepare.h"
#include "transport/envelope.h"
#include "transport/seal.h"

#define LIMIT_MS (30u * 1000)
#define PART_MAX (16u << 20) /* bytes of a cache or an image */
#define SAID_MAX (2 * PART_MAX + 4096)
#define ARGS_MAX 16

struct wish {
    struct parcel parcel;
    struct wish *next;
    struct isola_prepare *req;
};

struct preparer {
    struct app *app;
    struct wish *first, **last;
    /* the process that runs */
    uv_process_t process;
    uv_pipe_t in, out;
    uv_timer_t timer;
    uv_write_t write;
    struct isola_buf request, said;
    unsigned open; /* handles that are not closed */
    bool timed_out, too_much;
    int64_t status;
    int signal;
    char chunk[65536];
};

static void next(struct preparer *p);

/* --- what it said --- */

struct made {
    struct isola_slice cache, image;
    char why[200];
};

static void note_no_image(struct made *m, const struct preparer *p)
{
    if (p->timed_out)
        snprintf(m->why, sizeof(m->why), "it did not come to an end within %u s", LIMIT_MS / 1000);
    else if (p->too_much)
        snprintf(m->why, sizeof(m->why), "it would take more than %u MB", PART_MAX >> 20);
    else if (p->signal != 0 || p->status != 0)
        snprintf(m->why, sizeof(m->why), "what it makes while it loads cannot be kept in one");
}

/* Parts: a letter, a length (4 bytes, this machine's order), bytes. */
static void read_parts(const struct preparer *p, struct made *m)
{
    struct isola_slice rest = isola_buf_slice(&p->said);
    char key[ISOLA_V8_KEY_SIZE];
    bool ours = false;
    *m = (struct made){0};
    isola_v8_key(key);
    while (rest.len >= PREPARE_HEAD) {
        uint32_t len;
        memcpy(&len, rest.data + 1, sizeof(len));
        if (len > rest.len - PREPARE_HEAD)
            break;
        struct isola_slice part = isola_slice(rest.data + PREPARE_HEAD, len);
        if (rest.data[0] == PREPARE_KEY)
            ours = isola_slice_is(part, key);
        else if (rest.data[0] == PREPARE_CACHE && ours && len <= PART_MAX)
            m->cache = part;
        else if (rest.data[0] == PREPARE_IMAGE && ours && len <= PART_MAX)
            m->image = part;
        else if (rest.data[0] == PREPARE_NO_IMAGE)
            snprintf(m->why, sizeof(m->why), "%.*s", (int)(len < 190 ? len : 190),
                     (const char *)part.data);
        rest = isola_slice(part.data + len, rest.len - PREPARE_HEAD - len);
    }
    if (m->image.len == 0 && m->why[0] == '\0') {
        note_no_image(m, p);
        if (p->said.len > 0 && !ours)
            snprintf(m->why, sizeof(m->why), "the program has changed since this process began");
    }
}

/* The agent keeps the code for the next actor-host. */
static void tell_agent(struct app *app, const struct isola_prepare *req, struct isola_slice cache)
{
    char key[ISOLA_V8_KEY_SIZE];
    struct isola_buf args = {0};
    isola_v8_key(key);
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 5);
    isola_mp_kstr(&args, "app", req->app);
    isola_mp_kstr(&args, "release", req->release);
    isola_mp_kstr(&args, "type", req->type);
    isola_mp_kstr(&args, "key", key);
    isola_mp_cstr(&args, "cache");
    isola_mp_bin(&args, cache);
    struct isola_msg m = {.kind = ISOLA_MSG_EMIT,
                          .bulk = true,
                          .event = isola_slice_str("prepared"),
                          .args = isola_buf_slice(&args)};
    if (app->agent != NULL && !args.failed)
        (void)!isola_link_send_msg(app->agent, &m); /* else it is made again some time */
    isola_buf_free(&args);
}

static void finish(struct preparer *p)
{
    struct wish *w = p->first;
    struct isola_prepare *req = w->req;
    struct made m;
    read_parts(p, &m);
    if (m.cache.len > 0 && req->want_cache)
        tell_agent(p->app, req, m.cache);
    req->done(req, m.cache, m.image, m.why[0] != '\0' ? m.why : NULL);
    p->first = w->next;
    free(w);
    isola_buf_free(&p->said);
    isola_wipe(&p->request);
    if (p->first != NULL)
        next(p);
}

/* --- the process --- */

static void on_closed(uv_handle_t *handle)
{
    struct preparer *p = handle->data;
    if (--p->open == 0)
        finish(p);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct preparer *p = process->data;
    p->status = status;
    p->signal = signal;
    close_handle(&p->process);
    close_handle(&p->timer);
    close_handle(&p->in);
}

static void on_limit(uv_timer_t *timer)
{
    struct preparer *p = timer->data;
    p->timed_out = true;
    uv_process_kill(&p->process, SIGKILL);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct preparer *p = handle->data;
    (void)suggested;
    *buf = uv_buf_init(p->chunk, sizeof(p->chunk));
}

static void on_said(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct preparer *p = stream->data;
    if (n < 0) {
        close_handle(&p->out);
    } else if (p->said.len + (size_t)n > SAID_MAX) {
        p->too_much = true;
        uv_process_kill(&p->process, SIGKILL);
    } else {
        isola_buf_append(&p->said, buf->base, (size_t)n);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct preparer *p = write->data;
    (void)status; /* it has ended: on_exit_status tells */
    close_handle(&p->in);
}

/* This program's own command line as far as its script, and `--prepare` in place of the rest. */
static bool own_args(struct isola_buf *text, char *args[ARGS_MAX])
{
    FILE *f = fopen("/proc/self/cmdline", "re");
    int c;
    if (f == NULL)
        return false;
    while ((c = getc(f)) != EOF)
        isola_buf_append(text, &(char){(char)c}, 1);
    fclose(f);
    isola_buf_append(text, "", 1);
    int n = 0;
    for (char *at = (char *)text->data; *at != '\0' && n < ARGS_MAX - 2; at += strlen(at) + 1) {
        args[n++] = at;
        if (n > 1 && at[0] != '-')
            break;
    }
    args[n++] = (char *)(uintptr_t) "--prepare";
    args[n] = NULL;
    return n > 2;
}

static int spawn(struct preparer *p)
{
    struct isola_buf text = {0};
    char *args[ARGS_MAX];
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&p->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&p->out},
        {.flags = UV_IGNORE}};
    uv_process_options_t options = {.exit_cb = on_exit_status,
                                    .file = "/proc/self/exe",
                                    .args = args,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    int r = UV_EIO;
    if (own_args(&text, args))
        r = uv_spawn(p->app->loop, &p->process, &options);
    isola_buf_free(&text);
    return r;
}

static void next(struct preparer *p)
{
    const struct isola_prepare *req = p->first->req;
    uv_loop_t *loop = p->app->loop;
    isola_mp_map(&p->request, 8);
    isola_mp_kuint(&p->request, "heap", req->heap);
    isola_mp_kuint(&p->request, "external", req->external);
    isola_mp_kstr(&p->request, "type", req->type);
    isola_mp_kstr(&p->request, "file", req->file);
    isola_mp_cstr(&p->request, "code");
    isola_mp_bin(&p->request, req->code);
    isola_mp_cstr(&p->request, "env");
    isola_mp_bin(&p->request, req->env);
    isola_mp_cstr(&p->request, "secrets");
    isola_mp_bin(&p->request, req->secrets);
    isola_mp_kbool(&p->request, "image", req->want_image);
    p->timed_out = p->too_much = false;
    p->status = p->signal = 0;
    uv_pipe_init(loop, &p->in, 0);
    uv_pipe_init(loop, &p->out, 0);
    uv_timer_init(loop, &p->timer);
    p->in.data = p->out.data = p->timer.data = p->process.data = p->write.data = p;
    p->open = 4;
    int r = spawn(p);
    if (r != 0) {
        isola_log(ISOLA_LOG_ERROR, "modules cannot be prepared: no process: %s", uv_strerror(r));
        p->status = -1;
        close_handle(&p->in);
        close_handle(&p->out);
        close_handle(&p->timer);
        close_handle(&p->process);
        return;
    }
    uv_timer_start(&p->timer, on_limit, LIMIT_MS, 0);
    uv_read_start((uv_stream_t *)&p->out, on_alloc, on_said);
    uv_buf_t buf = uv_buf_init((char *)p->request.data, (unsigned)p->request.len);
    r = uv_write(&p->write, (uv_stream_t *)&p->in, &buf, 1, on_written);
    if (r != 0)
        close_handle(&p->in); /* it reads nothing, and ends */
}

/* --- wishes --- */

static void run_wish(struct app *app, struct parcel *parcel)
{
    struct wish *w = (struct wish *)parcel;
    struct preparer *p = app->preparer;
    bool idle = p->first == NULL;
    if (idle)
        p->last = &p->first;
    *p->last = w;
    p->last = &w->next;
    if (idle)
        next(p);
}

void prepare_wish(void *arg, struct isola_prepare *req)
{
    struct wish *w = isola_zalloc(sizeof(*w));
    w->parcel.run = run_wish;
    w->req = req;
    outbox_put(arg, &w->parcel);
}

void prepare_open(struct app *app)
{
    app->preparer = isola_zalloc(sizeof(*app->preparer));
    app->preparer->app = app;
}
