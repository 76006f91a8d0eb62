/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/record.h"

#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"

#define URL_MAX     256
#define VERSION_MAX 64

static bool plain(struct isola_slice s, size_t max)
{
    if (s.len == 0 || s.len > max)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] <= ' ' || s.data[i] >= 127)
            return false;
    }
    return true;
}

static bool url_ok(struct isola_slice s)
{
    return plain(s, URL_MAX) && s.len > 6 && memcmp(s.data, "tcp://", 6) == 0;
}

static char *text(struct isola_slice s)
{
    return isola_strndup((const char *)s.data, s.len);
}

int isola__record_read(struct isola_slice map, struct isola__record *out, struct isola_err *err)
{
    struct isola_slice name;
    struct isola_slice url;
    struct isola_slice host_url;
    struct isola_slice version;
    struct isola__record r = {0};
    *out = r;
    if (!isola_mp_find_str(map, "name", &name) ||
        !isola__node_name_ok((const char *)name.data, name.len))
        return isola_fail(err, ISOLA_EINVAL, "a node record needs a valid \"name\"");
    if (!isola_mp_find_str(map, "url", &url) || !url_ok(url))
        return isola_fail(err, ISOLA_EINVAL, "the record of node %.*s needs a tcp:// \"url\"",
                          ISOLA_FMT(name));
    bool hosted = isola_mp_find_str(map, "host_url", &host_url);
    if (hosted && !url_ok(host_url))
        return isola_fail(err, ISOLA_EINVAL,
                          "\"host_url\" in the record of node %.*s is no tcp:// url",
                          ISOLA_FMT(name));
    if (!isola_mp_find_str(map, "version", &version) || !plain(version, VERSION_MAX))
        return isola_fail(err, ISOLA_EINVAL, "the record of node %.*s needs a \"version\"",
                          ISOLA_FMT(name));
    if (!isola_mp_find_uint(map, "pid", &r.pid) ||
        !isola_mp_find_uint(map, "host_pid", &r.host_pid) ||
        !isola_mp_find_uint(map, "threads", &r.threads) ||
        !isola_mp_find_uint(map, "started_ms", &r.started_ms))
        return isola_fail(err, ISOLA_EINVAL,
                          "the record of node %.*s needs \"pid\", \"host_pid\", \"threads\" and "
                          "\"started_ms\"",
                          ISOLA_FMT(name));
    r.name = text(name);
    r.url = text(url);
    r.host_url = hosted ? text(host_url) : NULL;
    r.version = text(version);
    *out = r;
    return 0;
}

void isola__record_write(const struct isola__record *r, struct isola_buf *out)
{
    isola_mp_map(out, 8);
    isola_mp_kstr(out, "name", r->name);
    isola_mp_kstr(out, "url", r->url);
    isola_mp_kstr(out, "host_url", r->host_url);
    isola_mp_kuint(out, "pid", r->pid);
    isola_mp_kuint(out, "host_pid", r->host_pid);
    isola_mp_kuint(out, "threads", r->threads);
    isola_mp_kuint(out, "started_ms", r->started_ms);
    isola_mp_kstr(out, "version", r->version);
}

void isola__record_free(struct isola__record *r)
{
    free(r->name);
    free(r->url);
    free(r->host_url);
    free(r->version);
    *r = (struct isola__record){0};
}

bool isola__record_same(const struct isola__record *a, const struct isola__record *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->url, b->url) == 0 && a->pid == b->pid &&
           a->started_ms == b->started_ms;
}

void isola__record_own(struct isola__agent *agent, struct isola__record *out)
{
    bool ready = agent->host.state == ISOLA_HOST_READY && agent->host.open;
    *out = (struct isola__record){
        .name = isola_strdup(agent->opt.name),
        .url = isola_strdup(isola_listener_url(agent->control)),
        .host_url = ready ? isola_strdup(agent->host.url) : NULL,
        .version = isola_strdup(ISOLA_VERSION),
        .pid = (uint64_t)getpid(),
        .host_pid = ready ? agent->host.pid : 0,
        .threads = ready ? agent->host.threads : agent->opt.threads,
        .started_ms = (uint64_t)agent->started_ms,
    };
}
