/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom the scripts of a realm send to, by numbers.
 */
#ifndef ISOLA_ACTORS_REFS_H
#define ISOLA_ACTORS_REFS_H

#include "actors/mail.h"

struct isola_ref {
    uint64_t hash; /* isola_hash_table of the address */
    char *text;
    uint32_t len;
    uint32_t next; /* of the same head: its number, or 0 */
};
struct isola_receiver {
    struct isola_actor *actor; /* counted: who lives at the address here; NULL: not known */
    const void *realm;         /* where it lived when it got something last */
    uint32_t away;             /* emits to another node */
    int node;                  /* > 0: where it lives, as long as h->moves is `seen` */
    unsigned seen;
};
struct isola_refs {
    struct isola_ref *all;            /* a number is an index + 1 */
    struct isola_receiver *receivers; /* as `all`: a message needs no more of a ref */
    uint32_t *heads;
    uint32_t count, size; /* size: a power of two, or 0 */
    uint32_t epoch, swept;
    uint64_t id; /* no two tables of the process, nor epochs of one, have the same; 0: none yet */
};
/* In a visit. When they have become too many, the epoch changes and all others mean nothing. */
uint32_t isola__refs_number(struct isola_realm *r, struct isola_slice address);
void isola__refs_free(struct isola_refs *t);
/* Lets go of some actors that have gone: they, and the realms they were in, would stay. */
void isola__refs_sweep(struct isola_refs *t);
/* The node it lives on, as far as is known; 0: this one. */
int isola__ref_node(struct isola_realm *r, uint32_t number);
/* Sends an ASK or EMIT of a script's to it there, at once. Borrows it, but for an ask's origin. */
void isola__ref_send_away(struct isola_realm *r, uint32_t number, int node,
                          struct isola_mail *mail);
/* Sends a mail of a script's to it, at once. Takes it. */
void isola__ref_send(struct isola_realm *r, uint32_t number, struct isola_mail *mail);
static inline struct isola_slice isola__ref_address(const struct isola_ref *ref)
{
    return isola_slice(ref->text, ref->len);
}

#endif
