// SPDX-License-Identifier: Apache-2.0
//
// Long texts and runs of numbers, for the codec: many at once, where the processor can.
//
// Each has a plain form, which says what it does, and one for AVX2, which is used when the
// processor that runs this has it.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "actors/v8/transcode.hh"

namespace isola
{

#if defined(__x86_64__)
#define ISOLA_AVX2 __attribute__((target("avx2")))
inline const bool has_avx2 = __builtin_cpu_supports("avx2");
// What the C library has the processor copy as it will does not wait for the memory it writes to,
// and comes to no harm where Intel made it.
inline const bool copies_well = __builtin_cpu_is("intel");
constexpr size_t kVeryLong = size_t{64} << 10; // bytes; the C library lets shorter ones be, too

ISOLA_AVX2 inline __m256i wide_at(const void *from)
{
    return _mm256_loadu_si256(static_cast<const __m256i *>(from));
}
ISOLA_AVX2 inline void put_wide(void *to, __m256i v)
{
    _mm256_storeu_si256(static_cast<__m256i *>(to), v);
}
ISOLA_AVX2 inline void put_half(void *to, __m128i v)
{
    _mm_storeu_si128(static_cast<__m128i *>(to), v);
}
#endif

// --- texts ---

#if defined(__x86_64__)
// A processor takes what it reads for what it has just written when it lies at the same place of a
// page, or a little ahead of it, and waits.
inline bool is_ahead(uintptr_t apart)
{
    constexpr size_t kPage = 4096, kAhead = 256;
    return apart % kPage < kAhead;
}
// Of a copy in two halves, where does the second begin, so that neither reads ahead of what the
// other writes? A multiple of 64, `most` at the most. `apart`: to - from.
inline size_t second_half(uintptr_t apart, size_t most)
{
    size_t half = most & ~size_t{63};
    while (half >= 4096 && (is_ahead(apart + half) || is_ahead(apart - half)))
        half -= 256;
    return half;
}

// At least 128 bytes; the same for all of them or'ed: is their highest bit clear? Both halves are
// under way at once, which is faster where memory has to be waited for. That of the C library has
// the processor copy as it will, which in some of AMD's takes twenty times as long when `to` lies a
// little ahead of `from` in a page.
ISOLA_AVX2 inline bool copy_wide(uint8_t *to, const uint8_t *from, size_t n)
{
    __m256i any = wide_at(from), end = wide_at(from + n - 32);
    put_wide(to, any);
    uintptr_t apart = reinterpret_cast<uintptr_t>(to) - reinterpret_cast<uintptr_t>(from);
    size_t i = 32 - (reinterpret_cast<uintptr_t>(to) & 31);
    size_t half = second_half(apart, (n - i) / 2), middle = i + half;
    size_t at = is_ahead(apart) ? middle - 64 : i, step = is_ahead(apart) ? -size_t{64} : 64;
    for (size_t k = 0; k < half; k += 64, at += step) {
        __m256i a = wide_at(from + at), b = wide_at(from + at + 32);
        __m256i c = wide_at(from + half + at), d = wide_at(from + half + at + 32);
        any = _mm256_or_si256(any, _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
        put_wide(to + at, a);
        put_wide(to + at + 32, b);
        put_wide(to + half + at, c);
        put_wide(to + half + at + 32, d);
    }
    for (i = middle + half; i + 32 < n; i += 32) {
        __m256i a = wide_at(from + i);
        any = _mm256_or_si256(any, a);
        put_wide(to + i, a);
    }
    put_wide(to + n - 32, end);
    return _mm256_movemask_epi8(_mm256_or_si256(any, end)) == 0;
}
#endif
inline void copy_long(uint8_t *to, const uint8_t *from, size_t n)
{
#if defined(__x86_64__)
    if (has_avx2 && n >= 256 && !(copies_well && n >= kVeryLong)) {
        copy_wide(to, from, n);
        return;
    }
#endif
    memcpy(to, from, n);
}

template <typename T> T load(const uint8_t *from)
{
    T value;
    memcpy(&value, from, sizeof(value));
    return value;
}
template <typename T> T copy_one(uint8_t *to, const uint8_t *from)
{
    T value = load<T>(from);
    memcpy(to, &value, sizeof(value));
    return value;
}
inline constexpr uint64_t kHighBits = 0x8080808080808080u;

// Copies, and says whether there was nothing but ASCII; not all is copied then.
inline bool copy_ascii(uint8_t *to, const uint8_t *from, size_t n)
{
    if (n < 4) {
        uint8_t any = 0;
        for (size_t i = 0; i < n; i++)
            any |= to[i] = from[i];
        return (any & 0x80) == 0;
    }
    if (n < 8)
        return ((copy_one<uint32_t>(to, from) | copy_one<uint32_t>(to + n - 4, from + n - 4)) &
                static_cast<uint32_t>(kHighBits)) == 0;
    if (n >= 256) {
        // A text with others among its characters has one soon.
        constexpr size_t kFirst = 256, kPiece = 16384;
        for (size_t i = 0, piece; i < n; i += piece) {
            size_t left = n - i, most = i == 0 ? kFirst : kPiece;
            piece = left >= most + 128 ? most : left;
#if defined(__x86_64__)
            if (has_avx2) {
                if (!copy_wide(to + i, from + i, piece))
                    return false;
                continue;
            }
#endif
            memmove(to + i, from + i, piece); // which is not inlined: that is slower
            if (!simdutf::validate_ascii(reinterpret_cast<const char *>(to) + i, piece))
                return false;
        }
        return true;
    }
    uint64_t any = 0;
    for (size_t i = 0; i + 8 < n; i += 8)
        any |= copy_one<uint64_t>(to + i, from + i);
    any |= copy_one<uint64_t>(to + n - 8, from + n - 8);
    return (any & kHighBits) == 0;
}
#if defined(__x86_64__)
// At least 32 bytes.
ISOLA_AVX2 inline bool is_ascii_wide(const uint8_t *from, size_t n)
{
    __m256i any = wide_at(from + n - 32);
    for (size_t i = 0; i + 32 < n; i += 32)
        any = _mm256_or_si256(any, wide_at(from + i));
    return _mm256_movemask_epi8(any) == 0;
}
#endif
inline bool is_ascii(const uint8_t *from, size_t n)
{
    if (n >= 64) {
#if defined(__x86_64__)
        if (has_avx2 && n < 1024) // else it is better to end with the first that is not
            return is_ascii_wide(from, n);
#endif
        return simdutf::validate_ascii(reinterpret_cast<const char *>(from), n);
    }
    // Byte by byte at the end, though there are ways without a branch: so the processor has guessed
    // the length wrong, and knows better, before V8 goes by it.
    uint64_t any = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        any |= load<uint64_t>(from + i);
    for (; i < n; i++)
        any |= from[i];
    return (any & kHighBits) == 0;
}

// --- numbers ---

// Doubles, as bits, in the shortest form each, up to the first that is `hole`; those are counted.
// There must be room for kNumberRoom bytes each and kRunRoom more.
inline constexpr size_t kRunRoom = 16;
inline uint8_t *put_number_bits(uint8_t *p, uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof(d));
    return put_number(p, d);
}
inline uint8_t *put_doubles_one_by_one(uint8_t *p, const uint64_t *from, uint32_t n, uint64_t hole,
                                       uint32_t *count)
{
    uint32_t i = 0;
    for (; i < n && from[i] != hole; i++)
        p = put_number_bits(p, from[i]);
    *count = i;
    return p;
}
#if defined(__x86_64__)
// Four at once, when none is an integer or the hole.
ISOLA_AVX2 inline uint8_t *put_doubles_wide(uint8_t *p, const uint64_t *from, uint32_t n,
                                            uint64_t hole, uint32_t *count)
{
    const __m256i holes = _mm256_set1_epi64x(static_cast<long long>(hole));
    const __m256i first = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 7, 6, 5, 4, 3, 2, 1, 0, -1, -1, -1, -1, -1, -1, -1));
    const __m256i second = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 15, 14, 13, 12, 11, 10, 9, 8, -1, -1, -1, -1, -1, -1, -1));
    const __m256i tag = _mm256_broadcastsi128_si256(_mm_cvtsi32_si128(0xcb));
    uint32_t i = 0;
    for (; n - i >= 4; i += 4) {
        __m256i bits = wide_at(from + i);
        __m256d d = _mm256_castsi256_pd(bits);
        __m256d whole = _mm256_cmp_pd(d, _mm256_round_pd(d, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC),
                                      _CMP_EQ_OQ);
        __m256i others =
            _mm256_or_si256(_mm256_castpd_si256(whole), _mm256_cmpeq_epi64(bits, holes));
        if (!_mm256_testz_si256(others, others)) {
            uint32_t some;
            p = put_doubles_one_by_one(p, from + i, 4, hole, &some);
            if (some == 4)
                continue;
            *count = i + some;
            return p;
        }
        __m256i a = _mm256_or_si256(_mm256_shuffle_epi8(bits, first), tag);
        __m256i b = _mm256_or_si256(_mm256_shuffle_epi8(bits, second), tag);
        put_half(p, _mm256_castsi256_si128(a)); // each 9 bytes, and 7 that the next overwrites
        put_half(p + 9, _mm256_castsi256_si128(b));
        put_half(p + 18, _mm256_extracti128_si256(a, 1));
        put_half(p + 27, _mm256_extracti128_si256(b, 1));
        p += 36;
    }
    uint32_t rest;
    p = put_doubles_one_by_one(p, from + i, n - i, hole, &rest);
    *count = i + rest;
    return p;
}
#endif
inline uint8_t *put_doubles(uint8_t *p, const uint64_t *from, uint32_t n, uint64_t hole,
                            uint32_t *count)
{
#if defined(__x86_64__)
    if (has_avx2)
        return put_doubles_wide(p, from, n, hole, count);
#endif
    return put_doubles_one_by_one(p, from, n, hole, count);
}

