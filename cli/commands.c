/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include "cli/text.h"
#include "cli/verbs.h"

static const struct isola__command commands[] = {
    {.name = "deploy",
     .synopsis = "DIR",
     .summary = "bundle the app in DIR and make it the cluster's",
     .about = "Reads isola.json (or the \"isola\" key of package.json) in DIR, bundles the\n"
              "modules of its actor types with esbuild, and hands them to the cluster, which\n"
              "takes all of them or none. Files called NAME.actor.js or .ts are actors without\n"
              "being listed. With those, or with a \"start\" or \"main\" in package.json, which\n"
              "is a service, no manifest is needed.\n",
     .own_options =
         "  --link           run its services in DIR itself, for development: they start\n"
         "                   anew when it is deployed again. DIR is on the node's machine\n"
         "  -m, --message T  what is said of it in \"ctl releases\"\n"
         "  --wait           end when it has proven itself: all services are ready and the\n"
         "                   window of its \"rollout\" is over; with status 1 when it has\n"
         "                   failed, and the release before is current again, or the\n"
         "                   canary is dropped. --timeout is 900000 then, for all of it\n"
         "  --canary SHARE   try it beside the current release, for so many of the app's\n"
         "                   actors, and of the instances of its services: 10%, 0.5%.\n"
         "                   \"ctl promote\" makes it current, \"ctl rollback\" drops it,\n"
         "                   and the cluster does when it fails\n",
     .wait_ms = "120000",
     .examples = "  ctl deploy examples/counter\n"
                 "  ctl deploy . -m \"carts keep their order\" --wait\n"
                 "  ctl deploy . --canary 10% --wait\n"
                 "  ctl deploy --link .\n"
                 "  ctl --json deploy . | jq -r .release\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_MESSAGE, ISOLA__OPT_LINK, ISOLA__OPT_WAIT,
                 ISOLA__OPT_CANARY},
     .run = isola__run_deploy},
    {.name = "dev",
     .synopsis = "[DIR]",
     .summary = "run the app in DIR, deploying it at each save",
     .about = "Starts an agent for the app in DIR (default: the current directory), deploys it,\n"
              "deploys it again whenever a file is saved, and prints what its actors log, until\n"
              "Ctrl-C, which ends all of it, with status 0. What actors keep lies in DIR/.isola\n"
              "and is there again the next time. node_modules and what begins with a dot is not\n"
              "watched, but .env is. With --node it deploys to that agent and starts none. With\n"
              "--json one JSON line each: what `ctl --json deploy` says, and the lines logged.\n",
     .examples = "  ctl dev\n"
                 "  ctl dev examples/counter\n"
                 "  ctl --node examples/counter/.isola/agent.sock ask shop/Counter/one add 5\n",
     .max = 1,
     .run = isola__run_dev},
    {.name = "new",
     .synopsis = "[TEMPLATE [DIR]]",
     .summary = "make an app from a template",
     .about = "Copies a template into DIR (default: a directory called as the template is),\n"
              "which is made, or must be empty. The app is called as the directory is. Without\n"
              "a TEMPLATE all are listed. No agent is needed.\n",
     .examples = "  ctl new\n"
                 "  ctl new counter shop && ctl dev shop\n",
     .max = 2,
     .run = isola__run_new},
    {.name = "releases",
     .synopsis = "[APP]",
     .summary = "list what was deployed, when and by whom",
     .about = "Lists the deploys of an app, the newest first: which release each made current,\n"
              "when, who deployed it, and what they said. The last 10 releases are kept.\n"
              "Without APP, the current release of every app.\n",
     .own_options = "  --utc            times as 2031-01-02T03:04:05.678Z, not local ones\n",
     .wait_ms = "10000",
     .examples = "  ctl releases shop\n"
                 "  ctl --json releases shop | jq -r .back\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_UTC},
     .run = isola__run_releases},
    {.name = "rollback",
     .synopsis = "APP [RELEASE]",
     .summary = "make an earlier release current again",
     .about = "Makes the release current again that was so before the current one, or the one\n"
              "whose id begins with RELEASE. Done twice it goes two back: what was left by a\n"
              "roll-back is reached by its id only. Nothing is bundled or built, and nodes are\n"
              "sent only what they have not got. While there is a canary, it is dropped, and\n"
              "what is current stays.\n",
     .own_options = "  -m, --message T  what is said of it in \"ctl releases\"\n"
                    "  --wait           end when all services of that release are ready;\n"
                    "                   --timeout is 900000 then\n",
     .wait_ms = "120000",
     .examples = "  ctl rollback shop\n"
                 "  ctl rollback shop 83ab -m \"carts were lost\"\n",
     .min = 1,
     .max = 2,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_MESSAGE, ISOLA__OPT_WAIT},
     .run = isola__run_rollback},
    {.name = "promote",
     .synopsis = "APP",
     .summary = "make the canary of an app current",
     .about = "Makes the release current that \"ctl deploy --canary\" tries beside it: a deploy\n"
              "of what all nodes have, so nothing is bundled or sent.\n",
     .own_options = "  -m, --message T  what is said of it in \"ctl releases\"\n"
                    "  --wait           end when it has proven itself, as \"ctl deploy --wait\";\n"
                    "                   --timeout is 900000 then\n",
     .wait_ms = "120000",
     .examples = "  ctl promote shop\n"
                 "  ctl promote shop --wait\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_MESSAGE, ISOLA__OPT_WAIT},
     .run = isola__run_promote},
    {.name = "diff",
     .synopsis = "APP [A [B]]",
     .summary = "see what two releases have different",
     .about = "Prints what release B has different from A: types that came, went or have\n"
              "other code, with the sizes of their bundles, keys of the manifest, and files of\n"
              "services (20 of them, with --json all). B is the current release unless it is\n"
              "given, A the one that \"ctl rollback\" would go to; while there is a canary and\n"
              "neither is given, they are that and the current one. Ids may be given by their\n"
              "beginning.\n",
     .wait_ms = "60000",
     .examples = "  ctl diff shop\n"
                 "  ctl diff shop 83ab 05f7\n"
                 "  ctl --json diff shop | jq -r '.files.changed[].path'\n",
     .min = 1,
     .max = 3,
     .options = {ISOLA__OPT_TIMEOUT},
     .run = isola__run_diff},
    {.name = "delete",
     .synopsis = "APP",
     .summary = "delete an app, on every node",
     .about = "Ends the app's services, and its actors after the turn they are in, and removes\n"
              "its releases and its secrets. Messages for it are refused from then on. Nodes\n"
              "that are away learn of it when they are back. What its actors have kept stays,\n"
              "and a later deploy of the same name finds it, unless --state is said: also of an\n"
              "app that was deleted before.\n",
     .own_options =
         "  --state          remove what its actors keep too: state, storage, databases,\n"
         "                   timers, messages under way\n"
         "  --yes            do not ask\n",
     .wait_ms = "600000",
     .examples = "  ctl delete shop\n"
                 "  ctl delete shop --state --yes\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_YES, ISOLA__OPT_STATE},
     .run = isola__run_delete},
    {.name = "trust",
     .synopsis = "[VERB [NAME [KEY]]]",
     .summary = "say who may deploy",
     .about = "Lists who may deploy, or changes it: VERB is list, add, remove or init. While\n"
              "nobody is listed, anyone may who can reach an agent; from the first one on,\n"
              "nodes take only releases that one of them has signed. \"init\" makes a key to\n"
              "sign with and prints its public half, which is the KEY of \"add\", or a file\n"
              "with it; without KEY one's own is added. The key is $ISOLA_KEY, or\n"
              "~/.config/isola/key; \"ctl deploy\" signs with it.\n",
     .own_options = "  --app APP        add, remove: for this app alone\n",
     .wait_ms = "10000",
     .examples = "  ctl trust add ada                # myself\n"
                 "  ctl trust add bob bob.key --app shop\n"
                 "  ctl trust remove bob\n",
     .max = 3,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_APP},
     .run = isola__run_trust,
     .verbs = isola__trust_verbs},
    {.name = "secret",
     .synopsis = "[VERB [APP [NAME…]]]",
     .summary = "set what apps are to know and nobody else",
     .about = "VERB is set, list, rm or import. \"set APP NAME\" reads the value from standard\n"
              "input, or from a terminal without showing it; a VALUE behind NAME may be seen by\n"
              "others on the machine. \"import APP FILE\" sets all of a file of NAME=VALUE lines.\n"
              "Nodes keep them sealed, and nothing shows them again. A service gets those it\n"
              "names as \"secrets\" in the manifest as variables of its environment, actors get\n"
              "those that \"permissions\" names; what uses one that has changed begins anew.\n"
              "\"list\" prints names, when they were set and by whom.\n",
     .own_options = "  --file F         set: the value is what is in the file, as it is; - is\n"
                    "                   standard input\n"
                    "  --utc            times as 2031-01-02T03:04:05.678Z, not local ones\n",
     .wait_ms = "20000",
     .examples = "  ctl secret set shop DATABASE_URL          # asks for it\n"
                 "  pass show shop/db | ctl secret set shop DATABASE_URL\n"
                 "  ctl secret set shop TLS_KEY --file key.pem\n"
                 "  ctl secret import shop production.env\n"
                 "  ctl secret rm shop OLD_TOKEN\n",
     .max = 900,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_FILE, ISOLA__OPT_UTC},
     .run = isola__run_secret,
     .verbs = isola__secret_verbs},
    {.name = "ask",
     .synopsis = "ADDRESS EVENT [JSON…]",
     .summary = "send an event to an actor and print its reply",
     .about = "Sends EVENT with the given arguments to the actor, waits for its reply, and\n"
              "prints it as JSON: over several lines for people, on one line with --json. Each\n"
              "argument is JSON; a string therefore has quotes of its own.\n",
     .wait_ms = "10000",
     .examples = "  ctl ask shop/Counter/user-42 add 5\n"
                 "  ctl ask shop/Session/u-42 greet '\"Ada\"' '{\"loud\": true}'\n"
                 "  ctl ask shop/Counter/user-42 add -5 --timeout 500\n",
     .min = 2,
     .max = 900,
     .options = {ISOLA__OPT_TIMEOUT},
     .run = isola__run_ask},
    {.name = "emit",
     .synopsis = "ADDRESS EVENT [JSON…]",
     .summary = "send an event to an actor, one way",
     .about = "Sends EVENT with the given arguments to the actor and ends when the agent has\n"
              "it. Prints nothing, or with --json {\"sent\":true}. No such app or type is a\n"
              "failure; whether an actor handled it is not known: 'ask' for that, or\n"
              "--durable.\n",
     .own_options =
         "  --durable        send it until the actor has handled it and its state is on\n"
         "                   disk, and end then: exactly once, whatever is restarted\n"
         "                   meanwhile. With --json {\"handled\":true}\n",
     .wait_ms = "10000",
     .examples = "  ctl emit shop/Counter/user-42 add 5\n"
                 "  ctl emit shop/Counter/user-42 add 5 --durable\n"
                 "  ctl emit shop/Session/u-42 note '\"seen\"' '[1, 2, 3]'\n",
     .min = 2,
     .max = 900,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_DURABLE},
     .run = isola__run_emit},
    {.name = "on",
     .synopsis = "ADDRESS EVENT",
     .summary = "print the events an actor emits, one a line",
     .about =
         "Subscribes to EVENT of the actor and prints the arguments of each as a JSON\n"
         "array on a line of its own; with --json as {\"address\",\"event\",\"args\"}. \"ctl:\n"
         "listening …\" on stderr says that the subscription is there. Ctrl-C ends it,\n"
         "with status 0.\n",
     .own_options = "  --count N        end after N events\n",
     .examples = "  ctl on shop/Counter/user-42 changed\n"
                 "  ctl --json on shop/Counter/user-42 changed --count 1\n",
     .min = 2,
     .max = 2,
     .options = {ISOLA__OPT_COUNT},
     .run = isola__run_on},
    {.name = "ps",
     .synopsis = "[APP]",
     .summary = "list live actors, and services",
     .about = "Lists the live actors of the cluster, or of one app: address, isolation, node,\n"
              "thread, state, mailbox (messages that wait), turns (messages handled) and heap\n"
              "(of the isolate it lives in); when any has timers of self.schedule, how many,\n"
              "and when the next one is due. Then the instances of services: node, process id,\n"
              "state, port, memory, CPU time, how often they were started again, release; below\n"
              "stands why one has failed, has crashed or is not well. With --json heap and\n"
              "memory are in bytes, \"total\" is how many there are, listed or not, and\n"
              "\"unreachable\" names nodes that did not answer.\n",
     .own_options = "  -n, --lines N    how many of each node at the most (default 10000)\n",
     .wait_ms = "10000",
     .examples = "  ctl ps\n"
                 "  ctl --json ps shop | jq '.actors[] | select(.mailbox > 0)'\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_LINES},
     .run = isola__run_ps},
    {.name = "top",
     .synopsis = "[APP]",
     .summary = "watch what nodes and actors are at",
     .about = "Shows, anew every two seconds, the nodes and the actors that use most: CPU time\n"
              "(percent of one processor), messages handled a second, messages that wait, and\n"
              "heap. Keys: c, m, b, h and a sort by these and by address, r turns that round, t\n"
              "adds actors up by type, f goes through the apps, p pauses, q ends. When it is no\n"
              "terminal, with --once and with --json: one picture, of the second it looks.\n",
     .own_options = "  --once           one picture, and the end\n"
                    "  --sort KEY       cpu (default), messages, mailbox, heap, address\n"
                    "  --types          actors added up by type; heap is then the largest\n"
                    "  --top N          how many in one picture (default 20)\n"
                    "  --seconds N      between pictures, 1 to 600 (default 2, of one 1)\n",
     .wait_ms = "5000",
     .examples = "  ctl top\n"
                 "  ctl top shop --sort mailbox\n"
                 "  ctl --json top --types --seconds 10 | jq '.types[] | {type, cpu}'\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_ONCE, ISOLA__OPT_SORT, ISOLA__OPT_TYPES,
                 ISOLA__OPT_TOP, ISOLA__OPT_SECONDS},
     .run = isola__run_top},
    {.name = "timers",
     .synopsis = "[ADDRESS or APP]",
     .summary = "list durable timers, the next one first",
     .about = "Lists the timers of self.schedule, of all actors, of one app, or of one actor,\n"
              "whether they are active or not: when each is due, its event, its id, and how it\n"
              "repeats. With --json times are in ms since 1970.\n",
     .own_options = "  --top N          how many (default 50)\n"
                    "  --utc            times as 2031-01-02T03:04:05.678Z, not local ones\n",
     .wait_ms = "10000",
     .examples = "  ctl timers\n"
                 "  ctl timers shop/Cart/user-42\n"
                 "  ctl --json timers shop | jq '.timers[0].next'\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_TOP, ISOLA__OPT_UTC},
     .run = isola__run_timers},
    {.name = "nodes",
     .synopsis = "",
     .summary = "list the nodes of the cluster",
     .about = "Lists the nodes: name, state (up, starting, down, or removed), url of the mesh,\n"
              "process ids of the agent and of its actor-host, actors, threads, uptime and\n"
              "version; and which cluster they are in.\n",
     .wait_ms = "10000",
     .examples = "  ctl nodes\n"
                 "  ctl --json nodes | jq -r '.nodes[].name'\n",
     .options = {ISOLA__OPT_TIMEOUT},
     .run = isola__run_nodes},
    {.name = "links",
     .synopsis = "[NODE]",
     .summary = "list links, and what goes over them",
     .about = "Lists the links of all nodes, or of one, as each end sees its own: peer, kind\n"
              "(control: between agents; data: between actor-hosts), who dialled (out, in),\n"
              "state, round trip of the last ping, messages and bytes a second each way, what\n"
              "waits to be sent, messages refused as the queue was full, version of the wire,\n"
              "the peer's release, and for how long it is up. Rates are those of the second in\n"
              "which it looks. Below stand the cipher, links that were lost and why, and who\n"
              "did not answer.\n",
     .own_options = "  --seconds N      look for so long, 1 to 600 (default 1)\n",
     .wait_ms = "10000",
     .examples = "  ctl links\n"
                 "  ctl --json links west | jq '.links[] | select(.queued > 0)'\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_SECONDS},
     .run = isola__run_links},
    {.name = "store",
     .synopsis = "[NODE]",
     .summary = "see what nodes keep on disk, and check it",
     .about = "Lists the stores of all nodes, or of one: actors that have something there,\n"
              "bytes of their states, of self.storage and self.sql, timers, rows of durable\n"
              "messages, what is in the journal and not in the tables yet, sizes of files and\n"
              "of their write-ahead logs, commits and writes a second; then the largest actors,\n"
              "and what failed last. What changed in the last second may not be counted.\n",
     .own_options =
         "  --check          go through all of each file, while it is used: the status is\n"
         "                   1 when one is damaged. Waits for ten minutes\n"
         "  --top N          how many of the largest actors (default 10)\n"
         "  --seconds N      look for so long, 1 to 600 (default 1)\n",
     .wait_ms = "10000",
     .examples = "  ctl store\n"
                 "  ctl store east --check\n"
                 "  ctl --json store | jq '.stores[] | {node, actors, state_bytes}'\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_SECONDS, ISOLA__OPT_CHECK, ISOLA__OPT_TOP},
     .run = isola__run_store},
    {.name = "cache",
     .synopsis = "",
     .summary = "see what a node keeps of releases' files",
     .about = "Says how many pieces of files the node's package cache has, each once however\n"
              "many apps and releases have it. What no release has any more goes by itself when\n"
              "it is an hour old.\n",
     .own_options = "  --prune          drop it now; a deploy that is under way may have to be\n"
                    "                   repeated\n",
     .wait_ms = "120000",
     .examples = "  ctl cache\n"
                 "  ctl --node /srv/west/agent.sock cache --prune\n",
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_PRUNE},
     .run = isola__run_cache},
    {.name = "backup",
     .synopsis = "DIR",
     .summary = "copy what a node keeps on disk, while it runs",
     .about = "Writes a backup of the node's store and releases into DIR, which must not be\n"
              "there: all files as they were at one moment, with what each of them is. Actors\n"
              "go on meanwhile. DIR gets its name when all of it is on disk. The keys of the\n"
              "node, in the folder \"cluster\" of its data directory, are not in it. stderr says\n"
              "how far it is, when that is a terminal.\n",
     .wait_ms = "3600000",
     .examples = "  ctl backup /backups/east-monday\n"
                 "  ctl --node /srv/west/agent.sock backup west-$(date +%F)\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT},
     .run = isola__run_backup},
    {.name = "history",
     .synopsis = "ADDRESS",
     .summary = "see when an actor changed what it keeps",
     .about = "Prints the points an actor can be put back to with \"ctl restore --at\", the\n"
              "newest first, which is what it has now: when, and what had changed with it: its\n"
              "state, keys of its storage, pages of its SQL database, timers. Changes within a\n"
              "second are one point. How far it reaches, the agents' --history and\n"
              "--history-size say.\n",
     .own_options = "  --top N          how many points (default 50)\n"
                    "  --utc            times as 2031-01-02T03:04:05.678Z, not local ones\n",
     .wait_ms = "60000",
     .examples = "  ctl history shop/Cart/user-42\n"
                 "  ctl --json history shop/Cart/user-42 | jq '.points[0].time'\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_TOP, ISOLA__OPT_UTC},
     .run = isola__run_history},
    {.name = "restore",
     .synopsis = "ADDRESS or DIR",
     .summary = "put an actor back, or a data directory",
     .about = "With --at: the actor has again what it had then, its state, storage, database\n"
              "and timers. It ends after the turn it is in, and the next message finds it so.\n"
              "Messages that wait for it stay; what it has sent stays sent. That is a change\n"
              "like others: it can be put back from it the same way.\n"
              "\n"
              "With --data: puts what the backup in DIR has into a node's data directory, while\n"
              "no agent uses it. Every file is compared with what was written then, and gone\n"
              "through, before anything is changed.\n",
     .own_options =
         "  --at TIME        when: \"2031-01-02 14:32:05\" or 14:32 (local),\n"
         "                   2031-01-02T14:32:05Z, \"10m ago\", -10m, or the number of a\n"
         "                   point of \"ctl history\"\n"
         "  --dry-run        only say what that would change\n"
         "  --utc            times as 2031-01-02T03:04:05.678Z, not local ones\n"
         "  --data DATADIR   the data directory, made if need be\n"
         "  --force          also when it has data: that is moved to a folder of its own\n"
         "                   in it\n",
     .wait_ms = "120000",
     .examples = "  ctl history shop/Cart/user-42\n"
                 "  ctl restore shop/Cart/user-42 --at \"10m ago\" --dry-run\n"
                 "  ctl restore shop/Cart/user-42 --at 14:32\n"
                 "  ctl restore /backups/east-monday --data /var/lib/isola --force\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_DATA, ISOLA__OPT_FORCE, ISOLA__OPT_AT, ISOLA__OPT_DRY_RUN,
                 ISOLA__OPT_UTC, ISOLA__OPT_TIMEOUT},
     .run = isola__run_restore},
    {.name = "logs",
     .synopsis = "[ADDRESS or APP]",
     .summary = "print what actors logged",
     .about = "Prints the last lines that all actors, those of one app or of one type\n"
              "(app/Type), or one actor wrote with console.*: time, level, node, address,\n"
              "text. With --json {\"lines\":[…]}, with -f one JSON line each. What the options\n"
              "say holds for lines that are there and, with -f, for those that come.\n",
     .own_options =
         "  -n, --lines N    how many lines at first (default 200, with --since all)\n"
         "  -f, --follow     go on with new ones until Ctrl-C, which ends it with status\n"
         "                   0\n"
         "  --level LEVEL    of this level or a worse one: debug, info, warn, error\n"
         "  --since TIME     not older: 10m, 2h, 14:32, \"2031-01-02 14:32\",\n"
         "                   2031-01-02T14:32:05Z\n"
         "  --grep TEXT      with TEXT in them, in capital letters or small ones\n"
         "  --from NODE      of the actors on this node\n",
     .wait_ms = "10000",
     .examples = "  ctl logs shop\n"
                 "  ctl logs -f -n 20 shop/Counter/user-42\n"
                 "  ctl logs shop/Counter --level warn --since 10m\n"
                 "  ctl logs -f --grep timeout --from east\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_FOLLOW, ISOLA__OPT_LINES, ISOLA__OPT_LEVEL,
                 ISOLA__OPT_SINCE, ISOLA__OPT_GREP, ISOLA__OPT_FROM},
     .run = isola__run_logs},
    {.name = "dead-letters",
     .synopsis = "[ADDRESS or APP]",
     .summary = "print messages that did not reach an actor",
     .about = "Prints messages to all actors, those of one app, or one actor that reached no\n"
              "handler (no such type, the actor failed, its mailbox was full, their time was\n"
              "over) or whose handler crashed: time, node, kind, receiver, event, values,\n"
              "sender, and why. Each actor-host keeps its last 1,000 in memory; an ask among\n"
              "them was answered with the same error. With --json\n"
              "{\"letters\":[…],\"counts\":{node: how many there were}}, with -f one JSON line\n"
              "each.\n",
     .own_options =
         "  -f, --follow     go on with new ones until Ctrl-C, which ends it with status\n"
         "                   0\n",
     .wait_ms = "10000",
     .examples = "  ctl dead-letters shop\n"
                 "  ctl --json dead-letters | jq '.letters[] | .to'\n",
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_FOLLOW},
     .run = isola__run_dead_letters},
    {.name = "stop",
     .synopsis = "ADDRESS",
     .summary = "end an actor's activation, or a service",
     .about = "Ends the actor after the turn it is in. Its state stays; the next message\n"
              "activates it anew. An actor that was not active is no failure.\n"
              "\n"
              "Of a service, app/Type are all its instances, app/Type/N one on each node: they\n"
              "get SIGTERM, and stay away until a restart, or a deploy of something else.\n",
     .wait_ms = "10000",
     .examples = "  ctl stop shop/Counter/user-42\n"
                 "  ctl stop shop/Api\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT},
     .run = isola__run_stop},
    {.name = "restart",
     .synopsis = "ADDRESS",
     .summary = "start an actor anew, also one that has failed",
     .about = "Ends the actor after the turn it is in, and activates it again from its saved\n"
              "state. One that has failed (it crashed too often) takes messages again; if it\n"
              "cannot start, that is told.\n"
              "\n"
              "Of a service, app/Type are all its instances, app/Type/N one on each node: they\n"
              "are replaced one by one, each when the new one is ready; \"ctl ps\" shows it.\n",
     .own_options = "  --wait           end when all instances of the service have been replaced;\n"
                    "                   --timeout is 120000 then\n",
     .wait_ms = "10000",
     .examples = "  ctl restart shop/Counter/user-42\n"
                 "  ctl restart shop/Api --wait\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_WAIT},
     .run = isola__run_restart},
    {.name = "profile",
     .synopsis = "ADDRESS",
     .summary = "see what an actor spends its time on",
     .about = "Takes samples of what runs in the actor's isolate, a thousand a second, and\n"
              "writes a file that Chrome's DevTools opens (Performance > Load profile), with\n"
              "the author's files and lines. It begins at once, also in the middle of a\n"
              "handler that never ends. Actors with isolation \"shared\" are profiled together\n"
              "with those they share their isolate with.\n",
     .own_options = "  --seconds N      how long, 1 to 600 (default 5)\n"
                    "  -o, --output F   the file (default ADDRESS.cpuprofile, with - for /); - is\n"
                    "                   stdout\n",
     .wait_ms = "150000 + --seconds",
     .examples = "  ctl profile shop/Counter/user-42\n"
                 "  ctl profile shop/Counter/user-42 --seconds 30 -o slow.cpuprofile\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_SECONDS, ISOLA__OPT_OUTPUT},
     .run = isola__run_profile},
    {.name = "heap",
     .synopsis = "ADDRESS",
     .summary = "see what an actor keeps in memory",
     .about = "Writes all that is in the heap of the actor's isolate, and what keeps it there,\n"
              "to a file that Chrome's DevTools opens (Memory > Load). The isolate stands\n"
              "still meanwhile: a second or so for every 50 MB. Actors with isolation \"shared\"\n"
              "are in it with those they share their isolate with.\n",
     .own_options =
         "  -o, --output F   the file (default ADDRESS.heapsnapshot, with - for /); - is\n"
         "                   stdout\n",
     .wait_ms = "150000",
     .examples = "  ctl heap shop/Counter/user-42\n"
                 "  ctl heap shop/Counter/user-42 -o before.heapsnapshot\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_OUTPUT},
     .run = isola__run_heap},
    {.name = "inspect",
     .synopsis = "ADDRESS",
     .summary = "open the inspector of a service, for DevTools",
     .about = "Opens the inspector of Node.js in an instance of a service, and prints where\n"
              "DevTools and other debuggers find it: on a free port of 127.0.0.1 of this\n"
              "machine, also when the instance is at another node (--from). Works while the\n"
              "program is in a loop, too. Closes it again when ctl ends (Ctrl-C). Into actors\n"
              "look \"ctl profile\" and \"ctl heap\".\n",
     .own_options = "  --from NODE      of the instance on that node (default: the one that is\n"
                    "                   asked)\n",
     .wait_ms = "10000",
     .examples = "  ctl inspect shop/Api/0\n"
                 "  ctl inspect --from west shop/Api/0\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_FROM},
     .run = isola__run_inspect},
    {.name = "init",
     .synopsis = "",
     .summary = "make a cluster of this node",
     .about = "Makes a new cluster, of which this node is the first: it gets a key that\n"
              "certifies nodes, and the node begins to listen for others. The key stays in the\n"
              "folder \"cluster\" of this node's data directory; without it no node can be let\n"
              "in or put out, so keep a copy in a safe place. A node alone needs none of this.\n",
     .own_options = "  --name NAME      of the cluster, for people (default: isola)\n",
     .wait_ms = "10000",
     .examples = "  ctl init\n"
                 "  ctl --json init --name production | jq -r .id\n",
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_NAME},
     .run = isola__run_init},
    {.name = "token",
     .synopsis = "",
     .summary = "make a token that lets one node in",
     .about = "Prints a join token: one line, which lets one node into the cluster, once,\n"
              "until it expires. Whoever has it can join, so hand it over as you would a\n"
              "password. It is made where the cluster's key is.\n",
     .own_options = "  --expires TIME   how long it is good: 90s, 10m, 2h, up to 7d (default 1h)\n",
     .wait_ms = "10000",
     .examples = "  ctl token\n"
                 "  ctl token --expires 10m > token; node-agent --name west --join @token\n",
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_EXPIRES},
     .run = isola__run_token},
    {.name = "remove",
     .synopsis = "NODE",
     .summary = "put a node out of the cluster, for good",
     .about = "Removes a node: every node closes its links with it and refuses it from then\n"
              "on, also those that are down now and hear of it later. Its name may be used\n"
              "again by a new node. What its actors had as state is not to be had any more:\n"
              "they start anew elsewhere, without it. For a node that is only to be stopped\n"
              "for a while, stop it.\n",
     .own_options = "  --force          also when the node is up\n",
     .wait_ms = "10000",
     .examples = "  ctl remove west\n"
                 "  ctl remove west --force    # stolen, or taken over: out at once\n",
     .min = 1,
     .max = 1,
     .options = {ISOLA__OPT_TIMEOUT, ISOLA__OPT_FORCE},
     .run = isola__run_remove},
    {.name = "completion",
     .synopsis = "SHELL",
     .summary = "print a script that completes ctl's words",
     .about = "Prints what makes a shell, bash, zsh or fish, complete ctl's commands, options,\n"
              "addresses of actors, apps, nodes and files. An installed Isola has it where\n"
              "shells look for such scripts.\n",
     .examples = "  ctl completion fish | source       # in ~/.config/fish/config.fish\n"
                 "  source <(ctl completion bash)      # in ~/.bashrc\n"
                 "  source <(ctl completion zsh)       # in ~/.zshrc, after compinit\n",
     .min = 1,
     .max = 1,
     .run = isola__run_completion},
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
    "  --node SOCKET    the agent to talk to: a path, or unix:PATH (default:\n"
    "                   $ISOLA_NODE, else $ISOLA_DATA/agent.sock, else\n"
    "                   ~/.isola/agent.sock, else /run/isola/agent.sock)\n"
    "  --json           one JSON document on stdout, {\"error\":{\"code\",\"message\"}}\n"
    "                   for failures\n"
    "  -h, --help       this help, or that of a command\n"
    "  --version        the version\n";

