/* SPDX-License-Identifier: Apache-2.0
 *
 * The happy path: dial, `hello`, then one call at a time, each under one timer.
 *
 * Failure modes: nobody listens (down without up); a peer that accepts and says nothing (the
 * timer); bytes that are no frames or no envelopes (the connection is dead from then on, with the
 * reason kept); a peer that hangs up in a call.
 *
 * Invariants: at most one call is awaited, the last that was begun; once `down` is set the link is
 * gone and nothing is sent; close() runs the loop until every handle is closed.
 */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "transport/envelope.h"
#include "transport/link.h"

#define HELLO_MS 5000

struct isola__client {
    uv_loop_t loop;
    uv_timer_t timer;
    uv_signal_t interrupt;
    uv_poll_t reader; /* of stdout */
    char *path;
    struct isola_link *link; /* NULL once it is down */
    uint64_t last_id;

    unsigned wire;    /* the agent's version of the protocol */
    uint64_t awaited; /* id of the last call; 0: it is answered */
    uint64_t begun;   /* when that was sent */
    const char *name; /* of the program whose durable message is under way, or NULL */
    struct isola_msg *answer;
    struct isola_msgq kept;
    bool keep, polling;

    bool up, expired, interrupted;
    int down; /* why the connection ended; 0 while it lives */
    struct isola_err why;
};

static void on_up(struct isola_link *link, void *arg)
{
    (void)link;
    ((struct isola__client *)arg)->up = true;
}

/* The connection is useless: remember why, and let `down` come. */
static void give_up(struct isola__client *c, int code, const char *why)
{
    if (c->down != 0)
        return;
    c->down = code;
    isola_fail(&c->why, code, "%s", why);
    if (c->link != NULL)
        isola_link_close(c->link);
}

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct isola__client *c = arg;
    struct isola_msg m;
    struct isola_err err;
    (void)link;
    if (c->down != 0)
        return;
    int rc = isola_link_decode(link, frame, &m, &err);
    if (rc != 0) {
        char why[sizeof(err.text) + 200];
        snprintf(why, sizeof(why), "what listens at %.150s does not speak Isola's protocol: %s",
                 c->path, err.text);
        give_up(c, ISOLA_EPROTO, why);
        return;
    }
    bool answers = (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL) && m.id == c->awaited &&
                   m.id != 0 && c->answer == NULL;
    if (m.seq != 0)
        answers = c->name != NULL && isola_slice_is(m.dst, c->name) && c->answer == NULL;
    if (!answers && !c->keep)
        return;
    struct isola_msg *copy = isola_msg_copy(&m);
    if (copy == NULL)
        give_up(c, ISOLA_ENOMEM, "out of memory for what the agent sent");
    else if (answers)
        c->answer = copy;
    else
        isola_msgq_push(&c->kept, copy);
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct isola__client *c = arg;
    (void)link;
    c->link = NULL;
    if (c->down != 0)
        return;
    c->down = code == 0 ? ISOLA_ECLOSED : code == ISOLA_ETOOBIG ? ISOLA_EPROTO : code;
    if (code == ISOLA_ECLOSED && c->up)
        isola_fail(&c->why, code, "the agent at %.200s closed the connection", c->path);
    else if (code == ISOLA_EPROTO || code == ISOLA_ETOOBIG)
        isola_fail(&c->why, ISOLA_EPROTO,
                   "what listens at %.200s does not speak Isola's protocol: %s", c->path, why);
    else
        isola_fail(&c->why, c->down, "%s", why != NULL ? why : "closed");
}

static const struct isola_link_ops ops = {.up = on_up, .frame = on_frame, .down = on_down};

static void on_timer(uv_timer_t *timer)
{
    ((struct isola__client *)timer->data)->expired = true;
}

static void on_interrupt(uv_signal_t *handle, int signum)
{
    (void)signum;
    ((struct isola__client *)handle->data)->interrupted = true;
}

/* Something happened at the other end of stdout. Only when nobody can read it any more does that
 * matter: a socket's peer that has merely stopped writing still reads. */
static void on_reader(uv_poll_t *handle, int status, int events)
{
    struct pollfd now = {.fd = STDOUT_FILENO};
    (void)status;
    (void)events;
    if (poll(&now, 1, 0) == 1 && (now.revents & (POLLERR | POLLHUP)) != 0)
        ((struct isola__client *)handle->data)->interrupted = true;
    uv_poll_stop(handle);
}

