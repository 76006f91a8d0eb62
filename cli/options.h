/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line, taken apart and checked: options may stand before or after the command, a
 * number such as -5 is an argument and no option, "--" ends the options.
 */
#ifndef ISOLA_CLI_OPTIONS_H
#define ISOLA_CLI_OPTIONS_H

#include "base/buf.h"
#include "base/error.h"

/* Options that belong to some commands only, as bits; the others belong to all. */
enum isola__option {
    ISOLA__OPT_TIMEOUT = 1,
    ISOLA__OPT_COUNT = 2,
    ISOLA__OPT_FOLLOW = 4,
    ISOLA__OPT_LINES = 8,
    ISOLA__OPT_SECONDS = 16,
    ISOLA__OPT_OUTPUT = 32,
    ISOLA__OPT_NAME = 64,
    ISOLA__OPT_EXPIRES = 128,
    ISOLA__OPT_FORCE = 256,
    ISOLA__OPT_DURABLE = 512,
    ISOLA__OPT_CHECK = 1024,
    ISOLA__OPT_TOP = 2048,
    ISOLA__OPT_DATA = 4096,
    ISOLA__OPT_AT = 8192,
    ISOLA__OPT_DRY_RUN = 16384,
    ISOLA__OPT_UTC = 32768,
    ISOLA__OPT_LEVEL = 65536,
    ISOLA__OPT_SINCE = 131072,
    ISOLA__OPT_GREP = 262144,
    ISOLA__OPT_FROM = 524288,
    ISOLA__OPT_MESSAGE = 1048576,
    ISOLA__OPT_LINK = 2097152,
    ISOLA__OPT_PRUNE = 4194304,
    ISOLA__OPT_ONCE = 8388608,
    ISOLA__OPT_SORT = 16777216,
    ISOLA__OPT_TYPES = 33554432,
    ISOLA__OPT_APP = 67108864,
    ISOLA__OPT_FILE = 134217728,
    ISOLA__OPT_WAIT = 268435456,
    ISOLA__OPT_YES = 536870912,
    ISOLA__OPT_STATE = 1073741824,
    ISOLA__OPT_CANARY = 2147483648,
    ISOLA__OPT_END = 4294967296, /* behind the last */
};

struct isola__command;

/* What --sort can be. */
#define ISOLA__SORTS 5
extern const char *const isola__sorts[ISOLA__SORTS];

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
