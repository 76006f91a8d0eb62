/* SPDX-License-Identifier: Apache-2.0
 *
 * Isolates that are opened ahead of the actors that will live in them: opening is most of a birth,
 * and a worker without work does it while nobody waits.
 *
 * Whoever begins an isolate of a type asks for one more (isola__spare_want); a worker that would
 * sleep makes it (isola__spare_make), and the next actor of that type takes it (isola__spare_take)
 * or, when there is none, opens its own. So a host on which nothing is born makes none, and one
 * whose workers are all busy makes none either.
 *
 * There are few in a host, of the types that were begun last: one of another type goes only for a
 * type that has none. They go, too, when their release is not the current one any more, when memory
 * or mappings are short, and when the host drains.
 *
 * Invariants. 1. A spare belongs to nobody: what V8 posts for it waits until it is adopted. 2. It
 * holds its release, whose code and image its isolate reads. 3. What is being made when its release
 * goes, or the host drains, is closed by who made it: `epoch` is another then.
 */
#include "actors/spare.h"

#include "actors/host_own.h"
#include "actors/limits.h"
#include "actors/mappings.h"
#include "actors/prepared.h"

static unsigned count(const struct isola_spares *s, const struct isola_type *type)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ISOLA_SPARES_MAX; i++)
        n += (s->slot[i].type == type) + (s->want[i] == type);
    return n;
}

static void finish(struct isola_spare *spare)
{
    if (spare->v8 != NULL)
        isola_v8_close(spare->v8);
    if (spare->type != NULL)
        isola__release_unref(spare->type->release);
}

void isola__spare_want(struct isola_host *h, const struct isola_type *type)
{
    struct isola_spares *s = &h->spares;
    bool more = false;
    /* Both locks: a release that is replaced is so before its spares are dropped. */
    pthread_rwlock_rdlock(&h->apps_lock);
    bool current = isola__release_is_live(h, type->release);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; current && i < s->most && !more && count(s, type) < s->most; i++)
        if (s->want[i] == NULL) {
            s->want[i] = type;
            isola__release_ref(type->release);
            atomic_fetch_add(&s->wanted, 1);
            more = true;
        }
    pthread_mutex_unlock(&s->lock);
    pthread_rwlock_unlock(&h->apps_lock);
    if (more)
        isola__worker_wake_sleeper(h);
}

/* A place for one of `type`; what had it is to be finished. */
static struct isola_spare *place(struct isola_spares *s, const struct isola_type *type,
                                 struct isola_spare *old)
{
    struct isola_spare *oldest = NULL;
    for (unsigned i = 0; i < s->most; i++) {
        struct isola_spare *at = &s->slot[i];
        if (at->type == NULL)
            return at;
        if (at->v8 != NULL && (oldest == NULL || at->number < oldest->number))
            oldest = at;
    }
    if (oldest == NULL || count(s, type) > 0)
        return NULL;
    *old = *oldest;
    *oldest = (struct isola_spare){0};
    return oldest;
}

void isola__spare_make(struct isola_host *h)
{
    struct isola_spares *s = &h->spares;
    const struct isola_type *type = NULL;
    struct isola_spare old = {0}, made = {0}, *to = NULL;
    struct isola_err err;
    isola__host_busy(h); /* a drain waits for it */
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < ISOLA_SPARES_MAX && type == NULL; i++)
        if (s->want[i] != NULL) {
            type = s->want[i];
            s->want[i] = NULL;
            atomic_fetch_sub(&s->wanted, 1);
        }
    if (type != NULL && (to = place(s, type, &old)) != NULL)
        *to = (struct isola_spare){.type = type, .number = ++s->numbers};
    uint64_t epoch = s->epoch;
    pthread_mutex_unlock(&s->lock);
    finish(&old);
    if (to != NULL) {
        made = (struct isola_spare){.type = type, .image = isola__prepared_image(h, type)};
        if (!isola__mappings_plenty() || isola_v8_open(&isola__v8_ops, NULL, isola__limits_of(type),
                                                       made.image, &made.v8, &err) != 0)
            made.v8 = NULL; /* whoever needs one will hear why */
        pthread_mutex_lock(&s->lock);
        made.number = to->number;
        if (s->epoch == epoch && made.v8 != NULL) {
            *to = made;
            type = NULL;
            made = (struct isola_spare){0};
        } else {
            *to = (struct isola_spare){0};
            made.type = NULL;
        }
        pthread_mutex_unlock(&s->lock);
        finish(&made);
    }
    if (type != NULL)
        isola__release_unref(type->release);
    isola__host_unbusy(h);
}

struct isola_v8 *isola__spare_take(struct isola_realm *r, const struct isola_type *type,
                                   const struct isola_v8_image *image)
{
    struct isola_spares *s = &r->host->spares;
    struct isola_spare taken = {0};
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < ISOLA_SPARES_MAX && taken.v8 == NULL; i++)
        if (s->slot[i].type == type && s->slot[i].v8 != NULL) {
            taken = s->slot[i];
            s->slot[i] = (struct isola_spare){0};
        }
    pthread_mutex_unlock(&s->lock);
    if (taken.v8 == NULL)
        return NULL;
    struct isola_v8 *v8 = taken.v8;
    if (taken.image != image) { /* made before there was the image there is now */
        finish(&taken);
        return NULL;
    }
    taken.v8 = NULL;
    finish(&taken);
    isola_v8_adopt(v8, r);
    return v8;
}

void isola__spare_drop(struct isola_host *h, const struct isola_release_rt *release)
{
    struct isola_spares *s = &h->spares;
    struct isola_spare gone[ISOLA_SPARES_MAX] = {{0}};
    const struct isola_type *unwanted[ISOLA_SPARES_MAX] = {NULL};
    pthread_mutex_lock(&s->lock);
    s->epoch++;
    for (unsigned i = 0; i < ISOLA_SPARES_MAX; i++) {
        struct isola_spare *at = &s->slot[i];
        if (at->v8 != NULL && (release == NULL || at->type->release == release)) {
            gone[i] = *at;
            *at = (struct isola_spare){0};
        }
        if (s->want[i] != NULL && (release == NULL || s->want[i]->release == release)) {
            unwanted[i] = s->want[i];
            s->want[i] = NULL;
            atomic_fetch_sub(&s->wanted, 1);
        }
    }
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < ISOLA_SPARES_MAX; i++) {
        finish(&gone[i]);
        if (unwanted[i] != NULL)
            isola__release_unref(unwanted[i]->release);
    }
}

void isola_host_set_spares(struct isola_host *h, unsigned n)
{
    pthread_mutex_lock(&h->spares.lock);
    if (n > h->nworkers)
        n = h->nworkers;
    h->spares.most = n < ISOLA_SPARES_MAX ? n : ISOLA_SPARES_MAX;
    pthread_mutex_unlock(&h->spares.lock);
    if (n == 0)
        isola__spare_drop(h, NULL);
}
