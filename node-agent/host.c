/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/host.h"

#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "base/path.h"
#include "node-agent/agent.h"
#include "node-agent/conn.h"
#include "transport/envelope.h"

#define START_LIMIT_MS    60000 /* from spawn to ready */
#define STOP_LIMIT_MS     5000
#define LINGER_MS         1000
#define HEALTHY_MS        10000
#define PING_MS           3000 /* between an answer and the next question */
#define LOOK_MS           1000 /* until there is an answer */
#define ABORT_LIMIT_MS    10000
#define BACKOFF_MIN_MS    100
#define BACKOFF_MAX_MS    5000
#define WAITING_MAX       10000
#define WAITING_BYTES_MAX ((size_t)64 << 20)
#define NO_TIMEOUT        0

static void on_timer(uv_timer_t *timer);

static void set_timer(struct isola__host *host, uint64_t ms)
{
    uv_update_time(&host->agent->loop);
    int rc = uv_timer_start(&host->timer, on_timer, ms, 0);
    ISOLA_CHECK(rc == 0);
}

static void kill_host(struct isola__host *host)
{
    if (host->alive)
        (void)uv_process_kill(&host->process, SIGKILL);
    if (host->conn != NULL)
        isola__conn_close(host->conn);
}

/* --- it is gone --- */

static uint64_t backoff(struct isola__host *host)
{
    uint64_t now = isola_clock_ms();
    if (host->ready_at != 0 && now - host->ready_at >= HEALTHY_MS)
        host->failures = 0;
    unsigned n = host->failures++;
    if (n == 0)
        return 0;
    uint64_t ms = n < 8 ? (uint64_t)BACKOFF_MIN_MS << (n - 1) : BACKOFF_MAX_MS;
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static void gone(struct isola__host *host)
{
    struct isola__agent *agent = host->agent;
    bool was_ready = host->pid != 0;
    free(host->url);
    host->url = NULL;
    host->open = false;
    host->removals_told = 0;
    host->pid = 0;
    uv_timer_stop(&host->timer);
    if (host->stopping) {
        host->state = ISOLA_HOST_STOPPED;
        isola__agent_host_stopped(agent);
        return;
    }
    if (host->retired) {
        host->state = ISOLA_HOST_NONE;
        return;
    }
    if (!host->was_ready) {
        host->state = ISOLA_HOST_STOPPED;
        isola__agent_start_failed(agent, "the actor-host ended before it was ready; "
                                         "what it said stands above");
        return;
    }
    host->state = ISOLA_HOST_NONE;
    if (was_ready)
        isola__members_changed(&agent->members);
    uint64_t ms = backoff(host);
    if (ms == 0)
        isola_log(ISOLA_LOG_WARN, "the actor-host is started again at once");
    else
        isola_log(ISOLA_LOG_WARN, "the actor-host is started again in %llu ms",
                  (unsigned long long)ms);
    if (ms == 0)
        isola__host_start(host);
    else
        set_timer(host, ms);
}

/* One of process and link has ended. */
static void half_gone(struct isola__host *host)
{
    if (!host->running && host->conn == NULL) {
        gone(host);
        return;
    }
    if (host->state == ISOLA_HOST_STARTING || host->state == ISOLA_HOST_READY) {
        host->state = ISOLA_HOST_DYING;
        if (!host->stopping)
            set_timer(host, LINGER_MS);
    }
    if ((host->stopping || host->retired) && host->conn != NULL)
        isola__conn_close(host->conn);
}

static void on_process_closed(uv_handle_t *handle)
{
    struct isola__host *host = handle->data;
    host->running = false;
    half_gone(host);
}

static void on_process_exit(uv_process_t *process, int64_t status, int sig)
{
    struct isola__host *host = process->data;
    host->alive = false;
    if (!(host->stopping || host->retired) || sig != 0 || status != 0) {
        if (sig != 0)
            isola_log(ISOLA_LOG_ERROR, "the actor-host (pid %d) was ended by signal %d (%s)",
                      process->pid, sig, strsignal(sig));
        else
            isola_log(ISOLA_LOG_ERROR, "the actor-host (pid %d) exited with status %lld",
                      process->pid, (long long)status);
    }
    uv_close((uv_handle_t *)process, on_process_closed);
}

/* --- whether it answers --- */

/* A process is stopped as a whole by a signal (T) or a debugger (t): proc(5). */
static bool stopped(const struct isola__host *host)
{
    char path[40], text[256];
    snprintf(path, sizeof(path), "/proc/%d/stat", host->process.pid);
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f != NULL)
        fclose(f);
    text[n] = '\0';
    const char *name_end = strrchr(text, ')'); /* the name may have any in it */
    return name_end != NULL &&
           (strncmp(name_end, ") T", 3) == 0 || strncmp(name_end, ") t", 3) == 0);
}

