/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl diff: what two releases of an app have different: types, code, files, keys of the manifest.
 *
 * Files are compared by the hashes of their pieces, so none is fetched.
 */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/text.h"
#include "store/tree.h"

#define RELEASE_MS  60000u
#define FILES_SHOWN 20

/* What is in a release. */
struct side {
    json_t *release;
    json_t *manifest;
    struct isola_tree files;
};

static struct isola_slice text_of(const json_t *row, const char *key)
{
    return isola__text_of(json_object_get(row, key));
}

static uint64_t number_of(const json_t *row, const char *key)
{
    double d = json_number_value(json_object_get(row, key));
    return d >= 0 && d < 9e15 ? (uint64_t)d : 0;
}

/* --- what they have --- */

static void side_free(struct side *s)
{
    json_decref(s->release);
    json_decref(s->manifest);
    isola_tree_free(&s->files);
}

/* The files of an answer; an older agent says nothing of them. */
static int read_files(const struct isola_msg *answer, struct isola_tree *out, struct isola_err *err)
{
    struct isola_slice value, files;
    *out = (struct isola_tree){0};
    if (!isola_mp_at(answer->args, 0, &value) || !isola_mp_find_bin(value, "files", &files))
        return 0;
    return isola_tree_decode(files, out, err);
}

/* Fills `out`, for side_free, with a release (the current one: `id` NULL); false: it has been told
 * why not. */
static bool get(struct isola__cli *cli, const char *app, const char *id, struct side *out)
{
    struct isola_buf params = {0};
    struct isola_err err;
    *out = (struct side){0};
    isola_mp_map(&params, 1 + (id != NULL));
    isola_mp_kstr(&params, "app", app);
    if (id != NULL)
        isola_mp_kstr(&params, "release", id);
    struct isola_msg *answer = isola__request(cli, "release", &params, RELEASE_MS);
    out->release = answer != NULL ? isola__result(cli, answer, "bundles") : NULL;
    if (out->release != NULL && read_files(answer, &out->files, &err) != 0) {
        isola__fail(cli, &err);
        json_decref(out->release);
        out->release = NULL;
    }
    free(answer);
    if (out->release == NULL)
        return false;
    struct isola_slice text = text_of(out->release, "manifest");
    out->manifest = json_loadb((const char *)text.data, text.len, 0, NULL);
    if (out->manifest == NULL)
        out->manifest = json_object();
    return true;
}

/* What is compared when nothing is said: the release that a roll-back would go to, *from, with the
 * current one, *to NULL, or, while there is a canary, the current one with that. Both are the
 * caller's; *from NULL: it has been said that there is none. */
static void defaults(struct isola__cli *cli, const char *app, char **from, char **to)
{
    struct isola_buf params = {0};
    struct isola_err err;
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", app);
    json_t *value = isola__call(cli, "releases", &params, ISOLA__STATUS_MS, "deploys");
    if (value == NULL)
        return;
    struct isola_slice back = text_of(value, "back"), canary = text_of(value, "canary");
    if (back.len > 0) {
        *from = isola_strndup((const char *)back.data, back.len);
        if (canary.len > 0)
            *to = isola_strndup((const char *)canary.data, canary.len);
    } else {
        isola_fail(&err, ISOLA_ENOENT,
                   "app \"%s\" has nothing to be compared with: no other release was current "
                   "before this one, or none that is kept",
                   app);
        isola__fail(cli, &err);
    }
    json_decref(value);
}

/* --- what is different --- */

static const json_t *bundle_of(const json_t *release, struct isola_slice type)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(release, "bundles"), i, row)
    {
        if (isola_slice_eq(text_of(row, "type"), type))
            return row;
    }
    return NULL;
}

static void add_change(json_t *list, const char *key, const json_t *a, const json_t *b)
{
    json_t *row = json_pack("{s:s}", "key", key);
    if (a != NULL)
        json_object_set(row, "before", (json_t *)(uintptr_t)a);
    if (b != NULL)
        json_object_set(row, "after", (json_t *)(uintptr_t)b);
    json_array_append_new(list, row);
}

