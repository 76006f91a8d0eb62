/* SPDX-License-Identifier: Apache-2.0
 *
 * A tree is a msgpack array, an array for each entry: [path, kind, size, hashes (bin)] of a file,
 * [path, 2, target] of a link.
 *
 * A link's target may lead up at its beginning alone. Its directory is reached through no link, so
 * it is known how far that may be; and what follows goes down, through links that keep to the same
 * rule. So no path through any number of them leaves the tree.
 */
#include "store/tree.h"

#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"

#define PATH_LENGTH 1024
#define NAME_LENGTH 255
#define DEPTH       64

struct isola_hash isola_hash_of(struct isola_slice content)
{
    struct isola_hash h;
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_generichash(h.bytes, sizeof(h.bytes), content.data, content.len, NULL, 0);
    return h;
}

void isola_tree_add(struct isola_tree *t, const struct isola_tree_entry *entry)
{
    if (t->n == t->room) {
        t->room = t->room > 0 ? 2 * t->room : 64;
        t->entries = isola_realloc(t->entries, t->room * sizeof(*t->entries));
    }
    struct isola_tree_entry *e = &t->entries[t->n++];
    size_t npieces = entry->kind != ISOLA_TREE_LINK ? isola_tree_pieces(entry->size) : 0;
    *e = (struct isola_tree_entry){.path = isola_strdup(entry->path),
                                   .kind = entry->kind,
                                   .target =
                                       entry->target != NULL ? isola_strdup(entry->target) : NULL,
                                   .size = npieces > 0 ? entry->size : 0};
    if (npieces > 0) {
        e->pieces = isola_alloc(npieces * sizeof(*e->pieces));
        memcpy(e->pieces, entry->pieces, npieces * sizeof(*e->pieces));
    }
    t->bytes += e->size;
}

void isola_tree_free(struct isola_tree *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->entries[i].path);
        free(t->entries[i].target);
        free(t->entries[i].pieces);
    }
    free(t->entries);
    *t = (struct isola_tree){0};
}

/* --- what is allowed --- */

static int by_path(const void *a, const void *b)
{
    const struct isola_tree_entry *x = a, *y = b;
    return strcmp(x->path, y->path);
}

