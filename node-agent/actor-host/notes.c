/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/actor-host/notes.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/history.h"

void note_key(struct isola_buf *key, struct isola_slice address)
{
    isola_buf_append(key, "\1", 1);
    isola_buf_append(key, address.data, address.len);
}

void note_write(struct isola_buf *out, int kind, uint64_t moves, struct isola_slice taker)
{
    out->len = 0;
    isola_buf_printf(out, "%c%llu:", kind, (unsigned long long)moves);
    isola_buf_append(out, taker.data, taker.len);
}

int note_read(int code, struct isola_slice value, struct note *out)
{
    *out = (struct note){.kind = NOTE_MINE};
    if (code != 0)
        return code == ISOLA_ENOENT ? 0 : code;
    const uint8_t *colon = value.len > 0 ? memchr(value.data, ':', value.len) : NULL;
    if (colon == NULL || strchr("mtg", value.data[0]) == NULL)
        return ISOLA_EIO;
    for (const uint8_t *p = value.data + 1; p < colon; p++)
        out->moves = out->moves * 10 + (uint64_t)(*p - '0');
    out->kind = value.data[0];
    isola_buf_append(&out->taker, colon + 1, (size_t)(value.data + value.len - colon) - 1);
    return 0;
}

/* --- where it was --- */

static void add_stay(void *arg, int64_t from, int64_t until, struct isola_slice value)
{
    struct note_stays *all = arg;
    struct note note;
    if (note_read(0, value, &note) != 0)
        return;
    all->stay = isola_realloc(all->stay, (all->n + 1) * sizeof(*all->stay));
    all->stay[all->n++] = (struct note_stay){.from = from, .until = until, .note = note};
}

int note_stays(struct app *app, struct isola_slice address, struct note_stays *out,
               struct isola_err *err)
{
    struct isola_buf key = {0};
    *out = (struct note_stays){0};
    note_key(&key, address);
    int code = isola_state_values(app->state, isola_buf_slice(&key), add_stay, out, err);
    isola_buf_free(&key);
    return code;
}

void note_stays_free(struct note_stays *stays)
{
    for (size_t i = 0; i < stays->n; i++)
        isola_buf_free(&stays->stay[i].note.taker);
    free(stays->stay);
    *stays = (struct note_stays){0};
}
