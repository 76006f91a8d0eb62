/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles and heap snapshots of live actors, on the agent's behalf.
 *
 * `inspect` finds the actor's isolate and has it looked into; the file goes to disk, unlinked from
 * the start, so that it needs no memory and nothing is left behind. Its answer names a number, by
 * which `inspect_read` fetches the file piece by piece. A file nobody fetches any more goes after a
 * minute.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/v8/realm.h"
#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"

#define LOOKS_MAX   8
#define FILE_MAX    ((uint64_t)2 << 30)
#define CHUNK       ((size_t)1 << 20)
#define KEEP_MS     60000
#define MS_MIN      10
#define MS_MAX      600000
#define INTERVAL_US 1000u /* between samples, and longer for long profiles */
#define SAMPLES_MAX 500000u
#define WALK_MS     60000

struct look {
    struct look *next;
    struct app *app;
    uint64_t id;
    uint64_t asked; /* the agent's ask, to be answered; 0: it is */
    bool heap;
    uint32_t ms;
    uv_timer_t timer;             /* the end of sampling, then of keeping the file */
    struct isola_inspect in, out; /* what is done at first; the end of a profile */
    struct parcel begun, ended;   /* to the loop */
    bool done;                    /* `ended` has come: the file may be read */
    /* the worker's until `ended` has come */
    int fd;
    uint64_t size;
    struct isola_err err; /* code 0: all is well */
};

#define LOOK_OF(part, pointer)                                                                     \
    ((struct look *)(void *)((char *)(pointer)-offsetof(struct look, part)))

/* --- in the isolate --- */

static bool write_file(void *arg, struct isola_slice bytes)
{
    struct look *l = arg;
    if (bytes.len > FILE_MAX - l->size) {
        isola_fail(&l->err, ISOLA_ETOOBIG, "the file would have more than %llu GB",
                   (unsigned long long)(FILE_MAX >> 30));
        return false;
    }
    while (bytes.len > 0) {
        ssize_t n = write(l->fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            isola_fail(&l->err, ISOLA_EIO, "cannot write to %s: %s", l->app->options.data,
                       strerror(errno));
            return false;
        }
        bytes = isola_slice(bytes.data + n, bytes.len - (size_t)n);
        l->size += (uint64_t)n;
    }
    return true;
}

/* Notes how it went, but for what the sink has said of itself, and tells the loop. */
static void end(struct look *l, int code, const struct isola_err *err)
{
    if (code != 0 && l->err.code == 0)
        l->err = *err;
    outbox_put(l->app, &l->ended);
}

static void end_without(struct look *l)
{
    struct isola_err err;
    isola_fail(&err, ISOLA_EFAILED, "the actor's isolate has ended");
    end(l, err.code, &err);
}

static void take_heap(struct isola_inspect *i, struct isola_js *js)
{
    struct look *l = LOOK_OF(in, i);
    struct isola_err err;
    if (js == NULL)
        end_without(l);
    else
        end(l, isola_js_heap_snapshot(js, WALK_MS, (struct isola_v8_sink){write_file, l}, &err),
            &err);
}

static void end_profile(struct isola_inspect *i, struct isola_js *js)
{
    struct look *l = LOOK_OF(out, i);
    struct isola_err err;
    if (js == NULL)
        end_without(l);
    else
        end(l, isola_js_profile_end(js, (struct isola_v8_sink){write_file, l}, &err), &err);
}

static void begin_profile(struct isola_inspect *i, struct isola_js *js)
{
    struct look *l = LOOK_OF(in, i);
    struct isola_err err;
    uint32_t least = (uint32_t)((uint64_t)l->ms * 1000 / SAMPLES_MAX);
    if (js == NULL) {
        end_without(l);
        return;
    }
    int rc = isola_js_profile(js, least > INTERVAL_US ? least : INTERVAL_US, &err);
    if (rc != 0) {
        end(l, rc, &err);
        return;
    }
    outbox_put(l->app, &l->begun);
    isola_host_inspect_at_end(&l->out, &l->in);
}

/* --- on the loop --- */

static struct look *looks; /* of the one actor-host a process is */
static size_t nlooks;
static uint64_t numbers;

static void closed(uv_handle_t *handle)
{
    free(LOOK_OF(timer, handle));
}

static void drop(struct look *l)
{
    struct look **at = &looks;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    nlooks--;
    if (l->fd >= 0)
        close(l->fd);
    uv_close((uv_handle_t *)&l->timer, closed);
}

static void on_timer(uv_timer_t *timer)
{
    struct look *l = LOOK_OF(timer, timer);
    if (l->done)
        drop(l);
    else /* false: it ends already, with its isolate */
        (void)isola_host_inspect_now(&l->out);
}

static void run_begun(struct app *app, struct parcel *parcel)
{
    struct look *l = LOOK_OF(begun, parcel);
    (void)app;
    uv_update_time(l->app->loop);
    uv_timer_start(&l->timer, on_timer, l->ms, 0);
}

