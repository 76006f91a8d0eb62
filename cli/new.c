/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl new TEMPLATE [DIR]`: an app to begin with, copied from a template that comes with the
 * program. A template is a directory of text files; the "description" of its package.json is its
 * line in the list. In each file {{name}} becomes the app's name, {{schema}} the path of the JSON
 * Schema of isola.json and {{client}} that of the package `isola`; a file called gitignore
 * becomes .gitignore, which packages of programs do not have.
 *
 * Failure modes: no such template (wrong usage, the nearest is suggested), a DIR that has something
 * in it, one that cannot be made or written to. Whatever was made until then is removed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/nearest.h"
#include "base/path.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "store/manifest.h"

#define TEMPLATES_MAX 100
#define FILE_MAX      (1u << 20)

struct mark {
    const char *name; /* as it stands in a file */
    char *value;
};
#define NMARKS 3

struct made {
    const char *dir;
    struct mark marks[NMARKS];
    char **paths; /* what was made, below `dir`; directories before what is in them */
    size_t npaths;
    struct isola_err *err;
};

/* --- the templates there are --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int is_any(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* Of the directory of templates: it has a README.md too. */
static int is_template(const struct dirent *entry)
{
    return strchr(entry->d_name, '.') == NULL;
}

/* The names in `dir` that `is` takes, sorted; the caller frees each and all. -1 with errno. */
static ssize_t names_in(const char *dir, int (*is)(const struct dirent *entry), char ***out)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, is, NULL);
    if (n < 0)
        return -1;
    *out = isola_zalloc(((size_t)n + 1) * sizeof(**out));
    for (int i = 0; i < n; i++) {
        (*out)[i] = isola_strdup(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    qsort(*out, (size_t)n, sizeof(**out), by_name);
    return n;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static json_t *description_of(const char *templates, const char *name)
{
    char *path = isola_format("%s/%s/package.json", templates, name);
    json_t *package = json_load_file(path, 0, NULL);
    json_t *said = json_incref(json_object_get(package, "description"));
    json_decref(package);
    free(path);
    return json_is_string(said) ? said : json_string("");
}

static void list_templates(struct isola__cli *cli, const char *templates, char *const *names,
                           size_t n)
{
    json_t *list = json_array();
    size_t widest = 0;
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_pack("{s:s, s:o}", "name", names[i], "description",
                                              description_of(templates, names[i])));
        widest = strlen(names[i]) > widest ? strlen(names[i]) : widest;
    }
    if (cli->options.json) {
        json_t *document = json_pack("{s:O}", "templates", list);
        isola__out_json(cli, document, false);
        json_decref(document);
    } else {
        struct isola_buf out = {0};
        for (size_t i = 0; i < n; i++)
            isola_buf_printf(
                &out, "%-*s  %s\n", (int)widest, names[i],
                json_string_value(json_object_get(json_array_get(list, i), "description")));
        isola_buf_puts(&out, "\nctl new TEMPLATE [DIR] makes an app of one of them.\n");
        isola__out(cli, &out);
    }
    json_decref(list);
}

/* --- making an app --- */

static int fail_path(struct made *m, const char *doing, const char *path)
{
    return isola_fail(m->err, errno == EACCES ? ISOLA_EPERM : ISOLA_EIO, "cannot %s %.500s: %s",
                      doing, path, strerror(errno));
}

static void keep(struct made *m, char *path)
{
    m->paths = isola_realloc(m->paths, (m->npaths + 1) * sizeof(*m->paths));
    m->paths[m->npaths++] = path;
}

static void replace(struct made *m, struct isola_slice text, struct isola_buf *out)
{
    for (size_t i = 0; i < text.len;) {
        size_t k = 0;
        for (; k < NMARKS; k++) {
            size_t len = strlen(m->marks[k].name);
            if (text.len - i >= len && memcmp(text.data + i, m->marks[k].name, len) == 0)
                break;
        }
        if (k == NMARKS) {
            isola_buf_append(out, text.data + i++, 1);
            continue;
        }
        isola_buf_puts(out, m->marks[k].value);
        i += strlen(m->marks[k].name);
    }
}

static int copy_file(struct made *m, const char *from, const char *to)
{
    static uint8_t text[FILE_MAX]; /* one thread, and no file within a file */
    struct isola_buf out = {0};
    FILE *in = fopen(from, "re");
    if (in == NULL)
        return fail_path(m, "read", from);
    size_t len = fread(text, 1, sizeof(text), in);
    int rc = 0;
    if (ferror(in) || fgetc(in) != EOF) {
        errno = ferror(in) ? errno : EFBIG;
        rc = fail_path(m, "read", from);
    }
    fclose(in);
    if (rc != 0)
        return rc;
    replace(m, isola_slice(text, len), &out);
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        rc = fail_path(m, "write", to);
    } else {
        keep(m, isola_strdup(to));
        for (size_t at = 0; at < out.len && rc == 0;) {
            ssize_t n = write(fd, out.data + at, out.len - at);
            if (n < 0 && errno != EINTR)
                rc = fail_path(m, "write", to);
            at += n > 0 ? (size_t)n : 0;
        }
        if (close(fd) != 0 && rc == 0)
            rc = fail_path(m, "write", to);
    }
    isola_buf_free(&out);
    return rc;
}

static int copy_dir(struct made *m, const char *from, const char *to)
{
    char **names;
    ssize_t n = names_in(from, is_any, &names);
    if (n < 0)
        return fail_path(m, "read", from);
    int rc = 0;
    for (ssize_t i = 0; i < n && rc == 0; i++) {
        struct stat st;
        char *source = isola_format("%s/%s", from, names[i]);
        bool hidden = strcmp(names[i], "gitignore") == 0;
        char *target = isola_format("%s/%s%s", to, hidden ? "." : "", names[i]);
        if (stat(source, &st) != 0) {
            rc = fail_path(m, "read", source);
        } else if (!S_ISDIR(st.st_mode)) {
            rc = copy_file(m, source, target);
        } else if (mkdir(target, 0777) != 0) {
            rc = fail_path(m, "make", target);
        } else {
            keep(m, isola_strdup(target));
            rc = copy_dir(m, source, target);
        }
        free(source);
        free(target);
    }
    free_names(names, (size_t)n);
    return rc;
}

/* DIR as it is to be: there, and empty. */
static int make_dir(struct made *m)
{
    if (mkdir(m->dir, 0777) == 0) {
        keep(m, isola_strdup(m->dir));
        return 0;
    }
    if (errno == ENOENT)
        return isola_fail(m->err, ISOLA_ENOENT,
                          "cannot make %.500s: the directory it would be in is not there", m->dir);
    if (errno != EEXIST)
        return fail_path(m, "make", m->dir);
    char **names;
    ssize_t n = names_in(m->dir, is_any, &names);
    if (n < 0)
        return fail_path(m, "use", m->dir);
    free_names(names, (size_t)n);
    if (n > 0)
        return isola_fail(
            m->err, ISOLA_EINVAL,
            "%.500s is not empty: name a directory that is, or one that is to be made", m->dir);
    return 0;
}

/* A value as it stands within the quotes of JSON. */
static char *escaped(const char *value)
{
    json_t *s = json_string(value);
    char *text = s != NULL ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
    char *out = text != NULL ? isola_strndup(text + 1, strlen(text) - 2) : isola_strdup(value);
    free(text);
    json_decref(s);
    return out;
}

static int fill_marks(struct made *m)
{
    static const char *const files[] = {"isola.schema.json", "client"};
    static const char *const marks[] = {"{{schema}}", "{{client}}"};
    char *real = realpath(m->dir, NULL);
    if (real == NULL)
        return fail_path(m, "use", m->dir);
    char *name = isola_manifest_name_of(strrchr(real, '/') + 1);
    free(real);
    if (name == NULL)
        return isola_fail(m->err, ISOLA_EINVAL,
                          "of %.500s no app's name can be made, which has a letter from a to z: "
                          "call the directory otherwise",
                          m->dir);
    m->marks[0] = (struct mark){"{{name}}", name};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = isola_path_installed(files[i]);
        m->marks[i + 1] = (struct mark){marks[i], escaped(path != NULL ? path : files[i])};
        free(path);
    }
    return 0;
}

static void print_made(struct isola__cli *cli, const struct made *m, const char *template)
{
    size_t skip = strlen(m->dir);
    json_t *files = json_array();
    struct isola_buf out = {0};
    isola_buf_puts(&out, "made ");
    isola__text_clean(&out, isola_slice_str(m->dir));
    isola_buf_printf(&out, ", the app %s, from the template %s\n", m->marks[0].value, template);
    for (size_t i = 0; i < m->npaths; i++) {
        struct stat st;
        const char *path = m->paths[i];
        if (strlen(path) <= skip || stat(path, &st) != 0 || S_ISDIR(st.st_mode))
            continue;
        isola_buf_printf(&out, "  %s\n", path + skip + 1);
        json_array_append_new(files, json_string(path + skip + 1));
    }
    isola_buf_puts(&out, "its README.md says what is what; to begin with: ctl dev ");
    isola__text_clean(&out, isola_slice_str(m->dir));
    isola_buf_puts(&out, "\n");
    if (cli->options.json) {
        json_t *document = json_pack("{s:s, s:s, s:s, s:O}", "template", template, "app",
                                     m->marks[0].value, "dir", m->dir, "files", files);
        isola__out_json(cli, document, false);
        json_decref(document);
        isola_buf_free(&out);
    } else {
        isola__out(cli, &out);
    }
    json_decref(files);
}

static void make_app(struct isola__cli *cli, const char *templates, const char *template)
{
    struct isola_err err;
    char *dir = isola_strdup(cli->options.noperands > 1 ? cli->options.operands[1] : template);
    for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
        dir[n - 1] = '\0';
    struct made m = {.dir = dir, .err = &err};
    char *from = isola_format("%s/%s", templates, template);
    int rc = make_dir(&m);
    if (rc == 0)
        rc = fill_marks(&m);
    if (rc == 0)
        rc = copy_dir(&m, from, dir);
    if (rc == 0)
        print_made(cli, &m, template);
    for (size_t i = m.npaths; i-- > 0;) {
        if (rc != 0)
            remove(m.paths[i]);
        free(m.paths[i]);
    }
    free(m.paths);
    if (rc != 0)
        isola__fail(cli, &err);
    for (size_t i = 0; i < NMARKS; i++)
        free(m.marks[i].value);
    free(from);
    free(dir);
}

void isola__run_new(struct isola__cli *cli)
{
    char **names = NULL;
    char *templates = isola_path_installed("templates");
    ssize_t n = templates != NULL ? names_in(templates, is_template, &names) : -1;
    if (n <= 0) {
        struct isola_err err;
        isola_fail(&err, ISOLA_ENOENT, "there are no templates at %.500s; install Isola anew",
                   templates != NULL ? templates : "lib/isola/templates");
        isola__fail(cli, &err);
        free_names(names, 0);
        free(templates);
        return;
    }
    if (cli->options.noperands == 0) {
        list_templates(cli, templates, names, (size_t)n);
    } else {
        const char *template = cli->options.operands[0];
        bool there = false;
        for (ssize_t i = 0; i < n; i++)
            there = there || strcmp(names[i], template) == 0;
        const char *near = isola_nearest_of(template, (const char *const *)names, (size_t)n);
        if (there)
            make_app(cli, templates, template);
        else if (near != NULL)
            isola__fail_usage(cli, "there is no template '%.60s'; did you mean '%s'?", template,
                              near);
        else
            isola__fail_usage(cli, "there is no template '%.60s'; 'ctl new' lists them", template);
    }
    free_names(names, (size_t)n);
    free(templates);
}
