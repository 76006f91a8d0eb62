/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl inspect`: the inspector of a service's process, open as long as this program waits; of one
 * at another node it is brought here (tunnel.h).
 */
#include <string.h>

#include "base/check.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "cli/tunnel.h"

#define OPEN_MS 10000u

static const char scheme[] = "ws://";

/* Where DevTools finds it: what Chrome opens itself, and what others connect to. */
static bool print_place(struct isola__cli *cli, json_t *value)
{
    const char *url = json_string_value(json_object_get(value, "url"));
    url = url != NULL ? url : "";
    const char *at = strncmp(url, scheme, sizeof(scheme) - 1) == 0 ? url + sizeof(scheme) - 1 : url;
    char *devtools = isola_format(
        "devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws=%s", at);
    struct isola_buf out = {0};
    bool done;
    if (cli->options.json) {
        json_object_set_new(value, "devtools", json_string(devtools));
        done = isola__out_json(cli, value, false);
    } else {
        isola__text_clean(&out, isola__text_of(json_object_get(value, "address")));
        isola_buf_puts(&out, " on node ");
        isola__text_clean(&out, isola__text_of(json_object_get(value, "node")));
        isola_buf_printf(&out, " can be inspected until this ends (Ctrl-C)\n  Chrome  ");
        isola__text_clean(&out, isola_slice_str(devtools));
        isola_buf_puts(&out, "\n  others  ");
        isola__text_clean(&out, isola_slice_str(url));
        isola_buf_puts(&out, "\n");
        done = isola__out(cli, &out);
    }
    free(devtools);
    return done && fflush(stdout) == 0;
}

/* It is open at another node: its URL becomes one of this machine. Else nothing changes. */
static int bring(struct isola__client *client, json_t *value, struct isola__tunnel **out,
                 struct isola_err *err)
{
    bool far = json_is_true(json_object_get(value, "far"));
    json_object_del(value, "far");
    if (!far)
        return 0;
    int rc = isola__tunnel_open(client, out, err);
    if (rc != 0)
        return rc;
    const char *url = json_string_value(json_object_get(value, "url"));
    const char *path = url != NULL && strncmp(url, scheme, sizeof(scheme) - 1) == 0
                           ? strchr(url + sizeof(scheme) - 1, '/')
                           : NULL;
    char *here = isola_format("%s127.0.0.1:%u%s", scheme, isola__tunnel_port(*out),
                              path != NULL ? path : "/");
    json_object_set_new(value, "url", json_string(here));
    free(here);
    return 0;
}

/* Until it is interrupted, or the process has ended. */
static void wait_for_end(struct isola__cli *cli, struct isola__client *client,
                         struct isola__tunnel *tunnel)
{
    for (bool go_on = true; go_on;) {
        struct isola_msg *m;
        struct isola_err err;
        struct isola_slice params, why;
        if (isola__client_next(client, &m, &err) != 0) {
            isola__fail(cli, &err);
            return;
        }
        if (m == NULL)
            return;
        if (m->kind == ISOLA_MSG_EMIT && isola_slice_is(m->event, "ended") &&
            isola_mp_at(m->args, 0, &params) && isola_mp_find_str(params, "why", &why)) {
            isola_fail(&err, ISOLA_ECLOSED, "%.200s is not there any more: %.*s",
                       cli->options.operands[0], ISOLA_FMT(isola_slice_cut(why, 300)));
            isola__fail(cli, &err);
            go_on = false;
        } else if (tunnel != NULL) {
            isola__tunnel_message(tunnel, m);
        }
        free(m);
    }
}

void isola__run_inspect(struct isola__cli *cli)
{
    struct isola__client *client;
    struct isola__tunnel *tunnel = NULL;
    struct isola_msg *answer = NULL;
    struct isola_err err;
    struct isola_buf params = {0};
    const char *operand = cli->options.operands[0], *type = strchr(operand, '/');
    if (type != NULL && type[1] != '\0' && strchr(type + 1, '/') == NULL) {
        isola__fail_usage(cli,
                          "\"%.200s\" names no instance: it has the form app/Type/N, as in "
                          "%.200s/0; 'ctl ps' lists them",
                          operand, operand);
        return;
    }
    if (!isola__check_address(cli, operand))
        return;
    if (isola__client_open(cli->socket, &client, &err) != 0) {
        isola__fail(cli, &err);
        return;
    }
    isola__client_listen(client);
    isola_mp_map(&params, cli->options.from != NULL ? 2 : 1);
    isola_mp_kstr(&params, "address", operand);
    if (cli->options.from != NULL)
        isola_mp_kstr(&params, "node", cli->options.from);
    if (isola__client_call(client, "debug", isola_buf_slice(&params), isola__wait_ms(cli, OPEN_MS),
                           &answer, &err) != 0) {
        isola__fail(cli, &err);
    } else {
        json_t *value = isola__result(cli, answer, NULL);
        if (value != NULL && bring(client, value, &tunnel, &err) != 0)
            isola__fail(cli, &err);
        else if (value != NULL && print_place(cli, value))
            wait_for_end(cli, client, tunnel);
        json_decref(value);
    }
    free(answer);
    isola_buf_free(&params);
    isola__tunnel_close(tunnel);
    isola__client_close(client);
}
