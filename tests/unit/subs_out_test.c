/* SPDX-License-Identifier: Apache-2.0
 *
 * Subscriptions to actors on other nodes: each goes to where its actor lives, again when that is
 * another node or a link is new; and many of them are no burden for those of others. The nodes and
 * links are the test's.
 */
#include "node-agent/actor-host/app.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#define PEERS 50

static struct app app;
static struct peer peers[PEERS];
static unsigned long sent[PEERS]; /* SUBs and UNSUBs */
static unsigned long looked;      /* where actors live */
static bool linked;

/* --- what subs_out.c calls --- */

struct peer *peers_of(struct app *a, struct isola_slice address)
{
    looked++;
    int node = atomic_load(&a->places[isola_shard(address)]);
    return node > 0 ? &peers[node - 1] : NULL;
}

bool peer_tell(struct peer *p, const struct isola_mail *mail, uint64_t id)
{
    (void)mail, (void)id;
    sent[p->number - 1] += linked;
    return linked;
}

bool peer_want(struct peer *p)
{
    (void)p;
    return linked;
}

bool peer_linked(struct peer *p)
{
    (void)p;
    return linked;
}

/* The link is the number of its peer. */
int send_mail(struct isola_link *link, const struct isola_mail *mail, uint64_t id)
{
    (void)mail, (void)id;
    sent[(uintptr_t)link - 1]++;
    return 0;
}

void outbox_put(struct app *a, struct parcel *parcel)
{
    (void)a, (void)parcel;
    fail();
}

void conn_answer(struct app *a, struct isola_mail *mail)
{
    (void)a;
    isola_mail_free(mail);
}

/* Of the runtime (in place of its own: CMakeLists.txt). */
void __wrap_isola_host_post(struct isola_host *h, struct isola_mail *m);
void __wrap_isola_host_answer(struct isola_host *h, struct isola_mail *m);
void __wrap_isola_host_down(struct isola_host *h, const struct isola_mail *sub, const char *reason,
                            struct isola_slice message);

void __wrap_isola_host_post(struct isola_host *h, struct isola_mail *m)
{
    (void)h;
    isola_mail_free(m);
}

void __wrap_isola_host_answer(struct isola_host *h, struct isola_mail *m)
{
    (void)h;
    isola_mail_free(m);
}

void __wrap_isola_host_down(struct isola_host *h, const struct isola_mail *sub, const char *reason,
                            struct isola_slice message)
{
    (void)h, (void)sub, (void)reason, (void)message;
}

/* --- */

static void place(size_t shard, unsigned node)
{
    atomic_store(&app.places[shard], (uint16_t)node);
}

/* Each node has every so manieth shard, the last peer none. */
static int setup(void **state)
{
    (void)state;
    pthread_mutex_init(&app.subs.lock, NULL);
    for (int i = 0; i < PEERS; i++)
        peers[i] = (struct peer){.app = &app, .number = i + 1, .name = "peer"};
    for (size_t i = 0; i < ISOLA_SHARDS; i++)
        place(i, 1 + (unsigned)i % (PEERS - 1));
    memset(sent, 0, sizeof(sent));
    looked = 0;
    linked = true;
    return 0;
}

static void say(int kind, unsigned key, uint64_t link, uint64_t id)
{
    char address[40];
    struct isola_slice none = {0};
    snprintf(address, sizeof(address), "app/Type/%u", key);
    struct isola_mail *m =
        isola_mail_new(kind, isola_slice_str("app/Type/me"), isola_slice_str(address),
                       isola_slice_str("news"), none, none);
    m->origin.link = link;
    m->origin.id = id;
    subs_out_mail(&app, 1, m);
}

static unsigned long sent_in_all(void)
{
    unsigned long n = 0;
    for (int i = 0; i < PEERS; i++)
        n += sent[i];
    return n;
}

enum { MANY = 100000 };

