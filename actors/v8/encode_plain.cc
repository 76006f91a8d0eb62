// SPDX-License-Identifier: Apache-2.0
//
// The encoder, by address: plain values as they lie in V8's heap (heap.hh). Nothing in here may ask
// V8 for what allocates before `pin`.
#include "actors/v8/encode.hh"
#include "actors/v8/runs.hh"

namespace isola
{

constexpr uint32_t kChunk = 256; // numbers that are written between looks at the clock
constexpr uint32_t kShallow = 32, kShortRope = 1024;   // ropes that need no memory to be read
constexpr size_t kShortRoom = 2 + 3 * ISOLA_TEXT_LONG; // a short text, whatever is in it

inline Encoder::Read Encoder::read(Address value, int depth)
{
    auto done = [](bool ok) { return ok ? Read::Done : Read::Failed; };
    if (heap::is_small(value))
        return done(put(kNumberRoom, [=](uint8_t *p) { return put_int(p, heap::small(value)); }));
    if (heap::is_hole(value))
        return Read::NotPlain;
    Address map = heap::map_of(value);
    if (heap::is_string_map(map))
        return read_string(value, As::Value);
    if (map == heap::known.number_map)
        return done(number(heap::plain_field<double>(value, heap::kNumberValue)));
    uint16_t type = heap::type_of_map(map);
    if (type == heap::Internals::kJSObjectType)
        return read_plain(value, map, depth);
    if (type == heap::known.array_type)
        return read_array(value, map, depth);
    if (value == heap::known.yes || value == heap::known.no)
        return done(byte(value == heap::known.yes ? 0xc3 : 0xc2));
    if (value == heap::known.null)
        return done(byte(0xc0));
    if (value == heap::known.undefined)
        return done(undefined());
    return read_leaf(value, depth);
}

Encoder::Read Encoder::read_leaf(Address value, int depth)
{
    v8::Local<v8::Value> v = heap::borrowed(&value);
    if (v->IsBigInt())
        return bigint(v.As<v8::BigInt>()) ? Read::Done : Read::Failed;
    if (depth >= ISOLA_VALUE_DEPTH ||
        !(v->IsDate() || v->IsArrayBufferView() || v->IsArrayBuffer()))
        return Read::NotPlain;
    switch (seen(value)) {
    case Seen::Yes:
        return Read::Done;
    case Seen::Failed:
        return Read::Failed;
    case Seen::No:
        break;
    }
    bool ok = v->IsDate()              ? date(v.As<v8::Date>()->ValueOf())
              : v->IsArrayBufferView() ? view(v.As<v8::ArrayBufferView>())
                                       : buffer(v.As<v8::ArrayBuffer>());
    return ok ? Read::Done : Read::Failed;
}

inline bool Encoder::in_one_piece(const heap::Text &t, As as)
{
    return t.one_byte ? latin1(static_cast<const uint8_t *>(t.data), t.length, as)
                      : utf16(static_cast<const char16_t *>(t.data), t.length, as);
}

inline Encoder::Read Encoder::read_string(Address s, As as)
{
    heap::Text t;
    if (heap::text(s, &t))
        return in_one_piece(t, as) ? Read::Done : Read::Failed;
    return read_rope(s, as);
}

template <typename Char> Encoder::Read Encoder::collect(Address rope, Char *to)
{
    Few<Address, kShallow> right;
    Address at = rope;
    heap::Text t;
    for (;;) {
        while (!heap::text(at, &t)) {
            if ((heap::type_of_map(heap::map_of(at)) & heap::kStringTypes) != heap::kRope)
                return Read::NotPlain;
            right.push_back(heap::word(at, heap::kStringSecond));
            at = heap::word(at, heap::kStringFirst);
        }
        if (t.one_byte == (sizeof(Char) == 1)) {
            memcpy(to, t.data, sizeof(Char) * static_cast<size_t>(t.length));
        } else if (t.one_byte) {
            const auto *from = static_cast<const uint8_t *>(t.data);
            for (uint32_t i = 0; i < t.length; i++)
                to[i] = from[i];
        } else {
            return Read::NotPlain;
        }
        to += t.length;
        if (ended())
            return Read::Failed;
        if (right.size() == 0)
            return Read::Done;
        at = right[right.size() - 1];
        right.pop_back();
    }
}

Encoder::Read Encoder::read_rope(Address s, As as)
{
    uint32_t n = heap::string_length(s);
    if (!room(n)) // before it is made one piece
        return Read::Failed;
    if (!heap::is_one_byte(s)) {
        std::vector<char16_t> flat(n);
        Read r = collect(s, flat.data());
        return r != Read::Done ? r : utf16(flat.data(), n, as) ? Read::Done : Read::Failed;
    }
    uint8_t few[kShortRope];
    std::vector<uint8_t> many(n <= sizeof(few) ? 0 : n);
    uint8_t *flat = n <= sizeof(few) ? few : many.data();
    Read r = collect(s, flat);
    return r != Read::Done ? r : latin1(flat, n, as) ? Read::Done : Read::Failed;
}

bool Encoder::write_not_plain(Address value, int depth)
{
    pin();
    return write_value(heap::handle(isolate_, value), depth);
}

Encoder::Read Encoder::array_rest(Step *step, uint32_t i, uint32_t n, int depth)
{
    pin();
    for (; i < n; i++) {
        v8::Local<v8::Value> item;
        step->index = i;
        pin_objects();
        if (ended() || !step->handle->Get(context_, i).ToLocal(&item) || !write(item, depth + 1))
            return Read::Failed;
    }
    return Read::Done;
}

inline Encoder::Read Encoder::read_array(Address array, Address map, int depth)
{
    heap::Items a;
    if (depth >= ISOLA_VALUE_DEPTH || !heap::items(array, map, &a))
        return Read::NotPlain;
    Seen before = seen(array);
    if (before != Seen::No)
        return before == Seen::Yes ? Read::Done : Read::Failed;
    if (!room(a.n) || // a byte each at the least
        !put(kHeaderRoom, [&](uint8_t *p) { return put_array_header(p, a.n); }))
        return Read::Failed;
    Step step(this, Step::Index, array, nullptr);
    if (a.kind != heap::Items::Any)
        return read_numbers(a, &step, depth);
    for (uint32_t i = 0; i < a.n; i++) {
        Address item = a.any()[i];
        step.index = i;
        if (heap::is_hole(item))
            return array_rest(&step, i, a.n, depth);
        if (ended())
            return Read::Failed;
        Read r = read(item, depth + 1);
        if (r == Read::Failed || (r == Read::NotPlain && !write_not_plain(item, depth + 1)))
            return Read::Failed;
        if (step.pinned)
            return array_rest(&step, i + 1, a.n, depth);
    }
    return Read::Done;
}

Encoder::Read Encoder::read_numbers(const heap::Items &a, Step *step, int depth)
{
    for (uint32_t i = 0; i < a.n;) {
        uint32_t end = a.n - i < kChunk ? a.n : i + kChunk;
        size_t most = (end - i) * kNumberRoom + kRunRoom;
        if (!fits(most)) // it may be too much, or just fit
            return array_rest(step, i, a.n, depth);
        uint8_t *p = need(most);
        if (p == nullptr || ending(js_->v))
            return Read::Failed;
        uint32_t count;
        if (a.kind == heap::Items::Small)
            p = put_smalls(p, a.any() + i, end - i, &count);
        else
            p = put_doubles(p, a.doubles() + i, end - i, heap::known.double_hole, &count);
        i += count;
        wrote(p);
        if (i < end)
            return array_rest(step, i, a.n, depth);
    }
    return Read::Done;
}

Encoder::Read Encoder::plain_rest(Step *step, uint32_t i, uint32_t n, int depth)
{
    if (!step->pinned) {
        step->index = i;
        pin();
    }
    for (; i < n; i++) {
        v8::Local<v8::Value> value;
        step->name = names_[step->names + (i - step->pinned_at)];
        pin_objects();
        if (ended() || !step->handle->Get(context_, step->name).ToLocal(&value) ||
            !name(step->name) || !write(value, depth + 1))
            return Read::Failed;
    }
    return Read::Done;
}

inline Encoder::Read Encoder::read_plain(Address object, Address map, int depth)
{
    heap::Plain o;
    if (depth >= ISOLA_VALUE_DEPTH || !heap::plain(object, map, heap::address(base_), &o))
        return Read::NotPlain;
    Seen before = seen(object);
    if (before != Seen::No)
        return before == Seen::Yes ? Read::Done : Read::Failed;
    return read_properties(o, depth);
}

inline Encoder::Read Encoder::read_properties(const heap::Plain &o, int depth)
{
    if (!put(kHeaderRoom, [&](uint8_t *p) { return put_map_header(p, o.n); }))
        return Read::Failed;
    Step step(this, Step::Name, o.object, &o);
    for (uint32_t i = 0; i < o.n; i++) {
        Address value = o.value(i);
        heap::Text name;
        step.index = i;
        if (heap::is_hole(value) || !heap::text(o.name(i), &name))
            return plain_rest(&step, i, o.n, depth);
        if (ended() || !in_one_piece(name, As::Name))
            return Read::Failed;
        Read r = read(value, depth + 1);
        if (r == Read::Failed || (r == Read::NotPlain && !write_not_plain(value, depth + 1)))
            return Read::Failed;
        if (step.pinned)
            return plain_rest(&step, i + 1, o.n, depth);
    }
    return Read::Done;
}

Encoder::Read Encoder::read_instance(v8::Local<v8::Object> object, int depth)
{
    heap::Plain o;
    if (!readable_)
        return Read::NotPlain;
    Address at = heap::address(object), map = heap::map_of(at);
    if (!heap::plain(at, map, heap::word(map, heap::kMapPrototype), &o))
        return Read::NotPlain;
    return read_properties(o, depth);
}

bool Encoder::write_item(v8::Local<v8::Array> all, uint32_t i, int depth)
{
    if (ended())
        return false;
    if (readable_) {
        heap::Items a;
        Address at = heap::address(all);
        if (heap::items(at, heap::map_of(at), &a) && a.kind == heap::Items::Any && i < a.n) {
            Address item = a.any()[i];
            Read r = read(item, depth);
            if (r != Read::NotPlain)
                return r == Read::Done;
            if (!heap::is_hole(item))
                return write_not_plain(item, depth);
        }
    }
    v8::Local<v8::Value> item;
    pin_objects();
    return all->Get(context_, i).ToLocal(&item) && write(item, depth);
}

bool Encoder::write(v8::Local<v8::Value> value, int depth)
{
    if (readable_) {
        Read r = read(heap::address(value), depth);
        if (r != Read::NotPlain)
            return r == Read::Done;
        pin();
    }
    return write_value(value, depth);
}

bool Encoder::latin1(const uint8_t *from, size_t n, As as)
{
    if (n >= ISOLA_TEXT_UNREAD && as == As::Value)
        return raw(ISOLA_EXT_LATIN1, from, n);
    uint8_t *p = need(kExtRoom + n);
    if (p == nullptr)
        return false;
    uint8_t *to = put_str_header(p, n);
    if (copy_ascii(to, from, n)) {
        wrote(to + n);
        return true;
    }
    if (n >= ISOLA_TEXT_LONG && as == As::Value)
        return raw(ISOLA_EXT_LATIN1, from, n);
    const auto *chars = reinterpret_cast<const char *>(from);
    size_t length = simdutf::utf8_length_from_latin1(chars, n);
    if ((p = need(kHeaderRoom + length)) == nullptr)
        return false;
    to = put_str_header(p, length);
    simdutf::convert_latin1_to_utf8(chars, n, reinterpret_cast<char *>(to));
    wrote(to + length);
    return true;
}

bool Encoder::utf16(const char16_t *from, size_t n, As as)
{
    if (n >= ISOLA_TEXT_LONG) {
        size_t tried = n < ISOLA_TEXT_TRIED ? n : ISOLA_TEXT_TRIED;
        // simdutf, which is faster, says no more than there are: two for half a pair.
        if (as == As::Value && (simdutf::utf8_length_from_utf16le(from, tried) >= 2 * tried ||
                                utf8_length(from, tried) >= 2 * tried))
            return units(from, n);
        if (!room(n))
            return false;
        size_t length = simdutf::utf8_length_from_utf16le(from, n);
        uint8_t *p = need(kHeaderRoom + length);
        if (p == nullptr)
            return false;
        uint8_t *to = put_str_header(p, length);
        if (simdutf::convert_utf16le_to_utf8(from, n, reinterpret_cast<char *>(to)) == length) {
            wrote(to + length);
            return true;
        }
    }
    bool whole;
    if (n < ISOLA_TEXT_LONG && fits(kShortRoom)) {
        uint8_t *p = need(kShortRoom);
        if (p == nullptr)
            return false;
        size_t head = 3 * n < 32 ? 1 : 2;
        size_t length = utf8_from_utf16(from, n, p + head, &whole);
        if (!whole && as == As::Value) // no UTF-8 has them
            return units(from, n);
        if (length < 32 && head == 2)
            memmove(p + 1, p + 2, length);
        wrote(put_str_header(p, length) + length);
        return true;
    }
    size_t length = utf8_length(from, n, &whole);
    if (!whole && as == As::Value) // no UTF-8 has them
        return units(from, n);
    uint8_t *p = need(kHeaderRoom + length);
    if (p == nullptr)
        return false;
    p = put_str_header(p, length);
    wrote(p + utf8_from_utf16(from, n, p));
    return true;
}

// Large ones at an even place, so that who receives them may leave them there: all headers they can
// have take an even number of bytes.
bool Encoder::units(const char16_t *from, size_t n)
{
    bool odd = 2 * n >= ISOLA_VALUES_LARGE && (out_->len - begun_) % 2 != 0;
    return raw(ISOLA_EXT_UTF16, from, 2 * n, odd);
}

// `pad`: behind a byte that is 0.
bool Encoder::raw(uint8_t type, const void *bytes, size_t n, bool pad)
{
    uint8_t *p = need(kExtRoom + pad + n);
    if (p == nullptr)
        return false;
    p = put_ext_header(p, type, pad + n);
    if (pad)
        *p++ = 0;
    copy_long(p, static_cast<const uint8_t *>(bytes), n);
    wrote(p + n);
    return true;
}

bool Encoder::string(v8::Local<v8::String> s, As as)
{
    Read r = readable_ ? read_string(heap::address(s), as) : Read::NotPlain;
    return r == Read::NotPlain ? ask_string(s, as) : r == Read::Done;
}

bool Encoder::ask_string(v8::Local<v8::String> s, As as)
{
    // A byte each at the least: what is too long anyway is not to be made one piece for it.
    auto n = static_cast<uint32_t>(s->Length());
    if (!room(n))
        return false;
    if (s->IsOneByte()) {
        std::vector<uint8_t> flat(n);
        s->WriteOneByteV2(isolate_, 0, n, flat.data());
        return latin1(flat.data(), n, as);
    }
    std::vector<char16_t> flat(n);
    s->WriteV2(isolate_, 0, n, reinterpret_cast<uint16_t *>(flat.data()));
    return utf16(flat.data(), n, as);
}

} // namespace isola
