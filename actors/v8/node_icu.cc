// SPDX-License-Identifier: Apache-2.0
//
// ICU's converters, for what TextDecoder takes of them (actors/lib/runtime/web/multibyte.js):
// Node.js' binary has them, and its own TextDecoder uses them so. Their header is not among the
// packaged ones; what is declared here is ICU's stable interface.
//
// A converter lies in an ArrayBuffer that the runtime keeps to itself, as a stream of zlib does
// (node_zlib.cc): it counts as the script's memory and goes when the decoder goes. It is a clone of
// one that is made once for each encoding and stays: tables of characters are ICU's own, in the
// binary.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>

#include "actors/v8/natives.hh"

// The names of ICU's functions end with its version, which the build asks the pinned Node.js for.
#define ICU_JOIN(name, version)  name##_##version
#define ICU_NAMED(name, version) ICU_JOIN(name, version)
#define ICU(name)                ICU_NAMED(name, ISOLA_ICU)
#define ucnv_close               ICU(ucnv_close)
#define ucnv_open                ICU(ucnv_open)
#define ucnv_reset               ICU(ucnv_reset)
#define ucnv_safeClone           ICU(ucnv_safeClone)
#define ucnv_setSubstChars       ICU(ucnv_setSubstChars)
#define ucnv_setToUCallBack      ICU(ucnv_setToUCallBack)
#define ucnv_toUnicode           ICU(ucnv_toUnicode)
#define UCNV_TO_U_CALLBACK_STOP  ICU(UCNV_TO_U_CALLBACK_STOP)

extern "C" {
struct UConverter;
using UErrorCode = int; // 0 and less: well
UConverter *ucnv_open(const char *name, UErrorCode *status);
void ucnv_close(UConverter *converter);
UConverter *ucnv_safeClone(const UConverter *from, void *at, int32_t *size, UErrorCode *status);
void ucnv_reset(UConverter *converter);
void ucnv_setSubstChars(UConverter *converter, const char *bytes, int8_t n, UErrorCode *status);
void ucnv_setToUCallBack(UConverter *converter, const void *action, const void *context,
                         const void **old_action, const void **old_context, UErrorCode *status);
void ucnv_toUnicode(UConverter *converter, char16_t **to, const char16_t *to_end, const char **from,
                    const char *from_end, int32_t *offsets, int8_t flush, UErrorCode *status);
void UCNV_TO_U_CALLBACK_STOP();
}

