/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole agent, and what clients, peers and its actor-host send it.
 *
 * The input is msgpack values one behind the other. A small number says whose frames follow (enum
 * who), any other value is a frame; what is no whole value is the last one. Links, the process of
 * the actor-host and the network are stand-ins in memory; the agent's own code is all there. When
 * the frames are through it stops in order, and nothing may be left of them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tempdir.h"
#include "transport/keyfile.h"
#include "transport/link_impl.h"

enum who {
    CLIENT,
    ANOTHER_CLIENT,
    PEER,         /* node a, as its link has proven */
    ANOTHER_PEER, /* it shows no certificate */
    HOST,
    DIALLED,        /* the node the agent dialled last: c */
    END,            /* of the one chosen before */
    WHO_LAST = END, /* larger numbers are frames, which no envelope is */
};

/* --- links in memory --- */

struct memory_link {
    struct isola_link link; /* first */
    uv_idle_t handle;
    struct memory_link **place; /* where it is looked for */
};

static struct memory_link *links[END];

static void link_read(struct isola_link *link)
{
    (void)link;
}
static ssize_t link_write(struct isola_link *link, const uint8_t *data, size_t n, const char **why)
{
    (void)link, (void)data, (void)why;
    return (ssize_t)n;
}
static void link_goodbye(struct isola_link *link)
{
    isola__link_ended(link, ISOLA_ECLOSED, "closed by the peer");
}
static void on_handle_closed(uv_handle_t *handle)
{
    isola__link_stopped(handle->data);
}
static void link_stop(struct isola_link *link)
{
    struct memory_link *l = (struct memory_link *)link;
    if (*l->place == l)
        *l->place = NULL;
    uv_close((uv_handle_t *)&l->handle, on_handle_closed);
}
static const struct isola__backend memory = {.read = link_read,
                                             .write = link_write,
                                             .goodbye = link_goodbye,
                                             .wake = isola__link_soon,
                                             .stop = link_stop};

static struct isola_link *link_new(uv_loop_t *loop, enum who who)
{
    struct memory_link *l = isola_zalloc(sizeof(*l));
    isola__link_init(&l->link, loop, &memory);
    uv_idle_init(loop, &l->handle);
    l->handle.data = l;
    l->place = &links[who];
    links[who] = l;
    snprintf(l->link.peer, sizeof(l->link.peer), "memory:%d", (int)who);
    return &l->link;
}

static void arrive(struct memory_link *l, struct isola_slice frame)
{
    uint8_t header[] = {(uint8_t)(frame.len >> 24), (uint8_t)(frame.len >> 16),
                        (uint8_t)(frame.len >> 8), (uint8_t)frame.len};
    struct isola_buf bytes = {0};
    isola_buf_append(&bytes, header, sizeof(header));
    isola_buf_append(&bytes, frame.data, frame.len);
    for (size_t at = 0; at < bytes.len && l->link.state != ISOLA__LINK_ENDING;) {
        uint8_t *to = NULL;
        size_t room = 0;
        ISOLA_CHECK(isola__inflow_room(&l->link.in, &to, &room) == 0);
        size_t n = bytes.len - at < room ? bytes.len - at : room;
        memcpy(to, bytes.data + at, n);
        at += n;
        (void)isola__link_arrived(&l->link, n);
    }
    isola_buf_free(&bytes);
}

/* --- in place of the network, and of other processes (the linker's --wrap) --- */

int __wrap_isola_link_dial(uv_loop_t *loop, const char *url,
                           const struct isola_link_security *security, const uint8_t *peer_key,
                           const struct isola_link_ops *ops, void *arg, struct isola_link **out,
                           struct isola_err *err);
int __wrap_isola_link_open_fd(uv_loop_t *loop, int fd, const struct isola_link_ops *ops, void *arg,
                              struct isola_link **out, struct isola_err *err);
