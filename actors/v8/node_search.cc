// SPDX-License-Identifier: Apache-2.0
//
// Comparing, searching, filling and copying bytes, for Buffer; see node_buffer.cc.
#include <algorithm>
#include <cstring>

#include "actors/v8/encodings.hh"
#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

int order(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    size_t n = std::min(a_len, b_len);
    int r = n > 0 ? memcmp(a, b, n) : 0;
    if (r != 0)
        return r > 0 ? 1 : -1;
    return a_len == b_len ? 0 : a_len > b_len ? 1 : -1;
}

void compare(Info info)
{
    BytesOf a(info[0]), b(info[1]);
    info.GetReturnValue().Set(order(a.data, a.len, b.data, b.len));
}

// compareOffset(source, target, targetStart, sourceStart, targetEnd, sourceEnd)
void compare_offset(Info info)
{
    BytesOf source(info[0]), target(info[1]);
    size_t target_start = offset_of(info, 2, 0, target.len),
           source_start = offset_of(info, 3, 0, source.len);
    size_t target_end = offset_of(info, 4, target.len, target.len),
           source_end = offset_of(info, 5, source.len, source.len);
    info.GetReturnValue().Set(
        order(source.data + source_start, std::max(source_end, source_start) - source_start,
              target.data + target_start, std::max(target_end, target_start) - target_start));
}

// copy(source, target, targetStart, sourceStart, n) → bytes copied
void copy(Info info)
{
    BytesOf source(info[0]), target(info[1]);
    size_t to = offset_of(info, 2, 0, target.len), from = offset_of(info, 3, 0, source.len);
    size_t n = offset_of(info, 4, 0, std::min(target.len - to, source.len - from));
    if (n > 0)
        memmove(target.data + to, source.data + from, n);
    info.GetReturnValue().Set(static_cast<double>(n));
}

// copyArrayBuffer(target, targetStart, source, sourceStart, n)
void copy_array_buffer(Info info)
{
    BytesOf target(info[0]), source(info[2]);
    size_t to = offset_of(info, 1, 0, target.len), from = offset_of(info, 3, 0, source.len);
    size_t n = offset_of(info, 4, 0, std::min(target.len - to, source.len - from));
    if (n > 0)
        memmove(target.data + to, source.data + from, n);
}

// fill(buffer, value, offset, end, encoding) → -1: the value has no bytes, -2: out of range
void fill(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    BytesOf b(info[0]);
    size_t start = offset_of(info, 2, 0, b.len), end = offset_of(info, 3, b.len, b.len);
    std::string pattern;
    if (!b.ok || start > end) {
        info.GetReturnValue().Set(-2);
        return;
    }
    if (info[1]->IsString()) {
        Encoding encoding = Encoding::Utf8;
        encoding_named(utf8(isolate, info[4]), &encoding);
        pattern = string_to_bytes(isolate, encoding, info[1].As<v8::String>());
    } else if (BytesOf bytes(info[1]); bytes.ok) {
        pattern.assign(reinterpret_cast<const char *>(bytes.data), bytes.len);
    } else {
        pattern.assign(1,
                       static_cast<char>(
                           info[1]->Uint32Value(isolate->GetCurrentContext()).FromMaybe(0) & 255));
    }
    if (pattern.empty()) {
        info.GetReturnValue().Set(-1);
        return;
    }
    BytesOf again(info[0]); // a valueOf of the script's may have changed it
    end = std::min(end, again.len);
    for (size_t at = start; at < end; at += pattern.size())
        memcpy(again.data + at, pattern.data(), std::min(pattern.size(), end - at));
}

// Where a search of `n` bytes begins, from an offset that may count from the end. -1: nowhere.
int64_t begin_at(int64_t len, double offset, int64_t n, bool forward)
{
    int64_t at = offset != offset                     ? (forward ? 0 : len)
                 : offset > static_cast<double>(len)  ? len
                 : offset < -static_cast<double>(len) ? -len - 1
                                                      : static_cast<int64_t>(offset);
    if (at < 0) {
        if (at + len >= 0)
            return len + at;
        return forward || n == 0 ? 0 : -1;
    }
    if (at + n <= len)
        return at;
    if (n == 0)
        return len;
    return forward ? -1 : len - 1;
}

