/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "node-agent/agent.h"
#include "node-agent/clients.h"
#include "node-agent/service_bounds.h"
#include "node-agent/service_debug.h"
#include "node-agent/service_health.h"
#include "node-agent/service_hints.h"
#include "node-agent/service_log.h"
#include "node-agent/service_sockets.h"
#include "node-agent/service_start.h"

#define SETTLE_MS   1000 /* without a port: it has begun when it lives so long */
#define EAGER_MS    100  /* between two looks at its health before it was well once */
#define LINGER_MS   500  /* for what it has printed last, when something else has its pipes too */
#define LEAVE_MS    250  /* for connections that are under way: a round trip */
#define LEAVE_MAX   4    /* times that, until it is to end though some still wait */
#define MESSAGE_MAX ((size_t)64 << 10)
#define READ_SIZE   65536

struct isola__program {
    struct isola__agent *agent;
    struct isola__service_def *def; /* counted */
    const struct isola__program_ops *ops;
    void *arg;
    enum isola__program_state state;
    unsigned of; /* so many instances share its port */
    char address[ISOLA_ADDRESS_MAX + 1];
    uv_process_t process;
    uv_pipe_t out, err, channel;
    uv_timer_t timer; /* by state: to be ready, or to be killed */
    uv_timer_t pulse; /* the next look at its health */
    struct isola__bounds bounds;
    struct isola__client *taker; /* of its messages, or NULL */
    bool serves;                 /* it has said that there will be one */
    struct isola__debug debug;
    struct isola__health *look;    /* under way, or NULL */
    unsigned health_port;          /* where it is asked; 0: it does not listen yet */
    struct isola__sockets sockets; /* that it listens on */
    bool loose;                    /* they cannot be sticky, which has been said */
    uint32_t unwell;               /* looks in a row that were not well */
    char illness[100];             /* of the last */
    unsigned handles;              /* that are not closed */
    bool alive;                    /* its pid is its own */
    unsigned leaving;              /* not 0: it is to end when nobody waits; looks that are left */
    bool too_late;                 /* it was not ready in time */
    bool ill;                      /* it was ended for its health */
    struct isola__service_log log;
    struct isola__service_stream streams[2]; /* stdout, stderr */
    struct isola_buf message;                /* the beginning of one */
    bool skip;                               /* the rest of one that is too long */
    char chunk[READ_SIZE];
    int64_t status; /* how it has ended */
    int signal;
    char why[480];
    unsigned elsewhere; /* a port it listens on, as it does not on its own; 0: none is known */
};

/* With the other port. */
#define ELSEWHERE_HINT                                                                              \
    "have it listen on process.env.PORT, or say \"port\": %u in the manifest (PORT=… before the " \
    "command of \"start\")"

static void on_timer(uv_timer_t *timer);

/* --- definitions --- */

struct isola__service_def *isola__service_def_ref(struct isola__service_def *def)
{
    def->refs++;
    return def;
}

void isola__service_def_unref(struct isola__service_def *def)
{
    if (def == NULL || --def->refs > 0)
        return;
    isola_manifest_free(def->manifest);
    free(def->dir);
    free(def);
}

/* --- its end --- */

/* Why it is ended, when that is for what it does: false when it is not. */
static bool explain_order(const struct isola__program *p, char *out, size_t size)
{
    unsigned port = p->def->type->service->port;
    uint64_t start_ms = p->def->type->service->start_ms;
    if (p->ill)
        snprintf(out, size, "it was not well %u times in a row (\"health\"): %s", p->unwell,
                 p->illness);
    else if (p->too_late && p->illness[0] != '\0')
        snprintf(out, size, "it was not well within %" PRIu64 " ms (\"health\"): %s", start_ms,
                 p->illness);
    else if (p->too_late && p->elsewhere != 0)
        snprintf(out, size,
                 "it did not listen on port %u within %" PRIu64 " ms, but on %u: " ELSEWHERE_HINT,
                 port, start_ms, p->elsewhere, p->elsewhere);
    else if (p->too_late)
        snprintf(out, size, "it did not listen on port %u within %" PRIu64 " ms", port, start_ms);
    return p->ill || p->too_late;
}