/* Appends where two values differ, by the path of keys to it. A type that is only in one of them is
 * not looked into. */
static void compare(const char *path, json_t *a, json_t *b, json_t *list)
{
    const char *key;
    json_t *value;
    bool types = strcmp(path, "actors") == 0;
    if (!json_is_object(a) || !json_is_object(b)) {
        if (!json_equal(a, b))
            add_change(list, path, a, b);
        return;
    }
    json_object_foreach(a, key, value)
    {
        json_t *other = json_object_get(b, key);
        char *below = isola_format("%s%s%s", path, *path != '\0' ? "." : "", key);
        if (other != NULL)
            compare(below, value, other, list);
        else if (!types)
            add_change(list, below, value, NULL);
        free(below);
    }
    json_object_foreach(b, key, value)
    {
        char *below = isola_format("%s%s%s", path, *path != '\0' ? "." : "", key);
        if (json_object_get(a, key) == NULL && !types)
            add_change(list, below, NULL, value);
        free(below);
    }
}

static json_t *types_of(const struct side *s)
{
    return json_object_get(s->manifest, "actors");
}

/* The names of the types that `b` has and `a` has not. */
static json_t *types_added(const struct side *a, const struct side *b)
{
    json_t *list = json_array();
    const char *type;
    json_t *settings;
    json_object_foreach(types_of(b), type, settings)
    {
        if (json_object_get(types_of(a), type) == NULL)
            json_array_append_new(list, json_string(type));
    }
    return list;
}

/* [{type, before, after}]: bytes of the bundles of types that are in both. */
static json_t *types_changed(const struct side *a, const struct side *b)
{
    json_t *list = json_array();
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(b->release, "bundles"), i, row)
    {
        const json_t *old = bundle_of(a->release, text_of(row, "type"));
        if (old != NULL && !isola_slice_eq(text_of(old, "hash"), text_of(row, "hash")))
            json_array_append_new(list,
                                  json_pack("{s:O, s:I, s:I}", "type", json_object_get(row, "type"),
                                            "before", (json_int_t)number_of(old, "bytes"), "after",
                                            (json_int_t)number_of(row, "bytes")));
    }
    return list;
}

/* {bytes} or {bytes, program: true} or {link}. */
static json_t *file_is(const struct isola_tree_entry *e)
{
    if (e->kind == ISOLA_TREE_LINK)
        return json_pack("{s:s}", "link", e->target);
    json_t *file = json_pack("{s:I}", "bytes", (json_int_t)e->size);
    if (e->kind == ISOLA_TREE_PROGRAM)
        json_object_set_new(file, "program", json_true());
    return file;
}

static bool same_file(const struct isola_tree_entry *a, const struct isola_tree_entry *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == ISOLA_TREE_LINK)
        return strcmp(a->target, b->target) == 0;
    size_t pieces = isola_tree_pieces(a->size) * sizeof(*a->pieces);
    return a->size == b->size && (pieces == 0 || memcmp(a->pieces, b->pieces, pieces) == 0);
}

static void add_file(json_t *list, const struct isola_tree_entry *e)
{
    json_t *file = file_is(e);
    json_object_set_new(file, "path", json_string(e->path));
    json_array_append_new(list, file);
}

/* {before, after: how many there are, added: [{path, …}], removed, changed: [{path, before: {…},
 * after: {…}}]}. Both trees are in the order of their paths. */
static json_t *files_changed(const struct isola_tree *a, const struct isola_tree *b)
{
    json_t *added = json_array(), *removed = json_array(), *changed = json_array();
    for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
        int order = i == a->n ? 1 : k == b->n ? -1 : strcmp(a->entries[i].path, b->entries[k].path);
        if (order < 0) {
            add_file(removed, &a->entries[i++]);
            continue;
        }
        if (order > 0) {
            add_file(added, &b->entries[k++]);
            continue;
        }
        const struct isola_tree_entry *old = &a->entries[i++], *new = &b->entries[k++];
        if (!same_file(old, new))
            json_array_append_new(changed, json_pack("{s:s, s:o, s:o}", "path", new->path, "before",
                                                     file_is(old), "after", file_is(new)));
    }
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "before", (json_int_t)a->n, "after",
                     (json_int_t)b->n, "added", added, "removed", removed, "changed", changed);
}

