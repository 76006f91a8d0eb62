// SPDX-License-Identifier: Apache-2.0
//
// Random numbers and digests from the OpenSSL in the pinned Node.js, for the web's `crypto`
// (actors/lib/runtime/web/crypto.js) and Node's (actors/lib/runtime/node/crypto.js). Everything
// here is synchronous, so what a script asks for counts as its own CPU time.
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

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
    while (b.len > 0) {
        size_t n = b.len < INT32_MAX ? b.len : INT32_MAX;
        if (RAND_bytes(b.data, static_cast<int>(n)) != 1) {
            fail(info.GetIsolate(), "no random numbers can be had");
            return;
        }
        b.data += n;
        b.len -= n;
    }
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
    if (EVP_Digest(b.data != nullptr ? b.data : out, b.len, out, &n, md, nullptr) != 1) {
        fail(isolate, "the digest failed");
        return;
    }
    v8::Local<v8::ArrayBuffer> buffer;
    if (copied(isolate, isola_slice(out, n)).ToLocal(&buffer))
        info.GetReturnValue().Set(buffer);
}

// hmac(name as OpenSSL knows it, key, bytes) → ArrayBuffer, undefined when there is no such digest
void hmac(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    const EVP_MD *md = EVP_get_digestbyname(utf8(isolate, info[0]).c_str());
    BytesOf key(info[1]), b(info[2]);
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (md == nullptr || !key.ok || !b.ok || key.len > INT32_MAX)
        return;
    if (HMAC(md, key.data != nullptr ? key.data : out, static_cast<int>(key.len),
             b.data != nullptr ? b.data : out, b.len, out, &n) == nullptr) {
        fail(isolate, "the digest failed");
        return;
    }
    v8::Local<v8::ArrayBuffer> buffer;
    if (copied(isolate, isola_slice(out, n)).ToLocal(&buffer))
        info.GetReturnValue().Set(buffer);
}

// equal(bytes, bytes of the same length) → boolean, in a time that does not depend on them
void equal(Info info)
{
    BytesOf a(info[0]), b(info[1]);
    info.GetReturnValue().Set(a.ok && b.ok && a.len == b.len &&
                              (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0));
}

const Native functions[] = {
    {"random", random_fill}, {"digest", digest}, {"hmac", hmac}, {"equal", equal}};

} // namespace

const NativeGroup crypto_natives = {"crypto", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