/* Why nobody answers at `path`, for a person. */
static int unreachable(struct isola__client *c, struct isola_err *err)
{
    struct stat st;
    const char *why = c->why.text;
    const char *what = "start one with `node-agent`";
    char reason[128];
    int e = lstat(c->path, &st) != 0 ? errno : 0;
    if (e == EACCES || (e == 0 && access(c->path, W_OK) != 0 && errno == EACCES)) {
        why = "you may not use that socket";
        what = "run ctl as the agent's user or as root, or join the agent's --socket-group,";
    } else if (e != 0) {
        snprintf(reason, sizeof(reason), "%s", e == ENOENT ? "nothing listens there" : strerror(e));
        why = reason;
    } else if (stat(c->path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        why = "it is not a socket";
    } else if (c->down == ISOLA_EUNREACHABLE || c->down == ISOLA_ECLOSED) {
        why = "nothing listens there";
    }
    return isola_fail(err, ISOLA_EUNREACHABLE,
                      "cannot reach an agent at %.300s: %s; %s or name another with --node",
                      c->path, why, what);
}

/* Runs the loop until `*done`, the end of the connection, the timer (unless `wait_ms` is 0) or an
 * interruption. */
static void run_until(struct isola__client *c, const void *const *done, uint32_t wait_ms)
{
    c->expired = false;
    uv_update_time(&c->loop); /* it may not have run for a while */
    if (wait_ms != 0)
        uv_timer_start(&c->timer, on_timer, wait_ms, 0);
    while (*done == NULL && c->down == 0 && !c->expired && !c->interrupted)
        uv_run(&c->loop, UV_RUN_ONCE);
    uv_timer_stop(&c->timer);
}

static int send_msg(struct isola__client *c, struct isola_msg *m, struct isola_err *err)
{
    if (c->down != 0)
        return isola_fail(err, c->down, "%s", c->why.text);
    m->id = m->kind == ISOLA_MSG_EMIT ? 0 : ++c->last_id;
    int rc = isola_link_send_msg(c->link, m);
    if (rc == ISOLA_ETOOBIG)
        return isola_fail(err, rc, "the message is too big: %u MiB are allowed",
                          ISOLA_FRAME_MAX >> 20);
    if (rc != 0)
        return isola_fail(err, rc, "cannot send to the agent at %.300s: %s", c->path,
                          isola_error_text(rc));
    return 0;
}

static int send_request(struct isola__client *c, struct isola_msg *m, struct isola_err *err)
{
    int rc = send_msg(c, m, err);
    if (rc != 0)
        return rc;
    c->awaited = m->id;
    c->begun = isola_clock_ms();
    return 0;
}

int isola__client_answer(struct isola__client *c, uint32_t wait_ms, struct isola_msg **answer,
                         struct isola_err *err)
{
    uint64_t passed = isola_clock_ms() - c->begun;
    run_until(c, (const void *const *)&c->answer,
              passed < wait_ms ? wait_ms - (uint32_t)passed : 1);
    *answer = c->answer;
    c->answer = NULL;
    if (*answer != NULL) {
        c->awaited = 0;
        return 0;
    }
    if (c->down == ISOLA_ECLOSED)
        return isola_fail(err, c->down,
                          "the agent at %.300s closed the connection before it answered", c->path);
    if (c->down != 0)
        return isola_fail(err, c->down, "%s", c->why.text);
    if (c->interrupted)
        return isola_fail(err, ISOLA_ECLOSED, "interrupted");
    return isola_fail(err, ISOLA_ETIMEDOUT,
                      "no answer from the agent at %.300s within %" PRIu32
                      " ms; wait longer with --timeout MS",
                      c->path, wait_ms);
}

int isola__client_request(struct isola__client *c, struct isola_msg *m, uint32_t wait_ms,
                          struct isola_msg **answer, struct isola_err *err)
{
    int rc = send_request(c, m, err);
    return rc != 0 ? rc : isola__client_answer(c, wait_ms, answer, err);
}

static int
send_call(struct isola__client *c, const char *method, struct isola_slice params, uint32_t wait_ms,
          int (*send)(struct isola__client *c, struct isola_msg *m, struct isola_err *err),
          uint64_t *id, struct isola_err *err)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    if (params.len > 0)
        isola_buf_append(&args, params.data, params.len);
    else
        isola_mp_map(&args, 0);
    struct isola_msg m = {.kind = ISOLA_MSG_ASK,
                          .timeout_ms = wait_ms,
                          .event = isola_slice_str(method),
                          .args = isola_buf_slice(&args)};
    int rc = args.failed ? isola_fail(err, ISOLA_ENOMEM, "out of memory") : send(c, &m, err);
    isola_buf_free(&args);
    *id = m.id;
    return rc;
}

