/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/agent.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"

static void stop(struct isola__agent *agent)
{
    if (agent->state == ISOLA_AGENT_STOPPING)
        return;
    agent->state = ISOLA_AGENT_STOPPING;
    isola__notify_changed(&agent->notify);
    isola__deploys_begin(&agent->deploys);
    uv_close((uv_handle_t *)&agent->sigterm, NULL);
    uv_close((uv_handle_t *)&agent->sigint, NULL);
    isola__enter_close(&agent->enter);
    if (agent->control != NULL)
        isola_listener_close(agent->control);
    isola_listener_close(agent->socket);
    agent->control = agent->socket = NULL;
    /* The mesh first: peers must not send their actors' messages to a host that is about to end. */
    isola__members_close(&agent->members);
    /* And what may talk to actors before these. */
    isola__services_stop(&agent->services);
    if (agent->services.places == 0)
        isola__agent_services_stopped(agent);
}

void isola__agent_services_stopped(struct isola__agent *agent)
{
    if (agent->state == ISOLA_AGENT_STOPPING)
        isola__host_stop(&agent->host);
}

void isola__agent_host_stopped(struct isola__agent *agent)
{
    uv_close((uv_handle_t *)&agent->host.timer, NULL);
    isola__clients_close(&agent->clients);
    isola__asks_close(&agent->asks);
    isola__services_close(&agent->services);
    isola__logs_close(&agent->logs);
    isola__notify_close(&agent->notify);
    isola__rollouts_close(&agent->rollouts);
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
    if (agent->cluster.member) {
        if (agent->host.url == NULL)
            return; /* its listener is not there yet */
        /* Only now, so that others learn of a node that is whole. */
        if (!members->begun)
            isola__members_begin(members);
        if (!isola__members_settled(members) || agent->releases.fetching)
            return;
    }
    if (agent->releases.untold > 0)
        return;
    agent->state = ISOLA_AGENT_READY;
    isola__host_check_open(&agent->host);
    isola__services_begin(&agent->services);
    isola__deploys_begin(&agent->deploys);
    printf("node-agent %s is ready: socket %s%s%s\n", agent->opt.name, agent->opt.socket,
           agent->url != NULL ? ", mesh " : "", agent->url != NULL ? agent->url : "");
    if (fflush(stdout) != 0)
        isola_log(ISOLA_LOG_WARN, "the ready line could not be written to stdout");
    isola__notify_changed(&agent->notify);
    char url[ISOLA_TCP_URL];
    isola_tcp_format(&agent->opt.listen, url);
    if (!agent->cluster.member && agent->opt.listen.port != 0)
        isola_log(ISOLA_LOG_INFO,
                  "node %s is in no cluster, so it does not listen on %s yet: `ctl init` makes one "
                  "of it, --join TOKEN lets it into another",
                  agent->opt.name, url);
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
    char *whole = isola_path_absolute(*path);
    if (whole == NULL)
        return;
    free(*path);
    *path = whole;
}

