/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands have in common: checking operands, and a call of one of the agent's methods
 * from connect to result.
 */
#include "cli/call.h"

#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/client.h"
#include "cli/value.h"

bool isola__check_address(struct isola__cli *cli, const char *operand)
{
    struct isola_address address;
    struct isola_err err;
    if (isola_address_parse(isola_slice_str(operand), &address, &err) == 0)
        return true;
    if (strstr(err.text, "app/Type/key") != NULL)
        isola__fail_usage(cli, "%s", err.text);
    else
        isola__fail_usage(cli, "%s (an address has the form app/Type/key)", err.text);
    return false;
}

bool isola__check_app(struct isola__cli *cli, const char *app)
{
    size_t n = strspn(app, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    if (n > 0 && app[n] == '\0')
        return true;
    isola__fail_usage(
        cli, "'%.100s' is not the name of an app: those are made of letters, digits, - and _", app);
    return false;
}

uint32_t isola__wait_ms(const struct isola__cli *cli, uint32_t otherwise)
{
    return cli->options.timeout_ms ? cli->options.timeout_ms : otherwise;
}

json_t *isola__result(struct isola__cli *cli, const struct isola_msg *answer, const char *list)
{
    json_t *values, *value = NULL;
    struct isola_err err;
    if (answer->kind == ISOLA_MSG_FAIL) {
        isola__fail_remote(cli, answer->args);
        return NULL;
    }
    int rc = isola__value_to_json(answer->args, &values, &err);
    if (rc == 0) {
        value = json_incref(json_array_get(values, 0));
        json_decref(values);
        if (!(list == NULL ? json_is_object(value) : json_is_array(json_object_get(value, list)))) {
            json_decref(value);
            value = NULL;
            rc = isola_fail(&err, ISOLA_EPROTO, "the agent's answer has no %s",
                            list != NULL ? list : "result");
        }
    }
    if (rc != 0)
        isola__fail(cli, &err);
    return value;
}

struct isola_msg *isola__request(struct isola__cli *cli, const char *method,
                                 struct isola_buf *params, uint32_t wait_ms)
{
    struct isola__client *client;
    struct isola_msg *answer = NULL;
    struct isola_err err;
    int rc = isola__client_open(cli->socket, &client, &err);
    if (rc == 0) {
        rc = isola__client_call(client, method, isola_buf_slice(params),
                                isola__wait_ms(cli, wait_ms), &answer, &err);
        isola__client_close(client);
    }
    if (rc != 0)
        isola__fail(cli, &err);
    isola_buf_free(params);
    return answer;
}

json_t *isola__call(struct isola__cli *cli, const char *method, struct isola_buf *params,
                    uint32_t wait_ms, const char *list)
{
    struct isola_msg *answer = isola__request(cli, method, params, wait_ms);
    json_t *value = answer != NULL ? isola__result(cli, answer, list) : NULL;
    free(answer);
    return value;
}

bool isola__find(struct isola__cli *cli, const char *of)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "of", of);
    struct isola_msg *answer = isola__request(cli, "find", &params, ISOLA__STATUS_MS);
    bool found = answer != NULL && answer->kind != ISOLA_MSG_FAIL;
    if (answer != NULL && !found)
        isola__fail_remote(cli, answer->args);
    free(answer);
    return found;
}

struct isola_slice isola__text_of(const json_t *v)
{
    return isola_slice(json_string_value(v), json_string_length(v));
}
