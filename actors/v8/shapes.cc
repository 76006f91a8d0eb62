// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/shapes.hh"

#include <string_view>

#include "actors/v8/internal.hh"

namespace isola
{

// Names that are just names: an index belongs elsewhere in an object, and __proto__ means something
// in many places. One that an object has twice is written twice, and the last one counts.
static bool is_plain_name(const Shapes::Shape *at, const uint8_t *str, const uint8_t *end)
{
    Slice name = isola_slice(str + 1, str[0] & 0x1f);
    if (name.len == 0 || (name.data[0] >= '0' && name.data[0] <= '9') || !ascii_only(name) ||
        isola_slice_is(name, "__proto__"))
        return false;
    for (; at->parent != nullptr; at = at->parent)
        if (at->is(str, end))
            return false;
    return true;
}

Shapes::Shape *Shapes::find(v8::Isolate *isolate, Shape *at, const uint8_t *str, const uint8_t *end)
{
    for (Shape *s = at->children; s != nullptr; s = s->next)
        if (s->is(str, end))
            return at->last = s;
    if (shapes_ == kMost || at->known == kMostChildren || at->names == kMostNames ||
        !is_plain_name(at, str, end))
        return nullptr;
    auto *s = new Shape;
    size_t n = str[0] & 0x1f;
    s->parent = at;
    s->names = at->names + 1;
    memcpy(s->text, str, 1 + n);
    s->name.Reset(isolate,
                  text(isolate, isola_slice(str + 1, n), v8::NewStringType::kInternalized));
    s->next = at->children;
    at->children = s;
    at->known++;
    shapes_++;
    return at->last = s;
}

v8::Local<v8::DictionaryTemplate> Shapes::make(v8::Isolate *isolate, Shape *shape)
{
    constexpr uint32_t kOften = 2;
    if (++shape->uses < kOften || made_ == kMostMade)
        return {};
    std::string_view names[kMostNames];
    size_t i = shape->names;
    for (const Shape *s = shape; s->parent != nullptr; s = s->parent)
        names[--i] = {reinterpret_cast<const char *>(s->text + 1),
                      static_cast<size_t>(s->text[0] & 0x1f)};
    v8::Local<v8::DictionaryTemplate> made = v8::DictionaryTemplate::New(
        isolate, v8::MemorySpan<const std::string_view>(names, shape->names));
    made_++;
    shape->made.Reset(isolate, made);
    return made;
}

void Shapes::drop(Shape *shape)
{
    while (shape != nullptr) { // as deep as kMostNames
        Shape *next = shape->next;
        drop(shape->children);
        delete shape;
        shape = next;
    }
}

} // namespace isola
