// SPDX-License-Identifier: Apache-2.0
//
// The encoder, through V8's interface: what is not plain, and what is in it. Scripts may run here,
// and garbage be collected: `pin_objects` before anything that may.
#include <cstring>
#include <iterator>

#include "actors/v8/encode.hh"
#include "actors/v8/runs.hh"

namespace isola
{

constexpr size_t kOutside = 4096; // bytes that are not in V8's heap, whatever the view

bool Encoder::write_value(v8::Local<v8::Value> value, int depth)
{
    if (!room(1))
        return false;
    if (value->IsString())
        return string(value.As<v8::String>(), As::Value);
    if (value->IsNumber())
        return number(value.As<v8::Number>()->Value());
    if (value->IsBoolean())
        return byte(value->IsTrue() ? 0xc3 : 0xc2);
    if (value->IsNull())
        return byte(0xc0);
    if (value->IsUndefined())
        return undefined();
    if (value->IsBigInt())
        return bigint(value.As<v8::BigInt>());
    if (value->IsSymbol())
        return refuse("a symbol cannot be sent");
    if (value->IsFunction())
        return refuse("a function cannot be sent");
    return object(value.As<v8::Object>(), depth);
}

bool Encoder::bigint(v8::Local<v8::BigInt> value)
{
    int words = value->WordCount();
    auto most = static_cast<size_t>(words) * 8;
    if (!room(most))
        return false;
    uint64_t few[8];
    std::vector<uint64_t> many;
    uint64_t *digits = few;
    if (static_cast<size_t>(words) > std::size(few)) {
        many.resize(static_cast<size_t>(words));
        digits = many.data();
    }
    int sign = 0;
    value->ToWordsArray(&sign, &words, digits);
    const auto *bytes = reinterpret_cast<const uint8_t *>(digits); // little-endian machines only
    size_t n = most;
    while (n > 0 && bytes[n - 1] == 0)
        n--;
    return put(kExtRoom + 1 + most, [&](uint8_t *p) {
        p = put_byte(put_ext_header(p, ISOLA_EXT_BIGINT, 1 + n), sign != 0);
        memcpy(p, bytes, n);
        return p + n;
    });
}

bool Encoder::object(v8::Local<v8::Object> o, int depth)
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
        return string(o.As<v8::StringObject>()->ValueOf(), As::Value);
    if (o->IsBooleanObject())
        return byte(o.As<v8::BooleanObject>()->ValueOf() ? 0xc3 : 0xc2);
    if (o->IsBigIntObject())
        return bigint(o.As<v8::BigIntObject>()->ValueOf());
    switch (seen(heap::address(o))) {
    case Seen::Yes:
        return true;
    case Seen::Failed:
        return false;
    case Seen::No:
        pin_objects();
    }
    if (o->IsArray())
        return array(o.As<v8::Array>(), depth);
    if (o->IsArrayBufferView())
        return view(o.As<v8::ArrayBufferView>());
    if (o->IsArrayBuffer())
        return buffer(o.As<v8::ArrayBuffer>());
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

bool Encoder::array(v8::Local<v8::Array> a, int depth)
{
    uint32_t n = a->Length();
    if (!room(n)) // a byte each at the least
        return false;
    isola_mp_array(out_, n);
    Step step(this, Step::Index);
    step.handle = a;
    return array_rest(&step, 0, n, depth) == Read::Done;
}

bool Encoder::plain(v8::Local<v8::Object> o, int depth)
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
    if (address->IsObject())
        return stream(o);
    Read r = read_instance(o, depth);
    if (r != Read::NotPlain)
        return r == Read::Done;
    v8::Local<v8::Array> names;
    auto filter = static_cast<v8::PropertyFilter>(v8::ONLY_ENUMERABLE | v8::SKIP_SYMBOLS);
    if (!o->GetPropertyNames(context_, v8::KeyCollectionMode::kOwnOnly, filter,
                             v8::IndexFilter::kIncludeIndices,
                             v8::KeyConversionMode::kConvertToString)
             .ToLocal(&names))
        return false;
    uint32_t n = names->Length();
    isola_mp_map(out_, n);
    Step step(this, Step::Name);
    for (uint32_t i = 0; i < n; i++) {
        v8::Local<v8::Value> value;
        pin_objects();
        if (ended() || !names->Get(context_, i).ToLocal(&step.name) ||
            !o->Get(context_, step.name).ToLocal(&value))
            return false;
        if (!name(step.name) || !write(value, depth + 1))
            return false;
    }
    return true;
}

