/* SPDX-License-Identifier: Apache-2.0
 *
 * A network of a few hosts, as bad as one likes: `badnet [--seed N] NAME=ADDRESS…`
 *
 * Makes a network namespace for each host and joins them as a switch does (hosts.h), with what goes
 * wrong in between (wire.h). It needs nothing of the kernel but namespaces and TAP devices. It
 * prints a line of JSON when the hosts are there,
 *
 *   {"seed":1,"pid":2,"hosts":{"a":{"address":"10.0.0.1","net":5},…}}
 *
 * and a program runs on host a in the namespace /proc/PID/fd/NET. Then it takes a command a line
 * and answers each with a line: {…}, or {"error":"…"}, and then nothing has changed.
 *
 *   link WHO [RULE VALUE]…   what goes wrong between hosts, in place of what went wrong before:
 *                            delay, jitter (ms), loss, duplicate, reorder, corrupt, forge (%), rate
 *                            (kbit/s)
 *   cut WHO, heal WHO        nothing passes; it does again
 *   stats                    {"a>b":{"frames":…},…}: isola_wire_counts
 *   capture FILE, capture    what any host sends goes into a file that libpcap reads; no longer:
 * the file is complete, {"frames":…}
 *
 * WHO is `a>b` (from a to b), `a b` (both ways), `a` (a and all others) or `all`.
 *
 * It ends with its standard input: status 0. Status 77: this machine cannot have such hosts, the
 * one line says why. Status 1: something else went wrong, 2: wrong usage. The namespaces last as
 * long as programs run in them; the network between them ends with this process.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/net/capture.h"
#include "tests/net/hosts.h"
#include "tests/net/wire.h"

#define LINE      1000 /* bytes of a command */
#define WORDS     32
#define FRAME     65536
#define TURN      64 /* frames from one host before the others are looked at */
#define CANNOT    77
#define DELAY_MAX 60000.0 /* ms */

struct badnet {
    unsigned n;
    struct isola_net_host hosts[ISOLA_WIRE_HOSTS];
    struct isola_wire *wire;
    struct isola_capture capture;
    char line[LINE];
    size_t have;
    bool skipping; /* the rest of a line that is too long */
};

static void say_error(const struct isola_err *err)
{
    printf("{\"error\":\"");
    for (const char *p = err->text; *p; p++) {
        if (*p == '"' || *p == '\\')
            printf("\\%c", *p);
        else if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            putchar('?'); /* a command is echoed in it, and may hold anything */
        else
            putchar(*p);
    }
    printf("\"}\n");
}

/* --- who --- */

struct who {
    bool pairs[ISOLA_WIRE_HOSTS][ISOLA_WIRE_HOSTS];
};

static int host_named(const struct badnet *b, const char *name, size_t length)
{
    for (unsigned i = 0; i < b->n; i++)
        if (strlen(b->hosts[i].name) == length && memcmp(b->hosts[i].name, name, length) == 0)
            return (int)i;
    return -1;
}

/* Takes WHO off the front of `words`: how many of them it was, or an error. */
static int parse_who(const struct badnet *b, char **words, int n, struct who *who,
                     struct isola_err *err)
{
    *who = (struct who){0};
    if (n == 0)
        return isola_fail(err, ISOLA_EINVAL, "whom it is about is missing: a>b, a b, a, or all");
    const char *arrow = strchr(words[0], '>');
    if (arrow) {
        int from = host_named(b, words[0], (size_t)(arrow - words[0]));
        int to = host_named(b, arrow + 1, strlen(arrow + 1));
        if (from < 0 || to < 0 || from == to)
            return isola_fail(err, ISOLA_EINVAL, "\"%s\": no two hosts have these names", words[0]);
        who->pairs[from][to] = true;
        return 1;
    }
    bool all = strcmp(words[0], "all") == 0;
    int one = all ? -1 : host_named(b, words[0], strlen(words[0]));
    if (!all && one < 0)
        return isola_fail(err, ISOLA_EINVAL, "no host has the name \"%s\"", words[0]);
    int other = !all && n > 1 ? host_named(b, words[1], strlen(words[1])) : -1;
    if (other >= 0 && other == one)
        return isola_fail(err, ISOLA_EINVAL, "\"%s\" is one host, not two", words[0]);
    for (int i = 0; i < (int)b->n; i++)
        for (int k = 0; k < (int)b->n; k++)
            who->pairs[i][k] = i != k && (all || (other < 0 && (i == one || k == one)) ||
                                          (i == one && k == other) || (i == other && k == one));
    return other >= 0 ? 2 : 1;
}

