/* SPDX-License-Identifier: Apache-2.0
 *
 * Values into statements, and rows out of them.
 */
#include "store/sql_impl.h"

#include "base/msgpack.h"

/* --- parameters --- */

static int bind_one(struct isola_sql *db, sqlite3_stmt *stmt, int at, struct isola_mp_reader *r,
                    struct isola_sql_fault *fault)
{
    static const struct isola_slice none = {0};
    struct isola_mp_item item;
    int rc;
    if (isola_mp_next(r, &item) != 0)
        return isola__sql_refuse(fault, ISOLA_EPROTO, "the values of the query are malformed");
    switch (item.type) {
    case ISOLA_MP_NIL:
        rc = sqlite3_bind_null(stmt, at);
        break;
    case ISOLA_MP_BOOL:
        rc = sqlite3_bind_int(stmt, at, item.b);
        break;
    case ISOLA_MP_UINT:
        if (item.u > INT64_MAX)
            return isola__sql_refuse(fault, ISOLA_EINVAL, "value %d has more than 64 bits", at);
        rc = sqlite3_bind_int64(stmt, at, (sqlite3_int64)item.u);
        break;
    case ISOLA_MP_INT:
        rc = sqlite3_bind_int64(stmt, at, item.i);
        break;
    case ISOLA_MP_DOUBLE:
        rc = sqlite3_bind_double(stmt, at, item.d);
        break;
    case ISOLA_MP_STR:
        rc = sqlite3_bind_text64(stmt, at, (const char *)item.bytes.data, item.bytes.len,
                                 SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case ISOLA_MP_BIN: /* without bytes it is a blob still */
        rc = sqlite3_bind_blob64(stmt, at, item.bytes.len > 0 ? item.bytes.data : (const void *)"",
                                 item.bytes.len, SQLITE_TRANSIENT);
        break;
    default:
        return isola__sql_refuse(fault, ISOLA_EPROTO, "value %d is of no kind that SQL has", at);
    }
    return rc == SQLITE_OK ? 0 : isola__sql_fault(db, rc, none, 0, fault);
}

static int bind_array(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_mp_reader *r,
                      uint32_t n, struct isola_sql_fault *fault)
{
    int wanted = sqlite3_bind_parameter_count(stmt);
    if ((int64_t)n != wanted)
        return isola__sql_refuse(fault, ISOLA_EINVAL,
                                 "the query has %d parameter%s, and %u value%s given", wanted,
                                 wanted == 1 ? "" : "s", n, n == 1 ? " is" : "s are");
    int code = 0;
    for (int i = 1; code == 0 && i <= wanted; i++)
        code = bind_one(db, stmt, i, r, fault);
    return code;
}

/* The value goes to each parameter of that name, whatever sign it has. */
static int bind_named(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_slice name,
                      struct isola_mp_reader *r, bool *given, struct isola_sql_fault *fault)
{
    char text[100] = "";
    bool found = false;
    struct isola_mp_reader value = *r;
    if (name.len + 2 <= sizeof(text))
        memcpy(text + 1, name.data, name.len);
    for (const char *sign = ":$@"; *sign != '\0'; sign++) {
        text[0] = *sign;
        int at = sqlite3_bind_parameter_index(stmt, text);
        if (at == 0)
            continue;
        *r = value;
        int code = bind_one(db, stmt, at, r, fault);
        if (code != 0)
            return code;
        found = given[at] = true;
    }
    return found ? 0
                 : isola__sql_refuse(fault, ISOLA_EINVAL, "the query has no parameter :%.*s",
                                     ISOLA_FMT(isola_slice_cut(name, 100)));
}

static int bind_map(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_mp_reader *r, uint32_t n,
                    struct isola_sql_fault *fault)
{
    int wanted = sqlite3_bind_parameter_count(stmt), code = 0;
    bool given[ISOLA__SQL_VARIABLES + 1] = {false};
    for (uint32_t i = 0; code == 0 && i < n; i++) {
        struct isola_mp_item name;
        if (!isola_mp_take(r, ISOLA_MP_STR, &name))
            return isola__sql_refuse(fault, ISOLA_EPROTO, "the values of the query are malformed");
        code = bind_named(db, stmt, name.bytes, r, given, fault);
    }
    for (int i = 1; code == 0 && i <= wanted; i++) {
        const char *name = sqlite3_bind_parameter_name(stmt, i);
        if (given[i])
            continue;
        code = name != NULL
                   ? isola__sql_refuse(fault, ISOLA_EINVAL, "no value is given for %s", name)
                   : isola__sql_refuse(fault, ISOLA_EINVAL,
                                       "the query has parameters without a name: give its "
                                       "values one by one");
    }
    return code;
}

int isola__sql_bind(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_slice values,
                    struct isola_sql_fault *fault)
{
    struct isola_mp_reader r = isola_mp_reader(values);
    struct isola_mp_item item;
    if (values.len == 0)
        return bind_array(db, stmt, &r, 0, fault);
    if (isola_mp_next(&r, &item) == 0) {
        if (item.type == ISOLA_MP_ARRAY)
            return bind_array(db, stmt, &r, item.n, fault);
        if (item.type == ISOLA_MP_MAP)
            return bind_map(db, stmt, &r, item.n, fault);
    }
    return isola__sql_refuse(fault, ISOLA_EPROTO, "the values of the query are malformed");
}

/* --- rows --- */

void isola__sql_columns(sqlite3_stmt *stmt, struct isola_sql_run *run)
{
    run->ncolumns = (uint32_t)sqlite3_column_count(stmt);
    run->columns.len = 0;
    isola_mp_array(&run->columns, run->ncolumns);
    for (uint32_t i = 0; i < run->ncolumns; i++) {
        const char *name = sqlite3_column_name(stmt, (int)i);
        isola_mp_cstr(&run->columns, name != NULL ? name : "?"); /* there was no memory for it */
    }
}

static void put(struct isola_buf *out, sqlite3_stmt *stmt, int i)
{
    const void *bytes;
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        isola_mp_int(out, sqlite3_column_int64(stmt, i));
        break;
    case SQLITE_FLOAT:
        isola_mp_double(out, sqlite3_column_double(stmt, i));
        break;
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(stmt, i);
        isola_mp_str(out, isola_slice(bytes, (size_t)sqlite3_column_bytes(stmt, i)));
        break;
    case SQLITE_BLOB:
        bytes = sqlite3_column_blob(stmt, i);
        isola_mp_bin(out, isola_slice(bytes, (size_t)sqlite3_column_bytes(stmt, i)));
        break;
    default:
        isola_mp_nil(out);
    }
}

int isola__sql_row(sqlite3_stmt *stmt, struct isola_sql_run *run, struct isola_sql_fault *fault)
{
    size_t begin = run->rows.len;
    for (uint32_t i = 0; i < run->ncolumns; i++) {
        put(&run->rows, stmt, (int)i);
        if (run->rows.len - begin > ISOLA_SQL_GIVES_MAX)
            return isola__sql_refuse(fault, ISOLA_ESQL, "a row of the result has more than %u MB",
                                     ISOLA_SQL_GIVES_MAX >> 20);
    }
    run->nrows++;
    return run->rows.failed || run->columns.failed
               ? isola__sql_refuse(fault, ISOLA_ENOMEM, "no memory for the rows of the query")
               : 0;
}
