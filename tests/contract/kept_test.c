/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows that store/state.h keeps beside the state of an address: in one transaction with it,
 * read together, moved, listed, forgotten; through kill -9, a full disk, and a file of the schema
 * before.
 */
#include "state_harness.h"
#include "store/wipe.h"

static struct isola_kept row(int part, const char *peer, uint64_t seq, const char *value)
{
    return (struct isola_kept){.part = (uint8_t)part,
                               .gone = value == NULL,
                               .peer = isola_slice_str(peer),
                               .seq = seq,
                               .value = isola_slice_str(value != NULL ? value : "")};
}

static int write_at(struct isola_state *s, const char *address, const char *value, bool clear,
                    const struct isola_kept *rows, size_t n)
{
    struct wait w;
    prepare(&w, address);
    isola_state_write(
        s, &w.req,
        &(struct isola_state_change){.has_value = value != NULL,
                                     .clear = clear,
                                     .value = isola_slice_str(value != NULL ? value : ""),
                                     .rows = rows,
                                     .nrows = n});
    await(&w.done);
    int code = w.code;
    forget(&w);
    return code;
}

/* What is there: "value: part peer seq value, …", or "none". */
static const char *there(struct isola_state *s, const char *address)
{
    static char text[1000];
    struct wait w;
    prepare(&w, address);
    isola_state_get(s, &w.req);
    await(&w.done);
    if (w.code == ISOLA_ENOENT) {
        forget(&w);
        return "none";
    }
    assert_int_equal(w.code, 0);
    int n = snprintf(text, sizeof(text), "%s:", (const char *)w.value);
    for (size_t i = 0; i < w.rows.n; i++) {
        const struct isola_kept *r = &w.rows.row[i];
        n += snprintf(text + n, sizeof(text) - (size_t)n, " %u %.*s %llu %.*s,", r->part,
                      ISOLA_FMT(r->peer), (unsigned long long)r->seq, ISOLA_FMT(r->value));
    }
    forget(&w);
    return text;
}

static const char *outboxes(struct isola_state *s)
{
    static char text[1000];
    struct wait w;
    prepare(&w, "");
    isola_state_outboxes(s, &w.req);
    await(&w.done);
    assert_int_equal(w.code, 0);
    text[0] = '\0';
    for (size_t i = 0; i < w.rows.n; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s ",
                 ISOLA_FMT(w.rows.row[i].peer));
    forget(&w);
    return text;
}

/* What was read, of parts that are not read with the state: "peer value, …"; ends the wait. */
static const char *rows_of(struct wait *w)
{
    static char text[1000];
    await(&w->done);
    assert_int_equal(w->code, 0);
    text[0] = '\0';
    for (size_t i = 0; i < w->rows.n; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s %.*s,",
                 ISOLA_FMT(w->rows.row[i].peer), ISOLA_FMT(w->rows.row[i].value));
    forget(w);
    return text;
}

static const char *range(struct isola_state *s, const char *from, const char *to, size_t rows,
                         size_t bytes, bool reverse)
{
    struct isola_kept_range r = {.part = ISOLA_KEPT_ITEM,
                                 .reverse = reverse,
                                 .from = isola_slice_str(from),
                                 .to = isola_slice_str(to),
                                 .rows = rows,
                                 .bytes = bytes};
    struct wait w;
    prepare(&w, "a/B/1");
    isola_state_range(s, &w.req, &r);
    return rows_of(&w);
}

static const char *due(struct isola_state *s, struct isola_kept_due d)
{
    struct wait w;
    prepare(&w, "");
    d.rows = d.rows > 0 ? d.rows : 100;
    isola_state_due(s, &w.req, &d);
    return rows_of(&w);
}

/* --- the tests --- */

