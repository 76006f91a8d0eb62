/* SPDX-License-Identifier: Apache-2.0
 *
 * What a word of ctl's command line may become: for the scripts of `ctl completion`, which call
 * `ctl __complete WORD…` with the words so far, the last one being that which is completed.
 *
 * Commands, options and what each operand is come from the table of commands and the text of its
 * help; addresses, apps and nodes from the agent, which has a second.
 */
#ifndef ISOLA_CLI_COMPLETE_H
#define ISOLA_CLI_COMPLETE_H

#include "cli/cli.h"

/* Prints one candidate a line, which begins with the last word, and after a tab what it is; then a
 * line of its own: ":files" or ":dirs" where the shell knows better, else ":". What cannot be
 * learned is no candidate; nothing is said of it. */
LOOP_THREAD void isola__complete(struct isola__cli *cli, int nwords, char **words);

#endif