const struct isola_identity *__wrap_isola_link_identity(const struct isola_link *link);
int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options);
int __wrap_uv_process_kill(uv_process_t *process, int number);
void __wrap_isola_log(enum isola_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Formatted, as the text is what is hostile, and thrown away. */
void __wrap_isola_log(enum isola_log_level level, const char *fmt, ...)
{
    struct isola_err err;
    va_list ap;
    (void)level;
    va_start(ap, fmt);
    isola_vfail(&err, 0, fmt, ap);
    va_end(ap);
}

int __wrap_isola_link_dial(uv_loop_t *loop, const char *url,
                           const struct isola_link_security *security, const uint8_t *peer_key,
                           const struct isola_link_ops *ops, void *arg, struct isola_link **out,
                           struct isola_err *err)
{
    struct isola__url parsed;
    (void)security, (void)peer_key;
    int rc = isola__url_parse(url, &parsed, err);
    if (rc != 0)
        return rc;
    *out = link_new(loop, DIALLED);
    isola_link_accept(*out, ops, arg);
    return 0;
}

int __wrap_isola_link_open_fd(uv_loop_t *loop, int fd, const struct isola_link_ops *ops, void *arg,
                              struct isola_link **out, struct isola_err *err)
{
    (void)err;
    close(fd);
    *out = link_new(loop, HOST);
    isola_link_accept(*out, ops, arg);
    (*out)->state = ISOLA__LINK_UP;
    return 0;
}

const struct isola_identity *__wrap_isola_link_identity(const struct isola_link *link)
{
    static struct isola_identity who;
    const struct memory_link *l = (const struct memory_link *)link;
    uint8_t seed[ISOLA_KEY_SIZE];
    struct isola_sign_keys keys;
    who = (struct isola_identity){0};
    if (l->place == &links[ANOTHER_PEER])
        return &who;
    who.name[0] = l->place == &links[PEER] ? 'a' : 'c';
    isola_sign_keys_from(memset(seed, who.name[0], sizeof(seed)), &keys);
    memcpy(who.node_key, keys.public_key, ISOLA_KEY_SIZE);
    return &who;
}

static uv_process_t *host; /* while it runs */
static uv_exit_cb host_exit;

int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options)
{
    void *data = process->data;
    uv_idle_init(loop, (uv_idle_t *)process); /* a handle that can be closed */
    process->data = data;
    process->pid = 4711;
    host = process;
    host_exit = options->exit_cb;
    return 0;
}

int __wrap_uv_process_kill(uv_process_t *process, int number)
{
    (void)process, (void)number;
    return 0;
}

static void host_ends(void)
{
    uv_process_t *process = host;
    host = NULL;
    if (process != NULL)
        host_exit(process, 0, 0);
}

/* --- the agent --- */

/* An empty catalog is made once and copied: to make one is most of the work otherwise. */
static void catalog_make(const char *path)
{
    static uint8_t empty[1u << 16];
    static size_t size;
    struct isola_catalog *catalog;
    struct isola_err err = {0};
    FILE *f;
    if (size == 0) {
        if (isola_catalog_open(path, &catalog, &err) != 0)
            isola_check_failed(err.text, __FILE__, __LINE__);
        isola_catalog_close(catalog);
        ISOLA_CHECK((f = fopen(path, "rb")) != NULL);
        size = fread(empty, 1, sizeof(empty), f);
        ISOLA_CHECK(size > 0 && size < sizeof(empty));
    } else {
        ISOLA_CHECK((f = fopen(path, "wb")) != NULL);
        ISOLA_CHECK(fwrite(empty, 1, size, f) == size);
    }
    ISOLA_CHECK(fclose(f) == 0);
}

/* Node b of a cluster whose key is made of 'c'; seeds.mjs has certificates of it, and this token.
 */
