/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/shells.h"
#include "cli/value.h"
#include "cli/verbs.h"

#define AGENT_MS      1000
#define MAX_ADDRESSES 1000

/* Candidates that begin with `word`. */
struct completion {
    struct isola__cli *cli;
    const char *word;
    const char *first;  /* operand of the command: an app, where releases are meant; or "" */
    const char *second; /* likewise: an app, where secrets are */
    struct isola_buf out;
    const char *rest; /* what the shell is to add by itself */
};

static bool begins(struct isola_slice s, const char *word)
{
    size_t n = strlen(word);
    return s.len >= n && memcmp(s.data, word, n) == 0;
}

/* Nothing that would end a line, or drive a terminal. */
static bool harmless(struct isola_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < ' ' || s.data[i] == 127)
            return false;
    return true;
}

static void candidate(struct completion *c, struct isola_slice name, struct isola_slice said)
{
    if (name.len == 0 || !begins(name, c->word) || !harmless(name))
        return;
    isola_buf_append(&c->out, name.data, name.len);
    if (said.len > 0 && harmless(said)) {
        isola_buf_puts(&c->out, "\t");
        isola_buf_append(&c->out, said.data, said.len);
    }
    isola_buf_puts(&c->out, "\n");
}

/* --- options, as the help lists them --- */

struct option {
    struct isola_slice name, other; /* "--lines", and "-n" or nothing */
    struct isola_slice arg;         /* "N", or nothing */
    struct isola_slice said;        /* the first line of it */
};

static struct isola_slice until(const char **p, const char *stops)
{
    const char *from = *p;
    *p += strcspn(from, stops);
    return isola_slice(from, (size_t)(*p - from));
}

/* "  -n, --lines N    how many": the next such line at `*p`, or false. */
static bool next_option(const char **p, struct option *o)
{
    while (**p != '\0') {
        const char *line = *p;
        bool is_option = strncmp(line, "  -", 3) == 0;
        *o = (struct option){0};
        if (is_option) {
            *p += 2;
            o->name = until(p, ", \n");
            if (**p == ',') {
                *p += 2;
                o->other = o->name;
                o->name = until(p, " \n");
            }
            if ((*p)[0] == ' ' && (*p)[1] != ' ') {
                ++*p;
                o->arg = until(p, " \n");
            }
            *p += strspn(*p, " ");
            o->said = until(p, "\n");
        }
        *p += strcspn(*p, "\n");
        *p += **p == '\n';
        if (is_option)
            return true;
    }
    return false;
}

/* The option `word` of `text`, or false. */
static bool find_option(const char *text, const char *word, struct option *out)
{
    while (next_option(&text, out))
        if (isola_slice_is(out->name, word) || isola_slice_is(out->other, word))
            return true;
    return false;
}

static void complete_options(struct completion *c, const char *text)
{
    struct option o;
    while (next_option(&text, &o)) {
        candidate(c, o.name, o.said);
        if (strlen(c->word) < 2)
            candidate(c, o.other, o.said);
    }
}

/* --- what the agent knows --- */

/* The array `list` of what `method` answers; NULL: it could not be had. The caller owns it. */
static json_t *ask(struct isola__cli *cli, const char *method, struct isola_buf *params,
                   const char *list)
{
    struct isola__client *client;
    struct isola_msg *answer = NULL;
    struct isola_err err;
    json_t *values = NULL, *out = NULL;
    int rc = cli->socket == NULL ? isola__options_socket(cli->options.node, &cli->socket, &err) : 0;
    rc = rc != 0 ? rc : isola__client_open(cli->socket, &client, &err);
    if (rc == 0) {
        rc = isola__client_call(client, method, isola_buf_slice(params), AGENT_MS, &answer, &err);
        isola__client_close(client);
    }
    isola_buf_free(params);
    if (rc == 0 && answer->kind == ISOLA_MSG_REPLY &&
        isola__value_to_json(answer->args, &values, &err) == 0)
        out = json_incref(json_object_get(json_array_get(values, 0), list));
    json_decref(values);
    free(answer);
    return out;
}

