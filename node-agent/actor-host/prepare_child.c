/* SPDX-License-Identifier: Apache-2.0
 *
 * The process that prepares a module (prepare.h). It has no agent, no state and no mesh; it is
 * bounded in time and memory, yields to everyone else, and ends with the actor-host that started
 * it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/v8/realm.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/host_main.h"
#include "node-agent/actor-host/prepare.h"

#define CPU_SECONDS 30
#define MEMORY_MAX  ((rlim_t)3 << 30)
#define NICE        10

extern const uint8_t isola_runtime_source[], isola_runtime_source_end[];

static void say(int what, struct isola_slice part)
{
    uint8_t head[PREPARE_HEAD] = {(uint8_t)what};
    uint32_t len = (uint32_t)part.len;
    memcpy(head + 1, &len, sizeof(len));
    fwrite(head, 1, sizeof(head), stdout);
    fwrite(part.data, 1, part.len, stdout);
    fflush(stdout); /* what follows may be the end of this process */
}

static void on_part(void *arg, enum isola_v8_part part, struct isola_slice bytes)
{
    (void)arg;
    say(part == ISOLA_V8_CODE_CACHE ? PREPARE_CACHE
        : part == ISOLA_V8_IMAGE    ? PREPARE_IMAGE
                                    : PREPARE_NO_IMAGE,
        bytes);
}

static void bound(int what, rlim_t most)
{
    struct rlimit limit = {most, most};
    setrlimit(what, &limit);
}

static bool read_all(struct isola_buf *out)
{
    uint8_t chunk[65536];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
        if (n == 0)
            return !out->failed;
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            isola_buf_append(out, chunk, (size_t)n);
    }
}

void isola_actor_host_prepare(void *platform)
{
    struct isola_buf request = {0};
    struct isola_slice type, file, code, env, secrets;
    struct isola_err err;
    bool image = false;
    struct isola_v8_limits limits = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bound(RLIMIT_CORE, 0);
    bound(RLIMIT_CPU, CPU_SECONDS);
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes for its own use */
    bound(RLIMIT_DATA, MEMORY_MAX);
#endif
    setpriority(PRIO_PROCESS, 0, NICE);
    if (!read_all(&request) || request.len == 0)
        _exit(2);
    struct isola_slice map = isola_buf_slice(&request);
    struct isola_slice runtime = isola_slice(
        isola_runtime_source, (size_t)(isola_runtime_source_end - isola_runtime_source));
    if (!isola_mp_find_str(map, "type", &type) || !isola_mp_find_str(map, "file", &file) ||
        !isola_mp_find_bin(map, "code", &code) || !isola_mp_find_bin(map, "env", &env) ||
        !isola_mp_find_bin(map, "secrets", &secrets) || !isola_mp_find_bool(map, "image", &image) ||
        !isola_mp_find_uint(map, "heap", &limits.heap) ||
        !isola_mp_find_uint(map, "external", &limits.external) ||
        isola_v8_start(platform, runtime, &err) != 0)
        _exit(2);
    char key[ISOLA_V8_KEY_SIZE];
    isola_v8_key(key);
    say(PREPARE_KEY, isola_slice_str(key));
    isola_v8_prepare(type, file, code, env, secrets, limits, image, on_part, NULL);
    _exit(0);
}
