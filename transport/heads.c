/* SPDX-License-Identifier: Apache-2.0
 *
 * Heads of envelopes by number: the places of who sends, the messages without args of who receives.
 *
 * A place is taken by who is not found there a second time, with nobody found in between: so what
 * passes now and then drives nobody out, and costs nothing but the look.
 */
#include "transport/heads.h"

#include <stdlib.h>

#include "base/hash.h"
#include "transport/envelope.h"

struct isola__head_place {
    uint64_t hash, missed;  /* of who is there; of who was not found there since; 0: nobody */
    struct isola_msg *head; /* NULL: nobody is there */
    uint32_t key;
};

/* Does all that the next message between the same two differs in lie in its args? */
static bool is_plain(const struct isola_msg *m)
{
    bool emit = m->kind == ISOLA_MSG_EMIT && m->id == 0 && m->dst.len > 0;
    bool event = m->kind == ISOLA_MSG_EVENT && m->id != 0;
    return (emit || event) && m->flags == 0 && m->seq == 0 && m->timeout_ms == 0 &&
           m->src.len > 0 && m->trace.len == 0 && m->chain.len == 0 &&
           m->src.len + m->dst.len + m->event.len <= ISOLA__HEAD_MAX;
}

/* Addresses differ at their ends, as a rule; where they do not they share a place, no more. */
static uint64_t tail(struct isola_slice s)
{
    uint64_t word = 0;
    if (s.len >= sizeof(word))
        memcpy(&word, s.data + s.len - sizeof(word), sizeof(word));
    else if (s.len > 0)
        memcpy(&word, s.data, s.len);
    return word;
}

static uint64_t hash_of(const struct isola_msg *m)
{
    uint64_t h = isola__hash_fold(isola__hash_seed ^ m->id ^ tail(m->src), 0x13198a2e03707345u);
    h = isola__hash_fold(h ^ tail(m->dst), 0x243f6a8885a308d3u);
    return isola__hash_fold(h ^ tail(m->event), 0x9e3779b97f4a7c15u);
}

static bool is_at(const struct isola__head_place *p, const struct isola_msg *m)
{
    const struct isola_msg *head = p->head;
    return head != NULL && head->id == m->id && isola_slice_eq(head->src, m->src) &&
           isola_slice_eq(head->dst, m->dst) && isola_slice_eq(head->event, m->event);
}

/* All of it but the args; NULL when there is no memory. */
static struct isola_msg *head_of(const struct isola_msg *m)
{
    struct isola_msg head = *m;
    head.args.len = 0;
    return isola_msg_copy(&head);
}

enum isola__item isola__heads_find(struct isola__heads_out *out, const struct isola_msg *m,
                                   unsigned *number, uint32_t *key)
{
    if (!is_plain(m))
        return ISOLA__ITEM_FRAME;
    if (out->places == NULL && (out->places = calloc(ISOLA__HEADS, sizeof(*out->places))) == NULL)
        return ISOLA__ITEM_FRAME;
    uint64_t hash = hash_of(m);
    *number = (unsigned)(hash % ISOLA__HEADS);
    struct isola__head_place *p = &out->places[*number];
    if (p->hash == hash && is_at(p, m)) {
        *key = p->key;
        if (p->missed != 0)
            p->missed = 0;
        return ISOLA__ITEM_AGAIN;
    }
    bool again = p->missed == hash;
    p->missed = hash;
    return again ? ISOLA__ITEM_HEAD : ISOLA__ITEM_FRAME;
}

void isola__heads_given(struct isola__heads_out *out, const struct isola_msg *m, unsigned number,
                        uint32_t key)
{
    struct isola__head_place *p = &out->places[number];
    free(p->head);
    p->head = head_of(m); /* without memory it is given again */
    p->hash = p->missed;
    p->missed = 0;
    p->key = key;
}

void isola__heads_out_free(struct isola__heads_out *out)
{
    for (size_t i = 0; out->places != NULL && i < ISOLA__HEADS; i++)
        free(out->places[i].head);
    free(out->places);
    out->places = NULL;
}

/* Takes the number off an item. */
static int number_of(struct isola_slice *item, unsigned *number, struct isola_err *err)
{
    if (item->len <= ISOLA__HEAD_NUMBER)
        return isola_fail(err, ISOLA_EPROTO, "a numbered message is cut off");
    *number = (unsigned)item->data[0] << 8 | item->data[1];
    *item = isola_slice(item->data + ISOLA__HEAD_NUMBER, item->len - ISOLA__HEAD_NUMBER);
    if (*number >= ISOLA__HEADS)
        return isola_fail(err, ISOLA_EPROTO, "head %u; they are numbered up to %d", *number,
                          ISOLA__HEADS - 1);
    return 0;
}

int isola__heads_learn(struct isola__heads_in *in, struct isola_slice *item, struct isola_err *err)
{
    unsigned number = 0, version;
    struct isola_msg m;
    int rc = number_of(item, &number, err);
    if (rc == 0)
        rc = isola_envelope_decode(*item, &m, &version, err);
    if (rc == 0 && !is_plain(&m))
        rc = isola_fail(err, ISOLA_EPROTO, "head %u is of what has none", number);
    if (rc != 0)
        return rc;
    if (in->heads == NULL)
        in->heads = calloc(ISOLA__HEADS, sizeof(struct isola_msg *));
    in->given = in->given + 1 != 0 ? in->given + 1 : 1;
    m.head = in->given;
    struct isola_msg *head = in->heads != NULL ? head_of(&m) : NULL;
    if (head == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for the head of a message");
    free(in->heads[number]);
    in->heads[number] = head;
    return 0;
}

const struct isola_msg *isola__heads_recall(struct isola__heads_in *in, struct isola_slice *item,
                                            struct isola_err *err)
{
    unsigned number = 0;
    if (number_of(item, &number, err) != 0)
        return NULL;
    const struct isola_msg *head = in->heads != NULL ? in->heads[number] : NULL;
    if (head == NULL)
        isola_fail(err, ISOLA_EPROTO, "a message with head %u, which was never given", number);
    return head;
}

void isola__heads_in_free(struct isola__heads_in *in)
{
    for (size_t i = 0; in->heads != NULL && i < ISOLA__HEADS; i++)
        free(in->heads[i]);
    free(in->heads);
    in->heads = NULL;
}
