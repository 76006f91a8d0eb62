// SPDX-License-Identifier: Apache-2.0
//
// Comparing, searching, filling and copying bytes, for Buffer; see node_buffer.cc.
//
// Buffers may be as large as the limit of an isolate's array buffers, and needles adversarial: all
// of it goes in pieces of some milliseconds at the most, between which a script can be ended.
#include <algorithm>
#include <cstring>

#include "actors/v8/encodings.hh"
#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

constexpr size_t kLargePiece = 16 * kPiece; // of what goes at the speed of memory

int order(v8::Isolate *isolate, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    size_t n = std::min(a_len, b_len);
    int r = 0;
    for (size_t at = 0; at < n && r == 0 && !ending(isolate); at += kLargePiece)
        r = memcmp(a + at, b + at, std::min(kLargePiece, n - at));
    if (r != 0)
        return r > 0 ? 1 : -1;
    return a_len == b_len ? 0 : a_len > b_len ? 1 : -1;
}

// memmove.
void move(v8::Isolate *isolate, uint8_t *to, const uint8_t *from, size_t n)
{
    bool up = to <= from; // or else what is not moved yet would be written over
    for (size_t done = 0; done < n && !ending(isolate);) {
        size_t piece = std::min(kLargePiece, n - done), at = up ? done : n - done - piece;
        memmove(to + at, from + at, piece);
        done += piece;
    }
}

void compare(Info info)
{
    BytesOf a(info[0]), b(info[1]);
    info.GetReturnValue().Set(order(info.GetIsolate(), a.data, a.len, b.data, b.len));
}

// compareOffset(source, target, targetStart, sourceStart, targetEnd, sourceEnd)
void compare_offset(Info info)
{
    BytesOf source(info[0]), target(info[1]);
    size_t target_start = offset_of(info, 2, 0, target.len),
           source_start = offset_of(info, 3, 0, source.len);
    size_t target_end = offset_of(info, 4, target.len, target.len),
           source_end = offset_of(info, 5, source.len, source.len);
    info.GetReturnValue().Set(order(info.GetIsolate(), source.data + source_start,
                                    std::max(source_end, source_start) - source_start,
                                    target.data + target_start,
                                    std::max(target_end, target_start) - target_start));
}

// copy(source, target, targetStart, sourceStart, n) → bytes copied
void copy(Info info)
{
    BytesOf source(info[0]), target(info[1]);
    size_t to = offset_of(info, 2, 0, target.len), from = offset_of(info, 3, 0, source.len);
    size_t n = offset_of(info, 4, 0, std::min(target.len - to, source.len - from));
    move(info.GetIsolate(), target.data + to, source.data + from, n);
    info.GetReturnValue().Set(static_cast<double>(n));
}