bool isola__host_silent(const struct isola__host *host, struct isola_err *err)
{
    if (host->state != ISOLA_HOST_READY || !isola__pulse_silent(&host->pulse))
        return false;
    unsigned limit = host->agent->opt.host_timeout;
    int pid = host->process.pid;
    char what_to_do[200];
    if (host->pulse.last.stopped)
        snprintf(
            what_to_do, sizeof(what_to_do),
            "stopped. `kill -CONT %d` there, or its debugger, lets it go on; `kill -9 %d` ends "
            "it, and another is started",
            pid, pid);
    else if (limit > 0)
        snprintf(what_to_do, sizeof(what_to_do),
                 "stuck. After %u s it is ended and another is started; `kill -9 %d` there does so "
                 "now",
                 limit, pid);
    else
        snprintf(what_to_do, sizeof(what_to_do),
                 "stuck. `kill -9 %d` there ends it, and another is started", pid);
    isola_fail(err, ISOLA_EUNREACHABLE,
               "the actor-host of node %s (pid %d) has not answered for %u s: it is %s",
               host->agent->opt.name, pid, host->pulse.silent, what_to_do);
    return true;
}

void isola__host_hasten(struct isola__host *host)
{
    struct isola__conn *conn = host->conn;
    struct isola_err err;
    if (!isola__host_silent(host, &err))
        return;
    isola__conn_ref(conn);
    for (struct isola__ask *ask = conn->asks; ask != NULL;) {
        if (ask->hasty) {
            isola__asks_fail(&host->agent->asks, ask, err.code, err.text);
            ask = conn->asks; /* what followed may be gone as well */
        } else {
            ask = ask->next;
        }
    }
    isola__conn_unref(conn);
}

static void end_stuck(struct isola__host *host)
{
    isola_log(
        ISOLA_LOG_ERROR,
        "the actor-host (pid %d) has not answered for %u s, and was not stopped: it is ended, "
        "and another started (--host-timeout)",
        host->process.pid, host->pulse.stuck);
    host->state = ISOLA_HOST_DYING;
    if (host->alive)
        (void)uv_process_kill(&host->process, SIGABRT);
    set_timer(host, ABORT_LIMIT_MS);
}

static void ping_answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__host *host =
        (struct isola__host *)((char *)ask - offsetof(struct isola__host, ping));
    (void)answer; /* whatever it is */
    host->pinged = false;
    if (host->state != ISOLA_HOST_READY || host->stopping || host->retired)
        return;
    if (host->told_silent)
        isola_log(ISOLA_LOG_INFO, "the actor-host (pid %d) answers again", host->process.pid);
    host->told_silent = false;
    host->pulse = (struct isola__pulse){0};
    set_timer(host, PING_MS);
}

static void look(struct isola__host *host)
{
    struct isola_link_stats stats;
    struct isola_err err;
    isola_link_stats(host->conn->link, &stats);
    struct isola__pulse_look now = {.frames_in = stats.frames_in,
                                    .bytes_out = stats.bytes_out,
                                    .queued = stats.queued_bytes > 0,
                                    .stopped = host->pulse.asked && stopped(host)};
    switch (isola__pulse_look(&host->pulse, &now, host->agent->opt.host_timeout)) {
    case ISOLA__PULSE_STUCK:
        end_stuck(host);
        return;
    case ISOLA__PULSE_FELL_SILENT:
        if (isola__host_silent(host, &err))
            isola_log(ISOLA_LOG_ERROR, "%s", err.text);
        host->told_silent = true;
        isola__host_hasten(host);
        break;
    case ISOLA__PULSE_WAIT:
        break;
    }
    if (host->state != ISOLA_HOST_READY)
        return;
    if (!host->pinged) {
        host->ping = (struct isola__ask){.cb = ping_answered};
        host->pinged = isola__ask_if_room(host->conn, &host->ping, "ping") == 0;
    }
    set_timer(host, LOOK_MS);
}

