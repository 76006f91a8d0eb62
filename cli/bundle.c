/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of esbuild, in a process of its own, writing to a temporary directory.
 *
 * Failure modes: esbuild is missing, refuses (its words are kept, up to a bound), hangs or writes
 * without end (a deadline kills it), or the user interrupts (it is killed, and the directory
 * removed, before ctl ends).
 */
#include "cli/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/path.h"

#define DEADLINE_MS (120u * 1000)
#define WORDS_MAX   (256u << 10)

struct run {
    uv_loop_t loop;
    uv_process_t process;
    uv_pipe_t words; /* its stderr */
    uv_timer_t timer;
    uv_signal_t signals[3];
    char chunk[8192];
    struct isola_buf said;
    bool exited, timed_out, interrupted;
    int64_t status;
    int signal;
};

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct run *r = process->data;
    r->exited = true;
    r->status = status;
    r->signal = signal;
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
    else if (r->said.len + (size_t)n <= WORDS_MAX)
        isola_buf_append(&r->said, buf->base, (size_t)n);
}

static void on_deadline(uv_timer_t *timer)
{
    struct run *r = timer->data;
    r->timed_out = true;
    uv_process_kill(&r->process, SIGKILL);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct run *r = handle->data;
    (void)signum;
    r->interrupted = true;
    if (!r->exited)
        uv_process_kill(&r->process, SIGKILL);
}

/* The signals that would end ctl; held back while there is something to clean up, but for the time
 * of the run. */
static const int ending[3] = {SIGINT, SIGTERM, SIGHUP};
#define NENDING (sizeof(ending) / sizeof(ending[0]))

static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < NENDING; i++)
        sigaddset(&set, ending[i]);
    pthread_sigmask(how, &set, NULL);
}

/* Runs argv[0] in `cwd` to its end. 0: it ran, and `r` has what came of it. */
static int run_process(struct run *r, char **argv, const char *cwd)
{
    int rc = uv_loop_init(&r->loop);
    if (rc != 0)
        return rc;
    r->process.data = r->words.data = r->timer.data = r;
    uv_pipe_init(&r->loop, &r->words, 0);
    uv_timer_init(&r->loop, &r->timer);
    for (size_t i = 0; i < NENDING; i++) {
        uv_signal_init(&r->loop, &r->signals[i]);
        r->signals[i].data = r;
        uv_signal_start(&r->signals[i], on_signal, ending[i]);
        uv_unref((uv_handle_t *)&r->signals[i]);
    }
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r->words},
    };
    uv_process_options_t options = {.exit_cb = on_exit_status,
                                    .file = argv[0],
                                    .args = argv,
                                    .cwd = cwd,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    rc = uv_spawn(&r->loop, &r->process, &options);
    hold_signals(SIG_UNBLOCK);
    if (rc == 0) {
        uv_timer_start(&r->timer, on_deadline, DEADLINE_MS, 0);
        uv_read_start((uv_stream_t *)&r->words, on_alloc, on_words);
        uv_run(&r->loop, UV_RUN_DEFAULT); /* until it has exited and closed stderr */
    }
    hold_signals(SIG_BLOCK);
    uv_close((uv_handle_t *)&r->process, NULL);
    uv_close((uv_handle_t *)&r->timer, NULL);
    if (!uv_is_closing((uv_handle_t *)&r->words))
        uv_close((uv_handle_t *)&r->words, NULL);
    for (size_t i = 0; i < NENDING; i++)
        uv_close((uv_handle_t *)&r->signals[i], NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    ISOLA_CHECK(uv_loop_close(&r->loop) == 0);
    return rc;
}

/* The type whose entry has the module of type `i`: the first that names it. */
static size_t entry_of(const struct isola_manifest *m, size_t i)
{
    size_t first = 0;
    while (strcmp(m->types[first].module, m->types[i].module) != 0)
        first++;
    return first;
}

/* Node.js' own modules are left alone: which of them isolates have, and what to say of the others,
 * the runtime knows (actors/lib/runtime/node/modules.js). */
static const char *const node_modules[] = {
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "repl",
    "stream",
    "string_decoder",
    "sys",
    "timers",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
    "node:*",
};
#define NMODULES (sizeof(node_modules) / sizeof(node_modules[0]))

/* The options are part of what makes a release: other ones give other bytes. */
static const char *const options[] = {
    "--bundle",
    "--format=esm",
    "--platform=neutral",
    "--main-fields=module,main",
    "--conditions=isola,worker,import",
    "--target=esnext",
    "--external:isola",
    "--sourcemap=external",
    "--sources-content=false",
    "--log-level=error",
    "--log-limit=10",
    "--color=false",
};
#define NOPTIONS (sizeof(options) / sizeof(options[0]))

static int run_esbuild(const char *dir, const struct isola_manifest *m, const char *to,
                       struct isola_err *err)
{
    const char *named = getenv("ISOLA_ESBUILD");
    char **argv = isola_zalloc((m->ntypes + NOPTIONS + NMODULES + 3) * sizeof(*argv));
    size_t n = 0;
    argv[n] =
        named != NULL && *named != '\0' ? isola_strdup(named) : isola_path_installed("esbuild");
    if (argv[n++] == NULL) {
        free(argv);
        return isola_fail(err, ISOLA_EIO, "cannot find out where ctl is, and with it esbuild: %s",
                          strerror(errno));
    }
    for (size_t i = 0; i < m->ntypes; i++)
        if (entry_of(m, i) == i)
            argv[n++] = isola_format("%s=./%s", m->types[i].name, m->types[i].module);
    for (size_t i = 0; i < NOPTIONS; i++)
        argv[n++] = isola_strdup(options[i]);
    for (size_t i = 0; i < NMODULES; i++)
        argv[n++] = isola_format("--external:%s", node_modules[i]);
    argv[n++] = isola_format("--outdir=%s", to);

    struct run r = {0};
    int rc = run_process(&r, argv, dir);
    if (rc == UV_ENOENT || rc == UV_EACCES)
        rc = isola_fail(
            err, ISOLA_ENOENT,
            "cannot run esbuild, which bundles the app: %s: %s; install Isola anew, or name "
            "it with ISOLA_ESBUILD",
            argv[0], uv_strerror(rc));
    else if (rc != 0)
        rc = isola_fail(err, ISOLA_EIO, "cannot run esbuild (%s): %s", argv[0], uv_strerror(rc));
    else if (r.interrupted)
        rc = isola_fail(err, ISOLA_ECLOSED, "interrupted; nothing was deployed");
    else if (r.timed_out)
        rc = isola_fail(err, ISOLA_ETIMEDOUT, "esbuild did not finish within %u s",
                        DEADLINE_MS / 1000);
    else if (r.signal != 0)
        rc = isola_fail(err, ISOLA_EIO, "esbuild was killed by signal %d (%s)", r.signal,
                        strsignal(r.signal));
    else if (r.status != 0)
        rc = isola__bundle_explain(isola_buf_slice(&r.said), dir, err);
    isola_buf_free(&r.said);
    for (size_t i = 0; i < n; i++)
        free(argv[i]);
    free(argv);
    return rc;
}

/* Reads a whole file of at most ISOLA__BUNDLE_MAX bytes. */
static int read_file(const char *path, const char *what, const char *type, struct isola_buf *out,
                     struct isola_err *err)
{
    struct stat st;
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = isola_fail(err, ISOLA_EIO, "esbuild left no %s for %s: %s", what, type,
                        strerror(errno));
        goto out;
    }
    if (st.st_size > (off_t)ISOLA__BUNDLE_MAX) {
        rc = isola_fail(err, ISOLA_ETOOBIG, "the %s of %s has %.1f MB; %u MB are allowed", what,
                        type, (double)st.st_size / (1 << 20), ISOLA__BUNDLE_MAX >> 20);
        goto out;
    }
    uint8_t *to = isola_buf_extend(out, (size_t)st.st_size);
    for (size_t at = 0; to != NULL && at < (size_t)st.st_size;) {
        ssize_t n = read(fd, to + at, (size_t)st.st_size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = isola_fail(err, ISOLA_EIO, "cannot read the %s of %s: %s", what, type,
                            n < 0 ? strerror(errno) : "it became shorter");
            goto out;
        }
        at += (size_t)n;
    }
    if (out->failed)
        rc = isola_fail(err, ISOLA_ENOMEM, "out of memory for the %s of %s", what, type);
out:
    if (fd >= 0)
        close(fd);
    return rc;
}

