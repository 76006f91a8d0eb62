/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of the links to other actor-hosts: data_links.c (which link is used), sending.c
 * (what goes on it), data_listen.c (those that others have dialled).
 */
#ifndef ISOLA_ACTOR_HOST_DATA_LINKS_H
#define ISOLA_ACTOR_HOST_DATA_LINKS_H

#include "node-agent/actor-host/app.h"

/* --- data_links.c: the loop's --- */

extern const struct isola_link_ops data_links_ops; /* of a struct conn with a peer */
/* Starts a link, unless there is one or it is too early; what is to be sent waits for it. */
void data_links_dial(struct peer *p);
/* Ours has been shaken, or theirs has been accepted. One whose node is not in the view yet waits
 * for that; where the other end decides, its hello is waited for. */
void data_links_up(struct conn *c);

/* --- sending.c --- */

/* With the locks of subscriptions, which it gives back, and of the peer: on its link go the
 * subscriptions first, then what has waited; then everybody's, unless it is behind: `unsent` gets
 * what could not be sent. */
void peer_begin(struct peer *p, struct isola_mailq *unsent);
/* Without a lock: fails what peer_begin has left. */
void peer_unsent(struct peer *p, struct isola_mailq *unsent);
/* Without a lock: a mail that cannot reach its node. Takes it. */
ANY_THREAD void peer_fail(struct app *app, struct isola_mail *m, int code, const char *why);

#endif
