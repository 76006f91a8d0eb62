// SPDX-License-Identifier: Apache-2.0
//
// The other half of the codec: from msgpack to V8 values (docs/wire.md).
//
// It trusts nothing: counts are checked against the bytes that are left, depth is bounded, and a
// back reference may only name an object that has begun.
//
// A long text stays where it lies when that is a block (lent).
//
// An array or a plain object is made when all that is in it has been, which takes V8 a fraction of
// the time: objects from what is known of their names (shapes.hh), arrays of numbers written where
// they lie (heap.hh). A back reference to one that is not made yet (a cycle) makes it all start
// over once, with each object made first and filled then.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <optional>

#include "actors/v8/heap.hh"
#include "actors/v8/pile.hh"
#include "actors/v8/runs.hh"
#include "actors/v8/shapes.hh"
#include "actors/v8/values.hh"

namespace isola
{
namespace
{

// What V8 can hold, and ends the process beyond: the room of an array, the names of an object.
constexpr uint32_t kMostItems = 64u << 20, kMostProperties = 8u << 20;
constexpr uint32_t kManyNames = 200;         // of a table, not of a shape that others may have
constexpr uint32_t kMostTogether = 1u << 20; // items of what is made of all of them
constexpr uint32_t kNumbers = 16;            // from so many on, an array of numbers is written
constexpr uint32_t kChunk = 4096; // of them, between looks at the clock; items that are believed in

class Decoder
{
  public:
    Decoder(isola_js *js, Slice bytes, isola_block *block, bool objects_first)
        : js_(js), block_(block), whole_(bytes.len), isolate_(js->isolate()), context_(js->context),
          r_(isola_mp_reader(bytes)), first_(objects_first), readable_(heap::readable(isolate_))
    {
    }
    Decoder(const Decoder &) = delete;

    v8::MaybeLocal<v8::Array> args()
    {
        uint32_t n;
        if (!args_header(&n) || !items(n, 1))
            return {};
        return v8::Array::New(isolate_, pile_.from(0), n);
    }

    v8::MaybeLocal<v8::Value> first()
    {
        uint32_t n;
        if (!args_header(&n) || !items(n, 1))
            return {};
        return n > 0 ? *pile_.from(0) : v8::Undefined(isolate_).As<v8::Value>();
    }

    v8::MaybeLocal<v8::Value> whole()
    {
        v8::Local<v8::Value> value;
        if (!read(0).ToLocal(&value) || r_.p != r_.end)
            return {};
        return value;
    }

    // It failed for a reference to what was not made yet.
    bool cyclic() const { return cyclic_; }

  private:
    using Result = v8::MaybeLocal<v8::Value>;

    bool ended() { return (++looks_ & 0xff) == 0 && ending(js_->v); }
    size_t left() const { return static_cast<size_t>(r_.end - r_.p); }

    bool args_header(uint32_t *n)
    {
        isola_mp_item item;
        if (isola_mp_next(&r_, &item) != 0 || item.type != ISOLA_MP_ARRAY || item.n > kMostItems)
            return false;
        objects_.emplace_back(); // the array itself, which nothing refers to
        *n = item.n;
        return true;
    }
    // All there are, to the end.
    bool items(uint32_t n, int depth) { return pile(n, depth) && r_.p == r_.end; }
    bool pile(uint32_t n, int depth)
    {
        pile_.expect(std::min(n, kChunk)); // which may be a lie
        for (uint32_t i = 0; i < n; i++) {
            v8::Local<v8::Value> value;
            if (ended() || !read(depth).ToLocal(&value))
                return false;
            pile_.push(value);
        }
        return true;
    }

