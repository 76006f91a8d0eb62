/* SPDX-License-Identifier: Apache-2.0
 *
 * getopt_long in the mode that hands over operands in their order, so that what looks like a
 * negative number can be taken as an operand before getopt sees it. Not for two threads at once:
 * getopt keeps its state in globals.
 */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/canary.h"
#include "base/check.h"
#include "base/nearest.h"
#include "base/path.h"
#include "cli/commands.h"

/* Of the node that the system runs: isola.service. */
#define SERVICE_SOCKET "/run/isola/agent.sock"

#define MAX_OPERANDS   1000
#define MAX_TIMEOUT_MS (24u * 3600 * 1000)
#define MAX_LINES      10000u
#define MAX_SECONDS    600u
#define MAX_TOP        1000u
#define MAX_TEXT       512u
#define MAX_COUNT      UINT64_C(1000000000000)

/* Those that belong to all commands and have no short form. */
enum { LONG_NODE = ISOLA__OPT_END, LONG_JSON, LONG_VERSION };

static const struct option longs[] = {
    {"node", required_argument, NULL, LONG_NODE},
    {"json", no_argument, NULL, LONG_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, LONG_VERSION},
    {"timeout", required_argument, NULL, ISOLA__OPT_TIMEOUT},
    {"count", required_argument, NULL, ISOLA__OPT_COUNT},
    {"follow", no_argument, NULL, ISOLA__OPT_FOLLOW},
    {"lines", required_argument, NULL, ISOLA__OPT_LINES},
    {"seconds", required_argument, NULL, ISOLA__OPT_SECONDS},
    {"output", required_argument, NULL, ISOLA__OPT_OUTPUT},
    {"name", required_argument, NULL, ISOLA__OPT_NAME},
    {"expires", required_argument, NULL, ISOLA__OPT_EXPIRES},
    {"force", no_argument, NULL, ISOLA__OPT_FORCE},
    {"durable", no_argument, NULL, ISOLA__OPT_DURABLE},
    {"check", no_argument, NULL, ISOLA__OPT_CHECK},
    {"top", required_argument, NULL, ISOLA__OPT_TOP},
    {"data", required_argument, NULL, ISOLA__OPT_DATA},
    {"at", required_argument, NULL, ISOLA__OPT_AT},
    {"dry-run", no_argument, NULL, ISOLA__OPT_DRY_RUN},
    {"prune", no_argument, NULL, ISOLA__OPT_PRUNE},
    {"utc", no_argument, NULL, ISOLA__OPT_UTC},
    {"level", required_argument, NULL, ISOLA__OPT_LEVEL},
    {"since", required_argument, NULL, ISOLA__OPT_SINCE},
    {"grep", required_argument, NULL, ISOLA__OPT_GREP},
    {"from", required_argument, NULL, ISOLA__OPT_FROM},
    {"message", required_argument, NULL, ISOLA__OPT_MESSAGE},
    {"link", no_argument, NULL, ISOLA__OPT_LINK},
    {"once", no_argument, NULL, ISOLA__OPT_ONCE},
    {"sort", required_argument, NULL, ISOLA__OPT_SORT},
    {"types", no_argument, NULL, ISOLA__OPT_TYPES},
    {"app", required_argument, NULL, ISOLA__OPT_APP},
    {"file", required_argument, NULL, ISOLA__OPT_FILE},
    {"wait", no_argument, NULL, ISOLA__OPT_WAIT},
    {"yes", no_argument, NULL, ISOLA__OPT_YES},
    {"state", no_argument, NULL, ISOLA__OPT_STATE},
    {"canary", required_argument, NULL, ISOLA__OPT_CANARY},
    {NULL, 0, NULL, 0},
};
#define NLONGS (sizeof(longs) / sizeof(longs[0]) - 1)

/* Which options were there, to be checked against the command. */
struct seen {
    bool option[ISOLA__OPT_END - ISOLA__OPT_FIRST];
};

