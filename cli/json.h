/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON as text: numbers in the shortest digits that read back the same, as JavaScript writes them.
 */
#ifndef ISOLA_CLI_JSON_H
#define ISOLA_CLI_JSON_H

#include <jansson.h>

#include "base/buf.h"

/* Appends `v`: on one line, or when `pretty` over several with an indent of two. No newline at the
 * end. Characters that would drive a terminal are escaped. `v` nests a few hundred deep at the
 * most. */
ANY_THREAD void isola__json_print(const json_t *v, bool pretty, struct isola_buf *out);

#endif