static void run_ended(struct app *app, struct parcel *parcel)
{
    struct look *l = LOOK_OF(ended, parcel);
    bool shared = l->in.shared;
    l->done = true;
    isola_host_inspect_end(&l->in);
    isola_host_inspect_end(&l->out);
    if (l->err.code != 0) {
        agent_link_fail(app, l->asked, l->err.code, l->err.text);
        drop(l);
        return;
    }
    struct isola_buf out = {0};
    isola_mp_map(&out, 3);
    isola_mp_kuint(&out, "id", l->id);
    isola_mp_kuint(&out, "bytes", l->size);
    isola_mp_kstr(&out, "isolation", shared ? "shared" : "isolate");
    agent_link_reply(app, l->asked, isola_buf_slice(&out));
    isola_buf_free(&out);
    uv_timer_start(&l->timer, on_timer, KEEP_MS, KEEP_MS);
}

/* A file that is nowhere to be seen; -1 with errno. */
static int unlinked_file(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd;
    char *path = isola_format("%s/inspect-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

/* The file that has waited longest to be fetched goes, when there are too many. */
static void make_room(void)
{
    struct look *oldest = NULL;
    for (struct look *l = looks; l != NULL; l = l->next)
        if (l->done)
            oldest = l; /* the newest stand first */
    if (nlooks >= LOOKS_MAX && oldest != NULL)
        drop(oldest);
}

static void nobody(struct app *app, uint64_t asked)
{
    static const uint8_t nil[] = {0xc0};
    agent_link_reply(app, asked, isola_slice(nil, 1));
}

void inspect_asked(struct app *app, uint64_t asked, struct isola_slice params)
{
    struct isola_slice address, what;
    struct isola_err err;
    uint64_t ms = 0;
    bool heap = isola_mp_find_str(params, "what", &what) && isola_slice_is(what, "heap");
    bool profile = !heap && isola_mp_find_str(params, "what", &what) &&
                   isola_slice_is(what, "profile") && isola_mp_find_uint(params, "ms", &ms) &&
                   ms >= MS_MIN && ms <= MS_MAX;
    if (!isola_mp_find_str(params, "address", &address) || (!heap && !profile)) {
        agent_link_fail(app, asked, ISOLA_EINVAL,
                        "inspect: it needs \"address\", and \"what\": heap, or profile with \"ms\" "
                        "from 10 to 600,000");
        return;
    }
    make_room();
    struct look *l = isola_zalloc(sizeof(*l));
    *l = (struct look){
        .app = app, .id = ++numbers, .asked = asked, .heap = heap, .ms = (uint32_t)ms};
    l->in.run = heap ? take_heap : begin_profile;
    l->out.run = end_profile;
    l->begun.run = run_begun;
    l->ended.run = run_ended;
    l->timer.data = l;
    l->fd = unlinked_file(app->options.data);
    int failed = l->fd < 0 ? errno : 0;
    uv_timer_init(app->loop, &l->timer);
    l->next = looks;
    looks = l;
    nlooks++;
    if (nlooks > LOOKS_MAX) {
        agent_link_fail(app, asked, ISOLA_EBUSY,
                        "8 profiles and heap snapshots are being taken on this node");
        drop(l);
    } else if (failed != 0) {
        isola_fail(&err, ISOLA_EIO, "cannot make a file in %s: %s", app->options.data,
                   strerror(failed));
        agent_link_fail(app, asked, err.code, err.text);
        drop(l);
    } else if (isola_host_inspect(app->host, address, &l->in, &err) != 0) {
        nobody(app, asked);
        drop(l);
    }
}

void inspect_read(struct app *app, uint64_t asked, struct isola_slice params)
{
    uint64_t id, offset;
    if (!isola_mp_find_uint(params, "id", &id) || !isola_mp_find_uint(params, "offset", &offset)) {
        agent_link_fail(app, asked, ISOLA_EINVAL, "inspect_read: it needs \"id\" and \"offset\"");
        return;
    }
    struct look *l = looks;
    while (l != NULL && (l->id != id || !l->done))
        l = l->next;
    if (l == NULL || offset > l->size) {
        agent_link_fail(app, asked, ISOLA_ENOENT,
                        "that file is not there (any more): take the profile or snapshot again");
        return;
    }
    size_t n = l->size - offset < CHUNK ? (size_t)(l->size - offset) : CHUNK;
    struct isola_buf out = {0};
    isola_mp_bin_header(&out, n);
    uint8_t *to = isola_buf_extend(&out, n);
    ssize_t got = to != NULL ? pread(l->fd, to, n, (off_t)offset) : -1;
    if (got != (ssize_t)n) {
        agent_link_fail(app, asked, ISOLA_EIO, "the file cannot be read");
    } else {
        agent_link_reply(app, asked, isola_buf_slice(&out));
        if (n == 0) /* whoever reads the end has it all */
            drop(l);
        else
            uv_timer_again(&l->timer);
    }
    isola_buf_free(&out);
}
