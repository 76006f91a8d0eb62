/* SPDX-License-Identifier: Apache-2.0
 *
 * What SQLite says of failures, in words for people, with the place in the query.
 */
#include "store/sql_impl.h"

#include <stdarg.h>
#include <stdio.h>

#define SHOWN 40 /* bytes of the query that are shown */

static const char *name_of(int rc)
{
#define NAME(code)                                                                                 \
    case code:                                                                                     \
        return #code
    switch (rc) {
        NAME(SQLITE_CONSTRAINT_CHECK);
        NAME(SQLITE_CONSTRAINT_COMMITHOOK);
        NAME(SQLITE_CONSTRAINT_DATATYPE);
        NAME(SQLITE_CONSTRAINT_FOREIGNKEY);
        NAME(SQLITE_CONSTRAINT_FUNCTION);
        NAME(SQLITE_CONSTRAINT_NOTNULL);
        NAME(SQLITE_CONSTRAINT_PINNED);
        NAME(SQLITE_CONSTRAINT_PRIMARYKEY);
        NAME(SQLITE_CONSTRAINT_ROWID);
        NAME(SQLITE_CONSTRAINT_TRIGGER);
        NAME(SQLITE_CONSTRAINT_UNIQUE);
        NAME(SQLITE_CONSTRAINT_VTAB);
    default:
        break;
    }
    switch (rc & 0xff) {
        NAME(SQLITE_ERROR);
        NAME(SQLITE_INTERNAL);
        NAME(SQLITE_ABORT);
        NAME(SQLITE_BUSY);
        NAME(SQLITE_LOCKED);
        NAME(SQLITE_NOMEM);
        NAME(SQLITE_READONLY);
        NAME(SQLITE_INTERRUPT);
        NAME(SQLITE_IOERR);
        NAME(SQLITE_CORRUPT);
        NAME(SQLITE_NOTFOUND);
        NAME(SQLITE_FULL);
        NAME(SQLITE_CANTOPEN);
        NAME(SQLITE_SCHEMA);
        NAME(SQLITE_TOOBIG);
        NAME(SQLITE_CONSTRAINT);
        NAME(SQLITE_MISMATCH);
        NAME(SQLITE_MISUSE);
        NAME(SQLITE_AUTH);
        NAME(SQLITE_RANGE);
        NAME(SQLITE_NOTADB);
    default:
        return "SQLITE_ERROR";
    }
#undef NAME
}

int isola__sql_refuse(struct isola_sql_fault *fault, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    *fault = (struct isola_sql_fault){.offset = -1};
    isola_vfail(&fault->err, code, fmt, ap);
    va_end(ap);
    return code;
}

static void sentence(struct isola_sql *db, int rc, struct isola_sql_fault *fault)
{
    if (db->denied != NULL) {
        isola_fail(&fault->err, ISOLA_ESQL, "%s", db->denied);
        return;
    }
    switch (rc & 0xff) {
    case SQLITE_FULL:
        isola_fail(&fault->err, ISOLA_ESQL,
                   "the database is full: it has %llu KB at the most (limit \"sqlBytes\")",
                   (unsigned long long)db->most >> 10);
        break;
    case SQLITE_NOMEM:
        isola_fail(&fault->err, ISOLA_ESQL, "the query takes more than %llu MB of memory",
                   (unsigned long long)db->budget >> 20);
        break;
    case SQLITE_IOERR:
        if (db->pages.err.code != 0)
            fault->err = db->pages.err;
        else if (rc == SQLITE_IOERR_NOMEM)
            sentence(db, SQLITE_NOMEM, fault);
        else
            isola_fail(&fault->err, ISOLA_EIO, "the database cannot be read or written");
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        isola_fail(&fault->err, ISOLA_ESQL, "the database is damaged: %s",
                   sqlite3_errmsg(db->handle));
        break;
    case SQLITE_INTERRUPT:
        isola_fail(&fault->err, ISOLA_ESQL, "the query was ended, for the script is to end");
        break;
    default:
        isola_fail(&fault->err, ISOLA_ESQL, "%s", sqlite3_errmsg(db->handle));
    }
}

/* Adds line, column and what stands there. */
static void place(struct isola_slice text, size_t offset, struct isola_err *err)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text.data[i] == '\n') {
            line++;
            column = 1;
        } else if ((text.data[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    struct isola_slice rest = isola_slice(text.data + offset, text.len - offset);
    const uint8_t *end = rest.len > 0 ? memchr(rest.data, '\n', rest.len) : NULL;
    if (end != NULL)
        rest.len = (size_t)(end - rest.data);
    rest = isola_slice_cut(rest, SHOWN);
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof(err->text) - used, " (line %u, column %u: %.*s)", line,
             column, ISOLA_FMT(rest));
}

int isola__sql_fault(struct isola_sql *db, int rc, struct isola_slice text, size_t from,
                     struct isola_sql_fault *fault)
{
    int at = sqlite3_error_offset(db->handle);
    *fault = (struct isola_sql_fault){.offset = -1, .name = name_of(rc)};
    sentence(db, rc, fault);
    if (at >= 0 && text.len > 0 && from + (size_t)at <= text.len) {
        fault->offset = (int64_t)from + at;
        place(text, from + (size_t)at, &fault->err);
    }
    db->pages.err.code = 0;
    return fault->err.code;
}
