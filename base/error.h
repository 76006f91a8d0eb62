/* SPDX-License-Identifier: Apache-2.0
 *
 * Error codes and the sentence that goes with them.
 *
 * One table makes the C enum, the name a script sees as `error.code`, and the default text. A
 * function that can fail returns 0 or one of these (negative); where a person will read the reason
 * it also takes a `struct isola_err *`, into which the code that noticed the failure writes: what,
 * which, why, what to do. Codes of libuv, nng, SQLite and others are translated in the adapter that
 * calls them, never passed on.
 */
#ifndef ISOLA_BASE_ERROR_H
#define ISOLA_BASE_ERROR_H

#include <stdarg.h>

#include "base/annotate.h"

ISOLA_BEGIN_C

/* X(name, value, text): values are part of the wire format and never reused. */
#define ISOLA_ERRORS(X)                                                                            \
    X(ETIMEDOUT, -1, "timed out")                                                                  \
    X(EOVERLOAD, -2, "the receiver is overloaded")                                                 \
    X(EFAILED, -3, "the actor has failed")                                                         \
    X(EDEADLOCK, -4, "the call would wait for itself")                                             \
    X(ENOACTOR, -5, "no such app, actor type or event handler")                                    \
    X(EPERM, -6, "not permitted")                                                                  \
    X(ETOOBIG, -7, "too big")                                                                      \
    X(EUNREACHABLE, -8, "the peer cannot be reached")                                              \
    X(EUPGRADE, -9, "the release is being replaced")                                               \
    X(ECLONE, -10, "the value cannot be sent")                                                     \
    X(EINVAL, -11, "invalid argument")                                                             \
    X(EPROTO, -12, "malformed or unexpected data from a peer")                                     \
    X(ENOMEM, -13, "out of memory")                                                                \
    X(EIO, -14, "input/output error")                                                              \
    X(ENOENT, -15, "not found")                                                                    \
    X(EEXIST, -16, "already exists")                                                               \
    X(EBUSY, -17, "in use")                                                                        \
    X(ESCHEMA, -18, "written by a newer version")                                                  \
    X(ECLOSED, -19, "closed")                                                                      \
    X(EMODULE, -20, "the module cannot be loaded")                                                 \
    X(EMANIFEST, -21, "the manifest is not valid")                                                 \
    X(ESCRIPT, -22, "the script threw")                                                            \
    X(ECANCELED, -23, "nobody waits for it any more")                                              \
    X(ESQL, -24, "the database refuses it")

enum isola_error {
    ISOLA_OK = 0,
#define ISOLA_ERROR_ENUM(name, value, text) ISOLA_##name = (value),
    ISOLA_ERRORS(ISOLA_ERROR_ENUM)
#undef ISOLA_ERROR_ENUM
};

struct isola_err {
    int code;        /* 0, or ISOLA_E… */
    char text[1000]; /* one sentence or more, NUL-terminated, no newline at the end */
};

/* "ETIMEDOUT" for ISOLA_ETIMEDOUT; "EUNKNOWN" for a value not in the table. Static storage. */
ANY_THREAD const char *isola_error_name(int code);
/* The table's own text. Static storage. */
ANY_THREAD const char *isola_error_text(int code);
/* The code whose name is `name` (not NUL-terminated, `len` bytes), or 0 when there is none. */
ANY_THREAD int isola_error_code(const char *name, unsigned long len);

/* Writes code and sentence into `err` (which may be NULL) and returns `code`: `return
 * isola_fail(err, …)`. */
ANY_THREAD int isola_fail(struct isola_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
ANY_THREAD int isola_vfail(struct isola_err *err, int code, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

ISOLA_END_C

#endif
