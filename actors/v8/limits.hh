// SPDX-License-Identifier: Apache-2.0
//
// What an isolate may use, and how its scripts are ended (limits.cc).
#pragma once

#include <v8.h>

#include <atomic>
#include <memory>

#include "actors/v8/realm.h"

namespace isola
{

// Counts the array buffers of an isolate, and what it keeps of messages, and refuses what is more
// than it may have. Buffers may outlive their isolate by a little, and are freed by any thread:
// each holds a reference.
class Quota final : public v8::ArrayBuffer::Allocator
{
  public:
    explicit Quota(uint64_t max) : max_(max != 0 ? max : UINT64_MAX) {}
    void *Allocate(size_t n) override;
    void *AllocateUninitialized(size_t n) override;
    void Free(void *data, size_t n) override;
    // Memory of messages that strings lie in, of which all isolates have some together.
    bool lend(size_t n);
    void give_back(size_t n);
    // V8 was refused what would fit by itself, and has found no room by collecting garbage.
    bool exhausted() const { return refused_.load(std::memory_order_relaxed); }
    // The last thing it was asked for is more than there may be of all.
    bool absurd() const { return absurd_.load(std::memory_order_relaxed); }
    uint64_t max() const { return max_; }
    // Whom to interrupt when something is refused; null: nobody any more.
    void watch(v8::Isolate *isolate) { isolate_ = isolate; }

  private:
    bool take(size_t n);
    const uint64_t max_;
    std::atomic<uint64_t> used_{0};
    std::atomic<bool> refused_{false}, absurd_{false};
    v8::Isolate *isolate_ = nullptr;
};

// warm.cc, of any thread: large memory that has been used, with whatever is in it; nullptr: there
// is none of that size.
void *warm_take(size_t n);
// Takes memory of malloc, or not.
bool warm_keep(void *memory, size_t n);
// Frees it all.
void warm_clear();

// The state of an isolate as to its end.
struct Guard {
    std::shared_ptr<Quota> quota;
    std::atomic<int> ending{0}; // enum isola_v8_end: what runs is to unwind
    bool dead = false;          // nothing runs in it any more
    bool closing = false;       // nothing is to be ended any more
};

// Arms the limits of a new isolate.
void arm_limits(isola_v8 *v);
void disarm_limits(isola_v8 *v);
// Ends what runs, for this reason unless there is one already.
void end_scripts(isola_v8 *v, isola_v8_end why);
// Are scripts being ended? For native code that works for one: it is to return soon.
bool ending(const isola_v8 *v);
// Likewise, and with no script at all: false. Whoever works through many bytes for a script does so
// in pieces, and asks after each; what it returns when the script is to end does not matter, since
// V8 unwinds it at the next check of its code.
bool ending(v8::Isolate *isolate);
constexpr size_t kPiece = size_t{1} << 20; // bytes

// An entry: all that runs JavaScript does so between an Entry's making and its end. One that
// cannot be (false) is to do nothing at all.
class Entry
{
  public:
    struct Batch {
    }; // all records of the ring
    Entry(isola_js *js, uint32_t actor, uint32_t turn);
    Entry(isola_js *js, Batch);
    ~Entry();
    Entry(const Entry &) = delete;
    explicit operator bool() const { return entered_; }

  private:
    isola_js *js_;
    uint32_t actor_;
    bool entered_;
};

} // namespace isola
