/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line, taken apart and checked: options may stand before or after the command, a
 * number such as -5 is an argument and no option, "--" ends the options.
 */
#ifndef ISOLA_CLI_OPTIONS_H
#define ISOLA_CLI_OPTIONS_H

#include "base/buf.h"
#include "base/error.h"

/* Options that belong to some commands only; the others belong to all. Above all characters, as
 * those are what getopt calls the short forms. */
enum isola__option {
    ISOLA__OPT_NONE,
    ISOLA__OPT_FIRST = 256,
    ISOLA__OPT_TIMEOUT = ISOLA__OPT_FIRST,
    ISOLA__OPT_COUNT,
    ISOLA__OPT_FOLLOW,
    ISOLA__OPT_LINES,
    ISOLA__OPT_SECONDS,
    ISOLA__OPT_OUTPUT,
    ISOLA__OPT_NAME,
    ISOLA__OPT_EXPIRES,
    ISOLA__OPT_FORCE,
    ISOLA__OPT_DURABLE,
    ISOLA__OPT_CHECK,
    ISOLA__OPT_TOP,
    ISOLA__OPT_DATA,
    ISOLA__OPT_AT,
    ISOLA__OPT_DRY_RUN,
    ISOLA__OPT_UTC,
    ISOLA__OPT_LEVEL,
    ISOLA__OPT_SINCE,
    ISOLA__OPT_GREP,
    ISOLA__OPT_FROM,
    ISOLA__OPT_MESSAGE,
    ISOLA__OPT_LINK,
    ISOLA__OPT_PRUNE,
    ISOLA__OPT_ONCE,
    ISOLA__OPT_SORT,
    ISOLA__OPT_TYPES,
    ISOLA__OPT_APP,
    ISOLA__OPT_FILE,
    ISOLA__OPT_WAIT,
    ISOLA__OPT_YES,
    ISOLA__OPT_STATE,
    ISOLA__OPT_CANARY,
    ISOLA__OPT_END, /* behind the last */
};

struct isola__command;

/* What --sort can be. */
#define ISOLA__SORTS 5
extern const char *const isola__sorts[ISOLA__SORTS];
/* What --level can be. */
#define ISOLA__LEVELS 4
extern const char *const isola__levels[ISOLA__LEVELS];

struct isola__options {
    const struct isola__command *command; /* NULL: help, or version, or nothing at all */
    const char *node;                     /* as given, or NULL */
    bool json, help, version, follow, force, durable, check, dry_run, utc, link, prune, once, types,
        wait, yes, state;
    uint32_t share;      /* of --canary, of a million; 0: not given */
    uint32_t timeout_ms; /* 0: not given */
    uint32_t lines;      /* 200 when not given */
    bool lines_given;
    uint32_t top;
    bool top_given;
    uint32_t seconds;    /* 0: not given */
    const char *output;  /* a file's name, or NULL */
    uint64_t count;      /* 0: no end */
    const char *name;    /* or NULL */
    const char *data;    /* a directory, or NULL */
    const char *at;      /* a time, not looked at yet (when.h), or NULL */
    uint64_t expires_ms; /* 0: not given */
    const char *level;   /* debug, info, warn or error, or NULL */
    const char *since;   /* a time, not looked at yet, or NULL */
    const char *grep;    /* or NULL */
    const char *from;    /* a node's name, or NULL */
    const char *message; /* or NULL */
    const char *sort;    /* one of isola__sorts, or NULL */
    const char *app;     /* or NULL */
    const char *file;    /* or NULL */
    char **operands;     /* owned array of borrowed strings: what follows the command */
    size_t noperands;
};

/* Sets what it can even when it fails, so that the failure is told in the form asked for (`json`).
 * ISOLA_EINVAL: wrong usage, with what to do. Free either way. */
LOOP_THREAD ISOLA_MUST_USE int
isola__options_parse(int argc, char **argv, struct isola__options *out, struct isola_err *err);
ANY_THREAD void isola__options_free(struct isola__options *o);

/* The path of the agent's socket: from `node` (a path, or unix:PATH), else $ISOLA_NODE, else
 * $ISOLA_DATA/agent.sock, else ~/.isola/agent.sock, else, where there is none, that of the system's
 * service. Absolute; the caller frees. ISOLA_EINVAL: a URL of another kind, or no home. */
ANY_THREAD ISOLA_MUST_USE int isola__options_socket(const char *node, char **out,
                                                    struct isola_err *err);

#endif
