/* SPDX-License-Identifier: Apache-2.0
 *
 * Subscriptions: who hears what the actors of this node emit. They belong to the address, not to an
 * activation: they outlive restarts, and end with their subscriber (an actor's activation, or a
 * connection). Those to actors on other nodes are kept by who forwards (ops->forward). When an
 * actor moves a subscription is in one of the two places at any moment, and an UNSUB finds it in
 * either: it looks here first, wherever the actor lives, then there, and then here once more.
 */
#include "actors/subs.h"

#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/quarantine.h"

struct sub {
    struct sub *next;
    uint64_t link; /* 0: an actor of this node */
    uint64_t id;
    struct isola_slice subscriber; /* its address; owned */
    bool passed_on; /* made by another actor-host, which knows itself when to move it */
};

struct list {
    struct sub *first;
};

static struct isola_buf key_of(struct isola_slice address, struct isola_slice event)
{
    struct isola_buf key = {0};
    isola_buf_append(&key, address.data, address.len);
    isola_buf_append(&key, "", 1);
    isola_buf_append(&key, event.data, event.len);
    return key;
}

bool isola__subs_heard(struct isola_host *h, struct isola_slice address, struct isola_slice event)
{
    struct isola_buf key = key_of(address, event);
    pthread_rwlock_rdlock(&h->subs_lock);
    bool heard = isola_map_get(&h->subs, isola_buf_slice(&key)) != NULL;
    pthread_rwlock_unlock(&h->subs_lock);
    isola_buf_free(&key);
    return heard;
}

void isola__subs_add(struct isola_host *h, struct isola_mail *mail)
{
    struct isola_address at;
    struct isola_err err;
    int r = isola_address_parse(mail->dst, &at, &err);
    const struct isola_type *type =
        r == 0 ? isola__type_find(h, &at, mail->src.len == 0, &err) : NULL;
    if (type == NULL) {
        if (isola_is_monitor(mail))
            isola_host_down(h, mail, "failed", isola_slice_str(err.text));
        else if (mail->origin.link != 0)
            isola__gate_release(h, isola_mail_failure(mail->origin, err.code, "%s", err.text));
        else
            isola__host_logf(h, ISOLA_LOG_WARN, mail->src,
                             "cannot subscribe to \"%.*s\" of %.*s: %s", ISOLA_FMT(mail->event),
                             ISOLA_FMT(mail->dst), err.text);
        isola_mail_free(mail);
        return;
    }
    isola__release_unref(type->release);
    struct sub *sub = isola_zalloc(sizeof(*sub));
    sub->link = mail->origin.link;
    sub->id = mail->origin.id;
    sub->subscriber =
        isola_slice(isola_strndup((const char *)mail->src.data, mail->src.len), mail->src.len);
    sub->passed_on = mail->passed_on;
    struct isola_buf key = key_of(mail->dst, mail->event);
    pthread_rwlock_wrlock(&h->subs_lock);
    if (h->ops->locate(h->arg, mail->dst) !=
        0) { /* moved since it was sent here: isola__subs_moved may have been by */
        pthread_rwlock_unlock(&h->subs_lock);
        isola_buf_free(&key);
        free((void *)(uintptr_t)sub->subscriber.data);
        free(sub);
        isola_host_post(h, mail);
        return;
    }
    struct list *list = isola_map_get(&h->subs, isola_buf_slice(&key));
    if (list == NULL) {
        list = isola_zalloc(sizeof(*list));
        isola_map_set(&h->subs, isola_buf_slice(&key), list);
    }
    struct sub **end = &list->first;
    while (*end != NULL)
        end = &(*end)->next;
    *end = sub;
    pthread_rwlock_unlock(&h->subs_lock);
    isola_buf_free(&key);
    if (isola_is_monitor(mail) && isola__quarantined(h, mail->dst, false, &err))
        isola_host_down(h, mail, "failed", isola_slice_str(err.text));
    if (isola_is_monitor(
            mail)) { /* its actor says if it has failed, after what it was sent before */
        mail->kind = ISOLA_MAIL_MONITORED;
        isola__directory_post(h, mail);
    } else {
        isola_mail_free(mail);
    }
}

