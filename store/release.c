/* SPDX-License-Identifier: Apache-2.0
 *
 * A release on the wire and in the catalog: a msgpack map
 * {app, manifest, bundles: [{type, code, map}], files, link, release (id), revision, deployed_ms,
 * by, message, restores, signature, share, canary, nodes}.
 *
 * The id is the first 64 bits of BLAKE2b-256 over manifest, bundles, files and link, each field
 * behind its length (8 bytes, little-endian), the bundles in the order of their types' names, the
 * last two only if there are any: two releases with the same content have the same id whoever packs
 * them.
 *
 * decode trusts nothing: it copies, parses the manifest, wants a bundle for each of its types that
 * are actors and no other, and computes the id anew. Failure modes: ISOLA_EINVAL naming the key,
 * ISOLA_EMANIFEST, ISOLA_ENOMEM.
 */
#include "store/catalog.h"

#include <sodium.h>

#include "base/canary.h"
#include "base/check.h"
#include "base/msgpack.h"
#include "base/utf8.h"
#include "store/manifest.h"
#include "store/tree.h"

/* --- identity --- */

static void hash_field(crypto_generichash_state *h, struct isola_slice s)
{
    uint8_t len[8];
    for (int i = 0; i < 8; i++)
        len[i] = (uint8_t)((uint64_t)s.len >> (8 * i));
    crypto_generichash_update(h, len, sizeof(len));
    if (s.len > 0)
        crypto_generichash_update(h, s.data, s.len);
}

static int by_type(const void *a, const void *b)
{
    const struct isola_bundle *const *x = a, *const *y = b;
    return strcmp((*x)->type, (*y)->type);
}

void isola_release_hash(const struct isola_release *r, uint8_t digest[ISOLA_RELEASE_HASH_SIZE])
{
    ISOLA_CHECK(sodium_init() >= 0);
    const struct isola_bundle **order = isola_alloc(r->nbundles * sizeof(struct isola_bundle *));
    for (size_t i = 0; i < r->nbundles; i++)
        order[i] = &r->bundles[i];
    qsort(order, r->nbundles, sizeof(struct isola_bundle *), by_type);
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, ISOLA_RELEASE_HASH_SIZE);
    hash_field(&h, r->manifest);
    for (size_t i = 0; i < r->nbundles; i++) {
        hash_field(&h, isola_slice_str(order[i]->type));
        hash_field(&h, order[i]->code);
        hash_field(&h, order[i]->map);
    }
    if (r->files.len > 0)
        hash_field(&h, r->files);
    if (r->link != NULL)
        hash_field(&h, isola_slice_str(r->link));
    crypto_generichash_final(&h, digest, ISOLA_RELEASE_HASH_SIZE);
    free(order);
}

void isola_release_identify(struct isola_release *r)
{
    uint8_t digest[ISOLA_RELEASE_HASH_SIZE];
    isola_release_hash(r, digest);
    sodium_bin2hex(r->id, sizeof(r->id), digest, (sizeof(r->id) - 1) / 2);
}

void isola_bundle_hash(const struct isola_bundle *b, char hash[ISOLA_RELEASE_ID_SIZE])
{
    crypto_generichash_state h;
    uint8_t digest[32];
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_generichash_init(&h, NULL, 0, sizeof(digest));
    hash_field(&h, b->code);
    hash_field(&h, b->map);
    crypto_generichash_final(&h, digest, sizeof(digest));
    sodium_bin2hex(hash, ISOLA_RELEASE_ID_SIZE, digest, (ISOLA_RELEASE_ID_SIZE - 1) / 2);
}

/* --- encoding --- */

void isola_release_put_content(const struct isola_release *r, struct isola_buf *out)
{
    isola_mp_cstr(out, "manifest");
    isola_mp_str(out, r->manifest);
    isola_mp_cstr(out, "bundles");
    isola_mp_array(out, r->nbundles);
    for (size_t i = 0; i < r->nbundles; i++) {
        isola_mp_map(out, 3);
        isola_mp_kstr(out, "type", r->bundles[i].type);
        isola_mp_cstr(out, "code");
        isola_mp_bin(out, r->bundles[i].code);
        isola_mp_cstr(out, "map");
        isola_mp_bin(out, r->bundles[i].map);
    }
}

void isola_release_put_files(const struct isola_release *r, struct isola_buf *out)
{
    if (r->files.len > 0) {
        isola_mp_cstr(out, "files");
        isola_mp_bin(out, r->files);
    }
}

void isola_release_put_note(const struct isola_release *r, struct isola_buf *out)
{
    isola_mp_kstr(out, "by", r->by != NULL ? r->by : "");
    isola_mp_kstr(out, "message", r->message != NULL ? r->message : "");
    isola_mp_kuint(out, "restores", r->restores);
}

