// SPDX-License-Identifier: Apache-2.0
//
// Touches what a run of messages will need in V8's heap before it begins: the entries of their
// actors in lib/runtime/table.js, and the handlers found last. In a realm of thousands of actors
// neither is in a cache. JavaScript would wait for one after the other; a loop of a few
// instructions has the processor wait for all at once. (Prefetch instructions do not do: what
// misses the TLB is dropped.)
//
// V8 has no way to ask for this, so objects are read as they lie in memory. That this is as
// expected is looked at with each table, and if it is not, nothing is touched. Nothing of what is
// read is used, but for where to read next.
#pragma once

#include <v8.h>

namespace isola
{

class Ahead
{
  public:
    // Messages that are looked at together.
    static constexpr uint32_t kMost = 32;
    // JavaScript's table of so many entries, a power of two, of which `sample` is that of `serial`.
    void use(v8::Isolate *isolate, v8::Local<v8::Array> table, uint32_t size, uint32_t serial,
             v8::Local<v8::Object> sample);
    void forget() { table_.Reset(); }
    bool is_used() const { return !table_.IsEmpty(); }
    // In the isolate. So many messages for these actors, kMost of them at the most, are to run.
    void look(const uint32_t *serials, uint32_t n) const;

  private:
    v8::Global<v8::Array> table_{};
    uint32_t mask_ = 0;
};

} // namespace isola
