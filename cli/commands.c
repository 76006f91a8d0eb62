/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include "cli/text.h"

#define TIMEOUT_HELP(ms) "  --timeout MS     how long to wait for the answer (default " ms ")\n"

static const struct isola__command commands[] = {
    {"deploy", "DIR", "bundle the app in DIR and make it the cluster's",
     "Reads isola.json (or the \"isola\" key of package.json) in DIR, bundles the modules of its\n"
     "actor types with esbuild, and hands them to the cluster, which takes all of them or none.\n"
     "\n"
     "Options:\n" TIMEOUT_HELP("120000") "\n"
                                         "Examples:\n"
                                         "  ctl deploy examples/counter\n"
                                         "  ctl --json deploy . | jq -r .release\n",
     1, 1, ISOLA__OPT_TIMEOUT, isola__run_deploy},
    {"ask", "ADDRESS EVENT [JSON…]", "send an event to an actor and print its reply",
     "Sends EVENT with the given arguments to the actor, waits for its reply, and prints it as\n"
     "JSON: over several lines for people, on one line with --json. Each argument is JSON; a\n"
     "string therefore has quotes of its own.\n"
     "\n"
     "Options:\n" TIMEOUT_HELP(
         "10000") "\n"
                  "Examples:\n"
                  "  ctl ask shop/Counter/user-42 add 5\n"
                  "  ctl ask shop/Session/u-42 greet '\"Ada\"' '{\"loud\": true}'\n"
                  "  ctl ask shop/Counter/user-42 add -5 --timeout 500\n",
     2, 900, ISOLA__OPT_TIMEOUT, isola__run_ask},
    {"emit", "ADDRESS EVENT [JSON…]", "send an event to an actor, one way",
     "Sends EVENT with the given arguments to the actor and ends when the agent has it. Prints\n"
     "nothing, or with --json {\"sent\":true}. No such app or type is a failure;\n"
     "whether an actor handled it is not known: 'ask' for that, or --durable.\n"
     "\n"
     "Options:\n"
     "  --durable        send it until the actor has handled it and its state is on disk, and\n"
     "                   end then: exactly once, whatever is restarted meanwhile. With --json\n"
     "                   {\"handled\":true}\n" TIMEOUT_HELP(
         "10000") "\n"
                  "Examples:\n"
                  "  ctl emit shop/Counter/user-42 add 5\n"
                  "  ctl emit shop/Counter/user-42 add 5 --durable\n"
                  "  ctl emit shop/Session/u-42 note '\"seen\"' '[1, 2, 3]'\n",
     2, 900, ISOLA__OPT_TIMEOUT | ISOLA__OPT_DURABLE, isola__run_emit},
    {"on", "ADDRESS EVENT", "print the events an actor emits, one a line",
     "Subscribes to EVENT of the actor and prints the arguments of each as a JSON array on a line\n"
     "of its own; with --json as {\"address\",\"event\",\"args\"}. \"ctl: listening …\" on stderr\n"
     "says that the subscription is there. Ctrl-C ends it, with status 0.\n"
     "\n"
     "Options:\n"
     "  --count N        end after N events\n"
     "\n"
     "Examples:\n"
     "  ctl on shop/Counter/user-42 changed\n"
     "  ctl --json on shop/Counter/user-42 changed --count 1\n",
     2, 2, ISOLA__OPT_COUNT, isola__run_on},
    {"ps", "[APP]", "list the actors that are live",
     "Lists the live actors of the cluster, or of one app: address, isolation, node, thread, "
     "state,\n"
     "mailbox (messages that wait), turns (messages handled) and heap (of the isolate it lives\n"
     "in). With --json heap is in bytes, \"total\" is how many there are, listed or not, and\n"
     "\"unreachable\" names nodes that did not answer.\n"
     "\n"
     "Options:\n"
     "  -n, --lines N    how many of each node at the most (default 10000)\n" TIMEOUT_HELP(
         "10000") "\n"
                  "Examples:\n"
                  "  ctl ps\n"
                  "  ctl --json ps shop | jq '.actors[] | select(.mailbox > 0)'\n",
     0, 1, ISOLA__OPT_TIMEOUT | ISOLA__OPT_LINES, isola__run_ps},
    {"nodes", "", "list the nodes of the cluster",
     "Lists the nodes: name, state (up, starting, down, or removed), url of the mesh, process ids\n"
     "of the agent and of its actor-host, actors, threads, uptime and version; and which cluster\n"
     "they are in.\n"
     "\n"
     "Options:\n" TIMEOUT_HELP("10000") "\n"
                                        "Examples:\n"
                                        "  ctl nodes\n"
                                        "  ctl --json nodes | jq -r '.nodes[].name'\n",
     0, 0, ISOLA__OPT_TIMEOUT, isola__run_nodes},
    {"links", "[NODE]", "list the links between nodes, and what goes over them",
     "Lists the links of all nodes, or of one, as each end sees its own: peer, kind (control: "
     "between\n"
     "agents; data: between actor-hosts), who dialled (out, in), state, round trip of the last "
     "ping,\n"
     "messages and bytes a second each way, what waits to be sent, messages refused as the queue "
     "was\n"
     "full, version of the wire, the peer's release, and for how long it is up. Rates are those "
     "of\n"
     "the second in which it looks. Below stand the cipher, links that were lost and why, and\n"
     "who did not answer.\n"
     "\n"
     "Options:\n"
     "  --seconds N      look for so long, 1 to 600 (default 1)\n" TIMEOUT_HELP(
         "10000") "\n"
                  "Examples:\n"
                  "  ctl links\n"
                  "  ctl --json links west | jq '.links[] | select(.queued > 0)'\n",
     0, 1, ISOLA__OPT_TIMEOUT | ISOLA__OPT_SECONDS, isola__run_links},
    {"logs", "[ADDRESS or APP]", "print what actors logged",
     "Prints the last lines that all actors, those of one app, or one actor wrote with console.*:\n"
     "time, level, node, address, text. With --json {\"lines\":[…]}, with -f one JSON line each.\n"
     "\n"
     "Options:\n"
     "  -n, --lines N    how many lines at first (default 200)\n"
     "  -f, --follow     go on with new ones until Ctrl-C, which ends it with status "
     "0\n" TIMEOUT_HELP("10000") "\n"
                                 "Examples:\n"
                                 "  ctl logs shop\n"
                                 "  ctl logs -f -n 20 shop/Counter/user-42\n",
     0, 1, ISOLA__OPT_TIMEOUT | ISOLA__OPT_FOLLOW | ISOLA__OPT_LINES, isola__run_logs},
    {"dead-letters", "[ADDRESS or APP]", "print messages that did not reach an actor",
     "Prints messages to all actors, those of one app, or one actor that reached no handler (no "
     "such\n"
     "type, the actor failed, its mailbox was full, their time was over) or whose handler "
     "crashed:\n"
     "time, node, kind, receiver, event, values, sender, and why. Each actor-host keeps its last\n"
     "1,000 in memory; an ask among them was answered with the same error. With --json\n"
     "{\"letters\":[…],\"counts\":{node: how many there were}}, with -f one JSON line each.\n"
     "\n"
     "Options:\n"
     "  -f, --follow     go on with new ones until Ctrl-C, which ends it with status "
     "0\n" TIMEOUT_HELP("10000") "\n"
                                 "Examples:\n"
                                 "  ctl dead-letters shop\n"
                                 "  ctl --json dead-letters | jq '.letters[] | .to'\n",
     0, 1, ISOLA__OPT_TIMEOUT | ISOLA__OPT_FOLLOW, isola__run_dead_letters},
    {"stop", "ADDRESS", "end an actor's activation",
     "Ends the actor after the turn it is in. Its state stays; the next message activates it "
     "anew.\n"
     "An actor that was not active is no failure.\n"
     "\n"
     "Options:\n" TIMEOUT_HELP("10000") "\n"
                                        "Examples:\n"
                                        "  ctl stop shop/Counter/user-42\n",
     1, 1, ISOLA__OPT_TIMEOUT, isola__run_stop},
    {"restart", "ADDRESS", "start an actor anew, also one that has failed",
     "Ends the actor after the turn it is in, and activates it again from its saved state. One "
     "that\n"
     "has failed (it crashed too often) takes messages again; if it cannot start, that is told.\n"
     "\n"
     "Options:\n" TIMEOUT_HELP("10000") "\n"
                                        "Examples:\n"
                                        "  ctl restart shop/Counter/user-42\n",
     1, 1, ISOLA__OPT_TIMEOUT, isola__run_restart},
    {"profile", "ADDRESS", "see what an actor spends its time on",
     "Takes samples of what runs in the actor's isolate, a thousand a second, and writes a file\n"
     "that Chrome's DevTools opens (Performance > Load profile), with the author's files and\n"
     "lines. It begins at once, also in the middle of a handler that never ends. Actors with\n"
     "isolation \"shared\" are profiled together with those they share their isolate with.\n"
     "\n"
     "Options:\n"
     "  --seconds N      how long, 1 to 600 (default 5)\n"
     "  -o, --output F   the file (default ADDRESS.cpuprofile, with - for /); - is "
     "stdout\n" TIMEOUT_HELP("150000 more than that") "\n"
                                                      "Examples:\n"
                                                      "  ctl profile shop/Counter/user-42\n"
                                                      "  ctl profile shop/Counter/user-42 "
                                                      "--seconds 30 -o slow.cpuprofile\n",
     1, 1, ISOLA__OPT_TIMEOUT | ISOLA__OPT_SECONDS | ISOLA__OPT_OUTPUT, isola__run_profile},
    {"heap", "ADDRESS", "see what an actor keeps in memory",
     "Writes all that is in the heap of the actor's isolate, and what keeps it there, to a file\n"
     "that Chrome's DevTools opens (Memory > Load). The isolate stands still meanwhile: a second\n"
     "or so for every 50 MB. Actors with isolation \"shared\" are in it with those they share\n"
     "their isolate with.\n"
     "\n"
     "Options:\n"
     "  -o, --output F   the file (default ADDRESS.heapsnapshot, with - for /); - is "
     "stdout\n" TIMEOUT_HELP("150000") "\n"
                                       "Examples:\n"
                                       "  ctl heap shop/Counter/user-42\n"
                                       "  ctl heap shop/Counter/user-42 -o before.heapsnapshot\n",
     1, 1, ISOLA__OPT_TIMEOUT | ISOLA__OPT_OUTPUT, isola__run_heap},
    {"init", "", "make a cluster of this node",
     "Makes a new cluster, of which this node is the first: it gets a key that certifies nodes, "
     "and\n"
     "the node begins to listen for others. The key stays in the folder \"cluster\" of this "
     "node's\n"
     "data directory; without it no node can be let in or put out, so keep a copy in a safe "
     "place.\n"
     "A node alone needs none of this.\n"
     "\n"
     "Options:\n"
     "  --name NAME      of the cluster, for people (default: isola)\n" TIMEOUT_HELP(
         "10000") "\n"
                  "Examples:\n"
                  "  ctl init\n"
                  "  ctl --json init --name production | jq -r .id\n",
     0, 0, ISOLA__OPT_TIMEOUT | ISOLA__OPT_NAME, isola__run_init},
    {"token", "", "make a token that lets one node in",
     "Prints a join token: one line, which lets one node into the cluster, once, until it "
     "expires.\n"
     "Whoever has it can join, so hand it over as you would a password. It is made where the\n"
     "cluster's key is.\n"
     "\n"
     "Options:\n"
     "  --expires TIME   how long it is good: 90s, 10m, 2h, up to 7d (default 1h)\n" TIMEOUT_HELP(
         "10000") "\n"
                  "Examples:\n"
                  "  ctl token\n"
                  "  ctl token --expires 10m > token; node-agent --name west --join @token\n",
     0, 0, ISOLA__OPT_TIMEOUT | ISOLA__OPT_EXPIRES, isola__run_token},
    {"remove", "NODE", "put a node out of the cluster, for good",
     "Removes a node: every node closes its links with it and refuses it from then on, also those\n"
     "that are down now and hear of it later. Its name may be used again by a new node. What its\n"
     "actors had as state is not to be had any more: they start anew elsewhere, without it. For a\n"
     "node that is only to be stopped for a while, stop it.\n"
     "\n"
     "Options:\n"
     "  --force          also when the node is up\n" TIMEOUT_HELP(
         "10000") "\n"
                  "Examples:\n"
                  "  ctl remove west\n"
                  "  ctl remove west --force    # stolen, or taken over: out at once\n",
     1, 1, ISOLA__OPT_TIMEOUT | ISOLA__OPT_FORCE, isola__run_remove},
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct isola__command *isola__command_find(const char *name)
{
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

size_t isola__command_names(const char **names, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < NCOMMANDS && n < room; i++)
        names[n++] = commands[i].name;
    if (n < room)
        names[n++] = "help";
    return n;
}

static const char general_options[] =
    "Options of all commands, before or after them:\n"
    "  --node SOCKET    the agent to talk to: a path, or unix:PATH (default: $ISOLA_NODE, else\n"
    "                   $ISOLA_DATA/agent.sock, else ~/.isola/agent.sock)\n"
    "  --json           one JSON document on stdout, {\"error\":{\"code\",\"message\"}} for "
    "failures\n"
    "  -h, --help       this help, or that of a command\n"
    "  --version        the version\n";

/* Of its name and arguments, in columns. */
static size_t width_of(const struct isola__command *c)
{
    return strlen(c->name) + 1 + isola__text_width(isola_slice_str(c->synopsis));
}

void isola__command_help(const struct isola__command *command, struct isola_buf *out)
{
    if (command != NULL) {
        isola_buf_printf(out, "Usage: ctl %s%s%s [OPTION…]\n\n%s\n%s", command->name,
                         *command->synopsis != '\0' ? " " : "", command->synopsis, command->help,
                         general_options);
        return;
    }
    isola_buf_puts(out, "Usage: ctl [OPTION…] COMMAND [ARGUMENT…]\n\nThe command line of Isola: "
                        "talks to any agent of the cluster.\n\nCommands:\n");
    size_t widest = 0;
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (width_of(&commands[i]) > widest)
            widest = width_of(&commands[i]);
    for (size_t i = 0; i < NCOMMANDS; i++) {
        const struct isola__command *c = &commands[i];
        isola_buf_printf(out, "  %s %s", c->name, c->synopsis);
        for (size_t width = width_of(c); width < widest + 2; width++)
            isola_buf_puts(out, " ");
        isola_buf_puts(out, c->summary);
        isola_buf_puts(out, "\n");
    }
    isola_buf_printf(out,
                     "  %-*s%s\n\n%s\nExit status: 0 done, 1 it failed, 2 wrong usage.\n\n"
                     "Examples:\n"
                     "  ctl deploy examples/counter\n"
                     "  ctl ask shop/Counter/user-42 add 5\n"
                     "  ctl help ask\n",
                     (int)widest + 2, "help [COMMAND]",
                     "this help, or that of a command, with examples", general_options);
}