static void say_many(void)
{
    for (unsigned i = 0; i < MANY; i++)
        say(ISOLA_MSG_SUB, i, 1, i + 1);
}

static void expect_none(void)
{
    for (int i = 0; i < PEERS; i++) {
        assert_false(subs_out_any(&peers[i]));
        assert_null(peers[i].subs);
    }
    assert_int_equal(app.subs.by_id.count, 0);
    assert_int_equal(app.subs.by_origin.count, 0);
    assert_int_equal(app.subs.by_conn.count, 0);
    isola_map_free(&app.subs.by_id);
    isola_map_free(&app.subs.by_origin);
    isola_idmap_free(&app.subs.by_conn);
}

static void test_many(void **state)
{
    (void)state;
    say_many();
    assert_int_equal(sent_in_all(), MANY);
    assert_int_equal(sent[PEERS - 1], 0);

    /* whether there is one for a peer, and a link that is made anew, are no matter of the others */
    looked = 0;
    for (int i = 0; i < PEERS; i++)
        assert_int_equal(subs_out_any(&peers[i]), i < PEERS - 1);
    unsigned long first = sent[0];
    subs_out_repeat(&peers[0], (struct isola_link *)1);
    assert_int_equal(sent[0], 2 * first);
    assert_int_equal(sent_in_all(), MANY + first);
    assert_int_equal(looked, 0);

    /* a shard goes to another node: its subscriptions follow, and no others */
    place(0, PEERS);
    subs_out_settle(&app);
    assert_true(subs_out_any(&peers[PEERS - 1]));
    unsigned long moved = sent[PEERS - 1];
    assert_true(moved > 0 && moved < MANY / 500);
    assert_int_equal(sent_in_all(), MANY + first + moved);

    /* and comes here: they are the runtime's */
    place(0, 0);
    subs_out_settle(&app);
    assert_false(subs_out_any(&peers[PEERS - 1]));

    /* a peer is lost, and is there again: what it had is sent to it, once */
    linked = false;
    subs_out_lost(&peers[1], "gone");
    linked = true;
    unsigned long before = sent_in_all(), second = sent[1];
    subs_out_settle(&app);
    assert_int_equal(sent[1], 2 * second);
    assert_int_equal(sent_in_all(), before + second);

    for (unsigned i = 0; i < MANY; i += 2) { /* of those that are here now nothing is known */
        char address[40];
        snprintf(address, sizeof(address), "app/Type/%u", i);
        if (isola_shard(isola_slice_str(address)) != 0)
            say(ISOLA_MSG_UNSUB, i, 1, i + 1);
    }
    subs_out_drop_conn(&app, 1);
    expect_none();
}

/* What is lost costs what it had, not what there is: by the CPU time that saying all once takes. */
static void test_lost_and_ended(void **state)
{
    (void)state;
    enum { TIMES = 2000 };
    clock_t begun = clock();
    say_many();
    clock_t all = clock() - begun;
    place(0, PEERS);
    subs_out_settle(&app);
    assert_true(sent[PEERS - 1] > 0 && sent[PEERS - 1] < MANY / 500);

    begun = clock();
    for (unsigned i = 0; i < TIMES; i++)
        subs_out_lost(&peers[PEERS - 1], "made anew");
    assert_true(clock() - begun < all);
    assert_true(subs_out_any(&peers[PEERS - 1]));

    begun = clock();
    for (unsigned i = 0; i < TIMES; i++) {
        say(ISOLA_MSG_SUB, i, 2 + i, 1);
        say(ISOLA_MSG_SUB, i, 2 + i, 1); /* a connection may say one twice */
        subs_out_drop_conn(&app, 2 + i);
    }
    assert_true(clock() - begun < all);
    assert_int_equal(app.subs.by_id.count, MANY);
    assert_int_equal(app.subs.by_conn.count, 1);
    subs_out_drop_conn(&app, 1);
    expect_none();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_many, setup),
                                       cmocka_unit_test_setup(test_lost_and_ended, setup)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