/* "10%", "0.5%": with four digits behind the point at the most. */
static int share(const char *text, uint32_t *out, struct isola_err *err)
{
    uint64_t n = 0, unit = ISOLA_CANARY_WHOLE / 100;
    const char *p = text;
    bool good = *p >= '0' && *p <= '9';
    for (; *p >= '0' && *p <= '9' && n <= 1000 * unit; p++)
        n = n * 10 + (uint64_t)(*p - '0') * unit;
    if (*p == '.') {
        good = good && p[1] >= '0' && p[1] <= '9';
        for (p++; *p >= '0' && *p <= '9' && unit > 1; p++)
            n += (uint64_t)(*p - '0') * (unit /= 10);
    }
    if (!good || strcmp(p, "%") != 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "option '--canary' needs a share such as 10%% or 0.5%%, not '%.60s'",
                          text);
    if (n == 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "a canary of %.60s is none: give it a share, such as 1%%; 'ctl rollback "
                          "APP' drops the one there is",
                          text);
    if (n >= ISOLA_CANARY_WHOLE)
        return isola_fail(err, ISOLA_EINVAL,
                          "a canary of %.60s is all of it: leave out --canary; 'ctl promote APP' "
                          "makes the one there is current",
                          text);
    *out = (uint32_t)n;
    return 0;
}

static int number(const char *option, const char *text, uint64_t least, uint64_t most,
                  uint64_t *out, struct isola_err *err)
{
    uint64_t v = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9' && v <= most; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == text || *p != '\0' || v < least || v > most)
        return isola_fail(err, ISOLA_EINVAL,
                          "option '%s' needs a whole number from %llu to %llu, not '%.60s'", option,
                          (unsigned long long)least, (unsigned long long)most, text);
    *out = v;
    return 0;
}

/* "90s", "10m", "2h", "7d" in milliseconds. */
static int duration(const char *option, const char *text, uint64_t *out, struct isola_err *err)
{
    static const struct {
        char letter;
        uint64_t ms;
    } units[] = {{'s', 1000}, {'m', 60 * 1000}, {'h', 3600 * 1000}, {'d', 86400 * 1000}};
    uint64_t v = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9' && v < 100000000; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (p != text && v > 0 && p[0] == units[i].letter && p[1] == '\0') {
            *out = v * units[i].ms;
            return 0;
        }
    }
    return isola_fail(err, ISOLA_EINVAL,
                      "option '%s' needs a time such as 10m, 1h or 7d, not '%.60s'", option, text);
}

/* "5000", or as above. */
static int timeout(const char *text, uint32_t *out, struct isola_err *err)
{
    uint64_t v = 0;
    if (number("--timeout", text, 1, MAX_TIMEOUT_MS, &v, err) != 0 &&
        (duration("--timeout", text, &v, err) != 0 || v > MAX_TIMEOUT_MS))
        return isola_fail(err, ISOLA_EINVAL,
                          "option '--timeout' needs milliseconds from 1 to %u, or a time such as "
                          "30s or 10m, up to 1d, not '%.60s'",
                          MAX_TIMEOUT_MS, text);
    *out = (uint32_t)v;
    return 0;
}

static int unknown_option(const char *arg, struct isola_err *err)
{
    const char *names[NLONGS];
    for (size_t i = 0; i < NLONGS; i++)
        names[i] = longs[i].name;
    const char *word = arg;
    while (*word == '-')
        word++;
    char name[40];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
    const char *near = strlen(name) > 1 ? isola_nearest_of(name, names, NLONGS) : NULL;
    if (near != NULL)
        return isola_fail(err, ISOLA_EINVAL, "unknown option '%.60s'; did you mean '--%s'?", arg,
                          near);
    return isola_fail(err, ISOLA_EINVAL,
                      "unknown option '%.60s'; see 'ctl --help' (put '--' before arguments that "
                      "begin with '-')",
                      arg);
}

/* One of `n` words. */
static int choice(const char *option, const char *text, const char *const *words, size_t n,
                  struct isola_err *err)
{
    char all[100] = "";
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, words[i]) == 0)
            return 0;
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s",
                 i == 0       ? ""
                 : i + 1 == n ? " or "
                              : ", ",
                 words[i]);
    }
    const char *near = isola_nearest_of(text, words, n);
    return isola_fail(err, ISOLA_EINVAL, "option '%s' needs %s, not '%.60s'%s%s%s", option, all,
                      text, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                      near != NULL ? "'?" : "");
}

static int some_text(const char *option, const char *text, size_t most, struct isola_err *err)
{
    size_t n = strlen(text);
    return n > 0 && n <= most
               ? 0
               : isola_fail(err, ISOLA_EINVAL, "option '%s' needs a text of 1 to %zu bytes", option,
                            most);
}

/* What getopt answered with '?': unknown, ambiguous, or a value where none belongs. */
static int refused(char **argv, struct isola_err *err)
{
    if (optopt != 0 && optopt < ISOLA__OPT_FIRST && optopt != 'h') {
        char arg[3] = {'-', (char)optopt, '\0'};
        return unknown_option(arg, err);
    }
    const char *arg = argv[optind - 1];
    if (optopt != 0)
        return isola_fail(err, ISOLA_EINVAL, "option '%.*s' takes no value", (int)strcspn(arg, "="),
                          arg);
    return unknown_option(arg, err);
}