    Result small(int32_t i) { return v8::Integer::New(isolate_, i).As<v8::Value>(); }
    Result read(int depth)
    {
        if (depth > ISOLA_VALUE_DEPTH || r_.p == r_.end)
            return {};
        uint8_t tag = *r_.p;
        if (tag < 0x80 || tag >= 0xe0) {
            r_.p++;
            return small(static_cast<int8_t>(tag));
        }
        if (tag >= 0xa0 && tag < 0xc0) {
            size_t n = tag & 0x1f;
            const uint8_t *text = r_.p + 1;
            if (left() < 1 + n)
                return {};
            r_.p = text + n;
            return string(isola_slice(text, n));
        }
        if (tag == 0xd9 && left() >= 2 && left() - 2 >= r_.p[1]) {
            Slice text = isola_slice(r_.p + 2, r_.p[1]);
            r_.p = text.data + text.len;
            return string(text);
        }
        if (tag == 0xcb && left() >= 9) {
            double d = take_double();
            return v8::Number::New(isolate_, d).As<v8::Value>();
        }
        isola_mp_item item;
        if (isola_mp_next(&r_, &item) != 0)
            return {};
        switch (item.type) {
        case ISOLA_MP_NIL:
            return v8::Null(isolate_).As<v8::Value>();
        case ISOLA_MP_BOOL:
            return v8::Boolean::New(isolate_, item.b).As<v8::Value>();
        case ISOLA_MP_UINT:
            if (item.u <= 0x7fffffff)
                return small(static_cast<int32_t>(item.u));
            return v8::Number::New(isolate_, static_cast<double>(item.u)).As<v8::Value>();
        case ISOLA_MP_INT:
            return v8::Number::New(isolate_, static_cast<double>(item.i)).As<v8::Value>();
        case ISOLA_MP_DOUBLE:
            return v8::Number::New(isolate_, item.d).As<v8::Value>();
        case ISOLA_MP_STR:
            return string(item.bytes);
        case ISOLA_MP_BIN: {
            auto buffer = bytes(item.bytes);
            if (buffer.IsEmpty())
                return {};
            return keep(v8::Uint8Array::New(buffer, 0, item.bytes.len));
        }
        case ISOLA_MP_ARRAY:
            return array(item.n, depth);
        case ISOLA_MP_MAP:
            return object(item.n, depth);
        case ISOLA_MP_EXT:
            if (item.ext == ISOLA_EXT_LATIN1 || item.ext == ISOLA_EXT_UTF16)
                return units(item.bytes, item.ext == ISOLA_EXT_UTF16);
            return extension(item, depth);
        }
        return {};
    }
    double take_double()
    {
        uint64_t bits;
        double d;
        memcpy(&bits, r_.p + 1, sizeof(bits));
        bits = __builtin_bswap64(bits);
        memcpy(&d, &bits, sizeof(d));
        r_.p += 9;
        return d;
    }

    // --- strings ---

    ISOLA_OWN_FRAME Result string(Slice s)
    {
        v8::Local<v8::String> value;
        if (s.len > static_cast<size_t>(v8::String::kMaxLength))
            return {};
        if (!(is_ascii(s.data, s.len) ? one_byte(s) : wide(s)).ToLocal(&value))
            return {};
        return value.As<v8::Value>();
    }
    // It would keep all of the block: so not a small part of it.
    bool may_stay(Slice s) const
    {
        return block_ != nullptr && s.len >= ISOLA_VALUES_LARGE && s.len >= whole_ / 4;
    }
    v8::MaybeLocal<v8::String> one_byte(Slice s)
    {
        v8::Local<v8::String> value;
        if (may_stay(s) && lent_one_byte(js_, s, block_).ToLocal(&value))
            return value;
        return v8::String::NewFromOneByte(isolate_, s.data, v8::NewStringType::kNormal,
                                          static_cast<int>(s.len));
    }
    // Not ASCII. What is no UTF-8 gets U+FFFD for it, from V8.
    ISOLA_OWN_FRAME v8::MaybeLocal<v8::String> wide(Slice s)
    {
        const auto *text = reinterpret_cast<const char *>(s.data);
        if (s.len >= kLong) {
            Scratch room(js_);
            auto *bytes = reinterpret_cast<char *>(isola_buf_extend(room.buf(), 2 * s.len));
            if (bytes == nullptr)
                return {};
            if (size_t n = simdutf::convert_utf8_to_latin1(text, s.len, bytes))
                return v8::String::NewFromOneByte(isolate_, reinterpret_cast<uint8_t *>(bytes),
                                                  v8::NewStringType::kNormal, static_cast<int>(n));
            if (size_t n = simdutf::convert_utf8_to_utf16le(text, s.len,
                                                            reinterpret_cast<char16_t *>(bytes)))
                return v8::String::NewFromTwoByte(isolate_, reinterpret_cast<uint16_t *>(bytes),
                                                  v8::NewStringType::kNormal, static_cast<int>(n));
        } else {
            uint8_t bytes[kLong];
            if (size_t n = latin1_from_utf8(s.data, s.len, bytes))
                return v8::String::NewFromOneByte(isolate_, bytes, v8::NewStringType::kNormal,
                                                  static_cast<int>(n));
            uint16_t units[kLong];
            if (size_t n = utf16_from_utf8(s.data, s.len, units))
                return v8::String::NewFromTwoByte(isolate_, units, v8::NewStringType::kNormal,
                                                  static_cast<int>(n));
        }
        return v8::String::NewFromUtf8(isolate_, text, v8::NewStringType::kNormal,
                                       static_cast<int>(s.len));
    }

