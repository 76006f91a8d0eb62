/* SPDX-License-Identifier: Apache-2.0
 *
 * The program of an ordinary Node.js project, as a service: what "start" of package.json's
 * "scripts" runs, in plain words of a shell: `node FILE`, `tsx FILE`, or a program of a package
 * that is installed and not for development alone, such as `next start`; else what "start:prod"
 * runs, else "main", else server.js and index.js, as npm and Node.js have it, else what a framework
 * builds. Nothing is guessed of what is beyond that: it is left to a manifest.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "store/manifest_built.h"
#include "store/manifest_find.h"

#define PORT     3000 /* what most programs listen on when nobody says */
#define FILE_MAX 1000 /* bytes of its path */

static const char space[] = " \t";

/* Why a command is no service. */
struct trouble {
    enum { NOT_PLAIN, NO_FILE, NOT_BUILT, NOT_INSTALLED, DEVELOPMENT } kind;
    char word[256]; /* the file, or the program */
    char package[256];
};

static void set_trouble(struct trouble *t, int kind, const char *word, const char *package)
{
    t->kind = kind;
    snprintf(t->word, sizeof(t->word), "%s", word);
    snprintf(t->package, sizeof(t->package), "%s", package);
}

/* The file of the app in `dir` that `node WORD` would run, into `out`. */
static bool file_of(const char *dir, const char *word, char out[FILE_MAX + 16])
{
    static const char *const endings[] = {"", ".js", "/index.js"};
    char stem[FILE_MAX + 1];
    if (strlen(word) > FILE_MAX || word[0] == '/' || !isola__manifest_normalize(word, stem))
        return false;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        struct stat st;
        snprintf(out, FILE_MAX + 16, "%s%s", *stem != '\0' ? stem : ".", endings[i]);
        char *path = isola_format("%s/%s", dir, out);
        bool is_file = stat(path, &st) == 0 && S_ISREG(st.st_mode);
        free(path);
        if (is_file)
            return true;
    }
    return false;
}

static void set_list(json_t *type, const char *key, json_t *list)
{
    if (json_array_size(list) > 0)
        json_object_set(type, key, list);
    json_decref(list);
}

/* NAME=VALUE before a command: the port, or a variable of its environment. */
static bool take_variable(json_t *type, json_t *env, char *word)
{
    char *equals = strchr(word, '=');
    if (equals == NULL || equals == word || word[0] == '-')
        return false;
    *equals = '\0';
    if (strcmp(word, "PORT") == 0)
        json_object_set_new(type, "port", json_integer(strtol(equals + 1, NULL, 10)));
    else
        json_object_set_new(env, word, json_string(equals + 1));
    return true;
}

/* An option of Node.js, `word`, with the word after it when that is its value. False when there is
 * none. */
static bool take_option(const char *dir, json_t *type, json_t *options, const char *word,
                        char **rest)
{
    static const struct {
        const char *name, *whole;
    } with_value[] = {{"--import", "--import"},
                      {"--require", "--require"},
                      {"-r", "--require"},
                      {"--conditions", "--conditions"},
                      {"-C", "--conditions"},
                      {"--env-file", "--env-file"},
                      {"--env-file-if-exists", "--env-file-if-exists"}};
    static const char file[] = "--env-file=", perhaps[] = "--env-file-if-exists=";
    char *whole = NULL;
    for (size_t i = 0; i < sizeof(with_value) / sizeof(with_value[0]); i++) {
        if (strcmp(word, with_value[i].name) != 0)
            continue;
        const char *value = strtok_r(NULL, space, rest);
        if (value == NULL)
            return false;
        word = whole = isola_format("%s=%s", with_value[i].whole, value);
        break;
    }
    if (strncmp(word, file, sizeof(file) - 1) == 0)
        json_object_set_new(type, "envFile", json_string(word + sizeof(file) - 1));
    else if (strncmp(word, perhaps, sizeof(perhaps) - 1) == 0) {
        if (isola_dir_has(dir, word + sizeof(perhaps) - 1))
            json_object_set_new(type, "envFile", json_string(word + sizeof(perhaps) - 1));
    } else
        json_array_append_new(options, json_string(word));
    free(whole);
    return true;
}

