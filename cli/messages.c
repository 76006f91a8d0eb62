/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands that talk to an actor: ask, emit, on, stop. What is wrong with the command line is
 * found before anything is connected or sent.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/rollout.h"
#include "cli/text.h"
#include "cli/value.h"

#define ASK_MS  10000u
#define STOP_MS 10000u
/* The actor's own time-out, which says more, should come first. */
#define GRACE_MS 1000u

static void not_json(struct isola__cli *cli, size_t index, const char *text, const char *why)
{
    /* What does not even begin like JSON was meant as a string. */
    bool word = text[0] == '\0' || strchr("[{\"-0123456789", text[0]) == NULL;
    int shown = 60;
    while (shown > 0 && strlen(text) > (size_t)shown && ((uint8_t)text[shown] & 0xc0) == 0x80)
        shown--; /* whole characters */
    const char *more = strlen(text) > (size_t)shown ? "…" : "";
    if (word && *more == '\0' && strpbrk(text, "'\"\\") == NULL)
        isola__fail_usage(cli, "argument %zu is not JSON: %s (for a string write '\"%s\"')", index,
                          text, text);
    else
        isola__fail_usage(cli, "argument %zu is not JSON: %.*s%s (%s)", index, shown, text, more,
                          why);
}

/* The operands from the third on as an args array. False: told, nothing to send. */
static bool read_arguments(struct isola__cli *cli, struct isola_buf *args)
{
    size_t n = cli->options.noperands - 2;
    isola_mp_array(args, n);
    for (size_t i = 0; i < n; i++) {
        const char *text = cli->options.operands[2 + i];
        json_t *json;
        struct isola_err err;
        if (isola__value_parse(text, &json, &err) != 0) {
            not_json(cli, i + 1, text, err.text);
            return false;
        }
        int rc = isola__value_from_json(json, args, &err);
        json_decref(json);
        if (rc != 0) {
            isola__fail_usage(cli, "argument %zu cannot be sent: %s", i + 1, err.text);
            return false;
        }
    }
    return true;
}

static bool check_event(struct isola__cli *cli)
{
    if (cli->options.operands[1][0] != '\0')
        return true;
    isola__fail_usage(cli, "the event is empty; see 'ctl %s --help'", cli->options.command->name);
    return false;
}

/* The message that the command line stands for. */
static struct isola_msg message(const struct isola__cli *cli, enum isola_msg_kind kind,
                                const struct isola_buf *args)
{
    char **operands = cli->options.operands;
    struct isola_msg m = {.kind = kind, .dst = isola_slice_str(operands[0])};
    if (cli->options.noperands > 1)
        m.event = isola_slice_str(operands[1]);
    if (args != NULL)
        m.args = isola_buf_slice(args);
    return m;
}

/* Sends `m` and hands over what answers it; NULL: told. */
static struct isola_msg *request(struct isola__cli *cli, struct isola_msg *m, uint32_t default_ms)
{
    struct isola__client *client;
    struct isola_err err;
    struct isola_msg *answer = NULL;
    uint32_t ms = isola__wait_ms(cli, default_ms);
    m->timeout_ms = ms;
    int rc = isola__client_open(cli->socket, &client, &err);
    if (rc == 0) {
        rc = isola__client_request(client, m, ms + GRACE_MS, &answer, &err);
        if (rc == ISOLA_ETIMEDOUT)
            isola_fail(&err, rc,
                       "%.*s did not answer within %" PRIu32 " ms; wait longer with --timeout MS",
                       ISOLA_FMT(m->dst), ms);
        isola__client_close(client);
    }
    if (rc != 0) {
        isola__fail(cli, &err);
        return NULL;
    }
    if (answer->kind == ISOLA_MSG_FAIL) {
        isola__fail_remote(cli, answer->args);
        free(answer);
        return NULL;
    }
    return answer;
}

