/* SPDX-License-Identifier: Apache-2.0
 *
 * What services.c and service_lines.c share: a service, its places, and releases whose files are
 * being unpacked.
 */
#ifndef ISOLA_NODE_AGENT_SERVICES_OWN_H
#define ISOLA_NODE_AGENT_SERVICES_OWN_H

#include "node-agent/packages.h"
#include "node-agent/service.h"
#include "node-agent/services.h"

struct isola__place {
    struct isola__service *service; /* counted */
    unsigned number;
    struct isola__program *program; /* that which serves, or is to; NULL: none now */
    struct isola__program *next;    /* that which is to replace it */
    unsigned programs;              /* not ended, those it had before among them */
    bool gone;                      /* freed when the last of them has ended */
    bool stopped;                   /* by `ctl stop` */
    bool failed;                    /* crashed too often */
    bool renew;                     /* to be replaced though its release is the right one */
    uv_timer_t timer;               /* at its end it is started again */
    uint64_t *crashes;              /* when, ms; those that count */
    uint32_t ncrashes;
    uint64_t restarts;
    uint64_t ready_ms; /* since when `program` is ready */
    char failure[500];
    char crash[500]; /* why it ended the last time, and nobody wanted that */
    uint64_t crash_ms;
    struct isola__line line; /* of messages to it */
};

struct isola__service {
    struct isola__service *next;
    struct isola__services *services;
    unsigned refs; /* of the list, and of places */
    char *app, *type;
    struct isola__service_def *def;    /* what its places run, or are to */
    struct isola__service_def *before; /* what they ran, until all have taken `def`; or NULL */
    struct isola__place **places;
    unsigned nplaces;
    char trouble[600]; /* the first of the release that came last: it did not begin, or crashed */
    bool troubled;     /* so did the one before it */
};

/* A release whose files are being unpacked. */
struct isola__unpacking {
    struct isola__unpack unpack;         /* first */
    struct isola__unpacking *next, **at; /* in `unpacking` of the services */
    struct isola__line line;             /* of messages to services that begin with it */
    struct isola__services *services;
    struct isola_release release; /* app, id, manifest: owned */
    struct isola_buf manifest;
};

/* NULL: there is none of that name here. */
LOOP_THREAD struct isola__service *isola__services_find(const struct isola__services *services,
                                                        struct isola_slice app,
                                                        struct isola_slice type);
/* Who takes its messages may be another now, or nobody, for a while or for good. */
LOOP_THREAD void isola__place_check(struct isola__place *place);

#endif