const char *const isola__levels[ISOLA__LEVELS] = {"debug", "info", "warn", "error"};
const char *const isola__sorts[ISOLA__SORTS] = {"cpu", "messages", "mailbox", "heap", "address"};

/* An option by its short form. */
static int of_letter(int c)
{
    switch (c) {
    case 'f':
        return ISOLA__OPT_FOLLOW;
    case 'm':
        return ISOLA__OPT_MESSAGE;
    case 'n':
        return ISOLA__OPT_LINES;
    case 'o':
        return ISOLA__OPT_OUTPUT;
    default:
        return c;
    }
}

static int take(int c, struct isola__options *o, struct isola_err *err)
{
    uint64_t v = 0;
    int rc = 0;
    switch (c) {
    case LONG_NODE:
        o->node = optarg;
        return 0;
    case LONG_JSON:
        o->json = true;
        return 0;
    case 'h':
        o->help = true;
        return 0;
    case LONG_VERSION:
        o->version = true;
        return 0;
    case ISOLA__OPT_FOLLOW:
        o->follow = true;
        return 0;
    case ISOLA__OPT_TIMEOUT:
        return timeout(optarg, &o->timeout_ms, err);
    case ISOLA__OPT_NAME:
        o->name = optarg;
        return 0;
    case ISOLA__OPT_FORCE:
        o->force = true;
        return 0;
    case ISOLA__OPT_DURABLE:
        o->durable = true;
        return 0;
    case ISOLA__OPT_DATA:
        o->data = optarg;
        return *optarg != '\0'
                   ? 0
                   : isola_fail(err, ISOLA_EINVAL, "option '--data' needs the name of a directory");
    case ISOLA__OPT_AT:
        o->at = optarg;
        return 0;
    case ISOLA__OPT_DRY_RUN:
        o->dry_run = true;
        return 0;
    case ISOLA__OPT_PRUNE:
        o->prune = true;
        return 0;
    case ISOLA__OPT_UTC:
        o->utc = true;
        return 0;
    case ISOLA__OPT_LEVEL:
        o->level = optarg;
        return choice("--level", optarg, isola__levels, ISOLA__LEVELS, err);
    case ISOLA__OPT_SORT:
        o->sort = optarg;
        return choice("--sort", optarg, isola__sorts, ISOLA__SORTS, err);
    case ISOLA__OPT_WAIT:
        o->wait = true;
        return 0;
    case ISOLA__OPT_ONCE:
        o->once = true;
        return 0;
    case ISOLA__OPT_TYPES:
        o->types = true;
        return 0;
    case ISOLA__OPT_SINCE:
        o->since = optarg;
        return 0;
    case ISOLA__OPT_GREP:
        o->grep = optarg;
        return some_text("--grep", optarg, MAX_TEXT, err);
    case ISOLA__OPT_FROM:
        o->from = optarg;
        return some_text("--from", optarg, MAX_TEXT, err);
    case ISOLA__OPT_APP:
        o->app = optarg;
        return 0;
    case ISOLA__OPT_FILE:
        o->file = optarg;
        return *optarg != '\0'
                   ? 0
                   : isola_fail(err, ISOLA_EINVAL, "option '--file' needs the name of a file");
    case ISOLA__OPT_YES:
        o->yes = true;
        return 0;
    case ISOLA__OPT_STATE:
        o->state = true;
        return 0;
    case ISOLA__OPT_CANARY:
        return share(optarg, &o->share, err);
    case ISOLA__OPT_MESSAGE:
        o->message = optarg;
        return 0;
    case ISOLA__OPT_LINK:
        o->link = true;
        return 0;
    case ISOLA__OPT_CHECK:
        o->check = true;
        return 0;
    case ISOLA__OPT_TOP:
        rc = number("--top", optarg, 0, MAX_TOP, &v, err);
        o->top = (uint32_t)v;
        o->top_given = true;
        return rc;
    case ISOLA__OPT_EXPIRES:
        return duration("--expires", optarg, &o->expires_ms, err);
    case ISOLA__OPT_COUNT:
        rc = number("--count", optarg, 1, MAX_COUNT, &v, err);
        o->count = v;
        return rc;
    case ISOLA__OPT_SECONDS:
        rc = number("--seconds", optarg, 1, MAX_SECONDS, &v, err);
        o->seconds = (uint32_t)v;
        return rc;
    case ISOLA__OPT_OUTPUT:
        o->output = optarg;
        return *optarg != '\0'
                   ? 0
                   : isola_fail(err, ISOLA_EINVAL, "option '--output' needs the name of a file");
    default: /* ISOLA__OPT_LINES */
        rc = number("--lines", optarg, 0, MAX_LINES, &v, err);
        o->lines = (uint32_t)v;
        o->lines_given = true;
        return rc;
    }
}

