/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for the actor-host in tests of the agent: speaks docs/protocol.md on descriptor 3, runs
 * no scripts.
 *
 * Whatever the address, an ASK's event says what to do: echo (REPLY [args]), hold (no answer), die,
 * timeout (REPLY the timeout it came with), view (the last view), releases ("app id revision" of
 * each), subs (how many), counted (how many EMITs "count" came), fire (an EVENT to every
 * subscription), log (a log line for that address), garbage (breaks the link), stall (never comes
 * back from it), deaf (and ignores SIGABRT). A module with "broken" in it fails `check`.
 * $FAKE_HOST=exit: ends before it is ready; stubborn: ignores `shutdown`.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "transport/envelope.h"
#include "transport/link.h"

#define ENTRIES_MAX 64

struct entry {
    uint64_t id;
    char *dst, *event;
};

static struct isola_link *agent;
static const char *node;
static const char *mode;
static struct isola_buf view;
static char *releases[ENTRIES_MAX];
static size_t nreleases;
static struct entry subs[ENTRIES_MAX];
static size_t nsubs;
static uint64_t counted;

static char *text(struct isola_slice s)
{
    return isola_strndup((const char *)s.data, s.len);
}

static void send_msg(const struct isola_msg *m)
{
    if (isola_link_send_msg(agent, m) != 0)
        _exit(9);
}

static void reply(uint64_t id, struct isola_slice value)
{
    struct isola_msg *m = isola_msg_reply(id, value);
    send_msg(m);
    free(m);
}

static void emit(const char *event, struct isola_buf *params)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_buf_append(&args, params->data, params->len);
    send_msg(&(struct isola_msg){
        .kind = ISOLA_MSG_EMIT, .event = isola_slice_str(event), .args = isola_buf_slice(&args)});
    isola_buf_free(&args);
    isola_buf_free(params);
}

static void reply_uint(uint64_t id, uint64_t v)
{
    struct isola_buf b = {0};
    isola_mp_uint(&b, v);
    reply(id, isola_buf_slice(&b));
    isola_buf_free(&b);
}

static void log_line(const struct isola_msg *m)
{
    struct isola_slice said = {0};
    struct isola_slice first;
    struct isola_mp_item item;
    if (isola_mp_at(m->args, 0, &first)) {
        struct isola_mp_reader r = isola_mp_reader(first);
        if (isola_mp_next(&r, &item) == 0 && item.type == ISOLA_MP_STR)
            said = item.bytes;
    }
    struct isola_buf line = {0};
    isola_mp_map(&line, 5);
    isola_mp_kuint(&line, "time", (uint64_t)isola_clock_wall_ms());
    isola_mp_kstr(&line, "level", "info");
    isola_mp_kstr(&line, "node", node);
    isola_mp_cstr(&line, "address");
    isola_mp_str(&line, m->dst);
    isola_mp_cstr(&line, "text");
    isola_mp_str(&line, said);
    emit("log", &line);
}

static void stall(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* of whoever runs the tests */
    for (;;)
        pause();
}

