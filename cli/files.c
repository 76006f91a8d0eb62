/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "base/map.h"
#include "base/msgpack.h"
#include "cli/file_index.h"
#include "cli/left_out.h"

#define DEPTH_MAX   64
#define BATCH_BYTES ((size_t)8 << 20)
#define CALL_MS     120000u

void isola__files_free(struct isola__files *f)
{
    free(f->dir);
    free(f->modules);
    isola__places_free(&f->places);
    isola_tree_free(&f->tree);
    isola_buf_free(&f->bytes);
    json_decref(f->variables);
    *f = (struct isola__files){0};
}

/* --- what is there --- */

struct walk {
    struct isola__files *files;
    struct isola__file_index *index;
    struct isola__left_out *left_out;
    struct isola_map development; /* paths of packages that are left out */
    const struct isola__place
        *place; /* what is walked; NULL: what npm has laid below one directory */
    struct isola_err *err;
};

static bool is_left_out(const struct walk *w, const char *path, const char *name, bool directory)
{
    if (w->place != NULL && w->place->at[0] != '\0') {
        const char *below = path + strlen(w->place->at) + 1;
        return strcmp(below, "node_modules") == 0 ||
               isola__left_out(w->left_out, w->place->source ? below : path, name, directory);
    }
    return isola_map_get(&w->development, isola_slice_str(path)) != NULL ||
           ((w->files->modules != NULL || w->place != NULL) && strcmp(path, "node_modules") == 0) ||
           isola__left_out(w->left_out, path, name, directory);
}

/* Where the link at `path` leads, from the app's directory on, as far as names tell. The caller
 * frees. */
static char *led_to(const char *path, const char *target)
{
    const char *slash = strrchr(path, '/');
    char *to = isola_strndup(path, slash != NULL ? (size_t)(slash - path) : 0);
    while (strncmp(target, "../", 3) == 0 && to[0] != '\0') {
        char *last = strrchr(to, '/');
        *(last != NULL ? last : to) = '\0';
        target += 3;
    }
    char *whole = isola_format("%s%s%s", to, to[0] != '\0' ? "/" : "", target);
    free(to);
    return whole;
}

static bool leads_to_what_is_left_out(const struct walk *w, const char *path, const char *target)
{
    bool is = false;
    char *to = led_to(path, target);
    for (char *at = strchr(to, '/'); !is && at != NULL; at = strchr(at + 1, '/'))
        is = isola_map_get(&w->development, isola_slice(to, (size_t)(at - to))) != NULL;
    is = is || isola_map_get(&w->development, isola_slice_str(to)) != NULL;
    free(to);
    return is;
}

static int fail_read(const struct walk *w, const char *path)
{
    return isola_fail(w->err, ISOLA_EIO, "cannot read %s/%s: %s", w->files->dir, path,
                      strerror(errno));
}

static int take_link(struct walk *w, int dir, const char *path, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
    if (n < 0)
        return fail_read(w, path);
    target[n] = '\0';
    if (!leads_to_what_is_left_out(w, path, target))
        isola_tree_add(&w->files->tree, &(struct isola_tree_entry){.path = (char *)path,
                                                                   .kind = ISOLA_TREE_LINK,
                                                                   .target = target});
    return 0;
}

/* The hashes of a file of the size `st` says: allocated. */
static int hash_file(const struct walk *w, int dir, const char *path, const char *name,
                     const struct stat *st, struct isola_hash **out)
{
    size_t n = isola_tree_pieces((uint64_t)st->st_size);
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail_read(w, path);
    uint8_t *piece = isola_alloc(ISOLA_PIECE_MAX);
    struct isola_hash *hashes = isola_alloc((n > 0 ? n : 1) * sizeof(*hashes));
    uint64_t total = 0;
    int code = 0;
    for (size_t i = 0; code == 0 && i < n; i++) {
        ssize_t len = isola_read_all(fd, piece, ISOLA_PIECE_MAX);
        if (len < 0) {
            code = fail_read(w, path);
            break;
        }
        total += (uint64_t)len;
        hashes[i] = isola_hash_of(isola_slice(piece, (size_t)len));
    }
    if (code == 0 &&
        (total != (uint64_t)st->st_size || isola_read_all(fd, piece, ISOLA_PIECE_MAX) != 0))
        code = isola_fail(w->err, ISOLA_EIO, "%s/%s changes while it is read: deploy again",
                          w->files->dir, path);
    close(fd);
    free(piece);
    if (code != 0)
        free(hashes);
    else
        *out = hashes;
    return code;
}

