/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor's state follows it when nodes come and go: it is claimed by the node the actor lives on
 * now. What is kept beside it goes with it, in the same steps: "state" below is all of that.
 *
 * Happy path: an activation reads its state here and finds it. If there is none, which the store
 * often knows without looking, and no other node, it starts without; if there are others, it asks
 * them all (`claim`). The one that holds the state ends its own activation, notes
 * that it has given it and to whom, and replies with it; the claimer writes it before the actor
 * starts.
 *
 * A note stands beside a state (notes.h). Each move of a state has a
 * number, one higher than the last, and the note says: this is mine by move n (no note: by move 0);
 * I was taking it in move n; I have given it in move n, to that node. A copy that was given is not
 * used again, but when its taker is there and has no newer move to tell of: it died before it had
 * written what it took. So, of all that the nodes say of an address, the highest number is what
 * counts, however often the state has gone to and fro, and whoever died in the middle of it.
 *
 * Failure modes: while a node is down that would be the actor's place if it were there, or that the
 * last note names, the state cannot be had: the read ends with EUNREACHABLE and a sentence that
 * names the node. A claim that a peer refuses, because its view is older, or that is lost with a
 * link, is made again when the view changes or a moment later, for a bounded time. An activation
 * that had to start without its state ends when the view changes, so that it is looked for again.
 *
 * Invariant: of the nodes that hold a state without a note there is at most one, as long as their
 * views agree.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/notes.h"

#define CLAIM_TIMEOUT_MS 2000
#define TRIES            20
#define RETRY_MS         50

/* --- reading --- */

struct read {
    struct parcel parcel;
    struct app *app;
    struct isola_state_io *io;
    struct isola_state_req req;
    struct isola_buf note_key, note_value;
    struct note note;
    struct isola_buf value; /* what is stored here, then what was taken */
    struct isola_kept_rows rows;
    bool have;
    int code;
    char why[300];
    /* claiming */
    uint64_t id;
    unsigned waiting, tries;
    bool refused, found;
    uint64_t gone_moves;      /* the highest move a peer has told of */
    struct isola_buf gone_to; /* to whom that was; empty: none has */
    int gone_from;            /* the peer's number */
    bool again;               /* to be asked once more when the timer fires or the view changes */
};

static void run_decide(struct app *app, struct parcel *parcel);

static void free_read(struct read *r)
{
    isola_buf_free(&r->note_key);
    isola_buf_free(&r->note_value);
    isola_buf_free(&r->gone_to);
    isola_buf_free(&r->note.taker);
    isola_buf_free(&r->value);
    isola_kept_free(&r->rows);
    free(r);
}

static void finish(struct read *r, int code, const char *why)
{
    r->io->rows = r->rows.row;
    r->io->nrows = code == 0 ? r->rows.n : 0;
    r->io->done(r->io, code, code == 0 ? isola_buf_slice(&r->value) : (struct isola_slice){0}, why);
    free_read(r);
}

static void got_value(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct read *r = req->arg;
    r->code = code;
    if (code == 0 &&
        r->note.kind != NOTE_TAKING) { /* else it may be half of one and half of another move */
        r->have = true;
        isola_buf_append(&r->value, value.data, value.len);
        isola_kept_copy(&r->rows, req->rows, req->nrows);
    }
    if (code != 0 && code != ISOLA_ENOENT)
        finish(r, code, why);
    else if (r->have && r->note.kind == NOTE_MINE)
        finish(r, 0, NULL); /* the usual end: it is here */
    else if (!r->have && r->note.kind == NOTE_MINE && atomic_load(&r->app->alone))
        finish(r, ISOLA_ENOENT, NULL); /* or nowhere */
    else
        outbox_put(r->app, &r->parcel);
}

static void read_value(struct read *r)
{
    r->req = (struct isola_state_req){.cb = got_value, .arg = r, .address = r->io->address};
    isola_state_get_here(r->app->state, &r->req);
}

static void got_note(struct isola_state_req *req, int code, struct isola_slice value,
                     const char *why)
{
    struct read *r = req->arg;
    int bad = note_read(code, value, &r->note);
    if (bad != 0) {
        finish(r, bad, why != NULL ? why : "the note of where its state is cannot be read");
        return;
    }
    read_value(r);
}

