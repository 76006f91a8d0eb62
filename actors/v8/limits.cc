// SPDX-License-Identifier: Apache-2.0
//
// What an isolate may use, and how its scripts are ended.
//
// Three things end them: somebody who asks for it (the watchdog, a limit that C keeps), the heap
// reaching its limit, and the array buffers theirs. In each case V8 is told to unwind, which it
// does at the next check its code makes; meanwhile the heap may grow past its limit, since V8 ends
// the process otherwise. What has ended is seen when the entry is left: then the owner says whether
// the isolate goes on. With its heap exhausted it never does.
#include "actors/v8/internal.hh"

#include <cstdlib>
#include <cstring>

namespace isola
{

// V8 asks again when that has been used up as well, as by one huge array.
static constexpr size_t kReprieve = size_t{2} << 30;

/* --- array buffers --- */

bool Quota::take(size_t n)
{
    absurd_.store(n > max_, std::memory_order_relaxed);
    if (used_.fetch_add(n, std::memory_order_relaxed) + n <= max_) {
        refused_.store(false, std::memory_order_relaxed); // V8 has found room
        return true;
    }
    used_.fetch_sub(n, std::memory_order_relaxed);
    // What is too much by itself is a RangeError of the script's and nothing more.
    if (n <= max_ && !refused_.exchange(true) && isolate_ != nullptr)
        isolate_->RequestInterrupt(
            [](v8::Isolate *isolate, void *) {
                isola_v8 *v = from(isolate);
                if (v->guard.quota->exhausted())
                    end_scripts(v, ISOLA_V8_EXTERNAL);
            },
            nullptr);
    return false;
}

void *Quota::Allocate(size_t n)
{
    if (!take(n))
        return nullptr;
    void *data = warm_take(n);
    return data != nullptr ? memset(data, 0, n) : calloc(n, 1);
}

void *Quota::AllocateUninitialized(size_t n)
{
    if (!take(n))
        return nullptr;
    void *data = warm_take(n);
    return data != nullptr ? data : malloc(n);
}

void Quota::Free(void *data, size_t n)
{
    if (data == nullptr)
        return;
    used_.fetch_sub(n, std::memory_order_relaxed);
    if (!warm_keep(data, n))
        free(data);
}

// V8 has such strings among the old ones, and collects them when there are some tens of megabytes.
// That is too much for each of thousands of isolates: so this is what all have together; beyond it,
// strings are made in the heap.
static constexpr uint64_t kLentMost = uint64_t{256} << 20;
static std::atomic<uint64_t> lent;

bool Quota::lend(size_t n)
{
    uint64_t used = used_.fetch_add(n, std::memory_order_relaxed);
    uint64_t all = lent.fetch_add(n, std::memory_order_relaxed);
    if (used + n <= max_ && all + n <= kLentMost)
        return true;
    give_back(n);
    return false;
}

void Quota::give_back(size_t n)
{
    used_.fetch_sub(n, std::memory_order_relaxed);
    lent.fetch_sub(n, std::memory_order_relaxed);
}

/* --- the heap --- */

static size_t near_heap_limit(void *data, size_t current, size_t)
{
    // Array buffers that cannot be had make V8 collect all it can, and come here as well.
    isola_v8 *v = static_cast<isola_v8 *>(data);
    if (v->guard.closing)
        return current + kReprieve;
    if (v->guard.quota->absurd()) { // a RangeError, unless the heap is full as well
        v8::HeapStatistics stats;
        v->isolate->GetHeapStatistics(&stats);
        if (stats.used_heap_size() < current / 4 * 3)
            return current;
    }
    end_scripts(v, v->guard.quota->exhausted() ? ISOLA_V8_EXTERNAL : ISOLA_V8_HEAP);
    return current + kReprieve;
}

// Buffers that can be resized are not allocated by the quota: what they take is seen when V8 has
// collected garbage, which their growth makes it do. Some of what is counted may be garbage that
// has not been swept yet: so it takes twice as much.
static void after_gc(v8::Isolate *isolate, v8::GCType, v8::GCCallbackFlags, void *data)
{
    isola_v8 *v = static_cast<isola_v8 *>(data);
    v8::HeapStatistics stats;
    isolate->GetHeapStatistics(&stats);
    if (stats.external_memory() / 2 > v->guard.quota->max())
        end_scripts(v, ISOLA_V8_EXTERNAL);
}

void arm_limits(isola_v8 *v)
{
    v->isolate->AddGCEpilogueCallback(after_gc, v, v8::kGCTypeMarkSweepCompact);
    v->guard.quota->watch(v->isolate);
    v->isolate->AddNearHeapLimitCallback(near_heap_limit, v);
    v->isolate->SetAllowAtomicsWait(false);
}

void disarm_limits(isola_v8 *v)
{
    v->guard.quota->watch(nullptr);
    v->isolate->CancelTerminateExecution();
    v->isolate->RemoveGCEpilogueCallback(after_gc, v);
    v->guard.closing = true; // its callback stays: V8 may collect garbage to the very end
}

/* --- ending scripts --- */

void end_scripts(isola_v8 *v, isola_v8_end why)
{
    int none = 0;
    v->guard.ending.compare_exchange_strong(none, why);
    v->isolate->TerminateExecution();
}

bool ending(const isola_v8 *v)
{
    return v->guard.ending.load(std::memory_order_relaxed) != 0;
}

bool ending(v8::Isolate *isolate)
{
    const isola_v8 *v = from(isolate);
    return v != nullptr && ending(v);
}

Entry::Entry(isola_js *js, uint32_t actor, uint32_t turn)
    : js_(js), actor_(actor), entered_(!js->v->guard.dead)
{
    if (entered_ && js->v->ops->enter != nullptr)
        js->v->ops->enter(js->v->arg, actor, turn);
}

Entry::Entry(isola_js *js, Batch) : js_(js), actor_(0), entered_(!js->v->guard.dead)
{
    if (entered_ && js->v->ops->run != nullptr)
        js->v->ops->run(js->v->arg);
}

Entry::~Entry()
{
    isola_v8 *v = js_->v;
    if (!entered_)
        return;
    drain(js_);
    v->ring.ints[Ring::kActor] = 0;
    if (v->ops->leave != nullptr)
        v->ops->leave(v->arg);
    v->stopping.store(false, std::memory_order_relaxed); // nobody asks for it any more
    if (v->guard.quota != nullptr && v->guard.quota->exhausted())
        end_scripts(v, ISOLA_V8_EXTERNAL);
    int why = v->guard.ending.load(std::memory_order_relaxed);
    if (why == 0) {
        v->where.clear();
        return;
    }
    v8::Isolate *isolate = js_->isolate();
    v8::HandleScope scope(isolate);
    isolate->CancelTerminateExecution(); // so that the frame can be read
    uint32_t actor = current_frame(isolate).actor;
    if (actor == 0 && actor_ == 0 && v->ring.queued > 0) // the record's that ran
        actor = static_cast<uint32_t>(
            v->ring.in(static_cast<uint32_t>(v->ring.ints[Ring::kAt]))[Ring::kWhose]);
    isolate->SetContinuationPreservedEmbedderDataV2(v8::Undefined(isolate));
    v->rejections.clear();
    v->rejection_index.clear();
    bool lives = v->ops->ended != nullptr &&
                 v->ops->ended(v->arg, actor != 0 ? actor : actor_, static_cast<isola_v8_end>(why));
    v->guard.dead = !lives || why != ISOLA_V8_TERMINATED;
    v->ticks = false;
    if (v->guard.dead)
        return;
    v->guard.ending.store(0, std::memory_order_relaxed);
    // What process.nextTick has been given would run in the name of whoever comes next.
    v8::Local<v8::Value> drop = v8::True(isolate);
    (void)v->hooks[HOOK_TICK]
        .Get(isolate)
        ->Call(js_->context, v8::Undefined(isolate), 1, &drop)
        .IsEmpty();
}

} // namespace isola

extern "C" void isola_v8_terminate(struct isola_v8 *v)
{
    isola::end_scripts(v, ISOLA_V8_TERMINATED);
}