static void for_actor(const struct isola_msg *m)
{
    struct isola_slice e = m->event;
    if (isola_slice_is(e, "echo")) {
        reply(m->id, m->args);
    } else if (isola_slice_is(e, "hold")) {
        return;
    } else if (isola_slice_is(e, "die")) {
        _exit(7);
    } else if (isola_slice_is(e, "timeout")) {
        reply_uint(m->id, m->timeout_ms);
    } else if (isola_slice_is(e, "view")) {
        reply(m->id, isola_buf_slice(&view));
    } else if (isola_slice_is(e, "subs")) {
        reply_uint(m->id, nsubs);
    } else if (isola_slice_is(e, "counted")) {
        reply_uint(m->id, counted);
    } else if (isola_slice_is(e, "releases")) {
        struct isola_buf b = {0};
        isola_mp_array(&b, nreleases);
        for (size_t i = 0; i < nreleases; i++)
            isola_mp_cstr(&b, releases[i]);
        reply(m->id, isola_buf_slice(&b));
        isola_buf_free(&b);
    } else if (isola_slice_is(e, "fire")) {
        for (size_t i = 0; i < nsubs; i++)
            send_msg(&(struct isola_msg){.kind = ISOLA_MSG_EVENT,
                                         .id = subs[i].id,
                                         .src = isola_slice_str(subs[i].dst),
                                         .event = isola_slice_str(subs[i].event),
                                         .args = m->args});
        reply_uint(m->id, nsubs);
    } else if (isola_slice_is(e, "log")) {
        log_line(m);
        reply_uint(m->id, 0);
    } else if (isola_slice_is(e, "stall")) {
        stall();
    } else if (isola_slice_is(e, "deaf")) {
        signal(SIGABRT, SIG_IGN);
        stall();
    } else if (isola_slice_is(e, "garbage")) {
        struct isola_buf b = {0};
        isola_buf_puts(&b, "this is no envelope");
        if (isola_link_send(agent, &b) != 0)
            _exit(9);
    } else {
        struct isola_msg *fail =
            isola_msg_fail(m->id, ISOLA_ENOACTOR, "no handler for %.*s", ISOLA_FMT(e));
        send_msg(fail);
        free(fail);
    }
}

/* Tells a subscriber to "view" or "release" what has just come, as the one argument. */
static void tell(const struct entry *sub, const char *what, struct isola_slice value)
{
    if (strcmp(sub->event, what) != 0 || value.len == 0)
        return;
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_buf_append(&args, value.data, value.len);
    send_msg(&(struct isola_msg){.kind = ISOLA_MSG_EVENT,
                                 .id = sub->id,
                                 .src = isola_slice_str(sub->dst),
                                 .event = isola_slice_str(sub->event),
                                 .args = isola_buf_slice(&args)});
    isola_buf_free(&args);
}

static void release(const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice app;
    struct isola_slice id;
    uint64_t revision;
    ISOLA_CHECK(isola_mp_find_str(params, "app", &app) &&
                isola_mp_find_str(params, "release", &id) &&
                isola_mp_find_uint(params, "revision", &revision) && nreleases < ENTRIES_MAX);
    releases[nreleases++] =
        isola_format("%.*s %.*s %llu", ISOLA_FMT(app), ISOLA_FMT(id), (unsigned long long)revision);
    for (size_t i = 0; i < nsubs; i++)
        tell(&subs[i], "release", params);
    reply(m->id, isola_slice(NULL, 0));
}

static void check(const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice bundles = {0};
    struct isola_slice bundle;
    struct isola_slice code = {0};
    if (isola_mp_find(params, "bundles", &bundles) && isola_mp_at(bundles, 0, &bundle))
        (void)isola_mp_find_bin(bundle, "code", &code);
    if (code.len >= 6 && memmem(code.data, code.len, "broken", 6) != NULL) {
        struct isola_msg *fail =
            isola_msg_fail(m->id, ISOLA_EMODULE, "Counter: ./counter.js: it is broken");
        send_msg(fail);
        free(fail);
    } else {
        reply(m->id, isola_slice(NULL, 0));
    }
}

static void ps(const struct isola_msg *m)
{
    struct isola_buf b = {0};
    isola_mp_map(&b, 1);
    isola_mp_cstr(&b, "actors");
    isola_mp_array(&b, 2);
    for (int i = 0; i < 2; i++) {
        char address[80];
        snprintf(address, sizeof(address), "shop/Counter/%s-%d", node, i);
        isola_mp_map(&b, 2);
        isola_mp_kstr(&b, "address", address);
        isola_mp_kstr(&b, "node", node);
    }
    reply(m->id, isola_buf_slice(&b));
    isola_buf_free(&b);
}

