// SPDX-License-Identifier: Apache-2.0
#include "actors/v8/encodings.hh"

#include <strings.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace isola
{
namespace
{

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kBase64Url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

v8::MaybeLocal<v8::String> one_byte(v8::Isolate *isolate, const uint8_t *data, size_t len)
{
    v8::Local<v8::String> s;
    if (len == 0)
        return v8::String::Empty(isolate);
    if (len <= static_cast<size_t>(v8::String::kMaxLength) &&
        v8::String::NewFromOneByte(isolate, data, v8::NewStringType::kNormal, static_cast<int>(len))
            .ToLocal(&s))
        return s;
    isolate->ThrowException(make_error(isolate, "ERR_STRING_TOO_LONG",
                                       "Cannot create a string longer than 0x1fffffe8 characters"));
    return {};
}

v8::MaybeLocal<v8::String> one_byte(v8::Isolate *isolate, const std::string &s)
{
    return one_byte(isolate, reinterpret_cast<const uint8_t *>(s.data()), s.size());
}

// Calls `piece(from, to)` for [0, n) in pieces. False: the script is to end.
template <class F> bool in_pieces(v8::Isolate *isolate, size_t n, F piece, size_t size = kPiece)
{
    for (size_t at = 0; at < n; at += size) {
        piece(at, std::min(n, at + size));
        if (ending(isolate))
            return false;
    }
    return true;
}

// Empty when the script is to end.
std::string to_base64(v8::Isolate *isolate, const uint8_t *data, size_t len, bool url)
{
    const char *digits = url ? kBase64Url : kBase64;
    std::string out((len + 2) / 3 * 4, '=');
    size_t n = 0;
    auto piece = [&](size_t at, size_t end) {
        for (; at + 3 <= end; at += 3) {
            uint32_t v = static_cast<uint32_t>(data[at]) << 16 |
                         static_cast<uint32_t>(data[at + 1]) << 8 | data[at + 2];
            for (int shift = 18; shift >= 0; shift -= 6)
                out[n++] = digits[v >> shift & 63];
        }
        if (at == end)
            return;
        uint32_t v = static_cast<uint32_t>(data[at]) << 16 |
                     (end - at > 1 ? static_cast<uint32_t>(data[at + 1]) << 8 : 0);
        for (size_t k = 0; k <= end - at; k++)
            out[n++] = digits[v >> (18 - 6 * k) & 63];
    };
    if (!in_pieces(isolate, len, piece, 3 * kPiece))
        return {};
    if (url)
        out.resize(n);
    return out;
}

int hex_digit(uint16_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Its low bytes: enough for alphabets of ASCII, when what does not fit was replaced by what belongs
// to none. Empty when the script is to end.
std::string low_bytes(v8::Isolate *isolate, v8::Local<v8::String> s)
{
    std::string out(static_cast<size_t>(s->Length()), '\0');
    bool one_byte = s->IsOneByte();
    uint16_t units[4096];
    auto piece = [&](size_t at, size_t end) {
        auto from = static_cast<uint32_t>(at), n = static_cast<uint32_t>(end - at);
        if (one_byte) {
            s->WriteOneByteV2(isolate, from, n, reinterpret_cast<uint8_t *>(out.data()) + at);
            return;
        }
        s->WriteV2(isolate, from, n, units);
        std::transform(units, units + n, out.begin() + static_cast<ptrdiff_t>(at),
                       [](uint16_t u) { return u < 0x80 ? static_cast<char>(u) : '\x80'; });
    };
    if (!in_pieces(isolate, out.size(), piece, std::size(units)))
        return {};
    return out;
}

} // namespace

int base64_digit(uint8_t c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || (url && c == '-'))
        return 62;
    return c == '/' || (url && c == '_') ? 63 : -1;
}

size_t base64_decode(v8::Isolate *isolate, const std::string &digits, uint8_t *to, size_t room)
{
    uint32_t v = 0;
    int bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < digits.size(); i++) {
        char c = digits[i];
        int digit = base64_digit(static_cast<uint8_t>(c), true);
        if (c == '=' || (i % kPiece == kPiece - 1 && ending(isolate)))
            break;
        if (digit < 0)
            continue;
        v = v << 6 | static_cast<uint32_t>(digit);
        bits += 6;
        if (bits < 8)
            continue;
        if (n == room)
            break;
        bits -= 8;
        to[n++] = static_cast<uint8_t>(v >> bits);
    }
    return n;
}

