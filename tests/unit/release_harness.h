/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of releases and of the catalog share: a release in its wire form.
 */
#ifndef ISOLA_TESTS_RELEASE_HARNESS_H
#define ISOLA_TESTS_RELEASE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "store/catalog.h"

#define MANIFEST                                                                                   \
    "{\"name\":\"shop\",\"actors\":{\"B\":{\"module\":\"b.js\"},\"A\":{\"module\":\"a.js\"}}}"

/* A release in its wire form, field by field, so that each can be wrong. */
struct wire {
    const char *app, *manifest, *id;
    const char *types[4];
    const char *code;
    bool no_code, text_code, text_map, no_map, text_revision;
    uint64_t revision;
};
static const struct wire good = {
    .app = "shop", .manifest = MANIFEST, .types = {"A", "B"}, .code = "export {}", .revision = 3};

static inline void write_bundle(struct isola_buf *b, const struct wire *w, const char *type)
{
    isola_mp_map(b, 1 + (size_t)!w->no_code + (size_t)!w->no_map);
    isola_mp_kstr(b, "type", type);
    if (!w->no_code) {
        char *code = isola_format("%s // %s", w->code, type);
        isola_mp_cstr(b, "code");
        if (w->text_code)
            isola_mp_cstr(b, code);
        else
            isola_mp_bin(b, isola_slice_str(code));
        free(code);
    }
    if (!w->no_map) {
        isola_mp_cstr(b, "map");
        if (w->text_map)
            isola_mp_cstr(b, "{}");
        else
            isola_mp_bin(b, isola_slice_str("{}"));
    }
}

static inline struct isola_buf encode(const struct wire *w)
{
    struct isola_buf b = {0};
    size_t n = 0;
    while (n < 4 && w->types[n] != NULL)
        n++;
    isola_mp_map(&b, 2 + (size_t)(w->app != NULL) + (size_t)(w->manifest != NULL) +
                         (size_t)(w->id != NULL));
    if (w->app != NULL)
        isola_mp_kstr(&b, "app", w->app);
    if (w->manifest != NULL)
        isola_mp_kstr(&b, "manifest", w->manifest);
    if (w->id != NULL)
        isola_mp_kstr(&b, "release", w->id);
    isola_mp_cstr(&b, "bundles");
    isola_mp_array(&b, n);
    for (size_t i = 0; i < n; i++)
        write_bundle(&b, w, w->types[i]);
    if (w->text_revision)
        isola_mp_kstr(&b, "revision", "3");
    else
        isola_mp_kuint(&b, "revision", w->revision);
    assert_false(b.failed);
    return b;
}

static inline struct isola_release *decoded(const struct wire *w)
{
    struct isola_release *r = NULL;
    struct isola_err err = {0};
    struct isola_buf b = encode(w);
    if (isola_release_decode(isola_buf_slice(&b), &r, &err) != 0)
        fail_msg("%s", err.text);
    memset(b.data, 0xee, b.len); /* decode has copied */
    isola_buf_free(&b);
    return r;
}

static inline void same_release(const struct isola_release *a, const struct isola_release *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->app, b->app);
    assert_true(isola_slice_eq(a->manifest, b->manifest));
    assert_int_equal(a->nbundles, b->nbundles);
    for (size_t i = 0; i < a->nbundles; i++) {
        assert_string_equal(a->bundles[i].type, b->bundles[i].type);
        assert_true(isola_slice_eq(a->bundles[i].code, b->bundles[i].code));
        assert_true(isola_slice_eq(a->bundles[i].map, b->bundles[i].map));
    }
}

#endif
