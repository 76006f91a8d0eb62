/* SPDX-License-Identifier: Apache-2.0
 *
 * An app's manifest: isola.json, or the "isola" key of package.json (DESIGN §5). Hostile until
 * parsed.
 */
#ifndef ISOLA_STORE_MANIFEST_H
#define ISOLA_STORE_MANIFEST_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

enum isola_isolation { ISOLA_ISOLATION_ISOLATE, ISOLA_ISOLATION_SHARED, ISOLA_ISOLATION_PROCESS };

/* What becomes of the children of an actor when one of them crashes. */
enum isola_manifest_strategy {
    ISOLA_MANIFEST_ONE_FOR_ONE,
    ISOLA_MANIFEST_ONE_FOR_ALL,
    ISOLA_MANIFEST_REST_FOR_ONE,
    ISOLA_MANIFEST_ESCALATE,
};
#define ISOLA_MANIFEST_RESTARTS 1000 /* the most crashes that are counted */

/* How actors of a type live (docs/actors.md). */
struct isola_manifest_life {
    uint64_t hibernate_after_ms; /* without a turn; default 60 s; 0: never */
    uint32_t restarts;           /* after this many crashes `within_ms` it is not restarted */
    uint64_t within_ms;
    uint64_t backoff_ms, max_backoff_ms; /* pause before a restart: at first, and at the most */
    enum isola_manifest_strategy strategy;
};

/* A type that is a Node.js program (docs/services.md). Lists end with NULL. */
struct isola_manifest_service {
    char **args;
    char **env;         /* NAME=VALUE */
    char *env_file;     /* in the app, or NULL */
    char **secrets;     /* names of those it gets as variables; none is among `env` */
    char **node_args;   /* options of Node.js */
    uint32_t instances; /* on each node; 0: one for each processor */
    uint32_t port;      /* 0: none */
    uint64_t start_ms;  /* to be ready in, with a port; default 60 s */
    char *health_path;  /* asked whether it is well, "/…"; NULL: it is not asked */
    uint64_t health_every_ms, health_timeout_ms; /* default 5 s, 2 s */
    uint32_t health_failures;                    /* in a row end it; default 3 */
    bool sticky;                                 /* clients of one address come to one instance */
    bool sandbox;                                /* under the permission model of Node.js */
    uint64_t stop_ms;                            /* from SIGTERM to SIGKILL; default 10 s */
    uint64_t memory;                             /* bytes an instance may have; 0: any */
    uint32_t millicpus;                          /* thousandths of a processor it may use; 0: any */
};
#define ISOLA_MANIFEST_INSTANCES 1024

struct isola_actor_type {
    char *name;   /* [A-Za-z][A-Za-z0-9_]*, 64 bytes at the most */
    char *module; /* relative to the app's directory, normalized, never out of it */
    enum isola_isolation isolation;
    bool reentrant;
    struct isola_manifest_life life;
    struct isola_manifest_service *service; /* NULL: no process, but an actor */
    /* What an instance may use (docs/limits.md); never 0. */
    uint64_t heap;          /* bytes of its isolate; default 128 MiB */
    uint64_t external;      /* bytes of array buffers of its isolate; default 256 MiB */
    uint64_t cpu_ms;        /* CPU time of a turn; default 1 s */
    uint32_t mailbox;       /* messages; default 10,000 */
    uint64_t mailbox_bytes; /* bytes of them; default 64 MiB */
    uint64_t message;       /* bytes of one; default 16 MiB */
    uint64_t output;        /* bytes caused and not let out yet; default 128 MiB */
    uint64_t sql_bytes;     /* bytes of its database; default 64 MiB */
    uint32_t asks, timers, subscriptions; /* under way; default 10,000 each */
    uint32_t log_rate;                    /* lines a second; default 1,000; of a service too */
};

/* How a release is watched when it has become current (docs/releases.md). */
struct isola_manifest_rollout {
    uint64_t window_ms;   /* from when all services are ready; default 30 s */
    uint64_t deadline_ms; /* for these to be so; default 10 min */
    uint32_t errors;     /* of turns, in hundredths of a percent: with more it fails; default 5 % */
    uint32_t min_errors; /* but not with fewer than these; default 5 */
    bool rollback;       /* when it fails, the release before is current again; default true */
};

struct isola_manifest {
    char *name;    /* [a-z][a-z0-9-]*, 64 bytes at the most */
    char *version; /* printable ASCII, ISOLA_MANIFEST_VERSION bytes at the most; NULL: none */
    size_t ntypes;
    struct isola_actor_type *types; /* in the manifest's order */
    /* permissions, each item on a line; NULL: none */
    char *net;      /* patterns HOST or HOST:PORT */
    char *env;      /* names of variables */
    char *apps;     /* names of apps, or "*" */
    char **secrets; /* names of those its actors get as variables, NULL behind the last; none is
                       among `env` */
    struct isola_manifest_rollout rollout;
};

#define ISOLA_MANIFEST_MAX     (1u << 20) /* bytes of text */
#define ISOLA_MANIFEST_TYPES   1000
#define ISOLA_MANIFEST_VERSION 100

/* `file` is how errors name the text ("isola.json"). Errors: ISOLA_EMANIFEST with file, line,
 * column where they are known, the path of the key ("actors.Counter.isolation"), what is wrong,
 * what is allowed; a near miss is suggested
 * ("did you mean"). Unknown keys, wrong types, a path outside the app, duplicate keys, and kinds
 * this release does not have are errors. */
ANY_THREAD ISOLA_MUST_USE int isola_manifest_parse(struct isola_slice json, const char *file,
                                                   struct isola_manifest **out,
                                                   struct isola_err *err);
/* Finds and parses the manifest of the app in directory `dir`: isola.json, else "isola" in
 * package.json, whose "name" then serves as default, else one made of what is there. Files called
 * NAME.actor.js and the like are types without being listed (store/manifest_find.h). One without
 * "version" takes that of package.json. `text`, unless
 * NULL, gets the manifest's JSON as it is to be sent (always the isola.json form, with all types;
 * the caller frees). ISOLA_ENOENT when there is nothing to run, with what to do. */
POOL_THREAD ISOLA_MUST_USE int isola_manifest_load(const char *dir, struct isola_manifest **out,
                                                   struct isola_buf *text, struct isola_err *err);
/* An app's name out of a package's or a directory's: in lower case, with "-" for what is not
 * allowed:
 * "@acme/Web_Shop" is acme-web-shop. NULL when nothing is left that begins with a letter. The
 * caller frees. */
ANY_THREAD char *isola_manifest_name_of(const char *from);
ANY_THREAD void isola_manifest_free(struct isola_manifest *m);
/* The type named so, or NULL. */
ANY_THREAD const struct isola_actor_type *isola_manifest_type(const struct isola_manifest *m,
                                                              struct isola_slice name);
/* The names of the secrets that `type` of it gets, NULL behind the last; NULL: none. */
ANY_THREAD char *const *isola_manifest_secrets(const struct isola_manifest *m,
                                               const struct isola_actor_type *type);
/* Whether any of its types is a service. */
ANY_THREAD bool isola_manifest_has_services(const struct isola_manifest *m);

#endif
