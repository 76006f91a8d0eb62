/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors that have taken the process along again and again: they are not started, until a person
 * says so (`ctl restart`). Whoever starts the host knows of them and keeps the list; here it is
 * only asked.
 */
#include "actors/quarantine.h"

#include "actors/host_own.h"

void isola_host_quarantine(struct isola_host *h, struct isola_slice address, const char *why)
{
    pthread_mutex_lock(&h->quarantine_lock);
    free(isola_map_set(&h->quarantine, address, isola_strdup(why)));
    atomic_store(&h->nquarantined, (unsigned)h->quarantine.count);
    pthread_mutex_unlock(&h->quarantine_lock);
}

bool isola__quarantined(struct isola_host *h, struct isola_slice address, bool lift,
                        struct isola_err *err)
{
    if (atomic_load_explicit(&h->nquarantined, memory_order_relaxed) == 0)
        return false;
    bool lifted = false;
    pthread_mutex_lock(&h->quarantine_lock);
    const char *why = isola_map_get(&h->quarantine, address);
    if (why != NULL && lift) {
        free(isola_map_del(&h->quarantine, address));
        atomic_store(&h->nquarantined, (unsigned)h->quarantine.count);
        lifted = true;
    } else if (why != NULL) {
        isola_fail(err, ISOLA_EFAILED, "%.*s is in quarantine (`ctl restart` lifts it): %s",
                   ISOLA_FMT(address), why);
    }
    pthread_mutex_unlock(&h->quarantine_lock);
    if (lifted && h->ops->lifted != NULL)
        h->ops->lifted(h->arg, address);
    return why != NULL && !lifted;
}

size_t isola__quarantine_each(struct isola_host *h, struct isola_slice app,
                              void (*each)(const struct isola_host_info *info, void *arg),
                              void *arg)
{
    size_t n = 0;
    pthread_mutex_lock(&h->quarantine_lock);
    ISOLA_MAP_EACH(&h->quarantine, e)
    {
        struct isola_slice address = isola_slice(e->key, e->len);
        struct isola_address at;
        if (isola_address_parse(address, &at, NULL) != 0 ||
            (app.len > 0 && !isola_slice_eq(app, at.app)))
            continue;
        struct isola_err why;
        isola_fail(&why, ISOLA_EFAILED, "is in quarantine (`ctl restart` lifts it): %s",
                   (const char *)e->value);
        struct isola_host_info info = {.address = address,
                                       .isolation = "isolate",
                                       .state = "quarantined",
                                       .release = "",
                                       .start = "source",
                                       .why = "",
                                       .failure = isola_slice_str(why.text)};
        each(&info, arg);
        n++;
    }
    pthread_mutex_unlock(&h->quarantine_lock);
    return n;
}
