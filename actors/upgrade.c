/* SPDX-License-Identifier: Apache-2.0
 *
 * Which release has written a state, and `onUpgrade`.
 *
 * An actor whose script has the hook marks its state: in front of the value, in the same bytes, is
 * an extension (ISOLA_EXT_MARK) with msgpack [id of the release, version or nil]. So whatever
 * becomes of the state (commits, moves, backups, the history) becomes of the mark. What the others
 * write has none, and costs nothing.
 *
 * The happy path. A state is read whose mark is not of the present release; the script is told who
 * has written it and, if it has the hook, calls that before it is started. What it changes is
 * written when the start has ended, with the new mark, in one commit. Until then nothing of it is:
 * neither the state nor what is kept beside it, though what it sends leaves.
 *
 * Failure modes. It throws, or the process ends: nothing was written, so it is called again with
 * what there was. It is rolled back: it is called too, and told the newer release.
 *
 * Without a mark the writer is not known: a release without the hook, or an older Isola.
 */
#include "actors/upgrade.h"

#include "actors/actor.h"
#include "base/msgpack.h"

struct mark {
    struct isola_slice release, version; /* version: empty when there is none */
    size_t len;                          /* of all of it; 0: there is none */
};

static struct mark read_mark(struct isola_slice state)
{
    struct mark m = {0};
    struct isola_mp_reader r = isola_mp_reader(state);
    struct isola_mp_item item, release, version;
    struct isola_slice whole;
    if (state.len == 0 || isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_EXT ||
        item.ext != ISOLA_EXT_MARK)
        return m;
    struct isola_mp_reader in = isola_mp_reader(state);
    if (isola_mp_skip(&in, &whole) != 0)
        return m;
    m.len = whole.len;
    in = isola_mp_reader(item.bytes);
    if (!isola_mp_take(&in, ISOLA_MP_ARRAY, &item) || item.n < 2 ||
        !isola_mp_take(&in, ISOLA_MP_STR, &release) || isola_mp_next(&in, &version) != 0)
        return m;
    m.release = release.bytes;
    if (version.type == ISOLA_MP_STR)
        m.version = version.bytes;
    return m;
}

static struct isola_slice unmarked(struct isola_slice state)
{
    size_t len = read_mark(state).len;
    return len > 0 ? isola_slice(state.data + len, state.len - len) : state;
}

struct isola_slice isola__upgrade_from(struct isola_actor *a, struct isola_slice *from)
{
    struct mark m = read_mark(isola_buf_slice(&a->saved));
    *from = (struct isola_slice){0};
    a->hooked = a->upgrading = false;
    a->mark = ISOLA_MARK_WANTED;
    if (m.release.len > 0 && isola_slice_is(m.release, a->type->release->id)) {
        a->mark = ISOLA_MARK_GOOD;
    } else if (a->was_kept && a->no_state.len == 0) {
        a->mark = ISOLA_MARK_OWED;
        *from = m.release.len == 0 ? isola_slice("", 0) : m.version.len > 0 ? m.version : m.release;
    }
    return unmarked(isola_buf_slice(&a->saved));
}

void isola__upgrade_begins(struct isola_actor *a)
{
    a->hooked = true;
    a->upgrading = a->mark == ISOLA_MARK_OWED;
}

void isola__upgrade_ended(struct isola_actor *a)
{
    a->upgrading = false;
    if (a->hooked)
        return;
    size_t len = read_mark(isola_buf_slice(&a->saved)).len;
    if (len > 0) { /* of a release that had the hook: what is written now is compared without it */
        memmove(a->saved.data, a->saved.data + len, a->saved.len - len);
        a->saved.len -= len;
    }
}

void isola__upgrade_mark(const struct isola_actor *a, struct isola_buf *out)
{
    const struct isola_release_rt *r = a->type->release;
    if (!a->hooked)
        return;
    size_t begun = isola_mp_ext_begin(out, ISOLA_EXT_MARK);
    isola_mp_array(out, 2);
    isola_mp_cstr(out, r->id);
    if (r->version != NULL)
        isola_mp_cstr(out, r->version);
    else
        isola_mp_nil(out);
    isola_mp_ext_end(out, begun);
}

bool isola__upgrade_due(const struct isola_actor *a, bool kept)
{
    return a->hooked && a->no_state.len == 0 &&
           (a->mark == ISOLA_MARK_OWED || (a->mark == ISOLA_MARK_WANTED && kept));
}

void isola__upgrade_remark(const struct isola_actor *a, struct isola_slice state,
                           struct isola_buf *out)
{
    isola__upgrade_mark(a, out);
    state = unmarked(state);
    if (state.len > 0)
        isola_buf_append(out, state.data, state.len);
    else
        isola_mp_nil(out);
}
