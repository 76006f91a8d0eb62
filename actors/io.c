/* SPDX-License-Identifier: Apache-2.0
 *
 * What scripts have done outside of their isolates: a fetch, an operation with a key. The process
 * does it (ops->io); its answers come into the realm's inbox like those of asks.
 *
 * Happy path: a script's START is a mail to the outside, for a fetch behind the output gate, like
 * every other effect. What comes back are ISOLA_MAIL_IO_EVENTs, each asked for by a MORE but the
 * first, and at last an ISOLA_MAIL_IO_END. A CANCEL goes after its START through the same gate, so
 * the outside hears of it later, or of neither. When an activation or its isolate ends, what it has
 * under way is cancelled; answers that are on their way then find no entry here, and are dropped.
 *
 * Bounds: so many under way for an actor and for the process, and so many bytes of their bodies.
 */
#include "actors/io.h"

#include "actors/gate.h"
#include "actors/host_own.h"

#define PER_ACTOR  128
#define PER_HOST   4096
#define BYTES_HOST (256u << 20)
#define HEAD_MAX   (1u << 20)
#define BODY_MAX   (64u << 20)

struct isola_io {
    uint64_t id;
    uint32_t actor; /* serial, 0: none */
    size_t bytes;   /* of its START */
};

static struct isola_slice key_of(const uint64_t *id)
{
    return isola_slice(id, sizeof(*id));
}

static struct isola_mail *io_mail(struct isola_realm *r, int kind, uint64_t id)
{
    struct isola_slice none = {0};
    struct isola_mail *m = isola_mail_new(kind, none, none, none, none, none);
    if (m != NULL)
        m->origin = (struct isola_origin){.realm = isola__realm_ref(r), .id = id};
    return m;
}

void isola__io_release(struct isola_host *h, struct isola_mail *mail)
{
    if (h->ops->io != NULL)
        h->ops->io(h->arg, mail);
    else
        isola_mail_free(mail);
}

/* Sends a mail after all that its actor has sent before. Takes it; NULL is allowed. */
static void send_after(struct isola_realm *r, struct isola_actor *a, struct isola_mail *m)
{
    if (m != NULL)
        isola__gate_put(r, a, m);
}

static int refuse(struct isola_realm *r, uint32_t actor, const struct isola_actor *a, size_t bytes,
                  struct isola_err *err)
{
    struct isola_host *h = r->host;
    if (h->ops->io == NULL)
        return isola_fail(err, ISOLA_EPERM, "this process does nothing for scripts");
    if (a == NULL && actor != 0)
        return isola_fail(err, ISOLA_ECLOSED, "this activation of the actor has ended");
    unsigned under_way = a != NULL ? a->nios : (unsigned)r->ios.count;
    if (under_way >= PER_ACTOR)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "%d fetches and the like are under way for this actor, which is the "
                          "limit; those whose responses are not read to the end count",
                          PER_ACTOR);
    if (a != NULL && a->io_bytes + bytes > BODY_MAX + HEAD_MAX)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "requests of this actor with %zu bytes are under way, and the limit is "
                          "%u MB",
                          a->io_bytes, BODY_MAX >> 20);
    if (atomic_load(&h->ios) >= PER_HOST || atomic_load(&h->io_bytes) + bytes > BYTES_HOST)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "too much is under way outside of isolates on this node");
    return 0;
}