static int take_any(int c, struct isola__options *o, struct seen *seen, struct isola_err *err)
{
    if (c >= ISOLA__OPT_FIRST && c < ISOLA__OPT_END)
        seen->option[c - ISOLA__OPT_FIRST] = true;
    return take(c, o, err);
}

static bool negative_number(const char *arg)
{
    return arg[0] == '-' && arg[1] >= '0' && arg[1] <= '9';
}

static int scan(int argc, char **argv, struct isola__options *o, struct seen *seen,
                struct isola_err *err)
{
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    for (;;) {
        if (optind > 0 && optind < argc && negative_number(argv[optind])) {
            o->operands[o->noperands++] = argv[optind++];
            continue;
        }
        optopt = 0;
        int c = getopt_long(argc, argv, "-:hfn:o:m:", longs, NULL);
        if (c == -1)
            break;
        int rc = 0;
        if (c == 1)
            o->operands[o->noperands++] = optarg;
        else if (c == ':')
            rc = isola_fail(err, ISOLA_EINVAL, "option '%.60s' needs a value; see 'ctl --help'",
                            argv[optind - 1]);
        else if (c == '?')
            rc = refused(argv, err);
        else
            rc = take_any(of_letter(c), o, seen, err);
        if (rc != 0)
            return rc;
    }
    while (optind < argc)
        o->operands[o->noperands++] = argv[optind++];
    return 0;
}

/* What others call it: PM2, docker, kubectl, heroku. NULL: none that is known. */
static const char *known_elsewhere(const char *name)
{
    static const char *const words[][2] = {
        {"status", "'ps'"},
        {"list", "'ps'"},
        {"ls", "'ps'"},
        {"info", "'ps'"},
        {"show", "'ps'"},
        {"describe", "'ps'"},
        {"services", "'ps'"},
        {"apps", "'releases'"},
        {"events", "'on', or 'logs'"},
        {"tail", "'logs -f'"},
        {"monit", "'top'"},
        {"monitor", "'top'"},
        {"stats", "'top'"},
        {"start", "'deploy', or 'restart' for what was stopped"},
        {"run", "'dev', or 'deploy'"},
        {"up", "'deploy'"},
        {"push", "'deploy'"},
        {"apply", "'deploy'"},
        {"publish", "'deploy'"},
        {"reload", "'restart'"},
        {"kill", "'stop'"},
        {"down", "'stop', or 'delete'"},
        {"rm", "'delete'"},
        {"undeploy", "'delete'"},
        {"undo", "'rollback'"},
        {"create", "'new'"},
        {"call", "'ask'"},
        {"send", "'emit'"},
        {"debug", "'inspect'"},
        {"env", "'secret', or \"env\" in isola.json"},
        {"scale", "\"instances\" in isola.json, and 'deploy'"},
        {"join", "'node-agent --join TOKEN'"},
        {"version", "'--version'"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i][0], name) == 0)
            return words[i][1];
    return NULL;
}

static int unknown_command(const char *name, struct isola_err *err)
{
    const char *elsewhere = known_elsewhere(name);
    if (elsewhere != NULL)
        return isola_fail(err, ISOLA_EINVAL, "unknown command '%s'; did you mean %s?", name,
                          elsewhere);
    const char *names[64];
    size_t n = isola__command_names(names, sizeof(names) / sizeof(names[0]));
    const char *near = isola_nearest_of(name, names, n);
    if (near != NULL)
        return isola_fail(err, ISOLA_EINVAL, "unknown command '%.60s'; did you mean '%s'?", name,
                          near);
    return isola_fail(err, ISOLA_EINVAL, "unknown command '%.60s'; see 'ctl --help'", name);
}

static const char *option_name(int option)
{
    size_t i = 0;
    while (i < NLONGS && longs[i].val != option)
        i++;
    return longs[i].name;
}

static bool has_option(const struct isola__command *command, int option)
{
    for (size_t i = 0; i < ISOLA__COMMAND_OPTIONS; i++)
        if ((int)command->options[i] == option)
            return true;
    return false;
}

