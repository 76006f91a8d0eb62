/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/agent.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

static void stop(struct isola__agent *agent)
{
    if (agent->state == ISOLA_AGENT_STOPPING)
        return;
    agent->state = ISOLA_AGENT_STOPPING;
    uv_close((uv_handle_t *)&agent->sigterm, NULL);
    uv_close((uv_handle_t *)&agent->sigint, NULL);
    isola_listener_close(agent->control);
    isola_listener_close(agent->socket);
    agent->control = agent->socket = NULL;
    /* The mesh first: peers must not send their actors' messages to a host that is about to end. */
    isola__members_close(&agent->members);
    isola__host_stop(&agent->host);
}

void isola__agent_host_stopped(struct isola__agent *agent)
{
    uv_close((uv_handle_t *)&agent->host.timer, NULL);
    isola__clients_close(&agent->clients);
    isola__asks_close(&agent->asks);
    isola__logs_close(&agent->logs);
}

void isola__agent_start_failed(struct isola__agent *agent, const char *fmt, ...)
{
    if (agent->state == ISOLA_AGENT_STOPPING)
        return;
    struct isola_err err;
    va_list ap;
    va_start(ap, fmt);
    isola_vfail(&err, ISOLA_EINVAL, fmt, ap);
    va_end(ap);
    fprintf(stderr, "node-agent: %s\n", err.text);
    agent->status = 1;
    stop(agent);
}

void isola__agent_check_ready(struct isola__agent *agent)
{
    if (agent->state != ISOLA_AGENT_STARTING || agent->host.state != ISOLA_HOST_READY)
        return;
    struct isola__members *members = &agent->members;
    /* Only now, so that those who take us in learn of a node that is whole. */
    if (agent->opt.join != NULL && !members->joining) {
        isola__members_join(members, agent->opt.join);
        return;
    }
    if (agent->opt.join != NULL &&
        (!members->joined || !isola__members_settled(members) || agent->releases.fetching))
        return;
    if (agent->releases.untold > 0)
        return;
    agent->state = ISOLA_AGENT_READY;
    isola__host_check_open(&agent->host);
    printf("node-agent %s is ready: socket %s, mesh %s\n", agent->opt.name, agent->opt.socket,
           isola_listener_url(agent->control));
    if (fflush(stdout) != 0)
        isola_log(ISOLA_LOG_WARN, "the ready line could not be written to stdout");
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct isola__agent *agent = handle->data;
    isola_log(ISOLA_LOG_INFO, "%s: stopping", number == SIGINT ? "SIGINT" : "SIGTERM");
    stop(agent);
}

/* --- start --- */

/* Absolute, so that the actor-host and the ready line mean the same place. */
static void make_absolute(char **path)
{
    char cwd[4096];
    if ((*path)[0] == '/' || getcwd(cwd, sizeof(cwd)) == NULL)
        return;
    char *whole = isola_format("%s/%s", cwd, *path);
    free(*path);
    *path = whole;
}

/* What may fail before the loop runs, each with its sentence in `err`; undone in reverse by
 * close_resources. */
static int open_resources(struct isola__agent *agent, struct isola_err *err)
{
    int rc = isola_listener_open(&agent->loop, agent->opt.listen, &isola__control_listener_ops,
                                 agent, &agent->control, err);
    if (rc != 0)
        return rc;
    rc = isola_datadir_open(agent->opt.data, &agent->datadir, err);
    if (rc != 0)
        return rc;
    char *url = isola_format("unix:%s", agent->opt.socket);
    rc = isola_listener_open(&agent->loop, url, &isola__clients_listener_ops, agent, &agent->socket,
                             err);
    free(url);
    if (rc != 0)
        return rc;
    char *path = isola_format("%s/catalog.db", agent->opt.data);
    rc = isola_catalog_open(path, &agent->catalog, err);
    free(path);
    if (rc != 0)
        return rc;
    rc = isola__releases_open(&agent->releases, agent, err);
    if (rc != 0)
        return rc;
    return isola__logs_open(&agent->logs, agent, err);
}

static void close_resources(struct isola__agent *agent)
{
    isola__logs_free(&agent->logs);
    isola__releases_free(&agent->releases);
    if (agent->catalog != NULL)
        isola_catalog_close(agent->catalog);
    if (agent->datadir != NULL)
        isola_datadir_close(agent->datadir);
}

static void close_listeners(struct isola__agent *agent)
{
    if (agent->socket != NULL)
        isola_listener_close(agent->socket);
    if (agent->control != NULL)
        isola_listener_close(agent->control);
    isola__logs_close(&agent->logs);
    agent->socket = agent->control = NULL;
}

static void start(struct isola__agent *agent)
{
    uv_loop_t *loop = &agent->loop;
    int rc = uv_signal_init(loop, &agent->sigterm);
    rc = rc ? rc : uv_signal_init(loop, &agent->sigint);
    ISOLA_CHECK(rc == 0);
    agent->sigterm.data = agent->sigint.data = agent;
    rc = uv_signal_start(&agent->sigterm, on_signal, SIGTERM);
    rc = rc ? rc : uv_signal_start(&agent->sigint, on_signal, SIGINT);
    ISOLA_CHECK(rc == 0);
    isola__asks_init(&agent->asks, loop);
    agent->clients.agent = agent;
    isola__members_init(&agent->members, agent);
    isola__host_init(&agent->host, agent);
    isola__host_start(&agent->host);
}

int isola__agent_run(struct isola__options *opt)
{
    struct isola__agent *agent = isola_zalloc(sizeof(*agent));
    struct isola_err err = {0};
    agent->opt = *opt;
    *opt = (struct isola__options){0};
    agent->started_ms = isola_clock_wall_ms();
    make_absolute(&agent->opt.data);
    make_absolute(&agent->opt.socket);
    int rc = uv_loop_init(&agent->loop);
    ISOLA_CHECK(rc == 0);
    if (open_resources(agent, &err) == 0) {
        start(agent);
    } else {
        fprintf(stderr, "node-agent: %s\n", err.text);
        agent->status = 1;
        close_listeners(agent);
    }
    uv_run(&agent->loop, UV_RUN_DEFAULT);
    if (agent->state != ISOLA_AGENT_STARTING) {
        isola__asks_free(&agent->asks);
        isola__host_free(&agent->host);
        isola__members_free(&agent->members);
    }
    close_resources(agent);
    rc = uv_loop_close(&agent->loop);
    if (rc != 0)
        isola_log(ISOLA_LOG_ERROR, "the loop still has handles: %s", uv_strerror(rc));
    int status = agent->status;
    isola__options_free(&agent->opt);
    free(agent);
    return status;
}