int isola__io_start(struct isola_realm *r, uint32_t actor, bool gated, struct isola_slice what,
                    struct isola_slice head, struct isola_slice body, uint64_t *id,
                    struct isola_err *err)
{
    struct isola_actor *a = isola__realm_actor(r, actor);
    size_t bytes = head.len + body.len;
    if (head.len > HEAD_MAX || body.len > BODY_MAX)
        return isola_fail(err, ISOLA_ETOOBIG, "a request has at most %u MB of headers and %u MB",
                          HEAD_MAX >> 20, BODY_MAX >> 20);
    int e = refuse(r, actor, a, bytes, err);
    if (e != 0)
        return e;
    struct isola_slice none = {0}, net = isola_slice_str(r->release->net);
    struct isola_mail *m =
        isola_mail_new(ISOLA_MAIL_IO_START, a != NULL ? a->address : none, net, what, head, body);
    if (m == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a request of %zu bytes", bytes);
    struct isola_io *io = isola_zalloc(sizeof(*io));
    *id = io->id = ++r->next_io;
    io->actor = actor;
    io->bytes = bytes;
    isola_map_set(&r->ios, key_of(&io->id), io);
    if (a != NULL) {
        a->nios++;
        a->io_bytes += bytes;
    }
    atomic_fetch_add(&r->host->ios, 1);
    atomic_fetch_add(&r->host->io_bytes, bytes);
    m->origin = (struct isola_origin){.realm = isola__realm_ref(r), .id = io->id};
    if (gated)
        send_after(r, a, m);
    else
        isola__io_release(r->host, m);
    return 0;
}

void isola__io_more(struct isola_realm *r, uint64_t id)
{
    if (isola_map_get(&r->ios, key_of(&id)) == NULL)
        return;
    struct isola_mail *m = io_mail(r, ISOLA_MAIL_IO_MORE, id);
    if (m != NULL)
        isola__io_release(r->host, m);
}

/* Takes it out of the realm. */
static void forget(struct isola_realm *r, struct isola_io *io)
{
    struct isola_actor *a = isola__realm_actor(r, io->actor);
    if (a != NULL) {
        a->nios--;
        a->io_bytes -= io->bytes;
    }
    isola_map_del(&r->ios, key_of(&io->id));
    atomic_fetch_sub(&r->host->ios, 1);
    atomic_fetch_sub(&r->host->io_bytes, io->bytes);
    free(io);
}

void isola__io_cancel(struct isola_realm *r, uint64_t id)
{
    struct isola_io *io = isola_map_get(&r->ios, key_of(&id));
    if (io == NULL)
        return;
    send_after(r, isola__realm_actor(r, io->actor), io_mail(r, ISOLA_MAIL_IO_CANCEL, id));
    forget(r, io);
}

void isola__io_forget(struct isola_realm *r, struct isola_actor *a)
{
    struct isola_io **gone = NULL;
    size_t n = 0;
    if (r->ios.count == 0 || (a != NULL && a->nios == 0))
        return;
    gone = isola_zalloc(r->ios.count * sizeof(*gone)); /* the map is not changed while it is read */
    ISOLA_MAP_EACH(&r->ios, e)
    {
        struct isola_io *io = e->value;
        if (a == NULL || io->actor == a->serial)
            gone[n++] = io;
    }
    for (size_t i = 0; i < n; i++) {
        struct isola_mail *m = io_mail(r, ISOLA_MAIL_IO_CANCEL, gone[i]->id);
        if (m != NULL && a != NULL)
            isola__gate_follow(a, m); /* its START may be waiting for a write still */
        else if (m != NULL)
            isola__io_release(r->host, m);
        forget(r, gone[i]);
    }
    free(gone);
}

uint32_t isola__io_event(struct isola_realm *r, const struct isola_mail *m)
{
    uint64_t id = m->origin.id;
    struct isola_io *io = isola_map_get(&r->ios, key_of(&id));
    if (io == NULL)
        return 0;
    uint32_t actor = io->actor;
    bool last = m->kind == ISOLA_MAIL_IO_END;
    if (last)
        forget(r, io);
    isola_js_io(r->js, actor, id, last, m->event, m->args);
    return actor;
}

struct isola_mail *isola_io_answer(const struct isola_mail *start, bool last,
                                   struct isola_slice head, struct isola_slice body)
{
    struct isola_slice none = {0};
    struct isola_mail *m = isola_mail_new(last ? ISOLA_MAIL_IO_END : ISOLA_MAIL_IO_EVENT, none,
                                          none, head, none, body);
    if (m != NULL)
        m->origin = (struct isola_origin){.realm = isola__realm_ref(start->origin.realm),
                                          .id = start->origin.id};
    return m;
}