static int check(struct isola__options *o, const struct seen *seen, struct isola_err *err)
{
    const struct isola__command *command = o->command;
    for (int option = ISOLA__OPT_FIRST; option < ISOLA__OPT_END; option++)
        if (seen->option[option - ISOLA__OPT_FIRST] && !has_option(command, option))
            return isola_fail(err, ISOLA_EINVAL,
                              "option '--%s' does not belong to '%s'; see 'ctl %s --help'",
                              option_name(option), command->name, command->name);
    if (o->noperands < command->min)
        return isola_fail(err, ISOLA_EINVAL, "'%s' needs more arguments: ctl %s %s", command->name,
                          command->name, command->synopsis);
    if (o->noperands > command->max)
        return isola_fail(err, ISOLA_EINVAL, "unexpected argument '%.60s': ctl %s%s%s",
                          o->operands[command->max], command->name,
                          command->synopsis[0] != '\0' ? " " : "", command->synopsis);
    return 0;
}

int isola__options_parse(int argc, char **argv, struct isola__options *out, struct isola_err *err)
{
    struct seen seen = {0};
    *out = (struct isola__options){.lines = 200};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        out->json = out->json || strcmp(argv[i], "--json") == 0;
    if (argc > MAX_OPERANDS)
        return isola_fail(err, ISOLA_EINVAL, "more than %d arguments", MAX_OPERANDS);
    out->operands = isola_zalloc(((size_t)argc + 1) * sizeof(*out->operands));

    int rc = scan(argc, argv, out, &seen, err);
    if (rc != 0)
        return rc;
    char **rest = out->operands;
    while (out->noperands > 0 && strcmp(rest[0], "help") == 0) {
        out->help = true;
        out->noperands--;
        memmove(rest, rest + 1, (out->noperands + 1) * sizeof(*rest));
    }
    if (out->noperands > 0) {
        out->command = isola__command_find(rest[0]);
        if (out->command == NULL)
            return unknown_command(rest[0], err);
        out->noperands--;
        memmove(rest, rest + 1, (out->noperands + 1) * sizeof(*rest));
    }
    if (out->help || out->version)
        return 0;
    if (out->command == NULL)
        return isola_fail(err, ISOLA_EINVAL, "no command; 'ctl --help' lists them");
    return check(out, &seen, err);
}

void isola__options_free(struct isola__options *o)
{
    free(o->operands);
    o->operands = NULL;
}

static int absolute(const char *path, char **out, struct isola_err *err)
{
    char *whole = isola_path_absolute(path);
    if (whole == NULL)
        return isola_fail(err, ISOLA_EIO, "cannot find the current directory for '%.200s': %s",
                          path, strerror(errno));
    *out = whole;
    return 0;
}

int isola__options_socket(const char *node, char **out, struct isola_err *err)
{
    const char *from = "--node";
    if (node == NULL) {
        node = getenv("ISOLA_NODE");
        from = "ISOLA_NODE";
        if (node != NULL && *node == '\0')
            node = NULL;
    }
    if (node != NULL) {
        if (strncmp(node, "unix:", 5) == 0)
            node += 5;
        else if (strstr(node, "://") != NULL)
            return isola_fail(err, ISOLA_EINVAL,
                              "%s %.200s: this release reaches agents by unix sockets only; name "
                              "one as /path/agent.sock or unix:/path/agent.sock",
                              from, node);
        if (*node == '\0')
            return isola_fail(err, ISOLA_EINVAL, "%s is empty; it names an agent's socket", from);
        return absolute(node, out, err);
    }
    const char *data = getenv("ISOLA_DATA");
    if (data != NULL && *data != '\0') {
        char *path = isola_format("%s/agent.sock", data);
        int rc = absolute(path, out, err);
        free(path);
        return rc;
    }
    const char *home = getenv("HOME");
    if (home == NULL || *home == '\0') {
        const struct passwd *user = getpwuid(getuid());
        home = user != NULL ? user->pw_dir : NULL;
    }
    char *own = home != NULL ? isola_format("%s/.isola/agent.sock", home) : NULL;
    bool service = (own == NULL || access(own, F_OK) != 0) && access(SERVICE_SOCKET, F_OK) == 0;
    if (own == NULL && !service)
        return isola_fail(err, ISOLA_EINVAL,
                          "there is no home directory to look for an agent in; use --node");
    if (service)
        free(own);
    *out = service ? isola_strdup(SERVICE_SOCKET) : own;
    return 0;
}
