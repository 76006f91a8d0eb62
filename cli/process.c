/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/process.h"

#include <pthread.h>
#include <signal.h>
#include <uv.h>

#include "base/check.h"

#define WORDS_MAX (256u << 10)

/* The signals that would end ctl. */
static const int ending[3] = {SIGINT, SIGTERM, SIGHUP};
#define NENDING (sizeof(ending) / sizeof(ending[0]))

struct run {
    uv_loop_t loop;
    uv_process_t process;
    uv_pipe_t words; /* its stderr */
    uv_timer_t timer;
    uv_signal_t signals[NENDING];
    char chunk[8192];
    struct isola__process *out;
    bool exited;
};

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct run *r = process->data;
    r->exited = true;
    r->out->status = status;
    r->out->signal = signal;
    uv_timer_stop(&r->timer);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct run *r = handle->data;
    (void)suggested;
    *buf = uv_buf_init(r->chunk, sizeof(r->chunk));
}

static void on_words(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct run *r = stream->data;
    if (n < 0)
        uv_close((uv_handle_t *)stream, NULL);
    else if (r->out->said.len + (size_t)n <= WORDS_MAX)
        isola_buf_append(&r->out->said, buf->base, (size_t)n);
}

static void on_deadline(uv_timer_t *timer)
{
    struct run *r = timer->data;
    r->out->timed_out = true;
    uv_process_kill(&r->process, SIGKILL);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct run *r = handle->data;
    (void)signum;
    r->out->interrupted = true;
    if (!r->exited)
        uv_process_kill(&r->process, SIGKILL);
}

void isola__process_hold(bool hold)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < NENDING; i++)
        sigaddset(&set, ending[i]);
    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

int isola__process_run(char **argv, char **env, const char *cwd, uint64_t deadline_ms,
                       struct isola__process *out)
{
    struct run r = {.out = out};
    *out = (struct isola__process){0};
    int rc = uv_loop_init(&r.loop);
    if (rc != 0)
        return rc;
    r.process.data = r.words.data = r.timer.data = &r;
    uv_pipe_init(&r.loop, &r.words, 0);
    uv_timer_init(&r.loop, &r.timer);
    for (size_t i = 0; i < NENDING; i++) {
        uv_signal_init(&r.loop, &r.signals[i]);
        r.signals[i].data = &r;
        uv_signal_start(&r.signals[i], on_signal, ending[i]);
        uv_unref((uv_handle_t *)&r.signals[i]);
    }
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r.words},
    };
    uv_process_options_t options = {.exit_cb = on_exit_status,
                                    .file = argv[0],
                                    .args = argv,
                                    .env = env,
                                    .cwd = cwd,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    rc = uv_spawn(&r.loop, &r.process, &options);
    isola__process_hold(false);
    if (rc == 0) {
        uv_timer_start(&r.timer, on_deadline, deadline_ms, 0);
        uv_read_start((uv_stream_t *)&r.words, on_alloc, on_words);
        uv_run(&r.loop, UV_RUN_DEFAULT); /* until it has exited and closed stderr */
    }
    isola__process_hold(true);
    uv_close((uv_handle_t *)&r.process, NULL);
    uv_close((uv_handle_t *)&r.timer, NULL);
    if (!uv_is_closing((uv_handle_t *)&r.words))
        uv_close((uv_handle_t *)&r.words, NULL);
    for (size_t i = 0; i < NENDING; i++)
        uv_close((uv_handle_t *)&r.signals[i], NULL);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    ISOLA_CHECK(uv_loop_close(&r.loop) == 0);
    return rc;
}
