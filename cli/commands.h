/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands ctl knows: one table makes the dispatch, the help, and the check of the command
 * line.
 */
#ifndef ISOLA_CLI_COMMANDS_H
#define ISOLA_CLI_COMMANDS_H

#include "cli/options.h"

struct isola__cli;
struct isola__verb;

/* So many of its own has a command at the most. */
#define ISOLA__COMMAND_OPTIONS 12

struct isola__command {
    const char *name;
    const char *synopsis;    /* what follows the name */
    const char *summary;     /* one line */
    const char *about;       /* what it does; of lines that fit a terminal, as all that follows */
    const char *own_options; /* but --timeout; NULL: none */
    const char *wait_ms;     /* what --timeout is by default; NULL: it has none */
    const char *examples;
    size_t min, max;                                    /* operands */
    enum isola__option options[ISOLA__COMMAND_OPTIONS]; /* ISOLA__OPT_NONE: no more */
    void (*run)(struct isola__cli *cli);
    const struct isola__verb *verbs; /* what its first operand may be; or NULL */
};

/* NULL when there is none. */
ANY_THREAD const struct isola__command *isola__command_find(const char *name);
/* Fills `names`, "help" among them; returns how many. */
ANY_THREAD size_t isola__command_names(const char **names, size_t room);
/* Appends the lines of the help that say which options there are: of `command`, or, when NULL, of
 * all commands. */
ANY_THREAD void isola__command_options(const struct isola__command *command, struct isola_buf *out);
/* Appends the help of `command`, or of ctl when NULL. */
ANY_THREAD void isola__command_help(const struct isola__command *command, struct isola_buf *out);

/* Each sets cli->status. LOOP_THREAD. */
void isola__run_deploy(struct isola__cli *cli);
void isola__run_dev(struct isola__cli *cli);
void isola__run_new(struct isola__cli *cli);
void isola__run_releases(struct isola__cli *cli);
void isola__run_rollback(struct isola__cli *cli);
void isola__run_delete(struct isola__cli *cli);
void isola__run_promote(struct isola__cli *cli);
void isola__run_trust(struct isola__cli *cli);
void isola__run_secret(struct isola__cli *cli);
void isola__run_diff(struct isola__cli *cli);
void isola__run_ask(struct isola__cli *cli);
void isola__run_emit(struct isola__cli *cli);
void isola__run_on(struct isola__cli *cli);
void isola__run_stop(struct isola__cli *cli);
void isola__run_restart(struct isola__cli *cli);
void isola__run_ps(struct isola__cli *cli);
void isola__run_top(struct isola__cli *cli);
void isola__run_nodes(struct isola__cli *cli);
void isola__run_logs(struct isola__cli *cli);
void isola__run_dead_letters(struct isola__cli *cli);
void isola__run_profile(struct isola__cli *cli);
void isola__run_inspect(struct isola__cli *cli);
void isola__run_heap(struct isola__cli *cli);
void isola__run_links(struct isola__cli *cli);
void isola__run_store(struct isola__cli *cli);
void isola__run_backup(struct isola__cli *cli);
void isola__run_cache(struct isola__cli *cli);
void isola__run_history(struct isola__cli *cli);
void isola__run_timers(struct isola__cli *cli);
void isola__run_restore_actor(struct isola__cli *cli); /* of restore, with --at */
void isola__run_restore(struct isola__cli *cli);
void isola__run_init(struct isola__cli *cli);
void isola__run_token(struct isola__cli *cli);
void isola__run_remove(struct isola__cli *cli);
void isola__run_completion(struct isola__cli *cli);

#endif