static void cluster_make(struct isola__cluster *cluster, const char *dir)
{
    struct isola_identity own = {.name = "b", .serial = 1};
    struct isola_sign_keys *key = isola_secret_alloc(sizeof(*key));
    struct isola_buf file = {0}, cert = {0};
    struct isola_err err = {0};
    uint8_t seed[ISOLA_KEY_SIZE], secret[ISOLA_TOKEN_SECRET], hash[32];
    char path[100];
    ISOLA_CHECK(isola__cluster_open(cluster, dir, &err) == 0);
    ISOLA_CHECK(isola_secret_dir(cluster->dir, &err) == 0);
    cluster->keys = isola_secret_alloc(sizeof(*cluster->keys));
    isola_sign_keys_from(memset(seed, 'b', sizeof(seed)), &cluster->keys->sign);
    isola_static_keys_from(seed, &cluster->keys->fixed);
    isola_sign_keys_from(memset(seed, 'c', sizeof(seed)), key);
    memcpy(own.node_key, cluster->keys->sign.public_key, ISOLA_KEY_SIZE);
    memcpy(own.node_static, cluster->keys->fixed.public_key, ISOLA_KEY_SIZE);
    isola_node_certify(key, &own, &cert);
    if (isola__cluster_enter(cluster, key->public_key, isola_slice_str("fuzz"),
                             isola_buf_slice(&cert), &err) != 0)
        isola_check_failed(err.text, __FILE__, __LINE__);
    isola_mp_array(&file, 3);
    isola_mp_uint(&file, 1);
    isola_mp_cstr(&file, "isola cluster key");
    isola_mp_bin(&file, isola_slice(seed, sizeof(seed)));
    snprintf(path, sizeof(path), "%s/cluster.key", cluster->dir);
    ISOLA_CHECK(isola_secret_write(path, isola_buf_slice(&file), &err) == 0);
    file.len = 0;
    isola_token_hash(memset(secret, 2, sizeof(secret)), hash);
    isola_mp_array(&file, 4);
    isola_mp_uint(&file, 1);
    isola_mp_uint(&file, 1);
    isola_mp_array(&file, 0);
    isola_mp_array(&file, 1);
    isola_mp_array(&file, 4);
    isola_mp_bin(&file, isola_slice("\1\1\1\1\1\1\1\1", 8));
    isola_mp_bin(&file, isola_slice(hash, sizeof(hash)));
    isola_mp_uint(&file, INT64_MAX);
    isola_mp_bin(&file, isola_slice(NULL, 0));
    snprintf(path, sizeof(path), "%s/issuer", cluster->dir);
    ISOLA_CHECK(isola_secret_write(path, isola_buf_slice(&file), &err) == 0);
    if (isola__issuer_open(cluster->dir, &cluster->issuer, &err) != 0)
        isola_check_failed(err.text, __FILE__, __LINE__);
    isola_buf_free(&file);
    isola_buf_free(&cert);
    isola_secret_free(key);
}

static struct isola__agent *agent_new(const char *dir)
{
    struct isola__agent *agent = isola_zalloc(sizeof(*agent));
    struct isola_err err = {0};
    agent->opt = (struct isola__options){.name = isola_strdup("b"),
                                         .data = isola_strdup(dir),
                                         .socket = isola_format("%s/socket", dir),
                                         .listen = {.host = "127.0.0.1", .port = 4000},
                                         .data_listen = {.host = "127.0.0.1"},
                                         .threads = 1};
    agent->started_ms = isola_clock_wall_ms();
    agent->state = ISOLA_AGENT_READY;
    agent->url = isola_strdup("tcp://127.0.0.1:4000");
    cluster_make(&agent->cluster, dir);
    ISOLA_CHECK(uv_loop_init(&agent->loop) == 0);
    char *path = isola_format("%s/catalog.db", dir);
    catalog_make(path);
    if (isola_catalog_open(path, &agent->catalog, &err) != 0)
        isola_check_failed(err.text, __FILE__, __LINE__);
    free(path);
    ISOLA_CHECK(isola__releases_open(&agent->releases, agent, &err) == 0);
    ISOLA_CHECK(isola__logs_open(&agent->logs, agent, &err) == 0);
    isola__notify_open(&agent->notify, agent);
    isola__asks_init(&agent->asks, &agent->loop);
    isola__services_init(&agent->services, agent);
    isola__rollouts_init(&agent->rollouts, agent);
    agent->clients.agent = agent;
    isola__members_init(&agent->members, agent);
    isola__members_begin(&agent->members);
    isola__host_init(&agent->host, agent);
    agent->host.was_ready = true; /* the start is over */
    isola__host_start(&agent->host);
    return agent;
}

