/* SPDX-License-Identifier: Apache-2.0
 *
 * What a stranger shows to be let in: certificates, entries of removed nodes, tokens. The first
 * byte says which. Nothing but what the keys of the corpus have signed is believed, and that only
 * as it was signed; whatever is refused has a sentence and leaves nothing.
 */
#include "tests/fuzz/fuzz.h"
#include "transport/identity.h"
#include "transport/token.h"

/* tests/fuzz/seeds.mjs signs with the key whose seed is all 'c', for a node whose keys are made of
 * 'n' and an actor-host whose key is made of 'h'. */
struct keys {
    struct isola_sign_keys cluster;
    struct isola_node_keys node;
    struct isola_static_keys host;
};

static const struct keys *keys(void)
{
    static struct keys k;
    static bool made;
    uint8_t seed[ISOLA_KEY_SIZE];
    if (made)
        return &k;
    isola_sign_keys_from(memset(seed, 'c', sizeof(seed)), &k.cluster);
    isola_sign_keys_from(memset(seed, 'n', sizeof(seed)), &k.node.sign);
    isola_static_keys_from(memset(seed, 'n', sizeof(seed)), &k.node.fixed);
    isola_static_keys_from(memset(seed, 'h', sizeof(seed)), &k.host);
    made = true;
    return &k;
}

static void chain(struct isola_slice in, const uint8_t *static_key, enum isola_role role)
{
    static const struct isola_identity zero;
    const struct keys *k = keys();
    struct isola_identity id;
    struct isola_err err = {0};
    int rc = isola_identity_check(k->cluster.public_key, in, static_key, NULL, &id, &err);
    if (rc != 0) {
        ISOLA_CHECK((rc == ISOLA_EPROTO || rc == ISOLA_EPERM) && err.text[0] != '\0');
        ISOLA_CHECK(memcmp(&id, &zero, sizeof(id)) == 0);
        return;
    }
    ISOLA_CHECK(id.role == role && strcmp(id.name, "west") == 0 && id.serial == 7);
    ISOLA_CHECK(memcmp(id.node_key, k->node.sign.public_key, ISOLA_KEY_SIZE) == 0);
}

static void removals(struct isola_slice in)
{
    struct isola_removals list = {0};
    struct isola_err err = {0};
    int rc = isola_removals_read(&list, keys()->cluster.public_key, in, &err);
    ISOLA_CHECK(rc >= 0 || ((rc == ISOLA_EPROTO || rc == ISOLA_EPERM) && err.text[0] != '\0'));
    ISOLA_CHECK(list.n <= 1 && (rc < 0 || list.n == (size_t)rc));
    if (list.n == 1)
        ISOLA_CHECK(strcmp(list.entries[0]->removal.name, "west") == 0);
    isola_removals_free(&list);
}

static void token(struct isola_slice in)
{
    struct isola_token t, again;
    struct isola_err err = {0};
    struct isola_buf text = {0}, out = {0};
    isola_buf_append(&text, in.data, in.len);
    int rc = isola_token_read(isola_buf_cstr(&text), &t, &err);
    if (rc == 0) {
        isola_token_write(&t, &out);
        ISOLA_CHECK(isola_token_read(isola_buf_cstr(&out), &again, &err) == 0);
        ISOLA_CHECK(memcmp(&t, &again, sizeof(t)) == 0);
    } else {
        ISOLA_CHECK(rc == ISOLA_EINVAL && err.text[0] != '\0');
    }
    isola_buf_free(&text);
    isola_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct isola_slice rest = isola_slice(data + 1, size - 1);
    switch (data[0] & 3) {
    case 0:
        chain(rest, keys()->node.fixed.public_key, ISOLA_ROLE_NODE);
        break;
    case 1:
        chain(rest, keys()->host.public_key, ISOLA_ROLE_HOST);
        break;
    case 2:
        removals(rest);
        break;
    default:
        token(rest);
    }
    return 0;
}
