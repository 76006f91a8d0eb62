// SPDX-License-Identifier: Apache-2.0
//
// The names of properties that objects of messages have, in their order, as a tree: each object is
// a way down from its root. What came twice by the same way is made at once from then on, all its
// properties together (v8::DictionaryTemplate), instead of one property after the other.
//
// It is bounded, in names and in templates, which V8 never lets go: whatever comes when it is full
// is made property by property.
#pragma once

#include <v8.h>

#include <cstring>
#include <memory>

namespace isola
{

class Shapes
{
  public:
    static constexpr uint32_t kMostNames = 24; // of an object
    static constexpr size_t kLongest = 31;     // bytes of a name
    struct Shape {
        Shape *parent = nullptr, *next = nullptr, *children = nullptr, *last = nullptr;
        v8::Global<v8::String> name{};
        v8::Global<v8::DictionaryTemplate> made{};
        uint32_t names = 0, uses = 0, known = 0; // down to here; so often; how many children
        uint8_t text[1 + kLongest]{};            // as in a message: a byte with the length is first

        // A fixstr before `end`, all of whose bytes are there. Most names are one or two words.
        bool is(const uint8_t *str, const uint8_t *end) const
        {
            size_t n = 1 + (str[0] & 0x1fu), i = 0;
            if (end - str < static_cast<ptrdiff_t>(sizeof(text)))
                return memcmp(text, str, n) == 0;
            for (; n - i > 8; i += 8)
                if (word(text + i) != word(str + i))
                    return false;
            return (word(text + i) ^ word(str + i)) << (64 - 8 * (n - i)) == 0;
        }
        static uint64_t word(const uint8_t *at)
        {
            static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
            uint64_t value;
            memcpy(&value, at, sizeof(value));
            return value;
        }
    };

    Shapes() = default;
    Shapes(const Shapes &) = delete;
    ~Shapes() { drop(root_.children); }

    Shape *root() { return &root_; }
    // The shape with one name more, a msgpack fixstr all of whose bytes are there, before `end`.
    // Null: it is not known, and there is no room for it, or it is none that can be kept.
    Shape *follow(v8::Isolate *isolate, Shape *at, const uint8_t *str, const uint8_t *end)
    {
        if (at->last != nullptr && at->last->is(str, end))
            return at->last;
        return find(isolate, at, str, end);
    }
    // What makes objects of this shape; null: it is not worth it yet, or there is no room.
    v8::Local<v8::DictionaryTemplate> maker(v8::Isolate *isolate, Shape *shape)
    {
        if (!shape->made.IsEmpty())
            return shape->made.Get(isolate);
        return make(isolate, shape);
    }

  private:
    static constexpr uint32_t kMost = 400, kMostMade = 100, kMostChildren = 16;

    Shape *find(v8::Isolate *isolate, Shape *at, const uint8_t *str, const uint8_t *end);
    v8::Local<v8::DictionaryTemplate> make(v8::Isolate *isolate, Shape *shape);
    static void drop(Shape *shape);

    Shape root_{};
    uint32_t shapes_ = 0, made_ = 0;
};

} // namespace isola
