/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages to services. An address of one is placed as those of actors are; where it lives the
 * agent has the processes, and what is for them goes up to it, as to another node: the runtime sees
 * a node of a number that no other has (ISOLA_SERVICES), and asks and subscriptions that are with
 * it are those of a peer.
 *
 * Which types are services is looked up for each message that would stay here, from any thread, so
 * it is read without a lock: a table that is replaced as a whole when a release changes it, and
 * never freed, as who reads it may take his time. There are few of them.
 *
 * Failure modes. What such a program cannot have (durable messages, streams, START and STOP) is
 * refused here. When the agent cannot be given something, its asker hears so.
 */
#include <string.h>

#include "base/check.h"
#include "node-agent/actor-host/app.h"
#include "store/manifest.h"

struct service_types {
    struct isola_map names; /* "app/Type" → the table itself */
    struct service_types *older;
};

/* --- which there are --- */

/* "app/Type" of an address. */
static struct isola_slice type_of(struct isola_slice address)
{
    size_t slashes = 0, n = 0;
    while (n < address.len && (address.data[n] != '/' || ++slashes < 2))
        n++;
    return isola_slice(address.data, n);
}

bool services_has(const struct app *app, struct isola_slice address)
{
    const struct service_types *t = atomic_load_explicit(&app->service_types, memory_order_acquire);
    return t != NULL && t->names.count > 0 && isola_map_get(&t->names, type_of(address)) != NULL;
}

static bool of_app(struct isola_slice name, const char *app)
{
    size_t n = strlen(app);
    return name.len > n && memcmp(name.data, app, n) == 0 && name.data[n] == '/';
}

bool services_release(struct app *app, const char *name, const struct isola_manifest *m,
                      const struct isola_manifest *canary)
{
    struct service_types *old = atomic_load(&app->service_types);
    struct service_types *t = isola_zalloc(sizeof(*t));
    size_t had = 0, kept = 0, has = 0;
    if (old != NULL) {
        ISOLA_MAP_EACH(&old->names, e)
        {
            struct isola_slice type = isola_slice(e->key, e->len);
            if (of_app(type, name))
                had++;
            else
                isola_map_set(&t->names, type, t);
        }
    }
    const struct isola_manifest *of[] = {m, canary};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; of[k] != NULL && i < of[k]->ntypes; i++) {
            if (of[k]->types[i].service == NULL)
                continue;
            char *type = isola_format("%s/%s", name, of[k]->types[i].name);
            if (isola_map_set(&t->names, isola_slice_str(type), t) == NULL) {
                kept += old != NULL && isola_map_get(&old->names, isola_slice_str(type)) != NULL;
                has++;
            }
            free(type);
        }
    }
    if (had == has && kept == has) {
        isola_map_free(&t->names);
        free(t);
        return false;
    }
    t->older = old;
    atomic_store_explicit(&app->service_types, t, memory_order_release);
    return true;
}

/* --- to the agent --- */

struct message_parcel {
    struct parcel parcel;
    struct isola_msg *msg;
};

static void answer_failure(struct app *app, uint64_t id, int code)
{
    struct isola_origin origin;
    pthread_mutex_lock(&app->services.lock);
    bool ours = asks_out_take(&app->services.asks, id, &origin);
    pthread_mutex_unlock(&app->services.lock);
    struct isola_mail *f =
        ours ? isola_mail_failure(origin, code, "the agent of node %s cannot be given this: %s",
                                  app->options.node, isola_error_text(code))
             : NULL;
    if (f != NULL)
        isola_host_answer(app->host, f);
}

static void run_message(struct app *app, struct parcel *parcel)
{
    struct message_parcel *p = (struct message_parcel *)parcel;
    int r = app->agent != NULL ? isola_link_send_msg(app->agent, p->msg) : ISOLA_ECLOSED;
    if (r < 0 && p->msg->kind == ISOLA_MSG_ASK)
        answer_failure(app, p->msg->id, r);
    else if (r < 0)
        isola_log(ISOLA_LOG_WARN, "\"%.*s\" to %.*s was dropped: %s", ISOLA_FMT(p->msg->event),
                  ISOLA_FMT(p->msg->dst), isola_error_text(r));
    free(p->msg);
    free(p);
}

bool services_tell(struct app *app, const struct isola_mail *mail, uint64_t id)
{
    struct isola_msg m = msg_of(mail, id);
    struct message_parcel *p = isola_zalloc(sizeof(*p));
    p->parcel.run = run_message;
    p->msg = isola_msg_copy(&m);
    if (p->msg == NULL) {
        free(p);
        return false;
    }
    outbox_put(app, &p->parcel);
    return true;
}