static int collect(const char *dir, const struct isola_manifest *m, const char *from,
                   struct isola__bundles *out, struct isola_err *err)
{
    out->n = m->ntypes;
    out->bundles = isola_zalloc(m->ntypes * sizeof(*out->bundles));
    out->memory = isola_zalloc(2 * m->ntypes * sizeof(*out->memory));
    for (size_t i = 0; i < m->ntypes; i++) {
        const char *type = m->types[i].name;
        size_t first = entry_of(m, i);
        struct isola_buf *code = &out->memory[2 * first], *map = code + 1;
        if (first == i) {
            char *path = isola_format("%s/%s.js.map", from, type);
            int rc = read_file(path, "source map", type, map, err);
            path[strlen(path) - strlen(".map")] = '\0';
            if (rc == 0)
                rc = read_file(path, "bundle", type, code, err);
            free(path);
            if (rc == 0)
                rc = isola__source_map_rebase(map, from, dir, err);
            if (rc != 0)
                return rc;
        }
        out->bundles[i] = (struct isola_bundle){
            .type = m->types[i].name, .code = isola_buf_slice(code), .map = isola_buf_slice(map)};
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

int isola__bundle(const char *dir, const struct isola_manifest *m, struct isola__bundles *out,
                  struct isola_err *err)
{
    *out = (struct isola__bundles){0};
    hold_signals(SIG_BLOCK);
    const char *tmp = getenv("TMPDIR");
    char *real = realpath(dir, NULL);
    char *real_tmp = realpath(tmp != NULL && *tmp != '\0' ? tmp : "/tmp", NULL);
    char *to = real_tmp != NULL ? isola_format("%s/isola-bundle-XXXXXX", real_tmp) : NULL;
    int rc = 0;
    if (real == NULL) {
        rc = isola_fail(err, ISOLA_ENOENT, "cannot use %s: %s", dir, strerror(errno));
    } else if (to == NULL || mkdtemp(to) == NULL) {
        rc = isola_fail(err, ISOLA_EIO, "cannot make a temporary directory (TMPDIR): %s",
                        strerror(errno));
    } else {
        rc = run_esbuild(real, m, to, err);
        if (rc == 0)
            rc = collect(real, m, to, out, err);
        nftw(to, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    free(to);
    free(real_tmp);
    free(real);
    hold_signals(SIG_UNBLOCK);
    if (rc != 0)
        isola__bundles_free(out);
    return rc;
}

void isola__bundles_free(struct isola__bundles *b)
{
    for (size_t i = 0; i < 2 * b->n; i++)
        isola_buf_free(&b->memory[i]);
    free(b->memory);
    free(b->bundles);
    *b = (struct isola__bundles){0};
}