static void reads_rows_by_name_and_in_ranges(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept items[] = {
        row(ISOLA_KEPT_ITEM, "b", 0, "two"),    row(ISOLA_KEPT_ITEM, "a", 0, "one"),
        row(ISOLA_KEPT_ITEM, "bb", 0, "three"), row(ISOLA_KEPT_ITEM, "\xf4\x8f\xbf\xbf", 0, "last"),
        row(ISOLA_KEPT_ITEM, "", 0, "empty"),   row(ISOLA_KEPT_PAGE, "", 3, "page"),
        row(ISOLA_KEPT_SENT, "", 0, "7")};
    assert_int_equal(write_at(s, "a/B/1", "v", false, items, 7), 0);
    struct isola_kept other = row(ISOLA_KEPT_ITEM, "a", 0, "another's");
    assert_int_equal(write_at(s, "a/B/2", "v", false, &other, 1), 0);
    assert_string_equal(there(s, "a/B/1"), "v: 1  0 7,"); /* the rest is not read with the state */
    assert_string_equal(range(s, "", "", 0, 0, false),
                        " empty,a one,b two,bb three,\xf4\x8f\xbf\xbf last,");
    assert_string_equal(range(s, "b", "c", 0, 0, false), "b two,bb three,");
    assert_string_equal(range(s, "", "", 2, 0, true), "\xf4\x8f\xbf\xbf last,bb three,");
    assert_string_equal(range(s, "a", "", 0, 8, false), "a one,b two,");
    assert_string_equal(range(s, "a", "", 0, 1, false), "a one,"); /* one in any case */
    assert_string_equal(range(s, "c", "d", 0, 0, false), "");
    struct isola_kept wanted[] = {row(ISOLA_KEPT_ITEM, "bb", 0, ""),
                                  row(ISOLA_KEPT_ITEM, "x", 0, ""),
                                  row(ISOLA_KEPT_ITEM, "a", 0, "")};
    struct wait w;
    prepare(&w, "a/B/1");
    isola_state_rows(s, &w.req, wanted, 3);
    assert_string_equal(rows_of(&w), "bb three,a one,");

    struct isola_buf page = {0};
    struct isola_err err;
    struct isola_kept name = row(ISOLA_KEPT_PAGE, "", 3, "");
    assert_int_equal(isola_state_row_wait(s, isola_slice_str("a/B/1"), &name, &page, &err), 0);
    assert_true(isola_slice_is(isola_buf_slice(&page), "page"));
    isola_buf_free(&page);
    name.seq = 4;
    assert_int_equal(isola_state_row_wait(s, isola_slice_str("a/B/1"), &name, &page, &err),
                     ISOLA_ENOENT);

    struct isola_kept gone = {.part = ISOLA_KEPT_ITEM, .gone = true, .whole = true};
    assert_int_equal(write_at(s, "a/B/1", NULL, false, &gone, 1), 0);
    assert_string_equal(range(s, "", "", 0, 0, false), "");
    assert_string_equal(there(s, "a/B/1"), "v: 1  0 7,");
    isola_state_close(s);
}

static void ask_here(struct isola_state *s, struct wait *w, const struct isola_kept *wanted)
{
    prepare(w, "a/B/1");
    isola_state_rows_here(s, &w->req, wanted, 1);
}

static void a_lone_row_is_read_by_who_asks(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept item = row(ISOLA_KEPT_ITEM, "a", 0, "1"), newer = item;
    struct isola_kept wanted = row(ISOLA_KEPT_ITEM, "a", 0, "");
    struct wait w, write;
    struct gate g;
    newer.value = isola_slice_str("2");
    assert_int_equal(write_at(s, "a/B/1", "v", false, &item, 1), 0);
    isola_state_close(s);
    s = open_state(); /* it is in the tables */
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        bool here = false;
        for (int tries = 0; tries < 10000 && !here; tries++) { /* until the thread sleeps */
            ask_here(s, &w, &wanted);
            pthread_mutex_lock(&lock);
            here = w.done;
            pthread_mutex_unlock(&lock);
            assert_string_equal(rows_of(&w), "a 1,");
        }
        assert_true(here);
        assert_int_equal(write_at(s, "a/B/1", "v", false, &item, 1), 0);
    }
    /* It sees a write that is under way, and never waits for it here. */
    shut_gate(s, &g);
    prepare(&write, "a/B/1");
    isola_state_write(s, &write.req, &(struct isola_state_change){.rows = &newer, .nrows = 1});
    ask_here(s, &w, &wanted);
    assert_false(w.done);
    open_gate(&g);
    assert_string_equal(rows_of(&w), "a 2,");
    await(&write.done);
    assert_int_equal(write.code, 0);
    forget(&write);
    isola_state_close(s);
}

