/* SPDX-License-Identifier: Apache-2.0
 *
 * What is in a store of states, and whether it is sound: looked at while the store is used, by
 * connections of its own, so that no commit waits for it.
 */
#ifndef ISOLA_STORE_SURVEY_H
#define ISOLA_STORE_SURVEY_H

#include <stdatomic.h>

#include "base/kept.h"
#include "store/state.h"

#define ISOLA_SURVEY_TOP_MAX 1000u

struct isola_survey_options {
    bool files_only;         /* names and sizes; nothing is opened */
    bool check;              /* the whole structure of each file is gone through */
    unsigned top;            /* largest actors, ISOLA_SURVEY_TOP_MAX at the most */
    unsigned ms;             /* for looking at actors, all files together; a check takes its time */
    const atomic_bool *stop; /* NULL, or: ends it soon when true */
};

struct isola_survey_file {
    char name[40];       /* in the data directory */
    uint64_t bytes;      /* of the file, */
    uint64_t log_bytes;  /* and of its write-ahead log, */
    bool checked, sound; /* sound: nothing is known against it */
    char damage[600];    /* else what is wrong with it */
};

struct isola_survey_actor {
    char *address; /* owned */
    uint64_t bytes;
};

/* What an actor changed in the last second or so is in the journal, and not in the rest yet. */
struct isola_survey {
    struct isola_survey_file *files;
    size_t nfiles;
    uint64_t actors, state_bytes;
    struct {
        uint64_t count, bytes;       /* bytes of values and peers */
    } rows[ISOLA_KEPT_LAST + 1];     /* by part */
    bool history;                    /* what rows were before is kept (history.h): */
    uint64_t history_bytes;          /* so much of it, */
    int64_t history_since;           /* from when on, ms since 1970; 0: there is none yet */
    uint64_t journal, journal_bytes; /* commits whose changes are not in the tables yet */
    bool cut; /* there was no time for all actors: what is above is of so many of them */
    struct isola_survey_actor *largest; /* state and rows, the largest first */
    size_t nlargest;
};

/* Fills `out`, which isola_survey_free frees. What cannot be read is said of its file. The store
 * stays open meanwhile: its closing has to wait for this. */
POOL_THREAD void isola_state_survey(struct isola_state *s,
                                    const struct isola_survey_options *options,
                                    struct isola_survey *out);
ANY_THREAD void isola_survey_free(struct isola_survey *survey);

#endif
