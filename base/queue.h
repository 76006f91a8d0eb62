/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues of structs that are linked by their `next`: first in, first out, not thread-safe. Zero is
 * empty.
 */
#ifndef ISOLA_BASE_QUEUE_H
#define ISOLA_BASE_QUEUE_H

#include <stddef.h>

/* struct QUEUE of struct ITEM, with QUEUE_push, and QUEUE_pop (NULL: it is empty), which take and
 * give what the items are. */
#define ISOLA_QUEUE(QUEUE, ITEM)                                                                   \
    struct QUEUE {                                                                                 \
        struct ITEM *head;                                                                         \
        struct ITEM **tail; /* NULL while empty */                                                 \
        size_t count;                                                                              \
    };                                                                                             \
    static inline void QUEUE##_push(struct QUEUE *q, struct ITEM *item)                            \
    {                                                                                              \
        item->next = NULL;                                                                         \
        if (q->head == NULL)                                                                       \
            q->head = item;                                                                        \
        else                                                                                       \
            *q->tail = item;                                                                       \
        q->tail = &item->next;                                                                     \
        q->count++;                                                                                \
    }                                                                                              \
    static inline struct ITEM *QUEUE##_pop(struct QUEUE *q)                                        \
    {                                                                                              \
        struct ITEM *item = q->head;                                                               \
        if (item != NULL) {                                                                        \
            q->head = item->next;                                                                  \
            item->next = NULL;                                                                     \
            q->count--;                                                                            \
        }                                                                                          \
        return item;                                                                               \
    }

#endif
