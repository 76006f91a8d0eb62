/* SPDX-License-Identifier: Apache-2.0
 *
 * Which nodes there are, and which of them an actor lives on.
 */
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"

/* --- places --- */

int peers_locate(void *arg, struct isola_slice address)
{
    struct app *app = arg;
    int node = 0;
    if (!atomic_load_explicit(&app->alone, memory_order_acquire))
        node = atomic_load_explicit(&app->places[isola_shard(address)], memory_order_acquire);
    return node == 0 && services_has(app, address) ? ISOLA_SERVICES : node;
}

struct peer *peers_of(struct app *app, struct isola_slice address)
{
    int node = peers_locate(app, address);
    return node == ISOLA_SERVICES ? &app->services : node > 0 ? app->peers[node - 1] : NULL;
}

struct forward_parcel {
    struct parcel parcel;
    struct isola_mail *mail;
};

static void run_forward(struct app *app, struct parcel *parcel)
{
    struct forward_parcel *f = (struct forward_parcel *)parcel;
    claims_answered(app, f->mail);
    free(f);
}

void peers_forward(void *arg, int node, struct isola_mail *mail)
{
    struct app *app = arg;
    if (mail->kind == ISOLA_MSG_SUB || mail->kind == ISOLA_MSG_UNSUB) {
        if (node == ISOLA_SERVICES)
            services_sub(app, mail);
        else
            subs_out_mail(app, node, mail);
    } else if (mail->origin.link == GIVE_LINK) {
        /* A STOP that waited while the activation ended by itself: it must not go after the actor.
         */
        struct forward_parcel *f = isola_zalloc(sizeof(*f));
        f->parcel.run = run_forward;
        f->mail = mail;
        outbox_put(app, &f->parcel);
    } else if (node == ISOLA_SERVICES || (mail->durable && services_has(app, mail->dst))) {
        services_send(app, mail);
    } else {
        peer_send(app->peers[node - 1], mail);
    }
}

bool peers_send(void *arg, int node, struct isola_mail *mail)
{
    struct app *app = arg;
    return node != ISOLA_SERVICES && peer_send_now(app->peers[node - 1], mail);
}

/* --- the view --- */

struct peer *peers_named(struct app *app, struct isola_slice name)
{
    size_t n = app->npeers;
    for (size_t i = 0; i < n; i++)
        if (isola_slice_is(name, app->peers[i]->name))
            return app->peers[i];
    if (n == ISOLA_PEERS_MAX)
        return NULL;
    struct peer *p = isola_zalloc(sizeof(*p));
    p->app = app;
    p->number = (int)n + 1;
    p->name = isola_strndup((const char *)name.data, name.len);
    pthread_mutex_init(&p->lock, NULL);
    app->peers[n] = p;
    app->npeers = n + 1;
    return p;
}

/* A node that is in the view; false when there are too many. */
static bool in_view(struct app *app, struct isola_slice node, struct isola_slice name,
                    struct peer **out)
{
    struct isola_slice url = {0}, version = {0}, key = {0};
    bool behind = false;
    struct peer *p = *out = peers_named(app, name);
    if (p == NULL)
        return false;
    isola_mp_find_str(node, "url", &url);
    isola_mp_find_str(node, "version", &version);
    bool keyed = isola_mp_find_bin(node, "key", &key) && key.len == ISOLA_KEY_SIZE;
    (void)isola_mp_find_bool(node, "behind", &behind);
    peer_set_live(p, behind);
    peer_set_url(p, keyed ? url : (struct isola_slice){0}, keyed ? key.data : NULL);
    p->started = 0;
    (void)isola_mp_find_uint(node, "started", &p->started);
    free(p->version);
    p->version = version.len > 0 ? isola_strndup((const char *)version.data, version.len) : NULL;
    return true;
}

/* Which shards belong to nodes that are known and not there: their actors' state is out of reach.
 */
static void find_lost(struct app *app, const char *const *live, size_t nlive,
                      struct isola_slice params)
{
    struct isola_slice down = {0}, item;
    isola_mp_find(params, "down", &down);
    for (size_t i = 0; i < app->ndown; i++)
        free(app->down[i]);
    app->ndown = 0;
    size_t n = isola_mp_count(down);
    app->down = isola_realloc(app->down, n * sizeof(char *));
    const char **names = isola_zalloc((nlive + n) * sizeof(*names));
    memcpy(names, live, nlive * sizeof(*names));
    for (size_t i = 0; i < n; i++) {
        struct isola_mp_item name;
        if (!isola_mp_at(down, i, &item))
            continue;
        struct isola_mp_reader r = isola_mp_reader(item);
        if (isola_mp_next(&r, &name) != 0 || name.type != ISOLA_MP_STR)
            continue;
        app->down[app->ndown] = isola_strndup((const char *)name.bytes.data, name.bytes.len);
        names[nlive + app->ndown] = app->down[app->ndown];
        app->ndown++;
    }
    uint16_t map[ISOLA_SHARDS];
    isola_place_map(names, nlive + app->ndown, map);
    for (size_t i = 0; i < ISOLA_SHARDS; i++)
        app->lost[i] = map[i] >= nlive ? (uint16_t)(map[i] - nlive + 1) : 0;
    free(names);
}

void peers_view(struct app *app, struct isola_slice params)
{
    struct isola_slice self = {0}, nodes = {0}, node;
    isola_mp_find_str(params, "self", &self);
    data_links_removed(app, params);
    bool open = false;
    (void)isola_mp_find_bool(params, "open", &open);
    if (!isola_mp_find(params, "nodes", &nodes) || isola_mp_count(nodes) == 0)
        return;
    atomic_store(&app->alone, false); /* before anything starts by the new view */
    size_t n = isola_mp_count(nodes), count = 0;
    const char **names = isola_zalloc(n * sizeof(*names));
    uint16_t *numbers = isola_zalloc(n * sizeof(*numbers));
    bool *live = isola_zalloc((app->npeers + n) * sizeof(*live));
    for (size_t i = 0; i < n; i++) {
        struct isola_slice name = {0};
        struct peer *p;
        if (!isola_mp_at(nodes, i, &node) || !isola_mp_find_str(node, "name", &name))
            continue;
        if (isola_slice_eq(name, self)) {
            names[count++] = app->options.node;
        } else if (in_view(app, node, name, &p)) {
            live[p->number - 1] = true;
            names[count] = p->name;
            numbers[count++] = (uint16_t)p->number;
        }
    }
    if (count > 0) {
        uint16_t map[ISOLA_SHARDS];
        isola_place_map(names, count, map);
        for (size_t i = 0; i < ISOLA_SHARDS; i++)
            atomic_store_explicit(&app->places[i], numbers[map[i]], memory_order_release);
        find_lost(app, names, count, params);
        atomic_store_explicit(&app->alone, count == 1 && app->ndown == 0, memory_order_release);
    }
    for (size_t i = 0; i < app->npeers; i++) {
        struct peer *p = app->peers[i];
        bool was = p->live;
        if (live[i] || !was)
            continue;
        peer_leave(p);
    }
    free(names);
    free(numbers);
    free(live);
    isola_host_moved(app->host);
    subs_out_settle(app);
    claims_view(app);
    data_links_settle(app);
    if (open) /* what may run here is known */
        isola_host_outbox_begin(app->host);
}
