/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor's state follows it when nodes come and go: it is claimed by the node the actor lives on now.
 *
 * Happy path: an activation reads its state here and finds it. If it does not, and there are other nodes, it asks them all (`claim`). The one
 * that holds the state ends its own activation, writes a note that it has been taken ("\1" before the address as key, the taker's name as value),
 * and replies with the state; the claimer writes it before the actor starts. A state with such a note is not used again
 * unless every other node says that it has none.
 *
 * Failure modes: while a node is down that would be the actor's place if it were there, or that has taken the state, the state cannot
 * be had: the read ends with EUNREACHABLE and a sentence that names the node. A claim that a peer refuses, because its view is older, or that is lost
 * with a link, is made again when the view changes or a moment later, for a bounded time.
 *
 * Invariant: of the nodes that hold a state without a note there is at most one, as long as their views agree.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"

#define CLAIM_TIMEOUT_MS 2000
#define TRIES            20
#define RETRY_MS         50

/* --- reading --- */

struct read {
    struct parcel parcel;
    struct app *app;
    struct isola_state_io *io;
    struct isola_state_req req;
    struct isola_buf note_key;
    struct isola_buf holder; /* whom the note names; empty: no note */
    struct isola_buf value;  /* what is stored here */
    bool have;
    int code;
    char why[300];
    /* claiming */
    uint64_t id;
    unsigned waiting, tries;
    bool refused, found;
    bool again; /* to be asked once more when the timer fires or the view changes */
};

static void run_decide(struct app *app, struct parcel *parcel);

static void free_read(struct read *r)
{
    isola_buf_free(&r->note_key);
    isola_buf_free(&r->holder);
    isola_buf_free(&r->value);
    free(r);
}

static void finish(struct read *r, int code, const char *why)
{
    r->io->done(r->io, code, code == 0 ? isola_buf_slice(&r->value) : (struct isola_slice){0}, why);
    free_read(r);
}

static void got_value(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct read *r = req->arg;
    r->code = code;
    if (code == 0) {
        r->have = true;
        isola_buf_append(&r->value, value.data, value.len);
    }
    if (code != 0 && code != ISOLA_ENOENT)
        finish(r, code, why);
    else if (r->have && r->holder.len == 0)
        finish(r, 0, NULL); /* the usual end: it is here */
    else
        outbox_put(r->app, &r->parcel);
}

static void got_note(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct read *r = req->arg;
    if (code != 0 && code != ISOLA_ENOENT) {
        finish(r, code, why);
        return;
    }
    if (code == 0)
        isola_buf_append(&r->holder, value.data, value.len);
    r->req = (struct isola_state_req){.cb = got_value, .arg = r, .address = r->io->address};
    isola_state_get(r->app->state, &r->req);
}

static void make_note_key(struct isola_buf *key, struct isola_slice address)
{
    isola_buf_append(key, "\1", 1);
    isola_buf_append(key, address.data, address.len);
}

void claims_read(void *arg, struct isola_state_io *io)
{
    struct read *r = isola_zalloc(sizeof(*r));
    r->app = arg;
    r->io = io;
    r->parcel.run = run_decide;
    make_note_key(&r->note_key, io->address);
    r->req = (struct isola_state_req){.cb = got_note, .arg = r, .address = isola_buf_slice(&r->note_key)};
    isola_state_get(r->app->state, &r->req);
}

/* --- claiming: on the loop --- */

static struct isola_slice id_key(const uint64_t *id)
{
    return isola_slice(id, sizeof(*id));
}

static bool holder_is_live(const struct read *r)
{
    for (size_t i = 0; i < r->app->npeers; i++)
        if (r->app->peers[i]->live && isola_slice_is(isola_buf_slice(&r->holder), r->app->peers[i]->name))
            return true;
    return false;
}

static void finish_on_loop(struct read *r, int code, const char *why)
{
    isola_map_del(&r->app->claims, id_key(&r->id));
    finish(r, code, why);
}

static void note_gone(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct read *r = req->arg;
    (void)value;
    finish(r, code, why); /* the store's thread: the claim was taken out of the map before */
}

/* The state is ours from now on. */
static void settle_here(struct read *r)
{
    isola_map_del(&r->app->claims, id_key(&r->id));
    if (r->holder.len == 0) {
        finish(r, 0, NULL);
        return;
    }
    r->req = (struct isola_state_req){.cb = note_gone, .arg = r, .address = isola_buf_slice(&r->note_key)};
    isola_state_del(r->app->state, &r->req);
}

static void run_settle(struct app *app, struct parcel *parcel)
{
    (void)app;
    struct read *r = (struct read *)parcel;
    if (r->code != 0)
        finish_on_loop(r, r->code, r->why);
    else
        settle_here(r);
}

static void value_kept(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct read *r = req->arg;
    (void)value;
    r->code = code;
    if (code != 0)
        snprintf(r->why, sizeof(r->why), "%s", why != NULL ? why : "");
    r->parcel.run = run_settle;
    outbox_put(r->app, &r->parcel);
}

static void ask_peer(struct read *r, struct peer *p)
{
    struct isola_slice none = {0};
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 2);
    isola_mp_cstr(&args, "address");
    isola_mp_str(&args, r->io->address);
    isola_mp_kstr(&args, "node", r->app->options.node);
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_ASK, none, none, isola_slice_str("claim"), none, isola_buf_slice(&args));
    isola_buf_free(&args);
    if (m == NULL)
        return;
    m->timeout_ms = CLAIM_TIMEOUT_MS;
    m->origin.link = CLAIM_LINK;
    m->origin.id = r->id;
    r->waiting++;
    peer_send(p, m);
}

