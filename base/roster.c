/* SPDX-License-Identifier: Apache-2.0 */
#include "base/roster.h"

#include <stdlib.h>
#include <string.h>

#include "base/canary.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/msgpack.h"

/* --- the nodes --- */

void isola_roster_free(struct isola_roster *r)
{
    free(r->nodes);
    *r = (struct isola_roster){0};
}

/* Where the first is that sorts at or behind `name`. */
static size_t lower(const struct isola_roster *r, const char *name)
{
    size_t from = 0, to = r->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (strcmp(r->nodes[middle].name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

size_t isola_roster_find(const struct isola_roster *r, const char *name)
{
    size_t at = lower(r, name);
    return at < r->n && strcmp(r->nodes[at].name, name) == 0 ? at : r->n;
}

bool isola_roster_has(const struct isola_roster *r, const char *name)
{
    return isola_roster_find(r, name) < r->n;
}

int isola_roster_add(struct isola_roster *r, struct isola_slice name, uint64_t processors,
                     struct isola_err *err)
{
    struct isola_roster_node node = {.processors = (uint32_t)processors};
    if (name.len == 0 || name.len > ISOLA_ROSTER_NAME || memchr(name.data, 0, name.len) != NULL)
        return isola_fail(err, ISOLA_EINVAL,
                          "\"nodes\" of a canary: \"node\" must be a name of 1 "
                          "to %d bytes",
                          ISOLA_ROSTER_NAME);
    if (processors == 0 || processors > ISOLA_ROSTER_TIMES)
        return isola_fail(err, ISOLA_EINVAL,
                          "\"nodes\" of a canary: \"processors\" of node %.*s must be from 1 to %d",
                          ISOLA_FMT(name), ISOLA_ROSTER_TIMES);
    memcpy(node.name, name.data, name.len);
    size_t at = lower(r, node.name);
    if (at < r->n && strcmp(r->nodes[at].name, node.name) == 0) {
        r->nodes[at] = node;
        return 0;
    }
    if (r->n == ISOLA_ROSTER_MAX)
        return isola_fail(err, ISOLA_EINVAL, "\"nodes\" of a canary: there are more than %d",
                          ISOLA_ROSTER_MAX);
    r->nodes = isola_realloc(r->nodes, (r->n + 1) * sizeof(*r->nodes));
    memmove(&r->nodes[at + 1], &r->nodes[at], (r->n - at) * sizeof(*r->nodes));
    r->nodes[at] = node;
    r->n++;
    return 0;
}

void isola_roster_copy(struct isola_roster *to, const struct isola_roster *from)
{
    isola_roster_free(to);
    if (from->n == 0)
        return;
    to->nodes = isola_alloc(from->n * sizeof(*to->nodes));
    memcpy(to->nodes, from->nodes, from->n * sizeof(*to->nodes));
    to->n = from->n;
}

void isola_roster_write(const struct isola_roster *r, struct isola_buf *out)
{
    isola_mp_array(out, r->n);
    for (size_t i = 0; i < r->n; i++) {
        isola_mp_map(out, 2);
        isola_mp_kstr(out, "node", r->nodes[i].name);
        isola_mp_kuint(out, "processors", r->nodes[i].processors);
    }
}

int isola_roster_read(struct isola_slice list, struct isola_roster *r, struct isola_err *err)
{
    struct isola_mp_reader reader = isola_mp_reader(list);
    struct isola_mp_item head;
    struct isola_slice one;
    if (isola_mp_next(&reader, &head) != 0 || head.type != ISOLA_MP_ARRAY)
        return isola_fail(err, ISOLA_EINVAL, "\"nodes\" of a canary must be a list");
    int rc = 0;
    for (size_t n = isola_mp_count(list); rc == 0 && n > 0; n--) {
        struct isola_slice name = {0};
        uint64_t processors = 0;
        if (isola_mp_skip(&reader, &one) != 0)
            rc = isola_fail(err, ISOLA_EINVAL, "\"nodes\" of a canary ends too soon");
        else {
            (void)isola_mp_find_str(one, "node", &name);
            (void)isola_mp_find_uint(one, "processors", &processors);
            rc = isola_roster_add(r, name, processors, err);
        }
    }
    if (rc != 0)
        isola_roster_free(r);
    return rc;
}

/* --- the rule --- */

#define ONE ((uint64_t)1 << 32)

static unsigned instances_of(const struct isola_roster_node *node, uint32_t instances)
{
    return instances != 0 ? instances : node->processors;
}

static uint32_t offset_of(const struct isola_roster_node *node, const char *service)
{
    uint64_t seed = isola_hash(service, strlen(service), ISOLA_CANARY_SEED);
    return (uint32_t)(isola_hash(node->name, strlen(node->name), seed) >> 32);
}

/* How many of its instances are before `end`, of ONE: those j with (j * ONE + u) / n < end. Whole
 * numbers, so that it is the same on every machine. */
static unsigned before(uint64_t end, uint32_t u, unsigned n)
{
    uint64_t reach = end * n;
    uint64_t many = reach > u ? (reach - u + ONE - 1) / ONE : 0;
    return many < n ? (unsigned)many : n;
}

static uint64_t all_before(const struct isola_roster *r, const char *service, uint32_t instances,
                           uint64_t end)
{
    uint64_t many = 0;
    for (size_t i = 0; i < r->n; i++)
        many +=
            before(end, offset_of(&r->nodes[i], service), instances_of(&r->nodes[i], instances));
    return many;
}

void isola_roster_parts(const struct isola_roster *r, const char *service, uint32_t instances,
                        uint32_t share, struct isola_roster_part *parts)
{
    uint64_t all = 0, low = 0, high = ONE;
    for (size_t i = 0; i < r->n; i++) {
        parts[i] = (struct isola_roster_part){.instances = instances_of(&r->nodes[i], instances)};
        all += parts[i].instances;
    }
    if (share == 0 || all == 0)
        return;
    if (all == 1) {
        parts[0] = (struct isola_roster_part){2, 1};
        return;
    }
    uint64_t wanted = isola_canary_of(all, share);
    while (low + 1 < high) { /* the least `high` before which there are enough */
        uint64_t middle = low + (high - low) / 2;
        if (all_before(r, service, instances, middle) >= wanted)
            high = middle;
        else
            low = middle;
    }
    uint64_t left = wanted - all_before(r, service, instances, low);
    for (size_t i = 0; i < r->n; i++) { /* of those at the very same place, by name */
        uint32_t u = offset_of(&r->nodes[i], service);
        unsigned sure = before(low, u, parts[i].instances);
        unsigned more = before(high, u, parts[i].instances) - sure;
        more = more < left ? more : (unsigned)left;
        left -= more;
        parts[i].canaries = sure + more;
    }
}
