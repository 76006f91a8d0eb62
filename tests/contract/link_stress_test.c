/* SPDX-License-Identifier: Apache-2.0
 *
 * Direct links: two over TCP in one process, threads at both ends that send what comes to their
 * mind, and others that poll; and what can happen meanwhile: either end closes, refuses, or what
 * lies between them breaks the connection. Whatever happens, the frames of a sender arrive in their
 * order, each at most once; when nothing happens, exactly once.
 *
 * LINK_STRESS_SEED and LINK_STRESS_ROUNDS choose others than the usual ones; with sanitizers it is
 * worth many.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "link_harness.h"

#define THREADS 4
#define SOURCES 3 /* of a thread */
#define FRAMES  600

enum event { NOTHING, CLOSE, REFUSE, BREAK, EVENTS };

struct side {
    const char *name;
    struct isola_link *link; /* the loop's: NULL when it is down */
    struct side *other;
    _Atomic enum event event; /* that this end has, after `at` frames */
    atomic_uint at;
    int downs, ups, code;
    atomic_uint arrived, sent;
    atomic_bool in_frame, bad, refused;
    unsigned after_refusal;
    uint32_t next[THREADS * SOURCES]; /* of who sees to arrivals */
    uint8_t answers[THREADS * FRAMES];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned drains;
    bool gone;
};

struct sender {
    struct side *side;
    struct isola_link *link; /* a reference */
    unsigned number;
    uint64_t seed;
    pthread_t thread;
};

static struct side sides[2] = {{.name = "a"}, {.name = "b"}};
static uv_async_t poke;
static atomic_uint running;

static uint32_t roll(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*seed >> 33) % n);
}

/* --- arriving, on whatever thread --- */

static void wrong(struct side *s, const char *what, uint64_t got, uint64_t due)
{
    if (!atomic_exchange(&s->bad, true))
        print_error("%s: %s: %llu, not %llu\n", s->name, what, (unsigned long long)got,
                    (unsigned long long)due);
}

static void stress_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct side *s = arg;
    struct isola_msg m;
    struct isola_err err;
    uint64_t number = 0;
    struct isola_mp_reader r;
    struct isola_mp_item item;
    if (atomic_exchange(&s->in_frame, true))
        wrong(s, "two frames at a time", 2, 1);
    if (atomic_load(&s->refused))
        wrong(s, "frames after a refusal", 1, 0);
    if (isola_link_decode(link, frame, &m, &err) != 0) {
        wrong(s, err.text, 0, 0);
    } else if (m.kind == ISOLA_MSG_REPLY) { /* in no order, but once */
        if (m.id >= sizeof(s->answers) || s->answers[m.id]++ != 0)
            wrong(s, "an answer came twice", m.id, 0);
    } else {
        unsigned source = (unsigned)(m.src.data[m.src.len - 1] - 'a');
        r = isola_mp_reader(m.args);
        if (isola_mp_next(&r, &item) == 0 && isola_mp_next(&r, &item) == 0)
            number = item.type == ISOLA_MP_UINT ? item.u : UINT64_MAX;
        if (source >= THREADS * SOURCES || number != s->next[source]++)
            wrong(s, "out of order", number, s->next[source] - 1);
        for (size_t i = 0; i < m.args.len - 20 && m.args.len > 100; i += 1009)
            if (m.args.data[m.args.len - 1 - i] != (uint8_t)('A' + source))
                wrong(s, "a wrong byte", i, source);
    }
    unsigned n = atomic_fetch_add(&s->arrived, 1) + 1;
    if (s->event == REFUSE && n == s->at) {
        atomic_store(&s->refused, true);
        isola_link_refuse(link, "enough");
    }
    atomic_store(&s->in_frame, false);
    uv_async_send(&poke);
}

/* --- the loop's --- */

static void stress_up(struct isola_link *link, void *arg)
{
    struct side *s = arg;
    (void)link;
    s->ups++;
}

