/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl cache: what a node keeps of the files of releases.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

#define CACHE_MS 120000u

static uint64_t number(const json_t *counts, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(counts, key));
    return n > 0 ? (uint64_t)n : 0;
}

static void add(struct isola_buf *out, const json_t *counts)
{
    char bytes[ISOLA__HUMAN_SIZE];
    uint64_t n = number(counts, "pieces");
    isola__human_bytes(number(counts, "bytes"), bytes);
    isola_buf_printf(out, "%" PRIu64 " piece%s of files, %s", n, n == 1 ? "" : "s", bytes);
}

static void print(struct isola__cli *cli, const json_t *value)
{
    struct isola_buf out = {0};
    const json_t *all = json_object_get(value, "all"), *used = json_object_get(value, "used");
    isola_buf_puts(&out, "node ");
    isola__text_clean(&out, isola__text_of(json_object_get(value, "node")));
    isola_buf_puts(&out, " has ");
    add(&out, all);
    if (cli->options.prune) {
        isola_buf_puts(&out, "; it had ");
        add(&out, json_object_get(value, "gone"));
        isola_buf_puts(&out, " more, which no release has");
    } else if (number(used, "pieces") < number(all, "pieces")) {
        isola_buf_puts(&out, "; its releases have ");
        add(&out, used);
        isola_buf_puts(&out, " of these: 'ctl cache --prune' drops the others");
    }
    isola_buf_puts(&out, "\n");
    isola__out(cli, &out);
}

void isola__run_cache(struct isola__cli *cli)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kbool(&params, "prune", cli->options.prune);
    json_t *value = isola__call(cli, "cache", &params, CACHE_MS, NULL);
    if (value == NULL)
        return;
    if (cli->options.json)
        isola__out_json(cli, value, false);
    else
        print(cli, value);
    json_decref(value);
}