/* The numbers of the pages there are, once by what is in memory or in the tables, once by name. */
static const char *pages_of(struct isola_state *s)
{
    static char text[100];
    struct isola_kept_range all = {.part = ISOLA_KEPT_PAGE};
    struct isola_kept named[5];
    struct wait w, by_name;
    prepare(&by_name, "a/B/1");
    for (size_t i = 0; i < 5; i++)
        named[i] = row(ISOLA_KEPT_PAGE, "", i, "");
    isola_state_rows(s, &by_name.req, named, 5);
    await(&by_name.done);
    prepare(&w, "a/B/1");
    isola_state_range(s, &w.req, &all);
    await(&w.done);
    text[0] = '\0';
    assert_int_equal(w.rows.n, by_name.rows.n);
    for (size_t i = 0; i < w.rows.n; i++) {
        assert_int_equal(w.rows.row[i].seq, by_name.rows.row[i].seq);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%llu ",
                 (unsigned long long)w.rows.row[i].seq);
    }
    forget(&w);
    forget(&by_name);
    return text;
}

/* One page, of a file that has become smaller; it may come again. */
static void a_page_without_bytes_is_removed(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept pages[] = {row(ISOLA_KEPT_PAGE, "", 0, "4"), row(ISOLA_KEPT_PAGE, "", 1, "a"),
                                 row(ISOLA_KEPT_PAGE, "", 2, "b"), row(ISOLA_KEPT_PAGE, "", 3, "c"),
                                 row(ISOLA_KEPT_PAGE, "", 4, "d")};
    struct isola_kept none[] = {row(ISOLA_KEPT_PAGE, "", 2, ""), row(ISOLA_KEPT_PAGE, "", 4, "")};
    assert_int_equal(write_at(s, "a/B/1", "v", false, pages, 5), 0);
    assert_string_equal(pages_of(s), "0 1 2 3 4 ");
    assert_int_equal(write_at(s, "a/B/1", NULL, false, none, 2), 0);
    assert_string_equal(pages_of(s), "0 1 3 ");
    isola_state_close(s);
    s = open_state(); /* all is in the tables */
    assert_string_equal(pages_of(s), "0 1 3 ");
    assert_int_equal(write_at(s, "a/B/1", NULL, false, &none[1], 1), 0);
    assert_int_equal(write_at(s, "a/B/1", NULL, false, &pages[4], 1), 0);
    assert_string_equal(pages_of(s), "0 1 3 4 ");
    assert_int_equal(write_at(s, "a/B/1", NULL, false, &none[1], 1), 0);
    isola_state_close(s);
    s = open_state();
    assert_string_equal(pages_of(s), "0 1 3 ");
    isola_state_close(s);
}

/* All there is, in pieces of so many bytes: each in brackets, behind the state. */
static const char *pieces(struct isola_state *s, size_t bytes)
{
    static char text[1000];
    struct isola_kept_after after = {.bytes = bytes};
    struct isola_buf last = {0};
    bool more = true;
    for (text[0] = '\0'; more;) {
        struct wait w;
        prepare(&w, "a/B/1");
        isola_state_piece(s, &w.req, &after);
        await(&w.done);
        if (w.code == ISOLA_ENOENT) {
            forget(&w);
            return "none";
        }
        assert_int_equal(w.code, 0);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s[", (int)w.len,
                 w.len > 0 ? (const char *)w.value : "");
        for (size_t i = 0; i < w.rows.n; i++) {
            const struct isola_kept *r = &w.rows.row[i];
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d %.*s %d %.*s,", r->part,
                     ISOLA_FMT(r->peer), (int)r->seq, ISOLA_FMT(r->value));
            assert_true(isola_kept_beyond(&after, r));
            after.part = r->part;
            after.seq = r->seq;
            last.len = 0;
            isola_buf_append(&last, r->peer.data, r->peer.len);
            after.peer = isola_buf_slice(&last);
            assert_false(isola_kept_beyond(&after, r));
        }
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "]");
        more = w.req.more;
        forget(&w);
    }
    isola_buf_free(&last);
    return text;
}