void isola_release_put_signature(const struct isola_release *r, struct isola_buf *out)
{
    if (r->is_signed) {
        isola_mp_cstr(out, "signature");
        isola_mp_bin(out, isola_slice(r->signature, sizeof(r->signature)));
    }
}

void isola_release_put_canary(const struct isola_release *r, struct isola_buf *out)
{
    if (r->candidate != NULL) {
        isola_mp_kuint(out, "share", r->share);
        isola_mp_cstr(out, "canary");
        isola_release_encode(r->candidate, out);
        isola_mp_cstr(out, "nodes");
        isola_roster_write(&r->roster, out);
    }
}

void isola_release_encode(const struct isola_release *r, struct isola_buf *out)
{
    isola_mp_map(out, 6 + (r->files.len > 0) + (r->link != NULL) + ISOLA_RELEASE_NOTE_PAIRS +
                          r->is_signed + (r->candidate == NULL && r->share > 0));
    if (r->candidate == NULL && r->share > 0)
        isola_mp_kuint(out, "share", r->share);
    isola_mp_kstr(out, "app", r->app);
    if (r->link != NULL)
        isola_mp_kstr(out, "link", r->link);
    isola_release_put_content(r, out);
    isola_release_put_files(r, out);
    isola_mp_kstr(out, "release", r->id);
    isola_mp_kuint(out, "revision", r->revision);
    isola_mp_kuint(out, "deployed_ms", r->deployed_ms > 0 ? (uint64_t)r->deployed_ms : 0);
    isola_release_put_note(r, out);
    isola_release_put_signature(r, out);
}

/* --- decoding --- */

void isola_release_free(struct isola_release *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->nbundles; i++)
        free(r->bundles[i].type);
    isola_release_free(r->candidate);
    isola_roster_free(&r->roster);
    free(r->bundles);
    free(r->link);
    free(r->app);
    free(r->by);
    free(r->message);
    free(r->memory);
    free(r);
}

static int index_of_type(const struct isola_manifest *m, struct isola_slice name)
{
    for (size_t i = 0; i < m->ntypes; i++)
        if (isola_slice_is(name, m->types[i].name))
            return (int)i;
    return -1;
}

/* Fills r->bundles, which has room for one per type of `m`, in the manifest's order. Slices of the
 * input as yet. */
static int read_bundles(struct isola_slice array, const struct isola_manifest *m,
                        struct isola_release *r, struct isola_err *err)
{
    struct isola_mp_reader reader = isola_mp_reader(array);
    struct isola_mp_item head;
    if (isola_mp_next(&reader, &head) != 0 || head.type != ISOLA_MP_ARRAY)
        return isola_fail(err, ISOLA_EINVAL, "release: \"bundles\" must be an array");
    for (uint32_t i = 0; i < head.n; i++) {
        struct isola_slice bundle, type, code, map = {0};
        if (isola_mp_skip(&reader, &bundle) != 0 || !isola_mp_find_str(bundle, "type", &type))
            return isola_fail(err, ISOLA_EINVAL, "release: \"type\" of bundle %u must be a string",
                              i);
        int at = index_of_type(m, type);
        if (at < 0)
            return isola_fail(err, ISOLA_EINVAL,
                              "release: bundle %u is of a type that the manifest of \"%s\" does "
                              "not name",
                              i, m->name);
        const char *name = m->types[at].name;
        if (m->types[at].service != NULL)
            return isola_fail(err, ISOLA_EINVAL,
                              "release: there is a bundle of type \"%s\", which is a service",
                              name);
        if (r->bundles[at].type != NULL)
            return isola_fail(err, ISOLA_EINVAL, "release: there are two bundles of type \"%s\"",
                              name);
        if (!isola_mp_find_bin(bundle, "code", &code))
            return isola_fail(err, ISOLA_EINVAL, "release: \"code\" of bundle \"%s\" must be bin",
                              name);
        struct isola_slice any;
        if (isola_mp_find(bundle, "map", &any) && !isola_mp_find_bin(bundle, "map", &map))
            return isola_fail(err, ISOLA_EINVAL, "release: \"map\" of bundle \"%s\" must be bin",
                              name);
        r->bundles[at] = (struct isola_bundle){isola_strdup(name), code, map};
    }
    for (size_t i = 0; i < m->ntypes; i++)
        if (r->bundles[i].type == NULL && m->types[i].service == NULL)
            return isola_fail(err, ISOLA_EINVAL, "release: the bundle of type \"%s\" is missing",
                              m->types[i].name);
    r->nbundles = 0;
    for (size_t i = 0; i < m->ntypes; i++)
        if (r->bundles[i].type != NULL)
            r->bundles[r->nbundles++] = r->bundles[i];
    return 0;
}

