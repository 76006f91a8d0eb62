/* SPDX-License-Identifier: Apache-2.0
 *
 * What is fetched is named by the hash of what it is fetched for, and gets that name when it is
 * complete: what an interrupted run has left is never used.
 */
#include "cli/npm.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/utf8.h"
#include "cli/file_index.h"
#include "cli/npm_scripts.h"
#include "cli/places.h"
#include "cli/process.h"

#define FILE_MAX    (64u << 20)
#define DEADLINE_MS (600u * 1000)

/* What npm goes by, in the app's directory. */
static const char *const inputs[] = {"package.json", "package-lock.json", "npm-shrinkwrap.json",
                                     ".npmrc"};
#define NINPUTS (sizeof(inputs) / sizeof(inputs[0]))

void isola__npm_free(struct isola__npm *n)
{
    free(n->modules);
    *n = (struct isola__npm){0};
}

/* The bytes of a file; false when there is none, or it is none that can be read. */
static bool read_input(const char *dir, const char *name, struct isola_buf *out)
{
    char *path = isola_format("%s/%s", dir, name);
    int rc = isola_file_read(path, FILE_MAX, out);
    free(path);
    return rc == 0;
}

static bool is_dir(const char *dir, const char *name)
{
    char *path = isola_format("%s/%s", dir, name);
    struct stat st;
    bool is = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    free(path);
    return is;
}

static bool is_there(const char *dir, const char *name)
{
    char *path = isola_format("%s/%s", dir, name);
    bool is = access(path, R_OK) == 0;
    free(path);
    return is;
}

/* A member of package.json in `dir`; NULL when it has none that can be read. The caller lets go. */
static json_t *package_part(const char *dir, const char *key)
{
    struct isola_buf text = {0};
    bool there = read_input(dir, "package.json", &text);
    struct isola_slice json = isola_utf8_unmark(isola_buf_slice(&text));
    json_t *package = there ? json_loadb((const char *)json.data, json.len, 0, NULL) : NULL;
    json_t *part = json_incref(json_object_get(package, key));
    json_decref(package);
    isola_buf_free(&text);
    return part;
}

/* Of those that are installed, is any missing? */
static int check_installed(const char *dir, const json_t *dependencies, struct isola_err *err)
{
    const char *name;
    json_t *version;
    json_object_foreach((json_t *)dependencies, name, version)
    {
        char *path = isola_format("node_modules/%s", name);
        bool there = is_dir(dir, path);
        free(path);
        if (!there)
            return isola_fail(
                err, ISOLA_EMODULE,
                "the package \"%.200s\" is not installed; run `npm install` in %s, or "
                "remove its node_modules and let ctl fetch what it needs",
                name, dir);
    }
    return 0;
}

/* --- fetching --- */

/* Of what takes long; stdout is for the result. */
static void say(const char *what)
{
    fprintf(stderr, "ctl: %s\n", what);
}

static void name_of(const char *dir, char hex[33])
{
    crypto_generichash_state h;
    uint8_t digest[16];
    ISOLA_CHECK(sodium_init() >= 0);
    uint64_t node = isola__npm_scripts_node(); /* which addons are built for */
    crypto_generichash_init(&h, NULL, 0, sizeof(digest));
    crypto_generichash_update(&h, (const uint8_t *)&node, sizeof(node));
    for (size_t i = 0; i < NINPUTS; i++) {
        struct isola_buf text = {0};
        bool there = read_input(dir, inputs[i], &text);
        uint64_t head[2] = {there, text.len};
        crypto_generichash_update(&h, (const uint8_t *)head, sizeof(head));
        crypto_generichash_update(&h, text.data, text.len);
        isola_buf_free(&text);
    }
    crypto_generichash_final(&h, digest, sizeof(digest));
    sodium_bin2hex(hex, 33, digest, sizeof(digest));
}

static int copy_inputs(const char *dir, const char *to, struct isola_err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < NINPUTS; i++) {
        struct isola_buf text = {0};
        if (read_input(dir, inputs[i], &text)) {
            char *path = isola_format("%s/%s", to, inputs[i]);
            int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
            bool good = f != NULL && fwrite(text.data, 1, text.len, f) == text.len;
            if ((f != NULL && fclose(f) != 0) || !good)
                code = isola_fail(err, ISOLA_EIO, "cannot write %s: %s", path, strerror(errno));
            free(path);
        }
        isola_buf_free(&text);
    }
    return code;
}

