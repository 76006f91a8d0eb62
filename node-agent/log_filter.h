/* SPDX-License-Identifier: Apache-2.0
 *
 * Which lines of the log somebody wants: of whom, from which node, how bad, since when, with which
 * text. Agents pass it on, so that only those lines travel; what an agent of an older release does
 * not understand of it, the one that asked leaves out itself.
 */
#ifndef ISOLA_NODE_AGENT_LOG_FILTER_H
#define ISOLA_NODE_AGENT_LOG_FILTER_H

#include <stdint.h>

#include "base/buf.h"

/* All borrowed from the line. */
struct isola__log_fields {
    int64_t time_ms;
    struct isola_slice level, node, address, text;
};

/* Zero: all lines. */
struct isola__log_filter {
    char *app;      /* owned, or NULL; what no one actor said has the app itself for an address */
    char *type;     /* as app/Type; owned, or NULL */
    char *address;  /* owned, or NULL */
    char *node;     /* owned, or NULL */
    char *text;     /* is in the text, in capital letters or small ones; owned, or NULL */
    unsigned level; /* the least: an index of debug, info, warn, error */
    int64_t since_ms;
};

/* What is wrong with `params`, a sentence after "logs: "; NULL: nothing, and `f` is to be freed. */
ANY_THREAD const char *isola__log_filter_read(struct isola_slice params,
                                              struct isola__log_filter *f);
/* Appends keys and values, isola__log_filter_keys of them. */
ANY_THREAD void isola__log_filter_write(const struct isola__log_filter *f, struct isola_buf *out);
ANY_THREAD uint32_t isola__log_filter_keys(const struct isola__log_filter *f);
ANY_THREAD bool isola__log_filter_takes(const struct isola__log_filter *f,
                                        const struct isola__log_fields *line);
ANY_THREAD void isola__log_filter_free(struct isola__log_filter *f);

/* The fields of a line; false when it is none. */
ANY_THREAD bool isola__log_fields_read(struct isola_slice line, struct isola__log_fields *f);
/* Of the level's name; false: it is none. */
ANY_THREAD bool isola__log_level(struct isola_slice name, unsigned *out);

#endif
