/* SPDX-License-Identifier: Apache-2.0
 *
 * Several agents: joining, deploys, the loss and return of nodes, questions to all, hostile peers.
 */
#include "agent_harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "transport/token.h"

/* Their memory outlives a test that fails. */
static struct agent east, west, north;
static struct client ce, cw, cn;

static void two_agents(void)
{
    agent_start(&east, "east", NULL);
    agent_wait_ready(&east);
    agent_init(&east);
    agent_start(&west, "west", "--join", agent_token(&east), NULL);
    agent_wait_ready(&west);
    client_open(&ce, east.socket);
    client_open(&cw, west.socket);
}

static void end_two(void)
{
    client_close(&ce);
    client_close(&cw);
    agent_stop(&west);
    agent_stop(&east);
}

/* What an agent's actor-host knows, as text. */
static bool host_knows(struct client *c, const char *question, const char *text)
{
    struct isola_msg *m = client_ask(c, "shop/Counter/a", question);
    bool found = strstr(printable(value_of(m)), text) != NULL;
    free(m);
    return found;
}

/* The last release of an app that its actor-host was told of. */
static void last_release(struct client *c, const char *app, char out[80])
{
    struct isola_msg *m = client_ask(c, "shop/Counter/a", "releases");
    struct isola_mp_reader r = isola_mp_reader(value_of(m));
    struct isola_mp_item item;
    out[0] = '\0';
    while (r.p < r.end && isola_mp_next(&r, &item) == 0) {
        if (item.type == ISOLA_MP_STR && item.bytes.len > strlen(app) &&
            memcmp(item.bytes.data, app, strlen(app)) == 0)
            snprintf(out, 80, "%.*s", ISOLA_FMT(item.bytes));
    }
    free(m);
}

static void joining(void **state)
{
    (void)state;
    two_agents();
    assert_string_equal(node_state(&ce, "east"), "up");
    assert_string_equal(node_state(&cw, "east"), "up");
    wait_node_state(&ce, "west", "up");
    assert_string_equal(node_state(&cw, "west"), "up");
    assert_int_equal(node_field(&ce, "west", "pid"), west.process.pid);
    assert_int_equal(node_field(&ce, "west", "actors"), 2);
    assert_true(host_knows(&ce, "view", "west"));
    assert_false(host_knows(&ce, "view", ".down..west"));
    assert_true(host_knows(&cw, "view", "east"));

    /* A third knows both before it is ready. */
    agent_start(&north, "north", "--join", agent_token(&east), NULL);
    agent_wait_ready(&north);
    client_open(&cn, north.socket);
    assert_string_equal(node_state(&cn, "east"), "up");
    assert_string_equal(node_state(&cn, "west"), "up");
    wait_node_state(&ce, "north", "up");
    struct isola_msg *m = client_call(&ce, "ps", NULL);
    struct isola_slice list;
    assert_true(isola_mp_find(value_of(m), "actors", &list));
    assert_int_equal(isola_mp_count(list), 6);
    assert_true(isola_mp_find(value_of(m), "unreachable", &list));
    assert_int_equal(isola_mp_count(list), 0);
    free(m);
    client_close(&cn);
    agent_stop(&north);
    wait_node_state(&ce, "north", "down");
    m = client_call(&ce, "ps", NULL);
    assert_non_null(strstr(printable(value_of(m)), "north"));
    assert_true(isola_mp_find(value_of(m), "unreachable", &list));
    assert_int_equal(isola_mp_count(list), 1);
    free(m);
    end_two();
}

static void name_collision(void **state)
{
    (void)state;
    char other[128];
    two_agents();
    snprintf(other, sizeof(other), "%s/other", world.dir);
    for (int i = 0; i < 2; i++) {
        agent_start(&north, i == 0 ? "west" : "east", "--data", other, "--join", agent_token(&east),
                    NULL);
        agent_wait_exit(&north);
        assert_int_equal(north.status, 1);
        assert_non_null(strstr(north.err, i == 0 ? "a node named west is in this cluster already; "
                                                   "choose another with --name"
                                                 : "a node named east is in this cluster already"));
    }
    assert_string_equal(node_state(&ce, "west"), "up");
    end_two();
}

