/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates, chains, removals and tokens: what is true is believed, whatever is changed is not.
 */
#include "transport/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/msgpack.h"
#include "transport/token.h"

static struct isola_sign_keys *cluster, *other;
static struct isola_node_keys *node, *stranger;
static struct isola_static_keys *host;

static struct isola_identity facts(const char *name, const struct isola_node_keys *keys,
                                   uint64_t serial)
{
    struct isola_identity id = {.serial = serial, .issued_ms = 1700000000000};
    snprintf(id.name, sizeof(id.name), "%s", name);
    memcpy(id.node_key, keys->sign.public_key, ISOLA_KEY_SIZE);
    memcpy(id.node_static, keys->fixed.public_key, ISOLA_KEY_SIZE);
    return id;
}

static int make_keys(void **state)
{
    (void)state;
    cluster = isola_secret_alloc(sizeof(*cluster));
    other = isola_secret_alloc(sizeof(*other));
    node = isola_secret_alloc(sizeof(*node));
    stranger = isola_secret_alloc(sizeof(*stranger));
    host = isola_secret_alloc(sizeof(*host));
    isola_sign_keys_new(cluster);
    isola_sign_keys_new(other);
    isola_sign_keys_new(&node->sign);
    isola_static_keys_new(&node->fixed);
    isola_sign_keys_new(&stranger->sign);
    isola_static_keys_new(&stranger->fixed);
    isola_static_keys_new(host);
    return 0;
}

static int drop_keys(void **state)
{
    (void)state;
    isola_secret_free(cluster);
    isola_secret_free(other);
    isola_secret_free(node);
    isola_secret_free(stranger);
    isola_secret_free(host);
    return 0;
}

/* --- chains --- */

static struct isola_buf node_chain(const struct isola_sign_keys *by, const char *name)
{
    struct isola_buf cert = {0}, chain = {0};
    struct isola_identity id = facts(name, node, 7);
    isola_node_certify(by, &id, &cert);
    isola_chain_write(isola_buf_slice(&cert), isola_slice(NULL, 0), &chain);
    isola_buf_free(&cert);
    return chain;
}

static struct isola_buf host_chain(const struct isola_node_keys *of)
{
    struct isola_buf cert = {0}, host_cert = {0}, chain = {0};
    struct isola_identity id = facts("west", node, 7);
    isola_node_certify(cluster, &id, &cert);
    isola_host_certify(&of->sign, host->public_key, 1700000001000, &host_cert);
    isola_chain_write(isola_buf_slice(&cert), isola_buf_slice(&host_cert), &chain);
    isola_buf_free(&cert);
    isola_buf_free(&host_cert);
    return chain;
}

