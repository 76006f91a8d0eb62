// SPDX-License-Identifier: Apache-2.0
//
// Bytes ↔ strings, for Buffer, TextEncoder, TextDecoder, atob and btoa: what Node.js' own library
// has in C++. The functions have the names, arguments and results its lib/ expects of
// `internalBinding('buffer')` and `internalBinding('encoding_binding')`.
#include <algorithm>
#include <cstring>

#include "actors/v8/encodings.hh"
#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

// The bytes of argument `i`; throws what Node.js throws when it is no buffer.
BytesOf buffer_arg(Info info, int i)
{
    BytesOf b(info[i]);
    if (!b.ok)
        throw_type_error(info.GetIsolate(), "ERR_INVALID_ARG_TYPE", "argument must be a buffer");
    return b;
}

// slice(buffer, start, end) → string
template <Encoding encoding> void slice(Info info)
{
    BytesOf b = buffer_arg(info, 0);
    if (!b.ok)
        return;
    size_t start = offset_of(info, 1, 0, b.len), end = offset_of(info, 2, b.len, b.len);
    v8::Local<v8::String> s;
    if (end < start)
        end = start;
    if (bytes_to_string(info.GetIsolate(), encoding, b.data + start, end - start).ToLocal(&s))
        info.GetReturnValue().Set(s);
}

// write(buffer, string, offset, length) → bytes written
template <Encoding encoding> void write(Info info)
{
    BytesOf b = buffer_arg(info, 0);
    if (!b.ok)
        return;
    if (!info[1]->IsString()) {
        throw_type_error(info.GetIsolate(), "ERR_INVALID_ARG_TYPE", "argument must be a string");
        return;
    }
    size_t offset = offset_of(info, 2, 0, b.len);
    size_t room = offset_of(info, 3, b.len - offset, b.len - offset);
    size_t n = string_to_bytes(info.GetIsolate(), encoding, info[1].As<v8::String>(),
                               b.data + offset, room);
    info.GetReturnValue().Set(static_cast<double>(n));
}

void byte_length_utf8(Info info)
{
    size_t n = info[0]->IsString() ? info[0].As<v8::String>()->Utf8LengthV2(info.GetIsolate()) : 0;
    info.GetReturnValue().Set(static_cast<double>(n));
}

// btoa(string) → string, -1: it has a character beyond Latin-1
void btoa(Info info)
{
    if (!info[0]->IsString())
        return;
    auto s = info[0].As<v8::String>();
    if (!s->ContainsOnlyOneByte()) {
        info.GetReturnValue().Set(-1);
        return;
    }
    std::string bytes(static_cast<size_t>(s->Length()), '\0');
    s->WriteOneByteV2(info.GetIsolate(), 0, static_cast<uint32_t>(bytes.size()),
                      reinterpret_cast<uint8_t *>(bytes.data()));
    v8::Local<v8::String> encoded;
    if (bytes_to_string(info.GetIsolate(), Encoding::Base64,
                        reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size())
            .ToLocal(&encoded))
        info.GetReturnValue().Set(encoded);
}

// atob(string) → string, -1: one character is left over, -2: an invalid one. The "forgiving-base64
// decode" of the Infra standard.
void atob(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    if (!info[0]->IsString())
        return;
    auto s = info[0].As<v8::String>();
    bool invalid = !s->ContainsOnlyOneByte();
    std::string kept(invalid ? 0 : static_cast<size_t>(s->Length()), '\0');
    s->WriteOneByteV2(isolate, 0, static_cast<uint32_t>(kept.size()),
                      reinterpret_cast<uint8_t *>(kept.data()));
    size_t n = 0;
    for (size_t i = 0; i < kept.size(); i++) { // without white space
        char c = kept[i];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\f' && c != '\r')
            kept[n++] = c;
        if (i % kPiece == kPiece - 1 && ending(isolate))
            return;
    }
    for (int i = 0;
         i < 2 && n % 4 == static_cast<size_t>(i == 0 ? 0 : 3) && n > 0 && kept[n - 1] == '='; i++)
        n--;
    kept.resize(n);
    for (size_t i = 0; i < n && !invalid; i++) {
        invalid = base64_digit(static_cast<uint8_t>(kept[i]), false) < 0;
        if (i % kPiece == kPiece - 1 && ending(isolate))
            return;
    }
    if (invalid || n % 4 == 1) {
        info.GetReturnValue().Set(invalid ? -2 : -1);
        return;
    }
    std::string bytes(n, '\0');
    n = base64_decode(isolate, kept, reinterpret_cast<uint8_t *>(bytes.data()), bytes.size());
    v8::Local<v8::String> decoded;
    if (bytes_to_string(isolate, Encoding::Latin1, reinterpret_cast<const uint8_t *>(bytes.data()),
                        n)
            .ToLocal(&decoded))
        info.GetReturnValue().Set(decoded);
}

void is_utf8(Info info)
{
    BytesOf b = buffer_arg(info, 0);
    if (b.ok)
        info.GetReturnValue().Set(valid_utf8(info.GetIsolate(), b.data, b.len));
}

void is_ascii(Info info)
{
    BytesOf b = buffer_arg(info, 0);
    bool ascii = true;
    for (size_t at = 0; at < b.len && ascii && !ending(info.GetIsolate()); at += kPiece)
        ascii = std::all_of(b.data + at, b.data + std::min(b.len, at + kPiece),
                            [](uint8_t c) { return c < 0x80; });
    if (b.ok)
        info.GetReturnValue().Set(ascii);
}

