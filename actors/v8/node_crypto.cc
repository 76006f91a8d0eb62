// SPDX-License-Identifier: Apache-2.0
//
// Random numbers and digests from the OpenSSL in the pinned Node.js, for the web's `crypto`
// (actors/lib/runtime/web/crypto.js) and Node's (actors/lib/runtime/node/crypto.js). Everything
// here is synchronous, so what a script asks for counts as its own CPU time.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>

#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

void fail(v8::Isolate *isolate, const char *what)
{
    isolate->ThrowException(make_error(isolate, "ERR_CRYPTO_OPERATION_FAILED", what));
}

// random(bytes): fills them
void random_fill(Info info)
{
    BytesOf b(info[0]);
    touch(from(info.GetIsolate()), "it takes random numbers while it loads");
    while (b.len > 0 && !ending(info.GetIsolate())) {
        size_t n = std::min(b.len, kPiece);
        if (RAND_bytes(b.data, static_cast<int>(n)) != 1) {
            fail(info.GetIsolate(), "no random numbers can be had");
            return;
        }
        b.data += n;
        b.len -= n;
    }
}

// What a digest has come to, or that it has failed.
void digested(Info info, bool done, Slice result)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::ArrayBuffer> buffer;
    if (!done)
        fail(isolate, "the digest failed");
    else if (copied(isolate, result).ToLocal(&buffer))
        info.GetReturnValue().Set(buffer);
}

// digest(name as OpenSSL knows it, bytes) → ArrayBuffer, undefined when there is no such digest
void digest(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    const EVP_MD *md = EVP_get_digestbyname(utf8(isolate, info[0]).c_str());
    BytesOf b(info[1]);
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (md == nullptr || !b.ok)
        return;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != nullptr && EVP_DigestInit_ex(context, md, nullptr) == 1;
    for (size_t at = 0; done && at < b.len && !ending(isolate); at += kPiece)
        done = EVP_DigestUpdate(context, b.data + at, std::min(kPiece, b.len - at)) == 1;
    done = done && EVP_DigestFinal_ex(context, out, &n) == 1;
    EVP_MD_CTX_free(context);
    digested(info, done, isola_slice(out, n));
}

// hmac(name as OpenSSL knows it, key, bytes) → ArrayBuffer, undefined when there is no such digest
void hmac(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    const EVP_MD *md = EVP_get_digestbyname(utf8(isolate, info[0]).c_str());
    BytesOf key(info[1]), b(info[2]);
    uint8_t out[EVP_MAX_MD_SIZE];
    size_t n = 0;
    if (md == nullptr || !key.ok || !b.ok || key.len > INT32_MAX)
        return;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(
                               OSSL_MAC_PARAM_DIGEST, const_cast<char *>(EVP_MD_get0_name(md)), 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    EVP_MAC_CTX *context = mac != nullptr ? EVP_MAC_CTX_new(mac) : nullptr;
    bool done = context != nullptr &&
                EVP_MAC_init(context, key.data != nullptr ? key.data : out, key.len, params) == 1;
    for (size_t at = 0; done && at < b.len && !ending(isolate); at += kPiece)
        done = EVP_MAC_update(context, b.data + at, std::min(kPiece, b.len - at)) == 1;
    done = done && EVP_MAC_final(context, out, &n, sizeof(out)) == 1;
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
    digested(info, done, isola_slice(out, n));
}

// equal(bytes, bytes of the same length) → boolean, in a time that does not depend on them
void equal(Info info)
{
    BytesOf a(info[0]), b(info[1]);
    int differ = !a.ok || !b.ok || a.len != b.len;
    for (size_t at = 0; at < a.len && at < b.len && !ending(info.GetIsolate()); at += kPiece)
        differ |=
            CRYPTO_memcmp(a.data + at, b.data + at, std::min({kPiece, a.len - at, b.len - at}));
    info.GetReturnValue().Set(differ == 0);
}

const Native functions[] = {
    {"random", random_fill}, {"digest", digest}, {"hmac", hmac}, {"equal", equal}};

} // namespace

const NativeGroup crypto_natives = {"crypto", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