/* --- the commands --- */

static int parse_rule(struct isola_wire_rules *rules, const char *name, const char *text,
                      struct isola_err *err)
{
    const struct {
        const char *name;
        double most;
        uint64_t *whole;
        double *share;
        double unit; /* of `whole` in one of the value */
    } known[] = {{"delay", DELAY_MAX, &rules->delay, NULL, 1e6},
                 {"jitter", DELAY_MAX, &rules->jitter, NULL, 1e6},
                 {"rate", 1e9, &rules->rate, NULL, 1e3},
                 {"loss", 100, NULL, &rules->loss, 0},
                 {"duplicate", 100, NULL, &rules->duplicate, 0},
                 {"reorder", 100, NULL, &rules->reorder, 0},
                 {"corrupt", 100, NULL, &rules->corrupt, 0},
                 {"forge", 100, NULL, &rules->forge, 0}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) != 0)
            continue;
        char *end;
        double value = strtod(text, &end);
        if (end == text || *end || !(value >= 0 && value <= known[i].most))
            return isola_fail(err, ISOLA_EINVAL, "%s: \"%s\" is not a number from 0 to %g", name,
                              text, known[i].most);
        if (known[i].whole)
            *known[i].whole = (uint64_t)(value * known[i].unit);
        else
            *known[i].share = value / 100;
        return 0;
    }
    return isola_fail(err, ISOLA_EINVAL, "there is no rule \"%s\"", name);
}

static int set_links(struct badnet *b, char **words, int n, struct isola_err *err)
{
    struct who who;
    struct isola_wire_rules rules = {0};
    int used = parse_who(b, words, n, &who, err);
    if (used < 0)
        return used;
    for (int i = used; i < n; i += 2) {
        if (i + 1 == n)
            return isola_fail(err, ISOLA_EINVAL, "the value of \"%s\" is missing", words[i]);
        int rc = parse_rule(&rules, words[i], words[i + 1], err);
        if (rc != 0)
            return rc;
    }
    for (unsigned i = 0; i < b->n; i++)
        for (unsigned k = 0; k < b->n; k++)
            if (who.pairs[i][k])
                isola_wire_rule(b->wire, i, k, &rules);
    return 0;
}

static int cut_links(struct badnet *b, char **words, int n, bool cut, struct isola_err *err)
{
    struct who who;
    int used = parse_who(b, words, n, &who, err);
    if (used < 0)
        return used;
    if (used < n)
        return isola_fail(err, ISOLA_EINVAL, "\"%s\" is too much", words[used]);
    for (unsigned i = 0; i < b->n; i++)
        for (unsigned k = 0; k < b->n; k++)
            if (who.pairs[i][k])
                isola_wire_cut(b->wire, i, k, cut);
    return 0;
}

static void say_stats(const struct badnet *b)
{
    const char *comma = "";
    putchar('{');
    for (unsigned i = 0; i < b->n; i++) {
        for (unsigned k = 0; k < b->n; k++) {
            if (i == k)
                continue;
            const struct isola_wire_counts *c = isola_wire_counts(b->wire, i, k);
            printf("%s\"%s>%s\":{\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"passed\":%" PRIu64
                   ",\"cut\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"overflowed\":%" PRIu64,
                   comma, b->hosts[i].name, b->hosts[k].name, c->frames, c->bytes, c->passed,
                   c->cut, c->lost, c->overflowed);
            printf(",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"corrupted\":%" PRIu64
                   ",\"forged\":%" PRIu64 "}",
                   c->duplicated, c->reordered, c->corrupted, c->forged);
            comma = ",";
        }
    }
    printf("}\n");
}

