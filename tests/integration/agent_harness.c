/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "transport/envelope.h"
#include "transport/token.h"

struct world world;

/* --- the world --- */

int world_open(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    memset(&world, 0, sizeof(world));
    if (tempdir_make(world.dir) != 0 || uv_loop_init(&world.loop) != 0)
        return -1;
    return watch_init(&world.waited, &world.loop);
}

int world_close(void **state)
{
    (void)state;
    /* Only a test that failed leaves agents; their actor-hosts end with them. */
    for (struct agent *a = world.agents; a != NULL; a = a->next) {
        if (!a->exited)
            uv_process_kill(&a->process, SIGKILL);
    }
    watch_reset(&world.waited);
    while (world.agents != NULL && !watch_over(&world.waited, 5000))
        uv_run(&world.loop, UV_RUN_ONCE);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    (void)watch_stop(&world.waited);
    int rc = uv_loop_close(&world.loop);
    return tempdir_remove(world.dir) != 0 ? -1 : rc;
}

/* --- agents --- */

static void on_closed(uv_handle_t *handle)
{
    struct agent *a = handle->data;
    if (--a->open > 0)
        return;
    struct agent **at = &world.agents;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
}

static void on_exited(uv_process_t *process, int64_t status, int sig)
{
    struct agent *a = process->data;
    a->exited = true;
    a->status = status;
    a->signal = sig;
    uv_close((uv_handle_t *)process, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    static char bytes[65536];
    (void)handle, (void)size;
    *buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct agent *a = stream->data;
    bool out = stream == (uv_stream_t *)&a->out_pipe;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    size_t left = out ? sizeof(a->out) - 1 - a->nout : sizeof(a->err) - 1 - a->nerr;
    size_t len = (size_t)n < left ? (size_t)n : left;
    memcpy(out ? a->out + a->nout : a->err + a->nerr, buf->base, len);
    *(out ? &a->nout : &a->nerr) += len;
    if (!out && getenv("AGENT_TEST_VERBOSE") != NULL)
        fprintf(stderr, "%.*s", (int)n, buf->base);
}

void agent_start(struct agent *a, const char *name, ...)
{
    char data[128];
    char *args[24] = {getenv("NODE_AGENT"), (char *)"--name", (char *)name, (char *)"--data", data};
    size_t n = 5;
    assert_non_null(args[0]);
    memset(a, 0, sizeof(*a));
    snprintf(data, sizeof(data), "%s/%s", world.dir, name);
    va_list ap;
    va_start(ap, name);
    while (n < 23 && (args[n] = va_arg(ap, char *)) != NULL)
        n++;
    va_end(ap);
    args[n] = NULL;
    uv_pipe_init(&world.loop, &a->out_pipe, 0);
    uv_pipe_init(&world.loop, &a->err_pipe, 0);
    a->process.data = a->out_pipe.data = a->err_pipe.data = a;
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&a->out_pipe},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&a->err_pipe},
    };
    uv_process_options_t options = {
        .file = args[0], .args = args, .stdio = stdio, .stdio_count = 3, .exit_cb = on_exited};
    assert_int_equal(uv_spawn(&world.loop, &a->process, &options), 0);
    a->open = 3;
    a->next = world.agents;
    world.agents = a;
    uv_read_start((uv_stream_t *)&a->out_pipe, on_alloc, on_read);
    uv_read_start((uv_stream_t *)&a->err_pipe, on_alloc, on_read);
}

void agent_wait_ready(struct agent *a)
{
    WAIT_FOR(strchr(a->out, '\n') != NULL || a->exited);
    if (a->exited)
        fail_msg("the agent ended: %s", a->err);
    char name[80];
    int n = sscanf(a->out, "node-agent %79s is ready: socket %159[^,\n], mesh %63s", name,
                   a->socket, a->mesh);
    assert_true(n == 2 || n == 3); /* in no cluster, or in one */
}

void agent_wait_exit(struct agent *a)
{
    WAIT_FOR(a->open == 0);
}

void agent_stop(struct agent *a)
{
    assert_false(a->exited);
    uv_process_kill(&a->process, SIGTERM);
    agent_wait_exit(a);
    if (a->status != 0 || a->signal != 0)
        fail_msg("the agent exited with %d, signal %d: %s", (int)a->status, a->signal, a->err);
    assert_ptr_equal(strchr(a->out, '\n'), a->out + a->nout - 1); /* one line, no more */
    if (a->socket[0] != '\0')
        assert_int_not_equal(access(a->socket, F_OK), 0);
    assert_null(strstr(a->err, "still has handles"));
}

/* --- clients --- */

static void on_up(struct isola_link *link, void *arg)
{
    (void)link;
    ((struct client *)arg)->up = true;
}

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct client *c = arg;
    struct isola_msg m;
    struct isola_err err;
    if (isola_link_decode(link, frame, &m, &err) != 0)
        fail_msg("%s", err.text);
    isola_msgq_push(&c->got, isola_msg_copy(&m));
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct client *c = arg;
    (void)link, (void)why;
    c->down = true;
    c->code = code;
    c->link = NULL;
}