/* A node has one name, and is in one cluster, for as long as its data directory says so. */
static int open_cluster(struct isola__agent *agent, struct isola_err *err)
{
    struct isola__cluster *c = &agent->cluster;
    struct isola__options *opt = &agent->opt;
    char when[ISOLA_DATE_SIZE], other[ISOLA_CLUSTER_ID];
    int rc = isola__cluster_open(c, opt->data, err);
    if (rc != 0 || !c->member)
        return rc;
    if (opt->named && strcmp(opt->name, c->own.name) != 0)
        return isola_fail(err, ISOLA_EEXIST,
                          "the data directory %s is that of node %s in cluster %s; start it with "
                          "--name %s, or another with a --data of its own",
                          opt->data, c->own.name, c->name, c->own.name);
    const struct isola_removal *gone = isola__cluster_removed(c);
    if (gone != NULL)
        return isola_fail(err, ISOLA_EPERM,
                          "node %s was removed from cluster %s (%s); to start it as a new node, "
                          "give it another --data, or move %s away",
                          c->own.name, c->name, isola_identity_date(gone->removed_ms, when),
                          c->dir);
    if (opt->token != NULL && memcmp(opt->token->cluster_key, c->key, ISOLA_KEY_SIZE) != 0) {
        isola_cluster_id(opt->token->cluster_key, other);
        return isola_fail(err, ISOLA_EEXIST,
                          "the data directory %s is that of node %s in cluster %s (%s), and the "
                          "token is for cluster %s; give that node a --data of its own, or move %s "
                          "away to leave the first cluster",
                          opt->data, c->own.name, c->name, c->id, other, c->dir);
    }
    if (opt->token != NULL)
        isola_log(ISOLA_LOG_INFO, "node %s is in cluster %s already; --join is not needed",
                  c->own.name, c->name);
    free(opt->name);
    opt->name = isola_strdup(c->own.name);
    return 0;
}

/* What may fail before the loop runs, each with its sentence in `err`; undone in reverse by
 * close_resources. */
static int open_resources(struct isola__agent *agent, struct isola_err *err)
{
    int rc = isola_datadir_open(agent->opt.data, &agent->datadir, err);
    if (rc != 0)
        return rc;
    rc = open_cluster(agent, err);
    if (rc != 0)
        return rc;
    char *url = isola_format("unix:%s", agent->opt.socket);
    rc = isola_listener_open(&agent->loop, url, NULL, &isola__clients_listener_ops, agent,
                             &agent->socket, err);
    free(url);
    if (rc == 0 && agent->opt.socket_group != NULL)
        rc = isola_listener_admit_group(agent->socket, agent->opt.socket_gid, err);
    if (rc != 0)
        return rc;
    char *path = isola_format("%s/catalog.db", agent->opt.data);
    rc = isola_catalog_open(path, &agent->catalog, err);
    free(path);
    if (rc != 0)
        return rc;
    rc = isola__packages_open(&agent->packages, agent, err);
    if (rc != 0)
        return rc;
    rc = isola__releases_open(&agent->releases, agent, err);
    if (rc != 0)
        return rc;
    rc = isola__gone_open(&agent->gone, agent, err);
    if (rc != 0)
        return rc;
    rc = isola__secrets_open(&agent->secrets, agent, err);
    if (rc != 0)
        return rc;
    return isola__logs_open(&agent->logs, agent, err);
}