/* The strings `name` of what `method` lists, with the strings `said` of each. Takes `params`. */
static void complete_list(struct completion *c, const char *method, struct isola_buf *params,
                          const char *list, const char *name, const char *said)
{
    json_t *rows = ask(c->cli, method, params, list);
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        const json_t *text = json_object_get(row, name), *more = json_object_get(row, said);
        candidate(c, isola_slice(json_string_value(text), json_string_length(text)),
                  isola_slice(json_string_value(more), json_string_length(more)));
    }
    json_decref(rows);
}

static void complete_nodes(struct completion *c)
{
    struct isola_buf params = {0};
    complete_list(c, "nodes", &params, "nodes", "name", "state");
}

/* Of those that are live. */
static void complete_addresses(struct completion *c)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kuint(&params, "limit", MAX_ADDRESSES);
    complete_list(c, "ps", &params, "actors", "address", "state");
}

static void complete_apps(struct completion *c)
{
    struct isola_buf params = {0};
    complete_list(c, "releases", &params, "apps", "app", "message");
}

static void complete_releases(struct completion *c)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", c->first);
    complete_list(c, "releases", &params, "deploys", "release", "message");
}

/* Of the app that is named before. */
static void complete_secrets(struct completion *c)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", c->second);
    complete_list(c, "secrets", &params, "secrets", "name", "by");
}

static void complete_deployers(struct completion *c)
{
    struct isola_buf params = {0};
    complete_list(c, "trust", &params, "trusted", "name", "app");
}

/* --- operands --- */

static void complete_commands(struct completion *c)
{
    const char *names[64];
    size_t n = isola__command_names(names, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < n; i++) {
        const struct isola__command *command = isola__command_find(names[i]);
        candidate(c, isola_slice_str(names[i]),
                  isola_slice_str(command != NULL ? command->summary : "this help"));
    }
}

static void complete_templates(struct completion *c)
{
    char *path = isola_path_installed("templates");
    DIR *dir = path != NULL ? opendir(path) : NULL;
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && strchr(entry->d_name, '.') == NULL)
            candidate(c, isola_slice_str(entry->d_name), (struct isola_slice){0});
    if (dir != NULL)
        closedir(dir);
    free(path);
}

static void complete_shells(struct completion *c)
{
    for (size_t i = 0; i < ISOLA__NSHELLS; i++)
        candidate(c, isola_slice_str(isola__shells[i].name), (struct isola_slice){0});
}

static void complete_words(struct completion *c, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        candidate(c, isola_slice_str(words[i]), (struct isola_slice){0});
}

/* What the help calls `what`: an operand, or the value of an option. */
static void complete_kind(struct completion *c, struct isola_slice what)
{
    if (isola_slice_is(what, "ADDRESS"))
        complete_addresses(c);
    else if (isola_slice_is(what, "APP"))
        complete_apps(c);
    else if (isola_slice_is(what, "RELEASE") || isola_slice_is(what, "A") ||
             isola_slice_is(what, "B"))
        complete_releases(c);
    else if (isola_slice_is(what, "SECRET"))
        complete_secrets(c);
    else if (isola_slice_is(what, "DEPLOYER"))
        complete_deployers(c);
    else if (isola_slice_is(what, "NODE"))
        complete_nodes(c);
    else if (isola_slice_is(what, "COMMAND"))
        complete_commands(c);
    else if (isola_slice_is(what, "TEMPLATE"))
        complete_templates(c);
    else if (isola_slice_is(what, "DIR") || isola_slice_is(what, "DATADIR"))
        c->rest = ":dirs";
    else if (isola_slice_is(what, "FILE") || isola_slice_is(what, "F") ||
             isola_slice_is(what, "SOCKET"))
        c->rest = ":files";
    else if (isola_slice_is(what, "SHELL"))
        complete_shells(c);
    else if (isola_slice_is(what, "LEVEL"))
        complete_words(c, isola__levels, ISOLA__LEVELS);
    else if (isola_slice_is(what, "KEY"))
        complete_words(c, isola__sorts, ISOLA__SORTS);
}

static void complete_verbs(struct completion *c, const struct isola__verb *verbs)
{
    for (const struct isola__verb *v = verbs; v->name != NULL; v++)
        candidate(c, isola_slice_str(v->name), isola_slice_str(v->summary));
}

