// SPDX-License-Identifier: Apache-2.0
//
// The other half of the codec: from msgpack to V8 values (docs/wire.md).
//
// It trusts nothing: counts were checked by the reader, depth is bounded here, and a back reference
// may only name an object that has begun.
#include <cmath>
#include <cstring>

#include "actors/v8/values.hh"

namespace isola
{
namespace
{

class Decoder
{
  public:
    Decoder(isola_js *js, Reader reader)
        : js_(js), isolate_(js->isolate()), context_(js->context), r_(reader)
    {
    }

    v8::MaybeLocal<v8::Array> args()
    {
        isola_mp_item item;
        if (isola_mp_next(&r_, &item) != 0 || item.type != ISOLA_MP_ARRAY)
            return {};
        objects_.emplace_back(); // the array itself
        v8::Local<v8::Array> a;
        if (item.n > kFew) {
            a = v8::Array::New(isolate_, static_cast<int>(item.n));
            for (uint32_t i = 0; i < item.n; i++) {
                v8::Local<v8::Value> value;
                if (!read(1).ToLocal(&value) ||
                    a->CreateDataProperty(context_, i, value).IsNothing())
                    return {};
            }
        } else {
            v8::Local<v8::Value> values[kFew];
            for (uint32_t i = 0; i < item.n; i++)
                if (!read(1).ToLocal(&values[i]))
                    return {};
            a = v8::Array::New(isolate_, values, item.n);
        }
        if (r_.p != r_.end)
            return {};
        return a;
    }

    v8::MaybeLocal<v8::Value> whole()
    {
        v8::Local<v8::Value> value;
        if (!read(0).ToLocal(&value) || r_.p != r_.end)
            return {};
        return value;
    }

  private:
    static constexpr uint32_t kFew = 8;
    using Result = v8::MaybeLocal<v8::Value>;

    bool ended(uint32_t i) const { return (i & 0xff) == 0xff && ending(js_->v); }

    Result read(int depth)
    {
        isola_mp_item item;
        if (depth > ISOLA_VALUE_DEPTH || isola_mp_next(&r_, &item) != 0)
            return {};
        switch (item.type) {
        case ISOLA_MP_NIL:
            return v8::Null(isolate_).As<v8::Value>();
        case ISOLA_MP_BOOL:
            return v8::Boolean::New(isolate_, item.b).As<v8::Value>();
        case ISOLA_MP_UINT:
            if (item.u <= 0x7fffffff)
                return v8::Integer::New(isolate_, static_cast<int32_t>(item.u)).As<v8::Value>();
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
            return extension(item, depth);
        }
        return {};
    }

    ISOLA_OWN_FRAME Result string(Slice s)
    {
        v8::Local<v8::String> value;
        if (s.len > static_cast<size_t>(v8::String::kMaxLength) ||
            !v8::String::NewFromUtf8(isolate_, reinterpret_cast<const char *>(s.data),
                                     v8::NewStringType::kNormal, static_cast<int>(s.len))
                 .ToLocal(&value))
            return {};
        return value.As<v8::Value>();
    }

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
        v8::Local<v8::Array> a = v8::Array::New(isolate_, static_cast<int>(n));
        objects_.push_back(a);
        for (uint32_t i = 0; i < n; i++) {
            v8::Local<v8::Value> item;
            if (ended(i) || !read(depth + 1).ToLocal(&item) ||
                a->CreateDataProperty(context_, i, item).IsNothing())
                return {};
        }
        return a.As<v8::Value>();
    }

    ISOLA_OWN_FRAME Result object(uint32_t n, int depth)
    {
        v8::Local<v8::Object> o = v8::Object::New(isolate_);
        objects_.push_back(o);
        for (uint32_t i = 0; i < n; i++) {
            isola_mp_item key;
            if (ended(i) || isola_mp_next(&r_, &key) != 0 || key.type != ISOLA_MP_STR)
                return {};
            v8::Local<v8::String> name;
            if (!v8::String::NewFromUtf8(isolate_, reinterpret_cast<const char *>(key.bytes.data),
                                         v8::NewStringType::kInternalized,
                                         static_cast<int>(key.bytes.len))
                     .ToLocal(&name))
                return {};
            v8::Local<v8::Value> value;
            if (!read(depth + 1).ToLocal(&value) ||
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
            if (number >= objects_.size() || objects_[number].IsEmpty())
                return {};
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
        for (uint32_t i = 0; ok && r_.p != r_.end; i++)
            ok = !ended(i) && each();
        r_ = outer;
        if (!ok)
            return {};
        return result;
    }

    ISOLA_OWN_FRAME Result bigint(Slice p)
    {
        if (p.len < 1 || p.data[0] > 1)
            return {};
        std::vector<uint64_t> words((p.len - 1 + 7) / 8);
        if (p.len > 1)
            memcpy(words.data(), p.data + 1, p.len - 1);
        v8::Local<v8::BigInt> value;
        if (!v8::BigInt::NewFromWords(context_, p.data[0], static_cast<int>(words.size()),
                                      words.data())
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

    isola_js *js_;
    v8::Isolate *isolate_;
    v8::Local<v8::Context> context_;
    Reader r_;
    Few<v8::Local<v8::Value>, 16> objects_;
};

} // namespace

v8::MaybeLocal<v8::Value> decode(isola_js *js, Slice bytes)
{
    v8::TryCatch quiet(js->isolate());
    return Decoder(js, isola_mp_reader(bytes)).whole();
}

v8::MaybeLocal<v8::Value> decode_first(isola_js *js, Slice args)
{
    v8::Local<v8::Array> values;
    if (args.len == 0)
        return v8::Undefined(js->isolate()).As<v8::Value>();
    if (!decode_args(js, args).ToLocal(&values))
        return {};
    return values->Get(js->context, 0);
}

v8::MaybeLocal<v8::Array> decode_args(isola_js *js, Slice bytes)
{
    v8::TryCatch quiet(js->isolate());
    return Decoder(js, isola_mp_reader(bytes)).args();
}

} // namespace isola