/* Of its name and arguments, in columns. */
static size_t width_of(const struct isola__command *c)
{
    return strlen(c->name) + 1 + isola__text_width(isola_slice_str(c->synopsis));
}

void isola__command_options(const struct isola__command *command, struct isola_buf *out)
{
    if (command == NULL)
        isola_buf_puts(out, general_options);
    else if (command->own_options != NULL)
        isola_buf_puts(out, command->own_options);
    if (command != NULL && command->wait_ms != NULL)
        isola_buf_printf(out, "  --timeout MS     how long to wait for the answer (default %s)\n",
                         command->wait_ms);
}

static void about_command(const struct isola__command *c, struct isola_buf *out)
{
    bool options = c->own_options != NULL || c->wait_ms != NULL;
    isola_buf_printf(out, "Usage: ctl %s%s%s [OPTION…]\n\n%s\n%s", c->name,
                     *c->synopsis != '\0' ? " " : "", c->synopsis, c->about,
                     options ? "Options:\n" : "");
    isola__command_options(c, out);
    isola_buf_printf(out, "%sExamples:\n%s\n%s", options ? "\n" : "", c->examples, general_options);
}

void isola__command_help(const struct isola__command *command, struct isola_buf *out)
{
    if (command != NULL) {
        about_command(command, out);
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