static void deploying(void **state)
{
    (void)state;
    two_agents();
    struct isola_buf p = deploy_params("shop", "export default 1");
    struct isola_msg *m = client_call(&ce, "deploy", &p);
    struct isola_slice id;
    struct isola_slice nodes;
    bool unchanged = true;
    assert_true(isola_mp_find_str(value_of(m), "release", &id) && id.len == 16);
    assert_true(isola_mp_find_bool(value_of(m), "unchanged", &unchanged) && !unchanged);
    assert_true(isola_mp_find(value_of(m), "nodes", &nodes));
    assert_int_equal(isola_mp_count(nodes), 2);
    assert_true(isola_mp_find(value_of(m), "later", &nodes) && isola_mp_count(nodes) == 0);
    char first[40];
    snprintf(first, sizeof(first), "shop %.*s", ISOLA_FMT(id));
    free(m);
    assert_true(host_knows(&ce, "releases", first));
    assert_true(host_knows(&cw, "releases", first));

    p = deploy_params("shop", "export default 1");
    m = client_call(&cw, "deploy", &p);
    assert_true(isola_mp_find_bool(value_of(m), "unchanged", &unchanged) && unchanged);
    free(m);

    p = deploy_params("shop", "this is broken");
    assert_fail(client_call(&ce, "deploy", &p), ISOLA_EMODULE, "it is broken");
    p = deploy_params("Not A Name", "export default 1");
    assert_fail(client_call(&ce, "deploy", &p), ISOLA_EMANIFEST, "");

    /* Two at once, through both: everywhere the same one is current in the end. */
    struct isola_buf args[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        p = deploy_params("shop", i == 0 ? "export default 'e'" : "export default 'w'");
        isola_mp_array(&args[i], 1);
        isola_buf_append(&args[i], p.data, p.len);
        isola_buf_free(&p);
    }
    uint64_t by_east = client_send(&ce, ISOLA_MSG_ASK, "", "deploy", &args[0], 0);
    uint64_t by_west = client_send(&cw, ISOLA_MSG_ASK, "", "deploy", &args[1], 0);
    free(client_answer(&ce, by_east)); /* one of them may have been overtaken and refused */
    free(client_answer(&cw, by_west));
    isola_buf_free(&args[0]);
    isola_buf_free(&args[1]);
    char in_east[80];
    char in_west[80];
    last_release(&ce, "shop ", in_east);
    last_release(&cw, "shop ", in_west);
    assert_string_equal(in_east, in_west);

    /* A late joiner has it before it is ready, and keeps it for its next life. */
    p = deploy_params("mail", "export default 2");
    free(client_call(&cw, "deploy", &p));
    agent_start(&north, "north", "--join", agent_token(&east), NULL);
    agent_wait_ready(&north);
    client_open(&cn, north.socket);
    assert_true(host_knows(&cn, "releases", "shop "));
    assert_true(host_knows(&cn, "releases", "mail "));
    client_close(&cn);
    agent_stop(&north);
    agent_start(&north, "north", NULL);
    agent_wait_ready(&north);
    client_open(&cn, north.socket);
    assert_true(host_knows(&cn, "releases", "mail "));
    /* It comes back by itself. */
    assert_string_equal(node_state(&cn, "east"), "up");
    /* Alone it gets a newer release, and brings it along when the others come back. */
    client_close(&ce);
    client_close(&cw);
    agent_stop(&west);
    agent_stop(&east);
    wait_node_state(&cn, "east", "down");
    wait_node_state(&cn, "west", "down");
    p = deploy_params("mail", "export default 3");
    m = client_call(&cn, "deploy", &p);
    assert_true(isola_mp_find_str(value_of(m), "release", &id));
    snprintf(first, sizeof(first), "mail %.*s", ISOLA_FMT(id));
    free(m);
    agent_start(&east, "east", NULL);
    agent_wait_ready(&east);
    agent_start(&west, "west", NULL);
    agent_wait_ready(&west);
    client_open(&ce, east.socket);
    client_open(&cw, west.socket);
    assert_true(host_knows(&ce, "releases", first));
    assert_true(host_knows(&cw, "releases", first));
    client_close(&cn);
    agent_stop(&north);
    end_two();
}