static int do_capture(struct badnet *b, char **words, int n, struct isola_err *err)
{
    if (n > 1)
        return isola_fail(err, ISOLA_EINVAL, "capture takes one file");
    if (n == 1 && b->capture.file)
        return isola_fail(err, ISOLA_EINVAL, "%s is being written already", b->capture.path);
    if (n == 1) {
        int rc = isola_capture_start(&b->capture, words[0], err);
        if (rc == 0)
            printf("{}\n");
        return rc;
    }
    uint64_t frames = b->capture.frames;
    int rc = isola_capture_stop(&b->capture, err);
    if (rc == 0)
        printf("{\"frames\":%" PRIu64 "}\n", frames);
    return rc;
}

/* Does one command and answers it. */
static void command(struct badnet *b, char *line)
{
    struct isola_err err;
    char *words[WORDS], *rest = NULL;
    int n = 0, rc = 0;
    for (char *w = strtok_r(line, " ", &rest); w && n < WORDS; w = strtok_r(NULL, " ", &rest))
        words[n++] = w;
    const char *what = n > 0 ? words[0] : "";
    bool answered = false;
    if (n == WORDS)
        rc = isola_fail(&err, ISOLA_EINVAL, "a command has fewer than %d words", WORDS);
    else if (strcmp(what, "link") == 0)
        rc = set_links(b, words + 1, n - 1, &err);
    else if (strcmp(what, "cut") == 0 || strcmp(what, "heal") == 0)
        rc = cut_links(b, words + 1, n - 1, *what == 'c', &err);
    else if (strcmp(what, "stats") == 0 && n == 1)
        say_stats(b), answered = true;
    else if (strcmp(what, "capture") == 0)
        rc = do_capture(b, words + 1, n - 1, &err), answered = true;
    else
        rc = isola_fail(&err, ISOLA_EINVAL,
                        "\"%s\": the commands are link, cut, heal, stats and capture", what);
    if (rc != 0)
        say_error(&err);
    else if (!answered)
        printf("{}\n");
    fflush(stdout);
}

/* Reads what there is of standard input; false at its end. */
static bool read_commands(struct badnet *b)
{
    ssize_t n = read(STDIN_FILENO, b->line + b->have, LINE - b->have);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    b->have += (size_t)n;
    char *end;
    while ((end = memchr(b->line, '\n', b->have)) != NULL) {
        *end = '\0';
        if (!b->skipping)
            command(b, b->line);
        b->skipping = false;
        b->have -= (size_t)(end + 1 - b->line);
        memmove(b->line, end + 1, b->have);
    }
    if (b->have == LINE) {
        struct isola_err err;
        (void)isola_fail(&err, ISOLA_EINVAL, "a command has fewer than %d bytes", LINE);
        if (!b->skipping)
            say_error(&err);
        fflush(stdout);
        b->skipping = true;
        b->have = 0;
    }
    return true;
}

/* --- frames --- */

static void forward(struct badnet *b, unsigned from, const uint8_t *frame, size_t n)
{
    if (n < 14)
        return;
    isola_capture_frame(&b->capture, frame, n);
    uint64_t now = isola_clock_ns();
    for (unsigned to = 0; to < b->n; to++)
        if (to != from &&
            ((frame[0] & 1) || memcmp(frame, b->hosts[to].mac, sizeof b->hosts[to].mac) == 0))
            isola_wire_put(b->wire, from, to, frame, n, now);
}

static void take_in(struct badnet *b, unsigned from)
{
    static uint8_t frame[FRAME];
    for (int i = 0; i < TURN; i++) {
        ssize_t n = read(b->hosts[from].tap, frame, sizeof frame);
        if (n <= 0)
            return;
        forward(b, from, frame, (size_t)n);
    }
}

