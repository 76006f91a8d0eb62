// SPDX-License-Identifier: Apache-2.0
//
// Numbers and characters to bytes and back, for the codec, one by one; many at once: runs.hh. The
// conversions of long texts are those of simdutf, which the pinned Node.js has for its own buffers;
// its header is not among the packaged ones.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace simdutf
{
// Those that convert give what they have written, and 0 for what is malformed or does not fit.
bool validate_ascii(const char *from, size_t n) noexcept;
size_t utf8_length_from_latin1(const char *from, size_t n) noexcept;
size_t utf8_length_from_utf16le(const char16_t *from, size_t n) noexcept;
size_t utf16_length_from_utf8(const char *from, size_t n) noexcept;
size_t convert_latin1_to_utf8(const char *from, size_t n, char *to) noexcept;
size_t convert_utf16le_to_utf8(const char16_t *from, size_t n, char *to) noexcept;
size_t convert_utf8_to_latin1(const char *from, size_t n, char *to) noexcept;
size_t convert_utf8_to_utf16le(const char *from, size_t n, char16_t *to) noexcept;
} // namespace simdutf

namespace isola
{

inline constexpr size_t kNumberRoom = 9; // the longest number
inline constexpr size_t kHeaderRoom = 5; // the longest header of a string, array or map

template <typename T> uint8_t *put_be(uint8_t *p, uint8_t tag, T value)
{
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    *p = tag;
    if constexpr (sizeof(T) == 2)
        value = static_cast<T>(__builtin_bswap16(value));
    else if constexpr (sizeof(T) == 4)
        value = static_cast<T>(__builtin_bswap32(value));
    else if constexpr (sizeof(T) == 8)
        value = static_cast<T>(__builtin_bswap64(value));
    memcpy(p + 1, &value, sizeof(T));
    return p + 1 + sizeof(T);
}
inline uint8_t *put_byte(uint8_t *p, uint8_t b)
{
    *p = b;
    return p + 1;
}

// An integer in the shortest form, as isola_mp_int writes it.
inline uint8_t *put_int(uint8_t *p, int64_t v)
{
    if (v >= 0) {
        auto u = static_cast<uint64_t>(v);
        if (u < 0x80)
            return put_byte(p, static_cast<uint8_t>(u));
        if (u <= UINT8_MAX)
            return put_be(p, 0xcc, static_cast<uint8_t>(u));
        if (u <= UINT16_MAX)
            return put_be(p, 0xcd, static_cast<uint16_t>(u));
        if (u <= UINT32_MAX)
            return put_be(p, 0xce, static_cast<uint32_t>(u));
        return put_be(p, 0xcf, u);
    }
    if (v >= -32)
        return put_byte(p, static_cast<uint8_t>(v));
    if (v >= INT8_MIN)
        return put_be(p, 0xd0, static_cast<uint8_t>(v));
    if (v >= INT16_MIN)
        return put_be(p, 0xd1, static_cast<uint16_t>(v));
    if (v >= INT32_MIN)
        return put_be(p, 0xd2, static_cast<uint32_t>(v));
    return put_be(p, 0xd3, static_cast<uint64_t>(v));
}
// A number: an integer that it is exactly, other than -0, or a double.
inline uint8_t *put_number(uint8_t *p, double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    if (std::fabs(d) <= 9007199254740992.0) {
        auto i = static_cast<int64_t>(d);
        if (static_cast<double>(i) == d && (i != 0 || bits == 0))
            return put_int(p, i);
    }
    return put_be(p, 0xcb, bits);
}
inline uint8_t *put_undefined(uint8_t *p)
{
    p[0] = 0xc7;
    p[1] = 0;
    p[2] = 1; // ISOLA_EXT_UNDEFINED
    return p + 3;
}
inline uint8_t *put_str_header(uint8_t *p, size_t n)
{
    if (n < 32)
        return put_byte(p, static_cast<uint8_t>(0xa0 | n));
    if (n <= UINT8_MAX)
        return put_be(p, 0xd9, static_cast<uint8_t>(n));
    if (n <= UINT16_MAX)
        return put_be(p, 0xda, static_cast<uint16_t>(n));
    return put_be(p, 0xdb, static_cast<uint32_t>(n));
}
inline constexpr size_t kExtRoom = 6; // the longest header of an extension
inline uint8_t *put_ext_header(uint8_t *p, uint8_t type, size_t n)
{
    uint8_t fixed = n == 1    ? 0xd4
                    : n == 2  ? 0xd5
                    : n == 4  ? 0xd6
                    : n == 8  ? 0xd7
                    : n == 16 ? 0xd8
                              : 0;
    p = fixed != 0        ? put_byte(p, fixed)
        : n <= UINT8_MAX  ? put_be(p, 0xc7, static_cast<uint8_t>(n))
        : n <= UINT16_MAX ? put_be(p, 0xc8, static_cast<uint16_t>(n))
                          : put_be(p, 0xc9, static_cast<uint32_t>(n));
    return put_byte(p, type);
}
inline uint8_t *put_array_header(uint8_t *p, uint32_t n)
{
    if (n < 16)
        return put_byte(p, static_cast<uint8_t>(0x90 | n));
    if (n <= UINT16_MAX)
        return put_be(p, 0xdc, static_cast<uint16_t>(n));
    return put_be(p, 0xdd, n);
}
inline uint8_t *put_map_header(uint8_t *p, uint32_t n)
{
    if (n < 16)
        return put_byte(p, static_cast<uint8_t>(0x80 | n));
    if (n <= UINT16_MAX)
        return put_be(p, 0xde, static_cast<uint16_t>(n));
    return put_be(p, 0xdf, n);
}

// As UTF-8, what is no character as U+FFFD: three bytes for each unit are enough. `whole`, unless
// null: is there no half of a pair?
inline size_t utf8_from_utf16(const char16_t *from, size_t n, uint8_t *to, bool *whole = nullptr)
{
    uint8_t *p = to;
    bool halves = false;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = from[i];
        if ((c & 0xf800) == 0xd800) {
            bool pair = c < 0xdc00 && i + 1 < n && (from[i + 1] & 0xfc00) == 0xdc00;
            if (pair) {
                c = 0x10000 + ((c & 0x3ff) << 10) + (from[++i] & 0x3ffu);
                *p++ = static_cast<uint8_t>(0xf0 | c >> 18);
                *p++ = static_cast<uint8_t>(0x80 | (c >> 12 & 0x3f));
                *p++ = static_cast<uint8_t>(0x80 | (c >> 6 & 0x3f));
                *p++ = static_cast<uint8_t>(0x80 | (c & 0x3f));
                continue;
            }
            c = 0xfffd;
            halves = true;
        }
        if (c < 0x80) {
            *p++ = static_cast<uint8_t>(c);
        } else if (c < 0x800) {
            *p++ = static_cast<uint8_t>(0xc0 | c >> 6);
            *p++ = static_cast<uint8_t>(0x80 | (c & 0x3f));
        } else {
            *p++ = static_cast<uint8_t>(0xe0 | c >> 12);
            *p++ = static_cast<uint8_t>(0x80 | (c >> 6 & 0x3f));
            *p++ = static_cast<uint8_t>(0x80 | (c & 0x3f));
        }
    }
    if (whole != nullptr)
        *whole = !halves;
    return static_cast<size_t>(p - to);
}
// At most n bytes, without a branch that depends on what is said. 0: it is not all Latin-1, or
// malformed.
inline size_t latin1_from_utf8(const uint8_t *from, size_t n, uint8_t *to)
{
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        unsigned c = from[i], next = from[i + (i + 1 < n)], two = c >> 7;
        if ((two & ((c & 0xfe) != 0xc2 || (next & 0xc0) != 0x80)) != 0)
            return 0;
        to[k++] = static_cast<uint8_t>(two != 0 ? c << 6 | (next & 0x3f) : c);
        i += 1 + two;
    }
    return k;
}
// At most n units. 0: it is malformed.
inline size_t utf16_from_utf8(const uint8_t *from, size_t n, uint16_t *to)
{
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = from[i];
        size_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if (n - i <= more)
            return 0;
        auto next = [&](size_t j) { return static_cast<uint32_t>(from[i + j]) ^ 0x80; };
        switch (more) {
        case 0:
            break;
        case 1:
            if (c < 0xc2 || next(1) > 0x3f)
                return 0;
            c = (c & 0x1f) << 6 | next(1);
            break;
        case 2:
            if ((next(1) | next(2)) > 0x3f)
                return 0;
            c = (c & 0xf) << 12 | next(1) << 6 | next(2);
            if (c < 0x800 || (c & 0xf800) == 0xd800)
                return 0;
            break;
        default:
            if ((next(1) | next(2) | next(3)) > 0x3f)
                return 0;
            c = (c & 0xf) << 18 | next(1) << 12 | next(2) << 6 | next(3);
            if (c < 0x10000 || c > 0x10ffff)
                return 0;
            to[k++] = static_cast<uint16_t>(0xd7c0 + (c >> 10));
            c = 0xdc00 | (c & 0x3ff);
        }
        to[k++] = static_cast<uint16_t>(c);
        i += 1 + more;
    }
    return k;
}
// How many bytes that makes; `whole`, unless null: is there no half of a pair?
inline size_t utf8_length(const char16_t *from, size_t n, bool *whole = nullptr)
{
    size_t length = 0;
    bool halves = false;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = from[i];
        bool pair = (c & 0xfc00) == 0xd800 && i + 1 < n && (from[i + 1] & 0xfc00) == 0xdc00;
        length += c < 0x80 ? 1 : c < 0x800 ? 2 : pair ? 4 : 3;
        halves = halves || ((c & 0xf800) == 0xd800 && !pair);
        i += pair;
    }
    if (whole != nullptr)
        *whole = !halves;
    return length;
}

} // namespace isola
