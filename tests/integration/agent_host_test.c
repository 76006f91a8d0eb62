/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor-host that lives and does not answer: told of, deploys that do not wait for it, its end.
 */
#include "agent_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/msgpack.h"

/* Their memory outlives a test that fails. */
static struct agent east, west;
static struct client client, other;

static void deployed(const char *code)
{
    struct isola_buf params = deploy_params("shop", code);
    struct isola_msg *m = client_call(&client, "deploy", &params);
    (void)value_of(m);
    free(m);
}

static void refused_as_silent(const char *code, uint64_t pid)
{
    struct isola_buf params = deploy_params("shop", code);
    char why[120], what[120];
    snprintf(why, sizeof(why), "the actor-host of node east (pid %d) has not answered for ",
             (int)pid);
    snprintf(what, sizeof(what),
             " s: it is stuck. After 12 s it is ended and another is started; `kill -9 %d` there "
             "does so now",
             (int)pid);
    struct isola_msg *m = client_call(&client, "deploy", &params);
    assert_non_null(strstr(printable(m->args), why));
    assert_fail(m, ISOLA_EUNREACHABLE, what);
}

/* One that nobody has stopped, and one that ignores SIGABRT besides. */
static void host_stuck(void **state)
{
    (void)state;
    char ended[80];
    agent_start(&east, "east", "--host-timeout", "12", NULL);
    agent_start(&west, "west", "--host-timeout", "5", NULL);
    agent_wait_ready(&east);
    agent_wait_ready(&west);
    client_open(&client, east.socket);
    client_open(&other, west.socket);
    deployed("1");
    uint64_t pid = node_field(&client, "east", "host_pid");
    client_send(&other, ISOLA_MSG_ASK, "shop/Counter/a", "deaf", NULL, 0);
    uint64_t lost = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "stall", NULL, 60000);
    /* One that is on the way when it is noticed, and one that comes later. */
    refused_as_silent("2", pid);
    refused_as_silent("3", pid);
    deployed("1"); /* that is there already: nobody has to check it */

    WAIT_FOR(strstr(east.err, "has not answered for 12 s, and was not stopped: it is ended") !=
             NULL);
    assert_fail(client_answer(&client, lost), ISOLA_EUNREACHABLE, "died while it had this request");
    free(client_ask(&client, "shop/Counter/a", "echo")); /* waits for the next one */
    assert_int_not_equal(node_field(&client, "east", "host_pid"), pid);
    snprintf(ended, sizeof(ended), "(pid %d) was ended by signal 6", (int)pid);
    assert_non_null(strstr(east.err, ended));
    deployed("4");

    WAIT_FOR(strstr(west.err, "was ended by signal 9") != NULL);
    assert_non_null(strstr(west.err, "has not answered for 5 s, and was not stopped"));
    free(client_ask(&other, "shop/Counter/a", "echo"));
    client_close(&other);
    agent_stop(&west);
    client_close(&client);
    agent_stop(&east);
}

/* By a debugger, whose user takes their time. (cluster_test.mjs has one that a signal has stopped.)
 */
static void host_stopped(void **state)
{
    (void)state;
    agent_start(&east, "east", "--host-timeout", "4", NULL);
    agent_wait_ready(&east);
    client_open(&client, east.socket);
    pid_t pid = (pid_t)node_field(&client, "east", "host_pid");
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0)
        skip(); /* not allowed here */
    assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
    assert_int_equal(waitpid(pid, NULL, __WALL), pid);
    uint64_t echo = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "echo", NULL, 60000);
    WAIT_FOR(strstr(east.err, "has not answered for 10 s: it is stopped. `kill -CONT ") != NULL);
    assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
    struct isola_msg *m = client_answer(&client, echo);
    (void)value_of(m);
    free(m);
    WAIT_FOR(strstr(east.err, "answers again") != NULL);
    assert_int_equal(node_field(&client, "east", "host_pid"), pid);
    assert_null(strstr(east.err, "it is ended"));
    client_close(&client);
    agent_stop(&east);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(host_stuck),
        TEST(host_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
