/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripts that complete ctl's words in shells. They know nothing of ctl: they hand the words over
 * (complete.h) and take what comes back.
 */
#ifndef ISOLA_CLI_SHELLS_H
#define ISOLA_CLI_SHELLS_H

#define ISOLA__NSHELLS 3

struct isola__shell {
    const char *name;
    const char *script;
};
extern const struct isola__shell isola__shells[ISOLA__NSHELLS];

#endif
