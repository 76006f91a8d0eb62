/* SPDX-License-Identifier: Apache-2.0
 *
 * transport/secure: what an end is told, and what a machine between two ends can do. The first byte
 * says which, the second how the streams are torn.
 *
 *     0, 1   the responder, the initiator of XX is fed the rest
 *     2, 3   of IK
 *     4, 6   both ends of XX, of IK, and the rest are edits of what they say: 4 bytes each,
 *            direction and what, where (2 bytes, in what that end says), a byte
 *
 * Each end, when it is done, seals three records. Both are done only if both were told just what
 * the other has said, and what opens is what the other has sealed, from the first on.
 */
#include "tests/fuzz/channel.h"

enum { RECORDS = 3, EDITS = 16 };

struct end {
    struct isola__secure s;
    struct isola_buf in, out;
    int me;       /* 0 the initiator */
    size_t shook; /* bytes of the handshake that it said */
    int opened;
    bool broken; /* a record did not open */
    struct isola_err err;
};

static struct isola_slice record(int i)
{
    return isola_slice_str(i == 0 ? "hello" : i == 1 ? "" : "and another one");
}

static int verify(void *arg, const uint8_t peer[ISOLA__NOISE_KEY], struct isola_slice payload,
                  struct isola_err *err)
{
    (void)err;
    const struct end *e = arg;
    int other = 1 - e->me;
    ISOLA_CHECK(memcmp(peer, channel_keys()->fixed[other].public_key, ISOLA__NOISE_KEY) == 0);
    ISOLA_CHECK(isola_slice_eq(payload, channel_payload(other)));
    return 0;
}

static void begin(struct end *e, int me, enum isola__noise_pattern pattern)
{
    const struct channel_keys *k = channel_keys();
    struct isola__secure_config config = {
        .keys = &k->fixed[me],
        .pattern = pattern,
        .peer = me == 0 && pattern == ISOLA__NOISE_IK ? k->fixed[1].public_key : NULL,
        .least = me == 0 ? 1 : 2,
        .greatest = me == 0 ? 2 : 3,
        .purpose = 7,
        .payload = channel_payload(me),
        .verify = verify,
        .arg = e,
    };
    *e = (struct end){.me = me};
    ISOLA_CHECK(isola__secure_init(&e->s, &config, me == 0, &e->err) == 0);
    isola__secure_fix_ephemeral(&e->s, k->ephemeral[me].secret_key);
    if (me == 0)
        ISOLA_CHECK(isola__secure_start(&e->s, &e->out, &e->err) == 0);
    e->shook = e->out.len;
}

static void end(struct end *e)
{
    isola__secure_wipe(&e->s);
    for (size_t i = 0; i < sizeof(e->s); i++)
        ISOLA_CHECK(((const uint8_t *)&e->s)[i] == 0);
    isola_buf_free(&e->in);
    isola_buf_free(&e->out);
}

static void use(struct end *e, size_t n)
{
    ISOLA_CHECK(n <= e->in.len);
    memmove(e->in.data, e->in.data + n, e->in.len - n);
    e->in.len -= n;
}

static void check_failure(const struct end *e, int rc)
{
    ISOLA_CHECK(rc == ISOLA_EPROTO || rc == ISOLA_EPERM);
    ISOLA_CHECK(e->err.code == rc && e->err.text[0] != '\0');
}

static void shake(struct end *e)
{
    size_t used = SIZE_MAX, said = e->out.len;
    int rc = isola__secure_shake(&e->s, e->in.data, e->in.len, &used, &e->out, &e->err);
    use(e, used);
    e->shook += e->out.len - said;
    ISOLA_CHECK(!e->out.failed && e->out.len - said <= 200);
    ISOLA_CHECK((rc == 1) == (e->s.state == ISOLA__SECURE_DONE));
    ISOLA_CHECK((rc < 0) == (e->s.state == ISOLA__SECURE_FAILED));
    if (rc == 0) /* it waits for no more than one message */
        ISOLA_CHECK(e->in.len < ISOLA__SECURE_SHAKE_MAX);
    if (rc < 0) {
        check_failure(e, rc);
        ISOLA_CHECK(!isola__secure_confirmed(&e->s));
        return;
    }
    for (int i = 0; rc == 1 && i < RECORDS; i++) {
        struct isola_slice plain = record(i);
        uint8_t *to = isola_buf_extend(&e->out, plain.len + ISOLA__SECURE_OVERHEAD);
        ISOLA_CHECK(to != NULL &&
                    isola__secure_seal(&e->s, plain.data, plain.len, to, &e->err) == 0);
    }
}

static void open_records(struct end *e)
{
    while (!e->broken) {
        struct isola_slice plain;
        size_t size = SIZE_MAX;
        int rc = isola__secure_open(&e->s, e->in.data, e->in.len, &plain, &size, &e->err);
        if (rc == 0) {
            ISOLA_CHECK(size > e->in.len && size <= 2 + 65535);
            return;
        }
        if (rc < 0) {
            check_failure(e, rc);
            e->broken = true;
            ISOLA_CHECK(isola__secure_open(&e->s, e->in.data, e->in.len, &plain, &size, &e->err) ==
                        ISOLA_EPROTO);
            return;
        }
        ISOLA_CHECK(fuzz_within(plain, isola_buf_slice(&e->in)));
        ISOLA_CHECK(e->opened < RECORDS && isola_slice_eq(plain, record(e->opened)));
        ISOLA_CHECK(isola__secure_confirmed(&e->s));
        e->opened++;
        use(e, size);
    }
}

