/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/record.h"

#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "transport/identity.h"

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

static int read_certificate(const struct isola__cluster *cluster, struct isola_slice map,
                            struct isola_slice name, struct isola__record *out,
                            struct isola_err *err)
{
    struct isola_slice cert;
    struct isola_err why;
    if (!isola_mp_find_bin(map, "certificate", &cert))
        return isola_fail(err, ISOLA_EINVAL, "the record of node %.*s needs a \"certificate\"",
                          ISOLA_FMT(name));
    int rc = isola_node_certificate_read(cluster->key, cert, &out->id, &why);
    if (rc != 0)
        return isola_fail(err, rc, "the record of node %.*s: %s", ISOLA_FMT(name), why.text);
    if (!isola_slice_is(name, out->id.name))
        return isola_fail(err, ISOLA_EPERM,
                          "the record of node %.*s comes with the certificate of node %s",
                          ISOLA_FMT(name), out->id.name);
    isola_buf_append(&out->cert, cert.data, cert.len);
    return out->cert.failed ? isola_fail(err, ISOLA_ENOMEM, "out of memory") : 0;
}

int isola__record_read(const struct isola__cluster *cluster, struct isola_slice map,
                       struct isola__record *out, struct isola_err *err)
{
    struct isola_slice name;
    struct isola_slice url;
    struct isola_slice host_url;
    struct isola_slice version;
    struct isola_slice host_key;
    struct isola__record r = {0};
    *out = r;
    if (!isola_mp_find_str(map, "name", &name) ||
        !isola_node_name_ok((const char *)name.data, name.len))
        return isola_fail(err, ISOLA_EINVAL, "a node record needs a valid \"name\"");
    if (!isola_mp_find_str(map, "url", &url) || !url_ok(url))
        return isola_fail(err, ISOLA_EINVAL, "the record of node %.*s needs a tcp:// \"url\"",
                          ISOLA_FMT(name));
    bool hosted = isola_mp_find_str(map, "host_url", &host_url);
    if (hosted && !url_ok(host_url))
        return isola_fail(err, ISOLA_EINVAL,
                          "\"host_url\" in the record of node %.*s is no tcp:// url",
                          ISOLA_FMT(name));
    if (hosted &&
        (!isola_mp_find_bin(map, "host_key", &host_key) || host_key.len != ISOLA_KEY_SIZE ||
         !isola_mp_find_uint(map, "host_started", &r.host_started)))
        return isola_fail(
            err, ISOLA_EINVAL,
            "the record of node %.*s needs \"host_key\" and \"host_started\" with its \"host_url\"",
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
    int rc = read_certificate(cluster, map, name, &r, err);
    if (rc != 0) {
        isola_buf_free(&r.cert);
        return rc;
    }
    (void)isola_mp_find_bool(map, "keeper", &r.keeper);
    (void)isola_mp_find_uint(map, "changes", &r.changes);
    if (hosted)
        memcpy(r.host_key, host_key.data, ISOLA_KEY_SIZE);
    r.name = text(name);
    r.url = text(url);
    r.host_url = hosted ? text(host_url) : NULL;
    r.version = text(version);
    *out = r;
    return 0;
}

void isola__record_write(const struct isola__record *r, struct isola_buf *out)
{
    bool hosted = r->host_url != NULL;
    isola_mp_map(out, hosted ? 13 : 11);
    isola_mp_kstr(out, "name", r->name);
    isola_mp_kstr(out, "url", r->url);
    isola_mp_kstr(out, "host_url", r->host_url);
    isola_mp_kuint(out, "pid", r->pid);
    isola_mp_kuint(out, "host_pid", r->host_pid);
    isola_mp_kuint(out, "threads", r->threads);
    isola_mp_kuint(out, "started_ms", r->started_ms);
    isola_mp_kstr(out, "version", r->version);
    isola_mp_cstr(out, "certificate");
    isola_mp_bin(out, isola_buf_slice(&r->cert));
    isola_mp_kbool(out, "keeper", r->keeper);
    isola_mp_kuint(out, "changes", r->changes);
    if (hosted) {
        isola_mp_cstr(out, "host_key");
        isola_mp_bin(out, isola_slice(r->host_key, ISOLA_KEY_SIZE));
        isola_mp_kuint(out, "host_started", r->host_started);
    }
}

void isola__record_free(struct isola__record *r)
{
    free(r->name);
    free(r->url);
    free(r->host_url);
    free(r->version);
    isola_buf_free(&r->cert);
    *r = (struct isola__record){0};
}

bool isola__record_same(const struct isola__record *a, const struct isola__record *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->url, b->url) == 0 && a->pid == b->pid &&
           a->started_ms == b->started_ms &&
           memcmp(a->id.node_key, b->id.node_key, ISOLA_KEY_SIZE) == 0;
}

bool isola__record_older(const struct isola__record *a, const struct isola__record *b)
{
    return isola__record_same(a, b) && a->changes < b->changes;
}

/* Counts it, when it is another than the last time. */
static void count_change(struct isola__members *members, struct isola__record *own)
{
    struct isola_buf now = {0};
    isola__record_write(own, &now);
    if (isola_slice_eq(isola_buf_slice(&now), isola_buf_slice(&members->own))) {
        isola_buf_free(&now);
    } else {
        isola_buf_free(&members->own);
        members->own = now;
        members->own_changes++;
    }
    own->changes = members->own_changes;
}

void isola__record_own(struct isola__agent *agent, struct isola__record *out)
{
    const struct isola__cluster *cluster = &agent->cluster;
    bool ready = agent->host.state == ISOLA_HOST_READY && agent->host.open;
    bool listens = ready && agent->host.url != NULL;
    *out = (struct isola__record){
        .name = isola_strdup(agent->opt.name),
        .url = isola_strdup(agent->url != NULL ? agent->url : ""),
        .host_url = listens ? isola_strdup(agent->host.url) : NULL,
        .version = isola_strdup(ISOLA_VERSION),
        .pid = (uint64_t)getpid(),
        .host_pid = ready ? agent->host.pid : 0,
        .threads = ready ? agent->host.threads : agent->opt.threads,
        .started_ms = (uint64_t)agent->started_ms,
        .id = cluster->own,
        .keeper = cluster->issuer != NULL,
        .host_started = (uint64_t)agent->host.certified_ms,
    };
    isola_buf_append(&out->cert, cluster->cert.data, cluster->cert.len);
    if (listens)
        memcpy(out->host_key, agent->host.key, ISOLA_KEY_SIZE);
    count_change(&agent->members, out);
}
