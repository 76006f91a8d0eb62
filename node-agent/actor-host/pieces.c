/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor keeps, when it is much, follows it in pieces.
 *
 * Happy path. The node that gives it (gives.c) has noted that, and said only how much it is. The
 * node that takes it asks for piece after piece (ASK `piece`), each after the last row of the one
 * before. While one is written the next is on its way; when the last is on disk, claims.c notes
 * that all of it is here. The giver remembers nothing of it but its note, and keeps what it has
 * given: whoever asks, and however often, gets rows of that, as long as the note stands.
 *
 * Failure modes. A piece that does not come (the link breaks, the giver's process ends) is asked
 * for again, from wherever the giver is then. When this process ends, the next one goes on after
 * the last row that is on disk, of which the note tells that it is of this move. When the giver's
 * note is another by then, or the giver is not there, or the actor's place has changed, claims.c
 * looks anew; the note here says that what is here is not whole, and nobody uses it. So it is with
 * a disk that is full.
 *
 * Each piece has a time limit, not the whole.
 *
 * Invariants: rows come in the order of part, peer and number, each once, and no more bytes than
 * were said: a peer that does otherwise is not asked further. One piece is written and one on the
 * way or waits, of each of a few actors at once.
 */
#include "node-agent/actor-host/pieces.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"

#define PIECE_TIMEOUT_MS 60000 /* one row may have the largest state, 63 MB, and links are slow */
#define TRIES            40    /* for one piece; 50 ms apart, or as long as each takes */
#define TELL_MS          10000
/* While so much waits to be written into the store's tables this adds nothing to it: else commits
 * of all would have to wait. */
#define CROWDED (UINT64_C(32) << 20)
/* Pieces that are read for one peer at once: what it asks for, and has asked for on a link before.
 */
#define SENDS_MAX (2 * PIECES_PULLS)

static void tell(const struct pull *p, enum isola_log_level level, const char *text)
{
    agent_link_log(p->app, level, p->address, isola_slice_str(text));
}

static void free_piece(struct piece *piece)
{
    isola_buf_free(&piece->state);
    isola_kept_free(&piece->rows);
    *piece = (struct piece){0};
}

/* --- whose turn it is --- */

static void go_on(struct pull *p);

static void take_turn(struct pull *p)
{
    struct app *app = p->app;
    struct pull **at = &app->pulls_wait;
    if (app->pulls < PIECES_PULLS) {
        app->pulls++;
        go_on(p);
        return;
    }
    while (*at != NULL)
        at = &(*at)->next;
    p->next = NULL;
    *at = p;
    p->waits = true;
}

static void give_turn(struct pull *p)
{
    struct app *app = p->app;
    if (p->waits) {
        struct pull **at = &app->pulls_wait;
        while (*at != p)
            at = &(*at)->next;
        *at = p->next;
        p->waits = false;
        return;
    }
    struct pull *first = app->pulls_wait;
    if (first == NULL) {
        app->pulls--;
        return;
    }
    app->pulls_wait = first->next;
    first->waits = false;
    go_on(first);
}

static void finish(struct pull *p)
{
    char why[sizeof(p->why)];
    int code = p->code;
    memcpy(why, p->why, sizeof(why));
    give_turn(p);
    free_piece(&p->come);
    free_piece(&p->written);
    isola_buf_free(&p->peer);
    isola_buf_free(&p->key);
    isola_buf_free(&p->note);
    p->done(p, code, why);
}

void pull_end(struct pull *p, int code, const char *why)
{
    if (p->ended)
        return;
    p->ended = true;
    p->again = p->rests = false;
    p->code = code;
    snprintf(p->why, sizeof(p->why), "%s", why);
    if (!p->busy)
        finish(p);
}

/* --- asking --- */

static void ask(struct pull *p)
{
    struct isola_slice none = {0};
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 4);
    isola_mp_cstr(&args, "address");
    isola_mp_str(&args, p->address);
    isola_mp_kuint(&args, "moves", p->moves);
    isola_mp_kuint(&args, "bytes", PIECE_BYTES);
    isola_mp_cstr(&args, "after");
    isola_mp_array(&args, 3);
    isola_mp_uint(&args, p->after.part);
    isola_mp_str(&args, p->after.peer);
    isola_mp_uint(&args, p->after.seq);
    struct isola_mail *m = isola_mail_new(ISOLA_MSG_ASK, none, none, isola_slice_str("piece"), none,
                                          isola_buf_slice(&args));
    isola_buf_free(&args);
    if (m == NULL) {
        p->again = true; /* for want of memory */
        claims_retry(p->app);
        return;
    }
    m->timeout_ms = PIECE_TIMEOUT_MS;
    m->origin.link = CLAIM_LINK;
    m->origin.id = p->id;
    p->asks = true;
    peer_send(p->from, m);
}