static void explain(struct isola__program *p)
{
    const char *said = p->log.last;
    int sig = p->signal;
    if (isola__bounds_explain(&p->bounds, sig, said, p->why, sizeof(p->why)))
        return;
    bool ordered = explain_order(p, p->why, sizeof(p->why));
    if (!ordered && sig != 0)
        snprintf(p->why, sizeof(p->why), "it was ended by signal %d (%s)", sig, strsignal(sig));
    else if (!ordered)
        snprintf(p->why, sizeof(p->why), "it exited with status %" PRId64, p->status);
    size_t n = strlen(p->why);
    char hint[ISOLA_HINT_SIZE];
    isola__service_hint(said, hint);
    if (said[0] != '\0')
        snprintf(p->why + n, sizeof(p->why) - n, ": %s%s", said, hint);
}

/* It is to end: who replaces it has been given the socket, and else nobody is to wait there. */
static void drop_socket(struct isola__program *p)
{
    isola__sockets_drop(&p->sockets);
}

/* Until it has ended it may read what it was started from, though others have replaced it. */
static void leave_files(struct isola__program *p)
{
    const char *app = p->def->manifest->name;
    isola__packages_let_go(&p->agent->packages, app, p->def->release);
    isola__services_sweep(&p->agent->services, app);
}