    // The units of a string as they are.
    ISOLA_OWN_FRAME Result units(Slice s, bool two_bytes)
    {
        v8::Local<v8::String> value;
        if (two_bytes && !isola_mp_units(s, &s))
            return {};
        size_t n = two_bytes ? s.len / 2 : s.len;
        if (n > static_cast<size_t>(v8::String::kMaxLength))
            return {};
        if (!two_bytes) {
            if (!one_byte(s).ToLocal(&value))
                return {};
            return value.As<v8::Value>();
        }
        if (may_stay(s) && lent_two_byte(js_, s, block_).ToLocal(&value))
            return value.As<v8::Value>();
        Scratch aligned(js_);
        const uint8_t *from = s.data;
        // V8 looks at units one by one for the first that takes two bytes, and copies them then:
        // only that look needs them to lie as they should.
        if (reinterpret_cast<uintptr_t>(from) % 2 != 0 && (n == 0 || from[1] == 0)) {
            uint8_t *to = isola_buf_extend(aligned.buf(), s.len);
            if (to == nullptr)
                return {};
            copy_long(to, from, s.len);
            from = to;
        }
        if (!v8::String::NewFromTwoByte(isolate_, reinterpret_cast<const uint16_t *>(from),
                                        v8::NewStringType::kNormal, static_cast<int>(n))
                 .ToLocal(&value))
            return {};
        return value.As<v8::Value>();
    }

    // --- objects ---

    Result keep(v8::Local<v8::Value> object)
    {
        objects_.push_back(object);
        return object;
    }

    v8::Local<v8::ArrayBuffer> bytes(Slice s)
    {
        return copied(isolate_, s).FromMaybe(v8::Local<v8::ArrayBuffer>());
    }

    ISOLA_OWN_FRAME Result array(uint32_t n, int depth)
    {
        if (n >= kNumbers && readable_ && is_number(*r_.p))
            return numbers(n, depth);
        if (n > kMostItems)
            return {};
        if (first_ || n > kMostTogether) {
            v8::Local<v8::Array> a = v8::Array::New(isolate_, static_cast<int>(n));
            objects_.push_back(a);
            return rest(a, 0, n, depth);
        }
        size_t number = objects_.size(), base = pile_.size();
        objects_.emplace_back();
        if (!pile(n, depth + 1))
            return {};
        v8::Local<v8::Array> a = v8::Array::New(isolate_, pile_.from(base), n);
        pile_.cut(base);
        objects_[number] = a;
        return a.As<v8::Value>();
    }
    // The items from `i` on, of an array that is there.
    ISOLA_OWN_FRAME Result rest(v8::Local<v8::Array> a, uint32_t i, uint32_t n, int depth)
    {
        for (; i < n; i++) {
            v8::Local<v8::Value> item;
            if (ended() || !read(depth + 1).ToLocal(&item) ||
                a->CreateDataProperty(context_, i, item).IsNothing())
                return {};
        }
        return a.As<v8::Value>();
    }

