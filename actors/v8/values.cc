// SPDX-License-Identifier: Apache-2.0
//
// The codec: from V8 values to msgpack and back, with nothing in between (docs/wire.md).
//
// Encoding numbers every object in the order in which they begin and writes a back reference for
// one seen before, so shared references and cycles arrive as they were. The first few objects are
// found by comparing handles, more of them by identity hash. Getters of the script may run while
// encoding, and may throw: what they throw is passed on. Decoding trusts nothing: counts were
// checked by the reader, depth is bounded here, and a back reference may only name an object that
// has begun.
#include <cmath>
#include <cstring>

#include "actors/v8/internal.hh"
#include "base/msg.h"
#include "base/msgpack.h"

namespace isola
{
namespace
{

constexpr size_t kLinear = 12; // up to so many objects, a scan beats hashing
// Encoded bytes of one value: less than a frame (transport/link.h), which holds the envelope too.
// It also ends what is small in memory and endless in bytes: a sparse array, one long string
// referred to a million times.
constexpr size_t kMaxBytes = (64u << 20) - (64u << 10);

constexpr struct {
    char letter;
    int bit;
} regexp_flags[] = {{'d', v8::RegExp::kHasIndices},  {'g', v8::RegExp::kGlobal},
                    {'i', v8::RegExp::kIgnoreCase},  {'m', v8::RegExp::kMultiline},
                    {'s', v8::RegExp::kDotAll},      {'u', v8::RegExp::kUnicode},
                    {'v', v8::RegExp::kUnicodeSets}, {'y', v8::RegExp::kSticky}};

// A value nests by recursion, of which V8 allows little below the end of its own stack: what is
// local to one kind of value must not be in the frame of every level.
#define ISOLA_OWN_FRAME __attribute__((noinline))

struct PathPart {
    enum { Index, Name, MapKey, MapValue, SetItem } kind;
    uint32_t index;
    v8::Local<v8::Value> name;
};

// A vector whose first items need no memory of their own.
template <typename T, size_t N> class Few
{
  public:
    void push_back(const T &item)
    {
        if (size_ < N)
            few_[size_] = item;
        else
            more_.push_back(item);
        size_++;
    }
    void emplace_back() { push_back(T{}); }
    void pop_back()
    {
        if (size_-- > N)
            more_.pop_back();
    }
    size_t size() const { return size_; }
    const T &operator[](size_t i) const { return i < N ? few_[i] : more_[i - N]; }

  private:
    size_t size_ = 0;
    T few_[N]{};
    std::vector<T> more_;
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

bool encode(isola_js *js, v8::Local<v8::Value> value, Wrap wrap, isola_buf *out)
{
    return Encoder(js, out).run(value, wrap);
}

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