void isola__run_ask(struct isola__cli *cli)
{
    struct isola_buf args = {0};
    struct isola_err err;
    if (!isola__check_address(cli, cli->options.operands[0]) || !check_event(cli) ||
        !read_arguments(cli, &args))
        goto out;
    struct isola_msg m = message(cli, ISOLA_MSG_ASK, &args);
    struct isola_msg *answer = request(cli, &m, ASK_MS);
    if (answer == NULL)
        goto out;
    json_t *values;
    int rc = isola__value_to_json(answer->args, &values, &err);
    free(answer);
    if (rc == 0 && json_array_size(values) != 1) {
        json_decref(values);
        rc = isola_fail(&err, ISOLA_EPROTO, "the reply is not one value");
    }
    if (rc != 0) {
        isola__fail(cli, &err);
        goto out;
    }
    isola__out_json(cli, json_array_get(values, 0), !cli->options.json);
    json_decref(values);
out:
    isola_buf_free(&args);
}

void isola__run_emit(struct isola__cli *cli)
{
    struct isola_buf args = {0};
    struct isola_err err;
    struct isola__client *client;
    if (!isola__check_address(cli, cli->options.operands[0]) || !check_event(cli) ||
        !read_arguments(cli, &args) || !isola__find(cli, cli->options.operands[0]))
        goto out;
    struct isola_msg m = message(cli, ISOLA_MSG_EMIT, &args);
    struct isola_msg *answer = NULL;
    bool durable = cli->options.durable;
    int rc = isola__client_open(cli->socket, &client, &err);
    if (rc == 0) {
        rc = durable ? isola__client_deliver(client, &m, isola__wait_ms(cli, ASK_MS), &answer, &err)
                     : isola__client_send(client, &m, &err);
        isola__client_close(client);
    }
    if (rc != 0) {
        isola__fail(cli, &err);
    } else if (answer != NULL && answer->kind == ISOLA_MSG_FAIL) {
        isola__fail_remote(cli, answer->args);
    } else if (cli->options.json) {
        json_t *done = json_pack("{s:b}", durable ? "handled" : "sent", 1);
        isola__out_json(cli, done, false);
        json_decref(done);
    }
    free(answer);
out:
    isola_buf_free(&args);
}

/* One line: the arguments, or with --json who emitted what. */
static bool print_event(struct isola__cli *cli, const struct isola_msg *m)
{
    json_t *args;
    struct isola_err err;
    if (isola__value_to_json(m->args, &args, &err) != 0) {
        isola__fail(cli, &err);
        return false;
    }
    bool go_on;
    if (cli->options.json) {
        json_t *line = json_pack("{s:s, s:s, s:O}", "address", cli->options.operands[0], "event",
                                 cli->options.operands[1], "args", args);
        go_on = line != NULL && isola__out_json(cli, line, false);
        json_decref(line);
    } else {
        go_on = isola__out_json(cli, args, false);
    }
    json_decref(args);
    return go_on;
}

/* The subscription with `id`, until it is interrupted, has had its count, or fails. */
static void print_events(struct isola__cli *cli, struct isola__client *client, uint64_t id)
{
    uint64_t left = cli->options.count;
    for (bool go_on = true; go_on;) {
        struct isola_msg *m;
        struct isola_err err;
        if (isola__client_next(client, &m, &err) != 0) {
            isola__fail(cli, &err);
            return;
        }
        if (m == NULL)
            return;
        if (m->kind == ISOLA_MSG_EVENT && m->id == id) {
            go_on = print_event(cli, m) && (cli->options.count == 0 || --left > 0);
        } else if (m->kind == ISOLA_MSG_FAIL && m->id == id) {
            isola__fail_remote(cli, m->args);
            go_on = false;
        }
        free(m);
    }
}

void isola__run_on(struct isola__cli *cli)
{
    struct isola__client *client;
    struct isola_err err;
    if (!isola__check_address(cli, cli->options.operands[0]) || !check_event(cli) ||
        !isola__find(cli, cli->options.operands[0]))
        return;
    if (isola__client_open(cli->socket, &client, &err) != 0) {
        isola__fail(cli, &err);
        return;
    }
    struct isola_msg m = message(cli, ISOLA_MSG_SUB, NULL);
    isola__client_listen(client);
    if (isola__client_send(client, &m, &err) != 0) {
        isola__fail(cli, &err);
    } else {
        /* on stderr, so that a script can wait for it and stdout has events only */
        struct isola_buf line = {0};
        isola_buf_printf(&line, "ctl: listening for %s of %s\n", cli->options.operands[1],
                         cli->options.operands[0]);
        if (!line.failed)
            fwrite(line.data, 1, line.len, stderr);
        isola_buf_free(&line);
        print_events(cli, client, m.id);
    }
    isola__client_close(client);
}