void claims_read(void *arg, struct isola_state_io *io)
{
    if (!past_hold(arg, io))
        claims_read_now(arg, io);
}

void claims_read_now(struct app *app, struct isola_state_io *io)
{
    struct read *r = isola_zalloc(sizeof(*r));
    r->app = app;
    r->io = io;
    r->note.kind = NOTE_MINE;
    r->parcel.run = run_decide;
    note_key(&r->note_key, io->address);
    if (isola_state_absent(r->app->state, isola_buf_slice(&r->note_key))) {
        read_value(r);
        return;
    }
    r->req = (struct isola_state_req){
        .cb = got_note, .arg = r, .address = isola_buf_slice(&r->note_key)};
    isola_state_get_here(r->app->state, &r->req);
}

bool claims_absent(void *arg, struct isola_slice address)
{
    struct app *app = arg;
    struct isola_buf note = {0};
    if (!atomic_load(&app->alone) || !isola_state_absent(app->state, address) ||
        past_holds(app, address))
        return false;
    note_key(&note, address);
    bool absent = !note.failed && isola_state_absent(app->state, isola_buf_slice(&note));
    isola_buf_free(&note);
    return absent;
}

/* --- claiming: on the loop --- */

/* The peer of that name; NULL when it is not live. */
static struct peer *live_peer(struct app *app, struct isola_slice name)
{
    for (size_t i = 0; i < app->npeers; i++)
        if (app->peers[i]->live && isola_slice_is(name, app->peers[i]->name))
            return app->peers[i];
    return NULL;
}

static void finish_on_loop(struct read *r, int code, const char *why)
{
    static char any;
    isola_map_del(&r->app->claims, number_key(&r->id));
    if (code == ISOLA_EUNREACHABLE)
        isola_map_set(&r->app->missed, r->io->address, &any);
    finish(r, code, why);
}

/* Taking has three steps, so that a death between any two leaves what the note says true: a note
 * that it is being taken, the state, and a note that it is mine. */
static void taken(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct read *r = req->arg;
    (void)value;
    finish(r, code, why); /* the store's thread: the claim was taken out of the map before */
}

/* The state that is written here is ours, by a move of this number. */
static void settle_here(struct read *r, uint64_t moves)
{
    struct isola_slice none = {0};
    isola_map_del(&r->app->claims, number_key(&r->id));
    note_write(&r->note_value, NOTE_MINE, moves, none);
    r->req =
        (struct isola_state_req){.cb = taken, .arg = r, .address = isola_buf_slice(&r->note_key)};
    isola_state_put(r->app->state, &r->req, isola_buf_slice(&r->note_value));
}

static void run_settle(struct app *app, struct parcel *parcel)
{
    (void)app;
    struct read *r = (struct read *)parcel;
    if (r->code != 0)
        finish_on_loop(r, r->code, r->why);
    else
        settle_here(r, r->note.moves);
}

static void back_to_loop(struct read *r, int code, const char *why)
{
    r->code = code;
    if (code != 0)
        snprintf(r->why, sizeof(r->why), "%s", why != NULL ? why : "");
    r->parcel.run = run_settle;
    outbox_put(r->app, &r->parcel);
}

static void value_kept(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    (void)value;
    back_to_loop(req->arg, code, why);
}

static void taking_noted(struct isola_state_req *req, int code, struct isola_slice value,
                         const char *why)
{
    struct read *r = req->arg;
    (void)value;
    if (code != 0) {
        back_to_loop(r, code, why);
        return;
    }
    r->req = (struct isola_state_req){.cb = value_kept, .arg = r, .address = r->io->address};
    isola_state_write(r->app->state, &r->req,
                      &(struct isola_state_change){.has_value = true,
                                                   .clear = true,
                                                   .value = isola_buf_slice(&r->value),
                                                   .rows = r->rows.row,
                                                   .nrows = r->rows.n});
}

static void take(struct read *r)
{
    struct isola_slice none = {0};
    note_write(&r->note_value, NOTE_TAKING, r->note.moves, none);
    r->req = (struct isola_state_req){
        .cb = taking_noted, .arg = r, .address = isola_buf_slice(&r->note_key)};
    isola_state_put(r->app->state, &r->req, isola_buf_slice(&r->note_value));
}