static void decide(struct read *r)
{
    struct app *app = r->app;
    uint16_t lost = app->lost[isola_place_shard(r->io->address)];
    char why[300];
    if (lost != 0) {
        snprintf(why, sizeof(why), "its state is on node %s, which is down", app->down[lost - 1]);
        finish_on_loop(r, ISOLA_EUNREACHABLE, why);
        return;
    }
    r->waiting = 1; /* this function's own, so that an answer at once does not end the claim before all are asked */
    r->refused = r->found = false;
    for (size_t i = 0; i < app->npeers; i++)
        if (app->peers[i]->live)
            ask_peer(r, app->peers[i]);
    struct isola_mail *done = isola_mail_answer((struct isola_origin){.link = CLAIM_LINK, .id = r->id}, true,
                                                isola_slice("\x91\xc0", 2));
    if (done != NULL)
        claims_answered(app, done);
}

static void run_decide(struct app *app, struct parcel *parcel)
{
    struct read *r = (struct read *)parcel;
    r->id = ++app->next_claim;
    isola_map_set(&app->claims, id_key(&r->id), r);
    decide(r);
}

static void on_retry(uv_timer_t *timer)
{
    claims_view(timer->data);
}

static void concluded(struct read *r)
{
    char why[300];
    if (r->found) {
        r->req = (struct isola_state_req){.cb = value_kept, .arg = r, .address = r->io->address};
        isola_state_put(r->app->state, &r->req, isola_buf_slice(&r->value));
    } else if (r->refused) {
        if (++r->tries < TRIES) {
            r->again = true;
            if (!uv_is_active((uv_handle_t *)&r->app->claim_retry))
                uv_timer_start(&r->app->claim_retry, on_retry, RETRY_MS, 0);
        } else {
            finish_on_loop(r, ISOLA_EUNREACHABLE, "another node that may hold its state does not answer");
        }
    } else if (r->holder.len > 0 && !holder_is_live(r)) {
        snprintf(why, sizeof(why), "its state went to node %.*s, which is not there", ISOLA_FMT(isola_buf_slice(&r->holder)));
        finish_on_loop(r, ISOLA_EUNREACHABLE, why);
    } else if (r->have) {
        settle_here(r); /* offered once, but never taken */
    } else {
        finish_on_loop(r, ISOLA_ENOENT, NULL);
    }
}

static void claim_answered(struct read *r, struct isola_mail *mail)
{
    struct isola_slice value;
    struct isola_mp_item item;
    if (mail->kind == ISOLA_MSG_FAIL) {
        r->refused = true;
    } else if (isola_mp_at(mail->args, 0, &value)) {
        struct isola_mp_reader reader = isola_mp_reader(value);
        if (isola_mp_next(&reader, &item) == 0 && item.type == ISOLA_MP_BIN && !r->found) {
            r->found = r->have = true;
            r->value.len = 0;
            isola_buf_append(&r->value, item.bytes.data, item.bytes.len);
        }
    }
    if (--r->waiting == 0)
        concluded(r);
}