// encodeUtf8String(string) → Uint8Array
void encode_utf8(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    if (!info[0]->IsString())
        return;
    auto s = info[0].As<v8::String>();
    size_t n = s->Utf8LengthV2(isolate);
    v8::Local<v8::ArrayBuffer> buffer;
    if (!v8::ArrayBuffer::MaybeNew(isolate, n).ToLocal(&buffer)) {
        isolate->ThrowException(
            v8::Exception::RangeError(text(isolate, "Array buffer allocation failed")));
        return;
    }
    s->WriteUtf8V2(isolate, static_cast<char *>(buffer->Data()), n,
                   v8::String::WriteFlags::kReplaceInvalidUtf8);
    info.GetReturnValue().Set(v8::Uint8Array::New(buffer, 0, n));
}

// encodeInto(string, Uint8Array, Uint32Array of two: characters read, bytes written)
void encode_into(Info info)
{
    if (!info[0]->IsString() || !info[1]->IsUint8Array() || !info[2]->IsUint32Array())
        return;
    BytesOf to(info[1]), results(info[2]);
    if (results.len < 8)
        return;
    size_t read = 0;
    size_t written = info[0].As<v8::String>()->WriteUtf8V2(
        info.GetIsolate(), reinterpret_cast<char *>(to.data), to.len,
        v8::String::WriteFlags::kReplaceInvalidUtf8, &read);
    uint32_t both[2] = {static_cast<uint32_t>(read), static_cast<uint32_t>(written)};
    memcpy(results.data, both, sizeof(both));
}

// decodeUTF8(bytes, ignoreBOM, fatal) → string
void decode_utf8(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    BytesOf b(info[0]);
    if (!b.ok) {
        throw_type_error(isolate, "ERR_INVALID_ARG_TYPE",
                         "The \"list\" argument must be an instance of SharedArrayBuffer, "
                         "ArrayBuffer or ArrayBufferView.");
        return;
    }
    if (info[2]->IsTrue() && !valid_utf8(info.GetIsolate(), b.data, b.len)) {
        throw_type_error(isolate, "ERR_ENCODING_INVALID_ENCODED_DATA",
                         "The encoded data was not valid for encoding utf-8");
        return;
    }
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};
    size_t skip =
        !info[1]->BooleanValue(isolate) && b.len >= 3 && memcmp(b.data, bom, 3) == 0 ? 3 : 0;
    v8::Local<v8::String> s;
    if (bytes_to_string(isolate, Encoding::Utf8, b.data + skip, b.len - skip).ToLocal(&s))
        info.GetReturnValue().Set(s);
}

// createUnsafeArrayBuffer(size): zeroed all the same, since isolates share a process
void create_array_buffer(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    double size = info[0]->IsNumber() ? info[0].As<v8::Number>()->Value() : -1;
    v8::Local<v8::ArrayBuffer> buffer;
    if (size >= 0 && size <= static_cast<double>(v8::TypedArray::kMaxByteLength) &&
        v8::ArrayBuffer::MaybeNew(isolate, static_cast<size_t>(size)).ToLocal(&buffer))
        info.GetReturnValue().Set(buffer);
    else
        isolate->ThrowException(
            v8::Exception::RangeError(text(isolate, "Array buffer allocation failed")));
}

// arrayBufferAlignedOffset(buffer, alignment): the first offset of an aligned byte
void aligned_offset(Info info)
{
    BytesOf b(info[0]);
    size_t alignment = offset_of(info, 1, 1, 1u << 20);
    uintptr_t past = alignment > 1 ? reinterpret_cast<uintptr_t>(b.data) % alignment : 0;
    info.GetReturnValue().Set(static_cast<double>(past == 0 ? 0 : alignment - past));
}

const Native functions[] = {
    {"asciiSlice", slice<Encoding::Ascii>},
    {"base64Slice", slice<Encoding::Base64>},
    {"base64urlSlice", slice<Encoding::Base64Url>},
    {"latin1Slice", slice<Encoding::Latin1>},
    {"hexSlice", slice<Encoding::Hex>},
    {"ucs2Slice", slice<Encoding::Utf16>},
    {"utf8Slice", slice<Encoding::Utf8>},
    {"asciiWriteStatic", write<Encoding::Latin1>},
    {"latin1WriteStatic", write<Encoding::Latin1>},
    {"utf8WriteStatic", write<Encoding::Utf8>},
    {"base64Write", write<Encoding::Base64>},
    {"base64urlWrite", write<Encoding::Base64Url>},
    {"hexWrite", write<Encoding::Hex>},
    {"ucs2Write", write<Encoding::Utf16>},
    {"byteLengthUtf8", byte_length_utf8},
    {"btoa", btoa},
    {"atob", atob},
    {"isUtf8", is_utf8},
    {"isAscii", is_ascii},
    {"encodeUtf8String", encode_utf8},
    {"encodeInto", encode_into},
    {"decodeUTF8", decode_utf8},
    {"createUnsafeArrayBuffer", create_array_buffer},
    {"arrayBufferAlignedOffset", aligned_offset},
};

} // namespace

const NativeGroup buffer_natives = {"buffer", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