static void give_out(struct badnet *b)
{
    struct isola_wire_frame *f;
    while ((f = isola_wire_take(b->wire, isola_clock_ns())) != NULL) {
        ssize_t n = write(b->hosts[f->to].tap, f->bytes, f->n); /* refused: one more that is lost */
        (void)n;
        free(f);
    }
}

static void run(struct badnet *b)
{
    struct pollfd fds[ISOLA_WIRE_HOSTS + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    for (unsigned i = 0; i < b->n; i++)
        fds[i + 1] = (struct pollfd){.fd = b->hosts[i].tap, .events = POLLIN};
    for (;;) {
        uint64_t next = isola_wire_next(b->wire), now = isola_clock_ns();
        uint64_t wait = next > now ? next - now : 0;
        struct timespec t = {.tv_sec = (time_t)(wait / 1000000000u),
                             .tv_nsec = (long)(wait % 1000000000u)};
        if (ppoll(fds, b->n + 1, next == UINT64_MAX ? NULL : &t, NULL) < 0 && errno != EINTR) {
            fprintf(stderr, "badnet: poll: %s\n", strerror(errno));
            return;
        }
        if (fds[0].revents && !read_commands(b))
            return;
        for (unsigned i = 0; i < b->n; i++)
            if (fds[i + 1].revents)
                take_in(b, i);
        give_out(b);
    }
}

/* --- beginning and end --- */

static void usage(void)
{
    fprintf(stderr, "usage: badnet [--seed N] NAME=ADDRESS... (up to %d hosts)\n",
            ISOLA_WIRE_HOSTS);
    exit(2);
}

static void say_ready(const struct badnet *b, uint64_t seed)
{
    printf("{\"seed\":%" PRIu64 ",\"pid\":%d,\"hosts\":{", seed, (int)getpid());
    for (unsigned i = 0; i < b->n; i++)
        printf("%s\"%s\":{\"address\":\"%s\",\"net\":%d}", i > 0 ? "," : "", b->hosts[i].name,
               b->hosts[i].address, b->hosts[i].net);
    printf("}}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct badnet b;
    struct isola_err err;
    uint64_t seed = isola_clock_ns() % 1000000;
    int status = 0, first = 1;
    if (argc > 2 && strcmp(argv[1], "--seed") == 0) {
        char *end;
        errno = 0;
        seed = strtoull(argv[2], &end, 10);
        if (errno || end == argv[2] || *end)
            usage();
        first = 3;
    }
    if (argc - first < 1 || argc - first > ISOLA_WIRE_HOSTS)
        usage();
    for (int i = first; i < argc; i++) {
        int rc = isola_net_host_open(&b.hosts[b.n], argv[i], b.n, &err);
        if (rc == 0 && (strcmp(b.hosts[b.n].name, "all") == 0 ||
                        host_named(&b, b.hosts[b.n].name, strlen(b.hosts[b.n].name)) >= 0)) {
            rc = isola_fail(&err, ISOLA_EINVAL, "%s: the name \"%s\" is taken", argv[i],
                            b.hosts[b.n].name);
            isola_net_host_close(&b.hosts[b.n]);
        }
        if (rc != 0) {
            say_error(&err);
            status = rc == ISOLA_EPERM || rc == ISOLA_ENOENT ? CANNOT : rc == ISOLA_EINVAL ? 2 : 1;
            goto out;
        }
        b.n++;
    }
    if (isola_net_hosts_meet(b.hosts, b.n, &err) != 0) {
        say_error(&err);
        status = 1;
        goto out;
    }
    b.wire = isola_wire_new(b.n, seed);
    say_ready(&b, seed);
    run(&b);
    if (isola_capture_stop(&b.capture, &err) != 0) {
        fprintf(stderr, "badnet: %s\n", err.text);
        status = 1;
    }
    isola_wire_free(b.wire);
out:
    while (b.n > 0)
        isola_net_host_close(&b.hosts[--b.n]);
    return status;
}