    static bool is_number(uint8_t tag)
    {
        return tag < 0x80 || tag >= 0xe0 || (tag >= 0xca && tag <= 0xd3);
    }
    // Integers that V8 has no object for, from the `i`th of `n` items on: which is the first that
    // is none? Nothing: the script is to end.
    std::optional<uint32_t> take_small(int64_t *to, uint32_t i, uint32_t n)
    {
        while (i < n && r_.p != r_.end) {
            uint32_t count, most = std::min(n - i, kChunk);
            r_.p = isola::take_small(r_.p, r_.end, to + i, most, &count);
            i += count;
            if (ending(js_->v))
                return {};
            if (count == most || r_.p == r_.end)
                continue;
            Reader ahead = r_;
            isola_mp_item item;
            if (isola_mp_next(&ahead, &item) != 0 ||
                (item.type == ISOLA_MP_UINT ? item.u > 0x7fffffff
                                            : item.type != ISOLA_MP_INT || item.i < INT32_MIN))
                break;
            to[i++] = heap::as_small(static_cast<int32_t>(item.i));
            r_ = ahead;
        }
        return i;
    }
    // A number, as the bits of a double, if that is what comes.
    bool take_number(uint64_t *bits)
    {
        constexpr uint64_t kNaN = 0x7ff8000000000000u;
        double d;
        if (left() >= 9 && *r_.p == 0xcb) {
            d = take_double();
        } else {
            Reader ahead = r_;
            isola_mp_item item;
            if (isola_mp_next(&ahead, &item) != 0 || item.type > ISOLA_MP_DOUBLE ||
                item.type < ISOLA_MP_UINT)
                return false;
            d = item.type == ISOLA_MP_UINT  ? static_cast<double>(item.u)
                : item.type == ISOLA_MP_INT ? static_cast<double>(item.i)
                                            : item.d;
            r_ = ahead;
        }
        if (std::isnan(d)) // V8 has one only, and others of its own that mean something
            *bits = kNaN;
        else
            memcpy(bits, &d, sizeof(d));
        return true;
    }
    // An array whose first item is a number: integers as long as there are, then doubles, then
    // whatever comes. V8 makes it another kind of array with the first item that is not of a kind.
    ISOLA_OWN_FRAME Result numbers(uint32_t n, int depth)
    {
        v8::Local<v8::Array> a;
        auto &models = js_->v->models;
        bool small = *r_.p != 0xcb && *r_.p != 0xca;
        if (models[small].IsEmpty())
            models[small].Reset(isolate_, heap::model(isolate_, context_, small ? "[0]" : "[0.5]"));
        if (n > kMostItems || !heap::room_for(context_, models[small].Get(isolate_), n).ToLocal(&a))
            return {};
        objects_.push_back(a);
        uint32_t i = 0;
        if (int64_t *to = heap::small_store(a, n)) {
            auto taken = take_small(to, i, n);
            if (!taken)
                return {};
            i = *taken;
            if (i < n && r_.p != r_.end && is_number(*r_.p)) {
                v8::Local<v8::Value> item;
                if (!read(depth + 1).ToLocal(&item) ||
                    a->CreateDataProperty(context_, i++, item).IsNothing())
                    return {};
            }
        }
        if (i == n)
            return a.As<v8::Value>();
        if (uint64_t *to = heap::double_store(a, n))
            for (uint64_t bits; i < n && take_number(&bits); i++) {
                to[i] = bits;
                if (i % kChunk == 0 && ending(js_->v))
                    return {};
            }
        return rest(a, i, n, depth);
    }