/* As docs/cli.md has it. */
static json_t *difference(const struct side *a, const struct side *b)
{
    json_t *manifest = json_array();
    compare("", a->manifest, b->manifest, manifest);
    json_t *link_a = json_object_get(a->release, "link"),
           *link_b = json_object_get(b->release, "link");
    json_t *diff = json_pack("{s:O, s:O, s:O, s:o, s:o, s:o, s:o, s:o}", "app",
                             json_object_get(b->release, "app"), "from",
                             json_object_get(a->release, "release"), "to",
                             json_object_get(b->release, "release"), "added", types_added(a, b),
                             "removed", types_added(b, a), "changed", types_changed(a, b), "files",
                             files_changed(&a->files, &b->files), "manifest", manifest);
    if ((link_a != NULL || link_b != NULL) && !json_equal(link_a, link_b)) {
        json_t *link = json_array();
        add_change(link, "link", link_a, link_b);
        json_object_set(diff, "link", json_array_get(link, 0));
        json_object_del(json_object_get(diff, "link"), "key");
        json_decref(link);
    }
    return diff;
}

/* --- for people --- */

static void put_value(struct isola_buf *out, const json_t *value)
{
    struct isola_buf text = {0};
    if (value == NULL)
        isola_buf_puts(&text, "nothing");
    else
        isola__json_print(value, false, &text);
    isola__text_clean(out, isola_buf_slice(&text));
    isola_buf_free(&text);
}

/* "VALUE before, VALUE after" and the line's end. */
static void put_change(struct isola_buf *out, const json_t *row)
{
    put_value(out, json_object_get(row, "before"));
    isola_buf_puts(out, " before, ");
    put_value(out, json_object_get(row, "after"));
    isola_buf_puts(out, " after\n");
}

static void list_types(struct isola_buf *out, const char *what, const json_t *types)
{
    size_t i;
    const json_t *type;
    json_array_foreach(types, i, type)
    {
        isola_buf_printf(out, "  %s type ", what);
        isola__text_clean(out, isola__text_of(type));
        isola_buf_puts(out, "\n");
    }
}

struct shown_file {
    char mark;
    bool package; /* of one, and so less of interest than the author's own */
    uint64_t bytes;
    const json_t *row;
};

/* The author's own first, then the larger ones. */
static int by_interest(const void *a, const void *b)
{
    const struct shown_file *x = a, *y = b;
    if (x->package != y->package)
        return x->package ? 1 : -1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return strcmp(json_string_value(json_object_get(x->row, "path")),
                  json_string_value(json_object_get(y->row, "path")));
}

static uint64_t bytes_of(char mark, const json_t *row)
{
    if (mark != '~')
        return number_of(row, "bytes");
    uint64_t before = number_of(json_object_get(row, "before"), "bytes");
    uint64_t after = number_of(json_object_get(row, "after"), "bytes");
    return before > after ? before : after;
}

static size_t collect(const json_t *rows, char mark, struct shown_file *out)
{
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        const char *path = json_string_value(json_object_get(row, "path"));
        out[i] = (struct shown_file){mark, strstr(path, "node_modules/") != NULL,
                                     bytes_of(mark, row), row};
    }
    return json_array_size(rows);
}

/* "1.5 KB"; "1.5 KB, a program"; "a link to PATH". */
static void put_file(struct isola_buf *out, const json_t *file)
{
    char size[ISOLA__HUMAN_SIZE];
    if (json_object_get(file, "link") != NULL) {
        isola_buf_puts(out, "a link to ");
        isola__text_clean(out, text_of(file, "link"));
        return;
    }
    isola__human_bytes(number_of(file, "bytes"), size);
    isola_buf_printf(out, "%s%s", size,
                     json_object_get(file, "program") != NULL ? ", a program" : "");
}

