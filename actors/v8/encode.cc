// SPDX-License-Identifier: Apache-2.0
//
// One half of the codec: from V8 values to msgpack, with nothing in between (docs/wire.md).
//
// Every object is numbered in the order in which they begin, and a back reference is written for
// one seen before, so shared references and cycles arrive as they were. The first few objects are
// found by comparing handles, more of them by identity hash. Getters of the script may run while
// encoding, and may throw: what they throw is passed on.
#include <cmath>
#include <cstring>

#include "actors/v8/values.hh"

namespace isola
{
namespace
{

constexpr size_t kLinear = 12; // up to so many objects, a scan beats hashing
// Encoded bytes of one value: less than a frame (transport/link.h), which holds the envelope too.
// It also ends what is small in memory and endless in bytes: a sparse array, one long string
// referred to a million times.
constexpr size_t kMaxBytes = (64u << 20) - (64u << 10);
struct PathPart {
    enum { Index, Name, MapKey, MapValue, SetItem } kind;
    uint32_t index;
    v8::Local<v8::Value> name;
};
class Encoder
{
  public:
    Encoder(isola_js *js, isola_buf *out)
        : js_(js), isolate_(js->isolate()), context_(js->context), out_(out)
    {
    }

    bool run(v8::Local<v8::Value> value, Wrap wrap)
    {
        wrap_ = wrap;
        limit_ = out_->len + kMaxBytes;
        bool wrapped = wrap == Wrap::ArgsOfOne || wrap == Wrap::OneArg;
        if (wrapped) {
            isola_mp_array(out_, 1);
            count_ = 1; // the args array itself
        }
        if (!write(value, wrapped ? 1 : 0)) {
            // Thrown only here: V8 aborts when an exception is thrown far below the end of its own
            // stack.
            if (refused_code_ != nullptr)
                isolate_->ThrowException(make_error(isolate_, refused_code_, refused_.c_str()));
            return false;
        }
        if (out_->failed) {
            isolate_->ThrowException(
                make_error(isolate_, "ENOMEM", "out of memory while encoding"));
            return false;
        }
        return true;
    }

  private:
    // Nothing of V8's is asked on the way through a long list of plain values.
    bool ended(uint32_t i) const { return (i & 0xff) == 0xff && ending(js_->v); }

    // Is there room for `n` more bytes?
    bool room(size_t n)
    {
        return (out_->len <= limit_ && n <= limit_ - out_->len) ||
               refuse("it takes more than 63 MB to send", "ETOOBIG");
    }

    bool write(v8::Local<v8::Value> value, int depth)
    {
        if (!room(1))
            return false;
        if (value->IsString())
            return string(value.As<v8::String>());
        if (value->IsInt32()) {
            isola_mp_int(out_, value.As<v8::Int32>()->Value());
            return true;
        }
        if (value->IsNumber())
            return number(value.As<v8::Number>()->Value());
        if (value->IsBoolean()) {
            isola_mp_bool(out_, value->IsTrue());
            return true;
        }
        if (value->IsNull()) {
            isola_mp_nil(out_);
            return true;
        }
        if (value->IsUndefined()) {
            isola_mp_ext(out_, ISOLA_EXT_UNDEFINED, isola_slice(nullptr, 0));
            return true;
        }
        if (value->IsBigInt())
            return bigint(value.As<v8::BigInt>());
        if (value->IsSymbol())
            return refuse("a symbol cannot be sent");
        if (value->IsFunction())
            return refuse("a function cannot be sent");
        return object(value.As<v8::Object>(), depth);
    }

    bool number(double d)
    {
        if (d == std::trunc(d) && std::fabs(d) <= 9007199254740992.0 &&
            !(d == 0 && std::signbit(d)))
            isola_mp_int(out_, static_cast<int64_t>(d));
        else
            isola_mp_double(out_, d);
        return true;
    }

