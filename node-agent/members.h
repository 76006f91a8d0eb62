/* SPDX-License-Identifier: Apache-2.0
 *
 * The other nodes of the mesh: who they are, which are live, and the links to them.
 *
 * A member is live while a joined link to it is up. One that joins without releases that we have is
 * known to the actor-host at once, but spoken to only when it says that it has caught up: so an app
 * that is here is nowhere unknown. A link joins by the ask `join` of the side that
 * dialled; both then know each other's record, the nodes each knows, those that were removed, and
 * the releases each has. A member that is lost leaves the view and is dialled again, with a
 * growing, jittered delay, for ever. Members are kept on disk and so are known after a restart,
 * until they are removed from the cluster.
 *
 * Two links between the same pair: the one dialled by the node whose name sorts first stays. That
 * node closes the other, a second after both are up, so that neither side is ever without a joined
 * link meanwhile, and what was asked on it can end.
 */
#ifndef ISOLA_NODE_AGENT_MEMBERS_H
#define ISOLA_NODE_AGENT_MEMBERS_H

#include <uv.h>

#include "node-agent/conn.h"
#include "node-agent/deploy.h"
#include "node-agent/record.h"
#include "node-agent/releases.h"
#include "transport/link_report.h"

#define ISOLA_MEMBERS_MAX 1000

struct isola__member {
    struct isola__record record; /* the last known */
    struct isola__member *next;
    struct isola__peer *peer;     /* the joined link in use; NULL: it is down */
    struct isola__peer *dialling; /* not joined yet */
    bool initial;                 /* readiness waits for the first attempt to reach it */
    bool complained;
    unsigned failures;
    uint64_t redial_at;
    bool behind; /* lacks releases that we have, and has not said that it has caught up */
    struct isola__offers offers;     /* releases it has */
    struct isola__prepared prepared; /* one that it is about to make current */
    struct isola_link_past past;     /* of the control links with it */
};

struct isola__peer {
    struct isola__conn conn; /* first */
    struct isola__peer *prev, *next;
    struct isola_identity who;    /* proven by the link; no name: it shows no certificate */
    bool dialled;                 /* by us */
    struct isola__member *target; /* whom we dialled; NULL: we were dialled */
    struct isola__member *member; /* joined as */
    bool retired;                 /* the pair has a better link */
    bool refused;                 /* has been told why it is closed */
    bool certified;               /* has asked for a certificate, which one may once */
    uint64_t since_ms;            /* opened; later: joined; later: retired */
    uint64_t heard_ms, pinged_ms;
    bool pinging;
    struct isola__ask ping, join;
    bool follow; /* wants the lines our actors log */
    bool owed;   /* it is to be told that we have caught up with the releases it had as it joined */
};

struct isola__members {
    struct isola__agent *agent;
    struct isola__member *first;
    size_t count;
    struct isola__member *buried; /* removed from the cluster; links may end later than that */
    struct isola__peer *peers;
    size_t nstrangers; /* links that have not joined */
    uint64_t numbers;
    uv_timer_t tick;
    uint64_t ticked_ms;
    bool stopping;
    bool begun;            /* others are dialled */
    uint16_t last_port;    /* what the agent before us listened on; 0: not known */
    struct isola_buf told; /* our record as peers know it */
    struct isola_buf own;  /* as it was the last time somebody looked, without `changes` */
    uint64_t own_changes;
};

extern const struct isola_listener_ops isola__control_listener_ops; /* arg: the agent */