static void on_closed(uv_handle_t *handle)
{
    struct isola__program *p = handle->data;
    if (--p->handles > 0)
        return;
    isola__service_log_end(&p->streams[0]);
    isola__service_log_end(&p->streams[1]);
    isola__service_log_flush(&p->log);
    if (p->taker != NULL)
        p->taker->program = NULL;
    explain(p);
    isola__debug_ended(&p->debug, p->why);
    p->ops->ended(p, p->why);
    leave_files(p);
    drop_socket(p);
    isola__bounds_end(&p->bounds);
    isola__service_def_unref(p->def);
    isola_buf_free(&p->message);
    free(p);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void close_pipes(struct isola__program *p)
{
    close_handle(&p->out);
    close_handle(&p->err);
    close_handle(&p->channel);
    close_handle(&p->timer);
    close_handle(&p->pulse);
}

static void set_timer(struct isola__program *p, uint64_t ms)
{
    if (uv_is_closing((uv_handle_t *)&p->timer))
        return;
    uv_update_time(&p->agent->loop);
    int rc = uv_timer_start(&p->timer, on_timer, ms, 0);
    ISOLA_CHECK(rc == 0);
}

/* With what it has started itself. */
static void kill_group(const struct isola__program *p)
{
    (void)kill(-p->process.pid, SIGKILL);
    isola__bounds_kill(&p->bounds);
}

static void stop_looking(struct isola__program *p)
{
    uv_timer_stop(&p->pulse);
    if (p->look != NULL)
        isola__health_cancel(p->look);
    p->look = NULL;
}

static void on_exit_status(uv_process_t *process, int64_t status, int sig)
{
    struct isola__program *p = process->data;
    kill_group(p);
    p->alive = false;
    stop_looking(p);
    drop_socket(p);
    p->status = status;
    p->signal = sig;
    close_handle(&p->process);
    set_timer(p, LINGER_MS);
    if (uv_is_closing((uv_handle_t *)&p->out) && uv_is_closing((uv_handle_t *)&p->err))
        close_pipes(p);
}

void isola__program_trouble(const struct isola__program *p, char *out, size_t size)
{
    const struct isola_manifest_service *s = p->def->type->service;
    char why[sizeof(p->why)];
    out[0] = '\0';
    if (p->state == ISOLA_PROGRAM_STOPPING && explain_order(p, why, sizeof(why)))
        snprintf(out, size, "is to end, and is killed %" PRIu64 " ms after SIGTERM: %s", s->stop_ms,
                 why);
    else if (p->state == ISOLA_PROGRAM_STARTING && p->unwell > 0)
        snprintf(out, size, "is not well yet (\"health\"): %s", p->illness);
    else if (p->state == ISOLA_PROGRAM_READY && p->unwell > 0)
        snprintf(out, size, "is not well, %u of the %u times in a row that end it (\"health\"): %s",
                 p->unwell, s->health_failures, p->illness);
}

unsigned isola__program_elsewhere(const struct isola__program *p)
{
    return p->state == ISOLA_PROGRAM_STARTING ? p->elsewhere : 0;
}

void isola__program_stop(struct isola__program *p)
{
    if (p->state == ISOLA_PROGRAM_STOPPING || !p->alive)
        return;
    p->state = ISOLA_PROGRAM_STOPPING;
    stop_looking(p);
    drop_socket(p);
    (void)uv_process_kill(&p->process, SIGTERM);
    set_timer(p, p->def->type->service->stop_ms);
}

bool isola__program_asked(const struct isola__program *p)
{
    return p->state == ISOLA_PROGRAM_STOPPING && !p->ill && !p->too_late;
}

void isola__program_leave(struct isola__program *p)
{
    if (p->state != ISOLA_PROGRAM_READY || !isola__sockets_shut(&p->sockets)) {
        isola__program_stop(p);
        return;
    }
    if (p->leaving > 0)
        return;
    p->leaving = LEAVE_MAX;
    set_timer(p, LEAVE_MS);
}

static void become_ready(struct isola__program *p)
{
    if (p->state != ISOLA_PROGRAM_STARTING || !p->alive)
        return;
    p->state = ISOLA_PROGRAM_READY;
    uv_timer_stop(&p->timer);
    p->ops->ready(p);
}

static void on_timer(uv_timer_t *timer)
{
    struct isola__program *p = timer->data;
    const struct isola_manifest_service *s = p->def->type->service;
    if (!p->alive) {
        close_pipes(p); /* something else has them open */
    } else if (p->state == ISOLA_PROGRAM_STOPPING) {
        if (!p->too_late && !p->ill)
            isola__service_log_say(&p->log, "warn",
                                   "it did not end within %" PRIu64
                                   " ms of SIGTERM (\"stopTimeout\") and is killed",
                                   s->stop_ms);
        kill_group(p);
    } else if (p->leaving > 0) {
        if (--p->leaving > 0 && isola__sockets_wait(&p->sockets))
            set_timer(p, LEAVE_MS);
        else
            isola__program_stop(p);
    } else if (s->port != 0) {
        p->too_late = true;
        isola__program_stop(p);
    } else {
        become_ready(p);
    }
}

/* --- whether it is well --- */

static void on_pulse(uv_timer_t *timer);

static void look_again(struct isola__program *p, uint64_t ms)
{
    uv_update_time(&p->agent->loop);
    int rc = uv_timer_start(&p->pulse, on_pulse, ms, 0);
    ISOLA_CHECK(rc == 0);
}

static void on_looked(void *arg, const char *why)
{
    struct isola__program *p = arg;
    const struct isola_manifest_service *s = p->def->type->service;
    p->look = NULL;
    if (why == NULL) {
        p->unwell = 0;
        p->illness[0] = '\0';
        become_ready(p);
    } else {
        p->unwell++;
        snprintf(p->illness, sizeof(p->illness), "GET %.50s: %.40s", s->health_path, why);
    }
    if (p->state == ISOLA_PROGRAM_STARTING) {
        look_again(p, EAGER_MS);
    } else if (p->state == ISOLA_PROGRAM_READY && p->unwell >= s->health_failures) {
        p->ill = true;
        isola__service_log_say(
            &p->log, "warn",
            "%s: that is %u times in a row (\"health\"): it gets SIGTERM, and is "
            "killed if it has not ended %" PRIu64 " ms later",
            p->illness, p->unwell, s->stop_ms);
        isola__program_stop(p);
    } else if (p->state == ISOLA_PROGRAM_READY) {
        if (p->unwell == 1)
            isola__service_log_say(&p->log, "warn",
                                   "it is not well: %s; %u times in a row end it (\"health\")",
                                   p->illness, s->health_failures);
        look_again(p, s->health_every_ms);
    }
}

static void on_pulse(uv_timer_t *timer)
{
    struct isola__program *p = timer->data;
    const struct isola_manifest_service *s = p->def->type->service;
    p->look = isola__health_look(&p->agent->loop, p->health_port, s->health_path,
                                 s->health_timeout_ms, on_looked, p);
}

/* It listens; `port` is its own, where no other instance answers, or 0. */
static void on_listening(struct isola__program *p, unsigned port)
{
    const struct isola_manifest_service *s = p->def->type->service;
    if (s->health_path == NULL) {
        become_ready(p);
    } else if (p->health_port == 0 && p->alive && p->state == ISOLA_PROGRAM_STARTING) {
        p->health_port = port != 0 ? port : s->port;
        look_again(p, 0);
    }
}

/* --- what it says --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct isola__program *p = handle->data;
    (void)suggested;
    *buf = uv_buf_init(p->chunk, sizeof(p->chunk));
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct isola__program *p = stream->data;
    if (n > 0) {
        isola__service_log_read(&p->streams[stream == (uv_stream_t *)&p->err],
                                isola_slice(buf->base, (size_t)n));
        if (p->log.inspector[0] != '\0')
            isola__debug_said(&p->debug, p->log.inspector);
        p->log.inspector[0] = '\0';
    } else if (n < 0) {
        close_handle(stream);
        if (!p->alive && uv_is_closing((uv_handle_t *)&p->out) &&
            uv_is_closing((uv_handle_t *)&p->err))
            close_pipes(p);
    }
}

/* Has its listening socket too, for who replaces it. */
static void take_socket(struct isola__program *p, const json_t *fd, const json_t *address)
{
    const struct isola_manifest_service *s = p->def->type->service;
    if (!p->alive || p->state == ISOLA_PROGRAM_STOPPING || !json_is_integer(fd) ||
        json_integer_value(fd) < 0 || json_integer_value(fd) > INT_MAX || !json_is_string(address))
        return;
    int own = isola__sockets_take(&p->sockets, p->process.pid, (int)json_integer_value(fd),
                                  json_string_value(address));
    if (!s->sticky || p->loose)
        return;
    p->loose = own < 0 || !isola__socket_stick(own, p->of);
    if (p->loose)
        isola__service_log_say(&p->log, "warn",
                               "clients do not stay with one instance (\"sticky\"): the system "
                               "does not let node %s have the sockets of its services: %s",
                               p->agent->opt.name, strerror(errno));
}

/* A line of Node.js' channel: the JSON of what was given to process.send. */
static void on_message(struct isola__program *p, struct isola_slice line)
{
    if (isola_slice_is(line, "\"ready\"")) {
        on_listening(p, 0);
        return;
    }
    json_t *j = json_loadb((const char *)line.data, line.len, 0, NULL);
    const char *what = json_string_value(json_object_get(j, "isola"));
    json_int_t port = json_integer_value(json_object_get(j, "port"));
    if (what != NULL && strcmp(what, "listening") == 0) {
        take_socket(p, json_object_get(j, "fd"), json_object_get(j, "address"));
        on_listening(p, port > 0 && port < 65536 ? (unsigned)port : 0);
    }
    if (what != NULL && strcmp(what, "elsewhere") == 0 && port > 0 && port < 65536 &&
        p->state == ISOLA_PROGRAM_STARTING && p->elsewhere == 0) {
        p->elsewhere = (unsigned)port;
        isola__service_log_say(
            &p->log, "warn",
            "it listens on port %u, and not yet on %u, where it is waited for: " ELSEWHERE_HINT,
            p->elsewhere, p->def->type->service->port, p->elsewhere);
    }
    p->serves = p->serves || (what != NULL && strcmp(what, "serves") == 0);
    json_decref(j);
}

static void on_channel(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct isola__program *p = stream->data;
    if (n < 0)
        uv_read_stop(stream);
    for (size_t at = 0; n > 0 && at < (size_t)n;) {
        const char *from = buf->base + at;
        const char *end = memchr(from, '\n', (size_t)n - at);
        size_t len = end != NULL ? (size_t)(end - from) : (size_t)n - at;
        if (!p->skip && p->message.len + len <= MESSAGE_MAX)
            isola_buf_append(&p->message, from, len);
        else
            p->skip = true;
        at += len + (end != NULL);
        if (end == NULL)
            continue;
        if (!p->skip && !p->message.failed)
            on_message(p, isola_buf_slice(&p->message));
        isola_buf_free(&p->message);
        p->skip = false;
    }
}

/* --- start --- */

/* Has it a socket that one of this definition goes on with? */
static bool gives(const struct isola__program *before, const struct isola__service_def *def)
{
    return before != NULL && before->sockets.n > 0 &&
           before->def->type->service->port == def->type->service->port;
}

static int spawn(struct isola__program *p, const char *launcher, unsigned number, char **env,
                 const struct isola__program *before)
{
    struct isola__agent *agent = p->agent;
    char *words[3];
    isola__bounds_words(&p->bounds, number, words);
    char **args = isola__service_args(p->def, launcher, words);
    bool given = gives(before, p->def);
    uv_stdio_container_t stdio[ISOLA_SOCKETS_FROM + ISOLA_SOCKETS_MAX] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&p->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&p->err},
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&p->channel},
    };
    int n = ISOLA_SOCKETS_FROM;
    for (size_t i = 0; given && i < before->sockets.n; i++)
        stdio[n++] =
            (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = before->sockets.all[i].fd};
    uv_process_options_t options = {
        .file = launcher,
        .args = args,
        .env = env,
        .cwd = p->def->dir,
        .exit_cb = on_exit_status,
        .stdio = stdio,
        .stdio_count = n,
        .flags = UV_PROCESS_DETACHED, /* a group of its own */
    };
    int rc = uv_spawn(&agent->loop, &p->process, &options);
    isola__service_list_free(args);
    return rc;
}