    ISOLA_OWN_FRAME bool string(v8::Local<v8::String> s)
    {
        // A short one of single bytes, which is almost every name: written as it is, if it is
        // ASCII.
        size_t length = static_cast<size_t>(s->Length());
        if (length <= 31 && s->IsOneByte()) {
            if (!room(1 + length))
                return false;
            uint8_t bytes[1 + 31];
            uint8_t any = 0;
            bytes[0] = static_cast<uint8_t>(0xa0 | length); // fixstr
            s->WriteOneByteV2(isolate_, 0, static_cast<uint32_t>(length), bytes + 1);
            for (size_t i = 1; i <= length; i++)
                any |= bytes[i];
            if (any < 0x80) {
                isola_buf_append(out_, bytes, 1 + length);
                return true;
            }
        }
        // A byte each at the least: what is too long anyway is not to be made one piece for it.
        if (!room(length))
            return false;
        size_t n = s->Utf8LengthV2(isolate_);
        if (!room(n))
            return false;
        isola_mp_str_header(out_, n);
        uint8_t *to = isola_buf_extend(out_, n);
        if (to != nullptr && n > 0)
            s->WriteUtf8V2(isolate_, reinterpret_cast<char *>(to), n,
                           v8::String::WriteFlags::kReplaceInvalidUtf8);
        return true;
    }

    ISOLA_OWN_FRAME bool bigint(v8::Local<v8::BigInt> value)
    {
        int words = value->WordCount();
        if (!room(static_cast<size_t>(words) * 8))
            return false;
        std::vector<uint64_t> digits(static_cast<size_t>(words));
        int sign = 0;
        value->ToWordsArray(&sign, &words, digits.data());
        const uint8_t *bytes =
            reinterpret_cast<const uint8_t *>(digits.data()); // little-endian machines only
        size_t n = static_cast<size_t>(words) * 8;
        while (n > 0 && bytes[n - 1] == 0)
            n--;
        std::vector<uint8_t> payload(1 + n);
        payload[0] = sign != 0;
        if (n > 0)
            memcpy(payload.data() + 1, bytes, n);
        isola_mp_ext(out_, ISOLA_EXT_BIGINT, isola_slice(payload.data(), payload.size()));
        return true;
    }

    // True when the object was seen before: the back reference is written.
    ISOLA_OWN_FRAME bool seen(v8::Local<v8::Object> o)
    {
        uint32_t number = count_++;
        if (objects_.size() < kLinear) {
            for (size_t i = 0; i < objects_.size(); i++)
                if (objects_[i].first == o)
                    return back(objects_[i].second);
            objects_.push_back({o, number});
            return false;
        }
        if (hashed_.empty())
            for (size_t i = 0; i < objects_.size(); i++)
                hashed_.emplace(objects_[i].first->GetIdentityHash(), objects_[i]);
        int hash = o->GetIdentityHash();
        auto [from, to] = hashed_.equal_range(hash);
        for (; from != to; ++from)
            if (from->second.first == o)
                return back(from->second.second);
        hashed_.emplace(hash, std::make_pair(o, number));
        return false;
    }

    ISOLA_OWN_FRAME bool back(uint32_t number)
    {
        count_--; // a back reference has no number of its own
        uint8_t be[4] = {static_cast<uint8_t>(number >> 24), static_cast<uint8_t>(number >> 16),
                         static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)};
        size_t skip = number <= 0xff ? 3 : number <= 0xffff ? 2 : 0;
        isola_mp_ext(out_, ISOLA_EXT_BACKREF, isola_slice(be + skip, 4 - skip));
        return true;
    }