void claims_view(struct app *app)
{
    bool more;
    do { /* a decision may take its claim out of the map */
        more = false;
        ISOLA_MAP_EACH(&app->claims, e)
        {
            struct read *r = e->value;
            if (!r->again)
                continue;
            r->again = false;
            decide(r);
            more = true;
            break;
        }
    } while (more);
}

int claims_open(struct app *app, struct isola_err *err)
{
    int r = uv_timer_init(app->loop, &app->claim_retry);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot make a timer: %s", uv_strerror(r));
    app->claim_retry.data = app;
    return 0;
}

/* --- giving --- */

struct give {
    struct parcel parcel;
    struct app *app;
    uint64_t id;
    uint64_t link, ask; /* where the answer goes */
    struct isola_buf address, note_key, taker, value;
    struct isola_state_req req;
    bool have;
    int code;
};

static void run_given(struct app *app, struct parcel *parcel)
{
    struct give *g = (struct give *)parcel;
    struct isola_origin to = {.link = g->link, .id = g->ask};
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    if (g->have)
        isola_mp_bin(&args, isola_buf_slice(&g->value));
    else
        isola_mp_nil(&args);
    struct isola_mail *m = g->code == 0 ? isola_mail_answer(to, true, isola_buf_slice(&args))
                                        : isola_mail_failure(to, g->code, "the state cannot be handed over");
    if (m != NULL)
        conn_answer(app, m);
    isola_buf_free(&args);
    isola_buf_free(&g->address);
    isola_buf_free(&g->note_key);
    isola_buf_free(&g->taker);
    isola_buf_free(&g->value);
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

static void give_value(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct give *g = req->arg;
    (void)why;
    if (code != 0) {
        give_back(g, code == ISOLA_ENOENT ? 0 : code);
        return;
    }
    g->have = true;
    isola_buf_append(&g->value, value.data, value.len);
    g->req = (struct isola_state_req){.cb = noted, .arg = g, .address = isola_buf_slice(&g->note_key)};
    isola_state_put(g->app->state, &g->req, isola_buf_slice(&g->taker));
}

static void give_note(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct give *g = req->arg;
    (void)why;
    /* Somebody else has taken it since: it is not ours to give. The same node may ask again: it never got it. */
    if (code == 0 && !isola_slice_eq(value, isola_buf_slice(&g->taker))) {
        give_back(g, 0);
        return;
    }
    g->req = (struct isola_state_req){.cb = give_value, .arg = g, .address = isola_buf_slice(&g->address)};
    isola_state_get(g->app->state, &g->req);
}

static void activation_ended(struct give *g)
{
    g->req = (struct isola_state_req){.cb = give_note, .arg = g, .address = isola_buf_slice(&g->note_key)};
    isola_state_get(g->app->state, &g->req);
}

void claims_asked(struct conn *conn, const struct isola_msg *m)
{
    struct app *app = conn->app;
    struct isola_slice params = {0}, address = {0}, node = {0}, none = {0};
    struct isola_origin to = {.link = conn->number, .id = m->id};
    isola_mp_at(m->args, 0, &params);
    struct isola_mail *refusal = NULL;
    if (!isola_mp_find_str(params, "address", &address) || !isola_mp_find_str(params, "node", &node) || node.len == 0)
        refusal = isola_mail_failure(to, ISOLA_EINVAL, "a claim has an address and a node");
    else if (peers_locate(app, address) == 0)
        refusal = isola_mail_failure(to, ISOLA_EUNREACHABLE, "by this node's view it lives here");
    struct isola_mail *stop = refusal == NULL ? isola_mail_new(ISOLA_MSG_STOP, none, address, none, none, none) : NULL;
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
    make_note_key(&g->note_key, address);
    isola_buf_append(&g->taker, node.data, node.len);
    isola_map_set(&app->gives, id_key(&g->id), g);
    stop->origin.link = GIVE_LINK;
    stop->origin.id = g->id;
    isola_host_stop(app->host, stop);
}

void claims_answered(struct app *app, struct isola_mail *mail)
{
    if (mail->origin.link == CLAIM_LINK) {
        struct read *r = isola_map_get(&app->claims, id_key(&mail->origin.id));
        if (r != NULL && r->waiting > 0)
            claim_answered(r, mail);
    } else {
        struct give *g = isola_map_del(&app->gives, id_key(&mail->origin.id));
        if (g != NULL)
            activation_ended(g);
    }
    isola_mail_free(mail);
}