#define LINK_BYTES_MAX 3000

static int read_link(struct isola_slice map, struct isola_release *r, struct isola_err *err)
{
    struct isola_slice any, link;
    if (!isola_mp_find(map, "link", &any))
        return 0;
    if (!isola_mp_find_str(map, "link", &link) || link.len == 0 || link.len > LINK_BYTES_MAX ||
        link.data[0] != '/' || memchr(link.data, 0, link.len) != NULL)
        return isola_fail(err, ISOLA_EINVAL, "release: \"link\" must be an absolute path");
    r->link = isola_strndup((const char *)link.data, link.len);
    return 0;
}

static struct isola_slice copy_to(uint8_t **at, struct isola_slice s)
{
    struct isola_slice copy = {*at, s.len};
    if (s.len > 0)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

/* Moves what the slices point into to memory of the release's own. */
static int own_bytes(struct isola_release *r, struct isola_err *err)
{
    size_t size = r->manifest.len + r->files.len;
    for (size_t i = 0; i < r->nbundles; i++)
        size += r->bundles[i].code.len + r->bundles[i].map.len;
    uint8_t *at = r->memory = malloc(size > 0 ? size : 1);
    if (at == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "release: out of memory");
    r->manifest = copy_to(&at, r->manifest);
    r->files = copy_to(&at, r->files);
    for (size_t i = 0; i < r->nbundles; i++) {
        r->bundles[i].code = copy_to(&at, r->bundles[i].code);
        r->bundles[i].map = copy_to(&at, r->bundles[i].map);
    }
    return 0;
}

static int read_files(struct isola_slice map, struct isola_release *r, struct isola_err *err)
{
    struct isola_slice any;
    struct isola_err why;
    struct isola_tree tree;
    if (!isola_mp_find(map, "files", &any))
        return 0;
    if (!isola_mp_find_bin(map, "files", &r->files) || r->files.len == 0)
        return isola_fail(err, ISOLA_EINVAL, "release: \"files\" must be bin, and not empty");
    int code = isola_tree_decode(r->files, &tree, &why);
    if (code != 0)
        return isola_fail(err, code, "release: %s", why.text);
    isola_tree_free(&tree);
    return 0;
}

static int read_numbers(struct isola_slice map, struct isola_release *r, struct isola_err *err)
{
    struct isola_slice any;
    uint64_t deployed = 0;
    if (isola_mp_find(map, "revision", &any) && !isola_mp_find_uint(map, "revision", &r->revision))
        return isola_fail(err, ISOLA_EINVAL, "release: \"revision\" must be a whole number >= 0");
    if (r->revision > INT64_MAX)
        return isola_fail(err, ISOLA_EINVAL, "release: \"revision\" must be below 2^63");
    if (isola_mp_find(map, "deployed_ms", &any) &&
        (!isola_mp_find_uint(map, "deployed_ms", &deployed) || deployed > INT64_MAX))
        return isola_fail(err, ISOLA_EINVAL,
                          "release: \"deployed_ms\" must be a whole number >= 0 below 2^63");
    r->deployed_ms = (int64_t)deployed;
    return 0;
}

bool isola_release_text_ok(struct isola_slice s, size_t max)
{
    size_t n = 0;
    uint32_t code;
    for (size_t i = 0; i < s.len; i += n) {
        n = isola_utf8_next(s.data + i, s.len - i, &code);
        if (n == 0 || code == 0)
            return false;
    }
    return s.len <= max;
}

static int read_text(struct isola_slice map, const char *key, size_t max, char **out,
                     struct isola_err *err)
{
    struct isola_slice any, text;
    if (!isola_mp_find(map, key, &any))
        return 0;
    if (!isola_mp_find_str(map, key, &text) || !isola_release_text_ok(text, max))
        return isola_fail(err, ISOLA_EINVAL,
                          "release: \"%s\" must be a string of UTF-8, %zu bytes at the most", key,
                          max);
    free(*out);
    *out = isola_strndup((const char *)text.data, text.len);
    return 0;
}

int isola_release_read_note(struct isola_slice map, struct isola_release *r, struct isola_err *err)
{
    struct isola_slice any;
    int code = read_text(map, "by", ISOLA_RELEASE_BY_MAX, &r->by, err);
    if (code == 0)
        code = read_text(map, "message", ISOLA_RELEASE_MESSAGE_MAX, &r->message, err);
    if (code == 0 && isola_mp_find(map, "restores", &any) &&
        (!isola_mp_find_uint(map, "restores", &r->restores) || r->restores > INT64_MAX))
        code = isola_fail(err, ISOLA_EINVAL,
                          "release: \"restores\" must be a whole number >= 0 below 2^63");
    return code;
}

static int read_signature(struct isola_slice map, struct isola_release *r, struct isola_err *err)
{
    struct isola_slice any, signature;
    if (!isola_mp_find(map, "signature", &any))
        return 0;
    if (!isola_mp_find_bin(map, "signature", &signature) || signature.len != sizeof(r->signature))
        return isola_fail(err, ISOLA_EINVAL, "release: \"signature\" must be a bin of %d bytes",
                          ISOLA_RELEASE_SIGNATURE);
    memcpy(r->signature, signature.data, signature.len);
    r->is_signed = true;
    return 0;
}

static int check_id(struct isola_slice map, const struct isola_release *r, struct isola_err *err)
{
    struct isola_slice any, id;
    if (!isola_mp_find(map, "release", &any))
        return 0;
    if (isola_mp_find_str(map, "release", &id) && isola_slice_is(id, r->id))
        return 0;
    return isola_fail(err, ISOLA_EINVAL,
                      "release: its content has the id %s, which is not the one it came with",
                      r->id);
}

static int decode(struct isola_slice map, struct isola_release **out, struct isola_err *err)
{
    struct isola_manifest *m = NULL;
    struct isola_slice app, bundles;
    struct isola_release *r = isola_zalloc(sizeof(*r));
    int code;
    if (!isola_mp_find_str(map, "app", &app)) {
        code = isola_fail(err, ISOLA_EINVAL, "release: \"app\" must be a string");
        goto fail;
    }
    if (!isola_mp_find_str(map, "manifest", &r->manifest)) {
        code = isola_fail(err, ISOLA_EINVAL, "release: \"manifest\" must be a string");
        goto fail;
    }
    if ((code = isola_manifest_parse(r->manifest, "isola.json", &m, err)) != 0)
        goto fail;
    if (!isola_slice_is(app, m->name)) {
        code = isola_fail(err, ISOLA_EINVAL,
                          "release: \"app\" is not the manifest's name, which is \"%s\"", m->name);
        goto fail;
    }
    if (!isola_mp_find(map, "bundles", &bundles)) {
        code = isola_fail(err, ISOLA_EINVAL, "release: \"bundles\" must be an array");
        goto fail;
    }
    r->app = isola_strdup(m->name);
    r->nbundles = m->ntypes;
    r->bundles = isola_zalloc(m->ntypes * sizeof(*r->bundles));
    if ((code = read_bundles(bundles, m, r, err)) != 0 || (code = read_files(map, r, err)) != 0 ||
        (code = read_numbers(map, r, err)) != 0 || (code = read_link(map, r, err)) != 0 ||
        (code = isola_release_read_note(map, r, err)) != 0 ||
        (code = read_signature(map, r, err)) != 0 || (code = own_bytes(r, err)) != 0)
        goto fail;
    isola_release_identify(r);
    if ((code = check_id(map, r, err)) != 0)
        goto fail;
    isola_manifest_free(m);
    *out = r;
    return 0;
fail:
    isola_manifest_free(m);
    isola_release_free(r);
    return code;
}

static int read_canary(struct isola_slice map, struct isola_release *r, struct isola_err *err)
{
    struct isola_slice canary, nodes;
    uint64_t share;
    if (!isola_mp_find(map, "canary", &canary))
        return 0;
    if (!isola_mp_find_uint(map, "share", &share) || share == 0 || share >= ISOLA_CANARY_WHOLE)
        return isola_fail(err, ISOLA_EINVAL,
                          "release: \"share\" of its canary must be a whole number from 1 to %u",
                          ISOLA_CANARY_WHOLE - 1);
    int code = decode(canary, &r->candidate, err);
    if (code != 0)
        return code;
    if (strcmp(r->candidate->app, r->app) != 0 || strcmp(r->candidate->id, r->id) == 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "release: its canary must be another release of app \"%s\"", r->app);
    r->share = (uint32_t)share;
    return isola_mp_find(map, "nodes", &nodes) ? isola_roster_read(nodes, &r->roster, err) : 0;
}

int isola_release_decode(struct isola_slice map, struct isola_release **out, struct isola_err *err)
{
    struct isola_release *r = NULL;
    int code = decode(map, &r, err);
    if (code == 0)
        code = read_canary(map, r, err);
    if (code == 0)
        *out = r;
    else
        isola_release_free(r);
    return code;
}