static void close_resources(struct isola__agent *agent)
{
    free(agent->url);
    isola__cluster_free(&agent->cluster);
    isola__logs_free(&agent->logs);
    isola__secrets_free(&agent->secrets);
    isola__rollouts_free(&agent->rollouts);
    isola__gone_free(&agent->gone);
    isola__releases_free(&agent->releases);
    isola__packages_close(&agent->packages);
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

/* --- the network --- */

void isola__agent_advertised(const struct isola__agent *agent, const char *url, bool control,
                             char out[ISOLA_TCP_URL])
{
    const struct isola_tcp *advertise = &agent->opt.advertise;
    struct isola_tcp at;
    ISOLA_CHECK(isola_tcp_parse(url, &at));
    if (advertise->host[0] != '\0')
        memcpy(at.host, advertise->host, sizeof(at.host));
    if (control && advertise->port != 0)
        at.port = advertise->port;
    isola_tcp_format(&at, out);
}

/* A free port is that of the last time if it can be: others remember it. */
static int listen_for_nodes(struct isola__agent *agent, struct isola_err *err)
{
    struct isola_tcp at = agent->opt.listen;
    char url[ISOLA_TCP_URL];
    int rc = ISOLA_EBUSY;
    isola__security_set(agent);
    if (at.port == 0 && agent->members.last_port != 0) {
        at.port = agent->members.last_port;
        isola_tcp_format(&at, url);
        rc = isola_listener_open(&agent->loop, url, &agent->security.listening,
                                 &isola__control_listener_ops, agent, &agent->control, err);
    }
    if (rc != 0) {
        isola_tcp_format(&agent->opt.listen, url);
        rc = isola_listener_open(&agent->loop, url, &agent->security.listening,
                                 &isola__control_listener_ops, agent, &agent->control, err);
    }
    if (rc != 0)
        return rc;
    isola__agent_advertised(agent, isola_listener_url(agent->control), true, url);
    agent->url = isola_strdup(url);
    if (isola_tcp_parse(isola_listener_url(agent->control), &at))
        agent->members.last_port = at.port;
    return 0;
}

static void stop_listening(struct isola__agent *agent)
{
    isola_listener_close(agent->control);
    agent->control = NULL;
    free(agent->url);
    agent->url = NULL;
}

int isola__agent_found(struct isola__agent *agent, const char *name, struct isola_err *err)
{
    const struct isola__cluster *c = &agent->cluster;
    if (c->member)
        return isola_fail(err, ISOLA_EEXIST, "node %s is in a cluster already: %s (%s)",
                          agent->opt.name, c->name, c->id);
    int rc = isola__cluster_make_keys(&agent->cluster, err);
    if (rc == 0)
        rc = listen_for_nodes(agent, err); /* a port that is taken is no reason for a cluster */
    if (rc != 0)
        return rc;
    rc = isola__cluster_found(&agent->cluster, name, agent->opt.name, err);
    if (rc != 0) {
        stop_listening(agent);
        return rc;
    }
    isola__security_set(agent); /* before anybody that has dialled since is looked at */
    isola_log(ISOLA_LOG_INFO, "node %s is the first of cluster %s (%s) and listens on %s",
              agent->opt.name, c->name, c->id, agent->url);
    isola__members_keep(&agent->members);
    isola__members_begin(&agent->members);
    isola__host_credentials(&agent->host);
    return 0;
}

static void begin(struct isola__agent *agent)
{
    struct isola_err err;
    if (agent->cluster.member && listen_for_nodes(agent, &err) != 0) {
        isola__agent_start_failed(agent, "%s", err.text);
        return;
    }
    if (agent->cluster.member)
        isola__members_keep(&agent->members);
    isola__host_start(&agent->host);
}

void isola__agent_entered(struct isola__agent *agent)
{
    const struct isola__cluster *c = &agent->cluster;
    isola_log(ISOLA_LOG_INFO, "node %s is a member of cluster %s (%s) from now on", c->own.name,
              c->name, c->id);
    begin(agent);
}

void isola__agent_removed(struct isola__agent *agent)
{
    const struct isola__cluster *c = &agent->cluster;
    isola_log(ISOLA_LOG_ERROR,
              "this node, %s, was removed from cluster %s: its actors end, and nothing is served "
              "any more. Stop it; to start it as a new node, give it another --data, or move %s "
              "away",
              c->own.name, c->name, c->dir);
    if (agent->control != NULL)
        isola_listener_close(agent->control);
    agent->control = NULL;
    isola__members_bury_all(&agent->members);
    isola__services_stop(&agent->services);
    isola__host_retire(&agent->host);
    isola__notify_changed(&agent->notify);
    if (agent->state == ISOLA_AGENT_STARTING)
        isola__agent_start_failed(agent, "node %s was removed from cluster %s", c->own.name,
                                  c->name);
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
    isola__services_init(&agent->services, agent);
    isola__rollouts_init(&agent->rollouts, agent);
    agent->clients.agent = agent;
    isola__members_init(&agent->members, agent);
    isola__host_init(&agent->host, agent);
    isola__members_load(&agent->members);
    isola__notify_open(&agent->notify, agent);
    if (agent->opt.token != NULL && !agent->cluster.member)
        isola__enter(agent);
    else
        begin(agent);
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
        isola_map_free(&agent->clients.programs);
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