bool valid_utf8(v8::Isolate *isolate, const uint8_t *data, size_t len)
{
    for (size_t i = 0, look = kPiece; i < len;) {
        uint8_t c = data[i++];
        if (i >= look) {
            if (ending(isolate))
                return false;
            look = i + kPiece;
        }
        if (c < 0x80)
            continue;
        size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || len - i < more)
            return false;
        uint8_t low = c == 0xe0   ? 0xa0
                      : c == 0xf0 ? 0x90
                                  : 0x80,
                high = c == 0xed   ? 0x9f
                       : c == 0xf4 ? 0x8f
                                   : 0xbf;
        if (data[i] < low || data[i] > high)
            return false;
        for (size_t k = 1; k < more; k++)
            if ((data[i + k] & 0xc0) != 0x80)
                return false;
        i += more;
    }
    return true;
}

bool encoding_named(const std::string &name, Encoding *out)
{
    static const struct {
        const char *name;
        Encoding encoding;
    } names[] = {{"utf8", Encoding::Utf8},           {"utf-8", Encoding::Utf8},
                 {"ucs2", Encoding::Utf16},          {"ucs-2", Encoding::Utf16},
                 {"utf16le", Encoding::Utf16},       {"utf-16le", Encoding::Utf16},
                 {"latin1", Encoding::Latin1},       {"binary", Encoding::Latin1},
                 {"ascii", Encoding::Latin1},        {"base64", Encoding::Base64},
                 {"base64url", Encoding::Base64Url}, {"hex", Encoding::Hex}};
    for (auto &n : names) {
        if (strcasecmp(n.name, name.c_str()) != 0)
            continue;
        *out = n.encoding;
        return true;
    }
    return false;
}

v8::MaybeLocal<v8::String> bytes_to_string(v8::Isolate *isolate, Encoding encoding,
                                           const uint8_t *data, size_t len)
{
    switch (encoding) {
    case Encoding::Utf8: {
        v8::Local<v8::String> s;
        if (len == 0)
            return v8::String::Empty(isolate);
        // A character of a string takes three bytes at the most.
        if (len <= static_cast<size_t>(v8::String::kMaxLength) * 3 &&
            v8::String::NewFromUtf8(isolate, reinterpret_cast<const char *>(data),
                                    v8::NewStringType::kNormal, static_cast<int>(len))
                .ToLocal(&s))
            return s;
        isolate->ThrowException(
            make_error(isolate, "ERR_STRING_TOO_LONG",
                       "Cannot create a string longer than 0x1fffffe8 characters"));
        return {};
    }
    case Encoding::Utf16: {
        if (len / 2 > static_cast<size_t>(v8::String::kMaxLength))
            return one_byte(isolate, data, SIZE_MAX);
        std::vector<uint16_t> copy;
        auto *units = reinterpret_cast<const uint16_t *>(data);
        if (len >= 2 && reinterpret_cast<uintptr_t>(data) % alignof(uint16_t) != 0) {
            copy.resize(len / 2);
            memcpy(copy.data(), data, len / 2 * 2);
            units = copy.data();
        }
        v8::Local<v8::String> s;
        if (len < 2)
            return v8::String::Empty(isolate);
        if (v8::String::NewFromTwoByte(isolate, units, v8::NewStringType::kNormal,
                                       static_cast<int>(len / 2))
                .ToLocal(&s))
            return s;
        isolate->ThrowException(
            make_error(isolate, "ERR_STRING_TOO_LONG",
                       "Cannot create a string longer than 0x1fffffe8 characters"));
        return {};
    }
    case Encoding::Base64:
    case Encoding::Base64Url:
        if (len > static_cast<size_t>(v8::String::kMaxLength) / 4 * 3)
            return one_byte(isolate, data, SIZE_MAX);
        return one_byte(isolate, to_base64(isolate, data, len, encoding == Encoding::Base64Url));
    case Encoding::Hex: {
        if (len > static_cast<size_t>(v8::String::kMaxLength) / 2)
            return one_byte(isolate, data, SIZE_MAX);
        std::string out(len * 2, '\0');
        auto piece = [&](size_t i, size_t end) {
            for (; i < end; i++) {
                out[2 * i] = "0123456789abcdef"[data[i] >> 4];
                out[2 * i + 1] = "0123456789abcdef"[data[i] & 15];
            }
        };
        if (!in_pieces(isolate, len, piece))
            return {};
        return one_byte(isolate, out);
    }
    case Encoding::Ascii: {
        if (len > static_cast<size_t>(v8::String::kMaxLength))
            return one_byte(isolate, data, SIZE_MAX);
        std::string out(len, '\0');
        auto piece = [&](size_t i, size_t end) {
            for (; i < end; i++)
                out[i] = static_cast<char>(data[i] & 0x7f);
        };
        if (!in_pieces(isolate, len, piece))
            return {};
        return one_byte(isolate, out);
    }
    case Encoding::Latin1:
    case Encoding::Buffer:
        break;
    }
    return one_byte(isolate, data, len);
}

