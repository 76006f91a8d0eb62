/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor's state is given to the node that the actor lives on now, which has claimed it (claims.c
 * tells all of it). What is no more than a piece is in the answer; of what is more that says how
 * much it is, and pieces.c gives the rest.
 */
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/pieces.h"

struct give {
    struct parcel parcel;
    struct app *app;
    uint64_t id;
    uint64_t link, ask; /* where the answer goes */
    struct isola_buf address, note_key, note_value, taker, value;
    struct isola_kept_rows rows;
    struct note note;
    uint64_t again;
    struct isola_state_req req;
    struct isola_kept_after first; /* what goes in one message, at the most */
    bool pieces;                   /* the claimer takes more than that in pieces */
    uint64_t bytes;                /* that this will be; 0: all of it is here */
    bool have;
    int code;
};

static void run_given(struct app *app, struct parcel *parcel)
{
    struct give *g = (struct give *)parcel;
    struct isola_origin to = {.link = g->link, .id = g->ask};
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    if (!g->have) {
        isola_mp_nil(&args);
    } else {
        bool given = g->note.kind == NOTE_GIVEN;
        isola_mp_map(&args, given || g->bytes > 0 ? 2 : 3);
        isola_mp_kuint(&args, "moves", g->note.moves);
        if (given) {
            isola_mp_cstr(&args, "taker");
            isola_mp_str(&args, isola_buf_slice(&g->note.taker));
        } else if (g->bytes > 0) {
            isola_mp_kuint(&args, "bytes", g->bytes);
        } else {
            isola_mp_cstr(&args, "state");
            isola_mp_bin(&args, isola_buf_slice(&g->value));
            isola_mp_cstr(&args, "kept");
            isola_kept_write(&args, g->rows.row, g->rows.n);
        }
    }
    struct isola_mail *m = g->code == 0
                               ? isola_mail_answer(to, true, isola_buf_slice(&args))
                               : isola_mail_failure(to, g->code, "the state cannot be handed over");
    if (m != NULL)
        conn_answer(app, m);
    isola_buf_free(&args);
    isola_buf_free(&g->address);
    isola_buf_free(&g->note_key);
    isola_buf_free(&g->taker);
    isola_buf_free(&g->note_value);
    isola_buf_free(&g->note.taker);
    isola_buf_free(&g->value);
    isola_kept_free(&g->rows);
    free(g);
}

static void give_back(struct give *g, int code)
{
    g->code = code;
    g->parcel.run = run_given;
    outbox_put(g->app, &g->parcel);
}

static void noted(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    (void)value, (void)why;
    give_back(req->arg, code);
}

static void note_given(struct give *g)
{
    g->note.moves++;
    note_write(&g->note_value, NOTE_GIVEN, g->note.moves, isola_buf_slice(&g->taker));
    g->req =
        (struct isola_state_req){.cb = noted, .arg = g, .address = isola_buf_slice(&g->note_key)};
    isola_state_put(g->app->state, &g->req, isola_buf_slice(&g->note_value));
}

static void give_extent(struct isola_state_req *req, int code, struct isola_slice value,
                        const char *why)
{
    struct give *g = req->arg;
    (void)value, (void)why;
    if (code != 0) {
        give_back(g, code);
        return;
    }
    if (req->nrows > 0)
        g->bytes += isola_kept_to_number(req->rows[0].value);
    note_given(g);
}

static void give_value(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    struct give *g = req->arg;
    (void)why;
    if (code != 0) {
        give_back(g, code == ISOLA_ENOENT ? 0 : code);
        return;
    }
    g->have = true;
    if (g->note.kind == NOTE_GIVEN) {
        give_back(g, 0);
    } else if (g->pieces && (req->more || value.len > PIECE_BYTES)) {
        g->bytes = value.len;
        g->req = (struct isola_state_req){
            .cb = give_extent, .arg = g, .address = isola_buf_slice(&g->address)};
        isola_state_extent(g->app->state, &g->req);
    } else {
        isola_buf_append(&g->value, value.data, value.len);
        isola_kept_copy(&g->rows, req->rows, req->nrows);
        note_given(g);
    }
}