static int admit_all(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                     struct isola_slice chain, struct isola_identity *who, struct isola_err *err)
{
    (void)arg, (void)link, (void)peer, (void)chain, (void)err;
    *who = (struct isola_identity){0};
    return 0;
}

void client_dial(struct client *c, const char *url, const struct isola_node_keys *keys,
                 struct isola_slice chain)
{
    static const struct isola_link_ops ops = {.up = on_up, .frame = on_frame, .down = on_down};
    char whole[200];
    struct isola_err err;
    memset(c, 0, sizeof(*c));
    c->security = (struct isola_link_security){.keys = keys != NULL ? &keys->fixed : NULL,
                                               .chain = chain,
                                               .purpose = ISOLA_LINK_CONTROL,
                                               .admit = admit_all};
    snprintf(whole, sizeof(whole), "%s%s", url[0] == '/' ? "unix:" : "", url);
    if (isola_link_dial(&world.loop, whole, keys != NULL ? &c->security : NULL, NULL, &ops, c,
                        &c->link, &err) != 0)
        fail_msg("%s", err.text);
    WAIT_FOR(c->up || c->down);
}

void client_open(struct client *c, const char *url)
{
    client_dial(c, url, NULL, isola_slice(NULL, 0));
    assert_true(c->up);
}

void client_close(struct client *c)
{
    if (c->link != NULL)
        isola_link_close(c->link);
    WAIT_FOR(c->down);
    isola_msgq_clear(&c->got);
}

uint64_t client_send(struct client *c, enum isola_msg_kind kind, const char *dst, const char *event,
                     const struct isola_buf *args, uint32_t timeout_ms)
{
    static const uint8_t none = 0x90;
    struct isola_msg m = {
        .kind = kind,
        .id = ++c->last_id,
        .timeout_ms = timeout_ms,
        .dst = isola_slice_str(dst),
        .event = isola_slice_str(event),
        .args = args != NULL ? isola_buf_slice(args) : isola_slice(&none, 1),
    };
    assert_non_null(c->link);
    assert_int_equal(isola_link_send_msg(c->link, &m), 0);
    return m.id;
}

static struct isola_msg *take(struct client *c, uint64_t id, enum isola_msg_kind kind)
{
    struct isola_msgq rest = {0};
    struct isola_msg *found = NULL;
    struct isola_msg *m;
    while ((m = isola_msgq_pop(&c->got)) != NULL) {
        bool answer = m->kind == ISOLA_MSG_REPLY || m->kind == ISOLA_MSG_FAIL;
        if (found == NULL && (kind != 0 ? m->kind == kind : answer && m->id == id))
            found = m;
        else
            isola_msgq_push(&rest, m);
    }
    c->got = rest;
    return found;
}

struct isola_msg *client_answer(struct client *c, uint64_t id)
{
    struct isola_msg *m = NULL;
    WAIT_FOR((m = m ? m : take(c, id, 0)) != NULL || c->down);
    if (m == NULL)
        fail_msg("the connection ended instead of an answer");
    return m;
}

struct isola_msg *client_next(struct client *c, enum isola_msg_kind kind)
{
    struct isola_msg *m = NULL;
    WAIT_FOR((m = m ? m : take(c, 0, kind)) != NULL || c->down);
    if (m == NULL)
        fail_msg("the connection ended instead of a message");
    return m;
}

bool client_has(struct client *c, enum isola_msg_kind kind)
{
    for (struct isola_msg *m = c->got.head; m != NULL; m = m->next) {
        if (m->kind == kind)
            return true;
    }
    return false;
}

struct isola_msg *client_call(struct client *c, const char *method, struct isola_buf *params)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    if (params != NULL)
        isola_buf_append(&args, params->data, params->len);
    else
        isola_mp_map(&args, 0);
    uint64_t id = client_send(c, ISOLA_MSG_ASK, "", method, &args, 0);
    isola_buf_free(&args);
    if (params != NULL)
        isola_buf_free(params);
    return client_answer(c, id);
}

struct isola_msg *client_ask(struct client *c, const char *dst, const char *event)
{
    return client_answer(c, client_send(c, ISOLA_MSG_ASK, dst, event, NULL, 15000));
}

/* --- a cluster --- */

void agent_init(struct agent *a)
{
    static struct client c;
    struct isola_slice url;
    client_open(&c, a->socket);
    struct isola_msg *m = client_call(&c, "init", NULL);
    assert_true(isola_mp_find_str(value_of(m), "url", &url));
    snprintf(a->mesh, sizeof(a->mesh), "%.*s", ISOLA_FMT(url));
    free(m);
    client_close(&c);
}

