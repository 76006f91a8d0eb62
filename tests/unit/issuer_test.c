/* SPDX-License-Identifier: Apache-2.0
 *
 * Who lets nodes in: tokens are used once, names belong to one key, and nothing of it is forgotten.
 */
#include "node-agent/issuer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/tempdir.h"
#include "transport/keyfile.h"

#define NOW 1700000000000

static char dir[TEMPDIR_SIZE];
static struct isola_node_keys *first, *west, *other;
static struct isola__issuer *issuer;
static struct isola_err err;

static struct isola_node_keys *keys_new(void)
{
    struct isola_node_keys *k = isola_secret_alloc(sizeof(*k));
    isola_sign_keys_new(&k->sign);
    isola_static_keys_new(&k->fixed);
    return k;
}

static int begin(void **state)
{
    (void)state;
    struct isola_buf cert = {0};
    struct isola_identity id;
    if (tempdir_make(dir) != 0)
        return -1;
    first = keys_new();
    west = keys_new();
    other = keys_new();
    int rc = isola__issuer_new(dir, "east", first, NOW, &issuer, &cert, &err);
    rc = rc != 0 ? rc
                 : isola_node_certificate_read(isola__issuer_cluster_key(issuer),
                                               isola_buf_slice(&cert), &id, &err);
    isola_buf_free(&cert);
    return rc != 0 || strcmp(id.name, "east") != 0 || id.serial != 1;
}

static int end(void **state)
{
    (void)state;
    isola__issuer_free(issuer);
    issuer = NULL;
    isola_secret_free(first);
    isola_secret_free(west);
    isola_secret_free(other);
    return tempdir_remove(dir);
}

/* As after a restart. */
static void again(void)
{
    isola__issuer_free(issuer);
    issuer = NULL;
    if (isola__issuer_open(dir, &issuer, &err) != 0)
        fail_msg("%s", err.text);
}