static void on_unused_closed(uv_handle_t *handle)
{
    struct isola__program *p = handle->data;
    if (--p->handles > 0)
        return;
    isola__bounds_end(&p->bounds);
    isola__service_def_unref(p->def);
    free(p);
}

/* It has not begun: nobody hears of it. */
static void discard(struct isola__program *p)
{
    if (uv_handle_get_type((uv_handle_t *)&p->process) == UV_UNKNOWN_HANDLE)
        p->handles--; /* it was not come to that */
    else
        uv_close((uv_handle_t *)&p->process, on_unused_closed);
    uv_close((uv_handle_t *)&p->out, on_unused_closed);
    uv_close((uv_handle_t *)&p->err, on_unused_closed);
    uv_close((uv_handle_t *)&p->channel, on_unused_closed);
    uv_close((uv_handle_t *)&p->timer, on_unused_closed);
    uv_close((uv_handle_t *)&p->pulse, on_unused_closed);
}

static struct isola__program *make(struct isola__agent *agent, struct isola__service_def *def,
                                   unsigned number)
{
    struct isola__program *p = isola_zalloc(sizeof(*p));
    p->agent = agent;
    p->def = isola__service_def_ref(def);
    snprintf(p->address, sizeof(p->address), "%s/%s/%u", def->manifest->name, def->type->name,
             number);
    p->log = (struct isola__service_log){.logs = &agent->logs,
                                         .node = agent->opt.name,
                                         .address = p->address,
                                         .dir = def->dir,
                                         .rate = def->type->log_rate};
    p->streams[0] = (struct isola__service_stream){.log = &p->log};
    p->streams[1] = (struct isola__service_stream){.log = &p->log, .errors = true};
    int rc = uv_pipe_init(&agent->loop, &p->out, 0);
    rc = rc ? rc : uv_pipe_init(&agent->loop, &p->err, 0);
    rc = rc ? rc : uv_pipe_init(&agent->loop, &p->channel, 0);
    rc = rc ? rc : uv_timer_init(&agent->loop, &p->timer);
    rc = rc ? rc : uv_timer_init(&agent->loop, &p->pulse);
    ISOLA_CHECK(rc == 0);
    p->process.data = p->out.data = p->err.data = p->channel.data = p->timer.data = p;
    p->pulse.data = p;
    p->handles = 6;
    return p;
}

