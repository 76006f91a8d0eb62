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
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/files.h"
#include "base/path.h"
#include "cli/process.h"

#define DEADLINE_MS (120u * 1000)
#define ACCOUNT     "account.json" /* of what is in each bundle; no type is called so */

/* The type whose entry has the module of type `i`, an actor: the first that names it. */
static size_t entry_of(const struct isola_manifest *m, size_t i)
{
    size_t first = 0;
    while (m->types[first].service != NULL ||
           strcmp(m->types[first].module, m->types[i].module) != 0)
        first++;
    return first;
}

static bool has_actors(const struct isola_manifest *m)
{
    for (size_t i = 0; i < m->ntypes; i++)
        if (m->types[i].service == NULL)
            return true;
    return false;
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
    "--platform=browser",
    "--main-fields=browser,module,main",
    "--conditions=isola,worker,browser,import",
    "--define:process.env.NODE_ENV=\"production\"",
    "--target=esnext",
    "--supported:decorators=false", /* V8 has none yet */
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
    char **argv = isola_zalloc((m->ntypes + NOPTIONS + NMODULES + 4) * sizeof(*argv));
    size_t n = 0;
    argv[n] =
        named != NULL && *named != '\0' ? isola_strdup(named) : isola_path_installed("esbuild");
    if (argv[n++] == NULL) {
        free(argv);
        return isola_fail(err, ISOLA_EIO, "cannot find out where ctl is, and with it esbuild: %s",
                          strerror(errno));
    }
    for (size_t i = 0; i < m->ntypes; i++)
        if (m->types[i].service == NULL && entry_of(m, i) == i)
            argv[n++] = isola_format("%s=./%s", m->types[i].name, m->types[i].module);
    for (size_t i = 0; i < NOPTIONS; i++)
        argv[n++] = isola_strdup(options[i]);
    for (size_t i = 0; i < NMODULES; i++)
        argv[n++] = isola_format("--external:%s", node_modules[i]);
    argv[n++] = isola_format("--outdir=%s", to);
    argv[n++] = isola_format("--metafile=%s/" ACCOUNT, to);

    struct isola__process r = {0};
    int rc = isola__process_run(argv, NULL, dir, DEADLINE_MS, &r);
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
        rc = isola_fail(err, ISOLA_ETIMEDOUT,
                        "esbuild did not finish within %u s: is a module no file but a FIFO, or on "
                        "a file system that does not answer?",
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

/* Adds to the sentence what the bundle has most of. */
static void name_largest(const char *from, const char *type, struct isola_err *err)
{
    struct isola_err before = *err;
    struct isola_buf largest = {0};
    char *meta = isola_format("%s/" ACCOUNT, from), *output = isola_format("%s.js", type);
    isola__bundle_largest(meta, output, &largest);
    if (largest.len > 0)
        isola_fail(err, before.code, "%.300s; most of it is %.*s", before.text,
                   ISOLA_FMT(isola_slice_cut(isola_buf_slice(&largest), 600)));
    isola_buf_free(&largest);
    free(output);
    free(meta);
}

static int collect(const char *dir, const struct isola_manifest *m, const char *from,
                   struct isola__bundles *out, struct isola_err *err)
{
    out->nmemory = 2 * m->ntypes;
    out->bundles = isola_zalloc(m->ntypes * sizeof(*out->bundles));
    out->memory = isola_zalloc(out->nmemory * sizeof(*out->memory));
    for (size_t i = 0; i < m->ntypes; i++) {
        if (m->types[i].service != NULL)
            continue;
        const char *type = m->types[i].name;
        size_t first = entry_of(m, i);
        struct isola_buf *code = &out->memory[2 * first], *map = code + 1;
        if (first == i) {
            char *path = isola_format("%s/%s.js.map", from, type);
            int rc = read_file(path, "source map", type, map, err);
            path[strlen(path) - strlen(".map")] = '\0';
            if (rc == 0)
                rc = read_file(path, "bundle", type, code, err);
            if (rc == ISOLA_ETOOBIG)
                name_largest(from, type, err);
            free(path);
            if (rc == 0)
                rc = isola__source_map_rebase(map, from, dir, err);
            if (rc != 0)
                return rc;
        }
        out->bundles[out->n++] = (struct isola_bundle){
            .type = m->types[i].name, .code = isola_buf_slice(code), .map = isola_buf_slice(map)};
    }
    return 0;
}

int isola__bundle(const char *dir, const struct isola_manifest *m, struct isola__bundles *out,
                  struct isola_err *err)
{
    *out = (struct isola__bundles){0};
    if (!has_actors(m))
        return 0;
    isola__process_hold(true);
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
        (void)isola_dir_remove(to);
    }
    free(to);
    free(real_tmp);
    free(real);
    isola__process_hold(false);
    if (rc != 0)
        isola__bundles_free(out);
    return rc;
}

void isola__bundles_free(struct isola__bundles *b)
{
    for (size_t i = 0; i < b->nmemory; i++)
        isola_buf_free(&b->memory[i]);
    free(b->memory);
    free(b->bundles);
    *b = (struct isola__bundles){0};
}
