/* SPDX-License-Identifier: Apache-2.0
 *
 * The processors this program may use, and how much of them it does.
 */
#ifndef ISOLA_BASE_CPUS_H
#define ISOLA_BASE_CPUS_H

#include <sched.h>

#include "base/annotate.h"

/* Of so many hundredths all are as good as used: what is left goes to the kernel for what the
 * program makes it do. */
#define ISOLA_CPUS_SHORT 60u

/* The part of them that all threads of this program have used lately, in hundredths: of some
 * milliseconds, which may have ended long ago if nobody has asked since. */
ANY_THREAD unsigned isola_cpus_used(void);

/* This thread goes to one of them that is not in `taken`, and is not held there. The processor it
 * is on now, or -1 where there is no other. Takes some 20 us. */
ANY_THREAD int isola_cpus_leave(const cpu_set_t *taken);

#endif
