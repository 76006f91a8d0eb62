/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verbs.h"

#include <string.h>

#include "base/nearest.h"
#include "cli/cli.h"
#include "cli/commands.h"

const struct isola__verb isola__secret_verbs[] = {
    {"set", "APP SECRET VALUE", "an APP, a NAME and perhaps a VALUE", "set one", 3, 4},
    {"list", "APP", "an APP, or nothing for all", "list which there are", 1, 2},
    {"rm", "APP SECRET…", "an APP and NAMEs", "remove some", 3, 900},
    {"import", "APP FILE", "an APP and a FILE", "set all of a file of NAME=VALUE lines", 3, 3},
    {NULL, NULL, NULL, NULL, 0, 0},
};

const struct isola__verb isola__trust_verbs[] = {
    {"init", "", "nothing more", "make a key to sign with, and print it", 1, 1},
    {"list", "", "nothing more", "list who may deploy", 1, 1},
    {"add", "NAME FILE", "a NAME and perhaps a KEY", "let one deploy", 2, 3},
    {"remove", "DEPLOYER", "a NAME", "let one deploy no more", 2, 2},
    {NULL, NULL, NULL, NULL, 0, 0},
};

static void fail_unknown(struct isola__cli *cli, const struct isola__verb *verbs, const char *word)
{
    struct isola_buf names = {0};
    char hint[ISOLA_NEAREST_HINT];
    struct isola_nearest near = isola_nearest_begin(isola_slice_str(word));
    for (const struct isola__verb *v = verbs; v->name != NULL; v++) {
        isola_nearest_try(&near, isola_slice_str(v->name));
        isola_buf_printf(&names, "%s%s",
                         v == verbs          ? ""
                         : v[1].name == NULL ? " and "
                                             : ", ",
                         v->name);
    }
    isola__fail_usage(cli, "'ctl %s' knows %s, not '%.60s'%s", cli->options.command->name,
                      isola_buf_cstr(&names), word, isola_nearest_hint(&near, hint));
    isola_buf_free(&names);
}

const struct isola__verb *isola__verb_of(struct isola__cli *cli, const struct isola__verb *verbs)
{
    const char *word = cli->options.noperands > 0 ? cli->options.operands[0] : "list";
    size_t n = cli->options.noperands > 0 ? cli->options.noperands : 1;
    const struct isola__verb *v = verbs;
    while (v->name != NULL && strcmp(v->name, word) != 0)
        v++;
    if (v->name == NULL) {
        fail_unknown(cli, verbs, word);
        return NULL;
    }
    if (n >= v->min && n <= v->max)
        return v;
    isola__fail_usage(cli, "'ctl %s %s' takes %s; see 'ctl %s --help'", cli->options.command->name,
                      word, v->takes, cli->options.command->name);
    return NULL;
}
