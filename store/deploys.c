/* SPDX-License-Identifier: Apache-2.0 */
#include "store/deploys.h"

#include <string.h>

#include "base/canary.h"
#include "base/check.h"
#include "base/msgpack.h"
#include "base/nearest.h"

#define PILE_KEPT 3 /* deploys from its top: after a deploy and its roll-back there is one more */

static void deploy_free(struct isola_deploy *d)
{
    free(d->by);
    free(d->message);
}

void isola_deploys_free(struct isola_deploys *deploys)
{
    for (size_t i = 0; i < deploys->count; i++)
        deploy_free(&deploys->list[i]);
    free(deploys->list);
    *deploys = (struct isola_deploys){0};
}

void isola_deploys_add(struct isola_deploys *deploys, struct isola_deploy *deploy)
{
    deploys->list = isola_realloc(deploys->list, (deploys->count + 1) * sizeof(*deploys->list));
    deploys->list[deploys->count++] = *deploy;
}

/* --- the wire form --- */

void isola_deploys_write(const struct isola_deploys *deploys, struct isola_buf *out)
{
    isola_mp_array(out, deploys->count);
    for (size_t i = 0; i < deploys->count; i++) {
        const struct isola_deploy *d = &deploys->list[i];
        isola_mp_map(out, 7);
        isola_mp_kuint(out, "revision", d->revision);
        isola_mp_kstr(out, "release", d->release);
        isola_mp_kuint(out, "deployed_ms", d->deployed_ms > 0 ? (uint64_t)d->deployed_ms : 0);
        isola_mp_kstr(out, "by", d->by);
        isola_mp_kstr(out, "message", d->message);
        isola_mp_kuint(out, "restores", d->restores);
        isola_mp_kuint(out, "share", d->share);
    }
}

static bool hex(struct isola_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr("0123456789abcdef", s.data[i]) == NULL || s.data[i] == '\0')
            return false;
    return s.len > 0 && s.len < ISOLA_RELEASE_ID_SIZE;
}

static bool read_one(struct isola_slice map, struct isola_deploy *out)
{
    struct isola_slice release, by, message;
    uint64_t deployed, share = 0; /* older versions say nothing of it */
    *out = (struct isola_deploy){0};
    if (!isola_mp_find_uint(map, "revision", &out->revision) || out->revision == 0 ||
        out->revision > INT64_MAX || !isola_mp_find_str(map, "release", &release) ||
        release.len != ISOLA_RELEASE_ID_SIZE - 1 || !hex(release) ||
        !isola_mp_find_uint(map, "deployed_ms", &deployed) || deployed > INT64_MAX ||
        !isola_mp_find_uint(map, "restores", &out->restores) || out->restores >= out->revision ||
        !isola_mp_find_str(map, "by", &by) || !isola_release_text_ok(by, ISOLA_RELEASE_BY_MAX) ||
        !isola_mp_find_str(map, "message", &message) ||
        !isola_release_text_ok(message, ISOLA_RELEASE_MESSAGE_MAX) ||
        (isola_mp_find_uint(map, "share", &share) && share >= ISOLA_CANARY_WHOLE))
        return false;
    out->share = (uint32_t)share;
    out->deployed_ms = (int64_t)deployed;
    memcpy(out->release, release.data, release.len);
    out->by = isola_strndup((const char *)by.data, by.len);
    out->message = isola_strndup((const char *)message.data, message.len);
    return true;
}

int isola_deploys_read(struct isola_slice array, struct isola_deploys *out, struct isola_err *err)
{
    struct isola_mp_reader r = isola_mp_reader(array);
    struct isola_mp_item head;
    *out = (struct isola_deploys){0};
    bool good = isola_mp_next(&r, &head) == 0 && head.type == ISOLA_MP_ARRAY &&
                head.n <= 2 * ISOLA_DEPLOYS_KEPT;
    for (uint32_t i = 0; good && i < head.n; i++) {
        struct isola_slice map;
        struct isola_deploy d;
        good = isola_mp_skip(&r, &map) == 0 && read_one(map, &d);
        if (!good)
            break;
        good = i == 0 || d.revision < out->list[i - 1].revision;
        isola_deploys_add(out, &d);
    }
    if (good)
        return 0;
    isola_deploys_free(out);
    return isola_fail(err, ISOLA_EPROTO, "the list of deploys that came with it is malformed");
}

/* --- the pile --- */

const struct isola_deploy *isola_deploys_base(const struct isola_deploys *deploys,
                                              const struct isola_deploy *deploy)
{
    for (size_t i = 0; deploy->restores != 0 && i < deploys->count; i++)
        if (deploys->list[i].revision == deploy->restores)
            return &deploys->list[i];
    return deploy;
}

