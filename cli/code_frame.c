/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/code_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/text.h"

#define AROUND   2u   /* lines before and behind */
#define LINE_MAX 4096 /* bytes that are read of one */
#define WIDE     160u /* columns that are shown of one */

struct place {
    char *path; /* below the app's directory */
    unsigned row, column;
};

/* "APP/FILE:LINE:COLUMN" at the beginning of `s`, which ends where the text does. */
static bool read_place(const char *s, const char *app, struct place *out)
{
    size_t n = strlen(app), len = strcspn(s, "\n)");
    char *text = isola_strndup(s, len), *file = text + n + 1, *end = text + len;
    unsigned long numbers[2];
    bool good = strncmp(text, app, n) == 0 && text[n] == '/';
    for (int i = 2; good && i-- > 0;) {
        char *colon = strrchr(file, ':'), *rest = NULL;
        good = colon != NULL && colon != file && colon[1] >= '0' && colon[1] <= '9';
        numbers[i] = good ? strtoul(colon + 1, &rest, 10) : 0;
        good = good && rest == end && numbers[i] > 0 && numbers[i] < 10000000;
        if (good)
            *(end = colon) = '\0';
    }
    good = good && strstr(file, "..") == NULL && strstr(file, "node_modules/") == NULL;
    if (good)
        *out = (struct place){isola_strdup(file), (unsigned)numbers[0], (unsigned)numbers[1]};
    free(text);
    return good;
}

static void show_line(struct isola_buf *out, unsigned row, const struct place *at, const char *line)
{
    struct isola_buf clean = {0};
    struct isola_slice s = isola_slice(line, strcspn(line, "\r\n"));
    isola__text_clean(&clean, s);
    isola_buf_printf(out, "  %c %5u │ ", row == at->row ? '>' : ' ', row);
    struct isola_slice shown = isola_slice_cut(isola_buf_slice(&clean), WIDE);
    isola_buf_append(out, shown.data, shown.len);
    isola_buf_puts(out, "\n");
    if (row == at->row && at->column <= shown.len + 1) {
        /* Below the column, which counts UTF-16 units: right for what code is mostly made of. */
        struct isola_slice before = isola_slice_cut(shown, at->column - 1);
        isola_buf_puts(out, "          │ ");
        for (size_t i = 0; i < before.len; i++) {
            if (before.data[i] == '\t')
                isola_buf_puts(out, "\t");
            else if ((before.data[i] & 0xc0) != 0x80)
                isola_buf_puts(out, " ");
        }
        isola_buf_puts(out, "^\n");
    }
    isola_buf_free(&clean);
}

static bool show(const char *dir, const struct place *at, struct isola_buf *out)
{
    char line[LINE_MAX];
    bool shown = false, fresh = true;
    unsigned row = 1;
    char *path = isola_format("%s/%s", dir, at->path);
    FILE *f = fopen(path, "re");
    free(path);
    while (f != NULL && row <= at->row + AROUND && fgets(line, sizeof(line), f) != NULL) {
        bool whole = strchr(line, '\n') != NULL;
        if (fresh && row + AROUND >= at->row) {
            show_line(out, row, at, line);
            shown = shown || row == at->row;
        }
        row += whole;
        fresh = whole; /* the rest of a line that is too long is not shown */
    }
    if (f != NULL)
        fclose(f);
    return shown;
}

void isola__code_frame(const char *dir, const char *app, struct isola_slice text,
                       struct isola_buf *out)
{
    char *all = isola_strndup((const char *)text.data, text.len);
    for (const char *line = all; line != NULL;) {
        const char *end = strchr(line, '\n');
        const char *at = line + strspn(line, " ");
        struct place place;
        if (strncmp(at, "at ", 3) == 0) {
            const char *inner = at + 3;
            for (const char *p = inner; *p != '\0' && p != end; p++) /* "at Name (APP/…)" */
                inner = *p == '(' ? p + 1 : inner;
            at = inner;
            if (read_place(at, app, &place)) {
                struct isola_buf frame = {0};
                bool shown = show(dir, &place, &frame);
                if (shown)
                    isola_buf_append(out, frame.data, frame.len);
                isola_buf_free(&frame);
                free(place.path);
                if (shown)
                    break;
            }
        }
        line = end != NULL ? end + 1 : NULL;
    }
    free(all);
}