static int take_file(struct walk *w, int dir, const char *path, const char *name,
                     const struct stat *st)
{
    const struct isola_hash *hashes = isola__file_index_find(w->index, path, st);
    struct isola_hash *own = NULL;
    if ((uint64_t)st->st_size > ISOLA_TREE_BYTES)
        return isola_fail(w->err, ISOLA_ETOOBIG,
                          "%s/%s has %.1f GB; the files of an app have %.0f "
                          "GB at the most",
                          w->files->dir, path, (double)st->st_size / (1 << 30),
                          (double)ISOLA_TREE_BYTES / (1 << 30));
    if (hashes == NULL) {
        int code = hash_file(w, dir, path, name, st, &own);
        if (code != 0)
            return code;
        hashes = own;
        w->files->read++;
    }
    isola__file_index_note(w->index, path, st, hashes, own == NULL);
    isola_tree_add(&w->files->tree,
                   &(struct isola_tree_entry){.path = (char *)path,
                                              .kind = (st->st_mode & 0111) != 0 ? ISOLA_TREE_PROGRAM
                                                                                : ISOLA_TREE_FILE,
                                              .size = (uint64_t)st->st_size,
                                              .pieces = (struct isola_hash *)hashes});
    free(own);
    return 0;
}

/* All in the directory `fd`, which it closes; `prefix` is its path with a slash, or empty. */
static int walk_dir(struct walk *w, int fd, const char *prefix, int depth)
{
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    struct stat st;
    int code = 0;
    if (d == NULL || depth > DEPTH_MAX) {
        code = d == NULL ? fail_read(w, prefix)
                         : isola_fail(w->err, ISOLA_EINVAL,
                                      "%s/%s: %d directories lie in each "
                                      "other; that is too deep",
                                      w->files->dir, prefix, DEPTH_MAX);
        if (d != NULL)
            closedir(d);
        else if (fd >= 0)
            close(fd);
        return code;
    }
    while (code == 0 && (e = readdir(d)) != NULL) {
        const char *name = e->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        char *path = isola_format("%s%s", prefix, name);
        if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            code = errno == ENOENT ? 0 : fail_read(w, path); /* it has just gone */
        } else if (is_left_out(w, path, name, S_ISDIR(st.st_mode))) {
            code = 0;
        } else if (S_ISDIR(st.st_mode)) {
            char *below = isola_format("%s/", path);
            code =
                walk_dir(w, openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                         below, depth + 1);
            free(below);
        } else if (S_ISLNK(st.st_mode)) {
            code = take_link(w, dirfd(d), path, name);
        } else if (S_ISREG(st.st_mode)) {
            code = take_file(w, dirfd(d), path, name, &st);
        }
        free(path);
    }
    closedir(d);
    return code;
}

/* The packages that do not lie below the app as npm has it. */
static int walk_places(struct walk *w)
{
    int code = 0;
    for (size_t i = 1; code == 0 && i < w->files->places.n; i++) {
        w->place = w->files->places.list[i];
        char *prefix = isola_format("%s/", w->place->at);
        code = walk_dir(w, open(w->place->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), prefix, 1);
        free(prefix);
    }
    return code;
}

/* What npm has noted in node_modules/.package-lock.json as needed for development alone. */
static void find_development(struct walk *w, const char *base)
{
    static char any;
    char *path = isola_format("%s/node_modules/.package-lock.json", base);
    json_t *lock = json_load_file(path, 0, NULL);
    const char *name;
    json_t *package;
    json_object_foreach(json_object_get(lock, "packages"), name, package)
    {
        if (json_is_true(json_object_get(package, "dev")))
            isola_map_set(&w->development, isola_slice_str(name), &any);
    }
    json_decref(lock);
    free(path);
}

/* What a service is started with must not have been left out. */
static int check_programs(const struct isola__files *f, const struct isola_manifest *m,
                          struct isola_err *err)
{
    for (size_t i = 0; m != NULL && i < m->ntypes; i++) {
        const struct isola_manifest_service *s = m->types[i].service;
        const char *const needed[] = {s != NULL ? m->types[i].module : NULL,
                                      s != NULL ? s->env_file : NULL};
        for (size_t k = 0; k < 2; k++)
            if (needed[k] != NULL && isola_tree_find(&f->tree, isola_slice_str(needed[k])) == NULL)
                return isola_fail(
                    err, ISOLA_EMANIFEST,
                    "%s, the %s of %s, is left out of the release: by %s/" ISOLA__IGNORE_FILE
                    ", or as it is of a package for development",
                    needed[k], k == 0 ? "module" : "envFile", m->types[i].name, f->dir);
    }
    return 0;
}