static int explain(const struct isola__process *p, const char *dir, const char *cannot,
                   struct isola_err *err)
{
    struct isola_slice said = isola_buf_slice(&p->said);
    while (said.len > 0 && said.data[said.len - 1] == '\n')
        said.len--;
    if (p->interrupted)
        return isola_fail(err, ISOLA_ECLOSED, "interrupted; nothing was deployed");
    if (p->timed_out)
        return isola_fail(err, ISOLA_ETIMEDOUT, "npm did not finish within %u s",
                          DEADLINE_MS / 1000);
    if (p->signal != 0)
        return isola_fail(err, ISOLA_EMODULE, "npm was killed by signal %d (%s)", p->signal,
                          strsignal(p->signal));
    return isola_fail(err, ISOLA_EMODULE,
                      "npm cannot %s of %s; `npm install` there tells more\n%.*s", cannot, dir,
                      ISOLA_FMT(isola_slice_cut(said, 850)));
}

/* `in`: where its package.json is; `env`: NULL, or its environment; `cannot`: what npm was to do,
 * for when it fails. */
static int run_npm(const char *dir, const char *in, char **argv, char **env, const char *cannot,
                   struct isola_err *err)
{
    struct isola__process p;
    int rc = isola__process_run(argv, env, in, DEADLINE_MS, &p);
    int code = 0;
    if (rc == UV_ENOENT)
        code = isola_fail(err, ISOLA_ENOENT,
                          "%s has packages to be fetched, and there is no npm in $PATH; install "
                          "Node.js, or run `npm install` there where it is",
                          dir);
    else if (rc != 0)
        code = isola_fail(err, ISOLA_EIO, "cannot run npm: %s", uv_strerror(rc));
    else if (p.interrupted || p.timed_out || p.signal != 0 || p.status != 0)
        code = explain(&p, dir, cannot, err);
    isola_buf_free(&p.said);
    return code;
}

/* --- install scripts --- */

#define ALLOWED_MAX 200

/* NAME or NAME@VERSIONS, of a package: nothing that npm could take for an option, or another place.
 */
static bool is_package(const char *key)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-";
    const char *p = key + (*key == '@');
    size_t n = strspn(p, name);
    if (n == 0 || *p == '-' || *p == '.')
        return false;
    p += n;
    if (*key == '@') {
        n = *p == '/' ? strspn(p + 1, name) : 0;
        if (n == 0)
            return false;
        p += 1 + n;
    }
    if (*p == '\0')
        return true;
    n = *p == '@' ? strspn(p + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._~^<>=*+| -")
                  : 0;
    return n > 0 && p[1 + n] == '\0' && strlen(key) <= 500;
}

/* What package.json allows, as npm has it: {"allowScripts": {"NAME": true}}. NULL: nothing. */
static int read_allowed(const char *dir, json_t **out, struct isola_err *err)
{
    const char *key;
    json_t *value;
    *out = package_part(dir, "allowScripts");
    if (*out == NULL)
        return 0;
    int code = 0;
    if (!json_is_object(*out) || json_object_size(*out) > ALLOWED_MAX)
        code = isola_fail(err, ISOLA_EMANIFEST,
                          "\"allowScripts\" in package.json of %s must be an object such as "
                          "{\"better-sqlite3\": true}, of %d names at the most",
                          dir, ALLOWED_MAX);
    else
        json_object_foreach(*out, key, value)
        {
            if (code == 0 && !(is_package(key) && json_is_boolean(value)))
                code = isola_fail(err, ISOLA_EMANIFEST,
                                  "\"allowScripts\" in package.json of %s: \"%.100s\" must be the "
                                  "name of a package, or NAME@VERSION, with true or false",
                                  dir, key);
        }
    if (code != 0) {
        json_decref(*out);
        *out = NULL;
    }
    return code;
}

/* Is that one, or a version of it, allowed or denied by name? */
static bool is_decided(const json_t *allowed, const char *name)
{
    const char *key;
    json_t *value;
    size_t n = strlen(name);
    json_object_foreach((json_t *)allowed, key, value)
    {
        if (strncmp(key, name, n) == 0 && (key[n] == '\0' || key[n] == '@'))
            return true;
    }
    return false;
}