LOOP_THREAD void isola__members_init(struct isola__members *members, struct isola__agent *agent);
LOOP_THREAD void isola__members_close(struct isola__members *members);
LOOP_THREAD void isola__members_free(struct isola__members *members);
/* Takes in the members that were kept. */
LOOP_THREAD void isola__members_load(struct isola__members *members);
/* Takes in records as a certificate's giver knows them: a value with "nodes" and "down". */
LOOP_THREAD void isola__members_learn(struct isola__members *members, struct isola_slice value);
/* Dials the members known, from now on. */
LOOP_THREAD void isola__members_begin(struct isola__members *members);
/* Keeps the members as they are now on disk. */
LOOP_THREAD void isola__members_keep(struct isola__members *members);
/* The member has been removed from the cluster: its links end, it is not known any more. */
LOOP_THREAD void isola__member_bury(struct isola__members *members, struct isola__member *member);
/* This node has: all links end, nobody is known. */
LOOP_THREAD void isola__members_bury_all(struct isola__members *members);
/* Appends keys "nodes" and "down": who is live, and who is not. */
LOOP_THREAD void isola__members_write(struct isola__members *members, struct isola_buf *out);
/* The view or our own record has changed: tells the actor-host and the peers. */
LOOP_THREAD void isola__members_changed(struct isola__members *members);
/* Tells this one what our record is now, whatever it has been told. */
LOOP_THREAD void isola__member_tell(struct isola__member *member);
/* Nobody is being reached for the first time. */
LOOP_THREAD bool isola__members_settled(const struct isola__members *members);
/* The connection to a live member, else NULL. */
LOOP_THREAD struct isola__conn *isola__member_conn(const struct isola__member *member);
/* isola__pass_on to the node of this name, if there is one. */
LOOP_THREAD void isola__member_pass_on(struct isola__conn *from, const struct isola_msg *m,
                                       struct isola_slice name, struct isola_slice params,
                                       uint32_t ms);
/* Answers an ask that is about a node of this name, which is not known: FAIL ENOENT. */
LOOP_THREAD void isola__member_unknown(struct isola__conn *from, uint64_t id,
                                       struct isola_slice name);
LOOP_THREAD struct isola__member *isola__member_find(struct isola__members *members,
                                                     const char *name);
LOOP_THREAD struct isola__member *isola__member_of_key(struct isola__members *members,
                                                       const uint8_t node_key[ISOLA_KEY_SIZE]);
/* A line of ours to the peers that follow; args is [line]. */
LOOP_THREAD void isola__peers_log(struct isola__members *members, struct isola_slice args);
LOOP_THREAD void isola__peer_follow(struct isola__conn *conn, bool follow);

/* --- within members.c, peers.c, join.c --- */

/* Finds or makes the member of that record, takes the record over (empties it), unless it is older
 * than what is known. NULL: too many. */
LOOP_THREAD struct isola__member *isola__member_take(struct isola__members *members,
                                                     struct isola__record *record);
/* Dials a member that is down and not being dialled. */
LOOP_THREAD void isola__member_dial(struct isola__members *members, struct isola__member *member);
LOOP_THREAD void isola__member_up(struct isola__member *member, struct isola__peer *peer);
/* We have the releases that the others had as they joined: tells those that were not told. */
LOOP_THREAD void isola__members_caught_up(struct isola__members *members);
/* The method `caught_up`. */
LOOP_THREAD void isola__caught_up(struct isola__conn *from, const struct isola_msg *m,
                                  struct isola_slice params);
LOOP_THREAD void isola__member_lost(struct isola__member *member, const char *why);
/* An attempt to reach it has ended without success. */
LOOP_THREAD void isola__member_failed(struct isola__members *members, struct isola__member *member,
                                      const char *why);
/* NULL with a sentence when the url is none. */
LOOP_THREAD struct isola__peer *isola__peer_dial(struct isola__members *members,
                                                 struct isola__member *target,
                                                 struct isola_err *err);
/* Once every tick: silence, pings, links that are not needed any more. */
LOOP_THREAD void isola__peer_tick(struct isola__peer *peer, uint64_t now);
/* Says who we are, to whom we dialled. */
LOOP_THREAD void isola__join_ask(struct isola__peer *peer);
/* The method `join`. */
LOOP_THREAD void isola__join(struct isola__conn *from, const struct isola_msg *m,
                             struct isola_slice params);

#endif