int isola__client_begin(struct isola__client *c, const char *method, struct isola_slice params,
                        uint32_t wait_ms, struct isola_err *err)
{
    uint64_t id;
    return send_call(c, method, params, wait_ms, send_request, &id, err);
}

int isola__client_post(struct isola__client *c, const char *method, struct isola_slice params,
                       uint32_t wait_ms, uint64_t *id, struct isola_err *err)
{
    return send_call(c, method, params, wait_ms, send_msg, id, err);
}

uv_loop_t *isola__client_loop(struct isola__client *c)
{
    return &c->loop;
}

int isola__client_call(struct isola__client *c, const char *method, struct isola_slice params,
                       uint32_t wait_ms, struct isola_msg **answer, struct isola_err *err)
{
    int rc = isola__client_begin(c, method, params, wait_ms, err);
    return rc != 0 ? rc : isola__client_answer(c, wait_ms, answer, err);
}

int isola__client_pause(struct isola__client *c, uint32_t ms, struct isola_err *err)
{
    const void *never = NULL;
    run_until(c, &never, ms);
    if (c->down == ISOLA_ECLOSED)
        return isola_fail(err, c->down, "the agent at %.300s closed the connection", c->path);
    return c->down != 0 ? isola_fail(err, c->down, "%s", c->why.text) : 0;
}

static int hello(struct isola__client *c, struct isola_err *err)
{
    struct isola_buf params = {0};
    struct isola_msg *answer = NULL;
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "program", "ctl");
    isola_mp_kstr(&params, "version", ISOLA_VERSION);
    int rc = isola__client_call(c, "hello", isola_buf_slice(&params), HELLO_MS, &answer, err);
    isola_buf_free(&params);
    if (rc != 0) {
        if (!c->up && (c->down != 0 || rc == ISOLA_ETIMEDOUT))
            return unreachable(c, err);
        if (rc == ISOLA_ETIMEDOUT)
            return isola_fail(
                err, rc,
                "what listens at %.300s has not answered for %d s: is it stopped, or stuck? "
                "Its log may say; else start it anew",
                c->path, HELLO_MS / 1000);
        return rc;
    }
    struct isola_slice result;
    uint64_t wire = 0, oldest;
    if (answer->kind != ISOLA_MSG_REPLY || !isola_mp_at(answer->args, 0, &result) ||
        !isola_mp_find_uint(result, "wire", &wire))
        rc = isola_fail(err, ISOLA_EPROTO,
                        "what listens at %.300s is no agent: it did not say hello", c->path);
    else if ((isola_mp_find_uint(result, "wire_oldest", &oldest) ? oldest : wire) >
                 ISOLA_WIRE_VERSION ||
             wire < ISOLA_WIRE_OLDEST)
        rc = isola_fail(err, ISOLA_EPROTO,
                        "the agent at %.300s speaks version %" PRIu64
                        " of the protocol, this ctl versions %d to %d; use the ctl it came with",
                        c->path, wire, ISOLA_WIRE_OLDEST, ISOLA_WIRE_VERSION);
    c->wire = (unsigned)wire;
    free(answer);
    return rc;
}

