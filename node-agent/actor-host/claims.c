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
#include "node-agent/actor-host/pieces.h"

#define CLAIM_TIMEOUT_MS 2000
#define TRIES            20
#define RETRY_MS         50
/* Answers come under this id: which claim, and from which peer; or that it is a piece. */
#define PEER_BITS   16
#define PEER_MASK   ((1u << PEER_BITS) - 1)
#define PEER_PULLED PEER_MASK
_Static_assert(ISOLA_PEERS_MAX < PEER_PULLED, "no peer has that number");

static const char MOVED[] = "it lives on another node now";
static const char ENDING[] = "this node is shutting down";

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
    int from;       /* the peer's number whose state it is; 0: not known */
    uint64_t total; /* bytes of it, which comes in pieces; 0: it has come whole */
    bool pulls;     /* it is coming so */
    struct pull pull;
    uint64_t gone_moves;      /* the highest move a peer has told of */
    struct isola_buf gone_to; /* to whom that was; empty: none has */
    int gone_from;            /* the peer's number */
    bool again;               /* to be asked once more when the timer fires or the view changes */
    bool anew;                /* nothing is left of it */
};

static void run_decide(struct app *app, struct parcel *parcel);
static void run_pull(struct app *app, struct parcel *parcel);
static void try_again(struct read *r);

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
    char text[300] = "";
    (void)value;
    if (code != 0)
        pieces_unwritten(text, why);
    /* the store's thread: the claim was taken out of the map before */
    finish(r, code == 0 && r->anew ? ISOLA_ENOENT : code, text);
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
        pieces_unwritten(r->why, why);
    r->parcel.run = run_settle;
    outbox_put(r->app, &r->parcel);
}

static void value_kept(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    (void)value;
    back_to_loop(req->arg, code, why);
}

static void pulled(struct pull *p, int code, const char *why)
{
    struct read *r = (struct read *)(void *)((char *)p - offsetof(struct read, pull));
    if (code == 0) {
        settle_here(r, r->note.moves);
        return;
    }
    r->value.len = 0;
    isola_kept_free(&r->rows);
    r->pulls = r->have = false;
    if (code == ISOLA_ENOENT) {
        isola_map_del(&r->app->claims, number_key(&r->id)); /* answers may still come */
        r->id = ++r->app->next_claim;
        isola_map_set(&r->app->claims, number_key(&r->id), r);
        try_again(r);
    } else {
        isola_log(ISOLA_LOG_WARN, "the state of %.*s has not come whole: %s",
                  ISOLA_FMT(r->io->address), why);
        finish_on_loop(r, code, why);
    }
}

static void set_up_pull(struct read *r)
{
    r->pulls = true;
    r->pull = (struct pull){.app = r->app,
                            .address = r->io->address,
                            .from = r->app->peers[r->from - 1],
                            .id = r->id << PEER_BITS | PEER_PULLED,
                            .moves = r->note.moves,
                            .total = r->total,
                            .state = &r->value,
                            .rows = &r->rows,
                            .done = pulled};
}