bool Encoder::stream(v8::Local<v8::Object> o)
{
    if (!streams_)
        return refuse("a stream can be sent in a message or an answer, and in nothing that is "
                      "kept, copied, durable or for several");
    if (attempt_ == 0)
        attempt_ = ++js_->v->attempts;
    v8::Local<v8::Value> end;
    if (!stream_end(js_, attempt_, o).ToLocal(&end))
        return false;
    if (!end->IsArray())
        return refuse(utf8(isolate_, end, 200).c_str());
    v8::Local<v8::Value> item[4];
    for (uint32_t i = 0; i < 4; i++)
        if (!end.As<v8::Object>()->Get(context_, i).ToLocal(&item[i]))
            return false;
    size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_STREAM);
    isola_mp_array(out_, 4);
    for (uint32_t i = 0; i < 2; i++)
        isola_mp_str(out_, Utf8(isolate_, item[i]).slice());
    for (uint32_t i = 2; i < 4; i++)
        isola_mp_uint(out_, item[i]->IsUint32() ? item[i].As<v8::Uint32>()->Value() : 0);
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

bool Encoder::view(v8::Local<v8::ArrayBufferView> view)
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
    if (to != nullptr && n >= kOutside)
        copy_long(to, static_cast<const uint8_t *>(view->Buffer()->Data()) + view->ByteOffset(), n);
    else if (to != nullptr && n > 0)
        view->CopyContents(to, n);
    if (kind != 0)
        isola_mp_ext_end(out_, begun);
    return true;
}

bool Encoder::buffer(v8::Local<v8::ArrayBuffer> b)
{
    size_t n = b->ByteLength();
    if (!room(n))
        return false;
    isola_mp_ext(out_, ISOLA_EXT_ARRAY_BUFFER, isola_slice(b->Data(), n));
    return true;
}

bool Encoder::date(double ms)
{
    uint64_t bits;
    memcpy(&bits, &ms, 8);
    uint8_t be[8];
    for (int i = 0; i < 8; i++)
        be[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
    isola_mp_ext(out_, ISOLA_EXT_DATE, isola_slice(be, 8));
    return true;
}

bool Encoder::map(v8::Local<v8::Map> m, int depth)
{
    v8::Local<v8::Array> items = m->AsArray();
    size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_MAP);
    Step step(this, Step::MapKey);
    for (uint32_t i = 0; i < items->Length(); i++) {
        step.kind = i % 2 ? Step::MapValue : Step::MapKey;
        step.index = i / 2;
        if (!write_item(items, i, depth + 1))
            return false;
    }
    isola_mp_ext_end(out_, begun);
    return true;
}

bool Encoder::set(v8::Local<v8::Set> s, int depth)
{
    v8::Local<v8::Array> items = s->AsArray();
    size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_SET);
    Step step(this, Step::SetItem);
    for (uint32_t i = 0; i < items->Length(); i++) {
        step.index = i;
        if (!write_item(items, i, depth + 1))
            return false;
    }
    isola_mp_ext_end(out_, begun);
    return true;
}

bool Encoder::regexp(v8::Local<v8::RegExp> r)
{
    std::string flags;
    int bits = r->GetFlags();
    for (auto &f : regexp_flags)
        if (bits & f.bit)
            flags += f.letter;
    size_t begun = isola_mp_ext_begin(out_, ISOLA_EXT_REGEXP);
    if (!name(r->GetSource()))
        return false;
    isola_mp_str(out_, isola_slice(flags.data(), flags.size()));
    isola_mp_ext_end(out_, begun);
    return true;
}

bool Encoder::error(v8::Local<v8::Object> e, int depth)
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
    Step step(this, Step::Name);
    for (int i = 0; i < 5; i++) {
        if (values[i].IsEmpty())
            continue;
        isola_mp_cstr(out_, names[i]);
        pin_objects();
        step.name = text(isolate_, names[i]);
        if (i < 4 && values[i]->IsString() ? !name(values[i]) : !write(values[i], depth + 2))
            return false;
    }
    isola_mp_ext_end(out_, begun);
    return true;
}

} // namespace isola