/* Names those whose scripts were not run, and nobody has said whether they are to be. */
static void hint(const char *in, const json_t *allowed)
{
    static const char modules[] = "node_modules/";
    struct isola_buf text = {0}, names = {0};
    const char *key, *first = NULL;
    json_t *entry;
    size_t n = 0;
    bool there = read_input(in, "node_modules/.package-lock.json", &text);
    json_t *lock = there ? json_loadb((const char *)text.data, text.len, 0, NULL) : NULL;
    json_object_foreach(json_object_get(lock, "packages"), key, entry)
    {
        const char *name = key, *at;
        while ((at = strstr(name, modules)) != NULL)
            name = at + sizeof(modules) - 1;
        if (!json_is_true(json_object_get(entry, "hasInstallScript")) || !is_package(name) ||
            is_decided(allowed, name))
            continue;
        if (n < 10)
            isola_buf_printf(&names, "%s%s", n > 0 ? ", " : "", name);
        first = first == NULL ? name : first;
        n++;
    }
    if (n > 0)
        fprintf(stderr,
                "ctl: install scripts were not run: %s%s; if %s needs its own, say so in "
                "package.json: \"allowScripts\": {\"%s\": true}\n",
                isola_buf_cstr(&names), n > 10 ? ", …" : "", n > 1 ? "one" : "it", first);
    json_decref(lock);
    isola_buf_free(&names);
    isola_buf_free(&text);
}

/* Runs those that are allowed, of the packages that are installed in `in`. */
static int run_scripts(const char *dir, const char *in, json_t *allowed, struct isola_err *err)
{
    static const char *const words[] = {
        "rebuild", "--no-ignore-scripts", "--no-update-notifier", "--loglevel=error", "--", NULL};
    struct isola__npm_scripts scripts;
    char *argv[9 + ALLOWED_MAX] = {(char *)"npm"};
    const char *key;
    json_t *value;
    struct isola_buf names = {0};
    bool any = false;
    int code = 0;
    isola__npm_scripts_find(&scripts);
    size_t n = 0;
    for (int i = 0; i < scripts.nwords; i++)
        argv[n++] = scripts.words[i];
    n = n > 0 ? n : 1;
    for (size_t i = 0; words[i] != NULL; i++)
        argv[n++] = (char *)(uintptr_t)words[i];
    json_object_foreach(allowed, key, value)
    {
        if (!json_is_true(value))
            continue;
        argv[n++] = (char *)(uintptr_t)key;
        isola_buf_printf(&names, "%s%s", any ? ", " : "", key);
        any = true;
    }
    if (any)
        fprintf(stderr,
                "ctl: running the install scripts that package.json allows: %s; what is compiled "
                "may take minutes\n",
                isola_buf_cstr(&names));
    isola_buf_free(&names);
    if (any)
        code = run_npm(dir, in, argv, scripts.env,
                       "run the install scripts that package.json allows", err);
    isola__npm_scripts_free(&scripts);
    if (code == 0)
        hint(in, allowed);
    return code;
}

/* Installs what package.json in `in` says; `dev`: with what is needed for development alone. */
static int install(const char *dir, const char *in, bool locked, bool dev, struct isola_err *err)
{
    char *argv[] = {(char *)"npm",
                    (char *)(locked ? "ci" : "install"),
                    (char *)"--ignore-scripts",
                    (char *)"--no-audit",
                    (char *)"--no-fund",
                    (char *)"--no-update-notifier",
                    (char *)"--loglevel=error",
                    dev ? NULL : (char *)"--omit=dev",
                    NULL};
    json_t *allowed = NULL;
    int code = read_allowed(dir, &allowed, err);
    if (code == 0)
        code = run_npm(dir, in, argv, NULL, "fetch the packages", err);
    if (code == 0)
        code = run_scripts(dir, in, allowed, err);
    json_decref(allowed);
    return code;
}

/* Fetches into `place`, which is not there. */
static int fetch(const char *dir, const char *place, bool locked, struct isola_err *err)
{
    char *part = isola_format("%s.%d", place, (int)getpid());
    int code = 0;
    isola__process_hold(true);
    if (isola_dir_remove(part) != 0 || mkdir(part, 0700) != 0)
        code = isola_fail(err, ISOLA_EIO, "cannot make %s: %s", part, strerror(errno));
    if (code == 0)
        code = copy_inputs(dir, part, err);
    if (code == 0)
        code = install(dir, part, locked, false, err);
    if (code == 0 && rename(part, place) != 0 && errno != EEXIST && errno != ENOTEMPTY)
        code = isola_fail(err, ISOLA_EIO, "cannot make %s: %s", place, strerror(errno));
    (void)isola_dir_remove(part);
    isola__process_hold(false);
    free(part);
    return code;
}

