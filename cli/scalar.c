/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/scalar.h"

#include <endian.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/msgpack.h"

#define EXACT (UINT64_C(1) << 53)
#define BIGINT_DIGITS                                                                              \
    8192 /* bytes of magnitude up to which a BigInt is written in decimal: that costs their square \
          */

json_t *isola__scalar_double(double d)
{
    return isfinite(d) ? json_real(d) : json_null();
}

json_t *isola__scalar_integer(uint64_t magnitude, bool negative)
{
    if (magnitude <= EXACT)
        return json_integer(negative ? -(json_int_t)magnitude : (json_int_t)magnitude);
    char digits[24];
    snprintf(digits, sizeof(digits), "%s%" PRIu64, negative ? "-" : "", magnitude);
    return json_string(digits);
}

static json_t *hexadecimal(struct isola_slice magnitude, bool negative)
{
    static const char digit[] = "0123456789abcdef";
    struct isola_buf b = {0};
    isola_buf_puts(&b, negative ? "-0x" : "0x");
    for (size_t i = magnitude.len; i-- > 0;) {
        char two[2] = {digit[magnitude.data[i] >> 4], digit[magnitude.data[i] & 15]};
        bool leading = i + 1 == magnitude.len && two[0] == '0';
        isola_buf_append(&b, two + leading, 2 - (size_t)leading);
    }
    json_t *json = b.failed ? NULL : json_stringn((const char *)b.data, b.len);
    isola_buf_free(&b);
    return json;
}

/* Divides by 10^9 again and again; the digits come out last first. */
static json_t *decimal(struct isola_slice magnitude, bool negative)
{
    size_t n = (magnitude.len + 3) / 4;
    uint32_t *limbs = calloc(n, sizeof(*limbs));
    size_t room = magnitude.len * 5 / 2 + 12; /* log10(256) < 2.41 digits a byte */
    char *digits = malloc(room);
    json_t *json = NULL;
    if (limbs == NULL || digits == NULL)
        goto out;
    for (size_t i = 0; i < magnitude.len; i++)
        limbs[i / 4] |= (uint32_t)magnitude.data[i] << (i % 4 * 8);
    size_t at = room;
    while (n > 0) {
        uint64_t rest = 0;
        for (size_t i = n; i-- > 0;) {
            uint64_t v = rest << 32 | limbs[i];
            limbs[i] = (uint32_t)(v / 1000000000u);
            rest = v % 1000000000u;
        }
        while (n > 0 && limbs[n - 1] == 0)
            n--;
        for (int i = 0; i < 9 && (n > 0 || rest > 0); i++, rest /= 10)
            digits[--at] = (char)('0' + rest % 10);
    }
    if (negative)
        digits[--at] = '-';
    json = json_stringn(digits + at, room - at);
out:
    free(limbs);
    free(digits);
    return json;
}

json_t *isola__scalar_bigint(struct isola_slice payload)
{
    bool negative = payload.data[0] != 0;
    struct isola_slice magnitude = isola_slice(payload.data + 1, payload.len - 1);
    while (magnitude.len > 0 && magnitude.data[magnitude.len - 1] == 0)
        magnitude.len--;
    if (magnitude.len <= sizeof(uint64_t)) {
        uint64_t v = 0;
        for (size_t i = magnitude.len; i-- > 0;)
            v = v << 8 | magnitude.data[i];
        return isola__scalar_integer(v, negative);
    }
    return magnitude.len <= BIGINT_DIGITS ? decimal(magnitude, negative)
                                          : hexadecimal(magnitude, negative);
}

size_t isola__scalar_element_size(uint8_t kind)
{
    switch (kind) {
    case ISOLA_TA_INT8:
    case ISOLA_TA_UINT8_CLAMPED:
        return 1;
    case ISOLA_TA_INT16:
    case ISOLA_TA_UINT16:
    case ISOLA_TA_FLOAT16:
        return 2;
    case ISOLA_TA_INT32:
    case ISOLA_TA_UINT32:
    case ISOLA_TA_FLOAT32:
        return 4;
    case ISOLA_TA_FLOAT64:
    case ISOLA_TA_BIGINT64:
    case ISOLA_TA_BIGUINT64:
        return 8;
    default:
        return 0;
    }
}