    ISOLA_OWN_FRAME bool object(v8::Local<v8::Object> o, int depth)
    {
        if (depth >= ISOLA_VALUE_DEPTH)
            return refuse("it is nested too deep");
        if (o->IsProxy())
            return refuse("a proxy cannot be sent");
        if (o->IsPromise())
            return refuse("a promise cannot be sent");
        if (o->IsWeakMap() || o->IsWeakSet() || o->IsWeakRef())
            return refuse("a weak collection cannot be sent");
        if (o->IsGeneratorObject())
            return refuse("a generator cannot be sent");
        if (o->IsSharedArrayBuffer())
            return refuse("a SharedArrayBuffer cannot be sent");
        if (o->IsSymbolObject())
            return refuse("a symbol cannot be sent");
        // A wrapper object travels as what it wraps, which has no number.
        if (o->IsNumberObject())
            return number(o.As<v8::NumberObject>()->ValueOf());
        if (o->IsStringObject())
            return string(o.As<v8::StringObject>()->ValueOf());
        if (o->IsBooleanObject())
            return write(v8::Boolean::New(isolate_, o.As<v8::BooleanObject>()->ValueOf()), depth);
        if (o->IsBigIntObject())
            return bigint(o.As<v8::BigIntObject>()->ValueOf());
        if (seen(o))
            return true;
        if (o->IsArray())
            return array(o.As<v8::Array>(), depth);
        if (o->IsArrayBufferView())
            return view(o.As<v8::ArrayBufferView>());
        if (o->IsArrayBuffer()) {
            auto buffer = o.As<v8::ArrayBuffer>();
            if (!room(buffer->ByteLength()))
                return false;
            isola_mp_ext(out_, ISOLA_EXT_ARRAY_BUFFER,
                         isola_slice(buffer->Data(), buffer->ByteLength()));
            return true;
        }
        if (o->IsDate())
            return date(o.As<v8::Date>()->ValueOf());
        if (o->IsMap())
            return map(o.As<v8::Map>(), depth);
        if (o->IsSet())
            return set(o.As<v8::Set>(), depth);
        if (o->IsRegExp())
            return regexp(o.As<v8::RegExp>());
        if (o->IsNativeError())
            return error(o, depth);
        return plain(o, depth);
    }

    ISOLA_OWN_FRAME bool array(v8::Local<v8::Array> a, int depth)
    {
        uint32_t n = a->Length();
        if (!room(n)) // a byte each at the least
            return false;
        isola_mp_array(out_, n);
        for (uint32_t i = 0; i < n; i++) {
            v8::Local<v8::Value> item;
            if (ended(i) || !a->Get(context_, i).ToLocal(&item))
                return false;
            path_.push_back({PathPart::Index, i, {}});
            if (!write(item, depth + 1) || out_->failed)
                return false;
            path_.pop_back();
        }
        return true;
    }

    // A ref, or an object's own enumerable properties.
    ISOLA_OWN_FRAME bool plain(v8::Local<v8::Object> o, int depth)
    {
        v8::Local<v8::Value> address;
        if (!o->Get(context_, js_->v->address_symbol.Get(isolate_)).ToLocal(&address))
            return false;
        if (address->IsString()) {
            size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_REF);
            auto s = address.As<v8::String>();
            size_t n = s->Utf8LengthV2(isolate_);
            if (!room(n))
                return false;
            uint8_t *to = isola_buf_extend(out_, n);
            isola_address at;
            if (to != nullptr) {
                s->WriteUtf8V2(isolate_, reinterpret_cast<char *>(to), n,
                               v8::String::WriteFlags::kReplaceInvalidUtf8);
                if (isola_address_parse(isola_slice(to, n), &at, nullptr) != 0)
                    return refuse("a ref to what is no address cannot be sent");
            }
            isola_mp_ext_end(out_, begun);
            return true;
        }
        v8::Local<v8::Array> names;
        auto filter = static_cast<v8::PropertyFilter>(v8::ONLY_ENUMERABLE | v8::SKIP_SYMBOLS);
        if (!o->GetPropertyNames(context_, v8::KeyCollectionMode::kOwnOnly, filter,
                                 v8::IndexFilter::kIncludeIndices,
                                 v8::KeyConversionMode::kConvertToString)
                 .ToLocal(&names))
            return false;
        uint32_t n = names->Length();
        isola_mp_map(out_, n);
        for (uint32_t i = 0; i < n; i++) {
            v8::Local<v8::Value> name, value;
            if (ended(i) || !names->Get(context_, i).ToLocal(&name) ||
                !o->Get(context_, name).ToLocal(&value))
                return false;
            path_.push_back({PathPart::Name, 0, name});
            if (!string(name.As<v8::String>()) || !write(value, depth + 1))
                return false;
            path_.pop_back();
        }
        return true;
    }

