// SPDX-License-Identifier: Apache-2.0
//
// The code of a module, as V8 reads it: outside of the heap, so that isolates that begin with an
// image share it. ASCII is read where it is; other text, which V8 wants in UTF-16, is converted
// once. (A name in another alphabet or a regular expression with letters of it is enough for that,
// and on the heap each isolate would have twice the bundle's size of it.)
#ifndef ISOLA_ACTORS_V8_CODE_HH
#define ISOLA_ACTORS_V8_CODE_HH

#include <memory>

#include <v8.h>

#include "base/buf.h"

namespace isola
{

class Code
{
  public:
    // Borrows `utf8` for its own life, which is longer than that of the isolates that use it.
    explicit Code(struct isola_slice utf8);
    // What a snapshot with the text refers to.
    intptr_t reference() const;
    // Empty when the heap has no room for it.
    v8::MaybeLocal<v8::String> string(v8::Isolate *isolate) const;

  private:
    std::unique_ptr<v8::String::ExternalOneByteStringResource> narrow_;
    std::unique_ptr<v8::String::ExternalStringResource> wide_;
};

} // namespace isola

#endif