/* Answers come under this id: which claim, and from which peer. */
#define PEER_BITS 16

/* `again`: the move in which it was given to a node that never got it; 0: none. */
static void ask_peer(struct read *r, struct peer *p, uint64_t again)
{
    struct isola_slice none = {0};
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 3);
    isola_mp_cstr(&args, "address");
    isola_mp_str(&args, r->io->address);
    isola_mp_kstr(&args, "node", r->app->options.node);
    isola_mp_kuint(&args, "again", again);
    struct isola_mail *m = isola_mail_new(ISOLA_MSG_ASK, none, none, isola_slice_str("claim"), none,
                                          isola_buf_slice(&args));
    isola_buf_free(&args);
    if (m == NULL) {
        r->refused = true;
        return;
    }
    m->timeout_ms = CLAIM_TIMEOUT_MS;
    m->origin.link = CLAIM_LINK;
    m->origin.id = r->id << PEER_BITS | (uint64_t)p->number;
    r->waiting++;
    peer_send(p, m);
}

static void begin_asking(struct read *r)
{
    r->waiting = 1; /* the caller's own, so that an answer at once does not end the claim before all
                       are asked */
    r->refused = r->found = false;
}

static void all_asked(struct read *r)
{
    struct isola_mail *done =
        isola_mail_answer((struct isola_origin){.link = CLAIM_LINK, .id = r->id << PEER_BITS}, true,
                          isola_slice("\x91\xc0", 2));
    if (done != NULL)
        claims_answered(r->app, done);
}

static void decide(struct read *r)
{
    struct app *app = r->app;
    uint16_t lost = app->lost[isola_shard(r->io->address)];
    char why[300];
    if (peers_locate(app, r->io->address) != 0) {
        finish_on_loop(r, ISOLA_EUNREACHABLE, "it lives on another node now");
        return;
    }
    if (lost != 0) {
        snprintf(why, sizeof(why), "its state is on node %s, which is down", app->down[lost - 1]);
        finish_on_loop(r, ISOLA_EUNREACHABLE, why);
        return;
    }
    isola_buf_free(&r->gone_to);
    r->gone_moves = 0;
    begin_asking(r);
    for (size_t i = 0; i < app->npeers; i++)
        if (app->peers[i]->live)
            ask_peer(r, app->peers[i], 0);
    all_asked(r);
}

static void run_decide(struct app *app, struct parcel *parcel)
{
    struct read *r = (struct read *)parcel;
    r->id = ++app->next_claim;
    isola_map_set(&app->claims, number_key(&r->id), r);
    decide(r);
}

static void try_waiting(struct app *app);

static void on_retry(uv_timer_t *timer)
{
    try_waiting(timer->data);
}

static void try_again(struct read *r)
{
    if (++r->tries < TRIES) {
        r->again = true;
        if (!uv_is_active((uv_handle_t *)&r->app->claim_retry))
            uv_timer_start(&r->app->claim_retry, on_retry, RETRY_MS, 0);
    } else {
        finish_on_loop(r, ISOLA_EUNREACHABLE,
                       "another node that may hold its state does not answer");
    }
}

/* All copies there are were given: follows the last move. */
static void follow_notes(struct read *r)
{
    struct app *app = r->app;
    char why[300];
    bool mine = r->have && r->note.kind == NOTE_GIVEN && r->note.moves > r->gone_moves;
    struct isola_slice taker = isola_buf_slice(mine ? &r->note.taker : &r->gone_to);
    struct peer *p = mine ? NULL : app->peers[r->gone_from - 1];
    if (!isola_slice_is(taker, app->options.node) && live_peer(app, taker) == NULL) {
        snprintf(why, sizeof(why), "its state went to node %.*s, which is not there",
                 ISOLA_FMT(taker));
        finish_on_loop(r, ISOLA_EUNREACHABLE, why);
    } else if (mine) {
        settle_here(r, r->note.moves + 1);
    } else if (p->live) {
        begin_asking(r);
        ask_peer(r, p, r->gone_moves);
        all_asked(r);
    } else {
        try_again(r);
    }
}

