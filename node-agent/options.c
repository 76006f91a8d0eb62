/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "node-agent/budget.h"

#define THREADS_MAX 1024

static const char help_text[] =
    "Usage: node-agent [OPTION]…\n"
    "Runs one node of Isola on this host: its actors, and its place in the mesh.\n"
    "\n"
    "  --name NAME            of this node, unique in the mesh (default: the host's name)\n"
    "  --data DIR             where everything is kept (default: $ISOLA_DATA, or ~/.isola)\n"
    "  --socket PATH          unix socket for ctl and client programs (default: DIR/agent.sock)\n"
    "  --listen tcp://HOST:PORT\n"
    "                         for other agents; loopback only, port 0 takes a free one\n"
    "                         (default: tcp://127.0.0.1:0)\n"
    "  --join TOKEN           join the mesh of a live agent: its tcp:// url\n"
    "  --threads N            worker threads of the actor-host (default: one for each CPU)\n"
    "  --memory SIZE          beyond it the actor-host lets idle actors hibernate, e.g. 2GB\n"
    "                         (default: four fifths of what the machine or cgroup has)\n"
    "  --help, --version\n"
    "\n"
    "Prints one line when it is ready. SIGTERM or SIGINT stops it.\n"
    "\n"
    "Examples:\n"
    "  node-agent --name east --data /var/lib/isola\n"
    "  node-agent --name west --data ./west --join tcp://127.0.0.1:4711\n";

enum { OPT_HELP = 256, OPT_VERSION };

static const struct option long_options[] = {
    {"name", required_argument, NULL, 'n'},      {"data", required_argument, NULL, 'd'},
    {"socket", required_argument, NULL, 's'},    {"listen", required_argument, NULL, 'l'},
    {"join", required_argument, NULL, 'j'},      {"threads", required_argument, NULL, 't'},
    {"memory", required_argument, NULL, 'm'},    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION}, {NULL, 0, NULL, 0},
};

static int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int wrong(const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "node-agent: %s; see node-agent --help\n", text);
    return 2;
}

static void set(char **field, const char *value)
{
    free(*field);
    *field = isola_strdup(value);
}

static int alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int isola__node_name_ok(const char *name, unsigned long len)
{
    if (len == 0 || len > ISOLA_NODE_NAME_MAX || !alnum(name[0]))
        return 0;
    for (unsigned long i = 1; i < len; i++) {
        if (!alnum(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
            return 0;
    }
    return 1;
}

/* The option getopt stumbled over, as the user wrote it. */
static int bad_option(int argc, char **argv, int result)
{
    int at = optind > 0 && optind - 1 < argc ? optind - 1 : 0;
    if (result == ':')
        return wrong("option %s needs a value", argv[at]);
    if (optopt != 0 && optopt < 256 && strncmp(argv[at], "--", 2) != 0)
        return wrong("unknown option -%c", optopt);
    return wrong("unknown option %s", argv[at]);
}

static int defaults(struct isola__options *opt)
{
    if (opt->name == NULL) {
        char host[256] = {0};
        if (gethostname(host, sizeof(host) - 1) != 0)
            return wrong("the host has no name; give one with --name");
        host[strcspn(host, ".")] = '\0';
        if (!isola__node_name_ok(host, strlen(host)))
            return wrong("the host's name \"%s\" cannot name a node; give one with --name", host);
        opt->name = isola_strdup(host);
    }
    if (opt->data == NULL) {
        const char *data = getenv("ISOLA_DATA");
        const char *home = getenv("HOME");
        if (data != NULL && data[0] != '\0')
            opt->data = isola_strdup(data);
        else if (home != NULL && home[0] != '\0')
            opt->data = isola_format("%s/.isola", home);
        else
            return wrong("neither ISOLA_DATA nor HOME is set; name the data directory with --data");
    }
    if (opt->socket == NULL)
        opt->socket = isola_format("%s/agent.sock", opt->data);
    if (opt->listen == NULL)
        opt->listen = isola_strdup("tcp://127.0.0.1:0");
    if (opt->threads == 0) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        opt->threads = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (unsigned)cpus;
    }
    if (opt->memory == 0)
        opt->memory = isola__memory_available() / 5 * 4;
    return 0;
}

static int take(struct isola__options *opt, int option, const char *value)
{
    if (value[0] == '\0') {
        for (const struct option *o = long_options; o->name != NULL; o++) {
            if (o->val == option)
                return wrong("option --%s needs a value", o->name);
        }
    }
    switch (option) {
    case 'n':
        if (!isola__node_name_ok(value, strlen(value)))
            return wrong("--name \"%s\": a name is 1 to %d letters, digits, '.', '_' or '-', the "
                         "first a letter or digit",
                         value, ISOLA_NODE_NAME_MAX);
        set(&opt->name, value);
        return 0;
    case 'd':
        set(&opt->data, value);
        return 0;
    case 's':
        set(&opt->socket, value);
        return 0;
    case 'l':
        if (strncmp(value, "tcp://", 6) != 0)
            return wrong("--listen \"%s\": write tcp://HOST:PORT, e.g. tcp://127.0.0.1:4711",
                         value);
        set(&opt->listen, value);
        return 0;
    case 'j':
        if (strncmp(value, "tcp://", 6) != 0)
            return wrong("--join \"%s\": give the url a live agent printed when it was ready, e.g. "
                         "tcp://127.0.0.1:4711",
                         value);
        set(&opt->join, value);
        return 0;
    case 'm':
        opt->memory = isola__memory_parse(value);
        if (opt->memory == 0)
            return wrong("--memory \"%s\": give a size of 64MB or more, such as 512MB or 2GB",
                         value);
        return 0;
    default: {
        char *end;
        unsigned long n = strtoul(value, &end, 10);
        if (*end != '\0' || value[0] < '0' || value[0] > '9' || n < 1 || n > THREADS_MAX)
            return wrong("--threads \"%s\": give a number from 1 to %d", value, THREADS_MAX);
        opt->threads = (unsigned)n;
        return 0;
    }
    }
}

int isola__options_parse(int argc, char **argv, struct isola__options *out)
{
    *out = (struct isola__options){0};
    opterr = 0;
    int option;
    int rc;
    while ((option = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
        switch (option) {
        case OPT_HELP:
            fputs(help_text, stdout);
            return 1;
        case OPT_VERSION:
            puts("node-agent " ISOLA_VERSION);
            return 1;
        case ':':
        case '?':
            return bad_option(argc, argv, option);
        default:
            rc = take(out, option, optarg);
            if (rc != 0)
                return rc;
        }
    }
    if (optind < argc)
        return wrong("unexpected argument \"%s\"", argv[optind]);
    return defaults(out);
}

void isola__options_free(struct isola__options *opt)
{
    free(opt->name);
    free(opt->data);
    free(opt->socket);
    free(opt->listen);
    free(opt->join);
    *opt = (struct isola__options){0};
}