size_t string_to_bytes(v8::Isolate *isolate, Encoding encoding, v8::Local<v8::String> s,
                       uint8_t *to, size_t room)
{
    size_t units = static_cast<size_t>(s->Length());
    switch (encoding) {
    case Encoding::Utf8:
        return s->WriteUtf8V2(isolate, reinterpret_cast<char *>(to), room,
                              v8::String::WriteFlags::kReplaceInvalidUtf8);
    case Encoding::Utf16: {
        std::vector<uint16_t> all(std::min(units, room / 2)); // `to` may not be aligned
        s->WriteV2(isolate, 0, static_cast<uint32_t>(all.size()), all.data());
        if (!all.empty())
            memcpy(to, all.data(), all.size() * 2);
        return all.size() * 2;
    }
    case Encoding::Hex: {
        std::string digits = low_bytes(isolate, s);
        size_t n = 0;
        for (; n < room && 2 * n + 1 < digits.size(); n++) {
            int high = hex_digit(static_cast<uint8_t>(digits[2 * n])),
                low = hex_digit(static_cast<uint8_t>(digits[2 * n + 1]));
            if (high < 0 || low < 0 || (n % kPiece == kPiece - 1 && ending(isolate)))
                break;
            to[n] = static_cast<uint8_t>(high << 4 | low);
        }
        return n;
    }
    case Encoding::Base64:
    case Encoding::Base64Url:
        return base64_decode(isolate, low_bytes(isolate, s), to, room);
    case Encoding::Ascii:
    case Encoding::Latin1:
    case Encoding::Buffer:
        break;
    }
    size_t n = std::min(units, room);
    s->WriteOneByteV2(isolate, 0, static_cast<uint32_t>(n), to);
    return n;
}

std::string string_to_bytes(v8::Isolate *isolate, Encoding encoding, v8::Local<v8::String> s)
{
    size_t units = static_cast<size_t>(s->Length());
    std::string out(encoding == Encoding::Utf8 ? s->Utf8LengthV2(isolate)
                                               : units * (encoding == Encoding::Utf16 ? 2 : 1),
                    '\0');
    out.resize(
        string_to_bytes(isolate, encoding, s, reinterpret_cast<uint8_t *>(out.data()), out.size()));
    return out;
}

} // namespace isola