static void run_pull(struct app *app, struct parcel *parcel)
{
    struct read *r = (struct read *)parcel;
    if (app->shutdown_id != 0) {
        finish_on_loop(r, ISOLA_EUNREACHABLE, ENDING);
    } else if (peers_locate(app, r->io->address) != 0) {
        finish_on_loop(r, ISOLA_EUNREACHABLE, MOVED);
    } else if (!app->peers[r->from - 1]->live) {
        try_again(r);
    } else {
        set_up_pull(r);
        pull_begin(&r->pull);
    }
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
    if (r->total > 0) {
        r->parcel.run = run_pull;
        outbox_put(r->app, &r->parcel);
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
    r->note.kind = NOTE_TAKING;
    r->note.taker.len = 0;
    isola_buf_puts(&r->note.taker, r->app->peers[r->from - 1]->name);
    note_write(&r->note_value, NOTE_TAKING, r->note.moves, isola_buf_slice(&r->note.taker));
    r->req = (struct isola_state_req){
        .cb = taking_noted, .arg = r, .address = isola_buf_slice(&r->note_key)};
    isola_state_put(r->app->state, &r->req, isola_buf_slice(&r->note_value));
}

/* `again`: the move in which it was given to a node that never got it; 0: none. */
static void ask_peer(struct read *r, struct peer *p, uint64_t again)
{
    struct isola_slice none = {0};
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 4);
    isola_mp_cstr(&args, "address");
    isola_mp_str(&args, r->io->address);
    isola_mp_kstr(&args, "node", r->app->options.node);
    isola_mp_kuint(&args, "again", again);
    isola_mp_kbool(&args, "pieces", true);
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
        finish_on_loop(r, ISOLA_EUNREACHABLE, MOVED);
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

/* A move that was begun by a process before this one: what has come is on disk. */
static bool resumes(struct read *r)
{
    struct app *app = r->app;
    struct isola_slice from;
    const struct peer *p = pull_noted(&r->note, &from, &r->total) ? live_peer(app, from) : NULL;
    if (p == NULL || peers_locate(app, r->io->address) != 0)
        return false;
    r->from = p->number;
    set_up_pull(r);
    pull_resume(&r->pull);
    return true;
}

static void run_decide(struct app *app, struct parcel *parcel)
{
    struct read *r = (struct read *)parcel;
    r->id = ++app->next_claim;
    isola_map_set(&app->claims, number_key(&r->id), r);
    if (!resumes(r))
        decide(r);
}

static void try_waiting(struct app *app);

static void on_retry(uv_timer_t *timer)
{
    try_waiting(timer->data);
}

void claims_retry(struct app *app)
{
    if (!uv_is_active((uv_handle_t *)&app->claim_retry))
        uv_timer_start(&app->claim_retry, on_retry, RETRY_MS, 0);
}

static void try_again(struct read *r)
{
    if (++r->tries < TRIES) {
        r->again = true;
        claims_retry(r->app);
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

/* What was noted as being taken has gone with its giver: it begins with nothing. */
static void cleared(struct isola_state_req *req, int code, struct isola_slice value,
                    const char *why)
{
    (void)value;
    back_to_loop(req->arg, code, why);
}

static void begin_anew(struct read *r)
{
    r->anew = true;
    r->req = (struct isola_state_req){.cb = cleared, .arg = r, .address = r->io->address};
    isola_state_del(r->app->state, &r->req);
}

/* No node that is there has it, and it was on its way here when this process, or one before it,
 * lost sight of it: from a node that is down, perhaps. */
static void miss_giver(struct read *r)
{
    const struct app *app = r->app;
    struct isola_slice from;
    uint64_t total;
    (void)pull_noted(&r->note, &from, &total);
    for (size_t i = 0; i < app->ndown; i++) {
        char why[300];
        if (from.len > 0 && !isola_slice_is(from, app->down[i]))
            continue;
        snprintf(why, sizeof(why), "its state was on its way here from node %s, which is down",
                 app->down[i]);
        finish_on_loop(r, ISOLA_EUNREACHABLE, why);
        return;
    }
    begin_anew(r);
}

static void concluded(struct read *r)
{
    if (r->found)
        take(r);
    else if (r->refused)
        try_again(r);
    else if (r->gone_to.len > 0 || (r->have && r->note.kind == NOTE_GIVEN))
        follow_notes(r);
    else if (r->note.kind == NOTE_TAKING)
        miss_giver(r);
    else
        finish_on_loop(r, ISOLA_ENOENT, NULL);
}

/* nil, or {moves, state, kept}, {moves, bytes} or {moves, taker}. */
static void heard(struct read *r, int from, struct isola_slice answer)
{
    struct isola_slice state, kept, taker = {0};
    struct isola_kept_rows rows = {0};
    uint64_t moves, total;
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
        r->from = from;
        r->note.moves = moves;
        r->total = r->value.len = 0;
        isola_buf_append(&r->value, state.data, state.len);
    } else if (isola_mp_find_uint(answer, "bytes", &total) && total > 0 && total <= INT64_MAX) {
        r->found = r->have = true;
        r->from = from;
        r->note.moves = moves;
        r->total = total;
        r->value.len = 0;
        isola_kept_free(&r->rows);
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
    int from = (int)(mail->origin.id & PEER_MASK); /* 0: all_asked */
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

/* Does `fn` with each claim for which it returns true, once: it may take that out of the map. */
static void with_each(struct app *app, bool (*fn)(struct read *r))
{
    bool more;
    do {
        more = false;
        ISOLA_MAP_EACH(&app->claims, e)
        {
            if (!fn(e->value))
                continue;
            more = true;
            break;
        }
    } while (more);
}

static bool do_again(struct read *r)
{
    bool again = r->again;
    r->again = false;
    if (again)
        decide(r);
    if (!again && r->pulls)
        pull_retry(&r->pull);
    return again;
}

static void try_waiting(struct app *app)
{
    with_each(app, do_again);
}

/* What comes here in pieces: does the actor still live here, and is the giver still there? */
static bool misplaced(struct read *r)
{
    if (!r->pulls || r->pull.ended)
        return false;
    if (peers_locate(r->app, r->io->address) != 0)
        pull_end(&r->pull, ISOLA_EUNREACHABLE, MOVED);
    else if (!r->pull.from->live)
        pull_end(&r->pull, ISOLA_ENOENT, "");
    else
        return false;
    return true;
}

static bool ends(struct read *r)
{
    if (!r->pulls || r->pull.ended)
        return false;
    pull_end(&r->pull, ISOLA_EUNREACHABLE, ENDING);
    return true;
}

void claims_end(struct app *app)
{
    with_each(app, ends);
}

void claims_view(struct app *app)
{
    end_missed(app);
    with_each(app, misplaced);
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

/* --- what is under way --- */

bool claims_taking(const struct app *app, struct isola_slice address)
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
    return claims_taking(app, address) || claims_giving(app, address);
}

bool claims_coming(const struct app *app, struct isola_slice address, const char **from,
                   uint64_t *bytes, uint64_t *total)
{
    if (app->pulls == 0)
        return false;
    ISOLA_MAP_EACH(&app->claims, e)
    {
        const struct read *r = e->value;
        if (!r->pulls || r->pull.looks || !isola_slice_eq(r->io->address, address))
            continue;
        *from = r->pull.from->name;
        *bytes = r->pull.bytes;
        *total = r->pull.total;
        return true;
    }
    return false;
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

void claims_answered(struct app *app, struct isola_mail *mail)
{
    if (mail->origin.link == CLAIM_LINK) {
        uint64_t claim = mail->origin.id >> PEER_BITS;
        struct read *r = isola_map_get(&app->claims, number_key(&claim));
        if (r != NULL && (mail->origin.id & PEER_MASK) == PEER_PULLED)
            pull_answered(&r->pull, mail);
        else if (r != NULL && r->waiting > 0)
            claim_answered(r, mail);
    } else if (!claims_given(app, mail->origin.id) && !wipe_answered(app, mail->origin.id)) {
        past_answered(app, mail);
    }
    isola_mail_free(mail);
}