/* Is it a script for Node.js? */
static bool is_for_node(const char *path)
{
    char line[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;
    if (fd >= 0)
        close(fd);
    line[n > 0 ? strcspn(line, "\n") : 0] = '\0';
    return strncmp(line, "#!", 2) == 0 && strstr(line, "node") != NULL;
}

/* The package that `path`, below node_modules, is a file of. */
static void package_of(const char *path, char out[256])
{
    const char *name = path + strlen("node_modules/");
    size_t n = strcspn(name, "/");
    if (name[0] == '@' && name[n] == '/')
        n += 1 + strcspn(name + n + 1, "/");
    snprintf(out, 256, "%.*s", (int)n, name);
}

static bool lists(const json_t *package, const char *key, const char *name)
{
    return json_object_get(json_object_get(package, key), name) != NULL;
}

/* The file of the program `word` of a package that is installed in `dir`. */
static bool bin_of(const char *dir, const json_t *package, const char *word,
                   char out[FILE_MAX + 16], struct trouble *t)
{
    char real[PATH_MAX], owner[256];
    size_t n = strlen(dir);
    if (strchr(word, '/') != NULL || word[0] == '.')
        return false;
    char *path = isola_format("%s/node_modules/.bin/%s", dir, word);
    bool there = realpath(path, real) != NULL;
    free(path);
    if (!there) {
        set_trouble(t, NOT_INSTALLED, word, "");
        return false;
    }
    if (strncmp(real, dir, n) != 0 || strncmp(real + n, "/node_modules/", 14) != 0 ||
        strlen(real + n + 1) > FILE_MAX || strncmp(real + n + 1 + 13, ".", 1) == 0 ||
        !is_for_node(real))
        return false;
    package_of(real + n + 1, owner);
    if (!lists(package, "dependencies", owner) && lists(package, "devDependencies", owner)) {
        set_trouble(t, DEVELOPMENT, word, owner);
        return false;
    }
    snprintf(out, FILE_MAX + 16, "%s", real + n + 1);
    return true;
}

/* What goes before a command and changes nothing but its environment. */
static bool is_prefix(const char *word)
{
    return strcmp(word, "cross-env") == 0 || strcmp(word, "env") == 0 || strcmp(word, "exec") == 0;
}

/* What `node FILE` or `tsx FILE` runs, from its first word on. */
static bool take_file(const char *dir, const json_t *package, json_t *type, json_t *options,
                      bool tsx, char **rest, char module[FILE_MAX + 16], struct trouble *t)
{
    const char *main = json_string_value(json_object_get(package, "main"));
    const char *word;
    if (tsx) /* what it does is to start Node.js so */
        json_array_append_new(options, json_string("--import=tsx"));
    while ((word = strtok_r(NULL, space, rest)) != NULL && word[0] == '-')
        if (!take_option(dir, type, options, word, rest))
            return false;
    if (word == NULL || (tsx && strcmp(word, "watch") == 0))
        return false;
    if ((strcmp(word, ".") == 0 || strcmp(word, "./") == 0) && main != NULL &&
        file_of(dir, main, module))
        return true;
    if (file_of(dir, word, module))
        return true;
    set_trouble(t, NO_FILE, word, "");
    return false;
}

/* The port that `word` says, after `before`: `--port N`, `--port=N`, and `-p N` of the program of a
 * package. */
static void take_port(json_t *type, bool of_package, const char *before, const char *word)
{
    static const char option[] = "--port=";
    bool whole = strncmp(word, option, sizeof(option) - 1) == 0;
    if (!whole && strcmp(before, "--port") != 0 && (!of_package || strcmp(before, "-p") != 0))
        return;
    const char *digits = whole ? word + sizeof(option) - 1 : word;
    size_t n = strspn(digits, "0123456789");
    if (n > 0 && n < 6 && digits[n] == '\0')
        json_object_set_new(type, "port", json_integer(strtol(digits, NULL, 10)));
}

/* Is `word` a file of JavaScript in `dir` that is to be there, and is not? */
static bool is_missing(const char *dir, const char *word)
{
    const char *end = strrchr(word, '.');
    char file[FILE_MAX + 16];
    return word[0] != '-' && word[0] != '/' && end != NULL &&
           (strcmp(end, ".js") == 0 || strcmp(end, ".mjs") == 0 || strcmp(end, ".cjs") == 0) &&
           !file_of(dir, word, file);
}

/* The rest of a command, into `args`; of the program of a package, `program`, false when what it
 * needs is not there. */
static bool take_args(const char *dir, json_t *type, json_t *args, const char *program, char **rest,
                      struct trouble *t)
{
    const char *word, *before = "", *missing = NULL;
    while ((word = strtok_r(NULL, space, rest)) != NULL) {
        json_array_append_new(args, json_string(word));
        take_port(type, program != NULL, before, word);
        if (program != NULL && missing == NULL && is_missing(dir, word))
            missing = word;
        before = word;
    }
    if (missing != NULL) {
        set_trouble(t, NO_FILE, missing, "");
        return false;
    }
    missing = program != NULL ? isola__manifest_unbuilt(dir, program, args) : NULL;
    if (missing != NULL)
        set_trouble(t, NOT_BUILT, missing, "");
    return missing == NULL;
}

/* `command` with the port for $PORT, ${PORT} and ${PORT:-N}, which is `*port` or that N: the one
 * variable that there is a value for before the program runs. */
static char *expand_port(const char *command, long *port)
{
    struct isola_buf out = {0};
    for (const char *at; (at = strstr(command, "$")) != NULL;) {
        bool braced = strncmp(at, "${PORT", 6) == 0;
        const char *end = at + (braced ? 6 : 5);
        if (!braced &&
            (strncmp(at, "$PORT", 5) != 0 || *end == '_' || isalnum((unsigned char)*end)))
            break;
        long said = *port;
        char *rest = (char *)(uintptr_t)end;
        if (braced && strncmp(end, ":-", 2) == 0)
            said = strtol(end + 2, &rest, 10);
        if (said < 1 || said > 65535 || (braced && *rest != '}'))
            break;
        *port = said;
        isola_buf_append(&out, command, (size_t)(at - command));
        isola_buf_printf(&out, "%ld", said);
        command = rest + braced;
    }
    isola_buf_puts(&out, command);
    char *text = isola_strdup(isola_buf_cstr(&out));
    isola_buf_free(&out);
    return text;
}

/* The service that a command is, or NULL, and why. */
static json_t *of_command(const char *dir, const json_t *package, const char *command,
                          struct trouble *t)
{
    char module[FILE_MAX + 16];
    long port = PORT;
    char *text = expand_port(command, &port), *rest = NULL;
    *t = (struct trouble){.kind = NOT_PLAIN};
    if (text[strcspn(text, "\"'\\$`&|;<>()*?[]{}~#!\n\r%")] != '\0') {
        free(text);
        return NULL;
    }
    json_t *type = json_pack("{s:s, s:s, s:i}", "module", "", "kind", "service", "port", (int)port);
    json_t *env = json_object(), *options = json_array(), *args = json_array();
    char *word = strtok_r(text, space, &rest);
    while (word != NULL && (is_prefix(word) || take_variable(type, env, word)))
        word = strtok_r(NULL, space, &rest);
    bool tsx = word != NULL && strcmp(word, "tsx") == 0, found = false;
    const char *program = NULL;
    if (tsx || (word != NULL && strcmp(word, "node") == 0))
        found = take_file(dir, package, type, options, tsx, &rest, module, t);
    else if (word != NULL)
        found = bin_of(dir, package, program = word, module, t);
    found = found && take_args(dir, type, args, program, &rest, t);
    free(text);
    if (json_object_size(env) > 0)
        json_object_set(type, "env", env);
    json_decref(env);
    set_list(type, "nodeArgs", options);
    set_list(type, "args", args);
    if (!found) {
        json_decref(type);
        return NULL;
    }
    json_object_set_new(type, "module", json_string(module));
    return type;
}

/* --- what there is to say when nothing can be run --- */

static int fail_file(const char *dir, const json_t *package, const char *key,
                     const struct trouble *t, struct isola_err *err)
{
    bool built = lists(package, "scripts", "build");
    return isola_fail(err, ISOLA_ENOENT,
                      "there is no file \"%s\" in %s, which \"%s\" of its package.json %s%s",
                      t->word, dir, key, t->kind == NOT_BUILT ? "needs" : "runs",
                      !built                 ? ""
                      : t->kind == NOT_BUILT ? ": `npm run build` there comes before a deploy"
                                             : ": `npm run build` there, which makes it perhaps, "
                                               "comes before a deploy");
}

int isola__manifest_program_fail(const char *dir, const json_t *package, struct isola_err *err)
{
    static const char example[] = "{\"name\": \"my-app\", \"actors\": {\"Server\": {\"module\": "
                                  "\"./server.js\", \"kind\": \"service\", \"port\": 3000}}}";
    const json_t *start = json_object_get(json_object_get(package, "scripts"), "start");
    struct trouble t;
    json_t *type = of_command(dir, package, json_string_value(start), &t);
    json_decref(type);
    char *quoted = isola__manifest_quote(start);
    int code;
    if (t.kind == NOT_INSTALLED)
        code = isola_fail(err, ISOLA_ENOENT,
                          "what is to run in %s is not known: \"start\" of its package.json is %s, "
                          "and no package that is installed there has a program \"%s\"; `npm "
                          "install` there, if one of its packages has, or write an isola.json such "
                          "as %s",
                          dir, quoted, t.word, example);
    else if (t.kind == DEVELOPMENT)
        code = isola_fail(err, ISOLA_ENOENT,
                          "what is to run in %s is not known: \"start\" of its package.json is %s, "
                          "and \"%s\" is of %s, which is among its \"devDependencies\" and so not "
                          "where the app runs; say what runs there as \"start:prod\" in its "
                          "\"scripts\", such as \"node dist/main.js\", or in an isola.json such as "
                          "%s",
                          dir, quoted, t.word, t.package, example);
    else
        code = isola_fail(err, ISOLA_ENOENT,
                          "what is to run in %s is not known: \"start\" of its package.json is %s, "
                          "and without a manifest it can only be `node FILE`, `tsx FILE` or a "
                          "program of an installed package, in plain words; write an isola.json "
                          "such as %s",
                          dir, quoted, example);
    free(quoted);
    return code;
}

/* What the "scripts" say, or NULL; `*code` is an error when the file that one names is not there,
 * `*absent` whether the program is that "start" names. */
static json_t *of_scripts(const char *dir, const json_t *package, bool *absent, int *code,
                          struct isola_err *err)
{
    static const char *const keys[] = {"start", "start:prod", "start:production"};
    const json_t *scripts = json_object_get(package, "scripts");
    json_t *type = NULL;
    for (size_t i = 0; type == NULL && *code == 0 && i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *command = json_string_value(json_object_get(scripts, keys[i]));
        struct trouble t;
        if (command == NULL)
            continue;
        type = of_command(dir, package, command, &t);
        if (type == NULL && (t.kind == NO_FILE || t.kind == NOT_BUILT))
            *code = fail_file(dir, package, keys[i], &t, err);
        *absent = *absent || (type == NULL && i == 0 && t.kind == NOT_INSTALLED);
    }
    return type;
}

static json_t *of_file(const char *dir, const char *file)
{
    char module[FILE_MAX + 16];
    return file != NULL && file_of(dir, file, module)
               ? json_pack("{s:s, s:s, s:i}", "module", module, "kind", "service", "port", PORT)
               : NULL;
}

/* What there is when package.json says nothing of it. */
static json_t *of_files(const char *dir, int *code, struct isola_err *err)
{
    json_t *type = of_file(dir, "server.js");
    const struct isola__built *built = NULL;
    type = type != NULL ? type : of_file(dir, "index.js");
    if (type == NULL && (built = isola__manifest_built(dir)) != NULL)
        type = of_file(dir, built->file);
    if (type == NULL && built != NULL)
        *code = isola_fail(err, ISOLA_ENOENT,
                           "there is no file \"%s\" in %s, which %s makes: `npm run build` there "
                           "comes before a deploy; when it is to run another one, say so as "
                           "\"start\" in the \"scripts\" of its package.json",
                           built->file, dir, built->by);
    return type;
}

int isola__manifest_program(const char *dir, const json_t *package, json_t *actors,
                            struct isola_err *err)
{
    bool said = lists(package, "scripts", "start") || json_object_get(package, "main") != NULL;
    bool absent = false;
    int rc = 0;
    json_t *type = of_scripts(dir, package, &absent, &rc, err);
    if (rc == 0 && type == NULL)
        type = of_file(dir, json_string_value(json_object_get(package, "main")));
    if (rc == 0 && type == NULL && package != NULL && json_object_size(actors) == 0) {
        if (!said)
            type = of_files(dir, &rc, err);
        else if (absent &&
                 isola_dir_has(dir,
                               "node_modules")) /* they are all there is, as in .next/standalone */
            type = of_file(dir, "server.js");
    }
    if (type == NULL)
        return rc;
    const char *name = json_object_get(actors, "Server") == NULL ? "Server" : "Program";
    if (json_object_get(actors, name) != NULL)
        rc = isola_fail(err, ISOLA_EMANIFEST,
                        "the program of package.json would be the type \"%s\", which an actor is: "
                        "write an isola.json that lists it under another name",
                        name);
    else if (json_object_set(actors, name, type) != 0)
        rc = isola_fail(err, ISOLA_ENOMEM, "out of memory for the program of %s", dir);
    json_decref(type);
    return rc;
}
