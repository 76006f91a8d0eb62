// SPDX-License-Identifier: Apache-2.0
//
// Plain values as they lie in V8's heap, read without handles and without V8's help: for the
// encoder, which would spend nearly all of its time in calls of V8's interface.
//
// V8's interface promises nothing of this. So what is known of the pinned V8 is tried once, when
// the process starts, on values made for that (`learn`), in every way in which it is used: and
// where anything is not as expected, `readable` is false for good, and everything goes through V8's
// interface, slower. What is found is exact or is not used: each of the views below says false for
// whatever is not plain (accessors, properties in dictionaries, elements beside properties, other
// prototypes, holes …), and V8's interface is asked then.
//
// Invariant: an Address is good until V8 is asked for anything that may allocate or run a script,
// and no longer: V8 moves objects. Nothing is written, but
// numbers into arrays of numbers that were just made.
#pragma once

#include <v8-internal.h>
#include <v8.h>

#include <cstdint>
#include <cstring>

namespace isola::heap
{

using v8::internal::Address;
using Internals = v8::internal::Internals;

// Where things are (V8's objects/map.h, js-objects.h, descriptor-array.h, string.h …), in bytes.
constexpr int kWord = v8::internal::kApiTaggedSize;
constexpr int kProperties = kWord, kElements = 2 * kWord, kArrayLength = 3 * kWord;
constexpr int kItems = 2 * kWord; // behind map and length, in arrays of any kind of item
constexpr int kMapSize = kWord, kMapFirstField = kWord + 1, kMapType = kWord + 4;
constexpr int kMapBits = kWord + 6, kMapBits2 = kWord + 7, kMapBits3 = kWord + 8;
constexpr int kMapPrototype = 3 * kWord, kMapDescriptors = 5 * kWord;
constexpr int kDescriptors = 4 * kWord, kDescriptor = 3 * kWord; // the first, and the size of each
constexpr int kStringLength = kWord + 4, kStringData = 2 * kWord;
constexpr int kStringFirst = 2 * kWord, kStringSecond = 3 * kWord; // also: parent, offset; actual
constexpr int kNumberValue = kWord;

struct Known {
    bool ok = false;
    Address undefined, null, yes, no;
    Address hole, double_hole;
    Address number_map, items_map, shared_items_map, doubles_map, more_properties_map, no_items;
    uint16_t array_type;
};
extern Known known;

// In an isolate and context that no script of others has been in.
void learn(v8::Isolate *isolate, v8::Local<v8::Context> context);

inline Address word(Address object, int offset)
{
    return *reinterpret_cast<const Address *>(object - v8::internal::kHeapObjectTag +
                                              static_cast<Address>(offset));
}
template <typename T> T plain_field(Address object, int offset)
{
    T value;
    memcpy(&value,
           reinterpret_cast<const void *>(object - v8::internal::kHeapObjectTag +
                                          static_cast<Address>(offset)),
           sizeof(value));
    return value;
}
inline Address map_of(Address object)
{
    return word(object, 0);
}
inline uint16_t type_of_map(Address map)
{
    return plain_field<uint16_t>(map, kMapType);
}
inline bool is_small(Address value)
{
    return !Internals::HasHeapObjectTag(value);
}
inline int32_t small(Address value)
{
    return Internals::SmiValue(value);
}
// What is instead of a value; there may be no memory where it says that it is.
inline bool is_hole(Address value)
{
    return (value ^ known.hole) < 4096;
}

template <typename T> Address address(v8::Local<T> value)
{
    return v8::internal::ValueHelper::ValueAsAddress(*value);
}
// As a Local, for V8's functions that neither allocate nor run anything: `value` must stay.
template <typename T = v8::Value> v8::Local<T> borrowed(const Address *value)
{
    v8::Local<T> local;
    static_assert(sizeof(local) == sizeof(value));
    memcpy(static_cast<void *>(&local), &value, sizeof(value));
    return local;
}
template <typename T = v8::Value> v8::Local<T> handle(v8::Isolate *isolate, Address value)
{
    return v8::Local<T>::New(isolate, borrowed<T>(&value));
}

// Can objects of this isolate be read? All isolates have the same heap of what never changes.
inline bool readable(v8::Isolate *isolate)
{
    return known.ok && address(v8::Undefined(isolate)) == known.undefined &&
           address(v8::True(isolate)) == known.yes;
}

inline bool is_string_map(Address map)
{
    return type_of_map(map) < Internals::kFirstNonstringType;
}
// The characters of a string that is in one piece.
struct Text {
    const void *data;
    uint32_t length;
    bool one_byte;
};
enum StringType {
    kPiece = 0,
    kRope = 1,
    kOutside = 2,
    kSlice = 3,
    kIndirect = 5,
    kStringTypes = 7
};
inline uint32_t string_length(Address string)
{
    return plain_field<uint32_t>(string, kStringLength);
}
inline bool is_one_byte(Address string)
{
    return (type_of_map(map_of(string)) & Internals::kStringEncodingMask) != 0;
}
// False: a rope, or its characters are outside of the heap.
inline bool text(Address string, Text *out)
{
    uint32_t length = string_length(string), offset = 0;
    uint16_t type = type_of_map(map_of(string));
    if ((type & kStringTypes) == kIndirect) {
        string = word(string, kStringFirst);
        type = type_of_map(map_of(string));
    }
    if ((type & kStringTypes) == kSlice) {
        offset = static_cast<uint32_t>(small(word(string, kStringSecond)));
        string = word(string, kStringFirst);
        type = type_of_map(map_of(string));
        if ((type & kStringTypes) == kIndirect) {
            string = word(string, kStringFirst);
            type = type_of_map(map_of(string));
        }
    }
    if ((type & kStringTypes) != kPiece)
        return false;
    out->one_byte = (type & Internals::kStringEncodingMask) != 0;
    out->length = length;
    const auto *data =
        reinterpret_cast<const uint8_t *>(string - v8::internal::kHeapObjectTag + kStringData);
    out->data = data + (out->one_byte ? offset : 2 * static_cast<size_t>(offset));
    return true;
}

// An object of `{…}`: its own properties, all of them enumerable, with names that are strings and
// values that are just there, in the order in which scripts see them. Nothing else has a say in
// what its properties are.
struct Plain {
    Address object, descriptors, more;
    uint32_t n;
    uint8_t first, inside; // word of the first field in the object, and how many are there

