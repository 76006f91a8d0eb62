/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts the actor-host together: options, state, isolates, workers, peers, agent.
 */
#include "node-agent/actor-host/host_main.h"

#include <signal.h>

#include "actors/arrivals.h"
#include "actors/v8/realm.h"
#include "base/check.h"
#include "base/clock.h"
#include "node-agent/actor-host/app.h"

/* Isolates ready for actors that are yet to begin (actors/spare.c). */
#define SPARES 2

extern const uint8_t isola_runtime_source[], isola_runtime_source_end[];

/* --- state --- */

_Static_assert(sizeof(struct isola_state_req) <= sizeof(((struct isola_state_io *)0)->adapter),
               "a request of the store fits into the io it serves");

static void state_done(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    struct isola_state_io *io = req->arg;
    io->rows = req->rows;
    io->nrows = req->nrows;
    io->done(io, code, value, why);
}

static struct isola_state_req *request(struct isola_state_io *io)
{
    struct isola_state_req *req = (struct isola_state_req *)(void *)io->adapter;
    *req = (struct isola_state_req){.cb = state_done, .arg = io, .address = io->address};
    return req;
}

static void state_write(void *arg, struct isola_state_io *io)
{
    isola_state_write(
        ((struct app *)arg)->state, request(io),
        &(struct isola_state_change){
            .has_value = io->has_value, .value = io->value, .rows = io->rows, .nrows = io->nrows});
}

/* So few are read in the time that waking the store's thread takes. */
#define ROWS_HERE 4

static void state_rows(void *arg, struct isola_state_io *io)
{
    struct isola_state *state = ((struct app *)arg)->state;
    if (io->nrows <= ROWS_HERE)
        isola_state_rows_here(state, request(io), io->rows, io->nrows);
    else
        isola_state_rows(state, request(io), io->rows, io->nrows);
}

static void state_range(void *arg, struct isola_state_io *io)
{
    isola_state_range(((struct app *)arg)->state, request(io), io->range);
}

static void state_due(void *arg, struct isola_state_io *io)
{
    isola_state_due(((struct app *)arg)->state, request(io), io->due);
}

static int state_row(void *arg, struct isola_slice address, const struct isola_kept *wanted,
                     struct isola_buf *out, struct isola_err *err)
{
    return isola_state_row_wait(((struct app *)arg)->state, address, wanted, out, err);
}

/* --- start --- */

static void answer(void *arg, struct isola_mail *mail)
{
    conn_answer(arg, mail);
}

static const struct isola_host_ops host_ops = {
    .locate = peers_locate,
    .forward = peers_forward,
    .send = peers_send,
    .answer = answer,
    .batch = visits_batch,
    .look = visits_look,
    .gate = visits_gate,
    .state_read = claims_read,
    .state_absent = claims_absent,
    .state_write = state_write,
    .state_rows = state_rows,
    .state_range = state_range,
    .state_due = state_due,
    .state_row = state_row,
    .sql = &isola_sql_ops,
    .log = agent_link_log,
    .io = outside_io,
    .prepare = prepare_wish,
    .dead_letter = letters_new,
    .stuck = blame_stuck,
    .lifted = blame_lifted,
    .drained = agent_link_drained,
};

int isola_actor_host_start(int argc, char **argv, uv_loop_t *loop, void *platform,
                           const struct isola_outside *outside, struct app **out,
                           struct isola_err *err)
{
    isola_log_setup("actor-host", ISOLA_LOG_INFO);
    /* A terminal's ^C goes to the whole group: the agent decides when this process ends. */
    signal(SIGINT, SIG_IGN);
    isola_sql_start();
    struct app *app = isola_zalloc(sizeof(*app)); /* lives as long as the process */
    app->loop = loop;
    app->outside = outside;
    *out = app;
    int r = options_parse(argc, argv, &app->options, err);
    if (r != 0)
        return r;
    app->options.node = isola_strdup(app->options.node);
    app->options.data = isola_strdup(app->options.data);
    blame_open(app);
    char *path = isola_format("%s/state.db", app->options.data);
    r = isola_state_open_with(
        path,
        &(struct isola_state_options){.history_ms = app->options.history_ms,
                                      .history_bytes = app->options.history_bytes},
        &app->state, err);
    free(path);
    if (r == 0)
        r = isola_v8_start(platform,
                           isola_slice(isola_runtime_source,
                                       (size_t)(isola_runtime_source_end - isola_runtime_source)),
                           err);
    prepare_open(app);
    if (r == 0)
        r = outbox_open(app, err);
    if (r == 0)
        r = visits_open(&app->visits, loop, err);
    if (r == 0)
        r = claims_open(app, err);
    if (r == 0)
        r = forget_open(app, err);
    if (r == 0)
        r = letters_open(app, err);
    services_open(app);
    if (r == 0)
        r = data_links_open(app, err);
    if (r == 0)
        r = isola_host_start(&host_ops, app, app->options.threads, &app->host, err);
    if (r == 0)
        claims_outboxes(app);
    if (r == 0)
        isola_host_set_memory(app->host, app->options.memory);
    if (r == 0)
        isola_host_set_spares(app->host, SPARES);
    if (r == 0)
        r = agent_link_open(app, err);
    if (r == 0) {
        conn_add(app, &app->agent_conn, app->agent);
        blame_read(app);
    }
    return r;
}