static void on_timer(uv_timer_t *timer)
{
    struct isola__host *host = timer->data;
    if (host->stopping || host->retired) {
        isola_log(ISOLA_LOG_WARN, "the actor-host did not end within %d ms and is killed",
                  STOP_LIMIT_MS);
        kill_host(host);
    } else if (host->state == ISOLA_HOST_NONE) {
        isola__host_start(host);
    } else if (host->state == ISOLA_HOST_READY) {
        look(host);
    } else {
        if (host->state == ISOLA_HOST_STARTING)
            isola_log(ISOLA_LOG_ERROR, "the actor-host was not ready within %d s and is killed",
                      START_LIMIT_MS / 1000);
        kill_host(host);
    }
}

/* --- what it says --- */

static void flush_waiting(struct isola__host *host)
{
    struct isola__agent *agent = host->agent;
    struct isola_msg *m;
    while (host->state == ISOLA_HOST_READY && (m = isola_msgq_pop(&host->waiting)) != NULL) {
        struct isola__ask *ask =
            m->id != 0 && m->seq == 0 ? isola__asks_find(&agent->asks, m->id) : NULL;
        bool wants_answer = isola_msg_is_ask((int)m->kind) && m->seq == 0;
        /* An ask that has timed out, or whose client has left, is not worth carrying out. */
        if (!wants_answer || ask != NULL) {
            if (wants_answer && ask->deadline_ms != 0) {
                uint64_t now = isola_clock_ms();
                uint64_t left = ask->deadline_ms > now ? ask->deadline_ms - now : 1;
                if (left < m->timeout_ms)
                    m->timeout_ms = (uint32_t)left;
            }
            int rc = isola__conn_send(host->conn, m);
            if (rc == 0 && wants_answer)
                isola__asks_sent(ask, host->conn);
            else if (rc != 0 && wants_answer)
                isola__asks_fail(&agent->asks, ask, rc, "the actor-host cannot be reached");
        }
        free(m);
    }
    if (host->waiting.count == 0)
        host->waiting_bytes = 0;
}

void isola__host_check_open(struct isola__host *host)
{
    struct isola__agent *agent = host->agent;
    if (host->open || host->state != ISOLA_HOST_READY || agent->state != ISOLA_AGENT_READY ||
        agent->releases.untold > 0 || (agent->cluster.member && host->url == NULL))
        return;
    host->open = true;
    isola__members_changed(&agent->members);
}

static void on_ready(struct isola__conn *conn, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = conn->agent;
    struct isola__host *host = &agent->host;
    uint64_t pid;
    uint64_t threads;
    (void)m;
    if (host->state != ISOLA_HOST_STARTING)
        return;
    if (!isola_mp_find_uint(params, "pid", &pid) || pid == 0 ||
        !isola_mp_find_uint(params, "threads", &threads)) {
        isola__conn_refuse(conn, "its `ready` lacks pid or threads");
        return;
    }
    host->state = ISOLA_HOST_READY;
    host->pulse = (struct isola__pulse){0};
    host->told_silent = false;
    set_timer(host, PING_MS);
    if (host->was_ready)
        isola_log(ISOLA_LOG_INFO, "the actor-host (pid %llu) is ready again",
                  (unsigned long long)pid);
    host->was_ready = true;
    host->ready_at = isola_clock_ms();
    host->pid = pid;
    host->threads = threads;
    if (agent->cluster.member)
        isola__host_credentials(host);
    /* In this order: who it is, who is there, what may run, who listens, what has been asked; other
     * nodes hear of it when it has taken what may run. */
    isola__members_changed(&agent->members);
    isola__releases_to_host(&agent->releases);
    isola__clients_resubscribe(&agent->clients);
    flush_waiting(host);
    isola__agent_check_ready(agent);
    isola__host_check_open(host);
}

/* --- its identity --- */