static void stress_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct side *s = arg;
    assert_ptr_equal(link, s->link);
    assert_true(why[0] != '\0');
    assert_false(atomic_load(&s->in_frame));
    s->downs++;
    s->code = code;
    s->link = NULL;
    pthread_mutex_lock(&s->lock);
    s->gone = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void stress_drained(struct isola_link *link, void *arg)
{
    struct side *s = arg;
    (void)link;
    pthread_mutex_lock(&s->lock);
    s->drains++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static const struct isola_link_ops stress_ops = {stress_up, stress_frame, stress_down,
                                                 stress_drained, NULL};

static void stress_accepted(struct isola_listener *l, struct isola_link *link, void *arg)
{
    (void)l, (void)arg;
    sides[1].link = link;
    isola_link_direct(link);
    isola_link_accept(link, &stress_ops, &sides[1]);
}

static const struct isola_listener_ops stress_listener = {stress_accepted};

/* Something has arrived, or a sender is done. */
static void on_poke(uv_async_t *async)
{
    (void)async;
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&sides[i].lock);
        pthread_cond_broadcast(&sides[i].changed);
        pthread_mutex_unlock(&sides[i].lock);
    }
}

/* --- what lies between the two: passes bytes on, at its own pace, until it breaks --- */

struct pipe_end {
    uv_tcp_t tcp;
    uv_write_t write;
    struct pipe_end *to;
    char bytes[40000];
    bool open, writing;
};
static struct pipe_end between[2];
static uv_tcp_t between_listener;
static uv_connect_t between_connect;
static int between_closing;

static void on_between_closed(uv_handle_t *handle)
{
    (void)handle;
    between_closing--;
}

static void break_between(void)
{
    for (int i = 0; i < 2; i++)
        if (between[i].open) {
            between[i].open = false;
            between_closing++;
            uv_tcp_close_reset(&between[i].tcp, on_between_closed);
        }
}

static void on_between_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pipe_end *e = handle->data;
    (void)suggested;
    *buf = uv_buf_init(e->bytes, sizeof(e->bytes));
}

static void on_between_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_between_written(uv_write_t *req, int status)
{
    struct pipe_end *e = req->data;
    e->writing = false;
    if (status == 0 && e->open && e->to->open)
        uv_read_start((uv_stream_t *)&e->tcp, on_between_room, on_between_read);
}

static void on_between_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct pipe_end *e = stream->data;
    if (n <= 0) {
        if (n < 0)
            break_between();
        return;
    }
    uv_buf_t bytes = uv_buf_init(buf->base, (unsigned)n);
    uv_read_stop(stream);
    e->writing = true;
    e->write.data = e;
    if (!e->to->open ||
        uv_write(&e->write, (uv_stream_t *)&e->to->tcp, &bytes, 1, on_between_written) != 0)
        break_between();
}

static void on_between_connected(uv_connect_t *req, int status)
{
    (void)req;
    if (status != 0 || !between[0].open || !between[1].open) {
        break_between();
        return;
    }
    for (int i = 0; i < 2; i++)
        uv_read_start((uv_stream_t *)&between[i].tcp, on_between_room, on_between_read);
}

static void on_between(uv_stream_t *server, int status)
{
    struct sockaddr_in sa;
    assert_int_equal(status, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(uv_tcp_init(&loop, &between[i].tcp), 0);
        between[i].tcp.data = &between[i];
        between[i].to = &between[1 - i];
        between[i].open = true;
        between[i].writing = false;
    }
    assert_int_equal(uv_accept(server, (uv_stream_t *)&between[0].tcp), 0);
    int port = atoi(strrchr(isola_listener_url(listener), ':') + 1);
    uv_ip4_addr("127.0.0.1", port, &sa);
    assert_int_equal(uv_tcp_connect(&between_connect, &between[1].tcp, (struct sockaddr *)&sa,
                                    on_between_connected),
                     0);
}

