/* SPDX-License-Identifier: Apache-2.0
 *
 * What npm runs install scripts with: the Node.js that services run in, which is the first `node`
 * in $PATH then, and its headers, so that addons are fetched or built for it. npm itself runs by
 * the Node.js it has always had.
 */
#ifndef ISOLA_CLI_NPM_SCRIPTS_H
#define ISOLA_CLI_NPM_SCRIPTS_H

#include "base/annotate.h"

struct isola__npm_scripts {
    char **env;     /* of npm; ends with NULL */
    char *words[2]; /* how npm is run: its program, or Node.js and npm's script; owned */
    int nwords;     /* 0: there is no npm in $PATH */
};

ANY_THREAD void isola__npm_scripts_find(struct isola__npm_scripts *out);
ANY_THREAD void isola__npm_scripts_free(struct isola__npm_scripts *s);
/* The size of Isola's Node.js, by which what is built for one is told from what is for another; 0:
 * it is not there. */
ANY_THREAD unsigned long long isola__npm_scripts_node(void);

#endif