static void for_host(const struct isola_msg *m)
{
    struct isola_slice params = {0};
    (void)isola_mp_at(m->args, 0, &params);
    if (isola_slice_is(m->event, "view")) {
        isola_buf_free(&view);
        isola_buf_append(&view, params.data, params.len);
        for (size_t i = 0; i < nsubs; i++)
            tell(&subs[i], "view", isola_buf_slice(&view));
    } else if (isola_slice_is(m->event, "release")) {
        release(m, params);
    } else if (isola_slice_is(m->event, "links")) {
        struct isola_buf b = {0};
        isola_mp_map(&b, 1);
        isola_mp_cstr(&b, "links");
        isola_mp_array(&b, 0);
        reply(m->id, isola_buf_slice(&b));
        isola_buf_free(&b);
    } else if (isola_slice_is(m->event, "credentials")) {
        struct isola_buf b = {0};
        isola_mp_map(&b, 1);
        isola_mp_kstr(&b, "url", "tcp://127.0.0.1:9");
        reply(m->id, isola_buf_slice(&b));
        isola_buf_free(&b);
    } else if (isola_slice_is(m->event, "check")) {
        check(m, params);
    } else if (isola_slice_is(m->event, "ps")) {
        ps(m);
    } else if (isola_slice_is(m->event, "ping")) {
        reply(m->id, isola_slice(NULL, 0));
    } else if (isola_slice_is(m->event, "shutdown") && strcmp(mode, "stubborn") != 0) {
        reply(m->id, isola_slice(NULL, 0));
        isola_link_close(agent);
    }
}

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct isola_msg m;
    (void)link, (void)arg;
    if (isola_link_decode(link, frame, &m, NULL) != 0)
        _exit(8);
    if (m.dst.len == 0) {
        for_host(&m);
    } else if (m.kind == ISOLA_MSG_ASK) {
        for_actor(&m);
    } else if (m.kind == ISOLA_MSG_EMIT) {
        counted += isola_slice_is(m.event, "count");
    } else if (m.kind == ISOLA_MSG_STOP) {
        struct isola_buf b = {0};
        isola_mp_bool(&b, true);
        reply(m.id, isola_buf_slice(&b));
        isola_buf_free(&b);
    } else if (m.kind == ISOLA_MSG_SUB && nsubs < ENTRIES_MAX) {
        subs[nsubs++] = (struct entry){m.id, text(m.dst), text(m.event)};
        reply(m.id, isola_slice(NULL, 0));
        tell(&subs[nsubs - 1], "view", isola_buf_slice(&view));
    } else if (m.kind == ISOLA_MSG_UNSUB) {
        for (size_t i = 0; i < nsubs; i++) {
            if (subs[i].id == m.id) {
                free(subs[i].dst);
                free(subs[i].event);
                subs[i--] = subs[--nsubs];
            }
        }
    }
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    (void)link, (void)code, (void)why, (void)arg;
    if (strcmp(mode, "stubborn") == 0)
        return;
    _exit(0);
}

int main(int argc, char **argv)
{
    static const struct isola_link_ops ops = {.frame = on_frame, .down = on_down};
    uv_loop_t *loop = uv_default_loop();
    uv_timer_t forever; /* a stubborn host outlives its link */
    mode = getenv("FAKE_HOST") != NULL ? getenv("FAKE_HOST") : "";
    if (argc != 13 || strcmp(argv[1], "--node") != 0 || strcmp(argv[3], "--data") != 0 ||
        strcmp(argv[5], "--threads") != 0 || strcmp(argv[7], "--memory") != 0 ||
        strcmp(argv[9], "--history") != 0 || strcmp(argv[11], "--history-size") != 0)
        return 2;
    node = argv[2];
    if (strcmp(mode, "exit") == 0) {
        fputs("fake-host: told to fail\n", stderr);
        return 3;
    }
    uv_timer_init(loop, &forever);
    uv_timer_start(&forever, (uv_timer_cb)abort, 600000, 0);
    struct isola_err err;
    if (isola_link_open_fd(loop, 3, &ops, NULL, &agent, &err) != 0)
        return 4;
    struct isola_buf ready = {0};
    isola_mp_map(&ready, 2);
    isola_mp_kuint(&ready, "pid", (uint64_t)getpid());
    isola_mp_kuint(&ready, "threads", strtoul(argv[6], NULL, 10));
    emit("ready", &ready);
    return uv_run(loop, UV_RUN_DEFAULT);
}