static void concluded(struct read *r)
{
    if (r->found)
        take(r);
    else if (r->refused)
        try_again(r);
    else if (r->gone_to.len > 0 || (r->have && r->note.kind == NOTE_GIVEN))
        follow_notes(r);
    else
        finish_on_loop(r, ISOLA_ENOENT, NULL);
}

/* nil, or {moves, state, kept} or {moves, taker}. */
static void heard(struct read *r, int from, struct isola_slice answer)
{
    struct isola_slice state, kept, taker = {0};
    struct isola_kept_rows rows = {0};
    uint64_t moves;
    if (answer.len == 1 && answer.data[0] == 0xc0)
        return;
    if (!isola_mp_find_uint(answer, "moves", &moves)) {
        r->refused = true;
    } else if (isola_mp_find_bin(answer, "state", &state)) {
        /* The release before this one kept nothing beside it. */
        if (isola_mp_find(answer, "kept", &kept) && !isola_kept_read(kept, &rows)) {
            r->refused = true;
            return;
        }
        isola_kept_free(&r->rows);
        r->rows = rows;
        r->found = r->have = true;
        r->note.moves = moves;
        r->value.len = 0;
        isola_buf_append(&r->value, state.data, state.len);
    } else if (isola_mp_find_str(answer, "taker", &taker) && taker.len > 0 && from > 0 &&
               moves > r->gone_moves) {
        r->gone_moves = moves;
        r->gone_from = from;
        isola_buf_free(&r->gone_to);
        isola_buf_append(&r->gone_to, taker.data, taker.len);
    }
}

static void claim_answered(struct read *r, struct isola_mail *mail)
{
    struct isola_slice value;
    int from = (int)(mail->origin.id & ((1u << PEER_BITS) - 1)); /* 0: all_asked */
    if (mail->kind == ISOLA_MSG_FAIL || !isola_mp_at(mail->args, 0, &value))
        r->refused = true;
    else if (!r->found)
        heard(r, from, value);
    if (--r->waiting == 0)
        concluded(r);
}

/* Activations that had to do without their state end, so that the next message looks for it again.
 */
static void end_missed(struct app *app)
{
    struct isola_slice none = {0};
    ISOLA_MAP_EACH(&app->missed, e)
    {
        struct isola_mail *stop =
            isola_mail_new(ISOLA_MSG_STOP, none, isola_slice(e->key, e->len), none, none, none);
        if (stop != NULL)
            isola_host_stop(app->host, stop);
    }
    isola_map_free(&app->missed);
}

static void try_waiting(struct app *app)
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

void claims_view(struct app *app)
{
    end_missed(app);
    try_waiting(app);
}