/* The last row, and the bytes of all. */
static const char *extent(struct isola_state *s)
{
    static char text[100];
    struct wait w;
    prepare(&w, "a/B/1");
    isola_state_extent(s, &w.req);
    await(&w.done);
    assert_int_equal(w.code, 0);
    text[0] = '\0';
    if (w.rows.n > 0)
        snprintf(text, sizeof(text), "%d %.*s %d: %d", w.rows.row[0].part,
                 ISOLA_FMT(w.rows.row[0].peer), (int)w.rows.row[0].seq,
                 (int)isola_kept_to_number(w.rows.row[0].value));
    forget(&w);
    return text;
}

static void reads_all_in_pieces(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    assert_string_equal(pieces(s, 0), "none");
    assert_string_equal(extent(s), "");
    struct isola_kept items[] = {
        row(ISOLA_KEPT_PAGE, "", 2, "p"), row(ISOLA_KEPT_PAGE, "", 10, "q"),
        row(ISOLA_KEPT_ITEM, "b", 0, "two"), row(ISOLA_KEPT_ITEM, "a", 0, "one"),
        row(ISOLA_KEPT_SENT, "", 0, "7")};
    assert_int_equal(write_at(s, "a/B/1", "v", false, items, 5), 0);
    struct isola_kept other = row(ISOLA_KEPT_PAGE, "z", 99, "another's");
    assert_int_equal(write_at(s, "a/B/2", "v", false, &other, 1), 0);
    for (int opened = 0; opened < 2; opened++) { /* pending, and in the tables */
        assert_string_equal(pieces(s, 0), "v[1  0 7,6 a 0 one,6 b 0 two,7  2 p,7  10 q,]");
        assert_string_equal(pieces(s, 5), "v[1  0 7,6 a 0 one,][6 b 0 two,7  2 p,][7  10 q,]");
        assert_string_equal(pieces(s, 1), "v[1  0 7,][6 a 0 one,][6 b 0 two,][7  2 p,][7  10 q,]");
        assert_string_equal(extent(s), "7  10: 11");
        isola_state_close(s);
        s = open_state();
    }
    struct isola_kept gone = {.part = ISOLA_KEPT_PAGE, .gone = true, .whole = true};
    assert_int_equal(write_at(s, "a/B/1", NULL, false, &gone, 1), 0);
    assert_string_equal(extent(s), "6 b 0: 9");
    isola_state_close(s);
}

static void add_address(void *arg, struct isola_slice address)
{
    isola_buf_append(arg, address.data, address.len);
    isola_buf_puts(arg, " ");
}

/* Of an app all, of others nothing; but the number of the last message that was sent. */
static void an_app_is_wiped(void **state)
{
    (void)state;
    char address[40];
    struct isola_state *s = open_state();
    struct isola_buf seen = {0};
    struct isola_err err;
    uint64_t n = 0;
    static const char *const others[] = {"shop2/A/1", "sho/A/1", "shop-x/A/1", "a/B/1"};
    struct isola_kept rows[] = {
        row(ISOLA_KEPT_SENT, "", 0, "12345678"), row(ISOLA_KEPT_OUTBOX, "a/B/1", 7, "message"),
        row(ISOLA_KEPT_ITEM, "k", 0, "item"), row(ISOLA_KEPT_TIMER, "t", 5, "timer"),
        row(ISOLA_KEPT_PAGE, "", 1, "page")};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(write_at(s, others[i], "v", false, rows, 5), 0);
    for (int i = 0; i < 1203; i++) { /* more than go at once */
        snprintf(address, sizeof(address), "shop/A/%d", i);
        assert_int_equal(write_at(s, address, i % 2 == 0 ? "v" : NULL, false, &rows[i == 0 ? 0 : 1],
                                  i == 0 ? 5 : 4),
                         0);
    }
    struct isola_slice shop = isola_slice_str("shop/");
    assert_int_equal(isola_state_wipe(s, shop, NULL, add_address, &seen, &n, &err), 0);
    assert_int_equal(n, 1203);
    assert_non_null(strstr(isola_buf_cstr(&seen), "shop/A/1202 "));
    assert_null(strstr(isola_buf_cstr(&seen), "shop2"));
    for (int opened = 0; opened < 2; opened++) { /* in memory, and in the tables */
        assert_string_equal(there(s, "shop/A/0"), ": 1  0 12345678,");
        assert_string_equal(there(s, "shop/A/1"), "none");
        assert_string_equal(there(s, "shop/A/1202"), "none");
        for (size_t i = 0; i < 4; i++)
            assert_string_equal(there(s, others[i]),
                                "v: 1  0 12345678, 2 a/B/1 7 message, 5 t 5 timer,");
        assert_int_equal(isola_state_wipe(s, shop, NULL, add_address, &seen, &n, &err), 0);
        assert_int_equal(n, 0); /* what is left of one is nothing */
        isola_state_close(s);
        s = open_state();
    }
    atomic_bool stop = true;
    assert_int_equal(write_at(s, "shop/A/1", "v", false, NULL, 0), 0);
    assert_int_equal(isola_state_wipe(s, shop, &stop, add_address, &seen, &n, &err),
                     ISOLA_ECANCELED);
    assert_string_equal(there(s, "shop/A/1"), "v:");
    isola_state_close(s);
    isola_buf_free(&seen);
}

