/* SPDX-License-Identifier: Apache-2.0
 *
 * transport/frames: a stream of bytes, torn anywhere, is cut into the same frames, and never takes
 * more memory than what has arrived allows. The first byte says how it is torn.
 */
#include "transport/frames.h"

#include "tests/fuzz/fuzz.h"
#include "transport/link.h"

static size_t arrive(struct isola__frames_in *in, struct isola_slice rest, size_t most)
{
    uint8_t *to = NULL;
    size_t room = 0;
    ISOLA_CHECK(isola__frames_room(in, &to, &room) == 0 && room > 0);
    size_t n = rest.len < most ? rest.len : most;
    n = n < room ? n : room;
    memcpy(to, rest.data, n);
    isola__frames_arrived(in, n);
    return n;
}

/* The frame at the beginning of `stream`, cut the plain way; 0 when it is not whole. */
static int plain(struct isola_slice stream, struct isola_slice *frame)
{
    if (stream.len < 4)
        return 0;
    size_t n = (size_t)stream.data[0] << 24 | (size_t)stream.data[1] << 16 |
               (size_t)stream.data[2] << 8 | stream.data[3];
    if (n > ISOLA_FRAME_MAX)
        return ISOLA_EPROTO;
    if (stream.len - 4 < n)
        return 0;
    *frame = isola_slice(stream.data + 4, n);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t most = (size_t)data[0] + 1;
    struct isola__frames_in in = {0};
    struct isola__frames_out out = {0};
    struct isola_slice left = isola_slice(data + 1, size - 1); /* not cut yet */
    size_t arrived = 0, joined = 0, total = left.len;
    int rc = 0;
    while (rc == 0 && arrived < total) {
        struct isola_slice frame, expected;
        arrived += arrive(&in, isola_slice(data + 1 + arrived, total - arrived), most);
        ISOLA_CHECK(in.cap <= 2 * arrived + 2 * (size_t)ISOLA__FRAMES_REST);
        for (;;) {
            size_t here = (size_t)(data + 1 + arrived - left.data);
            rc = isola__frames_next(&in, &frame);
            ISOLA_CHECK(rc == plain(isola_slice(left.data, here), &expected));
            if (rc != 1)
                break;
            ISOLA_CHECK(isola_slice_eq(frame, expected));
            left = isola_slice(left.data + 4 + frame.len, left.len - 4 - frame.len);
            if (frame.len > 0) {
                struct isola_buf copy = {0};
                isola_buf_append(&copy, frame.data, frame.len);
                ISOLA_CHECK(isola__frames_push(&out, &copy) == 0 && copy.data == NULL);
                joined += 4 + frame.len;
            }
        }
        if (rc == 0)
            ISOLA_CHECK(isola__frames_partial(&in) == (size_t)(data + 1 + arrived - left.data));
    }
    isola__frames_in_free(&in);

    /* And out again, as a writer that takes little at a time does. */
    ISOLA_CHECK(out.bytes == joined);
    struct isola__span spans[4];
    while (out.bytes > 0) {
        size_t n = isola__frames_gather(&out, spans, 4), sum = 0;
        ISOLA_CHECK(n > 0 && n <= 4);
        for (size_t i = 0; i < n; i++)
            sum += spans[i].len;
        ISOLA_CHECK(sum > 0 && sum <= out.bytes);
        isola__frames_written(&out, sum < 7 * most ? sum : 7 * most);
    }
    isola__frames_out_free(&out);
    return 0;
}