    Address name(uint32_t i) const
    {
        return word(descriptors, kDescriptors + static_cast<int>(i) * kDescriptor);
    }
    Address value(uint32_t i) const
    {
        Address details =
            word(descriptors, kDescriptors + static_cast<int>(i) * kDescriptor + kWord);
        uint32_t field = static_cast<uint32_t>(small(details)) >> kFieldShift & kFieldMask;
        return field < inside ? word(object, static_cast<int>(first + field) * kWord)
                              : word(more, kItems + static_cast<int>(field - inside) * kWord);
    }

    // In `details`: an accessor, not enumerable, not in a field.
    static constexpr uint32_t kUnusual = 1 | v8::DontEnum << 2 | 1 << 5;
    static constexpr uint32_t kFieldShift = 19, kFieldMask = 0x3ff;
    static constexpr uint32_t kIsDictionary = 1u << 21, kCountShift = 10, kCountMask = 0x3ff;
    // Of a map: callable, with interceptors, undetectable, with access checks.
    static constexpr uint8_t kUnusualMap = 0x1f;
};

// `map` is that of `object`, `base` is Object.prototype.
inline bool plain(Address object, Address map, Address base, Plain *out)
{
    uint32_t bits = plain_field<uint32_t>(map, kMapBits3);
    Address prototype = word(map, kMapPrototype);
    if (type_of_map(map) != Internals::kJSObjectType || (bits & Plain::kIsDictionary) != 0 ||
        (plain_field<uint8_t>(map, kMapBits) & Plain::kUnusualMap) != 0 ||
        (prototype != base && prototype != known.null) || word(object, kElements) != known.no_items)
        return false;
    out->object = object;
    out->descriptors = word(map, kMapDescriptors);
    out->n = bits >> Plain::kCountShift & Plain::kCountMask;
    out->first = plain_field<uint8_t>(map, kMapFirstField);
    out->inside = static_cast<uint8_t>(plain_field<uint8_t>(map, kMapSize) - out->first);
    out->more = word(object, kProperties);
    bool has_more = !is_small(out->more) && map_of(out->more) == known.more_properties_map;
    for (uint32_t i = 0; i < out->n; i++) {
        Address details =
            word(out->descriptors, kDescriptors + static_cast<int>(i) * kDescriptor + kWord);
        auto bits_of = static_cast<uint32_t>(small(details));
        if (!is_small(details) || (bits_of & Plain::kUnusual) != 0 ||
            ((bits_of >> Plain::kFieldShift & Plain::kFieldMask) >= out->inside && !has_more) ||
            !is_string_map(map_of(out->name(i))))
            return false;
    }
    return true;
}

// An array's items, holes among them.
struct Items {
    enum Kind { Small, Any, Doubles } kind;
    uint32_t n;
    Address items;