/* All of a part goes, and what is put after it stays. */
static void a_whole_part_is_replaced(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept before[] = {row(ISOLA_KEPT_ITEM, "a", 0, "1"),
                                  row(ISOLA_KEPT_ITEM, "b", 0, "1"),
                                  row(ISOLA_KEPT_SENT, "", 0, "1")};
    struct isola_kept after[] = {row(ISOLA_KEPT_SENT, "", 0, "2"),
                                 {.part = ISOLA_KEPT_ITEM, .gone = true, .whole = true},
                                 row(ISOLA_KEPT_ITEM, "b", 0, "2"),
                                 row(ISOLA_KEPT_ITEM, "c", 0, "2")};
    assert_int_equal(write_at(s, "a/B/1", "v", false, before, 3), 0);
    assert_int_equal(write_at(s, "a/B/2", "v", false, before, 3), 0);
    assert_int_equal(write_at(s, "a/B/1", NULL, false, after, 4), 0);
    assert_string_equal(range(s, "", "", 0, 0, false), "b 2,c 2,");
    assert_string_equal(there(s, "a/B/1"), "v: 1  0 2,");
    assert_string_equal(there(s, "a/B/2"), "v: 1  0 1,");
    isola_state_close(s);
}

static void lists_timers_by_when_they_are_due(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept first[] = {row(ISOLA_KEPT_TIMER, "x", 30, "30"),
                                 row(ISOLA_KEPT_TIMER, "y", 10, "10")},
                      second[] = {row(ISOLA_KEPT_TIMER, "x", 20, "20"),
                                  row(ISOLA_KEPT_TIMER, "z", 10, "10")};
    assert_int_equal(write_at(s, "a/B/1", NULL, false, first, 2), 0);
    assert_int_equal(write_at(s, "a/B/2", NULL, false, second, 2), 0);
    assert_string_equal(due(s, (struct isola_kept_due){.until = 20}), "y a/B/1,z a/B/2,x a/B/2,");
    assert_string_equal(due(s, (struct isola_kept_due){.until = 9}), "");
    assert_string_equal(due(s, (struct isola_kept_due){.until = 30,
                                                       .due = 10,
                                                       .address = isola_slice_str("a/B/1"),
                                                       .id = isola_slice_str("y"),
                                                       .rows = 2}),
                        "z a/B/2,x a/B/2,");
    /* set anew: it has one time */
    struct isola_kept again[] = {
        {.part = ISOLA_KEPT_TIMER, .gone = true, .peer = isola_slice_str("y"), .seq = INT64_MAX},
        row(ISOLA_KEPT_TIMER, "y", 25, "25")};
    assert_int_equal(write_at(s, "a/B/1", NULL, false, again, 2), 0);
    assert_string_equal(due(s, (struct isola_kept_due){.until = 25}), "z a/B/2,x a/B/2,y a/B/1,");
    assert_string_equal(there(s, "a/B/1"), ": 5 x 30 30, 5 y 25 25,");
    isola_state_close(s);
}