    ISOLA_OWN_FRAME Result object(uint32_t n, int depth)
    {
        if (n > kMostProperties)
            return {};
        if (n >= kManyNames && n <= kMostTogether && !first_)
            return many_properties(n, depth);
        if (first_ || n == 0 || n > Shapes::kMostNames || !shapes_ready()) {
            v8::Local<v8::Object> o = v8::Object::New(isolate_);
            objects_.push_back(o);
            return properties(o, 0, n, depth);
        }
        Shapes &shapes = *js_->v->shapes;
        Shapes::Shape *shape = shapes.root();
        size_t number = objects_.size(), base = pile_.size();
        objects_.emplace_back();
        for (uint32_t i = 0; i < n; i++) {
            Shapes::Shape *next = nullptr;
            if (r_.p != r_.end && *r_.p >= 0xa0 && *r_.p < 0xc0 && left() > (*r_.p & 0x1fu))
                next = shapes.follow(isolate_, shape, r_.p, r_.end);
            if (next == nullptr)
                return one_by_one(shape, number, base, n, depth);
            v8::Local<v8::Value> value;
            r_.p += 1 + (*r_.p & 0x1f);
            shape = next;
            if (ended() || !read(depth + 1).ToLocal(&value))
                return {};
            pile_.push(value);
        }
        v8::Local<v8::DictionaryTemplate> maker = shapes.maker(isolate_, shape);
        if (maker.IsEmpty())
            return one_by_one(shape, number, base, n, depth);
        return together(maker, number, base, n);
    }
    bool shapes_ready()
    {
        if (js_->v->making) // templates would be in the snapshot
            return false;
        if (js_->v->shapes == nullptr)
            js_->v->shapes = std::make_unique<Shapes>();
        return true;
    }
    ISOLA_OWN_FRAME Result together(v8::Local<v8::DictionaryTemplate> maker, size_t number,
                                    size_t base, uint32_t n)
    {
        // Those that are there are the same as Local and as MaybeLocal.
        using Values = v8::MemorySpan<v8::MaybeLocal<v8::Value>>;
        static_assert(sizeof(v8::MaybeLocal<v8::Value>) == sizeof(v8::Local<v8::Value>));
        v8::Local<v8::Object> o = maker->NewInstance(
            context_, Values(reinterpret_cast<v8::MaybeLocal<v8::Value> *>(pile_.from(base)), n));
        pile_.cut(base);
        objects_[number] = o;
        return o.As<v8::Value>();
    }
    // An object that has been read as far as `shape` says.
    ISOLA_OWN_FRAME Result one_by_one(const Shapes::Shape *shape, size_t number, size_t base,
                                      uint32_t n, int depth)
    {
        v8::Local<v8::Object> o = v8::Object::New(isolate_);
        const Shapes::Shape *names[Shapes::kMostNames];
        uint32_t there = shape->names;
        for (uint32_t i = there; i-- > 0; shape = shape->parent)
            names[i] = shape;
        for (uint32_t i = 0; i < there; i++)
            if (o->CreateDataProperty(context_, names[i]->name.Get(isolate_), pile_.from(base)[i])
                    .IsNothing())
                return {};
        pile_.cut(base);
        objects_[number] = o;
        return properties(o, there, n, depth);
    }
    // So many that V8 keeps them in a table, which is made at once.
    ISOLA_OWN_FRAME Result many_properties(uint32_t n, int depth)
    {
        size_t number = objects_.size(), base = pile_.size();
        std::vector<v8::Local<v8::Name>> names;
        objects_.emplace_back();
        for (uint32_t i = 0; i < n; i++) {
            v8::Local<v8::String> name;
            v8::Local<v8::Value> value;
            if (ended() || !property_name().ToLocal(&name) || !read(depth + 1).ToLocal(&value))
                return {};
            names.push_back(name);
            pile_.push(value);
        }
        v8::Local<v8::Object> o =
            v8::Object::New(isolate_, v8::Object::New(isolate_)->GetPrototypeV2(), names.data(),
                            pile_.from(base), n);
        pile_.cut(base);
        objects_[number] = o;
        return o.As<v8::Value>();
    }
    v8::MaybeLocal<v8::String> property_name()
    {
        isola_mp_item key;
        if (isola_mp_next(&r_, &key) != 0 || key.type != ISOLA_MP_STR ||
            key.bytes.len > static_cast<size_t>(v8::String::kMaxLength))
            return {};
        if (is_ascii(key.bytes.data, key.bytes.len))
            return v8::String::NewFromOneByte(isolate_, key.bytes.data,
                                              v8::NewStringType::kInternalized,
                                              static_cast<int>(key.bytes.len));
        return v8::String::NewFromUtf8(isolate_, reinterpret_cast<const char *>(key.bytes.data),
                                       v8::NewStringType::kInternalized,
                                       static_cast<int>(key.bytes.len));
    }
    // The properties from the `i`th on.
    ISOLA_OWN_FRAME Result properties(v8::Local<v8::Object> o, uint32_t i, uint32_t n, int depth)
    {
        for (; i < n; i++) {
            v8::Local<v8::String> name;
            v8::Local<v8::Value> value;
            if (ended() || !property_name().ToLocal(&name) || !read(depth + 1).ToLocal(&value) ||
                o->CreateDataProperty(context_, name, value).IsNothing())
                return {};
        }
        return o.As<v8::Value>();
    }

