/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/asks.h"

#include "base/check.h"
#include "base/clock.h"
#include "node-agent/conn.h"

/* An id is generation << 24 | slot: below 2^53, which is what every language's numbers hold. */
#define SLOT_BITS      24u
#define SLOTS_MAX      ((size_t)1 << SLOT_BITS)
#define GENERATION_MAX (((uint32_t)1 << 29) - 1)

struct isola__ask_slot {
    struct isola__ask *ask;
    uint32_t generation;
    size_t next_free; /* plus one */
};

static void heap_place(struct isola__asks *asks, size_t at, struct isola__ask *ask)
{
    asks->heap[at] = ask;
    ask->heap_at = at;
}

static void heap_up(struct isola__asks *asks, size_t at)
{
    struct isola__ask *ask = asks->heap[at];
    while (at > 0 && asks->heap[(at - 1) / 2]->deadline_ms > ask->deadline_ms) {
        heap_place(asks, at, asks->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(asks, at, ask);
}

static void heap_down(struct isola__asks *asks, size_t at)
{
    struct isola__ask *ask = asks->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= asks->nheap)
            break;
        if (child + 1 < asks->nheap &&
            asks->heap[child + 1]->deadline_ms < asks->heap[child]->deadline_ms)
            child++;
        if (asks->heap[child]->deadline_ms >= ask->deadline_ms)
            break;
        heap_place(asks, at, asks->heap[child]);
        at = child;
    }
    heap_place(asks, at, ask);
}

static void expire(uv_timer_t *timer);

/* The timer may fire early for a deadline that is gone; it then finds nothing and is set again. It
 * never fires late. */
static void arm(struct isola__asks *asks)
{
    if (asks->nheap == 0 || uv_is_closing((uv_handle_t *)&asks->timer)) {
        uv_timer_stop(&asks->timer);
        return;
    }
    uint64_t now = isola_clock_ms();
    uint64_t due = asks->heap[0]->deadline_ms;
    uv_update_time(asks->timer.loop);
    int rc = uv_timer_start(&asks->timer, expire, due > now ? due - now : 0, 0);
    ISOLA_CHECK(rc == 0);
}

static void heap_add(struct isola__asks *asks, struct isola__ask *ask)
{
    if (asks->nheap == asks->cap_heap) {
        asks->cap_heap = asks->cap_heap ? asks->cap_heap * 2 : 64;
        asks->heap = isola_realloc(asks->heap, asks->cap_heap * sizeof(struct isola__ask *));
    }
    heap_place(asks, asks->nheap++, ask);
    heap_up(asks, ask->heap_at);
    if (asks->heap[0] == ask)
        arm(asks);
}

static void heap_remove(struct isola__asks *asks, struct isola__ask *ask)
{
    size_t at = ask->heap_at;
    struct isola__ask *last = asks->heap[--asks->nheap];
    if (last != ask) {
        heap_place(asks, at, last);
        heap_up(asks, at);
        heap_down(asks, last->heap_at);
    }
    if (asks->nheap == 0)
        arm(asks);
}

static void unlink_conn(struct isola__ask *ask)
{
    if (ask->conn == NULL)
        return;
    if (ask->prev != NULL)
        ask->prev->next = ask->next;
    else
        ask->conn->asks = ask->next;
    if (ask->next != NULL)
        ask->next->prev = ask->prev;
    ask->conn = NULL;
    ask->prev = ask->next = NULL;
}

void isola__asks_drop(struct isola__asks *asks, struct isola__ask *ask)
{
    size_t at = ask->id & (SLOTS_MAX - 1);
    struct isola__ask_slot *slot = &asks->slots[at];
    ISOLA_CHECK(slot->ask == ask);
    slot->ask = NULL;
    slot->generation = slot->generation == GENERATION_MAX ? 1 : slot->generation + 1;
    slot->next_free = asks->free_slot;
    asks->free_slot = at + 1;
    if (ask->deadline_ms != 0)
        heap_remove(asks, ask);
    unlink_conn(ask);
}

