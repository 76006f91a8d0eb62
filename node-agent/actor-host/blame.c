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
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "actors/watchdog.h"
#include "base/check.h"
#include "node-agent/actor-host/app.h"

static char *path; /* of the file */

/* No printf: it may allocate. */
static size_t put(char *to, size_t at, size_t size, const char *s, size_t n)
{
    for (size_t i = 0; i < n && at < size; i++)
        to[at++] = s[i] == '\n' || s[i] == '\t' ? ' ' : s[i];
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
    line[at++] = '\t';
    at = put(line, at, sizeof(line) - 1, why, strlen(why));
    line[at++] = '\n';
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    if (write(fd, line, at) == (ssize_t)at)
        (void)fsync(fd);
    close(fd);
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