    ISOLA_OWN_FRAME Result extension(const isola_mp_item &item, int depth)
    {
        Slice p = item.bytes;
        switch (item.ext) {
        case ISOLA_EXT_UNDEFINED:
            return v8::Undefined(isolate_).As<v8::Value>();
        case ISOLA_EXT_BIGINT:
            return bigint(p);
        case ISOLA_EXT_DATE: {
            if (p.len != 8)
                return {};
            uint64_t bits = 0;
            for (int i = 0; i < 8; i++)
                bits = bits << 8 | p.data[i];
            double ms;
            memcpy(&ms, &bits, 8);
            v8::Local<v8::Value> date;
            if (!v8::Date::New(context_, ms).ToLocal(&date))
                return {};
            return keep(date);
        }
        case ISOLA_EXT_MAP: {
            v8::Local<v8::Map> map = v8::Map::New(isolate_);
            objects_.push_back(map);
            return inside(p, map, [&] {
                v8::Local<v8::Value> key, value;
                return read(depth + 1).ToLocal(&key) && read(depth + 1).ToLocal(&value) &&
                       !map->Set(context_, key, value).IsEmpty();
            });
        }
        case ISOLA_EXT_SET: {
            v8::Local<v8::Set> set = v8::Set::New(isolate_);
            objects_.push_back(set);
            return inside(p, set, [&] {
                v8::Local<v8::Value> value;
                return read(depth + 1).ToLocal(&value) && !set->Add(context_, value).IsEmpty();
            });
        }
        case ISOLA_EXT_REGEXP:
            return regexp(p);
        case ISOLA_EXT_ERROR:
            return error(p, depth);
        case ISOLA_EXT_TYPED_ARRAY:
            return typed_array(p);
        case ISOLA_EXT_ARRAY_BUFFER: {
            auto buffer = bytes(p);
            if (buffer.IsEmpty())
                return {};
            return keep(buffer);
        }
        case ISOLA_EXT_BACKREF: {
            if (p.len != 1 && p.len != 2 && p.len != 4)
                return {};
            size_t number = 0;
            for (size_t i = 0; i < p.len; i++)
                number = number << 8 | p.data[i];
            if (number >= objects_.size())
                return {};
            if (objects_[number].IsEmpty())
                cyclic_ = !first_; // it may be one of those that nothing refers to
            return objects_[number];
        }
        case ISOLA_EXT_REF: {
            v8::Local<v8::Value> address, ref;
            isola_address at;
            if (isola_address_parse(p, &at, nullptr) != 0 || !string(p).ToLocal(&address) ||
                !js_->v->hooks[HOOK_MAKE_REF]
                     .Get(isolate_)
                     ->Call(context_, v8::Undefined(isolate_), 1, &address)
                     .ToLocal(&ref))
                return {};
            return keep(ref);
        }
        case ISOLA_EXT_STREAM: {
            v8::Local<v8::Value> stream;
            if (!stream_of(js_, p).ToLocal(&stream))
                return {};
            return keep(stream);
        }
        default:
            return {};
        }
    }