static void keeps_rows_beside_the_state(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept rows[] = {
        row(ISOLA_KEPT_OUTBOX, "a/B/2", 2, "two"), row(ISOLA_KEPT_OUTBOX, "a/B/2", 1, "one"),
        row(ISOLA_KEPT_SENT, "", 0, "2"), row(ISOLA_KEPT_DONE, "~x", 0, "")};
    assert_int_equal(write_at(s, "a/B/1", "v", false, rows, 4), 0);
    const char *all = "v: 1  0 2, 2 a/B/2 1 one, 2 a/B/2 2 two, 3 ~x 0 ,";
    assert_string_equal(there(s, "a/B/1"), all);
    assert_string_equal(there(s, "a/B/2"), "none");
    isola_state_close(s);
    s = open_state();
    assert_string_equal(there(s, "a/B/1"), all);
    assert_false(isola_state_absent(s, isola_slice_str("a/B/1")));
    struct isola_kept later[] = {row(ISOLA_KEPT_OUTBOX, "a/B/2", 1, NULL),
                                 row(ISOLA_KEPT_SENT, "", 0, "3"),
                                 row(ISOLA_KEPT_OUTBOX, "a/B/3", 3, "three")};
    assert_int_equal(write_at(s, "a/B/1", NULL, false, later, 3), 0);
    assert_string_equal(there(s, "a/B/1"), "v: 1  0 3, 2 a/B/2 2 two, 2 a/B/3 3 three, 3 ~x 0 ,");
    struct wait w;
    put(s, &w, "a/B/1", "w");
    ended(&w, 0);
    assert_string_equal(there(s, "a/B/1"), "w: 1  0 3, 2 a/B/2 2 two, 2 a/B/3 3 three, 3 ~x 0 ,");
    isola_state_close(s);
}

/* Who looks whether an address is there looks for its state alone. */
static void rows_alone_make_an_empty_state(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept put = row(ISOLA_KEPT_DONE, "a/B/2", 0, "7"),
                      gone = row(ISOLA_KEPT_DONE, "a/B/2", 9, NULL);
    assert_int_equal(write_at(s, "a/B/1", NULL, false, &put, 1), 0);
    assert_string_equal(there(s, "a/B/1"), ": 3 a/B/2 0 7,");
    assert_int_equal(write_at(s, "a/B/3", NULL, false, &gone, 1), 0);
    assert_string_equal(there(s, "a/B/3"), "none");
    isola_state_close(s);
    s = open_state();
    assert_false(isola_state_absent(s, isola_slice_str("a/B/1")));
    assert_string_equal(there(s, "a/B/1"), ": 3 a/B/2 0 7,");
    isola_state_close(s);
}

static void a_whole_actor_is_replaced_and_removed(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept old[] = {row(ISOLA_KEPT_OUTBOX, "a/B/2", 1, "one"),
                               row(ISOLA_KEPT_DONE, "a/B/4", 0, "1")},
                      fresh = row(ISOLA_KEPT_DONE, "a/B/5", 0, "2");
    assert_int_equal(write_at(s, "a/B/1", "v", false, old, 2), 0);
    assert_int_equal(write_at(s, "a/B/10", "x", false, old, 2), 0);
    assert_int_equal(write_at(s, "a/B/1", "w", true, &fresh, 1), 0);
    assert_string_equal(there(s, "a/B/1"), "w: 3 a/B/5 0 2,");
    struct wait w;
    del(s, &w, "a/B/1");
    ended(&w, 0);
    assert_string_equal(there(s, "a/B/1"), "none");
    assert_string_equal(there(s, "a/B/10"), "x: 2 a/B/2 1 one, 3 a/B/4 0 1,");
    isola_state_close(s);
}

