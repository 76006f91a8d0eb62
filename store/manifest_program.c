/* SPDX-License-Identifier: Apache-2.0
 *
 * The program of an ordinary Node.js project, as a service: what "start" of package.json's
 * "scripts" runs, when that is `node FILE` or `tsx FILE` in plain words of a shell, else "main".
 * Nothing is guessed of what is beyond that: it is left to a manifest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/check.h"
#include "store/manifest_find.h"

#define PORT     3000 /* what most programs listen on when nobody says */
#define FILE_MAX 1000 /* bytes of its path */

static const char space[] = " \t";

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
static bool take_option(json_t *type, json_t *options, const char *word, char **rest)
{
    static const struct {
        const char *name, *whole;
    } with_value[] = {{"--import", "--import"}, {"--require", "--require"},
                      {"-r", "--require"},      {"--conditions", "--conditions"},
                      {"-C", "--conditions"},   {"--env-file", "--env-file"}};
    static const char file[] = "--env-file=";
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
    else
        json_array_append_new(options, json_string(word));
    free(whole);
    return true;
}

/* The service that a "start" is, or NULL. */
static json_t *of_start(const char *dir, const char *start)
{
    char module[FILE_MAX + 16];
    if (start[strcspn(start, "\"'\\$`&|;<>()*?[]{}~#!\n\r%")] != '\0')
        return NULL;
    char *text = isola_strdup(start), *rest = NULL;
    json_t *type = json_pack("{s:s, s:s, s:i}", "module", "", "kind", "service", "port", PORT);
    json_t *env = json_object(), *options = json_array(), *args = json_array();
    char *word = strtok_r(text, space, &rest);
    while (word != NULL && take_variable(type, env, word))
        word = strtok_r(NULL, space, &rest);
    bool tsx = word != NULL && strcmp(word, "tsx") == 0;
    bool node = tsx || (word != NULL && strcmp(word, "node") == 0);
    if (tsx) /* what it does is to start Node.js so */
        json_array_append_new(options, json_string("--import=tsx"));
    while (node && (word = strtok_r(NULL, space, &rest)) != NULL && word[0] == '-')
        node = take_option(type, options, word, &rest);
    bool found = node && word != NULL && file_of(dir, word, module);
    while (found && (word = strtok_r(NULL, space, &rest)) != NULL)
        json_array_append_new(args, json_string(word));
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

int isola__manifest_program(const char *dir, const json_t *package, json_t *actors,
                            struct isola_err *err)
{
    char module[FILE_MAX + 16];
    const char *start =
        json_string_value(json_object_get(json_object_get(package, "scripts"), "start"));
    const char *main = json_string_value(json_object_get(package, "main"));
    json_t *type = start != NULL ? of_start(dir, start) : NULL;
    if (type == NULL && main != NULL && file_of(dir, main, module))
        type = json_pack("{s:s, s:s, s:i}", "module", module, "kind", "service", "port", PORT);
    if (type == NULL)
        return 0;
    const char *name = json_object_get(actors, "Server") == NULL ? "Server" : "Program";
    int rc = 0;
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