void isola__asks_fail(struct isola__asks *asks, struct isola__ask *ask, int code, const char *text)
{
    struct isola_msg *answer = isola_msg_fail(ask->id, code, "%s", text);
    ISOLA_CHECK(answer != NULL);
    isola__asks_drop(asks, ask);
    ask->cb(ask, answer);
    free(answer);
}

static void expire(uv_timer_t *timer)
{
    struct isola__asks *asks = timer->data;
    uint64_t now = isola_clock_ms();
    while (asks->nheap > 0 && asks->heap[0]->deadline_ms <= now) {
        char text[80];
        snprintf(text, sizeof(text), "no answer within %u ms", asks->heap[0]->timeout_ms);
        isola__asks_fail(asks, asks->heap[0], ISOLA_ETIMEDOUT, text);
    }
    arm(asks);
}

void isola__asks_init(struct isola__asks *asks, uv_loop_t *loop)
{
    *asks = (struct isola__asks){0};
    int rc = uv_timer_init(loop, &asks->timer);
    ISOLA_CHECK(rc == 0);
    asks->timer.data = asks;
}

void isola__asks_close(struct isola__asks *asks)
{
    uv_close((uv_handle_t *)&asks->timer, NULL);
}

void isola__asks_free(struct isola__asks *asks)
{
    for (size_t i = 0; i < asks->nslots; i++)
        ISOLA_CHECK(asks->slots[i].ask == NULL);
    free(asks->slots);
    free(asks->heap);
}

bool isola__asks_add(struct isola__asks *asks, struct isola__ask *ask, uint32_t timeout_ms,
                     uint32_t grace_ms)
{
    if (asks->free_slot == 0) {
        size_t n = asks->nslots ? asks->nslots * 2 : 64;
        if (n > SLOTS_MAX)
            return false;
        asks->slots = isola_realloc(asks->slots, n * sizeof(*asks->slots));
        for (size_t i = n; i-- > asks->nslots;) {
            asks->slots[i] =
                (struct isola__ask_slot){.generation = 1, .next_free = asks->free_slot};
            asks->free_slot = i + 1;
        }
        asks->nslots = n;
    }
    size_t at = asks->free_slot - 1;
    struct isola__ask_slot *slot = &asks->slots[at];
    asks->free_slot = slot->next_free;
    slot->ask = ask;
    ask->id = (uint64_t)slot->generation << SLOT_BITS | at;
    ask->conn = NULL;
    ask->prev = ask->next = NULL;
    ask->timeout_ms = timeout_ms;
    ask->deadline_ms = timeout_ms ? isola_clock_ms() + timeout_ms + grace_ms : 0;
    if (ask->deadline_ms != 0)
        heap_add(asks, ask);
    return true;
}

void isola__asks_sent(struct isola__ask *ask, struct isola__conn *conn)
{
    ISOLA_CHECK(ask->conn == NULL);
    ask->conn = conn;
    ask->next = conn->asks;
    if (ask->next != NULL)
        ask->next->prev = ask;
    conn->asks = ask;
}

struct isola__ask *isola__asks_find(const struct isola__asks *asks, uint64_t id)
{
    size_t at = id & (SLOTS_MAX - 1);
    if (at >= asks->nslots || asks->slots[at].generation != id >> SLOT_BITS)
        return NULL;
    return asks->slots[at].ask;
}

void isola__asks_answer(struct isola__asks *asks, struct isola__conn *conn,
                        const struct isola_msg *answer)
{
    struct isola__ask *ask = isola__asks_find(asks, answer->id);
    if (ask == NULL || ask->conn != conn)
        return;
    if (!ask->stays)
        isola__asks_drop(asks, ask);
    ask->cb(ask, answer);
}

void isola__asks_fail_conn(struct isola__asks *asks, struct isola__conn *conn, int code,
                           const char *text)
{
    while (conn->asks != NULL) {
        struct isola__ask *ask = conn->asks;
        if (ask->stays)
            unlink_conn(ask);
        else
            isola__asks_fail(asks, ask, code, text);
    }
}
