/* SPDX-License-Identifier: Apache-2.0
 *
 * How often the actors of a release did what they were asked, and how often not: so that who
 * watches a release that has become current can tell whether it does worse than the one before.
 *
 * An error is an ask that was answered with one, a crash, or a start that failed; not when an
 * actor's state cannot be had now, of which its release knows nothing. Turns are counted where they
 * begin, by the realm, and added at the end of its visit: in one of several places, so that workers
 * do not wait for one another.
 */
#include <string.h>

#include "actors/internal.h"
#include "actors/stack.h"
#include "base/msgpack.h"

#define FIRST_MAX 2000 /* bytes that are kept of the first error */

void isola__tally_init(struct isola_tally *t, const struct isola_release_rt *before, bool unproven)
{
    pthread_mutex_init(&t->lock, NULL);
    if (before == NULL)
        return;
    if (unproven) {
        t->before_turns = before->tally.before_turns;
        t->before_errors = before->tally.before_errors;
    } else {
        t->before_turns = isola__tally_turns(&before->tally);
        t->before_errors = atomic_load_explicit(&before->tally.errors, memory_order_relaxed);
    }
}

void isola__tally_free(struct isola_tally *t)
{
    pthread_mutex_destroy(&t->lock);
    isola_buf_free(&t->first_of);
    isola_buf_free(&t->first);
}

uint64_t isola__tally_turns(const struct isola_tally *t)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < ISOLA_TALLY_STRIPES; i++)
        n += atomic_load_explicit(&t->turns[i].n, memory_order_relaxed);
    return n;
}

void isola__tally_error(const struct isola_actor *a, struct isola_slice text)
{
    struct isola_tally *t = &a->type->release->tally;
    if (atomic_fetch_add_explicit(&t->errors, 1, memory_order_relaxed) > 0)
        return;
    pthread_mutex_lock(&t->lock);
    isola_buf_append(&t->first_of, a->address.data, a->address.len);
    text = isola_slice_cut(text, FIRST_MAX);
    isola_buf_append(&t->first, text.data, text.len);
    pthread_mutex_unlock(&t->lock);
}

void isola__tally_refused(const struct isola_actor *a, struct isola_slice args)
{
    struct isola_buf text = {0};
    struct isola_slice value;
    if (atomic_load_explicit(&a->type->release->tally.errors, memory_order_relaxed) == 0 &&
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
    struct isola_release_rt *r = of != NULL ? of->current : NULL;
    if (r != NULL)
        isola__release_ref(r);
    pthread_rwlock_unlock(&h->apps_lock);
    if (r == NULL)
        return false;
    struct isola_tally *t = &r->tally;
    out->release = isola_strdup(r->id);
    out->turns = isola__tally_turns(t);
    out->errors = atomic_load_explicit(&t->errors, memory_order_relaxed);
    out->before_turns = t->before_turns;
    out->before_errors = t->before_errors;
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