static void listen_between(char url[64])
{
    struct sockaddr_in sa;
    int len = sizeof(sa);
    uv_ip4_addr("127.0.0.1", 0, &sa);
    assert_int_equal(uv_tcp_init(&loop, &between_listener), 0);
    assert_int_equal(uv_tcp_bind(&between_listener, (struct sockaddr *)&sa, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&between_listener, 1, on_between), 0);
    assert_int_equal(uv_tcp_getsockname(&between_listener, (struct sockaddr *)&sa, &len), 0);
    snprintf(url, 64, "tcp://127.0.0.1:%d", ntohs(sa.sin_port));
}

/* --- sending --- */

/* Until there is room, or the link is gone. */
static void wait_for_room(struct side *s, unsigned drains)
{
    pthread_mutex_lock(&s->lock);
    while (!s->gone && s->drains == drains)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static unsigned drains_of(struct side *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->drains;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void *send_all(void *arg)
{
    static const enum isola_msg_kind kinds[] = {ISOLA_MSG_EMIT, ISOLA_MSG_EVENT, ISOLA_MSG_ASK,
                                                ISOLA_MSG_SUB, ISOLA_MSG_REPLY};
    struct sender *t = arg;
    struct side *s = t->side;
    struct isola_buf args = {0};
    uint32_t next[SOURCES] = {0};
    int r = 0;
    for (unsigned i = 0; i < FRAMES && r != ISOLA_ECLOSED; i++) {
        unsigned k = roll(&t->seed, SOURCES), source = t->number * SOURCES + k;
        char src[] = {'x', '/', 'X', '/', (char)('a' + source)};
        struct isola_msg m = {.kind = kinds[roll(&t->seed, 5)]};
        size_t len = roll(&t->seed, 150) == 0  ? roll(&t->seed, 900000)
                     : roll(&t->seed, 20) == 0 ? roll(&t->seed, 40000)
                                               : roll(&t->seed, 300);
        args.len = 0;
        isola_mp_array(&args, 2);
        isola_mp_uint(&args, next[k]);
        isola_mp_bin_header(&args, len);
        memset(isola_buf_extend(&args, len + 1), 'A' + (int)source, len + 1);
        args.len--;
        m.args = isola_buf_slice(&args);
        if (m.kind == ISOLA_MSG_REPLY) {
            m.id = t->number * FRAMES + i;
        } else {
            m.src = isola_slice(src, sizeof(src));
            m.dst = isola_slice_str(roll(&t->seed, 2) == 0 ? "x/Y/z" : "x/Y/another");
            m.event = isola_slice_str("e");
            next[k]++;
        }
        unsigned drains = drains_of(s);
        while ((r = isola_link_send_msg(t->link, &m)) == ISOLA_EOVERLOAD) {
            wait_for_room(s, drains);
            drains = drains_of(s);
        }
        if (r < 0)
            break;
        atomic_fetch_add(&s->sent, 1);
        if (roll(&t->seed, 3) == 0)
            isola_link_flush(t->link);
        if (r == 1) { /* which is true of what waited when it was sent */
            isola_link_flush(t->link);
            wait_for_room(s, drains);
        }
    }
    if (r < 0 && r != ISOLA_ECLOSED)
        wrong(s, isola_error_text(r), 0, 0);
    isola_link_flush(t->link);
    isola_link_unref(t->link);
    isola_buf_free(&args);
    atomic_fetch_sub(&running, 1);
    uv_async_send(&poke);
    return NULL;
}

/* --- polling --- */

/* At each end: one that takes, as a worker that would sleep, and one that glances. */
#define POLLERS 2

struct poller {
    struct side *side;
    struct isola_link *link; /* a reference */
    bool takes;
    uint64_t seed;
    unsigned came;
    pthread_t thread;
};

/* Until so many more have arrived, or the link is gone. */
static void leave_to_others(struct side *s, unsigned n)
{
    unsigned from = atomic_load(&s->arrived);
    pthread_mutex_lock(&s->lock);
    while (!s->gone && atomic_load(&s->arrived) - from < n)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void *poll_all(void *arg)
{
    struct poller *p = arg;
    int r = 0;
    while (r >= 0) {
        for (unsigned n = roll(&p->seed, 20000); n > 0 && r >= 0; n--) {
            r = isola_link_poll(p->link, p->takes);
            p->came += r > 0;
        }
        if (p->takes)
            isola_link_rest(p->link);
        leave_to_others(p->side, roll(&p->seed, 60));
    }
    isola_link_unref(p->link);
    return NULL;
}

/* --- a round --- */

static void begin(struct side *s, struct side *other)
{
    const char *name = s->name;
    *s = (struct side){.name = name, .other = other};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
}

static void look(struct side *s)
{
    struct isola_link_stats stats;
    if (s->link == NULL)
        return;
    isola_link_stats(s->link, &stats);
    if (stats.queued_bytes > 2u * ISOLA_LINK_QUEUE_MAX || stats.queued_frames > 100000)
        wrong(s, "what waits was miscounted", stats.queued_frames, stats.queued_bytes);
    if (s->event == CLOSE && atomic_load(&s->arrived) >= s->at)
        isola_link_close(s->link);
    if (s->event == BREAK && atomic_load(&s->arrived) >= s->at)
        break_between();
}

static bool complete(void)
{
    return atomic_load(&running) == 0 && atomic_load(&sides[0].arrived) == sides[1].sent &&
           atomic_load(&sides[1].arrived) == sides[0].sent;
}

static unsigned polls_came; /* in all rounds: in one of them others may have been first each time */

static void round_of(uint64_t seed)
{
    static struct sender senders[2 * THREADS];
    static struct poller pollers[2 * POLLERS];
    struct isola_err err;
    char url[64];
    bool quiet = true, relayed = roll(&seed, 2) == 0, polled = roll(&seed, 3) != 0;
    for (int i = 0; i < 2; i++) {
        begin(&sides[i], &sides[1 - i]);
        sides[i].event = roll(&seed, 3) == 0 ? 1 + roll(&seed, EVENTS - 1) : NOTHING;
        sides[i].at = 1 + roll(&seed, THREADS * FRAMES * 9 / 10);
        relayed |= sides[i].event == BREAK;
        quiet &= sides[i].event == NOTHING;
    }
    if (isola_listener_open(&loop, "tcp://127.0.0.1:0", &security, &stress_listener, NULL,
                            &listener, &err) != 0)
        fail_msg("%s", err.text);
    snprintf(url, sizeof(url), "%s", isola_listener_url(listener));
    if (relayed)
        listen_between(url);
    assert_int_equal(isola_link_dial(&loop, url, &security,
                                     roll(&seed, 2) ? node_keys.fixed.public_key : NULL,
                                     &stress_ops, &sides[0], &sides[0].link, &err),
                     0);
    isola_link_direct(sides[0].link);
    WAIT_FOR(sides[0].ups == 1 && sides[1].link != NULL);
    for (unsigned i = 0; polled && i < 2 * POLLERS; i++) {
        struct poller *q = &pollers[i];
        *q = (struct poller){.side = &sides[i % 2],
                             .link = sides[i % 2].link,
                             .takes = i / 2 == 0,
                             .seed = seed * 37 + i};
        isola_link_ref(q->link);
        assert_int_equal(pthread_create(&q->thread, NULL, poll_all, q), 0);
    }
    atomic_store(&running, 2 * THREADS);
    for (unsigned i = 0; i < 2 * THREADS; i++) {
        struct sender *t = &senders[i];
        *t = (struct sender){.side = &sides[i % 2],
                             .link = sides[i % 2].link,
                             .number = i / 2,
                             .seed = seed * 31 + i};
        isola_link_ref(t->link);
        assert_int_equal(pthread_create(&t->thread, NULL, send_all, t), 0);
    }
    if (quiet) {
        WAIT_FOR((look(&sides[0]), look(&sides[1]), complete()));
        isola_link_close(sides[roll(&seed, 2)].link);
    }
    WAIT_FOR((look(&sides[0]), look(&sides[1]),
              sides[0].downs && sides[1].downs && atomic_load(&running) == 0));
    for (unsigned i = 0; i < 2 * THREADS; i++)
        pthread_join(senders[i].thread, NULL);
    for (unsigned i = 0; polled && i < 2 * POLLERS; i++) {
        pthread_join(pollers[i].thread, NULL);
        polls_came += pollers[i].came;
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sides[i].downs, 1);
        assert_false(sides[i].bad);
        assert_true(sides[i].arrived <= sides[1 - i].sent);
    }
    if (quiet) {
        assert_int_equal(sides[0].sent, THREADS * FRAMES);
        assert_int_equal(sides[1].sent, THREADS * FRAMES);
    }
    isola_listener_close(listener);
    listener = NULL;
    if (relayed) {
        break_between();
        between_closing++;
        uv_close((uv_handle_t *)&between_listener, on_between_closed);
        WAIT_FOR(between_closing == 0);
    }
    for (int i = 0; i < 2; i++) { /* last: whoever lets the loop run may be poked */
        pthread_mutex_destroy(&sides[i].lock);
        pthread_cond_destroy(&sides[i].changed);
    }
}

static uint64_t number_from(const char *name, uint64_t usual)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

static void test_stress(void **state)
{
    uint64_t first = number_from("LINK_STRESS_SEED", 1);
    uint64_t rounds = number_from("LINK_STRESS_ROUNDS", 24);
    (void)state;
    assert_int_equal(uv_async_init(&loop, &poke, on_poke), 0);
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        round_of(seed);
    }
    assert_true(rounds < 24 || polls_came > 0);
    uv_close((uv_handle_t *)&poke, NULL);
}

/* --- one thing at a time --- */

static void connect_direct(void)
{
    struct isola_err err;
    begin(&sides[0], &sides[1]);
    begin(&sides[1], &sides[0]);
    assert_int_equal(uv_async_init(&loop, &poke, on_poke), 0);
    assert_int_equal(isola_listener_open(&loop, "tcp://127.0.0.1:0", &security, &stress_listener,
                                         NULL, &listener, &err),
                     0);
    assert_int_equal(isola_link_dial(&loop, isola_listener_url(listener), &security, NULL,
                                     &stress_ops, &sides[0], &sides[0].link, &err),
                     0);
    isola_link_direct(sides[0].link);
    WAIT_FOR(sides[0].ups == 1 && sides[1].link != NULL);
}

static void disconnect(void)
{
    if (sides[0].link != NULL)
        isola_link_close(sides[0].link);
    WAIT_FOR(sides[0].downs && sides[1].downs);
    uv_close((uv_handle_t *)&poke, NULL);
}

static void emit(unsigned number, size_t len)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 2);
    isola_mp_uint(&args, number);
    isola_mp_bin_header(&args, len);
    memset(isola_buf_extend(&args, len), 'A', len);
    struct isola_msg m = {
        .kind = ISOLA_MSG_EMIT, .src = isola_slice_str("x/X/a"), .args = isola_buf_slice(&args)};
    assert_int_equal(isola_link_send_msg(sides[0].link, &m), 0);
    isola_buf_free(&args);
}

/* What came in one piece with the frame that is refused is not delivered. */
static void test_refusal(void **state)
{
    (void)state;
    connect_direct();
    sides[1].event = REFUSE;
    sides[1].at = 2;
    emit(0, 10);
    isola_link_flush(sides[0].link);
    WAIT_FOR(atomic_load(&sides[1].arrived) == 1); /* whatever comes now comes on nng's threads */
    for (unsigned i = 1; i < 1000; i++)
        emit(i, 10);
    isola_link_flush(sides[0].link);
    WAIT_FOR(sides[1].downs == 1);
    assert_int_equal(sides[1].code, ISOLA_EPROTO);
    assert_int_equal(sides[1].arrived, 2);
    assert_false(sides[1].bad);
    disconnect();
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_refusal), TEST(test_stress)};
    tcp = true;
    signal(SIGPIPE, SIG_IGN); /* of what lies between, when it has been broken */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
