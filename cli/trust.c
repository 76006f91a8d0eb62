/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl trust: who may deploy; and one's own key, by which ctl deploy signs.
 *
 * The key is a file of its own, $ISOLA_KEY or ~/.config/isola/key, which nobody else may read. A
 * deploy without one is not signed: whether that is taken is the cluster's to say.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "base/msgpack.h"
#include "base/path.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/deploy.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "transport/keyfile.h"
#include "transport/trust.h"

#define TEXT_MAX 4096

static const char kind[] = "isola deployer key";

/* --- one's own key --- */

static char *key_path(struct isola_err *err)
{
    const char *given = getenv("ISOLA_KEY"), *home = getenv("HOME");
    if (given != NULL && *given != '\0')
        return isola_path_absolute(given);
    if (home == NULL || *home == '\0') {
        const struct passwd *user = getpwuid(getuid());
        home = user != NULL ? user->pw_dir : NULL;
    }
    if (home != NULL)
        return isola_format("%s/.config/isola/key", home);
    isola_fail(err, ISOLA_EINVAL, "there is no home directory for a key; say where with ISOLA_KEY");
    return NULL;
}

/* ISOLA_ENOENT: there is none. */
static int read_key(const char *path, struct isola_sign_keys *keys, struct isola_err *err)
{
    if (access(path, F_OK) != 0)
        return isola_fail(err, ISOLA_ENOENT,
                          "there is no key at %.300s; `ctl trust init` makes one", path);
    return isola_sign_keys_read(path, kind, "is damaged, or not a deployer's key", keys, err);
}

/* The directories above `path`, as far as they are missing; the last one for its owner alone. */
static int make_dirs(const char *path, struct isola_err *err)
{
    char *dir = isola_strdup(path);
    *strrchr(dir, '/') = '\0';
    (void)isola_dir_make_above(dir, 0700); /* what is missing then, the next says */
    int rc = isola_secret_dir(*dir != '\0' ? dir : "/", err);
    free(dir);
    return rc;
}

static int make_key(const char *path, struct isola_sign_keys *keys, struct isola_err *err)
{
    int rc = make_dirs(path, err);
    if (rc != 0)
        return rc;
    isola_sign_keys_new(keys);
    return isola_sign_keys_write(path, kind, keys, err);
}

int isola__sign(const char *app, const uint8_t hash[ISOLA_RELEASE_HASH_SIZE],
                uint8_t signature[ISOLA_RELEASE_SIGNATURE], bool *is_signed, struct isola_err *err)
{
    char *path = key_path(err);
    if (path == NULL)
        return 0;
    struct isola_sign_keys *keys = isola_secret_alloc(sizeof(*keys));
    int rc = read_key(path, keys, err);
    if (rc == 0) {
        isola_deployer_sign(keys, app, hash, signature);
        *is_signed = true;
    }
    isola_secret_free(keys);
    free(path);
    return rc == ISOLA_ENOENT ? 0 : rc;
}

int isola__deploy_sign(struct isola_release *r, struct isola_err *err)
{
    uint8_t hash[ISOLA_RELEASE_HASH_SIZE];
    isola_release_hash(r, hash);
    return isola__sign(r->app, hash, r->signature, &r->is_signed, err);
}

/* One's own public key as text, its key made if need be and `may_make`. */
static int own_key(char out[ISOLA_DEPLOYER_TEXT], char **path, bool *made, struct isola_err *err)
{
    *made = false;
    *path = key_path(err);
    if (*path == NULL)
        return ISOLA_EINVAL;
    struct isola_sign_keys *keys = isola_secret_alloc(sizeof(*keys));
    int rc = read_key(*path, keys, err);
    if (rc == ISOLA_ENOENT) {
        rc = make_key(*path, keys, err);
        *made = rc == 0;
    }
    if (rc == 0)
        isola_deployer_write(keys->public_key, out);
    isola_secret_free(keys);
    return rc;
}

static void run_init(struct isola__cli *cli)
{
    char key[ISOLA_DEPLOYER_TEXT], *path;
    struct isola_buf out = {0};
    struct isola_err err;
    bool made;
    if (own_key(key, &path, &made, &err) != 0) {
        isola__fail(cli, &err);
    } else if (cli->options.json) {
        json_t *v = json_pack("{s:s, s:s, s:b}", "key", key, "path", path, "made", (int)made);
        isola__out_json(cli, v, false);
        json_decref(v);
    } else {
        isola_buf_printf(&out, "%s\n", key);
        if (isola__out(cli, &out))
            fprintf(stderr,
                    "ctl: %s %s; `ctl deploy` signs with it. Who may say who deploys types:\n"
                    "  ctl trust add NAME %s\n",
                    made ? "a key was made in" : "the key of", path, key);
    }
    free(path);
}

