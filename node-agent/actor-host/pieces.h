/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor keeps comes here in pieces, when it is more than one: pieces.c for claims.c.
 * All of it is the loop's.
 */
#ifndef ISOLA_ACTOR_HOST_PIECES_H
#define ISOLA_ACTOR_HOST_PIECES_H

#include "node-agent/actor-host/notes.h"

/* A piece has so many bytes of peers and values, or one row that is larger; the first has the state
 * beside them. What all of it is no more than goes in one message. A piece takes as long to write
 * as to send, about, so one is on the way while the one before is written: of PIECES_PULLS actors
 * at once that is 4 MB. Others wait: more at a time would not come sooner. */
#define PIECE_BYTES  (UINT64_C(1) << 20)
#define PIECES_PULLS 2

/* A piece that has come. */
struct piece {
    struct isola_buf state; /* of the first */
    struct isola_kept_rows rows;
    bool more; /* there are others after it */
};

/* What of an address comes here by a move. Embed it; zero it. */
struct pull {
    struct parcel parcel;
    struct app *app;
    struct isola_slice address; /* borrowed until done */
    struct peer *from;
    uint64_t id;    /* of its asks: origin.id, with CLAIM_LINK */
    uint64_t moves; /* the number of the move */
    uint64_t total; /* bytes that it is to be */
    /* Empty: what an activation begins with, the state and rows up to ISOLA_KEPT_READ, is put there
     * as well. */
    struct isola_buf *state;
    struct isola_kept_rows *rows;
    /* On the loop, once: 0: all is here and on disk; ISOLA_ENOENT: it is not to be had from there,
     * or not now; else a code and a sentence. */
    void (*done)(struct pull *p, int code, const char *why);
    /* --- */
    struct pull *next; /* of those that wait for their turn */
    uint64_t bytes;    /* that are on disk, */
    uint64_t found;    /* and were when that was looked at */
    uint64_t began, told;
    struct isola_kept_after after; /* what has come, up to this row, */
    struct isola_buf peer;         /* whose peer this is */
    struct piece come, written;
    bool waits;          /* for its turn */
    bool looks;          /* what is here is to be looked at first */
    bool asks, has_come; /* a piece */
    bool busy;           /* the store has `req` */
    bool begun;          /* what was at the address is gone */
    bool again, rests;   /* when claims.c says so it is asked once more, or written */
    bool ended;
    unsigned tries;
    int code, failed; /* why it ends, and what the store said */
    char why[300], failure[300];
    struct isola_buf key, note;
    struct isola_state_req req;
};

/* Begins with the first piece: what was at the address goes, when that has come. All fields above
 * the line are set. */
void pull_begin(struct pull *p);
/* Goes on after what is on disk already of a move that was begun by another process. */
void pull_resume(struct pull *p);
/* The answer to one of its asks. Borrows it. */
void pull_answered(struct pull *p, const struct isola_mail *mail);
/* Asks again, or goes on, if it is to. */
void pull_retry(struct pull *p);
/* It is done with this as soon as nothing of it is being written; at once, perhaps. */
void pull_end(struct pull *p, int code, const char *why);

/* Why a state that comes here does not: `why` is what the store says of a write, NULL: nothing. Any
 * thread. */
void pieces_unwritten(char text[300], const char *why);

/* The note of a move in pieces whose beginning is on disk says from whom it comes and how much it
 * is, so that it can be resumed. False: it says only from whom, or nothing. */
bool pull_noted(const struct note *note, struct isola_slice *from, uint64_t *total);

/* A peer asks for a piece of what it was given. */
void piece_asked(struct conn *conn, const struct isola_msg *m);

#endif
