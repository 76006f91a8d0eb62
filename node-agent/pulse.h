/* SPDX-License-Identifier: Apache-2.0
 *
 * How long the actor-host has not answered, and what is to follow from it.
 *
 * It is counted in looks, a second apart, and not by a clock: when this process, the cgroup that
 * both are in or the whole machine stood still, the second in which it goes on counts once. A sign
 * of life is whatever comes from it, or that it reads what waits to be sent to it. One that a
 * debugger or a SIGSTOP has stopped does not answer, but is not stuck.
 *
 * No clock, no loop, no process: host.c looks.
 */
#ifndef ISOLA_NODE_AGENT_PULSE_H
#define ISOLA_NODE_AGENT_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#define ISOLA__PULSE_SILENT 10 /* looks in vain, and it is known not to answer */

/* Of its link, and of its process. */
struct isola__pulse_look {
    uint64_t frames_in, bytes_out;
    bool queued;  /* something waits to be sent */
    bool stopped; /* its process is, as a whole */
};

/* Zero: it has answered. */
struct isola__pulse {
    bool asked;
    unsigned silent; /* looks in vain since it was asked */
    unsigned stuck;  /* those in a row at which it was not stopped */
    struct isola__pulse_look last;
};

enum isola__pulse_verdict {
    ISOLA__PULSE_WAIT,
    ISOLA__PULSE_FELL_SILENT, /* with this look */
    ISOLA__PULSE_STUCK,       /* it is to be ended */
};

/* Every second from the question on, the first look being that of the question. `limit`: so many
 * looks, and it is stuck; 0: it never is. */
static inline enum isola__pulse_verdict
isola__pulse_look(struct isola__pulse *p, const struct isola__pulse_look *now, unsigned limit)
{
    bool lives = now->frames_in != p->last.frames_in ||
                 (p->last.queued && now->bytes_out != p->last.bytes_out);
    bool counts = p->asked && !lives;
    p->silent = counts ? p->silent + 1 : 0;
    p->stuck = counts && !now->stopped ? p->stuck + 1 : 0;
    p->asked = true;
    p->last = *now;
    if (limit > 0 && p->stuck >= limit)
        return ISOLA__PULSE_STUCK;
    return p->silent == ISOLA__PULSE_SILENT ? ISOLA__PULSE_FELL_SILENT : ISOLA__PULSE_WAIT;
}

static inline bool isola__pulse_silent(const struct isola__pulse *p)
{
    return p->silent >= ISOLA__PULSE_SILENT;
}

#endif