static void credentials_answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__host *host =
        (struct isola__host *)((char *)ask - offsetof(struct isola__host, credentials));
    struct isola__agent *agent = host->agent;
    struct isola_slice url = {0};
    struct isola_tcp at;
    struct isola_err err;
    char text[ISOLA_TCP_URL] = "";
    if (host->conn == NULL || host->stopping || host->retired)
        return;
    int rc = 0;
    if (answer->kind == ISOLA_MSG_FAIL)
        rc = isola__answer_error(answer, &err);
    else if (isola_mp_find_str(isola__value(answer), "url", &url) && url.len < sizeof(text))
        memcpy(text, url.data, url.len);
    if (rc == 0 && !isola_tcp_parse(text, &at))
        rc = isola_fail(&err, ISOLA_EPROTO, "it does not say where it listens");
    if (rc != 0 && agent->state == ISOLA_AGENT_STARTING) {
        isola__agent_start_failed(agent, "the actor-host cannot listen for others: %s", err.text);
    } else if (rc != 0) {
        isola_log(ISOLA_LOG_ERROR,
                  "the actor-host cannot listen for others: %s; it is started again", err.text);
        kill_host(host);
    } else {
        isola__agent_advertised(agent, text, false, text);
        free(host->url);
        host->url = isola_strdup(text);
        isola__members_changed(&agent->members);
        isola__agent_check_ready(agent);
        isola__host_check_open(host);
    }
}

/* A fresh key for each process: what a script could find in its memory is worth nothing when it has
 * ended, and never the node's own. */
void isola__host_credentials(struct isola__host *host)
{
    struct isola__agent *agent = host->agent;
    const struct isola__cluster *cluster = &agent->cluster;
    struct isola_buf cert = {0}, chain = {0}, params = {0};
    char listen[ISOLA_TCP_URL];
    if (host->state != ISOLA_HOST_READY || host->conn == NULL || host->retired)
        return;
    struct isola_static_keys *keys = isola_secret_alloc(sizeof(*keys));
    isola_static_keys_new(keys);
    host->certified_ms = isola_clock_wall_ms();
    isola_host_certify(&cluster->keys->sign, keys->public_key, host->certified_ms, &cert);
    isola_chain_write(isola_buf_slice(&cluster->cert), isola_buf_slice(&cert), &chain);
    isola_tcp_format(&agent->opt.data_listen, listen);
    memcpy(host->key, keys->public_key, sizeof(host->key));
    isola_mp_map(&params, 4);
    isola_mp_cstr(&params, "cluster");
    isola_mp_bin(&params, isola_slice(cluster->key, sizeof(cluster->key)));
    isola_mp_cstr(&params, "secret");
    isola_mp_bin(&params, isola_slice(keys->secret_key, sizeof(keys->secret_key)));
    isola_mp_cstr(&params, "chain");
    isola_mp_bin(&params, isola_buf_slice(&chain));
    isola_mp_kstr(&params, "listen", listen);
    ISOLA_CHECK(!params.failed);
    host->credentials = (struct isola__ask){.cb = credentials_answered};
    isola__ask(host->conn, &host->credentials, "credentials", isola_buf_slice(&params), NO_TIMEOUT);
    sodium_memzero(params.data, params.len);
    isola_secret_free(keys);
    isola_buf_free(&params);
    isola_buf_free(&chain);
    isola_buf_free(&cert);
}

static void on_log(struct isola__conn *conn, const struct isola_msg *m, struct isola_slice params)
{
    (void)m;
    isola__logs_add(&conn->agent->logs, params);
}

static void on_prepared(struct isola__conn *conn, const struct isola_msg *m,
                        struct isola_slice params)
{
    (void)m;
    isola__releases_prepared(&conn->agent->releases, params);
}

