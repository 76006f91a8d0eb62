/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sql_pages.h"

#include "base/kept.h"
#include "store/sql_impl.h"

#define HOLE_LEAST 64u /* bytes of zeros that are worth leaving out */

struct isola__page {
    struct isola__page *next, **prev;
    uint64_t n;
    uint64_t taken; /* 0: it has changed since */
    uint8_t bytes[ISOLA__PAGE];
};

/* --- as they are kept --- */

static struct isola_slice pack(const uint8_t *page, uint8_t out[ISOLA__PAGE])
{
    size_t from = 0, len = 0, at = 0;
    while (at < ISOLA__PAGE) {
        uint64_t word;
        size_t begin = at;
        for (; at < ISOLA__PAGE; at += sizeof(word)) {
            memcpy(&word, page + at, sizeof(word));
            if (word != 0)
                break;
        }
        if (at - begin > len) {
            from = begin;
            len = at - begin;
        }
        at += sizeof(word);
    }
    if (len < HOLE_LEAST)
        return isola_slice(page, ISOLA__PAGE);
    out[0] = (uint8_t)(from >> 8);
    out[1] = (uint8_t)from;
    memcpy(out + 2, page, from);
    memcpy(out + 2 + from, page + from + len, ISOLA__PAGE - from - len);
    return isola_slice(out, 2 + ISOLA__PAGE - len);
}

static bool unpack(struct isola_slice value, uint8_t *page)
{
    if (value.len == ISOLA__PAGE) {
        memcpy(page, value.data, ISOLA__PAGE);
        return true;
    }
    if (value.len < 2 || value.len > ISOLA__PAGE)
        return false;
    size_t from = (size_t)value.data[0] << 8 | value.data[1];
    if (from > value.len - 2)
        return false;
    size_t rest = value.len - 2 - from;
    memcpy(page, value.data + 2, from);
    memset(page + from, 0, ISOLA__PAGE - from - rest);
    memcpy(page + ISOLA__PAGE - rest, value.data + 2 + from, rest);
    return true;
}

/* --- reading --- */

/* Whoever answers may use SQLite for it, on this thread, which is not for this database. */
static int ask(const struct isola_sql_pages *source, uint64_t n, struct isola_buf *value,
               struct isola_err *err)
{
    struct isola_sql *current = isola__sql_current;
    isola__sql_current = NULL;
    int code = source->read(source->arg, n, value, err);
    isola__sql_current = current;
    return code;
}

int isola__pages_open(struct isola__pages *p, const struct isola_sql_pages *source)
{
    struct isola_buf value = {0};
    struct isola_err err = {0};
    *p = (struct isola__pages){.source = *source};
    int code = ask(source, 0, &value, &err);
    if (code == 0 && value.len != 8)
        code = isola_fail(&p->err, ISOLA_EIO, "the database cannot be read: its size is damaged");
    else if (code == ISOLA_ENOENT)
        code = 0;
    else if (code != 0)
        code = isola_fail(&p->err, ISOLA_EIO, "the database cannot be read: %s", err.text);
    p->size = p->told = p->whole = isola_kept_to_number(isola_buf_slice(&value));
    isola_buf_free(&value);
    return code;
}

static void drop(struct isola__pages *p, struct isola__page *page)
{
    isola_idmap_del(&p->held, page->n);
    *page->prev = page->next;
    if (page->next != NULL)
        page->next->prev = page->prev;
    free(page);
}

void isola__pages_close(struct isola__pages *p)
{
    while (p->first != NULL)
        drop(p, p->first);
    isola_idmap_free(&p->held);
    free(p->copy);
    *p = (struct isola__pages){0};
}

/* Into p->copy. */
static int fetch(struct isola__pages *p, uint64_t n)
{
    struct isola_buf value = {0};
    struct isola_err err = {0};
    if (p->last == n)
        return 0;
    p->last = 0;
    if (p->copy == NULL)
        p->copy = isola_alloc(ISOLA__PAGE);
    int code = ask(&p->source, n, &value, &err);
    if (code == ISOLA_ENOENT)
        code =
            isola_fail(&p->err, ISOLA_EIO, "the database is damaged: page %llu of %llu is missing",
                       (unsigned long long)n, (unsigned long long)p->size);
    else if (code != 0)
        code = isola_fail(&p->err, ISOLA_EIO, "the database cannot be read: %s", err.text);
    else if (!unpack(isola_buf_slice(&value), p->copy))
        code = isola_fail(&p->err, ISOLA_EIO, "the database is damaged: page %llu is %zu bytes",
                          (unsigned long long)n, value.len);
    else
        p->last = n;
    isola_buf_free(&value);
    return code;
}

int isola__pages_read(struct isola__pages *p, uint64_t n, size_t from, uint8_t *to, size_t len)
{
    const struct isola__page *page = isola_idmap_get(&p->held, n);
    if (page != NULL) {
        memcpy(to, page->bytes + from, len);
        return 0;
    }
    if (n > p->whole) {
        memset(to, 0, len);
        return 0;
    }
    int code = fetch(p, n);
    if (code == 0)
        memcpy(to, p->copy + from, len);
    return code;
}

/* --- changing --- */

bool isola__pages_write(struct isola__pages *p, uint64_t n, const uint8_t *bytes)
{
    struct isola__page *page = isola_idmap_get(&p->held, n);
    if (page == NULL) {
        page = malloc(sizeof(*page));
        if (page == NULL)
            return false;
        page->n = n;
        page->next = p->first;
        page->prev = &p->first;
        if (p->first != NULL)
            p->first->prev = &page->next;
        p->first = page;
        isola_idmap_add(&p->held, n, page);
    }
    if (p->last == n)
        p->last = 0;
    page->taken = 0;
    memcpy(page->bytes, bytes, ISOLA__PAGE);
    if (n > p->size)
        p->size = n;
    p->changed = true;
    return true;
}

void isola__pages_truncate(struct isola__pages *p, uint64_t size)
{
    if (size >= p->size)
        return;
    for (struct isola__page *page = p->first, *next; page != NULL; page = next) {
        next = page->next;
        if (page->n > size)
            drop(p, page);
    }
    p->last = 0;
    p->size = size;
    p->whole = size < p->whole ? size : p->whole;
    p->changed = true;
}

/* --- keeping --- */

uint64_t isola__pages_take(struct isola__pages *p,
                           void (*each)(void *arg, uint64_t n, struct isola_slice value), void *arg)
{
    uint8_t packed[ISOLA__PAGE], number[8];
    static const uint8_t zeros[2]; /* a page of nothing but them */
    struct isola_slice none = {0};
    p->taken++;
    for (struct isola__page *page = p->first; page != NULL; page = page->next)
        if (page->taken == 0) {
            page->taken = p->taken;
            each(arg, page->n, pack(page->bytes, packed));
        }
    for (uint64_t n = p->whole + 1; n <= p->size; n++)
        if (isola_idmap_get(&p->held, n) == NULL)
            each(arg, n, isola_slice(zeros, sizeof(zeros)));
    for (uint64_t n = p->size + 1; n <= p->told; n++)
        each(arg, n, none);
    if (p->size != p->told)
        each(arg, 0, isola_kept_number(number, p->size));
    p->told = p->whole = p->size;
    p->changed = false;
    return p->taken;
}

void isola__pages_kept(struct isola__pages *p, uint64_t taken)
{
    for (struct isola__page *page = p->first, *next; page != NULL; page = next) {
        next = page->next;
        if (page->taken != 0 && page->taken <= taken)
            drop(p, page);
    }
}