/* Bytes arrive at it. */
static void feed(struct end *e, const uint8_t *data, size_t n)
{
    isola_buf_append(&e->in, data, n);
    if (e->s.state != ISOLA__SECURE_DONE && e->s.state != ISOLA__SECURE_FAILED)
        shake(e);
    if (e->s.state == ISOLA__SECURE_DONE)
        open_records(e);
}

static void feed_torn(struct end *e, const uint8_t *data, size_t n, size_t most)
{
    for (size_t at = 0; at < n; at += most)
        feed(e, data + at, n - at < most ? n - at : most);
}

/* --- a machine between the two --- */

enum { CHANGE, DROP, INSERT, STOP };

struct middle {
    struct isola_slice edits; /* 4 bytes each */
    struct isola_buf said[2], arrived[2];
    bool stopped[2]; /* what this end says arrives no more */
};

static void pass(struct middle *m, struct end *from, struct end *to, size_t most)
{
    struct isola_buf *said = &m->said[from->me], *arrived = &m->arrived[from->me];
    size_t before = arrived->len;
    for (size_t i = 0; i < from->out.len; i++) {
        size_t where = said->len;
        uint8_t byte = from->out.data[i];
        bool drop = false;
        isola_buf_append(said, &byte, 1);
        for (size_t k = 0; k + 4 <= m->edits.len; k += 4) {
            const uint8_t *edit = m->edits.data + k;
            if ((edit[0] & 1) != from->me || ((size_t)edit[1] << 8 | edit[2]) != where)
                continue;
            switch (edit[0] >> 1 & 3) {
            case CHANGE:
                byte ^= edit[3];
                break;
            case DROP:
                drop = true;
                break;
            case INSERT:
                if (!m->stopped[from->me])
                    isola_buf_append(arrived, &edit[3], 1);
                break;
            default:
                m->stopped[from->me] = true;
            }
        }
        if (!drop && !m->stopped[from->me])
            isola_buf_append(arrived, &byte, 1);
    }
    from->out.len = 0;
    ISOLA_CHECK(!said->failed && !arrived->failed);
    feed_torn(to, arrived->data + before, arrived->len - before, most);
}

/* How much of what `i` said arrived as it was. */
static size_t unchanged(const struct middle *m, int i)
{
    size_t n = 0;
    while (n < m->said[i].len && n < m->arrived[i].len &&
           m->said[i].data[n] == m->arrived[i].data[n])
        n++;
    return n;
}

static void between(enum isola__noise_pattern pattern, struct isola_slice edits, size_t most)
{
    struct end ends[2];
    struct middle m = {.edits =
                           isola_slice(edits.data, edits.len < 4 * EDITS ? edits.len : 4 * EDITS)};
    for (int i = 0; i < 2; i++)
        begin(&ends[i], i, pattern);
    while (ends[0].out.len > 0 || ends[1].out.len > 0)
        for (int i = 0; i < 2; i++)
            pass(&m, &ends[i], &ends[1 - i], most);

    const struct isola__secure *a = &ends[0].s, *b = &ends[1].s;
    bool same = true; /* the handshake */
    for (int i = 0; i < 2; i++)
        same = same && unchanged(&m, i) >= ends[i].shook;
    ISOLA_CHECK(same == (a->state == ISOLA__SECURE_DONE && b->state == ISOLA__SECURE_DONE));
    if (same) {
        ISOLA_CHECK(a->version == 2 && b->version == 2);
        ISOLA_CHECK(a->pattern == pattern && b->pattern == pattern);
        ISOLA_CHECK(memcmp(a->hash, b->hash, sizeof(a->hash)) == 0);
        for (int i = 0; i < 2; i++) {
            int whole = 0;
            size_t at = ends[1 - i].shook;
            for (; whole < RECORDS; whole++) {
                at += record(whole).len + ISOLA__SECURE_OVERHEAD;
                if (at > unchanged(&m, 1 - i))
                    break;
            }
            ISOLA_CHECK(ends[i].opened == whole);
        }
    }
    for (int i = 0; i < 2; i++) {
        end(&ends[i]);
        isola_buf_free(&m.said[i]);
        isola_buf_free(&m.arrived[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t most = (size_t)data[1] + 1;
    enum isola__noise_pattern pattern = data[0] & 2 ? ISOLA__NOISE_IK : ISOLA__NOISE_XX;
    if (data[0] & 4) {
        between(pattern, isola_slice(data + 2, size - 2), most);
        return 0;
    }
    struct end e;
    begin(&e, data[0] & 1 ? 0 : 1, pattern);
    feed_torn(&e, data + 2, size - 2, most);
    end(&e);
    return 0;
}