int isola__files_collect(const char *dir, const char *modules, const struct isola_manifest *m,
                         struct isola__places *places, struct isola__files *out,
                         struct isola_err *err)
{
    *out = (struct isola__files){0};
    out->dir = realpath(dir, NULL);
    if (out->dir == NULL)
        return isola_fail(err, ISOLA_EIO, "cannot read %s: %s", dir, strerror(errno));
    if (places != NULL) {
        out->places = *places;
        *places = (struct isola__places){0};
    }
    struct isola__left_out *left_out = isola__left_out_open(out->dir, m, err);
    if (left_out == NULL) {
        isola__files_free(out);
        return err->code;
    }
    out->modules = modules != NULL ? isola_strdup(modules) : NULL;
    struct walk w = {
        .files = out, .index = isola__file_index_open(out->dir), .left_out = left_out, .err = err};
    if (out->places.n > 0)
        w.place = out->places.list[0];
    find_development(&w, modules != NULL ? modules : out->dir);
    int code = walk_dir(&w, open(out->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "", 0);
    if (code == 0 && modules != NULL) {
        char *path = isola_format("%s/node_modules", modules);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        free(path);
        if (fd >= 0 || errno != ENOENT) /* it needs none */
            code = walk_dir(&w, fd, "node_modules/", 1);
    }
    if (code == 0)
        code = walk_places(&w);
    isola__file_index_close(w.index);
    isola_map_free(&w.development);
    out->variables = isola__left_out_close(left_out);
    if (code == 0)
        code = isola_tree_encode(&out->tree, &out->bytes, err);
    if (code == 0)
        code = check_programs(out, m, err);
    if (code != 0)
        isola__files_free(out);
    return code;
}

/* --- sending --- */

/* Calls a method; a FAIL is an error. `*answer`, unless `answer` is NULL, is the caller's. */
static int call(struct isola__client *client, const char *method, struct isola_buf *params,
                struct isola_msg **answer, struct isola_err *err)
{
    struct isola_msg *m = NULL;
    struct isola_slice value = {0};
    struct isola_mp_error e = {0};
    int code = params->failed
                   ? isola_fail(err, ISOLA_ENOMEM, "out of memory for the app's files")
                   : isola__client_call(client, method, isola_buf_slice(params), CALL_MS, &m, err);
    isola_buf_free(params);
    if (code == 0 && m->kind == ISOLA_MSG_FAIL) {
        if (!isola_mp_at(m->args, 0, &value) || !isola_mp_read_error(value, &e))
            e.code = ISOLA_EPROTO;
        code = isola_fail(err, e.code, "%.*s", ISOLA_FMT(e.message));
    }
    if (code == 0 && answer != NULL)
        *answer = m;
    else
        free(m);
    return code;
}

struct place {
    const struct isola_tree_entry *entry;
    size_t piece;
};

/* Where each piece is: by its hash. `places` is for isola_map_free'd map and free. */
static struct place *find_places(const struct isola_tree *t, struct isola_map *by_hash,
                                 struct isola_buf *hashes)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < t->n; i++)
        n += isola_tree_pieces(t->entries[i].size);
    struct place *places = isola_alloc((n > 0 ? n : 1) * sizeof(*places));
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < isola_tree_pieces(t->entries[i].size); k++) {
            struct isola_slice h = isola_slice(t->entries[i].pieces[k].bytes, ISOLA_HASH_SIZE);
            places[at] = (struct place){&t->entries[i], k};
            if (isola_map_set(by_hash, h, &places[at]) == NULL)
                isola_buf_append(hashes, h.data, h.len);
            at++;
        }
    return places;
}