static void tells_whose_outbox_is_not_empty(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    assert_string_equal(outboxes(s), "");
    struct isola_kept one[] = {row(ISOLA_KEPT_OUTBOX, "a/B/2", 1, "x"),
                               row(ISOLA_KEPT_OUTBOX, "a/B/2", 2, "x")},
                      other = row(ISOLA_KEPT_DONE, "a/B/2", 0, "1"),
                      gone = row(ISOLA_KEPT_OUTBOX, "a/B/2", 2, NULL);
    assert_int_equal(write_at(s, "b", NULL, false, one, 2), 0);
    assert_int_equal(write_at(s, "a", NULL, false, one, 2), 0);
    assert_int_equal(write_at(s, "c", "v", false, &other, 1), 0);
    assert_string_equal(outboxes(s), "a b ");
    assert_int_equal(write_at(s, "a", NULL, false, &gone, 1), 0);
    assert_string_equal(outboxes(s), "b ");
    isola_state_close(s);
}

/* Marks of actors stay; those of programs, and answers, go when they are old. */
static void forgets_what_is_old(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct isola_kept rows[] = {
        row(ISOLA_KEPT_SENT, "", 0, "1"),        row(ISOLA_KEPT_OUTBOX, "a/B/2", 1, "x"),
        row(ISOLA_KEPT_DONE, "a/B/2", 0, "1"),   row(ISOLA_KEPT_DONE, "~x", 0, "1"),
        row(ISOLA_KEPT_ANSWER, "a/B/2", 1, "y"),
    };
    struct wait w;
    assert_int_equal(write_at(s, "a", "v", false, rows, 5), 0);
    prepare(&w, "");
    isola_state_forget(s, &w.req, 3600 * 1000);
    ended(&w, 0);
    assert_string_equal(there(s, "a"), "v: 1  0 1, 2 a/B/2 1 x, 3 a/B/2 0 1, 3 ~x 0 1, "
                                       "4 a/B/2 1 y,");
    prepare(&w, "");
    isola_state_forget(s, &w.req, 0);
    ended(&w, 0);
    assert_string_equal(there(s, "a"), "v: 1  0 1, 2 a/B/2 1 x, 3 a/B/2 0 1,");
    isola_state_close(s);
}

static void a_file_of_the_schema_before_is_taken(void **state)
{
    (void)state;
    sql(path, "PRAGMA application_id = 1232301932; PRAGMA user_version = 1;"
              "CREATE TABLE state (address TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL)"
              " WITHOUT ROWID;"
              "INSERT INTO state (address, value) VALUES ('a/B/1', CAST('old' AS BLOB))");
    struct isola_state *s = open_state();
    assert_string_equal(there(s, "a/B/1"), "old:");
    struct isola_kept one = row(ISOLA_KEPT_OUTBOX, "a/B/2", 1, "x");
    assert_int_equal(write_at(s, "a/B/1", NULL, false, &one, 1), 0);
    isola_state_close(s);
    s = open_state();
    assert_string_equal(there(s, "a/B/1"), "old: 2 a/B/2 1 x,");
    isola_state_close(s);
}

/* What does not fit is refused as a whole. */
static void a_full_disk_takes_neither_state_nor_rows(void **state)
{
    (void)state;
    static char big[400000];
    memset(big, 'x', sizeof(big) - 1);
    struct isola_state *s = open_state();
    struct isola_kept small = row(ISOLA_KEPT_DONE, "a/B/2", 0, "1"),
                      rows[] = {row(ISOLA_KEPT_DONE, "a/B/2", 0, "2"),
                                row(ISOLA_KEPT_OUTBOX, "a/B/2", 1, big)};
    assert_int_equal(write_at(s, "a", "v", false, &small, 1), 0);
    signal(SIGXFSZ, SIG_IGN);
    set_file_size_limit(200000);
    assert_int_equal(write_at(s, "a", "w", false, rows, 2), ISOLA_EIO);
    set_file_size_limit(RLIM_INFINITY);
    assert_string_equal(there(s, "a"), "v: 3 a/B/2 0 1,");
    assert_int_equal(write_at(s, "a", "w", false, rows, 1), 0);
    assert_string_equal(there(s, "a"), "w: 3 a/B/2 0 2,");
    isola_state_close(s);
}