struct isola__program *isola__program_start(struct isola__agent *agent,
                                            struct isola__service_def *def, unsigned number,
                                            unsigned of, const struct isola__program *before,
                                            const struct isola__program_ops *ops, void *arg,
                                            struct isola_err *err)
{
    const struct isola_manifest_service *s = def->type->service;
    struct stat st;
    if (def->dir == NULL) {
        isola_fail(err, ISOLA_ENOENT, "its files are not on node %s", agent->opt.name);
        return NULL;
    }
    if (stat(def->dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        isola_fail(err, ISOLA_ENOENT, "its directory %s is not on node %s", def->dir,
                   agent->opt.name);
        return NULL;
    }
    char *launcher = isola__host_executable();
    if (launcher == NULL) {
        isola_fail(err, ISOLA_EIO, "it cannot be started: %s", strerror(errno));
        return NULL;
    }
    char *names = gives(before, def) ? isola__sockets_names(&before->sockets) : NULL;
    char **env = isola__service_env(def, &agent->secrets, agent->opt.socket, number, names, err);
    free(names);
    if (env == NULL) {
        free(launcher);
        return NULL;
    }
    struct isola__program *p = make(agent, def, number);
    p->of = of;
    p->ops = ops;
    p->arg = arg;
    int rc = isola__bounds_make(&p->bounds, agent, s, p->address, err);
    bool bounded = rc == 0;
    if (bounded)
        rc = spawn(p, launcher, number, env, before);
    isola__service_list_free(env);
    free(launcher);
    if (rc != 0) {
        if (bounded)
            isola_fail(err, ISOLA_EIO, "it cannot be started: %s", uv_strerror(rc));
        discard(p);
        return NULL;
    }
    p->alive = true;
    isola__packages_hold(&agent->packages, def->manifest->name, def->release);
    isola__bounds_begin(&p->bounds, p->process.pid);
    rc = uv_read_start((uv_stream_t *)&p->out, on_alloc, on_output);
    rc = rc ? rc : uv_read_start((uv_stream_t *)&p->err, on_alloc, on_output);
    rc = rc ? rc : uv_read_start((uv_stream_t *)&p->channel, on_alloc, on_channel);
    ISOLA_CHECK(rc == 0);
    set_timer(p, s->port != 0 ? s->start_ms : SETTLE_MS);
    return p;
}

/* --- its messages --- */

struct isola__client *isola__program_taker(const struct isola__program *p)
{
    return p->state != ISOLA_PROGRAM_STOPPING ? p->taker : NULL;
}

void isola__program_take(struct isola__program *p, struct isola__client *taker)
{
    if (taker != NULL && p->taker != NULL)
        p->taker->program = NULL; /* who connects anew may do so before its old connection ends */
    p->taker = taker;
    if (taker == NULL)
        return;
    p->serves = true;
    if (p->def->type->service->port == 0)
        become_ready(p);
}

bool isola__program_serves(const struct isola__program *p)
{
    return p->serves;
}

struct isola__debug *isola__program_debug(struct isola__program *p)
{
    p->debug.program = p;
    return &p->debug;
}

void isola__program_tell(struct isola__program *p, const char *line)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)line, (unsigned)strlen(line));
    if (!uv_is_closing((uv_handle_t *)&p->channel))
        (void)uv_try_write((uv_stream_t *)&p->channel, &buf, 1);
}