/* IEEE 754 binary16. */
static double half(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double d = exponent == 0    ? ldexp(fraction, -24)
               : exponent == 31 ? (fraction == 0 ? (double)INFINITY : (double)NAN)
                                : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 ? -d : d;
}

json_t *isola__scalar_element(uint8_t kind, const uint8_t *p)
{
    uint64_t bits = 0;
    size_t size = isola__scalar_element_size(kind);
    for (size_t i = size; i-- > 0;)
        bits = bits << 8 | p[i];
    switch (kind) {
    case ISOLA_TA_INT8:
        return json_integer((int8_t)bits);
    case ISOLA_TA_INT16:
        return json_integer((int16_t)bits);
    case ISOLA_TA_INT32:
        return json_integer((int32_t)bits);
    case ISOLA_TA_BIGINT64: {
        bool negative = bits >> 63;
        return isola__scalar_integer(negative ? 0 - bits : bits, negative);
    }
    case ISOLA_TA_FLOAT16:
        return isola__scalar_double(half((uint16_t)bits));
    case ISOLA_TA_FLOAT32: {
        uint32_t low = (uint32_t)bits;
        float f;
        memcpy(&f, &low, sizeof(f));
        return isola__scalar_double((double)f);
    }
    case ISOLA_TA_FLOAT64: {
        double d;
        memcpy(&d, &bits, sizeof(d));
        return isola__scalar_double(d);
    }
    default:
        return isola__scalar_integer(bits, false);
    }
}

/* The Gregorian date of a day since 1970 (Hinnant, "chrono-compatible low-level date algorithms").
 */
static void civil(int64_t day, int64_t *year, int *month, int *mday)
{
    day += 719468;
    int64_t era = (day >= 0 ? day : day - 146096) / 146097;
    int64_t doe = day - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *mday = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

bool isola__scalar_date(double ms, char out[ISOLA__DATE_SIZE])
{
    if (!(fabs(ms) <= 8.64e15)) /* the range of Date; NaN too */
        return false;
    int64_t t = (int64_t)ms;
    int64_t day = t / 86400000, in_day = t % 86400000;
    if (in_day < 0) {
        in_day += 86400000;
        day--;
    }
    int64_t year;
    int month, mday;
    civil(day, &year, &month, &mday);
    int n = year >= 0 && year <= 9999
                ? snprintf(out, ISOLA__DATE_SIZE, "%04d", (int)year)
                : snprintf(out, ISOLA__DATE_SIZE, "%c%06d", year < 0 ? '-' : '+', abs((int)year));
    snprintf(out + n, ISOLA__DATE_SIZE - (size_t)n, "-%02d-%02dT%02d:%02d:%02d.%03dZ", month % 100,
             mday % 100, (int)(in_day / 3600000), (int)(in_day / 60000 % 60),
             (int)(in_day / 1000 % 60), (int)(in_day % 1000));
    return true;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *isola__scalar_base64(struct isola_slice bytes)
{
    struct isola_buf b = {0};
    isola_buf_grow(&b, bytes.len / 3 * 4 + 4);
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t v = (uint32_t)bytes.data[i] << 16;
        if (left > 1)
            v |= (uint32_t)bytes.data[i + 1] << 8;
        if (left > 2)
            v |= bytes.data[i + 2];
        char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
                        left > 1 ? alphabet[v >> 6 & 63] : '=', left > 2 ? alphabet[v & 63] : '='};
        isola_buf_append(&b, four, sizeof(four));
    }
    json_t *object = b.failed ? NULL : json_object();
    if (object != NULL &&
        json_object_set_new(object, "$base64", json_stringn((const char *)b.data, b.len)) != 0) {
        json_decref(object);
        object = NULL;
    }
    isola_buf_free(&b);
    return object;
}

bool isola__scalar_unbase64(struct isola_slice text, struct isola_buf *out)
{
    while (text.len > 0 && text.data[text.len - 1] == '=' && text.len % 4 != 1)
        text.len--;
    if (text.len % 4 == 1)
        return false;
    uint32_t v = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] != 0 ? strchr(alphabet, text.data[i]) : NULL;
        if (at == NULL)
            return false;
        v = (v << 6 | (uint32_t)(at - alphabet)) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            uint8_t byte = (uint8_t)(v >> bits);
            isola_buf_append(out, &byte, 1);
        }
    }
    return (v & ((1u << bits) - 1)) == 0; /* bits left over are zero */
}