static void not_come(struct pull *p, int code, struct isola_slice why)
{
    char text[300];
    if (code == ISOLA_ENOENT) {
        pull_end(p, ISOLA_ENOENT, "");
    } else if (++p->tries < TRIES) {
        p->again = true;
        claims_retry(p->app);
    } else {
        snprintf(text, sizeof(text), "the rest of its state does not come from node %s: %.*s",
                 p->from->name, ISOLA_FMT(why));
        pull_end(p, ISOLA_EUNREACHABLE, text);
    }
}

void pull_retry(struct pull *p)
{
    bool rested = p->rests;
    p->rests = false;
    if (p->again) {
        p->again = false;
        ask(p);
    }
    if (rested)
        go_on(p);
}

static uint64_t bytes_of(const struct piece *piece)
{
    return piece->rows.bytes + piece->state.len;
}

/* What the activation begins with. */
static void keep_beginning(struct pull *p, const struct piece *piece)
{
    size_t n = 0;
    while (n < piece->rows.n && piece->rows.row[n].part <= ISOLA_KEPT_READ)
        n++;
    isola_kept_copy(p->rows, piece->rows.row, n);
    isola_buf_append(p->state, piece->state.data, piece->state.len);
}

/* {moves, state (of the first), kept, more}. NULL: it is in `come`; else what is wrong. */
static const char *take_piece(struct pull *p, struct isola_slice value)
{
    struct isola_slice state = {0}, kept;
    struct piece *piece = &p->come;
    struct isola_kept_after at = p->after;
    uint64_t moves;
    bool first = p->after.part == 0;
    if (!isola_mp_find_uint(value, "moves", &moves) || moves != p->moves ||
        !isola_mp_find(value, "kept", &kept) ||
        isola_mp_find_bin(value, "state", &state) != first ||
        !isola_mp_find_bool(value, "more", &piece->more) || !isola_kept_read(kept, &piece->rows))
        return "a piece is not what it should be";
    for (size_t i = 0; i < piece->rows.n; i++) {
        const struct isola_kept *row = &piece->rows.row[i];
        if (!isola_kept_beyond(&at, row))
            return "its rows are not in their order";
        at = (struct isola_kept_after){.part = row->part, .peer = row->peer, .seq = row->seq};
    }
    isola_buf_append(&piece->state, state.data, state.len);
    if (piece->rows.bytes > PIECE_BYTES && piece->rows.n > 1)
        return "a piece is too large";
    if (piece->more && piece->rows.n == 0)
        return "a piece is empty";
    if (p->bytes + bytes_of(&p->written) + bytes_of(piece) > p->total)
        return "it is more than was said";
    keep_beginning(p, piece);
    p->peer.len = 0;
    isola_buf_append(&p->peer, at.peer.data, at.peer.len);
    p->after = at;
    p->after.peer = isola_buf_slice(&p->peer);
    return p->peer.failed || piece->state.failed || p->state->failed ? "there is no memory for it"
                                                                     : NULL;
}

void pull_answered(struct pull *p, const struct isola_mail *mail)
{
    struct isola_slice value = {0};
    struct isola_mp_error e = {0};
    p->asks = false;
    if (p->ended)
        return;
    bool found = isola_mp_at(mail->args, 0, &value);
    if (mail->kind == ISOLA_MSG_FAIL) {
        if (!found || !isola_mp_read_error(value, &e))
            e.message = isola_slice_str("it says why in no words");
        not_come(p, e.code, e.message);
        return;
    }
    const char *wrong = take_piece(p, value);
    if (wrong != NULL) {
        char text[300];
        free_piece(&p->come);
        snprintf(text, sizeof(text), "its state does not come from node %s as it should: %s",
                 p->from->name, wrong);
        tell(p, ISOLA_LOG_ERROR, text);
        pull_end(p, ISOLA_EUNREACHABLE, text);
        return;
    }
    p->tries = 0;
    p->has_come = true;
    go_on(p);
}