    // Reads items from the payload of an extension until it is used up.
    template <typename Each> Result inside(Slice payload, v8::Local<v8::Value> result, Each each)
    {
        Reader outer = r_;
        r_ = isola_mp_reader(payload);
        bool ok = true;
        while (ok && r_.p != r_.end)
            ok = !ended() && each();
        r_ = outer;
        if (!ok)
            return {};
        return result;
    }

    ISOLA_OWN_FRAME Result bigint(Slice p)
    {
        if (p.len < 1 || p.data[0] > 1)
            return {};
        uint64_t few[8] = {};
        std::vector<uint64_t> many;
        uint64_t *words = few;
        size_t n = (p.len - 1 + 7) / 8;
        if (n > std::size(few)) {
            many.resize(n);
            words = many.data();
        }
        memcpy(words, p.data + 1, p.len - 1);
        v8::Local<v8::BigInt> value;
        if (!v8::BigInt::NewFromWords(context_, p.data[0], static_cast<int>(n), words)
                 .ToLocal(&value))
            return {};
        return value.As<v8::Value>();
    }

    ISOLA_OWN_FRAME Result regexp(Slice p)
    {
        Reader r = isola_mp_reader(p);
        isola_mp_item source, flags;
        if (isola_mp_next(&r, &source) != 0 || source.type != ISOLA_MP_STR ||
            isola_mp_next(&r, &flags) != 0 || flags.type != ISOLA_MP_STR || r.p != r.end)
            return {};
        int bits = 0;
        for (size_t i = 0; i < flags.bytes.len; i++) {
            int bit = 0;
            for (auto &f : regexp_flags)
                if (flags.bytes.data[i] == static_cast<uint8_t>(f.letter))
                    bit = f.bit;
            if (bit == 0 || (bits & bit) != 0)
                return {};
            bits |= bit;
        }
        if ((bits & v8::RegExp::kUnicode) && (bits & v8::RegExp::kUnicodeSets))
            return {};
        v8::Local<v8::Value> text_value;
        v8::Local<v8::RegExp> value;
        if (!string(source.bytes).ToLocal(&text_value) ||
            !v8::RegExp::New(context_, text_value.As<v8::String>(),
                             static_cast<v8::RegExp::Flags>(bits))
                 .ToLocal(&value))
            return {};
        return keep(value);
    }

    ISOLA_OWN_FRAME Result error(Slice p, int depth)
    {
        Slice name = {nullptr, 0};
        isola_mp_find_str(p, "name", &name);
        auto empty = v8::String::Empty(isolate_);
        v8::Local<v8::Value> e =
            isola_slice_is(name, "TypeError")        ? v8::Exception::TypeError(empty)
            : isola_slice_is(name, "RangeError")     ? v8::Exception::RangeError(empty)
            : isola_slice_is(name, "SyntaxError")    ? v8::Exception::SyntaxError(empty)
            : isola_slice_is(name, "ReferenceError") ? v8::Exception::ReferenceError(empty)
                                                     : v8::Exception::Error(empty);
        v8::Local<v8::Object> o = e.As<v8::Object>();
        objects_.push_back(o);
        objects_.emplace_back(); // its map, which nothing refers to
        Reader outer = r_;
        r_ = isola_mp_reader(p);
        bool ok = fill(o, depth);
        r_ = outer;
        if (!ok)
            return {};
        return e;
    }

    ISOLA_OWN_FRAME bool fill(v8::Local<v8::Object> o, int depth)
    {
        isola_mp_item item;
        if (isola_mp_next(&r_, &item) != 0 || item.type != ISOLA_MP_MAP)
            return false;
        for (uint32_t i = 0, n = item.n; i < n; i++) {
            v8::Local<v8::Value> key, value;
            if (!read(depth + 2).ToLocal(&key) || !key->IsString() ||
                !read(depth + 2).ToLocal(&value))
                return false;
            bool code = key->StrictEquals(text(isolate_, "code"));
            if (o->DefineOwnProperty(context_, key.As<v8::String>(), value,
                                     code ? v8::None : v8::DontEnum)
                    .IsNothing())
                return false;
        }
        return r_.p == r_.end;
    }