/* What agent.c does at a SIGTERM, and at the end. */
static void agent_free(struct isola__agent *agent)
{
    agent->state = ISOLA_AGENT_STOPPING;
    isola__members_close(&agent->members);
    isola__host_stop(&agent->host);
    host_ends();
    uv_run(&agent->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < END; i++)
        ISOLA_CHECK(links[i] == NULL);
    isola__asks_free(&agent->asks);
    isola__host_free(&agent->host);
    isola__members_free(&agent->members);
    isola__logs_free(&agent->logs);
    isola__releases_free(&agent->releases);
    isola__cluster_free(&agent->cluster);
    free(agent->url);
    isola_catalog_close(agent->catalog);
    ISOLA_CHECK(uv_loop_close(&agent->loop) == 0);
    isola__options_free(&agent->opt);
    free(agent);
}

static void run(struct isola__agent *agent)
{
    if (links[DIALLED] != NULL && links[DIALLED]->link.state == ISOLA__LINK_CONNECTING)
        isola__link_up(&links[DIALLED]->link);
    uv_run(&agent->loop, UV_RUN_NOWAIT);
}

/* The link to speak on; NULL when nobody is there. Clients and peers come when they are needed. */
static struct memory_link *speaker(struct isola__agent *agent, enum who who)
{
    struct isola_listener listener = {.loop = &agent->loop, .arg = agent};
    if (links[who] == NULL && who < HOST) {
        listener.ops =
            who <= ANOTHER_CLIENT ? isola__clients_listener_ops : isola__control_listener_ops;
        isola__listener_offer(&listener, link_new(&agent->loop, who));
    }
    return links[who];
}

static void chosen(struct isola__agent *agent, enum who before)
{
    struct memory_link *l = links[before];
    if (before == HOST)
        host_ends();
    if (l != NULL)
        isola__link_ended(&l->link, ISOLA_ECLOSED, "closed by the peer");
    run(agent);
}

static void feed(struct isola__agent *agent, struct isola_slice input)
{
    struct isola_mp_reader r = isola_mp_reader(input);
    struct isola_slice frame;
    enum who who = CLIENT;
    while (r.p != r.end) {
        struct isola_mp_item item;
        struct isola_mp_reader peek = r;
        if (isola_mp_next(&peek, &item) == 0 && item.type == ISOLA_MP_UINT && item.u <= WHO_LAST) {
            r = peek;
            if (item.u == END)
                chosen(agent, who);
            else
                who = (enum who)item.u;
            continue;
        }
        if (isola_mp_skip(&r, &frame) != 0) {
            frame = isola_slice(r.p, (size_t)(r.end - r.p));
            r.p = r.end;
        }
        struct memory_link *l = speaker(agent, who);
        if (l != NULL)
            arrive(l, frame);
        run(agent);
    }
}

/* --- a directory for it, in memory where there is such a place --- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *dir =
        isola_format("%s/isola-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ISOLA_CHECK(mkdtemp(dir) != NULL);
    struct isola__agent *agent = agent_new(dir);
    feed(agent, isola_slice(data, size));
    agent_free(agent);
    (void)tempdir_remove(dir);
    free(dir);
    return 0;
}
