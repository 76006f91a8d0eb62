/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl dev [DIR]`: an agent, a deploy at each save, and what the actors log, until Ctrl-C.
 *
 * The work is done by programs that do it already: node-agent, `ctl deploy` and `ctl logs -f` run
 * as children, and this is what starts them, each when it is its time, and ends them.
 *
 * Happy path: the agent says that it is ready; log and deploy are started; a change of a file
 * starts the next deploy, and one that comes meanwhile waits for its end.
 *
 * Failure modes: the agent does not start (its own words, status 1); it dies later (said, and it is
 * started again, after a pause when it does so soon); a deploy fails (said, and the next save tries
 * again); DIR is gone (said, status 1).
 *
 * Invariants: one agent, one deploy and one log at the most; nothing is started once it is to stop;
 * children end with this process, however it ends (child.h); one process works on a DIR at a time:
 * it holds a lock on the directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/call.h"
#include "cli/child.h"
#include "cli/commands.h"
#include "cli/npm.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/watch.h"
#include "store/manifest.h"

#define HEALTHY_MS   10000u
#define PAUSE_MIN_MS 100u
#define PAUSE_MAX_MS 5000u
#define WORDS_MAX    500
#define NSIGNALS     4

struct dev {
    struct isola__cli *cli;
    uv_loop_t loop;
    uv_signal_t signals[NSIGNALS];
    uv_timer_t pause; /* before an agent, or the log of one that is not ours, is started again */
    struct isola__watch *watch;
    struct isola__child agent, deploy, log;

    char *dir, *data, *socket; /* data NULL: the agent is not ours */
    char *agent_log;
    int lock, quiet; /* DIR, /dev/null */
    char *app;       /* as deployed; NULL: not yet */

    uint64_t ready_ms;  /* since when the agent is ready; 0: it is not */
    uint64_t change_ms; /* when the change was seen that is not deployed yet; 0: none */
    uint64_t began_ms;  /* the change that is being deployed */
    int64_t since_ms;   /* lines logged before have been shown, or are of the time before */
    unsigned deaths;    /* of the agent, since it was well */
    bool ever_ready, stopping;
};

/* --- what is said --- */

static void stamp(char out[16])
{
    time_t now = time(NULL);
    struct tm tm;
    if (localtime_r(&now, &tm) == NULL || strftime(out, 16, "%H:%M:%S", &tm) == 0)
        out[0] = '\0';
}

static void stop(struct dev *d);
static void on_pause(uv_timer_t *timer);

/* A line of ours among those of the log. */
static void say(struct dev *d, enum isola__tone tone, struct isola_buf *line)
{
    char at[16];
    struct isola_buf out = {0};
    stamp(at);
    isola__tone(&out, ISOLA__DIM, d->cli->colour, isola_slice_str(at));
    isola_buf_puts(&out, " ");
    isola__tone(&out, tone, d->cli->colour, isola_buf_slice(line));
    isola_buf_puts(&out, "\n");
    isola_buf_free(line);
    if (!isola__out(d->cli, &out))
        stop(d);
}

/* On stderr, and nobody is told twice: with --json a document on stdout. */
static void complain(struct dev *d, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void complain(struct dev *d, int code, const char *fmt, ...)
{
    struct isola_err err;
    va_list ap;
    va_start(ap, fmt);
    isola_vfail(&err, code, fmt, ap);
    va_end(ap);
    int status = d->cli->status;
    isola__fail(d->cli, &err);
    d->cli->status = status; /* it goes on */
}

/* A word of a shell's command line. */
static void quote(struct isola_buf *out, const char *word)
{
    bool plain = word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789-_./+,:@%")] == '\0';
    if (plain) {
        isola_buf_puts(out, word);
        return;
    }
    isola_buf_puts(out, "'");
    for (const char *p = word; *p != '\0'; p++) {
        if (*p == '\'')
            isola_buf_puts(out, "'\\'");
        isola_buf_append(out, p, 1);
    }
    isola_buf_puts(out, "'");
}

static void say_start(struct dev *d)
{
    struct isola_buf out = {0};
    if (d->cli->options.json) {
        json_t *line = json_pack("{s:{s:s, s:s?, s:s}}", "dev", "dir", d->dir, "data", d->data,
                                 "socket", d->socket);
        if (!isola__out_json(d->cli, line, false))
            stop(d);
        json_decref(line);
        return;
    }
    isola_buf_puts(&out, "watching ");
    isola__text_clean(&out, isola_slice_str(d->dir));
    if (d->data != NULL) {
        isola_buf_puts(&out, "\n  state   ");
        isola__text_clean(&out, isola_slice_str(d->data));
        isola_buf_puts(&out, " (kept; remove it to begin anew)");
    }
    isola_buf_puts(&out, "\n  stop    Ctrl-C\n");
    if (!isola__out(d->cli, &out))
        stop(d);
}

/* How to reach what has just been deployed for the first time: its services, and an actor. */
static void say_how(struct dev *d)
{
    struct isola_manifest *m = NULL;
    const struct isola_actor_type *actor = NULL;
    struct isola_buf out = {0};
    struct isola_err err;
    if (isola_manifest_load(d->dir, &m, NULL, &err) != 0)
        return; /* it has changed meanwhile */
    for (size_t i = 0; i < m->ntypes; i++) {
        const struct isola_manifest_service *service = m->types[i].service;
        if (service == NULL && actor == NULL)
            actor = &m->types[i];
        else if (service != NULL && service->port != 0)
            isola_buf_printf(&out, "  open it http://localhost:%u\n", service->port);
    }
    if (actor != NULL) {
        isola_buf_puts(&out, "  ask it  ctl --node ");
        quote(&out, d->socket);
        isola_buf_printf(&out, " ask %s/%s/one EVENT\n", m->name, actor->name);
    }
    isola_manifest_free(m);
    if (!isola__out(d->cli, &out))
        stop(d);
}

/* --- the end --- */

/* The last of the children to end lets the loop end. */
static void stop_when_alone(struct dev *d)
{
    if (!d->stopping || d->agent.pid != 0 || d->deploy.pid != 0 || d->log.pid != 0)
        return;
    for (size_t i = 0; i < NSIGNALS; i++)
        if (!uv_is_closing((uv_handle_t *)&d->signals[i]))
            uv_close((uv_handle_t *)&d->signals[i], NULL);
}

static void stop(struct dev *d)
{
    if (d->stopping)
        return;
    d->stopping = true;
    if (d->watch != NULL)
        isola__watch_close(d->watch);
    uv_close((uv_handle_t *)&d->pause, NULL);
    isola__child_kill(&d->log, SIGTERM);
    isola__child_kill(&d->deploy, SIGTERM);
    isola__child_kill(&d->agent, SIGTERM);
    stop_when_alone(d);
}

static void fail(struct dev *d, const struct isola_err *err)
{
    isola__fail(d->cli, err);
    stop(d);
}

/* --- children --- */

/* Starts one, or gives up. */
static void start(struct dev *d, struct isola__child *child, const char *const *argv, bool listen,
                  int errors)
{
    struct isola_err err;
    if (isola__child_start(&d->loop, child, (char *const *)argv, listen, errors, &err) != 0)
        fail(d, &err);
}

#define SELF "/proc/self/exe"

static void start_log(struct dev *d)
{
    char since[ISOLA_STAMP_SIZE];
    isola_clock_stamp(d->since_ms, since);
    const char *argv[12] = {SELF, "--node", d->socket, "logs", "-f", "--since", since};
    size_t n = 7;
    if (d->cli->options.json)
        argv[n++] = "--json";
    if (d->data == NULL) /* an agent of one's own has nothing but this app */
        argv[n++] = d->app;
    if (!d->stopping && d->log.pid == 0 && (d->data != NULL || d->app != NULL))
        start(d, &d->log, argv, false, d->quiet);
}

static void start_deploy(struct dev *d)
{
    /* services run where their files are edited; another agent may be on another machine */
    const char *const argv[] = {
        SELF, "--json", "--node", d->socket, "deploy", d->dir, d->data != NULL ? "--link" : NULL,
        NULL};
    if (d->stopping || d->deploy.pid != 0 || d->change_ms == 0 ||
        (d->data != NULL && d->ready_ms == 0))
        return;
    d->began_ms = d->change_ms;
    d->change_ms = 0;
    start(d, &d->deploy, argv, true, STDERR_FILENO);
}

static void on_log_ended(struct isola__child *child, int status, struct isola_slice said)
{
    struct dev *d = child->arg;
    (void)said;
    d->since_ms = isola_clock_wall_ms();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        stop(d); /* nobody reads stdout any more */
    else if (!d->stopping && (d->data == NULL || d->ready_ms != 0) &&
             !uv_is_active((uv_handle_t *)&d->pause))
        uv_timer_start(&d->pause, on_pause, PAUSE_MIN_MS, 0);
    stop_when_alone(d);
}

/* The app is current, for the first time or again. */
static void deployed(struct dev *d, json_t *result)
{
    const char *app = json_string_value(json_object_get(result, "app"));
    bool first = d->app == NULL;
    uint64_t ms = isola_clock_ms() - d->began_ms;
    if (app == NULL)
        return;
    if (first || strcmp(d->app, app) != 0) {
        if (d->data == NULL)
            isola__child_kill(&d->log, SIGTERM); /* it is of the other one */
        free(d->app);
        d->app = isola_strdup(app);
    }
    if (!d->cli->options.json) {
        struct isola_buf line = {0};
        bool unchanged = json_is_true(json_object_get(result, "unchanged"));
        isola_buf_puts(&line, unchanged ? "" : "deployed ");
        isola__text_clean(&line, isola_slice_str(app));
        isola_buf_puts(&line, unchanged ? " is unchanged, release " : ", release ");
        isola__text_clean(&line, isola__text_of(json_object_get(result, "release")));
        isola_buf_printf(&line, " (%" PRIu64 " ms)", ms);
        say(d, unchanged ? ISOLA__DIM : ISOLA__GOOD, &line);
        if (first)
            say_how(d);
    }
    start_log(d);
}

static void on_deploy_ended(struct isola__child *child, int status, struct isola_slice said)
{
    struct dev *d = child->arg;
    json_t *result = json_loadb((const char *)said.data, said.len, JSON_ALLOW_NUL, NULL);
    const json_t *error = json_object_get(result, "error");
    if (!d->stopping) {
        if (result != NULL && d->cli->options.json && !isola__out_json(d->cli, result, false))
            stop(d);
        if (error == NULL && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            deployed(d, result);
        else if (result == NULL)
            complain(d, ISOLA_EIO, "the deploy ended without a word (%s %d)",
                     WIFSIGNALED(status) ? "signal" : "status",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        else if (!d->cli->options.json)
            isola__fail_document(error);
    }
    json_decref(result);
    start_deploy(d); /* what was saved meanwhile */
    stop_when_alone(d);
}

/* --- the agent --- */

static void start_agent(struct dev *d)
{
    char self[PATH_MAX];
    ssize_t n = readlink(SELF, self, sizeof(self) - 1);
    char *beside = NULL;
    if (n > 0) {
        self[n] = '\0';
        beside = isola_format("%.*s/node-agent", (int)(strrchr(self, '/') - self), self);
    }
    int log = open(d->agent_log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    const char *const argv[] = {beside != NULL && access(beside, X_OK) == 0 ? beside : "node-agent",
                                "--name",
                                "dev",
                                "--data",
                                d->data,
                                "--socket",
                                d->socket,
                                NULL};
    start(d, &d->agent, argv, true, log >= 0 ? log : d->quiet);
    if (log >= 0)
        close(log);
    free(beside);
}

/* The last line of its log, which says why. */
static void last_words(struct dev *d, char out[WORDS_MAX])
{
    char text[WORDS_MAX];
    int fd = open(d->agent_log, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    off_t from = end > (off_t)sizeof(text) - 1 ? end - ((off_t)sizeof(text) - 1) : 0;
    ssize_t n = end > 0 ? pread(fd, text, sizeof(text) - 1, from) : 0;
    if (fd >= 0)
        close(fd);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    text[n > 0 ? n : 0] = '\0';
    const char *line = strrchr(text, '\n');
    snprintf(out, WORDS_MAX, "%s", line != NULL ? line + 1 : text);
}

static void on_agent_heard(struct isola__child *child, struct isola_slice said)
{
    struct dev *d = child->arg;
    if (d->ready_ms != 0 || memchr(said.data, '\n', said.len) == NULL || d->stopping)
        return;
    d->ready_ms = isola_clock_ms();
    if (!d->ever_ready)
        say_start(d);
    d->ever_ready = true;
    if (d->change_ms == 0)
        d->change_ms = d->ready_ms;
    start_log(d);
    start_deploy(d);
}

static void on_agent_ended(struct isola__child *child, int status, struct isola_slice said)
{
    struct dev *d = child->arg;
    char words[WORDS_MAX], how[60];
    (void)said;
    bool healthy = d->ready_ms != 0 && isola_clock_ms() - d->ready_ms >= HEALTHY_MS;
    d->ready_ms = 0;
    if (d->stopping) {
        stop_when_alone(d);
        return;
    }
    last_words(d, words);
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
    if (!d->ever_ready) {
        struct isola_err err;
        isola_fail(&err, ISOLA_EUNREACHABLE, "the agent for %.300s did not start: it %s%s%s",
                   d->dir, how, words[0] != '\0' ? ": " : "", words);
        fail(d, &err);
        return;
    }
    unsigned n = healthy ? 0 : d->deaths;
    uint64_t ms = n == 0 ? 0 : n < 8 ? (uint64_t)PAUSE_MIN_MS << (n - 1) : PAUSE_MAX_MS;
    d->deaths = n + 1;
    complain(d, ISOLA_EUNREACHABLE,
             "the agent %s, and is started again; its log is %.400s, the last of it: %s", how,
             d->agent_log, words[0] != '\0' ? words : "nothing");
    if (!d->stopping)
        uv_timer_start(&d->pause, on_pause, ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS, 0);
}

static void on_pause(uv_timer_t *timer)
{
    struct dev *d = timer->data;
    if (d->data != NULL && d->agent.pid == 0)
        start_agent(d);
    else
        start_log(d);
}

/* --- events --- */

static void on_change(void *arg, const struct isola_err *err)
{
    struct dev *d = arg;
    if (err != NULL) {
        fail(d, err);
        return;
    }
    if (d->change_ms == 0)
        d->change_ms = isola_clock_ms();
    start_deploy(d);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct dev *d = handle->data;
    if (signum == SIGCHLD) {
        isola__child_look(&d->log);
        isola__child_look(&d->deploy);
        isola__child_look(&d->agent);
        return;
    }
    if (d->stopping) {
        isola__child_kill(&d->log, SIGKILL);
        isola__child_kill(&d->deploy, SIGKILL);
        isola__child_kill(&d->agent, SIGKILL);
    }
    stop(d);
}

/* --- the directory --- */

/* DIR/.isola, which says itself that it is not for git. One that does not is another agent's. */
static int prepare_data(struct dev *d, struct isola_err *err)
{
    char *ignore = isola_format("%s/.gitignore", d->data);
    int rc = 0;
    bool made = mkdir(d->data, 0700) == 0;
    if (!made && errno != EEXIST)
        rc = isola_fail(err, ISOLA_EIO, "cannot make %.300s, where the state is kept: %s", d->data,
                        strerror(errno));
    int fd =
        rc == 0 ? open(ignore, O_WRONLY | O_CLOEXEC | (made ? O_CREAT | O_EXCL : 0), 0600) : -1;
    if (rc == 0 && fd < 0)
        rc = isola_fail(err, made ? ISOLA_EIO : ISOLA_EEXIST,
                        made ? "cannot write %.300s: %s"
                             : "%.300s is there and not of `ctl dev` (it has no .gitignore: %s); "
                               "name its agent with --node, or another DIR",
                        made ? ignore : d->data, strerror(errno));
    else if (rc == 0 && made && write(fd, "*\n", 2) != 2)
        rc = isola_fail(err, ISOLA_EIO, "cannot write %.300s: %s", ignore, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(ignore);
    return rc;
}

/* Packages that services need, before it is watched what changes in DIR. Only an interruption is
 * a failure: of any other the deploy will tell. */
static int install(const struct dev *d, struct isola_err *err)
{
    struct isola_manifest *m = NULL;
    if (isola_manifest_load(d->dir, &m, NULL, err) != 0)
        return 0;
    int rc = isola_manifest_has_services(m) ? isola__npm_install(d->dir, err) : 0;
    isola_manifest_free(m);
    return rc == ISOLA_ECLOSED ? rc : 0;
}

static int prepare(struct dev *d, struct isola_err *err)
{
    const struct isola__options *o = &d->cli->options;
    const char *dir = o->noperands > 0 ? o->operands[0] : ".";
    d->quiet = open("/dev/null", O_RDWR | O_CLOEXEC);
    d->dir = realpath(dir, NULL);
    d->lock = d->dir != NULL ? open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (d->lock < 0)
        return isola_fail(err, ISOLA_ENOENT,
                          "cannot use %.300s: %s; 'ctl dev' takes an app's directory", dir,
                          strerror(errno));
    if (flock(d->lock, LOCK_EX | LOCK_NB) != 0)
        return isola_fail(err, ISOLA_EBUSY, "another `ctl dev` is at work in %.300s", d->dir);
    if (o->node != NULL) {
        d->socket = isola_strdup(d->cli->socket);
        return 0;
    }
    d->data = isola_format("%s/.isola", d->dir);
    d->socket = isola_format("%s/agent.sock", d->data);
    d->agent_log = isola_format("%s/agent.log", d->data);
    int rc = prepare_data(d, err);
    return rc == 0 ? install(d, err) : rc;
}

static void run(struct dev *d)
{
    static const int signums[NSIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    struct isola_err err;
    d->since_ms = isola_clock_wall_ms();
    ISOLA_CHECK(uv_loop_init(&d->loop) == 0);
    uv_timer_init(&d->loop, &d->pause);
    d->pause.data = d;
    for (size_t i = 0; i < NSIGNALS; i++) {
        uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], on_signal, signums[i]);
    }
    if (isola__watch_open(&d->loop, d->dir, on_change, d, &d->watch, &err) != 0) {
        fail(d, &err);
    } else if (d->data != NULL) {
        start_agent(d);
    } else {
        say_start(d);
        d->change_ms = isola_clock_ms();
        start_deploy(d);
    }
    uv_run(&d->loop, UV_RUN_DEFAULT);
    ISOLA_CHECK(uv_loop_close(&d->loop) == 0);
}

void isola__run_dev(struct isola__cli *cli)
{
    struct isola_err err;
    struct dev d = {.cli = cli, .lock = -1, .quiet = -1};
    d.agent = (struct isola__child){.arg = &d, .ended = on_agent_ended, .heard = on_agent_heard};
    d.deploy = (struct isola__child){.arg = &d, .ended = on_deploy_ended};
    d.log = (struct isola__child){.arg = &d, .ended = on_log_ended};
    int rc = prepare(&d, &err);
    if (rc == 0)
        run(&d);
    else if (rc != ISOLA_ECLOSED) /* Ctrl-C ends it, also before it has begun */
        isola__fail(cli, &err);
    if (d.lock >= 0)
        close(d.lock);
    if (d.quiet >= 0)
        close(d.quiet);
    free(d.app);
    free(d.agent_log);
    free(d.socket);
    free(d.data);
    free(d.dir);
}
