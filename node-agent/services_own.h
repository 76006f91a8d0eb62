/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of services share: a service, its places, and releases whose files are being
 * unpacked. services.c has the life of places, services_release.c what releases want of them,
 * services_show.c what there is to see, service_lines.c their messages.
 */
#ifndef ISOLA_NODE_AGENT_SERVICES_OWN_H
#define ISOLA_NODE_AGENT_SERVICES_OWN_H

#include "base/roster.h"
#include "node-agent/packages.h"
#include "node-agent/service.h"
#include "node-agent/services.h"

struct isola__place {
    struct isola__service *service; /* counted */
    unsigned number;
    struct isola__program *program;  /* that which serves, or is to; NULL: none now */
    struct isola__program *next;     /* that which is to replace it */
    unsigned programs;               /* not ended, those it had before among them */
    bool gone;                       /* freed when the last of them has ended */
    bool stopped;                    /* by `ctl stop` */
    bool failed;                     /* crashed too often */
    bool renew;                      /* to be replaced though its release is the right one */
    bool crowded;                    /* when `program` began, a stranger had its port */
    bool kept;                       /* not to be, though it is not: what was to did not begin */
    char aim[ISOLA_RELEASE_ID_SIZE]; /* the release it was last to run; "": none yet */
    uv_timer_t timer;                /* at its end it is started again */
    uint64_t *crashes;               /* when, ms; those that count */
    uint32_t ncrashes;
    uint64_t restarts;
    uint64_t ready_ms; /* since when `program` is ready */
    char failure[600];
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
    struct isola__service_def *canary; /* what the last `canaries` of them run, or are to; NULL:
                                          there is none, or it did not begin here */
    unsigned canaries;
    bool added; /* one place is there for the canary alone */
    struct isola__place **places;
    unsigned nplaces;
    unsigned stay; /* so many of them; the others end when no other is to be replaced */
    /* Of the release that is watched, the canary while the app has one: */
    char trial[ISOLA_RELEASE_ID_SIZE];
    char trouble[700];             /* the first: it did not begin, or crashed */
    bool troubled;                 /* so did the one before it, or beside it */
    unsigned crashes, crashes_now; /* of its instances, and beside a canary of the current ones */
};

/* A release, and what is tried beside it, whose files are being unpacked. */
struct isola__files {
    struct isola__unpack unpack; /* first */
    struct isola__unpacking *of;
    struct isola_release
        release; /* app, id, manifest, link: owned; without an app: there is none */
    struct isola_buf manifest;
    char *dir; /* where they are; NULL: they are not */
};
struct isola__unpacking {
    struct isola__files current, canary;
    unsigned outstanding;
    uint64_t revision;
    struct isola__unpacking *next, **at; /* in `unpacking` of the services */
    struct isola__line line;             /* of messages to services that begin with it */
    struct isola__services *services;
};

/* NULL: there is none of that name here. */
LOOP_THREAD struct isola__service *isola__services_find(const struct isola__services *services,
                                                        struct isola_slice app,
                                                        struct isola_slice type);
/* Who takes its messages may be another now, or nobody, for a while or for good. */
LOOP_THREAD void isola__place_check(struct isola__place *place);

/* What this place runs, or is to. */
LOOP_THREAD struct isola__service_def *isola__place_wants(const struct isola__place *place);
/* Is it one of those that run the canary, or are to? */
LOOP_THREAD bool isola__place_tries(const struct isola__place *place);
/* Ends all places of a service that is in the list no more. */
LOOP_THREAD void isola__service_end(struct isola__service *s);
/* Its places are to have `def`, and the last ones of them `canary` (NULL: none): which and how many
 * `part` says. `trial` is the release that is watched; `unproven`: what they have now is no measure
 * for it. Takes both definitions, which may be those it has; nothing happens to places that run
 * what they are to. */
LOOP_THREAD void isola__service_define(struct isola__service *s, struct isola__service_def *def,
                                       struct isola__service_def *canary,
                                       struct isola_roster_part part, const char *trial,
                                       bool unproven);

#endif
