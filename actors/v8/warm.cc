// SPDX-License-Identifier: Apache-2.0
//
// Memory of large array buffers that were garbage, for the next ones.
//
// V8 frees many of them at once, more than malloc() keeps: each new one would be memory the kernel
// has to find, clear and map page by page, which takes longer than to fill it. What was freed last
// is taken first: it may be in a cache yet.
#include "actors/v8/limits.hh"

#include <malloc.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/clock.h"

namespace isola
{
namespace
{

constexpr size_t kLeast = 256u << 10, kMost = 16u << 20; // bytes of one
constexpr size_t kAll = 64u << 20;                       // and of all that are kept
constexpr uint64_t kAge = 2000;                          // ms after which one is not wanted
constexpr size_t kBlocks = 256;

struct Block {
    void *memory;
    size_t size;
    uint64_t since;
};

// From the oldest on.
struct {
    std::mutex lock;
    Block blocks[kBlocks];
    size_t count = 0, bytes = 0;
} warm;

} // namespace

void *warm_take(size_t n)
{
    if (n < kLeast || n > kMost)
        return nullptr;
    std::lock_guard<std::mutex> held(warm.lock);
    for (size_t i = warm.count; i-- > 0;) {
        Block b = warm.blocks[i];
        if (b.size < n || b.size / 2 > n)
            continue;
        memmove(&warm.blocks[i], &warm.blocks[i + 1], (warm.count - i - 1) * sizeof(Block));
        warm.count--;
        warm.bytes -= b.size;
        return b.memory;
    }
    return nullptr;
}

bool warm_keep(void *memory, size_t n)
{
    if (n < kLeast || n > kMost)
        return false;
    n = malloc_usable_size(memory); // it may have been taken for a larger one than was wanted
    std::lock_guard<std::mutex> held(warm.lock);
    if (warm.count == kBlocks || warm.bytes + n > kAll)
        return false;
    warm.blocks[warm.count++] = {memory, n, isola_clock_ms()};
    warm.bytes += n;
    return true;
}

static void drop(uint64_t age)
{
    void *old[kBlocks];
    size_t n = 0;
    {
        std::lock_guard<std::mutex> held(warm.lock);
        uint64_t now = isola_clock_ms();
        for (; n < warm.count && now - warm.blocks[n].since >= age; n++) {
            old[n] = warm.blocks[n].memory;
            warm.bytes -= warm.blocks[n].size;
        }
        warm.count -= n;
        memmove(&warm.blocks[0], &warm.blocks[n], warm.count * sizeof(Block));
    }
    while (n > 0)
        free(old[--n]);
}

void warm_clear()
{
    drop(0);
}

} // namespace isola

extern "C" void isola_v8_trim(void)
{
    isola::drop(isola::kAge);
}