static void loss_and_return(void **state)
{
    (void)state;
    char listen[80];
    two_agents();
    wait_node_state(&ce, "west", "up");
    snprintf(listen, sizeof(listen), "%s", west.mesh);
    uint64_t start = isola_clock_ms();
    uv_process_kill(&west.process, SIGKILL);
    agent_wait_exit(&west);
    wait_node_state(&ce, "west", "down");
    assert_true(isola_clock_ms() - start < 4000);
    assert_true(host_knows(&ce, "view", ".down..west"));
    WAIT_FOR(cw.down);
    client_close(&cw);

    struct isola_buf p = deploy_params("shop", "export default 1");
    struct isola_msg *m = client_call(&ce, "deploy", &p);
    struct isola_slice list;
    assert_true(isola_mp_find(value_of(m), "later", &list));
    assert_string_equal(printable(list), "..west");
    free(m);

    /* At its old place it is found without being told to join. */
    agent_start(&west, "west", "--listen", listen, NULL);
    agent_wait_ready(&west);
    wait_node_state(&ce, "west", "up");
    assert_int_equal(node_field(&ce, "west", "pid"), west.process.pid);
    client_open(&cw, west.socket);
    wait_node_state(&cw, "east", "up");

    /* One that stands still is down as well, until it goes on. */
    start = isola_clock_ms();
    uv_process_kill(&west.process, SIGSTOP);
    /* A question it does not answer in time names it. */
    m = client_call(&ce, "ps", NULL);
    assert_true(isola_mp_find(value_of(m), "unreachable", &list));
    assert_string_equal(printable(list), "..west");
    assert_true(isola_clock_ms() - start < 3000);
    free(m);
    wait_node_state(&ce, "west", "down");
    assert_true(isola_clock_ms() - start <
                6500); /* each look at `nodes` may itself wait two seconds */
    uv_process_kill(&west.process, SIGCONT);
    wait_node_state(&ce, "west", "up");
    wait_node_state(&cw, "east", "up");
    end_two();
}

static void host_of_a_peer(void **state)
{
    (void)state;
    two_agents();
    wait_node_state(&ce, "west", "up");
    uint64_t pid = host_kill(&ce, "west");
    while (node_field(&ce, "west", "host_pid") == pid || node_field(&ce, "west", "host_pid") == 0)
        free(client_next(&ce, ISOLA_MSG_EVENT)); /* the view tells of each change of its record */
    assert_string_equal(node_state(&ce, "west"), "up");
    end_two();
}

static void logs_of_all(void **state)
{
    (void)state;
    two_agents();
    client_say(&ce, "shop/Counter/a", "in the east");
    client_say(&cw, "shop/Counter/b", "in the west");
    struct isola_buf p = {0};
    isola_mp_map(&p, 1);
    isola_mp_kbool(&p, "follow", true);
    struct isola_msg *m = client_call(&ce, "logs", &p);
    const char *text = printable(value_of(m));
    assert_non_null(strstr(text, "in the east"));
    assert_true(strstr(text, "in the west") > strstr(text, "in the east"));
    free(m);
    client_say(&cw, "shop/Counter/b", "later");
    m = client_next(&ce, ISOLA_MSG_EMIT);
    assert_non_null(strstr(printable(m->args), "later"));
    free(m);

    /* Who joins later is followed as well. */
    agent_start(&north, "north", "--join", agent_token(&east), NULL);
    agent_wait_ready(&north);
    client_open(&cn, north.socket);
    client_say(&cn, "shop/Counter/c", "from the north");
    m = client_next(&ce, ISOLA_MSG_EMIT);
    assert_non_null(strstr(printable(m->args), "from the north"));
    free(m);
    assert_false(client_has(&ce, ISOLA_MSG_EMIT)); /* each line once */
    client_close(&cn);
    agent_stop(&north);
    end_two();
}