namespace isola
{
namespace
{

constexpr UErrorCode kTooSmall = 15; // U_BUFFER_OVERFLOW_ERROR
const char *const kNames[] = {"gb18030",     "big5",      "euc-jp",
                              "iso-2022-jp", "shift_jis", "euc-kr"}; // gbk is read as gb18030
constexpr size_t kEncodings = sizeof(kNames) / sizeof(kNames[0]);
constexpr uint64_t kMark = 0x6973'6f6c'6120'6963;

std::mutex lock;
UConverter *models[kEncodings];

struct Decoder {
    uint64_t mark;
    UConverter *converter;
};
constexpr size_t kHead = (sizeof(Decoder) + 63) / 64 * 64;

// NULL: ICU does not have it.
const UConverter *model(uint32_t encoding)
{
    std::lock_guard<std::mutex> held(lock);
    UErrorCode status = 0;
    if (models[encoding] == nullptr) {
        UConverter *made = ucnv_open(kNames[encoding], &status);
        if (status > 0)
            return nullptr;
        // Whatever it is set to: from now on a wrong byte is U+FFFD to it, not U+001A.
        ucnv_setSubstChars(made, "?", 1, &status);
        models[encoding] = made;
    }
    return models[encoding];
}

Decoder *decoder_of(Info info)
{
    BytesOf b(info[0]);
    auto *d = reinterpret_cast<Decoder *>(b.data);
    return b.ok && b.len >= sizeof(Decoder) && d->mark == kMark ? d : nullptr;
}

bool encoding_of(Info info, int i, uint32_t *out)
{
    *out = info[i]->IsUint32() ? info[i].As<v8::Uint32>()->Value() : kEncodings;
    return *out < kEncodings;
}

// size(encoding) → bytes of the ArrayBuffer of a decoder; undefined: there is none of it
void size(Info info)
{
    uint32_t encoding;
    UErrorCode status = 0;
    int32_t n = 0;
    const UConverter *from = encoding_of(info, 0, &encoding) ? model(encoding) : nullptr;
    if (from == nullptr)
        return;
    ucnv_safeClone(from, nullptr, &n, &status);
    if (status <= 0 && n > 0)
        info.GetReturnValue().Set(static_cast<double>(kHead + static_cast<size_t>(n)));
}

// init(decoder, encoding, fatal) → did it go well?
void init(Info info)
{
    BytesOf b(info[0]);
    uint32_t encoding;
    UErrorCode status = 0;
    const UConverter *from = encoding_of(info, 1, &encoding) ? model(encoding) : nullptr;
    info.GetReturnValue().Set(false);
    if (from == nullptr || !b.ok || b.len <= kHead || b.len > INT32_MAX)
        return;
    touch(isola::from(info.GetIsolate()), "it decodes text while it loads"); // pointers
    auto *d = reinterpret_cast<Decoder *>(b.data);
    auto n = static_cast<int32_t>(b.len - kHead);
    UConverter *made = ucnv_safeClone(from, b.data + kHead, &n, &status);
    auto *at = reinterpret_cast<uint8_t *>(made);
    if (made != nullptr && (at < b.data + kHead || at >= b.data + b.len)) {
        ucnv_close(made); // it found no room, and took memory that nobody would free
        return;
    }
    if (status > 0 || made == nullptr)
        return;
    if (info[2]->IsTrue())
        ucnv_setToUCallBack(made, reinterpret_cast<const void *>(UCNV_TO_U_CALLBACK_STOP), nullptr,
                            nullptr, nullptr, &status);
    if (status > 0)
        return;
    *d = {kMark, made};
    info.GetReturnValue().Set(true);
}

// decode(decoder, bytes, is this the end) → text; undefined: there is something that is none
void decode(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    Decoder *d = decoder_of(info);
    BytesOf input(info[1]);
    if (d == nullptr || !input.ok)
        return;
    std::u16string text;
    char16_t units[4096];
    const char *at = reinterpret_cast<const char *>(input.data), *end = at + input.len;
    bool last = info[2]->IsTrue();
    UErrorCode status;
    do {
        const char *stop = at + std::min<size_t>(kPiece, static_cast<size_t>(end - at));
        do {
            char16_t *to = units;
            status = 0;
            ucnv_toUnicode(d->converter, &to, units + sizeof(units) / sizeof(units[0]), &at, stop,
                           nullptr, last && stop == end, &status);
            text.append(units, static_cast<size_t>(to - units));
        } while (status == kTooSmall);
    } while (status <= 0 && at < end && !ending(isolate));
    if (last || status > 0)
        ucnv_reset(d->converter);
    v8::Local<v8::String> result;
    if (status > 0)
        return;
    if (text.size() > static_cast<size_t>(v8::String::kMaxLength))
        isolate->ThrowException(
            make_error(isolate, "ERR_STRING_TOO_LONG",
                       "Cannot create a string longer than 0x1fffffe8 characters"));
    else if (v8::String::NewFromTwoByte(isolate, reinterpret_cast<const uint16_t *>(text.data()),
                                        v8::NewStringType::kNormal, static_cast<int>(text.size()))
                 .ToLocal(&result))
        info.GetReturnValue().Set(result);
}

const Native functions[] = {{"size", size}, {"init", init}, {"decode", decode}};

} // namespace

const NativeGroup icu_natives = {"icu", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
