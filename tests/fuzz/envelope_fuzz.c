/* SPDX-License-Identifier: Apache-2.0
 *
 * transport/envelope: one frame from a peer. What is accepted is written again as the same message.
 */
#include "transport/envelope.h"

#include "base/msgpack.h"
#include "tests/fuzz/fuzz.h"

static void same(const struct isola_msg *a, const struct isola_msg *b)
{
    ISOLA_CHECK(a->kind == b->kind && a->id == b->id && a->timeout_ms == b->timeout_ms);
    ISOLA_CHECK(isola_slice_eq(a->src, b->src) && isola_slice_eq(a->dst, b->dst));
    ISOLA_CHECK(isola_slice_eq(a->event, b->event) && isola_slice_eq(a->chain, b->chain));
    ISOLA_CHECK(a->flags == b->flags && a->seq == b->seq && isola_slice_eq(a->trace, b->trace));
    ISOLA_CHECK(isola_slice_eq(a->args, b->args));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct isola_slice frame = isola_slice(data, size);
    struct isola_msg m, again;
    struct isola_err err = {0};
    unsigned version;
    if (isola_envelope_decode(frame, &m, &version, &err) != 0) {
        ISOLA_CHECK(err.code == ISOLA_EPROTO && err.text[0] != '\0');
        return 0;
    }
    ISOLA_CHECK(fuzz_within(m.src, frame) && fuzz_within(m.dst, frame));
    ISOLA_CHECK(fuzz_within(m.event, frame) && fuzz_within(m.chain, frame));
    ISOLA_CHECK(fuzz_within(m.args, frame));
    ISOLA_CHECK(m.next == NULL && m.context == NULL);

    struct isola_buf out = {0};
    isola_envelope_encode(&m, version, &out);
    ISOLA_CHECK(!out.failed);
    ISOLA_CHECK(isola_envelope_decode(isola_buf_slice(&out), &again, NULL, &err) == 0);
    same(&m, &again);
    isola_buf_free(&out);

    struct isola_msg *copy = isola_msg_copy(&m);
    ISOLA_CHECK(copy != NULL);
    same(&m, copy);
    free(copy);
    return 0;
}