static const struct isola__method methods[] = {
    {"ready", on_ready},
    {"log", on_log},
    {"prepared", on_prepared},
    {NULL, NULL},
};

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct isola__conn *conn = arg;
    struct isola__agent *agent = conn->agent;
    struct isola_msg m;
    struct isola_err err;
    if (isola_link_decode(link, frame, &m, &err) != 0) {
        isola__conn_refuse(conn, "%s", err.text);
        return;
    }
    if (m.seq != 0) {
        isola__clients_durable(&agent->clients, &m);
        return;
    }
    switch (m.kind) {
    case ISOLA_MSG_REPLY:
    case ISOLA_MSG_FAIL:
        isola__asks_answer(&agent->asks, conn, &m);
        break;
    case ISOLA_MSG_EVENT:
        isola__clients_event(&agent->clients, &m);
        break;
    default:
        if (m.dst.len > 0)
            isola__calls_message(agent, &m);
        else if (m.kind == ISOLA_MSG_EMIT || m.kind == ISOLA_MSG_ASK)
            isola__call(methods, conn, &m);
        else
            isola__fail(conn, m.id, ISOLA_EINVAL, "this kind of message (%d) needs an address",
                        m.kind);
    }
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct isola__conn *conn = arg;
    struct isola__host *host = &conn->agent->host;
    (void)link;
    if (!host->stopping && code != ISOLA_ECLOSED)
        isola_log(ISOLA_LOG_ERROR, "the link to the actor-host is down: %s", why);
    struct isola_err err;
    isola_fail(&err, ISOLA_EUNREACHABLE,
               "the actor-host of node %s died while it had this request; it may or may not have "
               "been carried out",
               conn->agent->opt.name);
    host->conn = NULL;
    /* No longer ready before the failures go out, so that what they cause waits for the next host.
     */
    if (host->state == ISOLA_HOST_READY || host->state == ISOLA_HOST_STARTING) {
        host->state = ISOLA_HOST_DYING;
        if (!host->stopping)
            set_timer(host, LINGER_MS);
    }
    isola__calls_host_down(conn->agent);
    isola__conn_down(conn, ISOLA_EUNREACHABLE, err.text);
    half_gone(host);
}

static const struct isola_link_ops link_ops = {.frame = on_frame, .down = on_down};

/* --- start and stop --- */

static void free_conn(struct isola__conn *conn)
{
    free(conn);
}

void isola__host_init(struct isola__host *host, struct isola__agent *agent)
{
    *host = (struct isola__host){.agent = agent};
    int rc = uv_timer_init(&agent->loop, &host->timer);
    ISOLA_CHECK(rc == 0);
    host->timer.data = host;
}

/* NULL, with errno: it cannot be told where it is. */
char *isola__host_executable(void)
{
    const char *named = getenv("ISOLA_ACTOR_HOST");
    if (named != NULL && named[0] != '\0')
        return isola_strdup(named);
    return isola_path_installed("actor-host");
}

/* 0 or a libuv code. */
static int spawn(struct isola__host *host, const char *file, int fd)
{
    struct isola__agent *agent = host->agent;
    char threads[16], memory[24], history[24], size[24];
    snprintf(threads, sizeof(threads), "%u", agent->opt.threads);
    snprintf(memory, sizeof(memory), "%llu", agent->opt.memory);
    snprintf(history, sizeof(history), "%llu", agent->opt.history_ms);
    snprintf(size, sizeof(size), "%llu", agent->opt.history_bytes);
    char *args[] = {(char *)file,
                    (char *)"--node",
                    agent->opt.name,
                    (char *)"--data",
                    agent->opt.data,
                    (char *)"--threads",
                    threads,
                    (char *)"--memory",
                    memory,
                    (char *)"--history",
                    history,
                    (char *)"--history-size",
                    size,
                    NULL};
    uv_stdio_container_t stdio[4] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2}, /* our stdout carries the ready line alone */
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
    };
    uv_process_options_t options = {
        .file = file,
        .args = args,
        .exit_cb = on_process_exit,
        .stdio = stdio,
        .stdio_count = 4,
        .flags = UV_PROCESS_DETACHED, /* a ^C in the terminal is for the agent, which stops it in
                                         order */
    };
    return uv_spawn(&agent->loop, &host->process, &options);
}

static void not_started(struct isola__host *host, const char *file, const char *why)
{
    if (!host->was_ready) {
        host->state = ISOLA_HOST_STOPPED;
        isola__agent_start_failed(
            host->agent,
            "cannot start the actor-host %s: %s; it is installed with node-agent, "
            "or lies where ISOLA_ACTOR_HOST says",
            file, why);
        return;
    }
    isola_log(ISOLA_LOG_ERROR, "cannot start the actor-host %s: %s", file, why);
    host->state = ISOLA_HOST_NONE;
    host->failures += host->failures == 0;
    set_timer(host, backoff(host));
}

