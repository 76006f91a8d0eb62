/* SPDX-License-Identifier: Apache-2.0
 *
 * How often the actors of a release did what they were asked, and how often not: so that who
 * watches one can tell whether it does worse than another: than the one before, when it has become
 * current; when it is a canary, than the current one in the same time. So it is counted from when
 * the app's releases, or the share of the canary, became what they are.
 *
 * An error is an ask that was answered with one, a crash, or a start that failed; not when an
 * actor's state cannot be had now, of which its release knows nothing. Turns are counted where they
 * begin, by the realm, and added at the end of its visit: in one of several places, so that workers
 * do not wait for one another.
 */
#include "actors/tally.h"

#include <string.h>

#include "actors/host_own.h"
#include "actors/stack.h"
#include "base/msgpack.h"

#define FIRST_MAX 2000 /* bytes that are kept of the first error */

void isola__tally_init(struct isola_tally *t)
{
    pthread_mutex_init(&t->lock, NULL);
}

void isola__tally_free(struct isola_tally *t)
{
    pthread_mutex_destroy(&t->lock);
    isola_buf_free(&t->first_of);
    isola_buf_free(&t->first);
}

static struct isola_tally_sum sum_of(const struct isola_release_rt *r)
{
    struct isola_tally_sum sum = {0};
    for (unsigned i = 0; r != NULL && i < ISOLA_TALLY_STRIPES; i++)
        sum.turns += atomic_load_explicit(&r->tally.turns[i].n, memory_order_relaxed);
    if (r != NULL)
        sum.errors = atomic_load_explicit(&r->tally.errors, memory_order_relaxed);
    return sum;
}

static struct isola_tally_sum less(struct isola_tally_sum sum, struct isola_tally_sum since)
{
    return (struct isola_tally_sum){sum.turns - since.turns, sum.errors - since.errors};
}

static struct isola_release_rt *watched(const struct isola_app *app)
{
    return app->candidate != NULL ? app->candidate : app->current;
}

void isola__tally_begin(struct isola_app *app, const struct isola_app *old, bool unproven)
{
    struct isola_tally *t = &watched(app)->tally;
    bool stays = app->current == old->current;
    app->before = stays || unproven ? old->before : sum_of(old->current);
    app->since = sum_of(watched(app));
    app->beside = sum_of(app->current);
    pthread_mutex_lock(&t->lock);
    isola_buf_free(&t->first_of);
    isola_buf_free(&t->first);
    atomic_store(&t->has_first, false);
    pthread_mutex_unlock(&t->lock);
}

void isola__tally_error(const struct isola_actor *a, struct isola_slice text)
{
    struct isola_tally *t = &a->type->release->tally;
    atomic_fetch_add_explicit(&t->errors, 1, memory_order_relaxed);
    if (atomic_load_explicit(&t->has_first, memory_order_relaxed))
        return;
    pthread_mutex_lock(&t->lock);
    if (!atomic_load_explicit(&t->has_first, memory_order_relaxed)) {
        isola_buf_append(&t->first_of, a->address.data, a->address.len);
        text = isola_slice_cut(text, FIRST_MAX);
        isola_buf_append(&t->first, text.data, text.len);
        atomic_store_explicit(&t->has_first, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&t->lock);
}

void isola__tally_refused(const struct isola_actor *a, struct isola_slice args)
{
    struct isola_buf text = {0};
    struct isola_slice value;
    if (!atomic_load_explicit(&a->type->release->tally.has_first, memory_order_relaxed) &&
        isola_mp_at(args, 0, &value))
        isola__error_text(value, &text);
    isola__tally_error(a, isola_buf_slice(&text));
    isola_buf_free(&text);
}

bool isola_host_tally(struct isola_host *h, struct isola_slice app, struct isola_host_tally *out)
{
    *out = (struct isola_host_tally){0};
    pthread_rwlock_rdlock(&h->apps_lock);
    const struct isola_app *of = isola_map_get(&h->apps, app);
    struct isola_release_rt *r = of != NULL ? watched(of) : NULL;
    struct isola_tally_sum now = {0}, before = {0};
    if (r != NULL) {
        isola__release_ref(r);
        now = less(sum_of(r), of->since);
        before = of->candidate != NULL ? less(sum_of(of->current), of->beside) : of->before;
    }
    pthread_rwlock_unlock(&h->apps_lock);
    if (r == NULL)
        return false;
    struct isola_tally *t = &r->tally;
    out->release = isola_strdup(r->id);
    out->turns = now.turns;
    out->errors = now.errors;
    out->before_turns = before.turns;
    out->before_errors = before.errors;
    pthread_mutex_lock(&t->lock);
    isola_buf_append(&out->first_of, t->first_of.data, t->first_of.len);
    isola_buf_append(&out->first, t->first.data, t->first.len);
    pthread_mutex_unlock(&t->lock);
    isola__release_unref(r);
    return true;
}

void isola_host_tally_free(struct isola_host_tally *t)
{
    free(t->release);
    isola_buf_free(&t->first_of);
    isola_buf_free(&t->first);
}
