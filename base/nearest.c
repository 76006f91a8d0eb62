/* SPDX-License-Identifier: Apache-2.0
 *
 * Optimal string alignment: Damerau's distance (1964) without edits within what was swapped.
 */
#include "base/nearest.h"

#include <stdio.h>

static uint8_t small(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* Three rows of the table of how far the beginnings of both are from each other. */
static size_t distance(struct isola_slice a, struct isola_slice b)
{
    size_t rows[3][ISOLA_NEAREST_MAX + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        uint8_t x = small(a.data[i - 1]);
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            uint8_t y = small(b.data[j - 1]);
            size_t best = above[j - 1] + (x != y);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && x == small(b.data[j - 2]) && y == small(a.data[i - 2]) &&
                above2[j - 2] + 1 < best)
                best = above2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

struct isola_nearest isola_nearest_begin(struct isola_slice word)
{
    size_t edits = (word.len + 1) / 3;
    return (struct isola_nearest){.word = word, .edits = edits > 0 ? edits : 1};
}

void isola_nearest_try(struct isola_nearest *n, struct isola_slice name)
{
    if (n->word.len == 0 || n->word.len > ISOLA_NEAREST_MAX || name.len > ISOLA_NEAREST_MAX)
        return;
    size_t d = distance(n->word, name);
    if (d < name.len && (n->best.data == NULL ? d <= n->edits : d < n->edits)) {
        n->best = name;
        n->edits = d;
    }
}

const char *isola_nearest_hint(const struct isola_nearest *n, char out[ISOLA_NEAREST_HINT])
{
    out[0] = '\0';
    if (n->best.data != NULL)
        snprintf(out, ISOLA_NEAREST_HINT, "; did you mean \"%.*s\"?", ISOLA_FMT(n->best));
    return out;
}

const char *isola_nearest_of(const char *word, const char *const *names, size_t n)
{
    struct isola_nearest near = isola_nearest_begin(isola_slice_str(word));
    const char *best = NULL;
    for (size_t i = 0; i < n; i++) {
        isola_nearest_try(&near, isola_slice_str(names[i]));
        if (near.best.data == (const uint8_t *)names[i])
            best = names[i];
    }
    return best;
}
