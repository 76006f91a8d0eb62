/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/sql.h"

#include <stdio.h>

#include "actors/host_own.h"

#define UNBOUNDED (UINT64_C(1) << 40) /* bytes */

static const struct isola_sql_ops *ops_of(const struct isola_actor *a)
{
    return a->host->ops->sql;
}

static int read_page(void *arg, uint64_t n, struct isola_buf *out, struct isola_err *err)
{
    struct isola_actor *a = arg;
    struct isola_kept wanted = {.part = ISOLA_KEPT_PAGE, .seq = n};
    return a->host->ops->state_row(a->host->arg, a->address, &wanted, out, err);
}

static struct isola_sql *refuse(struct isola_sql_fault *fault, int code, const char *why)
{
    *fault = (struct isola_sql_fault){.offset = -1};
    isola_fail(&fault->err, code, "%s", why);
    return NULL;
}

struct isola_sql *isola__sql_of(struct isola_realm *r, uint32_t serial,
                                const struct isola_sql_ops **ops, struct isola_sql_fault *fault)
{
    struct isola_actor *a = isola__realm_actor(r, serial);
    if (a == NULL)
        return refuse(fault, ISOLA_ECLOSED, "this activation of the actor has ended");
    *ops = ops_of(a);
    isola__realm_touch(r, a);       /* what it leaves open ends when it gives way */
    a->looked |= ISOLA_LOOKED_KEPT; /* what it causes waits for what it has changed */
    if (a->sql != NULL)
        return a->sql;
    if (a->no_state.len > 0) {
        char why[300];
        snprintf(why, sizeof(why), "%.*s", ISOLA_FMT(isola_buf_slice(&a->no_state)));
        return refuse(fault, ISOLA_EUNREACHABLE, why);
    }
    if (*ops == NULL)
        return refuse(fault, ISOLA_EINVAL, "there are no databases here");
    struct isola_sql_pages pages = {.read = read_page, .arg = a};
    uint64_t most = a->type->def.limits.sql_bytes;
    if ((*ops)->open(&pages, most > 0 ? most : UNBOUNDED, &a->sql, fault) != 0)
        return NULL;
    return a->sql;
}

void isola__sql_rest(struct isola_actor *a)
{
    if (a->sql != NULL)
        ops_of(a)->rest(a->sql);
}

bool isola__sql_dirty(const struct isola_actor *a)
{
    return a->sql != NULL && ops_of(a)->changed(a->sql);
}

static void add_row(void *arg, uint64_t n, struct isola_slice value)
{
    struct isola_kept row = {.part = ISOLA_KEPT_PAGE, .seq = n, .value = value};
    isola_kept_add(arg, &row);
}

uint64_t isola__sql_rows(struct isola_actor *a, struct isola_kept_rows *out)
{
    return ops_of(a)->take(a->sql, add_row, out);
}

void isola__sql_kept(struct isola_actor *a, uint64_t taken)
{
    if (a->sql != NULL && taken != 0)
        ops_of(a)->kept(a->sql, taken);
}

void isola__sql_end(struct isola_actor *a)
{
    if (a->sql != NULL)
        ops_of(a)->close(a->sql);
    a->sql = NULL;
}
