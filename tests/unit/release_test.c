/* SPDX-License-Identifier: Apache-2.0
 *
 * Releases in their wire form: what goes in comes out, and what lies is refused.
 */
#include "release_harness.h"

#include "store/tree.h"

static void decodes_what_was_encoded(void **state)
{
    (void)state;
    struct isola_release *r = decoded(&good), *again = NULL;
    struct isola_err err = {0};
    assert_string_equal(r->app, "shop");
    assert_int_equal(r->revision, 3);
    assert_int_equal(r->nbundles, 2);
    assert_string_equal(r->bundles[0].type, "B"); /* the manifest's order */
    assert_true(isola_slice_is(r->bundles[0].code, "export {} // B"));
    assert_true(isola_slice_is(r->bundles[0].map, "{}"));
    assert_string_equal(r->bundles[1].type, "A");
    struct isola_buf b = {0};
    r->deployed_ms = 1234567890123;
    isola_release_encode(r, &b);
    assert_int_equal(isola_release_decode(isola_buf_slice(&b), &again, &err), 0);
    same_release(r, again);
    assert_int_equal(again->revision, 3);
    assert_int_equal(again->deployed_ms, 1234567890123);
    isola_release_free(again);
    isola_release_free(r);
    isola_release_free(NULL);
    isola_buf_free(&b);
}

static void identifies_by_content(void **state)
{
    (void)state;
    struct isola_release *r = decoded(&good);
    assert_string_equal(r->id, "05f7a6054c32568f"); /* what other nodes and releases compute */
    struct wire w = good;
    w.types[0] = "B", w.types[1] = "A", w.revision = 9;
    struct isola_release *other = decoded(&w); /* neither order nor revision are content */
    same_release(r, other);
    isola_release_free(other);
    w = good;
    w.code = "export {};";
    other = decoded(&w);
    assert_string_not_equal(r->id, other->id);
    isola_release_free(other);
    w = good;
    w.no_map = true;
    other = decoded(&w);
    assert_int_equal(other->bundles[0].map.len, 0);
    assert_string_not_equal(r->id, other->id);
    isola_release_free(other);
    w = good;
    w.id = r->id;
    isola_release_free(decoded(&w));
    isola_release_free(r);
}

static void refused(const struct wire *w, int code, const char *sentence)
{
    struct isola_release *r = NULL;
    struct isola_err err = {0};
    struct isola_buf b = encode(w);
    assert_int_equal(isola_release_decode(isola_buf_slice(&b), &r, &err), code);
    assert_string_equal(err.text, sentence);
    assert_null(r);
    isola_buf_free(&b);
}

static void refuses_what_lies(void **state)
{
    (void)state;
    struct wire w;
#define WITH(change) (w = good, change, &w)
    refused(WITH(w.app = NULL), ISOLA_EINVAL, "release: \"app\" must be a string");
    refused(WITH(w.manifest = NULL), ISOLA_EINVAL, "release: \"manifest\" must be a string");
    refused(
        WITH(w.manifest = "{\"name\":\"shop\"}"), ISOLA_EMANIFEST,
        "isola.json:1:1: \"actors\" is missing: the app's actor types, such as {\"Counter\": "
        "{\"module\": \"./counter.js\"}}; files called NAME.actor.js or .ts need not be listed");
    refused(WITH(w.app = "mail"), ISOLA_EINVAL,
            "release: \"app\" is not the manifest's name, which is \"shop\"");
    refused(WITH(w.types[1] = NULL), ISOLA_EINVAL, "release: the bundle of type \"B\" is missing");
    refused(WITH(w.types[2] = "C"), ISOLA_EINVAL,
            "release: bundle 2 is of a type that the manifest of \"shop\" does not name");
    refused(WITH(w.types[2] = "A"), ISOLA_EINVAL, "release: there are two bundles of type \"A\"");
    refused(WITH(w.no_code = true), ISOLA_EINVAL, "release: \"code\" of bundle \"A\" must be bin");
    refused(WITH(w.text_code = true), ISOLA_EINVAL,
            "release: \"code\" of bundle \"A\" must be bin");
    refused(WITH(w.text_map = true), ISOLA_EINVAL, "release: \"map\" of bundle \"A\" must be bin");
    refused(WITH(w.text_revision = true), ISOLA_EINVAL,
            "release: \"revision\" must be a whole number >= 0");
    refused(WITH(w.revision = UINT64_MAX), ISOLA_EINVAL,
            "release: \"revision\" must be below 2^63");
    refused(WITH(w.id = "0123456789abcdef"), ISOLA_EINVAL,
            "release: its content has the id 05f7a6054c32568f, which is not the one it came with");
    refused(WITH(w.id = ""), ISOLA_EINVAL,
            "release: its content has the id 05f7a6054c32568f, which is not the one it came with");
}

