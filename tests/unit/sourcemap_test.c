/* SPDX-License-Identifier: Apache-2.0
 *
 * base/sourcemap against maps made here, whose places are known, and against bytes that lie.
 */
#include "base/sourcemap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t seed = 1;

static uint32_t draw(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static int parse(const char *json, struct isola_sourcemap **out, struct isola_err *err)
{
    return isola_sourcemap_parse(isola_slice_str(json), out, err);
}

static struct isola_sourcemap *must_parse(const char *json)
{
    struct isola_sourcemap *m = NULL;
    struct isola_err err = {0};
    if (parse(json, &m, &err) != 0)
        fail_msg("%s", err.text);
    return m;
}

struct expected {
    uint32_t line, column;
    const char *place;
};

static void must_find(const struct isola_sourcemap *m, size_t n, const struct expected *expected)
{
    for (size_t i = 0; i < n; i++) {
        struct isola_source_place p;
        char text[200] = "none";
        if (isola_sourcemap_find(m, expected[i].line, expected[i].column, &p))
            snprintf(text, sizeof(text), "%.*s:%u:%u", ISOLA_FMT(p.source), p.line, p.column);
        assert_string_equal(text, expected[i].place);
    }
}
#define MUST_FIND(m, ...)                                                                          \
    must_find(m, sizeof((const struct expected[]){__VA_ARGS__}) / sizeof(struct expected),         \
              (const struct expected[]){__VA_ARGS__})

/* What esbuild writes for two small files. */
static void test_places(void **state)
{
    (void)state;
    struct isola_sourcemap *m = must_parse(
        "{\"version\": 3, \"sources\": [\"lib/step.ts\", \"main.ts\"], \"sourcesContent\": "
        "[\"{[\\\"\", null], \"names\": [\"a\"],\n \"mappings\": \";AAAA,SAASA,EAAE;;"
        "ACEX,IAAM,G\"}\n");
    /* At 4:8 there is a segment without a source. */
    MUST_FIND(m, {1, 1, "none"}, {2, 1, "lib/step.ts:1:1"}, {2, 9, "lib/step.ts:1:1"},
              {2, 10, "lib/step.ts:1:10"}, {2, 11, "lib/step.ts:1:10"}, {2, 12, "lib/step.ts:1:12"},
              {2, UINT32_MAX, "lib/step.ts:1:12"}, {3, 1, "none"}, {4, 1, "main.ts:3:1"},
              {4, 6, "main.ts:3:7"}, {4, 8, "none"}, {5, 1, "none"}, {0, 1, "none"},
              {2, 0, "none"});
    isola_sourcemap_free(m);
    isola_sourcemap_free(NULL);
}

static void test_names(void **state)
{
    (void)state;
    struct isola_sourcemap *m = must_parse(
        "{\"mappings\":\"AAAA,CCAA,CCAA,CCAA,CCAA\",\"sourceRoot\":\"src\",\"sources\":[\"a\\u00e9"
        "\\ud83d\\ude00\\ud800\\n\\u001b[31m.js\",null,\"\\/b\\\"\\\\\",\"\xc3\xa9\",\"\"],"
        "\"version\":3,\"x\":[{\"y\":[]},-1.5e3,true,null,\"]\"]}");
    MUST_FIND(m, {1, 1, "src/a\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd??[31m.js:1:1"}, {1, 2, "none"},
              {1, 3, "src//b\"\\:1:1"}, {1, 4, "src/\xc3\xa9:1:1"}, {1, 5, "none"});
    isola_sourcemap_free(m);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *why;
    } cases[] = {
        {"", "no JSON object"},
        {"[]", "no JSON object"},
        {"{", "no JSON object"},
        {"{}", "\"version\" is missing"},
        {"{\"version\":3", "cut off"},
        {"{\"version\":3}", "\"sources\" is missing"},
        {"{\"version\":3,\"sources\":[]}", "\"mappings\" is missing"},
        {"{\"version\":2,\"sources\":[],\"mappings\":\"\"}", "version 3"},
        {"{\"version\":33,\"sources\":[],\"mappings\":\"\"}", "no JSON object"},
        {"{\"version\":3,\"sources\":{},\"mappings\":\"\"}", "\"sources\" is no array"},
        {"{\"version\":3,\"sources\":[1],\"mappings\":\"\"}", "\"sources\" is no array"},
        {"{\"version\":3,\"sources\":[\"a\",],\"mappings\":\"\"}", "\"sources\" is no array"},
        {"{\"version\":3,\"sources\":[\"\\q\"],\"mappings\":\"\"}", "\"sources\" is no array"},
        {"{\"version\":3,\"sources\":[\"\\u12\"],\"mappings\":\"\"}", "\"sources\" is no array"},
        {"{\"version\":3,\"sources\":[\"a", "\"sources\" is no array"},
        {"{\"version\":3,\"sources\":[],\"mappings\":null}", "\"mappings\" is no string"},
        {"{\"version\":3,\"sources\":[],\"sources\":[],\"mappings\":\"\"}", "twice"},
        {"{\"version\":3,\"mappings\":\"\",\"mappings\":\"\",\"sources\":[]}", "twice"},
        {"{\"version\":3,\"sections\":[]}", "\"sections\""},
        {"{\"version\":3,\"sources\":[],\"mappings\":\"\"}x", "something follows"},
        {"{\"version\":3,\"sources\":[],\"mappings\":\"\",\"z\":}", "no JSON after \"z\""},
        {"{\"version\":3,\"sources\":[],\"mappings\":\"\",\"z\":[[}", "no JSON after \"z\""},
        {"{\"version\":3,\"sources\":[],\"mappings\":\"AAAA\"}", "malformed at byte 2, line 1"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\";A!\"}", "malformed at byte 2, line 2"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AA\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AAA\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AAAAAA\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"D\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AADA\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"g\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"gggggggggggggA\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"EAAA,DAAA\"}", "malformed"},
        {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AAAA,+++++/f\"}", "malformed"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct isola_sourcemap *m = NULL;
        struct isola_err err = {0};
        if (parse(cases[i].json, &m, &err) != ISOLA_EINVAL)
            fail_msg("taken: %s", cases[i].json);
        if (strstr(err.text, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].json, err.text);
        assert_null(m);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct isola_sourcemap *m = NULL;
    struct isola_err err;
    struct isola_buf b = {0};
    isola_buf_puts(&b, "{\"version\":3,\"mappings\":\"\",\"sources\":[\"\"");
    for (int i = 0; i < 100000; i++)
        isola_buf_puts(&b, ",\"\"");
    isola_buf_puts(&b, "]}");
    assert_int_equal(isola_sourcemap_parse(isola_buf_slice(&b), &m, &err), ISOLA_EINVAL);
    b.len = 0;
    isola_buf_puts(&b, "{\"version\":3,\"mappings\":\"\",\"sources\":[\"");
    for (int i = 0; i < 5000; i++)
        isola_buf_puts(&b, "x");
    isola_buf_puts(&b, "\"]}");
    assert_int_equal(isola_sourcemap_parse(isola_buf_slice(&b), &m, &err), ISOLA_EINVAL);
    /* deep nesting is skipped without recursion */
    b.len = 0;
    isola_buf_puts(&b, "{\"version\":3,\"mappings\":\"\",\"sources\":[],\"x\":");
    for (int i = 0; i < 1000000; i++)
        isola_buf_puts(&b, "[");
    for (int i = 0; i < 1000000; i++)
        isola_buf_puts(&b, "]");
    isola_buf_puts(&b, "}");
    assert_int_equal(isola_sourcemap_parse(isola_buf_slice(&b), &m, &err), 0);
    isola_sourcemap_free(m);
    isola_buf_free(&b);
}

/* --- random maps, whose places are known --- */

struct segment {
    uint32_t line, column, source, source_line, source_column;
    bool mapped;
};

static void put_vlq(struct isola_buf *b, int64_t v)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t u = v < 0 ? (uint64_t)(-v) << 1 | 1 : (uint64_t)v << 1;
    do {
        uint32_t d = u & 31;
        u >>= 5;
        isola_buf_append(b, &digits[u != 0 ? d | 32 : d], 1);
    } while (u != 0);
}

#define SEGMENTS 3000
#define SOURCES  5

static size_t make(struct segment *s, struct isola_buf *b)
{
    struct segment last = {0};
    size_t n = 1 + draw(SEGMENTS);
    uint32_t long_lines = 1 + draw(200);
    isola_buf_puts(b, "{\"version\":3,\"sources\":[\"0\",\"1\",\"2\",\"3\",\"4\"],\"mappings\":\"");
    for (size_t i = 0; i < n; i++) {
        struct segment x = {.line = last.line, .column = last.column, .mapped = draw(8) != 0};
        if (draw(long_lines) == 0) {
            x.line += 1 + draw(3) * draw(100);
            x.column = 0;
        }
        for (uint32_t l = last.line; l < x.line; l++)
            isola_buf_puts(b, ";");
        if (x.line == last.line && i > 0)
            isola_buf_puts(b, ",");
        uint32_t before = x.column;
        x.column += draw(5) == 0 ? draw(100000) : draw(20);
        put_vlq(b, (int64_t)x.column - before);
        x.source = last.source;
        x.source_line = last.source_line;
        x.source_column = last.source_column;
        if (x.mapped) {
            x.source = draw(SOURCES);
            x.source_line = draw(4) == 0 ? draw(1u << 30) : draw(100);
            x.source_column = draw(200);
            put_vlq(b, (int64_t)x.source - last.source);
            put_vlq(b, (int64_t)x.source_line - last.source_line);
            put_vlq(b, (int64_t)x.source_column - last.source_column);
            if (draw(3) == 0)
                put_vlq(b, draw(10)); /* a name, which nobody looks at */
        }
        s[i] = last = x;
    }
    isola_buf_puts(b, "\"}");
    return n;
}

static const struct segment *expected(const struct segment *s, size_t n, uint32_t line,
                                      uint32_t column)
{
    const struct segment *found = NULL;
    for (size_t i = 0; i < n; i++)
        if (s[i].line == line && s[i].column <= column)
            found = &s[i];
    return found != NULL && found->mapped ? found : NULL;
}

static void test_random(void **state)
{
    (void)state;
    struct segment *s = calloc(SEGMENTS, sizeof(*s));
    for (int round = 0; round < 60; round++) {
        struct isola_buf b = {0};
        size_t n = make(s, &b);
        struct isola_sourcemap *m = NULL;
        struct isola_err err = {0};
        if (isola_sourcemap_parse(isola_buf_slice(&b), &m, &err) != 0)
            fail_msg("round %d: %s", round, err.text);
        for (int i = 0; i < 500; i++) {
            const struct segment *at = &s[draw((uint32_t)n)];
            uint32_t line = at->line + draw(2) * draw(2), column = at->column + draw(3);
            column -= column > 0 && draw(3) == 0;
            const struct segment *want = expected(s, n, line, column);
            struct isola_source_place p;
            bool found = isola_sourcemap_find(m, line + 1, column + 1, &p);
            assert_int_equal(found, want != NULL);
            if (!found)
                continue;
            assert_int_equal(p.source.data[0], '0' + want->source);
            assert_int_equal(p.line, want->source_line + 1);
            assert_int_equal(p.column, want->source_column + 1);
        }
        isola_sourcemap_free(m);
        isola_buf_free(&b);
    }
    free(s);
}

/* Damaged maps are refused or read: never more than the bytes there are, never without end. */
static void test_damaged(void **state)
{
    (void)state;
    static const char bytes[] = "\"\\{}[],:;A/+gz9!nu3 \n\x80\xff";
    struct segment *s = calloc(SEGMENTS, sizeof(*s));
    unsigned taken = 0;
    for (int round = 0; round < 3000; round++) {
        struct isola_buf b = {0};
        isola_buf_puts(&b, " ");
        size_t n = draw(3) == 0 ? make(s, &b) : 0;
        if (n == 0)
            isola_buf_puts(&b, "{\"version\":3,\"file\":\"a\\n\",\"sources\":[\"a\\u0041\",null],"
                               "\"names\":[],\"mappings\":\"AAAA;CCCC,C;D,E\"}");
        for (uint32_t i = draw(4); i > 0; i--)
            b.data[draw((uint32_t)b.len)] = (uint8_t)bytes[draw(sizeof(bytes) - 1)];
        if (draw(3) == 0)
            b.len = draw((uint32_t)b.len);
        uint8_t *exact = malloc(b.len + 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact + 1, b.data, b.len);
        struct isola_sourcemap *m = NULL;
        struct isola_err err;
        struct isola_source_place p;
        if (isola_sourcemap_parse(isola_slice(exact + 1, b.len), &m, &err) == 0) {
            taken++;
            for (int i = 0; i < 50; i++)
                (void)isola_sourcemap_find(m, draw(500), draw(1000), &p);
            isola_sourcemap_free(m);
        } else {
            assert_null(m);
        }
        free(exact);
        isola_buf_free(&b);
    }
    assert_in_range(taken, 100, 2900);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_random),  cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
