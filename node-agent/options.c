/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/nearest.h"
#include "node-agent/budget.h"
#include "transport/identity.h"

#define THREADS_MAX      1024
#define HOST_TIMEOUT     60
#define HOST_TIMEOUT_MAX 86400
#define HISTORY_MS       86400000u
#define HISTORY_DAYS_MAX 3650u
#define HISTORY_BYTES    (1ull << 30)

static const char help_text[] =
    "Usage: node-agent [OPTION]…\n"
    "Runs one node of Isola on this host: its actors, and its place in the mesh.\n"
    "\n"
    "  --name NAME            of this node, unique in the cluster (default: the host's name)\n"
    "  --data DIR             where everything is kept (default: $ISOLA_DATA, or ~/.isola)\n"
    "  --socket PATH          unix socket for ctl and client programs (default: DIR/agent.sock)\n"
    "  --socket-group GROUP   members of GROUP may use that socket too, and with it do all that "
    "ctl\n"
    "                         can (default: the agent's own user and root alone)\n"
    "  --listen tcp://HOST:PORT\n"
    "                         where other agents find this one, once it is in a cluster;\n"
    "                         port 0 takes a free one (default: tcp://127.0.0.1:0)\n"
    "  --data-listen tcp://HOST:PORT\n"
    "                         the same for its actor-host (default: the host of --listen, a free\n"
    "                         port)\n"
    "  --advertise HOST[:PORT]\n"
    "                         what others dial, when it is not what is listened on: behind NAT,\n"
    "                         or with --listen tcp://0.0.0.0:PORT\n"
    "  --join TOKEN           join a cluster, with what `ctl token` printed on one of its nodes;\n"
    "                         @FILE reads it from a file. Not needed again afterwards\n"
    "  --threads N            worker threads of the actor-host (default: one for each CPU)\n"
    "  --memory SIZE          beyond it the actor-host lets idle actors hibernate, e.g. 2GB\n"
    "                         (default: four fifths of what the machine or cgroup has)\n"
    "  --history TIME         how long it is kept what actors had before, for ctl history and\n"
    "                         ctl restore: 90s, 30m, 24h, 7d, or 0 for not at all (default: 24h)\n"
    "  --history-size SIZE    and how much of that, the oldest goes first, e.g. 512MB or 4GB\n"
    "                         (default: 1GB)\n"
    "  --host-timeout SECONDS\n"
    "                         an actor-host that is stuck for so long is ended, and another\n"
    "                         started: 1 to 86400, 0 for never (default: 60)\n"
    "  --help, --version\n"
    "\n"
    "Prints one line when it is ready. SIGTERM or SIGINT stops it.\n"
    "\n"
    "Examples:\n"
    "  node-agent --name east --data /var/lib/isola\n"
    "  node-agent --name west --data ./west --join isola_lgHEI…\n"
    "  node-agent --listen tcp://10.0.0.2:4711 --join @token\n"
    "\n"
    "A node begins alone, and listens to nobody on the network. `ctl init` makes a cluster of "
    "it.\n";

enum {
    OPT_HELP = 256,
    OPT_VERSION,
    OPT_HOST_TIMEOUT,
    OPT_HISTORY,
    OPT_HISTORY_SIZE,
    OPT_SOCKET_GROUP
};