static void rows_travel_as_bytes(void **state)
{
    (void)state;
    struct isola_kept rows[] = {row(ISOLA_KEPT_SENT, "", 0, "12345678"),
                                row(ISOLA_KEPT_DONE, "a/B/2", 0, NULL),
                                row(ISOLA_KEPT_ANSWER, "a/B/2", INT64_MAX, "y")};
    struct isola_buf b = {0};
    struct isola_kept_rows out = {0};
    isola_kept_write(&b, rows, 3);
    assert_true(isola_kept_read(isola_buf_slice(&b), &out));
    assert_int_equal(out.n, 2);
    assert_int_equal(out.row[0].part, ISOLA_KEPT_SENT);
    assert_true(isola_slice_is(out.row[0].value, "12345678"));
    assert_true(isola_slice_is(out.row[1].peer, "a/B/2"));
    assert_true(out.row[1].seq == INT64_MAX && !out.row[1].gone);
    isola_kept_free(&out);
    for (size_t n = 0; n < b.len; n++) /* cut off anywhere */
        assert_false(isola_kept_read(isola_slice(b.data, n), &out));
    for (size_t i = 0; i < b.len; i++) /* a wrong byte: refused, or other rows, but no harm */
        for (int x = 0; x < 256; x += 5) {
            uint8_t was = b.data[i];
            b.data[i] = (uint8_t)x;
            if (isola_kept_read(isola_buf_slice(&b), &out))
                for (size_t k = 0; k < out.n; k++)
                    assert_true(out.row[k].part >= 1 && out.row[k].part <= ISOLA_KEPT_LAST &&
                                out.row[k].seq <= INT64_MAX);
            isola_kept_free(&out);
            b.data[i] = was;
        }
    isola_buf_free(&b);
}

/* --- kill -9 --- */

/* State, counter and outbox of `key` all say n. */
static int writer(const char *file)
{
    struct isola_state *s;
    struct isola_err err;
    if (isola_state_open(file, &s, &err) != 0)
        return 1;
    for (uint32_t n = 1;; n++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", n);
        struct isola_kept rows[] = {row(ISOLA_KEPT_SENT, "", 0, text),
                                    row(ISOLA_KEPT_OUTBOX, "p", n - 1, NULL),
                                    row(ISOLA_KEPT_OUTBOX, "p", n, text)};
        if (write_at(s, "a", text, false, rows, 3) != 0 || write(1, &n, sizeof(n)) != sizeof(n))
            return 1;
    }
}

static void kill_leaves_all_or_nothing(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 20; round++) {
        int fd;
        pid_t pid = spawn_writer(&fd);
        uint32_t n = 0, acked = 0;
        for (int i = rand() % 300; i >= 0; i--)
            assert_true(read_whole(fd, &acked, sizeof(acked)));
        kill_and_reap(pid);
        while (read_whole(fd, &n, sizeof(n)))
            acked = n;
        close(fd);
        struct isola_state *s = open_state();
        char want[100], next[100];
        snprintf(want, sizeof(want), "%u: 1  0 %u, 2 p %u %u,", acked, acked, acked, acked);
        snprintf(next, sizeof(next), "%u: 1  0 %u, 2 p %u %u,", acked + 1, acked + 1, acked + 1,
                 acked + 1);
        const char *is = there(s, "a");
        if (strcmp(is, want) != 0)
            assert_string_equal(is, next);
        isola_state_close(s);
        assert_int_equal(tempdir_clear(dir), 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_rows_beside_the_state),
        TEST(reads_rows_by_name_and_in_ranges),
        TEST(reads_all_in_pieces),
        TEST(lists_timers_by_when_they_are_due),
        TEST(rows_alone_make_an_empty_state),
        TEST(a_whole_actor_is_replaced_and_removed),
        TEST(a_lone_row_is_read_by_who_asks),
        TEST(a_page_without_bytes_is_removed),
        TEST(a_whole_part_is_replaced),
        TEST(an_app_is_wiped),
        TEST(tells_whose_outbox_is_not_empty),
        TEST(forgets_what_is_old),
        TEST(a_file_of_the_schema_before_is_taken),
        TEST(a_full_disk_takes_neither_state_nor_rows),
        TEST(rows_travel_as_bytes),
        TEST(kill_leaves_all_or_nothing),
    };
    RUN(tests, writer);
}