int claims_open(struct app *app, struct isola_err *err)
{
    pthread_mutex_init(&app->past_lock, NULL);
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
    struct isola_buf address, note_key, note_value, taker, value;
    struct isola_kept_rows rows;
    struct note note;
    uint64_t again;
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
    if (!g->have) {
        isola_mp_nil(&args);
    } else {
        bool given = g->note.kind == NOTE_GIVEN;
        isola_mp_map(&args, given ? 2 : 3);
        isola_mp_kuint(&args, "moves", g->note.moves);
        isola_mp_cstr(&args, given ? "taker" : "state");
        if (given) {
            isola_mp_str(&args, isola_buf_slice(&g->note.taker));
        } else {
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
        return;
    }
    g->note.moves++;
    isola_buf_append(&g->value, value.data, value.len);
    isola_kept_copy(&g->rows, req->rows, req->nrows);
    note_write(&g->note_value, NOTE_GIVEN, g->note.moves, isola_buf_slice(&g->taker));
    g->req =
        (struct isola_state_req){.cb = noted, .arg = g, .address = isola_buf_slice(&g->note_key)};
    isola_state_put(g->app->state, &g->req, isola_buf_slice(&g->note_value));
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
    isola_state_get_all(g->app->state, &g->req);
}

static void activation_ended(struct give *g)
{
    isola_host_outbox_drop(g->app->host, isola_buf_slice(&g->address));
    g->req = (struct isola_state_req){
        .cb = give_note, .arg = g, .address = isola_buf_slice(&g->note_key)};
    isola_state_get(g->app->state, &g->req);
}

/* What is on its way here may be written at any moment. */
static bool claimed_here(const struct app *app, struct isola_slice address)
{
    ISOLA_MAP_EACH(&app->claims, e)
    {
        const struct read *r = e->value;
        if (isola_slice_eq(r->io->address, address))
            return true;
    }
    return false;
}

bool claims_moving(const struct app *app, struct isola_slice address)
{
    ISOLA_MAP_EACH(&app->gives, e)
    {
        const struct give *g = e->value;
        if (isola_slice_eq(isola_buf_slice(&g->address), address))
            return true;
    }
    return claimed_here(app, address);
}

/* --- what those before us have sent --- */

struct sent {
    struct parcel parcel;
    struct app *app;
    struct isola_state_req req;
    struct isola_buf address, note_key;
    struct isola_kept_rows rows;
    bool here;
};

static void run_sent(struct app *app, struct parcel *parcel)
{
    struct sent *s = (struct sent *)parcel;
    struct isola_slice address = isola_buf_slice(&s->address);
    if (s->here)
        isola_host_outbox_load(app->host, address, s->rows.row, s->rows.n);
    else
        isola_host_outbox_wake(app->host, address);
    isola_buf_free(&s->address);
    isola_buf_free(&s->note_key);
    isola_kept_free(&s->rows);
    free(s);
}

static void sent_read(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct sent *s = req->arg;
    (void)value;
    if (code == 0)
        isola_kept_copy(&s->rows, req->rows, req->nrows);
    else if (code != ISOLA_ENOENT)
        isola_log(ISOLA_LOG_ERROR, "what %.*s has sent cannot be read: %s",
                  ISOLA_FMT(isola_buf_slice(&s->address)), why);
    outbox_put(s->app, &s->parcel);
}

static void sent_noted(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    struct sent *s = req->arg;
    struct note note;
    (void)why;
    int bad = note_read(code, value, &note);
    isola_buf_free(&note.taker);
    s->here = bad == 0 && note.kind == NOTE_MINE;
    if (!s->here) { /* it is elsewhere, or was on its way here: who lives there sends it */
        outbox_put(s->app, &s->parcel);
        return;
    }
    s->req = (struct isola_state_req){
        .cb = sent_read, .arg = s, .address = isola_buf_slice(&s->address)};
    isola_state_get(s->app->state, &s->req);
}

static void outboxes_listed(struct isola_state_req *req, int code, struct isola_slice value,
                            const char *why)
{
    struct app *app = req->arg;
    (void)value;
    if (code != 0)
        isola_log(ISOLA_LOG_ERROR, "what actors have sent cannot be read: %s", why);
    for (size_t i = 0; code == 0 && i < req->nrows; i++) {
        struct sent *s = isola_zalloc(sizeof(*s));
        s->parcel.run = run_sent;
        s->app = app;
        isola_buf_append(&s->address, req->rows[i].peer.data, req->rows[i].peer.len);
        note_key(&s->note_key, isola_buf_slice(&s->address));
        s->req = (struct isola_state_req){
            .cb = sent_noted, .arg = s, .address = isola_buf_slice(&s->note_key)};
        isola_state_get(app->state, &s->req);
    }
}

void claims_outboxes(struct app *app)
{
    app->outboxes = (struct isola_state_req){.cb = outboxes_listed, .arg = app};
    isola_state_outboxes(app->state, &app->outboxes);
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
    else if (peers_locate(app, address) == 0 || claimed_here(app, address) ||
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
    isola_mp_find_uint(params, "again", &g->again);
    isola_map_set(&app->gives, number_key(&g->id), g);
    stop->origin.link = GIVE_LINK;
    stop->origin.id = g->id;
    isola_host_stop(app->host, stop);
}

void claims_answered(struct app *app, struct isola_mail *mail)
{
    if (mail->origin.link == CLAIM_LINK) {
        uint64_t claim = mail->origin.id >> PEER_BITS;
        struct read *r = isola_map_get(&app->claims, number_key(&claim));
        if (r != NULL && r->waiting > 0)
            claim_answered(r, mail);
    } else {
        struct give *g = isola_map_del(&app->gives, number_key(&mail->origin.id));
        if (g != NULL)
            activation_ended(g);
        else
            past_answered(app, mail);
    }
    isola_mail_free(mail);
}
