// SPDX-License-Identifier: Apache-2.0
//
// A pile of values that are to be put together into an array or an object (decode.cc): few of them
// need no memory of their own.
#pragma once

#include <v8.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>

#include "actors/v8/values.hh"

namespace isola
{

// The values are handles; only these move.
class Pile
{
  public:
    using Value = v8::Local<v8::Value>;
    static_assert(std::is_trivially_copyable_v<Value> && std::is_trivially_destructible_v<Value>);
    Pile() = default;
    Pile(const Pile &) = delete;
    ~Pile()
    {
        if (all_ != few())
            ::operator delete(all_);
    }
    void push(Value value)
    {
        if (size_ == room_)
            grow(2 * room_);
        new (&all_[size_++]) Value(value);
    }
    // So many more will come.
    void expect(size_t n)
    {
        if (room_ - size_ < n)
            grow(std::max(2 * room_, size_ + n));
    }
    size_t size() const { return size_; }
    // In one piece; valid until the next push.
    Value *from(size_t i) { return all_ + i; }
    void cut(size_t size) { size_ = size; }

  private:
    Value *few() { return reinterpret_cast<Value *>(few_); }
    ISOLA_OWN_FRAME void grow(size_t room)
    {
        auto *more = static_cast<Value *>(::operator new(room * sizeof(Value)));
        memcpy(static_cast<void *>(more), static_cast<const void *>(all_), size_ * sizeof(Value));
        if (all_ != few())
            ::operator delete(all_);
        all_ = more;
        room_ = room;
    }

    static constexpr size_t kFew = 64;
    size_t size_ = 0, room_ = kFew;
    Value *all_ = few();
    alignas(Value) unsigned char few_[kFew * sizeof(Value)]; // not set: most values need few
};

} // namespace isola