/* --- writing --- */

static void tell_how_far(struct pull *p)
{
    uint64_t now = isola_clock_ms();
    char text[200];
    if (p->told == 0)
        p->told = p->began;
    if (now - p->told < TELL_MS)
        return;
    p->told = now;
    snprintf(text, sizeof(text), "comes from node %s: %" PRIu64 " of %" PRIu64 " MB are here",
             p->from->name, p->bytes / 1000000, p->total / 1000000);
    tell(p, ISOLA_LOG_INFO, text);
}

static void all_here(struct pull *p)
{
    char text[200];
    snprintf(text, sizeof(text), "has come from node %s: %.1f MB in %.1f s", p->from->name,
             (double)p->bytes / 1e6, (double)(isola_clock_ms() - p->began) / 1e3);
    tell(p, ISOLA_LOG_INFO, text);
    pull_end(p, 0, "");
}

static void written(struct pull *p)
{
    bool more = p->written.more;
    p->bytes += bytes_of(&p->written);
    p->begun = true;
    free_piece(&p->written);
    tell_how_far(p);
    if (more)
        go_on(p);
    else
        all_here(p);
}

static void found(struct pull *p)
{
    p->bytes = p->found;
    go_on(p);
}

static void run_done(struct app *app, struct parcel *parcel)
{
    struct pull *p = (struct pull *)parcel;
    bool looked = p->looks;
    (void)app;
    p->busy = p->looks = false;
    if (p->ended)
        finish(p);
    else if (p->failed != 0)
        pull_end(p, p->failed, p->failure);
    else if (looked)
        found(p);
    else
        written(p);
}

void pieces_unwritten(char text[300], const char *why)
{
    snprintf(text, 300, "it cannot be kept here: %s; is the disk full?",
             why != NULL ? why : "a write failed");
}

/* The store has done its part. */
static void back_to_loop(struct pull *p, int code, const char *why)
{
    p->failed = code;
    if (code != 0 && !p->looks)
        pieces_unwritten(p->failure, why);
    else
        snprintf(p->failure, sizeof(p->failure), "%s", code != 0 && why != NULL ? why : "");
    p->parcel.run = run_done;
    outbox_put(p->app, &p->parcel);
}

static void on_disk(struct isola_state_req *req, int code, struct isola_slice value,
                    const char *why)
{
    (void)value;
    back_to_loop(req->arg, code, why);
}

/* The first piece is on disk, and nothing else is at the address: from now on it can be resumed. */
static void first_on_disk(struct isola_state_req *req, int code, struct isola_slice value,
                          const char *why)
{
    struct pull *p = req->arg;
    (void)value;
    if (code != 0) {
        back_to_loop(p, code, why);
        return;
    }
    p->req = (struct isola_state_req){.cb = on_disk, .arg = p, .address = isola_buf_slice(&p->key)};
    isola_state_put(p->app->state, &p->req, isola_buf_slice(&p->note));
}

static void write_piece(struct pull *p)
{
    bool first = !p->begun;
    struct isola_state_change change = {.has_value = first,
                                        .clear = first,
                                        .value = isola_buf_slice(&p->written.state),
                                        .rows = p->written.rows.row,
                                        .nrows = p->written.rows.n};
    p->busy = true;
    p->req = (struct isola_state_req){
        .cb = first ? first_on_disk : on_disk, .arg = p, .address = p->address};
    isola_state_write(p->app->state, &p->req, &change);
}

/* --- going on after what is here --- */

static void looked(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct pull *p = req->arg;
    (void)value;
    if (code == 0 && req->nrows > 0) {
        const struct isola_kept *last = &req->rows[0];
        isola_buf_append(&p->peer, last->peer.data, last->peer.len);
        p->after = (struct isola_kept_after){
            .part = last->part, .peer = isola_buf_slice(&p->peer), .seq = last->seq};
        p->found += isola_kept_to_number(last->value);
        p->begun = true;
    }
    back_to_loop(p, code, why);
}