// `unit`: 2 for UTF-16, whose characters lie at even offsets.
double find(const BytesOf &hay, size_t hay_len, const uint8_t *needle, size_t n, double offset,
            bool forward, size_t unit)
{
    int64_t begin =
        begin_at(static_cast<int64_t>(hay_len), offset, static_cast<int64_t>(n), forward);
    if (n == 0)
        return static_cast<double>(begin);
    if (hay_len == 0 || begin < 0 || n > hay_len || (unit == 2 && (n < 2 || hay_len < 2)))
        return -1;
    size_t at = static_cast<size_t>(begin) / unit * unit;
    size_t last = (hay_len - n) / unit * unit;
    if (forward) {
        while (at <= last) {
            auto *hit =
                static_cast<const uint8_t *>(memmem(hay.data + at, hay_len - at, needle, n));
            if (hit == nullptr)
                return -1;
            at = static_cast<size_t>(hit - hay.data);
            if (at % unit == 0)
                return static_cast<double>(at);
            at++;
        }
        return -1;
    }
    for (at = std::min(at, last);; at -= unit) {
        if (memcmp(hay.data + at, needle, n) == 0)
            return static_cast<double>(at);
        if (at < unit)
            return -1;
    }
}

double number_arg(Info info, int i)
{
    return info[i]->IsNumber() ? info[i].As<v8::Number>()->Value() : 0;
}

Encoding encoding_arg(Info info, int i)
{
    double n = number_arg(info, i);
    return n >= 0 && n <= static_cast<double>(Encoding::Base64Url)
               ? static_cast<Encoding>(static_cast<int>(n))
               : Encoding::Utf8;
}

// indexOfString(buffer, string, offset, encoding, forward, end)
void index_of_string(Info info)
{
    BytesOf b(info[0]);
    if (!b.ok || !info[1]->IsString()) {
        throw_type_error(info.GetIsolate(), "ERR_INVALID_ARG_TYPE", "argument must be a buffer");
        return;
    }
    Encoding encoding = encoding_arg(info, 3);
    std::string needle = string_to_bytes(info.GetIsolate(), encoding, info[1].As<v8::String>());
    size_t unit = encoding == Encoding::Utf16 ? 2 : 1;
    info.GetReturnValue().Set(find(b, offset_of(info, 5, b.len, b.len) / unit * unit,
                                   reinterpret_cast<const uint8_t *>(needle.data()), needle.size(),
                                   number_arg(info, 2), info[4]->IsTrue(), unit));
}

// indexOfBuffer(buffer, bytes, offset, encoding, forward, end)
void index_of_buffer(Info info)
{
    BytesOf b(info[0]), needle(info[1]);
    if (!b.ok || !needle.ok) {
        throw_type_error(info.GetIsolate(), "ERR_INVALID_ARG_TYPE", "argument must be a buffer");
        return;
    }
    info.GetReturnValue().Set(find(b, offset_of(info, 5, b.len, b.len), needle.data, needle.len,
                                   number_arg(info, 2), info[4]->IsTrue(),
                                   encoding_arg(info, 3) == Encoding::Utf16 ? 2 : 1));
}

// indexOfNumber(buffer, byte, offset, forward, end)
void index_of_number(Info info)
{
    BytesOf b(info[0]);
    uint8_t byte = static_cast<uint8_t>(
        info[1]->Uint32Value(info.GetIsolate()->GetCurrentContext()).FromMaybe(0));
    info.GetReturnValue().Set(find(b, offset_of(info, 4, b.len, b.len), &byte, 1,
                                   number_arg(info, 2), info[3]->IsTrue(), 1));
}

template <size_t width> void swap(Info info)
{
    BytesOf b(info[0]);
    for (size_t at = 0; at + width <= b.len; at += width)
        std::reverse(b.data + at, b.data + at + width);
    info.GetReturnValue().Set(info[0]);
}

const Native functions[] = {
    {"compare", compare},
    {"compareOffset", compare_offset},
    {"copy", copy},
    {"copyArrayBuffer", copy_array_buffer},
    {"fill", fill},
    {"indexOfString", index_of_string},
    {"indexOfBuffer", index_of_buffer},
    {"indexOfNumber", index_of_number},
    {"swap16", swap<2>},
    {"swap32", swap<4>},
    {"swap64", swap<8>},
};

} // namespace

const NativeGroup search_natives = {"search", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
