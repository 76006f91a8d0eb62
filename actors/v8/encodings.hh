// SPDX-License-Identifier: Apache-2.0
//
// The encodings of Node.js' Buffer.
#pragma once

#include "actors/v8/internal.hh"

namespace isola
{

// Numbered as Node.js does: internalBinding('string_decoder').encodings lists them in this order.
enum class Encoding { Ascii, Utf8, Base64, Utf16, Latin1, Hex, Buffer, Base64Url };

// Throws and is empty when V8 has no room for such a string.
v8::MaybeLocal<v8::String> bytes_to_string(v8::Isolate *isolate, Encoding encoding,
                                           const uint8_t *data, size_t len);
// Writes at most `room` bytes, whole characters only, and returns how many. Digits that are none
// end hex, and are passed over in base64.
size_t string_to_bytes(v8::Isolate *isolate, Encoding encoding, v8::Local<v8::String> s,
                       uint8_t *to, size_t room);
// All of it.
std::string string_to_bytes(v8::Isolate *isolate, Encoding encoding, v8::Local<v8::String> s);
// By the names Node.js knows them by, in any case. False: it is none.
bool encoding_named(const std::string &name, Encoding *out);

// Of all of these: what they return is meaningless when the script is to end meanwhile.
bool valid_utf8(v8::Isolate *isolate, const uint8_t *data, size_t len);
// The value of a digit of base64 (or, when `url`, of either alphabet), or -1.
int base64_digit(uint8_t c, bool url);
size_t base64_decode(v8::Isolate *isolate, const std::string &digits, uint8_t *to, size_t room);

} // namespace isola
