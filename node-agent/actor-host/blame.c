/* SPDX-License-Identifier: Apache-2.0
 *
 * Who was running when this process had to end: a file in the data directory, written in one go by
 * whichever thread finds out, and read by the next actor-host.
 *
 * Two things end it: a script that cannot be stopped (the watchdog's last resort), and a signal
 * such as a script's that makes V8 trap. A line is "TIME ADDRESS\tWHY\n". Only calls that are safe
 * in a signal handler are made: any lock may be held.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "actors/watchdog.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node-agent/actor-host/app.h"

static char *path; /* of the file */
#define LIFTED "lifted"

/* No printf: it may allocate. */
static size_t put(char *to, size_t at, size_t size, const char *s, size_t n)
{
    for (size_t i = 0; i < n && at < size; i++)
        to[at++] = s[i] == '\n' || s[i] == '\t' ? ' ' : s[i];
    return at;
}

static size_t put_char(char *to, size_t at, size_t size, char c)
{
    if (at < size)
        to[at++] = c;
    return at;
}

static void blame(struct isola_slice address, const char *why)
{
    char line[1200], digits[24];
    size_t at = 0, n = sizeof(digits);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    do
        digits[--n] = (char)('0' + ms % 10);
    while ((ms /= 10) != 0);
    at = put(line, at, sizeof(line), digits + n, sizeof(digits) - n);
    at = put(line, at, sizeof(line), " ", 1);
    at = put(line, at, sizeof(line) - 300, (const char *)address.data, address.len);
    at = put_char(line, at, sizeof(line), '\t');
    at = put(line, at, sizeof(line) - 1, why, strlen(why));
    at = put_char(line, at, sizeof(line), '\n');
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    if (write(fd, line, at) == (ssize_t)at)
        (void)fsync(fd);
    close(fd);
}

/* So many ends within so long, and an actor is not started any more. */
#define ENDS      3
#define WITHIN_MS (3600u * 1000)
/* What the file may hold before the oldest half of it goes. */
#define LINES_MAX 1000

struct end {
    uint64_t ms;
    struct isola_slice address, why;
};

static bool read_line(struct isola_slice line, struct end *out)
{
    const char *s = (const char *)line.data, *stop = s + line.len;
    const char *space = memchr(s, ' ', line.len), *tab = memchr(s, '\t', line.len);
    if (space == NULL || tab == NULL || space > tab)
        return false;
    out->ms = strtoull(s, NULL, 10);
    out->address = isola_slice(space + 1, (size_t)(tab - space - 1));
    out->why = isola_slice(tab + 1, (size_t)(stop - tab - 1));
    return true;
}

/* The ends an actor is to blame for, since its quarantine was last lifted. */
static unsigned ends_of(const struct end *ends, size_t n, struct isola_slice address, uint64_t now)
{
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isola_slice_eq(ends[i].address, address))
            continue;
        if (isola_slice_is(ends[i].why, LIFTED))
            count = 0;
        else if (count >= ENDS || ends[i].ms + WITHIN_MS > now)
            count++;
    }
    return count;
}

void blame_read(struct app *app)
{
    static char text[LINES_MAX * 1300];
    struct end *ends = isola_zalloc(LINES_MAX * sizeof(*ends));
    size_t n = 0;
    FILE *file = fopen(path, "re");
    size_t len = file != NULL ? fread(text, 1, sizeof(text), file) : 0;
    if (file != NULL)
        fclose(file);
    for (size_t at = 0; at < len && n < LINES_MAX;) {
        const char *end = memchr(text + at, '\n', len - at);
        if (end == NULL)
            break;
        struct isola_slice line = isola_slice(text + at, (size_t)(end - text - (ptrdiff_t)at));
        n += read_line(line, &ends[n]);
        at += line.len + 1;
    }
    uint64_t now = (uint64_t)isola_clock_wall_ms();
    for (size_t i = 0; i < n; i++) {
        if (ends_of(ends, n, ends[i].address, now) < ENDS)
            continue;
        char *why = isola_format("it has ended the actor-host %d times within an hour: %.*s", ENDS,
                                 ISOLA_FMT(ends[i].why));
        isola_host_quarantine(app->host, ends[i].address, why);
        free(why);
    }
    if (n > 0 && !isola_slice_is(ends[n - 1].why, LIFTED) && ends[n - 1].ms + 60000 > now) {
        char *said = isola_format("the actor-host was ended and started again: %.*s",
                                  ISOLA_FMT(ends[n - 1].why));
        isola_log(ISOLA_LOG_ERROR, "%.*s: %s", ISOLA_FMT(ends[n - 1].address), said);
        agent_link_log(app, ISOLA_LOG_ERROR, ends[n - 1].address, isola_slice_str(said));
        free(said);
    }
    if (n == LINES_MAX)
        (void)unlink(path);
    free(ends);
}

void blame_lifted(void *arg, struct isola_slice address)
{
    (void)arg;
    blame(address, LIFTED);
}

void blame_stuck(void *arg, struct isola_slice address, const char *why)
{
    (void)arg;
    blame(address, why);
    _exit(BLAME_EXIT);
}

/* Those that end a process, and what handled them before: V8 turns some SIGSEGVs of Node.js' own
 * WebAssembly into exceptions. */
static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT, SIGFPE};
#define NSIGNALS (sizeof(signals) / sizeof(signals[0]))
static struct sigaction before[NSIGNALS];

static void on_signal(int sig, siginfo_t *info, void *context)
{
    static volatile sig_atomic_t once;
    struct isola_slice whose = isola__watch_whose();
    if (whose.len > 0 && !once) {
        once = 1;
        blame(whose, "the process crashed in its script");
    }
    for (size_t i = 0; i < NSIGNALS; i++) {
        if (signals[i] != sig)
            continue;
        if ((before[i].sa_flags & SA_SIGINFO) && before[i].sa_sigaction != NULL) {
            before[i].sa_sigaction(sig, info, context);
        } else { /* comes again, to what was there before */
            sigaction(sig, &before[i], NULL);
            if (info->si_code <= 0)
                raise(sig);
        }
    }
}

void blame_open(struct app *app)
{
    path = isola_format("%s/" BLAME_FILE, app->options.data);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < NSIGNALS; i++)
        sigaction(signals[i], &action, &before[i]);
}