/* Appends the piece as bin. */
static int read_place(const struct isola__files *f, const struct place *p, struct isola_buf *out,
                      size_t *len, struct isola_err *err)
{
    const char *path = p->entry->path;
    bool module = f->modules != NULL && strncmp(path, "node_modules/", 13) == 0;
    char *file = f->places.n > 0 ? isola__places_file(&f->places, path)
                                 : isola_format("%s/%s", module ? f->modules : f->dir, path);
    int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    uint8_t *piece = isola_alloc(ISOLA_PIECE_MAX);
    int code = 0;
    ssize_t n = -1;
    if (fd >= 0 && lseek(fd, (off_t)(p->piece * (size_t)ISOLA_PIECE_MAX), SEEK_SET) >= 0)
        n = isola_read_all(fd, piece, ISOLA_PIECE_MAX);
    if (n < 0) {
        code = isola_fail(err, ISOLA_EIO, "cannot read %s: %s", file, strerror(errno));
    } else {
        struct isola_hash h = isola_hash_of(isola_slice(piece, (size_t)n));
        if (memcmp(&h, &p->entry->pieces[p->piece], sizeof(h)) != 0)
            code =
                isola_fail(err, ISOLA_EIO, "%s has changed while it was sent: deploy again", file);
        else
            isola_mp_bin(out, isola_slice(piece, (size_t)n));
        *len = (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    free(piece);
    free(file);
    return code;
}

/* From hash number `*at` on, as many as go into one message. */
static int send_batch(const struct isola__files *f, struct isola__client *client,
                      const struct isola_map *by_hash, struct isola_slice missing, size_t *at,
                      struct isola__files_sent *sent, struct isola_err *err)
{
    struct isola_buf pieces = {0}, params = {0};
    size_t n = 0, len = 0;
    int code = 0;
    while (code == 0 && *at < missing.len && pieces.len < BATCH_BYTES) {
        const struct place *p =
            isola_map_get(by_hash, isola_slice(missing.data + *at, ISOLA_HASH_SIZE));
        if (p == NULL) {
            code = isola_fail(err, ISOLA_EPROTO, "the agent asks for what is no piece of the app");
            break;
        }
        code = read_place(f, p, &pieces, &len, err);
        sent->bytes += len;
        sent->files += p->piece == 0;
        *at += ISOLA_HASH_SIZE;
        n++;
    }
    if (code == 0) {
        isola_mp_map(&params, 1);
        isola_mp_cstr(&params, "pieces");
        isola_mp_array(&params, n);
        isola_buf_append(&params, pieces.data, pieces.len);
        code = call(client, "pieces", &params, NULL, err);
        sent->pieces += n;
    }
    isola_buf_free(&pieces);
    return code;
}

/* How much there is to send. */
static void measure(const struct isola_map *by_hash, struct isola_slice missing,
                    struct isola__files_sent *sent)
{
    for (size_t at = 0; at < missing.len; at += ISOLA_HASH_SIZE) {
        const struct place *p =
            isola_map_get(by_hash, isola_slice(missing.data + at, ISOLA_HASH_SIZE));
        if (p == NULL)
            continue;
        uint64_t rest = p->entry->size - (uint64_t)p->piece * ISOLA_PIECE_MAX;
        sent->of_files += p->piece == 0;
        sent->of_bytes += rest < ISOLA_PIECE_MAX ? rest : ISOLA_PIECE_MAX;
    }
}

int isola__files_send(const struct isola__files *f, struct isola__client *client,
                      struct isola__files_sent *sent,
                      void (*told)(void *arg, const struct isola__files_sent *sent), void *arg,
                      struct isola_err *err)
{
    struct isola_map by_hash = {0};
    struct isola_buf hashes = {0}, params = {0};
    struct isola_slice value = {0}, missing = {0};
    struct isola_msg *answer = NULL;
    struct place *places = find_places(&f->tree, &by_hash, &hashes);
    *sent = (struct isola__files_sent){0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "pieces");
    isola_mp_bin(&params, isola_buf_slice(&hashes));
    int code = call(client, "missing", &params, &answer, err);
    if (code == 0 &&
        (!isola_mp_at(answer->args, 0, &value) || !isola_mp_find_bin(value, "missing", &missing) ||
         missing.len % ISOLA_HASH_SIZE != 0))
        code = isola_fail(err, ISOLA_EPROTO, "the agent's answer does not say what is missing");
    if (code == 0)
        measure(&by_hash, missing, sent);
    for (size_t at = 0; code == 0 && at < missing.len;) {
        told(arg, sent);
        code = send_batch(f, client, &by_hash, missing, &at, sent, err);
    }
    free(answer);
    free(places);
    isola_map_free(&by_hash);
    isola_buf_free(&hashes);
    return code;
}