    ISOLA_OWN_FRAME bool view(v8::Local<v8::ArrayBufferView> view)
    {
        size_t n = view->ByteLength();
        uint8_t kind = 0;
        if (!room(n))
            return false;
        if (view->IsUint8Array()) {
            isola_mp_bin_header(out_, n);
        } else {
            kind = element_kind(view);
            if (kind == 0)
                return refuse("this kind of typed array cannot be sent");
        }
        size_t begun = kind != 0 ? isola_mp_ext_begin(out_, ISOLA_EXT_TYPED_ARRAY) : 0;
        if (kind != 0)
            isola_buf_append(out_, &kind, 1);
        uint8_t *to = isola_buf_extend(out_, n);
        if (to != nullptr && n > 0)
            view->CopyContents(to, n);
        if (kind != 0)
            isola_mp_ext_end(out_, begun);
        return true;
    }

    static uint8_t element_kind(v8::Local<v8::ArrayBufferView> v)
    {
        return v->IsInt8Array()           ? ISOLA_TA_INT8
               : v->IsUint8ClampedArray() ? ISOLA_TA_UINT8_CLAMPED
               : v->IsInt16Array()        ? ISOLA_TA_INT16
               : v->IsUint16Array()       ? ISOLA_TA_UINT16
               : v->IsInt32Array()        ? ISOLA_TA_INT32
               : v->IsUint32Array()       ? ISOLA_TA_UINT32
               : v->IsFloat32Array()      ? ISOLA_TA_FLOAT32
               : v->IsFloat64Array()      ? ISOLA_TA_FLOAT64
               : v->IsBigInt64Array()     ? ISOLA_TA_BIGINT64
               : v->IsBigUint64Array()    ? ISOLA_TA_BIGUINT64
               : v->IsDataView()          ? ISOLA_TA_DATA_VIEW
               : v->IsFloat16Array()      ? ISOLA_TA_FLOAT16
                                          : 0;
    }

    bool date(double ms)
    {
        uint64_t bits;
        memcpy(&bits, &ms, 8);
        uint8_t be[8];
        for (int i = 0; i < 8; i++)
            be[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
        isola_mp_ext(out_, ISOLA_EXT_DATE, isola_slice(be, 8));
        return true;
    }

    ISOLA_OWN_FRAME bool map(v8::Local<v8::Map> m, int depth)
    {
        v8::Local<v8::Array> items = m->AsArray();
        size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_MAP);
        for (uint32_t i = 0; i < items->Length(); i++) {
            v8::Local<v8::Value> item;
            if (ended(i) || !items->Get(context_, i).ToLocal(&item))
                return false;
            path_.push_back({i % 2 ? PathPart::MapValue : PathPart::MapKey, i / 2, {}});
            if (!write(item, depth + 1))
                return false;
            path_.pop_back();
        }
        isola_mp_ext_end(out_, begun);
        return true;
    }