const struct isola_tree_entry *isola_tree_find(const struct isola_tree *t, struct isola_slice path)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = isola_slice_order(isola_slice_str(t->entries[middle].path), path);
        if (order == 0)
            return &t->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool has_controls(const char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

/* Names that are there, none of them "." or "..", and not too many: how many; 0: it is no such
 * path.
 */
static size_t count_names(const char *path)
{
    size_t n = 0;
    if (strlen(path) > PATH_LENGTH || has_controls(path))
        return 0;
    for (;;) {
        size_t len = strcspn(path, "/");
        bool dots = (len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.');
        if (len == 0 || len > NAME_LENGTH || dots || ++n > DEPTH)
            return 0;
        if (path[len] == '\0')
            return n;
        path += len + 1;
    }
}

/* `names`: of the link's own path. */
static bool stays_inside(const char *target, size_t names)
{
    size_t up = 0;
    while (strncmp(target, "../", 3) == 0) {
        target += 3;
        up++;
    }
    if (strcmp(target, "..") == 0) {
        target = "";
        up++;
    } else if (up == 0 && strncmp(target, "./", 2) == 0) {
        target += 2;
    }
    if (up == 0 && target[0] == '\0')
        return false;
    return up < names && (target[0] == '\0' || count_names(target) > 0);
}

/* Is there a file or a link where a directory is to be? */
static const struct isola_tree_entry *in_the_way(const struct isola_tree *t, const char *path)
{
    for (const char *at = strchr(path, '/'); at != NULL; at = strchr(at + 1, '/')) {
        const struct isola_tree_entry *e =
            isola_tree_find(t, isola_slice(path, (size_t)(at - path)));
        if (e != NULL)
            return e;
    }
    return NULL;
}

static int check_entry(const struct isola_tree *t, const struct isola_tree_entry *e,
                       struct isola_err *err)
{
    size_t names = count_names(e->path);
    if (names == 0)
        return isola_fail(err, ISOLA_EINVAL, "\"%.200s\" is no path of a file in an app", e->path);
    if (e->kind == ISOLA_TREE_LINK && !stays_inside(e->target, names))
        return isola_fail(err, ISOLA_EINVAL, "the link %.200s leads out of the app: to %.200s%s",
                          e->path, e->target,
                          strstr(e->path, "node_modules/") != NULL
                              ? "; `npm install --install-links` has a copy of the package instead"
                              : "");
    const struct isola_tree_entry *other = in_the_way(t, e->path);
    if (other != NULL)
        return isola_fail(err, ISOLA_EINVAL, "%.200s lies in %.200s, which is no directory",
                          e->path, other->path);
    return 0;
}

/* Of one that is sorted. */
static int check(const struct isola_tree *t, struct isola_err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < t->n; i++) {
        if (i > 0 && strcmp(t->entries[i - 1].path, t->entries[i].path) >= 0)
            code = isola_fail(err, ISOLA_EINVAL, "%.200s is there twice, or not in its place",
                              t->entries[i].path);
        else
            code = check_entry(t, &t->entries[i], err);
    }
    if (code == 0 && t->n > ISOLA_TREE_FILES)
        code = isola_fail(err, ISOLA_ETOOBIG, "the app has %zu files; %u are the most", t->n,
                          ISOLA_TREE_FILES);
    if (code == 0 && t->bytes > ISOLA_TREE_BYTES)
        code = isola_fail(err, ISOLA_ETOOBIG, "the app's files have %.1f GB; %.0f GB are the most",
                          (double)t->bytes / (1 << 30), (double)ISOLA_TREE_BYTES / (1 << 30));
    return code;
}

/* --- as bytes --- */

int isola_tree_encode(struct isola_tree *t, struct isola_buf *out, struct isola_err *err)
{
    size_t before = out->len;
    if (t->n > 0)
        qsort(t->entries, t->n, sizeof(*t->entries), by_path);
    int code = check(t, err);
    if (code != 0)
        return code;
    isola_mp_array(out, t->n);
    for (size_t i = 0; i < t->n; i++) {
        const struct isola_tree_entry *e = &t->entries[i];
        bool link = e->kind == ISOLA_TREE_LINK;
        isola_mp_array(out, link ? 3 : 4);
        isola_mp_cstr(out, e->path);
        isola_mp_uint(out, e->kind);
        if (link) {
            isola_mp_cstr(out, e->target);
        } else {
            isola_mp_uint(out, e->size);
            isola_mp_bin(out, isola_slice(e->pieces, isola_tree_pieces(e->size) * ISOLA_HASH_SIZE));
        }
    }
    if (out->failed)
        return isola_fail(err, ISOLA_ENOMEM, "out of memory for the list of files");
    if (out->len - before > ISOLA_TREE_TEXT)
        return isola_fail(err, ISOLA_ETOOBIG,
                          "the list of the app's files has %.1f MB; %zu MB are "
                          "the most",
                          (double)(out->len - before) / (1 << 20), ISOLA_TREE_TEXT >> 20);
    return 0;
}

/* A text without NULs, as one of its own; NULL: it is none. */
static char *take_text(struct isola_mp_reader *r)
{
    struct isola_mp_item s;
    if (!isola_mp_take(r, ISOLA_MP_STR, &s) ||
        (s.bytes.len > 0 && memchr(s.bytes.data, 0, s.bytes.len) != NULL))
        return NULL;
    return isola_strndup((const char *)s.bytes.data, s.bytes.len);
}

static bool take_file(struct isola_mp_reader *r, struct isola_tree_entry *e)
{
    struct isola_mp_item size, hashes;
    if (!isola_mp_take(r, ISOLA_MP_UINT, &size) || !isola_mp_take(r, ISOLA_MP_BIN, &hashes) ||
        size.u > ISOLA_TREE_BYTES ||
        hashes.bytes.len != isola_tree_pieces(size.u) * ISOLA_HASH_SIZE)
        return false;
    e->size = size.u;
    if (hashes.bytes.len > 0) {
        e->pieces = isola_alloc(hashes.bytes.len);
        memcpy(e->pieces, hashes.bytes.data, hashes.bytes.len);
    }
    return true;
}

static bool take_entry(struct isola_mp_reader *r, struct isola_tree_entry *e)
{
    struct isola_mp_item head, kind;
    if (!isola_mp_take(r, ISOLA_MP_ARRAY, &head) || (e->path = take_text(r)) == NULL ||
        !isola_mp_take(r, ISOLA_MP_UINT, &kind) || kind.u > ISOLA_TREE_LINK)
        return false;
    e->kind = (enum isola_tree_kind)kind.u;
    if (e->kind != ISOLA_TREE_LINK)
        return head.n == 4 && take_file(r, e);
    return head.n == 3 && (e->target = take_text(r)) != NULL;
}

int isola_tree_decode(struct isola_slice bytes, struct isola_tree *out, struct isola_err *err)
{
    struct isola_mp_reader r = isola_mp_reader(bytes);
    struct isola_mp_item head;
    struct isola_tree t = {0};
    int code = 0;
    if (bytes.len > ISOLA_TREE_TEXT || !isola_mp_take(&r, ISOLA_MP_ARRAY, &head) ||
        head.n > ISOLA_TREE_FILES)
        return isola_fail(err, ISOLA_EINVAL, "the list of files is no such list, or too long");
    t.room = head.n;
    t.entries = isola_zalloc((head.n > 0 ? head.n : 1) * sizeof(*t.entries));
    for (uint32_t i = 0; code == 0 && i < head.n; i++) {
        struct isola_tree_entry *e = &t.entries[t.n++];
        if (!take_entry(&r, e))
            code = isola_fail(err, ISOLA_EINVAL, "the list of files is malformed at number %u", i);
        t.bytes += e->size;
    }
    if (code == 0 && r.p != r.end)
        code = isola_fail(err, ISOLA_EINVAL, "the list of files has something behind its end");
    if (code == 0)
        code = check(&t, err);
    if (code != 0)
        isola_tree_free(&t);
    else
        *out = t;
    return code;
}
