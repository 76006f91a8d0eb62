/* SPDX-License-Identifier: Apache-2.0
 *
 * Links that other actor-hosts have dialled to this one: who is let in, and who is not any more.
 */
#include "node-agent/actor-host/data_links.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "transport/identity.h"
#include "transport/tcp.h"

/* Links of one peer that it has dialled: one is used, others may not know yet that they are not. */
#define LINKS_MAX 16

static bool has_many(struct app *app, const struct peer *p)
{
    size_t n = 0;
    pthread_mutex_lock(&app->conns_lock);
    ISOLA_MAP_EACH(&app->conns, e)
    {
        const struct conn *c = e->value;
        n += c->peer == p && !c->dialled;
    }
    pthread_mutex_unlock(&app->conns_lock);
    return n >= LINKS_MAX;
}

static void accepted(struct isola_listener *listener, struct isola_link *link, void *arg)
{
    struct app *app = arg;
    const struct isola_identity *who = isola_link_identity(link);
    struct peer *p = peers_named(app, isola_slice_str(who->name));
    char why[200] = "";
    if (p == NULL)
        snprintf(why, sizeof(why), "node %s is one too many: %d are remembered", who->name,
                 ISOLA_PEERS_MAX);
    else if (has_many(app, p))
        snprintf(why, sizeof(why), "node %s has %d links with this one already", who->name,
                 LINKS_MAX);
    if (why[0] != '\0') {
        isola_listener_refused(listener, link, why);
        return;
    }
    struct conn *c = isola_zalloc(sizeof(*c));
    c->peer = p;
    c->started = (uint64_t)who->started_ms;
    memcpy(c->node_key, who->node_key, sizeof(c->node_key));
    isola_link_direct(link);
    isola_link_accept(link, &data_links_ops, c);
    conn_add(app, c, link);
    data_links_up(c);
}

static const struct isola_listener_ops listener_ops = {.accepted = accepted};

/* An actor-host whose node has another by now: what a script had of its secrets is worth nothing
 * any more. One that the view does not know of yet is newer. */
static bool outdated(const struct app *app, const struct isola_identity *who,
                     const uint8_t key[ISOLA_KEY_SIZE])
{
    for (size_t i = 0; i < app->npeers; i++) {
        const struct peer *p = app->peers[i];
        if (p->url != NULL && strcmp(p->name, who->name) == 0)
            return (uint64_t)who->started_ms < p->started &&
                   memcmp(key, p->key, ISOLA_KEY_SIZE) != 0;
    }
    return false;
}

static int admit(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                 struct isola_slice chain, struct isola_identity *who, struct isola_err *err)
{
    const struct app *app = arg;
    (void)link;
    int r = isola_identity_check(app->cluster_key, chain, peer, &app->removals, who, err);
    if (r == 0 && who->role != ISOLA_ROLE_HOST)
        r = isola_fail(err, ISOLA_EPERM,
                       "it is the agent of node %s; actor-hosts talk to actor-hosts here",
                       who->name);
    if (r == 0 && outdated(app, who, peer))
        r = isola_fail(err, ISOLA_EPERM,
                       "it is an actor-host that node %s had before the one it has now", who->name);
    return r;
}

int data_links_listen(struct app *app, struct isola_slice credentials, struct isola_err *err)
{
    struct isola_slice key, secret, chain, listen;
    char url[ISOLA_TCP_URL] = "";
    if (app->keys != NULL)
        return isola_fail(err, ISOLA_EEXIST, "it has credentials already");
    if (!isola_mp_find_bin(credentials, "cluster", &key) || key.len != ISOLA_KEY_SIZE ||
        !isola_mp_find_bin(credentials, "secret", &secret) || secret.len != ISOLA_KEY_SIZE ||
        !isola_mp_find_bin(credentials, "chain", &chain) ||
        !isola_mp_find_str(credentials, "listen", &listen) || listen.len >= sizeof(url))
        return isola_fail(err, ISOLA_EINVAL,
                          "credentials are cluster, secret, chain and listen; one is missing");
    memcpy(url, listen.data, listen.len);
    memcpy(app->cluster_key, key.data, ISOLA_KEY_SIZE);
    app->keys = isola_secret_alloc(sizeof(*app->keys));
    isola_static_keys_from(secret.data, app->keys);
    isola_buf_append(&app->chain, chain.data, chain.len);
    app->security = (struct isola_link_security){.keys = app->keys,
                                                 .chain = isola_buf_slice(&app->chain),
                                                 .purpose = ISOLA_LINK_DATA,
                                                 .admit = admit,
                                                 .arg = app};
    return isola_listener_open(app->loop, url, &app->security, &listener_ops, app, &app->listener,
                               err);
}

void data_links_removed(struct app *app, struct isola_slice params)
{
    struct isola_slice removed;
    struct isola_err err;
    size_t before = app->removals.n;
    if (app->keys == NULL || !isola_mp_find(params, "removed", &removed))
        return;
    if (isola_removals_read(&app->removals, app->cluster_key, removed, &err) < 0)
        isola_log(ISOLA_LOG_ERROR, "%s", err.text);
    if (app->removals.n == before)
        return;
    pthread_mutex_lock(&app->conns_lock);
    ISOLA_MAP_EACH(&app->conns, e)
    {
        struct conn *c = e->value;
        if (c->peer != NULL && c->link != NULL &&
            isola_removals_find(&app->removals, c->node_key) != NULL)
            isola_link_close(c->link);
    }
    pthread_mutex_unlock(&app->conns_lock);
}