/* The deploy that made current what lies below it in the pile; NULL: nothing does. */
static const struct isola_deploy *below(const struct isola_deploys *deploys,
                                        const struct isola_deploy *deploy)
{
    const struct isola_deploy *base = isola_deploys_base(deploys, deploy);
    for (size_t i = 0; i < deploys->count; i++) {
        const struct isola_deploy *d = &deploys->list[i];
        if (d->revision < base->revision && d->share == 0 &&
            strcmp(d->release, deploy->release) != 0)
            return d;
    }
    return NULL;
}

const struct isola_deploy *isola_deploys_current(const struct isola_deploys *deploys)
{
    for (size_t i = 0; i < deploys->count; i++)
        if (deploys->list[i].share == 0)
            return &deploys->list[i];
    return NULL;
}

const struct isola_deploy *isola_deploys_back(const struct isola_deploys *deploys)
{
    const struct isola_deploy *current = isola_deploys_current(deploys);
    const struct isola_deploy *d = current != NULL ? below(deploys, current) : NULL;
    return d != NULL ? isola_deploys_base(deploys, d) : NULL;
}

/* Is it the first of its release in the list? */
static bool is_last_of_its(const struct isola_deploys *deploys, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(deploys->list[i].release, deploys->list[at].release) == 0)
            return false;
    return true;
}

static void name_those(const struct isola_deploys *deploys, const char *beginning,
                       struct isola_buf *out)
{
    const char *between = "";
    for (size_t i = 0; i < deploys->count; i++) {
        if (is_last_of_its(deploys, i) &&
            strncmp(deploys->list[i].release, beginning, strlen(beginning)) == 0) {
            isola_buf_printf(out, "%s%s", between, deploys->list[i].release);
            between = ", ";
        }
    }
    isola_buf_append(out, "", 1);
}

/* What was probably meant by `id`, which may be the beginning of one. */
static const char *hint_of(const struct isola_deploys *deploys, struct isola_slice id,
                           char out[ISOLA_NEAREST_HINT])
{
    struct isola_nearest near = isola_nearest_begin(id);
    size_t n = id.len < ISOLA_RELEASE_ID_SIZE - 1 ? id.len : ISOLA_RELEASE_ID_SIZE - 1;
    for (size_t i = 0; i < deploys->count; i++)
        if (is_last_of_its(deploys, i))
            isola_nearest_try(&near, isola_slice(deploys->list[i].release, n));
    return isola_nearest_hint(&near, out);
}

int isola_deploys_find(const struct isola_deploys *deploys, const char *app, struct isola_slice id,
                       const struct isola_deploy **out, struct isola_err *err)
{
    char beginning[ISOLA_RELEASE_ID_SIZE] = "";
    const struct isola_deploy *found = NULL;
    char hint[ISOLA_NEAREST_HINT];
    size_t n = 0;
    if (!hex(id))
        return isola_fail(err, ISOLA_EINVAL,
                          "\"%.*s\" is not the id of a release, or the beginning of one: those are "
                          "%d hexadecimal digits%s",
                          ISOLA_FMT(isola_slice_cut(id, 60)), ISOLA_RELEASE_ID_SIZE - 1,
                          hint_of(deploys, id, hint));
    memcpy(beginning, id.data, id.len);
    for (size_t i = 0; i < deploys->count; i++) {
        if (is_last_of_its(deploys, i) && memcmp(deploys->list[i].release, id.data, id.len) == 0) {
            found = found == NULL ? &deploys->list[i] : found;
            n++;
        }
    }
    if (n == 1) {
        *out = found;
        return 0;
    }
    struct isola_buf names = {0};
    name_those(deploys, n == 0 ? "" : beginning, &names);
    int code = n == 0 ? isola_fail(err, ISOLA_ENOENT,
                                   "app \"%s\" has no release %s; those it has are %s%s", app,
                                   beginning, (const char *)names.data, hint_of(deploys, id, hint))
                      : isola_fail(err, ISOLA_EINVAL,
                                   "%zu releases of app \"%s\" begin with %s: %s; give more of it",
                                   n, app, beginning, (const char *)names.data);
    isola_buf_free(&names);
    return code;
}

/* --- what is kept --- */

void isola_deploys_keep(const struct isola_deploys *deploys, bool *keep)
{
    const struct isola_deploy *list = deploys->list, *d = isola_deploys_current(deploys);
    size_t releases = 0;
    for (size_t i = 0; i < deploys->count; i++) {
        size_t first = 0;
        while (strcmp(list[first].release, list[i].release) != 0)
            first++;
        releases += first == i && releases < ISOLA_RELEASES_KEPT + 1;
        keep[i] =
            i < ISOLA_DEPLOYS_KEPT && (first < i ? keep[first] : releases <= ISOLA_RELEASES_KEPT);
    }
    for (size_t i = 0; deploys->count > 0 && i < PILE_KEPT && d != NULL; i++) {
        keep[d - list] = true; /* else what it went back from would be found in its place */
        d = isola_deploys_base(deploys, d);
        keep[d - list] = true;
        d = below(deploys, d);
    }
}
