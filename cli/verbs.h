/* SPDX-License-Identifier: Apache-2.0
 *
 * What commands do whose first operand is a verb: `ctl secret set …`.
 */
#ifndef ISOLA_CLI_VERBS_H
#define ISOLA_CLI_VERBS_H

#include <stddef.h>

#include "base/annotate.h"

struct isola__cli;

struct isola__verb {
    const char *name;     /* NULL: behind the last */
    const char *synopsis; /* what follows it, in the words of the help */
    const char *takes;    /* the same, in a sentence */
    const char *summary;
    size_t min, max; /* operands, itself among them */
};

extern const struct isola__verb isola__secret_verbs[], isola__trust_verbs[];

/* That of `verbs`, which are of the command that is run: the first operand, "list" without any.
 * NULL: it is none of them, which has been told with what was probably meant, or it has too many
 * operands, or too few. */
LOOP_THREAD const struct isola__verb *isola__verb_of(struct isola__cli *cli,
                                                     const struct isola__verb *verbs);

#endif