static void give_note(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct give *g = req->arg;
    (void)why;
    int bad = note_read(code, value, &g->note);
    if (bad != 0 || g->note.kind == NOTE_TAKING) { /* what is half taken is still its giver's */
        give_back(g, bad);
        return;
    }
    if (g->note.kind == NOTE_GIVEN && g->note.moves == g->again)
        g->note.kind = NOTE_MINE;
    g->req = (struct isola_state_req){
        .cb = give_value, .arg = g, .address = isola_buf_slice(&g->address)};
    g->first.bytes = PIECE_BYTES;
    if (g->pieces)
        isola_state_piece(g->app->state, &g->req, &g->first);
    else
        isola_state_get_all(g->app->state, &g->req);
}

static void activation_ended(struct give *g)
{
    isola_host_outbox_drop(g->app->host, isola_buf_slice(&g->address));
    g->req = (struct isola_state_req){
        .cb = give_note, .arg = g, .address = isola_buf_slice(&g->note_key)};
    isola_state_get(g->app->state, &g->req);
}

bool claims_giving(const struct app *app, struct isola_slice address)
{
    ISOLA_MAP_EACH(&app->gives, e)
    {
        const struct give *g = e->value;
        if (isola_slice_eq(isola_buf_slice(&g->address), address))
            return true;
    }
    return false;
}

bool claims_given(struct app *app, uint64_t id)
{
    struct give *g = isola_map_del(&app->gives, number_key(&id));
    if (g != NULL)
        activation_ended(g);
    return g != NULL;
}

void claims_asked(struct conn *conn, const struct isola_msg *m)
{
    struct app *app = conn->app;
    struct isola_slice params = {0}, address = {0}, node = {0}, none = {0};
    struct isola_address parts;
    struct isola_err err;
    struct isola_origin to = {.link = conn->number, .id = m->id};
    isola_mp_at(m->args, 0, &params);
    struct isola_mail *refusal = NULL;
    if (!isola_mp_find_str(params, "address", &address) ||
        !isola_mp_find_str(params, "node", &node) || node.len == 0)
        refusal = isola_mail_failure(to, ISOLA_EINVAL, "a claim has an address and a node");
    else if (!isola_slice_is(node, conn->peer->name))
        refusal =
            isola_mail_failure(to, ISOLA_EPERM, "node %s claims for node %.*s", conn->peer->name,
                               (int)(node.len < 64 ? node.len : 64), (const char *)node.data);
    else if (isola_address_parse(address, &parts, &err) != 0)
        refusal = isola_mail_failure(to, ISOLA_EINVAL, "%s", err.text);
    else if (app->shutdown_id != 0)
        refusal = isola_mail_failure(to, ISOLA_EUNREACHABLE, "this node is shutting down");
    else if (peers_locate(app, address) == 0 || claims_taking(app, address) ||
             past_holds(app, address))
        refusal = isola_mail_failure(to, ISOLA_EUNREACHABLE, "by this node's view it lives here");
    struct isola_mail *stop =
        refusal == NULL ? isola_mail_new(ISOLA_MSG_STOP, none, address, none, none, none) : NULL;
    if (stop == NULL) {
        if (refusal != NULL)
            conn_answer(app, refusal);
        return;
    }
    struct give *g = isola_zalloc(sizeof(*g));
    g->app = app;
    g->id = ++app->next_claim;
    g->link = conn->number;
    g->ask = m->id;
    isola_buf_append(&g->address, address.data, address.len);
    note_key(&g->note_key, address);
    isola_buf_append(&g->taker, node.data, node.len);
    (void)isola_mp_find_uint(params, "again", &g->again);
    (void)isola_mp_find_bool(params, "pieces", &g->pieces);
    isola_map_set(&app->gives, number_key(&g->id), g);
    stop->origin.link = GIVE_LINK;
    stop->origin.id = g->id;
    isola_host_stop(app->host, stop);
}