static void refused(struct isola_slice chain, const uint8_t *static_key,
                    const struct isola_removals *removals, int code, const char *sentence)
{
    struct isola_identity id, zero = {0};
    struct isola_err err = {0};
    memset(&id, 1, sizeof(id));
    assert_int_equal(
        isola_identity_check(cluster->public_key, chain, static_key, removals, &id, &err), code);
    if (strstr(err.text, sentence) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    assert_memory_equal(&id, &zero, sizeof(id));
}

static void chains(void **state)
{
    (void)state;
    struct isola_identity id;
    struct isola_err err;
    struct isola_buf c = node_chain(cluster, "west");
    assert_true(c.len < ISOLA_CHAIN_MAX / 2);
    assert_int_equal(isola_identity_check(cluster->public_key, isola_buf_slice(&c),
                                          node->fixed.public_key, NULL, &id, &err),
                     0);
    assert_string_equal(id.name, "west");
    assert_int_equal(id.role, ISOLA_ROLE_NODE);
    assert_int_equal(id.serial, 7);
    assert_int_equal(id.issued_ms, 1700000000000);
    assert_memory_equal(id.node_key, node->sign.public_key, ISOLA_KEY_SIZE);
    refused(isola_buf_slice(&c), stranger->fixed.public_key, NULL, ISOLA_EPERM,
            "node west, but the key of the channel is another's");
    isola_buf_free(&c);

    c = host_chain(node);
    assert_true(c.len < ISOLA_CHAIN_MAX);
    assert_int_equal(isola_identity_check(cluster->public_key, isola_buf_slice(&c),
                                          host->public_key, NULL, &id, &err),
                     0);
    assert_string_equal(id.name, "west");
    assert_int_equal(id.role, ISOLA_ROLE_HOST);
    assert_int_equal(id.started_ms, 1700000001000);
    /* The agent's own key is not the host's. */
    refused(isola_buf_slice(&c), node->fixed.public_key, NULL, ISOLA_EPERM,
            "an actor-host of node west, but the key of the channel is another's");
    isola_buf_free(&c);

    c = host_chain(stranger);
    refused(isola_buf_slice(&c), host->public_key, NULL, ISOLA_EPERM,
            "claims to be an actor-host of node west, which has not signed that");
    isola_buf_free(&c);

    c = node_chain(other, "west");
    refused(isola_buf_slice(&c), node->fixed.public_key, NULL, ISOLA_EPERM, "this is cluster");
    isola_buf_free(&c);
    refused(isola_slice(NULL, 0), node->fixed.public_key, NULL, ISOLA_EPERM,
            "it shows no certificate");
}

/* Another cluster's key under this cluster's id. */
static void forged(void **state)
{
    (void)state;
    struct isola_sign_keys mixed = *other;
    memcpy(mixed.public_key, cluster->public_key, ISOLA_KEY_SIZE);
    struct isola_buf c = node_chain(&mixed, "west");
    refused(isola_buf_slice(&c), node->fixed.public_key, NULL, ISOLA_EPERM,
            "node west that this cluster has not signed");
    isola_buf_free(&c);
}

/* A signature for one thing is none for another, though keys and bytes be the same. */
static void signatures_are_for_one_thing(void **state)
{
    (void)state;
    struct isola_buf cert = {0}, chain = {0};
    struct isola_removals list = {0};
    struct isola_err err;
    struct isola_removal r = {.name = "west", .serial = 7, .removed_ms = 5};
    struct isola_identity id = facts("west", node, 7);
    isola_removal_sign(cluster, &r, &cert);
    isola_chain_write(isola_buf_slice(&cert), isola_slice(NULL, 0), &chain);
    refused(isola_buf_slice(&chain), node->fixed.public_key, NULL, ISOLA_EPROTO, "malformed");
    isola_buf_free(&cert);
    isola_buf_free(&chain);
    isola_node_certify(cluster, &id, &cert);
    assert_int_equal(isola_removals_add(&list, cluster->public_key, isola_buf_slice(&cert), &err),
                     ISOLA_EPROTO);
    isola_buf_free(&cert);

    /* The body of a removal, signed as a certificate would be. */
    static const char prefix[] = "isola node certificate 1";
    struct isola_buf removal = {0}, whole = {0}, made = {0};
    uint8_t signature[64];
    isola_removal_sign(cluster, &r, &removal);
    struct isola_mp_reader reader = isola_mp_reader(isola_buf_slice(&removal));
    struct isola_mp_item item;
    assert_int_equal(isola_mp_next(&reader, &item), 0);
    assert_int_equal(isola_mp_next(&reader, &item), 0);
    isola_buf_append(&whole, prefix, sizeof(prefix));
    isola_buf_append(&whole, item.bytes.data, item.bytes.len);
    crypto_sign_detached(signature, NULL, whole.data, whole.len, cluster->secret_key);
    isola_mp_array(&made, 2);
    isola_mp_bin(&made, item.bytes);
    isola_mp_bin(&made, isola_slice(signature, sizeof(signature)));
    assert_int_equal(isola_removals_add(&list, cluster->public_key, isola_buf_slice(&made), &err),
                     ISOLA_EPERM);
    assert_int_equal(
        isola_removals_add(&list, cluster->public_key, isola_buf_slice(&removal), &err), 1);
    isola_buf_free(&removal);
    isola_buf_free(&whole);
    isola_buf_free(&made);
    isola_removals_free(&list);
}

static void every_bit_counts(void **state)
{
    (void)state;
    struct isola_identity id;
    struct isola_err err;
    for (int which = 0; which < 2; which++) {
        struct isola_buf c = which == 0 ? node_chain(cluster, "west") : host_chain(node);
        const uint8_t *key = which == 0 ? node->fixed.public_key : host->public_key;
        for (size_t bit = 0; bit < c.len * 8; bit++) {
            c.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int rc = isola_identity_check(cluster->public_key, isola_buf_slice(&c), key, NULL, &id,
                                          &err);
            if (rc == 0)
                fail_msg("bit %zu of chain %d does not matter", bit, which);
            c.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t len = 0; len < c.len; len++)
            assert_int_not_equal(isola_identity_check(cluster->public_key, isola_slice(c.data, len),
                                                      key, NULL, &id, &err),
                                 0);
        isola_buf_puts(&c, "x");
        refused(isola_buf_slice(&c), key, NULL, ISOLA_EPROTO, "malformed");
        isola_buf_free(&c);
    }
}

static void names(void **state)
{
    (void)state;
    char longest[66];
    memset(longest, 'a', sizeof(longest));
    assert_true(isola_node_name_ok(longest, 64));
    assert_false(isola_node_name_ok(longest, 65));
    assert_true(isola_node_name_ok("West-1_b.c", 10));
    assert_false(isola_node_name_ok("", 0));
    assert_false(isola_node_name_ok("-west", 5));
    assert_false(isola_node_name_ok("we st", 5));
    assert_false(isola_node_name_ok("we\0st", 5));
}

/* --- asking --- */

static void requests(void **state)
{
    (void)state;
    uint8_t sig[64];
    struct isola_slice id = isola_slice_str("12345678"), west = isola_slice_str("west");
    const uint8_t *key = node->sign.public_key, *fixed = node->fixed.public_key;
    isola_request_sign(node, "west", id, sig);
    struct isola_slice s = isola_slice(sig, sizeof(sig));
    assert_true(isola_request_ok(key, fixed, west, id, s));
    assert_false(isola_request_ok(key, fixed, isola_slice_str("east"), id, s));
    assert_false(isola_request_ok(key, fixed, west, isola_slice_str("12345679"), s));
    assert_false(isola_request_ok(key, stranger->fixed.public_key, west, id, s));
    assert_false(isola_request_ok(stranger->sign.public_key, fixed, west, id, s));
    assert_false(isola_request_ok(key, fixed, west, id, isola_slice(sig, 63)));
    for (size_t i = 0; i < sizeof(sig); i++) {
        sig[i] ^= 1;
        assert_false(isola_request_ok(key, fixed, west, id, s));
        sig[i] ^= 1;
    }
}

/* --- removals --- */

static void removals(void **state)
{
    (void)state;
    struct isola_removals list = {0}, copy = {0};
    struct isola_err err;
    struct isola_buf one = {0}, two = {0}, all = {0};
    struct isola_removal r = {.name = "west", .serial = 7, .removed_ms = 1700000000000};
    memcpy(r.node_key, node->sign.public_key, ISOLA_KEY_SIZE);
    isola_removal_sign(cluster, &r, &one);
    assert_int_equal(isola_removals_add(&list, cluster->public_key, isola_buf_slice(&one), &err),
                     1);
    assert_int_equal(isola_removals_add(&list, cluster->public_key, isola_buf_slice(&one), &err),
                     0);
    memcpy(r.node_key, stranger->sign.public_key, ISOLA_KEY_SIZE);
    isola_removal_sign(other, &r, &two);
    assert_int_equal(isola_removals_add(&list, cluster->public_key, isola_buf_slice(&two), &err),
                     ISOLA_EPERM);
    assert_non_null(strstr(err.text, "node west was removed is not signed by this cluster"));
    isola_buf_free(&two);
    isola_removal_sign(cluster, &r, &two);
    for (size_t bit = 0; bit < two.len * 8; bit++) {
        two.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = isola_removals_add(&list, cluster->public_key, isola_buf_slice(&two), &err);
        assert_true(rc == ISOLA_EPERM || rc == ISOLA_EPROTO);
        two.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(list.n, 1);
    assert_null(isola_removals_find(&list, stranger->sign.public_key));
    assert_int_equal(isola_removals_add(&list, cluster->public_key, isola_buf_slice(&two), &err),
                     1);

    struct isola_buf chain = node_chain(cluster, "west");
    refused(isola_buf_slice(&chain), node->fixed.public_key, &list, ISOLA_EPERM,
            "node west, which was removed from the cluster (2023-11-14 22:13 UTC)");
    isola_buf_free(&chain);
    chain = host_chain(node);
    refused(isola_buf_slice(&chain), host->public_key, &list, ISOLA_EPERM,
            "an actor-host of node west, which was removed");
    isola_buf_free(&chain);

    isola_removals_write(&list, &all);
    assert_int_equal(isola_removals_read(&copy, cluster->public_key, isola_buf_slice(&all), &err),
                     2);
    assert_int_equal(isola_removals_read(&copy, cluster->public_key, isola_buf_slice(&all), &err),
                     0);
    assert_non_null(isola_removals_find(&copy, stranger->sign.public_key));
    assert_int_equal(
        isola_removals_read(&copy, cluster->public_key, isola_slice(all.data, all.len - 1), &err),
        ISOLA_EPROTO);
    assert_int_equal(isola_removals_read(&copy, cluster->public_key, isola_slice_str("x"), &err),
                     ISOLA_EPROTO);
    isola_removals_free(&list);
    isola_removals_free(&copy);
    isola_buf_free(&one);
    isola_buf_free(&two);
    isola_buf_free(&all);
}

/* --- tokens --- */

static void token_refused(const char *text, const char *sentence)
{
    struct isola_token t, zero;
    struct isola_err err = {0};
    memset(&zero, 0, sizeof(zero));
    assert_int_equal(isola_token_read(text, &t, &err), ISOLA_EINVAL);
    if (strstr(err.text, sentence) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    assert_memory_equal(&t, &zero, sizeof(t));
}

static void tokens(void **state)
{
    (void)state;
    struct isola_token t = {.expires_ms = 1700000000000, .naddresses = 2}, back;
    struct isola_err err;
    struct isola_buf out = {0};
    memcpy(t.cluster_key, cluster->public_key, ISOLA_KEY_SIZE);
    strcpy(t.addresses[0], "tcp://10.0.0.1:4711");
    strcpy(t.addresses[1], "tcp://[fe80::1]:80");
    isola_token_fill(&t);
    isola_token_write(&t, &out);
    char *text = isola_buf_cstr(&out);
    assert_int_equal(
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"), out.len);
    char padded[1024];
    snprintf(padded, sizeof(padded), "  %s\n", text);
    assert_int_equal(isola_token_read(padded, &back, &err), 0);
    assert_memory_equal(&t, &back, sizeof(t));

    for (size_t i = 0; i < out.len; i++) {
        char c = text[i];
        text[i] = c == 'x' ? 'y' : 'x';
        token_refused(text, i < 6 ? "this is no token" : "mistyped or cut off");
        text[i] = c;
    }
    for (size_t len = out.len - 1; len > 6; len--) {
        memcpy(padded, text, len);
        padded[len] = '\0';
        token_refused(padded, "mistyped or cut off");
    }
    snprintf(padded, sizeof(padded), "%s %s", text, text);
    token_refused(padded, "something follows the token");
    token_refused("", "this is no token");
    token_refused("tcp://127.0.0.1:4711", "this is no token");
    isola_buf_free(&out);
}

/* Right checksums over what is no token of ours. */
static void token_with(struct isola_buf *body, const char *sentence)
{
    uint8_t digest[16];
    char text[1024] = "isola_";
    crypto_generichash(digest, sizeof(digest), body->data, body->len, NULL, 0);
    isola_buf_append(body, digest, 4);
    sodium_bin2base64(text + 6, sizeof(text) - 6, body->data, body->len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    token_refused(text, sentence);
    isola_buf_free(body);
}

static void forged_tokens(void **state)
{
    (void)state;
    uint8_t bytes[40] = {0};
    struct isola_buf b = {0};
    isola_mp_array(&b, 2);
    isola_mp_uint(&b, 9);
    isola_mp_uint(&b, 9);
    token_with(&b, "format 9, which this release does not know (it knows 1)");
    isola_mp_array(&b, 1);
    isola_mp_uint(&b, 1);
    token_with(&b, "malformed token");
    isola_mp_cstr(&b, "x");
    token_with(&b, "malformed token");
    for (int wrong = 0; wrong < 6; wrong++) {
        isola_mp_array(&b, 6);
        isola_mp_uint(&b, 1);
        isola_mp_bin(&b, isola_slice(bytes, wrong == 0 ? 31 : 32));
        isola_mp_bin(&b, isola_slice(bytes, 8));
        isola_mp_bin(&b, isola_slice(bytes, wrong == 1 ? 40 : 32));
        isola_mp_uint(&b, wrong == 2 ? UINT64_MAX : 5);
        isola_mp_array(&b, wrong == 3 ? 0 : 1);
        if (wrong != 3)
            isola_mp_cstr(&b, wrong == 4 ? "unix:/x" : wrong == 5 ? "tcp://a b" : "tcp://a");
        token_with(&b, "malformed token");
    }
}

/* That of docs/security.md. */
static void token_vector(void **state)
{
    (void)state;
    struct isola_token t = {.expires_ms = 1700000000000, .naddresses = 1};
    struct isola_sign_keys *k = isola_secret_alloc(sizeof(*k));
    struct isola_buf out = {0};
    uint8_t seed[ISOLA_KEY_SIZE];
    isola_sign_keys_from(memset(seed, 'c', sizeof(seed)), k);
    memcpy(t.cluster_key, k->public_key, ISOLA_KEY_SIZE);
    isola_secret_free(k);
    memset(t.id, 1, sizeof(t.id));
    memset(t.secret, 2, sizeof(t.secret));
    strcpy(t.addresses[0], "tcp://10.0.0.1:4711");
    isola_token_write(&t, &out);
    assert_string_equal(
        isola_buf_cstr(&out),
        "isola_lgHEIKf236-POLibqM5km1lPkeTQH9xX-clJPfQ7XlCpmHNnxAgBAQEBAQEBAcQgAgICAgICAgICAgICAgIC"
        "AgICAgICAgICAgICAgICAgLPAAABi8_laACRs3RjcDovLzEwLjAuMC4xOjQ3MTEkbLPr");
    isola_buf_free(&out);
}

static void ids(void **state)
{
    (void)state;
    char a[ISOLA_CLUSTER_ID], b[ISOLA_CLUSTER_ID];
    isola_cluster_id(cluster->public_key, a);
    isola_cluster_id(other->public_key, b);
    assert_int_equal(strspn(a, "0123456789abcdef"), 16);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains),
        cmocka_unit_test(forged),
        cmocka_unit_test(signatures_are_for_one_thing),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(names),
        cmocka_unit_test(requests),
        cmocka_unit_test(removals),
        cmocka_unit_test(tokens),
        cmocka_unit_test(forged_tokens),
        cmocka_unit_test(token_vector),
        cmocka_unit_test(ids),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
