/* SPDX-License-Identifier: Apache-2.0
 *
 * esbuild's words to ours. It writes, for each error,
 *
 *     ✘ [ERROR] Could not resolve "fs"
 *
 *         counter.js:1:15:
 *           1 │ import fs from 'fs';
 *             ╵                ~~~~
 *
 *       The package "fs" wasn't found on the file system but is built into node. …
 *
 * and what does not look so is passed on as it is.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/bundle.h"
#include "cli/text.h"

#define MARK     "✘ [ERROR] "
#define RESOLVE  "Could not resolve \""
#define BUILT_IN "is built into node"

static bool next_line(struct isola_slice *rest, struct isola_slice *line)
{
    if (rest->len == 0)
        return false;
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    size_t n = end != NULL ? (size_t)(end - rest->data) : rest->len;
    size_t skip = end != NULL ? n + 1 : n;
    *line = isola_slice(rest->data, n);
    *rest = isola_slice(rest->data + skip, rest->len - skip);
    return true;
}

static bool starts(struct isola_slice s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && memcmp(s.data, with, n) == 0;
}

static struct isola_slice from(struct isola_slice s, size_t n)
{
    return isola_slice(s.data + n, s.len - n);
}

static struct isola_slice trimmed(struct isola_slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\n'))
        s = from(s, 1);
    return s;
}

/* "FILE:LINE:COLUMN:", the column counted from 0. */
static bool place(struct isola_slice line, struct isola_slice *file, unsigned *row,
                  unsigned *column)
{
    struct isola_slice s = trimmed(line);
    unsigned numbers[2];
    if (s.len < 6 || s.len == line.len || s.data[s.len - 1] != ':')
        return false;
    s.len--;
    for (size_t i = 2; i-- > 0;) {
        size_t at = s.len;
        unsigned v = 0, scale = 1;
        while (at > 0 && s.data[at - 1] >= '0' && s.data[at - 1] <= '9' && scale < 1000000000u) {
            v += (unsigned)(s.data[--at] - '0') * scale;
            scale *= 10;
        }
        if (scale == 1 || at < 2 || s.data[at - 1] != ':')
            return false;
        numbers[i] = v;
        s.len = at - 1;
    }
    *file = s;
    *row = numbers[0];
    *column = numbers[1] + 1;
    return true;
}

struct problem {
    struct isola_slice text, file,
        code; /* code: the lines around the place, as esbuild drew them */
    unsigned row, column;
    bool built_in;
};

/* From the mark to the next one. */
static void read_problem(struct isola_slice *rest, struct problem *p)
{
    struct isola_slice line;
    bool in_code = false;
    next_line(rest, &line);
    *p = (struct problem){.text = from(line, strlen(MARK))};
    while (rest->len > 0 && !starts(*rest, MARK)) {
        next_line(rest, &line);
        if (p->file.len == 0 && place(line, &p->file, &p->row, &p->column)) {
            in_code = true;
            p->code = isola_slice(rest->data, 0);
        } else if (in_code && line.len > 0) {
            p->code.len = (size_t)(line.data + line.len - p->code.data);
        } else {
            in_code = false;
            p->built_in =
                p->built_in || memmem(line.data, line.len, BUILT_IN, strlen(BUILT_IN)) != NULL;
        }
    }
}

/* Whether a package is below node_modules of `dir` or of a folder above. */
static bool installed(const char *dir, const char *package)
{
    char *at = isola_strdup(dir);
    bool found = false;
    for (char *slash = at + strlen(at); !found && slash != NULL; slash = strrchr(at, '/')) {
        *slash = '\0';
        char *path = isola_format("%s/node_modules/%s", at, package);
        found = access(path, F_OK) == 0;
        free(path);
    }
    free(at);
    return found;
}

/* "lodash" of "lodash/fp", "@scope/name" of "@scope/name/x". */
static void package_name(char *import)
{
    char *slash = strchr(import, '/');
    if (slash != NULL && import[0] == '@')
        slash = strchr(slash + 1, '/');
    if (slash != NULL)
        *slash = '\0';
}

static void explain_text(const struct problem *p, const char *dir, struct isola_buf *out)
{
    struct isola_slice name = from(p->text, starts(p->text, RESOLVE) ? strlen(RESOLVE) : 0);
    const uint8_t *quote = name.len > 0 ? memchr(name.data, '"', name.len) : NULL;
    if (name.len == p->text.len || quote == NULL || quote == name.data || name.data[0] == '.' ||
        name.data[0] == '/' || name.data[0] == '#') {
        isola__text_clean(out, p->text);
        return;
    }
    char *import = isola_strndup((const char *)name.data, (size_t)(quote - name.data));
    if (p->built_in || strncmp(import, "node:", 5) == 0) {
        isola_buf_printf(
            out, "\"%s\" is built into Node.js, and actors do not have Node.js' own modules",
            import);
    } else {
        package_name(import);
        if (installed(dir, import))
            isola__text_clean(out, p->text);
        else
            isola_buf_printf(out, "the package \"%s\" is not installed; run `npm install %s` in %s",
                             import, import, dir);
    }
    free(import);
}

static void explain(const struct problem *p, const char *dir, struct isola_buf *out)
{
    if (p->file.len > 0) {
        isola__text_clean(out, p->file);
        isola_buf_printf(out, ":%u:%u: ", p->row, p->column);
    }
    explain_text(p, dir, out);
    if (p->code.len > 0) {
        isola_buf_puts(out, "\n");
        isola__text_clean(out, p->code);
    }
}

int isola__bundle_explain(struct isola_slice text, const char *dir, struct isola_err *err)
{
    struct isola_buf out = {0};
    struct isola_slice rest = text, line;
    size_t shown = 0, all = 0;
    while (rest.len > 0) {
        if (!starts(rest, MARK)) {
            next_line(&rest, &line);
            continue;
        }
        struct problem p;
        struct isola_buf one = {0};
        read_problem(&rest, &p);
        isola_buf_puts(&one, all == 0 ? "cannot bundle " : "\n  also ");
        explain(&p, dir, &one);
        /* whole errors only, with room for the line that counts the others */
        bool fits = out.len + one.len + 40 < sizeof(err->text);
        if (all == 0 || (fits && shown == all)) {
            isola_buf_append(&out, one.data, one.len);
            shown++;
        }
        all++;
        isola_buf_free(&one);
    }
    if (all > shown)
        isola_buf_printf(&out, "\n  and %zu more errors", all - shown);
    if (all == 0) {
        isola_buf_puts(&out, "cannot bundle the app: ");
        if (trimmed(text).len > 0)
            isola__text_clean(&out, trimmed(text));
        else
            isola_buf_puts(&out, "esbuild failed without a word");
    }
    const char *sentence = isola_buf_cstr(&out);
    isola_fail(err, ISOLA_EMODULE, "%s", sentence != NULL ? sentence : "out of memory");
    size_t end = strlen(err->text);
    while (end > 0 && err->text[end - 1] == '\n')
        err->text[--end] = '\0';
    isola_buf_free(&out);
    return ISOLA_EMODULE;
}
