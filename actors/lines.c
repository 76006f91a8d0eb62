/* SPDX-License-Identifier: Apache-2.0
 *
 * Which memory a visit of a realm needs, noted now and then, and fetched while something else is
 * under way: what many isolates take turns with has left the caches when its turn comes.
 */
#include "actors/realm.h"

#include "actors/gate.h"
#include "actors/turn.h"
#include "base/fetch.h"

/* Visits of an isolate between two looks at what it needs. */
#define LINES_VISITS 256
/* Of a state, to compare it: most differ soon, bytes. */
#define SAVED 128

/* All of it lies where a pointer in the struct itself says: what that points to may be gone. */
void isola__realm_fetch(const struct isola_realm *r, unsigned part, bool heard)
{
    unsigned n = atomic_load_explicit(heard ? &r->nheard : &r->nlines, memory_order_relaxed);
    if (part == 0) {
        const char *m = (const char *)atomic_load_explicit(&r->inbox, memory_order_relaxed);
        isola_fetch(m, sizeof(struct isola_mail));
        if (heard && m != NULL)
            isola_fetch(m - offsetof(struct isola_commit, note), sizeof(struct isola_commit));
        isola_fetch(atomic_load_explicit(&r->saved, memory_order_relaxed), heard ? 1 : SAVED);
    }
    for (unsigned i = part * n / ISOLA_FETCHES; i < (part + 1) * n / ISOLA_FETCHES; i++)
        __builtin_prefetch(atomic_load_explicit(&r->lines[i], memory_order_relaxed));
}

static unsigned add_lines(struct isola_realm *r, unsigned n, const void *at, size_t size)
{
    const char *line = (const char *)((uintptr_t)at & ~(uintptr_t)(ISOLA_LINE - 1));
    for (; at != NULL && line < (const char *)at + size && n < ISOLA_REALM_LINES;
         line += ISOLA_LINE)
        atomic_store_explicit(&r->lines[n++], line, memory_order_relaxed);
    return n;
}

void isola__realm_note(struct isola_realm *r)
{
    if (r->shared || r->lines_age-- > 0)
        return;
    const void *of_v8[ISOLA_REALM_LINES];
    unsigned n = 0;
    ISOLA_IDMAP_EACH(&r->actors, e)
    {
        n = add_lines(r, n, e, offsetof(struct isola_actor, text));
    }
    atomic_store_explicit(&r->nheard, n, memory_order_relaxed);
    n = add_lines(r, n, r->actors.slots, sizeof(*r->actors.slots) << r->actors.bits);
    n = add_lines(r, n, r->free_turns, sizeof(*r->free_turns));
    n = add_lines(r, n, r->batch.items, sizeof(*r->batch.items));
    unsigned more = isola_js_footprint(r->js, of_v8, ISOLA_REALM_LINES - n);
    for (unsigned i = 0; i < more; i++)
        n = add_lines(r, n, of_v8[i], 1);
    atomic_store_explicit(&r->nlines, n, memory_order_relaxed);
    r->lines_age = LINES_VISITS;
}