int isola__client_open(const char *path, struct isola__client **out, struct isola_err *err)
{
    struct isola__client *c = isola_zalloc(sizeof(*c));
    int rc = uv_loop_init(&c->loop);
    if (rc != 0) {
        free(c);
        return isola_fail(err, ISOLA_EIO, "cannot start an event loop: %s", uv_strerror(rc));
    }
    uv_timer_init(&c->loop, &c->timer);
    uv_signal_init(&c->loop, &c->interrupt);
    c->timer.data = c->interrupt.data = c->reader.data = c;
    c->path = isola_strdup(path);

    char *url = isola_format("unix:%s", path);
    rc = isola_link_dial(&c->loop, url, NULL, NULL, &ops, c, &c->link, err);
    free(url);
    if (rc == 0)
        rc = hello(c, err);
    if (rc != 0) {
        isola__client_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

void isola__client_close(struct isola__client *c)
{
    if (c->link != NULL)
        isola_link_close(c->link);
    uv_close((uv_handle_t *)&c->timer, NULL);
    uv_close((uv_handle_t *)&c->interrupt, NULL);
    if (c->polling)
        uv_close((uv_handle_t *)&c->reader, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    ISOLA_CHECK(uv_loop_close(&c->loop) == 0);
    isola_msgq_clear(&c->kept);
    free(c->path);
    free(c);
}

bool isola__client_interrupted(const struct isola__client *c)
{
    return c->interrupted;
}

int isola__client_send(struct isola__client *c, struct isola_msg *m, struct isola_err *err)
{
    int rc = send_msg(c, m, err);
    /* frames are read in order: once this is answered, `m` has been read */
    return rc != 0 ? rc : hello(c, err);
}

/* --- durable messages --- */

#define PAUSE_FIRST 200 /* ms without an acknowledgement, doubled each time */
#define PAUSE_MAX   5000

/* "~" and 128 random bits in base64url. */
static int random_name(char out[24], struct isola_err *err)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[18] = {0}; /* 16, and room to take three at a time */
    if (getrandom(bytes, 16, 0) != 16)
        return isola_fail(err, ISOLA_EIO, "the system has no random numbers: %s", strerror(errno));
    char text[25], *p = text;
    for (size_t i = 0; i < sizeof(bytes); i += 3) {
        unsigned v = (unsigned)bytes[i] << 16 | (unsigned)bytes[i + 1] << 8 | bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *p++ = digits[v >> shift & 63];
    }
    *p = '\0';
    snprintf(out, 24, "~%.22s", text);
    return 0;
}

/* In the version that has it: the link speaks what all agents do. */
static int send_durable(struct isola__client *c, const struct isola_msg *m, struct isola_err *err)
{
    struct isola_buf frame = {0};
    isola_envelope_encode(m, ISOLA_WIRE_VERSION, &frame);
    int rc = isola_link_send(c->link, &frame);
    isola_buf_free(&frame);
    if (rc == ISOLA_ETOOBIG)
        return isola_fail(err, rc, "the message is too big: %u MiB are allowed",
                          ISOLA_FRAME_MAX >> 20);
    return rc != 0 ? isola_fail(err, rc, "cannot send to the agent at %.300s: %s", c->path,
                                isola_error_text(rc))
                   : 0;
}

int isola__client_deliver(struct isola__client *c, struct isola_msg *m, uint32_t wait_ms,
                          struct isola_msg **answer, struct isola_err *err)
{
    char name[24];
    uint64_t until = isola_clock_ms() + wait_ms;
    uint32_t pause = PAUSE_FIRST;
    if (c->wire < 2)
        return isola_fail(err, ISOLA_EPROTO,
                          "the agent at %.300s is of the release before this ctl: it knows no "
                          "durable messages",
                          c->path);
    int rc = random_name(name, err);
    m->src = isola_slice_str(name);
    m->seq = 1;
    m->flags = ISOLA_MSG_DURABLE;
    c->name = name;
    while (rc == 0 && c->answer == NULL && c->down == 0 && !c->interrupted) {
        uint64_t now = isola_clock_ms();
        if (now >= until)
            break;
        rc = send_durable(c, m, err);
        if (rc == 0)
            run_until(c, (const void *const *)&c->answer,
                      until - now < pause ? (uint32_t)(until - now) : pause);
        pause = 2 * pause < PAUSE_MAX ? 2 * pause : PAUSE_MAX;
    }
    c->name = NULL;
    *answer = c->answer;
    c->answer = NULL;
    if (rc != 0 || *answer != NULL)
        return rc;
    if (c->down != 0)
        return isola_fail(err, c->down, "%s before it was acknowledged; it may still be handled",
                          c->down == ISOLA_ECLOSED ? "the agent closed the connection"
                                                   : c->why.text);
    if (c->interrupted)
        return isola_fail(err, ISOLA_ECLOSED, "interrupted; it may still be handled");
    return isola_fail(err, ISOLA_ETIMEDOUT,
                      "%.*s has not acknowledged it within %" PRIu32
                      " ms; it may still be handled. Wait longer with --timeout MS",
                      ISOLA_FMT(m->dst), wait_ms);
}

void isola__client_listen(struct isola__client *c)
{
    struct stat st;
    c->keep = true;
    uv_signal_start(&c->interrupt, on_interrupt, SIGINT);
    if (fstat(STDOUT_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        return;
    /* libuv makes the descriptor non-blocking, which is not ours alone: undone */
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (uv_poll_init(&c->loop, &c->reader, STDOUT_FILENO) != 0)
        return;
    c->polling = true;
    if (flags != -1)
        (void)fcntl(STDOUT_FILENO, F_SETFL, flags);
    uv_poll_start(&c->reader, UV_DISCONNECT, on_reader);
}

int isola__client_next(struct isola__client *c, struct isola_msg **out, struct isola_err *err)
{
    run_until(c, (const void *const *)&c->kept.head, 0);
    *out = c->interrupted ? NULL : isola_msgq_pop(&c->kept);
    if (*out != NULL || c->interrupted)
        return 0;
    return isola_fail(err, c->down, "%s", c->why.text);
}