/* Ends the actor's activation; false: told why not. */
static bool stop(struct isola__cli *cli, bool *was)
{
    struct isola_msg m = message(cli, ISOLA_MSG_STOP, NULL);
    struct isola_msg *answer = request(cli, &m, STOP_MS);
    if (answer == NULL)
        return false;
    struct isola_slice value;
    struct isola_mp_item item = {.type = ISOLA_MP_NIL};
    if (isola_mp_at(answer->args, 0, &value)) {
        struct isola_mp_reader r = isola_mp_reader(value);
        if (isola_mp_next(&r, &item) != 0)
            item.type = ISOLA_MP_NIL;
    }
    *was = item.type == ISOLA_MP_BOOL && item.b;
    free(answer);
    return true;
}

/* Tells the instances of a service that the operand names (app/Type, app/Type/N) to stop, or to
 * restart. True: it was one, or it has been told why not. */
static bool of_service(struct isola__cli *cli, const char *what, const char *done)
{
    const char *of = cli->options.operands[0];
    const char *slash = strchr(of, '/');
    bool type = slash != NULL && strchr(slash + 1, '/') == NULL;
    if (!type && !isola__check_address(cli, of))
        return true;
    struct isola_buf params = {0};
    json_t *before = cli->options.wait ? isola__restart_rows(cli) : NULL;
    if (cli->options.wait && before == NULL)
        return true;
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "of", of);
    isola_mp_kstr(&params, "do", what);
    json_t *value = isola__call(cli, "service", &params, ISOLA__STATUS_MS, "instances");
    size_t n = json_array_size(json_object_get(value, "instances"));
    if (value != NULL && n == 0 && !type) {
        json_decref(before);
        json_decref(value);
        return false;
    }
    if (value != NULL && n == 0) {
        struct isola_err err;
        char *any = isola_format("%s/0", of);
        if (isola__find(cli, any)) {
            isola_fail(&err, ISOLA_ENOACTOR,
                       "%.200s is no service; name an actor of that type: %.200s/KEY", of, of);
            isola__fail(cli, &err);
        }
        free(any);
    } else if (value != NULL && cli->options.wait &&
               !isola__restart_wait(cli, json_object_get(value, "instances"), before)) {
        /* which has been told */
    } else if (value != NULL && cli->options.json) {
        isola__out_json(cli, value, false);
    } else if (value != NULL) {
        struct isola_buf line = {0};
        isola_buf_printf(&line, "%s %s: %zu instance%s\n", cli->options.wait ? "restarted" : done,
                         of, n, n == 1 ? "" : "s");
        isola__list_unreachable(json_object_get(value, "unreachable"), " (not told)", cli->colour,
                                &line);
        isola__out(cli, &line);
    }
    json_decref(before);
    json_decref(value);
    return true;
}

void isola__run_restart(struct isola__cli *cli)
{
    bool was;
    if (of_service(cli, "restart", "restarting") || !stop(cli, &was))
        return;
    struct isola_msg m = message(cli, ISOLA_MSG_START, NULL);
    struct isola_msg *answer = request(cli, &m, STOP_MS);
    if (answer == NULL)
        return;
    free(answer);
    if (cli->options.json) {
        json_t *done = json_pack("{s:s, s:b}", "address", cli->options.operands[0], "was", was);
        isola__out_json(cli, done, false);
        json_decref(done);
        return;
    }
    struct isola_buf line = {0};
    isola_buf_printf(&line, was ? "restarted %s\n" : "started %s\n", cli->options.operands[0]);
    isola__out(cli, &line);
}

void isola__run_stop(struct isola__cli *cli)
{
    bool was;
    if (of_service(cli, "stop", "stopping") || !stop(cli, &was))
        return;
    /* an actor may outlive its type, so it is asked after only now */
    if (!was && !isola__find(cli, cli->options.operands[0]))
        return;
    if (cli->options.json) {
        json_t *done =
            json_pack("{s:s, s:b}", "address", cli->options.operands[0], "stopped", was ? 1 : 0);
        isola__out_json(cli, done, false);
        json_decref(done);
        return;
    }
    struct isola_buf line = {0};
    isola_buf_printf(&line, was ? "stopped %s\n" : "%s was not active\n", cli->options.operands[0]);
    isola__out(cli, &line);
}