/* --- the list --- */

static void show(struct isola__cli *cli, const json_t *value)
{
    static const struct isola__column columns[] = {
        {"NAME", ISOLA__WORD}, {"APP", ISOLA__WORD}, {"KEY", ISOLA__LONG}};
    struct isola__table t;
    struct isola_buf out = {0};
    size_t i;
    const json_t *row, *trusted = json_object_get(value, "trusted");
    const json_t *apps = json_object_get(value, "unsigned");
    if (cli->options.json) {
        isola__out_json(cli, value, false);
        return;
    }
    if (json_array_size(trusted) == 0) {
        isola_buf_puts(&out, "deploys are not restricted: who can reach an agent may deploy; 'ctl "
                             "trust add NAME' begins with one's own key\n");
        isola__out(cli, &out);
        return;
    }
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(trusted, i, row)
    {
        struct isola_slice app = isola__text_of(json_object_get(row, "app"));
        isola__table_add(&t, isola__text_of(json_object_get(row, "name")), ISOLA__BOLD);
        isola__table_add(&t, app.len > 0 ? app : isola_slice_str("all"), ISOLA__PLAIN);
        isola__table_add(&t, isola__text_of(json_object_get(row, "key")), ISOLA__PLAIN);
    }
    isola__table_print(&t, cli->width, cli->colour, &out);
    isola__table_free(&t);
    json_array_foreach(apps, i, row)
    {
        isola_buf_puts(&out, "the current release of ");
        isola__text_clean(&out, isola__text_of(row));
        isola_buf_puts(&out, " is signed by none of them: nodes that lack it do not take it until "
                             "it is deployed again\n");
    }
    isola__out(cli, &out);
}

/* The key that the operand is, or that stands in the file it names, or one's own. */
static int given_key(const char *operand, char key[ISOLA_DEPLOYER_TEXT], struct isola_err *err)
{
    char text[TEXT_MAX + 1] = "", *path = NULL;
    uint8_t bytes[ISOLA_KEY_SIZE];
    bool made;
    if (operand == NULL) {
        int rc = own_key(key, &path, &made, err);
        free(path);
        return rc;
    }
    if (strncmp(operand, "isola_key_", 10) == 0) {
        snprintf(text, sizeof(text), "%.200s", operand);
    } else {
        FILE *f = fopen(operand, "re");
        if (f == NULL)
            return isola_fail(err, ISOLA_EINVAL,
                              "%.300s is neither a deployer's key, as `ctl trust init` prints it, "
                              "nor a file that can be read: %s",
                              operand, strerror(errno));
        text[fread(text, 1, TEXT_MAX, f)] = '\0';
        fclose(f);
    }
    int rc = isola_deployer_read(isola_slice_str(text), bytes, err);
    if (rc == 0)
        isola_deployer_write(bytes, key);
    return rc;
}

static void run_change(struct isola__cli *cli, bool adds)
{
    char key[ISOLA_DEPLOYER_TEXT] = "";
    struct isola_buf params = {0};
    struct isola_err err;
    const char *app = cli->options.app;
    char **operands = cli->options.operands;
    if (adds && given_key(cli->options.noperands > 2 ? operands[2] : NULL, key, &err) != 0) {
        isola__fail(cli, &err);
        return;
    }
    isola_mp_map(&params, 1 + adds + (app != NULL));
    isola_mp_kstr(&params, adds ? "add" : "remove", operands[1]);
    if (adds)
        isola_mp_kstr(&params, "key", key);
    if (app != NULL)
        isola_mp_kstr(&params, "app", app);
    json_t *value = isola__call(cli, "trust", &params, ISOLA__STATUS_MS, "trusted");
    if (value != NULL)
        show(cli, value);
    json_decref(value);
}

static void run_list(struct isola__cli *cli)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 0);
    json_t *value = isola__call(cli, "trust", &params, ISOLA__STATUS_MS, "trusted");
    if (value != NULL)
        show(cli, value);
    json_decref(value);
}

void isola__run_trust(struct isola__cli *cli)
{
    const struct isola__verb *verb = isola__verb_of(cli, isola__trust_verbs);
    if (verb == NULL)
        return;
    bool adds = strcmp(verb->name, "add") == 0;
    if (cli->options.app != NULL && !adds && strcmp(verb->name, "remove") != 0)
        isola__fail_usage(cli, "option '--app' does not belong to 'trust %s'", verb->name);
    else if (cli->options.app != NULL && !isola__check_app(cli, cli->options.app))
        return;
    else if (strcmp(verb->name, "list") == 0)
        run_list(cli);
    else if (strcmp(verb->name, "init") == 0)
        run_init(cli);
    else
        run_change(cli, adds);
}
