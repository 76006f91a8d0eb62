/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalog: what goes in comes out, the higher revision wins, deploys and canaries are known.
 */
#include "release_harness.h"

#include <sqlite3.h>
#include <unistd.h>

#include "base/canary.h"
#include "store/deploys.h"
#include "store/gone.h"
#include "store/secrets.h"
#include "store/sqlite.h"
#include "tests/tempdir.h"

static char dir[TEMPDIR_SIZE];
static char path[96];

static int make_dir(void **state)
{
    (void)state;
    if (tempdir_make(dir) != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    return 0;
}
static int remove_dir(void **state)
{
    (void)state;
    return tempdir_remove(dir);
}

static struct isola_catalog *opened(void)
{
    struct isola_catalog *c = NULL;
    struct isola_err err = {0};
    if (isola_catalog_open(path, &c, &err) != 0)
        fail_msg("%s", err.text);
    return c;
}

static int put(struct isola_catalog *c, const struct wire *w, struct isola_err *err)
{
    struct isola_release *r = decoded(w);
    int code = isola_catalog_put(c, r, err);
    isola_release_free(r);
    return code;
}

static void is_current(struct isola_catalog *c, const struct wire *w)
{
    struct isola_release *expected = decoded(w), *r = NULL;
    struct isola_err err = {0};
    if (isola_catalog_current(c, w->app, &r, &err) != 0)
        fail_msg("%s", err.text);
    same_release(r, expected);
    assert_int_equal(r->revision, w->revision);
    assert_true(r->deployed_ms > 0);
    isola_release_free(r);
    isola_release_free(expected);
}

static void sql(const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void keeps_the_current_release(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_release *r = NULL;
    struct wire v4 = good;
    v4.code = "changed";
    v4.revision = 4;
    struct isola_catalog *c = opened();
    assert_int_equal(isola_catalog_revision(c), 0);
    assert_int_equal(isola_catalog_current(c, "shop", &r, &err), ISOLA_ENOENT);
    assert_string_equal(err.text, "no app \"shop\" is deployed");
    assert_int_equal(put(c, &good, &err), 0);
    is_current(c, &good);
    assert_int_equal(put(c, &v4, &err), 0);
    assert_int_equal(isola_catalog_revision(c), 4);
    is_current(c, &v4);
    isola_catalog_close(c);
    c = opened();
    is_current(c, &v4);
    struct wire back = good; /* the old content again */
    back.revision = 5;
    assert_int_equal(put(c, &back, &err), 0);
    is_current(c, &back);
    isola_catalog_close(c);
}

static void refuses_what_comes_too_late(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_catalog *c = opened();
    struct wire late = good, tie = good;
    assert_int_equal(put(c, &good, &err), 0);
    assert_int_equal(put(c, &good, &err), 0); /* twice is once */
    late.revision = 2;
    assert_int_equal(put(c, &late, &err), ISOLA_EEXIST);
    assert_string_equal(err.text, "release 05f7a6054c32568f of app \"shop\" at revision 2 comes "
                                  "too late: 05f7a6054c32568f is "
                                  "current since revision 3");
    is_current(c, &good);
    /* Two nodes deployed at once: whichever comes first, the same one stays. */
    struct isola_release *a = decoded(&good), *b;
    tie.code = "other";
    b = decoded(&tie);
    bool a_wins = strcmp(a->id, b->id) > 0;
    assert_int_equal(isola_catalog_put(c, b, &err), a_wins ? ISOLA_EEXIST : 0);
    assert_int_equal(isola_catalog_put(c, a, &err), a_wins ? 0 : ISOLA_EEXIST);
    is_current(c, a_wins ? &good : &tie);
    isola_release_free(a);
    isola_release_free(b);
    isola_catalog_close(c);
}

static void refuses_what_is_not_its_id(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_catalog *c = opened();
    struct isola_release *r = decoded(&good);
    memcpy(r->id, "0123456789abcdef", sizeof(r->id));
    assert_int_equal(isola_catalog_put(c, r, &err), ISOLA_EINVAL);
    assert_string_equal(
        err.text, "release 0123456789abcdef of app \"shop\" has the content of 05f7a6054c32568f");
    isola_release_identify(r);
    r->revision = 0;
    assert_int_equal(isola_catalog_put(c, r, &err), ISOLA_EINVAL);
    isola_release_free(r);
    assert_int_equal(isola_catalog_revision(c), 0);
    isola_catalog_close(c);
}

static void collect(const struct isola_release *r, void *arg)
{
    char *names = arg;
    strcat(names, r->app);
    strcat(names, " ");
}

static void goes_through_all_apps(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_catalog *c = opened();
    char names[100] = "";
    assert_int_equal(isola_catalog_each(c, collect, names, &err), 0);
    assert_string_equal(names, "");
    static const char *const apps[] = {"zoo", "bank", "mail"};
    for (size_t i = 0; i < 3; i++) {
        char manifest[100];
        snprintf(manifest, sizeof(manifest),
                 "{\"name\":\"%s\",\"actors\":{\"A\":{\"module\":\"a.js\"}}}", apps[i]);
        struct wire w = {
            .app = apps[i], .manifest = manifest, .types = {"A"}, .code = "x", .revision = 10 + i};
        assert_int_equal(put(c, &w, &err), 0);
    }
    assert_int_equal(isola_catalog_each(c, collect, names, &err), 0);
    assert_string_equal(names, "bank mail zoo ");
    assert_int_equal(isola_catalog_revision(c), 12);
    isola_catalog_close(c);
}

static void notices_a_damaged_release(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_release *r = NULL;
    struct isola_catalog *c = opened();
    char names[100] = "", expected[400];
    struct wire other = {.app = "zoo",
                         .manifest = "{\"name\":\"zoo\",\"actors\":{\"A\":{\"module\":\"a.js\"}}}",
                         .types = {"A"},
                         .code = "x",
                         .revision = 1};
    assert_int_equal(put(c, &good, &err), 0);
    assert_int_equal(put(c, &other, &err), 0);
    isola_catalog_close(c);
    sql("UPDATE release SET content = CAST(replace(CAST(content AS TEXT), 'export', 'damage')"
        " AS BLOB) WHERE app = 'shop'");
    c = opened();
    assert_int_equal(isola_catalog_current(c, "shop", &r, &err), ISOLA_EIO);
    assert_null(r);
    assert_non_null(strstr(err.text, " is damaged ("));
    assert_non_null(strstr(err.text, "deploy the app again"));
    snprintf(expected, sizeof(expected), "release 05f7a6054c32568f in %s", path);
    assert_memory_equal(err.text, expected, strlen(expected));
    assert_int_equal(isola_catalog_each(c, collect, names, &err), ISOLA_EIO);
    assert_string_equal(names, "zoo "); /* the others are not concerned */
    assert_int_equal(put(c, &good, &err), 0);
    is_current(c, &good); /* as the sentence promised */
    isola_catalog_close(c);
}

static void note_prepared(const char *type, const char *key, struct isola_slice code, void *arg)
{
    char *out = arg;
    sprintf(out + strlen(out), "%s %s %.*s;", type, key, ISOLA_FMT(code));
}

static const char *prepared(struct isola_catalog *c, const char *release, int expected)
{
    static char list[200];
    struct isola_err err = {0};
    list[0] = '\0';
    assert_int_equal(isola_catalog_prepared(c, release, note_prepared, list, &err), expected);
    return list;
}

static void keeps_what_is_prepared_of_current_releases(void **state)
{
    (void)state;
    static const char id[] = "05f7a6054c32568f";
    struct isola_err err = {0};
    struct isola_catalog *c = opened();
    struct isola_slice one = isola_slice_str("one"), two = isola_slice_str("two");
    assert_int_equal(isola_catalog_prepare(c, id, "Cart", "k", one, &err), ISOLA_ENOENT);
    assert_int_equal(put(c, &good, &err), 0);
    assert_int_equal(isola_catalog_prepare(c, id, "Cart", "k", one, &err), 0);
    assert_int_equal(isola_catalog_prepare(c, id, "User", "k", one, &err), 0);
    assert_int_equal(isola_catalog_prepare(c, id, "Cart", "k2", two, &err), 0); /* instead */
    isola_catalog_close(c);
    c = opened();
    assert_string_equal(prepared(c, id, 0), "Cart k2 two;User k one;");
    isola_catalog_close(c);

    /* A changed byte, or what belongs to another type or key, is noticed; the rest is had. */
    static const char *const damages[] = {"code = CAST('onf' AS BLOB)", "key = 'k3'", "digest = 5",
                                          "code = CAST('' AS BLOB)"};
    for (size_t i = 0; i < 4; i++) {
        char text[200];
        snprintf(text, sizeof(text), "UPDATE prepared SET %s WHERE type = 'User'", damages[i]);
        sql(text);
        c = opened();
        assert_string_equal(prepared(c, id, ISOLA_EIO), "Cart k2 two;");
        assert_int_equal(isola_catalog_prepare(c, id, "User", "k", one, &err), 0);
        assert_string_equal(prepared(c, id, 0), "Cart k2 two;User k one;");
        isola_catalog_close(c);
    }

    c = opened();
    struct wire other = good;
    other.code = "changed";
    other.revision = 9;
    assert_int_equal(put(c, &other, &err), 0);
    assert_string_equal(prepared(c, id, 0), ""); /* gone with the release */
    isola_catalog_close(c);
}

/* A catalog as the release before wrote it. */
static void takes_over_schema_1(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_catalog *c = opened();
    assert_int_equal(put(c, &good, &err), 0);
    isola_catalog_close(c);
    sql("DROP TABLE prepared; DROP TABLE deploy; DROP TABLE files; DROP TABLE secret; "
        "DROP TABLE gone; DROP TABLE canary; PRAGMA user_version = 1");
    c = opened();
    is_current(c, &good);
    struct isola_deploys deploys;
    assert_int_equal(isola_catalog_deploys(c, "shop", &deploys, &err), 0);
    assert_int_equal(deploys.count, 1); /* that it was deployed is known, by whom not */
    assert_string_equal(deploys.list[0].release, "05f7a6054c32568f");
    assert_int_equal(deploys.list[0].revision, good.revision);
    assert_string_equal(deploys.list[0].by, "");
    isola_deploys_free(&deploys);
    assert_int_equal(
        isola_catalog_prepare(c, "05f7a6054c32568f", "Cart", "k", isola_slice_str("one"), &err), 0);
    isola_catalog_close(c);
}

/* The deploys of "shop", newest first: the last letters of what they deployed, a roll-back's in
 * brackets. */
static void deploys_are(struct isola_catalog *c, const char *expected)
{
    struct isola_deploys deploys;
    struct isola_err err = {0};
    char letters[400] = "";
    assert_int_equal(isola_catalog_deploys(c, "shop", &deploys, &err), 0);
    for (size_t i = 0; i < deploys.count; i++) {
        const struct isola_deploy *d = &deploys.list[i];
        bool back = d->restores != 0;
        snprintf(letters + strlen(letters), sizeof(letters) - strlen(letters), "%s%s%s",
                 back ? "(" : "", d->message, back ? ")" : "");
        assert_string_equal(d->by, "ada@here");
    }
    assert_string_equal(letters, expected);
    isola_deploys_free(&deploys);
}

/* Of code made of that one letter. */
static struct isola_release *of_letter(char letter, uint64_t revision)
{
    char name[2] = {letter, '\0'};
    struct wire w = good;
    w.code = name;
    w.revision = revision;
    struct isola_release *r = decoded(&w);
    r->by = isola_strdup("ada@here");
    r->message = isola_strdup(name);
    return r;
}

static void deploys(struct isola_catalog *c, char letter, uint64_t revision, uint64_t restores)
{
    struct isola_err err = {0};
    struct isola_release *r = of_letter(letter, revision);
    r->restores = restores;
    if (isola_catalog_put(c, r, &err) != 0)
        fail_msg("%s", err.text);
    isola_release_free(r);
}

/* The letter of the deploy that a roll-back goes to; '-': none. */
static char back(struct isola_catalog *c)
{
    struct isola_deploys list;
    struct isola_err err = {0};
    assert_int_equal(isola_catalog_deploys(c, "shop", &list, &err), 0);
    const struct isola_deploy *d = isola_deploys_back(&list);
    char letter = '-';
    if (d != NULL)
        letter = d->message[0];
    isola_deploys_free(&list);
    return letter;
}

static void knows_the_way_back(void **state)
{
    (void)state;
    struct isola_catalog *c = opened();
    deploys(c, 'a', 1, 0);
    assert_int_equal(back(c), '-');
    deploys(c, 'b', 2, 0);
    deploys(c, 'c', 3, 0);
    assert_int_equal(back(c), 'b');
    deploys(c, 'b', 4, 2);
    assert_int_equal(back(c), 'a'); /* not forth to what was left */
    deploys(c, 'd', 5, 0);
    assert_int_equal(back(c), 'b');
    deploys(c, 'b', 6, 2);
    assert_int_equal(back(c), 'a');
    deploys(c, 'a', 7, 1);
    assert_int_equal(back(c), '-');
    deploys(c, 'd', 8, 5); /* forth, by its id */
    assert_int_equal(back(c), 'b');
    deploys_are(c, "(d)(a)(b)d(b)cba");
    isola_catalog_close(c);
}

/* Tries `letter` beside `current`. */
static void tries(struct isola_catalog *c, char current, char letter, uint64_t revision)
{
    struct isola_err err = {0};
    struct isola_release *r = of_letter(current, revision);
    r->candidate = of_letter(letter, 0);
    r->share = 100000;
    if (isola_roster_add(&r->roster, isola_slice_str("west"), 2, &err) != 0 ||
        isola_roster_add(&r->roster, isola_slice_str("east"), 8, &err) != 0)
        fail_msg("%s", err.text);
    r->message[0] = letter;
    if (isola_catalog_put(c, r, &err) != 0)
        fail_msg("%s", err.text);
    isola_release_free(r);
}

static void keeps_a_canary_beside_the_current_release(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_release *r = NULL, *b = of_letter('b', 0), *a = of_letter('a', 0);
    struct isola_catalog *c = opened();
    deploys(c, 'a', 1, 0);
    tries(c, 'a', 'b', 2);
    assert_int_equal(isola_catalog_current(c, "shop", &r, &err), 0);
    assert_string_equal(r->id, a->id);
    assert_int_equal(r->revision, 2);
    assert_int_equal(r->share, 100000);
    same_release(r->candidate, b);
    struct isola_buf wire = {0}; /* as it goes to other nodes */
    isola_mp_map(&wire, 4 + ISOLA_RELEASE_CANARY_PAIRS);
    isola_mp_kstr(&wire, "app", r->app);
    isola_release_put_content(r, &wire);
    isola_mp_kuint(&wire, "revision", r->revision);
    isola_release_put_canary(r, &wire);
    isola_release_free(r);
    assert_int_equal(isola_release_decode(isola_buf_slice(&wire), &r, &err), 0);
    same_release(r->candidate, b);
    assert_int_equal(r->share, 100000);
    assert_int_equal(r->roster.n, 2);
    assert_string_equal(r->roster.nodes[1].name, "west");
    isola_release_free(r);
    isola_buf_free(&wire);
    assert_int_equal(back(c), '-'); /* it was never current */
    assert_int_equal(isola_catalog_prepare(c, b->id, "A", "k", isola_slice_str("one"), &err), 0);
    isola_catalog_close(c);
    c = opened();
    assert_int_equal(isola_catalog_current(c, "shop", &r, &err), 0);
    assert_non_null(r->candidate);
    assert_int_equal(r->roster.n, 2);
    assert_string_equal(r->roster.nodes[0].name, "east");
    assert_int_equal(r->roster.nodes[0].processors, 8);
    isola_release_free(r);
    for (char letter = 'c'; letter <= 'z'; letter++)
        tries(c, 'a', letter, (uint64_t)letter);
    deploys(c, 'a', 200, 1); /* dropped: what is current has stayed all the time */
    assert_int_equal(isola_catalog_current(c, "shop", &r, &err), 0);
    assert_null(r->candidate);
    assert_string_equal(r->id, a->id);
    isola_release_free(r);
    assert_int_equal(isola_catalog_release(c, "shop", b->id, &r, &err), ISOLA_ENOENT);
    tries(c, 'a', 'b', 201);
    deploys(c, 'b', 202, 0); /* promoted */
    assert_int_equal(back(c), 'a');
    isola_catalog_close(c);
    isola_release_free(a);
    isola_release_free(b);
}

/* Of the deploy that made current what is. */
static char current_deploy(struct isola_catalog *c)
{
    struct isola_deploys list;
    struct isola_err err = {0};
    assert_int_equal(isola_catalog_deploys(c, "shop", &list, &err), 0);
    const struct isola_deploy *d = isola_deploys_current(&list);
    char letter = d != NULL ? d->message[0] : '-';
    isola_deploys_free(&list);
    return letter;
}

/* More canaries than releases are kept, one of them of what was gone back from: that one stays in
 * the list, and is not taken for what is current. */
static void many_canaries_hide_no_roll_back(void **state)
{
    (void)state;
    struct isola_catalog *c = opened();
    uint64_t revision = 5;
    deploys(c, 'a', 1, 0);
    deploys(c, 'b', 2, 0);
    deploys(c, 'a', 3, 1);
    tries(c, 'a', 'b', 4);
    for (char letter = 'c'; letter < 'c' + ISOLA_RELEASES_KEPT - 1; letter++)
        tries(c, 'a', letter, revision++);
    assert_int_equal(current_deploy(c), 'a');
    assert_int_equal(back(c), '-');
    deploys(c, 'z', revision++, 0);
    tries(c, 'z', 'b', revision++);
    for (char letter = 'c'; letter < 'c' + ISOLA_RELEASES_KEPT - 1; letter++)
        tries(c, 'z', letter, revision++);
    assert_int_equal(current_deploy(c), 'z');
    assert_int_equal(back(c), 'a');
    isola_catalog_close(c);
}

static void refuses_canaries_that_lie(void **state)
{
    (void)state;
    static const struct {
        uint32_t share;
        char candidate;
        const char *text;
    } bad[] = {
        {0, 'b', "release: \"share\" of its canary must be a whole number from 1 to 999999"},
        {1000000, 'b', "release: \"share\" of its canary must be a whole number from 1 to 999999"},
        {5, 'a', "release: its canary must be another release of app \"shop\""}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct isola_release *a = of_letter('a', 0), *r = NULL;
        struct isola_buf wire = {0};
        struct isola_err err = {0};
        a->candidate = of_letter(bad[i].candidate, 0);
        a->share = bad[i].share;
        isola_mp_map(&wire, 3 + ISOLA_RELEASE_CANARY_PAIRS);
        isola_mp_kstr(&wire, "app", a->app);
        isola_release_put_content(a, &wire);
        isola_release_put_canary(a, &wire);
        assert_int_equal(isola_release_decode(isola_buf_slice(&wire), &r, &err), ISOLA_EINVAL);
        assert_string_equal(err.text, bad[i].text);
        isola_release_free(a);
        isola_buf_free(&wire);
    }
}

static void shares_only_grow(void **state)
{
    (void)state;
    unsigned tenth = 0;
    for (int i = 0; i < 10000; i++) {
        char address[40];
        snprintf(address, sizeof(address), "shop/Counter/user-%d", i);
        struct isola_slice a = isola_slice_str(address);
        bool in = false;
        for (uint32_t share = 0; share <= ISOLA_CANARY_WHOLE; share += ISOLA_CANARY_WHOLE / 20) {
            assert_true(!in || isola_canary_has(a, share));
            in = isola_canary_has(a, share);
        }
        assert_true(in);
        tenth += isola_canary_has(a, ISOLA_CANARY_WHOLE / 10);
    }
    assert_in_range(tenth, 850, 1150);
}

static void keeps_the_last_releases(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_release *r = NULL;
    struct isola_catalog *c = opened();
    for (char letter = 'a'; letter <= 'l'; letter++)
        deploys(c, letter, (uint64_t)(letter - 'a') + 1, 0);
    deploys_are(c, "lkjihgfedc");
    struct wire w = good;
    w.code = "b";
    struct isola_release *gone = decoded(&w);
    assert_int_equal(isola_catalog_release(c, "shop", gone->id, &r, &err), ISOLA_ENOENT);
    isola_release_free(gone);
    w.code = "c";
    struct isola_release *kept = decoded(&w);
    assert_int_equal(isola_catalog_release(c, "shop", kept->id, &r, &err), 0);
    same_release(r, kept);
    isola_release_free(r);
    assert_int_equal(isola_catalog_release(c, "zoo", kept->id, &r, &err), ISOLA_ENOENT);
    isola_release_free(kept);
    /* Far back, and then others that are rolled back each: the way further back stays. */
    deploys(c, 'd', 20, 4);
    for (char letter = 'm'; letter <= 'z'; letter++) {
        uint64_t revision = 21 + 2 * (uint64_t)(letter - 'm');
        deploys(c, letter, revision, 0);
        assert_int_equal(back(c), 'd');
        deploys(c, 'd', revision + 1, 4);
        assert_int_equal(back(c), 'c');
    }
    isola_catalog_close(c);
}

static void learns_deploys_of_others(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_catalog *c = opened();
    struct isola_deploys list = {0}, again = {0};
    struct isola_buf b = {0};
    deploys(c, 'a', 2, 0);
    deploys(c, 'b', 5, 0);
    assert_int_equal(isola_catalog_deploys(c, "shop", &list, &err), 0);
    isola_deploys_write(&list, &b);
    assert_int_equal(isola_deploys_read(isola_buf_slice(&b), &again, &err), 0);
    assert_int_equal(again.count, 2);
    assert_string_equal(again.list[1].message, "a");
    again.list[1].revision = 1;
    strcpy(again.list[0].message, "x"); /* is known already: stays */
    assert_int_equal(isola_catalog_learn(c, "shop", &again, &err), 0);
    deploys_are(c, "baa");
    isola_deploys_free(&again);
    /* Whatever is cut off or in disorder is refused whole. */
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(isola_deploys_read(isola_slice(b.data, n), &again, &err), ISOLA_EPROTO);
        assert_int_equal(again.count, 0);
    }
    struct isola_deploy first = list.list[0];
    list.list[0] = list.list[1];
    list.list[1] = first;
    isola_buf_free(&b);
    isola_deploys_write(&list, &b);
    assert_int_equal(isola_deploys_read(isola_buf_slice(&b), &again, &err), ISOLA_EPROTO);
    isola_buf_free(&b);
    isola_deploys_free(&list);
    isola_catalog_close(c);
}

static void finds_by_the_beginning_of_an_id(void **state)
{
    (void)state;
    struct isola_err err = {0};
    const struct isola_deploy *found = NULL;
    struct isola_deploy three[] = {{.revision = 3, .release = "aa00000000000000"},
                                   {.revision = 2, .release = "ab00000000000000"},
                                   {.revision = 1, .release = "aa00000000000000"}};
    struct isola_deploys list = {three, 3};
    assert_int_equal(isola_deploys_find(&list, "shop", isola_slice_str("aa"), &found, &err), 0);
    assert_int_equal(found->revision, 3);
    assert_int_equal(isola_deploys_find(&list, "shop", isola_slice_str("a"), &found, &err),
                     ISOLA_EINVAL);
    assert_string_equal(err.text, "2 releases of app \"shop\" begin with a: aa00000000000000, "
                                  "ab00000000000000; give more of it");
    assert_int_equal(isola_deploys_find(&list, "shop", isola_slice_str("b"), &found, &err),
                     ISOLA_ENOENT);
    assert_string_equal(err.text, "app \"shop\" has no release b; those it has are "
                                  "aa00000000000000, ab00000000000000");
    static const char *const bad[] = {"", "x", "aa000000000000000", "AA"};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(isola_deploys_find(&list, "shop", isola_slice_str(bad[i]), &found, &err),
                         ISOLA_EINVAL);
}

static void refuses_a_newer_schema(void **state)
{
    (void)state;
    struct isola_err err = {0};
    struct isola_catalog *c = opened();
    isola_catalog_close(c);
    c = NULL;
    char text[100];
    snprintf(text, sizeof(text), "PRAGMA user_version = %d", ISOLA__CATALOG_SCHEMA + 1);
    sql(text);
    assert_int_equal(isola_catalog_open(path, &c, &err), ISOLA_ESCHEMA);
    snprintf(text, sizeof(text),
             "a newer version of Isola (schema %d, this one knows %d): ", ISOLA__CATALOG_SCHEMA + 1,
             ISOLA__CATALOG_SCHEMA);
    assert_non_null(strstr(err.text, text));
    assert_null(c);
}

/* --- deletions and secrets --- */

static void add_gone(const struct isola_gone *g, void *arg)
{
    isola_buf_printf(arg, "%s %llu %s%s%s,", g->app, (unsigned long long)g->revision, g->by,
                     g->state ? " state" : "", g->todo ? " todo" : "");
}

static void add_secret(const struct isola_secret *s, void *arg)
{
    isola_buf_printf(arg, "%s/%s %llu %.*s,", s->app, s->name, (unsigned long long)s->revision,
                     ISOLA_FMT(s->sealed));
}

static void assert_there(struct isola_catalog *c, const char *gone, const char *secrets)
{
    struct isola_buf a = {0}, b = {0};
    struct isola_err err;
    assert_int_equal(isola_catalog_gone(c, add_gone, &a, &err), 0);
    assert_string_equal(isola_buf_cstr(&a), gone);
    assert_int_equal(isola_catalog_secrets(c, add_secret, &b, &err), 0);
    assert_string_equal(isola_buf_cstr(&b), secrets);
    isola_buf_free(&a);
    isola_buf_free(&b);
}

static void deletes_an_app(void **state)
{
    (void)state;
    struct isola_catalog *c = opened();
    struct isola_err err;
    struct isola_deploys deploys, before;
    struct isola_release *r = NULL;
    struct isola_buf sealed = {0};
    uint64_t revision = 0;
    const struct isola_secret secrets[] = {
        {.app = "shop", .name = "A", .revision = 3, .sealed = isola_slice_str("a")},
        {.app = "shop", .name = "B", .revision = 9, .sealed = isola_slice_str("b")},
        {.app = "other", .name = "A", .revision = 3, .sealed = isola_slice_str("c")},
        {.app = "other", .name = "B", .revision = 4}};
    assert_int_equal(put(c, &good, &err), 0);
    assert_int_equal(isola_catalog_put_secrets(c, secrets, 4, &err), 0);
    assert_int_equal(isola_catalog_secret(c, "shop", "B", &sealed, &revision, &err), 0);
    assert_int_equal(revision, 9);
    assert_int_equal(isola_catalog_secret(c, "other", "B", &sealed, &revision, &err), ISOLA_ENOENT);
    assert_int_equal(isola_catalog_revision(c), 9);
    assert_int_equal(isola_catalog_deploys(c, "shop", &before, &err), 0);
    struct isola_gone gone = {.app = "shop", .revision = 3, .by = "ada", .state = true};
    assert_int_equal(isola_catalog_delete(c, &gone, &err), ISOLA_EEXIST); /* as the current one */
    is_current(c, &good);
    gone.revision = 7;
    assert_int_equal(isola_catalog_delete(c, &gone, &err), 0);
    assert_int_equal(isola_catalog_delete(c, &gone, &err), ISOLA_EEXIST);
    assert_there(c, "shop 7 ada state todo,", "other/A 3 c,other/B 4 ,shop/B 9 b,");
    assert_int_equal(isola_catalog_current(c, "shop", &r, &err), ISOLA_ENOENT);
    assert_int_equal(isola_catalog_release(c, "shop", before.list[0].release, &r, &err),
                     ISOLA_ENOENT);
    assert_int_equal(isola_catalog_learn(c, "shop", &before, &err),
                     0); /* of a node that was away */
    assert_int_equal(isola_catalog_deploys(c, "shop", &deploys, &err), 0);
    assert_int_equal(deploys.count, 0);
    assert_int_equal(put(c, &good, &err), ISOLA_ECANCELED);
    assert_non_null(strstr(err.text, "the app was deleted at revision 7"));
    gone.revision = 8; /* what is to do stays to be done */
    gone.state = false;
    assert_int_equal(isola_catalog_delete(c, &gone, &err), 0);
    assert_there(c, "shop 8 ada todo,", "other/A 3 c,other/B 4 ,shop/B 9 b,");
    assert_int_equal(isola_catalog_wiped(c, "shop", &err), 0);
    isola_catalog_close(c);
    c = opened();
    struct wire again = good;
    again.revision = 10;
    assert_int_equal(put(c, &again, &err), 0);
    is_current(c, &again);
    assert_there(c, "shop 8 ada,", "other/A 3 c,other/B 4 ,shop/B 9 b,");
    isola_catalog_close(c);
    isola_deploys_free(&before);
    isola_deploys_free(&deploys);
    isola_buf_free(&sealed);
}

static void add_file_list(struct isola_slice files, void *arg)
{
    isola_buf_append(arg, files.data, files.len);
    isola_buf_puts(arg, "|");
}

static void assert_files(struct isola_catalog *c, const char *expected)
{
    struct isola_buf all = {0};
    struct isola_err err;
    assert_int_equal(isola_catalog_files(c, add_file_list, &all, &err), 0);
    assert_string_equal(isola_buf_cstr(&all), expected);
    isola_buf_free(&all);
}

/* Those of releases that have any; and of such as were stored when there was no table of them. */
static void lists_files_without_reading_releases(void **state)
{
    (void)state;
    struct isola_err err;
    struct isola_catalog *c = opened();
    struct isola_release *plain = NULL, *r = NULL;
    struct isola_buf b = encode(&good);
    assert_int_equal(isola_release_decode(isola_buf_slice(&b), &plain, &err), 0);
    assert_int_equal(isola_catalog_put(c, plain, &err), 0);
    assert_files(c, "");
    assert_int_equal(isola_release_decode(isola_buf_slice(&b), &r, &err), 0);
    r->files = isola_slice_str("the tree");
    r->revision++;
    isola_release_identify(r);
    assert_int_equal(isola_catalog_put(c, r, &err), 0);
    assert_int_equal(isola_catalog_put(c, r, &err), 0);
    assert_files(c, "the tree|");
    isola_catalog_close(c);
    sql("DROP TABLE files; DROP TABLE secret; DROP TABLE gone; DROP TABLE canary;"
        "ALTER TABLE deploy DROP COLUMN share; PRAGMA user_version = 3");
    c = opened();
    assert_files(c, "the tree|");
    isola_catalog_close(c);
    isola_release_free(plain);
    isola_release_free(r);
    isola_buf_free(&b);
}

int main(void)
{
#define CATALOG(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        CATALOG(keeps_the_current_release),
        CATALOG(refuses_what_comes_too_late),
        CATALOG(refuses_what_is_not_its_id),
        CATALOG(goes_through_all_apps),
        CATALOG(notices_a_damaged_release),
        CATALOG(keeps_what_is_prepared_of_current_releases),
        CATALOG(knows_the_way_back),
        CATALOG(keeps_a_canary_beside_the_current_release),
        CATALOG(many_canaries_hide_no_roll_back),
        cmocka_unit_test(refuses_canaries_that_lie),
        cmocka_unit_test(shares_only_grow),
        CATALOG(keeps_the_last_releases),
        CATALOG(learns_deploys_of_others),
        cmocka_unit_test(finds_by_the_beginning_of_an_id),
        CATALOG(lists_files_without_reading_releases),
        CATALOG(deletes_an_app),
        CATALOG(takes_over_schema_1),
        CATALOG(refuses_a_newer_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
