// SPDX-License-Identifier: Apache-2.0
//
// What a visit will need of an isolate, so that it can be fetched before it is needed.
//
// An isolate of thousands is in no cache when it is visited. What entering it and calling a handler
// touches lies on some fifty pages, each found through the one before: the processor waits for
// memory fifty times, a third of a microsecond each, and would have all of it in a microsecond if
// it knew the addresses. So they are noted now and then, while they are at hand, and fetched during
// the visit of whatever is before it in the queue. They are hints: what has moved since is fetched
// in vain.
#pragma once

#include <v8-internal.h>
#include <v8.h>

#include <cstddef>
#include <cstdint>

#include "base/fetch.h"

namespace isola
{

class Footprint
{
  public:
    // `function` is one that a script has made.
    Footprint(const void **lines, unsigned max, v8::internal::Address function);
    // The lines of a processor's cache that these bytes are in.
    void add(const void *at, size_t n = 1)
    {
        auto begin = reinterpret_cast<uintptr_t>(at), line = begin & ~uintptr_t{ISOLA_LINE - 1};
        for (; line < begin + n; line += ISOLA_LINE)
            put(reinterpret_cast<const void *>(line));
    }
    // Where the handle is, not what it is of.
    template <typename T> void add(const v8::Global<T> &handle)
    {
        static_assert(sizeof(handle) == sizeof(void *));
        if (!handle.IsEmpty())
            add(*reinterpret_cast<const void *const *>(&handle));
    }
    // The first bytes of an object of V8's heap, and of its page.
    void add_place(v8::internal::Address object, size_t n = 1);
    // The beginning of an object and of what it refers to; of one whose properties are looked up,
    // also where V8 finds them; of a function also of what those refer to, and of the functions it
    // has called, so many calls deep. In the isolate.
    void add_object(v8::internal::Address object);
    void add_value(v8::internal::Address object);
    void add_function(const v8::Isolate *isolate, v8::internal::Address function, int calls);
    // What V8 keeps of an isolate that it looks at whenever it is entered, calls and is left.
    void add_isolate(const v8::Isolate *isolate);
    unsigned count() const { return count_; }

  private:
    void add_context(v8::internal::Address context);
    void add_feedback(const v8::Isolate *isolate, v8::internal::Address feedback,
                      v8::internal::Address shared, int calls);
    void put(const void *line)
    {
        for (unsigned i = 0; i < count_; i++)
            if (lines_[i] == line)
                return;
        if (count_ < max_)
            lines_[count_++] = line;
    }
    const void **lines_;
    unsigned max_, count_ = 0;
    uint16_t function_type_;
};

} // namespace isola