static void ask(struct app *app, struct isola_mail *m)
{
    uint64_t id = atomic_fetch_add(&app->next_wire_id, 1) + 1;
    pthread_mutex_lock(&app->services.lock);
    asks_out_add(&app->services.asks, id, isola_mail_take_origin(m), m->timeout_ms);
    pthread_mutex_unlock(&app->services.lock);
    if (!services_tell(app, m, id))
        answer_failure(app, id, ISOLA_ENOMEM);
    isola_mail_free(m);
}

static void cancel(struct app *app, struct isola_mail *m)
{
    pthread_mutex_lock(&app->services.lock);
    uint64_t id = asks_out_cancel(&app->services.asks, m->origin);
    pthread_mutex_unlock(&app->services.lock);
    if (id != 0)
        (void)services_tell(app, m, id);
    isola_mail_free(m);
}

static void emit(struct app *app, struct isola_mail *m)
{
    (void)services_tell(app, m, 0);
    if (m->timeout_ms != 0) /* nobody else will say that it has come */
        isola_host_paced(app->host, 0, m->dst, ISOLA_PACE_ROOM | ISOLA_PACE_ASKED);
    isola_mail_free(m);
}

static void refuse(struct app *app, struct isola_mail *m, const char *what)
{
    struct isola_slice type = type_of(m->dst);
    char *why = isola_format("%.*s is a service: %s", ISOLA_FMT(type), what);
    isola_host_refuse(app->host, m, ISOLA_EINVAL, why);
    free(why);
}

void services_send(struct app *app, struct isola_mail *m)
{
    if (m->durable)
        refuse(app, m,
               "durable messages are for actors, which keep what they have handled: send it to "
               "an actor, which asks the service");
    else if (m->kind == ISOLA_MSG_CANCEL)
        cancel(app, m);
    else if (m->kind != ISOLA_MSG_ASK && m->kind != ISOLA_MSG_EMIT)
        refuse(app, m,
               "`ctl restart` and `ctl stop` take all of it, or one of its instances, which "
               "have numbers: `ctl ps` lists them");
    else if (m->hidden)
        refuse(app, m, "streams go between actors alone");
    else if (m->kind == ISOLA_MSG_ASK)
        ask(app, m);
    else
        emit(app, m);
}

/* --- subscriptions --- */

void services_sub(struct app *app, struct isola_mail *m)
{
    if (m->kind != ISOLA_MSG_SUB || !isola_is_monitor(m) || isola_slice_is(m->event, ISOLA_DOWN)) {
        subs_out_mail(app, ISOLA_SERVICES, m);
        return;
    }
    isola_host_down(app->host, m, "failed",
                    isola_slice_str("it is a service, which has no streams"));
    isola_mail_free(m);
}

/* --- from another node --- */

bool services_take(struct app *app, struct isola_mail *m)
{
    struct isola_err err;
    if (!services_has(app, m->dst) ||
        (m->kind != ISOLA_MSG_UNSUB && peers_locate(app, m->dst) != ISOLA_SERVICES))
        return false;
    if (isola_host_permits(app->host, m, &err) != 0)
        isola_host_refuse(app->host, m, err.code, err.text);
    else if (m->kind == ISOLA_MSG_SUB || m->kind == ISOLA_MSG_UNSUB)
        services_sub(app, m);
    else
        services_send(app, m);
    return true;
}

/* --- from the agent --- */

void services_answered(struct app *app, const struct isola_msg *m)
{
    struct isola_origin origin;
    if (m->kind == ISOLA_MSG_EVENT) {
        subs_out_event(&app->services, m);
        return;
    }
    pthread_mutex_lock(&app->services.lock);
    bool ours = asks_out_take(&app->services.asks, m->id, &origin);
    pthread_mutex_unlock(&app->services.lock);
    if (ours) {
        struct isola_mail *a = isola_mail_answer(origin, m->kind == ISOLA_MSG_REPLY, m->args);
        if (a != NULL)
            isola_host_answer(app->host, a);
    } else if (m->kind == ISOLA_MSG_FAIL) {
        subs_out_refused(&app->services, m);
    }
}

void services_open(struct app *app)
{
    struct peer *p = &app->services;
    p->app = app;
    p->number = ISOLA_SERVICES;
    p->name = isola_strdup(app->options.node);
    pthread_mutex_init(&p->lock, NULL);
}