/* That npm is at work, and by what it goes. */
static void say_fetching(const char *dir, bool locked)
{
    static const struct {
        const char *lock, *manager;
    } others[] = {{"pnpm-lock.yaml", "pnpm"}, {"yarn.lock", "yarn"}, {"bun.lock", "bun"}};
    if (locked) {
        say("fetching packages with npm, as package-lock.json says");
        return;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (!is_there(dir, others[i].lock))
            continue;
        fprintf(stderr,
                "ctl: fetching packages with npm, which does not read %s: other versions may come "
                "than that says; `%s install` in %s before a deploy has those\n",
                others[i].lock, others[i].manager, dir);
        return;
    }
    say("fetching packages with npm; there is no package-lock.json, so other versions may come the "
        "next time");
}

/* The app's own install scripts want its files, which are not where its packages are fetched to. */
static void say_own_scripts(const char *dir)
{
    static const char *const names[] = {"preinstall", "install", "postinstall"};
    json_t *scripts = package_part(dir, "scripts");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *script = json_string_value(json_object_get(scripts, names[i]));
        if (script == NULL)
            continue;
        fprintf(stderr,
                "ctl: \"%s\" of package.json (%.100s) was not run: if what runs needs it, `npm "
                "install` in %s before a deploy\n",
                names[i], script, dir);
    }
    json_decref(scripts);
}

static bool is_locked(const char *dir)
{
    return is_there(dir, "package-lock.json") || is_there(dir, "npm-shrinkwrap.json");
}

int isola__npm(const char *dir, struct isola__npm *out, struct isola_err *err)
{
    uint64_t begun = isola_clock_ms();
    *out = (struct isola__npm){0};
    json_t *dependencies = package_part(dir, "dependencies");
    int code = 0;
    if (json_object_size(dependencies) == 0 || is_dir(dir, "node_modules"))
        goto out;
    char hex[33];
    name_of(dir, hex);
    char *name = isola_format("npm-%s", hex);
    out->modules = isola__cache_path(name);
    free(name);
    if (out->modules == NULL) {
        code =
            isola_fail(err, ISOLA_EIO,
                       "there is no place for the packages of %s: set HOME or XDG_CACHE_HOME, or "
                       "run `npm install` there",
                       dir);
        goto out;
    }
    out->locked = is_locked(dir);
    if (!is_dir(out->modules, ".")) {
        say_fetching(dir, out->locked);
        code = fetch(dir, out->modules, out->locked, err);
        out->fetched = code == 0;
        if (code == 0)
            say_own_scripts(dir);
        out->ms = isola_clock_ms() - begun;
    }
out:
    json_decref(dependencies);
    if (code != 0)
        isola__npm_free(out);
    return code;
}

int isola__npm_check(const char *dir, struct isola_err *err)
{
    json_t *dependencies = package_part(dir, "dependencies");
    int code = json_object_size(dependencies) > 0 && is_dir(dir, "node_modules")
                   ? check_installed(dir, dependencies, err)
                   : 0;
    json_decref(dependencies);
    return code;
}

int isola__npm_install(const char *dir, struct isola_err *err)
{
    json_t *dependencies = package_part(dir, "dependencies");
    bool none = json_object_size(dependencies) == 0;
    struct isola__places places = {0};
    int code = none ? 0 : isola__places_find(dir, &places, err);
    bool elsewhere = places.n > 0; /* and all there */
    json_decref(dependencies);
    isola__places_free(&places);
    if (code != 0 || none || elsewhere || is_dir(dir, "node_modules"))
        return code;
    say("installing packages with npm, as services run where they are edited");
    isola__process_hold(true);
    code = install(dir, dir, is_locked(dir), true, err);
    if (code != 0) { /* what there is may be half of it */
        char *path = isola_format("%s/node_modules", dir);
        (void)isola_dir_remove(path);
        free(path);
    }
    isola__process_hold(false);
    return code;
}
