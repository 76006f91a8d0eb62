/* SPDX-License-Identifier: Apache-2.0
 *
 * transport/inflow: a stream of bytes, torn anywhere, is cut into the same items with the same end,
 * and never takes more memory than what has arrived allows. The first byte says how it is torn.
 * What has to do with heads (transport/heads.h) is understood, or refused with a reason.
 */
#include "transport/heads.h"

#include "tests/fuzz/fuzz.h"
#include "transport/envelope.h"
#include "transport/link.h"

/* What was seen: a hash of all items, and how it ended. */
struct seen {
    uint64_t hash;
    int rc;
};

static void note(struct seen *seen, enum isola__item kind, struct isola_slice bytes)
{
    seen->hash = (seen->hash ^ (uint64_t)(kind + 2)) * 1099511628211u;
    seen->hash = (seen->hash ^ bytes.len) * 1099511628211u;
    for (size_t i = 0; i < bytes.len; i++)
        seen->hash = (seen->hash ^ bytes.data[i]) * 1099511628211u;
}

/* A message whose head is said, or was before. */
static void look(struct isola__heads_in *heads, enum isola__item kind, struct isola_slice item)
{
    struct isola_err err = {0};
    if (kind == ISOLA__ITEM_HEAD) {
        int rc = isola__heads_learn(heads, &item, &err);
        ISOLA_CHECK(rc == 0 || (rc == ISOLA_EPROTO && err.text[0] != '\0'));
        return;
    }
    const struct isola_msg *head = isola__heads_recall(heads, &item, &err);
    struct isola_slice args;
    if (head == NULL) {
        ISOLA_CHECK(err.code == ISOLA_EPROTO && err.text[0] != '\0');
        return;
    }
    ISOLA_CHECK(head->head != 0 && head->src.len > 0 && head->args.len == 0);
    int rc = isola_envelope_decode_args(item, &args, &err);
    ISOLA_CHECK(rc == 0 ? isola_slice_eq(args, item) : err.text[0] != '\0');
}

static struct seen cut(struct isola_slice all, size_t most)
{
    struct isola__inflow in = {0};
    struct isola__heads_in heads = {0};
    struct seen seen = {0};
    size_t arrived = 0;
    while (seen.rc == 0 && arrived < all.len) {
        uint8_t *to = NULL;
        size_t room = 0, n = all.len - arrived;
        ISOLA_CHECK(isola__inflow_room(&in, &to, &room) == 0 && room > 0);
        n = n < most ? n : most;
        n = n < room ? n : room;
        memcpy(to, all.data + arrived, n);
        arrived += n;
        isola__inflow_arrived(&in, n);
        ISOLA_CHECK(in.cap <= 2 * arrived + 4 * (size_t)ISOLA__INFLOW_REST);
        enum isola__item kind;
        struct isola_slice bytes;
        struct isola_err err = {0};
        while ((seen.rc = isola__inflow_next(&in, &kind, &bytes, &err)) == 1) {
            ISOLA_CHECK(kind != ISOLA__ITEM_OPEN && kind != ISOLA__ITEM_PART);
            bool headed = kind == ISOLA__ITEM_HEAD || kind == ISOLA__ITEM_AGAIN;
            ISOLA_CHECK(kind == ISOLA__ITEM_FRAME ? bytes.len > 0 : headed || bytes.len <= 8);
            if (headed)
                look(&heads, kind, bytes);
            note(&seen, kind, bytes);
        }
        ISOLA_CHECK(seen.rc == 0 || (err.code == seen.rc && err.text[0] != '\0'));
    }
    isola__inflow_free(&in);
    isola__heads_in_free(&heads);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct isola_slice all = isola_slice(data + 1, size - 1);
    struct seen whole = cut(all, SIZE_MAX), torn = cut(all, (size_t)data[0] + 1);
    ISOLA_CHECK(whole.rc == torn.rc && whole.hash == torn.hash);
    return 0;
}
