/* SPDX-License-Identifier: Apache-2.0
 *
 * A fuzz target: bytes from outside go in, and whatever they are, what docs promise of them holds.
 *
 * `make fuzz` builds each NAME_fuzz.c with clang's libFuzzer, AddressSanitizer and
 * UndefinedBehaviorSanitizer and runs it for a while; `make test` builds it with replay.c, which
 * gives it the corpus and mutations of it, the same each time. A target says what is wrong by
 * ISOLA_CHECK, which aborts.
 */
#ifndef ISOLA_TESTS_FUZZ_H
#define ISOLA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/annotate.h"
#include "base/buf.h"
#include "base/check.h"

ISOLA_BEGIN_C

/* Always 0. Keeps nothing from one call to the next. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* replay.c's main, for targets that live in another program. */
int fuzz_replay(int argc, char **argv);

static inline bool fuzz_within(struct isola_slice part, struct isola_slice whole)
{
    return part.len == 0 || (part.data >= whole.data && part.len <= whole.len &&
                             part.data - whole.data <= (ptrdiff_t)(whole.len - part.len));
}

ISOLA_END_C

#endif
