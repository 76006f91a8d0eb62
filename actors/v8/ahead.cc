// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/ahead.hh"

#include <v8-internal.h>

namespace isola
{
namespace
{

using v8::internal::Address;
using Internals = v8::internal::Internals;

// Where V8 keeps what (js-objects.h, fixed-array.h): an object's header is its map, its properties
// and its elements; that of an array of these, its map and its length.
constexpr int kElements = 2 * v8::internal::kApiTaggedSize;
constexpr int kFirstElement = 2 * v8::internal::kApiTaggedSize;
constexpr int kFirstField = 3 * v8::internal::kApiTaggedSize;
// Of an entry (activate in lib/runtime/actor.js): serial, found, handler, self.
constexpr int kHandler = kFirstField + 2 * v8::internal::kApiTaggedSize;
constexpr int kFunctionEnd = 6 * v8::internal::kApiTaggedSize; // of what a call needs
constexpr Address kPage = 4096;                                // or a part of one

Address read(Address object, int offset)
{
    return Internals::ReadTaggedPointerField(object, offset);
}

bool is_object(Address value)
{
    return Internals::HasHeapObjectTag(value);
}

// A proxy or a bound function is smaller than other functions are, and may be the last in memory.
bool is_mapped(Address object, int offset)
{
    return object % kPage + static_cast<Address>(offset) + sizeof(Address) <= kPage;
}

} // namespace

void Ahead::use(v8::Isolate *isolate, v8::Local<v8::Array> table, uint32_t size, uint32_t serial,
                v8::Local<v8::Object> sample)
{
    table_.Reset();
    if (size == 0 || (size & (size - 1)) != 0 || table->Length() != size)
        return;
    Address elements = read(v8::internal::ValueHelper::ValueAsAddress(*table), kElements);
    Address entry = v8::internal::ValueHelper::ValueAsAddress(*sample);
    int at = kFirstElement + static_cast<int>(serial & (size - 1)) * v8::internal::kApiTaggedSize;
    if (read(elements, at) != entry ||
        read(entry, kFirstField) != Internals::IntToSmi(static_cast<int>(serial)))
        return;
    mask_ = size - 1;
    table_.Reset(isolate, table);
}

void Ahead::look(const uint32_t *serials, uint32_t n) const
{
    using v8::internal::ValueHelper;
    Address table = ValueHelper::ValueAsAddress(ValueHelper::HandleAsValue(table_));
    Address elements = read(table, kElements), found[kMost], seen = 0;
    for (uint32_t k = 0; k < n; k++)
        found[k] = read(elements, kFirstElement + static_cast<int>(serials[k] & mask_) *
                                                      v8::internal::kApiTaggedSize);
    for (uint32_t k = 0; k < n; k++)
        if (is_object(found[k])) {
            seen ^= read(found[k], 0);
            found[k] = read(found[k], kHandler);
        }
    for (uint32_t k = 0; k < n; k++)
        if (is_object(found[k])) {
            seen ^= read(found[k], 0);
            if (is_mapped(found[k], kFunctionEnd))
                seen ^= read(found[k], kFunctionEnd);
        }
    __asm__ volatile("" : : "r"(seen)); // else nothing would be read
}

} // namespace isola
