// SPDX-License-Identifier: Apache-2.0
//
// Memory mappings. Each isolate has eight or more (four for V8's tables and code, one for each 256
// KB of its heap), Linux gives a process vm.max_map_count of them (65,530), and V8 ends the process
// when it gets none. So no isolate is made when few are left; those there are go on.
//
// Counting them takes time in proportion to their number: it is done again and again only where the
// limit may be near.
#include <cstdio>
#include <mutex>

#include "actors/v8/internal.hh"

namespace isola
{
namespace
{
constexpr long kOfIsolate = 8, kMost = 16; // of a fresh isolate, and more than one of those has
constexpr long kReserve = 256;             // for heaps that grow

std::mutex mutex;
long limit;   // 0: not read yet
long counted; // when they were counted last
long since;   // isolates opened since then
} // namespace

static long read_limit()
{
    long n = 65530;
    if (FILE *f = fopen("/proc/sys/vm/max_map_count", "re")) {
        if (fscanf(f, "%ld", &n) != 1)
            n = 65530;
        fclose(f);
    }
    return n;
}

static long count()
{
    long n = 0;
    char chunk[65536];
    FILE *f = fopen("/proc/self/maps", "re");
    if (f == nullptr)
        return 0;
    for (size_t got; (got = fread(chunk, 1, sizeof(chunk), f)) > 0;)
        for (size_t i = 0; i < got; i++)
            n += chunk[i] == '\n';
    fclose(f);
    return n;
}

int room_for_isolate(isola_err *err)
{
    std::lock_guard<std::mutex> hold(mutex);
    if (limit == 0)
        limit = read_limit();
    since++;
    if (counted + since * kMost + kReserve <= limit)
        return 0;
    // Near the limit a count is good for a few isolates only.
    if (since > 16 || counted + (since + 1) * kOfIsolate + kReserve > limit) {
        counted = count();
        since = 1;
    }
    if (counted + since * kOfIsolate + kReserve <= limit)
        return 0;
    return isola_fail(err, ISOLA_EOVERLOAD,
                      "this node has no room for another isolate: %ld of the %ld memory mappings "
                      "of a process are in use; raise vm.max_map_count (docs/start.md)",
                      counted, limit);
}

} // namespace isola