static const struct option long_options[] = {
    {"name", required_argument, NULL, 'n'},
    {"data", required_argument, NULL, 'd'},
    {"socket", required_argument, NULL, 's'},
    {"socket-group", required_argument, NULL, OPT_SOCKET_GROUP},
    {"listen", required_argument, NULL, 'l'},
    {"join", required_argument, NULL, 'j'},
    {"threads", required_argument, NULL, 't'},
    {"memory", required_argument, NULL, 'm'},
    {"advertise", required_argument, NULL, 'a'},
    {"data-listen", required_argument, NULL, 'D'},
    {"host-timeout", required_argument, NULL, OPT_HOST_TIMEOUT},
    {"history", required_argument, NULL, OPT_HISTORY},
    {"history-size", required_argument, NULL, OPT_HISTORY_SIZE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
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

/* The option getopt stumbled over, as the user wrote it. */
static int bad_option(int argc, char **argv, int result)
{
    int at = optind > 0 && optind - 1 < argc ? optind - 1 : 0;
    if (result == ':')
        return wrong("option %s needs a value", argv[at]);
    if (optopt != 0 && optopt < 256 && strncmp(argv[at], "--", 2) != 0)
        return wrong("unknown option -%c", optopt);
    const char *name = argv[at] + strspn(argv[at], "-");
    struct isola_nearest near = isola_nearest_begin(isola_slice(name, strcspn(name, "=")));
    for (const struct option *o = long_options; o->name != NULL; o++)
        isola_nearest_try(&near, isola_slice_str(o->name));
    if (near.best.data != NULL)
        return wrong("unknown option %s (did you mean --%.*s?)", argv[at], ISOLA_FMT(near.best));
    return wrong("unknown option %s", argv[at]);
}

/* Who listens on all addresses must say which one others are to dial. */
static int addresses(struct isola__options *opt)
{
    if (opt->listen.host[0] == '\0')
        strcpy(opt->listen.host, "127.0.0.1");
    if (opt->data_listen.host[0] == '\0')
        strcpy(opt->data_listen.host, opt->listen.host);
    bool wildcard = isola_tcp_wildcard(&opt->listen) || isola_tcp_wildcard(&opt->data_listen);
    if (wildcard && opt->advertise.host[0] == '\0')
        return wrong("%s listens on all addresses of this machine; say with --advertise HOST which "
                     "of them other nodes are to dial",
                     isola_tcp_wildcard(&opt->listen) ? "--listen" : "--data-listen");
    return 0;
}

/* A token, or the file that has it: what stands on a command line others may see. */
static int take_token(struct isola__options *opt, const char *value)
{
    struct isola_err err;
    char text[ISOLA_TOKEN_TEXT_MAX + 16];
    if (value[0] == '@') {
        FILE *f = fopen(value + 1, "re");
        size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
        int failed = f == NULL || ferror(f) ? errno : 0;
        if (f != NULL)
            fclose(f);
        if (f == NULL || failed != 0)
            return wrong("--join %s: the file cannot be read: %s", value, strerror(failed));
        text[n] = '\0';
        value = text;
    }
    if (opt->token == NULL)
        opt->token = isola_secret_alloc(sizeof(*opt->token));
    int rc = isola_token_read(value, opt->token, &err);
    sodium_memzero(text, sizeof(text));
    return rc == 0 ? 0 : wrong("--join: %s", err.text);
}

static int take_url(struct isola_tcp *out, const char *option, const char *value)
{
    if (isola_tcp_parse(value, out))
        return 0;
    return wrong("%s \"%s\": write tcp://HOST:PORT with a numeric address, IPv6 in brackets, e.g. "
                 "tcp://127.0.0.1:4711",
                 option, value);
}

/* A group's name, or its number. */
static int take_group(struct isola__options *opt, const char *value)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    bool numeric = value[0] >= '0' && value[0] <= '9' && *end == '\0' && number < UINT_MAX;
    const struct group *named = getgrnam(value);
    if (named == NULL && !numeric)
        return wrong("--socket-group \"%s\": this machine has no such group", value);
    set(&opt->socket_group, value);
    opt->socket_gid = named != NULL ? (unsigned)named->gr_gid : (unsigned)number;
    return 0;
}

static int take_number(const char *value, unsigned min, unsigned max, const char *option,
                       unsigned *out)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    if (*end != '\0' || value[0] < '0' || value[0] > '9' || n < min || n > max)
        return wrong("%s \"%s\": give a number from %u to %u", option, value, min, max);
    *out = (unsigned)n;
    return 0;
}