static struct isola_token token(int64_t life_ms)
{
    struct isola_token t = {0};
    if (isola__issuer_token(issuer, life_ms, NOW, &t, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(t.expires_ms, NOW + life_ms);
    return t;
}

static int certify_at(const struct isola_token *t, const struct isola_node_keys *k,
                      const char *name, int64_t now, struct isola_buf *cert)
{
    uint8_t sig[64];
    isola_request_sign(k, name, isola_slice(t->id, sizeof(t->id)), sig);
    struct isola__request q = {.token_id = isola_slice(t->id, sizeof(t->id)),
                               .secret = isola_slice(t->secret, sizeof(t->secret)),
                               .name = isola_slice_str(name),
                               .node_key = isola_slice(k->sign.public_key, ISOLA_KEY_SIZE),
                               .static_key = isola_slice(k->fixed.public_key, ISOLA_KEY_SIZE),
                               .signature = isola_slice(sig, sizeof(sig))};
    memset(&err, 0, sizeof(err));
    return isola__issuer_certify(issuer, &q, now, cert, &err);
}

static void refused(const struct isola_token *t, const struct isola_node_keys *k, const char *name,
                    int64_t now, int code, const char *sentence)
{
    struct isola_buf cert = {0};
    assert_int_equal(certify_at(t, k, name, now, &cert), code);
    assert_int_equal(cert.len, 0);
    if (strstr(err.text, sentence) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
}

static struct isola_identity let_in(const struct isola_token *t, const struct isola_node_keys *k,
                                    const char *name)
{
    struct isola_buf cert = {0};
    struct isola_identity id;
    if (certify_at(t, k, name, NOW + 1, &cert) != 0 ||
        isola_node_certificate_read(isola__issuer_cluster_key(issuer), isola_buf_slice(&cert), &id,
                                    &err) != 0)
        fail_msg("%s", err.text);
    assert_string_equal(id.name, name);
    assert_memory_equal(id.node_key, k->sign.public_key, ISOLA_KEY_SIZE);
    assert_memory_equal(id.node_static, k->fixed.public_key, ISOLA_KEY_SIZE);
    isola_buf_free(&cert);
    return id;
}

static void once(void **state)
{
    (void)state;
    struct isola_token t = token(1000);
    struct isola_identity id = let_in(&t, west, "west");
    assert_int_equal(id.serial, 2);
    refused(&t, other, "north", NOW, ISOLA_EPERM, "used up: node west joined with it");
    again();
    refused(&t, other, "north", NOW, ISOLA_EPERM, "used up: node west joined with it");
    /* The answer was lost: the same node may ask again, and is the same afterwards. */
    assert_int_equal(let_in(&t, west, "west").serial, 2);
    refused(&t, west, "west", NOW + 1000, ISOLA_EPERM, "expired");
}

static void expiry(void **state)
{
    (void)state;
    struct isola_token t, late;
    t = token(60000);
    refused(&t, west, "west", NOW + 60000, ISOLA_EPERM, "the token has expired");
    assert_int_equal(isola__issuer_token(issuer, 999, NOW, &late, &err), ISOLA_EINVAL);
    assert_int_equal(isola__issuer_token(issuer, ISOLA_TOKEN_MAX_MS + 1, NOW, &late, &err),
                     ISOLA_EINVAL);
    assert_int_equal(isola__issuer_token(issuer, 1000, NOW + 60000, &late, &err), 0);
    refused(&t, west, "west", NOW, ISOLA_EPERM, "not known here, or has expired");
}

static void wrong(void **state)
{
    (void)state;
    struct isola_token t = token(1000), u;
    for (size_t i = 0; i < sizeof(t.secret); i++) {
        u = t;
        u.secret[i] ^= 1;
        refused(&u, west, "west", NOW, ISOLA_EPERM, "not known here");
    }
    u = t;
    u.id[0] ^= 1;
    refused(&u, west, "west", NOW, ISOLA_EPERM, "not known here");
    uint8_t sig[64];
    isola_request_sign(other, "west", isola_slice(t.id, sizeof(t.id)), sig);
    struct isola__request q = {.token_id = isola_slice(t.id, sizeof(t.id)),
                               .secret = isola_slice(t.secret, sizeof(t.secret)),
                               .name = isola_slice_str("west"),
                               .node_key = isola_slice(west->sign.public_key, ISOLA_KEY_SIZE),
                               .static_key = isola_slice(west->fixed.public_key, ISOLA_KEY_SIZE),
                               .signature = isola_slice(sig, sizeof(sig))};
    struct isola_buf cert = {0};
    assert_int_equal(isola__issuer_certify(issuer, &q, NOW, &cert, &err), ISOLA_EPERM);
    q.name = isola_slice_str("no name");
    assert_int_equal(isola__issuer_certify(issuer, &q, NOW, &cert, &err), ISOLA_EINVAL);
    q = (struct isola__request){0};
    assert_int_equal(isola__issuer_certify(issuer, &q, NOW, &cert, &err), ISOLA_EINVAL);
    let_in(&t, west, "west"); /* nothing of it has used it up */
}

static void names(void **state)
{
    (void)state;
    struct isola_token t = token(1000), u = token(1000);
    refused(&t, west, "east", NOW, ISOLA_EEXIST, "a node named east is in this cluster already");
    let_in(&t, west, "west");
    refused(&u, west, "north", NOW, ISOLA_EEXIST, "member already, named west");
    refused(&u, other, "west", NOW, ISOLA_EEXIST, "`ctl remove west` first");
    /* It has lost its certificate, and has another token. */
    assert_int_equal(let_in(&u, west, "west").serial, 2);
}

static void removal(void **state)
{
    (void)state;
    struct isola_token t = token(1000), u = token(1000);
    struct isola_buf entry = {0};
    struct isola_removals list = {0};
    let_in(&t, west, "west");
    assert_int_equal(isola__issuer_remove(issuer, "north", NOW, &entry, &err), ISOLA_ENOENT);
    assert_int_equal(isola__issuer_remove(issuer, "west", NOW, &entry, &err), 0);
    assert_int_equal(
        isola_removals_add(&list, isola__issuer_cluster_key(issuer), isola_buf_slice(&entry), &err),
        1);
    assert_non_null(isola_removals_find(&list, west->sign.public_key));
    isola_removals_free(&list);
    again();
    struct isola_buf same = {0};
    assert_int_equal(isola__issuer_remove(issuer, "west", NOW + 5, &same, &err), 0);
    assert_true(isola_slice_eq(isola_buf_slice(&entry), isola_buf_slice(&same)));
    isola_buf_free(&entry);
    isola_buf_free(&same);
    assert_int_equal(isola__issuer_removals(issuer, &list, &err), 0);
    assert_int_equal(list.n, 1);
    isola_removals_free(&list);
    refused(&t, west, "west", NOW, ISOLA_EPERM, "was a member, named west, and was removed");
    refused(&u, west, "south", NOW, ISOLA_EPERM, "was a member, named west, and was removed");
    assert_int_equal(let_in(&u, other, "west").serial, 3); /* the name is free again */
}

/* When it cannot be written down it has not happened. */
static void not_saved(void **state)
{
    (void)state;
    struct isola_token t = token(1000), u;
    struct isola_buf entry = {0};
    assert_int_equal(chmod(dir, 0750), 0);
    refused(&t, west, "west", NOW, ISOLA_EPERM, "others have rights");
    assert_int_equal(isola__issuer_token(issuer, 1000, NOW, &u, &err), ISOLA_EPERM);
    assert_int_equal(isola__issuer_remove(issuer, "east", NOW, &entry, &err), ISOLA_EPERM);
    assert_int_equal(chmod(dir, 0700), 0);
    assert_int_equal(let_in(&t, other, "north").serial, 2);
    refused(&u, west, "west", NOW, ISOLA_EPERM, "not known");
}

static void damaged(void **state)
{
    (void)state;
    char path[100];
    struct isola__issuer *none = NULL;
    uint8_t *data;
    size_t len;
    (void)token(1000);
    snprintf(path, sizeof(path), "%s/issuer", dir);
    assert_int_equal(isola_secret_read(path, 4096, &data, &len, &err), 0);
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(isola_secret_write(path, isola_slice(data, n), &err), 0);
        assert_int_equal(isola__issuer_open(dir, &none, &err), ISOLA_EIO);
        assert_non_null(strstr(err.text, "is damaged"));
    }
    isola_secret_free(data);
    assert_int_equal(remove(path), 0);
    assert_int_equal(isola__issuer_open(dir, &none, &err), ISOLA_EIO);
    assert_non_null(strstr(err.text, "is missing beside cluster.key"));
    snprintf(path, sizeof(path), "%s/cluster.key", dir);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(isola__issuer_open(dir, &none, &err), ISOLA_EPERM);
    assert_int_equal(remove(path), 0);
    assert_int_equal(isola__issuer_open(dir, &none, &err), ISOLA_ENOENT);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(once, begin, end),
        cmocka_unit_test_setup_teardown(expiry, begin, end),
        cmocka_unit_test_setup_teardown(wrong, begin, end),
        cmocka_unit_test_setup_teardown(names, begin, end),
        cmocka_unit_test_setup_teardown(removal, begin, end),
        cmocka_unit_test_setup_teardown(not_saved, begin, end),
        cmocka_unit_test_setup_teardown(damaged, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
