/* SPDX-License-Identifier: Apache-2.0
 *
 * Monitors: who wants to know when an activation ends otherwise than by hibernation or for a newer
 * release. They are subscriptions to an event of a name of its own, so they go to other nodes,
 * follow the actor, and end with their subscriber as all subscriptions do. The event's one value is
 * {address, reason, message}:
 *
 *   crashed   it starts again with its next message, perhaps after a pause
 *   failed    it crashed too often, could not start, or there is no such type
 *   stopped   by a STOP, or because its app has gone
 *   lost      its node, or the link to it: it may be alive
 */
#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/stack.h"
#include "actors/subs.h"
#include "base/msgpack.h"

static void down_args(struct isola_buf *out, struct isola_slice address, const char *reason,
                      struct isola_slice message)
{
    isola_mp_array(out, 1);
    isola_mp_map(out, 3);
    isola_mp_cstr(out, "address");
    isola_mp_str(out, address);
    isola_mp_kstr(out, "reason", reason);
    isola_mp_cstr(out, "message");
    isola_mp_str(out, message);
}

void isola__down(struct isola_actor *a, const char *reason, struct isola_slice message)
{
    struct isola_slice none = {0}, event = isola_slice_str(ISOLA_DOWN);
    if (!isola__subs_heard(a->host, a->address, event))
        return;
    struct isola_buf args = {0};
    down_args(&args, a->address, reason, message);
    struct isola_mail *m =
        isola_mail_new(ISOLA_MAIL_PUBLISH, a->address, none, event, none, isola_buf_slice(&args));
    isola_buf_free(&args);
    if (m != NULL)
        isola__gate_follow(a, m); /* after what it has caused before */
}

void isola__ended(struct isola_actor *a)
{
    struct isola_slice none = {0}, event = isola_slice_str(ISOLA_ENDED);
    if (!isola__subs_heard(a->host, a->address, event))
        return;
    struct isola_buf args = {0};
    bool crashed = a->crash.len > 0;
    down_args(&args, a->address, crashed ? "crashed" : "ended",
              crashed ? isola__first_line(isola_buf_slice(&a->crash)) : none);
    struct isola_mail *m =
        isola_mail_new(ISOLA_MAIL_PUBLISH, a->address, none, event, none, isola_buf_slice(&args));
    isola_buf_free(&args);
    if (m != NULL)
        isola__gate_follow(a, m);
}

void isola_host_down(struct isola_host *h, const struct isola_mail *sub, const char *reason,
                     struct isola_slice message)
{
    struct isola_slice none = {0};
    struct isola_buf args = {0};
    down_args(&args, sub->dst, reason, message);
    struct isola_mail *m = isola_mail_new(ISOLA_MSG_EVENT, sub->dst, sub->src, sub->event, none,
                                          isola_buf_slice(&args));
    isola_buf_free(&args);
    if (m == NULL)
        return;
    m->origin.link = sub->origin.link;
    m->origin.id = sub->origin.id;
    if (m->origin.link != 0)
        h->ops->answer(h->arg, m);
    else
        isola__directory_post(h, m);
}

bool isola_is_monitor(const struct isola_mail *sub)
{
    return sub->hidden &&
           (isola_slice_is(sub->event, ISOLA_DOWN) || isola_slice_is(sub->event, ISOLA_ENDED));
}

void isola__down_read(const struct isola_mail *event, struct isola_slice *reason,
                      struct isola_slice *message)
{
    struct isola_slice info;
    *reason = *message = (struct isola_slice){0};
    if (!isola_mp_at(event->args, 0, &info))
        return;
    (void)isola_mp_find_str(info, "reason", reason);
    (void)isola_mp_find_str(info, "message", message);
}