const char *agent_token(struct agent *a)
{
    static struct client c;
    static char text[ISOLA_TOKEN_TEXT_MAX];
    struct isola_slice token;
    client_open(&c, a->socket);
    struct isola_msg *m = client_call(&c, "token", NULL);
    assert_true(isola_mp_find_str(value_of(m), "token", &token));
    snprintf(text, sizeof(text), "%.*s", ISOLA_FMT(token));
    free(m);
    client_close(&c);
    return text;
}

/* --- looking at answers --- */

void client_say(struct client *c, const char *dst, const char *text)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_cstr(&args, text);
    free(client_answer(c, client_send(c, ISOLA_MSG_ASK, dst, "log", &args, 0)));
    isola_buf_free(&args);
}

struct isola_slice value_of(const struct isola_msg *m)
{
    struct isola_slice value = {0};
    struct isola_mp_error e;
    assert_true(isola_mp_at(m->args, 0, &value));
    if (m->kind != ISOLA_MSG_REPLY && isola_mp_read_error(value, &e))
        fail_msg("an error: %.*s: %.*s", ISOLA_FMT(e.code_name), ISOLA_FMT(e.message));
    assert_int_equal(m->kind, ISOLA_MSG_REPLY);
    return value;
}

uint64_t uint_of(const struct isola_msg *m)
{
    struct isola_mp_reader r = isola_mp_reader(value_of(m));
    struct isola_mp_item item;
    assert_int_equal(isola_mp_next(&r, &item), 0);
    assert_int_equal(item.type, ISOLA_MP_UINT);
    return item.u;
}

void assert_fail(struct isola_msg *m, int code, const char *text)
{
    struct isola_slice value;
    struct isola_mp_error e;
    assert_int_equal(m->kind, ISOLA_MSG_FAIL);
    assert_true(isola_mp_at(m->args, 0, &value) && isola_mp_read_error(value, &e));
    if (e.code != code || (e.message.len < strlen(text) ||
                           memmem(e.message.data, e.message.len, text, strlen(text)) == NULL))
        fail_msg("expected %s \"%s\", got %.*s \"%.*s\"", isola_error_name(code), text,
                 ISOLA_FMT(e.code_name), ISOLA_FMT(e.message));
    free(m);
}

const char *printable(struct isola_slice s)
{
    static char out[8192];
    size_t n = s.len < sizeof(out) - 1 ? s.len : sizeof(out) - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = s.data[i] >= ' ' && s.data[i] < 127 ? (char)s.data[i] : '.';
    out[n] = '\0';
    return out;
}

static bool find_node(struct isola_slice value, const char *node, struct isola_slice *out)
{
    struct isola_slice nodes;
    struct isola_slice name;
    if (!isola_mp_find(value, "nodes", &nodes))
        return false;
    for (size_t i = 0; i < isola_mp_count(nodes); i++) {
        if (isola_mp_at(nodes, i, out) && isola_mp_find_str(*out, "name", &name) &&
            isola_slice_is(name, node))
            return true;
    }
    return false;
}

const char *node_state(struct client *c, const char *node)
{
    static char state[32];
    struct isola_msg *m = client_call(c, "nodes", NULL);
    struct isola_slice map;
    struct isola_slice s = {0};
    if (find_node(value_of(m), node, &map))
        (void)isola_mp_find_str(map, "state", &s);
    snprintf(state, sizeof(state), "%.*s", ISOLA_FMT(s));
    free(m);
    return state;
}

void wait_node_state(struct client *c, const char *node, const char *state)
{
    if (c->watch == 0)
        c->watch = client_send(c, ISOLA_MSG_SUB, "test/Watch/1", "view", NULL, 0);
    while (strcmp(node_state(c, node), state) != 0)
        free(client_next(c, ISOLA_MSG_EVENT));
}

uint64_t node_field(struct client *c, const char *node, const char *key)
{
    struct isola_msg *m = client_call(c, "nodes", NULL);
    struct isola_slice map;
    uint64_t v = 0;
    if (find_node(value_of(m), node, &map))
        (void)isola_mp_find_uint(map, key, &v);
    free(m);
    return v;
}

uint64_t host_kill(struct client *c, const char *node)
{
    uint64_t pid = node_field(c, node, "host_pid");
    assert_true(pid > 1);
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    return pid;
}

struct isola_buf deploy_params(const char *app, const char *code)
{
    struct isola_buf b = {0};
    char manifest[200];
    snprintf(manifest, sizeof(manifest),
             "{\"name\":\"%s\",\"actors\":{\"Counter\":{\"module\":\"./counter.js\"}}}", app);
    isola_mp_map(&b, 3);
    isola_mp_kstr(&b, "app", app);
    isola_mp_kstr(&b, "manifest", manifest);
    isola_mp_cstr(&b, "bundles");
    isola_mp_array(&b, 1);
    isola_mp_map(&b, 3);
    isola_mp_kstr(&b, "type", "Counter");
    isola_mp_cstr(&b, "code");
    isola_mp_bin(&b, isola_slice_str(code));
    isola_mp_cstr(&b, "map");
    isola_mp_bin(&b, isola_slice_str(""));
    return b;
}