static void list_files(struct isola_buf *out, const json_t *files)
{
    const json_t *added = json_object_get(files, "added");
    const json_t *removed = json_object_get(files, "removed");
    const json_t *changed = json_object_get(files, "changed");
    size_t n = json_array_size(added) + json_array_size(removed) + json_array_size(changed);
    if (n == 0)
        return;
    struct shown_file *all = isola_zalloc(n * sizeof(*all));
    size_t at = collect(added, '+', all);
    at += collect(removed, '-', all + at);
    (void)collect(changed, '~', all + at);
    qsort(all, n, sizeof(*all), by_interest);
    for (size_t i = 0; i < n && i < FILES_SHOWN; i++) {
        isola_buf_printf(out, "  %c file ", all[i].mark);
        isola__text_clean(out, text_of(all[i].row, "path"));
        isola_buf_puts(out, ": ");
        if (all[i].mark == '~') {
            put_file(out, json_object_get(all[i].row, "before"));
            isola_buf_puts(out, " before, ");
            put_file(out, json_object_get(all[i].row, "after"));
            isola_buf_puts(out, " after\n");
        } else {
            put_file(out, all[i].row);
            isola_buf_puts(out, "\n");
        }
    }
    free(all);
    if (n > FILES_SHOWN)
        isola_buf_printf(out,
                         "    and %zu more files: of %" PRIu64 " before and %" PRIu64
                         " after, %zu came, %zu went, %zu changed; --json has them all\n",
                         n - FILES_SHOWN, number_of(files, "before"), number_of(files, "after"),
                         json_array_size(added), json_array_size(removed),
                         json_array_size(changed));
}

static void show_difference(struct isola__cli *cli, const json_t *diff)
{
    struct isola_buf out = {0};
    char size[ISOLA__HUMAN_SIZE];
    size_t i;
    const json_t *row, *link = json_object_get(diff, "link");
    isola__text_clean(&out, text_of(diff, "app"));
    isola_buf_puts(&out, " from release ");
    isola__text_clean(&out, text_of(diff, "from"));
    isola_buf_puts(&out, " to ");
    isola__text_clean(&out, text_of(diff, "to"));
    isola_buf_puts(&out, "\n");
    size_t at = out.len;
    list_types(&out, "+", json_object_get(diff, "added"));
    list_types(&out, "-", json_object_get(diff, "removed"));
    json_array_foreach(json_object_get(diff, "changed"), i, row)
    {
        isola_buf_puts(&out, "  ~ type ");
        isola__text_clean(&out, text_of(row, "type"));
        isola__human_bytes(number_of(row, "before"), size);
        isola_buf_printf(&out, ": its bundle, %s", size);
        isola__human_bytes(number_of(row, "after"), size);
        isola_buf_printf(&out, " before, %s after\n", size);
    }
    json_array_foreach(json_object_get(diff, "manifest"), i, row)
    {
        isola_buf_puts(&out, "  ~ manifest ");
        isola__text_clean(&out, text_of(row, "key"));
        isola_buf_puts(&out, ": ");
        put_change(&out, row);
    }
    if (link != NULL) {
        isola_buf_puts(&out, "  ~ directory its services run in: ");
        put_change(&out, link);
    }
    list_files(&out, json_object_get(diff, "files"));
    if (out.len == at)
        isola_buf_puts(&out, "  nothing is different\n");
    isola__out(cli, &out);
}

void isola__run_diff(struct isola__cli *cli)
{
    char **operands = cli->options.operands;
    size_t n = cli->options.noperands;
    struct side a = {0}, b = {0};
    if (!isola__check_app(cli, operands[0]))
        return;
    char *from = n > 1 ? isola_strdup(operands[1]) : NULL;
    char *to = n > 2 ? isola_strdup(operands[2]) : NULL;
    if (n < 2)
        defaults(cli, operands[0], &from, &to);
    if (from != NULL && get(cli, operands[0], from, &a) && get(cli, operands[0], to, &b)) {
        json_t *diff = difference(&a, &b);
        if (cli->options.json)
            isola__out_json(cli, diff, false);
        else
            show_difference(cli, diff);
        json_decref(diff);
    }
    side_free(&a);
    side_free(&b);
    free(from);
    free(to);
}