/* "90s", "30m", "24h", "7d", "0". */
static int take_history(const char *value, unsigned long long *out)
{
    static const struct {
        char letter;
        unsigned long long ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    char *end;
    unsigned long long n = strtoull(value, &end, 10), unit = 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (end[0] == units[i].letter && end[1] == '\0')
            unit = units[i].ms;
    if (value[0] < '0' || value[0] > '9' || (unit == 0 && !(n == 0 && *end == '\0')) ||
        n > HISTORY_DAYS_MAX * 86400000ull || n * unit > HISTORY_DAYS_MAX * 86400000ull)
        return wrong("--history \"%s\": give a time such as 90s, 30m, 24h or 7d, %u days at the "
                     "most, or 0 for no history",
                     value, HISTORY_DAYS_MAX);
    *out = n * unit;
    return 0;
}

/* "512MB", "1G" */
static int take_history_size(const char *value, unsigned long long *out)
{
    static const char letters[] = "MGT";
    char *end;
    unsigned long long n = strtoull(value, &end, 10);
    const char *unit = *end != '\0' ? strchr(letters, *end) : NULL;
    if (value[0] < '1' || value[0] > '9' || unit == NULL || n > 1000000 ||
        (end[1] != '\0' && strcmp(end + 1, "B") != 0))
        return wrong("--history-size \"%s\": give a size such as 512MB or 4GB", value);
    *out = n << (20 + 10 * (unit - letters));
    return 0;
}

static int defaults(struct isola__options *opt)
{
    if (opt->name == NULL) {
        char host[256] = {0};
        if (gethostname(host, sizeof(host) - 1) != 0)
            return wrong("the host has no name; give one with --name");
        host[strcspn(host, ".")] = '\0';
        if (!isola_node_name_ok(host, strlen(host)))
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
    if (addresses(opt) != 0)
        return 2;
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
        if (!isola_node_name_ok(value, strlen(value)))
            return wrong("--name \"%s\": a name is 1 to %d letters, digits, '.', '_' or '-', the "
                         "first a letter or digit",
                         value, ISOLA_NODE_NAME_MAX);
        set(&opt->name, value);
        opt->named = true;
        return 0;
    case 'd':
        set(&opt->data, value);
        return 0;
    case 's':
        set(&opt->socket, value);
        return 0;
    case 'l':
        return take_url(&opt->listen, "--listen", value);
    case 'D':
        return take_url(&opt->data_listen, "--data-listen", value);
    case 'a':
        if (!isola_tcp_parse_host(value, &opt->advertise) || isola_tcp_wildcard(&opt->advertise))
            return wrong("--advertise \"%s\": give the numeric address others dial, and the port "
                         "when it differs, e.g. 10.0.0.1 or [fd00::1]:4711",
                         value);
        return 0;
    case 'j':
        return take_token(opt, value);
    case 'm':
        opt->memory = isola__memory_parse(value);
        if (opt->memory == 0)
            return wrong("--memory \"%s\": give a size of 64MB or more, such as 512MB or 2GB",
                         value);
        return 0;
    case OPT_HOST_TIMEOUT:
        return take_number(value, 0, HOST_TIMEOUT_MAX, "--host-timeout", &opt->host_timeout);
    case OPT_SOCKET_GROUP:
        return take_group(opt, value);
    case OPT_HISTORY:
        return take_history(value, &opt->history_ms);
    case OPT_HISTORY_SIZE:
        return take_history_size(value, &opt->history_bytes);
    default:
        return take_number(value, 1, THREADS_MAX, "--threads", &opt->threads);
    }
}

int isola__options_parse(int argc, char **argv, struct isola__options *out)
{
    *out = (struct isola__options){
        .host_timeout = HOST_TIMEOUT, .history_ms = HISTORY_MS, .history_bytes = HISTORY_BYTES};
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
    free(opt->socket_group);
    isola_secret_free(opt->token);
    *opt = (struct isola__options){0};
}