    ISOLA_OWN_FRAME Result typed_array(Slice p)
    {
        static const uint8_t sizes[] = {0, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 1, 2};
        if (p.len < 1 || p.data[0] == 0 || p.data[0] >= sizeof(sizes))
            return {};
        size_t size = sizes[p.data[0]], n = p.len - 1;
        if (n % size != 0)
            return {};
        auto b = bytes(isola_slice(p.data + 1, n));
        if (b.IsEmpty())
            return {};
        size_t count = n / size;
        switch (p.data[0]) {
        case ISOLA_TA_INT8:
            return keep(v8::Int8Array::New(b, 0, count));
        case ISOLA_TA_UINT8_CLAMPED:
            return keep(v8::Uint8ClampedArray::New(b, 0, count));
        case ISOLA_TA_INT16:
            return keep(v8::Int16Array::New(b, 0, count));
        case ISOLA_TA_UINT16:
            return keep(v8::Uint16Array::New(b, 0, count));
        case ISOLA_TA_INT32:
            return keep(v8::Int32Array::New(b, 0, count));
        case ISOLA_TA_UINT32:
            return keep(v8::Uint32Array::New(b, 0, count));
        case ISOLA_TA_FLOAT32:
            return keep(v8::Float32Array::New(b, 0, count));
        case ISOLA_TA_FLOAT64:
            return keep(v8::Float64Array::New(b, 0, count));
        case ISOLA_TA_BIGINT64:
            return keep(v8::BigInt64Array::New(b, 0, count));
        case ISOLA_TA_BIGUINT64:
            return keep(v8::BigUint64Array::New(b, 0, count));
        case ISOLA_TA_FLOAT16:
            return keep(v8::Float16Array::New(b, 0, count));
        default:
            return keep(v8::DataView::New(b, 0, count));
        }
    }

    static constexpr size_t kLong = 64; // bytes of text

    isola_js *js_;
    isola_block *block_; // what it reads from, or nullptr
    size_t whole_;       // bytes of all of it
    v8::Isolate *isolate_;
    v8::Local<v8::Context> context_;
    Reader r_;
    bool first_;    // each object is made before what is in it
    bool readable_; // and writable
    bool cyclic_ = false;
    uint32_t looks_ = 0;
    Few<v8::Local<v8::Value>, 16> objects_; // empty: it is not made yet, or has but a number
    Pile pile_;
};

// Once more for cycles.
template <typename T, typename How>
v8::MaybeLocal<T> decoded(isola_js *js, Slice bytes, isola_block *block, How how)
{
    v8::TryCatch quiet(js->isolate());
    Decoder decoder(js, bytes, block, false);
    v8::MaybeLocal<T> result = how(decoder);
    if (result.IsEmpty() && decoder.cyclic() && !ending(js->v)) {
        Decoder again(js, bytes, block, true);
        return how(again);
    }
    return result;
}

} // namespace

v8::MaybeLocal<v8::Value> decode(isola_js *js, Slice bytes)
{
    return decoded<v8::Value>(js, bytes, nullptr, [](Decoder &d) { return d.whole(); });
}

v8::MaybeLocal<v8::Value> decode_first(isola_js *js, Slice args, isola_block *block)
{
    if (args.len == 0)
        return v8::Undefined(js->isolate()).As<v8::Value>();
    return decoded<v8::Value>(js, args, block, [](Decoder &d) { return d.first(); });
}

v8::MaybeLocal<v8::Array> decode_args(isola_js *js, Slice args, isola_block *block)
{
    return decoded<v8::Array>(js, args, block, [](Decoder &d) { return d.args(); });
}

} // namespace isola