static void beginning_read(struct isola_state_req *req, int code, struct isola_slice value,
                           const char *why)
{
    struct pull *p = req->arg;
    if (code != 0) {
        back_to_loop(p, code, why);
        return;
    }
    isola_buf_append(p->state, value.data, value.len);
    isola_kept_copy(p->rows, req->rows, req->nrows);
    p->found = value.len;
    p->req = (struct isola_state_req){.cb = looked, .arg = p, .address = p->address};
    isola_state_extent(p->app->state, &p->req);
}

static void look(struct pull *p)
{
    p->busy = true;
    p->req = (struct isola_state_req){.cb = beginning_read, .arg = p, .address = p->address};
    isola_state_get(p->app->state, &p->req);
}

static void write_come(struct pull *p)
{
    p->written = p->come;
    p->come = (struct piece){0};
    p->has_come = false;
    write_piece(p);
    if (p->written.more)
        ask(p);
}

/* Now, or when less waits. A store that takes nothing into its tables would only fill its journal.
 */
static void write_or_rest(struct pull *p)
{
    struct isola_state_stats stats;
    isola_state_stats(p->app->state, &stats);
    if (stats.waiting <= CROWDED) {
        write_come(p);
    } else if (stats.stuck) {
        char text[300];
        pieces_unwritten(text, "the store cannot write what waits");
        pull_end(p, ISOLA_EIO, text);
    } else {
        p->rests = true;
        claims_retry(p->app);
    }
}

/* As far as it goes without waiting. */
static void go_on(struct pull *p)
{
    if (p->busy)
        return;
    if (p->looks) {
        look(p);
    } else if (p->has_come) {
        write_or_rest(p);
    } else if (!p->asks && !p->again) {
        ask(p);
    }
}

void pull_begin(struct pull *p)
{
    struct isola_buf from = {0};
    note_key(&p->key, p->address);
    isola_buf_printf(&from, "%s/%" PRIu64, p->from->name, p->total);
    note_write(&p->note, NOTE_TAKING, p->moves, isola_buf_slice(&from));
    isola_buf_free(&from);
    p->began = p->told = isola_clock_ms();
    take_turn(p);
}

void pull_resume(struct pull *p)
{
    p->looks = true;
    pull_begin(p);
}

bool pull_noted(const struct note *note, struct isola_slice *from, uint64_t *total)
{
    struct isola_slice all = isola_buf_slice(&note->taker);
    const uint8_t *slash = all.len > 0 ? memchr(all.data, '/', all.len) : NULL;
    *from = all;
    *total = 0;
    if (note->kind != NOTE_TAKING || slash == NULL)
        return false;
    from->len = (size_t)(slash - all.data);
    for (const uint8_t *p = slash + 1; p < all.data + all.len; p++)
        *total = *total * 10 + (uint64_t)(*p - '0');
    return true;
}

/* --- giving --- */

/* A piece that a peer has asked for. */
struct send {
    struct parcel parcel;
    struct app *app;
    struct peer *to;
    struct isola_origin origin;
    uint64_t moves;
    struct isola_kept_after after;
    struct isola_buf address, key, peer, args;
    struct isola_state_req req;
    int code;
};

static void run_send(struct app *app, struct parcel *parcel)
{
    struct send *s = (struct send *)parcel;
    struct isola_mail *m;
    if (s->code == 0 && s->args.failed)
        s->code = ISOLA_ENOMEM;
    if (s->code == 0)
        m = isola_mail_answer(s->origin, true, isola_buf_slice(&s->args));
    else if (s->code == ISOLA_ENOENT)
        m = isola_mail_failure(s->origin, ISOLA_ENOENT, "it was not given to node %s in that move",
                               s->to->name);
    else
        m = isola_mail_failure(s->origin, s->code, "it cannot be read there");
    if (m != NULL)
        conn_answer(app, m);
    s->to->sends--;
    isola_buf_free(&s->address);
    isola_buf_free(&s->key);
    isola_buf_free(&s->peer);
    isola_buf_free(&s->args);
    free(s);
}