static void survives_truncation_and_damage(void **state)
{
    (void)state;
    struct isola_buf b = encode(&good);
    for (size_t n = 0; n < b.len; n++) {
        struct isola_release *r = NULL;
        struct isola_err err = {0};
        uint8_t *exact = malloc(n > 0 ? n : 1);
        memcpy(exact, b.data, n);
        int code = isola_release_decode(isola_slice(exact, n), &r, &err);
        /* Keys after a whole "bundles" may be cut off unnoticed: they are optional. */
        assert_true(code == 0 || err.text[0] != '\0');
        isola_release_free(r);
        free(exact);
        for (int c = 0; c < 256; c += 5) {
            uint8_t before = b.data[n];
            r = NULL;
            b.data[n] = (uint8_t)c;
            code = isola_release_decode(isola_buf_slice(&b), &r, &err);
            assert_true(code <= 0);
            isola_release_free(r);
            b.data[n] = before;
        }
    }
    isola_buf_free(&b);
}

/* --- files --- */

static void has_files(void **state)
{
    (void)state;
    struct isola_buf files = {0}, bytes = {0};
    struct isola_tree tree = {0};
    struct isola_release *r = NULL, *again = NULL;
    struct isola_err err;
    isola_tree_add(&tree, &(struct isola_tree_entry){
                              .path = (char *)"l", .kind = ISOLA_TREE_LINK, .target = (char *)"x"});
    assert_int_equal(isola_tree_encode(&tree, &files, &err), 0);
    struct isola_buf b = encode(&good);
    assert_int_equal(isola_release_decode(isola_buf_slice(&b), &r, &err), 0);
    assert_int_equal(r->files.len, 0);
    char without[ISOLA_RELEASE_ID_SIZE];
    memcpy(without, r->id, sizeof(without));
    r->files = isola_buf_slice(&files);
    isola_release_identify(r);
    assert_string_not_equal(r->id, without);
    isola_release_encode(r, &bytes);
    assert_int_equal(isola_release_decode(isola_buf_slice(&bytes), &again, &err), 0);
    assert_string_equal(again->id, r->id);
    assert_true(isola_slice_eq(again->files, isola_buf_slice(&files)));
    isola_release_free(again);
    bytes.len = 0; /* what is no tree */
    r->files = isola_slice_str("x");
    isola_release_identify(r);
    isola_release_encode(r, &bytes);
    assert_int_equal(isola_release_decode(isola_buf_slice(&bytes), &again, &err), ISOLA_EINVAL);
    assert_non_null(strstr(err.text, "the list of files"));
    isola_release_free(r);
    isola_tree_free(&tree);
    isola_buf_free(&files);
    isola_buf_free(&bytes);
    isola_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_files),
        cmocka_unit_test(decodes_what_was_encoded),
        cmocka_unit_test(identifies_by_content),
        cmocka_unit_test(refuses_what_lies),
        cmocka_unit_test(survives_truncation_and_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