// Integers as V8 has them, themselves times 2^32, up to the first that is something else; those are
// counted. Room as above.
inline uint8_t *put_smalls_one_by_one(uint8_t *p, const uint64_t *from, uint32_t n, uint32_t *count)
{
    uint32_t i = 0;
    for (; i < n && (from[i] & 1) == 0; i++)
        p = put_int(p, static_cast<int32_t>(from[i] >> 32));
    *count = i;
    return p;
}
#if defined(__x86_64__)
// Four at once, when all take two bytes or all take one.
ISOLA_AVX2 inline uint8_t *put_smalls_wide(uint8_t *p, const uint64_t *from, uint32_t n,
                                           uint32_t *count)
{
    const __m256i two = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 5, 4, -1, 13, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m256i tags = _mm256_broadcastsi128_si256(_mm_setr_epi8(static_cast<char>(0xcd), 0, 0,
                                                                   static_cast<char>(0xcd), 0, 0, 0,
                                                                   0, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i not_two = _mm256_set1_epi64x(static_cast<long long>(0xffff0000ffffffffu));
    const __m256i not_one = _mm256_set1_epi64x(static_cast<long long>(0xffffff80ffffffffu));
    const __m256i above = _mm256_set1_epi64x(0xff0000000000);
    uint32_t i = 0, some;
    for (; n - i >= 4; i += 4) {
        __m256i v = wide_at(from + i);
        __m256i low = _mm256_cmpeq_epi64(_mm256_and_si256(v, above), _mm256_setzero_si256());
        if (_mm256_testz_si256(v, not_two) && _mm256_testz_si256(low, low)) {
            __m256i bytes = _mm256_or_si256(_mm256_shuffle_epi8(v, two), tags);
            put_half(p, _mm256_castsi256_si128(bytes)); // each 6 bytes
            put_half(p + 6, _mm256_extracti128_si256(bytes, 1));
            p += 12;
        } else if (_mm256_testz_si256(v, not_one)) {
            for (uint32_t k = 0; k < 4; k++)
                *p++ = static_cast<uint8_t>(from[i + k] >> 32);
        } else {
            p = put_smalls_one_by_one(p, from + i, 4, &some);
            if (some < 4) {
                *count = i + some;
                return p;
            }
        }
    }
    p = put_smalls_one_by_one(p, from + i, n - i, &some);
    *count = i + some;
    return p;
}
#endif
inline uint8_t *put_smalls(uint8_t *p, const uint64_t *from, uint32_t n, uint32_t *count)
{
#if defined(__x86_64__)
    if (has_avx2)
        return put_smalls_wide(p, from, n, count);
#endif
    return put_smalls_one_by_one(p, from, n, count);
}

// Integers below 2^31, as many as there are, at most n: each as itself times 2^32, which is how V8
// has them. What follows, what is near to `end` or not in the shortest form is left.
inline const uint8_t *take_small_one_by_one(const uint8_t *p, const uint8_t *end, int64_t *to,
                                            uint32_t n, uint32_t *count)
{
    uint32_t i = 0;
    for (; i < n && end - p >= 5; i++) {
        int64_t value;
        uint8_t tag = *p;
        if (tag < 0x80 || tag >= 0xe0) {
            value = static_cast<int8_t>(tag);
            p++;
        } else if (tag == 0xcd || tag == 0xd1) {
            auto bits = static_cast<uint16_t>(p[1] << 8 | p[2]);
            value = tag == 0xcd ? static_cast<int64_t>(bits) : static_cast<int16_t>(bits);
            p += 3;
        } else if (tag == 0xcc || tag == 0xd0) {
            value = tag == 0xcc ? static_cast<int64_t>(p[1]) : static_cast<int8_t>(p[1]);
            p += 2;
        } else if (tag == 0xce || tag == 0xd2) {
            auto bits = static_cast<int32_t>(__builtin_bswap32(load<uint32_t>(p + 1)));
            if (tag == 0xce && bits < 0)
                break;
            value = bits;
            p += 5;
        } else {
            break;
        }
        to[i] = value * (int64_t{1} << 32);
    }
    *count = i;
    return p;
}
#if defined(__x86_64__)
// Four of two bytes at once, or eight of one.
ISOLA_AVX2 inline const uint8_t *take_small_wide(const uint8_t *p, const uint8_t *end, int64_t *to,
                                                 uint32_t n, uint32_t *count)
{
    const __m256i four =
        _mm256_setr_epi8(-1, -1, -1, -1, 2, 1, -1, -1, -1, -1, -1, -1, 5, 4, -1, -1, -1, -1, -1, -1,
                         8, 7, -1, -1, -1, -1, -1, -1, 11, 10, -1, -1);
    constexpr unsigned kTags = 0x249; // every third of the first ten bytes
    uint32_t i = 0;
    while (n - i >= 8 && end - p >= 16) {
        __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
        __m128i is_tag = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(static_cast<char>(0xcd)));
        unsigned others = ~static_cast<unsigned>(_mm_movemask_epi8(is_tag)) & kTags;
        if ((others & 1) == 0) { // those behind the first that is none are written over again
            unsigned some = others == 0 ? 4 : static_cast<unsigned>(__builtin_ctz(others)) / 3;
            put_wide(to + i, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), four));
            p += 3 * some;
            i += some;
            continue;
        }
        if ((_mm_movemask_epi8(bytes) & 0xff) == 0) {
            put_wide(to + i, _mm256_slli_epi64(_mm256_cvtepu8_epi64(bytes), 32));
            put_wide(to + i + 4,
                     _mm256_slli_epi64(_mm256_cvtepu8_epi64(_mm_srli_si128(bytes, 4)), 32));
            p += 8;
            i += 8;
            continue;
        }
        uint32_t one;
        p = take_small_one_by_one(p, end, to + i, 1, &one);
        i += one;
        if (one == 0)
            break;
    }
    uint32_t rest;
    p = take_small_one_by_one(p, end, to + i, n - i, &rest);
    *count = i + rest;
    return p;
}
#endif
inline const uint8_t *take_small(const uint8_t *p, const uint8_t *end, int64_t *to, uint32_t n,
                                 uint32_t *count)
{
#if defined(__x86_64__)
    if (has_avx2)
        return take_small_wide(p, end, to, n, count);
#endif
    return take_small_one_by_one(p, end, to, n, count);
}

} // namespace isola
