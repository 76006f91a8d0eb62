/* SPDX-License-Identifier: Apache-2.0
 *
 * The package cache: what is put is there, once; what is damaged is not believed; trees become
 * directories, whole or not at all, and nothing of what a program has done to a directory that is
 * used again is left.
 */
#include "store/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/check.h"
#include "base/files.h"
#include "tests/tempdir.h"

struct place {
    char dir[TEMPDIR_SIZE];
    char *db;
    struct isola_cache *cache;
};

static int set_up(void **state)
{
    struct place *p = isola_zalloc(sizeof(*p));
    struct isola_err err;
    *state = p;
    if (tempdir_make(p->dir) != 0)
        return -1;
    p->db = isola_format("%s/cache.db", p->dir);
    return isola_cache_open(p->db, &p->cache, &err);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    isola_cache_close(p->cache);
    free(p->db);
    int code = tempdir_remove(p->dir);
    free(p);
    return code;
}

static void put(struct place *p, const char *text)
{
    struct isola_slice piece = isola_slice_str(text);
    struct isola_err err;
    assert_int_equal(isola_cache_put(p->cache, &piece, 1, &err), 0);
}

/* A file of one piece, which is put. */
static void add(struct place *p, struct isola_tree *t, const char *path, const char *text,
                enum isola_tree_kind kind)
{
    struct isola_hash h = isola_hash_of(isola_slice_str(text));
    isola_tree_add(t, &(struct isola_tree_entry){
                          .path = (char *)path, .kind = kind, .size = strlen(text), .pieces = &h});
    put(p, text);
}

static void gives_what_was_put(void **state)
{
    struct place *p = *state;
    struct isola_hash hashes[3] = {isola_hash_of(isola_slice_str("one")),
                                   isola_hash_of(isola_slice_str("two")),
                                   isola_hash_of(isola_slice_str("two"))};
    struct isola_buf out = {0};
    struct isola_err err;
    size_t n = 3;
    put(p, "one");
    put(p, "one");
    assert_int_equal(isola_cache_missing(p->cache, hashes, &n, &err), 0);
    assert_int_equal(n, 1);
    struct isola_hash two = isola_hash_of(isola_slice_str("two"));
    assert_memory_equal(&hashes[0], &two, sizeof(two));
    assert_int_equal(isola_cache_get(p->cache, &two, &out, &err), ISOLA_ENOENT);
    struct isola_hash one = isola_hash_of(isola_slice_str("one"));
    assert_int_equal(isola_cache_get(p->cache, &one, &out, &err), 0);
    assert_true(isola_slice_is(isola_buf_slice(&out), "one"));
    struct isola_cache_counts all, used;
    assert_int_equal(isola_cache_count(p->cache, NULL, 0, &all, &used, &err), 0);
    assert_int_equal(all.pieces, 1);
    assert_int_equal(all.bytes, 3);
    assert_int_equal(used.pieces, 0);
    isola_buf_free(&out);
}

static void takes_no_piece_that_is_too_large(void **state)
{
    struct place *p = *state;
    struct isola_err err;
    uint8_t *large = isola_zalloc(ISOLA_PIECE_MAX + 1);
    struct isola_slice pieces[2] = {isola_slice_str("small"), {large, ISOLA_PIECE_MAX + 1}};
    assert_int_equal(isola_cache_put(p->cache, pieces, 2, &err), ISOLA_ETOOBIG);
    struct isola_hash h = isola_hash_of(pieces[0]);
    size_t n = 1;
    assert_int_equal(isola_cache_missing(p->cache, &h, &n, &err), 0);
    assert_int_equal(n, 1); /* none of them was put */
    free(large);
}