static int tcp(const char *url)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    struct timeval limit = {.tv_sec = 60};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void hung_up_on(int fd)
{
    char drop[4096];
    ssize_t n;
    while ((n = recv(fd, drop, sizeof(drop), 0)) > 0)
        continue;
    assert_true(n == 0 || errno == ECONNRESET);
    close(fd);
}

static void hostile_peers(void **state)
{
    (void)state;
    two_agents();
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        {"\xff\xff\xff\xff", 4},
        {"GET / HTTP/1.1\r\n\r\n", 18},
        {"\0\0\0\1\xc1", 5},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = tcp(east.mesh);
        assert_int_equal(send(fd, cases[i].bytes, cases[i].n, MSG_NOSIGNAL), (ssize_t)cases[i].n);
        hung_up_on(fd); /* at once, and the one that says nothing after its time */
    }
    assert_string_equal(node_state(&cw, "east"), "up");
    end_two();
}

static struct isola_node_keys *keys_new(void)
{
    struct isola_node_keys *keys = isola_secret_alloc(sizeof(*keys));
    isola_sign_keys_new(&keys->sign);
    isola_static_keys_new(&keys->fixed);
    return keys;
}

/* Params of `certify`; those of a token that was not given when it is NULL. */
static struct isola_buf request(const struct isola_node_keys *keys, const char *name,
                                const char *text)
{
    struct isola_token token = {0};
    struct isola_buf p = {0};
    struct isola_err err;
    uint8_t signature[64];
    if (text != NULL && isola_token_read(text, &token, &err) != 0)
        fail_msg("%s", err.text);
    struct isola_slice id = isola_slice(token.id, sizeof(token.id));
    isola_request_sign(keys, name, id, signature);
    isola_mp_map(&p, 6);
    isola_mp_cstr(&p, "token");
    isola_mp_bin(&p, id);
    isola_mp_cstr(&p, "secret");
    isola_mp_bin(&p, isola_slice(token.secret, sizeof(token.secret)));
    isola_mp_kstr(&p, "name", name);
    isola_mp_cstr(&p, "key");
    isola_mp_bin(&p, isola_slice(keys->sign.public_key, ISOLA_KEY_SIZE));
    isola_mp_cstr(&p, "static");
    isola_mp_bin(&p, isola_slice(keys->fixed.public_key, ISOLA_KEY_SIZE));
    isola_mp_cstr(&p, "signature");
    isola_mp_bin(&p, isola_slice(signature, sizeof(signature)));
    return p;
}

static void ended(struct client *c)
{
    WAIT_FOR(c->down);
    client_close(c);
}

/* With keys of its own and no certificate, or one that is another cluster's, or not for its keys.
 */
