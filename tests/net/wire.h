/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bad network does to frames: between every two of its hosts, each way by itself, it loses,
 * delays, doubles, reorders, damages or forges them, or is cut.
 *
 * A frame comes in with isola_wire_put, and out of isola_wire_take when its time has come; neither
 * does I/O, and both are told what time it is. All that happens by chance follows from the seed
 * and the order in which frames come.
 *
 * Frames of one direction stay in order, unless reordering is asked for. What waits in a direction
 * is bounded: beyond ISOLA_WIRE_QUEUE frames it loses them, as a switch does. Not thread-safe.
 */
#ifndef ISOLA_TESTS_NET_WIRE_H
#define ISOLA_TESTS_NET_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

#define ISOLA_WIRE_HOSTS 16
#define ISOLA_WIRE_QUEUE 4096
/* A frame that is reordered stays back for as long, at the most (and for a tenth at the least). */
#define ISOLA_WIRE_BACK_NS 20000000u

struct isola_wire_rules {
    uint64_t delay;  /* ns, of each frame */
    uint64_t jitter; /* ns more at the most */
    uint64_t rate;   /* bits a second; 0: as they come */
    double loss;     /* shares of the frames, 0 to 1, from here on */
    double duplicate;
    double reorder; /* stay back, so that later ones overtake them */
    double corrupt; /* one bit is turned over: checksums do not hold any more */
    double forge;   /* one bit of what TCP carries is, and the checksum mended */
};

struct isola_wire_counts {
    uint64_t frames; /* that came in; of these, or of their duplicates: */
    uint64_t bytes;
    uint64_t passed;
    uint64_t cut; /* came, or were under way, while it was cut */
    uint64_t lost;
    uint64_t overflowed;
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t corrupted;
    uint64_t forged;
};

struct isola_wire_frame {
    struct isola_heap_node node; /* by the time at which it arrives */
    unsigned from, to;
    size_t n;
    uint8_t bytes[];
};

/* `hosts` is ISOLA_WIRE_HOSTS at the most. */
struct isola_wire *isola_wire_new(unsigned hosts, uint64_t seed);
void isola_wire_free(struct isola_wire *w);

void isola_wire_rule(struct isola_wire *w, unsigned from, unsigned to,
                     const struct isola_wire_rules *rules);
void isola_wire_cut(struct isola_wire *w, unsigned from, unsigned to, bool cut);
const struct isola_wire_counts *isola_wire_counts(const struct isola_wire *w, unsigned from,
                                                  unsigned to);

/* Copies the frame. */
void isola_wire_put(struct isola_wire *w, unsigned from, unsigned to, const uint8_t *bytes,
                    size_t n, uint64_t now);
/* The next frame that arrives by `now`, or NULL. The caller frees it with free(). */
struct isola_wire_frame *isola_wire_take(struct isola_wire *w, uint64_t now);
/* When to ask again; UINT64_MAX while nothing is under way. */
uint64_t isola_wire_next(const struct isola_wire *w);

/* Turns over one bit of what a TCP segment in IPv4 carries and mends its checksum; which one
 * `random` says. False, and nothing changed, when the frame is nothing of the sort. */
bool isola_wire_forge(uint8_t *frame, size_t n, uint64_t random);

#endif
