/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/wire.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define ETHERNET 14 /* bytes of the header */

struct direction {
    struct isola_wire_rules rules;
    struct isola_wire_counts counts;
    uint64_t last; /* when the last one in order arrives */
    uint64_t free; /* when the rate lets the next one go */
    unsigned waiting;
    bool cut;
};

struct isola_wire {
    unsigned hosts;
    uint64_t random;
    struct isola_heap pending;
    struct direction directions[];
};

struct isola_wire *isola_wire_new(unsigned hosts, uint64_t seed)
{
    ISOLA_CHECK(hosts <= ISOLA_WIRE_HOSTS);
    struct isola_wire *w = isola_zalloc(sizeof *w + hosts * hosts * sizeof w->directions[0]);
    w->hosts = hosts;
    w->random = seed;
    return w;
}

static struct isola_wire_frame *frame_of(struct isola_heap_node *node)
{
    return (struct isola_wire_frame *)(void *)((char *)node -
                                               offsetof(struct isola_wire_frame, node));
}

void isola_wire_free(struct isola_wire *w)
{
    struct isola_heap_node *node;
    while ((node = isola_heap_min(&w->pending)) != NULL) {
        isola_heap_remove(&w->pending, node);
        free(frame_of(node));
    }
    isola_heap_free(&w->pending);
    free(w);
}

static struct direction *direction(const struct isola_wire *w, unsigned from, unsigned to)
{
    ISOLA_CHECK(from < w->hosts && to < w->hosts);
    return (struct direction *)&w->directions[from * w->hosts + to];
}

void isola_wire_rule(struct isola_wire *w, unsigned from, unsigned to,
                     const struct isola_wire_rules *rules)
{
    direction(w, from, to)->rules = *rules;
}

void isola_wire_cut(struct isola_wire *w, unsigned from, unsigned to, bool cut)
{
    direction(w, from, to)->cut = cut;
}

const struct isola_wire_counts *isola_wire_counts(const struct isola_wire *w, unsigned from,
                                                  unsigned to)
{
    return &direction(w, from, to)->counts;
}

/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static uint64_t draw(struct isola_wire *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Draws only when there is something to decide, so that one rule does not change what comes of
 * another. */
static bool chance(struct isola_wire *w, double share)
{
    return share > 0 && (double)(draw(w) >> 11) * 0x1p-53 < share;
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

bool isola_wire_forge(uint8_t *frame, size_t n, uint64_t random)
{
    if (n < ETHERNET + 20 || get16(frame + 12) != 0x0800)
        return false;
    uint8_t *ip = frame + ETHERNET;
    size_t header = (size_t)(ip[0] & 15) * 4, total = get16(ip + 2);
    if (ip[0] >> 4 != 4 || header < 20 || total > n - ETHERNET || total < header + 20 ||
        ip[9] != 6 || (get16(ip + 6) & 0x3fff) != 0)
        return false;
    uint8_t *tcp = ip + header;
    size_t data = (size_t)(tcp[12] >> 4) * 4, length = total - header;
    if (data < 20 || data >= length)
        return false;
    size_t at = data + (size_t)((random >> 3) % (length - data));
    size_t word = at & ~(size_t)1; /* the checksum is over words of 16 bits, the last one padded */
    uint16_t was = (uint16_t)(tcp[word] << 8 | (word + 1 < length ? tcp[word + 1] : 0));
    tcp[at] ^= (uint8_t)(1u << (random & 7));
    uint16_t is = (uint16_t)(tcp[word] << 8 | (word + 1 < length ? tcp[word + 1] : 0));
    uint32_t sum = (uint16_t)~get16(tcp + 16) + (uint32_t)(uint16_t)~was + is; /* RFC 1624 */
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    tcp[16] = (uint8_t)(~sum >> 8);
    tcp[17] = (uint8_t)~sum;
    return true;
}

static void send_one(struct isola_wire *w, struct direction *d, struct isola_wire_frame *f,
                     uint64_t now)
{
    const struct isola_wire_rules *r = &d->rules;
    if (chance(w, r->corrupt) && f->n > ETHERNET) {
        uint64_t bit = draw(w) % ((f->n - ETHERNET) * 8);
        f->bytes[ETHERNET + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        d->counts.corrupted++;
    }
    if (chance(w, r->forge) && isola_wire_forge(f->bytes, f->n, draw(w)))
        d->counts.forged++;
    uint64_t due = now;
    if (r->rate > 0) {
        due = (d->free > now ? d->free : now) + (uint64_t)f->n * 8 * 1000000000u / r->rate;
        d->free = due;
    }
    due += r->delay;
    if (r->jitter > 0)
        due += draw(w) % (r->jitter + 1);
    if (chance(w, r->reorder)) {
        due += ISOLA_WIRE_BACK_NS / 10 + draw(w) % (ISOLA_WIRE_BACK_NS * 9 / 10);
        d->counts.reordered++;
    } else {
        if (due <= d->last)
            due = d->last + 1;
        d->last = due;
    }
    d->waiting++;
    isola_heap_insert(&w->pending, &f->node, due);
}

void isola_wire_put(struct isola_wire *w, unsigned from, unsigned to, const uint8_t *bytes,
                    size_t n, uint64_t now)
{
    struct direction *d = direction(w, from, to);
    d->counts.frames++;
    d->counts.bytes += n;
    if (d->cut) {
        d->counts.cut++;
        return;
    }
    if (chance(w, d->rules.loss)) {
        d->counts.lost++;
        return;
    }
    unsigned copies = 1;
    if (chance(w, d->rules.duplicate)) {
        d->counts.duplicated++;
        copies = 2;
    }
    for (; copies > 0; copies--) {
        struct isola_wire_frame *f = d->waiting < ISOLA_WIRE_QUEUE ? malloc(sizeof *f + n) : NULL;
        if (!f) {
            d->counts.overflowed++;
            continue;
        }
        *f = (struct isola_wire_frame){.from = from, .to = to, .n = n};
        memcpy(f->bytes, bytes, n);
        send_one(w, d, f, now);
    }
}

struct isola_wire_frame *isola_wire_take(struct isola_wire *w, uint64_t now)
{
    struct isola_heap_node *node;
    while ((node = isola_heap_min(&w->pending)) != NULL && node->key <= now) {
        isola_heap_remove(&w->pending, node);
        struct isola_wire_frame *f = frame_of(node);
        struct direction *d = direction(w, f->from, f->to);
        d->waiting--;
        if (!d->cut) {
            d->counts.passed++;
            return f;
        }
        d->counts.cut++;
        free(f);
    }
    return NULL;
}

uint64_t isola_wire_next(const struct isola_wire *w)
{
    const struct isola_heap_node *node = isola_heap_min(&w->pending);
    return node ? node->key : UINT64_MAX;
}