static void strangers(void **state)
{
    (void)state;
    struct isola_node_keys *keys = keys_new(), *others = keys_new();
    struct isola_slice none = isola_slice(NULL, 0);
    struct isola_buf cert = {0}, chain = {0};
    two_agents();
    client_dial(&cn, east.mesh, keys, none);
    assert_true(cn.up);
    client_send(&cn, ISOLA_MSG_ASK, "", "ps", NULL, 0);
    ended(&cn);
    client_dial(&cn, east.mesh, keys, none);
    client_send(&cn, ISOLA_MSG_ASK, "", "join", NULL, 0);
    ended(&cn);
    client_dial(&cn, east.mesh, keys, none);
    struct isola_buf p = request(keys, "south", NULL);
    assert_fail(client_call(&cn, "certify", &p), ISOLA_EPERM, "the token is not known here");
    client_send(&cn, ISOLA_MSG_ASK, "", "certify", NULL, 0); /* once is all */
    ended(&cn);

    /* Where the cluster's key is not, nobody may come without a certificate. */
    client_dial(&cn, west.mesh, keys, none);
    ended(&cn);
    WAIT_FOR(strstr(west.err, "it shows no certificate, and this node, west, has none") != NULL);

    struct isola_identity id = {.name = "south", .serial = 9};
    memcpy(id.node_key, keys->sign.public_key, ISOLA_KEY_SIZE);
    memcpy(id.node_static, keys->fixed.public_key, ISOLA_KEY_SIZE);
    isola_node_certify(&others->sign, &id, &cert);
    isola_chain_write(isola_buf_slice(&cert), none, &chain);
    client_dial(&cn, east.mesh, keys, isola_buf_slice(&chain));
    ended(&cn);
    WAIT_FOR(strstr(east.err, "a certificate of node south in cluster") != NULL);

    /* A true one, of who has other keys. */
    client_dial(&cn, east.mesh, keys, none);
    p = request(keys, "south", agent_token(&east));
    struct isola_msg *m = client_call(&cn, "certify", &p);
    struct isola_slice given;
    assert_true(isola_mp_find_bin(value_of(m), "certificate", &given));
    isola_buf_free(&chain);
    isola_chain_write(given, none, &chain);
    free(m);
    client_close(&cn);
    client_dial(&cn, east.mesh, others, isola_buf_slice(&chain));
    ended(&cn);
    WAIT_FOR(strstr(east.err, "node south, but the key of the channel is another's") != NULL);

    /* A member that does not behave as one. */
    client_dial(&cn, east.mesh, keys, isola_buf_slice(&chain));
    assert_true(cn.up);
    assert_fail(client_call(&cn, "join", NULL), ISOLA_EINVAL, "\"node\" is missing");
    ended(&cn);
    client_dial(&cn, east.mesh, keys, isola_buf_slice(&chain));
    client_send(&cn, ISOLA_MSG_ASK, "", "ps", NULL, 0);
    ended(&cn);
    client_dial(&cn, east.mesh, keys, isola_buf_slice(&chain));
    isola_mp_map(&p, 2);
    isola_mp_kuint(&p, "wire", 77);
    isola_mp_cstr(&p, "node");
    isola_mp_map(&p, 0);
    assert_fail(client_call(&cn, "join", &p), ISOLA_EPROTO, "wire version 77");
    ended(&cn);

    /* Once removed it is told so, and nothing else. */
    isola_mp_map(&p, 1);
    isola_mp_kstr(&p, "node", "south");
    free(client_call(&ce, "remove", &p));
    client_dial(&cn, east.mesh, keys, isola_buf_slice(&chain));
    m = client_next(&cn, ISOLA_MSG_EMIT);
    assert_true(isola_slice_is(m->event, "removed"));
    assert_non_null(strstr(printable(m->args), "south"));
    free(m);
    ended(&cn);
    WAIT_FOR(strstr(east.err, "it is node south, which was removed from the cluster") != NULL);
    WAIT_FOR(strstr(west.err, "node south was removed from the cluster") != NULL);
    client_dial(&cn, west.mesh, keys, isola_buf_slice(&chain));
    ended(&cn);
    WAIT_FOR(strstr(west.err, "it is node south, which was removed from the cluster") != NULL);
    isola_buf_free(&cert);
    isola_buf_free(&chain);
    isola_secret_free(keys);
    isola_secret_free(others);
    assert_string_equal(node_state(&ce, "south"), "");
    assert_string_equal(node_state(&ce, "west"), "up");
    assert_string_equal(node_state(&cw, "east"), "up");
    end_two();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(joining),        TEST(name_collision), TEST(deploying),     TEST(loss_and_return),
        TEST(host_of_a_peer), TEST(logs_of_all),    TEST(hostile_peers), TEST(strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