    const Address *any() const
    {
        return reinterpret_cast<const Address *>(items - v8::internal::kHeapObjectTag + kItems);
    }
    // As bits: one of them stands for a hole.
    const uint64_t *doubles() const { return reinterpret_cast<const uint64_t *>(any()); }
};
inline bool items(Address array, Address map, Items *out)
{
    // V8's ElementsKind: small integers, with holes; any, with holes; doubles, with holes; any that
    // cannot be extended, sealed, frozen, each with holes.
    constexpr unsigned kWithHoles = 1, kSmall = 0, kAny = 2, kDoubles = 4, kFrozen = 10;
    if (type_of_map(map) != known.array_type)
        return false;
    unsigned kind = (plain_field<uint8_t>(map, kMapBits2) >> 2) & ~kWithHoles;
    Address n = word(array, kArrayLength);
    out->items = word(array, kElements);
    if (kind > kFrozen || !is_small(n) || small(n) < 0)
        return false;
    out->kind = kind == kSmall ? Items::Small : kind == kDoubles ? Items::Doubles : Items::Any;
    out->n = static_cast<uint32_t>(small(n));
    if (out->n == 0)
        return true;
    Address of = map_of(out->items), room = word(out->items, kWord);
    static_assert(kAny > kSmall);
    return is_small(room) && static_cast<uint32_t>(small(room)) >= out->n &&
           (out->kind == Items::Doubles ? of == known.doubles_map
                                        : of == known.items_map || of == known.shared_items_map);
}

// An array of one number, small or not, as `json` says: what arrays of many are made after.
v8::Local<v8::Array> model(v8::Isolate *isolate, v8::Local<v8::Context> context, const char *json);
// A new array of that kind, of n > 0 items, none of which is set.
v8::MaybeLocal<v8::Array> room_for(v8::Local<v8::Context> context, v8::Local<v8::Array> model,
                                   uint32_t n);
// Where the items of such an array may be written, small integers (as_small) or doubles (none of
// which is as known.double_hole), until V8 is asked for anything. Null: it is of another kind. As
// no item is a pointer, V8 need not be told.
int64_t *small_store(v8::Local<v8::Array> array, uint32_t n);
uint64_t *double_store(v8::Local<v8::Array> array, uint32_t n);
inline int64_t as_small(int32_t value)
{
    return static_cast<int64_t>(Internals::IntToSmi(value));
}

} // namespace isola::heap
