// SPDX-License-Identifier: Apache-2.0
//
// What the two halves of the codec share (docs/wire.md): encode.cc and decode.cc.
#pragma once

#include <vector>

#include "actors/v8/internal.hh"
#include "base/msg.h"
#include "base/msgpack.h"

namespace isola
{

inline constexpr struct {
    char letter;
    int bit;
} regexp_flags[] = {{'d', v8::RegExp::kHasIndices},  {'g', v8::RegExp::kGlobal},
                    {'i', v8::RegExp::kIgnoreCase},  {'m', v8::RegExp::kMultiline},
                    {'s', v8::RegExp::kDotAll},      {'u', v8::RegExp::kUnicode},
                    {'v', v8::RegExp::kUnicodeSets}, {'y', v8::RegExp::kSticky}};
// A value nests by recursion, of which V8 allows little below the end of its own stack: what is
// local to one kind of value must not be in the frame of every level.
#define ISOLA_OWN_FRAME __attribute__((noinline))
// A vector whose first items need no memory of their own.
template <typename T, size_t N> class Few
{
  public:
    void push_back(const T &item)
    {
        if (size_ < N)
            few_[size_] = item;
        else
            more_.push_back(item);
        size_++;
    }
    void emplace_back() { push_back(T{}); }
    void pop_back()
    {
        if (size_-- > N)
            more_.pop_back();
    }
    size_t size() const { return size_; }
    const T &operator[](size_t i) const { return i < N ? few_[i] : more_[i - N]; }
    T &operator[](size_t i) { return i < N ? few_[i] : more_[i - N]; }

  private:
    size_t size_ = 0;
    T few_[N]; // those there are are set
    std::vector<T> more_;
};

} // namespace isola