void isola__host_start(struct isola__host *host)
{
    struct isola__agent *agent = host->agent;
    char *file = isola__host_executable();
    int fds[2];
    if (file == NULL) {
        not_started(host, "beside node-agent", strerror(errno));
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        not_started(host, file, strerror(errno));
        free(file);
        return;
    }
    host->process.data = host;
    int rc = spawn(host, file, fds[1]);
    close(fds[1]);
    if (rc != 0) {
        close(fds[0]);
        uv_close((uv_handle_t *)&host->process, NULL);
        not_started(host, file, uv_strerror(rc));
        free(file);
        return;
    }
    free(file);
    host->running = host->alive = true;
    host->state = ISOLA_HOST_STARTING;
    host->ready_at = 0;

    struct isola__conn *conn = isola_zalloc(sizeof(*conn));
    isola__conn_init(conn, agent, free_conn);
    snprintf(conn->label, sizeof(conn->label), "actor-host %d", host->process.pid);
    struct isola_err err;
    if (isola_link_open_fd(&agent->loop, fds[0], &link_ops, conn, &conn->link, &err) != 0) {
        isola_log(ISOLA_LOG_ERROR, "no link to the actor-host: %s", err.text);
        close(fds[0]);
        isola__conn_unref(conn);
        kill_host(host);
        return;
    }
    host->conn = conn;
    set_timer(host, START_LIMIT_MS);
}

static void on_shutdown_answer(struct isola__ask *ask, const struct isola_msg *answer)
{
    (void)ask;
    (void)answer; /* its exit is what counts */
}

static void ask_shutdown(struct isola__host *host)
{
    set_timer(host, STOP_LIMIT_MS);
    host->shutdown = (struct isola__ask){.cb = on_shutdown_answer};
    isola__ask(host->conn, &host->shutdown, "shutdown", isola_slice(NULL, 0), NO_TIMEOUT);
}

void isola__host_retire(struct isola__host *host)
{
    struct isola__asks *asks = &host->agent->asks;
    struct isola_msg *m;
    if (host->stopping || host->retired)
        return;
    host->retired = true;
    while ((m = isola_msgq_pop(&host->waiting)) != NULL) {
        struct isola__ask *ask = m->id ? isola__asks_find(asks, m->id) : NULL;
        if (ask != NULL)
            isola__asks_fail(asks, ask, ISOLA_EPERM, "this node was removed from its cluster");
        free(m);
    }
    host->waiting_bytes = 0;
    uv_timer_stop(&host->timer);
    if (host->conn != NULL)
        ask_shutdown(host);
}

void isola__host_stop(struct isola__host *host)
{
    if (host->stopping)
        return;
    host->stopping = true;
    isola_msgq_clear(&host->waiting);
    if (!host->running && host->conn == NULL) {
        host->state = ISOLA_HOST_STOPPED;
        uv_timer_stop(&host->timer);
        isola__agent_host_stopped(host->agent);
        return;
    }
    if (host->conn != NULL && !host->retired)
        ask_shutdown(host);
    else
        set_timer(host, STOP_LIMIT_MS);
}

void isola__host_free(struct isola__host *host)
{
    isola_msgq_clear(&host->waiting);
    free(host->url);
}

struct isola__conn *isola__host_conn(const struct isola__host *host)
{
    return host->state == ISOLA_HOST_READY && !host->retired ? host->conn : NULL;
}

int isola__host_send(struct isola__host *host, const struct isola_msg *m, struct isola__ask *ask)
{
    if (host->state == ISOLA_HOST_READY && host->conn != NULL) {
        /* Not isola__conn_send: a full queue is the senders' trouble, no reason to give up the
         * host. */
        int rc = isola_link_send_msg(host->conn->link, m);
        if (rc == 0 && ask != NULL)
            isola__asks_sent(ask, host->conn);
        return rc;
    }
    size_t bytes = sizeof(*m) + m->src.len + m->dst.len + m->event.len + m->chain.len + m->args.len;
    if (host->waiting.count >= WAITING_MAX || bytes > WAITING_BYTES_MAX - host->waiting_bytes)
        return ISOLA_EOVERLOAD;
    struct isola_msg *copy = isola_msg_copy(m);
    if (copy == NULL)
        return ISOLA_ENOMEM;
    isola_msgq_push(&host->waiting, copy);
    host->waiting_bytes += bytes;
    return 0;
}