// copyArrayBuffer(target, targetStart, source, sourceStart, n)
void copy_array_buffer(Info info)
{
    BytesOf target(info[0]), source(info[2]);
    size_t to = offset_of(info, 1, 0, target.len), from = offset_of(info, 3, 0, source.len);
    size_t n = offset_of(info, 4, 0, std::min(target.len - to, source.len - from));
    move(info.GetIsolate(), target.data + to, source.data + from, n);
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
    // What is filled already is the pattern for more.
    uint8_t *from = again.data + start;
    size_t n = end > start ? end - start : 0, have = std::min(pattern.size(), n);
    if (have > 0)
        memcpy(from, pattern.data(), have);
    while (have < n && !ending(isolate)) {
        size_t whole =
            std::min(have, std::max(pattern.size(), kPiece / pattern.size() * pattern.size()));
        size_t piece = std::min(whole, n - have);
        memcpy(from + have, from, piece);
        have += piece;
    }
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

// Are they the same?
bool same(v8::Isolate *isolate, const uint8_t *a, const uint8_t *b, size_t n)
{
    for (size_t at = 0; at < n; at += kPiece)
        if (memcmp(a + at, b + at, std::min(kPiece, n - at)) != 0 || ending(isolate))
            return false;
    return true;
}

// What is searched for in one go, of a needle, and in how much: glibc looks for short needles in a
// time that may be their product, and for long ones in their sum.
constexpr size_t kShortNeedle = 256, kLongNeedle = 32 * kPiece;

// The first place at `at` or after it, up to `last`, or SIZE_MAX.
size_t find_forward(v8::Isolate *isolate, const uint8_t *hay, size_t at, size_t last,
                    const uint8_t *needle, size_t n)
{
    size_t head = std::min(n, kLongNeedle),
           room = n <= kShortNeedle ? kPiece / 8 : std::max(head, 4 * kPiece);
    while (at <= last && !ending(isolate)) {
        size_t places = std::min(room, last - at + 1);
        auto *hit = static_cast<const uint8_t *>(memmem(hay + at, places + head - 1, needle, head));
        if (hit == nullptr) {
            at += places;
            continue;
        }
        at = static_cast<size_t>(hit - hay);
        if (same(isolate, hit + head, needle + head, n - head))
            return at;
        at++;
    }
    return SIZE_MAX;
}

// The last place at `at` or before it, or SIZE_MAX.
size_t find_backward(v8::Isolate *isolate, const uint8_t *hay, size_t at, const uint8_t *needle,
                     size_t n)
{
    size_t compared = 0;
    for (;;) {
        size_t room = std::min(at + 1, kLargePiece);
        auto *hit = static_cast<const uint8_t *>(memrchr(hay + at + 1 - room, needle[0], room));
        if (hit != nullptr && same(isolate, hit, needle, n))
            return static_cast<size_t>(hit - hay);
        compared += hit != nullptr ? std::min(n, size_t{4096}) : room;
        if (compared > kPiece) {
            if (ending(isolate))
                return SIZE_MAX;
            compared = 0;
        }
        size_t past = hit != nullptr ? static_cast<size_t>(hit - hay) : at + 1 - room;
        if (past == 0)
            return SIZE_MAX;
        at = past - 1;
    }
}

// `unit`: 2 for UTF-16, whose characters lie at even offsets.
double find(v8::Isolate *isolate, const BytesOf &hay, size_t hay_len, const uint8_t *needle,
            size_t n, double offset, bool forward, size_t unit)
{
    int64_t begin =
        begin_at(static_cast<int64_t>(hay_len), offset, static_cast<int64_t>(n), forward);
    if (n == 0)
        return static_cast<double>(begin);
    if (hay_len == 0 || begin < 0 || n > hay_len || (unit == 2 && (n < 2 || hay_len < 2)))
        return -1;
    size_t at = static_cast<size_t>(begin) / unit * unit;
    size_t last = (hay_len - n) / unit * unit;
    if (!forward)
        at = std::min(at, last);
    for (;;) {
        at = forward ? find_forward(isolate, hay.data, at, last, needle, n)
                     : find_backward(isolate, hay.data, at, needle, n);
        if (at == SIZE_MAX || ending(isolate))
            return -1;
        if (at % unit == 0)
            return static_cast<double>(at);
        at += forward ? 1 : static_cast<size_t>(-1); // an odd one is not the first
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
    v8::Isolate *isolate = info.GetIsolate();
    std::string needle = string_to_bytes(isolate, encoding, info[1].As<v8::String>());
    size_t unit = encoding == Encoding::Utf16 ? 2 : 1;
    info.GetReturnValue().Set(find(isolate, b, offset_of(info, 5, b.len, b.len) / unit * unit,
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
    info.GetReturnValue().Set(find(info.GetIsolate(), b, offset_of(info, 5, b.len, b.len),
                                   needle.data, needle.len, number_arg(info, 2), info[4]->IsTrue(),
                                   encoding_arg(info, 3) == Encoding::Utf16 ? 2 : 1));
}

// indexOfNumber(buffer, byte, offset, forward, end)
void index_of_number(Info info)
{
    BytesOf b(info[0]);
    uint8_t byte = static_cast<uint8_t>(
        info[1]->Uint32Value(info.GetIsolate()->GetCurrentContext()).FromMaybe(0));
    info.GetReturnValue().Set(find(info.GetIsolate(), b, offset_of(info, 4, b.len, b.len), &byte, 1,
                                   number_arg(info, 2), info[3]->IsTrue(), 1));
}

template <size_t width> void swap(Info info)
{
    BytesOf b(info[0]);
    for (size_t at = 0; at + width <= b.len && !ending(info.GetIsolate());)
        for (size_t end = std::min(b.len, at + kPiece); at + width <= end; at += width)
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