/* Removes those of `list` that match; an id of 0 matches all of the link. True: there were any. */
static bool prune(struct list *list, uint64_t link, uint64_t id)
{
    bool any = false;
    for (struct sub **at = &list->first; *at != NULL;) {
        struct sub *sub = *at;
        if (sub->link == link && (id == 0 || sub->id == id)) {
            *at = sub->next;
            free((void *)(uintptr_t)sub->subscriber.data);
            free(sub);
            any = true;
        } else {
            at = &sub->next;
        }
    }
    return any;
}

bool isola__subs_remove(struct isola_host *h, const struct isola_mail *mail)
{
    bool found = false;
    struct isola_buf key = key_of(mail->dst, mail->event);
    pthread_rwlock_wrlock(&h->subs_lock);
    struct list *list = isola_map_get(&h->subs, isola_buf_slice(&key));
    if (list != NULL) {
        found = prune(list, mail->origin.link, mail->origin.id);
        if (list->first == NULL)
            free(isola_map_del(&h->subs, isola_buf_slice(&key)));
    }
    pthread_rwlock_unlock(&h->subs_lock);
    isola_buf_free(&key);
    return found;
}

/* Makes the map anew without the lists that have become empty: it must not change while it is gone
 * through, and starting again after each would take quadratic time. */
static void drop_empty(struct isola_host *h)
{
    struct isola_map left = {0};
    ISOLA_MAP_EACH(&h->subs, e)
    {
        struct list *list = e->value;
        if (list->first != NULL)
            isola_map_set(&left, isola_slice(e->key, e->len), list);
        else
            free(list);
    }
    isola_map_free(&h->subs);
    h->subs = left;
}

void isola_host_drop_link(struct isola_host *h, uint64_t link)
{
    isola__durable_drop_link(h, link);
    pthread_rwlock_wrlock(&h->subs_lock);
    ISOLA_MAP_EACH(&h->subs, e)
    {
        (void)prune(e->value, link, 0);
    }
    drop_empty(h);
    pthread_rwlock_unlock(&h->subs_lock);
    isola__host_cancel_link(h, link);
}

/* Sends the subscriptions of a list to another node, or drops them when there is none. */
static void uproot(struct isola_host *h, struct list *list, struct isola_slice address,
                   struct isola_slice event, int node)
{
    struct isola_slice none = {0};
    while (list->first != NULL) {
        struct sub *sub = list->first;
        struct isola_mail *m = sub->passed_on ? NULL
                                              : isola_mail_new(ISOLA_MSG_SUB, sub->subscriber,
                                                               address, event, none, none);
        if (m != NULL) {
            m->origin.link = sub->link;
            m->origin.id = sub->id;
            if (node > 0)
                h->ops->forward(h->arg, node, m);
            else
                isola_mail_free(m);
        }
        list->first = sub->next;
        free((void *)(uintptr_t)sub->subscriber.data);
        free(sub);
    }
}

void isola__subs_moved(struct isola_host *h)
{
    pthread_rwlock_wrlock(&h->subs_lock);
    ISOLA_MAP_EACH(&h->subs, e)
    {
        size_t split = strnlen((const char *)e->key, e->len);
        struct isola_slice address = isola_slice(e->key, split);
        int node = h->ops->locate(h->arg, address);
        if (node != 0)
            uproot(h, e->value, address, isola_slice(e->key + split + 1, e->len - split - 1), node);
    }
    drop_empty(h);
    pthread_rwlock_unlock(&h->subs_lock);
}

void isola__subs_publish(struct isola_host *h, struct isola_mail *mail)
{
    struct isola_buf key = key_of(mail->src, mail->event);
    struct isola_slice none = {0};
    struct isola_mailq out = {0};
    pthread_rwlock_rdlock(&h->subs_lock);
    struct list *list = isola_map_get(&h->subs, isola_buf_slice(&key));
    for (struct sub *sub = list != NULL ? list->first : NULL; sub != NULL; sub = sub->next) {
        struct isola_mail *m = isola_mail_new_in(isola_mail_trace(mail), ISOLA_MSG_EVENT, mail->src,
                                                 sub->subscriber, mail->event, none, mail->args);
        if (m == NULL)
            break;
        m->origin.link = sub->link;
        m->origin.id = sub->id;
        isola_mailq_push(&out, m);
    }
    pthread_rwlock_unlock(&h->subs_lock);
    isola_buf_free(&key);
    isola_mail_free(mail);
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&out)) != NULL) {
        if (m->origin.link != 0)
            h->ops->answer(h->arg, m);
        else
            isola__directory_post(h, m);
    }
}