/* "ADDRESS EVENT [JSON…]", "[ADDRESS or APP]": the kinds of operand `number`. */
static void complete_operand(struct completion *c, const char *synopsis, size_t number)
{
    bool more = true; /* this word is one more kind of the same operand */
    size_t at = 0;
    for (const char *p = synopsis + strspn(synopsis, " []"); *p != '\0'; p += strspn(p, " []")) {
        struct isola_slice word = until(&p, " []");
        if (isola_slice_is(word, "or")) {
            more = true;
            continue;
        }
        at += !more;
        more = false;
        /* "NAME…" is the last, and each that follows. */
        size_t dots = word.len > 3 && memcmp(word.data + word.len - 3, "…", 3) == 0 ? 3 : 0;
        if (at == number || (dots > 0 && number > at))
            complete_kind(c, isola_slice(word.data, word.len - dots));
    }
}

static void complete_command(struct completion *c, const struct isola__command *command,
                             size_t number)
{
    const struct isola__verb *v = command->verbs;
    if (v == NULL) {
        complete_operand(c, command->synopsis, number);
    } else if (number == 0) {
        complete_verbs(c, v);
    } else {
        while (v->name != NULL && strcmp(v->name, c->first) != 0)
            v++;
        if (v->name != NULL)
            complete_operand(c, v->synopsis, number - 1);
    }
}

/* --- the words so far --- */

struct line {
    const struct isola__command *command; /* NULL: not named yet */
    bool help, unknown, ended;            /* of commands; it names none; "--" was there */
    size_t operands;                      /* of the command */
    const char *first, *second;           /* of them */
    struct isola_buf options;             /* as the help lists them */
    struct isola_slice wants; /* what the help calls the value that follows; empty: none does */
};

static void take_option(struct line *l, const char *word, struct isola__cli *cli)
{
    struct option o;
    const char *text = isola_buf_cstr(&l->options);
    if (strncmp(word, "--node=", 7) == 0)
        cli->options.node = word + 7;
    else if (text != NULL && find_option(text, word, &o))
        l->wants = o.arg;
}

/* `before`: the word before, or "". */
static void take_word(struct line *l, const char *word, const char *before, struct isola__cli *cli)
{
    if (l->wants.len > 0) {
        if (strcmp(before, "--node") == 0)
            cli->options.node = word;
        l->wants = (struct isola_slice){0};
    } else if (!l->ended && strcmp(word, "--") == 0) {
        l->ended = true;
    } else if (!l->ended && word[0] == '-' && word[1] != '\0') {
        take_option(l, word, cli);
    } else if (l->command != NULL || l->unknown) {
        if (l->operands == 0)
            l->first = word;
        else if (l->operands == 1)
            l->second = word;
        l->operands++;
    } else if (!l->help && strcmp(word, "help") == 0) {
        l->help = true;
    } else {
        l->command = isola__command_find(word);
        l->unknown = l->command == NULL;
        if (l->command != NULL)
            isola__command_options(l->command, &l->options);
    }
}

void isola__complete(struct isola__cli *cli, int nwords, char **words)
{
    struct completion c = {.cli = cli, .word = nwords > 0 ? words[nwords - 1] : "", .rest = ":"};
    struct line l = {0};
    isola__command_options(NULL, &l.options);
    for (int i = 0; i + 1 < nwords; i++)
        take_word(&l, words[i], i > 0 ? words[i - 1] : "", cli);
    const char *text = isola_buf_cstr(&l.options);
    c.first = l.operands > 0 ? l.first : "";
    c.second = l.operands > 1 ? l.second : "";
    if (l.wants.len > 0)
        complete_kind(&c, l.wants);
    else if (!l.ended && c.word[0] == '-' && text != NULL)
        complete_options(&c, text);
    else if (l.command == NULL && !l.unknown)
        complete_commands(&c);
    else if (l.command != NULL && !l.help)
        complete_command(&c, l.command, l.operands);
    isola_buf_puts(&c.out, c.rest);
    isola_buf_puts(&c.out, "\n");
    (void)isola__out(cli, &c.out);
    isola_buf_free(&l.options);
}