/* --- what there is to see --- */

void *isola__program_arg(const struct isola__program *p)
{
    return p->arg;
}

struct isola__service_def *isola__program_def(const struct isola__program *p)
{
    return p->def;
}

enum isola__program_state isola__program_state(const struct isola__program *p)
{
    return p->state;
}

int isola__program_pid(const struct isola__program *p)
{
    return p->process.pid;
}

struct isola__program_use isola__program_use(const struct isola__program *p)
{
    struct isola__program_use use = {0};
    char path[40], text[512];
    unsigned long user, system;
    long pages;
    snprintf(path, sizeof(path), "/proc/%d/stat", p->process.pid);
    FILE *f = p->alive ? fopen(path, "re") : NULL;
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f != NULL)
        fclose(f);
    text[n] = '\0';
    const char *after = strrchr(text, ')'); /* its name may have anything in it */
    /* proc(5): state is the third field, utime the fourteenth, rss the twenty-fourth. */
    if (after != NULL &&
        sscanf(after + 1,
               " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu %*s %*s %*s %*s %*s %*s %*s "
               "%*s %ld",
               &user, &system, &pages) == 3) {
        use.cpu_ms = (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
        use.memory = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    uint64_t bounded = p->alive ? isola__bounds_memory(&p->bounds) : 0;
    use.memory = bounded != 0 ? bounded : use.memory;
    return use;
}