static void drops_what_is_damaged(void **state)
{
    struct place *p = *state;
    struct isola_hash h = isola_hash_of(isola_slice_str("content"));
    struct isola_buf out = {0};
    struct isola_err err;
    sqlite3 *db;
    put(p, "content");
    assert_int_equal(sqlite3_open(p->db, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE piece SET content = x'00'", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(isola_cache_get(p->cache, &h, &out, &err), ISOLA_EIO);
    assert_int_equal(out.len, 0);
    assert_int_equal(isola_cache_get(p->cache, &h, &out, &err), ISOLA_ENOENT);
    put(p, "content");
    assert_int_equal(isola_cache_get(p->cache, &h, &out, &err), 0);
    isola_buf_free(&out);
}

static char *read_file(const char *dir, const char *name, mode_t *mode)
{
    char *path = isola_format("%s/%s", dir, name);
    char text[100] = "";
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    assert_true(n >= 0);
    close(fd);
    free(path);
    *mode = st.st_mode & 0777;
    return isola_strndup(text, (size_t)n);
}

static void writes_trees(void **state)
{
    struct place *p = *state;
    struct isola_tree t = {0};
    struct isola_buf bytes = {0};
    struct isola_err err;
    mode_t mode;
    char *dir = isola_format("%s/app", p->dir), *part = isola_format("%s/app.part", p->dir);
    add(p, &t, "a.js", "export {}", ISOLA_TREE_FILE);
    add(p, &t, "deep/er/run", "#!/bin/sh", ISOLA_TREE_PROGRAM);
    isola_tree_add(&t, &(struct isola_tree_entry){.path = (char *)"empty", .size = 0});
    isola_tree_add(&t, &(struct isola_tree_entry){.path = (char *)"deep/link",
                                                  .kind = ISOLA_TREE_LINK,
                                                  .target = (char *)"../a.js"});
    assert_int_equal(isola_tree_encode(&t, &bytes, &err), 0);
    assert_int_equal(mkdir(part, 0700), 0); /* as one that died would leave it */
    assert_int_equal(isola_cache_unpack(p->cache, &t, dir, NULL, &err), 0);
    assert_int_equal(access(part, F_OK), -1);
    char *text = read_file(dir, "deep/er/run", &mode);
    assert_string_equal(text, "#!/bin/sh");
    assert_int_equal(mode & 0700, 0700);
    free(text);
    text = read_file(dir, "deep/link", &mode);
    assert_string_equal(text, "export {}");
    assert_int_equal(mode & 0100, 0);
    free(text);
    text = read_file(dir, "empty", &mode);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(isola_cache_unpack(p->cache, &t, dir, NULL, &err), ISOLA_EEXIST);
    assert_int_equal(isola_dir_remove(dir), 0);
    assert_int_equal(isola_dir_remove(dir), 0);
    assert_int_equal(access(dir, F_OK), -1);
    isola_tree_free(&t);
    isola_buf_free(&bytes);
    free(dir);
    free(part);
}

/* What is below a directory, each with its mode, how many names it has, and what is in it: a text,
 * or where it leads. */
static struct isola_buf found;
static size_t found_below;

static int note_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    char text[100] = "";
    (void)ftw;
    if (flag == FTW_SL && readlink(path, text, sizeof(text) - 1) < 0)
        return -1;
    if (flag == FTW_F) {
        mode_t mode;
        char *content = read_file("", path, &mode);
        snprintf(text, sizeof(text), "%s", content);
        free(content);
    }
    isola_buf_printf(&found, "%s %o %u %s\n", path + found_below, (unsigned)st->st_mode,
                     flag == FTW_F ? (unsigned)st->st_nlink : 0, text);
    return 0;
}

/* The lines of a walk are in no order: those of both are there, and as many. */
static void same_trees(const char *a, const char *b)
{
    struct isola_buf first;
    const char *dirs[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        if (i == 1)
            first = found;
        found = (struct isola_buf){0};
        found_below = strlen(dirs[i]);
        assert_int_equal(nftw(dirs[i], note_one, 16, FTW_PHYS), 0);
    }
    assert_int_equal(first.len, found.len);
    const char *all = isola_buf_cstr(&found);
    for (char *line = strtok(isola_buf_cstr(&first), "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strstr(all, line) == NULL)
            fail_msg("not there: %s", line);
    isola_buf_free(&first);
    isola_buf_free(&found);
    found = (struct isola_buf){0};
}

static void shell(const char *dir, const char *command)
{
    char *all = isola_format("cd '%s' && %s", dir, command);
    if (system(all) != 0)
        fail_msg("%s", all);
    free(all);
}

static ino_t inode(const char *dir, const char *name)
{
    struct stat st;
    char *path = isola_format("%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    free(path);
    return st.st_ino;
}

/* What a program may do to its files, one after the other: the next release is as if written anew,
 * and nothing that is not below the directory is touched. */
static void believes_nothing_of_what_is_spare(void **state)
{
    static const char *const done[] = {
        "true",
        "printf 'export no' > a.js", /* not as long */
        "printf 'EXPORT {}' > a.js",
        "printf ' more' >> a.js",
        "chmod 600 a.js",
        "chmod 755 a.js",
        "rm a.js",
        "rm a.js && mkdir a.js && touch a.js/x",
        "rm a.js && mkfifo a.js",
        "rm a.js && ln -s b.js a.js",
        "cp a.js ../same && rm a.js && ln -s ../same a.js",
        "ln a.js ../another",
        "touch new && mkdir dir && touch dir/new deep/er/new && ln -s /etc dir/etc",
        "rm -r deep && ln -s ../outside deep",
        "rm -r deep && touch deep",
        "chmod 700 deep",
        "chmod 777 .",
        "rm deep/link && ln -s ../b.js deep/link",
        "rm deep/link && touch deep/link",
        "rm deep/er/run && mkdir -p deep/er/run/below",
        "rm -r deep a.js b.js",
    };
    struct place *p = *state;
    struct isola_err err;
    char *outside = isola_format("%s/outside", p->dir), *spare = isola_format("%s/spare", p->dir);
    char *fresh = isola_format("%s/fresh", p->dir), *again = isola_format("%s/again", p->dir);
    struct isola_tree t[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        struct isola_buf bytes = {0};
        add(p, &t[i], "a.js", "export {}", ISOLA_TREE_FILE);
        add(p, &t[i], "b.js", i == 0 ? "first" : "second", ISOLA_TREE_FILE);
        add(p, &t[i], "deep/er/run", "#!/bin/sh", ISOLA_TREE_PROGRAM);
        add(p, &t[i], i == 0 ? "only/one" : "only", "it", ISOLA_TREE_FILE);
        isola_tree_add(&t[i], &(struct isola_tree_entry){.path = (char *)"deep/link",
                                                         .kind = ISOLA_TREE_LINK,
                                                         .target = (char *)"../a.js"});
        assert_int_equal(isola_tree_encode(&t[i], &bytes, &err), 0);
        isola_buf_free(&bytes);
    }
    assert_int_equal(isola_cache_unpack(p->cache, &t[1], fresh, NULL, &err), 0);
    assert_int_equal(isola_cache_unpack(p->cache, &t[1], outside, spare, &err), 0); /* none */
    for (size_t i = 0; i < sizeof(done) / sizeof(*done); i++) {
        assert_int_equal(isola_cache_unpack(p->cache, &t[0], spare, NULL, &err), 0);
        ino_t of = inode(spare, "deep/er/run");
        shell(spare, done[i]);
        assert_int_equal(isola_cache_unpack(p->cache, &t[1], again, spare, &err), 0);
        assert_int_equal(access(spare, F_OK), -1);
        same_trees(fresh, again);
        same_trees(fresh, outside);
        if (i == 0)
            assert_true(inode(again, "deep/er/run") == of); /* it was not written again */
        assert_int_equal(isola_dir_remove(again), 0);
    }
    for (size_t i = 0; i < 2; i++)
        isola_tree_free(&t[i]);
    free(outside);
    free(spare);
    free(fresh);
    free(again);
}

static void leaves_no_half_of_a_tree(void **state)
{
    struct place *p = *state;
    struct isola_tree t = {0};
    struct isola_err err;
    char *dir = isola_format("%s/app", p->dir), *part = isola_format("%s/app.part", p->dir);
    struct isola_hash unknown = isola_hash_of(isola_slice_str("nowhere")), *lacks = NULL;
    size_t n = 0;
    add(p, &t, "a", "there", ISOLA_TREE_FILE);
    isola_tree_add(&t,
                   &(struct isola_tree_entry){.path = (char *)"b", .size = 7, .pieces = &unknown});
    assert_int_equal(isola_cache_lacks(p->cache, &t, &lacks, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_memory_equal(lacks, &unknown, sizeof(unknown));
    assert_int_equal(isola_cache_unpack(p->cache, &t, dir, NULL, &err), ISOLA_ENOENT);
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(access(part, F_OK), -1);
    free(lacks);
    isola_tree_free(&t);
    free(dir);
    free(part);
}

static void drops_what_nobody_has(void **state)
{
    struct place *p = *state;
    struct isola_tree t = {0};
    const struct isola_tree *trees[] = {&t};
    struct isola_cache_counts gone, all, used;
    struct isola_err err;
    add(p, &t, "a", "kept", ISOLA_TREE_FILE);
    put(p, "not any more");
    assert_int_equal(isola_cache_collect(p->cache, trees, 1, 1000, &gone, &err), 0);
    assert_int_equal(gone.pieces, 0); /* it is too young */
    assert_int_equal(isola_cache_collect(p->cache, trees, 1, INT64_MAX, &gone, &err), 0);
    assert_int_equal(gone.pieces, 1);
    assert_int_equal(gone.bytes, 12);
    assert_int_equal(isola_cache_count(p->cache, trees, 1, &all, &used, &err), 0);
    assert_int_equal(all.pieces, 1);
    assert_int_equal(used.bytes, 4);
    isola_tree_free(&t);
}

/* Of the file alone: what its log has goes into it. */
static off_t size_of_file(const struct place *p)
{
    struct stat st;
    assert_int_equal(stat(p->db, &st), 0);
    return st.st_size;
}

static void gives_its_room_back(void **state)
{
    struct place *p = *state;
    struct isola_cache_counts gone;
    struct isola_err err;
    size_t large = ISOLA_PIECE_MAX;
    uint8_t *bytes = isola_zalloc(large);
    for (uint8_t i = 0; i < 6; i++) { /* more than is given back at a time, and than the log has */
        struct isola_slice piece = isola_slice(bytes, large);
        bytes[0] = i;
        assert_int_equal(isola_cache_put(p->cache, &piece, 1, &err), 0);
    }
    assert_true(size_of_file(p) > (off_t)large);
    assert_int_equal(isola_cache_collect(p->cache, NULL, 0, INT64_MAX, &gone, &err), 0);
    assert_int_equal(gone.pieces, 6);
    assert_true(size_of_file(p) < 64 << 10);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_what_was_put, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_no_piece_that_is_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drops_what_is_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_trees, set_up, tear_down),
        cmocka_unit_test_setup_teardown(believes_nothing_of_what_is_spare, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_no_half_of_a_tree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drops_what_nobody_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gives_its_room_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