static void send_back(struct send *s, int code)
{
    s->code = code;
    s->parcel.run = run_send;
    outbox_put(s->app, &s->parcel);
}

/* As long as the note stands, what was read before was what was given. */
static void send_noted(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    struct send *s = req->arg;
    struct note note;
    (void)why;
    int bad = note_read(code, value, &note);
    bool given = bad == 0 && note.kind == NOTE_GIVEN && note.moves == s->moves &&
                 isola_slice_is(isola_buf_slice(&note.taker), s->to->name);
    isola_buf_free(&note.taker);
    send_back(s, bad != 0 ? bad : given ? 0 : ISOLA_ENOENT);
}

static void send_read(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct send *s = req->arg;
    bool first = s->after.part == 0;
    (void)why;
    if (code != 0) {
        send_back(s, code);
        return;
    }
    isola_mp_array(&s->args, 1);
    isola_mp_map(&s->args, first ? 4 : 3);
    isola_mp_kuint(&s->args, "moves", s->moves);
    if (first) {
        isola_mp_cstr(&s->args, "state");
        isola_mp_bin(&s->args, value);
    }
    isola_mp_cstr(&s->args, "kept");
    isola_kept_write(&s->args, req->rows, req->nrows);
    isola_mp_kbool(&s->args, "more", req->more);
    s->req =
        (struct isola_state_req){.cb = send_noted, .arg = s, .address = isola_buf_slice(&s->key)};
    isola_state_get(s->app->state, &s->req);
}

/* [part, peer, number] */
static bool read_after(struct isola_slice params, struct isola_kept_after *out)
{
    struct isola_slice after;
    struct isola_mp_item item;
    if (!isola_mp_find(params, "after", &after))
        return false;
    struct isola_mp_reader r = isola_mp_reader(after);
    if (isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_ARRAY || item.n != 3 ||
        isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_UINT || item.u > ISOLA_KEPT_LAST)
        return false;
    out->part = (uint8_t)item.u;
    if (isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_STR)
        return false;
    out->peer = item.bytes;
    if (isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_UINT || item.u > INT64_MAX)
        return false;
    out->seq = item.u;
    return true;
}

void piece_asked(struct conn *conn, const struct isola_msg *m)
{
    struct app *app = conn->app;
    struct isola_slice params = {0}, address = {0};
    struct isola_origin to = {.link = conn->number, .id = m->id};
    struct isola_kept_after after = {0};
    struct isola_address parts;
    struct isola_err err;
    struct isola_mail *refusal = NULL;
    uint64_t moves = 0, bytes = 0;
    isola_mp_at(m->args, 0, &params);
    if (!isola_mp_find_str(params, "address", &address) ||
        isola_address_parse(address, &parts, &err) != 0 ||
        !isola_mp_find_uint(params, "moves", &moves) ||
        !isola_mp_find_uint(params, "bytes", &bytes) || bytes == 0 || !read_after(params, &after))
        refusal = isola_mail_failure(
            to, ISOLA_EINVAL, "a piece has an address, moves, bytes and what it comes after");
    else if (app->shutdown_id != 0)
        refusal = isola_mail_failure(to, ISOLA_EUNREACHABLE, "this node is shutting down");
    else if (conn->peer->sends >= SENDS_MAX)
        refusal =
            isola_mail_failure(to, ISOLA_EBUSY, "%d pieces for node %s are being read already",
                               SENDS_MAX, conn->peer->name);
    if (refusal != NULL) {
        conn_answer(app, refusal);
        return;
    }
    struct send *s = isola_zalloc(sizeof(*s));
    s->app = app;
    s->to = conn->peer;
    s->to->sends++;
    s->origin = to;
    s->moves = moves;
    isola_buf_append(&s->address, address.data, address.len);
    isola_buf_append(&s->peer, after.peer.data, after.peer.len);
    note_key(&s->key, address);
    s->after = after;
    s->after.peer = isola_buf_slice(&s->peer);
    s->after.bytes = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
    s->req = (struct isola_state_req){
        .cb = send_read, .arg = s, .address = isola_buf_slice(&s->address)};
    isola_state_piece(app->state, &s->req, &s->after);
}