    ISOLA_OWN_FRAME bool set(v8::Local<v8::Set> s, int depth)
    {
        v8::Local<v8::Array> items = s->AsArray();
        size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_SET);
        for (uint32_t i = 0; i < items->Length(); i++) {
            v8::Local<v8::Value> item;
            if (ended(i) || !items->Get(context_, i).ToLocal(&item))
                return false;
            path_.push_back({PathPart::SetItem, i, {}});
            if (!write(item, depth + 1))
                return false;
            path_.pop_back();
        }
        isola_mp_ext_end(out_, begun);
        return true;
    }

    // Not the property `flags`, which a script may have changed to what cannot be read again.
    ISOLA_OWN_FRAME bool regexp(v8::Local<v8::RegExp> r)
    {
        std::string flags;
        int bits = r->GetFlags();
        for (auto &f : regexp_flags)
            if (bits & f.bit)
                flags += f.letter;
        size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_REGEXP);
        if (!string(r->GetSource()))
            return false;
        isola_mp_str(out_, isola_slice(flags.data(), flags.size()));
        isola_mp_ext_end(out_, begun);
        return true;
    }

    ISOLA_OWN_FRAME bool error(v8::Local<v8::Object> e, int depth)
    {
        static const char *const names[] = {"name", "message", "stack", "code", "cause"};
        v8::Local<v8::Value> values[5];
        if (depth + 1 >= ISOLA_VALUE_DEPTH) // its map is a level of its own
            return refuse("it is nested too deep");
        uint32_t n = 0;
        for (int i = 0; i < 5; i++) {
            if (!e->Get(context_, text(isolate_, names[i])).ToLocal(&values[i]))
                return false;
            bool there = i < 3    ? values[i]->IsString()
                         : i == 3 ? values[i]->IsString() || values[i]->IsNumber()
                                  : !values[i]->IsUndefined();
            if (there)
                n++;
            else
                values[i].Clear();
        }
        size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_ERROR);
        isola_mp_map(out_, n);
        count_++; // the map has a number too
        for (int i = 0; i < 5; i++) {
            if (values[i].IsEmpty())
                continue;
            isola_mp_cstr(out_, names[i]);
            path_.push_back({PathPart::Name, 0, text(isolate_, names[i])});
            if (!write(values[i], depth + 2))
                return false;
            path_.pop_back();
        }
        isola_mp_ext_end(out_, begun);
        return true;
    }

    ISOLA_OWN_FRAME bool refuse(const char *what, const char *code = "ECLONE")
    {
        std::string where = wrap_ == Wrap::Value    ? "args"
                            : wrap_ == Wrap::OneArg ? "args[0]"
                            : wrap_ == Wrap::State  ? "state"
                                                    : "value";
        for (size_t i = 0; i < path_.size(); i++) {
            const PathPart &part = path_[i];
            switch (part.kind) {
            case PathPart::Index:
            case PathPart::SetItem:
                where += "[" + std::to_string(part.index) + "]";
                break;
            case PathPart::Name:
                where += "." + utf8(isolate_, part.name, 200);
                break;
            case PathPart::MapKey:
                where += ".keys()[" + std::to_string(part.index) + "]";
                break;
            case PathPart::MapValue:
                where += ".values()[" + std::to_string(part.index) + "]";
                break;
            }
        }
        refused_ = where + ": " + what;
        refused_code_ = code;
        return false;
    }

    isola_js *js_;
    v8::Isolate *isolate_;
    v8::Local<v8::Context> context_;
    isola_buf *out_;
    Wrap wrap_ = Wrap::Value;
    size_t limit_ = 0;
    std::string refused_;
    const char *refused_code_ = nullptr;
    uint32_t count_ = 0;
    Few<PathPart, 8> path_;
    Few<std::pair<v8::Local<v8::Object>, uint32_t>, kLinear> objects_;
    std::unordered_multimap<int, std::pair<v8::Local<v8::Object>, uint32_t>> hashed_;
};

} // namespace

bool encode(isola_js *js, v8::Local<v8::Value> value, Wrap wrap, isola_buf *out)
{
    return Encoder(js, out).run(value, wrap);
}

void encode_error(isola_js *js, v8::Local<v8::Value> error, isola_buf *out)
{
    v8::TryCatch caught(js->isolate());
    size_t before = out->len;
    if (!error.IsEmpty() && error->IsNativeError() && !ending(js->v) &&
        encode(js, error, Wrap::ArgsOfOne, out))
        return;
    // Not an Error, or one that cannot be sent: what it says can.
    out->len = before;
    isola_mp_array(out, 1);
    isola_mp_error(out, ISOLA_ESCRIPT, describe(js, error).c_str(), nullptr);
}

} // namespace isola
